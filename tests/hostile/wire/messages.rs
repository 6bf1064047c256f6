//! The messages of `docs/wire.md` 4, 5, 7 and 8 that a peer sends, as plain values and as fields.

use super::{
    PROTOCOL,
    fields::{Fields, Reader},
    keys::{Key, label_number},
};

/// Kinds of message.
pub(crate) const HELLO: u16 = 101;
pub(crate) const FETCH: u16 = 102;
pub(crate) const REQUEST: u16 = 103;
pub(crate) const NOTICE: u16 = 104;
pub(crate) const ASK: u16 = 110;
pub(crate) const RELAY: u16 = 111;
pub(crate) const STATUS: u16 = 112;
pub(crate) const NOTICES: u16 = 113;
pub(crate) const EDITION: u16 = 114;
pub(crate) const IMPORT: u16 = 120;
pub(crate) const COVERAGE: u16 = 121;
pub(crate) const RECORDS: u16 = 122;
pub(crate) const RATES: u16 = 123;
pub(crate) const MAPPING: u16 = 124;

/// 32 zero bytes: no hash.
pub(crate) const NO_HASH: [u8; 32] = [0; 32];

/// The two fields that begin everything that is signed.
fn preamble(label: &str) -> Fields {
    Fields::default().u16("protocol", PROTOCOL).u16("kind", label_number(label))
}

/// Which codes of one dimension are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dim {
    pub(crate) index: u8,
    pub(crate) level: u8,
    pub(crate) codes: Vec<u32>,
}

impl Dim {
    /// A dimension at a level, with these codes.
    pub(crate) fn new(index: u8, level: u8, codes: &[u32]) -> Self {
        Self { index, level, codes: codes.to_vec() }
    }

    fn fields(&self) -> Fields {
        Fields::default()
            .u8("dim", self.index)
            .u8("level", self.level)
            .list("codes", self.codes.iter().map(|code| Fields::default().u32("code", *code)))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        Ok(Self { index: reader.u8()?, level: reader.u8()?, codes: reader.list(Reader::u32)? })
    }
}

/// A selection from one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) table_id: u16,
    pub(crate) table_version: u16,
    pub(crate) measures: u32,
    pub(crate) dims: Vec<Dim>,
}

impl Query {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        Fields::default()
            .u16("table_id", self.table_id)
            .u16("table_version", self.table_version)
            .u32("measures", self.measures)
            .list("dims", self.dims.iter().map(Dim::fields))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        Ok(Self {
            table_id: reader.u16()?,
            table_version: reader.u16()?,
            measures: reader.u32()?,
            dims: reader.list(Dim::read)?,
        })
    }
}

/// What an officer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) request_id: [u8; 16],
    pub(crate) requester: String,
    pub(crate) officer_card_hash: [u8; 32],
    pub(crate) audience: String,
    pub(crate) issued_at: u64,
    pub(crate) deliver_by: u64,
    pub(crate) wanted_until: u64,
    pub(crate) epoch: u32,
    pub(crate) roster_version: u64,
    pub(crate) view_hash: [u8; 32],
    pub(crate) edition: u64,
    pub(crate) purpose: u16,
    pub(crate) legal_basis: u16,
    pub(crate) topic_hash: [u8; 32],
    pub(crate) case_ref_commit: [u8; 32],
    pub(crate) reply_class: u8,
    pub(crate) query: Query,
}

impl Body {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        preamble("request-body")
            .raw("request_id", &self.request_id)
            .text("requester", &self.requester)
            .raw("officer_card_hash", &self.officer_card_hash)
            .text("audience", &self.audience)
            .u64("issued_at", self.issued_at)
            .u64("deliver_by", self.deliver_by)
            .u64("wanted_until", self.wanted_until)
            .u32("epoch", self.epoch)
            .u64("roster_version", self.roster_version)
            .raw("view_hash", &self.view_hash)
            .u64("edition", self.edition)
            .u16("purpose", self.purpose)
            .u16("legal_basis", self.legal_basis)
            .raw("topic_hash", &self.topic_hash)
            .raw("case_ref_commit", &self.case_ref_commit)
            .u8("reply_class", self.reply_class)
            .nest("query", self.query.fields())
    }

    /// As bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.fields().encode()
    }

    /// Reads a body that somebody sent.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        expect_preamble(&mut reader, "request-body")?;
        let body = Self {
            request_id: reader.array()?,
            requester: reader.text()?,
            officer_card_hash: reader.array()?,
            audience: reader.text()?,
            issued_at: reader.u64()?,
            deliver_by: reader.u64()?,
            wanted_until: reader.u64()?,
            epoch: reader.u32()?,
            roster_version: reader.u64()?,
            view_hash: reader.array()?,
            edition: reader.u64()?,
            purpose: reader.u16()?,
            legal_basis: reader.u16()?,
            topic_hash: reader.array()?,
            case_ref_commit: reader.array()?,
            reply_class: reader.u8()?,
            query: Query::read(&mut reader)?,
        };
        reader.end()?;
        Ok(body)
    }
}

