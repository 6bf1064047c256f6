//! Groups of members that every policy may name: by country, so that whoever joins the federation belongs to one from then on.

use accord_protocol::id::NodeId;

/// Member States of the European Union, ISO 3166 alpha-2, with EL beside GR as EU texts write it.
const EU: [&str; 28] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU",
    "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Agencies of the Union itself, such as EU-EUDA.
const EU_BODIES: &str = "EU";

/// The groups that exist without being named.
pub(crate) const STANDING: [&str; 3] = ["eu-members", "eu-bodies", "partner-countries"];

/// The standing group that a member is in.
pub(crate) fn of(member: &NodeId) -> &'static str {
    match member.country() {
        EU_BODIES => "eu-bodies",
        country if EU.contains(&country) => "eu-members",
        _ => "partner-countries",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_in_one_standing_group() {
        for (member, group) in [
            ("ES-AGENCY", "eu-members"),
            ("EL-X", "eu-members"),
            ("EU-EUDA", "eu-bodies"),
            ("CO-DNE", "partner-countries"),
        ] {
            assert_eq!(of(&member.parse().unwrap()), group, "{member}");
            assert!(STANDING.contains(&group));
        }
    }
}
