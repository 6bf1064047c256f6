//! Which checkpoints of others' logs this node holds, and whose log shows another past than it did (`trust.md` 4.2).

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    id::{Hash, NodeId},
    log::{
        Checkpoint, SignedCheckpoint,
        passing::{BareNote, Seen, fork_id, judge, read, refusal_id},
        tree::verify_consistency,
        witness_name,
    },
    roster::{Member, MemberRole},
    time::UnixMs,
    trust::Trust,
};
use bincode::{Decode, Encode};

use super::unmatched::{Unmatched, Without};

/// How long a member says that its log is shorter than what was seen of it, until that is kept as evidence.
const BELIEVED_BEHIND_MS: u64 = 20_000;

/// Lost entries in whose place others are put, at most: some days of a busy node.
const FILLED_MAX: u64 = 1 << 18;

/// A checkpoint of a member's log that its key has signed, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The note.
    pub note: BareNote,
    /// When it was first seen.
    pub at: UnixMs,
}

/// Two checkpoints that are not of one past, kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fork {
    /// What names it for the people who decide.
    pub id: Hash,
    /// Whose log it is.
    pub member: NodeId,
    /// When it was found.
    pub at: UnixMs,
    /// Who has shown the second one.
    pub told_by: NodeId,
    /// The one that was held first; of the own log the one that somebody else holds.
    pub held: BareNote,
    /// The other one.
    pub shown: BareNote,
    /// When two administrators accepted it; 0 until they do.
    pub accepted_at: UnixMs,
}

impl Fork {
    /// Whether nothing shows that the two are of two pasts but that the log's owner does not prove that they are of one.
    pub fn is_unproven(&self) -> bool {
        let both = claimed(&self.held).zip(claimed(&self.shown));
        both.is_some_and(|(held, shown)| refusal_id(&held, &shown) == self.id)
    }

    /// The largest size of a log that was accepted as lost; nothing where nothing was, or more than can be filled up again.
    pub fn lost_up_to(&self) -> Option<u64> {
        let lost = claimed(&self.held).filter(|_| self.accepted_at != UnixMs(0))?.size;
        let there = claimed(&self.shown).map_or(0, |shown| shown.size);
        (lost.saturating_sub(there) <= FILLED_MAX).then_some(lost)
    }
}

/// Everything of it at one moment.
#[derive(Debug, Default)]
pub struct Witnessing {
    held: BTreeMap<NodeId, Held>,
    forks: Vec<Fork>,
    // Members whose last word about their own log was less than what is held of it: that size, and since when.
    behind: BTreeMap<NodeId, (u64, UnixMs)>,
    // What somebody holds of a member's log that was never seen here, to be held against what was: one of each member and teller at a time.
    unmatched: BTreeMap<(NodeId, NodeId), Unmatched>,
    // Members that have said since this node started what they hold of its log.
    compared: BTreeSet<NodeId>,
    // Sizes of the own log that others hold, and when they cosigned them, in seconds.
    witnesses: BTreeMap<NodeId, (u64, Option<u64>)>,
}

/// Who holds another checkpoint of a log, and the smaller and the larger size that its owner is to prove to be of one log.
pub type ToProve = (NodeId, (u64, u64));

/// What a proof of a log's owner makes of two checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// They are of two pasts.
    Fork(Box<Fork>),
    /// They are of one log, or there is nothing to be proven any more.
    One,
    /// Another one is held, or was told of, meanwhile: nothing is proven of that.
    Overtaken,
}

/// What is to be made of a checkpoint that somebody has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It changes nothing.
    Nothing,
    /// It is another past.
    Fork(Box<Fork>),
}

impl Witnessing {
    /// What was kept.
    pub fn new(held: BTreeMap<NodeId, Held>, forks: Vec<Fork>) -> Self {
        Self { held, forks, ..Self::default() }
    }

    /// What is held of a member's log.
    pub fn held(&self, member: &NodeId) -> Option<&Held> {
        self.held.get(member)
    }

    /// Of all of them.
    pub fn all_held(&self) -> impl Iterator<Item = (&NodeId, &Held)> {
        self.held.iter()
    }

    /// Every fork that was ever found, accepted or not.
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// The fork of a member's log that nobody has accepted.
    pub fn open_fork(&self, member: &NodeId) -> Option<&Fork> {
        self.forks.iter().find(|fork| fork.member == *member && fork.accepted_at == UnixMs(0))
    }

