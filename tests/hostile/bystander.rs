//! An honest member who keeps asking while something else goes on, and how long its answers take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use accord_edge::clock::Stopwatch;

use crate::{client::Link, envelope, stage::Stage};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(20);
/// How long it asks before the attack, for comparison.
const QUIET: Duration = Duration::from_secs(1);

/// Phases of a run.
const BEFORE: u8 = 0;
const DURING: u8 = 1;
const OVER: u8 = 2;

/// Times of answers in each phase, and requests that were not answered.
#[derive(Debug, Default)]
struct Served {
    us: [Vec<u64>; 2],
    failed: u64,
}

/// Runs an attack while the honest member keeps asking over a connection from before. Its 95th percentiles, quiet and during the
/// attack, go to the stage's figures; one request that is not answered is an error.
pub(crate) fn beside<T>(stage: &mut Stage, attack: impl FnOnce(&mut Stage) -> Result<T, String>) -> Result<T, String> {
    let link = stage.block_on(stage.honest().connect(stage.victim())).map_err(|end| end.to_string())?;
    let phase = Arc::new(AtomicU8::new(BEFORE));
    let asking = stage.runtime().spawn(keep_asking(link, Arc::clone(&phase)));
    std::thread::sleep(QUIET);
    phase.store(DURING, Ordering::Relaxed);
    let result = attack(stage);
    phase.store(OVER, Ordering::Relaxed);
    let served = stage.block_on(asking).unwrap();
    let [quiet, loaded] = served.us.each_ref().map(|us| p95_ms(us));
    for (name, value) in [
        ("honest_answers", f64::from(u32::try_from(served.us[1].len()).unwrap())),
        ("honest_p95_quiet_ms", quiet),
        ("honest_p95_ms", loaded),
        ("honest_p95_ratio", loaded / quiet),
    ] {
        stage.figures.insert(name.to_owned(), value);
    }
    let result = result?;
    if served.us[1].is_empty() || served.failed > 0 {
        let answered = served.us[1].len();
        return Err(format!("of an honest member's requests {answered} were answered and {} were not", served.failed));
    }
    Ok(result)
}

async fn keep_asking(link: Link, phase: Arc<AtomicU8>) -> Served {
    let mut served = Served::default();
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let phase = phase.load(Ordering::Relaxed);
        let Some(times) = served.us.get_mut(usize::from(phase)) else { break };
        let clock = Stopwatch::start();
        if envelope::found(&link.ask(&envelope::fetch_edition(1)).await) {
            times.push(clock.us());
        } else {
            served.failed += 1;
            // A connection that is gone answers no more.
            if link.connection.close_reason().is_some() {
                break;
            }
        }
    }
    link.close();
    served
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of some seconds")]
fn p95_ms(us: &[u64]) -> f64 {
    let mut sorted = us.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * 95 / 100).map_or(f64::INFINITY, |us| *us as f64 / 1000.0)
}
