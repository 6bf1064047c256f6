"""Owns section 10: the evidence file and its verification."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256

from second.catalogue import Catalogue
from second.documents import SignedDocument
from second.encoding import KIB, Refused, decode
from second.json_text import need_hex, need_keys, need_type, read_json
from second.keys import signed_by
from second.layout import cells_of_query, read_slice
from second.levels import LEVELS, Logged, is_overdue, logged, need_level
from second.messages import STATUS_KIND, STRUCTURES
from second.pooling import MemberAnswers, incomparable, pool
from second.rules import answer_fault, body_fault, status_fault
from second.topics import need_topic
from second.trust import Trust

TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
TWO_MINUTES_MS = 120_000
COLLECTED_BEFORE_MS = TWO_MINUTES_MS + 1_000
WITHOUT_REPLY = ("unreachable", "not_verified")
LARGEST_HEAD = 4096
# What a `Status` may say, and why the member is then missing in the pooled rows.
MISSING_BY_STATE = {"held": "held", "withdrawn": "refused", "expired": "refused"}
EVIDENCE_KEYS = (
    "accord_evidence", "federation", "question_id", "table", "collected_at", "documents", "exchanges", "pooled",
)
EXCHANGE_KEYS = ("body", "officer_signature", "officer_card", "topic", "reply", "without_reply")
REPLY_KEYS = ("head", "signature", "slice", "edition", "log")


@dataclass
class Exchange:
    """One exchange that has been verified.

    `outcome` is answered, refused, held, withdrawn, expired, unreachable or not_verified; `head` is a decoded
    `AnswerHead`, or a `Status` for the three of its states. `log` is how it stands in the member's log, where the file
    proves that.
    """

    body: dict
    body_hash: bytes
    outcome: str
    head: dict | None = None
    catalogue_hash: bytes | None = None
    rows: dict = field(default_factory=dict)
    asked: dict = field(default_factory=dict)
    log: Logged | None = None


def milliseconds(text, where):
    """A time of the file, such as 2026-11-24T11:55:03Z, in milliseconds since 1970."""
    try:
        if not TIME.fullmatch(need_type(text, str, where)):
            raise ValueError("not of the form 2026-11-24T11:55:03Z")
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise Refused(where, f"{text!r} is no time: {error}") from error
    return int(moment.timestamp()) * 1000


class Verifier:
    """Verifies exchanges about one table as the asker does (section 7), with what the documents say."""

    def __init__(self, trust, table, now):
        self.trust = trust
        self.table = table
        self.now = now

    def exchange(self, item, where):
        need_keys(item, EXCHANGE_KEYS, where, ("topic", "reply", "without_reply"))
        raw = need_hex(item["body"], f"{where}.body")
        body = self._request(item, raw, where)
        if item["reply"] is None:
            if item["without_reply"] not in WITHOUT_REPLY:
                raise Refused(f"{where}.without_reply", f"{item['without_reply']!r} is not one of {WITHOUT_REPLY}")
            exchange = Exchange(body, sha256(raw).digest(), item["without_reply"])
        elif item["without_reply"] is not None:
            raise Refused(f"{where}.without_reply", "not null beside a reply")
        else:
            exchange = self._reply(item["reply"], body, sha256(raw).digest(), where)
            exchange.log = self._log(item["reply"], exchange, f"{where}.reply")
        exchange.asked = cells_of_query(self.table, body["query"], body["audience"][:2], f"{where}.body, query")
        return exchange

    def _request(self, item, raw, where):
        """Section 7, order at the asker: card, purpose, officer signature, topic, and an active partner."""
        structure, cap = STRUCTURES["request-body"]
        body = decode(structure, raw, "request-body", cap, f"{where}.body")
        fault = body_fault(body)
        if fault:
            raise Refused(f"{where}.body", fault)
        at = body["issued_at"]
        card_where = f"{where}.officer_card"
        card_raw = need_hex(item["officer_card"], card_where)
        card = decode(STRUCTURES["card"][0], card_raw, "card", KIB, card_where)
        card_hash = sha256(card_raw).digest()
        if body["officer_card_hash"] != card_hash:
            raise Refused(card_where, "not the card that the request names")
        fault = self.trust.not_vouched(body["requester"], card_hash, card, at)
        if fault:
            raise Refused(card_where, fault)
        if body["purpose"] not in card["purposes"]:
            raise Refused(card_where, f"purpose {body['purpose']} is not on the card")
        signature = need_hex(item["officer_signature"], f"{where}.officer_signature", 64)
        if not signed_by(card["key"], signature, "request-body", self.trust.federation, raw):
            raise Refused(f"{where}.officer_signature", "not the officer's signature of the body")
        # Left out is what is empty in the request.
        topic = b"" if item["topic"] is None else need_hex(item["topic"], f"{where}.topic")
        need_topic(topic, body, self.trust, at, f"{where}.topic")
        fault = self.trust.no_provider(body["audience"], at)
        if fault:
            raise Refused(f"{where}.body", f"the audience {body['audience']} {fault}")
        if body["query"]["table_id"] != self.table.id:
            raise Refused(f"{where}.body", f"table {body['query']['table_id']}, the file is about {self.table.id}")
        return body

    def _reply(self, reply, body, body_hash, where):
        where = f"{where}.reply"
        need_keys(reply, REPLY_KEYS, where, ("edition", "log"))
        raw = need_hex(reply["head"], f"{where}.head")
        if len(raw) > LARGEST_HEAD:
            raise Refused(f"{where}.head", f"{len(raw)} bytes, at most {LARGEST_HEAD} allowed")
        signature = need_hex(reply["signature"], f"{where}.signature", 64)
        sign_keys = self.trust.left(body["audience"], "sign_keys", body["issued_at"])
        label = "status" if raw[2:4] == STATUS_KIND else "answer"
        if not any(signed_by(key, signature, label, self.trust.federation, raw) for key in sign_keys):
            raise Refused(f"{where}.signature", f"no signature of the head by a signing key of {body['audience']}")
        structure, cap = STRUCTURES[label]
        head = decode(structure, raw, label, cap, f"{where}.head")
        if label == "status":
            return self._status(head, reply, body, body_hash, where)
        self._head(head, body, body_hash, f"{where}.head")
        data = need_hex(reply["slice"], f"{where}.slice")
        if len(data) != head["slice_len"]:
            raise Refused(f"{where}.slice", f"{len(data)} bytes, the head says {head['slice_len']}")
        if sha256(data).digest() != head["slice_hash"]:
            raise Refused(f"{where}.slice", "not the slice whose hash the head holds")
        if head["decision"] == "refused":
            if reply["edition"] is not None:
                SignedDocument(need_hex(reply["edition"], f"{where}.edition"), self.trust.federation, f"{where}.edition")
            return Exchange(body, body_hash, "refused", head)
        header = self._edition(reply["edition"], head, sign_keys, f"{where}.edition")
        country = body["audience"][:2]
        query_where = f"{where.removesuffix('.reply')}.body, query"
        rows = read_slice(self.table, body["query"], country, data, query_where, f"{where}.slice")
        return Exchange(body, body_hash, "answered", head, header["catalogue_hash"], rows)

    def _log(self, reply, exchange, where):
        """How a verified reply stands in its member's log, or None where the file has no proof."""
        if reply["log"] is None:
            return None
        text = need_type(reply["log"], str, f"{where}.log")
        label = "answer" if exchange.outcome in ("answered", "refused") else "status"
        at = exchange.head.get("at", exchange.head.get("issued_at"))
        raw, member = need_hex(reply["head"], f"{where}.head"), exchange.body["audience"]
        return logged(text, member, label, raw, exchange.outcome, at, self.trust, self.now, f"{where}.log")

    def _head(self, head, body, body_hash, where):
        """Section 7, order at the asker: the head belongs to this request and its time fits."""
        self._belongs(head, head["issued_at"], body, body_hash, where)
        for name, value in (("responder", body["audience"]), ("requester", body["requester"])):
            if head[name] != value:
                raise Refused(where, f"{name} is not that of the request")
        fault = answer_fault(head)
        if fault:
            raise Refused(where, fault)
        if head["decision"] == "answered" and body["edition"] not in (0, head["edition"]):
            raise Refused(where, f"edition {head['edition']}, asked for was {body['edition']}")

    def _status(self, status, reply, body, body_hash, where):
        """Section 7, the asker's node: what the tool verifies of a `Status`."""
        here = f"{where}.head"
        self._belongs(status, status["at"], body, body_hash, here)
        if not body["wanted_until"]:
            raise Refused(here, "a status of a request that does not wait")
        fault = status_fault(status)
        if fault:
            raise Refused(here, fault)
        if status["state"] not in MISSING_BY_STATE:
            raise Refused(here, f"the state {status['state']}, which no node says")
        if need_hex(reply["slice"], f"{where}.slice"):
            raise Refused(f"{where}.slice", "a slice beside a status")
        if reply["edition"] is not None:
            raise Refused(f"{where}.edition", "an edition's header beside a status")
        return Exchange(body, body_hash, status["state"], status)

    def _belongs(self, head, at, body, body_hash, where):
        """A head is about this request, and its time fits."""
        for name, value in (("body_hash", body_hash), ("request_id", body["request_id"])):
            if head[name] != value:
                raise Refused(where, f"{name} is not that of the request")
        if at < body["issued_at"] - TWO_MINUTES_MS:
            raise Refused(where, "issued more than 2 minutes before the request")
        if at > self.now + TWO_MINUTES_MS:
            raise Refused(where, "issued more than 2 minutes after now")

    def _edition(self, item, head, sign_keys, where):
        """The header of the edition that a head names, signed by the same member; other signatures do not count."""
        if item is None:
            raise Refused(where, "the edition's header is missing")
        document = SignedDocument(need_hex(item, where), self.trust.federation, where, "edition")
        if not document.signers.intersection(sign_keys):
            document.refuse("not signed by a signing key of the responder")
        header = document.content
        if (header["number"], header["commit"]) != (head["edition"], head["edition_commit"]):
            document.refuse("number and commit are not those of the head")
        return header

    def other_table(self, catalogue_hash, lists):
        """The table of the catalogue that an edition was made under, or None where that is not known."""
        if catalogue_hash not in self.trust.catalogues:
            return None
        try:
            text = self.trust.catalogues[catalogue_hash]
            table = Catalogue(text, lists, f"catalogue {catalogue_hash.hex()}").table(name=self.table.name)
        except Refused:
            return None
        return table if table and table.version == self.table.version else None


