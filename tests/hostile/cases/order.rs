//! The order of a provider's checks: a request with two faults gets the code of the one that is looked at first.

use crate::{
    cases::queries::purities,
    peer::{Fault, MINUTE, Peer, anew_with, now, refused},
    stage::{ATTACKER, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        frames::request_stream,
        keys::random,
        messages::{Body, Card, Envelope, document, signed_bytes, topic},
        replies::ANSWERED,
        sha256,
    },
};

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, sent, run| Case {
        id: "D15",
        name,
        given: "a member that may ask one table less, for one purpose less, and no months",
        sent,
        expected: "the code of the fault that stands first in the order of checks, in the class of that moment",
        log: "refused",
        place: Place::Own,
        run,
    };
    vec![
        case("every two faults at once", "each pair of 24 faults, from the envelope's encoding to the edition", pairs),
        case("a fault and an empty bucket", "each fault with a quota that is used up", with_empty_bucket),
    ]
}

/// A request while it is spoiled.
struct Draft {
    body: Body,
    undecodable_body: bool,
    envelope: Envelope,
    undecodable_envelope: bool,
    node_signature: Option<[u8; 64]>,
    officer_signature: Option<[u8; 64]>,
}

/// One fault: its place in the order, what it is, the code, how to make it, and faults that cannot stand beside it.
struct Check {
    what: &'static str,
    code: &'static str,
    spoil: fn(&mut Draft, &Given),
    not_with: &'static [&'static str],
}

/// What faults are made with.
struct Given {
    used_id: [u8; 16],
    unlisted_card: Vec<u8>,
    own_topic: Vec<u8>,
    own_topic_hash: [u8; 32],
}

/// Checks up to here look at the envelope; the reply comes in the smallest class, since the body is not read yet.
const BEFORE_THE_BODY: usize = 8;
/// From here on the refusal is a decision, which is remembered.
const DECISIONS: usize = 17;

