# SPDX-License-Identifier: Apache-2.0
"""Makes Python packages for tests: wheel.py FOLDER SPEC...

SPEC is NAME==VERSION, then words apart by blanks: needs=REQUIREMENT, python=SPECIFIER, form=.tar.gz or .zip (an sdist), body=TEXT,
tag=TAG."""
import base64
import hashlib
import io
import os
import sys
import tarfile
import zipfile


def metadata(name, version, words):
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: of a test"]
    lines += [f"Requires-Python: {v}" for k, v in words if k == "python"]
    lines += [f"Requires-Dist: {v}" for k, v in words if k == "needs"]
    return "\n".join(lines) + "\n\nMore text.\n"


def put_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in files.items():
            z.writestr(zipfile.ZipInfo(name), text)


def wheel(folder, name, version, words, tag):
    stem = name.replace("-", "_").replace(".", "_")
    info = f"{stem}-{version}.dist-info"
    files = {
        f"{stem}.py": f"version = {version!r}\n" + dict(words).get("body", ""),
        info + "/METADATA": metadata(name, version, words),
        info + "/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    files[info + "/RECORD"] = record + info + "/RECORD,,\n"
    put_zip(f"{folder}/{stem}-{version}-{tag}.whl", files)


BACKEND = '''import zipfile

STEM, METADATA = %r, %r


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = STEM + "-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as z:
        z.writestr(STEM.split("-")[0] + ".py", "")
        z.writestr(STEM + ".dist-info/METADATA", METADATA)
        z.writestr(STEM + ".dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        z.writestr(STEM + ".dist-info/RECORD", "")
    return name
'''


# It builds itself, and needs nothing for that.
def sdist(folder, name, version, words, form):
    stem = f"{name}-{version}"
    files = {
        f"{stem}/PKG-INFO": metadata(name, version, words),
        f"{stem}/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n',
        f"{stem}/own.py": BACKEND % (f"{name.replace('-', '_')}-{version}", metadata(name, version, words)),
    }
    if form == ".zip":
        return put_zip(f"{folder}/{stem}.zip", files)
    with tarfile.open(f"{folder}/{stem}{form}", "w:gz") as t:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            t.addfile(entry, io.BytesIO(text.encode()))


def main(folder, *specs):
    os.makedirs(folder, exist_ok=True)
    for spec in specs:
        first, *rest = spec.split()
        name, version = first.split("==")
        words = [tuple(w.split("=", 1)) for w in rest]
        form, tag = dict(words).get("form"), dict(words).get("tag", "py3-none-any")
        if form:
            sdist(folder, name, version, words, form)
        else:
            wheel(folder, name, version, words, tag)


main(*sys.argv[1:])