def question_id(body_hashes):
    return sha256(b"".join(sorted(body_hashes))).digest()[:16]


def verify(raw, federation, lists, now, answer=None, require=LEVELS[0]):
    """Verifies the bytes of an evidence file completely; what it proves, or Refused. `require` is a level for every reply.

    `answer` is called with the exchanges, the pooled rows and the table, to compare them with something else.
    """
    file = need_keys(read_json(raw), EVIDENCE_KEYS, "$")
    if need_type(file["accord_evidence"], int, "$.accord_evidence") != 1:
        raise Refused("$.accord_evidence", f"version {file['accord_evidence']} is unknown")
    if need_hex(file["federation"], "$.federation", 32) != federation:
        raise Refused("$.federation", "not the federation that was given")
    documents = [
        need_hex(one, f"$.documents[{index}]")
        for index, one in enumerate(need_type(file["documents"], list, "$.documents"))
    ]
    trust = Trust(documents, federation, "$.documents")
    text = trust.catalogues[trust.roster["catalogue_hash"]]
    catalogue = Catalogue(text, lists, "$.documents (catalogue)")
    table = catalogue.table(name=need_type(file["table"], str, "$.table"))
    if not table:
        raise Refused("$.table", f"no table {file['table']!r} in the catalogue")
    verifier = Verifier(trust, table, now)
    if not need_type(file["exchanges"], list, "$.exchanges"):
        raise Refused("$.exchanges", "no exchange")
    exchanges = [verifier.exchange(one, f"$.exchanges[{index}]") for index, one in enumerate(file["exchanges"])]
    one_question(exchanges)
    if need_hex(file["question_id"], "$.question_id", 16) != question_id(one.body_hash for one in exchanges):
        raise Refused("$.question_id", "does not follow from the bodies of the requests")
    collected = milliseconds(file["collected_at"], "$.collected_at")
    for index, one in enumerate(exchanges):
        if collected + COLLECTED_BEFORE_MS < one.body["issued_at"]:
            raise Refused("$.collected_at", f"more than 2 min 1 s before exchange {index} was issued")
    rows = pool(*together(exchanges, verifier, lists))
    need_equal(need_type(file["pooled"], list, "$.pooled"), rows, "$.pooled")
    need_level(exchanges, require, "$.exchanges")
    compared = answer(exchanges, rows, table) if answer else None
    return {
        "verified": True,
        "compared": compared,
        "federation": file["federation"],
        "question_id": file["question_id"],
        "table": table.name,
        "requester": exchanges[0].body["requester"],
        "exchanges": [outcome_of(one) for one in exchanges],
        "unproven": [
            one.body["audience"]
            for one in exchanges
            if is_overdue((one.head or {}).get("provable_after", 0), one.log, now)
        ],
        "pooled": rows,
    }


