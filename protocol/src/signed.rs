//! From bytes that somebody signed to values that may be believed.
//!
//! `SIGN_INPUT(label, fed_id, payload) = "accord/1 " || label || 0x00 || fed_id[32] || u64be(len(payload)) || payload`
//! (`trust.md` 3.1). Signatures are verified over the bytes as received, *then* the bytes are decoded.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, Malformed, decode, encode},
    id::Hash,
    key::{PublicKey, Signature, SigningKey},
    signer::{Domain, NotSigned, Signer},
};

crate::codes! {
    /// What is signed: the closed list of `wire.md` D2, as domain labels.
    pub enum Label: u16 {
        /// The root document.
        Root = 1 "root",
        /// The roster of members.
        Roster = 2 "roster",
        /// A member's keys.
        MemberKeys = 3 "member-keys",
        /// A member's officers.
        Officers = 4 "officers",
        /// A member's own staff; never leaves the node.
        Staff = 5 "staff",
        /// A member's policy.
        Policy = 6 "policy",
        /// The federation's catalogue of tables.
        Catalogue = 7 "catalogue",
        /// A suspension by one administrator.
        Suspend = 8 "suspend",
        /// A local acceptance of a member's keys.
        Accept = 9 "accept",
        /// An approved line of inquiry.
        Topic = 10 "topic",
        /// An approver's verdict on one request: yes to one slice, or no.
        Approval = 11 "approval",
        /// An approver's yes to a partner, table and purpose for a time.
        Standing = 12 "standing",
        /// The withdrawal of an edition by its provider, or of a request by its officer.
        Withdraw = 13 "withdraw",
        /// A claim to keys, with proof of possession.
        KeyClaim = 14 "key-claim",
        /// A greeting between nodes.
        Hello = 15 "hello",
        /// What an officer asks.
        RequestBody = 16 "request-body",
        /// What a node hands on for its officer.
        Request = 17 "request",
        /// What a provider answers or refuses.
        Answer = 18 "answer",
        /// Where a held request stands.
        Status = 19 "status",
        /// That an answer arrived.
        Receipt = 20 "receipt",
        /// An edition's header.
        Edition = 21 "edition",
        /// What a partner may see.
        View = 22 "view",
        /// A backup's manifest.
        Backup = 23 "backup",
        /// A printed emergency procedure.
        BreakGlass = 24 "break-glass",
        /// A proposal that people of one agency sign; never leaves the node.
        Proposal = 25 "proposal",
    }
}

/// The federation in whose name something is signed; all zero only inside a root document.
pub type FederationId = Hash;

/// The exact bytes under a signature.
pub fn sign_input(label: Label, federation: &FederationId, payload: &[u8]) -> Vec<u8> {
    let word = label.as_str().as_bytes();
    let mut input = Vec::with_capacity(9 + word.len() + 1 + 32 + 8 + payload.len());
    input.extend(b"accord/1 ");
    input.extend(word);
    input.push(0);
    input.extend(federation.0);
    input.extend((payload.len() as u64).to_be_bytes());
    input.extend(payload);
    input
}

impl SigningKey {
    /// Signs a payload under a label in the name of a federation.
    pub fn sign(&self, label: Label, federation: &FederationId, payload: &[u8]) -> Signature {
        self.sign_raw(&sign_input(label, federation, payload))
    }
}

impl PublicKey {
    /// Whether this key signed this payload under this label in the name of this federation.
    #[must_use]
    pub fn verifies_as(&self, label: Label, federation: &FederationId, payload: &[u8], signature: &Signature) -> bool {
        self.verifies(&sign_input(label, federation, payload), signature)
    }
}

/// A value whose signatures were verified; nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    hash: Hash,
    signers: Vec<PublicKey>,
}

