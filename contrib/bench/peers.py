#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same hits served by leeway and by what people use otherwise, with and without gzip: the CPU
of all processes that take part, as ratios to one of them; then what a miss takes that stores its
response. LEEWAY_BUILDDIR names the build, BENCH_PEERS a folder with unpacked packages
(contrib/packages/peers), BENCH_ROUNDS and BENCH_SECONDS limit it."""
import argparse
import gzip
import os
import statistics
import time
from collections import namedtuple

from measure import contest, fill, orders
from measure.markdown import number, table
from measure.origin import Origin
from measure.peers import (BEFORE, CACHE, CACHE_1, LEEWAY, LEVEL, LUA, LUA_STORED, SRCACHE, STORED,
                           VARNISH, VARNISH_GZIP, Cell, Missing, entries_in, start_leeway,
                           start_lua, start_nginx_cache, start_nginx_stored, start_redis,
                           start_srcache, start_varnish, versions)
from measure.targets import of_peers
from measure.world import World

# it is measure that makes harness known
from harness import http
from harness.stack import BUILD

ROWS = {"2 kB": 9, "35 kB": 159}
FILL_ROWS, FILL_BYTES = 172, 37000
FILL_PAGES = 40
CONNECTIONS = (8, 64)
BUDGET = 'context "c" { budget = 1h }\n'
# the share of the requests of a run that a peer may hand on: its store did not answer in time
NO_HITS = 0.001
# what is no longer is no response
NO_ENTRY = 300
# what headers may take, and by how much that may differ: numbers in them grow
HEADERS_BYTES, TOLERANCE_BYTES = 1000, 64

# One response as it came: `wire` are the bytes of its body, `etag` "strong", "weak" or "none"
Seen = namedtuple("Seen", "coding wire etag")


class Options:
    """How it is run; by default as the environment says, where contrib/bench/run puts what it was
    told."""

    def __init__(self, quick=bool(os.environ.get("BENCH_QUICK")),
                 before=os.environ.get("BENCH_BEFORE"),
                 reference=os.environ.get("BENCH_REFERENCE", CACHE)):
        self.quick = quick
        self.before = before
        self.reference = reference
        self.rounds = int(os.environ.get("BENCH_ROUNDS", "1" if quick else "5"))
        self.seconds = int(os.environ.get("BENCH_SECONDS", "1"))
        self.fill_rounds = 5 if quick else 20
        self.limit_s = 90 if quick else 16 * 60
        self.connections = CONNECTIONS[:1] if quick else CONNECTIONS


def path_of(size):
    return "/" + size.replace(" ", "").lower()


def routes():
    return BUDGET + "".join(f'''route "{path_of(size)}" {{
  context = "c"  shape = array  sql = "{orders.first(rows)}"
}}
''' for size, rows in ROWS.items())


def fill_routes():
    return BUDGET + ('route "/page/{page}" { context = "c"  shape = array  '
                     f'param "page" {{ type = int }}  sql = "{orders.page(FILL_ROWS)}" }}\n')


def headers_of(cell):
    return ("Accept-Encoding: gzip",) if cell.gzip else ()


def kind_of(etag):
    return "none" if not etag else "weak" if etag.startswith("W/") else "strong"


def see(peer, cell, bodies):
    """One response of `peer`, after a look at whether it is right."""
    asked = dict(line.split(": ") for line in headers_of(cell))
    answer = http.request(peer.port, path_of(cell.size), headers=asked)
    coding = answer.headers.get("content-encoding", "identity")
    body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    etag = answer.headers.get("etag")
    assert answer.status == 200 and body == bodies[cell.size], \
        f"{peer.name}, {cell}: status {answer.status}, {len(body)} bytes"
    assert coding == ("gzip" if cell.gzip and peer.compresses else "identity"), \
        f"{peer.name}, {cell}: {coding}"
    assert etag, f"{peer.name}, {cell}: no ETag"
    revalidated = http.request(peer.port, path_of(cell.size),
                               headers={**asked, "If-None-Match": etag})
    assert revalidated.status == 304, f"{peer.name}, {cell}: {revalidated.status} to its own ETag"
    return Seen(coding, len(answer.body), kind_of(etag))


class Round:
    """One run of one peer: microseconds of processor a request by who took them, and the bytes that
    its store has sent for each."""

    def __init__(self, peer, cell, seconds):
        asked, sent = peer.origin.asked if peer.origin else 0, peer.sent()
        run = contest.measure(peer, path_of(cell.size), cell.connections, seconds, headers_of(cell))
        assert not run.errors, f"{peer.name}, {cell}: {run.errors}"
        assert not peer.origin or peer.origin.asked - asked <= run.requests * NO_HITS, \
            f"{peer.name}, {cell}: not all were hits"
        self.cpu, self.rate = run.cpu, run.rate
        self.us = sum(run.cpu.values())
        self.wire = run.bytes / max(run.requests, 1)
        # of responses that were under way at the end
        self.wire_doubt = cell.connections * self.wire / max(run.requests, 1)
        self.sent = None if sent is None else (peer.sent() - sent) / max(run.requests, 1)


class Outcome:
    """All rounds of one peer in one cell."""

    def __init__(self, seen):
        self.seen = seen
        self.rounds = []

    def add(self, one, seen):
        """`seen` is the response after it: as before, and so were those between, by their bytes."""
        assert seen == self.seen, (seen, self.seen)
        self.rounds.append(one)
        doubt = TOLERANCE_BYTES + one.wire_doubt + self.rounds[0].wire_doubt
        assert abs(one.wire - self.rounds[0].wire) < doubt and \
            0 < one.wire - seen.wire + doubt < HEADERS_BYTES + 2 * doubt, \
            f"responses of {one.wire:.0f} bytes on average, {seen.wire} of them body"

    def median(self, figure):
        return statistics.median(figure(one) for one in self.rounds)

    def ratios(self, base):
        """One for each round."""
        return [one.us / other.us for one, other in zip(self.rounds, base.rounds)]


def starters(world, options, plain, coded):
    """By name, in the order of the tables."""
    found = {
        CACHE: lambda: start_nginx_cache(world, CACHE, plain, LEVEL),
        CACHE_1: lambda: start_nginx_cache(world, CACHE_1, plain, 1),
        STORED: lambda: start_nginx_stored(world, STORED, coded),
        VARNISH: lambda: start_varnish(world, VARNISH, plain, False),
        VARNISH_GZIP: lambda: start_varnish(world, VARNISH_GZIP, plain, True),
        LUA: lambda: start_lua(world, LUA, plain, False),
        LUA_STORED: lambda: start_lua(world, LUA_STORED, coded, True),
        SRCACHE: lambda: start_srcache(world, SRCACHE, plain)}
    if options.before:
        found[BEFORE] = lambda: start_leeway(world, BEFORE, "before", routes(),
                                             build=options.before)
    return found


def start_peers(world, options):
    """Those that are there, and the bodies that all of them send: what leeway has made of the rows
    is what the origins have."""
    ours = [start_leeway(world, name, f"leeway-{transport}", routes(), transport)
            for transport, name in LEEWAY.items()]
    bodies = {size: ours[0].stack.ask(path_of(size))[2] for size in ROWS}
    by_path = {path_of(size): body for size, body in bodies.items()}
    plain, coded = (Origin(by_path, compresses) for compresses in (False, True))
    peers = []
    for name, start in starters(world, options, plain, coded).items():
        try:
            peers.append(start())
        except (Missing, OSError) as error:
            world.missing.append(name)
            print(f"\nWithout {name}: {error}", flush=True)
    return peers + ours, bodies


class Contest:
    """`found` are outcomes by cell, then by the peer's name."""

    def __init__(self, peers, bodies, options):
        self.peers, self.bodies, self.options = peers, bodies, options
        self.deadline = time.monotonic() + options.limit_s
        self.found = {}

    def cells(self):
        return [Cell(size, connections, accepts) for accepts in (True, False) for size in ROWS
                for connections in self.options.connections]

    def warm_up(self, cell):
        """Whoever compiles, grows or fetches has done so."""
        for peer in self.peers:
            see(peer, cell, self.bodies)
            if not self.options.quick:
                contest.run(peer.port, path_of(cell.size), cell.connections, 1,
                            headers=headers_of(cell))

    def hold(self, cell, deadline):
        self.warm_up(cell)
        these = {peer.name: Outcome(see(peer, cell, self.bodies)) for peer in self.peers}
        for number_of_round in range(self.options.rounds):
            if number_of_round > 0 and time.monotonic() > deadline:
                break
            for peer in self.peers:
                one = Round(peer, cell, self.options.seconds)
                these[peer.name].add(one, see(peer, cell, self.bodies))
        self.found[cell] = these

    def hold_all(self):
        """Each cell has its share of the time that is left."""
        cells = self.cells()
        for at, cell in enumerate(cells):
            now = time.monotonic()
            self.hold(cell, now + (self.deadline - now) / (len(cells) - at))
        return self.found


