"""Owns the pooling of section 10: one table of sums out of the slices of all members."""

from math import inf

from second.encoding import LARGEST_VALUE


class MemberAnswers:
    """What one member gave to a question: for each cell that it was asked, numbers or the reason why there are none."""

    def __init__(self, member):
        self.member = member
        self.cells = {}
        self.editions = set()
        self.not_comparable = set()

    def numbers(self, key, index, measure):
        """The numbers of the index-th measure in a cell, or why the member is missing there."""
        if len(self.editions) > 1:
            return None, "not_verified"
        if isinstance(self.cells[key], str):
            return None, self.cells[key]
        numbers = self.cells[key][index]
        if not isinstance(numbers[0], int):
            return None, numbers[0]
        if (key, index) in self.not_comparable:
            return None, "not_comparable"
        reason = impossible(measure, numbers)
        return (None, reason) if reason else (numbers, None)


def pool(answers, names, measures):
    """The rows of `pooled`: `names` gives the names of each cell's codes, the cells being all that were asked of anybody."""
    answers = sorted(answers, key=lambda one: one.member)
    return [
        {"key": names[key], "values": [pooled_value(answers, key, *one) for one in enumerate(measures)]}
        for key in sorted(names)
    ]


def pooled_value(answers, key, index, measure):
    shown, missing = {}, []
    for one in answers:
        if key not in one.cells:
            continue
        numbers, reason = one.numbers(key, index, measure)
        if reason:
            missing.append([one.member, reason])
        else:
            shown[one.member] = numbers
    sums = [total(column) for column in zip(*shown.values())]
    value = {"measure": measure.id, "value": sums[0] if sums else None}
    if measure.width > 1 and sums:
        value["numbers"] = sums
    return value | {"from": list(shown), "missing": missing}


def impossible(measure, numbers):
    """Why a member is missing whose first number is a value, by its further numbers; None if it is not."""
    if measure.of == "mean":
        return None if isinstance(numbers[1], int) else "suppressed"
    if measure.of == "histogram" and contradicts(measure, numbers):
        return "not_verified"
    return None


def contradicts(measure, numbers):
    """Whether no true histogram can lie behind these numbers: hidden bins count anything from 0 on.

    Level after level, from the finest to the total, each bin counts at least and at most what its finer bins do.
    """
    levels, start = [([measure.bins[0][1][0], measure.bins[0][1][-1]], numbers[:1])], 1
    for _, edges in measure.bins:
        levels.append((edges, numbers[start : start + len(edges) - 1]))
        start += len(edges) - 1
    finer = None
    for edges, counts in reversed(levels):
        ranges = {}
        for low, high, count in zip(edges, edges[1:], counts):
            parts = [] if finer is None else [part for edge, part in finer.items() if low <= edge < high]
            least, most = sum(part[0] for part in parts), sum(part[1] for part in parts) if parts else inf
            if isinstance(count, int):
                if not least <= count <= most:
                    return True
                least = most = count
            ranges[low] = (least, most)
        finer = ranges
    return False


def total(numbers):
    """The sum of those that are values, or None where none is or it is too large to be shown; what is hidden adds nothing."""
    values = [number for number in numbers if isinstance(number, int)]
    return sum(values) if values and sum(values) <= LARGEST_VALUE else None


def incomparable(table, other):
    """Which measures of a table, by index, cannot be compared with those of another catalogue's table."""
    everything = set(range(len(table.measures)))
    if other is None or (table.kind, table.counting_unit) != (other.kind, other.counting_unit):
        return everything
    theirs = {index: measure.describes() for index, measure in enumerate(other.measures)}
    return {index for index in everything if table.measures[index].describes() != theirs.get(index)}
