//! Settings: `node.toml` to values that hold; all errors at start, none at run time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use accord_edge::{files, tls::KeyExchange};
use accord_protocol::{
    codec::{Bounded, Text},
    handling::{HandlingCodes, Tlp},
    id::NodeId,
};
use serde::Deserialize;

use super::age::Recipient;
use crate::domain::{
    bucket::Rate,
    disclosure::{BadRules, Rules, Zeros},
    marking::Marking,
    quota::Rates,
};

/// Largest settings file in bytes.
const CONFIG_MAX: u64 = 64 << 10;
/// Longest embargo.
const EMBARGO_DAYS_MAX: u16 = 3_650;

/// What a node runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's folder.
    pub dir: PathBuf,
    /// The text that they were read from.
    pub text: String,
    /// The member.
    pub member: NodeId,
    /// Where members reach it.
    pub listen_members: SocketAddr,
    /// Where its people reach it.
    pub listen_people: SocketAddr,
    /// Which key exchange it takes.
    pub key_exchange: KeyExchange,
    /// Whether editions may be published that are not protected against subtraction.
    pub accept_primary_only: bool,
    /// Days after its end until a period is published.
    pub publish_delay_days: u16,
    /// The protection rules.
    pub rules: Rules,
    /// How answers are marked.
    pub marking: Marking,
    /// Whom partners call, and how the numbers of a table came about: what a partner's view says beside the tables.
    pub words: Words,
    /// Program that is run when a request waits for a person here, or an own one was decided; empty for none.
    pub notify: Vec<String>,
    /// How much a partner and its officers may ask.
    pub quota: Rates,
    /// Largest import in bytes.
    pub import_bytes_max: u64,
    /// Cache of the store in bytes.
    pub store_cache_bytes: u64,
    /// Months for which details of the audit log are kept, the present one not counted.
    pub details_months: u32,
    /// The same of its entries, where they are not kept for ever.
    pub entries_months: Option<u32>,
    /// To whom backups are encrypted.
    pub backup_recipient: Option<Recipient>,
}

/// Why settings are not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// Not TOML of the expected form; the message names line and column.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value that does not hold.
    #[error("{}: `{field}`: {rule}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting.
        field: &'static str,
        /// What is wrong.
        rule: String,
    },
}

/// What a node says of itself in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Whom partners call.
    pub contact: Text<200>,
    /// Notes of method by table name.
    pub notes: BTreeMap<String, Text<400>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    member: String,
    listen_members: SocketAddr,
    listen_people: SocketAddr,
    #[serde(default)]
    contact: String,
    #[serde(default)]
    notify: Vec<String>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
    #[serde(default = "prefer")]
    post_quantum: String,
    #[serde(default)]
    accept_primary_only: bool,
    #[serde(default = "thirty")]
    publish_delay_days: u16,
    #[serde(default)]
    rules: RawRules,
    #[serde(default)]
    handling: RawHandling,
    #[serde(default)]
    quota: RawQuota,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    audit: RawAudit,
    #[serde(default)]
    backup: RawBackup,
}

fn prefer() -> String {
    "prefer".into()
}

const fn thirty() -> u16 {
    30
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    k: u32,
    p_percent: u32,
    dominance_percent: u32,
    zeros: String,
}

