//! Texts that people write and files that they bring: whatever is read keeps the rules of its kind and reads back as it was.
#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Display},
    io::BufReader,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use accord_edge::rows::{NotARow, RowSplitter, Split};
use accord_fuzz::{edits::edit, federation::catalogue_text, input::Input};
use accord_node::domain::{
    import::{
        date::earliest,
        mapping::{self, Mapping, open_points},
        row::{Reading, Row, RowReader},
    },
    rates::{RATES_MAX, Rates},
    record::Line,
};
use accord_policy::{Ask, Decision, Policy, Texts, World};
use accord_protocol::{
    catalogue::{CELL_WIDTH_MAX, Catalogue, CatalogueDocument, SHIPPED, TABLE_CELLS_MAX},
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId, RequestId},
    key::PublicKey,
    layout::{self, KINDS},
    message::{CoverageCall, EditionCall, HelloReply, ImportCall, MappingCall, PersonReply, RatesCall, RecordsCall},
    officers::Purpose,
    pattern,
    signed::Preamble,
    text::{fold_case, fold_word, is_note, shown},
    time::{Date, Months, Period, UnixMs},
};
use serde::{Serialize, de::DeserializeOwned};

accord_fuzz::target!(texts);

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::parse(SHIPPED).unwrap());
static RATES: LazyLock<Arc<Rates>> =
    LazyLock::new(|| Arc::new(Rates::parse("Date,USD,SEK\n2014-05-17,1.08,11.6\n").unwrap()));

/// Reads a text as one kind; whether it was taken comes back.
type Reader = fn(&str) -> bool;

/// Every reader, with valid texts for it.
static READERS: LazyLock<[(Reader, Vec<String>); 8]> = LazyLock::new(|| {
    let rows_of = |kind: u8, layout: &str| format!("{}{layout}", char::from(kind));
    let [(_, unodc), (_, purity), (_, price)] = mapping::SHIPPED;
    let price_row = "12,75.5,1000,10,FL\n";
    [
        (catalogue, vec![SHIPPED.to_owned(), catalogue_text()]),
        (mapping, vec![unodc.to_owned(), purity.to_owned(), format!("{price}\0{price_row}")]),
        (rates, vec!["Date,USD,SEK\n2014-05-17,1.08,11.6\n2014-05-16,1.07,N/A\n".to_owned()]),
        (policy, vec![GRANTS.to_owned(), format!("{GRANTS}\0{CEDAR}")]),
        (dates, DATES.map(str::to_owned).to_vec()),
        (names, NAMES.map(str::to_owned).to_vec()),
        (calls, CALLS.map(str::to_owned).to_vec()),
        (
            import,
            vec![
                rows_of(0, include_str!("../../../docs/layout/seizure.csv")),
                rows_of(1, include_str!("../../../docs/layout/purity.csv")),
                rows_of(2, include_str!("../../../docs/layout/price.csv")),
                rows_of(3, include_str!("../../../docs/layout/site.csv")),
            ],
        ),
    ]
});

const GRANTS: &str = r#"[[grant]]
partner = ["IT-AGENCY", "PT-AGENCY"]
table = ["seizures-year-drug"]
finest = { time = "quarter", drug = "substance" }
purpose = ["strategic-analysis", "test"]
until = "2027-01-01"
"#;

const CEDAR: &str = r#"@id("not-italy")
forbid (principal == Accord::Member::"IT-AGENCY", action in Accord::Action::"receive", resource)
when { context.purpose == "test" && context.thisMonth - context.lastMonth > 24 };
"#;

const DATES: [&str; 6] =
    ["2014-05-17", "17.05.2014\nDD.MM.YYYY", "201405\nYYYYMM", "41776\nexcel", "3.4.21\nD.M.YY", "2014\nYYYY"];

const NAMES: [&str; 5] = ["ES-AGENCY", "2014-05-17T01:02:03Z", "2014-05-17", "2014-Q1", "2014-05..2015-01"];

const CALLS: [&str; 7] = [
    r#"{"do":"preview","table":null,"cells":false}"#,
    r#"{"do":"set","kind":"seizure","months":"2014-01..2014-02","state":"complete"}"#,
    r#"{"do":"check","text":"a"}"#,
    r#"{"do":"undo","id":"imp-000003","reason":"twice"}"#,
    r#"{"member":"ES-AGENCY","role":"officer","now_ms":1,"version":"0.1.0","trust":"00"}"#,
    r#"{"exit":0,"result":["a"],"warnings":[{"code":"A","message":"b"}],"error":null}"#,
    r#"{"kind":"seizure","mapping":{"name":"x"},"only":["a","b"],"coverage":null,"dry_run":false,"skip_bad":false,
        "file_name":"a.csv","correct":null,"format":"csv","sha256":"00","bytes":1,"converted":null,"import_key":"00"}"#,
];

