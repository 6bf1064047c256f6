//! `accord member` and `accord admin`: what a member's administrators say of their own keys, addresses and administrators.

use std::path::PathBuf;

use accord_edge::{clock, files};
use accord_protocol::{
    bundle::Bundle,
    codec::Bounded,
    key::{PublicKey, fingerprint},
    member_keys::{KeyRole, MemberKeys},
    signed::{Document, Label, Verified},
    time::DAY_MS,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    federation::text,
    lists::{Ground, propose},
    member_id,
    people::{NewPerson, read_claim, read_claims},
    propose::{bounded, document, shown},
    reissue::reissued,
};
use crate::{
    output::{Failure, Outcome, table},
    trusting::{
        desk::{Desk, With},
        signers::first_groups,
        signing::Signing,
        words::{keys_fingerprint, listed_keys},
    },
};

/// `accord member`
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Make the file with which a new member joins (`accord join`).
    Invite(InviteMember),
    /// A member's keys: show them; go over to new ones.
    #[command(subcommand)]
    Keys(Keys),
    /// Where partners reach the node.
    #[command(subcommand)]
    Address(Address),
}

/// `accord member invite`
#[derive(Debug, Args)]
pub(crate) struct InviteMember {
    /// The member's name on the roster.
    member: String,
    /// What people call the agency.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    with: With,
    /// Where the file is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord member keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Show a member's keys, and the fingerprint to read out.
    Show(ShowKeys),
    /// List new keys of the node beside those in use, from the claim of `accord key rotate`.
    Rotate(Rotate),
    /// Take out the keys that are no longer in use.
    Finish(Edit),
    /// The same keys for longer.
    Renew(Edit),
}

/// `accord member address`
#[derive(Debug, Subcommand)]
pub(crate) enum Address {
    /// Say where partners reach the node from now on.
    Set(SetAddress),
}

/// `accord member keys show`
#[derive(Debug, Args)]
pub(crate) struct ShowKeys {
    /// The member. Default: that of the profile.
    member: Option<String>,
    #[command(flatten)]
    with: With,
}

/// What every change of a keys document needs.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    with: With,
    /// The member. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
    /// Days until it runs out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    #[command(flatten)]
    signing: Signing,
    /// Where the document is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `accord member keys rotate`
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The claim to the new keys.
    claim: PathBuf,
    #[command(flatten)]
    edit: Edit,
}

/// `accord member address set`
#[derive(Debug, Args)]
pub(crate) struct SetAddress {
    /// IP:PORT, at most four.
    #[arg(required = true)]
    address: Vec<String>,
    #[command(flatten)]
    edit: Edit,
}

/// `accord admin`
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make an administrator's key.
    New(NewPerson),
    /// Add administrators.
    Add(AddAdmin),
    /// Take an administrator out.
    Remove(RemoveAdmin),
    /// Show the administrators.
    List(ShowKeys),
}

/// `accord admin add`
#[derive(Debug, Args)]
pub(crate) struct AddAdmin {
    /// Claims of the new administrators.
    #[arg(required = true)]
    claims: Vec<PathBuf>,
    /// How many must sign what widens anything, from now on.
    #[arg(long)]
    threshold: Option<u8>,
    #[command(flatten)]
    edit: Edit,
}

/// `accord admin remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveAdmin {
    /// Whom: by name, or the first two groups of the fingerprint.
    #[arg(required = true)]
    who: Vec<String>,
    /// How many must sign what widens anything, from now on.
    #[arg(long)]
    threshold: Option<u8>,
    #[command(flatten)]
    edit: Edit,
}

impl Member {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Invite(invite) => invite.run(global),
            Self::Keys(Keys::Show(show)) => show.run(global),
            Self::Keys(Keys::Rotate(rotate)) => rotate.run(global),
            Self::Keys(Keys::Finish(edit)) => edit.run(&[], global, finish),
            Self::Keys(Keys::Renew(edit)) => edit.run(&[], global, |_, _| Ok(())),
            Self::Address(Address::Set(set)) => {
                let addresses = set.address;
                set.edit.run(&[], global, |_, keys| {
                    let addresses =
                        addresses.iter().map(|one| text("the address", one)).collect::<anyhow::Result<Vec<_>>>()?;
                    let too_many = || Failure::usage("ADDRESS", "more than four addresses", "name at most four");
                    keys.addresses = Bounded::new(addresses).ok_or_else(too_many)?;
                    Ok(())
                })
            }
        }
    }
}

impl Admin {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(person) => person.make(KeyRole::Administrator, global),
            Self::Add(add) => add.run(global),
            Self::Remove(remove) => remove.run(global),
            Self::List(show) => show.run(global),
        }
    }
}

