//! A model of a disk: what it may hold after a power cut, given what was written to it and what of that was synced.
//!
//! Modelled: the content and the size of files by file, and the names in a folder by folder. What was written to a file is durable
//! after `fsync` or `fdatasync` of that file began later and succeeded; names that were made, renamed, exchanged or removed are durable
//! after `fsync` of their folder. Nothing else makes anything durable: not `sync_file_range`, not closing, not time, not the sync of
//! another file - less than what ext4 gives, as much as POSIX promises. Changes of modes and times are not modelled.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use crate::seeded::Seeded;

const PAGE: usize = 4096;
/// Bytes of the numbers of `struct record`.
const HEAD: usize = 72;

/// What becomes of what was not synced.
#[derive(Debug)]
pub enum Loses<'a> {
    /// All of it is gone.
    Everything,
    /// Of each page of 4 KiB as many of its writes stay as the dice say, in their order; of each folder's changes and of each file's
    /// sizes, too.
    SomePages(&'a mut Seeded),
    /// Nothing: what the folder holds now.
    Nothing,
}

/// Which calls have an effect, for the proof that it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obeys {
    /// All of them.
    EverySync,
    /// `fsync`, but not `fdatasync`.
    NoDataSync,
    /// Syncs of files, but not of folders.
    NoFolderSync,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Put(String, usize),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, object) => {
                names.insert(name.clone(), *object);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(object) = names.remove(from) {
                    names.insert(to.clone(), object);
                }
            }
            Self::Exchange(one, other) => {
                let (of_one, of_other) = (names.remove(one), names.remove(other));
                names.extend(of_one.map(|object| (other.clone(), object)));
                names.extend(of_other.map(|object| (one.clone(), object)));
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Object {
    Regular { mode: u32, durable: Vec<u8>, pending: Vec<(u64, Change)> },
    Folder { mode: u32, durable: BTreeMap<String, usize>, pending: Vec<(u64, Naming)> },
}

/// The disk.
#[derive(Debug, Clone)]
pub struct Disk {
    objects: Vec<Object>,
    by_inode: HashMap<u64, usize>,
}

struct Record<'a> {
    number: u64,
    what: u64,
    mode: u32,
    folder: u64,
    inode: u64,
    offset: u64,
    name: String,
    other: String,
    data: &'a [u8],
}

impl Disk {
    /// A folder as it lies there, all of it durable, without those of its own folders that other programs write to. The first object is
    /// the folder itself.
    pub fn of(folder: &Path, without: &[&str]) -> Self {
        let mut disk = Self { objects: Vec::new(), by_inode: HashMap::new() };
        disk.add(folder, without);
        disk
    }

