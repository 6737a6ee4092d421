# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Our builder beside OBuilder: the same specs, the same logs, outcomes and Dockerfiles; and what OBuilder does wrong is not done here.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
. "$SOURCE_ROOT/tests/lib/builds.sh"
. "$SOURCE_ROOT/tests/lib/obuilder.sh"
need_builds
t 'has a base image' builds_base base300
obuilder_context context

# says SPEC CONTEXT: builds twice; both logs in ./log, each with "end 0" or "end 1" behind it, in a form that can be compared.
says()
{
	for _ in 1 2; do
		ends '0 1' "$SLIPWAY" build -f "$1" "$2" || return 1
		cat out
		echo
		echo "end $rc"
	done >both
	obuilder_plain <both >log
}

# agrees EXPECTED SPEC CONTEXT: the same log as OBuilder's, but for the words of a failure.
agrees()
{
	says "$2" "$3" || return 1
	for i in "$1" log; do
		sed 's/^Build step failed: .*/Build step failed/' "$i" >"${i##*/}.words"
	done
	diff -u "${1##*/}.words" log.words
}

for spec in "$SOURCE_ROOT"/tests/obuilder/*.spec; do
	name=${spec##*/}
	name=${name%.spec}
	case $name in
	copy-stage | copy-user | users | workdir)
		builds_one_id && skip "$name: OBuilder's log" 'kernel: one user id alone' && continue
		;;
	esac
	if [ "$name" = copy-up ]; then # there when it comes to it, here before anything is done
		t "$name: is refused" must_fail 1 "$SLIPWAY" build -f "$spec" context
		t "$name: by its place" has "$name\.spec:1:[0-9]*: .*'\.\.'" err
		continue
	fi
	t "$name: OBuilder's log" agrees "${spec%.spec}.log" "$spec" context
done

if [ -e "$SHARED/data/obuilder/src.tar.gz" ]; then
	data=$SHARED/data/obuilder
	tar -xzf "$data/src.tar.gz"
	for spec in "$data"/*.spec; do
		name=${spec##*/}
		name=${name%.spec}
		case $name in
		17-* | 21-*) # no spec at all
			t "$name: is refused" must_fail 1 "$SLIPWAY" build -f "$spec" src
			t "$name: by its place" has "$name\.spec:1:[0-9]*: " err
			continue
			;;
		esac
		for i in 1 2; do
			obuilder_plain <"$data/$name.$i.log" || exit 1
			tail -n 1 "$data/$name.$i.log" | sed 's/^exit/end/'
		done >expected
		t "$name: OBuilder's log" agrees expected "$spec" src
	done
else
	skip "the data beside the checkout" 'no shared data (set SLIPWAY_SHARED)'
fi

# What OBuilder does wrong.
build()
{
	"$SLIPWAY" build "$@" >out 2>&1 </dev/null
}

last_id()
{
	sed -n 's/.*---> [a-z ]*"\([0-9a-f]*\)".*/\1/p' "$1" | tail -n 1
}

cat >mode.spec <<'END'
((from base) (copy (src tool) (dst /tool)) (run (shell "stat -c 'mode %a' /tool")))
END
mkdir mode
echo 'echo run' >mode/tool
chmod 644 mode/tool
t 'copies a file that is no program' build -f mode.spec mode
t 'which it is not there, too' has 'mode 644' out
cp out before
chmod 755 mode/tool
t 'the same made a program' build -f mode.spec mode
t 'is one' has 'mode 755' out
t 'under another id' [ "$(last_id before)" != "$(last_id out)" ]
chmod 600 mode/tool
t 'readable or not for others' build -f mode.spec mode
t 'makes no difference' [ "$(last_id before)" = "$(last_id out)" ]

cat >net.spec <<'END'
((from base)
 (run (shell "echo begun >/begun"))
 (run (network bridge) (shell "true")))
END
t 'a network that there is not' must_fail 1 "$SLIPWAY" build -f net.spec mode
t 'is refused by its place' has 'net.spec:3:' err
t 'before anything' hasnt 'begun' out
t 'and leaves nothing' builds_clean "$SLIPWAY_ROOT"

hasnt_secret()
{
	! grep -rlF -e one-secret-value "$SLIPWAY_ROOT"
}
cat >secret.spec <<'END'
((from base)
 (run (secrets (token (target /run/token))) (shell "stat -c 'token %a %u' /run/token; sha256sum </run/token"))
 (run (shell "ls -A /run")))
END
echo one-secret-value >one
echo another >two
t 'a secret' build --secret token=one -f secret.spec mode
t 'is its user'"'"'s alone' has 'token 400 0' out
cp out before
t 'nothing of it is in the layers' hasnt_secret
t 'the same value again is cached' build --secret token=one -f secret.spec mode
t 'with the same id' [ "$(last_id before)" = "$(last_id out)" ]
t 'another value' build --secret token=two -f secret.spec mode
t 'is used' [ "$(last_id before)" != "$(last_id out)" ]
t 'a secret without a value' must_fail 1 "$SLIPWAY" build -f secret.spec mode
t 'is said by its name' has "'token'" err

cat >cache.spec <<'END'
((from base)
 (run (cache (a/b (target /c)) (a%2fb (target /d)) (../../up (target /e)) (.. (target /f))) (shell "echo ab >/c/v; echo other >/d/v; echo up >/e/v; echo two >/f/v"))
 (run (cache (a/b (target /c)) (a%2fb (target /d)) (../../up (target /e)) (.. (target /f))) (shell "cat /c/v /d/v /e/v /f/v")))
END
t 'caches of any name' build -f cache.spec mode
tail -n 9 out | grep -e '^ab$' -e '^other$' -e '^up$' -e '^two$' | tr '\n' ' ' >values
t 'are each its own' [ "$(cat values)" = 'ab other up two ' ]
t 'within the root' [ "$(find "$T" -path "$SLIPWAY_ROOT" -prune -o -name v -print)" = '' ]

# Two builders on one store at the same time.
cat >both.spec <<'END'
((from base)
 (run (shell "sleep 0.5; echo slow; date +%s.%N"))
 (run (shell "echo quick")))
END
"$SLIPWAY" build -f both.spec mode >first 2>&1 &
first=$!
t 'a second builder on the same store' build -f both.spec mode
t 'and the first' wait "$first"
t 'end with the same layer' [ "$(last_id first)" = "$(last_id out)" ]
grep -v -e '--->' -e '^Got' first >first.plain
grep -v -e '--->' -e '^Got' out >out.plain
t 'that was made once: both tell the same of it' cmp first.plain out.plain

cat >status.spec <<'END'
((from base) (run (shell "exit 31")))
END
t 'a step that fails' must_fail 1 "$SLIPWAY" build --json -f status.spec mode
t 'is told with its status' has '"status": *31' out
t 'and leaves nothing behind' builds_clean "$SLIPWAY_ROOT"
t 'not even a beginning' [ -z "$(ls "$SLIPWAY_ROOT/build/tmp")" ]

t 'all of it can be removed' builds_remove

done_testing