impl InviteMember {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let member = member_id(&self.member)?;
        let name: accord_protocol::codec::Text<64> = text("--name", &self.name)?;
        let desk = Desk::open(&self.with, global)?;
        let federation = *desk.federation();
        let is_root = |document: &&Document| document.label() == Label::Root;
        let roots: Vec<Document> = desk.documents.iter().filter(is_root).cloned().collect();
        let note = format!(
            "for = \"member\"\nmember = \"{member}\"\nname = \"{}\"\n",
            name.as_str().replace(['"', '\\'], "'")
        );
        let bundle = Bundle {
            held: Bounded::new(roots).unwrap_or_default(),
            note: Bounded::new(note.into_bytes()).unwrap_or_default(),
            ..Bundle::default()
        };
        files::write_bundle(&self.out, &bundle)?;
        let print = fingerprint("federation", "", &federation.0);
        let text = format!(
            "wrote {}, an invitation for {member} to federation {}\n  read out {print}\nnext, at the member: accord-node init, then accord join {}\n",
            self.out.display(),
            desk.root().name.as_str(),
            self.out.display()
        );
        let result = json!({ "file": self.out, "member": member.as_str(), "federation": federation.to_string(), "fingerprint": print });
        Ok(Outcome::done(result, text))
    }
}

impl ShowKeys {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.with, self.member.as_deref(), &[], global)?;
        let (keys, of) = (&ground.keys, ground.member.as_str());
        let print = keys_fingerprint(&keys.hash(), of);
        let mut rows = Vec::new();
        let mut listed: Vec<Value> = Vec::new();
        // People by their names; the document has them in the order of their keys.
        let mut in_order = listed_keys(keys);
        in_order.sort_by_key(|(role, key)| (*role, ground.book.name_of(key).map(str::to_owned)));
        for (role, key) in in_order {
            let key_print = key.fingerprint(role.as_str(), of);
            let name = ground.book.name_of(&key);
            rows.push(vec![
                role.to_string(),
                usage(keys, role, &key).to_owned(),
                key_print.clone(),
                name.unwrap_or("").to_owned(),
            ]);
            listed.push(json!({ "role": role.as_str(), "use": usage(keys, role, &key), "fingerprint": key_print, "name": name }));
        }
        let addresses: Vec<&str> = keys.addresses.iter().map(accord_protocol::codec::Text::as_str).collect();
        let text = format!(
            "keys {} of {of}, valid until {}, {} of {} administrators sign\n  read out {print}\n  reached at {}\n\n{}",
            keys.keys_version,
            keys.expires_at.date(),
            keys.admin_threshold,
            keys.admin_keys.as_slice().len(),
            addresses.join(", "),
            table(&["key", "use", "fingerprint", "name"].map(str::to_owned), &rows, &[])
        );
        let result = json!({
            "member": of, "version": keys.keys_version, "hash": keys.hash().to_string(), "fingerprint": print, "keys": listed,
            "addresses": addresses, "administrators": { "keys": keys.admin_keys.as_slice().len(), "threshold": keys.admin_threshold },
            "expires_at": keys.expires_at.to_string(),
        });
        Ok(Outcome::done(result, text))
    }
}

fn usage(keys: &MemberKeys, role: KeyRole, key: &PublicKey) -> &'static str {
    let of_role = match role {
        KeyRole::Tls => keys.tls_keys.as_slice(),
        KeyRole::Sign => keys.sign_keys.as_slice(),
        KeyRole::Log => keys.log_keys.as_slice(),
        _ => return "",
    };
    match of_role {
        [_, next] if next == key => "next",
        _ => "current",
    }
}

impl Edit {
    /// The next version of the keys, changed and signed.
    fn run(
        self,
        claims: &[PathBuf],
        global: &Global,
        change: impl FnOnce(&Ground, &mut MemberKeys) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.with, self.member.as_deref(), claims, global)?;
        let proposed = next_version(&ground, self.valid_days, change)?;
        propose(&ground, vec![proposed], Vec::new(), (&self.signing, self.out), global)
    }
}

/// The next version of a member's keys, with a change.
pub(super) fn next_version(
    ground: &Ground,
    valid_days: u16,
    change: impl FnOnce(&Ground, &mut MemberKeys) -> anyhow::Result<()>,
) -> anyhow::Result<Document> {
    let before: &Verified<MemberKeys> = &ground.keys;
    let now = clock::now();
    let mut keys = before.get().clone();
    keys.keys_version += 1;
    keys.prev_hash = before.hash();
    keys.issued_at = now;
    keys.expires_at = now.plus(u64::from(valid_days) * DAY_MS);
    change(ground, &mut keys)?;
    document(&keys, "two administrators at least, and fewer must sign than there are (or 2 of 2)")
}