def one_question(exchanges):
    """No request twice, and one question by one officer in all of them."""
    seen = set()
    first = exchanges[0].body
    for index, one in enumerate(exchanges):
        where = f"$.exchanges[{index}].body"
        if one.body["request_id"] in seen:
            raise Refused(where, "its request_id stands in another exchange too")
        seen.add(one.body["request_id"])
        for name in ("requester", "officer_card_hash", "purpose", "legal_basis"):
            if one.body[name] != first[name]:
                raise Refused(where, f"{name} is not that of the first request")
        if shape(one.body["query"]) != shape(first["query"]):
            raise Refused(where, "version, measures or levels are not those of the first request")


def shape(query):
    """What the requests of one question have in common, so that their cells fit one table."""
    return query["table_version"], query["measures"], [dim["level"] for dim in query["dims"]]


def together(exchanges, verifier, lists):
    """The answers by member, the names of all cells that were asked, and the measures."""
    answers, names = {}, {}
    for index, one in enumerate(exchanges):
        names.update(one.asked)
        member = answers.setdefault(one.body["audience"], MemberAnswers(one.body["audience"]))
        for key in one.asked:
            if key in member.cells:
                raise Refused(f"$.exchanges[{index}].body", f"{member.member} is asked for the cell {names[key]} twice")
            member.cells[key] = MISSING_BY_STATE.get(one.outcome, one.outcome)
        if one.outcome != "answered":
            continue
        member.editions.add((one.head["edition"], one.head["edition_commit"]))
        hidden = not_comparable(one, verifier, lists)
        for key, numbers in one.rows.items():
            member.cells[key] = numbers
            member.not_comparable.update((key, position) for position in hidden)
    return answers.values(), names, verifier.table.chosen(exchanges[0].body["query"]["measures"])


