//! `accord tables --from MEMBER`: what a partner shows us, as text and JSON.

use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::NodeId,
    question::level_words,
    signed::Verified,
    trust::Trust,
    view::{View, ViewFootnote, ViewRow, ViewTable},
};
use serde_json::{Value, json};

use super::{
    Global, ask,
    policy_words::{purpose_words, under_json},
    tables,
};
use crate::{
    ask::json::handling,
    client::{Client, block_on},
    output::{Failure, Outcome, table},
    profile::Profile,
    views,
};

/// Looks at what a partner shows now, at one table or at all.
pub(super) fn show(from: &str, only: Option<&str>, global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let (trust, _) = profile.trust()?;
    let now = accord_edge::clock::now();
    let partner = ask::partners(&[from.to_owned()], &trust, &profile.member, now)?;
    let Some(partner) = partner.into_iter().find(|member| *member != profile.member) else {
        let next = "accord tables shows the whole catalogue; accord edition show what is published";
        return Err(Failure::usage("OWN-MEMBER", "your own agency shows you everything it publishes", next).into());
    };
    if let Some(name) = only {
        tables::find(trust.catalogue(), name)?;
    }
    let before = views::kept(&profile, &trust, &partner);
    let view = block_on(async {
        let client = Client::connect(&profile, global).await?;
        let (trust, _) = profile.trust()?;
        let view = views::fetch(&profile, &trust, &client, &partner).await?;
        client.close().await;
        Ok(view)
    })?;
    let changed = before.is_some_and(|before| before.hash() != view.hash());
    let shown = Shown { view: &view, trust: &trust, me: &profile.member };
    Ok(Outcome::done(shown.json(only, changed), shown.text(only, changed)))
}

struct Shown<'a> {
    view: &'a Verified<View>,
    trust: &'a Trust,
    me: &'a NodeId,
}

