# SPDX-License-Identifier: Apache-2.0
# The HTTP server (src/httpd) with real clients: curl over HTTP/1.1 and HTTP/2, openssl s_client. What goes by raw sockets is in
# tests/unit/httpd_serve.c.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/pki.sh"
need curl openssl python3
SERVE=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/serve_httpd
[ -x "$SERVE" ] || skip_all "build has no $SERVE"

{
	make_ca ca && make_ca other && make_cert ca srv && make_cert ca good && make_cert ca gone && make_cert ca second && make_cert other wrong &&
		make_cert ca late -startdate 20200101000000Z -enddate 20200201000000Z && make_cert ca srv2 && make_crl ca
} >pki.log 2>&1 || { diag <pki.log; echo 'not ok 1 makes certificates'; echo 1..1; exit 1; }
mkdir www
head -c 3000000 /dev/urandom >www/big
seq 1 2000 >www/small
cp srv.crt now.crt
cp srv.key now.key
cp ca.crl now.crl

"$SERVE" www log=log threads=2 http=0 cert=now.crt key=now.key tls=0 ca=ca.crt crl=now.crl client=optional tls=0 client=required tls=0 >ports 2>&1 &
server=$!
later=
# shellcheck disable=SC2086 # none, or one
trap 'kill -9 $server $later 2>/dev/null; rm -rf "$T"' EXIT
await has '^listening' ports || { cat ports; exit 1; }
read -r _ http tls optional required <ports
plain=http://127.0.0.1:$http
secure=https://127.0.0.1:$tls
get()
{
	curl -sS --max-time 20 --cacert ca.crt "$@"
}
as()
{
	as_name=$1
	shift
	get --cert "$as_name.crt" --key "$as_name.key" "$@"
}

# same URL [OPTION...]: the big file arrives whole
same()
{
	get "$@" -o got && cmp got www/big
}
t 'serves a file over HTTP' same "$plain/big"
t 'over TLS and HTTP/1.1' same --http1.1 "$secure/big"
t 'over TLS and HTTP/2' same --http2 "$secure/big"
two()
{
	prints 2 get --http2 -o got -w '%{http_version}\n' "$secure/small" && cmp got www/small
}
t 'HTTP/2 is chosen by ALPN' two
parallel()
{
	get --http2 --parallel --parallel-max 20 "$secure/big?[1-20]" -o 'got#1' || return 1
	for i in 1 7 20; do
		cmp "got$i" www/big || return 1
	done
}
t 'twenty streams at once' parallel

resume()
{
	head -c 1000000 www/big >part
	get -C - -o part "$@" && cmp part www/big
}
t 'goes on in the middle, HTTP/1.1' resume "$plain/big"
t 'a blank behind a field, as zypper sends it, HTTP/2' same --http2 -A 'x ' "$secure/big"
t 'goes on in the middle, HTTP/2' resume --http2 "$secure/big"
cat >parts.py <<-'X'
	import email, sys
	head, body, whole = (open(p, "rb").read() for p in sys.argv[1:])
	parts = email.message_from_bytes(head.split(b"\r\n", 1)[1] + body).get_payload()
	ranges = [p["Content-Range"] for p in parts]
	assert ranges == ["bytes 0-9/8893", "bytes 8883-8892/8893"], ranges
	assert [p.get_payload(decode=True) for p in parts] == [whole[:10], whole[-10:]]
