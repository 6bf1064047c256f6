//! One history: nodes, questions, streams and faults on one thread, all of it from one seed.

mod flow;

use std::collections::BTreeMap;

use accord_node::domain::round::{End, Event as Happened, Round, Step};
use accord_protocol::{
    answer::{class_size, reply_class},
    codec::{Bounded, Cap, encode},
    frame::{self, FrameReader, Limits},
    id::{Hash, RequestId},
    key::Signature,
    message::{Head, MessageKind, SignedBytes},
    officers::Purpose,
    question::Question,
    request::{LegalBasis, Request, RequestBody},
    selection::Selection,
    signed::{Label, Preamble},
    time::{TimeLevel, UnixMs},
};
use accord_tests::seeded::Seeded;

pub(super) use flow::to_stream;

use super::{
    fixture::{FIXTURE, NAMES, TABLE, YEARS},
    judge::{Ending, Judge},
    mischief,
    network::{Arriving, Connection, IDLE_MS, Piece, pieces},
    node::Node,
    plan::Plan,
};

/// Longest handshake, as the edge has it.
const CONNECT_WITHIN_MS: u64 = 5_000;
/// How long an older connection of a member lives on.
const OLD_ENDS_WITHIN_MS: u64 = 5_000;
/// More events than any history has: reached only by one that goes round in circles.
const EVENTS_MAX: usize = 200_000;

enum Event {
    Ask(usize),
    Connected { ask: usize, attempt: u32, connection: Option<usize> },
    Arrives { stream: usize, up: bool, piece: Piece },
    Late { ask: usize, attempt: u32 },
    Noticed(usize),
    Dies(usize, u64),
    Starts(usize),
    Publishes(usize),
}

// One question to one partner.
struct Ask {
    asker: usize,
    partner: usize,
    body: RequestBody,
    bytes: Vec<u8>,
    signature: Signature,
    round: Round,
    attempt: u32,
    connection: Option<usize>,
    since: u64,
    done: bool,
}

// One attempt of a question over one connection.
struct Stream {
    ask: usize,
    attempt: u32,
    connection: usize,
    up: Arriving,
    calls: FrameReader,
    call: Option<Vec<u8>>,
    served: bool,
    down: Arriving,
    replies: FrameReader,
    reply: Option<Head>,
    slice: Vec<u8>,
}

/// A history as it runs.
pub(super) struct World {
    plan: Plan,
    random: Seeded,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    nodes: Vec<Node>,
    connections: Vec<Connection>,
    asks: Vec<Ask>,
    streams: Vec<Stream>,
    /// The judge.
    pub(super) judge: Judge,
    /// A digest of all that happened, in order.
    pub(super) trace: u64,
}

