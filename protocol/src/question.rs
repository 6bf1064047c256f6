//! From what an officer asks to the queries that partners get, and from their verified replies to the pool.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::{Axis, Catalogue, Table},
    cell::CELL_LEN,
    codec::Bounded,
    exchange::Exchange,
    id::{Hash, NodeId, QuestionId},
    pool::{Given, Part, Why},
    request::{CODES_MAX, DimQuery, Query},
    selection::{Selection, split_periods},
    signed::{Document, Label},
    time::{Period, TimeLevel},
    trust::Trust,
};

/// What an officer asks, in the table's own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Index of the level of each dimension.
    pub levels: Vec<u8>,
    /// The periods, all of the time level asked for.
    pub periods: Vec<Period>,
    /// Codes by name for dimensions other than time; absent = all of the level.
    pub only: BTreeMap<usize, Vec<String>>,
    /// Indexes of the measures.
    pub measures: Vec<usize>,
}

/// What cannot be asked, in words for the officer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotAsk {
    /// A dimension that the table does not have.
    #[error("table {table} has no dimension `{name}`; it has {known}")]
    Dimension {
        /// The table.
        table: String,
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A level that the dimension does not have.
    #[error("`{dimension}` has no level `{name}`; it has {known}")]
    Level {
        /// The dimension.
        dimension: String,
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A combination that does not exist.
    #[error("table {table} has no cells by {levels}; {hint}")]
    Levels {
        /// The table.
        table: String,
        /// The combination.
        levels: String,
        /// What exists instead.
        hint: String,
    },
    /// A measure that does not exist, or not at these levels.
    #[error("measure `{name}` does not exist by {levels}; there are {known}")]
    Measure {
        /// The name given.
        name: String,
        /// The levels.
        levels: String,
        /// The measures that exist there.
        known: String,
    },
    /// A code that the level does not have.
    #[error("`{code}` is not a code of {dimension} at level {level}{near}")]
    Code {
        /// The dimension.
        dimension: String,
        /// The level.
        level: String,
        /// The code given.
        code: String,
        /// Codes like it.
        near: String,
    },
    /// A period off the grid.
    #[error("{0}")]
    Period(String),
    /// Too many codes named.
    #[error("at most {CODES_MAX} codes of one dimension can be named; leave --where out to get them all")]
    TooManyCodes,
    /// One period alone is larger than the largest reply.
    #[error("one period of this has more cells than one reply holds: ask coarser levels or fewer measures")]
    TooLarge,
}

impl Question {
    /// Level indexes of a table by name, the table's defaults where none is named.
    pub fn levels(table: &Table, by: &[(String, String)]) -> Result<Vec<u8>, CannotAsk> {
        let axes = table.axes("").unwrap_or_default();
        for (name, _) in by {
            if table.dimension(name).is_none() {
                let known =
                    table.dimensions.iter().map(|dimension| dimension.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(CannotAsk::Dimension { table: table.name.clone(), name: name.clone(), known });
            }
        }
        let mut levels = Vec::new();
        for (dimension, axis) in table.dimensions.iter().zip(&axes) {
            let name = by
                .iter()
                .rev()
                .find(|(name, _)| *name == dimension.name)
                .map_or(&dimension.default, |(_, level)| level);
            let level = axis.level(name).ok_or_else(|| CannotAsk::Level {
                dimension: dimension.name.clone(),
                name: name.clone(),
                known: axis.level_names().join(", "),
            })?;
            levels.push(level);
        }
        if table.measures_at(&levels).is_none() {
            let hint = format!("see `accord tables {}` for the combinations that exist", table.name);
            return Err(CannotAsk::Levels { table: table.name.clone(), levels: level_words(table, &levels), hint });
        }
        Ok(levels)
    }

    /// Measure indexes by name; all that exist at these levels where none is named.
    pub fn measures(table: &Table, levels: &[u8], names: &[String]) -> Result<Vec<usize>, CannotAsk> {
        let offered = table.measures_at(levels).unwrap_or(0);
        let exists: Vec<usize> = (0..table.measures.len()).filter(|bit| offered >> bit & 1 == 1).collect();
        if names.is_empty() {
            return Ok(exists);
        }
        let mut wanted = BTreeSet::new();
        for name in names {
            let index =
                table.measure(name).filter(|index| exists.contains(index)).ok_or_else(|| CannotAsk::Measure {
                    name: name.clone(),
                    levels: level_words(table, levels),
                    known: exists
                        .iter()
                        .filter_map(|index| table.measures.get(*index))
                        .map(|measure| measure.id.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                })?;
            wanted.insert(index);
        }
        Ok(wanted.into_iter().collect())
    }

    /// The periods of a range on the grid of a level; the unknown children are asked for with them.
    pub fn periods(range: &str, level: TimeLevel) -> Result<Vec<Period>, CannotAsk> {
        let off = || {
            let example = match level {
                TimeLevel::Year => "2012 or 2011..2016",
                TimeLevel::Quarter => "2012-Q1 or 2012-Q1..2014-Q4",
                TimeLevel::Month => "2012-01 or 2012-01..2012-12",
            };
            CannotAsk::Period(format!(
                "period `{}` is off the grid: by {level}, a period is {example} (other levels with --by time=LEVEL)",
                range.chars().take(40).flat_map(char::escape_default).collect::<String>()
            ))
        };
        let (from, to) = range.split_once("..").unwrap_or((range, range));
        let (from, to): (Period, Period) = (from.parse().map_err(|_| off())?, to.parse().map_err(|_| off())?);
        if from.level() != level || to.level() != level {
            return Err(off());
        }
        if from.months().0 > to.months().0 {
            return Err(CannotAsk::Period(format!("period {from}..{to} ends before it begins")));
        }
        let list: Vec<Period> = (from.year()..=to.year())
            .flat_map(|year| Period::of_year(year, level))
            .filter(|period| match period {
                // The unknown child belongs to the range if its parent lies in it whole.
                Period::QuarterUnknown(_) | Period::MonthUnknown(..) => {
                    period.months().0 >= from.months().0 && period.months().1 <= to.months().1
                }
                Period::Year(_) | Period::Quarter(..) | Period::Month(..) => {
                    period.months().0 >= from.months().0 && period.months().0 <= to.months().0
                }
            })
            .collect();
        if list.len() > 1200 {
            return Err(CannotAsk::Period("more than 1200 periods: ask a shorter range or a coarser level".into()));
        }
        Ok(list)
    }

    /// The question that one provider was asked by these queries; nothing if they are not parts of one.
    pub fn of_queries(queries: &[Query], table: &Table, country: &str) -> Option<Self> {
        let first = queries.first()?;
        let axes = table.axes(country).ok()?;
        let rest = |query: &Query| query.dims.iter().skip(1).cloned().collect::<Vec<_>>();
        let is_part = |query: &&Query| {
            (query.table_id, query.table_version, query.measures) == (table.id, table.version, first.measures)
                && rest(query) == rest(first)
        };
        if queries.iter().filter(is_part).count() != queries.len() {
            return None;
        }
        let times = queries.iter().filter_map(|query| query.dims.iter().next());
        let mut periods: Vec<Period> =
            times.flat_map(|dim| dim.codes.iter()).filter_map(|code| Period::from_number(*code)).collect();
        periods.sort_by_key(|period| period.number());
        periods.dedup();
        let mut only = BTreeMap::new();
        for (index, dim) in first.dims.iter().enumerate().skip(1).filter(|(_, dim)| !dim.codes.as_slice().is_empty()) {
            let names = dim.codes.iter().map(|code| axes.get(index)?.name(dim.level, *code));
            only.insert(index, names.collect::<Option<Vec<_>>>()?);
        }
        let measures = (0..table.measures.len()).filter(|bit| first.measures >> bit & 1 == 1).collect();
        Some(Self { levels: first.dims.iter().map(|dim| dim.level).collect(), periods, only, measures })
    }

    /// The queries for one provider, split along time so that each fits one request and one reply.
    pub fn queries(&self, table: &Table, country: &str) -> Result<Vec<Query>, CannotAsk> {
        let axes = table.axes(country).unwrap_or_default();
        let mut dims = Vec::new();
        let mut cells_per_period = 1usize;
        for (index, ((axis, dimension), level)) in
            axes.iter().zip(&table.dimensions).zip(&self.levels).enumerate().skip(1)
        {
            let numbers = match self.only.get(&index) {
                None => Vec::new(),
                Some(codes) => codes_to_numbers(axis, &dimension.name, *level, codes)?,
            };
            let count = if numbers.is_empty() { axis.numbers(*level, 0).len() } else { numbers.len() };
            cells_per_period = cells_per_period.saturating_mul(count);
            let codes = Bounded::sorted(numbers).ok_or(CannotAsk::TooManyCodes)?;
            dims.push(DimQuery { dim: u8::try_from(index).unwrap_or(u8::MAX), level: *level, codes });
        }
        let measures = self.measures.iter().fold(0u32, |mask, bit| mask | 1 << bit);
        let mut queries = Vec::new();
        for periods in split_periods(&self.periods, cells_per_period * table.width_of(&self.measures) * CELL_LEN) {
            let numbers = periods.iter().map(|period| period.number()).collect();
            let time = DimQuery {
                dim: 0,
                level: self.levels.first().copied().unwrap_or(0),
                codes: Bounded::sorted(numbers).ok_or(CannotAsk::TooManyCodes)?,
            };
            let dims: Vec<DimQuery> = std::iter::once(time).chain(dims.iter().cloned()).collect();
            let query = Query {
                table_id: table.id,
                table_version: table.version,
                measures,
                dims: Bounded::new(dims).unwrap_or_default(),
            };
            Selection::new(&query, table, country).map_err(|_| CannotAsk::TooLarge)?;
            queries.push(query);
        }
        Ok(queries)
    }
}

/// Levels as people write them: `time=year,drug=group`.
pub fn level_words(table: &Table, levels: &[u8]) -> String {
    let axes = table.axes("").unwrap_or_default();
    table
        .dimensions
        .iter()
        .zip(&axes)
        .zip(levels)
        .map(|((dimension, axis), level)| {
            let name = axis.level_names().get(usize::from(*level)).cloned().unwrap_or_default();
            format!("{}={name}", dimension.name)
        })
        .collect::<Vec<_>>()
        .join(",")
}

fn codes_to_numbers(axis: &Axis, dimension: &str, level: u8, codes: &[String]) -> Result<Vec<u32>, CannotAsk> {
    let mut numbers = BTreeSet::new();
    for code in codes {
        match axis.find(code) {
            Some((at, number)) if at == level => {
                numbers.insert(number);
            }
            Some(_) | None => {
                let names: Vec<String> =
                    axis.numbers(level, 0).into_iter().filter_map(|number| axis.name(level, number)).collect();
                let near = nearest(code, names.iter().map(String::as_str));
                return Err(CannotAsk::Code {
                    dimension: dimension.to_owned(),
                    level: axis.level_names().get(usize::from(level)).cloned().unwrap_or_default(),
                    code: code.chars().take(40).flat_map(char::escape_default).collect(),
                    near: if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) },
                });
            }
        }
    }
    Ok(numbers.into_iter().collect())
}

/// Up to three known words near to an unknown one: smallest edit distance, at most half of the word's length.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ranked: Vec<(usize, &str)> = known
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance * 2 <= word.chars().count().max(candidate.chars().count()))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let (Some(diagonal), Some(above), Some(left)) = (pair.first(), pair.get(1), next.last()) else { continue };
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// The identifier of a question: the first 16 bytes of SHA-256 over the hashes of its request bodies, sorted. It follows from what
/// was signed, so that nobody can hang other requests under it.
pub fn question_id<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> QuestionId {
    let mut hashes: Vec<Hash> = bodies.map(Hash::of).collect();
    hashes.sort();
    let Hash(digest) = Hash::of(&hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
    QuestionId(digest.first_chunk().copied().unwrap_or_default())
}

/// Finds a catalogue by its hash among documents and believes it by the root keys.
pub fn verified_catalogue(trust: &Trust, documents: &[Document], hash: &Hash) -> Option<Catalogue> {
    let root = trust.root();
    documents
        .iter()
        .filter(|document| document.label() == Label::Catalogue && document.hash() == *hash)
        .find_map(|document| {
            document.verify(trust.federation(), root.keys.as_slice(), usize::from(root.threshold), &[]).ok()
        })
        .and_then(|document| crate::trust::read_catalogue(&document).ok())
}

/// What one partner gives, from its verified exchanges on a table of our catalogue. `theirs` is the partner's catalogue where its
/// edition was made under another one; `None` there means that it is not known and nothing can be compared.
pub fn given(member: &NodeId, table: &Table, parts: Vec<Part>, theirs: Option<Option<&Catalogue>>) -> Given {
    let mut incomparable = BTreeMap::new();
    if let Some(theirs) = theirs {
        let other =
            theirs.and_then(|catalogue| catalogue.table(&table.name)).filter(|other| other.version == table.version);
        for index in 0..table.measures.len() {
            let reason = match other {
                None => Some("the partner's edition was made under another version of the table".to_owned()),
                Some(other) => table.incomparable(other, index),
            };
            if let Some(reason) = reason {
                incomparable.insert(index, reason);
            }
        }
    }
    Given { member: member.clone(), parts, incomparable }
}

/// One request of a question and what came of it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Who was asked.
    pub member: NodeId,
    /// What was asked.
    pub selection: Selection,
    /// The verified exchange, or why there is none.
    pub reply: Result<&'a Exchange, Why>,
}

