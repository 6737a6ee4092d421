# SPDX-License-Identifier: Apache-2.0
# Machines and a mirror that runs: what opens its door and what does not, seen by Slipway, by other programs with other TLS libraries, and by
# nginx that serves the same folder to the same machines.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3 nginx
nginx=
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; [ -z "$nginx" ] || kill "$nginx"; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

package_of()
{
	mkdir -p st/share && echo "$1" >"st/share/$1" && "$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name "$1" --version 1 st >/dev/null
	rm -rf st
}
# member KEY: of the JSON object in ./out
member()
{
	python3 -c 'import json, sys; print(json.load(open("out"))[sys.argv[1]])' "$1"
}
# on HOST COMMAND...: with the root folder of that host
on()
{
	SLIPWAY_ROOT=$T/$1
	shift
	"$SLIPWAY" "$@"
	set -- $?
	SLIPWAY_ROOT=$T/app1
	return "$1"
}
# code OPTION...: a new one, into $code
code()
{
	"$SLIPWAY" -q mirror enroll m "$@" >code && code=$(cat code)
}
# get HOST URL: with the certificate of that host, by another program
get()
{
	curl -sS --fail-with-body --cacert "$1/mirror/localhost_$port/ca.pem" --cert "$1/mirror/localhost_$port/client.pem" "$2"
}
# await COMMAND...: until it succeeds, at most 20 seconds
await()
{
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ "$i" -lt 200 ] || return 1
		sleep 0.1
	done
}
SLIPWAY_ROOT=$T/app1
export SLIPWAY_ROOT

t 'a host that can have no certificate' must_fail 2 "$SLIPWAY" mirror init m --name your-mirror --host 'local host'
t 'leaves nothing behind' test ! -e m
t 'init' runs "$SLIPWAY" mirror init m --name your-mirror --host localhost
t 'makes the authority' has "its authority has the SHA-256 $(openssl x509 -in m/pki/ca.pem -noout -fingerprint -sha256 | sed 's/.*=//')" err
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
runs "$SLIPWAY" channel create m/open --kind conda --type local
runs "$SLIPWAY" channel create m/vault --kind conda --type local --private
package_of common
package_of secret
"$SLIPWAY" -q channel publish m/content/open pkgs/common-1-0.conda && "$SLIPWAY" -q channel publish m/content/vault pkgs/secret-1-0.conda
t 'a mirror' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
port=$(member port)
M=https://localhost:$port

# -- before -------------------------------------------------------------------------------------------------------------
t 'a stranger is told whose certificate it is' must_fail 1 "$SLIPWAY" env create -n x -c "$M/open" common
t 'by whom, and for which host' has "the certificate 'localhost' of 'your-mirror authority .*', shown for 'localhost'" err
t 'and what to do' has "'slipway enroll'" err
t 'no code' must_fail 2 "$SLIPWAY" enroll "$M"
t 'a slip of the hand' must_fail 2 "$SLIPWAY" enroll --code 000000-000000-000000-000000-000000-000000-000000-000001 "$M"
t 'costs no try' has 'slip of the hand' err
runs "$SLIPWAY" mirror init other --name your-mirror --host localhost
"$SLIPWAY" -q mirror enroll other >code
t 'a code of another mirror' must_fail 1 "$SLIPWAY" enroll --code - "$M" <code
t 'sends nothing' has 'nothing was sent' err
t 'no machine is known' sh -c '"$SLIPWAY" mirror clients m --json | grep -q "\"clients\": \[\]"'

# -- enrolment ------------------------------------------------------------------------------------------------------------
code --name app1
t 'enroll, with the code from standard input' runs "$SLIPWAY" enroll --code - "$M" <code
t 'says until when' has "this host is 'app1' at $M, by a certificate of 'your-mirror authority .*' until .* UTC" err
t 'the code is good once' must_fail 1 on app2 enroll --code "$code" "$M"
t 'and says so' has 'used already' err
t 'the key is its own' sh -c '[ "$(stat -c %a app1/mirror/*/client.pem)" = 600 ]'
t 'it is listed' runs "$SLIPWAY" enroll
t 'by URL and name' has "^$M  as app1  until " out
t 'a public channel' runs "$SLIPWAY" env create -n a -c "$M/open" common
t 'a private one' runs "$SLIPWAY" env create -n b -c "$M/vault" secret
code
t 'again, with a new code' runs "$SLIPWAY" enroll --code "$code" "$M"
t 'is still one machine' sh -c '"$SLIPWAY" mirror clients m --json | grep -c "\"name\": " | grep -qx 1'
t 'renewal before its time' must_fail 1 "$SLIPWAY" enroll --renew
t 'is too early' has 'two thirds' err
code
t 'another machine' runs on app2 enroll --code "$code" --name app2 "$M"
code
t 'that wants the name of the first' must_fail 1 on app3 enroll --code "$code" --name app1 "$M"
t 'is told how' has 'mirror enroll --name app1' err

