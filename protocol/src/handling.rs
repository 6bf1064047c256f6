//! How whoever receives an answer must handle it, and what several answers come to together.
//!
//! Europol handling codes, the traffic light protocol 2.0, who else may receive it, and until when it must not be published. Together the
//! strictest of each counts: codes are united, the darker light, the common recipients, the later day.

use std::fmt;

use bincode::{Decode, Encode};

use crate::{codec::Bounded, id::NodeId, time::UnixMs};

/// Europol handling codes, one bit each: H1, H2, H3; none is H0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandlingCodes(u8);

impl HandlingCodes {
    /// Only for preventing and combating crime: what holds for every answer.
    pub const H0: Self = Self(0);
    /// Not in judicial proceedings without the provider's permission.
    pub const H1: Self = Self(1);
    /// Not disseminated without the provider's permission.
    pub const H2: Self = Self(2);
    /// Other restrictions, which the provider names.
    pub const H3: Self = Self(4);

    /// Reads `H0`, or codes joined by `+`: `H1+H3`.
    pub fn from_word(word: &str) -> Option<Self> {
        let one = |word: &str| match word {
            "H0" => Some(Self::H0),
            "H1" => Some(Self::H1),
            "H2" => Some(Self::H2),
            "H3" => Some(Self::H3),
            _ => None,
        };
        word.split('+').try_fold(Self::H0, |all, word| Some(all.with(one(word)?)))
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of these are among them.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for HandlingCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(Self::H1, "H1"), (Self::H2, "H2"), (Self::H3, "H3")];
        let words: Vec<&str> = all.iter().filter(|(code, _)| self.has(*code)).map(|(_, word)| *word).collect();
        f.write_str(if words.is_empty() { "H0".to_owned() } else { words.join("+") }.as_str())
    }
}

impl Encode for HandlingCodes {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C> Decode<C> for HandlingCodes {
    fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        let bits = <u8 as Decode<C>>::decode(decoder)?;
        if bits < 8 { Ok(Self(bits)) } else { Err(bincode::error::DecodeError::Other("no such handling code")) }
    }
}

impl<'de, C> bincode::BorrowDecode<'de, C> for HandlingCodes {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Self::decode(decoder)
    }
}

crate::codes! {
    /// Traffic light protocol 2.0.
    pub enum Tlp: u8 {
        /// No limit.
        Clear = 0 "CLEAR",
        /// Community.
        Green = 1 "GREEN",
        /// Organisation and its clients.
        Amber = 2 "AMBER",
        /// Organisation only.
        AmberStrict = 3 "AMBER+STRICT",
        /// Named recipients only.
        Red = 4 "RED",
    }
}

impl Tlp {
    /// In words for whoever has it (FIRST, TLP 2.0).
    pub const fn words(self) -> &'static str {
        match self {
            Self::Clear => "it may be passed on without limit",
            Self::Green => "it may be passed on within the community of agencies, not in public",
            Self::Amber => "it may be passed on within your organisation and to its clients who need to know",
            Self::AmberStrict => "it may be passed on within your organisation alone",
            Self::Red => "it is for the people who asked alone",
        }
    }
}

/// How the asker must handle an answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Handling {
    /// Handling codes.
    pub code: HandlingCodes,
    /// Traffic light.
    pub tlp: Tlp,
    /// Not to be published before; 0 = no embargo.
    pub embargo_until: UnixMs,
    /// Who may receive it besides the asker, sorted; empty = nobody.
    pub recipients: Bounded<NodeId, 64>,
}

impl Handling {
    /// The narrowest handling without a code: what a refusal carries.
    pub fn strictest() -> Self {
        Self {
            code: HandlingCodes::H0,
            tlp: Tlp::AmberStrict,
            embargo_until: UnixMs(0),
            recipients: Bounded::default(),
        }
    }

