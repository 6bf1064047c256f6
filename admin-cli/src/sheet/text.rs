//! Text with separators in any encoding of the WHATWG standard, as rows.

use std::{
    io::{self, BufReader, Read},
    ops::ControlFlow,
};

use accord_edge::rows::{NotARow, RowSplitter, Split};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use super::{Layout, Next, Table};
use crate::output::Failure;

/// Bytes that a guess of the encoding looks at.
const GUESS_BYTES: u64 = 4 << 20;

/// Text in some encoding, read as UTF-8. What the encoding cannot mean is an error, never replaced by a mark.
struct Decoded<R> {
    input: R,
    decoder: Decoder,
    raw: Vec<u8>,
    // Where the undecoded part of `raw` begins and ends.
    start: usize,
    end: usize,
    // The input has ended; the decoder has said its last.
    ended: bool,
    finished: bool,
    name: &'static str,
}

impl<R: Read> Decoded<R> {
    fn new(input: R, encoding: &'static Encoding) -> Self {
        Self {
            input,
            decoder: encoding.new_decoder(),
            raw: vec![0; 1 << 16],
            start: 0,
            end: 0,
            ended: false,
            finished: false,
            name: encoding.name(),
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.finished {
                return Ok(0);
            }
            if self.start == self.end && !self.ended {
                self.start = 0;
                self.end = self.input.read(&mut self.raw)?;
                self.ended = self.end == 0;
            }
            let pending = self.raw.get(self.start..self.end).unwrap_or_default();
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(pending, output, self.ended);
            self.start += read;
            if let DecoderResult::Malformed(..) = result {
                let message = format!("the text is not {}", self.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            self.finished = self.ended && result == DecoderResult::InputEmpty;
            if written > 0 || self.finished {
                return Ok(written);
            }
        }
    }
}

/// Guesses the encoding of a text: what a byte-order mark says, UTF-8 if it is that, else by its letters.
pub(crate) fn guess_encoding(table: &Table) -> anyhow::Result<&'static str> {
    let mut start = Vec::new();
    table.reader()?.take(GUESS_BYTES).read_to_end(&mut start)?;
    if let Some((encoding, _)) = Encoding::for_bom(&start) {
        return Ok(encoding.name());
    }
    // Every other byte of Latin letters in UTF-16 is zero; no text in another encoding has zeros.
    let zeros = |odd: usize| start.iter().skip(odd).step_by(2).take(200).filter(|byte| **byte == 0).count();
    if zeros(1) > 50 || zeros(0) > 50 {
        return Ok(if zeros(1) > zeros(0) { "UTF-16LE" } else { "UTF-16BE" });
    }
    // A character that the end of the sample cuts through is no reason against UTF-8.
    let is_utf8 = match std::str::from_utf8(&start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && start.len() as u64 == GUESS_BYTES,
    };
    if is_utf8 {
        return Ok(UTF_8.name());
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(&start, true);
    Ok(detector.guess(None, chardetng::Utf8Detection::Deny).name())
}

/// Gives every row from the header on to `take`.
pub(super) fn rows(table: &Table, layout: &Layout, take: &mut dyn FnMut(u64, &[String]) -> Next) -> anyhow::Result<()> {
    let refuse = |line: u64, code: &str, message: String, next: &str| {
        Failure::refused(code, message, next).in_file(table.path.display().to_string()).at_line(line)
    };
    let label = layout.encoding.as_deref().unwrap_or(UTF_8.name());
    let encoding = Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        Failure::refused("MAPPING", format!("`{label}` is not an encoding"), "for example UTF-8 or windows-1252")
    })?;
    let delimiter = layout.delimiter.and_then(|sign| u8::try_from(sign).ok()).unwrap_or(b',');
    let decoded = Decoded::new(table.reader()?, encoding);
    let mut splitter = RowSplitter::new(BufReader::with_capacity(1 << 18, decoded), delimiter);
    let header_row = layout.header_row.unwrap_or(1);
    loop {
        let split = splitter.next_row().map_err(|error| {
            let next = "set the right `encoding` under [file] in the mapping; accord mapping new FILE proposes one";
            refuse(1, "R-ENCODING", format!("{}: {error}", table.path.display()), next)
        })?;
        match split {
            Split::End => return Ok(()),
            Split::Fault { why, message, line } => {
                let code = match why {
                    NotARow::Encoding => "R-ENCODING",
                    NotARow::Quote => "R-QUOTE",
                    NotARow::Size => "R-ROW-SIZE",
                };
                return Err(refuse(line, code, format!("line {line}: {message}"), "correct the file").into());
            }
            Split::Row { line, .. } if line < header_row => {}
            Split::Row { fields, line } => {
                let cells: Vec<String> = fields.iter().map(ToString::to_string).collect();
                if let ControlFlow::Break(()) = take(line, &cells)? {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u8]) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.csv");
        std::fs::write(&path, bytes).unwrap();
        let table = Table::open(&path).unwrap();
        (folder, table)
    }

    fn read(bytes: &[u8], layout: &Layout) -> Result<String, String> {
        let (_folder, table) = table(bytes);
        let mut shown = String::new();
        rows(&table, layout, &mut |line, cells| {
            shown += &format!("{line}:{} ", cells.join("|"));
            Ok(ControlFlow::Continue(()))
        })
        .map_err(|error| format!("{error:#}"))?;
        Ok(shown)
    }

    #[test]
    fn encodings_delimiters_and_header_rows_are_read_as_stated() {
        let latin = b"Fall;St\xfcck\n1;\xe9\n";
        let layout = |encoding: &str, delimiter| Layout {
            encoding: Some(encoding.into()),
            delimiter: Some(delimiter),
            ..Layout::default()
        };
        assert_eq!(read(latin, &layout("windows-1252", ';')).unwrap(), "1:Fall|Stück 2:1|é ");
        assert!(read(latin, &layout("UTF-8", ';')).unwrap_err().contains("not UTF-8"));
        assert!(read(latin, &layout("klingon", ';')).unwrap_err().contains("not an encoding"));
        let wide: Vec<u8> = "\u{feff}a\tb\n1\tž\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&wide, &layout("UTF-16LE", '\t')).unwrap(), "1:a|b 2:1|ž ");
        let below = Layout { header_row: Some(3), ..Layout::default() };
        assert_eq!(read(b"Report\n\na,b\n1,2\n", &below).unwrap(), "3:a|b 4:1|2 ");
        assert!(read(b"a,b\n1,\"x\n", &Layout::default()).unwrap_err().contains("never closed"));
    }

    #[test]
    fn an_encoding_is_guessed_from_the_bytes() {
        let guess = |bytes: &[u8]| guess_encoding(&table(bytes).1).unwrap();
        assert_eq!(guess("Fall;Stück\n".as_bytes()), "UTF-8");
        assert_eq!(guess(b"Fall;St\xfcck;M\xe4rz;Gr\xf6\xdfe\nK\xf6ln;M\xfcnchen\n"), "windows-1252");
        let wide: Vec<u8> = "a;b\n1;2\n".repeat(40).encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(guess(&wide), "UTF-16LE");
        let (polish, ..) = encoding_rs::WINDOWS_1250.encode("Sprawa;Miejscowość\n1;Łódź\n2;Kraków, świętokrzyskie\n");
        assert_eq!(guess(&polish), "windows-1250");
    }
}
