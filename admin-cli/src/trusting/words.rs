//! In plain words what a document says.

use accord_protocol::{
    accept::Accept,
    catalogue::CatalogueDocument,
    key::{PublicKey, fingerprint},
    member_keys::{KeyClaim, KeyRole, MemberKeys},
    officers::{Officers, Staff},
    policy::PolicyDocument,
    root::{self, Root},
    roster::Roster,
    signed::{Document, Label},
    suspend::{Suspend, Target, Way},
    topic::Topic,
};

use crate::output::Failure;

/// `2 of 3 must sign`.
pub(crate) fn threshold_words(threshold: u8, keys: usize) -> String {
    format!("{threshold} of {keys} must sign")
}

/// What is read out so that two people know that they hold the same keys of a member.
pub(crate) fn keys_fingerprint(document_hash: &accord_protocol::id::Hash, member: &str) -> String {
    fingerprint("member-keys", member, &document_hash.0)
}

/// Every key of a keys document, with its role.
pub(crate) fn listed_keys(keys: &MemberKeys) -> Vec<(KeyRole, PublicKey)> {
    let lists = [
        (KeyRole::Administrator, keys.admin_keys.as_slice()),
        (KeyRole::Tls, keys.tls_keys.as_slice()),
        (KeyRole::Sign, keys.sign_keys.as_slice()),
        (KeyRole::Log, keys.log_keys.as_slice()),
        (KeyRole::Witness, std::slice::from_ref(&keys.witness_key)),
    ];
    lists.into_iter().flat_map(|(role, list)| list.iter().map(move |key| (role, *key))).collect()
}

/// What a suspension does, in words.
pub(crate) fn suspend_words(suspend: &Suspend) -> String {
    let of = suspend.node_id.as_str();
    let subject = suspend.subject.as_str();
    let what = match suspend.target {
        Target::Officer => format!("the officer of {of} with card {subject}"),
        Target::Partner => format!("{subject} as a partner of {of}"),
        Target::Table => format!("table {subject} of {of}"),
        Target::Key => format!("key {subject} of {of}"),
        Target::Node => format!("the node of {of}: it answers and asks nobody"),
        Target::Topic => format!("topic {subject} of {of}"),
        Target::Fork => {
            format!("an audit log that shows another past than it did, in the node of {of}: fork {subject}")
        }
        Target::Clock => format!("the node of {of}, which stopped because its clock ran behind"),
    };
    match suspend.way {
        Way::Stops => format!("stops {what} until {}: {}", suspend.until, suspend.reason.as_str()),
        Way::Lifts => format!("allows {what} again: {}", suspend.reason.as_str()),
    }
}

