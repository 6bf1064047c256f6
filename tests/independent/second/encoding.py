"""Owns section 1: the types of the encoding, their bytes, and strict decoding."""

import re

from second.keys import key_fault

KIB = 1024
MIB = 1024 * KIB
MEMBER = re.compile(r"[A-Z]{2}-[A-Z0-9-]+")
LARGEST_VALUE = 2**53 - 1


class Refused(Exception):
    """Something is not as the document wants it: `where` it stands and `what` is wrong."""

    def __init__(self, where, what):
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class Reader:
    """Takes bytes from the front of a message and knows where in it the decoder stands."""

    def __init__(self, data, name, where):
        self.data = data
        self.at = 0
        self.path = [name]
        self.where = where

    def refuse(self, what, at=None):
        place = f"byte {self.at if at is None else at} ({''.join(self.path)})"
        raise Refused(f"{self.where}, {place}" if self.where else place, what)

    def take(self, size):
        if size > len(self.data) - self.at:
            self.refuse(f"{size} bytes wanted, {len(self.data) - self.at} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def integer(self, size):
        return int.from_bytes(self.take(size), "big")

    def length(self, most, of):
        start = self.at
        length = self.integer(8)
        if length > most:
            self.refuse(f"{length} {of}, at most {most} allowed", start)
        return length


class UInt:
    def __init__(self, size):
        self.size = size

    def read(self, reader):
        return reader.integer(self.size)

    def write(self, value, out):
        out += value.to_bytes(self.size, "big")


class Constant:
    """A number that is always the same, such as the protocol or the kind of a structure."""

    def __init__(self, size, value):
        self.size = size
        self.value = value

    def read(self, reader):
        start = reader.at
        value = reader.integer(self.size)
        if value != self.value:
            reader.refuse(f"{value} instead of {self.value}", start)
        return value

    def write(self, value, out):
        out += value.to_bytes(self.size, "big")


class Code:
    """A number with a name; the value in Python is the name."""

    def __init__(self, size, names):
        self.size = size
        self.names = names
        self.numbers = {name: number for number, name in names.items()}

    def read(self, reader):
        start = reader.at
        number = reader.integer(self.size)
        if number not in self.names:
            reader.refuse(f"unknown code {number}", start)
        return self.names[number]

    def write(self, value, out):
        out += self.numbers[value].to_bytes(self.size, "big")


class Fixed:
    def __init__(self, size):
        self.size = size

    def read(self, reader):
        return reader.take(self.size)

    def write(self, value, out):
        out += value


class Key(Fixed):
    def __init__(self):
        super().__init__(32)

    def read(self, reader):
        start = reader.at
        key = reader.take(32)
        fault = key_fault(key)
        if fault:
            reader.refuse(f"key {key.hex()}: {fault}", start)
        return key


class Bytes:
    def __init__(self, most):
        self.most = most

    def read(self, reader):
        return reader.take(reader.length(self.most, "bytes"))

    def write(self, value, out):
        out += len(value).to_bytes(8, "big") + value


class Text:
    """Printable ASCII."""

    def __init__(self, most):
        self.most = most

    def read(self, reader):
        start = reader.at
        raw = reader.take(reader.length(self.most, "characters"))
        if not all(0x20 <= byte <= 0x7E for byte in raw):
            reader.refuse("text that is not printable ASCII", start)
        return raw.decode("ascii")

    def write(self, value, out):
        out += len(value).to_bytes(8, "big") + value.encode("ascii")


class Utf8:
    """Text that may hold more than ASCII: of a catalogue, a policy or a topic's title. Its length counts bytes."""

    def __init__(self, most):
        self.most = most

    def read(self, reader):
        start = reader.at
        raw = reader.take(reader.length(self.most, "bytes"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            reader.refuse(f"text that is not UTF-8: {error.reason}", start + 8 + error.start)

    def write(self, value, out):
        raw = value.encode("utf-8")
        out += len(raw).to_bytes(8, "big") + raw


class Member(Text):
    def __init__(self):
        super().__init__(24)

    def read(self, reader):
        start = reader.at
        name = super().read(reader)
        if not MEMBER.fullmatch(name):
            reader.refuse(f"{name!r} is no member id", start)
        return name


class Option:
    def __init__(self, item):
        self.item = item

    def read(self, reader):
        start = reader.at
        present = reader.integer(1)
        if present > 1:
            reader.refuse(f"option byte {present}", start)
        return self.item.read(reader) if present else None

    def write(self, value, out):
        out += bytes([value is not None])
        if value is not None:
            self.item.write(value, out)


class List:
    """Items with a count; `order` gives what a sorted list must strictly ascend by."""

    def __init__(self, item, most, order=None):
        self.item = item
        self.most = most
        self.order = order

    def read(self, reader):
        items = []
        for index in range(reader.length(self.most, "items")):
            start = reader.at
            reader.path.append(f"[{index}]")
            items.append(self.item.read(reader))
            if self.order and index and self.order(items[-2]) >= self.order(items[-1]):
                reader.refuse("not strictly ascending", start)
            reader.path.pop()
        return items

    def write(self, value, out):
        out += len(value).to_bytes(8, "big")
        for item in value:
            self.item.write(item, out)


class Struct:
    """Named fields one after the other; the value in Python is a dictionary."""

    def __init__(self, **fields):
        self.fields = fields

    def read(self, reader):
        value = {}
        for name, kind in self.fields.items():
            reader.path.append(f".{name}")
            value[name] = kind.read(reader)
            reader.path.pop()
        return value

    def write(self, value, out):
        for name, kind in self.fields.items():
            kind.write(value[name], out)


class Number:
    """A number of a cell (section 6): in Python an integer, or the reason why there is none."""

    SIZE = 9
    STATES = {2: "suppressed", 3: "not_available"}

    def read(self, reader):
        start = reader.at
        state = reader.integer(1)
        number = int.from_bytes(reader.take(8), "big", signed=True)
        if state == 1:
            if not 0 <= number <= LARGEST_VALUE:
                reader.refuse(f"value {number} out of range", start)
            return number
        if state not in self.STATES:
            reader.refuse(f"unknown state {state}", start)
        if number:
            reader.refuse(f"number {number} beside state {self.STATES[state]}", start)
        return self.STATES[state]

    def write(self, value, out):
        if isinstance(value, int):
            out += b"\x01" + value.to_bytes(8, "big", signed=True)
        else:
            state = next(number for number, name in self.STATES.items() if name == value)
            out += bytes([state]) + bytes(8)


def decode(kind, data, name, cap, where=""):
    """The value of a whole message: within the cap, every byte used, and canonical (section 1)."""
    if len(data) > cap:
        raise Refused(where or name, f"{len(data)} bytes, at most {cap} allowed")
    reader = Reader(data, name, where)
    value = kind.read(reader)
    if reader.at != len(data):
        reader.refuse(f"{len(data) - reader.at} bytes too many")
    if encode(kind, value) != data:
        reader.refuse("not the canonical encoding", 0)
    return value


def encode(kind, value):
    out = bytearray()
    kind.write(value, out)
    return bytes(out)


def to_json(value):
    """A decoded value as JSON can show it: bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value
