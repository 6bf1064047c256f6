//! Queries at the edges of the grid, and the sizes of every kind of reply in every class.

use crate::{
    peer::{Fault, Peer, YEARS, anew, anew_with, now, refused},
    stage::{ATTACKER, Stage},
    table::{Case, Outcome, Place},
    wire::{
        CLASS_BYTES, class_of,
        messages::{Body, Dim, Query},
        replies::ANSWERED,
    },
};

/// The table of purities: quarters by form of drug, market, basis and frame, with a histogram.
const PURITIES: u16 = 9;
/// Bytes of each of its cells: samples, samples measured, and 36 numbers of a histogram, of nine bytes each.
const CELL: usize = (1 + 1 + 1 + 5 + 10 + 20) * 9;
/// The most quarters of six forms that one reply holds.
const QUARTERS_MAX: usize = 25;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            id: "C58",
            name: "as many cells as there are",
            given: "an authenticated member that may ask everything",
            sent: "the largest query that one reply holds; one quarter more; all codes of all dimensions; 2^32 - 1 measures",
            expected: "4 MiB with every cell; then E_QUERY, never a part",
            log: "more cells than one reply holds",
            place: Place::Shared,
            run: largest,
        },
        Case {
            id: "C59",
            name: "places that do not exist and places that are not its own",
            given: "an authenticated member that may ask by region",
            sent: "a region number of no country, one of another country, one of a finer level, one of NUTS 3",
            expected: "E_QUERY each, and nothing in the refusal tells them apart",
            log: "refusal=E_QUERY",
            place: Place::Shared,
            run: regions,
        },
        Case {
            id: "D10",
            name: "one size for everything",
            given: "an authenticated member and a query of each class",
            sent: "an answer and every kind of refusal that can be provoked, in each of the five classes",
            expected: "16 KiB, 64 KiB, 256 KiB, 1 MiB, 4 MiB to the byte, whatever the reply says",
            log: "refusal=E_QUOTA",
            place: Place::Shared,
            run: sizes,
        },
    ]
}

/// Purities of so many quarters and forms of drug: 80 cells for each pair.
pub(crate) fn purities(quarters: usize, forms: u32) -> (Query, usize) {
    let quarters: Vec<u32> =
        (0..u32::try_from(quarters).unwrap()).map(|at| (2000 + at / 4) * 100 + 21 + at % 4).collect();
    let forms: Vec<u32> = (2..2 + forms).collect();
    let bytes = quarters.len() * forms.len() * 4 * 4 * 5 * CELL;
    let dims = vec![
        Dim::new(0, 1, &quarters),
        Dim::new(1, 2, &forms),
        Dim::new(2, 1, &[1, 2, 3, 4]),
        Dim::new(3, 1, &[1, 2, 3, 4]),
        Dim::new(4, 1, &[1, 2, 3, 4, 5]),
    ];
    (Query { table_id: PURITIES, table_version: 1, measures: 0b1011, dims }, bytes)
}

fn largest(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let (query, bytes) = purities(QUARTERS_MAX, 6);
        let body = Body { query, reply_class: class_of(bytes), ..peer.means.body() };
        let judged = peer.exchange(&peer.request(&body.encode())).await?;
        if (judged.word(), judged.class, judged.slice.len()) != (ANSWERED, 4, bytes) {
            return Err(format!(
                "{} in class {} with {} bytes of slice",
                judged.word(),
                judged.class,
                judged.slice.len()
            ));
        }
        let all = |dims: u8, level: u8| {
            (0..dims).map(|dim| Dim::new(dim, level, if dim == 0 { &YEARS } else { &[] })).collect()
        };
        let too_large = [
            ("one quarter more", purities(QUARTERS_MAX + 1, 6).0),
            ("64 quarters", purities(64, 6).0),
            ("all codes of the coarsest levels", Query { dims: all(5, 0), ..purities(1, 1).0 }),
            ("every measure that can be named", Query { measures: u32::MAX, ..purities(1, 1).0 }),
        ];
        for (what, query) in too_large {
            for reply_class in [0, 4] {
                let body = Body { query: query.clone(), reply_class, ..peer.means.body() };
                let judged =
                    peer.exchange(&peer.request(&body.encode())).await.map_err(|why| format!("{what}: {why}"))?;
                if (judged.word(), judged.class) != ("E_QUERY", reply_class) {
                    return Err(format!("{what}: {} in class {}", judged.word(), judged.class));
                }
            }
        }
        peer.link.close();
        Ok(format!("{bytes} bytes of slice in one reply, and no more"))
    })
}

