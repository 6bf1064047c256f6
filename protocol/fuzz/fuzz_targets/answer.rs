//! Replies as the asker verifies them: nothing but what the partner signed is believed, and a partner cannot break the pool.
#![no_main]

use accord_fuzz::{
    edits::edit,
    federation::{Asked, FEDERATION, SIGNS_FOR_IT, document, signed},
    input::Input,
};
use accord_protocol::{
    answer::AnswerHead,
    cell::NUMBER_MAX,
    codec::{Cap, decode, encode},
    edition::EditionHeader,
    exchange::{Exchange, RawReply, verify_exchange},
    id::Hash,
    key::Signature,
    pool::pool,
    question::{self, gather},
    request::SKEW_MS,
    signed::{Document, Signable},
    time::UnixMs,
};

accord_fuzz::target!(answer);

/// A time at which every reply of the federation may be read.
const NOW: UnixMs = UnixMs(1_795_500_060_000);

/// The first byte chooses who changes a valid reply: somebody without a key, or the partner, who signs again.
fn answer(data: &[u8]) {
    let mut input = Input::new(data);
    let partner = input.byte() & 1 == 1;
    let asked = &FEDERATION.asked[input.below(FEDERATION.asked.len())];
    let reply = &asked.replies[input.below(asked.replies.len())];
    if partner { by_the_partner(asked, reply, &mut input) } else { by_an_outsider(asked, reply, &mut input) }
}

/// Everything that goes into the verification of a reply, as bytes.
#[derive(Clone, PartialEq, Eq)]
struct Parts([Vec<u8>; 7]);

impl Parts {
    fn of(asked: &Asked, reply: &RawReply) -> Self {
        let edition = reply.edition.as_ref().map(|document| encode(document).unwrap()).unwrap_or_default();
        let [officer, partner] = [asked.signature, reply.signature].map(|signature| signature.0.to_vec());
        let card = FEDERATION.card.clone();
        Self([asked.body.clone(), officer, card, reply.head.clone(), partner, reply.slice.clone(), edition])
    }

    // Signatures of another length do not reach the verification.
    fn verify(&self) -> Option<Exchange> {
        let [body, officer, card, head, partner, slice, edition] = &self.0;
        let signature = |bytes: &Vec<u8>| bytes.as_slice().try_into().ok().map(Signature);
        let edition = match edition.as_slice() {
            [] => None,
            bytes => Some(decode(bytes, Cap::Document).ok()?),
        };
        let reply = RawReply { head: head.clone(), signature: signature(partner)?, slice: slice.clone(), edition };
        verify_exchange(&FEDERATION.trust, body, &signature(officer)?, card, &reply, NOW).ok()
    }

    // What was believed: a refusal needs no edition, and of an edition's signatures only the partner's counts.
    fn believed(&self) -> Self {
        let mut parts = self.clone();
        let head: AnswerHead = decode(&parts.0[3], Cap::Head).unwrap();
        let edition = decode::<Document>(&parts.0[6], Cap::Document).map(|document| document.payload().to_vec());
        parts.0[6] = if head.refusal().is_some() { Vec::new() } else { edition.unwrap_or_default() };
        parts
    }
}

/// Edits, and parts of other replies: what is believed then is one of the replies as they were.
fn by_an_outsider(asked: &Asked, reply: &RawReply, input: &mut Input<'_>) {
    let all =
        || FEDERATION.asked.iter().flat_map(|asked| asked.replies.iter().map(move |reply| Parts::of(asked, reply)));
    let mut parts = Parts::of(asked, reply);
    let untouched = input.is_empty();
    while !input.is_empty() {
        let index = input.below(parts.0.len());
        if input.byte() & 1 == 0 {
            edit(&mut parts.0[index], input);
        } else if let Some(other) = all().nth(input.below(6)) {
            parts.0[index].clone_from(&other.0[index]);
        }
    }
    match parts.verify() {
        Some(_) => assert!(all().any(|valid| valid.believed() == parts.believed()), "what nobody signed is believed"),
        None => assert!(!untouched, "a valid reply is not believed"),
    }
}

