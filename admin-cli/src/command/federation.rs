//! Root, roster, catalogue and members' keys: proposals that go from hand to hand until enough have signed.

use std::path::{Path, PathBuf};

use accord_edge::{clock, files, random};
use accord_protocol::{
    catalogue::{Catalogue, CatalogueDocument, SHIPPED},
    codec::{Bounded, Text},
    id::Hash,
    key::{PublicKey, fingerprint},
    member_keys::{self, KeyClaim, KeyRole, MemberKeys},
    officers::{Officers, Staff},
    root::{self, Root},
    roster::{Member as RosterMember, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Label, Preamble, Verified},
    time::DAY_MS,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Global,
    people::{read_claim, signing_ring},
    publish::Publish,
};
use crate::output::{Failure, Outcome};

/// `accord federation`
#[derive(Debug, Subcommand)]
pub(crate) enum Federation {
    /// Found a federation: propose its root document.
    New(NewRoot),
    /// Propose a catalogue: the one that ships, or a file.
    Catalogue(NewCatalogue),
    /// Propose a roster from members' keys documents.
    Propose(Propose),
    /// Say in plain words what a document contains and who has signed it.
    Show(ShowDocument),
    /// Hand documents to one's own node, which spreads them: rosters, keys, lists, acceptances, suspensions.
    Publish(Publish),
    /// Sign a document, after saying in plain words what it contains.
    Sign(Sign),
}

/// `accord federation new`
#[derive(Debug, Args)]
pub(crate) struct NewRoot {
    /// What people call the federation.
    #[arg(long)]
    name: String,
    /// Claims of the root holders.
    #[arg(long, value_delimiter = ',', required = true)]
    root_keys: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 3)]
    threshold: u8,
    /// Days until it runs out.
    #[arg(long, default_value_t = 3650)]
    valid_days: u16,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord federation catalogue`
#[derive(Debug, Args)]
pub(crate) struct NewCatalogue {
    /// A catalogue in TOML; without it the one that ships.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord federation propose`
