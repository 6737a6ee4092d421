# SPDX-License-Identifier: Apache-2.0
# Certificates that ended: a client's, the server's with its authority; and one that was revoked. Each is told with what to do, and that cures
# it. The clocks of both are set; for that the programs take a library along.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need bzip2 python3
WALLCLOCK=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/libwallclock.so
[ -f "$WALLCLOCK" ] || skip_all 'no libwallclock here'
! grep -q __asan_init "$SLIPWAY" || skip_all 'build with a sanitizer: takes no library along'
trap 'at_clock -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

at_clock()
{
	WALLCLOCK_FILE=$T/clock LD_PRELOAD=$WALLCLOCK "$SLIPWAY" "$@"
}
days()
{
	echo $(($1 * 86400)) >clock
}
enrolls()
{
	at_clock -q mirror enroll m --name app1 >code && at_clock -q enroll --code "$(cat code)" "$M"
}
takes()
{
	at_clock -q env create -n "$1" -c "$M/p" one
}

small_package one 1
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
"$SLIPWAY" -q channel create m/p --kind conda --type local --private
"$SLIPWAY" -q channel publish m/content/p one-1-0.tar.bz2
"$SLIPWAY" -q channel create m/s --kind conda --type local
"$SLIPWAY" -q channel publish m/content/s one-1-0.tar.bz2
days 0
t 'a channel is signed' runs at_clock channel sign --create m/s
expires()
{
	python3 -c 'import json; print(json.load(open("m/content/s/tuf/metadata/timestamp.json"))["signed"]["expires"])'
}
# later DATE: it is good for longer than that
later()
{
	[ "$(printf '%s\n' "$1" "$(expires)" | sort | tail -1)" != "$1" ]
}
signed_until=$(expires)
t 'a mirror' runs at_clock mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(python3 -c 'import json; print(json.load(open("out"))["port"])')
t 'a client' enrolls
t 'takes what is private' takes now

# -- the client's -------------------------------------------------------------------------------------------------------
days 100
t 'a certificate of 90 days, after 100' must_fail 1 takes expired
t 'is told as such' has 'certificate of this host .* has expired' err
t 'with what to do' has "ask the mirror's operator for a code, and 'slipway enroll' again" err
t 'it is not renewed by itself any more' must_fail 1 at_clock enroll --renew
t 'nor silently' has "'slipway enroll' gets one" err
t 'which is done' enrolls
t 'and cures it' takes enrolled

# -- the metadata of a signed channel, whose keys are with the mirror --------------------------------------------------------
t 'start again' runs at_clock mirror restart m
t 'what signs a channel is renewed' await later "$signed_until"
t 'and good again' later "$(date -u -d '+100 days' +%FT)"

# -- revoked --------------------------------------------------------------------------------------------------------------
t 'revoked' runs at_clock mirror revoke m app1 --reason sold
t 'it takes nothing any more' must_fail 1 takes revoked
t 'and is told why' has "of client 'app1' was revoked" err
t 'and what to do' has "ask the mirror's operator for a new code, and enroll again" err
t 'this is done' enrolls
t 'and cures this' takes again

# -- the authority, and with it the server's ------------------------------------------------------------------------------
days 4000
t 'an authority of ten years, after eleven' must_fail 1 takes old
t 'is named by the client' has "certificate 'your-mirror authority .* has expired (good from .* to .*; here it is 20" err
t 'with what to do' has "have the server's certificate renewed, or set this host's clock" err
t 'and by the mirror' await grep -q "error: .*the authority 'your-mirror .* make another authority" m/log/mirror.log
t 'with the commands' has "'slipway mirror authority announce', then 'switch'" m/log/mirror.log
t 'another one' runs at_clock mirror authority m announce
t 'signs' runs at_clock mirror authority m switch
t 'and is shown' runs at_clock mirror restart m
t 'a client of the old one is let in by a code' enrolls
t 'and all is well' takes well
done_testing
