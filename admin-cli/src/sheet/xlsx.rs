//! Workbooks as rows, cell by cell. Sizes are capped before anything is expanded: every part of the archive is first unpacked into
//! nothing, and a workbook that comes to more than the caps is refused.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
};

use calamine::{CellErrorType, DataRef, Reader, SheetVisible, Xlsx};

use super::{CELL_MAX, COLUMNS_MAX, Layout, Next, Table, open};
use crate::output::Failure;

/// Bytes of a workbook's shared texts once unpacked, at most: they are held in memory.
const TEXTS_MAX: u64 = 256 << 20;
/// Bytes of all other parts that are held in memory (styles, relations, the list of sheets), at most.
const PARTS_MAX: u64 = 64 << 20;
/// Bytes of one sheet once unpacked, at most: it is read cell by cell.
const SHEET_MAX: u64 = 3 << 30;
/// Bytes of one text or tag, at most: a cell holds 32,767 characters.
const STRETCH_MAX: usize = 1 << 20;
/// Parts of a workbook, at most.
const PARTS_COUNT_MAX: usize = 10_000;

/// Whether a zip archive is a workbook.
pub(super) fn is_workbook(file: File) -> bool {
    zip::ZipArchive::new(BufReader::new(file)).is_ok_and(|archive| archive.index_for_name("xl/workbook.xml").is_some())
}

/// The names of the visible sheets of a workbook.
pub(crate) fn sheet_names(table: &Table) -> anyhow::Result<Vec<String>> {
    let workbook = workbook(table)?;
    let sheets = workbook.sheets_metadata().iter();
    Ok(sheets.filter(|sheet| sheet.visible == SheetVisible::Visible).map(|sheet| sheet.name.clone()).collect())
}

fn refuse(table: &Table, message: impl std::fmt::Display, next: &str) -> Failure {
    Failure::refused("XLSX", message.to_string(), next).in_file(table.path.display().to_string())
}

fn workbook(table: &Table) -> anyhow::Result<Xlsx<BufReader<File>>> {
    check_sizes(table)?;
    let workbook = Xlsx::new(BufReader::with_capacity(1 << 18, open(&table.path)?));
    workbook.map_err(|error| refuse(table, format!("not a readable workbook: {error}"), "save it again as XLSX").into())
}

// What an archive says about sizes may be a lie, so each part is unpacked into nothing and counted.
fn check_sizes(table: &Table) -> anyhow::Result<()> {
    let bad = |message: String| refuse(table, message, "export fewer rows, or save the sheet as CSV");
    let mut archive = zip::ZipArchive::new(BufReader::with_capacity(1 << 18, open(&table.path)?))
        .map_err(|error| bad(format!("not a readable workbook: {error}")))?;
    if archive.len() > PARTS_COUNT_MAX {
        return Err(bad(format!("the workbook has more than {PARTS_COUNT_MAX} parts")).into());
    }
    let mut others = 0;
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).map_err(|error| bad(format!("not a readable workbook: {error}")))?;
        let name = part.name().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        // Names are lower case by now.
        let is = |extension: &str| name.rsplit_once('.').is_some_and(|(_, rest)| rest == extension);
        if part.is_dir() {
            continue;
        }
        // By the file's name first: a workbook may say that its parts lie in another folder.
        let most = if name.ends_with("sharedstrings.xml") {
            TEXTS_MAX
        } else if name.starts_with("xl/worksheets/") && is("xml") {
            SHEET_MAX
        } else if is("xml") || is("rels") {
            PARTS_MAX - others
        } else {
            // Pictures and the like are not read; a part that is would have to be one of these.
            TEXTS_MAX
        };
        let mut scan = Scan { is_markup: is("xml"), ..Scan::default() };
        let size = io::copy(&mut (&mut part).take(most + 1), &mut scan)
            .map_err(|error| bad(format!("the workbook cannot be unpacked: {error}")))?;
        if size > most {
            return Err(bad(format!("the part {name} of the workbook unpacks to more than {most} bytes")).into());
        }
        if scan.longest > STRETCH_MAX {
            return Err(
                bad(format!("the part {name} of the workbook holds a text of more than {STRETCH_MAX} bytes")).into()
            );
        }
        if most <= PARTS_MAX {
            others += size;
        }
    }
    Ok(())
}

/// Looks for the longest stretch without a mark of XML: a parser holds a text or a tag whole.
#[derive(Default)]
struct Scan {
    is_markup: bool,
    run: usize,
    longest: usize,
}

