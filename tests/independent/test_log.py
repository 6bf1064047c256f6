"""Owns the tests of the audit log: the tree of RFC 9162, signed notes, and a log with known keys, altered in every way."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

from second import example
from second.compare import verdict_of_tool
from second.encoding import KIB, Refused, decode, encode
from second.log import BUNDLE_FILE, ENTRY, KINDS, read_trust, subject_of, verify_copy, verify_log, verify_proof
from second.messages import BUNDLE, DOCUMENT, STRUCTURES
from second.note import COSIGNATURE, SIGNATURE, NoteKey, read_checkpoint, read_note
from second.testing import Case, alterations, catalogue_text, lists
from second.tree import EMPTY_ROOT, Tree, consistency_fault, inclusion_fault, leaf_hash, node_hash
from second.trust import Trust

# The entries of the reference tree that implementations of RFC 9162 share, and the roots over the first 0 to 8 of them.
REFERENCE_ENTRIES = [
    bytes.fromhex(one)
    for one in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
    )
]
REFERENCE_ROOTS = [
    bytes.fromhex(one)
    for one in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
# The example of c2sp.org/signed-note: a key, and a note that it has signed.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
EXAMPLE_NOTE = f"This is an example message.\n\n— example.com/foo {EXAMPLE_SIGNATURE}\n"
# That of c2sp.org/tlog-cosignature, whose keys are not given.
EXAMPLE_COSIGNED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
SEEN = 1_767_312_000
LARGEST_TREE = 17


def split(size):
    """RFC 9162, 2.1.1: the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def root_of(entries):
    """The definition of RFC 9162, 2.1.1."""
    if len(entries) < 2:
        return leaf_hash(entries[0]) if entries else EMPTY_ROOT
    left = split(len(entries))
    return node_hash(root_of(entries[:left]), root_of(entries[left:]))


def path_of(index, entries):
    """The definition of RFC 9162, 2.1.3.1."""
    if len(entries) == 1:
        return []
    left = split(len(entries))
    if index < left:
        return path_of(index, entries[:left]) + [root_of(entries[left:])]
    return path_of(index - left, entries[left:]) + [root_of(entries[:left])]


def path_between(size, entries, is_known=True):
    """The definition of RFC 9162, 2.1.4.1; `is_known` says whether the verifier has the root over these entries."""
    if size == len(entries):
        return [] if is_known else [root_of(entries)]
    left = split(len(entries))
    if size <= left:
        return path_between(size, entries[:left], is_known) + [root_of(entries[left:])]
    return path_between(size - left, entries[left:], False) + [root_of(entries[:left])]


def flipped(data, bit=0):
    return bytes([data[0] ^ 1 << bit]) + data[1:]


def altered_paths(path):
    """Each hash altered, left out or doubled, two of them swapped, and one more at either end."""
    for at, one in enumerate(path):
        for bit in range(8):
            yield path[:at] + [flipped(one, bit)] + path[at + 1 :]
        yield path[:at] + path[at + 1 :]
        yield path[:at] + [one] + path[at:]
        if at:
            yield path[: at - 1] + [one, path[at - 1]] + path[at + 1 :]
    yield [EMPTY_ROOT, *path]
    yield [*path, EMPTY_ROOT]


class TreeTests(Case):
    def test_reference_roots(self):
        tree = Tree()
        for size, root in enumerate(REFERENCE_ROOTS):
            self.assertEqual(root_of(REFERENCE_ENTRIES[:size]), root)
            self.assertEqual((tree.size, tree.root()), (size, root))
            if size < len(REFERENCE_ENTRIES):
                tree.append(REFERENCE_ENTRIES[size])

    def test_grows_as_it_is_defined(self):
        tree, entries = Tree(), []
        for number in range(150):
            entries.append(number.to_bytes(2, "big"))
            tree.append(entries[-1])
            self.assertEqual(tree.root(), root_of(entries))

    def test_every_inclusion(self):
        entries = REFERENCE_ENTRIES + [bytes([number]) for number in range(0x80, 0x80 + LARGEST_TREE - 8)]
        for size in range(1, LARGEST_TREE + 1):
            root = root_of(entries[:size])
            for index in range(size):
                path, entry = path_of(index, entries[:size]), entries[index]
                self.assertIsNone(inclusion_fault(entry, index, size, path, root))
                for altered in altered_paths(path):
                    self.assertIsNotNone(inclusion_fault(entry, index, size, altered, root))
                self.assertIsNotNone(inclusion_fault(entry, index, size, path, flipped(root)))
                self.assertIsNotNone(inclusion_fault(entry + b"\0", index, size, path, root))
                for other in {*range(size + 2)} - {index}:
                    self.assertIsNotNone(inclusion_fault(entry, other, size, path, root))

    def test_inner_nodes_are_no_entries(self):
        left, right = map(leaf_hash, REFERENCE_ENTRIES[:2])
        self.assertIsNotNone(inclusion_fault(left + right, 0, 1, [], REFERENCE_ROOTS[2]))

    def test_every_consistency(self):
        entries = REFERENCE_ENTRIES + [bytes([number]) for number in range(0x80, 0x80 + LARGEST_TREE - 8)]
        roots = [root_of(entries[:size]) for size in range(LARGEST_TREE + 1)]
        for new in range(LARGEST_TREE + 1):
            for old in range(new + 1):
                path = path_between(old, entries[:new]) if old else []
                self.assertIsNone(consistency_fault(old, new, roots[old], roots[new], path))
                for altered in altered_paths(path):
                    self.assertIsNotNone(consistency_fault(old, new, roots[old], roots[new], altered))
                self.assertIsNotNone(consistency_fault(old, new, flipped(roots[old]), roots[new], path))
                if old:
                    self.assertIsNotNone(consistency_fault(old, new, roots[old], flipped(roots[new]), path))
                if path:
                    self.assertIn("too short", consistency_fault(old, new, roots[old], roots[new], path[:-1]))
                if old < new:
                    self.assertIsNotNone(consistency_fault(old, new, roots[new], roots[old], path))
                    self.assertIn("does not begin", consistency_fault(new, old, roots[new], roots[old], path))

    def test_another_past(self):
        """A tree whose first entries were others has no way from the old root, whatever path is handed in with it."""
        entries = REFERENCE_ENTRIES
        for old in range(1, 8):
            for changed in range(old):
                other = entries[:changed] + [b"other"] + entries[changed + 1 :]
                for path in (path_between(old, other), path_between(old, entries)):
                    fault = consistency_fault(old, 8, root_of(entries[:old]), root_of(other), path)
                    self.assertIsNotNone(fault)


