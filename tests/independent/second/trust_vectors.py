"""Owns the check of a file of sets of trust documents (`docs/trust-files.md`, section 7)."""

from hashlib import sha256

from second.encoding import KIB, Refused, decode
from second.messages import STRUCTURES
from second.trust import Ground, Trust


class TrustVectors:
    def __init__(self, text):
        self.documents, self.cards, self.cases = {}, {}, {}
        lines = None
        for number, line in enumerate(text.splitlines(), start=1):
            word, _, value = line.partition(" ")
            if word == "case":
                lines = self.cases.setdefault(value, [])
                if lines:
                    raise Refused(f"line {number}", f"a second case {value}")
            elif word in ("document", "card") and lines is None:
                name, _, raw = value.partition(" ")
                (self.documents if word == "document" else self.cards)[name] = bytes.fromhex(raw)
            elif line and lines is not None:
                lines.append(line)
            elif line:
                raise Refused(f"line {number}", "stands before the first case")

    def check(self):
        """Every difference as (case, what)."""
        differences = []
        for name, lines in self.cases.items():
            read, (word, names), *expected = lines[0], lines[1].split(" ", 1), *lines[2:]
            if word != "with":
                raise Refused(name, "names no documents")
            documents = [self.documents[one] for one in names.split()]
            times = [int(line.removeprefix("at ")) for line in expected if line.startswith("at ")]
            for order, some in (("", documents), (" turned round", documents[::-1])):
                found = self._verdict(read.split()[1:], some, times)
                if found != expected:
                    odd = sorted(set(found).symmetric_difference(expected))
                    differences.append((name + order, "; ".join(odd) or "the lines stand in another order"))
        return differences

    def _verdict(self, read, documents, times):
        how, federation, *rest = read
        ground = Ground(rest[0], bytes.fromhex(rest[1])) if how == "held" else None
        try:
            trust = Trust(documents, bytes.fromhex(federation), "documents", ground)
        except Refused:
            return ["refused"]
        lines = [
            f"root {trust.root['root_version']} {trust.root_hash.hex()}",
            f"roster {trust.roster['roster_version']} {trust.roster_hash.hex()}",
        ]
        for word, label, field in (("keys", "member-keys", "keys_version"), ("officers", "officers", "list_version")):
            for name in trust.members:
                document = trust.in_force(label, name)
                mark = f"{document.content[field]} {document.hash.hex()}" if document else "none"
                lines.append(f"{word} {name} {mark}")
        remarks = {f"remark {one.word} {one.label} {one.whose} {one.more}".rstrip() for one in trust.remarks}
        lines += sorted(remarks)
        for at in times:
            lines += self._at(trust, at)
        return lines

    def _at(self, trust, at):
        active = [
            f"{name}:{len(trust.left(name, 'sign_keys', at))}" for name in trust.members if not trust.inactive(name, at)
        ]
        vouched = [
            f"{name}:{card}"
            for name in trust.members
            for card, raw in self.cards.items()
            if not trust.not_vouched(name, sha256(raw).digest(), decode(STRUCTURES["card"][0], raw, "card", KIB), at)
        ]
        return [
            f"at {at}",
            f"exchange {'yes' if trust.exchanges(at) else 'no'}",
            f"active {' '.join(active) or '-'}",
            f"greeted {' '.join(name for name in trust.members if trust.is_greeted(name, at)) or '-'}",
            f"vouched {' '.join(vouched) or '-'}",
        ]
