//! Everything that is tested over real processes, and the rules of the house.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by panicking"
)]

mod administration;
mod agreements;
mod attacks;
mod audit;
mod audited;
mod backup;
mod ceremony;
mod command_line;
mod decoders;
mod evidence;
mod exchange;
mod faults;
mod federation;
mod full_disk;
mod handling;
mod held_evidence;
mod hours;
mod imports;
mod inbox;
mod independent;
mod keys_at_rest;
mod kills;
mod kinds;
mod load;
mod machine;
mod policy;
mod power;
mod real_file;
mod retention;
mod samples;
mod second_implementation;
mod simulation;
mod spreadsheets;
mod store;
mod taken_away;
mod tidy;
mod topics;
mod transcript;
mod trust;
mod trust_files;
mod trust_simulation;
mod way_back;
mod weak_keys;
mod witnesses;
mod yesterday;
