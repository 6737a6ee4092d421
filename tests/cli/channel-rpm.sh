#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Channels of RPM packages, with the programs that there are for them: what is
# published is what createrepo_c would have written; dnf and zypper read it from
# a plain web server, check its signatures and install from it, into folders of
# their own; publishing while dnf asks is never seen by it.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
. "$SOURCE_ROOT/tests/lib/signed.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
need rpmbuild rpmsign createrepo_c gpg

# records REPOSITORY FILE: the unpacked metadata of a kind
records()
{
	gzip -dc "$1"/repodata/*-"$2".xml.gz
}

# named REPOSITORY: the files that its repomd.xml names
named()
{
	sed -n 's/.*<location href="\([^"]*\)".*/\1/p' "$1/repodata/repomd.xml"
}

# the same records, in whatever order
same_records()
{
	for file in primary filelists other; do
		for repository in "$1" "$2"; do
			gzip -dc "$repository/$(named "$repository" | grep -- "-$file.xml")" >whole &&
				awk -v RS='</package>\n?' '/<package / { sub(/.*<(metadata|filelists|otherdata) [^\n]*\n/, "")
					gsub("\n", "\001"); print }' whole | sort >"$repository.$file" || return 1
		done
		diff "$1.$file" "$2.$file" || return 1
	done
}

publish()
{
	"$SLIPWAY" channel publish "$@" >said 2>&1 || { cat said; return 1; }
}

