#!/usr/bin/env python3
"""Recomputes every cell of every seizure table of one edition from the source file, written from the documents alone.

It shares no code with the programs. What it takes from the project is data: the catalogue, the code lists and the word
tables of the mapping. It reads files, units, dates, places and cases in its own way, so that an error has to be made
twice to go unseen. Python 3.11, standard library only; no clock, no network, no floating point.

Order of reading: numbers, words, dates, code lists, rows to lines, lines to cells, cells to states, the comparison.
"""

import argparse
import csv
import datetime
import hashlib
import io
import itertools
import json
import pathlib
import re
import sys
import tomllib
import unicodedata
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

CASES_MIN = 5
DOMINANCE_PERCENT = 75
P_PERCENT = 15
AMOUNT_MAX = 10**15
LINES_SHOWN = 20


class BadRow(Exception):
    """A row that `--skip-bad` leaves out; its text is the rule that the row breaks."""


class Unusable(Exception):
    """An input with which nothing can be checked."""


# --- numbers ----------------------------------------------------------------------------------------------------------

MILLIGRAMS = {
    "mg": Fraction(1),
    "g": Fraction(1000),
    "kg": Fraction(10**6),
    "t": Fraction(10**9),
    "oz": Fraction("28349.523125"),
    "lb": Fraction("453592.37"),
}
MILLILITRES = {"ml": Fraction(1), "l": Fraction(1000)}
# Plants and pieces are kept, but no table adds them up.
COUNTED = {
    "tablet": "tablets",
    "capsule": "tablets",
    "dose": "doses",
    "blotter": "doses",
    "plant": None,
    "piece": None,
}
PLAIN_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
NUMBER_WITH_EXPONENT = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


def parse_amount(text, exponent):
    """The exact value of a positive decimal number; an exponent only where the mapping allows it."""
    pattern = NUMBER_WITH_EXPONENT if exponent else PLAIN_NUMBER
    if not pattern.fullmatch(text):
        raise BadRow("R-NUMBER")
    value = Fraction(Decimal(text))
    if value <= 0:
        raise BadRow("R-NUMBER")
    return value


def half_even(value):
    """The nearest whole number; a half goes to the even neighbour (which `round` does exactly for fractions)."""
    return round(value)


def half_up_to_step(value, step):
    """A whole number of steps; half a step goes up."""
    return (2 * value + step) // (2 * step) * step


def quantity(value, unit):
    """What one line adds to the magnitudes: whole milligrams, whole millilitres or whole things."""
    if unit in MILLIGRAMS:
        parts = {"mass_mg": half_even(value * MILLIGRAMS[unit])}
    elif unit in MILLILITRES:
        parts = {"volume_ml": half_even(value * MILLILITRES[unit])}
    elif unit in COUNTED:
        if value.denominator != 1:
            raise BadRow("R-NUMBER")
        parts = {COUNTED[unit]: int(value)}
    else:
        raise BadRow("R-UNIT")
    if max(parts.values()) > AMOUNT_MAX:
        raise BadRow("R-RANGE")
    return {of: number for of, number in parts.items() if of is not None}


# --- words ------------------------------------------------------------------------------------------------------------


def fold(word):
    """Words compare without case, accents and punctuation."""
    text = "".join(
        char for char in unicodedata.normalize("NFKD", word).lower() if not unicodedata.category(char).startswith("M")
    )
    return " ".join("".join(char if char.isalnum() else " " for char in text).split())


