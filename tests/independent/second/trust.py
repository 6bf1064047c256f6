"""Owns section 5: the trust set that follows from documents under a federation's id."""

import ipaddress
import re
from functools import cached_property
from hashlib import sha256

from second.encoding import MIB, Refused, decode
from second.keys import federation_id, signed_by
from second.messages import DOCUMENT, STRUCTURES

DAY_MS = 86_400_000
LONGEST_VALIDITY_MS = 400 * DAY_MS
IN_A_SET = ("root", "roster", "member-keys", "officers", "staff", "catalogue")
ADDRESS = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([0-9A-Fa-f:.]+)\]):(\d{1,20})")


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
        structure, cap = STRUCTURES[self.label]
        return decode(structure, self.payload, self.label, cap, self.where)

    def refuse(self, what):
        raise Refused(f"{self.where} ({self.label})", what)

    def need_threshold(self, keys, threshold, whose):
        count = len(self.signers.intersection(keys))
        if count < threshold:
            self.refuse(f"signed by {count} of the {whose}, {threshold} needed")

    def need_all(self, keys, whose):
        missing = [key for key in keys if key not in self.signers]
        if missing:
            self.refuse(f"not signed by {whose} {missing[0].hex()}")

    def need_version(self, field):
        if self.content[field] < 1:
            self.refuse("versions start at 1")

    def need_dates(self, longest=None):
        valid_for = self.content["expires_at"] - self.content["issued_at"]
        if valid_for <= 0:
            self.refuse("expires before it is issued")
        if longest is not None and valid_for > longest:
            self.refuse(f"valid for more than {longest // DAY_MS} days")


