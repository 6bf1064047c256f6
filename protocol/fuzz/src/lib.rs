//! What the fuzz targets stand on.
//!
//! [`guard`] makes memory a failure, [`input`] reads what the fuzzer invents, [`edits`] lets it change what is valid, and
//! [`federation`] is what is valid: documents, requests and replies of a small federation, signed with keys from fixed seeds.

pub mod edits;
pub mod federation;
pub mod guard;
pub mod input;

/// Declares a fuzz target: every input runs under the guard of [`guard`].
#[macro_export]
macro_rules! target {
    ($run:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::guard::watch(|| $run(data)));
    };
}
