"""Owns section 3: frames, their order and limits, and the table of kinds."""

from dataclasses import dataclass
from hashlib import sha256

from second.encoding import KIB, MIB, Refused, decode
from second.messages import HEAD

GIB = 1024 * MIB
LARGEST_PAYLOAD = 65_536
FRAME_HEADER = 5
KIND_HEAD, KIND_BODY, KIND_PROGRESS, KIND_END, KIND_PAD = 1, 2, 3, 4, 5


@dataclass
class Limits:
    """Who opens a kind and how large its head and its bodies may be; None is no body."""

    socket: str
    head: int
    body_up: int | None
    body_down: int | None
    spare_up: int = 64 * KIB
    spare_down: int = 4 * MIB


# Section 7, reply class: the stream bytes of a reply to a request, and what of them is kept beside the slice.
CLASSES = [16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]
BESIDE = 8192
# Section 7, collecting: the stream bytes of the list.
LIST_SIZE = 65_536

KINDS = {
    "hello": Limits("people", 64 * KIB, None, MIB),
    "fetch": Limits("members", KIB, None, MIB),
    "request": Limits("members", 64 * KIB, None, 4 * MIB, spare_up=256 * KIB),
    "notice": Limits("members", KIB, None, None),
    "greet": Limits("members", 64 * KIB, None, None),
    "view": Limits("members", KIB, None, MIB),
    "collect": Limits("members", KIB, None, 4 * MIB),
    "receipt": Limits("members", KIB, None, None),
    "nudge": Limits("members", KIB, None, None),
    "proof": Limits("members", KIB, None, MIB),
    "recall": Limits("members", KIB, None, None),
    "cosign": Limits("members", 64 * KIB, None, None),
    "tell": Limits("members", 64 * KIB, None, None),
    "ask": Limits("people", 64 * KIB, None, 4 * MIB),
    "relay": Limits("people", KIB, None, MIB),
    "status": Limits("people", 64 * KIB, None, MIB),
    "notices": Limits("people", 64 * KIB, None, 16 * MIB),
    "edition": Limits("people", 64 * KIB, None, GIB),
    "inbox": Limits("people", 64 * KIB, None, 16 * MIB),
    "requests": Limits("people", 64 * KIB, None, 16 * MIB),
    "watch": Limits("people", KIB, None, None, spare_down=64 * MIB),
    "import": Limits("people", 64 * KIB, 4 * GIB, 16 * MIB, spare_down=64 * MIB),
    "coverage": Limits("people", 64 * KIB, None, 16 * MIB),
    "records": Limits("people", 64 * KIB, None, 16 * MIB),
    "rates": Limits("people", 64 * KIB, 16 * MIB, 16 * MIB),
    "mapping": Limits("people", 64 * KIB, None, 16 * MIB),
    "trust": Limits("people", 64 * KIB, 8 * MIB, 16 * MIB),
    "audit": Limits("people", 64 * KIB, None, 1024 * GIB),
    "backup": Limits("people", 64 * KIB, None, 1024 * GIB),
}


@dataclass
class Stream:
    """One direction of a stream; `body` is None where there was no `end`."""

    head: bytes
    body: bytes | None
    progress: list[str]


def frames_of(data):
    """The frames up to FIN: where each begins, its kind and its payload."""
    at = 0
    while at < len(data):
        if len(data) - at < FRAME_HEADER:
            raise Refused(f"byte {at}", "FIN within the header of a frame")
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4]
        if length > LARGEST_PAYLOAD:
            raise Refused(f"byte {at}", f"a frame of {length} bytes, at most {LARGEST_PAYLOAD} allowed")
        payload = data[at + FRAME_HEADER : at + FRAME_HEADER + length]
        if len(payload) < length:
            raise Refused(f"byte {at}", f"FIN after {len(payload)} of {length} bytes of a frame")
        yield at, kind, payload
        at += FRAME_HEADER + length