/// The faults in the order in which a provider looks for them (`docs/wire.md` 7).
const CHECKS: [Check; 24] = [
    Check {
        what: "an envelope of protocol 2",
        code: "E_ENCODING",
        spoil: |draft, _| draft.undecodable_envelope = true,
        not_with: &[],
    },
    Check {
        what: "another node",
        code: "E_AUTH",
        spoil: |draft, _| draft.envelope.node_id = "PT-AGENCY".into(),
        not_with: &[],
    },
    Check {
        what: "another node key",
        code: "E_AUTH",
        spoil: |draft, _| draft.envelope.node_key = [9; 32],
        not_with: &[],
    },
    Check {
        what: "a node's signature of zeros",
        code: "E_AUTH",
        spoil: |draft, _| draft.node_signature = Some([0; 64]),
        not_with: &[],
    },
    Check {
        what: "another connection",
        code: "E_AUTH",
        spoil: |draft, _| draft.envelope.channel_binding = [0; 32],
        not_with: &[],
    },
    Check {
        what: "an unknown purpose",
        code: "E_ENCODING",
        spoil: |draft, _| draft.undecodable_body = true,
        not_with: &[],
    },
    Check {
        what: "dimensions out of order",
        code: "E_ENCODING",
        spoil: |draft, _| draft.body.query.dims.swap(0, 1),
        not_with: &["an unknown level"],
    },
    Check {
        what: "a reply class that does not exist",
        code: "E_ENCODING",
        spoil: |draft, _| draft.body.reply_class = 5,
        not_with: &["another reply class"],
    },
    Check {
        what: "another audience",
        code: "E_AUTH",
        spoil: |draft, _| draft.body.audience = "PT-AGENCY".into(),
        not_with: &[],
    },
    Check {
        what: "another requester",
        code: "E_AUTH",
        spoil: |draft, _| draft.body.requester = "PT-AGENCY".into(),
        not_with: &[],
    },
    Check {
        what: "too late",
        code: "E_TIME",
        spoil: |draft, _| {
            draft.body.issued_at = now() - 20 * MINUTE;
            draft.body.deliver_by = now() - 10 * MINUTE;
        },
        not_with: &[],
    },
    Check {
        what: "another card's hash",
        code: "E_AUTH",
        spoil: |draft, _| draft.body.officer_card_hash = [3; 32],
        not_with: &["an unlisted card"],
    },
    Check {
        what: "an unlisted card",
        code: "E_AUTH",
        spoil: |draft, given| {
            draft.envelope.officer_card.clone_from(&given.unlisted_card);
            draft.body.officer_card_hash = sha256(&given.unlisted_card);
        },
        not_with: &["another card's hash"],
    },
    Check {
        what: "a purpose that is not on the card",
        code: "E_UNAVAILABLE",
        spoil: |draft, _| draft.body.purpose = 5,
        not_with: &["a purpose that is not granted"],
    },
    Check {
        what: "an officer's signature of zeros",
        code: "E_AUTH",
        spoil: |draft, _| draft.officer_signature = Some([0; 64]),
        not_with: &[],
    },
    Check { what: "a topic", code: "E_AUTH", spoil: |draft, _| draft.body.topic_hash = [1; 32], not_with: &[] },
    Check {
        what: "a topic that no administrator has signed",
        code: "E_AUTH",
        spoil: |draft, given| {
            draft.envelope.topic.clone_from(&given.own_topic);
            draft.body.topic_hash = given.own_topic_hash;
        },
        not_with: &["a topic"],
    },
    Check {
        what: "a used id",
        code: "E_CONFLICT",
        spoil: |draft, given| draft.body.request_id = given.used_id,
        not_with: &[],
    },
    Check {
        what: "a table without a grant",
        code: "E_UNAVAILABLE",
        spoil: |draft, _| draft.body.query.table_id = 7,
        not_with: &[],
    },
    Check { what: "a view", code: "E_VIEW", spoil: |draft, _| draft.body.view_hash = [1; 32], not_with: &[] },
    Check {
        what: "an unknown level",
        code: "E_QUERY",
        spoil: |draft, _| draft.body.query.dims[1].level = 9,
        not_with: &["dimensions out of order"],
    },
    Check {
        what: "another reply class",
        code: "E_ENCODING",
        spoil: |draft, _| draft.body.reply_class = 2,
        not_with: &["a reply class that does not exist"],
    },
    Check {
        what: "a purpose that is not granted",
        code: "E_UNAVAILABLE",
        spoil: |draft, _| draft.body.purpose = 2,
        not_with: &["a purpose that is not on the card"],
    },
    Check { what: "an unknown edition", code: "E_EDITION", spoil: |draft, _| draft.body.edition = 99, not_with: &[] },
];

/// Fewer grants than the stage's.
fn narrow(stage: &mut Stage) {
    stage.stop(VICTIM);
    let rows = stage.federation.rows(VICTIM).replace("\"seizures-year-drug-weight\", ", "").replace(
        "purpose = [\"strategic-analysis\", \"early-warning\"]",
        "finest = { time = \"quarter\" }\npurpose = [\"strategic-analysis\"]",
    );
    stage.federation.install_policy(VICTIM, &rows);
    stage.start(VICTIM);
}

// A request in order, in class 1 so that the reply's size tells whether the body was read.
fn body(peer: &Peer) -> Body {
    Body { query: purities(1, 1).0, reply_class: 1, ..peer.means.body() }
}

fn given(peer: &Peer, used_id: [u8; 16]) -> Given {
    let card = Card {
        officer_id: random(),
        key: peer.means.officer.public(),
        purposes: vec![1, 2],
        valid_from: now() - MINUTE,
        valid_to: now() + 60 * MINUTE,
    };
    // In order but for who signed it: the officer and the node, in place of two administrators.
    let means = &peer.means;
    let purposes: Vec<u16> = (1..=5).collect();
    let times = (now() - MINUTE, now() + 60 * MINUTE);
    let payload = topic(&means.federation, (ATTACKER, VICTIM), "cocaine in reefers", &purposes, times).encode();
    let signed =
        [&means.officer, &means.sign].map(|key| (key.public(), key.sign("topic", &means.federation, &payload)));
    Given {
        used_id,
        unlisted_card: card.fields().encode(),
        own_topic_hash: sha256(&payload),
        own_topic: document("topic", &payload, &signed).encode(),
    }
}

