//! What Accord's nodes and people say to each other, and the rules that both sides compute.
//!
//! Everything here is a pure function of its arguments: no clock, no randomness, no socket, no disk. Record types do not
//! exist here, and the only numbers that can be encoded are cells that a node's disclosure control released.
//!
//! Reading order: [`id`], [`time`], [`codec`], [`frame`] (names, instants, bytes); [`key`], [`signed`], [`signer`] (who said it);
//! [`code`], [`catalogue`] (what can be asked); [`cell`], [`edition`] (what is answered); [`root`], [`roster`],
//! [`member_keys`], [`officers`], [`trust`], [`bundle`] (who is trusted, and the files that say so); [`request`], [`answer`], [`handling`], [`refusal`], [`message`], [`view`],
//! [`held`], [`approval`], [`topic`] (the exchange); [`exchange`], [`pool`], [`question`], [`evidence`] (what the asker makes of it);
//! [`log`] (what proves later what happened); [`backup`] (what a node says of a copy of itself).

// Documents made for tests are those of the vectors, which name this crate from outside.
#[cfg(test)]
extern crate self as accord_protocol;

pub mod accept;
pub mod answer;
pub mod approval;
pub mod backup;
pub mod bundle;
pub mod catalogue;
pub mod cell;
pub mod code;
pub mod codec;
pub mod consent;
pub mod distribution;
pub mod edition;
pub mod evidence;
pub mod exchange;
pub mod frame;
pub mod greeting;
pub mod handling;
pub mod held;
pub mod id;
pub mod key;
pub mod layout;
pub mod log;
mod measure;
pub mod member_keys;
pub mod message;
pub mod officers;
pub mod pattern;
pub mod policy;
pub mod pool;
pub mod question;
pub mod refusal;
pub mod request;
pub mod root;
pub mod roster;
pub mod selection;
pub mod signed;
pub mod signer;
pub mod suspend;
pub mod text;
pub mod time;
pub mod topic;
pub mod trust;
pub mod view;

/// The protocol version that this crate speaks; first field of every signed message.
pub const PROTOCOL: u16 = 1;
/// The ALPN string: a protocol version *is* an ALPN string.
pub const ALPN: &[u8] = b"accord/1";
