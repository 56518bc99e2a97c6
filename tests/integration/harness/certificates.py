# SPDX-License-Identifier: BSD-2-Clause
"""Certificates of a private authority, made by openssl: for servers on the loopback device and for
their clients."""
import os
import subprocess


class Certificates:
    """`ca`, and by name the pairs of certificate and key that make() has made."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.ca, self.ca_key = self.path("ca.crt"), self.path("ca.key")
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", self.ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=a test's")

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def run(*options):
        subprocess.run(["openssl", *options], check=True, capture_output=True)

    def make(self, name, names="DNS:localhost,IP:127.0.0.1", days=2):
        """The files of certificate and key; `days` below 0: it has expired."""
        certificate, key, request = (self.path(name + end) for end in (".crt", ".key", ".csr"))
        extensions = self.path(name + ".ext")
        with open(extensions, "w", encoding="ascii") as out:
            out.write(f"subjectAltName = {names}\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        self.run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
                 "-CAcreateserial", "-out", certificate, "-days", str(days),
                 "-extfile", extensions)
        return certificate, key
