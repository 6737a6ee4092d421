#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/opam-ci/image.sh [DISTRIBUTION]: makes the image that `slipway opam ci` builds on, ocaml/opam:DISTRIBUTION-ocaml-VERSION of this machine's own
# Debian mirror, with the OCaml of that Debian. DISTRIBUTION (default: debian-12) is what opam's CI calls it.
#
#	SLIPWAY   the program (default: slipway)
#	OPAM      what is opam in the image (default: the same program, which has to run there)
#	SUITE     of Debian (default: bookworm)
#	SYSTEM    an archive or a folder of a system with OCaml, sudo and what Slipway needs, in place of Debian's packages (mmdebstrap,
#	          some minutes)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
slipway=${SLIPWAY:-slipway}
distribution=${1:-debian-12}
program=$(command -v "$slipway") || { echo "there is no program '$slipway'; say which with SLIPWAY=…" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# OCaml and what its packages are built with; what opam's steps call; libraries that Slipway loads when it needs them
packages=ocaml-nox,gcc,libc6-dev,make,m4,patch,sudo,bash,git,ca-certificates,tar,gzip,bzip2,xz-utils,unzip
packages=$packages,libarchive13,libcurl4,libssl3,libsqlite3-0,libxxhash0,libyaml-0-2,libzstd1

if "$slipway" image show example/opam-ci-system:1 >/dev/null 2>&1; then
	echo 'the system is here already; slipway image remove example/opam-ci-system:1 has it made anew'
elif [ -n "${SYSTEM-}" ]; then
	"$slipway" image import example/opam-ci-system:1 "$SYSTEM"
else
	"$slipway" image import example/opam-ci-system:1 --debian "${SUITE:-bookworm}" --include "$packages"
fi

cp "${OPAM:-$program}" "$dir/opam-2.1"
# as ocaml/opam's images have them: opam's own sandboxes only where they are asked for
cat >"$dir/opamrc-sandbox" <<'END'
wrap-build-commands: ["%{hooks}%/sandbox.sh" "build"] {os = "linux" | os = "macos"}
wrap-install-commands: ["%{hooks}%/sandbox.sh" "install"] {os = "linux" | os = "macos"}
wrap-remove-commands: ["%{hooks}%/sandbox.sh" "remove"] {os = "linux" | os = "macos"}
required-tools: []
END
cat >"$dir/opamrc" <<'END'
wrap-build-commands: []
wrap-install-commands: []
wrap-remove-commands: []
required-tools: []
END

# A repository of one package, the OCaml of the system, for the switch to begin with. Its version is asked of the image itself.
cat >"$dir/version.spec" <<'END'
((from example/opam-ci-system:1) (run (shell "ocamlc -version")))
END
id=$("$slipway" --quiet build -f "$dir/version.spec")
version=$("$slipway" build log "$id" | sed -n 's/^\([0-9][0-9.]*\)$/\1/p' | head -n 1)
[ -n "$version" ] || { echo "the system has no OCaml: ocamlc -version says nothing" >&2; exit 1; }
mkdir -p "$dir/start/packages/ocaml/ocaml.$version"
printf 'opam-version: "2.0"\n' >"$dir/start/repo"
cp "$here/ocaml.opam" "$dir/start/packages/ocaml/ocaml.$version/opam"
sed -i "s/@VERSION@/$version/g" "$dir/start/packages/ocaml/ocaml.$version/opam"

image=ocaml/opam:$distribution-ocaml-${version%.*}
"$slipway" build --tag "$image" --nested -f "$here/image.spec" "$dir"
echo "slipway opam ci --repo DIR --on ${image#*:} PACKAGE.VERSION"