/// The partner changes head, slice and edition and signs again. Whatever is believed then fits the request, and can be pooled.
fn by_the_partner(asked: &Asked, reply: &RawReply, input: &mut Input<'_>) {
    let mut reply = reply.clone();
    let switches = input.byte();
    for _ in 0..switches & 7 {
        edit(&mut reply.slice, input);
    }
    for _ in 0..switches >> 3 & 3 {
        edit(&mut reply.head, input);
    }
    let Ok(mut head) = decode::<AnswerHead>(&reply.head, Cap::Head) else { return };
    if switches & 0x80 == 0 {
        (head.slice_hash, head.slice_len) = (Hash::of(&reply.slice), u32::try_from(reply.slice.len()).unwrap());
    }
    if switches & 0x40 != 0 {
        let mut bytes = reply.edition.as_ref().map(|document| document.payload().to_vec()).unwrap_or_default();
        edit(&mut bytes, input);
        reply.edition = decode::<EditionHeader>(&bytes, Cap::Head)
            .ok()
            .filter(|header| header.check().is_ok())
            .map(|header| document(&header, &FEDERATION.id, &[SIGNS_FOR_IT]));
    }
    (reply.head, reply.signature) = signed(&head, &FEDERATION.id, SIGNS_FOR_IT);
    let Ok(exchange) = verify_exchange(&FEDERATION.trust, &asked.body, &asked.signature, &FEDERATION.card, &reply, NOW)
    else {
        return;
    };
    assert_fits(&exchange, asked, &reply);
    pooled(&exchange);
}

fn assert_fits(exchange: &Exchange, asked: &Asked, reply: &RawReply) {
    let (body, answer) = (&exchange.body, &exchange.answer);
    assert_eq!((answer.body_hash, answer.request_id), (Hash::of(&asked.body), body.request_id));
    assert_eq!((&answer.responder, &answer.requester), (&body.audience, &body.requester));
    assert!(body.issued_at <= answer.issued_at.plus(SKEW_MS) && answer.issued_at <= NOW.plus(SKEW_MS));
    assert_eq!((answer.slice_hash, answer.slice_len as usize), (Hash::of(&reply.slice), reply.slice.len()));
    match (answer.refusal(), &exchange.edition, &exchange.cells) {
        (Some(_), None, None) => assert!(reply.slice.is_empty(), "a refusal with a table"),
        (None, Some(edition), Some(cells)) => {
            assert_eq!((answer.edition, answer.edition_commit), (edition.number, edition.commit));
            assert_eq!(cells.len(), exchange.selection.cells());
            assert!(cells.iter().all(|cell| cell.len() == exchange.selection.width));
            let bytes: Vec<u8> = cells.iter().flatten().flat_map(|cell| cell.to_bytes()).collect();
            assert_eq!(bytes, reply.slice);
        }
        other => panic!("neither a table nor a refusal: {other:?}"),
    }
}

/// Pools the partner's reply with the own node's. No number is shown that cannot be exact.
fn pooled(exchange: &Exchange) {
    let trust = &FEDERATION.trust;
    let table = trust.catalogue().table_by_id(exchange.body.query.table_id).unwrap();
    let own = &FEDERATION.asked[2];
    let own = verify_exchange(trust, &own.body, &own.signature, &FEDERATION.card, &own.replies[0], NOW).unwrap();
    let both = [exchange, &own].into_iter().filter(|one| one.body.query.table_id == table.id);
    let asked = both.map(|one| question::Asked {
        member: one.body.audience.clone(),
        selection: one.selection.clone(),
        reply: Ok(one),
    });
    let mut given = gather(trust, table, &FEDERATION.documents, asked.collect());
    let Ok(table_of_all) = pool(table, &given) else { return };
    given.reverse();
    assert_eq!(pool(table, &given).map(|pooled| pooled.rows), Ok(table_of_all.rows.clone()), "the order matters");
    for pooled in table_of_all.rows.iter().chain(&table_of_all.totals).flat_map(|row| &row.pooled) {
        assert!(pooled.numbers().flatten().all(|number| (0..=NUMBER_MAX).contains(&number)));
        let _ = pooled.mean_hundredths();
        for part in 1..4 {
            if let Some(interval) = pooled.distribution().quantile(part, 4) {
                assert!(interval.low < interval.high, "{interval:?}");
            }
        }
        if let Some((low, high)) = pooled.distribution().sum() {
            assert!(low <= high, "{low} {high}");
        }
    }
}
