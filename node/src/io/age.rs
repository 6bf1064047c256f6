//! Files in the format of age (C2SP, `age-encryption.org/v1`), with X25519 alone: encrypted to a recipient, decrypted with an identity.
//!
//! The ordinary `age` tool opens what is written here, and what it writes is read here. The crate `age` would bring 150 others into the
//! process that holds the keys (formats of messages in all languages, prereleases of HPKE and ML-KEM, P-256); the format needs X25519,
//! which the TLS library has, and HKDF, HMAC and ChaCha20-Poly1305, which `ring` has.

use std::io::{self, BufRead, Read, Write};

use accord_edge::random::{self, NoRandomness};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use base64ct::{Base64Unpadded, Encoding};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};
use zeroize::{Zeroize, Zeroizing};

use super::bech32;

const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "-> X25519 ";
const FOOTER: &str = "---";
const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";
/// Plaintext of a piece.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
/// Largest header that is read: hundreds of recipients.
const HEADER_MAX: usize = 64 << 10;
/// Characters of a line of a stanza's body; one that is shorter ends it.
const COLUMNS: usize = 64;

/// Why something is not encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// Reading or writing.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Not a recipient.
    #[error("a recipient is written age1... (62 characters), as `accord-node recovery-key` prints it")]
    Recipient,
    /// Not an identity.
    #[error("no AGE-SECRET-KEY-1... stands in it")]
    Identity,
    /// Not a file of this format.
    #[error("the file is not encrypted in the format of age, or its beginning is damaged")]
    NotAge,
    /// To somebody else.
    #[error("the file is not encrypted to this identity")]
    OtherIdentity,
    /// The header is not as it was written.
    #[error("the beginning of the file was changed")]
    Header,
    /// A piece is not as it was written.
    #[error("the file was changed or cut off near byte {0}")]
    Damaged(u64),
}

/// To whom something is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::write(RECIPIENT, &self.0))
    }
}

impl std::str::FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        // The alphabet has two cases, and age writes recipients in lower case alone.
        let bytes =
            bech32::read(RECIPIENT, text).filter(|_| !text.contains(|letter: char| letter.is_ascii_uppercase()));
        let key: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(AgeError::Recipient)?;
        // A point that makes every shared secret zero would encrypt to everybody.
        shared(&[1; 32], &key).ok_or(AgeError::Recipient)?;
        Ok(Self(key))
    }
}

/// Who decrypts.
pub struct Identity(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// A new one.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(random::bytes()?)))
    }

    /// Reads an identity file: lines of comments, and one of the identity.
    pub fn read(text: &str) -> Result<Self, AgeError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(AgeError::Identity) };
        let bytes = bech32::read(IDENTITY, line).map(Zeroizing::new).ok_or(AgeError::Identity)?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| AgeError::Identity)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// As an identity file has it.
    pub fn secret_text(&self) -> Zeroizing<String> {
        let mut lower = Zeroizing::new(bech32::write(IDENTITY, self.0.as_slice()));
        lower.make_ascii_uppercase();
        lower
    }

    /// To whom it belongs.
    pub fn recipient(&self) -> Result<Recipient, AgeError> {
        public(&self.0).map(Recipient).ok_or(AgeError::Identity)
    }
}

fn public(secret: &[u8; 32]) -> Option<[u8; 32]> {
    let key = PrivateKey::from_private_key(&X25519, secret).ok()?;
    key.compute_public_key().ok()?.as_ref().try_into().ok()
}

// Nothing where the shared secret is zero.
fn shared(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let key = PrivateKey::from_private_key(&X25519, secret).ok()?;
    let peer = UnparsedPublicKey::new(&X25519, public);
    let bytes =
        agreement::agree(&key, peer, (), |bytes| <[u8; 32]>::try_from(bytes).map(Zeroizing::new).map_err(|_| ()));
    bytes.ok().filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}

struct Len32;

impl hkdf::KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

fn derived(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    // 32 bytes are fewer than the most that HKDF gives, so that this cannot fail; a key of zeros would open nothing.
    let _ = prk.expand(&[info], Len32).and_then(|okm| okm.fill(key.as_mut_slice()));
    key
}

fn aead(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

fn wrapping(secret: &[u8; 32], share: &[u8; 32], recipient: &[u8; 32]) -> Option<LessSafeKey> {
    aead(&derived(secret, &[share.as_slice(), recipient].concat(), WRAP_INFO))
}

fn mac_key(file_key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derived(file_key, &[], b"header").as_slice())
}

