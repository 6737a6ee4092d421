# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Builds for tests: . "$SOURCE_ROOT/tests/lib/specs.sh" imports a small image as `base` (image_name: another name), or skips the script
# where sandboxes cannot be had.
#
#	spec FILE OP...       a spec from base, of these operations
#	log_of FILE           the log without time stamps, ids and empty lines, as the shared ones are
#	id_in FILE            the id in its last line
#	await COMMAND...      until it succeeds, at most 20 s
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
rootfs_tar base.tar || exit 1
"$SLIPWAY" build --check >check 2>&1 || skip_all "kernel: $(tail -n 1 check)"
"$SLIPWAY" -q image import "${image_name:-base}" base.tar >/dev/null || exit 1
STORE=$SLIPWAY_ROOT/build

spec()
{
	spec_file=$1
	shift
	{
		echo "((from ${image_name:-base})"
		printf ' %s\n' "$@"
		echo ')'
	} >"$spec_file"
}

log_of()
{
	sed -e 's/[0-9]\{4\}-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]\.[0-9][0-9] \(--*>\)/\1/' -e 's/"[0-9a-f]\{64\}"/"ID"/' -e '/^$/d' "$1"
}

id_in()
{
	sed -n 's/^Got: "\([0-9a-f]*\)"$/\1/p' "$1"
}

await()
{
	await_n=0
	until "$@" >/dev/null 2>&1; do
		await_n=$((await_n + 1))
		[ "$await_n" -lt 400 ] || { echo "in vain: $*"; return 1; }
		sleep 0.05
	done
}

# layers: how many there are; idle: nothing is made now, and nothing half-made is left
layers()
{
	find "$STORE/layer" -mindepth 1 -maxdepth 1 | wc -l
}
idle()
{
	[ -z "$(ls -A "$STORE/run" 2>/dev/null)" ] && [ -z "$(ls -A "$STORE/tmp" 2>/dev/null)" ]
}
