//! `accord tables TABLE --forecast`: what partners show of a table, before one decides what to ask for.
//!
//! The pattern of an edition is the same for everybody and tells no number, but it is part of the edition: a partner gives it to those
//! who may receive the numbers, and counts it as answers.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::Table,
    cell::{Released, State},
    id::NodeId,
    officers::Purpose,
    question::{Question, level_words},
    request::LegalBasis,
    selection::Selection,
    time::{Period, TimeLevel},
    trust::Trust,
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Global,
    ask::{cannot, partners, word},
    status::catch_up,
};
use crate::{
    ask::{self, Asking, PartnerStatus, Replied},
    client::block_on,
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// Options of a forecast.
#[derive(Debug, Args)]
pub(crate) struct Forecast {
    /// What partners show of the table at each combination of levels. They count it as answers.
    #[arg(long = "forecast", id = "forecast", requires = "table", requires = "period")]
    wanted: bool,
    /// What this partner shows your agency: what may be asked, and how it is answered. With --forecast the partners to ask; without it
    /// every other provider of the federation.
    #[arg(long, value_delimiter = ',', value_name = "MEMBER,...")]
    from: Vec<String>,
    /// Calendar years: 2024 or 2011..2016.
    #[arg(long, value_name = "A..B", requires = "forecast")]
    period: Option<String>,
    /// Why you ask.
    #[arg(long, default_value = "strategic-analysis", requires = "forecast")]
    purpose: String,
    /// On what ground.
    #[arg(long, default_value = "agreement", requires = "forecast")]
    legal_basis: String,
}

// How many cells of a combination of levels are in each state, by the first measure there.
#[derive(Debug, Default)]
struct Pattern {
    states: BTreeMap<&'static str, u64>,
    cells: Vec<Value>,
}

// What a partner shows, by combination of levels.
#[derive(Debug)]
struct OfPartner<'a> {
    member: &'a NodeId,
    status: PartnerStatus,
    patterns: BTreeMap<Vec<u8>, Pattern>,
}

impl Forecast {
    /// Whether it was asked for.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The partners whose view is asked for, where it is no forecast.
    pub(crate) fn looks_at(&self) -> &[String] {
        if self.wanted { &[] } else { &self.from }
    }

    pub(crate) fn run(&self, table: &Table, profile: &Profile, global: &Global) -> anyhow::Result<Outcome> {
        catch_up(profile, global);
        let (trust, documents) = profile.trust()?;
        let partners = partners(&self.from, &trust, &profile.member, accord_edge::clock::now())?;
        let years = self.period.as_deref().unwrap_or_default();
        let years = Question::periods(years, TimeLevel::Year).map_err(|error| cannot(&error))?;
        let questions: Vec<Question> = questions(table, &years);
        let purpose = word("--purpose", &self.purpose, Purpose::from_word, Purpose::ALL, Purpose::as_str)?;
        let legal_basis =
            word("--legal-basis", &self.legal_basis, LegalBasis::from_word, LegalBasis::ALL, LegalBasis::as_str)?;
        let (card_bytes, card) = profile.card()?;
        let Some(first) = questions.first() else {
            return Err(Failure::usage("OFF-GRID", "the table has no levels", "see `accord tables`").into());
        };
        for (question, partner) in questions.iter().flat_map(|one| partners.iter().map(move |partner| (one, partner))) {
            question.queries(table, partner.country()).map_err(|error| cannot(&error))?;
        }
        let asking = Asking {
            profile,
            trust: &trust,
            documents: &documents,
            table,
            question: first,
            partners: &partners,
            purpose,
            legal_basis,
            case_ref: None,
            topics: &BTreeMap::new(),
            edition: 0,
            card: &card,
            card_bytes: &card_bytes,
            wait_ms: 0,
        };
        let answers = block_on(ask::run(&asking, &questions, global))?;
        let of_partner = |member| {
            let (status, patterns) = (answers.status(&asking, member), patterns(&asking, &answers, member));
            OfPartner { member, status, patterns }
        };
        let of_partners: Vec<OfPartner<'_>> = partners.iter().map(of_partner).collect();
        let listed: Vec<Value> = of_partners.iter().map(|of| of.json(table)).collect();
        let answered = of_partners.iter().filter(|of| of.status == PartnerStatus::Answered).count();
        let result = json!({
            "table": table.name, "period": self.period, "requests": answers.asked.len(), "partners": listed,
        });
        let mut outcome = Outcome::done(result, text(table, &trust, &of_partners, answers.asked.len()));
        outcome.warnings.clone_from(&answers.warnings);
        outcome.exit = if answered == partners.len() {
            0
        } else if answered == 0 {
            3
        } else {
            1
        };
        Ok(outcome)
    }
}

