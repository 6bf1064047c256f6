"""Owns what the tests share: refusals, alterations, and the shipped catalogue for the example federation."""

import unittest
from pathlib import Path

from second.encoding import Refused

DATA = Path(__file__).parents[3] / "protocol" / "data"


class Case(unittest.TestCase):
    def refused(self, action, what, where=""):
        """The action is refused, for a reason and at a place that hold these words."""
        with self.assertRaises(Refused) as caught:
            action()
        self.assertIn(what, caught.exception.what)
        self.assertIn(where, caught.exception.where)


def lists():
    return str(DATA / "lists")


def catalogue_text():
    return (DATA / "strategic-1.toml").read_text(encoding="utf-8")


def alterations(good):
    """Every single-bit flip and every truncation."""
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for size in range(len(good)):
        yield good[:size]
