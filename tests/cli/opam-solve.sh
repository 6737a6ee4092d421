# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2086 # lists of words
# Plans of opam packages. What is expected of the small repository is what opam 2.1.2 printed for it.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

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
mkdir repo
echo 'opam-version: "2.0"' >repo/repo
p app.1 'depends: ["lib" {>= "1"} "tool" {build} "doc" {with-doc} "check" {with-test}]'
p app.2 'depends: ["lib" {>= "2"} "tool" {build} "aux_x86" "check" {with-test & >= "2"}]' 'depopts: ["extra"]'
p app.3 'depends: ["lib" {>= "9"}]'
p app.4 'depends: ["lib"]' 'flags: avoid-version'
p lib.1 ''
p lib.2 'depends: ["base"]'
p lib.3 'depends: ["base" "old" {< "2"}]'
p base.1 ''
p tool.1 'depends: ["base"]'
p tool.2 'depends: ["base"]' 'available: os = "macos"'
p aux_x86.0.1~beta ''
p aux_x86.0.1 'depends: ["a" | "b"]'
p a.1 'conflicts: ["b"]' 'conflict-class: "ab"'
p b.1 'conflict-class: "ab"'
p old.1 'depends: ["mid"]'
p old.2 ''
p mid.1 'depends: ["old" {post}]'
p user.1 'depends: ["lib"]'
p user2.1 'depends: ["user" {build}]'
p user3.1 'depends: ["user"]' 'depopts: ["extra"]'
p extra.1 ''
p check.1 ''
p check.2 'depends: ["tool"]'
p doc.1 ''
p onlyold.1 'depends: ["old" {= "2"} "app"]'
p clash.1 'conflicts: ["user"]'
p none.1 'depends: ["lib" {>= "9"}]'
p two.1 'depends: ["lib" {= "1"} "app" {>= "2"}]'
cat >state <<'X'
opam-version: "2.0"
roots: ["app.1" "lib.1" "user.1" "user2.1" "user3.1"]
installed: ["app.1" "base.1" "lib.1" "tool.1" "user.1" "user2.1" "user3.1"]
X
cp state pinned
echo 'pinned: "lib.2"' >>pinned

# plan NAME WORD... <EXPECTED: as opam 2.1 has it
plan()
{
	name=$1
	shift
	cat >want
	"$SLIPWAY" opam solve --repo repo --format 2.1 "$@" >got 2>err
	t "$name" cmp want got
}
plan 'the newest that is not to be avoided' app <<'X'
The following actions would be performed:
  - install a       1   [required by aux_x86]
  - install base    1   [required by lib, tool]
  - install aux_x86 0.1 [required by app]
  - install tool    1   [required by app]
  - install lib     2   [required by app]
  - install app     2
===== 6 to install =====
X
plan 'an alternative that is asked for is taken' b app <<'X'
The following actions would be performed:
  - install b       1
  - install base    1   [required by lib, tool]
  - install aux_x86 0.1 [required by app]
  - install tool    1   [required by app]
  - install lib     2   [required by app]
  - install app     2
===== 6 to install =====
X
plan 'what tests need, of what is asked for' --with-test app <<'X'
The following actions would be performed:
  - install a       1   [required by aux_x86]
  - install base    1   [required by lib]
  - install aux_x86 0.1 [required by app]
  - install tool    1   [required by app]
  - install lib     2   [required by app]
  - install check   2   [required by app]
  - install app     2
===== 7 to install =====
X
plan 'what is to be avoided, where nothing else does' two <<'X'
The following actions would be performed:
  - install lib 1 [required by two]
  - install app 4 [required by two]
  - install two 1
===== 3 to install =====
X
plan 'a dependency for later does not order' 'lib>=3' <<'X'
The following actions would be performed:
  - install base 1 [required by lib]
  - install mid  1 [required by old]
  - install old  1 [required by lib]
  - install lib  3
