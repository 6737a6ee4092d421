# SPDX-License-Identifier: Apache-2.0
# A base image made of Debian packages by the real mmdebstrap, from this machine's own mirror: some 15 s.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

mkdir empty
without()
{
	PATH=$T/empty "$SLIPWAY" image import d --debian bookworm
}
t 'without mmdebstrap' must_fail 1 without
t 'says what to install' has "'apt-get install mmdebstrap'" err
t 'a suite that is none' must_fail 2 "$SLIPWAY" image import d --debian 'x;y'
t 'a package that is none' must_fail 2 "$SLIPWAY" image import d --debian bookworm --include 'a b'
t 'a dry run' "$SLIPWAY" image import d --debian bookworm --dry-run
t 'packages without --debian' must_fail 2 "$SLIPWAY" image import d x.tar --include git

debian()
{
	command -v mmdebstrap >/dev/null || { echo 'build: no mmdebstrap'; return 77; }
	# shellcheck disable=SC1091 # of this machine
	. /etc/os-release
	[ "$ID" = debian ] || { echo 'build: this machine is not Debian'; return 77; }
	suite=$VERSION_CODENAME
	[ "$(id -u)" = 0 ] || { echo 'build: mmdebstrap is called as root here'; return 77; }
	if ! "$SLIPWAY" -q image import made --debian "$suite" --variant essential --include apt 2>err; then
		grep -qE 'resolv|connect|unreachable|Failed to fetch|timed out' err && { echo "build: the mirror of Debian cannot be reached"; return 77; }
		grep -q 'cannot be unpacked here' err && { echo "kernel: $(head -n 1 err)"; return 77; }
		cat err
		return 1
	fi
	"$SLIPWAY" build export made -o made.tar 2>/dev/null && tar --numeric-owner -tvf made.tar >made.list
}
t 'a root file system of Debian' debian
if [ -s made.list ]; then
	t 'has dpkg' grep -q ' usr/bin/dpkg$' made.list
	t 'set-user-id programs' grep -q '^-rwsr-xr-x 0/0 .* usr/bin/passwd$' made.list
	t 'groups of its own' grep -q '^-rwxr-sr-x 0/42 ' made.list
	t 'no devices' sh -c '! grep "^[bc]" made.list'
	t 'times that do not depend on when it was made' sh -c '! tar --full-time -tvf made.tar | awk "{print \$4}" | grep -v "^\(19[78]\|20[01]\)"'
	t 'and is told about' "$SLIPWAY" image show made
	t 'with the mirror of this machine' sh -c '
		mirror=$(grep -rhoE "https?://[^ ]*/debian/?( |$)" /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d " ")
		[ -z "$mirror" ] || tar -xOf made.tar etc/apt/sources.list | grep -qF "$mirror"'
fi

done_testing
