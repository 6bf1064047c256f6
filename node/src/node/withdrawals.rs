//! Withdrawing an edition: it is refused from then on, and those who received it are told, signed.

use accord_edge::clock;
use accord_protocol::{
    edition::Withdrawal,
    id::{Hash, NodeId},
    log::EventKind,
    signed::{Document, Preamble},
    text::is_note,
    time::UnixMs,
};
use serde_json::{Value, json};

use super::{Actor, Happening, NOTE_RULE, Node, Reply, done, failed, notice, store_failed};
use crate::{
    domain::edition::{Filled, Frozen},
    io::store::{Batch, StoreError, WithdrawnEntry},
};

/// Withdrawals of one partner that are kept, at most: more than anybody withdraws, and few enough for one call of all partners'.
const TOLD_MAX: usize = 256;

impl Node {
    /// Withdraws an edition. Blocks on the store.
    pub fn withdraw(&self, number: u64, reason: &str, by: &Actor) -> Reply {
        if !is_note(reason) {
            return failed(2, "REASON", NOTE_RULE, "for example --reason \"grams were read as kilograms\"");
        }
        let _alone = match self.alone() {
            Ok(alone) => alone,
            Err(busy) => return *busy,
        };
        self.withdraw_inner(number, reason.trim(), by).unwrap_or_else(|error| store_failed(&error))
    }

    fn withdraw_inner(&self, number: u64, reason: &str, by: &Actor) -> Result<Reply, StoreError> {
        let Some(edition) = self.loaded_edition(number)? else {
            return Ok(failed(2, "NO-EDITION", format!("there is no edition {number}"), "see accord edition list"));
        };
        if self.store.withdrawn(number)?.is_some() {
            let message = format!("edition {number} was withdrawn before");
            return Ok(failed(2, "WITHDRAWN", message, "see accord edition list"));
        }
        let mut batch = Batch::default();
        let (at, to_tell) = self.put_withdrawal(&mut batch, &edition.frozen, reason, by)?;
        self.store.commit(batch)?;
        tracing::info!(edition = number, members = to_tell.len(), "withdrawn");
        let mut reply = done(json!({
            "edition": number, "state": "withdrawn", "at": at.to_string(), "reason": reason,
            "told": to_tell.iter().map(NodeId::as_str).collect::<Vec<_>>(),
        }));
        if Some(number) == self.current_number() {
            reply.warnings.push(notice(
                "NO-CURRENT-EDITION",
                "partners get no answer until a new edition is published; one with the same content is not",
            ));
        }
        Ok(reply)
    }

    /// Signs the withdrawal of an edition and puts it into a batch; when it was, and who is to be told.
    pub(super) fn put_withdrawal(
        &self,
        batch: &mut Batch,
        edition: &Frozen,
        reason: &str,
        by: &Actor,
    ) -> Result<(UnixMs, Vec<NodeId>), StoreError> {
        let number = edition.header.number;
        let statement = Withdrawal {
            preamble: Preamble,
            member: self.config.member.clone(),
            number,
            commit: edition.header.commit,
            at: clock::now(),
        };
        let mut document = Document::new(&statement).map_err(|error| StoreError::Read(error.to_string()))?;
        document.add_signature(&self.voice().sign, self.standing().trust().federation());
        let to_tell: Vec<NodeId> = self.store.received(number)?;
        let told: Vec<&str> = to_tell.iter().map(NodeId::as_str).collect();
        let detail = json!({ "edition": number, "reason": reason, "to_tell": told });
        let withdrawn = Happening::new(EventKind::EditionWithdrawn, by, detail);
        self.enter(batch, &withdrawn.about_document(self.standing().trust().federation(), &document))?;
        let entry = WithdrawnEntry { document, reason: reason.to_owned(), at: statement.at };
        batch.put_withdrawn(number, &entry, &to_tell);
        Ok((statement.at, to_tell))
    }

    /// Signed withdrawals with the members that are still to be told. Blocks on the store.
    pub fn untold(&self) -> Result<Vec<(u64, NodeId, Document)>, StoreError> {
        let mut all = Vec::new();
        for (number, member) in self.store.untold()? {
            if let Some(mut entry) = self.store.withdrawn(number)? {
                // Whoever is told now knows the keys in use.
                entry.document.add_signature(&self.voice().sign, self.standing().trust().federation());
                all.push((number, member, entry.document));
            }
        }
        Ok(all)
    }

    /// Remembers that a member was told. Blocks on the store.
    pub fn was_told(&self, number: u64, member: &NodeId) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.delete_untold(number, member);
        self.store.commit(batch).map(|_| ())
    }

    /// Takes a partner's statement that it has withdrawn an edition; false if it is not believed. Blocks on the store.
    pub fn take_notice(&self, from: &NodeId, document: &Document) -> Result<bool, StoreError> {
        let standing = self.standing();
        let trust = standing.trust();
        let Some((_, keys)) = trust.active(from, clock::now()) else { return Ok(false) };
        let believed = document.verify::<Withdrawal>(trust.federation(), keys.sign_keys.as_slice(), 1, &[]);
        let Ok(withdrawal) = believed else { return Ok(false) };
        if withdrawal.member != *from {
            return Ok(false);
        }
        // The first word about an edition stands: nobody takes it back or replaces it.
        let known = self.store.told_by(from)?;
        if known.contains(&withdrawal.number) {
            return Ok(true);
        }
        if known.len() >= TOLD_MAX {
            tracing::warn!(partner = %from, "a partner has withdrawn more editions than are kept");
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.put_told(from, withdrawal.number, document);
        let told = Happening::new(
            EventKind::PartnerWithdrew,
            &Actor::Member(from.clone()),
            json!({ "edition": withdrawal.number, "commit": withdrawal.commit.to_string() }),
        );
        self.enter(&mut batch, &told.about_document(trust.federation(), document))?;
        self.store.commit(batch)?;
        tracing::warn!(partner = %from, edition = withdrawal.number, "a partner has withdrawn an edition");
        Ok(true)
    }

    /// The withdrawn edition that has this content, if there is one: a commitment covers cells alone, not which tables and years they
    /// are of. Blocks on the store.
    pub(super) fn withdrawn_as(&self, commit: &Hash, filled: &Filled) -> Result<Option<u64>, StoreError> {
        for entry in self.store.all_withdrawn() {
            let Ok(withdrawal) = entry?.document.unverified::<Withdrawal>() else { continue };
            if withdrawal.commit == *commit
                && let Some(edition) = self.loaded_edition(withdrawal.number)?
                && edition.frozen.header.catalogue_hash == self.standing().trust().catalogue().hash
                && edition.frozen.holds_blocks_of(filled)
            {
                return Ok(Some(withdrawal.number));
            }
        }
        Ok(None)
    }

    /// What was withdrawn here and at partners, as hex of signed documents: the tool verifies them itself. Blocks on the store.
    pub fn notices(&self) -> Reply {
        match self.notices_json() {
            Ok(notices) => done(json!({ "withdrawals": notices })),
            Err(error) => store_failed(&error),
        }
    }

    fn notices_json(&self) -> Result<Value, StoreError> {
        let mut documents = self.store.told()?;
        for entry in self.store.all_withdrawn() {
            documents.push(entry?.document);
        }
        Ok(documents
            .iter()
            .filter_map(|document| accord_protocol::codec::encode(document).ok())
            .map(|bytes| json!(accord_protocol::id::to_hex(&bytes)))
            .collect())
    }
}
