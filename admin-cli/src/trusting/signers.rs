//! Who must sign a document, and who has.

use accord_protocol::{
    accept::Accept,
    id::Hash,
    key::PublicKey,
    member_keys::{KeyRole, MemberKeys},
    officers::{Officers, Staff},
    policy::PolicyDocument,
    root::Root,
    roster::Roster,
    signed::{Document, FederationId, Label},
    suspend::{Suspend, Way},
    topic::Topic,
    trust::owner,
};
use serde_json::{Value, json};

use super::desk::Desk;
use crate::output::Failure;

/// Keys of which some must sign.
#[derive(Debug)]
pub(crate) struct Need {
    /// Who they are, in words.
    pub(crate) who: String,
    /// The role of their keys, and whose they are, as in fingerprints.
    pub(crate) role: KeyRole,
    /// The keys that count.
    pub(crate) keys: Vec<PublicKey>,
    /// Those that have signed.
    pub(crate) have: Vec<PublicKey>,
    /// How many are needed.
    pub(crate) enough: usize,
    /// Whether the member's own node signs by itself when an operator hands the document in.
    pub(crate) by_node: bool,
}

impl Need {
    /// Whether enough have signed.
    pub(crate) fn is_met(&self) -> bool {
        self.have.len() >= self.enough
    }

    /// In words, with the fingerprints of those who have not signed.
    pub(crate) fn words(&self, of: &str) -> String {
        let missing = self.keys.iter().filter(|key| !self.have.contains(key));
        let missing: Vec<String> = missing.map(|key| first_groups(&key.fingerprint(self.role.as_str(), of))).collect();
        let open = if self.is_met() { String::new() } else { format!("; not yet: {}", missing.join(", ")) };
        format!("{}: {} of {}{open}", self.who, self.have.len(), self.enough)
    }
}

