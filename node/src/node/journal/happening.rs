//! What happened, before it is an entry of the audit log: who did it, what it is about, and the rest as a JSON object.

use accord_protocol::{
    accept::Accept,
    answer::AnswerHead,
    cell::CELL_LEN,
    codec::{Cap, decode},
    greeting::mark,
    held::{HeldState, Status},
    id::{Hash, NodeId, OfficerId},
    key::PublicKey,
    log::{EventKind, subject_of},
    member_keys::KeyRole,
    officers::{Card, Staff},
    policy::PolicyDocument,
    refusal::Reason,
    request::{Query, Request, RequestBody},
    signed::{Document, FederationId, Label},
    suspend::Suspend,
};
use serde_json::{Map, Value, json};

use crate::domain::answering::Decided;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The node by itself.
    Node,
    /// One of the agency's own people, by the key that they connected with.
    Person(KeyRole, PublicKey),
    /// The same, where the right to be one of them ended meanwhile.
    Key(PublicKey),
    /// An officer, by pseudonym.
    Officer(NodeId, OfficerId),
    /// Another member's node.
    Member(NodeId),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Person(role, key) => write!(f, "{role}:{key}"),
            Self::Key(key) => write!(f, "key:{key}"),
            Self::Officer(member, id) => write!(f, "officer:{member}:{id}"),
            Self::Member(member) => write!(f, "member:{member}"),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Happening {
    /// What kind of thing.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Actor,
    /// The signed thing that it is about; zero for none.
    pub subject: Hash,
    detail: Map<String, Value>,
}

impl Happening {
    /// Something about nothing that is signed.
    pub fn new(kind: EventKind, actor: &Actor, detail: Value) -> Self {
        let Value::Object(detail) = detail else { return Self::new(kind, actor, json!({ "what": detail })) };
        Self { kind, actor: actor.clone(), subject: Hash::ZERO, detail }
    }

    /// The same about something that is signed.
    #[must_use]
    pub fn about(self, label: Label, federation: &FederationId, payload: &[u8]) -> Self {
        Self { subject: subject_of(label, federation, payload), ..self }
    }

    /// The same about a document.
    #[must_use]
    pub fn about_document(self, federation: &FederationId, document: &Document) -> Self {
        // As they are signed: a root document makes the federation.
        let federation = if document.label() == Label::Root { &Hash::ZERO } else { federation };
        self.about(document.label(), federation, document.payload())
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.detail.insert(name.to_owned(), value);
        self
    }

    /// The detail's text: a JSON object that begins with who did it.
    pub fn text(&self) -> Vec<u8> {
        let mut object = Map::new();
        object.insert("actor".into(), json!(self.actor.to_string()));
        object.extend(self.detail.clone());
        Value::Object(object).to_string().into_bytes()
    }
}

/// Whose a trust document is, and which version of it; suspensions and acceptances have none, and the federation's own are of nobody.
pub(super) fn named(document: &Document) -> (Option<NodeId>, Option<u64>) {
    match document.label() {
        Label::Staff => document.unverified::<Staff>().map(|list| (Some(list.node_id), Some(list.list_version))),
        Label::Policy => {
            document.unverified::<PolicyDocument>().map(|policy| (Some(policy.node_id), Some(policy.policy_version)))
        }
        Label::Accept => document.unverified::<Accept>().map(|accept| (Some(accept.node_id), None)),
        Label::Suspend => document.unverified::<Suspend>().map(|suspend| (Some(suspend.node_id), None)),
        label => {
            let mark = mark(document).map(|(mark, _)| mark);
            let version = mark.as_ref().map(|mark| mark.version).filter(|_| label != Label::Catalogue);
            Ok((mark.and_then(|mark| mark.of), version))
        }
    }
    .unwrap_or_default()
}

