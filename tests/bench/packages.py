# SPDX-License-Identifier: Apache-2.0
"""packages.py OUT PACKAGES FILES: a channel of PACKAGES made-up .conda packages of FILES files each, for the linking bench.

Package bench-N depends on bench-(N-1), and bench-all on the last, so that one spec asks for all. One file in fifty holds
the build prefix as text and each package has one binary file that holds it, about what real packages have. The same
arguments give the same bytes.
"""
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import zipfile

PLACEHOLDER = "/build/placeholder" + "_placehold" * 20
FILES_PER_FOLDER = 40
PREFIX_EVERY = 50


def zstd(data):
    try:
        import zstandard
    except ImportError:
        return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return zstandard.ZstdCompressor(level=3).compress(data)


def tar_zst(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1600000000
            tar.addfile(info, io.BytesIO(data))
    return zstd(out.getvalue())


def payload(name, count, rng):
    """Pairs of (paths.json entry, bytes)."""
    for i in range(count):
        path = f"lib/{name}/part{i // FILES_PER_FOLDER}/file{i}.txt"
        entry = {"_path": path, "path_type": "hardlink"}
        if i == 0:
            entry["_path"] = f"lib/{name}/lib{name}.so"
            data = rng.randbytes(4000) + PLACEHOLDER.encode() + b"/lib\0" + rng.randbytes(4000)
            entry.update(prefix_placeholder=PLACEHOLDER, file_mode="binary")
        elif i % PREFIX_EVERY == 0:
            data = f"prefix={PLACEHOLDER}\nlibdir={PLACEHOLDER}/lib\n# {name} {i}\n".encode()
            entry.update(prefix_placeholder=PLACEHOLDER, file_mode="text")
        else:
            data = f"{name} {i}\n".encode() + rng.randbytes(rng.randrange(100, 6000))
        entry.update(sha256=hashlib.sha256(data).hexdigest(), size_in_bytes=len(data))
        yield entry, data


def write_package(folder, name, count, depends):
    rng = random.Random(name)
    stem = f"{name}-1.0-0"
    files = list(payload(name, count, rng))
    index = {"name": name, "version": "1.0", "build": "0", "build_number": 0, "depends": depends,
             "noarch": "generic", "subdir": "noarch", "timestamp": 1600000000000}
    paths = {"paths": [entry for entry, _ in files], "paths_version": 1}
    info = [("info/index.json", json.dumps(index).encode()), ("info/paths.json", json.dumps(paths).encode()),
            ("info/about.json", b"{}"), ("info/files", "".join(e["_path"] + "\n" for e, _ in files).encode())]
    target = os.path.join(folder, stem + ".conda")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as z:
        for member, data in (("metadata.json", b'{"conda_pkg_format_version": 2}'),
                             (f"info-{stem}.tar.zst", tar_zst(info)),
                             (f"pkg-{stem}.tar.zst", tar_zst((e["_path"], data) for e, data in files))):
            z.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), data)
    with open(target, "rb") as f:
        data = f.read()
    return stem + ".conda", dict(index, sha256=hashlib.sha256(data).hexdigest(), md5=hashlib.md5(data).hexdigest(),
                                 size=len(data))


def main():
    out, packages, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    folder = os.path.join(out, "noarch")
    os.makedirs(folder, exist_ok=True)
    records, before = {}, []
    for n in range(packages):
        fn, record = write_package(folder, f"bench-{n}", count, before)
        records[fn] = record
        before = [f"bench-{n} 1.0.*"]
    fn, record = write_package(folder, "bench-all", 1, before)
    records[fn] = record
    with open(os.path.join(folder, "repodata.json"), "w", encoding="utf-8") as f:
        json.dump({"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": records, "removed": [],
                   "repodata_version": 1}, f)
    print(f"{len(records)} packages, {packages * count + 1} files")


if __name__ == "__main__":
    main()
