//! A node whose file calls go through `tests/faults/shim.c`: failed as a test wants, counted, and written down for a model of the disk.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{Running, program, root};

/// A class of calls on files; what opens is counted where it writes or creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `open` for writing or creating.
    Open,
    /// `write`, `pwrite`, `writev`.
    Write,
    /// `fsync`, `fdatasync`.
    Sync,
    /// `sync_file_range`.
    Range,
    /// `rename`, `renameat2`.
    Rename,
    /// `unlink`, `rmdir`.
    Unlink,
    /// `ftruncate`.
    Truncate,
    /// `mkdir`.
    MakeFolder,
    /// `read`, `pread`; these fail by their place (`Shim::spoil`).
    Read,
}

impl Class {
    /// All, in the shim's order.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Write,
        Self::Sync,
        Self::Range,
        Self::Rename,
        Self::Unlink,
        Self::Truncate,
        Self::MakeFolder,
        Self::Read,
    ];
}

/// What a call fails with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO, once.
    Broken,
    /// ENOSPC from then on; the first write takes half of its bytes.
    Full,
}

const EIO: u64 = 5;
const ENOSPC: u64 = 28;
/// Where the numbers of `struct control` lie.
const CLASS: u64 = 0;
const AFTER: u64 = 8;
const TIMES: u64 = 16;
const ERROR: u64 = 24;
const PART: u64 = 32;
const FAILED: u64 = 40;
const COUNTED: u64 = 48;
const INODE: u64 = 120;
const PAGE: u64 = 128;

/// The shim, for one node at a time.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    below: PathBuf,
    control: PathBuf,
    numbers: File,
    journal: PathBuf,
    is_journaling: bool,
}

impl Shim {
    /// A shim for what lies below a folder; its own files are put beside that as `name`.
    pub fn new(below: &Path, name: &Path) -> Self {
        let control = name.with_extension("control");
        fs::write(&control, [0; 4096]).unwrap();
        let numbers = File::options().read(true).write(true).open(&control).unwrap();
        let (library, below) = (library().to_owned(), below.canonicalize().unwrap());
        Self { library, below, control, numbers, journal: name.with_extension("journal"), is_journaling: false }
    }

    /// The same, which also writes down what changes.
    #[must_use]
    pub fn journaling(self) -> Self {
        Self { is_journaling: true, ..self }
    }

    /// Starts a node under it, with a journal that begins anew; its log if it does not get ready.
    pub fn try_start(&self, folder: &Path, node: &str) -> Result<Running, String> {
        let _ = fs::remove_file(&self.journal);
        let environment = self.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Running::try_start_with(folder, node, &environment)
    }

    /// What the node's environment must hold.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut all = vec![
            ("LD_PRELOAD", text(&self.library)),
            ("ACCORD_SHIM_DIR", text(&self.below)),
            ("ACCORD_SHIM_CONTROL", text(&self.control)),
        ];
        all.extend(self.is_journaling.then(|| ("ACCORD_SHIM_JOURNAL", text(&self.journal))));
        all
    }

    fn number(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.numbers.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, at: u64, number: u64) {
        self.numbers.write_all_at(&number.to_ne_bytes(), at).unwrap();
    }

    /// Calls of each class so far.
    pub fn counted(&self) -> [u64; 9] {
        Class::ALL.map(|class| self.number(COUNTED + 8 * class as u64))
    }

    /// Lets the call of a class after so many others fail.
    pub fn fail(&self, class: Class, after: u64, fault: Fault) {
        self.heal();
        let (error, times) = match fault {
            Fault::Broken => (EIO, 1),
            Fault::Full => (ENOSPC, u64::MAX),
        };
        let part = u64::from(fault == Fault::Full && class == Class::Write);
        for (at, number) in [(AFTER, after), (TIMES, times), (ERROR, error), (PART, part), (FAILED, 0)] {
            self.set(at, number);
        }
        // Last: from here on it counts.
        self.set(CLASS, class as u64 + 1);
    }

    /// Lets a page of 4 KiB of a file be unreadable.
    pub fn spoil(&self, file: &Path, page: u64) {
        self.heal();
        let inode = fs::metadata(file).unwrap().ino();
        for (at, number) in [(INODE, inode), (PAGE, page), (ERROR, EIO), (FAILED, 0)] {
            self.set(at, number);
        }
        self.set(CLASS, Class::Read as u64 + 1);
    }

    /// Lets nothing fail any more; how many calls have failed.
    pub fn heal(&self) -> u64 {
        self.set(CLASS, 0);
        self.number(FAILED)
    }

    /// Lets nothing fail any more after a while, for whoever waits for that.
    pub fn heal_after(&self, wait: Duration) -> JoinHandle<()> {
        let numbers = self.numbers.try_clone().unwrap();
        thread::spawn(move || {
            thread::sleep(wait);
            numbers.write_all_at(&0u64.to_ne_bytes(), CLASS).unwrap();
        })
    }

    /// What was written down since the start.
    pub fn journal(&self) -> Vec<u8> {
        fs::read(&self.journal).unwrap()
    }
}

// Built once for this process, under a name that follows from its source, so that processes side by side do not build it into each
// other's hands.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = root().join("tests/faults/shim.c");
        let folder = program("accord-node").parent().unwrap().parent().unwrap().join("tmp");
        fs::create_dir_all(&folder).unwrap();
        let built = folder.join(format!("shim-{}.so", std::process::id()));
        let done = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o"])
            .args([&built, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .unwrap();
        assert!(done.status.success(), "cc: {}", String::from_utf8_lossy(&done.stderr));
        built
    })
}