def title(cell):
    return f"{cell.size}, {cell.connections} clients, {'gzip' if cell.gzip else 'identity'}"


def names(found):
    return list(next(iter(found.values())))


def print_ratios(found, reference):
    def text(cell, name):
        these = found[cell]
        ratios = these[name].ratios(these[reference])
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        plain = ", sent plain" if cell.gzip and these[name].seen.coding == "identity" else ""
        return f"{statistics.median(ratios):.2f}{spread}{plain}"

    if reference not in names(found):
        print(f"\nNo ratios to {reference}, which is not there")
        return
    table(f"CPU of all processes a request, as a ratio to {reference}: median of the rounds (the "
          "lowest to the highest)", ["", *map(title, found)],
          [[name, *(text(cell, name) for cell in found)] for name in names(found)])


def microseconds(outcome):
    """In all, and by whom where there are several."""
    parts = [number(outcome.median(lambda one, what=what: one.cpu[what]))
             for what in outcome.rounds[0].cpu]
    in_all = number(outcome.median(lambda one: one.us))
    return f"{in_all} = {' + '.join(parts)}" if len(parts) > 1 else in_all


def print_microseconds(found):
    table("The same in microseconds: in all = web server + application + store, of those there "
          "are; medians of each", ["", *map(title, found)],
          [[name, *(microseconds(these[name]) for these in found.values())]
           for name in names(found)])


