//! What two people agree on about editions: years made anew, numbers that are public anyway. Proposing, signing, doing.
//!
//! A proposal says exactly what was seen: its signed consent names the latest edition and SHA-256 of the difference as it was shown.
//! Whatever changed when the second person signs, the difference is worked out again, and another one is not what was agreed on.

mod outlook;
mod waivers;

use std::{collections::BTreeMap, sync::Arc};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    catalogue::Kind,
    codec::{Bounded, Cap, decode, encode},
    consent::{AGREE_MIN, Consent, Matter, PublicCell},
    edition::Protection,
    id::{Hash, from_hex, to_hex},
    key::PublicKey,
    log::EventKind,
    member_keys::KeyRole,
    signed::{Document, Preamble},
    text::is_note,
    time::{DAY_MS, UnixMs},
};
use serde_json::{Value, json};

use super::{
    Happening, NOTE_RULE, Node, Reply, done,
    editions::{LoadedEdition, unknown_table},
    failed, notice, only_one,
    publishing::Prepared,
    store_failed,
    unpublished::{NotFilled, not_continued},
};
use crate::{
    domain::edition::Frozen,
    io::store::{AgreementEntry, Batch, Course, StoreError},
};
use outlook::Outlook;
use waivers::public_json;

/// How long a proposal waits for another person, in days.
const OPEN_DAYS: u64 = 14;
/// Proposals that wait at once, at most.
const OPEN_MAX: usize = 16;
/// Proposals that are shown and not signed yet, at most.
const OFFERED_MAX: usize = 8;

/// Proposals that were shown to somebody who has not signed yet. They are gone with the process.
pub(super) type Offered = Vec<(Document, Vec<u8>)>;

type Years = Vec<(Kind, u16)>;

// Why there is no proposal, or nothing comes of it.
enum NotAgreed {
    Said(Box<Reply>),
    Filled(NotFilled),
}

impl From<NotFilled> for NotAgreed {
    fn from(error: NotFilled) -> Self {
        Self::Filled(error)
    }
}

impl From<StoreError> for NotAgreed {
    fn from(error: StoreError) -> Self {
        Self::Filled(error.into())
    }
}

impl From<Reply> for NotAgreed {
    fn from(reply: Reply) -> Self {
        Self::Said(Box::new(reply))
    }
}

impl NotAgreed {
    fn reply(self) -> Reply {
        match self {
            Self::Said(reply) => *reply,
            Self::Filled(error) => error.reply(),
        }
    }
}

impl Node {
    /// Proposes to make years anew from the records. Blocks on the store.
    pub fn propose_correction(&self, kind: &str, (from, to): (u16, u16), reason: &str) -> Reply {
        let proposed = || {
            let (latest, kind) = (self.latest_audited()?, known_kind(kind)?);
            let years: Years = latest
                .bases()
                .iter()
                .filter(|basis| basis.kind == kind && (from..=to).contains(&basis.year))
                .map(|basis| (basis.kind, basis.year))
                .collect();
            if years.is_empty() {
                let message = format!("edition {} has no {kind} of {from}..{to}", latest.frozen.header.number);
                return Err(failed(2, "NO-YEAR", message, "see `vintages` in accord edition show --json").into());
            }
            self.may_be_corrected(&latest, &years)?;
            let outlook = self.outlook(&latest, &years, None)?;
            self.offer(&latest, (Matter::Correct, kind, (from, to), None), reason, outlook)
        };
        self.alone_with_editions(reason, proposed)
    }

    /// Proposes to show numbers of a cell that are public anyway. Blocks on the store.
    pub fn propose_waiver(
        &self,
        table: &str,
        key: &BTreeMap<String, String>,
        measures: &[String],
        source: &str,
    ) -> Reply {
        let proposed = || {
            let latest = self.latest_audited()?;
            let standing = self.standing();
            let catalogue = standing.trust().catalogue();
            if let Some(unknown) = unknown_table(catalogue, Some(table)) {
                return Err(unknown.into());
            }
            let (cell, kind, year) = self.public_cell(&latest, catalogue, table, key, measures)?;
            let outlook = self.outlook(&latest, &[(kind, year)], Some(&cell))?;
            self.offer(&latest, (Matter::Waive, kind, (year, year), Some(cell)), source, outlook)
        };
        self.alone_with_editions(source, proposed)
    }

