//! A federation of two members, made from fixed seeds and from the golden vectors: what is valid, and so all that may be believed.
//!
//! Root keys are those of seeds 1 to 3 (2 of 3). `ES-AGENCY` has administrators 4 and 5, keys 6 to 9 and the officer 10;
//! `IT-AGENCY` administrators 11 and 12 and keys 13 to 16. From the second root document on, key 17 takes the place of key 3.

use std::sync::LazyLock;

use accord_protocol::{
    answer::{AnswerHead, Decision, reply_class},
    catalogue::{CatalogueDocument, Quantity, Table},
    cell::Released,
    code,
    codec::{Bounded, Cap, decode, encode},
    edition::EditionHeader,
    exchange::RawReply,
    id::{Hash, RequestId, from_hex},
    key::{PublicKey, Signature, SigningKey},
    member_keys::MemberKeys,
    officers::Officers,
    request::{DimQuery, Query, RequestBody},
    root::{Root, federation_id},
    roster::{Member, Roster},
    selection::Selection,
    signed::{Document, Label, Preamble, Signable},
    trust::Trust,
};
use bincode::{Decode, Encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Seeds of the root keys.
pub const ROOT: [u8; 3] = [1, 2, 3];
/// Seed of the key that signs for `ES-AGENCY`.
pub const SIGNS_FOR_ES: u8 = 7;
/// Seed of the key that signs for `IT-AGENCY`.
pub const SIGNS_FOR_IT: u8 = 14;
/// Seed of the officer's key.
pub const OFFICER: u8 = 10;

/// The federation.
pub static FEDERATION: LazyLock<Federation> = LazyLock::new(Federation::new);

/// Everything that was signed, and the trust set that follows.
#[derive(Debug)]
pub struct Federation {
    /// Its id.
    pub id: Hash,
    /// The documents of the first trust set: root, catalogue, roster, keys of both, officers.
    pub documents: Vec<Document>,
    /// Those that take the place of root, roster and officers later.
    pub later: Vec<Document>,
    /// The first trust set.
    pub trust: Trust,
    /// The officer's card.
    pub card: Vec<u8>,
    /// What the officer asked: two tables of `IT-AGENCY`, one of the own node.
    pub asked: Vec<Asked>,
}

/// One request with every reply that its provider ever signed: a table and a refusal.
#[derive(Debug)]
pub struct Asked {
    /// The request body's bytes.
    pub body: Vec<u8>,
    /// The officer's signature over them.
    pub signature: Signature,
    /// The replies.
    pub replies: Vec<RawReply>,
}

/// The key whose private seed is 32 times this byte.
pub fn key(seed: u8) -> SigningKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("every 32 bytes are a seed");
    // PKCS#8 version 2 (RFC 8410): the private key, then the public one.
    let start = from_hex("3051020101300506032b657004220420").expect("hex");
    let pkcs8 = [start.as_slice(), &[seed; 32], &[0x81, 0x21, 0], pair.public_key().as_ref()].concat();
    SigningKey::from_pkcs8(&pkcs8).expect("a key of a seed")
}

/// The golden vector of this name.
pub fn vector_bytes(name: &str) -> Vec<u8> {
    let lines = include_str!("../../tests/vectors/messages.txt").lines();
    let hex = lines.filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == name).expect(name).1;
    from_hex(hex).expect(name)
}

/// The golden vector of this name, decoded.
pub fn vector<T: Encode + Decode<()>>(name: &str) -> T {
    decode(&vector_bytes(name), Cap::Document).expect(name)
}

/// A document with the signatures of these seeds.
pub fn document<T: Signable>(value: &T, federation: &Hash, seeds: &[u8]) -> Document {
    let mut document = Document::new(value).expect("a valid value");
    assert!(seeds.iter().all(|seed| document.add_signature(&key(*seed), federation)));
    document
}

