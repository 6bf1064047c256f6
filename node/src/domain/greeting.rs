//! Greetings between nodes: what one says, whether one is believed, and which document a peer that fetches means (`wire.md` D9, D19).

use accord_protocol::{
    PROTOCOL,
    codec::{Bounded, Cap, decode, encode},
    greeting::{Hello, marks},
    id::NodeId,
    key::SigningKey,
    message::{Fetch, SignedBytes},
    root::Root,
    signed::{Document, Label, Preamble, Verified, verify_message},
    time::UnixMs,
    trust::{Remark, Trust, WhyWaiting, travels},
};

/// What a node says that holds these documents: head payload of a greeting, or of the reply to one.
pub fn say(trust: &Trust, me: &NodeId, held: &[Document], key: &SigningKey, now: UnixMs) -> Vec<u8> {
    let roster = trust.roster();
    let hello = Hello {
        preamble: Preamble,
        federation: *trust.federation(),
        node_id: me.clone(),
        epoch: roster.epoch,
        roster_version: roster.roster_version,
        roster_hash: roster.hash(),
        held: Bounded::new(marks(held)).unwrap_or_default(),
        min_protocol: PROTOCOL,
        max_protocol: PROTOCOL,
        now,
    };
    let payload = encode(&hello).unwrap_or_default();
    let signature = key.sign(Label::Hello, trust.federation(), &payload);
    encode(&SignedBytes { payload: Bounded::new(payload).unwrap_or_default(), signature }).unwrap_or_default()
}

/// Believes a member's greeting: signed by a key of its own, in its own name. Why not, in words.
pub fn believe(trust: &Trust, from: &NodeId, payload: &[u8], now: UnixMs) -> Result<Verified<Hello>, String> {
    let signed: SignedBytes = decode(payload, Cap::Head).map_err(|error| error.to_string())?;
    let keys = trust.greeting_keys(from, now);
    let hello = verify_message::<Hello>(trust.federation(), &keys, signed.payload.as_slice(), &signed.signature)
        .map_err(|error| error.to_string())?;
    if hello.node_id != *from || hello.federation != *trust.federation() {
        return Err("it is in another name".into());
    }
    Ok(hello)
}

/// Documents that nobody need hand on again. Keys that wait because no signing key of those before has signed them may have been handed
/// on without that signature: whoever holds them with it is asked.
pub fn complete(trust: &Trust, held: &[Document]) -> Vec<Document> {
    let waits = |document: &Document| {
        trust.remarks().iter().any(|remark| match remark {
            Remark::Waiting { hash, why: WhyWaiting::NoContinuity, .. } => *hash == document.hash(),
            _ => false,
        })
    };
    held.iter().filter(|document| !waits(document)).cloned().collect()
}

/// The document that is fetched, if it travels: by its hash, a root document by its version.
pub fn meant<'a>(held: &'a [Document], fetch: &Fetch) -> Option<&'a Document> {
    let is_root = |document: &Document| {
        fetch.label == Label::Root && document.unverified::<Root>().is_ok_and(|root| root.root_version == fetch.number)
    };
    let is_meant = |document: &&Document| {
        document.label() == fetch.label && travels(document) && (document.hash() == fetch.hash || is_root(document))
    };
    held.iter().find(is_meant)
}