    fn alone_with_editions(&self, reason: &str, work: impl FnOnce() -> Result<Reply, NotAgreed>) -> Reply {
        if !is_note(reason) {
            return failed(2, "REASON", NOTE_RULE, "for example --reason \"grams were read as kilograms\"");
        }
        match only_one(&self.publishing, &Stopwatch::start()) {
            Ok(_publishing) => work().unwrap_or_else(NotAgreed::reply),
            Err(busy) => *busy,
        }
    }

    fn latest_audited(&self) -> Result<Arc<LoadedEdition>, NotAgreed> {
        let latest = self.current_number().map(|number| self.loaded_edition(number)).transpose()?.flatten();
        let Some(latest) = latest else {
            let next = "publish one: accord edition publish";
            return Err(failed(2, "NO-EDITION", "no edition has been published yet", next).into());
        };
        let header = &latest.frozen.header;
        if header.protection != Protection::Audited || self.protection() != Protection::Audited {
            return Err(not_continued(header.number, header.protection).into());
        }
        Ok(latest)
    }

    // Shows a proposal to whoever makes it; it is kept as soon as they have signed.
    fn offer(
        &self,
        latest: &LoadedEdition,
        (matter, kind, (from_year, to_year), cell): (Matter, Kind, (u16, u16), Option<PublicCell>),
        reason: &str,
        outlook: Outlook,
    ) -> Result<Reply, NotAgreed> {
        let unfit = || StoreError::Read("the proposal does not fit".into());
        let consent = Consent {
            preamble: Preamble,
            federation: *self.standing().trust().federation(),
            member: self.config.member.clone(),
            edition: latest.frozen.header.number,
            matter,
            kind,
            from_year,
            to_year,
            cell: Bounded::new(cell.into_iter().collect()).ok_or_else(unfit)?,
            difference: Hash::of(&outlook.difference),
            reason: Bounded::new(reason.trim().as_bytes().to_vec()).ok_or_else(unfit)?,
            at: clock::now(),
        };
        let document = Document::new(&consent).map_err(|error| StoreError::Read(error.to_string()))?;
        let entry = AgreementEntry::open(document.clone(), consent.at);
        let mut result = self.agreement_json(&entry, &consent);
        add_difference(&mut result, &entry, &outlook.difference);
        let mut offered = self.offered();
        offered.push((document, outlook.difference));
        if offered.len() > OFFERED_MAX {
            offered.remove(0);
        }
        Ok(done(result))
    }

    fn offered(&self) -> std::sync::MutexGuard<'_, Offered> {
        self.offered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What was proposed, or one proposal with the difference that it was made for. Blocks on the store.
    pub fn proposals(&self, id: Option<&str>) -> Reply {
        self.proposals_inner(id).unwrap_or_else(|error| store_failed(&error))
    }

    fn proposals_inner(&self, id: Option<&str>) -> Result<Reply, StoreError> {
        let mut rows = Vec::new();
        for entry in self.store.agreements() {
            let (_, entry) = entry?;
            let consent = consent_of(&entry)?;
            if id.is_some_and(|id| id != id_of(&entry.document)) {
                continue;
            }
            let mut row = self.agreement_json(&entry, &consent);
            if id.is_some() {
                add_difference(&mut row, &entry, &self.store.frozen(&consent.difference)?);
                return Ok(done(row));
            }
            rows.push(row);
        }
        match id {
            Some(id) => Ok(unknown_proposal(id)),
            None => Ok(done(json!({ "member": self.config.member.as_str(), "proposals": rows }))),
        }
    }

    fn agreement_json(&self, entry: &AgreementEntry, consent: &Consent) -> Value {
        let standing = self.standing();
        let catalogue = standing.trust().catalogue();
        let cell =
            consent.cell.as_slice().first().map(|cell| public_json(catalogue, self.config.member.country(), cell));
        let signed_by: Value = entry.document.signed_by().iter().map(|key| self.signer_json(key)).collect();
        json!({
            "proposal": id_of(&entry.document),
            "state": self.state_of(entry, consent),
            "matter": consent.matter.as_str(),
            "kind": consent.kind.as_str(),
            "from": consent.from_year,
            "to": consent.to_year,
            "cell": cell,
            "reason": consent.reason(),
            "proposed_at": consent.at.to_string(),
            "expires_at": consent.at.plus(OPEN_DAYS * DAY_MS).to_string(),
            "signed_by": signed_by,
            "needed": AGREE_MIN,
            "of_edition": consent.edition,
            "edition": (entry.edition > 0).then_some(entry.edition),
            "rejected": (entry.course == Course::Rejected).then(|| json!({
                "by": entry.rejected_by.map(|key| key.to_string()), "at": entry.at.to_string(), "reason": entry.rejected_because,
            })),
        })
    }

