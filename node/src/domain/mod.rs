//! Decisions. Nothing here reads a clock, a socket, a disk or a random source.
//!
//! Data walks through it in this order: [`import`] (rows to records), [`record`], [`contribution`] (records to lines with their
//! leaves), [`tabulate`] (lines to cells), [`disclosure`] (the only maker of a released cell), [`edition`] (freezing; what was frozen
//! is put right by [`revision`]), [`admission`], [`access`] and [`quota`] (who may ask), [`provide`] (the checks of a request),
//! [`answering`] (one request to one answer), [`view`] (what a partner may see before it asks),
//! [`inbox`] and [`deciding`] (what a person decides), [`outbox`] (what waits elsewhere), [`marking`] (how all of it is marked). On the other side, [`round`] hands one request to one partner. Whether any of it happens
//! now is for [`learning`], [`freshness`], [`clock_mark`] and [`own_keys`] to say; [`standstill`] has the words. [`greeting`] and
//! [`catching_up`] see to it that a node knows the trust documents that the others know. [`ledger`] says what of it becomes entries of the
//! audit log; [`witnessing`] what becomes of the checkpoints that others show of theirs,
//! [`unmatched`] of those that their owners do not prove, [`retention`] which entries may be destroyed.

pub mod access;
pub mod admission;
pub mod amount;
pub mod answering;
pub mod bucket;
pub mod catching_up;
pub mod clock_mark;
pub mod contacts;
pub mod contribution;
pub mod coverage;
pub mod deciding;
pub mod disclosure;
pub mod door;
pub mod edition;
pub mod erasure;
pub mod freshness;
pub mod greeting;
pub mod import;
pub mod inbox;
pub mod learning;
pub mod ledger;
pub mod marking;
pub mod outbox;
pub mod own_keys;
pub mod provide;
pub mod quota;
pub mod rates;
pub mod record;
pub mod retention;
pub mod revision;
pub mod round;
pub mod standstill;
pub mod sure_time;
pub mod tabulate;
pub mod unmatched;
pub mod view;
pub mod witnessing;
