# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus's own opinion of what leeway offers it, and the text format 0.0.4 taken apart."""
import re
import subprocess

SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def promtool(*arguments, given="", folder=None):
    """Exit status, and all that it said."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True,
                          cwd=folder, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def parse(text):
    """Name and sorted labels, still escaped, to value; no series may come twice."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = name, tuple(sorted(LABEL.findall(labels or "")))
        assert key not in samples, line
        samples[key] = float(value)
    return samples


def kinds(text):
    """The metrics that a scrape declares: name to type."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def histograms(text):
    """Of every histogram and its labels: its buckets in the order of the text as pairs of bound and
    number, its sum and its count."""
    found, declared = {}, kinds(text)
    for (name, labels), value in parse(text).items():
        base, _, part = name.rpartition("_")
        if declared.get(base) != "histogram":
            continue
        rest = tuple(label for label in labels if label[0] != "le")
        entry = found.setdefault((base, rest), {"buckets": [], "sum": None, "count": None})
        if part == "bucket":
            entry["buckets"].append((float(dict(labels)["le"]), value))
        else:
            entry[part] = value
    return found