    // As `accord staff list` names them; whoever has left the staff is a key.
    fn signer_json(&self, key: &PublicKey) -> Value {
        let role = self.standing().person(key, clock::now());
        let print = role.map(|role| key.fingerprint(role.as_str(), self.config.member.as_str()));
        json!({ "key": key.to_string(), "role": role.map(KeyRole::as_str), "fingerprint": print })
    }

    fn state_of(&self, entry: &AgreementEntry, consent: &Consent) -> &'static str {
        state(entry.course, consent, self.current_number(), clock::now())
    }

    /// Takes a person's signature under a proposal; does it, if it is the last that was needed. Blocks on the store.
    pub fn agree(&self, id: &str, signed: &str, key: &PublicKey) -> Reply {
        match only_one(&self.publishing, &Stopwatch::start()) {
            Ok(_publishing) => self.agree_inner(id, signed, key).unwrap_or_else(NotAgreed::reply),
            Err(busy) => *busy,
        }
    }

    fn agree_inner(&self, id: &str, signed: &str, key: &PublicKey) -> Result<Reply, NotAgreed> {
        let (number, mut entry, difference) = self.proposal_to_sign(id)?;
        let consent = consent_of(&entry)?;
        let state = self.state_of(&entry, &consent);
        if state != Course::Open.as_str() {
            let message = format!("proposal {id} is {state}");
            return Err(failed(3, "NOT-OPEN", message, "propose it again: see accord edition proposals").into());
        }
        if entry.document.signed_by().contains(key) {
            let message = format!("your key has signed proposal {id}: another person has to agree");
            return Err(failed(3, "SAME-PERSON", message, "let a colleague run: accord edition agree ID").into());
        }
        let standing = self.standing();
        let federation = *standing.trust().federation();
        let signed: Option<Document> = from_hex(signed).and_then(|bytes| decode(&bytes, Cap::Document).ok());
        let with = |signed: Document| entry.document.with_signatures_of(&signed, &federation, &[*key].into());
        if let Some(document) = signed.and_then(with) {
            entry.document = document;
        } else {
            let message = "the signature is not your key's over this proposal";
            return Err(failed(2, "SIGNATURE", message, "use the same version of accord and accord-node").into());
        }
        let may_sign: Vec<PublicKey> =
            entry.document.signed_by().into_iter().filter(|key| self.may_agree(key)).collect();
        let agreed = entry.document.valid_signers(&federation, &may_sign);
        if agreed.len() < AGREE_MIN {
            let mut batch = Batch::default();
            if !self.store.has_frozen(&consent.difference)? {
                batch.put_frozen(&difference);
            }
            batch.put_agreement(number, &entry);
            self.enter(&mut batch, &self.proposal_happening(EventKind::Proposal, &entry, &consent, key))?;
            self.store.commit(batch)?;
            self.offered().retain(|(document, _)| id_of(document) != id);
            tracing::info!(proposal = id, key = %key, "proposed");
            return Ok(done(self.agreement_json(&entry, &consent)));
        }
        self.carry_out(number, entry, &consent, key)
    }

    // What somebody did with a proposal.
    fn proposal_happening(
        &self,
        kind: EventKind,
        entry: &AgreementEntry,
        consent: &Consent,
        by: &PublicKey,
    ) -> Happening {
        let detail = json!({
            "proposal": id_of(&entry.document), "matter": consent.matter.as_str(), "kind": consent.kind.as_str(),
            "from": consent.from_year, "to": consent.to_year, "reason": consent.reason(), "of_edition": consent.edition,
            "difference": consent.difference.to_string(), "rejected_because": entry.rejected_because,
        });
        let standing = self.standing();
        let happening = Happening::new(kind, &self.person(by), detail);
        happening.about_document(standing.trust().federation(), &entry.document)
    }

    // A proposal that somebody has signed, with its number.
    fn signed_proposal(&self, id: &str) -> Result<Option<(u64, AgreementEntry)>, StoreError> {
        let mut all = self.store.agreements();
        all.find(|entry| entry.as_ref().map_or(true, |(_, entry)| id_of(&entry.document) == id)).transpose()
    }

    // The same, or one that was shown to its maker; with the difference that it was shown with, if that is not stored.
    fn proposal_to_sign(&self, id: &str) -> Result<(u64, AgreementEntry, Vec<u8>), NotAgreed> {
        if let Some((number, entry)) = self.signed_proposal(id)? {
            return Ok((number, entry, Vec::new()));
        }
        let (mut last, mut open) = (0, 0);
        for entry in self.store.agreements() {
            let (number, entry) = entry?;
            last = last.max(number);
            let consent: Option<Consent> = entry.document.unverified().ok();
            let waits = consent.is_some_and(|consent| self.state_of(&entry, &consent) == Course::Open.as_str());
            open += usize::from(waits);
        }
        let offered = self.offered().iter().find(|(document, _)| id_of(document) == id).cloned();
        let Some((document, difference)) = offered else { return Err(unknown_proposal(id).into()) };
        if open >= OPEN_MAX {
            let message = format!("{open} proposals wait for another person already");
            let next = "agree to one, or reject one: see accord edition proposals";
            return Err(failed(3, "PROPOSALS", message, next).into());
        }
        Ok((last + 1, AgreementEntry::open(document, clock::now()), difference))
    }

    // Whether somebody may agree, now.
    fn may_agree(&self, key: &PublicKey) -> bool {
        let role = self.standing().person(key, clock::now());
        matches!(role, Some(KeyRole::Operator | KeyRole::Approver))
    }

    // Publishes what was agreed on, and withdraws what it corrects: all of it or nothing.
    fn carry_out(
        &self,
        number: u64,
        mut entry: AgreementEntry,
        consent: &Consent,
        key: &PublicKey,
    ) -> Result<Reply, NotAgreed> {
        let by = self.person(key);
        let latest = self.latest_audited()?;
        let bases = latest.bases().iter().map(|basis| (basis.kind, basis.year));
        let years: Years =
            bases.filter(|(kind, year)| *kind == consent.kind && consent.years().contains(year)).collect();
        let outlook = self.outlook(&latest, &years, consent.cell.as_slice().first())?;
        if Hash::of(&outlook.difference) != consent.difference {
            let message = "records, coverage, rules or the calendar have changed since: the difference is not the one that was agreed on";
            return Err(failed(3, "CHANGED", message, "nothing was done; look at it again and propose it again").into());
        }
        let (edition, mut batch) = match self.prepared(&outlook.filled, &outlook.snapshot, &by)? {
            Prepared::Nothing(reply) => return Err(NotAgreed::Said(reply)),
            Prepared::Edition { number, batch } => (number, batch),
        };
        entry.course = Course::Done;
        entry.edition = edition;
        entry.at = clock::now();
        batch.put_agreement(number, &entry);
        self.enter(&mut batch, &self.proposal_happening(EventKind::Proposal, &entry, consent, key))?;
        let mut withdrawn = Vec::new();
        if consent.matter == Matter::Correct {
            for (old, frozen) in self.editions_with(&years, consent.edition)? {
                self.put_withdrawal(&mut batch, &frozen, consent.reason(), &by)?;
                withdrawn.push(old);
            }
        }
        self.store.commit(batch)?;
        let by: Vec<String> = entry.document.signed_by().iter().map(PublicKey::to_string).collect();
        tracing::warn!(proposal = id_of(&entry.document), edition, ?withdrawn, ?by, "agreed and done");
        let mut reply = self.published(edition, &outlook.filled);
        if let Some(result) = reply.result.as_mut().and_then(Value::as_object_mut) {
            result.insert("agreed".into(), self.agreement_json(&entry, consent));
            result.insert("withdrawn_editions".into(), json!(withdrawn));
        }
        if !withdrawn.is_empty() {
            reply.warnings.push(notice(
                "WITHDRAWN",
                "the editions before are refused from now on, and those who received them are told",
            ));
        }
        Ok(reply)
    }

    // Editions in force up to one that have any of these years.
    fn editions_with(&self, years: &[(Kind, u16)], latest: u64) -> Result<Vec<(u64, Arc<Frozen>)>, StoreError> {
        let mut found = Vec::new();
        for number in 1..=latest {
            if self.store.withdrawn(number)?.is_some() {
                continue;
            }
            let Some(edition) = self.loaded_edition(number)? else { continue };
            if edition.bases().iter().any(|basis| years.contains(&(basis.kind, basis.year))) {
                found.push((number, Arc::clone(&edition.frozen)));
            }
        }
        Ok(found)
    }

    /// Takes a proposal off the table. Blocks on the store.
    pub fn reject(&self, id: &str, reason: &str, key: &PublicKey) -> Reply {
        let rejected = || {
            let Some((number, mut entry)) = self.signed_proposal(id)? else { return Err(unknown_proposal(id).into()) };
            let consent = consent_of(&entry)?;
            if entry.course != Course::Open {
                let message = format!("proposal {id} is {}", entry.course);
                return Err(failed(3, "NOT-OPEN", message, "see accord edition proposals").into());
            }
            entry.course = Course::Rejected;
            entry.rejected_by = Some(*key);
            reason.trim().clone_into(&mut entry.rejected_because);
            entry.at = clock::now();
            let mut batch = Batch::default();
            batch.put_agreement(number, &entry);
            self.enter(&mut batch, &self.proposal_happening(EventKind::ProposalRejected, &entry, &consent, key))?;
            self.store.commit(batch)?;
            tracing::info!(proposal = id, key = %key, "rejected");
            Ok(done(self.agreement_json(&entry, &consent)))
        };
        self.alone_with_editions(reason, rejected)
    }
}

