# SPDX-License-Identifier: Apache-2.0
"""Writes images for tests, right and wrong ones.

    oci.py layout DIR [NAME=VALUE...] LAYER.tar...    an OCI layout; LAYER.tar is packed as its ending says (.gz, .zst: beside it)
        tag=T name=N arch=A user=U env=K=V, digests=no: no diff_ids; nested=yes: an index inside of index.json
    oci.py saved FILE tag LAYER.tar...                as `docker save` writes it
    oci.py evil FILE KIND                             a tar that ought to be refused
"""
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def put_blob(folder, data):
    digest = hashlib.sha256(data).hexdigest()
    os.makedirs(f"{folder}/blobs/sha256", exist_ok=True)
    with open(f"{folder}/blobs/sha256/{digest}", "wb") as f:
        f.write(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def put_json(folder, value, media_type):
    return {"mediaType": media_type, **put_blob(folder, json.dumps(value).encode())}


def config_of(o, diff_ids):
    config = {"architecture": o.get("arch", MACHINE), "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    if "user" in o:
        config["config"]["User"] = o["user"]
    if "env" in o:
        config["config"]["Env"] = [o["env"]]
    return config


def layout(folder, words):
    o = dict(w.split("=", 1) for w in words if "=" in w)
    files = [w for w in words if "=" not in w]
    layers, diff_ids = [], []
    for name in files:
        data = open(name, "rb").read()
        kind = "application/vnd.oci.image.layer.v1.tar"
        plain = data
        if name.endswith(".gz"):
            plain, kind = gzip.decompress(data), kind + "+gzip"
        elif name.endswith(".zst"):
            plain, kind = subprocess.run(["zstd", "-dcq", name], check=True, stdout=subprocess.PIPE).stdout, kind + "+zstd"
        layers.append({"mediaType": kind, **put_blob(folder, data)})
        diff_ids.append("sha256:" + hashlib.sha256(plain).hexdigest())
    config = put_json(folder, config_of(o, diff_ids), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": layers}
    entry = put_json(folder, manifest, "application/vnd.oci.image.manifest.v1+json")
    entry["platform"] = {"os": "linux", "architecture": o.get("arch", MACHINE)}
    if o.get("nested"):
        entry = put_json(folder, {"schemaVersion": 2, "manifests": [entry]}, "application/vnd.oci.image.index.v1+json")
    notes = {}
    if "tag" in o:
        notes["org.opencontainers.image.ref.name"] = o["tag"]
    if "name" in o:
        notes["io.containerd.image.name"] = o["name"]
    if notes:
        entry["annotations"] = notes
    try:
        index = json.load(open(f"{folder}/index.json"))
    except FileNotFoundError:
        index = {"schemaVersion": 2, "manifests": []}
    index["manifests"].append(entry)
    json.dump(index, open(f"{folder}/index.json", "w"))
    with open(f"{folder}/oci-layout", "w") as f:
        f.write('{"imageLayoutVersion": "1.0.0"}')
    print(entry["digest"])


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def saved(path, tag, files):
    with tarfile.open(path, "w") as tar:
        diff_ids, names = [], []
        for name in files:
            data = open(name, "rb").read()
            digest = hashlib.sha256(data).hexdigest()
            diff_ids.append("sha256:" + digest)
            names.append(f"{digest}/layer.tar")
            add(tar, names[-1], data)
        # a layer that is the same as another one is a link to it
        link = tarfile.TarInfo("f" * 64 + "/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, f"../{names[-1]}"
        tar.addfile(link)
        names[-1] = link.name
        config = json.dumps(config_of({"env": "SAVED=yes"}, diff_ids)).encode()
        config_name = hashlib.sha256(config).hexdigest() + ".json"
        add(tar, config_name, config)
        add(tar, "manifest.json", json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode())


def entry(name, kind=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


EVIL = {
    "absolute": [entry("/etc/passwd")],
    "dotdot": [entry("a/../../b")],
    "empty-name": [entry("")],
    "hard-out": [entry("h", tarfile.LNKTYPE, linkname="../../etc/passwd")],
    "hard-absolute": [entry("h", tarfile.LNKTYPE, linkname="/etc/passwd")],
    "hard-nothing": [entry("h", tarfile.LNKTYPE, linkname="not-there")],
    "hard-self": [entry("h", tarfile.LNKTYPE, linkname="h")],
    "hard-folder": [entry("d", tarfile.DIRTYPE), entry("h", tarfile.LNKTYPE, linkname="d")],
    "twice": [entry("a"), entry("a")],
    "link-twice": [entry("a", tarfile.SYMTYPE, linkname="/etc"), entry("a", tarfile.SYMTYPE, linkname="/")],
    "device": [entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666)],
    "below-file": [entry("a"), entry("a/b")],
    "behind-nothing": [entry("a", tarfile.SYMTYPE, linkname="/not/there"), entry("a/b")],
    "loop": [entry("a", tarfile.SYMTYPE, linkname="b"), entry("b", tarfile.SYMTYPE, linkname="a"), entry("a/c")],
    "deep": [entry("/".join(["d"] * 200))],
    "long": [entry("n" * 300)],
    "endless": [entry("a/" * 2500 + "b")],
    "empty-link": [entry("a", tarfile.SYMTYPE, linkname="")],
    "owner": [entry("a", uid=1 << 40)],
}


def evil(path, kind):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry("first"))
        for info in EVIL[kind]:
            tar.addfile(info)


if sys.argv[1] == "layout":
    layout(sys.argv[2], sys.argv[3:])
elif sys.argv[1] == "saved":
    saved(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    evil(sys.argv[2], sys.argv[3])
