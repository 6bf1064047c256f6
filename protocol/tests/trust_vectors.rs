//! Golden sets of trust documents: what each comes to, for ever. A second implementation reads the same file (`docs/trust-files.md` 7).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "trust_vectors/book.rs"]
mod book;
#[path = "trust_vectors/cases.rs"]
mod cases;
mod made;

use expect_test::expect_file;

#[test]
fn every_set_of_documents_has_its_verdict() {
    let mut book = book::Book::default();
    cases::whole(&mut book);
    cases::unreadable(&mut book);
    cases::roots_and_rosters(&mut book);
    cases::keys(&mut book);
    cases::lists(&mut book);
    cases::suspensions(&mut book);
    assert!(book.cases() >= 100, "{} cases", book.cases());
    expect_file!["vectors/trust.txt"].assert_eq(&book.text());
}
