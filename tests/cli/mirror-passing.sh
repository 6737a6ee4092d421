# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016 # in a test any failure is one; makefiles have dollars of their own
# A proxy of each kind of channel: what it passes on tells it what it names, so that packages are verified though nobody synced; one request
# upstream however many wait; streamed while stored; what upstreams lack is not asked for each time; what is held is good without them.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/upstream.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
need curl python3 bzip2 dpkg-deb gpg rpmbuild tar

# noise SEED: a file ./noise, and a stage ./st with it for a conda package
noise()
{
	mkdir -p st/share
	python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(80000))' "$1" >noise
	cp noise st/share/x
}

# -- three packages of each kind, each of some 80 kB ------------------------------------------------------------------------
mkdir -p up in wheels rb opams recipes files
for n in one two three; do
	noise $n
	package st $n 1
	mkdir -p deb/DEBIAN deb/usr/share/$n
	cp noise deb/usr/share/$n/x
	printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: a test\n' $n >deb/DEBIAN/control
	dpkg-deb -Zgzip --root-owner-group -b deb in/${n}_1_all.deb >/dev/null
	rm -rf deb
	{
		rpm_spec $n 1 1 'BuildArch: noarch'
		printf '%%install\nmkdir -p %%{buildroot}/opt\ncp %s %%{buildroot}/opt/%s\n%%files\n/opt/%s\n' "$T/noise" $n $n
	} >$n.spec
	rpm_build "$T/rb" "$T/$n.spec" || exit 1
	python3 "$SOURCE_ROOT/tests/lib/wheel.py" wheels "$n==1 body=#$(base64 -w 0 noise)"
	mkdir -p opams/$n.1
	cp noise opam-$n.bin
	cat >opams/$n.1/opam <<-X
		opam-version: "2.0"
		synopsis: "a test" maintainer: "a@example.org"
		url { src: "https://nowhere.invalid/opam-$n.bin" checksum: "sha256=$(sha256sum <opam-$n.bin | cut -d ' ' -f 1)" }
	X
	{
		printf 'recipe 1\nname %s\nchannel x\nspec %s\n' $n $n
		base64 -w 100 noise | sed 's/^/# /'
	} >recipes/$n.spr
done
mv rb/out rpms 2>/dev/null
t 'conda upstream' runs "$SLIPWAY" channel publish --shards up/conda ./*.tar.bz2
t 'deb upstream' runs sh -c "'$SLIPWAY' channel key up/deb && '$SLIPWAY' channel publish up/deb in/*.deb"
# shellcheck disable=SC2046 # a list
t 'rpm upstream' runs "$SLIPWAY" channel publish up/rpm $(find rpms -name '*.rpm')
t 'pypi upstream' runs "$SLIPWAY" channel publish up/pypi wheels/*
t 'opam upstream' runs "$SLIPWAY" channel publish --kind opam up/opam opams opam-*.bin
t 'takeout upstream' runs "$SLIPWAY" channel publish up/takeout recipes/*.spr
# as the public index has it: files lie on another host, and the page says which
upstream files files
cp up/pypi/packages/*/*.whl files/ 2>/dev/null || find up/pypi/packages -name '*.whl' -exec cp {} files/ \;
find up/pypi/packages -name '*.metadata' -exec cp {} files/ \;
mkdir -p up/far/simple
cp -r up/pypi/simple/. up/far/simple
files=${files:-}
find up/far/simple -name 'index.*' -exec sed -i "s,\.\./\.\./packages/[^/]*/,$files/,g" {} \;
upstream main up
main=${main:-}

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
for kind in conda deb rpm pypi opam takeout far; do
	k=$kind
	[ $kind != far ] || k=pypi
	t "a proxy of $kind" runs "$SLIPWAY" channel create m/$kind --kind $k --type proxy --from "$main/$kind"
	sed -i 's,^#* *refresh:.*,refresh: 1s,' m/channels/$kind.yaml
done
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(python3 -c 'import json; print(json.load(open("out"))["port"])')
get()
{
	curl -sS --fail --max-time 60 --cacert m/pki/ca.pem "$@"
}
breaks()
{
	! get "$@" 2>/dev/null
}
asked()
{
	cat main.log files.log | grep -c "^/$1 "
}
whole()
{
	for i; do
		cmp "$i" "$original" || return 1
	done
}

# of each kind: its metadata in the order in which a client asks for them, and where packages are
metadata()
{
	case $1 in
	conda) echo noarch/repodata.json.zst ;;
	deb) echo dists/stable/InRelease dists/stable/main/binary-all/Packages.xz ;;
	rpm) echo repodata/repomd.xml "$(cd up/rpm && ls repodata/*primary.xml*)" ;;
	pypi | far) echo simple/one/ simple/two/ simple/three/ ;;
	opam) echo index.tar.gz ;;
	takeout) echo takeout.json ;;
	esac
}
path_of()
{
	case $1 in
	conda) echo "noarch/$2-1-0.tar.bz2" ;;
	deb | rpm) (cd up/"$1" && find . -name "${2}[-_]1*" -type f | sed 's,^\./,,') ;;
	pypi | far) (cd up/pypi && find . -name "$2-1-*.whl" | sed 's,^\./,,') ;;
	opam) sha256sum <"opam-$2.bin" | sed 's,\(..\)\([0-9a-f]*\).*,cache/sha256/\1/\1\2,' ;;
	takeout) echo "$2.spr" ;;
	esac
}

