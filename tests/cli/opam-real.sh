# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016 # formats of apt; what is shown where one of them fails always succeeds
# Real opam packages, whose sources Debian's source archive has byte for byte, built with this machine's OCaml from a local opam repository
# into a program that runs; the real opam, where it is installed, agrees on what is there.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need_shared data/opam/opam-files-2025-05-06.tar.zst
for tool in ocamlfind apt-get zstd make; do
	command -v $tool >/dev/null || skip_all "build: no $tool"
done
[ "$(ocamlfind ocamlopt -version 2>/dev/null)" = 4.13.1 ] || skip_all 'build: no OCaml 4.13.1'

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam

# sources from where apt has its packages from, with a configuration that is thrown away
mkdir -p apt/lists/partial apt/cache/archives/partial sources
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
[ -n "$archive" ] || skip_all 'build: apt has no archive of Debian 12'
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm main" >apt/sources.list
apt()
{
	timeout 120 apt-get -qq -o Dir::Etc::sourcelist="$T/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$T/apt/lists" \
		-o Dir::Cache="$T/apt/cache" -o Acquire::Retries=0 -o APT::Sandbox::User=root "$@"
}
apt update >apt.log 2>&1 && (cd sources && apt source --download-only findlib ocamlbuild ocaml-topkg cmdliner ocaml-fmt) >>apt.log 2>&1 ||
	skip_all 'build: no sources from the archive of Debian'

mkdir -p repo/packages repo/cache
printf 'opam-version: "2.0"\narchive-mirrors: "cache"\n' >repo/repo
for f in sources/*.orig.tar.*; do
	for kind in md5 sha256 sha512; do
		sum=$("${kind}sum" <"$f" | cut -d ' ' -f 1)
		mkdir -p "repo/cache/$kind/$(echo "$sum" | cut -c 1-2)"
		cp "$f" "repo/cache/$kind/$(echo "$sum" | cut -c 1-2)/$sum"
	done
done
mkdir all
for nv in cmdliner.1.1.1 fmt.0.9.0 topkg.1.0.7 ocamlbuild.0.14.1 ocamlfind.1.9.6; do
	tar --zstd -xf "$SHARED/data/opam/opam-files-2025-05-06.tar.zst" -C all --wildcards "*/$nv/opam"
	mkdir -p "repo/packages/${nv%%.*}/$nv"
	cp "$(find all -path "*/$nv/opam")" "repo/packages/${nv%%.*}/$nv/opam"
done
# a patch for OCaml 5 that lies elsewhere
sed -i -e '/^patches:/d' -e '/^extra-source/,/^}/d' repo/packages/ocamlfind/ocamlfind.1.9.6/opam
mkdir -p repo/packages/ocaml/ocaml.4.13.1 repo/packages/greet/greet.1
cat >repo/packages/ocaml/ocaml.4.13.1/opam <<'END'
opam-version: "2.0"
synopsis: "The machine's own OCaml"
build: ["sh" "-c" "printf 'opam-version: \"2.0\"\\nvariables {\\n  native: true\\n  native-tools: true\\n  preinstalled: true\\n}\\n' > ocaml.config"]
setenv: [
  [OCAMLTOP_INCLUDE_PATH += "%{toplevel}%"]
  [CAML_LD_LIBRARY_PATH = "%{lib}%/stublibs"]
  [OCAML_TOPLEVEL_PATH = "%{toplevel}%"]
]
available: sys-ocaml-version = "4.13.1"
flags: [conf compiler]
END
cat >repo/packages/greet/greet.1/opam <<'END'
opam-version: "2.0"
depends: ["ocaml" "ocamlfind" {build} "fmt" "cmdliner" {>= "1.1"}]
build: [
  ["sh" "-c" "printf '%s\\n' 'let who = Cmdliner.Arg.(value & pos 0 string \"world\" & info [])' 'let greet w = Fmt.pr \"hello %a@.\" Fmt.string w' 'let () = exit Cmdliner.Cmd.(eval (v (info \"greet\") Cmdliner.Term.(const greet $ who)))' > greet.ml"]
  ["ocamlfind" "ocamlopt" "-package" "fmt,cmdliner" "-linkpkg" "greet.ml" "-o" "greet"]
]
install: ["install" "-D" "greet" "%{bin}%/greet"]
END

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
