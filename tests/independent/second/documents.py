"""Owns a signed document of `docs/trust-files.md`: its signers and the rules of its kind (sections 1 and 2)."""

import ipaddress
import re
from functools import cached_property
from hashlib import sha256

from second.encoding import MIB, Refused, decode
from second.keys import key_fault, signed_by
from second.messages import DOCUMENT, MEMBER, STRUCTURES
from second.rules import DAY_MS, RULES as OTHER_RULES

LONGEST_VALIDITY_MS = 400 * DAY_MS
LONGEST_SUSPENSION_MS = 30 * DAY_MS
# A topic is ended for as long as it may run.
LONGEST_END_OF_TOPIC_MS = 400 * DAY_MS
ADDRESS = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([0-9A-Fa-f:.]+)\]):(\d{1,20})")
HEX = re.compile(r"[0-9a-f]{64}")


class SignedDocument:
    """A document, its decoded content and the keys that have signed it; a key counts once.

    Signers and content are found when they are first asked for: a document that does not count may hold anything.
    """

    def __init__(self, data, federation, where, label=None):
        self.where = where
        document = decode(DOCUMENT, data, "document", MIB, where)
        self.label = document["label"]
        if label and self.label != label:
            raise Refused(where, f"a document with label {self.label} instead of {label}")
        self.payload = document["payload"]
        self.hash = sha256(self.payload).digest()
        self._signatures = document["signatures"]
        self._federation = federation

    @cached_property
    def signers(self):
        return {
            one["key"]
            for one in self._signatures
            if signed_by(one["key"], one["signature"], self.label, self._federation, self.payload)
        }

    @cached_property
    def content(self):
        """The decoded payload, which keeps the rules of its kind."""
        structure, cap = STRUCTURES[self.label]
        content = decode(structure, self.payload, self.label, cap, self.where)
        if self.label in RULES:
            fault = RULES[self.label](content)
            if fault:
                self.refuse(fault)
        return content

    @property
    def reads(self):
        """Whether there is a content that keeps its rules."""
        return self.fault(lambda: self.content) is None

    @staticmethod
    def fault(action):
        """Why an action is refused, or None."""
        try:
            action()
        except Refused as refused:
            return refused
        return None

    def refuse(self, what):
        raise Refused(f"{self.where} ({self.label})", what)

    def has_threshold(self, keys, threshold):
        return len(self.signers.intersection(keys)) >= threshold

    def need_threshold(self, keys, threshold, whose):
        if not self.has_threshold(keys, threshold):
            count = len(self.signers.intersection(keys))
            self.refuse(f"signed by {count} of the {whose}, {threshold} needed")

    def need_all(self, keys, whose):
        missing = [key for key in keys if key not in self.signers]
        if missing:
            self.refuse(f"not signed by {whose} {missing[0].hex()}")


def dates_fault(content, longest=None, until="expires_at"):
    valid_for = content[until] - content["issued_at"]
    if valid_for <= 0:
        return "expires before it is issued"
    if longest is not None and valid_for > longest:
        return f"valid for more than {longest // DAY_MS} days"
    return None


def version_fault(*versions):
    return "versions start at 1" if min(versions) < 1 else None


def root_fault(content):
    if not 2 <= content["threshold"] < len(content["keys"]):
        return f"threshold {content['threshold']} of {len(content['keys'])} keys"
    if content["epoch"] < 1:
        return "epoch 0"
    return version_fault(content["root_version"]) or dates_fault(content)


def roster_fault(content):
    if not content["members"]:
        return "no members"
    for member in content["members"]:
        if member["valid_from"] >= member["valid_to"]:
            return f"{member['node_id']} is valid for no time"
    if content["min_protocol"] > content["max_protocol"]:
        return "the lowest protocol is above the highest"
    return version_fault(content["roster_version"], content["epoch"], content["root_version"]) or dates_fault(content)


def member_keys_fault(content):
    administrators, threshold = len(content["admin_keys"]), content["admin_threshold"]
    if not (2 <= threshold < administrators or threshold == administrators == 2):
        return f"threshold {threshold} of {administrators} administrators"
    for field in ("tls_keys", "sign_keys", "log_keys", "addresses"):
        if not content[field]:
            return f"{field} is empty"
    everything = keys_in(content)
    if len(set(everything)) != len(everything):
        return "a key stands twice"
    for address in content["addresses"]:
        fault = address_fault(address)
        if fault:
            return f"address {address!r}: {fault}"
    return version_fault(content["keys_version"]) or dates_fault(content, LONGEST_VALIDITY_MS)


def list_fault(content):
    return version_fault(content["list_version"]) or dates_fault(content, LONGEST_VALIDITY_MS)


def staff_fault(content):
    keys = [person["key"] for person in content["people"]]
    return "a key stands twice" if len(set(keys)) != len(keys) else list_fault(content)


def policy_fault(content):
    return version_fault(content["policy_version"])


def suspend_fault(content):
    subject = content["subject"]
    fits = {
        "officer": lambda: HEX.fullmatch(subject),
        "own-key": lambda: HEX.fullmatch(subject) and not key_fault(bytes.fromhex(subject)),
        "partner": lambda: not member_fault(subject),
        "table": lambda: subject,
        "own-node": lambda: subject == content["node_id"],
        "own-clock": lambda: subject == content["node_id"] and content["way"] == "lifts",
        "own-topic": lambda: HEX.fullmatch(subject) and content["way"] == "stops",
    }
    if not fits[content["target"]]():
        return f"no subject of the kind {content['target']}"
    longest = LONGEST_END_OF_TOPIC_MS if content["target"] == "own-topic" else LONGEST_SUSPENSION_MS
    return dates_fault(content, longest, "until")


def member_fault(name):
    try:
        raw = name.encode("ascii")
        decode(MEMBER, len(raw).to_bytes(8, "big") + raw, "member", MIB)
    except Refused as refused:
        return refused.what
    return None


def accept_fault(content):
    return None if content["compared"] else "nothing is accepted"


# Section 2: what a document must keep, whoever signed it.
RULES = OTHER_RULES | {
    "root": root_fault,
    "roster": roster_fault,
    "member-keys": member_keys_fault,
    "officers": list_fault,
    "staff": staff_fault,
    "policy": policy_fault,
    "suspend": suspend_fault,
    "accept": accept_fault,
}


def keys_in(content):
    """Every key of a MemberKeys document, each place once."""
    places = (content["admin_keys"], content["tls_keys"], content["sign_keys"], content["log_keys"])
    return [key for place in places for key in place] + [content["witness_key"]]


def address_fault(address):
    """Why an address cannot be reached, or None."""
    parts = ADDRESS.fullmatch(address)
    if not parts or not 0 < int(parts[3]) <= 65_535:
        return "not IP:PORT"
    try:
        ip = ipaddress.ip_address(parts[1] or parts[2])
    except ValueError as error:
        return str(error)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local or str(ip) == "255.255.255.255":
        return "unspecified, multicast, broadcast or link-local"
    return None
