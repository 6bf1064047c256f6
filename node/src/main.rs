//! `accord-node`, the daemon: arguments to run.

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    accord_edge::linux::owner_only_umask();
    accord_node::io::telemetry::start();
    match command::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(command::exit_code(&error))
        }
    }
}
