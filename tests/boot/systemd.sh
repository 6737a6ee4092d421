# SPDX-License-Identifier: Apache-2.0
# A host whose process 1 is systemd, which runs the services and rings the timer; its power fails after each command.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/guest.sh"
guest_need

guest_server 1.0
guest_server 1.1
guest_server 1.2 "--slow-start, '60000'"
guest_helpers
mkdir -p files/srv/slipway
printf 'services: systemd\nreserve: 16 MiB\n' >files/srv/slipway/config.yml
guest_image || exit 1
noon=$(date -u -d 'today 12:00' +%s)

guest_clock "$noon"
t 'a machine' boot
t 'whose process 1 is systemd' guest_says '^systemd$' 'cat /proc/1/comm'
t 'whole' guest 'systemctl is-system-running --wait'
t 'a channel' guest 'cd /guest && slipway channel publish /srv/ch web-*.tar.bz2'
t 'an environment' guest 'slipway env create -n e -c /srv/ch web=1.0'
t 'is started' guest 'slipway start e'
t 'and answers' guest 'answers 1.0 120'
t 'stop' guest 'slipway stop e'
t 'the power fails' power_cut

guest_clock $((noon + 300))
t 'it comes up' boot
t 'whole' guest 'systemctl is-system-running --wait'
t 'with nothing of what was stopped' guest '! ls /etc/systemd/system/*.wants | grep slipway-e && ! answers 1.0'
t 'it is started' guest 'slipway start e'
t 'the power fails' power_cut

guest_clock $((noon + 600))
t 'it comes up' boot
t 'with what was started' guest 'answers 1.0 120'
t 'show boot system' guest 'slipway show boot system -n e | grep "Manual Boot = no"'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e --auto-abort 5m'
at=$(guest 'date +%s')
t 'the timer runs' left_between 100 300
t 'the power fails' power_cut

guest_clock $((at + left - 90)) # so many seconds are left
t 'it comes up' boot
t 'with the new version, which has its time yet' guest 'answers 1.1 120'
t 'as much as the clock says' left_between 1 92
t 'a timer of systemd' guest 'systemctl is-system-running --wait; systemctl list-units --plain --no-legend "slipway-e:auto-abort-*.timer" | grep waiting'
t 'with nobody there it goes back' guest 'answers 1.0 240'
t 'to rest' guest 'at-rest 240'
t 'as history says' guest_says auto-abort 'slipway env history -n e'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e --auto-abort 10m'
at=$(guest 'date +%s')
t 'the clock is set on by an hour' guest 'clock-by 3600; sleep 3; answers 1.1 60'
t 'which takes nothing from the timer' left_between 300 599
t 'the power fails' power_cut

guest_clock $((at - 86400))
t 'it comes up in the past' boot
t 'with the new version' guest 'answers 1.1 120'
t 'which has no more time than it had' left_between 200 600
t 'the power fails' power_cut

guest_clock $((at + 3600))
t 'it comes up when the timer has ended' boot
t 'on the old version' guest 'answers 1.0 120'
t 'at rest' guest 'at-rest 240'
t 'services and all' guest 'systemctl is-system-running --wait'
t 'add what starts slowly' guest 'slipway install add web=1.2 -n e -c /srv/ch'
t 'activate' guest '{ slipway install activate issu -n e & } >/dev/null 2>&1; until ps axww | grep -q "[-]-slow-start"; do sleep 0.2; done; slipway show issu state detail -n e | grep Activating'
t 'the power fails in the middle' power_cut

t 'it comes up' boot
t 'with the old version' guest 'answers 1.0 120'
t 'at rest' guest 'at-rest 240'
t 'of which alone there are units' guest_says '^1$' 'systemctl is-system-running --wait >/dev/null; ls /etc/systemd/system | grep -c "^slipway-e-web.*service"'
t 'add' guest 'slipway install add web=1.1 -n e -c /srv/ch'
t 'activate' guest 'slipway install activate issu -n e'
t 'commit' guest 'slipway install commit -n e'
t 'the power fails' power_cut

guest_clock $((at + 86400))
t 'it comes up' boot
t 'with what was committed' guest 'answers 1.1 120'
t 'at rest' guest 'at-rest 240'
t 'whole' guest 'systemctl is-system-running --wait'
t 'nothing rings' guest '! systemctl list-units --all --plain --no-legend "slipway-e:auto-abort-*" | grep .'

done_testing