/// The first byte chooses what is read: the rest as text of one kind, a valid text with the edits that the rest describes, or rows.
/// Bytes that are no text are read as rows alone.
fn texts(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.below(2 * READERS.len() + 1);
    let Some((reader, valid)) = READERS.get(choice % READERS.len()).filter(|_| choice < 2 * READERS.len()) else {
        return rows(&mut input);
    };
    if choice < READERS.len() {
        match std::str::from_utf8(data.get(1..).unwrap_or_default()) {
            Ok(text) => drop(reader(text)),
            Err(_) => rows(&mut input),
        }
        return;
    }
    let mut bytes = valid[input.below(valid.len())].clone().into_bytes();
    let untouched = input.is_empty();
    while !input.is_empty() {
        edit(&mut bytes, &mut input);
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(reader(&text) || !untouched, "a valid text is not taken: {text}");
}

fn catalogue(text: &str) -> bool {
    let Ok(catalogue) = Catalogue::parse(text) else { return false };
    let document = CatalogueDocument { preamble: Preamble, text: Bounded::new(text.as_bytes().to_vec()).unwrap() };
    assert_eq!(catalogue.hash, Hash::of(&encode(&document).unwrap()));
    assert!(catalogue.tables().is_sorted_by(|a, b| a.id < b.id));
    for table in catalogue.tables() {
        assert_eq!(catalogue.table(&table.name).map(|found| found.id), Some(table.id));
        assert!(
            table.width() <= CELL_WIDTH_MAX
                && table.width_of(&(0..table.measures.len()).collect::<Vec<_>>()) == table.width()
        );
        let sets = table.level_sets();
        assert!(sets.iter().all(|set| u64::from(set.measures) < 1 << table.measures.len()));
        assert!(table.cells("DE").unwrap() <= TABLE_CELLS_MAX);
        assert!((0..table.measures.len()).all(|place| table.incomparable(table, place).is_none()));
    }
    true
}

/// A mapping, and behind a NUL rows for it.
fn mapping(text: &str) -> bool {
    let (text, rows) = text.split_once('\0').unwrap_or((text, ""));
    let open = open_points(text);
    let Ok(mapping) = Mapping::parse(text) else { return false };
    assert_eq!(open, Ok(Vec::new()), "a mapping is taken while a point of it is open");
    assert!(!mapping.is_canonical() && mapping.delimiter.is_ascii() && mapping.sha256 == Hash::of(text.as_bytes()));
    let columns: BTreeSet<&str> = mapping.fields.values().map(|source| source.column.trim()).collect();
    let header: Vec<&str> = columns.into_iter().chain(mapping.place_columns.iter().map(String::as_str)).collect();
    let delimiter = mapping.delimiter;
    let Ok(reader) = row_reader(mapping.clone(), &header) else { return false };
    read_rows(&reader, rows.as_bytes(), delimiter);
    true
}

/// A file in the canonical layout of the kind that its first character names.
fn import(text: &str) -> bool {
    let mut characters = text.chars();
    let kind = KINDS[characters.next().map_or(0, |first| first as usize) % KINDS.len()];
    let text = characters.as_str();
    let mapping = Mapping::canonical(kind).unwrap();
    assert_eq!(mapping.fields.len(), layout::fields(kind).len());
    let (header, rows) = text.split_once('\n').unwrap_or((text, ""));
    let names: Vec<&str> = header.split(',').collect();
    row_reader(mapping, &names).is_ok_and(|reader| read_rows(&reader, rows.as_bytes(), b',') > 0)
}

fn row_reader(mapping: Mapping, header: &[&str]) -> Result<RowReader, ()> {
    let today = "2026-11-24".parse().unwrap();
    let reading = Reading { country: "ES".into(), only: None, today, rates: RATES.clone() };
    RowReader::new(mapping, header, reading).map_err(|fault| {
        assert_harmless(&fault.message);
        assert_harmless(fault.column.as_deref().unwrap_or_default());
    })
}

/// Every row is a record that can be stored and read back, or a fault whose words can be shown. How many are records.
fn read_rows(reader: &RowReader, text: &[u8], delimiter: u8) -> usize {
    let mut records = 0;
    let mut splitter = RowSplitter::new(text, delimiter);
    while let Ok(Split::Row { fields, .. }) = splitter.next_row() {
        match reader.read(&fields) {
            Ok(Row::NotSelected) => panic!("no selection was made"),
            Ok(Row::Record(record)) => {
                assert_eq!(record.line.kind(), reader.mapping().kind);
                assert!(earliest(record.line.common().date).is_some_and(|date| date.year() <= 2026));
                let bytes = encode(&record.line).unwrap();
                assert_eq!(decode::<Line>(&bytes, Cap::Document).unwrap(), record.line);
                records += 1;
            }
            Err(fault) => {
                assert_harmless(&fault.message);
                assert_harmless(fault.word.as_deref().unwrap_or_default());
            }
        }
    }
    records
}

/// What comes from a file does nothing to a terminal.
fn assert_harmless(text: &str) {
    assert!(!text.contains(|character: char| character.is_control() || character == '\u{202e}'), "{text:?}");
}

fn rates(text: &str) -> bool {
    let Ok(rates) = Rates::parse(text) else { return false };
    assert!(rates.len() <= RATES_MAX as u64);
    let mut by_day: BTreeMap<i64, BTreeMap<&str, u64>> = BTreeMap::new();
    for (currency, series) in rates.series() {
        for (day, units) in series.days() {
            assert!(units > 0 && Date::from_days(day).to_days() == day);
            let found = series.last_before(Date::from_days(day)).unwrap();
            assert_eq!((found.day, found.units_e8), (day, units));
            by_day.entry(day).or_default().insert(currency, units);
        }
    }
    // Written as a table of the same form it is the same.
    let header: Vec<&str> = rates.series().map(|(currency, _)| currency).collect();
    let mut table = format!("Date,{}\n", header.join(","));
    for (day, of_day) in &by_day {
        let cell = |currency| {
            of_day
                .get(currency)
                .map_or_else(String::new, |units| format!("{}.{:08}", units / 100_000_000, units % 100_000_000))
        };
        let cells: Vec<String> = header.iter().map(cell).collect();
        let date = Date::from_days(*day).to_string();
        table += &([date, cells.join(",")].join(",") + "\n");
    }
    if !header.is_empty() {
        assert_eq!(Rates::parse(&table).as_ref(), Ok(&rates));
    }
    assert_eq!(rates.clone().merge(&rates), Ok(0));
    true
}

/// A policy: rows, and behind a zero byte Cedar. What rows alone decide is what each of them says by itself.
fn policy(text: &str) -> bool {
    let (rows, cedar) = text.split_once('\0').unwrap_or((text, ""));
    let members = ["IT-AGENCY", "PT-AGENCY"].map(|name| name.parse::<NodeId>().unwrap());
    let all = members.iter().cloned().collect();
    let world = World { members: &all, catalogue: &CATALOGUE, strict: true };
    let Ok(policy) = Policy::new(Texts { rows, cedar }, world) else { return false };
    let table = CATALOGUE.table("seizures-year-drug").unwrap();
    let months = Months::new((2024, 1), (2024, 12)).unwrap();
    for (levels, purpose) in [([0, 1], Purpose::StrategicAnalysis), ([2, 2], Purpose::Test)] {
        for now in [UnixMs(0), UnixMs(1_795_500_000_000), UnixMs(u64::MAX)] {
            let ask = Ask { member: &members[0], table, levels: &levels, purpose, topic: false, months, now };
            let decision = policy.decide(ask);
            let discoverable = policy.discoverable(&members[0], table, now) == Ok(true);
            if cedar.is_empty() && now.0 < u64::MAX {
                let covers = policy.explain(ask).iter().any(|verdict| verdict.lacks.is_empty());
                assert_eq!(matches!(decision, Decision::Permit(..)), covers, "{decision:?}");
                assert!(!covers || discoverable);
            }
            assert!(now.0 < u64::MAX || !matches!(decision, Decision::Permit(..)), "outside the calendar");
        }
    }
    true
}

/// A date by a pattern; the two are parted by a line feed.
fn dates(text: &str) -> bool {
    let mut taken = false;
    let (text, own) = text.split_once('\n').unwrap_or((text, text));
    for pattern in
        [own, "YYYY-MM-DD", "DD.MM.YYYY", "YYYYMM", "YYYY", "D.M.YY", "YYYY-MM-DDThh:mm:ss", "excel", "excel-1904"]
    {
        let Some(parts) = pattern::read(text, pattern) else { continue };
        taken = true;
        let date = Date::new(parts.year, parts.month.max(1), parts.day.max(1)).expect("a day of the calendar");
        let written = match pattern {
            "YYYY-MM-DD" => date.to_string(),
            "DD.MM.YYYY" => format!("{:02}.{:02}.{:04}", date.day(), date.month(), date.year()),
            "YYYYMM" => format!("{:04}{:02}", date.year(), date.month()),
            "YYYY" => format!("{:04}", date.year()),
            _ => continue,
        };
        assert_eq!(written, text, "{pattern} has a second spelling of {date}");
    }
    taken
}

/// Names, times and hashes, each with one spelling; words, which fold to one.
fn names(text: &str) -> bool {
    fn one_spelling<T: FromStr + Display>(text: &str) -> bool {
        let value = text.parse::<T>();
        value.is_ok_and(|value| {
            assert_eq!(value.to_string(), text);
            true
        })
    }
    let mut taken = [
        one_spelling::<NodeId>(text),
        one_spelling::<Hash>(text),
        one_spelling::<RequestId>(text),
        one_spelling::<PublicKey>(text),
        one_spelling::<UnixMs>(text),
        one_spelling::<Date>(text),
        one_spelling::<Period>(text),
    ]
    .contains(&true);
    if let Ok(months) = text.parse::<Months>() {
        let (from, to) = months.ends();
        assert!(months.is_valid() && format!("{from}..{to}").parse() == Ok(months));
        taken = true;
    }
    for fold in [fold_case, fold_word] {
        assert_eq!(fold(&fold(text)), fold(text), "folding again changes {text:?}");
    }
    assert_harmless(&shown(text));
    if is_note(text) {
        assert_harmless(text);
    }
    taken
}

/// What a person's tool and its node say to each other in JSON.
fn calls(text: &str) -> bool {
    fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> bool {
        let value = serde_json::from_str::<T>(text);
        value.is_ok_and(|value| {
            let written = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<T>(&written).unwrap(), value);
            true
        })
    }
    [
        same::<ImportCall>(text),
        same::<RecordsCall>(text),
        same::<RatesCall>(text),
        same::<MappingCall>(text),
        same::<EditionCall>(text),
        same::<CoverageCall>(text),
        same::<HelloReply>(text),
        same::<PersonReply<Vec<String>>>(text),
    ]
    .contains(&true)
}

