# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2086 # lists of words
# The same history of one switch, told by the real opam 2.1.2 and by this program under its name: what is asked, what is answered, on which stream it
# ends, and with which exit code. What is asked for is of the kinds of opam's own tests: versions to be avoided, upgrades and what is in their way,
# pins, invariants, removals, conflicts, circles, best effort, messages.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
[ "$(opam --version 2>/dev/null)" = 2.1.2 ] || skip_all 'opam 2.1.2 is not here'

OPAMYES=1 OPAMROOTISOK=1 OPAMNOENVNOTICE=1 OPAMNODEPEXTS=1 OPAMCOLOR=never OPAMUTF8=never LC_ALL=C SLIPWAY_OPAM_KEPT=none HOME=$T
export OPAMYES OPAMROOTISOK OPAMNOENVNOTICE OPAMNODEPEXTS OPAMCOLOR OPAMUTF8 LC_ALL SLIPWAY_OPAM_KEPT HOME
unset OPAMSWITCH OPAM_SWITCH_PREFIX LANG
real=$(command -v opam)
mkdir as && ln -s "$SLIPWAY" as/opam

one()
{
	who=$1
	shift
	case $who in
	real) OPAMROOT=$T/real "$real" "$@" ;;
	*) OPAMROOT=$T/ours as/opam "$@" ;;
	esac
}
world()
{
	rm -rf repo real ours
	mkdir -p repo/packages
	echo 'opam-version: "2.0"' >repo/repo
	p first.1
	for who in real ours; do
		one $who init --bare --disable-sandboxing --no-setup -k local default "$T/repo"
		one $who switch create s --empty
	done >log 2>&1
}
# p NAME.VERSION [LINE]...
p()
{
	file=repo/packages/${1%%.*}/$1/opam
	mkdir -p "${file%/opam}"
	shift
	{
		echo 'opam-version: "2.0"'
		printf '%s\n' "$@"
	} >"$file"
}
update()
{
	for who in real ours; do
		one $who update
	done >log 2>&1
}
invariant()
{
	for who in real ours; do
		sed -i '/^invariant/d' $who/s/.opam-switch/switch-config
		echo "invariant: [$1]" >>$who/s/.opam-switch/switch-config
	done
}
# Answers without roots' names; what was done at the same time is sorted.
ask()
{
	for who in real ours; do
		{
			one $who "$@" 2>&1
			echo "exit $?"
		} | sed "s,$T/$who,ROOT,g" >log
		grep -v '^->' log >$who.said
		sed -n '/^->/p' log | sort >>$who.said
	done
}
same()
{
	ask "$@"
	t "$*" cmp real.said ours.said
	cmp -s real.said ours.said || diff real.said ours.said | sed 's/^/# /'
}
# Where the real one has no reason, there is one here.
tells_more()
{
	ask "$@"
	t "$*: no solution" grep -q 'exit 20' real.said
	t "$*: nor here" grep -q 'exit 20' ours.said
	t "$*: there it is sorry" grep -q 'Sorry, no solution found' real.said
	t "$*: here it tells why" grep -q '^  \* ' ours.said
}
# The same circle, begun elsewhere.
circle()
{
	ask "$@"
	sed -i '/^  - .* -> /d' real.said ours.said
	t "$*: a circle" grep -q 'cyclic dependencies' real.said
	t "$*" cmp real.said ours.said
}

# -- versions to be avoided, and upgrades
world
p a.2 'flags: avoid-version'
update
same install a --show-actions
p a.1
update
same install a
same upgrade a
p a.1.1
update
same upgrade a
p a.3
update
same upgrade a
same install a.2
same upgrade a
p b.1 'depends: "a"'
p b.2 'depends: "a" {= "2"}'
update
same install b
same upgrade
same upgrade b
same upgrade
p a.4 'flags: avoid-version'
p b.3 'flags: avoid-version'
update
same upgrade
same upgrade b.3
same install a.2
same upgrade
p c.1 'available: false'
p test.1
p test.2 'depends: "c"'
update
same install test.2
same install c
same install c test nosuch
same remove nosuch
same upgrade nosuch
same reinstall nosuch
same install a.77
same upgrade a.77
same install
same install --nosuch
same remove first
same upgrade --check
same upgrade first