impl<T> Verified<T> {
    /// The value.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// SHA-256 of the signed payload.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The keys whose signatures were verified, each once.
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A type that is signed under exactly one label.
pub trait Signable: Encode + Decode<()> {
    /// Its label.
    const LABEL: Label;
    /// The cap of its encoding.
    const CAP: Cap;
    /// Whether the decoded value keeps its own rules (order, bounds, thresholds).
    ///
    /// # Errors
    /// The rule that is broken, in words.
    fn check(&self) -> Result<(), &'static str>;
}

/// Why a signed thing is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// Too few of the keys that count have signed.
    #[error("{have} of {need} needed signatures")]
    Threshold {
        /// Distinct keys that count and whose signature verifies.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// A signature does not verify, or is by a key that does not count and was claimed to.
    #[error("the signature is not the expected key's")]
    Signature,
    /// A key listed for the first time has not signed (possession).
    #[error("key {0} has not signed: no proof that its owner holds it")]
    Possession(PublicKey),
    /// The payload is not a message.
    #[error("the signed bytes are not a message")]
    Malformed(#[from] Malformed),
    /// The payload breaks a rule of its kind.
    #[error("rule broken: {0}")]
    Rule(&'static str),
    /// The document is of another kind.
    #[error("expected a document of kind {expected}, got {got}")]
    Kind {
        /// Kind asked for.
        expected: Label,
        /// Kind found.
        got: Label,
    },
}

/// One signature with the key that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signed {
    /// The signer.
    pub key: PublicKey,
    /// Over `SIGN_INPUT`.
    pub signature: Signature,
}

/// A document with its signatures, as it lies in a file and goes from hand to hand.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Document {
    label: Label,
    payload: Bounded<u8, { 1 << 20 }>,
    signatures: Bounded<Signed, 64>,
}

impl Document {
    /// Wraps a value, not signed yet.
    pub fn new<T: Signable>(value: &T) -> Result<Self, NotVerified> {
        value.check().map_err(NotVerified::Rule)?;
        let payload = encode(value)?;
        let max = T::CAP.bytes();
        let got = payload.len();
        if got > max {
            return Err(Malformed::TooLarge { got, max }.into());
        }
        let payload = Bounded::new(payload).ok_or(Malformed::TooLarge { got, max })?;
        Ok(Self { label: T::LABEL, payload, signatures: Bounded::default() })
    }

    /// What the document is.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        self.payload.as_slice()
    }

    /// SHA-256 of the signed bytes: how other documents refer to this one.
    pub fn hash(&self) -> Hash {
        Hash::of(self.payload())
    }

    /// The keys that have signed, without saying whether they verify.
    pub fn signed_by(&self) -> Vec<PublicKey> {
        self.signatures.iter().map(|signed| signed.key).collect()
    }

    /// Adds a signature; signing again with the same key changes nothing. `false` if there is no room.
    pub fn add_signature(&mut self, signer: &SigningKey, federation: &FederationId) -> bool {
        self.add_signature_of(signer, federation).unwrap_or(false)
    }

    /// The same document with what another spelling of it has beyond it: signatures by these keys that verify. Nothing if there are
    /// none, or if it is another document.
    pub fn with_signatures_of(
        &self,
        other: &Self,
        federation: &FederationId,
        keys: &BTreeSet<PublicKey>,
    ) -> Option<Self> {
        if (self.label, self.payload()) != (other.label, other.payload()) {
            return None;
        }
        let has = self.signed_by();
        let input = sign_input(self.label, federation, self.payload());
        let mut list = self.signatures.as_slice().to_vec();
        for signed in other.signatures.iter() {
            let new = !has.contains(&signed.key) && keys.contains(&signed.key);
            if new && signed.key.verifies(&input, &signed.signature) {
                list.push(*signed);
            }
        }
        if list.len() == has.len() {
            return None;
        }
        Some(Self { label: self.label, payload: self.payload.clone(), signatures: Bounded::new(list)? })
    }

    /// Adds a signature of whoever holds a key; `false` if there is no room for it.
    pub fn add_signature_of(&mut self, signer: &dyn Signer, federation: &FederationId) -> Result<bool, NotSigned> {
        let key = signer.public();
        if self.signed_by().contains(&key) {
            return Ok(true);
        }
        let domain = Domain::Statement { label: self.label, federation };
        let signature = signer.sign_as(domain, self.payload())?;
        let mut list = self.signatures.as_slice().to_vec();
        list.push(Signed { key, signature });
        Ok(Bounded::new(list).is_some_and(|list| {
            self.signatures = list;
            true
        }))
    }

