"""Owns the comparison of verdicts: the same altered evidence files before this verifier and before the tool."""

import json
import random
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from second.encoding import Refused
from second.evidence import verify

LONG_HEX = re.compile(rb"[0-9a-f]{200,}")
# What the tool says: verified, or refused.
EXIT_CODES = {0: True, 3: False}


def flips(raw, count, seed):
    """Single-bit flips: a third of them anywhere, a third in what is no long hex, a third before the documents."""
    chance = random.Random(seed)
    long = set()
    for found in LONG_HEX.finditer(raw):
        long.update(range(*found.span()))
    places = (
        range(len(raw)),
        [at for at in range(len(raw)) if at not in long and raw[at] > 0x20],
        [at for at in range(raw.index(b'"documents"')) if raw[at] > 0x20],
    )
    for number in range(count):
        at, bit = chance.choice(places[number % len(places)]), chance.randrange(8)
        altered = bytearray(raw)
        altered[at] ^= 1 << bit
        yield f"byte {at}, bit {bit}", bytes(altered)


def own_verdict(raw, federation, lists, now):
    try:
        verify(raw, federation, lists, now)
    except Refused as refused:
        return False, str(refused)
    return True, ""


def verdict_of_tool(tool, path, federation, at=None, command="evidence"):
    """`at` is the time that nothing may be later than, in milliseconds; otherwise now."""
    run = subprocess.run(
        [tool, command, "verify", str(path), "--federation", federation.hex(), "--json", *until(at)],
        capture_output=True, check=False,
    )
    if run.returncode not in EXIT_CODES:
        raise Refused(str(path), f"the tool ends with {run.returncode}: {run.stdout[:200]!r}")
    error = json.loads(run.stdout)["error"]
    return EXIT_CODES[run.returncode], error["message"] if error else ""


def until(at):
    if at is None:
        return []
    return ["--at", datetime.fromtimestamp(at / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")]


def compare(tool, raw, federation, lists, now, altered):
    """How many of the altered files are valid, and each on which the verdicts differ: what was altered, both verdicts."""
    valid, differing, count = 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.json"
        for name, data in [("nothing", raw), *altered]:
            path.write_bytes(data)
            own, told = own_verdict(data, federation, lists, now), verdict_of_tool(tool, path, federation)
            if name == "nothing" and not (own[0] and told[0]):
                raise Refused(name, f"the file itself is not verified: {own[1] or told[1]}")
            count += 1
            valid += own[0]
            if own[0] != told[0]:
                differing.append((name, own, told))
    return count, valid, differing
