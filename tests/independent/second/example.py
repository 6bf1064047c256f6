"""Owns a small federation whose keys are all known, so that tests can sign what no honest node would."""

import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from second.catalogue import Catalogue
from second.documents import DAY_MS
from second.encoding import MIB, decode, encode
from second.evidence import question_id
from second.keys import NUMBERS, federation_id, sign_input
from second.layout import cells_of_year, select
from second.messages import CARD, DOCUMENT, NUMBER, STRUCTURES

# 2026-01-01T00:00:00Z: when everything in this federation is issued.
ISSUED = 1_767_225_600_000
ASKED = ISSUED + DAY_MS
NOW = ASKED + 60_000
COLLECTED = "2026-01-02T00:00:30Z"
EXPIRES = ISSUED + 300 * DAY_MS
ZERO = bytes(32)


class Signer:
    """A key pair that follows from a name."""

    def __init__(self, name):
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
        self.key = self._private.public_key().public_bytes_raw()

    def sign(self, label, federation, payload):
        return self.sign_bytes(sign_input(label, federation, payload))

    def sign_bytes(self, message):
        return self._private.sign(message)


def signers(*names):
    """In the order of their keys, as sorted lists want it."""
    return sorted(map(Signer, names), key=lambda signer: signer.key)


def keys(some):
    return [signer.key for signer in some]


def hash_of(document):
    """What a document is named by: the hash of its payload."""
    return sha256(decode(DOCUMENT, document, "document", MIB)["payload"]).digest()


def heading(label):
    return {"protocol": 1, "kind": NUMBERS[label]}


def dates(expires=EXPIRES):
    return {"issued_at": ISSUED, "expires_at": expires}


