//! Evidence that is logged and witnessed, with the logs and keys of real nodes.

use accord_edge::keyring::KeyRing;
use accord_protocol::{
    id::NodeId,
    log::{Proof, SignedCheckpoint, log_origin, witness_name},
    member_keys::KeyRole,
};
use accord_tests::{Federation, Said};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const PT: &str = "PT-AGENCY";

fn result(said: &Said, exit: i32) -> Value {
    assert_eq!(said.code, exit, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

// What a member's node proves of its latest answer.
fn proof_of(federation: &Federation, member: &str) -> String {
    let shown =
        result(&federation.operator(member, &["audit", "show", "--kind", "answered", "--limit", "1", "--json"]), 0);
    let seq = shown["entries"][0]["seq"].to_string();
    let file = format!("{member}.tlog-proof");
    result(&federation.operator(member, &["audit", "prove", &seq, "--out", &file, "--json"]), 0);
    std::fs::read_to_string(federation.path().join(file)).unwrap()
}

// The same, cosigned by members' nodes as witnesses.
fn cosigned(federation: &Federation, proof: &str, of: &str, by: &[&str]) -> String {
    let id = federation.id.parse().unwrap();
    let ring = |member: &str, role| {
        let path = federation.path().join(member).join("node/node.ring");
        KeyRing::open(&path, || None).unwrap().take(role).unwrap()
    };
    let mut proof = Proof::parse(proof).unwrap();
    let member: NodeId = of.parse().unwrap();
    let log_key = ring(of, KeyRole::Log).public();
    for witness in by {
        let origin = log_origin(&id, &member);
        let signed = SignedCheckpoint::verify(proof.checkpoint.clone(), &origin, &[log_key]).unwrap();
        let name = witness_name(&id, &witness.parse().unwrap());
        let seconds = accord_edge::clock::now().0 / 1000;
        proof.checkpoint.add(signed.cosign(name, &ring(witness, KeyRole::Witness), seconds));
    }
    proof.to_string()
}

#[test]
fn an_answer_is_proved_by_its_partners_log_and_by_those_who_have_seen_it() {
    let federation = Federation::new(&[ES, IT, PT]);
    let _nodes = federation.start_all();
    let path = federation.path();
    let ask = ["ask", "seizures-year-drug", "--from", "IT-AGENCY,PT-AGENCY", "--period", "2024", "--json"];
    result(&federation.officer(&[ask.as_slice(), &["--evidence", "asked.json"]].concat()), 0);
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap() };
    let mut file = read("asked.json");
    let verify = |name: &str, level: &str, exit: i32| {
        let verify = ["evidence", "verify", name, "--federation", &federation.id, "--require", level, "--json"];
        let said = accord_tests::accord(&path, &verify);
        assert_eq!(said.code, exit, "{}{}", said.stdout, said.stderr);
        said.json()
    };
    let proved = |name: &str| verify(name, "signed", 0)["result"]["statements"].as_array().unwrap().clone();
    assert!(proved("asked.json").iter().all(|statement| statement["log"].is_null()));
    let said = verify("asked.json", "logged", 3);
    assert_eq!(said["error"]["code"], "LEVEL");
    assert_eq!(said["result"]["failed"].as_array().unwrap().len(), 2, "{said}");

    // Italy's log is cosigned by both others, Portugal's by nobody.
    let italy = cosigned(&federation, &proof_of(&federation, IT), IT, &[ES, PT]);
    let portugal = proof_of(&federation, PT);
    file["exchanges"][0]["reply"]["log"] = json!(italy);
    file["exchanges"][1]["reply"]["log"] = json!(portugal);
    std::fs::write(path.join("asked.json"), file.to_string()).unwrap();
    let statements = proved("asked.json");
    let log = |index: usize, name: &str| statements[index]["log"][name].clone();
    assert_eq!(
        (log(0, "level"), log(0, "witnesses"), log(0, "needed")),
        (json!("witnessed"), json!([ES, PT]), json!(2))
    );
    assert_eq!((log(1, "level"), log(1, "witnesses"), log(1, "needed")), (json!("logged"), json!([]), json!(2)));
    verify("asked.json", "logged", 0);
    let said = verify("asked.json", "witnessed", 3);
    let failed = said["result"]["failed"].as_array().unwrap();
    assert!(failed.len() == 1 && failed[0]["part"].as_str().unwrap().starts_with(PT), "{said}");

    // One partner's part keeps its proof.
    let extract = ["evidence", "extract", "asked.json", "--partner", IT, "--out", "part.json", "--json"];
    result(&federation.officer(&extract), 0);
    verify("part.json", "witnessed", 0);

    // What is witnessed needs no node's word; the file that is there is not touched by what brings nothing.
    let before = std::fs::read(path.join("part.json")).unwrap();
    let said = result(&federation.officer(&["evidence", "complete", "part.json", "--json"]), 0);
    assert_eq!((&said["written"], &said["missing"]), (&json!(false), &json!(0)));
    assert_eq!(said["statements"][0]["standing"], "complete");
    assert_eq!(std::fs::read(path.join("part.json")).unwrap(), before);

    // The proof of the one for the answer of the other refuses the file, whoever looks.
    file["exchanges"][0]["reply"]["log"] = json!(portugal);
    std::fs::write(path.join("swapped.json"), file.to_string()).unwrap();
    let said = verify("swapped.json", "signed", 3);
    assert_eq!(said["result"]["failed"][0]["part"], "exchanges[0].reply.log");
    let said = federation.officer(&["evidence", "complete", "swapped.json", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (3, &json!("NOT-VERIFIED")));
}

#[test]
fn an_officer_completes_evidence_once_the_partners_logs_are_closed() {
    use std::os::unix::fs::PermissionsExt;
    let federation = Federation::new(&[ES, IT, PT]);
    let _nodes = federation.start_all();
    let path = federation.path().join("asked.json");
    let ask = ["ask", "seizures-year-drug", "--from", "IT-AGENCY,PT-AGENCY,ES-AGENCY", "--period", "2024", "--json"];
    result(&federation.officer(&[ask.as_slice(), &["--evidence", "asked.json"]].concat()), 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let complete = || federation.officer(&["evidence", "complete", "asked.json", "--json"]);
    let each = |said: &Value, name: &str| -> Vec<Value> {
        said["statements"].as_array().unwrap().iter().map(|statement| statement[name].clone()).collect()
    };

    // Before the logs are closed nobody can prove anything; the file stays as it is.
    let before = std::fs::read(&path).unwrap();
    let early = result(&complete(), 1);
    assert_eq!((each(&early, "standing"), &early["missing"]), (vec![json!("not_yet"); 3], &json!(3)), "{early}");
    assert!(early["statements"][0]["why"].as_str().unwrap().contains(IT), "{early}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    for member in [IT, PT, ES] {
        result(&federation.operator(member, &["audit", "close", "--json"]), 0);
    }
    let is_witnessed = |member: &str| {
        let log = federation.operator(member, &["status", "--json"]).json()["result"]["log"].clone();
        log["witnesses"].as_array().is_some_and(|all| all.len() == 2)
    };
    for _ in 0..600 {
        if [IT, PT, ES].iter().all(|member| is_witnessed(member)) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let done = result(&complete(), 0);
    assert_eq!(
        (&done["level"], &done["added"], &done["written"]),
        (&json!("witnessed"), &json!(3), &json!(true)),
        "{done}"
    );
    assert_eq!(each(&done, "standing"), vec![json!("complete"); 3]);
    let witnesses: Vec<Value> = each(&done, "log").iter().map(|log| log["witnesses"].clone()).collect();
    assert_eq!(witnesses, [json!([ES, PT]), json!([ES, IT]), json!([IT, PT])], "never the log's own member");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let verify =
        ["evidence", "verify", "asked.json", "--federation", &federation.id, "--require", "witnessed", "--json"];
    result(&accord_tests::accord(&federation.path(), &verify), 0);

    // The second implementation comes to the same, and once more there is nothing to do.
    let second = std::process::Command::new("python3")
        .args(["-B", "tests/independent/second.py", "evidence"])
        .arg(&path)
        .args(["--federation", &federation.id, "--lists", "protocol/data/lists", "--require", "witnessed", "--json"])
        .current_dir(accord_tests::root())
        .output()
        .unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
    let again = result(&complete(), 0);
    assert_eq!((&again["written"], &again["added"]), (&json!(false), &json!(0)));

    // What is kept needs no file to be named.
    let listed = result(&federation.officer(&["history", "list", "--json"]), 0);
    let verified = |file: &str| {
        let verify = ["evidence", "verify", file, "--federation", &federation.id, "--json"];
        result(&accord_tests::accord(&federation.path(), &verify), 0)
    };
    // There may be another one of the same second.
    let answers = listed["answers"].as_array().unwrap();
    let evidence = |answer: &Value| answer["evidence"].as_str().unwrap().to_owned();
    let asked = answers.iter().find(|answer| verified(&evidence(answer))["question_id"] == done["question_id"]);
    let (id, kept) = (&asked.unwrap()["id"], evidence(asked.unwrap()));
    let level = || verified(&kept)["level"].clone();
    assert_eq!(level(), "signed");
    let collect = || result(&federation.officer(&["history", "collect", "--json"]), 0)["proofs"].clone();
    let proofs = collect();
    assert!(proofs.as_array().unwrap().contains(&json!({ "id": id, "added": 3, "missing": 0 })), "{proofs}");
    assert_eq!(level(), "witnessed");
    let written = || std::fs::metadata(federation.path().join(&kept)).unwrap().modified().unwrap();
    let before = written();
    assert_eq!(collect(), json!([]), "nothing is left to be asked for");
    assert_eq!(written(), before);

    // The file is named before the profile, where both are missing.
    let missing = accord_tests::accord(
        &federation.path(),
        &["--profile", "nobody", "evidence", "complete", "none.json", "--json"],
    );
    assert_eq!((missing.code, &missing.json()["error"]["code"]), (2, &json!("FILE")), "{}", missing.stdout);
}
