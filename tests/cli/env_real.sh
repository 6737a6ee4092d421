# SPDX-License-Identifier: Apache-2.0
# Environments of real packages, as other tools made them.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need_shared data/conda/packages
p=$SHARED/data/conda/packages

sw()
{
	"$SLIPWAY" "$@"
}

# in_tree DIR: every path with type and mode; digests where the prefix is not in the file
in_tree()
{
	(
		[ -n "$1" ] && cd "$1" || exit 1
		find . -type l -printf '%P -> %l\n' -o -printf '%P %m %y\n' | sort
		find . -type f ! -path './conda-meta/*' | sort | while read -r f; do
			sed "s,$1,PREFIX,g" "$f" | sha256sum
		done
	)
}

# same ENV1 ENV2
same()
{
	in_tree "$(readlink -f "$SLIPWAY_ROOT/env/$1/current")" >tree1
	in_tree "$(readlink -f "$SLIPWAY_ROOT/env/$2/current")" >tree2
	[ "$(wc -l <tree1)" -gt 20 ] && diff tree1 tree2
}

{
	echo @EXPLICIT
	for f in conda-test-recipes/python-3.99.99-0.conda zlib-1.2.11-h7b6447c_3.tar.bz2 \
		ca-certificates-2024.7.4-hbcca054_0.conda symlink-test-1.0.0-0.conda zip64-test-1.0.0-0.conda \
		cph/mock-2.0.0-py37_1000.conda conda-test-recipes/sample_noarch_python-1.0-py_0.conda \
		conda-test-recipes/small-executable-1.0-0.conda conda-test-recipes/activate_deactivate_package-1.0-0.conda; do
		echo "$p/$f#$(sha256sum <"$p/$f" | cut -d ' ' -f 1)"
	done
} >list.txt
t 'create' runs sw env create -n a -f list.txt
t 'is whole' runs sw env check -n a
t 'knows its packages' runs sw env packages -n a
t 'each of them' [ "$(grep -c . out)" = 10 ]
t 'zlib is linked' has '#define ZLIB_VERSION "1.2.11"' "$SLIPWAY_ROOT/env/a/current/include/zlib.h"
t 'the prefix is put in' has "^prefix=$SLIPWAY_ROOT/env/a/1\$" "$SLIPWAY_ROOT/env/a/current/lib/pkgconfig/zlib.pc"
t 'export' runs sw env export -n a
cp out a.spr
t 'a copy' runs sw apply a.spr -n b
t 'is the same file for file' same a b
damage()
{
	d=$(readlink -f "$SLIPWAY_ROOT/env/b/current")
	rm "$d/lib/liblink.so" "$d/include/zlib.h" || return 1
	ln -s libz.a "$d/lib/liblink.so"
	echo x >>"$d/include/zconf.h"
	mkdir "$d/include/zlib.h"
	echo x >"$d/include/zlib.h/mine"
}
t 'damage it' damage
t 'check sees that' must_fail 1 sw env check -n b
t 'a link' has 'changed .*lib/liblink.so ' out
t 'a file' has 'changed .*include/zconf.h' out
t 'a folder in its place' has 'changed .*include/zlib.h ' out
t 'what is in it' has 'added .*include/zlib.h/mine' out
t 'sync' runs sw apply a.spr -n b --sync --syncmode=delete
t 'makes it whole' runs sw env check -n b
t 'the other one shared a file' runs sw apply a.spr -n a --sync --syncmode=delete
t 'and they are the same again' same a b
t 'the old package format' sh -c "sed 's,mock-2.0.0-py37_1000.conda.*,mock-2.0.0-py37_1000.tar.bz2,' list.txt >bz2.txt"
t 'makes an environment' runs sw env create -n c -f bz2.txt
t 'with the same files' same a c

# -- a channel of them
mkdir -p in/noarch
cp "$p"/symlink-test-* "$p"/zip64-test-* in/noarch/
t 'publish' runs sw channel publish ch "$p"/conda-test-recipes/*.conda "$p"/clobber/clobber-[123]-* "$p"/link-scripts-* in/noarch/*
t 'clobbered paths are told' runs sw env create -n d -c ./ch clobber-1 clobber-2 clobber-3
t 'each of them, by name' has "clobber.txt' is in both" err
t 'and are no difference' runs sw env check -n d
t 'they may be refused' must_fail 1 sw env create -n e --clobber refuse -c ./ch clobber-1 clobber-2
t 'so that nothing is there' must_fail 1 sw env check -n e
t 'post-link scripts are told' runs sw env create -n f -c ./ch link-scripts
t 'and not run' has 'post-link.sh (not run: not allowed)' err
t 'a dependency with versions' runs sw env create -n g -c ./ch 'dependent=1.0'
t 'is solved for' has 'dependency  *1.0' out
t 'update' runs sw env update -n g 'dependent=2.0'
t 'moves the dependency' has '~ dependency  *1.0 -> 2.0' out
t 'rollback' runs sw install rollback -n g
t 'is what it was' runs sw env packages -n g
t 'to the version' has '^dependency  *1.0' out
t 'the store is whole' runs sw store verify
done_testing
