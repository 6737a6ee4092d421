# SPDX-License-Identifier: Apache-2.0
# An environment goes from version to version in service: add, activate, commit, abort; what is refused when, and what is told.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

# web VERSION FORMAT: a package with state and configuration
web()
{
	mkdir -p stage/share/slipway/component stage/share/web
	echo "$1" >stage/share/web/version
	echo "workers: $1" >stage/share/web/web.conf
	cat >stage/share/slipway/component/web.yml <<X
state:
  data: {format: "$2", path: $T/data}
configuration:
  $T/etc/web.conf:
    default: share/web/web.conf
    deprecated: {threads: use workers}
X
	package stage web "$1"
}
web 1.0 1
web 1.1 1
web 1.2 2
small_package plain 1
small_package plain 2
"$SLIPWAY" -q channel publish ch ./*.tar.bz2
"$SLIPWAY" -q channel add ./ch --name ch
mkdir data
echo one >data/db

sw()
{
	"$SLIPWAY" "$@"
}

# state OF [CURRENT COMMITTED]: the operation's state, and the generations
state()
{
	sw show issu state detail -n web --json >is || return 1
	python3 -c '
import json, sys
is_ = json.load(open("is"))["environments"][0]
assert is_["state"] == sys.argv[1], is_' "$1" || return 1
	[ $# = 1 ] && return
	sw show version -n web --json >is || return 1
	python3 -c '
import json, sys
is_ = json.load(open("is"))["environments"][0]
assert [is_["generation"], is_["committed"]] == [int(a) for a in sys.argv[2:]], is_' "$@"
}

# refused PATTERN COMMAND...: exit status 1, the words, the log has it as refused, the state is what it was
refused()
{
	pattern=$1
	shift
	sw show issu state detail -n web >was 2>&1
	must_fail 1 sw "$@" && has "$pattern" err || return 1
	sw show issu state detail -n web >now 2>&1
	sed -i '/timer:/d' was now # its time goes on
	diff was now || return 1
	sw show install log -n web >said.log
	tail -n 2 said.log | grep -q 'refused: ' || tail -n 8 said.log | grep 'refused: ' || { echo 'not in the log as refused:' && cat said.log; return 1; }
}

# last OPERATION RESULT: of the history
last()
{
	sw env history -n web --json >said.history || return 1
	python3 -c '
import json, sys
h = json.load(open("said.history"))["history"][-1]
assert h["operation"] == sys.argv[1] and h["result"].startswith(sys.argv[2]), h' "$@"
}

# -- a first version ------------------------------------------------------------------------------------------------
t 'without an environment nothing can be activated' must_fail 2 sw install activate
t 'it says that there is none' has 'no environment in .* yet; make one with: slipway install add' err
t 'nor one that is not there' must_fail 1 sw install commit -n web
t 'which leaves nothing' test ! -e root/env/.web.lock
t 'a dry run of add' runs sw install add web=1.0 -n web --dry-run
t 'shows the plan' has '^+ web  *1.0' out
t 'and the checks' has '^check no other operation in progress: passed' err
t 'and does nothing' must_fail 1 sw show install summary -n web
t 'add' runs sw install add web=1.0 -n web
t 'begins with a date' has '^install_add: START [A-Z][a-z]* [A-Z][a-z]* [ 0-9][0-9] [0-9:]* UTC 20[0-9]*$' out
t 'goes through the checks' has '^--- Verifying space ---$' out
t 'and the work' has '^  \[1\] Finished Add on member 1$' out
t 'says so' has '^Add: Passed on \[1\]$' out
t 'ends with success' has '^SUCCESS: install_add ' out
t 'nothing is current' test ! -e root/env/web/current
t 'it is inactive' runs sw show install summary
t 'in the table' has '^ENV   I   1  web 1.0$' out
t 'a new environment is aborted' runs sw install abort issu
t 'and gone' test ! -e root/env/web/1
t 'there is none' must_fail 2 sw install activate
sw -q install add web=1.0 -n web
t 'activate, without a name' runs sw install activate issu --auto-abort 30m
t 'says what it does' has '^install_activate: Activating ISSU$' out
t 'has stages' has '^STAGE 0: Initial System Level Sanity Check before starting ISSU$' out
t 'makes the configuration' has 'workers: 1.0' etc/web.conf
t 'aborted: it was the first' runs sw install abort
t 'nothing is left' test ! -e root/env/web/1
t 'nor its configuration' test ! -e etc/web.conf
t 'all in one' runs sw install add web=1.0 -n web activate issu commit
t 'says so' has '^SUCCESS: install_add_activate_commit ' out
t 'committed' state none 3 3

# -- refusals, state by state -----------------------------------------------------------------------------------------
t 'none: activate' refused "not possible in state 'none': nothing has been added; 'slipway install add RECIPE -n web'" install activate
t 'none: commit' refused "not possible in state 'none': nothing is uncommitted" install commit
t 'none: the timer' refused "not possible in state 'none': no timer is running" install auto-abort-timer stop
t 'a refusal ends with failed' must_fail 1 sw install commit
t 'as the document says' has '^FAILED: install_commit exit(1) ' out
t 'with who and how' has 'env history\|refused: install commit is not possible' said.log
t 'none: abort has nothing to do' runs sw install abort
t 'and says so' has 'nothing to abort' out
t 'none: clear too' runs sw clear install state

sw env export -n web >web.spr
t 'add 1.1' runs sw install add 'web=1.1'
t 'added' state added 3 3
t 'nothing changed' has 'workers: 1.0' etc/web.conf
t 'added: add' refused "in state 'added': a version has been added already; 'slipway install activate issu -n web' goes on with it, 'slipway install abort issu -n web' goes back" install add web=1.2
t 'added: commit' refused "in state 'added': what was added is not active yet" install commit
t 'added: the timer' refused "in state 'added': the timer starts with activate" install auto-abort-timer stop
t 'added: rollback' refused "in state 'added'" install rollback
t 'before a plan is told' hasnt 'to add' err
t 'added: rollback to one' refused "in state 'added': a version has been added; 'slipway install abort issu -n web' goes back" install rollback to 4
t 'too' hasnt 'to add\|commit it first' err
t 'added: env update' refused "in state 'added'" env update -n web web=1.2
t 'added: apply' refused "in state 'added'" apply web.spr -n web
t 'added: env remove' must_fail 1 sw env remove -n web
t 'says what goes on' has "'slipway install activate issu -n web' goes on with it" err
t 'a dry run is refused too' must_fail 1 sw install commit --dry-run
t 'and one that would do' runs sw install activate --dry-run
t 'tells the checks' has '^check space: passed' err
t 'as JSON' runs sw install activate --dry-run --json
t 'too' has '"name": "no other operation in progress"' out
echo 'reserve: 1000 TiB' >root/config.yml
t 'a dry run with a check that fails' must_fail 1 sw install activate --dry-run --json
t 'has it in its answer' has 'space: [0-9]* MiB are free' out
t 'what is refused has it, too' refused "in state 'added': a version has been added already" install add web=1.2
t 'with its cure' has "^  space: .*; 'slipway install remove inactive -n web' and 'slipway store gc' make room" err
rm root/config.yml
t 'did nothing' state added 3 3
t 'abort in added' runs sw install abort issu
t 'takes it away' test ! -e root/env/web/4
t 'done' last abort "done"

sw -q install add web=1.1
t 'activate' runs sw install activate issu auto-abort-timer 104
t 'activated' state activated 5 3
t 'the new default is in place' has 'workers: 1.1' etc/web.conf
t 'summary' runs sw show install summary
t 'what abort goes back to is D' has '^ENV   D   3  web 1.0$' out
t 'what runs is U' has '^ENV   U   5  web 1.1$' out
t 'the timer counts down' has '^Auto abort timer: automatic, remaining time before rollback: 01:4[34]:[0-9][0-9]$' out
t 'detail' runs sw show issu state detail
t 'type' has '^Operation type: Step-by-step ISSU$' out
t 'state' has '^Current state : Activated state$' out
t 'last operation' has '^Last operation: Activate$' out
t 'with times' has '^Add  *20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]:[0-9:]*$' out
t 'transition' has '^State transition: Added -> Activated$' out
t 'running version' has '^Running version: web 1.1$' out
t 'mode' has 'terminal state reached$' out
t 'next' has '^Next: slipway install commit -n web$' out
t 'or back' has '^Back: slipway install abort issu -n web$' out
t 'activated: add' refused "in state 'activated': the running version is not committed" install add web=1.2
t 'activated: activate' refused "in state 'activated': the new version is active already" install activate
t 'activated: clear' refused "in state 'activated'" clear install state
t 'activated: rollback elsewhere' refused 'slipway install abort issu.* goes back to generation 3' install rollback to 5
t 'activated: env update' refused "in state 'activated'" env update -n web web=1.2
t 'the committed one is not removed' must_fail 1 sw install remove inactive 3
t 'stop the timer' runs sw install auto-abort-timer stop
t 'twice is fine' runs sw install auto-abort-timer stop
t 'and told' has '^NOTE: the auto-abort timer is stopped already' out
t 'a dry run' runs sw install auto-abort-timer stop --dry-run
t 'tells the same' has '^the auto-abort timer is stopped already' err
t 'the state is what it was' state activated
t 'stopped' runs sw show install summary
t 'in the summary' has '^Auto abort timer: stopped$' out
echo two >data/db
t 'abort' runs sw install abort issu
t 'the state is as it was' grep -q one data/db
t 'the configuration too' has 'workers: 1.0' etc/web.conf
t 'back' state none 3 3
t 'no checkpoint is left' test ! -e root/checkpoint/web
t 'what was activated is kept, inactive' test -e root/env/web/5
echo mine >>etc/web.conf
sw -q install add web=1.1
t 'a configuration that was changed' runs sw install activate
t 'is kept' has mine etc/web.conf
t 'the new default is beside it' has 'workers: 1.1' etc/web.conf.default
echo two >data/db
t 'abort without the state' runs sw install abort --keep-state
t 'keeps it' grep -q two data/db

# -- commit, rollback, labels ------------------------------------------------------------------------------------------
sw -q install add web=1.1
sw -q install activate
t 'commit' runs sw install commit
t 'committed' state none 7 7
t 'commit is in the history' last commit "done"
t 'label' runs sw install label 3 first
t 'is shown' runs sw show install summary
t 'beside the number' has '^ENV   I   3 (first)  web 1.0$' out
t 'a label that is none' must_fail 2 sw install label 3 'a b'
t 'of what is not there' must_fail 1 sw install label 99 x
t 'rollback to a label' runs sw install rollback to first
t 'there' state none 3 3
t 'rollback to a number' runs sw install rollback 7
t 'rollback to committed is where it is' runs sw install rollback to committed
t 'rollback, one change' runs sw install rollback
t 'is committed at once: no timer is told of' hasnt 'will expire' out
t 'is what it was made from' state none 3 3
sw -q install add web=1.1 activate
t 'a dry run keeps the committed one, too' must_fail 1 sw install remove inactive 3 --dry-run
t 'while one is activated' runs sw install rollback
t 'it is an abort' last abort "done"
t 'state formats' must_fail 1 sw install add web=1.2 activate commit
t 'are checked in one shot too' has 'is in format 1, which the new version cannot read' err
t 'what was added is taken away' state none 3 3
t 'in the log as failed' last add failed
t 'a label is taken away' runs sw install label first ''

# -- remove ------------------------------------------------------------------------------------------------------------
t 'a dry run of remove' runs sw install remove inactive --dry-run
t 'names them' has "would remove generations of 'web': 5, 6, 7, 8; generation 3 stays current" err
t 'not the committed one' must_fail 1 sw install remove inactive 3
t 'with another one to go to' has 'is the current one; roll back to another one first' err
sw -q install label 7 good -n web
t 'a label keeps a generation' runs sw install remove inactive --dry-run --json
t 'a dry run says so' python3 -c 'import json; x = json.load(open("out")); assert x["removed"] == [5, 6, 8] and x["kept_by_label"] == [7], x'
t 'remove inactive' runs sw install remove inactive
t 'gives nothing up' hasnt 'given up' err
t 'tells what it removes' has "^removed generations of 'web': 5, 6, 8; generation 3 stays current$" err
t 'what it keeps, and how that goes' has "^kept: generation 7, whose label is 'good'; 'slipway install remove inactive 7 -n web' removes it$" err
t 'says how much' has '^freed: [0-9.]* [kM]*B' err
t 'back to it' runs sw install rollback to good
t 'there' state none 7 7
sw -q install rollback to 3
t 'by its label it goes' runs sw install remove inactive good
t 'one is left' runs sw show install summary --json
t 'as JSON' python3 -c 'import json; assert [g["state"] for g in json.load(open("out"))["environments"][0]["generations"]] == ["C"]'
t 'which does not go' must_fail 1 sw install remove inactive 3
t 'and no other is spoken of' has 'is the current one, and the only one$' err
t 'nor is there a way back' must_fail 1 sw install rollback
t 'which is said without one' has 'nothing to go back to from generation 3: no other is kept$' err
sw -q install add web=1.1
added=$(sw show issu state detail --json | sed -n 's/^ *"to": \([0-9]*\).*/\1/p')
t 'a dry run checks a label' must_fail 2 sw install label "$added" 'a b' --dry-run
sw -q install label "$added" soon -n web
t 'what was added is inactive, dry' runs sw install remove inactive "$added" --dry-run
t 'and the upgrade would be given up' has '^the upgrade under way would be given up: what was added is among them$' err
t 'what was added is inactive' runs sw install remove inactive
t 'and goes, whatever its label' state none 3 3
t 'and is told as gone' has "^removed generations of 'web': $added; generation 3 stays current$" err
t 'not as kept' hasnt kept err
t 'with the upgrade' has '^the upgrade under way is given up: what was added is among them$' err

