#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/quickstart.sh [DIR]: the tour. Builds the programs beside this script, packs them, publishes them into a
# channel, makes an environment of it, updates it and goes back. Everything is under DIR (default: build/quickstart),
# which is made anew each time. $SLIPWAY is the program (default: build/slipway).
set -eu
examples=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$examples")
slipway=${SLIPWAY:-$source/build/slipway}
dir=${1:-$source/build/quickstart}
mark=.made-by-quickstart

fail()
{
	echo "quickstart: $*" >&2
	exit 1
}

[ -x "$slipway" ] || fail "no program '$slipway'; run ./quickstart, which builds it"
cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || fail "no C compiler '$cc'; 'apt-get install gcc' brings one"
# the interpreter itself, not a shim that looks for one in PATH
python3=$(python3 -c 'import sys; print(sys.executable)') || fail "no python3; 'apt-get install python3' brings it"
[ ! -e "$dir" ] || [ -e "$dir/$mark" ] || [ -z "$(ls -A "$dir")" ] ||
	fail "'$dir' is there and not mine: name another folder"
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
touch "$dir/$mark"
cd "$dir"
SLIPWAY_ROOT=$dir/root
SLIPWAY=$slipway
export SLIPWAY_ROOT SLIPWAY
unset PYTHONPATH PYTHONHOME

# say TEXT: what comes next
say()
{
	printf '\n%s\n' "$*"
}

# show WORD...: prints a command as a person would type it, and runs it
show()
{
	printf '\n$ slipway'
	for word; do
		case $word in
		*[!A-Za-z0-9_./:=@+-]*) printf " '%s'" "$word" ;;
		*) printf ' %s' "$word" ;;
		esac
	done
	printf '\n'
	"$slipway" "$@" </dev/null
}

# -- build and stage: a folder for each package, laid out as it is to look in an environment ---------------------------

# library MINOR: stage/libwords-1.MINOR
library()
{
	stage=stage/libwords-1.$1
	mkdir -p "$stage/lib" "$stage/include"
	cp "$examples/libwords/words.h" "$stage/include/"
	$cc -O2 -fPIC -shared "-DWORDS_MINOR=$1" -Wl,-soname,libwords.so.1 -o "$stage/lib/libwords.so.1" \
		"$examples/libwords/words.c"
	ln -s libwords.so.1 "$stage/lib/libwords.so"
	cp "$examples/libwords/pack.yml" "$stage/"
}

# tool MINOR: stage/words-1.MINOR, which finds its library beside itself
tool()
{
	stage=stage/words-1.$1 lib=stage/libwords-1.$1
	mkdir -p "$stage/bin"
	# shellcheck disable=SC2016 # $ORIGIN is for the dynamic linker
	$cc -O2 "-I$lib/include" -o "$stage/bin/words" "$examples/words/main.c" "-L$lib/lib" -lwords \
		-Wl,-rpath,'$ORIGIN/../lib'
	cp "$examples/words/pack.yml" "$stage/"
}

# python: stage/python, which starts the distribution's python3 (examples/python/pack.yml says what that means)
python()
{
	version=$("$python3" -c 'import platform; print(platform.python_version().rstrip("+"))')
	minor=$("$python3" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	site=lib/python$minor/site-packages
	mkdir -p stage/python/bin
	sed "s|@PREFIX@|$prefix|; s|@SITE_PACKAGES@|$site|; s|@PYTHON3@|$python3|" "$examples/python/bin/python3" \
		>"stage/python/bin/python$minor"
	chmod 755 "stage/python/bin/python$minor"
	ln -s "python$minor" stage/python/bin/python3
	ln -s python3 stage/python/bin/python
	cp "$examples/python/pack.yml" stage/python/
}

prefix=/opt/placeholder # stands for the environment's path in what is packed
say "Building the examples: libwords (a C library), words (a tool that uses it), wordreport (a noarch Python package).
The python that wordreport needs is a stand-in here: it starts the python3 of this machine's distribution."
library 0
tool 0
library 1
tool 1
python
cp -R "$examples/wordreport" stage/

say "1. Packages are made of folders."
show pack conda -q -o packages --version 1.0 stage/libwords-1.0
show pack conda -q -o packages --version 1.0 stage/words-1.0
show pack conda -q -o packages stage/wordreport
show pack conda -q -o packages --version "$version" --python-site-packages-path "$site" --prefix "$prefix" stage/python

say "2. A channel is a folder of packages with their metadata; any web server can serve it."
show channel publish ./channel packages/*.conda

say "3. What an environment would consist of, before anything is done:"
show env create --dry-run -n demo -c ./channel wordreport

say "4. The environment itself:"
show env create -n demo -c ./channel wordreport

say "5. Programs run in it."
show env run -n demo -- wordreport "$source/README.md"

say "6. A new version is published, and the environment updated: a second generation, beside the first."
show pack conda -q -o packages --version 1.1 stage/libwords-1.1
show pack conda -q -o packages --version 1.1 --depends 'libwords >=1.1,<2' stage/words-1.1
show channel publish ./channel packages/libwords-1.1-0.conda packages/words-1.1-0.conda
show env update -n demo words
show env run -n demo -- wordreport "$source/README.md"

say "7. Nothing is lost: back to where it was, at once, without a download."
show env history -n demo
show install rollback -n demo
show env run -n demo -- wordreport "$source/README.md"
show env history -n demo

# -- what next --------------------------------------------------------------------------------------------------------

say "That was all of it, under $dir (made anew by the next run; remove it as you like)."
cat <<-TEXT

	Try next, after
	  export SLIPWAY_ROOT=$SLIPWAY_ROOT PATH=$(dirname "$slipway"):\$PATH
	and in $dir:
	  slipway env list                              what there is
	  slipway why -n demo libwords                  why it is there
	  slipway env export -n demo >demo.spr          the exact recipe
	  slipway apply demo.spr -n copy                the same once more, on another machine too
	  slipway solve -c ./channel 'words>=2'         what an impossible request is told
	  eval "\$(slipway env activate -n demo)"        use it in this shell
	  SLIPWAY=slipway $examples/build/job.sh
	                                                a CI's job, built step by step in sandboxes
	Without SLIPWAY_ROOT everything is kept where your system keeps such things; 'slipway --help' tells.
TEXT
"$examples/configured.sh" || :