class NoteTests(Case):
    def key(self):
        name, key_id, rest = EXAMPLE_KEY.split("+", 2)
        kind, *key = b64decode(rest)
        known = NoteKey(name, kind, bytes(key))
        self.assertEqual((kind, known.id.hex()), (SIGNATURE, key_id))
        return known

    def test_example(self):
        note = read_note(EXAMPLE_NOTE, "note")
        self.assertEqual(note.text, "This is an example message.\n")
        self.assertEqual(note.signers([self.key()], "note"), [self.key()])

    def test_every_bit_of_the_example(self):
        raw = EXAMPLE_NOTE.encode()
        for altered in alterations(raw):
            try:
                signers = read_note(altered.decode(), "note").signers([self.key()], "note")
            except (Refused, UnicodeDecodeError):
                continue
            # Another name, or another key id, is somebody else's signature.
            self.assertEqual(signers, [], altered)

    def test_signatures_that_are_not_looked_at(self):
        known = self.key()
        for other in (
            NoteKey("example.com/bar", SIGNATURE, known.key),
            NoteKey(known.name, COSIGNATURE, known.key),
            NoteKey(known.name, SIGNATURE, example.Signer("other").key),
        ):
            self.assertEqual(read_note(EXAMPLE_NOTE, "note").signers([other], "note"), [])

    def test_one_that_is_known_must_verify(self):
        known = self.key()
        for size in (1, 63, 65, 72):
            line = f"— {known.name} {b64encode(known.id + bytes(size)).decode()}\n"
            self.refused(lambda: read_note(EXAMPLE_NOTE + line, "note").signers([known], "note"), "does not verify")

    def test_cosigned_example(self):
        checkpoint = read_checkpoint(EXAMPLE_COSIGNED, "note")
        self.assertEqual((checkpoint.origin, checkpoint.size), ("example.com/behind-the-sofa", 20852163))
        names = [(name, len(signature)) for name, _, signature in checkpoint.note.signatures]
        self.assertEqual(names, [("example.com/behind-the-sofa", 64), ("witness.example.com/w1", 72)])
        self.assertEqual(int.from_bytes(checkpoint.note.signatures[1][2][:8], "big"), 1679315147)

    def test_cosignature(self):
        text, witness = "origin\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", example.Signer("witness")
        known = NoteKey("witness.example", COSIGNATURE, witness.key)
        for seconds, signed, is_good in (
            (SEEN, SEEN, True), (0, 0, True), (2**63 - 1, 2**63 - 1, True), (2**63, 2**63, False), (SEEN, SEEN + 1, False),
        ):
            signature = witness.sign_bytes(f"cosignature/v1\ntime {signed}\n{text}".encode())
            note = text + "\n" + signature_line(known, seconds.to_bytes(8, "big") + signature)
            if is_good:
                self.assertEqual(read_note(note, "note").signers([known], "note"), [known])
            else:
                self.refused(lambda: read_note(note, "note").signers([known], "note"), "does not verify")
        # Neither stands for the other.
        plain = signature_line(known, bytes(8) + witness.sign_bytes(text.encode()))
        self.refused(lambda: read_note(f"{text}\n{plain}", "note").signers([known], "note"), "does not verify")

    def test_shapes(self):
        line = EXAMPLE_NOTE.rpartition("\n\n")[2]
        for note, what in (
            ("", "blank line"),
            ("text\n", "blank line"),
            ("text\n\n", "blank line"),
            (f"text\n{line}", "blank line"),
            (f"text\n\n{line[:-1]}", "line feed"),
            (f"text\n\n{line}\n", "blank line"),
            (f"text\n\n{line}text\n", "no line of a signature"),
            (f"text\n\n{line.replace('— ', '- ')}", "no line of a signature"),
            (f"text\n\n{line.replace('— ', '—')}", "no line of a signature"),
            (f"text\n\n— {EXAMPLE_SIGNATURE.replace('+', 'A')}\n", "no signature behind"),
            (f"text\n\n—  {EXAMPLE_SIGNATURE}\n", "no line of a signature"),
            (f"text\n\n— a+b {EXAMPLE_SIGNATURE}\n", "no line of a signature"),
            (f"text\n\n— a\u00a0b {EXAMPLE_SIGNATURE}\n", "no line of a signature"),
            (f"text\n\n— a b {EXAMPLE_SIGNATURE}\n", "no base64"),
            (f"text\n\n— a  {EXAMPLE_SIGNATURE}\n", "no base64"),
            (f"text\n\n— a {EXAMPLE_SIGNATURE[:-1]}\n", "no base64"),
            (f"text\n\n— a {EXAMPLE_SIGNATURE.replace('2', '-', 1)}\n", "no base64"),
            (f"text\n\n— a {EXAMPLE_SIGNATURE[:-2]}N=\n", "another spelling"),
            ("text\n\n— a Uw2QOg==\n", "no signature behind"),
            ("text\n\n— a \n", "no signature behind"),
            (f"te\txt\n\n{line}", "control character"),
            (f"te\r\nxt\n\n{line}", "control character"),
            (f"te\ud800xt\n\n{line}", "no UTF-8"),
        ):
            self.refused(lambda: read_note(note, "note"), what)
        for note in (f"text\n\n\n{line}", f"\n\n{line}", f"— a\n\nb\n\n{line}{line}"):
            self.assertEqual(read_note(note, "note").text, note.rpartition("\n\n")[0] + "\n")

    def test_largest(self):
        line = "— a AAAAAAA=\n"
        self.assertEqual(len(read_note("text\n\n" + 80 * line, "note").signatures), 80)
        self.refused(lambda: read_note("text\n\n" + 81 * line, "note"), "81 signatures")
        rest = 64 * KIB - len(f"\n\n{line}".encode())
        read_note("t" * rest + f"\n\n{line}", "note")
        self.refused(lambda: read_note("t" * (rest + 1) + f"\n\n{line}", "note"), "65537 bytes")

    def test_checkpoints(self):
        line = EXAMPLE_NOTE.rpartition("\n\n")[2]
        root = b64encode(EMPTY_ROOT).decode()
        self.assertEqual(read_checkpoint(f"log\n{2**64 - 1}\n{root}\n\n{line}", "note").size, 2**64 - 1)
        for text, what in (
            (f"log\n0\n{root}\nmore\n", "4 lines"),
            (f"log\n0\n{root}\n\n", "4 lines"),
            ("log\n0\n", "2 lines"),
            (f"log\n00\n{root}\n", "no number"),
            (f"log\n+1\n{root}\n", "no number"),
            (f"log\n1 \n{root}\n", "no number"),
            (f"log\n\u0661\n{root}\n", "no number"),
            (f"log\n\n{root}\n", "no number"),
            (f"log\n{2**64}\n{root}\n", "no number"),
            (f"log\n0\n{root[:-1]}\n", "no base64"),
            (f"log\n0\n{root[:-2]}V=\n", "another spelling"),
            (f"log\n0\n{b64encode(bytes(31)).decode()}\n", "31 bytes"),
            ("log\n0\n \n", "no base64"),
        ):
            self.refused(lambda: read_checkpoint(f"{text}\n{line}", "note"), what)


def signature_line(known, signature):
    return f"— {known.name} {b64encode(known.id + signature).decode()}\n"


def bundle_of(documents, **lists_of):
    bundle = {"proposed": [], "held": [decode(DOCUMENT, one, "document", 2**20) for one in documents], "cards": [], "note": b""}
    return BUNDLE_FILE + encode(BUNDLE, bundle | lists_of)


def exported(documents):
    """Those that `audit export` puts into a copy: no lists of officers or staff, and no policy."""
    labels = ("root", "roster", "catalogue", "member-keys", "suspend")
    return [one for one in documents if decode(DOCUMENT, one, "document", 2**20)["label"] in labels]


def trust_of(fed):
    return read_trust(bundle_of(exported(fed.documents)), fed.federation, "trust.accord")


class Copied:
    """A copy of a log whose keys are known. Tests change `lines` and `header`, and sign anew what they like."""

    member = "IT-TEST"

    def __init__(self, federation, size=7, kept=()):
        self.federation = federation
        self.signer = example.Signer(f"{self.member} log")
        self.lines = [self.line(seq) for seq in range(size)]
        self.header = {}
        self.close(kept)

    def line(self, seq, kind="started", actor="node", **changes):
        """A line with its detail; entries became durable two by two."""
        salt = sha256(f"salt {seq}".encode()).digest()
        detail = json.dumps({"actor": actor, "número": seq}, ensure_ascii=False)
        entry = {
            "version": 1, "kind": kind, "time": example.ASKED + seq, "seq": seq,
            "actor_commit": sha256(salt + actor.encode()).digest(), "subject": bytes(32),
            "detail_commit": sha256(salt + detail.encode()).digest(), "prev_size": seq - seq % 2,
        }
        return {"entry": encode(ENTRY, entry | changes).hex(), "salt": salt.hex(), "detail": detail}

    def entries(self):
        return [bytes.fromhex(line["entry"]) for line in self.lines]

    def change(self, at, **changes):
        """Replaces fields of an entry."""
        raw = bytes.fromhex(self.lines[at]["entry"])
        self.lines[at]["entry"] = encode(ENTRY, decode(ENTRY, raw, "entry", 123) | {"version": 1} | changes).hex()

    def origin(self):
        return f"{self.federation.hex()}/{self.member}/log1"

    def note(self, size, signer=None, origin=None, name=None, root=None, witnesses=()):
        """A checkpoint of the first entries; `witnesses` are pairs of name and key that cosign it."""
        root = root or root_of(self.entries()[:size])
        text = f"{origin or self.origin()}\n{size}\n{b64encode(root).decode()}\n"
        signer = signer or self.signer
        note = f"{text}\n" + signature_line(
            NoteKey(name or origin or self.origin(), SIGNATURE, signer.key), signer.sign_bytes(text.encode())
        )
        for name, witness in witnesses:
            signature = witness.sign_bytes(f"cosignature/v1\ntime {SEEN}\n{text}".encode())
            known = NoteKey(f"{self.federation.hex()}/{name}/witness", COSIGNATURE, witness.key)
            note += signature_line(known, SEEN.to_bytes(8, "big") + signature)
        return note

    def close(self, kept=(), **how):
        """The header for the lines as they are, with checkpoints of some sizes."""
        size = len(self.lines)
        self.header = {
            "format": "accord-audit-1", "federation": self.federation.hex(), "member": self.member, "size": size,
            "root": root_of(self.entries()).hex(), "checkpoint": self.note(size, **how),
            "checkpoints": [self.note(one, **how) for one in kept],
        }

    def destroy(self, count):
        """Leaves of the first entries their hashes."""
        hashes = [leaf_hash(one).hex() for one in self.entries()[:count]]
        self.lines[:count] = [{"leaf": one} for one in hashes]
        self.header |= {"format": "accord-audit-2", "destroyed": count}

    def retention(self, seq, entries):
        """A line that says what retention has destroyed."""
        salt, detail = sha256(b"salt").digest(), json.dumps({"actor": "node", "months": [], "entries": entries})
        commit = sha256(salt + detail.encode()).digest()
        actor = sha256(salt + b"node").digest()
        line = self.line(seq, "retention", detail_commit=commit, actor_commit=actor)
        return line | {"salt": salt.hex(), "detail": detail}

    def rows(self):
        return [(json.dumps(one, ensure_ascii=False) + "\n").encode() for one in (self.header, *self.lines)]

    def proof(self, index, size, detail=True, extra=None, path=None, **how):
        line, entries = self.lines[index], self.entries()[:size]
        shown = bytes.fromhex(line["entry"])
        if detail:
            shown += bytes.fromhex(line["salt"]) + line["detail"].encode()
        path = path_of(index, entries) if path is None else path
        hashes = "".join(f"{b64encode(one).decode()}\n" for one in path)
        extra = b64encode(shown if extra is None else extra).decode()
        return f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex {index}\n{hashes}\n{self.note(size, **how)}"


class LogCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.fed = example.Federation(lists(), [catalogue_text()])
        cls.trust = trust_of(cls.fed)
        cls.now = int(time.time() * 1000)

    def copied(self, size=7, kept=(), fed=None):
        return Copied((fed or self.fed).federation, size, kept)

    def verify(self, copied, fed=None):
        """What is said of a copy, as `verdict` finds it."""
        return self.verdict(copied.rows(), fed)

    def verdict(self, rows, fed=None):
        """What is said of a copy, having made sure that the tool says the same where ACCORD_TOOL names it."""
        trust = trust_of(fed) if fed else self.trust
        fault = None
        try:
            result = verify_log(rows, trust, self.now)
        except Refused as refused:
            fault = refused
        if "ACCORD_TOOL" in os.environ:
            with tempfile.TemporaryDirectory() as folder:
                fill(folder, rows, (fed or self.fed).documents)
                tool = os.environ["ACCORD_TOOL"]
                told, why = verdict_of_tool(tool, folder, trust.federation, command="audit")
            self.assertEqual(fault is None, told, f"here: {fault}; the tool: {why}")
        if fault:
            raise fault
        return result


def fill(folder, rows, documents):
    (Path(folder) / "log.jsonl").write_bytes(b"".join(rows))
    (Path(folder) / "trust.accord").write_bytes(bundle_of(exported(documents)))