fn regions(stage: &mut Stage) -> Outcome {
    anew(stage);
    let mut heads = Vec::new();
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        // The row of the list twice, plus two.
        let number = |row: u32| 2 * row + 2;
        let rows = [
            ("no region at all", 4_000_000),
            ("a number between two regions", number(0) + 1),
            ("a region of another country", number(row_of("FR1"))),
            ("a level that is finer than asked for", number(row_of("ITC1"))),
            ("a region of NUTS 3", number(row_of("ITC11"))),
            ("the largest number", u32::MAX),
        ];
        for (what, code) in rows {
            let dims = vec![Dim::new(0, 0, &YEARS), Dim::new(1, 1, &[1]), Dim::new(2, 1, &[code])];
            let query = Query { table_id: 2, table_version: 1, measures: 1, dims };
            let judged = peer.exchange(&peer.request(&Body { query, ..peer.means.body() }.encode())).await?;
            if judged.word() != "E_QUERY" {
                return Err(format!("{what}: {}", judged.word()));
            }
            heads.push((judged.comparable(), judged.class));
        }
        peer.link.close();
        Ok::<_, String>(())
    })?;
    if heads.windows(2).all(|pair| pair[0] == pair[1]) {
        Ok(format!("{} places, one refusal", heads.len()))
    } else {
        Err(format!("the refusals differ: {heads:?}"))
    }
}

// Row of a region in the list, the header not counted.
fn row_of(code: &str) -> u32 {
    let text = std::fs::read_to_string(accord_tests::root().join("protocol/data/lists/nuts-2021.csv")).unwrap();
    let row = text.lines().skip(1).position(|line| line.starts_with(&format!("{code},"))).unwrap();
    u32::try_from(row).unwrap()
}

// A query of each class with its bytes.
fn of_class(peer: &Peer, class: u8) -> Body {
    let (query, bytes) = match class {
        0 => (peer.means.body().query, YEARS.len() * 2 * 9),
        1 => purities(1, 1),
        2 => purities(1, 6),
        3 => purities(5, 6),
        _ => purities(20, 6),
    };
    assert_eq!(class_of(bytes), class);
    Body { query, reply_class: class, ..peer.means.body() }
}

/// A kind of reply: in words, what must be answered, what is done to a request in order.
type Kind = (&'static str, &'static str, fn(&mut Body));

const KINDS: [Kind; 12] = [
    ("in order", ANSWERED, |_| {}),
    ("too late", "E_TIME", |body| {
        body.deliver_by = now() - 200_000;
        body.issued_at = body.deliver_by - 1_000;
    }),
    ("for another provider", "E_AUTH", |body| body.audience = "PT-AGENCY".into()),
    ("from another member", "E_AUTH", |body| body.requester = "PT-AGENCY".into()),
    ("an unknown measure", "E_QUERY", |body| body.query.measures = 1 << 31),
    ("a level that does not exist", "E_QUERY", |body| body.query.dims[1].level = 9),
    ("an unknown table", "E_UNAVAILABLE", |body| body.query.table_id = 999),
    ("a purpose that is not on the card", "E_UNAVAILABLE", |body| body.purpose = 5),
    ("an unknown edition", "E_EDITION", |body| body.edition = 99),
    ("another version of the table", "E_EDITION", |body| body.query.table_version = 2),
    ("a view", "E_VIEW", |body| body.view_hash = [1; 32]),
    ("a topic", "E_AUTH", |body| body.topic_hash = [1; 32]),
];

fn sizes(stage: &mut Stage) -> Outcome {
    let mut count = 0;
    for class in 0..5 {
        count += sizes_of(stage, class)?;
    }
    // The quota: one request is let through, and gives way to a refusal in each class.
    anew_with(stage, 1, 1);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let first = peer.exchange(&peer.request(&of_class(&peer, 0).encode())).await?;
        for class in 0..5 {
            let judged = peer.exchange(&peer.request(&of_class(&peer, class).encode())).await?;
            if (first.word(), judged.word(), judged.class) != (ANSWERED, "E_QUOTA", class) {
                return Err(format!(
                    "class {class}: {} then {} in class {}",
                    first.word(),
                    judged.word(),
                    judged.class
                ));
            }
        }
        peer.link.close();
        Ok(())
    })?;
    Ok(format!("{} replies in {CLASS_BYTES:?} bytes, each to the byte", count + 5))
}

fn sizes_of(stage: &mut Stage, class: u8) -> Result<usize, String> {
    let mut count = 0;
    refused(stage, |peer| {
        let mut faults: Vec<Fault> = KINDS
            .iter()
            .map(|(what, want, change)| {
                let mut body = of_class(peer, class);
                change(&mut body);
                Fault::decided(peer, format!("{what} in class {class}"), &body, want)
            })
            .collect();
        // Another class than the query's comes back in the class that was claimed.
        let claimed = Body { reply_class: class, ..of_class(peer, (class + 1) % 5) };
        faults.push(Fault::decided(peer, format!("claimed class {class}"), &claimed, "E_ENCODING"));
        let used = of_class(peer, class);
        faults.push(Fault::decided(peer, "an id", &used, ANSWERED));
        let again = Body { legal_basis: 5, ..used };
        faults.push(Fault::decided(peer, format!("the id again in class {class}"), &again, "E_CONFLICT"));
        count = faults.len();
        faults
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_query_fits_and_one_quarter_more_does_not() {
        let fits = |quarters| purities(quarters, 6).1 + 8192 <= 4 << 20;
        assert!(fits(QUARTERS_MAX) && !fits(QUARTERS_MAX + 1));
    }
}
