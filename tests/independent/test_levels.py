"""Owns the tests of evidence that is logged and witnessed: a file with known keys and a log, altered in every way."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
from base64 import b64decode, b64encode
from pathlib import Path

from second import example
from second.compare import until
from second.encoding import Refused, decode
from second.evidence import verify
from second.levels import ENTRY_WITHIN_MS, LEVELS, OVERDUE_MS, logged
from second.log import subject_of
from second.messages import DOCUMENT, STRUCTURES
from second.note import COSIGNATURE, NoteKey
from second.testing import Case, catalogue_text, lists
from second.trust import Trust
from test_log import SEEN, Copied, signature_line

VECTORS = Path(__file__).parents[2] / "protocol" / "tests" / "vectors"
MEMBERS = ("AT-TEST", "DK-TEST", "ES-TEST", "IT-TEST", "PT-TEST")
BOTH = ["provider", "requester"]
ALL = [*BOTH, "witness"]
# Table 1: years, all drugs, seizures.
QUERY = {
    "table_id": 1, "table_version": 1, "measures": 1,
    "dims": [{"dim": 0, "level": 0, "codes": [202100]}, {"dim": 1, "level": 0, "codes": []}],
}
PLACE, SIZE = 5, 7
PROVABLE = example.ASKED + 3_600_000


def federation(**changes):
    """Five members, all of them witnesses unless changed."""
    roles = {name: {"roles": ALL} | changes.pop(name, {}) for name in MEMBERS}
    providers = [name for name in MEMBERS if name != example.Federation.requester]
    return example.Federation(lists(), [catalogue_text()], providers=providers, **roles, **changes)


def witness(name):
    return example.Signer(f"{name} witness")


class OneReply:
    """A file of one reply of IT-TEST, and the log that has it; what a test changes is public."""

    def __init__(self, fed, outcome="answered", **changes):
        self.fed = fed
        wanted = {"wanted_until": example.ASKED + 1} if outcome in ("held", "withdrawn", "expired") else {}
        asked = fed.request("IT-TEST", QUERY, 1, **wanted)
        value = {"measure": "seizures", "value": None, "from": [], "missing": []}
        if outcome == "answered":
            data = fed.slice("IT-TEST", QUERY, lambda levels, key, measure: [7])
            self.exchange = fed.reply(asked, "IT-TEST", data, **changes)
            value |= {"value": 7, "from": ["IT-TEST"]}
        elif outcome == "refused":
            self.exchange = fed.refusal(asked, "IT-TEST", **changes)
            value["missing"] = [["IT-TEST", "refused"]]
        else:
            self.exchange = fed.status(asked, "IT-TEST", outcome, **changes)
            value["missing"] = [["IT-TEST", "held" if outcome == "held" else "refused"]]
        self.pooled = [{"key": ["2021", "_T"], "values": [value]}]
        self.head = bytes.fromhex(self.exchange["reply"]["head"])
        self.label = "status" if wanted else "answer"
        self.log = Copied(fed.federation, SIZE)
        self.enter(kind=outcome)

    def enter(self, **changes):
        """The entry about the reply."""
        entry = {
            "kind": "answered", "time": example.ASKED, "subject": subject_of(self.label, self.fed.federation, self.head)
        }
        self.log.lines[PLACE] = self.log.line(PLACE, **(entry | changes))

    def proof(self, *witnesses, **how):
        """Cosigned by members of these names, each with its key."""
        how = {"detail": False} | how
        return self.log.proof(PLACE, SIZE, witnesses=[(name, witness(name)) for name in witnesses], **how)

    def file(self, proof):
        exchange = copy.deepcopy(self.exchange)
        exchange["reply"]["log"] = proof
        return self.fed.file("seizures-year-drug", [exchange], self.pooled)


def line_of(fed, name, note, seconds=SEEN, signer=None, signed=None):
    """One more cosignature under a proof or checkpoint."""
    text = note[note.index(fed.federation.hex()) : note.rindex("\n\n") + 1]
    signer = signer or witness(name)
    signature = signer.sign_bytes(f"cosignature/v1\ntime {signed or seconds}\n{text}".encode())
    known = NoteKey(f"{fed.federation.hex()}/{name}/witness", COSIGNATURE, witness(name).key)
    return signature_line(known, seconds.to_bytes(8, "big") + signature)


class LevelCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.fed = federation()
        cls.trust = Trust(cls.fed.documents, cls.fed.federation, "documents")

    def verify(self, raw, fed=None, now=example.NOW, require=LEVELS[0]):
        """What is said of the only reply, having made sure that the tool says the same where ACCORD_TOOL names it."""
        fed, fault, result = fed or self.fed, None, None
        try:
            result = verify(raw, fed.federation, lists(), now, require=require)
        except Refused as refused:
            fault = refused
        if "ACCORD_TOOL" in os.environ:
            told = self.told(raw, fed, now, require)
            self.assertEqual(fault is None, told["verified"], f"here: {fault}; the tool: {told['failed']}")
            if result:
                self.assertEqual([one["who"] for one in told["unproven"]], result["unproven"])
                logs = [one["log"] and {**one["log"], "at": None} for one in told["statements"]]
                replies = [one for one in result["exchanges"] if one["at"] is not None]
                own = [one["log"] and {**one["log"], "at": None} for one in replies]
                self.assertEqual(logs, own)
        if fault:
            raise fault
        return result

    @staticmethod
    def told(raw, fed, now, require):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "evidence.json"
            path.write_bytes(raw)
            tool = [os.environ["ACCORD_TOOL"], "evidence", "verify", str(path), "--federation", fed.federation.hex()]
            run = subprocess.run(
                [*tool, "--json", "--require", require, *until(now)], capture_output=True, check=False
            )
        said = json.loads(run.stdout)
        return said["result"] or {"verified": False, "failed": said["error"], "statements": [], "unproven": []}

    def log_of(self, raw, fed=None, **how):
        return self.verify(raw, fed, **how)["exchanges"][0]["log"]

    def need(self, raw, level, witnesses, needed=2, fed=None):
        log = self.log_of(raw, fed)
        self.assertEqual((log["level"], log["witnesses"], log["needed"]), (level, witnesses, needed))


class GoodTests(LevelCase):
    def test_without_a_proof(self):
        one = OneReply(self.fed)
        self.assertIsNone(self.log_of(one.file(None)))
        raw = one.file(None).replace(b', "log": null', b"")
        self.assertNotIn(b'"log"', raw)
        self.assertIsNone(self.log_of(raw))

    def test_every_outcome(self):
        for outcome in ("answered", "refused", "held", "withdrawn", "expired"):
            one = OneReply(self.fed, outcome)
            log = self.log_of(one.file(one.proof("DK-TEST", "PT-TEST")))
            self.assertEqual(
                log,
                {
                    "level": "witnessed", "entry": PLACE, "size": SIZE, "at": example.ASKED,
                    "witnesses": ["DK-TEST", "PT-TEST"], "needed": 2,
                },
            )
            for other in ("answered", "refused", "held", "withdrawn", "expired", "heard", "receipt"):
                if other != outcome:
                    one.enter(kind=other)
                    self.refused(lambda: self.verify(one.file(one.proof())), f"the entry says {other}", ".reply.log")

    def test_every_place(self):
        one = OneReply(self.fed)
        entry = one.log.lines[PLACE]
        for size in (6, 7):
            proof = one.log.proof(PLACE, size, detail=False)
            self.assertEqual(self.log_of(one.file(proof))["size"], size)
        one.log.lines[0] = entry
        one.log.change(0, seq=0, prev_size=0)
        self.assertEqual(self.log_of(one.file(one.log.proof(0, 1, detail=False)))["entry"], 0)

    def test_required(self):
        one = OneReply(self.fed)
        for proof, level in ((None, 0), (one.proof("DK-TEST"), 1), (one.proof("DK-TEST", "ES-TEST"), 2)):
            for wanted, name in enumerate(LEVELS):
                if wanted <= level:
                    self.verify(one.file(proof), require=name)
                else:
                    what = f"is {LEVELS[level]}, not {name}"
                    self.refused(lambda: self.verify(one.file(proof), require=name), what, "$.exchanges[0].reply")
        nothing = self.fed.file(
            "seizures-year-drug", [self.fed.request("IT-TEST", QUERY, 1)],
            [{"key": ["2021", "_T"], "values": [
                {"measure": "seizures", "value": None, "from": [], "missing": [["IT-TEST", "unreachable"]]}
            ]}],
        )
        self.verify(nothing)
        self.refused(lambda: self.verify(nothing, require="logged"), "there is no reply")

    def test_vector(self):
        raw = (VECTORS / "evidence.json").read_bytes()
        given = bytes.fromhex(json.loads(raw)["federation"])
        result = verify(raw, given, lists(), 1_790_129_600_000)
        found = [(one["outcome"], one["log"]["level"], one["log"]["witnesses"]) for one in result["exchanges"]]
        self.assertEqual(
            found,
            [
                ("answered", "witnessed", ["DK-AGENCY", "PT-AGENCY"]), ("refused", "logged", ["AT-AGENCY"]),
                ("held", "logged", []),
            ],
        )

    def test_command(self):
        one = OneReply(self.fed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "evidence.json"
            path.write_bytes(one.file(one.proof("DK-TEST")))
            program = Path(__file__).with_name("second.py")
            for require, code, said in (("logged", 0, "logged: entry 5 of 7"), ("witnessed", 1, "is logged, not witnessed")):
                run = subprocess.run(
                    [
                        sys.executable, "-B", program, "evidence", path, "--federation", self.fed.federation.hex(), "--lists",
                        lists(), "--now", "2026-01-02T01:00:00Z", "--require", require,
                    ],
                    capture_output=True, text=True, check=False,
                )
                self.assertEqual(run.returncode, code, run.stderr)
                self.assertIn(said, run.stdout)


class WitnessTests(LevelCase):
    def test_who_counts(self):
        one = OneReply(self.fed)
        for names, level, found in (
            ((), "logged", []),
            (("PT-TEST",), "logged", ["PT-TEST"]),
            (("PT-TEST", "AT-TEST"), "witnessed", ["AT-TEST", "PT-TEST"]),
            (("ES-TEST", "AT-TEST"), "witnessed", ["AT-TEST", "ES-TEST"]),
            (("PT-TEST", "PT-TEST"), "logged", ["PT-TEST"]),
            (("IT-TEST",), "logged", []),
            (("IT-TEST", "PT-TEST"), "logged", ["PT-TEST"]),
            (("FR-TEST", "PT-TEST"), "logged", ["PT-TEST"]),
            (("AT-TEST", "DK-TEST", "ES-TEST", "PT-TEST"), "witnessed", ["AT-TEST", "DK-TEST", "ES-TEST", "PT-TEST"]),
        ):
            self.need(one.file(one.proof(*names)), level, found)

    def test_lines(self):
        """A line that is no cosignature, or of a time that cannot be, counts for nothing and harms nothing."""
        one = OneReply(self.fed)
        proof = one.proof("AT-TEST")
        now = example.NOW // 1000
        for how, counts in (
            ({}, True),
            ({"signer": witness("DK-TEST")}, False),
            ({"signer": example.Signer("PT-TEST log")}, False),
            ({"signed": SEEN + 1}, False),
            ({"seconds": SEEN - 120}, True),
            ({"seconds": SEEN - 121}, False),
            ({"seconds": now + 120}, True),
            ({"seconds": now + 121}, False),
            ({"seconds": 0}, False),
            ({"seconds": 2**63 - 1}, False),
            ({"seconds": 2**63}, False),
            ({"seconds": 2**64 - 1}, False),
        ):
            line = line_of(self.fed, "PT-TEST", proof, **how)
            found = ["AT-TEST", "PT-TEST"] if counts else ["AT-TEST"]
            self.need(one.file(proof + line), "witnessed" if counts else "logged", found)
        bad = line_of(self.fed, "PT-TEST", proof, seconds=1)
        good = line_of(self.fed, "PT-TEST", proof)
        for lines in (bad + good, good + bad, good + good):
            self.need(one.file(proof + lines), "witnessed", ["AT-TEST", "PT-TEST"])
        # That of another checkpoint of the same log.
        foreign = line_of(self.fed, "PT-TEST", one.log.proof(PLACE, 6, detail=False))
        self.need(one.file(proof + foreign), "logged", ["AT-TEST"])

    def test_who_may(self):
        joins = {"valid_from": example.ASKED + 1}
        for changes, found, needed in (
            ({"AT-TEST": {"state": "removed"}}, ["DK-TEST"], 2),
            ({"AT-TEST": {"state": "suspended"}}, ["DK-TEST"], 2),
            ({"AT-TEST": {"roles": BOTH}}, ["DK-TEST"], 2),
            ({"AT-TEST": joins}, ["DK-TEST"], 2),
            ({"AT-TEST": {"valid_from": example.ASKED}}, ["AT-TEST", "DK-TEST"], 2),
            ({"AT-TEST": {"valid_to": example.ASKED}}, ["DK-TEST"], 2),
            ({name: {"roles": BOTH} for name in ("AT-TEST", "ES-TEST", "PT-TEST")}, ["DK-TEST"], 1),
            ({name: {"roles": BOTH} for name in ("AT-TEST", "DK-TEST", "ES-TEST", "PT-TEST")}, [], 0),
            ({name: {"roles": BOTH} for name in MEMBERS}, [], 0),
        ):
            fed = federation(**changes)
            one = OneReply(fed)
            level = "witnessed" if 0 < needed <= len(found) else "logged"
            self.need(one.file(one.proof("AT-TEST", "DK-TEST", "IT-TEST")), level, found, needed, fed)
        self.refused(
            lambda: self.verify(one.file(one.proof("AT-TEST", "DK-TEST")), fed, require="witnessed"), "logged, not"
        )

    def test_suspended_keys(self):
        for name, changes, counts in (
            ("AT-TEST", {}, False),
            ("AT-TEST", {"until": example.NOW}, True),
            ("AT-TEST", {"issued_at": example.NOW + 2 * example.DAY_MS}, True),
            # Nobody stops another's key.
            ("DK-TEST", {}, True),
        ):
            fed = federation()
            fed.suspend(name, "own-key", witness("AT-TEST").key, **changes)
            one = OneReply(fed)
            found = ["AT-TEST", "PT-TEST"] if counts else ["PT-TEST"]
            raw = one.file(one.proof("AT-TEST", "PT-TEST"))
            self.need(raw, "witnessed" if counts else "logged", found, fed=fed)


class BadTests(LevelCase):
    def test_what_is_no_proof_of_the_reply(self):
        for changes, how, what in (
            ({"subject": bytes(32)}, {}, "about something else"),
            ({"subject": subject_of("answer", bytes(32), b"")}, {}, "about something else"),
            ({"time": example.ASKED - ENTRY_WITHIN_MS}, {}, None),
            ({"time": example.ASKED - ENTRY_WITHIN_MS - 1}, {}, "10 minutes"),
            ({"time": example.ASKED + ENTRY_WITHIN_MS}, {}, None),
            ({"time": example.ASKED + ENTRY_WITHIN_MS + 1}, {}, "10 minutes"),
            ({"time": 2**64 - 1}, {}, "10 minutes"),
            ({"seq": PLACE + 1, "prev_size": 0}, {}, "in the place of"),
            ({"prev_size": PLACE}, {}, None),
            ({}, {"detail": True}, "not the entry alone"),
            ({}, {"signer": example.Signer("PT-TEST log")}, "not signed by a log key"),
            ({}, {"signer": example.Signer("IT-TEST sign")}, "not signed by a log key"),
            ({}, {"signer": witness("IT-TEST")}, "not signed by a log key"),
            ({}, {"root": bytes(32)}, "does not lead to the root"),
            ({}, {"path": []}, "too short"),
        ):
            one = OneReply(self.fed)
            one.log.change(PLACE, **changes)
            raw = one.file(one.proof("AT-TEST", "PT-TEST", **how))
            if what:
                self.refused(lambda: self.verify(raw), what, "$.exchanges[0].reply.log")
            else:
                self.verify(raw)

    def test_other_logs(self):
        """The same entry in the log of somebody else proves nothing, whoever signs it."""
        one = OneReply(self.fed)
        for member, signer in (("PT-TEST", "PT-TEST log"), ("PT-TEST", "IT-TEST log"), ("ES-TEST", "ES-TEST log")):
            origin = f"{self.fed.federation.hex()}/{member}/log1"
            proof = one.proof(origin=origin, signer=example.Signer(signer))
            self.refused(lambda: self.verify(one.file(proof)), "a checkpoint of", ".reply.log")
        for origin in (f"{bytes(32).hex()}/IT-TEST/log1", f"{self.fed.federation.hex()}/IT-TEST/log2", "log"):
            self.refused(lambda: self.verify(one.file(one.proof(origin=origin))), "a checkpoint of", ".reply.log")

    def test_other_replies(self):
        """A proof of the refusal beside an answer, and of one answer beside another."""
        answer, refusal = OneReply(self.fed), OneReply(self.fed, "refused")
        later = OneReply(self.fed, issued_at=example.ASKED + 1)
        for one, other in ((answer, refusal), (refusal, answer), (answer, later), (later, answer)):
            self.refused(lambda: self.verify(one.file(other.proof())), "about something else", ".reply.log")

    def test_no_text(self):
        one = OneReply(self.fed)
        for value, what in ((1, "str wanted"), ([], "str wanted"), ({}, "str wanted"), (False, "str wanted"), ("", "not c2sp")):
            self.refused(lambda: self.verify(one.file(value)), what, ".reply.log")

    def test_a_proof_without_a_reply(self):
        exchange = self.fed.request("IT-TEST", QUERY, 1) | {"log": "x"}
        pooled = [{"key": ["2021", "_T"], "values": [
            {"measure": "seizures", "value": None, "from": [], "missing": [["IT-TEST", "unreachable"]]}
        ]}]
        raw = self.fed.file("seizures-year-drug", [exchange], pooled)
        self.refused(lambda: self.verify(raw), "unknown key", "$.exchanges[0].log")

    def test_every_byte(self):
        """What is changed in a proof refuses the file, or takes a cosignature away; the tool says the same of every twentieth."""
        one = OneReply(self.fed)
        good = one.proof("AT-TEST", "PT-TEST")
        raw = good.encode()
        for at in range(len(raw)):
            altered = bytearray(raw)
            altered[at] ^= 1 << at % 7
            try:
                text = altered.decode()
            except UnicodeDecodeError:
                continue
            try:
                log = self.own_log_of(text, one) if at % 20 else self.log_of(one.file(text))
            except Refused:
                continue
            self.assertEqual((log["level"], len(log["witnesses"])), ("logged", 1), f"byte {at}")
        for size in range(len(good)):
            with self.assertRaises(Refused, msg=f"cut at {size}"):
                log = self.own_log_of(good[:size], one)
                if log["level"] == "logged" and good[size - 1] == "\n":
                    raise Refused("", "cut between two lines")

    def own_log_of(self, text, one):
        """The same without the rest of the file, which is not touched."""
        at, now = example.ASKED, example.NOW
        return logged(text, "IT-TEST", one.label, one.head, "answered", at, self.trust, now, "log").shown()

    def test_every_bit_of_the_entry(self):
        one = OneReply(self.fed)
        good = one.log.entries()[PLACE]
        for bit in range(8 * len(good)):
            altered = bytearray(good)
            altered[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(Refused, msg=f"bit {bit}"):
                self.own_log_of(one.proof(extra=bytes(altered)), one)

    def test_spellings(self):
        one = OneReply(self.fed)
        good = one.proof()
        extra = b64encode(one.log.entries()[PLACE]).decode()
        self.assertIn(f"extra {extra}\n", good)
        for old, new in (
            (f"extra {extra}", f"extra {extra}===="), ("index 5", "index 05"), ("index 5", "index +5"),
            ("tlog-proof@v1", "tlog-proof@v2"), ("\n\n", "\n\n\n"), ("\n— ", "\n—  "), ("extra ", "extra  "),
        ):
            self.assertIn(old, good)
            self.refused(lambda: self.verify(one.file(good.replace(old, new, 1))), "", ".reply.log")
        self.assertEqual(len(b64decode(extra)), 123)


class KeyTests(LevelCase):
    """Keys of the log: any that the member ever had."""

    def exchanged(self, follows=True):
        fed = federation()
        before = next(
            one
            for one in fed.documents
            if decode(DOCUMENT, one, "document", 2**20)["label"] == "member-keys" and b"IT-TEST" in one
        )
        log = example.Signer("IT-TEST log 2")
        content = decode(STRUCTURES["member-keys"][0], decode(DOCUMENT, before, "document", 2**20)["payload"], "", 2**20)
        content |= example.heading("member-keys") | {
            "keys_version": 2, "log_keys": [log.key], "prev_hash": example.hash_of(before) if follows else bytes(32),
        }
        fed.documents.append(fed.document("member-keys", content, [*fed.administrators("IT-TEST"), log]))
        return fed

    def test_exchange_of_keys(self):
        old, new = example.Signer("IT-TEST log"), example.Signer("IT-TEST log 2")
        for fed, signer, holds in (
            (self.fed, old, True), (self.fed, new, False), (self.exchanged(), old, True), (self.exchanged(), new, True),
            (self.exchanged(), example.Signer("IT-TEST log 3"), False),
        ):
            one = OneReply(fed)
            raw = one.file(one.proof("AT-TEST", "PT-TEST", signer=signer))
            if holds:
                self.need(raw, "witnessed", ["AT-TEST", "PT-TEST"], fed=fed)
            else:
                self.refused(lambda: self.verify(raw, fed), "not signed by a log key", ".reply.log")

    def test_suspended_log_key(self):
        """It was stopped since: what it has signed is worth what those who cosigned are."""
        fed = federation()
        fed.suspend("IT-TEST", "own-key", example.Signer("IT-TEST log").key)
        one = OneReply(fed)
        self.need(one.file(one.proof()), "logged", [], fed=fed)
        self.need(one.file(one.proof("AT-TEST", "PT-TEST")), "witnessed", ["AT-TEST", "PT-TEST"], fed=fed)


class PromiseTests(LevelCase):
    def test_overdue(self):
        for promised, now, named in (
            (0, PROVABLE + 10 * OVERDUE_MS, False),
            (PROVABLE, PROVABLE, False),
            (PROVABLE, PROVABLE + OVERDUE_MS, False),
            (PROVABLE, PROVABLE + OVERDUE_MS + 1000, True),
        ):
            for outcome in ("answered", "refused"):
                one = OneReply(self.fed, outcome, provable_after=promised)
                result = self.verify(one.file(None), now=now)
                self.assertEqual(result["unproven"], ["IT-TEST"] if named else [])
                self.assertEqual(self.verify(one.file(one.proof()), now=now)["unproven"], [])
        # A word of waiting has no place for a promise.
        self.assertEqual(self.verify(OneReply(self.fed, "held").file(None), now=PROVABLE + 10 * OVERDUE_MS)["unproven"], [])


if __name__ == "__main__":
    unittest.main()
