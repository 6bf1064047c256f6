//! What travels in a history: pieces of requests and replies, what a member gone bad makes of them, and who reads them.

use accord_node::domain::{
    answering::{Course, SignedAnswer},
    round::{End, Event as Happened, Step},
};
use accord_protocol::{
    answer::{AnswerHead, class_size},
    codec::{Bounded, Cap, decode, encode},
    exchange::{RawReply, verify_exchange},
    frame,
    id::Hash,
    key::SigningKey,
    message::{Head, MessageKind, SignedBytes},
};

use super::{Ask, Connection, Event, FIXTURE, Piece, Stream, World, mischief, pieces};
use crate::simulation::{
    judge::Ending,
    mischief::Bad,
    node::{Disk, Served},
};

impl World {
    pub(super) fn transmit(&mut self, stream: usize, up: bool, pieces: Vec<Piece>) {
        let connection = self.streams[stream].connection;
        let Connection { asker, provider, .. } = self.connections[connection];
        for piece in pieces {
            if !self.connections[connection].lives {
                return;
            }
            let Some(at) = self.plan.weather.arrival(&mut self.random, self.now, asker, provider) else {
                self.judge.count("connections lost");
                return self.lose(connection);
            };
            if self.random.happens(self.plan.weather.doubled) {
                let later = at + self.random.between(0, 1_000);
                self.at(later, Event::Arrives { stream, up, piece: piece.clone() });
            }
            self.at(at, Event::Arrives { stream, up, piece });
        }
    }

