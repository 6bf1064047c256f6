"""The unknowns: one whole number for each base cell of each table of a star, and one for each base cell of the hub.

Codes that no shown number tells apart are one atom. That is exact: in a solution everything that the atom holds can be given to any
one of its codes, so the largest value of a cell counts every atom that it touches, and the smallest only those that it covers.
"""
import collections

from lattice import MAGNITUDES, weight_is_mass

SHARED = ("time", "drug", "flag")
COUNTS = {"lines", "lines_weighed", "lines_measured", "mean", "histogram"}
FLAGGED = COUNTS - {"lines"}


class Axis:
    """One dimension of a block: its atoms, as sets of leaves."""

    def __init__(self, tree, atoms):
        self.tree, self.atoms = tree, atoms
        self.at = {leaf: index for index, atom in enumerate(atoms) for leaf in atom}
        self.everything = list(range(len(atoms)))
        self.known = {}

    def touched(self, node):
        """The atoms that a node has a leaf in."""
        return self.look(node)[0]

    def covered(self, node):
        """The atoms that lie in a node."""
        return self.look(node)[1]

    def look(self, node):
        if node not in self.known:
            leaves = self.tree.leaves[node]
            touched = sorted({self.at[leaf] for leaf in leaves if leaf in self.at})
            self.known[node] = touched, [atom for atom in touched if self.atoms[atom] <= leaves]
        return self.known[node]

    def node(self, atom):
        """The node that is exactly an atom, if there is one."""
        return self.tree.same.get(self.atoms[atom])


class Block:
    """The base cells of one table, or of the hub; a box of them is a list of atoms for each axis."""

    def __init__(self, name, names, axes, offset, derived):
        self.name, self.names, self.axes, self.offset, self.derived = name, names, axes, offset, derived
        self.strides, size = [], 1
        for axis in reversed(axes):
            self.strides.insert(0, size)
            size *= len(axis.atoms)
        self.size = size

    def cells(self, box):
        """The unknowns of a box."""
        found = [self.offset]
        for stride, atoms in zip(self.strides, box):
            found = [at + stride * atom for at in found for atom in atoms]
        return found

    def nodes(self, key):
        """The node of a key on each axis; None where it is the total."""
        further = dict(key[3])
        return [*key[:3], *(further.get(name) for name in self.names[3:])]

    def box(self, key, covered=False):
        """The base cells that a key touches, or those that it covers."""
        return [
            axis.everything if node is None else axis.covered(node) if covered else axis.touched(node)
            for axis, node in zip(self.axes, self.nodes(key))
        ]

    def place(self, leaves):
        """The base cell of a line."""
        return self.offset + sum(
            stride * axis.at[leaves[name]] for stride, axis, name in zip(self.strides, self.axes, self.names)
        )


