//! What an administrator or a root holder works on: the trust documents at hand, and the federation that they belong to.

use std::path::PathBuf;

use accord_edge::{
    files::{self, FileError},
    trust_folder::TrustFolder,
};
use accord_protocol::{
    bundle::Bundle,
    codec::Bounded,
    id::NodeId,
    member_keys::{self, KeyClaim, MemberKeys},
    officers::{self, Card, Officers, Staff},
    policy::PolicyDocument,
    root::{self, Root, Roots},
    signed::{Document, FederationId, Label, Verified},
    trust::Trust,
};
use clap::Args;

use crate::{command::Global, output::Failure, profile::Profile};

/// What a command builds on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct With {
    /// Files to build on, beside the trust documents of the profile.
    #[arg(long = "with", value_name = "FILE", value_delimiter = ',')]
    pub(crate) files: Vec<PathBuf>,
    /// The federation's id, from outside.
    #[arg(long, value_name = "ID")]
    pub(crate) federation: Option<String>,
}

/// The documents at hand.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The profile, if there is one.
    pub(crate) profile: Option<Profile>,
    /// The root documents, as far as their chain holds.
    pub(crate) roots: Roots,
    /// Who is trusted because of them; nothing before there is a roster.
    pub(crate) trust: Option<Trust>,
    /// All documents at hand, believed or not.
    pub(crate) documents: Vec<Document>,
    /// Claims of people and nodes, whose keys have signed them.
    pub(crate) claims: Vec<Verified<KeyClaim>>,
    /// Cards of officers.
    pub(crate) cards: Vec<Card>,
    /// Whether the federation's id came from outside the files: from a profile or the command line.
    pub(crate) pinned: bool,
    claim_documents: Vec<Document>,
}

/// Reads a federation's id.
pub(crate) fn federation_id(text: &str) -> anyhow::Result<FederationId> {
    text.parse().map_err(|error| {
        let next = "64 hex digits, read out by an administrator";
        Failure::usage("FEDERATION", format!("--federation: {error}"), next).into()
    })
}

