//! `accord officer` and `accord staff`: the lists of a member's people, which two administrators widen and one shortens.

use std::path::PathBuf;

use accord_edge::{clock, random};
use accord_protocol::{
    codec::Bounded,
    id::{Hash, NodeId, OfficerId},
    member_keys::{KeyRole, MemberKeys},
    officers::{Card, Officers, Purpose, Staff, StaffMember},
    policy::PolicyDocument,
    signed::{Document, Label, Preamble, Verified},
    suspend::Target,
    time::{DAY_MS, UnixMs},
};
use clap::{Args, Subcommand};

use super::{
    Global,
    enrol::Invite,
    listing,
    people::{NewPerson, as_bundles, read_claims},
    propose::{Proposal, bounded, document},
    suspend::{Stop, lift, stop},
};
use crate::{
    output::{Failure, Outcome},
    trusting::{
        book::{Book, card_hash},
        desk::{Desk, With},
        signers::first_groups,
        signing::Signing,
    },
};

/// `accord officer`
#[derive(Debug, Subcommand)]
pub(crate) enum Officer {
    /// Make the file with which an officer makes a key on the officer's own machine (`accord enrol`).
    Invite(Invite),
    /// Make an officer's key by hand, on the officer's own machine.
    New(NewPerson),
    /// Add officers to the member's list, with a card for each.
    Add(AddOfficer),
    /// Give officers a new card for the same key.
    Renew(RenewOfficer),
    /// Stop an officer at once, everywhere: one administrator is enough.
    Suspend(SuspendOfficer),
    /// Allow a suspended officer again: as many administrators as widen anything.
    Lift(SuspendOfficer),
    /// Take officers off the list: one administrator is enough.
    Remove(RemovePeople),
    /// Show the officers.
    List(ListOf),
}

/// `accord staff`
#[derive(Debug, Subcommand)]
pub(crate) enum StaffCommand {
    /// Make the key of an operator, approver or auditor.
    New(NewStaff),
    /// Add people to the node's staff list.
    Add(AddPeople),
    /// Take people off the list: one administrator is enough.
    Remove(RemovePeople),
    /// Show the staff.
    List(ListOf),
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

/// What every change of a member's lists, and a topic, needs.
#[derive(Debug, Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(super) with: With,
    /// The member. Default: that of the profile.
    #[arg(long)]
    pub(super) member: Option<String>,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Where the file is written. Default: a name made of what it is.
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

/// `accord staff add`
#[derive(Debug, Args)]
pub(crate) struct AddPeople {
    /// Claims of the people to add.
    #[arg(required = true)]
    claims: Vec<PathBuf>,
    /// Days until it runs out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    #[command(flatten)]
    change: Change,
}

/// `accord officer add`
#[derive(Debug, Args)]
pub(crate) struct AddOfficer {
    #[command(flatten)]
    add: AddPeople,
    /// What the officers may ask for.
    #[arg(long, value_delimiter = ',', default_value = "strategic-analysis")]
    purposes: Vec<String>,
}

/// `accord officer renew`
#[derive(Debug, Args)]
pub(crate) struct RenewOfficer {
    /// Officers, by name or pseudonym.
    #[arg(required = true)]
    who: Vec<String>,
    /// Days until the new cards run out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    /// What they may ask for from now on. Default: as before.
    #[arg(long, value_delimiter = ',')]
    purposes: Vec<String>,
    #[command(flatten)]
    change: Change,
}

/// `accord officer suspend` and `lift`
#[derive(Debug, Args)]
pub(crate) struct SuspendOfficer {
    /// The officer, by name or pseudonym.
    who: String,
    #[command(flatten)]
    stop: Stop,
}

/// `accord officer remove`, `accord staff remove`
#[derive(Debug, Args)]
pub(crate) struct RemovePeople {
    /// Whom: by name, pseudonym, or the first two groups of the fingerprint.
    #[arg(required = true)]
    who: Vec<String>,
    #[command(flatten)]
    change: Change,
}

/// `accord officer list`, `accord staff list`
#[derive(Debug, Args)]
pub(crate) struct ListOf {
    #[command(flatten)]
    pub(super) with: With,
    /// The member. Default: that of the profile.
    #[arg(long)]
    pub(super) member: Option<String>,
}

/// The roles of staff.
pub(super) const STAFF_ROLES: [KeyRole; 3] = [KeyRole::Operator, KeyRole::Approver, KeyRole::Auditor];

impl Officer {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Invite(invite) => invite.run(global),
            Self::New(person) => person.make(KeyRole::Officer, global),
            Self::Add(add) => add.run(global),
            Self::Renew(renew) => renew.run(global),
            Self::Suspend(one) => one.run(global, stop),
            Self::Lift(one) => one.run(global, lift),
            Self::Remove(remove) => remove_officers(&remove, global),
            Self::List(list) => listing::officers(&list, global),
        }
    }
}

