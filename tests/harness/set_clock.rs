//! A clock that a test sets, for programs that run under libfaketime: days go by while they run, for their timers, too.
//!
//! What goes on is the time of day and the time since start together, as on a machine that slept: timers that are due go off at once.
//! The library is Debian's package `libfaketime`, which `tests/run` installs where it is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicI64, Ordering},
};

use accord_edge::clock;
use accord_protocol::time::UnixMs;

use crate::{Running, Said, program};

/// The clock of all programs that are started with it.
#[derive(Debug)]
pub struct SetClock {
    library: PathBuf,
    file: PathBuf,
    ahead_s: AtomicI64,
    timers_too: bool,
}

impl SetClock {
    /// The machine's own time, in a file.
    ///
    /// # Panics
    /// If libfaketime is not installed.
    pub fn new(file: &Path) -> Self {
        let of_machine = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library = of_machine.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
        let library = library.expect("libfaketime is not installed: apt-get install libfaketime, as tests/run does");
        let set = Self { library, file: file.to_owned(), ahead_s: AtomicI64::new(0), timers_too: true };
        set.write();
        set
    }

    /// The same, but only the time of day is set, as a person or a time server does: timers go on as they were.
    ///
    /// # Panics
    /// If libfaketime is not installed.
    pub fn of_day(file: &Path) -> Self {
        Self { timers_too: false, ..Self::new(file) }
    }

    // Replaced whole, since programs read it all the time.
    fn write(&self) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{:+}\n", self.ahead_s.load(Ordering::Relaxed))).unwrap();
        fs::rename(next, &self.file).unwrap();
    }

    /// What it shows.
    pub fn now(&self) -> UnixMs {
        UnixMs(clock::now().0.saturating_add_signed(1_000 * self.ahead_s.load(Ordering::Relaxed)))
    }

    /// Lets so many seconds go by.
    pub fn go_on(&self, seconds: u64) {
        self.jump(seconds.cast_signed());
    }

    /// Sets it so many seconds ahead, or back.
    pub fn jump(&self, seconds: i64) {
        self.ahead_s.fetch_add(seconds, Ordering::Relaxed);
        self.write();
    }

    /// Lets it be an instant, or some seconds later.
    pub fn go_to(&self, at: UnixMs) {
        self.go_on(at.0.saturating_sub(self.now().0).div_ceil(1_000));
    }

    /// Starts a node by it.
    pub fn start(&self, folder: &Path, node: &str) -> Running {
        Running::start_with(folder, node, &self.environment())
    }

    /// Runs the tool by it.
    pub fn accord(&self, folder: &Path, arguments: &[&str]) -> Said {
        let mut tool = Command::new(program("accord"));
        tool.args(arguments).envs(self.environment()).current_dir(folder).stdin(Stdio::null());
        Said::of(tool.output().unwrap())
    }

    fn environment(&self) -> [(&'static str, &str); 4] {
        let [library, file] = [&self.library, &self.file].map(|path| path.to_str().unwrap());
        let timers = if self.timers_too { "0" } else { "1" };
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", timers),
        ]
    }
}
