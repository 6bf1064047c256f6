"""Tests the pieces of the independent check, each by a table of examples worked out by hand."""

import contextlib
import functools
import io
import json
import pathlib
import tempfile
import unittest
import zipfile
from fractions import Fraction

import check

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTS = ROOT / "protocol" / "data" / "lists"
CATALOGUE = ROOT / "protocol" / "data" / "strategic-1.toml"
DEMO = ROOT / "tests" / "sample"
DEMO_COUNTRIES = ("AT", "DK", "ES", "IT", "PT")

MAPPING = {
    "delimiter": ";",
    "exponent": True,
    "case": "one-per-record",
    "fields": {
        "reporting_country": {"column": "COUNTRY", "table": "countries"},
        "date": {"column": "DATE", "format": "YYYY-MM-DD"},
        "drug": {"column": "DRUG", "table": "drugs"},
        "amount": {"column": "AMOUNT"},
        "unit": {"column": "UNIT", "table": "units"},
        "transport": {"column": "TRANSPORT", "table": "transport"},
        "departure": {"column": "FROM", "table": "countries"},
    },
    "place": {"columns": ["TOWN", "DISTRICT"]},
    "tables": {
        "countries": {"Spain": "ES", "Kingdom of Spain": "ES", "Italy": "IT", "Other": "other", "Unknown": "unknown"},
        "drugs": {"Cocaine": "COC_COCAINE", "Cocaine HCl": "COC_HCL"},
        "units": {"Gram": {"unit": "g"}, "Paper (1/10 gm)": {"unit": "g", "times": "0.1"}, "Pill": {"unit": "tablet"}},
        "transport": {"By sea": "maritime", "Unknown": "unknown"},
    },
    "aliases": {"ES": {"Vigo": "ES114", "Las Palmas": "ES70", "somewhere north": "ES1", "inland": "ES"}},
}
HEADER = "COUNTRY;DATE;DRUG;AMOUNT;UNIT;TRANSPORT;FROM;TOWN;DISTRICT"
ROW = "Spain;2014-05-17;Cocaine;1.5;Gram;By sea;Italy;Vigo;"


@functools.cache
def lists(country="ES"):
    return check.Lists(LISTS, country)


def in_folder(name, data):
    """A file in a folder that lives as long as the context."""
    stack = contextlib.ExitStack()
    path = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return stack, path


def read_mapped(*rows, country="ES"):
    stack, path = in_folder("rows.csv", "\n".join((HEADER, *rows)) + "\n")
    with stack:
        return check.read_lines(path, MAPPING, lists(country))


def read_canonical(*rows, country="ES"):
    """Reads rows given as dictionaries that differ from a good row."""
    good = {
        "record_id": "R-1",
        "case_id": "K-1",
        "line": "1",
        "date": "2024-05-17",
        "source": "synthetic",
        "drug": "COC",
        "quantity_kind": "net",
    }
    full = [{**dict.fromkeys(check.CANONICAL, ""), **good, **row} for row in rows]
    text = "\n".join(",".join(row.values()) for row in [dict(zip(check.CANONICAL, check.CANONICAL)), *full])
    stack, path = in_folder("rows.csv", text + "\n")
    with stack:
        return check.read_lines(path, None, lists(country))


class Table(unittest.TestCase):
    """A test that goes through a table."""

    def table(self, function, rows):
        """Every row is (arguments..., expected); an expected rule such as R-UNIT means a bad row."""
        for *arguments, want in rows:
            with self.subTest(arguments):
                self.assertEqual(self.outcome(function, arguments), want)

    @staticmethod
    def outcome(function, arguments):
        try:
            return function(*arguments)
        except check.BadRow as bad:
            return str(bad)


