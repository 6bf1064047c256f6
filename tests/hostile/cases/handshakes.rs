//! Handshakes: who is let in, and how everybody else is turned away.

use crate::{
    client::{Dial, End},
    stage::{ATTACKER, Key, Stage},
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
            sent: "a handshake without a client key",
            expected: "the handshake fails; no application byte",
            log: "none",
            place: Place::Shared,
            run: no_key,
        },
        Case {
            id: "C8",
            name: "a member's key, another's signature",
            given: "a member's public key, which anybody can know",
            sent: "a handshake that shows it and is signed with a stranger's key",
            expected: "the handshake fails at its signature",
            log: "none",
            place: Place::Shared,
            run: stolen_name,
        },
    ]
}

fn refused(stage: &Stage, identity: Option<Identity>) -> Result<End, String> {
    stage.block_on(Dial::saying(Hello::with(identity)).refusal(stage.victim()))
}

fn no_key(stage: &mut Stage) -> Outcome {
    refused(stage, None).map(|end| end.to_string())
}

fn stolen_name(stage: &mut Stage) -> Outcome {
    let claimed = stage.keys(ATTACKER).tls.public();
    refused(stage, Some(Identity::claiming(claimed, &Key::fresh()))).map(|end| end.to_string())
}
