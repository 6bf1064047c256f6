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
