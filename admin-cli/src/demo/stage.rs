//! The steps of the demo, each by the command that people use.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use accord_edge::{clock::Stopwatch, files, linux};
use anyhow::Context;
use serde_json::{Value, json};

use super::{Children, Plan, SAMPLES, Source, records_of};
use crate::output::{Failure, Outcome};

/// The demo on its stage.
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) children: Children,
}

#[derive(Debug, Clone)]
struct Running {
    member: String,
    pid: u64,
    members: String,
    people: String,
}

impl Stage {
    /// Plays all steps.
    pub(super) fn play(&self) -> anyhow::Result<Outcome> {
        let watch = Stopwatch::start();
        files::make_dir(&self.plan.dir)?;
        self.step("three root holders found a federation");
        let federation = self.found()?;
        self.step("each agency makes its node, keys and administrators");
        let heard = self
            .plan
            .members
            .iter()
            .map(|member| self.member(member, &federation))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.step("two of three root holders sign the roster");
        self.roster(&heard)?;
        for member in &self.plan.members {
            self.install(member, &federation)?;
        }
        self.step("the nodes start");
        let nodes = self.plan.members.iter().map(|member| self.start(member)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut imports = Vec::new();
        for member in &self.plan.members {
            self.step(&format!("{member} imports its seizures"));
            imports.push(self.import(member)?);
        }
        self.step("every agency protects its tables and publishes an edition");
        self.publish()?;
        let asker = self.asker();
        self.step(&format!("an officer of {asker} gets a profile"));
        self.officer_profile(&federation, &nodes)?;
        if let Some(stopped) = &self.plan.stop {
            self.step(&format!("{stopped} goes down"));
            let child = self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(stopped);
            if let Some(mut child) = child {
                child.kill()?;
                child.wait()?;
            }
        }
        self.step("the officer asks");
        let answer = self.ask()?;
        self.step("the evidence is verified offline");
        let verified = self.accord(&["evidence", "verify", "evidence.json", "--federation", &federation, "--json"])?;
        let verified: Value = serde_json::from_slice(&verified.stdout)?;
        self.outcome(&federation, &nodes, &imports, &answer, &verified, watch.ms())
    }

    fn step(&self, text: &str) {
        if self.plan.shows_steps {
            eprintln!("- {text}");
        }
    }

    fn asker(&self) -> &str {
        self.plan.members.first().map_or("", String::as_str)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.plan.dir)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(output)
    }

    /// One command of the tool, in the demo's folder; anything but success ends the demo.
    fn accord(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.checked(&std::env::current_exe()?, arguments, &[0])
    }

    /// The same with `--json`: its result.
    fn said(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.accord(&[arguments, &["--json"]].concat())?;
        let mut envelope: Value = serde_json::from_slice(&output.stdout)?;
        Ok(envelope.get_mut("result").map(Value::take).unwrap_or_default())
    }

    fn node(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.checked(&node_program()?, arguments, &[0])
    }

