# SPDX-License-Identifier: Apache-2.0
# The unit of examples/ under a systemd of our own: it starts, drains when it is stopped, and is started again when it was killed.
. "${SOURCE_ROOT:-.}/tests/lib/systemd.sh"
if [ -z "${OWN_RUN-}" ] && can_own_run; then in_own_run "$0"; fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
[ -n "${OWN_RUN-}" ] || skip_all 'kernel: this user cannot mount in a namespace of its own'
need unshare systemctl systemd-analyze
trap 'leave_systemd; rm -rf "$T"' EXIT
own_systemd || skip_all "$own_systemd_why"
mkdir -p "$SLIPWAY_ROOT"

# the example, but for paths and, so that nobody waits for ten minutes, the time to drain
mkdir unit
sed -e "s|/usr/bin/slipway|$SLIPWAY|; s|/var/lib/slipway|$SLIPWAY_ROOT|; s|--drain-timeout 600|--drain-timeout 3|; s|multi-user.target|default.target|" \
	"$SOURCE_ROOT/examples/slipway-worker@.service" >unit/slipway-worker@.service
cp unit/slipway-worker@.service "$T/units/"
worker=slipway-worker@P.service

# submit COMMAND...: its number is $id
submit()
{
	id=$("$SLIPWAY" -q job submit --pool P --detach -- "$@")
}

is()
{
	"$SLIPWAY" job show "$id" | grep "^state  *$1"
}

is_ready()
{
	"$SLIPWAY" worker list | grep '^P .* ready'
}

verified()
{
	cp unit/slipway-worker@.service "unit/$worker" && runs env -u SYSTEMD_UNIT_PATH systemd-analyze --man=no verify "$PWD/unit/$worker" && hasnt . err
}
t 'systemd is content with it' verified
t 'it starts' systemctl --user start "$worker"
t 'and takes jobs' await is_ready
submit echo hello
t 'which run' await is passed

submit sh -c 'sleep 1; echo finished'
await is running
t 'stopped: it drains' systemctl --user stop "$worker"
t 'what ran was finished' is passed
t 'which is success' test "$(show "$worker" Result) $(show "$worker" ActiveState)" = 'success inactive'
systemctl --user start "$worker" && await is_ready
submit sleep 60.$$
await is running
t 'stopped, with a job that does not end' systemctl --user stop "$worker"
t 'it is queued again' is 'waiting (no worker)'
t 'as no loss' sh -c '! "$SLIPWAY" job show "$1" | grep ^lost' - "$id"
t 'nothing of it runs' must_fail 1 pgrep -xf "sleep 60.$$"
t 'that is success, too' test "$(show "$worker" Result)" = success

systemctl --user start "$worker"
t 'started again, it takes it' await is running
await pgrep -xf "sleep 60.$$"
main=$(show "$worker" MainPID)
kill -9 "$main"
is_another()
{
	[ "$(show "$worker" MainPID)" != "$main" ] && is_ready
}
t 'killed: it is started anew' await is_another
t 'and the job runs once more' await is running
t 'its log says why' sh -c '"$SLIPWAY" job log "$1" | grep "went away; waiting for resource in pool P once more"' - "$id"
"$SLIPWAY" -q job cancel "$id"
await is cancelled
t 'drained by a person' "$SLIPWAY" worker drain --pool P "$("$SLIPWAY" worker list --json | sed -n 's/^ *"worker": "\(.*\)".*/\1/p')"
ended()
{
	[ "$(show "$worker" ActiveState)" = inactive ]
}
t 'it ends' await ended
sleep 1
t 'and is not started anew' ended

done_testing
