//! What is asked of a node that is disturbed meanwhile, what it said yes to, and that all of it is there afterwards.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use accord_protocol::{
    codec::{Cap, decode},
    message::AskCall,
    request::RequestBody,
};
use accord_tests::{Federation, program};
use serde_json::Value;

pub(crate) const ES: &str = "ES-AGENCY";
pub(crate) const IT: &str = "IT-AGENCY";
/// Rows in each file that is imported here.
pub(crate) const ROWS: u64 = 40;
const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

/// What the node has said yes to.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) answers: Mutex<Vec<AskCall>>,
    pub(crate) imports: Mutex<Vec<String>>,
    pub(crate) months: Mutex<Vec<String>>,
    pub(crate) closed: Mutex<Vec<u64>>,
    pub(crate) editions: Mutex<Vec<u64>>,
    pub(crate) roster: AtomicU64,
}

impl Acknowledged {
    /// How much it is, in words.
    pub(crate) fn count(&self) -> String {
        let count = |all: &Mutex<Vec<String>>| all.lock().unwrap().len();
        format!(
            "{} answers, {} imports, {} declarations, {} checkpoints, {} editions and roster {} were acknowledged",
            self.answers.lock().unwrap().len(),
            count(&self.imports),
            count(&self.months),
            self.closed.lock().unwrap().len(),
            self.editions.lock().unwrap().len(),
            self.roster.load(Ordering::Relaxed)
        )
    }
}

fn result(is_done: bool, stdout: &[u8]) -> Option<Value> {
    // A node that is killed meanwhile says nothing, or nothing whole.
    let value: Value = serde_json::from_slice(stdout).ok()?;
    is_done.then(|| value["result"].clone())
}

/// Italy's operator, who gets something or nothing: the tool waits half a minute for a node that has died, nobody here does.
pub(crate) fn impatient(federation: &Federation, arguments: &[&str]) -> Option<Value> {
    let mut said = Command::new("timeout");
    said.arg("3").arg(program("accord")).args(["--profile", "IT-AGENCY/node/operator", "--json"]).args(arguments);
    let output = said.current_dir(federation.path()).stdin(Stdio::null()).output().unwrap();
    result(output.status.code() == Some(0), &output.stdout)
}

/// Writes the next file of 40 good rows; its name.
pub(crate) fn next_file(federation: &Federation, files: &AtomicU64) -> String {
    let n = files.fetch_add(1, Ordering::Relaxed);
    let name = format!("kill-{n}.csv");
    let rows: String =
        (0..ROWS).map(|row| format!("N{n}R{row},N{n}K{row},1,2024-03-11,ITC4,s,COC,COC_HCL,1,kg,net\n")).collect();
    std::fs::write(federation.path().join(&name), format!("{HEADER}\n{rows}")).unwrap();
    name
}

/// Imports a new file.
pub(crate) fn import(federation: &Federation, files: &AtomicU64, said_yes: &Acknowledged) {
    let import = impatient(federation, &["import", &next_file(federation, files)]);
    let import = import.map(|report| report["import_id"].as_str().unwrap().to_owned());
    said_yes.imports.lock().unwrap().extend(import);
}

/// The next month to declare something of.
pub(crate) fn next_month(months: &AtomicU64) -> String {
    let n = months.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:02}", 1980 + n / 12 % 40, n % 12 + 1)
}

/// Declares coverage, and closes the log.
pub(crate) fn declare_and_close(federation: &Federation, months: &AtomicU64, said_yes: &Acknowledged) {
    let month = next_month(months);
    if impatient(federation, &["coverage", "set", "site", &month, "partial"]).is_some() {
        said_yes.months.lock().unwrap().push(month);
    }
    let closed = impatient(federation, &["audit", "close"]);
    said_yes.closed.lock().unwrap().extend(closed.and_then(|closed| closed["size"].as_u64()));
}

/// Lets others ask as often as they like.
pub(crate) fn without_quota(federation: &Federation, settings: &str) {
    for (name, before) in [("burst", 120), ("per_minute", 60), ("member_burst", 600), ("member_per_minute", 300)] {
        federation.edit(settings, &format!("\n{name} = {before}\n"), &format!("\n{name} = 1000000\n"));
    }
}

/// The id of a request, as the log shows it.
pub(crate) fn request_id(call: &AskCall) -> String {
    let body: RequestBody = decode(call.body.as_slice(), Cap::Head).unwrap();
    body.request_id.to_string()
}

/// Everything that was acknowledged is there, once, in store and log, and everything verifies. `when` is for whoever reads a failure.
pub(crate) fn holds(federation: &Federation, said_yes: &Acknowledged, when: &str) {
    let operator = |arguments: &[&str]| {
        let said = federation.operator(IT, &[arguments, &["--json"]].concat());
        result(said.code == 0, said.stdout.as_bytes())
            .unwrap_or_else(|| panic!("{when}: {arguments:?}: {}{}", said.stdout, said.stderr))
    };
    let everything = operator(&["verify"]);
    assert_eq!(everything["verified"], true, "{when}: {everything}");
    let log = operator(&["audit", "verify"]);
    let checkpoints: Vec<u64> = log["checkpoints"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    for size in said_yes.closed.lock().unwrap().iter() {
        assert!(checkpoints.contains(size), "{when}: the checkpoint of {size} is gone: {checkpoints:?}");
    }
    let imports = operator(&["import", "list"]).to_string();
    for import in said_yes.imports.lock().unwrap().iter() {
        assert!(imports.contains(&format!("\"{import}\"")), "{when}: {import} is gone");
    }
    let editions = operator(&["edition", "list"]);
    let editions: Vec<u64> =
        editions["editions"].as_array().unwrap().iter().filter_map(|edition| edition["edition"].as_u64()).collect();
    for edition in said_yes.editions.lock().unwrap().iter() {
        assert!(editions.contains(edition), "{when}: edition {edition} is gone: {editions:?}");
    }
    let roster = operator(&["status"])["roster"]["version"].as_u64().unwrap();
    let at_least = said_yes.roster.load(Ordering::Relaxed);
    assert!(roster >= at_least, "{when}: roster {at_least} is gone, {roster} is in force");
    // How often the log has an entry of this kind that says this at this place.
    let count = |kind: &str, path: &str| {
        let (mut counts, mut from) = (HashMap::<String, usize>::new(), 0);
        loop {
            let some = ["audit", "show", "--kind", kind, "--limit", "10000", "--from", &format!("{from}")];
            let shown = operator(&some);
            let Some(last) = shown["entries"].as_array().unwrap().last() else { return counts };
            from = last["seq"].as_u64().unwrap() + 1;
            for entry in shown["entries"].as_array().unwrap() {
                *counts.entry(entry["detail"][path].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    };
    let answered = count("answered", "request_id");
    for call in said_yes.answers.lock().unwrap().iter() {
        let times = answered.get(&request_id(call));
        assert_eq!(times, Some(&1), "{when}: the entry of an answer that left");
    }
    let (imported, covered) = (count("import", "import"), count("coverage", "from"));
    for import in said_yes.imports.lock().unwrap().iter() {
        assert_eq!(imported.get(import), Some(&1), "{when}: the entry of {import}");
    }
    for month in said_yes.months.lock().unwrap().iter() {
        assert!(covered.contains_key(month), "{when}: the entry of coverage of {month}");
    }
}
