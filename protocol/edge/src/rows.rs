//! Splitting a CSV file into rows with bounded memory, each with the physical line where it starts.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Largest record in bytes (C67).
const RECORD_MAX: usize = 64 << 10;
/// Fields of a record, at most.
const FIELDS_MAX: usize = 512;

/// What keeps a piece of a file from being a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotARow {
    /// Not UTF-8, or a NUL character.
    Encoding,
    /// A quote that is never closed.
    Quote,
    /// A record that is too large.
    Size,
}

/// What comes next in the file.
#[derive(Debug)]
pub enum Split<'a> {
    /// A row.
    Row {
        /// Its fields, as read.
        fields: Vec<&'a str>,
        /// Physical line where it starts, from 1.
        line: u64,
    },
    /// Something that is not a row.
    Fault {
        /// What is wrong.
        why: NotARow,
        /// In words.
        message: String,
        /// Physical line where it starts.
        line: u64,
    },
    /// The end.
    End,
}

/// Splits rows off a reader.
#[derive(Debug)]
pub struct RowSplitter<R> {
    input: R,
    csv: Reader,
    record: Vec<u8>,
    ends: Vec<usize>,
    line: u64,
    // Whether the last byte read was a carriage return, whose line feed begins no further line.
    after_return: bool,
    at_start: bool,
}

impl<R: BufRead> RowSplitter<R> {
    /// Splits `input` at a delimiter.
    pub fn new(input: R, delimiter: u8) -> Self {
        Self {
            input,
            csv: ReaderBuilder::new().delimiter(delimiter).build(),
            record: vec![0; RECORD_MAX],
            ends: vec![0; FIELDS_MAX],
            line: 1,
            after_return: false,
            at_start: true,
        }
    }

    /// Reads the next row.
    pub fn next_row(&mut self) -> io::Result<Split<'_>> {
        if self.at_start {
            self.at_start = false;
            let start = self.input.fill_buf()?;
            if start.starts_with(&[0xef, 0xbb, 0xbf]) {
                self.input.consume(3);
            } else if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
                let message = "the file is UTF-16; save it as UTF-8".to_owned();
                return Ok(Split::Fault { why: NotARow::Encoding, message, line: 1 });
            }
        }
        self.skip_blank_lines()?;
        let line = self.line;
        let (mut written, mut fields, mut quotes) = (0, 0, 0usize);
        loop {
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let output = self.record.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(fields..).unwrap_or_default();
            let (result, read, wrote, ended) = self.csv.read_record(input, output, ends);
            let taken = input.get(..read).unwrap_or_default();
            let (ends, after_return) = line_ends(taken, self.after_return);
            (self.line, self.after_return) = (self.line + ends, after_return);
            quotes += taken.iter().filter(|byte| **byte == b'"').count();
            self.input.consume(read);
            written += wrote;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    let (why, message) = if quotes % 2 == 1 {
                        (NotARow::Quote, "a quote that is opened here is not closed within 64 KiB".to_owned())
                    } else {
                        (NotARow::Size, format!("a record of more than 64 KiB or {FIELDS_MAX} fields"))
                    };
                    return Ok(Split::Fault { why, message, line });
                }
                ReadRecordResult::Record => {
                    if at_end && quotes % 2 == 1 {
                        let message = "a quote that is opened here is never closed".to_owned();
                        return Ok(Split::Fault { why: NotARow::Quote, message, line });
                    }
                    return Ok(self.row(written, fields, line));
                }
                ReadRecordResult::End => return Ok(Split::End),
            }
        }
    }

    // csv_core skips blank lines by itself, but then nobody would know where the record starts.
    fn skip_blank_lines(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank == 0 {
                return Ok(());
            }
            let (ends, after_return) = line_ends(input.get(..blank).unwrap_or_default(), self.after_return);
            (self.line, self.after_return) = (self.line + ends, after_return);
            self.input.consume(blank);
        }
    }

    fn row(&self, written: usize, fields: usize, line: u64) -> Split<'_> {
        let fault = |message: &str| Split::Fault { why: NotARow::Encoding, message: message.to_owned(), line };
        let Ok(text) = std::str::from_utf8(self.record.get(..written).unwrap_or_default()) else {
            return fault("not UTF-8; save the file as UTF-8");
        };
        if text.contains('\0') {
            return fault("a NUL character");
        }
        let mut start = 0;
        let mut row = Vec::with_capacity(fields);
        for end in self.ends.iter().take(fields) {
            // Two halves of a character on both sides of a delimiter join to valid text, but are no text each.
            let Some(field) = text.get(start..*end) else { return fault("not UTF-8; save the file as UTF-8") };
            row.push(field);
            start = *end;
        }
        Split::Row { fields: row, line }
    }
}

