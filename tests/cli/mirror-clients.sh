# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016 # in a test any failure is one; makefiles have dollars of their own
# Channels that follow others, as proxies and as copies, whole and in part, used by those who exist already: apt (sources, and an upstream
# with differences, too), dnf and zypper (with a client certificate), pip, uv, opam, py-rattler, slipway.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/upstream.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
need curl python3 bzip2 apt-get dpkg-deb dpkg-source gpg gpgv rpmbuild tar

export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore OPAMYES=1 OPAMNODEPEXTS=1 OPAMCOLOR=never OPAMROOTISOK=1 OPAMNOENVNOTICE=1 OPAMFETCH=curl OPAMRETRIES=1
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
arch=$(dpkg --print-architecture)


# -- upstreams -----------------------------------------------------------------------------------------------------------------
mkdir -p up in rb wheels files recipes
small_package tool 1
small_package other 1
for n in tool other; do
	mkdir -p deb/DEBIAN deb/usr/share/$n-of-tests
	echo 1 >deb/usr/share/$n-of-tests/version
	printf 'Package: %s-of-tests\nVersion: 1.0\nArchitecture: %s\nMaintainer: T <t@example.org>\nDescription: a test\n' $n "$arch" >deb/DEBIAN/control
	dpkg-deb --root-owner-group -b deb in/$n.deb >/dev/null
	rm -rf deb
	{
		rpm_spec $n 1.0 1 'BuildArch: noarch'
		printf '%%install\nmkdir -p %%{buildroot}/opt/%s\necho 1.0 >%%{buildroot}/opt/%s/version\n%%files\n/opt/%s\n' $n $n $n
	} >$n.spec
	rpm_build "$T/rb" "$T/$n.spec" || exit 1
	mkdir -p opams/$n.1.0 $n-1.0
	printf 'install:\n\tmkdir -p $(PREFIX)/share/%s\n\techo 1.0 >$(PREFIX)/share/%s/version\n' $n $n >$n-1.0/Makefile
	tar -czf $n-1.0.tar.gz $n-1.0
	cat >opams/$n.1.0/opam <<-X
		opam-version: "2.0"
		synopsis: "a test" maintainer: "a@example.org"
		install: [make "install" "PREFIX=%{prefix}%"]
		url { src: "https://nowhere.invalid/$n-1.0.tar.gz" checksum: "sha256=$(sha256sum <$n-1.0.tar.gz | cut -d ' ' -f 1)" }
	X
	printf 'recipe 1\nname %s\nchannel x\nspec %s\n' $n $n >recipes/$n.spr
done
python3 "$SOURCE_ROOT/tests/lib/wheel.py" wheels 'Tool_Kit==1.0 needs=other>=1' 'Tool_Kit==2.0 python=>=99' 'other==1.0' 'third==1.0 form=.tar.gz'

# a source package, native: NAME_1.0.dsc and its tar
mkdir -p src-1.0/debian/source
printf '3.0 (native)\n' >src-1.0/debian/source/format
printf 'src-of-tests (1.0) unstable; urgency=low\n\n  * It is there.\n\n -- T <t@example.org>  Tue, 14 Nov 2023 00:00:00 +0000\n' >src-1.0/debian/changelog
printf 'Source: src-of-tests\nMaintainer: T <t@example.org>\nStandards-Version: 4.6.2\n\nPackage: src-of-tests\nArchitecture: all\nDescription: a test\n' >src-1.0/debian/control
echo 'that is all' >src-1.0/README
dpkg-source -b src-1.0 >said 2>&1 || cat said