#[derive(Debug, Args)]
pub(crate) struct Propose {
    /// The root document.
    #[arg(long)]
    root: PathBuf,
    /// The catalogue.
    #[arg(long)]
    catalogue: PathBuf,
    /// Keys documents of all members.
    #[arg(long, value_delimiter = ',', required = true)]
    member_keys: Vec<PathBuf>,
    /// Claims of the members' nodes, for the agencies' names.
    #[arg(long, value_delimiter = ',')]
    claims: Vec<PathBuf>,
    /// The roster in force, which the new one continues.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Days until it runs out.
    #[arg(long, default_value_t = 365)]
    valid_days: u16,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord federation show`
#[derive(Debug, Args)]
pub(crate) struct ShowDocument {
    /// The document.
    file: PathBuf,
}

/// `accord federation sign`
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The document, which is changed in place.
    file: PathBuf,
    /// Key rings that sign.
    #[arg(long, required = true)]
    ring: Vec<PathBuf>,
    /// The federation's root document; not needed for a root document itself.
    #[arg(long)]
    root: Option<PathBuf>,
}

/// Reads a document file.
pub(crate) fn open_document(path: &Path) -> anyhow::Result<Document> {
    files::read_document(path).map_err(|error| {
        Failure::refused("DOCUMENT", format!("{:#}", anyhow::Error::new(error)), "get the file again from its source")
            .into()
    })
}

/// Reads a root document that all its holders have signed.
pub(crate) fn open_root(path: &Path) -> anyhow::Result<(FederationId, Verified<Root>)> {
    let document = open_document(path)?;
    let roots = root::follow(std::slice::from_ref(&document), None).map_err(|error| -> anyhow::Error {
        Failure::refused(
            "ROOT",
            format!("{:#}", anyhow::Error::new(error)),
            "every root holder signs it: accord federation sign",
        )
        .in_file(path.display().to_string())
        .into()
    })?;
    Ok((roots.federation, roots.last().clone()))
}

/// Signs with every key of every ring.
pub(crate) fn sign_with(
    document: &mut Document,
    rings: &[PathBuf],
    federation: &FederationId,
    global: &Global,
) -> anyhow::Result<()> {
    for path in rings {
        let ring = signing_ring(path, global)?;
        for (_, key) in ring.keys() {
            if !document.add_signature(key, federation) {
                return Err(Failure::refused(
                    "SIGNATURES",
                    "the document has no room for another signature",
                    "start from a fresh proposal",
                )
                .into());
            }
        }
    }
    Ok(())
}

impl Federation {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => new.run(),
            Self::Catalogue(new) => new.run(),
            Self::Propose(propose) => propose.run(),
            Self::Show(show) => show.run(),
            Self::Publish(publish) => publish.run(global),
            Self::Sign(sign) => sign.run(global),
        }
    }
}

fn text<const MAX: usize>(flag: &str, value: &str) -> anyhow::Result<Text<MAX>> {
    Text::new(value).ok_or_else(|| {
        Failure::usage("NAME", format!("{flag}: at most {MAX} printable ASCII characters"), "choose a shorter name")
            .into()
    })
}

impl NewRoot {
    fn run(self) -> anyhow::Result<Outcome> {
        let mut keys = Vec::new();
        for path in &self.root_keys {
            let claim = read_claim(path)?;
            let key = claim.key(KeyRole::Root).ok_or_else(|| {
                Failure::refused("CLAIM", "the claim holds no root key", "take the claim of `accord root new`")
                    .in_file(path.display().to_string())
            })?;
            keys.push(key);
        }
        let now = clock::now();
        let root = Root {
            preamble: Preamble,
            root_version: 1,
            epoch: 1,
            genesis_nonce: random::bytes()?,
            name: text("--name", &self.name)?,
            keys: Bounded::sorted(keys).ok_or_else(|| {
                Failure::usage("ROOT", "one key stands twice, or there are more than 16", "one claim for each holder")
            })?,
            threshold: self.threshold,
            issued_at: now,
            expires_at: now.plus(u64::from(self.valid_days) * DAY_MS),
        };
        let document = Document::new(&root)
            .map_err(|error| Failure::usage("ROOT", error.to_string(), "for example three keys and --threshold 2"))?;
        files::write_document(&self.out, &document)?;
        let federation = root::federation_id(document.payload());
        let words = fingerprint("federation", "", &federation.0);
        let text = format!(
            "proposed {} for federation {} ({})\n  id {federation}\n  {words}\nnext: every root holder signs: accord federation sign {} --ring THEIR.ring",
            self.out.display(),
            self.name,
            threshold_words(root.threshold, root.keys.as_slice().len()),
            self.out.display()
        );
        Ok(Outcome::done(
            json!({ "document": self.out, "federation": federation.to_string(), "fingerprint": words }),
            text,
        ))
    }
}

fn threshold_words(threshold: u8, keys: usize) -> String {
    format!("{threshold} of {keys} must sign")
}

impl NewCatalogue {
    fn run(self) -> anyhow::Result<Outcome> {
        let source = match &self.file {
            None => SHIPPED.to_owned(),
            Some(path) => String::from_utf8_lossy(&files::read_limited(path, 512 << 10)?).into_owned(),
        };
        let catalogue = Catalogue::parse(&source).map_err(|error| {
            let failure =
                Failure::refused("CATALOGUE", format!("{:#}", anyhow::Error::new(error)), "correct the catalogue");
            match &self.file {
                Some(path) => failure.in_file(path.display().to_string()),
                None => failure,
            }
        })?;
        let text = Bounded::new(source.into_bytes())
            .ok_or_else(|| Failure::refused("CATALOGUE", "the catalogue is too long", "at most 512 KiB"))?;
        let document = Document::new(&CatalogueDocument { preamble: Preamble, text })?;
        files::write_document(&self.out, &document)?;
        let text = format!(
            "proposed catalogue {} with {} tables\n  {}",
            catalogue.id,
            catalogue.tables().len(),
            catalogue.hash
        );
        Ok(Outcome::done(json!({ "document": self.out, "id": catalogue.id, "hash": catalogue.hash.to_string() }), text))
    }
}

impl Propose {
    fn run(self) -> anyhow::Result<Outcome> {
        let (federation, root) = open_root(&self.root)?;
        let catalogue = open_document(&self.catalogue)?;
        let _: CatalogueDocument = catalogue.unverified()?;
        let before: Option<Roster> = self
            .previous
            .as_ref()
            .map(|path| open_document(path)?.unverified().map_err(anyhow::Error::new))
            .transpose()?;
        let prev_hash = self
            .previous
            .as_ref()
            .map(|path| open_document(path))
            .transpose()?
            .map_or(Hash::ZERO, |document| document.hash());
        let now = clock::now();
        let until = now.plus(u64::from(self.valid_days) * DAY_MS);
        let mut names = std::collections::BTreeMap::new();
        for path in &self.claims {
            let claim = read_claim(path)?;
            if let Some(node_id) = &claim.node_id {
                names.insert(node_id.clone(), claim.name.clone());
            }
        }
        for member in before.iter().flat_map(|before| before.members.iter()) {
            names.entry(member.node_id.clone()).or_insert_with(|| member.name.clone());
        }
        let mut members = Vec::new();
        for path in &self.member_keys {
            let document = open_document(path)?;
            let keys = member_keys::verify(&document, &federation).map_err(|error| {
                let next = "its administrators sign it (accord federation sign), its node proves possession (accord-node possess)";
                Failure::refused("MEMBER-KEYS", format!("{:#}", anyhow::Error::new(error)), next).in_file(path.display().to_string())
            })?;
            members.push(RosterMember {
                node_id: keys.node_id.clone(),
                name: match names.get(&keys.node_id) {
                    Some(name) => name.clone(),
                    None => text("member", keys.node_id.as_str())?,
                },
                state: MemberState::Active,
                roles: Bounded::new(MemberRole::ALL.to_vec()).unwrap_or_default(),
                anchor_version: keys.keys_version,
                anchor_hash: keys.hash(),
                valid_from: now,
                valid_to: until,
            });
        }
        members.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        let roster = Roster {
            preamble: Preamble,
            federation,
            root_version: root.root_version,
            epoch: root.epoch,
            roster_version: before.as_ref().map_or(0, |before| before.roster_version) + 1,
            prev_hash,
            issued_at: now,
            expires_at: until,
            catalogue_hash: catalogue.hash(),
            min_protocol: accord_protocol::PROTOCOL,
            max_protocol: accord_protocol::PROTOCOL,
            members: Bounded::new(members)
                .ok_or_else(|| Failure::refused("ROSTER", "more than 64 members", "fewer members"))?,
        };
        let document = Document::new(&roster)
            .map_err(|error| Failure::refused("ROSTER", error.to_string(), "correct the list of members"))?;
        files::write_document(&self.out, &document)?;
        let lines = explain(&document)?;
        Ok(Outcome::done(
            json!({ "document": self.out, "version": roster.roster_version, "words": lines }),
            lines.join("\n"),
        ))
    }
}

/// Says in plain words what a document contains; refuses what it cannot explain.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of document, read side by side")]
pub(crate) fn explain(document: &Document) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    match document.label() {
        Label::Root => {
            let root: Root = document.unverified()?;
            let federation = root::federation_id(document.payload());
            lines.push(format!("root document {} of federation {}", root.root_version, root.name.as_str()));
            lines.push(format!("  federation id {federation}"));
            lines.push(format!("  {}", threshold_words(root.threshold, root.keys.as_slice().len())));
            lines.extend(root.keys.iter().map(|key| format!("  root key {}", key.fingerprint("root", ""))));
            lines.push(format!("  valid until {}", root.expires_at));
        }
        Label::Roster => {
            let roster: Roster = document.unverified()?;
            lines.push(format!("roster {} (epoch {})", roster.roster_version, roster.epoch));
            for member in roster.members.iter() {
                lines.push(format!(
                    "  {} {}, keys {} {}",
                    member.node_id, member.state, member.anchor_version, member.anchor_hash
                ));
            }
            lines.push(format!("  catalogue {}", roster.catalogue_hash));
            lines.push(format!("  valid until {}", roster.expires_at));
        }
        Label::Catalogue => {
            let document: CatalogueDocument = document.unverified()?;
            let catalogue = accord_protocol::trust::read_catalogue(&document)?;
            lines.push(format!("catalogue {} with {} tables", catalogue.id, catalogue.tables().len()));
            lines.extend(
                catalogue
                    .tables()
                    .iter()
                    .map(|table| format!("  {} version {}: {}", table.name, table.version, table.title)),
            );
        }
        Label::MemberKeys => {
            let keys: MemberKeys = document.unverified()?;
            lines.push(format!("keys {} of {}", keys.keys_version, keys.node_id));
            let administrators = keys.admin_keys.as_slice();
            lines.push(format!("  administrators: {}", threshold_words(keys.admin_threshold, administrators.len())));
            let of = keys.node_id.as_str();
            for (role, list) in [
                (KeyRole::Administrator, administrators),
                (KeyRole::Tls, keys.tls_keys.as_slice()),
                (KeyRole::Sign, keys.sign_keys.as_slice()),
                (KeyRole::Log, keys.log_keys.as_slice()),
                (KeyRole::Witness, std::slice::from_ref(&keys.witness_key)),
            ] {
                lines.extend(
                    list.iter().map(|key: &PublicKey| format!("  {role} key {}", key.fingerprint(role.as_str(), of))),
                );
            }
            lines.extend(keys.addresses.iter().map(|address| format!("  reached at {}", address.as_str())));
            lines.push(format!("  valid until {}", keys.expires_at));
        }
        Label::Officers => {
            let list: Officers = document.unverified()?;
            lines.push(format!(
                "officers list {} of {} with {} cards",
                list.list_version,
                list.node_id,
                list.cards.as_slice().len()
            ));
            lines.push(format!("  valid until {}", list.expires_at));
        }
        Label::Staff => {
            let list: Staff = document.unverified()?;
            lines.push(format!("staff list {} of {}", list.list_version, list.node_id));
            let of = list.node_id.as_str();
            lines.extend(
                list.people
                    .iter()
                    .map(|person| format!("  {} {}", person.role, person.key.fingerprint(person.role.as_str(), of))),
            );
            lines.push(format!("  valid until {}", list.expires_at));
        }
        Label::KeyClaim => {
            let claim: KeyClaim = document.unverified()?;
            let of = claim.node_id.as_ref().map_or("", |member| member.as_str());
            lines.push(format!(
                "claim of {} for {}",
                claim.name.as_str(),
                if of.is_empty() { "the federation" } else { of }
            ));
            lines.extend(
                claim
                    .keys
                    .iter()
                    .map(|entry| format!("  {} key {}", entry.role, entry.key.fingerprint(entry.role.as_str(), of))),
            );
            lines.extend(claim.addresses.iter().map(|address| format!("  reached at {}", address.as_str())));
        }
        label => {
            return Err(Failure::refused(
                "UNEXPLAINED",
                format!("a document of kind {label} cannot be explained here, so it is not signed"),
                "update accord",
            )
            .into());
        }
    }
    Ok(lines)
}

impl ShowDocument {
    fn run(self) -> anyhow::Result<Outcome> {
        let document = open_document(&self.file)?;
        let mut lines = explain(&document)?;
        let signed: Vec<String> = document.signed_by().iter().map(ToString::to_string).collect();
        lines.push(format!("  {} signature(s), not checked here", signed.len()));
        let result = json!({ "kind": document.label().as_str(), "hash": document.hash().to_string(), "words": lines, "signed_by": signed });
        Ok(Outcome::done(result, lines.join("\n")))
    }
}

impl Sign {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let mut document = open_document(&self.file)?;
        let lines = explain(&document)?;
        if document.label() == Label::KeyClaim {
            let next = "a claim is signed by its own keys when it is made; put it into a keys document or a list";
            return Err(Failure::refused("CLAIM", "a claim is not signed by others", next).into());
        }
        let federation = match (document.label(), &self.root) {
            (Label::Root, _) => Hash::ZERO,
            (_, Some(root)) => open_root(root)?.0,
            (_, None) => {
                return Err(Failure::usage(
                    "ROOT",
                    "which federation is it for? name its root document",
                    "add --root root.accord",
                )
                .into());
            }
        };
        eprintln!("{}", lines.join("\n"));
        let before = document.signed_by().len();
        sign_with(&mut document, &self.ring, &federation, global)?;
        files::write_document(&self.file, &document)?;
        let added = document.signed_by().len() - before;
        let text =
            format!("signed {} ({added} new signature(s), {} in all)", self.file.display(), document.signed_by().len());
        Ok(Outcome::done(
            json!({ "document": self.file, "added": added, "signatures": document.signed_by().len(), "words": lines }),
            text,
        ))
    }
}

/// `accord member`
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Propose a member's keys document from its node's claim and its administrators' claims.
    Keys(NewMemberKeys),
}

/// `accord member keys`
#[derive(Debug, Args)]
pub(crate) struct NewMemberKeys {
    /// The federation's root document.
    #[arg(long)]
    root: PathBuf,
    /// The node's claim, from `accord-node init`.
    #[arg(long)]
    claim: PathBuf,
    /// Claims of the member's administrators.
    #[arg(long, value_delimiter = ',', required = true)]
    admins: Vec<PathBuf>,
    /// How many of them must sign what widens anything.
    #[arg(long, default_value_t = 2)]
    threshold: u8,
    /// Days until it runs out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

impl Member {
    pub(crate) fn run(self, _global: &Global) -> anyhow::Result<Outcome> {
        let Self::Keys(new) = self;
        let (federation, _) = open_root(&new.root)?;
        let claim = read_claim(&new.claim)?;
        let missing = |what: &str| {
            Failure::refused("CLAIM", format!("the claim holds no {what}"), "take the claim of `accord-node init`")
                .in_file(new.claim.display().to_string())
        };
        let key = |role: KeyRole| claim.key(role).ok_or_else(|| missing(role.as_str()));
        let node_id = claim.node_id.clone().ok_or_else(|| missing("member"))?;
        let mut admins = Vec::new();
        for path in &new.admins {
            let admin = read_claim(path)?;
            let fits = admin.node_id.as_ref() == Some(&node_id);
            let key = admin.key(KeyRole::Administrator).filter(|_| fits).ok_or_else(|| {
                Failure::refused(
                    "CLAIM",
                    format!("the claim holds no administrator key of {node_id}"),
                    "take the claim of `accord admin new`",
                )
                .in_file(path.display().to_string())
            })?;
            admins.push(key);
        }
        let now = clock::now();
        let keys = MemberKeys {
            preamble: Preamble,
            federation,
            node_id: node_id.clone(),
            keys_version: 1,
            prev_hash: Hash::ZERO,
            issued_at: now,
            expires_at: now.plus(u64::from(new.valid_days) * DAY_MS),
            admin_keys: Bounded::sorted(admins).ok_or_else(|| {
                Failure::usage(
                    "ADMINS",
                    "one administrator stands twice, or there are more than 8",
                    "one claim for each",
                )
            })?,
            admin_threshold: new.threshold,
            tls_keys: Bounded::new(vec![key(KeyRole::Tls)?]).unwrap_or_default(),
            sign_keys: Bounded::new(vec![key(KeyRole::Sign)?]).unwrap_or_default(),
            log_keys: Bounded::new(vec![key(KeyRole::Log)?]).unwrap_or_default(),
            witness_key: key(KeyRole::Witness)?,
            addresses: claim.addresses.clone(),
            officers_version_min: 0,
        };
        let document = Document::new(&keys)
            .map_err(|error| Failure::usage("MEMBER-KEYS", error.to_string(), "two administrators, threshold 2"))?;
        files::write_document(&new.out, &document)?;
        let lines = explain(&document)?;
        Ok(Outcome::done(json!({ "document": new.out, "member": node_id.as_str(), "words": lines }), lines.join("\n")))
    }
}
