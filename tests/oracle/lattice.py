"""Code trees and the catalogue's tables, derived from the data files alone.

A node of a tree is known by its number; what counts is the set of leaves below it. Two codes with the same leaves (`M2` and `rail`, or
`_T` and the only child) are one node here: they hold the same lines, so their cells are one number.
"""
import csv
import hashlib
import itertools
import pathlib
import tomllib

# What a line is counted under when nothing is known about it.
UNKNOWN = "_U"
# Measures that are sums of amounts, with what a line calls the amount; the others count lines. A mean with its number is a sum.
MAGNITUDES = {"mass_mg": "mass_mg", "tablets": "tablets", "doses": "doses", "volume_ml": "volume_ml", "mean": "value"}


class Tree:
    """A code list as one provider uses it: rows (code, parent, level), parents first; levels that no row may have are given."""

    def __init__(self, rows, levels=()):
        self.codes, self.parent, self.level, self.children, self.index = [], [], [], [], {}
        self.levels = list(levels)
        for code, parent, level in rows:
            if level not in self.levels:
                self.levels.append(level)
            number = len(self.codes)
            self.index[code] = number
            self.codes.append(code)
            self.parent.append(self.index[parent] if parent else None)
            self.level.append(self.levels.index(level))
            self.children.append([])
            if parent:
                self.children[self.index[parent]].append(number)
        self.leaves = [frozenset()] * len(self.codes)
        for node in reversed(range(len(self.codes))):
            below = [self.leaves[child] for child in self.children[node]]
            self.leaves[node] = frozenset().union(*below) if below else frozenset([node])
        self.same = {}
        # Later rows are deeper: the deepest code with these leaves stands for all of them.
        for node, leaves in enumerate(self.leaves):
            self.same[leaves] = node
        self.everything = frozenset(leaf for leaf in range(len(self.codes)) if not self.children[leaf])

    def canonical(self, code):
        """The node that stands for a code."""
        return self.same[self.leaves[self.index[code]]]

    def at_level(self, name):
        """The codes of a level."""
        level = self.levels.index(name)
        return [code for code, at in zip(self.codes, self.level) if at == level]

    def ancestor(self, leaf, name):
        """The code of a level above a leaf, itself included; None where the branch does not reach the level."""
        level = self.levels.index(name)
        node = leaf
        while node is not None and self.level[node] != level:
            node = self.parent[node]
        return None if node is None else self.codes[node]

    def leaf(self, code):
        """The leaf of a stated code: itself, or the unknown child."""
        node = self.index[code]
        if not self.children[node]:
            return node
        return self.index[code + UNKNOWN if code + UNKNOWN in self.index else UNKNOWN]

    def atoms(self, level_names):
        """The finest sets of leaves that codes of these levels can tell apart."""
        finest = max(self.levels.index(name) for name in level_names)
        found, stack = [], [node for node, parent in enumerate(self.parent) if parent is None]
        while stack:
            node = stack.pop()
            if any(self.level[child] <= finest for child in self.children[node]):
                stack.extend(self.children[node])
            else:
                found.append(self.leaves[node])
        return found


def time_tree(year):
    """Month in quarter in year, each inner node with its unknown child."""
    rows = [(year, "", "year")]
    for quarter in range(1, 5):
        name = f"{year}-Q{quarter}"
        rows.append((name, year, "quarter"))
        rows += [(f"{year}-{month:02}", name, "month") for month in range(quarter * 3 - 2, quarter * 3 + 1)]
        rows.append((name + UNKNOWN, name, "month"))
    return Tree([*rows, (year + UNKNOWN, year, "quarter")])


