"""Owns the tree of `docs/audit.md`, section 5: hashes, roots, and proofs of inclusion and consistency (RFC 9162)."""

from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry):
    return sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """Takes one entry after the other and has the root over those so far.

    Kept are the roots of the complete trees that the entries so far fall into, the largest first: one for each bit that is
    set in their number.
    """

    def __init__(self):
        self.size = 0
        self._complete = []

    def append(self, entry):
        self.append_leaf(leaf_hash(entry))

    def append_leaf(self, leaf):
        """Takes an entry of which only the hash is there."""
        node, bits = leaf, self.size
        while bits & 1:
            node = node_hash(self._complete.pop(), node)
            bits >>= 1
        self._complete.append(node)
        self.size += 1

    def root(self):
        if not self._complete:
            return EMPTY_ROOT
        *larger, node = self._complete
        for left in reversed(larger):
            node = node_hash(left, node)
        return node


def inclusion_fault(entry, index, size, path, root):
    """Why a path does not lead from an entry to the root of a tree, or None if it does (RFC 9162, 2.1.3.2)."""
    if index >= size:
        return f"no entry {index} in a tree of {size}"
    node, at, last = leaf_hash(entry), index, size - 1
    for sibling in path:
        if last == 0:
            return "the path is too long"
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            at, last = above_left_edge(at, last)
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        return "the path is too short"
    return None if node == root else "the path does not lead to the root"


def consistency_fault(old_size, new_size, old_root, new_root, path):
    """Why a path does not show that one tree begins with another, or None if it does (RFC 9162, 2.1.4.2)."""
    if old_size > new_size:
        return f"a tree of {new_size} does not begin with one of {old_size}"
    if old_size in (0, new_size):
        # Nothing is to be shown: every tree begins with the empty one and with itself.
        expected = new_root if old_size else EMPTY_ROOT
        if path:
            return "the path is too long"
        return None if old_root == expected else "the roots differ"
    path = list(path)
    if old_size & (old_size - 1) == 0:
        # The old tree is complete, and its root the first node on the way.
        path.insert(0, old_root)
    if not path:
        return "the path is too short"
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return "the path is too long"
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = above_left_edge(at, last)
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        return "the path is too short"
    if old != old_root:
        return "the path does not lead to the old root"
    return None if new == new_root else "the path does not lead to the new root"


def above_left_edge(at, last):
    """Up past the levels at which the last node has no sibling, since there is nothing on its right."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last
