//! A member's connection with everything that a request in order needs, so that a case changes exactly one thing of it.

use std::{collections::BTreeMap, path::Path};

use accord_edge::clock;
use accord_tests::Said;

use crate::{
    client::{Came, Link, StreamEnd},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::Outcome,
    wire::{
        self,
        fields::Fields,
        frames,
        keys::{Key, ROLE_OFFICER, ROLE_SIGN, random},
        messages::{Body, Dim, Envelope, NO_HASH, Query, ask_call, sealed},
        replies::{ANSWERED, Awaited, Judged},
        sha256,
    },
};

/// Codes of two drug groups, cocaine and heroin, in the list of drugs.
pub(crate) const TWO_DRUGS: [u32; 2] = [1, 12];
/// The years of the demonstration's records.
pub(crate) const YEARS: [u32; 5] = [202_100, 202_200, 202_300, 202_400, 202_500];
/// Milliseconds of a minute.
pub(crate) const MINUTE: u64 = 60_000;

/// Node time in milliseconds.
pub(crate) fn now() -> u64 {
    clock::now().0
}

/// What a member holds: its node's keys, and its officer's where it has one.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) member: String,
    pub(crate) sign: Key,
    pub(crate) officer: Key,
    pub(crate) card: Vec<u8>,
    pub(crate) federation: [u8; 32],
    pub(crate) partner: String,
    pub(crate) partner_key: [u8; 32],
}

impl Means {
    /// A member of the stage against the provider that is attacked. The only officer is the attacker's.
    pub(crate) fn of(stage: &Stage, member: &str) -> Self {
        let path = stage.federation.path();
        let of_node = |member: &str, role| Key::of_ring(&path.join(member).join("node/node.ring"), role);
        Self {
            member: member.to_owned(),
            sign: of_node(member, ROLE_SIGN),
            officer: Key::of_ring(&path.join("officer/person.ring"), ROLE_OFFICER),
            card: stage.card.clone(),
            federation: stage.fed_id,
            partner: VICTIM.to_owned(),
            partner_key: of_node(VICTIM, ROLE_SIGN).public(),
        }
    }

    /// A request in order with a fresh id: seizures of two drugs in five years.
    pub(crate) fn body(&self) -> Body {
        let issued_at = now();
        Body {
            request_id: random(),
            requester: ATTACKER.to_owned(),
            officer_card_hash: sha256(&self.card),
            audience: self.partner.clone(),
            issued_at,
            deliver_by: issued_at + 10 * MINUTE,
            wanted_until: 0,
            epoch: 1,
            roster_version: 1,
            view_hash: NO_HASH,
            edition: 0,
            purpose: 1,
            legal_basis: 1,
            topic_hash: NO_HASH,
            case_ref_commit: random(),
            reply_class: 0,
            query: Query {
                table_id: 1,
                table_version: 1,
                measures: 1,
                dims: vec![Dim::new(0, 0, &YEARS), Dim::new(1, 1, &TWO_DRUGS)],
            },
        }
    }

    /// The officer's signature over a body.
    pub(crate) fn officer_signs(&self, body: &[u8]) -> [u8; 64] {
        self.officer.sign("request-body", &self.federation, body)
    }

    /// A body as the officer's own node gets it.
    pub(crate) fn ask(&self, body: &[u8], wait_ms: u32) -> Fields {
        ask_call(body, &self.officer_signs(body), &self.card, wait_ms)
    }
}

/// A connection of a member to the provider that is attacked.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) means: Means,
    pub(crate) link: Link,
    pub(crate) binding: [u8; 32],
}

impl Peer {
    /// Connects as a member of the stage.
    pub(crate) async fn connect(stage: &Stage, member: &str) -> Result<Self, String> {
        let dial = if member == HONEST { stage.honest() } else { stage.attacker() };
        let link = dial.connect(stage.victim()).await.map_err(|end| format!("no connection: {end}"))?;
        let binding = link.channel_binding();
        Ok(Self { means: Means::of(stage, member), link, binding })
    }

    /// An envelope in order around a body.
    pub(crate) fn envelope(&self, body: &[u8]) -> Envelope {
        Envelope {
            body: body.to_vec(),
            officer_signature: self.means.officer_signs(body),
            officer_card: self.means.card.clone(),
            topic: Vec::new(),
            node_id: self.means.member.clone(),
            node_key: self.means.sign.public(),
            sent_at: now(),
            channel_binding: self.binding,
        }
    }

    /// The head's payload of a request: the envelope, signed by the node.
    pub(crate) fn seal(&self, envelope: &[u8]) -> Vec<u8> {
        sealed(&self.means.sign, "request", &self.means.federation, envelope)
    }

