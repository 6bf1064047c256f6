"""Owns section 6, catalogue: its tables, the axes of their dimensions with code numbers, and level sets."""

import csv
import io
import tomllib
from hashlib import sha256
from itertools import product
from pathlib import Path

from second.encoding import LARGEST_VALUE, Refused
from second.messages import RECORD_KIND

QUANTITIES = (
    "lines", "lines_weighed", "mass_mg", "tablets", "doses", "volume_ml", "cases", "lines_measured", "mean",
    "histogram",
)
TIME = "time"
REGIONS = "nuts-2021"
PAIRS = "drug-pairs-1"
PAIRS_ARE_OF = "drugs-1"
DRUG_DIMENSION = "drug"
LARGEST_CELL = 256
FIRST_YEAR, LAST_YEAR = 1900, 9999


class TimeAxis:
    levels = ["year", "quarter", "month"]

    def codes(self, level, country, year):
        """Number and name of the codes of a level in one year, ascending (section 6, code numbers)."""
        if level == 0:
            codes = {0: ""}
        elif level == 1:
            codes = {20 + quarter: f"-Q{quarter}" for quarter in range(1, 5)} | {99: "_U"}
        else:
            codes = {month: f"-{month:02}" for month in range(1, 13)}
            codes |= {30 + quarter: f"-Q{quarter}_U" for quarter in range(1, 5)}
        return {year * 100 + number: f"{year}{name}" for number, name in codes.items()}


class ListAxis:
    """A code list: the number of a code is its row, levels are numbered as they first appear."""

    def __init__(self, rows):
        self.levels = []
        self._codes = []
        for number, row in enumerate(rows):
            if row["level"] == "alias":
                continue
            if row["level"] not in self.levels:
                self.levels.append(row["level"])
                self._codes.append({})
            self._codes[self.levels.index(row["level"])][number] = row["code"]

    def codes(self, level, country, year):
        return self._codes[level]


class RegionAxis:
    """Regions: codes below `_T` and `_U` are those of the provider's country."""

    levels = ["nuts0", "nuts1", "nuts2"]

    def __init__(self, rows):
        self._rows = rows

    def codes(self, level, country, year):
        if level == 0:
            return {0: "_T"}
        codes = {1: "_U"} if level == 1 else {}
        for number, row in enumerate(self._rows):
            if row["country"] != country:
                continue
            if row["level"] == str(level):
                codes[2 * number + 2] = row["code"]
            if level == 2 and row["level"] == "1":
                codes[2 * number + 3] = f"{row['code']}_U"
        return codes


class PairAxis:
    levels = ["pair"]

    def __init__(self, rows):
        groups = [row["code"] for row in rows if row["level"] == "group" and row["code"] != "_U"]
        self._codes = {
            100 * i + j: f"{groups[i]}+{groups[j]}" for i in range(len(groups)) for j in range(i + 1, len(groups))
        }

    def codes(self, level, country, year):
        return self._codes


class Measure:
    def __init__(self, entry, where):
        self.id = entry["id"]
        self.of = entry["of"]
        self.unit = entry["unit"]
        self.basis = entry.get("basis")
        self.step = entry.get("step")
        self.bins = [(level["name"], level["edges"]) for level in entry.get("bins", [])]
        if self.of not in QUANTITIES:
            raise Refused(where, f"unknown quantity {self.of!r}")
        if bool(self.bins) != (self.of == "histogram"):
            raise Refused(where, "a histogram has bins and nothing else has")
        self._check_bins(where)
        self.width = self._width()

    def _check_bins(self, where):
        for index, (name, edges) in enumerate(self.bins):
            if len(edges) < 2 or any(low >= high for low, high in zip(edges, edges[1:])):
                raise Refused(where, f"the edges of bins {name!r} do not ascend")
            if edges[0] < 0 or edges[-1] > LARGEST_VALUE:
                raise Refused(where, f"an edge of bins {name!r} is out of range")
            finer = self.bins[min(index + 1, len(self.bins) - 1)][1]
            if not set(edges) <= set(finer) or (edges[0], edges[-1]) != (finer[0], finer[-1]):
                raise Refused(where, f"the edges of bins {name!r} are not among those of the next level")

    def _width(self):
        """How many numbers the measure has in a cell (section 6, numbers of a measure)."""
        if self.of == "mean":
            return 2
        return 1 + sum(len(edges) - 1 for _, edges in self.bins)

    def describes(self):
        """What must be equal for two measures to be comparable (section 10, pooling)."""
        return self.unit, self.basis, self.bins, self.of, self.step


