"""Owns signed notes, checkpoints and cosignatures of C2SP: `docs/audit.md`, section 7."""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from second.encoding import KIB, Refused
from second.keys import verifies

LARGEST_NOTE = 64 * KIB
MOST_SIGNATURES = 80
DASH = "\N{EM DASH} "
DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
# Types of signatures: of a note, and with the time at which a witness has seen it.
SIGNATURE, COSIGNATURE = 1, 4


@dataclass(frozen=True)
class NoteKey:
    """A key that is known, under its name and for its type of signatures."""

    name: str
    kind: int
    key: bytes

    @property
    def id(self):
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:4]

    def has_signed(self, text, signature):
        if self.kind == COSIGNATURE:
            seconds, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            if seconds >= 2**63:
                return False
            text = f"cosignature/v1\ntime {seconds}\n{text}"
        return verifies(self.key, signature, text.encode())


@dataclass
class Note:
    """A text, and what stands under it as (name, key id, signature)."""

    text: str
    signatures: list

    def signers(self, known, where):
        """Those of the known keys that have signed. Others are not looked at; one of these must verify where it signs."""
        found = []
        for name, key_id, signature in self.signatures:
            meant = [key for key in known if (key.name, key.id) == (name, key_id)]
            signed = [key for key in meant if key.has_signed(self.text, signature)]
            if meant and not signed:
                raise Refused(where, f"the signature {key_id.hex()} of {name} does not verify")
            found += signed
        return found

    def cosigned_at(self, key):
        """The seconds at which a witness has seen it, one for each of its lines that verifies."""
        return [
            int.from_bytes(signature[:8], "big")
            for name, key_id, signature in self.signatures
            if (key.name, key.id) == (name, key_id) and key.has_signed(self.text, signature)
        ]

    def cosigners(self, known):
        """Those of the known witnesses of whom some line verifies; a line that does not is no cosignature."""
        return [key for key in known if self.cosigned_at(key)]


@dataclass
class Checkpoint:
    origin: str
    size: int
    root: bytes
    note: Note


def read_base64(text, where):
    """The bytes of base64 with its padding and in its one spelling."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(where, f"no base64: {error}") from error
    if b64encode(raw).decode() != text:
        raise Refused(where, "another spelling of base64")
    return raw


def read_hash(text, where):
    raw = read_base64(text, where)
    if len(raw) != 32:
        raise Refused(where, f"{len(raw)} bytes, a hash has 32")
    return raw


def read_decimal(text, where):
    """A number of 64 bits without leading zeros."""
    if not DECIMAL.fullmatch(text) or int(text) >= 2**64:
        raise Refused(where, f"{text!r} is no number")
    return int(text)


def read_note(text, where):
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise Refused(where, f"no UTF-8: {error.reason}") from error
    if size > LARGEST_NOTE:
        raise Refused(where, f"{size} bytes, at most {LARGEST_NOTE} allowed")
    if any(sign < " " and sign != "\n" for sign in text):
        raise Refused(where, "a control character")
    body, blank, below = text.rpartition("\n\n")
    if not blank or not below.endswith("\n"):
        raise Refused(where, "no text, blank line and signatures, each line ended by a line feed")
    lines = below[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise Refused(where, f"{len(lines)} signatures, at most {MOST_SIGNATURES} allowed")
    return Note(body + "\n", [read_signature(line, where) for line in lines])


def read_signature(line, where):
    name, _, signature = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not name or "+" in name or any(sign.isspace() for sign in name):
        raise Refused(where, f"{line!r} is no line of a signature")
    raw = read_base64(signature, where)
    if len(raw) <= 4:
        raise Refused(where, f"{line!r} has no signature behind the key id")
    return name, raw[:4], raw[4:]


def read_checkpoint(text, where):
    note = read_note(text, where)
    lines = note.text[:-1].split("\n")
    if len(lines) != 3:
        raise Refused(where, f"{len(lines)} lines instead of origin, size and root")
    origin, size, root = lines
    return Checkpoint(origin, read_decimal(size, f"{where}, size"), read_hash(root, f"{where}, root"), note)
