"""Owns the check of a file of vectors: one name and one value a line."""

import re
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from second.encoding import KIB, MIB, Refused, decode, encode
from second.frames import read_stream, write_stream
from second.keys import LABELS, federation_id, fingerprint, key_fault, sign_input, signed_by
from second.messages import STRUCTURES
from second.rules import RULES
from second.topics import fault_between, topic_of

# Vectors that are named after what they show and not after their structure.
STRUCTURE_OF = {
    "refusal": "answer", "rejection": "answer", "request-under-topic": "request",
    "cell-value": "cell", "cell-suppressed": "cell", "cell-not-available": "cell",
}
# A structure that is signed under the label of another one.
LABEL_OF = {"recall": "withdraw"}
# Vectors about the request of the vectors.
OF_THE_REQUEST = ("answer", "refusal", "rejection", "status", "receipt", "recall", "approval", "collect")
# Structures in which a request stands beside its topic.
WITH_A_TOPIC = ("request", "ask")


class Vectors:
    def __init__(self, text):
        self.values = {}
        for number, line in enumerate(text.splitlines(), start=1):
            name, _, value = line.partition(" ")
            if not value or name in self.values:
                raise Refused(f"line {number}", "not a new name and a value")
            self.values[name] = value
        self.notes = []

    def check(self):
        """Every difference as (name, what); `notes` holds what is odd and no difference."""
        differences = []
        for name, value in self.values.items():
            try:
                fault = self._check_one(name, value)
            except (Refused, ValueError, KeyError) as error:
                fault = f"{type(error).__name__}: {error}"
            if fault:
                differences.append((name, fault))
        return differences

    def _bytes(self, name):
        return bytes.fromhex(self.values[name])

    def _check_one(self, name, value):
        federation = self._bytes("federation-id")
        if name == "federation-id":
            return self._same(federation_id(self._bytes("root")).hex(), value)
        if parts := re.fullmatch(r"public-key-of-seed-(\d+)", name):
            return self._same(public_key(int(parts[1])).hex(), value) or key_fault(self._bytes(name))
        if parts := re.fullmatch(r"fingerprint-([a-z]+)-([A-Z]{2}-[A-Z0-9-]+)-seed-(\d+)", name):
            return self._same(fingerprint(parts[1], parts[2], public_key(int(parts[3]))), value)
        if parts := re.fullmatch(r"(.+)\.sign-input-sha256", name):
            label, payload = self._label(parts[1]), self._bytes(parts[1])
            return self._same(sha256(sign_input(label, federation, payload)).hexdigest(), value)
        if parts := re.fullmatch(r"(.+)\.signature-by-([0-9a-f]{64})", name):
            label, payload, key = self._label(parts[1]), self._bytes(parts[1]), bytes.fromhex(parts[2])
            good = not key_fault(key) and signed_by(key, self._bytes(name), label, federation, payload)
            return None if good else "not a signature of the payload"
        if parts := re.fullmatch(r"stream-padded-to-(\d+)", name):
            return self._stream(name, int(parts[1]))
        return self._message(name)

    @staticmethod
    def _same(computed, value):
        return None if computed == value else f"{computed} computed"

    @staticmethod
    def _label(name):
        label = STRUCTURE_OF.get(name, name)
        label = LABEL_OF.get(label, label)
        if label not in LABELS:
            raise Refused(name, "no signed structure")
        return label

    def _message(self, name):
        kind = STRUCTURE_OF.get(name, name)
        if kind not in STRUCTURES:
            return "a name of no known kind"
        structure, cap = STRUCTURES[kind]
        message = decode(structure, self._bytes(name), name, cap)
        if encode(structure, message) != self._bytes(name):
            return "encodes to other bytes"
        if kind in RULES and RULES[kind](message):
            return f"{RULES[kind](message)}, which is against the rules"
        if name in OF_THE_REQUEST:
            return self._of_the_request(message)
        if kind in WITH_A_TOPIC:
            return self._under_its_topic(message)
        return None

    def _of_the_request(self, message):
        body = self._bytes("request-body")
        fields = {"body_hash": message} if isinstance(message, bytes) else message
        if fields["body_hash"] != sha256(body).digest():
            return "a body_hash that is not that of request-body"
        if fields.get("request_id", body[4:20]) != body[4:20]:
            return "a request_id that is not that of request-body"
        return None

    def _under_its_topic(self, message):
        """What a request brings along is the topic that its body names, and covers it when it is issued."""
        structure, cap = STRUCTURES["request-body"]
        body = decode(structure, message["body"], "request-body", cap)
        federation = self._bytes("federation-id")
        document = topic_of(message["topic"], body, federation, "topic")
        if not document:
            return None
        if document.payload != self._bytes("topic"):
            return "a topic that is not that of topic"
        structure, cap = STRUCTURES["member-keys"]
        keys = decode(structure, self._bytes("member-keys"), "member-keys", cap)
        document.need_threshold(keys["admin_keys"], keys["admin_threshold"], "administrators")
        return fault_between(document.content, body, federation, body["issued_at"])

    def _stream(self, name, size):
        data = self._bytes(name)
        stream = read_stream(data, False, 64 * KIB, MIB, 4 * MIB)
        if len(data) != size:
            self.notes.append((name, f"{len(data)} stream bytes, and not {size} as its name says"))
        return None if write_stream(stream, len(data)) == data else "is written as other bytes"


def public_key(seed):
    """The key of a test seed: 32 bytes that all have one value."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
