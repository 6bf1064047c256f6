"""Tests the pieces of the independent check of values, each by a table of examples worked out by hand."""

import contextlib
import datetime
import functools
import io
import json
import unittest
from fractions import Fraction

import check
import check_values
from test_check import CATALOGUE, LISTS, ROOT, Table, in_folder

LAYOUT = ROOT / "docs" / "layout"
RATES = """Date,USD,SEK,SIT,
2024-05-20,1.1,11.5,N/A,
2024-05-17,1.25,11.6,N/A,
2024-05-15,1.6,11.8,N/A,
2006-12-29,1.317,9.0404,239.64,
"""
COMMON = {"record_id": "R-1", "case_id": "K-1", "date": "2024-05-17", "source": "synthetic"}
GOOD = {
    "purity": COMMON
    | {"drug": "COC", "form": "COC_HCL", "purity_percent": "62.5", "below_detection": "no", "expressed_as": "base"}
    | {"sampling": "all", "origin": "seizure", "market_level": "retail"},
    "price": COMMON
    | {"drug": "COC", "form": "COC_HCL", "amount": "60", "currency": "EUR", "quantity": "1", "unit": "g"}
    | {"market_level": "retail", "weight_basis": "weighed", "price_source": "online"},
    "site": COMMON | {"site_role": "extraction"},
}


@functools.cache
def lists(country="ES"):
    return check_values.ValueLists(LISTS, country)


def rates():
    stack, path = in_folder("rates.csv", RATES)
    with stack:
        return check_values.Rates(path)


def read_file(kind, path):
    reading = check.Reading()
    check_values.KINDS[kind](lists(), reading, rates()).read(path)
    return reading


def text_of(kind, rows):
    """A canonical file of rows that differ from a good row."""
    columns = check_values.KINDS[kind].columns
    full = [dict.fromkeys(columns, "") | GOOD[kind] | row for row in rows]
    return "\n".join(",".join(row.values()) for row in [dict(zip(columns, columns)), *full]) + "\n"


def read(kind, *rows):
    stack, path = in_folder("rows.csv", text_of(kind, rows))
    with stack:
        return read_file(kind, path)


def outcome(kind, row):
    """The leaves of one row without the time, or the rule that it breaks."""
    reading = read(kind, row)
    if not reading.lines:
        return next(iter(reading.bad))
    return " ".join(code for name, code in reading.lines[0].leaves.items() if name != "time")


def value_of(line):
    """The value of a line, if it has one."""
    return next((name for name in line.parts if isinstance(name, int)), None)


class Numbers(Table):
    def test_a_purity_is_in_hundredths_of_a_per_cent(self):
        self.table(
            check_values.purity,
            [
                ("81.40", 8140),
                ("38", 3800),
                ("0.00", 0),
                ("0.01", 1),
                ("100.00", 10000),
                ("62.500", 6250),
                ("100.01", "R-RANGE"),
                ("62.505", "R-NUMBER"),
                ("-1", "R-NUMBER"),
                ("62,5", "R-NUMBER"),
                ("6e1", "R-NUMBER"),
            ],
        )

    def test_a_price_is_exact_until_it_is_rounded_half_to_even(self):
        self.table(
            lambda amount, rate, number, unit: check_values.price(amount, Fraction(rate), number, unit),
            [
                ("60.00", 1, "1", "g", (6000, "gram")),
                ("1.25", 1, "10", "g", (12, "gram")),  # 12.5 cents
                ("1.35", 1, "10", "g", (14, "gram")),  # 13.5 cents
                ("1.25", "1.0000001", "10", "g", (12, "gram")),
                ("1.25", "0.9999999", "10", "g", (13, "gram")),
                ("100", "1.25", "0.5", "g", (16000, "gram")),
                ("25000", 1, "1", "kg", (2500, "gram")),
                ("1000", 1, "1", "oz", (3527, "gram")),
                ("1", 1, "0.0015", "g", (50000, "gram")),  # 2 mg, not 1.5
                ("1", 1, "0.0025", "g", (50000, "gram")),  # 2 mg, not 2.5
                ("80", 1, "10", "tablet", (800, "tablet")),
                ("1", 1, "3", "dose", (33, "dose")),
                ("1", 1, "0.0004", "g", "R-RANGE"),
                ("1", 1, "0.5", "tablet", "R-NUMBER"),
                ("0.00", 1, "1", "g", "R-RANGE"),
                ("1.005", 1, "1", "g", "R-NUMBER"),
                ("1", 1, "0", "g", "R-NUMBER"),
                ("1", 1, "1", "ml", "R-UNIT"),
                ("1", 1, "1", "capsule", "R-UNIT"),
            ],
        )

    def test_a_date_without_a_day_takes_the_rate_of_its_middle(self):
        self.table(
            lambda text: check_values.rate_date(text).isoformat(),
            [
                ("2024-05-17", "2024-05-17"),
                ("2024-05", "2024-05-15"),
                ("2024-Q1", "2024-02-15"),
                ("2024-Q4", "2024-11-15"),
                ("2024", "2024-07-01"),
                ("2024-13", "R-DATE"),
            ],
        )

    def test_the_last_rate_counts_if_it_is_not_too_old(self):
        self.table(
            lambda currency, day: rates().rate(currency, datetime.date.fromisoformat(day)),
            [
                ("USD", "2024-05-17", Fraction("1.25")),
                ("USD", "2024-05-19", Fraction("1.25")),
                ("USD", "2024-05-16", Fraction("1.6")),
                ("USD", "2024-05-27", Fraction("1.1")),
                ("USD", "2024-05-28", "R-RATE"),
                ("USD", "2006-12-28", "R-RATE"),
                ("SIT", "2006-12-31", Fraction("239.64")),
                ("SIT", "2024-05-17", "R-RATE"),
                ("ABC", "2024-05-17", "R-RATE"),
                ("EUR", "1900-01-01", Fraction(1)),
            ],
        )


