# SPDX-License-Identifier: BSD-2-Clause
"""What the figures of a report are meant to be, as rows of a table."""
import os

from .peers import BEFORE, CACHE, CACHE_1, LEEWAY, LUA, STORED, VARNISH_GZIP

DEFAULT = f"leeway, {os.cpu_count()}"


def row(what, wanted, values, digits, is_reached):
    """`values`: measured by where it was; the last column names where it is not reached, of
    several."""
    if not values:
        return [what, wanted, "not measured", ""]
    missed = [where for where, value in values.items() if not is_reached(round(value, digits))]
    told = "not reached" + (": " + ", ".join(missed) if len(missed) < len(values) else "")
    return [what, wanted,
            ", ".join(f"{where} {value:.{digits}f}" for where, value in values.items()),
            told if missed else "reached"]


def at_most(what, limit, values, unit="", digits=2):
    return row(what, f"at most {limit:g}{unit}", values, digits, lambda value: value <= limit)


def at_least(what, limit, values):
    return row(what, f"at least {limit:g}", values, 2, lambda value: value >= limit)


def of_hit(found):
    def ratio(program, plain, figure, fronts):
        return {f"{front}/{connections}": figure(these[program]) / figure(plain(these))
                for (front, connections), these in found.items() if fronts(front)}

    def cpu(figures):
        return figures.cpu["application"]

    def eight(these):
        return these["libfcgi + GET, 8"]

    def best(these):
        """By requests a second; one under which clients starve is none if there is another."""
        plain = [one for name, one in these.items() if name.startswith("libfcgi + GET")]
        return max(plain, key=lambda one: (not one.starves, one.rate))

    def is_kept(front):
        return "kept" in front

    def is_not_kept(front):
        return "kept" not in front

    same = "worker CPU per hit, 8 workers each"
    suited = "worker CPU per hit, one per processor against the plain one's best number"
    return [
        at_most(f"{same}, connections not kept", 0.9,
                ratio("leeway, 8", eight, cpu, is_not_kept)),
        at_most(f"{same}, kept", 0.65, ratio("leeway, 8", eight, cpu, is_kept)),
        at_most(f"{suited}, not kept", 0.7, ratio(DEFAULT, best, cpu, is_not_kept)),
        at_most(f"{suited}, kept", 0.5, ratio(DEFAULT, best, cpu, is_kept)),
        at_least("requests a second, likewise; nginx and lighttpd", 1.1,
                 ratio(DEFAULT, best, lambda one: one.rate, lambda front: front != "Apache")),
        at_most("leeway's errors, 8 workers and one per processor", 0,
                {"all": sum(these[name].errors for these in found.values()
                            for name in {"leeway, 8", DEFAULT})}, digits=0),
    ]


def of_patterns(found):
    pairs = {f"{size}/{connections}": (these["leeway behind nginx"], these["article, after"])
             for (size, connections), these in found.items() if "article, after" in these}
    return [
        at_least("requests a second against \"after\" in Node", 2,
                 {where: ours.rate / theirs.rate for where, (ours, theirs) in pairs.items()}),
        at_most("p99 against it", 0.34,
                {where: ours.percentile(99) / theirs.percentile(99)
                 for where, (ours, theirs) in pairs.items()}),
    ]


def of_fairness(found):
    return [at_most("slowest request of 64 clients by the median, keepalive 8, 32, 64", 20, {
        str(keepalive): figures.slowest / figures.percentile(50)
        for (keepalive, name), figures in found.items() if name == "leeway"}, digits=1)]