def read_stream(data, from_server, head_limit, body_limit, spare_limit):
    """Reads `progress* head (body|progress)* end? pad* FIN`; `body_limit` None means that no end may come.

    `spare_limit` bounds what pads, progress and empty bodies take with their headers.
    """
    head, ended, padded, body, progress, spare = None, False, False, bytearray(), [], 0
    for at, kind, payload in frames_of(data):
        where = f"byte {at}"
        if kind in (KIND_PROGRESS, KIND_PAD) or (kind == KIND_BODY and not payload):
            spare += FRAME_HEADER + len(payload)
            if spare > spare_limit:
                raise Refused(where, f"more than {spare_limit} bytes of pads, progress and empty bodies")
        if padded and kind != KIND_PAD:
            raise Refused(where, f"a frame of kind {kind} after a pad")
        if kind == KIND_HEAD:
            if head is not None:
                raise Refused(where, "a second head")
            if not 0 < len(payload) <= head_limit:
                raise Refused(where, f"a head of {len(payload)} bytes, 1 to {head_limit} allowed")
            head = payload
        elif kind == KIND_PROGRESS:
            if not from_server or ended:
                raise Refused(where, "progress after the end" if ended else "progress that the server has not sent")
            try:
                progress.append(payload.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise Refused(where, f"progress that is not UTF-8: {error.reason}") from error
        elif kind not in (KIND_BODY, KIND_END, KIND_PAD):
            raise Refused(where, f"unknown kind {kind}")
        elif head is None:
            raise Refused(where, f"a frame of kind {kind} before the head")
        elif kind == KIND_PAD:
            if body_limit is not None and not ended:
                raise Refused(where, "a pad before the end")
            if any(payload):
                raise Refused(where, "a pad that is not zeros")
            padded = True
        elif body_limit is None:
            raise Refused(where, f"a frame of kind {kind} where there is no body")
        elif ended:
            raise Refused(where, f"a frame of kind {kind} after the end")
        elif kind == KIND_BODY:
            body += payload
            if len(body) > body_limit:
                raise Refused(where, f"a body of more than {body_limit} bytes")
        else:
            if payload != end_of(body):
                raise Refused(where, f"an end that does not fit a body of {len(body)} bytes")
            ended = True
    if head is None:
        raise Refused(f"byte {len(data)}", "FIN before the head")
    if body_limit is not None and not ended:
        raise Refused(f"byte {len(data)}", "FIN before the end")
    return Stream(head, bytes(body) if ended else None, progress)


def end_of(body):
    return len(body).to_bytes(8, "big") + sha256(body).digest()


def frame(kind, payload):
    return len(payload).to_bytes(4, "big") + bytes([kind]) + payload


def write_stream(stream, size=None):
    """The bytes of a stream, progress first; with `size`, padded to exactly so many stream bytes."""
    out = bytearray()
    for text in stream.progress:
        out += frame(KIND_PROGRESS, text.encode("utf-8"))
    out += frame(KIND_HEAD, stream.head)
    if stream.body is not None:
        for start in range(0, len(stream.body), LARGEST_PAYLOAD):
            out += frame(KIND_BODY, stream.body[start : start + LARGEST_PAYLOAD])
        out += frame(KIND_END, end_of(stream.body))
    if size is not None:
        out += pads(size - len(out))
    return bytes(out)


def pads(gap):
    """Pad frames of `gap` bytes in all."""
    if gap < 0 or 0 < gap < FRAME_HEADER:
        raise ValueError(f"{gap} bytes cannot be filled with pads")
    out = bytearray()
    while gap:
        payload = min(LARGEST_PAYLOAD, gap - FRAME_HEADER)
        if 0 < gap - FRAME_HEADER - payload < FRAME_HEADER:
            payload -= FRAME_HEADER
        out += frame(KIND_PAD, bytes(payload))
        gap -= FRAME_HEADER + payload
    return bytes(out)


def smallest_class(length):
    """The stream bytes of the smallest class that holds so much."""
    return next(size for size in CLASSES if size >= length + BESIDE)


def read_call(data, socket):
    """What a client opened on a socket: the kind, the payload of the head and the body."""
    first = next((payload for _, kind, payload in frames_of(data) if kind == KIND_HEAD), b"")
    kind = decode(HEAD, first, "head", 64 * KIB)["kind"]
    limits = KINDS[kind]
    if limits.socket != socket:
        raise Refused("head", f"{kind} may not be opened on the {socket}' socket")
    stream = read_stream(data, False, limits.head, limits.body_up, limits.spare_up)
    return kind, decode(HEAD, stream.head, "head", limits.head)["payload"], stream.body


def read_reply(data, kind, reply_class=None):
    """What a server answered to a call of a kind: the payload of the head, the body and the progress.

    A request, and a collect of one, names its `reply_class`: the reply has exactly its size, or that of class 0 with
    an empty body. A collect without class is that of the list.
    """
    limits = KINDS[kind]
    spare = limits.spare_down if reply_class is None else CLASSES[reply_class]
    stream = read_stream(data, True, 64 * KIB, limits.body_down, spare)
    if reply_class is not None and len(data) != CLASSES[reply_class]:
        if stream.body or len(data) != CLASSES[0]:
            raise Refused("reply", f"{len(data)} stream bytes, class {reply_class} has {CLASSES[reply_class]}")
    reply = decode(HEAD, stream.head, "head", 64 * KIB)
    expected = {"view": smallest_class(len(stream.body or b"")), "collect": LIST_SIZE}.get(kind)
    if reply_class is None and expected not in (None, len(data)):
        raise Refused("reply", f"{len(data)} stream bytes, a {kind} has {expected}")
    if reply["kind"] != kind:
        raise Refused("head", f"a reply of kind {reply['kind']} to a {kind}")
    return reply["payload"], stream.body, stream.progress
