//! Checkpoints, cosignatures and proofs: made, read again, believed only whole and only of the right keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod made;

use accord_protocol::{
    id::Hash,
    log::{
        Checkpoint, Detail, Entry, EventKind, NotACheckpoint, NotProven, Note, Proof, SignedCheckpoint,
        entry::EntryVersion,
        log_origin,
        note::{Algorithm, key_id},
        tree::{InMemory, inclusion, root_of},
        witness_name,
    },
    time::UnixMs,
};
use made::{key, public};

const LOG: u8 = 8;
const WITNESS: u8 = 9;

fn origin() -> String {
    log_origin(&Hash([0x11; 32]), &"ES-AGENCY".parse().unwrap())
}

fn detail(seq: u64) -> Detail {
    Detail { salt: [u8::try_from(seq).unwrap(); 32], text: format!("{{\"actor\":\"node\",\"n\":{seq}}}").into_bytes() }
}

fn entries(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|seq| Entry {
            version: EntryVersion::One,
            kind: EventKind::Answered,
            time: UnixMs(1_795_500_000_000 + seq),
            seq,
            actor_commit: detail(seq).actor_commit("node"),
            subject: Hash([0x55; 32]),
            detail_commit: detail(seq).commit(),
            prev_size: seq,
        })
        .collect()
}

fn checkpoint(entries: &[Entry]) -> SignedCheckpoint {
    let root = root_of(entries.iter().map(Entry::leaf_hash));
    Checkpoint { origin: origin(), size: entries.len() as u64, root }.sign(&key(LOG)).unwrap()
}

fn proof(entries: &[Entry], index: u64) -> Proof {
    let leaves: Vec<Hash> = entries.iter().map(Entry::leaf_hash).collect();
    let path = inclusion(&InMemory(&leaves), index, entries.len() as u64).unwrap().unwrap();
    Proof {
        index,
        path,
        entry: entries[usize::try_from(index).unwrap()].to_bytes(),
        detail: Some(detail(index)),
        checkpoint: checkpoint(entries).note().clone(),
    }
}

#[test]
fn a_checkpoint_is_believed_of_its_log_and_its_key_alone() {
    let signed = checkpoint(&entries(5));
    let text = signed.note().to_string();
    let read = || Note::parse(&text).unwrap();
    assert_eq!(SignedCheckpoint::verify(read(), &origin(), &[public(LOG)]), Ok(signed.clone()));
    assert_eq!(SignedCheckpoint::verify(read(), &origin(), &[public(1), public(LOG)]).unwrap().signer(), public(LOG));
    let another = log_origin(&Hash([0x11; 32]), &"IT-AGENCY".parse().unwrap());
    for (origin, keys, why) in [
        (another.as_str(), vec![public(LOG)], NotACheckpoint::Origin),
        (&origin(), vec![public(WITNESS)], NotACheckpoint::Signature),
        (&origin(), vec![], NotACheckpoint::Signature),
    ] {
        assert_eq!(SignedCheckpoint::verify(read(), origin, &keys), Err(why));
    }
    let bigger = text.replacen("\n5\n", "\n6\n", 1);
    let forged = Note::parse(&bigger).unwrap();
    assert_eq!(SignedCheckpoint::verify(forged, &origin(), &[public(LOG)]), Err(NotACheckpoint::Signature));
}

