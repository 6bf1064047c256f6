//! The node's own keys while it runs: which it speaks with, and taking those that an operator has put into the ring.

use std::sync::Arc;

use accord_edge::clock;
use accord_protocol::{
    id::NodeId,
    member_keys::MemberKeys,
    signed::{Document, Label, Verified},
    trust::Trust,
};

use super::Node;
use crate::{
    domain::{
        clock_mark::others,
        own_keys::{Known, known},
    },
    io::{
        identity::{IdentityError, Standing},
        keys::{NodeKeys, Voice, all_of_node},
    },
};

/// The keys to speak with before anybody was heard. A node whose keys are all suspended starts with them, to greet and to fetch.
pub(super) fn first_voice(keys: &NodeKeys, standing: &Standing, me: &NodeId) -> Result<Voice, IdentityError> {
    let trust = standing.trust();
    let end_of_time = accord_protocol::time::UnixMs(u64::MAX);
    let now = clock::now();
    let voice = keys.voice(trust, me, Known::NotByAll, now).or_else(|| {
        // No suspension lasts until the end of time.
        let voice = keys.voice(trust, me, Known::NotByAll, end_of_time)?;
        Some(Voice { is_listed: false, ..voice })
    });
    voice.ok_or_else(|| IdentityError::NotListed(format!("{me} lists no key that this node has")))
}

impl Node {
    /// Chooses the keys to speak with, by what the others know.
    pub(super) fn choose_voice(&self) {
        self.voice.send_if_modified(|voice| {
            // Inside, so that of two choices at once the later one knows at least as much.
            let standing = self.standing();
            let (trust, me) = (standing.trust(), &self.config.member);
            let known = trust.keys(me).map_or(Known::NotByAll, |keys| self.known(trust, keys));
            let next = self.keys().voice(trust, me, known, clock::now());
            let next = next.unwrap_or_else(|| Voice { is_listed: false, ..Voice::clone(voice) });
            if voice.says_the_same(&next) {
                return false;
            }
            tracing::info!(tls = %next.tls.public(), sign = %next.sign.public(), "this node speaks with other keys from now on");
            if !next.is_listed {
                tracing::error!("none of the keys that are listed for this node is held here: no data is exchanged");
            }
            *voice = Arc::new(next);
            true
        });
    }

    fn known(&self, trust: &Trust, keys: &Verified<MemberKeys>) -> Known {
        let now = clock::now();
        let (contacts, freshness) = (self.contacts(), self.freshness());
        let active = others(trust, &self.config.member).filter(|member| trust.active(member, now).is_some());
        let about = active.map(|member| {
            let contact = contacts.of(member);
            (contact.heard_at.or_else(|| Some(freshness.last(member)?.at)), contact.keys_known)
        });
        known(about, keys.keys_version, now)
    }

    /// Reads the ring again if a keys document lists what is not held yet. Blocks on the disk.
    pub(super) fn read_ring_for(&self, listed: &MemberKeys) {
        if self.keys().lacks(listed).is_empty() {
            return;
        }
        match NodeKeys::load(&self.config.dir, &self.credential) {
            Ok(keys) => {
                for key in keys.lacks(listed) {
                    tracing::error!(%key, "the member's keys document lists a key that is not in the node's ring");
                }
                *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                let error = accord_protocol::text::with_causes(&error);
                tracing::error!(error, "the node's ring cannot be read again: the keys in use stay");
            }
        }
    }

    /// Completes its own member's keys document, if that is what this is, follows the one in force, and has the signatures of
    /// administrators that it needs: with those of the keys that the node holds, and for continuity that of the current signing key.
    /// Nobody else's document is ever signed. Blocks on the disk.
    pub(super) fn complete(&self, document: &Document) -> Document {
        let mut document = document.clone();
        if document.label() != Label::MemberKeys {
            return document;
        }
        let standing = self.standing();
        let trust = standing.trust();
        let (Ok(next), Some(before)) = (document.unverified::<MemberKeys>(), trust.keys(&self.config.member)) else {
            return document;
        };
        let signed = |keys: &MemberKeys| {
            let admins = document.valid_signers(trust.federation(), keys.admin_keys.as_slice());
            admins.len() >= usize::from(keys.admin_threshold)
        };
        let follows = next.node_id == self.config.member
            && next.federation == *trust.federation()
            && next.keys_version == before.keys_version + 1
            && next.prev_hash == before.hash();
        if follows && signed(before.get()) && signed(&next) {
            self.read_ring_for(&next);
            self.keys().sign(&mut document, all_of_node(&next), trust.federation());
            self.keys().sign(&mut document, before.sign_keys.iter().copied(), trust.federation());
        }
        document
    }
}
