# SPDX-License-Identifier: Apache-2.0
# An opam repository: whatever call fails, and wherever the process stops, readers have a whole index, and its archives.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/kinds.sh"
for v in 1 2; do
	echo "archive $v" >x-$v.tar.gz
	mkdir -p x.$v
	printf 'opam-version: "2.0"\nurl { src: "https://h.invalid/%s" checksum: "sha256=%s" }\n' $v \
		"$(sha256sum <x-$v.tar.gz | cut -d ' ' -f 1)" >x.$v/opam
done
kind=opam one="$T/x.1/opam $T/x-1.tar.gz" two="$T/x.2/opam $T/x-2.tar.gz" path=packages/x/x.2/opam
sweep_kind
done_testing