    /// Reads the payload without believing it: for showing a proposal to the person who is asked to sign it.
    pub fn unverified<T: Signable>(&self) -> Result<T, NotVerified> {
        if self.label != T::LABEL {
            return Err(NotVerified::Kind { expected: T::LABEL, got: self.label });
        }
        let value: T = decode(self.payload(), T::CAP)?;
        value.check().map_err(NotVerified::Rule)?;
        Ok(value)
    }

    /// Which of these keys have a signature here that verifies; each counts once (K4).
    pub fn valid_signers(&self, federation: &FederationId, keys: &[PublicKey]) -> Vec<PublicKey> {
        let wanted: BTreeSet<&PublicKey> = keys.iter().collect();
        let input = sign_input(self.label, federation, self.payload());
        let valid: BTreeSet<PublicKey> = self
            .signatures
            .iter()
            .filter(|signed| wanted.contains(&signed.key) && signed.key.verifies(&input, &signed.signature))
            .map(|signed| signed.key)
            .collect();
        valid.into_iter().collect()
    }

    /// Believes the document if `need` distinct keys of `keys` have signed it, and every key of `possession` has too.
    pub fn verify<T: Signable>(
        &self,
        federation: &FederationId,
        keys: &[PublicKey],
        need: usize,
        possession: &[PublicKey],
    ) -> Result<Verified<T>, NotVerified> {
        if self.label != T::LABEL {
            return Err(NotVerified::Kind { expected: T::LABEL, got: self.label });
        }
        let signers = self.valid_signers(federation, keys);
        let have = signers.len();
        if have < need || need == 0 {
            return Err(NotVerified::Threshold { have, need });
        }
        let held = self.valid_signers(federation, possession);
        if let Some(missing) = possession.iter().find(|key| !held.contains(key)) {
            return Err(NotVerified::Possession(*missing));
        }
        Ok(Verified { value: self.unverified()?, hash: self.hash(), signers })
    }
}

/// Believes a message with one signature by one of the keys that may sign it.
pub fn verify_message<T: Signable>(
    federation: &FederationId,
    keys: &[PublicKey],
    payload: &[u8],
    signature: &Signature,
) -> Result<Verified<T>, NotVerified> {
    let input = sign_input(T::LABEL, federation, payload);
    let signer = keys.iter().find(|key| key.verifies(&input, signature)).ok_or(NotVerified::Signature)?;
    let value: T = decode(payload, T::CAP)?;
    value.check().map_err(NotVerified::Rule)?;
    Ok(Verified { value, hash: Hash::of(payload), signers: vec![*signer] })
}

/// The first two fields of every signed message: protocol and kind; anything else than expected does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble<const KIND: u16>;

impl<const KIND: u16> Encode for Preamble<KIND> {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        crate::PROTOCOL.encode(encoder)?;
        KIND.encode(encoder)
    }
}

impl<C, const KIND: u16> Decode<C> for Preamble<KIND> {
    fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        let protocol = <u16 as Decode<C>>::decode(decoder)?;
        let kind = <u16 as Decode<C>>::decode(decoder)?;
        if protocol == crate::PROTOCOL && kind == KIND {
            Ok(Self)
        } else {
            Err(bincode::error::DecodeError::Other("another protocol or another kind of message"))
        }
    }
}

