#!/usr/bin/env python3
"""Recomputes every cell of the purity, price or site tables of one edition from the source file.

It owns what these kinds have beside counts: the value of a sample or an observation, the conversion to euro, the codes
of their own dimensions, means and histograms. What they share with seizures (numbers, dates, code lists, cells, the
comparison) is taken from `check.py`; like it, this shares no code with the programs and uses no floating point.

Order of reading: values, code lists, rows to lines, cells to states, the comparison.
"""

import argparse
import csv
import datetime
import json
import pathlib
import re
import sys
from dataclasses import dataclass, field
from fractions import Fraction

import check
from check import BadRow, Unusable

MEAN_CASES_MIN = 20
RATE_DAYS_MAX = 7
# Above every price that can occur: the catalogue's way to say that the last bin is open.
OPEN_EDGE = 2**53 - 1


# --- values -----------------------------------------------------------------------------------------------------------


def hundredths(text):
    """A decimal number of at most two places, in hundredths."""
    if not check.PLAIN_NUMBER.fullmatch(text):
        raise BadRow("R-NUMBER")
    value = 100 * Fraction(text)
    if value.denominator != 1:
        raise BadRow("R-NUMBER")
    return int(value)


def purity(text):
    """A purity in hundredths of a per cent."""
    value = hundredths(text)
    if value > 10_000:
        raise BadRow("R-RANGE")
    return value


def check_whole(text, most=check.AMOUNT_MAX):
    """Refuses what is neither blank nor a whole number in its range."""
    if text and not (text.isascii() and text.isdigit()):
        raise BadRow("R-NUMBER")
    if text and int(text) > most:
        raise BadRow("R-RANGE")


def rate_date(text):
    """The day whose rate converts a price: the date itself, or about the middle of a month, quarter or year."""
    check.time_leaf(text)
    year, quarter, month, day = check.DATE.fullmatch(text).groups()
    if quarter:
        month = 3 * int(quarter) - 1
    if month:
        return datetime.date(int(year), int(month), int(day or 15))
    return datetime.date(int(year), 7, 1)


class Rates:
    """Reference rates of the European Central Bank: units of a currency for one euro, by day."""

    def __init__(self, path):
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [{name.strip(): cell.strip() for name, cell in row.items() if name} for row in csv.DictReader(file)]
        if not rows or "Date" not in rows[0]:
            raise Unusable("the rates have no column Date")
        self.by_day = {datetime.date.fromisoformat(row["Date"]): row for row in rows}

    def rate(self, currency, day):
        """The last rate on or before a day, if it is not too old."""
        if currency == "EUR":
            return Fraction(1)
        for age in range(RATE_DAYS_MAX + 1):
            text = self.by_day.get(day - datetime.timedelta(days=age), {}).get(currency, "")
            if check.PLAIN_NUMBER.fullmatch(text) and Fraction(text) > 0:
                return Fraction(text)
        raise BadRow("R-RATE")


def price(amount, rate, number, unit):
    """Euro cents for one gram, tablet or dose, and which of them: rounded once, at the end, half to even."""
    cents = hundredths(amount)
    if not cents:
        raise BadRow("R-RANGE")
    if unit not in check.MILLIGRAMS and unit not in ("tablet", "dose"):
        raise BadRow("R-UNIT")
    parts = check.quantity(check.parse_amount(number, False), unit)
    (quantity,) = parts.values()
    if not quantity:
        raise BadRow("R-RANGE")
    per = "gram" if "mass_mg" in parts else unit
    return check.half_even(Fraction(cents) / rate / quantity * (1000 if per == "gram" else 1)), per


# --- code lists -------------------------------------------------------------------------------------------------------

LIST_OF = {
    "drug": "substances-1",
    "market": "market-1",
    "basis": "basis-1",
    "frame": "frame-1",
    "per": "per-1",
    "role": "site-role-1",
}


