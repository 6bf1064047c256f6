//! The few Linux calls that the standard library lacks, each behind a safe wrapper.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
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

/// Reads the first line, and a second one if there is one, of at most 1 KiB from an inherited file descriptor.
pub fn read_secret_lines(descriptor: u32) -> io::Result<[Zeroizing<String>; 2]> {
    let file = File::open(format!("/proc/self/fd/{descriptor}"))?;
    let mut reader = BufReader::new(file.take(1024));
    Ok([first_line(&mut reader)?, first_line(&mut reader)?])
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

/// From here on this process, and whatever it starts, is killed if it tries to open a socket or to connect one. It cannot be undone.
pub fn forbid_network() -> io::Result<()> {
    // io_uring opens and connects sockets without these calls.
    let calls = [libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_io_uring_setup];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

/// Nobody else may look into this process: no core dump, no debugger, no `/proc` of other processes of the same user.
pub fn keep_memory_private() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Leaves the session of whoever started this process, so that it lives on when they log out of a terminal.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn k16_under_the_filter_whoever_opens_a_socket_is_killed() {
        const CHILD: &str = "ACCORD_TEST_WITHOUT_NETWORK";
        let open = || std::net::UdpSocket::bind("127.0.0.1:0");
        if std::env::var_os(CHILD).is_some() {
            forbid_network().unwrap();
            let opened = open();
            panic!("still alive: {opened:?}");
        }
        assert!(open().is_ok(), "without the filter it works");
        let name = "linux::tests::k16_under_the_filter_whoever_opens_a_socket_is_killed";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "yes")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        // SIGSYS, as seccomp kills.
        assert_eq!(child.signal(), Some(libc::SIGSYS));
    }
}
