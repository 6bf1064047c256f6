//! `accord officer list` and `accord staff list`: who is on a member's lists.

use accord_protocol::suspend::Target;
use serde_json::{Value, json};

use super::{
    Global,
    lists::{Ground, ListOf},
};
use crate::output::{Outcome, table};

/// `accord officer list`
pub(super) fn officers(list: &ListOf, global: &Global) -> anyhow::Result<Outcome> {
    let ground = Ground::open(&list.with, list.member.as_deref(), &[], global)?;
    let trust = ground.desk.trust.as_ref();
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for (hash, card) in ground.listed_cards() {
        let stopped = trust.is_some_and(|trust| {
            trust.is_suspended(&ground.member, Target::Officer, ground.now, |suspend| suspend.card() == Some(hash))
        });
        let state = match &card {
            _ if stopped => "suspended",
            Some(card) if ground.now >= card.valid_to => "expired",
            _ => "active",
        };
        let until = card.as_ref().map_or(String::new(), |card| card.valid_to.date().to_string());
        let purposes: Vec<&str> =
            card.iter().flat_map(|card| card.purposes.iter()).map(|purpose| purpose.as_str()).collect();
        let pseudonym = card.as_ref().map(|card| card.officer_id.to_string());
        rows.push(vec![ground.named(&hash), state.to_owned(), until.clone(), purposes.join(", ")]);
        all.push(json!({
            "name": ground.book.name_of_card(&hash), "officer": pseudonym, "card": hash.to_string(), "state": state,
            "purposes": purposes, "valid_to": card.map(|card| card.valid_to.to_string()),
        }));
    }
    let version = ground.desk.officers(&ground.keys).map(|list| list.list_version);
    let text = table(&["officer", "state", "until", "may ask for"].map(str::to_owned), &rows, &[]);
    Ok(Outcome::done(json!({ "member": ground.member.as_str(), "version": version, "officers": all }), text))
}

/// `accord staff list`
pub(super) fn staff(list: &ListOf, global: &Global) -> anyhow::Result<Outcome> {
    let ground = Ground::open(&list.with, list.member.as_deref(), &[], global)?;
    let staff = ground.desk.staff(&ground.keys);
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for person in staff.iter().flat_map(|list| list.people.iter()) {
        let print = person.key.fingerprint(person.role.as_str(), ground.member.as_str());
        let name = ground.book.name_of(&person.key);
        rows.push(vec![
            name.unwrap_or("").to_owned(),
            person.role.to_string(),
            person.valid_to.date().to_string(),
            print.clone(),
        ]);
        all.push(json!({ "name": name, "role": person.role.as_str(), "fingerprint": print, "valid_to": person.valid_to.to_string() }));
    }
    let version = staff.map(|list| list.list_version);
    let text = table(&["name", "role", "until", "fingerprint"].map(str::to_owned), &rows, &[]);
    Ok(Outcome::done(json!({ "member": ground.member.as_str(), "version": version, "staff": all }), text))
}
