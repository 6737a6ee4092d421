# SPDX-License-Identifier: Apache-2.0
# Two hosts and their agents, on two addresses of the loopback interface: how they come to know each other, and who else does not.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/hosts.sh"
need python3 openssl bzip2

# invite N [OPTION...]: a new invitation of host N, in $invitation
invite()
{
	host=$1
	shift
	invitation=$(on "$host" -q pair init "$@") && [ -n "$invitation" ]
}

# member JSONPATH FILE
json()
{
	python3 -c 'import json, sys; x = json.load(open(sys.argv[2])); print(eval("x" + sys.argv[1]))' "$1" "$2"
}

# link_is UP FROM: as host FROM sees it
link_is()
{
	on "$2" pair show --json >shown || return 1
	[ "$(json "['link']['up']" shown)" = "$1" ] || { cat shown; return 1; }
}

# no_dead_children PID: none that has ended and was not waited for
no_dead_children()
{
	python3 -c 'import glob, sys
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        state, parent = open(path).read().rsplit(")", 1)[1].split()[:2]
    except OSError:
        continue
    if state == "Z" and parent == sys.argv[1]:
        sys.exit(path)' "$1"
}

agent1='' agent2=''
one=127.0.0.1:$(free_port 127.0.0.1)
two=127.0.0.2:$(free_port 127.0.0.2)
three=127.0.0.3:$(free_port 127.0.0.3)

t 'no pair' must_fail 1 on 1 pair show
t 'says what begins one' has "this host is in no pair; 'slipway --root [^']* pair init' begins one" err
t 'its agent' begin_agent 1
t 'listens for nobody' on 1 status
t 'a dry run' runs on 1 pair init --name one --listen "$one" --dry-run
t 'prints no invitation' test ! -s out
t 'and makes no key' test ! -e h1/pair
t 'a name is no address' must_fail 2 on 1 pair init --listen localhost:1
t 'nor is any' must_fail 2 on 1 pair init --listen 0.0.0.0:1
t 'a name that cannot be shown' must_fail 2 on 1 pair init --name 'a b' --listen "$one"
t 'init' invite 1 --name one --listen "$one"
t 'the agent listens, without being started again' has "pair: listens on $one" log1
t 'status says so' runs on 1 status
t 'in a line' has "^pair: listens on $one; 0 connections$" out
t 'show' runs on 1 pair show
t 'tells that nobody has joined' has '^link: none: nobody has joined yet' out
t 'the key is for its owner' test "$(stat -c %a h1/pair/key.pem)" = 600
t 'the secret is in no file' must_fail 1 grep -rqF "${invitation##*/}" h1

slip=$(echo "$invitation" | sed 's/.$/_/')
t 'a slip of the hand' must_fail 2 on 2 pair join "$slip" --name two --listen "$two"
t 'is no wrong secret' has '"tries_left": 5' h1/pair/invitation
t 'half an invitation' must_fail 2 on 2 pair join "${invitation%????}"
t 'no invitation' must_fail 2 on 2 pair join
t 'join, dry' runs on 2 pair join "$invitation" --name two --listen "$two" --dry-run
t 'does nothing' test ! -e h2/pair
t 'join' runs on 2 pair join "$invitation" --name two --listen "$two"
t 'tells who the other one is' has "^member 1 is 'one' at $one$" err
t 'and that no agent runs' has "start 'slipway --root [^']* agent'" err
t 'the agent of member 1 tells' await has "pair: 'two' at $two has joined" log1
t 'the link is down without it' link_is False 1
t 'and why' has 'Connection refused' shown
t 'the other way it is up' link_is True 2
t 'the second agent' begin_agent 2
t 'the link is up' link_is True 1
t 'both versions are known' test "$(json "['members'][0]['agent'] == x['members'][1]['agent'] != ''" shown)" = True
t 'the round trip is' test "$(json "['link']['round_trip_us'] > 0" shown)" = True
t 'both have the same of both' test "$(json "['members'][1]['fingerprint']" shown)" = "$(openssl x509 -in h2/pair/cert.pem -outform der | sha256sum | cut -d ' ' -f 1)"
t 'join again comes to the same' runs on 2 pair join "$invitation" --name two --listen "$two"
t 'by standard input' sh -c "echo '$invitation' | '$SLIPWAY' --root h2 pair join - --name two --listen '$two'"
t 'a third one is refused' must_fail 1 on 3 pair join "$invitation" --name three --listen "$three"
t 'which says why' has 'member 1 takes in nobody new' err
t 'and leaves nothing' must_fail 1 test -e h3/pair/self
t 'the agent tells of the stranger' await has 'it is somebody else' log1
t 'init is refused' must_fail 1 on 1 pair init --name one --listen "$one"
t 'on member 2, too' must_fail 1 on 2 pair init --name one --listen "$two"
t 'the third one makes a pair of its own' invite 3 --name three --listen "$three"
t 'which a member does not join' must_fail 1 on 2 pair join "$invitation"

