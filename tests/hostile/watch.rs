//! What is watched at the victim while a case plays: its process, its memory, its log.

use std::{fs, path::PathBuf, time::Duration};

use crate::stage::{Stage, VICTIM};

/// How much a node may grow during a case (`robustness.md` 6.0).
pub(crate) const GROWTH_MAX_KIB: u64 = 64 << 10;
/// How long a line may take to reach the log.
const LOG_WITHIN: Duration = Duration::from_secs(3);
/// Lines that honest peers and the harness cause; they count for no case.
const ORDINARY: [&str; 7] = [
    "running as root",
    "a policy is in force",
    " ready member=",
    "stopping",
    "connected peer=PT-AGENCY",
    "replies forgotten",
    // Whatever case plays at the full hour.
    "the audit log is closed for the hour",
];

/// The state of the victim when a case began.
#[derive(Debug)]
pub(crate) struct Watch {
    log: PathBuf,
    log_before: Vec<u8>,
    before_kib: u64,
    peak_kib: u64,
}

impl Watch {
    /// Looks at the victim before the case.
    pub(crate) fn start(stage: &Stage) -> Self {
        let log = stage.log(VICTIM);
        let pid = stage.pid(VICTIM);
        // The peak is counted from here on.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let before_kib = kib(pid, "VmRSS").unwrap();
        Self { log_before: fs::read(&log).unwrap(), log, before_kib, peak_kib: before_kib }
    }

    /// Resident memory before the case and the most that it was since, in KiB.
    pub(crate) const fn memory(&self) -> (u64, u64) {
        (self.before_kib, self.peak_kib)
    }

    /// After the case: the process lives, an honest member is answered, and the log holds what it should.
    pub(crate) fn check(&mut self, stage: &Stage, expected: &str) -> Result<(), String> {
        let pid = stage.pid(VICTIM);
        self.peak_kib = kib(pid, "VmHWM").ok_or("the node's process is gone")?;
        stage.honest_request().map_err(|wrong| format!("afterwards an honest member is not served: {wrong}"))?;
        let gained = self.wait_for(expected);
        if let Some(line) = gained.lines().find(|line| line.contains("panicked")) {
            return Err(format!("the node panicked: {line}"));
        }
        if let Some(byte) = gained.bytes().find(|byte| !(byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n'))) {
            return Err(format!("the log holds the byte {byte:#04x} of a peer unescaped: {}", gained.escape_debug()));
        }
        let mut lines = gained.lines().filter(|line| !ORDINARY.iter().any(|ordinary| line.contains(ordinary)));
        if expected == "none" {
            lines.next().map_or(Ok(()), |line| Err(format!("the log should say nothing of it, but says: {line}")))
        } else if lines.any(|line| line.contains(expected)) {
            Ok(())
        } else {
            Err(format!("the log does not say `{expected}`; it gained: {}", gained.escape_debug()))
        }
    }

    // Lines are written by the node's own tasks, shortly after what is seen on the wire.
    fn wait_for(&self, expected: &str) -> String {
        let mut gained = self.gained();
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while expected != "none" && !gained.contains(expected) && waited < LOG_WITHIN {
            std::thread::sleep(step);
            waited += step;
            gained = self.gained();
        }
        gained
    }

    fn gained(&self) -> String {
        let bytes = fs::read(&self.log).unwrap();
        // A node that was started again has a new log.
        String::from_utf8_lossy(bytes.strip_prefix(self.log_before.as_slice()).unwrap_or(&bytes)).into_owned()
    }
}

/// A figure of `/proc/PID/status` in KiB; nothing if the process is gone.
pub(crate) fn kib(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