/// What a splitter gave: the line and the fields, or what is wrong.
type Splits = Vec<(u64, Result<Vec<String>, NotARow>)>;

/// Bytes as rows: the same in any pieces, at the lines where they stand, and the same again after they are written.
fn rows(input: &mut Input<'_>) {
    let delimiter = input.one_of(b",;\t|").unwrap();
    // A byte-order mark is looked for in what the first read brings, at least three bytes of a real file.
    let capacity = 3 + usize::from(input.byte());
    let bytes = input.rest();
    let whole = split(bytes, delimiter, bytes.len().max(3));
    assert_eq!(split(bytes, delimiter, capacity), whole, "in pieces of {capacity} bytes");
    assert!(whole.is_sorted_by(|a, b| a.0 <= b.0), "lines go back");
    let ends = bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() as u64;
    assert!(whole.last().is_none_or(|(line, _)| *line <= ends + 1), "a row behind the end");
    let fields: Option<Vec<&Vec<String>>> = whole.iter().map(|(_, row)| row.as_ref().ok()).collect();
    let Some(fields) = fields else { return };
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('"')
    {
        assert_eq!(fields, plain(text, delimiter).iter().collect::<Vec<_>>());
    }
    let written: String = fields
        .iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            cells.join(&char::from(delimiter).to_string()) + "\n"
        })
        .collect();
    let again = split(written.as_bytes(), delimiter, 4096);
    if written.len() < 60_000 {
        assert!(again.iter().map(|(_, row)| row.as_ref().unwrap()).eq(fields));
    }
}

fn split(bytes: &[u8], delimiter: u8, capacity: usize) -> Splits {
    let mut splitter = RowSplitter::new(BufReader::with_capacity(capacity, bytes), delimiter);
    let mut splits = Vec::new();
    loop {
        match splitter.next_row().unwrap() {
            Split::End => return splits,
            Split::Row { fields, line } => splits.push((line, Ok(fields.iter().map(ToString::to_string).collect()))),
            Split::Fault { why, line, .. } => {
                splits.push((line, Err(why)));
                // Nobody reads on behind a record whose end was not found.
                if why != NotARow::Encoding {
                    return splits;
                }
            }
        }
    }
}

/// Rows of a text without quotes, read line by line.
fn plain(text: &str, delimiter: u8) -> Vec<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
    lines.map(|line| line.split(char::from(delimiter)).map(str::to_owned).collect()).collect()
}
