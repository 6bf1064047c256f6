//! The audit log for the agency's auditors and operators: looking, proving, taking a copy, what left, retention.

mod copy;
mod destroying;
mod egress;
mod everything;
mod retention;

use accord_edge::clock;
use accord_protocol::{
    id::Hash,
    log::{Detail, Entry, EventKind, Note, Proof, SignedCheckpoint, log_origin, tree},
    message::AuditFilter,
    time::UnixMs,
};
use serde_json::{Value, json};

use super::{Actor, Happening, Node, Reply, done, failed, store_failed};
use crate::io::store::StoreError;

/// Entries in one reply, at most.
const SHOWN_MAX: u32 = 10_000;
/// Entries read at once, going backwards.
const PAGE: u64 = 512;

/// How long reading goes on as one, in milliseconds.
const READING_MS: u64 = 600_000;

/// What there is of what an entry commits to.
enum Found {
    /// It is there.
    There(Detail),
    /// It is no longer kept.
    Gone,
    /// Something else is there.
    Changed,
}

impl Found {
    fn json(&self) -> Option<Value> {
        match self {
            Self::There(detail) => serde_json::from_slice(&detail.text).ok(),
            Self::Gone | Self::Changed => None,
        }
    }
}

/// Which entries are meant, read.
struct Filter {
    kinds: Vec<EventKind>,
    since: UnixMs,
    until: UnixMs,
    member: Option<String>,
    actor: Option<String>,
    request: Option<String>,
}

impl Filter {
    fn read(filter: &AuditFilter) -> Result<Self, String> {
        let kind = |word: &String| {
            EventKind::from_word(word).ok_or_else(|| {
                let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                format!(
                    "there is no kind of entry `{}`; there are: {}",
                    accord_protocol::text::shown(word),
                    all.join(", ")
                )
            })
        };
        Ok(Self {
            kinds: filter.kinds.iter().map(kind).collect::<Result<_, _>>()?,
            since: UnixMs(filter.since_ms.unwrap_or(0)),
            until: UnixMs(filter.until_ms.unwrap_or(u64::MAX)),
            member: filter.member.clone(),
            actor: filter.actor.clone(),
            request: filter.request.clone(),
        })
    }

    // By what the entry itself says.
    fn may_be(&self, entry: &Entry) -> bool {
        let is_kind =
            if self.kinds.is_empty() { entry.kind != EventKind::Padding } else { self.kinds.contains(&entry.kind) };
        is_kind && entry.time >= self.since && entry.time < self.until
    }

    // By its detail, where that is asked about.
    fn is(&self, detail: Option<&Value>) -> bool {
        let text = |name: &str| detail.and_then(|detail| detail.get(name)).and_then(Value::as_str).unwrap_or_default();
        let has_member = |member: &String| {
            let of_actor = text("actor").split(':').any(|part| part == member);
            of_actor || ["requester", "audience", "from", "partner"].iter().any(|name| text(name) == member)
        };
        self.member.as_ref().is_none_or(has_member)
            && self.actor.as_ref().is_none_or(|actor| text("actor").contains(actor.as_str()))
            && self.request.as_ref().is_none_or(|id| !id.is_empty() && text("request_id").starts_with(id.as_str()))
    }
}

impl Node {
    /// What an entry commits to. Blocks on the store.
    fn detail_of(&self, entry: &Entry) -> Result<Found, StoreError> {
        let sealed = self.store.sealed(entry.seq)?;
        Ok(sealed.map_or(Found::Gone, |sealed| self.opened(entry, &sealed)))
    }

    /// The same of what is sealed.
    fn opened(&self, entry: &Entry, sealed: &[u8]) -> Found {
        match self.journal.read(sealed) {
            Ok(Some(detail)) if entry.commits_to(&detail) => Found::There(detail),
            Ok(None) => Found::Gone,
            Ok(Some(_)) | Err(_) => {
                tracing::error!(entry = entry.seq, "ALARM: the detail of an entry of the audit log was changed");
                Found::Changed
            }
        }
    }

    /// Enters that one of the own people reads the log. Blocks on the store.
    fn enter_reading(&self, by: &Actor, what: Value) -> Result<(), StoreError> {
        self.record(&Happening::new(EventKind::Read, by, what))?;
        let mut readings = self.readings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        readings.insert(by.to_string(), self.since_start.ms());
        Ok(())
    }

    // Whoever goes on reading is entered every ten minutes: not for each second of it, which would be all that there is to read.
    fn goes_on_reading(&self, by: &Actor) -> bool {
        let readings = self.readings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        readings.get(&by.to_string()).is_some_and(|last| self.since_start.ms() < last + READING_MS)
    }

    /// Shows entries. Blocks on the store.
    pub(crate) fn audit_show(&self, wanted: &AuditFilter, by: &Actor) -> Reply {
        let filter = match Filter::read(wanted) {
            Ok(filter) => filter,
            Err(message) => return failed(2, "KIND", message, "see docs/audit.md"),
        };
        let limit = wanted.limit.clamp(1, SHOWN_MAX) as usize;
        let shown = || {
            // Before anything of it is shown.
            if wanted.from.is_none() || !self.goes_on_reading(by) {
                self.enter_reading(by, json!({ "what": "entries", "filter": wanted }))?;
            }
            let size = self.store.log_tree().size();
            let destroyed = self.store.destroyed()?;
            let first = destroyed.entries;
            let (entries, lacks) = if let Some(from) = wanted.from {
                (self.forwards(&filter, from, size, limit)?, from < first)
            } else {
                let found = self.backwards(&filter, (first, size), limit)?;
                let begins = self.store.entries(first).next().transpose()?.map(|entry| entry.time);
                // Whoever is shown everything that was asked for lacks nothing.
                let lacks = found.len() < limit && begins.is_some_and(|begins| filter.since < begins);
                (found, lacks)
            };
            let mut reply = done(json!({
                "member": self.config.member.as_str(), "size": size, "first": first, "entries": entries,
            }));
            reply.warnings.extend(Self::destroyed_notice(&destroyed).filter(|_| lacks));
            Ok(reply)
        };
        shown().unwrap_or_else(|error: StoreError| store_failed(&error))
    }

