//! Place words to regions: NUTS code, exact name in the country, the mapping's aliases, else not known.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{code, text::fold_word};

use crate::domain::import::mapping::Mapping;

accord_protocol::codes! {
    /// Which rule placed a row.
    pub enum PlaceRule: u8 {
        /// A NUTS code.
        Code = 1 "code",
        /// The exact name of a region.
        Name = 2 "name",
        /// An alias of the mapping.
        Alias = 3 "alias",
        /// None: the region is not known.
        RegionUnknown = 4 "region_unknown",
    }
}

/// The regions of one country by code, name and alias: NUTS, or ISO 3166-2 where a country has no NUTS.
#[derive(Debug, Clone)]
pub struct Places {
    country: String,
    is_nuts: bool,
    codes: BTreeSet<String>,
    names: BTreeMap<String, String>,
    aliases: BTreeMap<String, String>,
}

impl Places {
    /// The places of a country (ISO 3166 alpha-2) as a mapping sees them.
    pub fn new(country: &str, mapping: &Mapping) -> Self {
        let regions: Vec<_> = code::nuts().iter().filter(|region| region.country == country).collect();
        let aliases = mapping.aliases.get(country).cloned().unwrap_or_default();
        if regions.is_empty() {
            return Self::subdivisions(country, aliases);
        }
        let mut names = BTreeMap::new();
        // Coarse levels first, so that a finer region of the same name replaces a coarser one; a name that two regions of one
        // level share places nobody on that level.
        for length in 3..=5 {
            let mut level: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
            for region in regions.iter().filter(|region| region.code.len() == length) {
                for name in [&region.name, &region.name_latin] {
                    level.entry(fold_word(name)).or_default().insert(&region.code);
                }
            }
            for (name, found) in level {
                if let (1, Some(code)) = (found.len(), found.first()) {
                    names.insert(name, (*code).to_owned());
                }
            }
        }
        Self {
            country: country.to_owned(),
            is_nuts: true,
            codes: regions.iter().filter(|region| region.code.len() >= 3).map(|region| region.code.clone()).collect(),
            names,
            aliases,
        }
    }

    // `US-WA` by its code, by its part after the country, and by its name.
    fn subdivisions(country: &str, aliases: BTreeMap<String, String>) -> Self {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let mut codes = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for part in code::subdivisions().iter().filter(|part| part.country() == country) {
            codes.insert(part.code.clone());
            let short = part.code.split_once('-').map_or("", |(_, short)| short);
            for name in [fold_word(&part.name), fold_word(short)] {
                if names.insert(name.clone(), part.code.clone()).is_some_and(|before| before != part.code) {
                    shared.insert(name);
                }
            }
        }
        names.retain(|name, _| !shared.contains(name));
        Self { country: country.to_owned(), is_nuts: false, codes, names, aliases }
    }

    /// Whether a text is a code of the country, at any level.
    pub fn knows(&self, code: &str) -> bool {
        code == self.country || if self.is_nuts { is_nuts_of(code, &self.country) } else { self.codes.contains(code) }
    }

    /// What the codes are called.
    pub const fn code_name(&self) -> &'static str {
        if self.is_nuts { "NUTS 2021 code" } else { "code of ISO 3166-2" }
    }

    /// Places the words of a row: every rule on the first word, then on the next.
    pub fn resolve<'a>(&self, words: impl Iterator<Item = &'a str>) -> (Option<String>, PlaceRule) {
        for word in words {
            if self.codes.contains(word.trim()) {
                return (Some(word.trim().to_owned()), PlaceRule::Code);
            }
            let folded = fold_word(word);
            if folded.is_empty() {
                continue;
            }
            if let Some(code) = self.names.get(&folded) {
                return (Some(code.clone()), PlaceRule::Name);
            }
            if let Some(code) = self.aliases.get(&folded) {
                return (Some(code.clone()), PlaceRule::Alias);
            }
        }
        (None, PlaceRule::RegionUnknown)
    }
}

/// Whether a text is a NUTS 2021 code of a country, at any level.
pub fn is_nuts_of(code: &str, country: &str) -> bool {
    code::nuts()
        .binary_search_by(|region| region.code.as_str().cmp(code))
        .ok()
        .and_then(|index| code::nuts().get(index))
        .is_some_and(|region| region.country == country)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_code_then_name_then_alias() {
        let mapping = Mapping::shipped("unodc-ids").unwrap();
        let spain = Places::new("ES", &mapping);
        let show = |words: &[&str]| {
            let (code, rule) = spain.resolve(words.iter().copied());
            format!("{} {rule}", code.unwrap_or_default())
        };
        assert_eq!(show(&["ES30"]), "ES30 code");
        assert_eq!(show(&["madrid"]), "ES300 name");
        assert_eq!(show(&["MÁLAGA."]), "ES617 name");
        assert_eq!(show(&["", "Madrid"]), "ES300 name");
        assert_eq!(show(&["Prat de Llobregat (El)"]), "ES511 alias");
        assert_eq!(show(&["1234-XYZ", ""]), " region_unknown");
        assert_eq!(show(&["IT"]), " region_unknown");
        let italy = Places::new("IT", &mapping);
        assert_eq!(italy.resolve(["PT"].into_iter()).1, PlaceRule::Alias, "a province sign is no country code");
        let states = Places::new("US", &mapping);
        assert_eq!(states.resolve(["WA"].into_iter()), (Some("US-WA".to_owned()), PlaceRule::Name));
        assert_eq!(states.resolve(["US-NY"].into_iter()).1, PlaceRule::Code);
        assert_eq!(states.resolve(["nowhere", "texas"].into_iter()).0.as_deref(), Some("US-TX"));
        assert!(states.knows("US-TX") && !states.knows("US-XX") && !states.knows("ES30"));
        assert!(is_nuts_of("ES30", "ES") && !is_nuts_of("ES30", "IT") && !is_nuts_of("ES99", "ES"));
    }
}
