# SPDX-License-Identifier: Apache-2.0
# A mirror's server under attack, with a public and a private channel: whatever is sent, another client is served in time, and nobody has
# what is not his. What each attack does is told in tests/lib/attack.py.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3 curl openssl
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
LOAD=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/serve_load

for n in large:16000000 medium:200000; do
	mkdir -p st/share
	python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(int(sys.argv[1])))' "${n#*:}" >st/share/x
	package st "${n%:*}" 1
done
small_package small 1
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
sed -i 's,^\( *\)#* *connections:.*,\1connections: 150,; s,^\( *\)#* *connectionsPerAddress:.*,\1connectionsPerAddress: 100,' m/mirror.yaml
sed -i 's,^\( *\)#* *headerTimeout:.*,\1headerTimeout: 2 s,; s,^\( *\)#* *sendTimeout:.*,\1sendTimeout: 3 s,' m/mirror.yaml
"$SLIPWAY" -q channel create m/site --kind conda --type local
"$SLIPWAY" -q channel create m/vault --kind conda --type local --private
"$SLIPWAY" -q channel create m/far --kind conda --type proxy --from http://127.0.0.1:9
for c in site vault; do
	"$SLIPWAY" -q channel publish m/content/$c large-1-0.tar.bz2 medium-1-0.tar.bz2 small-1-0.tar.bz2
done
echo secret >outside
ln -s "$T/outside" m/content/site/noarch/out-1-0.tar.bz2
ln -s ../../../pki/authority-1.key m/content/site/noarch/over-1-0.tar.bz2
ln -s "$T/m/content/vault/noarch" m/content/site/aside
mkfifo m/content/site/noarch/fifo-1-0.tar.bz2
t 'a mirror' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
port=$(python3 -c 'import json; print(json.load(open("out"))["port"])')
pid=$(python3 -c 'import json; print(json.load(open("out"))["pid"])')
M=https://localhost:$port
runs "$SLIPWAY" mirror enroll m --name app1
t 'a client' runs "$SLIPWAY" enroll --code "$(cat out)" "$M"
mkdir keys
cp m/pki/ca.pem keys/ca.pem
cp root/mirror/*/client.pem keys/client.pem

# certificates that must not open the private channel; each names app1, who may
{
	openssl ecparam -name prime256v1 -genkey -noout -out keys/bad.key
	for n in self other unknown expired early server; do
		cp keys/bad.key keys/bad-$n.key
	done
	openssl req -x509 -new -key keys/bad-self.key -subj /CN=app1 -days 2 -out keys/bad-self.pem
	openssl req -x509 -new -key keys/bad.key -subj "$(openssl x509 -noout -subject -nameopt compat -in keys/ca.pem | sed 's/^subject=//; s/^ *//; s,^\([^/]\),/\1,')" -days 2 -out other.pem
	openssl req -new -key keys/bad.key -subj /CN=app1 -out bad.csr
	printf 'extendedKeyUsage=clientAuth\n' >client.ext
	sign()
	{
		openssl x509 -req -in bad.csr -CA "$1" -CAkey "$2" -set_serial "$4" -extfile client.ext -days "$5" -out "keys/bad-$3.pem"
	}
	sign other.pem keys/bad.key other 5 2
	sign m/pki/ca.pem m/pki/authority-1.key unknown 6 2
	cp m/pki/server.pem keys/bad-server.pem
	cp m/pki/server.key keys/bad-server.key
	: >index.txt
	printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
	echo 77 >serial
	openssl ca -batch -config ca.cnf -in bad.csr -cert m/pki/ca.pem -keyfile m/pki/authority-1.key -md sha256 -extfile client.ext -startdate 20200101000000Z -enddate 20200201000000Z -out keys/bad-expired.pem
	: >index.txt
	openssl ca -batch -config ca.cnf -in bad.csr -cert m/pki/ca.pem -keyfile m/pki/authority-1.key -md sha256 -extfile client.ext -startdate 20400101000000Z -enddate 20410201000000Z -out keys/bad-early.pem
	rm keys/bad.key
} >keys.log 2>&1
[ -z "${ATTACK_TOLD-}" ] || diag <keys.log
t 'certificates of six wrong kinds' sh -c 'ls keys/bad-*.pem | wc -l | grep -qx 6' || diag <keys.log

# attack WHAT PART
attack()
{
	t "$1" python3 "$SOURCE_ROOT/tests/lib/attack.py" "$2" "$port" keys
	[ -z "${ATTACK_TOLD-}" ] || diag <"$T/.out"
}
memory()
{
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"
}
attack 'heads that never end' slow_heads
attack 'handshakes that never end' slow_handshakes
attack 'bodies that never end' slow_bodies
attack 'who takes nothing' slow_reading
attack 'connections without a word' many_idle
attack 'heads that are too long, too many, or none' heads
attack 'requests in requests' smuggling
attack 'ways out of a channel' paths
attack 'ranges' ranges
attack 'HTTP/2: requests that are taken back' h2_resets
attack 'HTTP/2: heads that never end' h2_continuation
attack 'HTTP/2: heads that grow when they are unpacked' h2_headers
attack 'HTTP/2: settings' h2_settings
attack 'HTTP/2: answers that nobody takes' h2_unread
attack 'HTTP/2: streams that take nothing' h2_windows
attack 'HTTP/2: windows too large' h2_windows_overflow
attack 'certificates of others' certificates
attack 'guessed codes' codes
t 'who guesses is made to wait' grep -q ' 429 ' m/log/access.log
runs "$SLIPWAY" mirror enroll m --name app2
t 'a guess more from there is refused' sh -c "curl -sS --cacert keys/ca.pem -o /dev/null -w '%{http_code}' -d '{}' $M/enroll | grep -q '^4'"
t 'the same server all the time' kill -0 "$pid"
t 'it is well' runs "$SLIPWAY" mirror status m
t 'nothing but requests was taken for errors' hasnt 'error: ' m/log/mirror.log

# -- memory ---------------------------------------------------------------------------------------------------------------
sed -i 's,^\( *\)connections:.*,\1connections: 20000,; s,^\( *\)connectionsPerAddress:.*,\1connectionsPerAddress: 20000,' m/mirror.yaml
runs "$SLIPWAY" mirror restart m
runs "$SLIPWAY" mirror status --json m
port=$(python3 -c 'import json; print(json.load(open("out"))["port"])')
pid=$(python3 -c 'import json; print(json.load(open("out"))["pid"])')
IDLE=${IDLE:-600}
idle()
{
	mkfifo "hold.$1"
	"$LOAD" idle "$port" "$IDLE" /site/noarch/small-1-0.tar.bz2 tls <"hold.$1" >told &
	holder=$!
	exec 9>"hold.$1"
	i=0
	while ! [ -s told ] && [ $i -lt 300 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	now=$(memory)
	exec 9>&-
	wait "$holder"
	grep -q '^[0-9]* [0-9]* 0$' told || { echo "not every one was served: $(cat told)"; return 1; }
	echo "$now"
}
flat()
{
	idle 1 >first || return 1
	for n in 2 3; do
		idle "$n" >last || return 1
	done
	echo "$IDLE idle connections: $(cat first) kiB the first time, $(cat last) the third"
	[ "$(cat last)" -le $(($(cat first) * 11 / 10 + 4096)) ]
}
if grep -q __asan_init "$SLIPWAY"; then
	skip 'memory' 'build with a sanitizer: keeps what was freed'
elif [ -x "$LOAD" ]; then
	t 'as much memory after thousands of connections as before' flat
	[ -z "${ATTACK_TOLD-}" ] || diag <"$T/.out"
fi
done_testing
