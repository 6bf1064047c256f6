//! `accord ask`: arguments to a question.

use std::{collections::BTreeMap, path::PathBuf};

use accord_protocol::{
    catalogue::Table,
    id::NodeId,
    message::Notice,
    officers::Purpose,
    question::{CannotAsk, Question, nearest},
    request::LegalBasis,
    roster::MemberRole,
    time::{DAY_MS, TimeLevel, UnixMs},
    trust::Trust,
};
use clap::Args;

use super::{Global, history, status::catch_up, tables};
use crate::{
    ask::{self, Asking},
    client::block_on,
    output::{Failure, Outcome},
    profile::Profile,
    topics,
};

/// `accord ask`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Ask {
    /// The table (`accord tables`).
    table: String,
    /// Partners to ask; without it every other provider of the federation.
    #[arg(long, value_delimiter = ',', value_name = "MEMBER,...")]
    from: Vec<String>,
    /// Periods, on the grid of the time level: 2012, 2011..2016, 2012-Q1..2012-Q4, 2012-01..2012-12.
    #[arg(long, value_name = "A..B")]
    period: Option<String>,
    /// Levels, for example time=month,drug=substance.
    #[arg(long, value_delimiter = ',', value_name = "DIM=LEVEL,...")]
    by: Vec<String>,
    /// Only these codes of a dimension; may be given once for each dimension.
    #[arg(long = "where", value_name = "DIM=CODE[,CODE]")]
    only: Vec<String>,
    /// Measures; without it all that exist at these levels.
    #[arg(long, value_delimiter = ',', value_name = "MEASURE,...")]
    measure: Vec<String>,
    /// Why you ask.
    #[arg(long, default_value = "strategic-analysis")]
    purpose: String,
    /// On what ground.
    #[arg(long, default_value = "agreement")]
    legal_basis: String,
    /// Your own case reference; only a salted hash of it is sent.
    #[arg(long)]
    case_ref: Option<String>,
    /// Ask under this topic (`accord topic list`): a line of inquiry that your administrators have signed.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Exactly this edition; without it the latest.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    edition: Option<u64>,
    /// Days for which an answer is still wanted where a person at the partner must look first; 0 = only what is answered at once.
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u64).range(0..=30))]
    wait: u64,
    /// Write all cells as CSV to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the evidence to this file.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Show rows without any number too.
    #[arg(long)]
    all_rows: bool,
    /// Print how to cite the answer.
    #[arg(long)]
    cite: bool,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
    /// Do not keep the answer in `accord history`.
    #[arg(long)]
    no_history: bool,
}