t 'conda upstream, sharded' runs "$SLIPWAY" channel publish --shards up/conda ./tool-1-0.tar.bz2 ./other-1-0.tar.bz2
t 'a key' runs "$SLIPWAY" channel key up/deb
t 'deb upstream, with sources' runs "$SLIPWAY" channel publish up/deb in/tool.deb in/other.deb src-of-tests_1.0.dsc
t 'the sources lie in its pool' cmp src-of-tests_1.0.tar.xz up/deb/pool/main/s/src-of-tests/src-of-tests_1.0.tar.xz
t 'the same again changes nothing' sh -c "cp up/deb/dists/stable/InRelease before && '$SLIPWAY' -q channel publish up/deb src-of-tests_1.0.dsc && cmp before up/deb/dists/stable/InRelease"
# shellcheck disable=SC2046 # a list
t 'rpm upstream' runs "$SLIPWAY" channel publish up/rpm $(find rb/out -name '*.rpm')
t 'pypi upstream' runs "$SLIPWAY" channel publish up/pypi wheels/*
t 'opam upstream' runs "$SLIPWAY" channel publish --kind opam up/opam opams ./*-1.0.tar.gz
t 'takeout upstream' runs "$SLIPWAY" channel publish up/takeout recipes/*.spr
find up/pypi/packages -type f -exec cp {} files/ \;
upstream files files
find up/pypi/simple -name 'index.*' -exec sed -i "s,\.\./\.\./packages/[^/]*/,${files:-}/,g" {} \;
rm -r up/pypi/packages
upstream main up
main=${main:-}

# -- followed twice ---------------------------------------------------------------------------------------------------------------
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,; s,^#* *bulkDownloadSpeed.*,bulkDownloadSpeedInMbitPerSecond: 0,; s,^#* *bulkBackoffFactor.*,bulkBackoffFactor: 0,' m/mirror.yaml
for kind in conda deb rpm pypi opam takeout; do
	suite=
	private=
	[ $kind != deb ] || suite='--suite stable --sources'
	[ $kind != rpm ] || private=--private
	# shellcheck disable=SC2086 # several words
	{
		t "a proxy of $kind" runs "$SLIPWAY" channel create m/$kind-p --kind $kind --type proxy --from "$main/$kind" $private
		t "a copy of $kind" runs "$SLIPWAY" channel create m/$kind-c --kind $kind --type mirror --from "$main/$kind" $suite $private --download historic
	}
	t "comes, whole" runs "$SLIPWAY" channel sync m/$kind-c
done
for kind in conda deb rpm pypi opam takeout; do
	suite=
	name=tool
	case $kind in
	deb) suite="--suite stable --sign-home $SLIPWAY_ROOT/keys/openpgp --sign-key $("$SLIPWAY" channel key)" name=tool-of-tests ;;
	takeout) name=tool.spr ;;
	pypi) suite='--package other' name=tool-kit ;; # that needs it
	esac
	# shellcheck disable=SC2086 # several words
	t "a part of $kind" runs "$SLIPWAY" channel create m/$kind-s --kind $kind --type mirror --from "$main/$kind" $suite --package $name --download historic
	t 'comes' runs "$SLIPWAY" channel sync m/$kind-s
done
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
port=$(python3 -c 'import json; print(json.load(open("out"))["port"])')
M=https://localhost:$port CA=$T/m/pki/ca.pem
runs "$SLIPWAY" mirror enroll m --name app1
t 'enroll' runs "$SLIPWAY" enroll --code "$(cat out)" "$M"
CERT=$(find "$SLIPWAY_ROOT/mirror" -name client.pem)
asked()
{
	cat main.log files.log | grep -c "^/$1 "
}

