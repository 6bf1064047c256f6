//! The canonical layout of a file of each kind: the names of its columns, in the order of the documents. What a column may hold is
//! the node's affair; no record can be expressed here.

use crate::catalogue::Kind;

/// One column of the canonical layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether a record needs it.
    pub required: bool,
}

const fn needed(name: &'static str) -> Field {
    Field { name, required: true }
}

const fn may(name: &'static str) -> Field {
    Field { name, required: false }
}

const SEIZURE: [Field; 26] = [
    needed("record_id"),
    needed("case_id"),
    needed("date"),
    may("nuts"),
    may("unlocode"),
    may("agency"),
    needed("source"),
    may("status"),
    needed("line"),
    needed("drug"),
    may("form"),
    may("amount"),
    may("unit"),
    needed("quantity_kind"),
    may("transport"),
    may("place_type"),
    may("concealment"),
    may("direction"),
    may("departure"),
    may("destination"),
    may("transit"),
    may("market_level"),
    may("level_rule"),
    may("controlled_delivery"),
    may("joint_operation"),
    may("joint_with"),
];

const PURITY: [Field; 22] = [
    needed("record_id"),
    needed("case_id"),
    needed("date"),
    may("nuts"),
    may("unlocode"),
    may("agency"),
    needed("source"),
    may("status"),
    may("seizure_id"),
    needed("drug"),
    needed("form"),
    needed("purity_percent"),
    needed("below_detection"),
    needed("expressed_as"),
    may("method"),
    needed("sampling"),
    may("threshold_mg"),
    needed("origin"),
    may("market_level"),
    may("level_rule"),
    may("sample_mg"),
    may("adulterants"),
];

const PRICE: [Field; 20] = [
    needed("record_id"),
    needed("case_id"),
    needed("date"),
    may("nuts"),
    may("unlocode"),
    may("agency"),
    needed("source"),
    may("status"),
    needed("drug"),
    may("form"),
    needed("amount"),
    needed("currency"),
    needed("quantity"),
    needed("unit"),
    needed("market_level"),
    may("level_rule"),
    needed("weight_basis"),
    needed("price_source"),
    may("purity_percent"),
    may("expressed_as"),
];

const SITE: [Field; 20] = [
    needed("record_id"),
    needed("case_id"),
    needed("date"),
    may("nuts"),
    may("unlocode"),
    may("agency"),
    needed("source"),
    may("status"),
    needed("site_role"),
    may("site_status"),
    may("carrier"),
    may("capacity_g_per_batch"),
    may("found_drug"),
    may("found_form"),
    may("found_amount"),
    may("found_unit"),
    may("chemicals_ml"),
    may("linked_seizures"),
    may("injured"),
    may("dead"),
];

/// The kinds that can be imported. Chemical profiles keep their place in the catalogue; there is no layout for them yet.
pub const KINDS: [Kind; 4] = [Kind::Seizure, Kind::Purity, Kind::Price, Kind::Site];

/// The columns of a kind; none for one that cannot be imported.
pub const fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Seizure => &SEIZURE,
        Kind::Purity => &PURITY,
        Kind::Price => &PRICE,
        Kind::Site => &SITE,
        Kind::Profile => &[],
    }
}

/// Whether a kind has a column of that name.
pub fn knows(kind: Kind, name: &str) -> bool {
    fields(kind).iter().any(|field| field.name == name)
}

/// Whether a record of a kind needs the column.
pub fn needs(kind: Kind, name: &str) -> bool {
    fields(kind).iter().any(|field| field.name == name && field.required)
}
