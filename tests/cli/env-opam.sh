# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Environments with opam packages: made, used, changed, gone back, exported and made elsewhere, beside conda packages; what fails, and what is killed.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/opam-repo.sh"
need tar bzip2
unset X_PATH X_ROOT X_BEHIND OPAM_SWITCH_PREFIX
opam_repo || exit 1

t 'says where repositories come from' must_fail 2 "$SLIPWAY" env create -n o --opam hello
t 'and how' has 'slipway channel add opam' err
t 'a repository is kept' "$SLIPWAY" channel add opam repo
t 'a dry run shows what would be built' runs "$SLIPWAY" env create -n o --opam hello --dry-run
t 'packages of it' has '^+ opam:hello *1.0 ' out
t 'how many' has 'to build: 2$' out
t 'and makes none' must_fail 1 "$SLIPWAY" env packages -n o

t 'an environment is made' runs "$SLIPWAY" env create -n o --opam hello
t 'built from sources' has '^built hello.1.0$' err
t 'a program of it runs' prints "hello from $T/root/env/o/1" "$SLIPWAY" env run -n o hello
t 'through its link' prints "hello from $T/root/env/o/1" "$SLIPWAY" env run -n o hi
t 'what it was built with was there' prints 'tool 2' cat root/env/o/1/share/hello/hello.txt
# a path as long as that of the place where it was built, so that nothing behind it moves
same_length()
{
	tr '\0' '\n' <root/env/o/1/share/hello/hello.bin >lines
	[ "$(sed -n 1p lines)" = a ] && [ "$(sed -n 3p lines)" = b ] && [ "$(realpath -ms "$(sed -n 2p lines)")" = "$T/root/env/o/1/lib" ] &&
		! grep -q built-for lines || { cat lines; return 1; }
}
t 'paths in binary files lead there, too' same_length
t 'it is listed' runs "$SLIPWAY" env list
t 'with its packages' has '^o  *1  *2 ' out
t 'which are those of the repository' runs "$SLIPWAY" env packages -n o
t 'one of them asked for' has '^opam:hello  *1.0 .*  opam:hello$' out
t 'nothing differs from what was laid out' "$SLIPWAY" env check -n o
t 'the store is whole' "$SLIPWAY" store verify
t 'the archives of its sources are counted' eval '"$SLIPWAY" store size | grep -q "^sources of opam packages: .* in .$T/root/opam/download-cache., which may be removed$"'
t 'where it was built is gone' [ ! -e root/opam/work ]

variables()
{
	X_PATH=mine X_BEHIND=x "$SLIPWAY" env run -n o sh -c 'echo "$X_PATH|$X_ROOT|$X_BEHIND|$OPAM_SWITCH_PREFIX"'
}
p=$T/root/env/o/1
t 'variables are as its packages say' prints "$p/lib/x:mine|$p|x:y|$p" variables
activated()
{
	# shellcheck disable=SC2030,SC2031 # a shell of its own
	(
		X_PATH=mine
		eval "$("$SLIPWAY" env activate -n o)" && [ "$(hello)" = "hello from $p" ] && [ "$X_PATH|$X_ROOT|${X_BEHIND-}" = "$p/lib/x:mine|$p|y" ] &&
			slipway_deactivate && [ "$X_PATH|${X_ROOT-unset}|${X_BEHIND-unset}|${OPAM_SWITCH_PREFIX-unset}" = 'mine|unset|unset|unset' ]
	)
}
t 'in a shell, and taken back' activated
t 'wrappers are made' "$SLIPWAY" env wrap -n o --dir wrapped hello
t 'and run' prints "hello from $T/root/env/o/1" wrapped/hello

t 'why is a package there' prints "'opam:hello' was asked for: opam:hello 1.0 needs opam:base-x (>= 1): opam:base-x 2" "$SLIPWAY" why -n o opam:base-x

t 'why not another version: what would change' runs "$SLIPWAY" why -n o opam:base-x.1
t 'is told' has '^  base-x 2 -> 1$' out
t 'and nothing else' [ "$(wc -l <out)" = 2 ]
opam_package picky 1 <<END
depends: ["base-x" {< "2"}]
END
opam_package picky 2 <<END
depends: ["base-x" {>= "2"}]
END
t 'one that needs the newer' runs "$SLIPWAY" env create -n w --opam picky 'base-x>=2'
t 'keeps the older one out' runs "$SLIPWAY" why -n w opam:picky.1
t 'and says how' has "^'opam:picky.1' cannot be in 'w':" out
t 'by its own need' has 'base-x >= 2 was asked for, but picky < 2 needs base-x < 2' out
t 'as JSON' runs "$SLIPWAY" why -n w opam:picky.1 --json
t 'too' has '"possible": false' out
t 'a version that there is not is an error' must_fail 1 "$SLIPWAY" why -n w opam:picky.7