    fn forwards(&self, filter: &Filter, from: u64, size: u64, limit: usize) -> Result<Vec<Value>, StoreError> {
        let mut shown = Vec::new();
        for entry in self.store.entries(from) {
            let entry = entry?;
            if shown.len() >= limit || entry.seq >= size {
                break;
            }
            shown.extend(self.shown(filter, &entry)?);
        }
        Ok(shown)
    }

    // The latest ones, in the order of the log.
    fn backwards(&self, filter: &Filter, (first, size): (u64, u64), limit: usize) -> Result<Vec<Value>, StoreError> {
        let (mut shown, mut end) = (Vec::new(), size);
        while end > first && shown.len() < limit {
            let start = end.saturating_sub(PAGE).max(first);
            // Some may be destroyed meanwhile: then what comes is from behind this page.
            let is_here = |entry: &Result<Entry, StoreError>| entry.as_ref().map_or(true, |entry| entry.seq < end);
            let page: Vec<Entry> = self.store.entries(start).take_while(is_here).collect::<Result<_, _>>()?;
            for entry in page.iter().rev() {
                if shown.len() >= limit {
                    break;
                }
                shown.extend(self.shown(filter, entry)?);
            }
            end = start;
        }
        shown.reverse();
        Ok(shown)
    }

    fn shown(&self, filter: &Filter, entry: &Entry) -> Result<Option<Value>, StoreError> {
        if !filter.may_be(entry) {
            return Ok(None);
        }
        let found = self.detail_of(entry)?;
        let is_changed = matches!(found, Found::Changed);
        let detail = found.json();
        Ok(filter.is(detail.as_ref()).then(|| {
            json!({
                "seq": entry.seq, "time": entry.time.to_string(), "kind": entry.kind.as_str(),
                "subject": (entry.subject != Hash::ZERO).then(|| entry.subject.to_string()), "detail": detail,
                "detail_changed": is_changed,
            })
        }))
    }

    /// Proves that an entry stands in the log: as it was last closed for witnesses, else as it is now. Blocks on the store.
    pub(crate) fn audit_prove(&self, seq: u64, with_detail: bool, by: &Actor) -> Reply {
        let proven = || {
            if with_detail {
                self.enter_reading(by, json!({ "what": "entry", "seq": seq }))?;
            }
            let (log, now) = self.checkpoint_with_tree()?;
            let Some(entry) = self.store.entry(seq)?.filter(|_| seq < log.size()) else {
                let destroyed = self.store.destroyed()?;
                if let Some(told) = Self::destroyed_notice(&destroyed).filter(|_| seq < destroyed.entries) {
                    let message = format!("entry {seq} cannot be proved any more: {}", told.message);
                    return Ok(failed(2, &told.code, message, "a proof or copy that was made before still holds"));
                }
                let message = format!("the log has {} entries, from 0: there is no entry {seq}", log.size());
                return Ok(failed(2, "NO-ENTRY", message, "see accord audit show"));
            };
            let (size, checkpoint) = self.closed_over(seq)?.unwrap_or((log.size(), now.note().clone()));
            let path = tree::inclusion(&log.nodes(&self.store), seq, size)?;
            let detail = match self.detail_of(&entry)? {
                Found::There(detail) if with_detail => Some(detail),
                Found::There(_) | Found::Gone | Found::Changed => None,
            };
            let is_detailed = detail.is_some();
            let proof =
                Proof { index: seq, path: path.unwrap_or_default(), entry: entry.to_bytes(), detail, checkpoint };
            Ok(done(json!({
                "member": self.config.member.as_str(), "seq": seq, "kind": entry.kind.as_str(), "time": entry.time.to_string(),
                "size": size, "detail": is_detailed, "proof": proof.to_string(),
            })))
        };
        proven().unwrap_or_else(|error: StoreError| store_failed(&error))
    }

    // The latest checkpoint that was kept, if it is over this entry and signed with a key that counts now.
    fn closed_over(&self, seq: u64) -> Result<Option<(u64, Note)>, StoreError> {
        let Some((size, text)) = self.store.last_checkpoint()?.filter(|(size, _)| *size > seq) else { return Ok(None) };
        let standing = self.standing();
        let trust = standing.trust();
        let origin = log_origin(trust.federation(), &self.config.member);
        let keys = trust.log_keys(&self.config.member, clock::now());
        let note =
            Note::parse(&text).ok().filter(|note| SignedCheckpoint::verify(note.clone(), &origin, &keys).is_ok());
        Ok(note.map(|note| (size, note)))
    }

    /// Closes the log for witnesses now. Blocks on the store.
    pub(crate) fn audit_close(&self, by: &Actor) -> Reply {
        let closed = || {
            self.record(&Happening::new(EventKind::Read, by, json!({ "what": "close" })))?;
            self.close_log()
        };
        match closed() {
            Ok(signed) => done(json!({
                "member": self.config.member.as_str(), "at": clock::now().to_string(), "size": signed.checkpoint().size,
                "root": signed.checkpoint().root.to_string(), "checkpoint": signed.note().to_string(),
            })),
            Err(error) => store_failed(&error),
        }
    }
}