    /// The payload of a request in order around a body.
    pub(crate) fn payload(&self, body: &[u8]) -> Vec<u8> {
        self.seal(&self.envelope(body).fields().encode())
    }

    /// A whole stream in order around a body.
    pub(crate) fn request(&self, body: &[u8]) -> Vec<u8> {
        frames::request_stream(&self.payload(body))
    }

    /// A whole stream in order around an envelope.
    pub(crate) fn request_in(&self, envelope: &Fields) -> Vec<u8> {
        frames::request_stream(&self.seal(&envelope.encode()))
    }

    /// Sends a stream and judges what comes as the provider's signed reply.
    pub(crate) async fn exchange(&self, stream: &[u8]) -> Result<Judged, String> {
        let came = self.link.ask(stream).await;
        self.judge(&came)
    }

    /// Judges what came as the provider's signed reply.
    pub(crate) fn judge(&self, came: &Came) -> Result<Judged, String> {
        if came.end != StreamEnd::Fin {
            return Err(format!("{} bytes, then {}", came.bytes.len(), came.end));
        }
        self.judge_bytes(&came.bytes)
    }

    /// Judges a whole stream as the provider's signed reply.
    pub(crate) fn judge_bytes(&self, stream: &[u8]) -> Result<Judged, String> {
        let means = &self.means;
        let awaited = Awaited {
            responder: means.partner.clone(),
            sign_key: means.partner_key,
            federation: means.federation,
            requester: means.member.clone(),
            now: now(),
        };
        awaited.judge(stream)
    }

    /// That nothing was executed under an id: a request in order with this id and another content is answered, not `E_CONFLICT`.
    pub(crate) async fn is_fresh(&self, id: [u8; 16]) -> Result<(), String> {
        let body = Body { request_id: id, ..self.means.body() };
        let judged = self.exchange(&self.request(&body.encode())).await?;
        if judged.word() == ANSWERED {
            Ok(())
        } else {
            Err(format!("afterwards its id is not fresh: {}", judged.word()))
        }
    }
}

/// A stream that must be refused.
#[derive(Debug)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) what: String,
    /// All its bytes.
    pub(crate) stream: Vec<u8>,
    /// The id of the request in it.
    pub(crate) id: [u8; 16],
    /// The answer's word.
    pub(crate) want: &'static str,
    /// The class of the reply.
    pub(crate) class: u8,
    /// Whether the id is free afterwards.
    pub(crate) fresh: bool,
}

impl Fault {
    /// A stream that is refused in the smallest class before anything is remembered.
    pub(crate) fn new(what: impl Into<String>, id: [u8; 16], stream: Vec<u8>, want: &'static str) -> Self {
        Self { what: what.into(), stream, id, want, class: 0, fresh: true }
    }

    /// A body that is refused: signed by the officer, in an envelope in order.
    pub(crate) fn body(peer: &Peer, what: impl Into<String>, body: &Body, want: &'static str) -> Self {
        Self { class: body.reply_class, ..Self::new(what, body.request_id, peer.request(&body.encode()), want) }
    }

    /// The same, where the refusal is a decision that is remembered.
    pub(crate) fn decided(peer: &Peer, what: impl Into<String>, body: &Body, want: &'static str) -> Self {
        Self { fresh: false, ..Self::body(peer, what, body, want) }
    }
}

/// What a provider has counted since it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    door: BTreeMap<String, u64>,
    sequence: u64,
    log: u64,
    panics: u64,
}

