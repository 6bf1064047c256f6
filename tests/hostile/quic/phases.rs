//! The keys of a connection after its handshake, over the key updates of both sides (RFC 9001, 6).

use rustls::quic::{Keys, PacketKey, PacketKeySet, Secrets};

use super::packet::Bare;

/// The keys before and after those in use.
pub(crate) struct Phases {
    later: Secrets,
    next: PacketKeySet,
    // For what was under way when the last update came.
    before: Option<Box<dyn PacketKey>>,
    phase: bool,
    followed: u32,
}

impl Phases {
    /// Of what the keys of a handshake that is over are followed by.
    pub(crate) fn new(mut later: Secrets) -> Self {
        let next = later.next_packet_keys();
        Self { later, next, before: None, phase: false, followed: 0 }
    }

    /// The bit that tells the keys in use from the ones before.
    pub(crate) const fn phase(&self) -> bool {
        self.phase
    }

    /// How many updates of the server were followed.
    pub(crate) const fn followed(&self) -> u32 {
        self.followed
    }

    /// Goes over to the next keys.
    pub(crate) fn advance(&mut self, keys: &mut Keys) {
        let next = std::mem::replace(&mut self.next, self.later.next_packet_keys());
        keys.local.packet = next.local;
        self.before = Some(std::mem::replace(&mut keys.remote.packet, next.remote));
        self.phase = !self.phase;
    }

    /// The frames of a packet, and whether they are under the next keys.
    pub(crate) fn peek(&self, keys: &Keys, bare: &Bare) -> Option<(Vec<u8>, bool)> {
        if bare.phase == self.phase {
            return Some((bare.opened(&*keys.remote.packet)?, false));
        }
        let before = self.before.as_ref().and_then(|before| bare.opened(&**before));
        before.map(|frames| (frames, false)).or_else(|| Some((bare.opened(&*self.next.remote)?, true)))
    }

    /// The frames of a packet; an update of the server is followed.
    pub(crate) fn open(&mut self, keys: &mut Keys, bare: &Bare) -> Option<Vec<u8>> {
        let (frames, updated) = self.peek(keys, bare)?;
        if updated {
            self.advance(keys);
            self.followed += 1;
        }
        Some(frames)
    }
}
