//! A simulated network: connections that die, streams whose pieces are lost, delayed, reordered and doubled, members that are cut off.
//!
//! What QUIC does about it is done here in the simplest way that has its properties: a lost piece comes later, pieces are put in order
//! by their offsets, a second copy changes nothing, and a piece that does not get through for half a minute ends the connection.

use std::collections::BTreeMap;

use accord_tests::seeded::Seeded;

/// Silence after which a connection is given up, in milliseconds.
pub(super) const IDLE_MS: u64 = 30_000;
/// Bytes of one datagram.
const PIECE: usize = 4_096;

/// How bad the network of a history is.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Per cent of datagrams that are lost.
    pub(super) loss: u64,
    /// Per cent that come twice.
    pub(super) doubled: u64,
    /// Longest delay of one way in milliseconds.
    pub(super) delay_max: u64,
    /// Two members that do not reach each other, from when, until when.
    pub(super) cuts: Vec<(usize, usize, u64, u64)>,
}

impl Weather {
    /// When a datagram sent now arrives, by how often it must be sent; nothing if the connection dies first.
    pub(super) fn arrival(&self, random: &mut Seeded, now: u64, a: usize, b: usize) -> Option<u64> {
        let mut at = now + random.between(1, self.delay_max.max(2));
        let mut again = 200;
        while random.happens(self.loss) || self.is_cut(a, b, at) {
            at += again;
            again *= 2;
            if at > now + IDLE_MS {
                return None;
            }
        }
        Some(at)
    }

    /// Whether two members are cut off from each other.
    pub(super) fn is_cut(&self, a: usize, b: usize, at: u64) -> bool {
        self.cuts
            .iter()
            .any(|(x, y, from, to)| ((*x, *y) == (a, b) || (*x, *y) == (b, a)) && (*from..*to).contains(&at))
    }
}

/// One connection, as both ends see it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Who opened it.
    pub(super) asker: usize,
    /// To whom.
    pub(super) provider: usize,
    /// What only the two ends know.
    pub(super) binding: [u8; 32],
    /// Whether bytes still get through.
    pub(super) lives: bool,
    /// Whether the asker has noticed that they do not.
    pub(super) noticed: bool,
}

/// One direction of a stream at its receiver.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    waiting: BTreeMap<u64, Vec<u8>>,
    read: u64,
    length: Option<u64>,
}

/// A piece of a stream on its way.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Where it belongs.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Whether the stream ends with it.
    pub(super) fin: bool,
}

impl Arriving {
    /// Takes a piece; returns the bytes that are now in order, and whether the stream has ended.
    pub(super) fn take(&mut self, piece: Piece) -> (Vec<u8>, bool) {
        if piece.fin {
            self.length = Some(piece.offset + piece.bytes.len() as u64);
        }
        if piece.offset >= self.read {
            self.waiting.insert(piece.offset, piece.bytes);
        }
        let mut ready = Vec::new();
        while let Some(bytes) = self.waiting.remove(&self.read) {
            self.read += bytes.len() as u64;
            ready.extend(bytes);
        }
        (ready, self.length == Some(self.read))
    }
}

/// The bytes of a message as datagrams; the last one ends the stream if `fin`.
pub(super) fn pieces(bytes: &[u8], fin: bool) -> Vec<Piece> {
    let mut all: Vec<Piece> = bytes
        .chunks(PIECE)
        .enumerate()
        .map(|(index, chunk)| Piece { offset: (index * PIECE) as u64, bytes: chunk.to_vec(), fin: false })
        .collect();
    if let Some(last) = all.last_mut() {
        last.fin = fin;
    }
    all
}