impl StaffCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => {
                let role =
                    KeyRole::from_word(&new.role).filter(|role| STAFF_ROLES.contains(role)).ok_or_else(|| {
                        let message = format!("`{}` is no staff role", new.role);
                        Failure::usage("ROLE", message, "operator, approver or auditor")
                    })?;
                new.person.make(role, global)
            }
            Self::Add(add) => add_staff(&add, global),
            Self::Remove(remove) => remove_staff(&remove, global),
            Self::List(list) => listing::staff(&list, global),
        }
    }
}

/// A member's lists as they are, and whose.
pub(super) struct Ground {
    pub(super) desk: Desk,
    pub(super) member: NodeId,
    pub(super) keys: Verified<MemberKeys>,
    pub(super) book: Book,
    pub(super) now: UnixMs,
}

impl Ground {
    /// The lists of a member, with claims beside them.
    pub(super) fn open(with: &With, member: Option<&str>, claims: &[PathBuf], global: &Global) -> anyhow::Result<Self> {
        let desk = Desk::open_beside(with, &as_bundles(claims)?, global)?;
        let member = desk.member(member)?;
        let keys = desk.keys(&member)?;
        let mut book = Book::of_profile(desk.profile.as_ref().map(|profile| profile.dir.as_path()))?;
        book.learn(&desk.claims, &desk.cards);
        Ok(Self { desk, member, keys, book, now: clock::now() })
    }

    /// The next version of the officers list, with these cards.
    pub(super) fn officers_after(&self, cards: Vec<Hash>, until: Option<UnixMs>) -> anyhow::Result<Document> {
        let before = self.desk.officers(&self.keys);
        let least = self.keys.officers_version_min.max(1);
        let list = Officers {
            preamble: Preamble,
            federation: *self.desk.federation(),
            node_id: self.member.clone(),
            list_version: before.as_ref().map_or(least, |list| list.list_version + 1),
            prev_hash: before.as_ref().map_or(Hash::ZERO, Verified::hash),
            issued_at: self.now,
            // A list that is shortened by one administrator lives no longer than the one before.
            expires_at: until.or(before.map(|list| list.expires_at)).unwrap_or(self.now),
            cards: bounded(cards, "officers")?,
        };
        document(&list, "remove some first, or choose fewer days")
    }

    /// The next version of the staff list, with these people.
    pub(super) fn staff_after(&self, people: Vec<StaffMember>, until: Option<UnixMs>) -> anyhow::Result<Document> {
        let before = self.desk.staff(&self.keys);
        let too_many = || Failure::refused("STAFF", "too many people", "remove some first");
        let list = Staff {
            preamble: Preamble,
            federation: *self.desk.federation(),
            node_id: self.member.clone(),
            list_version: before.as_ref().map_or(0, |list| list.list_version) + 1,
            prev_hash: before.as_ref().map_or(Hash::ZERO, Verified::hash),
            issued_at: self.now,
            expires_at: until.or(before.map(|list| list.expires_at)).unwrap_or(self.now),
            people: Bounded::new(people).ok_or_else(too_many)?,
        };
        document(&list, "one key for each person, and at most 400 days")
    }

    fn propose(
        mut self,
        proposed: Document,
        cards: Vec<Card>,
        change: &Change,
        global: &Global,
    ) -> anyhow::Result<Outcome> {
        // What is proposed is explained like what others propose: by the cards that are at hand.
        self.desk.cards.extend(cards.iter().cloned());
        propose(&self, vec![proposed], cards, (&change.signing, change.out.clone()), global)
    }

    /// The cards on the list in force, with what is known of each.
    pub(super) fn listed_cards(&self) -> Vec<(Hash, Option<Card>)> {
        let hashes: Vec<Hash> =
            self.desk.officers(&self.keys).map(|list| list.cards.as_slice().to_vec()).unwrap_or_default();
        let find = |hash: &Hash| self.desk.cards.iter().find(|card| card_hash(card) == Some(*hash)).cloned();
        hashes.into_iter().map(|hash| (hash, find(&hash))).collect()
    }