class CopyTests(LogCase):
    def test_verifies(self):
        for size in (0, 1, 2, 7, 64, 130):
            kept = [one for one in (0, 1, 2, 64, 128) if one <= size]
            copied = self.copied(size, kept)
            self.assertEqual(
                self.verify(copied),
                {
                    "verified": True, "member": "IT-TEST", "size": size, "destroyed": 0, "says_destroyed": True,
                    "root": root_of(copied.entries()).hex(), "details": size, "checkpoints": sorted({*kept, size}), "witnesses": [],
                },
            )

    def test_entries_without_detail(self):
        copied = self.copied(7, [4])
        for seq in (0, 3, 6):
            copied.lines[seq] = {"entry": copied.lines[seq]["entry"]}
        self.assertEqual(self.verify(copied)["details"], 4)

    def test_destroyed(self):
        """The first entries by their hashes alone: the root and every checkpoint are held to those as to the entries."""
        for size in (2, 7, 64, 130):
            kept = [one for one in (0, 1, 2, 64, 128) if one <= size]
            whole = self.verify(self.copied(size, kept))
            for count in {1, 2, 3, 63, 64, 65, 128, size - 1} & {*range(1, size)}:
                copied = self.copied(size, kept)
                copied.destroy(count)
                told = {"destroyed": count, "details": size - count, "says_destroyed": False}
                self.assertEqual(self.verify(copied), whole | told)

    def test_destroyed_and_altered(self):
        good = self.copied(9, [3, 6])
        good.destroy(5)
        rows = good.rows()
        for at in range(5):
            leaf = bytes.fromhex(good.lines[at]["leaf"])
            for altered in alterations(leaf):
                line = json.dumps({"leaf": altered.hex()}).encode() + b"\n"
                with self.assertRaises(Refused, msg=altered.hex()):
                    verify_log([*rows[: at + 1], line, *rows[at + 2 :]], self.trust, self.now)
            for line, what in (
                ({"leaf": leaf.hex().upper()}, "not lower-case hex"),
                ({"leaf": leaf.hex() + "00"}, "33 bytes"),
                ({"leaf": None}, "str wanted"),
                ({"leaf": sha256(b"").hexdigest()}, "do not have the root"),
                ({"leaf": leaf.hex(), "entry": "00"}, "unknown key"),
                ({}, "is missing"),
                (self.copied(9).lines[at], "is missing"),
            ):
                row = json.dumps(line).encode() + b"\n"
                self.refused(lambda: self.verdict([*rows[: at + 1], row, *rows[at + 2 :]]), what)
        # Of an entry that is not among the first, the hash is no line.
        for at in range(5, 9):
            copied = self.copied(9, [3, 6])
            hashes = [leaf_hash(one).hex() for one in copied.entries()]
            copied.destroy(5)
            copied.lines[at] = {"leaf": hashes[at]}
            self.refused(lambda: self.verify(copied), "is missing", f"line {at + 2}")
        copied = self.copied(9)
        copied.lines[3] = {"leaf": leaf_hash(copied.entries()[3]).hex()}
        self.refused(lambda: self.verify(copied), "is missing", "line 5")

    def test_how_many_are_destroyed(self):
        for count, what in (
            (0, "destroyed of 9"), (9, "destroyed of 9"), (10, "destroyed of 9"), (-1, "destroyed of 9"), (4, "is missing"),
            (6, "is missing"), (True, "int wanted"), ("5", "int wanted"), (None, "int wanted"), (5.0, "no whole number"),
        ):
            copied = self.copied(9)
            copied.destroy(5)
            copied.header["destroyed"] = count
            self.refused(lambda: self.verify(copied), what)
        copied = self.copied(9)
        copied.destroy(5)
        copied.header["format"] = "accord-audit-1"
        self.refused(lambda: self.verify(copied), "unknown key", "line 1")
        del copied.header["destroyed"]
        self.refused(lambda: self.verify(copied), "is missing", "line 2")

    def test_what_the_log_says_is_destroyed(self):
        for entries, said in (
            ([{"from": 0, "up_to": 5}], True),
            ([{"from": 0, "up_to": 6}], True),
            ([{"from": 0, "up_to": 5}, {"from": 5, "up_to": 2}], True),
            ([{"from": 0, "up_to": 4}], False),
            ([{"from": 0, "up_to": "5"}], False),
            ([{"from": 0}], False),
            ([5], False),
            ([None], False),
        ):
            copied = self.copied(9)
            for seq, one in enumerate(entries, start=7):
                copied.lines[seq] = copied.retention(seq, one)
            copied.close()
            copied.destroy(5)
            self.assertEqual(self.verify(copied)["says_destroyed"], said, entries)
            # Without its detail it says nothing, and that harms nothing.
            for seq in range(7, 9):
                copied.lines[seq] = {"entry": copied.lines[seq]["entry"]}
            self.assertFalse(self.verify(copied)["says_destroyed"])

    def test_every_kind(self):
        copied = self.copied(0)
        copied.lines = [copied.line(seq, kind) for seq, kind in enumerate(KINDS.values())]
        copied.close()
        self.assertEqual(self.verify(copied)["size"], len(KINDS))
        raw = copied.entries()[0]
        for number in range(256):
            changed = raw[:1] + number.to_bytes(2, "big") + raw[3:]
            if number not in KINDS:
                self.refused(lambda: decode(ENTRY, changed, "entry", 123), f"unknown code {number}")

    def test_every_bit_of_an_entry(self):
        copied = self.copied()
        good = copied.lines[3]
        for line in (good, {"entry": good["entry"]}):
            for altered in alterations(bytes.fromhex(line["entry"])):
                copied.lines[3] = line | {"entry": altered.hex()}
                with self.assertRaises(Refused, msg=altered.hex()):
                    verify_log(copied.rows(), self.trust, self.now)

    def test_every_bit_of_a_detail(self):
        copied = self.copied()
        good = copied.lines[3]
        for altered in alterations(bytes.fromhex(good["salt"])):
            copied.lines[3] = good | {"salt": altered.hex()}
            self.refused(lambda: verify_log(copied.rows(), self.trust, self.now), "", "line 5, ")
        for altered in alterations(good["detail"].encode()):
            copied.lines[3] = good | {"detail": altered.decode("utf-8", "surrogateescape")}
            rows = [(json.dumps(one) + "\n").encode() for one in (copied.header, *copied.lines)]
            what = "not the detail that the entry commits to"
            self.refused(lambda: verify_log(rows, self.trust, self.now), what, "line 5, detail")

    def test_every_byte_of_a_file(self):
        raw = b"".join(self.copied(3, [2]).rows())
        for at in range(len(raw)):
            altered = bytearray(raw)
            altered[at] ^= 1 << at % 8
            with self.assertRaises(Refused, msg=f"byte {at}"):
                verify_log(bytes(altered).splitlines(keepends=True), self.trust, self.now)

    def test_left_out(self):
        copied = self.copied(7, [4])
        last = copied.lines.pop()
        self.refused(lambda: self.verify(copied), "6 entries, the first line says 7")
        # Signed anew, it no longer has what another checkpoint is of.
        copied.close()
        self.verify(copied)
        copied.lines.append(last)
        copied.header["checkpoints"] = [copied.note(7)]
        copied.lines.pop()
        self.refused(lambda: self.verify(copied), "the copy has 6", "line 1, checkpoints[0]")
        for seq in (0, 3, 5):
            copied = self.copied()
            del copied.lines[seq]
            self.refused(lambda: self.verify(copied), f"in the place of {seq}", f"line {seq + 2}")

    def test_swapped(self):
        copied = self.copied()
        copied.lines[2], copied.lines[4] = copied.lines[4], copied.lines[2]
        self.refused(lambda: self.verify(copied), "entry 4 in the place of 2", "line 4")
        for seq in (2, 4):
            copied.change(seq, seq=seq, prev_size=seq)
        self.refused(lambda: self.verify(copied), "do not have the root", "line 1, checkpoint")

    def test_inserted(self):
        copied = self.copied(7, [2, 4])
        kept = copied.header["checkpoints"]
        copied.lines.insert(3, copied.line(3, "stopped"))
        self.refused(lambda: self.verify(copied), "do not have the root", "line 1, checkpoints[1]")
        copied.header["checkpoints"] = []
        self.refused(lambda: self.verify(copied), "entry 3 in the place of 4", "line 6")
        for seq in range(4, 8):
            copied.change(seq, seq=seq)
        self.refused(lambda: self.verify(copied), "do not have the root", "line 1, checkpoint")
        copied.close()
        copied.header["checkpoints"] = kept
        self.refused(lambda: self.verify(copied), "the first 4 entries do not have the root", "line 1, checkpoints[1]")
        copied = self.copied()
        copied.lines.append(copied.line(7))
        self.refused(lambda: self.verify(copied), "more than the 7 entries", "line 9")
        copied.header["size"] = 8
        self.refused(lambda: self.verify(copied), "size and root", "line 1, checkpoint")

    def test_replaced_detail(self):
        copied = self.copied()
        good = copied.lines[3]
        other = copied.lines[4]
        for changes, what in (
            ({"detail": other["detail"]}, "not the detail"),
            ({"salt": other["salt"]}, "not the detail"),
            ({"salt": other["salt"], "detail": other["detail"]}, "not the detail"),
            ({"detail": good["detail"].replace("node", "nodes")}, "not the detail"),
            ({"detail": good["detail"] + " "}, "not the detail"),
            ({"detail": "\ud800"}, "not the detail"),
            ({"detail": None}, "str wanted"),
            ({"salt": None}, "str wanted"),
            ({"salt": good["salt"][2:]}, "31 bytes"),
            ({"salt": good["salt"].upper()}, "not lower-case hex"),
            ({"entry": good["entry"].upper()}, "not lower-case hex"),
            ({"entry": good["entry"] + "00"}, "124 bytes"),
            ({"entry": good["entry"][2:]}, "122 bytes"),
            ({"entry": None}, "str wanted"),
            ({"more": 1}, "unknown key"),
        ):
            copied.lines[3] = good | changes
            rows = [(json.dumps(one) + "\n").encode() for one in (copied.header, *copied.lines)]
            self.refused(lambda: self.verdict(rows), what, "line 5")
        copied.lines[3] = good | {"salt": None, "detail": None}
        self.refused(lambda: self.verify(copied), "str wanted", "line 5, salt")
        for left in ({"salt"}, {"detail"}, {"entry"}):
            copied.lines[3] = {name: value for name, value in good.items() if name not in left}
            self.refused(lambda: self.verify(copied), "is missing", "line 5")

    def test_details_that_are_none(self):
        """Text to which an entry commits, and which does not say who did it, or not the same as the entry."""
        salt = sha256(b"salt").digest()
        for text, actor, what in (
            ('{"actor":"node"}', "node", None),
            (' { "actor" : "node", "more": {"actor": 1.5e3, "list": [null, true]}, "more": 2}\t', "node", None),
            ('{"actor":"\\u006eode"}', "node", None),
            ('{"actor":""}', "", None),
            ('{"actor":"node"}', "operator", "not the one that the entry commits to"),
            ('{"actor":"node"}', '"node"', "not the one that the entry commits to"),
            ('{"more":1,"actor":"node"}', "node", None),
            ('{"more":{"actor":"operator"},"actor":"node","last":[]}', "node", None),
            ('{"more":"node","actor":"operator"}', "node", "not the one that the entry commits to"),
            ('{"more":{"actor":"node"}}', "node", "one field actor"),
            ('{"Actor":"node"}', "node", "one field actor"),
            ('{"actor":1}', "1", "the actor is no text"),
            ('{"actor":null}', "", "the actor is no text"),
            ('{"actor":["node"]}', "node", "the actor is no text"),
            ('{"more":1,"actor":"operator","actor":"node"}', "node", "one field actor"),
            ('{"actor":"node","actor":"node"}', "node", "one field actor"),
            ('{"more":"node"}', "node", "one field actor"),
            ("{}", "node", "one field actor"),
            ('[["actor","node"]]', "node", "one field actor"),
            ('"node"', "node", "one field actor"),
            ("node", "node", "no JSON"),
            ("", "", "no JSON"),
            ('{"actor":"node"} x', "node", "no JSON"),
            ('{"actor":"node","more":NaN}', "node", "no JSON"),
            ('{"actor":"\\ud800"}', "", "no JSON"),
            ("\ufeff{}", "", "no JSON"),
        ):
            copied = self.copied()
            commits = {
                "detail_commit": sha256(salt + text.encode()).digest(), "actor_commit": sha256(salt + actor.encode()).digest()
            }
            copied.lines[3] = copied.line(3, **commits) | {"salt": salt.hex(), "detail": text}
            copied.close()
            if what:
                self.refused(lambda: self.verify(copied), what, "line 5, detail")
            else:
                self.assertEqual(self.verify(copied)["details"], 7)
            proof = copied.proof(3, 7).encode()
            if what:
                self.refused(lambda: verify_proof(proof, self.trust, self.now), what, "line 2")
            else:
                self.assertTrue(verify_proof(proof, self.trust, self.now)["detail"])

    def test_arrays_for_objects(self):
        """A list of the values is no object, neither as a detail nor as a line."""
        copied, salt = self.copied(), sha256(b"salt").digest()
        text = '["node"]'
        commits = {"detail_commit": sha256(salt + text.encode()).digest(), "actor_commit": sha256(salt + b"node").digest()}
        copied.lines[3] = copied.line(3, **commits) | {"salt": salt.hex(), "detail": text}
        copied.close()
        self.refused(lambda: self.verify(copied), "one field actor", "line 5, detail")
        rows = self.copied().rows()
        for at in (0, 3):
            values = list(json.loads(rows[at]).values())
            altered = [*rows[:at], json.dumps(values).encode() + b"\n", *rows[at + 1 :]]
            self.refused(lambda: self.verdict(altered), "dict wanted", f"line {at + 1}")

    def test_about(self):
        """The entries that are about a document are found by what is signed; of a root that names no federation."""
        copied = self.copied()
        documents = [decode(DOCUMENT, one, "document", 2**20) for one in self.fed.documents]
        labels = [one["label"] for one in documents]
        root, roster = documents[labels.index("root")], documents[labels.index("roster")]
        subjects = {}
        for one, federation in ((root, bytes(32)), (roster, self.fed.federation)):
            label, payload = one["label"], one["payload"]
            signed = b"accord/1 " + label.encode() + b"\0" + federation + len(payload).to_bytes(8, "big") + payload
            subjects[label] = sha256(signed).digest()
            self.assertEqual(subject_of(label, self.fed.federation, payload), subjects[label])
        for seq, label in ((2, "root"), (3, "roster"), (5, "root")):
            copied.lines[seq] = copied.line(seq, "document", subject=subjects[label])
        copied.close()
        for label, about in (("root", [2, 5]), ("roster", [3])):
            self.assertEqual(verify_log(copied.rows(), self.trust, self.now, subjects[label])["about"], about)
        self.assertEqual(verify_log(copied.rows(), self.trust, self.now, sha256(b"").digest())["about"], [])
        self.assertNotIn("about", self.verify(copied))

    def test_places(self):
        """An entry says how many were before its commit: as many as are there, and never fewer than before."""
        for sizes, what in (
            ([0, 0, 0, 0], None),
            ([0, 1, 2, 3], None),
            ([0, 0, 2, 2], None),
            ([1, 1, 1, 1], "1 were before it"),
            ([0, 0, 3, 3], "3 were before it"),
            ([0, 1, 0, 3], "the one before 1"),
            ([0, 0, 2**64 - 1, 0], "were before it"),
        ):
            copied = self.copied(0)
            copied.lines = [copied.line(seq, prev_size=size) for seq, size in enumerate(sizes)]
            copied.close()
            if what:
                self.refused(lambda: self.verify(copied), what)
            else:
                self.verify(copied)

    def test_another_past(self):
        """Somebody with the log key writes another past and signs it: a checkpoint that was kept tells, and none else."""
        for changed in (0, 2, 3):
            copied = self.copied(7, [2, 4])
            kept = copied.header["checkpoints"]
            copied.lines[changed] = copied.line(changed, "stopped", "member:PT-TEST")
            copied.close()
            self.verify(copied)
            copied.header["checkpoints"] = kept
            where = "checkpoints[0]" if changed < 2 else "checkpoints[1]"
            self.refused(lambda: self.verify(copied), "do not have the root", f"line 1, {where}")
        copied = self.copied(7, [2, 4])
        kept = copied.header["checkpoints"]
        copied.lines[5] = copied.line(5, "stopped")
        copied.close()
        copied.header["checkpoints"] = kept
        self.verify(copied)

    def test_checkpoints(self):
        copied = self.copied(7, [4])
        fourth, whole = copied.note(4), copied.header["checkpoint"]
        other = copied.note(4, root=EMPTY_ROOT)
        for notes, what, where in (
            ([], None, ""),
            ([fourth, whole, fourth, copied.note(2)], None, ""),
            ([fourth, other], "another root of 4 entries", "checkpoints[1]"),
            ([other, fourth], "another root of 4 entries", "checkpoints[1]"),
            ([other], "do not have the root", "checkpoints[0]"),
            ([copied.note(7, root=EMPTY_ROOT)], "another root of 7 entries", "checkpoints[0]"),
            ([copied.note(0, root=bytes(32))], "do not have the root", "checkpoints[0]"),
            ([copied.note(8)], "the copy has 7", "checkpoints[0]"),
            ([fourth, fourth.replace("IT-TEST", "PT-TEST", 1)], "a checkpoint of", "checkpoints[1]"),
            ([fourth.replace("IT-TEST", "PT-TEST")], "a checkpoint of", "checkpoints[0]"),
            ([fourth[:-1]], "line feed", "checkpoints[0]"),
            ([""], "blank line", "checkpoints[0]"),
            ([1], "str wanted", "checkpoints[0]"),
            (None, "list wanted", "checkpoints"),
            (fourth, "list wanted", "checkpoints"),
        ):
            copied.header["checkpoints"] = notes
            if what:
                self.refused(lambda: self.verify(copied), what, f"line 1, {where}")
            else:
                self.verify(copied)
        # More than 80 may be kept, and in any order.
        copied = self.copied(130, range(130, -1, -1))
        self.assertEqual(self.verify(copied)["checkpoints"], list(range(131)))

    def test_keys_of_others(self):
        copied = self.copied(7, [4])
        own = copied.origin()
        other_federation = own.replace(own[:64], "00" * 32)
        for how, what in (
            ({}, None),
            ({"signer": example.Signer("PT-TEST log")}, "not signed by a log key of IT-TEST"),
            ({"signer": example.Signer("IT-TEST sign")}, "not signed by a log key of IT-TEST"),
            ({"signer": example.Signer("IT-TEST witness")}, "not signed by a log key of IT-TEST"),
            ({"signer": example.Signer("IT-TEST administrator 1")}, "not signed by a log key of IT-TEST"),
            ({"signer": example.Signer("nobody")}, "not signed by a log key of IT-TEST"),
            ({"name": "IT-TEST"}, "not signed by a log key of IT-TEST"),
            ({"name": own.replace("log1", "witness")}, "not signed by a log key of IT-TEST"),
            ({"origin": own.replace("IT", "PT")}, "a checkpoint of"),
            ({"origin": own.replace("log1", "log2")}, "a checkpoint of"),
            ({"origin": other_federation}, "a checkpoint of"),
            ({"origin": other_federation, "name": own}, "a checkpoint of"),
        ):
            for kept in (False, True):
                copied.close()
                if kept:
                    copied.header["checkpoints"] = [copied.note(4, **how)]
                else:
                    copied.header["checkpoint"] = copied.note(7, **how)
                if what:
                    self.refused(lambda: self.verify(copied), what, "checkpoints[0]" if kept else "checkpoint")
                else:
                    self.verify(copied)

    def test_another_federation(self):
        other = example.Federation(lists(), [catalogue_text()], root={"name": "another"})
        self.assertNotEqual(other.federation, self.fed.federation)
        copied = self.copied()
        self.refused(lambda: self.verify(copied, other), "not the federation that was given", "line 1, federation")
        copied.header["federation"] = other.federation.hex()
        self.refused(lambda: self.verify(copied, other), "a checkpoint of", "line 1, checkpoint")
        self.refused(lambda: read_trust(bundle_of(self.fed.documents), other.federation, "trust"), "root of another federation")

    def test_header(self):
        good = self.copied().header
        where = "line 1"
        for changes, what in (
            ({"format": "accord-audit-2"}, "is missing"),
            ({"format": "accord-audit-3"}, "is unknown"),
            ({"destroyed": 0}, "unknown key"),
            ({"destroyed": 4}, "unknown key"),
            ({"destroyed": None}, "unknown key"),
            ({"format": 1}, "is unknown"),
            ({"federation": good["federation"].upper()}, "not lower-case hex"),
            ({"federation": good["federation"][2:]}, "31 bytes"),
            ({"member": "PT-TEST"}, "a checkpoint of"),
            ({"member": "XX-TEST"}, "no log key of XX-TEST"),
            ({"member": None}, "str wanted"),
            ({"size": 6}, "size and root"),
            ({"size": -1}, "size and root"),
            ({"size": 7.0}, "no whole number"),
            ({"size": "7"}, "int wanted"),
            ({"size": True}, "int wanted"),
            ({"root": good["root"].upper()}, "not lower-case hex"),
            ({"root": EMPTY_ROOT.hex()}, "size and root"),
            ({"checkpoint": None}, "str wanted"),
            ({"checkpoint": "\ud800"}, "no UTF-8"),
            ({"more": None}, "unknown key"),
        ):
            copied = self.copied()
            copied.header |= changes
            rows = [(json.dumps(one) + "\n").encode() for one in (copied.header, *copied.lines)]
            self.refused(lambda: self.verdict(rows), what, where)
        for name in good:
            copied = self.copied()
            del copied.header[name]
            self.refused(lambda: self.verify(copied), "is missing", where)

    def test_lines(self):
        rows = self.copied(2).rows()
        header, first, second = rows
        doubled = first.replace(b'{"entry"', b'{"salt": "00", "entry"')
        for altered, what, where in (
            ([], "no JSON", "line 1"),
            ([b"\n", *rows], "no JSON", "line 1"),
            ([header[:-1]], "without a line feed", "line 1"),
            ([header, first, second[:-1]], "without a line feed", "line 3"),
            ([header, first + b"\n", second], "no JSON", "line 3"),
            ([*rows, b"\n"], "more than the 2 entries", "line 4"),
            ([*rows, b" "], "without a line feed", "line 4"),
            ([header, first], "1 entries, the first line says 2", "log.jsonl"),
            ([header, doubled, second], "stands twice", "line 2"),
            ([header, b"[]\n", second], "dict wanted", "line 2"),
            ([header, b"null\n", second], "dict wanted", "line 2"),
            ([b"[]\n", first, second], "dict wanted", "line 1"),
            ([header, first[:-1] + b"," + second], "no JSON", "line 2"),
            ([header, b"\xff\n", second], "no JSON", "line 2"),
        ):
            rejoined = b"".join(altered).splitlines(keepends=True)
            self.refused(lambda: self.verdict(rejoined), what, where)
        # An escape for what could stand there itself, blanks, and another order of the fields change nothing.
        turned = [json.dumps(dict(reversed(json.loads(one).items()))).encode() + b" \r\n" for one in rows]
        self.assertEqual(self.verdict(turned), self.verdict(rows))

    def test_witnesses(self):
        copied = self.copied(7)
        by = {name: example.Signer(f"{name} witness") for name in ("PT-TEST", "ES-TEST", "IT-TEST")}
        copied.header["checkpoint"] = copied.note(7, witnesses=[("PT-TEST", by["PT-TEST"])])
        copied.header["checkpoints"] = [
            copied.note(2, witnesses=by.items()), copied.note(4), copied.note(4, witnesses=[("ES-TEST", by["PT-TEST"])])
        ]
        self.assertEqual(
            [tuple(one.values()) for one in self.verify(copied)["witnesses"]],
            [("ES-TEST", 2), ("PT-TEST", 7)],
        )
        # A witness's line alone makes no checkpoint of this log.
        copied.header["checkpoint"] = copied.note(7, name="nobody", witnesses=by.items())
        self.refused(lambda: self.verify(copied), "not signed by a log key", "line 1, checkpoint")

    def test_bad_lines_of_log_keys(self):
        """A line of the log's key that fails makes the note worthless, whatever stands above or below it."""
        copied = self.copied(7, [4])
        known = NoteKey(copied.origin(), SIGNATURE, copied.signer.key)
        for size, kept in ((7, False), (4, True)):
            good = copied.note(size)
            text, line = good.rpartition("\n\n")[0] + "\n", good.rpartition("\n\n")[2]
            other = copied.note(2).rpartition("\n\n")[2]
            for bad in (other, *(signature_line(known, bytes(length)) for length in (1, 63, 64, 65, 72))):
                for lines, is_good in ((bad, False), (bad + line, False), (line + bad, False), (line + line, True)):
                    copied.close([4])
                    if kept:
                        copied.header["checkpoints"] = [f"{text}\n{lines}"]
                    else:
                        copied.header["checkpoint"] = f"{text}\n{lines}"
                    if is_good:
                        self.verify(copied)
                    else:
                        where = "checkpoints[0]" if kept else "line 1, checkpoint"
                        self.refused(lambda: self.verify(copied), "does not verify", where)
            # Of another name, id or type of signature it is not looked at.
            for name, kind, signer in (
                ("nobody", SIGNATURE, "IT-TEST log"), (copied.origin(), COSIGNATURE, "IT-TEST log"),
                (copied.origin(), SIGNATURE, "nobody"), (copied.origin(), SIGNATURE, "PT-TEST log"),
            ):
                bad = signature_line(NoteKey(name, kind, example.Signer(signer).key), bytes(64))
                for lines in (bad + line, line + bad):
                    copied.close([4])
                    copied.header["checkpoints" if kept else "checkpoint"] = (
                        [f"{text}\n{lines}"] if kept else f"{text}\n{lines}"
                    )
                    self.verify(copied)

    def test_bad_lines_of_witnesses(self):
        """They are no cosignatures. A time above 2^63 - 1 is none, so that nothing signs it."""
        copied = self.copied(7)
        witness = example.Signer("PT-TEST witness")
        known = NoteKey(f"{self.fed.federation.hex()}/PT-TEST/witness", COSIGNATURE, witness.key)
        note = copied.note(7)
        text = note.rpartition("\n\n")[0] + "\n"
        for seconds, is_good in ((SEEN, True), (2**63 - 1, True), (2**63, False), (2**64 - 1, False)):
            signature = witness.sign_bytes(f"cosignature/v1\ntime {seconds}\n{text}".encode())
            copied.header["checkpoint"] = note + signature_line(known, seconds.to_bytes(8, "big") + signature)
            if is_good:
                self.assertEqual(self.verify(copied)["witnesses"], [{"member": "PT-TEST", "size": 7}])
            else:
                self.assertEqual(self.verify(copied)["witnesses"], [])
        copied.header["checkpoint"] = note + signature_line(known, bytes(72))
        self.assertEqual(self.verify(copied)["witnesses"], [])


