//! Documents as they are held: by label and hash, each payload once, whatever order they came in.

use std::collections::BTreeMap;

use crate::{
    id::Hash,
    signed::{Document, Label},
};

/// Documents by label and by the hash of what is signed; under one hash those that differ in their signatures.
#[derive(Debug)]
pub(super) struct Kept<'a>(BTreeMap<(u16, Hash), Vec<&'a Document>>);

impl<'a> Kept<'a> {
    pub(super) fn new(documents: impl IntoIterator<Item = &'a Document>) -> Self {
        let mut kept: BTreeMap<_, Vec<&Document>> = BTreeMap::new();
        for document in documents {
            kept.entry((document.label().number(), document.hash())).or_default().push(document);
        }
        Self(kept)
    }

    /// All of one label, in the order of their hashes.
    pub(super) fn of_label(&self, label: Label) -> impl Iterator<Item = (&Hash, &[&'a Document])> {
        let label = label.number();
        self.0.range((label, Hash([0; 32]))..=(label, Hash([0xff; 32]))).map(|((_, hash), all)| (hash, all.as_slice()))
    }
}
