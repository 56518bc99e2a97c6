# SPDX-License-Identifier: BSD-2-Clause
"""A private cache as RFC 9111 and 5861 have it, which makes use of all that they allow: the browser
behind a shared cache. It has no clock that others know, so Date is no help to it."""
import re
import time
from dataclasses import dataclass

from . import http
from .codings import decoded

DIRECTIVE = re.compile(r"([a-z-]+)(?:=(\d+))?")


def directives(response):
    """Of Cache-Control: name to number, or to None where there is none."""
    return {name: number and int(number)
            for name, number in DIRECTIVE.findall(response.control or "")}


@dataclass
class Stored:
    response: http.Response
    age: float  # when it had come
    came: float  # by time.monotonic()

    def current_age(self):
        """RFC 9111, section 4.2.3."""
        return self.age + time.monotonic() - self.came


@dataclass
class Use:
    """A response that a user sees. `moment`: the latest at which it was allowed to be as old as it
    is, by time.time(): when it was asked for, or, from the cache, now."""
    response: http.Response
    source: str  # "network", "304", "cache", "cache, stale"
    moment: float


class ClientCache:
    """`accepts` is its Accept-Encoding, if any; what users see is decoded."""

    def __init__(self, port, accepts=None):
        self.accepts = {"Accept-Encoding": accepts} if accepts else {}
        self.connection, self.beside = http.Kept(port), http.Kept(port)
        self.entries = {}
        self.refreshing = None

    def get(self, path):
        now = time.time()  # before it is judged, or a pause of this thread would count as lateness
        stored = self.entries.get(path)
        if stored:
            allowed = directives(stored.response)
            late = stored.current_age() - allowed.get("max-age", 0)
            if "no-cache" not in allowed and late < 0:
                return Use(stored.response, "cache", now)
            if "no-cache" not in allowed and late < allowed.get("stale-while-revalidate", 0):
                self.refresh(path)
                return Use(stored.response, "cache, stale", now)
        return self.fetch_or_fall_back(self.connection, path, stored)

    def fetch_or_fall_back(self, connection, path, stored):
        try:
            use = self.fetch(connection, path, stored)
        except (OSError, http.HTTPException):
            use = None
        failed = use is None or use.response.status >= 500
        if failed and stored and self.may_fall_back(stored):
            return Use(stored.response, "cache, on error", time.time())
        return use

    @staticmethod
    def may_fall_back(stored):
        allowed = directives(stored.response)
        late = stored.current_age() - allowed.get("max-age", 0)
        return late < allowed.get("stale-if-error", 0)

    def refresh(self, path):
        """One at a time, behind the user's back."""
        if self.refreshing is None or self.refreshing.done():
            self.refreshing = http.Background(lambda: self.fetch_or_fall_back(
                self.beside, path, self.entries.get(path)))

    def fetch(self, connection, path, stored):
        sent, moment = time.monotonic(), time.time()
        etag = stored and stored.response.headers.get("etag")
        condition = {"If-None-Match": etag} if etag else {}
        response = connection.request(path, headers={**self.accepts, **condition})
        came = time.monotonic()
        source = "network"
        if response.status == 304:
            source = "304"
            # section 4.3.4: the stored response with the new headers
            response = http.Response(stored.response.status,
                                     {**stored.response.headers, "age": "0", **response.headers,
                                      "content-length": str(len(stored.response.body))},
                                     stored.response.body)
        else:
            response.body = decoded(response)
        allowed = directives(response)
        if "no-store" in allowed or response.status not in (200, 404):
            if response.status < 500:
                self.entries.pop(path, None)
        else:
            age = int(response.headers.get("age", 0)) + came - sent
            self.entries[path] = Stored(response, age, came)
        return Use(response, source, moment)