class ValueLists:
    """The code lists of the tables of values, in the place of those of the seizure tables."""

    def __init__(self, folder, country):
        seizures = check.Lists(folder, country)
        self.country, self.regions, self.drugs = country, seizures.regions, seizures.drugs
        rows = check.read_list(folder, "subdivisions-1")
        self.subdivisions = {row["code"] for row in rows if row["code"].startswith(f"{country}-")}
        self.by_dimension = {name: check.tree_of(folder, file) for name, file in LIST_OF.items()}

    def substance_leaf(self, drug, form):
        """The substance or form of the shorter list under which a drug is counted."""
        code, listed = check.drug_or_form(self.drugs, drug, form), self.by_dimension["drug"]
        if code in ("unknown", self.drugs.root):
            return "_U"
        if code not in self.drugs.level:
            raise BadRow("R-CODE")
        path = self.drugs.path(code)
        named = [path[level] for level in ("form", "substance") if path.get(level) in listed.level]
        if named:
            return listed.leaf(named[0])
        is_known = "substance" in path and path["substance"] != f"{path['group']}_U"
        return "_O" if is_known else "_U"


def word(text):
    """A plain code word as a code: blank and unknown are one."""
    return "_U" if text in ("", "unknown") else text


# --- rows to lines ----------------------------------------------------------------------------------------------------

COMMON = {name: check.CANONICAL[name] for name in ("record_id", "case_id", "date", "nuts", "unlocode", "agency")}
COMMON |= {"source": None, "status": check.CANONICAL["status"]}
MARKET = {"market_level": check.CANONICAL["market_level"], "level_rule": None}
BASIS = {"base", "hcl", "other_salt", "unknown"}
ADULTERANTS = set(
    "levamisole phenacetin caffeine lidocaine procaine benzocaine paracetamol diltiazem hydroxyzine mannitol lactose"
    " other unknown".split()
)
ADULTERANTS_MAX = 20
LINKED_MAX = 50
RECORD_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")


def make_line(case, leaves, value=None):
    """A line; its value stands among its parts, as the number of lines (one) that have just this value."""
    measured = {} if value is None else {"lines_measured": 1, value: 1}
    return check.Line(case, leaves, {"lines": 1, **measured})


class Records(check.Canonical):
    """Reads a canonical layout with one line per record."""

    def __init__(self, lists, reading, rates=None):
        super().__init__(lists, reading)
        self.rates = rates

    def line(self, row):
        """One row as a line; a record number comes once."""
        self.check_words(row)
        self.check_place(row)
        line = self.line_of(row, check.fold_case_id(row["case_id"]))
        if row["record_id"] in self.seen:
            raise BadRow("R-CONFLICT")
        self.seen.add(row["record_id"])
        return line

    def check_place(self, row):
        """The region, which no table of values counts; in a country without NUTS it is a subdivision of ISO 3166-2."""
        if self.lists.regions.code_level:
            self.region(row)
        elif row["nuts"] and row["nuts"] not in self.lists.subdivisions:
            raise BadRow("R-PLACE")

    def line_of(self, row, case):
        """What the kind makes of a row."""
        raise NotImplementedError


def check_adulterants(text):
    """A list of words, or `none` by itself."""
    words = text.split(";") if text and text != "none" else []
    if len(words) > ADULTERANTS_MAX:
        raise BadRow("R-RANGE")
    if not ADULTERANTS.issuperset(words):
        raise BadRow("R-CODE")


