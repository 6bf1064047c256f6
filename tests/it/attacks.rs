//! The attacks on published tables, row by row as disclosure control numbers them, over the wire, on audited editions.
//!
//! A row is a function whose name begins with its number. Rows that lie in different years share no equation, so that
//! one import and one edition serve many of them. What an attacker can work out is found by `attacker`, which takes no
//! code of the product; where it matters, a row shows too that the same attacker finds the leak in what a careless
//! release would have shown.
//!
//! Of three rows only a part is here. 5.12 and 5.21 concern sums in which the asker does not see the parts: there are
//! none, since `accord ask` adds up what each member has answered by itself. What is left of 5.12 is a sum that lacks a
//! part and says so. 5.21a needs a further dimension in two tables; such a catalogue does not load
//! (`the_shipped_catalogue_is_a_star_within_its_limits` in `protocol/src/catalogue.rs`), and here is shown that the
//! tables offered have none. Equal time (5.15) follows from how answers are made and is no matter of a test; equal
//! bytes and lengths are.

mod asking;
mod attacker;
mod one_edition;
mod over_time;
mod samples;

use std::{collections::BTreeMap, fs, panic::AssertUnwindSafe};

use accord_protocol::{
    catalogue::{Catalogue, SHIPPED},
    id::Hash,
    question::Question,
    request::RequestBody,
    time::{TimeLevel, UnixMs},
};
use accord_tests::{Federation, Running, officer::Officer};
use serde_json::Value;

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const PT: &str = "PT-AGENCY";

const SEIZURES: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";
const PURITIES: &str =
    "record_id,case_id,date,source,drug,form,purity_percent,below_detection,expressed_as,sampling,origin,market_level";
const PRICES: &str =
    "record_id,case_id,date,source,drug,form,amount,currency,quantity,unit,market_level,weight_basis,price_source";

/// Fewest cases behind a shown number, by default.
const K: i64 = 5;

struct Stage {
    federation: Federation,
    nodes: BTreeMap<String, Running>,
    /// What was heard of the edition that everybody looks at, cell by cell; one list for each time that somebody
    /// looked.
    heard: Vec<Vec<Value>>,
}

impl Stage {
    // Members with empty stores, whose editions are audited.
    fn new(members: &[&str]) -> Self {
        let federation = Federation::new(members);
        for member in members {
            fs::remove_dir_all(federation.path().join(member).join("node/store")).unwrap();
            let settings = format!("{member}/node/node.toml");
            federation.edit(&settings, "accept_primary_only = true", "accept_primary_only = false");
            // The quota detects attacks, it does not prevent them.
            federation.edit(&settings, "burst = 120", "burst = 10000");
        }
        let nodes = members.iter().map(|member| ((*member).to_owned(), federation.start(member))).collect();
        Self { federation, nodes, heard: Vec::new() }
    }

