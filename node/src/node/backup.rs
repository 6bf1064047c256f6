//! Backups: a copy of the whole node as of one commit, encrypted before it leaves, while everything else goes on.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
};

use accord_edge::{
    clock,
    files::{self, FileError},
    keyring::{KeyRing, RingError, Seal},
};
use accord_protocol::{
    backup::BackupManifest,
    codec::encode,
    id::Hash,
    log::EventKind,
    signed::{Document, NotVerified, Preamble},
    time::UnixMs,
};
use serde_json::{Value, json};

use super::{Actor, Happening, Node, Reply, Standing, done, failed, store_failed};
use crate::io::{
    age::{AgeError, Encrypting, Recipient},
    backup::{FILES, Hashing, Total, Writing},
    identity,
    import::Spool,
    store::{Snapshot, Store, StoreError},
};

/// Largest file of the node's folder that is taken.
const FILE_MAX: u64 = 8 << 20;

/// A backup that waits to be fetched. Its file has no name any more, so that nothing is left of it afterwards.
#[derive(Debug)]
pub(crate) struct Made {
    /// What is in it, for the operator's tool.
    pub(crate) reply: Reply,
    /// Its bytes.
    pub(crate) file: File,
}

#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the spool cannot be written")]
    Spool(#[from] io::Error),
    #[error("it cannot be encrypted")]
    Age(#[from] AgeError),
    #[error("the node's key ring cannot be looked at")]
    Ring(#[from] RingError),
    #[error("no signing key that the node's member lists is in its ring, so that nobody would believe it")]
    NotSigned(#[from] NotVerified),
}

// Where the bytes go: encrypted, or not; in both cases counted as they leave.
enum Sink {
    Plain(Box<Hashing<BufWriter<File>>>),
    Sealed(Box<Encrypting<Hashing<BufWriter<File>>>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Sealed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Sealed(out) => out.flush(),
        }
    }
}

impl Sink {
    fn finish(self) -> io::Result<(u64, Hash)> {
        let out = match self {
            Self::Plain(out) => *out,
            Self::Sealed(out) => out.finish()?,
        };
        let (mut out, bytes, hash) = out.finish();
        out.flush()?;
        Ok((bytes, hash))
    }
}

impl Node {
    /// Makes a backup in the spool, enters it in the audit log, and gives it back to be sent. Blocks on the store and on the disk, for
    /// as long as it takes to read everything; commits go on meanwhile.
    pub(crate) fn make_backup(&self, unencrypted: bool, by: &Actor) -> Result<Made, Box<Reply>> {
        let recipient = self.config.backup_recipient.filter(|_| !unencrypted);
        self.may_back_up(recipient.as_ref(), unencrypted)?;
        let Ok(_alone) = self.backing_up.try_lock() else {
            let next = "wait until it is done, then try again";
            return Err(Box::new(failed(4, "BUSY", "another backup is being made", next)));
        };
        self.store.room(self.store.size()).map_err(|error| Box::new(store_failed(&error)))?;
        self.write_backup(recipient.as_ref(), by).map_err(|error| {
            tracing::error!(error = accord_protocol::text::with_causes(&error), "a backup was not made");
            Box::new(match error {
                NotMade::Store(error) => store_failed(&error),
                error => {
                    let message = format!("no backup was made: {}", accord_protocol::text::with_causes(&error));
                    failed(4, "BACKUP", message, "look at the node's log, and at its disk")
                }
            })
        })
    }

    // What people must have decided before anything is copied.
    fn may_back_up(&self, recipient: Option<&Recipient>, unencrypted: bool) -> Result<(), Box<Reply>> {
        if recipient.is_none() && !unencrypted {
            let message = "no recovery key is configured, so that nothing could encrypt the backup";
            let next = "make one offline with `accord-node recovery-key FILE`, put the recipient that it prints into node.toml as [backup] recipient, restart the node";
            return Err(Box::new(failed(3, "NO-RECIPIENT", message, next)));
        }
        let sealed = KeyRing::sealed_with(&self.config.dir.join("node.ring"));
        if unencrypted && !matches!(sealed, Ok(Seal::Passphrase(_) | Seal::Credential(_))) {
            let message = "the node's key ring is not sealed, and its private keys never leave in the clear";
            let next =
                "seal the ring (`accord key reseal`), or have the backup encrypted ([backup] recipient in node.toml)";
            return Err(Box::new(failed(3, "OPEN-RING", message, next)));
        }
        Ok(())
    }

    fn write_backup(&self, recipient: Option<&Recipient>, by: &Actor) -> Result<Made, NotMade> {
        let mut spool = Spool::new(&self.spool, "backup")?;
        let out = Hashing::new(BufWriter::with_capacity(1 << 20, spool.writer()?));
        let sink = match recipient {
            Some(recipient) => Sink::Sealed(Box::new(Encrypting::begin(out, recipient)?)),
            None => Sink::Plain(Box::new(out)),
        };
        let mut writing = Writing::begin(sink)?;
        let mut snapshot = self.store.snapshot()?;
        let made_at = clock::now();
        // Later than the store, and not earlier: the keys of whatever is sealed in it are there then, and no document that its log
        // knows of is missing.
        let standing = self.standing();
        for (name, bytes) in self.files_of_backup(&standing)? {
            writing.file(&name, &bytes)?;
        }
        while let Some(page) = snapshot.next_page()? {
            for (key, value) in page {
                writing.entry(&key, &value)?;
            }
        }
        let total = writing.end()?;
        let (manifest, document) = self.manifest(&standing, &snapshot, made_at, &total)?;
        drop(snapshot);
        let signed = encode(&document).map_err(NotVerified::from)?;
        let (bytes, sha256) = writing.manifest(&signed)?.finish()?;
        let result = json!({
            "member": manifest.node_id.as_str(), "federation": manifest.federation.to_string(), "made_at": made_at.to_string(),
            "bytes": bytes, "sha256": sha256.to_string(), "encrypted_to": recipient.map(ToString::to_string),
            "sequence": manifest.sequence, "log_size": manifest.log_size, "log_root": manifest.log_root.to_string(),
            "roster": manifest.roster_version, "keys_version": manifest.keys_version, "files": manifest.files,
            "entries": manifest.keys,
        });
        let mut entered = result.clone();
        if let Value::Object(fields) = &mut entered {
            // Every entry is this member's.
            fields.retain(|name, _| !matches!(name.as_str(), "member" | "federation"));
        }
        let federation = *standing.trust().federation();
        let happening = Happening::new(EventKind::Backup, by, entered);
        self.record(&happening.about_document(&federation, &document))?;
        tracing::info!(bytes, sequence = manifest.sequence, encrypted = recipient.is_some(), "a backup is made");
        Ok(Made { reply: done(result), file: spool.reopen()? })
    }

    fn manifest(
        &self,
        standing: &Standing,
        snapshot: &Snapshot,
        made_at: UnixMs,
        total: &Total,
    ) -> Result<(BackupManifest, Document), NotVerified> {
        let (trust, me) = (standing.trust(), &self.config.member);
        let roster = trust.roster();
        let keys = trust.keys(me).ok_or(NotVerified::Threshold { have: 0, need: 1 })?;
        let (log_size, log_root) = snapshot.log();
        let manifest = BackupManifest {
            preamble: Preamble,
            federation: *trust.federation(),
            node_id: me.clone(),
            made_at,
            schema: snapshot.schema(),
            sequence: snapshot.sequence(),
            log_size,
            log_root,
            epoch: roster.epoch,
            roster_version: roster.roster_version,
            roster_hash: roster.hash(),
            keys_version: keys.keys_version,
            keys_hash: keys.hash(),
            files: total.files,
            keys: total.keys,
            bytes: total.bytes,
            content: total.content,
        };
        let mut document = Document::new(&manifest)?;
        document.add_signature(&self.voice().sign, trust.federation());
        // As whoever restores it will look.
        document.verify::<BackupManifest>(trust.federation(), keys.sign_keys.as_slice(), 1, &[])?;
        Ok((manifest, document))
    }

    // Settings, the ring as it is sealed, trust documents and cards in force, keys of the audit log's months. Not the profile of an
    // operator: that is a person's.
    fn files_of_backup(&self, standing: &Standing) -> Result<Vec<(String, Vec<u8>)>, NotMade> {
        let dir = &self.config.dir;
        let mut all = Vec::new();
        for name in FILES {
            let path = dir.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                let bytes = if name == "node.ring" {
                    files::read_secret(&path, FILE_MAX)
                } else {
                    files::read_limited(&path, FILE_MAX)
                };
                all.push((name.to_owned(), bytes?));
            }
        }
        for (name, bytes) in standing.held.files()? {
            all.push((format!("trust/{name}"), bytes));
        }
        for card in &standing.cards {
            all.push((format!("trust/{}", identity::card_file(card)), encode(card).map_err(NotVerified::from)?));
        }
        for (name, bytes) in self.journal.files().map_err(StoreError::from)? {
            all.push((format!("journal/{name}"), bytes));
        }
        Ok(all)
    }

    /// That the node was restored, for `accord status`. Blocks on the store.
    pub(super) fn restored_json(&self) -> Result<Value, StoreError> {
        let restored = self.store.restored()?;
        Ok(json!(restored.map(|restored| json!({
            "backup_at": restored.made_at.to_string(), "restored_at": restored.restored_at.to_string(),
            "log_size": restored.log_size, "log_root": restored.log_root.to_string(),
            "refuses_before": self.not_before.map(|at| at.to_string()),
        }))))
    }
}

/// From when on requests are decided: since the first start after the store was restored, which may be this one.
pub(super) fn not_before(store: &Store) -> Result<Option<UnixMs>, StoreError> {
    Ok(match store.not_before()? {
        Some(at) => Some(at),
        None => store.restored()?.map(|_| clock::now()),
    })
}
