//! What one member does with another's things: its officer, its requests, its connection; and what is sent again or at another time.

use std::collections::BTreeMap;

use crate::{
    peer::{Counts, MINUTE, Peer, anew, now},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        frames::request_stream,
        messages::{Body, Envelope, sealed},
        replies::{ANSWERED, Judged},
    },
};

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, sent, expected, run| Case {
        id: "D13",
        name,
        given: "two members, and a request of the one's officer that is in order",
        sent,
        expected,
        log: "refused",
        place: Place::Own,
        run,
    };
    vec![
        case(
            "another member's officer and requests",
            "the other's officer, envelope, node id, node key and signature in each mixture, over the own connection",
            "signed E_AUTH each; nothing executed; the officer's id and quota untouched",
            borrowed,
        ),
        case(
            "the same bytes over another connection",
            "a sealed request again over a second connection, before and after it was executed, and while both are open",
            "signed E_AUTH; over its own connection the same signed answer again",
            elsewhere,
        ),
        case(
            "times of sending",
            "requests in order whose envelope says 0, a day ago, in a day, 2^64 - 1",
            "answered: the officer's own times decide, the envelope's is a statement",
            sending_times,
        ),
    ]
}

// Each mixture that is not wholly the sender's own.
fn borrowed(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let (count, wrong) = stage.block_on(async {
        let theirs = Peer::connect(stage, ATTACKER).await?;
        let own = Peer::connect(stage, HONEST).await?;
        let mut wrong = Vec::new();
        let mut rows: Vec<(String, [u8; 16], Vec<u8>)> = Vec::new();
        for requester in [ATTACKER, HONEST] {
            for node_id in [ATTACKER, HONEST] {
                for (whose_key, key) in [(ATTACKER, &theirs.means.sign), (HONEST, &own.means.sign)] {
                    for (whose_signature, signer) in [(ATTACKER, &theirs.means.sign), (HONEST, &own.means.sign)] {
                        let body = Body { requester: requester.into(), ..own.means.body() };
                        let envelope = Envelope {
                            node_id: node_id.into(),
                            node_key: key.public(),
                            ..own.envelope(&body.encode())
                        };
                        let payload = sealed(signer, "request", &own.means.federation, &envelope.fields().encode());
                        let what = format!(
                            "a question of {requester} from {node_id}, key of {whose_key}, signed by {whose_signature}"
                        );
                        rows.push((what, body.request_id, request_stream(&payload)));
                    }
                }
            }
        }
        // The other's sealed request as it stands, made for the other's connection.
        let body = theirs.means.body();
        rows.push(("their whole request".into(), body.request_id, theirs.request(&body.encode())));
        for (what, id, stream) in &rows {
            // A refusal from before the body was read names the sender as the one who asked.
            match own.exchange(stream).await {
                Ok(judged) if judged.word() == "E_AUTH" => {}
                Ok(judged) => wrong.push(format!("{what}: {}", judged.word())),
                Err(why) => wrong.push(format!("{what}: {why}")),
            }
            theirs.is_fresh(*id).await?;
        }
        theirs.link.close();
        own.link.close();
        Ok::<_, String>((rows.len(), wrong))
    })?;
    if !wrong.is_empty() {
        return Err(format!("{} of {count}: {}", wrong.len(), wrong.join("; ")));
    }
    let each = count as u64;
    Counts::of(stage, VICTIM)?.grew(&before, &[("E_AUTH", each), (ANSWERED, each)].into())?;
    Ok(format!("{count} mixtures refused; every id free for its officer"))
}

fn elsewhere(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    stage.block_on(async {
        let first = Peer::connect(stage, ATTACKER).await?;
        let second = Peer::connect(stage, ATTACKER).await?;
        if first.binding == second.binding {
            return Err("two connections have the same binding".into());
        }
        let stream = first.request(&first.means.body().encode());
        let early = second.exchange(&stream).await?;
        let answer = first.exchange(&stream).await?;
        let late = second.exchange(&stream).await?;
        let again = first.exchange(&stream).await?;
        let words = [&early, &answer, &late, &again].map(Judged::word);
        if words != ["E_AUTH", ANSWERED, "E_AUTH", ANSWERED] {
            return Err(format!("{words:?}"));
        }
        if again.signed != answer.signed || again.slice != answer.slice {
            return Err("the same bytes over the same connection got another answer".into());
        }
        first.link.close();
        second.link.close();
        Ok(())
    })?;
    let expected: BTreeMap<&str, u64> = [("E_AUTH", 2), (ANSWERED, 1), ("answered_again", 1)].into();
    Counts::of(stage, VICTIM)?.grew(&before, &expected)?;
    Ok("refused twice over the other connection, executed once, the same bytes again".into())
}

fn sending_times(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let day = 24 * 60 * MINUTE;
    let times = [0, 1, now() - day, now() + day, u64::MAX];
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        for sent_at in times {
            let body = peer.means.body();
            let envelope = Envelope { sent_at, ..peer.envelope(&body.encode()) };
            let judged = peer.exchange(&peer.request_in(&envelope.fields())).await?;
            if judged.word() != ANSWERED {
                return Err(format!("sent at {sent_at}: {}", judged.word()));
            }
        }
        // Beside a body that is past its time no time of sending helps.
        let issued_at = now() - 20 * MINUTE;
        let late = Body { issued_at, deliver_by: issued_at + 10 * MINUTE, ..peer.means.body() };
        let envelope = Envelope { sent_at: issued_at, ..peer.envelope(&late.encode()) };
        let judged = peer.exchange(&peer.request_in(&envelope.fields())).await?;
        peer.link.close();
        if judged.word() == "E_TIME" { Ok(()) } else { Err(format!("a late body sent in time: {}", judged.word())) }
    })?;
    Counts::of(stage, VICTIM)?.grew(&before, &[(ANSWERED, times.len() as u64), ("E_TIME", 1)].into())?;
    Ok(format!("{} times of sending answered; a late body is late whenever it was sent", times.len()))
}
