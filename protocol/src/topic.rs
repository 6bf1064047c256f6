//! A topic: a line of inquiry that an asking member's administrators have approved, for one provider and naming only it.
//!
//! It travels with the requests that are made under it; providers may require one (`wire.md` D3, D17).

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, decode},
    id::{Hash, NodeId},
    member_keys::VALIDITY_MAX_MS,
    officers::Purpose,
    request::{RequestBody, TopicBytes},
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    text::is_note,
    time::UnixMs,
    trust::Trust,
};

crate::codes! {
    /// For which requests something holds, where it matters whether they stand under a topic.
    pub enum Under: u8 {
        /// For all.
        Either = 1 "with or without a topic",
        /// For those without a topic.
        Without = 2 "without a topic",
        /// For those with one.
        With = 3 "with a topic",
    }
}

/// An approved line of inquiry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Topic {
    /// Protocol and kind.
    pub preamble: Preamble<10>,
    /// The federation.
    pub federation: FederationId,
    /// The asking member.
    pub node_id: NodeId,
    /// The one provider that it is for.
    pub audience: NodeId,
    /// Random, so that two providers cannot tell by the hash whether they hold the same line of inquiry.
    pub salt: [u8; 16],
    /// What is inquired into, in words; UTF-8.
    pub title: Bounded<u8, 800>,
    /// What for; sorted, one at least.
    pub purposes: Bounded<Purpose, 16>,
    /// From when.
    pub valid_from: UnixMs,
    /// From when on no longer; at most 400 days later.
    pub valid_to: UnixMs,
}

impl Topic {
    /// What is inquired into, in words.
    pub fn title(&self) -> &str {
        std::str::from_utf8(self.title.as_slice()).unwrap_or("")
    }

    /// Whether it is in force at a moment: `valid_from <= at < valid_to`.
    pub fn holds_at(&self, at: UnixMs) -> bool {
        self.valid_from <= at && at < self.valid_to
    }
}

impl Signable for Topic {
    const LABEL: Label = Label::Topic;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.node_id == self.audience {
            return Err("nobody needs a topic to ask the own node");
        }
        if !is_note(self.title()) || self.title().trim() != self.title() {
            return Err("a title has 3 to 200 visible characters on one line, the first and last no blanks");
        }
        if self.purposes.as_slice().is_empty() || !self.purposes.is_sorted_unique() {
            return Err("purposes are missing, not sorted, or one stands twice");
        }
        if self.valid_from >= self.valid_to || self.valid_to.0 - self.valid_from.0 > VALIDITY_MAX_MS {
            return Err("validity is not between 0 and 400 days");
        }
        Ok(())
    }
}

