"""Owns the structures of `docs/wire.md`, sections 3 to 8, and of trust files: their fields, codes and caps."""

from second.encoding import (
    KIB, MIB, Bytes, Code, Constant, Fixed, Key, List, Member, Number, Option, Struct, Text, UInt, Utf8,
)
from second.keys import LABELS, NUMBERS, RESERVED

U8, U16, U32, U64, MS = UInt(1), UInt(2), UInt(4), UInt(8), UInt(8)
HASH, SIG, ID16 = Fixed(32), Fixed(64), Fixed(16)
KEY, MEMBER, NUMBER = Key(), Member(), Number()


def itself(value):
    return value


def head(kind):
    """Section 4: what every signed structure begins with."""
    return {"protocol": Constant(2, 1), "kind": Constant(2, NUMBERS[kind])}


def codes(size, **names):
    return Code(size, {number: name.replace("_", "-") for name, number in names.items()})


LABEL = Code(2, {number: name for name, number in (LABELS | RESERVED).items()})
MESSAGE_KIND = codes(
    2, hello=101, fetch=102, request=103, notice=104, greet=105, view=106, collect=107, receipt=108, nudge=109,
    ask=110, relay=111, status=112, notices=113, edition=114, proof=115, recall=116, inbox=117, requests=118, watch=119,
    **{"import": 120}, coverage=121, records=122, rates=123, mapping=124, trust=125, audit=126,
    cosign=127, tell=128, backup=129,
)
STATE = codes(1, active=1, suspended=2, removed=3)
MEMBER_ROLE = codes(1, provider=1, requester=2, witness=3)
KEY_ROLES = {
    1: "root", 2: "administrator", 3: "tls", 4: "sign", 5: "log", 6: "witness", 7: "officer", 8: "operator",
    9: "approver", 10: "auditor", 11: "edition",
}
KEY_ROLE = Code(1, KEY_ROLES)
PURPOSE = codes(2, strategic_analysis=1, early_warning=2, operational_support=3, method_exchange=4, test=5)
LEGAL_BASIS = Code(
    2, {1: "agreement", 2: "directive-2023-977", 3: "regulation-2023-1322", 4: "national-law", 5: "test"}
)
RECORD_KIND = codes(2, seizure=1, purity=2, price=3, site=4, profile=5)
REFUSAL_CODES = {
    1: "E_AUTH", 2: "E_TIME", 3: "E_CONFLICT", 4: "E_ENCODING", 5: "E_QUERY", 6: "E_UNAVAILABLE", 7: "E_EDITION",
    8: "E_VIEW", 9: "E_REJECTED", 10: "E_QUOTA", 11: "E_BUSY",
}
# Why a person said no: the high byte beside E_REJECTED, and the reason of an approval.
REJECTED = 9
REASONS = {
    1: "purpose", 2: "legal-basis", 3: "scope", 4: "ongoing-case", 5: "quality", 6: "other-channel", 7: "authority",
    8: "other",
}
# Each pair of code and reason that decodes, a rejection being `E_REJECTED scope`; 0 is that of an answer.
DECISION_CODE = Code(
    2,
    {0: None}
    | {number: name for number, name in REFUSAL_CODES.items() if number != REJECTED}
    | {number << 8 | REJECTED: f"{REFUSAL_CODES[REJECTED]} {name}" for number, name in REASONS.items()},
)
TLP = Code(1, {0: "CLEAR", 1: "GREEN", 2: "AMBER", 3: "AMBER+STRICT", 4: "RED"})

# Section 3.
HEAD = Struct(protocol=Constant(2, 1), kind=MESSAGE_KIND, payload=Bytes(64_512))

# Section 4.
SIGNED_BYTES = Struct(payload=Bytes(49_152), signature=SIG)
SIGNATURE = Struct(key=KEY, signature=SIG)
DOCUMENT = Struct(label=LABEL, payload=Bytes(1_048_576), signatures=List(SIGNATURE, 64))