class Numbers(Table):
    def test_an_amount_is_a_plain_positive_decimal_and_an_exponent_only_where_allowed(self):
        self.table(
            check.parse_amount,
            [
                ("0.11599999999999999", False, Fraction("0.11599999999999999")),
                ("12", False, Fraction(12)),
                ("9e-05", True, Fraction(9, 100_000)),
                ("9e-05", False, "R-NUMBER"),
                ("0", False, "R-NUMBER"),
                ("0.00", False, "R-NUMBER"),
                ("-1", False, "R-NUMBER"),
                ("+1", False, "R-NUMBER"),
                ("1,5", False, "R-NUMBER"),
                (" 50 ", False, "R-NUMBER"),
                ("50%", False, "R-NUMBER"),
                ("1e99999", True, "R-NUMBER"),
                ("nan", True, "R-NUMBER"),
                ("٣", False, "R-NUMBER"),
            ],
        )

    def test_a_half_milligram_goes_to_the_even_neighbour(self):
        self.table(
            lambda amount, unit: check.quantity(Fraction(amount), unit),
            [
                ("0.0005", "g", {"mass_mg": 0}),
                ("0.0015", "g", {"mass_mg": 2}),
                ("0.0025", "g", {"mass_mg": 2}),
                ("0.00250000000000000001", "g", {"mass_mg": 3}),
                ("0.5", "mg", {"mass_mg": 0}),
                ("1.5", "ml", {"volume_ml": 2}),
                ("0.0025", "l", {"volume_ml": 2}),
            ],
        )

    def test_units_are_exact(self):
        self.table(
            lambda amount, unit: check.quantity(Fraction(amount), unit),
            [
                ("1", "t", {"mass_mg": 1_000_000_000}),
                ("1", "kg", {"mass_mg": 1_000_000}),
                ("1", "oz", {"mass_mg": 28_350}),
                ("1000", "oz", {"mass_mg": 28_349_523}),
                ("1", "lb", {"mass_mg": 453_592}),
                ("3", "tablet", {"tablets": 3}),
                ("3", "capsule", {"tablets": 3}),
                ("3", "blotter", {"doses": 3}),
                ("3.0", "dose", {"doses": 3}),
                ("3", "plant", {}),
                ("3", "piece", {}),
                ("3.5", "piece", "R-NUMBER"),
                ("0.5", "tablet", "R-NUMBER"),
                ("1", "acre", "R-UNIT"),
                ("1000000", "t", {"mass_mg": 10**15}),
                ("1000000000000001", "mg", "R-RANGE"),
                ("1000000000000001", "tablet", "R-RANGE"),
            ],
        )

    def test_amount_and_unit_come_together_or_not_at_all(self):
        self.table(
            check.amount_parts,
            [
                ("", "", {}),
                ("1", "", "R-UNIT"),
                ("", "g", "R-UNIT"),
                ("1", "g", {"mass_mg": 1000}),
                ("3", "g", Fraction("0.1"), {"mass_mg": 300}),
                ("0.5", "tablet", Fraction(1000), {"tablets": 500}),
            ],
        )

    def test_a_shown_magnitude_is_rounded_half_up_to_its_step(self):
        self.table(
            check.half_up_to_step,
            [
                (0, 100_000, 0),
                (49_999, 100_000, 0),
                (50_000, 100_000, 100_000),
                (149_999, 100_000, 100_000),
                (150_000, 100_000, 200_000),
                (250_000, 100_000, 300_000),
                (7, 1, 7),
                (2, 5, 0),
                (3, 5, 5),
            ],
        )


class Words(Table):
    def test_words_are_folded(self):
        self.table(
            check.fold,
            [
                ("  Jerez de la  Frontera ", "jerez de la frontera"),
                ("VITORIA-GASTEIZ", "vitoria gasteiz"),
                ("Córdoba", "cordoba"),
                ("Co\u0301rdoba", "cordoba"),
                ("Valle d’Aosta/Vallée d’Aoste", "valle d aosta vallee d aoste"),
                ("４-CMC", "4 cmc"),
                ("4-CI-α-PVP", "4 ci α pvp"),
                ("Paper (1/10 gm)", "paper 1 10 gm"),
                ("---", ""),
            ],
        )

    def test_two_spellings_of_a_case_are_one_case(self):
        self.table(
            check.fold_case_id,
            [("K1", "k1"), ("k1 ", "k1"), ("\uff2b\uff11", "k1"), (" K  1\t", "k 1"), ("K-1", "k-1")],
        )

    def test_a_word_table_must_not_contradict_itself(self):
        self.assertEqual(check.fold_keys({"Pill": 1, "PILL": 1}), {"pill": 1})
        with self.assertRaises(check.Unusable):
            check.fold_keys({"Pill": 1, "PILL": 2})


