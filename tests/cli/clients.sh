# SPDX-License-Identifier: Apache-2.0
# Other clients take an environment for theirs: what they list, what they install and remove, what slipway says of it then.
# SLIPWAY_CONDA and SLIPWAY_MAMBA name the programs (doc/clients.md); without them nothing is tested.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
[ -n "${SLIPWAY_CONDA:-}${SLIPWAY_MAMBA:-}" ] || skip_all 'build without a peer'
export CONDA_OFFLINE=true CONDA_QUIET=true CONDA_PKGS_DIRS="$T/pkgs" MAMBA_ROOT_PREFIX="$T/mamba"
e=$SLIPWAY_ROOT/env/e/current

for v in 1 2; do
	mkdir -p stage/bin stage/share/lib
	printf '#!/bin/sh\n# %s\necho lib %s\n' "$PLACEHOLDER" "$v" >stage/bin/lib
	chmod +x stage/bin/lib
	ln -s ../../bin/lib stage/share/lib/link
	package stage lib "$v"
done
mkdir -p stage/share
echo tool >stage/share/tool
package stage tool 1 'lib >=1'
mkdir -p stage/share
echo more >stage/share/more
package stage more 1 lib
"$SLIPWAY" channel publish ch ./*.tar.bz2 >/dev/null 2>&1

# what a client says of the environment, apart from its own frame
says()
{
	runs "$client" "$@" -p "$e"
}

# reads CLIENT: everything about one client
reads()
{
	client=$1
	rm -rf "$SLIPWAY_ROOT"
	t "$client: an environment" runs "$SLIPWAY" env create -n e -c ./ch tool lib=1
	t "$client: changed" runs "$SLIPWAY" env update -n e 'lib[version=">=2"]'
	t "$client: changed again" runs "$SLIPWAY" env update -n e --remove tool
	t "$client: lists it" says list
	t "$client: with its packages" has '^ *lib  *2  *0 ' out
	t "$client: revisions" says list --revisions
	t "$client: all of them" [ "$(grep -c 'rev [0-9]' out)" = 3 ]
	t "$client: exports what was asked for" says env export --from-history
	t "$client: that" has "^ *- lib.*>=2" out
	t "$client: and no more" sh -c '! grep -q tool out'
	t "$client: installs" runs "$client" install -y -p "$e" --override-channels -c "file://$T/ch" more
	t "$client: which is seen" must_fail 1 "$SLIPWAY" env check -n e
	t "$client: by name" has 'added .*conda-meta/more-1-0.json' out
	t "$client: removes" runs "$client" remove -y -p "$e" lib
	t "$client: whatever was there" [ -z "$(find "$e/" ! -path '*/conda-meta*' \( -type f -o -type l \))" ]
	t "$client: the store is whole" runs "$SLIPWAY" store verify
	t "$client: the next change" runs "$SLIPWAY" env update -n e tool
	t "$client: puts it right" runs "$SLIPWAY" env check -n e
	t "$client: and is a revision" says list --revisions
	t "$client: after theirs" [ "$(grep -c 'rev [0-9]' out)" = 6 ]
}
for client in ${SLIPWAY_CONDA:+"$SLIPWAY_CONDA"} ${SLIPWAY_MAMBA:+"$SLIPWAY_MAMBA"}; do
	reads "$client"
done
done_testing