def fold_case_id(text):
    """`K1`, `k1`, `K1 ` and a full-width K1 are one case, else a case could be split to reach the threshold."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fold_keys(table):
    """A word table with folded words; two words that fold to one must not disagree."""
    folded = {}
    for word, meaning in table.items():
        if folded.setdefault(fold(word), meaning) != meaning:
            raise Unusable(f"the mapping gives {word!r} two meanings")
    return folded


# --- dates and periods ------------------------------------------------------------------------------------------------

DATE = re.compile(r"([0-9]{4})(?:-(?:Q([1-4])|([0-9]{2})(?:-([0-9]{2}))?))?")
TIME_LEVELS = ("year", "quarter", "month")


def time_leaf(text):
    """The finest time code that a date of any precision belongs to."""
    match = DATE.fullmatch(text)
    if not match:
        raise BadRow("R-DATE")
    year, quarter, month, day = match.groups()
    try:
        datetime.date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise BadRow("R-DATE") from None
    if month:
        return f"{year}-{month}"
    return f"{year}-Q{quarter}_U" if quarter else f"{year}_U"


def quarter_of(month):
    """`2014-05` lies in `2014-Q2`."""
    return f"{month[:4]}-Q{(int(month[5:]) + 2) // 3}"


def time_path(leaf):
    """The code of a leaf at each level; a date known by year only has a quarter code and no month code."""
    year = leaf[:4]
    if leaf == f"{year}_U":
        return {"year": year, "quarter": leaf}
    quarter = leaf[:7] if "Q" in leaf else quarter_of(leaf)
    return {"year": year, "quarter": quarter, "month": leaf}


def months_of(code):
    """All months of a period; the unknown month of a quarter may be any of its three."""
    year, rest = code[:4], code[5:]
    if rest[:1] == "Q":
        first = 3 * int(rest[1]) - 2
        numbers = range(first, first + 3)
    elif rest.isdigit():
        numbers = [int(rest)]
    else:
        numbers = range(1, 13)
    return {f"{year}-{number:02}" for number in numbers}


def time_codes(year, level):
    """Every time code of one calendar year at one level."""
    quarters = [f"{year}-Q{number}" for number in range(1, 5)]
    if level == "year":
        return [year]
    if level == "quarter":
        return [*quarters, f"{year}_U"]
    return [*sorted(months_of(year)), *(f"{quarter}_U" for quarter in quarters)]


def coverage_months(text):
    """The months of `FROM..TO`, both ends included, in years, quarters or months."""
    match = re.fullmatch(r"([0-9]{4}[-Q0-9]*)\.\.([0-9]{4}[-Q0-9]*)", text)
    if not match:
        raise Unusable(f"coverage {text!r} is not FROM..TO")
    first, last = min(months_of(match[1])), max(months_of(match[2]))
    years = range(int(first[:4]), int(last[:4]) + 1)
    return {month for year in years for month in months_of(f"{year:04}") if first <= month <= last}


# --- code lists -------------------------------------------------------------------------------------------------------

# Where a mode has no child `X_U`, the kind that carries the mode's own name holds what is not known more closely.
KIND_UNKNOWN = {"M1": "maritime", "M2": "rail", "M5": "mail", "M7": "fixed", "M8": "inland_water", "_O": "other"}


class Tree:
    """One hierarchical code list."""

    def __init__(self, rows, kind_unknown=None):
        self.parent = {code: parent for code, parent, _ in rows}
        self.level = {code: level for code, _, level in rows}
        self.inner = set(self.parent.values()) - {""}
        self.root = rows[0][0]
        self.kind_unknown = kind_unknown or {}

    def codes(self, level):
        """The codes of one level, in the order of the list."""
        return [code for code in self.level if self.level[code] == level]

    def finer(self, level):
        """The next level down, or None."""
        levels = list(dict.fromkeys(self.level.values()))
        return dict(zip(levels, levels[1:])).get(level)

    def leaf(self, code):
        """The leaf under which a line with this code is counted."""
        if code not in self.level:
            raise BadRow("R-CODE")
        if code == self.root:
            return "_U"
        if code not in self.inner:
            return code
        unknown = f"{code}_U" if f"{code}_U" in self.level else self.kind_unknown.get(code)
        if unknown is None:
            raise BadRow("R-CODE")
        return unknown

    def path(self, code):
        """The code's ancestor (or itself) at each level that it reaches; a short branch has no code further down."""
        found = {}
        while code:
            found[self.level[code]] = code
            code = self.parent[code]
        return found

    def stands_below(self, code, above):
        """Whether one code is a true descendant of the other."""
        return code != above and above in self.path(code).values()


def read_list(folder, name):
    """The rows of one code list as dictionaries."""
    with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tree_of(folder, name, kind_unknown=None):
    """The hierarchy of one code list; rows of level `alias` are no codes of the table."""
    rows = [(row["code"], row["parent"], row["level"]) for row in read_list(folder, name) if row["level"] != "alias"]
    return Tree(rows, kind_unknown)


class Regions:
    """The regions of one country, and how a word or code becomes one of them.

    The whole country is `_T` in every country, so that national cells of several members have one key and pool.
    """

    def __init__(self, rows, country):
        mine = [row for row in rows if row["country"] == country]
        self.code_level = {row["code"]: int(row["level"]) for row in mine}
        self.root = "_T"
        self.tree = Tree(self._tree_rows())
        self.names = self._names(mine)

    def _tree_rows(self):
        ones = [code for code, level in self.code_level.items() if level == 1]
        twos = [code for code, level in self.code_level.items() if level == 2]
        return [
            (self.root, "", "nuts0"),
            *((code, self.root, "nuts1") for code in [*ones, "_U"]),
            *((code, code[:3], "nuts2") for code in twos),
            *((f"{code}_U", code, "nuts2") for code in ones),
        ]

    @staticmethod
    def _names(rows):
        """For each level the folded names that mean exactly one region."""
        found = {level: defaultdict(set) for level in (3, 2, 1)}
        for row in rows:
            if row["level"] != "0":
                for name in (row["name"], row["name_latin"]):
                    found[int(row["level"])][fold(name)].add(row["code"])
        return {
            level: {name: min(codes) for name, codes in names.items() if len(codes) == 1}
            for level, names in found.items()
        }

    def leaf(self, code):
        """The leaf of a region code of any level; the code of the country says no more than a blank."""
        if code not in self.code_level:
            raise BadRow("R-PLACE")
        return self.tree.leaf(code[:4] if self.code_level[code] else self.root)

    def by_name(self, word):
        """The region with exactly this name, the smallest kind first."""
        return next((names[word] for names in self.names.values() if word in names), None)

    def place(self, words, aliases):
        """The region leaf of a row's place words and the rule that found it; every rule on one word, then the next."""
        for word in words:
            code, folded = word.strip().upper(), fold(word)
            if len(code) >= 3 and code in self.code_level:
                return self.leaf(code), "code"
            if self.by_name(folded):
                return self.leaf(self.by_name(folded)), "name"
            if folded in aliases:
                return self.leaf(aliases[folded]), "alias"
        return "_U", "region_unknown"


