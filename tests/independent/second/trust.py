"""Owns what a set of documents comes to: `docs/trust-files.md`, sections 3 to 5."""

from collections import namedtuple

from second.documents import DAY_MS, SignedDocument, keys_in
from second.encoding import Refused
from second.keys import federation_id

IN_A_SET = ("root", "roster", "member-keys", "officers", "staff", "policy", "catalogue", "suspend", "accept")
VERSIONS_READ = 1024
SUSPENSIONS_KEPT = 64
ENDED_TOPICS_KEPT = 257
FEDERATION = "federation"

# What a node or tool has beside the documents: its member, and the hash of the roster that was installed by hand.
Ground = namedtuple("Ground", "member installed")
Remark = namedtuple("Remark", "word label whose more refused", defaults=("", None))


def version_of(content):
    """The version of a list or policy."""
    return content["policy_version"] if "policy_version" in content else content["list_version"]


class Trust:
    """The last root, the roster, keys, officers and suspensions of members, catalogues; and `remarks`."""

    def __init__(self, documents, federation, where, ground=None, is_whole=True):
        """`documents` are bytes, `where` the path of their list, for errors.

        Without a ground they are a whole; or they are gathered: all keys count as well, and what does not hold is left out.
        """
        self.federation = federation
        self.where = where
        self.ground = ground
        self.remarks = []
        self._documents = {label: [] for label in IN_A_SET}
        for index, data in enumerate(documents):
            document = SignedDocument(data, federation, f"{where}[{index}]")
            if document.label in IN_A_SET:
                self._documents[document.label].append(document)
        self._roots, self._contested_root = self._follow_roots()
        self.root = self._roots[-1].content
        self.root_hash = self._roots[-1].hash
        self._rosters = self._follow_rosters()
        document = self._rosters[-1]
        self.roster = document.content
        highest = [one for one in self._rosters if rank(one) == rank(document)]
        behind = self.roster["root_version"] < self.root["root_version"]
        if behind:
            self._remark("root-ahead", "root", FEDERATION, self.root["root_version"])
        self.in_doubt = len(highest) > 1 or self._contested_root or behind
        self.roster_hash = document.hash
        self.members = {member["node_id"]: member for member in self.roster["members"]}
        self.catalogues = self._catalogues()
        self._counting = {}
        accepted = self._accepted()
        found = {
            name: self._lineage(member, accepted)
            for name, member in self.members.items()
            if member["state"] != "removed"
        }
        self._keys = self._unshared({name: one for name, one in found.items() if one})
        self.keys = {name: one.content for name, one in self._keys.items()}
        self._officers = {name: self._latest("officers", name) for name in self._keys}
        self.officers = {name: one.content for name, one in self._officers.items() if one}
        if ground and ground.member in self._keys:
            self._latest("staff", ground.member)
            self._latest("policy", ground.member)
        self.suspensions = self._suspensions()
        if ground is None and is_whole:
            self._need_no_remark()

    def _remark(self, word, label, whose, more="", refused=None):
        self.remarks.append(Remark(word, label, whose, str(more), refused))

    def _need_no_remark(self):
        """Section 4: as a whole, every document must be believed and of use."""
        for remark in self.remarks:
            if remark.refused:
                raise remark.refused
            raise Refused(self.where, f"{remark.word}: {remark.label} of {remark.whose} {remark.more}".rstrip())

    def _each(self, label):
        """The documents of a label by their hash; those with one payload together."""
        groups = {}
        for document in self._documents[label]:
            groups.setdefault(document.hash, []).append(document)
        return [groups[one] for one in sorted(groups)]

    def _first_good(self, label, whose, need, group):
        """The first of some documents with one payload that is not refused; a remark if there is none."""
        refused = None
        for document in group:
            refused = document.fault(lambda one=document: need(one))
            if not refused:
                return document
        self._remark("not-believed", label, whose, refused=refused)
        return None

    # 4.1

    def _follow_roots(self):
        groups = self._each("root")
        if not groups:
            raise Refused(self.where, "no root among the documents")
        versions = {}
        for group in groups:
            document = group[0]
            if document.reads:
                versions.setdefault(document.content["root_version"], []).append(group)
            else:
                fault = document.fault(lambda one=document: one.content)
                self._remark("not-believed", "root", FEDERATION, refused=fault)
        chain = [self._first_root(versions)]
        for version in sorted(one for one in versions if one > 1):
            last = chain[-1].content
            tried = [
                self._first_good("root", FEDERATION, lambda one, last=last: self._need_next_root(last, one), group)
                for group in versions[version]
            ]
            good = [document for document in tried if document]
            if len(good) > 1:
                self._remark("equivocation", "root", FEDERATION, version)
                return chain, True
            chain += good
        return chain, False

    def _first_root(self, versions):
        firsts = [document for group in versions.get(1, []) for document in group]
        meant = [document for document in firsts if federation_id(document.payload) == self.federation]
        for document in meant:
            if document.signers.issuperset(document.content["keys"]):
                return document
        for document in meant:
            document.need_all(document.content["keys"], "its key")
        for document in firsts:
            document.refuse(f"is the root of another federation, {federation_id(document.payload).hex()}")
        for remark in self.remarks:
            raise remark.refused
        lowest = versions[min(versions)][0][0]
        lowest.refuse(f"version {lowest.content['root_version']} where version 1 is due")

    @staticmethod
    def _need_next_root(last, document):
        root = document.content
        due = last["root_version"] + 1
        if root["root_version"] != due:
            document.refuse(f"version {root['root_version']} where version {due} is due")
        if root["epoch"] < last["epoch"]:
            document.refuse("the epoch goes back")
        if root["genesis_nonce"] != last["genesis_nonce"]:
            document.refuse("another genesis")
        document.need_threshold(last["keys"], last["threshold"], "keys of the root before")
        document.need_threshold(root["keys"], root["threshold"], "keys of this root")
        document.need_all([key for key in root["keys"] if key not in last["keys"]], "its new key")

    # 4.2

    def _need_roster(self, document):
        roster = document.content
        self._need_federation(document)
        roots = [root.content for root in self._roots if root.content["root_version"] == roster["root_version"]]
        if not roots:
            document.refuse(f"root_version {roster['root_version']}, there is no such root")
        if roster["epoch"] != roots[0]["epoch"]:
            document.refuse(f"epoch {roster['epoch']}, that of its root is {roots[0]['epoch']}")
        document.need_threshold(roots[0]["keys"], roots[0]["threshold"], "root keys")

    def _follow_rosters(self):
        groups = self._each("roster")
        if not groups:
            raise Refused(self.where, "no roster among the documents")
        tried = [self._first_good("roster", FEDERATION, self._need_roster, group) for group in groups]
        believed = [document for document in tried if document]
        following = []
        for document in sorted(believed, key=lambda one: (*rank(one), one.hash)):
            is_first = self.ground is None or document.hash == self.ground.installed
            if is_first or any(roster_follows(before, document) for before in following):
                if following and rank(following[-1]) == rank(document):
                    self._remark("equivocation", "roster", FEDERATION, document.content["roster_version"])
                following.append(document)
            else:
                self._remark("gap", "roster", FEDERATION, document.content["roster_version"])
        if not following:
            for remark in self.remarks:
                if remark.refused:
                    raise remark.refused
            raise Refused(self.where, "no roster follows from the installed one")
        return following

    # 4.3

    def _catalogues(self):
        """The roster's catalogue, signed under any root of the chain, and all that the last root has signed."""
        meant = self.roster["catalogue_hash"]
        catalogues, refused = {}, Refused(self.where, f"the roster's catalogue {meant.hex()} is missing")
        for document in self._documents["catalogue"]:
            roots = self._roots if document.hash == meant else self._roots[-1:]
            if any(document.has_threshold(root.content["keys"], root.content["threshold"]) for root in roots):
                fault = document.fault(lambda one=document: one.content)
            else:
                fault = document.fault(lambda one=document: self._need_root(one))
            if not fault:
                catalogues[document.hash] = document.content["text"]
            elif document.hash == meant:
                refused = fault
        if meant not in catalogues:
            raise refused
        return catalogues

    def _need_root(self, document):
        document.need_threshold(self.root["keys"], self.root["threshold"], "root keys")

    def _need_federation(self, document):
        if document.content["federation"] != self.federation:
            document.refuse("names another federation")

    def _need_own(self, document, keys):
        self._need_federation(document)
        if document.content["node_id"] != keys["node_id"]:
            document.refuse("is of another member")

    # 4.4

    def _accepted(self):
        """The keys documents that were compared here, as (member, hash); None where all count."""
        if self.ground is None:
            return None
        installed = [one for one in self._rosters if one.hash == self.ground.installed]
        accepted = {
            (member["node_id"], member["anchor_hash"]) for one in installed for member in one.content["members"]
        }
        own = self.members.get(self.ground.member)
        if not own:
            return accepted
        accepted.add((own["node_id"], own["anchor_hash"]))
        keys = self._lineage(own, accepted, aloud=False)
        if not keys:
            return accepted

        def need(document):
            document.need_threshold(keys.content["admin_keys"], 1, "administrators")
            self._need_own(document, keys.content)

        for group in self._each("accept"):
            document = self._first_good("accept", own["node_id"], need, group)
            if document:
                accepted.update((one["member"], one["keys"]) for one in document.content["compared"])
        return accepted

    def _need_keys(self, document):
        content = document.content
        self._need_federation(document)
        document.need_threshold(content["admin_keys"], content["admin_threshold"], "administrators")
        if content["keys_version"] == 1:
            document.need_all(keys_in(content), "its key")

    def _lineage(self, member, accepted, aloud=True):
        """The document with a member's keys in force, or None. The own keys are looked for before, not aloud."""
        name, remarks = member["node_id"], self.remarks
        self.remarks = []
        claims = [
            group for group in self._each("member-keys") if group[0].reads and group[0].content["node_id"] == name
        ]
        tried = [self._first_good("member-keys", name, self._need_keys, group) for group in claims]
        believed = [document for document in tried if document]
        believed.sort(key=lambda one: (one.content["keys_version"], one.hash))
        known = {one.hash: one for one in believed[:VERSIONS_READ]}
        anchored, counting = {}, {}
        for document in known.values():
            content = document.content
            before = known.get(content["prev_hash"])
            if before and not keys_follow(before, document):
                before = None
            is_anchor = (document.hash, content["keys_version"]) == (member["anchor_hash"], member["anchor_version"])
            if is_anchor or (before and before.hash in anchored):
                anchored[document.hash] = document
            continuous = before and before.hash in counting and document.has_threshold(before.content["sign_keys"], 1)
            if continuous or accepted is None or (name, document.hash) in accepted:
                counting[document.hash] = document
        self._counting[name] = counting
        for document in known.values():
            version = document.content["keys_version"]
            if version > member["anchor_version"] and document.hash not in anchored and document.hash not in counting:
                word = "not-believed" if document.content["prev_hash"] in known else "gap"
                self._remark(word, "member-keys", name, version if word == "gap" else "")
        keys = self._in_force(member, known, anchored, counting)
        self.remarks = remarks + (self.remarks if aloud else [])
        return keys

    def _in_force(self, member, known, anchored, counting):
        name = member["node_id"]
        if member["anchor_hash"] not in anchored:
            meant = [one for one in self._documents["member-keys"] if one.hash == member["anchor_hash"]]
            faults = [one.fault(lambda document=one: self._need_keys(document)) for one in meant]
            missing = Refused(self.where, f"no keys document of {name} that the roster names")
            refused = next((fault for fault in faults if fault), missing)
            self._remark("missing", "member-keys", name, refused=refused)
            return None
        last, contested = None, False
        for document in anchored.values():
            version = document.content["keys_version"]
            if document.hash not in counting:
                before = document.content["prev_hash"]
                if before in known and before in counting:
                    why = "no-continuity"
                else:
                    why = "anchored" if counting else "new"
                self._remark("waiting", "member-keys", name, f"{version} {why}")
                continue
            if last and last.content["keys_version"] == version:
                contested = True
                self._remark("equivocation", "member-keys", name, version)
            last = document
        return None if contested else last

    def _unshared(self, found):
        owners, shared = {}, set()
        for name, document in found.items():
            for key in keys_in(document.content):
                owner = owners.setdefault(key, name)
                if owner != name:
                    owners[key] = name
                    shared.update((owner, name))
                    self._remark("shared-key", "member-keys", " ".join(sorted((owner, name))))
        return {name: one for name, one in found.items() if name not in shared}

    # 4.5

    def _latest(self, label, name):
        """The document with a member's list in force, or None."""
        keys = self.keys[name]
        claims = [
            group
            for group in self._each(label)
            if group[0].reads
            and (group[0].content["node_id"], group[0].content["federation"]) == (name, self.federation)
        ]
        claims.sort(key=lambda group: (version_of(group[0].content), group[0].hash))
        counting = {}

        def need(document):
            version = version_of(document.content)
            if not self._is_shorter(document, keys, counting):
                document.need_threshold(keys["admin_keys"], keys["admin_threshold"], "administrators")
            if label == "officers" and version < keys["officers_version_min"]:
                document.refuse(f"has version {version}, at least {keys['officers_version_min']} wanted")

        for group in claims:
            document = self._first_good(label, name, need, group)
            if document:
                counting[document.hash] = document
        highest = max((version_of(one.content) for one in counting.values()), default=0)
        last = [one for one in counting.values() if version_of(one.content) == highest]
        if len(last) > 1:
            self._remark("equivocation", label, name, highest)
        return last[0] if len(last) == 1 else None

    @staticmethod
    def _is_shorter(document, keys, counting):
        """Whether one administrator is enough: the list only takes away from one that counts."""
        content = document.content
        before = counting.get(content["prev_hash"])
        if not before or not document.has_threshold(keys["admin_keys"], 1):
            return False
        before = before.content
        if version_of(content) != version_of(before) + 1:
            return False
        if "rows" in content:
            # 4.5: nothing but remarks.
            texts = (content["rows"], "#"), (content["cedar"], "//")
            return all(not line.strip() or line.strip().startswith(mark) for text, mark in texts for line in text.split("\n"))
        if content["expires_at"] > before["expires_at"]:
            return False
        if "cards" in content:
            return set(content["cards"]) <= set(before["cards"])
        return all(any(stays_within(one, had) for had in before["people"]) for one in content["people"])

    # 4.6

    def _suspensions(self):
        of_member = {}
        for group in self._each("suspend"):
            whose = group[0].content["node_id"] if group[0].reads else "-"
            document = self._first_good("suspend", whose, self._need_suspension, group)
            if document:
                of_member.setdefault(whose, []).append(document)
        order = {}
        for name, some in of_member.items():
            some.sort(key=lambda one: (one.content["issued_at"], one.hash))
            # Apart, so that many topics that have ended push out no word about a card or a key.
            of_topics = [one for one in some if one.content["target"] == "own-topic"]
            others = [one for one in some if one.content["target"] != "own-topic"]
            of_topics.sort(key=lambda one: (one.content["until"], one.hash))
            kept = others[-SUSPENSIONS_KEPT:] + of_topics[-ENDED_TOPICS_KEPT:]
            order[name] = [one.content for one in kept]
        return order

    def _need_suspension(self, document):
        content = document.content
        keys = self.keys.get(content["node_id"])
        if not keys:
            document.refuse("by nobody who is known")
        self._need_own(document, keys)
        need = 1 if content["way"] == "stops" else keys["admin_threshold"]
        document.need_threshold(keys["admin_keys"], need, "administrators")

    def is_ended(self, name, subject, at, until):
        """Whether a topic is ended at a time, by words issued until another. Of too many nobody knows which were dropped."""
        lasting = [
            one for one in self.suspensions.get(name, []) if one["target"] == "own-topic" and at < one["until"]
        ]
        ends = [one for one in lasting if one["subject"] == subject.hex() and one["issued_at"] <= until]
        return bool(ends) or len(lasting) >= ENDED_TOPICS_KEPT

    def is_suspended(self, name, target, subject, at):
        words = [
            one
            for one in self.suspensions.get(name, [])
            if (one["target"], one["subject"]) == (target, subject.hex()) and one["issued_at"] <= at + DAY_MS
        ]
        return bool(words) and words[-1]["way"] == "stops" and at < words[-1]["until"]

    # 4.7

    def left(self, name, field, at):
        """The keys of a member in a role that are not suspended."""
        keys = self.keys[name][field] if name in self.keys else []
        return [key for key in keys if not self.is_suspended(name, "own-key", key, at)]

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
            return "has no keys in force"
        if self.in_doubt:
            return "is not active, the roster is in doubt"
        for document, what in ((self.roster, "the roster"), (self.root, "the root"), (keys, "its keys document")):
            if at >= document["expires_at"]:
                return f"is not active, {what} has expired"
        if not self.left(name, "tls_keys", at) or not self.left(name, "sign_keys", at):
            return "is not active, its keys are suspended"
        return None

    def exchanges(self, at):
        """Whether data is exchanged at a time."""
        return not self.in_doubt and at < self.roster["expires_at"] and at < self.root["expires_at"]

    def is_greeted(self, name, at):
        member = self.members[name]
        within = member["state"] != "removed" and member["valid_from"] <= at < member["valid_to"]
        return within and bool(self.left(name, "tls_keys", at))

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
        if at >= officers["expires_at"]:
            return f"the officers list of {name} has expired"
        if card_hash not in officers["cards"]:
            return f"the card is not on the officers list of {name}"
        if self.is_suspended(name, "officer", card_hash, at):
            return "the card is suspended"
        if not card["valid_from"] <= at < card["valid_to"]:
            return "the card is outside its validity"
        return None

    def keys_back(self, name):
        """The keys documents of a member that count: the one in force, and one after the other those that it follows."""
        found, document = [], self._keys.get(name)
        while document:
            found.append(document.content)
            before = self._counting[name].get(document.content["prev_hash"])
            document = before if before and keys_follow(before, document) else None
        return found

    def in_force(self, label, name):
        """The document with a member's keys or officers in force, or None."""
        return {"member-keys": self._keys, "officers": self._officers}[label].get(name)


def rank(roster):
    return roster.content["epoch"], roster.content["roster_version"]


def roster_follows(before, document):
    """Section 4.2: whether a roster follows another one."""
    old, new = before.content, document.content
    is_next = (
        old["epoch"] == new["epoch"]
        and old["roster_version"] + 1 == new["roster_version"]
        and before.hash == new["prev_hash"]
    )
    return old["root_version"] <= new["root_version"] and (is_next or old["epoch"] < new["epoch"])


def keys_follow(before, document):
    """Section 4.4, step 2, of a document that names the other one."""
    old, new = before.content, document.content
    known = set(keys_in(old))
    added = [key for key in keys_in(new) if key not in known]
    return (
        new["keys_version"] == old["keys_version"] + 1
        and document.has_threshold(old["admin_keys"], old["admin_threshold"])
        and document.signers.issuperset(added)
    )


def stays_within(one, had):
    same = (one["role"], one["key"]) == (had["role"], had["key"])
    return same and had["valid_from"] <= one["valid_from"] and one["valid_to"] <= had["valid_to"]
