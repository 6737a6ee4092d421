# SPDX-License-Identifier: Apache-2.0
# A channel behind a password: asked with it, and the password kept in ROOT/channels and nowhere else.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need python3 bzip2

small_package x 1
small_package x 2
t 'publish' "$SLIPWAY" channel publish ./c x-1-0.tar.bz2 x-2-0.tar.bz2

cat >server.py <<'X'
import base64, http.server, os
want = "Basic " + base64.b64encode(b"user:verysecret").decode()
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != want:
            self.send_error(401)
        else:
            super().do_GET()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("port.new", "w").write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
X
python3 server.py &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
tries=0
while [ ! -e port ] && [ $tries -lt 100 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
host=127.0.0.1:$(cat port)
private=http://user:verysecret@$host/c

t 'without it the server refuses' must_fail 1 "$SLIPWAY" env create -n none -c "http://$host/c" x=1
t 'create' "$SLIPWAY" env create -n e -c "$private" x=1
t 'update by the channel on the command line' "$SLIPWAY" env update -n e -c "$private" x=2
t 'an address without it is not enough' must_fail 1 "$SLIPWAY" env update -n e --refresh x=1
t 'add' "$SLIPWAY" channel add "$private" --name private
t 'list shows the address without it' runs "$SLIPWAY" channel list
t 'list' hasnt verysecret out
t 'the file is for its owner only' test "$(stat -c %a "$SLIPWAY_ROOT/channels")" = 600
t 'update finds it under the address that the environment remembers' "$SLIPWAY" env update -n e --refresh x=1

printf '@EXPLICIT\n%s/noarch/x-2-0.tar.bz2\n' "$private" >list
t 'a list of URLs' runs "$SLIPWAY" apply list -n listed
t 'the plan does not show it' hasnt verysecret out
t 'export' runs "$SLIPWAY" env export -n listed
t 'nor the export' hasnt verysecret out
sed "s,http://$host,http://user:verysecret@$host," out >private.spr
t 'a recipe with it is applied' "$SLIPWAY" apply private.spr -n recipe
t 'a spec with it is solved for' "$SLIPWAY" env create -n spec -c "$private" "x[channel=$private]"
t 'a channel is removed by the address that list shows' runs "$SLIPWAY" channel remove "http://$host/c"
t 'or by its own, which is not shown' must_fail 1 "$SLIPWAY" channel remove "$private"
t 'not even where it is unknown' hasnt verysecret err
t 'nor anything else that is kept' test -z "$(grep -rl verysecret "$SLIPWAY_ROOT")"

done_testing