# -- rights ---------------------------------------------------------------------------------------------------------------
t 'a machine with all rights' get app2 "$M/vault/noarch/repodata.json"
t 'rights without a channel' must_fail 2 "$SLIPWAY" mirror rights m --group default
t 'take nothing away' has '[-]-none' err
t 'a machine still' get app2 "$M/vault/noarch/repodata.json"
t 'rights of one machine' runs "$SLIPWAY" mirror rights m --client app2 open
t 'are heeded by the mirror that runs' must_fail 22 get app2 "$M/vault/noarch/repodata.json"
t 'slipway is refused, too' must_fail 1 on app2 env create -n e -c "$M/vault" secret
t 'and passes the mirror'\''s words on' has "'app2' may not have the channel 'vault'" err
t 'rights are listed' runs "$SLIPWAY" mirror rights m
t 'those of a machine' grep -qx 'client app2 *open' out
t 'and of a group' grep -qx 'group  default *\*' out
t 'listed for programs' runs "$SLIPWAY" mirror rights m --json
t 'with their patterns' sh -c "tr -d ' \n' <out | grep -q '\"holder\":\"client\",\"name\":\"app2\",\"patterns\":\[\"open\"\]'"
t 'as its group again' runs "$SLIPWAY" mirror rights m --client app2 --none
t 'is told' has "machine 'app2' may have what its group has" err
t 'and holds' get app2 "$M/vault/noarch/repodata.json"
t 'the other one has its own' get app1 "$M/vault/noarch/repodata.json"

# -- other programs ---------------------------------------------------------------------------------------------------------
t 'openssl on the chain' openssl verify -x509_strict -CAfile m/pki/ca.pem -purpose sslserver -verify_hostname localhost m/pki/server.pem
t 'Python, strictly' python3 -c '
import ssl, sys, urllib.request
c = ssl.create_default_context(cafile="m/pki/ca.pem")
c.verify_flags |= ssl.VERIFY_X509_STRICT
c.load_cert_chain(sys.argv[2])
assert b"secret" in urllib.request.urlopen(sys.argv[1] + "/vault/noarch/repodata.json", context=c).read()' "$M" "app1/mirror/localhost_$port/client.pem"
if [ -x /usr/lib/apt/apt-helper ]; then
	t 'apt, whose TLS is GnuTLS' /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::https::CaInfo="$T/m/pki/ca.pem" \
		-o Acquire::https::SslCert="$T/app1/mirror/localhost_$port/client.pem" -o Acquire::https::SslKey="$T/app1/mirror/localhost_$port/client.pem" \
		download-file "$M/vault/noarch/repodata.json" "$T/by-apt"
	t 'has the file' grep -q secret by-apt
fi
t 'what everybody may have' runs curl -sS --cacert m/pki/ca.pem "$M/pki/ca.pem"
t 'is the authority' cmp out m/pki/ca.pem
t 'not its key' must_fail 22 curl -sS --fail-with-body --cacert m/pki/ca.pem "$M/pki/server.key"

# -- nginx --------------------------------------------------------------------------------------------------------------------
mkdir -p ng
[ "$(id -u)" != 0 ] || user='user root;'
cat >ng/nginx.conf <<END
${user:-}
daemon off; pid $T/ng/pid; error_log $T/ng/log; events { }
http {
	access_log off;
	client_body_temp_path $T/ng/a; proxy_temp_path $T/ng/b; fastcgi_temp_path $T/ng/c; uwsgi_temp_path $T/ng/d; scgi_temp_path $T/ng/e;
	server {
		listen unix:$T/ng/socket ssl;
		ssl_certificate $T/m/pki/server.pem;
		ssl_certificate_key $T/m/pki/server.key;
		ssl_client_certificate $T/m/pki/ca.pem;
		ssl_crl $T/m/pki/crl.pem;
		ssl_verify_client on;
		root $T/m/content;
	}
}
END
# by_nginx HOST: the private channel
by_nginx()
{
	curl -sS --fail-with-body --unix-socket ng/socket --cacert m/pki/ca.pem --cert "$1/mirror/localhost_$port/client.pem" https://localhost/vault/noarch/repodata.json
}
nginx -c "$T/ng/nginx.conf" 2>/dev/null &
nginx=$!
t 'nginx serves the same folder' await test -S ng/socket
t 'nginx knows the machines' by_nginx app2
t 'and nobody else' must_fail 22 curl -sS --fail-with-body --unix-socket ng/socket --cacert m/pki/ca.pem https://localhost/vault/noarch/repodata.json

# -- revocation -----------------------------------------------------------------------------------------------------------
t 'revoke' runs "$SLIPWAY" mirror revoke m app2 --reason 'was sold'
t 'is heeded at once' must_fail 22 get app2 "$M/vault/noarch/repodata.json"
t 'with the reason and the way back' has 'was revoked: ask .* for a new code' out
t 'by nginx when it reads the list again' sh -c "kill -HUP $nginx"
gone()
{
	! by_nginx app2
}
t 'it is gone there too' await gone
t 'for it alone' by_nginx app1
t 'openssl on the list' sh -c 'openssl crl -in m/pki/crl.pem -CAfile m/pki/ca.pem -noout -text 2>&1 | grep -q "verify OK"'
t 'the reason is kept' sh -c '"$SLIPWAY" mirror clients m | grep -q "^app2 .* revoked .* was sold"'
code
t 'it does not come back by any code' must_fail 1 on app2 enroll --code "$code" "$M"
code --name app2
t 'but by one that is meant for it' runs on app2 enroll --code "$code" "$M"
t 'and is there again' runs on app2 env create -n c -c "$M/open" common

# -- a new authority --------------------------------------------------------------------------------------------------------
t 'a new authority is announced' runs "$SLIPWAY" mirror authority m announce
t 'and signs' runs "$SLIPWAY" mirror authority m switch
t 'the mirror shows its new certificate' runs "$SLIPWAY" mirror restart m
t 'who renewed knows it' runs "$SLIPWAY" enroll --renew
t 'and is let in' runs "$SLIPWAY" env update -n b --refresh -c "$M/vault" secret
t 'forget' runs "$SLIPWAY" enroll --forget "localhost:$port"
t 'is forgotten' sh -c '! ls app1/mirror/*/client.pem 2>/dev/null'
done_testing
