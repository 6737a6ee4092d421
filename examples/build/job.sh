#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/build/job.sh [DIR]: one CI job, by hand. A repository with a pull request, a base image, the build of that pull request as it would
# be once merged, the same build once more (from the cache), and the result as an archive. Everything is under DIR (default: a new folder).
#
#	SLIPWAY   the program (default: slipway)
#	BASE      an archive or folder of the base image: an OCI layout, docker save's, a root file system. Default: Debian bookworm from this
#	          machine's own mirror (mmdebstrap, about a minute)
set -eu
examples=$(cd "$(dirname "$0")" && pwd)
slipway=${SLIPWAY:-slipway}
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
SLIPWAY_ROOT=$dir/root
export SLIPWAY_ROOT

# show WORD...: prints a command and runs it
show()
{
	printf '\n$ %s\n' "$*"
	"$@" </dev/null
}

# -- a repository: master, and a pull request that adds a word
repository()
{
	GIT_AUTHOR_NAME=example GIT_COMMITTER_NAME=example EMAIL=example@localhost
	export GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
	git init -q -b master "$dir/words"
	cd "$dir/words"
	cp "$examples/make-report.sh" .
	printf 'one\ntwo\n' >words.txt
	git add . && git commit -q -m 'count words'
	git checkout -q -b add-three
	echo three >>words.txt
	git commit -q -a -m 'add a word'
	git update-ref refs/pull/1/head HEAD
	git checkout -q master && git branch -q -D add-three
	echo 'This repository counts words.' >README && git add README && git commit -q -m 'say what it is'
	cd "$dir"
}

# -- the base image, once
if ! "$slipway" image show example/base:1 >/dev/null 2>&1; then
	if [ -n "${BASE-}" ]; then
		show "$slipway" image import example/base:1 "$BASE"
	else
		show "$slipway" image import example/base:1 --debian bookworm
	fi
fi
[ -d "$dir/words" ] || repository

# -- the job: the pull request merged onto what master is now
build()
{
	"$slipway" build -f "$examples/job.spec" --git "file://$dir/words#refs/pull/1/head" --onto master "$@"
}
printf '\n$ slipway build --header -f job.spec --git file://%s/words#refs/pull/1/head --onto master\n' "$dir"
build --header --title 'count the words of pull request 1'

# -- again: nothing changed, so nothing is run
printf '\n$ slipway build … once more\n'
build

# -- the result: the id of the last step is the root file system after it
id=$(build --quiet)
show "$slipway" build log "$id"
show "$slipway" build export "$id" -o "$dir/result.tar"
tar -xOf "$dir/result.tar" --wildcards '*home/builder/src/report.txt' >"$dir/report.txt"
printf '\nThe report is in %s:\n' "$dir/report.txt"
cat "$dir/report.txt"
