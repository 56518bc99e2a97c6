# SPDX-License-Identifier: BSD-2-Clause
"""Stored responses as docs/redis.md describes them; a test makes them old instead of waiting."""
from dataclasses import dataclass

SNAPSHOT_AT = 4


@dataclass
class Entry:
    key: str
    snapshot_us: int
    status: int
    body: str


class Entries:
    def __init__(self, server):
        self.server = server

    def keys(self, route="*"):
        return sorted(self.server.client().keys(f"leeway:{{{route}.*}}:entry"))

    def all(self, route="*"):
        client = self.server.client()
        found = []
        for key in self.keys(route):
            line, _, rest = client.get(key).partition("\n")
            _, snapshot, status, _, _, _ = line.split()
            found.append(Entry(key, int(snapshot), int(status), rest.partition("\r\n\r\n")[2]))
        return found

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
