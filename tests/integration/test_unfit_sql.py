# SPDX-License-Identifier: BSD-2-Clause
"""SQL that cannot be a route's query is refused before it does harm, and harms nobody if it runs."""
import pytest


GOOD = 'route "/good" { context = "none"  sql = "select 1 as n"  shape = value }'
ROUTES = 'context "none" { budget = 0s }\n' + GOOD
# What only the server can tell from a query, and check must.
UNFIT = {
    "insert": "with x as (insert into t values (1) returning n) select n from x",
    "nothing": "select from t",
    "call": "call p()",
    "copy": "copy t to stdout",
    "insert-returning": "insert into t values (1) returning n",
    "into": "select n into u from t",
    "lock": "select n from t for update",
}
UNUSED = """
route "/posts/{id}/{slug}" {
  context = "none"
  param "id"   { type = int }
  param "slug" { type = text }
  sql = "select $1::int as id"
  shape = object
}
route "/last/{slug}/{id}" {
  context = "none"
  param "slug" { type = text }
  param "id"   { type = int }
  sql = "select $2::int as id, '$1' as text -- not $1 either"
  shape = object
}
route "/none/{slug}" {
  context = "none"
  param "slug" { type = text }
  sql = "select now() is not null as here"
  shape = object
}
"""


@pytest.mark.parametrize("options", ["", "prepared = false"])
def test_a_parameter_that_the_sql_does_not_use(stack, options):
    stack.start(ROUTES + UNUSED, refresher=False, postgres=options)
    for _ in range(2):
        assert stack.get("/posts/7/some-words").json() == {"id": 7}
        assert stack.get("/last/some-words/8").json() == {"id": 8, "text": "$1"}
        assert stack.get("/none/some-words").json() == {"here": True}
    assert stack.get("/posts/x/some-words").status == 400
    checked = stack.run("leewayctl", "-c", stack.config, "check")
    assert checked.returncode == 0, checked.stdout
    assert "slug" in checked.stdout


def runs(stack, sql):
    """What check says of a route of `sql`, and what a request gets; None where -t refuses it."""
    stack.sql("create table if not exists t (n int)")
    stack.sql("create or replace procedure p() language sql as 'select 1'")
    route = f'\nroute "/unfit" {{ context = "none"  sql = "{sql}"  shape = array }}'
    stack.configure(ROUTES + route, workers=1)
    tested = stack.run("leeway-worker", "-c", stack.config, "-t")
    if tested.returncode != 0:
        assert f"{stack.config}:" in tested.stderr
        return None
    checked = stack.run("leewayctl", "-c", stack.config, "check")
    assert checked.returncode == 1, checked.stdout
    stack.start(ROUTES + route, refresher=False, workers=1)
    return stack.get("/unfit")


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_sql(stack, name):
    answer = runs(stack, UNFIT[name])
    if answer is not None:
        assert answer.status == 500
        for _ in range(3):
            assert stack.get("/good").json() == 1
        stack.worker.stop()
    assert stack.sql("select count(*) from t") == [(0,)]


def test_check_goes_on_after_a_route_that_cannot_be_planned(stack):
    stack.sql("create domain filled as text not null")
    stack.configure(ROUTES + """
route "/broken" { context = "none"  sql = "select 1 / 0 as n"  shape = value }
route "/after"  { context = "none"  sql = "select 2 as n"  shape = value }
route "/domain" {
  context = "none"
  param "word" { type = text }
  sql = "select $1::filled as word"
  shape = value
}
""", workers=1)
    checked = stack.run("leewayctl", "-c", stack.config, "check")
    lines = {line.split()[1]: line.split()[0] for line in checked.stdout.splitlines()}
    assert (lines["/broken"], lines["/after"], lines["/domain"]) == ("problem", "ok", "ok"), \
        checked.stdout
