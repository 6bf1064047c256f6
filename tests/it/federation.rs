//! Several agencies answer one question: every status and every state of a cell, through real processes.

use accord_tests::Federation;
use serde_json::Value;

fn partner<'a>(result: &'a Value, member: &str) -> &'a Value {
    result["partners"].as_array().unwrap().iter().find(|partner| partner["member"] == member).unwrap()
}

fn row<'a>(result: &'a Value, time: &str, drug: &str) -> &'a Value {
    let rows = result["pooled"].as_array().unwrap();
    rows.iter().find(|row| row["key"]["time"] == time && row["key"]["drug"] == drug).unwrap()
}

#[test]
fn two_agencies_answer_and_the_evidence_proves_it_elsewhere() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let said = federation.officer(&[
        "ask",
        "seizures-year-drug",
        "--from",
        "IT-AGENCY,ES-AGENCY",
        "--period",
        "2021..2025",
        "--case-ref",
        "OP-7",
        "--evidence",
        "kept.json",
        "--csv",
        "kept.csv",
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    let envelope = said.json();
    let result = &envelope["result"];
    assert_eq!(result["complete"], true);
    assert_eq!(envelope["warnings"][0]["message"], "NOT PROTECTED AGAINST SUBTRACTION - FOR TESTS ONLY");
    for member in ["IT-AGENCY", "ES-AGENCY"] {
        let partner = partner(result, member);
        assert_eq!(partner["status"], "answered");
        assert_eq!(partner["edition"]["protection"], "primary-only");
        assert_eq!(partner["handling"]["tlp"], "AMBER");
    }
    // The pooled number is the sum of what each said.
    let pooled = &row(result, "2024", "COC")["values"]["seizures"];
    let parts: i64 = result["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| cell["key"]["time"] == "2024" && cell["key"]["drug"] == "COC")
        .map(|cell| cell["values"]["seizures"]["value"].as_i64().unwrap())
        .sum();
    assert_eq!(pooled["value"].as_i64().unwrap(), parts);
    assert_eq!(pooled["lower_bound"], false);
    assert_eq!(pooled["from"], serde_json::json!(["IT-AGENCY", "ES-AGENCY"]), "in the order asked");

    // Offline, in another folder, without a profile: the federation's id comes from outside.
    let away = tempfile::tempdir().unwrap();
    let kept = federation.path().join("kept.json").display().to_string();
    let verify = |extra: &[&str]| {
        accord_tests::accord(away.path(), &[["evidence", "verify", &kept, "--json"].as_slice(), extra].concat())
    };
    let good = verify(&["--federation", &federation.id]);
    assert_eq!(good.code, 0, "{}", good.stdout);
    let proved = good.json();
    assert_eq!(proved["result"]["verified"], true);
    assert_eq!(proved["result"]["pool_recomputed"], true);
    assert_eq!(proved["result"]["statements"].as_array().unwrap().len(), 2);
    assert_eq!(verify(&["--profile", "nowhere"]).code, 2, "no federation id from outside");
    let other = "0".repeat(64);
    assert_eq!(verify(&["--federation", &other]).code, 3, "another federation");
    assert_eq!(verify(&["--federation", &federation.id, "--at", "2020-01-01T00:00:00Z"]).code, 3, "later than allowed");
    assert_eq!(verify(&["--federation", &federation.id, "--require", "logged"]).code, 3, "no log proof yet");

    // One digit of a pooled number, one byte of a slice: neither passes.
    let text = std::fs::read_to_string(&kept).unwrap();
    let mut bundle: Value = serde_json::from_str(&text).unwrap();
    bundle["pooled"][0]["values"][0]["value"] = serde_json::json!(999_999);
    std::fs::write(&kept, bundle.to_string()).unwrap();
    let forged = verify(&["--federation", &federation.id]);
    assert_eq!((forged.code, forged.json()["result"]["failed"][0]["part"].clone()), (3, serde_json::json!("pooled")));
    let mut bundle: Value = serde_json::from_str(&text).unwrap();
    let slice = bundle["exchanges"][0]["reply"]["slice"].as_str().unwrap().to_owned();
    let changed = format!("{}{}", &slice[..slice.len() - 1], if slice.ends_with('0') { '1' } else { '0' });
    bundle["exchanges"][0]["reply"]["slice"] = serde_json::json!(changed);
    std::fs::write(&kept, bundle.to_string()).unwrap();
    assert_eq!(verify(&["--federation", &federation.id]).code, 3);

    // Fabrications: an exchange twice with doubled numbers, a claim that needs a signature, nothing at all, another question.
    let forge = |change: &dyn Fn(&mut Value)| {
        let mut bundle: Value = serde_json::from_str(&text).unwrap();
        change(&mut bundle);
        std::fs::write(&kept, bundle.to_string()).unwrap();
        let said = verify(&["--federation", &federation.id]);
        assert_eq!(said.code, 3, "{}", said.stdout);
        said.json()["result"]["failed"][0]["part"].as_str().unwrap().to_owned()
    };
    let twice = forge(&|bundle| {
        let first = bundle["exchanges"][0].clone();
        bundle["exchanges"].as_array_mut().unwrap().push(first);
    });
    assert_eq!(twice, "exchanges");
    let claimed = forge(&|bundle| {
        bundle["exchanges"][0]["reply"] = Value::Null;
        bundle["exchanges"][0]["without_reply"] = "suppressed".into();
    });
    assert_eq!(claimed, "exchanges[0]");
    let empty = forge(&|bundle| {
        bundle["exchanges"] = serde_json::json!([]);
        bundle["pooled"] = serde_json::json!([]);
    });
    assert_eq!(empty, "exchanges");
    assert_eq!(forge(&|bundle| bundle["question_id"] = "00".repeat(16).into()), "question_id");

    let csv = std::fs::read_to_string(federation.path().join("kept.csv")).unwrap();
    assert!(csv.starts_with("row,member,time,drug,measure,unit,state,value,lower_bound,from,missing,protection,handling,tlp,embargo_until,recipients\n"));
    assert!(csv.lines().skip(1).all(|line| line.contains(",NOT PROTECTED AGAINST SUBTRACTION - FOR TESTS ONLY,")));
}

#[test]
fn a_bundle_of_another_federation_with_the_same_names_is_refused() {
    let (ours, theirs) = (Federation::new(&["ES-AGENCY", "IT-AGENCY"]), Federation::new(&["ES-AGENCY", "IT-AGENCY"]));
    assert_ne!(ours.id, theirs.id);
    let said = accord_tests::accord(
        &theirs.path(),
        &["evidence", "verify", "evidence.json", "--federation", &ours.id, "--json"],
    );
    assert_eq!(said.code, 3);
    assert!(
        said.json()["error"]["message"].as_str().unwrap().contains("not the federation asked about"),
        "{}",
        said.stdout
    );
    let own =
        accord_tests::accord(&theirs.path(), &["evidence", "verify", "evidence.json", "--federation", &theirs.id]);
    assert_eq!(own.code, 0, "{}", own.stderr);
}

#[test]
fn a_partner_that_refuses_and_one_that_is_down_are_named_and_make_lower_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let demo = accord_tests::demo();
    let demo: Vec<&str> = demo.iter().map(String::as_str).collect();
    let staged = ["--refuse", "AT", "--stop", "DK-AGENCY", "--json"];
    let said = accord_tests::accord(dir.path(), &[demo.as_slice(), &staged].concat());
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let envelope = said.json();
    let result = &envelope["result"];
    assert_eq!(result["complete"], false);
    assert_eq!(result["evidence"]["verified"], true);
    assert_eq!(result["nodes"].as_array().unwrap().len(), 5);
    let words: Vec<_> = ["IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY"]
        .map(|member| partner(result, member)["status"].clone())
        .to_vec();
    assert_eq!(words, ["answered", "answered", "refused", "unreachable"]);
    assert_eq!(partner(result, "AT-AGENCY")["refusal"]["code"], "E_UNAVAILABLE");
    let pooled = &row(result, "2024", "COC")["values"]["seizures"];
    assert_eq!(pooled["lower_bound"], true);
    let missing = pooled["missing"].as_array().unwrap();
    assert_eq!((missing[0]["why"].clone(), missing[1]["why"].clone()), ("refused".into(), "unreachable".into()));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing stays behind: {left:?}");
}

#[test]
fn all_five_states_of_a_cell_are_reached() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    // Italy shows zeros; Portugal grants nothing any more.
    federation.edit("IT-AGENCY/node/node.toml", "zeros = \"hidden\"", "zeros = \"shown\"");
    federation.install_policy("PT-AGENCY", "");
    let _nodes = federation.start_all();
    assert_eq!(federation.operator("IT-AGENCY", &["edition", "publish"]).code, 0);
    let said = federation.officer(&[
        "ask",
        "seizures-year-drug",
        "--from",
        "IT-AGENCY,PT-AGENCY",
        "--period",
        "2019..2025",
        "--json",
    ]);
    assert_eq!(said.code, 1, "{}", said.stdout);
    let envelope = said.json();
    let result = &envelope["result"];
    let mut states: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for cell in result["cells"].as_array().unwrap() {
        assert_eq!(cell["member"], "IT-AGENCY", "a refusal has no cells");
        let value = &cell["values"]["seizures"];
        let zero = value["value"] == 0;
        states.insert(if zero { "zero".into() } else { value["state"].as_str().unwrap().to_owned() });
        if cell["key"]["time"] == "2019" {
            assert_eq!(value["state"], "not_available");
        }
    }
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["not_available", "suppressed", "value", "zero"]);
    assert_eq!(partner(result, "PT-AGENCY")["status"], "refused");
    // A forecast says the same of every cell, but for the numbers.
    let forecast =
        ["tables", "seizures-year-drug", "--forecast", "--from", "IT-AGENCY,PT-AGENCY", "--period", "2019..2025"];
    let said = federation.officer(&[forecast.as_slice(), &["--json"]].concat());
    assert_eq!(said.code, 1, "{}", said.stdout);
    let envelope = said.json();
    let levels = partner(&envelope["result"], "IT-AGENCY")["levels"].as_array().unwrap();
    let level = levels.iter().find(|level| level["levels"] == "time=year,drug=group").unwrap();
    let pattern = level["cells"].as_array().unwrap();
    let asked = result["cells"].as_array().unwrap();
    assert_eq!(pattern.len(), asked.len());
    for cell in asked {
        let same = pattern.iter().find(|of| of["key"] == cell["key"]).unwrap();
        assert_eq!(same["states"]["seizures"], cell["values"]["seizures"]["state"], "{}", cell["key"]);
    }
    let refused = partner(&envelope["result"], "PT-AGENCY");
    assert_eq!((&refused["status"], &refused["levels"]), (&"refused".into(), &serde_json::json!([])));
    let said = federation.officer(&forecast);
    assert!(said.stdout.contains("PT-AGENCY refused: E_UNAVAILABLE"), "{}", said.stdout);
    assert!(said.stdout.contains("IT-AGENCY  time=year,drug=group"), "{}", said.stdout);
}

