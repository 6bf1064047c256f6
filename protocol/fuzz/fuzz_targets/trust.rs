//! Trust documents: whatever somebody makes of them, a set is built only from what the root keys and the administrators signed.
#![no_main]

use accord_fuzz::{
    edits::edit,
    federation::{FEDERATION, key},
    input::Input,
};
use accord_protocol::{
    codec::{Bounded, Cap, Text, decode, encode},
    id::Hash,
    member_keys::MemberKeys,
    officers::Officers,
    root::Root,
    roster::{MemberState, Roster},
    signed::{Document, Label, Signable},
    time::UnixMs,
    trust::Trust,
};

accord_fuzz::target!(trust);

/// Keys of somebody who is in the federation and wants more: one root key of three, one administrator of two, an officer's key, and
/// keys of their own. Never enough of anybody's to widen anything.
const ADVERSARY: [u8; 7] = [1, 4, 7, 10, 31, 32, 33];
/// Keys that the adversary puts into root documents of their own.
const OWN: [u8; 3] = [31, 32, 33];

/// Changes the documents of a valid set as the input says, builds a set, and compares it with the two that were really signed.
fn trust(data: &[u8]) {
    let mut input = Input::new(data);
    let later = input.byte() & 1 == 1;
    let mut documents = if later { both_sets() } else { FEDERATION.documents.clone() };
    let pinned = input.byte() & 1 == 0;
    let untouched = input.is_empty();
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        change(&mut documents, &mut input);
    }
    let built = Trust::build(&documents, pinned.then_some(&FEDERATION.id));
    assert!(built.is_ok() || !untouched, "a valid set is not built: {built:?}");
    let Ok(built) = built else { return };
    assert_signed(&built);
    if *built.federation() == FEDERATION.id {
        assert_ours(&built);
    } else {
        assert!(!pinned, "another federation in the place of the pinned one");
    }
}

/// The second set: root documents of both versions, roster and officers of the second.
fn both_sets() -> Vec<Document> {
    let replaced = [Label::Roster, Label::Officers];
    let kept = FEDERATION.documents.iter().filter(|document| !replaced.contains(&document.label()));
    kept.chain(&FEDERATION.later).cloned().collect()
}

/// Whatever the federation, enough keys of its root signed roster and root.
fn assert_signed(built: &Trust) {
    let root = built.root();
    let of_root = |signers: &[accord_protocol::key::PublicKey]| {
        signers.iter().filter(|signer| root.keys.as_slice().contains(signer)).count()
    };
    let need = usize::from(root.threshold);
    assert!(need >= 2 && of_root(root.signers()) >= need && of_root(built.roster().signers()) >= need);
    for member in built.roster().members.iter().filter(|member| member.state != MemberState::Removed) {
        let keys = built.keys(&member.node_id).expect("keys of every member that is not out");
        assert_eq!(keys.hash(), member.anchor_hash);
        if let Some(officers) = built.officers(&member.node_id) {
            let signers = officers.signers().iter().filter(|signer| keys.admin_keys.as_slice().contains(signer));
            assert!(signers.count() >= usize::from(keys.admin_threshold));
        }
    }
}

/// In the federation's own name nothing exists but what was signed.
fn assert_ours(built: &Trust) {
    let hash = |label: Label, documents: &[Document]| {
        documents.iter().filter(|document| document.label() == label).map(Document::hash).collect::<Vec<_>>()
    };
    let first = |label| hash(label, &FEDERATION.documents);
    let second = |label| hash(label, &FEDERATION.later);
    let pair = (vec![built.root().hash()], vec![built.roster().hash()]);
    let pairs = [(first(Label::Root), first(Label::Roster)), (second(Label::Root), second(Label::Roster))];
    assert!(pairs.contains(&pair), "a root document or a roster that nobody signed");
    assert_eq!(vec![built.catalogue().hash], first(Label::Catalogue));
    for member in ["ES-AGENCY", "IT-AGENCY"] {
        let member = member.parse().unwrap();
        assert!(first(Label::MemberKeys).contains(&built.keys(&member).expect("keys of the member").hash()));
        if let Some(officers) = built.officers(&member) {
            let known = [first(Label::Officers), second(Label::Officers)].concat();
            assert!(known.contains(&officers.hash()), "officers whom nobody vouches for");
        }
    }
}

