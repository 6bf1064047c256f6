//! Files as rows, on the operator's side: CSV in any encoding, a zip with one CSV, a workbook. The node parses none of these but
//! comma-separated UTF-8, so that no parser of spreadsheets runs in the process that holds the keys.

mod text;
mod xlsx;

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use accord_protocol::id::Hash;
use serde::Deserialize;

use crate::output::Failure;

pub(crate) use text::guess_encoding;
pub(crate) use xlsx::sheet_names;

/// Columns of a table, at most; as in the node.
pub(crate) const COLUMNS_MAX: usize = 511;
/// Bytes of one cell, at most.
pub(crate) const CELL_MAX: usize = 32 << 10;
/// Bytes of what a zip holds once unpacked, at most: what a node takes.
const UNPACKED_MAX: u64 = 4 << 30;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text with separators.
    Csv,
    /// A zip with one CSV file.
    ZippedCsv,
    /// A workbook.
    Xlsx,
}

impl Format {
    /// The word of the report.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Csv | Self::ZippedCsv => "csv",
            Self::Xlsx => "xlsx",
        }
    }
}

/// How a file is turned into rows: the `[file]` section of a mapping, with the mapping's own signs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Encoding of a text, by its WHATWG name; UTF-8 if absent.
    pub(crate) encoding: Option<String>,
    /// Sheet of a workbook; the first visible one if absent.
    pub(crate) sheet: Option<String>,
    /// Physical row of the header, from 1.
    pub(crate) header_row: Option<u64>,
    #[serde(skip)]
    pub(crate) delimiter: Option<char>,
    #[serde(skip)]
    pub(crate) decimal_comma: bool,
}

/// The part of a mapping that the tool reads itself.
#[derive(Debug, Deserialize)]
struct MappingFile {
    delimiter: Option<String>,
    decimal: Option<String>,
    file: Option<Layout>,
}

impl Layout {
    /// The layout that a mapping states; whether it states one at all, so that the file has to be turned into rows.
    pub(crate) fn of_mapping(text: &str) -> anyhow::Result<(Self, bool)> {
        let raw: MappingFile = toml::from_str(text).map_err(|error| {
            Failure::refused("MAPPING", format!("the mapping cannot be read: {error}"), "correct the mapping file")
        })?;
        let stated = raw.file.is_some();
        let layout = raw.file.unwrap_or_default();
        Ok((
            Self {
                delimiter: raw.delimiter.and_then(|text| text.chars().next()),
                decimal_comma: raw.decimal.as_deref() == Some("comma"),
                ..layout
            },
            stated,
        ))
    }
}

/// A file of the operator's, and what it is.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) bytes: u64,
}

/// Stops reading rows, or goes on.
pub(crate) type Next = anyhow::Result<std::ops::ControlFlow<()>>;

