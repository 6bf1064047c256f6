//! Every structure of the wire: what decodes has one spelling, and holds only keys that nobody can forge for.
#![no_main]

use accord_fuzz::{edits::edit, federation::vector_bytes, input::Input};
use accord_protocol::{
    answer::AnswerHead,
    approval::{Approval, StandingApproval},
    catalogue::CatalogueDocument,
    cell::{CELL_LEN, Released},
    codec::{Cap, decode, encode},
    consent::Consent,
    edition::{EditionHeader, Withdrawal},
    held::{Collect, List, Recall, Receipt, Status, is_status},
    id::Hash,
    key::{PublicKey, Signature},
    log::passing::{BareNote, ConsistencyReply, Cosign, Cosigned, ProofCall, Told, read},
    member_keys::{KeyClaim, MemberKeys},
    message::{AskCall, AskReply, Fetch, Head, MessageKind, RelayCall, SignedBytes},
    officers::{Card, Officers, Staff},
    policy::PolicyDocument,
    request::{Request, RequestBody},
    root::Root,
    roster::Roster,
    signed::{Document, Label, Signable},
    time::UnixMs,
    topic::Topic,
    view::View,
};
use bincode::{Decode, Encode};

accord_fuzz::target!(message);

/// Decodes bytes as one structure; whether it took them comes back.
type Decoder = fn(&[u8]) -> bool;

/// Every decoder with the golden vector that it must take.
const DECODERS: [(&str, Decoder); 40] = [
    ("root", |bytes| signed::<Root>(bytes, |root| root.keys.as_slice().to_vec()).is_some()),
    ("roster", |bytes| signed::<Roster>(bytes, |_| Vec::new()).is_some()),
    ("member-keys", |bytes| signed::<MemberKeys>(bytes, MemberKeys::all_keys).is_some()),
    ("officers", |bytes| signed::<Officers>(bytes, |_| Vec::new()).is_some()),
    ("staff", |bytes| signed::<Staff>(bytes, |staff| staff.people.iter().map(|person| person.key).collect()).is_some()),
    ("policy", |bytes| signed::<PolicyDocument>(bytes, |_| Vec::new()).is_some()),
    ("key-claim", |bytes| {
        signed::<KeyClaim>(bytes, |claim| claim.keys.iter().map(|entry| entry.key).collect()).is_some()
    }),
    ("catalogue", |bytes| signed::<CatalogueDocument>(bytes, |_| Vec::new()).is_some()),
    ("request-body", |bytes| signed::<RequestBody>(bytes, |_| Vec::new()).is_some()),
    ("answer", |bytes| signed::<AnswerHead>(bytes, |_| Vec::new()).is_some()),
    ("refusal", |bytes| signed::<AnswerHead>(bytes, |_| Vec::new()).is_some()),
    ("edition", |bytes| signed::<EditionHeader>(bytes, |_| Vec::new()).is_some()),
    ("withdraw", |bytes| signed::<Withdrawal>(bytes, |_| Vec::new()).is_some()),
    ("view", |bytes| signed::<View>(bytes, |_| Vec::new()).is_some()),
    ("status", |bytes| signed::<Status>(bytes, |_| Vec::new()).is_some() && is_status(bytes)),
    ("rejection", |bytes| signed::<AnswerHead>(bytes, |_| Vec::new()).is_some()),
    ("receipt", |bytes| signed::<Receipt>(bytes, |_| Vec::new()).is_some()),
    ("recall", |bytes| signed::<Recall>(bytes, |_| Vec::new()).is_some()),
    ("approval", |bytes| signed::<Approval>(bytes, |_| Vec::new()).is_some()),
    ("standing", |bytes| signed::<StandingApproval>(bytes, |_| Vec::new()).is_some()),
    ("collect", |bytes| one_spelling::<Collect>(bytes, Cap::Small).is_some()),
    ("collect-list", |bytes| one_spelling::<List>(bytes, Cap::Head).is_some()),
    ("cosign", |bytes| one_spelling::<Cosign>(bytes, Cap::Head).is_some_and(|cosign| note(&cosign.checkpoint))),
    ("cosigned", |bytes| one_spelling::<Cosigned>(bytes, Cap::Head).is_some_and(|cosigned| note(&cosigned.held))),
    ("tell", |bytes| one_spelling::<Told>(bytes, Cap::Head).is_some_and(|told| told.notes.iter().all(note))),
    ("proof", |bytes| one_spelling::<ProofCall>(bytes, Cap::Small).is_some()),
    ("consistency", |bytes| one_spelling::<ConsistencyReply>(bytes, Cap::Head).is_some()),
    ("topic", |bytes| signed::<Topic>(bytes, |_| Vec::new()).is_some()),
    ("request", request),
    ("request-under-topic", request),
    ("card", card),
    ("document", document),
    ("signed-bytes", |bytes| one_spelling::<SignedBytes>(bytes, Cap::Head).is_some()),
    ("fetch", |bytes| one_spelling::<Fetch>(bytes, Cap::Small).is_some()),
    ("ask", |bytes| one_spelling::<AskCall>(bytes, Cap::Head).is_some()),
    ("ask-reply", ask_reply),
    ("relay", |bytes| one_spelling::<RelayCall>(bytes, Cap::Small).is_some()),
    ("head", head),
    ("cell-value", cells),
    ("cell-suppressed", cells),
];

