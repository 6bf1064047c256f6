//! Whether this node exchanges data now: learning, isolation, suspensions of partners, its clock, its keys, and how fresh it is.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    id::NodeId, log::EventKind, message::Notice, roster::MemberState, suspend::Target, time::UnixMs, trust::Trust,
};
use serde_json::json;

use super::{
    Node, Standing,
    journal::{Actor, Happening},
    notice,
};
use crate::{
    domain::{
        clock_mark::{Mark, foreign_times, others, resets},
        learning::LEARN_WITHIN_MS,
        standstill::Standstill,
        sure_time::SureTime,
    },
    io::store::{Batch, StoreError},
};

impl Node {
    /// Why no data is exchanged with a member now, with the own one for the own officers' questions to their node; nothing if it is.
    pub(crate) fn stands_still(&self, with: &NodeId) -> Option<Standstill> {
        let (standing, now, me) = (self.standing(), clock::now(), &self.config.member);
        let trust = standing.trust();
        let stop = |target, subject: &NodeId| trust.local_stop(me, target, subject.as_str(), now);
        if let Some(stop) = stop(Target::Node, me) {
            return Some(Standstill::Isolated { until: stop.until });
        }
        let mark = self.clock_mark().mark().clone();
        if self.clock_mark().is_behind(now) {
            return Some(Standstill::Clock { now, mark: mark.at, from: mark.from.as_str().to_owned() });
        }
        if !self.voice().is_listed {
            return Some(Standstill::NoKeys);
        }
        if let Some(why) = self.log_standstill(with) {
            return Some(why);
        }
        if with == me {
            return None;
        }
        if !self.is_fresh() {
            return Some(Standstill::NotFresh);
        }
        stop(Target::Partner, with).map(|stop| Standstill::Partner { partner: with.clone(), until: stop.until })
    }

    /// Whether an own administrator has isolated the node.
    pub(super) fn is_isolated(&self) -> bool {
        let me = &self.config.member;
        self.standing().trust().local_stop(me, Target::Node, me.as_str(), clock::now()).is_some()
    }

    /// Whether an own administrator has stopped the exchange with a member, or with all.
    pub(crate) fn has_stopped(&self, member: &NodeId) -> bool {
        let (standing, me) = (self.standing(), &self.config.member);
        let partner = standing.trust().local_stop(me, Target::Partner, member.as_str(), clock::now());
        partner.is_some() || self.is_isolated()
    }

    /// What people must know of why no data is exchanged, the gravest first.
    pub(super) fn standstill_warnings(&self) -> Vec<Notice> {
        let mut warnings = Vec::new();
        if let Some(why) = self.stands_still(&self.config.member) {
            let code = match &why {
                Standstill::Isolated { .. } => "ISOLATED",
                Standstill::Clock { .. } => "CLOCK",
                Standstill::NoKeys => "NO-KEYS",
                Standstill::NotFresh => "NOT-FRESH",
                Standstill::Partner { .. } => "SUSPENDED",
                Standstill::Restored => "RECONCILING",
                Standstill::OwnLog { .. }
                | Standstill::Fork { .. }
                | Standstill::Unproven { .. }
                | Standstill::Behind { .. } => "FORK",
            };
            warnings.push(notice(code, &why.to_string()));
        }
        if !self.is_fresh() {
            warnings.push(notice("NOT-FRESH", &Standstill::NotFresh.to_string()));
        }
        warnings
    }

    /// The mark, and whether the clock is behind it.
    pub(super) fn clock_state(&self, now: UnixMs) -> (Mark, bool) {
        let mark = self.clock_mark();
        (mark.mark().clone(), mark.is_behind(now))
    }

    /// Raises the clock's mark by documents, or sets it as administrators say in one. Blocks on the store.
    pub(super) fn mark_documents(&self) -> Result<(), StoreError> {
        let (standing, now, me) = (self.standing(), clock::now(), &self.config.member);
        let trust = standing.trust();
        let mut batch = Batch::default();
        let mut mark = self.clock_mark();
        for (document, at) in resets(trust, me) {
            if mark.set_anew(document, at, now) {
                let entry = clock_happening("set-anew", now, mark.mark());
                self.enter(&mut batch, &entry.with("document", json!(document.to_string())))?;
            }
        }
        mark.see_documents(foreign_times(trust, me), now);
        self.sure_time().see(mark.mark().at, self.since_start.ms());
        let to_keep = mark.to_keep();
        drop(mark);
        self.keep_mark(batch, to_keep)
    }

    fn sure_time(&self) -> MutexGuard<'_, SureTime> {
        self.sure_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How late it surely is, whatever the clock shows: for what cannot be undone.
    pub(super) fn sure_now(&self) -> UnixMs {
        self.sure_time().now(clock::now(), self.since_start.ms())
    }

