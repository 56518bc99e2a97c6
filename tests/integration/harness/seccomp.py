# SPDX-License-Identifier: BSD-2-Clause
"""A unit's SystemCallFilter= without systemd: a program in whose place this one executes another,
which is killed at the first system call that the filter does not allow.

seccomp.py CALL,CALL,... PROGRAM [ARGUMENT...]"""
import ctypes
import os
import subprocess
import sys

KILL_PROCESS, ALLOW = 0x80000000, 0x7fff0000


def expand(name):
    """The calls of a set such as @system-service, as systemd knows it."""
    if not name.startswith("@"):
        return {name}
    listing = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name],
                             capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listing.splitlines()[1:]:
        part = line.strip()
        if part and not part.startswith("#"):
            found |= expand(part)
    return found


def allowed(values):
    """What SystemCallFilter= allows in all; the first value is an allow list."""
    calls = set()
    for value in values:
        for part in value.lstrip("~").split():
            calls = calls - expand(part) if value.startswith("~") else calls | expand(part)
    return calls


def confine(calls):
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int,
                                         ctypes.c_uint]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(KILL_PROCESS)
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        # negative: another architecture's
        if number >= 0 and library.seccomp_rule_add(context, ALLOW, number, 0) != 0:
            raise OSError(f"no rule for {call}")
    if library.seccomp_load(context) != 0:
        raise OSError("the filter is not loaded")


if __name__ == "__main__":
    confine(sys.argv[1].split(","))
    os.execv(sys.argv[2], sys.argv[2:])