#[test]
fn what_is_counted_differently_is_not_added_up() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    // The federation changes what one measure is rounded to. Italy has not published under the new catalogue yet.
    let text = accord_protocol::catalogue::SHIPPED.replacen("step = 100000", "step = 1000000", 1);
    std::fs::write(path.join("new.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        let said = accord_tests::accord(&path, arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
    };
    let rings = ["--yes", "--ring", "root-1/root.ring", "--ring", "root-2/root.ring"];
    let root = ["--with", "public/root.accord"];
    let made = ["federation", "catalogue", "--file", "new.toml", "--out", "public/catalogue-2.accord"];
    run(&[made.as_slice(), &root].concat());
    run(&[["federation", "sign", "public/catalogue-2.accord"].as_slice(), &rings].concat());
    run(&[
        "federation",
        "propose",
        "--with",
        "public/roster.accord",
        "--catalogue",
        "public/catalogue-2.accord",
        "--out",
        "public/roster-2.accord",
    ]);
    run(&[["federation", "sign", "public/roster-2.accord"].as_slice(), &rings].concat());
    for member in ["ES-AGENCY", "IT-AGENCY"] {
        let node = format!("{member}/node");
        let said = accord_tests::accord_node(
            &path,
            &["install", &node, "--federation", &federation.id, "public/roster-2.accord"],
        );
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    std::fs::remove_dir_all(path.join("officer/trust")).unwrap();
    std::fs::rename(path.join("ES-AGENCY/node/operator/trust"), path.join("officer/trust")).unwrap();
    let _nodes = federation.start_all();
    let said = federation.officer(&[
        "ask",
        "seizures-year-drug",
        "--from",
        "IT-AGENCY",
        "--period",
        "2021..2025",
        "--evidence",
        "kept.json",
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    let envelope = said.json();
    let result = &envelope["result"];
    assert_eq!(partner(result, "IT-AGENCY")["status"], "answered");
    let cell = &result["cells"].as_array().unwrap()[0];
    assert_eq!(cell["values"]["quantity_mg"]["state"], "not_comparable");
    assert_ne!(cell["values"]["seizures"]["state"], "not_comparable");
    assert!(result["footnotes"][0]["text"].as_str().unwrap().contains("rounded to 1000000 here, to 100000 there"));
    assert_eq!(row(result, "2024", "COC")["values"]["quantity_mg"]["missing"][0]["why"], "not_comparable");
    let verified = accord_tests::accord(&path, &["evidence", "verify", "kept.json", "--federation", &federation.id]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    // An older roster does not come back.
    let node = "IT-AGENCY/node";
    let said =
        accord_tests::accord_node(&path, &["install", node, "--federation", &federation.id, "public/roster.accord"]);
    assert_eq!(said.code, 3);
    assert!(said.stderr.contains("older than roster 2 in force"), "{}", said.stderr);
}

#[test]
fn long_questions_are_asked_in_parts_and_pooled_as_one() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let said = federation.officer(&[
        "ask",
        "seizures-year-drug",
        "--from",
        "IT-AGENCY",
        "--period",
        "2019-01..2025-12",
        "--by",
        "time=month,drug=substance",
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    let envelope = said.json();
    let result = &envelope["result"];
    assert_eq!(partner(result, "IT-AGENCY")["request_ids"].as_array().unwrap().len(), 2);
    assert_eq!(result["axes"][0]["codes"].as_array().unwrap().len(), 7 * 16);
    let regions = federation
        .officer(&["ask", "seizures-year-drug-region", "--period", "2024", "--by", "region=nuts2", "--json"])
        .json();
    let codes = regions["result"]["axes"][2]["codes"].as_array().unwrap().clone();
    assert!(codes.iter().any(|code| code == "ITC4") && !codes.iter().any(|code| code == "ES30"));
}

#[test]
fn equal_content_makes_no_new_number_and_new_records_do() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let publish = || federation.operator("ES-AGENCY", &["edition", "publish", "--json"]).json();
    let again = publish();
    assert_eq!(again["result"]["edition"], 1);
    assert!(again["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "UNCHANGED"));
    let set = federation.operator("ES-AGENCY", &["coverage", "set", "seizure", "2021..2021", "none"]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    let next = publish();
    assert_eq!(next["result"]["edition"], 2);
    let list = federation.operator("ES-AGENCY", &["edition", "list", "--json"]).json();
    let states: Vec<_> =
        list["result"]["editions"].as_array().unwrap().iter().map(|edition| edition["state"].clone()).collect();
    assert_eq!(states, ["superseded", "current"]);
    let show = federation.operator("ES-AGENCY", &["edition", "show", "1", "--json"]).json();
    assert_eq!(show["result"]["state"], "superseded");
}
