//! One request to one answer: the checks at the provider, cheap before expensive (`wire.md` D15).
//!
//! Everything here is decided from arguments; the node does the storing and sending in between.

use accord_policy::{Ask, Decision, DenyReason, Way};
use accord_protocol::{
    answer::{AnswerHead, Decision as Answered},
    catalogue::{Catalogue, Table},
    codec::{Bounded, Cap, decode},
    edition::EditionHeader,
    handling::Handling,
    id::{Hash, NodeId, RequestId},
    log::tick::provable_after,
    message::SignedBytes,
    officers::Card,
    refusal::{Reason, Refusal},
    request::{DimQuery, Query, Request, RequestBody},
    roster::MemberRole,
    selection::{OffGrid, Selection},
    signed::{Label, Preamble, Signable, Verified, verify_message},
    text::with_causes,
    time::{Months, Period, UnixMs},
    topic::{Topic, of_decided_request, of_request},
    trust::Trust,
};

use super::access::Access;

/// A year, as the code of a period: for a selection whose outcome is of no matter.
const NO_MATTER_WHEN: u32 = 202_000;

/// Who hands the request on, and over what.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The member whose TLS key the connection has.
    pub member: &'a NodeId,
    /// Exported from the TLS session; `None` for the node's own officers, whose request crosses no network.
    pub channel_binding: Option<[u8; 32]>,
}

/// A request whose bytes, signatures and times are in order. Not permitted yet.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The body.
    pub body: RequestBody,
    /// SHA-256 of its bytes.
    pub body_hash: Hash,
    /// The officer.
    pub card: Card,
    /// The line of inquiry that it stands under, if any.
    pub topic: Option<Verified<Topic>>,
}

/// Checks a request that was kept for a person once more, at `now`: its member may still ask, its officer is still vouched for and may
/// still ask for the purpose, its topic has not been ended, and was in force when it was decided, which may be now. The times and the
/// connection were those of its arrival.
///
/// # Errors
/// Why it cannot be answered now.
pub fn check_again(
    trust: &Trust,
    me: &NodeId,
    envelope: &SignedBytes,
    (decided_at, now): (UnixMs, UnixMs),
) -> Result<Checked, Denied> {
    let mut about = About { body_hash: Hash::ZERO, request_id: RequestId::ZERO, reply_class: 0 };
    let deny = |refusal, why: &str, about| Denied { refusal, why: why.to_owned(), about, alarm: false };
    let claimed: Request = decode(envelope.payload.as_slice(), Cap::Head)
        .map_err(|error| deny(Refusal::Encoding, &error.to_string(), about))?;
    about.body_hash = Hash::of(claimed.body.as_slice());
    let body: RequestBody = decode(claimed.body.as_slice(), Cap::Head)
        .map_err(|error| deny(Refusal::Encoding, &error.to_string(), about))?;
    about = About { request_id: body.request_id, reply_class: body.reply_class, ..about };
    let member = trust.active(&body.requester, now);
    if member.is_none_or(|(member, _)| !member.roles.as_slice().contains(&MemberRole::Requester)) {
        return Err(deny(Refusal::Auth, "its member is not active any more, or may not ask", about));
    }
    let Some(card) = trust.officer(&body.requester, claimed.officer_card.as_slice(), now) else {
        return Err(deny(Refusal::Auth, "its officer is not vouched for any more", about));
    };
    if body.audience != *me || !card.purposes.as_slice().contains(&body.purpose) {
        return Err(deny(Refusal::Unavailable, "its officer may not ask for this purpose any more", about));
    }
    let topic = of_decided_request(trust, &body, &claimed.topic, (decided_at, now))
        .map_err(|error| deny(Refusal::Auth, &with_causes(&error), about))?;
    Ok(Checked { body, body_hash: about.body_hash, card, topic })
}

/// What a refusal needs to know of the request it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// SHA-256 of the body as received.
    pub body_hash: Hash,
    /// Its id; zero if the body does not decode.
    pub request_id: RequestId,
    /// Size class of the reply; the smallest if the body does not decode.
    pub reply_class: u8,
}

