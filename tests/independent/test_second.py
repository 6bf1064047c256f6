"""Owns the tests: vectors, frames and keys, a real evidence file and its alterations, and an example federation."""

import copy
import json
import os
import tempfile
import unittest
from hashlib import sha256
from pathlib import Path

import test_levels
import test_log
from second import example, testing
from second.catalogue import Catalogue
from second.compare import verdict_of_tool
from second.encoding import KIB, MIB, Refused, decode, encode
from second.evidence import Verifier, milliseconds, verify
from second.documents import RULES, SignedDocument
from second.frames import (
    CLASSES, KINDS, Stream, end_of, frame, read_call, read_reply, read_stream, smallest_class, write_stream,
)
from second.keys import LABELS, NUMBERS, PRIME, key_fault, signed_by, ys_of_low_order
from second.messages import HEAD, MESSAGE_KIND, NUMBER, REASONS, STRUCTURES
from second.rules import LONGEST_STANDING_MS, LONGEST_TOPIC_MS
from second.testing import alterations, catalogue_text, lists
from second.trust import Trust
from second.trust_vectors import TrustVectors
from second.vectors import STRUCTURE_OF, Vectors, public_key
from second.views import fault_under, verify_view

# The order of the base point, RFC 8032, 5.1.
ORDER = 2**252 + 27742317777372353535851937790883648493
PROTOCOL = Path(__file__).parents[2] / "protocol"
VECTORS = PROTOCOL / "tests" / "vectors" / "messages.txt"
TRUST_VECTORS = PROTOCOL / "tests" / "vectors" / "trust.txt"


def setting(name):
    """The value of an environment variable that the tests cannot do without."""
    if name not in os.environ:
        raise AssertionError(f"the environment variable {name} is not set")
    return os.environ[name]


def evidence_bytes():
    return Path(setting("ACCORD_EVIDENCE")).read_bytes()


def evidence():
    return json.loads(evidence_bytes())


def given_federation():
    return bytes.fromhex(setting("ACCORD_FEDERATION"))


class Case(testing.Case):
    def verdict(self, raw, federation, now):
        """What the verifier says of a file, having made sure that the tool says the same where ACCORD_TOOL names it."""
        fault = None
        try:
            result = verify(raw, federation, lists(), now)
        except Refused as refused:
            fault = refused
        if "ACCORD_TOOL" in os.environ:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "evidence.json"
                path.write_bytes(raw)
                told, why = verdict_of_tool(os.environ["ACCORD_TOOL"], path, federation, now)
            self.assertEqual(fault is None, told, f"here: {fault}; the tool: {why}")
        if fault:
            raise fault
        return result


class VectorTests(Case):
    def test_every_vector(self):
        vectors = Vectors(VECTORS.read_text(encoding="ascii"))
        self.assertGreater(len(vectors.values), 0)
        self.assertEqual(vectors.check(), [])

    def test_a_changed_vector_differs(self):
        for name in ("federation-id", "root.sign-input-sha256", "public-key-of-seed-1", "signed-bytes"):
            vectors = Vectors(VECTORS.read_text(encoding="ascii"))
            value = vectors.values[name]
            vectors.values[name] = ("1" if value[0] == "0" else "0") + value[1:]
            self.assertIn(name, [one for one, _ in vectors.check()])

    def test_truncated_and_extended_messages(self):
        for name, value in Vectors(VECTORS.read_text(encoding="ascii")).values.items():
            kind = STRUCTURE_OF.get(name, name)
            if kind not in STRUCTURES:
                continue
            structure, cap = STRUCTURES[kind]
            raw = bytes.fromhex(value)
            for size in range(len(raw)):
                self.refused(lambda: decode(structure, raw[:size], kind, cap), "bytes wanted")
            self.refused(lambda: decode(structure, raw + b"\0", kind, cap), "" if len(raw) == cap else "too many")

    def test_numbers_of_a_cell(self):
        for raw, what in (
            ("00" + "00" * 8, "unknown state"),
            ("02" + "00" * 7 + "01", "beside state"),
            ("01" + "ff" * 8, "out of range"),
            ("01" + "0020" + "00" * 6, "out of range"),
        ):
            self.refused(lambda: decode(NUMBER, bytes.fromhex(raw), "cell", 9), what)


class TrustVectorTests(Case):
    def test_every_set(self):
        vectors = TrustVectors(TRUST_VECTORS.read_text(encoding="ascii"))
        self.assertGreater(len(vectors.cases), 100)
        self.assertEqual(vectors.check(), [])

    def test_a_changed_verdict_differs(self):
        """Each line of a verdict, once in a case that has it."""
        seen = set()
        for name, lines in TrustVectors(TRUST_VECTORS.read_text(encoding="ascii")).cases.items():
            for index, line in enumerate(lines[2:], start=2):
                word = line.split()[0]
                if word in seen or word == "at":
                    continue
                seen.add(word)
                vectors = TrustVectors(TRUST_VECTORS.read_text(encoding="ascii"))
                del vectors.cases[name][index]
                vectors.cases = {name: vectors.cases[name]}
                self.assertEqual([one for one, _ in vectors.check()], [name, f"{name} turned round"])
        self.assertEqual(
            seen, set("refused root roster keys officers remark exchange active greeted vouched".split())
        )

    def test_signatures_count(self):
        """Without the signatures of any one document no case that rests on it comes to the same."""
        text = TRUST_VECTORS.read_text(encoding="ascii")
        for name in "root roster catalogue keys-it root-2 roster-2 keys-it-2 accept-cut list-1".split():
            vectors = TrustVectors(text)
            document = decode(STRUCTURES["document"][0], vectors.documents[name], "document", MIB)
            document["signatures"] = document["signatures"][:1]
            vectors.documents[name] = encode(STRUCTURES["document"][0], document)
            differ = {one.removesuffix(" turned round") for one, _ in vectors.check()}
            if name == "accept-cut":
                # One administrator is enough.
                self.assertEqual(differ, set())
            else:
                self.assertGreater(len(differ), 1, name)


