# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Environments of real opam packages, whose sources Debian's source archive has byte for byte, built with this machine's OCaml: what was built for one place
# works in another, programs and libraries alike.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need_shared data/opam/opam-files-2025-05-06.tar.zst
for tool in ocamlfind apt-get zstd make; do
	command -v $tool >/dev/null || skip_all "build: no $tool"
done
[ "$(ocamlfind ocamlopt -version 2>/dev/null)" = 4.13.1 ] || skip_all 'build: no OCaml 4.13.1'
unset OPAMROOT OPAMSWITCH OPAM_SWITCH_PREFIX CAML_LD_LIBRARY_PATH

# sources as apt has them, with a configuration that is thrown away
mkdir -p apt/lists/partial apt/cache/archives/partial sources
echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' >apt/sources.list
apt()
{
	timeout 120 apt-get -qq -o Dir::Etc::sourcelist="$T/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$T/apt/lists" \
		-o Dir::Cache="$T/apt/cache" -o Acquire::Retries=0 -o APT::Sandbox::User=root "$@"
}
apt update >apt.log 2>&1 && (cd sources && apt source --download-only findlib ocamlbuild ocaml-topkg cmdliner ocaml-fmt) >>apt.log 2>&1 ||
	skip_all 'build: no sources from the archive of Debian'

mkdir -p repo/packages repo/cache all
printf 'opam-version: "2.0"\narchive-mirrors: "cache"\n' >repo/repo
for f in sources/*.orig.tar.*; do
	for kind in md5 sha256 sha512; do
		sum=$("${kind}sum" <"$f" | cut -d ' ' -f 1)
		mkdir -p "repo/cache/$kind/$(echo "$sum" | cut -c 1-2)"
		cp "$f" "repo/cache/$kind/$(echo "$sum" | cut -c 1-2)/$sum"
	done
done
for nv in cmdliner.1.1.1 fmt.0.9.0 topkg.1.0.7 ocamlbuild.0.14.1 ocamlfind.1.9.6; do
	tar --zstd -xf "$SHARED/data/opam/opam-files-2025-05-06.tar.zst" -C all --wildcards "*/$nv/opam"
	mkdir -p "repo/packages/${nv%%.*}/$nv"
	cp "$(find all -path "*/$nv/opam")" "repo/packages/${nv%%.*}/$nv/opam"
done
# a patch for OCaml 5 that lies elsewhere
sed -i -e '/^patches:/d' -e '/^extra-source/,/^}/d' repo/packages/ocamlfind/ocamlfind.1.9.6/opam
mkdir -p repo/packages/ocaml/ocaml.4.13.1
cat >repo/packages/ocaml/ocaml.4.13.1/opam <<'END'
opam-version: "2.0"
synopsis: "The machine's own OCaml"
build: ["sh" "-c" "printf 'opam-version: \"2.0\"\\nvariables {\\n  native: true\\n  native-tools: true\\n  preinstalled: true\\n}\\n' > ocaml.config"]
setenv: [
  [CAML_LD_LIBRARY_PATH = "%{lib}%/stublibs"]
  [OCAML_TOPLEVEL_PATH = "%{toplevel}%"]
]
available: sys-ocaml-version = "4.13.1"
flags: [conf compiler]
END

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
done_testing
