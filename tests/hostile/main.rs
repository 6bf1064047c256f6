//! `hostile-peer`: plays a hostile or faulty peer against real nodes, case by case, and says what it saw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::large_stack_arrays,
    clippy::too_many_lines,
    reason = "a test program ends by panicking where its own stage fails; bytes are cut on purpose, figures are rounded, tables of cases are long"
)]

mod asking;
mod bystander;
mod cases;
mod client;
mod der;
mod dice;
mod envelope;
mod forge;
mod peer;
mod person;
mod proxy;
mod quic;
mod raw;
mod server;
mod stage;
mod table;
mod tls;
mod watch;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "usage: hostile-peer [--only C8,C22] [--json] | --list";

fn main() -> ExitCode {
    let mut choice = table::Choice::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                print!("{}", table::list());
                return ExitCode::SUCCESS;
            }
            "--json" => choice.json = true,
            "--only" => choice.only = arguments.next().unwrap_or_default().split(',').map(str::to_owned).collect(),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if table::run(&choice) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
