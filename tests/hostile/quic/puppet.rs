//! A QUIC client that is led by hand: a handshake in order or not, then any frames at all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use accord_edge::{clock::Stopwatch, random};
use rustls::quic::{ClientConnection, KeyChange, Keys, Version};

use super::{
    frames::{self, Frame},
    packet::{self, Bare, Came, Kind, Long, V1, put_varint, varint},
    phases::Phases,
};
use crate::{stage::fresh_network, tls::Hello};

/// How long the server's next step is waited for.
const STEP_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of our own connection id.
const ID_LEN: usize = 8;

/// Packet number spaces.
pub(crate) const INITIAL: usize = 0;
/// Packet number space of the handshake.
pub(crate) const HANDSHAKE: usize = 1;
/// Packet number space of everything after it.
pub(crate) const ONE_RTT: usize = 2;

/// How the server closed a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The code; for the transport's own closing it is one of RFC 9000, or `0x100` and a TLS alert.
    pub(crate) code: u64,
    /// Whether the application closed it.
    pub(crate) by_application: bool,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.by_application { "closed with code" } else { "closed by the transport," };
        write!(f, "{by} {:#x}", self.code)
    }
}

#[derive(Default)]
struct Space {
    keys: Option<Keys>,
    next: u32,
    seen: Vec<u64>,
    unacknowledged: bool,
    crypto_in: BTreeMap<u64, Vec<u8>>,
    crypto_read: u64,
    crypto_out: u64,
}

/// The client.
pub(crate) struct Puppet {
    socket: UdpSocket,
    to: SocketAddr,
    /// The server's connection id, as far as it is known.
    pub(crate) server_id: Vec<u8>,
    /// Our own connection id.
    pub(crate) id: [u8; ID_LEN],
    /// The token of the server's Retry.
    pub(crate) token: Vec<u8>,
    tls: Option<ClientConnection>,
    /// How often the server has asked for the address to be proved.
    pub(crate) retries: u32,
    hello: Vec<u8>,
    muted: bool,
    spaces: [Space; 3],
    /// How it ended, once it has.
    pub(crate) closed: Option<Closed>,
    /// Every other frame that came after the handshake.
    pub(crate) came: Vec<Frame>,
    /// Bytes sent so far.
    pub(crate) sent: u64,
    /// Bytes that came so far.
    pub(crate) received: u64,
    confirmed: bool,
    // Once the handshake is over.
    phases: Option<Phases>,
}

/// Transport parameters that let the server send on our streams; `id` must be in them.
pub(crate) fn parameters(id: &[u8]) -> Vec<(u64, Vec<u8>)> {
    vec![
        (0x01, varint(60_000)),
        (0x04, varint(1 << 20)),
        (0x05, varint(1 << 18)),
        (0x0e, varint(2)),
        (0x0f, id.to_vec()),
    ]
}

/// Transport parameters as bytes.
pub(crate) fn encode_parameters(list: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in list {
        put_varint(&mut out, *name);
        put_varint(&mut out, value.len() as u64);
        out.extend(value);
    }
    out
}

