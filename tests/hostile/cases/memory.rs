//! Time windows, and what a provider remembers: the same request again, twice at once, after a crash, too late.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::JoinSet;

use crate::{
    peer::{Counts, Fault, MINUTE, Peer, anew, now, refused},
    stage::{ATTACKER, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        messages::Body,
        replies::{ANSWERED, Judged},
    },
};

const E_TIME: &str = "E_TIME";
/// Clock difference that is tolerated.
const SKEW: u64 = 2 * MINUTE;
/// Longest time from issuing to delivery.
const WINDOW: u64 = 10 * MINUTE;
const DAY: u64 = 86_400_000;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, log, run| Case {
        id,
        name,
        given: "an authenticated member with a request in order",
        sent,
        expected,
        log,
        place: Place::Shared,
        run,
    };
    vec![
        case(
            "C55",
            "times outside the window",
            "ends before beginnings, 11 minutes, 0, 2^64 - 1, the future, the past, waits that do not fit",
            "signed E_TIME; the request's id stays free",
            "outside the time window",
            |stage| refused(stage, outside),
        ),
        case(
            "C55",
            "times just inside the window",
            "from 110 s ahead, until 110 s ago, exactly ten minutes, a wait of 30 days",
            "answered",
            "answered peer=ES-AGENCY",
            inside,
        ),
        case(
            "C56",
            "the same request twice at once",
            "eight times over eight streams, then over two connections in new envelopes",
            "one execution; the same signed bytes eight times",
            "the same bytes again",
            at_once,
        ),
        case(
            "D4",
            "an id with another body",
            "the same id with another purpose, edition, query, reference, each before and after the first again",
            "E_CONFLICT; the first body still gets its first bytes",
            "refusal=E_CONFLICT",
            conflicts,
        ),
        case(
            "C57",
            "the same body after kill -9",
            "a request; kill -9; the same body in a new envelope; another body with its id",
            "the same stored bytes; E_CONFLICT",
            "the same bytes again",
            after_a_kill,
        ),
        case(
            "C57",
            "the same body when its window ends",
            "a request that can be delivered for three more seconds, again and again",
            "the same stored bytes, then E_TIME and nothing else",
            "outside the time window",
            until_it_ends,
        ),
    ]
}

fn timed(peer: &Peer, issued_at: u64, deliver_by: u64, wanted_until: u64) -> Body {
    Body { issued_at, deliver_by, wanted_until, ..peer.means.body() }
}

fn outside(peer: &Peer) -> Vec<Fault> {
    let now = now();
    let late = 5_000;
    let rows = [
        ("an end before the beginning", now, now - 1, 0),
        ("an end ten minutes before the beginning", now, now - WINDOW, 0),
        ("a window of ten minutes and a millisecond", now, now + WINDOW + 1, 0),
        ("a window of eleven minutes", now, now + 11 * MINUTE, 0),
        ("no end", now, u64::MAX, 0),
        ("no time", 0, 0, 0),
        ("from the beginning of time", 0, now, 0),
        ("an end of 0", now, 0, 0),
        ("a beginning that never comes", u64::MAX, u64::MAX, 0),
        ("a beginning that never comes and an end now", u64::MAX, now, 0),
        ("a beginning near the end of numbers", u64::MAX - 1, 5, 0),
        ("too far ahead", now + SKEW + late, now + SKEW + late + MINUTE, 0),
        ("a year ahead", now + 365 * DAY, now + 365 * DAY + MINUTE, 0),
        ("too late", now - WINDOW - SKEW - late, now - SKEW - late, 0),
        ("a day late", now - DAY, now - DAY + WINDOW, 0),
        ("wanted until before it was issued", now, now + WINDOW, now - 1),
        ("wanted until 1", now, now + WINDOW, 1),
        ("wanted for 30 days and a millisecond", now, now + WINDOW, now + 30 * DAY + 1),
        ("wanted for ever", now, now + WINDOW, u64::MAX),
    ];
    rows.map(|(what, from, to, wanted)| Fault::body(peer, what, &timed(peer, from, to, wanted), E_TIME)).into()
}

fn inside(stage: &mut Stage) -> Outcome {
    refused(stage, |peer| {
        let now = now();
        let rows = [
            ("110 s ahead", now + 110_000, now + 110_000 + MINUTE, 0),
            ("110 s late", now - 9 * MINUTE, now - 110_000, 0),
            ("exactly ten minutes", now, now + WINDOW, 0),
            ("an end at the beginning", now, now, 0),
            ("wanted for exactly 30 days", now, now + WINDOW, now + 30 * DAY),
        ];
        rows.map(|(what, from, to, wanted)| Fault::body(peer, what, &timed(peer, from, to, wanted), ANSWERED)).into()
    })
    .map(|_| "five windows, each answered".into())
}

fn same(first: &Judged, again: &Judged) -> Result<(), String> {
    if first.signed == again.signed && first.slice == again.slice && first.class == again.class {
        Ok(())
    } else {
        Err(format!("another reply than the first: {} {:?}", again.word(), again.head))
    }
}

