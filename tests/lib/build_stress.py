# SPDX-License-Identifier: Apache-2.0
"""python3 build_stress.py [OPTIONS]: many builds at once on one store, with what disturbs them, and what must hold nevertheless.

Each job is a chain of steps, each with one of a few values, so that jobs share beginnings. A step looks whether the state that it finds is that of the steps
before it and adds its own, so a layer on a wrong one is seen. What must hold:
    a job ends as its steps say, and its output is that of its own steps, from the cache or not;
    undisturbed, each step runs once, whoever wants it;
    a step that fails, or is killed, leaves no layer, and the next one that wants it gets it.
SLIPWAY_ROOT holds the store, with the image `base`. Prints what was done; exit 1 with the reason where something does not hold.
"""
import argparse
import collections
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

NOTE = re.compile(r'---> (saved as|using) "([0-9a-f]{64})"')


class Wrong(Exception):
    pass


class Stress:
    def __init__(self, args):
        self.args, self.random = args, random.Random(args.seed)
        self.runs, self.counts = collections.defaultdict(set), collections.Counter()
        self.ids = {}  # the values of a chain: the id of its last step
        self.lock, self.wrong = threading.Lock(), None
        self.end_s = time.monotonic() + args.seconds
        self.folder = os.path.join(args.work, "stress")
        os.makedirs(self.folder, exist_ok=True)

    def spec(self, name, values):
        text, state = "((from base) (shell /bin/sh -c)\n", ""
        for v in values:
            if v == "fail":
                text += f' (run (shell "echo failing after {state}; exit 3"))\n'
                break
            now = f"{state}{v},"
            cache = " (cache (shared (target /c)))" if v == 0 else ""
            more = "; echo x >>/c/v" if v == 0 else ""
            text += f' (run{cache} (shell "{{ read s </state; }} 2>/dev/null; read u </proc/sys/kernel/random/uuid; test \\"$s\\" = \\"{state}\\" && printf %s {now} >/state && echo done {now} $u{more}"))\n'
            state = now
        path = os.path.join(self.folder, name + ".spec")
        with open(path, "w", encoding="ascii") as f:
            f.write(text + ")\n")
        return path, state

    def job(self, n, rng):
        values = [rng.randrange(self.args.values) for _ in range(self.args.steps)]
        if rng.random() < self.args.failing:
            values[rng.randrange(len(values))] = "fail"
        fails = "fail" in values
        path, state = self.spec(f"job{n}", values)
        killed, env = None, dict(os.environ)
        if rng.random() < self.args.kill:
            killed = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            # A sanitized program waits for the process that looks for its leaks: for ever, where that is the one that is hit
            env["ASAN_OPTIONS"] = ":".join(filter(None, (env.get("ASAN_OPTIONS"), "detect_leaks=0")))
        build = subprocess.Popen([self.args.slipway, "build", "-f", path, self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, start_new_session=True, env=env)
        if killed:
            time.sleep(rng.random() * self.args.kill_within)
            if build.poll() is None:
                if killed == signal.SIGKILL and rng.random() < 0.5:
                    kill_one_of(build.pid, rng)
                else:
                    build.send_signal(killed)
        try:
            out = build.communicate(timeout=120)[0]
        except subprocess.TimeoutExpired as e:
            os.killpg(build.pid, signal.SIGKILL)
            raise Wrong(f"job {n} hangs: {path}\n{(e.output or b'').decode()}") from e
        with self.lock:
            self.counts["killed" if killed else "failed" if fails else "done"] += 1
            self.check(n, path, values, state, fails, killed, build.returncode, out)

    def check(self, n, path, values, state, fails, killed, rc, out):
        told = re.findall(r"^done (\S+) (\S+)$", out, re.M)
        said = [state for state, _ in told]
        if self.args.disturb or self.args.kill:  # a step whose maker was killed, or whose layer was taken away at once, is run once more
            said = [s for i, s in enumerate(said) if i == 0 or s != said[i - 1]]
        whole = [",".join(str(v) for v in values[:i + 1]) + "," for i in range(len(values)) if "fail" not in values[:i + 1]]
        if self.args.kill and rc and re.search("was killed|killed by signal|signal 9", out):
            killed = killed or "another's step"
        if said != (whole if not killed else whole[:len(said)]):
            raise Wrong(f"job {n} ({path}): says {said}, not {whole}\n{out}")
        if not killed and rc != (1 if fails else 0):
            raise Wrong(f"job {n} ({path}): exit status {rc}\n{out}")
        if not killed and fails and f"failing after {state}" not in out:
            raise Wrong(f"job {n} ({path}): does not tell what its failing step printed\n{out}")
        notes = NOTE.findall(out)[1:]  # the first is the image's
        for said_now, (_, layer) in zip(said, notes):
            if self.ids.setdefault(said_now, layer) != layer:
                raise Wrong(f"job {n} ({path}): {said_now} is {layer}, was {self.ids[said_now]}\n{out}")
        for state_now, run in told:
            self.runs[state_now].add(run)
        if len(notes) > len(whole):
            raise Wrong(f"job {n} ({path}): {len(notes)} layers of {len(whole)} steps\n{out}")

    def worker(self, k):
        rng = random.Random(self.args.seed * 1000 + k)
        n = k
        while n < self.args.jobs and time.monotonic() < self.end_s and not self.wrong:
            try:
                self.job(n, rng)
            except Exception as e:  # pylint: disable=broad-except
                self.wrong = self.wrong or e
            n += self.args.at_once

    def disturb(self, done):
        rng = random.Random(self.args.seed)
        while not done.wait(rng.random() * 0.3):
            gc = subprocess.run([self.args.slipway, *rng.choice(self.args.disturb)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
            self.counts["gc"] += 1
            if gc.returncode not in (0, 1):
                self.wrong = self.wrong or Wrong(f"gc: exit status {gc.returncode}\n{gc.stdout}")

    def run(self):
        done = threading.Event()
        others = [threading.Thread(target=self.disturb, args=(done,))] if self.args.disturb else []
        workers = [threading.Thread(target=self.worker, args=(k,)) for k in range(self.args.at_once)]
        for t in others + workers:
            t.start()
        for t in workers:
            t.join()
        done.set()
        for t in others:
            t.join()
        if self.wrong:
            raise self.wrong
        twice = [state for state, runs in self.runs.items() if len(runs) > 1]
        if twice and not self.args.kill and not self.args.disturb:
            raise Wrong(f"{len(twice)} of {len(self.runs)} steps ran more than once: {twice[:3]}")
        print(" ".join(f"{name} {n}" for name, n in sorted(self.counts.items())), f"runs {sum(len(r) for r in self.runs.values())} of {len(self.runs)} steps")


def kill_one_of(pid, rng):
    """A process below pid: the one that makes a layer, the sandbox's first, or the step's."""
    below = [pid]
    for p in below:
        try:
            with open(f"/proc/{p}/task/{p}/children", encoding="ascii") as f:
                below += [int(c) for c in f.read().split()]
        except OSError:
            pass
    try:
        os.kill(rng.choice(below), signal.SIGKILL)
    except OSError:
        pass


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--slipway", default=os.environ.get("SLIPWAY", "slipway"))
    p.add_argument("--work", default=os.environ.get("T", "."))
    p.add_argument("--jobs", type=int, default=100)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--values", type=int, default=3)
    p.add_argument("--at-once", type=int, default=10)
    p.add_argument("--failing", type=float, default=0.0, help="share of jobs with a step that fails")
    p.add_argument("--kill", type=float, default=0.0, help="share of jobs that are killed")
    p.add_argument("--kill-within", type=float, default=0.2, help="seconds")
    p.add_argument("--disturb", action="append", type=str.split, help="a command of slipway that is run now and then meanwhile")
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=1)
    try:
        Stress(p.parse_args()).run()
    except Wrong as e:
        print(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
