//! `accord-node run`: "ready" only when keys, trust documents, store and listeners work.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use accord_edge::{clock, linux};
use accord_node::{
    io::{config::Config, keys::Credential, store::StoreError, transport::Sockets},
    node::{Node, StartError},
};
use accord_protocol::log::tick::next_tick;
use anyhow::Context;
use clap::Args;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::Refused;

/// How often what need not be kept is removed.
const HOUSEKEEPING_EVERY: Duration = Duration::from_hours(1);
/// How often the room on the disk and the clock are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long whoever waits for a write that was interrupted has to be told so.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// How long work that was under way then may take to notice it.
const WIND_DOWN_WITHIN: Duration = Duration::from_mins(1);
/// How long a start that lacks room waits, at first and at most; at most where only a try says whether there is room.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(4);
const LONG_PAUSE_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The node's folder.
    dir: PathBuf,
    /// Run although the process has root's rights. For containers and tests.
    #[arg(long)]
    allow_root: bool,
    /// Write the ready line to this file descriptor instead of stdout.
    #[arg(long, value_name = "N")]
    ready_fd: Option<u32>,
    /// Read the credential that the node's ring is sealed with from this file descriptor, instead of from systemd's credentials.
    #[arg(long, value_name = "N")]
    credential_fd: Option<u32>,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if linux::is_root() {
            if !self.allow_root {
                return Err(Refused(
                    "will not run as root: use a user of its own, or --allow-root in a container".into(),
                )
                .into());
            }
            tracing::warn!("running as root");
        }
        if let Err(error) = linux::keep_memory_private() {
            tracing::warn!(%error, "others may look into this process: core dumps and debuggers are not kept out");
        }
        let mut config = Config::load(&self.dir).map_err(StartError::from)?;
        let credential =
            Credential::find(self.credential_fd).context("the credential of the node's ring cannot be read")?;
        let control =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let (mut signals, mut patience) = (None, Patience::default());
        loop {
            let node = match Node::open(config.clone(), credential.clone()) {
                Ok(node) => Arc::new(node),
                Err(error) if error.lacks_room() => {
                    if control.block_on(is_stopped_within(patience.pause(&error), signals.as_mut())) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            patience.is_over();
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
            let end = control.block_on(self.live(&runtime, &node, &mut config, &mut signals));
            if !matches!(end, Ok(End::Interrupted)) {
                // Blocking work that still runs (an import that nobody waits for) changes nothing half: do not wait for it.
                runtime.shutdown_background();
                return end.map(|_| ExitCode::SUCCESS);
            }
            // Nothing of the life that is over may touch what the next one opens.
            node.close_store();
            runtime.shutdown_timeout(WIND_DOWN_WITHIN);
            if Arc::into_inner(node).is_none() {
                anyhow::bail!("the disk was full, and work that had begun does not end: start the node again");
            }
        }
    }

    /// From the listeners to their end. The first time, what it listens on is announced, and kept for the lives after it.
    async fn live(
        &self,
        runtime: &Runtime,
        node: &Arc<Node>,
        config: &mut Config,
        signals: &mut Option<Signals>,
    ) -> anyhow::Result<End> {
        let is_first = signals.is_none();
        let signals = match signals {
            Some(signals) => signals,
            None => signals.insert(Signals::catch()?),
        };
        let sockets = {
            let _inside = runtime.enter();
            Sockets::listen(Arc::clone(node))?
        };
        let (members, people) = sockets.addresses()?;
        (config.listen_members, config.listen_people) = (members, people);
        if is_first {
            self.ready(&format!(
                "{{\"ready\":true,\"members\":\"{members}\",\"people\":\"{people}\",\"pid\":{}}}\n",
                std::process::id()
            ))?;
        }
        tracing::info!(member = %node.config.member, %members, %people, "ready");
        let mut hangup = signal(SignalKind::hangup())?;
        let (stop, stopped) = oneshot::channel();
        let mut stop = Some(stop);
        let mut serving = runtime.spawn(serve(Arc::clone(node), sockets, stopped));
        loop {
            tokio::select! {
                end = &mut serving => {
                    let end = end.context("the node has stopped unexpectedly")?;
                    // Whoever wants it to stop does not want it to open its store again.
                    return Ok(if stop.is_none() { End::Stopped } else { end });
                }
                () = signals.stop() => {
                    if let Some(stop) = stop.take() {
                        // It may have ended by itself at the same moment.
                        let _ = stop.send(());
                    }
                }
                // Settings are read at start, and documents count as soon as they are handed in.
                _ = hangup.recv() => tracing::info!("SIGHUP: there is nothing to read again"),
            }
        }
    }

    fn ready(&self, line: &str) -> anyhow::Result<()> {
        if let Some(descriptor) = self.ready_fd {
            let mut file = linux::write_descriptor(descriptor).with_context(|| format!("--ready-fd {descriptor}"))?;
            file.write_all(line.as_bytes())?;
        } else {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(line.as_bytes())?;
            stdout.flush()?;
        }
        Ok(())
    }
}

