# SPDX-License-Identifier: Apache-2.0
# Several processes on one root at once, some of them killed at any moment: whatever happens, each environment is at a
# generation that is whole, and the next command works. Bounded by the number of rounds and by 20 s.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need tar bzip2

ROUNDS=12 SECONDS_MAX=20
begun=$(date +%s)

sw()
{
	"$SLIPWAY" "$@"
}

# tool VERSION: a program that prints what a file of another package says
tool()
{
	mkdir -p stage/bin
	printf '#!/bin/sh\ncat "%s/lib/data"\n' "$PLACEHOLDER" >stage/bin/tool
	chmod +x stage/bin/tool
	package stage tool "$1" "lib =$1"
	mkdir -p stage/lib
	for n in 1 2 3 4 5 6 7 8 9; do
		echo "$1" >"stage/lib/data$n"
	done
	echo "$1" >stage/lib/data
	package stage lib "$1"
}
tool 1
tool 2
t 'a channel' runs sw channel publish ch ./*.tar.bz2
t 'an environment' runs sw env create -n e -c ch tool=1

# The next of a fixed row of numbers: a failure can be seen again.
seed=4711
random()
{
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	echo $((seed / 65536 % $1))
}

late()
{
	[ $(($(date +%s) - begun)) -ge "$SECONDS_MAX" ]
}

# whole: e runs, is what it was laid out to be, and its two packages are of one version
whole()
{
	now=$(sw env run -n e -- tool 2>said) || { echo "round $round: does not run"; cat said; return 1; }
	[ "$now" = 1 ] || [ "$now" = 2 ] || { echo "round $round: prints '$now'"; return 1; }
	runs sw env check -n e || return 1
	sw env packages -n e | grep -E '^(tool|lib) ' | sed 's/  */ /g' | cut -d' ' -f2 | sort -u >versions
	prints "$now" cat versions
}

# Not by sw(): a function in the background is a shell of its own, and the program's death is not what killing it means.
# Two updates to different versions and a gc at once, each killed or not.
crossed()
{
	round=0
	while [ "$round" -lt "$ROUNDS" ] && ! late; do
		round=$((round + 1))
		"$SLIPWAY" -q env update -n e tool=1 >said1 2>&1 &
		one=$!
		"$SLIPWAY" -q env update -n e tool=2 >said2 2>&1 &
		two=$!
		"$SLIPWAY" -q store gc >said3 2>&1 & # busy, or it takes nothing that is wanted
		three=$!
		sleep "0.0$(printf %02d "$(random 60)")"
		case $(random 4) in
		0) kill -9 "$one" 2>/dev/null ;;
		1) kill -9 "$two" "$three" 2>/dev/null ;;
		2) kill -9 "$one" "$two" 2>/dev/null ;;
		*) ;;
		esac
		wait "$one" 2>/dev/null
		code1=$?
		wait "$two" 2>/dev/null
		code2=$?
		wait "$three" 2>/dev/null
		for code in "$code1" "$code2"; do
			[ "$code" = 0 ] || [ "$code" = 137 ] || { cat said1 said2; echo "round $round: exit $code"; return 1; }
		done
		whole || return 1
	done
	[ "$round" -gt 2 ] || { echo "too slow: $round rounds in $SECONDS_MAX s"; return 77; }
}
t 'updates and gc at once, killed or not' crossed
t 'the store is whole' runs sw store verify

# Of an environment that is removed while a program of it runs, nothing is left but what the program holds open.
removed_in_use()
{
	runs sw env create -n gone -c ch tool=1 || return 1
	mkfifo go
	"$SLIPWAY" env run -n gone -- sh -c 'exec 3<"$0"; echo in; read -r x <&3; cat "$CONDA_PREFIX/lib/data" 2>/dev/null; exit 7' go >ran 2>&1 &
	pid=$!
	exec 9>go
	runs sw env remove -n gone || return 1
	[ ! -e "$SLIPWAY_ROOT/env/gone" ] || return 1
	echo on >&9
	exec 9>&-
	wait "$pid"
	[ $? = 7 ] || { cat ran; return 1; }
	runs sw env create -n gone -c ch tool=2 && prints 2 sw env run -n gone -- tool
}
t 'an environment is removed while it is used' removed_in_use

# A creation and a gc that knows nothing of it yet, again and again: none loses the other's packages.
collected()
{
	round=0
	while [ "$round" -lt 6 ] && ! late; do
		round=$((round + 1))
		"$SLIPWAY" -q env create -n "n$round" -c ch tool=2 >said1 2>&1 &
		one=$!
		sw -q store gc >said2 2>&1
		wait "$one" || { cat said1; return 1; }
		prints 2 sw env run -n "n$round" -- tool && runs sw env check -n "n$round" && runs sw env remove -n "n$round" ||
			return 1
	done
}
t 'gc while an environment is made' collected
t 'nothing is left of what was killed' runs sw store gc
t 'in tmp' [ -z "$(ls "$SLIPWAY_ROOT/store/tmp")" ]

done_testing
