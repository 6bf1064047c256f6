//! `accord-node recovery-key`: the key that opens backups, made offline and kept there.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use accord_edge::{clock, files};
use accord_node::io::age::Identity;
use anyhow::Context;
use clap::Args;

use super::Usage;

#[derive(Debug, Args)]
pub(crate) struct RecoveryKey {
    /// The new file, which must not exist. Whoever has it reads every backup that is encrypted to it.
    file: PathBuf,
}

impl RecoveryKey {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let identity = Identity::new()?;
        let recipient = identity.recipient()?;
        // As age-keygen writes it, so that its tools read it.
        let comments = format!("# created: {}\n# public key: {recipient}\n", clock::now());
        write(&self.file, &[comments.as_bytes(), identity.secret_text().as_bytes(), b"\n"])?;
        println!("made {}", self.file.display());
        println!("next: put this into node.toml, restart the node, and take the file to where no node runs");
        println!("[backup]\nrecipient = \"{recipient}\"");
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, parts: &[&[u8]]) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Usage(format!("{} exists already; choose a new file", path.display())).into());
        }
        opened => opened.with_context(|| format!("cannot create {}", path.display()))?,
    };
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    if written.is_err() {
        // A part of a key opens nothing.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(files::sync_dir(folder)?)
}
