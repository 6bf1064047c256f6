//! One simulated node: its disk, its memory, its clock, and the product's own decisions over them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

use accord_node::domain::{
    answering::{Course, Decided, Keeps, Provider, Remembered, SignedAnswer},
    bucket::Rate,
    edition::Frozen,
    inbox::{self, Held},
    provide::Peer,
    quota::{Quota, Rates},
    round::Heads,
};
use accord_protocol::{
    id::{Hash, NodeId, RequestId},
    key::PublicKey,
    message::{Head, MessageKind},
    officers::Purpose,
    refusal::Refusal,
    time::UnixMs,
};

use super::fixture::{Agency, EPOCH, FIXTURE};

/// Requests at once and per minute; small enough to be reached now and then.
const RATES: Rates = Rates { officer: Rate { burst: 12, per_minute: 30 }, member: Rate { burst: 30, per_minute: 60 } };

/// What happens while a reply is being remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// It is durable.
    Works,
    /// The node dies before it is.
    DiesBefore,
    /// The node dies when it is, before anything is sent.
    DiesAfter,
    /// The disk is full.
    Full,
}

/// A node.
pub(super) struct Node {
    /// Who it is.
    pub(super) index: usize,
    /// Whether it runs.
    pub(super) runs: bool,
    /// The latest edition.
    pub(super) latest: u64,
    /// Its clock's error in milliseconds.
    pub(super) skew: i64,
    /// First heads heard, as long as it runs.
    pub(super) heads: Heads,
    /// Its kept connection to each partner.
    pub(super) slots: BTreeMap<usize, usize>,
    quota: Quota,
    /// Replies on disk.
    replies: RefCell<BTreeMap<(PublicKey, RequestId), Remembered>>,
    /// Requests that a person has to decide, or has, on disk.
    held: RefCell<BTreeMap<Hash, Held>>,
    /// How often each became durable: more than once is an execution too many.
    executions: RefCell<BTreeMap<(PublicKey, RequestId), u32>>,
    disk: Cell<Disk>,
}

/// What a request led to.
pub(super) enum Served {
    /// This goes out.
    Reply(Box<(SignedAnswer, Course)>),
    /// The node died.
    Died,
}

impl Node {
    pub(super) fn new(index: usize, skew: i64) -> Self {
        Self {
            index,
            runs: true,
            latest: 1,
            skew,
            heads: Heads::default(),
            slots: BTreeMap::new(),
            quota: Quota::new(RATES),
            replies: RefCell::default(),
            held: RefCell::default(),
            executions: RefCell::default(),
            disk: Cell::new(Disk::Works),
        }
    }

    pub(super) fn agency(&self) -> &'static Agency {
        &FIXTURE.agencies[self.index]
    }

    /// Its own idea of the time.
    pub(super) fn clock(&self, now: u64) -> UnixMs {
        UnixMs(EPOCH.0.saturating_add(now + 86_400_000).saturating_add_signed(self.skew))
    }

    /// Loses all that is not on disk.
    pub(super) fn die(&mut self) {
        self.runs = false;
        self.heads = Heads::default();
        self.slots.clear();
        self.quota = Quota::new(RATES);
    }

    /// Requests executed, with their count and the body that was.
    pub(super) fn executed(&self) -> Vec<(u32, Hash)> {
        let replies = self.replies.borrow();
        self.executions.borrow().iter().map(|(key, count)| (*count, replies[key].body_hash)).collect()
    }

    /// Serves one whole call of a member, as the members' socket does.
    pub(super) fn serve(
        &mut self,
        now: u64,
        asker: &NodeId,
        binding: [u8; 32],
        call: Result<&Head, String>,
        disk: Disk,
    ) -> Served {
        let agency = self.agency();
        let provider = Provider {
            me: &agency.id,
            trust: &FIXTURE.trust,
            access: &agency.access,
            policy_commit: Hash::of(agency.id.as_str().as_bytes()),
            marking: &FIXTURE.marking,
            key: &agency.sign,
            now: self.clock(now),
        };
        let refused = |(answer, denied)| Served::Reply(Box::new((answer, Course::Refused(denied))));
        let head = match call {
            Ok(head) if head.kind == MessageKind::Request => head,
            Ok(_) => return refused(provider.refuse_bytes(asker, "not a request")),
            Err(why) => return refused(provider.refuse_bytes(asker, &why)),
        };
        let peer = Peer { member: asker, channel_binding: Some(binding) };
        let checked = match provider.check(peer, head.payload.as_slice()) {
            Ok(checked) => checked,
            Err(denied) => return refused((provider.refuse(&denied, asker), denied)),
        };
        if !self.quota.take(&checked.body.requester, &checked.card.key, now) {
            let denied = checked.deny(Refusal::Quota, "quota");
            return refused((provider.refuse(&denied, asker), denied));
        }
        self.disk.set(disk);
        let (answer, course) = provider.answer(&*self, &checked, head.payload.as_slice());
        // A request that is known already touches no disk.
        let died = matches!(self.disk.replace(Disk::Works), Disk::DiesBefore | Disk::DiesAfter);
        if died && !matches!(course, Course::Again) { Served::Died } else { Served::Reply(Box::new((answer, course))) }
    }
}