impl Puppet {
    /// A client that has said nothing, at an address of its own network.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self::at(fresh_network(), to)
    }

    /// A client that has said nothing, at this address.
    pub(crate) fn at(from: IpAddr, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        let first_id: [u8; ID_LEN] = random::bytes().unwrap();
        Self {
            socket,
            to,
            server_id: first_id.to_vec(),
            id: random::bytes().unwrap(),
            token: Vec::new(),
            tls: None,
            retries: 0,
            hello: Vec::new(),
            muted: false,
            spaces: [
                Space { keys: Some(packet::initial_keys(&first_id)), ..Space::default() },
                Space::default(),
                Space::default(),
            ],
            closed: None,
            came: Vec::new(),
            sent: 0,
            received: 0,
            confirmed: false,
            phases: None,
        }
    }

    /// Says a TLS handshake with these transport parameters.
    pub(crate) fn say(&mut self, hello: &Hello, parameters: Vec<u8>) {
        let bytes = self.prepare(hello, parameters);
        self.say_bytes(bytes);
    }

    /// Says a TLS handshake with transport parameters in order.
    pub(crate) fn say_in_order(&mut self, hello: &Hello) {
        let bytes = self.client_hello(hello);
        self.say_bytes(bytes);
    }

    /// The ClientHello of a handshake in order, not sent.
    pub(crate) fn client_hello(&mut self, hello: &Hello) -> Vec<u8> {
        let parameters = encode_parameters(&parameters(&self.id));
        self.prepare(hello, parameters)
    }

    fn prepare(&mut self, hello: &Hello, parameters: Vec<u8>) -> Vec<u8> {
        // The classical group alone, so that the ClientHello fits one packet.
        let hello = Hello { groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519], ..hello.clone() };
        let name = "accord".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::new(hello.config().0), Version::V1, name, parameters).unwrap();
        let mut bytes = Vec::new();
        assert!(tls.write_hs(&mut bytes).is_none(), "a ClientHello changes no keys");
        self.tls = Some(tls);
        bytes
    }

    /// Sends a first packet without any handshake in it, so that the server asks for the address to be proved.
    pub(crate) fn ask_for_token(&mut self) -> Result<(), String> {
        self.send(INITIAL, &[0x01]);
        self.wait(|puppet| !puppet.token.is_empty());
        if self.token.is_empty() { Err("no token comes".into()) } else { Ok(()) }
    }

    /// Goes on as if the server had sent this Retry.
    pub(crate) fn take_over(&mut self, server_id: &[u8], token: Vec<u8>) {
        self.spaces[INITIAL].keys = Some(packet::initial_keys(server_id));
        (self.server_id, self.token) = (server_id.to_vec(), token);
    }

    /// Says a hello, waits for nothing, and will say nothing more.
    pub(crate) fn mute(&mut self, hello: &Hello) {
        self.muted = true;
        self.say_in_order(hello);
    }

    /// Says a handshake in order up to the server's first flight, and nothing after that.
    pub(crate) fn mute_after_hello(&mut self, hello: &Hello) {
        self.mute(hello);
        self.wait(|puppet| puppet.has_keys(HANDSHAKE));
    }

    /// Says a ClientHello of our own making.
    pub(crate) fn say_bytes(&mut self, hello: Vec<u8>) {
        self.hello = hello;
        self.send_hello();
    }

    fn send_hello(&mut self) {
        if self.hello.is_empty() {
            return;
        }
        let frame = frames::crypto(0, &self.hello);
        self.spaces[INITIAL].crypto_out = self.hello.len() as u64;
        self.send(INITIAL, &frame);
    }

    /// A whole handshake in order; an error if the server does not go along.
    pub(crate) fn connect(to: SocketAddr, hello: &Hello) -> Result<Self, String> {
        let puppet = Self::new(to);
        let parameters = encode_parameters(&parameters(&puppet.id));
        puppet.connect_with(hello, parameters)
    }

    /// A whole handshake with these transport parameters.
    pub(crate) fn connect_with(self, hello: &Hello, parameters: Vec<u8>) -> Result<Self, String> {
        let mut puppet = self;
        puppet.say(hello, parameters);
        puppet.wait(|puppet| puppet.confirmed);
        match &puppet.closed {
            Some(closed) => Err(format!("the handshake was {closed}")),
            None if puppet.confirmed => Ok(puppet),
            None => Err("the server does not answer the handshake".into()),
        }
    }

    /// Sends frames in a packet of their own; Initials are padded.
    pub(crate) fn send(&mut self, space: usize, frames: &[u8]) {
        let datagram = self.seal(space, frames);
        self.send_raw(&datagram);
    }

    /// The datagram that [`Self::send`] would send.
    pub(crate) fn seal(&mut self, space: usize, frames: &[u8]) -> Vec<u8> {
        let number = self.spaces[space].next;
        self.spaces[space].next += 1;
        let keys = &self.spaces[space].keys.as_ref().expect("the handshake has not come so far").local;
        let kind = if space == INITIAL { Kind::Initial } else { Kind::Handshake };
        let long = Long { kind, version: V1, to: &self.server_id, from: &self.id, token: &self.token };
        match space {
            INITIAL => long.seal_padded(keys, number, frames),
            HANDSHAKE => long.seal(keys, number, frames),
            _ => {
                let phase = self.phases.as_ref().is_some_and(Phases::phase);
                packet::seal_short(keys, &self.server_id, number, phase, frames)
            }
        }
    }

    /// Sends a datagram as it is.
    pub(crate) fn send_raw(&mut self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.to).unwrap();
        self.sent += datagram.len() as u64;
    }

    /// Goes over to the next keys (RFC 9001, 6), whether the server has seen the last ones or not.
    pub(crate) fn update_keys(&mut self) {
        let keys = self.spaces[ONE_RTT].keys.as_mut().expect("the handshake is over");
        self.phases.as_mut().expect("the handshake is over").advance(keys);
    }

    /// How many key updates of the server were followed.
    pub(crate) fn followed_updates(&self) -> u32 {
        self.phases.as_ref().map_or(0, Phases::followed)
    }

    /// Whether the handshake has come as far as keys of a space.
    pub(crate) const fn has_keys(&self, space: usize) -> bool {
        self.spaces[space].keys.is_some()
    }

    /// Takes in what comes until something is so, or the connection is closed, or nothing comes for a while.
    pub(crate) fn wait(&mut self, until: impl Fn(&Self) -> bool) {
        self.wait_for(STEP_WITHIN, until);
    }

    /// The same with a time of its own, from now.
    pub(crate) fn wait_for(&mut self, within: Duration, until: impl Fn(&Self) -> bool) {
        let clock = Stopwatch::start();
        let mut buffer = [0; 2048];
        while !until(self) && self.closed.is_none() {
            let left = within.saturating_sub(Duration::from_millis(clock.ms()));
            if left.is_zero() {
                return;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else { continue };
            self.received += length as u64;
            for packet in packet::split(&buffer[..length], ID_LEN) {
                self.take(packet);
            }
            self.answer();
        }
    }

    /// Throws away what has come and was not taken in.
    pub(crate) fn forget(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv_from(&mut [0; 2048]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Datagrams that come within a time, as they are.
    pub(crate) fn datagrams(&self, within: Duration) -> Vec<Vec<u8>> {
        let clock = Stopwatch::start();
        let mut came = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            let left = within.saturating_sub(Duration::from_millis(clock.ms()));
            if left.is_zero() {
                return came;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            if let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
                came.push(buffer[..length].to_vec());
            }
        }
    }

    /// The frames of the first packet of a datagram that is of this connection; nothing if there is none.
    pub(crate) fn opens(&self, datagram: &[u8]) -> Option<Vec<Frame>> {
        packet::split(datagram, ID_LEN).into_iter().find_map(|came| {
            let Came::Protected { space, number_at, bytes, .. } = came else { return None };
            let keys = self.spaces[space].keys.as_ref()?;
            let bare = Bare::of(&*keys.remote.header, number_at, bytes, self.expected(space))?;
            let payload = match &self.phases {
                Some(phases) if space == ONE_RTT => phases.peek(keys, &bare)?.0,
                _ => bare.opened(&*keys.remote.packet)?,
            };
            frames::parse(&payload)
        })
    }

    /// How the server closes the connection; an error if it does not.
    pub(crate) fn end(&mut self) -> Result<Closed, String> {
        self.wait(|_| false);
        self.closed.clone().ok_or_else(|| "the server does not close the connection".into())
    }

    fn take(&mut self, packet: Came) {
        match packet {
            Came::VersionNegotiation(_) => {}
            Came::Retry { id, token } => {
                self.retries += 1;
                // A second one is not for a client in order (RFC 9000, 17.2.5.2).
                if !self.token.is_empty() {
                    return;
                }
                self.spaces[INITIAL].keys = Some(packet::initial_keys(&id));
                (self.server_id, self.token) = (id, token);
                self.send_hello();
            }
            Came::Protected { space, from, number_at, bytes } => {
                let Some((number, payload)) = self.open(space, number_at, bytes) else { return };
                if !from.is_empty() {
                    self.server_id = from;
                }
                let seen = &mut self.spaces[space].seen;
                if let Err(index) = seen.binary_search(&number) {
                    seen.insert(index, number);
                    self.take_frames(space, &payload);
                }
            }
        }
    }

    // The next packet number.
    fn expected(&self, space: usize) -> u64 {
        self.spaces[space].seen.last().map_or(0, |last| last + 1)
    }

    // Packet number and frames; nothing if it does not open.
    fn open(&mut self, space: usize, number_at: usize, bytes: Vec<u8>) -> Option<(u64, Vec<u8>)> {
        let expected = self.expected(space);
        let keys = self.spaces[space].keys.as_mut()?;
        let bare = Bare::of(&*keys.remote.header, number_at, bytes, expected)?;
        let payload = match &mut self.phases {
            Some(phases) if space == ONE_RTT => phases.open(keys, &bare)?,
            _ => bare.opened(&*keys.remote.packet)?,
        };
        Some((bare.number, payload))
    }

    fn take_frames(&mut self, space: usize, payload: &[u8]) {
        for frame in frames::parse(payload).expect("the server sends frames that are in RFC 9000") {
            self.spaces[space].unacknowledged |= frame.needs_ack();
            match frame {
                Frame::Crypto { offset, data } => {
                    self.spaces[space].crypto_in.insert(offset, data);
                    self.read_crypto(space);
                }
                Frame::Close { code, by_application } => self.closed = Some(Closed { code, by_application }),
                Frame::HandshakeDone => self.confirmed = true,
                other if space == ONE_RTT => self.came.push(other),
                _ => {}
            }
        }
    }

    fn read_crypto(&mut self, space: usize) {
        let Some(tls) = &mut self.tls else { return };
        let state = &mut self.spaces[space];
        while let Some((offset, data)) = state.crypto_in.pop_first() {
            if offset > state.crypto_read {
                state.crypto_in.insert(offset, data);
                return;
            }
            let new = data.get(usize::try_from(state.crypto_read - offset).unwrap()..).unwrap_or_default();
            state.crypto_read += new.len() as u64;
            // What the server says wrongly ends the handshake by silence, which the case sees.
            if tls.read_hs(new).is_err() {
                return;
            }
        }
        self.write_crypto();
    }

    fn write_crypto(&mut self) {
        loop {
            let Some(tls) = &mut self.tls else { return };
            let mut bytes = Vec::new();
            let change = tls.write_hs(&mut bytes);
            let space = if self.spaces[HANDSHAKE].keys.is_some() { HANDSHAKE } else { INITIAL };
            // A client that has fallen silent still learns what the server says.
            let spoken = if self.muted { &[] } else { bytes.as_slice() };
            for chunk in spoken.chunks(1000) {
                let frame = frames::crypto(self.spaces[space].crypto_out, chunk);
                self.spaces[space].crypto_out += chunk.len() as u64;
                self.send(space, &frame);
            }
            match change {
                Some(KeyChange::Handshake { keys }) => self.spaces[HANDSHAKE].keys = Some(keys),
                Some(KeyChange::OneRtt { keys, next }) => {
                    self.spaces[ONE_RTT].keys = Some(keys);
                    self.phases = Some(Phases::new(next));
                }
                None => return,
            }
        }
    }

    // Acknowledges all that came.
    fn answer(&mut self) {
        if self.muted {
            return;
        }
        for space in [INITIAL, HANDSHAKE, ONE_RTT] {
            if std::mem::take(&mut self.spaces[space].unacknowledged) {
                let ack = frames::ack(&self.spaces[space].seen);
                self.send(space, &ack);
            }
        }
    }
}