/// What was asked, of whatever side: the request's body in full but for what the query says in numbers.
pub(super) fn request_json(body: &RequestBody, body_hash: &Hash) -> Map<String, Value> {
    let none = |hash: &Hash| (*hash != Hash::ZERO).then(|| hash.to_string());
    let fields = json!({
        "request_id": body.request_id.to_string(), "body_hash": body_hash.to_string(),
        "requester": body.requester.as_str(), "audience": body.audience.as_str(),
        "purpose": body.purpose.as_str(), "legal_basis": body.legal_basis.as_str(),
        "case_ref_commit": none(&body.case_ref_commit), "topic": none(&body.topic_hash),
        "table_id": body.query.table_id, "table_version": body.query.table_version, "query": query_json(&body.query),
        "edition_asked": body.edition, "wanted_until": body.wanted_until.0,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

fn query_json(query: &Query) -> Value {
    let dims: Vec<Value> = query
        .dims
        .iter()
        .map(|dim| json!({ "dim": dim.dim, "level": dim.level, "codes": dim.codes.as_slice() }))
        .collect();
    json!({ "measures": query.measures, "dims": dims })
}

// Body and officer of a request as its node signed it.
fn opened(envelope: &[u8]) -> Option<(RequestBody, Card)> {
    let request: Request = decode(envelope, Cap::Head).ok()?;
    let body = decode(request.body.as_slice(), Cap::Head).ok()?;
    Some((body, decode(request.officer_card.as_slice(), Cap::Small).ok()?))
}

/// What was decided of a request: answered, refused, held, or over. `slice` is what leaves with it.
pub(super) fn of_decision(decided: &Decided<'_>, federation: &FederationId, policy: &Hash) -> Happening {
    let from_held = decided.held.and_then(|held| opened(held.envelope.payload.as_slice()));
    let asked = decided.checked.map(|checked| (&checked.body, &checked.card));
    let asked = asked.or_else(|| from_held.as_ref().map(|(body, card)| (body, card)));
    let mut detail = asked.map_or_else(Map::new, |(body, _)| request_json(body, &decided.reply.body_hash));
    let actor = asked.map_or_else(
        || Actor::Member(decided.requester.clone()),
        |(_, card)| Actor::Officer(decided.requester.clone(), card.officer_id),
    );
    let head = decided.reply.head.as_slice();
    // Who has seen it and let it wait.
    let mut noted = None;
    let mut put = |name: &str, value: Value| drop(detail.insert(name.to_owned(), value));
    put("reply_hash", json!(Hash::of(head).to_string()));
    put("policy_hash", json!(policy.to_string()));
    let (kind, label) = if let Ok(answer) = decode::<AnswerHead>(head, Cap::Head) {
        if let Some(refusal) = answer.refusal() {
            put("refusal", json!(refusal.as_str()));
            put("why", json!(decided.why));
            put("reason", json!(answer.reason().map(Reason::as_str)));
            (EventKind::Refused, Label::Answer)
        } else {
            let (numbers, rest) = decided.slice.as_chunks::<CELL_LEN>();
            let shown = numbers.iter().filter(|number| number.first() == Some(&1)).count();
            put("edition", json!(answer.edition));
            put("slice_hash", json!(answer.slice_hash.to_string()));
            put("slice_bytes", json!(answer.slice_len));
            put("numbers_shown", json!(shown));
            put("numbers_hidden", json!(numbers.len() - shown + usize::from(!rest.is_empty())));
            (EventKind::Answered, Label::Answer)
        }
    } else {
        let status: Option<Status> = decode(head, Cap::Head).ok();
        let state = status.as_ref().map(|status| status.state);
        put("state", json!(state.map(HeldState::as_str)));
        put("state_seq", json!(status.map(|status| status.state_seq)));
        let kind = match state {
            Some(HeldState::Withdrawn) => EventKind::Withdrawn,
            Some(HeldState::Expired) => EventKind::Expired,
            Some(HeldState::Received | HeldState::Held) | None => EventKind::Held,
        };
        (kind, Label::Status)
    };
    if let Some(held) = decided.held {
        let by: Vec<String> = held.verdicts.iter().flat_map(Document::signed_by).map(|key| key.to_string()).collect();
        put("verdicts_by", json!(by));
        noted = held.notes.as_slice().last().filter(|_| held.is_open() && held.state_seq > 1).map(|note| note.by);
    }
    // Who asked is in it either way.
    detail.insert("officer".into(), json!(actor.to_string()));
    let actor = match (kind, noted) {
        (EventKind::Expired, _) => Actor::Node,
        (EventKind::Held, Some(approver)) => Actor::Key(approver),
        _ => actor,
    };
    Happening { kind, actor, subject: Hash::ZERO, detail }.about(label, federation, head)
}