/// Says what a document contains; refuses what it cannot explain.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of document, read side by side")]
pub(crate) fn explain(document: &Document) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    match document.label() {
        Label::Root => {
            let root: Root = document.unverified()?;
            lines.push(format!("root document {} of federation {}", root.root_version, root.name.as_str()));
            if root.root_version == 1 {
                let federation = root::federation_id(document.payload());
                lines.push(format!("  federation id {federation}"));
                lines.push(format!("  read it out as {}", fingerprint("federation", "", &federation.0)));
            }
            lines.push(format!("  {}", threshold_words(root.threshold, root.keys.as_slice().len())));
            lines.extend(root.keys.iter().map(|key| format!("  root key {}", key.fingerprint("root", ""))));
            lines.push(format!("  valid until {}", root.expires_at));
        }
        Label::Roster => {
            let roster: Roster = document.unverified()?;
            lines.push(format!("roster {} (epoch {})", roster.roster_version, roster.epoch));
            for member in roster.members.iter() {
                let print = keys_fingerprint(&member.anchor_hash, member.node_id.as_str());
                let (id, state, version) = (&member.node_id, member.state, member.anchor_version);
                lines.push(format!("  {id} ({}) {state}, keys {version}: {print}", member.name.as_str()));
            }
            lines.push(format!("  catalogue {}", roster.catalogue_hash));
            lines.push(format!("  valid until {}", roster.expires_at));
        }
        Label::Catalogue => {
            let document: CatalogueDocument = document.unverified()?;
            let catalogue = accord_protocol::trust::read_catalogue(&document)?;
            lines.push(format!("catalogue {} with {} tables", catalogue.id, catalogue.tables().len()));
            let tables = catalogue.tables().iter();
            lines.extend(tables.map(|table| format!("  {} version {}: {}", table.name, table.version, table.title)));
        }
        Label::MemberKeys => {
            let keys: MemberKeys = document.unverified()?;
            let of = keys.node_id.as_str();
            lines.push(format!("keys {} of {of}", keys.keys_version));
            lines.push(format!("  read out as {}", keys_fingerprint(&document.hash(), of)));
            let administrators = keys.admin_keys.as_slice().len();
            lines.push(format!("  administrators: {}", threshold_words(keys.admin_threshold, administrators)));
            let listed = listed_keys(&keys);
            lines.extend(
                listed.iter().map(|(role, key)| format!("  {role} key {}", key.fingerprint(role.as_str(), of))),
            );
            lines.extend(keys.addresses.iter().map(|address| format!("  reached at {}", address.as_str())));
            lines.push(format!("  valid until {}", keys.expires_at));
        }
        Label::Officers => {
            let list: Officers = document.unverified()?;
            let cards = list.cards.as_slice().len();
            lines.push(format!("officers list {} of {} with {cards} cards", list.list_version, list.node_id));
            lines.push(format!("  valid until {}", list.expires_at));
        }
        Label::Staff => {
            let list: Staff = document.unverified()?;
            lines.push(format!("staff list {} of {}", list.list_version, list.node_id));
            let of = list.node_id.as_str();
            let people = list.people.iter();
            lines.extend(people.map(|one| format!("  {} {}", one.role, one.key.fingerprint(one.role.as_str(), of))));
            lines.push(format!("  valid until {}", list.expires_at));
        }
        Label::Policy => {
            let policy: PolicyDocument = document.unverified()?;
            lines.push(format!("policy {} of {}", policy.policy_version, policy.node_id));
            if policy.is_closed() {
                lines.push("  nobody receives anything".to_owned());
            }
            // What is signed is read first, all of it.
            lines.extend(policy.rows().lines().map(|line| format!("  | {line}")));
            if !policy.cedar().is_empty() {
                lines.push("  beside the rows, in Cedar:".to_owned());
                lines.extend(policy.cedar().lines().map(|line| format!("  | {line}")));
            }
        }
        Label::KeyClaim => {
            let claim: KeyClaim = document.unverified()?;
            let of = claim.node_id.as_ref().map_or("", |member| member.as_str());
            let whose = if of.is_empty() { "the federation" } else { of };
            lines.push(format!("claim of {} for {whose}", claim.name.as_str()));
            let keys = claim.keys.iter();
            lines.extend(keys.map(|one| format!("  {} key {}", one.role, one.key.fingerprint(one.role.as_str(), of))));
            lines.extend(claim.addresses.iter().map(|address| format!("  reached at {}", address.as_str())));
        }
        Label::Suspend => {
            let suspend: Suspend = document.unverified()?;
            lines.push(format!("suspension: {}", suspend_words(&suspend)));
        }
        Label::Topic => {
            let topic: Topic = document.unverified()?;
            let purposes: Vec<&str> = topic.purposes.iter().map(|purpose| purpose.as_str()).collect();
            lines.push(format!("topic of {} for {}: {}", topic.node_id, topic.audience, topic.title()));
            lines.push(format!("  officers may ask {} under it for {}", topic.audience, purposes.join(", ")));
            lines.push(format!("  valid until {}", topic.valid_to));
        }
        Label::Accept => {
            let accept: Accept = document.unverified()?;
            lines.push(format!("acceptance by an administrator of {}", accept.node_id));
            let print = |hash, member: &str| keys_fingerprint(hash, member);
            let compared = accept.compared.iter();
            lines.extend(
                compared.map(|one| format!("  keys of {} {}", one.member, print(&one.keys, one.member.as_str()))),
            );
        }
        label => {
            let message = format!("a document of kind {label} cannot be explained here, so it is not signed");
            return Err(Failure::refused("UNEXPLAINED", message, "update accord").into());
        }
    }
    Ok(lines)
}