def of_growth(found):
    def cpu(figures):
        return figures.cpu["application"]

    def growth(series):
        first, last = list(series.values())[0], list(series.values())[-1]
        return {"worker": cpu(last) / cpu(first),
                "with Redis": (cpu(last) + last.cpu["Redis"]) / (cpu(first) + first.cpu["Redis"])}

    def further(name, small, large):
        body = {size: found["body"][size, 8] for size in (small, large)}
        return (cpu(body[large][name]) - cpu(body[small][name])) / (large - small)

    steps = [(2000, 30000), (30000, 500000)]
    _, memory_mb = found["workers"]
    return [
        at_most("worker CPU per further byte against the fixed body, 8 workers", 1, {
            f"to {large}": further("leeway, 8", small, large) / further("libfcgi, 8", small, large)
            for small, large in steps}),
        at_most("the same, one worker per processor", 1, {
            f"to {large}": further(DEFAULT, small, large) / further("libfcgi, 8", small, large)
            for small, large in steps}),
        at_most("CPU per hit, 10 to 10,000 routes", 1.05, growth(found["routes"])),
        at_most("CPU per hit, 1 to 100,000 keys", 1.2, growth(found["keys"])),
        at_most("memory of each further worker", 1, {"64 workers": memory_mb}, " MB"),
    ]


def of_per_hit(found):
    _, _, growth = found
    return [at_most("instructions per hit, 10 to 2,000 routes", 1.05,
                    {"worker": growth[2000] / growth[10]})]


def of_stampede(found):
    crowds = found["leeway"]
    cold = crowds["cold"]
    return [
        at_most("stampede: queries", 1,
                {state: outcome.queries for state, outcome in crowds.items()}, digits=0),
        at_most("stampede, cold: slowest answer beyond its query", 10,
                {"ms": cold.slowest_ms - 200}, " ms", digits=1),
    ]


def of_mixed(found):
    ours, theirs = found["leeway"], found.get("article, after")
    against = {} if theirs is None else {
        "ratio": ours.figures.percentile(95) / theirs.figures.percentile(95)}
    return [
        at_most("mixed load: responses past the budget", 0, {"leeway": ours.late}, digits=0),
        at_most("mixed load: p95 against \"after\"", 0.34, against),
        at_most("mixed load: p99 (the usual query takes 20 ms)", 25,
                {"ms": ours.figures.percentile(99)}, " ms", digits=1),
    ]


def said(what, values):
    """What nothing is to be reached for."""
    return [what, "-", ", ".join(f"{where} {value:.2f}" for where, value in values.items()) or
            "not measured", ""]


def of_peers(result):
    leeway = LEEWAY["unix"]

    def against(name):
        return result.ratios((leeway, "35 kB", True), (name, "35 kB", True))

    ours, before = result.filled[leeway], result.filled.get(BEFORE)
    stored = {} if before is None else {"in Redis": ours.value / before.value}
    if result.sent(BEFORE, "35 kB"):
        stored["on its socket, 35 kB"] = \
            result.sent(leeway, "35 kB") / result.sent(BEFORE, "35 kB")
    gzip = "CPU of a hit of 35 kB, gzip, against"
    return [
        at_most(f"{gzip} nginx's cache that compresses", 0.15, against(CACHE)),
        said(f"{gzip} the same at level 1", against(CACHE_1)),
        said(f"{gzip} nginx's cache of compressed responses", against(STORED)),
        said(f"{gzip} Varnish with do_gzip", against(VARNISH_GZIP)),
        said(f"{gzip} nginx + Lua + Redis", against(LUA)),
        at_most("CPU of a hit of 35 kB, identity, against the build before", 1.2,
                result.ratios((leeway, "35 kB", False), (BEFORE, "35 kB", False))),
        at_most("CPU of a hit of 2 kB, gzip, against identity of the build before", 1.0,
                result.ratios((leeway, "2 kB", True), (BEFORE, "2 kB", False))),
        at_most("bytes of 38 kB of JSON against the build before", 0.2, stored),
        at_most("CPU of storing 38 kB beyond that of the build before", 250, {} if before is None else {
            "worker": ours.more_us_than(before, "worker"),
            "with Redis": ours.more_us_than(before, "worker", "Redis")}, " us", digits=0),
    ]


def targets(found):
    rows = []
    for name, of in {"hit": of_hit, "patterns": of_patterns, "fairness": of_fairness,
                     "growth": of_growth, "per_hit": of_per_hit, "stampede": of_stampede,
                     "mixed": of_mixed, "peers": of_peers}.items():
        if name in found:
            rows += of(found[name])
    return rows
