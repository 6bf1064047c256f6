//! Replies of a hostile provider that holds its own true keys: in order, or wrong in exactly one thing.

use crate::{
    peer::{file, now},
    server::{Question, Step},
    stage::{HONEST, Stage, VICTIM},
    wire::{
        CLASS_BYTES,
        fields::{Fields, Reader},
        frames::{HEAD, body, frame, head, padded_to},
        keys::{Key, ROLE_SIGN, ROLE_TLS},
        messages::{Answer, Edition, FETCH, NO_HASH, REQUEST, document_by, sealed},
        sha256,
    },
};

/// The number that a hostile member puts into every cell: it must be seen nowhere.
pub(crate) const SENTINEL: i64 = 987_654_321;

/// A hostile provider.
#[derive(Debug, Clone)]
pub(crate) struct Forge {
    pub(crate) sign: Key,
    pub(crate) tls: Key,
    /// The signing key of another member, as if it had been stolen or lent.
    pub(crate) other: Key,
    pub(crate) federation: [u8; 32],
    pub(crate) catalogue: [u8; 32],
}

impl Forge {
    /// The honest member, gone bad.
    pub(crate) fn of(stage: &Stage) -> Self {
        let ring = |member: &str| file(stage, &format!("{member}/node/node.ring"));
        let catalogue = std::fs::read(file(stage, "public/catalogue.accord")).unwrap();
        // Behind the magic: the number of proposed documents, the label, then the payload with its length.
        let payload = Reader::new(&catalogue[18..]).bytes().unwrap();
        Self {
            sign: Key::of_ring(&ring(HONEST), ROLE_SIGN),
            tls: Key::of_ring(&ring(HONEST), ROLE_TLS),
            other: Key::of_ring(&ring(VICTIM), ROLE_SIGN),
            federation: stage.fed_id,
            catalogue: sha256(payload),
        }
    }

    /// A cell that shows a number.
    pub(crate) fn cell(state: u8, number: i64) -> Vec<u8> {
        [[state].as_slice(), &number.to_be_bytes()].concat()
    }

    /// The table that was asked for, the same number in every cell.
    pub(crate) fn slice(asked: &Question) -> Vec<u8> {
        let cells: usize = asked.body.query.dims.iter().map(|dim| dim.codes.len().max(1)).product();
        Self::cell(1, SENTINEL).repeat(cells)
    }

    /// The commitment of an edition.
    pub(crate) fn commit(number: u64) -> [u8; 32] {
        sha256(&number.to_be_bytes())
    }

    /// The head of an answer in order.
    pub(crate) fn head(asked: &Question, number: u64, slice: &[u8]) -> Answer {
        Answer {
            body_hash: asked.hash,
            request_id: asked.body.request_id,
            responder: asked.body.audience.clone(),
            requester: asked.body.requester.clone(),
            decision: 1,
            code: 0,
            // The same each time it is asked: another time would be another reply, and kept as a contradiction.
            issued_at: asked.body.issued_at,
            epoch: 1,
            roster_version: 1,
            policy_version: 0,
            policy_commit: NO_HASH,
            edition: number,
            edition_commit: Self::commit(number),
            slice_hash: sha256(slice),
            slice_len: u32::try_from(slice.len()).unwrap(),
            handling_code: 0,
            tlp: 2,
            embargo_until: 0,
            recipients: Vec::new(),
            provable_after: 0,
        }
    }

    /// The head of a refusal in order.
    pub(crate) fn refusal(asked: &Question, code: u16) -> Answer {
        Answer { decision: 2, code, edition: 0, edition_commit: NO_HASH, tlp: 3, ..Self::head(asked, 0, b"") }
    }

    /// Signs a head as it should be signed.
    pub(crate) fn sealed(&self, answer: &[u8]) -> Vec<u8> {
        sealed(&self.sign, "answer", &self.federation, answer)
    }

