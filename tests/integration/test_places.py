# SPDX-License-Identifier: BSD-2-Clause
"""What changes under sessions that live on: the database that a pooler leads to, and the schemas that
a path leads to."""
import signal

from harness.pgbouncer import start_pgbouncer
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select name from items where id = $1"
  shape = value
}
"""


def fill(stack, name, schema="public", database=None):
    database = database or stack.database
    stack.postgres.execute(database, f"create schema if not exists {schema}")
    stack.postgres.execute(database, f"create table {schema}.items as select i as id,"
                                     f" '{name}'::text as name from generate_series(1, 50) i")


def test_a_pooler_that_is_pointed_at_another_database(stack):
    second = stack.database + "_second"
    stack.postgres.create_database(second)
    fill(stack, "first")
    fill(stack, "second", database=second)
    pooler = start_pgbouncer(stack, "transaction")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/items/1").json() == "first"
    path = stack.path("pooler/pgbouncer.ini")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("user=leeway\n", f"user=leeway dbname={second}\n"))
    pooler.send(signal.SIGHUP)
    seen = []

    def refused():
        seen.append(stack.get(f"/items/{len(seen) % 40 + 2}"))
        return seen[-1].status == 503
    wait_until(refused, "the other database is refused")
    assert {answer.json() for answer in seen if answer.status == 200} <= {"first"}
    stack.worker.stop()
    stack.postgres.drop_database(second)


def test_a_database_that_is_made_anew_behind_a_pooler(stack):
    """The name stays, and the pooler's client does not hear of it."""
    fill(stack, "first")
    start_pgbouncer(stack, "transaction")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/items/1").json() == "first"
    stack.postgres.drop_database(stack.database)
    stack.postgres.create_database(stack.database)
    fill(stack, "second")
    answers = []

    def is_refused():
        answers.append(stack.get(f"/items/{len(answers) % 40 + 2}"))
        return answers[-1].status == 503
    wait_until(is_refused, "another database is refused")
    wait_until(lambda: stack.get("/items/1").status == 503, "hits are too")
    assert all(answer.status == 503 or answer.json() == "first" for answer in answers)


def served(stack, key):
    """The row, asked for until it comes from the key of the session's own generation."""
    wait_until(lambda: "; hit" in stack.get(key).headers["cache-status"], "it is stored")
    return stack.get(key).json()


def test_a_schema_that_comes_to_be_in_front(stack):
    stack.sql("create role walker login superuser")
    stack.sql("alter role walker set search_path = front, public")
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=walker")
    fill(stack, "public")
    stack.start(ROUTES, refresher=False, workers=1)
    assert served(stack, "/items/1") == "public"
    fill(stack, "front", schema="front")
    # the first to ask for what is not stored finds it out
    assert stack.get("/items/2").json() == "front"
    assert served(stack, "/items/1") == "front"
    stack.sql("drop schema front cascade")
    assert stack.get("/items/3").json() == "public"
    assert [served(stack, f"/items/{n}") for n in (1, 2, 3)] == ["public"] * 3
    stack.worker.stop()
    stack.sql("drop role walker")
