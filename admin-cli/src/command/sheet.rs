//! `accord federation sheet`: the ceremony on paper, one page for each participant: do, read out, hear.

use accord_protocol::{
    key::fingerprint,
    member_keys,
    roster::{Member, MemberState},
    signed::Label,
};
use clap::Args;
use serde_json::json;

use super::Global;
use crate::{
    output::Outcome,
    trusting::{
        desk::{Desk, With},
        words::keys_fingerprint,
    },
};

/// `accord federation sheet`
#[derive(Debug, Args)]
pub(crate) struct Sheet {
    #[command(flatten)]
    with: With,
}

struct Page {
    who: String,
    does: Vec<String>,
    reads_out: Vec<(String, String)>,
    hears: Vec<String>,
}

impl Sheet {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let desk = Desk::open(&self.with, global)?;
        let pages = pages(&desk);
        let text: Vec<String> = pages.iter().map(Page::text).collect();
        let result: Vec<_> = pages
            .iter()
            .map(|page| json!({ "who": page.who, "do": page.does, "read_out": page.reads_out, "hear": page.hears }))
            .collect();
        // A form feed ends a page on every printer.
        Ok(Outcome::done(json!({ "pages": result }), text.join("\u{c}\n")))
    }
}

fn pages(desk: &Desk) -> Vec<Page> {
    let root = desk.root();
    let federation = fingerprint("federation", "", &desk.federation().0);
    let federation_line = ("the federation".to_owned(), federation);
    // Keys of those who are at hand: on a roster, or on their way onto the first.
    let members: Vec<(String, String)> = if let Some(trust) = &desk.trust {
        let present = trust.roster().members.iter().filter(|member| member.state != MemberState::Removed);
        let print = |member: &Member| keys_fingerprint(&member.anchor_hash, member.node_id.as_str());
        present.map(|member| (member.node_id.to_string(), print(member))).collect()
    } else {
        let keys = desk.documents.iter().filter(|document| document.label() == Label::MemberKeys);
        let believed = keys.filter_map(|document| member_keys::verify(document, desk.federation()).ok());
        believed.map(|keys| (keys.node_id.to_string(), keys_fingerprint(&keys.hash(), keys.node_id.as_str()))).collect()
    };
    let mut pages = Vec::new();
    for (index, key) in root.keys.iter().enumerate() {
        pages.push(Page {
            who: format!("root holder {} of {}", index + 1, root.keys.as_slice().len()),
            does: vec![
                "sign the root document: accord federation sign root.accord --ring root.ring".into(),
                "sign the catalogue and the roster: accord federation sign FILE --ring root.ring".into(),
                "keep the key ring offline; a spare copy elsewhere".into(),
            ],
            reads_out: vec![("your key".into(), key.fingerprint("root", "")), federation_line.clone()],
            hears: members
                .iter()
                .map(|(member, _)| format!("from an administrator of {member}: the groups that the tool asks for"))
                .collect(),
        });
    }
    for (member, print) in &members {
        pages.push(Page {
            who: format!("administrators of {member}"),
            does: vec![
                "sign the keys of the node: accord federation sign keys.accord --ring admin.ring".into(),
                "sign the staff list and the officers list".into(),
                "when the roster is there: the operator runs accord-node install, then accord-node run".into(),
            ],
            reads_out: vec![(format!("the keys of {member}"), print.clone())],
            hears: vec!["from a root holder: the groups of the federation that the tool asks for".into()],
        });
    }
    pages
}

impl Page {
    fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\nDo\n", self.who.to_uppercase(), "=".repeat(self.who.chars().count()));
        for line in &self.does {
            text += &format!("  [ ] {line}\n");
        }
        text += "\nRead out\n";
        for (what, print) in &self.reads_out {
            text += &format!("  [ ] {what}\n        {print}\n");
        }
        text += "\nHear\n";
        for line in &self.hears {
            text += &format!("  [ ] {line}\n");
        }
        text
    }
}
