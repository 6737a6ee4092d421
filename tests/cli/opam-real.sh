# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Real opam packages, whose sources Debian's source archive has byte for byte, built with this machine's OCaml from a local opam repository
# into a program that runs; the real opam, where it is installed, agrees on what is there.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/opam-real.sh"

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam

t 'a root is made' ./opam init --bare --no-setup -k local default repo
t 'and a switch' ./opam switch create sw --empty
built()
{
	./opam install greet >out 2>err || { cat out err; return 1; }
	[ "$(grep -c '^-> installed' out)" = 7 ] && [ "$(grep -c '^-> retrieved' out)" = 5 ]
}
t 'seven packages are built from sources' built
t 'the program runs' eval '[ "$(r/sw/bin/greet Debian)" = "hello Debian" ]'
if command -v opam >/dev/null; then
	agrees()
	{
		opam list --installed --short --columns=package >theirs 2>/dev/null && ./opam list --installed --short --columns=package >ours 2>/dev/null &&
			diff theirs ours && [ "$(wc -l <ours)" = 7 ]
	}
	t 'opam agrees on what is installed' agrees
fi
cached()
{
	rm -rf repo/cache
	./opam reinstall cmdliner >out 2>err || { cat out err; return 1; }
	[ "$(grep -c '^-> retrieved.*(cached)' out)" = 2 ] && [ "$(r/sw/bin/greet)" = 'hello world' ]
}
t 'and are built again from the cache' cached
copied()
{
	./opam remove ocaml >out 2>err && ./opam switch remove sw >/dev/null 2>&1 && ./opam switch create sw --empty >/dev/null 2>&1 || return 1
	rm -rf r/download-cache
	./opam install greet >out 2>err || { cat out err; return 1; }
	[ "$(grep -c '(built before)' out)" = 6 ] && ! grep -q retrieved out && [ "$(r/sw/bin/greet)" = 'hello world' ]
}
t 'in another switch of that path all but what asks the machine are copied' copied
if command -v opam >/dev/null; then
	t 'and opam agrees' agrees
fi
done_testing