impl Default for RawRules {
    fn default() -> Self {
        let rules = Rules::DEFAULT;
        Self {
            k: rules.k(),
            p_percent: rules.p_percent(),
            dominance_percent: rules.dominance_percent(),
            zeros: rules.zeros().to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHandling {
    code: String,
    tlp: String,
    recipients: Vec<String>,
    embargo_days: u16,
}

impl Default for RawHandling {
    fn default() -> Self {
        Self { code: "H0".into(), tlp: "AMBER".into(), recipients: Vec::new(), embargo_days: 0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawQuota {
    burst: u32,
    per_minute: u32,
    member_burst: u32,
    member_per_minute: u32,
}

impl Default for RawQuota {
    fn default() -> Self {
        Self { burst: 120, per_minute: 60, member_burst: 600, member_per_minute: 300 }
    }
}

/// How long details of the audit log may be kept, in months.
const DETAILS_MONTHS: std::ops::RangeInclusive<u32> = 1..=120;
/// How long its entries may be kept where they are destroyed at all, in months. Within a year requests, approvals and the proofs that
/// partners ask for are over, so that nobody looks for an entry that is gone.
const ENTRIES_MONTHS: std::ops::RangeInclusive<u32> = 12..=600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAudit {
    details_months: u32,
    entries_months: Option<u32>,
}

impl Default for RawAudit {
    fn default() -> Self {
        Self { details_months: 24, entries_months: None }
    }
}

impl RawAudit {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !DETAILS_MONTHS.contains(&self.details_months) {
            return Err(("audit.details_months", "from 1 to 120 months; the law of your country says how long"));
        }
        let Some(entries) = self.entries_months else { return Ok(()) };
        if !ENTRIES_MONTHS.contains(&entries) {
            let rule = "from 12 to 600 months; leave it out, and entries are kept for ever";
            return Err(("audit.entries_months", rule));
        }
        if entries < self.details_months {
            let rule = "at least audit.details_months: an entry is not destroyed before its detail";
            return Err(("audit.entries_months", rule));
        }
        Ok(())
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawBackup {
    recipient: String,
}

impl RawBackup {
    fn read(&self) -> Result<Option<Recipient>, String> {
        if self.recipient.is_empty() {
            return Ok(None);
        }
        self.recipient.parse().map(Some).map_err(|error: super::age::AgeError| error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    import_bytes: u64,
    store_cache_bytes: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { import_bytes: 4 << 30, store_cache_bytes: 64 << 20 }
    }
}

impl Words {
    fn read(contact: &str, notes: BTreeMap<String, String>) -> Result<Self, (&'static str, &'static str)> {
        let contact = Text::new(contact).ok_or(("contact", "at most 200 printable ASCII characters on one line"))?;
        let too_long = ("notes", "at most 400 printable ASCII characters on one line");
        let read = |(table, note): (String, String)| Text::new(&note).map(|note| (table, note)).ok_or(too_long);
        Ok(Self { contact, notes: notes.into_iter().map(read).collect::<Result<_, _>>()? })
    }
}

/// The settings file that `accord-node init` writes.
pub fn sample(member: &NodeId, listen_members: SocketAddr, listen_people: SocketAddr) -> String {
    // With the setting's name, so that one address is never taken for a part of the other.
    include_str!("../../sample/node.toml")
        .replace("ES-AGENCY", member.as_str())
        .replace("listen_members = \"127.0.0.1:4433\"", &format!("listen_members = \"{listen_members}\""))
        .replace("listen_people = \"127.0.0.1:4434\"", &format!("listen_people = \"{listen_people}\""))
}

impl Config {
    /// Reads `node.toml` of a node's folder.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("node.toml");
        let bytes = files::read_limited(&path, CONFIG_MAX)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| ConfigError::Syntax { path: path.clone(), message: "the file is not UTF-8".into() })?;
        Self::parse(dir, &path, &text)
    }

    /// Reads settings from a text.
    pub fn parse(dir: &Path, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string() })?;
        let bad = |field, rule: String| ConfigError::Value { path: path.to_owned(), field, rule };
        let member = raw.member.parse().map_err(|error| bad("member", format!("{error}")))?;
        let key_exchange = match raw.post_quantum.as_str() {
            "prefer" => KeyExchange::PreferPostQuantum,
            "require" => KeyExchange::RequirePostQuantum,
            _ => return Err(bad("post_quantum", "`prefer` or `require`".into())),
        };
        let zeros =
            Zeros::from_word(&raw.rules.zeros).ok_or_else(|| bad("rules.zeros", "`hidden` or `shown`".into()))?;
        let rules = Rules::new(raw.rules.k, raw.rules.p_percent, raw.rules.dominance_percent, zeros)
            .map_err(|error: BadRules| bad("rules", error.to_string()))?;
        let code = HandlingCodes::from_word(&raw.handling.code)
            .ok_or_else(|| bad("handling.code", "`H0`, or of `H1`, `H2` and `H3` those that hold: `H1+H2`".into()))?;
        let tlp = Tlp::from_word(&raw.handling.tlp)
            .ok_or_else(|| bad("handling.tlp", "`CLEAR`, `GREEN`, `AMBER`, `AMBER+STRICT` or `RED`".into()))?;
        let recipients = raw.handling.recipients.iter().map(|name| name.parse()).collect::<Result<Vec<NodeId>, _>>();
        let recipients = recipients.ok().and_then(Bounded::sorted);
        let recipients =
            recipients.ok_or_else(|| bad("handling.recipients", "at most 64 members, each as on the roster".into()))?;
        if raw.handling.embargo_days > EMBARGO_DAYS_MAX {
            return Err(bad("handling.embargo_days", format!("at most {EMBARGO_DAYS_MAX}")));
        }
        let quota = Rates {
            officer: Rate { burst: raw.quota.burst, per_minute: raw.quota.per_minute },
            member: Rate { burst: raw.quota.member_burst, per_minute: raw.quota.member_per_minute },
        };
        if [quota.officer, quota.member].iter().any(|rate| rate.burst == 0 || rate.per_minute == 0) {
            return Err(bad("quota", "0 would refuse everybody; remove the grants instead".into()));
        }
        if raw.limits.import_bytes == 0 || raw.limits.import_bytes > 4 << 30 {
            return Err(bad("limits.import_bytes", "from 1 to 4 GiB".into()));
        }
        let words = Words::read(&raw.contact, raw.notes).map_err(|(field, rule)| bad(field, rule.to_owned()))?;
        if raw.notify.len() > 16 || raw.notify.first().is_some_and(|program| !Path::new(program).is_absolute()) {
            return Err(bad("notify", "a program by its absolute path, and at most 15 arguments".into()));
        }
        raw.audit.check().map_err(|(field, rule)| bad(field, rule.to_owned()))?;
        let backup_recipient = raw.backup.read().map_err(|rule| bad("backup.recipient", rule))?;
        if raw.listen_members == raw.listen_people {
            return Err(bad("listen_people", "must differ from listen_members".into()));
        }
        Ok(Self {
            dir: dir.to_owned(),
            text: text.to_owned(),
            member,
            listen_members: raw.listen_members,
            listen_people: raw.listen_people,
            key_exchange,
            accept_primary_only: raw.accept_primary_only,
            publish_delay_days: raw.publish_delay_days,
            rules,
            words,
            notify: raw.notify,
            marking: Marking { code, tlp, recipients, embargo_days: raw.handling.embargo_days },
            quota,
            import_bytes_max: raw.limits.import_bytes,
            store_cache_bytes: raw.limits.store_cache_bytes,
            details_months: raw.audit.details_months,
            entries_months: raw.audit.entries_months,
            backup_recipient,
        })
    }

    /// Where the trust documents lie.
    pub fn trust_dir(&self) -> PathBuf {
        self.dir.join("trust")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/n"), Path::new("/n/node.toml"), text).map_err(|error| error.to_string())
    }

    fn shipped() -> String {
        sample(&"ES-AGENCY".parse().unwrap(), "127.0.0.1:4433".parse().unwrap(), "127.0.0.1:4434".parse().unwrap())
    }

    #[test]
    fn any_two_ports_make_a_sample_that_is_read() {
        for (members, people) in [(4433, 4434), (44_340, 44_330), (44_341, 4433), (4434, 4433)] {
            let text = sample(
                &"ES-AGENCY".parse().unwrap(),
                ([127, 0, 0, 1], members).into(),
                ([127, 0, 0, 1], people).into(),
            );
            let config = parse(&text).unwrap();
            assert_eq!((config.listen_members.port(), config.listen_people.port()), (members, people));
        }
    }

    #[test]
    fn the_sample_that_ships_is_the_default() {
        let config = parse(&shipped()).unwrap();
        assert_eq!(config.rules, Rules::DEFAULT);
        assert!(!config.accept_primary_only, "the dangerous option is off");
        assert_eq!((config.details_months, config.entries_months), (24, None));
        let destroying = shipped().replace("# entries_months = 120", "entries_months = 24");
        assert_eq!(parse(&destroying).unwrap().entries_months, Some(24));
        let bare =
            parse("member = \"ES-AGENCY\"\nlisten_members = \"127.0.0.1:4433\"\nlisten_people = \"127.0.0.1:4434\"")
                .unwrap();
        assert_eq!(
            (bare.rules, bare.quota, bare.publish_delay_days),
            (config.rules, config.quota, config.publish_delay_days)
        );
    }

    #[test]
    fn a_setting_that_weakens_or_is_misspelt_is_refused_with_its_place() {
        for (from, to, want) in [
            ("k = 5", "k = 2", "below 3"),
            ("k = 5", "kk = 5", "kk"),
            ("k = 5", "k = -5", "k"),
            ("zeros = \"hidden\"", "zeros = \"perhaps\"", "rules.zeros"),
            ("post_quantum = \"prefer\"", "post_quantum = \"off\"", "post_quantum"),
            ("127.0.0.1:4434", "127.0.0.1:4433", "must differ"),
            ("127.0.0.1:4434", "127.0.0.1:65536", "listen_people"),
            ("tlp = \"AMBER\"", "tlp = \"PINK\"", "handling.tlp"),
            ("code = \"H0\"", "code = \"H1,H2\"", "handling.code"),
            ("recipients = []", "recipients = [\"es\"]", "handling.recipients"),
            ("embargo_days = 0", "embargo_days = 4000", "handling.embargo_days"),
            ("contact = \"\"", "contact = \"M\u{fc}ller\"", "contact"),
            ("notify = []", "notify = [\"mail\"]", "notify"),
            ("details_months = 24", "details_months = 121", "audit.details_months"),
            ("# entries_months = 120", "entries_months = 11", "from 12 to 600"),
            ("# entries_months = 120", "entries_months = 601", "leave it out"),
            ("# entries_months = 120", "entries_months = 23", "at least audit.details_months"),
            ("recipient = \"\"", "recipient = \"age1qqqq\"", "backup.recipient"),
            ("recipient = \"\"", "recipients = [\"\"]", "recipients"),
        ] {
            let text = shipped();
            assert!(text.contains(from), "{from}");
            let error = parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(want) && error.contains("node.toml"), "{error}");
        }
    }
}