impl Ask {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        catch_up(&profile, global);
        let (trust, documents) = profile.trust()?;
        let now = accord_edge::clock::now();
        let catalogue = trust.catalogue();
        let table = tables::find(catalogue, &self.table)?.clone();
        let partners = partners(&self.from, &trust, &profile.member, now)?;
        let question = self.question(&table, now)?;
        let purpose = word("--purpose", &self.purpose, Purpose::from_word, Purpose::ALL, Purpose::as_str)?;
        let legal_basis =
            word("--legal-basis", &self.legal_basis, LegalBasis::from_word, LegalBasis::ALL, LegalBasis::as_str)?;
        for (flag, path) in [("--csv", &self.csv), ("--evidence", &self.evidence)] {
            if let Some(path) = path {
                ask::export::check_target(flag, path, self.force)?;
            }
        }
        // Everything that can be wrong with the question is found before anything is sent.
        for partner in &partners {
            question.queries(&table, partner.country()).map_err(|error| cannot(&error))?;
        }
        let (card_bytes, card) = profile.card()?;
        if !card.purposes.as_slice().contains(&purpose) {
            let known: Vec<&str> = card.purposes.iter().map(|purpose| purpose.as_str()).collect();
            let message = format!("your card does not allow the purpose {purpose}");
            return Err(Failure::usage("PURPOSE", message, format!("your purposes: {}", known.join(", "))).into());
        }
        let topics = match &self.topic {
            None => BTreeMap::new(),
            Some(name) => topics::named(&profile, name)?.attach(&partners, purpose, (&trust, &profile.member, now))?,
        };
        let asking = Asking {
            profile: &profile,
            trust: &trust,
            documents: &documents,
            table: &table,
            question: &question,
            partners: &partners,
            purpose,
            legal_basis,
            case_ref: self.case_ref.as_deref(),
            edition: self.edition.unwrap_or(0),
            card: &card,
            card_bytes: &card_bytes,
            topics: &topics,
            wait_ms: self.wait * DAY_MS,
        };
        let answers = block_on(ask::run(&asking, std::slice::from_ref(&question), global))?;
        let pooled = answers.pool(&asking)?;
        if let Some(path) = &self.csv {
            ask::export::write_csv(path, &asking, &answers, &pooled)?;
        }
        let evidence = match &self.evidence {
            Some(path) => {
                ask::export::write_evidence(path, &asking, &answers, &pooled)?;
                Some(path.display().to_string())
            }
            None => None,
        };
        let options = ask::Options { all_rows: self.all_rows, cite: self.cite };
        let mut outcome = ask::outcome(&asking, &answers, &pooled, evidence.as_deref(), options);
        if !self.no_history
            && let Err(error) = history::keep(&asking, &answers, &pooled, &outcome)
        {
            // The answer is there and is shown; that it is not kept is said.
            let message = format!("the answer is not kept in accord history: {error:#}");
            outcome.warnings.push(Notice { code: "NOT-KEPT".into(), message });
        }
        Ok(outcome)
    }

    fn question(&self, table: &Table, now: UnixMs) -> anyhow::Result<Question> {
        let by = pairs("--by", &self.by)?;
        let is_twice =
            |(at, (name, _)): &(usize, &(String, String))| by.iter().take(*at).any(|(before, _)| before == name);
        if let Some((_, (name, _))) = by.iter().enumerate().find(is_twice) {
            let message = format!("{name} stands twice in --by");
            return Err(Failure::usage("DIMENSION-TWICE", message, "name one level of each dimension").into());
        }
        let levels = Question::levels(table, &by).map_err(|error| cannot(&error))?;
        let measures = Question::measures(table, &levels, &self.measure).map_err(|error| cannot(&error))?;
        let time = levels.first().copied().and_then(TimeLevel::from_number).unwrap_or(TimeLevel::Year);
        let mut only: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut period = self.period.clone();
        for (name, codes) in pairs("--where", &self.only)? {
            if name == "time" && period.is_none() {
                period = Some(codes);
                continue;
            }
            let index = table.dimension(&name).filter(|index| *index > 0).ok_or_else(|| {
                let known = table
                    .dimensions
                    .iter()
                    .skip(1)
                    .map(|dimension| dimension.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                Failure::usage(
                    "UNKNOWN-DIMENSION",
                    format!("table {} has no dimension `{name}` to choose codes from", table.name),
                    format!("dimensions: {known}"),
                )
            })?;
            if only.insert(index, codes.split(',').map(str::to_owned).collect()).is_some() {
                return Err(Failure::usage(
                    "DIMENSION-TWICE",
                    format!("`{name}` stands twice in --where"),
                    "name all codes of a dimension in one --where",
                )
                .into());
            }
        }
        let range = match (&period, time) {
            (Some(range), _) => range.clone(),
            (None, TimeLevel::Year) => format!("2000..{}", now.date().year()),
            (None, TimeLevel::Quarter | TimeLevel::Month) => {
                return Err(Failure::usage(
                    "PERIOD",
                    format!("which periods? by {time} there are too many to ask for all"),
                    "add --period, for example --period 2014-01..2014-12",
                )
                .into());
            }
        };
        let periods = Question::periods(&range, time).map_err(|error| cannot(&error))?;
        Ok(Question { levels, periods, only, measures })
    }
}

