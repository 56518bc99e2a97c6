# SPDX-License-Identifier: BSD-2-Clause
"""Tables as Markdown."""


def number(value, digits=None):
    """Three or more significant digits, or so many behind the point."""
    if isinstance(value, str):
        return value
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def table(title, columns, rows):
    """Printed at once, with an empty line around."""
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(number(cell) for cell in row) + " |", flush=True)