class Dates(Table):
    def test_a_date_counts_in_the_finest_period_that_it_names(self):
        self.table(
            check.time_leaf,
            [
                ("2014-05-17", "2014-05"),
                ("2014-05", "2014-05"),
                ("2014-Q2", "2014-Q2_U"),
                ("2014", "2014_U"),
                ("2016-02-29", "2016-02"),
                ("2014-02-29", "R-DATE"),
                ("2014-13", "R-DATE"),
                ("2014-Q5", "R-DATE"),
                ("0000", "R-DATE"),
                ("17/05/2014", "R-DATE"),
                ("2014-5-17", "R-DATE"),
                ("2014-05-17T00:00:00Z", "R-DATE"),
            ],
        )

    def test_a_leaf_has_a_code_at_each_level_that_it_reaches(self):
        self.table(
            check.time_path,
            [
                ("2014-05", {"year": "2014", "quarter": "2014-Q2", "month": "2014-05"}),
                ("2014-12", {"year": "2014", "quarter": "2014-Q4", "month": "2014-12"}),
                ("2014-Q3_U", {"year": "2014", "quarter": "2014-Q3", "month": "2014-Q3_U"}),
                ("2014_U", {"year": "2014", "quarter": "2014_U"}),
            ],
        )

    def test_a_period_is_its_months(self):
        self.table(
            lambda code: sorted(int(month[5:]) for month in check.months_of(code)),
            [
                ("2014-05", [5]),
                ("2014-Q4", [10, 11, 12]),
                ("2014-Q1_U", [1, 2, 3]),
                ("2014", list(range(1, 13))),
                ("2014_U", list(range(1, 13))),
            ],
        )

    def test_coverage_includes_both_ends(self):
        self.table(
            lambda text: sorted(check.coverage_months(text)),
            [
                ("2013-12..2014-02", ["2013-12", "2014-01", "2014-02"]),
                ("2014-Q1..2014-Q1", ["2014-01", "2014-02", "2014-03"]),
                ("2014..2014", sorted(check.months_of("2014"))),
            ],
        )

    def test_an_edition_has_the_years_in_which_a_month_is_complete(self):
        self.table(
            lambda text: check.years_of(check.coverage_months(text)),
            [
                ("2013-12..2014-01", ["2013", "2014"]),
                ("2014-06..2014-06", ["2014"]),
                ("2011..2013", ["2011", "2012", "2013"]),
            ],
        )

    def test_a_year_has_twelve_months_and_a_place_for_what_is_not_known(self):
        self.assertEqual(check.time_codes("2014", "year"), ["2014"])
        self.assertEqual(check.time_codes("2014", "quarter")[-2:], ["2014-Q4", "2014_U"])
        self.assertEqual(len(check.time_codes("2014", "month")), 16)


