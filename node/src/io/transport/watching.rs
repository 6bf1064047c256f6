//! Telling people what happens to requests, as it happens: over an open stream, or by a command that the operator has set.

use std::{process::Stdio, sync::Arc, time::Duration};

use accord_edge::{
    clock,
    stream::{self, StreamError},
};
use accord_protocol::{key::PublicKey, message::WatchEvent};
use quinn::SendStream;
use tokio::{process::Command, sync::broadcast::error::RecvError};

use crate::node::Node;

/// A sign of life where nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Longest run of the command.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(30);

/// Tells one person until the stream, or the right to be told, ends.
pub(super) async fn watch(node: &Arc<Node>, key: PublicKey, send: &mut SendStream) -> Result<(), StreamError> {
    let mut events = node.events.subscribe();
    let alive = || WatchEvent {
        what: "alive".into(),
        request_id: String::new(),
        member: String::new(),
        state: String::new(),
        at: clock::now().to_string(),
    };
    tell(send, &alive()).await?;
    loop {
        let told = match tokio::time::timeout(HEARTBEAT, events.recv()).await {
            Err(_) => alive(),
            Ok(Ok(event)) => {
                // Looked up each time: whoever lost the right is told nothing more.
                let Some(role) = node.standing().person(&key, clock::now()) else { return Err(StreamError::Closed) };
                if !event.concerns(role, &key) {
                    continue;
                }
                event.told()
            }
            Ok(Err(RecvError::Lagged(_))) => continue,
            Ok(Err(RecvError::Closed)) => return Err(StreamError::Closed),
        };
        tell(send, &told).await?;
    }
}

async fn tell(send: &mut SendStream, event: &WatchEvent) -> Result<(), StreamError> {
    let text = serde_json::to_string(event).map_err(|_| StreamError::DoesNotFit)?;
    stream::progress(send, &text).await
}

/// Runs the operator's command for each event, one after the other, for as long as the node runs. The command gets nothing but what
/// kind of event it is, the state and the request's id.
pub(super) async fn keep_notifying(node: Arc<Node>) {
    let Some((program, arguments)) = node.config.notify.split_first() else { return };
    let mut events = node.events.subscribe();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "more happened than the notify command could be run for");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let mut command = Command::new(program);
        command.args(arguments).args([event.what(), event.state, &event.request_id.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(NOTIFIED_WITHIN, command.status()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => tracing::warn!(program, %status, "the notify command failed"),
            Ok(Err(error)) => tracing::warn!(program, %error, "the notify command cannot be run"),
            Err(_) => tracing::warn!(program, "the notify command took more than 30 s and was ended"),
        }
    }
}
