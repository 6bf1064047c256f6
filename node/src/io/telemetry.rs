//! Logs: structured, to stderr; never a value, a key, a row or a suppressed count.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` chooses; the default is this program's own messages from `info` up.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("accord_node=info,warn"));
    // A second start (in a test) keeps the first, which is as good.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}
