# SPDX-License-Identifier: Apache-2.0
# What an upgrade says to someone new to it: a name or a keyword that was mistyped, a timer that has ended, a signal.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need bzip2 python3

small_package web 1.0
small_package web 1.1
small_package web 1.2
"$SLIPWAY" -q channel publish ch ./*.tar.bz2

sw()
{
	"$SLIPWAY" "$@"
}

sw -q install add web=1.0 -n site -c ./ch activate issu commit

# -- a name that was mistyped ----------------------------------------------------------------------------------------
t 'a mistyped name, and no channel' must_fail 2 sw install add web=1.1 -n stie
t 'there is no such environment' has "there is no environment 'stie' yet ('slipway env list' shows what there is), and no channel" err
t 'nor is one left' must_fail 1 sw show install summary -n stie
t 'a new environment has no such doubts' must_fail 2 sw env create -n stie web=1.1
t 'it wants a channel' has '^slipway: no channel to look in; ' err
t 'a dry run' runs sw install add web=1.1 -n stie -c ./ch --dry-run
t 'says that it is new' has "^note: 'stie' is a new environment, beside 'site'$" err
t 'a mistyped name, with a channel' runs sw install add web=1.1 -n stie -c ./ch
t 'the plan says that it is new' has "^note: 'stie' is a new environment, beside 'site'$" err
t 'the result, too, and what undoes it' has "^'stie' is a new environment; 'slipway install abort -n stie' takes it away$" err
t 'env list' runs sw env list
t 'has it' has "^'stie' is added, and has no version yet: .* 'slipway install abort -n stie' takes it away$" err
t 'apart from those that are' hasnt stie out
t 'show version' runs sw show version
t 'says what is added' has '^stie: no version yet (added: web 1\.1)$' out
t 'env remove' must_fail 1 sw env remove -n stie
t 'names what takes it away' has "'stie' has no version yet: its first one is in state 'added'; 'slipway install abort -n stie' takes it away" err
t 'a dry run of it, too' must_fail 1 sw env remove -n stie --dry-run
t 'that does' runs sw install abort -n stie
t 'env list' runs sw env list
t 'has it no more' hasnt stie err
t 'env remove finds nothing' must_fail 1 sw env remove -n stie
t 'as of any name' has "no environment 'stie'" err
t 'one that is there' runs sw install add web=1.1 -n site
t 'is not new' hasnt 'new environment' err
sw -q install abort -n site
t 'committed at once' runs sw install add web=1.1 -n other -c ./ch activate issu commit
t 'it is removed' has "^'other' is a new environment; 'slipway env remove -n other' takes it away$" err
t 'that does' runs sw env remove -n other

# -- a keyword that was mistyped -------------------------------------------------------------------------------------
t 'a mistyped keyword' must_fail 2 sw install add web=1.1 -n site activate issu comit
t 'is named' has "'comit' is no word that comes behind 'activate'" err
t 'the first one' must_fail 2 sw install add web=1.1 -n site activate isu commit
t 'is named, too' has "'isu' is no word that comes behind 'activate'" err
t 'a package of that name can be asked for' must_fail 3 sw install add web=1.1 'activate=*' web -n site
t 'and is looked for' has "'activate'" err
t 'a timer without activate' must_fail 2 sw install add web=1.1 -n site --auto-abort 3m
t 'is told where it belongs' has "slipway install add FILE activate issu --auto-abort 3m" err
t 'nothing began' runs sw show issu state -n site
t 'at all' has 'No ISSU operation is in progress' out

# -- the timer has ended ---------------------------------------------------------------------------------------------
sw -q install add web=1.1 -n site
sw -q install activate issu -n site --auto-abort 1s
sleep 1.2
t 'after its end' runs sw show issu state detail -n site
t 'it is told' has '^Auto abort timer: ended: the next command, or the agent, goes back$' out
t 'commit is not what goes on' hasnt 'install commit' out
t 'going back is' has '^Next: slipway install abort issu -n site$' out
t 'commit goes back' must_fail 4 sw install commit -n site
t 'and tells why' has 'nothing is uncommitted.*; the auto-abort timer ended before: back on generation 1 since ' err
t 'again' must_fail 1 sw install commit -n site
t 'it does' has '; the auto-abort timer ended before: back on generation 1 since ' err
sw -q install add web=1.2 -n site activate commit
t 'after the next one' must_fail 1 sw install commit -n site
t 'no more' hasnt 'auto-abort timer' err

# -- a signal ---------------------------------------------------------------------------------------------------------
port=$(free_port)

# server VERSION [OPTION]: a package with the example server, which says that it begins
server()
{
	mkdir -p stage/bin stage/share/slipway/component
	printf '#!/bin/sh\n: >"%s"\nexec "%s" "$@"\n' "$T/began-$1" "$BUILD_ROOT/tests/webd" >stage/bin/web
	chmod +x stage/bin/web
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/web, --version, '$1'${2:+, $2}]
		    ready: notify
		    sockets: {http: '127.0.0.1:$port', health: private}
		    health:
		      probes: [{http: {address: health, path: /health}}]
	X
	package stage web "$1"
}
server 1.3
server 1.4 --fail-health
"$SLIPWAY" -q channel publish ch ./web-1.[34]-0.tar.bz2
"$SLIPWAY" agent >log 2>&1 &
t 'an agent' await sw status
t 'a service' runs sw install add web=1.3 -n site activate issu commit
t 'runs' runs sw start site
t 'a signal while it activates' python3 -c '
import os, signal, subprocess, sys, time
p = subprocess.Popen(sys.argv[1:], stdout=open("out", "wb"), stderr=open("err", "wb"))
while not os.path.exists("began-1.4") and p.poll() is None:
    time.sleep(0.02)
p.send_signal(signal.SIGTERM)
sys.exit(p.wait() != -signal.SIGTERM)' "$SLIPWAY" install add web=1.4 -n site activate issu commit
t 'which goes back: what is said is what is true' has "^slipway: interrupted; it did not come to its end: .*back on generation 5" err
t 'once' test "$(grep -c interrupted err)" = 2
t 'the last line is as ever' eval 'tail -n 1 err | grep -x "FAILED: install_add_activate_commit interrupted"'
sw -q agent stop --services

done_testing