def not_comparable(exchange, verifier, lists):
    """Positions, among the measures asked for, of those that another catalogue means otherwise."""
    if exchange.catalogue_hash == verifier.trust.roster["catalogue_hash"]:
        return []
    bits = exchange.body["query"]["measures"]
    differing = incomparable(verifier.table, verifier.other_table(exchange.catalogue_hash, lists))
    asked = [index for index in range(len(verifier.table.measures)) if bits >> index & 1]
    return [position for position, index in enumerate(asked) if index in differing]


def outcome_of(exchange):
    """What an exchange proves, as JSON: `at` is when the member said so, `reason` that of a rejection."""
    head = exchange.head or {}
    code, _, reason = (head.get("code") or "").partition(" ")
    return {
        "member": exchange.body["audience"],
        "outcome": exchange.outcome,
        "edition": head["edition"] if exchange.outcome == "answered" else None,
        "code": code or None,
        "reason": reason or None,
        "at": head.get("at", head.get("issued_at")),
        "log": exchange.log.shown() if exchange.log else None,
    }


def need_equal(found, computed, where):
    """Refuses at the first place where two JSON values differ, in type or content."""
    if type(found) is not type(computed):
        raise Refused(where, f"{json.dumps(found)[:80]} in the file, {json.dumps(computed)[:80]} computed")
    if isinstance(computed, dict):
        need_keys(found, computed, where, ("value",) if "value" in computed else ())
        for name in computed:
            need_equal(found[name], computed[name], f"{where}.{name}")
    elif isinstance(computed, list):
        if len(found) != len(computed):
            raise Refused(where, f"{len(found)} items in the file, {len(computed)} computed")
        for index, pair in enumerate(zip(found, computed)):
            need_equal(*pair, f"{where}[{index}]")
    elif found != computed:
        raise Refused(where, f"{json.dumps(found)} in the file, {json.dumps(computed)} computed")
