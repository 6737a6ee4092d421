# SPDX-License-Identifier: Apache-2.0
# `slipway opam ci`: what is printed before anything is built, and what is refused. Real jobs: opam-ci-real.sh.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need git

# put NAME VERSION
put()
{
	mkdir -p "repo/packages/$1/$1.$2"
	printf 'opam-version: "2.0"\n' >"repo/packages/$1/$1.$2/opam"
}
mkdir repo
printf 'opam-version: "2.0"\n' >repo/repo
put ocaml-unikraft-backend-qemu 0.18.0
put one 1
put one 2
DIGEST=1b8db2464075e045f2710c633c15ec40916e273f0dea1055c6f56c58e621387a
ON=ocaml/opam:debian-12-ocaml-5.3@sha256:$DIGEST
SEED_PACKAGE=ocaml-unikraft-backend-qemu.0.18.0

# -- what cannot be
t 'a package is named' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x
t 'one' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x one.1 one.2
t 'one kind of job' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x --with-tests --lower-bounds one.1
t 'reverse dependencies are another' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x --with-tests --reverse-dependencies one.1
t 'a list is of them' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x --list one.1
t 'a version of opam is one' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x --opam new one.1
t 'a repository is named' must_fail 2 "$SLIPWAY" opam ci --dry-run --on "$ON" one.1
t 'without an image' must_fail 5 "$SLIPWAY" opam ci --repo repo one.1
t 'says how to have one' has 'examples/opam-ci/image.sh' err
t 'an image that is not here' must_fail 5 "$SLIPWAY" opam ci --repo repo --on debian-12-ocaml-5.3 one.1
t 'names both that were looked for' has "'debian-12-ocaml-5.3' or 'ocaml/opam:debian-12-ocaml-5.3'" err
t 'a folder that is no repository' must_fail 1 "$SLIPWAY" opam ci --dry-run --repo repo/packages --on "$ON" one.1
t 'says what it lacks' has "no folder 'packages'" err
t 'a package that is not there' must_fail 5 "$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" two.1
t 'a version that is not there' must_fail 5 "$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" one.3
t 'says which are' has 'one.1, one.2' err
t 'a version has to be said' must_fail 2 "$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" one
t 'says which, too' has 'one.1, one.2' err
t 'words for a shell are none' must_fail 2 "$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" 'one.1;id'
t 'nor is such a variant' must_fail 2 "$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" --variant '$(id)' one.1
t 'queue words go with a pool' must_fail 2 "$SLIPWAY" opam ci --repo repo --on x --detach one.1

# -- a folder
t 'a dry run' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" $SEED_PACKAGE >out 2>err'
t 'warns of the image' has 'is not here' err
t 'tells the job' grep -qE "^[0-9-]{10} [0-9:.]{8}: New job: build $SEED_PACKAGE, using opam 2.1\$" out
t 'of the folder' grep -qF "                              from $T/repo" out
t 'on the variant' grep -qE '^ {30}on debian-12-ocaml-5.3/[a-z0-9]+$' out
if [ -d "$SHARED/seeds" ]; then
	# part FILE FROM TO: the lines between
	part()
	{
		sed -n "/$2/,/$3/p" "$1" | sed '1d;$d'
	}
	same_spec()
	{
		part out 'Using OBuilder spec:$' '^)$' >ours
		part "$(echo "$SHARED"/seeds/000_*)" 'Using OBuilder spec:$' '^)$' >theirs
		[ -s theirs ] && diff theirs ours
	}
	t 'the spec is that of a real log' same_spec
	same_recipe()
	{
		part out "<<'END-OF-DOCKERFILE'\$" '^END-OF-DOCKERFILE$' >ours
		part "$(echo "$SHARED"/seeds/000_*)" "<<'END-OF-DOCKERFILE'\$" '^END-OF-DOCKERFILE$' >theirs
		[ -s theirs ] && diff theirs ours
	}
	t 'the Dockerfile is that of a real log' same_recipe
