//! Keys under which anybody can sign, and second spellings of keys, are refused wherever a key enters (K8).

use std::fs;

use accord_edge::tls::from_spki;
use accord_protocol::{
    codec::encode,
    id::{from_hex, to_hex},
    key::PublicKey,
};
use accord_tests::{Federation, accord, root};

use crate::decoders::takers;

/// The 14 encodings of the eight points of low order (y is 0, 1, p - 1, or that of a point of order 8; p and p + 1 are second
/// spellings of 0 and 1; each with and without the sign bit), and all other second spellings: y from p + 2 to 2^255 - 1.
fn weak_keys() -> Vec<[u8; 32]> {
    let near_p = |first: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (first, 0x7f);
        bytes
    };
    let small = |first: u8| {
        let mut bytes = [0; 32];
        bytes[0] = first;
        bytes
    };
    let order_eight = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut keys = vec![small(0), small(1), near_p(0xec)];
    keys.extend(order_eight.map(|hex| <[u8; 32]>::try_from(from_hex(hex).unwrap()).unwrap()));
    keys.extend((0xed..=0xff).map(near_p));
    let mut signed: Vec<[u8; 32]> = keys.clone();
    for key in &mut signed {
        key[31] |= 0x80;
    }
    keys.extend(signed);
    assert_eq!(keys.len(), 2 * (5 + 19));
    keys
}

#[test]
fn k8_no_message_with_a_weak_key_decodes() {
    let text = fs::read_to_string(root().join("protocol/tests/vectors/messages.txt")).unwrap();
    let named = |part: &str| -> Vec<(String, Vec<u8>)> {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, hex)| Some((name.to_owned(), from_hex(hex.trim())?)))
            .collect()
    };
    let known: Vec<Vec<u8>> = named("public-key-of-seed-").into_iter().map(|(_, key)| key).collect();
    let weak = weak_keys();
    let (mut places, mut refused) = (0, 0);
    for (name, message) in named("").iter().filter(|(name, _)| !name.contains('.') && !name.starts_with("public-key")) {
        // Bodies, cards and payloads inside other messages are bytes there, decoded in a step of their own.
        let opaque = ["request", "request-under-topic", "ask", "document"].contains(&name.as_str());
        let before = takers(message);
        for at in 0..message.len().saturating_sub(31) {
            if !known.contains(&message[at..at + 32].to_vec()) {
                continue;
            }
            places += 1;
            let taken = weak.iter().filter(|weak| {
                let mut changed = message.clone();
                changed[at..at + 32].copy_from_slice(*weak);
                takers(&changed).iter().any(|taker| before.contains(taker))
            });
            let taken = taken.count();
            assert!(taken == 0 || (opaque && taken == weak.len()), "{name}: {taken} decode at byte {at}");
            refused += usize::from(taken == 0);
        }
    }
    assert!(places >= 19 && refused >= 14, "{places} keys in the vectors, {refused} of them in structures");
}

#[test]
fn k8_no_weak_key_is_a_key() {
    for weak in weak_keys() {
        assert!(PublicKey::try_from(weak).is_err());
        assert!(to_hex(&weak).parse::<PublicKey>().is_err(), "as people write it");
        let spki = [from_hex("302a300506032b6570032100").unwrap(), weak.to_vec()].concat();
        assert_eq!(from_spki(&spki), None, "in a handshake");
    }
    let sound = PublicKey::try_from([9; 32]).unwrap();
    assert_eq!(encode(&sound).unwrap(), [9; 32]);
}

#[test]
fn k8_people_cannot_bring_a_weak_key_in() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    let profile = path.join("officer/profile.toml");
    let settings = fs::read_to_string(&profile).unwrap();
    let line = settings.lines().find(|line| line.starts_with("node_key")).unwrap();
    let claim = fs::read(path.join("root-1/root.claim")).unwrap();
    // The last 32 + 64 bytes of the file are the one key that claims, and its signature.
    let key: Vec<u8> = claim[claim.len() - 96..claim.len() - 64].to_vec();
    let key_at = |bytes: &[u8]| bytes.windows(32).position(|part| part == key).unwrap();
    assert_eq!(accord(&path, &["federation", "show", "root-1/root.claim", "--json"]).code, 0);
    for weak in weak_keys() {
        fs::write(&profile, settings.replace(line, &format!("node_key = \"{}\"", to_hex(&weak)))).unwrap();
        let said = accord(&path, &["--profile", "officer", "status", "--json"]);
        assert_eq!(said.code, 2, "{}", said.stdout);
        assert!(said.json()["error"]["message"].as_str().unwrap().contains("node_key"), "{}", said.stdout);
        let mut changed = claim.clone();
        let at = key_at(&changed);
        changed[at..at + 32].copy_from_slice(&weak);
        let file = path.join("weak.claim");
        fs::write(&file, &changed).unwrap();
        let said = accord(&path, &["federation", "show", "weak.claim", "--json"]);
        assert!(said.code != 0 && said.stdout.contains("low-order or non-canonical"), "{}", said.stdout);
    }
}
