# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A plain web server on the loopback interface, for tests: Python's own, which knows no ranges and no validators but dates.
#
#	serve FOLDER       $URL; until the script ends or the next serve; what was asked for is in ./requests, "GET /path 200" a line
serve_pid=

serve_end()
{
	[ -z "$serve_pid" ] || { kill "$serve_pid" && wait "$serve_pid"; } 2>/dev/null
	serve_pid=
}
trap 'serve_end; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

serve()
{
	need python3
	serve_end
	: >port
	: >requests
	python3 - "$1" <<-'X' &
		import functools, http.server, os, sys
		class Handler(http.server.SimpleHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def log_request(self, code="-", size="-"):
		        with open("requests", "a") as f:
		            f.write("%s %s %d\n" % (self.command, self.path, int(code)))
		    def log_message(self, *args):
		        pass
		server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
		with open("port.new", "w") as f:
		    f.write(str(server.server_address[1]))
		os.rename("port.new", "port")
		server.serve_forever()
	X
	serve_pid=$!
	serve_i=0
	until [ -s port ] || [ "$serve_i" -ge 100 ]; do
		sleep 0.1
		serve_i=$((serve_i + 1))
	done
	[ -s port ] || { echo 'Bail out! the web server does not start'; exit 1; }
	URL=http://127.0.0.1:$(cat port)
}
