# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Environments of real opam packages, whose sources Debian's source archive has byte for byte, built with this machine's OCaml: what was built for one place
# works in another, programs and libraries alike.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
unset OPAMROOT OPAMSWITCH OPAM_SWITCH_PREFIX CAML_LD_LIBRARY_PATH
export more_sources more_packages
more_sources='ocaml-dune cppo' more_packages='dune.2.9.3 base-unix.base base-threads.base cppo.1.6.9'
. "$SOURCE_ROOT/tests/lib/opam-real.sh"

t 'the repository is kept' "$SLIPWAY" --root root channel add opam repo
made()
{
	"$SLIPWAY" --root root env create -n ocaml --opam fmt cmdliner ocamlfind >out 2>err || { cat out err; return 1; }
	[ "$(grep -c '^built ' err)" = 6 ] && [ "$(grep -c '^fetched ' err)" = 5 ]
}
t 'six packages are built from sources' made
cat >greet.ml <<'END'
let who = Cmdliner.Arg.(value & pos 0 string "world" & info [])
let greet w = Fmt.pr "hello %a@." Fmt.string w
let () = exit Cmdliner.Cmd.(eval (v (info "greet") Cmdliner.Term.(const greet $ who)))
END
# what was built somewhere else is asked where it is: findlib's own configuration, its libraries, and programs linked with them
compiles()
{
	"$SLIPWAY" --root root env run -n "$1" ocamlfind ocamlopt -package fmt,cmdliner -linkpkg greet.ml -o greet >out 2>err &&
		[ "$(./greet Debian)" = 'hello Debian' ] &&
		[ "$("$SLIPWAY" --root root env run -n "$1" ocamlfind query fmt)" = "$T/root/env/$1/1/lib/fmt" ] && ! grep -q WARNING err ||
		{
			cat out err
			return 1
		}
}
t 'a program is compiled with them' compiles ocaml
bytecode()
{
	"$SLIPWAY" --root root env run -n ocaml ocamlfind ocamlc -package fmt,cmdliner -linkpkg greet.ml -o greet.byte >out 2>err &&
		[ "$("$SLIPWAY" --root root env run -n ocaml ./greet.byte)" = 'hello world' ] &&
		[ "$(realpath -ms "$("$SLIPWAY" --root root env run -n ocaml ocamlbuild -where)")" = "$T/root/env/ocaml/1/lib/ocamlbuild" ] || {
		cat out err
		return 1
	}
}
t 'and one of bytecode' bytecode
again()
{
	"$SLIPWAY" --root root env create -n other-place --opam fmt cmdliner ocamlfind >out 2>err && ! grep -q '^built' err
}
t 'another environment has them without building' again
t 'which works in its place' compiles other-place
nowhere()
{
	! grep -rl --exclude-dir=conda-meta built-for-environments root/env
}
t 'nothing remembers where it was built' nowhere
# what doc/opam.md begins with: dune, and a project that is built with it
tools()
{
	"$SLIPWAY" --root root env create -n tools --opam dune cppo fmt cmdliner >out 2>err || { cat out err; return 1; }
	grep -q '^built cppo' err && ! grep -q '^built cmdliner' err && [ "$("$SLIPWAY" --root root env run -n tools dune --version)" = 2.9.3 ] || { cat out err; return 1; }
}
t 'dune is built, and cppo with it' tools
mkdir project && { echo '#define WHOM "cppo"' && sed 's/"world"/WHOM/' greet.ml; } >project/greet.cppo.ml
echo '(lang dune 2.9)' >project/dune-project
cat >project/dune <<'END'
(rule (targets greet.ml) (deps greet.cppo.ml) (action (run cppo %{deps} -o %{targets})))
(executable (name greet) (libraries fmt cmdliner))
END
project()
{
	(cd project && "$SLIPWAY" --root ../root env run -n tools dune build ./greet.exe) >out 2>err && [ "$(project/_build/default/greet.exe)" = 'hello cppo' ] || {
		cat out err
		return 1
	}
}
t 'a project is built with them' project
done_testing
