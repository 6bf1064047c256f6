//! A second reading of file, units, dates and cases, in another language, agrees on every cell.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use accord_tests::{Federation, accord, root};

fn check(arguments: &[&str]) -> String {
    run("check.py", arguments)
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .arg("-B")
        .arg(root().join("tests/independent").join(program))
        .args(arguments)
        .args(["--lists", &root().join("protocol/data/lists").display().to_string()])
        .args(["--catalogue", &root().join("protocol/data/strategic-1.toml").display().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn cells(folder: &Path, member: &str) -> PathBuf {
    let profile = format!("{member}/node/operator");
    let said = accord(folder, &["--profile", &profile, "edition", "show", "--cells", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let path = folder.join(format!("{member}-cells.json"));
    std::fs::write(&path, said.stdout).unwrap();
    path
}

#[test]
fn every_cell_of_the_sample_is_recomputed() {
    let members = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY"];
    let federation = Federation::new(&members);
    for member in members {
        let _node = federation.start(member);
        let show = cells(&federation.path(), member).display().to_string();
        let csv = root().join(format!("tests/sample/{member}.csv")).display().to_string();
        let said = check(&["--csv", &csv, "--edition", &show, "--member", member, "--coverage", "2021-01..2025-12"]);
        assert!(said.contains(" 0 differences"), "{member}: {said}");
    }
}

#[test]
fn every_cell_of_the_real_file_is_recomputed() {
    let Ok(data) = std::env::var("ACCORD_DATA") else {
        // Without the public file this cannot run; `tests/run` says so, and CI fails if it is missing there.
        assert!(std::env::var("CI").is_err(), "CI must set ACCORD_DATA");
        println!("not run: set ACCORD_DATA to the folder with the public seizure file");
        return;
    };
    let zip = Path::new(&data).join("unodc-ids-2011-2016/drug-trafficking-unodc.zip");
    assert!(zip.is_file(), "{} is missing", zip.display());
    let folder = tempfile::tempdir().unwrap();
    let members = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY", "LV-AGENCY"];
    let said = accord(
        folder.path(),
        &["demo", "--data", &data, "--primary-only", "--keep", "fed", "--members", &members.join(","), "--json"],
    );
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let path = folder.path().join("fed");
    let mapping = root().join("node/mappings/unodc-ids.toml").display().to_string();
    for member in members {
        let _node = accord_tests::Running::start(&path, &format!("{member}/node"));
        let show = cells(&path, member).display().to_string();
        let zip = zip.display().to_string();
        let said = check(&[
            "--csv",
            &zip,
            "--mapping",
            &mapping,
            "--edition",
            &show,
            "--member",
            member,
            "--coverage",
            "2011-01..2016-12",
        ]);
        assert!(said.contains(" 0 differences"), "{member}: {said}");
        println!("{member}: {}", said.lines().last().unwrap_or(""));
    }
}

#[test]
fn every_purity_and_price_of_a_partner_outside_the_union_is_recomputed_and_stands_beside_the_others() {
    let Ok(data) = std::env::var("ACCORD_DATA") else {
        // Without the public files this cannot run; `tests/run` says so, and CI fails if they are missing there.
        assert!(std::env::var("CI").is_err(), "CI must set ACCORD_DATA");
        println!("not run: set ACCORD_DATA to the folder with the public files");
        return;
    };
    let path = |name: &str| Path::new(&data).join(name).display().to_string();
    let (dea, rates) = (path("dea-stride-2007/cocaine_as_csv.csv"), path("ref/ecb_fx/eurofxref-hist.csv"));
    let folder = tempfile::tempdir().unwrap();
    let members = "ES-AGENCY,IT-AGENCY,US-DEA";
    let said = accord(
        folder.path(),
        &["demo", "--data", &data, "--primary-only", "--keep", "fed", "--members", members, "--json"],
    );
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let fed = folder.path().join("fed");
    let _nodes: Vec<accord_tests::Running> =
        members.split(',').map(|member| accord_tests::Running::start(&fed, &format!("{member}/node"))).collect();
    let operator = |arguments: &[&str]| {
        let said = accord(&fed, &[["--profile", "US-DEA/node/operator"].as_slice(), arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        said.json()["result"].clone()
    };
    operator(&["rates", "import", &rates]);
    for kind in ["purity", "price"] {
        let mapping = format!("dea-stride-{kind}");
        let report = operator(&["import", &dea, "--kind", kind, "--mapping", &mapping, "--coverage", "2007"]);
        assert_eq!((report["rows"]["new"].clone(), report["place"]["region_unknown"].clone()), (3380.into(), 0.into()));
    }
    operator(&["edition", "publish"]);
    let show = cells(&fed, "US-DEA").display().to_string();
    for kind in ["purity", "price"] {
        let arguments =
            ["--kind", kind, "--dea", &dea, "--rates", &rates, "--edition", &show, "--member", "US-DEA", "--coverage"];
        let said = run("check_values.py", &[arguments.as_slice(), &["2007-01..2007-12"]].concat());
        assert!(said.contains(" 0 differences"), "{kind}: {said}");
    }
    let asked = accord(
        &fed,
        &[
            "--profile",
            "officer",
            "ask",
            "purity-quarter-form-market",
            "--from",
            "US-DEA,IT-AGENCY",
            "--period",
            "2007",
            "--json",
        ],
    );
    let result = &asked.json()["result"];
    assert_eq!(result["partners"][0]["status"], "answered");
    assert_eq!(result["partners"][1]["status"], "answered", "one has no purities, and says so cell by cell");
    let row = result["pooled"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"]["drug"] == "COC_COCAINE" && row["key"]["basis"] == "_U" && row["key"]["frame"] == "_U")
        .unwrap();
    // The true median of the file is 63.0.
    assert_eq!(row["values"]["purity"]["median"], serde_json::json!({ "low": 6000, "high": 6500 }));
    assert_eq!(
        row["values"]["samples"]["missing"],
        serde_json::json!([{ "member": "IT-AGENCY", "why": "not_available" }])
    );
}
