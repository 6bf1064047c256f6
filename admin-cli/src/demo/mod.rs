//! `accord demo`: a whole federation on this machine in one command, by exactly the commands that people use.

mod stage;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex},
};

use accord_edge::random;
use accord_protocol::{id::to_hex, question::Question, time::TimeLevel};
use anyhow::Context;
use clap::Args;

use crate::{
    command::Global,
    output::{Failure, Outcome},
};
use stage::Stage;

/// The members of the demo; the first one asks.
const MEMBERS: [&str; 5] = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY"];

/// Synthetic seizures for each of them.
const SAMPLES: [(&str, &str); 5] = [
    ("ES-AGENCY", include_str!("../../demo/ES-AGENCY.csv")),
    ("IT-AGENCY", include_str!("../../demo/IT-AGENCY.csv")),
    ("PT-AGENCY", include_str!("../../demo/PT-AGENCY.csv")),
    ("AT-AGENCY", include_str!("../../demo/AT-AGENCY.csv")),
    ("DK-AGENCY", include_str!("../../demo/DK-AGENCY.csv")),
];

/// `accord demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Real data: the UNODC Individual Drug Seizures file (CSV, zip, or a folder that holds one). Without it a synthetic sample.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Records of one's own instead of the sample: a folder with a canonical file of seizures for each member, such as ES-AGENCY.csv.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    records: Option<PathBuf>,
    /// What is declared complete, published and asked for; without it what the sample or the file with real data holds.
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// Publish editions in which only unsafe cells are hidden. They are NOT PROTECTED AGAINST SUBTRACTION: for tests only.
    #[arg(long)]
    primary_only: bool,
    /// Keep everything in this new folder, to explore.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Members by country or name; the first one asks.
    #[arg(long, value_delimiter = ',')]
    members: Vec<String>,
    /// Let this member grant nothing, so that it refuses.
    #[arg(long, value_name = "MEMBER")]
    refuse: Option<String>,
    /// Stop this member's node before the question, so that it is down.
    #[arg(long, value_name = "MEMBER")]
    stop: Option<String>,
}

impl Demo {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let plan = self.plan(global)?;
        let children: Children = Arc::default();
        let stage = Stage { plan, children: Arc::clone(&children) };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let dir = stage.plan.dir.clone();
        let keep = stage.plan.keep;
        let outcome = runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                outcome = tokio::task::spawn_blocking(move || stage.play()) => outcome.context("the demo stopped unexpectedly")?,
                _ = tokio::signal::ctrl_c() => Err(interrupted(130)),
                _ = terminate.recv() => Err(interrupted(143)),
            }
        });
        runtime.shutdown_background();
        stop_all(&children);
        if !keep {
            // A folder that cannot be removed stays behind in the temporary folder; nothing depends on it.
            let _ = std::fs::remove_dir_all(&dir);
        }
        outcome
    }

    // Whether these can be the members of a demo.
    fn check(&self, members: &[String]) -> anyhow::Result<()> {
        if members.len() < 2 {
            return Err(Failure::usage(
                "MEMBERS",
                "a question needs at least two members",
                "for example --members ES,IT",
            )
            .into());
        }
        for (index, member) in members.iter().enumerate() {
            crate::command::member_id(member)?;
            if members.iter().take(index).any(|before| before == member) {
                let message = format!("{member} stands twice in --members");
                return Err(Failure::usage("MEMBER-TWICE", message, "name each member once").into());
            }
            if let Some(records) = &self.records {
                let file = records_of(records, member);
                if !file.is_file() {
                    let message = format!("--records: {} is not there", file.display());
                    let next = format!("put the seizures of {member} there, or leave it out with --members");
                    return Err(Failure::usage("DATA", message, next).into());
                }
            } else if self.data.is_none() && !SAMPLES.iter().any(|(known, _)| known == member) {
                let next = format!(
                    "members with a sample: {}; for others name real data with --data, or --records",
                    MEMBERS.join(", ")
                );
                return Err(Failure::usage("UNKNOWN-MEMBER", format!("there is no sample for `{member}`"), next).into());
            }
        }
        Ok(())
    }

    fn plan(self, global: &Global) -> anyhow::Result<Plan> {
        let name = |text: &str| {
            let text = text.trim();
            if text.contains('-') { text.to_owned() } else { format!("{text}-AGENCY") }
        };
        let members: Vec<String> = if self.members.is_empty() {
            MEMBERS.map(str::to_owned).to_vec()
        } else {
            self.members.iter().map(|text| name(text)).collect()
        };
        let unknown = |what: &str, member: &str| {
            Failure::usage(
                "UNKNOWN-MEMBER",
                format!("{what}: `{member}` is not in the demo"),
                format!("members: {}", members.join(", ")),
            )
        };
        self.check(&members)?;
        let chosen = |what: &str, member: &Option<String>| -> anyhow::Result<Option<String>> {
            let Some(member) = member.as_deref().map(name) else { return Ok(None) };
            if !members.contains(&member) {
                return Err(unknown(what, &member).into());
            }
            if members.first() == Some(&member) {
                return Err(Failure::usage(
                    "ASKER",
                    format!("{what}: {member} is the one who asks"),
                    "choose another member",
                )
                .into());
            }
            Ok(Some(member))
        };
        let (refuse, stop) = (chosen("--refuse", &self.refuse)?, chosen("--stop", &self.stop)?);
        if refuse.is_some() && refuse == stop {
            let message = "a member that is down cannot refuse";
            return Err(Failure::usage("STAGE", message, "choose two different members for --refuse and --stop").into());
        }
        let source = match (&self.data, &self.records) {
            (Some(data), _) => Source::Real(find_data(data)?),
            (None, Some(records)) => Source::Records(records.clone()),
            (None, None) => Source::Sample,
        };
        let period = self.period.unwrap_or_else(|| source.period().to_owned());
        // The demo asks by year; a mistake here would only be found by its second step.
        Question::periods(&period, TimeLevel::Year).map_err(|error| {
            Failure::usage("PERIOD", format!("--period: {error}"), "name calendar years, for example 2024..2025")
        })?;
        let keep = self.keep.is_some();
        let dir = match self.keep {
            Some(dir) if dir.exists() => {
                return Err(Failure::usage(
                    "EXISTS",
                    format!("{} exists already", dir.display()),
                    "choose a new folder for --keep",
                )
                .into());
            }
            Some(dir) => dir,
            None => std::env::temp_dir().join(format!("accord-demo-{}", to_hex(&random::bytes::<8>()?))),
        };
        let shows_steps = global.shows_progress() || global.verbose;
        Ok(Plan {
            dir,
            keep,
            members,
            refuse,
            stop,
            source,
            period,
            primary_only: self.primary_only,
            json: global.json,
            shows_steps,
            deadline: global.deadline,
        })
    }
}

