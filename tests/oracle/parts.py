"""One part of a system of equations, solved: linear programmes, programmes in whole numbers, and the solutions known so far."""
import math
import os
import sys

import highspy
import numpy

# The solver's answers are right to about 1e-7; the numbers are whole, so half of a thousandth is far from both.
EPSILON = 5e-4
# An integer programme larger than this, or slower, is left undecided: the oracle can only find leaks.
COLUMNS_MAX = 3_000
SECONDS_MAX = 5.0
# After so many that were too slow, a part is not tried any more.
SLOW_MAX = 3
# Solutions that are kept for each part; a real year has parts of ten thousand columns.
POINTS_MAX = 256


class Tally:
    """How many programmes were solved."""

    def __init__(self):
        self.linear = self.integer = self.undecided = 0


class Part:
    """The columns and rows that hang together, with the solver's model and the solutions known so far."""

    def __init__(self, rows, values, start, tally):
        # rows: {column: coefficient}; start: a solution, the tester's truth.
        self.start, self.tally = numpy.array(start, dtype=float), tally
        self.size = len(start)
        # Nothing real comes near this: a column that reaches it has no bound.
        self.cap = 4.0 * float(self.start.sum()) + 10_000.0
        self.values = numpy.array(values, dtype=float)
        self.starts = numpy.cumsum([0, *(len(row) for row in rows[:-1])], dtype=numpy.int32)
        self.columns = numpy.array([column for row in rows for column in row], dtype=numpy.int32)
        self.coefficients = numpy.array([by for row in rows for by in row.values()], dtype=float)
        self.points, self.whole_points = Points(self.start), Points(self.start)
        self.models, self.known, self.told, self.slow = {}, {}, [], 0

    def build(self, whole):
        """A model without an objective."""
        model = silent_model()
        model.setOptionValue("random_seed", 1)
        # The last basis stays feasible when only the objective changes.
        model.setOptionValue("simplex_strategy", 4)
        model.addVars(self.size, numpy.zeros(self.size), numpy.full(self.size, self.cap))
        model.addRows(
            len(self.values), self.values, self.values, len(self.columns), self.starts, self.columns, self.coefficients
        )
        self.bound(model, self.told)
        if whole:
            make_whole(model, self.size)
        return model

    def bound(self, model, columns, free=False):
        """Holds columns at the truth, or lets them go."""
        if len(columns):
            at = numpy.array(columns, dtype=numpy.int32)
            low, high = (numpy.zeros(len(at)), numpy.full(len(at), self.cap)) if free else (self.start[at], self.start[at])
            model.changeColsBounds(len(at), at, low, high)

    def tell(self, columns):
        """Makes the truth of some columns known to the attacker, instead of those told before."""
        self.models.pop("change", None)
        for model in self.models.values():
            self.bound(model, self.told, free=True)
            self.bound(model, columns)
        self.told, self.known = columns, {}
        self.points.only(self.start, columns)
        self.whole_points.only(self.start, columns)

    def run(self, whole, columns, largest):
        """Solves a model for a sum of columns: whether to the end, the bound that is proven, the solution."""
        if whole not in self.models:
            self.models[whole] = self.build(whole)
        model, at = self.models[whole], numpy.array(sorted(columns), dtype=numpy.int32)
        model.changeColsCost(len(at), at, numpy.ones(len(at)))
        model.changeObjectiveSense(highspy.ObjSense.kMaximize if largest else highspy.ObjSense.kMinimize)
        model.run()
        found = (
            model.getModelStatus() == highspy.HighsModelStatus.kOptimal, model.getInfo().objective_function_value,
            numpy.array(model.getSolution().col_value),
        )
        # A change of the model forgets its solution, so this comes last.
        model.changeColsCost(len(at), at, numpy.zeros(len(at)))
        return found

    def reach(self, columns, largest):
        """The largest or smallest sum of columns in real numbers."""
        at = False, columns, largest
        if at not in self.known:
            done, value, solution = self.run(False, columns, largest)
            self.tally.linear += 1
            if not done:
                # A basis can go bad; from nothing the solver ends.
                del self.models[False]
                done, value, solution = self.run(False, columns, largest)
                if not done:
                    raise ArithmeticError("the solver gave up on a linear programme")
            self.keep(solution)
            self.known[at] = self.end(value, largest)
        return self.known[at]

    def move(self, columns, least, most):
        """Looks for a solution in whole numbers with a sum of columns in a range: the least change of the truth, which is sparse."""
        solution = self.changed(numpy.arange(self.size), columns, least, most, False)
        if solution is None or self.keep(solution):
            return
        # Not whole: the same with whole numbers, where this one differs from the truth.
        free = numpy.flatnonzero(numpy.abs(solution - self.start) > EPSILON)
        solution = self.changed(free, columns, least, most, True)
        if solution is not None:
            self.keep(solution)

    def further(self, columns, largest, need):
        """Looks for a solution in whole numbers that goes further than the known ones, by as much as there is room."""
        now, end = self.whole_points.seen(columns, largest), self.reach(columns, largest)
        room = end + EPSILON - now if largest else now - end + EPSILON
        step = min(need, room if math.isinf(room) else math.floor(room))
        if step > 0 and largest:
            self.move(columns, now + step, self.cap * self.size)
        elif step > 0:
            self.move(columns, 0, now - step)

    def changed(self, free, columns, least, most, whole):
        """The least change of the truth in some columns that brings a sum into a range, or nothing."""
        at = numpy.full(self.size, -1, dtype=numpy.int32)
        at[free] = numpy.arange(len(free))
        size, aim = len(free), at[sorted(columns)]
        aim = aim[aim >= 0]
        if "change" in self.models and not whole:
            model = self.models["change"]
        else:
            model = self.change_model(at, size)
            if whole:
                make_whole(model, 2 * size)
            else:
                self.models["change"] = model
        # Up and down are columns of their own; the sum of both is what is made small.
        there = float(self.start[sorted(columns)].sum())
        signs = numpy.concatenate([numpy.ones(len(aim)), -numpy.ones(len(aim))])
        model.addRow(least - there, most - there, 2 * len(aim), numpy.concatenate([aim, aim + size]).astype(numpy.int32), signs)
        model.run()
        if whole:
            self.tally.integer += 1
        else:
            self.tally.linear += 1
        found = None
        if model.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            moves = numpy.array(model.getSolution().col_value)
            found = self.start.copy()
            found[free] += moves[:size] - moves[size:]
        model.deleteRows(1, numpy.array([model.getNumRow() - 1], dtype=numpy.int32))
        return found

    def change_model(self, at, size):
        """A model of the changes of some columns, numbered by `at`; the others stay."""
        model = silent_model()
        free = numpy.flatnonzero(at >= 0)
        still = numpy.isin(free, self.told)
        up, down = numpy.where(still, 0, self.cap), numpy.where(still, 0, self.start[free])
        model.addVars(2 * size, numpy.zeros(2 * size), numpy.concatenate([up, down]))
        every = numpy.arange(2 * size, dtype=numpy.int32)
        model.changeColsCost(2 * size, every, numpy.ones(2 * size))
        entries = numpy.flatnonzero(at[self.columns] >= 0)
        rows = numpy.searchsorted(self.starts, entries, side="right") - 1
        number, first, count = numpy.unique(rows, return_index=True, return_counts=True)
        here, by = at[self.columns[entries]], self.coefficients[entries]
        # Each row holds its columns twice, up and down.
        starts = numpy.concatenate([[0], numpy.cumsum(2 * count)[:-1]]).astype(numpy.int32)
        both = numpy.concatenate([[here[a:a + n], here[a:a + n] + size] for a, n in zip(first, count)], axis=None).astype(numpy.int32)
        signs = numpy.concatenate([[by[a:a + n], -by[a:a + n]] for a, n in zip(first, count)], axis=None)
        nothing = numpy.zeros(len(number))
        model.addRows(len(number), nothing, nothing, len(both), starts, both, signs)
        return model

    def end(self, value, largest):
        return math.inf if largest and value > self.cap / 2 else value

    def keep(self, solution):
        """Keeps a solution; whether it is one in whole numbers."""
        self.points.add(solution)
        whole = numpy.rint(solution)
        found = numpy.abs(solution - whole).max() < EPSILON and self.holds(whole)
        if found:
            self.whole_points.add(whole)
        return found

    def holds(self, point):
        """Whether a point in whole numbers is a solution, exactly."""
        sums = numpy.add.reduceat(self.coefficients * point[self.columns], self.starts)
        return point.min() >= 0 and bool((sums == self.values).all())

    def reach_whole(self, columns, largest):
        """The same in whole numbers; None if that is not decided."""
        at = True, columns, largest
        if at not in self.known:
            self.known[at] = None
            if self.size <= COLUMNS_MAX and self.slow < SLOW_MAX:
                done, value, solution = self.run(True, columns, largest)
                self.tally.integer += 1
                if done:
                    self.keep(solution)
                    self.known[at] = self.end(float(round(value)), largest)
                else:
                    self.slow += 1
        return self.known[at]


