# SPDX-License-Identifier: Apache-2.0
# Searching a channel that is served in shards too: a pattern finds more than the shards that were fetched before.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
need_shared data/conda/shards

cat >server.py <<'X'
import functools, http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
open("port.new", "w").write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
X
python3 server.py "$SHARED/data/conda/shards" &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
tries=0
while [ ! -e port ] && [ $tries -lt 100 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
channel=http://127.0.0.1:$(cat port)

t 'a name is found in its shard' runs "$SLIPWAY" search -c "$channel" --subdir linux-64 mojo-nami
t 'once' has '^mojo-nami ' out
t 'a pattern finds the others' runs "$SLIPWAY" search -c "$channel" --subdir linux-64 'mojo*'
t 'as here' has '^mojo-yomi ' out
t 'so does any' runs "$SLIPWAY" search -c "$channel" --subdir linux-64 '*'
t 'as there' has '^yuragi ' out

done_testing
