# SPDX-License-Identifier: Apache-2.0
"""shards.py CHANNEL OUT: write the sharded form (CEP 16) of every SUBDIR/repodata.json below CHANNEL to OUT.

The peers read a sharded channel only through HTTP, and it is their fastest way when their cache is warm, so the bench
gives it to them. Needs msgpack and zstandard, so it runs in the peers' interpreter.
"""
import hashlib
import json
import os
import sys

import msgpack
import zstandard


def shard_record(record):
    record = dict(record)
    for key in ("md5", "sha256"):
        if key in record:
            record[key] = bytes.fromhex(record[key])
    return record


def write_subdir(source, subdir, out):
    with open(os.path.join(source, "repodata.json"), encoding="utf-8") as f:
        repodata = json.load(f)
    by_name = {}
    for section in ("packages", "packages.conda"):
        for key, record in repodata.get(section, {}).items():
            shard = by_name.setdefault(record["name"], {"packages": {}, "packages.conda": {}, "removed": []})
            shard[section][key] = shard_record(record)
    os.makedirs(os.path.join(out, "shards"), exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=3)
    digests = {}
    for name, shard in by_name.items():
        blob = compressor.compress(msgpack.packb(shard))
        digest = hashlib.sha256(blob)
        with open(os.path.join(out, "shards", digest.hexdigest() + ".msgpack.zst"), "wb") as f:
            f.write(blob)
        digests[name] = digest.digest()
    info = {"base_url": "./", "shards_base_url": "./shards/", "subdir": subdir, "created_at": "2026-01-01T00:00:00Z"}
    index = {"version": 1, "info": info, "shards": digests}
    with open(os.path.join(out, "repodata_shards.msgpack.zst"), "wb") as f:
        f.write(compressor.compress(msgpack.packb(index)))
    return len(digests)


def main():
    source, out = sys.argv[1:3]
    for subdir in sorted(os.listdir(source)):
        if os.path.exists(os.path.join(source, subdir, "repodata.json")):
            count = write_subdir(os.path.join(source, subdir), subdir, os.path.join(out, subdir))
            print(f"{subdir}: {count} shards")


main()
