//! A member's own keys and addresses, signed by its administrators, and the claim by which a key enters.

use std::{collections::BTreeSet, net::SocketAddr};

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, Text},
    id::{Hash, NodeId},
    key::PublicKey,
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    time::{DAY_MS, UnixMs},
};

/// Longest validity of documents that members issue (`wire.md` D8).
pub const VALIDITY_MAX_MS: u64 = 400 * DAY_MS;

/// A member's keys (`wire.md` D8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberKeys {
    /// Protocol and kind.
    pub preamble: Preamble<3>,
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub node_id: NodeId,
    /// Never goes back.
    pub keys_version: u64,
    /// SHA-256 of the version before; zero for the first.
    pub prev_hash: Hash,
    /// When it was made.
    pub issued_at: UnixMs,
    /// At most 400 days later.
    pub expires_at: UnixMs,
    /// The administrators, 2 to 8, sorted.
    pub admin_keys: Bounded<PublicKey, 8>,
    /// How many of them widen anything.
    pub admin_threshold: u8,
    /// Keys of the TLS handshake, current first.
    pub tls_keys: Bounded<PublicKey, 2>,
    /// Keys that sign answers and requests, current first.
    pub sign_keys: Bounded<PublicKey, 2>,
    /// Keys that sign log checkpoints, current first.
    pub log_keys: Bounded<PublicKey, 2>,
    /// Key that cosigns others' checkpoints.
    pub witness_key: PublicKey,
    /// Where the node listens for members, `192.0.2.1:4433`.
    pub addresses: Bounded<Text<64>, 4>,
    /// Oldest version of the officers list that still counts.
    pub officers_version_min: u64,
}

impl MemberKeys {
    /// Every key of the document.
    pub fn all_keys(&self) -> Vec<PublicKey> {
        [&self.admin_keys.as_slice(), &self.tls_keys.as_slice(), &self.sign_keys.as_slice(), &self.log_keys.as_slice()]
            .into_iter()
            .flat_map(|keys| keys.iter().copied())
            .chain([self.witness_key])
            .collect()
    }

    /// The addresses, parsed.
    pub fn socket_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().filter_map(|address| address.as_str().parse().ok()).collect()
    }
}

impl Signable for MemberKeys {
    const LABEL: Label = Label::MemberKeys;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        let admins = self.admin_keys.as_slice().len();
        let threshold = usize::from(self.admin_threshold);
        if admins < 2 || !self.admin_keys.is_sorted_unique() {
            return Err("fewer than two administrators, or they are not sorted");
        }
        if threshold < 2 || threshold > admins || (threshold == admins && admins != 2) {
            return Err("the administrators' threshold is at least 2 and below their number (or 2 of 2)");
        }
        if [&self.tls_keys, &self.sign_keys, &self.log_keys].into_iter().any(|keys| keys.as_slice().is_empty()) {
            return Err("a role without a key");
        }
        let keys = self.all_keys();
        if keys.iter().collect::<BTreeSet<_>>().len() != keys.len() {
            return Err("one key in two places");
        }
        if self.keys_version == 0 {
            return Err("versions start at 1");
        }
        if self.issued_at >= self.expires_at || self.expires_at.0 - self.issued_at.0 > VALIDITY_MAX_MS {
            return Err("validity is not between 0 and 400 days");
        }
        check_addresses(&self.addresses)
    }
}

fn check_addresses(addresses: &Bounded<Text<64>, 4>) -> Result<(), &'static str> {
    if addresses.as_slice().is_empty() {
        return Err("no address");
    }
    for address in addresses.iter() {
        let address: SocketAddr = address.as_str().parse().map_err(|_| "an address is not IP:PORT")?;
        // An IPv4 address may be written as IPv6.
        let ip = address.ip().to_canonical();
        let link_local = match ip {
            std::net::IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || link_local {
            return Err("an address that nobody can be reached at");
        }
    }
    Ok(())
}

