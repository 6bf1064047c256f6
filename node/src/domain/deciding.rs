//! Requests that a person decides: held, shown with exactly what would leave, answered, refused, or over (`wire.md` D5, D6).
//!
//! Each step comes back as what has to be kept; it counts when that is durable.

use accord_policy::Way;
use accord_protocol::{
    answer::AnswerHead,
    approval::Verdict,
    codec::{Bounded, Cap, decode, encode},
    held::{HeldState, Recall, Status, is_status},
    id::Hash,
    message::SignedBytes,
    refusal::{Reason, Refusal},
    signed::{Document, Label, Preamble, Signable, verify_message},
    time::DAY_MS,
};

use super::{
    answering::{Chosen, Decided, Failure, Keeps, Provider, SignedAnswer},
    inbox::{self, Course, Held, NoVerdict, Outlook},
    provide::{self, Checked, Denied, Permitted},
};

/// How long a decision is remembered that its asker may collect late.
const REMEMBER_MS: u64 = 30 * DAY_MS;

/// What a verdict came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is answered.
    Answered,
    /// It is refused.
    Rejected(Reason),
    /// One more approver has to say yes.
    OneMore,
}

/// Why a verdict came to nothing; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDecided {
    /// Somebody else was first, or time was over.
    #[error("it is {0} already")]
    Over(Course),
    /// The verdict does not count.
    #[error(transparent)]
    NoVerdict(#[from] NoVerdict),
    /// It cannot be answered now, whatever the verdict.
    #[error("it cannot be answered now: {}", .0.why)]
    Denied(Denied),
    /// Something inside does not work.
    #[error("{0}")]
    Fault(String),
}

impl<E: std::fmt::Display> From<Failure<E>> for NotDecided {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Denied(denied) => Self::Denied(denied),
            Failure::Inside(error) => Self::Fault(error.to_string()),
            Failure::Inconsistent(what) => Self::Fault(what.to_owned()),
        }
    }
}

/// How many approvers have to say yes.
pub const fn needed(way: Way) -> usize {
    match way {
        Way::AtOnce => 0,
        Way::AfterApproval => 1,
        Way::AfterTwoApprovals => 2,
    }
}

/// Whether what was selected may leave without a person's looking at it: by the policy, or because approvers have said so in advance.
pub(super) fn may_leave<S: Keeps>(kept: &S, checked: &Checked, selected: &Chosen) -> Result<bool, Failure<S::Error>> {
    let needed = needed(selected.way);
    if needed == 0 {
        return Ok(true);
    }
    let body = &checked.body;
    let have = kept.in_advance(&body.requester, selected.table_id, body.purpose).map_err(Failure::Inside)?;
    Ok(have >= needed)
}

/// What was answered at once, or after one approval, is not answered again where the policy in force asks for more.
pub(super) fn refuse_unapproved<S: Keeps>(
    kept: &S,
    checked: &Checked,
    permitted: &Permitted,
) -> Result<(), Failure<S::Error>> {
    let needed = needed(permitted.way());
    if needed == 0 {
        return Ok(());
    }
    let body = &checked.body;
    let given = kept.approvals_of(&checked.body_hash).map_err(Failure::Inside)?;
    let ahead = kept.in_advance(&body.requester, permitted.table_id(), body.purpose).map_err(Failure::Inside)?;
    if given.max(ahead) >= needed {
        return Ok(());
    }
    let why = format!("the policy in force has it answered {} only", permitted.way());
    Err(checked.deny(Refusal::Unavailable, why).into())
}