===== 4 to install =====
X
plan 'an upgrade recompiles what uses it' --switch-state state app.2 <<'X'
The following actions would be performed:
  - upgrade   lib     1 to 2 [required by app]
  - install   a       1      [required by aux_x86]
  - recompile user    1      [uses lib]
  - install   aux_x86 0.1    [required by app]
  - recompile user3   1      [uses user]
  - upgrade   app     1 to 2
===== 2 to install | 2 to recompile | 2 to upgrade =====
X
plan 'an optional dependency recompiles' --switch-state pinned extra <<'X'
The following actions would be performed:
  - install   extra 1
  - recompile user3 1 [uses extra]
===== 1 to install | 1 to recompile =====
X
plan 'a pin is marked' --switch-state pinned lib <<'X'
The following actions would be performed:
  - upgrade   lib   1 to 2*
  - recompile user  1       [uses lib]
  - recompile app   1       [uses lib]
  - recompile user3 1       [uses user]
===== 3 to recompile | 1 to upgrade =====
X
plan 'what is installed is left alone' --switch-state state lib app </dev/null
t 'which is said' grep -q 'Package lib is already installed (current version is 1)' err
"$SLIPWAY" opam solve --repo repo --switch-state state app.2 >got
cat >want <<'X'
The following actions would be performed:
=== recompile 2 packages
  - recompile user    1      [uses lib]
  - recompile user3   1      [uses user]
=== upgrade 2 packages
  - upgrade   app     1 to 2
  - upgrade   lib     1 to 2 [required by app]
=== install 2 packages
  - install   a       1      [required by aux_x86]
  - install   aux_x86 0.1    [required by app]
X
t 'later opams print by kind and name' cmp want got
plan 'a conflict removes' --switch-state state clash <<'X'
The following actions would be performed:
  - remove  user2 1 [uses user]
  - remove  user3 1 [uses user]
  - remove  user  1 [conflicts with clash]
  - install clash 1
===== 1 to install | 3 to remove =====
X
plan 'the oldest' --criteria lower-bounds user <<'X'
The following actions would be performed:
  - install lib  1 [required by user]
  - install user 1
===== 2 to install =====
X

# A switch with an invariant, upgrades, removals: as opam 2.1.2 has them.
p comp.1 'flags: compiler'
p comp.2 'flags: compiler'
p comp.3 'flags: compiler'
p core.1 'depends: "comp" {< "3"}'
p core.2 'depends: "comp" {>= "2"}'
p shell.1 'depends: "core"'
p shell.2 'depends: ["core" {>= "2"} "fresh"]' 'messages: ["a shell" "of two lines" {os = "linux"} "for another" {os = "win32"}]'
p fresh.1 'messages: "comes in"'
p alt.1 'depends: "x" | "y"'
p x.1 ''
p y.1 ''
p three.1 'depends: ["comp" {= "3"}]'
p notx.1 'conflicts: "x"'
p withsys.1 'depexts: [["libfoo-dev"] {os-distribution = "debian"}]'
p withsys.2 'depexts: [["libfoo-dev" "libbar"] {os-distribution = "debian"} ["other"] {os = "win32"}]'
p usesys.1 'depends: ["withsys" ("onlyone" | "othersys")]'
p onlyone.1 'depexts: ["nowhere"]'
p othersys.1 ''
mkdir switch
cat >switch/switch-state <<'X'
opam-version: "2.0"
roots: ["alt.1" "shell.1" "comp.1" "core.1" "x.1"]
installed: ["alt.1" "shell.1" "comp.1" "core.1" "x.1"]
X
cat >switch/switch-config <<'X'
opam-version: "2.0"
invariant: [
  "comp" {< "3"}
]
X
state='--switch-state switch/switch-state'
plan 'all is upgraded as far as the invariant lets it' $state --upgrade <<'X'
The following actions would be performed:
  - install fresh 1      [required by shell] comes in
  - upgrade comp  1 to 2
  - upgrade core  1 to 2
  - upgrade shell 1 to 2                     a shell
                                             of two lines