impl Table {
    /// Looks at a file: a regular one, directly or behind a link.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let usage =
            |message: String, next: &str| Failure::usage("FILE", message, next).in_file(path.display().to_string());
        let metadata = std::fs::metadata(path)
            .map_err(|error| usage(format!("cannot read {}: {error}", path.display()), "check the path"))?;
        if !metadata.is_file() {
            return Err(usage(format!("{} is not a regular file", path.display()), "give a CSV or XLSX file").into());
        }
        let mut file = open(path)?;
        let mut magic = [0; 4];
        let read = file.read(&mut magic).unwrap_or(0);
        let format = match magic.get(..read) {
            Some(b"PK\x03\x04") => {
                file.rewind()?;
                if xlsx::is_workbook(file) { Format::Xlsx } else { Format::ZippedCsv }
            }
            Some([0xd0, 0xcf, 0x11, 0xe0]) => {
                let message =
                    format!("{} is an old binary workbook (XLS) or is protected by a password", path.display());
                return Err(usage(message, "save it as XLSX without a password, or as CSV").into());
            }
            _ => Format::Csv,
        };
        Ok(Self { path: path.to_owned(), format, bytes: metadata.len() })
    }

    /// The bytes of a CSV file as they stand.
    pub(crate) fn reader(&self) -> anyhow::Result<Box<dyn Read>> {
        let file = open(&self.path)?;
        match self.format {
            Format::Csv | Format::Xlsx => Ok(Box::new(io::BufReader::with_capacity(1 << 18, file))),
            Format::ZippedCsv => self.unzipped(file),
        }
    }

    fn unzipped(&self, file: File) -> anyhow::Result<Box<dyn Read>> {
        let bad = |message: String| {
            Failure::refused("ZIP", message, "unpack it and import the CSV").in_file(self.path.display().to_string())
        };
        let mut archive = zip::ZipArchive::new(file).map_err(|error| bad(format!("not a readable zip: {error}")))?;
        let names: Vec<usize> = (0..archive.len())
            .filter(|index| {
                archive
                    .by_index(*index)
                    .is_ok_and(|member| member.name().is_ok_and(|name| name.to_ascii_lowercase().ends_with(".csv")))
            })
            .collect();
        let [index] = names.as_slice() else {
            return Err(bad(format!("the zip holds {} CSV files instead of one", names.len())).into());
        };
        // A member of a zip cannot be read without its archive: unpacked into a file without a name, bounded by what a node takes.
        let mut member = archive.by_index(*index).map_err(|error| bad(error.to_string()))?;
        let mut unpacked = tempfile::tempfile()?;
        let size = io::copy(&mut (&mut member).take(UNPACKED_MAX + 1), &mut unpacked)
            .map_err(|error| bad(format!("the zip cannot be unpacked: {error}")))?;
        if size > UNPACKED_MAX {
            return Err(bad("the zip holds more than 4 GiB".to_owned()).into());
        }
        unpacked.rewind()?;
        Ok(Box::new(io::BufReader::with_capacity(1 << 18, unpacked)))
    }

    /// Whether the first bytes say that a text is UTF-16: then it has to be turned into rows whatever the mapping says.
    pub(crate) fn is_utf16(&self) -> anyhow::Result<bool> {
        if self.format == Format::Xlsx {
            return Ok(false);
        }
        let mut start = [0; 2];
        let read = self.reader()?.read(&mut start).unwrap_or(0);
        Ok(matches!(start.get(..read), Some([0xff, 0xfe] | [0xfe, 0xff])))
    }

    /// Gives every row to `take` with its physical line (or row of the sheet), from 1, the header first.
    pub(crate) fn rows(&self, layout: &Layout, take: &mut dyn FnMut(u64, &[String]) -> Next) -> anyhow::Result<()> {
        match self.format {
            Format::Csv | Format::ZippedCsv => text::rows(self, layout, take),
            Format::Xlsx => xlsx::rows(self, layout, take),
        }
    }

    /// Turns the file into comma-separated UTF-8 in a file without a name: first column the line, then the cells. Returns the file, its
    /// hash and size, and the hash of the operator's file.
    pub(crate) fn converted(&self, layout: &Layout) -> anyhow::Result<Rows> {
        let before = self.hash()?;
        let mut file = io::BufWriter::with_capacity(1 << 18, tempfile::tempfile()?);
        let mut digest = Digest::default();
        let mut bytes = 0u64;
        let mut columns = 0;
        let mut record = Vec::new();
        self.rows(layout, &mut |line, cells| {
            record.clear();
            if columns == 0 {
                let names = header(cells);
                columns = names.len();
                encode_row(&mut record, "#line", names.iter().map(String::as_str));
            } else {
                // Cells that a spreadsheet leaves out at the end of a row are blank; a row that is longer than the header stays so.
                let blank = columns.saturating_sub(cells.len());
                let filled = cells.iter().map(String::as_str).chain(std::iter::repeat_n("", blank));
                encode_row(&mut record, &line.to_string(), filled);
            }
            bytes += record.len() as u64;
            if bytes > UNPACKED_MAX {
                let next = "split the file";
                return Err(Failure::refused("TOO-LARGE", "the rows come to more than 4 GiB", next).into());
            }
            digest.write_all(&record)?;
            file.write_all(&record)?;
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        let file = file.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
        if self.hash()? != before {
            let message = "the file changed while it was read; nothing was sent";
            return Err(Failure::refused("R-FILE-CHANGED", message, "import it again when nobody writes to it").into());
        }
        Ok(Rows { file, sha256: digest.finish(), bytes, file_sha256: before })
    }

    fn hash(&self) -> anyhow::Result<Hash> {
        let mut digest = Digest::default();
        io::copy(&mut open(&self.path)?, &mut digest)?;
        Ok(digest.finish())
    }
}

/// A file that was turned into rows.
#[derive(Debug)]
pub(crate) struct Rows {
    file: File,
    /// SHA-256 of the rows.
    pub(crate) sha256: Hash,
    /// Their size.
    pub(crate) bytes: u64,
    /// SHA-256 of the operator's file.
    pub(crate) file_sha256: Hash,
}

impl Rows {
    /// The rows from the beginning.
    pub(crate) fn reader(&self) -> anyhow::Result<Box<dyn Read>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(Box::new(io::BufReader::with_capacity(1 << 18, file)))
    }
}

/// The names of a header as a mapping refers to them: `#7` for a column without a name, `Ort (2)` for the second of two of one name.
pub(crate) fn header(cells: &[String]) -> Vec<String> {
    let filled = cells.iter().rposition(|cell| !cell.trim().is_empty()).map_or(0, |last| last + 1);
    let mut names: Vec<String> = Vec::new();
    for (index, cell) in cells.iter().take(filled).enumerate() {
        // A line break in a heading would not survive in a mapping that people edit.
        let plain = cell.split_whitespace().collect::<Vec<_>>().join(" ");
        let base = if plain.is_empty() { format!("#{}", index + 1) } else { plain };
        let mut name = base.clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{base} ({count})");
        }
        names.push(name);
    }
    names
}

fn encode_row<'a>(record: &mut Vec<u8>, line: &str, cells: impl Iterator<Item = &'a str>) {
    record.extend_from_slice(line.as_bytes());
    for cell in cells {
        record.push(b',');
        if cell.contains(['"', ',', '\n', '\r']) {
            record.push(b'"');
            record.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            record.push(b'"');
        } else {
            record.extend_from_slice(cell.as_bytes());
        }
    }
    record.push(b'\n');
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).map_err(|error| {
        Failure::usage("FILE", format!("cannot read {}: {error}", path.display()), "check the path").into()
    })
}

/// SHA-256 as a writer.
pub(crate) struct Digest(ring::digest::Context);

impl Default for Digest {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Digest {
    /// The hash of everything that was written.
    pub(crate) fn finish(self) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        Hash(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_a_header_has_a_name_of_its_own() {
        let cells = ["Ort", "", "Ort", " Datum\nSicherstellung ", "", ""].map(str::to_owned);
        assert_eq!(header(&cells), ["Ort", "#2", "Ort (2)", "Datum Sicherstellung"]);
    }

    #[test]
    fn rows_survive_quotes_and_separators() {
        let mut record = Vec::new();
        encode_row(&mut record, "7", ["a", "b,c", "say \"x\"", "two\nlines", ""].into_iter());
        assert_eq!(String::from_utf8(record).unwrap(), "7,a,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\",\n");
    }
}
