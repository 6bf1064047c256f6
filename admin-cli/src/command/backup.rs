//! `accord backup`: a copy of the own node, encrypted by it, to a file that is whole or absent.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use accord_edge::{files, stream::Downloaded};
use accord_protocol::message::{BackupCall, MessageKind, Notice, PersonReply};
use anyhow::Context;
use clap::Args;
use ring::digest::{Context as Digest, SHA256};
use serde_json::Value;

use crate::{
    client::{Client, block_on},
    command::{Global, edition::spinner},
    output::{Failure, Outcome},
    profile::Profile,
};

/// `accord backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The new file, which must not exist.
    file: PathBuf,
    /// Encrypt nothing, whatever the node's settings say: whoever gets the file has all records.
    #[arg(long)]
    unencrypted: bool,
}

impl Backup {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let name = self.file.display().to_string();
        if self.file.symlink_metadata().is_ok() {
            let next = "name a file that does not exist";
            return Err(Failure::usage("EXISTS", format!("{name} exists already"), next).into());
        }
        let profile = Profile::open(global)?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // For its owner alone, under another name until it is whole; removed with this value.
        let part = tempfile::Builder::new()
            .prefix(self.file.file_name().unwrap_or_default())
            .suffix(".part")
            .tempfile_in(folder)
            .with_context(|| format!("no file can be made in {}", folder.display()))?;
        let mut file = io::BufWriter::with_capacity(1 << 20, part);
        let mut reply = self.download(&profile, global, &mut file)?;
        let part = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(|| name.clone())?;
        if reply.error.is_none() {
            part.as_file().sync_all().with_context(|| name.clone())?;
            part.persist_noclobber(&self.file).map_err(|error| error.error).with_context(|| name.clone())?;
            files::sync_dir(folder)?;
            if let Some(Value::Object(result)) = &mut reply.result {
                result.insert("file".into(), Value::from(name.clone()));
            }
            if self.unencrypted {
                let message =
                    "the backup is NOT ENCRYPTED: it has all records, and what the audit log's details are sealed with";
                reply.warnings.push(Notice { code: "UNENCRYPTED".into(), message: message.into() });
            }
        }
        Ok(Outcome::from_reply(reply, |result| text(result, &name)))
    }

    // What came is written to `file`; nothing of it is, where the node says that there is no backup.
    fn download(
        &self,
        profile: &Profile,
        global: &Global,
        file: &mut impl Write,
    ) -> anyhow::Result<PersonReply<Value>> {
        block_on(async {
            let client = Client::connect(profile, global).await?;
            let call = BackupCall::Make { unencrypted: self.unencrypted };
            // Of a large store the node makes its copy for minutes, and only then sends it.
            let progress = if global.shows_progress() {
                spinner("the node copies and encrypts itself")
            } else {
                indicatif::ProgressBar::hidden()
            };
            let (mut head, mut body, mut digest) = (Vec::new(), Vec::new(), Digest::new(&SHA256));
            let taken = |part: Downloaded<'_>| {
                match part {
                    Downloaded::Head(bytes) => {
                        head = bytes.to_vec();
                        show_arriving(&progress, bytes);
                    }
                    Downloaded::Body(bytes) if head.is_empty() => body.extend_from_slice(bytes),
                    Downloaded::Body(bytes) => {
                        digest.update(bytes);
                        file.write_all(bytes)?;
                        progress.inc(bytes.len() as u64);
                    }
                }
                Ok(())
            };
            let downloaded = client.download(MessageKind::Backup, &call, taken).await;
            progress.finish_and_clear();
            downloaded?;
            client.close().await;
            let is_there = !head.is_empty();
            let said = if is_there { &head } else { &body };
            let reply: PersonReply<Value> = serde_json::from_slice(said)
                .context("the node's answer is not understood; use the same version of accord and accord-node")?;
            let sha256 = accord_protocol::id::to_hex(digest.finish().as_ref());
            let wanted = reply.result.as_ref().and_then(|result| result.get("sha256")).and_then(Value::as_str);
            if is_there && wanted != Some(&sha256) {
                let message = "what came is not what the node says that it has made; nothing was written";
                return Err(Failure::refused("NOT-VERIFIED", message, "try again").into());
            }
            Ok(reply)
        })
    }
}

// From now on it is the bytes of the file that are waited for, as many as the node says.
fn show_arriving(progress: &indicatif::ProgressBar, head: &[u8]) {
    let said: Option<PersonReply<Value>> = serde_json::from_slice(head).ok();
    let Some(total) = said.and_then(|said| said.result?.get("bytes")?.as_u64()) else { return };
    progress.disable_steady_tick();
    progress.set_style(
        indicatif::ProgressStyle::with_template("{bytes:>10} of {total_bytes} received")
            .unwrap_or(indicatif::ProgressStyle::default_bar()),
    );
    progress.set_length(total);
    progress.set_position(0);
}

fn text(result: &Value, name: &str) -> String {
    let field = |name: &str| {
        result
            .get(name)
            .map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let to = match result.get("encrypted_to").and_then(Value::as_str) {
        Some(recipient) => format!("encrypted to {recipient}"),
        None => "NOT ENCRYPTED".to_owned(),
    };
    format!(
        "{name}: {} as of {}, {} bytes, {to}\n  commit {}, audit log with {} entries\n  sha256 {}\nnext: take it to another place; try it once a month (accord-node check-backup)\n",
        field("member"),
        field("made_at"),
        field("bytes"),
        field("sequence"),
        field("log_size"),
        field("sha256"),
    )
}
