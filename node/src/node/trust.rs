//! Trust documents that arrive while the node runs: what they change, kept before it counts.

use accord_edge::{clock, files};
use accord_protocol::{
    key::PublicKey,
    message::{Fetch, Handed},
    officers::Card,
    policy::PolicyDocument,
    roster::{Member, MemberState},
    signed::{Document, Label, Verified},
    suspend::{Suspend, Way},
    trust::{Remark, Tool, is_for_tools},
};
use serde_json::{Value, json};

use super::{Actor, Node, Reply, done, failed, notice, store_failed};
use crate::{
    domain::{
        access::{self, Access},
        greeting,
    },
    io::{
        identity::{self, IdentityError},
        store::Batch,
    },
};

// Whether a document only stops something.
fn stops(document: &Document) -> bool {
    document.unverified::<Suspend>().is_ok_and(|suspend| suspend.way == Way::Stops)
}

/// What became of documents that somebody handed in.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Those that are believed, of use, and new here.
    pub new: Vec<Document>,
    /// How many were known.
    pub known: usize,
    /// Those that are not taken.
    pub refused: Vec<Document>,
}

impl Node {
    /// Takes documents from whoever has them: a valid one counts whoever hands it in. They are durable before they count; versions
    /// never go back. Blocks on the disk.
    pub(crate) fn take_documents(
        &self,
        documents: &[Document],
        cards: &[Card],
        by: &Actor,
    ) -> Result<Taken, IdentityError> {
        let _one_at_a_time = self.taking_trust.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.standing();
        let next = before.with(documents, cards)?;
        let mut taken = Taken::default();
        let goes_back = before.held.goes_back(documents).is_some();
        for document in documents {
            if goes_back && document.label() == Label::Roster {
                taken.refused.push(document.clone());
            } else if next.held.has_more_signatures(&before.held, document) {
                taken.new.push(document.clone());
            } else if before.held.holds(document) {
                taken.known += 1;
            } else if next.held.holds(document) {
                taken.new.push(document.clone());
            } else {
                taken.refused.push(document.clone());
            }
        }
        let new_cards: Vec<&Card> = next.cards.iter().filter(|card| !before.cards.contains(card)).collect();
        if taken.new.is_empty() && new_cards.is_empty() {
            return Ok(taken);
        }
        self.enter_documents(&taken, by)?;
        for card in new_cards {
            let bytes = accord_protocol::codec::encode(card).unwrap_or_default();
            files::write_atomically(&self.config.trust_dir().join(identity::card_file(card)), &bytes)?;
        }
        next.held.keep(&before.held)?;
        for document in &taken.new {
            tracing::info!(label = %document.label(), hash = %document.hash(), "a trust document is in force");
        }
        for remark in next.trust().remarks().iter().filter(|remark| !before.trust().remarks().contains(remark)) {
            if matches!(remark, Remark::Equivocation { .. }) {
                tracing::error!(%remark, "ALARM: trust documents contradict each other");
            } else {
                tracing::warn!(%remark, "trust documents");
            }
        }
        let told = |access: &Access| (access.hash(), access.fault().map(str::to_owned), access.unknown().join(", "));
        if told(&before.access) != told(&next.access) {
            next.log_policy();
        }
        if let Some(keys) = next.trust().keys(&self.config.member) {
            self.read_ring_for(keys);
        }
        *self.standing.write().unwrap_or_else(std::sync::PoisonError::into_inner) = std::sync::Arc::new(next);
        self.choose_voice();
        if let Err(error) = self.mark_documents() {
            tracing::error!(%error, "the clock's mark cannot be kept");
        }
        if let Err(error) = self.settle_forks() {
            tracing::error!(%error, "that a fork is accepted cannot be kept");
        }
        self.hints().forget();
        self.trust_changes.send_modify(|count| *count += 1);
        Ok(taken)
    }