    /// A reply's stream without pads.
    pub(crate) fn bare(signed: &[u8], slice: &[u8]) -> Vec<u8> {
        [frame(HEAD, &head(REQUEST, signed).encode()), body(slice)].concat()
    }

    /// A reply's stream in the size of the class that was asked for.
    pub(crate) fn padded(asked: &Question, signed: &[u8], slice: &[u8]) -> Vec<u8> {
        padded_to(Self::bare(signed, slice), CLASS_BYTES[usize::from(asked.body.reply_class)])
    }

    /// A whole answer in order, as bytes.
    pub(crate) fn answer(&self, asked: &Question, number: u64) -> Vec<u8> {
        let slice = Self::slice(asked);
        let head = Self::head(asked, number, &slice).fields().encode();
        Self::padded(asked, &self.sealed(&head), &slice)
    }

    /// A whole answer in order.
    pub(crate) fn honest(&self, asked: &Question, number: u64) -> Vec<Step> {
        whole(self.answer(asked, number))
    }

    /// An answer with another head, signed as it should be.
    pub(crate) fn with_head(&self, asked: &Question, number: u64, change: impl FnOnce(&mut Answer)) -> Vec<Step> {
        let slice = Self::slice(asked);
        let mut answer = Self::head(asked, number, &slice);
        change(&mut answer);
        whole(Self::padded(asked, &self.sealed(&answer.fields().encode()), &slice))
    }

    /// An answer whose head has other bytes, signed as it should be.
    pub(crate) fn with_fields(
        &self,
        asked: &Question,
        number: u64,
        change: impl FnOnce(Fields) -> Fields,
    ) -> Vec<Step> {
        let slice = Self::slice(asked);
        let fields = change(Self::head(asked, number, &slice).fields());
        whole(Self::padded(asked, &self.sealed(&fields.encode()), &slice))
    }

    /// An answer whose head is signed in another way.
    pub(crate) fn signed_by(asked: &Question, number: u64, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Vec<Step> {
        let slice = Self::slice(asked);
        let head = Self::head(asked, number, &slice).fields().encode();
        let signed = crate::wire::messages::signed_bytes(&head, &sign(&head)).encode();
        whole(Self::padded(asked, &signed, &slice))
    }

    /// An answer with another slice, which the head names.
    pub(crate) fn with_slice(
        &self,
        asked: &Question,
        number: u64,
        change: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Vec<Step> {
        let slice = change(Self::slice(asked));
        let head = Self::head(asked, number, &slice).fields().encode();
        whole(Self::padded(asked, &self.sealed(&head), &slice))
    }

    /// The header of an edition, as plain values.
    pub(crate) fn edition(&self, number: u64) -> Edition {
        Edition {
            number,
            prev_commit: NO_HASH,
            commit: Self::commit(number),
            rules_hash: [6; 32],
            catalogue_hash: self.catalogue,
            protection: 1,
            coverage: vec![(1, 2021 * 12, 2025 * 12 + 11, 1)],
            as_of: now() - 60_000,
            published_at: now() - 60_000,
        }
    }

    /// The reply to a fetch of the header, in order.
    pub(crate) fn header(&self, number: u64) -> Vec<Step> {
        self.with_header(number, |_| {})
    }

    /// The reply with another header, signed as it should be.
    pub(crate) fn with_header(&self, number: u64, change: impl FnOnce(&mut Edition)) -> Vec<Step> {
        let mut edition = self.edition(number);
        change(&mut edition);
        found(&document_by(&self.sign, "edition", &self.federation, &edition.fields().encode()))
    }
}

/// Bytes, and the end.
pub(crate) fn whole(bytes: Vec<u8>) -> Vec<Step> {
    vec![Step::Send(bytes), Step::Fin]
}

/// The reply to a fetch that found these bytes.
pub(crate) fn found(document: &[u8]) -> Vec<Step> {
    whole([frame(HEAD, &head(FETCH, &[1]).encode()), body(document)].concat())
}
