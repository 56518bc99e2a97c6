# SPDX-License-Identifier: BSD-2-Clause
"""Cases after the RFCs that leeway follows, named by section."""
import re

import pytest

ROUTES = """
context "c" { budget = 20s  refresh_at = 0.5 }
context "edge" { budget = 20s  refresh_at = 0.5  edge = true }
route "/c/{id}" { context = "c" param "id" { type = int } sql = "select $1::int as n"  shape = object }
route "/edge" { context = "edge"  sql = "select 1 as n"  shape = value }
route "/missing" { context = "c"  sql = "select 1 where false"  shape = value }
route "/broken" { sql = "select nothing" }
"""

DIRECTIVE = re.compile(r"([a-z-]+)(?:=(\d+))?")


@pytest.fixture(name="served")
def serve(stack):
    return stack.start(ROUTES, refresher=False)


def directives(answer):
    return dict(DIRECTIVE.fullmatch(part).groups() for part in answer.control.split(", "))


def cache_status(answer):
    """RFC 9211, section 2: the cache's name and its parameters."""
    name, *parameters = answer.cache.split("; ")
    return name, dict((part.split("=", 1) + [None])[:2] for part in parameters)


def test_rfc9111_5_1_no_age_beside_decremented_lifetimes(served):
    for _ in range(2):
        assert "age" not in served.get("/c/1").headers


def test_rfc9111_5_2_2_1_max_age_and_5861_3_never_exceed_the_budget(served):
    for _ in range(2):
        found = directives(served.get("/c/1"))
        assert int(found["max-age"]) + int(found["stale-while-revalidate"]) <= 20
        assert int(found["max-age"]) <= 10


def test_rfc9111_5_2_2_10_no_s_maxage(served):
    for uri in ("/c/1", "/edge"):
        assert "s-maxage" not in served.get(uri).control


def test_rfc9111_5_2_2_7_private_unless_at_the_edge(served):
    assert "private" in directives(served.get("/c/1"))
    assert "private" not in directives(served.get("/edge"))
    assert "public" not in served.get("/edge").control


def test_rfc9111_5_2_2_5_errors_are_not_stored(served):
    for uri in ("/broken", "/nowhere", "/c/x"):
        answer = served.get(uri)
        assert answer.control == "no-store"
        assert answer.cache is None


def test_rfc5861_4_no_implied_stale_if_error(served):
    assert directives(served.get("/c/1"))["stale-if-error"] == "0"


def test_rfc9110_8_8_3_strong_entity_tags(served):
    first, other = served.get("/c/1"), served.get("/c/2")
    assert re.fullmatch(r'"[!#-~]+"', first.headers["etag"])
    assert first.headers["etag"] != other.headers["etag"]
    served.redis.client().flushall()
    assert served.get("/c/1").headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("field,status", [
    ("*", 304), ("{etag}", 304), ("W/{etag}", 304), ('"a", {etag}', 304), ('"a",,{etag} ,', 304),
    ('"a"', 200), ('W/"a", "b"', 200), ("{bare}", 200), ("", 200),
])
def test_rfc9110_13_1_2_if_none_match(served, field, status):
    etag = served.get("/c/1").headers["etag"]
    field = field.replace("{etag}", etag).replace("{bare}", etag.strip('"'))
    assert served.get("/c/1", If_None_Match=field).status == status


def test_rfc9110_15_4_5_what_a_304_carries(served):
    full = served.get("/c/1")
    answer = served.get("/c/1", If_None_Match=full.headers["etag"])
    assert answer.status == 304
    assert answer.body == b""
    assert answer.headers["etag"] == full.headers["etag"]
    assert directives(answer).keys() == directives(full).keys()


def test_rfc9110_13_2_1_conditions_apply_to_successes_only(served):
    assert served.get("/missing", If_None_Match="*").status == 404
    assert served.get("/broken", If_None_Match="*").status == 500


def test_rfc9110_9_3_2_head_is_get_without_content(served):
    for uri in ("/c/1", "/missing", "/broken", "/nowhere", "/c/x", "/health"):
        get, head = served.get(uri), served.get(uri, method="HEAD")
        assert head.status == get.status
        assert head.body == b""
        for name in ("content-type", "content-length", "etag"):
            assert head.headers.get(name) == get.headers.get(name), (uri, name)


def test_rfc9110_15_5_6_and_9_3_7_allow(served):
    status, headers, _ = served.ask("/c/1", method="DELETE")
    assert status == 405
    assert set(headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    status, headers, body = served.ask("/c/1", method="OPTIONS")
    assert (status, body) == (204, b"")
    assert set(headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_rfc9110_8_6_no_length_with_204(served):
    assert "content-length" not in served.ask("/c/1", method="OPTIONS")[1]


def test_rfc9211_2_parameters(served):
    name, miss = cache_status(served.get("/c/1"))
    assert name == "leeway"
    assert miss == {"fwd": "uri-miss", "fwd-status": "200", "stored": None}
    _, hit = cache_status(served.get("/c/1"))
    assert hit.keys() == {"hit", "ttl"}
    assert 0 <= int(hit["ttl"]) <= 20
    _, missing = cache_status(served.get("/missing"))
    assert missing["fwd-status"] == "404"


def test_rfc9457_3_1_members(served):
    for uri, status in (("/broken", 500), ("/nowhere", 404), ("/c/x", 400), ("/missing", 404)):
        answer = served.get(uri)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status == status
        assert problem["type"] == "about:blank"
        # section 4.2.1: with about:blank the title is the status's own phrase
        assert problem["title"] == {500: "Internal Server Error", 404: "Not Found",
                                    400: "Bad Request"}[status]
