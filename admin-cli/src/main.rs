//! `accord`, the tool for people: parse, run, print.

mod agent;
mod ask;
mod audit;
mod client;
mod command;
mod demo;
mod mapping;
mod output;
mod profile;
mod sheet;
mod topics;
mod trusting;
mod views;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    accord_edge::linux::owner_only_umask();
    // Where that is not possible (an old kernel in a container) the tool still works; there is nobody to tell yet.
    let _ = accord_edge::linux::keep_memory_private();
    let json = std::env::args_os().any(|argument| argument == "--json");
    match command::Cli::try_parse() {
        Ok(cli) => {
            let style = output::Style::new(&cli.global);
            let name = cli.command.name();
            let outcome = cli.run().unwrap_or_else(output::Outcome::from_error);
            output::print(name, &outcome, style)
        }
        Err(error) => output::usage_error(&error, json),
    }
}