    fn operator(&self, member: &str, arguments: &[&str]) -> Value {
        let said = self.federation.operator(member, &[arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stdout);
        said.json()
    }

    fn import(&self, member: &str, kind: &str, name: &str, rows: &str, extra: &[&str]) {
        let header = match kind {
            "seizure" => SEIZURES,
            "purity" => PURITIES,
            _ => PRICES,
        };
        fs::write(self.federation.path().join(name), format!("{header}\n{rows}")).unwrap();
        self.operator(member, &[["import", name, "--kind", kind].as_slice(), extra].concat());
    }

    fn publish(&self, member: &str) -> Value {
        let said = self.operator(member, &["edition", "publish"]);
        assert_eq!(said["result"]["protection"], "audited");
        said
    }

    fn restart(&mut self, member: &str) {
        assert!(self.nodes.remove(member).unwrap().stop());
        self.nodes.insert(member.to_owned(), self.federation.start_settled(member));
    }

    // The officer of ES asks; all partners answer.
    fn ask(&self, from: &str, table: &str, arguments: &[&str]) -> Value {
        self.ask_as("officer", from, table, arguments)
    }

    fn ask_as(&self, profile: &str, from: &str, table: &str, arguments: &[&str]) -> Value {
        let ask = ["--profile", profile, "ask", table, "--from", from, "--no-history", "--json"];
        let said = accord_tests::accord(&self.federation.path(), &[ask.as_slice(), arguments].concat());
        assert_eq!(said.code, 0, "{table} {arguments:?}: {}", said.stdout);
        said.json()["result"].clone()
    }

    // What the officer's tool says to a question that it does not send.
    fn misused(&self, table: &str, arguments: &[&str]) -> Value {
        let said = self.federation.officer(&[["ask", table, "--from", IT, "--json"].as_slice(), arguments].concat());
        assert_eq!(said.code, 2, "{table} {arguments:?}: {}", said.stdout);
        said.json()["error"].clone()
    }

    // Asks for all of these tables, and keeps the cells.
    fn look(&mut self, questions: &[(&str, &str, &str)]) {
        let answers =
            questions.iter().map(|(table, by, period)| self.ask(IT, table, &["--period", period, "--by", by]));
        let heard = answers.flat_map(|answer| cells(&answer)).collect();
        self.heard.push(heard);
    }

    // What was heard of a year at the given look.
    fn heard_of(&self, look: usize, year: &str) -> Vec<Value> {
        let in_year = |cell: &&Value| cell["key"]["time"].as_str().unwrap().starts_with(year);
        self.heard[look].iter().filter(in_year).cloned().collect()
    }

    // One number of one cell.
    fn number(&self, from: &str, table: &str, key: &[(&str, &str)], measure: &str) -> Option<i64> {
        let answer = self.one_cell(from, table, key);
        answer["values"][measure]["value"].as_i64()
    }

    // One cell, by the level of each code.
    fn one_cell(&self, from: &str, table: &str, key: &[(&str, &str)]) -> Value {
        let mut arguments = Vec::new();
        let mut by = Vec::new();
        for (dimension, code) in key {
            let (code, level) = code.split_once('@').unwrap();
            by.push(format!("{dimension}={level}"));
            if *dimension == "time" {
                arguments.extend(["--period".to_owned(), code.to_owned()]);
            } else if code != "_T" {
                arguments.extend(["--where".to_owned(), format!("{dimension}={code}")]);
            }
        }
        arguments.extend(["--by".to_owned(), by.join(",")]);
        let answer = self.ask(from, table, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let wanted = |cell: &&Value| key.iter().all(|(of, code)| cell["key"][of] == code.split('@').next().unwrap());
        answer["cells"].as_array().unwrap().iter().find(wanted).unwrap_or_else(|| panic!("no cell {key:?}")).clone()
    }
}

// Rows of seizures, each record a case of its own unless said.
#[derive(Default)]
struct Seizures {
    prefix: &'static str,
    text: String,
    records: u32,
}

impl Seizures {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    fn cases(&mut self, n: u32, date: &str, region: &str, drug: &str) {
        self.weighed(&vec![""; n as usize], date, region, drug);
    }

    // One case for each mass in kilograms.
    fn weighed(&mut self, masses: &[&str], date: &str, region: &str, drug: &str) {
        for mass in masses {
            self.records += 1;
            let (record, case) = (self.record(self.records), format!("{}K{}", self.prefix, self.records));
            self.line(&record, &case, 1, date, region, drug, mass);
        }
    }

    fn record(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of the layout")]
    fn line(&mut self, record: &str, case: &str, line: u32, date: &str, region: &str, drug: &str, mass: &str) {
        let unit = if mass.is_empty() { "" } else { "kg" };
        self.text += &format!("{record},{case},{line},{date},{region},synthetic,{drug},,{mass},{unit},net\n");
    }
}

// A request for numbers of seizures by drug, as the tool would make it.
fn request(officer: &Officer, table: &str, period: &str, levels: &[(&str, &str)], drug: &str) -> RequestBody {
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let table = catalogue.table(table).unwrap();
    let own = |(dimension, level): &(&str, &str)| ((*dimension).to_owned(), (*level).to_owned());
    let levels = Question::levels(table, &levels.iter().map(own).collect::<Vec<_>>()).unwrap();
    let question = Question {
        measures: Question::measures(table, &levels, &[]).unwrap(),
        periods: Question::periods(period, TimeLevel::Year).unwrap(),
        levels,
        only: BTreeMap::from([(1, vec![drug.to_owned()])]),
    };
    let mut body = officer.request(IT, period);
    body.query = question.queries(table, "IT").unwrap().remove(0);
    body
}

// What a partner's signed head says, without what differs from request to request, and the bytes of its numbers.
fn said_on_the_wire(officer: &Officer, body: &RequestBody) -> (Vec<u8>, Vec<u8>) {
    let back = officer.ask(body);
    let mut head = back.head();
    head.body_hash = Hash::ZERO;
    head.request_id = accord_protocol::id::RequestId([0; 16]);
    head.issued_at = UnixMs(0);
    (accord_protocol::codec::encode(&head).unwrap(), back.slice)
}

// The cells of an answer without their keys: what is left must not tell one from another.
fn values(answer: &Value) -> Vec<Value> {
    cells(answer).iter().map(|cell| cell["values"].clone()).collect()
}

fn cells(answer: &Value) -> Vec<Value> {
    answer["cells"].as_array().unwrap().clone()
}

type Row<S> = (&'static str, fn(&mut S));

// Every row runs, whatever became of the one before; those that failed are named together.
fn run<S>(stage: &mut S, rows: &[Row<S>]) {
    let mut failed = Vec::new();
    for (name, row) in rows {
        if std::panic::catch_unwind(AssertUnwindSafe(|| row(stage))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "rows that do not hold: {failed:?}");
}

macro_rules! rows {
    ($($row:ident),* $(,)?) => { [$((stringify!($row), $row as fn(&mut _))),*] };
}
use rows;
