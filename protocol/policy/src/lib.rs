//! Who may receive what: rows that people write, compiled to Cedar, decided by Cedar; denied unless permitted.
//!
//! ```text
//! grants.toml ─▶ rows ─▶ compile ─▶ Cedar text ┐
//!                        policy.cedar (people) ┴▶ engine (parsed, validated) ─▶ decide(ask) ─▶ permit how, or deny why
//! ```
//! Nothing here has a clock or a disk: whoever asks says what time it is.

mod bounds;
mod compile;
mod engine;
mod explain;
mod groups;
mod matrix;
mod rows;
#[cfg(test)]
mod tests;

pub use engine::{Ask, Decision, DenyReason, Policy, Texts, World};
pub use explain::Verdict;
pub use matrix::{AGES, Difference, Reach, Ways, answer_words, differences, reach, ways_words};
pub use rows::{Part, Refused, Way};

/// The schema that policies are held to.
pub const SCHEMA: &str = include_str!("../data/accord.cedarschema");

/// Policies that are ready to use, by name.
pub const READY: [(&str, &str); 3] = [
    ("closed", include_str!("../data/closed.toml")),
    ("eu-strategic-exchange", include_str!("../data/eu-strategic-exchange.toml")),
    ("partner-yearly-totals", include_str!("../data/partner-yearly-totals.toml")),
];