fn interrupted(exit: u8) -> anyhow::Error {
    let mut failure =
        Failure::fault("INTERRUPTED", "interrupted; every node of the demo was stopped", "run the command again");
    failure.exit = exit;
    failure.into()
}

/// The seizure file in a folder, or the file itself.
fn find_data(path: &Path) -> anyhow::Result<PathBuf> {
    let usage = |message: String| {
        Failure::usage("DATA", message, "name the file itself: --data .../drug-trafficking-unodc.zip")
    };
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        let message = format!("--data {}: no such file or folder", path.display());
        return Err(Failure::usage("DATA", message, "check the path").into());
    }
    let mut folders = vec![path.to_owned()];
    let entries = std::fs::read_dir(path).map_err(|error| usage(format!("--data {}: {error}", path.display())))?;
    folders.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()));
    let mut found: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| {
            std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
        })
        .filter(|path| is_seizure_file(path))
        .collect();
    found.sort();
    found.into_iter().next().ok_or_else(|| {
        usage(format!("--data {}: no file of the UNODC Individual Drug Seizures layout", path.display())).into()
    })
}

fn is_seizure_file(path: &Path) -> bool {
    const HEADER: &[u8] = b"REGION;SUBREGION;COUNTRY;";
    let mut start = vec![0; 64];
    let read = |start: &mut Vec<u8>, mut reader: Box<dyn Read>| {
        reader.read(start).is_ok_and(|_| start.windows(HEADER.len()).next() == Some(HEADER))
    };
    let Ok(file) = std::fs::File::open(path) else { return false };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => read(&mut start, Box::new(file)),
        Some("zip") => {
            let Ok(mut archive) = zip::ZipArchive::new(file) else { return false };
            let Ok(mut member) = archive.by_index(0) else { return false };
            member.read(&mut start).is_ok_and(|_| start.starts_with(HEADER))
        }
        _ => false,
    }
}

type Children = Arc<Mutex<BTreeMap<String, Child>>>;

fn stop_all(children: &Children) {
    let mut children = children.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for child in children.values_mut() {
        // A node that has ended by itself cannot be killed, which is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
    children.clear();
}

#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Plan {
    dir: PathBuf,
    keep: bool,
    members: Vec<String>,
    refuse: Option<String>,
    stop: Option<String>,
    source: Source,
    period: String,
    primary_only: bool,
    json: bool,
    shows_steps: bool,
    deadline: u32,
}

impl Plan {
    // The same period in quarters, if it is one of whole years.
    fn quarters(&self) -> String {
        let (from, to) = self.period.split_once("..").unwrap_or((&self.period, &self.period));
        let is_year = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_year(from) && is_year(to) { format!("{from}-Q1..{to}-Q4") } else { self.period.clone() }
    }
}

// Where the records come from.
enum Source {
    Sample,
    Records(PathBuf),
    Real(PathBuf),
}

impl Source {
    // What is complete of it.
    const fn period(&self) -> &'static str {
        match self {
            Self::Sample | Self::Records(_) => "2024..2025",
            Self::Real(_) => "2011..2016",
        }
    }
}

fn records_of(folder: &Path, member: &str) -> PathBuf {
    folder.join(format!("{member}.csv"))
}
