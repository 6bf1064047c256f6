"""Tests of the oracle on the attacks of the table in the documents, with its numbers; what is seen on the face; mutations; insiders."""
import contextlib
import io
import itertools
import json
import unittest

import oracle
from case import Case, flat, lines, scratch, table


def narrow(found, **cell):
    """The interval of the leak at a cell, or nothing."""
    for leak in found.leaks:
        if leak["leak"] == "narrow" and all(leak["cell"].get(name) == code for name, code in cell.items()):
            return leak["interval"]
    return None


def kinds(found):
    return {leak["leak"] for leak in found.leaks}


DRUGS = {"drugs": flat("cocaine", "heroin", "mdma"), "regions": flat("N", "S")}
STAR = [
    table(1, "seizure", {"time": "time", "drug": "drugs"}, {"seizures": "lines"}, [{"time": ["year"], "drug": ["all", "code"]}]),
    table(2, "seizure", {"time": "time", "drug": "drugs", "region": "regions"}, {"seizures": "lines"},
          [{"time": ["year"], "drug": ["all", "code"], "region": ["all", "code"]}]),
]
MONTHS = [
    table(1, "seizure", {"time": "time", "drug": "drugs"}, {"seizures": "lines"},
          [{"time": ["year", "quarter", "month"], "drug": ["all"]}]),
]
TABLE_51 = {("cocaine", "N"): 12, ("heroin", "N"): 3, ("mdma", "N"): 15, ("cocaine", "S"): 11, ("heroin", "S"): 14, ("mdma", "S"): 18}


MONTHS_OF_DRUGS = STAR[:1]
MASSES = [
    table(1, "seizure", {"time": "time", "drug": "drugs"}, {"seizures": "lines", "quantity": "mass_mg"},
          [{"time": ["year"], "drug": ["all", "code"]}]),
]
YEAR_MASS = [
    table(1, "seizure", {"time": "time", "drug": "drugs"}, {"seizures": "lines", "quantity": "mass_mg"},
          [{"time": ["year"], "drug": ["all"]}]),
]
OPIOIDS = {"drugs": [
    ("_T", "", "all"), ("opioids", "_T", "group"), *((code, "opioids", "substance") for code in ("heroin", "fentanyl", "methadone")),
]}
GROUPS = [
    table(1, "seizure", {"time": "time", "drug": "drugs"}, {"seizures": "lines"},
          [{"time": ["year"], "drug": ["all", "group", "substance"]}]),
]


def only(*cells):
    """Hides these cells (their codes but time) and nothing else; of a table that has not all the dimensions nothing."""
    return lambda codes, of: tuple(codes.values())[1:] in cells


def nothing(_codes, _of):
    return False


SQUARE = only(*itertools.product(("cocaine", "heroin"), ("N", "S")))


def by_month(numbers, start=0):
    found = []
    for month, number in numbers.items():
        found += lines({"cocaine": number}, start + len(found), time=f"2011-{month:02}")
    return found


def hide_months(*periods, zeros=False):
    """Hides these periods, and with `zeros` the other quarters."""
    first = ("2011", "2011-Q1", "2011-01", "2011-02", "2011-03")
    return lambda codes, of: codes["time"] in periods or zeros and codes["time"][:7] not in first


def purity(case, drug, value):
    return {"kind": "purity", "case": case, "time": "2011-01", "drug": drug, "value": value}


def weighed(number, mass):
    return [{"kind": "seizure", "case": f"c{at}", "time": "2011-01", "drug": "cocaine", "mass_mg": mass} for at in range(number)]


def as_before(case, cells, *times):
    """Carries the numbers of the first edition; with `times` only theirs."""
    old = json.loads((case.path / "edition-1.json").read_text())["cells"]
    for cell, before in zip(cells, old):
        if not times or cell["key"]["time"] in times:
            cell["values"] = before["values"]