def print_rates(found):
    table("Requests a second: medians", ["", *map(title, found)],
          [[name, *(these[name].median(lambda one: one.rate) for these in found.values())]
           for name in names(found)])


def print_responses(found, options):
    """What came, and what the stores have sent for it, at the lower number of clients."""
    cells = [cell for cell in found if cell.connections == options.connections[0]]

    def text(outcome):
        seen = outcome.seen
        store = "" if outcome.rounds[0].sent is None else \
            f", store {outcome.median(lambda one: one.sent):.0f}"
        return f"{seen.coding}, {seen.wire} bytes{store}, {seen.etag}"

    table("What came: coding, bytes of the body as sent; bytes that Redis or memcached has sent "
          "for each (before TLS); the kind of ETag",
          ["", *(f"{cell.size}, {'gzip' if cell.gzip else 'identity'}" for cell in cells)],
          [[name, *(text(found[cell][name]) for cell in cells)] for name in names(found)])


def print_entries(peers):
    table("What is in Redis: bytes of each value (and with what Redis adds)", ["", "entries"],
          [[peer.name, ", ".join(f"{value} ({memory})"
                                 for value, memory in entries_in(peer.redis, NO_ENTRY))]
           for peer in peers if peer.redis])


class Filled:
    """What one build has taken to store 38 kB, and the bytes of the entry in Redis: its value, and
    with what Redis needs around it."""

    def __init__(self, filler):
        self.rounds = filler.rounds
        self.us = {what: filler.median(what) for what in filler.watched}
        self.spread = filler.spread("worker")
        self.ms = filler.median("ms")
        self.value, self.memory = entries_in(filler.stack.redis, NO_ENTRY)[-1]

    def more_us_than(self, other, *who):
        """The median of the differences within each round, of all `who` together."""
        def taken(one):
            return sum(one[each] for each in who)

        return statistics.median(taken(ours) - taken(theirs)
                                 for ours, theirs in zip(self.rounds, other.rounds))