# -- apt --------------------------------------------------------------------------------------------------------------------------
# apt_for URL KEY [deb-src]
apt_for()
{
	rm -rf apt
	mkdir -p apt/etc/apt.conf.d apt/etc/preferences.d apt/etc/trusted.gpg.d apt/etc/auth.conf.d apt/state/lists/partial apt/cache/archives/partial apt/log
	: >apt/state/status
	for what in deb ${3:-}; do
		echo "$what [signed-by=$T/$2] $1 stable main"
	done >apt/etc/sources.list
	cat >apt/conf <<-X
		Dir "$T/apt"; Dir::Etc "$T/apt/etc"; Dir::State "$T/apt/state"; Dir::State::status "$T/apt/state/status";
		Dir::Cache "$T/apt/cache"; Dir::Log "$T/apt/log"; Dir::Bin::methods "/usr/lib/apt/methods";
		APT::Architecture "$arch"; APT::Architectures { "$arch"; }; APT::Sandbox::User "root"; Acquire::Languages "none";
		Acquire::https::CaInfo "$CA"; Acquire::https::Proxy "DIRECT"; Acquire::http::Proxy "DIRECT"; Acquire::Retries "0"; Debug::NoLocking "true";
	X
}
run_apt()
{
	APT_CONFIG=$T/apt/conf LC_ALL=C.UTF-8 apt-get -q "$@"
}
apt_download()
{
	apt_for "$1" "$2" && run_apt update && rm -rf got && mkdir got && cd got && run_apt download tool-of-tests
	rc=$?
	cd "$T" && [ $rc = 0 ] && cmp got/tool-of-tests_1.0_*.deb in/tool.deb
}
apt_source()
{
	apt_for "$1" up/deb/key.asc deb-src && run_apt update && rm -rf got && mkdir got && cd got && run_apt source src-of-tests
	rc=$?
	cd "$T" && [ $rc = 0 ] && cmp got/src-of-tests-1.0/README src-1.0/README
}
t 'apt-get source of what was published' apt_source "file:$T/up/deb"
t 'apt by a proxy' apt_download "$M/deb-p" up/deb/key.asc
t 'apt-get source by a proxy' apt_source "$M/deb-p"
t 'apt by a copy' apt_download "$M/deb-c" up/deb/key.asc
t 'apt-get source by a copy' apt_source "$M/deb-c"
t 'apt by a part' apt_download "$M/deb-s" up/deb/key.asc
has_other()
{
	APT_CONFIG=$T/apt/conf apt-cache show other-of-tests >/dev/null 2>&1
}
t 'which is no more than that' must_fail 100 has_other

# -- dnf, zypper: private -----------------------------------------------------------------------------------------------------------
# dnf_for URL [CERTIFICATE]
dnf_for()
{
	rm -rf dnf && mkdir -p dnf/none
	cat >dnf.conf <<-X
		[main]
		cachedir=$T/dnf/cache
		persistdir=$T/dnf/persist
		logdir=$T/dnf/log
		reposdir=$T/dnf/none
		pluginpath=$T/dnf/none
		varsdir=$T/dnf/none
		sslcacert=$CA
		retries=1
		[c]
		name=c
		baseurl=$1/
		gpgcheck=0
		${2:+sslclientcert=$2}
		${2:+sslclientkey=$2}
	X
	dnf="dnf -c $T/dnf.conf --installroot=$T/dnf/root --releasever=9 --forcearch=x86_64 -q -y"
}
dnf_reads()
{
	dnf_for "$1" "$2" && $dnf repoquery --qf '%{name}-%{version}' >list && grep -qx tool-1.0 list &&
		$dnf install --downloadonly tool && find dnf -name 'tool-1.0*.rpm' | grep -q .
}
dnf_part()
{
	dnf_reads "$1" '' && ! grep -q other list
}
zypper_installs()
{
	rm -rf zypper && mkdir -p zypper
	z="zypper --root $T/zypper --non-interactive --no-gpg-checks --quiet"
	$z addrepo --no-gpgcheck --refresh "$1/?ssl_capath=$T/ca&ssl_clientcert=$CERT&ssl_clientkey=$CERT" c && $z refresh &&
		$z install --no-recommends tool && grep -qx 1.0 zypper/opt/tool/version
}
if command -v dnf >/dev/null; then
	t 'dnf by a proxy, with a certificate' dnf_reads "$M/rpm-p" "$CERT"
	t 'dnf by a copy, with a certificate' dnf_reads "$M/rpm-c" "$CERT"
	t 'dnf without one is refused' must_fail 1 dnf_reads "$M/rpm-c" ''
	t 'dnf by a part' dnf_part "$M/rpm-s"
else
	skip 'dnf' 'no dnf'
fi
if command -v zypper >/dev/null && [ "$(id -u)" = 0 ]; then
	mkdir -p ca && cp "$CA" ca/your-mirror.pem && openssl rehash ca >/dev/null 2>&1
	t 'zypper by a proxy, with a certificate' zypper_installs "$M/rpm-p"
	t 'zypper by a copy, with a certificate' zypper_installs "$M/rpm-c"
else
	skip 'zypper' 'no zypper, or nobody who may'
fi

