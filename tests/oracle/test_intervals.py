"""Tests of the intervals: against brute force, against one programme over all dimensions together, and in whole numbers."""
import itertools
import json
import math
import random
import unittest

import brute
import joint
import oracle
import publish
import random_sets
from audit import Audit, families, look
from case import RULES, Case, flat, lines, scratch, table
from equations import Equation
from folder import Folder
from intervals import System
from parts import Tally
from truth import read_lines


class Brute(unittest.TestCase):
    """The intervals are those of brute force over all dimensions together."""

    SETS = 240

    def test_intervals_of_tiny_sets(self):
        trees = {name: flat("0", "1") for name in ("drugs", "regions", "forms")}
        year = {"time": ["year"], "drug": ["all", "code"]}
        count, hub = {"seizures": "lines"}, {"time": "time", "drug": "drugs"}
        codes = ["all", "code"]
        star = [
            table(1, "seizure", {**hub, "region": "regions"}, count, [{**year, "region": codes}]),
            table(2, "seizure", {**hub, "form": "forms"}, count, [{**year, "form": codes}]),
        ]
        cube = [table(1, "seizure", {**hub, "region": "regions", "form": "forms"}, count, [{**year, "region": codes, "form": codes}])]
        flat_table = [table(1, "seizure", {**hub, "region": "regions"}, count, [{**year, "region": codes}])]
        for seed in range(self.SETS):
            chance = random.Random(seed)
            tables, editions = chance.choice(((star, 1), (cube, 1), (flat_table, 1), (flat_table, 2)))
            with self.subTest(seed=seed):
                self.compare(chance, Case(trees, tables, k=3), 3 if tables is not flat_table else 2, editions)

    def compare(self, chance, case, dimensions, editions):
        leaves = list(itertools.product("01", repeat=dimensions))
        some = []
        for _ in range(editions):
            for _ in range(chance.randint(3, 7)):
                some += lines({chance.choice(leaves): 1}, start=len(some))
            hidden = {}
            def hide(codes, of):
                at = tuple(sorted((name, code) for name, code in codes.items() if code != "_T"))
                # The total bounds brute force.
                return len(at) > 1 and hidden.setdefault(at, chance.random() < 0.6)
            case.edition(some, hide)
        release = Folder(case.path).release("seizure", "2011", (0, 0))
        audit, vintages = Audit(release, "count"), range(len(release.truths))
        keys = sorted(key for of, key in release.said if of == "count")
        # What is true counts for every vintage; what is news for its own alone.
        news = {key: rows for (of, key), rows in release.rows.items() if rows}
        for rows, spans in ((audit.held(), [(-1, at) for at in vintages]), (news, [(0, at) for at in vintages[1:]])):
            worlds = audit.world(rows, Tally())
            shown = [(self.cells(release, key, leaves, (-1, row.vintage)), row.value) for key in keys for row in rows.get(key, [])]
            wanted = [(key, span) for key in keys for span in spans]
            unknowns = [(leaf, vintage) for leaf in leaves for vintage in vintages]
            expected = brute.intervals(unknowns, shown, [self.cells(release, key, leaves, span) for key, span in wanted])
            for (key, span), ends in zip(wanted, expected):
                segment, _, system = worlds[0]
                touched, covered = look(segment, span, key)
                between, exact = system.interval(touched, covered, lambda _: False)
                self.assertTrue(exact)
                found = system.whole_interval(touched, covered, between)
                self.assertEqual([found.low, found.high], ends, release.kind.words(key))

    def cells(self, release, key, leaves, span):
        """The combinations of leaves under a key, as what each vintage of a span adds."""
        said, names = release.kind.words(key), ("drug", "region", "form")
        return {
            (leaf, at) for leaf in leaves for at in range(span[0] + 1, span[1] + 1)
            if all(said.get(name, "_T") in ("_T", code) for name, code in zip(names, leaf))
        }