/// How one life of the node has ended.
enum End {
    /// Somebody stopped it.
    Stopped,
    /// There was no room in the middle of a write: the store must be opened again.
    Interrupted,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

// Before the first life signals end the process as they always do.
async fn is_stopped_within(pause: Duration, signals: Option<&mut Signals>) -> bool {
    match signals {
        None => tokio::time::sleep(pause).await,
        Some(signals) => return tokio::time::timeout(pause, signals.stop()).await.is_ok(),
    }
    false
}

/// How long a start that lacks room waits before it tries again.
#[derive(Default)]
struct Patience {
    last: Option<Duration>,
}

impl Patience {
    fn pause(&mut self, error: &StartError) -> Duration {
        if self.last.is_none() {
            let error = accord_protocol::text::with_causes(error);
            tracing::error!(error, "not ready: the disk is full; the node starts by itself once there is room");
        }
        // Where the file system says that it is full, asking it again costs nothing; else the store is read each time.
        let max =
            if matches!(error, StartError::Store(StoreError::DiskFull { .. })) { PAUSE_MAX } else { LONG_PAUSE_MAX };
        let pause = self.last.map_or(PAUSE_MIN, |last| last.saturating_mul(2)).min(max);
        self.last = Some(pause);
        pause
    }

    fn is_over(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("there was room for the start");
        }
    }
}

/// Serves until somebody stops it, or the store must be opened again.
async fn serve(node: Arc<Node>, sockets: Sockets, mut stopped: oneshot::Receiver<()>) -> End {
    let closing_log = tokio::spawn(keep_closing_log(Arc::clone(&node)));
    let looking = tokio::spawn(keep_looking(Arc::clone(&node)));
    let mut end = End::Stopped;
    {
        let serving = sockets.serve();
        tokio::pin!(serving);
        let mut hourly = tokio::time::interval(HOUSEKEEPING_EVERY);
        // Hours in which the machine slept are not made up for.
        hourly.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut serving => break,
                _ = &mut stopped => break,
                () = node.interrupted() => {
                    end = End::Interrupted;
                    tracing::error!("the disk was full in the middle of a write: the node opens its store again");
                    // Whoever waits for what was interrupted is told so.
                    let _ = tokio::time::timeout(LAST_WORDS_WITHIN, &mut serving).await;
                    break;
                }
                _ = hourly.tick() => keep_house(&node),
            }
        }
    }
    let is_stopped = matches!(end, End::Stopped);
    if is_stopped {
        tracing::info!("stopping");
    }
    closing_log.abort();
    looking.abort();
    sockets.close().await;
    if is_stopped {
        let stopped = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || stopped.enter_stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the stop cannot be entered in the audit log"),
            Err(error) => tracing::error!(%error, "the stop cannot be entered in the audit log"),
        }
    }
    end
}

fn keep_house(node: &Arc<Node>) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        match node.forget_replies() {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "replies forgotten"),
            Err(error) => tracing::error!(%error, "old replies stay"),
        }
        if let Err(error) = node.forget_proofs() {
            tracing::error!(%error, "old proofs stay");
        }
        node.forget_requests();
        node.keep_retention();
    });
}

/// Looks whether there is room on the disk, and goes on where there is again; and whether the clock is right.
async fn keep_looking(node: Arc<Node>) {
    loop {
        let worker = Arc::clone(&node);
        // One that panics is counted where all panics are.
        let _ = tokio::task::spawn_blocking(move || {
            worker.look_at_disk();
            worker.look_at_clock();
        })
        .await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Closes the audit log for witnesses at every full hour of the node's clock.
async fn keep_closing_log(node: Arc<Node>) {
    let mut due = next_tick(clock::now());
    loop {
        // In steps, so that a clock which is set does not put it off.
        let missing = Duration::from_millis(due.0.saturating_sub(clock::now().0));
        tokio::time::sleep(missing.min(Duration::from_mins(1))).await;
        let now = clock::now();
        if now < due {
            due = due.min(next_tick(now));
            continue;
        }
        due = next_tick(now);
        let worker = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || worker.close_log()).await {
            Ok(Ok(signed)) => tracing::info!(size = signed.checkpoint().size, "the audit log is closed for the hour"),
            Ok(Err(error)) => tracing::error!(%error, "the audit log cannot be closed for the hour"),
            Err(error) => tracing::error!(%error, "the audit log cannot be closed for the hour"),
        }
    }
}
