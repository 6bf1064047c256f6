//! Texts: spellings of one word folded, so that they compare equal; errors with their causes, for people.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A word for comparing: lower case, accents removed, every run of other characters one blank, trimmed.
pub fn fold_word(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for character in word.nfkd().filter(|character| !is_combining_mark(*character)).flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            // The sigma that ends a Greek word is one letter with the other: capitals do not tell them apart.
            folded.push(if character == 'ς' { 'σ' } else { character });
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// A case id for comparing: NFKC, lower case, runs of blanks one blank, trimmed. Two ids that differ only in these are one case,
/// else one operation could pass the threshold by being spelt in five ways (C85a).
pub fn fold_case(case: &str) -> String {
    // Invisible characters first, since they keep marks from composing; then both ways of case, since one alone leaves pairs apart
    // (sharp s, final sigma); then once more, since that can leave a form which is not NFKC.
    let visible: String = case.chars().filter(|character| !is_invisible(*character)).collect();
    let one_case: String = visible.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    let normal: String = one_case.nfkc().filter(|character| !is_invisible(*character)).collect();
    normal.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Zero-width and direction characters, which make equal-looking ids differ.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A word from a file as it may be shown to the operator: escaped, at most 40 characters.
pub fn shown(word: &str) -> String {
    let mut text: String = word
        .chars()
        .take(40)
        .flat_map(|character| {
            let plain = !character.is_control() && !is_invisible(character);
            if plain { vec![character] } else { character.escape_default().collect() }
        })
        .collect();
    if word.chars().count() > 40 {
        text.push('…');
    }
    text
}

/// Controls, and the separators of lines and paragraphs.
const fn breaks_a_line(character: char) -> bool {
    matches!(character, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

/// Whether a text may be kept as a person's reason or reference: 3 to 200 visible characters on one line.
pub fn is_note(text: &str) -> bool {
    (3..=200).contains(&text.trim().chars().count())
        && text.chars().all(|character| !breaks_a_line(character) && !is_invisible(character))
}

/// An error with its causes, each after a colon.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_compare_by_letters_and_digits_alone() {
        for (word, folded) in [
            ("Málaga", "malaga"),
            ("Palmas (Las)", "palmas las"),
            ("  CÁDIZ. ", "cadiz"),
            ("Prat de  Llobregat (El)", "prat de llobregat el"),
            ("Łódź", "łodz"),
            ("Χάρος", "χαροσ"),
            ("ΧΆΡΟΣ", "χαροσ"),
            ("", ""),
            ("()", ""),
        ] {
            assert_eq!(fold_word(word), folded);
        }
    }

    #[test]
    fn spellings_of_one_case_are_one_case() {
        for spelling in ["K1", "k1", " K1 ", "Ｋ１", "K\u{200b}1"] {
            assert_eq!(fold_case(spelling), "k1", "{spelling:?}");
        }
        for (a, b) in [("ΟΔΟΣ", "οδος"), ("STRASSE", "straße"), ("é", "E\u{200b}\u{301}"), ("K\u{fe0f}1", "k1")]
        {
            assert_eq!(fold_case(a), fold_case(b), "{a} {b}");
        }
        assert_ne!(fold_case("K 1"), fold_case("K1"));
    }

    proptest! {
        #[test]
        fn folding_again_changes_nothing(text in "\\PC{0,40}") {
            prop_assert_eq!(fold_case(&fold_case(&text)), fold_case(&text));
            prop_assert_eq!(fold_word(&fold_word(&text)), fold_word(&text));
        }

        #[test]
        fn blanks_capitals_and_invisible_marks_make_no_other_case(parts in prop::collection::vec("[A-Za-z0-9./-]{1,8}", 1..5)) {
            let plain = parts.join(" ");
            let dressed = format!("  {}\u{200b} ", parts.join("\u{a0} \t").to_uppercase());
            prop_assert_eq!(fold_case(&dressed), fold_case(&plain));
        }
    }

    #[test]
    fn nothing_from_a_file_reaches_a_terminal_raw() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(shown(&"é".repeat(50)).chars().count(), 41);
    }
}