// The nonce of a piece: its number in 11 bytes, and whether it is the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(3).zip(number.to_be_bytes()) {
        *to = from;
    }
    if let Some(last) = bytes.last_mut() {
        *last = u8::from(is_last);
    }
    Nonce::assume_unique_for_key(bytes)
}

fn sealing(file_key: &[u8], salt: &[u8]) -> Result<LessSafeKey, AgeError> {
    aead(&derived(file_key, salt, b"payload")).ok_or(AgeError::NotAge)
}

/// Encrypts what is written to it. Nothing that reads it takes it for whole before [`finish`](Self::finish).
pub struct Encrypting<W> {
    out: W,
    key: LessSafeKey,
    number: u64,
    piece: Vec<u8>,
}

impl<W> std::fmt::Debug for Encrypting<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encrypting")
    }
}

impl<W: Write> Encrypting<W> {
    /// Begins a file.
    pub fn begin(mut out: W, recipient: &Recipient) -> Result<Self, AgeError> {
        let file_key = Zeroizing::new(random::bytes::<16>()?);
        let ephemeral = Zeroizing::new(random::bytes::<32>()?);
        let share = public(&ephemeral).ok_or(AgeError::Recipient)?;
        let secret = shared(&ephemeral, &recipient.0).ok_or(AgeError::Recipient)?;
        let wrapping = wrapping(&secret, &share, &recipient.0).ok_or(AgeError::Recipient)?;
        let mut wrapped = file_key.to_vec();
        // The key is used once, so that its nonce may be zero.
        wrapping
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut wrapped)
            .map_err(|_| AgeError::Recipient)?;
        let text = |bytes: &[u8]| Base64Unpadded::encode_string(bytes);
        let header = format!("{VERSION}\n{STANZA}{}\n{}\n{FOOTER}", text(&share), text(&wrapped));
        let mac = hmac::sign(&mac_key(file_key.as_slice()), header.as_bytes());
        let salt = random::bytes::<16>()?;
        out.write_all(format!("{header} {}\n", text(mac.as_ref())).as_bytes())?;
        out.write_all(&salt)?;
        let key = sealing(file_key.as_slice(), &salt)?;
        Ok(Self { out, key, number: 0, piece: Vec::with_capacity(CHUNK + TAG) })
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(self.number, is_last), Aad::empty(), &mut self.piece)
            .map_err(|_| io::Error::other("a piece cannot be sealed"))?;
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        self.number += 1;
        Ok(())
    }

    /// Writes the end, and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece is sealed only when more comes: the last one is sealed as such, and is empty only if all is.
        if self.piece.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.get(..bytes.len().min(CHUNK - self.piece.len())).unwrap_or_default();
        self.piece.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what is read from it; gives nothing out that was not verified. It is whole only if it gives an end.
pub struct Decrypting<R> {
    from: R,
    key: LessSafeKey,
    number: u64,
    at: u64,
    // Ciphertext of the next piece, of which the end is not known yet.
    ahead: Vec<u8>,
    plain: Vec<u8>,
    given: usize,
    is_over: bool,
}

impl<R> std::fmt::Debug for Decrypting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decrypting")
    }
}

impl<R> Drop for Decrypting<R> {
    fn drop(&mut self) {
        self.plain.zeroize();
    }
}

// A line without its end, added to what was read of the header so far.
fn line(from: &mut impl BufRead, header: &mut Vec<u8>) -> Result<String, AgeError> {
    let left = HEADER_MAX.saturating_sub(header.len()) as u64;
    let start = header.len();
    from.by_ref().take(left).read_until(b'\n', header)?;
    let line = header.get(start..).and_then(|line| line.strip_suffix(b"\n")).ok_or(AgeError::NotAge)?;
    Ok(std::str::from_utf8(line).map_err(|_| AgeError::NotAge)?.to_owned())
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    Base64Unpadded::decode_vec(text).ok()?.try_into().ok()
}

