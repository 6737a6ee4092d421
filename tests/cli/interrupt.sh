# SPDX-License-Identifier: Apache-2.0
# A signal ends a command in order: it says what state things are in, leaves the terminal as it was, ends as a signal does,
# and the same command goes on.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

mkdir -p stage/share stage/bin
head -c 3000000 /dev/urandom >stage/share/big
package stage big 1
mkdir -p stage/bin
cat >stage/bin/.slow-post-link.sh <<'EOF'
#!/bin/sh
: >"$T/linking"
sleep "$(cat "$T/seconds")"
EOF
chmod 755 stage/bin/.slow-post-link.sh
package stage slow 1
small_package x 1
"$SLIPWAY" channel publish ch big-1-0.tar.bz2 slow-1-0.tar.bz2 x-1-0.tar.bz2 2>/dev/null

# kill.py SIGNAL WHEN COMMAND...: sends the signal to the command when the file WHEN is there. Its standard error, a terminal
# with TTY=1, goes to ./err; exits with 0 when the command ended by that signal.
cat >kill.py <<'EOF'
import os, pty, signal, subprocess, sys, time
number, when, command = getattr(signal, sys.argv[1]), sys.argv[2], sys.argv[3:]
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(s, signal.SIG_DFL)
master, slave = pty.openpty() if os.environ.get('TTY') else os.pipe()
p = subprocess.Popen(command, stderr=slave, stdout=open('out', 'wb'), stdin=subprocess.DEVNULL, start_new_session=True)
os.close(slave)
deadline = time.time() + 60
while not os.path.exists(when) and time.time() < deadline and p.poll() is None:
    time.sleep(0.02)
time.sleep(0.2)
os.killpg(p.pid, number)  # as a terminal does
said = b''
while True:
    try:
        piece = os.read(master, 65536)
    except OSError:
        break
    if not piece:
        break
    said += piece
open('err', 'wb').write(said)
code = p.wait()
print('ended with', code, said)
sys.exit(0 if code == -number else 1)
EOF
# Serves ./ch; slowly what is large, as long as ./slow is there. Ranges are answered.
cat >serve.py <<'EOF'
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        path = '.' + self.path
        if '..' in path or not os.path.isfile(path):
            self.send_error(404)
            return
        data = open(path, 'rb').read()
        start = 0
        wanted = self.headers.get('Range')
        if wanted:
            start = int(wanted.split('=')[1].split('-')[0])
            open('resumed', 'w').write(str(start))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(data) - 1, len(data)))
        self.send_header('Content-Length', str(len(data) - start))
        self.send_header('ETag', '"%d"' % len(data))
        self.end_headers()
        for at in range(start, len(data), 100000):
            self.wfile.write(data[at:at + 100000])
            self.wfile.flush()
            if at - start >= 300000 and os.path.exists('slow'):
                open('downloading', 'w').close()
                while os.path.exists('slow'):
                    time.sleep(0.05)
    def log_message(self, *a):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
open('port.new', 'w').write(str(server.server_port))
os.rename('port.new', 'port')
server.serve_forever()
EOF
python3 serve.py 2>/dev/null &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
until [ -s port ]; do sleep 0.05; done
url=http://127.0.0.1:$(cat port)/ch

interrupted() # SIGNAL WHEN COMMAND...
{
	rm -f err linking downloading
	python3 kill.py "$@"
}

: >slow
t 'INT during a download ends the command' interrupted SIGINT downloading "$SLIPWAY" env create -n e -c "$url" big
t 'says so in one line' has "^slipway: interrupted; nothing changed: 'e' was not made; the same command goes on where this stopped$" err
t 'and once' test "$(grep -c interrupted err)" = 1
t 'there is no environment' must_fail 1 "$SLIPWAY" env packages -n e
t 'TERM too' interrupted SIGTERM downloading "$SLIPWAY" env create -n e -c "$url" big
t 'says so' has '^slipway: interrupted; nothing changed' err
t 'with --json and --quiet too' interrupted SIGINT downloading "$SLIPWAY" env create -n e -c "$url" big --json -q
t 'says so' has '^slipway: interrupted; nothing changed' err
t 'on a terminal' env TTY=1 TERM=xterm python3 kill.py SIGINT downloading "$SLIPWAY" env create -n e -c "$url" big
t 'the line is the last one' eval "tail -n 1 err | tr '\\r' '\\n' | grep -q '^slipway: interrupted; nothing changed'"
t 'no mode of the terminal was changed' hasnt "$(printf '\033\\[?')" err
rm slow
t 'the same command does it' runs "$SLIPWAY" env create -n e -c "$url" big
t 'from where it stopped' test "$(cat resumed)" -ge 100000
t 'it is whole' runs "$SLIPWAY" env check -n e

echo 60 >seconds
t 'INT during linking' interrupted SIGINT linking "$SLIPWAY" env update -n e -c "$url" --allow-scripts slow
t 'says so' has "^slipway: interrupted; nothing changed: 'e' is as it was; its packages are kept, and the same command goes on" err
t 'it is' runs "$SLIPWAY" env packages -n e
t 'without the new package' hasnt '^slow' out
echo 0 >seconds
t 'the same command does it' runs "$SLIPWAY" env update -n e -c "$url" --allow-scripts slow
t 'and it is whole' runs "$SLIPWAY" env check -n e

mkfifo fifo
: >now
t 'INT while a query waits' interrupted SIGINT now "$SLIPWAY" solve -f fifo
t 'says that nothing changed' has '^slipway: interrupted; nothing changed$' err

done_testing