===== 1 to install | 3 to upgrade =====
X
plan 'without it, farther' $state --invariant '' --upgrade <<'X'
The following actions would be performed:
  - install fresh 1      [required by shell] comes in
  - upgrade comp  1 to 3
  - upgrade core  1 to 2
  - upgrade shell 1 to 2                     a shell
                                             of two lines
===== 1 to install | 3 to upgrade =====
X
plan 'one is upgraded' $state --upgrade core <<'X'
The following actions would be performed:
  - upgrade   comp  1 to 2 [required by core]
  - upgrade   core  1 to 2
  - recompile shell 1      [uses core]
===== 1 to recompile | 2 to upgrade =====
X
plan 'what needs it goes as well' $state --remove x <<'X'
The following actions would be performed:
  - remove alt 1 [uses x]
  - remove x   1
===== 2 to remove =====
X
plan 'but where it only conflicts, another alternative is taken' $state notx <<'X'
The following actions would be performed:
  - remove    x    1 [conflicts with notx]
  - install   y    1 [required by alt]
  - install   notx 1
  - recompile alt  1 [uses x]
===== 2 to install | 1 to recompile | 1 to remove =====
X
plan 'removal and installation' $state --remove alt y <<'X'
The following actions would be performed:
  - install y   1
  - remove  alt 1
===== 1 to install | 1 to remove =====
X
plan 'what is not installed is not removed' $state --remove y <<'X'
Nothing to do.
X
t 'which is said' grep -q 'y is not installed' err
t 'the invariant is kept' must_fail 20 "$SLIPWAY" opam solve --repo repo $state three
plan 'the best that can be had of what was asked for' $state --best-effort three x y <<'X'
The following actions would be performed:
  - install   y   1
  - recompile alt 1 [uses y]
===== 1 to install | 1 to recompile =====
X
t 'what is left out is said' grep -q 'left out.*: three' err
plan 'as many as can be had, depth first' $state --criteria 0install --best-effort three notx y <<'X'
The following actions would be performed:
  - remove    x     1      [conflicts with notx]
  - install   fresh 1      [required by shell]   comes in
  - install   y     1
  - upgrade   comp  1 to 2
  - install   notx  1
  - recompile alt   1      [uses y]
  - upgrade   core  1 to 2 [uses comp]
  - upgrade   shell 1 to 2 [uses core]           a shell
                                                 of two lines
===== 3 to install | 1 to recompile | 3 to upgrade | 1 to remove =====
X
plan 'of the oldest, too' --criteria lower-bounds --best-effort clash user user2 <<'X'
The following actions would be performed:
  - install lib   1 [required by user]
  - install user  1
  - install user2 1
===== 3 to install =====
X
plan 'nothing needs a change' $state --upgrade --criteria fixup <<'X'
Nothing to do.
X
plan 'there is nothing newer' --installed x.1 --upgrade <<'X'
Already up-to-date.
Nothing to do.
X
plan 'nor of what is named' $state --upgrade x <<'X'
Already up-to-date.
Nothing to do.
X
p roof.1 'depends: "wall" {< "2"}'
p wall.1 ''
p wall.2 ''
p wall.3 'available: os = "macos"'
plan 'what is newer cannot be had with what is there' --installed roof.1 --installed wall.1 --upgrade <<'X'
Everything as up-to-date as possible (run with --verbose to show unavailable upgrades).
However, you may "opam upgrade" these packages explicitly, which will ask permission to downgrade or uninstall the conflicting packages.
Nothing to do.
X
plan 'which is told' -v --installed roof.1 --installed wall.1 --upgrade <<'X'
Everything as up-to-date as possible.
The following newer versions couldn't be installed:
  - wall.3: unmet availability conditions: 'os = "macos"'
However, you may "opam upgrade" these packages explicitly, which will ask permission to downgrade or uninstall the conflicting packages.
Nothing to do.
X
rm -r repo/packages/wall/wall.3
"$SLIPWAY" opam solve --repo repo --installed roof.1 --installed wall.1 --upgrade >got 2>err
cat >want <<'X'
Everything as up-to-date as possible