impl<R: BufRead> Decrypting<R> {
    /// Reads the header.
    pub fn begin(mut from: R, identity: &Identity) -> Result<Self, AgeError> {
        let recipient = identity.recipient()?;
        let mut header = Vec::new();
        if line(&mut from, &mut header)? != VERSION {
            return Err(AgeError::NotAge);
        }
        let mut file_key = None;
        let mut stanza = line(&mut from, &mut header)?;
        let mac = loop {
            if let Some(mac) = stanza.strip_prefix(FOOTER).and_then(|rest| rest.strip_prefix(' ')) {
                break fixed::<32>(mac).ok_or(AgeError::NotAge)?;
            }
            if !stanza.starts_with("-> ") {
                return Err(AgeError::NotAge);
            }
            let mut body = String::new();
            loop {
                let part = line(&mut from, &mut header)?;
                body += &part;
                if part.len() < COLUMNS {
                    break;
                }
            }
            if let Some(share) = stanza.strip_prefix(STANZA) {
                let share = fixed::<32>(share).ok_or(AgeError::NotAge)?;
                let wrapped = fixed::<32>(&body).ok_or(AgeError::NotAge)?;
                file_key = file_key.or_else(|| unwrapped(identity, &recipient, &share, wrapped));
            }
            stanza = line(&mut from, &mut header)?;
        };
        let file_key = file_key.ok_or(AgeError::OtherIdentity)?;
        let signed = header.len().checked_sub(stanza.len() + 1).and_then(|start| header.get(..start + FOOTER.len()));
        hmac::verify(&mac_key(file_key.as_slice()), signed.unwrap_or_default(), &mac).map_err(|_| AgeError::Header)?;
        let mut salt = [0; 16];
        from.read_exact(&mut salt).map_err(|_| AgeError::NotAge)?;
        let key = sealing(file_key.as_slice(), &salt)?;
        let at = header.len() as u64 + 16;
        Ok(Self { from, key, number: 0, at, ahead: Vec::new(), plain: Vec::new(), given: 0, is_over: false })
    }

    fn open_next(&mut self) -> io::Result<()> {
        // One byte more than a piece, to know whether it is the last.
        let wanted = (CHUNK + TAG + 1).saturating_sub(self.ahead.len()) as u64;
        self.from.by_ref().take(wanted).read_to_end(&mut self.ahead)?;
        let is_last = self.ahead.len() <= CHUNK + TAG;
        let next = if is_last { Vec::new() } else { self.ahead.split_off(CHUNK + TAG) };
        let mut piece = std::mem::replace(&mut self.ahead, next);
        let (at, len) = (self.at, piece.len() as u64);
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, AgeError::Damaged(at));
        let nonce = nonce(self.number, is_last);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut piece).map_err(|_| damaged())?.len();
        piece.truncate(opened);
        // An empty last piece stands only in an empty file.
        if opened == 0 && self.number > 0 {
            return Err(damaged());
        }
        self.plain.zeroize();
        (self.plain, self.given, self.is_over) = (piece, 0, is_last);
        self.number += 1;
        self.at += len;
        Ok(())
    }
}

fn unwrapped(
    identity: &Identity,
    recipient: &Recipient,
    share: &[u8; 32],
    mut wrapped: [u8; 32],
) -> Option<Zeroizing<[u8; 16]>> {
    let secret = shared(&identity.0, share)?;
    let key = wrapping(&secret, share, &recipient.0)?;
    let opened = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut wrapped).ok()?;
    let file_key = <[u8; 16]>::try_from(&*opened).ok().map(Zeroizing::new);
    wrapped.zeroize();
    file_key
}

