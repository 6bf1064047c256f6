//! `accord-node run`: "ready" only when keys, trust documents, store and listeners work.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use accord_edge::{clock, linux};
use accord_node::{
    io::{config::Config, keys::Credential, transport::Sockets},
    node::{Node, StartError},
};
use accord_protocol::log::tick::next_tick;
use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Refused;

/// How often what need not be kept is removed.
const HOUSEKEEPING_EVERY: Duration = Duration::from_hours(1);

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
        let config = Config::load(&self.dir).map_err(StartError::from)?;
        let credential =
            Credential::find(self.credential_fd).context("the credential of the node's ring cannot be read")?;
        let node = Arc::new(Node::open(config, credential)?);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
        let code = runtime.block_on(self.serve(node));
        // Blocking work that still runs (an import that nobody waits for) changes nothing half: do not wait for it.
        runtime.shutdown_background();
        code
    }

    async fn serve(&self, node: Arc<Node>) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let sockets = Sockets::listen(Arc::clone(&node))?;
        let (members, people) = sockets.addresses()?;
        self.ready(&format!(
            "{{\"ready\":true,\"members\":\"{members}\",\"people\":\"{people}\",\"pid\":{}}}\n",
            std::process::id()
        ))?;
        tracing::info!(member = %node.config.member, %members, %people, "ready");
        let closing_log = tokio::spawn(keep_closing_log(Arc::clone(&node)));
        let serving = sockets.serve();
        tokio::pin!(serving);
        let mut hourly = tokio::time::interval(HOUSEKEEPING_EVERY);
        loop {
            tokio::select! {
                () = &mut serving => break,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hourly.tick() => {
                    let node = Arc::clone(&node);
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
                // Settings are read at start, and documents count as soon as they are handed in.
                _ = hangup.recv() => tracing::info!("SIGHUP: there is nothing to read again"),
            }
        }
        tracing::info!("stopping");
        closing_log.abort();
        sockets.close().await;
        let stopped = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || stopped.enter_stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the stop cannot be entered in the audit log"),
            Err(error) => tracing::error!(%error, "the stop cannot be entered in the audit log"),
        }
        Ok(ExitCode::SUCCESS)
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

/// Closes the audit log for witnesses at every full hour of the node's clock.
async fn keep_closing_log(node: Arc<Node>) {
    let mut due = next_tick(clock::now());
    loop {
        // In steps, so that a clock which is set does not put it off.
        let missing = Duration::from_millis(due.0.saturating_sub(clock::now().0));
        tokio::time::sleep(missing.min(Duration::from_mins(1))).await;
        let worker = Arc::clone(&node);
        // One that panics is counted where all panics are.
        let _ = tokio::task::spawn_blocking(move || worker.enter_late_start()).await;
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