impl Shown<'_> {
    fn catalogue(&self) -> &Catalogue {
        self.trust.catalogue()
    }

    // A table of the view in our catalogue: the same layout, or its levels mean something else.
    fn known(&self, shown: &ViewTable) -> Option<&Table> {
        self.catalogue().table_by_id(shown.table_id).filter(|table| table.version == shown.table_version)
    }

    fn tables<'a>(&'a self, only: Option<&'a str>) -> impl Iterator<Item = (&'a Table, &'a ViewTable)> {
        let known = self.view.tables.iter().filter_map(|shown| Some((self.known(shown)?, shown)));
        known.filter(move |(table, _)| only.is_none_or(|only| only == table.name))
    }

    // Tables that are shown under another catalogue than ours.
    fn unknown(&self) -> Vec<u16> {
        let unknown = self.view.tables.iter().filter(|shown| self.known(shown).is_none());
        unknown.map(|shown| shown.table_id).collect()
    }

    fn json(&self, only: Option<&str>, changed: bool) -> Value {
        let view = self.view;
        let catalogue = self.catalogue();
        let country = view.provider.country();
        let tables: Vec<Value> = self
            .tables(only)
            .map(|(known, shown)| {
                let mut described = tables::describe(known, country, only.is_some());
                if let Some(fields) = described.as_object_mut() {
                    fields.insert("note".into(), json!(shown.note.as_str()));
                    let rows = shown.rows.iter().map(|row| row_json(view, known, row));
                    fields.insert("may_ask".into(), rows.collect());
                }
                described
            })
            .collect();
        let footnotes = view.footnotes.iter().filter_map(|note| self.footnote(note));
        let footnotes: Vec<Value> = footnotes
            .filter(|(table, ..)| only.is_none_or(|only| only == table))
            .map(|(table, cell, source)| json!({ "table": table, "cell": cell, "public_source": source }))
            .collect();
        let edition = view.edition.as_slice().first().map(|edition| {
            json!({ "number": edition.number, "hash": edition.commit.to_string(), "as_of": edition.as_of.date().to_string(), "published_at": edition.published_at.to_string() })
        });
        let coverage = view.coverage.iter().map(|row| {
            let (from, to) = row.months.ends();
            json!({ "kind": row.kind.as_str(), "from": from, "to": to, "state": row.state.as_str() })
        });
        json!({
            "catalogue": { "id": catalogue.id, "hash": catalogue.hash.to_string(), "source": "in force" },
            "tables": tables,
            "view": {
                "member": view.provider.as_str(), "hash": view.hash().to_string(), "changed": changed,
                "edition": edition, "coverage": coverage.collect::<Vec<_>>(),
                "rules": { "k": view.rules.k, "p_percent": f64::from(view.rules.p_percent), "dominance_percent": f64::from(view.rules.dominance_percent), "zeros": if view.rules.zeros_shown { "shown" } else { "hidden" } },
                "handling": handling(&view.handling),
                "limits": { "burst": view.burst, "per_minute": view.per_minute },
                "contact": Some(view.contact.as_str()).filter(|contact| !contact.is_empty()),
                "footnotes": footnotes,
                "other_catalogue": self.unknown(),
            },
        })
    }

    fn footnote(&self, note: &ViewFootnote) -> Option<(String, String, String)> {
        let table = self.catalogue().table_by_id(note.table_id)?;
        let axes = table.axes(self.view.provider.country()).ok()?;
        let codes = table.dimensions.iter().zip(&axes).zip(note.levels.iter().zip(note.codes.iter()));
        let cell = codes
            .map(|((dimension, axis), (level, code))| Some(format!("{}={}", dimension.name, axis.name(*level, *code)?)))
            .collect::<Option<Vec<_>>>()?
            .join(",");
        Some((table.name.clone(), cell, note.source.as_str().to_owned()))
    }

    // What holds for all tables.
    fn heading(&self, changed: bool) -> String {
        let view = self.view;
        let hash: String = view.hash().to_string().chars().take(16).collect();
        let mut text = format!("what {} shows {} (view {hash})\n", view.provider, self.me);
        if changed {
            text += "  it has changed since you looked last\n";
        }
        match view.edition.as_slice().first() {
            Some(edition) => {
                text += &format!(
                    "  edition {} of {}, records up to {}\n",
                    edition.number,
                    edition.published_at.date(),
                    edition.as_of.date()
                );
            }
            None => text += "  no edition\n",
        }
        let rules = view.rules;
        text += &format!(
            "  hidden are numbers of fewer than {} cases, of which one case makes up more than {} %, or which the second largest could work out to {} %\n",
            rules.k, rules.dominance_percent, rules.p_percent
        );
        text += &format!(
            "  answers are {}\n  {} requests at once, {} a minute\n",
            view.handling.words().join("; "),
            view.burst,
            view.per_minute
        );
        for row in view.coverage.iter() {
            let (from, to) = row.months.ends();
            text += &format!("  holds {} {from} to {to}: {}\n", row.kind, row.state);
        }
        let contact = if view.contact.as_str().is_empty() { "its liaison" } else { view.contact.as_str() };
        text += &format!("  for more, call {contact}\n\n");
        text
    }

    fn text(&self, only: Option<&str>, changed: bool) -> String {
        let view = self.view;
        let mut text = self.heading(changed);
        let mut rows = Vec::new();
        for (known, shown) in self.tables(only) {
            let of = known.level_sets().len();
            for row in shown.rows.iter() {
                let levels = if only.is_some() {
                    level_names(known, row).join("\n")
                } else {
                    format!("{} of {of}", row.levels.as_slice().len())
                };
                rows.push((known, row, levels));
            }
        }
        if rows.is_empty() {
            text += &only.map_or_else(
                || "nothing that you could ask for\n".to_owned(),
                |only| format!("nothing of {only} that you could ask for\n"),
            );
        } else if only.is_some() {
            for (_, row, levels) in &rows {
                text += &format!("for {}: {}\n", purpose_words(row.purpose, row.under), views::words(view, row));
                for line in levels.lines() {
                    text += &format!("  --by {line}\n");
                }
            }
        } else {
            let lines: Vec<Vec<String>> = rows
                .iter()
                .map(|(known, row, levels)| {
                    vec![
                        known.name.clone(),
                        purpose_words(row.purpose, row.under),
                        levels.clone(),
                        views::words(view, row),
                    ]
                })
                .collect();
            text += &table(&["table", "purpose", "levels", "answered"].map(str::to_owned), &lines, &[]);
        }
        for (table, shown) in self.tables(only).filter(|(_, shown)| !shown.note.as_str().is_empty()) {
            text += &format!("\n{}: {}\n", table.name, shown.note.as_str());
        }
        for (table, cell, source) in view.footnotes.iter().filter_map(|note| self.footnote(note)) {
            if only.is_none_or(|only| only == table) {
                text += &format!("\n{table} {cell} is public: {source}\n");
            }
        }
        let unknown = self.unknown();
        if !unknown.is_empty() {
            text += &format!("\n{} more table(s) of another catalogue than ours\n", unknown.len());
        }
        text
    }
}

fn level_names(table: &Table, row: &ViewRow) -> Vec<String> {
    let sets = table.level_sets();
    let of = |index: &u16| sets.get(usize::from(*index)).map(|set| level_words(table, &set.levels));
    row.levels.iter().filter_map(of).collect()
}

fn row_json(view: &View, table: &Table, row: &ViewRow) -> Value {
    let answered: Vec<Value> = view
        .ages
        .iter()
        .zip(row.ways.iter())
        .map(|(age, way)| {
            let way = accord_policy::Way::from_number(*way).map(accord_policy::Way::as_str);
            json!({ "months_old": age, "answer": way })
        })
        .collect();
    let (purpose, topic) = (row.purpose.as_str(), under_json(row.under));
    json!({ "purpose": purpose, "topic": topic, "levels": level_names(table, row), "answer": views::words(view, row), "by_age": answered })
}
