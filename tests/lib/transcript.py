# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a document and puts in what they print, or compares.

    transcript.py DOCUMENT SLIPWAY SOURCES           exit 1 and a diff where the document shows something else
    transcript.py --write DOCUMENT SLIPWAY SOURCES   the document is written anew

Commands are the lines "$ ..." of ```console blocks, with lines "> ..." that go on; what follows is their output. One shell
runs all of them, in a fresh folder that has "examples" and "slipway". Both outputs count. Port 8080 of the document is a
free one. What differs from run to run (times, processes, sizes, digests) is not compared.
"""
import difflib, os, re, shutil, socket, subprocess, sys, tempfile

HOME = "/home/ada/tutorial"
MARK = "-- end of a command --"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Shell:
    def __init__(self, slipway, sources):
        self.dir = tempfile.mkdtemp(prefix="slipw")
        self.port = free_port()
        shutil.copytree(os.path.join(sources, "examples"), os.path.join(self.dir, "examples"))
        for name in self.files():
            with open(name) as f:
                text = f.read()
            with open(name, "w") as f:
                f.write(text.replace(":8080", ":" + self.port))
        os.makedirs(os.path.join(self.dir, ".bin"))
        os.symlink(os.path.abspath(slipway), os.path.join(self.dir, ".bin/slipway"))
        keep = {k: v for k, v in os.environ.items() if k in ("LANG", "TMPDIR", "CC", "ASAN_OPTIONS", "UBSAN_OPTIONS")}
        env = dict(keep, HOME=self.dir, SLIPWAY_ROOT=self.dir + "/root", SLIPWAY_SERVICES="agent", LC_ALL="C.UTF-8", TZ="UTC",
                   PATH=self.dir + "/.bin:" + os.environ["PATH"])
        self.sh = subprocess.Popen(["sh"], cwd=self.dir, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)

    def files(self):
        for folder, _, names in os.walk(os.path.join(self.dir, "examples")):
            yield from (os.path.join(folder, n) for n in names if n.endswith(".yml"))

    def run(self, command):
        wait = "sleep 1" if command.rstrip().endswith("&") else ":"
        self.sh.stdin.write(f"{command.replace('8080', self.port)}\n__rc=$?; {wait}; echo '{MARK}'; (exit $__rc)\n")
        self.sh.stdin.flush()
        out = []
        for line in self.sh.stdout:
            if line.rstrip("\n").endswith(MARK):
                break
            out.append(line.rstrip("\n").replace(self.port, "8080").replace(self.dir, HOME))
        else:
            sys.exit(f"the shell ended at: {command}")
        return out

    def close(self):
        self.run("slipway agent stop --services 2>/dev/null")
        self.sh.stdin.close()
        self.sh.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def blocks(lines):
    """Text lines as they are, (command, output) of console blocks."""
    inside, command = False, None
    for line in lines:
        if line == "```console":
            inside = True
        elif line == "```" and inside:
            inside = False
            if command:
                yield tuple(command)
            command = None
        elif inside and line.startswith("$ "):
            if command:
                yield tuple(command)
            command = [[line], []]
            continue
        elif inside and command and line.startswith("> ") and not command[1]:
            command[0].append(line)
            continue
        elif inside:
            command[1].append(line)
            continue
        yield line


VARYING = [
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ [\d:]{8} UTC \d{4}", "DATE"),
    (r"\d{4}-\d\d-\d\d[ :][\d:]{8}", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "LEFT"),
    (r"[\d.]+ ?(B|kB|MB|GB)\b", "SIZE"),
    (r"\b\d+(\.\d+)? s\b", "SECONDS"),
    (r"\b[0-9a-f]{32,64}\b", "DIGEST"),
    (r"\b\d{2,}\b", "N"),
    (r"TIME \S+ ", "TIME WHO "),
    (r" +", " "),
    (r"-{5,}", "-----"),
]


def comparable(lines):
    out = []
    for line in lines:
        for pattern, word in VARYING:
            line = re.sub(pattern, word, line)
        out.append(line.rstrip())
    return out


def main():
    write = sys.argv[1] == "--write"
    document, slipway, sources = sys.argv[1 + write:]
    with open(document) as f:
        lines = f.read().split("\n")
    shell = Shell(slipway, sources)
    new, failed = [], False
    try:
        for item in blocks(lines):
            if isinstance(item, str):
                new.append(item)
                continue
            command, shown = item
            got = shell.run("\n".join(line[2:] for line in command))
            new += command + got
            if not write and comparable(shown) != comparable(got):
                failed = True
                print("\n".join(command))
                print("\n".join(difflib.unified_diff(comparable(shown), comparable(got), "shown", "printed", lineterm="")))
    finally:
        shell.close()
    if write:
        with open(document, "w") as f:
            f.write("\n".join(new))
    sys.exit(failed)


main()
