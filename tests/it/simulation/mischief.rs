//! What a member gone bad does to the bytes that it sends: to requests as an asker, to replies as a provider.

use accord_node::domain::answering::SignedAnswer;
use accord_protocol::{
    answer::AnswerHead,
    codec::{Cap, decode, encode},
    id::Hash,
    key::SigningKey,
    signed::{FederationId, Label},
};
use accord_tests::seeded::Seeded;

/// What becomes of a reply.
pub(super) enum Bad {
    /// Nothing is sent.
    Silent,
    /// These bytes.
    Bytes { bytes: Vec<u8>, fin: bool },
    /// Another answer under the member's own, true signature.
    Signed(SignedAnswer),
    /// Another answer under its true signature, and after half of it nothing more.
    BreaksOff(SignedAnswer),
}

/// Flips a bit of a request's head, or cuts the request, or puts bytes into it.
pub(super) fn spoil(bytes: &mut Vec<u8>, head: usize, random: &mut Seeded) {
    let at = random.below(head + 5);
    match random.below(4) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes.truncate(at),
        _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
    }
}

/// Spoils a reply.
pub(super) fn reply(
    answer: &SignedAnswer,
    bytes: &[u8],
    key: &SigningKey,
    federation: &FederationId,
    random: &mut Seeded,
) -> Bad {
    let mut bytes = bytes.to_vec();
    let whole = |bytes| Bad::Bytes { bytes, fin: true };
    match random.below(9) {
        0 => Bad::Silent,
        1 => {
            // Anywhere in what is not padding.
            let at = random.below((answer.head.len() + answer.slice.len() + 150).min(bytes.len()));
            bytes[at] ^= 1 << random.below(8);
            whole(bytes)
        }
        2 => {
            bytes.truncate(random.below(bytes.len()).max(1));
            whole(bytes)
        }
        3 => {
            // Pads beyond the class.
            bytes.extend(accord_protocol::frame::pads(64 << 10).unwrap().flatten());
            whole(bytes)
        }
        // The right answer under a signature that is not the member's.
        4 => {
            let mut forged = answer.clone();
            forged.signature.0[random.below(64)] ^= 1 << random.below(8);
            whole(super::world_stream(&forged))
        }
        5 => Bad::Signed(lie(answer, key, federation, random)),
        6 => Bad::BreaksOff(lie(answer, key, federation, random)),
        // Two bytes of the table changed, the head as it was.
        7 => {
            let mut swapped = answer.clone();
            if swapped.slice.len() > 9 {
                let cells = swapped.slice.len() / 9;
                swapped.slice[9 * random.below(cells) + 8] ^= 1;
            }
            whole(super::world_stream(&swapped))
        }
        _ => whole(bytes),
    }
}

// The same answer a millisecond later, or with other numbers.
fn lie(answer: &SignedAnswer, key: &SigningKey, federation: &FederationId, random: &mut Seeded) -> SignedAnswer {
    let mut head: AnswerHead = decode(&answer.head, Cap::Head).unwrap();
    let mut slice = answer.slice.clone();
    head.issued_at = head.issued_at.plus(1);
    if slice.len() > 9 && random.happens(50) {
        let cells = slice.len() / 9;
        slice[9 * random.below(cells) + 8] ^= 1;
        head.slice_hash = Hash::of(&slice);
    }
    let head = encode(&head).unwrap();
    let signature = key.sign(Label::Answer, federation, &head);
    SignedAnswer { head, signature, slice, reply_class: answer.reply_class }
}
