"""Everything that was ever released about one kind and year: which number, in which edition, and the truth of which vintage it tells.

A vintage is a run of editions over which the lines of the block stay the same. A released number is about the vintage in which its
value last changed: an unchanged number and a carried one are the same bytes, so the later edition says nothing new.
"""
import collections
import json

from lattice import MAGNITUDES
from truth import MEAN_CASES_MIN, MILLIGRAMS_PER_KG

OPEN_EDGE = (1 << 53) - 1
# What a number is called in the tree of flags.
FLAGS = {"lines": "*", "lines_weighed": "weighed", "lines_measured": "measured"}


def read_edition(path):
    """The cells of an edition, or of the result that holds them."""
    with open(path, encoding="utf-8") as file:
        said = json.load(file)
    return said.get("result", said)["cells"]


def numbers_of(measure, value):
    """The numbers of one measure of a cell: (family, flag, what it is of, state, value)."""
    of, state = measure["of"], value["state"]
    if of == "mean":
        # A hidden mean says nothing of its number of lines.
        lines = [("count", "measured", of, state, value["n"])] if state == "value" else []
        return [*lines, ("mean", "*", of, state, value.get("sum"))]
    if of in MAGNITUDES:
        return [(of, "*", of, state, value.get("value"))]
    if of in FLAGS:
        return [("count", FLAGS[of], of, state, value.get("value"))]
    found = [("count", "measured", "histogram", state, value.get("n"))]
    bins = [
        (f"bin{depth}:{start}:{end}", start, end)
        for depth, level in enumerate(measure["bins"]) for start, end in zip(level["edges"], level["edges"][1:])
    ]
    said = value.get("bins") if state == "value" else [{"state": state}] * len(bins)
    if len(said) != len(bins):
        raise ValueError(f"{measure['id']}: {len(said)} bins instead of {len(bins)}")
    for (flag, start, end), one in zip(bins, said):
        if "from" in one and (one["from"], one["to"] or OPEN_EDGE) != (start, end):
            raise ValueError(f"{measure['id']}: bin {one['from']} stands where {start} should")
        found.append(("count", flag, "bin", one["state"], one.get("value")))
    return found


