# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Called as opam: what a user of a switch does by the day: pins to folders, git repositories, tars and versions, installed from there, again when
# they changed; upgrade; dependencies alone; variables; removal with the sources at hand. What the real opam says of it where there is one.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar git

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C SLIPWAY_OPAM_KEPT=none
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL SLIPWAY_OPAM_KEPT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
mkdir as && ln -s "$SLIPWAY" as/opam
real=
[ "$(opam --version 2>/dev/null)" = 2.1.2 ] && real=$(command -v opam)

mkdir -p repo/packages foo src git/opam
echo 'opam-version: "2.0"' >repo/repo
package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		echo 'opam-version: "2.0"'
		cat
	} >"repo/packages/$1/$1.$2/opam"
}
package foo 1 </dev/null
package dep 1 </dev/null
package dep 2 </dev/null
cat >foo/foo.opam <<'END'
opam-version: "2.0"
version: "3"
# a comment
depends: ["dep"]
install: ["sh" "-c" "mkdir -p %{share}%/foo && cp data %{share}%/foo"]
END
echo one >foo/data
cat >git/opam/bar.opam <<'END'
opam-version: "2.0"
install: ["sh" "-c" "mkdir -p %{share}%/bar && cp data %{share}%/bar"]
END
echo committed >git/data
commit()
{
	(cd git && git init -q -b trunk . && git add . && git -c user.email=a@b.invalid -c user.name=a commit -qm "$1")
}
commit first
tar -czf foo.tgz foo
echo sources >src/list
tar -czf withsrc.tgz src
package withsrc 1 <<END
install: ["sh" "-c" "mkdir -p %{share}%/withsrc && cp list %{share}%/withsrc"]
remove: ["sh" "-c" "cp list %{prefix}%/removed-with"]
url { src: "file://$T/withsrc.tgz" checksum: "sha256=$(sha256sum <withsrc.tgz | cut -d ' ' -f 1)" }
END
package light 1 <<END
flags: light-uninstall
remove: ["sh" "-c" "ls > %{prefix}%/light-with"]
url { src: "file://$T/withsrc.tgz" checksum: "sha256=$(sha256sum <withsrc.tgz | cut -d ' ' -f 1)" }
END

o()
{
	as/opam "$@" >out 2>err
}
fine()
{
	o "$@" || { echo "exit $?"; cat out err; return 1; }
}
says()
{
	grep -qxF -e "$1" out err || { cat out err; return 1; }
}
fine init --bare --no-setup -k local default repo && fine switch create sw --empty

folder()
{
	fine pin add -n foo ./foo && says "foo is now pinned to file://$T/foo (version 3)" || return 1
	fine pin list && says "foo.3  (uninstalled)  rsync  file://$T/foo" || return 1
	fine install foo && says '  - install foo 3*' && says '-> installed dep.2' && [ "$(cat r/sw/share/foo/data)" = one ]
}
t 'a folder is pinned, and installed from there' folder
straight()
{
	fine install ./foo && says '[NOTE] Package foo is already installed (current version is 3).' || return 1
	fine remove foo && fine pin remove foo && fine install --show-actions ./foo && says '  - install foo 3' || return 1
	fine pin list && [ ! -s out ] || return 1
	fine install ./foo && says "foo is now pinned to file://$T/foo (version 3)" && says '-> installed foo.3' &&
		[ "$(cat r/sw/share/foo/data)" = one ]
}
t 'or installed straight from there' straight
t 'its list' eval 'fine pin && says "foo.3    rsync  file://$T/foo"'
if [ "$real" ]; then
	t 'the real opam agrees' eval '"$real" pin list 2>/dev/null | diff out - && "$real" list --installed --short 2>/dev/null | tr "\n" " " | grep -qx "dep foo "'
