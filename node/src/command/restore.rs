//! `accord-node restore` and `check-backup`: from a backup to a node's folder, or only whether it would be one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use accord_edge::{clock, files};
use accord_node::io::{
    age::Identity,
    backup::{self, BackupError, Contents, Expected},
    identity::IdentityError,
};
use anyhow::Context;
use clap::Args;
use zeroize::Zeroizing;

use super::Usage;

/// Largest identity file in bytes.
const IDENTITY_MAX: u64 = 16 << 10;

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The backup.
    file: PathBuf,
    /// The file of `accord-node recovery-key` that opens it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The federation's id, from outside: a backup of another federation is refused.
    #[arg(long, value_name = "ID")]
    federation: Option<String>,
    /// A backup of another member's node is refused.
    #[arg(long, value_name = "MEMBER")]
    member: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    source: Source,
    /// The node's new folder, which must not exist.
    dir: PathBuf,
    /// Take the file's own word for the federation that it is of: whoever made the file up made that up too.
    #[arg(long, conflicts_with = "federation")]
    any_federation: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckBackup {
    #[command(flatten)]
    source: Source,
}

impl Source {
    fn expected(&self) -> anyhow::Result<Expected> {
        let federation = self.federation.as_ref().map(|text| text.parse()).transpose();
        let member = self.member.as_ref().map(|text| text.parse()).transpose();
        Ok(Expected {
            federation: federation.map_err(|error| Usage(format!("--federation: {error}")))?,
            member: member.map_err(|error| Usage(format!("--member: {error}")))?,
        })
    }

    // A path that was typed wrong is no damaged backup.
    fn file(&self) -> Result<&Path, Usage> {
        let file = &self.file;
        if file.is_file() {
            return Ok(file);
        }
        Err(Usage(format!("{} is no file: name the file that `accord backup` made, with its folder", file.display())))
    }

    fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let Some(path) = &self.identity else { return Ok(None) };
        let bytes = Zeroizing::new(files::read_secret(path, IDENTITY_MAX).map_err(IdentityError::from)?);
        let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is no identity file", path.display()))?;
        let identity = Identity::read(text).map_err(BackupError::from);
        Ok(Some(identity.with_context(|| format!("{} is no identity file", path.display()))?))
    }

    fn tell(&self, contents: &Contents) {
        let (manifest, store) = (&contents.manifest, &contents.store);
        println!("a backup of {} as of {}, {}", manifest.node_id, manifest.made_at, encrypted(contents));
        println!("  federation {}", manifest.federation);
        if self.federation.is_none() {
            println!("  compare that id with the one that you know: whoever made all of this up has made it up too");
        }
        println!("  records: {} lines in {} imports; editions: {}", store.lines, store.imports, store.editions);
        println!("  audit log: {} entries, root {}", store.log_size, store.log_root);
        println!("  roster {}, keys {}, commit {}", manifest.roster_version, manifest.keys_version, manifest.sequence);
    }
}

fn encrypted(contents: &Contents) -> &'static str {
    if contents.is_encrypted { "encrypted" } else { "NOT ENCRYPTED: whoever has the file has everything in it" }
}

impl CheckBackup {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let file = self.source.file()?;
        let (identity, expected) = (self.source.identity()?, self.source.expected()?);
        let contents = backup::verify(file, identity.as_ref(), &expected)
            .with_context(|| format!("{} cannot be restored", self.source.file.display()))?;
        self.source.tell(&contents);
        println!("verified; nothing was written");
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.dir.symlink_metadata().is_ok() {
            return Err(Usage(format!("{} exists already; choose a new folder", self.dir.display())).into());
        }
        // Anybody can encrypt to a recipient, and put signed documents of a federation of their own into a backup.
        if self.source.federation.is_none() && !self.any_federation {
            let message = "nothing but the federation's id ties a backup to your federation: name it, as you know it from elsewhere (--federation ID, it is in accord trust of any member), or take the file's word (--any-federation)";
            return Err(Usage(message.into()).into());
        }
        let paths: (&Path, &Path) = (self.source.file()?, &self.dir);
        let (identity, expected) = (self.source.identity()?, self.source.expected()?);
        let contents = backup::restore(paths, identity.as_ref(), &expected, clock::now())
            .with_context(|| format!("nothing was restored from {}", self.source.file.display()))?;
        self.source.tell(&contents);
        let dir = self.dir.display();
        println!("restored to {dir}");
        println!(
            "next: make sure that the old node does not run any more, then `accord-node run {dir}` and `accord status`"
        );
        println!(
            "  what happened after {} is not in it; requests from before its first start are refused",
            contents.manifest.made_at
        );
        println!("  profiles of people are not in a backup: operators use their own");
        Ok(ExitCode::SUCCESS)
    }
}