class Lists:
    """All code lists that the seizure tables need, seen from one country."""

    def __init__(self, folder, country):
        self.country = country
        self.drugs = tree_of(folder, "drugs-1")
        self.transport = tree_of(folder, "transport-1", KIND_UNKNOWN)
        self.place = tree_of(folder, "place-1")
        self.concealment = tree_of(folder, "concealment-1")
        self.weight = tree_of(folder, "weight-1")
        self.departure = tree_of(folder, "countries-1")
        countries = read_list(folder, "countries-1")
        self.countries = {row["code"] for row in countries if re.fullmatch("[A-Z]{2}", row["code"])}
        self.tabulated_as = {row["code"]: row["tabulated_as"] for row in countries if row["level"] == "alias"}
        bands = [row for row in read_list(folder, "weight-1") if row["from_mg"]]
        self.bands = [(int(row["to_mg"]) if row["to_mg"] else None, row["code"]) for row in bands]
        self.regions = Regions(read_list(folder, "nuts-2021"), country)
        self.by_dimension = {
            "drug": self.drugs,
            "region": self.regions.tree,
            "transport": self.transport,
            "place": self.place,
            "concealment": self.concealment,
            "departure": self.departure,
            "weight": self.weight,
        }

    def departure_leaf(self, word):
        """The code under which a departure country is tabulated."""
        if word in ("", "unknown", "other"):
            return "_U"
        if word not in self.countries:
            raise BadRow("R-COUNTRY")
        return self.tabulated_as.get(word, word)

    def weight_leaf(self, parts, stated):
        """The weight band; a mass that rounds to nothing is in the lowest one."""
        if not stated:
            return "_U"
        if "mass_mg" not in parts:
            return "_Z"
        return next(code for to_mg, code in self.bands if to_mg is None or parts["mass_mg"] < to_mg)

    @staticmethod
    def word_leaf(tree, word):
        """The leaf of a code word that may be blank or `unknown`; `none` is a code only where the list has it."""
        if word in ("", "unknown") or (word == "none" and word not in tree.level):
            return "_U"
        return tree.leaf(word)


# --- rows to lines ----------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One drug of one seizure: what is counted."""

    case: object
    leaves: dict
    parts: dict


@dataclass
class Reading:
    """The lines of a file, and what happened to its rows."""

    lines: list = field(default_factory=list)
    rows: int = 0
    selected: int = 0
    bad: Counter = field(default_factory=Counter)
    places: Counter = field(default_factory=Counter)

    def take(self, make_line, row):
        """Adds the line of a row, or the rule that the row breaks."""
        self.selected += 1
        try:
            self.lines.append(make_line(row))
        except BadRow as bad:
            self.bad[str(bad)] += 1

    def cases(self):
        """Distinct cases among the lines."""
        return len({line.case for line in self.lines})


def open_rows(path, delimiter):
    """The header and the records of a CSV file, or of the one CSV file in a zip."""
    data = pathlib.Path(path).read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(names) != 1:
                raise Unusable("the zip does not hold exactly one csv")
            data = archive.read(names[0])
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    header = next(rows, None)
    if not header or len(set(header)) != len(header):
        raise Unusable("no header, or a column named twice")
    return header, rows


def amount_parts(amount, unit, times=Fraction(1), exponent=False):
    """The magnitudes of an amount with its unit, both stated or both blank."""
    if not amount and not unit:
        return {}
    if not amount or not unit:
        raise BadRow("R-UNIT")
    return quantity(parse_amount(amount, exponent) * times, unit)


def make_line(lists, case, codes, parts, stated):
    """The line with its leaves; `codes` holds one word per dimension, `region` and `time` already as leaves."""
    leaves = {
        "time": codes["time"],
        "drug": Lists.word_leaf(lists.drugs, codes["drug"]),
        "region": codes["region"],
        "transport": Lists.word_leaf(lists.transport, codes["transport"]),
        "place": Lists.word_leaf(lists.place, codes["place"]),
        "concealment": Lists.word_leaf(lists.concealment, codes["concealment"]),
        "departure": lists.departure_leaf(codes["departure"]),
        "weight": lists.weight_leaf(parts, stated),
    }
    weighed = {"lines_weighed": 1} if "mass_mg" in parts else {}
    return Line(case, leaves, {"lines": 1, **weighed, **parts})


