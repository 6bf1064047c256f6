//! Every structure of the wire: what decodes has one spelling, and holds only keys that nobody can forge for.
#![no_main]

use accord_protocol::{
    answer::AnswerHead,
    catalogue::CatalogueDocument,
    cell::{CELL_LEN, Released},
    codec::{Cap, decode, encode},
    edition::{EditionHeader, Withdrawal},
    id::Hash,
    key::{PublicKey, Signature},
    member_keys::{KeyClaim, MemberKeys},
    message::{AskCall, AskReply, Fetch, Head, MessageKind, RelayCall, SignedBytes},
    officers::{Card, Officers, Staff},
    request::{Request, RequestBody},
    root::Root,
    roster::Roster,
    signed::{Document, Label, Signable},
    time::UnixMs,
};
use bincode::{Decode, Encode};

accord_fuzz::target!(message);

/// The first byte chooses the decoder of the rest.
fn message(data: &[u8]) {
    let decoders: [fn(&[u8]); 21] = [
        |bytes| drop(signed::<Root>(bytes, |root| root.keys.as_slice().to_vec())),
        |bytes| drop(signed::<Roster>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<MemberKeys>(bytes, MemberKeys::all_keys)),
        |bytes| drop(signed::<Officers>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<Staff>(bytes, |staff| staff.people.iter().map(|person| person.key).collect())),
        |bytes| drop(signed::<KeyClaim>(bytes, |claim| claim.keys.iter().map(|entry| entry.key).collect())),
        |bytes| drop(signed::<CatalogueDocument>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<RequestBody>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<AnswerHead>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<EditionHeader>(bytes, |_| Vec::new())),
        |bytes| drop(signed::<Withdrawal>(bytes, |_| Vec::new())),
        request,
        card,
        document,
        |bytes| drop(one_spelling::<SignedBytes>(bytes, Cap::Head)),
        |bytes| drop(one_spelling::<Fetch>(bytes, Cap::Small)),
        |bytes| drop(one_spelling::<AskCall>(bytes, Cap::Head)),
        ask_reply,
        |bytes| drop(one_spelling::<RelayCall>(bytes, Cap::Small)),
        head,
        cells,
    ];
    let Some((first, rest)) = data.split_first() else { return };
    decoders[usize::from(*first) % decoders.len()](rest);
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

fn request(bytes: &[u8]) {
    if let Some(request) = signed::<Request>(bytes, |request| vec![request.node_key]) {
        signed::<RequestBody>(request.body.as_slice(), |_| Vec::new());
        card(request.officer_card.as_slice());
    }
}

fn card(bytes: &[u8]) {
    if let Some(card) = one_spelling::<Card>(bytes, Cap::Small) {
        assert_sound(card.key);
        for time in [card.valid_from, card.valid_to] {
            assert_shown(time);
        }
    }
}

fn ask_reply(bytes: &[u8]) {
    if let Some(reply) = one_spelling::<AskReply>(bytes, Cap::Head) {
        if let Some(answer) = reply.answer {
            signed::<AnswerHead>(answer.payload.as_slice(), |_| Vec::new());
        }
        document(reply.edition.as_slice());
    }
}

/// A document, and its payload by its label. Labels that are not in use have no payload to read.
fn document(bytes: &[u8]) {
    let Some(document) = one_spelling::<Document>(bytes, Cap::Document) else { return };
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
        Label::Edition => document.unverified::<EditionHeader>().map(|header| {
            for row in header.coverage.iter() {
                let (from, to) = row.months.ends();
                assert!(from <= to && from.len() == 7 && to.len() == 7, "coverage of {from} to {to}");
            }
        }),
        _ => return,
    };
    if read.is_err() {
        // What cannot be read cannot be believed either, by no signature at all.
        let keys = document.signed_by();
        assert!(document.verify::<Root>(&Hash::ZERO, &keys, 1, &[]).is_err());
    }
}

fn head(bytes: &[u8]) {
    let read = Head::from_bytes(bytes);
    let opens = [Head::limits_for_members(bytes), Head::limits_for_people(bytes)];
    let Ok(head) = read else {
        assert_eq!(opens, [None, None], "limits for what is no head");
        return;
    };
    assert_eq!(head.to_bytes().unwrap(), bytes);
    assert!(bytes.len() <= head.kind.head_max());
    let limits = Some(head.kind.limits_up());
    let member = matches!(head.kind, MessageKind::Fetch | MessageKind::Request | MessageKind::Notice);
    assert_eq!(opens, if member { [limits, None] } else { [None, limits] }, "one socket opens it, and only one");
}

fn cells(bytes: &[u8]) {
    for cell in bytes.as_chunks::<CELL_LEN>().0 {
        if let Ok(released) = Released::from_bytes(*cell) {
            assert_eq!(released.to_bytes(), *cell);
            assert_eq!(released.number().and_then(|number| Released::release(number.try_into().unwrap())).is_some(),
                released.number().is_some());
        }
    }
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