// A request with these faults, and the words for it.
fn spoilt(peer: &Peer, given: &Given, checks: &[usize]) -> Fault {
    let body = body(peer);
    let mut draft = Draft {
        envelope: peer.envelope(&body.encode()),
        body,
        undecodable_body: false,
        undecodable_envelope: false,
        node_signature: None,
        officer_signature: None,
    };
    for check in checks {
        (CHECKS[*check].spoil)(&mut draft, given);
    }
    let mut fields = draft.body.fields();
    if draft.undecodable_body {
        fields = fields.with("purpose", 99u16.to_be_bytes());
    }
    let bytes = fields.encode();
    draft.envelope.officer_signature = draft.officer_signature.unwrap_or_else(|| peer.means.officer_signs(&bytes));
    draft.envelope.body = bytes;
    let mut envelope = draft.envelope.fields();
    if draft.undecodable_envelope {
        envelope = envelope.with("protocol", 2u16.to_be_bytes());
    }
    let bytes = envelope.encode();
    let signature =
        draft.node_signature.unwrap_or_else(|| peer.means.sign.sign("request", &peer.means.federation, &bytes));
    let stream = request_stream(&signed_bytes(&bytes, &signature).encode());
    let first = checks.iter().copied().min().unwrap_or(0);
    let names: Vec<&str> = checks.iter().map(|check| CHECKS[*check].what).collect();
    Fault {
        class: if first < BEFORE_THE_BODY { 0 } else { draft.body.reply_class },
        fresh: first < DECISIONS && draft.body.request_id != given.used_id,
        ..Fault::new(names.join(" and "), draft.body.request_id, stream, CHECKS[first].code)
    }
}

fn pairs(stage: &mut Stage) -> Outcome {
    narrow(stage);
    let mut count = 0;
    refused(stage, |peer| {
        let used = body(peer);
        let given = given(peer, used.request_id);
        let mut faults = vec![Fault::decided(peer, "the request whose id is used", &used, ANSWERED)];
        for (second, check) in CHECKS.iter().enumerate() {
            faults.push(spoilt(peer, &given, &[second]));
            let beside = |first: &usize| !check.not_with.contains(&CHECKS[*first].what);
            faults.extend((0..second).filter(beside).map(|first| spoilt(peer, &given, &[first, second])));
        }
        count = faults.len();
        faults
    })?;
    Ok(format!("{count} requests, each with the code of its first fault"))
}

fn with_empty_bucket(stage: &mut Stage) -> Outcome {
    narrow(stage);
    anew_with(stage, 1, 1);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let used = body(&peer);
        let given = given(&peer, used.request_id);
        let first = peer.exchange(&peer.request(&used.encode())).await?;
        if first.word() != ANSWERED {
            return Err(format!("the first request: {}", first.word()));
        }
        for check in 0..CHECKS.len() {
            // What is found before the bucket is looked at keeps its code; everything later is not looked at any more.
            let fault = spoilt(&peer, &given, &[check]);
            let want = if check < DECISIONS { fault.want } else { "E_QUOTA" };
            let judged = peer.exchange(&fault.stream).await.map_err(|why| format!("{}: {why}", fault.what))?;
            if (judged.word(), judged.class) != (want, fault.class) {
                return Err(format!("{}: {} in class {} where {want} is due", fault.what, judged.word(), judged.class));
            }
        }
        peer.link.close();
        Ok(format!("{} faults, {} of them hidden by the quota", CHECKS.len(), CHECKS.len() - DECISIONS))
    })
}