# The canonical layout: what may stand in its columns. A set of words, or None where a function of its own looks.
YES_NO = {"yes", "no", "unknown"}
CANONICAL = {
    "record_id": None,
    "case_id": None,
    "date": None,
    "nuts": None,
    "unlocode": None,
    "agency": {"police", "customs", "coast_guard", "gendarmerie", "military", "other", "unknown"},
    "source": None,
    "status": {"provisional", "confirmed"},
    "line": None,
    "drug": None,
    "form": None,
    "amount": None,
    "unit": None,
    "quantity_kind": {"gross", "net", "carrier", "unknown"},
    "transport": None,
    "place_type": None,
    "concealment": None,
    "direction": {"import", "export", "transit", "internal", "unknown"},
    "departure": None,
    "destination": None,
    "transit": None,
    "market_level": {"wholesale", "mid", "retail", "unknown"},
    "level_rule": None,
    "controlled_delivery": YES_NO,
    "joint_operation": YES_NO,
    "joint_with": None,
}
REQUIRED = ("record_id", "case_id", "date", "source", "line", "drug", "quantity_kind")
# Columns in which the lines of one seizure may differ.
OF_THE_LINE = ("line", "drug", "form", "amount", "unit", "quantity_kind")


def drug_or_form(drugs, drug, form):
    """The form where one is given, which stands below the drug, else the drug."""
    if form in ("", "unknown"):
        return drug
    if drug not in drugs.level or drugs.level.get(form) != "form" or not drugs.stands_below(form, drug):
        raise BadRow("R-CODE")
    return form


class Canonical:
    """Reads the layout `seizure` of the documents; a reader of another kind has its own columns and its own line."""

    columns = CANONICAL
    required = REQUIRED

    def __init__(self, lists, reading):
        self.lists, self.reading = lists, reading
        self.seizures = {}
        self.seen = set()

    def read(self, path):
        """All rows of a file."""
        header, rows = open_rows(path, ",")
        unknown = [name for name in header if name not in self.columns and not name.startswith("x_")]
        missing = [name for name in self.required if name not in header]
        if unknown or missing:
            raise Unusable(f"columns unknown: {unknown}, missing: {missing}")
        for cells in rows:
            self.reading.rows += 1
            row = defaultdict(str, zip(header, cells))
            self.reading.take(self.line, row if len(cells) == len(header) else defaultdict(str))

    def line(self, row):
        """One row as a line."""
        self.check_words(row)
        self.check_countries(row)
        codes = {
            "time": time_leaf(row["date"]),
            "drug": drug_or_form(self.lists.drugs, row["drug"], row["form"]),
            "region": self.region(row),
            "transport": row["transport"],
            "place": row["place_type"],
            "concealment": row["concealment"],
            "departure": row["departure"],
        }
        parts = amount_parts(row["amount"], row["unit"])
        line = make_line(self.lists, fold_case_id(row["case_id"]), codes, parts, bool(row["amount"]))
        self.check_seizure(row)
        return line

    def check_words(self, row):
        """Required columns, identifiers, plain code words, and the port code, which must lie in the country."""
        if any(not row[name] for name in self.required):
            raise BadRow("R-REQUIRED")
        if not re.fullmatch(r"(?!\.)[A-Za-z0-9._-]{1,64}", row["record_id"]):
            raise BadRow("R-ID")
        if len(row["case_id"]) > 64 or not fold_case_id(row["case_id"]):
            raise BadRow("R-CASE")
        if not re.fullmatch("[ -~]{1,40}", row["source"]) or not re.fullmatch("[ -~]{0,20}", row["level_rule"]):
            raise BadRow("R-CODE")
        for name, words in self.columns.items():
            if words is not None and row[name] and row[name] not in words:
                raise BadRow("R-CODE")
        if row["unlocode"] and not re.fullmatch(f"{self.lists.country}[A-Z0-9]{{3}}", row["unlocode"]):
            raise BadRow("R-PLACE")

    def check_countries(self, row):
        """Countries that no table counts."""
        single = [row["destination"]] if row["destination"] else []
        transit = row["transit"].split(";") if row["transit"] else []
        joint = row["joint_with"].split(";") if row["joint_with"] else []
        if len(transit) > 5 or any(word not in self.lists.countries | {"unknown"} for word in single + transit + joint):
            raise BadRow("R-COUNTRY")

    def check_seizure(self, row):
        """Lines of one seizure agree in everything that is said of the seizure, and a line number comes once."""
        if not row["line"].isascii() or not row["line"].isdigit() or not 1 <= int(row["line"]) <= 50:
            raise BadRow("R-RANGE")
        about = {name: row[name] for name in CANONICAL if name not in OF_THE_LINE}
        about["case_id"] = fold_case_id(about["case_id"])
        number = (row["record_id"], int(row["line"]))
        if self.seizures.setdefault(row["record_id"], about) != about or number in self.seen:
            raise BadRow("R-CONFLICT")
        self.seen.add(number)

    def region(self, row):
        """The region leaf of the region code."""
        if not row["nuts"]:
            return "_U"
        return self.lists.regions.leaf(row["nuts"])


