//! Randomness: the one place that asks the operating system for it.

use accord_protocol::key::{BadPrivateKey, SigningKey};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};
use zeroize::Zeroizing;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// Random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut out = [0; N];
    SystemRandom::new().fill(&mut out).map_err(|_| NoRandomness)?;
    Ok(out)
}

/// A new private key as a PKCS#8 v2 document, wiped on drop.
pub fn new_private_key() -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoRandomness)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// Reads a private key that [`new_private_key`] made.
pub fn signing_key(pkcs8: &[u8]) -> Result<SigningKey, BadPrivateKey> {
    SigningKey::from_pkcs8(pkcs8)
}
