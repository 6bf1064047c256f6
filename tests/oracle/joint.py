"""The same question without a star: one unknown for each combination of leaves of all dimensions together, and one programme.

Slow and plain, for the tests: it confirms that blocks with shared margins, atoms and parts lose nothing and add nothing. Leaves that no
line has are put together with those beside them, which is exact only where zeros are hidden.
"""
import itertools

import numpy

from parts import silent_model
from lattice import weight_is_mass


class Joint:
    """Everything known about one family in the first vintage."""

    def __init__(self, release, family):
        self.kind, self.family = release.kind, family
        truth = release.truths[0]
        self.names = [name for name in self.kind.trees if name != "flag" or family == "count"]
        self.sets = [self.groups(self.kind.trees[name], {leaves[name] for leaves in truth.leaves}) for name in self.names]
        self.unknowns = [one for one in itertools.product(*self.sets) if self.possible(one)]
        self.model = silent_model()
        size = len(self.unknowns)
        self.model.addVars(size, numpy.zeros(size), numpy.full(size, self.model.inf))
        for (of, key), rows in release.held.items():
            if of == family and 0 in rows:
                columns = numpy.array(self.columns(key, False), dtype=numpy.int32)
                value = float(rows[0].value)
                self.model.addRow(value, value, len(columns), columns, numpy.ones(len(columns)))

    def groups(self, tree, seen):
        """Each leaf that is seen, and the others by the deepest node above them that has one that is."""
        rest = {}
        for leaf in tree.everything - seen:
            above = leaf
            while above is not None and not tree.leaves[above] & seen:
                above = tree.parent[above]
            rest.setdefault(above, set()).add(leaf)
        return [frozenset([leaf]) for leaf in sorted(seen)] + [frozenset(rest[above]) for above in sorted(rest, key=str)]

    def possible(self, one):
        """Whether band and mass of a line agree."""
        at = dict(zip(self.names, one))
        if "weight" not in at or "flag" not in at:
            return True
        bands = {weight_is_mass(self.kind.trees["weight"].codes[leaf]) for leaf in at["weight"]}
        weighed = {self.kind.trees["flag"].codes[leaf] == "weighed" for leaf in at["flag"]}
        return bool(bands & weighed)

    def columns(self, key, whole):
        """The unknowns that a number touches, or those that lie in it."""
        nodes = {"time": key[0], "drug": key[1], "flag": key[2], **dict(key[3])}
        wanted = [self.kind.trees[name].leaves[nodes[name]] if name in nodes else None for name in self.names]
        return [
            at for at, one in enumerate(self.unknowns)
            if all(leaves is None or (group <= leaves if whole else group & leaves) for group, leaves in zip(one, wanted))
        ]

    def interval(self, key):
        """The smallest and the largest sum."""
        ends = []
        for largest in (False, True):
            columns = numpy.array(self.columns(key, not largest), dtype=numpy.int32)
            sign = -1.0 if largest else 1.0
            self.model.changeColsCost(len(columns), columns, numpy.full(len(columns), sign))
            self.model.run()
            known = self.model.modelStatusToString(self.model.getModelStatus()) == "Optimal"
            ends.append(sign * self.model.getInfo().objective_function_value if known else None)
            self.model.changeColsCost(len(columns), columns, numpy.zeros(len(columns)))
        return ends