class Leaves(Table):
    def test_a_drug_counts_in_the_shorter_list(self):
        self.table(
            lists().substance_leaf,
            [
                ("COC", "COC_HCL", "COC_HCL"),
                ("COC_COCAINE", "", "COC_COCAINE_U"),
                ("COC_COCAINE", "unknown", "COC_COCAINE_U"),
                ("COC_COCAINE_U", "", "COC_COCAINE_U"),
                ("AMP_AMPHETAMINE", "", "AMP_AMPHETAMINE"),
                ("AMP_METH_CRYSTAL", "", "AMP_METH_CRYSTAL"),
                ("COC", "", "_U"),
                ("COC_U", "", "_U"),
                ("LSD", "unknown", "_U"),
                ("unknown", "", "_U"),
                ("_U", "", "_U"),
                ("COC_LEAF", "", "_O"),
                ("COC_O", "", "_O"),
                ("HER_FENTANYL", "", "_O"),
                ("OTHER_KETAMINE", "", "OTHER_KETAMINE"),
                ("_O", "", "R-CODE"),
                ("COFFEE", "", "R-CODE"),
                ("HER", "COC_HCL", "R-CODE"),
            ],
        )

    def test_every_drug_has_a_leaf_that_is_not_divided_further(self):
        listed = lists().by_dimension["drug"]
        for code in lists().drugs.level:
            with self.subTest(code):
                leaf = lists().substance_leaf(code, "")
                self.assertIn(leaf, listed.level)
                self.assertNotIn(leaf, listed.inner)

    def test_codes_of_a_row(self):
        self.table(
            outcome,
            [
                ("purity", {}, "COC_HCL retail base seizure_all"),
                ("purity", {"sampling": "unknown"}, "COC_HCL retail base _U"),
                ("purity", {"sampling": "random"}, "COC_HCL retail base seizure_random"),
                ("purity", {"origin": "drug_checking", "sampling": "unknown"}, "COC_HCL retail base drug_checking"),
                ("purity", {"market_level": "", "expressed_as": "unknown"}, "COC_HCL _U _U seizure_all"),
                ("price", {}, "COC_HCL retail gram_weighed"),
                ("price", {"weight_basis": "assumed", "unit": "kg"}, "COC_HCL retail gram_assumed"),
                ("price", {"weight_basis": "unknown"}, "COC_HCL retail gram_U"),
                ("price", {"unit": "tablet", "market_level": "unknown"}, "COC_HCL _U tablet"),
                ("site", {}, "extraction"),
                ("site", {"site_role": "unknown"}, "_U"),
            ],
        )


