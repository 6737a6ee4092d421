# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Called as opam: packages are installed from repositories that are folders, tars, servers, git, and channels that slipway keeps; from several at
# once, with the files that lie beside opam files; from roots that the real opam made; and not from what is no repository.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need tar python3 git

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C SLIPWAY_OPAM_KEPT=none
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL SLIPWAY_OPAM_KEPT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam

# package REPO NAME VERSION WORD: one that installs a file which lies beside its opam file, and holds the word
package()
{
	mkdir -p "$1/packages/$2/$2.$3/files/deep"
	echo 'opam-version: "2.0"' >"$1/repo"
	echo "$4" >"$1/packages/$2/$2.$3/files/deep/word"
	cat >"$1/packages/$2/$2.$3/opam" <<END
opam-version: "2.0"
install: ["sh" "-c" "mkdir -p %{share}%/$2 && cp deep/word %{share}%/$2"]
END
}
package one x 1 first
package two x 1 second
package two x 2 newest
package two y 1 other
tar -cf one.tar -C one packages repo
mkdir wrapped && cp -r one wrapped/name && tar -czf wrapped.tgz -C wrapped name
mkdir served && tar -czf served/index.tar.gz -C two packages repo
cp -r two versioned && (cd versioned && git init -q . && git add . && git -c user.email=a@b.invalid -c user.name=a commit -qm one)

fresh()
{
	rm -rf r && ./opam init --bare --no-setup -k local default "$@" >out 2>err && ./opam switch create sw --empty >>out 2>&1 || { cat out err; return 1; }
}
word()
{
	./opam install "$1" >out 2>err && [ "$(cat "r/sw/share/${1%%.*}/word")" = "$2" ] || { cat out err; return 1; }
}
t 'a tar' eval 'fresh one.tar && word x first'
t 'a tar with a folder around it' eval 'fresh wrapped.tgz && word x first'
t 'a folder with index.tar.gz' eval 'fresh served && word y other'
t 'git' eval 'fresh "git+file://$T/versioned#HEAD" && word x newest'
t 'a folder of git' eval 'fresh "$T/versioned" && word y other'
t 'what was fetched stays as it is until an update' eval 'package versioned x 3 three && word x newest && ./opam update >/dev/null 2>&1 && ./opam remove x >/dev/null 2>&1 && word x three'

several()
{
	fresh one.tar && ./opam repository add more served >/dev/null 2>&1 || return 1
	word x newest && word y other && ./opam install x.1 >out 2>&1 && [ "$(cat r/sw/share/x/word)" = second ] || return 1
	./opam repository add --set-default again one.tar >/dev/null 2>&1
	./opam repository add again >/dev/null 2>&1
	./opam reinstall x.1 >out 2>&1 && [ "$(cat r/sw/share/x/word)" = first ] || { cat out; ./opam repository; return 1; }
}
t 'of a version that several have the first counts' several

python3 - served >port 2>log <<'END' &
import http.server, os, sys
os.chdir(sys.argv[1])
s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
print(s.server_address[1], flush=True)
s.serve_forever()
END
server=$!
trap 'kill $server' EXIT
await test -s port
url=http://127.0.0.1:$(cat port)
t 'a server' eval 'fresh "$url" && word y other'
t 'a tar of a server' eval 'fresh "$url/index.tar.gz" && word y other'
"$SLIPWAY" channel add opam "$url" >out 2>&1
"$SLIPWAY" channel add opam "$T/one.tar" >>out 2>&1
"$SLIPWAY" channel list >>out 2>&1
# shellcheck disable=SC2034 # used in quotes
name=$("$SLIPWAY" channel list --json | python3 -c 'import json,sys; print([c["name"] for c in json.load(sys.stdin)["channels"] if "127.0.0.1" in c["url"]][0])')
t 'a channel that is kept' eval 'fresh served && ./opam repository add kept "$name" >out 2>&1 && ./opam repository list | grep -q "$url" && word y other'

kill $server
wait $server 2>/dev/null
trap - EXIT
gone()
{
	./opam update >out 2>&1
	[ $? = 40 ] && word x newest
}
t 'a server that is gone takes nothing away' gone

refused()
{
	rm -rf r
	./opam init --bare --no-setup -k local default "$1" >out 2>err
	code=$?
	[ $code != 0 ] && [ ! -e out-there ] && grep -q "$2" out err || { echo "$code"; cat out err; return 1; }
}
python3 - <<'END'
import io, tarfile
with tarfile.open('up.tar', 'w') as t:
    i = tarfile.TarInfo('packages/x/x.1/../../../../../out-there')
    i.size = 1
    t.addfile(i, io.BytesIO(b'x'))
with tarfile.open('link.tar', 'w') as t:
    i = tarfile.TarInfo('packages')
    i.type, i.linkname = tarfile.SYMTYPE, '/etc'
    t.addfile(i)
END
mkdir empty && tar -cf empty.tar -C empty .
head -c 300 served/index.tar.gz >cut.tar.gz
t 'a tar that leads out is none' refused up.tar 'is refused'
t 'nor one with a link out' refused link.tar 'is refused'
t 'nor one without packages' refused empty.tar "no folder 'packages'"
t 'nor one that is cut off' refused cut.tar.gz 'cut'

indexed()
{
	fresh one && word x first || return 1
	find r/.slipway/index -type f -size +100c >files
	while read -r f; do
		: >"$f" && ./opam reinstall x >out 2>&1 && grep -q 'installed x.1' out || { echo "$f"; cat out; return 1; }
		dd if=/dev/urandom of="$f" bs=64 count=4 seek=1 conv=notrunc 2>/dev/null
		./opam reinstall x >out 2>&1 && grep -q 'installed x.1' out || { echo "$f"; cat out; return 1; }
	done <files
}
t 'an index that is damaged is made anew' indexed

if [ "$(opam --version 2>/dev/null)" = 2.1.2 ]; then
	theirs()
	{
		rm -rf r && opam init --bare --no-setup --disable-sandboxing -k local default "$T/two" >out 2>&1 && opam switch create sw --empty >>out 2>&1 || { cat out; return 1; }
		word x newest && [ "$(opam list --installed --short 2>/dev/null)" = x ] && word y other &&
			./opam list -a --short --columns=package | sort >ours && opam list -a --short --columns=package 2>/dev/null | sort | diff - ours
	}
	t "a root of the real opam's" theirs
	ours()
	{
		fresh wrapped.tgz && opam list -a --short --columns=package 2>/dev/null >theirs && [ "$(cat theirs)" = x.1 ] || { cat theirs; return 1; }
		opam install --disable-sandboxing x >out 2>&1 || opam install x >out 2>&1 || { cat out; return 1; }
		[ "$(cat r/sw/share/x/word)" = first ]
	}
	t 'the real opam installs out of one of ours' ours
fi
done_testing