fi
changed()
{
	fine install foo && ! grep -q '^->' out || { cat out; return 1; }
	echo two >foo/data
	fine install foo && says '-> removed   foo.3' && says '-> installed foo.3' && [ "$(cat r/sw/share/foo/data)" = two ]
}
t 'where that changed it is installed again' changed
# what only looks like git's and builds' own is a source, and so is where a link leads
other()
{
	echo x >foo/_build_rules && ln -sfn data foo/link && fine install foo && says '-> installed foo.3' || return 1
	echo y >foo/_build_rules && fine install foo && says '-> installed foo.3' || return 1
	ln -sfn foo.opam foo/link && fine install foo && says '-> installed foo.3' || return 1
	mkdir foo/_build && echo z >foo/_build/x && fine install foo && ! grep -q '^->' out && rm -r foo/_build foo/_build_rules foo/link
}
t 'whatever of it changed' other
moved()
{
	fine pin add -n foo.5 "file://$T/foo.tgz" && says "foo is now pinned to file://$T/foo.tgz (version 5)" || return 1
	says "[NOTE] Package foo is currently pinned to file://$T/foo (version 3)." || return 1
	fine install foo && says '  - upgrade foo 3 to 5*' && [ "$(cat r/sw/share/foo/data)" = one ]
}
t 'a tar' moved
to_version()
{
	fine pin add foo 1 && says 'foo is now pinned to version 1' && says '-> installed foo.1' && [ ! -e r/sw/share/foo ] && [ ! -e r/sw/.opam-switch/overlay/foo ]
}
t 'a version' to_version
git_pin()
{
	fine pin ./git && says "bar is now pinned to git+file://$T/git#trunk (version ~dev)" && [ "$(cat r/sw/share/bar/data)" = committed ] || return 1
	echo not yet >git/data
	fine install bar && ! grep -q '^->' out || return 1
	commit second
	fine install bar && [ "$(cat r/sw/share/bar/data)" = 'not yet' ] || return 1
	fine pin list && says "bar.~dev    git      git+file://$T/git#trunk"
}
t 'a git repository, as it is committed' git_pin
t 'a folder of git as it stands' eval 'echo dirty >git/data && fine pin add -k path bar ./git && says "bar is now pinned to file://$T/git (version ~dev)" && [ "$(cat r/sw/share/bar/data)" = dirty ]'
t 'pins go' eval 'fine pin remove bar foo && says "Ok, bar is no longer pinned to file://$T/git (version ~dev)" && says "Ok, foo is no longer pinned locally (version 1)" && fine pin list && [ ! -s out ]'

refused()
{
	o pin add -n "$@"
	code=$?
	[ $code != 0 ] && [ $code -lt 60 ] && as/opam pin list >pins 2>&1 && [ ! -s pins ] || { echo "$code"; cat out err pins; return 1; }
}
mkdir none bad && printf 'opam-version: "2.0"\nbuild: [\n' >bad/bad.opam
t 'a folder without packages is refused' refused ./none
t 'one that is not there' refused foo ./nowhere
t 'one whose file is none' refused ./bad
t 'with its place' grep -q 'bad.opam:' err
t 'no name' refused 'a b' ./foo
t 'an unknown kind' refused -k darcs foo ./foo
t 'a version that is not there' refused foo 77
ln -s /etc out-of-here && tar -cf link.tar out-of-here
t 'a tar that leads out' refused foo "file://$T/link.tar"

upgrades()
{
	fine install dep.1 && fine upgrade --check && fine upgrade && says '  - upgrade dep 1 to 2' && says '-> installed dep.2' || return 1
	fine upgrade && says 'Already up-to-date.' || return 1
	o upgrade --check
	[ $? = 1 ] || return 1
	o upgrade nosuch
	[ $? = 5 ] && grep -q 'nosuch unknown package' err
}
fine pin remove foo bar
t 'what is installed is upgraded' upgrades
package new 1 <<'END'
depends: ["light"]
END
t 'what a package needs, alone' eval 'fine update && fine install --deps-only new && says "-> installed light.1" && ! grep -q "installed new" out'
t 'removal sees the sources' eval 'fine install withsrc && rm withsrc.tgz && fine remove withsrc && [ "$(cat r/sw/removed-with)" = sources ]'
package fromgit 1 <<END
remove: ["sh" "-c" "cp data %{prefix}%/removed-with-git"]
url { src: "git+file://$T/git" }
END
t 'those in git, too' eval 'fine update && fine install fromgit && fine remove fromgit && git -C git show HEAD:data | cmp - r/sw/removed-with-git'
t 'but not where that is not needed' eval 'fine remove light && [ ! -s r/sw/light-with ]'