/// A head with its signature, as a reply brings them.
pub fn signed(head: &AnswerHead, federation: &Hash, seed: u8) -> (Vec<u8>, Signature) {
    let bytes = encode(head).expect("a head");
    let signature = key(seed).sign(Label::Answer, federation, &bytes);
    (bytes, signature)
}

fn public(seeds: &[u8]) -> Vec<PublicKey> {
    seeds.iter().map(|seed| key(*seed).public()).collect()
}

impl Federation {
    fn new() -> Self {
        let root: Root = vector("root");
        let id = federation_id(&encode(&root).expect("a root"));
        let text = catalogue_text().into_bytes();
        let catalogue = CatalogueDocument { preamble: Preamble, text: Bounded::new(text).expect("a short text") };
        let catalogue = document(&catalogue, &id, &ROOT);
        let spain = vector::<MemberKeys>("member-keys");
        let italy = MemberKeys {
            node_id: "IT-AGENCY".parse().expect("a name"),
            admin_keys: Bounded::sorted(public(&[11, 12])).expect("two keys"),
            tls_keys: Bounded::new(public(&[13])).expect("one key"),
            sign_keys: Bounded::new(public(&[SIGNS_FOR_IT])).expect("one key"),
            log_keys: Bounded::new(public(&[15])).expect("one key"),
            witness_key: key(16).public(),
            ..spain.clone()
        };
        let keys = [document(&spain, &id, &[4, 5, 6, 7, 8, 9]), document(&italy, &id, &[11, 12, 13, 14, 15, 16])];
        let roster = roster(&catalogue, &keys);
        let officers = vector::<Officers>("officers");
        let mut documents = vec![document(&root, &Hash::ZERO, &ROOT), catalogue, document(&roster, &id, &[1, 2])];
        documents.extend(keys);
        documents.push(document(&officers, &id, &[4, 5]));
        let trust = Trust::build(&documents, Some(&id)).expect("a trust set");
        let next_root =
            Root { root_version: 2, keys: Bounded::sorted(public(&[1, 2, 17])).expect("three keys"), ..root };
        let next_roster = Roster { root_version: 2, roster_version: 2, ..roster };
        let next_officers = Officers { list_version: 2, cards: Bounded::default(), ..officers };
        let later = vec![
            document(&next_root, &Hash::ZERO, &[1, 2, 17]),
            document(&next_roster, &id, &[1, 17]),
            document(&next_officers, &id, &[4, 5]),
        ];
        let card = encode(&vector::<accord_protocol::officers::Card>("card")).expect("a card");
        let asked = [(1, "IT-AGENCY", 0), (2, "IT-AGENCY", 1), (3, "ES-AGENCY", 0)]
            .into_iter()
            .map(|(number, audience, table)| Asked::new(&trust, number, audience, table))
            .collect();
        Self { id, documents, later, trust, card, asked }
    }
}

fn roster(catalogue: &Document, keys: &[Document; 2]) -> Roster {
    let before = vector::<Roster>("roster");
    let spain = before.members.as_slice().first().expect("one member").clone();
    let [of_spain, of_italy] = keys.each_ref().map(Document::hash);
    let italy = Member { node_id: "IT-AGENCY".parse().expect("a name"), anchor_hash: of_italy, ..spain.clone() };
    let members = vec![Member { anchor_hash: of_spain, ..spain }, italy];
    Roster { catalogue_hash: catalogue.hash(), members: Bounded::new(members).expect("two members"), ..before }
}

