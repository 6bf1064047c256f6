//! Signed notes: a text, and lines of signatures under it (C2SP `signed-note`).

use std::fmt;

use base64ct::{Base64, Encoding as _};

use crate::{id::Hash, key::PublicKey};

/// Largest note in bytes: a text of some lines and signatures of all members.
pub const NOTE_MAX: usize = 64 << 10;
/// Signatures of one note, at most.
pub const SIGNATURES_MAX: usize = 80;
/// What begins the line of a signature: an em dash and a blank.
const DASH: &str = "\u{2014} ";

/// How a signature under a note is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text: how a log signs.
    Ed25519 = 1,
    /// Ed25519 over a time and the text: how a witness cosigns.
    Cosignature = 4,
}

/// A text with signatures under it, of which nobody has verified any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One line of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The first four bytes of the key's hash.
    pub key_id: [u8; 4],
    /// The signature.
    pub bytes: Vec<u8>,
}

/// Why a text is no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signed note: {0}")]
pub struct NotANote(pub(super) &'static str);

/// The first four bytes of SHA-256(name || newline || algorithm || key).
pub fn key_id(name: &str, algorithm: Algorithm, key: &PublicKey) -> [u8; 4] {
    let Hash([a, b, c, d, ..]) = Hash::of(&[name.as_bytes(), b"\n", &[algorithm as u8], key.as_bytes()].concat());
    [a, b, c, d]
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| !character.is_whitespace() && character != '+')
}

impl Note {
    /// A text that nobody has signed yet.
    ///
    /// # Errors
    /// That it is no text of a note: empty, without a newline at its end, or with control characters.
    pub fn new(text: String) -> Result<Self, NotANote> {
        if !text.ends_with('\n') {
            return Err(NotANote("the text does not end in a newline"));
        }
        if text.chars().any(|character| character < ' ' && character != '\n') {
            return Err(NotANote("the text has control characters"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(note: &str) -> Result<Self, NotANote> {
        if note.len() > NOTE_MAX {
            return Err(NotANote("longer than 64 KiB"));
        }
        // The last empty line parts the two.
        let at = note.rfind("\n\n").ok_or(NotANote("there is no empty line before the signatures"))?;
        let (text, rest) = (note.get(..=at).unwrap_or_default(), note.get(at + 2..).unwrap_or_default());
        let mut parsed = Self::new(text.to_owned())?;
        let lines = rest.strip_suffix('\n').ok_or(NotANote("it does not end in a newline"))?;
        for line in lines.split('\n') {
            if parsed.signatures.len() >= SIGNATURES_MAX {
                return Err(NotANote("more signatures than anybody makes"));
            }
            parsed.signatures.push(NoteSignature::parse(line)?);
        }
        Ok(parsed)
    }

    /// The text, with the newline at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of their lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Puts a signature under it, in place of an earlier one by the same key.
    pub fn add(&mut self, signature: NoteSignature) {
        let is_same = |other: &NoteSignature| (&other.name, other.key_id) == (&signature.name, signature.key_id);
        match self.signatures.iter_mut().find(|other| is_same(other)) {
            Some(other) => *other = signature,
            None => self.signatures.push(signature),
        }
    }

    /// The signatures that claim to be of this key.
    pub(super) fn by(&self, name: &str, algorithm: Algorithm, key: &PublicKey) -> impl Iterator<Item = &NoteSignature> {
        let id = key_id(name, algorithm, key);
        self.signatures.iter().filter(move |signature| signature.name == name && signature.key_id == id)
    }
}

impl NoteSignature {
    /// Reads one line, without its end.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(line: &str) -> Result<Self, NotANote> {
        let rest = line.strip_prefix(DASH).ok_or(NotANote("a line of a signature does not begin with a dash"))?;
        let (name, encoded) = rest.split_once(' ').ok_or(NotANote("a signature without a name"))?;
        if !is_name(name) {
            return Err(NotANote("a name with blanks or a plus sign"));
        }
        let bytes = Base64::decode_vec(encoded).map_err(|_| NotANote("a signature is not base64"))?;
        let (key_id, bytes) = bytes.split_first_chunk::<4>().ok_or(NotANote("a signature without a key's id"))?;
        Ok(Self { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_slice(), &self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, Base64::encode_string(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    #[test]
    fn the_example_of_the_specification_reads_and_is_written_the_same() {
        let note = Note::parse(EXAMPLE).unwrap();
        assert_eq!(note.text().lines().count(), 3);
        assert_eq!(note.signatures().iter().map(|one| one.bytes.len()).collect::<Vec<_>>(), [64, 72]);
        assert_eq!(note.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for (bad, why) in [
            ("", "no empty line"),
            ("text\n", "no empty line"),
            ("text\n\n", "newline"),
            ("text\n\n\u{2014} name AAAAAAAA", "newline"),
            ("text\n\nname AAAAAAAA\n", "dash"),
            ("text\n\n\u{2014} name\n", "name"),
            ("text\n\n\u{2014} na+me AAAAAAAA\n", "plus"),
            ("text\n\n\u{2014} name AAA\n", "base64"),
            ("text\n\n\u{2014} name AA==\n", "id"),
            ("te\u{7}xt\n\n\u{2014} name AAAAAAAA\n", "control"),
            ("te\rxt\n\n\u{2014} name AAAAAAAA\n", "control"),
        ] {
            let error = Note::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        let many = format!("text\n\n{}", "\u{2014} name AAAAAAAA\n".repeat(SIGNATURES_MAX + 1));
        assert!(Note::parse(&many).is_err());
        assert!(Note::parse(&format!("{}\n\n", "x".repeat(NOTE_MAX))).is_err());
    }
}
