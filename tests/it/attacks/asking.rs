//! Attacks on the seizures of one edition by asking: again, as somebody else, of several members, for errors and bytes.

use accord_protocol::codec::Bounded;
use accord_tests::{accord, member::Member, officer::Officer};
use serde_json::{Value, json};

use super::{
    ES, IT, PT, Seizures, Stage,
    attacker::Attacker,
    cells,
    one_edition::{HUB, LISTS, REGION, WEIGHT, all_of, is_protected},
    request, said_on_the_wire, values,
};

// An officer of a second member, to whom the provider grants the groups of drugs alone.
pub(super) fn second_officer(stage: &mut Stage) {
    let path = stage.federation.path();
    let done = |arguments: &[&str]| {
        let said = accord(&path, &[arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
    };
    for number in ["1", "2"] {
        let (profile, ring) = (format!("pt-admin-{number}"), format!("{PT}/admin-{number}/admin.ring"));
        let to = ["profile", "new", &profile, "--member", PT, "--ring", &ring, "--federation", &stage.federation.id];
        done(&[to.as_slice(), &["public/federation.accord", &format!("{PT}/staff.accord")]].concat());
    }
    let people = &stage.nodes[PT].people;
    done(&[
        "--profile",
        "pt-admin-1",
        "officer",
        "invite",
        "second officer",
        "--node",
        people,
        "--out",
        "second.invitation",
    ]);
    let id = stage.federation.id.as_str();
    done(&["--profile", "second", "enrol", "second.invitation", "--unprotected", "--federation", id]);
    let add = ["officer", "add", "second/officer.claim", "--purposes", "strategic-analysis", "--yes"];
    done(&[["--profile", "pt-admin-1"].as_slice(), &add, &["--out", "second.accord"]].concat());
    done(&["--profile", "pt-admin-2", "federation", "sign", "second.accord", "--yes"]);
    assert_eq!(stage.federation.publish(PT, &["second.accord"]).code, 0);
    let all = stage.federation.rows(IT);
    let tables = all.lines().find(|line| line.starts_with("table")).unwrap();
    let groups = all.replace(ES, PT).replace(tables, &format!("table = [\"{HUB}\"]\nfinest = {{ drug = \"group\" }}"));
    stage.federation.publish_policy(IT, &format!("{all}\n{groups}"));
    // The card comes when the officer asks for the first time.
    let card = || {
        let ask = ["--profile", "second", "ask", HUB, "--from", IT, "--period", "2001"];
        accord(&path, &ask);
        path.join("second/officer.card").is_file()
    };
    assert!((0..20).any(|_| card()), "the second officer has a card");
}

pub(super) fn row_5_5_asking_again_and_again(stage: &mut Stage) {
    // There is no noise that could be averaged away: the same bytes, whoever asks, how often, and after a restart.
    let path = stage.federation.path();
    let officers = ["officer", "second"].map(|profile| Officer::open(&path.join(profile)));
    let slices = |officer: &Officer, times: usize| -> Vec<Vec<u8>> {
        let ask = |_| said_on_the_wire(officer, &request(officer, HUB, "2002", &[], "HER")).1;
        (0..times).map(ask).collect()
    };
    let first = slices(&officers[0], 40);
    let other = slices(&officers[1], 2);
    stage.restart(IT);
    let after = slices(&officers[0], 2);
    assert!(!first[0].is_empty());
    assert!(first.iter().chain(&other).chain(&after).all(|slice| *slice == first[0]));
    let another = said_on_the_wire(&officers[0], &request(&officers[0], HUB, "2002", &[], "AMP")).1;
    assert_ne!(another, first[0], "another number is other bytes");
    // The order of codes and dimensions changes nothing.
    let one =
        stage.ask(IT, REGION, &["--period", "2002", "--where", "drug=COC,HER", "--by", "drug=group,region=nuts0"]);
    let two =
        stage.ask(IT, REGION, &["--period", "2002", "--where", "drug=HER,COC", "--by", "region=nuts0,drug=group"]);
    assert_eq!(one["cells"], two["cells"]);
}

// The members' own numbers stand in the answer; the sum says whose is not in it. A is ES, B is PT, C is IT.
pub(super) fn row_5_12_a_sum_without_one_part(stage: &mut Stage) {
    for (member, cocaine, heroin) in [(ES, 95, 6), (PT, 4, 9)] {
        let mut rows = Seizures::new("P");
        rows.cases(cocaine, "2005-02-02", "", "COC_COCAINE");
        rows.cases(heroin, "2005-02-02", "", "HER_HEROIN");
        stage.import(member, "seizure", &format!("{member}.csv"), &rows.text, &["--coverage", "2005"]);
        stage.publish(member);
    }
    let from = format!("{ES},{PT},{IT}");
    let answer = stage.ask(&from, HUB, &["--period", "2005", "--where", "drug=COC", "--measure", "seizures"]);
    let pooled = &answer["pooled"].as_array().unwrap()[0]["values"]["seizures"];
    assert_eq!((&pooled["value"], &pooled["lower_bound"]), (&json!(116), &json!(true)), "{pooled}");
    assert_eq!(pooled["from"], json!([ES, IT]));
    assert_eq!(pooled["missing"], json!([{ "member": PT, "why": "suppressed" }]));
    let total = &answer["totals"].as_array().unwrap()[0]["values"]["seizures"];
    assert_eq!((&total["value"], &total["lower_bound"]), (&json!(116), &json!(true)), "{total}");
    assert_eq!(answer["complete"], true, "complete says that all have answered, not that all numbers are there");
    let text = stage.federation.officer(&["ask", HUB, "--from", &from, "--period", "2005", "--where", "drug=COC"]);
    assert!(text.stdout.contains(">= 116") && text.stdout.contains("without PT-AGENCY suppressed"), "{}", text.stdout);
}

// X is the officer of ES, Y the one of PT, who may receive groups alone. The region is the country.
pub(super) fn row_5_13_two_officers_with_different_rights(stage: &mut Stage) {
    let path = stage.federation.path();
    let ask = |profile: &str, level: &str| {
        let by = format!("drug={level}");
        let ask = ["--profile", profile, "ask", HUB, "--from", IT, "--period", "2005", "--by", &by, "--json"];
        accord(&path, &ask)
    };
    let refused = ask("second", "substance").json();
    assert_eq!(refused["result"]["partners"][0]["refusal"]["code"], "E_UNAVAILABLE", "{refused}");
    let (x, y) = (ask("officer", "group").json(), ask("second", "group").json());
    assert_eq!(cells(&x["result"]), cells(&y["result"]), "both see the same groups");
    assert!(!cells(&y["result"]).is_empty());
    let mut both = Attacker::default();
    both.hear(&cells(&y["result"]), "seizures");
    both.hear(&cells(&ask("officer", "substance").json()["result"]), "seizures");
    let both = both.think(&LISTS);
    assert_eq!(both.range("drug=HER time=2005"), (30, 30));
    assert_eq!(both.range("drug=HER_HEROIN time=2005"), (17, 17));
    assert_ne!(both.range("drug=HER_METHADONE time=2005"), (9, 9));
    is_protected(&both, "drug=HER_FENTANYL time=2005", 4);
    is_protected(&all_of(stage, "2005"), "drug=HER_FENTANYL time=2005", 4);
}

pub(super) fn row_5_14_counting_by_errors(stage: &mut Stage) {
    let path = stage.federation.path();
    let officer = Officer::open(&path.join("officer"));
    // Cells of 0, 1 and 4 cases: one answer. (One of five may be hidden for their sake; one of ten is shown.)
    let said = ["LSD", "KHAT", "NPS", "COC"].map(|drug| {
        let answer = stage.ask(IT, HUB, &["--period", "2004", "--where", &format!("drug={drug}")]);
        let wire = said_on_the_wire(&officer, &request(&officer, HUB, "2004", &[], drug));
        (values(&answer), wire)
    });
    assert!(said[0] == said[1] && said[1] == said[2]);
    assert_eq!(said[3].0[0]["seizures"]["value"], 10);
    assert!(said[3].1.1 != said[0].1.1 && said[3].1.1.len() == said[0].1.1.len());
    // Rows come from the code list, not from the data: as many for a year without a seizure.
    for by in ["drug=group", "drug=substance", "drug=form"] {
        let codes = ["2004", "2006"].map(|year| {
            let answer = stage.ask(IT, HUB, &["--period", year, "--by", by]);
            let cells = answer["cells"].as_array().unwrap();
            cells.iter().map(|cell| cell["key"]["drug"].clone()).collect::<Vec<Value>>()
        });
        assert_eq!(codes[0], codes[1]);
    }
    // Unknown code, and a level that is not granted: one refusal each, whatever there is.
    let second = Officer::open(&path.join("second"));
    let mut unknown = Vec::new();
    let mut forbidden = Vec::new();
    for (year, drug) in
        [("2004", "LSD_LSD"), ("2004", "NPS_CMC"), ("2004", "CAN_HERB"), ("2006", "CAN_HERB"), ("2020", "CAN_HERB")]
    {
        let substances = [("drug", "substance")];
        forbidden.push(said_on_the_wire(&second, &request(&second, HUB, year, &substances, drug)));
        let mut body = request(&officer, HUB, year, &substances, drug);
        let mut dims = body.query.dims.as_slice().to_vec();
        dims[1].codes = Bounded::new(vec![4_000_000]).unwrap();
        body.query.dims = Bounded::new(dims).unwrap();
        assert_eq!(officer.ask(&body).word(), "E_QUERY");
        body.request_id = request(&officer, HUB, year, &substances, drug).request_id;
        unknown.push(said_on_the_wire(&officer, &body));
    }
    assert!(unknown.iter().all(|refusal| *refusal == unknown[0]));
    assert!(forbidden.iter().all(|refusal| *refusal == forbidden[0]));
    let said = stage.misused(HUB, &["--period", "2004", "--where", "drug=LSDX"]);
    assert_eq!(said, stage.misused(HUB, &["--period", "2006", "--where", "drug=LSDX"]));
}

pub(super) fn row_5_15_hidden_cells_are_the_same_bytes(stage: &mut Stage) {
    let path = stage.federation.path();
    let officer = Officer::open(&path.join("officer"));
    let member = Member::open(&path, ES, IT);
    // A hidden cell of 0, of 4, and a shown one; then a hidden cell of 12 lines.
    let lengths = ["LSD", "NPS", "COC", "AMP"].map(|drug| {
        let body = request(&officer, HUB, "2004", &[], drug);
        let (bytes, word) = member.hand_on(&officer.sign(&body), |_| {}).unwrap();
        assert_eq!(word, "answered");
        (bytes, said_on_the_wire(&officer, &body).1.len())
    });
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    let hidden =
        ["LSD", "NPS", "AMP"].map(|drug| said_on_the_wire(&officer, &request(&officer, HUB, "2004", &[], drug)).1);
    assert!(hidden.iter().all(|slice| *slice == hidden[0]));
}

pub(super) fn row_5_17_a_total_of_nothing_and_of_two(stage: &mut Stage) {
    let officer = Officer::open(&stage.federation.path().join("officer"));
    for (table, by) in [
        (HUB, "drug=all"),
        (HUB, "drug=group"),
        (HUB, "drug=form"),
        (REGION, "drug=all,region=nuts2"),
        (WEIGHT, "drug=all"),
    ] {
        let [nothing, two] =
            ["2006", "2007"].map(|year| values(&stage.ask(IT, table, &["--period", year, "--by", by])));
        assert_eq!(nothing, two, "{table} by {by}");
        assert!(nothing.iter().all(|cell| cell["seizures"] == json!({ "state": "suppressed" })));
    }
    let [nothing, two] = ["2006", "2007"]
        .map(|year| said_on_the_wire(&officer, &request(&officer, HUB, year, &[("drug", "all")], "_T")));
    assert_eq!(nothing, two);
}

// A catalogue that offers a dimension twice does not load; the one in force offers each beside time and drug once for
// each kind.
pub(super) fn row_5_21a_no_further_dimension_twice(stage: &mut Stage) {
    let tables = stage.federation.officer(&["tables", "--json"]).json()["result"]["tables"].clone();
    let mut further = Vec::new();
    for table in tables.as_array().unwrap() {
        let said = stage.federation.officer(&["tables", table["table"].as_str().unwrap(), "--json"]).json();
        for dimension in said["result"]["tables"][0]["dimensions"].as_array().unwrap() {
            let name = dimension["dimension"].as_str().unwrap();
            if !["time", "drug"].contains(&name) {
                further.push(format!("{} {name}", table["kind"]));
            }
        }
    }
    let all = further.len();
    further.sort();
    further.dedup();
    assert!(all >= 10 && further.len() == all, "{further:?}");
    // So there is no table by two of them.
    let by = stage.misused(REGION, &["--period", "2001", "--by", "region=nuts2,transport=mode"]);
    assert_eq!(by["code"], "UNKNOWN-DIMENSION");
}