fi
t 'the hint has no commit' grep -qF "Using cache hint \"$ON-$SEED_PACKAGE\"" out
t 'another opam' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" --opam 2.3 one.1 2>/dev/null | grep -qF "/usr/bin/opam-2.3 /usr/bin/opam"'
t 'tests' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" --with-tests one.1 2>/dev/null | grep -qF "New job: test one.1, using"'
t 'lower bounds' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" --lower-bounds one.1 2>/dev/null | grep -qF "New job: build one.1, lower-bounds, using"'
t 'as JSON' eval '"$SLIPWAY" opam ci --dry-run --json --repo repo --on "$ON" --reverse-dependency one.2 --reverse-dependency one.1 $SEED_PACKAGE 2>/dev/null >json'
t 'a job each' python3 -c '
import json
v = json.load(open("json"))
assert v["dry_run"] and [j["title"] for j in v["jobs"]] == ["test one.%d with ocaml-unikraft-backend-qemu.0.18.0, using opam 2.1" % i for i in (2, 1)], v
assert all(j["distribution"] == "debian-12" and j["variant"] == "debian-12-ocaml-5.3" and "END-OF-DOCKERFILE" in j["head"] for j in v["jobs"])
a, b = (j["spec"].split("opam reinstall one.")[0] for j in v["jobs"])
assert a == b and "pin add" in a'

# -- git
GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=x GIT_COMMITTER_NAME=x EMAIL=x@localhost
export GIT_CONFIG_GLOBAL GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
(
	cd repo && git init -q -b master && git add . && git commit -qm first && git checkout -q -b pull && mkdir -p packages/new/new.1 &&
		echo 'opam-version: "2.0"' >packages/new/new.1/opam && git add . && git commit -qm new && git update-ref refs/pull/7/head HEAD &&
		git checkout -q master && git branch -q -D pull && echo >packages/README && git add . && git commit -qm readme
) || exit 1
HEAD=$(git -C repo rev-parse HEAD)
PULL=$(git -C repo rev-parse refs/pull/7/head)
t 'a checkout' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" one.1 >out 2>err'
t 'tells its commit' grep -qxF "                              from file://$T/repo#refs/heads/master ($HEAD)" out
t 'and how to have it' grep -qxF "git clone --recursive \"file://$T/repo\" && cd \"repo\" && git fetch origin \"refs/heads/master\" && git reset --hard $(echo "$HEAD" | cut -c 1-8)" out
t 'the hint has the commit' grep -qF "Using cache hint \"$ON-one.1-$HEAD\"" out
echo x >repo/changed
t 'one with changes' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" one.1 >out 2>err'
t 'is but a folder' grep -qxF "                              from $T/repo" out
rm repo/changed
t 'a pull request' eval '"$SLIPWAY" opam ci --dry-run --repo "git+file://$T/repo#refs/pull/7/head" --onto master --note "(a note)" --on "$ON" new.1 >out 2>err'
t 'begins with the note' eval '[ "$(head -n 1 out)" = "(a note)" ]'
t 'tells the commit' grep -qxF "                              from file://$T/repo#refs/pull/7/head ($PULL)" out
t 'and the one to merge into' grep -qxF "git merge --no-edit $HEAD" out
t 'merging is for URLs' must_fail 2 "$SLIPWAY" opam ci --dry-run --repo repo --onto master --on "$ON" one.1
t 'which --repo takes' has 'repo URL' err
t 'a tag alone is of ocaml/opam' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on debian-12-ocaml-5.3 one.1 2>err | grep -qx "FROM ocaml/opam:debian-12-ocaml-5.3"'
t 'with a pool' eval '"$SLIPWAY" opam ci --dry-run --repo repo --on "$ON" --pool P one.1 >out 2>err'
t 'what would be submitted' grep -qE '^title +build one.1, using opam 2.1$' out
t 'one answer is for one job' must_fail 2 "$SLIPWAY" opam ci --dry-run --json --repo repo --on "$ON" --pool P --reverse-dependency one.1 --reverse-dependency one.2 $SEED_PACKAGE

done_testing
