//! A folder of trust documents, of a node or of a person's profile: what is held on disk, and how more joins it.
//!
//! One file for each document, named by its content, beside two files that were fixed when the first documents were installed by hand:
//! the federation's id, and the hash of the roster that was in force then.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use accord_protocol::{
    id::{Hash, NodeId, NotHex},
    key::PublicKey,
    member_keys::MemberKeys,
    root::Root,
    roster::Roster,
    signed::{Document, FederationId, Label},
    trust::{Ground, Trust, TrustError, owner},
};

use crate::files::{self, FileError};

/// The file that pins the federation's id.
pub const FEDERATION_FILE: &str = "federation";
/// The file that names the roster which was installed by hand, by its hash: others follow from it.
pub const ROSTER_FILE: &str = "roster";

/// The documents held, and who is trusted because of them.
#[derive(Debug, Clone)]
pub struct TrustFolder {
    dir: PathBuf,
    federation: FederationId,
    installed: Hash,
    me: NodeId,
    /// The documents.
    pub documents: Vec<Document>,
    /// Who is trusted.
    pub trust: Trust,
}

/// Why a folder of trust documents is not usable.
#[derive(Debug, thiserror::Error)]
pub enum TrustFolderError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was fixed at the installation is not there.
    #[error("{} does not hold 64 hex digits", path.display())]
    NotPinned {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NotHex,
    },
    /// The documents do not hold together.
    #[error("the trust documents in {} do not hold together", path.display())]
    Trust {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
}

impl TrustFolder {
    /// Reads the folder of a member's node, or of one of its people.
    pub fn open(dir: &Path, me: &NodeId) -> Result<Self, TrustFolderError> {
        let pinned = |name: &str| {
            let path = dir.join(name);
            let text = files::read_limited(&path, 200)?;
            let hash = String::from_utf8_lossy(&text).trim().parse();
            hash.map_err(|source| TrustFolderError::NotPinned { path, source })
        };
        let (federation, installed) = (pinned(FEDERATION_FILE)?, pinned(ROSTER_FILE)?);
        let documents = files::read_documents(dir)?;
        let ground = Ground { federation: &federation, me, installed: &installed };
        let trust = Trust::hold(&documents, &ground)
            .map_err(|source| TrustFolderError::Trust { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), federation, installed, me: me.clone(), documents, trust })
    }

    /// Makes a folder of documents that somebody vouches for as a whole, having got the federation's id from outside. Whatever was
    /// compared then is what the roster in force names.
    pub fn create(dir: &Path, federation: &FederationId, documents: &[Document]) -> Result<Trust, TrustFolderError> {
        let trust = Trust::build(documents, Some(federation))
            .map_err(|source| TrustFolderError::Trust { path: dir.to_owned(), source })?;
        write_all(dir, federation, &trust.roster().hash(), documents)?;
        Ok(trust)
    }

    /// Writes all of it, pins included, to another folder.
    pub fn copy_to(&self, dir: &Path) -> Result<(), FileError> {
        write_all(dir, &self.federation, &self.installed, &self.documents)
    }

    /// Its files as they lie in the folder, by name, pins included.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, FileError> {
        let mut all = Vec::new();
        for document in &self.documents {
            all.push((document_file(document), files::document_file(document)?));
        }
        all.push((FEDERATION_FILE.to_owned(), format!("{}\n", self.federation).into_bytes()));
        all.push((ROSTER_FILE.to_owned(), format!("{}\n", self.installed).into_bytes()));
        Ok(all)
    }

    /// The federation that was pinned at the installation.
    pub const fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// Whether a document is held.
    pub fn holds(&self, document: &Document) -> bool {
        self.documents.iter().any(|held| is_same(held, document))
    }

    /// Whether a document that is held here has signatures that it had not there.
    pub fn has_more_signatures(&self, before: &Self, document: &Document) -> bool {
        let find = |folder: &Self| folder.documents.iter().find(|held| is_same(held, document)).cloned();
        find(before).is_some_and(|held| find(self).is_some_and(|now| now != held))
    }

    /// Why rosters that somebody hands in do not count, if the newest of them is older than that in force (K1). Older ones beside one
    /// that is not are what it builds on.
    pub fn goes_back(&self, documents: &[Document]) -> Option<String> {
        let rosters = documents.iter().filter_map(|document| document.unverified::<Roster>().ok());
        let newest = rosters.max_by_key(|roster| (roster.epoch, roster.roster_version))?;
        let now = self.trust.roster();
        ((newest.epoch, newest.roster_version) < (now.epoch, now.roster_version))
            .then(|| format!("roster {} is older than roster {} in force", newest.roster_version, now.roster_version))
    }

    /// What would be held with more documents. What is not believed, or of no use, is not in it; nothing is written.
    pub fn with(&self, documents: &[Document]) -> Result<Self, TrustError> {
        let mut next = self.clone();
        for document in documents {
            let place = next.documents.iter().position(|held| is_same(held, document));
            match place.and_then(|place| next.documents.get_mut(place)) {
                None => next.documents.push(document.clone()),
                // Whoever handed it on first may have left signatures out, so that it counts for less: they are put together again.
                Some(held) => {
                    let keys = may_sign(held, &self.documents);
                    let in_name_of = if held.label() == Label::Root { Hash::ZERO } else { self.federation };
                    if let Some(more) = held.with_signatures_of(document, &in_name_of, &keys) {
                        *held = more;
                    }
                }
            }
        }
        let ground = Ground { federation: &self.federation, me: &self.me, installed: &self.installed };
        next.trust = Trust::hold(&next.documents, &ground)?;
        next.documents.retain(|document| next.trust.keeps(document));
        Ok(next)
    }

    /// Writes what is new since `before`; durable when it returns. A roster comes last: should the process die in between, what it
    /// refers to is there, and what is there without being referred to does no harm.
    pub fn keep(&self, before: &Self) -> Result<(), FileError> {
        let is_new = |document: &&Document| !before.documents.contains(document);
        let mut new: Vec<&Document> = self.documents.iter().filter(is_new).collect();
        new.sort_by_key(|document| document.label() == Label::Roster);
        for document in new {
            files::write_document(&self.dir.join(document_file(document)), document)?;
        }
        for document in before.documents.iter().filter(|document| !self.holds(document)) {
            // A later document has replaced it: nothing is lost if it stays.
            let _ = std::fs::remove_file(self.dir.join(document_file(document)));
        }
        Ok(())
    }
}

