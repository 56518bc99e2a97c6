# SPDX-License-Identifier: BSD-2-Clause
"""A job whose way to its refresher, or back, is disturbed is not stuck with one that lives."""
from harness.proxy import Proxy
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
"""
STALE_S = 55


class ReplyLost(Proxy):
    """Once Redis has moved a job, the connection dies before the reply is passed on."""

    def __init__(self, path, target):
        super().__init__(path, target)
        self.armed = False
        self.lost = 0

    def pass_on(self, client, data):
        if self.armed and b'"items.id"' in data:
            self.armed = False
            self.lost += 1
            raise ConnectionAbortedError
        super().pass_on(client, data)


def start(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'old')")
    stack.configure(ROUTES, workers=1)
    stack.start_worker()


def start_refresher_behind(stack, proxy):
    stack.reach_redis_by(proxy.path)
    stack.configure(ROUTES, workers=1)
    return stack.start_refresher()


def hands(stack):
    client = stack.redis.client()
    return client.keys("{leeway:jobs}:*processing:*")


def test_a_job_whose_reply_was_lost_is_done(stack):
    start(stack)
    with ReplyLost(stack.path("proxy.sock"), stack.redis.socket) as proxy:
        start_refresher_behind(stack, proxy)
        stack.ask("/items/7")
        stack.entries.age(STALE_S)
        proxy.armed = True
        stack.ask("/items/7")
        wait_until(lambda: proxy.lost == 1, "the reply is lost")
        wait_until(lambda: stack.executions("marker:item") == 2, "the job is done")
        wait_until(lambda: not hands(stack), "nothing is in hand")


def test_a_job_that_nobody_knows_of_is_found_by_who_has_it(stack):
    """However it came there."""
    start(stack)
    stack.start_refresher()
    stack.ask("/items/7")
    stack.entries.age(STALE_S)
    client = stack.redis.client()
    fingerprint = stack.entries.only().key.split(".")[-1].split(":")[0]
    alive, = wait_until(lambda: client.keys("{leeway:jobs}:*alive:*"), "a heartbeat")
    client.lpush(alive.replace("alive:", "processing:"),
                 f'[1,1795435200123,"items.id","{fingerprint}",["7"]]')
    wait_until(lambda: stack.executions("marker:item") == 2, "the job is done")
    wait_until(lambda: not hands(stack), "nothing is in hand")


def test_a_settling_that_is_refused_is_not_tried_without_end(stack):
    """A refresher that may take and not settle asks Redis for little, and says so in few lines."""
    start(stack)
    client = stack.redis.client()
    client.execute_command("ACL", "SETUSER", "lame", "reset", "on", ">lame", "~*", "&*", "+@all",
                           "-lrem")
    stack.configure(ROUTES, workers=1, redis='username = "lame"  password = "lame"')
    refresher = stack.start_refresher()
    stack.ask("/items/7")
    stack.entries.age(STALE_S)

    def refusals():
        return client.info("commandstats").get("cmdstat_lrem", {}).get("rejected_calls", 0)
    stack.ask("/items/7")
    wait_until(lambda: refusals() >= 3, "it is refused")
    assert refresher.log_text().count("could not be settled") >= 1
    client.execute_command("ACL", "SETUSER", "lame", "+lrem")
    wait_until(lambda: not hands(stack) and stack.executions("marker:item") >= 2, "it is settled")


def test_a_death_is_counted_once_although_its_job_cannot_be_put_back(stack):
    start(stack)
    client = stack.redis.client()
    client.execute_command("ACL", "SETUSER", "lame", "reset", "on", ">lame", "~*", "&*", "+@all",
                           "-lmove")
    stack.configure(ROUTES, workers=1, redis='username = "lame"  password = "lame"')
    refresher = stack.start_refresher()
    stack.ask("/items/7")
    stack.entries.age(STALE_S)
    fingerprint = stack.entries.only().key.split(".")[-1].split(":")[0]
    client.lpush(stack.jobs("processing") + ":dead",
                 f'[1,1795435200123,"items.id","{fingerprint}",["7"]]')

    def refusals():
        return client.info("commandstats").get("cmdstat_lmove", {}).get("rejected_calls", 0)
    wait_until(lambda: refusals() >= 4, "it is tried again and again")
    assert not client.exists(stack.jobs("aside")) and "set aside" not in refresher.log_text()
    client.execute_command("ACL", "SETUSER", "lame", "+lmove")
    wait_until(lambda: not hands(stack) and stack.executions("marker:item") == 2, "it is done")