class Federation:
    """Root, roster, keys and officers of a requester ES-TEST and of providers; `catalogues[0]` is in force."""

    requester = "ES-TEST"

    def __init__(self, lists, catalogues, providers=("IT-TEST", "PT-TEST"), **changes):
        """`changes` replaces fields of a document by label, `MemberKeys` and `Officers` being the requester's."""
        self.lists = lists
        self.changes = changes
        self.federation = ZERO
        self.root_signers = signers("root 1", "root 2", "root 3")
        root = self._content(
            "root", root_version=1, epoch=1, genesis_nonce=ZERO, name="example", keys=keys(self.root_signers),
            threshold=2, **dates(),
        )
        self.federation = federation_id(encode(STRUCTURES["root"][0], root))
        self.documents = [self.document("root", root, self.root_signers)]
        texts = [self._content("catalogue", text=text) for text in catalogues]
        self.documents += [self.document("catalogue", text, self.root_signers) for text in texts]
        self.catalogue_hashes = [sha256(encode(STRUCTURES["catalogue"][0], text)).digest() for text in texts]
        self.catalogues = [Catalogue(catalogues[0], lists, "example")]
        self.member_keys = {name: self._keys_of(name) for name in (self.requester, *providers)}
        roster = self._content(
            "roster", federation=self.federation, root_version=1, epoch=1, roster_version=1, prev_hash=ZERO, **dates(),
            catalogue_hash=self.catalogue_hashes[0], min_protocol=1, max_protocol=1,
            members=[self._entry(name) for name in sorted(self.member_keys)],
        )
        self.documents.append(self.document("roster", roster, self.root_signers))
        self.officer = Signer("officer")
        self.card = encode(
            CARD,
            {
                "officer_id": bytes(16), "key": self.officer.key, "purposes": ["strategic-analysis", "test"],
                "valid_from": ISSUED, "valid_to": EXPIRES,
            } | changes.get("card", {}),
        )
        officers = self._content(
            "officers", federation=self.federation, node_id=self.requester, list_version=1, prev_hash=ZERO, **dates(),
            cards=[sha256(self.card).digest()],
        )
        self.documents.append(self.document("officers", officers, self.administrators(self.requester)))

    def _content(self, label, **fields):
        return heading(label) | fields | self.changes.get(label, {})

    @staticmethod
    def administrators(name):
        return signers(f"{name} administrator 1", f"{name} administrator 2")

    def sign_key(self, name):
        return Signer(f"{name} sign")

    def _keys_of(self, name):
        """The MemberKeys document of a member, put among the documents."""
        administrators = self.administrators(name)
        nodes = [Signer(f"{name} {role}") for role in ("tls", "sign", "log", "witness", "sign next")]
        tls, sign, log, witness, after = keys(nodes)
        content = heading("member-keys") | {
            "federation": self.federation, "node_id": name, "keys_version": 1, "prev_hash": ZERO, **dates(),
            "admin_keys": keys(administrators), "admin_threshold": 2, "tls_keys": [tls], "sign_keys": [sign, after],
            "log_keys": [log], "witness_key": witness, "addresses": ["192.0.2.1:4433"], "officers_version_min": 1,
        } | (self.changes.get("member-keys", {}) if name == self.requester else {})
        self.documents.append(self.document("member-keys", content, administrators + nodes))
        return sha256(encode(STRUCTURES["member-keys"][0], content)).digest()

    def _entry(self, name):
        return {
            "node_id": name, "name": name, "state": "active", "roles": ["provider", "requester"], "anchor_version": 1,
            "anchor_hash": self.member_keys[name], "valid_from": ISSUED, "valid_to": EXPIRES,
        } | self.changes.get(name, {})

    def document(self, label, content, by, signed_as=None):
        """`signed_as` is the label that the signatures are over, if it is another one."""
        payload = encode(STRUCTURES[label][0], content)
        signatures = [
            {"key": signer.key, "signature": signer.sign(signed_as or label, self.federation, payload)} for signer in by
        ]
        return encode(DOCUMENT, {"label": label, "payload": payload, "signatures": signatures})

    def suspend(self, name, target, subject, way="stops", by=1, **changes):
        """A word of some of a member's administrators, put among the documents."""
        content = heading("suspend") | {
            "federation": self.federation, "node_id": name, "way": way, "target": target, "subject": subject.hex(),
            "reason": "lost", "issued_at": ISSUED, "until": ISSUED + 30 * DAY_MS,
        } | changes
        self.documents.append(self.document("suspend", content, self.administrators(name)[:by]))

    def topic(self, audience, by=None, signed_as=None, **changes):
        """A line of inquiry of the requester for one provider, signed by its administrators or by somebody else."""
        content = heading("topic") | {
            "federation": self.federation, "node_id": self.requester, "audience": audience, "salt": bytes(16),
            "title": "Coca\u00edna en contenedores", "purposes": ["test"], "valid_from": ISSUED, "valid_to": EXPIRES,
        } | changes
        return self.document("topic", content, self.administrators(self.requester) if by is None else by, signed_as)

    def request(self, member, query, number, topic=None, **changes):
        """An exchange without reply; `number` makes the request's id, `topic` is a document that it stands under."""
        body = heading("request-body") | {
            "request_id": bytes(15) + bytes([number]), "requester": self.requester,
            "officer_card_hash": sha256(self.card).digest(), "audience": member, "issued_at": ASKED,
            "deliver_by": ASKED + 60_000, "wanted_until": 0, "epoch": 1, "roster_version": 1, "view_hash": ZERO,
            "edition": 0, "purpose": "test", "legal_basis": "test",
            "topic_hash": hash_of(topic) if topic else ZERO, "case_ref_commit": ZERO, "reply_class": 0, "query": query,
        } | changes
        raw = encode(STRUCTURES["request-body"][0], body)
        return {
            "body": raw.hex(),
            "officer_signature": self.officer.sign("request-body", self.federation, raw).hex(),
            "officer_card": self.card.hex(),
            "reply": None,
            "without_reply": "unreachable",
        } | ({"topic": topic.hex()} if topic else {})

    def slice(self, member, query, number_of, years=(2021, 2022)):
        """What an edition answers; `number_of(levels, key, measure)` gives the numbers of a measure in a cell."""
        table = self.catalogues[0].table(id=query["table_id"])
        blocks = {}
        for year in years:
            blocks[year] = b"".join(
                encode(NUMBER, number)
                for levels, key in cells_of_year(table, year, member[:2])
                for index, measure in enumerate(table.measures)
                for number in (
                    number_of(levels, key, measure)
                    if table.level_sets[levels] >> index & 1
                    else ["not_available"] * measure.width
                )
            )
        return select(table, query, member[:2], blocks)

    def reply(self, exchange, member, data, edition=1, catalogue=0, header=None, **changes):
        """The exchange with an answer; `header` and `changes` replace fields of edition and head."""
        raw = bytes.fromhex(exchange["body"])
        header = heading("edition") | {
            "number": edition, "prev_commit": ZERO, "commit": sha256(bytes([edition])).digest(), "rules_hash": ZERO,
            "catalogue_hash": self.catalogue_hashes[catalogue], "protection": "primary-only", "coverage": [],
            "as_of": ISSUED, "published_at": ISSUED,
        } | (header or {})
        head = heading("answer") | {
            "body_hash": sha256(raw).digest(), "request_id": raw[4:20], "responder": member,
            "requester": self.requester, "decision": "answered", "code": None, "issued_at": ASKED, "epoch": 1,
            "roster_version": 1, "policy_version": 0, "policy_commit": ZERO, "edition": edition,
            "edition_commit": header["commit"], "slice_hash": sha256(data).digest(), "slice_len": len(data),
            "handling": {"code": "H0", "tlp": "AMBER+STRICT", "embargo_until": 0, "recipients": []},
            "provable_after": 0,
        } | changes
        signer = self.sign_key(member)
        payload = encode(STRUCTURES["answer"][0], head)
        answered = head["decision"] == "answered"
        reply = {
            "head": payload.hex(),
            "signature": signer.sign("answer", self.federation, payload).hex(),
            "slice": data.hex(),
            "edition": self.document("edition", header, [signer]).hex() if answered else None,
        }
        return exchange | {"reply": reply, "without_reply": None}

    def refusal(self, exchange, member, code="E_UNAVAILABLE", **changes):
        refused = {"decision": "refused", "code": code, "edition": 0, "edition_commit": ZERO}
        return self.reply(exchange, member, b"", **(refused | changes))

    def status(self, exchange, member, state="held", label="status", by=None, **changes):
        """The exchange with a `Status`; `changes` replace fields of it or of the reply."""
        raw = bytes.fromhex(exchange["body"])
        reply = {name: changes.pop(name) for name in ("slice", "edition", "signature") if name in changes}
        status = heading("status") | {
            "body_hash": sha256(raw).digest(), "request_id": raw[4:20], "state": state, "state_seq": 1, "at": ASKED,
        } | changes
        payload = encode(STRUCTURES["status"][0], status)
        signature = (by or self.sign_key(member)).sign(label, self.federation, payload)
        reply = {"head": payload.hex(), "signature": signature.hex(), "slice": "", "edition": None} | reply
        return exchange | {"reply": reply, "without_reply": None}

    def file(self, table, exchanges, pooled, **changes):
        bodies = [sha256(bytes.fromhex(one["body"])).digest() for one in exchanges]
        file = {
            "accord_evidence": 1, "federation": self.federation.hex(), "question_id": question_id(bodies).hex(),
            "table": table, "collected_at": COLLECTED, "documents": [one.hex() for one in self.documents],
            "exchanges": exchanges, "pooled": pooled,
        } | changes
        return json.dumps(file).encode()
