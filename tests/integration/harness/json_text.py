# SPDX-License-Identifier: BSD-2-Clause
"""JSON parsed so that a comparison sees what a parser would make equal."""
import json


def keep_text(text):
    """Numbers stay as they were written and apart from strings, objects are their pairs in
    order; NaN and Infinity, which are not JSON, are refused."""
    return json.loads(text, object_pairs_hook=list, parse_int=mark_number,
                      parse_float=mark_number, parse_constant=refuse)


def mark_number(digits):
    return ("number", digits)


def refuse(name):
    raise ValueError(f"{name} is not JSON")