impl Node {
    fn write(&self) -> Result<(), &'static str> {
        match self.disk.get() {
            Disk::Works | Disk::DiesAfter => Ok(()),
            Disk::DiesBefore => Err("the node dies"),
            Disk::Full => Err("the disk is full"),
        }
    }

    /// What happens when something is written next.
    pub(super) fn next_write(&self, disk: Disk) {
        self.disk.set(disk);
    }

    /// A request that a person has to decide, or has, as it is on disk.
    pub(super) fn held(&self, body_hash: &Hash) -> Option<Held> {
        self.held.borrow().get(body_hash).cloned()
    }

    /// The reply to it that is on disk.
    pub(super) fn reply_on_disk(&self, held: &Held) -> Option<Vec<u8>> {
        let replies = self.replies.borrow();
        replies.get(&(held.officer, held.request_id)).map(|reply| reply.head.as_slice().to_vec())
    }
}

impl Keeps for Node {
    type Error = &'static str;

    fn remembered(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<Remembered>, Self::Error> {
        Ok(self.replies.borrow().get(&(*officer, *request)).cloned())
    }

    fn has_room_for(&self, _: &NodeId) -> bool {
        true
    }

    fn remember(&self, decided: Decided<'_>) -> Result<(), Self::Error> {
        self.write()?;
        let key = (*decided.officer, *decided.request);
        self.replies.borrow_mut().insert(key, decided.reply.clone());
        if let Some(held) = decided.held {
            self.held.borrow_mut().insert(held.body_hash, held.clone());
        }
        *self.executions.borrow_mut().entry(key).or_default() += 1;
        Ok(())
    }

    fn keep_held(&self, held: &Held) -> Result<(), Self::Error> {
        self.write()?;
        self.held.borrow_mut().insert(held.body_hash, held.clone());
        Ok(())
    }

    fn approvals_of(&self, body_hash: &Hash) -> Result<usize, Self::Error> {
        let held = self.held.borrow();
        let answered = held.get(body_hash).filter(|held| held.course == inbox::Course::Answered);
        Ok(answered.map_or(0, |held| held.verdicts.as_slice().len()))
    }

    fn has_room_to_hold(&self, _: &NodeId) -> bool {
        true
    }

    fn in_advance(&self, _: &NodeId, _: u16, _: Purpose) -> Result<usize, Self::Error> {
        Ok(0)
    }

    fn latest(&self) -> Option<u64> {
        Some(self.latest)
    }

    fn edition(&self, number: u64) -> Result<Option<Arc<Frozen>>, Self::Error> {
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        Ok(self.agency().editions.get(index).map(|(edition, _)| Arc::clone(edition)))
    }

    fn enters(&self, _: &NodeId, _: Refusal) -> bool {
        true
    }

    fn is_withdrawn(&self, _: u64) -> Result<bool, Self::Error> {
        Ok(false)
    }

    fn view_hash(&self, _: &NodeId) -> Option<Hash> {
        None
    }
}
