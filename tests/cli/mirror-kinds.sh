# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016 # in a test any failure is one; makefiles and sed have dollars of their own
# Channels of each kind on one mirror, read by apt, dnf, pip, opam and slipway over HTTPS with the mirror's own authority; then the same
# folder served by nginx, as doc/mirror.md tells, read by the same clients.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
need curl python3 apt-get dpkg-deb gpg gpgv rpmbuild dnf opam nginx tar
nginx_pid=
trap '[ -z "$nginx_pid" ] || kill "$nginx_pid"; "$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore OPAMROOT="$T/opam" OPAMYES=1 OPAMNODEPEXTS=1 OPAMCOLOR=never OPAMROOTISOK=1 OPAMNOENVNOTICE=1 OPAMFETCH=curl OPAMRETRIES=1
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
M=https://localhost:$port
arch=$(dpkg --print-architecture)

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i "s,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:$port,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file," m/mirror.yaml
t 'a private channel' runs "$SLIPWAY" channel create m/vault --kind conda --type local --private
for kind in conda deb rpm pypi opam; do
	t "a channel of $kind" runs "$SLIPWAY" channel create m/$kind --kind $kind --type local
done

# -- packages ----------------------------------------------------------------------------------------------------------------
mkdir -p st/share && echo x >st/share/x
"$SLIPWAY" -q pack conda -o . --noarch generic --name cpkg --version 1.0 st >/dev/null
mkdir -p deb/DEBIAN deb/usr/share/dpkg-of-tests
printf 'Package: dpkg-of-tests\nVersion: 1.0\nArchitecture: %s\nMaintainer: T <t@example.org>\nDescription: a test\n' "$arch" >deb/DEBIAN/control
dpkg-deb --root-owner-group -b deb dpkg-of-tests.deb >/dev/null
{
	rpm_spec rpkg 1.0 1 'BuildArch: noarch'
	printf '%%files\n'
} >rpkg.spec
mkdir -p rb && rpm_build "$T/rb" rpkg.spec
python3 "$SOURCE_ROOT/tests/lib/wheel.py" wheels 'wpkg==1.0'
mkdir -p opkg-1.0 opams/opkg.1.0
printf 'install:\n\tmkdir -p $(PREFIX)/share/opkg\n\techo 1.0 >$(PREFIX)/share/opkg/version\n' >opkg-1.0/Makefile
tar -czf opkg-1.0.tar.gz opkg-1.0
cat >opams/opkg.1.0/opam <<X
opam-version: "2.0"
synopsis: "a test" maintainer: "a@example.org"
install: [make "install" "PREFIX=%{prefix}%"]
url { src: "https://nowhere.invalid/opkg-1.0.tar.gz" checksum: "sha256=$(sha256sum <opkg-1.0.tar.gz | cut -d ' ' -f 1)" }
X
C=m/content
t 'publish conda' runs "$SLIPWAY" channel publish $C/conda cpkg-1.0-0.conda
t 'publish what is private' runs "$SLIPWAY" channel publish $C/vault cpkg-1.0-0.conda
t 'a key' runs "$SLIPWAY" channel key $C/deb
t 'publish deb' runs "$SLIPWAY" channel publish $C/deb dpkg-of-tests.deb
t 'publish rpm' runs "$SLIPWAY" channel publish $C/rpm "$(find rb -name 'rpkg*.rpm' | head -n 1)"
t 'publish pypi' runs "$SLIPWAY" channel publish $C/pypi wheels/wpkg-1.0*.whl
t 'publish opam' runs "$SLIPWAY" channel publish --kind opam $C/opam opams opkg-1.0.tar.gz

