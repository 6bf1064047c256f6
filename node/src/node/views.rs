//! What each partner may see, kept while nothing that it follows from has changed.

use std::sync::Arc;

use accord_edge::clock;
use accord_protocol::{
    catalogue::Table,
    codec::encode,
    id::{Hash, NodeId},
    signed::{Document, NotVerified},
    suspend::Target,
    time::DAY_MS,
    view::View,
};

use super::Node;
use crate::{
    domain::view::{NotShown, Showing},
    io::store::StoreError,
};

/// A view, with what it follows from.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    basis: Basis,
    view: View,
    hash: Hash,
}

// The day, because rows end on days and ages are counted in months.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    policy: Hash,
    roster: Hash,
    catalogue: Hash,
    edition: u64,
    stopped: Vec<u16>,
    day: u64,
}

impl Kept {
    /// By which requests name it.
    pub(super) const fn hash(&self) -> Hash {
        self.hash
    }
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoView {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be computed.
    #[error(transparent)]
    NotShown(#[from] NotShown),
    /// It does not fit a document.
    #[error(transparent)]
    TooLarge(#[from] NotVerified),
}

impl Node {
    /// What a member may see, signed. Blocks on the store.
    pub(crate) fn view_document(&self, member: &NodeId) -> Option<Document> {
        let now = self.since_start.ms();
        if !self.views_shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(member.clone(), now) {
            self.door.add("views_over_rate");
            return None;
        }
        let signed = self.current_view(member).and_then(|kept| Ok(Document::new(&kept.view)?));
        match signed {
            Ok(mut document) => {
                document.add_signature(&self.voice().sign, self.standing().trust().federation());
                tracing::info!(peer = %member, "looked at what it may see");
                Some(document)
            }
            Err(error) => {
                tracing::error!(peer = %member, %error, "ALARM: a view cannot be made");
                None
            }
        }
    }

    /// What a member may see now. Blocks on the store.
    pub(super) fn current_view(&self, member: &NodeId) -> Result<Arc<Kept>, NoView> {
        let standing = self.standing();
        let now = clock::now();
        let trust = standing.trust();
        let number = match self.current_number() {
            // From one that was withdrawn nothing is answered, until there is a next one.
            Some(number) if self.store.withdrawn(number)?.is_some() => None,
            number => number,
        };
        let edition = number.map(|number| self.loaded_edition(number)).transpose()?.flatten();
        let catalogue = edition.as_ref().map_or(trust.catalogue(), |edition| &edition.frozen.catalogue);
        let is_stopped =
            |table: &&Table| trust.local_stop(&self.config.member, Target::Table, &table.name, now).is_some();
        let stopped: Vec<u16> = catalogue.tables().iter().filter(is_stopped).map(|table| table.id).collect();
        let basis = Basis {
            policy: standing.access.hash(),
            roster: trust.roster().hash(),
            catalogue: trust.catalogue().hash,
            edition: edition.as_ref().map_or(0, |edition| edition.frozen.header.number),
            stopped,
            day: now.0 / DAY_MS,
        };
        let lock = || self.views.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(kept) = lock().get(member).filter(|kept| kept.basis == basis) {
            return Ok(Arc::clone(kept));
        }
        let waived = edition.as_ref().map_or_else(|| Ok(Vec::new()), |edition| self.public_sources(&edition.frozen))?;
        let showing = Showing {
            me: &self.config.member,
            access: &standing.access,
            catalogue,
            stopped: &basis.stopped,
            otherwise: (trust.catalogue().hash, &self.config.rules),
            edition: edition.as_ref().map(|edition| &edition.frozen.header),
            rules: edition.as_ref().map_or(&self.config.rules, |edition| edition.rules()),
            marking: &self.config.marking,
            rate: self.config.quota.officer,
            contact: &self.config.words.contact,
            waived: &waived,
        };
        let note = |table: &str| self.config.words.notes.get(table).cloned().unwrap_or_default();
        let view = showing.to(member, note, now)?;
        let hash = Hash::of(&encode(&view).map_err(NotVerified::from)?);
        let kept = Arc::new(Kept { basis, view, hash });
        // A roster lists fewer members than would need a bound.
        lock().insert(member.clone(), Arc::clone(&kept));
        Ok(kept)
    }
}
