//! Files that must be whole or absent: written to a temporary name, synced, renamed; read with a limit.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use accord_protocol::{
    bundle::Bundle,
    codec::{Cap, Malformed, decode, encode},
    id::to_hex,
    signed::Document,
};

use crate::random;

/// First bytes of a trust document's file.
const DOCUMENT_MAGIC: &[u8; 8] = b"ACCORD1\n";
/// Largest document file: the largest document and its signatures.
const DOCUMENT_FILE_MAX: u64 = (1 << 20) + 16_384;
/// First bytes of a file that goes from hand to hand.
const BUNDLE_MAGIC: &[u8; 8] = b"ACCORDB\n";
/// Largest such file.
const BUNDLE_FILE_MAX: u64 = 8 << 20;

/// What went wrong with a file, with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is something already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// Neither a regular file nor something that may be read as one.
    #[error("{} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// Too large.
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// Others may read or write it.
    #[error("{} must be yours alone: {rule} (chmod {fix} {})", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        rule: &'static str,
        /// The mode that is right.
        fix: &'static str,
    },
    /// Not an Accord document.
    #[error("{} is not an Accord document", path.display())]
    NotADocument {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Malformed,
    },
}

/// How often a folder is read that changes meanwhile.
const READ_TRIES: u32 = 5;

/// Adds what was tried and where to an I/O error.
pub fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}

/// Makes a folder for its owner alone; parents that are missing too.
pub fn make_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create", path))
}

/// Syncs a folder, so that a rename in it survives a power cut.
pub fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at("sync", path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Writes a file whole: temporary name, sync, rename, sync of the folder. Mode 0600.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_whole(path, bytes, None)
}

/// Writes a file that is there anew, whole or not at all, with the permissions that it has.
pub fn rewrite_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let metadata = fs::symlink_metadata(path).map_err(at("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    write_whole(path, bytes, Some(metadata.permissions()))
}

fn write_whole(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // A name that nobody can guess, made anew: no link that waits there is followed, no mode is inherited.
    let random = random::bytes::<8>().map_err(io::Error::other).map_err(at("write", path))?;
    name.push(format!(".{}.tmp", to_hex(&random)));
    let temporary = path.with_file_name(name);
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(source) = result {
        // The temporary file holds nothing that anybody needs; if it cannot be removed, the next write replaces it.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::Io { doing: "write", path: path.to_owned(), source });
    }
    sync_dir(parent(path))
}

/// Writes a file whole, refusing to replace one.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(FileError::Exists(path.to_owned()));
    }
    make_dir(parent(path))?;
    write_atomically(path, bytes)
}

/// Reads a regular file of limited size.
pub fn read_limited(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let metadata = fs::metadata(path).map_err(at("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let file = File::open(path).map_err(at("read", path))?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Reads a file that only its owner may reach: regular, no symbolic link, this user's, mode 0600 or 0400, in a folder that
/// nobody else can write to.
pub fn read_secret(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let metadata = fs::symlink_metadata(path).map_err(at("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let open = |rule, fix| FileError::Open { path: path.to_owned(), rule, fix };
    if metadata.uid() != crate::linux::user_id() {
        return Err(open("it belongs to another user", "600"));
    }
    if metadata.permissions().mode() & 0o177 != 0 {
        return Err(open("others may read or write it", "600"));
    }
    let folder = parent(path);
    let mode = fs::metadata(folder).map_err(at("read", folder))?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(FileError::Open {
            path: folder.to_owned(),
            rule: "others may write to the folder of a key",
            fix: "700",
        });
    }
    read_limited(path, max)
}

/// Writes a trust document or proposal.
pub fn write_document(path: &Path, document: &Document) -> Result<(), FileError> {
    make_dir(parent(path))?;
    write_atomically(path, &document_file(document)?)
}

/// A document as the bytes of its file.
pub fn document_file(document: &Document) -> Result<Vec<u8>, FileError> {
    let bytes = encode(document).map_err(|source| FileError::NotADocument { path: PathBuf::new(), source })?;
    Ok([DOCUMENT_MAGIC.as_slice(), &bytes].concat())
}

/// Reads a trust document or proposal, believing nothing.
pub fn read_document(path: &Path) -> Result<Document, FileError> {
    document_of(path, &read_limited(path, DOCUMENT_FILE_MAX)?)
}

/// The document that the bytes of its file are; `path` says which in errors.
pub fn document_of(path: &Path, bytes: &[u8]) -> Result<Document, FileError> {
    let body = bytes.strip_prefix(DOCUMENT_MAGIC.as_slice()).ok_or_else(|| FileError::NotADocument {
        path: path.to_owned(),
        source: Malformed::Decode("the file does not begin with ACCORD1".into()),
    })?;
    decode(body, Cap::Document).map_err(|source| FileError::NotADocument { path: path.to_owned(), source })
}

/// Writes a file that goes from hand to hand.
pub fn write_bundle(path: &Path, bundle: &Bundle) -> Result<(), FileError> {
    let bytes = encode(bundle).map_err(|source| FileError::NotADocument { path: path.to_owned(), source })?;
    make_dir(parent(path))?;
    write_atomically(path, &[BUNDLE_MAGIC.as_slice(), &bytes].concat())
}

/// Reads a file that goes from hand to hand, or a single document as one that holds it alone; believing nothing.
pub fn read_bundle(path: &Path) -> Result<Bundle, FileError> {
    let bytes = read_limited(path, BUNDLE_FILE_MAX)?;
    let Some(body) = bytes.strip_prefix(BUNDLE_MAGIC.as_slice()) else {
        return read_document(path).map(Bundle::of);
    };
    decode(body, Cap::Set).map_err(|source| FileError::NotADocument { path: path.to_owned(), source })
}

/// Reads every `.accord` file of a folder, in the order of their names. A file that goes while it is being read has been replaced by
/// another process that keeps the same folder: then all are read once more.
pub fn read_documents(folder: &Path) -> Result<Vec<Document>, FileError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match read_documents_once(folder) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < READ_TRIES => {}
            read => return read,
        }
    }
}

fn read_documents_once(folder: &Path) -> Result<Vec<Document>, FileError> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(at("read", folder))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "accord"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read_document(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_others_can_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ring");
        write_new(&path, b"secret").unwrap();
        assert_eq!(read_secret(&path, 100).unwrap(), b"secret");
        assert!(matches!(write_new(&path, b"other"), Err(FileError::Exists(_))));
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_secret(&path, 100), Err(FileError::Open { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read_secret(&link, 100), Err(FileError::NotRegular(_))));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read_secret(&path, 100), Err(FileError::Open { .. })));
    }

    #[test]
    fn a_file_that_is_written_anew_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evidence.json");
        assert!(rewrite_atomically(&path, b"new").is_err(), "there is nothing to be written anew");
        for mode in [0o644, 0o600, 0o660, 0o400] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            rewrite_atomically(&path, b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(rewrite_atomically(&link, b"new"), Err(FileError::NotRegular(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no file is left over");
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_limited(folder.path(), 10), Err(FileError::NotRegular(_))));
        assert!(matches!(read_limited(Path::new("/dev/zero"), 10), Err(FileError::NotRegular(_))));
        let path = folder.path().join("f");
        fs::write(&path, [0; 11]).unwrap();
        assert!(matches!(read_limited(&path, 10), Err(FileError::TooLarge { .. })));
    }
}
