"""Brute force for tiny sets: every way in which whole numbers of lines can stand behind what is shown.

It knows nothing of stars, atoms or programmes: its unknowns are the combinations of leaves of all dimensions together, and a shown
number is a sum of some of them. It confirms the intervals of the oracle in the tests.
"""


def intervals(unknowns, shown, wanted):
    """The interval of each wanted set of unknowns; `shown`: (set, number). Every unknown has to stand in some shown set."""
    order = list(unknowns)
    if any(not any(one in cells for cells, _ in shown) for one in order):
        raise ValueError("an unknown without a bound")
    at = {one: number for number, one in enumerate(order)}
    left = [number for _, number in shown]
    holds = [[row for row, (cells, _) in enumerate(shown) if one in cells] for one in order]
    # The rows that are complete once an unknown is chosen must be met exactly then.
    last = [max(at[one] for one in cells) if cells else -1 for cells, _ in shown]
    ends = [[row for row in rows if last[row] == number] for number, rows in enumerate(holds)]
    if any(number for (cells, number) in shown if not cells):
        raise ValueError("a number of nothing")
    sums = [[at[one] for one in cells] for cells in wanted]
    found = [[None, None] for _ in wanted]
    value = [0] * len(order)

    def choose(number):
        if number == len(order):
            for interval, cells in zip(found, sums):
                total = sum(value[one] for one in cells)
                interval[0] = total if interval[0] is None else min(interval[0], total)
                interval[1] = total if interval[1] is None else max(interval[1], total)
            return
        most = min(left[row] for row in holds[number])
        least = max((left[row] for row in ends[number]), default=0)
        for chosen in range(least, most + 1):
            value[number] = chosen
            for row in holds[number]:
                left[row] -= chosen
            if all(left[row] == 0 for row in ends[number]):
                choose(number + 1)
            for row in holds[number]:
                left[row] += chosen
    choose(0)
    return found
