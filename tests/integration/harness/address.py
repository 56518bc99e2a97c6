# SPDX-License-Identifier: BSD-2-Clause
"""An address behind which a test puts one Postgres or another."""
import os


class Address:
    """A socket directory of our own, whose sockets are links to those of clusters."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)

    def point(self, server, port=5432):
        self.clear(port)
        os.symlink(os.path.join(server.folder, ".s.PGSQL.5432"), self.socket(port))

    def clear(self, port=5432):
        if os.path.lexists(self.socket(port)):
            os.unlink(self.socket(port))

    def socket(self, port):
        return os.path.join(self.folder, f".s.PGSQL.{port}")