class Mapped:
    """Reads a file in the layout that a mapping describes."""

    def __init__(self, mapping, lists, reading):
        self.lists, self.reading = lists, reading
        self.mapping = mapping
        self.tables = {name: fold_keys(table) for name, table in mapping["tables"].items()}
        self.aliases = fold_keys(mapping.get("aliases", {}).get(lists.country, {}))
        if mapping.get("decimal", "point") != "point":
            raise Unusable("only a decimal point is understood here")
        self.date_pattern = self._date_pattern(mapping["fields"]["date"].get("format", "YYYY-MM-DD"))

    @staticmethod
    def _date_pattern(text):
        """`DD/MM/YYYY` as a pattern with named groups."""
        pattern = re.escape(text)
        for token, name in (("YYYY", "year"), ("MM", "month"), ("DD", "day")):
            pattern = pattern.replace(token, f"(?P<{name}>[0-9]{{{len(token)}}})")
        return re.compile(pattern)

    def read(self, path):
        """The rows of the country."""
        header, rows = open_rows(path, self.mapping.get("delimiter", ","))
        self.check_header(header)
        for cells in rows:
            self.reading.rows += 1
            if len(cells) != len(header):
                raise Unusable(f"record {self.reading.rows} has {len(cells)} fields")
            row = dict(zip(header, cells))
            if self.is_selected(row):
                self.reading.take(self.line, row)

    def check_header(self, header):
        """Every column of the mapping is there."""
        named = {spec["column"] for spec in self.mapping["fields"].values()} | set(self.place_columns())
        missing = sorted(named - set(header))
        if missing:
            raise Unusable(f"columns missing: {missing}")

    def place_columns(self):
        """The columns with place words, in the order in which they are tried."""
        return self.mapping.get("place", {}).get("columns", [])

    def is_selected(self, row):
        """Whether the reporting country is the member's, whatever word the file uses for it."""
        spec = self.mapping["fields"]["reporting_country"]
        return self.tables[spec["table"]].get(fold(row[spec["column"]])) == self.lists.country

    def value(self, row, name):
        """The meaning of one field: a word of its table, or the text; blank stays blank and is not looked up."""
        spec = self.mapping["fields"].get(name)
        if spec is None:
            return self.mapping.get("constants", {}).get(name, "")
        text = row[spec["column"]].strip()
        if not text or "table" not in spec:
            return text
        table = self.tables[spec["table"]]
        if fold(text) not in table:
            raise BadRow("R-UNIT" if name == "unit" else "R-CODE")
        return table[fold(text)]

    def line(self, row):
        """One row as a line."""
        meanings = {name: self.value(row, name) for name in self.mapping["fields"]}
        if not meanings["drug"] or not meanings["date"]:
            raise BadRow("R-REQUIRED")
        parts = self.parts(meanings)
        region, rule = self.lists.regions.place([row[name] for name in self.place_columns()], self.aliases)
        codes = {
            "time": self.time(meanings["date"]),
            "drug": meanings["drug"],
            "region": region,
            "transport": self.value(row, "transport"),
            "place": self.value(row, "place_type"),
            "concealment": self.value(row, "concealment"),
            "departure": self.value(row, "departure"),
        }
        line = make_line(self.lists, self.case(row), codes, parts, bool(meanings["amount"]))
        self.reading.places[rule] += 1
        return line

    def parts(self, meanings):
        """The magnitudes of the row's amount, with the factor that the unit word carries."""
        unit = meanings["unit"] or {}
        times = Fraction(Decimal(unit.get("times", "1")))
        return amount_parts(meanings["amount"], unit.get("unit", ""), times, self.mapping.get("exponent", False))

    def time(self, text):
        """The month of a date in the mapping's format."""
        match = self.date_pattern.fullmatch(text)
        if not match:
            raise BadRow("R-DATE")
        found = match.groupdict()
        return time_leaf("-".join(found[name] for name in ("year", "month", "day") if name in found))

    def case(self, row):
        """The case number, or the whole row: rows equal in every field are one case."""
        if self.mapping.get("case") != "one-per-record":
            return fold_case_id(self.value(row, "case_id"))
        return tuple(row.values())


def read_lines(path, mapping, lists):
    """The lines of a file, canonical or mapped."""
    reading = Reading()
    reader = Mapped(mapping, lists, reading) if mapping else Canonical(lists, reading)
    reader.read(path)
    return reading


# --- lines to cells ---------------------------------------------------------------------------------------------------


class Cell:
    """What is behind one combination of codes: per kind of number the part of each distinct case."""

    def __init__(self):
        self.cases = set()
        self.parts = defaultdict(Counter)

    def add(self, case, parts):
        """Adds what one line (or one case) brings."""
        self.cases.add(case)
        for of, number in parts.items():
            self.parts[of][case] += number

    def sum(self, of):
        """The unrounded total."""
        return sum(self.parts[of].values()) if of in self.parts else 0


def level_sets(table):
    """Every combination of one level per dimension that the table offers, with the measures offered there."""
    names = [dimension["name"] for dimension in table["dimension"]]
    found = defaultdict(set)
    for grid in table["grid"]:
        for levels in itertools.product(*(grid["levels"][name] for name in names)):
            found[levels] |= set(grid["measures"])
    return dict(found)


