//! `accord officer invite` and `accord enrol`: an officer's key is made on the officer's own machine, from one file.

use std::{net::SocketAddr, path::PathBuf};

use accord_edge::{files, keyring::RingKind, trust_folder::TrustFolder};
use accord_protocol::{
    bundle::Bundle,
    codec::Bounded,
    key::fingerprint,
    member_keys::KeyRole,
    signed::Document,
    trust::{Trust, travels},
};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::{Global, federation::text, lists::Ground, member_id, people::write_claim, propose::shown};
use crate::{
    output::{Failure, Outcome},
    profile::create_ring,
    trusting::{
        desk::{With, federation_id, open_bundle},
        heard::Heard,
    },
};

/// `accord officer invite`
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The officer's name.
    name: String,
    /// Where the node listens for its people.
    #[arg(long, value_name = "IP:PORT")]
    node: SocketAddr,
    #[command(flatten)]
    with: With,
    /// The member. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
    /// Where the file is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord enrol`
#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The invitation, from `accord officer invite`.
    invitation: PathBuf,
    /// The federation's id, from outside; or two groups of its fingerprint are asked for.
    #[arg(long, value_name = "ID")]
    federation: Option<String>,
    /// Two groups of the federation's fingerprint as heard: federation=12345,67890.
    #[arg(long, value_name = "NAME=GROUP,GROUP")]
    heard: Vec<String>,
    /// Make the key ring without a passphrase. Its file mode is then all that protects it.
    #[arg(long)]
    unprotected: bool,
}

/// For whom an invitation is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    r#for: String,
    member: String,
    name: String,
    node: SocketAddr,
    node_key: String,
}

impl Invite {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.with, self.member.as_deref(), &[], global)?;
        let name: accord_protocol::codec::Text<64> = text("NAME", &self.name)?;
        let trust = ground.desk.trust()?;
        let key = ground.keys.tls_keys.as_slice().first().copied();
        let key = key
            .ok_or_else(|| Failure::refused("MEMBER-KEYS", "the node has no TLS key", "see accord member keys show"))?;
        let note = format!(
            "for = \"officer\"\nmember = \"{}\"\nname = \"{}\"\nnode = \"{}\"\nnode_key = \"{key}\"\n",
            ground.member,
            name.as_str().replace(['"', '\\'], "'"),
            self.node
        );
        let held: Vec<Document> = ground
            .desk
            .documents
            .iter()
            .filter(|document| travels(document) && trust.keeps(document))
            .cloned()
            .collect();
        let bundle = Bundle {
            held: Bounded::new(held).unwrap_or_default(),
            note: Bounded::new(note.into_bytes()).unwrap_or_default(),
            ..Bundle::default()
        };
        files::write_bundle(&self.out, &bundle)?;
        let print = fingerprint("federation", "", &ground.desk.federation().0);
        let out = self.out.display();
        let text = format!(
            "wrote {out}, for the laptop of {}\n  read out {print}\nnext, on that laptop: accord enrol {out}\n",
            name.as_str()
        );
        Ok(Outcome::done(json!({ "file": self.out, "name": name.as_str(), "fingerprint": print }), text))
    }
}

impl Enrol {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let dir = global.profile_dir()?;
        if dir.join("profile.toml").exists() {
            let message = format!("{} holds a profile already", dir.display());
            return Err(Failure::usage("EXISTS", message, "name a new folder with --profile DIR").into());
        }
        let bundle = open_bundle(&self.invitation)?;
        let note: Option<Note> = toml::from_str(&String::from_utf8_lossy(bundle.note.as_slice())).ok();
        let note = note.filter(|note| note.r#for == "officer").ok_or_else(|| {
            let message = "this is no invitation for an officer";
            Failure::refused("INVITATION", message, "take the file of `accord officer invite`")
                .in_file(shown(&self.invitation))
        })?;
        let member = member_id(&note.member)?;
        let documents = bundle.documents();
        let trust = Trust::build(&documents, None).map_err(|error| {
            let next = "get the invitation again from your administrator";
            Failure::refused("TRUST", format!("{:#}", anyhow::Error::new(error)), next).in_file(shown(&self.invitation))
        })?;
        let federation = *trust.federation();
        match &self.federation {
            Some(given) if federation_id(given)? != federation => {
                let message = "the invitation is for another federation than --federation names";
                return Err(Failure::refused("FEDERATION", message, "ask your administrator").into());
            }
            Some(_) => {}
            None => {
                let print = fingerprint("federation", "", &federation.0);
                Heard::parse(&self.heard)?.compare("federation", &print, "your administrator")?;
            }
        }
        let listed =
            trust.keys(&member).is_some_and(|keys| keys.tls_keys.iter().any(|key| key.to_string() == note.node_key));
        if !listed {
            let message = format!("the invitation names a node key that {member} does not list");
            return Err(
                Failure::refused("NODE-KEY", message, "get the invitation again from your administrator").into()
            );
        }
        files::make_dir(&dir)?;
        let ring =
            create_ring(&dir.join("person.ring"), RingKind::Person, &[KeyRole::Officer], self.unprotected, global)?;
        TrustFolder::create(&dir.join("trust"), &federation, &documents)?;
        let claim_file = dir.join("officer.claim");
        write_claim(&claim_file, text("the name", &note.name)?, Some(member.clone()), &ring)?;
        let settings = format!(
            "member = \"{member}\"\nrole = \"officer\"\nnode = \"{}\"\nnode_key = \"{}\"\n",
            note.node, note.node_key
        );
        files::write_new(&dir.join("profile.toml"), settings.as_bytes())?;
        let print = ring.key(KeyRole::Officer)?.public().fingerprint("officer", member.as_str());
        let text = format!(
            "made the profile {} of an officer of {member}\n  your key {print}\nnext: send {} to your administrators and read out the fingerprint; when they have listed you, your card comes by itself the first time that you ask\n",
            dir.display(),
            claim_file.display()
        );
        let result = json!({ "profile": dir, "member": member.as_str(), "claim": claim_file, "fingerprint": print });
        Ok(Outcome::done(result, text))
    }
}