    /// The listed cards of an officer, by name, pseudonym or the first groups of the fingerprint.
    pub(super) fn cards_of(&self, who: &str) -> anyhow::Result<Vec<(Hash, Option<Card>)>> {
        let people = self.book.named(who);
        let by_name: Vec<Hash> = people.iter().filter_map(|person| person.card_hash()).collect();
        let is_meant = |(hash, card): &(Hash, Option<Card>)| {
            by_name.contains(hash)
                || hash.to_string() == who
                || card.as_ref().is_some_and(|card| {
                    // A renewed officer has several cards for one key: whoever is meant is meant with all of them.
                    people.iter().any(|person| person.key == card.key.to_string())
                        || card.officer_id.to_string().starts_with(who) && who.len() >= 8
                        || first_groups(&card.key.fingerprint("officer", self.member.as_str())) == who
                })
        };
        let found: Vec<_> = self.listed_cards().into_iter().filter(is_meant).collect();
        if found.is_empty() {
            let message =
                format!("no officer `{who}` is on the list of {} with a card that is known here", self.member);
            let known = self.listed_cards().iter().map(|(hash, _)| self.named(hash)).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage("OFFICER", message, format!("on the list: {known}")).into());
        }
        Ok(found)
    }

    /// An officer's name, else the card's hash.
    pub(super) fn named(&self, card: &Hash) -> String {
        self.book.name_of_card(card).map_or_else(|| card.to_string(), str::to_owned)
    }

    fn without_officers(&self, cards: &[Hash]) -> anyhow::Result<Document> {
        let left = self.listed_cards().into_iter().map(|(hash, _)| hash).filter(|hash| !cards.contains(hash));
        self.officers_after(left.collect(), None)
    }

    fn without_staff(&self, keys: &[accord_protocol::key::PublicKey]) -> anyhow::Result<Document> {
        let people = self.desk.staff(&self.keys).map(|list| list.people.as_slice().to_vec()).unwrap_or_default();
        let left: Vec<StaffMember> = people.iter().filter(|person| !keys.contains(&person.key)).copied().collect();
        if !left.iter().any(|person| person.role == KeyRole::Operator) {
            let message = "the last operator cannot be taken out: nobody could hand documents to the node any more";
            return Err(
                Failure::refused("LAST-OPERATOR", message, "add another operator first: accord staff add").into()
            );
        }
        self.staff_after(left, None)
    }

    /// The lists without a person: officers and staff, where the person is on them.
    pub(super) fn without(
        &self,
        cards: &[Hash],
        keys: &[accord_protocol::key::PublicKey],
    ) -> anyhow::Result<Vec<Document>> {
        let mut documents = Vec::new();
        if !cards.is_empty() {
            documents.push(self.without_officers(cards)?);
        }
        if !keys.is_empty() {
            documents.push(self.without_staff(keys)?);
        }
        Ok(documents)
    }
}

/// Proposes documents of one member, with its keys and lists beside them.
pub(super) fn propose(
    ground: &Ground,
    documents: Vec<Document>,
    cards: Vec<Card>,
    (signing, out): (&Signing, Option<PathBuf>),
    global: &Global,
) -> anyhow::Result<Outcome> {
    let of = ground.member.clone();
    let own = move |document: &Document| match document.label() {
        Label::MemberKeys => document.unverified::<MemberKeys>().is_ok_and(|keys| keys.node_id == of),
        Label::Officers => document.unverified::<Officers>().is_ok_and(|list| list.node_id == of),
        Label::Staff => document.unverified::<Staff>().is_ok_and(|list| list.node_id == of),
        Label::Policy => document.unverified::<PolicyDocument>().is_ok_and(|policy| policy.node_id == of),
        // What a keys document is anchored in.
        Label::Roster | Label::Catalogue => true,
        _ => false,
    };
    let has_roster = ground.desk.trust.is_some();
    let wanted = move |document: &Document| {
        // The roster says who is a member; it holds together only with the keys of all members.
        own(document) || (has_roster && document.label() == Label::MemberKeys)
    };
    Proposal { desk: &ground.desk, documents, wanted: &wanted, beside: Vec::new(), cards, out }.sign(signing, global)
}

pub(super) fn purposes(words: &[String]) -> anyhow::Result<Bounded<Purpose, 16>> {
    let mut all = Vec::new();
    for word in words {
        all.push(Purpose::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
            Failure::usage("PURPOSE", format!("`{word}` is not a purpose"), format!("purposes: {}", known.join(", ")))
        })?);
    }
    bounded(all, "purposes")
}