class Whole(unittest.TestCase):
    def test_whole_numbers_reach_less_far_than_real_ones(self):
        # Twice three numbers of which any two come to at most one: half of each in real numbers.
        equations = [
            Equation([start + a, start + b, start + 3 + at], [], 1, "test")
            for start in (0, 6) for at, (a, b) in enumerate(((0, 1), (1, 2), (0, 2)))
        ]
        true = {start + 3 + at: 1 for start in (0, 6) for at in range(3)}
        system, sum_of = System(12, equations, true, True, 1, Tally()), [0, 1, 2, 6, 7, 8]
        found, _ = system.interval(sum_of, sum_of, lambda _: False)
        self.assertEqual([found.low, found.high], [0, 3])
        self.assertFalse(system.wide_in_whole(sum_of, sum_of, 3))
        self.assertTrue(system.wide_in_whole(sum_of, sum_of, 2))
        found = system.whole_interval(sum_of, sum_of, found)
        self.assertEqual([found.low, found.high], [0, 2])


class Together(unittest.TestCase):
    """The intervals are those of one programme over all dimensions together, on random sets of the shipped lists."""

    def test_intervals_of_random_sets(self):
        for seed in range(1, 31):
            with self.subTest(seed=seed):
                self.compare(seed, scratch() / "set")

    def compare(self, seed, path):
        random_sets.write(seed, path)
        # Few lines, and zeros hidden: the joint programme puts unseen codes together.
        (path / "lines-1.json").write_text(json.dumps(json.loads((path / "lines-1.json").read_text())[:25]))
        (path / "rules.json").write_text(json.dumps({**RULES, "country": json.loads((path / "rules.json").read_text())["country"], "k": 3}))
        (path / "edition-1.json").write_text('{"cells": []}')
        chance, folder = random.Random(seed), Folder(path)
        primary, share = publish.primary(folder.rules), chance.choice((0.1, 0.3, 0.5))
        publish.write(path / "edition-1.json", publish.cells_of(
            folder, read_lines(path / "lines-1.json"), lambda *cell: primary(*cell) or chance.random() < share))
        folder = Folder(path)
        release = folder.release("seizure", "2011", (0, len(folder.cells) - 1))
        for family in families(folder.tables):
            one, audit = joint.Joint(release, family), Audit(release, family)
            segment, at, system = audit.world(audit.held(), Tally())[0]
            hidden = [key for of, key in release.said if of == family and 0 not in release.held[family, key]]
            full = [key for key in hidden if release.truths[0].total(family, key)]
            for key in chance.sample(hidden, min(5, len(hidden))) + chance.sample(full, min(10, len(full))):
                found, _ = system.interval(*look(segment, (-1, at), key), lambda _: False)
                low, high = one.interval(key)
                if family == "count":
                    low, high = math.ceil(low - 1e-6), math.inf if high is None else math.floor(high + 1e-6)
                said = f"{family} {release.kind.words(key)}"
                self.assertAlmostEqual(found.low, low, delta=1e-3 + 1e-6 * abs(low), msg=said)
                if high is None or math.isinf(high):
                    self.assertEqual(found.high, math.inf, said)
                else:
                    self.assertAlmostEqual(found.high, high, delta=1e-3 + 1e-6 * high, msg=said)


class NoFalseAlarm(unittest.TestCase):
    def test_where_everything_is_hidden_nobody_learns_anything(self):
        for seed in range(1, 21):
            with self.subTest(seed=seed):
                path, editions = scratch() / "set", 1 + seed % 3
                random_sets.write(seed, path, editions)
                publish.write(path / "edition-1.json", [])
                tables = Folder(path)
                for number in range(1, editions + 1):
                    lines_of = read_lines(path / f"lines-{number}.json")
                    publish.write(path / f"edition-{number}.json", publish.cells_of(tables, lines_of, lambda *_: True))
                self.assertEqual(oracle.run(str(path), oracle.options([str(path), "--insider", "3"])).leaks, [])


if __name__ == "__main__":
    unittest.main()