/// The first byte chooses a decoder, and whether it reads the rest, or its golden vector with the edits that the rest describes.
fn message(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.below(2 * DECODERS.len());
    let (name, decoder) = DECODERS[choice % DECODERS.len()];
    if choice < DECODERS.len() {
        decoder(input.rest());
        return;
    }
    let mut bytes = vector_bytes(name);
    let untouched = input.is_empty();
    while !input.is_empty() {
        edit(&mut bytes, &mut input);
    }
    assert!(decoder(&bytes) || !untouched, "the golden vector {name} does not decode");
}

/// One value in one spelling, within its cap, or nothing.
fn one_spelling<T: Encode + Decode<()>>(bytes: &[u8], cap: Cap) -> Option<T> {
    let value = decode::<T>(bytes, cap).ok()?;
    assert!(bytes.len() <= cap.bytes(), "decodes above its cap");
    assert_eq!(encode(&value).unwrap(), bytes, "decodes, and encodes to something else");
    Some(value)
}

/// A value that is signed under a label: its keys are sound, and its rules can be checked whatever it holds.
fn signed<T: Signable>(bytes: &[u8], keys: impl Fn(&T) -> Vec<PublicKey>) -> Option<T> {
    let value: T = one_spelling(bytes, T::CAP)?;
    for key in keys(&value) {
        assert_sound(key);
    }
    if value.check().is_ok() {
        // What keeps its rules can be wrapped, and comes out of its wrapping as it was.
        let document = Document::new(&value).unwrap();
        assert_eq!((document.label(), document.payload()), (T::LABEL, bytes));
        assert_eq!(document.hash(), Hash::of(bytes));
        document.unverified::<T>().unwrap();
    }
    Some(value)
}

fn request(bytes: &[u8]) -> bool {
    let Some(request) = signed::<Request>(bytes, |request| vec![request.node_key]) else { return false };
    signed::<RequestBody>(request.body.as_slice(), |_| Vec::new());
    card(request.officer_card.as_slice());
    document(request.topic.as_slice());
    true
}

/// A checkpoint as it travels, which is written as it was read.
fn note(bare: &BareNote) -> bool {
    let Ok(note) = read(bare) else { return false };
    assert_eq!(note.to_string().as_bytes(), bare.as_slice(), "reads, and is written as something else");
    true
}

fn card(bytes: &[u8]) -> bool {
    let Some(card) = one_spelling::<Card>(bytes, Cap::Small) else { return false };
    assert_sound(card.key);
    for time in [card.valid_from, card.valid_to] {
        assert_shown(time);
    }
    true
}

fn ask_reply(bytes: &[u8]) -> bool {
    let Some(reply) = one_spelling::<AskReply>(bytes, Cap::Head) else { return false };
    if let Some(answer) = reply.answer {
        signed::<AnswerHead>(answer.payload.as_slice(), |_| Vec::new());
    }
    document(reply.edition.as_slice());
    true
}

