//! Handshakes: who is let in, and how everybody else is turned away.

use std::{sync::Arc, time::Duration};

use accord_edge::clock::Stopwatch;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::SignatureScheme;

use crate::{
    client::{Dial, End},
    der,
    dice::Dice,
    stage::{ATTACKER, Key, Stage, VICTIM},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
};

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            id: "C6",
            name: "no key",
            given: "the victim serves",
            sent: "a handshake without a client key: none offered, and raw public keys agreed on but none shown",
            expected: "closed before any stream; no application byte",
            log: "none",
            place: Place::Shared,
            run: no_key,
        },
        Case {
            id: "C7",
            name: "a stranger's key",
            given: "a key that is on no roster",
            sent: "a handshake in order with it, and then a request",
            expected: "closed, always with code 1 and no reason; no application byte, although the client may believe for a moment that it is connected",
            log: "none",
            place: Place::Shared,
            run: stranger,
        },
        Case {
            id: "C8",
            name: "a member's key, another's signature",
            given: "a member's public key, which anybody can know",
            sent: "a handshake that shows it and is signed with a stranger's key",
            expected: "the handshake fails, with the same code as for a key that is nobody's, so that nobody can find out whose keys are pinned",
            log: "none",
            place: Place::Shared,
            run: stolen_name,
        },
        Case {
            id: "C9",
            name: "X.509 certificates of a pinned key",
            given: "a member's own key",
            sent: "handshakes with a self-signed certificate of it, expired, not yet valid and valid, as X.509 and in the place of a raw key",
            expected: "all refused: there are raw public keys only, so dates do not matter (documented in docs/wire.md 2)",
            log: "none",
            place: Place::Shared,
            run: certificates,
        },
        Case {
            id: "C10",
            name: "keys of other kinds",
            given: "a P-256 key with a good signature; public keys of the form of RSA and Ed448",
            sent: "handshakes that show them as raw public keys",
            expected: "the handshake fails",
            log: "none",
            place: Place::Shared,
            run: other_kinds,
        },
        Case {
            id: "C11",
            name: "a chain of 50 entries of 16 KiB",
            given: "a member's own key",
            sent: "a Certificate message of 800 KiB: its key first, its key last, noise alone",
            expected: "refused within 10 s, memory flat",
            log: "none",
            place: Place::Shared,
            run: long_chain,
        },
        Case {
            id: "C33",
            name: "the node's own key",
            given: "the victim's own TLS key",
            sent: "a handshake in order with it",
            expected: "refused with the code that a stranger gets",
            log: "none",
            place: Place::Shared,
            run: own_key,
        },
        Case {
            id: "C34",
            name: "any server name",
            given: "a member's key, and a stranger's",
            sent: "handshakes with the names of other hosts, of other members, an address, and one of 250 characters",
            expected: "the name is irrelevant: the member is served under each, by the same key; the stranger under none",
            log: "connected peer=ES-AGENCY",
            place: Place::Shared,
            run: any_name,
        },
    ]
}

fn refused(stage: &Stage, identity: Option<Identity>) -> Result<End, String> {
    stage.block_on(Dial::saying(Hello::with(identity)).refusal(stage.victim()))
}

/// Everybody in a list is refused, and with the code that a stranger gets.
fn all_as_strangers(stage: &Stage, who: Vec<(&str, Option<Identity>)>) -> Outcome {
    let usual = refused(stage, Some(Identity::of(&Key::fresh())))?;
    let mut others = Vec::new();
    let count = who.len();
    for (what, identity) in who {
        let end = refused(stage, identity).map_err(|wrong| format!("{what}: {wrong}"))?;
        if end != usual {
            others.push(format!("{what}: {end}"));
        }
    }
    if others.is_empty() {
        Ok(format!("{count} refused like a stranger: {usual}"))
    } else {
        Err(format!("a stranger is {usual}, but {}", others.join("; ")))
    }
}

/// Everybody in a list is refused, and told so.
fn all_refused(stage: &Stage, who: Vec<(&str, Option<Identity>)>) -> Outcome {
    let mut ends = Vec::new();
    for (what, identity) in who {
        let end = refused(stage, identity).map_err(|wrong| format!("{what}: {wrong}"))?;
        if end == End::Silent {
            return Err(format!("{what}: {end}"));
        }
        ends.push(format!("{what}: {end}"));
    }
    Ok(ends.join("; "))
}

fn no_key(stage: &mut Stage) -> Outcome {
    let nothing = Identity { chain: Vec::new(), ..Identity::of(&Key::fresh()) };
    all_refused(stage, vec![("none offered", None), ("agreed on, none shown", Some(nothing))])
}

fn stranger(stage: &mut Stage) -> Outcome {
    let keys = (0..3).map(|_| ("another stranger", Some(Identity::of(&Key::fresh())))).collect();
    let seen = all_as_strangers(stage, keys)?;
    match refused(stage, Some(Identity::of(&Key::fresh())))? {
        End::Closed(1, reason) if reason.is_empty() => Ok(seen),
        End::Closed(_, reason) | End::Transport(_, reason) => {
            Err(format!("the server gives its reasons: {}", String::from_utf8_lossy(&reason)))
        }
        end => Err(format!("no close, but {end}")),
    }
}

