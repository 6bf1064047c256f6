//! The node's state, for its people.

use accord_edge::clock;
use accord_protocol::{message::Notice, time::UnixMs, trust::Trust};
use serde_json::{Value, json};

use super::{Node, Reply, done};
use crate::domain::{access::Access, inbox};

impl Node {
    /// What the node holds and how it runs: counts and versions, nothing of any record.
    pub fn status(&self) -> Reply {
        let standing = self.standing();
        let trust = standing.trust();
        let now = clock::now();
        let lines = self.records().index.len();
        // Numbers of imports that failed are not used again, nor those that a restored node may have forgotten: the number of the last one
        // is not how many there are.
        let (imports, editions) = (self.store.imports().count(), self.store.editions().count());
        let edition = self.current_number().and_then(|number| self.loaded_edition(number).ok().flatten());
        let mut warnings = self.standstill_warnings();
        let (read_only, why) = self.read_only_json();
        warnings.extend(why);
        let (mark, behind) = self.clock_state(now);
        if !trust.roster_is_current(now) {
            warnings.push(super::notice(
                "ROSTER-EXPIRED",
                "the roster has expired: no data is exchanged until a new one is installed",
            ));
        }
        warnings.extend(unknown_names(&standing.access));
        warnings.extend(self.log_warnings());
        let panics = crate::io::telemetry::panics();
        if panics > 0 {
            warnings.push(super::notice(
                "PANICS",
                "a task of the node has panicked since its start: see the log for ALARM",
            ));
        }
        let waiting = self.inbox().waiting();
        warnings.extend(nobody_decides(waiting, trust, now));
        let contradictions = match self.contradictions_json() {
            Ok(contradictions) => contradictions,
            Err(error) => return super::store_failed(&error),
        };
        if !contradictions.is_empty() {
            warnings.push(super::notice(
                "CONTRADICTION",
                "a partner signed two different replies to one request: see `accord status --json`, and call its liaison and the federation's administrators",
            ));
        }
        let restored = match self.restored_json() {
            Ok(restored) => restored,
            Err(error) => return super::store_failed(&error),
        };
        warnings.extend(was_restored(&restored));
        let mut reply = done(json!({
            "restored": restored,
            "read_only": read_only,
            "log": self.log_json(),
            "panics": panics,
            "door": self.door.counts(),
            "replies": self.replies().iter().map(|(member, count)| (member.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "contradictions": contradictions,
            "member": self.config.member.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "now": now.to_string(),
            "listen": { "members": self.config.listen_members.to_string(), "people": self.config.listen_people.to_string() },
            "federation": trust.federation().to_string(),
            "roster": { "epoch": trust.root().epoch, "version": trust.roster().roster_version, "hash": trust.roster().hash().to_string(), "expires_at": trust.roster().expires_at.to_string() },
            "fresh": self.is_fresh(),
            "learning": self.is_learning(),
            "isolated": self.is_isolated(),
            "clock": { "mark": mark.at.to_string(), "from": mark.from.as_str(), "behind": behind },
            "suspensions": self.suspensions_json(),
            "store": { "sequence": self.store.sequence(), "lines": lines, "imports": imports },
            "edition": edition.map(|edition| json!({ "number": edition.frozen.header.number, "hash": edition.frozen.header.commit.to_string(), "protection": edition.frozen.header.protection.as_str(), "published_at": edition.frozen.header.published_at.to_string() })),
            "editions": editions,
            "coverage": self.coverage_json(),
            "mappings": super::mappings::shipped(),
            "inbox": { "waiting": waiting },
            "requests": { "waiting": self.waiting_elsewhere() },
            "grants": self.standing().access.rows(),
            "policy": self.policy_json(),
            "limits": self.limits_json(),
            "rules": { "k": self.config.rules.k(), "p_percent": f64::from(self.config.rules.p_percent()), "dominance_percent": f64::from(self.config.rules.dominance_percent()), "zeros": self.config.rules.zeros().as_str() },
            "accept_primary_only": self.config.accept_primary_only,
        }));
        reply.exit = u8::from(!warnings.is_empty());
        reply.warnings = warnings;
        reply
    }

    fn limits_json(&self) -> Value {
        let (quota, replies) = (&self.config.quota, super::answering::REPLIES_MAX);
        json!({
            "import_bytes": self.config.import_bytes_max, "quota_burst": quota.officer.burst,
            "quota_per_minute": quota.officer.per_minute, "quota_member_burst": quota.member.burst,
            "quota_member_per_minute": quota.member.per_minute, "replies_remembered": replies,
            "publish_delay_days": self.config.publish_delay_days,
        })
    }
}

fn was_restored(restored: &Value) -> Option<Notice> {
    let message =
        "this node was restored from a backup: what it did since then is not in its records, editions or audit log";
    (!restored.is_null()).then(|| super::notice("RESTORED", message))
}

fn unknown_names(access: &Access) -> Option<Notice> {
    let unknown = access.unknown();
    (!unknown.is_empty()).then(|| {
        let message = format!(
            "the policy names what the roster and catalogue do not have, and permits nothing of that: {}",
            unknown.join(", ")
        );
        super::notice("POLICY-NAMES", &message)
    })
}

fn nobody_decides(waiting: usize, trust: &Trust, now: UnixMs) -> Option<Notice> {
    (waiting > 0 && inbox::approvers(trust, now).is_empty()).then(|| {
        let message = format!(
            "{waiting} request(s) wait for a person, and nobody on the staff list may decide: list an approver (accord staff add)"
        );
        super::notice("NO-APPROVER", &message)
    })
}
