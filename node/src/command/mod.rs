//! The daemon's subcommands.

mod init;
mod install;
mod recovery_key;
mod restore;
mod run;

use std::{path::PathBuf, process::ExitCode};

use accord_node::{
    io::{age::AgeError, backup::BackupError, config::ConfigError, identity::IdentityError, store::StoreError},
    node::StartError,
};
use accord_protocol::{signed::NotVerified, trust::TrustError};
use clap::{Parser, Subcommand};

/// The node of one agency: keeps its records, publishes its editions, answers its partners.
#[derive(Debug, Parser)]
#[command(name = "accord-node", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new node: its folder, keys and settings. Prints the claim that administrators sign.
    Init(init::Init),
    /// Install trust documents: checks that they hold together under the federation's id, then keeps them.
    Install(install::Install),
    /// Run the node.
    Run(run::Run),
    /// Make the key that opens backups: offline, on paper or a stick, in a safe.
    RecoveryKey(recovery_key::RecoveryKey),
    /// Make a node's folder of a backup: all of it, or nothing.
    Restore(restore::Restore),
    /// Read a whole backup and verify it, writing nothing.
    CheckBackup(restore::CheckBackup),
}

/// A mistake in how the command was used: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Something refused: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Init(init) => init.run(),
            Command::Install(install) => install.run(),
            Command::Run(run) => run.run(),
            Command::RecoveryKey(make) => make.run(),
            Command::Restore(restore) => restore.run(),
            Command::CheckBackup(check) => check.run(),
        }
    }
}

/// The exit code of an error, as the contract has it.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Usage>().is_some() {
        return 2;
    }
    if error.downcast_ref::<Refused>().is_some() {
        return 3;
    }
    // Documents, keys or settings that do not hold are refused; nothing was changed.
    let refused = error.chain().any(|cause| {
        cause.is::<TrustError>()
            || cause.is::<NotVerified>()
            || cause.is::<IdentityError>()
            || cause.is::<ConfigError>()
            || cause.is::<AgeError>()
    });
    if refused {
        return 3;
    }
    match error.downcast_ref::<BackupError>() {
        Some(
            BackupError::File(_)
            | BackupError::Io(_)
            | BackupError::Store(StoreError::Broken(_) | StoreError::DiskFull { .. }),
        ) => return 4,
        Some(_) => return 3,
        None => {}
    }
    match error.downcast_ref::<StartError>() {
        Some(StartError::Config(_) | StartError::Identity(_)) => 3,
        Some(StartError::Store(StoreError::Busy { .. } | StoreError::TooOld(_) | StoreError::TooNew(_))) => 3,
        Some(StartError::Store(_) | StartError::Journal(_) | StartError::File(_)) | None => 4,
    }
}

/// The operator's profile that `init` makes beside the node.
pub(crate) fn operator_profile(dir: &std::path::Path) -> PathBuf {
    dir.join("operator")
}