    /// The size that is held of a member's log which has shown less itself since.
    pub fn behind(&self, member: &NodeId) -> Option<u64> {
        self.behind.get(member).map(|(size, _)| *size)
    }

    /// Judges a checkpoint that a log's owner shows with a proof that it grew.
    pub fn shown(
        &mut self,
        owner: &NodeId,
        new: (&Checkpoint, &BareNote),
        old_size: u64,
        path: &[Hash],
        now: UnixMs,
    ) -> (Seen, Option<Fork>) {
        let (checkpoint, note) = new;
        let held = self.held.get(owner);
        let seen = judge(held.map(|held| &held.checkpoint), checkpoint, old_size, path);
        let fork = match (&seen, held) {
            (Seen::Fork, Some(held)) => Some(Self::fork(owner, owner, held, (checkpoint, note), now)),
            _ => None,
        };
        // One that was overtaken on its way says nothing: what an owner tells does.
        if seen == Seen::Grown {
            self.behind.remove(owner);
        }
        (seen, fork)
    }

    /// Judges a checkpoint that a member tells of, without any proof: of its own log, or of another's.
    pub fn told(&mut self, by: &NodeId, of: &NodeId, new: (&Checkpoint, &BareNote), now: UnixMs) -> Verdict {
        let (checkpoint, note) = new;
        let Some(held) = self.held.get(of) else { return Verdict::Nothing };
        if checkpoint.size == held.checkpoint.size && checkpoint.root != held.checkpoint.root {
            return Verdict::Fork(Box::new(Self::fork(of, by, held, (checkpoint, note), now)));
        }
        if by != of {
            return Verdict::Nothing;
        }
        // What a member says of its own log is the last that it has closed: less than was seen of it means that it has lost some. Words
        // may overtake each other; one that still says so after a while is believed.
        if checkpoint.size >= held.checkpoint.size {
            self.behind.remove(of);
            return Verdict::Nothing;
        }
        let (_, since) = *self.behind.entry(of.clone()).or_insert((held.checkpoint.size, now));
        if now.0.saturating_sub(since.0) < BELIEVED_BEHIND_MS {
            return Verdict::Nothing;
        }
        Verdict::Fork(Box::new(Self::fork(of, by, held, (checkpoint, note), now)))
    }

    fn fork(of: &NodeId, by: &NodeId, held: &Held, (checkpoint, note): (&Checkpoint, &BareNote), now: UnixMs) -> Fork {
        Fork {
            id: fork_id(&held.checkpoint, checkpoint),
            member: of.clone(),
            at: now,
            told_by: by.clone(),
            held: held.note.clone(),
            shown: note.clone(),
            accepted_at: UnixMs(0),
        }
    }

    /// Holds a checkpoint that somebody tells of against an earlier one that was seen of that log, of the same size.
    pub fn against(of: &NodeId, by: &NodeId, seen: &Held, new: (&Checkpoint, &BareNote), now: UnixMs) -> Option<Fork> {
        let differs = seen.checkpoint.size == new.0.size && seen.checkpoint.root != new.0.root;
        differs.then(|| Self::fork(of, by, seen, new, now))
    }

    /// Notes one that there is nothing to hold against yet.
    pub fn note_unmatched(&mut self, of: &NodeId, unmatched: Unmatched) {
        let key = (of.clone(), unmatched.told_by.clone());
        // An owner that closes its log again and again is asked about other sizes, and has still proven nothing.
        let known = self.unmatched.get(&key).map(|known| (known.since, known.asking));
        let (since, asking) = known.unwrap_or((unmatched.since, unmatched.asking));
        self.unmatched.insert(key, Unmatched { since, asking, ..unmatched });
    }

    /// Forgets those whose notes are not believed any more: a key that was taken out binds nobody.
    pub fn forget_unmatched(&mut self, is_believed: impl Fn(&NodeId, &BareNote) -> bool) {
        self.unmatched.retain(|(of, _), one| is_believed(of, &one.note));
    }

    /// Members whose owners have not proven for this long how what somebody else holds of their logs lies to what is held here.
    pub fn long_unmatched(&self, ms: u64, now: UnixMs) -> BTreeSet<&NodeId> {
        let long = self.all_unmatched().filter(|(_, _, one)| one.since.plus(ms) < now);
        long.map(|(of, _, _)| of).collect()
    }