#[test]
fn a_checkpoints_text_has_one_spelling() {
    let good = checkpoint(&entries(10)).checkpoint().text();
    assert!(Checkpoint::from_text(&good).is_ok());
    for bad in [
        good.trim_end().to_owned(),
        good.replacen("\n10\n", "\n010\n", 1),
        good.replacen("\n10\n", "\n+10\n", 1),
        good.replacen("\n10\n", "\n\n", 1),
        good.replacen("\n10\n", "\n18446744073709551616\n", 1),
        format!("{good}extension\n"),
        format!("\n{}", good.split_once('\n').unwrap().1),
        good.replacen('=', "", 1),
    ] {
        assert!(Checkpoint::from_text(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_cosignature_is_a_witnesss_over_that_checkpoint_and_time() {
    let signed = checkpoint(&entries(5));
    let name = witness_name(&Hash([0x11; 32]), &"IT-AGENCY".parse().unwrap());
    let cosigned = signed.clone().with(signed.cosign(name.clone(), &key(WITNESS), 1_795_500_000));
    let read = Note::parse(&cosigned.note().to_string()).unwrap();
    let read = SignedCheckpoint::verify(read, &origin(), &[public(LOG)]).unwrap();
    assert_eq!(read.cosigned_at(&name, &public(WITNESS)), Some(1_795_500_000));
    assert_eq!(read.cosigned_at(&name, &public(LOG)), None);
    assert_eq!(read.cosigned_at("another", &public(WITNESS)), None);
    // The same signature under another checkpoint, or with another time, is none.
    let other = checkpoint(&entries(6)).with(signed.cosign(name.clone(), &key(WITNESS), 1_795_500_000));
    assert_eq!(other.cosigned_at(&name, &public(WITNESS)), None);
    let mut moved = signed.cosign(name.clone(), &key(WITNESS), 1_795_500_000);
    moved.bytes[7] ^= 1;
    assert_eq!(signed.clone().with(moved).cosigned_at(&name, &public(WITNESS)), None);
    // A newer one takes the older one's place.
    let newer = cosigned.with(signed.cosign(name.clone(), &key(WITNESS), 1_795_503_600));
    assert_eq!((newer.note().signatures().len(), newer.cosigned_at(&name, &public(WITNESS))), (2, Some(1_795_503_600)));
}

#[test]
fn one_key_signs_and_cosigns_under_different_ids() {
    assert_ne!(key_id("name", Algorithm::Ed25519, &public(1)), key_id("name", Algorithm::Cosignature, &public(1)));
}

#[test]
fn a_proof_is_believed_whole_or_not_at_all() {
    let all = entries(13);
    for index in 0..13 {
        let made = proof(&all, index);
        let read = Proof::parse(&made.to_string()).unwrap();
        assert_eq!(read, made);
        let proven = read.verify(&origin(), &[public(LOG)]).unwrap();
        assert_eq!((proven.entry(), proven.detail()), (&all[usize::try_from(index).unwrap()], Some(&detail(index))));
        let hidden = Proof { detail: None, ..made.clone() };
        assert_eq!(Proof::parse(&hidden.to_string()), Ok(hidden));
        let of_others = Proof { detail: Some(detail(index + 1)), ..made.clone() };
        assert_eq!(of_others.verify(&origin(), &[public(LOG)]), Err(NotProven::Detail));
        let elsewhere = Proof { index: (index + 1) % 13, ..made.clone() };
        assert_eq!(elsewhere.verify(&origin(), &[public(LOG)]), Err(NotProven::Index));
        let mut rewritten = all.clone();
        rewritten[usize::try_from(index).unwrap()].time = UnixMs(1);
        let never_there = Proof { entry: rewritten[usize::try_from(index).unwrap()].to_bytes(), ..made };
        assert_eq!(never_there.verify(&origin(), &[public(LOG)]), Err(NotProven::Path));
    }
}

#[test]
fn what_is_no_proof_is_refused() {
    let good = proof(&entries(13), 4).to_string();
    for (from, to) in [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("extra ", "other "),
        ("index 4", "index 04"),
        ("index 4", "index -4"),
        ("index 4", "index"),
        ("\n\n", "\n"),
    ] {
        let bad = good.replacen(from, to, if from == "\n\n" { 2 } else { 1 });
        assert_ne!(bad, good);
        assert!(Proof::parse(&bad).is_err(), "{from} -> {to}");
    }
    for cut in (0..good.len()).filter(|cut| good.is_char_boundary(*cut)) {
        let short = &good[..cut];
        let proven = Proof::parse(short).and_then(|proof| proof.verify(&origin(), &[public(LOG)]));
        assert!(proven.is_err(), "cut at {cut}");
    }
}