/// Why a request is not answered with a table: one face for the peer, one for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}: {why}")]
pub struct Denied {
    /// For the peer.
    pub refusal: Refusal,
    /// For the log.
    pub why: String,
    /// What it is about.
    pub about: About,
    /// Whether somebody has to look at it: the policy could not be evaluated.
    pub alarm: bool,
}

/// Checks a request's envelope and body. `payload` is the head's payload as received.
pub fn check(trust: &Trust, me: &NodeId, peer: Peer<'_>, payload: &[u8], now: UnixMs) -> Result<Checked, Denied> {
    let mut about = About { body_hash: Hash::of(payload), request_id: RequestId::ZERO, reply_class: 0 };
    let deny = |refusal, why: &str, about| Denied { refusal, why: why.to_owned(), about, alarm: false };

    let signed: SignedBytes =
        decode(payload, Cap::Head).map_err(|error| deny(Refusal::Encoding, &error.to_string(), about))?;
    let claimed: Request = decode(signed.payload.as_slice(), Cap::Head)
        .map_err(|error| deny(Refusal::Encoding, &error.to_string(), about))?;
    let body_bytes = claimed.body.as_slice();
    about.body_hash = Hash::of(body_bytes);

    // The node key is of that same member, who may ask.
    let Some((member, _)) = trust.active(peer.member, now) else {
        return Err(deny(Refusal::Auth, "the peer is not an active member", about));
    };
    if claimed.node_id != *peer.member || !trust.sign_keys(peer.member, now).contains(&claimed.node_key) {
        return Err(deny(Refusal::Auth, "the request is handed on by another node than the connection's", about));
    }
    if !member.roles.as_slice().contains(&MemberRole::Requester) {
        return Err(deny(Refusal::Auth, "the member may not ask", about));
    }
    verify_message::<Request>(trust.federation(), &[claimed.node_key], signed.payload.as_slice(), &signed.signature)
        .map_err(|error| deny(Refusal::Auth, &format!("node signature: {error}"), about))?;
    if peer.channel_binding.is_some_and(|binding| binding != claimed.channel_binding) {
        return Err(deny(Refusal::Auth, "the request was made for another connection", about));
    }

    let body: RequestBody =
        decode(body_bytes, Cap::Head).map_err(|error| deny(Refusal::Encoding, &error.to_string(), about))?;
    about.request_id = body.request_id;
    body.check().map_err(|rule| deny(Refusal::Encoding, rule, about))?;
    about.reply_class = body.reply_class;

    if body.audience != *me || body.requester != *peer.member {
        return Err(deny(Refusal::Auth, "the request is for or from somebody else", about));
    }
    if !trust.speaks(accord_protocol::PROTOCOL) {
        return Err(deny(Refusal::Encoding, "the roster asks for another version of the protocol", about));
    }
    if !body.in_time(now) {
        return Err(deny(Refusal::Time, "outside the time window", about));
    }
    let card_bytes = claimed.officer_card.as_slice();
    if body.officer_card_hash != Hash::of(card_bytes) {
        return Err(deny(Refusal::Auth, "the request names another card", about));
    }
    let Some(card) = trust.officer(&body.requester, card_bytes, now) else {
        return Err(deny(Refusal::Auth, "no officer of that member is vouched for by this card now", about));
    };
    if !card.purposes.as_slice().contains(&body.purpose) {
        return Err(deny(Refusal::Unavailable, "the officer's card does not allow this purpose", about));
    }
    if !card.key.verifies_as(Label::RequestBody, trust.federation(), body_bytes, &claimed.officer_signature) {
        return Err(deny(Refusal::Auth, "officer signature", about));
    }
    let topic = of_request(trust, &body, &claimed.topic, now)
        .map_err(|error| deny(Refusal::Auth, &with_causes(&error), about))?;
    Ok(Checked { body, body_hash: about.body_hash, card, topic })
}

impl Checked {
    /// What a refusal of it is about.
    pub const fn about(&self) -> About {
        About { body_hash: self.body_hash, request_id: self.body.request_id, reply_class: self.body.reply_class }
    }

