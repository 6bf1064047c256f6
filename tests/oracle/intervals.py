"""How far a sum of unknowns can go: the equations of a segment, made small and solved part by part.

Three things make a real year feasible. Unknowns that stand in the same equations are one column (what one of them can hold, each can).
Unknowns that no chain of equations connects are parts of their own. And every solution found is kept: a cell in which two of them
already lie far apart needs no programme.
"""
import collections
import math

from parts import EPSILON, Part


class Interval:
    """What a sum lies between."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    def rounded(self):
        """The interval of a whole number."""
        high = self.high if math.isinf(self.high) else math.floor(self.high + EPSILON)
        return Interval(math.ceil(self.low - EPSILON), high)


class System:
    """The equations of a segment, made small: each unknown is fixed, or a column of a part."""

    def __init__(self, size, equations, values, whole, scale, tally, alone=frozenset()):
        # values: the true unknowns, those that are not zero. Amounts are solved in units of `scale`. `alone`: unknowns that share no
        # column, because an attacker may come to know them.
        self.values, self.whole, self.scale, self.tally, self.alone = values, whole, scale, tally, alone
        rows, amounts = self.rows(equations)
        self.fixed = fix(rows, amounts)
        self.column, self.members = {}, collections.Counter()
        self.parts = self.split(size, rows, amounts)

    def rows(self, equations):
        rows, amounts = [], []
        for equation in equations:
            row = collections.Counter(equation.plus)
            row.subtract(equation.minus)
            row = {column: by for column, by in row.items() if by}
            true = sum(by * self.values.get(column, 0) for column, by in row.items())
            if true != equation.value:
                raise ValueError(f"an equation contradicts the lines: {equation.told}: {equation.value} and {true}")
            rows.append(row)
            amounts.append(equation.value)
        return rows, amounts

    def split(self, size, rows, amounts):
        """Columns of unknowns that stand in the same rows, and parts that share no row."""
        holds = [[] for _ in range(size)]
        for number, row in enumerate(rows):
            for unknown, by in row.items():
                holds[unknown].append((number, by))
        classes = {}
        for unknown, at in enumerate(holds):
            if unknown not in self.fixed:
                self.column[unknown] = classes.setdefault((tuple(at), unknown if unknown in self.alone else None), len(classes))
                self.members[self.column[unknown]] += 1
        start = [0] * len(classes)
        for unknown, value in self.values.items():
            if unknown in self.column:
                start[self.column[unknown]] += value
        join = Union(len(classes))
        by_row = collections.defaultdict(dict)
        for (at, _), column in classes.items():
            for number, by in at:
                by_row[number][column] = by
        for row in by_row.values():
            first, *others = row
            for other in others:
                join.together(first, other)
        groups = collections.defaultdict(list)
        for column in range(len(classes)):
            groups[join.root(column)].append(column)
        rows_of = collections.defaultdict(set)
        for number, row in by_row.items():
            rows_of[join.root(next(iter(row)))].add((tuple(sorted(row.items())), amounts[number]))
        self.place, parts = {}, []
        for root, columns in groups.items():
            at = {column: index for index, column in enumerate(columns)}
            for column in columns:
                self.place[column] = len(parts), at[column]
            mine = sorted(rows_of[root])
            parts.append(Part(
                [{at[column]: by for column, by in row} for row, _ in mine], [amount / self.scale for _, amount in mine],
                [start[column] / self.scale for column in columns], self.tally,
            ) if mine else None)
        return parts

    def tell(self, unknowns):
        """Makes unknowns known to the attacker, instead of those told before; which parts that concerns."""
        by_part = collections.defaultdict(list)
        for unknown in unknowns:
            if unknown in self.column:
                part, at = self.place[self.column[unknown]]
                if self.parts[part]:
                    by_part[part].append(at)
        for number, part in enumerate(self.parts):
            if part and (part.told or number in by_part):
                part.tell(sorted(by_part[number]))
        return {number for number, columns in by_part.items() if columns}

    def parts_of(self, unknowns):
        """The parts that unknowns lie in."""
        return {self.place[self.column[unknown]][0] for unknown in unknowns if unknown in self.column}

    def aim(self, unknowns, all_members):
        """A sum as a fixed amount and columns by part; of a column in part only, everything or nothing counts."""
        amount, held = 0, collections.Counter()
        for unknown in unknowns:
            if unknown in self.fixed:
                amount += self.fixed[unknown]
            else:
                held[self.column[unknown]] += 1
        found = collections.defaultdict(set)
        for column, count in held.items():
            if not all_members or count == self.members[column]:
                part, at = self.place[column]
                found[part].add(at)
        return amount, {part: frozenset(columns) for part, columns in found.items()}

    def interval(self, touched, covered, enough):
        """What lies between: unknowns that may all belong to the cell, and those that do for sure.

        `enough(interval)` says that nothing more need be known. The ends are exact if it is not met before.
        """
        low, under = self.aim(covered, True)
        high, over = self.aim(touched, False)
        low, high = low / self.scale, high / self.scale
        if any(self.parts[part] is None for part in over):
            high = math.inf
        under = {part: columns for part, columns in under.items() if self.parts[part]}
        over = {part: columns for part, columns in over.items() if self.parts[part]}
        seen = self.over_parts(low, high, under, over, lambda part, columns, largest: (
            part.whole_points if self.whole else part.points).seen(columns, largest))
        if enough(self.scaled(seen)):
            return self.scaled(seen), False
        found = self.over_parts(low, high, under, over, Part.reach)
        if self.whole:
            found = found.rounded()
        return self.scaled(found), True

    def whole_interval(self, touched, covered, between):
        """The interval in whole numbers; None if an end is not decided."""
        low, under = self.aim(covered, True)
        high, over = self.aim(touched, False)
        if math.isinf(between.high):
            over = {}
        ends = []
        for amount, by_part, largest in ((low, under, False), (high, over, True)):
            for part, columns in by_part.items():
                if self.parts[part]:
                    one = self.parts[part].reach_whole(columns, largest)
                    if one is None:
                        self.tally.undecided += 1
                        return None
                    amount += one
            ends.append(amount)
        return Interval(ends[0], math.inf if math.isinf(between.high) else ends[1])

    def wide_in_whole(self, touched, covered, width):
        """Whether solutions in whole numbers lie that far apart that are known, or that small changes of the truth lead to."""
        for unknowns, all_members in ((touched, False), (covered, True)):
            for number, columns in self.aim(unknowns, all_members)[1].items():
                need = width - self.known_width(touched, covered)
                if need <= 0:
                    return True
                if self.parts[number]:
                    self.parts[number].further(columns, not all_members, need)
        return self.known_width(touched, covered) >= width

    def known_width(self, touched, covered):
        """How far the known solutions in whole numbers lie apart."""
        low, under = self.aim(covered, True)
        high, over = self.aim(touched, False)
        if any(self.parts[part] is None for part in over):
            return math.inf
        known = self.over_parts(
            low, high, {part: columns for part, columns in under.items() if self.parts[part]}, over,
            lambda part, columns, largest: part.whole_points.seen(columns, largest),
        )
        return known.high - known.low

    def over_parts(self, low, high, under, over, reach):
        for part, columns in under.items():
            low += reach(self.parts[part], columns, False)
        for part, columns in over.items():
            high += reach(self.parts[part], columns, True)
        return Interval(low, high)

    def scaled(self, interval):
        return Interval(interval.low * self.scale, interval.high * self.scale)


class Union:
    """Which columns hang together."""

    def __init__(self, size):
        self.above = list(range(size))

    def root(self, one):
        while self.above[one] != one:
            self.above[one] = self.above[self.above[one]]
            one = self.above[one]
        return one

    def together(self, one, other):
        self.above[self.root(one)] = self.root(other)


def fix(rows, amounts):
    """Takes out what a row alone settles: a single unknown, or a sum of nothing. Changes rows and amounts."""
    stands, fixed = collections.defaultdict(list), {}
    for number, row in enumerate(rows):
        for unknown in row:
            stands[unknown].append(number)
    todo = list(range(len(rows)))
    while todo:
        number = todo.pop()
        row = rows[number]
        if len(row) == 1:
            (unknown, by), = row.items()
            settled = {unknown: amounts[number] // by}
        elif amounts[number] == 0 and len(set(row.values())) == 1:
            settled = dict.fromkeys(row, 0)
        else:
            continue
        for unknown, value in settled.items():
            fixed[unknown] = value
            for other in stands[unknown]:
                amounts[other] -= rows[other].pop(unknown) * value
                todo.append(other)
    return fixed
