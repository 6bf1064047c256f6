//! The dictionaries: what words mean, and what columns are called, in all languages of the Union.

use std::{collections::BTreeMap, sync::OnceLock};

use accord_protocol::{code, question::nearest, text::fold_word};

/// Meanings of words by field, folded; and headings, folded, by field.
#[derive(Debug)]
pub(crate) struct Words {
    meanings: BTreeMap<String, BTreeMap<String, String>>,
    headings: BTreeMap<String, String>,
}

/// What a word may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It is known.
    Known(String),
    /// It is like a known word, which a person has to confirm.
    Like(String, String),
    /// It is not known.
    Unknown,
}

impl Words {
    /// The dictionaries that ship.
    pub(crate) fn shipped() -> &'static Self {
        static WORDS: OnceLock<Words> = OnceLock::new();
        WORDS.get_or_init(|| {
            let mut meanings: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
            let mut insert = |field: &str, word: &str, code: &str| {
                meanings.entry(field.to_owned()).or_default().insert(fold_word(word), code.to_owned());
            };
            for row in rows(include_str!("../../data/words.csv")) {
                if let [field, code, _, word] = row.as_slice() {
                    insert(field, word, code);
                }
            }
            // The codes themselves and their labels.
            for (field, list) in [
                ("drug", "drugs-1"),
                ("transport", "transport-1"),
                ("place_type", "place-1"),
                ("concealment", "concealment-1"),
                ("country", "countries-1"),
            ] {
                for row in code::rows(list) {
                    let (Some(code), Some(label)) = (row.get("code"), row.get("label")) else { continue };
                    // NA is "not available", CR and SR are what Czechs and Slovaks call their countries.
                    let unclear =
                        field == "country" && (code.len() != 2 || ["NA", "CR", "SR"].contains(&code.as_str()));
                    if !code.starts_with('_') && !unclear {
                        insert(field, label, code);
                        insert(field, code, code);
                    }
                }
            }
            let headings = rows(include_str!("../../data/columns.csv"))
                .into_iter()
                .filter_map(|row| match row.as_slice() {
                    [field, _, word] => Some((fold_word(word), field.clone())),
                    _ => None,
                })
                .collect();
            Self { meanings, headings }
        })
    }

    /// What a word means in a field.
    pub(crate) fn meaning(&self, field: &str, word: &str) -> Meaning {
        let Some(known) = self.meanings.get(dictionary(field)) else { return Meaning::Unknown };
        let folded = fold_word(word);
        if let Some(code) = known.get(&folded) {
            return Meaning::Known(code.clone());
        }
        // One letter off is a slip of the pen; more than that is another word.
        let letters = folded.chars().count();
        let like = if letters >= 5 { nearest(&folded, known.keys().map(String::as_str)) } else { Vec::new() };
        match like.first().filter(|like| is_one_letter_off(&folded, like)).and_then(|like| known.get_key_value(*like)) {
            Some((word, code)) => Meaning::Like(code.clone(), word.clone()),
            None => Meaning::Unknown,
        }
    }

    /// Whether a field has words at all.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.meanings.contains_key(dictionary(field))
    }

    /// The field that a heading is for, and how sure that is, from 0 to 100.
    pub(crate) fn heading(&self, heading: &str) -> Option<(&str, u32)> {
        let folded = fold_word(heading);
        if let Some(field) = self.headings.get(&folded) {
            return Some((field, 100));
        }
        // A heading with more words than the dictionary's (`Gewicht in kg netto`): the longest known run of words in it.
        let words: Vec<&str> = folded.split(' ').collect();
        for length in (1..words.len()).rev() {
            for run in words.windows(length) {
                let run = run.join(" ");
                if run.chars().count() >= 4
                    && let Some(field) = self.headings.get(&run)
                {
                    return Some((field, 60));
                }
            }
        }
        None
    }
}

// Countries stand in several fields; the drug of a site and of a seizure are the same words.
fn dictionary(field: &str) -> &str {
    match field {
        "departure" | "destination" | "transit" | "joint_with" | "reporting_country" => "country",
        "form" | "found_drug" | "found_form" => "drug",
        "found_unit" => "unit",
        "controlled_delivery" | "joint_operation" | "below_detection" => "yes_no",
        field => field,
    }
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.records().filter_map(Result::ok).map(|row| row.iter().map(str::to_owned).collect()).collect()
}

fn is_one_letter_off(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same_start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    a.len().abs_diff(b.len()) <= 1 && same_start + same_end + 1 >= a.len().max(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_languages_mean_codes_that_exist() {
        let words = Words::shipped();
        let drugs = code::tree("drugs-1", "").unwrap();
        assert!(
            words.meanings["drug"].values().all(|code| drugs.find(code).is_some() || code == "unknown" || code == "_U")
        );
        for (field, word, code) in [
            ("drug", "Kokain", "COC_COCAINE"),
            ("drug", "HEROÍNA", "HER_HEROIN"),
            ("drug", "haschisch", "CAN_RESIN"),
            ("unit", "Gramm", "g"),
            ("yes_no", "Ja", "yes"),
            ("departure", "Ecuador", "EC"),
        ] {
            assert_eq!(words.meaning(field, word), Meaning::Known(code.into()), "{word}");
        }
        assert!(matches!(words.meaning("drug", "Kokian"), Meaning::Unknown | Meaning::Like(..)));
        assert!(matches!(words.meaning("drug", "Kokainn"), Meaning::Like(code, _) if code == "COC_COCAINE"));
        assert_eq!(words.meaning("drug", "Regenschirm"), Meaning::Unknown);
    }

    #[test]
    fn headings_are_found_in_longer_ones() {
        let words = Words::shipped();
        assert_eq!(words.heading("Datum").map(|(field, _)| field), Some("date"));
        assert!(words.heading("Geburtsdatum").is_some_and(|(field, _)| field == "personal"));
        assert_eq!(words.heading("xyzzy"), None);
    }
}
