//! `accord leaver`: everything that a person still holds, and each removal done or prepared in one go.

use std::path::PathBuf;

use accord_protocol::{
    id::Hash,
    key::PublicKey,
    member_keys::KeyRole,
    signed::Document,
    suspend::{Target, Way},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Global,
    lists::{Ground, propose},
    member::without,
    suspend::suspension,
};
use crate::{
    output::{Failure, Outcome, table},
    trusting::{desk::With, signing::Signing},
};

/// `accord leaver`
#[derive(Debug, Args)]
pub(crate) struct Leaver {
    /// The person's name, as in the claims.
    name: String,
    /// Only list what they hold; sign nothing.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    with: With,
    /// The member. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
    #[command(flatten)]
    signing: Signing,
    /// Folder for the documents.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

/// For how long the keys without them are valid.
const VALID_DAYS: u16 = 365;

/// What a person holds.
#[derive(Debug, Default)]
struct Holds {
    cards: Vec<Hash>,
    staff: Vec<(KeyRole, PublicKey)>,
    administrator: Vec<PublicKey>,
    root: Vec<PublicKey>,
}

impl Leaver {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.with, self.member.as_deref(), &[], global)?;
        if ground.book.named(&self.name).is_empty() {
            let message = format!("nobody called `{}` is known in this profile", self.name);
            let next = format!("known are: {}", ground.book.names().join(", "));
            return Err(Failure::usage("NAME", message, next).into());
        }
        let holds = holds(&ground, &self.name);
        let rows = holds.rows(&ground);
        let held: Vec<Value> = rows
            .iter()
            .map(|(what, how, need, _)| json!({ "what": what, "removal": how, "signatures": need }))
            .collect();
        let cells: Vec<Vec<String>> =
            rows.iter().map(|(what, how, need, _)| vec![what.clone(), how.clone(), need.to_string()]).collect();
        let mut text = if rows.is_empty() {
            format!("{} holds nothing at {} any more\n", self.name, ground.member)
        } else {
            table(&["holds", "removal", "signatures needed"].map(str::to_owned), &cells, &[])
        };
        if self.list || rows.is_empty() {
            return Ok(Outcome::done(json!({ "name": self.name, "holds": held, "documents": [] }), text));
        }
        // One file for each number of signatures that are needed, so that what one administrator may do is done at once.
        let now_at_once = at_once(&ground, &holds, &self.name)?;
        let later = with_others(&ground, &holds)?;
        let stem = self.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let mut files = Vec::new();
        let mut complete = true;
        for (documents, suffix) in [(now_at_once, "now"), (later, "to-sign")] {
            if documents.is_empty() {
                continue;
            }
            let out = self.out.join(format!("leaver-{stem}-{suffix}.accord"));
            let made = propose(&ground, documents, Vec::new(), (&self.signing, Some(out.clone())), global)?;
            complete &=
                made.result.as_ref().and_then(|result| result.get("complete")).and_then(Value::as_bool) == Some(true);
            text += &format!("\n{}", made.text);
            files.push(json!({ "file": out, "result": made.result }));
        }
        for (what, how, ..) in rows.iter().filter(|(.., done)| !done) {
            text += &format!("\nnot done here: {what}: {how}\n");
        }
        let left_over = rows.iter().any(|(.., done)| !done);
        let mut outcome = Outcome::done(
            json!({ "name": self.name, "holds": held, "documents": files, "complete": complete && !left_over }),
            text,
        );
        outcome.exit = u8::from(left_over);
        Ok(outcome)
    }
}

fn holds(ground: &Ground, name: &str) -> Holds {
    let mut holds = Holds::default();
    let people = ground.book.named(name);
    let listed: Vec<Hash> = ground.listed_cards().into_iter().map(|(hash, _)| hash).collect();
    let is_theirs = |key: &PublicKey| people.iter().any(|person| person.key == key.to_string());
    holds.cards = people.iter().filter_map(|person| person.card_hash()).filter(|hash| listed.contains(hash)).collect();
    // An officer whose card has another name in the book is found by the key.
    for (hash, card) in ground.listed_cards() {
        if card.is_some_and(|card| is_theirs(&card.key)) && !holds.cards.contains(&hash) {
            holds.cards.push(hash);
        }
    }
    let staff = ground.desk.staff(&ground.keys);
    let of_staff = staff.iter().flat_map(|list| list.people.iter());
    holds.staff = of_staff.filter(|person| is_theirs(&person.key)).map(|person| (person.role, person.key)).collect();
    holds.administrator = ground.keys.admin_keys.iter().filter(|key| is_theirs(key)).copied().collect();
    holds.root = ground.desk.root().keys.iter().filter(|key| is_theirs(key)).copied().collect();
    holds
}

impl Holds {
    // What, how it is taken away, how many signatures that needs, and whether this command does it.
    fn rows(&self, ground: &Ground) -> Vec<(String, String, usize, bool)> {
        let mut rows = Vec::new();
        for card in &self.cards {
            rows.push((format!("officer's card {card}"), "suspended at once, and off the list".to_owned(), 1, true));
        }
        for (role, key) in &self.staff {
            let print = key.fingerprint(role.as_str(), ground.member.as_str());
            rows.push((format!("{role} {print}"), "off the staff list".to_owned(), 1, true));
        }
        for key in &self.administrator {
            let print = key.fingerprint("administrator", ground.member.as_str());
            let need = usize::from(ground.keys.admin_threshold);
            rows.push((format!("administrator {print}"), "out of the keys".to_owned(), need, true));
        }
        for key in &self.root {
            let print = key.fingerprint("root", "");
            let need = usize::from(ground.desk.root().threshold);
            rows.push((
                format!("root key {print}"),
                "the root holders: accord root propose --remove".to_owned(),
                need,
                false,
            ));
        }
        rows
    }
}

// What one administrator may do.
fn at_once(ground: &Ground, holds: &Holds, name: &str) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for card in &holds.cards {
        let reason = format!("{name} has left");
        documents.push(suspension(ground, (Target::Officer, &card.to_string()), Way::Stops, (&reason, 30))?);
    }
    let keys: Vec<PublicKey> = holds.staff.iter().map(|(_, key)| *key).collect();
    documents.extend(ground.without(&holds.cards, &keys)?);
    Ok(documents)
}

// What needs others.
fn with_others(ground: &Ground, holds: &Holds) -> anyhow::Result<Vec<Document>> {
    if holds.administrator.is_empty() {
        return Ok(Vec::new());
    }
    without(ground, &holds.administrator, None, VALID_DAYS)
}