    fn add(&mut self, path: &Path, without: &[&str]) -> usize {
        let metadata = fs::symlink_metadata(path).unwrap();
        let (at, mode) = (self.objects.len(), metadata.mode() & 0o7777);
        self.by_inode.insert(metadata.ino(), at);
        if metadata.is_dir() {
            self.objects.push(Object::Folder { mode, durable: BTreeMap::new(), pending: Vec::new() });
            let mut names = BTreeMap::new();
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                let name = entry.file_name().to_str().unwrap().to_owned();
                if !without.contains(&name.as_str()) {
                    names.insert(name, self.add(&entry.path(), &[]));
                }
            }
            self.objects[at] = Object::Folder { mode, durable: names, pending: Vec::new() };
        } else {
            let durable = fs::read(path).unwrap();
            self.objects.push(Object::Regular { mode, durable, pending: Vec::new() });
        }
        at
    }

    /// Takes what the shim has written down. What stands at its end in part was not acknowledged to anybody.
    pub fn take(&mut self, journal: &[u8], obeys: Obeys) {
        self.take_some(journal, usize::MAX, obeys);
    }

    /// Takes at most so many records; what is left of the journal.
    pub fn take_some<'a>(&mut self, mut journal: &'a [u8], count: usize, obeys: Obeys) -> &'a [u8] {
        for _ in 0..count {
            let Some((record, rest)) = record(journal) else { break };
            journal = rest;
            self.take_one(record, obeys);
        }
        journal
    }

    fn take_one(&mut self, record: Record<'_>, obeys: Obeys) {
        let Record { number, what, mode, folder, inode, offset, name, other, data } = record;
        let offset = usize::try_from(offset).unwrap();
        match what {
            // CREATED, FOLDER
            1 | 7 => {
                let object = if what == 1 {
                    Object::Regular { mode, durable: Vec::new(), pending: Vec::new() }
                } else {
                    Object::Folder { mode, durable: BTreeMap::new(), pending: Vec::new() }
                };
                self.objects.push(object);
                self.by_inode.insert(inode, self.objects.len() - 1);
                self.name(folder, number, Naming::Put(name, self.objects.len() - 1));
            }
            // WRITTEN, TRUNCATED
            2 | 3 => {
                let change = if what == 2 { Change::Write(offset, data.to_vec()) } else { Change::Truncate(offset) };
                match &mut self.objects[self.by_inode[&inode]] {
                    Object::Regular { pending, .. } => pending.push((number, change)),
                    Object::Folder { .. } => panic!("bytes are written to a folder"),
                }
            }
            4 => self.name(folder, number, Naming::Rename(name, other)),
            5 => self.name(folder, number, Naming::Exchange(name, other)),
            6 => self.name(folder, number, Naming::Remove(name)),
            // SYNCED, DATA_SYNCED: everything up to the number `offset`
            8 | 9 => {
                let until = u64::try_from(offset).unwrap();
                match &mut self.objects[self.by_inode[&inode]] {
                    Object::Regular { .. } if what == 9 && obeys == Obeys::NoDataSync => {}
                    Object::Folder { .. } if obeys == Obeys::NoFolderSync => {}
                    Object::Regular { durable, pending, .. } => {
                        let synced = pending.iter().take_while(|(number, _)| *number <= until).count();
                        pending.drain(..synced).for_each(|(_, change)| apply(&change, durable));
                    }
                    Object::Folder { durable, pending, .. } => {
                        let synced = pending.iter().take_while(|(number, _)| *number <= until).count();
                        pending.drain(..synced).for_each(|(_, naming)| naming.apply(durable));
                    }
                }
            }
            _ => panic!("record of kind {what}"),
        }
    }

    fn name(&mut self, folder: u64, number: u64, naming: Naming) {
        match &mut self.objects[self.by_inode[&folder]] {
            Object::Folder { pending, .. } => pending.push((number, naming)),
            Object::Regular { .. } => panic!("a name in a file"),
        }
    }

    /// Bytes and names that no sync has reached.
    pub fn unsynced(&self) -> (usize, usize) {
        self.objects.iter().fold((0, 0), |(bytes, names), object| match object {
            Object::Regular { pending, .. } => {
                let more =
                    pending.iter().map(|(_, change)| if let Change::Write(_, data) = change { data.len() } else { 0 });
                (bytes + more.sum::<usize>(), names)
            }
            Object::Folder { pending, .. } => (bytes, names + pending.len()),
        })
    }

    /// Whether names in a folder, by its path in what is durable, wait for a sync.
    pub fn waits(&self, path: &[&str]) -> bool {
        let mut at = 0;
        for name in path {
            let Object::Folder { durable, .. } = &self.objects[at] else { return false };
            let Some(next) = durable.get(*name) else { return false };
            at = *next;
        }
        matches!(&self.objects[at], Object::Folder { pending, .. } if !pending.is_empty())
    }

    /// Every file after a cut, by its path.
    pub fn after(&self, mut loses: Loses<'_>) -> Image {
        let mut image = Image::default();
        self.walk(0, "", &mut loses, &mut image);
        image
    }

    fn walk(&self, at: usize, path: &str, loses: &mut Loses<'_>, image: &mut Image) {
        match &self.objects[at] {
            Object::Regular { mode, durable, pending } => {
                image.files.insert(path.to_owned(), (*mode, content(durable, pending, loses)));
            }
            Object::Folder { mode, durable, pending } => {
                image.folders.insert(path.to_owned(), *mode);
                let kept = match loses {
                    Loses::Everything => 0,
                    Loses::SomePages(dice) => dice.below(pending.len() + 1),
                    Loses::Nothing => pending.len(),
                };
                let mut names = durable.clone();
                pending.iter().take(kept).for_each(|(_, naming)| naming.apply(&mut names));
                for (name, object) in names {
                    let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                    self.walk(object, &path, loses, image);
                }
            }
        }
    }
}

