//! Private keys on disk and in processes: who may open them, and that their bytes are nowhere else.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use accord_protocol::id::to_hex;
use accord_tests::{Federation, Running, accord, accord_node, shell};

/// Before the 32 bytes of a private key in a PKCS#8 document of Ed25519 (RFC 8410).
const BEFORE_SEED: [u8; 4] = [0x04, 0x22, 0x04, 0x20];

/// The private seeds in a ring that is not sealed.
fn seeds(ring: &Path) -> Vec<[u8; 32]> {
    let bytes = fs::read(ring).unwrap();
    let found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&BEFORE_SEED)).map(|at| &bytes[at + 4..at + 36]);
    found.map(|seed| seed.try_into().unwrap()).collect()
}

/// What is done to a file, what puts it right again, and what is said about it.
type Case<'a> = (&'a str, Box<dyn Fn() + 'a>, Box<dyn Fn() + 'a>, &'a str);

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn k15_a_key_file_that_others_could_reach_is_refused_with_the_fix() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    let node = path.join("ES-AGENCY/node");
    let ring = node.join("node.ring");
    let aside = path.join("aside.ring");
    let cases: Vec<Case<'_>> = vec![
        ("readable by all", Box::new(|| mode(&ring, 0o644)), Box::new(|| mode(&ring, 0o600)), "chmod 600"),
        ("readable by the group", Box::new(|| mode(&ring, 0o640)), Box::new(|| mode(&ring, 0o600)), "chmod 600"),
        ("executable", Box::new(|| mode(&ring, 0o700)), Box::new(|| mode(&ring, 0o600)), "chmod 600"),
        (
            "in a folder that all may write to",
            Box::new(|| mode(&node, 0o777)),
            Box::new(|| mode(&node, 0o700)),
            "chmod 700",
        ),
        (
            "a link",
            Box::new(|| {
                fs::rename(&ring, &aside).unwrap();
                symlink(&aside, &ring).unwrap();
            }),
            Box::new(|| {
                fs::remove_file(&ring).unwrap();
                fs::rename(&aside, &ring).unwrap();
            }),
            "not a regular file",
        ),
        (
            "somebody else's",
            Box::new(|| std::os::unix::fs::chown(&ring, Some(12_345), None).unwrap()),
            Box::new(|| std::os::unix::fs::chown(&ring, Some(0), None).unwrap()),
            "another user",
        ),
    ];
    for (what, spoil, mend, says) in cases {
        // Another owner needs root's rights; where the tests run without them, that row cannot be made.
        if what == "somebody else's" && !accord_edge::linux::is_root() {
            continue;
        }
        spoil();
        let log = Running::try_start(&path, "ES-AGENCY/node").err().unwrap_or_else(|| panic!("it starts: {what}"));
        assert!(
            log.contains(says) && log.contains("node.ring") || log.contains(says) && log.contains("/node"),
            "{what}: {log}"
        );
        let shown = accord(&path, &["key", "show", "ES-AGENCY/node/node.ring", "--json"]);
        assert_eq!((shown.code, &shown.json()["error"]["code"]), (3, &"KEY-RING".into()), "{what}");
        mend();
    }
    assert!(Running::try_start(&path, "ES-AGENCY/node").is_ok(), "right again, it starts");
}