impl<'de, C, const KIND: u16> bincode::BorrowDecode<'de, C> for Preamble<KIND> {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Self::decode(decoder)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Encode, Decode)]
    struct Note {
        preamble: Preamble<14>,
        number: u32,
    }

    impl Signable for Note {
        const LABEL: Label = Label::KeyClaim;
        const CAP: Cap = Cap::Small;
        fn check(&self) -> Result<(), &'static str> {
            if self.number == 13 { Err("13 is not allowed") } else { Ok(()) }
        }
    }

    /// A key made from a seed, so that tests need no randomness.
    pub(crate) fn test_key(seed: u8) -> SigningKey {
        let seed_bytes = [seed; 32];
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&seed_bytes).unwrap();
        let mut pkcs8 = crate::id::from_hex("3051020101300506032b657004220420").unwrap();
        pkcs8.extend(seed_bytes);
        pkcs8.extend([0x81, 0x21, 0x00]);
        pkcs8.extend(ring::signature::KeyPair::public_key(&pair).as_ref());
        SigningKey::from_pkcs8(&pkcs8).unwrap()
    }

    #[test]
    fn the_signed_bytes_are_as_the_wire_says() {
        let input = sign_input(Label::Answer, &Hash([0xab; 32]), b"xyz");
        let want = [b"accord/1 answer\0".as_slice(), &[0xab; 32], &[0, 0, 0, 0, 0, 0, 0, 3], b"xyz"].concat();
        assert_eq!(input, want);
    }

    #[test]
    fn one_key_counts_once_and_the_threshold_is_met_by_distinct_keys() {
        let fed = Hash([1; 32]);
        let (a, b) = (test_key(1), test_key(2));
        let keys = [a.public(), b.public()];
        let mut document = Document::new(&Note { preamble: Preamble, number: 7 }).unwrap();
        assert!(document.add_signature(&a, &fed));
        assert!(document.add_signature(&a, &fed));
        assert_eq!(document.verify::<Note>(&fed, &keys, 2, &[]), Err(NotVerified::Threshold { have: 1, need: 2 }));
        // Twice the same key in the list of keys does not make two either.
        assert_eq!(
            document.verify::<Note>(&fed, &[a.public(), a.public()], 2, &[]),
            Err(NotVerified::Threshold { have: 1, need: 2 })
        );
        assert!(document.add_signature(&b, &fed));
        assert_eq!(document.verify::<Note>(&fed, &keys, 2, &[]).unwrap().number, 7);
        assert_eq!(document.verify::<Note>(&fed, &keys, 0, &[]), Err(NotVerified::Threshold { have: 2, need: 0 }));
        let stranger = test_key(3).public();
        assert_eq!(document.verify::<Note>(&fed, &keys, 2, &[stranger]), Err(NotVerified::Possession(stranger)));
        assert!(document.verify::<Note>(&Hash([2; 32]), &keys, 1, &[]).is_err(), "another federation");
    }

    #[test]
    fn two_spellings_of_a_document_are_put_together_by_the_keys_that_count() {
        let fed = Hash([1; 32]);
        let (a, b, stranger) = (test_key(1), test_key(2), test_key(3));
        let counting = BTreeSet::from([a.public(), b.public()]);
        let bare = Document::new(&Note { preamble: Preamble, number: 7 }).unwrap();
        let (mut one, mut other) = (bare.clone(), bare);
        assert!(one.add_signature(&a, &fed) && other.add_signature(&b, &fed) && other.add_signature(&stranger, &fed));
        let both = one.with_signatures_of(&other, &fed, &counting).unwrap();
        assert_eq!(both.signed_by(), [a.public(), b.public()], "a stranger's signature takes no room");
        assert_eq!(both.with_signatures_of(&other, &fed, &counting), None, "nothing is new");
        // A signature under another federation is none here.
        assert_eq!(one.with_signatures_of(&other, &Hash([2; 32]), &counting), None);
        let another = Document::new(&Note { preamble: Preamble, number: 8 }).unwrap();
        assert_eq!(another.with_signatures_of(&other, &fed, &counting), None, "another document");
    }

    #[test]
    fn a_label_is_part_of_what_is_signed() {
        let fed = Hash([1; 32]);
        let key = test_key(1);
        let payload = encode(&Note { preamble: Preamble, number: 7 }).unwrap();
        let good = key.sign(Label::KeyClaim, &fed, &payload);
        let other = key.sign(Label::Answer, &fed, &payload);
        assert!(verify_message::<Note>(&fed, &[key.public()], &payload, &good).is_ok());
        assert_eq!(verify_message::<Note>(&fed, &[key.public()], &payload, &other), Err(NotVerified::Signature));
    }

    #[test]
    fn a_signed_value_that_breaks_its_rules_is_not_believed() {
        let fed = Hash([1; 32]);
        let key = test_key(1);
        for (number, protocol) in [(13, 1), (7, 2), (7, 0)] {
            let mut payload = encode(&Note { preamble: Preamble, number }).unwrap();
            payload[1] = protocol;
            let signature = key.sign(Label::KeyClaim, &fed, &payload);
            assert!(verify_message::<Note>(&fed, &[key.public()], &payload, &signature).is_err());
        }
    }
}