class Purity(Records):
    """Reads the layout `purity`."""

    required = ("record_id", "case_id", "date", "source", "drug", "form", "below_detection", "expressed_as")
    required += ("sampling", "origin")
    columns = {
        **COMMON,
        "seizure_id": None,
        "drug": None,
        "form": None,
        "purity_percent": None,
        "below_detection": {"yes", "no"},
        "expressed_as": BASIS,
        "method": {"gc_fid", "gc_ms", "hplc", "nmr", "other", "unknown"},
        "sampling": {"random", "all", "threshold", "unknown"},
        "threshold_mg": None,
        "origin": {"seizure", "drug_checking"},
        **MARKET,
        "sample_mg": None,
        "adulterants": None,
    }

    def line_of(self, row, case):
        """One sample; below detection it has no purity."""
        check_whole(row["threshold_mg"])
        check_whole(row["sample_mg"])
        check_adulterants(row["adulterants"])
        if row["seizure_id"] and not RECORD_ID.fullmatch(row["seizure_id"]):
            raise BadRow("R-ID")
        if (row["below_detection"] == "yes") == bool(row["purity_percent"]):
            raise BadRow("R-RANGE" if row["purity_percent"] else "R-REQUIRED")
        if row["threshold_mg"] and row["sampling"] != "threshold":
            raise BadRow("R-RANGE")
        leaves = {
            "time": check.time_leaf(row["date"]),
            "drug": self.lists.substance_leaf(row["drug"], row["form"]),
            "market": word(row["market_level"]),
            "basis": word(row["expressed_as"]),
            "frame": self.frame(row),
        }
        return make_line(case, leaves, purity(row["purity_percent"]) if row["purity_percent"] else None)

    @staticmethod
    def frame(row):
        """Where the sample comes from and, for a seizure, how samples were chosen."""
        if row["origin"] == "drug_checking":
            return "drug_checking"
        return "_U" if word(row["sampling"]) == "_U" else f"seizure_{row['sampling']}"


class Price(Records):
    """Reads the layout `price`."""

    required = ("record_id", "case_id", "date", "source", "drug", "amount", "currency", "quantity", "unit")
    required += ("market_level", "weight_basis", "price_source")
    columns = {
        **COMMON,
        "drug": None,
        "form": None,
        "amount": None,
        "currency": None,
        "quantity": None,
        "unit": None,
        **MARKET,
        "weight_basis": {"weighed", "assumed", "unknown"},
        "price_source": set("test_purchase police_intelligence user_interview court_file online other unknown".split()),
        "purity_percent": None,
        "expressed_as": BASIS,
    }

    def line_of(self, row, case):
        """One observation."""
        if bool(row["purity_percent"]) != bool(row["expressed_as"]):
            raise BadRow("R-REQUIRED")
        if row["purity_percent"]:
            purity(row["purity_percent"])
        if not re.fullmatch("[A-Z]{3}", row["currency"]):
            raise BadRow("R-CURRENCY")
        rate = self.rates.rate(row["currency"], rate_date(row["date"]))
        cents, per = price(row["amount"], rate, row["quantity"], row["unit"])
        leaves = {
            "time": check.time_leaf(row["date"]),
            "drug": self.lists.substance_leaf(row["drug"], row["form"]),
            "market": word(row["market_level"]),
            "per": self.per(per, row["weight_basis"]),
        }
        return make_line(case, leaves, cents)

    @staticmethod
    def per(unit, weight_basis):
        """What the price is for; grams that were weighed and grams that were assumed are two things."""
        if unit != "gram":
            return unit
        return "gram_U" if weight_basis == "unknown" else f"gram_{weight_basis}"


class Site(Records):
    """Reads the layout `site`."""

    required = ("record_id", "case_id", "date", "source", "site_role")
    columns = {
        **COMMON,
        "site_role": set("extraction conversion crystallisation cutting_pressing storage dump unknown".split()),
        "site_status": {"active", "inactive", "under_construction", "unknown"},
        "carrier": set(
            "charcoal plastic textile fertiliser beeswax liquid food paper guano wood other none unknown".split()
        ),
        "capacity_g_per_batch": None,
        "found_drug": None,
        "found_form": None,
        "found_amount": None,
        "found_unit": None,
        "chemicals_ml": None,
        "linked_seizures": None,
        "injured": None,
        "dead": None,
    }

    def line_of(self, row, case):
        """One site, counted under its main role."""
        for name in ("capacity_g_per_batch", "chemicals_ml"):
            check_whole(row[name])
        linked = row["linked_seizures"].split(";") if row["linked_seizures"] else []
        if len(linked) > LINKED_MAX or not all(RECORD_ID.fullmatch(record) for record in linked):
            raise BadRow("R-CODE")
        for name in ("injured", "dead"):
            check_whole(row[name], 999)
        drugs = self.lists.drugs
        check.Lists.word_leaf(drugs, check.drug_or_form(drugs, row["found_drug"], row["found_form"]))
        check.amount_parts(row["found_amount"], row["found_unit"])
        return make_line(case, {"time": check.time_leaf(row["date"]), "role": word(row["site_role"])})


