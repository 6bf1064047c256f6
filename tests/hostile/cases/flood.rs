//! Thousands of bad signatures by a valid member, and how another member fares meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use accord_edge::clock::Stopwatch;
use tokio::task::JoinSet;

use crate::{
    peer::{Counts, Peer, anew},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{frames::request_stream, messages::signed_bytes, replies::ANSWERED},
};

/// Bad signatures in all; `ACCORD_FLOOD` says otherwise.
const FLOOD: usize = 10_000;
/// Twice as long as without the flood an answer may take (`robustness.md` 6.0); below this many microseconds it is good anyway.
const GOOD_US: f64 = 50_000.0;
/// Answers that are timed without the flood.
const QUIET: usize = 200;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        id: "C54",
        name: "ten thousand bad signatures",
        given: "two members; one of them has gone bad",
        sent: "requests of one member whose node's signature does not verify, eight at once, ACCORD_FLOOD of them",
        expected: "each a signed E_AUTH; the other member is answered all the time; memory flat; the log holds some lines and their number",
        log: "left_out=",
        place: Place::Own,
        run: flood,
    }]
}

fn flood(stage: &mut Stage) -> Outcome {
    let size = std::env::var("ACCORD_FLOOD").ok().and_then(|text| text.parse().ok()).unwrap_or(FLOOD);
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let (quiet, loud, took) = stage.block_on(async {
        let honest = Arc::new(Peer::connect(stage, ATTACKER).await?);
        let hostile = Arc::new(Peer::connect(stage, HONEST).await?);
        let mut quiet = Vec::new();
        for _ in 0..QUIET {
            quiet.push(timed(&honest).await?);
        }
        let over = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn({
            let (honest, over) = (Arc::clone(&honest), Arc::clone(&over));
            async move {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    times.push(timed(&honest).await?);
                }
                Ok::<_, String>(times)
            }
        });
        let watch = Stopwatch::start();
        let flooded = send_all(&hostile, size).await;
        let took = watch.ms();
        over.store(true, Ordering::Relaxed);
        let loud = asking.await.map_err(|error| error.to_string())??;
        flooded?;
        honest.link.close();
        hostile.link.close();
        Ok::<_, String>((quiet, loud, took))
    })?;
    let answers = (quiet.len() + loud.len()) as u64;
    let expected = [("E_AUTH", size as u64), (ANSWERED, answers)].into();
    Counts::of(stage, VICTIM)?.grew(&before, &expected)?;
    let (quiet, during) = (p95(quiet), p95(loud.clone()));
    stage.figures.insert("p95 quiet, us".into(), quiet);
    stage.figures.insert("p95 during the flood, us".into(), during);
    stage.figures.insert("p95 ratio".into(), during / quiet);
    if during > (2.0 * quiet).max(GOOD_US) {
        return Err(format!("the other member waits {during} us where {quiet} us are usual"));
    }
    Ok(format!(
        "{size} bad signatures in {took} ms, {} answers to the other member meanwhile, p95 {:.1} times quiet",
        loud.len(),
        during / quiet
    ))
}

// One answer, in microseconds.
async fn timed(peer: &Peer) -> Result<u64, String> {
    let stream = peer.request(&peer.means.body().encode());
    let watch = Stopwatch::start();
    let judged = peer.exchange(&stream).await?;
    if judged.word() == ANSWERED { Ok(watch.us()) } else { Err(format!("the other member got {}", judged.word())) }
}

async fn send_all(peer: &Arc<Peer>, size: usize) -> Result<(), String> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let (peer, next) = (Arc::clone(peer), Arc::clone(&next));
        workers.spawn(async move {
            let envelope = peer.envelope(&peer.means.body().encode()).fields().encode();
            let mut signature = peer.means.sign.sign("request", &peer.means.federation, &envelope);
            signature[0] ^= 1;
            let stream = request_stream(&signed_bytes(&envelope, &signature).encode());
            while next.fetch_add(1, Ordering::Relaxed) < size {
                let judged = peer.exchange(&stream).await?;
                if judged.word() != "E_AUTH" {
                    return Err(format!("a bad signature got {}", judged.word()));
                }
            }
            Ok::<_, String>(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(|error| error.to_string())??;
    }
    Ok(())
}

fn p95(mut times: Vec<u64>) -> f64 {
    times.sort_unstable();
    let at = times.len() * 95 / 100;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .map_or(0.0, |time| f64::from(u32::try_from(*time).unwrap_or(u32::MAX)))
}