impl io::Write for Scan {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_markup {
            for piece in bytes.split_inclusive(|byte| matches!(byte, b'<' | b'>')) {
                self.run += piece.len();
                self.longest = self.longest.max(self.run);
                if matches!(piece.last(), Some(b'<' | b'>')) {
                    self.run = 0;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives every row of the sheet from the header on to `take`; blank rows are left out.
pub(super) fn rows(table: &Table, layout: &Layout, take: &mut dyn FnMut(u64, &[String]) -> Next) -> anyhow::Result<()> {
    let mut workbook = workbook(table)?;
    let sheet = sheet(table, &workbook, layout)?;
    let header_row = layout.header_row.unwrap_or(1);
    let bad = |error: calamine::XlsxError| refuse(table, format!("sheet {sheet}: {error}"), "save it again as XLSX");
    let mut cells = workbook.worksheet_cells_reader(&sheet).map_err(bad)?;
    let mut row: Vec<String> = Vec::new();
    let mut at = 0u64;
    loop {
        let next = cells.next_cell().map_err(bad)?;
        let here = next.as_ref().map(|cell| u64::from(cell.get_position().0) + 1);
        if here != Some(at) {
            if at >= header_row && row.iter().any(|cell| !cell.trim().is_empty()) && take(at, &row)?.is_break() {
                return Ok(());
            }
            row.clear();
            match here {
                None => return Ok(()),
                // Cells come in the order of rows in every workbook that a program writes; one that goes back is broken or hostile.
                Some(here) if here < at => {
                    return Err(refuse(
                        table,
                        format!("sheet {sheet}: row {here} stands after row {at}"),
                        "save it again",
                    )
                    .into());
                }
                Some(here) => at = here,
            }
        }
        let Some(cell) = next else { return Ok(()) };
        let column = cell.get_position().1 as usize;
        let text = text_of(cell.get_value(), layout.decimal_comma);
        if text.is_empty() {
            continue;
        }
        if column >= COLUMNS_MAX || text.len() > CELL_MAX {
            let message =
                format!("sheet {sheet}, row {at}: more than {COLUMNS_MAX} columns, or a cell of more than 32 KiB");
            return Err(refuse(table, message, "remove what does not belong to the table").into());
        }
        if row.len() <= column {
            row.resize(column + 1, String::new());
        }
        if let Some(slot) = row.get_mut(column) {
            *slot = text;
        }
    }
}

fn sheet<R: Read + Seek>(table: &Table, workbook: &Xlsx<R>, layout: &Layout) -> anyhow::Result<String> {
    let sheets = workbook.sheets_metadata();
    let visible = || sheets.iter().filter(|sheet| sheet.visible == SheetVisible::Visible);
    let found = match &layout.sheet {
        Some(name) => sheets.iter().find(|sheet| sheet.name == *name),
        None => visible().next(),
    };
    found.map(|sheet| sheet.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = visible().map(|sheet| sheet.name.as_str()).collect();
        let wanted = layout.sheet.as_deref().map_or_else(String::new, |name| format!(" `{name}`"));
        refuse(table, format!("the workbook has no such sheet{wanted}; it has {}", names.join(", ")), "name a sheet")
            .into()
    })
}

// A cell as people see it, as far as a mapping needs it: dates as 2014-05-17, numbers without exponent and with the mapping's sign.
fn text_of(value: &DataRef<'_>, decimal_comma: bool) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) if decimal_comma => number.to_string().replace('.', ","),
        DataRef::Float(number) => number.to_string(),
        DataRef::Bool(true) => "TRUE".to_owned(),
        DataRef::Bool(false) => "FALSE".to_owned(),
        DataRef::DateTime(when) if when.is_duration() => when.as_f64().to_string(),
        DataRef::DateTime(when) => {
            let (year, month, day, ..) = when.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02}")
        }
        DataRef::DateTimeIso(text) => text.split('T').next().unwrap_or_default().to_owned(),
        DataRef::DurationIso(text) => text.clone(),
        DataRef::Error(error) => error_text(error).to_owned(),
    }
}

// An error of a formula is shown as such, so that no rule takes it for a blank cell.
const fn error_text(error: &CellErrorType) -> &'static str {
    match error {
        CellErrorType::Div0 => "#DIV/0!",
        CellErrorType::NA => "#N/A",
        CellErrorType::Name => "#NAME?",
        CellErrorType::Null => "#NULL!",
        CellErrorType::Num => "#NUM!",
        CellErrorType::Ref => "#REF!",
        CellErrorType::Value => "#VALUE!",
        CellErrorType::GettingData => "#DATA!",
    }
}