impl<R: BufRead> Read for Decrypting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plain.len() {
            if self.is_over {
                return Ok(0);
            }
            self.open_next()?;
        }
        let rest = self.plain.get(self.given..).unwrap_or_default();
        let count = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity of age's own tests: 32 bytes of 0x42.
    const SECRET: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    const PUBLIC: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    /// Written by the tool `age` 1.1.1 to two recipients, of whom this identity is the second.
    const BY_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBIMThUeFloWVlLR3YrOGUyWndPOXdDY1pveFZ1QlVXUFIrTEhpeEdBOXhJ\
        CmlsQSs3aDYyQ2dQWEQ1SWIzNkt3V0l6SVozQlAwN1M1QmdGK0VTMWQ2Y0EKLT4gWDI1NTE5ICtSMmwyMkVtRUJyV0lqVFhQL3Vy\
        N2o3Zy9ESGUrRXk2dS9HeFFnMmVIU0UKdUJqeGMvRjkzZjM0d0p6SVdpUEsrZmJ0RDhRdmdDSW5uVUdiMmI4MG42YwotLS0gaFdG\
        QWU3QkFPWThha3hnbnlGbVk3b2xrZDhIMDJFYVlDeGQ0ODBqb25KUQqMiEt8MiHNwBoTqy7JUOQjFwB1snD0+tX1uaJ1qLD5mLdD\
        SOe3PJ/jw21/VK8=";

    fn encrypted(plain: &[u8], recipient: &Recipient, step: usize) -> Vec<u8> {
        let mut encrypting = Encrypting::begin(Vec::new(), recipient).unwrap();
        for part in plain.chunks(step) {
            encrypting.write_all(part).unwrap();
        }
        encrypting.finish().unwrap()
    }

    fn decrypted(file: &[u8], identity: &Identity) -> Result<Vec<u8>, AgeError> {
        let mut plain = Vec::new();
        match Decrypting::begin(file, identity)?.read_to_end(&mut plain) {
            Ok(_) => Ok(plain),
            Err(error) => Err(error.downcast().unwrap()),
        }
    }

    #[test]
    fn keys_have_the_spelling_of_age_and_no_other() {
        let identity = Identity::read(&format!("# created: now\n\n{SECRET}\n")).unwrap();
        assert_eq!(identity.recipient().unwrap().to_string(), PUBLIC);
        assert_eq!(identity.secret_text().as_str(), SECRET);
        assert_eq!(PUBLIC.parse::<Recipient>().unwrap(), identity.recipient().unwrap());
        assert_eq!(format!("{identity:?}"), "Identity");
        for bad in ["", "age1", &PUBLIC.to_ascii_uppercase(), &PUBLIC[1..], &PUBLIC.replace('q', "p"), SECRET] {
            assert!(bad.parse::<Recipient>().is_err(), "{bad}");
        }
        for bad in ["", "# only a comment", PUBLIC, &SECRET[1..], &format!("{SECRET}\n{SECRET}")] {
            assert!(matches!(Identity::read(bad), Err(AgeError::Identity)), "{bad}");
        }
        // Points whose shared secret with everybody is zero.
        for zero in [[0; 32], std::array::from_fn(|at| u8::from(at == 0))] {
            assert!(bech32::write(RECIPIENT, &zero).parse::<Recipient>().is_err());
        }
    }

    #[test]
    fn a_file_of_the_tool_age_is_read() {
        let file = base64ct::Base64::decode_vec(BY_AGE).unwrap();
        let identity = Identity::read(SECRET).unwrap();
        assert_eq!(decrypted(&file, &identity).unwrap(), b"four seizures");
        assert!(matches!(decrypted(&file, &Identity::new().unwrap()), Err(AgeError::OtherIdentity)));
    }

    #[test]
    fn what_is_encrypted_is_decrypted_at_every_size_around_a_piece() {
        let identity = Identity::new().unwrap();
        let recipient = identity.recipient().unwrap();
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17] {
            let plain: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            for step in [CHUNK, 1_000] {
                let file = encrypted(&plain, &recipient, step);
                assert_eq!(decrypted(&file, &identity).unwrap(), plain, "{size} in steps of {step}");
                assert!(matches!(decrypted(&file, &Identity::new().unwrap()), Err(AgeError::OtherIdentity)));
            }
        }
    }

    #[test]
    fn whatever_is_changed_or_cut_is_noticed() {
        let identity = Identity::new().unwrap();
        let recipient = identity.recipient().unwrap();
        let plain = vec![7; CHUNK + 100];
        let good = encrypted(&plain, &recipient, CHUNK);
        let header = good.windows(4).position(|part| part == b"--- ").unwrap() + 4 + 43 + 1;
        let places = (0..header + 40).chain((header + 40..good.len()).step_by(997)).chain(good.len() - 200..good.len());
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(decrypted(&bad, &identity).is_err(), "byte {at}");
            assert!(decrypted(&good[..at], &identity).is_err(), "cut at {at}");
        }
        // Cut at the end of a piece, and put together from two pieces in another order.
        let first = header + 16 + CHUNK + TAG;
        assert!(matches!(decrypted(&good[..first], &identity), Err(AgeError::Damaged(_))));
        let swapped = [&good[..header + 16], &good[first..], &good[header + 16..first]].concat();
        assert!(decrypted(&swapped, &identity).is_err());
        let longer = [good.as_slice(), b"x"].concat();
        assert!(decrypted(&longer, &identity).is_err());
        // A header without end takes no memory.
        let endless = [VERSION.as_bytes(), b"\n-> X25519 ", &vec![b'a'; 1 << 20]].concat();
        assert!(matches!(decrypted(&endless, &identity), Err(AgeError::NotAge)));
    }
}
