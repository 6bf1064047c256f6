#!/usr/bin/env python3
"""A publisher for the tests: shows every number that it is not told to hide, in the form of `accord edition show --cells --json`.

As a command (`publish.py FOLDER`) it hides what breaks a primary rule and nothing else. That leaks, so it is how the campaign is tried out.
"""
import itertools
import json
import pathlib
import sys

from folder import Folder
from lattice import MAGNITUDES
from release import FLAGS
from truth import Kind, Truth, read_lines


def cells_of(folder, lines, hides):
    """The cells of one edition; `hides(table, codes, of, total, parts, cases)` says what is not shown."""
    years = sorted({year for _, year in lines} or {"2011"})
    cells = []
    for table, year in itertools.product(folder.tables, years):
        if not table.margins:
            continue
        kind = Kind(table.kind, year, [one for one in folder.tables if one.kind == table.kind], folder.lists)
        truth = Truth(kind, lines.get((table.kind, year), []))
        for levels, names in table.level_sets.items():
            for codes in itertools.product(*(kind.trees[name].at_level(level) for name, level in zip(table.dimensions, levels))):
                codes = dict(zip(table.dimensions, codes))
                values = {name: number(kind, truth, table, codes, table.measures[name], hides) for name in sorted(names)}
                cells.append({"table": table.name, "key": codes, "values": values})
    return cells


def number(kind, truth, table, codes, measure, hides):
    """One measure of one cell."""
    of = measure["of"]
    cases = len(truth.of("count", kind.key(codes)))
    if of == "histogram":
        parts = truth.of("count", kind.key(codes, "measured"))
        if hides(table.name, codes, of, sum(parts.values()), parts, cases):
            return {"state": "suppressed"}
        bins = [bin_of(kind, truth, table, codes, flag, hides) for flag in kind.bins]
        return {"state": "value", "n": sum(parts.values()), "bins": bins}
    family, flag = (of, "*") if of in MAGNITUDES else ("count", FLAGS[of])
    parts = truth.of(family, kind.key(codes, flag))
    total = sum(parts.values())
    if hides(table.name, codes, of, total, parts, cases):
        return {"state": "suppressed"}
    if of == "mean":
        return {"state": "value", "n": truth.total("count", kind.key(codes, "measured")), "sum": total}
    step = measure.get("step", 1)
    return {"state": "value", "value": (total + step // 2) // step * step}


def bin_of(kind, truth, table, codes, flag, hides):
    parts = truth.of("count", kind.key(codes, flag))
    total = sum(parts.values())
    return {"state": "suppressed"} if hides(table.name, codes, flag, total, parts, len(parts)) else {"state": "value", "value": total}


def primary(rules):
    """Hides what breaks a primary rule, and nothing else."""
    def hides(_table, _codes, of, _total, parts, cases):
        if of == "mean":
            return len(parts) < max(rules.k, 20)
        return rules.unsafe_magnitude(parts.values(), cases) if of in MAGNITUDES else rules.few(cases) or rules.few(len(parts))
    return hides


def write(path, cells):
    pathlib.Path(path).write_text(json.dumps({"result": {"cells": cells}}), encoding="utf-8")


def main(path):
    # The folder has lines and no editions yet.
    path = pathlib.Path(path)
    if not (path / "edition-1.json").exists():
        write(path / "edition-1.json", [])
    folder = Folder(path)
    number = 1
    while (path / f"lines-{number}.json").exists():
        write(path / f"edition-{number}.json", cells_of(folder, read_lines(path / f"lines-{number}.json"), primary(folder.rules)))
        number += 1


if __name__ == "__main__":
    main(sys.argv[1])
