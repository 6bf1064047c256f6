//! Logs: structured, to stderr; never a value, a key, a row or a suppressed count.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

/// Panics since the start. Each ends its own task and nothing else; any at all is a fault in the program.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many panics there were since the start.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Starts logging. `RUST_LOG` chooses; the default is this program's own messages from `info` up.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("accord_node=info,warn"));
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        // Where, not what: the message of a panic may hold data.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "ALARM: a task panicked; please report this with the version of the program");
    }));
    // A second start (in a test) keeps the first, which is as good.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}
