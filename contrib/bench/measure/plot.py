# SPDX-License-Identifier: BSD-2-Clause
"""Latency distributions as pictures, by matplotlib."""
import matplotlib

matplotlib.use("svg")
# pylint: disable=wrong-import-position
from matplotlib import pyplot  # noqa: E402

# Where the axis has marks: the share of requests that were slower.
MARKS = (1, 0.5, 0.1, 0.05, 0.01, 0.001)
LABELS = ("0 %", "50 %", "90 %", "95 %", "99 %", "99.9 %")


def distributions(path, title, curves):
    """An SVG file. `curves`: permille_ms (see wrk.Run) by name."""
    matplotlib.rcParams["svg.hashsalt"] = "leeway"
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    slower = [1 - i / 1000 for i in range(1000)]
    for name, permille_ms in curves.items():
        axes.plot(slower, permille_ms[:1000], label=name, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, 0.001)
    axes.set_xticks(MARKS, LABELS)
    axes.set_xlabel("of the requests were faster")
    axes.set_ylabel("milliseconds")
    axes.grid(True, which="major", alpha=0.3)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
