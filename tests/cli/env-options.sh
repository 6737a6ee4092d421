# SPDX-License-Identifier: Apache-2.0
# What commands that change environments refuse before they begin, and what they answer to programs.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

package()
{
	rm -rf st && mkdir -p st/share && echo "$1 $2" >"st/share/$1"
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --name "$pack_n" --version "$pack_v" --noarch generic "$@" st
}

# answers TEXT COMMAND...: its JSON, without blanks, has TEXT
answers()
{
	answers_text=$1
	shift
	runs "$@" || return 1
	tr -d ' \n' <out >flat
	has "$answers_text" flat
}

t 'a package' package lib 1.0
t 'and one that needs it' package tool 1.0 --depends 'lib >=1'
t 'a channel of them' runs "$SLIPWAY" channel publish ./channel pkgs/lib-1.0-0.conda pkgs/tool-1.0-0.conda
t 'a wrong --clobber is a usage error' must_fail 2 "$SLIPWAY" env create -n a -c channel --clobber nono nowhere
t 'told before anything is solved for' has "^slipway: --clobber is" err
t 'a channel that cannot be is named' must_fail 2 "$SLIPWAY" env create -n a -c bare tool
t 'once' hasnt "'bare'.*channel 'bare'" err
t 'without a channel there is nothing to look in' must_fail 2 "$SLIPWAY" env create -n a tool
t 'and what to do is said' has "name one with -c" err
t 'a spec may name its channel' runs "$SLIPWAY" env create -n bychan "./channel::tool"
t 'and nothing needs none' runs "$SLIPWAY" env create -n empty
t 'which can be worked in' runs "$SLIPWAY" env run -n empty -- sh -c 'test -d "$CONDA_PREFIX"'
t 'an environment' runs "$SLIPWAY" env create -n a -c channel tool
t 'what is needed is not removed' must_fail 1 "$SLIPWAY" env update -n a --remove lib
t 'and where to look is told whole' has "'slipway why -n a lib'" err
t 'so it is' runs "$SLIPWAY" why -n a lib

"$SLIPWAY" env export -n a >a.spr
sed 's/^subdir .*/subdir osx-64/' a.spr >other.spr
t 'packages of another platform are refused' must_fail 1 "$SLIPWAY" apply other.spr -n b
t 'with the way to have them' has 'subdir osx-64' err
t 'by create too' must_fail 1 "$SLIPWAY" env create -f other.spr -n b
t 'asked for, they are laid out' runs "$SLIPWAY" apply other.spr -n b --subdir osx-64
t 'exact packages and a spec' must_fail 2 "$SLIPWAY" env create -n c -f a.spr lib

t 'the current generation does not go' must_fail 1 "$SLIPWAY" install remove inactive 1 -n a
t 'nothing is said to go' hasnt 'removed' err
t 'one that is not there' must_fail 1 "$SLIPWAY" install remove inactive 7 -n a
t 'a second generation' runs "$SLIPWAY" env update -n a --remove tool
t 'no blanks at the end of lines' hasnt ' $' out
t 'rollback as JSON' answers '"from":2,"to":1,"added":2,' "$SLIPWAY" install rollback -n a --json
t 'without the generation before' runs "$SLIPWAY" install remove inactive -n a
t 'is told by its number' has "removed generations of 'a': 2; generation 1 stays current" err
t 'there is nothing to go back to' must_fail 1 "$SLIPWAY" install rollback -n a
t 'which is what it says' has 'nothing to go back to' err
t 'indexes as JSON' answers '"subdir":"noarch","found":true,"packages":2,' "$SLIPWAY" channel refresh -c channel --json
t 'a whole store as JSON' answers '"damaged":\[\]' "$SLIPWAY" store verify --json

t 'a channel kept under a name of our own' runs "$SLIPWAY" channel add ./channel --name ours
t 'serves a spec that names it' runs "$SLIPWAY" env create -n named -c channel ours::lib
t 'is kept no more' runs "$SLIPWAY" channel remove ours
t 'and the environment can be changed all the same' runs "$SLIPWAY" env update -n named tool

t 'how to sync, without --sync' must_fail 2 "$SLIPWAY" apply a.spr --syncmode=delete
echo mine >"$SLIPWAY_ROOT/env/a/current/share/mine"
chmod 600 "$SLIPWAY_ROOT/env/a/current/share/tool"
t 'files that are restored while others stay' answers '"path":"share/tool","what":"changed"' "$SLIPWAY" apply a.spr --sync \
	--syncmode=keep --json
t 'only those' hasnt 'share/mine' out
t 'are restored' test "$(stat -c %a "$SLIPWAY_ROOT/env/a/current/share/tool")" = 644
t 'and the others stay' test -e "$SLIPWAY_ROOT/env/a/current/share/mine"
t 'files that --sync leaves behind' answers '"path":"share/mine","what":"added"' "$SLIPWAY" apply a.spr --sync --json
t 'are left behind' test ! -e "$SLIPWAY_ROOT/env/a/current/share/mine"

done_testing