class Leaves(Table):
    def test_an_inner_code_counts_under_its_unknown_child(self):
        self.table(
            lambda tree, word: check.Lists.word_leaf(getattr(lists(), tree), word),
            [
                ("drugs", "COC_HCL", "COC_HCL"),
                ("drugs", "COC_COCAINE", "COC_COCAINE_U"),
                ("drugs", "COC", "COC_U"),
                ("drugs", "LSD", "LSD_U"),
                ("drugs", "COC_LEAF", "COC_LEAF"),
                ("drugs", "unknown", "_U"),
                ("drugs", "_U", "_U"),
                ("drugs", "_T", "_U"),
                ("drugs", "COFFEE", "R-CODE"),
                ("transport", "container", "container"),
                ("transport", "M3", "M3_U"),
                ("transport", "M4", "M4_U"),
                ("transport", "M1", "maritime"),
                ("transport", "M2", "rail"),
                ("transport", "M5", "mail"),
                ("transport", "M7", "fixed"),
                ("transport", "M8", "inland_water"),
                ("transport", "other", "other"),
                ("transport", "", "_U"),
                ("transport", "none", "_U"),
                ("place", "other", "other"),
                ("place", "none", "_U"),
                ("concealment", "none", "none"),
                ("concealment", "unknown", "_U"),
            ],
        )

    def test_every_inner_code_has_a_leaf(self):
        for name, tree in lists().by_dimension.items():
            # A sub-region is not a country, so no record can hold one.
            for code in tree.inner if name != "departure" else ():
                with self.subTest(f"{name} {code}"):
                    self.assertNotIn(tree.leaf(code), tree.inner)

    def test_a_country_that_is_not_listed_counts_where_the_list_says(self):
        self.table(
            lists().departure_leaf,
            [
                ("CO", "CO"),
                ("SN", "S011_O"),
                ("XK", "S039_O"),
                ("AQ", "_U"),
                ("other", "_U"),
                ("unknown", "_U"),
                ("", "_U"),
                ("S005", "R-COUNTRY"),
                ("UK", "R-COUNTRY"),
            ],
        )

    def test_weight_bands_have_their_lower_edge(self):
        self.table(
            lists().weight_leaf,
            [
                ({"mass_mg": 0}, True, "LT1G"),
                ({"mass_mg": 999}, True, "LT1G"),
                ({"mass_mg": 1000}, True, "1G_3G"),
                ({"mass_mg": 2_999}, True, "1G_3G"),
                ({"mass_mg": 10_000_000_000}, True, "GE10T"),
                ({"volume_ml": 5}, True, "_Z"),
                ({}, True, "_Z"),
                ({}, False, "_U"),
            ],
        )


class Places(Table):
    def place(self, *words):
        return lists().regions.place(words, check.fold_keys(MAPPING["aliases"]["ES"]))

    def test_the_rules_are_code_then_name_then_alias_on_one_word_and_then_the_next(self):
        self.table(
            self.place,
            [
                ("ES114", ("ES11", "code")),
                ("ES11", ("ES11", "code")),
                ("ES1", ("ES1_U", "code")),
                ("ES", ("_U", "region_unknown")),
                ("España", ("_U", "region_unknown")),
                ("_T", ("_U", "region_unknown")),
                ("ES", "Vigo", ("ES11", "alias")),
                ("España", "Vigo", ("ES11", "alias")),
                ("Inland", ("_U", "alias")),
                ("PT170", ("_U", "region_unknown")),
                ("PONTEVEDRA", ("ES11", "name")),
                ("pais vasco", ("ES21", "name")),
                ("Noroeste", ("ES1_U", "name")),
                ("vigo", ("ES11", "alias")),
                ("las palmas", ("ES70", "alias")),
                ("Somewhere North", ("ES1_U", "alias")),
                ("", "", ("_U", "region_unknown")),
                ("nowhere", "Vigo", ("ES11", "alias")),
                ("Vigo", "Madrid", ("ES11", "alias")),
            ],
        )

    def test_a_name_that_means_two_regions_of_a_level_is_tried_at_the_next_level(self):
        rows = [
            {"code": code, "level": str(len(code) - 2), "country": "XX", "name": name, "name_latin": name}
            for code, name in (("XX", "X"), ("XX1", "One"), ("XX11", "Here"), ("XX111", "Twin"), ("XX112", "Twin"))
        ]
        regions = check.Regions(rows + [dict(rows[0], code="XX12", level="2", name="Twin", name_latin="Twin")], "XX")
        self.assertEqual(regions.place(["twin"], {}), ("XX12", "name"))

    def test_the_whole_country_has_one_code_in_every_country(self):
        # Colombia has no regions in NUTS.
        for country in (*DEMO_COUNTRIES, "GR", "CO"):
            with self.subTest(country):
                tree = lists(country).regions.tree
                self.assertEqual(tree.codes("nuts0"), ["_T"])
                self.assertEqual(tree.path("_U"), {"nuts0": "_T", "nuts1": "_U"})
        path = {"nuts0": "_T", "nuts1": "ES1", "nuts2": "ES11"}
        self.assertEqual(lists().regions.tree.path("ES11"), path)

    def test_a_region_that_is_the_whole_country_and_has_its_name_is_a_region(self):
        self.assertEqual(lists("DK").regions.place(["Danmark"], {}), ("DK0_U", "name"))
        self.assertEqual(lists("LU").regions.place(["Luxembourg"], {}), ("LU00", "name"))

    def test_greece_has_its_own_letters_in_nuts(self):
        self.table(
            lists("GR").regions.leaf,
            [("EL301", "EL30"), ("EL3", "EL3_U"), ("EL", "_U"), ("GR", "R-PLACE"), ("GR301", "R-PLACE")],
        )

    def test_the_canonical_region_code_must_be_the_countrys_own(self):
        for code, want in (("ES", "_U"), ("", "_U"), ("ES7", "ES7_U"), ("ES70", "ES70"), ("ES705", "ES70")):
            with self.subTest(code):
                self.assertEqual(read_canonical({"nuts": code}).lines[0].leaves["region"], want)
        for code in ("PT170", "PT", "ES999", "_T"):
            with self.subTest(code):
                self.assertEqual(read_canonical({"nuts": code}).bad, {"R-PLACE": 1})


