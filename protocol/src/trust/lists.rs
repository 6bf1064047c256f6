//! Lists of a member's people: the highest version counts, and one administrator may shorten what two have written.

use std::collections::{BTreeMap, BTreeSet};

use super::{holdings::Kept, remark::Remark};
use crate::{
    id::{Hash, NodeId},
    member_keys::MemberKeys,
    officers::{Officers, Staff, StaffMember},
    policy::PolicyDocument,
    signed::{Document, FederationId, NotVerified, Signable, Verified},
    time::UnixMs,
};

/// A list that a member's administrators sign.
pub(super) trait List: Signable + Clone {
    fn federation(&self) -> &FederationId;
    fn member(&self) -> &NodeId;
    fn version(&self) -> u64;
    fn before(&self) -> Hash;
    fn expires_at(&self) -> UnixMs;
    /// Whether everything on it stands on the other one too.
    fn is_part_of(&self, other: &Self) -> bool;
    /// The oldest version that counts under these keys.
    fn least(keys: &MemberKeys) -> u64;
}

impl List for Officers {
    fn federation(&self) -> &FederationId {
        &self.federation
    }
    fn member(&self) -> &NodeId {
        &self.node_id
    }
    fn version(&self) -> u64 {
        self.list_version
    }
    fn before(&self) -> Hash {
        self.prev_hash
    }
    fn expires_at(&self) -> UnixMs {
        self.expires_at
    }
    fn is_part_of(&self, other: &Self) -> bool {
        let all: BTreeSet<&Hash> = other.cards.iter().collect();
        self.cards.iter().all(|card| all.contains(card))
    }
    fn least(keys: &MemberKeys) -> u64 {
        keys.officers_version_min
    }
}

impl List for Staff {
    fn federation(&self) -> &FederationId {
        &self.federation
    }
    fn member(&self) -> &NodeId {
        &self.node_id
    }
    fn version(&self) -> u64 {
        self.list_version
    }
    fn before(&self) -> Hash {
        self.prev_hash
    }
    fn expires_at(&self) -> UnixMs {
        self.expires_at
    }
    fn is_part_of(&self, other: &Self) -> bool {
        // Whoever stays keeps role and key, and no more time than before.
        let within = |person: &StaffMember, had: &StaffMember| {
            person.role == had.role
                && person.key == had.key
                && had.valid_from <= person.valid_from
                && person.valid_to <= had.valid_to
        };
        self.people.iter().all(|person| other.people.iter().any(|had| within(person, had)))
    }
    fn least(_: &MemberKeys) -> u64 {
        0
    }
}

impl List for PolicyDocument {
    fn federation(&self) -> &FederationId {
        &self.federation
    }
    fn member(&self) -> &NodeId {
        &self.node_id
    }
    fn version(&self) -> u64 {
        self.policy_version
    }
    fn before(&self) -> Hash {
        self.prev_hash
    }
    fn expires_at(&self) -> UnixMs {
        // Its rows run out one by one.
        UnixMs(u64::MAX)
    }
    fn is_part_of(&self, _: &Self) -> bool {
        // Whether rows permit less than others is not known here. Nothing is less than anything.
        self.is_closed()
    }
    fn least(_: &MemberKeys) -> u64 {
        0
    }
}

/// What a member's lists of one kind say.
#[derive(Debug)]
pub(super) struct Latest<L> {
    /// The list in force.
    pub(super) in_force: Option<Verified<L>>,
    /// Documents that are believed and still needed.
    pub(super) kept: BTreeSet<Hash>,
    /// What people need to know.
    pub(super) remarks: Vec<Remark>,
}

/// Finds the list in force. A list that two administrators signed needs no other; one that a single administrator signed must name
/// one that counts and hold nothing beyond it (`trust.md`: widening takes two, narrowing takes one).
pub(super) fn latest<L: List>(documents: &Kept<'_>, federation: &FederationId, keys: &MemberKeys) -> Latest<L> {
    let (of, admins) = (&keys.node_id, keys.admin_keys.as_slice());
    let mut remarks = Vec::new();
    // With each, whether it needs no other.
    let mut counting: BTreeMap<Hash, (Verified<L>, bool)> = BTreeMap::new();
    let mut by_version: Vec<(u64, Hash, &[&Document])> = Vec::new();
    for (hash, spellings) in documents.of_label(L::LABEL) {
        let Some(claimed) = spellings.iter().find_map(|document| document.unverified::<L>().ok()) else { continue };
        if claimed.member() == of && claimed.federation() == federation {
            by_version.push((claimed.version(), *hash, spellings));
        }
    }
    by_version.sort_by_key(|(version, hash, _)| (*version, *hash));
    for (version, hash, spellings) in by_version {
        let mut refused = None;
        for document in spellings {
            let whole = document.verify::<L>(federation, admins, usize::from(keys.admin_threshold), &[]);
            let believed = whole.map(|list| (list, true)).or_else(|error| {
                let list: Verified<L> = document.verify(federation, admins, 1, &[])?;
                let shorter = counting.get(&list.before()).is_some_and(|(before, _)| {
                    list.version() == before.version() + 1
                        && list.expires_at() <= before.expires_at()
                        && list.is_part_of(before.get())
                });
                if shorter { Ok((list, false)) } else { Err(error) }
            });
            match believed {
                Ok(_) if version < L::least(keys) => {
                    refused = Some(NotVerified::Rule("the list is older than the member's keys allow"));
                }
                Ok(list) => {
                    counting.insert(hash, list);
                    refused = None;
                    break;
                }
                Err(source) => refused = Some(source),
            }
        }
        if let Some(source) = refused {
            remarks.push(Remark::not_believed(L::LABEL, of.as_str(), hash, source));
        }
    }
    let newest = counting.values().map(|(list, _)| list.version()).max();
    // In the order of their hashes; two are evidence enough.
    let last: Vec<&Verified<L>> =
        counting.values().map(|(list, _)| list).filter(|list| Some(list.version()) == newest).take(2).collect();
    let mut kept = BTreeSet::new();
    for list in &last {
        // A shortened list stands on those before it, down to one that needs no other.
        let mut next = counting.get(&list.hash());
        while let Some((list, whole)) = next {
            next = if kept.insert(list.hash()) && !whole { counting.get(&list.before()) } else { None };
        }
    }
    let in_force = match last.as_slice() {
        [one] => Some((*one).clone()),
        [one, other, ..] => {
            remarks.push(Remark::Equivocation {
                label: L::LABEL,
                of: of.to_string(),
                version: one.version(),
                hashes: [one.hash(), other.hash()],
            });
            None
        }
        [] => None,
    };
    Latest { in_force, kept, remarks }
}
