# SPDX-License-Identifier: Apache-2.0
# A small channel: whatever call fails, and wherever the process stops, it is what it was or what it is to be, whole, and the
# same command goes on.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/kinds.sh"
# in which order files are removed differs from run to run, and with it how many folders are tried to be removed: one call more or less
said()
{
	case $2:$1 in
	stop:99 | *:0 | fail:1) ;;
	*) echo "exit status $1"; cat "$T/said"; return 1 ;;
	esac
}
large=
for n in lib.1 lib.2 tool.1 other.1; do
	echo "archive $n" >"$n.tar.gz"
	mkdir -p "$n"
	printf 'opam-version: "2.0"\nurl { src: "https://h.invalid/%s" checksum: "sha256=%s" }\n' "$n" "$(sha256sum <"$n.tar.gz" | cut -d ' ' -f 1)" >"$n/opam"
	large="$large $T/$n/opam $T/$n.tar.gz"
done
echo 'depends: [ "lib" {< "2"} ]' >>tool.1/opam
kind=opam
# shellcheck disable=SC2086 # a list
"$op" opam publish "$T/large" $large || exit 1
tool() { none && "$op" opam small "$T/c" "$T/large" tool; }
after_tool()
{
	[ ! -e "$T/c/index.tar.gz" ] || "$op" opam check "$T/c" 2 || { echo damaged; return 1; }
	"$op" opam small "$T/c" "$T/large" tool && "$op" opam check "$T/c" 2 && "$op" opam clean "$T/c"
}
# tool.1 and lib.1, then lib.2 and other.1 as well, then these two alone
after_other()
{
	"$op" opam check "$T/c" 2 4 || { echo damaged; return 1; }
	"$op" opam small "$T/c" "$T/large" other 'lib.2' && "$op" opam check "$T/c" 2 && "$op" opam clean "$T/c" &&
		[ "$(tar -tzf "$T/c/index.tar.gz" | grep -c 'lib.2/opam\|other.1/opam')" = 2 ] && [ "$(find "$T/c/cache" -type f ! -name '.*' | wc -l)" = 2 ]
}
for mode in fail stop; do
	t "the first, $mode" sweep_one "$mode" none after_tool small "$T/c" "$T/large" tool
	t "another one, pruned, $mode" sweep_one "$mode" tool after_other small "$T/c" "$T/large" other lib.2
done
done_testing