X
many()
{
	get -r 0-9,8883- -D head "$1/small" -o got && python3 parts.py head got www/small
}
t 'several ranges, HTTP/1.1' many "$plain"
t 'several ranges, HTTP/2' many "$secure"
unchanged()
{
	get -o got --etag-save tag "$1/small" && prints 304 get -o got2 -w '%{http_code}\n' --etag-compare tag "$1/small" &&
		prints 304 get -o got2 -w '%{http_code}\n' -z www/small "$1/small"
}
t 'not modified, HTTP/1.1' unchanged "$plain"
t 'not modified, HTTP/2' unchanged "$secure"
# code STATUS OPTION...
code()
{
	code_want=$1
	shift
	prints "$code_want" get -o got -w '%{http_code}\n' "$@"
}
t 'a range beyond the end' code 416 -r 3000000- "$secure/big"
head_only()
{
	runs get -I "$secure/big" && has '^content-length: 3000000' out
}
t 'HEAD' head_only
keeps()
{
	get -w '%{num_connects}' -o a "$plain/small" -o b "$plain/small" -o c "$plain/small" >connects && has '^100$' connects
}
t 'one connection for several requests' keeps
echo_back()
{
	prints 'x=1' get -d x=1 "$1/-/echo" -w '\n' && head -c 60000 www/big >up && runs get -X POST -T up -H 'Transfer-Encoding: chunked' "$1/-/echo" &&
		cmp out up
}
t 'takes a body, HTTP/1.1' echo_back "$plain"
t 'takes a body, HTTP/2' echo_back "$secure"
store()
{
	prints 'stored 3000000' get -T www/big "$1/-/store" && cmp www/stored www/big
}
t 'stores a large body, HTTP/1.1' store "$plain"
t 'stores a large body, HTTP/2' store "$secure"
head -c 70000 www/big >up
t 'refuses a body that is too large, HTTP/1.1' code 413 --data-binary @up "$plain/-/echo"
t 'refuses a body that is too large, HTTP/2' code 413 --data-binary @up "$secure/-/echo"
t 'refuses a body before it comes, HTTP/1.1' code 403 -d x "$plain/-/refuse"
t 'refuses a body before it comes, HTTP/2' code 403 -d x "$secure/-/refuse"
stays()
{
	for p in /../ca.key /%2e%2e/ca.key '/a/..%2f../ca.key' /%00 /..%2fca.key; do
		code 400 --path-as-is "$1$p" || return 1
	done
}
t 'no way out of the folder, HTTP/1.1' stays "$plain"
t 'no way out of the folder, HTTP/2' stays "$secure"
long=$(head -c 20000 /dev/zero | tr '\0' x)
t 'a header that is too long, HTTP/1.1' code 431 -H "X: $long" "$plain/small"
t 'a header that is too long, HTTP/2' code 431 -H "X: $long" "$secure/small"
t 'answers later, HTTP/1.1' prints later get "$plain/-/later?ms=50"
t 'answers later, HTTP/2' prints later get "$secure/-/later?ms=50"

cat >grown.py <<-'X'
	import sys
	block = bytes(97 + i % 26 for i in range(4096))
	sys.exit(open(sys.argv[1], "rb").read() != (block * 123)[:500000])
X
# grown URL QUERY [OPTION...]
grown()
{
	grown_url="$1/-/grow?n=500000&ms=2&$2"
	shift 2
	get "$grown_url" "$@" -o got && python3 grown.py got
}
t 'a reply that grows, HTTP/1.1' grown "$plain" a
t 'a reply that grows, HTTP/2' grown "$secure" b
t 'of unknown size, HTTP/1.1' grown "$plain" 'size=no&c'
t 'of unknown size, HTTP/1.0' grown "$plain" 'size=no&d' -0
t 'of unknown size, HTTP/2' grown "$secure" 'size=no&e'
readers()
{
	rm -f got[0-9]*
	get "$@" --parallel --parallel-max 30 "$secure/-/grow?n=500000&step=9999&ms=5#[1-30]" -o 'got#1' || return 1
	for i in 1 17 30; do
		python3 grown.py "got$i" || return 1
	done
}
t 'thirty readers of one producer, thirty connections' readers --http1.1
t 'thirty readers of one producer, one connection' readers --http2
t 'a producer that fails, known size' must_fail 56 get --http1.1 "$secure/-/grow?n=500000&ms=20&step=50000&fail=100000"
t 'a producer that fails, unknown size' must_fail 56 get "$plain/-/grow?n=500000&ms=20&step=50000&size=no&fail=100000"
t 'a producer that fails, HTTP/2' must_fail 92 get --http2 "$secure/-/grow?n=500000&ms=20&step=50000&fail=100001"