#[test]
fn k14_private_bytes_are_in_the_ring_and_nowhere_else() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    let rings = [
        "root-1/root.ring",
        "ES-AGENCY/admin-1/admin.ring",
        "ES-AGENCY/node/node.ring",
        "ES-AGENCY/node/operator/person.ring",
        "officer/person.ring",
    ];
    let secrets: Vec<[u8; 32]> = rings.iter().flat_map(|ring| seeds(&path.join(ring))).collect();
    assert_eq!(secrets.len(), 1 + 1 + 5 + 1 + 1);

    // Nodes that say all that they can, and every command that touches a ring.
    let nodes: Vec<Running> = federation
        .members
        .iter()
        .map(|member| {
            Running::start_with(&path, &format!("{member}/node"), &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")])
        })
        .collect();
    let mut said = String::new();
    for arguments in [
        vec![
            "--profile",
            "officer",
            "ask",
            "seizures-year-drug",
            "--from",
            "IT-AGENCY",
            "--period",
            "2024",
            "--verbose",
        ],
        vec!["--profile", "officer", "trust", "--json"],
        vec!["key", "show", "root-1/root.ring", "--json"],
        vec!["key", "show", "ES-AGENCY/node/node.ring"],
        vec!["key", "rotate", "ES-AGENCY/admin-1/admin.ring", "--member", "ES-AGENCY", "--json"],
        vec!["federation", "show", "public/roster.accord", "--json"],
        vec![
            "member",
            "keys",
            "renew",
            "--with",
            "public/federation.accord",
            "--member",
            "ES-AGENCY",
            "--federation",
            &federation.id,
            "--ring",
            "ES-AGENCY/admin-2/admin.ring",
            "--yes",
            "--verbose",
        ],
        vec!["--profile", "officer", "no-such-command"],
    ] {
        let one = accord(&path, &arguments);
        said += &format!("{}{}", one.stdout, one.stderr);
    }
    let install =
        accord_node(&path, &["install", "ES-AGENCY/node", "--federation", &federation.id, "public/root.accord"]);
    said += &format!("{}{}", install.stdout, install.stderr);
    let mut places: Vec<(String, Vec<u8>)> = vec![("what commands said".into(), said.into_bytes())];
    for node in &nodes {
        for what in ["cmdline", "environ"] {
            let file = format!("/proc/{}/{what}", node.pid);
            // Root may read it; that others may not is what the process has asked for.
            if let Ok(bytes) = fs::read(&file) {
                places.push((file, bytes));
            }
        }
    }
    drop(nodes);
    for file in files(&path) {
        if file.extension().is_none_or(|extension| extension != "ring") {
            places.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
    }
    assert!(places.len() > 40, "{}", places.len());
    for (place, bytes) in &places {
        for secret in &secrets {
            for spelling in [
                secret.to_vec(),
                to_hex(secret).into_bytes(),
                to_hex(secret).to_uppercase().into_bytes(),
                base64(secret),
            ] {
                let found = bytes.windows(spelling.len()).any(|window| window == spelling);
                assert!(!found, "private bytes in {place}");
            }
        }
    }
    // And this search can find something.
    let ring = fs::read(path.join(rings[0])).unwrap();
    assert!(secrets.iter().any(|secret| ring.windows(32).any(|window| window == secret)));
}

#[test]
fn a_node_starts_by_itself_with_a_credential_and_not_without() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    let sealed = accord(
        &path,
        &["key", "reseal", "ES-AGENCY/node/node.ring", "--credential", "credentials/node-pass", "--json"],
    );
    assert_eq!(sealed.code, 0, "{}", sealed.stdout);
    assert_eq!(seeds(&path.join("ES-AGENCY/node/node.ring")), Vec::<[u8; 32]>::new(), "nothing of it is in the clear");
    let log = Running::try_start(&path, "ES-AGENCY/node").unwrap_err();
    assert!(log.contains("credential"), "{log}");
    let folder = path.join("credentials").display().to_string();
    let node = Running::start_with(&path, "ES-AGENCY/node", &[("CREDENTIALS_DIRECTORY", folder.as_str())]);
    drop(node);
    // A wrong one says no more than a damaged ring does.
    fs::write(path.join("credentials/node-pass"), format!("{}\n", "0".repeat(64))).unwrap();
    let line = format!(
        "CREDENTIALS_DIRECTORY={folder} exec {} run ES-AGENCY/node --allow-root",
        accord_tests::program("accord-node").display()
    );
    let wrong = shell(&path, &line, "");
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("does not open"), "{}", wrong.stderr);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all
}

// Base64 without padding, of which every alignment of a longer text would hold a part: the aligned one is looked for.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for chunk in bytes.chunks_exact(3) {
        let number = (usize::from(chunk[0]) << 16) | (usize::from(chunk[1]) << 8) | usize::from(chunk[2]);
        text.extend([18, 12, 6, 0].map(|shift| DIGITS[(number >> shift) & 63]));
    }
    text
}
