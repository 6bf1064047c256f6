//! A person's connection to an own node, with any key, and what the node says on it.

use std::{net::SocketAddr, sync::Arc};

use rustls::SignatureScheme;
use serde_json::Value;

use crate::{
    client::{Came, Dial, Link, StreamEnd},
    peer::file,
    stage::Stage,
    tls::{Hello, Identity, spki},
    wire::{
        frames::head_stream,
        keys::{Key, ROLE_OPERATOR},
        messages::HELLO,
        replies::Reply,
    },
};

/// Where a member's node listens for its people.
pub(crate) fn address(stage: &Stage, member: &str) -> SocketAddr {
    let settings = std::fs::read_to_string(file(stage, &format!("{member}/node/node.toml"))).unwrap();
    let line = settings.lines().find(|line| line.starts_with("listen_people = ")).unwrap();
    line.split('"').nth(1).unwrap().parse().unwrap()
}

/// A member's operator.
pub(crate) fn operator(stage: &Stage, member: &str) -> Key {
    Key::of_ring(&file(stage, &format!("{member}/node/operator/person.ring")), ROLE_OPERATOR)
}

/// A connection with this key, to be made.
pub(crate) fn dial(key: &Key) -> Dial {
    let signer = key.clone();
    Dial::saying(Hello::with(Some(Identity {
        chain: vec![spki(key.public())],
        raw: true,
        scheme: SignatureScheme::ED25519,
        sign: Arc::new(move |message| signer.sign_raw(message).to_vec()),
    })))
}

/// Connects to a member's node as one of its people.
pub(crate) async fn connect(stage: &Stage, member: &str, key: &Key) -> Result<Link, String> {
    dial(key).connect(address(stage, member)).await.map_err(|end| format!("no connection: {end}"))
}

/// The JSON that came, and the exit code in it.
pub(crate) fn said(came: &Came) -> Result<(u64, Value), String> {
    if came.end != StreamEnd::Fin {
        return Err(format!("{} bytes, then {}", came.bytes.len(), came.end));
    }
    let body = Reply::read(&came.bytes)?.body.ok_or("a reply without a body")?;
    let json: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let exit = json["exit"].as_u64().ok_or_else(|| format!("no exit: {json}"))?;
    Ok((exit, json))
}

/// That the node greets whoever holds this connection.
pub(crate) async fn is_greeted(link: &Link) -> Result<(), String> {
    match said(&link.ask(&head_stream(HELLO, b"{}")).await)? {
        (0, _) => Ok(()),
        (_, json) => Err(format!("no greeting: {json}")),
    }
}
