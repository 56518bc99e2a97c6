# SPDX-License-Identifier: BSD-2-Clause
"""What the benchmarks have in common. Loopback only, and each load is bounded in time."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../../tests/integration"))
