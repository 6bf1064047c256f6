//! A backup's manifest: what a node says, signed, of the copy that was made of it.

use bincode::{Decode, Encode};

use crate::{
    codec::Cap,
    id::{Hash, NodeId},
    signed::{FederationId, Label, Preamble, Signable},
    time::UnixMs,
};

/// The signed end of a backup. It is about everything before it, byte for byte, so that whatever was cut off, put in or exchanged is
/// noticed by whoever knows the federation's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupManifest {
    /// Protocol and kind.
    pub preamble: Preamble<23>,
    /// The federation.
    pub federation: FederationId,
    /// Whose node it is.
    pub node_id: NodeId,
    /// When the copy was begun, by the node's clock.
    pub made_at: UnixMs,
    /// Layout of the store.
    pub schema: u32,
    /// The store's last commit that is in it.
    pub sequence: u64,
    /// Entries of the audit log.
    pub log_size: u64,
    /// Root of the tree over them.
    pub log_root: Hash,
    /// Epoch of the roster in force.
    pub epoch: u32,
    /// Its version.
    pub roster_version: u64,
    /// SHA-256 of its payload.
    pub roster_hash: Hash,
    /// Version of the member's keys document in force.
    pub keys_version: u64,
    /// SHA-256 of its payload.
    pub keys_hash: Hash,
    /// Files of the node's folder that are in it.
    pub files: u32,
    /// Keys of the store that are in it, the meta record not counted.
    pub keys: u64,
    /// Bytes before the manifest.
    pub bytes: u64,
    /// SHA-256 of them.
    pub content: Hash,
}

impl Signable for BackupManifest {
    const LABEL: Label = Label::Backup;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.files == 0 || self.bytes == 0 {
            return Err("a backup without anything in it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::{Document, NotVerified, tests::test_key};

    fn manifest() -> BackupManifest {
        BackupManifest {
            preamble: Preamble,
            federation: Hash([1; 32]),
            node_id: "ES-AGENCY".parse().unwrap(),
            made_at: UnixMs(1_795_500_000_000),
            schema: 6,
            sequence: 41,
            log_size: 64,
            log_root: Hash([2; 32]),
            epoch: 1,
            roster_version: 3,
            roster_hash: Hash([3; 32]),
            keys_version: 2,
            keys_hash: Hash([4; 32]),
            files: 9,
            keys: 371,
            bytes: 123_456,
            content: Hash([5; 32]),
        }
    }

    #[test]
    fn a_manifest_is_believed_from_the_member_s_key_in_the_name_of_the_federation_and_from_nobody_else() {
        let (fed, key, stranger) = (Hash([1; 32]), test_key(7), test_key(8));
        let mut document = Document::new(&manifest()).unwrap();
        assert!(document.add_signature(&key, &fed));
        let verified = document.verify::<BackupManifest>(&fed, &[key.public()], 1, &[]).unwrap();
        assert_eq!(*verified.get(), manifest());
        for (fed, key) in [(fed, stranger.public()), (Hash([9; 32]), key.public())] {
            let refused = document.verify::<BackupManifest>(&fed, &[key], 1, &[]);
            assert_eq!(refused, Err(NotVerified::Threshold { have: 0, need: 1 }));
        }
    }

    #[test]
    fn a_manifest_of_nothing_is_no_manifest() {
        assert!(Document::new(&BackupManifest { files: 0, ..manifest() }).is_err());
        assert!(Document::new(&BackupManifest { bytes: 0, ..manifest() }).is_err());
    }
}
