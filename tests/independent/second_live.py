"""Owns a live client: asks a running node one question as a partner's node does, with aioquic, and prints the reply.

aioquic knows certificates alone; raw public keys (RFC 7250) and the exporter (RFC 8446, 7.5) are added here. It offers
X25519 and not X25519MLKEM768, so that a node set to `require` does not answer it.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys
import time
from hashlib import sha256
from pathlib import Path

from aioquic import tls
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic import connection
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from second.catalogue import Catalogue
from second.encoding import KIB, MIB, Refused, decode, encode, to_json
from second.evidence import Verifier
from second.frames import CLASSES, Stream, read_reply, write_stream
from second.keys import LABELS, sign_input
from second.layout import cells_of_query
from second.messages import FETCH, HEAD, REQUEST, SIGNED_BYTES, STRUCTURES
from second.trust import Trust

SPKI = bytes.fromhex("302a300506032b6570032100")
RAW_PUBLIC_KEY = 2
CLIENT_CERTIFICATE_TYPE, SERVER_CERTIFICATE_TYPE = 19, 20
ZERO = bytes(32)


class RawPublicKey:
    """What stands where TLS sends a certificate: the SubjectPublicKeyInfo of a key alone."""

    def __init__(self, key):
        self.key = key

    def public_bytes(self, encoding):
        return SPKI + self.key

    def public_key(self):
        return Ed25519PublicKey.from_public_bytes(self.key)


class Context(tls.Context):
    """TLS with raw public keys: the server's must be one of `server_keys`."""

    server_keys = ()

    def __init__(self, **options):
        super().__init__(**options)
        self._signature_algorithms = [tls.SignatureAlgorithm.ED25519]
        self._supported_groups = [tls.Group.X25519]
        self.exporter_secret = None

    def _set_peer_certificate(self, certificate):
        ((key, _),) = certificate.certificates
        if key[: len(SPKI)] != SPKI or key[len(SPKI) :] not in self.server_keys:
            raise tls.AlertBadCertificate("not a TLS key of the member that is meant")
        self._peer_certificate = RawPublicKey(key[len(SPKI) :])

    def _client_handle_finished(self, input_buf, output_buf):
        schedule, derive = self.key_schedule, self.key_schedule.derive_secret

        def and_exporter(label):
            if label == b"c ap traffic":
                self.exporter_secret = derive(b"exp master")
            return derive(label)

        schedule.derive_secret = and_exporter
        super()._client_handle_finished(input_buf, output_buf)

    def export(self, label):
        schedule = self.key_schedule
        size = schedule.algorithm.digest_size
        derived = tls.hkdf_expand_label(schedule.algorithm, self.exporter_secret, label, schedule.hash_empty_value, size)
        return tls.hkdf_expand_label(schedule.algorithm, derived, b"exporter", schedule.hash_empty_value, 32)


class Connection(connection.QuicConnection):
    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        offer = bytes([1, RAW_PUBLIC_KEY])
        self.tls.handshake_extensions += [(CLIENT_CERTIFICATE_TYPE, offer), (SERVER_CERTIFICATE_TYPE, offer)]


def ring(path):
    """The keys of a key ring without passphrase: role to private key."""
    raw = Path(path).read_bytes()
    if raw[:8] != b"ACCDKEY1" or raw[9] != 0:
        raise Refused(str(path), "not a key ring without passphrase")
    at, keys = 58, {}
    for _ in range(int.from_bytes(raw[50:58], "big")):
        size = int.from_bytes(raw[at + 1 : at + 9], "big")
        # The public key at the end of PKCS#8 v2 follows from the private one, the 32 bytes after the prefix.
        keys[raw[at]] = Ed25519PrivateKey.from_private_bytes(raw[at + 9 + 16 : at + 9 + 48])
        at += 9 + size
    return keys


def document(path):
    raw = Path(path).read_bytes()
    if raw[:8] != b"ACCORD1\n":
        raise Refused(str(path), "not an .accord file")
    return raw[8:]


async def exchange(client, data):
    reader, writer = await client.create_stream()
    writer.write(data)
    writer.write_eof()
    return await asyncio.wait_for(reader.read(), 30)


def head_frame(kind, payload):
    return encode(HEAD, {"protocol": 1, "kind": kind, "payload": payload})


