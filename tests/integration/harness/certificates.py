# SPDX-License-Identifier: BSD-2-Clause
"""Certificates of a private authority, made by openssl: for servers on the loopback device and for
their clients."""
import datetime
import os
import subprocess

NEW_KEY = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
AUTHORITY = """
[ca]
default_ca = test
[test]
new_certs_dir = {0}
database = {0}/index
serial = {0}/serial
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
"""


class Certificates:
    """`ca`, and by name the pairs of certificate and key that make() has made. They have been good
    for days, for tests that set clocks back."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.ca, self.ca_key = self.path("ca.crt"), self.path("ca.key")
        self.write("authority", AUTHORITY.format(self.folder))
        self.write("index", "")
        self.write("serial", "01\n")
        self.run(*NEW_KEY, "-keyout", self.ca_key, "-out", self.path("ca.csr"), "-subj", "/CN=a test's")
        self.sign("ca", "basicConstraints = critical, CA:TRUE", 2, "-selfsign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as out:
            out.write(text)
        return self.path(name)

    @staticmethod
    def run(*options):
        subprocess.run(["openssl", *options], check=True, capture_output=True)

    def sign(self, name, extensions, days, *options):
        def day(number):
            moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(number)
            return moment.strftime("%Y%m%d%H%M%SZ")
        signer = () if options else ("-cert", self.ca)
        self.run("ca", "-batch", "-notext", "-config", self.path("authority"), *signer, *options,
                 "-keyfile", self.ca_key, "-in", self.path(name + ".csr"),
                 "-out", self.path(name + ".crt"), "-startdate", day(-9), "-enddate", day(days),
                 "-extfile", self.write(name + ".ext", extensions))

    def make(self, name, names="DNS:localhost,IP:127.0.0.1", days=2):
        """The files of certificate and key; `days` below 0: it has expired."""
        key = self.path(name + ".key")
        self.run(*NEW_KEY, "-keyout", key, "-out", self.path(name + ".csr"), "-subj", f"/CN={name}")
        self.sign(name, f"subjectAltName = {names}\n", days)
        return self.path(name + ".crt"), key