class CanonicalFile(Table):
    def test_the_form_counts_where_there_is_one(self):
        self.table(
            lambda drug, form: self.drug_leaf(drug=drug, form=form),
            [
                ("COC_COCAINE", "COC_HCL", "COC_HCL"),
                ("COC", "COC_HCL", "COC_HCL"),
                ("COC_COCAINE", "", "COC_COCAINE_U"),
                ("COC_COCAINE", "unknown", "COC_COCAINE_U"),
                ("HER_HEROIN", "COC_HCL", "R-CODE"),
                ("COC_HCL", "COC_HCL", "R-CODE"),
                ("COC", "COC_COCAINE", "R-CODE"),
                ("LSD", "LSD_LSD", "R-CODE"),
            ],
        )

    @staticmethod
    def drug_leaf(**row):
        reading = read_canonical(row)
        return reading.lines[0].leaves["drug"] if reading.lines else next(iter(reading.bad))

    def test_bad_rows_are_left_out_and_named(self):
        self.table(
            lambda column, value: dict(read_canonical({column: value}).bad),
            [
                ("record_id", "../x", {"R-ID": 1}),
                ("record_id", ".x", {"R-ID": 1}),
                ("case_id", " ", {"R-CASE": 1}),
                ("drug", "", {"R-REQUIRED": 1}),
                ("line", "51", {"R-RANGE": 1}),
                ("agency", "fbi", {"R-CODE": 1}),
                ("transport", "horse", {"R-CODE": 1}),
                ("departure", "UK", {"R-COUNTRY": 1}),
                ("transit", "PT;ES;FR;NL;BE;DE", {"R-COUNTRY": 1}),
                ("unlocode", "PTLIS", {"R-PLACE": 1}),
                ("amount", "5", {"R-UNIT": 1}),
                ("date", "yesterday", {"R-DATE": 1}),
                ("status", "", {}),
                ("unlocode", "ESALG", {}),
            ],
        )

    def test_lines_of_one_seizure_agree(self):
        reading = read_canonical({}, {"line": "2", "drug": "HER"}, {"line": "2"}, {"line": "3", "agency": "police"})
        self.assertEqual((len(reading.lines), reading.bad), (2, {"R-CONFLICT": 2}))

    def test_unknown_and_missing_columns_are_refused(self):
        good = "record_id,case_id,date,source,line,drug,quantity_kind"
        for header, fine in ((good, True), (good + ",x_note", True), (good + ",note", False), (good[10:], False)):
            stack, path = in_folder("rows.csv", "\ufeff" + header + "\r\n")
            with self.subTest(header), stack, contextlib.nullcontext() if fine else self.assertRaises(check.Unusable):
                check.read_lines(path, None, lists())


