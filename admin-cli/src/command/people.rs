//! Keys of people: root holders, administrators, officers, staff. No private key travels; claims do.

use std::path::{Path, PathBuf};

use accord_edge::{
    clock, files,
    keyring::{KeyRing, RingKind},
    random,
};
use accord_protocol::{
    codec::{Bounded, Text, encode},
    id::{Hash, NodeId, OfficerId},
    member_keys::{self, KeyClaim, KeyRole, MemberKeys, RoleKey},
    officers::{self, Card, Officers, Purpose, Staff, StaffMember},
    signed::{Document, NotVerified, Preamble, Signable, Verified},
    time::{DAY_MS, UnixMs},
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Global,
    federation::{open_document, open_root, sign_with},
};
use crate::{
    output::{Failure, Outcome},
    profile::create_ring,
};

/// Where a new ring goes and whose it is.
#[derive(Debug, Args)]
pub(crate) struct NewRing {
    /// The key ring's file, which must not exist. The claim is written beside it.
    file: PathBuf,
    /// Whose it is.
    #[arg(long)]
    name: String,
    /// Make the ring without a passphrase. Its file mode is then all that protects it.
    #[arg(long)]
    unprotected: bool,
}

impl NewRing {
    fn make(&self, kind: RingKind, role: KeyRole, member: Option<NodeId>, global: &Global) -> anyhow::Result<Outcome> {
        let name = Text::<64>::new(&self.name).ok_or_else(|| {
            Failure::usage("NAME", "--name: at most 64 printable ASCII characters", "choose a shorter name")
        })?;
        let ring = create_ring(&self.file, kind, &[role], self.unprotected, global)?;
        let key = ring.key(role)?;
        let of = member.as_ref().map_or(String::new(), ToString::to_string);
        let claim = KeyClaim {
            preamble: Preamble,
            name,
            node_id: member,
            keys: Bounded::new(vec![RoleKey { role, key: key.public() }]).unwrap_or_default(),
            addresses: Bounded::default(),
        };
        let mut document = Document::new(&claim)?;
        document.add_signature(key, &Hash::ZERO);
        let claim_file = self.file.with_extension("claim");
        files::write_document(&claim_file, &document)?;
        let fingerprint = key.public().fingerprint(role.as_str(), &of);
        let text = format!(
            "made {} ({role} key of {})\n  {fingerprint}\nnext: hand on {}; the key ring stays here",
            self.file.display(),
            self.name,
            claim_file.display()
        );
        Ok(Outcome::done(
            json!({ "ring": self.file, "claim": claim_file, "role": role.as_str(), "key": key.public().to_string(), "fingerprint": fingerprint }),
            text,
        ))
    }
}

/// `accord root`
#[derive(Debug, Subcommand)]
pub(crate) enum Root {
    /// Make a root key, offline.
    New(NewRing),
}

impl Root {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Self::New(ring) = self;
        ring.make(RingKind::Root, KeyRole::Root, None, global)
    }
}

/// A ring of a member's person.
#[derive(Debug, Args)]
pub(crate) struct NewPerson {
    #[command(flatten)]
    ring: NewRing,
    /// The member.
    #[arg(long)]
    member: String,
}

impl NewPerson {
    fn make(&self, role: KeyRole, global: &Global) -> anyhow::Result<Outcome> {
        let member = member_id(&self.member)?;
        self.ring.make(RingKind::Person, role, Some(member), global)
    }
}

pub(crate) fn member_id(text: &str) -> anyhow::Result<NodeId> {
    text.parse().map_err(|error| Failure::usage("MEMBER", format!("{error}"), "for example ES-AGENCY").into())
}

/// `accord admin`
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make an administrator's key.
    New(NewPerson),
}

impl Admin {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Self::New(person) = self;
        person.make(KeyRole::Administrator, global)
    }
}

/// `accord officer`
#[derive(Debug, Subcommand)]
pub(crate) enum Officer {
    /// Make an officer's key, on the officer's own machine.
    New(NewPerson),
    /// Add officers to the member's list, signed by its administrators; writes the list and a card for each.
    Add(AddOfficer),
}

/// `accord officer add`
#[derive(Debug, Args)]
pub(crate) struct AddOfficer {
    #[command(flatten)]
    list: AddToList,
    /// What the officers may ask for.
    #[arg(long, value_delimiter = ',', default_value = "strategic-analysis")]
    purposes: Vec<String>,
    /// Folder for the cards.
    #[arg(long, value_name = "DIR")]
    cards: PathBuf,
}

