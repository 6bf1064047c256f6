//! `accord status`, and the one call that the simple node commands share.

use accord_protocol::{
    message::{MessageKind, PersonReply},
    time::UnixMs,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::Global;
use crate::{
    client::{Client, FileSource, block_on},
    output::Outcome,
    profile::Profile,
};

/// Asks the own node one thing.
pub(crate) fn ask_node(
    global: &Global,
    kind: MessageKind,
    call: &impl Serialize,
) -> anyhow::Result<PersonReply<Value>> {
    ask_node_with(&Profile::open(global)?, global, kind, call)
}

/// The same with a profile that is open: its key is opened once for several calls.
pub(crate) fn ask_node_with(
    profile: &Profile,
    global: &Global,
    kind: MessageKind,
    call: &impl Serialize,
) -> anyhow::Result<PersonReply<Value>> {
    Ok(ask_node_at(profile, global, kind, call)?.0)
}

/// The same with the node's time, for what is signed afterwards.
pub(crate) fn ask_node_at(
    profile: &Profile,
    global: &Global,
    kind: MessageKind,
    call: &impl Serialize,
) -> anyhow::Result<(PersonReply<Value>, UnixMs)> {
    block_on(async {
        let client = Client::connect(profile, global).await?;
        let mut reply: PersonReply<Value> = client.call(kind, call).await?;
        reply.warnings.extend(client.warnings.clone());
        let now = client.node_time();
        client.close().await;
        Ok((reply, now))
    })
}

/// A call in JSON with a body.
pub(crate) fn send_to_node(
    global: &Global,
    kind: MessageKind,
    call: &impl Serialize,
    body: &[u8],
) -> anyhow::Result<PersonReply<Value>> {
    let profile = Profile::open(global)?;
    block_on(async {
        let client = Client::connect(&profile, global).await?;
        let body = FileSource::new(body, indicatif::ProgressBar::hidden());
        let mut reply: PersonReply<Value> = client.call_with(kind, call, body).await?;
        reply.warnings.extend(client.warnings.clone());
        client.close().await;
        Ok(reply)
    })
}

/// Lets the profile learn what its node knows of who is trusted, before anything is decided by it. Where the node does not answer
/// the profile's own documents have to do; whoever needs the node finds that out.
pub(crate) fn catch_up(profile: &Profile, global: &Global) {
    let connected = block_on(async {
        Client::connect(profile, global).await?.close().await;
        Ok(())
    });
    drop(connected);
}

// Who has cosigned the log as it was last closed.
fn witnessed(log: &Value) -> String {
    let names = |list: Option<&Value>| -> Vec<String> {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|one| one.get("member")?.as_str().map(str::to_owned)).collect()
    };
    let by = names(log.get("witnesses"));
    match log.get("state").and_then(Value::as_str) {
        Some("witnessed") => format!("witnessed by {}", by.join(", ")),
        Some("waiting") => {
            let needed = log.get("needed").and_then(Value::as_u64).unwrap_or(0);
            format!("{} of {needed} cosignatures", by.len())
        }
        _ => "unwitnessed: no other member could cosign it".to_owned(),
    }
}

/// Shows how the own node is.
pub(crate) fn show(global: &Global) -> anyhow::Result<Outcome> {
    let reply = ask_node(global, MessageKind::Status, &json!({}))?;
    Ok(Outcome::from_reply(reply, |status| {
        let text = |path: &str| {
            status
                .pointer(path)
                .map_or(String::new(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let edition = if status.get("edition").is_none_or(Value::is_null) {
            "none published".to_owned()
        } else {
            format!(
                "{} ({}), published {}",
                text("/edition/number"),
                text("/edition/protection"),
                text("/edition/published_at")
            )
        };
        format!(
            "{} is running (version {}), node time {}\n  members on {}, people on {}\n  roster {} valid until {}\n  {} record lines in {} imports, store sequence {}\n  edition {edition}\n  policy {}, {} row(s)\n  requests waiting for a person: {} here, {} elsewhere\n  audit log {} entries{}, last closed at {}, {}\n",
            text("/member"),
            text("/version"),
            text("/now"),
            text("/listen/members"),
            text("/listen/people"),
            text("/roster/version"),
            text("/roster/expires_at"),
            text("/store/lines"),
            text("/store/imports"),
            text("/store/sequence"),
            text("/policy/version"),
            text("/policy/rows"),
            text("/inbox/waiting"),
            text("/requests/waiting"),
            text("/log/size"),
            match text("/log/destroyed").as_str() {
                "" | "0" | "null" => String::new(),
                count => format!(" (the first {count} are destroyed)"),
            },
            match text("/log/closed").as_str() {
                "null" => "none yet".to_owned(),
                size => size.to_owned(),
            },
            witnessed(status.get("log").unwrap_or(&Value::Null)),
        )
    }))
}