make_rpms "$T/in" || exit 1
mkdir -p cr/Packages
cp -p in/*.rpm cr/Packages
createrepo_c -q cr || exit 1
printf '\n' >newline

# createrepo_c ends its files without a line end
published()
{
	publish c in/*.rpm || return 1
	for file in primary filelists other; do
		records c $file >ours && { records cr $file; cat newline; } >theirs && diff ours theirs || return 1
	done
}
t 'publishes what createrepo_c would have written' published
tuf_signed()
{
	publish tuf in/base*.rpm && signs_pointers tuf repodata/repomd.xml && publish tuf in/tool*.rpm && signs_pointers tuf repodata/repomd.xml
}
t 'pointers are signed as TUF does' tuf_signed
one_by_one()
{
	for p in in/tool*.rpm in/empty*.rpm in/base*.rpm; do
		publish d "$p" || return 1
	done
	named c >of-c && named d >of-d && diff of-c of-d
}
t 'publishes one after the other as all at once' one_by_one

# what createrepo_c made is gone on with, its SQLite forms are not, groups and advisories are
on_top()
{
	mkdir -p e/sub && cp -p in/base*.rpm in/empty*.rpm e/sub || return 1
	cat >comps.xml <<-'X'
		<comps><group><id>tools</id><name>All tools</name><description>x</description><default>true</default>
		<uservisible>true</uservisible><packagelist><packagereq type="mandatory">base</packagereq></packagelist></group></comps>
	X
	cat >updateinfo.xml <<-'X'
		<updates><update from="x" status="final" type="security" version="1"><id>EX-1</id><title>Fix of base</title>
		<issued date="2023-11-14 00:00:00"/><description>x</description><pkglist><collection short="x"><name>x</name>
		<package name="base" version="1.5" release="1" epoch="2" arch="noarch"><filename>base-1.5-1.noarch.rpm</filename></package>
		</collection></pkglist></update></updates>
	X
	createrepo_c -q -g "$T/comps.xml" e && modifyrepo_c updateinfo.xml e/repodata >/dev/null 2>&1 || return 1
	publish e in/*.rpm || return 1
	grep -q 'type="group"' e/repodata/repomd.xml && grep -q 'type="updateinfo"' e/repodata/repomd.xml || return 1
	! grep -q '_db"' e/repodata/repomd.xml || { echo 'SQLite is carried on'; return 1; }
	(cd in && ls base* empty*) >list
	(cd in && ls tool*) >>list
	ls e/sub >lies
	ls e/Packages >>lies
	diff list lies || return 1
	mkdir f && cp -rp e/sub e/Packages f && createrepo_c -q f && same_records e f
}
t 'goes on with what createrepo_c made' on_top

# two at a time wait for each other: nothing is lost
at_once()
{
	"$SLIPWAY" channel publish both in/base*.rpm >one 2>&1 &
	first=$!
	"$SLIPWAY" channel publish both in/tool*.rpm in/empty*.rpm >two 2>&1 &
	second=$!
	wait $first || { cat one; return 1; }
	wait $second || { cat two; return 1; }
	named both >of-both && named c >of-c && diff of-c of-both
}
t 'two publish at the same time' at_once

damaged()
{
	cp in/empty-0-0.noarch.rpm damaged-0-0.noarch.rpm
	printf 'x' | dd of=damaged-0-0.noarch.rpm bs=1 seek=5500 conv=notrunc 2>/dev/null
	must_fail 1 "$SLIPWAY" channel publish g damaged-0-0.noarch.rpm || return 1
	head -c 3000 in/empty-0-0.noarch.rpm >cut-0-0.noarch.rpm
	must_fail 1 "$SLIPWAY" channel publish g cut-0-0.noarch.rpm && [ ! -e g/repodata/repomd.xml ]
}
t 'refuses damaged packages' damaged

# -- signed, by the programs of clients ----------------------------------------------------------------------------

"$SLIPWAY" channel key --key "$T/key" >fingerprint 2>said || { cat said; exit 1; }
fingerprint=$(cat fingerprint)
gpg --homedir key --armor --export >key.asc 2>/dev/null
mkdir s
cp -p in/*.rpm s
rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_path $T/key" --define "_gpg_name $fingerprint" --addsign s/*.rpm >said 2>&1 || { cat said; exit 1; }
t 'signs' publish --key "$T/key" signed s/*.rpm
t 'has a good signature' gpg --homedir key --verify signed/repodata/repomd.xml.asc signed/repodata/repomd.xml
t 'does not publish unsigned what is signed' must_fail 2 "$SLIPWAY" channel publish --unsigned signed s/empty*.rpm
serve "$T"

# dnf_for NAME: sets $dnf, with everything in folders of its own
dnf_for()
{
	cat >"$1.conf" <<-X
		[main]
		cachedir=$T/$1.cache
		persistdir=$T/$1.persist
		logdir=$T/$1.log
		reposdir=$T/none
		pluginpath=$T/none
		varsdir=$T/none
		metadata_expire=0
		[$1]
		name=$1
		baseurl=$URL/$1/
		gpgkey=file://$T/key.asc
		gpgcheck=$2
		repo_gpgcheck=$2
	X
	dnf="dnf -c $T/$1.conf --installroot=$T/$1.root --releasever=9 --forcearch=x86_64 -q -y"
}

# shows TEXT: ./list does
shows()
{
	grep -q -- "$1" list && return
	cat list
	return 1
}

# has PACKAGE...: ./list has such lines
has()
{
	for package; do
		grep -qx -- "$package" list || { echo "no '$package' in"; cat list; return 1; }
	done
}

dnf_signed()
{
	dnf_for signed 1
	$dnf makecache || return 1
	$dnf repoquery --qf '%{epoch}:%{name}-%{version}-%{release}.%{arch}' '*' >list || return 1
	has '3:tool-2.0~rc1-1.el7.x86_64' '3:tool-2.0~rc1-1.el7.src' '2:base-1.6^git5-1.noarch' '0:empty-0-0.noarch' &&
		[ "$(wc -l <list)" = 6 ] || return 1
	$dnf repoquery --requires 'tool.x86_64' >list && has '(base or (other and third >= 2))' 'base >= 2:1.0-1' || return 1
	$dnf repoquery --whatprovides /opt/base/version >list && has 'base-2:1.5-1.noarch' || return 1
	$dnf repoquery --changelogs tool >list && shows 'second of one day'
}

dnf_installs()
{
	dnf_for signed 1
	$dnf install base-1.5 tool-plus+plus || return 1
	grep -qx 1.5 signed.root/opt/base/version && rpm --root "$T/signed.root" -q base | grep -qx base-1.5-1.noarch
}

dnf_refuses()
{
	cp -rp signed forged
	sed -i 's/<revision>/<revision>1/' forged/repodata/repomd.xml
	dnf_for forged 1
	! $dnf makecache >said 2>&1 || { echo 'a forged repomd.xml is taken'; return 1; }
	grep -qi 'signature' said
}

dnf_groups()
{
	dnf_for e 0
	dnf="${dnf% -q *} -y" # quietly it tells nothing at all
	$dnf group list >groups && grep -q 'All tools' groups || return 1
	$dnf -q repoquery --advisory=EX-1 '*' >list && has base-2:1.5-1.noarch && [ "$(wc -l <list)" = 1 ]
}

zypper_signed()
{
	zypper="zypper --root $T/zypper --non-interactive --quiet"
	mkdir -p zypper
	cp -p key.asc zypper
	rpm --root "$T/zypper" --import key.asc || return 1
	$zypper addrepo --gpgcheck-strict --refresh "$URL/signed/" signed || return 1
	$zypper refresh && $zypper search -s >list && shows '2:1.6^git5-1' || return 1
	$zypper install --no-recommends 'base=2:1.5-1' tool-plus+plus || return 1
	grep -qx 1.5 zypper/opt/base/version
}

# keep_publishing: packages in and out of the channel, one after the other, until there is a file ./asked
keep_publishing()
{
	i=0
	until [ -e asked ] || [ $i -ge 100 ]; do
		for p in tool-2.0~rc1-1.el7.x86_64.rpm empty-0-0.noarch.rpm; do
			"$SLIPWAY" channel publish loop "in/$p" >>loop.said 2>&1 &&
				"$SLIPWAY" channel yank loop "Packages/$p" >>loop.said 2>&1 || return 1
		done
		i=$((i + 1))
	done
	echo $i >published
}

# dnf never finds that something does not fit together
loop()
{
	dnf_for loop 0
	publish loop in/base*.rpm || return 1
	keep_publishing &
	publisher=$!
	asked=0 bad=0
	while [ $asked -lt 12 ] && [ $bad = 0 ]; do
		rm -rf loop.root loop.cache
		if ! { $dnf makecache && $dnf repoquery --whatprovides /opt/base/version; } >list 2>&1 || ! shows base; then
			cat list
			bad=1
		fi
		asked=$((asked + 1))
	done
	: >asked
	wait $publisher || { tail loop.said; return 1; }
	[ "$(cat published)" -ge 3 ] || { echo "only $(cat published) times published meanwhile"; return 1; }
	return $bad
}

# groups, advisories and modules published as files of their own
dnf_extras()
{
	sed 's/base/tool-plus+plus/g; s/All tools/More tools/' comps.xml | sed '1i <!DOCTYPE comps PUBLIC "a" "b.dtd">' >comps-more.xml
	cat >modules.yaml <<-'X'
		---
		document: modulemd
		version: 2
		data:
		  name: stack
		  stream: "1"
		  version: 1
		  context: c0ffee00
		  arch: noarch
		  summary: A stack
		  description: x
		  license: {module: [MIT]}
		  artifacts: {rpms: ["empty-0:0-0.noarch"]}
		...
	X
	cp -rp e extras && publish --kind rpm extras comps-more.xml modules.yaml || return 1
	cp extras/repodata/repomd.xml before && publish --kind rpm extras comps-more.xml modules.yaml || return 1
	cmp before extras/repodata/repomd.xml || return 1
	dnf_for extras 0
	dnf="${dnf% -q *} -y"
	$dnf group list >groups && grep -q 'More tools' groups || return 1
	! grep -q 'All tools' groups || { echo 'the groups of before are there still'; return 1; }
	$dnf module list >modules && grep -q '^stack' modules || return 1
	$dnf -q repoquery --advisory=EX-1 '*' >list && has base-2:1.5-1.noarch
}

if command -v dnf >/dev/null; then
	t 'dnf reads what is signed' dnf_signed
	t 'dnf installs, and checks signatures' dnf_installs
	t 'dnf refuses what was changed' dnf_refuses
	t 'dnf finds groups and advisories' dnf_groups
	t 'dnf finds groups and modules that were published' dnf_extras
	t 'dnf never sees a publication half done' loop
else
	skip 'dnf' 'no dnf'
fi
if command -v zypper >/dev/null; then
	t 'zypper reads what is signed, and installs' zypper_signed
else
	skip 'zypper' 'no zypper'
fi
done_testing
