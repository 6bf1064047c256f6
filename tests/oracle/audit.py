"""The audit of one kind, year and family of measures: how far each protected number can still go, for each attacker.

Attackers differ in what they believe of numbers that stay. `numbers`: everything shown that is true now is taken as true now; this one
goes for the protected cells. `changes`: a number that stays says nothing (carried and unchanged are the same bytes); this one goes for
small changes between two vintages. `insider`: as `numbers`, and one case that is alone in base cells knows them.
"""
import collections
import json
import math
import random

from equations import Segment
from intervals import Interval, System
from lattice import MAGNITUDES
from parts import Tally
from star import COUNTS, Star
from truth import Truth


class Found:
    """What an audit comes to; audits add up."""

    def __init__(self):
        self.leaks, self.protected, self.changes, self.insiders = [], 0, 0, 0
        self.linear = self.integer = self.undecided = 0
        # By family: (margin, leak-like words of the cell).
        self.margins = {}

    def add(self, other):
        self.leaks += other.leaks
        for name in ("protected", "changes", "insiders", "linear", "integer", "undecided"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for family, margin in other.margins.items():
            self.narrowest(family, *margin)

    def narrowest(self, family, margin, said):
        if family not in self.margins or margin < self.margins[family][0]:
            self.margins[family] = margin, said

    def count(self, tally):
        self.linear += tally.linear
        self.integer += tally.integer
        self.undecided += tally.undecided


class Demand:
    """What the provider promises for one number: a width for a count; for an amount, tables with at most `low` and at least `high`."""

    def __init__(self, width=None, low=None, high=None):
        self.width, self.low, self.high = width, low, high

    def margin(self, interval):
        """How much wider the interval is than promised; negative is a leak."""
        if self.width is not None:
            return interval.high - interval.low - self.width
        below = math.inf if self.low is None else self.low - interval.low
        return min(interval.high - self.high, below)

    def said(self):
        return {"width": self.width} if self.width is not None else {"at_most": self.low, "at_least": self.high}


class Audit:
    """The audit of one family."""

    def __init__(self, release, family, sample=None):
        self.release, self.rules, self.kind, self.family = release, release.rules, release.kind, family
        self.whole, self.found = family == "count", Found()
        self.random, self.sample = random.Random(f"{self.kind.kind} {self.kind.year} {family}"), sample
        # Vintages that the attacker can link are a segment: nothing was taken away between them.
        self.segments = [[0]]
        for vintage in range(1, len(release.truths)):
            if self.changed(vintage - 1, vintage)[1]:
                self.segments.append([])
            self.segments[-1].append(vintage)

    def changed(self, before, after):
        """The lines that were added and removed from one vintage to another."""
        old, new = (
            collections.Counter(json.dumps(line, sort_keys=True) for line in self.release.truths[vintage].lines)
            for vintage in (before, after)
        )
        return tuple([json.loads(line) for line in some.elements()] for some in (new - old, old - new))

    def run(self, insiders=0):
        """All that can be found; with that many insiders in turn."""
        self.numbers()
        if len(self.release.truths) > 1:
            self.changes()
        if insiders:
            self.insiders(insiders)
        return self.found

    def told(self):
        """The vintages that some number was published from. Of others nothing was said, so that nobody knows what would be true."""
        return sorted({row.vintage for rows in self.release.rows.values() for row in rows if not row.public})

    def held(self):
        """By key, what is shown and true in each vintage that something was published from."""
        told = self.told()
        held = {
            key: sorted((row for row in rows.values() if row.vintage in told), key=lambda row: row.vintage)
            for (of, key), rows in self.release.held.items() if of == self.family
        }
        return {key: rows for key, rows in held.items() if rows}

    def world(self, rows, tally, singles=()):
        """The equations of rows by key: for each vintage its segment, its place in it, and the system. Singles stay apart."""
        star = Star(self.kind, self.family, {*rows, *singles})
        worlds = {}
        for vintages in self.segments:
            segment = Segment(star, self.release.truths, vintages, rows)
            alone = {unknown for key in singles for unknown in look(segment, (-1, len(vintages) - 1), key)[1]}
            system = System(star.size * len(vintages), segment.equations, segment.values, self.whole, self.scale(), tally, alone)
            worlds |= {vintage: (segment, at, system) for at, vintage in enumerate(vintages)}
        return worlds

    def scale(self):
        return 1_000_000 if self.family == "mass_mg" else 1

    def chosen(self, some):
        """The cells that are examined: all, or a sample of them that is always the same."""
        some = list(some)
        if self.sample is not None and len(some) > self.sample:
            return self.random.sample(some, self.sample)
        return some

    def demand(self, parts, total, source, clamp=True, at_most=None):
        if self.whole:
            # Nothing can be kept wider apart than what is public leaves it.
            return Demand(width=self.rules.width() if at_most is None else min(self.rules.width(), at_most))
        reach = self.rules.reach(parts, self.release.quantum(source))
        # Of an amount that cannot be negative, less than nothing cannot be asked for.
        return Demand(low=None if clamp and total <= reach else total - reach, high=total + reach)

    def demand_of_insider(self, parts, case, own, segment, source):
        """What an insider must not work out of the rest: what it put in itself, alone in base cells, it may know."""
        if self.whole:
            return Demand(width=self.rules.width())
        others = [part for other, part in parts.items() if other != case]
        known, total = sum(segment.values.get(unknown, 0) for unknown in own), sum(parts.values())
        reach = self.rules.reach(others, self.release.quantum(source))
        return Demand(low=max(known, total - reach) if known or total > reach else None, high=total + reach)

    def numbers(self):
        """The protected cells of every vintage that something was published from."""
        tally = Tally()
        worlds = self.world(self.held(), tally)
        for vintage in self.told():
            truth = self.release.truths[vintage]
            protected = [
                (key, source) for of, key, source in self.release.protected(vintage)
                if of == self.family and not self.is_given_up(key)
            ]
            for key, source in self.chosen(protected):
                parts = truth.of(self.family, key)
                demand = self.demand(parts.values(), sum(parts.values()), source, at_most=self.release.at_most(self.family, key, vintage))
                segment, at, system = worlds[vintage]
                self.found.protected += 1
                self.examine("numbers", key, self.edition(vintage), demand, *look(segment, (-1, at), key), system)
        self.found.count(tally)

    def is_given_up(self, key):
        """Whether two people were told that a number can be narrowed; or it was shown in a vintage before a correction: if it is small
        in another, only its change was a secret."""
        if (self.family, key) in self.release.narrowed:
            return True
        shown = self.release.rows.get((self.family, key), [])
        return any(row.vintage < corrected for row in shown for corrected in self.release.corrected)

    def edition(self, vintage):
        return self.release.vintages.index(vintage)

    def examine(self, attacker, key, edition, demand, touched, covered, system):
        """Looks whether one number is narrower than promised."""
        # Known solutions may show that this cell is no leak and not the narrowest either.
        narrowest = max(0, self.found.margins[self.family][0]) if self.family in self.found.margins else math.inf
        interval, exact = system.interval(touched, covered, lambda seen: demand.margin(seen) >= narrowest)
        if not exact:
            return
        if self.whole and demand.margin(interval) >= 0 and not system.wide_in_whole(touched, covered, demand.width):
            interval = system.whole_interval(touched, covered, interval) or interval
        self.judge(attacker, key, edition, demand, interval)

    def judge(self, attacker, key, edition, demand, interval):
        said = {
            "measure": self.family, "cell": self.kind.words(key), "edition": edition + 1, "attacker": attacker,
            "interval": [plain(interval.low), plain(interval.high)], **demand.said(),
        }
        margin = demand.margin(interval)
        # Amounts are solved in large units, where the last digits are the solver's.
        if margin < (0 if self.whole else -1e-6 * abs(demand.high) - 1e-3):
            self.found.leaks.append({"leak": "narrow", **said})
        if not math.isinf(margin) and attacker != "insider":
            self.found.narrowest(self.family, plain(margin), said)

    def changes(self):
        """The protected changes between two vintages that something was published from."""
        tally = Tally()
        rows = {key: some for (of, key), some in self.release.rows.items() if of == self.family and some}
        worlds = self.world(rows, tally)
        revised = {
            (one.vintage, other.vintage) for some in rows.values() for one, other in zip(some, some[1:])
        }
        told = self.told()
        for before, after in sorted(revised | set(zip(told, told[1:]))):
            # Two people agreed that anybody may see what a correction changed of what was published: what changed since any vintage
            # before it.
            if not any(before < corrected for corrected in self.release.corrected):
                self.change(worlds, before, after, (before, after) in revised)
        self.found.count(tally)

    def change(self, worlds, before, after, revised):
        added, removed = self.changed(before, after)
        lines = Truth(self.kind, [*added, *removed])
        old, new = self.release.truths[before], self.release.truths[after]
        common = set(self.release.availability(before)) & set(self.release.availability(after))
        protected = []
        for key in sorted(key for of, key in common if of == self.family):
            source = self.release.source(self.family, key)
            # Where nothing was revised for anybody to see, there is no change table, and "nothing was late" is no secret.
            public = any(self.release.is_public(self.family, key, vintage) for vintage in (before, after))
            if source and not public and (revised or lines.of(self.family, key)) and self.release.unsafe(self.family, key, lines):
                protected.append((key, source))
        for key, source in self.chosen(protected):
            self.found.changes += 1
            net = new.total(self.family, key) - old.total(self.family, key)
            (one, start, system), (other, end, _) = worlds[before], worlds[after]
            limits = [self.release.at_most(self.family, key, vintage) for vintage in (before, after)]
            at_most = min((limit for limit in limits if limit is not None), default=None)
            demand = self.demand(lines.of(self.family, key).values(), net, source, clamp=one is other, at_most=at_most)
            if demand.low is not None:
                # Nothing can be taken away that was not there.
                demand.low = max(demand.low, -old.total(self.family, key))
            if one is other:
                self.examine("changes", key, self.edition(after), demand, *look(one, (start, end), key), system)
            else:
                self.judge("changes", key, self.edition(after), demand, self.apart(key, worlds, before, after))

    def insiders(self, most):
        """The protected cells of the last vintage that something was published from, before one case at a time that knows the base
        cells in which it is alone."""
        tally, vintage = Tally(), max(self.told(), default=0)
        truth, rows = self.release.truths[vintage], self.held()
        singles = Star(self.kind, self.family, set(rows)).singles(truth)
        segment, at, system = self.world(rows, tally, singles)[vintage]
        span = (-1, at)
        by_case = collections.defaultdict(set)
        for key, case in singles.items():
            by_case[case].update(look(segment, span, key)[1])
        # The year's total is public: where it leaves an insider less than the width, nothing that is hidden could help.
        own = collections.Counter(line["case"] for line in truth.lines)
        cases = sorted(case for case in by_case if len(truth.lines) - own[case] >= self.rules.width())
        protected = self.chosen(
            (key, source) for of, key, source in self.release.protected(vintage)
            if of == self.family and (self.family, key) not in self.release.narrowed
        )
        for case in cases if len(cases) <= most else self.random.sample(cases, most):
            concerned = system.tell(by_case[case])
            for key, source in protected if concerned else []:
                parts = truth.of(self.family, key)
                touched, covered = look(segment, span, key)
                # What is nobody's but the insider's own is no secret from it.
                if set(parts) != {case} and concerned & system.parts_of(touched):
                    self.found.insiders += 1
                    demand = self.demand_of_insider(parts, case, by_case[case] & set(touched), segment, source)
                    self.examine("insider", key, self.edition(vintage), demand, touched, covered, system)
        self.found.count(tally)

    def apart(self, key, worlds, before, after):
        """The change between vintages that are not linked: each end is free of the other."""
        old, new = (
            worlds[vintage][2].interval(*look(worlds[vintage][0], (-1, worlds[vintage][1]), key), lambda _: False)[0]
            for vintage in (before, after)
        )
        return Interval(new.low - old.high, new.high - old.low)


def look(segment, span, key):
    """The unknowns that a number may be made of, and those that it is made of for sure."""
    block = segment.star.block(key)
    return segment.cells(span, block, block.box(key)), segment.cells(span, block, block.box(key, covered=True))


def plain(number):
    """A number as JSON writes it: whole where it is, and no end as none."""
    if math.isinf(number):
        return None
    return round(number) if abs(number - round(number)) < 1e-6 else round(number, 3)


def families(tables):
    """The families of measures that tables have, those without margins left out: nothing is linked to them."""
    said = {of for table in tables if table.margins for levels in table.level_sets for of in table.of(levels)}
    return [*(["count"] if said & COUNTS else []), *sorted(said & MAGNITUDES.keys())]
