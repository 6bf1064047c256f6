//! The subcommands, one file for each group.

mod accept;
mod agreement;
mod ask;
mod audit;
mod backup;
mod coverage;
mod drill;
mod edition;
mod enrol;
mod evidence;
mod federation;
mod forecast;
mod history;
mod import;
mod inbox;
mod join;
mod key;
mod late;
mod leaver;
mod listing;
mod lists;
mod mapping;
mod member;
mod people;
mod policy;
mod policy_trial;
pub(crate) mod policy_words;
mod profile;
mod propose;
mod publish;
mod records;
mod reissue;
mod requests;
mod root;
mod roster;
mod sheet;
mod shown;
mod standing;
mod status;
mod suspend;
mod tables;
mod topic;
mod trust;
mod unlock;
mod watch;

use std::path::PathBuf;

use accord_protocol::{id::NodeId, suspend::Way};
use clap::{Args, Parser, Subcommand};

use crate::output::{Failure, Outcome};

/// Accord: ask partner agencies for protected tables, run one's own node, manage trust keys.
#[derive(Debug, Parser)]
#[command(name = "accord", version, max_term_width = 100, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print exactly one JSON object to stdout, also on errors.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Folder with key ring, trust documents and own node. Default: $XDG_CONFIG_HOME/accord.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) profile: Option<PathBuf>,
    /// Read the key ring's passphrase from this file descriptor.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Longest time to wait for partners.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) deadline: u32,
    /// Show no progress.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Colours: auto, always or never.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    pub(crate) color: String,
    /// Say more about what happens.
    #[arg(long, global = true)]
    pub(crate) verbose: bool,
}

impl Global {
    /// The profile's folder.
    pub(crate) fn profile_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.profile {
            return Ok(dir.clone());
        }
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        config.map(|config| config.join("accord")).ok_or_else(|| {
            Failure::usage(
                "PROFILE",
                "neither --profile nor XDG_CONFIG_HOME nor HOME is set",
                "name a profile with --profile DIR",
            )
            .into()
        })
    }

    /// Whether progress may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        use std::io::IsTerminal;
        !self.no_progress && !self.json && std::io::stderr().is_terminal()
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask partners for a table and pool what they answer.
    Ask(ask::Ask),
    /// Answers that were asked before, with their evidence, offline.
    #[command(subcommand)]
    History(history::History),
    /// Lines of inquiry: have them signed, keep them, ask under them.
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Show the tables that can be asked for.
    Tables(tables::Tables),
    /// Verify an evidence file, offline.
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    /// The audit log: look, verify, prove, take a copy.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What left this agency: answers by partner, purpose, table and edition.
    Egress(audit::Egress),
    /// Read everything that the own node holds, and name what does not hold.
    Verify,
    /// Make a backup of the own node, encrypted by it to the agency's recovery key.
    Backup(backup::Backup),
    /// How long details of the audit log are kept; remove those that are over.
    #[command(subcommand)]
    Retention(audit::Retention),
    /// Import records from a file into the own node, list imports, undo one.
    Import(import::Import),
    /// Show or erase the records of a case.
    #[command(subcommand)]
    Case(records::Case),
    /// Rewrite the own node's store, so that what was deleted is gone from the disk.
    Compact,
    /// Euro reference rates for prices in other currencies.
    #[command(subcommand)]
    Rates(records::Rates),
    /// Mappings from other layouts.
    #[command(subcommand)]
    Mapping(mapping::MappingCommand),
    /// Show or declare which periods the own node holds completely.
    #[command(subcommand)]
    Coverage(coverage::Coverage),
    /// Preview, publish and show editions of the own node.
    #[command(subcommand)]
    Edition(edition::Edition),
    /// Who may receive what: check, try, compare, have signed.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Requests that wait for a person here: look, approve, hold, reject.
    #[command(subcommand)]
    Inbox(inbox::Inbox),
    /// Own requests that wait for a person elsewhere.
    #[command(subcommand)]
    Requests(requests::Requests),
    /// Follow what happens to requests, as it happens.
    Watch(watch::Watch),
    /// Show how the own node is.
    Status,
    /// Show who is trusted, and what needs attention; accept keys, learn news.
    Trust(trust::Trust),
    /// Root keys: made and kept offline.
    #[command(subcommand)]
    Root(root::Root),
    /// Administrators of a member.
    #[command(subcommand)]
    Admin(member::Admin),
    /// Officers of a member.
    #[command(subcommand)]
    Officer(lists::Officer),
    /// Operators, approvers and auditors of a node.
    #[command(subcommand)]
    Staff(lists::StaffCommand),
    /// A member: invite one; its keys and addresses.
    #[command(subcommand)]
    Member(member::Member),
    /// Join a federation with a new node, from an invitation.
    Join(join::Join),
    /// Make an officer's key and profile on this machine, from an invitation.
    Enrol(enrol::Enrol),
    /// Stop a partner, an own table or an own key at once: one administrator is enough.
    #[command(subcommand)]
    Suspend(suspend::Suspend),
    /// Allow again what was stopped: as many administrators as widen anything.
    #[command(subcommand)]
    Lift(suspend::Suspend),
    /// Stop the whole node from answering and asking, at once; one administrator is enough.
    Isolate(suspend::Isolate),
    /// Key rings: show, rotate, seal anew.
    #[command(subcommand)]
    Key(key::Key),
    /// Root, roster and catalogue of a federation.
    #[command(subcommand)]
    Federation(federation::Federation),
    /// Everything that a person who leaves still holds; does or prepares each removal.
    Leaver(leaver::Leaver),
    /// What would stop working, and when, if something happened; changes nothing.
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Keep one's own key unlocked for some hours; never a root or administrator's key.
    Unlock(unlock::Unlock),
    /// End that at once.
    Lock,
    #[command(hide = true)]
    Agent(unlock::Agent),
    /// Profiles of people.
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Raise a whole federation on this machine, ask it a question, verify the evidence.
    Demo(crate::demo::Demo),
}