The following packages are not being upgraded because the new versions conflict with other installed packages:
  - wall.2
    -- roof.1 is installed and requires wall < 2
However, you may "opam upgrade" these packages explicitly at these versions (e.g. "opam upgrade wall.2"), which will ask permission to downgrade or uninstall the conflicting packages.
Nothing to do.
X
t 'as later opams tell it' cmp want got
plan 'but it comes where it is asked for' --installed roof.1 --installed wall.1 --upgrade wall <<'X'
The following actions would be performed:
  - remove  roof 1      [conflicts with wall]
  - upgrade wall 1 to 2
===== 1 to upgrade | 1 to remove =====
X
p shun.1 'flags: avoid-version'
p shun.2 ''
p shun.3 'flags: avoid-version'
plan 'who has what is to be avoided gets the next of it' --installed shun.1 --upgrade <<'X'
The following actions would be performed:
  - upgrade shun 1 to 3
X
plan 'others do not' --installed shun.2 --upgrade <<'X'
Everything as up-to-date as possible (run with --verbose to show unavailable upgrades).

The following packages are not being upgraded because the new versions conflict with other installed packages:
  - shun.3
However, you may "opam upgrade" these packages explicitly, which will ask permission to downgrade or uninstall the conflicting packages.
Nothing to do.
X
p egg.1 'depends: "hen"'
p hen.1 'depends: "egg"'
p nest.1 'depends: "egg"'
t 'what goes round in a circle is no plan' must_fail 20 "$SLIPWAY" opam solve --repo repo nest
t 'and the circle is shown' grep -q 'in a circle: install egg.1 -> install hen.1 -> install egg.1' err
plan 'criteria in words of opam' --criteria '-count[version-lag,solution],-changed' app.1 <<'X'
The following actions would be performed:
  - install base 1 [required by lib, tool]
  - install tool 1 [required by app]
  - install lib  2 [required by app]
  - install app  1
===== 4 to install =====
X
plan 'fewer packages before newer ones' --criteria '-changed,-count[version-lag,solution]' user <<'X'
The following actions would be performed:
  - install lib  1 [required by user]
  - install user 1
===== 2 to install =====
X
plan 'packages of the system that are missing count' --system libfoo-dev --criteria '-count[missing-depexts,changed]' usesys <<'X'
The following actions would be performed:
  - install withsys  1 [required by usesys]
  - install othersys 1 [required by usesys]
  - install usesys   1
===== 3 to install =====
X
t 'criteria that are none' must_fail 2 "$SLIPWAY" opam solve --repo repo --criteria '-removed,-count[size,changed]' app
t 'are named' grep -q "unknown criterion '-count\[size,changed\]'" err
t 'sums that are to be large' must_fail 2 "$SLIPWAY" opam solve --repo repo --criteria +removed app
t 'an invariant that cannot be read' must_fail 1 "$SLIPWAY" opam solve --repo repo --invariant '"comp" {' app
t 'is shown with its place' grep -q 'formula:1:' err
t 'nothing to remove by that name' must_fail 5 "$SLIPWAY" opam solve --repo repo --remove nosuch

