//! What signing needs beside keys: words for what is signed, who must sign it, and what was compared by telephone.

pub(crate) mod book;
pub(crate) mod changes;
pub(crate) mod desk;
pub(crate) mod heard;
pub(crate) mod memory;
pub(crate) mod signers;
pub(crate) mod signing;
pub(crate) mod words;