def measure_fill(world, options):
    """By the build's name."""
    builds = {LEEWAY["unix"]: BUILD, **({BEFORE: options.before} if options.before else {})}
    fillers = {name: fill.Filler(world, f"fill-{at}", fill_routes(),
                                 start_redis(world, f"fill-{at}-redis"), build)
               for at, (name, build) in enumerate(builds.items())}
    fill.hold(list(fillers.values()), options.fill_rounds, FILL_PAGES, FILL_BYTES)
    return {name: Filled(filler) for name, filler in fillers.items()}


def print_fill(filled):
    table("A miss that stores 38 kB, for a client that accepts gzip, straight to the worker: "
          f"microseconds of processor, medians of rounds of {FILL_PAGES}",
          ["", "worker us", "in the rounds", "Redis us", "Postgres us", "in all",
           "ms until it is answered", "bytes of the entry", "with what Redis adds"],
          [[name, one.us["worker"], one.spread, one.us["Redis"], one.us["Postgres"],
            sum(one.us.values()), one.ms, str(one.value), str(one.memory)]
           for name, one in filled.items()])


class Result:
    """For measure.targets."""

    def __init__(self, found, filled):
        self.found, self.filled = found, filled

    def ratios(self, ours, theirs):
        """CPU by number of clients. `ours` and `theirs` are a name, a size and whether gzip is
        accepted; nothing where one of them was not measured."""
        ratios = {}
        for connections in CONNECTIONS:
            here, there = (self.found.get(Cell(size, connections, accepts), {}).get(name)
                           for name, size, accepts in (ours, theirs))
            if here and there:
                ratios[f"{connections} clients"] = statistics.median(here.ratios(there))
        return ratios

    def sent(self, name, size):
        """Bytes that its store has sent for each hit that accepts gzip."""
        outcome = self.found[Cell(size, CONNECTIONS[0], True)].get(name)
        return outcome and outcome.median(lambda one: one.sent)


def print_versions():
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions().items()) +
          f". nginx has one process each and gzip at level {LEVEL} where nothing else is said; "
          f"leeway has {os.cpu_count()} workers.", flush=True)


def run(world, options=None):
    options = options or Options()
    print_versions()
    # one round of the fill warms up
    orders.make(world, FILL_ROWS * FILL_PAGES * (1 + options.fill_rounds))
    peers, bodies = start_peers(world, options)
    found = Contest(peers, bodies, options).hold_all()
    for reference in dict.fromkeys((options.reference, LUA)):
        print_ratios(found, reference)
    print_microseconds(found)
    print_rates(found)
    print_responses(found, options)
    print_entries(peers)
    filled = measure_fill(world, options)
    print_fill(filled)
    return Result(found, filled)


def read_arguments():
    """Options; what is not said is as the environment has it."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--quick", action="store_true", default=argparse.SUPPRESS,
                        help="one round, 8 clients: under 2 minutes")
    parser.add_argument("--before", metavar="FOLDER", default=argparse.SUPPRESS,
                        help="another build, to compare with")
    parser.add_argument("--reference", metavar="NAME", default=argparse.SUPPRESS,
                        help="whom ratios are to, by its name in the tables")
    return Options(**vars(parser.parse_args()))


def main():
    options = read_arguments()
    with World() as world:
        rows = of_peers(run(world, options))
    table("What it is meant to be: ratios of one run", ["figure", "to reach", "measured", ""], rows)


if __name__ == "__main__":
    main()
