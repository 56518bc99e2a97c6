# SPDX-License-Identifier: BSD-2-Clause
"""A small HTTP client that hides nothing, and many requests at once."""
import http.client
import json
import threading
from dataclasses import dataclass

from .wait import PATIENCE_S

HTTPException = http.client.HTTPException


@dataclass
class Response:
    status: int
    headers: dict  # lower-case names
    body: bytes

    @property
    def cache(self):
        return self.headers.get("cache-status")

    @property
    def control(self):
        return self.headers.get("cache-control")

    def json(self):
        return json.loads(self.body)


def request(port, path, method="GET", headers=None, source=None):
    """`source` is the client's own address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S,
                                            source_address=source and (source, 0))
    try:
        return request_over(connection, path, method, headers)
    finally:
        connection.close()


def request_over(connection, path, method="GET", headers=None):
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    return Response(response.status,
                    {name.lower(): value for name, value in response.getheaders()}, body)


class Kept:
    """A client that keeps its connection, as browsers do; with `patient` it asks once more, on a
    new one, if the server has closed the kept one meanwhile."""

    def __init__(self, port, patient=True):
        self.patient = patient
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def request(self, path, method="GET", headers=None):
        was_open = self.connection.sock is not None
        try:
            return request_over(self.connection, path, method, headers)
        except (ConnectionError, HTTPException):
            self.connection.close()
            if not (was_open and self.patient):
                raise
            return self.request(path, method, headers)


class Background:
    """A request that is under way: .done() says whether it was answered, .result() waits."""

    def __init__(self, call):
        self.value = None
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(call,), daemon=True)
        self.thread.start()

    def run(self, call):
        try:
            self.value = call()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def done(self):
        return not self.thread.is_alive()

    def result(self):
        self.thread.join(2 * PATIENCE_S)
        assert self.done(), "a request was never answered"
        if self.error:
            raise self.error
        return self.value
