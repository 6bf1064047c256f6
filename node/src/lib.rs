//! The node of one agency: its records, its editions, its answers.
//!
//! The domain computes and the edge acts. [`domain`] holds everything worth arguing about as pure functions; [`io`] reads
//! clocks, sockets and disks and calls it; [`node`] is the one place where the two meet.

pub mod domain;
pub mod io;
pub mod node;