impl Command {
    /// The command's name in the JSON envelope.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Policy(_) => "policy",
            Self::Ask(_) => "ask",
            Self::History(_) => "history",
            Self::Topic(_) => "topic",
            Self::Tables(_) => "tables",
            Self::Evidence(_) => "evidence",
            Self::Audit(_) => "audit",
            Self::Egress(_) => "egress",
            Self::Verify => "verify",
            Self::Backup(_) => "backup",
            Self::Retention(_) => "retention",
            Self::Import(_) => "import",
            Self::Case(_) => "case",
            Self::Compact => "compact",
            Self::Rates(_) => "rates",
            Self::Mapping(_) => "mapping",
            Self::Coverage(_) => "coverage",
            Self::Edition(_) => "edition",
            Self::Inbox(_) => "inbox",
            Self::Requests(_) => "requests",
            Self::Watch(_) => "watch",
            Self::Status => "status",
            Self::Trust(_) => "trust",
            Self::Root(_) => "root",
            Self::Admin(_) => "admin",
            Self::Officer(_) => "officer",
            Self::Staff(_) => "staff",
            Self::Member(_) => "member",
            Self::Join(_) => "join",
            Self::Enrol(_) => "enrol",
            Self::Suspend(_) => "suspend",
            Self::Lift(_) => "lift",
            Self::Isolate(_) => "isolate",
            Self::Key(_) => "key",
            Self::Leaver(_) => "leaver",
            Self::Drill(_) => "drill",
            Self::Unlock(_) => "unlock",
            Self::Lock => "lock",
            Self::Agent(_) => "agent",
            Self::Federation(_) => "federation",
            Self::Profile(_) => "profile",
            Self::Demo(_) => "demo",
        }
    }
}

impl Cli {
    /// Whether a word is a command.
    pub(crate) fn knows(word: &str) -> bool {
        <Self as clap::CommandFactory>::command().find_subcommand(word).is_some()
    }

    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let global = &self.global;
        match self.command {
            Command::Ask(command) => command.run(global),
            Command::History(command) => command.run(global),
            Command::Topic(command) => command.run(global),
            Command::Tables(command) => command.run(global),
            Command::Evidence(command) => command.run(global),
            Command::Audit(command) => command.run(global),
            Command::Egress(command) => command.run(global),
            Command::Verify => audit::verify_everything(global),
            Command::Backup(command) => command.run(global),
            Command::Retention(command) => command.run(global),
            Command::Import(command) => command.run(global),
            Command::Case(command) => command.run(global),
            Command::Compact => records::compact(global),
            Command::Rates(command) => command.run(global),
            Command::Mapping(command) => command.run(global),
            Command::Coverage(command) => command.run(global),
            Command::Edition(command) => command.run(global),
            Command::Policy(command) => command.run(global),
            Command::Inbox(command) => command.run(global),
            Command::Requests(command) => command.run(global),
            Command::Watch(command) => command.run(global),
            Command::Status => status::show(global),
            Command::Trust(command) => command.run(global),
            Command::Root(command) => command.run(global),
            Command::Admin(command) => command.run(global),
            Command::Officer(command) => command.run(global),
            Command::Staff(command) => command.run(global),
            Command::Member(command) => command.run(global),
            Command::Join(command) => command.run(global),
            Command::Enrol(command) => command.run(global),
            Command::Suspend(command) => command.run(Way::Stops, global),
            Command::Lift(command) => command.run(Way::Lifts, global),
            Command::Isolate(command) => command.run(global),
            Command::Key(command) => command.run(global),
            Command::Leaver(command) => command.run(global),
            Command::Drill(command) => command.run(global),
            Command::Unlock(command) => command.run(global),
            Command::Lock => unlock::lock(global),
            Command::Agent(command) => command.run(global),
            Command::Federation(command) => command.run(global),
            Command::Profile(command) => command.run(global),
            Command::Demo(command) => command.run(global),
        }
    }
}

/// Reads a member's name.
pub(crate) fn member_id(text: &str) -> anyhow::Result<NodeId> {
    text.parse().map_err(|error| Failure::usage("MEMBER", format!("{error}"), "for example ES-AGENCY").into())
}
