//! What an officer keeps: CSV and evidence. Existing files are not replaced unless that is asked for.

use std::path::Path;

use accord_edge::{files, random};
use accord_protocol::{
    catalogue::{Measure, OPEN_EDGE, Quantity},
    codec::encode,
    evidence::{Bundle, BundleExchange, BundleReply},
    handling::Handling,
    id::{NodeId, to_hex},
    pool::PooledTable,
    time::UnixMs,
    trust::travels,
};

use super::{Answers, Asking, NOT_PROTECTED, Replied};
use crate::output::Failure;

/// Refuses a target that exists, unless it is a regular file and may be replaced.
pub(crate) fn check_target(flag: &str, path: &Path, force: bool) -> anyhow::Result<()> {
    let usage =
        |message: String, next: &str| Failure::usage("TARGET", message, next).in_file(path.display().to_string());
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.is_file() {
            return Err(
                usage(format!("{flag}: {} is not a regular file", path.display()), "choose another file").into()
            );
        }
        if !force {
            return Err(usage(
                format!("{flag}: {} exists already", path.display()),
                "choose another file, or add --force",
            )
            .into());
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(usage(format!("{flag}: {} is not a folder", folder.display()), "make the folder first").into());
    }
    // Found out before anything is sent: a report that cannot be kept is no report.
    let probe = folder.join(format!(".accord-{}", to_hex(&random::bytes::<8>()?)));
    std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(|error| {
        usage(format!("{flag}: cannot write in {}: {error}", folder.display()), "choose another folder")
    })?;
    Ok(())
}

