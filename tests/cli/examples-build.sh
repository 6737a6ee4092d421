#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The examples of builds, for real: a job by hand, and GitLab CI's job with the variables that GitLab sets.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need git python3 zstd tar
python3=$(for p in python3 /usr/bin/python3; do "$p" -c 'import yaml' 2>/dev/null && echo "$p" && break; done)
[ -n "$python3" ] || skip_all 'no python3-yaml'
GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM
examples=$SOURCE_ROOT/examples
"$SLIPWAY" build --check >can 2>&1 || skip_all "kernel: no sandboxes here ($(tail -n 1 can))"
rootfs_tar base.tar || exit 1

# -- by hand
by_hand()
{
	BASE=$T/base.tar runs sh "$examples/build/job.sh" "$T/job"
}
once_run_once_cached()
{
	[ "$(grep -c '\-\-\-> saved as' out)" = 4 ] && [ "$(grep -c '\-\-\-> using' out)" = 6 ] &&
		has '^Merge made by' out && has '^To reproduce locally:$' out && has '^All commits already cached$' out
}
report()
{
	printf '3 words\none\nthree\ntwo\n' | diff -u - job/report.txt
}
t 'a job by hand' by_hand
t 'runs each step once, and takes it from the cache then' once_run_once_cached
t 'the report is in the archive' report
t 'again in the same folder, nothing is run' sh -c 'sh "$0/build/job.sh" "$1" >out && ! grep -q "saved as" out' "$examples" "$T/job"

# -- GitLab: what a runner does with the file
cat >gitlab.py <<'E'
"""gitlab.py FILE JOB: the job with what it extends and includes, as a runner has it: job.env, script.sh, after.sh; prints what it keeps."""
import os, re, sys, yaml

root, name = sys.argv[1], sys.argv[2]

def load(path):
    doc = yaml.safe_load(open(path))
    for i in doc.pop("include", []):
        for k, v in load(os.path.join(os.environ["SOURCE_ROOT"], i["local"])).items():
            doc.setdefault(k, v)
    return doc

doc = load(root)
job = dict(doc[name])
if "extends" in job:
    base = dict(doc[job.pop("extends")])
    variables = {**base.get("variables", {}), **job.get("variables", {})}
    job = {**base, **job, "variables": variables}
known = {"stage", "variables", "cache", "before_script", "script", "after_script", "artifacts", "rules", "needs"}
assert set(job) <= known, set(job) - known
assert all(isinstance(v, str) for v in job["variables"].values()), "variables are texts"
assert set(job["cache"]) <= {"key", "fallback_keys", "when", "paths"} and set(job["artifacts"]) <= {"when", "expire_in", "paths"}
with open("job.env", "w") as f:
    for k, v in job["variables"].items():
        f.write("%s='%s'\nexport %s\n" % (k, v.replace("'", "'\\''"), k))
for part, lines in (("script.sh", job["before_script"] + job["script"]), ("after.sh", job["after_script"])):
    with open(part, "w") as f:
        f.write("set -e\n. \"$OLDPWD/job.env\"\n" + "\n".join(lines) + "\n")
for p in job["cache"]["paths"]:
    print("cache", p)
for p in job["artifacts"]["paths"]:
    print("artifact", p)
E

project()
{
	git init -q -b main origin && cp "$examples/build/job.spec" "$examples/build/make-report.sh" origin/ && cd origin || return 1
	printf 'one\ntwo\n' >words.txt
	git config user.name t && git config user.email t@localhost
	git add . && git commit -qm first && git checkout -q -b topic && echo three >>words.txt && git commit -qam 'a word' &&
		git checkout -q main && echo more >README && git add . && git commit -qm more && cd ..
}

# runner COMMIT: a clone of its own, the cache of the job before, the scripts, and what is kept
runner()
{
	rm -rf builds && mkdir builds && git clone -q origin builds/words && git -C builds/words checkout -q "$1" || return 1
	[ ! -d kept ] || cp -r kept/. builds/words/
	cd builds/words || return 1
	OLDPWD=$T
	export OLDPWD
	env PATH="$T/bin:$PATH" CI=true GITLAB_CI=true CI_PROJECT_DIR="$T/builds/words" CI_PROJECT_PATH=group/words CI_JOB_NAME=build \
		CI_JOB_NAME_SLUG=build CI_COMMIT_SHA="$(git rev-parse HEAD)" CI_DEFAULT_BRANCH=main ${2:+"$2"} sh "$T/script.sh" >"$T/out" 2>"$T/err"
	rc=$?
	PATH="$T/bin:$PATH" CI_PROJECT_DIR="$T/builds/words" sh "$T/after.sh" >"$T/after.out" 2>&1 || { cat "$T/after.out"; return 1; }
	cd "$T" || return 1
	[ "$rc" = 0 ] || { cat out err; return 1; }
	rm -rf kept && mkdir -p kept/.slipway && cp builds/words/.slipway/cache.tar.zst kept/.slipway/
}

unset SLIPWAY_ROOT
mkdir bin && ln -s "$SLIPWAY" bin/slipway
project || exit 1
topic=$(git -C origin rev-parse topic)
t 'the example project parses, and has a job of the template' runs "$python3" gitlab.py "$examples/gitlab-ci/.gitlab-ci.yml" build
t 'it keeps cache and result' sh -c 'printf "cache .slipway/cache.tar.zst\nartifact slipway-out/\n" | diff -u - out'
sed -i "s,^SLIPWAY_DEBIAN=.*,SLIPWAY_DEBIAN='',; s,^SLIPWAY_BASE='.*,SLIPWAY_BASE='$T/base.tar'," job.env
t 'its job builds a merge request' runner "$topic" CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main
t 'merged onto the target branch' sh -c 'grep -q "^Merge made by" out && grep -q "^3 words$" out && grep -q "saved as" out'
t 'the head of the log names the project' has ': New job: build group/words, build$' out
t 'its result is an archive' sh -c 'tar -xOf builds/words/slipway-out/rootfs.tar --wildcards "*src/report.txt" | grep -qx "3 words"'
t 'the same again' runner "$topic" CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main
t 'is taken from the cache that was kept' sh -c '! grep "saved as" out && [ "$(grep -c "\-\-\-> using" out)" = 5 ]'
t 'a step that fails fails the job' sh -c 'cd origin && git checkout -q -b broken && echo four five >>words.txt && git commit -qam broken'
broken()
{
	runner broken && { echo 'it passed'; return 1; }
	cd "$T" && has 'Build step failed' err
}
t 'with the reason' broken

done_testing
