//! From a backup's file to a node's folder: everything is verified, then all of it is there, or nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use accord_edge::{
    files::{self, FileError},
    random,
    trust_folder::{FEDERATION_FILE, ROSTER_FILE},
};
use accord_protocol::{
    backup::BackupManifest,
    codec::{Cap, Malformed, decode},
    id::{Hash, NodeId, to_hex},
    signed::{Document, FederationId, NotVerified},
    time::UnixMs,
    trust::{Ground, Trust, TrustError},
};

use super::{Item, MAGIC, Reading, Total};
use crate::io::{
    age::{AgeError, Decrypting, Identity},
    config::{Config, ConfigError},
    store::{Counted, Filling, Restored, StoreError, Tally},
};

/// First bytes of what age encrypts.
const AGE: &[u8; 8] = b"age-encr";
/// What sled may keep in memory while a store is filled.
const CACHE_BYTES: u64 = 64 << 20;

/// Why a backup is not believed, or cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Reading it.
    #[error("the backup cannot be read")]
    Io(#[source] io::Error),
    /// Another file.
    #[error("this is no backup of an Accord node")]
    NotABackup,
    /// It is encrypted.
    #[error("the backup is encrypted, and no identity was named (--identity FILE)")]
    NoIdentity,
    /// It does not decrypt.
    #[error("the backup does not decrypt")]
    Age(#[from] AgeError),
    /// The end is missing.
    #[error("the backup is cut off")]
    Cut,
    /// It is put together in another way.
    #[error("the backup is damaged: {0}")]
    Wrong(&'static str),
    /// A file in it is missing.
    #[error("the backup is damaged: {0} is missing in it")]
    Missing(&'static str),
    /// The manifest does not decode.
    #[error("the backup's manifest cannot be read")]
    Malformed(#[from] Malformed),
    /// The manifest is not the node's.
    #[error("the backup's manifest is not signed by a signing key of {0} in the trust documents inside")]
    Signature(NodeId, #[source] NotVerified),
    /// Bytes differ.
    #[error("the backup is not what its manifest says: {0}")]
    Differs(&'static str),
    /// Of somebody else.
    #[error("this is a backup of {found}, and one of {expected} is wanted")]
    Member {
        /// Wanted.
        expected: NodeId,
        /// Found.
        found: NodeId,
    },
    /// Of another federation.
    #[error("this is a backup from the federation {found}, and one from {expected} is wanted")]
    Federation {
        /// Wanted.
        expected: FederationId,
        /// Found.
        found: FederationId,
    },
    /// The settings in it.
    #[error("the settings in the backup are not usable")]
    Config(#[from] ConfigError),
    /// The trust documents in it.
    #[error("the trust documents in the backup do not hold together")]
    Trust(#[from] TrustError),
    /// The store in it.
    #[error("the store in the backup does not hold together")]
    Store(#[from] StoreError),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<AgeError>() {
            Ok(age) => Self::Age(age),
            Err(error) => Self::Io(error),
        }
    }
}

/// What whoever restores knows from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The federation's id.
    pub federation: Option<FederationId>,
    /// Whose node it is.
    pub member: Option<NodeId>,
}

/// What is in a backup, verified.
#[derive(Debug)]
pub struct Contents {
    /// What the node said of it.
    pub manifest: BackupManifest,
    /// What the store consists of.
    pub store: Counted,
    /// Whether it was encrypted.
    pub is_encrypted: bool,
    files: BTreeMap<String, Vec<u8>>,
}

/// Reads all of a backup and verifies it; writes nothing.
pub fn verify(path: &Path, identity: Option<&Identity>, expected: &Expected) -> Result<Contents, BackupError> {
    open(path, identity, expected, &mut |_, _| Ok(()))
}

/// Makes a node's folder of a backup: the whole one, or none.
pub fn restore(
    (path, dir): (&Path, &Path),
    identity: Option<&Identity>,
    expected: &Expected,
    now: UnixMs,
) -> Result<Contents, BackupError> {
    if fs::symlink_metadata(dir).is_ok() {
        return Err(FileError::Exists(dir.to_owned()).into());
    }
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", to_hex(&random::bytes::<8>().map_err(AgeError::from)?)));
    let fresh = dir.with_file_name(name);
    files::make_dir(&fresh)?;
    let made = fill(path, &fresh, identity, expected, now).and_then(|contents| {
        put_in_place(&fresh, dir)?;
        Ok(contents)
    });
    if made.is_err() {
        // Whatever is wrong with the backup is what is told; what may stay has a name that nobody takes for a node.
        let _ = fs::remove_dir_all(&fresh);
    }
    made
}

fn fill(
    path: &Path,
    fresh: &Path,
    identity: Option<&Identity>,
    expected: &Expected,
    now: UnixMs,
) -> Result<Contents, BackupError> {
    let mut filling = Filling::begin(&fresh.join("store"), CACHE_BYTES)?;
    let contents = open(path, identity, expected, &mut |key, value| filling.put(key, value))?;
    let manifest = &contents.manifest;
    filling.finish(&Restored {
        made_at: manifest.made_at,
        log_size: manifest.log_size,
        log_root: manifest.log_root,
        restored_at: now,
    })?;
    for folder in super::FOLDERS {
        files::make_dir(&fresh.join(folder))?;
    }
    for (name, bytes) in &contents.files {
        files::write_atomically(&fresh.join(name), bytes)?;
    }
    files::sync_dir(fresh)?;
    Ok(contents)
}

fn put_in_place(fresh: &Path, dir: &Path) -> Result<(), BackupError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, fresh, CWD, dir, RenameFlags::NOREPLACE)
        .map_err(|error| files::at("create", dir)(error.into()))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(files::sync_dir(parent)?)
}

type Put<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

fn open(path: &Path, identity: Option<&Identity>, expected: &Expected, put: Put<'_>) -> Result<Contents, BackupError> {
    let mut file = File::open(path).map_err(files::at("read", path))?;
    let mut first = Vec::new();
    (&file).take(MAGIC.len() as u64).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(1 << 20, file);
    if first == MAGIC {
        return read(file, false, expected, put);
    }
    if first != AGE {
        return Err(BackupError::NotABackup);
    }
    let identity = identity.ok_or(BackupError::NoIdentity)?;
    let decrypting = BufReader::with_capacity(1 << 16, Decrypting::begin(file, identity)?);
    read(decrypting, true, expected, put)
}

fn read(from: impl Read, is_encrypted: bool, expected: &Expected, put: Put<'_>) -> Result<Contents, BackupError> {
    let mut reading = Reading::begin(from)?;
    let (mut files, mut tally) = (BTreeMap::new(), Tally::default());
    while let Some(item) = reading.next()? {
        match item {
            Item::File(name, bytes) => {
                if files.insert(name, bytes).is_some() {
                    return Err(BackupError::Wrong("a file stands in it twice"));
                }
            }
            Item::Entry(key, value) => {
                tally.take(&key, &value)?;
                put(&key, &value)?;
            }
        }
    }
    let (total, manifest) = reading.finish()?;
    let manifest = believed(&files, &manifest, expected)?;
    let store = tally.finish()?;
    held_to(&manifest, &total, &store)?;
    Ok(Contents { manifest, store, is_encrypted, files })
}

// The manifest, signed by a signing key of the member whose settings are in the backup, by the trust documents that are in it.
fn believed(
    files: &BTreeMap<String, Vec<u8>>,
    manifest: &[u8],
    expected: &Expected,
) -> Result<BackupManifest, BackupError> {
    let settings = files.get("node.toml").ok_or(BackupError::Missing("node.toml"))?;
    if !files.contains_key("node.ring") {
        return Err(BackupError::Missing("node.ring"));
    }
    let settings = std::str::from_utf8(settings).map_err(|_| BackupError::Wrong("the settings are no text"))?;
    let config = Config::parse(Path::new(""), Path::new("node.toml"), settings)?;
    let me = config.member;
    let pinned = |name: &str, missing| {
        let text = files.get(&format!("trust/{name}")).ok_or(BackupError::Missing(missing))?;
        let hash = String::from_utf8_lossy(text).trim().parse::<Hash>();
        hash.map_err(|_| BackupError::Wrong("what was fixed at the installation cannot be read"))
    };
    let federation = pinned(FEDERATION_FILE, "trust/federation")?;
    let installed = pinned(ROSTER_FILE, "trust/roster")?;
    let is_document =
        |name: &str| name.starts_with("trust/") && Path::new(name).extension().is_some_and(|e| e == "accord");
    let documents = files.iter().filter(|(name, _)| is_document(name));
    let documents = documents.map(|(name, bytes)| files::document_of(&PathBuf::from(name), bytes));
    let documents: Vec<Document> = documents.collect::<Result<_, _>>()?;
    if let Some(expected) = expected.federation.filter(|expected| *expected != federation) {
        return Err(BackupError::Federation { expected, found: federation });
    }
    if let Some(expected) = expected.member.clone().filter(|expected| *expected != me) {
        return Err(BackupError::Member { expected, found: me });
    }
    let trust = Trust::hold(&documents, &Ground { federation: &federation, me: &me, installed: &installed })?;
    // Whoever restores years later, or after a suspension, still restores what the node itself has signed.
    let keys = trust.keys(&me).map(|keys| (keys.sign_keys.as_slice().to_vec(), keys.keys_version, keys.hash()));
    let (sign_keys, keys_version, keys_hash) = keys.ok_or(BackupError::Missing("the keys of the member"))?;
    let document: Document = decode(manifest, Cap::Head)?;
    let manifest: BackupManifest = document
        .verify::<BackupManifest>(&federation, &sign_keys, 1, &[])
        .map_err(|error| BackupError::Signature(me.clone(), error))?
        .get()
        .clone();
    if (&manifest.federation, &manifest.node_id) != (&federation, &me) {
        return Err(BackupError::Differs("it is of another member or federation"));
    }
    let roster = trust.roster();
    let in_force = (roster.epoch, roster.roster_version, roster.hash(), keys_version, keys_hash);
    let said =
        (manifest.epoch, manifest.roster_version, manifest.roster_hash, manifest.keys_version, manifest.keys_hash);
    if in_force != said {
        return Err(BackupError::Differs("other trust documents are in force in it"));
    }
    Ok(manifest)
}

fn held_to(manifest: &BackupManifest, total: &Total, store: &Counted) -> Result<(), BackupError> {
    if (manifest.bytes, manifest.content) != (total.bytes, total.content) {
        return Err(BackupError::Differs("its bytes"));
    }
    if (manifest.files, manifest.keys) != (total.files, total.keys) {
        return Err(BackupError::Differs("the number of its files or entries"));
    }
    if (manifest.schema, manifest.sequence) != (store.schema, store.sequence) {
        return Err(BackupError::Differs("the store's last commit"));
    }
    if (manifest.log_size, manifest.log_root) != (store.log_size, store.log_root) {
        return Err(BackupError::Differs("the audit log"));
    }
    Ok(())
}