t 'an unknown name' must_fail 5 "$SLIPWAY" opam solve --repo repo nosuch
t 'is named' grep -q "no package named 'nosuch'" err
t 'a name that is mistyped' must_fail 5 "$SLIPWAY" opam solve --repo repo clush
t 'has its like told' grep -q "did you mean 'clash'?" err
t 'as an object' eval 'must_fail 5 "$SLIPWAY" --json opam solve --repo repo nosuch; grep -q "\"exit\": 5" out'
t 'an unknown version' must_fail 5 "$SLIPWAY" opam solve --repo repo app.77
t 'has the newest told' grep -q "no version for 'app.77'; its newest is 3" err
t 'a pin to nothing' must_fail 5 "$SLIPWAY" opam solve --repo repo --pin app.77 app
t 'is told as one' grep -q "'app' is pinned to 77, which is not available here or in no repository" err
t 'a version that cannot be one' must_fail 2 "$SLIPWAY" opam solve --repo repo 'app>=1&<3'
t 'installed without a version' must_fail 2 "$SLIPWAY" opam solve --repo repo --installed app lib
t 'pinned without a version' must_fail 2 "$SLIPWAY" opam solve --repo repo --pin app lib
t 'a variable without a value' must_fail 2 "$SLIPWAY" opam solve --repo repo --var os app
t 'a platform without an architecture' must_fail 2 "$SLIPWAY" opam solve --repo repo --platform macos app
p torn.1 'depends: ["lib" {>= '
t 'a package whose file is malformed' must_fail 5 "$SLIPWAY" opam solve --repo repo torn
t 'is told by its place' grep -q "'torn' cannot be had: packages/torn/torn.1/opam:" err
rm -r repo/packages/torn
t 'a repository that is nowhere' must_fail 2 "$SLIPWAY" opam solve --repo nosuch app
t 'how one is kept is told' grep -q "channel add opam --name nosuch" err
"$SLIPWAY" opam solve --repo repo --upgrade >got 2>err
echo 'Already up-to-date.' >want && echo 'Nothing to do.' >>want
t 'nothing to upgrade' cmp want got
t 'a repository with nothing in it is kept' eval 'mkdir -p none && "$SLIPWAY" channel add opam ./none 2>err'
t 'with a note' grep -q 'no opam repository yet' err
t 'it is not taken for a package that is not there' must_fail 1 "$SLIPWAY" opam solve app
t 'it is named' grep -q "'slipway channel remove' would forget" err
t 'it is forgotten' eval '"$SLIPWAY" channel remove ./none 2>err'
t 'no repository is named' must_fail 2 "$SLIPWAY" channel add opam
t 'which is said so' grep -q 'add which opam repository' err
t 'one that is not available' must_fail 5 "$SLIPWAY" opam solve --repo repo app tool.2
t 'but elsewhere it is' "$SLIPWAY" opam solve --repo repo --var os=macos tool.2
t 'no solution' must_fail 20 "$SLIPWAY" opam solve --repo repo clash user
t 'says why' grep -q 'cannot be with .*user was asked for' err
t 'a version that nothing has' must_fail 20 "$SLIPWAY" opam solve --repo repo none
t 'is told' grep -q 'none needs lib >= 9, but there is no such version' err
t 'unknown criteria' must_fail 2 "$SLIPWAY" opam solve --repo repo --criteria best app
t 'nothing asked for' must_fail 2 "$SLIPWAY" opam solve --repo repo
t 'a state that is none' must_fail 1 "$SLIPWAY" opam solve --repo repo --switch-state repo/nosuch app
"$SLIPWAY" --json opam solve --repo repo --switch-state state app.2 >json
t 'as an object' python3 -c '
import json
a = {x["name"]: x for x in json.load(open("json"))["actions"]}
assert a["lib"]["from"] == "1" and a["lib"]["version"] == "2" and a["lib"]["action"] == "upgrade", a
assert a["user"]["cause"] == "uses" and a["user"]["causes"] == ["lib"] and a["user"]["after"] == ["lib"], a
assert a["app"]["cause"] == "requested", a'

# What is in the way: in our words, and, as opam, in those that opam 2.1.2 had for it.
p lacks.1 'depends: ["nosuch"]'
p later.1 'depends: ["lacks" {>= "3"}]'
p abroad.1 'available: os = "macos"'
p travels.1 'depends: ["abroad"]'
p either.1 'depends: ["x" & ("lacks" | "travels")]'
p core4.1 'depends: ["comp" {= "1"} "shell" {>= "2"}]'
p both.1 'depends: ["x" "notx"]'
in_the_way()
{
	what=$1
	shift
	cat >want
	"$SLIPWAY" opam solve --repo repo "$@" 2>got >/dev/null
	t "$what" cmp want got
}
in_the_way 'a name that there is not' lacks <<'X'
slipway: no solution:
  - lacks needs nosuch, but there is no package 'nosuch'