class Points:
    """Solutions that are known; the oldest make room, the first stays."""

    def __init__(self, first):
        self.all, self.usable, self.count, self.next = numpy.array([first]), numpy.array([True]), 1, 1

    def add(self, point):
        if self.count == POINTS_MAX:
            at = self.next
            self.next = self.next % (POINTS_MAX - 1) + 1
        else:
            at = self.count
            self.count += 1
        if at == len(self.all):
            self.all = numpy.concatenate([self.all, numpy.zeros_like(self.all)])
            self.usable = numpy.concatenate([self.usable, numpy.zeros_like(self.usable)])
        self.all[at], self.usable[at] = point, True

    def only(self, truth, columns):
        """Uses those alone that say the truth of some columns."""
        self.usable[:self.count] = (numpy.abs(self.all[:self.count, columns] - truth[columns]) < EPSILON).all(axis=1)

    def seen(self, columns, largest):
        """How far the known solutions go."""
        sums = self.all[:self.count, sorted(columns)].sum(axis=1)[self.usable[:self.count]]
        return float(sums.max() if largest else sums.min())


def make_whole(model, size):
    """Asks for whole numbers."""
    every = numpy.arange(size, dtype=numpy.int32)
    model.changeColsIntegrality(size, every, numpy.array([highspy.HighsVarType.kInteger] * size))
    model.setOptionValue("time_limit", SECONDS_MAX)
    model.setOptionValue("mip_rel_gap", 0.0)
    model.setOptionValue("mip_abs_gap", 0.5)


def silent_model():
    """A model that prints nothing; the solver greets on standard output before it can be told not to."""
    sys.stdout.flush()
    standard, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        model = highspy.Highs()
    finally:
        os.dup2(standard, 1)
        os.close(standard)
        os.close(nowhere)
    model.silent()
    # The number of threads counts for all models of a process.
    model.setOptionValue("threads", 1)
    return model