/// One step of an adversary.
fn change(documents: &mut Vec<Document>, input: &mut Input<'_>) {
    let step = input.below(9);
    let at = input.below(documents.len());
    let Some(document) = documents.get(at).cloned() else { return };
    match step {
        0 => drop(documents.remove(at)),
        1 => documents.push(document),
        2 => documents.swap(0, at),
        3 => sign(&mut documents[at], input),
        4 => {
            // Bytes of the document as they lie in a file: payload, signatures, label.
            let mut bytes = encode(&document).unwrap();
            edit(&mut bytes, input);
            documents[at] = decode(&bytes, Cap::Document).unwrap_or(document);
        }
        5 => {
            // Signatures of one document under another.
            let bytes = encode(&documents[input.below(documents.len())]).unwrap();
            let number = |bytes: &[u8]| u64::from_be_bytes(*bytes[2..].first_chunk().unwrap());
            let payload = |bytes: &[u8]| 2 + 8 + usize::try_from(number(bytes)).unwrap();
            let own = encode(&document).unwrap();
            let grafted = [&own[..payload(&own)], &bytes[payload(&bytes)..]].concat();
            documents[at] = decode(&grafted, Cap::Document).unwrap_or(document);
        }
        6 => {
            // The rightful owner's later document beside the earlier one.
            documents.extend(input.one_of(&[0, 1, 2]).and_then(|index| FEDERATION.later.get(index).cloned()));
        }
        _ => {
            if let Some(mut forged) = forge(&document, input) {
                sign(&mut forged, input);
                if step == 7 { documents[at] = forged } else { documents.push(forged) }
            }
        }
    }
}

/// Signs with those of the adversary's keys that the input names.
fn sign(document: &mut Document, input: &mut Input<'_>) {
    let chosen = input.byte();
    let federation = if document.label() == Label::Root { Hash::ZERO } else { FEDERATION.id };
    for (bit, seed) in ADVERSARY.iter().enumerate() {
        if chosen >> bit & 1 == 1 {
            document.add_signature(&key(*seed), &federation);
        }
    }
}

/// A document of the same kind that would give the adversary more, not signed yet.
fn forge(document: &Document, input: &mut Input<'_>) -> Option<Document> {
    fn changed<T: Signable>(document: &Document, change: impl FnOnce(&mut T)) -> Option<Document> {
        let mut value: T = document.unverified().ok()?;
        change(&mut value);
        Document::new(&value).ok()
    }
    let own = OWN.map(|seed| key(seed).public()).to_vec();
    match document.label() {
        Label::Root => changed::<Root>(document, |root| {
            root.root_version = u64::from(input.byte());
            // A root document that was forged before has the adversary's keys already, and a key stands in it once.
            let others = root.keys.as_slice().iter().filter(|key| !own.contains(key)).copied();
            let mut keys: Vec<_> = others.take(input.below(3)).collect();
            keys.extend(own);
            root.keys = Bounded::sorted(keys).unwrap();
            root.threshold = input.byte();
            root.expires_at = UnixMs(u64::MAX);
        }),
        Label::Roster => changed::<Roster>(document, |roster| {
            let mut members = roster.members.as_slice().to_vec();
            if let Some(member) = members.get_mut(input.below(2)) {
                member.state = input.one_of(MemberState::ALL).unwrap();
                member.name = Text::new("Adversary").unwrap();
                member.valid_to = UnixMs(u64::MAX);
            }
            members.truncate(input.below(3));
            roster.members = Bounded::new(members).unwrap();
            (roster.root_version, roster.roster_version) = (u64::from(input.byte()), u64::from(input.byte()));
        }),
        Label::MemberKeys => changed::<MemberKeys>(document, |keys| {
            keys.keys_version = u64::from(input.byte());
            keys.admin_keys = Bounded::sorted(own).unwrap();
        }),
        Label::Officers => changed::<Officers>(document, |officers| {
            officers.list_version = u64::from(input.byte());
            officers.cards = Bounded::new(vec![Hash::of(&[input.byte()])]).unwrap();
        }),
        _ => None,
    }
}