who()
{
	runs as good "https://127.0.0.1:$1/-/who" && has '^cn good$' out &&
		has "^sha256 $(openssl x509 -in good.crt -outform DER | sha256sum | cut -d' ' -f1)$" out &&
		has "^serial $(openssl x509 -in good.crt -noout -serial | sed 's/serial=0*//' | tr A-F a-f)$" out
}
t 'knows the certificate of its client' who "$required"
t 'where it is optional, too' who "$optional"
nobody()
{
	runs get "https://127.0.0.1:$optional/-/who" && has '^tls 1$' out && hasnt '^cn' out
}
t 'none is fine where it is optional' nobody
# refuses NAME WHY: none of both listeners lets it in, and the log says why
refuses()
{
	for p in $required $optional; do
		as "$1" "https://127.0.0.1:$p/-/who" >out 2>err && { echo "let in at $p:"; cat out; return 1; }
		crashed $? && return 1
	done
	has "trouble certificate of '$1', issued by '.*', refused: $2" log
}
without()
{
	must_fail 56 get "https://127.0.0.1:$required/small" && has 'trouble TLS handshake failed: peer did not return a certificate' log
}
t 'none is refused where it is required' without
t 'refuses one of another authority' refuses wrong 'unable to get local issuer certificate'
t 'refuses one that has expired' refuses late 'certificate has expired'
reload()
{
	kill -HUP "$server" && await "$@"
}
revoked()
{
	as gone "https://127.0.0.1:$required/small" -o got || return 1
	{ revoke ca gone && make_crl ca; } >pki.log 2>&1 || { cat pki.log; return 1; }
	cp ca.crl now.crl && reload refuses gone 'certificate revoked' && as second "https://127.0.0.1:$required/small" -o got
}
t 'refuses one that was revoked, from the reload on' revoked
shows()
{
	openssl s_client -connect "127.0.0.1:$tls" -CAfile ca.crt </dev/null 2>/dev/null | openssl x509 -noout -subject | grep "CN = $1"
}
renew()
{
	get --limit-rate 2000000 -o slow "$secure/big" &
	slow=$!
	cp srv2.crt now.crt && cp srv2.key now.key && reload shows srv2 && wait "$slow" && cmp slow www/big
}
t 'a new certificate; what runs goes on' renew
bad_files()
{
	echo nonsense >now.crt
	kill -HUP "$server" && await has "^reload: the server's certificate" ports && shows srv2
}
t 'bad files leave the old ones in force' bad_files

s_client()
{
	openssl s_client -connect "127.0.0.1:$tls" -CAfile ca.crt "$@" </dev/null >out 2>err
}
old()
{
	s_client "$1" && { cat out; return 1; }
	has 'alert protocol version\|no protocols available\|unsupported protocol' err
}
t 'no TLS 1.1' old -tls1_1
t 'no TLS 1.0' old -tls1
new()
{
	s_client "$1" && has "New, $2, Cipher is" out
}
t 'TLS 1.2' new -tls1_2 TLSv1.2
t 'TLS 1.3' new -tls1_3 TLSv1.3
weak()
{
	for c in AES128-SHA AES256-GCM-SHA384 ECDHE-ECDSA-AES128-SHA; do
		s_client -tls1_2 -cipher "$c" && { cat out; return 1; }
	done
	s_client -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256
}
t 'no weak suites' weak
# s_client that asks who it is, and waits for the answer
ask_who()
{
	{ printf 'GET /-/who HTTP/1.0\r\n\r\n'; sleep 1; } |
		openssl s_client -connect "127.0.0.1:$required" -CAfile ca.crt -cert good.crt -key good.key "$@" >out 2>err
	has '^cn good' out
}
again()
{
	rm -f session
	ask_who "$1" -sess_out session && ask_who "$1" -sess_in session && has '^Reused' out
}
t 'a session is resumed with its certificate, TLS 1.3' again -tls1_3
t 'a session is resumed with its certificate, TLS 1.2' again -tls1_2
renegotiate()
{
	{ printf 'R\n'; sleep 1; } | openssl s_client -connect "127.0.0.1:$tls" -tls1_2 >out 2>err
	has 'no renegotiation' err
}
t 'no renegotiation' renegotiate

