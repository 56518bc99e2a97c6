# SPDX-License-Identifier: BSD-2-Clause
"""If-None-Match and HEAD, on hits, stale hits and misses alike."""
import pytest

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
"""


def start(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'seven'), (8, 'eight')")
    return stack.start(ROUTES, refresher=False)


def test_a_hit_that_the_client_has_is_304(stack):
    start(stack)
    full = stack.get("/items/7")
    response = stack.get("/items/7", If_None_Match=full.headers["etag"])
    assert (response.status, response.body) == (304, b"")
    assert response.headers["etag"] == full.headers["etag"]
    assert response.cache.startswith("leeway; hit; ttl=5")
    assert response.control.startswith("private, max-age=5")


def test_a_stale_hit_can_be_304(stack):
    start(stack)
    tag = stack.get("/items/7").headers["etag"]
    stack.entries.age(55)
    response = stack.get("/items/7", If_None_Match=tag)
    assert response.status == 304
    assert response.cache.endswith("; detail=stale")
    assert response.control.startswith("private, max-age=0, stale-while-revalidate=")


def test_a_miss_can_be_304_and_is_stored(stack):
    start(stack)
    tag = stack.get("/items/7").headers["etag"]
    stack.redis.client().flushall()
    response = stack.get("/items/7", If_None_Match=tag)
    assert (response.status, response.body) == (304, b"")
    assert response.cache == "leeway; fwd=uri-miss; fwd-status=200; stored"
    assert stack.executions("marker:item") == 2
    assert len(stack.entries.keys()) == 1


@pytest.mark.parametrize("form, status", [
    ("{tag}", 304),
    ("W/{tag}", 304),
    ('"other", {tag}', 304),
    ('"other" ,W/{tag} , "third"', 304),
    ("*", 304),
    ('"other"', 200),
    ('W/"other"', 200),
    ("nonsense", 200),
    ("", 200),
])
def test_forms_of_if_none_match(stack, form, status):
    start(stack)
    full = stack.get("/items/7")
    response = stack.get("/items/7", If_None_Match=form.format(tag=full.headers["etag"]))
    assert response.status == status
    assert response.body == (full.body if status == 200 else b"")


def test_the_tag_follows_the_body(stack):
    start(stack)
    first = stack.get("/items/7").headers["etag"]
    assert stack.get("/items/8").headers["etag"] != first
    stack.redis.client().flushall()
    assert stack.get("/items/7").headers["etag"] == first
    stack.redis.client().flushall()
    stack.sql("update items set name = 'changed'")
    response = stack.get("/items/7", If_None_Match=first)
    assert response.status == 200 and response.headers["etag"] != first


def test_head_has_the_headers_of_get_and_no_body(stack):
    start(stack)
    miss = stack.ask("/items/7", method="HEAD")
    hit = stack.ask("/items/7", method="HEAD")
    get = stack.ask("/items/7")
    assert (miss[0], miss[2], hit[0], hit[2]) == (200, b"", 200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert miss[1][name] == hit[1][name] == get[1][name]
    assert hit[1]["content-length"] == str(len(get[2]))
    assert stack.executions("marker:item") == 1
    assert stack.get("/items/7", method="HEAD").body == b""


def test_head_of_an_error_has_no_body(stack):
    start(stack)
    for path, status in (("/items/x", 400), ("/nowhere", 404), ("/items/99", 404)):
        answered, headers, body = stack.ask(path, method="HEAD")
        assert (answered, body) == (status, b"")
        assert int(headers["content-length"]) > 0


def test_a_404_is_never_304(stack):
    start(stack)
    tag = stack.get("/items/99").headers.get("etag", '"x"')
    for condition in (tag, "*"):
        assert stack.get("/items/99", If_None_Match=condition).status == 404