# -- changes
t 'another version is asked for' runs "$SLIPWAY" env update -n o opam:base-x.1
t 'and what was built with the other is built again' has '^built hello.1.0$' err
t 'it is there' prints 'tool 1' "$SLIPWAY" env run -n o base-tool
t 'back' "$SLIPWAY" install rollback -n o
t 'the other one' prints 'tool 2' "$SLIPWAY" env run -n o base-tool
t 'forward again, without building' runs "$SLIPWAY" env update -n o --opam base-x.1
t 'not one' hasnt '^built' err
t 'a package that does not build' must_fail 1 "$SLIPWAY" env update -n o --opam bad
t 'says why' has "'opam:bad' 1: it does not build: .* ended with code 3" err
t 'shows what it printed' has '| two$' err
t 'and changes nothing' has "^nothing changed: 'o' is as it was" err
t 'at all' prints 'tool 1' "$SLIPWAY" env run -n o base-tool
opam_package conf-thing 1 <<END
depexts: [["libthing-dev" "thing-tools"] {os-family = "debian" | os-distribution = "debian"} ["thing-devel"] {os-distribution = "none"}]
build: ["false"]
END
t 'one that lacks something of the system' must_fail 1 "$SLIPWAY" env update -n o --opam conf-thing
t 'says what' has "'conf-thing' says that it needs packages of the system: libthing-dev, thing-tools$" err
t 'with JSON, too' must_fail 1 "$SLIPWAY" env update -n o --opam bad --json
t 'as an error' has '"error": .*does not build' out
t 'one that cannot be had' must_fail 3 "$SLIPWAY" env update -n o --opam nosolve
t 'says what is in the way' has 'nosolve needs base-x >= 9, but there is no such version' err
t 'one that there is not' must_fail 1 "$SLIPWAY" env update -n o --opam nix
t 'is named' has "no package 'opam:nix'" err
t 'a version that there is not' must_fail 1 "$SLIPWAY" env update -n o --opam hello.7
t 'is, too' has "'opam:hello' has no version for 'hello.7'" err
t 'sources without a checksum are refused' must_fail 1 "$SLIPWAY" env update -n o --opam loose
t 'with the reason' has 'a source without a checksum' err
t 'what is needed is not removed' must_fail 1 "$SLIPWAY" env update -n o --opam --remove base-x
t 'and why' has "'opam:base-x' cannot be removed" err
t 'what is not there is not, either' must_fail 1 "$SLIPWAY" env update -n o --opam --remove nix
t 'all to the newest: as asked for' runs "$SLIPWAY" env update -n o --all
t 'is the same' has 'nothing to do' err
t 'without the version' runs "$SLIPWAY" env update -n o --all --opam base-x
t 'it is the newest' prints 'tool 2' "$SLIPWAY" env run -n o base-tool
t 'a package goes' runs "$SLIPWAY" env update -n o --opam --remove hello
t 'alone' prints 'opam:base-x' sh -c '"$SLIPWAY" env packages -n o | sed 1d | cut -d " " -f 1'

# -- elsewhere
t 'back to where it was' "$SLIPWAY" install rollback -n o 1
"$SLIPWAY" env export -n o >o.spr
t 'a recipe says of what packages are made' has '^package {"name":"opam:hello".*"opam":{"file":"[0-9a-f]*","key":"[0-9a-f]*","sources":\["md5=' o.spr
t 'and which repository' has "^channel opam:file://$T/repo" o.spr
t 'as environment.yml there is none' must_fail 1 "$SLIPWAY" env export -n o --yml
t 'and says so' has 'opam' err
t 'applied to another root it is built there' runs "$SLIPWAY" --root elsewhere/and/longer apply o.spr -n copy
t 'from sources' has '^built hello.1.0$' err
t 'and runs there' prints "hello from $T/elsewhere/and/longer/env/copy/1" "$SLIPWAY" --root elsewhere/and/longer env run -n copy hello
sed 's/"base-x" {>= "1"}/"base-x"/; s/MIT/ISC/' -i repo/packages/hello/hello.1.0/opam
t 'what is said about a package may change' runs "$SLIPWAY" --root third apply o.spr -n copy
sed 's/chmod +x/chmod 0755/' -i repo/packages/hello/hello.1.0/opam
t 'how it is built may not' must_fail 1 "$SLIPWAY" --root fourth apply o.spr -n copy
t 'then that is said' has "the opam file of 'opam:hello' 1.0 .* is not the one that the recipe was made with" err
t 'while what is built of it already is used' runs "$SLIPWAY" env create -n p --opam base-x
mv repo/packages/hello gone
t 'a package that no repository has any more stays' runs "$SLIPWAY" env update -n o --opam nothing
t 'as it was built' prints "hello from $T/root/env/o/6" "$SLIPWAY" env run -n o hello
t 'it is not built again with something else' must_fail 1 "$SLIPWAY" env update -n o --opam base-x.1
t 'and that is said' has "'opam:hello' 1.0 is in none of the opam repositories any more, and would have to be built again with another 'opam:base-x'" err
mv gone repo/packages/hello