class Star:
    """The blocks of one family of measures."""

    def __init__(self, kind, family, keys):
        self.kind, self.family = kind, family
        wanted = COUNTS if family == "count" else {family}
        self.tables = {}
        levels = collections.defaultdict(lambda: collections.defaultdict(set))
        flagged = set()
        for table in kind.tables:
            for combination in table.level_sets if table.margins else []:
                of = table.of(combination)
                if not of & wanted:
                    continue
                self.tables[table.name] = table
                if of & FLAGGED and family == "count":
                    flagged.add(table.name)
                for name, level in zip(table.dimensions, combination):
                    levels[table.name][name].add(level)
        self.coarse = self.partitions(levels, flagged)
        shared = {name: self.merge_shared(name, keys) for name in SHARED}
        self.hub = Block("hub", list(SHARED), [Axis(kind.trees[name], shared[name]) for name in SHARED], 0, None)
        self.blocks, self.by_further = [self.hub], {(): self.hub}
        for table in self.tables.values():
            if table.further():
                self.add(table, levels[table.name], shared, keys)
        self.size = sum(block.size for block in self.blocks)

    def partitions(self, levels, flagged):
        """For each table and shared axis, the finest sets that its cells tell apart; for the hub those of all tables together."""
        trees = self.kind.trees
        found = {}
        together = {name: set().union(*(levels[table][name] for table in self.tables)) for name in ("time", "drug")}
        for table in [*self.tables, "hub"]:
            of = together if table == "hub" else levels[table]
            found[table] = {name: trees[name].atoms(of[name]) for name in ("time", "drug")}
            fine = table in flagged or (table == "hub" and flagged)
            found[table]["flag"] = [frozenset([leaf]) for leaf in trees["flag"].everything] if fine else [trees["flag"].everything]
        return found

    def merge_shared(self, name, keys):
        """The atoms of the hub on a shared axis."""
        place = SHARED.index(name)
        classes = merged(self.kind.trees[name], self.coarse["hub"][name], {key[place] for key in keys})
        # A table that does not see as deep may not be torn: its own finest sets lie in a class or are made of classes.
        again = True
        while again:
            again = False
            for table in self.tables:
                for atom in self.coarse[table][name]:
                    torn = [one for one in classes if one & atom and not atom <= one and not one <= atom]
                    for one in torn:
                        classes.remove(one)
                        classes += [one & atom, one - atom]
                        again = True
        return sorted(classes, key=min)

    def add(self, table, levels, shared, keys):
        kind, axes = self.kind, []
        for name in SHARED:
            atoms = {next((one for one in shared[name] if atom <= one), atom) for atom in self.coarse[table.name][name]}
            axes.append(Axis(kind.trees[name], sorted(atoms, key=min)))
        derived = None
        for name in table.further():
            tree = kind.trees[name]
            nodes = {node for key in keys for at, node in key[3] if at == name}
            apart = (lambda leaf: weight_is_mass(tree.codes[leaf])) if name in kind.derived and self.family == "count" else None
            if apart:
                derived = name
            axes.append(Axis(tree, merged(tree, tree.atoms(levels[name]), nodes, apart)))
        block = Block(table.name, [*SHARED, *table.further()], axes, self.blocks[-1].offset + self.blocks[-1].size, derived)
        self.blocks.append(block)
        for name in table.further():
            self.by_further[name] = block

    def block(self, key):
        """The block that a number belongs to."""
        return self.by_further[key[3][0][0] if key[3] else ()]

    def truth(self, truth):
        """The unknowns as the tester knows them."""
        values = collections.Counter()
        for line, leaves in zip(truth.lines, truth.leaves):
            amount = line.get(MAGNITUDES[self.family]) if self.family in MAGNITUDES else 1
            if amount:
                for block in self.blocks:
                    values[block.place(leaves)] += amount
        return values

    def singles(self, truth):
        """The base cells that have exactly one contributing case, as keys, with that case.

        A cell of the hub that is all of a margin of another table is none of them: who knew it would know all the empty cells below,
        which no hiding could change, and nobody is told that he is alone.
        """
        found = {}
        margins = [[set(self.fine(block, name).values()) for name in ("time", "drug")] for block in self.blocks[1:]]
        for block in self.blocks:
            cases = collections.defaultdict(set)
            atoms = [self.fine(block, name) for name in block.names]
            for line, leaves in zip(truth.lines, truth.leaves):
                if self.family not in MAGNITUDES or line.get(MAGNITUDES[self.family]):
                    cases[tuple(atom[leaves[name]] for atom, name in zip(atoms, block.names))].add(line["case"])
            for nodes, of in cases.items():
                whole = block is self.hub and any(nodes[0] in times and nodes[1] in drugs for times, drugs in margins)
                if len(of) == 1 and None not in nodes and not whole:
                    key = nodes[:3] + (tuple(sorted(
                        (name, node) for name, node in zip(block.names[3:], nodes[3:])
                        if self.kind.trees[name].leaves[node] != self.kind.trees[name].everything
                    )),)
                    found[key] = next(iter(of))
        return found

    def fine(self, block, name):
        """The node of the finest set that a table tells apart, by leaf."""
        tree = self.kind.trees[name]
        table = block.name
        if name in SHARED:
            sets = self.coarse[table][name]
        else:
            place = self.tables[table].dimensions.index(name)
            sets = tree.atoms({levels[place] for levels in self.tables[table].level_sets})
        return {leaf: tree.same.get(atom) for atom in sets for leaf in atom}


def merged(tree, atoms, nodes, apart=None):
    """Puts atoms together that no node of those shown tells apart."""
    classes = collections.defaultdict(set)
    nodes = [tree.leaves[node] for node in nodes]
    for atom in atoms:
        leaf = next(iter(atom))
        classes[frozenset(at for at, node in enumerate(nodes) if leaf in node), apart(leaf) if apart else None] |= atom
    return sorted((frozenset(one) for one in classes.values()), key=min)