    /// Enters that the clock is behind its mark, or no longer, since that was last looked at. Blocks on the store.
    pub fn look_at_clock(&self) {
        let now = clock::now();
        let (mark, is_behind) = self.clock_state(now);
        let mut said = self.clock_said_behind.lock().unwrap_or_else(PoisonError::into_inner);
        if *said == is_behind {
            return;
        }
        // Whoever was listed after what the clock shows cannot look at the status now.
        let state = if is_behind {
            let (at, from) = (mark.at, mark.from.as_str().to_owned());
            tracing::error!("{}", Standstill::Clock { now, mark: at, from });
            "behind"
        } else {
            tracing::info!(%now, "the clock is not behind any more");
            "right"
        };
        match self.record(&clock_happening(state, now, &mark)) {
            Ok(()) => *said = is_behind,
            Err(error) => tracing::error!(%error, state, "what the clock shows cannot be entered in the audit log"),
        }
    }

    /// Raises the clock's mark by what members have said last. Blocks on the store.
    pub(super) fn mark_members(&self, trust: &Trust) -> Result<(), StoreError> {
        let members: Vec<&NodeId> = others(trust, &self.config.member).collect();
        let said: Vec<UnixMs> = {
            let contacts = self.contacts();
            members.iter().filter_map(|member| contacts.of(member).said).collect()
        };
        let mut mark = self.clock_mark();
        mark.see_members(members.len(), said, clock::now());
        self.sure_time().see(mark.mark().at, self.since_start.ms());
        let to_keep = mark.to_keep();
        drop(mark);
        self.keep_mark(Batch::default(), to_keep)
    }

    fn keep_mark(&self, mut batch: Batch, mark: Option<Mark>) -> Result<(), StoreError> {
        let Some(mark) = mark else { return Ok(()) };
        batch.put_clock_mark(&mark);
        self.store.commit(batch).map(|_| ())
    }

    /// Whether it still waits for what others know.
    pub(crate) fn is_learning(&self) -> bool {
        !*self.learned.borrow() && self.learning_left_ms() > 0
    }

    // The wait begins with the first greeting, whatever the opening of the store takes.
    fn learning_left_ms(&self) -> u64 {
        self.greeting_since.get().map_or(LEARN_WITHIN_MS, |since| LEARN_WITHIN_MS.saturating_sub(since.ms()))
    }

    /// Greeting begins.
    pub(crate) fn greeting_begins(&self) {
        self.greeting_since.get_or_init(Stopwatch::start);
    }

    /// Waits until this node has heard what the others know, or for as long as it waits at all.
    pub(crate) async fn has_learned(&self) {
        let mut learned = self.learned.subscribe();
        while !*learned.borrow() {
            let left = self.learning_left_ms();
            if left == 0 {
                tracing::warn!("not everybody was heard in time: this node goes on with what it knows");
                self.learned.send_replace(true);
                return;
            }
            // Greeting may begin only now, so that what is left is looked at again.
            let _ = tokio::time::timeout(Duration::from_millis(left), learned.changed()).await;
        }
    }

    /// Notes how a try to greet a member has ended, what it had being taken if it was heard.
    pub(crate) fn was_greeted(&self, member: &NodeId, heard: bool) {
        self.contacts().tried(member, heard);
        self.tried(member);
    }

    /// Notes that nothing is to be learnt from a member now: it was greeted, has greeted and has nothing new, or was not reached.
    pub(crate) fn tried(&self, member: &NodeId) {
        if *self.learned.borrow() {
            return;
        }
        self.learning().tried(member);
        self.look_whether_learned();
    }

    /// Ends learning if nobody is left to be greeted.
    pub(crate) fn look_whether_learned(&self) {
        let standing = self.standing();
        let over = self.learning().is_over(self.to_be_greeted(&standing));
        self.learned.send_if_modified(|learned| over && !std::mem::replace(learned, over));
    }

    /// The members with whom greetings are exchanged.
    pub(crate) fn to_be_greeted<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = &'a NodeId> {
        let (trust, now) = (standing.trust(), clock::now());
        let members = trust.roster().members.iter().filter(move |member| {
            member.node_id != self.config.member
                && member.state != MemberState::Removed
                && trust.keys(&member.node_id).is_some_and(|keys| now < keys.expires_at)
        });
        members.map(|member| &member.node_id)
    }
}

// What the clock shows and what it should: `state` is `behind`, `right` or `set-anew`.
fn clock_happening(state: &str, now: UnixMs, mark: &Mark) -> Happening {
    let detail =
        json!({ "state": state, "shows": now.to_string(), "mark": mark.at.to_string(), "from": mark.from.as_str() });
    Happening::new(EventKind::Clock, &Actor::Node, detail)
}