/// Reads the first two fields of something signed.
pub(crate) fn expect_preamble(reader: &mut Reader<'_>, label: &str) -> Result<(), String> {
    let (protocol, kind) = (reader.u16()?, reader.u16()?);
    if (protocol, kind) == (PROTOCOL, label_number(label)) {
        Ok(())
    } else {
        Err(format!("{label} expected, protocol {protocol} kind {kind} found"))
    }
}

/// What the officer's node adds and signs.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) body: Vec<u8>,
    pub(crate) officer_signature: [u8; 64],
    pub(crate) officer_card: Vec<u8>,
    pub(crate) topic: Vec<u8>,
    pub(crate) node_id: String,
    pub(crate) node_key: [u8; 32],
    pub(crate) sent_at: u64,
    pub(crate) channel_binding: [u8; 32],
}

impl Envelope {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        preamble("request")
            .bytes("body", &self.body)
            .raw("officer_signature", &self.officer_signature)
            .bytes("officer_card", &self.officer_card)
            .bytes("topic", &self.topic)
            .text("node_id", &self.node_id)
            .raw("node_key", &self.node_key)
            .u64("sent_at", self.sent_at)
            .raw("channel_binding", &self.channel_binding)
    }

    /// Reads an envelope out of the `SignedBytes` of a request.
    pub(crate) fn read(signed: &[u8]) -> Result<Self, String> {
        let mut outer = Reader::new(signed);
        let payload = outer.bytes()?;
        let _: [u8; 64] = outer.array()?;
        outer.end()?;
        let mut reader = Reader::new(payload);
        expect_preamble(&mut reader, "request")?;
        let envelope = Self {
            body: reader.bytes()?.to_vec(),
            officer_signature: reader.array()?,
            officer_card: reader.bytes()?.to_vec(),
            topic: reader.bytes()?.to_vec(),
            node_id: reader.text()?,
            node_key: reader.array()?,
            sent_at: reader.u64()?,
            channel_binding: reader.array()?,
        };
        reader.end()?;
        Ok(envelope)
    }
}

/// Signed bytes with one signature.
pub(crate) fn signed_bytes(payload: &[u8], signature: &[u8; 64]) -> Fields {
    Fields::default().bytes("payload", payload).raw("signature", signature)
}

/// Signed bytes with the signature that fits.
pub(crate) fn sealed(key: &Key, label: &str, federation: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    signed_bytes(payload, &key.sign(label, federation, payload)).encode()
}

/// An officer's card.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    pub(crate) officer_id: [u8; 16],
    pub(crate) key: [u8; 32],
    pub(crate) purposes: Vec<u16>,
    pub(crate) valid_from: u64,
    pub(crate) valid_to: u64,
}

impl Card {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        Fields::default()
            .raw("officer_id", &self.officer_id)
            .raw("key", &self.key)
            .list("purposes", self.purposes.iter().map(|purpose| Fields::default().u16("purpose", *purpose)))
            .u64("valid_from", self.valid_from)
            .u64("valid_to", self.valid_to)
    }
}

/// A member's officers.
#[derive(Debug, Clone)]
pub(crate) struct Officers {
    pub(crate) federation: [u8; 32],
    pub(crate) node_id: String,
    pub(crate) list_version: u64,
    pub(crate) prev_hash: [u8; 32],
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) cards: Vec<[u8; 32]>,
}

impl Officers {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        preamble("officers")
            .raw("federation", &self.federation)
            .text("node_id", &self.node_id)
            .u64("list_version", self.list_version)
            .raw("prev_hash", &self.prev_hash)
            .u64("issued_at", self.issued_at)
            .u64("expires_at", self.expires_at)
            .list("cards", self.cards.iter().map(|hash| Fields::default().raw("hash", hash)))
    }
}

/// A line of inquiry of a member for a provider, valid between two moments.
pub(crate) fn topic(
    federation: &[u8; 32],
    (node_id, audience): (&str, &str),
    title: &str,
    purposes: &[u16],
    (valid_from, valid_to): (u64, u64),
) -> Fields {
    preamble("topic")
        .raw("federation", federation)
        .text("node_id", node_id)
        .text("audience", audience)
        .raw("salt", &[0x44; 16])
        .bytes("title", title.as_bytes())
        .list("purposes", purposes.iter().map(|purpose| Fields::default().u16("purpose", *purpose)))
        .u64("valid_from", valid_from)
        .u64("valid_to", valid_to)
}

/// What a provider answers or refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) body_hash: [u8; 32],
    pub(crate) request_id: [u8; 16],
    pub(crate) responder: String,
    pub(crate) requester: String,
    pub(crate) decision: u8,
    pub(crate) code: u16,
    pub(crate) issued_at: u64,
    pub(crate) epoch: u32,
    pub(crate) roster_version: u64,
    pub(crate) policy_version: u64,
    pub(crate) policy_commit: [u8; 32],
    pub(crate) edition: u64,
    pub(crate) edition_commit: [u8; 32],
    pub(crate) slice_hash: [u8; 32],
    pub(crate) slice_len: u32,
    pub(crate) handling_code: u8,
    pub(crate) tlp: u8,
    pub(crate) embargo_until: u64,
    pub(crate) recipients: Vec<String>,
    pub(crate) provable_after: u64,
}

