//! The agent: keeps a person's key unlocked for some hours, on a socket of their own. Never a root key, never an administrator's.
//!
//! It signs handshakes, and for an officer questions; nothing else, whoever asks. The domain of a signature is put before the bytes
//! by the agent itself.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use accord_edge::{files, linux};
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    id::Hash,
    key::{PublicKey, Signature, SigningKey},
    member_keys::KeyRole,
    signed::Label,
    signer::{Domain, NotSigned, Signer},
};
use anyhow::Context;
use bincode::{Decode, Encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{command::Global, output::Failure, profile::Profile};

/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_secs(5);
/// Largest call in bytes.
const CALL_MAX: usize = 64 << 10;

const SAY_WHO: u8 = 1;
const SIGN_HANDSHAKE: u8 = 2;
const SIGN_STATEMENT: u8 = 3;
const LOCK: u8 = 4;

#[derive(Debug, Encode, Decode)]
struct Call {
    what: u8,
    label: Option<Label>,
    federation: Hash,
    bytes: Bounded<u8, { 48 << 10 }>,
}

#[derive(Debug, Encode, Decode)]
struct Reply {
    public: PublicKey,
    signature: Option<Signature>,
}

/// A key that the agent keeps.
#[derive(Debug)]
struct Unlocked {
    socket: PathBuf,
    public: PublicKey,
}

impl Signer for Unlocked {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign_as(&self, domain: Domain<'_>, bytes: &[u8]) -> Result<Signature, NotSigned> {
        let (what, label, federation) = match domain {
            Domain::Handshake => (SIGN_HANDSHAKE, None, Hash::ZERO),
            Domain::Statement { label, federation } => (SIGN_STATEMENT, Some(label), *federation),
        };
        let bytes = Bounded::new(bytes.to_vec()).ok_or_else(|| NotSigned::Holder("too long".into()))?;
        let reply = call(&self.socket, &Call { what, label, federation, bytes });
        let reply = reply.map_err(|error| NotSigned::Holder(format!("the agent: {error}")))?;
        reply.signature.ok_or_else(|| NotSigned::Holder("the agent does not sign this".into()))
    }
}

/// The profile's key as the agent keeps it, if there is an agent.
pub(crate) fn unlocked(profile: &Profile) -> Option<Box<dyn Signer>> {
    let socket = socket_of(&profile.dir).filter(|socket| socket.exists())?;
    let reply = call(&socket, &Call::simple(SAY_WHO)).ok()?;
    Some(Box::new(Unlocked { socket, public: reply.public }))
}

impl Call {
    fn simple(what: u8) -> Self {
        Self { what, label: None, federation: Hash::ZERO, bytes: Bounded::default() }
    }
}

fn call(socket: &Path, call: &Call) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(CALL_WITHIN))?;
    stream.set_write_timeout(Some(CALL_WITHIN))?;
    let bytes = encode(call).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&bytes)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > CALL_MAX {
        return Err(io::Error::other("a reply that is too long"));
    }
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply)?;
    decode(&reply, Cap::Head).map_err(io::Error::other)
}

// A socket's path is short on Linux: the runtime folder where there is one, else the profile itself.
fn socket_of(profile: &Path) -> Option<PathBuf> {
    let absolute = std::fs::canonicalize(profile).ok()?;
    let name: String = Hash::of(absolute.as_os_str().as_encoded_bytes()).to_string().chars().take(16).collect();
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir()) {
        Some(dir) => Some(dir.join("accord").join(format!("{name}.sock"))),
        None => Some(absolute.join("agent.sock")),
    }
}

/// Starts an agent for the profile's key; returns when it listens.
pub(crate) fn start(global: &Global, profile: &Profile, seconds: u64) -> anyhow::Result<()> {
    if matches!(profile.role, KeyRole::Root | KeyRole::Administrator) {
        let message = format!("{} keys are never kept unlocked", profile.role);
        let next = "give the passphrase each time; these keys are used rarely and offline";
        return Err(Failure::refused("NEVER-UNLOCKED", message, next).into());
    }
    if unlocked(profile).is_some() {
        lock(profile)?;
    }
    let secret = crate::profile::passphrase_of(&profile.dir.join("person.ring"), global);
    let secret = secret.ok_or_else(|| {
        let next = "give the passphrase on a terminal, or with --passphrase-fd N";
        Failure::usage("PASSPHRASE", "there is no terminal to ask for the passphrase", next)
    })?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["agent", "--seconds", &seconds.to_string(), "--passphrase-fd", "0", "--profile"])
        .arg(&profile.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the agent")?;
    // The passphrase goes through a pipe that nobody else can open; never on the command line, never in the environment.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(secret.as_bytes())?;
        stdin.write_all(b"\n")?;
    }
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut said)?;
    }
    if said.trim() == "ready" {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut why)?;
    }
    child.wait()?;
    let why = why.lines().next().unwrap_or("it ended").trim_start_matches("error: ").to_owned();
    Err(Failure::refused("AGENT", format!("the agent does not start: {why}"), "check the passphrase").into())
}

