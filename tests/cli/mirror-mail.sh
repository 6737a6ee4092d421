# SPDX-License-Identifier: Apache-2.0
# Errors of a mirror are mailed to its keeper, by the machine's sendmail interface or by SMTP, and put together where there are many.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3
smtp_pid=
trap '[ -z "$smtp_pid" ] || kill "$smtp_pid"; "$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
cat >sendmail <<X
#!/bin/sh
echo "arguments: \$*" >>$T/mails
cat >>$T/mails
echo "-- end" >>$T/mails
X
chmod +x sendmail
# configured MAIL-SECTION: a mirror with two channels whose upstreams are not there
configured()
{
	printf 'name: your-mirror\nhost: localhost\nlog: file\nserver: {listen: "127.0.0.1:0", admin: "127.0.0.1:0"}\nmail: %s\n' "$1" >m/mirror.yaml
}
configured "{to: keeper@example.org, from: mirror@example.org, sendmail: $T/sendmail, perHour: 1000}"
for i in 1 2; do
	"$SLIPWAY" -q channel create m/gone$i --kind conda --type mirror --from http://127.0.0.1:9
done
t 'start' runs "$SLIPWAY" mirror start m
t 'a mail comes' await grep -q -- '-- end' mails
t 'a line for each channel, not for each file' test "$(grep -c '127.0.0.1:9' mails)" -le 2
t 'to the keeper' has '^To: keeper@example.org' mails
t 'from the mirror' has '^From: mirror@example.org' mails
t 'as sendmail takes it' has '^arguments: -t -oi$' mails
t 'saying how many' has '^Subject: mirror your-mirror: [0-9]* error' mails
t 'and what' await grep -q "gone1: .*127.0.0.1:9" mails
t 'of each' await grep -q "gone2: " mails
t 'the same is in the log' has 'error: gone1: ' m/log/mirror.log
t 'stop' runs "$SLIPWAY" mirror stop m

rm -f mails m/log/mirror.log
configured "{to: keeper@example.org, from: mirror@example.org, sendmail: $T/sendmail, perHour: 1}"
t 'once an hour' runs "$SLIPWAY" mirror start m
await grep -q -- '-- end' mails
await grep -q 'gone2: ' m/log/mirror.log
t 'is one mail' test "$(grep -c -- '-- end' mails)" = 1
t 'what waits goes out at the end' runs "$SLIPWAY" mirror stop m
t 'all of it' await grep -q 'gone2: ' mails

cat >smtp.py <<'X'
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")
        say("220 test")
        body = False
        for line in self.rfile:
            line = line.decode().rstrip("\r\n")
            with open("smtp.said", "a") as f:
                f.write(line + "\n")
            if body:
                if line == ".":
                    body = False
                    say("250 kept")
                continue
            word = line.split(" ")[0].upper()
            body = word == "DATA"
            say("354 go on" if body else "221 bye" if word == "QUIT" else "250 test")
            if word == "QUIT":
                return
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
open("smtp.port", "w").write(str(server.server_address[1]))
server.serve_forever()
X
python3 smtp.py &
smtp_pid=$!
await test -s smtp.port
configured "{to: keeper@example.org, from: mirror@example.org, smtp: \"127.0.0.1:$(cat smtp.port)\", perHour: 1000}"
t 'by SMTP' runs "$SLIPWAY" mirror start m
t 'it comes' await grep -q '^gone1: ' smtp.said
t 'in its envelope' has '^RCPT TO:<keeper@example.org>' smtp.said
t 'stop again' runs "$SLIPWAY" mirror stop m

done_testing