class Files(Table):
    def test_the_layouts_of_the_documents_are_read(self):
        self.table(
            lambda kind: [value_of(line) for line in self.layout(kind)],
            [
                ("purity", [8140, None, 3800]),
                ("price", [6000, 11207, 800]),  # the second: 650 SEK at 11.6, half a gram
                ("site", [None, None, None]),
            ],
        )

    @staticmethod
    def layout(kind):
        reading = read_file(kind, LAYOUT / f"{kind}.csv")
        assert not reading.bad, reading.bad
        return reading.lines

    def test_bad_rows_are_left_out_and_named(self):
        self.table(
            outcome,
            [
                ("purity", {"below_detection": "yes"}, "R-RANGE"),
                ("purity", {"purity_percent": ""}, "R-REQUIRED"),
                ("purity", {"threshold_mg": "500"}, "R-RANGE"),
                ("purity", {"adulterants": "caffeine;sugar"}, "R-CODE"),
                ("purity", {"adulterants": "caffeine;none"}, "R-CODE"),
                ("purity", {"seizure_id": "a b"}, "R-ID"),
                ("purity", {"form": ""}, "R-REQUIRED"),
                ("price", {"currency": "eur"}, "R-CURRENCY"),
                ("price", {"currency": "SIT"}, "R-RATE"),
                ("price", {"purity_percent": "60"}, "R-REQUIRED"),
                ("price", {"market_level": ""}, "R-REQUIRED"),
                ("site", {"injured": "1000"}, "R-RANGE"),
                ("site", {"found_amount": "5"}, "R-UNIT"),
                ("site", {"date": "yesterday"}, "R-DATE"),
                ("site", {"linked_seizures": "R-1;a b"}, "R-CODE"),
                ("site", {"nuts": "PT170"}, "R-PLACE"),
            ],
        )

    def test_a_country_without_nuts_names_its_subdivisions(self):
        for code, is_good in (("US-WA", True), ("US-XX", False), ("ES11", False)):
            with self.subTest(code):
                reader = check_values.Site(lists("US"), check.Reading())
                with contextlib.nullcontext() if is_good else self.assertRaises(check.BadRow):
                    reader.check_place({"nuts": code})

    def test_a_record_number_comes_once(self):
        reading = read("site", {}, {"case_id": "K-2"}, {"record_id": "R-2", "case_id": "k-1 "})
        self.assertEqual((len(reading.lines), reading.cases(), reading.bad), (2, 1, {"R-CONFLICT": 1}))

    def test_rows_of_the_dea_file_that_are_equal_in_every_field_are_one_case(self):
        text = "state,potency,weight,month,price\nWA,77.0,2.0,1,250.0\nWA,77.0,2.0,1,250.0\nCT,77.0,2.0,1,250.0\n"
        text += "CT,77.0,2.0,12,250.0\n"
        for kind, value in (("purity", 7700), ("price", 10000)):
            with self.subTest(kind):
                reading = self.dea(kind, text)
                self.assertEqual((len(reading.lines), reading.cases()), (4, 3))
                self.assertEqual([value_of(line) for line in reading.lines], [value] * 4)
                self.assertEqual([line.leaves["time"] for line in reading.lines], ["2007-01"] * 3 + ["2007-12"])
        with self.assertRaises(check.Unusable):
            self.dea("purity", text.replace("potency", "purity"))

    @staticmethod
    def dea(kind, text):
        table = check_values.Rates.__new__(check_values.Rates)
        table.by_day = {datetime.date(2007, month, 15): {"USD": "1.25"} for month in (1, 12)}
        reading = check.Reading()
        stack, path = in_folder("dea.csv", text)
        with stack:
            check_values.read_dea(path, kind, check_values.KINDS[kind](lists(), reading, table))
        return reading


def purity_rows(*groups):
    """Samples, each of a case of its own: (purities, what differs from a good row)."""
    rows = [{"purity_percent": purity, **more} for purities, more in groups for purity in purities]
    return [{"record_id": f"R-{place}", "case_id": f"K-{place}", **row} for place, row in enumerate(rows)]


def purity_grid(*groups):
    table = next(table for table in check.read_toml(CATALOGUE)["table"] if table["kind"] == "purity")
    months = check.coverage_months("2024..2024")
    return check_values.ValueGrid(table, read("purity", *purity_rows(*groups)).lines, lists(), months)


# Two in each bin of 5 points, so four in a bin of 10: shown are the bins of 20 points alone, and with them the mean.
EVEN = [f"{value}.{place}" for value in range(0, 100, 5) for place in (1, 2)]
YEAR = ("year", "form", "level", "basis", "frame")
KEY = ("2024", "COC_HCL", "retail", "base", "seizure_all")