KINDS = {"purity": Purity, "price": Price, "site": Site}

# The DEA file states five things of an exhibit; the rest is the same for all of them.
DEA_HEADER = ["state", "potency", "weight", "month", "price"]
DEA_YEAR = "2007"
DEA_CONSTANTS = {
    "purity": {
        "drug": "COC_COCAINE",
        "form": "unknown",
        "below_detection": "no",
        "expressed_as": "unknown",
        "sampling": "unknown",
        "origin": "seizure",
    },
    "price": {
        "drug": "COC_COCAINE",
        "unit": "g",
        "currency": "USD",
        "market_level": "unknown",
        "weight_basis": "weighed",
        "price_source": "test_purchase",
        "expressed_as": "unknown",
    },
}
DEA_FIELDS = {
    "purity": {"purity_percent": "potency"},
    "price": {"amount": "price", "quantity": "weight", "purity_percent": "potency"},
}


def read_dea(path, kind, reader):
    """The rows of the DEA file as lines: every row is a case of its own, and rows equal in every field are one case."""
    header, rows = check.open_rows(path, ",")
    if header != DEA_HEADER or kind not in DEA_CONSTANTS:
        raise Unusable("this is not the DEA file, or it does not hold this kind")

    def line(cells):
        stated = dict(zip(header, (cell.strip() for cell in cells)))
        row = dict.fromkeys(reader.columns, "") | DEA_CONSTANTS[kind]
        row |= {name: stated[column] for name, column in DEA_FIELDS[kind].items()}
        if not all(stated[column] for column in header[1:]):
            raise BadRow("R-REQUIRED")
        row["date"] = f"{DEA_YEAR}-{stated['month']:0>2}"
        return reader.line_of(row, tuple(cells))

    for cells in rows:
        reader.reading.rows += 1
        if len(cells) != len(header):
            raise Unusable(f"record {reader.reading.rows} has {len(cells)} fields")
        reader.reading.take(line, cells)


# --- cells to states --------------------------------------------------------------------------------------------------


@dataclass
class Values:
    """The lines of a cell that have a value: the value, how many lines have it and of which cases they are."""

    found: list = field(default_factory=list)

    @classmethod
    def of(cls, cell):
        """Values are the parts of a cell whose name is a number."""
        parts = cell.parts.items() if cell else ()
        return cls([(value, sum(lines.values()), set(lines)) for value, lines in parts if isinstance(value, int)])

    def between(self, low, high):
        """Those from a lower edge (included) to an upper one (excluded); the open edge has nothing above it."""
        return Values([item for item in self.found if low <= item[0] and (item[0] < high or high == OPEN_EDGE)])

    def lines(self):
        """How many lines have a value."""
        return sum(count for _, count, _ in self.found)

    def cases(self):
        """How many distinct cases have a line with a value."""
        return len(set().union(*(cases for _, _, cases in self.found)))

    def mean(self):
        """The exact simple mean over lines."""
        return Fraction(sum(value * count for value, count, _ in self.found), self.lines())

    def count(self):
        """The lines as a state: a number or hidden."""
        return shown(self.lines()) if self.cases() >= check.CASES_MIN else check.SUPPRESSED


def shown(value):
    """The state of a number that may be seen."""
    return {"state": "value", "value": value}


