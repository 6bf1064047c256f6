//! A member's node of the tests' own: it hands on exactly the bytes that a test wants, straight to a partner's member socket.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use accord_edge::{
    clock,
    keyring::KeyRing,
    quic,
    stream::{self, NoBody, StreamError},
    tls::KeyExchange,
};
use accord_protocol::{
    answer::AnswerHead,
    codec::{Bounded, Cap, decode, encode},
    id::NodeId,
    key::{PublicKey, SigningKey},
    member_keys::{KeyRole, MemberKeys},
    message::{AskCall, MessageKind, SignedBytes},
    request::Request,
    signed::{FederationId, Label, Preamble},
};

/// A member with its node's keys, and the partner that it speaks to.
#[derive(Debug)]
pub struct Member {
    tls: Arc<SigningKey>,
    sign: SigningKey,
    node_id: NodeId,
    federation: FederationId,
    partner: SocketAddr,
    partner_keys: Vec<PublicKey>,
}

/// What came back: stream bytes and the refusal's word, or `answered`; nothing if the partner closed the connection.
pub type Came = Option<(u64, &'static str)>;

impl Member {
    /// The member whose node lies in `folder/member/node`, speaking to `partner`.
    pub fn open(folder: &Path, member: &str, partner: &str) -> Self {
        let mut ring = KeyRing::open(&folder.join(member).join("node/node.ring"), || None).unwrap();
        let keys = accord_edge::files::read_bundle(&folder.join(format!("public/keys-{partner}.accord"))).unwrap();
        let keys: MemberKeys = keys.proposed.as_slice()[0].unverified().unwrap();
        Self {
            tls: Arc::new(ring.take(KeyRole::Tls).unwrap()),
            sign: ring.take(KeyRole::Sign).unwrap(),
            node_id: member.parse().unwrap(),
            federation: keys.federation,
            partner: keys.socket_addresses()[0],
            partner_keys: keys.tls_keys.as_slice().to_vec(),
        }
    }

    /// The same keys, but the other way round: signing with the TLS key.
    pub fn swap_keys(&mut self, folder: &Path, member: &str) {
        let mut ring = KeyRing::open(&folder.join(member).join("node/node.ring"), || None).unwrap();
        self.sign = ring.take(KeyRole::Tls).unwrap();
    }

    /// Hands a question on; `change` may spoil the envelope before it is signed.
    pub fn hand_on(&self, call: &AskCall, change: impl FnOnce(&mut Request)) -> Came {
        self.exchange(MessageKind::Request, |binding| self.envelope(call, binding, change))
    }

    /// Hands a question on to a node that may not be there.
    pub fn try_hand_on(&self, call: &AskCall) -> Came {
        self.try_exchange(MessageKind::Request, |binding| self.envelope(call, binding, |_| {})).ok()?
    }

    fn envelope(&self, call: &AskCall, binding: [u8; 32], change: impl FnOnce(&mut Request)) -> Vec<u8> {
        let mut request = Request {
            preamble: Preamble,
            body: call.body.clone(),
            officer_signature: call.officer_signature,
            officer_card: call.officer_card.clone(),
            topic: call.topic.clone(),
            node_id: self.node_id.clone(),
            node_key: self.sign.public(),
            sent_at: clock::now(),
            channel_binding: binding,
        };
        change(&mut request);
        let payload = encode(&request).unwrap();
        let signature = self.sign.sign(Label::Request, &self.federation, &payload);
        encode(&SignedBytes { payload: Bounded::new(payload).unwrap(), signature }).unwrap()
    }

    /// Opens a stream of any kind with any payload.
    pub fn exchange(&self, kind: MessageKind, payload: impl FnOnce([u8; 32]) -> Vec<u8>) -> Came {
        self.try_exchange(kind, payload).unwrap()
    }

    fn try_exchange(
        &self,
        kind: MessageKind,
        payload: impl FnOnce([u8; 32]) -> Vec<u8>,
    ) -> Result<Came, quic::QuicError> {
        Ok(match self.call(kind, payload)? {
            Ok(reply) => {
                let signed: SignedBytes = decode(&reply.head, Cap::Head).unwrap();
                let head: AnswerHead = decode(signed.payload.as_slice(), Cap::Head).unwrap();
                let word = head.refusal().map_or("answered", accord_protocol::refusal::Refusal::as_str);
                Some((reply.stream_bytes, word))
            }
            Err(StreamError::Kind) => Some((0, "refused as no request")),
            Err(_) => None,
        })
    }

    /// Opens a stream of any kind with any payload; the payload of the reply's head and its stream bytes, if there is a reply of that
    /// kind.
    pub fn hear(&self, kind: MessageKind, payload: Vec<u8>) -> Option<(Vec<u8>, u64)> {
        let reply = self.call(kind, |_| payload).unwrap().ok()?;
        Some((reply.head, reply.stream_bytes))
    }

    fn call(
        &self,
        kind: MessageKind,
        payload: impl FnOnce([u8; 32]) -> Vec<u8>,
    ) -> Result<Result<stream::Reply, StreamError>, quic::QuicError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = quic::outgoing(([127, 0, 0, 1], 0).into()).unwrap();
            let connection = quic::connect(
                &endpoint,
                self.partner,
                Arc::clone(&self.tls),
                self.partner_keys.clone(),
                KeyExchange::PreferPostQuantum,
                Duration::from_secs(5),
            )
            .await?;
            let payload = payload(quic::channel_binding(&connection).unwrap());
            // The reply to a kind that members may not open is a signed refusal of a request.
            let reply = stream::call(&connection, stream::Call::new(kind, payload), NoBody, |_| {}).await;
            connection.close(quic::CLOSE_DONE, b"");
            endpoint.wait_idle().await;
            Ok(reply)
        })
    }
}