class Lists:
    """The code lists of a folder."""

    def __init__(self, folder, country):
        self.folder, self.country, self.trees = pathlib.Path(folder), country, {}

    def rows(self, name):
        with open(self.folder / f"{name}.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def digest(self, name):
        # Pairs are made from the groups of the drug list.
        file = "drugs-1" if name == "drug-pairs-1" else name
        return hashlib.sha256((self.folder / f"{file}.csv").read_bytes()).hexdigest()

    def tree(self, name):
        if name not in self.trees:
            # A country without regions has the finer levels all the same, with nothing on them.
            self.trees[name] = Tree(self.make(name), ("nuts0", "nuts1", "nuts2") if name == "nuts-2021" else ())
        return self.trees[name]

    def make(self, name):
        if name == "nuts-2021":
            return self.regions()
        if name == "drug-pairs-1":
            groups = [code for code in self.tree("drugs-1").at_level("group") if code != UNKNOWN]
            return [(f"{a}+{b}", "", "pair") for a, b in itertools.combinations(groups, 2)]
        return [(row["code"], row["parent"], row["level"]) for row in self.rows(name) if row["level"] != "alias"]

    def regions(self):
        rows = [("_T", "", "nuts0"), (UNKNOWN, "_T", "nuts1")]
        for row in self.rows("nuts-2021"):
            code = row["code"]
            if row["country"] != self.country or len(code) not in (3, 4):
                continue
            if len(code) == 3:
                rows += [(code, "_T", "nuts1"), (code + UNKNOWN, code, "nuts2")]
            else:
                rows.append((code, code[:3], "nuts2"))
        return rows


class Table:
    """One table: its dimensions, measures, and which measures each combination of levels has."""

    def __init__(self, raw):
        self.name, self.kind, self.margins = raw["name"], raw["kind"], raw.get("margins", True)
        self.dimensions = [dimension["name"] for dimension in raw["dimension"]]
        self.lists = {dimension["name"]: dimension["list"] for dimension in raw["dimension"]}
        self.measures = {measure["id"]: measure for measure in raw["measure"]}
        self.level_sets = {}
        for grid in raw["grid"]:
            for levels in itertools.product(*(grid["levels"][name] for name in self.dimensions)):
                self.level_sets.setdefault(levels, set()).update(grid["measures"])

    def of(self, levels):
        """What the measures of a combination of levels count or add up."""
        return {self.measures[measure]["of"] for measure in self.level_sets[levels]}

    def further(self):
        """The dimensions beyond the hub."""
        return [name for name in self.dimensions if name not in ("time", "drug")]


def read_catalogue(path, lists):
    """The tables of a catalogue, checked against the lists it was written for."""
    raw = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    for row in raw["list"]:
        if lists.digest(row["name"]) != row["sha256"]:
            raise ValueError(f"code list {row['name']} has another content than the catalogue was written for")
    return [Table(table) for table in raw["table"]]


def weight_is_mass(code):
    """Whether a weight band says that its lines have a mass: every line with a mass stands in a band, and no other line does."""
    return code not in ("_Z", UNKNOWN)


def flag_tree(tables):
    """What is said of a line beside its dimensions: weighed or not, measured or not and in which bin."""
    bins = []
    for table in tables:
        for measure in table.measures.values():
            if measure.get("bins") and measure["bins"] not in bins:
                bins.append(measure["bins"])
    if len(bins) > 1:
        raise ValueError("the tables of one kind of record have one set of bins")
    kind = tables[0].kind
    if kind == "seizure":
        return Tree([("*", "", "0"), ("weighed", "*", "1"), ("unweighed", "*", "1")])
    rows = [("*", "", "0"), ("measured", "*", "1")]
    # A price without a value is no price, so there is nothing unmeasured to hide behind.
    if kind != "price":
        rows.append(("unmeasured", "*", "1"))
    above = [("measured", -1, float("inf"))]
    for depth, level in enumerate(bins[0] if bins else []):
        here = []
        for start, end in itertools.pairwise(level["edges"]):
            code = f"bin{depth}:{start}:{end}"
            rows.append((code, next(name for name, a, b in above if a <= start and end <= b), str(depth + 2)))
            here.append((code, start, end))
        above = here
    return Tree(rows)