# s_client OPTION...: what a client of another make gets to hear; it says nothing itself
s_client()
{
	sleep 1 | timeout 20 openssl s_client -connect "$one" -brief "$@" >tls 2>&1
	# openssl ends with 0 in 1.3, where the refusal comes after its own end of the handshake
	cat tls
}

# refused: it did not get as far as a question
refused()
{
	await has "$1" log1
}
t 'TLS 1.2' s_client -tls1_2
t 'is refused' has 'alert protocol version' tls
t 'and told' refused 'unsupported protocol'
t 'TLS 1.3 without a certificate' s_client -tls1_3
t 'is refused' has 'alert certificate required' tls
t 'and told' refused 'the other side shows no certificate'
openssl req -x509 -newkey ed25519 -nodes -keyout x.pem -out x.crt -days 1 -subj /CN=slipway\ member 2>/dev/null
t 'TLS 1.3 with another certificate' s_client -tls1_3 -key x.pem -cert x.crt
t 'is refused' has 'alert bad certificate' tls
t 'a stolen certificate without its key' s_client -tls1_3 -key x.pem -cert h2/pair/cert.pem
t 'cannot be used' has 'key values mismatch\|private key' tls
t 'the certificate of member 2 with its key' s_client -tls1_3 -key h2/pair/key.pem -cert h2/pair/cert.pem
t 'is taken' has 'Protocol version: TLSv1.3' tls
t 'no ticket to come back with' must_fail 1 grep -qi ticket tls

# Whoever holds connections open without a word holds no more than some, and not for long.
python3 - "$one" <<'X' &
import socket, sys, time
host, port = sys.argv[1].split(":")
held = []
for i in range(30):
    s = socket.socket()
    s.bind(("127.0.0.9", 0))
    s.connect((host, int(port)))
    held.append(s)
time.sleep(4)
X
holder=$!
sleep 0.5
t 'with strangers at the door' on 1 status --json
t 'the link is up' link_is True 2
t 'commands are answered' runs on 1 status
t 'there are not many' has "; [1-8] connections$" out
wait "$holder"
t 'the others are told of' has 'closed, there are' log1
no_connections()
{
	on 1 status | grep -q '; 0 connections$'
}
t 'soon they are gone' await no_connections

# Nor does whoever has the other member's key: its connections beyond some take the place of those that are idle.
cat >idle.py <<'X'
import socket, ssl, struct, sys, time
def connect():
    host, port = sys.argv[1].split(":")
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    c.load_cert_chain("h2/pair/cert.pem", "h2/pair/key.pem")
    s = c.wrap_socket(socket.create_connection((host, int(port)), source_address=(sys.argv[2], 0)))
    hello = b'{"hello": 1, "version": "x", "wall_ms": 1}'
    s.sendall(struct.pack(">II", len(hello), 0) + hello)
    assert b'"hello"' in s.recv(4096)
    return s
held = [connect() for i in range(int(sys.argv[3]))]
print("connected", flush=True)
time.sleep(int(sys.argv[4]))
X
python3 idle.py "$one" 127.0.0.2 8 4 >idle &
holder=$!
t 'eight idle connections of the other member' await has connected idle
t 'keep nobody out' link_is True 2
t 'the one that was idle longest goes' await has 'closed, it was idle and another one came' log1
wait "$holder"
t 'soon they are gone' await no_connections
python3 idle.py "$one" 127.0.0.9 20 4 >idle &
holder=$!
t 'twenty, one after the other' await has connected idle
few_connections()
{
	on 1 status >idle.status && has '; [1-8] connections$' idle.status
}
t 'are no more than eight' await few_connections
t 'and a link can be had' link_is True 2
wait "$holder"
t 'soon they are gone' await no_connections

# Where a process cannot be watched, it is not left behind either.
free=0
while [ -e "/proc/$agent1/fd/$free" ]; do
	free=$((free + 1))
done
prlimit --pid "$agent1" --nofile="$((free + 1)):" # for the connection and nothing else
link_is True 2 >/dev/null 2>&1
t 'no descriptor for it' await has 'watch child' log1
prlimit --pid "$agent1" --nofile=1024:
t 'no dead process is left' no_dead_children "$agent1"
t 'the link is up again' await link_is True 2

# The processes of connections end with the agent; the next one listens.
kill -9 "$agent1"
wait "$agent1" 2>/dev/null
t 'no agent, no link' link_is False 2
t 'the agent is back' begin_agent 1
t 'and so is the link' link_is True 2