fn stolen_name(stage: &mut Stage) -> Outcome {
    let claiming = |key| refused(stage, Some(Identity::claiming(key, &Key::fresh())));
    let nobodys = claiming(Key::fresh().public())?;
    let members = claiming(stage.keys(ATTACKER).tls.public())?;
    let own = claiming(stage.keys(VICTIM).tls.public())?;
    if members == nobodys && own == nobodys && nobodys != End::Silent {
        Ok(format!("a member's, the victim's own and nobody's key: {nobodys}"))
    } else {
        Err(format!("nobody's key: {nobodys}; a member's: {members}; the victim's own: {own}"))
    }
}

fn certificates(stage: &mut Stage) -> Outcome {
    let key = &stage.keys(ATTACKER).tls;
    let dates = [
        ("expired", "200101000000Z", "210101000000Z"),
        ("not yet valid", "450101000000Z", "460101000000Z"),
        ("valid", "200101000000Z", "490101000000Z"),
    ];
    let mut ends = Vec::new();
    for (what, not_before, not_after) in dates {
        let shown = Identity::showing(vec![der::certificate(key, not_before, not_after)], key);
        for (how, identity) in [("as X.509", Identity { raw: false, ..shown.clone() }), ("as a raw key", shown)] {
            let end = refused(stage, Some(identity)).map_err(|wrong| format!("{what}, {how}: {wrong}"))?;
            ends.push(format!("{what} {how} {end}"));
        }
    }
    Ok(ends.join("; "))
}

fn other_kinds(stage: &mut Stage) -> Outcome {
    let mut dice = Dice::new(10);
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
    let shown = |chain: Vec<u8>, scheme, signature: Vec<u8>| Identity {
        chain: vec![chain],
        raw: true,
        scheme,
        sign: Arc::new(move |_| signature.clone()),
    };
    let p256 = Identity {
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        chain: vec![der::p256(pair.public_key().as_ref())],
        sign: Arc::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()),
        raw: true,
    };
    let rsa = shown(der::rsa(&mut dice), SignatureScheme::RSA_PSS_SHA256, dice.bytes(256));
    let ed448 = shown(der::ed448(&mut dice), SignatureScheme::ED448, dice.bytes(114));
    all_refused(stage, vec![("P-256", Some(p256)), ("RSA", Some(rsa)), ("Ed448", Some(ed448))])
}

fn long_chain(stage: &mut Stage) -> Outcome {
    let key = &stage.keys(ATTACKER).tls;
    let own = crate::tls::spki(key.public());
    let noise = || (0..50u64).map(|seed| Dice::new(seed).bytes(16 << 10)).collect::<Vec<_>>();
    let chains = [
        ("its key first", [vec![own.clone()], noise()].concat()),
        ("its key last", [noise(), vec![own]].concat()),
        ("noise alone", noise()),
    ];
    let mut ends = Vec::new();
    for (what, chain) in chains {
        let clock = Stopwatch::start();
        let end = refused(stage, Some(Identity::showing(chain, key))).map_err(|wrong| format!("{what}: {wrong}"))?;
        if end == End::Silent || u128::from(clock.ms()) > Duration::from_secs(10).as_millis() {
            return Err(format!("{what}: {end} after {} ms", clock.ms()));
        }
        ends.push(format!("{what} {end} after {} ms", clock.ms()));
    }
    Ok(ends.join("; "))
}

fn own_key(stage: &mut Stage) -> Outcome {
    let own = Identity::of(&stage.keys(VICTIM).tls);
    all_as_strangers(stage, vec![("its own key", Some(own))])
}

fn any_name(stage: &mut Stage) -> Outcome {
    let long = ["a".repeat(62).as_str(); 4].join(".");
    let names = ["example.org", "ES-AGENCY", "localhost", "192.0.2.1", "2001:db8::1", "xn--80ak6aa92e.example", &long];
    let key = crate::tls::spki(stage.keys(VICTIM).tls.public());
    for name in names {
        let under_it = |dial: Dial| Dial { name: name.to_owned(), ..dial };
        stage.block_on(async {
            let link =
                under_it(stage.attacker()).connect(stage.victim()).await.map_err(|end| format!("{name}: {end}"))?;
            let came = link.ask(&crate::envelope::fetch_edition(1)).await;
            if !crate::envelope::found(&came) || link.server_key() != key {
                return Err(format!("{name}: {came:?}"));
            }
            link.close();
            let stranger = under_it(Dial::of(&Key::fresh()));
            stranger.refusal(stage.victim()).await.map_err(|wrong| format!("{name}, a stranger: {wrong}"))
        })?;
    }
    Ok(format!("{} names, each served by the pinned key", names.len()))
}
