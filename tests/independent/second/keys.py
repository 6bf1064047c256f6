"""Owns what keys do: Ed25519 points, signatures and the federation's id (section 4), fingerprints (section 5)."""

from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Section 4: labels in use, with their numbers.
LABELS = {
    "root": 1,
    "roster": 2,
    "member-keys": 3,
    "officers": 4,
    "staff": 5,
    "policy": 6,
    "catalogue": 7,
    "suspend": 8,
    "accept": 9,
    "topic": 10,
    "approval": 11,
    "standing": 12,
    "withdraw": 13,
    "key-claim": 14,
    "hello": 15,
    "request-body": 16,
    "request": 17,
    "answer": 18,
    "status": 19,
    "receipt": 20,
    "edition": 21,
    "view": 22,
    "backup": 23,
    "proposal": 25,
}
# Labels that decode and under which nothing is signed.
RESERVED = {"break-glass": 24}
# What a signed structure begins with: its label's number, but two structures share the label `withdraw`.
NUMBERS = LABELS | {"recall": 26}
WITHOUT_FEDERATION = ("root", "key-claim")

# The curve of RFC 8032, section 5.1.
PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)


@lru_cache(maxsize=1)
def ys_of_low_order():
    """The y of the points whose order divides 8: 1, -1, 0, and the roots of d y^4 + 2 y^2 = 1."""
    ys = {1, PRIME - 1, 0}
    for root in square_roots((1 + CURVE_D) % PRIME):
        ys.update(square_roots((root - 1) * pow(CURVE_D, -1, PRIME) % PRIME))
    return frozenset(ys)


def square_roots(number):
    root = pow(number, (PRIME + 3) // 8, PRIME)
    candidates = {one % PRIME for one in (root, -root, root * ROOT_OF_MINUS_ONE, -root * ROOT_OF_MINUS_ONE)}
    return {one for one in candidates if one * one % PRIME == number}


def key_fault(key):
    """Why 32 bytes are no `key` of section 1, or None if they are one."""
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if y % PRIME in ys_of_low_order():
        return "a point of low order"
    if y >= PRIME:
        return "y is not below p"
    return None


def sign_input(label, federation, payload):
    federation = bytes(32) if label in WITHOUT_FEDERATION else federation
    size = len(payload).to_bytes(8, "big")
    return b"accord/1 " + label.encode("ascii") + b"\x00" + federation + size + payload


def signed_by(key, signature, label, federation, payload):
    """Whether a key, already checked to be a `key`, has signed the payload under the label."""
    return verifies(key, signature, sign_input(label, federation, payload))


def verifies(key, signature, message):
    """The library verifies without the cofactor, wants S below L and compares R as bytes, as section 4 does."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def federation_id(root_payload):
    return sha256(b"accord/1 fed\x00" + root_payload).digest()


def fingerprint(role, member, key):
    """Section 5: 40 decimal digits in 8 groups, of a key or of a federation's id."""
    digest = sha256()
    for part in (role.encode("ascii"), member.encode("ascii"), key):
        digest.update(len(part).to_bytes(8, "big") + part)
    digits = f"{int.from_bytes(digest.digest(), 'big') >> (256 - 132):040d}"
    return " ".join(digits[start : start + 5] for start in range(0, 40, 5))