X
in_the_way 'a version that there is not' later <<'X'
slipway: no solution:
  - later needs lacks >= 3, but there is no such version
X
in_the_way 'each way is told' either <<'X'
slipway: no solution:
  - either needs lacks, which needs nosuch, but there is no package 'nosuch'
  - either needs travels, which needs abroad, which is not available here: it wants os = "macos"
X
in_the_way 'a pin' --pin lib.1 'lib>=2' <<'X'
slipway: 'lib>=2' cannot be had: 'lib' is pinned to 1
X
in_the_way 'a pin of something that is needed' --pin comp.1 core.2 <<'X'
slipway: no solution:
  - core >= 2 needs comp >= 2, but it is pinned to 1
X
in_the_way 'the invariant' $state three <<'X'
slipway: no solution:
  - comp < 3 is the invariant, but three needs comp >= 3
X
in_the_way 'two that want different versions' core4 <<'X'
slipway: no solution:
  - core4 needs comp < 2, but core4 needs shell >= 2, which needs core >= 2, which needs comp >= 2
X
in_the_way 'two that cannot be together' both <<'X'
slipway: no solution:
  - notx cannot be with x: both needs notx, and both needs x
X
"$SLIPWAY" --json opam solve --repo repo both >json 2>err
t 'as an object' grep -q 'notx cannot be with x' json

# Folders of sources: what they define is pinned.
mkdir -p src/own src/pair/opam src/none
printf 'version: "3"\ndepends: ["lib" {< "2"}]\n' >src/own/own.opam
printf 'depends: ["pair2"]\n' >src/pair/opam/pair1.opam
printf 'depends: ["base"]\n' >src/pair/pair2.opam
printf 'depends: ["tool"]\n' >src/pair/opam/pair2.opam
printf 'name: "lib"\n' >src/opam
plan 'sources that are asked for' ./src/own <<'X'
The following actions would be performed:
  - install lib 1  [required by own]
  - install own 3*
===== 2 to install =====
X
plan 'all that a folder defines' ./src/pair lib.1 <<'X'
The following actions would be performed:
  - install lib   1
  - install base  1     [required by pair2]
  - install pair2 ~dev*
  - install pair1 ~dev*
===== 4 to install =====
X
plan 'a pin to sources, of the newest version that there is' --pin lib=src user <<'X'
The following actions would be performed:
  - install lib  3* [required by user]
  - install user 1
===== 2 to install =====
X
plan 'or of one that is said' --pin lib.2~x=src user <<'X'
The following actions would be performed:
  - install lib  2~x* [required by user]
  - install user 1
===== 2 to install =====
X
t 'a folder that defines nothing' must_fail 1 "$SLIPWAY" opam solve --repo repo ./src/none
t 'is said to' grep -q "no opam file of a package in './src/none'" err
t 'a folder that is not there' must_fail 1 "$SLIPWAY" opam solve --repo repo ./src/nowhere
t 'a URL' must_fail 2 "$SLIPWAY" opam solve --repo repo --pin lib=https://a.invalid/lib.tgz lib
t 'is to be a folder' grep -q 'give the folder' err
t 'a name that is none' must_fail 2 "$SLIPWAY" opam solve --repo repo --pin .=src lib
echo 'depends: [' >src/own/own.opam
t 'a file that cannot be read' must_fail 1 "$SLIPWAY" opam solve --repo repo ./src/own
t 'is shown with its place' grep -q 'own.opam:' err

ln -s "$SLIPWAY" opam
OPAMROOT=$PWD/root OPAMYES=1 OPAMROOTISOK=1 OPAMCOLOR=never
export OPAMROOT OPAMYES OPAMROOTISOK OPAMCOLOR
./opam init --bare --disable-sandboxing --no-setup -k local default "$PWD/repo" >out 2>&1
./opam switch create s --empty >out 2>&1
cp switch/switch-state root/s/.opam-switch/
sed -i '/^invariant/d' root/s/.opam-switch/switch-config
sed 1d switch/switch-config >>root/s/.opam-switch/switch-config
as_opam()
{
	what=$1 code=$2
	shift 2
	cat >want
	./opam install --show-actions "$@" >got 2>&1
	echo "exit $?" >>got
	echo "exit $code" >>want
	t "as opam: $what" cmp want got
}
as_opam 'a name that there is not' 20 lacks <<'X'
[ERROR] Package conflict!
  * Missing dependency:
    - nosuch
    unknown package