class States(Table):
    def states(self, *groups, key=KEY):
        grid = purity_grid(*groups)
        return {name: value.get("value") for name, value in grid.states(YEAR, grid.cells[YEAR].get(key), True).items()}

    def test_a_cell_with_a_mean(self):
        want = {"samples": 40, "samples_measured": 40, "purity": 40}
        # 0.1 and 0.2, 5.1 and 5.2 up to 95.2: the mean is 47.65, shown as 48.
        want |= {"purity_mean": "n 40 sum 192000 mean_hundredths 480000"}
        want |= {f"purity 20 points {low}..{high}": 8 for low, high in ((0, 2000), (2000, 4000), (4000, 6000))}
        want |= {f"purity 20 points {low}..{high}": 8 for low, high in ((6000, 8000), (8000, 10001))}
        self.assertEqual({name: value for name, value in self.states((EVEN, {})).items() if value is not None}, want)

    def test_a_mean_is_hidden_with_few_cases_or_beside_a_fine_bin(self):
        below = {"below_detection": "yes"}
        self.table(
            lambda *groups: self.states(*groups)["purity_mean"],
            [
                ((EVEN[:20], {}), "n 20 sum 46000 mean_hundredths 230000"),  # 22.65
                ((EVEN[:19], {}), None),
                ((EVEN[:19], {}), ([""] * 9, below), None),
                ((EVEN[:20], {}), (["99"] * 5, {}), None),
                ((EVEN[:20], {}), (["99"] * 4, {}), "n 24 sum 84000 mean_hundredths 350000"),  # 35.375
                ((EVEN[:20], {}), (["99"] * 5, {"expressed_as": "hcl"}), "n 20 sum 46000 mean_hundredths 230000"),
            ],
        )

    def test_a_fine_bin_of_a_quarter_hides_the_mean_of_its_year(self):
        # A bin with five cases in a quarter has five in the year too, so real lines cannot show this.
        grid = purity_grid((EVEN, {}))
        self.assertNotIn(grid.cells[YEAR][KEY], grid.blocked)
        quarter = grid.cells["quarter", *YEAR[1:]]["2024-Q2", *KEY[1:]]
        for case in range(5):
            quarter.add(case, {9900: 1})
        self.assertIn(grid.cells[YEAR][KEY], grid._blocked())

    def test_values_count_cases_and_edges_count_once(self):
        self.table(
            lambda values, low, high: check_values.Values([(value, 1, {case}) for value, case in values])
            .between(low, high)
            .count()
            .get("value"),
            [
                ([(500, case) for case in range(5)], 500, 1000, 5),
                ([(500, case) for case in range(5)], 0, 500, None),
                ([(500, case) for case in range(4)], 500, 1000, None),
                ([(value, value % 5) for value in range(500, 512)], 500, 1000, 12),
                ([(value, value % 4) for value in range(500, 512)], 500, 1000, None),
                ([(10**17, case) for case in range(5)], 100_000, check_values.OPEN_EDGE, 5),
            ],
        )

    def test_samples_below_detection_are_counted_but_not_measured(self):
        states = self.states((["60"] * 4, {}), ([""] * 3, {"below_detection": "yes"}))
        self.assertEqual(states, {"samples": 7, "samples_measured": 4, "purity_mean": None, "purity": None})

    def test_a_cell_of_few_cases_or_of_a_time_not_covered_shows_nothing(self):
        grid = purity_grid((["60"] * 4, {}), (["70"] * 9, {"case_id": "K-0"}))
        cell = grid.cells[YEAR][KEY]
        for available, want in ((True, check.SUPPRESSED), (False, check.NOT_AVAILABLE)):
            with self.subTest(available):
                self.assertEqual(list(grid.states(YEAR, cell, available).values()), [want] * 4)

    def test_measures_are_offered_by_level(self):
        grid = purity_grid()
        self.assertNotIn("purity_mean", grid.levels["quarter", *YEAR[1:]])
        self.assertNotIn("purity_mean", grid.levels["year", "form", "all", *YEAR[3:]])
        self.assertNotIn(("quarter", "form", "all", *YEAR[3:]), grid.levels)

    def test_the_edition_is_read_as_it_is_written(self):
        bins = [{"state": "value", "value": 8, "from": 0, "to": 250}, {"state": "suppressed", "from": 250, "to": None}]
        histogram = {"id": "price", "of": "histogram", "bins": [{"name": "two", "edges": [0, 250, 2**53 - 1]}]}
        flat = check_values.flatten(
            {
                "price": {"state": "value", "n": 9, "bins": bins},
                "price_mean": {"state": "value", "n": 9, "sum": 1800, "mean_hundredths": 20000},
            },
            {"price": histogram, "price_mean": {"id": "price_mean", "of": "mean"}},
        )
        self.assertEqual(
            {name: check.brief(value) for name, value in flat.items()},
            {
                "price": "9",
                "price two 0..250": "8",
                "price two 250..": "suppressed",
                "price_mean": "n 9 sum 1800 mean_hundredths 20000",
            },
        )


