//! How answers must be handled: it travels with each, adds up in a pool, stands on every output, and binds who gets evidence.

use accord_tests::{Federation, Said, accord};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const PT: &str = "PT-AGENCY";

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

#[test]
fn the_strictest_of_all_answers_holds_for_the_whole_and_goes_with_every_line() {
    let federation = Federation::new(&[ES, IT, PT]);
    let set = |member: &str, from: &str, to: &str| federation.edit(&format!("{member}/node/node.toml"), from, to);
    set(IT, "code = \"H0\"", "code = \"H1\"");
    set(IT, "recipients = []", "recipients = [\"PT-AGENCY\", \"AT-AGENCY\"]");
    set(PT, "code = \"H0\"", "code = \"H2+H3\"");
    set(PT, "tlp = \"AMBER\"", "tlp = \"RED\"");
    set(PT, "embargo_days = 0", "embargo_days = 30");
    let _nodes = federation.start_all();
    let from = ["ask", "seizures-year-drug", "--period", "2021..2024", "--from", "IT-AGENCY,PT-AGENCY"];
    let files = ["--csv", "out.csv", "--evidence", "whole.json"];
    let answer = done(&federation.officer(&[from.as_slice(), &files, &["--json"]].concat()));
    let of = |index: usize| answer["partners"][index]["handling"].clone();
    assert_eq!((&of(0)["code"], &of(0)["recipients"]), (&json!("H1"), &json!(["AT-AGENCY", "PT-AGENCY"])));
    assert_eq!((&of(1)["code"], &of(1)["tlp"]), (&json!("H2+H3"), &json!("RED")));
    let whole = &answer["handling"];
    assert_eq!((&whole["code"], &whole["tlp"], &whole["recipients"]), (&json!("H1+H2+H3"), &json!("RED"), &json!([])));
    assert_eq!(whole["embargo_until"], of(1)["embargo_until"]);
    assert!(of(1)["embargo_until"].is_string() && of(0)["embargo_until"].is_null());

    // In words on the screen, and in every line of the file.
    let text = federation.officer(&from).stdout;
    for words in ["handling of the whole", "not in judicial proceedings", "TLP:RED", "not to be published before"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let csv = std::fs::read_to_string(federation.path().join("out.csv")).unwrap();
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().ends_with("handling,tlp,embargo_until,recipients"));
    for line in lines {
        let marks = if line.starts_with("member,IT-AGENCY") {
            ",H1,AMBER,,AT-AGENCY;PT-AGENCY".to_owned()
        } else {
            let code = if line.starts_with("member,PT-AGENCY") { "H2+H3" } else { "H1+H2+H3" };
            format!(",{code},RED,{},", whole["embargo_until"].as_str().unwrap())
        };
        assert!(line.ends_with(&marks), "{line}");
    }

    // Offline, from the file alone.
    let offline = |arguments: &[&str]| {
        accord(&federation.path(), &[&["evidence"], arguments, &["--federation", &federation.id, "--json"]].concat())
    };
    assert_eq!(done(&offline(&["verify", "whole.json"]))["handling"]["code"], "H1+H2+H3");
    let extract = |partner: &str, out: &str, to: &[&str]| {
        offline(&[&["extract", "whole.json", "--partner", partner, "--out", out], to].concat())
    };
    let part = done(&extract(IT, "it.json", &["--to", PT]));
    assert_eq!((&part["exchanges"], &part["handling"]["code"]), (&json!(1), &json!("H1")));
    let verified = done(&offline(&["verify", "it.json"]));
    let who: Vec<&str> =
        verified["statements"].as_array().unwrap().iter().map(|said| said["who"].as_str().unwrap()).collect();
    assert_eq!((who, &verified["pool_recomputed"]), (vec![IT], &json!(true)));
    // The whole file has what Portugal answered; the part has nothing of it.
    let file = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(federation.path().join(name)).unwrap()).unwrap()
    };
    let theirs = file("whole.json")["exchanges"][1]["reply"]["head"].clone();
    assert!(!file("it.json").to_string().contains(theirs.as_str().unwrap()));
    assert!(!file("it.json")["pooled"].to_string().contains(PT));

    // Not to whom the partner does not let it go; back to the partner itself it may.
    for (partner, to) in [(IT, "DK-AGENCY"), (PT, IT)] {
        let refused = extract(partner, "no.json", &["--to", to]);
        assert_eq!((refused.code, &refused.json()["error"]["code"]), (3, &json!("HANDLING")), "{partner} {to}");
        assert!(!federation.path().join("no.json").exists());
    }
    done(&extract(PT, "pt.json", &["--to", PT]));
    let unknown = extract("AT-AGENCY", "no.json", &[]);
    assert_eq!((unknown.code, &unknown.json()["error"]["code"]), (3, &json!("NOT-VERIFIED")));
    assert_eq!(extract(IT, "it.json", &[]).code, 2, "an existing file is not replaced");
}
