# SPDX-License-Identifier: Apache-2.0
"""peer.py: rattler's side of the bench. Runs in an interpreter that has py-rattler.

    peer.py version
    peer.py start                                  nothing but the interpreter and its imports
    peer.py solve MODE CHANNEL SUBDIR CACHE SPEC…   MODE: sparse (SparseRepoData on the files), file (gateway on the
                                                   folder), fetch (gateway on an http:// channel) or shards (the same,
                                                   its cache taken as fresh without asking the server)
    peer.py link CHANNEL PREFIX CACHE SPEC…         installs into PREFIX from the package cache CACHE

Prints one JSON object: `packages` and what the call alone took (`call_wall_s`, `call_cpu_s`), without the interpreter's
start and imports, which the whole process's figures hold and which are the interpreter's, not rattler's.
"""
import asyncio
import json
import os
import sys
import time

import rattler
from rattler import (BuildString, Channel, Gateway, GenericVirtualPackage, PackageName, SourceConfig, SparseRepoData,
                     Subdir, Version)
from rattler.exceptions import SolverError

# What tests/bench/run gives to both sides (CONDA_OVERRIDE_* for slipway).
VIRTUAL = {
    "linux": [("__unix", "0", "0"), ("__linux", "5.10", "0"), ("__glibc", "2.31", "0")],
    "osx": [("__unix", "0", "0"), ("__osx", "13.0", "0")],
    "win": [("__win", "10.0.19041", "0")],
}
ARCHSPEC = {"64": "x86_64", "arm64": "aarch64"}


def virtual_packages(subdir):
    system, _, machine = subdir.partition("-")
    rows = VIRTUAL[system] + [("__archspec", "1", ARCHSPEC.get(machine, machine))]
    return [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in rows]


def channel_of(text):
    return Channel(text if "://" in text else "file://" + os.path.abspath(text) + "/")


async def solve(mode, channel, subdir, cache, specs):
    subdirs = [subdir, "noarch"]
    if mode == "sparse":
        data = [SparseRepoData(channel_of(channel), s, os.path.join(channel, s, "repodata.json")) for s in subdirs]
        return await rattler.solve_with_sparse_repodata(specs, data, virtual_packages=virtual_packages(subdir))
    action = "force-cache-only" if mode == "shards" else "cache-or-fetch"
    gateway = Gateway(cache_dir=cache, default_config=SourceConfig(cache_action=action))
    return await rattler.solve([channel_of(channel)], specs, gateway=gateway, platforms=[Subdir(s) for s in subdirs],
                               virtual_packages=virtual_packages(subdir))


def record_json(r):
    return {"name": r.name.normalized, "version": str(r.version), "build": str(r.build),
            "build_number": r.build_number, "subdir": r.subdir, "fn": r.file_name}


class Timer:
    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def emit(packages, timer):
    # os._exit: py-rattler's threads sometimes abort an interpreter that is being torn down
    print(json.dumps({"packages": packages, "call_wall_s": timer.wall, "call_cpu_s": timer.cpu}), flush=True)
    os._exit(0)


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == "version":
        from importlib.metadata import version
        print(version("py-rattler"))
    elif what == "solve":
        mode, channel, subdir, cache = args[:4]
        try:
            with Timer() as t:
                records = asyncio.run(solve(mode, channel, subdir, cache, args[4:]))
        except SolverError as e:
            print(str(e), file=sys.stderr)
            os._exit(3)
        emit(sorted((record_json(r) for r in records), key=lambda r: r["name"]), t)
    elif what == "link":
        channel, prefix, cache = args[:3]
        host = str(Subdir.current())
        records = asyncio.run(solve("file", channel, host, cache + "-index", args[3:]))
        with Timer() as t:
            asyncio.run(rattler.install(records, prefix, cache_dir=cache, show_progress=False,
                                        execute_link_scripts=False))
        emit(len(records), t)


main()
