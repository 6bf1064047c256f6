//! An officer's client of the tests' own: it sends exactly the bytes that a test wants, to the officer's node.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use accord_edge::{
    clock, files,
    keyring::KeyRing,
    quic, random,
    stream::{self, NoBody},
    tls::KeyExchange,
};
use accord_protocol::{
    answer::AnswerHead,
    catalogue::{Catalogue, SHIPPED},
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId, RequestId},
    key::{PublicKey, Signature, SigningKey},
    member_keys::KeyRole,
    message::{AskCall, AskReply, MessageKind, TrustCall},
    officers::Purpose,
    question::Question,
    request::{LegalBasis, RequestBody},
    selection::Selection,
    signed::{FederationId, Label, Preamble},
    time::UnixMs,
};

/// An officer with key, card and node.
#[derive(Debug)]
pub struct Officer {
    key: Arc<SigningKey>,
    card: Vec<u8>,
    member: NodeId,
    node: SocketAddr,
    node_key: PublicKey,
    federation: FederationId,
}

/// What came back for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// The reply as the node handed it on.
    pub reply: AskReply,
    /// The slice.
    pub slice: Vec<u8>,
}

impl Back {
    /// The partner's signed head.
    pub fn head(&self) -> AnswerHead {
        let signed = self.reply.answer.as_ref().unwrap_or_else(|| panic!("no answer: {}", self.reply.detail.as_str()));
        decode(signed.payload.as_slice(), Cap::Head).unwrap()
    }

    /// The refusal's word, or `answered`.
    pub fn word(&self) -> &'static str {
        if self.reply.detail.as_str().contains("did not hand the question on") {
            return "not handed on";
        }
        self.head().refusal().map_or("answered", accord_protocol::refusal::Refusal::as_str)
    }
}

impl Officer {
    /// The officer of a profile folder.
    pub fn open(profile: &Path) -> Self {
        let settings = std::fs::read_to_string(profile.join("profile.toml")).unwrap();
        let setting = |name: &str| {
            let line = settings.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            line.split('"').nth(1).unwrap().to_owned()
        };
        let mut ring = KeyRing::open(&profile.join("person.ring"), || None).unwrap();
        let pin = std::fs::read_to_string(profile.join("trust/federation")).unwrap();
        Self {
            key: Arc::new(ring.take(KeyRole::Officer).unwrap()),
            card: files::read_limited(&profile.join("officer.card"), 1024).unwrap(),
            member: setting("member").parse().unwrap(),
            node: setting("node").parse().unwrap(),
            node_key: setting("node_key").parse().unwrap(),
            federation: pin.trim().parse().unwrap(),
        }
    }

    /// The officer of a ring whose card is in the bundle that lists it. Nobody connects as such: only requests are signed.
    pub fn of_ring(ring: &Path, list: &Path, member: &str, federation: &str) -> Self {
        let mut ring = KeyRing::open(ring, || None).unwrap();
        let key: Arc<SigningKey> = Arc::new(ring.take(KeyRole::Officer).unwrap());
        let bundle = files::read_bundle(list).unwrap();
        let card = bundle.cards.iter().find(|card| card.key == key.public()).unwrap();
        Self {
            card: encode(card).unwrap(),
            member: member.parse().unwrap(),
            node: ([127, 0, 0, 1], 0).into(),
            node_key: key.public(),
            federation: federation.parse().unwrap(),
            key,
        }
    }

    /// A request as the tool would make it: seizures by year and drug group.
    pub fn request(&self, audience: &str, periods: &str) -> RequestBody {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let table = catalogue.table("seizures-year-drug").unwrap();
        let levels = Question::levels(table, &[]).unwrap();
        let question = Question {
            measures: Question::measures(table, &levels, &[]).unwrap(),
            periods: Question::periods(periods, accord_protocol::time::TimeLevel::Year).unwrap(),
            levels,
            only: std::collections::BTreeMap::new(),
        };
        let audience: NodeId = audience.parse().unwrap();
        let query = question.queries(table, audience.country()).unwrap().remove(0);
        let now = clock::now();
        RequestBody {
            preamble: Preamble,
            request_id: RequestId(random::bytes().unwrap()),
            requester: self.member.clone(),
            officer_card_hash: Hash::of(&self.card),
            issued_at: now,
            deliver_by: now.plus(600_000),
            wanted_until: UnixMs(0),
            epoch: 1,
            roster_version: 1,
            view_hash: Hash::ZERO,
            edition: 0,
            purpose: Purpose::StrategicAnalysis,
            legal_basis: LegalBasis::Agreement,
            topic_hash: Hash::ZERO,
            case_ref_commit: Hash::ZERO,
            reply_class: Selection::new(&query, table, audience.country()).unwrap().reply_class,
            audience,
            query,
        }
    }

    /// Signs a body.
    pub fn sign(&self, body: &RequestBody) -> AskCall {
        let bytes = encode(body).unwrap();
        AskCall {
            officer_signature: self.key.sign(Label::RequestBody, &self.federation, &bytes),
            body: Bounded::new(bytes).unwrap(),
            officer_card: Bounded::new(self.card.clone()).unwrap(),
            topic: Bounded::default(),
            wait_ms: 20_000,
        }
    }

    /// Signs something else in the officer's name.
    pub fn sign_as(&self, label: Label, payload: &[u8]) -> Signature {
        self.key.sign(label, &self.federation, payload)
    }

    /// Sends a call to the officer's own node.
    pub fn send(&self, call: &AskCall) -> Back {
        let reply = self.call(MessageKind::Ask, encode(call).unwrap());
        Back { reply: decode(&reply.head, Cap::Head).unwrap(), slice: reply.body }
    }

    /// How trust stands, as the officer's own node says.
    pub fn trust(&self) -> serde_json::Value {
        let reply = self.call(MessageKind::Trust, serde_json::to_vec(&TrustCall::Show {}).unwrap());
        let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        reply["result"].clone()
    }

    fn call(&self, kind: MessageKind, payload: Vec<u8>) -> stream::Reply {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = quic::outgoing(([127, 0, 0, 1], 0).into()).unwrap();
            let connection = quic::connect(
                &endpoint,
                self.node,
                Arc::clone(&self.key),
                vec![self.node_key],
                KeyExchange::PreferPostQuantum,
                Duration::from_secs(5),
            )
            .await
            .unwrap();
            let reply = stream::call(&connection, stream::Call::new(kind, payload), NoBody, |_| {}).await.unwrap();
            connection.close(quic::CLOSE_DONE, b"");
            endpoint.wait_idle().await;
            reply
        })
    }

    /// Signs and sends.
    pub fn ask(&self, body: &RequestBody) -> Back {
        self.send(&self.sign(body))
    }
}
