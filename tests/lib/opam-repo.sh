# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A small opam repository, ./repo, for tests of environments: base-x 1 and 2 (a program `base-tool` and variables), hello 1.0 with sources, a program
# that knows its prefix and a file that holds it between NULs, bad (does not build), nosolve.

# opam_package NAME VERSION <opam file
opam_package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		echo 'opam-version: "2.0"'
		cat
	} >"repo/packages/$1/$1.$2/opam"
}

# opam_sums FILE: its checksums, as a list
opam_sums()
{
	echo "[\"md5=$(md5sum <"$1" | cut -d ' ' -f 1)\" \"sha512=$(sha512sum <"$1" | cut -d ' ' -f 1)\"]"
}

opam_repo()
{
	mkdir -p repo/packages src/hello-1.0
	echo 'opam-version: "2.0"' >repo/repo
	printf '#!/bin/sh\necho hello from PREFIX\n' >src/hello-1.0/hello.sh
	tar -C src -czf hello.tar.gz hello-1.0 || return 1
	for base_version in 1 2; do
		opam_package base-x $base_version <<-END
			build: [["sh" "-c" "echo 'lib: [\"META\"] bin: [\"tool\" {\"base-tool\"}]' > base-x.install; echo m > META; printf '#!/bin/sh\\\\necho tool $base_version\\\\n' > tool"]]
			setenv: [[X_PATH += "%{lib}%/x"] [X_ROOT = "%{prefix}%"] [X_BEHIND =+ "y"]]
		END
	done
	opam_package hello 1.0 <<-END
		depends: ["base-x" {>= "1"}]
		license: "MIT"
		build: ["sh" "-c" "sed s,PREFIX,%{prefix}%, hello.sh >hello; chmod +x hello; base-tool > hello.txt; printf 'a\\\\000%{prefix}%/lib\\\\000b' >hello.bin"]
		install: [["mkdir" "-p" bin "%{share}%/hello"] ["cp" "hello" bin] ["cp" "hello.bin" "hello.txt" "%{share}%/hello"] ["ln" "-s" "hello" "%{bin}%/hi"]]
		url { src: "file://$PWD/hello.tar.gz" checksum: $(opam_sums hello.tar.gz) }
	END
	opam_package bad 1 <<-END
		depends: ["base-x"]
		build: ["sh" "-c" "echo one; echo two >&2; exit 3"]
	END
	opam_package nosolve 1 <<-END
		depends: ["base-x" {>= "9"}]
	END
	opam_package nothing 1 </dev/null
	opam_package loose 1 <<-END
		url { src: "file://$PWD/hello.tar.gz" }
	END
}