class Table:
    def __init__(self, entry, axes, where):
        self.id = entry["id"]
        self.name = entry["name"]
        self.version = entry["version"]
        self.kind = entry["kind"]
        self.counting_unit = entry["counting_unit"]
        self.dimensions = {dimension["name"]: dimension["list"] for dimension in entry["dimension"]}
        if self.kind not in RECORD_KIND.numbers:
            raise Refused(where, f"unknown kind of record {self.kind!r}")
        if len(self.dimensions) != len(entry["dimension"]) or len(self.dimensions) > 8:
            raise Refused(where, "more than 8 dimensions, or one that stands twice")
        unknown = [name for name in self.dimensions.values() if name not in axes]
        if unknown:
            raise Refused(where, f"the list {unknown[0]!r} is not named by the catalogue")
        self.axes = [axes[name] for name in self.dimensions.values()]
        self.measures = [Measure(one, f"{where}.measure[{i}]") for i, one in enumerate(entry["measure"])]
        if len({measure.id for measure in self.measures}) != len(self.measures) or len(self.measures) > 32:
            raise Refused(where, "more than 32 measures, or one that stands twice")
        if self.width(self.measures) > LARGEST_CELL:
            raise Refused(where, f"a cell of more than {LARGEST_CELL} numbers")
        self.level_sets = self._level_sets(entry["grid"], where)

    def _level_sets(self, grids, where):
        """Section 6, level sets: a tuple of level numbers to the bits of its measures, in order."""
        sets = {}
        ids = [measure.id for measure in self.measures]
        for index, grid in enumerate(grids):
            here = f"{where}.grid[{index}]"
            if set(grid["levels"]) != set(self.dimensions):
                raise Refused(here, "levels for other dimensions than the table's")
            bits = 0
            for measure in grid["measures"]:
                if measure not in ids:
                    raise Refused(here, f"unknown measure {measure!r}")
                bits |= 1 << ids.index(measure)
            numbers = []
            for name, axis in zip(self.dimensions, self.axes):
                unknown = [level for level in grid["levels"][name] if level not in axis.levels]
                if unknown:
                    raise Refused(here, f"unknown level {unknown[0]!r} of {name}")
                numbers.append([axis.levels.index(level) for level in grid["levels"][name]])
            for levels in product(*numbers):
                sets[levels] = sets.get(levels, 0) | bits
        return sets

    def chosen(self, bits):
        """The measures of a mask, ascending."""
        return [measure for index, measure in enumerate(self.measures) if bits >> index & 1]

    @staticmethod
    def width(measures):
        return sum(measure.width for measure in measures)


class Catalogue:
    """The tables of a catalogue's text, with code lists from a folder, each checked against its hash."""

    def __init__(self, text, lists, where):
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Refused(where, f"no TOML: {error}") from error
        try:
            axes = {TIME: TimeAxis()}
            for entry in document["list"]:
                axes[entry["name"]] = read_axis(entry["name"], entry["sha256"], Path(lists), where)
            self.tables = [Table(one, axes, f"{where}.table[{i}]") for i, one in enumerate(document["table"])]
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(where, f"an entry is missing or of another type: {error}") from error
        for field in ("id", "name"):
            if len({getattr(table, field) for table in self.tables}) != len(self.tables):
                raise Refused(where, f"two tables with one {field}")
        self._check_star(where)

    def _check_star(self, where):
        """Section 6: a further dimension stands in one table of its kind; one list of drugs for a kind."""
        further, drugs = {}, {}
        for table in self.tables:
            for name, axis in table.dimensions.items():
                if name == DRUG_DIMENSION:
                    if drugs.setdefault(table.kind, axis) != axis:
                        raise Refused(where, f"the tables of kind {table.kind} have more than one list of drugs")
                elif name != TIME and further.setdefault((table.kind, name), table.name) != table.name:
                    raise Refused(where, f"{name} stands in more than one table of kind {table.kind}")

    def table(self, **wanted):
        """The table with an id or a name, or None."""
        ((field, value),) = wanted.items()
        return next((table for table in self.tables if getattr(table, field) == value), None)


def read_axis(name, digest, lists, where):
    path = lists / f"{PAIRS_ARE_OF if name == PAIRS else name}.csv"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(where, f"code list {name}: {error}") from error
    if sha256(raw).hexdigest() != digest:
        raise Refused(where, f"code list {name}: the file is not the one that the catalogue names")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8"), newline="")))
    axis = {REGIONS: RegionAxis, PAIRS: PairAxis}.get(name, ListAxis)
    return axis(rows)
