"""Owns the command line: checks vectors, verifies evidence files and audit logs, and decodes single messages."""

import argparse
import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from second import compare as verdicts
from second.answer import compare
from second.encoding import MIB, Refused, decode, to_json
from second.evidence import milliseconds, verify
from second.levels import LEVELS
from second.log import read_trust, subject_of, verify_copy, verify_proof
from second.messages import DOCUMENT, STRUCTURES
from second.trust import Trust
from second.trust_vectors import TrustVectors
from second.vectors import STRUCTURE_OF, Vectors
from second.views import verify_view

ACCORD_FILE = b"ACCORD1\n"


def vectors(arguments):
    checked = Vectors(Path(arguments.file).read_text(encoding="ascii"))
    differences = checked.check()
    for name, fault in differences:
        print(f"DIFFERENCE {name}: {fault}")
    for name, note in checked.notes:
        print(f"note {name}: {note}")
    print(f"{len(checked.values)} vectors checked, {len(differences)} differ, {len(checked.notes)} notes")
    return 1 if differences else 0


def trust_vectors(arguments):
    checked = TrustVectors(Path(arguments.file).read_text(encoding="ascii"))
    differences = checked.check()
    for name, fault in differences:
        print(f"DIFFERENCE {name}: {fault}")
    print(f"{len(checked.cases)} sets of documents checked in two orders, {len(differences)} differ")
    return 1 if differences else 0


def verify_file(arguments):
    now = milliseconds(arguments.now, "--now") if arguments.now else int(time.time() * 1000)
    raw = Path(arguments.file).read_bytes()
    answer = comparison(arguments.answer)

    def verified():
        return verify(raw, arguments.federation, arguments.lists, now, answer, arguments.require)

    return say(arguments, verified, print_result)


def say(arguments, action, print_it):
    """Prints what an action finds, or where and why it refuses."""
    try:
        result = action()
    except Refused as refused:
        if arguments.json:
            print(json.dumps({"verified": False, "where": refused.where, "reason": refused.what}, indent=2))
        else:
            print(f"NOT VERIFIED at {refused.where}: {refused.what}")
        return 1
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_it(result)
    return 0


def audit(arguments):
    now, subject = int(time.time() * 1000), None
    if arguments.about:
        document = decode(DOCUMENT, accord_file(arguments.about), "document", MIB, arguments.about)
        subject = subject_of(document["label"], arguments.federation, document["payload"])
    return say(arguments, lambda: verify_copy(arguments.folder, arguments.federation, now, subject), print_copy)


def print_copy(result):
    print("VERIFIED")
    print(f"the log of {result['member']}: {result['size']} entries, {result['details']} with what they commit to")
    if result["destroyed"]:
        said = "as its entries of retention say" if result["says_destroyed"] else "AND NO ENTRY THAT CAN BE READ SAYS SO"
        print(f"the first {result['destroyed']} are destroyed, {said}: only their hashes are there")
    print(f"root: {result['root']}")
    print(f"checkpoints: {', '.join(map(str, result['checkpoints']))}")
    for one in result["witnesses"]:
        print(f"witnessed by {one['member']}: the first {one['size']} entries")
    if not result["witnesses"]:
        print("unwitnessed")
    if "about" in result:
        print(f"entries about the document: {', '.join(map(str, result['about'])) or 'none'}")


def proof(arguments):
    raw, now = Path(arguments.file).read_bytes(), int(time.time() * 1000)

    def verified():
        trust = read_trust(Path(arguments.trust).read_bytes(), arguments.federation, arguments.trust)
        return verify_proof(raw, trust, now)

    return say(arguments, verified, print_proof)


def print_proof(result):
    print("VERIFIED")
    print(f"entry {result['seq']} among the first {result['size']} of the log of {result['member']}")
    print(f"{result['kind']}, {time_of(result['time_ms'])}")
    print("with what it commits to" if result["detail"] else "without what it commits to")


def compare_verdicts(arguments):
    raw = Path(arguments.file).read_bytes()
    altered = verdicts.flips(raw, arguments.flips, arguments.seed)
    now = int(time.time() * 1000)
    count, valid, differing = verdicts.compare(arguments.tool, raw, arguments.federation, arguments.lists, now, altered)
    for name, own, told in differing:
        print(f"DIFFERENCE {name}: here {own[1] or 'valid'}; the tool: {told[1] or 'valid'}")
    print(f"{count} files, {valid} valid, {len(differing)} verdicts differ")
    return 1 if differing else 0


def comparison(path):
    if path is None:
        return None
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    return lambda exchanges, rows, table: compare(report, exchanges, rows, table)


def print_result(result):
    print("VERIFIED")
    if result["compared"]:
        print("the answer has the same {} values of members and {} pooled".format(*result["compared"]))
    for name in ("federation", "question_id", "table", "requester"):
        print(f"{name}: {result[name]}")
    for one in result["exchanges"]:
        print(f"{one['member']}: {one['outcome']}{detail_of(one)}")
        if one["log"]:
            print(f"  {log_of(one['log'])}")
    for member in result["unproven"]:
        print(f"{member} promised a proof of its log a day ago and more, and the file has none")
    print("pooled:")
    for row in result["pooled"]:
        print(" ".join(row["key"]))
        for value in row["values"]:
            shown = "-" if value["value"] is None else value["value"]
            numbers = f" {value['numbers']}" if "numbers" in value else ""
            missing = ", ".join(f"{member} {reason}" for member, reason in value["missing"])
            print(f"  {value['measure']} = {shown}{numbers}  from [{', '.join(value['from'])}]  missing [{missing}]")