# -- clients: at $M --------------------------------------------------------------------------------------------------------------
conda_client()
{
	"$SLIPWAY" -q env create -n "$1" -c "$M/conda" cpkg && [ -e "$SLIPWAY_ROOT/env/$1/current/share/x" ] &&
		"$SLIPWAY" -q env create -n "$1-vault" -c "$M/vault" cpkg
}
apt_client()
{
	rm -rf apt && mkdir -p apt/etc/apt.conf.d apt/etc/preferences.d apt/etc/trusted.gpg.d apt/etc/auth.conf.d apt/state/lists/partial apt/cache/archives/partial apt/log
	: >apt/state/status
	echo "deb [signed-by=$T/$C/deb/key.asc] $M/deb stable main" >apt/etc/sources.list
	cat >apt/conf <<-X
		Dir "$T/apt"; Dir::Etc "$T/apt/etc"; Dir::State "$T/apt/state"; Dir::State::status "$T/apt/state/status";
		Dir::Cache "$T/apt/cache"; Dir::Log "$T/apt/log"; Dir::Bin::methods "/usr/lib/apt/methods";
		APT::Architecture "$arch"; APT::Architectures { "$arch"; }; APT::Sandbox::User "root"; Acquire::Languages "none";
		Acquire::https::CaInfo "$T/m/pki/ca.pem"; Acquire::https::Proxy "DIRECT"; Acquire::Retries "0"; Debug::NoLocking "true";
	X
	APT_CONFIG=$T/apt/conf apt-get -q update && mkdir -p got && cd got && APT_CONFIG=$T/apt/conf apt-get -q download dpkg-of-tests &&
		cmp dpkg-of-tests_*.deb ../dpkg-of-tests.deb
	rc=$?
	cd "$T" || return 1
	rm -rf got
	return $rc
}
dnf_client()
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
		sslcacert=$T/m/pki/ca.pem
		[c]
		name=c
		baseurl=$M/rpm/
		gpgcheck=0
	X
	dnf -c dnf.conf --installroot="$T/dnf/root" --releasever=9 --forcearch=x86_64 -q -y repoquery --qf '%{name}-%{version}' | grep -x rpkg-1.0
}
pip_client()
{
	rm -rf down
	env HOME="$T" python3 -m pip download -q --no-deps --cert "$T/m/pki/ca.pem" --index-url "$M/pypi/simple" -d down wpkg && cmp down/wpkg-1.0*.whl wheels/wpkg-1.0*.whl
}
opam_client()
{
	rm -rf opam
	export CURL_CA_BUNDLE="$T/m/pki/ca.pem"
	opam init -q --bare --no-setup --disable-sandboxing "$M/opam" &&
		opam switch -q create e --empty && opam install -q --switch=e opkg && grep -qx 1.0 opam/e/share/opkg/version
	rc=$?
	unset CURL_CA_BUNDLE
	return $rc
}

t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror enroll m --name app1
t 'enroll' runs "$SLIPWAY" enroll --code "$(cat out)" "$M"
t 'slipway' conda_client ours
t 'apt' apt_client
t 'dnf' dnf_client
t 'pip' pip_client
t 'opam' opam_client
t 'pip is answered as it asks' sh -c "curl -sS --cacert m/pki/ca.pem -H 'Accept: application/vnd.pypi.simple.v1+json' $M/pypi/simple/wpkg/ | grep -q '\"api-version\"' && curl -sS --cacert m/pki/ca.pem -H 'Accept: text/html' $M/pypi/simple/wpkg/ | grep -qi '<a '"
t 'a folder without its slash' sh -c "curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' --cacert m/pki/ca.pem $M/pypi/simple/wpkg | grep -qx '301 $M/pypi/simple/wpkg/'"
t 'stop' runs "$SLIPWAY" mirror stop m

# -- the same folder by nginx ------------------------------------------------------------------------------------------------------
mkdir -p ng
sed -n '/^```nginx$/,/^```$/p' "$SOURCE_ROOT/doc/mirror.md" | sed '1d; $d' |
	sed "s,/srv/mirror,$T/m,; s,/srv/mirror,$T/m,g; s,listen 443 ssl,listen 127.0.0.1:$port ssl," >site.conf
cat >nginx.conf <<X
daemon off;
pid $T/ng/pid;
error_log $T/ng/error;
$([ "$(id -u)" != 0 ] || echo "user root;")
events {}
http {
	access_log off;
	client_body_temp_path $T/ng/1; proxy_temp_path $T/ng/2; fastcgi_temp_path $T/ng/3; uwsgi_temp_path $T/ng/4; scgi_temp_path $T/ng/5;
	include $T/site.conf;
}
X
nginx -c "$T/nginx.conf" -e "$T/ng/error" 2>said &
nginx_pid=$!
t 'nginx' await curl -sS -o /dev/null --cacert m/pki/ca.pem "$M/conda/noarch/repodata.json"
t 'slipway by nginx' conda_client nginx
t 'apt by nginx' apt_client
t 'dnf by nginx' dnf_client
t 'pip by nginx' pip_client
t 'opam by nginx' opam_client
t 'nothing of the keeper'\''s own by nginx' must_fail 22 curl -sS -f --cacert m/pki/ca.pem "$M/conda/.slipway.lock"
t 'no private channel without a certificate by nginx' must_fail 22 curl -sS -f --cacert m/pki/ca.pem "$M/vault/noarch/repodata.json"

done_testing