/// A connection that stays open.
#[derive(Debug)]
pub struct Held<'a> {
    member: &'a Member,
    runtime: tokio::runtime::Runtime,
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

/// A request of which the first half is on its way.
#[derive(Debug)]
pub struct UnderWay {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    rest: Vec<u8>,
}

impl Member {
    /// Connects, and stays connected.
    pub fn hold(&self) -> Held<'_> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (endpoint, connection) = runtime.block_on(async {
            let endpoint = quic::outgoing(([127, 0, 0, 1], 0).into()).unwrap();
            let connecting = quic::connect(
                &endpoint,
                self.partner,
                Arc::clone(&self.tls),
                self.partner_keys.clone(),
                KeyExchange::PreferPostQuantum,
                Duration::from_secs(5),
            );
            let connection = connecting.await.unwrap();
            (endpoint, connection)
        });
        Held { member: self, runtime, connection, _endpoint: endpoint }
    }
}

impl Held<'_> {
    /// Whether the partner has not closed it.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    fn payload(&self, call: &AskCall) -> Vec<u8> {
        let binding = quic::channel_binding(&self.connection).unwrap();
        self.member.envelope(call, binding, |_| {})
    }

    /// Hands a question on over it.
    pub fn hand_on(&self, call: &AskCall) -> Came {
        self.hand_on_within(call, Duration::from_mins(1))
    }

    /// Opens a stream of any kind with any payload over it; the payload of the reply's head, if there is a reply of that kind.
    pub fn hear(&self, kind: MessageKind, payload: Vec<u8>) -> Option<Vec<u8>> {
        let calling = stream::call(&self.connection, stream::Call::new(kind, payload), NoBody, |_| {});
        Some(self.runtime.block_on(calling).ok()?.head)
    }

    /// Hands a question on over it to a partner that may die meanwhile.
    pub fn hand_on_within(&self, call: &AskCall, within: Duration) -> Came {
        let call = stream::Call::new(MessageKind::Request, self.payload(call));
        let calling = async {
            let called = stream::call(&self.connection, call, NoBody, |_| {});
            tokio::time::timeout(within, called).await
        };
        let reply = self.runtime.block_on(calling).ok()?.ok()?;
        let signed: SignedBytes = decode(&reply.head, Cap::Head).unwrap();
        let head: AnswerHead = decode(signed.payload.as_slice(), Cap::Head).unwrap();
        Some((reply.stream_bytes, head.refusal().map_or("answered", accord_protocol::refusal::Refusal::as_str)))
    }

    /// Sends the first half of a request.
    pub fn begin(&self, call: &AskCall) -> UnderWay {
        let head = accord_protocol::message::Head::new(MessageKind::Request, self.payload(call)).unwrap();
        let head = head.to_bytes().unwrap();
        let frame = [&u32::try_from(head.len()).unwrap().to_be_bytes(), [1].as_slice(), &head].concat();
        let (first, rest) = frame.split_at(frame.len() / 2);
        self.runtime.block_on(async {
            let (mut send, recv) = self.connection.open_bi().await.unwrap();
            send.write_all(first).await.unwrap();
            UnderWay { send, recv, rest: rest.to_vec() }
        })
    }

    /// Sends the other half; how many bytes came back, if any did.
    pub fn end(&self, mut under_way: UnderWay) -> Option<usize> {
        self.runtime.block_on(async {
            under_way.send.write_all(&under_way.rest).await.ok()?;
            under_way.send.finish().ok()?;
            let bytes = under_way.recv.read_to_end(1 << 20).await.ok()?;
            (!bytes.is_empty()).then_some(bytes.len())
        })
    }
}
