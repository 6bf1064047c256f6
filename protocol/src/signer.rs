//! Whatever signs with one private key: a key of a ring, an agent that keeps one unlocked, later a token behind PKCS#11.

use crate::{
    key::{PublicKey, Signature, SigningKey},
    signed::{FederationId, Label, sign_input},
};

/// What a signature is for. The signer puts the domain before the bytes itself, so that nobody who may ask it for one kind of
/// signature gets another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A TLS 1.3 handshake: the bytes are those of RFC 8446, 4.4.3, and begin with 64 spaces.
    Handshake,
    /// Something of ours, in the name of a federation (`wire.md` D2).
    Statement {
        /// What.
        label: Label,
        /// Whose; 32 zero bytes where none is known yet.
        federation: &'a FederationId,
    },
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// What is to be signed as a handshake is none.
    #[error("these bytes are not those of a TLS handshake")]
    NotAHandshake,
    /// Whoever holds the key does not answer, or says no.
    #[error("the holder of the key does not sign: {0}")]
    Holder(String),
}

/// One private key, wherever it is.
pub trait Signer: std::fmt::Debug + Send + Sync {
    /// Its public part.
    fn public(&self) -> PublicKey;

    /// Signs bytes in a domain.
    fn sign_as(&self, domain: Domain<'_>, bytes: &[u8]) -> Result<Signature, NotSigned>;
}

impl Domain<'_> {
    /// The exact bytes under the signature.
    ///
    /// # Errors
    /// [`NotSigned::NotAHandshake`] if they are of another domain than they claim.
    pub fn input(&self, bytes: &[u8]) -> Result<Vec<u8>, NotSigned> {
        match self {
            Self::Handshake if bytes.starts_with(&[b' '; 64]) => Ok(bytes.to_vec()),
            Self::Handshake => Err(NotSigned::NotAHandshake),
            Self::Statement { label, federation } => Ok(sign_input(*label, federation, bytes)),
        }
    }
}

impl Signer for SigningKey {
    fn public(&self) -> PublicKey {
        Self::public(self)
    }

    fn sign_as(&self, domain: Domain<'_>, bytes: &[u8]) -> Result<Signature, NotSigned> {
        Ok(self.sign_raw(&domain.input(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::Hash, signed::tests::test_key};

    #[test]
    fn a_signature_of_one_domain_is_never_one_of_another() {
        let key = test_key(1);
        let signed = key.sign_as(Domain::Statement { label: Label::Answer, federation: &Hash([1; 32]) }, b"x").unwrap();
        assert!(key.public().verifies_as(Label::Answer, &Hash([1; 32]), b"x", &signed));
        let handshake = [vec![b' '; 64], b"TLS 1.3, client CertificateVerify\0".to_vec()].concat();
        assert!(key.public().verifies(&handshake, &key.sign_as(Domain::Handshake, &handshake).unwrap()));
        // Whoever may ask for handshakes alone gets no statement signed.
        let statement = sign_input(Label::Answer, &Hash([1; 32]), b"x");
        assert_eq!(key.sign_as(Domain::Handshake, &statement), Err(NotSigned::NotAHandshake));
    }
}