    fn checked(&self, program: &Path, arguments: &[&str], good: &[i32]) -> anyhow::Result<Output> {
        let output = self.run(program, arguments)?;
        if output.status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(output);
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr })
            .into_owned();
        let message = format!("a step of the demo failed: {name} {}: {}", arguments.join(" "), said.trim());
        Err(Failure::fault("DEMO", message, "run it again with --keep DIR and look at the folder").into())
    }

    fn found(&self) -> anyhow::Result<String> {
        for number in 1..=3 {
            let ring = format!("root-{number}/root.ring");
            self.accord(&["root", "new", &ring, "--name", &format!("root holder {number}"), "--unprotected"])?;
        }
        let claims = "root-1/root.claim,root-2/root.claim,root-3/root.claim";
        let root = "public/root.accord";
        let made = self.said(&[
            "federation",
            "new",
            "--name",
            "Accord demo",
            "--root-keys",
            claims,
            "--threshold",
            "2",
            "--out",
            root,
        ])?;
        let rings = ["--ring", "root-1/root.ring", "--ring", "root-2/root.ring", "--ring", "root-3/root.ring"];
        self.accord(&[["federation", "sign", root, "--yes"].as_slice(), &rings].concat())?;
        self.accord(&["federation", "catalogue", "--with", root, "--out", "public/catalogue.accord"])?;
        self.sign_by_two("public/catalogue.accord", &[])?;
        text_of(&made, "/federation")
    }

    fn sign_by_two(&self, file: &str, heard: &[String]) -> anyhow::Result<()> {
        let mut arguments =
            vec!["federation", "sign", file, "--ring", "root-1/root.ring", "--ring", "root-2/root.ring", "--yes"];
        for heard in heard {
            arguments.extend(["--heard", heard]);
        }
        self.accord(&arguments)?;
        Ok(())
    }

    // Returns what an administrator reads out when the root holders ask for the member's fingerprint.
    fn member(&self, member: &str, federation: &str) -> anyhow::Result<String> {
        let node = format!("{member}/node");
        files::make_dir(&self.plan.dir.join(member))?;
        let (name, invitation) = (format!("Agency of {member}"), format!("{member}/invitation.accord"));
        let root = ["--with", "public/root.accord"];
        self.accord(&[["member", "invite", member, "--name", &name, "--out", &invitation].as_slice(), &root].concat())?;
        self.node(&["init", &node, "--member", member, "--name", &name, "--listen", "127.0.0.1:0"])?;
        let mut claims = Vec::new();
        for number in 1..=2 {
            let ring = format!("{member}/admin-{number}/admin.ring");
            let name = format!("administrator {number}");
            self.accord(&["admin", "new", &ring, "--member", member, "--name", &name, "--unprotected"])?;
            claims.push(format!("{member}/admin-{number}/admin.claim"));
        }
        let (keys, claims) = (format!("public/keys-{member}.accord"), claims.join(","));
        let from_outside = ["--federation", federation];
        let joined = self.said(
            &[["join", &invitation, "--node", &node, "--admins", &claims, "--out", &keys].as_slice(), &from_outside]
                .concat(),
        )?;
        let rings = [format!("{member}/admin-1/admin.ring"), format!("{member}/admin-2/admin.ring")];
        let by_two = ["--ring", &rings[0], "--ring", &rings[1], "--yes"];
        self.accord(&[["federation", "sign", &keys].as_slice(), &from_outside, &by_two].concat())?;
        let (operator, staff) = (format!("{node}/operator/operator.claim"), format!("{member}/staff.accord"));
        let of_member = ["--with", &keys];
        self.accord(
            &[["staff", "add", &operator, "--out", &staff].as_slice(), &of_member, &from_outside, &by_two].concat(),
        )?;
        if member == self.asker() {
            let ring = format!("{member}/officer-laptop/officer.ring");
            self.accord(&["officer", "new", &ring, "--member", member, "--name", "liaison officer", "--unprotected"])?;
            let (claim, out) =
                (format!("{member}/officer-laptop/officer.claim"), format!("public/officers-{member}.accord"));
            let purposes = ["--purposes", "strategic-analysis,early-warning"];
            let adding = ["officer", "add", &claim, "--out", &out];
            self.accord(&[adding.as_slice(), &purposes, &of_member, &from_outside, &by_two].concat())?;
        }
        let fingerprint = text_of(&joined, "/fingerprint")?;
        let groups: Vec<&str> = fingerprint.split(' ').take(2).collect();
        Ok(format!("{member}={}", groups.join(",")))
    }

    fn roster(&self, heard: &[String]) -> anyhow::Result<()> {
        let keys: Vec<String> = self.plan.members.iter().map(|member| format!("public/keys-{member}.accord")).collect();
        self.accord(&[
            "federation",
            "propose",
            "--with",
            "public/root.accord,public/catalogue.accord",
            "--add",
            &keys.join(","),
            "--out",
            "public/roster.accord",
        ])?;
        self.sign_by_two("public/roster.accord", heard)?;
        // Everything public in one file; cards of officers stay with their own member.
        let with = format!("public/roster.accord,public/officers-{}.accord", self.asker());
        self.accord(&["federation", "bundle", "--with", &with, "--out", "public/federation.accord"])?;
        Ok(())
    }

    // What a member's own people install: all that is public, and what is their own.
    fn files_of(&self, member: &str) -> Vec<String> {
        let mut files = vec!["public/federation.accord".to_owned()];
        if member == self.asker() {
            files.push(format!("public/officers-{member}.accord"));
        }
        files
    }

    fn install(&self, member: &str, federation: &str) -> anyhow::Result<()> {
        let node = format!("{member}/node");
        let staff = format!("{member}/staff.accord");
        let mut arguments = vec!["install".to_owned(), node.clone(), "--federation".to_owned(), federation.to_owned()];
        arguments.extend(self.files_of(member));
        arguments.push(staff);
        arguments.extend(self.policy(member, federation)?);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.node(&arguments)?;
        if self.plan.primary_only {
            let settings = self.plan.dir.join(&node).join("node.toml");
            let text = std::fs::read_to_string(&settings)?;
            let text = text.replace("accept_primary_only = false", "accept_primary_only = true");
            files::write_atomically(&settings, text.as_bytes())?;
        }
        Ok(())
    }

    // The rows of a member that provides, signed by two of its administrators.
    fn policy(&self, member: &str, federation: &str) -> anyhow::Result<Option<String>> {
        if member != self.asker() && self.plan.refuse.as_deref() != Some(member) {
            let catalogue = accord_protocol::catalogue::Catalogue::parse(accord_protocol::catalogue::SHIPPED)?;
            let tables: Vec<String> = catalogue.tables().iter().map(|table| format!("\"{}\"", table.name)).collect();
            let tables = tables.join(", ");
            let until = accord_edge::clock::now().plus(365 * accord_protocol::time::DAY_MS).date();
            let grant = format!(
                "[[grant]]\npartner = [\"{}\"]\ntable = [{tables}]\npurpose = [\"strategic-analysis\", \"early-warning\"]\nuntil = \"{until}\"\n",
                self.asker()
            );
            let rows = format!("{member}/node/grants.toml");
            files::write_atomically(&self.plan.dir.join(&rows), grant.as_bytes())?;
            let out = format!("{member}/policy.accord");
            let rings = [1, 2].map(|number| format!("{member}/admin-{number}/admin.ring"));
            let signing = ["--ring", &rings[0], "--ring", &rings[1], "--yes", "--out", &out];
            let place = ["--with", "public/federation.accord", "--federation", federation, "--member", member];
            self.accord(&[["policy", "apply", &rows].as_slice(), &place, &signing].concat())?;
            return Ok(Some(out));
        }
        Ok(None)
    }

    fn start(&self, member: &str) -> anyhow::Result<Running> {
        let log = std::fs::File::create(self.plan.dir.join(member).join("node.log"))?;
        let mut command = Command::new(node_program()?);
        command
            .args(["run", &format!("{member}/node")])
            .current_dir(&self.plan.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if linux::is_root() {
            command.arg("--allow-root");
        }
        let mut child = command.spawn().context("cannot start accord-node")?;
        let stdout = child.stdout.take().context("no output")?;
        self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(member.to_owned(), child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).map_err(|_| {
            let log = std::fs::read_to_string(self.plan.dir.join(member).join("node.log")).unwrap_or_default();
            Failure::fault(
                "DEMO",
                format!("the node of {member} does not start: {}", log.trim()),
                "run it again with --keep DIR",
            )
        })?;
        let text = |field: &str| ready.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        Ok(Running {
            member: member.to_owned(),
            pid: ready.get("pid").and_then(Value::as_u64).unwrap_or(0),
            members: text("members"),
            people: text("people"),
        })
    }

    fn import(&self, member: &str) -> anyhow::Result<Value> {
        let profile = format!("{member}/node/operator");
        let country = member.split('-').next().unwrap_or("");
        let selected = format!("reporting_country={country}");
        let coverage = ["--coverage", &self.plan.period, "--profile", &profile, "--json"];
        let output = match &self.plan.source {
            Source::Real(data) => {
                let data = std::path::absolute(data)?.display().to_string();
                // Rows that break a rule are left out and counted: the public file is not ours to correct.
                let import = ["import", &data, "--mapping", "unodc-ids", "--only", &selected, "--skip-bad"];
                self.checked(&std::env::current_exe()?, &[import.as_slice(), &coverage].concat(), &[0, 1])?
            }
            Source::Records(folder) => {
                let file = std::path::absolute(records_of(folder, member))?.display().to_string();
                self.accord(&[["import", &file].as_slice(), &coverage].concat())?
            }
            Source::Sample => {
                let sample = SAMPLES.iter().find(|(known, _)| *known == member).map_or("", |(_, text)| *text);
                let file = format!("{member}/synthetic.csv");
                files::write_atomically(&self.plan.dir.join(&file), sample.as_bytes())?;
                self.accord(&[["import", &file].as_slice(), &coverage].concat())?
            }
        };
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(report.get("result").cloned().unwrap_or_default())
    }

    // All at once: each takes some seconds of one processor for each year.
    fn publish(&self) -> anyhow::Result<()> {
        let publish =
            |member: &str| self.accord(&["edition", "publish", "--profile", &format!("{member}/node/operator")]);
        std::thread::scope(|scope| {
            let running: Vec<_> = self.plan.members.iter().map(|member| scope.spawn(move || publish(member))).collect();
            running.into_iter().try_for_each(|one| match one.join() {
                Ok(done) => done.map(|_| ()),
                Err(_) => Err(anyhow::anyhow!("a step of the demo stopped unexpectedly")),
            })
        })
    }

    fn officer_profile(&self, federation: &str, nodes: &[Running]) -> anyhow::Result<()> {
        let asker = self.asker();
        let people = nodes.iter().find(|node| node.member == asker).map_or("", |node| node.people.as_str());
        let ring = format!("{asker}/officer-laptop/officer.ring");
        let mut arguments = [
            "profile",
            "new",
            "officer",
            "--member",
            asker,
            "--ring",
            &ring,
            "--node",
            people,
            "--federation",
            federation,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(self.files_of(asker));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.accord(&arguments)?;
        Ok(())
    }

    fn ask(&self) -> anyhow::Result<Output> {
        let others: Vec<&str> = self.plan.members.iter().skip(1).map(String::as_str).collect();
        let (from, deadline) = (others.join(","), self.plan.deadline.to_string());
        let mut arguments = vec![
            "ask",
            "seizures-year-drug",
            "--from",
            &from,
            "--period",
            &self.plan.period,
            "--profile",
            "officer",
            "--evidence",
            "evidence.json",
            "--csv",
            "answer.csv",
            "--deadline",
            &deadline,
            "--no-progress",
            "--color",
            "never",
        ];
        if self.plan.json {
            arguments.push("--json");
        }
        // Success is what was staged: a partner that refuses or is down makes the question incomplete.
        let staged = [&self.plan.refuse, &self.plan.stop].iter().any(|member| member.is_some());
        let all_refuse = others.len() == 1 && self.plan.refuse.is_some();
        let expected = if all_refuse { 3 } else { i32::from(staged) };
        self.checked(&std::env::current_exe()?, &arguments, &[expected])
    }

    fn outcome(
        &self,
        federation: &str,
        nodes: &[Running],
        imports: &[Value],
        asked: &Output,
        verified: &Value,
        elapsed_ms: u64,
    ) -> anyhow::Result<Outcome> {
        let holds = verified.pointer("/result/verified").and_then(Value::as_bool) == Some(true);
        if self.plan.json {
            let envelope: Value = serde_json::from_slice(&asked.stdout)?;
            let mut result = envelope.get("result").cloned().unwrap_or_default();
            if let Some(result) = result.as_object_mut() {
                let listed: Vec<Value> =
                    nodes.iter().map(|node| json!({ "member": node.member, "pid": node.pid, "members": node.members, "people": node.people })).collect();
                result.insert("nodes".into(), Value::Array(listed));
                result.insert(
                    "evidence".into(),
                    json!({ "verified": holds, "statements": verified.pointer("/result/statements") }),
                );
                result.insert("federation".into(), json!(federation));
                result.insert("imports".into(), json!(imports));
                result.insert("demo_elapsed_ms".into(), json!(elapsed_ms));
                result.insert("synthetic".into(), json!(matches!(self.plan.source, Source::Sample)));
            }
            let warnings = serde_json::from_value(envelope.get("warnings").cloned().unwrap_or_else(|| json!([])))?;
            return Ok(Outcome { warnings, exit: if holds { 0 } else { 3 }, ..Outcome::done(result, "") });
        }
        let count = |report: &Value, path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let mut text = String::new();
        text += &match &self.plan.source {
            Source::Real(_) => {
                "Data: UNODC, Individual Drug Seizures 2011-2016 (acknowledgement: UNODC); cannabis is not in the file.\n".to_owned()
            }
            Source::Records(folder) => format!("Data: the files in {}.\n", folder.display()),
            Source::Sample => "Data: a SYNTHETIC sample; no real seizure is in it.\n".to_owned(),
        };
        for (node, report) in nodes.iter().zip(imports) {
            text += &format!(
                "{} imported {} rows ({} left out by rule), pid {}, members on {}\n",
                node.member,
                count(report, "/rows/new"),
                count(report, "/rows/skipped"),
                node.pid,
                node.members
            );
        }
        text.push('\n');
        text += &String::from_utf8_lossy(&asked.stdout);
        text += &format!(
            "\nevidence: {} statement(s) verified offline under federation {federation}\ndone in {}.{} s\n",
            verified.pointer("/result/statements").and_then(Value::as_array).map_or(0, Vec::len),
            elapsed_ms / 1000,
            elapsed_ms % 1000 / 100
        );
        if self.plan.keep {
            text += &self.how_to_explore(federation)?;
        }
        Ok(Outcome { exit: if holds { 0 } else { 3 }, text, ..Outcome::default() })
    }

    fn how_to_explore(&self, federation: &str) -> anyhow::Result<String> {
        let root = if linux::is_root() { " --allow-root" } else { "" };
        let accord = std::env::current_exe()?.display().to_string();
        let node = node_program()?.display().to_string();
        let mut text = format!(
            "\nEverything is in {}. The nodes are stopped; to go on:\n  cd {}\n",
            self.plan.dir.display(),
            self.plan.dir.display()
        );
        for member in &self.plan.members {
            text += &format!("  {node} run {member}/node{root} &\n");
        }
        let asker = self.asker();
        text += &format!("  {accord} --profile officer trust\n  {accord} --profile officer tables\n");
        text += &format!(
            "  {accord} --profile officer ask seizures-year-drug --period {} --by time=quarter,drug=group\n",
            self.plan.quarters()
        );
        text += &format!("  {accord} --profile {asker}/node/operator edition show\n");
        text += &format!("  {accord} evidence verify evidence.json --federation {federation}\n");
        Ok(text)
    }
}

fn text_of(value: &Value, path: &str) -> anyhow::Result<String> {
    value.pointer(path).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {path} in a reply"))
}

/// `accord-node` beside this program, or on the search path.
fn node_program() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("accord-node");
    if beside.is_file() {
        return Ok(beside);
    }
    let found = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|folder| folder.join("accord-node"))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::fault(
            "DEMO",
            format!("accord-node is neither at {} nor on the search path", beside.display()),
            "build both programs: cargo build --profile ci",
        )
        .into()
    })
}
