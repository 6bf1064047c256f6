//! `accord watch`: what happens to requests, line by line, as it happens.

use std::{cell::RefCell, io::Write, time::Duration};

use accord_protocol::message::WatchEvent;
use clap::Args;
use serde_json::json;
use tokio::sync::Notify;

use super::Global;
use crate::{
    client::{Client, block_on},
    output::Outcome,
    profile::Profile,
};

/// `accord watch`. With `--json` the events are listed at the end, so that there must be one.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl Watch {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let (events, enough) = (RefCell::new(Vec::new()), Notify::new());
        let heard = |event: WatchEvent| {
            if event.what == "alive" {
                return;
            }
            if !global.json {
                // Nobody may be reading any more, which ends nothing.
                let _ = writeln!(std::io::stdout(), "{}", line(&event));
            }
            events.borrow_mut().push(event);
            if self.events.is_some_and(|wanted| events.borrow().len() as u64 >= wanted) {
                enough.notify_one();
            }
        };
        let seconds = self.seconds.map(Duration::from_secs);
        block_on(async {
            let client = Client::connect(&profile, global).await?;
            tokio::select! {
                watched = client.watch(heard) => watched?,
                () = enough.notified() => {}
                () = async {
                    match seconds {
                        Some(seconds) => tokio::time::sleep(seconds).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
            client.close().await;
            Ok(())
        })?;
        let events = events.into_inner();
        let mut outcome = Outcome::done(json!({ "events": events }), "");
        outcome.exit = u8::from(self.events.is_some_and(|wanted| (events.len() as u64) < wanted));
        Ok(outcome)
    }
}

fn line(event: &WatchEvent) -> String {
    let id: String = event.request_id.chars().take(12).collect();
    let what = if event.what == "inbox" { "inbox: request of" } else { "your request to" };
    format!("{} {what} {} {}, {id}", event.at, event.member, event.state)
}