impl Counts {
    /// Asks a member's own operator.
    pub(crate) fn of(stage: &Stage, member: &str) -> Result<Self, String> {
        let said = stage.federation.operator(member, &["status", "--json"]);
        let result = json(&said)?["result"].clone();
        let door = result["door"].as_object().ok_or_else(|| format!("the status counts nothing: {result}"))?;
        Ok(Self {
            door: door.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0))).collect(),
            sequence: result["store"]["sequence"].as_u64().ok_or("no sequence")?,
            log: result["log"]["size"].as_u64().ok_or("no size of the audit log")?,
            panics: result["panics"].as_u64().ok_or("no panics")?,
        })
    }

    /// How often something happened.
    pub(crate) fn get(&self, what: &str) -> u64 {
        self.door.get(what).copied().unwrap_or(0)
    }

    /// That since an earlier look nothing panicked, and that replies went out as often as told, and no others.
    pub(crate) fn grew(&self, before: &Self, expected: &BTreeMap<&str, u64>) -> Result<(), String> {
        if self.panics != before.panics {
            return Err("a task of the node has panicked".into());
        }
        for word in wire::replies::REFUSALS.iter().chain(&[ANSWERED, "answered_again"]) {
            let (grew, want) = (self.get(word) - before.get(word), expected.get(word).copied().unwrap_or(0));
            if grew != want {
                return Err(format!("the node counts {grew} times {word} where {want} were provoked"));
            }
        }
        Ok(())
    }

    /// What a member's node has stored since: kinds of entries of its audit log. A commit without an entry is a fault.
    pub(crate) fn stored_since(&self, stage: &Stage, member: &str) -> Result<Vec<String>, String> {
        let after = Self::of(stage, member)?;
        if after.sequence - self.sequence > after.log - self.log {
            return Err("something was stored that is not in the audit log".into());
        }
        let from = self.log.to_string();
        let show = ["audit", "show", "--from", &from, "--limit", "1000", "--json"];
        let said = json(&stage.federation.operator(member, &show))?;
        let entries = said["result"]["entries"].as_array().ok_or_else(|| format!("no entries: {said}"))?;
        Ok(entries.iter().filter_map(|entry| entry["kind"].as_str()).map(str::to_owned).collect())
    }

    /// Commits of the store.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// Standard output of a command as JSON.
pub(crate) fn json(said: &Said) -> Result<serde_json::Value, String> {
    serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {} {}", said.stdout, said.stderr))
}

/// Starts the attacked node anew, with all it counts, logs and allows at their beginning, and quotas that no case comes near.
pub(crate) fn anew(stage: &mut Stage) {
    anew_with(stage, 100_000, 60);
}

/// Starts the attacked node anew with a quota for each officer: so many requests at once, and so many a minute.
pub(crate) fn anew_with(stage: &mut Stage, burst: u32, per_minute: u32) {
    stage.stop(VICTIM);
    let settings = file(stage, "IT-AGENCY/node/node.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("burst", _)) => format!("burst = {burst}\n"),
        Some(("per_minute", _)) => format!("per_minute = {per_minute}\n"),
        Some(("member_burst", _)) => "member_burst = 100000\n".to_owned(),
        _ => format!("{line}\n"),
    });
    std::fs::write(settings, lines.collect::<String>()).unwrap();
    stage.start(VICTIM);
}

/// Plays streams that must be refused, one after the other over one connection of the attacker, and judges each reply: its word, its
/// class, its signature, what the node counts, and that no id was used up.
pub(crate) fn refused(stage: &mut Stage, faults: impl FnOnce(&Peer) -> Vec<Fault>) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let (count, expected, wrong) = stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let faults = faults(&peer);
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (index, fault) in faults.iter().enumerate() {
            *expected.entry(fault.want).or_default() += 1;
            if let Err(why) = play(&peer, fault).await {
                wrong.push(format!("{}: {why}", fault.what));
            }
            // Trying an id uses it up: where several streams name one, it is tried after the last.
            let last = !faults[index + 1..].iter().any(|later| later.fresh && later.id == fault.id);
            if fault.fresh && last && fault.want != ANSWERED {
                *expected.entry(ANSWERED).or_default() += 1;
                if let Err(why) = peer.is_fresh(fault.id).await {
                    wrong.push(format!("{}: {why}", fault.what));
                }
            }
        }
        peer.link.close();
        Ok::<_, String>((faults.len(), expected, wrong))
    })?;
    if !wrong.is_empty() {
        return Err(format!("{} of {count}: {}", wrong.len(), wrong.join("; ")));
    }
    Counts::of(stage, VICTIM)?.grew(&before, &expected)?;
    let words = expected.iter().filter(|(word, _)| **word != ANSWERED).map(|(word, count)| format!("{count} {word}"));
    Ok(format!("{count} streams: {}; every id free", words.collect::<Vec<_>>().join(", ")))
}

async fn play(peer: &Peer, fault: &Fault) -> Result<(), String> {
    let judged = peer.exchange(&fault.stream).await?;
    let head = &judged.head;
    if (judged.word(), judged.class) != (fault.want, fault.class) {
        return Err(format!(
            "{} in class {} where {} in class {} is due",
            judged.word(),
            judged.class,
            fault.want,
            fault.class
        ));
    }
    if head.request_id != fault.id && head.request_id != [0; 16] {
        return Err("the refusal names another request".into());
    }
    Ok(())
}

/// A file of the stage's federation.
pub(crate) fn file(stage: &Stage, name: &str) -> std::path::PathBuf {
    stage.federation.path().join(Path::new(name))
}
