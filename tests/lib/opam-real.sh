# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016,SC2086 # formats of apt; what is shown where one of them fails always succeeds; lists of names
# . "$SOURCE_ROOT/tests/lib/opam-real.sh": a local opam repository in ./repo with real packages, whose archives lie beside them (repo/cache): sources that Debian's
# source archive has byte for byte. Skips the script where they, or what builds them, cannot be had.
#
# ocaml 4.13.1 (the machine's own), cmdliner, fmt, topkg, ocamlbuild, ocamlfind, and greet 1, a program that needs them and greets whom it is told to.
# $more_sources and $more_packages, said before, name Debian's sources and the packages that are made of them.
need_shared data/opam/opam-files-2025-05-06.tar.zst
for tool in ocamlfind apt-get zstd make; do
	command -v $tool >/dev/null || skip_all "build: no $tool"
done
[ "$(ocamlfind ocamlopt -version 2>/dev/null)" = 4.13.1 ] || skip_all 'build: no OCaml 4.13.1'

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
apt update >apt.log 2>&1 && (cd sources && apt source --download-only findlib ocamlbuild ocaml-topkg cmdliner ocaml-fmt ${more_sources:-}) >>apt.log 2>&1 ||
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
for nv in cmdliner.1.1.1 fmt.0.9.0 topkg.1.0.7 ocamlbuild.0.14.1 ocamlfind.1.9.6 ${more_packages:-}; do
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