// An open proposal is for the edition after one, and not for ever.
fn state(course: Course, consent: &Consent, latest: Option<u64>, now: UnixMs) -> &'static str {
    match course {
        Course::Open if latest != Some(consent.edition) => "outdated",
        Course::Open if now >= consent.at.plus(OPEN_DAYS * DAY_MS) => "expired",
        Course::Open | Course::Done | Course::Rejected => course.as_str(),
    }
}

fn known_kind(word: &str) -> Result<Kind, NotAgreed> {
    Kind::from_word(word).ok_or_else(|| {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        failed(
            2,
            "KIND",
            format!("there is no kind `{}`", word.escape_default()),
            &format!("kinds: {}", kinds.join(", ")),
        )
        .into()
    })
}

// What is proposed in an entry of the store.
fn consent_of(entry: &AgreementEntry) -> Result<Consent, StoreError> {
    let id = || format!("proposal {} does not decode", id_of(&entry.document));
    entry.document.unverified().map_err(|_| StoreError::Read(id()))
}

fn unknown_proposal(id: &str) -> Reply {
    let shown: String = id.chars().take(40).flat_map(char::escape_default).collect();
    failed(2, "NO-PROPOSAL", format!("there is no proposal `{shown}`"), "see accord edition proposals")
}

// Short for people, and of what is signed: whoever names it means this very difference.
fn id_of(document: &Document) -> String {
    document.hash().to_string().chars().take(16).collect()
}

