//! What a document would change, in plain words: against the one in force that it continues.

use accord_edge::clock;
use accord_policy::{Policy, Texts, World, differences};
use accord_protocol::{
    id::Hash,
    member_keys::MemberKeys,
    officers::{Officers, Staff, StaffMember},
    policy::PolicyDocument,
    root::Root,
    roster::{Member, Roster},
    signed::{Document, Label, Verified},
    time::UnixMs,
};

use super::{
    book::{Book, card_hash},
    desk::Desk,
    words::{keys_fingerprint, listed_keys, threshold_words},
};
use crate::{command::policy_words::difference_words, output::Failure};

/// What would change; nothing for a document that continues none. Refuses what does not continue the one in force.
pub(crate) fn changes(document: &Document, desk: &Desk, book: &Book) -> anyhow::Result<Option<Vec<String>>> {
    Ok(match document.label() {
        Label::Root => of_root(&document.unverified()?, desk)?,
        Label::Roster => of_roster(&document.unverified()?, desk)?,
        Label::MemberKeys => of_keys(&document.unverified()?, desk)?,
        Label::Officers => of_officers(&document.unverified()?, desk, book)?,
        Label::Staff => of_staff(&document.unverified()?, desk, book)?,
        Label::Policy => of_policy(&document.unverified()?, desk)?,
        _ => None,
    })
}

/// The sentence that people read before they sign.
pub(crate) fn sentence(changes: &[String]) -> String {
    match changes {
        [] => "nothing changes".to_owned(),
        [one] => format!("nothing changes except: {one}"),
        all => format!("nothing changes except:\n    {}", all.join("\n    ")),
    }
}

fn does_not_follow(what: &str, version: u64, in_force: u64) -> anyhow::Error {
    let message = format!("{what} {version} does not continue {what} {in_force}, which is in force here");
    let next =
        "get the latest documents (accord trust update FILE), or have it proposed anew on top of the one in force";
    Failure::refused("DOES-NOT-FOLLOW", message, next).into()
}

fn validity(lines: &mut Vec<String>, before: UnixMs, after: UnixMs) {
    if before != after {
        lines.push(format!("valid until {}", instead_of(after, before)));
    }
}

// A day, or the moment where the day is the same.
fn instead_of(after: UnixMs, before: UnixMs) -> String {
    if after.date() == before.date() {
        format!("{after} (was {before})")
    } else {
        format!("{} (was {})", after.date(), before.date())
    }
}

// What it decides otherwise than the one in force; the first one against none.
fn of_policy(policy: &PolicyDocument, desk: &Desk) -> anyhow::Result<Option<Vec<String>>> {
    let keys = desk.keys(&policy.node_id)?;
    let before = desk.policy(&keys);
    let version = before.as_ref().map_or(0, |before| before.policy_version);
    let prev = before.as_ref().map_or(Hash::ZERO, Verified::hash);
    // The one in force may be shown again.
    let same = policy.policy_version == version;
    if !same && (policy.policy_version != version + 1 || policy.prev_hash != prev) {
        return Err(does_not_follow("policy", policy.policy_version, version));
    }
    let trust = desk.trust()?;
    let members = trust.roster().member_ids();
    let read = |policy: &PolicyDocument, strict| {
        let world = World { members: &members, catalogue: trust.catalogue(), strict };
        Policy::new(Texts { rows: policy.rows(), cedar: policy.cedar() }, world).map_err(|refused| {
            let message = format!("policy {}: {refused}", policy.policy_version);
            anyhow::Error::new(Failure::refused(
                "POLICY",
                message,
                "it would permit nothing; have it mended, and proposed anew",
            ))
        })
    };
    let (one, other) = (before.map(|before| read(&before, false)).transpose()?, read(policy, true)?);
    let world = World { members: &members, catalogue: trust.catalogue(), strict: true };
    let all = differences(one.as_ref(), Some(&other), (world, &policy.node_id), clock::now()).map_err(|fault| {
        Failure::refused("POLICY", format!("it cannot be evaluated: {fault}"), "have it mended, and proposed anew")
    })?;
    Ok(Some(difference_words(&all, trust.catalogue())))
}

