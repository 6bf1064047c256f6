//! One history: virtual time, the network between the nodes, their rounds of greetings, and what they fetch.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use accord_node::domain::{
    catching_up::{CatchingUp, Got},
    greeting,
};
use accord_protocol::{id::NodeId, message::Fetch};
use accord_tests::seeded::Seeded;

use super::{
    laws::Laws,
    make,
    mischief::Pocket,
    node::{Memory, Node, Taken},
    script::Script,
};

mod people;

/// As the node does: a round, tries within it, and the longest greeting with all that is fetched after it.
pub(super) const ROUND_MS: u64 = 30_000;
const AGAIN_AFTER_MS: [u64; 5] = [200, 1_000, 2_000, 4_000, 8_000];
const WITHIN_MS: u64 = 10_000;
/// Steps of one history, at most: beyond that the nodes do not come to rest.
const STEPS_MAX: u64 = 400_000;

enum Event {
    Round { node: usize, round: u64 },
    Greet { from: usize, to: usize, round: u64, attempt: usize },
    Fetch(Box<Session>),
}

struct Session {
    from: usize,
    to: usize,
    round: u64,
    attempt: usize,
    life: u64,
    until: u64,
    fetch: Fetch,
    catching_up: CatchingUp,
}

/// A history.
pub(super) struct World {
    script: Rc<Script>,
    dice: Seeded,
    now: u64,
    pub(super) steps: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) nodes: Vec<Node>,
    pocket: Option<Pocket>,
    pub(super) laws: Laws,
    // Who fetches from whom, and in which of its lives: what is begun runs to its end, whatever rounds begin meanwhile.
    walks: BTreeMap<(usize, usize), u64>,
    // The network.
    side: Vec<u8>,
    loss: u64,
    delay_max: u64,
    // Whether anything but the bad member goes wrong.
    has_faults: bool,
    // What people still have to do.
    published: usize,
    switching: Option<usize>,
    changed: Vec<(usize, accord_protocol::id::Hash)>,
    accepts: Vec<(usize, usize, accord_protocol::id::Hash)>,
    accepted: Vec<(usize, usize, accord_protocol::id::Hash)>,
    out: BTreeSet<usize>,
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub(super) fn new(seed: u64, script: Rc<Script>, memory: &Rc<Memory>) -> Self {
        let mut dice = Seeded::new(seed);
        let nodes: Vec<Node> = (0..=script.members).map(|index| Node::new(index, Rc::clone(memory))).collect();
        let has_faults = dice.happens(75);
        let pocket = Pocket::new(&script, &mut dice);
        let delay_max = if dice.happens(50) { 20 } else { 200 };
        Self {
            laws: Laws::new(&script),
            walks: BTreeMap::new(),
            side: vec![0; nodes.len()],
            loss: 0,
            delay_max,
            has_faults,
            published: 0,
            switching: None,
            changed: Vec::new(),
            accepts: Vec::new(),
            accepted: Vec::new(),
            out: BTreeSet::new(),
            seen: BTreeMap::new(),
            now: 0,
            steps: 0,
            order: 0,
            queue: BTreeMap::new(),
            nodes,
            pocket,
            script,
            dice,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn is_bad(&self, node: usize) -> bool {
        self.script.bad.as_ref().is_some_and(|bad| bad.member == node)
    }

    // Honest members that are there and not out.
    pub(super) fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|node| self.nodes[*node].is_installed && !self.is_bad(*node) && !self.out.contains(node))
            .collect()
    }

    fn later(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), event);
    }

    fn delay(&mut self) -> u64 {
        self.dice.between(1, self.delay_max)
    }

    fn wake(&mut self, node: usize) {
        let round = self.nodes[node].round;
        self.later(1, Event::Round { node, round });
    }

    fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.steps += 1;
            if self.steps > STEPS_MAX {
                self.laws.broken(format!("after {STEPS_MAX} steps the nodes have not come to rest"));
                return;
            }
            match event {
                Event::Round { node, round } => self.round(node, round),
                Event::Greet { from, to, round, attempt } => self.greet(from, to, round, attempt),
                Event::Fetch(session) => self.fetch(session),
            }
        }
        self.now = end;
    }

    fn round(&mut self, node: usize, round: u64) {
        if !self.nodes[node].runs || self.nodes[node].round != round {
            return;
        }
        self.nodes[node].round += 1;
        let round = self.nodes[node].round;
        for to in self.nodes[node].greets(self.now).iter().filter_map(index) {
            let delay = self.delay();
            self.later(delay, Event::Greet { from: node, to, round, attempt: 0 });
        }
        self.later(ROUND_MS, Event::Round { node, round });
    }

    // Whether a message arrives and is let in: by the keys of the handshake, at both ends.
    fn arrives(&mut self, from: usize, to: usize) -> bool {
        if self.dice.happens(self.loss) {
            self.count("messages lost");
            return false;
        }
        let (one, other) = (&self.nodes[from], &self.nodes[to]);
        self.side[from] == self.side[to]
            && one.runs
            && other.runs
            && one.trust().reachable_by(&other.id, one.clock(self.now)).contains(&other.tls_key())
            && other.trust().greets(&one.tls_key(), other.clock(self.now)) == Some(&one.id)
    }

    fn hello(&mut self, from: usize, to: usize) -> Option<Vec<u8>> {
        if let Some(pocket) = self.pocket.as_ref().filter(|_| self.is_bad(from)) {
            let (hello, lie) = pocket.hello(&self.nodes[from], to, &mut self.dice);
            self.count(lie);
            return hello;
        }
        Some(self.nodes[from].hello().to_vec())
    }

    fn greet(&mut self, from: usize, to: usize, round: u64, attempt: usize) {
        if !self.nodes[from].runs || self.nodes[from].round != round {
            return;
        }
        let again = |world: &mut Self, after: u64| {
            if let Some(wait) = AGAIN_AFTER_MS.get(attempt) {
                world.later(wait + after, Event::Greet { from, to, round, attempt: attempt + 1 });
            }
        };
        if !self.arrives(from, to) {
            return again(self, 0);
        }
        let Some(said) = self.hello(from, to) else { return again(self, 0) };
        let now = self.now;
        let Some(lacking) = self.nodes[to].hear(from, &said, now) else {
            self.count("greetings refused");
            return;
        };
        if !lacking.is_empty() {
            self.wake(to);
        }
        let reply = self.hello(to, from);
        let (true, Some(reply)) = (self.arrives(from, to), reply) else { return again(self, WITHIN_MS) };
        let Some(lacking) = self.nodes[from].hear(to, &reply, now) else {
            self.count("greetings not believed");
            return;
        };
        self.count("greetings");
        let life = self.nodes[from].life;
        if lacking.is_empty() || self.walks.get(&(from, to)) == Some(&life) {
            return;
        }
        let mut catching_up = self.nodes[from].catch_up(lacking);
        let until = self.now + WITHIN_MS;
        if let Some(fetch) = catching_up.ask() {
            let delay = self.delay();
            let session = Session { from, to, round, attempt, life, until, fetch, catching_up };
            self.walks.insert((from, to), life);
            self.later(delay, Event::Fetch(Box::new(session)));
        }
    }

    fn fetch(&mut self, mut session: Box<Session>) {
        let Session { from, to, life, .. } = *session;
        if self.nodes[from].life != life {
            self.count("fetches given up");
            return;
        }
        if self.now > session.until {
            self.count("fetches too slow");
            self.walks.remove(&(from, to));
            return self.again_after(&session);
        }
        let is_broken = !self.arrives(from, to);
        session.catching_up.take(if is_broken {
            self.count("lines broken");
            Got::LineBroke
        } else {
            self.count("fetches");
            self.give(to, &session.fetch).map_or(Got::Nothing, Got::Document)
        });
        if let Some(fetch) = session.catching_up.ask() {
            session.fetch = fetch;
            let delay = if session.catching_up.documents().len() > 64 { 1 } else { self.delay() };
            return self.later(delay, Event::Fetch(session));
        }
        self.walks.remove(&(from, to));
        let documents = session.catching_up.documents().to_vec();
        if self.take(from, &documents) == Taken::Died {
            return;
        }
        let given_up = self.nodes[from].note_hints(to, &session.catching_up, self.now);
        if given_up > 0 {
            self.count("hints given up");
        }
        if is_broken {
            self.again_after(&session);
        }
    }

    fn again_after(&mut self, session: &Session) {
        let Session { from, to, round, attempt, .. } = *session;
        if let Some(wait) = AGAIN_AFTER_MS.get(attempt) {
            self.later(*wait, Event::Greet { from, to, round, attempt: attempt + 1 });
        }
    }

    fn give(&mut self, node: usize, fetch: &Fetch) -> Option<accord_protocol::signed::Document> {
        if let Some(pocket) = self.pocket.as_ref().filter(|_| self.is_bad(node)) {
            let (document, lie) = pocket.give(&self.nodes[node], fetch, &mut self.dice);
            self.count(lie);
            return document;
        }
        greeting::meant(self.nodes[node].held(), fetch).cloned()
    }

    // Takes documents, perhaps to die meanwhile; the laws hold afterwards.
    fn take(&mut self, node: usize, documents: &[accord_protocol::signed::Document]) -> Taken {
        let dies = self.has_faults && self.dice.happens(2);
        let writes = dies.then(|| self.dice.below(3));
        let taken = self.nodes[node].take(documents, writes);
        match taken {
            Taken::News => {
                self.wake(node);
                let is_bad = self.is_bad(node);
                self.laws.check(&self.nodes[node], self.now, is_bad);
            }
            Taken::NoNews => {}
            Taken::Died => {
                self.count("deaths while writing");
                self.nodes[node].copy = None;
            }
        }
        taken
    }
}

fn index(id: &NodeId) -> Option<usize> {
    make::NAMES.iter().position(|name| *name == id.as_str())
}