impl AddOfficer {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let add = &self.add;
        let ground = Ground::open(&add.change.with, add.change.member.as_deref(), &add.claims, global)?;
        let claims = read_claims(&add.claims, &ground.member, &[KeyRole::Officer])?;
        let purposes = purposes(&self.purposes)?;
        let until = ground.now.plus(u64::from(add.valid_days) * DAY_MS);
        let mut cards = Vec::new();
        for entry in claims.iter().flat_map(|claim| claim.keys.iter()) {
            cards.push(Card {
                officer_id: OfficerId(random::bytes()?),
                key: entry.key,
                purposes: purposes.clone(),
                valid_from: ground.now,
                valid_to: until,
            });
        }
        let mut hashes: Vec<Hash> = ground.listed_cards().into_iter().map(|(hash, _)| hash).collect();
        hashes.extend(cards.iter().filter_map(card_hash));
        let list = ground.officers_after(hashes, Some(until))?;
        ground.propose(list, cards, &add.change, global)
    }
}

impl RenewOfficer {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.change.with, self.change.member.as_deref(), &[], global)?;
        let until = ground.now.plus(u64::from(self.valid_days) * DAY_MS);
        let mut hashes: Vec<Hash> = ground.listed_cards().into_iter().map(|(hash, _)| hash).collect();
        let mut cards = Vec::new();
        for who in &self.who {
            let latest =
                ground.cards_of(who)?.into_iter().filter_map(|(_, card)| card).max_by_key(|card| card.valid_to);
            let before = latest.ok_or_else(|| {
                let message = format!("the card of `{who}` is not at hand, so it cannot be renewed");
                Failure::refused("CARD", message, "name the file that holds it: --with FILE")
            })?;
            let purposes = if self.purposes.is_empty() { before.purposes.clone() } else { purposes(&self.purposes)? };
            // The card before stays on the list until it runs out, so that no question fails in between.
            let card = Card { purposes, valid_from: ground.now, valid_to: until, ..before };
            hashes.extend(card_hash(&card));
            cards.push(card);
        }
        let list = ground.officers_after(hashes, Some(until))?;
        ground.propose(list, cards, &self.change, global)
    }
}

impl SuspendOfficer {
    fn run(
        self,
        global: &Global,
        act: impl Fn(&Ground, &[(Target, String)], &Stop, &Global) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.stop.with, self.stop.member.as_deref(), &[], global)?;
        let cards = ground.cards_of(&self.who)?;
        let subjects: Vec<_> = cards.into_iter().map(|(hash, _)| (Target::Officer, hash.to_string())).collect();
        act(&ground, &subjects, &self.stop, global)
    }
}

fn remove_officers(remove: &RemovePeople, global: &Global) -> anyhow::Result<Outcome> {
    let ground = Ground::open(&remove.change.with, remove.change.member.as_deref(), &[], global)?;
    let mut gone = Vec::new();
    for who in &remove.who {
        gone.extend(ground.cards_of(who)?.into_iter().map(|(hash, _)| hash));
    }
    let list = ground.without_officers(&gone)?;
    ground.propose(list, Vec::new(), &remove.change, global)
}

fn remove_staff(remove: &RemovePeople, global: &Global) -> anyhow::Result<Outcome> {
    let ground = Ground::open(&remove.change.with, remove.change.member.as_deref(), &[], global)?;
    let people = ground.desk.staff(&ground.keys).map(|list| list.people.as_slice().to_vec()).unwrap_or_default();
    let mut gone = Vec::new();
    for who in &remove.who {
        let is_meant = |person: &&StaffMember| {
            let print = person.key.fingerprint(person.role.as_str(), ground.member.as_str());
            ground.book.name_of(&person.key).is_some_and(|name| name.eq_ignore_ascii_case(who))
                || first_groups(&print) == *who
        };
        let found: Vec<_> = people.iter().filter(is_meant).map(|person| person.key).collect();
        if found.is_empty() {
            let message = format!("nobody called `{who}` is on the staff list of {}", ground.member);
            return Err(Failure::usage("STAFF", message, "accord staff list shows who is").into());
        }
        gone.extend(found);
    }
    let list = ground.without_staff(&gone)?;
    ground.propose(list, Vec::new(), &remove.change, global)
}

fn add_staff(add: &AddPeople, global: &Global) -> anyhow::Result<Outcome> {
    let ground = Ground::open(&add.change.with, add.change.member.as_deref(), &add.claims, global)?;
    let claims = read_claims(&add.claims, &ground.member, &STAFF_ROLES)?;
    let until = ground.now.plus(u64::from(add.valid_days) * DAY_MS);
    let mut people = ground.desk.staff(&ground.keys).map(|list| list.people.as_slice().to_vec()).unwrap_or_default();
    for entry in claims.iter().flat_map(|claim| claim.keys.iter()) {
        // Who is added again is renewed.
        people.retain(|person| person.key != entry.key);
        people.push(StaffMember { role: entry.role, key: entry.key, valid_from: ground.now, valid_to: until });
    }
    let list = ground.staff_after(people, Some(until))?;
    ground.propose(list, Vec::new(), &add.change, global)
}
