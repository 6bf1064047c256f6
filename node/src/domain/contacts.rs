//! What each other member has last said of itself, since this node started.

use std::collections::BTreeMap;

use accord_protocol::{
    greeting::{Hello, Mark},
    id::NodeId,
    signed::Label,
    time::UnixMs,
};

/// One member, as far as this node has heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    /// When its last greeting came.
    pub heard_at: Option<UnixMs>,
    /// The time that it said then.
    pub said: Option<UnixMs>,
    /// Version of the roster that it named.
    pub roster_version: Option<u64>,
    /// Highest version of this node's own keys document that it named.
    pub keys_known: Option<u64>,
    /// Whether the last try to greet it succeeded; nothing before the first.
    pub reachable: Option<bool>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Contacts(BTreeMap<NodeId, Contact>);

impl Contacts {
    /// Notes a verified greeting of a member, heard at `now` by the node of `me`.
    pub fn heard(&mut self, me: &NodeId, hello: &Hello, now: UnixMs) {
        let about_me = |mark: &&Mark| mark.label == Label::MemberKeys && mark.of.as_ref() == Some(me);
        let contact = self.0.entry(hello.node_id.clone()).or_default();
        contact.heard_at = Some(now);
        contact.said = Some(hello.now);
        contact.roster_version = Some(hello.roster_version);
        // Greetings may overtake each other, and nobody forgets a version.
        let named = hello.held.iter().filter(about_me).map(|mark| mark.version).max();
        contact.keys_known = contact.keys_known.max(named);
    }

    /// Notes whether a try to greet a member succeeded.
    pub fn tried(&mut self, member: &NodeId, reachable: bool) {
        self.0.entry(member.clone()).or_default().reachable = Some(reachable);
    }

    /// One member.
    pub fn of(&self, member: &NodeId) -> Contact {
        self.0.get(member).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use accord_protocol::{codec::Bounded, id::Hash, signed::Preamble};

    use super::*;

    #[test]
    fn what_a_member_knows_of_the_own_keys_does_not_go_back_when_greetings_overtake_each_other() {
        let [me, other]: [NodeId; 2] = ["IT-AGENCY", "ES-AGENCY"].map(|name| name.parse().unwrap());
        let hello = |marks: &[(&NodeId, u64)], said| Hello {
            preamble: Preamble,
            federation: Hash([1; 32]),
            node_id: other.clone(),
            epoch: 1,
            roster_version: 4,
            roster_hash: Hash([2; 32]),
            held: Bounded::new(
                marks
                    .iter()
                    .map(|(of, version)| Mark {
                        label: Label::MemberKeys,
                        of: Some(NodeId::clone(of)),
                        version: *version,
                        hash: Hash([3; 32]),
                    })
                    .collect(),
            )
            .unwrap(),
            min_protocol: 1,
            max_protocol: 1,
            now: UnixMs(said),
        };
        let mut contacts = Contacts::default();
        assert_eq!(contacts.of(&other), Contact::default());
        contacts.heard(&me, &hello(&[(&other, 7)], 10), UnixMs(11));
        assert_eq!(contacts.of(&other).keys_known, None, "its own are not meant");
        contacts.heard(&me, &hello(&[(&me, 2), (&other, 7)], 12), UnixMs(13));
        contacts.heard(&me, &hello(&[(&me, 1), (&other, 7)], 11), UnixMs(14));
        contacts.tried(&other, false);
        let want = Contact {
            heard_at: Some(UnixMs(14)),
            said: Some(UnixMs(11)),
            roster_version: Some(4),
            keys_known: Some(2),
            reachable: Some(false),
        };
        assert_eq!(contacts.of(&other), want);
    }
}
