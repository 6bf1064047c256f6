//! What must hold in every history: checked at a node whenever it has taken documents, and between nodes at the end.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    accept::Accept,
    greeting::mark,
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::MemberKeys,
    officers::Officers,
    roster::{MemberState, Roster},
    signed::{Document, Label, Verified},
    suspend::{Suspend, Target, Way},
    time::UnixMs,
    trust::{Tool, digest, travels},
};

use super::{make, node::Node, script::Script};

/// Who breaks a law, with what was known before.
pub(super) struct Laws {
    genuine: BTreeSet<Hash>,
    bad: Option<NodeId>,
    two_keys: Vec<Hash>,
    /// What the script leads to.
    last: Last,
    floors: BTreeMap<usize, (u32, u64)>,
    // Keys that a node has learnt to be dropped.
    buried: BTreeMap<usize, BTreeSet<PublicKey>>,
    pub(super) violations: Vec<String>,
}

/// The newest of everything that is published.
struct Last {
    roster: Hash,
    keys: BTreeMap<NodeId, Hash>,
    officers: BTreeMap<NodeId, Hash>,
    suspensions: Vec<(NodeId, Hash)>,
}

impl Laws {
    pub(super) fn new(script: &Script) -> Self {
        let bad = script.bad.as_ref().map(|bad| make::id(bad.member));
        let published = script.publications.iter().flat_map(|publication| publication.documents.iter());
        let mut last = Last {
            roster: script.installed,
            keys: BTreeMap::new(),
            officers: BTreeMap::new(),
            suspensions: Vec::new(),
        };
        for document in script.start.iter().chain(published) {
            if document.label() == Label::Roster {
                last.roster = document.hash();
            } else if let Ok(keys) = document.unverified::<MemberKeys>() {
                last.keys.insert(keys.node_id, document.hash());
            } else if let Ok(list) = document.unverified::<Officers>() {
                last.officers.insert(list.node_id, document.hash());
            } else if let Ok(suspend) = document.unverified::<Suspend>() {
                last.suspensions.push((suspend.node_id, document.hash()));
            }
        }
        Self {
            genuine: script.genuine.clone(),
            two_keys: script.bad.iter().flat_map(|bad| bad.two_keys.iter().map(Document::hash)).collect(),
            bad,
            last,
            floors: BTreeMap::new(),
            buried: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn broken(&mut self, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }

    /// A node that has come back with an old copy knows no more than that.
    pub(super) fn forget(&mut self, node: usize) {
        self.floors.remove(&node);
        self.buried.remove(&node);
    }

    /// What holds at a node whenever it has changed.
    pub(super) fn check(&mut self, node: &Node, now: u64, is_bad: bool) {
        if is_bad {
            return;
        }
        let clock = node.clock(now);
        self.versions_never_go_back(node);
        self.only_what_was_signed_as_it_must_is_in_force(node);
        self.neither_of_two_counts(node);
        self.no_key_counts_that_is_known_to_be_out(node, clock);
    }

    fn versions_never_go_back(&mut self, node: &Node) {
        let roster = node.trust().roster();
        let version = (roster.epoch, roster.roster_version);
        let floor = self.floors.insert(node.index, version);
        if floor.is_some_and(|floor| version < floor) {
            self.broken(format!("node {}: roster {version:?} after {floor:?}", node.index));
        }
    }

    // Whoever has said two things of one version has said nothing.
    fn neither_of_two_counts(&mut self, node: &Node) {
        let Some(bad) = self.bad.clone() else { return };
        let holds = |hash: &Hash| node.held().iter().any(|document| document.hash() == *hash);
        if self.two_keys.iter().all(holds) && node.trust().keys(&bad).is_some() {
            self.broken(format!("node {}: {bad} has two keys documents of one version, and one counts", node.index));
        }
    }

    fn only_what_was_signed_as_it_must_is_in_force(&mut self, node: &Node) {
        let trust = node.trust();
        let members = trust.roster().members.as_slice();
        let of_members = members.iter().flat_map(|member| {
            let keys = trust.keys(&member.node_id).map(Verified::hash);
            keys.into_iter().chain(trust.officers(&member.node_id).map(Verified::hash))
        });
        let in_force: Vec<Hash> = of_members
            .chain([trust.root().hash(), trust.roster().hash(), trust.roster().catalogue_hash])
            .chain(trust.suspensions().iter().map(Verified::hash))
            .collect();
        for hash in in_force {
            if !self.genuine.contains(&hash) {
                let what = node.held().iter().find(|document| document.hash() == hash).map(Document::label);
                self.broken(format!("node {}: {what:?} {hash} is in force, and too few have signed it", node.index));
            }
        }
        let accepted: BTreeSet<Hash> = node
            .held()
            .iter()
            .filter_map(|document| document.unverified::<Accept>().ok())
            .flat_map(|accept| accept.compared.as_slice().to_vec())
            .map(|compared| compared.keys)
            .collect();
        for member in members {
            let Some(keys) = trust.keys(&member.node_id) else { continue };
            if Self::needs_acceptance(node, keys, &member.node_id) && !accepted.contains(&keys.hash()) {
                self.broken(format!("node {}: keys of {} count that nobody here compared", node.index, member.node_id));
            }
        }
    }

    // Keys without continuity, of others than the node itself; those that it installed by hand were compared then.
    fn needs_acceptance(node: &Node, keys: &Verified<MemberKeys>, of: &NodeId) -> bool {
        let generations = |of: fn(usize, usize) -> usize, member| [0, 1].map(|n| make::public(of(member, n)));
        let Some(member) = make::NAMES.iter().position(|name| *name == of.as_str()) else { return false };
        let [tls, _] = generations(make::tls, member);
        let [_, sign] = generations(make::sign, member);
        let installed = node.held().iter().find(|document| document.hash() == node.installed);
        let was_installed = installed.and_then(|document| document.unverified::<Roster>().ok()).is_some_and(|roster| {
            roster.members.iter().any(|entry| entry.node_id == *of && entry.anchor_hash == keys.hash())
        });
        keys.tls_keys.as_slice() == [tls] && keys.sign_keys.as_slice() == [sign] && *of != node.id && !was_installed
    }

    fn no_key_counts_that_is_known_to_be_out(&mut self, node: &Node, clock: UnixMs) {
        let trust = node.trust();
        let held = node.held();
        let honest = |id: &NodeId| self.bad.as_ref() != Some(id);
        let genuine = || held.iter().filter(|document| self.genuine.contains(&document.hash()));
        // The newest roster that is held, by what it says of itself.
        let newest = genuine()
            .filter_map(|document| document.unverified::<Roster>().ok())
            .max_by_key(|roster| (roster.epoch, roster.roster_version));
        let Some(roster) = newest else { return };
        let mut wrong: Vec<String> = Vec::new();
        for entry in roster.members.iter().filter(|entry| entry.state != MemberState::Active) {
            let is_removed = entry.state == MemberState::Removed;
            let signs = !trust.sign_keys(&entry.node_id, clock).is_empty();
            let reachable = !trust.reachable_by(&entry.node_id, clock).is_empty();
            if signs || trust.active(&entry.node_id, clock).is_some() || (is_removed && reachable) {
                wrong.push(format!("{} is {} and still counts", entry.node_id, entry.state));
            }
        }
        // Keys that their owners stopped, by the latest word about each.
        let mut stopped: BTreeMap<PublicKey, (UnixMs, bool)> = BTreeMap::new();
        for suspend in genuine().filter_map(|document| document.unverified::<Suspend>().ok()) {
            let stops = suspend.way == Way::Stops && clock < suspend.until;
            if let Some(key) = suspend.key().filter(|_| suspend.target == Target::Key && honest(&suspend.node_id)) {
                let word = stopped.entry(key).or_insert((suspend.issued_at, stops));
                if word.0 <= suspend.issued_at {
                    *word = (suspend.issued_at, stops);
                }
            }
        }
        let mut out: BTreeSet<PublicKey> =
            stopped.into_iter().filter(|(_, (_, stops))| *stops).map(|(key, _)| key).collect();
        // Keys that a later document of their owner does not list, once that document counts here.
        let buried = self.buried.entry(node.index).or_default();
        for member in roster.members.iter().filter(|entry| self.bad.as_ref() != Some(&entry.node_id)) {
            let Some(keys) = trust.keys(&member.node_id) else { continue };
            let older = genuine().filter_map(|document| document.unverified::<MemberKeys>().ok());
            let older = older.filter(|older| older.node_id == member.node_id && older.keys_version < keys.keys_version);
            let listed: BTreeSet<PublicKey> = keys.all_keys().into_iter().collect();
            buried.extend(older.flat_map(|older| older.all_keys()).filter(|key| !listed.contains(key)));
        }
        out.extend(buried.iter().copied());
        for member in roster.members.iter() {
            let signs = trust.sign_keys(&member.node_id, clock);
            let reaches = trust.reachable_by(&member.node_id, clock);
            let counts = |key: &&PublicKey| {
                signs.contains(key)
                    || reaches.contains(key)
                    || trust.member_by_tls_key(key, clock).is_some()
                    || trust.greets(key, clock).is_some()
            };
            wrong.extend(out.iter().find(counts).map(|key| format!("key {key} is out and still counts")));
        }
        for what in wrong {
            self.broken(format!("node {}: {what}", node.index));
        }
    }

    /// What holds at a node at the end of a calm time.
    pub(super) fn check_end(&mut self, node: &Node, now: u64, honest: &[usize]) {
        let (trust, clock, at) = (node.trust(), node.clock(now), node.index);
        if !node.is_fresh(now) {
            self.broken(format!("node {at} is not fresh"));
        }
        if trust.roster().hash() != self.last.roster {
            self.broken(format!("node {at} has not the last roster, but {}", trust.roster().roster_version));
        }
        for other in honest {
            let id = make::id(*other);
            let state = trust.member(&id).map(|member| member.state);
            if trust.active(&id, clock).is_some() != (state == Some(MemberState::Active)) {
                self.broken(format!("node {at}: {id} is listed as {state:?}, and is not treated so"));
            }
            if trust.keys(&id).map(Verified::hash).as_ref() != self.last.keys.get(&id) {
                self.broken(format!("node {at} has not the last keys of {id}"));
            }
            if trust.officers(&id).map(Verified::hash).as_ref() != self.last.officers.get(&id) {
                self.broken(format!("node {at} has not the last officers of {id}"));
            }
        }
        let held: BTreeSet<Hash> = node.held().iter().map(Document::hash).collect();
        // What a member that is out has said of its own is of no use.
        let is_in = |id: &NodeId| trust.member(id).is_some_and(|member| member.state != MemberState::Removed);
        let words = self.last.suspensions.iter();
        let missing: Vec<Hash> =
            words.filter(|(of, hash)| is_in(of) && !held.contains(hash)).map(|(_, hash)| *hash).collect();
        if !missing.is_empty() {
            self.broken(format!("node {at} has not the suspensions {missing:?}"));
        }
    }

    /// Honest nodes hold the same and trust the same.
    pub(super) fn check_same(&mut self, nodes: &[Node], honest: &[usize]) {
        // Whoever was installed later does not hold the rosters before.
        let version = |document: &Document| document.unverified::<Roster>().map(|roster| roster.roster_version).ok();
        let installed = honest.iter().filter_map(|node| {
            let node = &nodes[*node];
            node.held().iter().find(|document| document.hash() == node.installed).and_then(version)
        });
        let since = installed.max();
        // Nor the keys before those that its first roster anchored.
        let is_anchored = |document: &Document, node: &Node| {
            document.unverified::<MemberKeys>().is_ok_and(|keys| {
                let entry = node.trust().member(&keys.node_id);
                entry.is_some_and(|entry| keys.keys_version >= entry.anchor_version)
            })
        };
        let is_compared = |document: &&Document, node: &Node| match document.label() {
            Label::MemberKeys => is_anchored(document, node),
            Label::Roster => version(document) >= since,
            _ => travels(document),
        };
        let view = |node: &usize| {
            let node = &nodes[*node];
            let held: Vec<Document> =
                node.held().iter().filter(|document| is_compared(document, node)).cloned().collect();
            let members = node.trust().roster().members.as_slice();
            let trusted: Vec<_> = members
                .iter()
                .map(|member| {
                    let keys = node.trust().keys(&member.node_id).map(Verified::hash);
                    (keys, node.trust().officers(&member.node_id).map(Verified::hash))
                })
                .collect();
            (digest(&held, Tool::Others), trusted)
        };
        let Some((first, others)) = honest.split_first() else { return };
        let expected = view(first);
        for other in others {
            if view(other) != expected {
                let labels = |node: usize| -> BTreeSet<String> {
                    let node = &nodes[node];
                    let held = node.held().iter().filter(|document| is_compared(document, node));
                    held.filter_map(mark).map(|(mark, _)| format!("{mark:?}")).collect()
                };
                let (one, two) = (labels(*first), labels(*other));
                let (only_one, only_two): (Vec<_>, Vec<_>) =
                    (one.difference(&two).collect(), two.difference(&one).collect());
                let trusted = view(first).1 == view(other).1;
                self.broken(format!(
                    "nodes {first} and {other} do not hold the same: only one {only_one:?}, only the other {only_two:?}; \
                     they trust the same: {trusted}"
                ));
            }
        }
    }
}