def tabulate(table, lines, lists):
    """The cells that have lines, by levels and then by key: one level and one code per dimension of the table."""
    names = [dimension["name"] for dimension in table["dimension"]]
    paths = {}
    cells = {levels: defaultdict(Cell) for levels in level_sets(table)}
    for line in lines:
        mine = [paths_of(paths, name, line.leaves[name], lists) for name in names]
        for levels, found in cells.items():
            key = tuple(path.get(level) for path, level in zip(mine, levels))
            if None not in key:
                found[key].add(line.case, line.parts)
    return cells


def paths_of(known, name, leaf, lists):
    """The codes of one leaf by level, remembered."""
    if (name, leaf) not in known:
        known[name, leaf] = time_path(leaf) if name == "time" else lists.by_dimension[name].path(leaf)
    return known[name, leaf]


def tabulate_pairs(lines, lists):
    """Distinct cases by the year of the case's first line and the pair of drug groups that it holds."""
    groups, years = defaultdict(set), defaultdict(set)
    for line in lines:
        groups[line.case].add(lists.drugs.path(line.leaves["drug"])["group"])
        years[line.case].add(line.leaves["time"][:4])
    cells = defaultdict(Cell)
    for case, held in groups.items():
        for pair in itertools.combinations(sorted(held), 2):
            cells[min(years[case]), frozenset(pair)].add(case, {"cases": 1})
    return {("year", "pair"): cells}


# --- cells to states --------------------------------------------------------------------------------------------------

SUPPRESSED = {"state": "suppressed"}
NOT_AVAILABLE = {"state": "not_available"}
COUNTS = ("lines", "lines_weighed", "cases")


def is_dominated(parts):
    """Whether the largest case makes up too much of a total, or the second largest could work it out too closely."""
    total = sum(parts)
    first, second = (sorted(parts, reverse=True) + [0, 0])[:2]
    return 100 * first > DOMINANCE_PERCENT * total or 100 * (total - first - second) < P_PERCENT * first


def expected(cell, measure, available):
    """The state, and the number if it is shown, of one measure of one cell."""
    if not available:
        return NOT_AVAILABLE
    if cell is None or len(cell.cases) < CASES_MIN:
        return SUPPRESSED
    of = measure["of"]
    if of not in COUNTS:
        contributors = [part for part in cell.parts[of].values() if part > 0] if of in cell.parts else []
        if len(contributors) < CASES_MIN or is_dominated(contributors):
            return SUPPRESSED
    return {"state": "value", "value": half_up_to_step(cell.sum(of), measure.get("step", 1))}


# --- the comparison ---------------------------------------------------------------------------------------------------


class Edition:
    """The cells of `accord edition show --cells --json`, as the node shows them."""

    def __init__(self, envelope):
        self.result = envelope.get("result") or {}
        if not self.result.get("cells"):
            raise Unusable("the edition shows no cells (was --cells given?)")
        self.cells = defaultdict(dict)
        self.twice = []
        for cell in self.result["cells"]:
            key = frozenset(cell["key"].items())
            if key in self.cells[cell["table"]]:
                self.twice.append((cell["table"], dict(key)))
            self.cells[cell["table"]][key] = cell["values"]


def plain(value):
    """A shown value without the reason, which is not checked."""
    kept = {"state": (value or {}).get("state", "missing")}
    return kept | ({"value": value["value"]} if "value" in (value or {}) else {})


def brief(value):
    """A state in few letters, for a line of the report."""
    return str(value.get("value", value["state"]))


def pair_codes(groups):
    """The two groups behind each pair code `A+B`: A before B in the order of the list, the unknown group in no pair."""
    named = [group for group in groups if group != "_U"]
    return {"+".join(pair): frozenset(pair) for pair in itertools.combinations(named, 2)}


class Grid:
    """Every cell that a table must have, with its expected states."""

    def __init__(self, table, lines, lists, months):
        self.table, self.lists, self.months = table, lists, months
        self.names = [dimension["name"] for dimension in table["dimension"]]
        self.levels = level_sets(table)
        self.measures = {measure["id"]: measure for measure in table["measure"]}
        self.is_pairs = "pair" in self.names
        self.pairs = pair_codes(lists.drugs.codes("group")) if self.is_pairs else {}
        self.cells = tabulate_pairs(lines, lists) if self.is_pairs else tabulate(table, lines, lists)

    def codes(self, name, level, year):
        """The codes of one dimension at one level."""
        if name == "time":
            return time_codes(year, level)
        return list(self.pairs) if name == "pair" else self.lists.by_dimension[name].codes(level)

    def rows(self, years):
        """Yields (levels, key, cell or None, available) for every cell of the given years."""
        for year in years:
            for levels in self.levels:
                columns = [self.codes(name, level, year) for name, level in zip(self.names, levels)]
                for key in itertools.product(*columns):
                    known = tuple(self.pairs.get(code, code) for code in key) if self.is_pairs else key
                    time = key[self.names.index("time")]
                    yield levels, key, self.cells[levels].get(known), months_of(time) <= self.months

    def states(self, levels, cell, available):
        """The expected state of each measure offered at these levels."""
        return {
            name: expected(cell, self.measures[name], available)
            for name in self.measures
            if name in self.levels[levels]
        }


