//! `accord audit show`: entries as lines, or one by one as they come.

use std::{io::Write, time::Duration};

use accord_protocol::message::{AuditCall, AuditFilter, MessageKind, PersonReply};
use clap::Args;
use serde_json::{Value, json};

use super::time;
use crate::{
    client::{Client, block_on},
    command::{Global, edition::field, status::ask_node_with},
    output::Outcome,
    profile::Profile,
};

/// How often the node is asked for more.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// `accord audit show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only entries of these kinds, for example `answered,refused`.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only entries about this member.
    #[arg(long)]
    member: Option<String>,
    /// Only what was done by whoever has this in name or key: an officer's pseudonym, `operator`.
    #[arg(long)]
    actor: Option<String>,
    /// Only entries about the request whose id begins so.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// From this entry on, rather than the latest.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// So many, at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Everything that an entry commits to, line by line.
    #[arg(long)]
    full: bool,
    /// Go on with what happens from now on, until interrupted.
    #[arg(long)]
    follow: bool,
}

impl Show {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let filter = AuditFilter {
            kinds: self.kind.clone(),
            since_ms: time("--since", self.since.as_ref())?,
            until_ms: time("--until", self.until.as_ref())?,
            member: self.member.clone(),
            actor: self.actor.clone(),
            request: self.request.clone(),
            from: self.from,
            limit: self.limit,
        };
        let profile = Profile::open(global)?;
        if self.follow {
            return self.follow(&profile, filter, global);
        }
        let reply = ask_node_with(&profile, global, MessageKind::Audit, &AuditCall::Show(filter))?;
        Ok(Outcome::from_reply(reply, |result| {
            let lines: String = entries(result).iter().map(|entry| self.line(entry)).collect();
            if lines.is_empty() { "no such entry\n".to_owned() } else { lines }
        }))
    }

    fn follow(&self, profile: &Profile, mut filter: AuditFilter, global: &Global) -> anyhow::Result<Outcome> {
        block_on(async {
            let client = Client::connect(profile, global).await?;
            loop {
                let reply: PersonReply<Value> =
                    client.call(MessageKind::Audit, &AuditCall::Show(filter.clone())).await?;
                let Some(result) = reply.result.as_ref().filter(|_| reply.error.is_none()) else {
                    client.close().await;
                    return Ok(Outcome::from_reply(reply, |_| String::new()));
                };
                for warning in &reply.warnings {
                    // Whoever has closed it misses nothing of what is shown.
                    let _ = writeln!(std::io::stderr(), "warning: {}", warning.message);
                }
                let entries = entries(result);
                for entry in entries {
                    let line = if global.json { format!("{entry}\n") } else { self.line(entry) };
                    let written = std::io::stdout().write_all(line.as_bytes()).and_then(|()| std::io::stdout().flush());
                    if written.is_err() {
                        // Nobody is reading any more.
                        client.close().await;
                        return Ok(Outcome::done(json!({}), ""));
                    }
                }
                let last = entries.last().and_then(|entry| entry.get("seq")).and_then(Value::as_u64);
                let size = result.get("size").and_then(Value::as_u64);
                // A full reply may have left some out; else everything up to its size was looked at.
                let is_full = entries.len() >= self.limit as usize && filter.from.is_some();
                filter.from = if is_full { last.map(|last| last + 1) } else { size }.or(filter.from);
                if !is_full {
                    tokio::time::sleep(FOLLOW_EVERY).await;
                }
            }
        })
    }

    fn line(&self, entry: &Value) -> String {
        let of = |path: &str| field(entry, path);
        let seq = of("/seq");
        let Some(detail) = entry.get("detail").filter(|detail| detail.is_object()) else {
            return format!("{seq:>6}  {}  {:<17} (what it commits to is no longer kept)\n", of("/time"), of("/kind"));
        };
        let mut line = format!("{seq:>6}  {}  {:<17} {}\n", of("/time"), of("/kind"), words(&of("/kind"), detail));
        if self.full {
            line += &detail_lines(detail);
        }
        line
    }
}