    /// Those whose logs' owners are to prove how they lie to what is held: the member, its log as it is held, the other one. Once there is
    /// a fork that nobody has accepted, nothing more is to be proven.
    pub fn all_unmatched(&self) -> impl Iterator<Item = (&NodeId, &Held, &Unmatched)> {
        let open = self.unmatched.iter().filter(|((of, _), _)| self.open_fork(of).is_none());
        open.filter_map(|((of, _), one)| Some((of, self.held.get(of)?, one)))
    }

    /// What each owner is to prove.
    pub fn unmatched(&self) -> BTreeMap<NodeId, Vec<ToProve>> {
        let mut by_owner: BTreeMap<NodeId, Vec<ToProve>> = BTreeMap::new();
        for (of, held, one) in self.all_unmatched() {
            let (held, told) = (held.checkpoint.size, one.checkpoint.size);
            by_owner.entry(of.clone()).or_default().push((one.told_by.clone(), (held.min(told), held.max(told))));
        }
        by_owner
    }

    /// Notes that a log's owner was asked, and gave no proof. Once it has refused for long enough, that counts like another past: it has
    /// shown a log to some, and does not stand by it.
    pub fn unproven(&mut self, (of, by): (&NodeId, &NodeId), without: Without, now: UnixMs) -> Option<Fork> {
        let held = self.held.get(of)?;
        let told = self.unmatched.get_mut(&(of.clone(), by.clone()))?;
        told.asking.count(without, now);
        let fork = Self::fork(of, by, held, (&told.checkpoint, &told.note), now);
        let id = refusal_id(&held.checkpoint, &told.checkpoint);
        told.asking.is_refusal().then_some(Fork { id, ..fork })
    }

    /// Judges the one of a member by a proof of its log's owner between these sizes.
    pub fn reconcile(
        &mut self,
        (of, by): (&NodeId, &NodeId),
        (old, new): (u64, u64),
        path: &[Hash],
        now: UnixMs,
    ) -> Reconciled {
        let key = (of.clone(), by.clone());
        let Some((held, told)) = self.held.get(of).zip(self.unmatched.get(&key)) else { return Reconciled::One };
        let (smaller, larger) = if held.checkpoint.size <= told.checkpoint.size {
            (&held.checkpoint, &told.checkpoint)
        } else {
            (&told.checkpoint, &held.checkpoint)
        };
        // What is held has grown meanwhile: the next proof is of that.
        if (smaller.size, larger.size) != (old, new) {
            return Reconciled::Overtaken;
        }
        let is_one = verify_consistency((old, &smaller.root), (new, &larger.root), path);
        let fork = Self::fork(of, &told.told_by, held, (&told.checkpoint, &told.note), now);
        self.unmatched.remove(&key);
        if is_one { Reconciled::One } else { Reconciled::Fork(Box::new(fork)) }
    }

    /// Whether a fork is worth keeping: one that is open is enough for each member, and one that was accepted is not found again.
    pub fn is_new(&self, fork: &Fork) -> bool {
        self.open_fork(&fork.member).is_none() && self.forks.iter().all(|known| known.id != fork.id)
    }

    /// The largest size of a member's own log that its administrators have accepted as lost. The log is never closed in a smaller one
    /// again, so that what others hold of up to there is of the log that was lost, and what they hold of later ones is not.
    pub fn lost_up_to(&self, me: &NodeId) -> Option<u64> {
        self.forks.iter().filter(|fork| fork.member == *me).filter_map(Fork::lost_up_to).max()
    }

    /// Keeps in mind what was kept.
    pub fn hold(&mut self, member: &NodeId, held: Held) {
        self.held.insert(member.clone(), held);
    }

    /// The same of a fork, in place of what was known of it.
    pub fn keep(&mut self, fork: Fork) {
        match self.forks.iter_mut().find(|known| known.id == fork.id) {
            Some(known) => *known = fork,
            None => self.forks.push(fork),
        }
    }

    /// Forgets what was known of a member's log beside what is held of it, which was accepted.
    pub fn begin_anew(&mut self, member: &NodeId) {
        self.unmatched.retain(|(of, _), _| of != member);
        self.behind.remove(member);
    }