@dataclass
class Tally:
    """What the comparison found."""

    checked: int = 0
    shown: int = 0
    differences: list = field(default_factory=list)

    def differ(self, table, key, measure, want, got):
        """Notes one difference."""
        named = " ".join(f"{name}={code}" for name, code in key.items())
        self.differences.append(f"{table} [{named}] {measure}: expected {want}, got {got}")


def compare_table(grid, edition, years, tally):
    """Compares every cell that the table must have, and names every cell that it must not have."""
    name = grid.table["name"]
    left = dict(edition.cells.get(name, {}))
    for levels, codes, cell, available in grid.rows(years):
        key = dict(zip(grid.names, codes))
        want = grid.states(levels, cell, available)
        got = left.pop(frozenset(key.items()), None)
        compare_cell(name, key, want, got, tally)
    for key, values in left.items():
        tally.differ(name, dict(key), "*", "no such cell", f"{len(values)} measures")


def compare_cell(name, key, want, got, tally):
    """Compares one cell, measure by measure."""
    if got is None:
        tally.differ(name, key, "*", "a cell", "none")
        return
    tally.checked += 1
    tally.shown += any(value.get("state") == "value" for value in got.values())
    for measure in sorted(want.keys() | got.keys()):
        mine, theirs = want.get(measure, {"state": "not offered"}), plain(got.get(measure))
        if mine != theirs:
            tally.differ(name, key, measure, brief(mine), brief(theirs))


def compare_head(edition, catalogue, folder, member, months, tally, kind="seizure"):
    """Compares what the edition says of itself: whose it is, by which rules, for which months, with which lists."""
    result, rules = edition.result, edition.result.get("rules", {})
    covered = set()
    for span in result.get("coverage", []):
        if span["kind"] == kind and span["state"] == "complete":
            covered |= coverage_months(f"{span['from']}..{span['to']}")
    pairs = [
        ("member", member, result.get("member")),
        ("catalogue", catalogue["id"], result.get("catalogue", {}).get("id")),
        ("k", CASES_MIN, rules.get("k")),
        ("p_percent", P_PERCENT, rules.get("p_percent")),
        ("dominance_percent", DOMINANCE_PERCENT, rules.get("dominance_percent")),
        ("zeros", "hidden", rules.get("zeros")),
        ("complete months", sorted(months), sorted(covered)),
    ]
    for entry in catalogue["list"]:
        path = folder / f"{entry['name']}.csv"
        if path.exists():
            pairs.append((f"list {entry['name']}", entry["sha256"], hashlib.sha256(path.read_bytes()).hexdigest()))
    for what, want, got in pairs:
        if want != got:
            tally.differ("edition", {}, what, want, got)
    for table, key in edition.twice:
        tally.differ(table, key, "*", "one cell", "the same key twice")


# --- margins: a check of this program and of the catalogue, not of the edition ----------------------------------------


def check_star(tables, tally):
    """Every dimension beside time and drug stands in one table only, else tables would share hidden equations."""
    where = defaultdict(list)
    for table in tables:
        for dimension in table["dimension"]:
            where[dimension["name"]].append(table["name"])
    for name, holders in where.items():
        if name not in ("time", "drug") and len(holders) > 1:
            tally.differ("catalogue", {}, name, "one table", ", ".join(holders))


def check_margins(grid, tally):
    """Every code with children is the sum of its children, in every number, wherever the table offers both levels."""
    for levels in grid.cells:
        for place, name in enumerate(grid.names):
            finer = finer_level(grid.lists, name, levels[place])
            lower = levels[:place] + (finer,) + levels[place + 1 :]
            if lower in grid.cells:
                add_up(grid, levels, lower, place, tally)


def add_up(grid, levels, lower, place, tally):
    """Adds the cells of one level set up along one dimension and compares the sums with the cells above."""
    name = grid.names[place]
    sums = defaultdict(Counter)
    for key, cell in grid.cells[lower].items():
        above = key[:place] + (code_above(grid.lists, name, key[place]),) + key[place + 1 :]
        sums[above] += totals(cell)
    divided = {key for key in grid.cells[levels] if has_children(grid.lists, name, key[place])}
    whole = {key: totals(grid.cells[levels][key]) for key in divided}
    for key in whole.keys() | sums.keys():
        if whole.get(key) != sums.get(key):
            tally.differ(grid.table["name"], dict(zip(grid.names, key)), "margin", whole.get(key), sums.get(key))


def totals(cell):
    """Unrounded sums of every number of a cell; what adds up to nothing is left out."""
    return +Counter({of: cell.sum(of) for of in cell.parts})


def finer_level(lists, name, level):
    """The next level down of a dimension, or None."""
    if name != "time":
        return lists.by_dimension[name].finer(level)
    return dict(zip(TIME_LEVELS, TIME_LEVELS[1:])).get(level)