class KeysTests(LogCase):
    """Which keys of a member are those of its log."""

    def next_keys(self, fed, before, version, follows=True, by=None, **changes):
        """A keys document of IT-TEST after another one, with a log key of its own."""
        log = example.Signer(f"IT-TEST log {version}")
        content = decode(STRUCTURES["member-keys"][0], decode(DOCUMENT, before, "document", 2**20)["payload"], "", 2**20)
        content |= example.heading("member-keys") | {
            "keys_version": version, "log_keys": [log.key], **changes,
            "prev_hash": example.hash_of(before) if follows else bytes(32),
        }
        return fed.document("member-keys", content, by or [*fed.administrators("IT-TEST"), log])

    def federation(self, anchor=None, **changes):
        """A federation; `anchor` is what the roster names as keys of IT-TEST, if it is not version 1."""
        if anchor:
            changes["IT-TEST"] = {"anchor_version": anchor[0], "anchor_hash": example.hash_of(anchor[1])}
        return example.Federation(lists(), [catalogue_text()], **changes)

    def first_keys(self, fed):
        return next(
            one
            for one in fed.documents
            if decode(DOCUMENT, one, "document", 2**20)["label"] == "member-keys" and b"IT-TEST" in one
        )

    def signed_by(self, fed, *names):
        copied = self.copied(7, fed=fed)
        copied.header["checkpoints"] = [copied.note(2 + at, example.Signer(one)) for at, one in enumerate(names)]
        copied.header["checkpoint"] = copied.note(7, example.Signer(names[-1]))
        return copied

    def test_earlier_keys(self):
        """What was signed by keys that those in force follow still counts, but for the whole."""
        fed = self.federation()
        second = self.next_keys(fed, self.first_keys(fed), 2)
        fed.documents += [second, self.next_keys(fed, second, 3)]
        self.verify(self.signed_by(fed, "IT-TEST log", "IT-TEST log 2", "IT-TEST log 3"), fed)
        self.refused(lambda: self.verify(self.signed_by(fed, "IT-TEST log 4"), fed), "not signed by a log key")
        for name in ("IT-TEST log", "IT-TEST log 2"):
            copied = self.signed_by(fed, "IT-TEST log", "IT-TEST log 3", name)
            self.refused(lambda: self.verify(copied, fed), "not signed by a log key", "line 1, checkpoint")
            proof = copied.proof(4, 7, signer=example.Signer(name)).encode()
            self.refused(lambda: verify_proof(proof, trust_of(fed), self.now), "not signed by a log key", "checkpoint")
        proof = copied.proof(4, 7, signer=example.Signer("IT-TEST log 3")).encode()
        self.assertTrue(verify_proof(proof, trust_of(fed), self.now)["verified"])
        # With documents of that time it still holds.
        before = read_trust(bundle_of(exported(fed.documents)[:-2]), fed.federation, "trust")
        self.assertTrue(verify_proof(copied.proof(4, 7).encode(), before, self.now)["verified"])

    def test_earlier_keys_below_the_anchor(self):
        fed = self.federation()
        first = self.first_keys(fed)
        second = self.next_keys(fed, first, 2)
        fed = self.federation((2, second))
        fed.documents.append(second)
        self.verify(self.signed_by(fed, "IT-TEST log", "IT-TEST log 2"), fed)

    def test_keys_that_nothing_follows(self):
        """Anchored anew, without a way from the keys before: those are no keys of the log any more."""
        fed = self.federation()
        log, others = example.Signer("IT-TEST log 2"), example.signers("other 1", "other 2")
        for second in (
            self.next_keys(fed, self.first_keys(fed), 2, follows=False),
            # Named, but not signed by those who would have to.
            self.next_keys(fed, self.first_keys(fed), 2, by=[*others, log], admin_keys=example.keys(others)),
        ):
            anew = self.federation((2, second))
            anew.documents.append(second)
            self.verify(self.signed_by(anew, "IT-TEST log 2"), anew)
            copied = self.signed_by(anew, "IT-TEST log", "IT-TEST log 2")
            self.refused(lambda: self.verify(copied, anew), "not signed by a log key", "checkpoints[0]")

    def test_keys_that_anybody_can_make(self):
        """A keys document that bears the member's name, and the signatures of administrators of its own, has no say."""
        administrators = example.signers("somebody", "somebody else")
        others = [example.Signer(f"somebody {role}") for role in ("tls", "sign", "log", "witness")]
        tls, sign, log, witness = example.keys(others)
        for version, follows in ((1, False), (2, True), (2, False), (3, False)):
            fed = self.federation()
            made = {
                "admin_keys": example.keys(administrators), "tls_keys": [tls], "sign_keys": [sign], "log_keys": [log],
                "witness_key": witness,
            }
            first = self.first_keys(fed)
            fed.documents.append(self.next_keys(fed, first, version, follows, [*administrators, *others], **made))
            copied = self.signed_by(fed, "somebody log")
            self.refused(lambda: self.verify(copied, fed), "not signed by a log key", "line 1, checkpoint")
            self.verify(self.copied(fed=fed), fed)

    def test_what_does_not_hold_is_left_out(self):
        """A bundle is gathered: where a whole would be refused, the rest of it still counts."""
        fed = self.federation()
        fed.suspend("IT-TEST", "own-key", example.Signer("IT-TEST log").key, by=0, until=self.now + example.DAY_MS)
        self.refused(lambda: Trust(fed.documents, fed.federation, "documents"), "")
        self.verify(self.copied(fed=fed), fed)
        # Keys of nobody and a roster without signatures.
        fed = self.federation()
        first = self.first_keys(fed)
        fed.documents.append(self.next_keys(fed, first, 2, by=example.signers("nobody")))
        roster = next(one for one in fed.documents if decode(DOCUMENT, one, "document", 2**20)["label"] == "roster")
        roster = decode(DOCUMENT, roster, "document", 2**20)
        content = decode(STRUCTURES["roster"][0], roster["payload"], "", 2**20)
        fed.documents.append(fed.document("roster", example.heading("roster") | content | {"roster_version": 2}, []))
        self.refused(lambda: Trust(fed.documents, fed.federation, "documents"), "")
        self.verify(self.copied(fed=fed), fed)
        self.refused(lambda: self.verify(self.signed_by(fed, "IT-TEST log 2"), fed), "not signed by a log key")
        # Of two documents of one version none is in force: the member has no keys, the others have theirs.
        fed = self.federation()
        fed.documents += [self.next_keys(fed, first, 2), self.next_keys(fed, first, 2, addresses=["192.0.2.2:4433"])]
        for name in ("IT-TEST log", "IT-TEST log 2"):
            self.refused(lambda: self.verify(self.signed_by(fed, name), fed), "no log key of IT-TEST that counts")
        other = self.copied(fed=fed)
        other.member, other.signer = "PT-TEST", example.Signer("PT-TEST log")
        other.close()
        self.verify(other, fed)

    def test_what_cannot_be_left_out(self):
        fed = self.federation()
        for label, what in (("root", "no root"), ("roster", "no roster"), ("catalogue", "catalogue")):
            rest = [one for one in fed.documents if decode(DOCUMENT, one, "document", 2**20)["label"] != label]
            self.refused(lambda: read_trust(bundle_of(rest), fed.federation, "trust"), what)

    def test_one_payload_with_fewer_signatures(self):
        """What is signed in full counts, also behind the same with fewer signatures."""
        fed = self.federation()
        stripped = []
        for one in exported(fed.documents):
            document = decode(DOCUMENT, one, "document", 2**20)
            stripped.append(encode(DOCUMENT, document | {"signatures": document["signatures"][:1]}))
        for documents in (stripped + fed.documents, fed.documents + stripped):
            trust = read_trust(bundle_of(documents), fed.federation, "trust")
            self.assertTrue(verify_log(self.copied(fed=fed).rows(), trust, self.now)["verified"])

    def test_suspended_keys(self):
        """While it is suspended a present key proves nothing; nobody else's word stops it, and none an earlier one."""
        log, day = example.Signer("IT-TEST log").key, example.DAY_MS
        during = {"issued_at": self.now - day, "until": self.now + day}
        for words, is_stopped in (
            ([("IT-TEST", during)], True),
            ([("PT-TEST", during)], False),
            ([("IT-TEST", during), ("IT-TEST", during | {"way": "lifts", "by": 2, "issued_at": self.now - day + 1})], False),
            ([("IT-TEST", {"issued_at": self.now - 2 * day, "until": self.now - day})], False),
            ([("IT-TEST", {"issued_at": self.now + 3 * day, "until": self.now + 4 * day})], False),
        ):
            fed = self.federation()
            for name, how in words:
                fed.suspend(name, "own-key", log, **how)
            copied = self.signed_by(fed, "IT-TEST log")
            if is_stopped:
                self.refused(lambda: self.verify(copied, fed), "no log key of IT-TEST that counts", "line 1, member")
            else:
                self.verify(copied, fed)
            first = self.first_keys(fed)
            fed.documents.append(self.next_keys(fed, first, 2))
            self.verify(self.signed_by(fed, "IT-TEST log", "IT-TEST log 2"), fed)
            # The key stays, beside another: it is an earlier one as well, and signs what is kept.
            fed.documents.pop()
            both = sorted([log, example.Signer("IT-TEST log 2").key])
            fed.documents.append(self.next_keys(fed, first, 2, log_keys=both))
            self.verify(self.signed_by(fed, "IT-TEST log", "IT-TEST log 2"), fed)
            copied = self.signed_by(fed, "IT-TEST log 2", "IT-TEST log")
            if is_stopped:
                self.refused(lambda: self.verify(copied, fed), "not signed by a log key", "line 1, checkpoint")
            else:
                self.verify(copied, fed)

    def test_suspended_keys_of_the_document_in_force(self):
        """Suspended now: what it signed before stands where a present key signs the whole."""
        fed = self.federation()
        both = [example.Signer(name).key for name in ("IT-TEST log", "IT-TEST log 2")]
        fed.documents.append(self.next_keys(fed, self.first_keys(fed), 2, log_keys=both))
        self.verify(self.signed_by(fed, "IT-TEST log 2", "IT-TEST log"), fed)
        during = {"issued_at": self.now - example.DAY_MS, "until": self.now + example.DAY_MS}
        fed.suspend("IT-TEST", "own-key", example.Signer("IT-TEST log 2").key, **during)
        self.verify(self.signed_by(fed, "IT-TEST log"), fed)
        self.verify(self.signed_by(fed, "IT-TEST log 2", "IT-TEST log"), fed)
        copied = self.signed_by(fed, "IT-TEST log", "IT-TEST log 2")
        self.refused(lambda: self.verify(copied, fed), "not signed by a log key", "line 1, checkpoint")

    def test_bad_lines_of_earlier_keys(self):
        """They are looked at where their signature is enough, and nowhere else."""
        fed = self.federation()
        fed.documents.append(self.next_keys(fed, self.first_keys(fed), 2))
        copied = self.signed_by(fed, "IT-TEST log", "IT-TEST log 2")
        bad = signature_line(NoteKey(copied.origin(), SIGNATURE, example.Signer("IT-TEST log").key), bytes(64))
        good = dict(copied.header)
        copied.header["checkpoints"] = [copied.note(2, example.Signer("IT-TEST log 2")) + bad]
        self.refused(lambda: self.verify(copied, fed), "does not verify", "checkpoints[0]")
        copied.header = good | {"checkpoint": good["checkpoint"] + bad}
        self.verify(copied, fed)

    def test_keys_of_witnesses(self):
        """The witness key in force, while it is not suspended; of others the line is not looked at."""
        day, witness = example.DAY_MS, example.Signer("PT-TEST witness")
        for words, seen in (
            ([], 1),
            ([{"issued_at": self.now - 2 * day, "until": self.now - day}], 1),
            ([{"issued_at": self.now - day, "until": self.now + day}], 0),
        ):
            fed = self.federation()
            for how in words:
                fed.suspend("PT-TEST", "own-key", witness.key, **how)
            copied = self.copied(fed=fed)
            copied.header["checkpoint"] = copied.note(7, witnesses=[("PT-TEST", witness)])
            self.assertEqual(len(self.verify(copied, fed)["witnesses"]), seen)
        # What IT-TEST has witnessed of PT-TEST, before and after an exchange of its key.
        fed, later = self.federation(), example.Signer("IT-TEST witness 2")
        log = example.Signer("IT-TEST log 2")
        fed.documents.append(
            self.next_keys(
                fed, self.first_keys(fed), 2, by=[*fed.administrators("IT-TEST"), log, later], witness_key=later.key
            )
        )
        copied = self.copied(fed=fed)
        copied.member, copied.signer = "PT-TEST", example.Signer("PT-TEST log")
        for key, seen in ((example.Signer("IT-TEST witness"), 0), (later, 1)):
            copied.close()
            copied.header["checkpoint"] = copied.note(7, witnesses=[("IT-TEST", key)])
            self.assertEqual(len(self.verify(copied, fed)["witnesses"]), seen)

    def test_expired_documents(self):
        """What was signed is held to the documents for ever, whether they have expired or not."""
        copied = self.copied()
        for now in (0, example.ISSUED, example.EXPIRES, example.EXPIRES * 2):
            self.assertTrue(verify_log(copied.rows(), self.trust, now)["verified"])

    def test_members_without_keys(self):
        for changes, what in (
            ({"IT-TEST": {"state": "suspended"}}, None),
            ({"IT-TEST": {"state": "removed"}}, "no log key of IT-TEST that counts"),
        ):
            fed = self.federation(**changes)
            copied = self.copied(fed=fed)
            if what:
                self.refused(lambda: self.verify(copied, fed), what)
            else:
                self.verify(copied, fed)

    def test_bundles(self):
        raw = bundle_of(self.fed.documents)
        held = [decode(DOCUMENT, one, "document", 2**20) for one in self.fed.documents]
        read_trust(bundle_of([], held=held, proposed=held[:1], note=b"anything"), self.fed.federation, "trust")
        read_trust(bundle_of(exported(self.fed.documents)), self.fed.federation, "trust")
        for altered, what in (
            (b"", "no bundle"),
            (b"ACCORD1\n" + raw[8:], "no bundle"),
            (raw + b"\0", "too many"),
            (raw[:-1], "bytes wanted"),
            (bundle_of([]), "no root"),
            (bundle_of(self.fed.documents[1:]), "no root"),
            (bundle_of([], proposed=held), "no root"),
            (bundle_of([], proposed=held[:1], held=held[1:]), "no root"),
            (bundle_of(self.fed.documents, note=bytes(4097)), "4097 bytes"),
        ):
            self.refused(lambda: read_trust(altered, self.fed.federation, "trust"), what)