// Judges a reply that must be the answer itself.
fn answered(judged: Judged) -> Result<Judged, String> {
    if judged.word() == ANSWERED { Ok(judged) } else { Err(format!("{} instead of an answer", judged.word())) }
}

fn at_once(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    stage.block_on(async {
        let first = std::sync::Arc::new(Peer::connect(stage, ATTACKER).await?);
        let second = std::sync::Arc::new(Peer::connect(stage, ATTACKER).await?);
        for peers in [[&first, &first], [&first, &second]] {
            let body = first.means.body().encode();
            let mut running = JoinSet::new();
            for turn in 0..8 {
                let peer = std::sync::Arc::clone(peers[turn % 2]);
                let stream = peer.request(&body);
                running.spawn(async move { peer.exchange(&stream).await.and_then(answered) });
            }
            let replies: Vec<Judged> = running.join_all().await.into_iter().collect::<Result<_, _>>()?;
            replies.iter().try_for_each(|reply| same(&replies[0], reply))?;
        }
        first.link.close();
        second.link.close();
        Ok::<_, String>(())
    })?;
    let expected = BTreeMap::from([(ANSWERED, 2), ("answered_again", 14)]);
    let after = Counts::of(stage, VICTIM)?;
    after.grew(&before, &expected)?;
    Ok(format!("16 requests, 2 executed, {} commits", after.sequence() - before.sequence()))
}

fn conflicts(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let body = peer.means.body();
        let first = peer.exchange(&peer.request(&body.encode())).await.and_then(answered)?;
        let mut one_drug = body.query.clone();
        one_drug.dims[1].codes.pop();
        let others = [
            ("another purpose", Body { purpose: 2, ..body.clone() }),
            ("another legal basis", Body { legal_basis: 5, ..body.clone() }),
            ("an edition", Body { edition: 1, ..body.clone() }),
            ("another query", Body { query: one_drug, ..body.clone() }),
            ("another reference", Body { case_ref_commit: [5; 32], ..body.clone() }),
            ("a later end", Body { deliver_by: body.deliver_by - 1, ..body.clone() }),
            ("another statement", Body { roster_version: 7, ..body.clone() }),
        ];
        for (what, other) in &others {
            let judged = peer.exchange(&peer.request(&other.encode())).await?;
            if judged.word() != "E_CONFLICT" || !judged.slice.is_empty() {
                return Err(format!("{what}: {}", judged.word()));
            }
            let again = peer.exchange(&peer.request(&body.encode())).await?;
            same(&first, &again).map_err(|why| format!("after {what}: {why}"))?;
        }
        peer.link.close();
        Ok(format!("{} conflicts, the first answer unchanged between them", others.len()))
    })
}

fn after_a_kill(stage: &mut Stage) -> Outcome {
    anew(stage);
    let (body, refused_body, answer, refusal) = stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let body = peer.means.body();
        let mut no_table = peer.means.body();
        no_table.query.table_id = 999;
        let answer = peer.exchange(&peer.request(&body.encode())).await.and_then(answered)?;
        // A refusal by policy is a decision as well.
        let refusal = peer.exchange(&peer.request(&no_table.encode())).await?;
        Ok::<_, String>((body, no_table, answer, refusal))
    })?;
    stage.kill(VICTIM);
    stage.start(VICTIM);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        same(&answer, &peer.exchange(&peer.request(&body.encode())).await?)?;
        same(&refusal, &peer.exchange(&peer.request(&refused_body.encode())).await?)?;
        for used in [&body, &refused_body] {
            let other = Body { purpose: 2, ..used.clone() };
            let judged = peer.exchange(&peer.request(&other.encode())).await?;
            if judged.word() != "E_CONFLICT" {
                return Err(format!("another body with a used id: {}", judged.word()));
            }
        }
        peer.link.close();
        Ok("an answer and a refusal, both the same bytes after the kill; their ids are used".into())
    })
}

fn until_it_ends(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let end = now() + 3_000;
        let body = timed(&peer, end - SKEW - MINUTE, end - SKEW, 0);
        let other = Body { purpose: 2, ..body.clone() };
        let first = peer.exchange(&peer.request(&body.encode())).await.and_then(answered)?;
        let (mut again, mut ended) = (0, None);
        while ended.is_none() && now() < end + 2_000 {
            let judged = peer.exchange(&peer.request(&body.encode())).await?;
            match judged.word() {
                ANSWERED => same(&first, &judged)?,
                E_TIME => ended = Some(now()),
                word => return Err(format!("{word} while the window ends")),
            }
            again += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let ended = ended.ok_or("it was still answered two seconds after its end")?;
        if ended < end {
            return Err(format!("E_TIME {} ms too early", end - ended));
        }
        // Past its window an id is not looked up any more: another body is late too, not in conflict.
        let judged = peer.exchange(&peer.request(&other.encode())).await?;
        peer.link.close();
        if judged.word() == E_TIME {
            Ok(format!("{again} times the same bytes, then E_TIME"))
        } else {
            Err(judged.word().into())
        }
    })
}
