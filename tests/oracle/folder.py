"""Reading a folder: catalogue and code lists, rules, and for each edition the lines behind it and what everybody was given."""
import collections
import json
import pathlib

from lattice import Lists, read_catalogue
from release import Release, read_edition
from truth import Kind, Rules, Truth, pairs, read_lines


class BadInput(Exception):
    """The folder cannot be audited; nothing is known about leaks."""


class Folder:
    """The input of the oracle."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            self.rules = Rules(json.loads((self.path / "rules.json").read_text(encoding="utf-8")))
            self.lists = Lists(self.path / "lists", self.rules.country)
            self.tables = read_catalogue(self.path / "catalogue.toml", self.lists)
            self.lines, self.cells, self.corrected, self.waived = [], [], [], []
            while (self.path / f"edition-{len(self.cells) + 1}.json").exists():
                number = len(self.cells) + 1
                self.lines.append(read_lines(self.path / f"lines-{number}.json"))
                # The same edition as given to others stands beside it as edition-N-NAME.json.
                files = [self.path / f"edition-{number}.json", *sorted(self.path.glob(f"edition-{number}-*.json"))]
                self.cells.append([cell for file in files for cell in read_edition(file)])
                # Whether two people agreed to make it anew, and of which numbers they were told that they can perhaps be narrowed.
                corrected = self.path / f"corrected-{number}.json"
                self.corrected.append(json.loads(corrected.read_text(encoding="utf-8"))["narrows"] if corrected.exists() else None)
                # Cells that are public anyway, as two people agreed.
                waived = self.path / f"waived-{number}.json"
                self.waived = json.loads(waived.read_text(encoding="utf-8")) if waived.exists() else self.waived
        except (OSError, KeyError, ValueError) as error:
            raise BadInput(f"{type(error).__name__}: {error}") from error
        if not self.cells:
            raise BadInput(f"{self.path} holds no edition-1.json")

    def blocks(self):
        """The kinds and years that were released, in order."""
        kinds = {table.name: table.kind for table in self.tables}
        try:
            return sorted({(kinds[cell["table"]], cell["key"]["time"][:4]) for cells in self.cells for cell in cells})
        except KeyError as error:
            raise BadInput(f"a cell of an unknown table, or without a time: {error}") from error

    def spans(self, kind, year):
        """The runs of editions, first and last, over which a block is protected as a whole. A correction that names numbers which can
        perhaps be narrowed ends one, and the next begins with it: what comes is not protected against who has older editions."""
        first, last = 0, len(self.cells) - 1
        for edition, narrows in enumerate(self.corrected):
            if any((one["kind"], one["key"]["time"][:4]) == (kind, year) for one in narrows or ()):
                yield first, edition
                first = edition
        yield first, last

    def release(self, kind, year, span):
        """Everything that was released about one kind and year, from the first edition of a span to its last."""
        first, last = span
        tables = [table for table in self.tables if table.kind == kind]
        of = Kind(kind, year, tables, self.lists)
        vintages, truths, before = [None] * first, [], None
        for lines in self.lines[first:last + 1]:
            mine = lines.get((kind, year), [])
            now = sorted(json.dumps(line, sort_keys=True) for line in mine)
            if now != before:
                truths.append(Truth(of, mine))
                before = now
            vintages.append(len(truths) - 1)
        release = Release(of, self.rules, truths, vintages)
        for cell in self.waived:
            if cell["table"] in release.tables and cell["key"]["time"][:4] == year:
                release.waive(cell)
        for edition, vintage in enumerate(vintages):
            if vintage is None:
                continue
            if self.corrected[edition] is not None:
                release.corrected.add(vintage)
            if edition > first:
                for one in self.corrected[edition] or ():
                    if one["table"] in release.tables and one["key"]["time"][:4] == year:
                        release.narrow(one)
            for cell in self.cells[edition]:
                table = release.tables.get(cell["table"])
                if table and table.margins and cell["key"]["time"][:4] == year:
                    release.read(edition, cell)
        release.settle()
        return release

    def loose(self, kind, year):
        """What is wrong with the tables without margins, which nothing is linked to: an untrue number or one of few cases."""
        faults = []
        tables = {table.name: table for table in self.tables if table.kind == kind and not table.margins}
        shown = [
            (edition, cell, name, value["value"]) for edition, cells in enumerate(self.cells) for cell in cells
            if cell["table"] in tables and cell["key"]["time"][:4] == year
            for name, value in cell["values"].items() if value["state"] == "value"
        ]
        known = {}
        for edition, cell, name, number in shown:
            table = tables[cell["table"]]
            said = {"measure": name, "cell": cell["key"], "edition": edition + 1, "value": number}
            # A carried number is the truth of an earlier edition.
            for at in range(edition, -1, -1):
                if (at, table.name) not in known:
                    known[at, table.name] = self.counts(table, year, at)
                lines, cases = known[at, table.name].get(tuple(cell["key"][dimension] for dimension in table.dimensions), (0, 0))
                if number == (cases if table.measures[name]["of"] == "cases" else lines):
                    if self.rules.few(cases):
                        faults.append({"leak": "unsafe_shown", **said})
                    break
            else:
                faults.append({"leak": "untrue", **said})
        return faults

    def counts(self, table, year, edition):
        """Lines and cases of the cells of a table without margins."""
        if "pair" in table.dimensions:
            found = pairs(self.lines[edition], self.lists, year)
            return {(year, pair): (cases, cases) for pair, cases in found.items()}
        of = Kind(table.kind, year, [table], self.lists)
        found = collections.defaultdict(list)
        for line in self.lines[edition].get((table.kind, year), []):
            leaves = of.leaves(line)
            for levels in table.level_sets:
                codes = tuple(of.trees[name].ancestor(leaves[name], level) for name, level in zip(table.dimensions, levels))
                if None not in codes:
                    found[codes].append(line["case"])
        return {codes: (len(cases), len(set(cases))) for codes, cases in found.items()}
