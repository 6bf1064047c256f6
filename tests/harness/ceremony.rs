//! Trust documents of a demo federation, changed and signed as a test wants.

use std::path::Path;

use accord_edge::{
    clock, files,
    keyring::{KeyRing, Seal},
};
use accord_protocol::{
    codec::{Bounded, Cap, Text, decode, encode},
    id::Hash,
    key::{PublicKey, SigningKey},
    member_keys::{KeyRole, MemberKeys},
    roster::Roster,
    signed::{Document, FederationId, Label, Preamble, Signable, Signed},
    suspend::{Suspend, Target, Way},
};

use crate::Federation;

impl Federation {
    /// The federation's id.
    pub fn federation_id(&self) -> FederationId {
        self.id.parse().unwrap()
    }

    /// Reads a document below the federation's folder.
    pub fn document(&self, file: &str) -> Document {
        files::read_bundle(&self.path().join(file)).unwrap().proposed.as_slice()[0].clone()
    }

    /// Signs with the keys of some rings, by role, and writes the document to a file.
    pub fn sign<T: Signable>(&self, file: &str, value: &T, rings: &[(&str, KeyRole)]) -> Document {
        let mut document = Document::new(value).unwrap();
        for (ring, role) in rings {
            assert!(document.add_signature(&ring_key(&self.path().join(ring), *role), &self.federation_id()));
        }
        files::write_document(&self.path().join(file), &document).unwrap();
        document
    }

    /// Signs any bytes as if they were a document of this kind, and writes them to a file.
    pub fn sign_payload(&self, file: &str, label: Label, payload: &[u8], rings: &[(&str, KeyRole)]) -> Document {
        let federation = if label == Label::Root { Hash::ZERO } else { self.federation_id() };
        let sign = |(ring, role): &(&str, KeyRole)| {
            let key = ring_key(&self.path().join(ring), *role);
            Signed { key: key.public(), signature: key.sign(label, &federation, payload) }
        };
        let signatures = Bounded::<Signed, 64>::new(rings.iter().map(sign).collect()).unwrap();
        let payload = Bounded::<u8, { 1 << 20 }>::new(payload.to_vec()).unwrap();
        let document: Document = decode(&encode(&(label, payload, signatures)).unwrap(), Cap::Document).unwrap();
        files::write_document(&self.path().join(file), &document).unwrap();
        document
    }

    /// The roster after `previous`, changed, signed by two root holders.
    pub fn next_roster(&self, previous: &str, file: &str, change: impl FnOnce(&mut Roster)) -> Document {
        let before = self.document(previous);
        let mut roster: Roster = before.unverified().unwrap();
        roster.roster_version += 1;
        roster.prev_hash = before.hash();
        change(&mut roster);
        let rings = [("root-1/root.ring", KeyRole::Root), ("root-2/root.ring", KeyRole::Root)];
        self.sign(file, &roster, &rings)
    }

    /// A member's keys after `previous`, changed, signed by its two administrators and by its node's keys; with continuity, since the
    /// signing key stays, unless the change takes it out.
    pub fn next_keys(
        &self,
        member: &str,
        previous: &str,
        file: &str,
        change: impl FnOnce(&mut MemberKeys),
    ) -> Document {
        let keys = self.keys_after(previous, change);
        let (first, second) = (format!("{member}/admin-1/admin.ring"), format!("{member}/admin-2/admin.ring"));
        let node = format!("{member}/node/node.ring");
        let of_node = [KeyRole::Tls, KeyRole::Sign, KeyRole::Log, KeyRole::Witness].map(|role| (node.as_str(), role));
        let admins = [first.as_str(), second.as_str()].map(|ring| (ring, KeyRole::Administrator));
        self.sign(file, &keys, &[admins.as_slice(), &of_node].concat())
    }

    /// A member's keys after `previous`, changed, signed by its two administrators alone: the node adds its own signatures.
    pub fn next_keys_of_administrators(
        &self,
        member: &str,
        previous: &str,
        file: &str,
        change: impl FnOnce(&mut MemberKeys),
    ) -> Document {
        let keys = self.keys_after(previous, change);
        let (first, second) = (format!("{member}/admin-1/admin.ring"), format!("{member}/admin-2/admin.ring"));
        self.sign(file, &keys, &[(&first, KeyRole::Administrator), (&second, KeyRole::Administrator)])
    }

    fn keys_after(&self, previous: &str, change: impl FnOnce(&mut MemberKeys)) -> MemberKeys {
        let before = self.document(previous);
        let mut keys: MemberKeys = before.unverified().unwrap();
        keys.keys_version += 1;
        keys.prev_hash = before.hash();
        change(&mut keys);
        keys
    }

    /// Puts a new TLS and a new signing key into a member's ring beside those there, once those that are not listed in `file` are out
    /// of it; the new ones.
    pub fn new_node_keys(&self, member: &str, file: &str) -> [PublicKey; 2] {
        self.new_node_keys_of(member, file, [KeyRole::Tls, KeyRole::Sign])
    }

    /// The same with one new key of each of these roles.
    pub fn new_node_keys_of<const N: usize>(&self, member: &str, file: &str, roles: [KeyRole; N]) -> [PublicKey; N] {
        let ring = self.path().join(member).join("node/node.ring");
        let listed: MemberKeys = self.document(file).unverified().unwrap();
        let gone = |role, key: &PublicKey| roles.contains(&role) && !listed.all_keys().contains(key);
        let ring = KeyRing::rotate(&ring, &roles, gone, Seal::Open).unwrap();
        roles.map(|role| ring.all(role).last().unwrap().public())
    }

    /// A suspension by some of a member's administrators, or its lifting, from now on for a day; written to a file.
    pub fn suspend(&self, member: &str, (way, target, subject): (Way, Target, &str), admins: &[u8], file: &str) {
        let now = clock::now();
        let suspend = Suspend {
            preamble: Preamble,
            federation: self.federation_id(),
            node_id: member.parse().unwrap(),
            way,
            target,
            subject: Text::new(subject).unwrap(),
            reason: Text::new("a test").unwrap(),
            issued_at: now,
            until: now.plus(86_400_000),
        };
        let rings: Vec<String> = admins.iter().map(|admin| format!("{member}/admin-{admin}/admin.ring")).collect();
        let rings: Vec<_> = rings.iter().map(|ring| (ring.as_str(), KeyRole::Administrator)).collect();
        self.sign(file, &suspend, &rings);
    }

    /// A member's operator hands files to the node.
    pub fn publish(&self, member: &str, documents: &[&str]) -> crate::Said {
        self.operator(member, &[["federation", "publish", "--json"].as_slice(), documents].concat())
    }

    /// What the nodes have logged.
    pub fn logs(&self) -> String {
        let read = |member: &String| std::fs::read_to_string(self.path().join(format!("{member}-node.log"))).ok();
        self.members.iter().filter_map(|member| Some(format!("{member}:\n{}", read(member)?))).collect()
    }

    /// The version of the roster that a member's node has in force.
    pub fn roster_version(&self, member: &str) -> u64 {
        let said = self.operator(member, &["status", "--json"]);
        said.json()["result"]["roster"]["version"].as_u64().unwrap()
    }
}

fn ring_key(ring: &Path, role: KeyRole) -> SigningKey {
    KeyRing::open(ring, || None).unwrap().take(role).unwrap()
}
