//! Workbooks and texts in any encoding: proposed, decided, imported; hostile ones are refused with little memory.

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};

use accord_tests::{Federation, Said, accord};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Parts of a small workbook: sheets by name, as XML of their rows.
fn workbook(sheets: &[(&str, String)], texts: Option<Vec<u8>>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    let mut part = |name: &str, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    let head = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006/relationships";
    let numbered = || sheets.iter().enumerate().map(|(index, (name, rows))| (index + 1, name, rows));
    let list: String =
        numbered().map(|(n, name, _)| format!(r#"<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>"#)).collect();
    part(
        "xl/workbook.xml",
        format!(r#"{head}<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{list}</sheets></workbook>"#).as_bytes(),
    );
    let mut relations: String = numbered()
        .map(|(n, ..)| {
            format!(r#"<Relationship Id="rId{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>"#)
        })
        .collect();
    relations += &format!(r#"<Relationship Id="rId90" Type="{office}/styles" Target="styles.xml"/>"#);
    if texts.is_some() {
        relations += &format!(r#"<Relationship Id="rId91" Type="{office}/sharedStrings" Target="sharedStrings.xml"/>"#);
    }
    part(
        "xl/_rels/workbook.xml.rels",
        format!(r#"{head}<Relationships xmlns="{package}">{relations}</Relationships>"#).as_bytes(),
    );
    // Style 1 is a date.
    part(
        "xl/styles.xml",
        format!(r#"{head}<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#)
            .as_bytes(),
    );
    for (n, _, rows) in numbered() {
        let sheet = format!(r#"{head}<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>"#);
        part(&format!("xl/worksheets/sheet{n}.xml"), sheet.as_bytes());
    }
    if let Some(texts) = texts {
        part("xl/sharedStrings.xml", &texts);
    }
    part(
        "_rels/.rels",
        format!(r#"{head}<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#)
            .as_bytes(),
    );
    part(
        "[Content_Types].xml",
        format!(r#"{head}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#).as_bytes(),
    );
    zip.finish().unwrap().into_inner()
}

enum Cell<'a> {
    Text(&'a str),
    Number(&'a str),
    Date(u32),
    Blank,
}

fn row(number: u32, cells: &[Cell<'_>]) -> String {
    let cells: String = cells
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            let at = format!("{}{number}", char::from(b'A' + u8::try_from(index).unwrap()));
            match cell {
                Cell::Text(text) => format!(r#"<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>"#),
                Cell::Number(text) => format!(r#"<c r="{at}"><v>{text}</v></c>"#),
                Cell::Date(serial) => format!(r#"<c r="{at}" s="1"><v>{serial}</v></c>"#),
                Cell::Blank => String::new(),
            }
        })
        .collect();
    format!(r#"<row r="{number}">{cells}</row>"#)
}

// A case system's export: a page of notes, a title, headings in row 3, dates as serial numbers, a column nobody may import.
fn export() -> Vec<u8> {
    use Cell::{Blank, Date, Number, Text};
    let mut rows = row(1, &[Text("Export Sicherstellungen")]);
    rows += &row(
        3,
        &[
            "Vorgangsnummer",
            "Aktenzeichen",
            "Sicherstellungsdatum",
            "Stoff",
            "Menge (g)",
            "Ort",
            "Versteck",
            "Geburtsdatum",
        ]
        .map(Text),
    );
    let drugs = ["Kokain", "Kokainhydrochlorid", "Heroin", "Haschisch", "Zaubertrank"];
    for i in 0..20u32 {
        let (id, case) = (format!("ST {i}/23"), format!("AZ-{}", i / 2));
        let gram = format!("{}.25", 10 + i);
        let cells = [
            Text(&id),
            Text(&case),
            Date(45_000 + i),
            Text(drugs[i as usize % drugs.len()]),
            Number(&gram),
            if i % 2 == 0 { Text("Madrid") } else { Blank },
            Text("Gepäck"),
            Date(29_000),
        ];
        rows += &row(4 + i, &cells);
    }
    let notes = row(1, &[Text("Nur für den Dienstgebrauch")]);
    workbook(&[("Hinweise", notes), ("Sicherstellungen", rows)], None)
}

#[test]
fn the_export_of_a_case_system_comes_in_without_programming() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let operator = |arguments: &[&str]| federation.operator("ES-AGENCY", &[arguments, &["--json"]].concat());
    fs::write(federation.path().join("fälle.xlsx"), export()).unwrap();
    let proposed = operator(&["mapping", "new", "fälle.xlsx", "--out", "m.toml"]);
    assert_eq!(proposed.code, 0, "{}{}", proposed.stdout, proposed.stderr);
    let proposed = &proposed.json()["result"];
    assert_eq!(
        proposed["file"],
        serde_json::json!({"format": "xlsx", "encoding": null, "sheet": "Sicherstellungen", "header_row": 3})
    );
    assert_eq!(
        proposed["fields"],
        serde_json::json!(["record_id", "case_id", "date", "drug", "amount", "concealment"])
    );
    assert_eq!(proposed["open"], 1, "one word is nobody's: {proposed}");
    let text = fs::read_to_string(federation.path().join("m.toml")).unwrap();
    assert!(text.contains("\"Zaubertrank\" = \"?\"  # 4"), "{text}");
    assert!(text.contains("\"Geburtsdatum\",  # looks like personal data"), "{text}");
    assert!(!text.contains("AZ-1"), "no cell of another column is quoted: {text}");
    // It is not overwritten, and with the question open nothing is imported.
    assert_eq!(operator(&["mapping", "new", "fälle.xlsx", "--out", "m.toml"]).code, 2);
    let check = operator(&["mapping", "check", "m.toml"]);
    assert_eq!((check.code, check.json()["result"]["open"][0]["entry"].clone()), (3, "Zaubertrank".into()));
    assert_eq!(operator(&["import", "fälle.xlsx", "--mapping", "m.toml"]).json()["error"]["code"], "MAPPING");
    fs::write(
        federation.path().join("m.toml"),
        text.replace("\"Zaubertrank\" = \"?\"", "\"Zaubertrank\" = \"OTHER_O\""),
    )
    .unwrap();
    assert_eq!(operator(&["mapping", "check", "m.toml"]).json()["result"]["complete"], true);
    let said = operator(&["import", "fälle.xlsx", "--mapping", "m.toml", "--coverage", "2023"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    let report = &said.json()["result"];
    assert_eq!((report["rows"]["new"].clone(), report["cases"]["distinct"].clone()), (20.into(), 10.into()));
    assert_eq!(
        (report["coverage"]["seen_from"].clone(), report["coverage"]["seen_to"].clone()),
        ("2023-03".into(), "2023-04".into())
    );
    assert_eq!(
        (report["file"]["format"].clone(), report["file"]["sheet"].clone()),
        ("xlsx".into(), "Sicherstellungen".into())
    );
    assert_eq!((report["place"]["name"].clone(), report["place"]["region_unknown"].clone()), (10.into(), 10.into()));
    // The rows of the sheet are told as the sheet numbers them.
    let bad = operator(&["import", "fälle.xlsx", "--mapping", "unodc-ids", "--dry-run"]);
    assert_eq!(bad.json()["error"]["where"]["line"], 1);
    let short = text.replace("\"Zaubertrank\" = \"?\"", "\"Zauberspruch\" = \"OTHER_O\"");
    fs::write(federation.path().join("short.toml"), short).unwrap();
    let said = operator(&["import", "fälle.xlsx", "--mapping", "short.toml", "--dry-run"]).json();
    let lines: Vec<u64> =
        said["result"]["errors"].as_array().unwrap().iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [8, 13, 18, 23], "{said}");
    assert_eq!(
        said["result"]["unknown_words"][0],
        serde_json::json!({"column": "Stoff", "word": "Zaubertrank", "count": 4})
    );
    assert_eq!(operator(&["import", "fälle.xlsx", "--mapping", "m.toml"]).json()["result"]["rows"]["unchanged"], 20);
}

#[test]
fn texts_of_any_encoding_separator_and_decimal_sign_are_understood() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let operator = |arguments: &[&str]| federation.operator("ES-AGENCY", &[arguments, &["--json"]].concat());
    let text = "Numéro;Affaire;Date de saisie;Produit;Quantité;Unité\n".to_owned()
        + &(0..12)
            .map(|i| {
                let drug = ["Cocaïne", "Héroïne", "Résine de cannabis"][i % 3];
                format!("{i};A{i};{:02}/0{}/2023;{drug};{},5;grammes\n", 13 + i, i % 9 + 1, 1000 + i)
            })
            .collect::<String>();
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let latin: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    for (name, bytes) in [("utf8", text.clone().into_bytes()), ("latin", latin), ("utf16", utf16)] {
        let (file, out) = (format!("{name}.csv"), format!("{name}.toml"));
        fs::write(federation.path().join(&file), bytes).unwrap();
        let proposed = operator(&["mapping", "new", &file]);
        assert_eq!(proposed.code, 0, "{}", proposed.stdout);
        assert_eq!(
            proposed.json()["result"]["open"],
            0,
            "{name}: {}",
            fs::read_to_string(federation.path().join(&out)).unwrap()
        );
        let said = operator(&["import", &file, "--mapping", &out, "--dry-run"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stdout);
        let result = &said.json()["result"];
        assert_eq!((result["rows"]["selected"].clone(), result["rows"]["skipped"].clone()), (12.into(), 0.into()));
        assert_eq!(result["without_mass"], 0);
    }
}

#[test]
fn days_and_months_that_cannot_be_told_apart_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "id,date,drug\n1,03/04/2023,Cocaine\n2,05/06/2023,Heroin\n").unwrap();
    let said = accord(folder.path(), &["mapping", "new", "a.csv", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    let text = fs::read_to_string(folder.path().join("a.toml")).unwrap();
    assert!(text.contains("format = [\"?\"]") && text.contains("every cell fits both"), "{text}");
}

// Runs the tool with little memory: what does not fit is refused, never taken.
fn with_little_memory(folder: &Path, file: &str) -> Said {
    let program = accord_tests::program("accord");
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v 1500000; exec {} mapping new {file} --out x.toml --force --json", program.display()),
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn hostile_workbooks_are_refused_before_they_are_expanded() {
    let folder = tempfile::tempdir().unwrap();
    let good =
        row(1, &[Cell::Text("Datum"), Cell::Text("Stoff"), Cell::Text("Menge")]) + &row(2, &[Cell::Date(45_000)]);
    let bomb = [b"<sst><si><t>".as_slice(), &vec![b' '; 300 << 20], b"</t></si></sst>"].concat();
    let far = r#"<row r="1"><c r="XFD1" t="inlineStr"><is><t>x</t></is></c></row>"#.to_owned();
    let back = row(1, &[Cell::Text("a"), Cell::Text("b"), Cell::Text("c")])
        + &row(9, &[Cell::Number("1")])
        + &row(2, &[Cell::Number("1")]);
    let last = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>Datum</t></is></c><c r="B1" t="inlineStr"><is><t>b</t></is></c><c r="C1" t="inlineStr"><is><t>c</t></is></c></row><row r="1048576"><c r="A1048576"><v>1</v></c></row>"#;
    let entities = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>&lol;</t></is></c></row>"#.to_owned();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("bomb.xlsx", workbook(&[("S", good.clone())], Some(bomb)), "more than"),
        (
            "cell.xlsx",
            workbook(&[("S", row(1, &[Cell::Text(&"a".repeat(40 << 20))]))], None),
            "holds a text of more than",
        ),
        ("far.xlsx", workbook(&[("S", far)], None), "no sheet"),
        ("back.xlsx", workbook(&[("S", back)], None), "no sheet"),
        ("entities.xlsx", workbook(&[("S", entities)], None), "no sheet"),
        ("empty.xlsx", workbook(&[("S", String::new())], None), "no sheet"),
        ("cut.xlsx", workbook(&[("S", good)], None)[..400].to_vec(), ""),
        (
            "old.xlsx",
            [&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1][..], &[0; 600]].concat(),
            "old binary workbook",
        ),
        ("none.xlsx", Vec::new(), ""),
        ("zeros.xlsx", vec![0; 1 << 20], ""),
    ];
    for (name, bytes, want) in cases {
        fs::write(folder.path().join(name), bytes).unwrap();
        let said = with_little_memory(folder.path(), name);
        assert!((2..=3).contains(&said.code), "{name}: {} {}{}", said.code, said.stdout, said.stderr);
        let message = said.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(want), "{name}: {message}");
        assert!(!folder.path().join("x.toml").exists(), "{name}");
    }
    // The last row that a sheet can have costs no more than the first.
    fs::write(folder.path().join("last.xlsx"), workbook(&[("S", last.to_owned())], None)).unwrap();
    let said = with_little_memory(folder.path(), "last.xlsx");
    assert_eq!(said.json()["result"]["rows"], 1, "{}", said.stdout);
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    for path in ["pipe", ".", "/dev/zero", "missing.csv"] {
        for command in [["mapping", "new"].as_slice(), &["import"]] {
            let said = accord(folder.path(), &[command, &[path, "--json"]].concat());
            assert_eq!(said.code, 2, "{path}: {}", said.stdout);
        }
    }
}
