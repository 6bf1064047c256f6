"""What the attacker knows, as equations over the unknowns: shown numbers, and the margins that the tables of a star share.

Vintages that the attacker links (nothing was removed between them) are one segment: its unknowns are the first vintage and what each
later one adds. Each equation is written without the shown cells below it, which leaves the same system with short rows.
"""
from lattice import weight_is_mass


class Equation:
    """Unknowns with coefficient one, unknowns with minus one, and what that comes to; `told` names the numbers behind it."""

    def __init__(self, plus, minus, value, told):
        self.plus, self.minus, self.value, self.told = plus, minus, value, told


class Segment:
    """The unknowns and equations of a run of vintages of one star."""

    def __init__(self, star, truths, vintages, rows):
        self.star, self.truths, self.vintages = star, truths, vintages
        self.shown = {}
        for key, known in rows.items():
            before, value = -1, 0
            for row in known:
                if row.vintage in vintages:
                    at = vintages.index(row.vintage)
                    self.shown.setdefault((before, at), {})[key] = row.value - value
                    before, value = at, row.value
        self.values = self.tally()
        self.equations = []
        for span, numbers in self.shown.items():
            for key, value in numbers.items():
                self.equations.append(self.number(span, key, value))
        for block in star.blocks[1:]:
            for at in range(len(vintages)):
                self.link(block, (at - 1, at))

    def tally(self):
        """The true unknowns."""
        found, before = {}, {}
        for at, vintage in enumerate(self.vintages):
            now = self.star.truth(self.truths[vintage])
            for cell in now.keys() | before.keys():
                added = now.get(cell, 0) - before.get(cell, 0)
                if added:
                    found[at * self.star.size + cell] = added
            before = now
        return found

    def cells(self, span, block, box):
        """The unknowns of a box over what a span of vintages adds."""
        base = block.cells(box)
        return [at * self.star.size + cell for at in range(span[0] + 1, span[1] + 1) for cell in base]

    def below(self, span, block, key, places):
        """The shown cells right below a number along the axis that leaves the least: (axis, atoms left, keys)."""
        numbers = self.shown.get(span, {})
        nodes, best = block.nodes(key), None
        for place in places:
            axis = block.axes[place]
            tree = axis.tree
            start = tree.same[tree.everything] if nodes[place] is None else nodes[place]
            stack, found = list(tree.children[start]), []
            while stack:
                node = tree.same[tree.leaves[stack.pop()]]
                child = replaced(block, nodes, place, node)
                if child in numbers and node != start:
                    found.append(child)
                else:
                    stack.extend(tree.children[node])
            if found:
                gone = {atom for child in found for atom in axis.covered(block.nodes(child)[place])}
                whole = axis.everything if nodes[place] is None else axis.touched(nodes[place])
                left = [atom for atom in whole if atom not in gone]
                share = len(left) / len(whole)
                if best is None or share < best[0]:
                    best = share, place, left, found
        return best[1:] if best else None

    def number(self, span, key, value):
        block = self.star.block(key)
        box, told = block.box(key), [(key, span)]
        best = self.below(span, block, key, range(len(block.axes)))
        if best:
            place, left, children = best
            box = [*box[:place], left, *box[place + 1:]]
            value -= sum(self.shown[span][child] for child in children)
            told += [(child, span) for child in children]
        return Equation(self.cells(span, block, box), [], value, told)

    def link(self, block, span):
        """The hub margins of a table, for what one vintage adds."""
        hub = self.star.hub
        flags = hub.axes[2] if block.derived else block.axes[2]
        weight = block.names.index(block.derived) if block.derived else None
        for time in block.axes[0].everything:
            for drug in block.axes[1].everything:
                for flag in flags.everything:
                    mine = [[time], [drug], [0] if block.derived else [flag], *(axis.everything for axis in block.axes[3:])]
                    if block.derived:
                        mine[weight] = self.of_flag(block.axes[weight], flags.atoms[flag])
                    ours = [
                        [at for at in axis.everything if axis.atoms[at] <= axes.atoms[atom]]
                        for axis, axes, atom in zip(hub.axes, (block.axes[0], block.axes[1], flags), (time, drug, flag))
                    ]
                    self.margin(block, span, mine, ours, (time, drug, flag), flags)

    def of_flag(self, axis, leaves):
        """The weight bands whose lines are weighed, or not, or both."""
        kind = self.star.kind
        names = {kind.trees["flag"].codes[leaf] for leaf in leaves}
        return [
            at for at in axis.everything
            if ("weighed" if weight_is_mass(axis.tree.codes[next(iter(axis.atoms[at]))]) else "unweighed") in names
        ]

    def margin(self, block, span, mine, ours, atoms, flags):
        nodes = [block.axes[0].node(atoms[0]), block.axes[1].node(atoms[1]), flags.node(atoms[2])]
        told = [("margin", block.name, span, atoms)]
        plus, minus, value = None, self.cells(span, self.star.hub, ours), 0
        numbers = self.shown.get(span, {})
        if None not in nodes:
            key = (*nodes, ())
            if key in numbers:
                minus, value = [], numbers[key]
                told.append((key, span))
            elif best := self.below(span, self.star.hub, key, range(3)):
                place, left, children = best
                minus = self.cells(span, self.star.hub, [*ours[:place], left, *ours[place + 1:]])
                value = sum(numbers[child] for child in children)
                told += [(child, span) for child in children]
            if not block.derived and (best := self.below(span, block, key, range(3, len(block.axes)))):
                place, left, children = best
                plus = self.cells(span, block, [*mine[:place], left, *mine[place + 1:]])
                value -= sum(numbers[child] for child in children)
                told += [(child, span) for child in children]
        self.equations.append(Equation(plus if plus is not None else self.cells(span, block, mine), minus, value, told))


def replaced(block, nodes, place, node):
    """The key of a cell with another node on one axis."""
    nodes = [*nodes[:place], node, *nodes[place + 1:]]
    further = tuple(sorted(
        (name, at) for name, at in zip(block.names[3:], nodes[3:])
        if at is not None and block.axes[block.names.index(name)].tree.leaves[at] != block.axes[block.names.index(name)].tree.everything
    ))
    return nodes[0], nodes[1], nodes[2], further
