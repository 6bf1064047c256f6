//! What an officer asks of one provider, and how the officer's node hands it on.

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap},
    id::{Hash, NodeId, RequestId},
    key::{PublicKey, Signature},
    officers::Purpose,
    signed::{Label, Preamble, Signable},
    time::{MINUTE_MS, UnixMs},
};

/// Longest time between issuing a request and the moment by which it must be delivered.
pub const DELIVER_WITHIN_MS: u64 = 10 * MINUTE_MS;
/// Clock difference that is tolerated.
pub const SKEW_MS: u64 = 2 * MINUTE_MS;
/// Longest time that a request may wait for a person.
pub const WANTED_WITHIN_MS: u64 = 30 * crate::time::DAY_MS;
/// A signed topic's bytes, as they travel with a request.
pub type TopicBytes = Bounded<u8, 2048>;
/// Codes of one dimension in one request, at most.
pub const CODES_MAX: usize = 64;

crate::codes! {
    /// On what ground somebody asks.
    pub enum LegalBasis: u16 {
        /// Exchange for strategic purposes under a bilateral or multilateral agreement.
        Agreement = 1 "agreement",
        /// Directive (EU) 2023/977 on the exchange of information between law enforcement authorities.
        Directive2023977 = 2 "directive-2023-977",
        /// Regulation (EU) 2023/1322 on the European Union Drugs Agency.
        Regulation20231322 = 3 "regulation-2023-1322",
        /// National law.
        NationalLaw = 4 "national-law",
        /// None: a test.
        Test = 5 "test",
    }
}

/// Which codes of one dimension are asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DimQuery {
    /// Index of the dimension in the table.
    pub dim: u8,
    /// Index of the level.
    pub level: u8,
    /// Code numbers, sorted, each once; empty = every code of the level.
    pub codes: Bounded<u32, CODES_MAX>,
}

/// A selection from one table.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Query {
    /// Number of the table.
    pub table_id: u16,
    /// Version of its layout.
    pub table_version: u16,
    /// Bit *i* = the *i*-th measure.
    pub measures: u32,
    /// Every dimension of the table, in its order.
    pub dims: Bounded<DimQuery, 8>,
}

/// What an officer signs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestBody {
    /// Protocol and kind.
    pub preamble: Preamble<16>,
    /// Random, fresh for each audience.
    pub request_id: RequestId,
    /// The officer's member.
    pub requester: NodeId,
    /// SHA-256 of the officer's card.
    pub officer_card_hash: Hash,
    /// The provider.
    pub audience: NodeId,
    /// Node time.
    pub issued_at: UnixMs,
    /// By when it must arrive; at most 10 minutes later.
    pub deliver_by: UnixMs,
    /// Until when an answer is wanted that a person must allow first; 0 = not.
    pub wanted_until: UnixMs,
    /// The asker's epoch, a statement only.
    pub epoch: u32,
    /// The asker's roster version, a statement only.
    pub roster_version: u64,
    /// The view it was made from; zero = any.
    pub view_hash: Hash,
    /// The edition wanted; 0 = the latest.
    pub edition: u64,
    /// Why.
    pub purpose: Purpose,
    /// On what ground.
    pub legal_basis: LegalBasis,
    /// SHA-256 of the signed topic, an approved line of inquiry; zero = none.
    pub topic_hash: Hash,
    /// Salted hash of the asker's case reference; zero = none.
    pub case_ref_commit: Hash,
    /// Size class of every reply to this request.
    pub reply_class: u8,
    /// What is asked.
    pub query: Query,
}

impl Signable for RequestBody {
    const LABEL: Label = Label::RequestBody;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if self.query.dims.iter().any(|dim| !dim.codes.is_sorted_unique()) {
            return Err("codes are not sorted, or one stands twice");
        }
        if self.query.dims.iter().enumerate().any(|(index, dim)| usize::from(dim.dim) != index) {
            return Err("dimensions are not those of a table in order");
        }
        if self.reply_class > 4 {
            return Err("no such reply class");
        }
        if self.audience == self.requester && self.wanted_until.0 != 0 {
            return Err("nobody waits for their own approval");
        }
        Ok(())
    }
}

