//! What the tests stand on: real federations of real processes on loopback, and a small client of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod ceremony;
pub mod disk;
pub mod faults;
pub mod folder;
pub mod member;
pub mod officer;
pub mod seeded;
pub mod set_clock;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A program of the workspace, built beside the tests or beside the program that runs.
///
/// # Panics
/// If it has not been built: `cargo build --profile ci` makes it.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let beside = here.parent().unwrap();
    let path = if beside.ends_with("deps") || beside.ends_with("examples") { beside.parent().unwrap() } else { beside }
        .join(name);
    assert!(path.is_file(), "{} is missing; build it first: cargo build --profile ci", path.display());
    path
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as the one JSON object that it must be.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "one line: {}", self.stdout);
        let value: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout));
        assert_eq!(value["accord"], 1);
        assert_eq!(value["exit"], self.code, "{value}");
        value
    }
}

/// Runs the tool in a folder.
pub fn accord(folder: &Path, arguments: &[&str]) -> Said {
    Said::of(Command::new(program("accord")).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap())
}

/// Runs the daemon's program in a folder, for its short commands.
pub fn accord_node(folder: &Path, arguments: &[&str]) -> Said {
    Said::of(
        Command::new(program("accord-node")).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap(),
    )
}

/// Runs a line of shell in a folder, with these lines on its standard input.
pub fn shell(folder: &Path, line: &str, input: &str) -> Said {
    use std::io::Write as _;
    let mut child = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Said::of(child.wait_with_output().unwrap())
}

/// A running node.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its process id.
    pub pid: u32,
    /// Where its people reach it.
    pub people: String,
}

impl Running {
    /// Starts the node in a folder and waits until it says that it is ready.
    pub fn start(folder: &Path, node: &str) -> Self {
        Self::try_start(folder, node).unwrap_or_else(|log| panic!("{node} does not start: {log}"))
    }

    /// The same, with more in its environment.
    pub fn start_with(folder: &Path, node: &str, environment: &[(&str, &str)]) -> Self {
        Self::launch(folder, node, environment, &[]).unwrap_or_else(|log| panic!("{node} does not start: {log}"))
    }

    /// The same, with limits of the process: options of `prlimit`.
    pub fn start_limited(folder: &Path, node: &str, limits: &[&str]) -> Self {
        let before = [&["prlimit"], limits].concat();
        Self::launch(folder, node, &[], &before).unwrap_or_else(|log| panic!("{node} does not start: {log}"))
    }

    /// Starts a node; its log if it does not get ready.
    pub fn try_start(folder: &Path, node: &str) -> Result<Self, String> {
        Self::launch(folder, node, &[], &[])
    }

    /// The same, with more in its environment.
    pub fn try_start_with(folder: &Path, node: &str, environment: &[(&str, &str)]) -> Result<Self, String> {
        Self::launch(folder, node, environment, &[])
    }

    fn launch(folder: &Path, node: &str, environment: &[(&str, &str)], before: &[&str]) -> Result<Self, String> {
        let log = folder.join(format!("{}.log", node.replace('/', "-")));
        let program = program("accord-node");
        let line = [before, &[program.to_str().unwrap(), "run", node, "--allow-root"]].concat();
        let mut child = Command::new(line[0])
            .args(&line[1..])
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if let Ok(ready) = serde_json::from_str::<Value>(&line) {
            assert_eq!(ready["ready"], true);
            let people = ready["people"].as_str().unwrap().to_owned();
            Ok(Self { pid: child.id(), child, people })
        } else {
            let code = child.wait().unwrap();
            Err(format!("{code}: {}", fs::read_to_string(&log).unwrap()))
        }
    }

    /// Holds the process where it is.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid.to_string()]).status().unwrap().success());
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end and returns whether it did so in order.
    pub fn stop(mut self) -> bool {
        self.signal("-TERM");
        self.child.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `accord demo` on the small sample of the tests. Of 50 to 160 lines a year little can be shown, and tests want numbers: its editions
/// are not protected against subtraction.
pub fn demo() -> Vec<String> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/sample");
    ["demo", "--records", sample, "--period", "2021..2025", "--primary-only"].map(str::to_owned).to_vec()
}

/// A federation in a folder of its own, raised by the tool's own demo; the nodes are stopped until they are started.
#[derive(Debug)]
pub struct Federation {
    dir: std::sync::Arc<TempDir>,
    /// The members; the first one has an officer.
    pub members: Vec<String>,
    /// The federation's id.
    pub id: String,
}

impl Federation {
    /// A federation of these members, with the synthetic sample imported and an edition published at each.
    pub fn new(members: &[&str]) -> Self {
        // Whoever raises another federation at the same moment may take a port in between.
        let (dir, said) = (0..3)
            .map(|_| {
                let dir = tempfile::tempdir().unwrap();
                let demo =
                    [demo().as_slice(), &["--members", &members.join(","), "--json"].map(str::to_owned)].concat();
                let demo: Vec<&str> = demo.iter().map(String::as_str).collect();
                let said = accord(dir.path(), &[demo.as_slice(), &["--keep", "fed"]].concat());
                (dir, said)
            })
            .find(|(_, said)| !said.stdout.contains("Address already in use"))
            .unwrap();
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        let id = said.json()["result"]["federation"].as_str().unwrap().to_owned();
        Self { dir: std::sync::Arc::new(dir), members: members.iter().map(|member| (*member).to_owned()).collect(), id }
    }