# -- beside conda
mkdir -p stage/bin
printf '#!/bin/sh\necho conda\n' >stage/bin/conda-tool
chmod +x stage/bin/conda-tool
package stage conda-tool 1 && "$SLIPWAY" -q channel publish ch ./*.tar.bz2
t 'both kinds in one' runs "$SLIPWAY" env create -n both -c ch conda-tool opam:base-x
t 'the one runs' prints conda "$SLIPWAY" env run -n both conda-tool
t 'and the other' prints 'tool 2' "$SLIPWAY" env run -n both base-tool
mv repo away
t 'one kind is changed without a look at the other' runs "$SLIPWAY" env update -n both --remove conda-tool --override-channels -c ch
t 'which stays' prints 'tool 2' "$SLIPWAY" env run -n both base-tool
mv away repo
t 'back' "$SLIPWAY" install rollback -n both
t 'one is changed' runs "$SLIPWAY" env update -n both opam:base-x.1
t 'the other stays' prints conda "$SLIPWAY" env run -n both conda-tool
t 'one goes' runs "$SLIPWAY" env update -n both --remove conda-tool
t 'and the other stays' prints 'tool 1' "$SLIPWAY" env run -n both base-tool

# -- compilers
mkdir fake
printf '#!/bin/sh\necho 4.99.0\n' >fake/ocamlc
chmod +x fake/ocamlc
opam_package built-compiler 1 <<END
flags: compiler
url { src: "file://$T/hello.tar.gz" checksum: $(opam_sums hello.tar.gz) }
END
opam_package ocaml-system 4.99.0 <<END
flags: compiler
available: sys-ocaml-version = "4.99.0"
END
opam_package of-compiler 1 <<END
depends: ["ocaml-system"]
END
with_compiler()
{
	PATH=$T/fake:$PATH "$SLIPWAY" "$@"
}
t 'a compiler that is built' runs with_compiler env create -n c --opam built-compiler --dry-run
t 'is told of, and the one that is there' has "with 'opam:ocaml-system' it is this host's OCaml 4.99.0" err
t 'the one that is there' runs with_compiler env create -n c --opam of-compiler
t 'is not' hasnt 'note: the compiler' err
t 'nothing is to be done' runs with_compiler env update -n c --all --opam of-compiler
t 'while it is the same' has 'nothing to do' err
echo '# another build' >>fake/ocamlc
t 'another of the same version' runs with_compiler env update -n c --all --opam of-compiler
t 'has all built again that stands on it' [ "$(grep -c '^built' err)" = 2 ]

# -- two at once
opam_package one-time 1 <<END
build: ["sh" "-c" "touch $T/one-began; while [ ! -e $T/two-waits ]; do sleep 0.1; done"]
END
two()
{
	"$SLIPWAY" env create -n two-a --opam --disable-sandboxing one-time >out.a 2>err.a &
	first=$!
	n=0
	while [ ! -e one-began ] && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	"$SLIPWAY" env create -n two-b --opam --disable-sandboxing one-time >out.b 2>err.b &
	second=$!
	while ! grep -q '^waiting for another command' err.b && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	touch two-waits
	wait $first && wait $second && grep -q '^built one-time.1' err.a && ! grep -q '^built' err.b || { cat err.a err.b; return 1; }
}
t 'who wants the same at the same time waits, and has it' two
for e in two-a two-b; do
	"$SLIPWAY" -q env remove -n $e
done

# -- killed
opam_package slow 1 <<END
depends: ["base-x"]
build: ["sh" "-c" "touch $T/began; sleep 60"]
END
killed()
{
	"$SLIPWAY" env update -n o --opam --disable-sandboxing slow >out 2>err &
	pid=$!
	n=0
	while [ ! -e began ] && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -9 $pid
	wait $pid 2>/dev/null
	[ -e began ] && "$SLIPWAY" env run -n o base-tool >said && "$SLIPWAY" env update -n o --opam base-x >out 2>err && [ ! -e root/opam/work ] ||
		{ cat out err; ls root/opam; return 1; }
}
t 'killed while it builds it leaves what was there, and the next goes on' killed
t 'nothing is kept that nobody has' runs "$SLIPWAY" env remove -n both
t 'gc keeps what is in use' runs "$SLIPWAY" store gc
t 'it runs' "$SLIPWAY" env run -n o hello
t 'an opam spec is none to solve for beside conda' must_fail 2 "$SLIPWAY" solve -c ch opam:hello
t 'which says what is' has "slipway opam solve" err
t 'the last environments go' sh -c 'for e in c o w p; do "$SLIPWAY" -q env remove -n $e || exit 1; done'
: >root/opam/kept/torn
t 'gc takes what they had' runs "$SLIPWAY" store gc
t 'and forgets what it was made of' [ -z "$(ls -A root/opam/kept)" ]
t 'it can be made again' runs "$SLIPWAY" env create -n o --opam hello
t 'and runs' prints "hello from $T/root/env/o/$(readlink root/env/o/current)" "$SLIPWAY" env run -n o hello
done_testing