/// Number of whole records in a journal.
pub fn records(mut journal: &[u8]) -> usize {
    std::iter::from_fn(|| record(journal).map(|(_, rest)| journal = rest)).count()
}

/// What lies in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Image {
    folders: BTreeMap<String, u32>,
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Image {
    /// Puts it in the place of a folder's content, without those that other programs write to.
    pub fn write(&self, folder: &Path, without: &[&str]) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::remove_file(entry.path()).unwrap();
            } else if without.iter().all(|name| entry.file_name() != *name) {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        for (path, mode) in &self.folders {
            let path = folder.join(path);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
        for (path, (mode, bytes)) in &self.files {
            let path = folder.join(path);
            let file = File::options().write(true).create_new(true).mode(*mode).open(&path);
            file.and_then(|mut file| file.write_all(bytes))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    /// What differs from another one, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names = |image: &Self| -> Vec<String> { image.folders.keys().chain(image.files.keys()).cloned().collect() };
        let (mine, theirs) = (names(self), names(other));
        let only = |mine: &[String], theirs: &[String], word: &str| -> Vec<String> {
            mine.iter().filter(|name| !theirs.contains(name)).map(|name| format!("{name} {word}")).collect()
        };
        let changed = self.files.iter().filter_map(|(name, (_, bytes))| {
            let (_, others) = other.files.get(name)?;
            let at = (0..bytes.len().max(others.len())).find(|at| bytes.get(*at) != others.get(*at))?;
            Some(format!("{name} differs at {at} ({} and {} bytes)", bytes.len(), others.len()))
        });
        let only_one = [only(&mine, &theirs, "only here"), only(&theirs, &mine, "only there")].concat();
        only_one.into_iter().chain(changed).collect()
    }
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Write(at, data) => {
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Change::Truncate(size) => bytes.resize(*size, 0),
    }
}

fn content(durable: &[u8], pending: &[(u64, Change)], loses: &mut Loses<'_>) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    match loses {
        Loses::Everything => {}
        Loses::Nothing => pending.iter().for_each(|(_, change)| apply(change, &mut bytes)),
        Loses::SomePages(dice) => {
            // The size after some of the changes; pages behind it are not seen, those that were not written are zeros.
            let mut whole = durable.to_vec();
            let kept = dice.below(pending.len() + 1);
            let mut size = durable.len();
            for (at, (_, change)) in pending.iter().enumerate() {
                apply(change, &mut whole);
                if at < kept {
                    size = whole.len();
                }
            }
            let end = pending.iter().map(|(_, change)| end_of(change)).fold(durable.len(), usize::max);
            bytes.resize(end, 0);
            for page in 0..end.div_ceil(PAGE) {
                let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(end));
                let touching: Vec<&Change> =
                    pending.iter().map(|(_, change)| change).filter(|change| touches(change, from, to)).collect();
                for change in touching.iter().take(dice.below(touching.len() + 1)) {
                    match change {
                        Change::Write(at, data) => {
                            let (first, last) = (from.max(*at), to.min(at + data.len()));
                            bytes[first..last].copy_from_slice(&data[first - at..last - at]);
                        }
                        Change::Truncate(size) => bytes[from.max((*size).min(to))..to].fill(0),
                    }
                }
            }
            bytes.resize(size, 0);
        }
    }
    bytes
}

fn end_of(change: &Change) -> usize {
    match change {
        Change::Write(at, data) => at + data.len(),
        Change::Truncate(size) => *size,
    }
}

fn touches(change: &Change, from: usize, to: usize) -> bool {
    match change {
        Change::Write(at, data) => *at < to && at + data.len() > from,
        Change::Truncate(size) => *size < to,
    }
}