class Source:
    """One place where a number stands: a table at a combination of levels."""

    def __init__(self, table, levels, of, step):
        self.table, self.levels, self.of, self.step = table, levels, of, step

    def rounded(self, number):
        return (number + self.step // 2) // self.step * self.step

    def tells(self, number, exact, lines):
        """Whether a published number is what this exact number comes to. A mean is rounded for each line, whatever sum is given."""
        if self.of == "mean":
            return abs(number - exact) <= self.step * lines
        return number == self.rounded(exact)


class Row:
    """A shown number: the exact truth of the vintage that it tells."""

    def __init__(self, family, key, vintage, value, edition, source, public=False):
        self.family, self.key, self.vintage, self.value, self.edition, self.source = family, key, vintage, value, edition, source
        # Known from elsewhere, and in no edition.
        self.public = public


class Release:
    """The numbers of one kind and year over all editions, with what is wrong with them on the face of it."""

    def __init__(self, kind, rules, truths, vintages):
        self.kind, self.rules, self.truths, self.vintages = kind, rules, truths, vintages
        # (family, key) to edition to what its sources say; and to its sources.
        self.said = collections.defaultdict(lambda: collections.defaultdict(list))
        self.sources = collections.defaultdict(dict)
        # What is news, by the vintage that it tells; and what is shown and true in a vintage, news or not.
        self.rows = collections.defaultdict(list)
        self.held = collections.defaultdict(dict)
        self.faults = []
        # What is public anyway, by family and key.
        self.waived = collections.defaultdict(set)
        # Vintages that two people agreed to make anew: anybody may see what changed in them.
        self.corrected = set()
        # Numbers, by family and key, of which they were told that who has the editions before can perhaps narrow them.
        self.narrowed = set()
        self.tables = {table.name: table for table in kind.tables}
        self.levels = {}

    def fault(self, what, family, key, edition, **more):
        self.faults.append({"leak": what, "measure": family, "cell": self.kind.words(key), "edition": edition + 1, **more})

    def read(self, edition, cell):
        """Takes in one cell of an edition."""
        table, codes = self.tables[cell["table"]], cell["key"]
        levels = tuple(self.level(name, codes[name]) for name in table.dimensions)
        for name, value in cell["values"].items():
            measure = table.measures[name]
            for family, flag, of, state, number in numbers_of(measure, value):
                key = self.kind.key(codes, flag)
                at = (table.name, levels, of)
                if at not in self.sources[family, key]:
                    self.sources[family, key][at] = Source(table, levels, of, measure.get("step", 1))
                self.said[family, key][edition].append((self.sources[family, key][at], state, number))

    def waive(self, cell):
        """Notes the numbers of a cell that are public anyway."""
        codes, table = cell["key"], self.tables[cell["table"]]
        for name, value in cell["values"].items():
            for family, flag, *_ in numbers_of(table.measures[name], {"state": "value", "value": value}):
                self.waived[family, self.kind.key(codes, flag)].add(value)

    def narrow(self, one):
        """Notes a number of which two people were told that it can perhaps be narrowed."""
        measure = self.tables[one["table"]].measures[one["measure"]]
        for family, flag, *_ in numbers_of(measure, {"state": "suppressed"}):
            self.narrowed.add((family, self.kind.key(one["key"], flag)))

    def is_public(self, family, key, vintage):
        """Whether a number is public anyway, and the records of a vintage say what is public."""
        return self.truths[vintage].total(family, key) in self.waived.get((family, key), ())

    def at_most(self, family, key, vintage):
        """What a count is at most, because a public one contains it."""
        limits = [
            self.truths[vintage].total(of, whole) for of, whole in self.waived
            if of == family and self.is_public(of, whole, vintage) and self.kind.contains(whole, key)
        ]
        return min(limits, default=None)

    def level(self, name, code):
        tree = self.kind.trees[name]
        return tree.levels[tree.level[tree.index[code]]]

    def settle(self):
        """Makes rows of what was read, and looks for numbers that should not be there or contradict each other."""
        for (family, key), editions in self.said.items():
            before = None
            for edition in sorted(editions):
                shown = [(source, number) for source, state, number in editions[edition] if state == "value"]
                self.agree(family, key, edition, editions[edition])
                if not shown:
                    continue
                source, number = shown[0]
                if number != before:
                    before = number
                    self.tell(family, key, edition, source, number)
                self.hold(family, key, self.vintages[edition], number, edition, source)
        for (family, key), rows in list(self.rows.items()):
            for row in rows:
                self.judge(row, family, key)
        self.add_up()
        self.totals()

    def agree(self, family, key, edition, said):
        """The same cell has the same value and state wherever it stands."""
        by_of = collections.defaultdict(set)
        for source, state, number in said:
            by_of[source.of].add((state, number))
        values = {number for _, state, number in said if state == "value"}
        if len(values) > 1 or any(len(states) > 1 for states in by_of.values()):
            self.fault("differs_between_tables", family, key, edition, values=sorted(values))
        if any(number < 0 for number in values):
            self.fault("negative", family, key, edition, values=sorted(values))

    def tell(self, family, key, edition, source, number):
        """A new value is the truth of this edition's vintage, or of an earlier one that is only published now."""
        for vintage in range(self.vintages[edition], -1, -1):
            if self.hold(family, key, vintage, number, edition, source):
                row = self.held[family, key][vintage]
                if row not in self.rows[family, key]:
                    self.rows[family, key].append(row)
                    self.rows[family, key].sort(key=lambda row: row.vintage)
                return
        self.fault("untrue", family, key, edition, value=number, truth=self.truths[self.vintages[edition]].total(family, key))

    def hold(self, family, key, vintage, number, edition, source):
        """Notes that a shown number is true in a vintage, if it is."""
        exact = self.truths[vintage].total(family, key)
        true = source.tells(number, exact, len(self.truths[vintage].lines))
        if true and vintage not in self.held[family, key]:
            self.held[family, key][vintage] = Row(family, key, vintage, exact, edition, source)
        return true

    def unsafe(self, family, key, truth):
        """Whether a number made of these lines breaks a primary rule."""
        parts = truth.of(family, key)
        cell = key[:2] + (self.kind.root_flag,) + key[3:]
        if family == "mean":
            return self.rules.few(len(parts))
        if family != "count":
            return self.rules.unsafe_magnitude(parts.values(), len(truth.of("count", cell)))
        of = {source.of for source in self.sources[family, key].values()}
        # Numbers of weighed lines share the hidden set of the lines.
        follows_cell = of == {"lines_weighed"} or (not self.rules.measured_by_values and "lines_measured" in of)
        return self.rules.few(len(truth.of("count", cell) if follows_cell else parts))

    def judge(self, row, family, key):
        """An unsafe number is not shown, nor is an exact mean of few."""
        if self.unsafe(family, key, self.truths[row.vintage]) and not self.is_public(family, key, row.vintage):
            self.fault("unsafe_shown", family, key, row.edition, value=row.value)
        for source, state, _ in self.said[family, key][row.edition]:
            cases = len(self.truths[row.vintage].of(family, key))
            if source.of == "mean" and state == "value" and cases < max(MEAN_CASES_MIN, self.rules.k):
                self.fault("unsafe_shown", "mean", key, row.edition, cases=cases)

    def add_up(self):
        """Shown children of one vintage never exceed their shown parent."""
        by_vintage = collections.defaultdict(dict)
        for (family, key), rows in self.rows.items():
            # The sums that stand for means are rounded line by line.
            for row in rows if family != "mean" else []:
                by_vintage[family, row.vintage][key] = row
        for (family, _), rows in by_vintage.items():
            for key, row in rows.items():
                for children in self.children(key):
                    shown = [rows[child] for child in children if child in rows]
                    published = sum(child.source.rounded(child.value) for child in shown)
                    slack = (len(shown) + 1) * (row.source.step // 2)
                    if published > row.source.rounded(row.value) + slack:
                        self.fault("children_exceed_parent", family, key, row.edition, children=published, parent=row.value)

    def children(self, key):
        """The cells right below a cell, along each dimension in turn."""
        time, drug, flag, further = key
        trees = self.kind.trees
        canonical = lambda tree, node: [tree.same[tree.leaves[child]] for child in tree.children[node]]
        yield [(child, drug, flag, further) for child in canonical(trees["time"], time)]
        yield [(time, child, flag, further) for child in canonical(trees["drug"], drug)]
        yield [(time, drug, child, further) for child in canonical(trees["flag"], flag)]
        for name, node in further:
            rest = [pair for pair in further if pair[0] != name]
            yield [(time, drug, flag, tuple(sorted([*rest, (name, child)]))) for child in canonical(trees[name], node)]

    def totals(self):
        """The national total of a year is known from public reports if it is not small, whether it is shown or not."""
        key = self.kind.key({"time": self.kind.year, "drug": "_T"})
        for edition, said in sorted(self.said.get(("count", key), {}).items()):
            vintage, truth = self.vintages[edition], self.truths[self.vintages[edition]]
            if self.available(said) and vintage not in self.held["count", key] and len(truth.of("count", key)) >= self.rules.k:
                source = next(iter(self.sources["count", key].values()))
                row = Row("count", key, vintage, truth.total("count", key), edition, source, public=True)
                self.held["count", key][vintage] = row
                if not self.rows["count", key]:
                    self.rows["count", key].append(row)

    @staticmethod
    def available(said):
        return any(state != "not_available" for _, state, _ in said)

    def protected(self, vintage):
        """The numbers that are available and unsafe in a vintage: (family, key, source)."""
        for family, key in self.availability(vintage):
            source = self.source(family, key)
            if source and self.unsafe(family, key, self.truths[vintage]) and not self.is_public(family, key, vintage):
                yield family, key, source

    def source(self, family, key):
        """A place where a number stands by itself: a number of weighed lines shares the state of the lines."""
        return next((source for source in self.sources[family, key].values() if source.of != "lines_weighed"), None)

    def quantum(self, source):
        """The smallest distance that counts as protection: a kilogram, or one step of what is not weighed."""
        return MILLIGRAMS_PER_KG if source.of == "mass_mg" else source.step

    def availability(self, vintage):
        """The numbers that are available in a vintage."""
        return [
            at for at, editions in self.said.items()
            if any(self.vintages[edition] == vintage and self.available(said) for edition, said in editions.items())
        ]
