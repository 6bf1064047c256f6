"""Owns JSON as the files of sections 10 of `docs/wire.md` and 9 of `docs/audit.md` have it: strict, with each part named."""

import json
import re

from second.encoding import Refused

HEX = re.compile(r"(?:[0-9a-f]{2})*")


def read_json(raw, where="$"):
    """The value of a JSON text in UTF-8, without floats and without a name that stands twice."""

    def once(pairs):
        names = [name for name, _ in pairs]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise Refused(where, f"{twice[0]!r} stands twice in one object")
        return dict(pairs)

    def no_float(text):
        raise Refused(where, f"{text} is no whole number")

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_float=no_float, parse_constant=no_float)
    except (ValueError, RecursionError) as error:
        raise Refused(where, f"no JSON in UTF-8: {error}") from error


def need_type(value, kind, where):
    if type(value) is not kind:
        raise Refused(where, f"{kind.__name__} wanted, {type(value).__name__} found")
    return value


def need_keys(value, keys, where, may_be_absent=()):
    """An object with exactly these keys; one that may be absent is null then."""
    need_type(value, dict, where)
    for key in may_be_absent:
        value.setdefault(key, None)
    for key in keys:
        if key not in value:
            raise Refused(where, f"{key!r} is missing")
    for key in value:
        if key not in keys:
            raise Refused(f"{where}.{key}", "unknown key")
    return value


def need_hex(value, where, size=None):
    if not HEX.fullmatch(need_type(value, str, where)):
        raise Refused(where, "not lower-case hex")
    if size is not None and len(value) != 2 * size:
        raise Refused(where, f"{len(value) // 2} bytes, {size} wanted")
    return bytes.fromhex(value)
