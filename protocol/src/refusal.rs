//! Refusals as peers see them: what to do, never what the provider holds (`wire.md` D13).

crate::codes! {
    /// Why a request is refused. The text of each is fixed; nothing in it depends on data.
    pub enum Refusal: u16 {
        /// Key, signature, officer or topic: one code.
        Auth = 1 "E_AUTH",
        /// Outside the time window.
        Time = 2 "E_TIME",
        /// The same request id with another body.
        Conflict = 3 "E_CONFLICT",
        /// Bytes that are not a message.
        Encoding = 4 "E_ENCODING",
        /// Off the grid of a table that the asker may discover.
        Query = 5 "E_QUERY",
        /// Unknown, undiscoverable, denied, wrong purpose, not granted: one code.
        Unavailable = 6 "E_UNAVAILABLE",
        /// No such edition, or it was withdrawn.
        Edition = 7 "E_EDITION",
        /// What may be seen has changed since the asker looked.
        View = 8 "E_VIEW",
        /// A person said no.
        Rejected = 9 "E_REJECTED",
        /// Asked too much.
        Quota = 10 "E_QUOTA",
        /// Not now.
        Busy = 11 "E_BUSY",
    }
}

impl Refusal {
    /// What the asker should do, fixed for each code; `{member}` stands for the provider.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Auth => {
                "check that your card is on your member's officers list, that the topic you asked under (if any) is in force, and that {member} has the current trust documents (`accord trust`)"
            }
            Self::Time => "check the clocks of your node and of your machine, then ask again",
            Self::Conflict => "ask again: the tool makes a fresh request id",
            Self::Encoding => "update accord: {member} does not understand this version's requests",
            Self::Query => "see `accord tables TABLE` for the levels, codes and periods that exist",
            Self::Unavailable => "ask {member}'s liaison for a grant on this table",
            Self::Edition => "leave out --edition to get the latest, or ask {member} which edition is current",
            Self::View => "what you may see there has changed: ask again, or call {member}'s liaison",
            Self::Rejected => "call {member}'s liaison: a person there said no",
            Self::Quota => "wait a minute, then ask again",
            Self::Busy => "wait a minute, then ask again",
        }
    }

    /// How long to wait before asking again, in seconds, where waiting helps.
    pub const fn after_seconds(self) -> Option<u32> {
        match self {
            Self::Quota | Self::Busy => Some(60),
            Self::Auth
            | Self::Time
            | Self::Conflict
            | Self::Encoding
            | Self::Query
            | Self::Unavailable
            | Self::Edition
            | Self::View
            | Self::Rejected => None,
        }
    }
}

crate::codes! {
    /// Why a person said no. Nothing in it depends on data.
    pub enum Reason: u8 {
        /// Why it is asked for is not clear enough.
        Purpose = 1 "purpose",
        /// The legal basis does not cover it.
        LegalBasis = 2 "legal-basis",
        /// It is more than the purpose needs.
        Scope = 3 "scope",
        /// A case under way forbids it for now.
        OngoingCase = 4 "ongoing-case",
        /// The numbers are not good enough yet.
        Quality = 5 "quality",
        /// It has to be asked through another channel.
        OtherChannel = 6 "other-channel",
        /// Somebody whose decision it needs has not given it.
        Authority = 7 "authority",
        /// None is given.
        Other = 8 "other",
    }
}

impl Reason {
    /// In words for the asker.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Purpose => "why you ask is not clear enough",
            Self::LegalBasis => "the legal basis does not cover it",
            Self::Scope => "it is more than the purpose needs: ask coarser levels or fewer periods",
            Self::OngoingCase => "a case under way forbids it for now",
            Self::Quality => "the numbers are not good enough yet",
            Self::OtherChannel => "it has to be asked through another channel",
            Self::Authority => "somebody whose decision it needs has not given it",
            Self::Other => "no reason was given",
        }
    }
}