# `docs/trust-files.md`, section 2.
ROOT = Struct(
    **head("root"), root_version=U64, epoch=U32, genesis_nonce=HASH, name=Text(64), keys=List(KEY, 16, itself),
    threshold=U8, issued_at=MS, expires_at=MS,
)
ROSTER_MEMBER = Struct(
    node_id=MEMBER, name=Text(64), state=STATE, roles=List(MEMBER_ROLE, 3, MEMBER_ROLE.numbers.get),
    anchor_version=U64, anchor_hash=HASH, valid_from=MS, valid_to=MS,
)
ROSTER = Struct(
    **head("roster"), federation=HASH, root_version=U64, epoch=U32, roster_version=U64, prev_hash=HASH,
    issued_at=MS, expires_at=MS, catalogue_hash=HASH, min_protocol=U16, max_protocol=U16,
    members=List(ROSTER_MEMBER, 64, lambda member: member["node_id"]),
)
MEMBER_KEYS = Struct(
    **head("member-keys"), federation=HASH, node_id=MEMBER, keys_version=U64, prev_hash=HASH, issued_at=MS,
    expires_at=MS, admin_keys=List(KEY, 8, itself), admin_threshold=U8, tls_keys=List(KEY, 2), sign_keys=List(KEY, 2),
    log_keys=List(KEY, 2), witness_key=KEY, addresses=List(Text(64), 4), officers_version_min=U64,
)
OFFICERS = Struct(
    **head("officers"), federation=HASH, node_id=MEMBER, list_version=U64, prev_hash=HASH, issued_at=MS,
    expires_at=MS, cards=List(HASH, 1024, itself),
)
CARD = Struct(
    officer_id=ID16, key=KEY, purposes=List(PURPOSE, 16, PURPOSE.numbers.get), valid_from=MS, valid_to=MS
)
STAFF = Struct(
    **head("staff"), federation=HASH, node_id=MEMBER, list_version=U64, prev_hash=HASH, issued_at=MS, expires_at=MS,
    people=List(
        Struct(role=Code(1, {role: KEY_ROLES[role] for role in (8, 9, 10)}), key=KEY, valid_from=MS, valid_to=MS), 64
    ),
)
KEY_CLAIM = Struct(
    **head("key-claim"), name=Text(64), node_id=Option(MEMBER), keys=List(Struct(role=KEY_ROLE, key=KEY), 8),
    addresses=List(Text(64), 4),
)
SUSPEND = Struct(
    **head("suspend"), federation=HASH, node_id=MEMBER, way=codes(1, stops=1, lifts=2),
    target=codes(1, officer=1, partner=2, table=3, own_key=4, own_node=5, own_clock=6, own_topic=7),
    subject=Text(64), reason=Text(120), issued_at=MS, until=MS,
)
ACCEPT = Struct(
    **head("accept"), federation=HASH, node_id=MEMBER, issued_at=MS,
    compared=List(Struct(member=MEMBER, keys=HASH), 64, lambda one: one["member"]),
)
POLICY = Struct(
    **head("policy"), federation=HASH, node_id=MEMBER, policy_version=U64, prev_hash=HASH, issued_at=MS,
    rows=Utf8(65_536), cedar=Utf8(65_536),
)
CATALOGUE = Struct(**head("catalogue"), text=Utf8(524_288))
# Section 1 there.
BUNDLE = Struct(proposed=List(DOCUMENT, 512), held=List(DOCUMENT, 1024), cards=List(CARD, 1024), note=Bytes(4096))

# Section 6.
COVERAGE_STATE = codes(1, complete=1, partial=2, none=3)
COVERAGE_ROW = Struct(
    **{"kind": RECORD_KIND, "from": U32, "to": U32, "state": COVERAGE_STATE}
)
COVERAGE = List(
    COVERAGE_ROW, 256,
    lambda row: (RECORD_KIND.numbers[row["kind"]], row["from"], row["to"], COVERAGE_STATE.numbers[row["state"]]),
)
EDITION = Struct(
    **head("edition"), number=U64, prev_commit=HASH, commit=HASH, rules_hash=HASH, catalogue_hash=HASH,
    protection=codes(1, primary_only=1, audited=2), coverage=COVERAGE, as_of=MS, published_at=MS,
)
WITHDRAWAL = Struct(**head("withdraw"), member=MEMBER, number=U64, commit=HASH, at=MS)

