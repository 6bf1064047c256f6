//! A second reading of file, units, dates and cases, in another language, agrees on every cell.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use accord_tests::{Federation, accord, root};

fn check(arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .arg("-B")
        .arg(root().join("tests/independent/check.py"))
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
        let csv = root().join(format!("admin-cli/demo/{member}.csv")).display().to_string();
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
    let said =
        accord(folder.path(), &["demo", "--data", &data, "--keep", "fed", "--members", &members.join(","), "--json"]);
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