# A wrong secret: the right certificate, a check sum that fits.
# Both are in the middle of something: it comes to an end first, as long as the other member is there.
mkdir -p st/share && echo x >st/share/x
"$SLIPWAY" -q pack conda -o pk --name x --version 1.0 --noarch generic st >/dev/null
t 'a channel' runs "$SLIPWAY" channel publish ch pk/*.conda
t 'add on both' runs on 1 install add -n prod -c ./ch x
t 'leave is refused' must_fail 1 on 2 pair leave
t 'with what goes on' has "'slipway --root [^']* install abort issu -n prod' first" err
t 'with the way out' has "'slipway --root [^']* pair leave --force' on both" err
t 'also dry' must_fail 1 on 2 pair leave --dry-run
t 'by force, dry' runs on 2 pair leave --force --dry-run
t 'nothing is forgotten' link_is True 2
t 'abort' runs on 2 install abort issu -n prod
t 'leave, dry' runs on 2 pair leave --dry-run
t 'nothing is forgotten' link_is True 1
# Somebody is in the middle of a handshake.
python3 -c 'import socket, sys, time
host, port = sys.argv[1].split(":")
s = socket.create_connection((host, int(port)))
print("connected", flush=True)
time.sleep(4)' "$two" >caller &
caller=$!
has_a_caller() { on 2 status --json >s.json && [ "$(json "['pair']['connections']" s.json)" = 1 ]; }
t 'somebody is connected' await has_a_caller
t 'leave' runs on 2 pair leave
t 'who was connected is cut off' await no_dead_children "$agent2"
kill "$caller" 2>/dev/null || :
t 'says what is left to do' has "'one' at $one still knows this host" err
t 'the agent no longer listens' has 'this host is in no pair any more' log2
t 'leave twice is fine' runs on 2 pair leave
t 'the link is down' link_is False 1
t 'member 1 leaves' runs on 1 pair leave
t 'no key is left' must_fail 1 test -e h1/pair/key.pem
t 'another invitation' invite 1 --name one --listen "$one"
good=$invitation
wrong()
{
	python3 - "$good" <<'X'
import base64, hashlib, sys
kind, address, code = sys.argv[1].split("/")
raw = bytearray(base64.b32decode(code.upper()))
raw[40] ^= 1
head = ("pair1/%s/" % address).encode()
raw[51:] = hashlib.sha256(head + raw[:51]).digest()[:4]
print(head.decode() + base64.b32encode(bytes(raw)).decode().lower())
X
}
t 'a wrong secret' must_fail 1 on 2 pair join "$(wrong)" --name two --listen "$two"
t 'says so' has 'a wrong secret; 4 more' err
t 'the agent tells' await has 'somebody wants to join: a wrong secret; 4 more and the invitation is spent' log1
t 'it is counted' has '"tries_left": 4' h1/pair/invitation
sed -i 's/"until_ms": [0-9]*/"until_ms": 1000/' h1/pair/invitation
t 'an old invitation' must_fail 1 on 2 pair join "$good" --name two --listen "$two"
t 'says so' has 'the invitation has expired' err
t 'invite again' invite 1 --name one --listen "$one"
t 'the one before is void' must_fail 1 on 2 pair join "$good" --name two --listen "$two"
t 'the new one is good' runs on 2 pair join "$invitation" --name two --listen "$two"
t 'up again' link_is True 1
t 'and from there' link_is True 2

# The address of an agent may not be to be had when it begins.
on 1 agent stop 2>/dev/null
wait "$agent1"
python3 -c '
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1].split(":")[0], int(sys.argv[1].split(":")[1])))
s.listen()
print("listens", flush=True)
time.sleep(5)' "$one" >holder &
holder=$!
t 'somebody else has the address' await has listens holder
t 'the agent begins all the same' begin_agent 1
t 'says that it does not listen' await has "pair: listen on '$one': Address already in use" log1
t 'status says so' runs on 1 status
t 'and why' has '^pair: does not listen: .*Address already in use' out
wait "$holder"
t 'and listens when it can' await link_is True 2

# What is uncommitted is nothing that the two agents talk about without end.
small_package x 1
small_package x 2
worked()
{
	awk '{print $16 + $17}' "/proc/$agent1/stat" # clock ticks of its processes
}
quiet()
{
	link_is True 1 && link_is True 2 || return
	before=$(worked)
	sleep 3
	[ $(($(worked) - before)) -lt 10 ] || { echo "$(($(worked) - before)) ticks in 3 s"; return 1; }
}
t 'a channel' "$SLIPWAY" channel publish ch ./*.tar.bz2
for i in 1 2; do
	echo 'autostart: ignore' >"h$i/config.yml"
	on "$i" agent stop 2>/dev/null
	t "the agent of member $i, with its configuration" begin_agent "$i"
	t "an environment on member $i" on "$i" -q env create -n e -c ./ch x=1
done
t 'add' runs on 1 install add x=2 -n e
t 'is told of both' has 'Add: Passed on \[1 2\]' out
t 'activate' runs on 2 install activate issu -n e
t 'then the agents are quiet' quiet
t 'commit' runs on 1 install commit -n e
for i in 1 2; do
	t "member $i" runs on "$i" show install summary -n e
	t 'has committed it' has '^ENV *C *2 ' out
done

on 1 agent stop 2>/dev/null
on 2 agent stop 2>/dev/null
wait
done_testing