// One question for each combination of levels, with every measure that exists there.
fn questions(table: &Table, years: &[Period]) -> Vec<Question> {
    let of = |levels: Vec<u8>| -> Option<Question> {
        let time = TimeLevel::from_number(*levels.first()?)?;
        let periods = years.iter().flat_map(|year| Period::of_year(year.year(), time)).collect();
        let measures = Question::measures(table, &levels, &[]).ok()?;
        Some(Question { levels, periods, only: BTreeMap::new(), measures })
    };
    table.level_sets().into_iter().filter_map(|set| of(set.levels)).collect()
}

fn patterns(asking: &Asking<'_>, answers: &ask::Answers, partner: &NodeId) -> BTreeMap<Vec<u8>, Pattern> {
    let mut patterns: BTreeMap<Vec<u8>, Pattern> = BTreeMap::new();
    for asked in answers.of(partner) {
        let Ok(selection) = Selection::new(&asked.query, asking.table, partner.country()) else { continue };
        let Replied::Verified(exchange, _) = &asked.reply else { continue };
        let Some(cells) = &exchange.cells else { continue };
        let pattern = patterns.entry(selection.levels.clone()).or_default();
        for (position, numbers) in cells.iter().enumerate() {
            let first = numbers.first().copied().unwrap_or(Released::NOT_AVAILABLE).state();
            *pattern.states.entry(first.as_str()).or_default() += 1;
            let names = asking.table.dimensions.iter().zip(selection.names_at(position));
            let key: BTreeMap<&str, String> = names.map(|(dimension, code)| (dimension.name.as_str(), code)).collect();
            let mut at = 0;
            let mut states: BTreeMap<&str, &str> = BTreeMap::new();
            for measure in selection.measures.iter().filter_map(|index| asking.table.measures.get(*index)) {
                let state = numbers.get(at).copied().unwrap_or(Released::NOT_AVAILABLE).state();
                states.insert(&measure.id, state.as_str());
                at += measure.width();
            }
            pattern.cells.push(json!({ "key": key, "states": states }));
        }
    }
    patterns
}

impl OfPartner<'_> {
    fn json(&self, table: &Table) -> Value {
        let levels: Vec<Value> = self
            .patterns
            .iter()
            .map(|(levels, pattern)| {
                json!({ "levels": level_words(table, levels), "states": pattern.states, "cells": pattern.cells })
            })
            .collect();
        let refusal = if let PartnerStatus::Refused(refusal) = self.status { Some(refusal.as_str()) } else { None };
        json!({ "member": self.member.as_str(), "status": self.status.as_str(), "refusal": refusal, "levels": levels })
    }
}

fn text(of: &Table, trust: &Trust, partners: &[OfPartner<'_>], requests: usize) -> String {
    let mut text = format!("{}: cells that partners show (catalogue {})\n", of.name, trust.catalogue().id);
    let mut rows = Vec::new();
    for OfPartner { member: partner, status, patterns } in partners {
        if let PartnerStatus::Refused(refusal) = status {
            text += &format!("{partner} refused: {}\n", refusal.as_str());
        } else if *status != PartnerStatus::Answered {
            text += &format!("{partner}: {}\n", status.as_str().replace('_', " "));
        }
        for (levels, pattern) in patterns {
            let count = |state: State| pattern.states.get(state.as_str()).copied().unwrap_or(0);
            let (shown, hidden, none) = (count(State::Value), count(State::Suppressed), count(State::NotAvailable));
            let numbers = [shown + hidden + none, shown, hidden, none].map(|number| number.to_string());
            rows.push([vec![partner.to_string(), level_words(of, levels)], numbers.to_vec()].concat());
        }
    }
    let header = ["partner", "levels", "cells", "shown", "hidden", "not published"].map(str::to_owned);
    if !rows.is_empty() {
        text += &format!("\n{}", table(&header, &rows, &[false, false, true, true, true, true]));
    }
    text + &format!("{requests} request(s); a partner counts each as an answer. --json says which cells.\n")
}