impl Asked {
    // The same question of the table with this index to any provider: two years, everything else whole.
    fn new(trust: &Trust, number: u8, audience: &str, table: usize) -> Self {
        let table = trust.catalogue().tables().get(table).expect("a table");
        let before: RequestBody = vector("request-body");
        let set = table.level_sets().into_iter().next().expect("a level set");
        let dims = set.levels.iter().zip(0u8..).map(|(level, dim)| {
            let codes = if dim == 0 { vec![201_200, 201_300] } else { Vec::new() };
            DimQuery { dim, level: *level, codes: Bounded::new(codes).expect("two codes") }
        });
        let query = Query {
            table_id: table.id,
            table_version: table.version,
            measures: set.measures,
            dims: Bounded::new(dims.collect()).expect("few dimensions"),
        };
        let selection = Selection::new(&query, table, audience.get(..2).expect("a country")).expect("on the grid");
        let body = RequestBody {
            request_id: RequestId([number; 16]),
            audience: audience.parse().expect("a name"),
            reply_class: reply_class(selection.slice_len()).expect("a class"),
            query,
            ..before
        };
        let bytes = encode(&body).expect("a body");
        let slice = slice(table, &selection);
        let seed = if audience == "ES-AGENCY" { SIGNS_FOR_ES } else { SIGNS_FOR_IT };
        let replies = vec![answer(trust, &body, &bytes, slice, seed), refusal(trust, &body, &bytes, seed)];
        Self { signature: key(OFFICER).sign(Label::RequestBody, trust.federation(), &bytes), body: bytes, replies }
    }
}

fn answer(trust: &Trust, body: &RequestBody, bytes: &[u8], slice: Vec<u8>, seed: u8) -> RawReply {
    let header = EditionHeader {
        commit: Hash::of(body.audience.as_str().as_bytes()),
        catalogue_hash: trust.catalogue().hash,
        ..vector("edition")
    };
    let head = AnswerHead {
        edition: header.number,
        edition_commit: header.commit,
        slice_hash: Hash::of(&slice),
        slice_len: u32::try_from(slice.len()).expect("a short slice"),
        ..AnswerHead { decision: Decision::Answered, ..head(body, bytes, "answer") }
    };
    let (head, signature) = signed(&head, trust.federation(), seed);
    RawReply { head, signature, slice, edition: Some(document(&header, trust.federation(), &[seed])) }
}

fn refusal(trust: &Trust, body: &RequestBody, bytes: &[u8], seed: u8) -> RawReply {
    let (head, signature) = signed(&head(body, bytes, "refusal"), trust.federation(), seed);
    RawReply { head, signature, slice: Vec::new(), edition: None }
}

fn head(body: &RequestBody, bytes: &[u8], vector_name: &str) -> AnswerHead {
    AnswerHead {
        body_hash: Hash::of(bytes),
        request_id: body.request_id,
        responder: body.audience.clone(),
        requester: body.requester.clone(),
        ..vector(vector_name)
    }
}

// Cells whose numbers fit each other: twelve in all, all of them in the first bin of every level; the first cell is hidden.
fn slice(table: &Table, selection: &Selection) -> Vec<u8> {
    let shown = |number| Released::release(number).expect("a small number");
    let measures = selection.measures.iter().filter_map(|index| table.measures.get(*index));
    let cell: Vec<Released> = measures
        .flat_map(|measure| match measure.of {
            Quantity::Mean => vec![shown(12), shown(60_000)],
            Quantity::Histogram => {
                let bins = measure.bins.iter().flat_map(|level| {
                    std::iter::once(12).chain(std::iter::repeat_n(0, level.edges.len().saturating_sub(2)))
                });
                std::iter::once(12).chain(bins).map(shown).collect()
            }
            _ => vec![shown(12)],
        })
        .collect();
    let hidden = vec![Released::SUPPRESSED; cell.len()];
    let cells = std::iter::once(hidden).chain(std::iter::repeat_n(cell, selection.cells().saturating_sub(1)));
    cells.flatten().flat_map(Released::to_bytes).collect()
}

/// Two small tables, one with margins and one with a mean and a histogram.
pub fn catalogue_text() -> String {
    let hash = |list| code::list_hash(list).expect(list);
    let lists =
        ["drugs-1", "market-1"].map(|list| format!("[[list]]\nname = \"{list}\"\nsha256 = \"{}\"\n", hash(list)));
    format!("id = \"seeds-1\"\n{}{}", lists.concat(), include_str!("tables.toml"))
}
