# SPDX-License-Identifier: BSD-2-Clause
"""Stored responses as docs/redis.md describes them; a test makes them old instead of waiting."""
import gzip
from dataclasses import dataclass

SNAPSHOT_AT = 4


@dataclass
class Entry:
    key: str
    snapshot_us: int
    arrival_us: int
    clock: str
    status: int
    coding: str
    plain_hash: str
    hash: str
    tags: list
    head: str
    stored: bytes  # the body in its coding
    body: str


def decode(key, data):
    line, _, rest = data.partition(b"\n")
    (version, snapshot, arrival, clock, status, coding, _, plain_hash, stored_hash, n_tags, n_head,
     n_stored, n_plain) = line.decode().split()
    assert version == "lw2"
    n_tags, n_head = int(n_tags), int(n_head)
    tags, head, stored = rest[:n_tags], rest[n_tags:n_tags + n_head], rest[n_tags + n_head:]
    body = gzip.decompress(stored) if coding == "gzip" else stored
    assert (len(stored), len(body)) == (int(n_stored), int(n_plain))
    return Entry(key, int(snapshot), int(arrival), clock, int(status), coding, plain_hash,
                 stored_hash, tags.decode().split(), head.decode(), stored, body.decode())


class Entries:
    def __init__(self, server):
        self.server = server

    def keys(self, route="*"):
        return sorted(self.server.client().keys(f"leeway:{{{route}.*}}:entry"))

    def all(self, route="*"):
        client = self.server.bytes_client()
        return [decode(key, client.get(key)) for key in self.keys(route)]

    def only(self, route="*"):
        found = self.all(route)
        assert len(found) == 1, found
        return found[0]

    def age(self, seconds, route="*"):
        """Moves the snapshots back by `seconds`; the entries' expiry stays."""
        client = self.server.client()
        for entry in self.all(route):
            moved = entry.snapshot_us - int(seconds * 1e6)
            client.setrange(entry.key, SNAPSHOT_AT, f"{moved:016d}")
