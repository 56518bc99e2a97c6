# SPDX-License-Identifier: BSD-2-Clause
"""An application for caches to stand in front of: it sends bodies from memory, and counts how often
it was asked."""
import gzip
import hashlib
import http.server
import threading

LIFETIME_S = 3600
LEVEL = 6


class Form:
    """A body as it is sent, and the headers that go with it."""

    def __init__(self, body, *headers):
        self.body = body
        self.headers = [("Content-Type", "application/json"),
                        ("Cache-Control", f"max-age={LIFETIME_S}"),
                        ("ETag", f'"{hashlib.md5(body).hexdigest()}"'),
                        ("Content-Length", str(len(body))), *headers]


class Origin:
    """`bodies` by path. `compresses`: for who accepts it, and says that it varies. `asked` is the
    number of requests so far."""

    def __init__(self, bodies, compresses):
        vary = [("Vary", "Accept-Encoding")] if compresses else []
        self.plain = {path: Form(body, *vary) for path, body in bodies.items()}
        self.compressed = {
            path: Form(gzip.compress(body, LEVEL, mtime=0), ("Content-Encoding", "gzip"), *vary)
            for path, body in bodies.items()} if compresses else self.plain
        self.asked = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    def form(self, path, accepted):
        self.asked += 1
        return (self.compressed if "gzip" in accepted else self.plain).get(path)

    def handler(self):
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                form = origin.form(self.path, self.headers.get("Accept-Encoding", ""))
                if form is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                for name, value in form.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(form.body)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        return Handler

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