class StatementTests(Case):
    """Views, statements about requests that wait, and verdicts: every rule once, from the vectors."""

    @classmethod
    def setUpClass(cls):
        cls.vectors = Vectors(VECTORS.read_text(encoding="ascii"))
        cls.fed = example.Federation(lists(), [catalogue_text()])
        (cls.catalogue,) = cls.fed.catalogues

    def value(self, name):
        kind = STRUCTURE_OF.get(name, name)
        structure, cap = STRUCTURES[kind]
        return decode(structure, bytes.fromhex(self.vectors.values[name]), kind, cap)

    def fault(self, kind, value):
        """Why a value is refused by its encoding or by the rules of its structure."""
        structure, cap = STRUCTURES[kind]
        try:
            return RULES[kind](decode(structure, encode(structure, value), kind, cap)) or ""
        except Refused as refused:
            return refused.what

    def each(self, name, *cases):
        """The vector with some fields changed, and what is said of it; nothing where it is fine."""
        for changes, what in cases:
            fault = self.fault(STRUCTURE_OF.get(name, name), self.value(name) | changes)
            self.assertEqual(what == "", fault == "", f"{changes}: {fault}")
            self.assertIn(what, fault)

    def test_vectors_are_of_one_request(self):
        """A vector with another body hash or request id is told; a signature and a hash with it."""
        for name in ("answer", "refusal", "rejection", "status", "receipt", "recall", "approval", "collect"):
            for field in ("body_hash", "request_id"):
                vectors = Vectors(VECTORS.read_text(encoding="ascii"))
                body = bytes.fromhex(vectors.values["request-body"])
                found = {"body_hash": sha256(body).digest(), "request_id": body[4:20]}[field].hex()
                if found in vectors.values[name]:
                    vectors.values[name] = vectors.values[name].replace(found, "00" * (len(found) // 2), 1)
                    differ = dict(vectors.check())
                    self.assertIn(field, differ[name])
                    if name != "collect":
                        self.assertIn(f"{name}.sign-input-sha256", differ)

    def test_labels(self):
        """A recall is signed under the label of withdrawals, and each has a number of its own."""
        self.assertEqual(set(NUMBERS) - set(LABELS), {"recall"})
        for name in ("recall", "withdraw"):
            for other in {"recall", "withdraw"} - {name}:
                raw = bytes.fromhex(self.vectors.values[name])
                structure, cap = STRUCTURES[other]
                self.refused(lambda: decode(structure, raw, other, cap), f"{NUMBERS[name]} instead of {NUMBERS[other]}")
        raw = bytes.fromhex(self.vectors.values["recall"])
        name = next(name for name in self.vectors.values if name.startswith("recall.signature-by-"))
        key, signature = bytes.fromhex(name.rpartition("-")[2]), bytes.fromhex(self.vectors.values[name])
        federation = bytes.fromhex(self.vectors.values["federation-id"])
        for label in LABELS:
            self.assertEqual(signed_by(key, signature, label, federation, raw), label == "withdraw")

    def test_reasons_of_a_rejection(self):
        raw = bytes.fromhex(self.vectors.values["rejection"])
        structure, cap = STRUCTURES["answer"]
        at = raw.index(b"\2\3\x09") + 1
        said = {}
        for number in range(2**16):
            if number & 0xFF <= 12 and number >> 8 <= 9:
                head = raw[:at] + number.to_bytes(2, "big") + raw[at + 2 :]
                try:
                    code = decode(structure, head, "answer", cap)["code"]
                except Refused as refused:
                    self.assertIn(f"unknown code {number}", refused.what)
                else:
                    said[number] = code
        self.assertEqual(set(said), {*range(9), 10, 11, *(reason << 8 | 9 for reason in range(1, 9))})
        self.assertEqual(said[0x0309], "E_REJECTED scope")
        self.assertEqual([said[reason << 8 | 9].split()[1] for reason in REASONS], list(REASONS.values()))

    def test_heads(self):
        self.each(
            "rejection", ({}, ""), ({"code": None}, "without a code"), ({"edition": 1}, "names an edition"),
            ({"slice_len": 1}, "with a slice"), ({"decision": "answered"}, "an answer with the code E_REJECTED scope"),
        )
        self.each("answer", ({}, ""), ({"code": "E_BUSY"}, "an answer with the code"), ({"decision": "refused"}, "without a"))

    def test_status(self):
        self.each(
            "status", ({}, ""), ({"state_seq": 0}, "starts at 1"), ({"state_seq": 2**32 - 1}, ""), ({"state": "expired"}, ""),
        )
        raw = bytes.fromhex(self.vectors.values["status"])
        structure, cap = STRUCTURES["status"]
        for number in (0, 5, 255):
            changed = raw[:52] + bytes([number]) + raw[53:]
            self.refused(lambda: decode(structure, changed, "status", cap), f"unknown code {number}")
        self.assertEqual([decode(structure, raw[:52] + bytes([n]) + raw[53:], "status", cap)["state"] for n in range(1, 5)],
                         ["received", "held", "withdrawn", "expired"])

    def test_collect_list(self):
        (one,) = self.value("collect-list")
        first, last = one | {"body_hash": bytes(32)}, one | {"body_hash": b"\xff" * 32}
        for listed, what in (
            ([], ""), ([first, one, last], ""), ([one, first], "not strictly ascending"),
            ([one, one], "not strictly ascending"), ([one, one | {"state_seq": 9}], "not strictly ascending"),
            ([one | {"state_seq": 0}], "starts at 1"),
        ):
            self.assertIn(what, self.fault("collect-list", listed))
            self.assertEqual(what == "", self.fault("collect-list", listed) == "")
        many = [one | {"body_hash": number.to_bytes(32, "big")} for number in range(1025)]
        self.assertEqual(self.fault("collect-list", many[:1024]), "")
        self.assertIn("1025 items", self.fault("collect-list", many))

    def test_approval(self):
        no = {"verdict": "reject", "reason": "quality", "slice_hash": bytes(32), "edition": 0, "policy_hash": bytes(32)}
        named = self.value("approval")
        self.each(
            "approval",
            ({}, ""),
            ({"edition": 0}, "a yes without an edition"),
            ({"policy_hash": bytes(32)}, "a yes without a policy"),
            ({"reason": "scope"}, "a yes with a reason"),
            (no, ""),
            (no | {"reason": None}, "a no without a reason"),
            (no | {"slice_hash": named["slice_hash"]}, "a no that names"),
            (no | {"edition": 1}, "a no that names"),
            (no | {"policy_hash": named["policy_hash"]}, "a no that names"),
        )
        raw = bytes.fromhex(self.vectors.values["approval"])
        structure, cap = STRUCTURES["approval"]
        at = raw.index(b"\1\0" + named["slice_hash"])
        for verdict, reason in ((0, 0), (3, 0), (2, 9)):
            changed = raw[:at] + bytes([verdict, reason]) + raw[at + 2 :]
            self.refused(lambda: decode(structure, changed, "approval", cap), "unknown code")

    def test_topic(self):
        start = self.value("topic")["valid_from"]
        title = "not one line of visible"
        self.each(
            "topic",
            ({}, ""),
            ({"audience": "ES-AGENCY"}, "of a member for itself"),
            ({"title": ""}, "0 characters"),
            ({"title": " port"}, "blanks around"),
            ({"title": "port\u00a0"}, "blanks around"),
            ({"title": "port\u115fof call"}, title),
            ({"title": "port\u0600of call"}, ""),
            ({"title": "ab"}, "2 characters"),
            ({"title": "abc"}, ""),
            ({"title": "\u00ed" * 200}, ""),
            ({"title": "\U0001f6a2" * 200}, ""),
            ({"title": "a" * 201}, "201 characters"),
            ({"title": "\u00ed" * 401}, "802 bytes"),
            ({"title": "port\nof call"}, title),
            ({"title": "port\tof call"}, title),
            ({"title": "port\0of call"}, title),
            ({"title": "port\x7fof call"}, title),
            ({"title": "port\u0085of call"}, title),
            ({"title": "port\u2028of call"}, title),
            ({"title": "port\u2029of call"}, title),
            ({"title": "port\u202eof call"}, title),
            ({"title": "port\u200bof call"}, title),
            ({"title": "\ufeffport"}, title),
            ({"purposes": []}, "for no purpose"),
            ({"purposes": ["strategic-analysis", "test"]}, ""),
            ({"purposes": ["test", "strategic-analysis"]}, "not strictly ascending"),
            ({"purposes": ["test", "test"]}, "not strictly ascending"),
            ({"valid_to": start}, "valid for no time"),
            ({"valid_to": start - 1}, "valid for no time"),
            ({"valid_to": start + 1}, ""),
            ({"valid_to": start + LONGEST_TOPIC_MS}, ""),
            ({"valid_to": start + LONGEST_TOPIC_MS + 1}, "more than 400 days"),
        )
        raw = bytes.fromhex(self.vectors.values["topic"])
        structure, cap = STRUCTURES["topic"]
        cut = raw.replace("\u00ed".encode(), b"\xc3i", 1)
        self.refused(lambda: decode(structure, cut, "topic", cap), "not UTF-8")
        for number in (0, 6):
            changed = raw.replace(b"\0\1\0\2\0\0\1", bytes([0, number]) + b"\0\2\0\0\1")
            self.assertNotEqual(changed, raw)
            self.refused(lambda: decode(structure, changed, "topic", cap), f"unknown code {number}")
        self.refused(lambda: decode(structure, raw + bytes(cap), "topic", cap), "at most 1024")

    def test_vectors_stand_under_their_topic(self):
        """A topic that the body does not name or that too few have signed, and one beside a body that names none."""
        structure, _ = STRUCTURES["request"]
        for name, change, what in (
            ("request-under-topic", lambda topic: b"", "is missing"),
            ("request-under-topic", lambda topic: topic.replace(b"contenedores", b"contenedorez"), "not the topic that"),
            ("request-under-topic", lambda topic: self.with_signatures(topic, 1), "signed by 1 of the"),
            ("request", lambda topic: self.value("request-under-topic")["topic"], "that names none"),
        ):
            vectors = Vectors(VECTORS.read_text(encoding="ascii"))
            request = self.value(name)
            vectors.values[name] = encode(structure, request | {"topic": change(request["topic"])}).hex()
            self.assertIn(what, dict(vectors.check())[name])

    @staticmethod
    def with_signatures(raw, count):
        document = decode(STRUCTURES["document"][0], raw, "document", MIB)
        document["signatures"] = document["signatures"][:count]
        return encode(STRUCTURES["document"][0], document)

    def test_suspend(self):
        """What may be named, and for how long: each target once."""
        own, issued, day = "ES-AGENCY", example.ISSUED, example.DAY_MS
        key, digest, low_order = example.Signer("somebody").key.hex(), "5a" * 32, "00" * 32
        word = example.heading("suspend") | {
            "federation": bytes(32), "node_id": own, "reason": "lost", "issued_at": issued, "until": issued + day,
        }
        for target, fine, wrong in (
            ("officer", (digest, low_order), ("", own, digest[1:], digest.upper())),
            ("partner", ("IT-AGENCY",), ("", "it-agency", digest)),
            ("table", ("seizures", digest), ("",)),
            ("own-key", (key,), ("", key.upper(), key[1:], low_order)),
            ("own-node", (own,), ("", "IT-AGENCY", digest)),
            ("own-topic", (digest, low_order), ("", own, digest[1:], digest.upper(), "5g" * 32)),
        ):
            about = word | {"target": target, "subject": fine[0], "way": "stops"}
            no_subject, days = f"no subject of the kind {target}", 400 if target == "own-topic" else 30
            for changes, what in (
                *[({"subject": subject}, "") for subject in fine],
                *[({"subject": subject}, no_subject) for subject in wrong],
                ({"way": "lifts"}, no_subject if target == "own-topic" else ""),
                ({"until": issued + days * day}, ""),
                ({"until": issued + days * day + 1}, f"more than {days} days"),
                ({"until": issued}, "expires before"),
            ):
                fault = self.fault("suspend", about | changes)
                self.assertEqual(what == "", fault == "", f"{target} {changes}: {fault}")
                self.assertIn(what, fault)
        clock = word | {"target": "own-clock", "subject": own}
        self.assertEqual(self.fault("suspend", clock | {"way": "lifts"}), "")
        self.assertIn("no subject of the kind own-clock", self.fault("suspend", clock | {"way": "stops"}))

    def test_standing(self):
        start = self.value("standing")["from"]
        self.each(
            "standing",
            ({}, ""),
            ({"until": start}, ""),
            ({"until": start - 1}, "ends before it begins"),
            ({"until": start + LONGEST_STANDING_MS}, ""),
            ({"until": start + LONGEST_STANDING_MS + 1}, "more than 400 days"),
        )

    def view(self, **row):
        """The view of the vectors with one row changed."""
        view = copy.deepcopy(self.value("view"))
        view["tables"][0]["rows"][0] |= row
        return view

    def test_view(self):
        view = self.value("view")
        (table,), (edition,), (row,) = view["tables"], view["edition"], view["coverage"]
        second = table | {"table_id": 2}
        self.each(
            "view",
            ({}, ""),
            ({"tables": [table, second]}, ""),
            ({"tables": [second, table]}, "not strictly ascending"),
            ({"tables": [table, table]}, "not strictly ascending"),
            ({"audience": view["provider"]}, "of a member for itself"),
            ({"edition": [edition, edition]}, "2 items, at most 1"),
            ({"edition": [edition | {"number": 0}]}, "editions start at 1"),
            ({"edition": []}, ""),
            ({"tables": []}, "where no table is shown"),
            ({"tables": [], "edition": []}, ""),
            ({"ages": [12, 0, 24]}, "not strictly ascending"),
            ({"ages": [0, 12]}, "3 ways at 2 ages"),
            ({"ages": list(range(33))}, "33 items"),
            ({"coverage": [row, row]}, "not strictly ascending"),
            ({"coverage": [row | {"from": row["to"] + 1}]}, "coverage from month"),
            ({"contact": "a" * 201}, "201 characters"),
            ({"contact": "\x7f"}, "printable"),
            (self.view(ways=["no", "no"]), "2 ways at 3 ages"),
            (self.view(ways=["two-approvals"] * 3), ""),
            (self.view(levels=[0, 4, 1]), "not strictly ascending"),
            (self.view(levels=[0, 0]), "not strictly ascending"),
        )

    def test_codes_of_a_view(self):
        """A way above 3, a purpose above 5, a word about zeros not 0 or 1, one about topics not 1 to 3."""
        raw = bytes.fromhex(self.vectors.values["view"])
        structure, cap = STRUCTURES["view"]
        ways = (3).to_bytes(8, "big") + b"\0\2\1"
        zeros = bytes([0, 0, 0, 75, 0])
        purpose = (1).to_bytes(8, "big") + b"\0\1\3" + ways
        said = []
        for number in range(256):
            changed = raw.replace(purpose, purpose[:10] + bytes([number]) + ways)
            try:
                (table,) = decode(structure, changed, "view", cap)["tables"]
            except Refused as refused:
                self.assertIn(f"unknown code {number}", refused.what)
            else:
                said.append((number, table["rows"][0]["under"]))
        self.assertEqual(said, [(1, "either"), (2, "without"), (3, "with")])
        for found, put, fine in (
            (ways, ways[:-1] + b"\3", True), (ways, ways[:-1] + b"\4", False), (zeros, zeros[:-1] + b"\1", True),
            (zeros, zeros[:-1] + b"\2", False), (purpose, purpose[:9] + b"\5" + purpose[10:], True),
            (purpose, purpose[:9] + b"\6" + purpose[10:], False),
        ):
            self.assertEqual(raw.count(found), 1)
            changed = raw.replace(found, put)
            if fine:
                self.assertNotEqual(decode(structure, changed, "view", cap), self.value("view"))
            else:
                self.refused(lambda: decode(structure, changed, "view", cap), "unknown code")

    def test_view_under_its_catalogue(self):
        """Level sets are those of the tables, and footnotes stand at what is shown."""
        def of(**note):
            view = self.view()
            view["footnotes"][0] |= note
            return view

        count = len(self.catalogue.table(id=1).level_sets)
        for view, what in (
            (self.view(), None),
            (self.view(levels=[1, count - 1]), None),
            (self.view(levels=[1, count]), f"level set {count}"),
            (self.view(levels=[0, 4]), "which are not shown"),
            (self.view() | {"tables": []}, "which are not shown"),
            (of(table_id=2), "which are not shown"),
            (of(levels=[0]), "which are not shown"),
            (of(codes=[201200]), "no cell"),
            (of(codes=[201201, 1]), "no cell"),
            (of(codes=[99, 1]), "no cell"),
            (of(codes=[201200, 0]), "no cell"),
        ):
            fault = fault_under(view, self.catalogue)
            self.assertEqual(fault is None, what is None, fault)
            self.assertIn(what or "", fault or "")
        for changes in ({"table_id": 999}, {"table_version": 2}):
            view = self.view()
            view["tables"][0] |= changes
            self.assertIn("no table", fault_under(view, self.catalogue))

    def test_views_are_believed(self):
        """Signed by a signing key of the provider that is left, for this member, under a catalogue that is known."""
        for changes, by, member, documents, what in (
            ({}, "PT-TEST sign", "ES-TEST", {}, None),
            ({}, "PT-TEST sign next", "ES-TEST", {}, None),
            ({}, "PT-TEST tls", "ES-TEST", {}, "not signed by a signing key"),
            ({}, "IT-TEST sign", "ES-TEST", {}, "not signed by a signing key"),
            ({}, "PT-TEST sign", "IT-TEST", {}, "a view for ES-TEST"),
            ({"provider": "ES-TEST"}, "ES-TEST sign", "ES-TEST", {}, "of a member for itself"),
            ({"provider": "FR-TEST"}, "FR-TEST sign", "ES-TEST", {}, "does not stand on the roster"),
            ({"catalogue_hash": bytes(32)}, "PT-TEST sign", "ES-TEST", {}, "is missing"),
            ({"tables": []}, "PT-TEST sign", "ES-TEST", {}, "where no table is shown"),
            ({"ages": [0]}, "PT-TEST sign", "ES-TEST", {}, "3 ways at 1 ages"),
            ({}, "PT-TEST sign", "ES-TEST", {"PT-TEST": {"state": "suspended"}}, "is suspended"),
        ):
            fed = example.Federation(lists(), [catalogue_text()], **documents)
            view = self.view() | {
                "provider": "PT-TEST", "audience": "ES-TEST", "catalogue_hash": fed.catalogue_hashes[0]
            } | changes
            raw = fed.document("view", view, [example.Signer(by)])
            trust = Trust(fed.documents, fed.federation, "documents")
            if what:
                self.refused(lambda: verify_view(raw, trust, lists(), member, example.NOW), what, "view")
            else:
                self.assertEqual(verify_view(raw, trust, lists(), member, example.NOW), view)
        view["footnotes"] = view["footnotes"] * 2
        view["footnotes"][1] = view["footnotes"][1] | {"table_id": 2}
        raw = fed.document("view", view, [example.Signer("PT-TEST sign")])
        trust = Trust(self.fed.documents, self.fed.federation, "documents")
        self.refused(lambda: verify_view(raw, trust, lists(), "ES-TEST", example.NOW), "which are not shown", "view")

    def test_documents_of_views_and_verdicts(self):
        """As documents they keep the same rules, and a key counts over the label of the document alone."""
        signer, federation = example.Signer("somebody"), bytes(32)
        bad = {"view": {"ages": [0]}, "approval": {"edition": 0}, "standing": {"until": 0}}
        for label, changes in bad.items():
            for content, fine in ((self.value(label), True), (self.value(label) | changes, False)):
                payload = encode(STRUCTURES[label][0], content)
                signature = {"key": signer.key, "signature": signer.sign(label, federation, payload)}
                raw = encode(
                    STRUCTURES["document"][0], {"label": label, "payload": payload, "signatures": [signature]}
                )
                document = SignedDocument(raw, federation, "document", label)
                self.assertEqual(document.signers, {signer.key})
                self.assertEqual(document.reads, fine)


class KeyTests(Case):
    def test_keys_of_seeds(self):
        for seed in range(1, 11):
            self.assertIsNone(key_fault(public_key(seed)))

    def test_low_order(self):
        """The 14 encodings: five y with both signs, and p and p + 1 for 0 and 1."""
        encodings = [point(y, odd) for y in [*ys_of_low_order(), PRIME, PRIME + 1] for odd in (0, 1)]
        self.assertEqual(len(set(encodings)), 14)
        self.assertEqual({key_fault(key) for key in encodings}, {"a point of low order"})

    def test_y_below_p(self):
        for y in range(PRIME + 2, 2**255):
            for odd in (0, 1):
                self.assertEqual(key_fault(point(y, odd)), "y is not below p")

    def test_off_the_curve(self):
        """No x belongs to y = 2: it decodes as a key, and no signature by it verifies."""
        key = point(2, 0)
        self.assertIsNone(key_fault(key))
        self.assertFalse(signed_by(key, bytes(64), "roster", bytes(32), b""))

    def test_signatures_that_are_not_canonical(self):
        signer = example.Signer("somebody")
        good = signer.sign("roster", bytes(32), b"payload")
        scalar = int.from_bytes(good[32:], "little") + ORDER
        bad = good[:32] + scalar.to_bytes(32, "little")
        self.assertTrue(signed_by(signer.key, good, "roster", bytes(32), b"payload"))
        self.assertFalse(signed_by(signer.key, bad, "roster", bytes(32), b"payload"))
        self.assertFalse(signed_by(signer.key, good, "answer", bytes(32), b"payload"))
        self.assertFalse(signed_by(signer.key, good, "roster", bytes([1]) * 32, b"payload"))


def point(y, odd):
    return (y | odd << 255).to_bytes(32, "little")


class FrameTests(Case):
    head = encode(HEAD, {"protocol": 1, "kind": "request", "payload": b"payload"})

    def test_reply_padded_to_a_class(self):
        for size in (16 * 1024, 64 * 1024, 256 * 1024):
            data = write_stream(Stream(self.head, b"slice", ["wait"]), size)
            self.assertEqual(len(data), size)
            self.assertEqual(read_reply(data, "request"), (b"payload", b"slice", ["wait"]))

    def test_every_padding(self):
        plain = len(write_stream(Stream(self.head, None, [])))
        for size in range(plain, plain + 80):
            if plain < size < plain + 5:
                self.assertRaises(ValueError, write_stream, Stream(self.head, None, []), size)
            else:
                data = write_stream(Stream(self.head, None, []), size)
                self.assertEqual((len(data), read_call(data, "members")), (size, ("request", b"payload", None)))
        for size in range(2 * 65_541 - 6, 2 * 65_541 + 6):
            self.assertEqual(len(write_stream(Stream(b"h", None, []), 6 + size)), 6 + size)

    def test_large_body(self):
        body = bytes(200_000)
        data = write_stream(Stream(b"h", body, []))
        self.assertEqual(read_stream(data, False, 1, 200_000, 0).body, body)
        self.refused(lambda: read_stream(data, False, 1, 199_999, 0), "more than 199999")

    def test_order(self):
        head, body, end = frame(1, b"h"), frame(2, b"b"), frame(4, end_of(b"b"))
        pad, progress = frame(5, bytes(3)), frame(3, b"p")
        for data, what in (
            (head + head, "second head"),
            (body + head, "before the head"),
            (end + head, "before the head"),
            (pad + head, "before the head"),
            (frame(1, b""), "a head of 0"),
            (frame(1, bytes(101)), "a head of 101"),
            (head + body + pad, "before the end"),
            (head + body, "FIN before the end"),
            (head + end, "does not fit"),
            (head + body + body + end, "does not fit"),
            (head + body + end + end, "after the end"),
            (head + body + end + body, "after the end"),
            (head + body + end + progress, "after the end"),
            (head + body + end + pad + progress, "after a pad"),
            (head + body + end + frame(5, b"\1"), "not zeros"),
            (head + frame(6, b""), "unknown kind"),
            (head + frame(3, b"\xff") + body + end, "not UTF-8"),
            (head + body + end + b"\0", "header of a frame"),
            (head + body + end + pad[:-1], "FIN after"),
            (b"\0\1\0\1\1", "at most 65536"),
            (b"", "FIN before the head"),
            (progress, "FIN before the head"),
        ):
            self.refused(lambda: read_stream(data, True, 100, 100, 100), what)
        good = progress + head + progress + body + progress + end + pad + pad
        self.assertEqual(read_stream(good, True, 100, 100, 34), Stream(b"h", b"b", ["p"] * 3))
        self.refused(lambda: read_stream(good, False, 100, 100, 100), "that the server has not sent")
        self.refused(lambda: read_stream(head + end, True, 100, None, 100), "where there is no body")

    def test_spare_bytes(self):
        """Pads, progress and empty bodies count with their headers; bodies, head and end do not."""
        head, body, end = frame(1, b"h"), frame(2, b"body"), frame(4, end_of(b"body"))
        for spare in (frame(5, bytes(15)), frame(5, b"") * 4, frame(5, bytes(5)) + frame(5, bytes(5))):
            data = head + body + end + spare
            self.assertEqual(read_stream(data, True, 9, 9, 20).body, b"body")
            self.refused(lambda: read_stream(data, True, 9, 9, 19), "more than 19 bytes of pads")
        for spare in (frame(2, b"") * 4, frame(3, b"a" * 15), frame(3, b"") + frame(2, b"") * 3):
            data = head + spare + body + end
            self.assertEqual(read_stream(data, True, 9, 9, 20).body, b"body")
            self.refused(lambda: read_stream(data, True, 9, 9, 19), "more than 19 bytes of pads")
        for kind, spare in (("request", 256 * KIB), ("fetch", 64 * KIB), ("notice", 64 * KIB)):
            call = encode(HEAD, {"protocol": 1, "kind": kind, "payload": b""})
            plain = len(write_stream(Stream(call, None, [])))
            data = write_stream(Stream(call, None, []), plain + spare)
            self.assertEqual(read_call(data, "members")[0], kind)
            data = write_stream(Stream(call, None, []), plain + spare + 5)
            self.refused(lambda: read_call(data, "members"), f"more than {spare} bytes of pads")

    def test_class_of_a_reply(self):
        for asked, size, body in ((0, 16, b"s"), (1, 64, b"s"), (1, 64, b""), (1, 16, b""), (4, 4096, b"s")):
            data = write_stream(Stream(self.head, body, []), size * KIB)
            self.assertEqual(read_reply(data, "request", asked)[1], body)
        for asked, size, body in ((1, 16, b"s"), (0, 64, b"s"), (1, 256, b"s"), (0, 15, b""), (2, 64, b"")):
            data = write_stream(Stream(self.head, body, []), size * KIB)
            self.refused(lambda: read_reply(data, "request", asked), "")

    def test_replies_of_one_size(self):
        """A collect of one has the class of its request, the list always one size, a view its own class."""
        def reply(kind, body, size):
            head = encode(HEAD, {"protocol": 1, "kind": kind, "payload": b"payload"})
            return write_stream(Stream(head, body, []), size)

        for asked, size, body in ((1, CLASSES[1], b"s"), (1, CLASSES[0], b""), (4, CLASSES[4], b"s")):
            self.assertEqual(read_reply(reply("collect", body, size), "collect", asked)[1], body)
        for asked, size, body in ((1, CLASSES[0], b"s"), (1, CLASSES[2], b""), (0, 65_536, b"")):
            self.refused(lambda: read_reply(reply("collect", body, size), "collect", asked), "")
        self.assertEqual(read_reply(reply("collect", b"", 65_536), "collect")[1], b"")
        for size in (65_535, 65_541, CLASSES[0], CLASSES[2]):
            self.refused(lambda: read_reply(reply("collect", b"", size), "collect"), "a collect has 65536")
        for length, size in ((0, 0), (8192, 0), (8193, 1), (57_344, 1), (57_345, 2)):
            self.assertEqual(smallest_class(length), CLASSES[size])
            self.assertEqual(read_reply(reply("view", bytes(length), CLASSES[size]), "view")[1], bytes(length))
            self.refused(lambda: read_reply(reply("view", bytes(length), CLASSES[size + 1]), "view"), "a view has")
        for kind in ("receipt", "nudge", "recall", "greet"):
            self.assertEqual(read_reply(reply(kind, None, None), kind), (b"payload", None, []))
            self.refused(lambda: read_reply(reply(kind, b"", None), kind), "where there is no body")

    def test_every_kind(self):
        """Each kind of message that decodes has limits, and opens on one socket."""
        self.assertEqual(set(KINDS), set(MESSAGE_KIND.numbers))
        for kind, limits in KINDS.items():
            head = encode(HEAD, {"protocol": 1, "kind": kind, "payload": b""})
            data = write_stream(Stream(head, None if limits.body_up is None else b"", []))
            for socket in ("members", "people"):
                if socket == limits.socket:
                    self.assertEqual(read_call(data, socket)[0], kind)
                else:
                    self.refused(lambda: read_call(data, socket), "may not be opened")

    def test_sockets_and_kinds(self):
        data = write_stream(Stream(self.head, None, []))
        self.refused(lambda: read_call(data, "people"), "may not be opened")
        reply = write_stream(Stream(self.head, b"", []))
        self.refused(lambda: read_reply(reply, "ask"), "a reply of kind request")


class EvidenceTests(Case):
    @classmethod
    def setUpClass(cls):
        cls.file = evidence()
        cls.federation = given_federation()
        cls.now = milliseconds(cls.file["collected_at"], "collected_at") + 1000
        documents = [bytes.fromhex(one) for one in cls.file["documents"]]
        cls.trust = Trust(documents, cls.federation, "documents")
        catalogue = Catalogue(cls.trust.catalogues[cls.trust.roster["catalogue_hash"]], lists(), "catalogue")
        cls.verifier = Verifier(cls.trust, catalogue.table(name=cls.file["table"]), cls.now)
        cls.answered = [
            index
            for index, one in enumerate(cls.file["exchanges"])
            if one["reply"] and cls.verifier.exchange(copy.deepcopy(one), "exchange").outcome == "answered"
        ]

    def verify(self, file, federation=None):
        raw = file if isinstance(file, bytes) else json.dumps(file).encode()
        return self.verdict(raw, federation or self.federation, self.now)

    def changed(self):
        return copy.deepcopy(self.file)

    def test_verifies(self):
        result = self.verify(evidence_bytes())
        self.assertEqual(result["pooled"], self.file["pooled"])
        self.assertEqual(len(result["exchanges"]), len(self.file["exchanges"]))

    def test_every_bit_and_every_truncation_of_an_exchange(self):
        exchange = copy.deepcopy(self.file["exchanges"][self.answered[0]])
        self.assertEqual(self.verifier.exchange(exchange, "exchange").outcome, "answered")
        reply = exchange["reply"]
        for place, name in (
            (reply, "head"), (reply, "signature"), (reply, "slice"), (reply, "edition"), (exchange, "body"),
            (exchange, "officer_signature"), (exchange, "officer_card"),
        ):
            good = bytes.fromhex(place[name])
            for altered in alterations(good):
                place[name] = altered.hex()
                with self.assertRaises(Refused, msg=f"{name} {place[name]}"):
                    self.verifier.exchange(exchange, "exchange")
            place[name] = good.hex()
        self.assertEqual(self.verifier.exchange(exchange, "exchange").outcome, "answered")

    def test_refused_exchanges_are_signed_too(self):
        for index, one in enumerate(self.file["exchanges"]):
            if not one["reply"] or index in self.answered:
                continue
            exchange = copy.deepcopy(one)
            for altered in alterations(bytes.fromhex(one["reply"]["head"])):
                exchange["reply"]["head"] = altered.hex()
                self.refused(lambda: self.verifier.exchange(exchange, "exchange"), "no signature", "reply.signature")

    def test_swapped_slice(self):
        file = self.changed()
        one, other = (file["exchanges"][index]["reply"] for index in self.answered[:2])
        self.assertNotEqual(one["slice"], other["slice"])
        one["slice"], other["slice"] = other["slice"], one["slice"]
        where = f"$.exchanges[{self.answered[0]}].reply.slice"
        self.refused(lambda: self.verify(file), "whose hash the head holds", where)

    def test_swapped_reply_and_edition(self):
        file = self.changed()
        one, other = (file["exchanges"][index] for index in self.answered[:2])
        one["reply"], other["reply"] = other["reply"], one["reply"]
        self.refused(lambda: self.verify(file), "no signature of the head", "reply.signature")
        file = self.changed()
        one, other = (file["exchanges"][index]["reply"] for index in self.answered[:2])
        one["edition"], other["edition"] = other["edition"], one["edition"]
        self.refused(lambda: self.verify(file), "not signed by a signing key", "reply.edition")

    def test_every_pooled_number(self):
        for number, row in enumerate(self.file["pooled"]):
            for index, value in enumerate(row["values"]):
                file = self.changed()
                file["pooled"][number]["values"][index]["value"] = (value["value"] or 0) + 1
                self.refused(lambda: self.verify(file), "computed", f"$.pooled[{number}].values[{index}].value")

    def test_pooled_rows(self):
        file = self.changed()
        file["pooled"].pop()
        self.refused(lambda: self.verify(file), "items in the file", "$.pooled")
        file = self.changed()
        file["pooled"][0]["key"][0] += "0"
        self.refused(lambda: self.verify(file), "computed", "$.pooled[0].key[0]")
        file = self.changed()
        value = next(value for row in file["pooled"] for value in row["values"] if value["from"])
        value["from"], value["missing"] = [], [[name, "refused"] for name in value["from"]] + value["missing"]
        self.refused(lambda: self.verify(file), "in the file", "$.pooled[")

    def test_dropped_exchange(self):
        for index in range(len(self.file["exchanges"])):
            file = self.changed()
            del file["exchanges"][index]
            self.refused(lambda: self.verify(file), "does not follow from the bodies", "$.question_id")

    def test_doubled_exchange(self):
        file = self.changed()
        file["exchanges"].append(file["exchanges"][0])
        self.refused(lambda: self.verify(file), "request_id stands in another exchange", "$.exchanges")

    def test_no_exchange(self):
        self.refused(lambda: self.verify(self.file | {"exchanges": []}), "no exchange", "$.exchanges")

    def test_hidden_answer(self):
        file = self.changed()
        file["exchanges"][self.answered[0]] |= {"reply": None, "without_reply": "unreachable"}
        self.refused(lambda: self.verify(file), "", "$.pooled")
        file["exchanges"][self.answered[0]]["without_reply"] = "lost"
        self.refused(lambda: self.verify(file), "'lost'", "without_reply")

    def test_a_word_beside_a_reply(self):
        file = self.changed()
        file["exchanges"][self.answered[0]]["without_reply"] = "unreachable"
        self.refused(lambda: self.verify(file), "not null beside a reply", "without_reply")

    def test_missing_document(self):
        for index in range(len(self.file["documents"])):
            file = self.changed()
            del file["documents"][index]
            with self.assertRaises(Refused) as caught:
                self.verify(file)
            self.assertRegex(
                caught.exception.what, "no root|no roster|catalogue .* is missing|no keys document|no officers list"
            )

    def test_order_of_documents(self):
        self.assertTrue(self.verify(self.file | {"documents": self.file["documents"][::-1]})["verified"])

    def test_altered_documents(self):
        for index, one in enumerate(self.file["documents"]):
            raw = bytearray.fromhex(one)
            raw[len(raw) // 3] ^= 1
            file = self.changed()
            file["documents"][index] = raw.hex()
            with self.assertRaises(Refused):
                self.verify(file)

    def test_another_federation(self):
        other = bytes(32)
        self.refused(lambda: self.verify(self.file, other), "not the federation that was given", "$.federation")
        file = self.file | {"federation": other.hex()}
        self.refused(lambda: self.verify(file), "not the federation that was given", "$.federation")
        self.refused(lambda: self.verify(file, other), "root of another federation", "$.documents")

    def test_shape_of_the_file(self):
        for path in ((), ("exchanges", 0), ("exchanges", self.answered[0], "reply"), ("pooled", 0)):
            file = self.changed()
            place = file
            for step in path:
                place = place[step]
            for name in list(place):
                value = place.pop(name)
                if name in ("reply", "edition"):
                    self.refused(lambda: self.verify(file), "")
                elif name in ("without_reply", "topic") and value is None:
                    self.assertTrue(self.verify(file)["verified"])
                else:
                    self.refused(lambda: self.verify(file), f"{name!r} is missing")
                place[name] = value
            place["more"] = None
            self.refused(lambda: self.verify(file), "unknown key", ".more")

    def test_values_of_the_file(self):
        text = evidence_bytes().decode()
        identity = self.file["question_id"]
        for found, put, what in (
            ('"accord_evidence": 1', '"accord_evidence": 1.0', "no whole number"),
            ('"accord_evidence": 1', '"accord_evidence": true', "int wanted"),
            ('"accord_evidence": 1', '"accord_evidence": 2', "unknown"),
            ('"accord_evidence": 1', '"accord_evidence": 1, "accord_evidence": 1', "stands twice"),
            (identity, identity.upper() if identity.upper() != identity else "A" + identity[1:], "lower-case"),
            (identity, identity[:-1], "lower-case"),
            (identity, identity[:-2], "16 wanted"),
            (self.file["collected_at"], "2026-02-30T00:00:00Z", "no time"),
            (self.file["collected_at"], "2020-01-01T00:00:00Z", "more than 2 min 1 s"),
            (f'"{self.file["table"]}"', '"no-such-table"', "no table"),
        ):
            self.assertIn(found, text)
            self.refused(lambda: self.verify(text.replace(found, put, 1).encode()), what)
        for size in (0, 1, len(text) // 2):
            self.refused(lambda: self.verify(text[:size].encode()), "no JSON")

    def test_before_the_answers(self):
        raw = json.dumps(self.file).encode()
        self.refused(
            lambda: verify(raw, self.federation, lists(), self.now - 86_400_000), "after now", "reply.head"
        )

    def test_changed_list(self):
        no_lists = str(VECTORS.parent / "no-such-folder")
        self.refused(lambda: verify(evidence_bytes(), self.federation, no_lists, self.now), "code list")
        with tempfile.TemporaryDirectory() as folder:
            for path in Path(lists()).glob("*.csv"):
                (Path(folder) / path.name).write_bytes(path.read_bytes() + b"\n")
            self.refused(lambda: verify(evidence_bytes(), self.federation, folder, self.now), "is not the one")


def query_of(table_id, measures, *dims):
    """A query by (level, codes) of each dimension."""
    return {
        "table_id": table_id, "table_version": 1, "measures": measures,
        "dims": [{"dim": index, "level": level, "codes": codes} for index, (level, codes) in enumerate(dims)],
    }


class ExampleTests(Case):
    """What only somebody with the providers' keys can sign."""

    @classmethod
    def setUpClass(cls):
        cls.text = catalogue_text()
        cls.fed = example.Federation(lists(), [cls.text])
        # Table 1: years, all drugs, seizures.
        cls.query = query_of(1, 1, (0, [202100]), (0, []))
        cls.later = query_of(1, 1, (0, [202200]), (0, []))

    def verify(self, fed, exchanges, pooled, table="seizures-year-drug", now=example.NOW, **changes):
        return self.verdict(fed.file(table, exchanges, pooled, **changes), fed.federation, now)

    def answer(self, member, query, number, value, fed=None, body=None, **changes):
        fed = fed or self.fed
        data = fed.slice(member, query, lambda levels, key, measure: [value])
        return fed.reply(fed.request(member, query, number, **(body or {})), member, data, **changes)

    def row(self, key, value, members, missing=()):
        value = {"measure": "seizures", "value": value, "from": members, "missing": [list(one) for one in missing]}
        return {"key": key, "values": [value]}

    def test_two_answers(self):
        exchanges = [self.answer("PT-TEST", self.query, 1, 7), self.answer("IT-TEST", self.query, 2, 5)]
        pooled = [self.row(["2021", "_T"], 12, ["IT-TEST", "PT-TEST"])]
        self.assertTrue(self.verify(self.fed, exchanges, pooled)["verified"])

    def test_second_answer_of_another_edition(self):
        exchanges = [
            self.answer("IT-TEST", self.query, 1, 5),
            self.answer("PT-TEST", self.query, 2, 7),
            self.answer("PT-TEST", self.later, 3, 8, edition=2),
        ]
        claimed = [
            self.row(["2021", "_T"], 12, ["IT-TEST", "PT-TEST"]),
            self.row(["2022", "_T"], 8, ["PT-TEST"]),
        ]
        self.refused(lambda: self.verify(self.fed, exchanges, claimed), "computed", "$.pooled[0].values[0].value")
        gone = ("PT-TEST", "not_verified")
        pooled = [
            self.row(["2021", "_T"], 5, ["IT-TEST"], [gone]),
            self.row(["2022", "_T"], None, [], [gone]),
        ]
        self.assertTrue(self.verify(self.fed, exchanges, pooled)["verified"])
        exchanges[2] = self.answer("PT-TEST", self.later, 3, 8)
        self.assertTrue(self.verify(self.fed, exchanges, claimed)["verified"])

    def test_a_cell_twice(self):
        exchanges = [self.answer("PT-TEST", self.query, 1, 7), self.answer("PT-TEST", self.query, 2, 7)]
        self.refused(lambda: self.verify(self.fed, exchanges, []), "twice", "$.exchanges[1].body")

    def test_refused_and_unreachable(self):
        asked = self.fed.request("IT-TEST", self.query, 2)
        exchanges = [self.answer("PT-TEST", self.query, 1, "suppressed"), self.fed.refusal(asked, "IT-TEST")]
        pooled = [self.row(["2021", "_T"], None, [], [("IT-TEST", "refused"), ("PT-TEST", "suppressed")])]
        self.assertTrue(self.verify(self.fed, exchanges, pooled)["verified"])
        for changes, what in (({"edition": 1}, "names an edition"), ({"code": None}, "without a code")):
            bad = [exchanges[0], self.fed.refusal(asked, "IT-TEST", **changes)]
            self.refused(lambda: self.verify(self.fed, bad, pooled), what, "$.exchanges[1].reply.head")

    def waiting(self, member="IT-TEST", number=2, wanted_until=example.ASKED + example.DAY_MS, **body):
        return self.fed.request(member, self.query, number, wanted_until=wanted_until, **body)

    def test_requests_that_wait(self):
        """What a partner said instead of an answer, and why it is missing then."""
        answered = self.answer("PT-TEST", self.query, 1, 7)
        for state, why in (("held", "held"), ("withdrawn", "refused"), ("expired", "refused")):
            for seq in (1, 2, 2**32 - 1):
                status = self.fed.status(self.waiting(), "IT-TEST", state, state_seq=seq)
                pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"], [("IT-TEST", why)])]
                result = self.verify(self.fed, [answered, status], pooled)
                said = {"member": "IT-TEST", "outcome": state, "edition": None, "code": None, "reason": None}
                self.assertEqual(result["exchanges"][1], said | {"at": example.ASKED, "log": None})
            for wrong in {"held", "refused", "unreachable", "not_verified"} - {why}:
                pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"], [("IT-TEST", wrong)])]
                self.refused(lambda: self.verify(self.fed, [answered, status], pooled), "computed", "missing")
            pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"])]
            self.refused(lambda: self.verify(self.fed, [answered, status], pooled), "items", "missing")

    def test_waiting_beside_answers_of_the_same_member(self):
        answered = self.fed.reply(
            self.fed.request("IT-TEST", self.later, 3, wanted_until=example.ASKED + 1), "IT-TEST",
            self.fed.slice("IT-TEST", self.later, lambda levels, key, measure: [5]),
        )
        status = self.fed.status(self.waiting(), "IT-TEST")
        pooled = [
            self.row(["2021", "_T"], None, [], [("IT-TEST", "held")]), self.row(["2022", "_T"], 5, ["IT-TEST"]),
        ]
        self.assertTrue(self.verify(self.fed, [status, answered], pooled)["verified"])
        again = self.fed.reply(
            self.waiting(number=4), "IT-TEST", self.fed.slice("IT-TEST", self.query, lambda levels, key, measure: [5])
        )
        self.refused(lambda: self.verify(self.fed, [status, again], pooled), "twice", "$.exchanges[1].body")

    def test_a_status_that_proves_nothing(self):
        pooled = [self.row(["2021", "_T"], None, [], [("IT-TEST", "held")])]
        header = self.answer("IT-TEST", self.query, 2, 7)["reply"]["edition"]
        for changes, what, where in (
            ({}, None, ""),
            ({"body_hash": sha256(b"").digest()}, "body_hash is not", "head"),
            ({"request_id": bytes(16)}, "request_id is not", "head"),
            ({"state_seq": 0}, "starts at 1", "head"),
            ({"at": example.ASKED - 120_000}, None, ""),
            ({"at": example.ASKED - 120_001}, "before the request", "head"),
            ({"at": example.NOW + 120_000}, None, ""),
            ({"at": example.NOW + 120_001}, "after now", "head"),
            ({"slice": "00" * 9}, "a slice beside a status", "slice"),
            ({"edition": header}, "header beside a status", "edition"),
            ({"edition": ""}, "header beside a status", "edition"),
            ({"signature": "00" * 64}, "no signature of the head", "signature"),
            ({"label": "answer"}, "no signature of the head", "signature"),
            ({"by": self.fed.sign_key("PT-TEST")}, "no signature of the head", "signature"),
            ({"by": self.fed.officer}, "no signature of the head", "signature"),
            ({"by": example.Signer("IT-TEST sign next")}, None, ""),
        ):
            status = self.fed.status(self.waiting(), "IT-TEST", **changes)
            if what:
                self.refused(lambda: self.verify(self.fed, [status], pooled), what, f"$.exchanges[0].reply.{where}")
            else:
                self.assertTrue(self.verify(self.fed, [status], pooled)["verified"])
        # Section 10 names three states; what the reserved one would mean for the pooled rows it does not say.
        raw = self.fed.file("seizures-year-drug", [self.fed.status(self.waiting(), "IT-TEST", "received")], pooled)
        self.refused(lambda: verify(raw, self.fed.federation, lists(), example.NOW), "which no node says", "reply.head")
        none = self.fed.status(self.waiting(wanted_until=0), "IT-TEST")
        self.refused(lambda: self.verify(self.fed, [none], pooled), "that does not wait", "reply.head")
        two = self.fed.status(self.waiting(), "IT-TEST") | {"without_reply": "unreachable"}
        self.refused(lambda: self.verify(self.fed, [two], pooled), "not null beside a reply", "without_reply")
        other = self.fed.status(self.waiting(number=9), "IT-TEST")["reply"]
        swapped = self.waiting() | {"reply": other, "without_reply": None}
        self.refused(lambda: self.verify(self.fed, [swapped], pooled), "body_hash is not", "reply.head")

    def test_bytes_of_a_status(self):
        status = self.fed.status(self.waiting(), "IT-TEST")
        verifier = Verifier(
            Trust(self.fed.documents, self.fed.federation, "documents"), self.fed.catalogues[0].table(id=1), example.NOW
        )
        self.assertEqual(verifier.exchange(copy.deepcopy(status), "exchange").outcome, "held")
        for name in ("head", "signature"):
            for altered in alterations(bytes.fromhex(status["reply"][name])):
                changed = copy.deepcopy(status)
                changed["reply"][name] = altered.hex()
                with self.assertRaises(Refused, msg=altered.hex()):
                    verifier.exchange(changed, "exchange")
        raw = bytes.fromhex(status["reply"]["head"])
        signer = self.fed.sign_key("IT-TEST")
        for head, what in ((raw + b"\0", "too many"), (raw[:-1], "bytes wanted"), (raw[:52] + b"\5" + raw[53:], "unknown code")):
            changed = copy.deepcopy(status)
            changed["reply"] |= {
                "head": head.hex(), "signature": signer.sign("status", self.fed.federation, head).hex()
            }
            self.refused(lambda: self.verify(self.fed, [changed], []), what, "reply.head")

    def test_the_request_of_a_status_is_verified_too(self):
        for changes, what in (
            ({"card": {"valid_to": example.ASKED}}, "the card is outside its validity"),
            ({"IT-TEST": {"state": "suspended"}}, "is suspended"),
            ({"IT-TEST": {"roles": ["requester"]}}, "is no provider"),
        ):
            fed = example.Federation(lists(), [self.text], **changes)
            asked = fed.request("IT-TEST", self.query, 1, wanted_until=example.ASKED + 1)
            self.refused(lambda: self.verify(fed, [fed.status(asked, "IT-TEST")], []), what)
        status = self.fed.status(self.waiting(), "IT-TEST") | {"officer_signature": "00" * 64}
        self.refused(lambda: self.verify(self.fed, [status], []), "not the officer's signature", "officer_signature")
        status = self.fed.status(self.waiting(purpose="early-warning"), "IT-TEST")
        self.refused(lambda: self.verify(self.fed, [status], []), "is not on the card", "officer_card")

    def test_nobody_waits_for_themselves(self):
        row = self.row(["2021", "_T"], 7, ["ES-TEST"])
        self.assertTrue(self.verify(self.fed, [self.answer("ES-TEST", self.query, 1, 7)], [row])["verified"])
        asked = self.waiting("ES-TEST")
        for exchange in (
            asked, self.fed.status(asked, "ES-TEST"), self.fed.refusal(asked, "ES-TEST"),
            self.answer("ES-TEST", self.query, 1, 7, body={"wanted_until": 1}),
        ):
            self.refused(lambda: self.verify(self.fed, [exchange], [row]), "itself that would wait", "$.exchanges[0].body")

    def test_rejections(self):
        """A person said no, for one of eight reasons; the code without one of them does not decode."""
        asked = self.waiting()
        pooled = [self.row(["2021", "_T"], None, [], [("IT-TEST", "refused")])]
        for reason in REASONS.values():
            no = self.fed.refusal(asked, "IT-TEST", f"E_REJECTED {reason}")
            said = self.verify(self.fed, [no], pooled)["exchanges"][0]
            self.assertEqual((said["outcome"], said["code"], said["reason"]), ("refused", "E_REJECTED", reason))
        head = bytes.fromhex(no["reply"]["head"])
        at = head.index(b"\2\x08\x09") + 1
        signer = self.fed.sign_key("IT-TEST")
        for number in (0x0009, 0x0909, 0xFF09, 0x0306, 0x0100, 0x010B, 0x0C, 0x0000):
            changed = copy.deepcopy(no)
            raw = head[:at] + number.to_bytes(2, "big") + head[at + 2 :]
            changed["reply"] |= {"head": raw.hex(), "signature": signer.sign("answer", self.fed.federation, raw).hex()}
            what = f"unknown code {number}" if number else "without a code"
            self.refused(lambda: self.verify(self.fed, [changed], pooled), what, "reply.head")
        # The rejection of a request that did not say that it would wait is one all the same.
        no = self.fed.refusal(self.waiting(wanted_until=0), "IT-TEST", "E_REJECTED scope")
        self.assertTrue(self.verify(self.fed, [no], pooled)["verified"])

    def test_requests_of_one_question(self):
        first = self.answer("PT-TEST", self.query, 1, 7)
        for number, body, what in (
            (1, {}, "request_id"),
            (2, {"legal_basis": "agreement"}, "legal_basis"),
            (2, {"purpose": "strategic-analysis"}, "purpose"),
            (2, {"query": query_of(1, 2, (0, [202100]), (0, []))}, "measures or levels"),
            (2, {"query": query_of(2, 1, (0, [202100]), (0, []), (0, []))}, "the file is about"),
        ):
            query = body.pop("query", self.query)
            second = self.fed.request("IT-TEST", query, number, **body)
            self.refused(lambda: self.verify(self.fed, [first, second], []), what, "$.exchanges[1].body")
        self.refused(
            lambda: self.verify(self.fed, [self.fed.request("IT-TEST", self.query, 1, purpose="early-warning")], []),
            "is not on the card", "officer_card",
        )

    def test_head_of_another_request(self):
        for changes, what in (
            ({"body_hash": bytes(32)}, "body_hash"),
            ({"request_id": bytes(16)}, "request_id"),
            ({"responder": "IT-TEST"}, "responder"),
            ({"requester": "IT-TEST"}, "requester"),
            ({"issued_at": example.ASKED - 120_001}, "before the request"),
            ({"issued_at": example.NOW + 120_001}, "after now"),
            ({"code": "E_BUSY"}, "an answer with the code"),
            ({"body": {"edition": 2}}, "asked for was 2"),
            ({"slice_len": 8}, "the head says 8"),
            ({"slice_hash": bytes(32)}, "whose hash"),
            ({"header": {"number": 2}}, "not those of the head"),
            ({"edition_commit": bytes(32)}, "not those of the head"),
            ({"edition": 0}, "editions start at 1"),
        ):
            exchange = self.answer("PT-TEST", self.query, 1, 7, **changes)
            self.refused(lambda: self.verify(self.fed, [exchange], []), what, "$.exchanges[0].reply")
        exchange = self.answer("PT-TEST", self.query, 1, 7, issued_at=example.ASKED - 120_000)
        self.assertTrue(self.verify(self.fed, [exchange], [self.row(["2021", "_T"], 7, ["PT-TEST"])])["verified"])

    def test_queries_off_the_grid(self):
        for query, what in (
            (query_of(1, 4, (0, [202100]), (0, [])), "not measures of these levels"),
            (query_of(1, 0, (0, [202100]), (0, [])), "not measures of these levels"),
            (query_of(1, 1, (1, [202121]), (0, [])), "no level set"),
            (query_of(1, 1, (0, []), (0, [])), "names no periods"),
            (query_of(1, 1, (0, [202101]), (0, [])), "202101 is no code of time"),
            (query_of(1, 1, (0, [99]), (0, [])), "a period outside"),
            (query_of(1, 1, (0, [202100]), (0, [1])), "1 is no code of drug"),
            (query_of(1, 1, (0, [202100])), "dimensions"),
            (query_of(1, 1, (0, [202100]), (0, [])) | {"table_version": 2}, "version 2"),
        ):
            exchange = self.fed.reply(self.fed.request("PT-TEST", query, 1), "PT-TEST", bytes(9))
            self.refused(lambda: self.verify(self.fed, [exchange], []), what, "$.exchanges[0].body, query")

    def test_slices_that_no_edition_holds(self):
        for data, what in (
            (bytes(8), "8 bytes"), (b"\4" + bytes(8), "unknown state"), (b"\2" + bytes(7) + b"\1", "beside state"),
        ):
            exchange = self.fed.reply(self.fed.request("PT-TEST", self.query, 1), "PT-TEST", data)
            self.refused(lambda: self.verify(self.fed, [exchange], []), what, "$.exchanges[0].reply.slice")

    def test_too_large_a_sum(self):
        largest = 2**53 - 1
        exchanges = [self.answer("PT-TEST", self.query, 1, largest), self.answer("IT-TEST", self.query, 2, 1)]
        pooled = [self.row(["2021", "_T"], None, ["IT-TEST", "PT-TEST"])]
        self.assertTrue(self.verify(self.fed, exchanges, pooled)["verified"])

    def test_means_and_histograms(self):
        """Table 9, mean and histogram of a form: a hidden bin adds nothing."""
        query = query_of(9, 0b1100, (0, [202100]), (2, [2]), (1, [2]), (1, [1]), (1, [1]))
        width = 1 + 5 + 10 + 20

        def of_italy(levels, key, measure):
            return {"mean": [10, 50_000], "histogram": [10, "suppressed", 6] + ["suppressed"] * (width - 3)}.get(measure.of, [0])

        def of_portugal(levels, key, measure):
            hidden = ["suppressed"] * measure.width
            return {"mean": hidden, "histogram": [20, 20] + ["suppressed"] * (width - 2)}.get(measure.of, [0])

        exchanges = [
            self.fed.reply(self.fed.request(name, query, number), name, self.fed.slice(name, query, numbers))
            for number, (name, numbers) in enumerate((("IT-TEST", of_italy), ("PT-TEST", of_portugal)))
        ]
        values = [
            {
                "measure": "purity_mean", "value": 10, "numbers": [10, 50_000], "from": ["IT-TEST"],
                "missing": [["PT-TEST", "suppressed"]],
            },
            {
                "measure": "purity", "value": 30, "numbers": [30, 20, 6] + [None] * (width - 3),
                "from": ["IT-TEST", "PT-TEST"], "missing": [],
            },
        ]
        pooled = [{"key": ["2021", "COC_HCL", "mid", "base", "seizure_all"], "values": values}]
        table = "purity-quarter-form-market"
        self.assertTrue(self.verify(self.fed, exchanges, pooled, table)["verified"])
        shown = {"value": 10, "from": ["IT-TEST"], "missing": []}
        for mean, bins, mean_value, bins_value in (
            ([10, "suppressed"], {}, "suppressed", shown),
            (["suppressed", 5], {}, "suppressed", shown),
            ([10, 50_001], {}, shown, shown),
            ([10, 5], {0: "not_available"}, shown, "not_available"),
            ([10, 5], {1: 11}, shown, "not_verified"),
            ([10, 5], {1: 0, 2: 0, 3: 0, 4: 0, 5: 9}, shown, "not_verified"),
            ([10, 5], {1: 0, 2: 0, 3: 0, 4: 0}, shown, shown),
            ([10, 5], {1: 2, 6: 3}, shown, "not_verified"),
            ([10, 5], {1: 2, 6: 1, 7: 0}, shown, "not_verified"),
            ([10, 5], {1: 2, 6: 1, 7: 1}, shown, shown),
            ([10, 5], {1: 8, 8: 3}, shown, "not_verified"),
            ([10, 5], {1: 8, 8: 2}, shown, shown),
            ([10, 5], {1: 7, 3: 0, 4: 0, 5: 0, 20: 4}, shown, "not_verified"),
        ):
            histogram = [bins.get(place, 10 if place == 0 else "suppressed") for place in range(width)]
            data = b"".join(encode(NUMBER, number) for number in mean + histogram)
            exchange = self.fed.reply(self.fed.request("IT-TEST", query, 1), "IT-TEST", data)
            self.refused(lambda: self.verify(self.fed, [exchange], [], table), "0 items in the file", "$.pooled")
            row = {"key": ["2021", "COC_HCL", "mid", "base", "seizure_all"], "values": []}
            for name, numbers, value in (("purity_mean", mean, mean_value), ("purity", histogram, bins_value)):
                if value == shown:
                    numbers = [number if isinstance(number, int) else None for number in numbers]
                    row["values"].append({"measure": name, "numbers": numbers} | shown)
                else:
                    missing = {"value": None, "from": [], "missing": [["IT-TEST", value]]}
                    row["values"].append({"measure": name} | missing)
            self.assertTrue(self.verify(self.fed, [exchange], [row], table)["verified"])

    def test_who_was_not_asked_is_not_missing(self):
        refused = self.fed.refusal(self.fed.request("IT-TEST", self.later, 2), "IT-TEST")
        exchanges = [self.answer("PT-TEST", self.query, 1, 7), refused]
        pooled = [
            self.row(["2021", "_T"], 7, ["PT-TEST"]),
            self.row(["2022", "_T"], None, [], [("IT-TEST", "refused")]),
        ]
        self.assertTrue(self.verify(self.fed, exchanges, pooled)["verified"])
        self.refused(lambda: self.verify(self.fed, exchanges, pooled[:1]), "1 items in the file", "$.pooled")

    def test_a_cell_is_asked_once(self):
        """Also where no reply came: which of the two would count?"""
        for first, second in ((1, 2), (2, 1)):
            lost = self.fed.request("PT-TEST", self.query, first)
            exchanges = [lost, self.answer("PT-TEST", self.query, second, 7)]
            pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"])]
            self.refused(lambda: self.verify(self.fed, exchanges, pooled), "twice", "$.exchanges[1].body")

    def test_a_query_without_reply_is_on_the_grid(self):
        lost = self.fed.request("PT-TEST", query_of(1, 1, (0, [202101]), (0, [])), 1)
        self.refused(lambda: self.verify(self.fed, [lost], []), "no code of time", "$.exchanges[0].body")

    def test_heads_of_the_largest_size(self):
        exchange = self.answer("PT-TEST", self.query, 1, 7)
        signer = self.fed.sign_key("PT-TEST")
        for size, what in ((4096, "bytes too many"), (4097, "at most 4096")):
            head = bytes.fromhex(exchange["reply"]["head"])
            head += bytes(size - len(head))
            signature = signer.sign("answer", self.fed.federation, head).hex()
            long = exchange | {"reply": exchange["reply"] | {"head": head.hex(), "signature": signature}}
            self.refused(lambda: self.verify(self.fed, [long], []), what, "reply.head")

    def test_signatures_of_a_header(self):
        """One good one is enough; others do not count and do no harm."""
        exchange = self.answer("PT-TEST", self.query, 1, 7)
        raw = bytes.fromhex(exchange["reply"]["edition"])
        document = decode(STRUCTURES["document"][0], raw, "document", MIB)
        (good,) = document["signatures"]
        bad = {"key": good["key"], "signature": bytes(64)}
        other = {"key": example.Signer("other").key, "signature": good["signature"]}
        for signatures, fine in (
            ([good], True), ([bad, good], True), ([other, good, other], True), ([good, good], True), ([], False),
            ([bad], False), ([other], False),
        ):
            header = encode(STRUCTURES["document"][0], document | {"signatures": signatures}).hex()
            changed = exchange | {"reply": exchange["reply"] | {"edition": header}}
            if fine:
                pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"])]
                self.assertTrue(self.verify(self.fed, [changed], pooled)["verified"])
            else:
                self.refused(lambda: self.verify(self.fed, [changed], []), "not signed by", "reply.edition")

    def test_coverage_of_a_header(self):
        for first, last, fine in (
            (22_800, 119_999, True), (22_799, 24_000, False), (24_000, 120_000, False), (24_001, 24_000, False),
        ):
            rows = [{"kind": "seizure", "from": first, "to": last, "state": "complete"}]
            exchange = self.answer("PT-TEST", self.query, 1, 7, header={"coverage": rows})
            if fine:
                pooled = [self.row(["2021", "_T"], 7, ["PT-TEST"])]
                self.assertTrue(self.verify(self.fed, [exchange], pooled)["verified"])
            else:
                self.refused(lambda: self.verify(self.fed, [exchange], []), "coverage from", "reply.edition")

    def test_regions_are_the_providers(self):
        table = self.fed.catalogues[0].table(id=2)
        trust = Trust(self.fed.documents, self.fed.federation, "documents")
        verifier = Verifier(trust, table, example.NOW)
        for number, (name, level, regions) in enumerate((
            ("PT-TEST", 0, ["_T"]),
            ("PT-TEST", 1, ["_U", "PT1", "PT2", "PT3"]),
            ("PT-TEST", 2, ["PT1_U", "PT11", "PT15", "PT16", "PT17", "PT18", "PT2_U", "PT20", "PT3_U", "PT30"]),
            ("IT-TEST", 1, ["_U", "ITC", "ITF", "ITG", "ITH", "ITI"]),
        )):
            query = query_of(2, 1, (0, [202100]), (0, []), (level, []))
            exchange = verifier.exchange(self.answer(name, query, number, 1), "exchange")
            self.assertEqual([names[2] for names in exchange.asked.values()], regions)

    def test_pairs_and_periods(self):
        table = self.fed.catalogues[0].table(id=8)
        pairs = table.axes[1].codes(0, "PT", None)
        self.assertEqual((len(pairs), pairs[1], pairs[708]), (36, "COC+HER", "KHAT+OTHER"))
        time = table.axes[0]
        self.assertEqual(list(time.codes(1, "PT", 2012).values())[-2:], ["2012-Q4", "2012_U"])
        self.assertEqual(time.codes(2, "PT", 2012)[201231], "2012-Q1_U")

    def test_editions_under_another_catalogue(self):
        """Equal measures are compared; another unit is not comparable, nor is a catalogue that is not known."""
        same = self.text + "\n# another catalogue\n"
        other = self.text.replace('counting_unit = "line (one drug of one seizure)"', 'counting_unit = "seizure"')
        step = self.text.replace('of = "lines"\nunit = "1"', 'of = "lines"\nunit = "2"')
        version = self.text.replace("version = 1", "version = 2", 1)
        named = self.text.replace('name = "seizures-year-drug"', 'name = "seizures"', 1)
        number = self.text.replace("id = 11\n", "id = 99\n", 1)
        texts = [self.text, same, other, step, version, named, number, "no = 'catalogue'"]
        self.assertEqual(len(set(texts)), len(texts))
        fed = example.Federation(lists(), texts)
        comparable_ones = (0, 1, 6)
        for catalogue in range(len(texts)):
            comparable = catalogue in comparable_ones
            exchange = self.answer("PT-TEST", self.query, 1, 7, fed=fed, catalogue=catalogue)
            row = self.row(["2021", "_T"], 7, ["PT-TEST"])
            if not comparable:
                row = self.row(["2021", "_T"], None, [], [("PT-TEST", "not_comparable")])
            self.assertTrue(self.verify(fed, [exchange], [row])["verified"])
        exchange = self.answer("PT-TEST", self.query, 1, 7, header={"catalogue_hash": bytes(32)})
        row = self.row(["2021", "_T"], None, [], [("PT-TEST", "not_comparable")])
        self.assertTrue(self.verify(self.fed, [exchange], [row])["verified"])

    def test_rules_of_documents(self):
        day = 86_400_000
        shared = example.Signer("IT-TEST tls").key
        for changes, what in (
            ({"root": {"threshold": 1}}, "threshold 1 of 3"),
            ({"root": {"threshold": 3}}, "threshold 3 of 3"),
            ({"root": {"root_version": 2}}, "version 2 where version 1 is due"),
            ({"root": {"epoch": 0}}, "epoch 0"),
            ({"root": {"expires_at": example.ISSUED}}, "expires before"),
            ({"roster": {"epoch": 2}}, "that of its root is 1"),
            ({"roster": {"root_version": 2}}, "there is no such root"),
            ({"roster": {"federation": bytes(32)}}, "another federation"),
            ({"roster": {"catalogue_hash": bytes(32)}}, "is missing"),
            ({"member-keys": {"admin_threshold": 1}}, "threshold 1 of 2"),
            ({"member-keys": {"sign_keys": []}}, "sign_keys is empty"),
            ({"member-keys": {"expires_at": example.ISSUED + 400 * day + 1}}, "400 days"),
            ({"member-keys": {"addresses": ["192.0.2.1:0"]}}, "not IP:PORT"),
            ({"member-keys": {"addresses": ["0.0.0.0:1"]}}, "unspecified"),
            ({"member-keys": {"addresses": ["[fe80::1]:1"]}}, "link-local"),
            ({"member-keys": {"tls_keys": [shared]}}, "not signed by its key"),
            ({"member-keys": {"witness_key": example.Signer("ES-TEST tls").key}}, "a key stands twice"),
            ({"member-keys": {"keys_version": 0}, "ES-TEST": {"anchor_version": 0}}, "versions start at 1"),
            ({"member-keys": {"addresses": []}}, "addresses is empty"),
            ({"member-keys": {"addresses": ["192.0.2.1:65536"]}}, "not IP:PORT"),
            ({"member-keys": {"addresses": ["2001:db8::1:4433"]}}, "not IP:PORT"),
            ({"roster": {"roster_version": 0}}, "versions start at 1"),
            ({"roster": {"min_protocol": 2}}, "lowest protocol"),
            ({"PT-TEST": {"valid_to": example.ISSUED}}, "valid for no time"),
            ({"PT-TEST": {"anchor_hash": bytes(32)}}, "no keys document of PT-TEST"),
        ):
            fed = example.Federation(lists(), [self.text], **changes)
            self.refused(lambda: Trust(fed.documents, fed.federation, "documents"), what)

    def test_signers_of_documents(self):
        fed = self.fed
        for index, raw in enumerate(fed.documents):
            document = decode(STRUCTURES["document"][0], raw, "document", MIB)
            document["signatures"] = document["signatures"][:1] * 2
            documents = list(fed.documents)
            documents[index] = encode(STRUCTURES["document"][0], document)
            self.refused(lambda: Trust(documents, fed.federation, "documents"), "signed by", f"documents[{index}]")

    def test_officers_and_partners_in_time(self):
        for changes, what, where in (
            ({"card": {"valid_to": example.ASKED}}, "the card is outside its validity", "officer_card"),
            ({"card": {"valid_from": example.ASKED + 1}}, "the card is outside its validity", "officer_card"),
            ({"officers": {"cards": []}}, "not on the officers list", "officer_card"),
            ({"officers": {"expires_at": example.ASKED}}, "has expired", "officer_card"),
            ({"officers": {"expires_at": example.ISSUED + 401 * example.DAY_MS}}, "no officers list", "officer_card"),
            ({"officers": {"list_version": 0}}, "no officers list", "officer_card"),
            ({"officers": {"federation": bytes(32)}}, "no officers list", "officer_card"),
            ({"member-keys": {"officers_version_min": 2}}, "at least 2 wanted", "documents"),
            ({"PT-TEST": {"roles": ["requester"]}}, "is no provider", "body"),
            ({"PT-TEST": {"state": "suspended"}}, "is suspended", "body"),
            ({"PT-TEST": {"valid_to": example.ASKED}}, "outside its validity", "body"),
            ({"roster": {"expires_at": example.ASKED}}, "the roster has expired", "body"),
            ({"root": {"expires_at": example.ASKED}}, "the root has expired", "body"),
        ):
            fed = example.Federation(lists(), [self.text], **changes)
            exchange = self.answer("PT-TEST", self.query, 1, 7, fed=fed)
            self.refused(lambda: self.verify(fed, [exchange], []), what, where)
        unknown = self.fed.request("FR-TEST", self.query, 1)
        self.refused(lambda: self.verify(self.fed, [unknown], []), "does not stand on the roster", "body")

    def test_suspended_keys_and_cards_prove_nothing(self):
        """Each with the verdict of the tool; the partner has another signing key left."""
        for suspended, what, where in (
            (("PT-TEST", "own-key", example.Signer("PT-TEST sign").key), "no signature of the head", "signature"),
            (("PT-TEST", "own-key", example.Signer("PT-TEST sign next").key), None, ""),
            (("IT-TEST", "own-key", example.Signer("PT-TEST sign").key), None, ""),
            (("ES-TEST", "officer", sha256(self.fed.card).digest()), "the card is suspended", "officer_card"),
            (("PT-TEST", "officer", sha256(self.fed.card).digest()), None, ""),
        ):
            for way, by, until in (("stops", 1, {}), ("lifts", 2, {}), ("stops", 1, {"until": example.ASKED})):
                fed = example.Federation(lists(), [self.text])
                fed.suspend(*suspended, way, by, **until)
                exchange = self.answer("PT-TEST", self.query, 1, 7, fed=fed)
                row = self.row(["2021", "_T"], 7, ["PT-TEST"])
                if what and way == "stops" and not until:
                    self.refused(lambda: self.verify(fed, [exchange], [row]), what, where)
                else:
                    self.assertTrue(self.verify(fed, [exchange], [row])["verified"])

    def under(self, topic, number=1, member="PT-TEST", fed=None, **body):
        """An answer to a request under a topic; `body` replaces fields of the request."""
        return self.answer(member, self.query, number, 7, fed=fed, body={"topic": topic} | body)

    def test_requests_under_a_topic(self):
        """Each with the verdict of the tool: whatever section 7 asks for is asked for when the request is issued."""
        fed, asked = self.fed, example.ASKED
        theirs, own = fed.administrators("PT-TEST"), fed.administrators("ES-TEST")
        for changes, what in (
            ({}, None),
            ({"by": [*own, *theirs]}, None),
            ({"by": []}, "signed by 0 of the administrators, 2 needed"),
            ({"by": own[:1]}, "signed by 1 of the administrators, 2 needed"),
            ({"by": own[:1] * 2}, "signed by 1 of the administrators, 2 needed"),
            ({"by": theirs}, "signed by 0 of the administrators"),
            ({"by": [own[0], fed.sign_key("ES-TEST")]}, "signed by 1 of the administrators"),
            ({"signed_as": "suspend"}, "signed by 0 of the administrators"),
            ({"federation": bytes(32)}, "another federation"),
            ({"node_id": "IT-TEST"}, "node_id IT-TEST is not the requester"),
            ({"node_id": "IT-TEST", "by": fed.administrators("IT-TEST")}, "node_id IT-TEST is not the requester"),
            ({"audience": "IT-TEST"}, "audience IT-TEST is not the audience"),
            ({"audience": "ES-TEST"}, "of a member for itself"),
            ({"purposes": ["strategic-analysis", "test"]}, None),
            ({"purposes": ["strategic-analysis"]}, "purpose test is not on the topic"),
            ({"purposes": []}, "for no purpose"),
            ({"valid_from": asked, "valid_to": asked + 1}, None),
            ({"valid_from": asked + 1}, "outside its validity"),
            ({"valid_to": asked}, "outside its validity"),
            ({"valid_to": example.ISSUED}, "valid for no time"),
            ({"valid_to": example.ISSUED + LONGEST_TOPIC_MS}, None),
            ({"valid_to": example.ISSUED + LONGEST_TOPIC_MS + 1}, "more than 400 days"),
            ({"title": "ab"}, "2 characters"),
            ({"title": "two\nlines"}, "not one line"),
        ):
            topic = fed.topic(**({"audience": "PT-TEST"} | changes))
            row = self.row(["2021", "_T"], 7, ["PT-TEST"])
            if what:
                self.refused(lambda: self.verify(fed, [self.under(topic)], [row]), what, "$.exchanges[0].topic")
                # A request that nobody answered is verified too, and one that waits.
                alone = fed.request("PT-TEST", self.query, 1, topic=topic)
                self.refused(lambda: self.verify(fed, [alone], []), what, "$.exchanges[0].topic")
                held = fed.status(fed.request("PT-TEST", self.query, 1, topic=topic, wanted_until=asked + 1), "PT-TEST")
                self.refused(lambda: self.verify(fed, [held], []), what, "$.exchanges[0].topic")
            else:
                self.assertTrue(self.verify(fed, [self.under(topic)], [row])["verified"])

    def test_topics_that_are_not_those_named(self):
        fed = self.fed
        topic, other = fed.topic("PT-TEST"), fed.topic("PT-TEST", salt=b"\1" * 16)
        row = self.row(["2021", "_T"], 7, ["PT-TEST"])
        good = self.under(topic)
        plain = self.answer("PT-TEST", self.query, 1, 7)
        signed_again = fed.topic("PT-TEST", by=fed.administrators("ES-TEST")[::-1])
        for exchange, what in (
            (good, None),
            # The hash is of the payload, so other signatures are the same topic.
            (good | {"topic": signed_again.hex()}, None),
            (good | {"topic": other.hex()}, "not the topic that the request names"),
            ({name: value for name, value in good.items() if name != "topic"}, "is missing"),
            (plain, None),
            (plain | {"topic": topic.hex()}, "that names none"),
            (self.under(topic, topic_hash=bytes(32)), "that names none"),
            (self.under(topic, topic_hash=example.hash_of(other)), "not the topic that the request names"),
            (self.under(topic, topic_hash=sha256(topic).digest()), "not the topic that the request names"),
            (self.under(fed.documents[-1]), "a document with label officers instead of topic"),
            (good | {"topic": topic.hex()[:-2]}, "bytes wanted"),
            (good | {"topic": topic.hex() + "00"}, "too many"),
            (good | {"topic": topic.hex().upper()}, "not lower-case hex"),
            (good | {"topic": 1}, "str wanted"),
        ):
            if what:
                self.refused(lambda: self.verify(fed, [exchange], [row]), what, "$.exchanges[0].topic")
            else:
                self.assertTrue(self.verify(fed, [exchange], [row])["verified"])
        # Section 10 leaves a topic out where there is none, and does not say whether null or no bytes say the same; nor
        # that what does not fit into a `Request` is none.
        long = fed.topic("PT-TEST", by=[*fed.administrators("ES-TEST"), *map(example.Signer, map(str, range(20)))])
        for exchange, what in (
            (plain | {"topic": None}, None),
            (good | {"topic": None}, "is missing"),
            (plain | {"topic": ""}, None),
            (good | {"topic": ""}, "is missing"),
            (self.under(long), "at most 2048 allowed"),
        ):
            raw = fed.file("seizures-year-drug", [exchange], [row])
            if what:
                self.refused(lambda: verify(raw, fed.federation, lists(), example.NOW), what, "$.exchanges[0].topic")
            else:
                self.assertTrue(verify(raw, fed.federation, lists(), example.NOW)["verified"])

    def test_every_bit_and_every_truncation_of_a_topic(self):
        fed = self.fed
        topic = fed.topic("PT-TEST")
        exchange = fed.request("PT-TEST", self.query, 1, topic=topic)
        verifier = Verifier(Trust(fed.documents, fed.federation, "documents"), fed.catalogues[0].table(id=1), example.NOW)
        self.assertEqual(verifier.exchange(copy.deepcopy(exchange), "exchange").outcome, "unreachable")
        for altered in alterations(topic):
            with self.assertRaises(Refused, msg=altered.hex()):
                verifier.exchange(exchange | {"topic": altered.hex()}, "exchange")

    def test_one_question_under_topics(self):
        """A topic is for one provider, so that each partner is asked under one of its own, or under none."""
        fed = self.fed
        topics = {member: fed.topic(member, salt=member.encode().ljust(16)) for member in ("IT-TEST", "PT-TEST")}
        rows = [self.row(["2021", "_T"], 14, ["IT-TEST", "PT-TEST"])]
        second = self.under(topics["IT-TEST"], 2, "IT-TEST")
        for first in (self.under(topics["PT-TEST"]), self.answer("PT-TEST", self.query, 1, 7)):
            self.assertTrue(self.verify(fed, [first, second], rows)["verified"])
        shared = self.under(topics["PT-TEST"], 2, "IT-TEST")
        what = "audience PT-TEST is not the audience"
        self.refused(lambda: self.verify(fed, [first, shared], rows), what, "$.exchanges[1].topic")

    def test_ended_topics(self):
        """Each with the verdict of the tool; one administrator ends a topic, and nothing takes that back."""
        day, asked = example.DAY_MS, example.ASKED
        topic = self.fed.topic("PT-TEST")
        digest = example.hash_of(topic)
        own = ("ES-TEST", "own-topic", digest)
        far = {"issued_at": asked + day + 1, "until": asked + 30 * day}
        for words, ended in (
            ([], False),
            ([(own, {})], True),
            ([(own, {"by": 2})], True),
            ([(own, {"until": asked})], False),
            ([(own, {"until": asked + 1})], True),
            ([(own, {"until": example.ISSUED + 400 * day})], True),
            ([(own, {"issued_at": asked, "until": asked + day})], True),
            ([(own, {"issued_at": asked + 1, "until": asked + day})], False),
            ([(own, far)], False),
            ([(own, {}), (own, {"issued_at": example.ISSUED + 1, "until": example.ISSUED + 2})], True),
            ([(("ES-TEST", "own-topic", sha256(topic).digest()), {})], False),
            ([(("ES-TEST", "officer", digest), {})], False),
            ([(("PT-TEST", "own-topic", digest), {})], False),
            ([(("IT-TEST", "own-topic", digest), {})], False),
        ):
            fed = example.Federation(lists(), [self.text])
            for word, changes in words:
                fed.suspend(*word, **changes)
            exchange = self.under(topic, fed=fed)
            row = self.row(["2021", "_T"], 7, ["PT-TEST"])
            if ended:
                self.refused(lambda: self.verify(fed, [exchange], [row]), "has been ended", "$.exchanges[0].topic")
            else:
                self.assertTrue(self.verify(fed, [exchange], [row])["verified"])
            # What stands under no topic is untouched.
            plain = self.answer("PT-TEST", self.query, 1, 7, fed=fed)
            self.assertTrue(self.verify(fed, [plain], [row])["verified"])

    def test_words_that_end_no_topic(self):
        topic = self.fed.topic("PT-TEST")
        digest = example.hash_of(topic)
        for subject, changes, what in (
            (digest, {"way": "lifts", "by": 2}, "no subject of the kind own-topic"),
            (digest, {"by": 0}, "signed by 0 of the administrators, 1 needed"),
            (digest, {"until": example.ISSUED + 400 * example.DAY_MS + 1}, "more than 400 days"),
            (digest, {"until": example.ISSUED}, "expires before"),
            (digest[1:], {}, "no subject of the kind own-topic"),
        ):
            fed = example.Federation(lists(), [self.text])
            fed.suspend("ES-TEST", "own-topic", subject, **changes)
            exchange = self.under(topic, fed=fed)
            self.refused(lambda: self.verify(fed, [exchange], []), what, "$.documents")

    def test_how_many_suspensions_are_kept(self):
        """The latest 64; apart from them the 257 about topics that last longest, and while so many last none counts."""
        subjects = [sha256(bytes([number])).digest() for number in range(256)] + [sha256(b"last").digest()]
        day, asked = example.DAY_MS, example.ASKED
        for short, ends in ((False, 256), (False, 257), (True, 257)):
            fed = example.Federation(lists(), [self.text])
            until = asked if short else asked + 30 * day
            for number, subject in enumerate(subjects[1:ends]):
                fed.suspend("ES-TEST", "own-topic", subject, issued_at=example.ISSUED + 1000 + number, until=until)
            fed.suspend("ES-TEST", "own-topic", subjects[0], until=asked + day)
            for number, subject in enumerate(subjects[:65]):
                fed.suspend("ES-TEST", "officer", subject, issued_at=example.ISSUED + number, until=asked + 20 * day)
            fed.suspend("IT-TEST", "own-topic", subjects[0])
            for documents in (fed.documents, fed.documents[::-1]):
                trust = Trust(documents, fed.federation, "documents")
                stopped = [trust.is_suspended("ES-TEST", "officer", one, asked) for one in subjects[:65]]
                self.assertEqual(stopped, [False] + [True] * 64)
                ended = [trust.is_ended("ES-TEST", one, asked, asked) for one in (subjects[0], subjects[1], sha256(b"nobody").digest())]
                self.assertEqual(ended, [True, not short, ends == 257 and not short])
                self.assertTrue(trust.is_ended("IT-TEST", subjects[0], asked, asked))

    def test_second_root(self):
        fed = self.fed
        old, new = fed.root_signers, example.Signer("root 4")
        both = sorted([*old[:2], new], key=lambda signer: signer.key)
        content = example.heading("root") | {
            "root_version": 2, "epoch": 1, "genesis_nonce": bytes(32), "name": "example",
            "keys": example.keys(both), "threshold": 2, **example.dates(),
        }
        for by, change, what in (
            (both, {}, "root-ahead"),
            ([old[0], new], {}, "keys of the root before"),
            (old, {}, "not signed by its new key"),
            (both, {"root_version": 3}, "version 3 where version 2 is due"),
        ):
            fed.federation, kept = example.ZERO, fed.federation
            document = fed.document("root", content | change, by)
            fed.federation = kept
            self.refused(lambda: Trust([*fed.documents, document], fed.federation, "documents"), what)

    def test_stray_documents(self):
        """What does not count may hold anything, and any document may come twice; roots and rosters have to read."""
        fed = self.fed
        header = bytes.fromhex(self.answer("PT-TEST", self.query, 1, 7)["reply"]["edition"])
        strays = [header] + [
            encode(STRUCTURES["document"][0], {"label": label, "payload": b"anything", "signatures": []})
            for label in ("policy", "proposal", "withdraw", "key-claim", "member-keys", "officers", "catalogue", "staff")
        ]
        self.assertEqual(Trust([*fed.documents, *strays], fed.federation, "documents").roster["roster_version"], 1)
        for raw in fed.documents:
            self.assertEqual(Trust([*fed.documents, raw], fed.federation, "documents").roster["roster_version"], 1)
        for label in ("root", "roster"):
            stray = encode(STRUCTURES["document"][0], {"label": label, "payload": bytes(4), "signatures": []})
            more = [*fed.documents, *strays, stray]
            self.refused(lambda: Trust(more, fed.federation, "documents"), "instead of 1", "documents")

    def test_a_catalogue_that_the_root_has_not_signed(self):
        """It is not known, so that nothing made under it can be compared."""
        fed = example.Federation(lists(), [self.text, self.text + "\n# another\n"])
        for index, raw in enumerate(fed.documents):
            document = decode(STRUCTURES["document"][0], raw, "document", MIB)
            if document["label"] == "catalogue" and index == 2:
                document["signatures"] = document["signatures"][:1]
                fed.documents[index] = encode(STRUCTURES["document"][0], document)
        exchange = self.answer("PT-TEST", self.query, 1, 7, fed=fed, catalogue=1)
        row = self.row(["2021", "_T"], None, [], [("PT-TEST", "not_comparable")])
        self.assertTrue(self.verify(fed, [exchange], [row])["verified"])


def load_tests(loader, tests, _pattern):
    """Those of the audit log and of what it adds to evidence run with these."""
    for module in (test_log, test_levels):
        tests.addTests(loader.loadTestsFromModule(module))
    return tests


if __name__ == "__main__":
    unittest.main()
