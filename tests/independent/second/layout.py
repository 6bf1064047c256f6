"""Owns the cells of sections 6 and 7: those of a query, of a year of a table, and the slice between them."""

from itertools import product
from math import prod

from second.catalogue import FIRST_YEAR, LAST_YEAR, TIME
from second.encoding import MIB, Number, Reader, Refused, encode
from second.messages import NUMBER

# Section 7, reply class: the largest class less what is kept for the rest of the reply.
LARGEST_SLICE = 4 * MIB - 8192
NOT_AVAILABLE = encode(NUMBER, "not_available")


def axes_of_query(table, query, country, where):
    """The codes of each dimension of a query, number to name, ascending; refused where it is off the grid."""
    if query["table_version"] != table.version:
        raise Refused(where, f"version {query['table_version']} of table {table.name}, in force is {table.version}")
    if [dim["dim"] for dim in query["dims"]] != list(range(len(table.axes))):
        raise Refused(f"{where}.dims", f"not the {len(table.axes)} dimensions of table {table.name} in order")
    levels = tuple(dim["level"] for dim in query["dims"])
    if levels not in table.level_sets:
        raise Refused(f"{where}.dims", f"levels {list(levels)} are no level set of table {table.name}")
    if not query["measures"] or query["measures"] & ~table.level_sets[levels]:
        raise Refused(f"{where}.measures", f"{query['measures']:#b} are not measures of these levels")
    axes = []
    for index, (name, axis, dim) in enumerate(zip(table.dimensions, table.axes, query["dims"])):
        here = f"{where}.dims[{index}]"
        if name == TIME:
            known = codes_of_periods(axis, dim, here)
        else:
            known = axis.codes(dim["level"], country, None)
        wanted = dim["codes"] or known
        unknown = [code for code in wanted if code not in known]
        if unknown:
            raise Refused(here, f"{unknown[0]} is no code of {name} at level {axis.levels[dim['level']]}")
        axes.append({code: known[code] for code in sorted(wanted)})
    size = prod(map(len, axes)) * table.width(table.chosen(query["measures"])) * Number.SIZE
    if size > LARGEST_SLICE:
        raise Refused(where, f"a slice of {size} bytes, at most {LARGEST_SLICE} fit a reply")
    return axes


def codes_of_periods(axis, dim, where):
    if not dim["codes"]:
        raise Refused(where, "time names no periods")
    years = {code // 100 for code in dim["codes"]}
    if min(years) < FIRST_YEAR or max(years) > LAST_YEAR:
        raise Refused(where, f"a period outside {FIRST_YEAR} to {LAST_YEAR}")
    return {code: name for year in sorted(years) for code, name in axis.codes(dim["level"], None, year).items()}


def cells_of_year(table, year, country):
    """Section 6, layout: level set and code numbers of every cell of a table in one year, in order."""
    for levels in table.level_sets:
        codes = [axis.codes(level, country, year) for axis, level in zip(table.axes, levels)]
        for key in product(*map(sorted, codes)):
            yield levels, key


def select(table, query, country, blocks):
    """Section 7, slice: the bytes of a query's cells out of `blocks`, a year's layout each."""
    cells = product(*axes_of_query(table, query, country, "query"))
    levels = tuple(dim["level"] for dim in query["dims"])
    size = table.width(table.measures) * Number.SIZE
    place = {
        cell: (year, number * size)
        for year in blocks
        for number, cell in enumerate(cells_of_year(table, year, country))
    }
    out = bytearray()
    for key in cells:
        year, start = place.get((levels, key), (None, 0))
        for index, measure in enumerate(table.measures):
            length = measure.width * Number.SIZE
            if query["measures"] >> index & 1:
                out += NOT_AVAILABLE * measure.width if year is None else blocks[year][start : start + length]
            start += length
    return bytes(out)


def cells_of_query(table, query, country, where):
    """The cells that a query asks for: code numbers to names, in the order of the slice."""
    axes = axes_of_query(table, query, country, where)
    return {key: [axis[code] for axis, code in zip(axes, key)] for key in product(*axes)}


def read_slice(table, query, country, data, query_where, where):
    """A slice as rows: the code numbers of a cell to the numbers of each requested measure."""
    cells = cells_of_query(table, query, country, query_where)
    measures = table.chosen(query["measures"])
    size = len(cells) * table.width(measures) * Number.SIZE
    if len(data) != size:
        raise Refused(where, f"{len(data)} bytes, the query's cells have {size}")
    reader = Reader(data, "slice", where)
    rows = {}
    for key, names in cells.items():
        rows[key] = []
        for measure in measures:
            reader.path[1:] = [f"{names}.{measure.id}"]
            rows[key].append([NUMBER.read(reader) for _ in range(measure.width)])
    return rows
