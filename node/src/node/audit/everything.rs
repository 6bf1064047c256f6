//! `accord verify`: everything that the node holds is read, and what does not hold is named.

use std::collections::BTreeMap;

use accord_protocol::{
    id::Hash,
    log::{EventKind, Note, SignedCheckpoint, log_origin, tree::Frontier},
};
use serde_json::{Value, json};

use super::Found;
use crate::{
    io::store::{Checked, Place, StoreError},
    node::{Actor, Happening, Node, Reply, done, failed, store_failed},
};

impl Node {
    /// Reads everything: every value with its checksum, frozen bytes against their hashes, every entry of the log against the tree, its
    /// detail and the checkpoints. Blocks on the store.
    pub(crate) fn verify_everything(&self, by: &Actor) -> Reply {
        let mut checked = self.store.check();
        let (entries, destroyed) = match self.check_log(&mut checked) {
            Ok(counted) => counted,
            Err(error) => {
                checked.flaw("log", error.to_string());
                (0, 0)
            }
        };
        let holdings: serde_json::Map<String, Value> = checked
            .holdings
            .iter()
            .filter(|holding| holding.values > 0)
            .map(|one| (one.kind.as_str().to_owned(), json!({ "values": one.values, "bytes": one.bytes })))
            .collect();
        let flaws: Vec<Value> =
            checked.flaws.iter().map(|flaw| json!({ "part": flaw.part, "rule": flaw.rule })).collect();
        let result = json!({
            "member": self.config.member.as_str(), "verified": flaws.is_empty(), "sequence": self.store.sequence(),
            "holds": holdings, "log_entries": entries, "log_destroyed": destroyed, "failed": flaws,
        });
        let values: u64 = checked.holdings.iter().map(|holding| holding.values).sum();
        let entered = json!({ "verified": flaws.is_empty(), "values": values, "failed": flaws });
        if let Err(error) = self.record(&Happening::new(EventKind::Verified, by, entered)) {
            return store_failed(&error);
        }
        let Some(first) = checked.flaws.first() else { return done(result) };
        let message = format!("{}: {} ({} in all)", first.part, first.rule, checked.flaws.len());
        let next = "stop the node, keep its folder aside, and restore it from a backup";
        Reply { result: Some(result), ..failed(4, "DAMAGED", message, next) }
    }

    // How many entries there are, and how many of them by their hashes alone.
    fn check_log(&self, checked: &mut Checked) -> Result<(u64, u64), StoreError> {
        let tree = self.store.log_tree();
        let mut wanted = self.wanted_roots(checked)?;
        wanted.insert(tree.size(), (tree.root(), "the tree".to_owned()));
        let first_kept = self.first_kept();
        let before = self.store.destroyed()?.entries;
        let (mut frontier, mut destroyed) = (Frontier::default(), 0);
        let mut details = self.store.all_sealed(0).peekable();
        for (seq, place) in (0..).zip(self.store.places(tree.size())) {
            let part = format!("log entry {seq}");
            let place = match place {
                Ok(place) => place,
                Err(error) => {
                    checked.flaw(part, error.to_string());
                    return Ok((frontier.size(), destroyed));
                }
            };
            frontier.push(place.leaf_hash());
            if let Some((root, of)) = wanted.get(&frontier.size())
                && frontier.root() != *root
            {
                checked.flaw(&part, format!("the entries up to here are not those of {of}"));
            }
            let Place::There(entry) = place else {
                destroyed += 1;
                continue;
            };
            if entry.seq != seq || seq < before {
                checked.flaw(&part, format!("entry {} stands there, and {before} are destroyed", entry.seq));
            }
            // Of entries that were destroyed after their details were read.
            while details.next_if(|found| found.as_ref().is_ok_and(|(of, _)| *of < seq)).is_some() {}
            let sealed = details.next_if(|found| found.as_ref().map_or(true, |(of, _)| *of == seq)).transpose()?;
            let Some((_, sealed)) = sealed else { continue };
            let lost = self.journal.month_of(&sealed).filter(|(month, is_there)| !is_there && *month >= first_kept);
            match self.opened(&entry, &sealed) {
                Found::Changed => checked.flaw(&part, "its detail is not the one that it commits to"),
                Found::Gone if lost.is_some() => {
                    let month = lost.map_or(String::new(), |(month, _)| month.to_string());
                    checked.flaw(
                        &part,
                        format!("the key journal/{month}.key that its detail is sealed with is missing or another"),
                    );
                }
                Found::Gone | Found::There(_) => {}
            }
        }
        if frontier.size() != tree.size() {
            checked.flaw("log", format!("{} entries instead of {}", frontier.size(), tree.size()));
        }
        Ok((frontier.size(), destroyed))
    }

    // The roots that kept checkpoints say, by size.
    fn wanted_roots(&self, checked: &mut Checked) -> Result<BTreeMap<u64, (Hash, String)>, StoreError> {
        let standing = self.standing();
        let trust = standing.trust();
        let origin = log_origin(trust.federation(), &self.config.member);
        let keys = trust.all_log_keys(&self.config.member);
        let mut wanted = BTreeMap::new();
        for (size, text) in self.store.checkpoints()? {
            let note = Note::parse(&text).map_err(accord_protocol::log::NotACheckpoint::from);
            match note.and_then(|note| SignedCheckpoint::verify(note, &origin, keys)) {
                Ok(signed) => {
                    wanted.insert(size, (signed.checkpoint().root, format!("the checkpoint of {size}")));
                }
                Err(error) => checked.flaw(format!("checkpoint of {size}"), error.to_string()),
            }
        }
        Ok(wanted)
    }
}