    /// A refusal of it.
    pub fn deny(&self, refusal: Refusal, why: impl Into<String>) -> Denied {
        Denied { refusal, why: why.into(), about: self.about(), alarm: false }
    }

    /// A refusal because the policy cannot be evaluated: for the peer it is one like any other.
    pub fn alarm(&self, why: impl Into<String>) -> Denied {
        Denied { alarm: true, ..self.deny(Refusal::Unavailable, why) }
    }
}

/// A request that the policy permits, resolved to cells. Made by [`permit`] alone.
#[derive(Debug, Clone)]
pub struct Permitted {
    selection: Selection,
    table_id: u16,
    way: Way,
}

impl Permitted {
    /// Which cells.
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Of which table.
    pub const fn table_id(&self) -> u16 {
        self.table_id
    }

    /// How it is answered: at once, or after people have said yes.
    pub const fn way(&self) -> Way {
        self.way
    }
}

/// Decides a request by the policy, then resolves it. What may not be discovered looks exactly like what does not exist.
/// `catalogue` is that of the edition which would answer; `view` the hash of what the asker may see now, which is only looked at for a
/// request that names one.
pub fn permit(
    checked: &Checked,
    catalogue: &Catalogue,
    (me, access, now): (&NodeId, &Access, UnixMs),
    view: impl FnOnce() -> Option<Hash>,
) -> Result<Permitted, Denied> {
    let body = &checked.body;
    let own = body.requester == *me;
    let Some(table) = catalogue.table_by_id(body.query.table_id) else {
        if let Some(other) = catalogue.tables().first() {
            drop(std::hint::black_box(access.discoverable(&body.requester, other, now)));
        }
        take_as_long(checked, catalogue, (me, access, now));
        return Err(checked.deny(Refusal::Unavailable, "no such table"));
    };
    if !own {
        match access.discoverable(&body.requester, table, now) {
            Ok(true) => {}
            Ok(false) => {
                take_as_long(checked, catalogue, (me, access, now));
                return Err(checked.deny(Refusal::Unavailable, "the policy does not show this table"));
            }
            Err(fault) => return Err(checked.alarm(DenyReason::Fault(fault).to_string())),
        }
    }
    if body.view_hash != Hash::ZERO && view() != Some(body.view_hash) {
        return Err(checked.deny(Refusal::View, "it was made from another view than the present one"));
    }
    let selection = Selection::new(&body.query, table, me.country()).map_err(|error| {
        let refusal = match error {
            OffGrid::Layout => Refusal::Edition,
            OffGrid::Dimensions
            | OffGrid::Levels
            | OffGrid::Measures
            | OffGrid::Code
            | OffGrid::Time
            | OffGrid::Size => Refusal::Query,
        };
        checked.deny(refusal, error.to_string())
    })?;
    if selection.reply_class != body.reply_class {
        return Err(checked.deny(Refusal::Encoding, "another reply class than the query's"));
    }
    let way = if own { Way::AtOnce } else { decide(checked, table, &selection, access, now)? };
    Ok(Permitted { selection, table_id: table.id, way })
}

// What a denied request costs, for one whose table does not exist or may not be discovered: a selection and a decision, about another
// table and for nothing, so that time does not tell one from the other.
fn take_as_long(checked: &Checked, catalogue: &Catalogue, (me, access, now): (&NodeId, &Access, UnixMs)) {
    let Some(table) = catalogue.tables().first() else { return };
    let Some(set) = table.level_sets().into_iter().next() else { return };
    let dims = set.levels.iter().zip(0u8..).map(|(level, dim)| {
        // Time alone must name its codes.
        let codes = if dim == 0 { vec![NO_MATTER_WHEN] } else { Vec::new() };
        Some(DimQuery { dim, level: *level, codes: Bounded::new(codes)? })
    });
    let dims = dims.collect::<Option<Vec<_>>>().and_then(Bounded::new);
    let query =
        dims.map(|dims| Query { table_id: table.id, table_version: table.version, measures: set.measures, dims });
    if let Some(Ok(selection)) = query.map(|query| Selection::new(&query, table, me.country())) {
        drop(std::hint::black_box(decide(checked, table, &selection, access, now)));
    }
}

