//! Whose documents are, and where they go: to partners, to the tools of a member's own people, or nowhere.

use std::collections::BTreeSet;

use crate::{
    accept::Accept,
    codec::encode,
    id::{Hash, NodeId},
    member_keys::{KeyRole, MemberKeys},
    officers::{Officers, Staff},
    policy::PolicyDocument,
    signed::{Document, Label},
    suspend::Suspend,
    topic::Topic,
};

/// Whose tool it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// An operator's, who sees who works at the node and what is stopped there.
    Operators,
    /// Of anybody else who works at the node.
    Others,
}

impl Tool {
    /// The tool of whoever works in a role.
    pub const fn of(role: KeyRole) -> Self {
        match role {
            KeyRole::Operator => Self::Operators,
            KeyRole::Root
            | KeyRole::Administrator
            | KeyRole::Tls
            | KeyRole::Sign
            | KeyRole::Log
            | KeyRole::Witness
            | KeyRole::Officer
            | KeyRole::Approver
            | KeyRole::Auditor
            | KeyRole::Edition => Self::Others,
        }
    }
}

/// The member whose document it says that it is; nothing for those of the federation.
pub fn owner(document: &Document) -> Option<NodeId> {
    match document.label() {
        Label::MemberKeys => document.unverified::<MemberKeys>().ok().map(|keys| keys.node_id),
        Label::Officers => document.unverified::<Officers>().ok().map(|list| list.node_id),
        Label::Staff => document.unverified::<Staff>().ok().map(|list| list.node_id),
        Label::Policy => document.unverified::<PolicyDocument>().ok().map(|policy| policy.node_id),
        Label::Suspend => document.unverified::<Suspend>().ok().map(|suspend| suspend.node_id),
        Label::Topic => document.unverified::<Topic>().ok().map(|topic| topic.node_id),
        Label::Accept => document.unverified::<Accept>().ok().map(|accept| accept.node_id),
        _ => None,
    }
}

/// Whether a document goes to partners: staff lists, policies, acceptances, and suspensions that are local stay.
pub fn travels(document: &Document) -> bool {
    match document.label() {
        Label::Root | Label::Roster | Label::Catalogue | Label::MemberKeys | Label::Officers => true,
        Label::Suspend => document.unverified::<Suspend>().is_ok_and(|suspend| suspend.travels()),
        _ => false,
    }
}

/// Whether a document goes to a tool of the member's own people: all that travel, and acceptances, so that they trust the same; to
/// operators all that count.
pub fn is_for_tools(document: &Document, tool: Tool) -> bool {
    let local = matches!(document.label(), Label::Staff | Label::Policy | Label::Suspend);
    travels(document) || document.label() == Label::Accept || (local && tool == Tool::Operators)
}

/// Names a set of documents, those for one kind of tool: two that hold the same have the same. With their signatures, since a
/// document that lacks one may count for less.
pub fn digest(documents: &[Document], tool: Tool) -> Hash {
    let for_tools = documents.iter().filter(|document| is_for_tools(document, tool));
    let whole = |document: &Document| encode(document).map_or(Hash::ZERO, |bytes| Hash::of(&bytes));
    let all: BTreeSet<Hash> = for_tools.map(whole).collect();
    Hash::of(&all.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())
}