/// Reads a file that goes from hand to hand.
pub(crate) fn open_bundle(path: &std::path::Path) -> anyhow::Result<Bundle> {
    files::read_bundle(path).map_err(|error| {
        let is_missing =
            matches!(&error, FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        let message = format!("{:#}", anyhow::Error::new(error));
        let failure = if is_missing {
            Failure::usage("FILE", message, "check the name of the file")
        } else {
            Failure::refused("DOCUMENT", message, "get the file again from its source")
        };
        failure.into()
    })
}

impl Desk {
    /// Reads the profile, where there is one, and the files.
    pub(crate) fn open(with: &With, global: &Global) -> anyhow::Result<Self> {
        Self::open_beside(with, &[], global)
    }

    /// The same, with files that are already read.
    pub(crate) fn open_beside(with: &With, more: &[Bundle], global: &Global) -> anyhow::Result<Self> {
        let profile = Profile::open_if_there(global)?;
        let folder = profile.as_ref().map(Profile::trust_folder_if_there).transpose()?.flatten();
        let given = with.federation.as_deref().map(federation_id).transpose()?;
        let of_profile = folder.as_ref().map(|folder| *folder.federation());
        if let (Some(given), Some(of_profile)) = (given, of_profile)
            && given != of_profile
        {
            let message = format!("--federation names another federation than the profile, which is of {of_profile}");
            return Err(Failure::refused("FEDERATION", message, "use the profile of that federation").into());
        }
        let expected = given.or(of_profile);
        let mut bundles = with.files.iter().map(|path| open_bundle(path)).collect::<anyhow::Result<Vec<_>>>()?;
        bundles.extend(more.iter().cloned());

        let mut documents = folder.as_ref().map(|folder| folder.documents.clone()).unwrap_or_default();
        let (mut claims, mut claim_documents, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for bundle in &bundles {
            for document in bundle.documents() {
                if !documents.contains(&document) {
                    documents.push(document);
                }
            }
            claims.extend(bundle.claims());
            let all = bundle.proposed.iter().chain(bundle.held.iter());
            claim_documents.extend(all.filter(|document| document.label() == Label::KeyClaim).cloned());
            cards.extend(bundle.cards.iter().cloned());
        }
        cards.extend(profile.as_ref().map(Profile::kept_cards).transpose()?.unwrap_or_default());
        let roots = root::follow(&documents, expected.as_ref()).map_err(|error| {
            let next = "name the federation's root document: --with root.accord, or use a profile (--profile); all root holders sign it first";
            Failure::refused("ROOT", format!("{:#}", anyhow::Error::new(error)), next)
        })?;
        let member = profile.as_ref().map(|profile| &profile.member);
        let trust = gathered(folder.as_ref(), &documents, &roots, member)?;
        let pinned = expected.is_some();
        Ok(Self { profile, roots, trust, documents, claims, cards, pinned, claim_documents })
    }

    /// The federation.
    pub(crate) const fn federation(&self) -> &FederationId {
        &self.roots.federation
    }

    /// The root document in force.
    pub(crate) fn root(&self) -> &Verified<Root> {
        self.roots.last()
    }

    /// Who is trusted; refused before there is a roster.
    pub(crate) fn trust(&self) -> anyhow::Result<&Trust> {
        self.trust.as_ref().ok_or_else(|| {
            let next = "name it: --with roster.accord, or use a profile (--profile)";
            Failure::refused("ROSTER", "no roster is at hand that enough root holders have signed", next).into()
        })
    }

    /// The member that is meant: by name, else that of the profile, else the only one whose keys are at hand.
    pub(crate) fn member(&self, named: Option<&str>) -> anyhow::Result<NodeId> {
        if let Some(name) = named {
            return crate::command::member_id(name);
        }
        if let Some(profile) = &self.profile {
            return Ok(profile.member.clone());
        }
        let mut members: Vec<NodeId> = self.own_keys().map(|keys| keys.node_id.clone()).collect();
        members.sort();
        members.dedup();
        match members.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(Failure::usage("MEMBER", "which member?", "name it with --member, or use a profile").into()),
        }
    }

    // Keys documents that hold by themselves.
    fn own_keys(&self) -> impl Iterator<Item = Verified<MemberKeys>> {
        self.documents.iter().filter_map(|document| member_keys::verify(document, self.federation()).ok())
    }

    /// A member's keys in force; before there is a roster, the highest version that its own administrators have signed.
    pub(crate) fn keys(&self, member: &NodeId) -> anyhow::Result<Verified<MemberKeys>> {
        let listed = self.trust.as_ref().and_then(|trust| trust.keys(member)).cloned();
        let by_itself = || {
            let of_member = self.own_keys().filter(|keys| keys.node_id == *member);
            of_member.max_by_key(|keys| keys.keys_version)
        };
        let listed = listed.or_else(|| {
            let on_roster = self.trust.as_ref().is_some_and(|trust| trust.member(member).is_some());
            if on_roster { None } else { by_itself() }
        });
        listed.ok_or_else(|| {
            let message = format!("no keys of {member} are at hand that its administrators and its node have signed");
            Failure::refused("MEMBER-KEYS", message, "name the file: --with keys.accord, or use a profile").into()
        })
    }

    /// A member's officers list in force.
    pub(crate) fn officers(&self, keys: &Verified<MemberKeys>) -> Option<Verified<Officers>> {
        match &self.trust {
            Some(trust) if trust.keys(&keys.node_id).is_some() => trust.officers(&keys.node_id).cloned(),
            _ => self
                .highest(|document| officers::verify(document, self.federation(), keys).ok(), |list| list.list_version),
        }
    }

    /// A member's staff list in force.
    pub(crate) fn staff(&self, keys: &Verified<MemberKeys>) -> Option<Verified<Staff>> {
        let of_trust = self.trust.as_ref().and_then(|trust| trust.staff()).filter(|list| list.node_id == keys.node_id);
        of_trust.cloned().or_else(|| {
            self.highest(
                |document| officers::verify_staff(document, self.federation(), keys).ok(),
                |list| list.list_version,
            )
        })
    }

    /// A member's policy in force.
    pub(crate) fn policy(&self, keys: &Verified<MemberKeys>) -> Option<Verified<PolicyDocument>> {
        let of_trust = self.trust.as_ref().and_then(Trust::policy).filter(|policy| policy.node_id == keys.node_id);
        of_trust.cloned().or_else(|| {
            let (admins, enough) = (keys.admin_keys.as_slice(), usize::from(keys.admin_threshold));
            let believe =
                |document: &Document| document.verify::<PolicyDocument>(self.federation(), admins, enough, &[]).ok();
            self.highest(believe, |policy| policy.policy_version)
        })
    }

    fn highest<T>(
        &self,
        believe: impl Fn(&Document) -> Option<Verified<T>>,
        version: impl Fn(&T) -> u64,
    ) -> Option<Verified<T>> {
        self.documents.iter().filter_map(believe).max_by_key(|list| version(list.get()))
    }

    /// A proposal with what it builds on: the root documents, those of the kinds and members that `wanted` says, and what is `beside`
    /// it; claims and cards of the proposal too.
    pub(crate) fn proposal(
        &self,
        proposed: Vec<Document>,
        wanted: &dyn Fn(&Document) -> bool,
        beside: &[Document],
        cards: Vec<Card>,
    ) -> anyhow::Result<Bundle> {
        let is_kept = |document: &&Document| {
            let believed = self.trust.as_ref().is_none_or(|trust| trust.keeps(document));
            (document.label() == Label::Root || (wanted(document) && believed)) && !proposed.contains(document)
        };
        let mut held: Vec<Document> = self.documents.iter().filter(is_kept).cloned().collect();
        held.extend(beside.iter().filter(|document| !held.contains(document)).cloned().collect::<Vec<_>>());
        held.extend(self.claim_documents.iter().cloned());
        held.dedup();
        let too_much =
            || Failure::refused("TOO-LARGE", "the proposal holds too many documents", "propose less at once");
        Ok(Bundle {
            proposed: Bounded::new(proposed).ok_or_else(too_much)?,
            held: Bounded::new(held).ok_or_else(too_much)?,
            cards: Bounded::new(cards).ok_or_else(too_much)?,
            note: Bounded::default(),
        })
    }
}

fn gathered(
    folder: Option<&TrustFolder>,
    documents: &[Document],
    roots: &Roots,
    member: Option<&NodeId>,
) -> anyhow::Result<Option<Trust>> {
    let refused = |error: accord_protocol::trust::TrustError| {
        let next = "name every document that the roster refers to: --with FILE,FILE";
        anyhow::Error::new(Failure::refused("TRUST", format!("{:#}", anyhow::Error::new(error)), next))
    };
    if let Some(folder) = folder {
        return Ok(Some(folder.with(documents).map_err(refused)?.trust));
    }
    // A roster that is still being signed is no roster.
    let need = |document: &&Document| {
        document.label() == Label::Roster
            && document.valid_signers(&roots.federation, roots.last().keys.as_slice()).len()
                >= usize::from(roots.last().threshold)
    };
    if documents.iter().find(need).is_none() {
        return Ok(None);
    }
    let member = member.cloned().or_else(|| sole_member(documents));
    Trust::gather(documents, Some(&roots.federation), member.as_ref()).map(Some).map_err(refused)
}

// Whose staff list is at hand.
fn sole_member(documents: &[Document]) -> Option<NodeId> {
    documents.iter().find_map(|document| document.unverified::<Staff>().ok()).map(|staff| staff.node_id)
}
