# SPDX-License-Identifier: Apache-2.0
"""Prints versions in the order that Python's packaging library has for them, for tests/unit/pkg_pep440.c."""
import random

from packaging.version import InvalidVersion, Version

RELEASES = "0 1 1.0 1.0.0 1.1 1.10 1.2 01.02 2012.1 0!1 1!0 1!1.0 99999999999999999999999 1.99999999999999999999999".split()
PRES = ["", "a", "a0", "a1", ".alpha.1", "b2", "-beta-3", "rc", "rc1", "c1", "RC10", "_pre2", "preview2", "a02", "a-"]
POSTS = ["", ".post", ".post1", "-1", "-01", "post2", ".rev3", "_r4", "-post_5", ".post-"]
DEVS = ["", ".dev", ".dev0", "dev1", "-dev-10", "_DEV2"]
LOCALS = ["", "+a", "+1", "+1.a", "+a.1", "+a-b_c", "+010", "+1.2.3", "+ubuntu.1", "+Ubuntu-2"]
choice = random.Random(440).choice


def parsed(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


good, bad = set(), set()
while len(good) < 3000:
    text = "".join(choice(part) for part in (["", "v", " "], RELEASES, PRES, POSTS, DEVS, LOCALS))
    if parsed(text):
        good.add(text)
while len(bad) < 800 or len(good) < 3800:
    text = "".join(choice("0123abcdevrpost.-_+! ") for _ in range(choice(range(9))))
    (good if parsed(text) else bad).add(text)
before = None
for text in sorted(good, key=lambda v: (Version(v), v)):
    v = Version(text)
    print("=" if v == before else "<", text, v, "p" if v.is_prerelease else "-", sep="\t")
    before = v
for text in sorted(bad):
    print("!", text, sep="\t")