class ProofTests(LogCase):
    def prove(self, proof):
        return verify_proof(proof.encode(), self.trust, self.now)

    def test_every_entry(self):
        copied = self.copied(9)
        for size in range(1, 10):
            for index in range(size):
                for detail in (True, False):
                    self.assertEqual(
                        self.prove(copied.proof(index, size, detail)),
                        {
                            "verified": True, "member": "IT-TEST", "seq": index, "kind": "started",
                            "time_ms": example.ASKED + index, "detail": detail, "size": size,
                        },
                    )

    def test_every_bit_and_every_truncation(self):
        copied = self.copied(5)
        for detail in (True, False):
            for altered in alterations(copied.proof(2, 5, detail).encode()):
                with self.assertRaises(Refused, msg=altered):
                    verify_proof(altered, self.trust, self.now)

    def test_paths(self):
        copied = self.copied(7)
        path = path_of(4, copied.entries())
        for altered in altered_paths(path):
            self.refused(lambda: self.prove(copied.proof(4, 7, path=altered)), "the path", "line 4")
        self.refused(lambda: self.prove(copied.proof(4, 7, path=[])), "too short", "checkpoint")
        # As long as a path may be, so that it is the tree that says no.
        self.refused(lambda: self.prove(copied.proof(4, 7, path=63 * [EMPTY_ROOT])), "too long")
        self.refused(lambda: self.prove(copied.proof(4, 7, path=64 * [EMPTY_ROOT])), "64 hashes, at most 63", "line 67")
        self.refused(lambda: self.prove(copied.proof(4, 7, root=EMPTY_ROOT)), "does not lead to the root")

    def test_extra(self):
        copied = self.copied(7)
        entry, other = copied.entries()[4:6]
        salt, text = bytes.fromhex(copied.lines[4]["salt"]), copied.lines[4]["detail"].encode()
        for extra, what in (
            (entry, None),
            (entry + salt + text, None),
            (entry + salt, "not the detail"),
            (entry + text, "not the detail"),
            (entry + b"\0", "not the detail"),
            (entry + salt + text[:-1], "not the detail"),
            (entry + salt + text + b" ", "not the detail"),
            (entry + flipped(salt) + text, "not the detail"),
            (entry[:-1], "bytes wanted"),
            (b"", "bytes wanted"),
            (other, "entry 5 in the place of 4"),
            (b"\2" + entry[1:], "2 instead of 1"),
            (entry[:1] + b"\0\0" + entry[3:], "unknown code 0"),
            (entry[:-8] + b"\0\0\0\0\0\0\0\5", "5 were before it"),
            (entry[:-8] + b"\0\0\0\0\0\0\0\3", "does not lead to the root"),
        ):
            if what:
                self.refused(lambda: self.prove(copied.proof(4, 7, extra=extra)), what)
            else:
                self.prove(copied.proof(4, 7, extra=extra))
        salt = sha256(b"salt").digest()
        copied.lines[4] = copied.line(4, detail_commit=sha256(salt + text).digest()) | {"salt": salt.hex()}
        self.refused(lambda: self.prove(copied.proof(4, 7)), "the actor is not the one", "line 2")

    def test_whose_log(self):
        copied = self.copied(7)
        own = copied.origin()
        for how, what in (
            ({"signer": example.Signer("PT-TEST log")}, "not signed by a log key of IT-TEST"),
            ({"signer": example.Signer("IT-TEST sign")}, "not signed by a log key of IT-TEST"),
            ({"name": "IT-TEST"}, "not signed by a log key of IT-TEST"),
            ({"origin": own.replace("IT", "PT")}, "not signed by a log key of PT-TEST"),
            ({"origin": own.replace("IT", "XX")}, "no log key of XX-TEST"),
            ({"origin": own.replace(own[:64], "00" * 32)}, "a checkpoint of"),
            ({"origin": own.replace("log1", "log2")}, "no log of a member"),
            ({"origin": own + "/x"}, "no log of a member"),
            ({"origin": "IT-TEST", "name": own}, "no log of a member"),
        ):
            self.refused(lambda: self.prove(copied.proof(4, 7, **how)), what, "checkpoint")
        other = example.Federation(lists(), [catalogue_text()], root={"name": "another"})
        trust = Trust(other.documents, other.federation, "documents")
        self.refused(lambda: verify_proof(copied.proof(4, 7).encode(), trust, self.now), "a checkpoint of", "checkpoint")

    def test_shapes(self):
        proof = self.copied(7).proof(4, 7)
        first, extra, index, path, *rest = proof.split("\n")
        for lines, what, where in (
            ([], "not c2sp.org/tlog-proof@v1", "line 1"),
            (["c2sp.org/tlog-proof@v2", extra, index, path, *rest], "not c2sp.org/tlog-proof@v1", "line 1"),
            ([first, index, path, *rest], "does not begin with 'extra'", "line 2"),
            ([first, extra, path, *rest], "does not begin with 'index'", "line 3"),
            ([first], "does not begin with 'extra'", "line 2"),
            ([first, extra.replace(" ", "  "), index, path, *rest], "no base64", "line 2"),
            ([first, extra, index + " ", path, *rest], "no number", "line 3"),
            ([first, extra, "index 04", path, *rest], "no number", "line 3"),
            ([first, extra, "index -4", path, *rest], "no number", "line 3"),
            ([first, extra, index, path + "=", *rest], "no base64", "line 4"),
            ([first, extra, index, path[4:], *rest], "29 bytes", "line 4"),
            ([first + "\r", extra, index, path, *rest], "not c2sp.org", "line 1"),
            ([first, extra, index, "", path, *rest], "lines instead of origin", "checkpoint"),
            (["", first, extra, index, path, *rest], "not c2sp.org", "line 1"),
        ):
            self.refused(lambda: self.prove("\n".join(lines)), what, where)
        self.refused(lambda: verify_proof(b"\xff", self.trust, self.now), "no UTF-8", "byte 0")

    def test_witnesses(self):
        copied = self.copied(7)
        witness = [("PT-TEST", example.Signer("PT-TEST witness"))]
        self.assertEqual(self.prove(copied.proof(4, 7, witnesses=witness))["size"], 7)