def code_above(lists, name, code):
    """The parent of a code: a month's quarter, a quarter's year, else as the list says."""
    if name != "time":
        return lists.by_dimension[name].parent[code]
    is_month = re.fullmatch("[0-9]{4}-([0-9]{2}|Q[1-4]_U)", code)
    return time_path(code)["quarter"] if is_month else code[:4]


def has_children(lists, name, code):
    """Whether a code is divided further; the unknown quarter of a year is not."""
    return not code.endswith("_U") if name == "time" else code in lists.by_dimension[name].inner


# --- the summary ------------------------------------------------------------------------------------------------------


def summary_lines(reading, grids, years):
    """What was read, and the share of cells and of cases shown by table and levels (first measure, available cells)."""
    bad = ", ".join(f"{rule} {count}" for rule, count in sorted(reading.bad.items())) or "none"
    places = ", ".join(f"{rule} {count}" for rule, count in sorted(reading.places.items()))
    yield f"rows {reading.rows}, selected {reading.selected}, left out: {bad}"
    yield f"lines {len(reading.lines)}, cases {reading.cases()}" + (f", places: {places}" if places else "")
    yield f"{'table':34}{'levels':32}{'cells':>8}{'shown':>8}{'%':>7}{'% non-zero':>12}{'% cases':>9}"
    for grid in grids:
        for levels, numbers in shares(grid, years).items():
            yield share_line(grid.table["name"], "x".join(levels), *numbers)


def shares(grid, years):
    """Per level set: cells, shown cells, non-zero cells, cases in all cells, cases in shown cells."""
    first = grid.table["measure"][0]
    found = {levels: [0, 0, 0, 0, 0] for levels in grid.levels}
    for levels, _, cell, available in grid.rows(years):
        if available:
            shown = expected(cell, first, True)["state"] == "value"
            cases = len(cell.cases) if cell else 0
            for place, number in enumerate((1, shown, cases > 0, cases, cases * shown)):
                found[levels][place] += number
    return found


def share_line(table, levels, cells, shown, non_zero, cases, cases_shown):
    """One row of the summary."""
    percents = [percent(shown, cells), percent(shown, non_zero), percent(cases_shown, cases)]
    return f"{table:34}{levels:32}{cells:8}{shown:8}{percents[0]:>7}{percents[1]:>12}{percents[2]:>9}"


def percent(part, whole):
    """A share with one decimal, without floating point."""
    if not whole:
        return "-"
    tenths = half_even(Fraction(1000 * part, whole))
    return f"{tenths // 10}.{tenths % 10}"


# --- the command ------------------------------------------------------------------------------------------------------


def arguments(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", required=True, help="the file that was imported: csv, or zip with one csv")
    parser.add_argument("--edition", required=True, help="output of `accord edition show --cells --json`")
    parser.add_argument("--lists", required=True, type=pathlib.Path, help="folder with the code lists")
    parser.add_argument("--catalogue", required=True, type=pathlib.Path, help="the catalogue, strategic-1.toml")
    parser.add_argument("--member", required=True, help="such as ES-AGENCY; the first two letters are the country")
    parser.add_argument("--coverage", required=True, help="complete months, FROM..TO")
    parser.add_argument("--mapping", type=pathlib.Path, help="mapping of the file; without it the file is canonical")
    parser.add_argument("--summary", action="store_true", help="print shares of cells and cases shown")
    return parser.parse_args(argv)


def read_toml(path):
    """A TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def check(options):
    """Reads everything, compares everything; returns the tally and the lines of the summary."""
    lists = Lists(options.lists, options.member[:2])
    catalogue = read_toml(options.catalogue)
    tables = [table for table in catalogue["table"] if table["kind"] == "seizure"]
    months = coverage_months(options.coverage)
    edition = Edition(json.loads(pathlib.Path(options.edition).read_text(encoding="utf-8")))
    reading = read_lines(options.csv, read_toml(options.mapping) if options.mapping else None, lists)
    grids = [Grid(table, reading.lines, lists, months) for table in tables]
    tally = Tally()
    compare_head(edition, catalogue, options.lists, options.member, months, tally)
    check_star(tables, tally)
    years = years_of(months)
    for grid in grids:
        if not grid.is_pairs:
            check_margins(grid, tally)
        compare_table(grid, edition, years, tally)
    return tally, summary_lines(reading, grids, years) if options.summary else ()


def years_of(months):
    """The years that an edition has: those with a complete month, each with all its cells, and no other."""
    return sorted({month[:4] for month in months})


def main(argv=None):
    """Runs the check; the exit code is 1 if anything differs or nothing was checked."""
    options = arguments(argv)
    try:
        tally, summary = check(options)
    except Unusable as problem:
        print(f"cannot check: {problem}", file=sys.stderr)
        return 1
    for line in tally.differences[:LINES_SHOWN]:
        print(line)
    if len(tally.differences) > LINES_SHOWN:
        print(f"... and {len(tally.differences) - LINES_SHOWN} more")
    for line in summary:
        print(line)
    print(f"checked {tally.checked} cells, {tally.shown} shown, {len(tally.differences)} differences")
    return 1 if tally.differences or not tally.checked else 0


if __name__ == "__main__":
    sys.exit(main())