# -- plans, pins, an invariant, removals
world
p app.1 'depends: ["lib" {>= "1"} "tool" {build} "doc" {with-doc} "check" {with-test}]'
p app.2 'depends: ["lib" {>= "2"} "tool" {build} "aux_x86" "check" {with-test & >= "2"}]' 'depopts: ["extra"]'
p app.3 'depends: ["lib" {>= "9"}]'
p app.4 'depends: ["lib"]' 'flags: avoid-version'
p lib.1
p lib.2 'depends: ["base"]'
p lib.3 'depends: ["base" "old" {< "2"}]'
p base.1
p tool.1 'depends: ["base"]'
p tool.2 'depends: ["base"]' 'available: os = "macos"'
p aux_x86.0.1 'depends: ["a" | "b"]'
p a.1 'conflicts: ["b"]' 'conflict-class: "ab"'
p b.1 'conflict-class: "ab"'
p old.1 'depends: ["mid"]'
p old.2
p mid.1 'depends: ["old" {post}]'
p user.1 'depends: ["lib"]'
p user2.1 'depends: ["user" {build}]'
p user3.1 'depends: ["user"]' 'depopts: ["extra"]'
p extra.1
p check.1
p check.2 'depends: ["tool"]'
p doc.1
p onlyold.1 'depends: ["old" {= "2"} "app"]'
p clash.1 'conflicts: ["user"]'
p none.1 'depends: ["lib" {>= "9"}]'
p two.1 'depends: ["lib" {= "1"} "app" {>= "2"}]'
p msg.1 'messages: ["hello" "second" {os = "linux"} "no" {os = "win32"}]' 'post-messages: "after" {success}' 'depends: "msg2"'
p msg2.1 'messages: "another"'
p comp.1 'flags: compiler'
p comp.3 'flags: compiler'
p three.1 'depends: ["comp" {= "3"}]'
update
same install --show-actions -t app
same install --show-actions msg
same install msg
same install --check app
same install --deps-only app
same install --deps-only app
same install --check app
same install lib.1 user user2 user3
same install --show-actions lib.2
same install --show-actions extra
same install --show-actions clash
same install clash user
same install lib app.1
same upgrade --show-actions
same upgrade app --show-actions
same pin add -n lib 1
same install --show-actions lib
same install --show-actions lib.2
same upgrade
same upgrade lib
same upgrade app.2
same pin add -n comp 3
invariant '"comp" {< "3"}'
same install comp
same unpin comp
same install three
same install comp.3
same install comp
same upgrade comp
same remove comp
same remove base --show-actions
same remove lib
same remove lib
same reinstall base
same reinstall app --show-actions
same install none
same upgrade none
same install app two user --show-actions
same list

# -- what is in the way
world
p a.1 'depends: "b"'
p a.2 'depends: ["b" {>= "2"}]'
p b.1
p b.2 'depends: "c"'
p c.1
p d.1 'depends: ["b" {< "2"} "a" {= "2"}]'
p e.1 'depends: ["nosuch"]'
p f.1 'depends: ["e" {>= "3"}]'
p g.1 'available: os = "win32"'
p h.1 'depends: ["g"]'
p i.1 'conflicts: "b"'
p j.1 'conflict-class: "x"'
p k.1 'conflict-class: "x"'
p l.1 'depends: ["j" "m"]'
p m.1 'depends: ["k"]'
p o.1 'depends: ["p" {>= "2"}]'
p p.1
p r.1 'depends: ["p" {= "1"} & ("e" | "h")]'
p cyc1.1 'depends: "cyc2"'
p cyc2.1 'depends: "cyc1"'
p ca.1 'depends: "cb"'
p cb.1 'depends: "cc"'
p cc.1 'depends: "ca"'
p inca.1 'depends: ["ca" "a"]'
update
for asked in e f h 'j k' o r p.7 'p>=2' g 'a.1 b.2 i'; do
	same install $asked
done
for asked in d l 'a i'; do
	tells_more install $asked
done
circle install cyc1
one ours install inca >log 2>&1
t 'a circle behind others, where the real one breaks off with an internal error' [ $? = 20 ]
same list

# -- folders of sources
# s PATH [LINE]...: an opam file that opam has nothing to say of
s()
{
	mkdir -p "${1%/*}"
	file=$1
	shift
	printf '%s\n' 'opam-version: "2.0"' 'maintainer: "a@b.invalid"' 'authors: "a"' 'homepage: "https://a.invalid"' \
		'bug-reports: "https://a.invalid"' 'synopsis: "Of a test"' "$@" >"$file"
}
s src/foo/foo.opam 'version: "3"' 'depends: ["p" {>= "1"}]'
s src/two/opam/t1.opam 'depends: "p"'
s src/two/opam/t2.opam 'depends: ["t1" "p"]'
s src/known/opam 'name: "b"'
s src/quo/quo.opam 'depends: "nosuch"'
mkdir -p src/none
same install --show-actions ./src/foo
same install --show-actions ./src/two
same install --show-actions ./src/known c
same install --show-actions ./src/quo
same install --deps-only --show-actions ./src/two
same install --check ./src/foo
same install --show-actions ./src/none
same install ./src/nowhere
same pin list

# -- an invariant, alternatives, best effort, what no repository has any more
world
p comp.1 'flags: compiler'
p comp.2 'flags: compiler'
p comp.3 'flags: compiler'
p lib.1 'depends: "comp" {< "3"}'
p lib.2 'depends: "comp" {>= "2"}'
p app.1 'depends: "lib"'
p app.2 'depends: ["lib" {>= "2"} "new"]'
p new.1
p alt.1 'depends: "x" | "y"'
p x.1
p y.1
p z.1 'depends: ["comp" {= "3"}]'
p w.1 'conflicts: "x"'
update
same install comp.1 lib.1 app.1 alt x
invariant '"comp" {< "3"}'
same install z
same install z lib.2
same install 'comp>=3'
same remove x --show-actions
same install y
same remove x --show-actions
same install w --show-actions
same upgrade app --show-actions
same upgrade
same upgrade
same upgrade z
same install --best-effort z y new
same upgrade --best-effort z --show-actions
same install w z
same install 'lib!=2' --show-actions
same install app.1 lib.1
rm -r repo/packages/lib/lib.1
update
same upgrade --show-actions
same install lib.2 --show-actions
same reinstall lib --show-actions
same upgrade
same upgrade
done_testing
