"""Owns the comparison of what an evidence file proves with the JSON that the tool printed for the same question."""

from second.encoding import Refused
from second.evidence import need_equal


def compare(report, exchanges, rows, table):
    """Refuses where a number differs; how many cells of members and pooled values are the same.

    `report` is the JSON of the tool, `exchanges` and `rows` are what was verified and pooled here.
    """
    result = report["result"] if "result" in report else report
    dimensions = list(table.dimensions)
    told = {(cell["member"], key_of(cell, dimensions)): cell["values"] for cell in result["cells"]}
    own = {}
    for one in exchanges:
        measures = table.chosen(one.body["query"]["measures"])
        for key, values in one.rows.items():
            own[one.body["audience"], tuple(one.asked[key])] = {
                measure.id: shown(measure, numbers) for measure, numbers in zip(measures, values)
            }
    need_same(told, own, "cells")
    asked = [partner["member"] for partner in result["partners"]]
    told = {key_of(row, dimensions): row["values"] for row in result["pooled"]}
    own = {tuple(row["key"]): {one["measure"]: pooled(one, asked) for one in row["values"]} for row in rows}
    need_same(told, own, "pooled")
    return sum(len(one.rows) * len(table.chosen(one.body["query"]["measures"])) for one in exchanges), sum(
        len(row["values"]) for row in rows
    )


def key_of(cell, dimensions):
    return tuple(cell["key"][name] for name in dimensions)


def shown(measure, numbers):
    """A member's cell as the tool prints it; counts and sums alone."""
    if measure.width > 1:
        raise Refused(measure.id, "only counts and sums can be compared")
    (number,) = numbers
    return {"state": "value", "value": number} if isinstance(number, int) else {"state": number}


def pooled(value, asked):
    """A pooled value as the tool prints it: members in the order in which they were asked."""
    missing = sorted(value["missing"], key=lambda one: asked.index(one[0]))
    state = {"state": "missing"} if value["value"] is None else {"state": "value", "value": value["value"]}
    return state | {
        "lower_bound": bool(missing),
        "from": sorted(value["from"], key=asked.index),
        "missing": [{"member": member, "why": why} for member, why in missing],
    }


def need_same(told, own, where):
    if set(told) != set(own):
        raise Refused(where, f"other keys: {sorted(set(told) ^ set(own))[:3]}")
    for key in own:
        need_equal(told[key], own[key], f"{where} {key}")