# -- deprecated parameters, hand-made changes -----------------------------------------------------------------------------
echo 'threads: 4' >>etc/web.conf
sw -q install add web=1.1
t 'deprecated parameters' must_fail 1 sw install activate --stop-at-deprecated
t 'are named with what replaces them' has "'threads' is deprecated: use workers" err
sw -q install abort
rm root/env/web/3/share/web/version
t 'a file that is gone' must_fail 1 sw install add web=1.1
t 'is named, with the cure' has "booted from the valid media: 1 file was changed by hand: 'share/web/version' (missing); 'slipway env export" err
t 'which works' sh -c '"$SLIPWAY" env export -n web | "$SLIPWAY" apply - -n web --sync --syncmode=delete'

# -- timer ----------------------------------------------------------------------------------------------------------------
sw -q install add web=1.1
t 'a short timer' runs sw install activate --auto-abort 1s
sleep 1.2
t 'the next command finds that it has ended' must_fail 4 sw install commit
t 'says so' has 'the auto-abort timer has ended' err
t 'and refuses' has "not possible in state 'none'" err
sw show install log -n web >said.log
t 'it was the timer' has ' timer auto-abort: ' said.log
t 'a time that is none' must_fail 2 sw install activate --auto-abort 5
t 'minutes that are none' must_fail 2 sw install activate auto-abort-timer 0