class MappedFile(Table):
    def test_a_row_becomes_a_line(self):
        line = read_mapped(ROW).lines[0]
        self.assertEqual(line.parts, {"lines": 1, "lines_weighed": 1, "mass_mg": 1500})
        self.assertEqual(
            line.leaves,
            {
                "time": "2014-05",
                "drug": "COC_COCAINE_U",
                "region": "ES11",
                "transport": "maritime",
                "place": "_U",
                "concealment": "_U",
                "departure": "IT",
                "weight": "1G_3G",
            },
        )

    def test_rows_are_selected_by_every_word_for_the_country(self):
        reading = read_mapped(ROW, ROW.replace("Spain", "KINGDOM OF SPAIN"), ROW.replace("Spain", "Italy"))
        self.assertEqual((reading.rows, reading.selected), (3, 2))

    def test_rows_equal_in_every_field_are_one_case(self):
        reading = read_mapped(ROW, ROW, ROW.replace("Vigo", "VIGO"))
        self.assertEqual((len(reading.lines), reading.cases()), (3, 2))

    def test_bad_rows_are_left_out_and_named(self):
        self.table(
            lambda old, new: dict(read_mapped(ROW.replace(old, new)).bad),
            [
                ("Gram", "Acres", {"R-UNIT": 1}),
                ("Gram", "", {"R-UNIT": 1}),
                (";1.5;", ";;", {"R-UNIT": 1}),
                ("1.5;Gram", ";", {}),
                ("1.5;Gram", "1.5;Pill", {"R-NUMBER": 1}),
                ("1.5", "0.0", {"R-NUMBER": 1}),
                ("Cocaine", "Kokain", {"R-CODE": 1}),
                ("By sea", "by SEA", {}),
                ("By sea", "Unknown", {}),
                ("By sea", "Horse", {"R-CODE": 1}),
                ("Italy", "Atlantis", {"R-CODE": 1}),
                ("2014-05-17", "17.05.2014", {"R-DATE": 1}),
            ],
        )

    def test_a_unit_word_may_carry_a_factor(self):
        line = read_mapped(ROW.replace("1.5;Gram", "3;Paper (1/10 gm)")).lines[0]
        self.assertEqual(line.parts["mass_mg"], 300)

    def test_a_quoted_field_may_hold_a_newline_and_the_file_may_be_zipped(self):
        text = f'{HEADER}\n{ROW.replace("Vigo", chr(34) + "Vi" + chr(10) + "go" + chr(34))}\n{ROW}\n'
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("rows.csv", text)
        stack, path = in_folder("rows.zip", packed.getvalue())
        with stack:
            reading = check.read_lines(path, MAPPING, lists())
        self.assertEqual((reading.rows, reading.places), (2, {"region_unknown": 1, "alias": 1}))


class Disclosure(Table):
    def test_dominance_and_the_p_percent_rule(self):
        self.table(
            check.is_dominated,
            [
                ([75, 13, 4, 4, 4], False),  # exactly 75 %, and 12 is more than 15 % of 75
                ([76, 12, 4, 4, 4], True),  # above 75 %
                ([100, 85, 5, 5, 5], False),  # exactly 15 % of the largest is left
                ([100, 85, 5, 5, 4], True),  # 14 % is left
                ([20, 20, 20, 20, 20], False),
                ([9000, 300, 200, 150, 120, 100, 60, 40, 20, 10], True),
            ],
        )

    def test_every_state_is_reached(self):
        mass, count = {"of": "mass_mg", "step": 100}, {"of": "lines"}
        hidden, none = check.SUPPRESSED, check.NOT_AVAILABLE
        self.table(
            lambda masses, measure, available: check.expected(self.cell(masses), measure, available),
            [
                ([10, 10, 10, 10, 10], count, True, {"state": "value", "value": 5}),
                ([10, 10, 10, 10], count, True, hidden),
                ([], count, True, hidden),
                ([], count, False, none),
                ([10, 10, 10, 10, 10], count, False, none),
                ([10, 10, 10, 10, 10], mass, True, {"state": "value", "value": 100}),
                ([10, 10, 10, 10, None], mass, True, hidden),
                ([10, 10, 10, 10, 0], mass, True, hidden),
                ([10, 10, 10, 10, None], count, True, {"state": "value", "value": 5}),
                ([1000, 10, 10, 10, 10], mass, True, hidden),
                ([1000, 10, 10, 10, 10], count, True, {"state": "value", "value": 5}),
            ],
        )

    @staticmethod
    def cell(masses):
        cell = check.Cell()
        for case, mass in enumerate(masses):
            cell.add(case, {"lines": 1} if mass is None else {"lines": 1, "lines_weighed": 1, "mass_mg": mass})
        return cell

    def test_twelve_lines_of_one_case_are_one_case(self):
        cell = check.Cell()
        for _ in range(12):
            cell.add("k1", {"lines": 1})
        self.assertEqual(check.expected(cell, {"of": "lines"}, True), check.SUPPRESSED)
        self.assertEqual(check.expected(None, {"of": "lines"}, True), check.SUPPRESSED)