/// The first two groups of a fingerprint, to tell keys of one list apart.
pub(crate) fn first_groups(fingerprint: &str) -> String {
    fingerprint.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// In whose name a document is signed: roots are signed in the name of none, since the federation's id follows from the first.
pub(crate) fn in_name_of(document: &Document, federation: &FederationId) -> FederationId {
    if document.label() == Label::Root { Hash::ZERO } else { *federation }
}

/// What a document says about itself that is needed here.
pub(crate) fn whose(document: &Document) -> String {
    owner(document).map_or(String::new(), |member| member.to_string())
}

/// A document's name for people: `officers 3 of ES-AGENCY`.
pub(crate) fn name(document: &Document) -> String {
    let version = match document.label() {
        Label::Root => document.unverified::<Root>().ok().map(|root| root.root_version),
        Label::Roster => document.unverified::<Roster>().ok().map(|roster| roster.roster_version),
        Label::MemberKeys => document.unverified::<MemberKeys>().ok().map(|keys| keys.keys_version),
        Label::Officers => document.unverified::<Officers>().ok().map(|list| list.list_version),
        Label::Staff => document.unverified::<Staff>().ok().map(|list| list.list_version),
        Label::Policy => document.unverified::<PolicyDocument>().ok().map(|policy| policy.policy_version),
        _ => None,
    };
    let version = version.map_or(String::new(), |version| format!(" {version}"));
    let of = whose(document);
    let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
    let topic = (document.label() == Label::Topic).then(|| document.unverified::<Topic>().ok()).flatten();
    let audience = topic.map_or(String::new(), |topic| format!(" for {}", topic.audience));
    format!("{}{version}{of}{audience}", document.label())
}

/// Who must sign, given what is at hand. `desk` is absent for the first root document alone.
pub(crate) fn needs(document: &Document, desk: Option<&Desk>) -> anyhow::Result<Vec<Need>> {
    if let Label::Root = document.label() {
        return root_needs(document, desk);
    }
    let desk = desk.ok_or_else(|| {
        Failure::usage("ROOT", "which federation is it for?", "name its root document: --with root.accord")
    })?;
    let federation = desk.federation();
    let need = |who: String, role, keys: &[PublicKey], need: usize, by_node| Need {
        who,
        role,
        keys: keys.to_vec(),
        have: document.valid_signers(federation, keys),
        enough: need,
        by_node,
    };
    let administrators = |keys: &MemberKeys, enough: usize| {
        let who = format!("administrators of {}", keys.node_id);
        vec![need(who, KeyRole::Administrator, keys.admin_keys.as_slice(), enough, false)]
    };
    Ok(match document.label() {
        Label::Roster => {
            let roster: Roster = document.unverified()?;
            let root = desk.roots.version(roster.root_version).ok_or_else(|| {
                let message =
                    format!("the roster is signed under root document {}, which is not at hand", roster.root_version);
                Failure::refused("ROOT", message, "name it: --with root.accord")
            })?;
            let who = "root holders".to_owned();
            vec![need(who, KeyRole::Root, root.keys.as_slice(), usize::from(root.threshold), false)]
        }
        Label::Catalogue => {
            let root = desk.root();
            vec![need("root holders".into(), KeyRole::Root, root.keys.as_slice(), usize::from(root.threshold), false)]
        }
        Label::MemberKeys => keys_needs(document, desk, &need)?,
        Label::Officers => {
            let list: Officers = document.unverified()?;
            let keys = desk.keys(&list.node_id)?;
            let before = desk.officers(&keys).filter(|before| before.hash() == list.prev_hash);
            let shorter = before.is_some_and(|before| {
                list.expires_at <= before.expires_at
                    && list.cards.iter().all(|card| before.cards.as_slice().contains(card))
            });
            administrators(&keys, if shorter { 1 } else { usize::from(keys.admin_threshold) })
        }
        Label::Staff => {
            let list: Staff = document.unverified()?;
            let keys = desk.keys(&list.node_id)?;
            let before = desk.staff(&keys).filter(|before| before.hash() == list.prev_hash);
            let shorter = before.is_some_and(|before| {
                list.expires_at <= before.expires_at
                    && list.people.iter().all(|person| before.people.as_slice().contains(person))
            });
            administrators(&keys, if shorter { 1 } else { usize::from(keys.admin_threshold) })
        }
        Label::Policy => {
            let policy: PolicyDocument = document.unverified()?;
            let keys = desk.keys(&policy.node_id)?;
            // Whoever closes what is in force takes away only; a first policy has nothing to take away.
            let closes =
                policy.is_closed() && desk.policy(&keys).is_some_and(|before| before.hash() == policy.prev_hash);
            administrators(&keys, if closes { 1 } else { usize::from(keys.admin_threshold) })
        }
        Label::Suspend => {
            let suspend: Suspend = document.unverified()?;
            let keys = desk.keys(&suspend.node_id)?;
            administrators(&keys, if suspend.way == Way::Stops { 1 } else { usize::from(keys.admin_threshold) })
        }
        Label::Topic => {
            let keys = desk.keys(&document.unverified::<Topic>()?.node_id)?;
            administrators(&keys, usize::from(keys.admin_threshold))
        }
        Label::Accept => {
            let accept: Accept = document.unverified()?;
            administrators(desk.keys(&accept.node_id)?.get(), 1)
        }
        label => {
            let message = format!("a document of kind {label} is not signed by people");
            return Err(Failure::refused("UNEXPLAINED", message, "see docs/administrator.md").into());
        }
    })
}

fn root_needs(document: &Document, desk: Option<&Desk>) -> anyhow::Result<Vec<Need>> {
    let root: Root = document.unverified()?;
    let need = |who: &str, keys: &[PublicKey], need: usize| Need {
        who: who.to_owned(),
        role: KeyRole::Root,
        keys: keys.to_vec(),
        have: document.valid_signers(&Hash::ZERO, keys),
        enough: need,
        by_node: false,
    };
    let listed = root.keys.as_slice();
    if root.root_version == 1 {
        return Ok(vec![need("root holders, all for the first", listed, listed.len())]);
    }
    let before = desk.and_then(|desk| desk.roots.version(root.root_version - 1)).ok_or_else(|| {
        let message =
            format!("root document {} continues {}, which is not at hand", root.root_version, root.root_version - 1);
        Failure::refused("ROOT", message, "name it: --with root.accord")
    })?;
    let fresh: Vec<PublicKey> = listed.iter().filter(|key| !before.keys.as_slice().contains(key)).copied().collect();
    let mut all = vec![
        need("root holders until now", before.keys.as_slice(), usize::from(before.threshold)),
        need("root holders from now on", listed, usize::from(root.threshold)),
    ];
    if !fresh.is_empty() {
        all.push(need("new root holders, each", &fresh, fresh.len()));
    }
    Ok(all)
}

/// Makes a need of who, role, keys, how many, and whether the node signs by itself.
type NeedOf<'a> = dyn Fn(String, KeyRole, &[PublicKey], usize, bool) -> Need + 'a;

fn keys_needs(document: &Document, desk: &Desk, need: &NeedOf<'_>) -> anyhow::Result<Vec<Need>> {
    let keys: MemberKeys = document.unverified()?;
    let of = &keys.node_id;
    let before = desk.keys(of).ok().filter(|before| before.hash() == keys.prev_hash);
    let mut all = Vec::new();
    let admins = keys.admin_keys.as_slice();
    if let Some(before) = &before {
        let who = format!("administrators of {of} until now");
        all.push(need(
            who,
            KeyRole::Administrator,
            before.admin_keys.as_slice(),
            usize::from(before.admin_threshold),
            false,
        ));
    }
    let who = format!("administrators of {of}");
    all.push(need(who, KeyRole::Administrator, admins, usize::from(keys.admin_threshold), false));
    // Keys that are listed for the first time prove that somebody holds them.
    let known = before.as_ref().map(|before| before.all_keys()).unwrap_or_default();
    let fresh: Vec<PublicKey> = keys.all_keys().into_iter().filter(|key| !known.contains(key)).collect();
    let (fresh_admins, fresh_of_node): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|key| admins.contains(key));
    if !fresh_admins.is_empty() {
        let who = format!("new administrators of {of}, each");
        all.push(need(who, KeyRole::Administrator, &fresh_admins, fresh_admins.len(), false));
    }
    if !fresh_of_node.is_empty() {
        let who = format!("the node of {of}, with each new key");
        all.push(need(who, KeyRole::Sign, &fresh_of_node, fresh_of_node.len(), true));
    }
    if let Some(before) = &before {
        all.push(need(
            format!("the node of {of}, with a signing key until now"),
            KeyRole::Sign,
            before.sign_keys.as_slice(),
            1,
            true,
        ));
    }
    Ok(all)
}

/// As `needs` of `accord trust --json`.
pub(crate) fn needs_json(document: &Document, needs: &[Need], command: &str) -> Vec<Value> {
    let of = whose(document);
    let open = needs.iter().filter(|need| !need.is_met());
    let entry = |need: &Need| {
        let missing = need.keys.iter().filter(|key| !need.have.contains(key));
        let by: Vec<String> = missing.map(|key| key.fingerprint(need.role.as_str(), &of)).collect();
        json!({ "document": name(document), "by": by, "who": need.who, "have": need.have.len(), "need": need.enough, "command": command })
    };
    open.map(entry).collect()
}