impl Answer {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        preamble("answer")
            .raw("body_hash", &self.body_hash)
            .raw("request_id", &self.request_id)
            .text("responder", &self.responder)
            .text("requester", &self.requester)
            .u8("decision", self.decision)
            .u16("code", self.code)
            .u64("issued_at", self.issued_at)
            .u32("epoch", self.epoch)
            .u64("roster_version", self.roster_version)
            .u64("policy_version", self.policy_version)
            .raw("policy_commit", &self.policy_commit)
            .u64("edition", self.edition)
            .raw("edition_commit", &self.edition_commit)
            .raw("slice_hash", &self.slice_hash)
            .u32("slice_len", self.slice_len)
            .u8("handling_code", self.handling_code)
            .u8("tlp", self.tlp)
            .u64("embargo_until", self.embargo_until)
            .list("recipients", self.recipients.iter().map(|member| Fields::default().text("member", member)))
            .u64("provable_after", self.provable_after)
    }

    /// Reads a head that somebody sent.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        expect_preamble(&mut reader, "answer")?;
        let answer = Self {
            body_hash: reader.array()?,
            request_id: reader.array()?,
            responder: reader.text()?,
            requester: reader.text()?,
            decision: reader.u8()?,
            code: reader.u16()?,
            issued_at: reader.u64()?,
            epoch: reader.u32()?,
            roster_version: reader.u64()?,
            policy_version: reader.u64()?,
            policy_commit: reader.array()?,
            edition: reader.u64()?,
            edition_commit: reader.array()?,
            slice_hash: reader.array()?,
            slice_len: reader.u32()?,
            handling_code: reader.u8()?,
            tlp: reader.u8()?,
            embargo_until: reader.u64()?,
            recipients: reader.list(Reader::text)?,
            provable_after: reader.u64()?,
        };
        reader.end()?;
        Ok(answer)
    }
}

/// An edition's header.
#[derive(Debug, Clone)]
pub(crate) struct Edition {
    pub(crate) number: u64,
    pub(crate) prev_commit: [u8; 32],
    pub(crate) commit: [u8; 32],
    pub(crate) rules_hash: [u8; 32],
    pub(crate) catalogue_hash: [u8; 32],
    pub(crate) protection: u8,
    /// Kind, first and last month, state.
    pub(crate) coverage: Vec<(u16, u32, u32, u8)>,
    pub(crate) as_of: u64,
    pub(crate) published_at: u64,
}

impl Edition {
    /// As fields.
    pub(crate) fn fields(&self) -> Fields {
        let rows = self.coverage.iter().map(|(kind, from, to, state)| {
            Fields::default().u16("kind", *kind).u32("from", *from).u32("to", *to).u8("state", *state)
        });
        preamble("edition")
            .u64("number", self.number)
            .raw("prev_commit", &self.prev_commit)
            .raw("commit", &self.commit)
            .raw("rules_hash", &self.rules_hash)
            .raw("catalogue_hash", &self.catalogue_hash)
            .u8("protection", self.protection)
            .list("coverage", rows)
            .u64("as_of", self.as_of)
            .u64("published_at", self.published_at)
    }
}

/// The withdrawal of an edition.
pub(crate) fn withdrawal(member: &str, number: u64, commit: &[u8; 32], at: u64) -> Fields {
    preamble("withdraw").text("member", member).u64("number", number).raw("commit", commit).u64("at", at)
}

/// A document: a label, a payload, and keys with their signatures.
pub(crate) fn document(label: &str, payload: &[u8], signatures: &[([u8; 32], [u8; 64])]) -> Fields {
    Fields::default().u16("label", label_number(label)).bytes("payload", payload).list(
        "signatures",
        signatures.iter().map(|(key, signature)| Fields::default().raw("key", key).raw("signature", signature)),
    )
}

/// A document that one key has signed.
pub(crate) fn document_by(key: &Key, label: &str, federation: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    document(label, payload, &[(key.public(), key.sign(label, federation, payload))]).encode()
}

/// A call for a document.
pub(crate) fn fetch(label: &str, node_id: Option<&str>, number: u64, hash: &[u8; 32]) -> Fields {
    let fields = Fields::default().u16("label", label_number(label));
    let fields = match node_id {
        None => fields.u8("node_id.is", 0),
        Some(member) => fields.u8("node_id.is", 1).text("node_id", member),
    };
    fields.u64("number", number).raw("hash", hash)
}

/// An officer's question, as the own node gets it.
pub(crate) fn ask_call(body: &[u8], officer_signature: &[u8; 64], officer_card: &[u8], wait_ms: u32) -> Fields {
    Fields::default()
        .bytes("body", body)
        .raw("officer_signature", officer_signature)
        .bytes("officer_card", officer_card)
        .bytes("topic", &[])
        .u32("wait_ms", wait_ms)
}

/// A fetch through the own node.
pub(crate) fn relay_call(from: &str, fetch: Fields, wait_ms: u32) -> Fields {
    Fields::default().text("from", from).nest("fetch", fetch).u32("wait_ms", wait_ms)
}
