# SPDX-License-Identifier: BSD-2-Clause
"""Tables of what a test has seen, for people: Markdown files in the build's tests/integration."""
import os

FOLDER = os.path.join(os.environ.get("LEEWAY_BUILDDIR", os.getcwd()), "tests", "integration")


def table(name, header, rows):
    def line(cells):
        return "| " + " | ".join(str(cell) for cell in cells) + " |\n"

    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, name + ".md"), "w", encoding="utf-8") as out:
        out.write(line(header) + line("---" for _ in header))
        out.writelines(line(row) for row in rows)