fn of_root(root: &Root, desk: &Desk) -> anyhow::Result<Option<Vec<String>>> {
    if root.root_version == 1 {
        return Ok(None);
    }
    let in_force = desk.root();
    let before = desk.roots.version(root.root_version - 1);
    let Some(before) = before.filter(|before| before.genesis_nonce == root.genesis_nonce) else {
        return Err(does_not_follow("root document", root.root_version, in_force.root_version));
    };
    let mut lines = Vec::new();
    let added = root.keys.iter().filter(|key| !before.keys.as_slice().contains(key));
    lines.extend(added.map(|key| format!("root key added: {}", key.fingerprint("root", ""))));
    let removed = before.keys.iter().filter(|key| !root.keys.as_slice().contains(key));
    lines.extend(removed.map(|key| format!("root key taken out: {}", key.fingerprint("root", ""))));
    if (root.threshold, root.keys.as_slice().len()) != (before.threshold, before.keys.as_slice().len()) {
        lines.push(threshold_words(root.threshold, root.keys.as_slice().len()));
    }
    if root.epoch != before.epoch {
        lines.push(format!("a new epoch begins: {} (was {})", root.epoch, before.epoch));
    }
    if root.name != before.name {
        lines.push(format!("the federation's name: {} (was {})", root.name.as_str(), before.name.as_str()));
    }
    validity(&mut lines, before.expires_at, root.expires_at);
    Ok(Some(lines))
}

fn of_roster(roster: &Roster, desk: &Desk) -> anyhow::Result<Option<Vec<String>>> {
    let Some(trust) = &desk.trust else {
        return if roster.roster_version == 1 {
            Ok(None)
        } else {
            Err(does_not_follow("roster", roster.roster_version, 0))
        };
    };
    let before = trust.roster();
    let next = roster.epoch == before.epoch
        && roster.roster_version == before.roster_version + 1
        && roster.prev_hash == before.hash();
    // The one in force may be shown again.
    let same = roster.epoch == before.epoch && roster.roster_version == before.roster_version;
    if !next && !same && roster.epoch <= before.epoch {
        return Err(does_not_follow("roster", roster.roster_version, before.roster_version));
    }
    let mut lines = Vec::new();
    let find = |all: &Roster, member: &Member| all.members.iter().find(|one| one.node_id == member.node_id).cloned();
    for member in roster.members.iter() {
        let Some(had) = find(before, member) else {
            let print = keys_fingerprint(&member.anchor_hash, member.node_id.as_str());
            lines.push(format!("new member {} ({}): {print}", member.node_id, member.name.as_str()));
            continue;
        };
        of_entry(&mut lines, member, &had);
    }
    let gone = before.members.iter().filter(|member| find(roster, member).is_none());
    lines.extend(gone.map(|member| format!("{} is named no more", member.node_id)));
    if roster.root_version != before.root_version {
        lines.push(format!("signed under root document {} (was {})", roster.root_version, before.root_version));
    }
    if roster.epoch != before.epoch {
        lines.push(format!("a new epoch begins: {} (was {})", roster.epoch, before.epoch));
    }
    if roster.catalogue_hash != before.catalogue_hash {
        lines.push(format!("another catalogue: {}", roster.catalogue_hash));
    }
    if (roster.min_protocol, roster.max_protocol) != (before.min_protocol, before.max_protocol) {
        lines.push(format!("protocol {} to {}", roster.min_protocol, roster.max_protocol));
    }
    validity(&mut lines, before.expires_at, roster.expires_at);
    Ok(Some(lines))
}

fn of_entry(lines: &mut Vec<String>, member: &Member, had: &Member) {
    let of = &member.node_id;
    if member.state != had.state {
        lines.push(format!("{of} is {} (was {})", member.state, had.state));
    }
    if member.anchor_hash != had.anchor_hash {
        let print = keys_fingerprint(&member.anchor_hash, of.as_str());
        lines.push(format!(
            "{of} is anchored anew on its keys {} (was {}): {print}",
            member.anchor_version, had.anchor_version
        ));
    }
    if member.roles != had.roles {
        let roles: Vec<&str> = member.roles.iter().map(|role| role.as_str()).collect();
        lines.push(format!("{of} is {}", roles.join(", ")));
    }
    if member.name != had.name {
        lines.push(format!("{of} is called {} (was {})", member.name.as_str(), had.name.as_str()));
    }
    if (member.valid_from, member.valid_to) != (had.valid_from, had.valid_to) {
        lines.push(format!("{of} is a member until {}", instead_of(member.valid_to, had.valid_to)));
    }
}