# -- recipes, several environments ----------------------------------------------------------------------------------------
t 'a second environment' runs sw env create -n other plain=1
t 'has no component and no operation' runs sw show issu state detail -n other
t 'says so' has 'No ISSU operation is in progress' out
t 'now a name is needed' must_fail 2 sw install add web=1.1
t 'and both are listed' has 'there are 2: other, web' err
sw env export -n web >web.spr
printf 'name: web\nchannels: [ch]\ndependencies: [web=1.1]\n' >web.yml
t 'a recipe names its environment' runs sw install add file web.yml
t 'it is added' state added
sw -q install abort -n web
t 'a recipe without the word' runs sw install add web.yml activate issu -n web
t 'activated' state activated
sw -q install commit -n web
t 'a .spr file' runs sw install add web.spr -n web activate commit
t 'a recipe that is not there' must_fail 1 sw install add no.spr -n web
t 'nothing to add' must_fail 2 sw install add
t 'commit without activate' must_fail 2 sw install add web=1.1 commit
t 'a plain one goes the same way' runs sw install add plain=2 -n other activate commit
t 'and back' runs sw install rollback -n other
t 'in words, not stages' hasnt STAGE out
t 'log of all' runs sw show install log
t 'has both' has 'Install log: other' out
sw show install log --json >log.json
t 'log as JSON' python3 -c '
import json
log = [e["log"] for e in json.load(open("log.json"))["environments"] if e["environment"] == "web"][0]
assert any(s["name"] == "Activate" for x in log for s in x["steps"])
assert all(x["who"] and x["command"] for x in log), log
assert not any(x["result"] == "done" and "refused" in x["result"] for x in log)'
t 'show version' runs sw show version
t 'has Slipway first' has '^slipway ' out
t 'the log by its other name' runs sw show install issu history -n web
t 'is the same' has '^\[ Member 1 \] Install log: web$' out
t 'words that are none' must_fail 2 sw show issu nonsense
t 'clear what' must_fail 2 sw clear install
t 'stop what' must_fail 2 sw install auto-abort-timer
t 'words in another order' must_fail 2 sw install activate commit issu
t 'are told where to look' has "unexpected word 'issu'; 'slipway install activate --help' shows" err