No solution found, exiting
X
as_opam 'each way is told' 20 either <<'X'
[ERROR] Package conflict!
  * Missing dependency:
    - either -> lacks -> nosuch
    unknown package
  * Missing dependency:
    - either -> travels -> abroad
    unmet availability conditions: 'os = "macos"'

No solution found, exiting
X
as_opam 'the invariant' 20 three <<'X'
[ERROR] Package conflict!
  * No agreement on the version of comp:
    - (invariant) -> comp < 3
    - three -> comp >= 3
    You can temporarily relax the switch invariant with `--update-invariant'

No solution found, exiting
X
as_opam 'two that cannot be together' 20 y x notx <<'X'
[NOTE] Package x is already installed (current version is 1).
[ERROR] Package conflict!
  * Incompatible packages:
    - notx
    - x

No solution found, exiting
X
as_opam 'no such version' 5 'lib>=9' <<'X'
[ERROR] Package lib has no version >=9.
X
as_opam 'not here' 5 abroad <<'X'
[ERROR] abroad unmet availability conditions: 'os = "macos"'
X

# The real repositories, and what opams said of them.
data=$SHARED/data/opam
if [ ! -d "$data/plans" ]; then
	skip 'plans of the real repositories' "build: no $data"
	done_testing
fi
for plan in "$data"/plans/2026-*.txt; do
	name=${plan##*/2026-} criteria=newest
	case $name in *.0install.txt) criteria=0install ;; esac
	"$SLIPWAY" -q opam solve --repo "$data/opam-files-2026.tar.zst" --criteria $criteria "${name%%.*}" >got
	t "2026, ${name%.txt}" cmp "$plan" got
done

# go_together CRITERIA PACKAGE: a plan that was not recorded anywhere, checked by a reader that shares nothing with ours
go_together()
{
	"$SLIPWAY" -q opam solve --repo "$data/opam-files-2026.tar.zst" --criteria "$1" "$2" >plan &&
		zstd -dc "$data/opam-files-2026.tar.zst" | python3 "$SOURCE_ROOT/tests/lib/opam_check.py" plan
}
for criteria in newest 0install lower-bounds; do
	t "$criteria goes together" go_together $criteria irmin
done
t 'of a large package, too' go_together newest bap
for package in bap irmin; do
	"$SLIPWAY" -q --json opam solve --repo "$data/opam-files-2026.tar.zst" $package >json
	t "$package: shown to be the best" grep -q '"best": *true' json
done
sed 's/install lwt .*/install lwt 5.5.0/' "$data/plans/2026-irmin.0install.txt" >plan
t 'a plan that does not is seen' must_fail 1 sh -c 'zstd -dc "$1" | python3 "$2" plan' - "$data/opam-files-2026.tar.zst" \
	"$SOURCE_ROOT/tests/lib/opam_check.py"
old="--repo $data/opam-files-2025-05-06.tar.zst"
"$SLIPWAY" -q opam solve $old ocaml-base-compiler.5.3.0 opam-depext >base
installed=$(awk '/- install/ { print "--installed " $3 "." $4 }' base)
for plan in '212-mccs newest 2.1' '216-0inst 0install 2.1' '252-mccs newest 2.5' '252-0inst 0install 2.5'; do
	set -- $plan
	"$SLIPWAY" -q opam solve $old $installed --criteria "$2" --format "$3" --pin ocaml-unikraft-backend-qemu.0.18.0 \
		ocaml-unikraft-backend-qemu.0.18.0 >got
	t "the seed's package, $1" cmp "$data/plans/plan.seed-$1.txt" got
done
done_testing
