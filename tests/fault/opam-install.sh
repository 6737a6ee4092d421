# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# opam install fails, and the process vanishes, at each state-changing call in turn. Each time: the switch can be read, what it says is
# installed is there, the cache gives out nothing wrong, and the next install works.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # in memory: where it lies does not matter
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C SLIPWAY_OPAM_KEPT=none # that they are kept, and used again: opam-reuse.sh
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL SLIPWAY_OPAM_KEPT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam
mkdir -p repo/packages/x/x.1 x-1
echo 'opam-version: "2.0"' >repo/repo
echo data >x-1/data
tar -czf x.tgz x-1
cat >repo/packages/x/x.1/opam <<END
opam-version: "2.0"
build: ["sh" "-c" "echo 'share: [\"data\"]' > x.install"]
install: ["sh" "-c" "mkdir -p %{bin}%; echo 'echo hi' > %{bin}%/x; chmod +x %{bin}%/x"]
url { src: "file://$T/x.tgz" checksum: ["md5=$(md5sum <x.tgz | cut -d ' ' -f 1)" "sha256=$(sha256sum <x.tgz | cut -d ' ' -f 1)"] }
END
mkdir -p repo/packages/listed/listed.1
sed '/^install:/d; s/x.install/listed.install/' repo/packages/x/x.1/opam >repo/packages/listed/listed.1/opam
./opam init --bare --no-setup -k local default repo >/dev/null && ./opam switch create sw --empty >/dev/null || exit 1
cp -a r fresh

operation()
{
	./opam install -j 1 --disable-sandboxing "$package" >said 2>&1
}

whole()
{
	{ [ "$package" = listed ] || [ "$(r/sw/bin/x)" = hi ]; } && [ "$(cat "r/sw/share/$package/data")" = data ]
}

contents()
{
	(cd r/sw && find . | LC_ALL=C sort)
}

after()
{
	FAULT='' ./opam list --installed --short >listed 2>said2 || { echo 'the switch cannot be read'; cat said2; return 1; }
	if grep -qx "$package" listed; then
		whole || { echo 'installed, and not there'; return 1; }
	fi
	for f in r/download-cache/sha256/*/*; do
		[ ! -f "$f" ] || [ "$(sha256sum <"$f" | cut -d ' ' -f 1)" = "${f##*/}" ] || { echo "wrong: $f"; return 1; }
	done
	FAULT='' ./opam reinstall -j 1 --disable-sandboxing "$package" >said2 2>&1 || { echo 'the next one fails'; cat said2; return 1; }
	whole || { echo 'the next one installs nothing'; cat said2; return 1; }
	[ ! -e r/sw/.opam-switch/.slipway ] && [ -z "$(ls -A r/download-cache/.slipway)" ] || { echo 'something is left'; return 1; }
	[ -z "$(ls -A r/sw/.opam-switch/build)" ] || { echo 'a build folder is left'; return 1; }
	FAULT='' ./opam remove "$package" >said2 2>&1 || { echo 'it is not removed'; cat said2; return 1; }
	# what install commands laid that were killed nobody knows; those of a run that fetched sources ran
	if grep -q retrieved said; then rm -f r/sw/bin/x; fi
	contents | diff before - || { echo 'files are left'; return 1; }
}

# begin PACKAGE: counts the calls of the operation
begin()
{
	package=$1
	rm -rf count r
	cp -a fresh r
	FAULT=count:$T/count operation || { cat said; return 1; }
	./opam remove "$package" >said || return 1
	contents >before
	calls=$(awk '{ n += $1 } END { print n }' count)
	[ "${calls:-0}" -gt 20 ]
}

sweep()
{
	n=1
	while [ "$n" -le "$calls" ]; do
		rm -rf r
		cp -a fresh r
		FAULT=$1:$n operation
		rc=$?
		# shellcheck disable=SC2015 # one of them is enough
		[ "$rc" != 139 ] && [ "$rc" != 134 ] && after || { echo "$1:$n, exit $rc"; cat said; return 1; }
		n=$((n + 1))
	done
}
# the first time it is built and kept; after that what is kept is laid
t 'a package is built' begin x
t 'and laid again' begin x
t 'each call fails' sweep fail
t 'it stops at each call' sweep stop
# built each time; what its .install file names is known
SLIPWAY_OPAM_KEPT=none
export SLIPWAY_OPAM_KEPT
t 'a package is built of which nothing is kept' begin listed
t 'it stops at each call of that' sweep stop
done_testing