    /// The same federation once more: the folder goes when the last one goes.
    #[must_use]
    pub fn reopen(other: &Self) -> Self {
        Self { dir: std::sync::Arc::clone(&other.dir), members: other.members.clone(), id: other.id.clone() }
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("fed")
    }

    /// Starts one member's node.
    pub fn start(&self, member: &str) -> Running {
        Running::start(&self.path(), &format!("{member}/node"))
    }

    /// Starts one member's node, and waits until it has heard those who are there: before that it answers nobody, and where others
    /// are down that takes it some seconds.
    pub fn start_settled(&self, member: &str) -> Running {
        let node = self.start(member);
        self.settle(member);
        node
    }

    /// Waits until a member's node has heard those who are there.
    pub fn settle(&self, member: &str) {
        for _ in 0..300 {
            let status = self.operator(member, &["status", "--json"]).json();
            if status["result"]["learning"] == false {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{member} learns for longer than 15 s");
    }

    /// Starts all nodes.
    pub fn start_all(&self) -> Vec<Running> {
        self.members.iter().map(|member| self.start(member)).collect()
    }

    /// The officer runs the tool.
    pub fn officer(&self, arguments: &[&str]) -> Said {
        accord(&self.path(), &[["--profile", "officer"].as_slice(), arguments].concat())
    }

    /// A member's operator runs the tool.
    pub fn operator(&self, member: &str, arguments: &[&str]) -> Said {
        let profile = format!("{member}/node/operator");
        accord(&self.path(), &[["--profile", &profile].as_slice(), arguments].concat())
    }

    /// Lists another person of a running member's staff, as its administrators do, and makes their profile; whoever it is acts with
    /// `as_colleague`.
    pub fn hire(&self, member: &str, name: &str, role: &str) {
        let (ring, claim, list) = (format!("{name}.ring"), format!("{name}.claim"), format!("{name}-staff.accord"));
        let of_member = ["--member", member];
        let admins = [1, 2].map(|number| format!("{member}/admin-{number}/admin.ring"));
        let (staff, node) = (format!("{member}/staff.accord"), self.people_address(member));
        let run = |arguments: &[&str]| {
            let said = accord(&self.path(), arguments);
            assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
        };
        let new = ["staff", "new", &ring, "--name", name, "--role", role, "--unprotected"];
        run(&[new.as_slice(), &of_member].concat());
        let by_two = ["--ring", &admins[0], "--ring", &admins[1], "--yes", "--federation", &self.id, "--out", &list];
        let add = ["staff", "add", &claim, "--with", "public/federation.accord", "--with", &staff];
        run(&[add.as_slice(), &by_two, &of_member].concat());
        assert_eq!(self.publish(member, &[&list]).code, 0);
        // The next colleague is added to this list.
        fs::copy(self.path().join(&list), self.path().join(&staff)).unwrap();
        let profile = ["profile", "new", name, "--ring", &ring, "--node", &node, "--federation", &self.id];
        run(&[profile.as_slice(), &of_member, &["public/federation.accord", &list]].concat());
    }

    /// The rows of a member's policy as they were staged.
    pub fn rows(&self, member: &str) -> String {
        fs::read_to_string(self.path().join(format!("{member}/node/grants.toml"))).unwrap()
    }

    /// Has two administrators sign other rows, as the policy after the one before; the file.
    pub fn sign_policy(&self, member: &str, rows: &str) -> String {
        let (file, signed) = (format!("{member}/node/grants.toml"), format!("{member}/policy.accord"));
        fs::write(self.path().join(&file), rows).unwrap();
        let (next, staff) = (format!("{member}/policy-next.accord"), format!("{member}/staff.accord"));
        let rings = [1, 2].map(|number| format!("{member}/admin-{number}/admin.ring"));
        let mut with = format!("public/federation.accord,{staff}");
        if self.path().join(&signed).exists() {
            with += &format!(",{signed}");
        }
        let place = ["--with", &with, "--federation", &self.id, "--member", member];
        let signing = ["--ring", &rings[0], "--ring", &rings[1], "--yes", "--out", &next];
        let said = accord(&self.path(), &[["policy", "apply", &file].as_slice(), &place, &signing].concat());
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        fs::rename(self.path().join(next), self.path().join(&signed)).unwrap();
        signed
    }

    /// Other rows for a node that does not run.
    pub fn install_policy(&self, member: &str, rows: &str) {
        let signed = self.sign_policy(member, rows);
        let done = Command::new(program("accord-node"))
            .args(["install", &format!("{member}/node"), "--federation", &self.id, &signed])
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Other rows for a node that runs: its operator hands them in.
    pub fn publish_policy(&self, member: &str, rows: &str) {
        let signed = self.sign_policy(member, rows);
        let said = self.publish(member, &[&signed]);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    }

    // Where a member's people connect, as the operator's profile says.
    fn people_address(&self, member: &str) -> String {
        let text = fs::read_to_string(self.path().join(format!("{member}/node/operator/profile.toml"))).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("node = ")).unwrap();
        line.trim_matches('"').to_owned()
    }

    /// Somebody who was hired runs the tool.
    pub fn as_colleague(&self, name: &str, arguments: &[&str]) -> Said {
        accord(&self.path(), &[["--profile", name].as_slice(), arguments].concat())
    }

    /// Changes a text in a member's file.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}
