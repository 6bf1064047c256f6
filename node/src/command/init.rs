//! `accord-node init`: a folder, keys, settings, and the claim that carries the public keys to the administrators.

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::ExitCode,
};

use accord_edge::{
    files,
    keyring::{KeyRing, RingKind, Seal},
    random,
};
use accord_node::io::config;
use accord_protocol::{
    codec::{Bounded, Text},
    id::{Hash, NodeId},
    member_keys::{KeyClaim, KeyRole, RoleKey},
    signed::{Document, Preamble},
};
use anyhow::Context;
use clap::Args;

use super::{Usage, operator_profile};

/// Roles of a node's own keys; the last one is a secret and not part of the claim.
const NODE_ROLES: [KeyRole; 5] = [KeyRole::Tls, KeyRole::Sign, KeyRole::Log, KeyRole::Witness, KeyRole::Edition];

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The node's folder, which must not exist.
    dir: PathBuf,
    /// The member's name on the roster: country, `-`, short name.
    #[arg(long)]
    member: String,
    /// What people call the agency.
    #[arg(long)]
    name: String,
    /// Where partner nodes will reach this node. Port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where the agency's own people reach it. Default: loopback, the next free port.
    #[arg(long, value_name = "IP:PORT")]
    listen_people: Option<SocketAddr>,
}

impl Init {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let member: NodeId = self.member.parse().map_err(|error| Usage(format!("--member: {error}")))?;
        let name =
            Text::<64>::new(&self.name).ok_or_else(|| Usage("--name: at most 64 printable ASCII characters".into()))?;
        if self.dir.exists() {
            return Err(Usage(format!("{} exists already; choose a new folder", self.dir.display())).into());
        }
        let (members, people) = self.addresses()?;
        files::make_dir(&self.dir)?;
        let made = make(&self.dir, &member, &name, members, people);
        if made.is_err() {
            // Nothing half done: a folder without all its parts is no node.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        let claim = made?;
        println!("made {} for {member}: members on {members}, people on {people}", self.dir.display());
        for entry in claim.keys.iter() {
            println!("  {:9} {}", entry.role.to_string(), entry.key.fingerprint(entry.role.as_str(), member.as_str()));
        }
        println!(
            "next: give {} and {} to your administrators",
            self.dir.join("claim.accord").display(),
            operator_profile(&self.dir).join("operator.claim").display()
        );
        Ok(ExitCode::SUCCESS)
    }

    fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        // Sockets are held until both ports are known, so that the two differ.
        let members = bind(self.listen)?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let people = bind(self.listen_people.unwrap_or(loopback))?;
        Ok((members.local_addr()?, people.local_addr()?))
    }
}

/// Ports that systems do not give to outgoing connections (Linux begins at 32,768), so that one that is free now still is when the
/// node starts.
const PORTS: std::ops::Range<u16> = 10_240..32_768;
/// How many of them are tried before the system chooses.
const PORTS_TRIED: usize = 64;

fn bind(wanted: SocketAddr) -> anyhow::Result<UdpSocket> {
    if wanted.port() == 0 {
        for _ in 0..PORTS_TRIED {
            let port = PORTS.start + u16::from_be_bytes(random::bytes()?) % (PORTS.end - PORTS.start);
            if let Ok(socket) = UdpSocket::bind(SocketAddr::new(wanted.ip(), port)) {
                return Ok(socket);
            }
        }
    }
    UdpSocket::bind(wanted).with_context(|| format!("cannot listen on {wanted}"))
}

fn make(
    dir: &Path,
    member: &NodeId,
    name: &Text<64>,
    members: SocketAddr,
    people: SocketAddr,
) -> anyhow::Result<KeyClaim> {
    let ring = KeyRing::create(&dir.join("node.ring"), RingKind::Node, &NODE_ROLES, Seal::Open)?;
    let address = Text::new(&members.to_string()).unwrap_or_default();
    let keys = ring
        .keys()
        .iter()
        .filter(|(role, _)| *role != KeyRole::Edition)
        .map(|(role, key)| RoleKey { role: *role, key: key.public() })
        .collect();
    let claim = KeyClaim {
        preamble: Preamble,
        name: name.clone(),
        node_id: Some(member.clone()),
        keys: Bounded::new(keys).unwrap_or_default(),
        addresses: Bounded::new(vec![address]).unwrap_or_default(),
    };
    write_claim(&dir.join("claim.accord"), &claim, &ring)?;

    let profile = operator_profile(dir);
    files::make_dir(&profile)?;
    let operator = KeyRing::create(&profile.join("person.ring"), RingKind::Person, &[KeyRole::Operator], Seal::Open)?;
    let operator_claim = KeyClaim {
        preamble: Preamble,
        name: Text::new("operator of the service host").unwrap_or_default(),
        node_id: Some(member.clone()),
        keys: Bounded::new(vec![RoleKey { role: KeyRole::Operator, key: operator.key(KeyRole::Operator)?.public() }])
            .unwrap_or_default(),
        addresses: Bounded::default(),
    };
    write_claim(&profile.join("operator.claim"), &operator_claim, &operator)?;
    let settings = format!(
        "member = \"{member}\"\nrole = \"operator\"\nnode = \"{people}\"\nnode_key = \"{}\"\n",
        ring.key(KeyRole::Tls)?.public()
    );
    files::write_new(&profile.join("profile.toml"), settings.as_bytes())?;

    files::make_dir(&dir.join("trust"))?;
    files::write_new(&dir.join("grants.toml"), include_bytes!("../../sample/grants.toml"))?;
    files::write_new(&dir.join("node.toml"), config::sample(member, members, people).as_bytes())?;
    Ok(claim)
}

fn write_claim(path: &Path, claim: &KeyClaim, ring: &KeyRing) -> anyhow::Result<()> {
    let mut document = Document::new(claim)?;
    for (role, key) in ring.keys() {
        if claim.key(*role).is_some() {
            document.add_signature(key, &Hash::ZERO);
        }
    }
    files::write_document(path, &document)?;
    Ok(())
}