/// Believes a member's keys by themselves: its own administrators' threshold has signed, and for the first version so has every key
/// that it lists (possession). Of a later version the keys that are new prove it, see [`follows`].
pub fn verify(document: &Document, federation: &FederationId) -> Result<Verified<MemberKeys>, NotVerified> {
    let claimed: MemberKeys = document.unverified()?;
    if claimed.federation != *federation {
        return Err(NotVerified::Rule("the keys are for another federation"));
    }
    let possession = if claimed.keys_version == 1 { claimed.all_keys() } else { Vec::new() };
    document.verify(federation, claimed.admin_keys.as_slice(), usize::from(claimed.admin_threshold), &possession)
}

/// Whether keys follow others: they are the next version, the administrators' threshold of those before has signed them too, and so
/// has every key that those before do not list (`wire.md` D8). An administrator who stays need not be there.
pub fn follows(before: &MemberKeys, keys: &MemberKeys, document: &Document, federation: &FederationId) -> bool {
    let known = before.all_keys();
    let new: Vec<PublicKey> = keys.all_keys().into_iter().filter(|key| !known.contains(key)).collect();
    let signed = document.valid_signers(federation, before.admin_keys.as_slice());
    keys.keys_version == before.keys_version + 1
        && signed.len() >= usize::from(before.admin_threshold)
        && document.valid_signers(federation, &new).len() == new.len()
}

crate::codes! {
    /// What a key is for.
    pub enum KeyRole: u8 {
        /// Admits members; offline.
        Root = 1 "root",
        /// Signs a member's own documents; offline-capable.
        Administrator = 2 "administrator",
        /// The node's TLS handshake.
        Tls = 3 "tls",
        /// The node's answers and requests.
        Sign = 4 "sign",
        /// The node's log checkpoints.
        Log = 5 "log",
        /// The node's cosignatures.
        Witness = 6 "witness",
        /// A liaison officer.
        Officer = 7 "officer",
        /// An operator.
        Operator = 8 "operator",
        /// An approver.
        Approver = 9 "approver",
        /// An auditor.
        Auditor = 10 "auditor",
        /// The node's edition commitments; a secret that signs nothing which leaves and is never listed.
        Edition = 11 "edition",
    }
}

/// A key with its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RoleKey {
    /// What it is for.
    pub role: KeyRole,
    /// The key.
    pub key: PublicKey,
}

/// What travels instead of a private key: public keys, each of which has signed the claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyClaim {
    /// Protocol and kind.
    pub preamble: Preamble<14>,
    /// Who claims: a person's or a member's name.
    pub name: Text<64>,
    /// The member that the keys are for; absent for root keys.
    pub node_id: Option<NodeId>,
    /// The keys.
    pub keys: Bounded<RoleKey, 8>,
    /// Where a node listens for members; empty for people.
    pub addresses: Bounded<Text<64>, 4>,
}

impl KeyClaim {
    /// The key of a role, if the claim has it.
    pub fn key(&self, role: KeyRole) -> Option<PublicKey> {
        self.keys.iter().find(|entry| entry.role == role).map(|entry| entry.key)
    }
}

impl Signable for KeyClaim {
    const LABEL: Label = Label::KeyClaim;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        let keys: BTreeSet<_> = self.keys.iter().map(|entry| entry.key).collect();
        if keys.is_empty() || keys.len() != self.keys.as_slice().len() {
            return Err("no key, or one in two roles");
        }
        if self.addresses.as_slice().is_empty() { Ok(()) } else { check_addresses(&self.addresses) }
    }
}

/// Believes a claim: every key in it has signed it. Claims are made before a federation is known, in the name of none.
pub fn verify_claim(document: &Document) -> Result<Verified<KeyClaim>, NotVerified> {
    let claimed: KeyClaim = document.unverified()?;
    let keys: Vec<PublicKey> = claimed.keys.iter().map(|entry| entry.key).collect();
    document.verify(&Hash::ZERO, &keys, keys.len(), &keys)
}
