# SPDX-License-Identifier: Apache-2.0
"""A web server on loopback that behaves as it is told, for tests of what follows it.

	python3 upstream.py FOLDER FAULTS LOG [PORT]

prints its port, then serves FOLDER: ranges, strong ETags, If-Range, If-None-Match. Each line of the file FAULTS, which is read
anew for every request, is a glob of paths and what happens to them, the first that matches:

	*.conda missing        404                        *.conda error        503
	*.conda cut N          ends after N bytes         *.conda corrupt      other bytes of the same length
	*.conda long           more than is announced     *.conda endless      no length, and no end
	*.conda slow N         N bytes a second           *.conda silent       nothing after the head
	* down                 closes every connection    *.conda noetag       no validators
	*.conda once WHAT ...  as WHAT, but only the first time

LOG gets a line a request: path, range or -, status.
"""
import fnmatch
import hashlib
import http.server
import os
import socketserver
import sys
import time
import urllib.parse

folder, faults, log = sys.argv[1:4]
seen = set()


def fault(path):
    try:
        lines = open(faults).read().split("\n")
    except FileNotFoundError:
        return []
    for line in lines:
        words = line.split()
        if not words or not fnmatch.fnmatch(path, words[0]):
            continue
        if words[1] == "once":
            if path in seen:
                continue
            seen.add(path)
            return words[2:]
        return words[1:]
    return []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self, status):
        with open(log, "a") as f:
            f.write("%s %s %s\n" % (self.path, self.headers.get("Range", "-"), status))

    def head(self, status, headers):
        self.note(status)
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()

    def plain(self, status):
        self.head(status, [("Content-Length", "0")])

    def do_GET(self):
        path = urllib.parse.unquote(self.path)
        f = fault(path)
        what = f[0] if f else ""
        if what == "down":
            self.note("down")
            self.close_connection = True
            return
        if what == "missing":
            return self.plain(404)
        if what == "error":
            return self.plain(503)
        file = os.path.join(folder, path.lstrip("/"))
        if os.path.isdir(file):
            file = os.path.join(file, "index.html")
        try:
            body = open(file, "rb").read()
        except OSError:
            return self.plain(404)
        etag = '"%s"' % hashlib.sha256(body).hexdigest()[:16]
        headers = [] if what == "noetag" else [("ETag", etag)]
        if what == "corrupt":
            body = bytes(b ^ 1 for b in body)
        if what != "noetag" and self.headers.get("If-None-Match") == etag:
            return self.head(304, headers)
        status, start = 200, 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and self.headers.get("If-Range", etag) == etag:
            start = int(wanted[6:].split("-")[0])
            if start >= len(body):
                return self.plain(416)
            status = 206
            headers.append(("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body))))
        rest = body[start:]
        if what != "endless":
            headers.append(("Content-Length", str(len(rest) + (1000 if what == "long" else 0))))
        else:
            self.close_connection = True
        self.head(status, headers)
        try:
            self.body(what, f, rest)
        except OSError:
            self.close_connection = True

    def body(self, what, f, rest):
        if what == "cut":
            self.wfile.write(rest[: int(f[1])])
            self.close_connection = True
        elif what == "long":
            self.wfile.write(rest + b"x" * 1000)
        elif what == "endless":
            self.wfile.write(rest)
            while True:
                self.wfile.write(b"x" * 65536)
        elif what == "slow":
            step = max(1, int(f[1]) // 10)
            for at in range(0, len(rest), step):
                self.wfile.write(rest[at : at + step])
                self.wfile.flush()
                time.sleep(0.1)
        elif what == "silent":
            time.sleep(60)
            self.close_connection = True
        else:
            self.wfile.write(rest)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


server = Server(("127.0.0.1", int(sys.argv[4]) if len(sys.argv) > 4 else 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