/// A document, and its payload by its label. Labels that are not in use have no payload to read.
fn document(bytes: &[u8]) -> bool {
    let Some(document) = one_spelling::<Document>(bytes, Cap::Document) else { return false };
    document.signed_by().into_iter().for_each(assert_sound);
    assert_eq!(document.hash(), Hash::of(document.payload()));
    let read = match document.label() {
        Label::Root => document.unverified::<Root>().map(|root| assert_shown(root.expires_at)),
        Label::Roster => document.unverified::<Roster>().map(|roster| assert_shown(roster.expires_at)),
        Label::MemberKeys => document.unverified::<MemberKeys>().map(|keys| {
            assert_eq!(keys.socket_addresses().len(), keys.addresses.as_slice().len());
        }),
        Label::Officers => document.unverified::<Officers>().map(drop),
        Label::Staff => document.unverified::<Staff>().map(drop),
        Label::Catalogue => document.unverified::<CatalogueDocument>().map(drop),
        Label::KeyClaim => document.unverified::<KeyClaim>().map(drop),
        Label::Withdraw => document.unverified::<Withdrawal>().map(|withdrawal| assert_shown(withdrawal.at)),
        Label::View => document.unverified::<View>().map(drop),
        Label::Topic => document.unverified::<Topic>().map(|topic| assert_shown(topic.valid_to)),
        Label::Approval => document.unverified::<Approval>().map(|approval| assert_shown(approval.at)),
        Label::Standing => document.unverified::<StandingApproval>().map(|standing| assert_shown(standing.until)),
        Label::Proposal => document.unverified::<Consent>().map(|consent| assert_shown(consent.at)),
        Label::Edition => document.unverified::<EditionHeader>().map(|header| {
            for row in header.coverage.iter() {
                let (from, to) = row.months.ends();
                assert!(from <= to && from.len() == 7 && to.len() == 7, "coverage of {from} to {to}");
            }
        }),
        _ => return true,
    };
    if read.is_err() {
        // What cannot be read cannot be believed either, by no signature at all.
        let keys = document.signed_by();
        assert!(document.verify::<Root>(&Hash::ZERO, &keys, 1, &[]).is_err());
    }
    true
}

fn head(bytes: &[u8]) -> bool {
    let read = Head::from_bytes(bytes);
    let opens = [Head::limits_for_members(bytes), Head::limits_for_people(bytes)];
    let Ok(head) = read else {
        assert_eq!(opens, [None, None], "limits for what is no head");
        return false;
    };
    assert_eq!(head.to_bytes().unwrap(), bytes);
    assert!(bytes.len() <= head.kind.head_max());
    let limits = Some(head.kind.limits_up());
    let member = matches!(
        head.kind,
        MessageKind::Fetch
            | MessageKind::Request
            | MessageKind::Notice
            | MessageKind::Greet
            | MessageKind::View
            | MessageKind::Collect
            | MessageKind::Receipt
            | MessageKind::Nudge
            | MessageKind::Recall
            | MessageKind::Proof
            | MessageKind::Cosign
            | MessageKind::Tell
    );
    assert_eq!(opens, if member { [limits, None] } else { [None, limits] }, "one socket opens it, and only one");
    true
}

/// Numbers one after the other, as a slice holds them; whether all of them are numbers.
fn cells(bytes: &[u8]) -> bool {
    let read = |cell: &[u8; CELL_LEN]| {
        let Ok(released) = Released::from_bytes(*cell) else { return false };
        assert_eq!(released.to_bytes(), *cell);
        // A value is one that may be shown, and nothing but a value is.
        let shown = released.number().map(|number| Released::release(number.try_into().unwrap()));
        assert!(shown.is_none_or(|shown| shown == Some(released)), "{released:?}");
        true
    };
    // Not `all`, which stops at the first that is none.
    bytes.as_chunks().0.iter().filter(|cell| !read(cell)).count() == 0
}

/// Nobody can sign for the key, and it has one spelling.
///
/// Under a key of low order the signature `R = B, s = 1` verifies a message whenever the challenge is a multiple of the order. Each of
/// the ten such keys in canonical form verifies at least one of the two messages here, so the forgery itself is what is tried.
fn assert_sound(key: PublicKey) {
    let mut y = *key.as_bytes();
    y[31] &= 0x7f;
    y.reverse();
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0x7f, 0xed);
    assert!(y < p, "{key} is a second spelling of another key");
    let mut forged = [0x66; 64];
    (forged[0], forged[32]) = (0x58, 1);
    forged[33..].fill(0);
    for message in [19, 80] {
        assert!(!key.verifies(&[message], &Signature(forged)), "{key} lets anybody sign");
    }
}

/// Every time can be shown to people.
fn assert_shown(time: UnixMs) {
    let text = time.to_string();
    assert!(text.len() == 20 && text.ends_with('Z'), "{text}");
}