/// One line for each member, row and measure, and one for each pooled number.
pub(crate) fn write_csv(
    path: &Path,
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let protection = if answers.primary_only() { NOT_PROTECTED } else { "" };
    let mut header = vec!["row", "member"];
    header.extend(asking.table.dimensions.iter().map(|dimension| dimension.name.as_str()));
    header.extend(["measure", "unit", "state", "value", "lower_bound", "from", "missing", "protection"]);
    header.extend(["handling", "tlp", "embargo_until", "recipients"]);
    writer.write_record(&header)?;
    let measures: Vec<_> = pooled.measures.iter().filter_map(|index| asking.table.measures.get(*index)).collect();
    let mut line = |cells: Vec<String>| writer.write_record(cells.iter().map(|cell| harmless(cell)));
    for cell in &pooled.cells {
        for (measure, value) in measures.iter().zip(&cell.values) {
            let parts = match value {
                Err(why) => vec![(measure.id.clone(), Err(why.as_str()))],
                Ok(numbers) => parts(measure)
                    .zip(numbers)
                    .map(|(name, number)| (name, number.number().ok_or_else(|| number.state().as_str())))
                    .collect(),
            };
            for (name, number) in parts {
                let (state, number) = match number {
                    Ok(number) => ("value", number.to_string()),
                    Err(state) => (state, String::new()),
                };
                let mut cells = vec!["member".to_owned(), cell.member.to_string()];
                cells.extend(cell.key.iter().cloned());
                cells.extend([name, measure.unit.clone(), state.to_owned(), number]);
                cells.extend([String::new(), String::new(), String::new(), protection.to_owned()]);
                cells.extend(marks(answers.handling_of(&cell.member).as_ref()));
                line(cells)?;
            }
        }
    }
    let whole = answers.handling();
    for row in &pooled.rows {
        for (measure, value) in measures.iter().zip(&row.pooled) {
            let from: Vec<String> = value.from().map(ToString::to_string).collect();
            let missing: Vec<String> = value.missing().map(|(member, why)| format!("{member}:{why}")).collect();
            for (place, name) in parts(measure).enumerate() {
                let number = value.number(place).filter(|_| !value.is_hidden_by_all(place));
                if number.is_none() && place > 0 && value.value().is_none() {
                    // Without the first number there are none: one line says so.
                    continue;
                }
                let lower = value.is_lower_bound() || value.is_hidden_by_some(place);
                let mut cells = vec!["pooled".to_owned(), String::new()];
                cells.extend(row.key.iter().cloned());
                cells.extend([
                    name,
                    measure.unit.clone(),
                    if number.is_some() { "value" } else { "missing" }.to_owned(),
                    number.map_or(String::new(), |number| number.to_string()),
                    number.map_or(String::new(), |_| lower.to_string()),
                    from.join(";"),
                    missing.join(";"),
                    protection.to_owned(),
                ]);
                cells.extend(marks(whole.as_ref()));
                line(cells)?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(files::write_atomically(path, &bytes)?)
}

// What goes with every line, so that a line that is cut out of the file is marked as well.
fn marks(handling: Option<&Handling>) -> [String; 4] {
    handling.map_or_else(Default::default, |handling| {
        let embargo =
            if handling.embargo_until == UnixMs(0) { String::new() } else { handling.embargo_until.to_string() };
        let recipients: Vec<&str> = handling.recipients.iter().map(NodeId::as_str).collect();
        [handling.code.to_string(), handling.tlp.to_string(), embargo, recipients.join(";")]
    })
}

/// The names of a measure's numbers: itself, `.n` and `.sum` of a mean, `.n` and bins `.from-to` of a histogram.
fn parts(measure: &Measure) -> impl Iterator<Item = String> {
    let id = &measure.id;
    let names: Vec<String> = match measure.of {
        Quantity::Mean => vec![format!("{id}.n"), format!("{id}.sum")],
        Quantity::Histogram => std::iter::once(format!("{id}.n"))
            .chain(measure.all_bins().map(|(from, to)| match to {
                OPEN_EDGE => format!("{id}.{from}-"),
                to => format!("{id}.{from}-{to}"),
            }))
            .collect(),
        _ => vec![id.clone()],
    };
    names.into_iter()
}

/// A cell that no spreadsheet takes for a formula.
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']) { format!("'{cell}") } else { cell.to_owned() }
}

/// The evidence: exact bytes of everything that was said, and the trust documents by which it verifies.
pub(crate) fn write_evidence(
    path: &Path,
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
) -> anyhow::Result<()> {
    let mut documents = Vec::new();
    for document in asking.documents.iter().filter(|document| travels(document)).chain(&answers.catalogues) {
        documents.push(to_hex(&encode(document)?));
    }
    let mut exchanges = Vec::new();
    for asked in &answers.asked {
        let (reply, without_reply) = match &asked.reply {
            Replied::Verified(_, raw) | Replied::Waits(_, raw) => {
                let edition = raw.edition.as_ref().map(encode).transpose()?.map(|bytes| to_hex(&bytes));
                let reply = BundleReply {
                    head: to_hex(&raw.head),
                    signature: to_hex(&raw.signature.0),
                    slice: to_hex(&raw.slice),
                    edition,
                    log: asked.log.clone(),
                };
                (Some(reply), None)
            }
            Replied::NotVerified(_) => (None, Some("not_verified".to_owned())),
            Replied::Unreachable(_) => (None, Some("unreachable".to_owned())),
        };
        exchanges.push(BundleExchange {
            body: to_hex(&asked.body),
            officer_signature: to_hex(&asked.officer_signature.0),
            officer_card: to_hex(asking.card_bytes),
            topic: Some(to_hex(asked.topic.as_slice())).filter(|topic| !topic.is_empty()),
            reply,
            without_reply,
        });
    }
    let bundle = Bundle {
        accord_evidence: 1,
        federation: asking.trust.federation().to_string(),
        question_id: answers.question_id.to_string(),
        table: asking.table.name.clone(),
        collected_at: answers.asked_at.to_string(),
        documents,
        exchanges,
        pooled: Bundle::rows(asking.table, pooled),
    };
    Ok(files::write_atomically(path, &serde_json::to_vec_pretty(&bundle)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_an_export_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@x", "\tx"] {
            assert!(harmless(cell).starts_with('\''));
        }
        assert_eq!(harmless("COC"), "COC");
    }

    #[test]
    fn an_existing_file_is_not_replaced_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        assert!(check_target("--csv", &path, false).is_ok());
        std::fs::write(&path, "x").unwrap();
        assert!(check_target("--csv", &path, false).is_err());
        assert!(check_target("--csv", &path, true).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(check_target("--csv", &link, true).is_err());
        assert!(check_target("--csv", &folder.path().join("missing/out.csv"), false).is_err());
    }
}
