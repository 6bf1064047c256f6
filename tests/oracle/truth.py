"""What the tester knows: lines to numbers, each number with its parts by case, and the primary rules on them.

A number is named by a key (time, drug, flag, further): nodes of the trees, further dimensions only where they are not the total. Two
tables that hold the same cell give the same key, which is what makes it one number.
"""
import collections
import json

from lattice import MAGNITUDES, UNKNOWN, Tree, flag_tree, time_tree, weight_is_mass

MILLIGRAMS_PER_KG = 1_000_000
MEAN_CASES_MIN = 20


class Rules:
    """The rules of an edition. `measured` says whether a number of measured lines has a threshold of its own."""

    def __init__(self, raw):
        self.country, self.k, self.zeros_shown = raw["country"], raw["k"], raw["zeros"] == "shown"
        self.p_percent, self.dominance_percent = raw["p_percent"], raw["dominance_percent"]
        self.measured_by_values = raw.get("measured", "values") == "values"

    def width(self):
        """How far the interval of a protected count reaches."""
        return max(self.k - 2, 2) if self.zeros_shown else self.k

    def few(self, cases):
        """The threshold rule on a number of distinct cases."""
        return cases < self.k and not (cases == 0 and self.zeros_shown)

    def unsafe_magnitude(self, parts, cases):
        """The three rules on the parts of the distinct cases."""
        parts = sorted((part for part in parts if part), reverse=True)
        if not parts:
            return cases > 0 or not self.zeros_shown
        if len(parts) < self.k:
            return True
        total, first, second = sum(parts), parts[0], parts[1]
        return 100 * first > self.dominance_percent * total or 100 * (total - first - second) < self.p_percent * first

    def reach(self, parts, quantum):
        """How far the interval of a protected magnitude reaches to each side."""
        largest = max(parts, default=0)
        return max(-(-self.p_percent * largest // 100), quantum)


class Kind:
    """The tables of one kind of record and year, with their trees."""

    def __init__(self, kind, year, tables, lists, bands=True):
        self.kind, self.year, self.tables = kind, year, tables
        self.trees = {"time": time_tree(year), "flag": flag_tree(tables)}
        for table in tables:
            for dimension, name in table.lists.items():
                if name != "time":
                    self.trees[dimension] = lists.tree(name)
        if "drug" not in self.trees:
            self.trees["drug"] = Tree([("_T", "", "all")])
        self.derived = {"weight"} if bands and "weight" in self.trees and kind == "seizure" else set()
        self.bins = [code for code in self.trees["flag"].codes if code.startswith("bin")]
        self.root_flag = self.trees["flag"].canonical("*")

    def key(self, codes, flag="*"):
        """The key of a cell and what is said of its lines, from codes by dimension."""
        trees = self.trees
        further = tuple(sorted(
            (name, trees[name].canonical(code)) for name, code in codes.items()
            if name not in ("time", "drug") and trees[name].leaves[trees[name].index[code]] != trees[name].everything
        ))
        time, drug = trees["time"].canonical(codes["time"]), trees["drug"].canonical(codes.get("drug", "_T"))
        return time, drug, trees["flag"].canonical(flag), further

    def contains(self, whole, part):
        """Whether all lines of one number are lines of another."""
        within = lambda name, one, other: self.trees[name].leaves[other] <= self.trees[name].leaves[one]
        further = dict(part[3])
        return (
            within("time", whole[0], part[0]) and within("drug", whole[1], part[1]) and within("flag", whole[2], part[2])
            and all(name in further and within(name, node, further[name]) for name, node in whole[3])
        )

    def words(self, key):
        """A key for people."""
        time, drug, flag, further = key
        said = {"time": self.trees["time"].codes[time], "drug": self.trees["drug"].codes[drug]}
        said |= {name: self.trees[name].codes[node] for name, node in further}
        if flag != self.root_flag:
            said["of"] = self.trees["flag"].codes[flag]
        return said

    def leaf_flag(self, line):
        """The leaf that a line has in the tree of flags."""
        if self.kind == "seizure":
            return self.trees["flag"].index["unweighed" if line.get("mass_mg") is None else "weighed"]
        value, found = line.get("value"), "measured"
        if value is None:
            return self.trees["flag"].index["unmeasured"] if self.kind != "price" else self.trees["flag"].index["measured"]
        for code in self.bins:
            start, end = map(int, code.split(":")[1:])
            if start <= value < end:
                found = code
        return self.trees["flag"].index[found]

    def leaves(self, line):
        """The leaf of a line in every tree."""
        found = {"flag": self.leaf_flag(line)}
        for name, tree in self.trees.items():
            if name == "time":
                time = line["time"]
                found[name] = tree.leaf(time)
            elif name not in ("flag", "pair"):
                found[name] = tree.leaf(line.get(name) or (UNKNOWN if UNKNOWN in tree.index else tree.codes[0]))
        for name in self.derived:
            # The band and the mass say the same; a line that contradicts itself is a fault of the test data.
            if weight_is_mass(self.trees[name].codes[found[name]]) != (line.get("mass_mg") is not None):
                raise ValueError(f"case {line['case']}: weight band and mass contradict each other")
        return found


def read_lines(path):
    """The lines of one edition, by kind and year."""
    by_block = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in json.load(file):
            by_block[line["kind"], line["time"][:4]].append(line)
    return by_block


class Truth:
    """The numbers of one kind, year and vintage: for each family of measures, key to parts by case."""

    def __init__(self, kind, lines):
        self.kind, self.lines = kind, lines
        self.leaves = [kind.leaves(line) for line in lines]
        self.parts = {"count": {}, **{name: {} for name in MAGNITUDES}}
        for table in kind.tables:
            if table.margins:
                for levels in table.level_sets:
                    self.add(table, levels)

    def add(self, table, levels):
        """Adds up the lines for one combination of levels; a second table with the same cells gives the same numbers."""
        kind, of = self.kind, table.of(levels)
        flags = self.flags(of)
        local = {family: collections.defaultdict(dict) for family in self.parts}
        seen = {}
        for line, leaves in zip(self.lines, self.leaves):
            at = tuple(leaves[name] for name in table.dimensions)
            if at not in seen:
                codes = {
                    name: kind.trees[name].ancestor(leaf, level) for name, leaf, level in zip(table.dimensions, at, levels)
                }
                seen[at] = None if None in codes.values() else kind.key(codes)
            key = seen[at]
            if key is None:
                continue
            case = line["case"]
            for flag in flags[leaves["flag"]]:
                parts = local["count"][key[:2] + (flag,) + key[3:]]
                parts[case] = parts.get(case, 0) + 1
            for family, amount in MAGNITUDES.items():
                if family in of and line.get(amount) is not None:
                    parts = local[family][key]
                    parts[case] = parts.get(case, 0) + line[amount]
        for family, numbers in local.items():
            self.parts[family].update(numbers)

    def flags(self, of):
        """For each leaf of the tree of flags, the nodes above it: a line counts in each of them."""
        tree = self.kind.trees["flag"]
        nodes = set(tree.same.values())
        if not of & {"lines_weighed", "lines_measured", "mean", "histogram"}:
            nodes = {tree.canonical("*")}
        return {leaf: [node for node in nodes if leaf in tree.leaves[node]] for leaf in tree.everything}

    def of(self, family, key):
        """The parts of a number, by case."""
        return self.parts[family].get(key, {})

    def total(self, family, key):
        return sum(self.of(family, key).values())


def pairs(all_lines, lists, year):
    """Cases by pair of drug groups: a case stands in the year of its first seizure, once under each of its pairs."""
    tree = lists.tree("drugs-1")
    first, groups = {}, collections.defaultdict(set)
    for (kind, of_year), lines in all_lines.items():
        for line in lines if kind == "seizure" else []:
            first[line["case"]] = min(of_year, first.get(line["case"], of_year))
            group = tree.ancestor(tree.leaf(line["drug"]), "group")
            if group != UNKNOWN:
                groups[line["case"]].add(group)
    order = tree.at_level("group")
    found = collections.Counter()
    for case, held in groups.items():
        if first[case] == year:
            held = sorted(held, key=order.index)
            found.update(f"{a}+{b}" for at, a in enumerate(held) for b in held[at + 1:])
    return found
