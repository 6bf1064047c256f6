"""Owns the verification of a view (section 7): who signed it, whom it is for, and that its catalogue has what it shows."""

from second.catalogue import FIRST_YEAR, LAST_YEAR, TIME, Catalogue
from second.documents import SignedDocument
from second.encoding import Refused


def verify_view(raw, trust, lists, audience, now, where="view"):
    """The content of a view that a member may believe, by documents of trust; or Refused."""
    document = SignedDocument(raw, trust.federation, where, "view")
    view = document.content
    if view["audience"] != audience:
        document.refuse(f"a view for {view['audience']}")
    fault = trust.no_provider(view["provider"], now)
    if fault:
        document.refuse(f"the provider {view['provider']} {fault}")
    if not document.signers.intersection(trust.left(view["provider"], "sign_keys", now)):
        document.refuse(f"not signed by a signing key of {view['provider']}")
    if view["catalogue_hash"] not in trust.catalogues:
        document.refuse(f"the catalogue {view['catalogue_hash'].hex()} is missing")
    fault = fault_under(view, Catalogue(trust.catalogues[view["catalogue_hash"]], lists, f"{where} (catalogue)"))
    if fault:
        document.refuse(fault)
    return view


def fault_under(view, catalogue):
    """What a view shows that the catalogue which it names does not have."""
    shown = {}
    for one in view["tables"]:
        table = catalogue.table(id=one["table_id"])
        if not table or table.version != one["table_version"]:
            return f"no table {one['table_id']} of version {one['table_version']}"
        sets = list(table.level_sets)
        levels = {level for row in one["rows"] for level in row["levels"]}
        if levels and max(levels) >= len(sets):
            return f"level set {max(levels)} of table {table.name}, it has {len(sets)}"
        shown[table.id] = table, {sets[level] for level in levels}
    for note in view["footnotes"]:
        table, sets = shown.get(note["table_id"], (None, set()))
        if tuple(note["levels"]) not in sets:
            return f"a footnote of table {note['table_id']} at levels {note['levels']}, which are not shown"
        if not names_cell(table, note["levels"], note["codes"], view["provider"][:2]):
            return f"a footnote of {note['codes']}, which is no cell of table {table.name} at levels {note['levels']}"
    return None


def names_cell(table, levels, codes, country):
    """Whether codes name a cell of a table at these levels in any year."""
    if len(codes) != len(levels):
        return False
    year = next(code // 100 for code, name in zip(codes, table.dimensions) if name == TIME)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return False
    return all(code in axis.codes(level, country, year) for axis, level, code in zip(table.axes, levels, codes))