# Section 7.
QUERY = Struct(
    table_id=U16, table_version=U16, measures=U32,
    dims=List(Struct(dim=U8, level=U8, codes=List(U32, 64, itself)), 8),
)
REQUEST_BODY = Struct(
    **head("request-body"), request_id=ID16, requester=MEMBER, officer_card_hash=HASH, audience=MEMBER, issued_at=MS,
    deliver_by=MS, wanted_until=MS, epoch=U32, roster_version=U64, view_hash=HASH, edition=U64, purpose=PURPOSE,
    legal_basis=LEGAL_BASIS, topic_hash=HASH, case_ref_commit=HASH,
    reply_class=Code(1, {number: number for number in range(5)}), query=QUERY,
)
REQUEST = Struct(
    **head("request"), body=Bytes(32_768), officer_signature=SIG, officer_card=Bytes(1024), topic=Bytes(2048),
    node_id=MEMBER, node_key=KEY, sent_at=MS, channel_binding=HASH,
)
TOPIC = Struct(
    **head("topic"), federation=HASH, node_id=MEMBER, audience=MEMBER, salt=ID16, title=Utf8(800),
    purposes=List(PURPOSE, 16, PURPOSE.numbers.get), valid_from=MS, valid_to=MS,
)


def handling_word(bits):
    """Handling codes by their bits: 1 is H1, 2 is H2, 4 is H3; none of them is H0."""
    return "+".join(word for bit, word in ((1, "H1"), (2, "H2"), (4, "H3")) if bits & bit) or "H0"


HANDLING = Struct(
    code=Code(1, {bits: handling_word(bits) for bits in range(8)}), tlp=TLP, embargo_until=MS,
    recipients=List(MEMBER, 64, itself),
)
ANSWER_HEAD = Struct(
    **head("answer"), body_hash=HASH, request_id=ID16, responder=MEMBER, requester=MEMBER,
    decision=codes(1, answered=1, refused=2), code=DECISION_CODE, issued_at=MS, epoch=U32,
    roster_version=U64, policy_version=U64, policy_commit=HASH, edition=U64, edition_commit=HASH, slice_hash=HASH,
    slice_len=U32, handling=HANDLING, provable_after=MS,
)

# Section 7, what a member may see.
VIEW = Struct(
    **head("view"), provider=MEMBER, audience=MEMBER, catalogue_hash=HASH,
    edition=List(Struct(number=U64, commit=HASH, as_of=MS, published_at=MS), 1), coverage=COVERAGE,
    rules=Struct(
        k=U32, p_percent=U32, dominance_percent=U32, zeros_shown=Code(1, {0: False, 1: True}),
    ),
    handling=HANDLING, burst=U32, per_minute=U32, contact=Text(200), ages=List(U32, 32, itself),
    tables=List(
        Struct(
            table_id=U16, table_version=U16, note=Text(400),
            rows=List(
                Struct(
                    purpose=PURPOSE, under=codes(1, either=1, without=2, **{"with": 3}),
                    ways=List(codes(1, no=0, at_once=1, one_approval=2, two_approvals=3), 32),
                    levels=List(U16, 4096, itself),
                ),
                256,
            ),
        ),
        256, lambda table: table["table_id"],
    ),
    footnotes=List(Struct(table_id=U16, levels=List(U8, 8), codes=List(U32, 8), source=Text(200)), 512),
)

# Section 7, requests that a person decides.
STATUS = Struct(
    **head("status"), body_hash=HASH, request_id=ID16,
    state=codes(1, received=1, held=2, withdrawn=3, expired=4), state_seq=U32, at=MS,
)
# The two bytes that tell a `Status` from an `AnswerHead`.
STATUS_KIND = NUMBERS["status"].to_bytes(2, "big")
RECEIPT = Struct(**head("receipt"), body_hash=HASH, head_hash=HASH, at=MS)
RECALL = Struct(**head("recall"), body_hash=HASH, request_id=ID16, at=MS)
COLLECT = HASH
COLLECT_LIST = List(Struct(body_hash=HASH, state_seq=U32), 1024, lambda one: one["body_hash"])
APPROVAL = Struct(
    **head("approval"), node_id=MEMBER, body_hash=HASH, verdict=codes(1, approve=1, reject=2),
    reason=Code(1, {0: None, **REASONS}), slice_hash=HASH, edition=U64, policy_hash=HASH, at=MS,
)
STANDING = Struct(
    **head("standing"), node_id=MEMBER, partner=MEMBER, table_id=U16, purpose=PURPOSE, **{"from": MS}, until=MS
)