fn is_same(one: &Document, other: &Document) -> bool {
    one.label() == other.label() && one.hash() == other.hash()
}

// Whose signatures under a document may matter: those of the root holders, or of the member whose it is. Nobody else can fill the
// room that there is for signatures.
fn may_sign(document: &Document, held: &[Document]) -> BTreeSet<PublicKey> {
    let owner = owner(document);
    let mut keys = BTreeSet::new();
    for one in held.iter().chain([document]) {
        match one.label() {
            Label::Root if owner.is_none() => {
                keys.extend(one.unverified::<Root>().into_iter().flat_map(|root| root.keys.as_slice().to_vec()));
            }
            Label::MemberKeys if owner.is_some() => {
                let listed = one.unverified::<MemberKeys>().ok().filter(|keys| Some(&keys.node_id) == owner.as_ref());
                keys.extend(listed.into_iter().flat_map(|listed| listed.all_keys()));
            }
            _ => {}
        }
    }
    keys
}

fn write_all(dir: &Path, federation: &FederationId, installed: &Hash, documents: &[Document]) -> Result<(), FileError> {
    files::make_dir(dir)?;
    for document in documents {
        files::write_document(&dir.join(document_file(document)), document)?;
    }
    files::write_atomically(&dir.join(FEDERATION_FILE), format!("{federation}\n").as_bytes())?;
    files::write_atomically(&dir.join(ROSTER_FILE), format!("{installed}\n").as_bytes())
}

/// The file in which a document lies: by its content, so that none takes another one's place.
pub fn document_file(document: &Document) -> String {
    let hash: String = document.hash().to_string().chars().take(16).collect();
    format!("{}-{hash}.accord", document.label())
}
