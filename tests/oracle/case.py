"""Folders in the making, for the tests: trees and tables in a few words, lines, and editions by what they hide."""
import atexit
import collections
import hashlib
import json
import pathlib
import tempfile

import oracle
import publish
from folder import Folder

SCRATCH = tempfile.TemporaryDirectory(prefix="oracle-")
atexit.register(SCRATCH.cleanup)
RULES = {"country": "NL", "k": 5, "p_percent": 15, "dominance_percent": 75, "zeros": "hidden"}


def scratch():
    """A new empty folder; all go when the tests end."""
    return pathlib.Path(tempfile.mkdtemp(dir=SCRATCH.name))


class Case:
    """A folder in the making: trees as {code: parent}, tables by dimensions and levels, then editions."""

    def __init__(self, trees, tables, **rules):
        self.path = scratch()
        (self.path / "lists").mkdir()
        self.count = 0
        self.put("rules.json", {**RULES, **rules})
        catalogue = []
        for name, rows in trees.items():
            text = "code,parent,level\n" + "".join(f"{code},{parent},{level}\n" for code, parent, level in rows)
            (self.path / "lists" / f"{name}.csv").write_text(text)
            catalogue.append(f'[[list]]\nname = "{name}"\nsha256 = "{hashlib.sha256(text.encode()).hexdigest()}"\n')
        (self.path / "catalogue.toml").write_text("\n".join(catalogue + tables))

    def put(self, name, value):
        (self.path / name).write_text(json.dumps(value))

    def edition(self, lines, hidden, changed=None):
        """One more edition; `hidden(codes, of)` says what is not shown, `changed(cells)` works on the cells before they are written."""
        self.count += 1
        self.put(f"lines-{self.count}.json", lines)
        if self.count == 1:
            self.put("edition-1.json", {"cells": []})
        by_block = collections.defaultdict(list)
        for line in lines:
            by_block[line["kind"], line["time"][:4]].append(line)
        cells = publish.cells_of(Folder(self.path), by_block, lambda _table, codes, of, *_: hidden(codes, of))
        if changed:
            changed(cells)
        self.put(f"edition-{self.count}.json", {"cells": cells})
        return self

    def run(self, *arguments):
        return oracle.run(str(self.path), oracle.options([str(self.path), *arguments]))


def table(number, kind, dimensions, measures, grid):
    """A table of a catalogue: dimensions {name: list}, measures {id: of}, grid [{dimension: levels}]."""
    text = f'[[table]]\nid = {number}\nname = "t{number}"\nkind = "{kind}"\n'
    for name, of in dimensions.items():
        text += f'[[table.dimension]]\nname = "{name}"\nlist = "{of}"\n'
    for name, of in measures.items():
        text += f'[[table.measure]]\nid = "{name}"\nof = "{of}"\n'
    for levels in grid:
        inner = ", ".join(f"{name} = {json.dumps(some)}" for name, some in levels.items())
        text += f"[[table.grid]]\nlevels = {{ {inner} }}\nmeasures = {json.dumps(list(measures))}\n"
    return text


def flat(*codes, level="code"):
    return [("_T", "", "all"), *((code, "_T", level) for code in codes)]


def lines(cells, start=0, **same):
    """One line and one case for each unit of {(drug, region, ...): number}."""
    found = []
    for codes, number in cells.items():
        for _ in range(number):
            found.append({"kind": "seizure", "case": f"c{start + len(found)}", "time": "2011-01", **same, **codes_of(codes)})
    return found


def codes_of(codes):
    return dict(zip(("drug", "region", "form"), codes if isinstance(codes, tuple) else (codes,)))
