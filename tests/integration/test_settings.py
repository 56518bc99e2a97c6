# SPDX-License-Identifier: BSD-2-Clause
"""Settings that no other test turns: each has the effect that the manual promises."""
import time

from harness.wait import wait_until

ROUTES = """
context "c" { budget = 20s  refresh_at = 0.05 }
route "/one" { sql = "select 1 as n"  shape = value }
route "/stale/{id}" { context = "c"  param "id" { type = int }  sql = "select $1::int as n"  shape = value }
"""


def test_built_in_paths_elsewhere_or_off(stack):
    stack.mount = "/up"
    stack.configure(ROUTES, settings='health_path = "/up/health"\nmetrics_path = "/numbers"')
    stack.start_worker("-n", "1")
    assert stack.ask("/up/health")[0] == 200
    assert stack.ask("/numbers")[0] == 200
    assert stack.ask("/health")[0] == stack.ask("/metrics")[0] == 404


def test_built_in_paths_off(stack):
    stack.configure(ROUTES + 'route "/health" { sql = "select 2"  shape = value }',
                    settings='health_path = ""\nmetrics_path = ""')
    stack.start_worker("-n", "1")
    assert stack.ask("/health")[2] == b"2"
    assert stack.ask("/metrics")[0] == 404


def test_redis_behind_a_password_in_a_database_of_its_own(stack, monkeypatch):
    admin = stack.redis.client()
    admin.acl_setuser("leeway", enabled=True, passwords=["+secret word"], keys=["*"],
                      channels=["*"], categories=["+@all"])
    admin.config_set("requirepass", "other")
    monkeypatch.setenv("LEEWAY_TEST_PASSWORD", "secret word")
    stack.configure(ROUTES, redis='username = "leeway"  password = "${LEEWAY_TEST_PASSWORD}"  '
                                  'database = 3  prefix = "shop"')
    stack.start_worker("-n", "1")
    stack.ask("/one")
    assert "hit" in stack.ask("/one")[1]["cache-status"]
    admin.execute_command("AUTH", "other")
    admin.execute_command("SELECT", 3)
    keys = admin.keys("*")
    assert keys and all(key.startswith(("shop:", "{shop:")) for key in keys)
    assert "secret word" not in stack.processes[0].log_text()


def test_a_wrong_password_is_an_outage(stack):
    stack.redis.client().config_set("requirepass", "other")
    stack.configure(ROUTES, redis='password = "wrong"')
    worker = stack.start_worker("-n", "1")
    assert stack.ask("/one")[0] == 503  # nothing says that it is the right database
    assert "redis is away" in worker.log_text()
    assert "wrong" not in worker.log_text().replace("WRONGPASS", "")


def test_queue_limit(stack):
    stack.configure(ROUTES, redis="queue_limit = 2")
    stack.start_worker("-n", "1")
    for i in range(5):
        stack.ask(f"/stale/{i}")
    time.sleep(1.1)
    for i in range(5):
        assert "detail=stale" in stack.ask(f"/stale/{i}")[1]["cache-status"]
    jobs = stack.jobs()
    wait_until(lambda: stack.redis.client().llen(jobs) == 2, "two jobs")
    text = stack.ask("/metrics")[2].decode()
    assert 'leeway_cache_refreshes_total{route="/stale/{id}",result="dropped"} 3' in text


def test_unknown_parameters(stack):
    stack.configure("""
route "/strict" { unknown_params = reject  sql = "select 1"  shape = value }
route "/lax" { sql = "select 1"  shape = value }
""")
    stack.start_worker("-n", "1")
    assert stack.ask("/strict?utm=1")[0] == 400
    assert stack.ask("/strict")[0] == stack.ask("/lax?utm=1")[0] == 200
