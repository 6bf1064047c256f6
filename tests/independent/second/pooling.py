"""Owns the pooling of section 10: one table of sums out of the slices of all members."""

from second.encoding import LARGEST_VALUE

# Section 10: the first that applies is why a member is missing.
REASONS = ("suppressed", "not_available", "not_comparable", "refused", "held", "unreachable", "not_verified")


class MemberAnswers:
    """What one member gave to a question: its cells, and the reasons of its exchanges without cells."""

    def __init__(self, member):
        self.member = member
        self.cells = {}
        self.reasons = []
        self.editions = set()
        self.not_comparable = set()

    def numbers(self, key, index):
        """The numbers of the index-th measure in a cell, or why the member is missing there."""
        if len(self.editions) > 1:
            return None, "not_verified"
        if key not in self.cells:
            return None, min(self.reasons, key=REASONS.index, default="not_available")
        numbers = self.cells[key][index]
        if not isinstance(numbers[0], int):
            return None, numbers[0]
        if (key, index) in self.not_comparable:
            return None, "not_comparable"
        return numbers, None


def pool(answers, names, measures):
    """The rows of `pooled`: `names` gives the names of each cell's codes, the cells being all that were read."""
    answers = sorted(answers, key=lambda one: one.member)
    return [
        {"key": names[key], "values": [pooled_value(answers, key, *one) for one in enumerate(measures)]}
        for key in sorted(names)
    ]


def pooled_value(answers, key, index, measure):
    shown, missing = {}, []
    for one in answers:
        numbers, reason = one.numbers(key, index)
        if reason:
            missing.append([one.member, reason])
        else:
            shown[one.member] = numbers
    sums = [total(column) for column in zip(*shown.values())] or [None] * measure.width
    value = {"measure": measure.id, "value": sums[0]}
    if measure.width > 1:
        value["numbers"] = sums
    return value | {"from": list(shown), "missing": missing}


def total(numbers):
    """The sum of those that are values, or None where none is or the sum is too large to be shown."""
    values = [number for number in numbers if isinstance(number, int)]
    return sum(values) if values and sum(values) <= LARGEST_VALUE else None


def incomparable(table, other):
    """Which measures of a table, by index, cannot be compared with those of another catalogue's table."""
    everything = set(range(len(table.measures)))
    if other is None or (table.kind, table.counting_unit) != (other.kind, other.counting_unit):
        return everything
    theirs = {index: measure.describes() for index, measure in enumerate(other.measures)}
    return {index for index in everything if table.measures[index].describes() != theirs.get(index)}