class Pairs(Table):
    def test_a_case_counts_once_per_pair_in_its_first_year(self):
        reading = read_canonical(
            {"drug": "COC", "date": "2024-01-05"},
            {"record_id": "R-2", "drug": "HER", "date": "2023-12-31"},
            {"record_id": "R-3", "drug": "COC_LEAF", "date": "2024"},
            {"record_id": "R-4", "case_id": "K-2", "drug": "COC"},
        )
        cells = check.tabulate_pairs(reading.lines, lists())["year", "pair"]
        found = {key: len(cell.cases) for key, cell in cells.items()}
        self.assertEqual(found, {("2023", frozenset(("COC", "HER"))): 1})

    def test_a_pair_code_joins_two_named_groups_in_the_order_of_the_list(self):
        pairs = check.pair_codes(lists().drugs.codes("group"))
        self.assertEqual(len(pairs), 9 * 8 // 2)
        self.table(
            lambda code: sorted(pairs.get(code, ())),
            [
                ("COC+HER", ["COC", "HER"]),
                ("HER+COC", []),
                ("MDMA+CAN", ["CAN", "MDMA"]),
                ("KHAT+OTHER", ["KHAT", "OTHER"]),
                ("COC-HER", []),
                ("COC+COC", []),
                ("COC+_U", []),
                ("COC", []),
            ],
        )


def edition_of(member, path, coverage):
    """An edition as a node should show it, made from the check's own expectation."""
    catalogue = check.read_toml(CATALOGUE)
    reading = check.read_lines(path, None, lists(member[:2]))
    months = check.coverage_months(coverage)
    cells = []
    for table in (table for table in catalogue["table"] if table["kind"] == "seizure"):
        grid = check.Grid(table, reading.lines, lists(member[:2]), months)
        for levels, codes, cell, available in grid.rows(check.years_of(months)):
            key = dict(zip(grid.names, codes))
            cells.append({"table": table["name"], "key": key, "values": grid.states(levels, cell, available)})
    first, last = coverage.split("..")
    return {
        "accord": 1,
        "result": {
            "member": member,
            "catalogue": {"id": catalogue["id"]},
            "rules": {"k": 5, "p_percent": 15.0, "dominance_percent": 75.0, "zeros": "hidden"},
            "coverage": [{"kind": "seizure", "from": first, "to": last, "state": "complete"}],
            "cells": cells,
        },
    }


class WholeRun(unittest.TestCase):
    MEMBER, COVERAGE = "DK-AGENCY", "2024-01..2024-12"

    @classmethod
    def setUpClass(cls):
        cls.file = DEMO / f"{cls.MEMBER}.csv"
        cls.text = json.dumps(edition_of(cls.MEMBER, cls.file, cls.COVERAGE))

    def run_on(self, change, *more):
        envelope = json.loads(self.text)
        change(envelope["result"])
        stack, path = in_folder("show.json", json.dumps(envelope))
        options = {
            "--csv": self.file,
            "--edition": path,
            "--lists": LISTS,
            "--catalogue": CATALOGUE,
            "--member": self.MEMBER,
            "--coverage": self.COVERAGE,
        }
        with stack, contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            code = check.main([str(word) for pair in options.items() for word in pair] + list(more))
        return code, out.getvalue().splitlines()

    @staticmethod
    def first_with(result, state):
        return next(cell for cell in result["cells"] if cell["values"].get("seizures", {}).get("state") == state)

    def test_an_edition_that_agrees_passes(self):
        code, lines = self.run_on(lambda result: None, "--summary")
        self.assertEqual(code, 0)
        self.assertRegex(lines[-1], r"^checked [1-9]\d* cells, [1-9]\d* shown, 0 differences$")

    def test_one_wrong_thing_is_found(self):
        def count_too_high(result):
            self.first_with(result, "value")["values"]["seizures"]["value"] += 1

        def hidden_shown(result):
            self.first_with(result, "suppressed")["values"]["seizures"] = {"state": "value", "value": 4}

        def shown_hidden(result):
            self.first_with(result, "value")["values"]["seizures"] = {"state": "suppressed", "reason": "dominated"}

        def cell_missing(result):
            result["cells"].remove(self.first_with(result, "suppressed"))

        def measure_missing(result):
            del self.first_with(result, "value")["values"]["seizures"]

        def other_rule(result):
            result["rules"]["k"] = 4

        def key_twice(result):
            result["cells"].append(result["cells"][0])

        def pair_with_the_unknown_group(result):
            cell = {"cases": {"state": "suppressed"}}
            key = {"time": "2024", "pair": "COC+_U"}
            result["cells"].append({"table": "cases-year-drug-pair", "key": key, "values": cell})

        def year_beyond_the_coverage(result):
            cell = {"cases": {"state": "not_available"}}
            key = {"time": "2025", "pair": "COC+HER"}
            result["cells"].append({"table": "cases-year-drug-pair", "key": key, "values": cell})

        counts = (count_too_high, hidden_shown, shown_hidden, cell_missing, measure_missing)
        for change in (*counts, other_rule, key_twice, pair_with_the_unknown_group, year_beyond_the_coverage):
            with self.subTest(change.__name__):
                code, lines = self.run_on(change)
                self.assertEqual((code, lines[-1].rsplit(", ", 1)[1]), (1, "1 differences"))

    def test_at_most_twenty_differences_are_written_out(self):
        def forget_coverage(result):
            for cell in result["cells"]:
                cell["values"] = {measure: {"state": "not_available"} for measure in cell["values"]}

        code, lines = self.run_on(forget_coverage)
        self.assertEqual((code, len(lines)), (1, check.LINES_SHOWN + 2))

    def test_nothing_to_check_is_a_failure(self):
        self.assertEqual(self.run_on(lambda result: result["cells"].clear()), (1, []))

    def test_margins_add_up_and_a_wrong_one_is_named(self):
        reading = check.read_lines(self.file, None, lists("DK"))
        table = check.read_toml(CATALOGUE)["table"][1]
        grid = check.Grid(table, reading.lines, lists("DK"), check.coverage_months(self.COVERAGE))
        tally = check.Tally()
        check.check_margins(grid, tally)
        self.assertEqual(tally.differences, [])
        grid.cells["year", "all", "nuts0"]["2024", "_T", "_T"].add("another case", {"lines": 1})
        check.check_margins(grid, tally)
        self.assertEqual(len(tally.differences), 2)  # against the groups, and against the regions


class DemoSample(unittest.TestCase):
    def test_every_row_of_the_sample_is_good_and_says_that_it_is_synthetic(self):
        for country in DEMO_COUNTRIES:
            path = DEMO / f"{country}-AGENCY.csv"
            with self.subTest(country):
                reading = check.read_lines(path, None, lists(country))
                header, rows = check.open_rows(path, ",")
                self.assertEqual(reading.bad, {})
                self.assertEqual(list(check.CANONICAL), sorted(header, key=list(check.CANONICAL).index))
                self.assertEqual({row[header.index("source")] for row in rows}, {"synthetic"})
                self.assertLess(reading.cases(), len(reading.lines))


if __name__ == "__main__":
    unittest.main()
