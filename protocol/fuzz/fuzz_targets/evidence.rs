//! Evidence files: no text breaks the verifier, and a file that verifies proves only what was signed.
#![no_main]

use std::sync::LazyLock;

use accord_fuzz::{edits::edit, federation::FEDERATION, input::Input};
use accord_protocol::{
    codec::encode,
    evidence::{Bundle, BundleExchange, BundleReply, Report, Statement, verify},
    exchange::{verify_exchange, verify_request},
    id::to_hex,
    pool::{Why, pool},
    question::{self, gather, question_id},
    selection::Selection,
    time::UnixMs,
};

accord_fuzz::target!(evidence);

/// When the files are verified.
const NOW: UnixMs = UnixMs(1_795_500_060_000);

/// Every valid file about the first table: which reply of either member is in it, if any.
static VALID: LazyLock<Vec<Bundle>> = LazyLock::new(|| {
    let replies = [Some(0), Some(1), None];
    let pairs = replies.iter().flat_map(|italy| replies.iter().map(move |spain| (*italy, *spain)));
    pairs.map(|(italy, spain)| bundle(&[(0, italy), (2, spain)])).collect()
});

/// Everything that the valid files prove.
static PROVED: LazyLock<Vec<Statement>> = LazyLock::new(|| {
    let reports = VALID.iter().map(|bundle| verify(bundle, &FEDERATION.id, NOW));
    reports.inspect(assert_whole).flat_map(|report| report.statements).collect()
});

/// The first byte chooses: a text, a valid file whose text is edited, or a valid file whose parts are.
fn evidence(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.below(3);
    let text = if mode == 0 {
        String::from_utf8_lossy(input.rest()).into_owned()
    } else {
        let mut bundle = VALID[input.below(VALID.len())].clone();
        if mode == 2 {
            change_parts(&mut bundle, &mut input);
        }
        let mut text = serde_json::to_vec(&bundle).unwrap();
        while !input.is_empty() {
            edit(&mut text, &mut input);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let Ok(bundle) = serde_json::from_str::<Bundle>(&text) else { return };
    let again: Bundle = serde_json::from_str(&serde_json::to_string(&bundle).unwrap()).unwrap();
    assert_eq!(again, bundle, "a file has another meaning after it was written");
    let report = verify(&bundle, &FEDERATION.id, NOW);
    assert!(report.pool_recomputed == report.failed.is_empty(), "{report:?}");
    if report.failed.is_empty() {
        assert!(report.statements.iter().all(|statement| PROVED.contains(statement)), "{:?}", report.statements);
        assert_eq!(report.statements.len() + report.claims.len(), bundle.exchanges.len());
        let claimed = |(_, why): &(_, Why)| matches!(why, Why::Unreachable | Why::NotVerified);
        assert!(report.claims.iter().all(claimed), "{:?}", report.claims);
    }
}

fn assert_whole(report: &Report) {
    assert!(report.pool_recomputed && report.failed.is_empty(), "a valid file does not verify: {report:?}");
}

/// Exchanges and documents in another number or order; a name or a pooled number changed; the question id made to fit again.
fn change_parts(bundle: &mut Bundle, input: &mut Input<'_>) {
    for _ in 0..input.below(4) {
        let (exchange, document) = (input.below(bundle.exchanges.len()), input.below(bundle.documents.len()));
        let other = &VALID[input.below(VALID.len())];
        match input.below(8) {
            0 => bundle.exchanges.truncate(exchange),
            1 => bundle.exchanges.extend(other.exchanges.first().cloned()),
            2 => bundle.exchanges.swap(0, exchange),
            3 => drop(bundle.documents.drain(document..)),
            4 => bundle.documents.swap(0, document),
            5 => bundle.pooled.clone_from(&other.pooled),
            6 => {
                let value = bundle.pooled.iter_mut().flat_map(|row| &mut row.values).nth(input.below(8));
                if let Some(value) = value {
                    value.value = Some(i64::from(input.byte()));
                }
            }
            _ => {
                if let Some(exchange) = bundle.exchanges.get_mut(exchange) {
                    (exchange.reply, exchange.without_reply) = (None, Some("unreachable".to_owned()));
                }
            }
        }
        let bodies = bundle.exchanges.iter().map(|exchange| accord_protocol::id::from_hex(&exchange.body).unwrap());
        let bodies: Vec<Vec<u8>> = bodies.collect();
        bundle.question_id = question_id(bodies.iter().map(Vec::as_slice)).to_string();
    }
}

/// The file about these requests, each with one of its replies or without.
fn bundle(chosen: &[(usize, Option<usize>)]) -> Bundle {
    let trust = &FEDERATION.trust;
    let table = &trust.catalogue().tables()[0];
    let asked: Vec<_> = chosen.iter().map(|(index, reply)| (&FEDERATION.asked[*index], *reply)).collect();
    let exchanges: Vec<_> = asked
        .iter()
        .map(|(asked, reply)| {
            reply.map(|index| {
                let reply = &asked.replies[index];
                verify_exchange(trust, &asked.body, &asked.signature, &FEDERATION.card, reply, NOW).unwrap()
            })
        })
        .collect();
    let all = asked.iter().zip(&exchanges).map(|((asked, _), exchange)| {
        let (body, _) = verify_request(trust, &asked.body, &asked.signature, &FEDERATION.card).unwrap();
        let selection = Selection::new(&body.query, table, body.audience.country()).unwrap();
        let reply = exchange.as_ref().ok_or(Why::Unreachable);
        question::Asked { member: body.audience.clone(), selection, reply }
    });
    let pooled = pool(table, &gather(trust, table, &FEDERATION.documents, all.collect())).unwrap();
    Bundle {
        accord_evidence: 1,
        federation: FEDERATION.id.to_string(),
        question_id: question_id(asked.iter().map(|(asked, _)| asked.body.as_slice())).to_string(),
        table: table.name.clone(),
        collected_at: NOW.to_string(),
        documents: FEDERATION.documents.iter().map(|document| to_hex(&encode(document).unwrap())).collect(),
        exchanges: asked
            .iter()
            .map(|(asked, reply)| BundleExchange {
                body: to_hex(&asked.body),
                officer_signature: to_hex(&asked.signature.0),
                officer_card: to_hex(&FEDERATION.card),
                topic: None,
                reply: reply.map(|index| {
                    let reply = &asked.replies[index];
                    BundleReply {
                        head: to_hex(&reply.head),
                        signature: to_hex(&reply.signature.0),
                        slice: to_hex(&reply.slice),
                        edition: reply.edition.as_ref().map(|document| to_hex(&encode(document).unwrap())),
                        log: None,
                    }
                }),
                without_reply: reply.is_none().then(|| "unreachable".to_owned()),
            })
            .collect(),
        pooled: Bundle::rows(table, &pooled),
    }
}