/// Whether a member's answers are from more than one edition: then they are not one answer, and nothing of it is used.
pub fn is_mixed<'a>(exchanges: impl Iterator<Item = &'a Exchange>) -> bool {
    let editions: BTreeSet<(u64, Hash)> = exchanges
        .filter_map(|exchange| exchange.edition.as_ref())
        .map(|edition| (edition.number, edition.commit))
        .collect();
    editions.len() > 1
}

/// Puts the requests of one question together by member, in the order in which members first occur. The same rules for the tool
/// that asked and for whoever verifies the evidence.
pub fn gather(trust: &Trust, table: &Table, documents: &[Document], asked: Vec<Asked<'_>>) -> Vec<Given> {
    let mut order: Vec<NodeId> = Vec::new();
    let mut by_member: BTreeMap<NodeId, Vec<Asked<'_>>> = BTreeMap::new();
    for one in asked {
        if !by_member.contains_key(&one.member) {
            order.push(one.member.clone());
        }
        by_member.entry(one.member.clone()).or_default().push(one);
    }
    let mut all = Vec::new();
    for (member, asked) in order.into_iter().filter_map(|member| by_member.remove_entry(&member)) {
        let exchanges = || asked.iter().filter_map(|one| one.reply.ok());
        let mixed = is_mixed(exchanges());
        let other = exchanges()
            .filter_map(|exchange| exchange.edition.as_ref())
            .map(|edition| edition.catalogue_hash)
            .find(|hash| *hash != trust.catalogue().hash);
        let theirs = other.map(|hash| verified_catalogue(trust, documents, &hash));
        let parts = asked
            .into_iter()
            .map(|one| {
                let cells = match one.reply {
                    _ if mixed => Err(Why::NotVerified),
                    Ok(exchange) => exchange.cells.clone().ok_or(Why::Refused),
                    Err(why) => Err(why),
                };
                (one.selection, cells)
            })
            .collect();
        all.push(given(&member, table, parts, theirs.as_ref().map(Option::as_ref)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::SHIPPED;

    fn table() -> Table {
        Catalogue::parse(SHIPPED).unwrap().table("seizures-year-drug").unwrap().clone()
    }

    #[test]
    fn periods_stand_on_the_grid_of_their_level() {
        let show = |range: &str, level| {
            Question::periods(range, level)
                .map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(show("2011..2013", TimeLevel::Year).unwrap(), "2011 2012 2013");
        assert_eq!(show("2012-Q2..2012-Q3", TimeLevel::Quarter).unwrap(), "2012-Q2 2012-Q3");
        assert_eq!(show("2012-Q1..2012-Q4", TimeLevel::Quarter).unwrap(), "2012-Q1 2012-Q2 2012-Q3 2012-Q4 2012_U");
        assert_eq!(show("2012-01..2012-03", TimeLevel::Month).unwrap(), "2012-01 2012-02 2012-03 2012-Q1_U");
        assert_eq!(show("2012-02", TimeLevel::Month).unwrap(), "2012-02");
        for (range, level) in [
            ("2012-01", TimeLevel::Year),
            ("2012", TimeLevel::Month),
            ("x", TimeLevel::Year),
            ("2012-01-31", TimeLevel::Month),
        ] {
            assert!(show(range, level).unwrap_err().to_string().contains("off the grid"), "{range}");
        }
    }

    #[test]
    fn long_questions_are_split_along_time() {
        let table = table();
        let levels =
            Question::levels(&table, &[("time".into(), "month".into()), ("drug".into(), "substance".into())]).unwrap();
        let question = Question {
            measures: Question::measures(&table, &levels, &[]).unwrap(),
            periods: Question::periods("2011-01..2016-12", TimeLevel::Month).unwrap(),
            levels,
            only: BTreeMap::new(),
        };
        let queries = question.queries(&table, "IT").unwrap();
        assert_eq!(queries.len(), 2);
        let asked: usize = queries.iter().map(|query| query.dims.as_slice()[0].codes.as_slice().len()).sum();
        assert_eq!(asked, 6 * 16);
    }

    #[test]
    fn what_does_not_exist_is_named_with_what_does() {
        let table = table();
        let by = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            Question::levels(&table, &pairs).map_err(|error| error.to_string())
        };
        assert!(by(&[("place", "place")]).unwrap_err().contains("it has time, drug"));
        assert!(by(&[("drug", "powder")]).unwrap_err().contains("all, group, substance, form"));
        assert!(by(&[("time", "month"), ("drug", "all")]).unwrap_err().contains("no cells by time=month,drug=all"));
        let levels = by(&[("time", "month")]).unwrap();
        assert!(
            Question::measures(&table, &levels, &["quantity_mg".into()])
                .unwrap_err()
                .to_string()
                .contains("there are seizures")
        );
        let question = Question {
            levels: by(&[]).unwrap(),
            periods: vec![Period::Year(2012)],
            only: [(1, vec!["COK".to_owned()])].into(),
            measures: vec![0],
        };
        let message = question.queries(&table, "IT").unwrap_err().to_string();
        assert!(message.contains("`COK` is not a code of drug at level group (near: COC"), "{message}");
    }
}
