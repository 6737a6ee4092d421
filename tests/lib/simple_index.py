# SPDX-License-Identifier: Apache-2.0
"""Serves a folder as an index of Python packages is served, and writes down what was asked for.

simple_index.py FOLDER PORT-FILE LOG [html]: with the word html JSON is never chosen, as by a server that cannot."""
import http.server
import os
import sys
import urllib.parse

JSON = "application/vnd.pypi.simple.v1+json"
folder, port_file, log = sys.argv[1:4]
html_only = sys.argv[4:] == ["html"]
written = open(log, "a", buffering=1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        path = urllib.parse.unquote(self.path.split("?")[0])
        name, kind = folder + path, "application/octet-stream"
        if path.endswith("/"):
            is_json = not html_only and JSON in self.headers.get("Accept", "")
            name += "index.v1_json" if is_json else "index.html"
            kind = JSON if is_json else "text/html"
        try:
            with open(name, "rb") as f:
                body, status = f.read(), 200
        except OSError:
            body, status = b"", 404
        written.write(f"{status} {path} {kind}\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(port_file + ".new", port_file)
server.serve_forever()
