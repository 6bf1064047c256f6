//! Decisions. Nothing here reads a clock, a socket, a disk or a random source.
//!
//! Data walks through it in this order: [`import`] (rows to records), [`record`], [`contribution`] (records to lines with their
//! leaves), [`tabulate`] (lines to cells), [`disclosure`] (the only maker of a released cell), [`edition`] (freezing),
//! [`access`] and [`quota`] (who may ask), [`provide`] (one request to one answer).

pub mod access;
pub mod admission;
pub mod amount;
pub mod contribution;
pub mod coverage;
pub mod disclosure;
pub mod edition;
pub mod erasure;
pub mod import;
pub mod provide;
pub mod quota;
pub mod rates;
pub mod record;
pub mod tabulate;