impl Rotate {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let claim = read_claim(&self.claim)?;
        let file = shown(&self.claim);
        let claims = [self.claim];
        self.edit.run(&claims, global, |ground, keys| {
            if claim.node_id.as_ref() != Some(&ground.member) {
                let message = format!("the claim is for another member than {}", ground.member);
                return Err(Failure::refused("CLAIM", message, "take the claim of your own node").in_file(file).into());
            }
            for entry in claim.keys.iter() {
                let list = match entry.role {
                    KeyRole::Tls => &mut keys.tls_keys,
                    KeyRole::Sign => &mut keys.sign_keys,
                    KeyRole::Log => &mut keys.log_keys,
                    KeyRole::Witness => {
                        keys.witness_key = entry.key;
                        continue;
                    }
                    role => {
                        let message = format!("a {role} key is not one of the node's");
                        return Err(Failure::refused("CLAIM", message, "take the claim of `accord key rotate`")
                            .in_file(file)
                            .into());
                    }
                };
                let mut all = list.as_slice().to_vec();
                // A claim names what is listed already, too: those keys stay.
                if all.contains(&entry.key) {
                    continue;
                }
                all.push(entry.key);
                *list = Bounded::new(all).ok_or_else(|| {
                    let message = format!("two {} keys are listed already", entry.role);
                    Failure::refused("ROTATION", message, "end the rotation before first: accord member keys finish")
                })?;
            }
            if keys.all_keys() == ground.keys.all_keys() {
                let message = "the claim holds no key that is new";
                return Err(Failure::usage("CLAIM", message, "make the new keys first: accord key rotate").into());
            }
            Ok(())
        })
    }
}

// The last of each role stays.
fn finish(_: &Ground, keys: &mut MemberKeys) -> anyhow::Result<()> {
    let mut ended = false;
    for list in [&mut keys.tls_keys, &mut keys.sign_keys, &mut keys.log_keys] {
        if let [_, next] = list.as_slice() {
            *list = Bounded::new(vec![*next]).unwrap_or_default();
            ended = true;
        }
    }
    if ended {
        return Ok(());
    }
    let next = "a rotation begins with `accord key rotate` and `accord member keys rotate`";
    Err(Failure::usage("ROTATION", "no rotation is under way: one key of each role is listed", next).into())
}

impl AddAdmin {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (paths, threshold) = (self.claims, self.threshold);
        self.edit.run(&paths, global, |ground, keys| {
            let claims = read_claims(&paths, &ground.member, &[KeyRole::Administrator])?;
            let mut all = keys.admin_keys.as_slice().to_vec();
            all.extend(claims.iter().flat_map(|claim| claim.keys.iter()).map(|entry| entry.key));
            keys.admin_keys = bounded(all, "administrators")?;
            keys.admin_threshold = threshold.unwrap_or(keys.admin_threshold);
            Ok(())
        })
    }
}

impl RemoveAdmin {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.edit.with, self.edit.member.as_deref(), &[], global)?;
        let gone = self.who.iter().map(|who| administrator(&ground, who)).collect::<anyhow::Result<Vec<_>>>()?;
        let documents = without(&ground, &gone, self.threshold, self.edit.valid_days)?;
        propose(&ground, documents, Vec::new(), (&self.edit.signing, self.edit.out), global)
    }
}

/// An administrator's key, by name or the first two groups of the fingerprint.
fn administrator(ground: &Ground, who: &str) -> anyhow::Result<PublicKey> {
    let of = ground.member.as_str();
    let print = |key: &PublicKey| first_groups(&key.fingerprint("administrator", of));
    let is_meant = |key: &&PublicKey| {
        ground.book.name_of(key).is_some_and(|name| name.eq_ignore_ascii_case(who)) || print(key) == who
    };
    ground.keys.admin_keys.iter().find(is_meant).copied().ok_or_else(|| {
        let known: Vec<String> = ground
            .keys
            .admin_keys
            .iter()
            .map(|key| format!("{} ({})", ground.book.name_of(key).unwrap_or("name unknown here"), print(key)))
            .collect();
        let message = format!("`{who}` is no administrator of {of}");
        Failure::usage("ADMINISTRATOR", message, format!("administrators: {}", known.join(", "))).into()
    })
}

/// The next version of the keys without administrators, and what counts only by their signatures once more.
pub(super) fn without(
    ground: &Ground,
    gone: &[PublicKey],
    threshold: Option<u8>,
    valid_days: u16,
) -> anyhow::Result<Vec<Document>> {
    let keys = next_version(ground, valid_days, |_, keys| without_administrators(keys, gone, threshold))?;
    let after: MemberKeys = keys.unverified()?;
    let mut documents = vec![keys];
    documents.extend(reissued(ground, after.admin_keys.as_slice(), after.admin_threshold)?);
    Ok(documents)
}

// Takes administrators out; never so many that nobody could go on.
fn without_administrators(keys: &mut MemberKeys, gone: &[PublicKey], threshold: Option<u8>) -> anyhow::Result<()> {
    let left: Vec<PublicKey> = keys.admin_keys.iter().filter(|key| !gone.contains(key)).copied().collect();
    let threshold = threshold.unwrap_or(keys.admin_threshold);
    if left.len() < 2 || left.len() < usize::from(threshold) {
        let message = format!(
            "{} administrators would be left, and {threshold} must sign: nobody could change anything any more",
            left.len()
        );
        let next = "add another administrator first (accord admin add), or lower --threshold, to no less than 2";
        return Err(Failure::refused("LAST-SIGNERS", message, next).into());
    }
    keys.admin_keys = bounded(left, "administrators")?;
    keys.admin_threshold = threshold;
    Ok(())
}