# -- pip, uv ----------------------------------------------------------------------------------------------------------------------
pip_downloads()
{
	rm -rf down
	env HOME="$T" python3 -m pip download -q --cert "$CA" --index-url "$M/$1/simple" -d down tool.KIT &&
		cmp down/tool_kit-1.0*.whl wheels/Tool_Kit-1.0*.whl 2>/dev/null || cmp down/Tool_Kit-1.0*.whl wheels/Tool_Kit-1.0*.whl
}
uv_installs()
{
	rm -rf uv
	env HOME="$T" SSL_CERT_FILE="$CA" UV_NO_CONFIG=1 "$SLIPWAY_PYPI/bin/python" -m uv pip install -q --no-cache --python "$SLIPWAY_PYPI/bin/python" \
		--target uv --index-url "$M/$1/simple" Tool.Kit third && grep -q "'1.0'" uv/Tool_Kit.py && [ -f uv/other.py ]
}
for c in pypi-p pypi-c; do
	t "pip by $c" pip_downloads $c
	if [ -n "${SLIPWAY_PYPI:-}" ]; then
		t "uv by $c" uv_installs $c
	else
		skip "uv by $c" 'SLIPWAY_PYPI is not set (tools/peers pypi)'
	fi
done
t 'pip by a part' pip_downloads pypi-s
t 'of a part no other' must_fail 22 curl -sS --fail --cacert "$CA" "$M/pypi-s/simple/third/"
page()
{
	curl -sS --fail --cacert "$CA" -H "Accept: $2" "$M/$1/simple/tool-kit/" >page
}
t 'a page says which Python' sh -c "curl -sS --fail --cacert '$CA' -H 'Accept: text/html' '$M/pypi-p/simple/tool-kit/' | grep -q 'data-requires-python=\"&gt;=99\"'"
t 'and has digests, and metadata' sh -c "curl -sS --fail --cacert '$CA' -H 'Accept: text/html' '$M/pypi-p/simple/tool-kit/' | grep 'sha256=' | grep -q 'core-metadata='"
t 'in JSON, too' sh -c "curl -sS --fail --cacert '$CA' -H 'Accept: application/vnd.pypi.simple.v1+json' '$M/pypi-p/simple/tool-kit/' | grep -q '\"requires-python\":\">=99\"'"
t 'nothing leads to the upstream' sh -c "! find m/content/pypi-p/simple m/content/pypi-c/simple -type f -exec cat {} + | grep -q 'http:'"
t 'a file is fetched once for all' test "$(asked 'Tool_Kit-1.0-py3-none-any.whl')" = 2

# -- opam --------------------------------------------------------------------------------------------------------------------------
opam_installs()
{
	rm -rf opam
	export CURL_CA_BUNDLE="$CA" OPAMROOT="$T/opam"
	opam init -q --bare --no-setup --disable-sandboxing "$M/$1" && opam switch -q create e --empty &&
		opam install -q --switch=e tool && grep -qx 1.0 opam/e/share/tool/version
	rc=$?
	unset CURL_CA_BUNDLE
	return $rc
}
if command -v opam >/dev/null; then
	t 'opam by a proxy' opam_installs opam-p
	t 'opam by a copy' opam_installs opam-c
	t 'opam by a part' opam_installs opam-s
else
	skip 'opam' 'no opam'
fi

# -- conda --------------------------------------------------------------------------------------------------------------------------
cat >solve_it.py <<'X'
import asyncio, os, sys
from rattler import Gateway, SourceConfig, VirtualPackage, install, solve
async def main(url, prefix):
    gateway = Gateway(default_config=SourceConfig(sharded_enabled=True))
    records = await solve([url], ["tool"], gateway=gateway, platforms=["linux-64", "noarch"], virtual_packages=VirtualPackage.detect())
    await install(records, target_prefix=prefix)