class Attacks(unittest.TestCase):
    """Each row of the table: the naive release leaks the value of the table, the right one passes."""

    def check(self, naive, cell, interval, good):
        self.assertEqual(narrow(naive.run(), **cell), interval)
        self.assertEqual(good.run().leaks, [])

    def test_5_1_total_minus_parts(self):
        naive = Case(DRUGS, STAR).edition(lines(TABLE_51), only(("heroin", "N")))
        good = Case(DRUGS, STAR).edition(lines(TABLE_51), SQUARE)
        self.check(naive, {"drug": "heroin", "region": "N"}, [3, 3], good)
        self.assertEqual(good.run().margins["count"][1]["interval"], [0, 15])

    def test_5_2_differencing_in_time(self):
        # The other quarters are hidden, with enough in one of them to hide the zeros of the others.
        some = by_month({1: 6, 2: 7, 3: 1, 5: 8})
        naive = Case(DRUGS, MONTHS, zeros="shown").edition(some, hide_months("2011-03"))
        good = Case(DRUGS, MONTHS).edition(some, hide_months("2011-01", "2011-03", "2011-Q1_U", zeros=True))
        self.check(naive, {"time": "2011-03"}, [1, 1], good)

    def test_5_5_the_same_bytes(self):
        some = lines({("cocaine", "N"): 7, ("heroin", "N"): 9, ("mdma", "S"): 8})
        def noise(cells):
            cells[0]["values"]["seizures"]["value"] += 1
        naive = Case(DRUGS, MONTHS_OF_DRUGS).edition(some, nothing, noise).run()
        self.assertIn("untrue", kinds(naive))
        # What another officer was given differs from what the first one was given.
        other = Case(DRUGS, MONTHS_OF_DRUGS).edition(some, nothing)
        cells = json.loads((other.path / "edition-1.json").read_text())
        noise(cells["cells"])
        other.put("edition-1-again.json", cells)
        self.assertIn("differs_between_tables", kinds(other.run()))

    def test_5_6_mean_times_count(self):
        # 13 cases of 61.0 on average, and one of 82.0 in the rest of the group.
        some = [purity(f"c{at}", "one", 6100) for at in range(13)] + [purity("c13", "two", 8200)]
        trees = {"drugs": [("_T", "", "all"), ("one", "_T", "code"), ("two", "_T", "code")]}
        tables = [table(1, "purity", {"time": "time", "drug": "drugs"}, {"samples": "lines", "mean": "mean"},
                        [{"time": ["year"], "drug": ["all", "code"]}])]
        naive = Case(trees, tables).edition(some, lambda codes, of: codes["drug"] == "two")
        self.assertEqual(narrow(naive.run(), drug="two", time="2011"), [1, 1])
        values = [leak for leak in naive.run().leaks if leak["measure"] == "mean" and leak["leak"] == "narrow"]
        self.assertEqual(values[0]["interval"], [8200, 8200])
        good = Case(trees, tables).edition(some, lambda codes, of: codes["drug"] != "_T" or of == "mean")
        self.assertEqual(good.run().leaks, [])

    def test_5_7_dominance(self):
        grams = [9000, 300, 200, 150, 120, 100, 60, 40, 20, 10]
        some = [
            {"kind": "seizure", "case": f"c{at}", "time": "2011-01", "drug": "cocaine", "mass_mg": gram * 1000}
            for at, gram in enumerate(grams)
        ]
        naive = Case(DRUGS, MASSES).edition(some, lambda codes, of: of == "lines" and codes["drug"] in ("heroin", "mdma"))
        self.assertIn("unsafe_shown", kinds(naive.run()))
        # Ten cases are shown, their mass is not, nor is it what remains of a shown total.
        some += [
            {"kind": "seizure", "case": f"d{at}", "time": "2011-01", "drug": "heroin", "mass_mg": 20_000_000} for at in range(8)
        ]
        few = lambda codes: codes["drug"] in ("heroin", "mdma")
        mass = lambda codes, of, *drugs: of == "mass_mg" and codes["drug"] in drugs
        naive = Case(DRUGS, MASSES).edition(some, lambda codes, of: mass(codes, of, "cocaine", "mdma") or few(codes) and of == "lines")
        self.assertEqual(narrow(naive.run(), drug="cocaine"), [0, 10_000_000])
        good = Case(DRUGS, MASSES).edition(some, lambda codes, of: few(codes) or mass(codes, of, "cocaine"))
        self.assertEqual(good.run().leaks, [])

    def test_5_8_contributor_inflation(self):
        one = [{**line, "case": "c"} for line in lines({("cocaine", "N"): 12})]
        some = one + lines({("heroin", "N"): 12, ("mdma", "N"): 12}, start=20)
        naive = Case(DRUGS, MONTHS_OF_DRUGS).edition(some, nothing)
        self.assertIn("unsafe_shown", kinds(naive.run()))
        self.assertEqual(Case(DRUGS, MONTHS_OF_DRUGS).edition(some, only(("cocaine",), ("heroin",))).run().leaks, [])

    def test_5_11_edition_differencing(self):
        before = weighed(12, 17_200_000)
        added = [*before, {**before[0], "case": "new", "mass_mg": 25_000_000}]
        gone = before[1:]
        corrected = [*before[1:], {**before[0], "mass_mg": before[0]["mass_mg"] + 9_000_000}]
        for after in (added, gone, corrected):
            with self.subTest(lines=len(after)):
                naive = Case(DRUGS, YEAR_MASS).edition(before, nothing).edition(after, nothing).run()
                self.assertIn("changes", {leak.get("attacker") for leak in naive.leaks})
                carried = Case(DRUGS, YEAR_MASS).edition(before, nothing)
                carried.edition(after, nothing, lambda cells: as_before(carried, cells))
                self.assertEqual(carried.run().leaks, [])
        naive = Case(DRUGS, YEAR_MASS).edition(before, nothing).edition(added, nothing).run()
        self.assertEqual(
            [leak["interval"] for leak in naive.leaks if leak["measure"] == "mass_mg" and leak["cell"]["time"] == "2011"],
            [[25_000_000, 25_000_000]],
        )
        # Six cases more, none of which stands out: the cell is brought up to date.
        six = before + [{**line, "case": f"n{at}"} for at, line in enumerate(before[:6])]
        self.assertEqual(Case(DRUGS, YEAR_MASS).edition(before, nothing).edition(six, nothing).run().leaks, [])

    def test_5_13_collusion(self):
        some = lines({"heroin": 17, "fentanyl": 4, "methadone": 9})
        # X is given substances, Y groups: two readings of one edition.
        naive = Case(OPIOIDS, GROUPS).edition(some, lambda codes, of: codes["drug"] in ("fentanyl", "_T"))
        naive.put("edition-1-y.json", {"cells": [
            {"table": "t1", "key": {"time": "2011", "drug": "opioids"}, "values": {"seizures": {"state": "value", "value": 30}}}
        ]})
        good = Case(OPIOIDS, GROUPS).edition(some, lambda codes, of: codes["drug"] in ("fentanyl", "methadone"))
        self.check(naive, {"drug": "fentanyl"}, [4, 4], good)
        self.assertEqual(good.run().margins["count"][1]["interval"], [0, 13])

    def test_5_16_zero_cell(self):
        some = lines({("cocaine", "N"): 12, ("heroin", "N"): 9, ("cocaine", "S"): 11, ("heroin", "S"): 14, ("mdma", "S"): 18})
        zero = lambda codes, of: tuple(codes.values())[1:] == ("mdma", "N")
        square = only(*itertools.product(("cocaine", "mdma"), ("N", "S")))
        self.check(
            Case(DRUGS, STAR).edition(some, zero), {"drug": "mdma", "region": "N"}, [0, 0], Case(DRUGS, STAR).edition(some, square)
        )
        # Where a policy shows zeros, this one is no secret, and others are not narrowed by it.
        shown = Case(DRUGS, STAR, zeros="shown").edition(some, nothing)
        self.assertEqual(shown.run().leaks, [])
        few = Case(DRUGS, STAR, zeros="shown").edition(lines({**TABLE_51, ("mdma", "N"): 0}), SQUARE).run()
        self.assertEqual((few.leaks, few.margins["count"][1]["interval"]), ([], [0, 15]))

    def test_5_17_all_hidden_total_shown(self):
        for some, total in (({}, 0), ({"heroin": 1, "fentanyl": 1}, 2)):
            naive = Case(OPIOIDS, GROUPS).edition(lines(some), lambda codes, of: codes["drug"] not in ("opioids", "_T")).run()
            self.assertIn("unsafe_shown", kinds(naive))
            self.assertEqual(narrow(naive, drug="fentanyl"), [0, total])
            self.assertEqual(Case(OPIOIDS, GROUPS).edition(lines(some), lambda codes, of: True).run().leaks, [])

    def test_5_18_policy_change(self):
        # N-heroin has 3: below five it is hidden, at three it is shown; S-mdma has 2 and is hidden under both.
        some = lines({**TABLE_51, ("heroin", "N"): 3, ("mdma", "S"): 2, ("heroin", "S"): 14})
        first = only(*itertools.product(("mdma", "heroin"), ("N", "S")))
        second = only(*itertools.product(("mdma", "cocaine"), ("N", "S")))
        naive = Case(DRUGS, STAR, k=3).edition(some, first).edition(some, second)
        good = Case(DRUGS, STAR, k=3).edition(some, first).edition(some, first)
        self.check(naive, {"drug": "mdma", "region": "S"}, [2, 2], good)

    def test_a_correction_names_what_can_be_narrowed(self):
        # As above, but two people agreed on the second edition and were told of what the first gives away beside it.
        some = lines({**TABLE_51, ("heroin", "N"): 3, ("mdma", "S"): 2, ("heroin", "S"): 14})
        first = only(*itertools.product(("mdma", "heroin"), ("N", "S")))
        second = only(*itertools.product(("mdma", "cocaine"), ("N", "S")))
        named = {"kind": "seizure", "table": "t2", "key": {"time": "2011", "drug": "mdma", "region": "S"}, "measure": "seizures"}
        def leaks(narrows, *more):
            case = Case(DRUGS, STAR, k=3).edition(some, first).edition(some, second)
            case.put("corrected-2.json", {"narrows": narrows})
            for hidden in more:
                case.edition(some, hidden)
            return [(leak["edition"], leak["cell"]["drug"], leak["cell"]["region"]) for leak in case.run().leaks]
        self.assertEqual(leaks([]), [(1, "mdma", "S")])
        self.assertEqual(leaks([{**named, "key": {**named["key"], "drug": "cocaine"}}]), [(1, "mdma", "S")])
        self.assertEqual(leaks([named]), [])
        # From the second on nothing is given up that it does not give away itself.
        self.assertEqual(leaks([named], second), [])
        self.assertEqual(leaks([named], first), [(2, "mdma", "S")])

    def test_5_20_public_total(self):
        some = lines({("cocaine", "N"): 19, ("cocaine", "S"): 4})
        hidden = lambda codes, of: not ("region" in codes and codes["region"] == "N" and codes["drug"] == "_T")
        tables = [STAR[0], STAR[1].replace('"all", "code"], region', '"all"], region')]
        self.assertEqual(narrow(Case(DRUGS, tables).edition(some, hidden).run(), region="S"), [4, 4])
        self.assertEqual(Case(DRUGS, tables).edition(some, lambda codes, of: True).run().leaks, [])

    def test_5_21a_cells_from_margins(self):
        digits = {"000": 3, "001": 8, "010": 14, "011": 12, "100": 6, "101": 9, "110": 11, "111": 0}
        trees = {name: flat("0", "1") for name in ("drugs", "regions", "forms")}
        tables = [table(1, "seizure", {"time": "time", "drug": "drugs", "region": "regions", "form": "forms"}, {"seizures": "lines"},
                        [{"time": ["year"], "drug": ["all", "code"], "region": ["all", "code"], "form": ["all", "code"]}])]
        some = lines({tuple(one): number for one, number in digits.items()})
        inner = lambda codes: [codes[name] for name in ("drug", "region", "form")]
        cube = lambda codes, of: "_T" not in inner(codes)
        naive = Case(trees, tables).edition(some, cube)
        face = lambda codes, of: cube(codes, of) or codes["form"] == "_T" and "_T" not in (codes["drug"], codes["region"])
        self.check(naive, {"drug": "0", "region": "0", "form": "0"}, [0, 3], Case(trees, tables).edition(some, face))
        margin = lambda codes, of: cube(codes, of) or inner(codes) == ["0", "0", "_T"]
        self.assertEqual(narrow(Case(trees, tables).edition(some, margin).run(), drug="0", region="0", form="0"), [0, 3])

    def test_5_23_overlap_of_drugs(self):
        # Three cases hold both drugs: 18 cases, 21 lines.
        some = lines({"heroin": 12, "fentanyl": 9})
        for at in range(3):
            some[12 + at]["case"] = some[at]["case"]
        hidden = lambda codes, of: codes["drug"] in ("fentanyl", "methadone")
        def distinct(cells):
            for cell in cells:
                if cell["key"]["drug"] in ("opioids", "_T"):
                    cell["values"]["seizures"]["value"] = 18
        naive = Case(OPIOIDS, GROUPS).edition(some, hidden, distinct).run()
        self.assertIn("untrue", kinds(naive))
        good = Case(OPIOIDS, GROUPS).edition(some, hidden).run()
        self.assertEqual(good.leaks, [])
        self.assertEqual(good.margins["count"][1]["interval"], [0, 9])

    def test_5_24_a_case_over_two_months(self):
        some = by_month({1: 6, 2: 7, 3: 5})
        some[6]["case"] = some[0]["case"]
        def distinct(cells):
            for cell in cells:
                if cell["key"]["time"] == "2011-Q1":
                    cell["values"]["seizures"]["value"] -= 1
        naive = Case(DRUGS, MONTHS, zeros="shown").edition(some, nothing, distinct).run()
        self.assertEqual({"untrue"}, kinds(naive))
        self.assertEqual(Case(DRUGS, MONTHS, zeros="shown").edition(some, nothing).run().leaks, [])

    def test_5_25_one_change_beside_updated_neighbours(self):
        before = by_month({1: 30, 2: 20, 3: 20})
        after = before + by_month({1: 5, 2: 1}, start=100)
        old = Case(DRUGS, MONTHS, zeros="shown").edition(before, nothing)
        old.edition(after, nothing, lambda cells: as_before(old, cells, "2011-02"))
        self.assertEqual(narrow(old.run(), time="2011-02"), [0, 1])
        carried = Case(DRUGS, MONTHS, zeros="shown").edition(before, nothing)
        carried.edition(after, nothing, lambda cells: as_before(carried, cells))
        self.assertEqual(carried.run().leaks, [])