    // Before they count: what is in force without an entry nobody could find later.
    fn enter_documents(&self, taken: &Taken, by: &Actor) -> Result<(), IdentityError> {
        let mut batch = Batch::default();
        for document in &taken.new {
            self.enter(&mut batch, &self.document_happening(document, by))?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        batch.is_essential();
        match self.store.commit(batch) {
            Ok(_) => Ok(()),
            // Whoever stops something at once must not wait for a disk; the next start makes up for the entry.
            Err(error) if taken.new.iter().all(stops) => {
                tracing::error!(%error, "a stop is in force and cannot be entered in the audit log yet");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A document that travels, by its hash; a root document by its version.
    pub(crate) fn trust_document(&self, fetch: &Fetch) -> Option<Document> {
        greeting::meant(&self.standing().held.documents, fetch).cloned()
    }

    /// The documents that are held, for the tool of one of the node's own people, and how trust stands.
    pub(crate) fn show_trust(&self, tool: Tool, key: &PublicKey) -> Reply {
        let standing = self.standing();
        let trust = standing.trust();
        let now = clock::now();
        let hex = |document: &Document| {
            json!(
                accord_protocol::codec::encode(document)
                    .map(|bytes| accord_protocol::id::to_hex(&bytes))
                    .unwrap_or_default()
            )
        };
        let for_tools = |document: &&Document| is_for_tools(document, tool);
        let documents: Vec<Value> = standing.held.documents.iter().filter(for_tools).map(hex).collect();
        // An officer's own cards alone: the list names the others by their hashes.
        let own = standing.cards.iter().filter(|card| card.key == *key);
        let bytes = |card: &Card| accord_protocol::codec::encode(card).unwrap_or_default();
        let cards: Vec<String> = own.map(|card| accord_protocol::id::to_hex(&bytes(card))).collect();
        let (mark, behind) = self.clock_state(now);
        let mut reply = done(json!({
            "documents": documents,
            "cards": cards,
            "remarks": trust.remarks().iter().map(Remark::to_string).collect::<Vec<_>>(),
            "fresh": self.is_fresh(),
            "learning": self.is_learning(),
            "isolated": self.is_isolated(),
            "clock": { "now": now.to_string(), "mark": mark.at.to_string(), "from": mark.from.as_str(), "behind": behind },
            "members": self.members_json(),
            "suspensions": self.suspensions_json(),
        }));
        reply.warnings = self.standstill_warnings();
        reply
    }

    /// What is known of each other member that is not out.
    fn members_json(&self) -> Vec<Value> {
        let standing = self.standing();
        let trust = standing.trust();
        let members = trust
            .roster()
            .members
            .iter()
            .filter(|member| member.node_id != self.config.member && member.state != MemberState::Removed);
        let (contacts, freshness) = (self.contacts(), self.freshness());
        let about = |member: &Member| {
            let (contact, kept) = (contacts.of(&member.node_id), freshness.last(&member.node_id));
            json!({
                "member": member.node_id.as_str(),
                "last_seen": contact.heard_at.or(kept.map(|kept| kept.at)).map(|at| at.to_string()),
                "knows_roster": contact.roster_version.or(kept.map(|kept| kept.version)),
                "reachable": contact.reachable,
                "keys_known": contact.keys_known,
            })
        };
        members.map(about).collect()
    }

    /// All suspensions in force, of all members.
    pub(super) fn suspensions_json(&self) -> Vec<Value> {
        let standing = self.standing();
        let about = |stop: &Verified<Suspend>| {
            json!({
                "member": stop.node_id.as_str(), "target": stop.target.as_str(), "subject": stop.subject.as_str(),
                "reason": stop.reason.as_str(), "since": stop.issued_at.to_string(), "until": stop.until.to_string(),
                "local": !stop.travels(), "hash": stop.hash().to_string(),
            })
        };
        standing.trust().stops(clock::now()).map(about).collect()
    }

    // A policy that names what does not exist is refused whole, before anything of what was handed in counts.
    fn readable_policies(&self, documents: &[Document]) -> Result<(), Box<Reply>> {
        let policies = documents.iter().filter(|document| document.label() == Label::Policy);
        let policies = policies.filter(|document| !self.standing().held.holds(document));
        for policy in policies.filter_map(|document| document.unverified::<PolicyDocument>().ok()) {
            if policy.node_id != self.config.member {
                let message = format!("policy {} is that of {}", policy.policy_version, policy.node_id);
                let next = "a policy is handed to the node of its own member alone";
                return Err(Box::new(failed(3, "POLICY", message, next)));
            }
            // For the roster and catalogue that come along with it.
            let Ok(next) = self.standing().held.with(documents) else { continue };
            if let Err(refused) = access::read(&policy, &next.trust, true) {
                let message = format!("policy {}: {}", policy.policy_version, refused.rule);
                let mut reply = failed(3, "POLICY", message, "nothing was changed; look with accord policy check");
                if let Some(error) = reply.error.as_mut() {
                    error.place.file = Some(refused.part.to_string());
                    error.place.line = u64::try_from(refused.line).ok();
                    error.place.column = Some(refused.column.to_string());
                }
                return Err(Box::new(reply));
            }
        }
        Ok(())
    }

    /// The policy in force, for people.
    pub(super) fn policy_json(&self) -> Value {
        let standing = self.standing();
        let (access, document) = (&standing.access, standing.trust().policy());
        json!({
            "version": access.version(),
            "hash": (access.version() > 0).then(|| access.hash().to_string()),
            "rows": access.rows(),
            "signed_at": document.map(|document| document.issued_at.to_string()),
            "fault": access.fault(),
            "unknown": access.unknown(),
        })
    }

    /// Takes documents that an operator hands in.
    pub(crate) fn publish_documents(&self, handed: &Handed, by: &Actor) -> Reply {
        let documents: Vec<Document> = handed.documents.iter().map(|document| self.complete(document)).collect();
        let cards: Vec<Card> = handed.cards.as_slice().to_vec();
        if let Err(refused) = self.readable_policies(&documents) {
            return *refused;
        }
        let taken = match self.take_documents(&documents, &cards, by) {
            Ok(taken) => taken,
            // Nothing is wrong with the documents.
            Err(IdentityError::Log(error)) => return store_failed(&error),
            Err(error @ IdentityError::File(_)) => {
                let message = accord_protocol::text::with_causes(&error);
                return failed(4, "FILE", message, "hand in the same documents again once the cause is gone");
            }
            Err(error) => {
                let message = accord_protocol::text::with_causes(&error);
                return failed(3, "TRUST", message, "nothing was changed; hand in the documents that it names, too");
            }
        };
        let standing = self.standing();
        let named =
            |document: &Document| json!({ "label": document.label().to_string(), "hash": document.hash().to_string() });
        let all = |documents: &[Document]| documents.iter().map(named).collect::<Vec<Value>>();
        let mut reply = done(json!({
            "new": all(&taken.new), "known": taken.known, "refused": all(&taken.refused),
            "roster": { "epoch": standing.trust().roster().epoch, "version": standing.trust().roster().roster_version },
        }));
        if !taken.refused.is_empty() {
            reply.exit = 1;
            reply.warnings.push(notice(
                "NOT-TAKEN",
                "some documents were not taken: they are older than what is in force, follow nothing that is here, or lack signatures",
            ));
        }
        reply
    }
}
