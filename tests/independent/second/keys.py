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
    "catalogue": 7,
    "withdraw": 13,
    "key-claim": 14,
    "request-body": 16,
    "request": 17,
    "answer": 18,
    "edition": 21,
}
WITHOUT_FEDERATION = ("root", "key-claim")

# The curve of RFC 8032, section 5.1.
PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)


def decompress(key):
    """The point (x, y) of 32 bytes as RFC 8032, 5.1.3, or None if they are no canonical point."""
    number = int.from_bytes(key, "little")
    odd, y = number >> 255, number & (2**255 - 1)
    if y >= PRIME:
        return None
    top, bottom = (y * y - 1) % PRIME, (CURVE_D * y * y + 1) % PRIME
    x = top * bottom**3 * pow(top * bottom**7, (PRIME - 5) // 8, PRIME) % PRIME
    if bottom * x * x % PRIME == -top % PRIME:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    if bottom * x * x % PRIME != top or (x == 0 and odd):
        return None
    return (PRIME - x if x % 2 != odd else x), y


def double(point):
    """Twice a point, by the addition law of the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2."""
    x, y = point
    product = CURVE_D * x * x * y * y % PRIME
    return (
        2 * x * y * pow(1 + product, -1, PRIME) % PRIME,
        (y * y + x * x) * pow(1 - product, -1, PRIME) % PRIME,
    )


@lru_cache(maxsize=4096)
def key_fault(key):
    """Why 32 bytes are no `key` of section 1, or None if they are one."""
    point = decompress(key)
    if point is None:
        return "not a canonical point of the curve"
    # The cofactor is 8: a point of low order is one whose eightfold is the neutral element.
    if double(double(double(point))) == (0, 1):
        return "a point of low order"
    return None


def sign_input(label, federation, payload):
    federation = bytes(32) if label in WITHOUT_FEDERATION else federation
    size = len(payload).to_bytes(8, "big")
    return b"accord/1 " + label.encode("ascii") + b"\x00" + federation + size + payload


def signed_by(key, signature, label, federation, payload):
    """Whether a key, already checked to be a `key`, has signed the payload under the label."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, sign_input(label, federation, payload))
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