// How many lines end in these bytes: with CR LF, LF or CR alone.
fn line_ends(bytes: &[u8], mut after_return: bool) -> (u64, bool) {
    let mut ends = 0;
    for byte in bytes {
        ends += u64::from(*byte == b'\r' || (*byte == b'\n' && !after_return));
        after_return = *byte == b'\r';
    }
    (ends, after_return)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn split(text: &[u8], buffer: usize) -> String {
        let mut splitter = RowSplitter::new(BufReader::with_capacity(buffer, text), b',');
        let mut shown = String::new();
        loop {
            match splitter.next_row().unwrap() {
                Split::End => return shown,
                Split::Row { fields, line } => shown += &format!("{line}:{} ", fields.join("|")),
                Split::Fault { why, line, .. } => {
                    shown += &format!("{line}!{why:?} ");
                    if why != NotARow::Encoding {
                        return shown;
                    }
                }
            }
        }
    }

    #[test]
    fn rows_have_the_line_where_they_start() {
        for (text, want) in [
            ("a,b\n1,2\n", "1:a|b 2:1|2 "),
            ("\u{feff}a,b\r\n1,2\r\n", "1:a|b 2:1|2 "),
            ("a,b\n\n\n1,2", "1:a|b 4:1|2 "),
            ("a,b\r1,2\r\r3,4", "1:a|b 2:1|2 4:3|4 "),
            ("a,b\r\n1,2\n3,4\r5,6\n", "1:a|b 2:1|2 3:3|4 4:5|6 "),
            ("a\n\"x\ny\",\"\"\"q\"\"\"\n3", "1:a 2:x\ny|\"q\" 4:3 "),
            ("a,b\n1,\"open\n2,3\n", "1:a|b 2!Quote "),
            ("a\0b\n1\n", "1!Encoding 2:1 "),
            ("", ""),
        ] {
            for buffer in [1, 3, 4096] {
                // A byte-order mark is looked for in what the first read brings, at least three bytes of a real file.
                if buffer < 3 && text.starts_with('\u{feff}') {
                    continue;
                }
                assert_eq!(split(text.as_bytes(), buffer), want, "{text:?} in pieces of {buffer}");
            }
        }
        assert_eq!(split(b"a\n\xe9\n1\n", 64), "1:a 2!Encoding 3:1 ");
        assert_eq!(split(b"a,b\n\xc3,\xa9\n1,2\n", 64), "1:a|b 2!Encoding 3:1|2 ");
        assert_eq!(split(b"\xff\xfea\0", 64).trim(), "1!Encoding 1!Encoding");
    }

    #[test]
    fn a_record_without_end_is_refused_with_little_memory() {
        let open = [b"a\n\"".as_slice(), &vec![b'x'; 200_000]].concat();
        assert_eq!(split(&open, 4096), "1:a 2!Quote ");
        let long = [b"a\n".as_slice(), &vec![b'x'; 200_000]].concat();
        assert_eq!(split(&long, 4096), "1:a 2!Size ");
        let wide = [b"a\n".as_slice(), &vec![b','; 600]].concat();
        assert_eq!(split(&wide, 4096), "1:a 2!Size ");
    }
}