/// What every addition to a member's list needs.
#[derive(Debug, Args)]
pub(crate) struct AddToList {
    /// The federation's root document.
    #[arg(long)]
    root: PathBuf,
    /// The member's keys document.
    #[arg(long)]
    keys: PathBuf,
    /// Claims of the people to add.
    #[arg(long, value_delimiter = ',', required = true)]
    claim: Vec<PathBuf>,
    /// The list before, which the new one continues.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Key rings of the administrators who sign.
    #[arg(long, required = true)]
    ring: Vec<PathBuf>,
    /// Days until it runs out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    /// Where the list is written.
    #[arg(long)]
    out: PathBuf,
}

struct ListContext {
    federation: Hash,
    keys: Verified<MemberKeys>,
    claims: Vec<Verified<KeyClaim>>,
    previous: Option<Document>,
    now: UnixMs,
    until: UnixMs,
}

impl AddToList {
    fn context(&self, wanted: &[KeyRole]) -> anyhow::Result<ListContext> {
        let (federation, _) = open_root(&self.root)?;
        let keys_document = open_document(&self.keys)?;
        let keys = member_keys::verify(&keys_document, &federation)
            .map_err(|error| refused(&self.keys, &anyhow::Error::new(error)))?;
        let mut claims = Vec::new();
        for path in &self.claim {
            let claim = read_claim(path)?;
            if claim.node_id.as_ref() != Some(&keys.node_id) {
                let message = format!("the claim is for another member than {}", keys.node_id);
                return Err(Failure::refused("CLAIM", message, "take the claim of that member's person")
                    .in_file(path.display().to_string())
                    .into());
            }
            if !claim.keys.iter().all(|entry| wanted.contains(&entry.role)) {
                let message = "the claim's key is for another role".to_owned();
                return Err(Failure::refused("CLAIM", message, "take a claim of the right role")
                    .in_file(path.display().to_string())
                    .into());
            }
            claims.push(claim);
        }
        let previous = self.previous.as_ref().map(|path| open_document(path)).transpose()?;
        let now = clock::now();
        Ok(ListContext {
            federation,
            keys,
            claims,
            previous,
            now,
            until: now.plus(u64::from(self.valid_days) * DAY_MS),
        })
    }

    fn finish<T: Signable>(&self, value: &T, context: &ListContext, global: &Global) -> anyhow::Result<Document> {
        let mut document = Document::new(value)?;
        sign_with(&mut document, &self.ring, &context.federation, global)?;
        let keys = context.keys.get();
        let need = usize::from(keys.admin_threshold);
        let have = document.valid_signers(&context.federation, keys.admin_keys.as_slice()).len();
        if have == 0 {
            let message = "none of the rings is an administrator's of this member; nothing was written";
            let next = "name one --ring for each administrator who signs";
            return Err(Failure::refused("THRESHOLD", message, next).into());
        }
        if have < need {
            let (out, root) = (self.out.display(), self.root.display());
            eprintln!(
                "{have} of {need} administrators have signed; the next: accord federation sign {out} --root {root} --ring THEIR.ring"
            );
        }
        files::write_document(&self.out, &document)?;
        Ok(document)
    }
}

fn previous_refused(error: &NotVerified) -> Failure {
    let message = format!("the list in --previous is not this member's: {error}");
    Failure::refused("PREVIOUS", message, "take the list in force, signed by this member's administrators")
}

fn refused(path: &Path, error: &anyhow::Error) -> Failure {
    Failure::refused("NOT-VERIFIED", format!("{error:#}"), "get the file again from its source")
        .in_file(path.display().to_string())
}

/// Reads a claim and checks that every key in it has signed it.
pub(crate) fn read_claim(path: &Path) -> anyhow::Result<Verified<KeyClaim>> {
    let document = open_document(path)?;
    Ok(member_keys::verify_claim(&document).map_err(|error| refused(path, &anyhow::Error::new(error)))?)
}

impl Officer {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(person) => person.make(KeyRole::Officer, global),
            Self::Add(add) => add.run(global),
        }
    }
}

