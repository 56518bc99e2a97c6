# SPDX-License-Identifier: BSD-2-Clause
"""A miss computes and stores; a hit is one GET."""
import json
import re

ROUTES = """
context "c" { budget = 30s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int  min = 1 }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
"""


def make_items(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")


def test_miss_then_hit(stack):
    make_items(stack)
    stack.start(ROUTES)

    miss = stack.get("/items/7")
    assert miss.status == 200
    assert miss.json() == {"id": 7, "name": "item 7"}
    assert miss.cache == "leeway; fwd=uri-miss; fwd-status=200; stored"
    assert re.fullmatch(r"private, max-age=2[67], stale-while-revalidate=3, stale-if-error=0",
                        miss.control)
    assert miss.headers["content-type"] == "application/json"
    assert miss.headers["content-length"] == str(len(miss.body))
    assert re.fullmatch(r'"[0-9a-f]{32}"', miss.headers["etag"])
    assert "age" not in miss.headers

    hit = stack.get("/items/7")
    assert hit.status == 200
    assert hit.body == miss.body
    assert re.fullmatch(r"leeway; hit; ttl=(29|2\d)", hit.cache)
    assert hit.headers["etag"] == miss.headers["etag"]
    assert stack.executions("marker:item") == 1


def test_a_hit_is_exactly_one_get(stack):
    make_items(stack)
    stack.start(ROUTES, refresher=False)
    stack.get("/items/7")
    with stack.redis.monitor() as seen:
        for _ in range(5):
            assert "hit" in stack.get("/items/7").cache
        # canonical values share a key, and undeclared parameters do not split it
        assert "hit" in stack.get("/items/007?utm_source=x").cache
        seen.settle()
        leeway = [line for line in seen.lines
                  if "settle" not in line and "leeway:identity:" not in line and
                  not line.startswith(("TIME", "PING"))]
    assert len(leeway) == 6
    assert all(line.startswith("GET leeway:{items.id.") for line in leeway)


def test_the_entry(stack):
    make_items(stack)
    stack.start(ROUTES, refresher=False)
    response = stack.get("/items/7")
    client = stack.redis.client()
    keys = client.keys("leeway:{items.id.*}:entry")
    assert len(keys) == 1
    entry = client.get(keys[0])
    head, _, rest = entry.partition("\n")
    assert re.fullmatch(r"lw2 \d{16} \d{16} [0-9a-f]{40} 200 identity [0-9a-f]{16} [0-9a-f]{32} "
                        r"[0-9a-f]{32} 000000 \d{6} \d{9} \d{9}", head)
    assert rest.endswith("\r\n\r\n" + response.body.decode())
    assert f"ETag: {response.headers['etag']}\r\n" in rest
    # absolute: the snapshot and the budget
    snapshot_ms = int(head.split(" ")[1]) // 1000
    assert abs(client.pexpiretime(keys[0]) - (snapshot_ms + 30000)) <= 1
    assert client.keys("*:lease") == []


def test_text_is_json(stack):
    stack.sql("create table texts (t text)")
    stack.sql("insert into texts values (%s)", 'a "b" \\ / \n \t \x01 é 😀')
    stack.start("""route "/t" { sql = "select t from texts"  shape = value }""", refresher=False)
    assert json.loads(stack.get("/t").body) == 'a "b" \\ / \n \t \x01 é 😀'