def log_of(log):
    entry = f"{log['level']}: entry {log['entry']} of {log['size']}, {time_of(log['at'])}"
    return f"{entry}, witnessed by {', '.join(log['witnesses']) or 'nobody'} ({log['needed']} needed)"


def detail_of(one):
    if one["edition"]:
        return f" (edition {one['edition']})"
    if one["reason"]:
        return f" ({one['code']}, reason {one['reason']})"
    return f" ({one['code']})" if one["code"] else ""


def time_of(milliseconds_since_1970):
    try:
        at = datetime.fromtimestamp(milliseconds_since_1970 / 1000, timezone.utc)
    except (OverflowError, ValueError):
        # An entry may bear any time of 64 bits.
        return f"{milliseconds_since_1970} ms since 1970"
    return at.isoformat(timespec="milliseconds")


def view_file(arguments):
    """A view as the tool keeps it, beside the trust documents of the same profile; both are `.accord` files."""
    now = milliseconds(arguments.now, "--now") if arguments.now else int(time.time() * 1000)
    trust = Trust([accord_file(path) for path in arguments.documents], arguments.federation, "documents")
    try:
        view = verify_view(accord_file(arguments.file), trust, arguments.lists, arguments.member, now)
    except Refused as refused:
        print(f"NOT VERIFIED at {refused.where}: {refused.what}")
        return 1
    print(json.dumps(to_json(view), indent=2))
    return 0


def accord_file(path):
    raw = Path(path).read_bytes()
    if not raw.startswith(ACCORD_FILE):
        raise Refused(path, "not an .accord file")
    return raw[len(ACCORD_FILE) :]


def decode_file(arguments):
    kind = STRUCTURE_OF.get(arguments.name, arguments.name)
    structure, cap = STRUCTURES[kind]
    data = bytes.fromhex(Path(arguments.file).read_text(encoding="ascii"))
    print(json.dumps(to_json(decode(structure, data, kind, cap)), indent=2, ensure_ascii=False))
    return 0


def federation(text):
    raw = bytes.fromhex(text)
    if len(raw) != 32:
        raise ValueError("a federation's id has 32 bytes")
    return raw


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("vectors", help="check a file of vectors")
    command.add_argument("file")
    command.set_defaults(run=vectors)
    command = commands.add_parser("trust", help="check a file of sets of trust documents")
    command.add_argument("file")
    command.set_defaults(run=trust_vectors)
    command = commands.add_parser("verify", aliases=["evidence"], help="verify an evidence file")
    command.add_argument("file")
    command.add_argument("--federation", type=federation, required=True, help="64 hex digits")
    command.add_argument("--lists", required=True, help="folder of the code lists")
    command.add_argument("--now", help="time to verify at, such as 2026-11-24T11:55:03Z; otherwise now")
    command.add_argument("--require", choices=LEVELS, default=LEVELS[0], help="what must be proved of every reply")
    command.add_argument("--answer", help="a file with the JSON that `accord ask` or `accord demo` printed, to compare")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=verify_file)
    command = commands.add_parser("audit", help="verify a copy of an audit log")
    command.add_argument("folder", help="a folder that `accord audit export` made")
    command.add_argument("--about", help="a signed document as an .accord file, to find the entries that are about it")
    command.add_argument("--federation", type=federation, required=True, help="64 hex digits")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=audit)
    command = commands.add_parser("proof", help="verify a proof that an entry stands in an audit log")
    command.add_argument("file", help="a file that `accord audit prove` made")
    command.add_argument("--federation", type=federation, required=True, help="64 hex digits")
    command.add_argument("--trust", required=True, help="a bundle of trust documents, such as that of a copy")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=proof)
    command = commands.add_parser("compare", help="verdicts of this verifier and of the tool on altered files")
    command.add_argument("file")
    command.add_argument("--tool", required=True, help="the program `accord`")
    command.add_argument("--federation", type=federation, required=True, help="64 hex digits")
    command.add_argument("--lists", required=True, help="folder of the code lists")
    command.add_argument("--flips", type=int, default=300)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(run=compare_verdicts)
    command = commands.add_parser("view", help="verify what a partner says that a member may see")
    command.add_argument("file", help="a view as an .accord file")
    command.add_argument("documents", nargs="+", help="trust documents as .accord files")
    command.add_argument("--federation", type=federation, required=True, help="64 hex digits")
    command.add_argument("--lists", required=True, help="folder of the code lists")
    command.add_argument("--member", required=True, help="the member that the view is for")
    command.add_argument("--now", help="time to verify at, such as 2026-11-24T11:55:03Z; otherwise now")
    command.set_defaults(run=view_file)
    command = commands.add_parser("decode", help="show one message as JSON")
    command.add_argument("name", choices=sorted([*STRUCTURES, *STRUCTURE_OF]))
    command.add_argument("file", help="a file with the hex of the message")
    command.set_defaults(run=decode_file)
    arguments = parser.parse_args()
    try:
        return arguments.run(arguments)
    except (Refused, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
