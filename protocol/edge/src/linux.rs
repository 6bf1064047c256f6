//! The few Linux calls that the standard library lacks, each behind a safe wrapper.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions};
use zeroize::Zeroizing;

/// Files and folders made from now on are for their owner alone.
pub fn owner_only_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Whether the process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that the process runs as.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Lets two paths change places in one step.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, rustix::fs::RenameFlags::EXCHANGE)?;
    Ok(())
}

/// Opens an inherited file descriptor for writing.
pub fn write_descriptor(descriptor: u32) -> io::Result<File> {
    File::options().write(true).open(format!("/proc/self/fd/{descriptor}"))
}

/// Reads one line of at most 1 KiB from an inherited file descriptor.
pub fn read_secret_line(descriptor: u32) -> io::Result<Zeroizing<String>> {
    let file = File::open(format!("/proc/self/fd/{descriptor}"))?;
    first_line(BufReader::new(file.take(1024)))
}

fn first_line(mut reader: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    reader.read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}

/// Asks for a secret on the terminal without showing it; an error where there is no terminal, so that nothing hangs.
pub fn ask_secret(prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = rustix::termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    terminal.write_all(prompt.as_bytes())?;
    rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let line = first_line(BufReader::new((&terminal).take(1024)));
    rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    line
}

/// Asks for a line on the terminal; an error where there is no terminal, so that nothing hangs.
pub fn ask_line(prompt: &str) -> io::Result<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new((&terminal).take(1024)).read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}