    pub(super) fn arrives_at_provider(&mut self, stream: usize, piece: Piece) {
        let Stream { connection, served, .. } = self.streams[stream];
        let Connection { asker, provider, binding, lives, .. } = self.connections[connection];
        if !lives || served || !self.nodes[provider].runs {
            return;
        }
        let s = &mut self.streams[stream];
        let (bytes, ended) = s.up.take(piece);
        let read = s.calls.push(&bytes).and_then(|pieces| {
            for piece in pieces {
                if let frame::Piece::Head(head) = piece {
                    s.call = Some(head);
                }
            }
            if ended { s.calls.finish().map(|()| true) } else { Ok(false) }
        });
        let call = match read {
            Ok(false) => return,
            Ok(true) => Head::from_bytes(s.call.as_deref().unwrap_or_default()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        s.served = true;
        let disk = match self.random.below(3) {
            _ if !self.random.happens(self.plan.faults) => Disk::Works,
            0 => Disk::DiesBefore,
            1 => Disk::DiesAfter,
            _ => Disk::Full,
        };
        let from = &FIXTURE.agencies[asker].id;
        match self.nodes[provider].serve(self.now, from, binding, call.as_ref().map_err(Clone::clone), disk) {
            Served::Died => {
                self.judge.count("died while deciding");
                let long = self.random.between(50, 10_000);
                self.die(provider, long);
            }
            Served::Reply(sent) => self.reply(stream, &sent.0, &sent.1),
        }
    }

    fn reply(&mut self, stream: usize, answer: &SignedAnswer, course: &Course) {
        let Connection { asker, provider, .. } = self.connections[self.streams[stream].connection];
        let head: AnswerHead = decode(&answer.head, Cap::Head).unwrap();
        let body = head.body_hash;
        if matches!(course, Course::Answered { .. } | Course::Again) {
            let asked = self.asks.iter().find(|ask| Hash::of(&ask.bytes) == body);
            let owner = asked.map(|ask| (ask.asker, ask.partner));
            self.judge.answers(owner, (asker, provider));
        }
        self.judge.signs(provider, body, &answer.head, &answer.slice);
        match course {
            Course::Answered { .. } => self.judge.decides(provider, body, answer),
            Course::Held { .. } => panic!("no policy of the simulation asks a person"),
            Course::Again => {
                self.judge.count("the same bytes again");
                self.judge.decides(provider, body, answer);
            }
            Course::Refused(denied) | Course::NotNow(denied) | Course::Fault(denied) => {
                self.judge.count(denied.refusal.as_str());
            }
        }
        let bytes = to_stream(answer);
        if self.plan.bad != Some(provider) {
            return self.transmit(stream, false, pieces(&bytes, true));
        }
        let key: &SigningKey = &FIXTURE.agencies[provider].sign;
        let earlier = self.earlier.replace(answer.clone());
        match mischief::reply(answer, earlier.as_ref(), key, &FIXTURE.federation, &mut self.random) {
            Bad::Silent => self.judge.count("silent replies"),
            Bad::Bytes { bytes, fin } => {
                self.judge.count("bad replies");
                self.transmit(stream, false, pieces(&bytes, fin));
            }
            // It may sign what it likes in its own name; that is its word, and is believed as such.
            Bad::Signed(lie) => {
                self.judge.count("signed lies");
                self.judge.signs(provider, body, &lie.head, &lie.slice);
                let bytes = to_stream(&lie);
                self.transmit(stream, false, pieces(&bytes, true));
            }
            Bad::BreaksOff(lie) => {
                self.judge.count("replies broken off");
                let bytes = to_stream(&lie);
                let half = bytes.len() / 2;
                self.transmit(stream, false, pieces(&bytes[..half], false));
            }
        }
    }

    pub(super) fn arrives_at_asker(&mut self, stream: usize, piece: Piece) {
        let Stream { ask, attempt, connection, .. } = self.streams[stream];
        if !self.connections[connection].lives || !self.is_current(ask, attempt) {
            return;
        }
        let s = &mut self.streams[stream];
        let (bytes, ended) = s.down.take(piece);
        let pieces = match s.replies.push(&bytes) {
            Ok(pieces) => pieces,
            Err(error) => return self.on(ask, Happened::NotAReply(error.to_string())),
        };
        for piece in pieces {
            match piece {
                frame::Piece::Head(bytes) => match Head::from_bytes(&bytes) {
                    Ok(head) if head.kind == MessageKind::Request => {
                        s.reply = Some(head.clone());
                        let Ask { asker, ref body, ref bytes, .. } = self.asks[ask];
                        let hash = Hash::of(bytes);
                        let noted = self.nodes[asker].heads.note(&FIXTURE.trust, body, hash, head.payload.as_slice());
                        if let Some(both) = noted {
                            return self.step(ask, &Step::Done(End::Contradiction(Box::new(both))));
                        }
                    }
                    Ok(_) | Err(_) => return self.on(ask, Happened::NotAReply("another kind".into())),
                },
                frame::Piece::Body(bytes) => s.slice.extend(bytes),
                frame::Piece::Progress(_) | frame::Piece::End => {}
            }
        }
        if !ended {
            return;
        }
        let whole = s.replies.finish();
        let (head, slice_len, stream_bytes) = (s.reply.clone(), s.slice.len(), s.replies.total());
        match (whole, head) {
            (Ok(()), Some(head)) => {
                let head = head.payload.as_slice();
                self.asks[ask].attempt += 1;
                let step = self.asks[ask].round.on(Happened::Replied { head, body_len: slice_len, stream_bytes });
                match step {
                    Step::Done(End::Replied(signed)) => self.judge_slice(ask, stream, &signed),
                    step => self.step(ask, &step),
                }
            }
            (Ok(()) | Err(_), _) => self.on(ask, Happened::NotAReply("short".into())),
        }
    }

    // The officer's tool: it verifies the reply itself.
    fn judge_slice(&mut self, ask: usize, stream: usize, signed: &SignedBytes) {
        let Ask { asker, partner, ref bytes, signature, .. } = self.asks[ask];
        let head: Option<AnswerHead> = decode(signed.payload.as_slice(), Cap::Head).ok();
        let number = head.map_or(0, |head| usize::try_from(head.edition).unwrap_or(0));
        let edition = FIXTURE.agencies[partner].editions.get(number.wrapping_sub(1)).map(|(_, header)| header.clone());
        let reply = RawReply {
            head: signed.payload.as_slice().to_vec(),
            signature: signed.signature,
            slice: self.streams[stream].slice.clone(),
            edition,
        };
        let card = &FIXTURE.agencies[asker].card;
        let now = self.nodes[asker].clock(self.now);
        let ending = match verify_exchange(&FIXTURE.trust, bytes, &signature, card, &reply, now) {
            Ok(exchange) if exchange.answer.refusal().is_some() => Ending::Refused,
            Ok(exchange) => {
                let body = Hash::of(bytes);
                self.judge.believes(partner, body, &reply, &exchange);
                Ending::Answered
            }
            Err(_) => Ending::NotVerified,
        };
        self.end(ask, ending);
    }
}

pub(in super::super) fn to_stream(answer: &SignedAnswer) -> Vec<u8> {
    let payload = Bounded::new(answer.head.clone()).unwrap();
    let head = encode(&SignedBytes { payload, signature: answer.signature }).unwrap();
    let head = Head::new(MessageKind::Request, head).unwrap().to_bytes().unwrap();
    frame::message(&head, Some(&answer.slice), class_size(answer.reply_class)).unwrap()
}