fn decide(
    checked: &Checked,
    table: &Table,
    selection: &Selection,
    access: &Access,
    now: UnixMs,
) -> Result<Way, Denied> {
    let body = &checked.body;
    let months = months(table, selection).ok_or_else(|| checked.deny(Refusal::Query, "no period is asked for"))?;
    let topic = checked.topic.is_some();
    let ask =
        Ask { member: &body.requester, table, levels: &selection.levels, purpose: body.purpose, topic, months, now };
    match access.decide(ask) {
        Decision::Permit(way, _) => Ok(way),
        Decision::Deny(reason @ DenyReason::Fault(_)) => Err(checked.alarm(reason.to_string())),
        Decision::Deny(reason) => Err(checked.deny(Refusal::Unavailable, reason.to_string())),
    }
}

/// From the first month of the first period that is asked for to the last month of the last.
fn months(table: &Table, selection: &Selection) -> Option<Months> {
    let time = table.dimensions.iter().position(|dimension| dimension.list == "time")?;
    let periods = selection.codes.get(time)?.iter().filter_map(|number| Period::from_number(*number));
    let ends: Vec<_> = periods.map(Period::months).collect();
    let first = ends.iter().map(|(first, _)| *first).min()?;
    let last = ends.iter().map(|(_, last)| *last).max()?;
    Months::new(first, last)
}

/// Statements that every answer carries.
#[derive(Debug, Clone)]
pub struct Speaker<'a> {
    /// The responder.
    pub me: &'a NodeId,
    /// The trust documents in force, whose versions are stated.
    pub trust: &'a Trust,
    /// Version of the policy in force, and what commits to it.
    pub policy: (u64, Hash),
    /// Node time.
    pub now: UnixMs,
}

impl Speaker<'_> {
    fn head(&self, about: &About, requester: &NodeId) -> AnswerHead {
        AnswerHead {
            preamble: Preamble,
            body_hash: about.body_hash,
            request_id: about.request_id,
            responder: self.me.clone(),
            requester: requester.clone(),
            decision: Answered::Refused,
            code: Refusal::Busy.number(),
            issued_at: self.now,
            epoch: self.trust.root().epoch,
            roster_version: self.trust.roster().roster_version,
            policy_version: self.policy.0,
            policy_commit: self.policy.1,
            edition: 0,
            edition_commit: Hash::ZERO,
            slice_hash: Hash::of(&[]),
            slice_len: 0,
            handling: Handling::strictest(),
            provable_after: UnixMs(0),
        }
    }

    /// The head of a person's no.
    pub fn reject(&self, about: &About, requester: &NodeId, reason: Reason) -> AnswerHead {
        let code = u16::from_be_bytes([reason.number(), 0]) | Refusal::Rejected.number();
        AnswerHead { code, provable_after: provable_after(self.now), ..self.head(about, requester) }
    }

    /// The head of a refusal; one with an entry of its own in the audit log can be proven.
    pub fn refuse(&self, about: &About, requester: &NodeId, refusal: Refusal, has_entry: bool) -> AnswerHead {
        let provable_after = if has_entry { provable_after(self.now) } else { UnixMs(0) };
        AnswerHead { code: refusal.number(), provable_after, ..self.head(about, requester) }
    }

    /// The head of an answer with this slice of this edition.
    pub fn answer(&self, checked: &Checked, edition: &EditionHeader, slice: &[u8], handling: &Handling) -> AnswerHead {
        AnswerHead {
            decision: Answered::Answered,
            code: 0,
            edition: edition.number,
            edition_commit: edition.commit,
            slice_hash: Hash::of(slice),
            slice_len: u32::try_from(slice.len()).unwrap_or(u32::MAX),
            handling: handling.clone(),
            provable_after: provable_after(self.now),
            ..self.head(&checked.about(), &checked.body.requester)
        }
    }
}
