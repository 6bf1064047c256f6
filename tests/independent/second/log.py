"""Owns the audit log of `docs/audit.md`: entries (section 6), whose checkpoints count (7), proofs (8) and copies (9)."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from second.encoding import Code, Constant, Refused, Struct, decode, encode
from second.json_text import need_hex, need_keys, need_type, read_json
from second.keys import sign_input
from second.messages import DOCUMENT, HASH, MS, STRUCTURES, U64
from second.note import (
    COSIGNATURE, SIGNATURE, Checkpoint, NoteKey, read_base64, read_checkpoint, read_decimal, read_hash,
)
from second.tree import Tree, inclusion_fault
from second.trust import Trust

KINDS = {
    1: "padding", 2: "started", 3: "stopped", 4: "settings", 5: "clock", 10: "asked", 11: "heard", 12: "recalled",
    20: "answered", 21: "refused", 22: "held", 23: "withdrawn", 24: "expired", 25: "refusals", 26: "receipt", 28: "no-receipt",
    30: "verdict", 31: "standing", 40: "import", 41: "import-refused", 42: "undone", 43: "erased", 44: "coverage",
    45: "rates", 46: "compacted", 50: "edition", 51: "edition-withdrawn", 52: "proposal", 53: "proposal-rejected",
    54: "partner-withdrew", 60: "document", 61: "contradiction", 70: "retention", 71: "read", 72: "fork",
    73: "verified", 74: "backup", 75: "restored", 76: "unproven",
}
ENTRY = Struct(
    version=Constant(1, 1), kind=Code(2, KINDS), time=MS, seq=U64, actor_commit=HASH, subject=HASH, detail_commit=HASH,
    prev_size=U64,
)
ENTRY_SIZE = 123
SALT_SIZE = 32
ORIGIN = re.compile(r"[0-9a-f]{64}/([^/]+)/log1")
LOG, TRUST = "log.jsonl", "trust.accord"
BUNDLE_FILE = b"ACCORDB\n"
FORMAT, DESTROYED_FORMAT = "accord-audit-1", "accord-audit-2"
COPY_KEYS = ("format", "federation", "member", "size", "root", "checkpoint", "checkpoints")
ENTRY_KEYS = ("entry", "salt", "detail")
LEAF_KEYS = ("leaf",)
PROOF_FILE = "c2sp.org/tlog-proof@v1"
LONGEST_PATH = 63


class Log:
    """The log of one member, and whose signatures count under its checkpoints at a time."""

    def __init__(self, member, trust, now, where):
        self.member = member
        self.origin = f"{trust.federation.hex()}/{member}/log1"
        # The keys document in force, and one after the other those that it follows.
        lineage = trust.keys_back(member) or []
        self._present = self._note_keys(trust.left(member, "log_keys", now))
        self._earlier = self._note_keys(key for content in lineage for key in content["log_keys"])
        # Its own node has no need to say twice what it says.
        self._witnesses = {
            NoteKey(f"{trust.federation.hex()}/{name}/witness", COSIGNATURE, content["witness_key"]): name
            for name, content in trust.keys.items()
            if name != member and not trust.is_suspended(name, "own-key", content["witness_key"], now)
        }
        if not self._present:
            raise Refused(where, f"there is no log key of {member} that counts")

    def _note_keys(self, keys):
        return [NoteKey(self.origin, SIGNATURE, key) for key in keys]

    def checkpoint(self, text, where, is_old=False):
        """A checkpoint signed by a present key, an old one also by an earlier key; and the members that witness it."""
        checkpoint = read_checkpoint(text, where)
        return checkpoint, self.need_signed(checkpoint, where, is_old)

    def need_signed(self, checkpoint, where, is_old=False):
        """Refuses a checkpoint that a key of this log has not signed; else the members that witness it."""
        if checkpoint.origin != self.origin:
            raise Refused(where, f"a checkpoint of {checkpoint.origin}")
        if not checkpoint.note.signers(dict.fromkeys(self._earlier if is_old else self._present), where):
            raise Refused(where, f"not signed by a log key of {self.member}")
        return {self._witnesses[key] for key in checkpoint.note.cosigners(self._witnesses)}


def read_trust(raw, federation, where):
    """What the documents that a bundle holds come to, gathered: what does not hold is left out."""
    if not raw.startswith(BUNDLE_FILE):
        raise Refused(where, "no bundle of trust documents")
    structure, cap = STRUCTURES["bundle"]
    bundle = decode(structure, raw[len(BUNDLE_FILE) :], "bundle", cap, where)
    return Trust([encode(DOCUMENT, one) for one in bundle["held"]], federation, where, is_whole=False)


def subject_of(label, federation, payload):
    """What an entry names a signed thing by; of a root, what is signed names no federation."""
    return sha256(sign_input(label, federation, payload)).digest()


def read_entry(raw, seq, where):
    """An entry that stands at a place of the log."""
    entry = decode(ENTRY, raw, "entry", ENTRY_SIZE, where)
    if entry["seq"] != seq:
        raise Refused(where, f"entry {entry['seq']} in the place of {seq}")
    if entry["prev_size"] > seq:
        raise Refused(where, f"the entry says that {entry['prev_size']} were before it")
    return entry


def need_detail(entry, salt, text, where):
    """Refuses salt and text that are not what the entry commits to, as a whole and in who did it."""
    if sha256(salt + text).digest() != entry["detail_commit"]:
        raise Refused(where, "not the detail that the entry commits to")
    if sha256(salt + actor_of(text, where).encode()).digest() != entry["actor_commit"]:
        raise Refused(where, "the actor is not the one that the entry commits to")


def actor_of(text, where):
    """Who did it: the field `actor` of a JSON object, wherever it stands."""
    try:
        # Objects become tuples, so that a field that stands twice is seen. NaN and Infinity, which `int` refuses, are no JSON.
        detail = json.loads(text.decode("utf-8"), object_pairs_hook=tuple, parse_constant=int)
        found = [value for name, value in detail if name == "actor"] if isinstance(detail, tuple) else []
        if len(found) != 1:
            raise Refused(where, "no object with one field actor")
        actor = found[0]
        if not isinstance(actor, str):
            raise Refused(where, "the actor is no text")
        # What is no UTF-8 can still be written in JSON, by an escape.
        actor.encode()
    except (ValueError, RecursionError) as error:
        raise Refused(where, f"no JSON in UTF-8: {error}") from error
    return actor


def verify_copy(folder, federation, now, subject=None):
    """Verifies a folder of `audit export` completely; what it proves, or Refused. Entries about a subject are looked for."""
    folder = Path(folder)
    trust = read_trust((folder / TRUST).read_bytes(), federation, TRUST)
    with open(folder / LOG, "rb") as lines:
        return verify_log(lines, trust, now, subject)


def verify_log(lines, trust, now, subject=None):
    """Verifies the lines of a copy, each with its line feed."""
    lines = numbered(lines)
    where, raw = next(lines, (f"{LOG}, line 1", b""))
    header = read_json(raw, where)
    is_shortened = isinstance(header, dict) and header.get("format") == DESTROYED_FORMAT
    need_keys(header, (*COPY_KEYS, "destroyed") if is_shortened else COPY_KEYS, where)
    if not is_shortened and header["format"] != FORMAT:
        raise Refused(f"{where}, format", f"{header['format']!r} is unknown")
    if need_hex(header["federation"], f"{where}, federation", 32) != trust.federation:
        raise Refused(f"{where}, federation", "not the federation that was given")
    member, size = need_type(header["member"], str, f"{where}, member"), need_type(header["size"], int, f"{where}, size")
    destroyed = need_type(header["destroyed"], int, f"{where}, destroyed") if is_shortened else 0
    if is_shortened and not 0 < destroyed < size:
        raise Refused(f"{where}, destroyed", f"{destroyed} destroyed of {size} entries")
    log = Log(member, trust, now, f"{where}, member")
    notes = [(f"{where}, checkpoint", header["checkpoint"], False)]
    for index, text in enumerate(need_type(header["checkpoints"], list, f"{where}, checkpoints")):
        notes.append((f"{where}, checkpoints[{index}]", text, True))
    found = [(place, *log.checkpoint(need_type(text, str, place), place, is_old)) for place, text, is_old in notes]
    own = found[0][1]
    if (own.size, own.root) != (size, need_hex(header["root"], f"{where}, root", 32)):
        raise Refused(f"{where}, checkpoint", "size and root are not those of the copy")
    details, about, said = need_entries(lines, size, roots_of(found, size), subject, destroyed)
    seen = {}
    for _, checkpoint, names in found:
        for name in names:
            seen[name] = max(seen.get(name, 0), checkpoint.size)
    return {
        "verified": True,
        "member": member,
        "size": size,
        "destroyed": destroyed,
        # Whether the log itself says so, as far as that can be read.
        "says_destroyed": said >= destroyed,
        "root": own.root.hex(),
        "details": details,
        "checkpoints": sorted({checkpoint.size for _, checkpoint, _ in found}),
        "witnesses": [{"member": name, "size": size} for name, size in sorted(seen.items())],
    } | ({"about": about} if subject else {})


def numbered(lines):
    """Each line, without its line feed, and where it stands."""
    for number, line in enumerate(lines, start=1):
        where = f"{LOG}, line {number}"
        if not line.endswith(b"\n"):
            raise Refused(where, "ends without a line feed")
        yield where, line[:-1]


def roots_of(found, size):
    """By size the place and root of a checkpoint; those of one size agree."""
    roots = {}
    for place, checkpoint, _ in found:
        if checkpoint.size > size:
            raise Refused(place, f"a checkpoint of {checkpoint.size} entries, the copy has {size}")
        earlier, root = roots.setdefault(checkpoint.size, (place, checkpoint.root))
        if root != checkpoint.root:
            raise Refused(place, f"another root of {checkpoint.size} entries than at {earlier}")
    return roots


def need_entries(lines, size, roots, subject, destroyed):
    """How many entries have a detail, which are about a subject, and how many the log says are destroyed, when all are as they
    must be and lead to the roots."""
    tree, before, details, about, said = Tree(), 0, 0, [], 0
    need_root(tree, roots)
    for where, raw in lines:
        if tree.size == size:
            raise Refused(where, f"more than the {size} entries of the first line")
        line = read_json(raw, where)
        if tree.size < destroyed:
            tree.append_leaf(need_hex(need_keys(line, LEAF_KEYS, where)["leaf"], f"{where}, leaf", 32))
            need_root(tree, roots)
            continue
        bare = isinstance(line, dict) and "salt" not in line and "detail" not in line
        need_keys(line, ENTRY_KEYS[:1] if bare else ENTRY_KEYS, where)
        raw = need_hex(line["entry"], f"{where}, entry", ENTRY_SIZE)
        entry = read_entry(raw, tree.size, where)
        if entry["prev_size"] < before:
            raise Refused(where, f"the entry says that {entry['prev_size']} were before it, the one before {before}")
        before = entry["prev_size"]
        if entry["subject"] == subject:
            about.append(tree.size)
        if not bare:
            salt = need_hex(line["salt"], f"{where}, salt", SALT_SIZE)
            text = need_type(line["detail"], str, f"{where}, detail")
            # A lone surrogate, which an escape can write, becomes bytes to which no entry commits.
            need_detail(entry, salt, text.encode("utf-8", "surrogatepass"), f"{where}, detail")
            details += 1
            if entry["kind"] == "retention":
                said = max(said, destroyed_by(text))
        tree.append(raw)
        need_root(tree, roots)
    if tree.size != size:
        raise Refused(LOG, f"{tree.size} entries, the first line says {size}")
    return details, about, said


def destroyed_by(text):
    """How many entries an entry of retention says are destroyed, from the first on; 0 if it says nothing of that."""
    entries = json.loads(text).get("entries")
    up_to = entries.get("up_to") if isinstance(entries, dict) else 0
    return up_to if type(up_to) is int else 0


def need_root(tree, roots):
    place, root = roots.get(tree.size, (None, None))
    if place and root != tree.root():
        raise Refused(place, f"the first {tree.size} entries do not have the root of this checkpoint")


@dataclass
class Proof:
    """What the text of a proof says, before anything of it is believed."""

    index: int
    extra: bytes
    path: list
    checkpoint: Checkpoint


def read_proof(text, where=""):
    """Reads a proof; `where` stands before the line that does not read."""
    place = f"{where}, " if where else ""
    above, _, note = text.partition("\n\n")
    lines = above.split("\n")
    if lines[0] != PROOF_FILE:
        raise Refused(f"{place}line 1", f"not {PROOF_FILE}")
    extra = read_base64(value_of(lines, 2, "extra", place), f"{place}line 2")
    index = read_decimal(value_of(lines, 3, "index", place), f"{place}line 3")
    path = [read_hash(line, f"{place}line {number}") for number, line in enumerate(lines[3:], start=4)]
    if len(path) > LONGEST_PATH:
        raise Refused(f"{place}line {4 + LONGEST_PATH}", f"a path of {len(path)} hashes, at most {LONGEST_PATH} allowed")
    return Proof(index, extra, path, read_checkpoint(note, f"{place}checkpoint"))


def need_included(proof, where=""):
    """Refuses a proof whose path does not lead from its entry to the root."""
    checkpoint, place = proof.checkpoint, f"{where}, " if where else ""
    fault = inclusion_fault(proof.extra[:ENTRY_SIZE], proof.index, checkpoint.size, proof.path, checkpoint.root)
    if fault:
        raise Refused(f"{place}line 4" if proof.path else f"{place}checkpoint", fault)


def verify_proof(raw, trust, now):
    """Verifies a proof that an entry stands in a log; what it proves, or Refused."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"byte {error.start}", "no UTF-8") from error
    proof = read_proof(text)
    parts = ORIGIN.fullmatch(proof.checkpoint.origin)
    if not parts:
        raise Refused("checkpoint", "the origin is no log of a member")
    log = Log(parts[1], trust, now, "checkpoint")
    log.need_signed(proof.checkpoint, "checkpoint")
    entry = read_entry(proof.extra[:ENTRY_SIZE], proof.index, "line 2")
    need_included(proof)
    detail = proof.extra[ENTRY_SIZE:]
    if detail:
        need_detail(entry, detail[:SALT_SIZE], detail[SALT_SIZE:], "line 2")
    return {
        "verified": True,
        "member": log.member,
        "seq": proof.index,
        "kind": entry["kind"],
        "time_ms": entry["time"],
        "detail": bool(detail),
        "size": proof.checkpoint.size,
    }


def value_of(lines, number, word, place=""):
    """What stands behind the word that a line begins with."""
    line = lines[number - 1] if number <= len(lines) else ""
    if not line.startswith(f"{word} "):
        raise Refused(f"{place}line {number}", f"does not begin with {word!r}")
    return line.removeprefix(f"{word} ")
