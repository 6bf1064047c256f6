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
        tree::{InMemory, inclusion, leaf_hash, root_of},
        witness_name,
    },
    time::UnixMs,
};
use made::{key, public};

const LOG: u8 = 8;
const WITNESS: u8 = 9;
const OLD: u8 = 10;

fn origin() -> String {
    log_origin(&Hash([0x11; 32]), &"ES-AGENCY".parse().unwrap())
}

fn actor(text: &str) -> Option<String> {
    text.contains("\"actor\":\"node\"").then(|| "node".to_owned())
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
        let proven = read.verify(&origin(), &[public(LOG)], actor).unwrap();
        assert_eq!((proven.entry(), proven.detail()), (&all[usize::try_from(index).unwrap()], Some(&detail(index))));
        let hidden = Proof { detail: None, ..made.clone() };
        assert_eq!(Proof::parse(&hidden.to_string()), Ok(hidden));
        let of_others = Proof { detail: Some(detail(index + 1)), ..made.clone() };
        assert_eq!(of_others.verify(&origin(), &[public(LOG)], actor), Err(NotProven::Detail));
        let elsewhere = Proof { index: (index + 1) % 13, ..made.clone() };
        assert_eq!(elsewhere.verify(&origin(), &[public(LOG)], actor), Err(NotProven::Index));
        let mut rewritten = all.clone();
        rewritten[usize::try_from(index).unwrap()].time = UnixMs(1);
        let never_there = Proof { entry: rewritten[usize::try_from(index).unwrap()].to_bytes(), ..made };
        assert_eq!(never_there.verify(&origin(), &[public(LOG)], actor), Err(NotProven::Path));
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
        let proven = Proof::parse(short).and_then(|proof| proof.verify(&origin(), &[public(LOG)], actor));
        assert!(proven.is_err(), "cut at {cut}");
    }
}

mod copies {
    use accord_protocol::{
        evidence::Failed,
        id::to_hex,
        log::copy::{About, FORMAT, FORMAT_DESTROYED, Following, Leaf, Line},
        signed::FederationId,
    };

    use super::*;

    const FEDERATION: FederationId = Hash([0x11; 32]);

    fn about(all: &[Entry], kept: &[SignedCheckpoint]) -> About {
        let last = checkpoint(all);
        About {
            format: FORMAT.into(),
            federation: FEDERATION.to_string(),
            member: "ES-AGENCY".into(),
            size: all.len() as u64,
            destroyed: None,
            root: last.checkpoint().root.to_string(),
            checkpoint: last.note().to_string(),
            checkpoints: kept.iter().map(|signed| signed.note().to_string()).collect(),
        }
    }

    fn lines(all: &[Entry]) -> Vec<Line> {
        let line = |entry: &Entry| {
            let detail = detail(entry.seq);
            Line {
                entry: to_hex(&entry.to_bytes()),
                salt: Some(to_hex(&detail.salt)),
                detail: Some(String::from_utf8(detail.text).unwrap()),
            }
        };
        all.iter().map(line).collect()
    }

    fn read(about: &About, lines: &[Line]) -> Result<accord_protocol::log::copy::Report, Failed> {
        let mut following =
            Following::begin(about, &FEDERATION, |_| (vec![public(LOG)], vec![public(OLD), public(LOG)]))?;
        for line in lines {
            following.take(line, actor)?;
        }
        following.finish()
    }

    #[test]
    fn a_copy_holds_with_all_checkpoints_that_were_ever_signed() {
        let all = entries(13);
        let kept = [0usize, 3, 8].map(|size| checkpoint(&all[..size]));
        let report = read(&about(&all, &kept), &lines(&all)).unwrap();
        assert_eq!((report.size, report.details, report.checkpoints.len(), report.set_back), (13, 13, 4, 0));
        assert_eq!(report.kinds.get(&EventKind::Answered), Some(&13));
        let mut without = lines(&all);
        (without[5].salt, without[5].detail) = (None, None);
        assert_eq!(read(&about(&all, &kept), &without).unwrap().details, 12);
        let nothing: [Entry; 0] = [];
        assert_eq!(read(&about(&nothing, &[]), &[]).unwrap().size, 0);
        // A key that was exchanged since signs what came before, and never the whole.
        let old = |size: usize| checkpoint(&all[..size]).checkpoint().clone().sign(&key(OLD)).unwrap();
        assert!(read(&about(&all, &[old(8)]), &lines(&all)).is_ok());
        let mut of_old = about(&all, &[]);
        of_old.checkpoint = old(13).note().to_string();
        assert!(read(&of_old, &lines(&all)).is_err());
    }