# Section 7, logs.
BARE_NOTE = Bytes(1024)
COSIGN = Struct(old_size=U64, consistency=List(HASH, 63), checkpoint=BARE_NOTE)
COSIGNED = Struct(outcome=codes(1, held=1, other_size=2, refused=3), held=BARE_NOTE, line=Bytes(512))
TOLD = List(BARE_NOTE, 48)
PROOF_CALL = Struct(what=codes(1, entry=1, consistency=2), subject=HASH, old=U64, new=U64)
CONSISTENCY = List(HASH, 63)

# A backup's manifest (`docs/storage.md`).
BACKUP = Struct(
    **head("backup"), federation=HASH, node_id=MEMBER, made_at=MS, schema=U32, sequence=U64, log_size=U64,
    log_root=HASH, epoch=U32, roster_version=U64, roster_hash=HASH, keys_version=U64, keys_hash=HASH, files=U32,
    keys=U64, bytes=U64, content=HASH,
)

# Section 8.
FETCH = Struct(label=LABEL, node_id=Option(MEMBER), number=U64, hash=HASH)
ASK_CALL = Struct(
    body=Bytes(32_768), officer_signature=SIG, officer_card=Bytes(1024), topic=Bytes(2048), wait_ms=U32
)
ASK_REPLY = Struct(
    outcome=Code(1, {1: "replied", 2: "unreachable", 3: "not_verified"}), detail=Text(240),
    answer=Option(SIGNED_BYTES), edition=Bytes(32_768), elapsed_us=U64,
)
RELAY_CALL = Struct(**{"from": MEMBER, "fetch": FETCH, "wait_ms": U32})

# Every structure by its name, with its cap in bytes.
STRUCTURES = {
    "head": (HEAD, 64 * KIB),
    "signed-bytes": (SIGNED_BYTES, 64 * KIB),
    "document": (DOCUMENT, MIB),
    "bundle": (BUNDLE, 8 * MIB),
    "root": (ROOT, 64 * KIB),
    "roster": (ROSTER, MIB),
    "member-keys": (MEMBER_KEYS, 64 * KIB),
    "officers": (OFFICERS, 64 * KIB),
    "card": (CARD, KIB),
    "staff": (STAFF, 64 * KIB),
    "key-claim": (KEY_CLAIM, 64 * KIB),
    "suspend": (SUSPEND, KIB),
    "accept": (ACCEPT, 64 * KIB),
    "policy": (POLICY, MIB),
    "catalogue": (CATALOGUE, MIB),
    "edition": (EDITION, 64 * KIB),
    "withdraw": (WITHDRAWAL, KIB),
    "request-body": (REQUEST_BODY, 64 * KIB),
    "request": (REQUEST, 64 * KIB),
    "topic": (TOPIC, KIB),
    "answer": (ANSWER_HEAD, 64 * KIB),
    "view": (VIEW, MIB),
    "backup": (BACKUP, KIB),
    "cosign": (COSIGN, 64 * KIB),
    "cosigned": (COSIGNED, 64 * KIB),
    "tell": (TOLD, 64 * KIB),
    "proof": (PROOF_CALL, KIB),
    "consistency": (CONSISTENCY, 64 * KIB),
    "status": (STATUS, KIB),
    "receipt": (RECEIPT, KIB),
    "recall": (RECALL, KIB),
    "collect": (COLLECT, KIB),
    "collect-list": (COLLECT_LIST, 64 * KIB),
    "approval": (APPROVAL, KIB),
    "standing": (STANDING, KIB),
    "fetch": (FETCH, 64 * KIB),
    "ask": (ASK_CALL, 64 * KIB),
    "ask-reply": (ASK_REPLY, 64 * KIB),
    "relay": (RELAY_CALL, 64 * KIB),
    "cell": (NUMBER, Number.SIZE),
}
