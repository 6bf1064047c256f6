#!/usr/bin/env python3
"""The universal leak oracle as a command: everything one provider ever released against the lines behind it.

Exit status: 0 no leak was found (which proves nothing), 1 a leak, 2 the input cannot be audited.
"""
import argparse
import concurrent.futures
import json
import multiprocessing
import sys
import traceback

from audit import Audit, Found, families
from folder import BadInput, Folder


class Work:
    """What the processes of one run share: they are forked from the one that read the folder."""

    folder = None
    # The release that was made last, with its kind, year and span: the tasks of a block follow each other.
    last = None

    @classmethod
    def release(cls, *block):
        if cls.last is None or cls.last[0] != block:
            cls.last = block, cls.folder.release(*block)
        return cls.last[1]


def audit(task):
    """One kind, year, span and family, or the face of all that (family `None`)."""
    kind, year, span, family, insiders, sample = task
    release, found = Work.release(kind, year, span), Found()
    if family is None:
        found.leaks += release.faults
        # Nothing is linked to these tables, so that all editions are looked at together.
        if span[0] == 0:
            found.leaks += Work.folder.loose(kind, year)
    else:
        found = Audit(release, family, sample).run(insiders)
    for leak in found.leaks:
        leak["kind"] = kind
    return found


def run(path, asked):
    """Everything that can be found in a folder."""
    Work.folder, Work.last = Folder(path), None
    tasks = [
        (kind, year, span, family, asked.insider, asked.sample)
        for kind, year in Work.folder.blocks() if asked.kind in (None, kind) and asked.year in (None, year)
        for span in Work.folder.spans(kind, year)
        for family in [*families(table for table in Work.folder.tables if table.kind == kind), None]
    ]
    if not tasks:
        raise BadInput("nothing was released that this could audit")
    found = Found()
    if asked.jobs > 1:
        with concurrent.futures.ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("fork")) as pool:
            for one in pool.map(audit, tasks):
                found.add(one)
    else:
        for task in tasks:
            found.add(audit(task))
    return found


def words(leak):
    """A leak in one line."""
    cell = ", ".join(f"{name} {code}" for name, code in leak["cell"].items())
    said = ("leak", "kind", "cell", "edition", "measure", "attacker", "interval")
    rest = {name: value for name, value in leak.items() if name not in said}
    between = ""
    if "interval" in leak:
        low, high = leak["interval"]
        between = f" in [{low}, {'...' if high is None else high}] for the attacker `{leak['attacker']}`"
    promise = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{leak['leak']}: {leak.get('kind', '')} {leak['measure']} of {cell}, edition {leak['edition']}:{between} ({promise})"


def text(found):
    """The result for people."""
    inside = [leak for leak in found.leaks if leak.get("attacker") == "insider"]
    lines = [words(leak) for leak in found.leaks]
    lines.append(
        f"{len(found.leaks) - len(inside)} leaks, and {len(inside)} to insiders; {found.protected} protected cells, "
        f"{found.changes} protected changes and {found.insiders} cells before insiders examined; {found.linear} linear and "
        f"{found.integer} integer programmes solved, {found.undecided} left undecided"
    )
    for family, (margin, said) in sorted(found.margins.items()):
        lines.append(f"smallest margin of {family}: {margin}, at {json.dumps(said)}")
    return "\n".join(lines)


def as_json(found):
    return json.dumps({
        "leaks": found.leaks, "protected": found.protected, "changes": found.changes, "insiders": found.insiders,
        "linear": found.linear, "integer": found.integer, "undecided": found.undecided,
        "margins": {family: {"margin": margin, "at": said} for family, (margin, said) in sorted(found.margins.items())},
    }, indent=1)


def options(arguments):
    parser = argparse.ArgumentParser(prog="oracle.py", description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--insider", type=int, nargs="?", const=20, default=0, metavar="N",
                        help="also attackers who are one case alone in base cells, N (20) of them for each kind, year and family")
    parser.add_argument("--kind", help="only this kind of record")
    parser.add_argument("--year", help="only this year")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--sample", type=int, help="at most so many protected cells of each kind, year, vintage and family")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments):
    asked = options(arguments)
    try:
        found = run(asked.folder, asked)
    except BadInput as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2
    except Exception:
        # A file of another form breaks anywhere; that is no leak, and not "no leak" either.
        traceback.print_exc()
        return 2
    print(as_json(found) if asked.json else text(found))
    return 1 if found.leaks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
