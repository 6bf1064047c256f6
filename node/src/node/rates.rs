//! Euro reference rates: brought in by an operator from the file that the European Central Bank publishes.

use accord_protocol::{id::Hash, log::EventKind, time::Date};
use serde_json::json;

use super::{Actor, Happening, Node, Reply, done, failed, store_failed};
use crate::{domain::rates::Rates, io::store::Batch};

impl Node {
    /// What rates are there. Blocks on the store.
    pub fn show_rates(&self) -> Reply {
        match self.store.rates() {
            Ok(rates) => done(describe(&rates, 0)),
            Err(error) => store_failed(&error),
        }
    }

    /// Adds the rates of a file: all of them or none. Blocks on the store.
    pub fn import_rates(&self, text: &[u8], by: &Actor) -> Reply {
        let bad = |message: String| {
            failed(
                3,
                "R-RATE",
                format!("{message}; nothing was stored"),
                "use eurofxref-hist.csv as the ECB publishes it",
            )
        };
        let Ok(text) = std::str::from_utf8(text) else { return bad("the file is not UTF-8".into()) };
        let new = match Rates::parse(text) {
            Ok(new) => new,
            Err(error) => return bad(error.to_string()),
        };
        let _alone = match self.alone() {
            Ok(alone) => alone,
            Err(busy) => return *busy,
        };
        let mut rates = match self.store.rates() {
            Ok(rates) => rates,
            Err(error) => return store_failed(&error),
        };
        let added = match rates.merge(&new) {
            Ok(added) => added,
            Err(error) => return bad(error.to_string()),
        };
        if added > 0 {
            let mut batch = Batch::default();
            batch.put_rates(&rates);
            let detail = json!({ "sha256": Hash::of(text.as_bytes()).to_string(), "new": added });
            let entered = self.enter(&mut batch, &Happening::new(EventKind::Rates, by, detail));
            if let Err(error) = entered.and_then(|()| self.store.commit(batch)) {
                return store_failed(&error);
            }
        }
        done(describe(&rates, added))
    }
}

fn describe(rates: &Rates, added: u64) -> serde_json::Value {
    let day = |day: i64| Date::from_days(day).to_string();
    json!({
        "currencies": rates.series().map(|(currency, _)| currency).collect::<Vec<_>>(),
        "from": rates.span().map(|(first, _)| day(first)),
        "to": rates.span().map(|(_, last)| day(last)),
        "rates": rates.len(),
        "new": added,
        "source": "European Central Bank, euro foreign exchange reference rates",
    })
}