class Trust:
    """What the documents say: the last root, the roster, keys and officers of members, and catalogues."""

    def __init__(self, documents, federation, where):
        """`documents` are bytes; `where` is the path of their list, for errors."""
        self.federation = federation
        self.where = where
        by_label = {label: [] for label in IN_A_SET}
        for index, data in enumerate(documents):
            document = SignedDocument(data, federation, f"{where}[{index}]")
            if document.label in by_label:
                by_label[document.label].append(document)
        self.root = self._last_root(by_label["root"])
        self.roster = self._roster(by_label["roster"])
        self.members = {member["node_id"]: member for member in self.roster["members"]}
        self.catalogues = self._catalogues(by_label["catalogue"])
        self.keys = self._member_keys(by_label["member-keys"])
        self.officers = self._officers(by_label["officers"])
        if len(by_label["staff"]) > 1:
            by_label["staff"][1].refuse("a second staff list")

    def _last_root(self, roots):
        """Section 5, Root: from version 1, whose hash is the federation's id, each signed by the one before."""
        if not roots:
            raise Refused(self.where, "no root among the documents")
        last = None
        for version, document in enumerate(sorted(roots, key=lambda root: root.content["root_version"]), start=1):
            root = document.content
            if root["root_version"] != version:
                document.refuse(f"version {root['root_version']} where version {version} is due")
            if not 2 <= root["threshold"] < len(root["keys"]):
                document.refuse(f"threshold {root['threshold']} of {len(root['keys'])} keys")
            if root["epoch"] < 1:
                document.refuse("epoch 0")
            document.need_dates()
            if last is None:
                if federation_id(document.payload) != self.federation:
                    document.refuse(f"is the root of another federation, {federation_id(document.payload).hex()}")
                document.need_all(root["keys"], "its key")
            else:
                if root["epoch"] < last["epoch"]:
                    document.refuse("the epoch goes back")
                document.need_threshold(last["keys"], last["threshold"], "keys of the root before")
                document.need_threshold(root["keys"], root["threshold"], "keys of this root")
                document.need_all([key for key in root["keys"] if key not in last["keys"]], "its new key")
            last = root
        return last

    def _need_federation(self, document):
        if document.content["federation"] != self.federation:
            document.refuse("names another federation")

    def _need_root(self, document):
        document.need_threshold(self.root["keys"], self.root["threshold"], "root keys")

    def _roster(self, rosters):
        if len(rosters) != 1:
            raise Refused(self.where, f"{len(rosters)} rosters among the documents instead of one")
        document = rosters[0]
        self._need_federation(document)
        self._need_root(document)
        document.need_dates()
        document.need_version("roster_version")
        for member in document.content["members"]:
            if member["valid_from"] >= member["valid_to"]:
                document.refuse(f"{member['node_id']} is valid for no time")
        if document.content["min_protocol"] > document.content["max_protocol"]:
            document.refuse("the lowest protocol is above the highest")
        for field in ("epoch", "root_version"):
            if document.content[field] != self.root[field]:
                document.refuse(f"{field} {document.content[field]}, that of the last root is {self.root[field]}")
        return document.content

    def _catalogues(self, documents):
        """All catalogues that the root has signed; the roster's must be one of them."""
        catalogues = {}
        for document in documents:
            if document.hash == self.roster["catalogue_hash"] and document.hash not in catalogues:
                self._need_root(document)
            if len(document.signers.intersection(self.root["keys"])) >= self.root["threshold"]:
                try:
                    catalogues[document.hash] = document.content["text"]
                except Refused:
                    if document.hash == self.roster["catalogue_hash"]:
                        raise
        if self.roster["catalogue_hash"] not in catalogues:
            raise Refused(self.where, f"the roster's catalogue {self.roster['catalogue_hash'].hex()} is missing")
        return catalogues

    def _member_keys(self, documents):
        """Section 5, MemberKeys: only the document that the roster names as a member's anchor counts."""
        keys, owners = {}, {}
        anchors = {member["anchor_hash"] for member in self.roster["members"]}
        for document in documents:
            if document.hash not in anchors:
                continue
            content = document.content
            member = self.members.get(content["node_id"])
            if not member or document.hash != member["anchor_hash"]:
                continue
            if content["node_id"] in keys:
                continue
            if content["keys_version"] != member["anchor_version"]:
                document.refuse(f"version {content['keys_version']}, the roster names {member['anchor_version']}")
            self._check_member_keys(document)
            for key in keys_in(content):
                owner = owners.setdefault(key, content["node_id"])
                if owner != content["node_id"]:
                    document.refuse(f"key {key.hex()} stands under {owner} too")
            keys[content["node_id"]] = content
        for name, member in self.members.items():
            if name not in keys and member["state"] != "removed":
                raise Refused(self.where, f"no keys document of {name} that the roster names")
        return keys

    def _check_member_keys(self, document):
        content = document.content
        self._need_federation(document)
        document.need_dates(LONGEST_VALIDITY_MS)
        document.need_version("keys_version")
        administrators, threshold = len(content["admin_keys"]), content["admin_threshold"]
        if not (2 <= threshold < administrators or threshold == administrators == 2):
            document.refuse(f"threshold {threshold} of {administrators} administrators")
        for field in ("tls_keys", "sign_keys", "log_keys", "addresses"):
            if not content[field]:
                document.refuse(f"{field} is empty")
        everything = keys_in(content)
        if len(set(everything)) != len(everything):
            document.refuse("a key stands twice")
        document.need_threshold(content["admin_keys"], threshold, "administrators")
        document.need_all(everything, "its key")
        for address in content["addresses"]:
            fault = address_fault(address)
            if fault:
                document.refuse(f"address {address!r}: {fault}")

    def _officers(self, documents):
        """Section 5, Officers: one list of a member, by its administrators.

        A list that breaks another rule is not in force, and neither is that of nobody on the roster.
        """
        lists = {}
        for document in documents:
            try:
                content = document.content
            except Refused:
                continue
            name = content["node_id"]
            keys = self.keys.get(name)
            if not keys:
                continue
            if name in lists:
                document.refuse(f"a second officers list of {name}")
            self._need_federation(document)
            document.need_threshold(keys["admin_keys"], keys["admin_threshold"], "administrators")
            lists[name] = content | {"fault": officers_fault(content, keys)}
        return lists

    def inactive(self, name, at):
        """Why a member is not active at a time, or None if it is."""
        member, keys = self.members.get(name), self.keys.get(name)
        if not member:
            return "does not stand on the roster"
        if member["state"] != "active":
            return f"is {member['state']}"
        if not member["valid_from"] <= at < member["valid_to"]:
            return "is outside its validity"
        if not keys:
            return "has no keys document that the roster names"
        for document, what in ((self.roster, "the roster"), (self.root, "the root"), (keys, "its keys document")):
            if at >= document["expires_at"]:
                return f"is not active, {what} has expired"
        return None

    def no_provider(self, name, at):
        """Why a member is no provider at a time, or None if it is."""
        fault = self.inactive(name, at)
        if fault is None and "provider" not in self.members[name]["roles"]:
            fault = "is no provider"
        return fault

    def not_vouched(self, name, card_hash, card, at):
        """Why a member does not vouch for an officer's card at a time, or None if it does."""
        officers = self.officers.get(name)
        if not officers:
            return f"no officers list of {name}"
        if officers["fault"]:
            return f"the officers list of {name} {officers['fault']}"
        if at >= officers["expires_at"]:
            return f"the officers list of {name} has expired"
        if card_hash not in officers["cards"]:
            return f"the card is not on the officers list of {name}"
        if not card["valid_from"] <= at < card["valid_to"]:
            return "the card is outside its validity"
        return None


def officers_fault(officers, keys):
    """Why an officers list that its administrators have signed is not in force, or None."""
    valid_for = officers["expires_at"] - officers["issued_at"]
    if not 0 < valid_for <= LONGEST_VALIDITY_MS:
        return "is valid for no time, or for more than 400 days"
    lowest = max(1, keys["officers_version_min"])
    if officers["list_version"] < lowest:
        return f"has version {officers['list_version']}, at least {lowest} wanted"
    return None


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
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local or str(ip) == "255.255.255.255":
        return "unspecified, multicast, broadcast or link-local"
    return None