// What is signed, and what it is about.
fn add_difference(result: &mut Value, entry: &AgreementEntry, difference: &[u8]) {
    if let Some(result) = result.as_object_mut() {
        let bytes = encode(&entry.document).unwrap_or_default();
        result.insert("document".into(), json!(to_hex(&bytes)));
        result.insert("difference".into(), serde_json::from_slice(difference).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_open_for_the_latest_edition_and_fourteen_days() {
        let consent = Consent {
            preamble: Preamble,
            federation: Hash::ZERO,
            member: "ES-AGENCY".parse().unwrap(),
            edition: 3,
            matter: Matter::Correct,
            kind: Kind::Seizure,
            from_year: 2024,
            to_year: 2024,
            cell: Bounded::default(),
            difference: Hash::ZERO,
            reason: Bounded::new(b"wrong drug".to_vec()).unwrap(),
            at: UnixMs(1_000),
        };
        let last = UnixMs(1_000 + 14 * DAY_MS - 1);
        let after = last.plus(1);
        for (course, latest, now, said) in [
            (Course::Open, Some(3), last, "open"),
            (Course::Open, Some(3), after, "expired"),
            (Course::Open, Some(4), last, "outdated"),
            (Course::Open, Some(4), after, "outdated"),
            (Course::Open, None, last, "outdated"),
            (Course::Done, Some(4), after, "done"),
            (Course::Rejected, Some(3), after, "rejected"),
        ] {
            assert_eq!(state(course, &consent, latest, now), said, "{course} {latest:?} {now}");
        }
    }
}