# What is printed as the next command can be typed as it is.
# typed COMMAND...: what COMMAND prints in quotes as the command that goes back, typed
typed()
{
	env -u SLIPWAY_ROOT "$SLIPWAY" "$@" >out 2>err
	hint=$(sed -n "s/.*'\\(slipway [^']*abort[^']*\\)' goes back.*/\\1/p" err | head -n 1)
	[ -n "$hint" ] || { cat err; return 1; }
	ln -sf "$SLIPWAY" ./slipway
	PATH=.:$PATH env -u SLIPWAY_ROOT sh -c "$hint"
}
ln -s "$SLIPWAY_ROOT" 'a $root'
sw -q install add plain=1 -n typed
t 'a refusal with --root' typed --root 'a $root' install add plain=2 -n typed
t 'was followed' must_fail 1 sw show install summary -n typed
sw -q install add plain=1 -n typed
t 'behind the words, too' typed install add plain=2 -n typed --root="$SLIPWAY_ROOT"
t 'and followed' must_fail 1 sw show install summary -n typed
sw -q install add plain=1 -n typed
t 'the next command' runs sw --root 'a $root' show issu state detail -n typed
t 'names root and environment' has '^Next: slipway --root "a \\\$root" install activate issu -n typed$' out
t 'as JSON' runs sw show issu state detail -n typed --json
t 'too' has '"next": "slipway install activate issu -n typed"' out
sw -q install abort -n typed

# another user
as_nobody()
{
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
chmod 755 "$T" "$SLIPWAY_ROOT"
if as_nobody env SLIPWAY_ROOT="$SLIPWAY_ROOT" "$SLIPWAY" show version >/dev/null 2>&1; then
	for words in 'install commit' 'install abort' 'install remove inactive' 'clear install state'; do
		# shellcheck disable=SC2086 # words
		t "another user: $words" must_fail 1 as_nobody env SLIPWAY_ROOT="$SLIPWAY_ROOT" "$SLIPWAY" $words -n web
		t "$words: says who may" has "Permission denied; '.*' belongs to user 'root': run this as that user" err
	done
	t 'another user looks' runs as_nobody env SLIPWAY_ROOT="$SLIPWAY_ROOT" "$SLIPWAY" show install summary -n web
else
	skip 'another user' 'kernel: this user cannot become another one'
fi

done_testing