    /// Notes which size of the own log a member holds, and when it cosigned that.
    pub fn held_of_own(&mut self, by: &NodeId, size: u64, cosigned_at: Option<u64>) {
        self.compared.insert(by.clone());
        let before = self.witnesses.get(by).filter(|(known, _)| *known == size).and_then(|(_, at)| *at);
        self.witnesses.insert(by.clone(), (size, cosigned_at.or(before)));
    }

    /// Notes that a member was heard about the own log, whatever it holds.
    pub fn was_compared(&mut self, by: &NodeId) {
        self.compared.insert(by.clone());
    }

    /// Whether a member was heard about the own log since the start.
    pub fn is_compared(&self, by: &NodeId) -> bool {
        self.compared.contains(by)
    }

    /// The size of the own log that a member holds, as far as is known.
    pub fn size_held_by(&self, member: &NodeId) -> u64 {
        self.witnesses.get(member).map_or(0, |(size, _)| *size)
    }

    /// Members that hold something of the own log: size, and the second at which they cosigned it.
    pub fn witnesses(&self) -> impl Iterator<Item = (&NodeId, u64, Option<u64>)> {
        self.witnesses.iter().map(|(member, (size, at))| (member, *size, *at))
    }
}

/// What a note says that nobody has believed yet.
pub fn claimed(note: &BareNote) -> Option<Checkpoint> {
    Checkpoint::from_text(read(note).ok()?.text()).ok()
}

/// The members that have cosigned a checkpoint of another's log, with the second at which each did: those that take part now and are
/// witnesses by the roster, each once.
pub fn cosigners(trust: &Trust, owner: &NodeId, signed: &SignedCheckpoint, now: UnixMs) -> Vec<(NodeId, u64)> {
    let mut found = Vec::new();
    for witness in witnesses(trust, owner, now) {
        let at = trust
            .witness_key(witness, now)
            .and_then(|key| signed.cosigned_at(&witness_name(trust.federation(), witness), &key));
        found.extend(at.map(|at| (witness.clone(), at)));
    }
    found
}

/// The other members that could cosign an owner's log.
pub fn witnesses<'a>(trust: &'a Trust, owner: &'a NodeId, now: UnixMs) -> impl Iterator<Item = &'a NodeId> {
    let is_witness = move |member: &&Member| {
        member.node_id != *owner
            && member.roles.as_slice().contains(&MemberRole::Witness)
            && trust.active(&member.node_id, now).is_some()
    };
    trust.roster().members.iter().filter(is_witness).map(|member| &member.node_id)
}

#[cfg(test)]
mod tests {
    use accord_protocol::{
        codec::Bounded,
        log::tree::{InMemory, consistency, leaf_hash, root_of},
    };

    use super::*;
    use crate::domain::unmatched::Asking;

    fn checkpoint(size: u64, root: u8) -> Checkpoint {
        Checkpoint { origin: "fed/IT-AGENCY/log1".into(), size, root: Hash([root; 32]) }
    }

    fn held(size: u64, root: u8) -> Held {
        let note = Bounded::new(vec![root; 3]).unwrap();
        Held { checkpoint: checkpoint(size, root), note, at: UnixMs(1) }
    }

    fn note(size: u64, root: u8) -> BareNote {
        // Whether the signature holds is not asked here.
        let text = format!("{}\n— fed/IT-AGENCY/log1 AAAAAAAA\n", checkpoint(size, root).text());
        Bounded::new(text.into_bytes()).unwrap()
    }

    #[test]
    fn what_others_tell_of_a_log_is_held_against_what_was_seen_of_it() {
        let [it, es]: [NodeId; 2] = ["IT-AGENCY", "ES-AGENCY"].map(|name| name.parse().unwrap());
        let note = BareNote::default();
        for (what, by, size, root, is_fork, behind) in [
            ("the same", &es, 64, 1, false, None),
            ("the same by its owner", &it, 64, 1, false, None),
            ("another root of that size", &es, 64, 2, true, None),
            ("another root by its owner", &it, 64, 2, true, None),
            ("somebody holds less", &es, 32, 9, false, None),
            ("its owner has less", &it, 32, 9, false, Some(64)),
            ("somebody holds more", &es, 128, 9, false, None),
            ("its owner has more", &it, 128, 9, false, None),
        ] {
            let mut known = Witnessing::new(BTreeMap::from([(it.clone(), held(64, 1))]), Vec::new());
            let verdict = known.told(by, &it, (&checkpoint(size, root), &note), UnixMs(5));
            assert_eq!(matches!(verdict, Verdict::Fork(_)), is_fork, "{what}");
            assert_eq!(known.behind(&it), behind, "{what}");
        }
        let mut known = Witnessing::default();
        assert_eq!(known.told(&es, &it, (&checkpoint(64, 1), &note), UnixMs(5)), Verdict::Nothing, "nothing is held");
    }

