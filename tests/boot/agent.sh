# SPDX-License-Identifier: Apache-2.0
# A host whose services and timer are an agent's, which a plain init starts, and later systemd; its power fails after each command.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/guest.sh"
guest_need

guest_server 1.0
guest_server 1.1
guest_server 1.2 "--slow-start, '60000'"
guest_helpers
mkdir -p files/srv/slipway files/etc
echo 'reserve: 16 MiB' >files/srv/slipway/config.yml
cat >files/etc/rc.local <<'X'
#!/bin/sh
slipway agent >>/var/log/agent 2>&1 &
X
chmod +x files/etc/rc.local
guest_image || exit 1
guest_init=/guest/init
noon=$(date -u -d 'today 12:00' +%s)

guest_clock "$noon"
t 'a machine' boot
t 'without systemd' guest_says '^init$' 'cat /proc/1/comm'
t 'an agent' guest 'agent-runs'
t 'a channel' guest 'cd /guest && slipway channel publish /srv/ch web-*.tar.bz2'
t 'an environment' guest 'slipway env create -n e -c /srv/ch web=1.0'
t 'is started' guest 'slipway start e'
t 'and answers' guest 'answers 1.0 120'
t 'something starts the agent' guest_says 'Manual Boot = no' 'slipway show boot system'
t 'the power fails' power_cut

guest_clock $((noon + 600))
t 'it comes up' boot
t 'with what was started' guest 'answers 1.0 120'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e --auto-abort 5m'
at=$(guest 'date +%s')
t 'the timer runs' left_between 100 300
t 'this boot has an id' guest 'cat /proc/sys/kernel/random/boot_id >/srv/boot_id; sync'
t 'the power fails' power_cut

guest_clock $((at + left - 90)) # so many seconds are left
t 'it comes up' boot
t 'as another boot' guest '! grep -qf /srv/boot_id /proc/sys/kernel/random/boot_id'
t 'with the new version, which has its time yet' guest 'answers 1.1 120'
t 'as much as the clock says' left_between 1 92
t 'the agent will ring' guest_says "^operation of 'e': activated; auto-abort timer: 00:0[01]:" 'slipway status'
t 'with nobody there it goes back' guest 'answers 1.0 240'
t 'to rest' guest 'at-rest 240'
t 'as history says' guest_says auto-abort 'slipway env history -n e'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e --auto-abort 10m'
at=$(guest 'date +%s')
t 'the clock is set on by an hour' guest 'clock-by 3600; sleep 2; answers 1.1 60'
t 'which takes nothing from the timer' left_between 300 599
t 'the clock is set back by two' guest 'clock-by -7200; sleep 1'
t 'which gives nothing' left_between 300 599
t 'the power fails' power_cut

guest_clock $((at - 86400))
t 'it comes up in the past' boot
t 'with the new version' guest 'answers 1.1 120'
t 'which has no more time than it had' left_between 200 600
t 'the power fails' power_cut

guest_clock $((at + 3600))
t 'it comes up when the timer has ended' boot
t 'and goes back' guest 'answers 1.0 120'
t 'to rest' guest 'at-rest 240'
t 'add what starts slowly' guest 'slipway install add web=1.2 -n e -c /srv/ch'
t 'activate' guest '{ slipway install activate issu -n e & } >/dev/null 2>&1; until ps axww | grep -q "[-]-slow-start"; do sleep 0.2; done; slipway show issu state detail -n e | grep Activating'
t 'the power fails in the middle' power_cut

t 'it comes up' boot
t 'with the old version' guest 'answers 1.0 120'
t 'at rest' guest 'at-rest 240'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e'
t 'commit' guest 'slipway install commit -n e'
t 'a unit for systemd' guest 'rm /etc/rc.local; mkdir -p /etc/systemd/system && slipway agent --print-unit >/etc/systemd/system/slipway.service && systemctl enable slipway && sync'
t 'the power fails' power_cut

# the same host, its agent a unit
guest_init=/lib/systemd/systemd
guest_clock $((at + 7200))
t 'it comes up with systemd' boot
t 'and what was committed' guest 'answers 1.1 120'
t 'at rest' guest 'at-rest 240'
t 'whole' guest 'systemctl is-system-running --wait && systemctl is-active slipway'
t 'which starts it at boot' guest_says 'Manual Boot = no' 'slipway show boot system'
t 'add' guest 'slipway install add web=1.0 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e --auto-abort 10m'
at=$(guest 'date +%s')
t 'the power fails' power_cut

guest_clock $((at + 200))
t 'it comes up' boot
t 'with the uncommitted version' guest 'answers 1.0 120'
t 'for as long as is left' left_between 1 400
t 'by the agent' guest 'systemctl is-system-running --wait; slipway agent stop && ! systemctl list-units --all --plain --no-legend "slipway-e*" | grep .'
t 'the power fails' power_cut

guest_clock $((at + 700))
t 'it comes up when the timer has ended' boot
t 'and goes back' guest 'answers 1.1 120'
t 'to rest' guest 'at-rest 240'

done_testing