fn of_keys(keys: &MemberKeys, desk: &Desk) -> anyhow::Result<Option<Vec<String>>> {
    let of = keys.node_id.as_str();
    let before = desk.keys(&keys.node_id).ok().filter(|before| before.keys_version != keys.keys_version);
    let Some(before) = before else { return Ok(None) };
    if keys.prev_hash == Hash::ZERO {
        let line = "this begins anew: it does not continue the member's keys, so that everybody has to accept it";
        return Ok(Some(vec![line.to_owned()]));
    }
    if keys.keys_version != before.keys_version + 1 || keys.prev_hash != before.hash() {
        return Err(does_not_follow("keys", keys.keys_version, before.keys_version));
    }
    let (now, then) = (listed_keys(keys), listed_keys(&before));
    let mut lines = Vec::new();
    let print = |(role, key): &(accord_protocol::member_keys::KeyRole, accord_protocol::key::PublicKey)| {
        format!("{role} key {}", key.fingerprint(role.as_str(), of))
    };
    lines.extend(now.iter().filter(|one| !then.contains(one)).map(|one| format!("added: {}", print(one))));
    lines.extend(then.iter().filter(|one| !now.contains(one)).map(|one| format!("taken out: {}", print(one))));
    if now.len() == then.len() && now != then && lines.is_empty() {
        lines.push("another order of the keys: the first of a role is the one in use".to_owned());
    }
    let counts = |keys: &MemberKeys| (keys.admin_threshold, keys.admin_keys.as_slice().len());
    if counts(keys) != counts(&before) {
        let (threshold, count) = counts(keys);
        lines.push(format!(
            "administrators: {} (was {} of {})",
            threshold_words(threshold, count),
            counts(&before).0,
            counts(&before).1
        ));
    }
    if keys.addresses != before.addresses {
        let addresses: Vec<&str> = keys.addresses.iter().map(accord_protocol::codec::Text::as_str).collect();
        lines.push(format!("reached at {}", addresses.join(", ")));
    }
    if keys.officers_version_min != before.officers_version_min {
        lines.push(format!("officers lists below version {} count no more", keys.officers_version_min));
    }
    validity(&mut lines, before.expires_at, keys.expires_at);
    Ok(Some(lines))
}

fn of_officers(list: &Officers, desk: &Desk, book: &Book) -> anyhow::Result<Option<Vec<String>>> {
    let keys = desk.keys(&list.node_id)?;
    let before = desk.officers(&keys).filter(|before| before.list_version != list.list_version);
    if let Some(before) = before.as_ref().filter(|before| list.prev_hash != before.hash()) {
        return Err(does_not_follow("officers list", list.list_version, before.list_version));
    }
    let had: &[Hash] = before.as_ref().map_or(&[], |before| before.cards.as_slice());
    let mut lines = Vec::new();
    for hash in list.cards.iter().filter(|hash| !had.contains(hash)) {
        let card = desk.cards.iter().find(|card| card_hash(card) == Some(*hash)).ok_or_else(|| {
            let message =
                format!("the list adds a card that is not in this file ({hash}), so nobody can say whose it is");
            Failure::refused("UNEXPLAINED", message, "get the file again from whoever proposed it")
        })?;
        let print = card.key.fingerprint("officer", list.node_id.as_str());
        let who = book.name_of(&card.key).unwrap_or("somebody unknown here");
        let purposes: Vec<&str> = card.purposes.iter().map(|purpose| purpose.as_str()).collect();
        lines.push(format!(
            "officer added: {who}, {print}, until {}, for {}",
            card.valid_to.date(),
            purposes.join(", ")
        ));
    }
    let gone = had.iter().filter(|hash| !list.cards.as_slice().contains(hash));
    lines.extend(
        gone.map(|hash| {
            format!("officer taken out: {}", book.name_of_card(hash).map_or(hash.to_string(), str::to_owned))
        }),
    );
    if let Some(before) = &before {
        validity(&mut lines, before.expires_at, list.expires_at);
    }
    Ok(Some(lines))
}

fn of_staff(list: &Staff, desk: &Desk, book: &Book) -> anyhow::Result<Option<Vec<String>>> {
    let keys = desk.keys(&list.node_id)?;
    let before = desk.staff(&keys).filter(|before| before.list_version != list.list_version);
    if let Some(before) = before.as_ref().filter(|before| list.prev_hash != before.hash()) {
        return Err(does_not_follow("staff list", list.list_version, before.list_version));
    }
    let had: &[StaffMember] = before.as_ref().map_or(&[], |before| before.people.as_slice());
    let of = list.node_id.as_str();
    let who = |person: &StaffMember| {
        let print = person.key.fingerprint(person.role.as_str(), of);
        format!("{} {}, {print}", person.role, book.name_of(&person.key).unwrap_or("(name unknown here)"))
    };
    let mut lines = Vec::new();
    let new = list.people.iter().filter(|person| !had.iter().any(|one| one.key == person.key));
    lines.extend(new.map(|person| format!("added: {}, until {}", who(person), person.valid_to.date())));
    let gone = had.iter().filter(|person| !list.people.iter().any(|one| one.key == person.key));
    lines.extend(gone.map(|person| format!("taken out: {}", who(person))));
    let changed = list.people.iter().filter(|person| had.iter().any(|one| one.key == person.key && one != *person));
    lines.extend(changed.map(|person| format!("changed: {}, until {}", who(person), person.valid_to.date())));
    if let Some(before) = &before {
        validity(&mut lines, before.expires_at, list.expires_at);
    }
    Ok(Some(lines))
}