asyncio.run(main(sys.argv[1], sys.argv[2]))
os._exit(0)  # its threads end the interpreter badly at times
X
rattler_installs()
{
	rm -rf rattler
	env HOME="$T" XDG_CACHE_HOME="$T/rattler-cache-$1" RATTLER_CACHE_DIR="$T/rattler-cache-$1" SSL_CERT_FILE="$CA" "$SLIPWAY_PEERS/bin/python" solve_it.py "$M/$1" rattler &&
		grep -qx 'tool 1' rattler/share/tool
}
for c in conda-p conda-c; do
	if [ -n "${SLIPWAY_PEERS:-}" ]; then
		t "py-rattler by $c" rattler_installs $c
	else
		skip "py-rattler by $c" 'SLIPWAY_PEERS is not set (tools/peers)'
	fi
	t "slipway by $c" runs "$SLIPWAY" env create -n $c -c "$M/$c" tool
	t 'by shards' grep -q " /$c/noarch/shards/" m/log/access.log
done
t 'noarch was not forgotten' test -s m/content/conda-p/noarch/tool-1-0.tar.bz2
t 'slipway by a part' runs "$SLIPWAY" env create -n part -c "$M/conda-s" tool
t 'which is no more than that' must_fail 3 "$SLIPWAY" env create -n part2 -c "$M/conda-s" other

# -- recipes ------------------------------------------------------------------------------------------------------------------------
recipe()
{
	curl -sS --fail --cacert "$CA" "$M/$1/tool.spr" >got.spr && cmp got.spr recipes/tool.spr
}
for c in takeout-p takeout-c takeout-s; do
	t "a recipe by $c" recipe $c
done
t 'of a part no other' must_fail 22 curl -sS --fail --cacert "$CA" "$M/takeout-s/other.spr"

# -- differences of indexes (PDiff): an upstream that offers them ------------------------------------------------------------------
pdiff_upstream()
{
	d=up/pdiff/dists/stable/main/binary-$arch
	mkdir -p up/pdiff/pool "$d/Packages.diff"
	cp in/tool.deb in/other.deb up/pdiff/pool
	(cd up/pdiff && apt-ftparchive packages pool >"dists/stable/main/binary-$arch/Packages") || return 1
	printf 'SHA256-Current: %s %s\nSHA256-History:\n %s 10 2026-01-01-0000.00\nSHA256-Patches:\n %s 10 2026-01-01-0000.00\nSHA256-Download:\n %s 10 2026-01-01-0000.00.gz\n' \
		"$(sha256sum <"$d/Packages" | cut -d ' ' -f 1)" "$(stat -c %s "$d/Packages")" "$(printf %064d 1)" "$(printf %064d 2)" "$(printf %064d 3)" >"$d/Packages.diff/Index"
	gzip -nk "$d/Packages"
	(cd up/pdiff/dists/stable && apt-ftparchive -o APT::FTPArchive::Release::Suite=stable -o "APT::FTPArchive::Release::Architectures=$arch" \
		-o APT::FTPArchive::Release::Components=main release . >../Release && mv ../Release Release) || return 1
	grep -q 'Packages.diff/Index' up/pdiff/dists/stable/Release
}
apt_pdiff()
{
	apt_for "$1" none && echo "deb [trusted=yes] $1 stable main" >apt/etc/sources.list && run_apt update || return 1
	echo x >>"$(find apt/state/lists -name '*_Packages')" # it holds another one: differences are tried
	touch -d @1000000000 apt/state/lists/*_Packages
	rm -f apt/state/lists/*Release*
	run_apt -o Acquire::PDiffs=true update && rm -rf got && mkdir got && cd got && run_apt download tool-of-tests
	rc=$?
	cd "$T" && [ $rc = 0 ] && cmp got/tool-of-tests_1.0_*.deb in/tool.deb
}
if command -v apt-ftparchive >/dev/null; then
	t 'an upstream with differences' pdiff_upstream
	t 'a proxy of it' runs "$SLIPWAY" channel create m/pdiff-p --kind deb --type proxy --from "$main/pdiff"
	t 'a copy of it' runs "$SLIPWAY" channel create m/pdiff-c --kind deb --type mirror --from "$main/pdiff" --suite stable --download historic
	t 'comes' runs "$SLIPWAY" channel sync m/pdiff-c
	t 'restart' runs "$SLIPWAY" mirror restart m
	t 'apt by the proxy' apt_pdiff "$M/pdiff-p"
	t 'apt by the copy, which has none' apt_pdiff "$M/pdiff-c"
else
	skip 'differences' 'no apt-ftparchive'
fi

done_testing