# slow ones, many of them, beside one that is served
"$SERVE" www threads=1 header-ms=400 stall-ms=400 idle-ms=60000 cert=srv.crt key=srv.key http=0 tls=0 >ports2 2>&1 &
later=$!
await has '^listening' ports2
read -r _ http2 tls2 <ports2
cat >slow.py <<-'X'
	import socket, sys, time, urllib.request
	ports = [int(a) for a in sys.argv[1:]]
	slow = []
	for i in range(300):
	    s = socket.create_connection(("127.0.0.1", ports[i % 2]))
	    s.send(b"GET / HTTP/1.1\r\nHost: x\r\n" if i % 2 == 0 else b"\x16\x03\x01")
	    slow.append(s)
	assert len(urllib.request.urlopen("http://127.0.0.1:%d/small" % ports[0], timeout=10).read()) == 8893
	for s in slow:
	    s.settimeout(20)
	    try:
	        while s.recv(1000):
	            pass
	    except ConnectionResetError:
	        pass
X
t 'three hundred slow ones are closed, the next is served' python3 slow.py "$http2" "$tls2"
cat >h2raw.py <<-'X'
	import socket, ssl, struct, sys, time
	port, mode = int(sys.argv[1]), sys.argv[2]
	c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE; c.set_alpn_protocols(["h2"])
	s = c.wrap_socket(socket.create_connection(("127.0.0.1", port)))
	s.settimeout(20)
	def frame(kind, flags, stream, body=b""):
	    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
	path = sys.argv[3].encode()
	head = b"\x82\x87" + b"\x04" + bytes([len(path)]) + path + b"\x41\x01x"
	s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0 if mode == "stall" else 65535)))
	if mode in ("reset", "wrong"): # RST_STREAM; or a window beyond 2^31 - 1, for which the server has to send one
	    take_back = (3, 8) if mode == "reset" else (8, 0x7fffffff)
	    try:
	        for i in range(20000):
	            s.sendall(frame(1, 5, 2 * i + 1, head) + frame(take_back[0], 0, 2 * i + 1, struct.pack(">I", take_back[1])))
	        while s.recv(65536):
	            pass
	        sys.exit(0)
	    except socket.timeout:
	        sys.exit("20,000 requests taken back, and the connection is still open")
	    except OSError:
	        sys.exit(0)
	s.sendall(frame(1, 5, 1, head))
	t = time.monotonic()
	try:
	    while s.recv(65536):
	        pass
	except OSError:
	    pass
	print("closed after %.1f" % (time.monotonic() - t))
X
t 'who takes back every request it makes is cut off' python3 h2raw.py "$tls2" reset /small
t 'so is who takes back those that a handler holds' python3 h2raw.py "$tls2" reset '/-/later?ms=5000'
t 'and who makes the server take them back' python3 h2raw.py "$tls2" wrong '/-/later?ms=5000'
takes_nothing()
{
	runs timeout 15 python3 h2raw.py "$tls2" stall /big && has '^closed after' out
}
t 'and who opens no window for what it asked for' takes_nothing
kill "$later"
wait "$later"

"$SERVE" www threads=1 http=0 cert=srv.crt key=srv.key tls=0 >ports3 2>&1 &
later=$!
await has '^listening' ports3
read -r _ http3 tls3 <ports3
cat >ask.py <<-'X'
	import sys, time, urllib.request
	end = time.monotonic() + 3
	while time.monotonic() < end:
	    assert len(urllib.request.urlopen("http://127.0.0.1:%s/small" % sys.argv[1], timeout=10).read()) == 8893
X
hand_over()
{
	python3 ask.py "$http3" &
	asks=$!
	kill -USR2 "$later" && await has '^successor' ports3 && await has '^listening.*' ports3 || return 1
	next=$(sed -n 's/^successor //p' ports3)
	sleep 0.5
	kill "$later" && wait "$later" || return 1
	later=$next
	wait "$asks" && get "https://127.0.0.1:$tls3/small" -o got && cmp got www/small
}
t 'hands its sockets to a new process, nobody is refused' hand_over
kill "$later" 2>/dev/null
later=

stops()
{
	get --limit-rate 1500000 -o slow "$secure/big" &
	slow=$!
	await transfer_runs && kill "$server" && wait "$server" && wait "$slow" && cmp slow www/big
}
transfer_runs()
{
	[ "$(get "$plain/-/counts" | sed -n 's/^open //p')" -ge 2 ]
}
t 'stops when what runs is through' stops
t 'takes nobody after it' must_fail 7 get "$plain/small"
done_testing