impl RequestBody {
    /// Whether the request's times are acceptable at node time `now` (`wire.md` D12).
    pub fn in_time(&self, now: UnixMs) -> bool {
        let window = self.deliver_by.0.checked_sub(self.issued_at.0);
        let wanted = self.wanted_until.0 == 0
            || self.wanted_until.0.checked_sub(self.issued_at.0).is_some_and(|wait| wait <= WANTED_WITHIN_MS);
        self.issued_at <= now.plus(SKEW_MS)
            && now <= self.deliver_by.plus(SKEW_MS)
            && window.is_some_and(|window| window <= DELIVER_WITHIN_MS)
            && wanted
    }
}

/// What the officer's node adds and signs: that it is the one who hands the request on, over this very connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Protocol and kind.
    pub preamble: Preamble<17>,
    /// The officer's signed bytes.
    pub body: Bounded<u8, { 32 << 10 }>,
    /// The officer's signature over them.
    pub officer_signature: Signature,
    /// The officer's card.
    pub officer_card: Bounded<u8, 1024>,
    /// The topic, as a signed document; empty = none.
    pub topic: TopicBytes,
    /// The node.
    pub node_id: NodeId,
    /// Its signing key.
    pub node_key: PublicKey,
    /// When it was handed on.
    pub sent_at: UnixMs,
    /// Exported from the TLS session (RFC 5705), so that the envelope is worthless on another connection.
    pub channel_binding: [u8; 32],
}

impl Signable for Request {
    const LABEL: Label = Label::Request;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Label of the TLS exporter for [`Request::channel_binding`].
pub const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-accord/1-request";

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn body(issued_at: u64, deliver_by: u64) -> RequestBody {
        RequestBody {
            preamble: Preamble,
            request_id: RequestId([1; 16]),
            requester: "ES-AGENCY".parse().unwrap(),
            officer_card_hash: Hash([2; 32]),
            audience: "IT-AGENCY".parse().unwrap(),
            issued_at: UnixMs(issued_at),
            deliver_by: UnixMs(deliver_by),
            wanted_until: UnixMs(0),
            epoch: 1,
            roster_version: 1,
            view_hash: Hash::ZERO,
            edition: 0,
            purpose: Purpose::StrategicAnalysis,
            legal_basis: LegalBasis::Agreement,
            topic_hash: Hash::ZERO,
            case_ref_commit: Hash::ZERO,
            reply_class: 0,
            query: Query {
                table_id: 1,
                table_version: 1,
                measures: 1,
                dims: Bounded::new(vec![
                    DimQuery { dim: 0, level: 0, codes: Bounded::new(vec![201_200]).unwrap() },
                    DimQuery { dim: 1, level: 1, codes: Bounded::default() },
                ])
                .unwrap(),
            },
        }
    }

    #[test]
    fn the_window_is_two_minutes_wide_on_both_sides_and_ten_long() {
        let now = 1_000_000_000;
        let minute = MINUTE_MS;
        for (issued, deliver, good) in [
            (now, now + 10 * minute, true),
            (now, now + 10 * minute + 1, false),
            (now + 2 * minute, now + 3 * minute, true),
            (now + 2 * minute + 1, now + 3 * minute, false),
            (now - 12 * minute, now - 2 * minute, true),
            (now - 12 * minute, now - 2 * minute - 1, false),
            (now, now - 1, false),
            (0, 0, false),
            (now, u64::MAX, false),
        ] {
            assert_eq!(body(issued, deliver).in_time(UnixMs(now)), good, "{issued} {deliver}");
        }
    }

    #[test]
    fn codes_out_of_order_or_twice_break_the_rules() {
        let mut request = body(0, 0);
        assert_eq!(request.check(), Ok(()));
        for codes in [vec![2, 1], vec![1, 1]] {
            request.query.dims =
                Bounded::new(vec![DimQuery { dim: 0, level: 0, codes: Bounded::new(codes).unwrap() }]).unwrap();
            assert!(request.check().is_err());
        }
        request.query.dims = Bounded::new(vec![DimQuery { dim: 1, level: 0, codes: Bounded::default() }]).unwrap();
        assert!(request.check().is_err());
    }
}
