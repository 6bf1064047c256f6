//! QUIC by hand: frames, packets, and a client that can be led to say anything.

pub(crate) mod frames;
pub(crate) mod packet;
pub(crate) mod phases;
pub(crate) mod puppet;