    #[test]
    fn whatever_was_done_to_a_copy_is_named() {
        let all = entries(13);
        let kept = [checkpoint(&all[..8])];
        let (good_about, good) = (about(&all, &kept), lines(&all));
        let refused = |about: &About, lines: &[Line], part: &str| {
            let failed = read(about, lines).unwrap_err();
            assert!(failed.part.contains(part), "{part}: {failed:?}");
        };
        // One bit in any byte of any entry.
        for (seq, entry) in all.iter().enumerate() {
            for at in 0..entry.to_bytes().len() {
                let mut bytes = entry.to_bytes();
                bytes[at] ^= 0x10;
                let mut bad = good.clone();
                bad[seq].entry = to_hex(&bytes);
                assert!(read(&good_about, &bad).is_err(), "entry {seq}, byte {at}");
            }
        }
        refused(&good_about, &good[..12], "end");
        refused(&good_about, &[good.as_slice(), &good[12..]].concat(), "entry 13");
        let mut swapped = good.clone();
        swapped.swap(2, 3);
        refused(&good_about, &swapped, "entry 2");
        let inserted = [&good[..4], &good[3..]].concat();
        refused(&good_about, &inserted, "entry 4");
        let mut of_another = good.clone();
        of_another[6].detail.clone_from(&good[7].detail);
        refused(&good_about, &of_another, "entry 6");
        let mut half = good.clone();
        half[6].salt = None;
        refused(&good_about, &half, "entry 6");

        // Rebuilt from the third entry on and signed again with the log's own key: a checkpoint that somebody kept says so.
        let mut rebuilt = all.clone();
        rebuilt[2].time = UnixMs(7);
        let mut forged = about(&rebuilt, &[]);
        assert!(read(&forged, &lines(&rebuilt)).is_ok(), "without it nobody can tell");
        forged.checkpoints.clone_from(&good_about.checkpoints);
        refused(&forged, &lines(&rebuilt), "checkpoint of 8");
        // Cut back and signed again.
        let mut shorter = about(&all[..5], &[]);
        shorter.checkpoints.clone_from(&good_about.checkpoints);
        refused(&shorter, &lines(&all[..5]), "checkpoint 1");
        // Two roots over one size.
        let mut two = good_about.clone();
        two.checkpoints.push(checkpoint(&rebuilt).note().to_string());
        refused(&two, &good, "checkpoint 3");

        for change in [
            |about: &mut About| about.format = "accord-audit-3".into(),
            |about: &mut About| about.format = FORMAT_DESTROYED.into(),
            |about: &mut About| about.destroyed = Some(4),
            |about: &mut About| about.federation = Hash([0x12; 32]).to_string(),
            |about: &mut About| about.member = "IT-AGENCY".into(),
            |about: &mut About| about.size = 12,
            |about: &mut About| about.root = Hash([0x12; 32]).to_string(),
        ] {
            let mut bad = good_about.clone();
            change(&mut bad);
            assert!(read(&bad, &good).is_err(), "{bad:?}");
        }
        let mut backwards = all;
        backwards[7].prev_size = 2;
        refused(&about(&backwards, &[]), &lines(&backwards), "entry 7");
    }

    // A copy of which the first entries are hashes.
    fn without(all: &[Entry], kept: &[SignedCheckpoint], count: usize) -> (About, Vec<Leaf>, Vec<Line>) {
        let about = About { format: FORMAT_DESTROYED.into(), destroyed: Some(count as u64), ..about(all, kept) };
        let leaves = all[..count].iter().map(|entry| Leaf { leaf: entry.leaf_hash().to_string() }).collect();
        (about, leaves, lines(&all[count..]))
    }