    #[test]
    fn whoever_was_behind_is_so_until_its_log_is_there_again() {
        let it: NodeId = "IT-AGENCY".parse().unwrap();
        let mut known = Witnessing::new(BTreeMap::from([(it.clone(), held(64, 1))]), Vec::new());
        let note = BareNote::default();
        let (seen, fork) = known.shown(&it, (&checkpoint(32, 7), &note), 32, &[], UnixMs(5));
        assert_eq!((seen, fork, known.behind(&it)), (Seen::Behind, None, None), "it may have been overtaken");
        assert_eq!(known.told(&it, &it, (&checkpoint(32, 7), &note), UnixMs(5)), Verdict::Nothing);
        assert_eq!(known.behind(&it), Some(64));
        let (seen, _) = known.shown(&it, (&checkpoint(64, 1), &note), 64, &[], UnixMs(6));
        assert_eq!((seen, known.behind(&it)), (Seen::Grown, None));
    }

    #[test]
    fn whoever_goes_on_saying_that_its_log_is_shorter_is_believed() {
        let it: NodeId = "IT-AGENCY".parse().unwrap();
        let mut known = Witnessing::new(BTreeMap::from([(it.clone(), held(64, 1))]), Vec::new());
        let note = BareNote::default();
        let mut told = |at| known.told(&it, &it, (&checkpoint(32, 7), &note), UnixMs(at));
        assert_eq!([told(5), told(BELIEVED_BEHIND_MS)], [Verdict::Nothing, Verdict::Nothing]);
        let Verdict::Fork(fork) = told(5 + BELIEVED_BEHIND_MS) else { panic!("it is believed now") };
        assert_eq!((fork.member, fork.told_by), (it.clone(), it));
    }

    fn told_of(by: &NodeId, size: u64) -> Unmatched {
        let asking = Asking::default();
        Unmatched {
            told_by: by.clone(),
            checkpoint: checkpoint(size, 9),
            note: note(size, 9),
            since: UnixMs(5),
            asking,
        }
    }

    #[test]
    fn an_owner_that_goes_on_refusing_to_prove_is_kept_as_evidence_with_both_notes() {
        let [it, es]: [NodeId; 2] = ["IT-AGENCY", "ES-AGENCY"].map(|name| name.parse().unwrap());
        let held = Held { note: note(64, 1), ..held(64, 1) };
        let mut known = Witnessing::new(BTreeMap::from([(it.clone(), held.clone())]), Vec::new());
        known.note_unmatched(&it, told_of(&es, 128));
        assert_eq!(known.unmatched(), BTreeMap::from([(it.clone(), vec![(es.clone(), (64, 128))])]));
        let mut turns = 0..;
        let mut refuse = |known: &mut Witnessing| {
            let now = UnixMs(30_000 * turns.next().unwrap());
            known.unproven((&it, &es), Without::Refused, now)
        };
        for _ in 0..200 {
            assert_eq!(refuse(&mut known), None);
        }
        // Another size that somebody tells of, and a log that has grown, do not make it forget how often it was asked.
        known.note_unmatched(&it, told_of(&es, 192));
        known.hold(&it, Held { note: note(96, 1), ..self::held(96, 1) });
        let fork = std::iter::repeat_with(|| refuse(&mut known)).take(100).flatten().next().unwrap();
        assert!(fork.is_unproven() && known.is_new(&fork));
        assert_eq!((&fork.member, &fork.told_by), (&it, &es));
        assert_eq!((claimed(&fork.held), claimed(&fork.shown)), (Some(checkpoint(96, 1)), Some(checkpoint(192, 9))));
        // It is open now: nothing more is asked, and nothing said about it beside.
        known.keep(fork.clone());
        assert_eq!((known.open_fork(&it), known.unmatched().len()), (Some(&fork), 0));
        assert!(known.long_unmatched(0, UnixMs(u64::MAX)).is_empty());
        // A fork that a proof shows is another one, and is accepted for itself.
        let shown = Fork { id: fork_id(&checkpoint(96, 1), &checkpoint(192, 9)), ..fork };
        assert!(!shown.is_unproven());
    }

