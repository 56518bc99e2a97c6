# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures: `stack` for most tests; logs are shown when one fails."""
import itertools
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))

# pylint: disable=wrong-import-position
from harness.postgres import Postgres  # noqa: E402
from harness.redis_server import Redis  # noqa: E402
from harness.stack import Stack  # noqa: E402

COUNTER = itertools.count(1)
# it needs another release's programs
collect_ignore = [] if "LEEWAY_PREVIOUS_BUILDDIR" in os.environ else ["test_upgrade.py"]


def pytest_configure(config):
    config.addinivalue_line("markers", "transport: depends on how Redis is reached")
    config.addinivalue_line("markers", "alone: other tests beside it would change what it sees")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed = report.failed


@pytest.fixture(scope="session")
def postgres():
    # not below pytest's own folder: a socket's path must be short, and others must get in
    folder = tempfile.mkdtemp(prefix="lw-pg-", dir="/tmp")
    os.chmod(folder, 0o755)
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="lw-", dir="/tmp")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def redis(folder):  # pylint: disable=redefined-outer-name
    server = Redis(folder)
    yield server
    server.stop()


@pytest.fixture
def stack(request, folder, postgres, redis):  # pylint: disable=redefined-outer-name
    database = f"test{next(COUNTER)}"
    postgres.create_database(database)
    made = Stack(folder, postgres, redis, database)
    yield made
    made.stop()
    findings = made.findings()
    if findings or getattr(request.node, "failed", True):
        print(made.logs())
    postgres.drop_database(database)
    assert not findings, f"see {findings}"