impl World {
    /// Draws a history from its seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Seeded::new(seed);
        let plan = Plan::draw(&mut random);
        let nodes = plan.skews.iter().enumerate().map(|(index, skew)| Node::new(index, *skew)).collect();
        let mut world = Self {
            random,
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            nodes,
            connections: Vec::new(),
            asks: Vec::new(),
            streams: Vec::new(),
            judge: Judge::default(),
            trace: 0,
            plan,
        };
        for (node, at, long) in world.plan.deaths.clone() {
            world.at(at, Event::Dies(node, long));
        }
        let publishes = world.random.between(0, 60_000);
        let by = world.random.below(NAMES.len());
        world.at(publishes, Event::Publishes(by));
        for _ in 0..world.plan.questions {
            let at = world.random.between(0, 60_000);
            let asker = world.random.below(NAMES.len());
            let partner = (asker + 1 + world.random.below(NAMES.len() - 1)) % NAMES.len();
            world.ask_at(asker, partner, at);
        }
        // An officer who asks a whole series at once.
        for _ in 0..world.plan.series {
            let at = 30_000 + world.random.between(0, 100);
            world.ask_at(0, 1, at);
        }
        world
    }

    fn ask_at(&mut self, asker: usize, partner: usize, at: u64) {
        let ask = self.question(asker, partner, at);
        self.at(at, Event::Ask(ask));
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> (Judge, u64) {
        let mut handled = 0;
        while let Some(((at, number), event)) = self.queue.pop_first() {
            self.now = at;
            self.trace = self.trace.rotate_left(7) ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
            self.handle(event);
            handled += 1;
            if handled > EVENTS_MAX {
                self.judge.violations.push("the history goes round in circles".into());
                break;
            }
        }
        let stuck = self.asks.iter().filter(|ask| !ask.done).count();
        if stuck > 0 {
            self.judge.violations.push(format!("{stuck} questions never ended"));
        }
        for node in &self.nodes {
            self.judge.executed(node.index, &node.executed());
        }
        if self.plan.calm() {
            self.judge.count("calm histories");
            let seen = |what: &str| self.judge.seen.get(what).copied().unwrap_or(0);
            if seen("Answered") + seen("Refused") != self.asks.len() as u64 {
                self.judge.violations.push(format!("in a calm history: {:?}", self.judge.seen));
            }
        }
        (self.judge, self.trace)
    }

    fn at(&mut self, at: u64, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ask(ask) => {
                if self.nodes[self.asks[ask].asker].runs {
                    self.step(ask, &Step::Connect);
                } else {
                    self.end(ask, Ending::OwnNodeDied);
                }
            }
            Event::Connected { ask, attempt, connection } => {
                if self.is_current(ask, attempt) {
                    self.connected(ask, connection);
                }
            }
            Event::Arrives { stream, up, piece } => {
                if up {
                    self.arrives_at_provider(stream, piece);
                } else {
                    self.arrives_at_asker(stream, piece);
                }
            }
            Event::Late { ask, attempt } => {
                if self.is_current(ask, attempt) {
                    self.on(ask, Happened::Silent);
                }
            }
            Event::Noticed(connection) => self.notice(connection),
            Event::Dies(node, long) => self.die(node, long),
            Event::Starts(node) => self.nodes[node].runs = true,
            Event::Publishes(node) => self.nodes[node].latest = 2,
        }
    }

    fn is_current(&self, ask: usize, attempt: u32) -> bool {
        !self.asks[ask].done && self.asks[ask].attempt == attempt
    }

    // ---- questions

    fn question(&mut self, asker: usize, partner: usize, at: u64) -> usize {
        let (from, to) = (&FIXTURE.agencies[asker], &FIXTURE.agencies[partner]);
        let table = FIXTURE.trust.catalogue().table(TABLE).unwrap();
        let levels = Question::levels(table, &[]).unwrap();
        let question = Question {
            measures: Question::measures(table, &levels, &[]).unwrap(),
            periods: Question::periods(&format!("{}..{}", YEARS[0], YEARS[1]), TimeLevel::Year).unwrap(),
            levels,
            only: BTreeMap::new(),
        };
        let query = question.queries(table, to.id.country()).unwrap().remove(0);
        let issued_at = self.nodes[asker].clock(at);
        // An officer gone bad uses the id of a request before with another body.
        let before = self.asks.iter().find(|ask| (ask.asker, ask.partner) == (asker, partner));
        let used = before.map(|ask| ask.body.request_id).filter(|_| self.plan.bad == Some(asker));
        let fresh = RequestId(self.random.bytes());
        let body = RequestBody {
            preamble: Preamble,
            request_id: used.filter(|_| self.random.happens(30)).unwrap_or(fresh),
            requester: from.id.clone(),
            officer_card_hash: Hash::of(&from.card),
            audience: to.id.clone(),
            issued_at,
            deliver_by: issued_at.plus(600_000),
            wanted_until: UnixMs(0),
            epoch: 1,
            roster_version: 1,
            view_hash: Hash::ZERO,
            edition: 0,
            purpose: Purpose::StrategicAnalysis,
            legal_basis: LegalBasis::Agreement,
            topic_hash: Hash::ZERO,
            case_ref_commit: Hash::ZERO,
            reply_class: Selection::new(&query, table, to.id.country()).unwrap().reply_class,
            query,
        };
        let bytes = encode(&body).unwrap();
        let signature = from.officer.sign(Label::RequestBody, &FIXTURE.federation, &bytes);
        self.add_ask(asker, partner, body, bytes, signature, at)
    }

    fn add_ask(
        &mut self,
        asker: usize,
        partner: usize,
        body: RequestBody,
        bytes: Vec<u8>,
        signature: Signature,
        since: u64,
    ) -> usize {
        self.judge.bodies.insert(Hash::of(&bytes));
        let (round, _) = Round::new(&body).unwrap();
        let ask =
            Ask { asker, partner, body, bytes, signature, round, attempt: 0, connection: None, since, done: false };
        self.asks.push(ask);
        self.asks.len() - 1
    }

    fn on(&mut self, ask: usize, happened: Happened<'_>) {
        // What was going on is over, whatever still arrives of it.
        self.asks[ask].attempt += 1;
        let step = self.asks[ask].round.on(happened);
        self.step(ask, &step);
    }

    fn step(&mut self, ask: usize, step: &Step) {
        match step {
            Step::Connect => self.connect(ask),
            Step::Send { within_ms } => self.send(ask, *within_ms),
            Step::Done(End::Replied(_)) => unreachable!("a whole reply is judged where it arrives"),
            Step::Done(End::Unreachable(_)) => {
                self.end(ask, Ending::Unreachable);
                // Some officers hand the very same request in again.
                if self.random.happens(40) && self.now < 300_000 {
                    self.hand_in_again(ask);
                }
            }
            Step::Done(End::NotAReply(_)) => self.end(ask, Ending::NotVerified),
            Step::Done(End::Contradiction(_)) => {
                if self.plan.bad != Some(self.asks[ask].partner) {
                    self.judge.violations.push("an honest partner is accused of a contradiction".into());
                }
                self.end(ask, Ending::Contradiction);
            }
        }
    }

    fn hand_in_again(&mut self, ask: usize) {
        let Ask { asker, partner, ref body, ref bytes, signature, .. } = self.asks[ask];
        let (body, bytes) = (body.clone(), bytes.clone());
        let at = self.now + self.random.between(1, 20_000);
        let again = self.add_ask(asker, partner, body, bytes, signature, at);
        self.judge.count("handed in again");
        self.at(at, Event::Ask(again));
    }

    fn end(&mut self, ask: usize, ending: Ending) {
        let ask = &mut self.asks[ask];
        ask.done = true;
        self.judge.ends(ending, self.now - ask.since);
    }

    // ---- connections

    fn connect(&mut self, ask: usize) {
        let Ask { asker, partner, attempt, connection: failed, .. } = self.asks[ask];
        let kept = self.nodes[asker].slots.get(&partner).copied();
        if let Some(kept) = kept.filter(|kept| Some(*kept) != failed && !self.connections[*kept].noticed) {
            self.judge.count("kept connection");
            return self.at(self.now, Event::Connected { ask, attempt, connection: Some(kept) });
        }
        // Two round trips, and the partner must be there.
        let arrives =
            (0..4).try_fold(self.now, |at, _| self.plan.weather.arrival(&mut self.random, at, asker, partner));
        let given_up = self.now + CONNECT_WITHIN_MS;
        match arrives.filter(|at| *at < given_up && self.nodes[partner].runs) {
            None => self.at(given_up, Event::Connected { ask, attempt, connection: None }),
            Some(at) => {
                let binding = self.random.bytes();
                // The newest connection of a member wins; the one before ends soon.
                for index in 0..self.connections.len() {
                    let older = &self.connections[index];
                    if (older.asker, older.provider) == (asker, partner) && older.lives {
                        self.at(at + OLD_ENDS_WITHIN_MS, Event::Noticed(index));
                    }
                }
                self.connections.push(Connection { asker, provider: partner, binding, lives: true, noticed: false });
                let connection = self.connections.len() - 1;
                self.nodes[asker].slots.insert(partner, connection);
                self.at(at, Event::Connected { ask, attempt, connection: Some(connection) });
            }
        }
    }

    fn connected(&mut self, ask: usize, connection: Option<usize>) {
        match connection {
            None => self.on(ask, Happened::NoConnection("nobody".into())),
            Some(connection) => {
                let kept = self.streams.iter().any(|stream| stream.connection == connection);
                self.asks[ask].connection = Some(connection);
                self.on(ask, Happened::Connected { kept });
            }
        }
    }

    fn lose(&mut self, connection: usize) {
        if std::mem::replace(&mut self.connections[connection].lives, false) {
            let at = self.now + self.random.between(1, IDLE_MS);
            self.at(at, Event::Noticed(connection));
        }
    }

    fn notice(&mut self, connection: usize) {
        self.connections[connection].lives = false;
        self.connections[connection].noticed = true;
        let over: Vec<usize> = (0..self.asks.len())
            .filter(|ask| {
                let ask = &self.asks[*ask];
                !ask.done && ask.connection == Some(connection)
            })
            .collect();
        for ask in over {
            // A question whose attempt is over, and that waits for another connection, does not hear of the old one.
            let attempt = self.asks[ask].attempt;
            if self.streams.iter().any(|s| (s.ask, s.attempt, s.connection) == (ask, attempt, connection)) {
                self.on(ask, Happened::Broken("the connection is gone".into()));
            }
        }
    }

    fn die(&mut self, node: usize, long: u64) {
        if !self.nodes[node].runs {
            return;
        }
        self.judge.count("deaths");
        self.nodes[node].die();
        for index in 0..self.connections.len() {
            if self.connections[index].asker == node || self.connections[index].provider == node {
                self.lose(index);
            }
        }
        for ask in 0..self.asks.len() {
            if self.asks[ask].asker == node && !self.asks[ask].done && self.asks[ask].since <= self.now {
                self.end(ask, Ending::OwnNodeDied);
                if self.random.happens(50) {
                    self.hand_in_again(ask);
                }
            }
        }
        self.at(self.now + long, Event::Starts(node));
    }

    // ---- streams

    fn send(&mut self, ask: usize, within_ms: u64) {
        let Some(connection) = self.asks[ask].connection else { return };
        let (asker, attempt) = (self.asks[ask].asker, self.asks[ask].attempt);
        let bad = self.plan.bad == Some(asker) && self.random.happens(30);
        // Some envelopes of a bad member were made for another connection.
        let elsewhere = bad && self.random.happens(20);
        let binding = if elsewhere { self.random.bytes() } else { self.connections[connection].binding };
        let payload = self.envelope(ask, binding);
        let size = reply_class(payload.len()).and_then(class_size);
        let head = Head::new(MessageKind::Request, payload).unwrap().to_bytes().unwrap();
        let mut bytes = frame::message(&head, None, size).unwrap();
        if bad {
            mischief::spoil(&mut bytes, head.len(), &mut self.random);
            self.judge.count("spoiled requests");
        }
        let reply_max = self.asks[ask].round.reply_max();
        let down = MessageKind::Request.limits_down();
        let limits =
            Limits { body: down.body.map(|body| body.min(reply_max)), spare: down.spare.min(reply_max), ..down };
        self.streams.push(Stream {
            ask,
            attempt,
            connection,
            up: Arriving::default(),
            calls: FrameReader::by_head(Cap::Head.bytes(), Head::limits_for_members),
            call: None,
            served: false,
            down: Arriving::default(),
            replies: FrameReader::new(limits),
            reply: None,
            slice: Vec::new(),
        });
        self.transmit(self.streams.len() - 1, true, pieces(&bytes, true));
        self.at(self.now + within_ms, Event::Late { ask, attempt });
    }

    fn envelope(&self, ask: usize, channel_binding: [u8; 32]) -> Vec<u8> {
        let ask = &self.asks[ask];
        let agency = &FIXTURE.agencies[ask.asker];
        let request = Request {
            preamble: Preamble,
            body: Bounded::new(ask.bytes.clone()).unwrap(),
            officer_signature: ask.signature,
            officer_card: Bounded::new(agency.card.clone()).unwrap(),
            topic: Bounded::default(),
            node_id: agency.id.clone(),
            node_key: agency.sign.public(),
            sent_at: self.nodes[ask.asker].clock(self.now),
            channel_binding,
        };
        let payload = encode(&request).unwrap();
        let signature = agency.sign.sign(Label::Request, &FIXTURE.federation, &payload);
        encode(&SignedBytes { payload: Bounded::new(payload).unwrap(), signature }).unwrap()
    }
}