fn record(journal: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = journal.split_at_checked(HEAD)?;
    let mut numbers = head.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
    let mut next = || numbers.next().unwrap();
    let (number, what, mode, folder, inode, offset) = (next(), next(), next(), next(), next(), next());
    let [name, other, data] = [next(), next(), next()].map(|length| usize::try_from(length).unwrap());
    let (name, rest) = rest.split_at_checked(name)?;
    let (other, rest) = rest.split_at_checked(other)?;
    let (data, rest) = rest.split_at_checked(data)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mode = u32::try_from(mode).unwrap();
    Some((Record { number, what, mode, folder, inode, offset, name: text(name), other: text(other), data }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    // What, folder, inode, offset, two names, bytes.
    type Told<'a> = (u64, u64, u64, usize, &'a str, &'a str, &'a [u8]);

    fn journal(records: &[Told<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (what, folder, inode, offset, name, other, data)) in (1u64..).zip(records) {
            let lengths = [name.len(), other.len(), data.len()].map(|length| length as u64);
            let head = [number, *what, 0o600, *folder, *inode, *offset as u64, lengths[0], lengths[1], lengths[2]];
            bytes.extend(head.iter().flat_map(|number| number.to_ne_bytes()));
            bytes.extend([name.as_bytes(), other.as_bytes(), data].concat());
        }
        bytes
    }

    #[test]
    fn what_was_not_synced_is_gone_and_what_was_synced_is_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old"), b"before").unwrap();
        let inode = fs::metadata(folder.path()).unwrap().ino();
        let old = fs::metadata(folder.path().join("old")).unwrap().ino();
        let (new, none) = (u64::MAX, b"".as_slice());
        let records = [
            (1, inode, new, 0, "new", "", none),
            (2, 0, new, 0, "", "", b"synced".as_slice()),
            (9, 0, new, 2, "", "", none),
            (2, 0, new, 6, "", "", b" and not".as_slice()),
            (2, 0, old, 0, "", "", b"behind".as_slice()),
            (4, inode, new, 0, "new", "old", none),
        ];
        let mut whole = journal(&records);
        let image = |journal: &[u8], obeys, loses: Loses<'_>| {
            let mut disk = Disk::of(folder.path(), &[]);
            disk.take(journal, obeys);
            let image = disk.after(loses);
            image
                .files
                .into_iter()
                .map(|(name, (_, bytes))| (name, String::from_utf8(bytes).unwrap()))
                .collect::<Vec<_>>()
        };
        let one = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
        assert_eq!(image(&whole, Obeys::EverySync, Loses::Everything), one("old", "before"));
        assert_eq!(image(&whole, Obeys::EverySync, Loses::Nothing), one("old", "synced and not"));
        // Half a record at the end is none.
        whole.extend(journal(&[(8, 0, inode, 6, "", "", none)]));
        assert_eq!(image(&whole[..whole.len() - 1], Obeys::EverySync, Loses::Everything), one("old", "before"));
        assert_eq!(image(&whole, Obeys::EverySync, Loses::Everything), one("old", "synced"));
        assert_eq!(image(&whole, Obeys::NoDataSync, Loses::Everything), one("old", ""));
        assert_eq!(image(&whole, Obeys::NoFolderSync, Loses::Everything), one("old", "before"));
    }

    #[test]
    fn of_pages_that_were_not_synced_any_may_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), vec![0; 2 * PAGE]).unwrap();
        let inode = fs::metadata(folder.path().join("f")).unwrap().ino();
        let (first, second) = (vec![1; 2 * PAGE], vec![2; PAGE]);
        let none = b"".as_slice();
        let records = [
            (2, 0, inode, 0, "", "", first.as_slice()),
            (2, 0, inode, 0, "", "", second.as_slice()),
            (3, 0, inode, PAGE, "", "", none),
        ];
        let mut disk = Disk::of(folder.path(), &[]);
        disk.take(&journal(&records), Obeys::EverySync);
        let (mut dice, mut found) = (Seeded::new(1), std::collections::BTreeSet::new());
        for _ in 0..200 {
            let image = disk.after(Loses::SomePages(&mut dice));
            let (_, bytes) = &image.files["f"];
            found.insert((bytes[0], bytes.get(PAGE).copied()));
        }
        let all = [0, 1, 2].into_iter().flat_map(|one| [None, Some(0), Some(1)].map(|other| (one, other)));
        assert_eq!(found, all.collect());
    }
}