    fn read_without(
        (about, leaves, lines): &(About, Vec<Leaf>, Vec<Line>),
    ) -> Result<accord_protocol::log::copy::Report, Failed> {
        let mut following = Following::begin(about, &FEDERATION, |_| (vec![public(LOG)], vec![public(LOG)]))?;
        leaves.iter().try_for_each(|leaf| following.take_leaf(leaf))?;
        for line in lines {
            following.take(line, actor)?;
        }
        following.finish()
    }

    #[test]
    fn a_copy_whose_first_entries_were_destroyed_holds_by_their_hashes() {
        let all = entries(13);
        let kept = [0usize, 3, 8].map(|size| checkpoint(&all[..size]));
        let whole = read(&about(&all, &kept), &lines(&all)).unwrap();
        for count in 1..13usize {
            let report = read_without(&without(&all, &kept, count)).unwrap();
            assert_eq!((report.size, report.root, report.destroyed), (13, whole.root, count as u64));
            assert_eq!((report.details, report.kinds[&EventKind::Answered]), (13 - count as u64, 13 - count as u64));
            assert_eq!(report.times.unwrap().0, all[count].time, "of the first that is there");
        }
    }

    #[test]
    fn a_hash_stands_only_where_the_first_line_says_so() {
        let all = entries(13);
        let kept = [3usize, 8].map(|size| checkpoint(&all[..size]));
        let good = without(&all, &kept, 5);
        let refused = |bad: &(About, Vec<Leaf>, Vec<Line>), part: &str| {
            let failed = read_without(bad).unwrap_err();
            assert!(failed.part.contains(part), "{part}: {failed:?}");
        };
        for at in 0..5 {
            let mut bad = good.clone();
            bad.1[at].leaf = leaf_hash(b"another").to_string();
            refused(&bad, if at < 3 { "checkpoint of 3" } else { "checkpoint of 8" });
            bad.1[at].leaf = good.1[at].leaf.to_uppercase();
            refused(&bad, &format!("entry {at}"));
            bad.1[at].leaf.clear();
            refused(&bad, &format!("entry {at}"));
        }
        // More or fewer of them than it says, and one in the middle.
        for (count, part) in [(4, "entry 4"), (6, "entry 5")] {
            let mut bad = good.clone();
            bad.0.destroyed = Some(count);
            refused(&bad, part);
        }
        let mut following = Following::begin(&good.0, &FEDERATION, |_| (vec![public(LOG)], vec![public(LOG)])).unwrap();
        assert!(following.take(&lines(&all)[0], actor).unwrap_err().rule.contains("said to be destroyed"));
        good.1.iter().for_each(|leaf| following.take_leaf(leaf).unwrap());
        following.take(&good.2[0], actor).unwrap();
        let middle = Leaf { leaf: all[6].leaf_hash().to_string() };
        assert_eq!(following.take_leaf(&middle).unwrap_err().part, "entry 6");
        for count in [None, Some(0), Some(13), Some(14)] {
            let mut bad = good.clone();
            bad.0.destroyed = count;
            refused(&bad, "line 1");
        }
        let mut bad = good;
        bad.0.format = FORMAT.into();
        refused(&bad, "line 1");
    }

    #[test]
    fn lines_have_the_fields_of_what_they_are() {
        let (about, leaves, lines) = without(&entries(13), &[], 5);
        let [text, leaf, line] =
            [serde_json::to_string(&about), serde_json::to_string(&leaves[0]), serde_json::to_string(&lines[0])]
                .map(Result::unwrap);
        assert!(text.contains("\"destroyed\":5,") && leaf.starts_with("{\"leaf\":\""), "{text} {leaf}");
        assert_eq!(serde_json::from_str::<About>(&text).unwrap(), about);
        assert!(serde_json::from_str::<About>(&text.replace("\"destroyed\":5", "\"destroyed\":null")).is_err());
        assert!(serde_json::from_str::<Line>(&leaf).is_err() && serde_json::from_str::<Leaf>(&line).is_err());
        assert!(serde_json::from_str::<Line>(&line.replacen('{', "{\"leaf\":\"00\",", 1)).is_err());
    }
}