variables()
{
	fine var --switch sw one=1 && says "Added 'one: \"1\"' to field variables in switch sw" && fine var --switch sw 'two=a "b" \ c' || return 1
	fine var --switch sw one && says 1 && fine var two && says 'a "b" \ c' || return 1
	fine var --global gl=x && says "Added '[gl \"x\" \"Set through 'opam var'\"]' to field global-variables in global configuration" && fine var gl && says x
	fine var --global other=y && fine var --global gl=z && fine var gl && says z && fine var other && says y
}
t 'variables are set' variables
if [ "$real" ]; then
	t 'the real opam has them' eval '[ "$("$real" var gl),$("$real" var other),$("$real" var one),$("$real" var two)" = "z,y,1,a \"b\" \\ c" ]'
fi
unset_all()
{
	fine var --switch sw one= && says 'Removed variable one in switch sw' && fine var --switch sw one= && says 'No modification in switch sw' || return 1
	fine var --global gl= && says 'Removed variable gl in global configuration' && o var gl
	[ $? = 5 ] || return 1
	o var x=y
	[ $? = 2 ] && grep -q 'needs a scope' err
}
t 'and unset' unset_all
if [ "$real" ]; then
	t 'for the real opam, too' eval '"$real" var gl 2>/dev/null; [ $? = 5 ] && [ "$("$real" var other)" = y ]'
	theirs()
	{
		"$real" pin add -n -k version dep 1 >/dev/null 2>&1 && "$real" pin add -n "git+file://$T/git#trunk" >/dev/null 2>&1
		fine pin list && "$real" pin list 2>/dev/null | diff out - && fine install bar && says '-> installed bar.~dev'
	}
	t 'and its pins are ours' theirs
fi
runs()
{
	o exec -- sh -c 'echo "$OPAM_SWITCH_PREFIX"; command -v none; exit 3'
	[ $? = 3 ] && says "$T/r/sw" || return 1
	o exec sh || return 1
	o exec -- nosuch-command
	[ $? = 127 ] && says "[ERROR] Command not found 'nosuch-command'" || return 1
	o exec
	[ $? = 2 ]
}
t 'a command with the environment of the switch' runs </dev/null
# pin-depends: what is to be pinned with a package
mkdir -p extra top
printf 'opam-version: "2.0"\npin-depends: ["deeper.1" "file://%s/none"]\n' "$T" >extra/extra.opam
printf 'opam-version: "2.0"\ndepends: ["extra"]\npin-depends: [["extra.7" "file://%s/extra"]]\n' "$T" >top/foo.opam
extra()
{
	fine remove foo || return 1
	OPAMYES='' OPAMNO=1 o pin add -n foo ./top
	[ $? = 10 ] && says 'The following additional pinnings are required by foo.1:' && says "  - extra.7 at file://$T/extra" || return 1
	fine pin list && ! grep -q '^foo' out || return 1
	o install --show-actions --ignore-pin-depends ./top
	[ $? = 20 ] && ! grep -q 'Would pin' out || return 1
	fine pin add -n --ignore-pin-depends foo ./top && fine pin list && ! grep -q '^extra' out && fine pin remove foo || return 1
	o install --show-actions ./top
	says 'Would pin the following:' && says "  - extra.7 to file://$T/extra" && fine pin list && ! grep -q '^extra' out || return 1
	fine install ./top && says "extra is now pinned to file://$T/extra (version 7)" && says '-> installed extra.7' && ! grep -q deeper out err || return 1
	fine pin add -n foo ./top && ! grep -q 'additional pinnings' out && fine pin remove foo extra || return 1
	mv extra elsewhere && o pin add -n foo ./top
	[ $? = 5 ] && says '[NOTE] foo is not pinned; with --ignore-pin-depends it is, without them.' && fine pin list && ! grep -q '^foo' out
}
t 'what is to be pinned with it' extra
t 'no letters but plain ones' eval 'LANG=C.UTF-8 OPAMUTF8=never o reinstall dep; ! LC_ALL=C grep -q "[^ -~]" out'
done_testing