fn entries(result: &Value) -> &[Value] {
    result.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What an entry commits to, one field a line.
pub(super) fn detail_lines(detail: &Value) -> String {
    let fields = detail.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    fields
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("          {name}: {}\n", text.escape_default())
        })
        .collect()
}

// Which document came into force: an entry of an earlier version of the node does not say whose.
fn document_words(detail: &Value) -> String {
    let named = ["of", "version"].map(|name| detail.get(name).filter(|value| !value.is_null()));
    let [of, version] = named.map(|value| value.map(|value| field(value, "")));
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    let version = version.map_or_else(String::new, |version| format!(" version {version}"));
    let hash: String = field(detail, "/hash").chars().take(12).collect();
    format!("{}{of}{version} {hash}", field(detail, "/label"))
}

// What a run of retention took.
fn retained(detail: &Value) -> String {
    let mut words = Vec::new();
    if detail.get("months").and_then(Value::as_array).is_some_and(|months| !months.is_empty()) {
        words.push(format!("details of {}", field(detail, "/months")));
    }
    if detail.get("entries").is_some() {
        let [from, up_to] = ["from", "up_to"].map(|name| field(detail, &format!("/entries/{name}")));
        words.push(format!("entries from {from} to before {up_to}"));
    }
    words.join(", ")
}

// The one thing that matters of it.
fn words(kind: &str, detail: &Value) -> String {
    let of = |name: &str| field(detail, &format!("/{name}"));
    let short = |name: &str| of(name).chars().take(12).collect::<String>();
    let what = match kind {
        "asked" => format!(
            "request {} to {}, for {} ({})",
            short("request_id"),
            of("audience"),
            of("purpose"),
            of("legal_basis")
        ),
        "heard" => format!("request {}: {} {}", short("request_id"), of("from"), of("said")),
        "answered" => format!(
            "request {}, for {} ({}), table {}, edition {}: {} numbers shown, {} hidden",
            short("request_id"),
            of("purpose"),
            of("legal_basis"),
            of("table_id"),
            of("edition"),
            of("numbers_shown"),
            of("numbers_hidden")
        ),
        "refused" => format!("{}: {}", of("refusal"), of("why")),
        "refusals" => format!("more than have entries of their own: {}", of("counts")),
        "held" | "withdrawn" | "expired" | "receipt" | "no-receipt" | "recalled" => {
            format!("request {}", short("request_id"))
        }
        "clock" => format!("{}: it shows {}, its mark is {} ({})", of("state"), of("shows"), of("mark"), of("from")),
        "verdict" => format!("request {}: {}", short("request_id"), of("verdict")),
        "import" | "import-refused" => {
            format!("{} {}: {}", of("import"), of("kind"), field(detail, "/file/name"))
        }
        "undone" => format!("{}: {}", of("import"), of("reason")),
        "erased" => format!("{} records, on authority of {}", of("records"), of("authority")),
        "coverage" => format!("{} {}..{} {}", of("kind"), of("from"), of("to"), of("state")),
        "edition" => format!("edition {}", of("edition")),
        "edition-withdrawn" => format!("edition {}: {}", of("edition"), of("reason")),
        "proposal" | "proposal-rejected" => format!("{}: {}", of("proposal"), of("reason")),
        "document" => document_words(detail),
        "started" => format!("after {}", of("after")),
        "settings" => {
            let count = |name: &str| detail.get(name).and_then(Value::as_array).map_or(0, Vec::len);
            format!("{} lines new, {} gone (--full)", count("new"), count("gone"))
        }
        "read" => of("what"),
        "retention" => retained(detail),
        _ => String::new(),
    };
    let actor = of("actor");
    // A key in full says less than its beginning.
    let actor = match actor.rsplit_once(':') {
        Some((who, key)) if key.len() > 12 => format!("{who}:{}", key.chars().take(8).collect::<String>()),
        _ => actor,
    };
    let text = if what.is_empty() { actor } else { format!("{actor}  {what}") };
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