    #[test]
    fn what_is_proven_once_or_signed_with_a_key_that_was_taken_out_is_not_asked_for_again() {
        let [it, es]: [NodeId; 2] = ["IT-AGENCY", "ES-AGENCY"].map(|name| name.parse().unwrap());
        let leaves: Vec<Hash> = (0..8u8).map(|leaf| leaf_hash(&[leaf])).collect();
        let of_size = |size: usize| Checkpoint {
            size: size as u64,
            root: root_of(leaves[..size].iter().copied()),
            ..checkpoint(0, 0)
        };
        let mut known =
            Witnessing::new(BTreeMap::from([(it.clone(), Held { checkpoint: of_size(5), ..held(0, 1) })]), Vec::new());
        known.note_unmatched(&it, Unmatched { checkpoint: of_size(8), ..told_of(&es, 8) });
        known.unproven((&it, &es), Without::Refused, UnixMs(6));
        let path = consistency(&InMemory(&leaves), 5, 8).unwrap().unwrap();
        let pair = (&it, &es);
        assert_eq!(known.reconcile(pair, (4, 8), &path, UnixMs(7)), Reconciled::Overtaken);
        assert_eq!(known.reconcile(pair, (5, 8), &path, UnixMs(7)), Reconciled::One);
        assert_eq!((known.unmatched().len(), known.unproven(pair, Without::Refused, UnixMs(8))), (0, None));
        known.note_unmatched(&it, Unmatched { checkpoint: of_size(8), ..told_of(&es, 8) });
        assert!(matches!(known.reconcile(pair, (5, 8), &[], UnixMs(7)), Reconciled::Fork(fork) if !fork.is_unproven()));
        known.note_unmatched(&it, told_of(&es, 9));
        known.forget_unmatched(|of, _| of == &es);
        assert!(known.unmatched().is_empty());
    }

    #[test]
    fn what_was_accepted_as_lost_has_an_end() {
        let it: NodeId = "IT-AGENCY".parse().unwrap();
        let lost = |held, shown, accepted_at| Fork {
            id: Hash([1; 32]),
            member: it.clone(),
            at: UnixMs(1),
            told_by: "ES-AGENCY".parse().unwrap(),
            held: note(held, 1),
            shown: note(shown, 2),
            accepted_at: UnixMs(accepted_at),
        };
        for (what, fork, want) in [
            ("open", lost(192, 100, 0), None),
            ("accepted", lost(192, 100, 5), Some(192)),
            ("rewritten, nothing lost", lost(64, 100, 5), Some(64)),
            ("as many as can be filled up", lost(100 + FILLED_MAX, 100, 5), Some(100 + FILLED_MAX)),
            ("signed by a thief of the key", lost(1 << 60, 100, 5), None),
        ] {
            assert_eq!(fork.lost_up_to(), want, "{what}");
            let known = Witnessing::new(BTreeMap::new(), vec![lost(32, 16, 5), fork]);
            assert_eq!(known.lost_up_to(&it), want.max(Some(32)), "{what}");
            assert_eq!(known.lost_up_to(&"ES-AGENCY".parse().unwrap()), None);
        }
    }

    #[test]
    fn one_open_fork_of_a_member_is_kept_and_an_accepted_one_is_not_found_again() {
        let it: NodeId = "IT-AGENCY".parse().unwrap();
        let mut known = Witnessing::new(BTreeMap::from([(it.clone(), held(64, 1))]), Vec::new());
        let note = BareNote::default();
        let (seen, fork) = known.shown(&it, (&checkpoint(64, 2), &note), 64, &[], UnixMs(5));
        let fork = fork.unwrap();
        assert_eq!(seen, Seen::Fork);
        assert!(known.is_new(&fork));
        known.keep(fork.clone());
        let (_, second) = known.shown(&it, (&checkpoint(64, 3), &note), 64, &[], UnixMs(6));
        assert!(!known.is_new(&second.unwrap()), "one is open");
        known.keep(Fork { accepted_at: UnixMs(7), ..fork.clone() });
        assert_eq!((known.open_fork(&it), known.forks().len()), (None, 1));
        assert!(!known.is_new(&fork));
    }
}