impl AddOfficer {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let context = self.list.context(&[KeyRole::Officer])?;
        let purposes = self
            .purposes
            .iter()
            .map(|word| {
                Purpose::from_word(word).ok_or_else(|| {
                    let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
                    Failure::usage(
                        "PURPOSE",
                        format!("`{word}` is not a purpose"),
                        format!("purposes: {}", known.join(", ")),
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let purposes = Bounded::sorted(purposes)
            .ok_or_else(|| Failure::usage("PURPOSE", "a purpose stands twice", "name each once"))?;
        let before: Option<Verified<Officers>> = context
            .previous
            .as_ref()
            .map(|document| officers::verify(document, &context.federation, context.keys.get()))
            .transpose()
            .map_err(|error| previous_refused(&error))?;
        let mut hashes: Vec<Hash> = before.as_ref().map(|list| list.cards.as_slice().to_vec()).unwrap_or_default();
        let mut cards = Vec::new();
        for claim in &context.claims {
            for entry in claim.keys.iter() {
                let card = Card {
                    officer_id: OfficerId(random::bytes()?),
                    key: entry.key,
                    purposes: purposes.clone(),
                    valid_from: context.now,
                    valid_to: context.until,
                };
                let bytes = encode(&card)?;
                hashes.push(Hash::of(&bytes));
                cards.push((claim.name.as_str().to_owned(), card, bytes));
            }
        }
        let list = Officers {
            preamble: Preamble,
            federation: context.federation,
            node_id: context.keys.node_id.clone(),
            list_version: before.as_ref().map_or(0, |list| list.list_version) + 1,
            prev_hash: context.previous.as_ref().map_or(Hash::ZERO, Document::hash),
            issued_at: context.now,
            expires_at: context.until,
            cards: Bounded::sorted(hashes)
                .ok_or_else(|| Failure::refused("OFFICERS", "too many officers", "remove some first"))?,
        };
        self.list.finish(&list, &context, global)?;
        let mut written = Vec::new();
        for (name, card, bytes) in cards {
            let path = self.cards.join(format!("{}.card", card.officer_id));
            files::write_new(&path, &bytes)?;
            written.push(json!({ "officer": card.officer_id.to_string(), "name": name, "card": path }));
        }
        let text =
            format!("wrote officers list {} of {} and {} card(s)", list.list_version, list.node_id, written.len());
        Ok(Outcome::done(json!({ "list": self.list.out, "version": list.list_version, "cards": written }), text))
    }
}

/// `accord staff`
#[derive(Debug, Subcommand)]
pub(crate) enum StaffCommand {
    /// Make the key of an operator, approver or auditor.
    New(NewStaff),
    /// Add people to the node's staff list, signed by the member's administrators.
    Add(AddToList),
}

/// `accord staff new`
#[derive(Debug, Args)]
pub(crate) struct NewStaff {
    #[command(flatten)]
    person: NewPerson,
    /// operator, approver or auditor.
    #[arg(long)]
    role: String,
}

const STAFF_ROLES: [KeyRole; 3] = [KeyRole::Operator, KeyRole::Approver, KeyRole::Auditor];

impl StaffCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => {
                let role =
                    KeyRole::from_word(&new.role).filter(|role| STAFF_ROLES.contains(role)).ok_or_else(|| {
                        Failure::usage(
                            "ROLE",
                            format!("`{}` is no staff role", new.role),
                            "operator, approver or auditor",
                        )
                    })?;
                new.person.make(role, global)
            }
            Self::Add(list) => add_staff(&list, global),
        }
    }
}

fn add_staff(add: &AddToList, global: &Global) -> anyhow::Result<Outcome> {
    let context = add.context(&STAFF_ROLES)?;
    let before: Option<Verified<Staff>> = context
        .previous
        .as_ref()
        .map(|document| officers::verify_staff(document, &context.federation, context.keys.get()))
        .transpose()
        .map_err(|error| previous_refused(&error))?;
    let mut people: Vec<StaffMember> = before.as_ref().map(|list| list.people.as_slice().to_vec()).unwrap_or_default();
    for claim in &context.claims {
        people.extend(claim.keys.iter().map(|entry| StaffMember {
            role: entry.role,
            key: entry.key,
            valid_from: context.now,
            valid_to: context.until,
        }));
    }
    let list = Staff {
        preamble: Preamble,
        federation: context.federation,
        node_id: context.keys.node_id.clone(),
        list_version: before.as_ref().map_or(0, |list| list.list_version) + 1,
        prev_hash: context.previous.as_ref().map_or(Hash::ZERO, Document::hash),
        issued_at: context.now,
        expires_at: context.until,
        people: Bounded::new(people)
            .ok_or_else(|| Failure::refused("STAFF", "too many people", "remove some first"))?,
    };
    add.finish(&list, &context, global)?;
    let count = list.people.as_slice().len();
    let text = format!("wrote staff list {} of {} with {count} people", list.list_version, list.node_id);
    Ok(Outcome::done(json!({ "list": add.out, "version": list.list_version, "people": count }), text))
}

/// Opens a ring for signing, whatever its kind.
pub(crate) fn signing_ring(path: &Path, global: &Global) -> anyhow::Result<KeyRing> {
    crate::profile::open_ring(path, global)
}