class CommandTests(LogCase):
    """The command line, on files."""

    def run_second(self, *arguments):
        script = Path(__file__).parent / "second.py"
        said = subprocess.run(
            [sys.executable, "-B", script, *arguments, "--federation", self.fed.federation.hex()],
            capture_output=True, check=False, text=True,
        )
        return said.returncode, said.stdout, said.stderr

    def test_a_folder(self):
        copied = self.copied(7, [4])
        with tempfile.TemporaryDirectory() as folder:
            fill(folder, copied.rows(), self.fed.documents)
            result = verify_copy(folder, self.fed.federation, self.now)
            code, stdout, stderr = self.run_second("audit", folder, "--json")
            self.assertEqual((code, json.loads(stdout)), (0, result), stderr)
            code, stdout, _ = self.run_second("audit", folder)
            self.assertEqual(code, 0)
            self.assertIn("VERIFIED\nthe log of IT-TEST: 7 entries, 7 with what they commit to\n", stdout)
            self.assertTrue(stdout.endswith("checkpoints: 4, 7\nunwitnessed\n"), stdout)
            shortened = self.copied(7, [4])
            shortened.destroy(5)
            fill(folder, shortened.rows(), self.fed.documents)
            code, stdout, _ = self.run_second("audit", folder)
            self.assertEqual(code, 0)
            self.assertIn("the first 5 are destroyed, AND NO ENTRY THAT CAN BE READ SAYS SO: only their hashes", stdout)
            fill(folder, copied.rows(), self.fed.documents)
            about = Path(folder) / "root.accord"
            about.write_bytes(b"ACCORD1\n" + self.fed.documents[0])
            code, stdout, stderr = self.run_second("audit", folder, "--about", str(about))
            self.assertEqual(code, 0, stderr)
            self.assertTrue(stdout.endswith("unwitnessed\nentries about the document: none\n"), stdout)
            fill(folder, copied.rows()[:-1], self.fed.documents)
            code, stdout, _ = self.run_second("audit", folder, "--json")
            said = {"verified": False, "where": "log.jsonl", "reason": "6 entries, the first line says 7"}
            self.assertEqual((code, json.loads(stdout)), (1, said))
            code, stdout, _ = self.run_second("audit", folder)
            self.assertEqual((code, stdout), (1, "NOT VERIFIED at log.jsonl: 6 entries, the first line says 7\n"))

    def test_a_proof(self):
        copied = self.copied(7)
        with tempfile.TemporaryDirectory() as folder:
            trust, proof = Path(folder) / "trust.accord", Path(folder) / "4.tlog-proof"
            trust.write_bytes(bundle_of(self.fed.documents))
            proof.write_text(copied.proof(4, 7), encoding="utf-8")
            code, stdout, stderr = self.run_second("proof", str(proof), "--trust", str(trust), "--json")
            self.assertEqual((code, json.loads(stdout)["seq"]), (0, 4), stderr)
            code, stdout, _ = self.run_second("proof", str(proof), "--trust", str(trust))
            self.assertEqual(code, 0)
            self.assertIn("VERIFIED\nentry 4 among the first 7 of the log of IT-TEST\nstarted, 2026-01-02T00:00:00.004", stdout)
            copied.change(4, time=2**64 - 1)
            proof.write_text(copied.proof(4, 7, detail=False), encoding="utf-8")
            code, stdout, _ = self.run_second("proof", str(proof), "--trust", str(trust))
            self.assertEqual(code, 0)
            self.assertIn(f"started, {2**64 - 1} ms since 1970\nwithout what it commits to\n", stdout)
            proof.write_text(copied.proof(4, 7, signer=example.Signer("nobody")), encoding="utf-8")
            code, stdout, _ = self.run_second("proof", str(proof), "--trust", str(trust), "--json")
            self.assertEqual((code, json.loads(stdout)["where"]), (1, "checkpoint"))


if __name__ == "__main__":
    unittest.main()