/// Ends the agent of a profile, if there is one.
pub(crate) fn lock(profile: &Profile) -> anyhow::Result<bool> {
    let Some(socket) = socket_of(&profile.dir).filter(|socket| socket.exists()) else { return Ok(false) };
    let ended = call(&socket, &Call::simple(LOCK)).is_ok();
    if !ended {
        // One that died left its socket.
        std::fs::remove_file(&socket)?;
    }
    Ok(ended)
}

/// The agent itself: runs until its time is over or somebody locks.
pub(crate) fn serve(global: &Global, seconds: u64) -> anyhow::Result<()> {
    let profile = Profile::open(global)?;
    let key = profile.key_of_ring(profile.card().ok().map(|(_, card)| card.key), global)?;
    let socket = socket_of(&profile.dir).context("no place for the socket")?;
    if let Some(folder) = socket.parent() {
        files::make_dir(folder)?;
    }
    if socket.exists() {
        std::fs::remove_file(&socket)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(&socket).with_context(|| socket.display().to_string())?;
        linux::detach()?;
        println!("ready");
        io::stdout().flush()?;
        let served = tokio::time::timeout(Duration::from_secs(seconds), accept(&listener, &key, profile.role)).await;
        // Whoever asks now finds no socket, and opens the ring.
        std::fs::remove_file(&socket)?;
        served.unwrap_or(Ok(()))
    })
}

async fn accept(listener: &tokio::net::UnixListener, key: &SigningKey, role: KeyRole) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        // The socket's mode keeps others out; this holds where a folder was left open.
        if stream.peer_cred().is_ok_and(|peer| peer.uid() != linux::user_id()) {
            continue;
        }
        // Whoever says what is not understood, or nothing, is left to itself.
        if let Ok(Ok(true)) = tokio::time::timeout(CALL_WITHIN, answer(&mut stream, key, role)).await {
            return Ok(());
        }
    }
}

// Whether the agent is to end.
async fn answer(stream: &mut tokio::net::UnixStream, key: &SigningKey, role: KeyRole) -> anyhow::Result<bool> {
    let length = usize::try_from(stream.read_u32().await?)?;
    anyhow::ensure!(length <= CALL_MAX, "a call that is too long");
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    let call: Call = decode(&bytes, Cap::Head)?;
    let signature = match (call.what, call.label) {
        (SIGN_HANDSHAKE, _) => key.sign_as(Domain::Handshake, call.bytes.as_slice()).ok(),
        (SIGN_STATEMENT, Some(label)) if may_sign(role, label) => {
            key.sign_as(Domain::Statement { label, federation: &call.federation }, call.bytes.as_slice()).ok()
        }
        _ => None,
    };
    let reply = encode(&Reply { public: key.public(), signature })?;
    stream.write_u32(u32::try_from(reply.len())?).await?;
    stream.write_all(&reply).await?;
    Ok(call.what == LOCK)
}

fn may_sign(role: KeyRole, label: Label) -> bool {
    role == KeyRole::Officer && label == Label::RequestBody
}

/// Reads a time such as `8h`, `30m`, `45s`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no time; say 8h, 30m or 45s, at most 24h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "h" => number.checked_mul(3_600),
        "m" => number.checked_mul(60),
        "s" => Some(number),
        _ => None,
    };
    seconds.filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_up_to_a_day() {
        assert_eq!(["8h", "30m", "45s", "24h"].map(seconds), [Ok(28_800), Ok(1_800), Ok(45), Ok(86_400)]);
        for bad in ["", "h", "8", "25h", "0s", "-1h", "8d", "99999999999999999999h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_agent_signs_questions_of_officers_and_nothing_else() {
        for label in Label::ALL {
            for role in KeyRole::ALL {
                let allowed = may_sign(*role, *label);
                assert_eq!(allowed, *role == KeyRole::Officer && *label == Label::RequestBody, "{role} {label}");
            }
        }
    }
}
