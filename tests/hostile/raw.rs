//! Raw datagrams: one socket that sends from any loopback address, and counts what comes back to each.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};

/// Bytes that the receive buffer of a socket holds with certainty.
const BUFFER: u64 = 32 << 10;
/// How long the node gets for them.
const PAUSE: Duration = Duration::from_millis(4);

/// A datagram that came.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    /// The address of ours that it was sent to.
    pub(crate) to: IpAddr,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A socket of all loopback addresses.
pub(crate) struct Raw {
    socket: UdpSocket,
    state: UdpSocketState,
    to: SocketAddr,
    paced: u64,
    /// Bytes sent so far.
    pub(crate) sent: u64,
    /// Bytes that came back so far.
    pub(crate) received: u64,
}

impl Raw {
    /// Speaks to one node.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, state, to, paced: 0, sent: 0, received: 0 }
    }

    /// Sends a datagram from an address of this machine.
    pub(crate) fn send(&mut self, from: IpAddr, contents: &[u8]) {
        let transmit = Transmit { destination: self.to, ecn: None, contents, segment_size: None, src_ip: Some(from) };
        while let Err(error) = self.state.try_send((&self.socket).into(), &transmit) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
            std::thread::yield_now();
        }
        self.sent += contents.len() as u64;
    }

    /// Sends, and then gives the node time, so that its socket's buffer loses nothing.
    pub(crate) fn send_paced(&mut self, from: IpAddr, contents: &[u8]) {
        self.send(from, contents);
        if self.sent - self.paced > BUFFER {
            self.paced = self.sent;
            std::thread::sleep(PAUSE);
        }
    }

    /// What has come by now.
    pub(crate) fn poll(&mut self) -> Vec<Datagram> {
        let mut buffer = vec![0; 1 << 16];
        let mut metas = [RecvMeta::default()];
        let mut came = Vec::new();
        while self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut buffer)], &mut metas).is_ok() {
            let meta = &metas[0];
            self.received += meta.len as u64;
            for bytes in buffer[..meta.len].chunks(meta.stride.max(1)) {
                came.push(Datagram { to: meta.dst_ip.unwrap(), bytes: bytes.to_vec() });
            }
        }
        came
    }

    /// What comes until nothing has come for `quiet`.
    pub(crate) fn drain(&mut self, quiet: Duration) -> Vec<Datagram> {
        let mut came = self.poll();
        let mut clock = Stopwatch::start();
        while u128::from(clock.ms()) < quiet.as_millis() {
            let more = self.poll();
            if !more.is_empty() {
                clock = Stopwatch::start();
            }
            came.extend(more);
            std::thread::sleep(Duration::from_millis(2));
        }
        came
    }
}

/// The nth loopback address of a flood, spread over all networks of 127.128.0.0/9.
pub(crate) fn nth_address(n: u32) -> IpAddr {
    // Multiplying by an odd number visits every address once.
    let spread = n.wrapping_mul(0x9e37_79b1) & 0x007f_ffff;
    Ipv4Addr::from(0x7f80_0000 | spread).into()
}