impl Provider<'_> {
    /// A request that has just come and that a person has to decide.
    pub(super) fn hold(&self, checked: &Checked, envelope: &[u8]) -> Result<Held, Denied> {
        let too_long = || checked.deny(Refusal::Encoding, "the request does not decode twice");
        Ok(Held {
            envelope: decode(envelope, Cap::Head).map_err(|_| too_long())?,
            body_hash: checked.body_hash,
            request_id: checked.body.request_id,
            officer: checked.card.key,
            requester: checked.body.requester.clone(),
            reply_class: checked.body.reply_class,
            received_at: self.now,
            wanted_until: checked.body.wanted_until,
            course: Course::Held,
            state_seq: 1,
            changed_at: self.now,
            verdicts: Bounded::default(),
            notes: Bounded::default(),
            receipt: Bounded::default(),
        })
    }

    /// A signed statement of how a request stands, under its present number.
    pub fn say(&self, held: &Held, state: HeldState) -> SignedAnswer {
        let status = Status {
            preamble: Preamble,
            body_hash: held.body_hash,
            request_id: held.request_id,
            state,
            state_seq: held.state_seq,
            at: self.now,
        };
        let payload = encode(&status).unwrap_or_default();
        let signature = self.key.sign(Label::Status, self.trust.federation(), &payload);
        SignedAnswer { head: payload, signature, slice: Vec::new(), reply_class: held.reply_class }
    }

    /// Checks a held request as it stands now.
    ///
    /// # Errors
    /// Why it cannot be answered.
    pub fn check_held(&self, held: &Held) -> Result<Checked, Denied> {
        // What was answered is not taken back because its topic has run out since.
        let decided_at = if held.is_open() { self.now } else { held.changed_at };
        provide::check_again(self.trust, self.me, &held.envelope, (decided_at, self.now))
    }

    /// What would leave now, and how many approvers have said yes to exactly that.
    ///
    /// # Errors
    /// Why nothing may leave.
    pub fn outlook<S: Keeps>(&self, kept: &S, held: &Held) -> Result<(Checked, Chosen, Outlook), NotDecided> {
        let checked = self.check_held(held).map_err(NotDecided::Denied)?;
        // The person sees what leaves; what the asker saw before it asked has had its time.
        let as_asked = || Some(checked.body.view_hash);
        let selected = self.choose_from(kept, &checked, as_asked)?;
        let outlook = Outlook {
            slice_hash: Hash::of(&selected.slice),
            edition: selected.edition.header.number,
            policy_hash: self.access.hash(),
        };
        Ok((checked, selected, outlook))
    }

    /// Takes a verdict on a held request. What comes back is kept already. The same request twice at once must be kept apart by the
    /// caller.
    ///
    /// # Errors
    /// Why it came to nothing; nothing was changed.
    pub fn take_verdict<S: Keeps>(
        &self,
        kept: &S,
        held: &Held,
        document: &Document,
    ) -> Result<(Held, Decision), NotDecided> {
        if !held.is_open() {
            return Err(NotDecided::Over(held.course));
        }
        if held.wanted_until < self.now {
            return Err(NotDecided::Over(Course::Expired));
        }
        let verdict = inbox::believed(self.trust, self.me, held, document, self.now)?;
        if let (Verdict::Reject, Some(reason)) = (verdict.verdict, verdict.reason()) {
            let refusal = self.speaker().reject(&held.about(), &held.requester, reason);
            let answer = self.sign(&refusal, Vec::new(), held.reply_class);
            let next = self.next(held, Course::Rejected, vec![document.clone()]);
            self.keep(kept, &next, &answer, None)?;
            return Ok((next, Decision::Rejected(reason)));
        }
        let (checked, selected, outlook) = self.outlook(kept, held)?;
        let names = (verdict.slice_hash, verdict.edition, verdict.policy_hash);
        if names != (outlook.slice_hash, outlook.edition, outlook.policy_hash) {
            return Err(NoVerdict::Changed.into());
        }
        // Those who said yes to something else have to look again.
        let mut before = inbox::in_favour(self.trust, self.me, held, outlook, self.now);
        if before.iter().any(|said| said.signed_by() == document.signed_by()) {
            return Err(NoVerdict::Twice.into());
        }
        before.push(document.clone());
        if before.len() < needed(selected.way) {
            let next = Held { verdicts: Bounded::new(before).unwrap_or_default(), ..held.clone() };
            kept.keep_held(&next).map_err(|error| NotDecided::Fault(error.to_string()))?;
            return Ok((next, Decision::OneMore));
        }
        let answer = self.give(&checked, &selected);
        let next = self.next(held, Course::Answered, before);
        self.keep(kept, &next, &answer, Some((outlook.edition, selected.table_id)))?;
        Ok((next, Decision::Answered))
    }

    /// Ends a held request without an answer: nobody decided in time, or its officer took it back.
    ///
    /// # Errors
    /// That it is over already, or a fault.
    pub fn end<S: Keeps>(&self, kept: &S, held: &Held, course: Course, state: HeldState) -> Result<Held, NotDecided> {
        if !held.is_open() {
            return Err(NotDecided::Over(held.course));
        }
        let next = self.next(held, course, held.verdicts.as_slice().to_vec());
        self.restate(kept, &next, state)?;
        Ok(next)
    }

    /// Says again that a request is held: a person has seen it.
    ///
    /// # Errors
    /// That it is over already, or a fault.
    pub fn note<S: Keeps>(&self, kept: &S, held: &Held, note: inbox::Note) -> Result<Held, NotDecided> {
        if !held.is_open() {
            return Err(NotDecided::Over(held.course));
        }
        let mut next = self.next(held, Course::Held, held.verdicts.as_slice().to_vec());
        // The latest ones.
        let notes: Vec<_> = held.notes.iter().cloned().chain([note]).collect();
        let over = notes.len().saturating_sub(8);
        next.notes = Bounded::new(notes.into_iter().skip(over).collect()).unwrap_or_default();
        self.restate(kept, &next, HeldState::Held)?;
        Ok(next)
    }

    /// Believes an officer's wish to take a request back.
    pub fn is_recalled(&self, held: &Held, recall: &SignedBytes) -> bool {
        let payload = recall.payload.as_slice();
        verify_message::<Recall>(self.trust.federation(), &[held.officer], payload, &recall.signature)
            .is_ok_and(|recall| recall.body_hash == held.body_hash && recall.request_id == held.request_id)
    }

    /// What is said of a held request now: the latest statement, or the answer with its slice.
    ///
    /// # Errors
    /// Why it cannot be said at this moment.
    pub fn collected<S: Keeps>(&self, kept: &S, held: &Held) -> Result<SignedAnswer, NotDecided> {
        let entry = kept
            .remembered(&held.officer, &held.request_id)
            .map_err(|error| NotDecided::Fault(error.to_string()))?
            .ok_or_else(|| NotDecided::Fault("the reply to a held request is not remembered".into()))?;
        let answer: Option<AnswerHead> = decode(entry.head.as_slice(), Cap::Head).ok();
        if answer.is_none_or(|answer| answer.refusal().is_some()) {
            // Without a table it may be heard whatever became of its officer.
            return Ok(self.signed_by_a_key_that_counts(SignedAnswer {
                head: entry.head.as_slice().to_vec(),
                signature: entry.signature,
                slice: Vec::new(),
                reply_class: entry.reply_class,
            }));
        }
        let checked = self.check_held(held).map_err(NotDecided::Denied)?;
        Ok(self.signed_by_a_key_that_counts(self.again(kept, &checked, &entry)?))
    }

    // The head stays what it was; the key that signed it may have been exchanged since, and then the present one signs the same bytes.
    fn signed_by_a_key_that_counts(&self, answer: SignedAnswer) -> SignedAnswer {
        let label = if is_status(&answer.head) { Label::Status } else { Label::Answer };
        let federation = self.trust.federation();
        let counts = self.trust.sign_keys(self.me, self.now);
        if counts.iter().any(|key| key.verifies_as(label, federation, &answer.head, &answer.signature)) {
            return answer;
        }
        SignedAnswer { signature: self.key.sign(label, federation, &answer.head), ..answer }
    }

    fn restate<S: Keeps>(&self, kept: &S, next: &Held, state: HeldState) -> Result<(), NotDecided> {
        self.keep(kept, next, &self.say(next, state), None)
    }

    fn next(&self, held: &Held, course: Course, verdicts: Vec<Document>) -> Held {
        Held {
            course,
            state_seq: held.state_seq.saturating_add(1),
            changed_at: self.now,
            verdicts: Bounded::new(verdicts).unwrap_or_default(),
            ..held.clone()
        }
    }

    fn keep<S: Keeps>(
        &self,
        kept: &S,
        held: &Held,
        answer: &SignedAnswer,
        gives: Option<(u64, u16)>,
    ) -> Result<(), NotDecided> {
        let reply = self.remembered(&held.about(), held.wanted_until, answer, REMEMBER_MS);
        let decided = Decided {
            officer: &held.officer,
            request: &held.request_id,
            requester: &held.requester,
            reply: &reply,
            edition: gives.map(|(edition, _)| edition),
            table_id: gives.map_or(0, |(_, table_id)| table_id),
            held: Some(held),
            checked: None,
            why: "",
            slice: &answer.slice,
            has_entry: true,
        };
        kept.remember(decided).map_err(|error| NotDecided::Fault(error.to_string()))
    }
}

const _: () = assert!(Status::CAP.bytes() <= accord_protocol::answer::HEAD_MAX);