class Face(unittest.TestCase):
    """What is wrong without any reckoning."""

    def test_numbers_that_contradict_each_other(self):
        def negative(cells):
            cells[0]["values"]["seizures"]["value"] = -1
        found = Case(DRUGS, STAR).edition(lines(TABLE_51), SQUARE, negative).run()
        self.assertLessEqual({"negative", "untrue", "differs_between_tables"}, kinds(found))

    def test_few_are_not_shown(self):
        self.assertIn("unsafe_shown", kinds(Case(DRUGS, STAR).edition(lines(TABLE_51), nothing).run()))

    def test_tables_without_margins_are_looked_at_for_themselves(self):
        roles = {"roles": flat("one", "two", level="role")}
        tables = [table(1, "site", {"time": "time", "role": "roles"}, {"sites": "lines"}, [{"time": ["year"], "role": ["role"]}])]
        tables = [text.replace("[[table.dimension]]", "margins = false\n[[table.dimension]]", 1) for text in tables]
        some = [{"kind": "site", "case": f"c{at}", "time": "2011-01", "role": "one" if at < 6 else "two"} for at in range(9)]
        def shows(**numbers):
            case = Case(roles, tables)
            case.put("lines-1.json", some)
            case.put("edition-1.json", {"cells": [
                {"table": "t1", "key": {"role": role, "time": "2011"}, "values": {"sites": {"state": "value", "value": number}}}
                for role, number in numbers.items()
            ]})
            return kinds(case.run())
        self.assertEqual(shows(one=6), set())
        self.assertEqual(shows(one=6, two=3), {"unsafe_shown"})
        self.assertEqual(shows(one=7), {"untrue"})

    def test_bad_input_is_told_apart(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(oracle.main([str(scratch())]), 2)
        self.assertIn("rules.json", said.getvalue())


class Mutation(unittest.TestCase):
    def test_each_needed_cell_that_is_shown_is_found(self):
        square = set(itertools.product(("cocaine", "heroin"), ("N", "S")))
        for cell in sorted(square):
            with self.subTest(cell=cell):
                self.assertTrue(Case(DRUGS, STAR).edition(lines(TABLE_51), only(*square - {cell})).run().leaks)


class Insider(unittest.TestCase):
    def test_who_is_alone_in_the_cell_that_hides_another(self):
        # N-heroin is one case and hides behind S-heroin, which is one case as well: each knows itself, and so the other.
        some = lines({**TABLE_51, ("heroin", "N"): 1, ("heroin", "S"): 6, ("cocaine", "N"): 6, ("cocaine", "S"): 1})
        case = Case(DRUGS, STAR).edition([{**line, "mass_mg": 1} for line in some], SQUARE)
        self.assertEqual(case.run().leaks, [])
        self.assertEqual({leak["attacker"] for leak in case.run("--insider").leaks}, {"insider"})


if __name__ == "__main__":
    unittest.main()