/// The partners of these names; all other active providers if there is none.
pub(super) fn partners(from: &[String], trust: &Trust, me: &NodeId, now: UnixMs) -> anyhow::Result<Vec<NodeId>> {
    let providers = || {
        trust
            .roster()
            .members
            .iter()
            .filter(|member| member.roles.as_slice().contains(&MemberRole::Provider))
            .filter(|member| trust.active(&member.node_id, now).is_some())
            .map(|member| member.node_id.clone())
    };
    if from.is_empty() {
        let others: Vec<NodeId> = providers().filter(|member| member != me).collect();
        if others.is_empty() {
            return Err(Failure::usage(
                "NO-PARTNER",
                "the roster lists no other active provider",
                "see `accord trust`",
            )
            .into());
        }
        return Ok(others);
    }
    let names: Vec<String> = providers().map(|member| member.to_string()).collect();
    let mut partners: Vec<NodeId> = Vec::new();
    for name in from {
        let Some(index) = names.iter().position(|known| known == name) else {
            let near = nearest(name, names.iter().map(String::as_str));
            let list = if near.is_empty() {
                format!("members: {}", names.join(", "))
            } else {
                format!("near: {}; all members: {}", near.join(", "), names.join(", "))
            };
            let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
            return Err(Failure::usage(
                "UNKNOWN-MEMBER",
                format!("`{shown}` is no active provider of the federation"),
                list,
            )
            .into());
        };
        let partner: NodeId = names
            .get(index)
            .map_or_else(|| name.parse(), |name| name.parse())
            .map_err(|error| Failure::usage("UNKNOWN-MEMBER", format!("{error}"), "see `accord trust`"))?;
        if partners.contains(&partner) {
            return Err(Failure::usage(
                "MEMBER-TWICE",
                format!("{partner} stands twice in --from"),
                "name each partner once",
            )
            .into());
        }
        partners.push(partner);
    }
    Ok(partners)
}

fn pairs(flag: &str, list: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    list.iter()
        .map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if value.is_empty() {
                let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
                return Err(Failure::usage(
                    "PAIR",
                    format!("{flag} `{shown}` is not NAME=VALUE"),
                    format!("for example {flag} drug=group"),
                )
                .into());
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

pub(super) fn cannot(error: &CannotAsk) -> Failure {
    let (code, next) = match error {
        CannotAsk::Dimension { .. } => ("UNKNOWN-DIMENSION", "see `accord tables TABLE`"),
        CannotAsk::Level { .. } => ("UNKNOWN-LEVEL", "see `accord tables TABLE`"),
        CannotAsk::Levels { .. } => ("OFF-GRID", "see the combinations in `accord tables TABLE`"),
        CannotAsk::Measure { .. } => ("UNKNOWN-MEASURE", "leave --measure out to get all that exist"),
        CannotAsk::Code { .. } => ("UNKNOWN-CODE", "see the codes in `accord tables TABLE`"),
        CannotAsk::Period(_) => {
            ("PERIOD", "choose periods of that level with --period, or another level with --by time=LEVEL")
        }
        CannotAsk::TooManyCodes => ("TOO-MANY-CODES", "leave --where out"),
        CannotAsk::TooLarge => ("TOO-LARGE", "choose coarser levels or fewer measures"),
    };
    Failure::usage(code, error.to_string(), next)
}

pub(super) fn word<T: Copy>(
    flag: &str,
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    all: &[T],
    show: impl Fn(T) -> &'static str,
) -> anyhow::Result<T> {
    parse(text).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|item| show(*item)).collect();
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        Failure::usage(
            "UNKNOWN-WORD",
            format!("{flag}: `{shown}` does not exist"),
            format!("one of {}", known.join(", ")),
        )
        .into()
    })
}