class WholeRun(unittest.TestCase):
    """A purity edition made by hand around one interesting cell, and what happens when one thing in it is wrong."""

    @classmethod
    def setUpClass(cls):
        cls.rows = text_of("purity", purity_rows((EVEN, {}), (["60"] * 6, {"form": "COC_BASE"})))
        cls.grid = purity_grid((EVEN, {}), (["60"] * 6, {"form": "COC_BASE"}))
        cls.text = json.dumps(cls.edition())

    @classmethod
    def edition(cls):
        cells = []
        for levels, codes, cell, available in cls.grid.rows(["2024"]):
            values = cls.written(cls.grid.states(levels, cell, available))
            cells.append({"table": cls.grid.table["name"], "key": dict(zip(cls.grid.names, codes)), "values": values})
        return {
            "result": {
                "member": "ES-AGENCY",
                "catalogue": {"id": "strategic-1"},
                "rules": {"k": 5, "p_percent": 15.0, "dominance_percent": 75.0, "zeros": "hidden"},
                "coverage": [{"kind": "purity", "from": "2024-01", "to": "2024-12", "state": "complete"}],
                "cells": cells,
            }
        }

    @staticmethod
    def written(states):
        """States as an edition writes them."""
        values = {name: value for name, value in states.items() if " " not in name}
        bins = [(name.split()[-1].split(".."), value) for name, value in states.items() if " " in name]
        if bins:
            number = values["purity"]["value"]
            listed = [{**value, "from": int(low), "to": int(high)} for (low, high), value in bins]
            values["purity"] = {"state": "value", "n": number, "bins": listed}
        if values.get("purity_mean", {}).get("state") == "value":
            _, number, _, total, _, hundredths = values["purity_mean"]["value"].split()
            numbers = {"n": int(number), "sum": int(total), "mean_hundredths": int(hundredths)}
            values["purity_mean"] = {"state": "value", **numbers}
        return values

    def run_on(self, change):
        envelope = json.loads(self.text)
        change(envelope["result"])
        with contextlib.ExitStack() as files, contextlib.redirect_stdout(io.StringIO()) as out:
            (first, rows), (second, show) = in_folder("rows.csv", self.rows), in_folder("e.json", json.dumps(envelope))
            files.enter_context(first)
            files.enter_context(second)
            options = {"--kind": "purity", "--csv": rows, "--edition": show, "--lists": LISTS, "--catalogue": CATALOGUE}
            options |= {"--member": "ES-AGENCY", "--coverage": "2024-01..2024-12"}
            code = check_values.main([str(word) for pair in options.items() for word in pair])
        return code, out.getvalue().splitlines()

    @staticmethod
    def cell(result):
        return next(cell["values"] for cell in result["cells"] if tuple(cell["key"].values()) == KEY)

    def test_an_edition_that_agrees_passes(self):
        code, lines = self.run_on(lambda result: None)
        self.assertEqual((code, lines[-1]), (0, "checked 9000 cells, 8 shown, 0 differences"))

    def test_a_margin_that_does_not_add_up_is_named(self):
        grid = purity_grid((EVEN, {}))
        grid.cells[YEAR][KEY].add("another case", {"lines": 1, 6000: 1})
        tally = check.Tally()
        check_values.compare(grid, check.Edition(self.edition()), ["2024"], tally)
        self.assertEqual(sum(" margin: " in line for line in tally.differences), 3)  # quarters, forms, levels

    def test_one_wrong_thing_is_found(self):
        def bin_too_high(result):
            self.cell(result)["purity"]["bins"][0]["value"] += 1

        def hidden_bin_shown(result):
            self.cell(result)["purity"]["bins"][5] |= {"state": "value", "value": 4}

        def bin_missing(result):
            self.cell(result)["purity"]["bins"].pop()

        def number_too_high(result):
            self.cell(result)["purity"]["n"] += 1

        def mean_too_exact(result):
            self.cell(result)["purity_mean"]["sum"] -= 1

        def mean_hidden(result):
            self.cell(result)["purity_mean"] = {"state": "suppressed", "reason": "protects_another"}

        def histogram_where_there_is_none(result):
            result["cells"][-1]["values"]["purity"] = {"state": "value", "n": 0, "bins": []}

        def cell_missing(result):
            result["cells"].pop()

        def coverage_of_another_kind(result):
            result["coverage"][0]["kind"] = "price"

        bins = (bin_too_high, hidden_bin_shown, bin_missing)
        numbers = (number_too_high, mean_too_exact, mean_hidden, histogram_where_there_is_none)
        for change in (*bins, *numbers, cell_missing, coverage_of_another_kind):
            with self.subTest(change.__name__):
                code, lines = self.run_on(change)
                self.assertEqual((code, lines[-1].rsplit(", ", 1)[1]), (1, "1 differences"))


if __name__ == "__main__":
    unittest.main()