/// Why a request does not stand under a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderTopic {
    /// The request and what travels with it do not belong together.
    #[error("{0}")]
    Request(&'static str),
    /// It is not signed as it must be, or breaks a rule.
    #[error("the topic is not believed")]
    NotVerified(#[from] NotVerified),
}

/// Believes a topic that a member's administrators have signed, by the administrators who count now.
///
/// # Errors
/// Signatures that are missing, or a rule that is broken.
pub fn verify(document: &Document, trust: &Trust) -> Result<Verified<Topic>, NotVerified> {
    let claimed: Topic = document.unverified()?;
    let keys = trust.keys(&claimed.node_id).filter(|_| claimed.federation == *trust.federation());
    let keys = keys.ok_or(NotVerified::Rule("the topic is of another federation, or of nobody on the roster"))?;
    document.verify(trust.federation(), keys.admin_keys.as_slice(), usize::from(keys.admin_threshold), &[])
}

/// The topic that a request names, given the bytes that travel with it: signed, of its member, for its provider and purpose. Nothing
/// for one that names none and brings none. Whether it is in force is not looked at.
///
/// # Errors
/// What does not belong together.
pub fn named(trust: &Trust, body: &RequestBody, bytes: &TopicBytes) -> Result<Option<Verified<Topic>>, NotUnderTopic> {
    if body.topic_hash == Hash::ZERO && bytes.as_slice().is_empty() {
        return Ok(None);
    }
    let refused = |rule| Err(NotUnderTopic::Request(rule));
    if body.topic_hash == Hash::ZERO || bytes.as_slice().is_empty() {
        return refused("the request names a topic and brings none, or brings one that it does not name");
    }
    let document: Document = decode(bytes.as_slice(), Cap::Head).map_err(NotVerified::from)?;
    if document.hash() != body.topic_hash {
        return refused("the request names another topic than the one that it brings");
    }
    let topic = verify(&document, trust)?;
    if topic.node_id != body.requester || topic.audience != body.audience {
        return refused("the topic is of another member, or for another provider");
    }
    if !topic.purposes.as_slice().contains(&body.purpose) {
        return refused("the topic is not for this purpose");
    }
    Ok(Some(topic))
}

/// The topic that a request stands under now.
///
/// # Errors
/// Why the request may not stand under it.
pub fn of_request(
    trust: &Trust,
    body: &RequestBody,
    bytes: &TopicBytes,
    now: UnixMs,
) -> Result<Option<Verified<Topic>>, NotUnderTopic> {
    of_decided_request(trust, body, bytes, (now, now))
}

/// The topic that a request stands under which was decided at a moment: it may have run out since, but nobody has ended it.
///
/// # Errors
/// Why the request may not stand under it.
pub fn of_decided_request(
    trust: &Trust,
    body: &RequestBody,
    bytes: &TopicBytes,
    (decided_at, now): (UnixMs, UnixMs),
) -> Result<Option<Verified<Topic>>, NotUnderTopic> {
    let topic = named(trust, body, bytes)?;
    let is_ended = topic.as_ref().is_some_and(|topic| trust.topic_is_ended(topic, (decided_at, now)));
    in_force(topic, is_ended, decided_at)
}

/// The topic that a request stood under when it was issued: what was ended afterwards was in force then.
///
/// # Errors
/// Why the request did not stand under it.
pub fn of_past_request(
    trust: &Trust,
    body: &RequestBody,
    bytes: &TopicBytes,
) -> Result<Option<Verified<Topic>>, NotUnderTopic> {
    let topic = named(trust, body, bytes)?;
    let was_ended = topic.as_ref().is_some_and(|topic| trust.topic_was_ended(topic, body.issued_at));
    in_force(topic, was_ended, body.issued_at)
}

fn in_force(
    topic: Option<Verified<Topic>>,
    is_ended: bool,
    at: UnixMs,
) -> Result<Option<Verified<Topic>>, NotUnderTopic> {
    if is_ended {
        return Err(NotUnderTopic::Request("an administrator of the asking member has ended the topic"));
    }
    if topic.as_ref().is_some_and(|topic| !topic.holds_at(at)) {
        return Err(NotUnderTopic::Request("the topic is not in force at this time"));
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            preamble: Preamble,
            federation: Hash([1; 32]),
            node_id: "ES-AGENCY".parse().unwrap(),
            audience: "IT-AGENCY".parse().unwrap(),
            salt: [2; 16],
            title: Bounded::new("Añadidos en contenedores frigoríficos".as_bytes().to_vec()).unwrap(),
            purposes: Bounded::new(vec![Purpose::StrategicAnalysis, Purpose::EarlyWarning]).unwrap(),
            valid_from: UnixMs(10),
            valid_to: UnixMs(20),
        }
    }

    #[test]
    fn a_topic_keeps_its_rules() {
        let purposes = |list: Vec<Purpose>| Bounded::new(list).unwrap();
        let title = |text: &str| Bounded::new(text.as_bytes().to_vec()).unwrap();
        let table = [
            (topic(), true),
            (Topic { audience: topic().node_id, ..topic() }, false),
            (Topic { title: title("ab"), ..topic() }, false),
            (Topic { title: title("two\nlines"), ..topic() }, false),
            (Topic { title: title("two\u{2028}lines"), ..topic() }, false),
            (Topic { title: title("in\u{200b}visible"), ..topic() }, false),
            (Topic { title: title(" blanks"), ..topic() }, false),
            (Topic { title: title("blanks\u{a0}"), ..topic() }, false),
            (Topic { title: title(&"ä".repeat(200)), ..topic() }, true),
            (Topic { title: title(&"ä".repeat(201)), ..topic() }, false),
            (Topic { title: Bounded::new(vec![0xff; 9]).unwrap(), ..topic() }, false),
            (Topic { purposes: purposes(vec![]), ..topic() }, false),
            (Topic { purposes: purposes(vec![Purpose::Test, Purpose::EarlyWarning]), ..topic() }, false),
            (Topic { purposes: purposes(vec![Purpose::Test, Purpose::Test]), ..topic() }, false),
            (Topic { valid_to: UnixMs(10), ..topic() }, false),
            (Topic { valid_to: UnixMs(10 + VALIDITY_MAX_MS), ..topic() }, true),
            (Topic { valid_to: UnixMs(11 + VALIDITY_MAX_MS), ..topic() }, false),
        ];
        for (topic, holds) in table {
            assert_eq!(topic.check().is_ok(), holds, "{topic:?}");
        }
    }

    #[test]
    fn a_topic_is_in_force_from_the_first_moment_to_before_the_last() {
        for (at, holds) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(topic().holds_at(UnixMs(at)), holds, "{at}");
        }
    }
}
