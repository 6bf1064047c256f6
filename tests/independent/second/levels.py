"""Owns what a partner's log adds to its signed reply: `docs/audit.md`, section 10."""

from dataclasses import dataclass

from second.documents import DAY_MS
from second.encoding import Refused
from second.log import ENTRY_SIZE, need_included, read_entry, read_proof, subject_of
from second.note import COSIGNATURE, SIGNATURE, NoteKey

LEVELS = ("signed", "logged", "witnessed")
ENOUGH = 2
ENTRY_WITHIN_MS = 600_000
CLOCKS_MS = 120_000
OVERDUE_MS = DAY_MS


@dataclass
class Logged:
    """How a reply stands in its partner's log; `needed` is 0 where nobody else is a witness."""

    entry: int
    size: int
    at: int
    witnesses: list
    needed: int

    @property
    def level(self):
        return "witnessed" if 0 < self.needed <= len(self.witnesses) else "logged"

    def shown(self):
        return {
            "level": self.level, "entry": self.entry, "size": self.size, "at": self.at, "witnesses": self.witnesses,
            "needed": self.needed,
        }


def logged(text, member, label, head, kind, at, trust, now, where):
    """How a reply of a member stands in its log, by a proof, or Refused; `head` is what is signed, made at a time."""
    proof = read_proof(text, where)
    origin = f"{trust.federation.hex()}/{member}/log1"
    checkpoint = proof.checkpoint
    if checkpoint.origin != origin:
        raise Refused(where, f"a checkpoint of {checkpoint.origin}")
    # Any key that the log ever had: years may lie between.
    ever = [NoteKey(origin, SIGNATURE, key) for one in trust.keys_back(member) for key in one["log_keys"]]
    if not checkpoint.note.signers(dict.fromkeys(ever), where):
        raise Refused(where, f"not signed by a log key of {member}")
    if len(proof.extra) != ENTRY_SIZE:
        raise Refused(where, "not the entry alone")
    entry = read_entry(proof.extra, proof.index, where)
    need_included(proof, where)
    if entry["subject"] != subject_of(label, trust.federation, head):
        raise Refused(where, "the entry is about something else")
    if entry["kind"] != kind:
        raise Refused(where, f"the entry says {entry['kind']}, the reply is {kind}")
    if abs(entry["time"] - at) > ENTRY_WITHIN_MS:
        raise Refused(where, "the entry is more than 10 minutes from the reply")
    able = possible_witnesses(trust, member, entry["time"])
    seen = [name for name in able if has_cosigned(name, checkpoint.note, trust, entry["time"], now)]
    return Logged(proof.index, checkpoint.size, entry["time"], seen, min(ENOUGH, len(able)))


def possible_witnesses(trust, member, at):
    """Active members with the part of a witness when an entry was made, without the log's own; by name."""
    return sorted(
        name
        for name, one in trust.members.items()
        if name != member
        and one["state"] == "active"
        and "witness" in one["roles"]
        and one["valid_from"] <= at < one["valid_to"]
    )


def has_cosigned(name, note, trust, since, now):
    key = trust.keys[name]["witness_key"] if name in trust.keys else None
    if not key or trust.is_suspended(name, "own-key", key, now):
        return False
    known = NoteKey(f"{trust.federation.hex()}/{name}/witness", COSIGNATURE, key)
    return any(since - CLOCKS_MS <= 1000 * seconds <= now + CLOCKS_MS for seconds in note.cosigned_at(known))


def need_level(exchanges, wanted, where):
    """Refuses a verified file of which some reply is not proved at a level."""
    replies = [(index, one) for index, one in enumerate(exchanges) if one.head]
    if not replies and wanted != LEVELS[0]:
        raise Refused(where, "there is no reply")
    for index, one in replies:
        level = one.log.level if one.log else LEVELS[0]
        if LEVELS.index(level) < LEVELS.index(wanted):
            raise Refused(f"{where}[{index}].reply", f"of {one.body['audience']} is {level}, not {wanted}")


def is_overdue(provable_after, log, now):
    """Whether a proof that was promised should have been there for a day."""
    return log is None and provable_after != 0 and provable_after + OVERDUE_MS < now