    /// What two answers come to together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let both = self.recipients.iter().filter(|member| other.recipients.as_slice().contains(member));
        Self {
            code: self.code.with(other.code),
            tlp: self.tlp.max(other.tlp),
            embargo_until: self.embargo_until.max(other.embargo_until),
            recipients: Bounded::new(both.cloned().collect()).unwrap_or_default(),
        }
    }

    /// Why it may not be passed on to a member at this time, in words; nothing if it may.
    pub fn forbids(&self, member: &NodeId, now: UnixMs) -> Option<String> {
        if now < self.embargo_until {
            return Some(format!("it is under embargo until {}", self.embargo_until));
        }
        if self.recipients.as_slice().contains(member) || self.tlp <= Tlp::Green && !self.code.has(HandlingCodes::H2) {
            return None;
        }
        let named: Vec<&str> = self.recipients.iter().map(NodeId::as_str).collect();
        let named = if named.is_empty() { "nobody".to_owned() } else { named.join(", ") };
        Some(format!("{}, TLP:{}: besides you it is for {named}", self.code, self.tlp))
    }

    /// In words for whoever reads it.
    pub fn words(&self) -> Vec<String> {
        let mut all = vec!["only for preventing and combating crime (H0)".to_owned()];
        let codes = [
            (HandlingCodes::H1, "not in judicial proceedings without the provider's permission (H1)"),
            (HandlingCodes::H2, "not passed on without the provider's permission (H2)"),
            (HandlingCodes::H3, "with other restrictions, which the provider names (H3)"),
        ];
        all.extend(codes.iter().filter(|(code, _)| self.code.has(*code)).map(|(_, words)| (*words).to_owned()));
        all.push(format!("{} (TLP:{})", self.tlp.words(), self.tlp));
        if !self.recipients.as_slice().is_empty() {
            let named: Vec<&str> = self.recipients.iter().map(NodeId::as_str).collect();
            all.push(format!("it may go to {} too", named.join(", ")));
        }
        if self.embargo_until != UnixMs(0) {
            all.push(format!("not to be published before {}", self.embargo_until));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handling(code: &str, tlp: Tlp, embargo: u64, recipients: &[&str]) -> Handling {
        Handling {
            code: HandlingCodes::from_word(code).unwrap(),
            tlp,
            embargo_until: UnixMs(embargo),
            recipients: Bounded::sorted(recipients.iter().map(|name| name.parse().unwrap()).collect()).unwrap(),
        }
    }

    #[test]
    fn together_the_strictest_of_each_counts_in_any_order() {
        let all = [
            handling("H0", Tlp::Clear, 0, &["AT-AGENCY", "PT-AGENCY"]),
            handling("H1+H3", Tlp::Amber, 7, &["DK-AGENCY", "PT-AGENCY"]),
            handling("H2", Tlp::Green, 9, &["PT-AGENCY"]),
            handling("H0", Tlp::Red, 0, &[]),
        ];
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            assert_eq!(a.with(b), b.with(a));
            assert_eq!(a.with(a), *a);
            for c in &all {
                assert_eq!(a.with(b).with(c), a.with(&b.with(c)));
                // What the parts forbid, the whole forbids.
                let member = "PT-AGENCY".parse().unwrap();
                for now in [0, 8, 10].map(UnixMs) {
                    if a.forbids(&member, now).is_some() {
                        assert!(a.with(b).with(c).forbids(&member, now).is_some(), "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
        let three = all[0].with(&all[1]).with(&all[2]);
        assert_eq!(three, handling("H1+H2+H3", Tlp::Amber, 9, &["PT-AGENCY"]));
        assert_eq!(three.code.to_string(), "H1+H2+H3");
    }

    #[test]
    fn who_may_have_it_is_who_is_named_or_everybody_where_the_light_is_green() {
        let pt: NodeId = "PT-AGENCY".parse().unwrap();
        for (handling, now, may) in [
            (handling("H0", Tlp::Amber, 0, &[]), 5, false),
            (handling("H0", Tlp::Amber, 0, &["PT-AGENCY"]), 5, true),
            (handling("H0", Tlp::Green, 0, &[]), 5, true),
            (handling("H2", Tlp::Green, 0, &[]), 5, false),
            (handling("H2", Tlp::Red, 0, &["PT-AGENCY"]), 5, true),
            (handling("H0", Tlp::Clear, 6, &["PT-AGENCY"]), 5, false),
            (handling("H0", Tlp::Clear, 5, &["PT-AGENCY"]), 5, true),
        ] {
            assert_eq!(handling.forbids(&pt, UnixMs(now)).is_none(), may, "{handling:?}");
        }
    }

    #[test]
    fn codes_have_words() {
        for word in ["H0", "H1", "H2", "H3", "H1+H2", "H1+H2+H3"] {
            assert_eq!(HandlingCodes::from_word(word).unwrap().to_string(), word);
        }
        assert_eq!(HandlingCodes::from_word("H0+H2").unwrap().to_string(), "H2");
        for word in ["", "H4", "H1,H2", "h1", "H1+"] {
            assert_eq!(HandlingCodes::from_word(word), None, "{word}");
        }
    }
}