class Asker:
    def __init__(self, arguments):
        documents = [document(path) for path in arguments.documents]
        self.trust = Trust(documents, bytes.fromhex(arguments.federation), "documents")
        text = self.trust.catalogues[self.trust.roster["catalogue_hash"]]
        self.table = Catalogue(text, arguments.lists, "catalogue").table(name=arguments.table)
        self.card = Path(arguments.card).read_bytes()
        self.purpose = decode(STRUCTURES["card"][0], self.card, "card", KIB)["purposes"][0]
        self.officer = ring(arguments.officer_ring)[7]
        node = ring(arguments.node_ring)
        self.tls_key, self.sign_key = node[3], node[4]
        self.me, self.partner = arguments.member, arguments.partner

    def body(self, query):
        cells = cells_of_query(self.table, query, self.partner[:2], "query")
        measures = self.table.chosen(query["measures"])
        size = len(cells) * self.table.width(measures) * 9
        now = int(time.time() * 1000)
        return {
            "protocol": 1, "kind": LABELS["request-body"], "request_id": os.urandom(16), "requester": self.me,
            "officer_card_hash": sha256(self.card).digest(), "audience": self.partner, "issued_at": now,
            "deliver_by": now + 60_000, "wanted_until": 0, "epoch": self.trust.root["epoch"],
            "roster_version": self.trust.roster["roster_version"], "view_hash": ZERO, "edition": 0,
            "purpose": self.purpose, "legal_basis": "agreement", "topic_hash": ZERO, "case_ref_commit": ZERO,
            "reply_class": next(index for index, one in enumerate(CLASSES) if one >= size + 8192), "query": query,
        }

    def request(self, raw, binding):
        request = {
            "protocol": 1, "kind": LABELS["request"], "body": raw,
            "officer_signature": self.officer.sign(sign_input("request-body", self.trust.federation, raw)),
            "officer_card": self.card, "topic": b"", "node_id": self.me,
            "node_key": self.sign_key.public_key().public_bytes_raw(), "sent_at": int(time.time() * 1000),
            "channel_binding": binding,
        }
        payload = encode(REQUEST, request)
        signature = self.sign_key.sign(sign_input("request", self.trust.federation, payload))
        head = head_frame("request", encode(SIGNED_BYTES, {"payload": payload, "signature": signature}))
        size = next(one for one in CLASSES if one >= len(head) - 12 + 8192)
        return request, write_stream(Stream(head, None, []), size)

    async def ask(self, client, query, change=None):
        """The exchange as an evidence file holds it, and the raw reply's size."""
        body = self.body(query) | (change or {})
        raw = encode(STRUCTURES["request-body"][0], body)
        request, stream = self.request(raw, client._quic.tls.export(b"EXPORTER-accord/1-request"))
        reply = await exchange(client, stream)
        payload, data, _ = read_reply(reply, "request", body["reply_class"])
        signed = decode(SIGNED_BYTES, payload, "signed-bytes", 64 * KIB)
        head = decode(STRUCTURES["answer"][0], signed["payload"], "answer", 4096)
        edition = None
        if head["decision"] == "answered":
            fetch = encode(FETCH, {"label": "edition", "node_id": None, "number": head["edition"], "hash": ZERO})
            found, header, _ = read_reply(await exchange(client, write_stream(Stream(head_frame("fetch", fetch), None, []))), "fetch")
            edition = header.hex() if found == b"\1" else None
        return {
            "body": raw.hex(), "officer_signature": request["officer_signature"].hex(),
            "officer_card": self.card.hex(),
            "reply": {
                "head": signed["payload"].hex(), "signature": signed["signature"].hex(), "slice": data.hex(),
                "edition": edition,
            },
            "without_reply": None,
        }, len(reply), head, body


async def run(arguments):
    asker = Asker(arguments)
    keys = asker.trust.keys[arguments.partner]
    host, _, port = keys["addresses"][0].rpartition(":")
    Context.server_keys = keys["tls_keys"]
    tls_key = asker.tls_key
    configuration = QuicConfiguration(
        alpn_protocols=["accord/1"], is_client=True, server_name="accord", verify_mode=ssl.CERT_NONE,
        certificate=RawPublicKey(tls_key.public_key().public_bytes_raw()), private_key=tls_key,
    )
    connection.tls.Context = Context
    import aioquic.asyncio.client as client_module

    client_module.QuicConnection = Connection
    query = {
        "table_id": asker.table.id, "table_version": asker.table.version, "measures": 1,
        "dims": [
            {"dim": index, "level": level, "codes": [year * 100 for year in range(2021, 2026)] if index == 0 else []}
            for index, level in enumerate(next(iter(asker.table.level_sets)))
        ],
    }
    async with connect(host.strip("[]"), int(port), configuration=configuration) as client:
        item, size, head, body = await asker.ask(client, query)
        verified = Verifier(asker.trust, asker.table, int(time.time() * 1000)).exchange(item, "exchange")
        names = asker.table.chosen(body["query"]["measures"])
        print(json.dumps({
            "outcome": verified.outcome, "code": head["code"], "edition": head["edition"], "stream_bytes": size,
            "reply_class": body["reply_class"], "handling": to_json(head["handling"]),
            "cells": [
                {"key": verified.asked[key], "values": {m.id: v for m, v in zip(names, values)}}
                for key, values in verified.rows.items()
            ],
        }))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("federation", "lists", "member", "partner", "node-ring", "officer-ring", "card", "table"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("documents", nargs="+", help=".accord files")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