def bins_of(measure):
    """Every bin in the order of the catalogue: the level's place, its name and the two edges."""
    return [
        (place, level["name"], low, high)
        for place, level in enumerate(measure.get("bins", []))
        for low, high in zip(level["edges"], level["edges"][1:])
    ]


def bin_name(measure, name, low, high):
    """How a bin is called in the comparison."""
    return f"{measure} {name} {low}..{'' if high in (OPEN_EDGE, None) else high}"


def histogram(cell, measure):
    """The states of a histogram by name: the number of lines, then every bin; hidden as a whole it has no bins."""
    values = Values.of(cell)
    number = values.count()
    states = {measure["id"]: number}
    if number != check.SUPPRESSED:
        for _, name, low, high in bins_of(measure):
            states[bin_name(measure["id"], name, low, high)] = values.between(low, high).count()
    return states


def has_fine_bin(cell, measure):
    """Whether a histogram shows a bin below its coarsest level, from which a mean could be worked out more closely."""
    values = Values.of(cell)
    return values.count() != check.SUPPRESSED and any(
        values.between(low, high).count() != check.SUPPRESSED for place, _, low, high in bins_of(measure) if place
    )


def mean_state(cell, step, is_blocked):
    """A mean: the number of lines, and the rounded mean times that number as the sum."""
    values = Values.of(cell)
    if is_blocked or values.cases() < MEAN_CASES_MIN:
        return check.SUPPRESSED
    mean = check.half_up_to_step(values.mean(), step)
    return shown(mean_text(values.lines(), values.lines() * mean, 100 * mean))


def mean_text(number, total, mean_hundredths):
    """The three numbers of a mean as one value, to compare and to report."""
    return f"n {number} sum {total} mean_hundredths {mean_hundredths}"


class ValueGrid(check.Grid):
    """Every cell of a table of values, with its expected states."""

    def __init__(self, table, lines, lists, months):
        super().__init__(table, lines, lists, months)
        self.histograms = [measure for measure in table["measure"] if measure["of"] == "histogram"]
        self.blocked = self._blocked()

    def _blocked(self):
        """Keys of a year, by levels, in whose own cell or in a quarter of it a histogram shows a fine bin."""
        place = self.names.index("time")
        found = set()
        for levels, cells in self.cells.items():
            offered = [measure for measure in self.histograms if measure["id"] in self.levels[levels]]
            year_levels = levels[:place] + ("year",) + levels[place + 1 :]
            for key, cell in cells.items():
                available = check.months_of(key[place]) <= self.months
                if available and any(has_fine_bin(cell, measure) for measure in offered):
                    found.add((year_levels, key[:place] + (key[place][:4],) + key[place + 1 :]))
        return {self.cells[levels].get(key) for levels, key in found if levels in self.cells}

    def states(self, levels, cell, available):
        """The expected state of each measure offered at these levels, each bin of a histogram by a name of its own."""
        states = {}
        for name, measure in self.measures.items():
            if name in self.levels[levels]:
                states |= self.measure_states(cell, measure, available)
        return states

    def measure_states(self, cell, measure, available):
        """The states of one measure by name."""
        if not available:
            return {measure["id"]: check.NOT_AVAILABLE}
        if cell is None or len(cell.cases) < check.CASES_MIN:
            return {measure["id"]: check.SUPPRESSED}
        if measure["of"] == "histogram":
            return histogram(cell, measure)
        if measure["of"] == "mean":
            return {measure["id"]: mean_state(cell, measure["step"], cell in self.blocked)}
        return {measure["id"]: shown(cell.sum(measure["of"]))}


# --- the comparison ---------------------------------------------------------------------------------------------------


def flatten(values, measures):
    """The measures of a cell as the edition shows them, each bin by a name of its own, as in `ValueGrid.states`."""
    flat = {}
    for name, value in values.items():
        measure = measures.get(name, {})
        flat[name] = value
        if value.get("state") == "value" and measure.get("of") == "mean":
            flat[name] = shown(mean_text(value.get("n"), value.get("sum"), value.get("mean_hundredths")))
        if "bins" in value:
            flat[name] = {"state": value["state"], "value": value.get("n")}
            flat |= flat_bins(value["bins"], measure)
    return flat