for kind in conda deb rpm pypi far opam takeout; do
	C=$M/$kind up=up/$kind
	[ $kind != far ] || up=up/pypi
	one=$(path_of $kind one) two=$(path_of $kind two) three=$(path_of $kind three)
	for path in $(metadata $kind); do
		t "$kind: $path" get -H 'Accept: text/html' -o "got" "$C/$path"
		case $kind in
		pypi | far) t "$kind: leads to files here" grep -q '"\.\./\.\./packages/' got ;;
		*) t "$kind: as it is upstream" cmp got "$up/$path" ;;
		esac
	done
	name=${one##*/}
	echo "*/$name corrupt" >main.faults
	cp main.faults files.faults
	t "$kind: wrong bytes are not given out as whole, though nobody synced" breaks -o bad "$C/$one"
	t "$kind: nor kept" test ! -e "m/content/$kind/$one"
	echo "*/$name slow 100000" >main.faults
	cp main.faults files.faults
	cat main.log files.log >before
	for i in 1 2 3; do
		get -o "$kind.$i" "$C/$one" &
		eval "c$i=\$!"
	done
	is_streamed()
	{
		await test -s "$kind.1" && [ "$(stat -c %s "$kind.1")" -lt "$(stat -c %s "$original")" ]
	}
	original=$up/$one
	case $kind in
	opam) original=opam-one.bin ;;
	esac
	t "$kind: streamed while it comes" is_streamed
	for i in 1 2 3; do
		eval "wait \$c$i" || echo "$kind $i" >>$kind.failed
	done
	t "$kind: all who wait have it" test ! -e $kind.failed
	t "$kind: whole" whole $kind.1 $kind.2 $kind.3
	t "$kind: by one request" test "$(cat main.log files.log before | grep "/$name \|/$one " | sort | uniq -u | wc -l)" -le 1
	: >main.faults
	: >files.faults
	missing=$(echo "$two" | sed 's/two/nowhere/')
	case $kind in
	opam) missing=cache/sha256/00/$(printf '%064d' 0) ;;
	esac
	t "$kind: what is not there" breaks -o none "$C/$missing"
	t "$kind: asked for again" breaks -o none "$C/$missing"
	t "$kind: is asked for upstream once" test "$(asked "$kind/$missing")" = 1
done

# -- what metadata tell anew ------------------------------------------------------------------------------------------------
noise four
package st four 1
t 'conda: not there yet' breaks -o four "$M/conda/noarch/four-1-0.tar.bz2"
t 'conda: published upstream' runs "$SLIPWAY" channel publish up/conda four-1-0.tar.bz2
sleep 1.2
is_new()
{
	get -o got "$M/conda/noarch/repodata.json.zst" && cmp -s got up/conda/noarch/repodata.json.zst
}
t 'conda: metadata follow' await is_new
t 'conda: what they name now is had at once, though it was denied before' get -o four "$M/conda/noarch/four-1-0.tar.bz2"
t 'conda: whole' cmp four four-1-0.tar.bz2
noise other
package st one 1
t 'conda: a package is published anew under its name' runs "$SLIPWAY" channel publish --replace up/conda one-1-0.tar.bz2
t 'conda: metadata follow again' await is_new
t 'conda: nobody is given the one of before' get -o one "$M/conda/noarch/one-1-0.tar.bz2"
t 'conda: but the new one' cmp one up/conda/noarch/one-1-0.tar.bz2

# -- killed in the middle of it: what is left over does no harm, and goes
mkdir -p m/content/conda/.slipway/came/noarch m/content/conda/.slipway/made/noarch
echo rest | tee m/content/conda/.slipway/came/noarch/repodata.json >m/content/conda/.slipway/made/noarch/repodata.json
runs "$SLIPWAY" mirror status --json m
kill -9 "$(python3 -c 'import json; print(json.load(open("out"))["pid"])')"
sed -i "s,^\\( *\\)listen:.*,\\1listen: 127.0.0.1:${M##*:}," m/mirror.yaml
t 'killed, and started again' await runs "$SLIPWAY" mirror start m
t 'conda: another form of its metadata' get -o got "$M/conda/noarch/repodata.json"
t 'conda: whole' cmp got up/conda/noarch/repodata.json
t 'nothing is left over' sh -c '! find m/content/conda/.slipway/came m/content/conda/.slipway/made -name "repodata*" | grep -q .'

# -- without upstreams -------------------------------------------------------------------------------------------------------
kill "$(cat main.pid)" "$(cat files.pid)"
rm -f ./*.pid
sleep 1.2
for kind in conda deb rpm pypi far opam takeout; do
	for path in $(metadata $kind); do
		t "$kind: nobody is there: $path" get -H 'Accept: text/html' -o got "$M/$kind/$path"
	done
	t "$kind: what is held" get -o got "$M/$kind/$(path_of $kind one)"
	t "$kind: what is not is refused" breaks --max-time 40 -o none "$M/$kind/$(path_of $kind three)"
done
t 'the server lives' runs "$SLIPWAY" mirror status m

done_testing