def flat_bins(bins, measure):
    """The bins of one histogram by name; they stand in the order of the catalogue, whose edges they must have."""
    known = bins_of({"bins": measure.get("bins", [])})
    found = {}
    for place, item in enumerate(bins):
        level = known[place][1] if place < len(known) else "beyond the catalogue"
        found[bin_name(measure.get("id"), level, item.get("from"), item.get("to"))] = item
    return found


def compare(grid, edition, years, tally):
    """Compares the table of a grid, margins included."""
    check.check_margins(grid, tally)
    cells = edition.cells.get(grid.table["name"], {})
    edition.cells[grid.table["name"]] = {key: flatten(values, grid.measures) for key, values in cells.items()}
    check.compare_table(grid, edition, years, tally)


# --- the command ------------------------------------------------------------------------------------------------------


def arguments(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", required=True, choices=list(KINDS), help="which tables are checked")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--csv", help="the file that was imported, in the canonical layout")
    source.add_argument("--dea", help="the DEA file of cocaine exhibits, 2007")
    parser.add_argument("--rates", help="the reference rates of the European Central Bank, csv; for prices")
    parser.add_argument("--edition", required=True, help="output of `accord edition show --cells --json`")
    parser.add_argument("--lists", required=True, type=pathlib.Path, help="folder with the code lists")
    parser.add_argument("--catalogue", required=True, type=pathlib.Path, help="the catalogue, strategic-1.toml")
    parser.add_argument("--member", required=True, help="such as ES-AGENCY; the first two letters are the country")
    parser.add_argument("--coverage", required=True, help="complete months, FROM..TO")
    options = parser.parse_args(argv)
    if options.kind == "price" and not options.rates:
        parser.error("prices need --rates")
    return options


def read_values(options, lists):
    """The lines of the file."""
    reading = check.Reading()
    rates = Rates(options.rates) if options.rates else None
    reader = KINDS[options.kind](lists, reading, rates)
    if options.dea:
        read_dea(options.dea, options.kind, reader)
    else:
        reader.read(options.csv)
    return reading


def run(options):
    """Reads everything, compares everything; returns the tally and what was read."""
    lists = ValueLists(options.lists, options.member[:2])
    catalogue = check.read_toml(options.catalogue)
    months = check.coverage_months(options.coverage)
    edition = check.Edition(json.loads(pathlib.Path(options.edition).read_text(encoding="utf-8")))
    reading = read_values(options, lists)
    tally = check.Tally()
    check.compare_head(edition, catalogue, options.lists, options.member, months, tally, options.kind)
    for table in catalogue["table"]:
        if table["kind"] == options.kind:
            grid = ValueGrid(table, reading.lines, lists, months)
            compare(grid, edition, check.years_of(months), tally)
    return tally, reading


def main(argv=None):
    """Runs the check; the exit code is 1 if anything differs or nothing was checked."""
    options = arguments(argv)
    try:
        tally, reading = run(options)
    except Unusable as problem:
        print(f"cannot check: {problem}", file=sys.stderr)
        return 1
    for line in tally.differences[: check.LINES_SHOWN]:
        print(line)
    if len(tally.differences) > check.LINES_SHOWN:
        print(f"... and {len(tally.differences) - check.LINES_SHOWN} more")
    bad = ", ".join(f"{rule} {count}" for rule, count in sorted(reading.bad.items())) or "none"
    print(f"rows {reading.rows}, lines {len(reading.lines)}, cases {reading.cases()}, left out: {bad}")
    print(f"checked {tally.checked} cells, {tally.shown} shown, {len(tally.differences)} differences")
    return 1 if tally.differences or not tally.checked else 0


if __name__ == "__main__":
    sys.exit(main())
