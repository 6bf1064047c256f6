//! Random sequences of policy changes and requests: nothing is answered that the policy in force denies, nor refused that it permits.
//!
//! What a policy permits is worked out here from the parts that its rows are made of; the product goes by way of rows, Cedar, memory
//! and selection.

use std::sync::Arc;

use accord_node::domain::{
    access::Access,
    answering::{Course, Provider},
    provide::Checked,
};
use accord_policy::Way;
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, RequestId},
    officers::Purpose,
    question::Question,
    refusal::Refusal,
    request::{LegalBasis, RequestBody},
    selection::Selection,
    signed::{Document, Preamble, Verified},
    time::{Period, TimeLevel, UnixMs},
    topic::{self, Topic},
};
use accord_tests::seeded::{Seeded, from_environment};

use super::{
    fixture::{EPOCH, FIXTURE, NAMES, TABLE, access_by, next_roster, topic as topic_of, trust_by},
    node::Node,
};

const DAY_MS: u64 = 86_400_000;
// The provider and the asker, by their places.
const PROVIDER: usize = 2;
const ASKER: usize = 1;
const DRUG_LEVELS: [&str; 4] = ["all", "group", "substance", "form"];

// A row, in parts.
pub(super) struct Row {
    names: bool,
    time: Option<TimeLevel>,
    drug: Option<u8>,
    // Months.
    newest: Option<u32>,
    oldest: Option<u16>,
    purpose: Purpose,
    until_day: u64,
    needs_topic: bool,
    way: Way,
}

impl Row {
    pub(super) fn random(random: &mut Seeded) -> Self {
        let purposes = [Purpose::StrategicAnalysis, Purpose::Test];
        Self {
            names: random.happens(70),
            time: random.happens(60).then(|| TimeLevel::ALL[random.below(3)]),
            drug: random.happens(60).then(|| u8::try_from(random.below(4)).unwrap()),
            newest: random.happens(40).then(|| u32::try_from(random.below(72)).unwrap()),
            oldest: random.happens(30).then(|| 2021 + u16::try_from(random.below(2)).unwrap()),
            purpose: purposes[random.below(2)],
            until_day: random.between(1, 60),
            needs_topic: random.happens(30),
            way: if random.happens(85) { Way::AtOnce } else { Way::AfterApproval },
        }
    }

    /// With this way of answering.
    pub(super) fn answered(self, way: Way) -> Self {
        Self { way, ..self }
    }

    pub(super) fn text(&self) -> String {
        let partner = if self.names { NAMES[ASKER] } else { NAMES[0] };
        let mut text = format!("[[grant]]\npartner = [\"{partner}\"]\ntable = [\"{TABLE}\"]\n");
        let mut finest = Vec::new();
        finest.extend(self.time.map(|level| format!("time = \"{level}\"")));
        finest.extend(self.drug.map(|level| format!("drug = \"{}\"", DRUG_LEVELS[usize::from(level)])));
        text += &format!("finest = {{ {} }}\n", finest.join(", "));
        text += &self.newest.map_or(String::new(), |age| format!("newest = \"{age} months\"\n"));
        text += &self.oldest.map_or(String::new(), |year| format!("oldest = \"{year}\"\n"));
        text += if self.needs_topic { "topic = \"required\"\n" } else { "" };
        text += &format!("answer = \"{}\"\n", self.way);
        text + &format!("purpose = [\"{}\"]\nuntil = \"{}\"\n", self.purpose, day(self.until_day).date())
    }

    /// How it has this answered; nothing if it does not permit it.
    pub(super) fn permits(&self, asked: &Asked, now: UnixMs) -> Option<Way> {
        let month = |(year, month): (u16, u8)| u32::from(year) * 12 + u32::from(month) - 1;
        let today = month((now.date().year(), now.date().month()));
        let (first, last) = (month(asked.first.months().0), month(asked.last.months().1));
        let permits = self.names
            && self.time.is_none_or(|finest| asked.first.level() <= finest)
            && self.drug.is_none_or(|finest| asked.drug <= finest)
            && self.newest.is_none_or(|age| today >= last + 1 + age)
            && self.oldest.is_none_or(|year| first >= u32::from(year) * 12)
            && self.purpose == asked.purpose
            && (!self.needs_topic || asked.topic.is_some())
            && now < day(self.until_day);
        permits.then_some(self.way)
    }
}

// Midnight of a day after the beginning.
fn day(number: u64) -> UnixMs {
    UnixMs((EPOCH.0 / DAY_MS + number) * DAY_MS)
}

pub(super) struct Asked {
    pub(super) body: RequestBody,
    first: Period,
    last: Period,
    drug: u8,
    pub(super) purpose: Purpose,
    pub(super) topic: Option<Document>,
}

impl Asked {
    /// The topic that it stands under, believed.
    pub(super) fn under(&self) -> Option<Verified<Topic>> {
        self.topic.as_ref().map(|topic| topic::verify(topic, &FIXTURE.trust).unwrap())
    }
}

fn periods_of(from: &str, to: &str, level: TimeLevel) -> String {
    let (first, last) = match level {
        TimeLevel::Year => ("", ""),
        TimeLevel::Quarter => ("-Q1", "-Q4"),
        TimeLevel::Month => ("-01", "-12"),
    };
    format!("{from}{first}..{to}{last}")
}

pub(super) fn asked(random: &mut Seeded) -> Asked {
    let (asker, provider) = (&FIXTURE.agencies[ASKER], &FIXTURE.agencies[PROVIDER]);
    let table = FIXTURE.trust.catalogue().table(TABLE).unwrap();
    let time = TimeLevel::ALL[random.below(3)];
    // All drugs together exist by year alone.
    let drug = if time == TimeLevel::Year { random.below(4) } else { 1 + random.below(3) };
    let by = [("time".to_owned(), time.to_string()), ("drug".to_owned(), DRUG_LEVELS[drug].to_owned())];
    let levels = Question::levels(table, &by).unwrap();
    let (from, to) = [("2021", "2021"), ("2021", "2022"), ("2022", "2022")][random.below(3)];
    let question = Question {
        measures: Question::measures(table, &levels, &[]).unwrap(),
        periods: Question::periods(&periods_of(from, to, time), time).unwrap(),
        levels,
        only: std::collections::BTreeMap::new(),
    };
    let query = question.queries(table, provider.id.country()).unwrap().remove(0);
    let selection = Selection::new(&query, table, provider.id.country()).unwrap();
    let periods: Vec<Period> = selection.codes[0].iter().filter_map(|number| Period::from_number(*number)).collect();
    let end = |best: fn(Vec<&Period>) -> Period| best(periods.iter().collect());
    let purpose = [Purpose::StrategicAnalysis, Purpose::Test][random.below(2)];
    let topic = random.happens(50).then(|| topic_of(ASKER, PROVIDER, random.bytes()));
    let body = RequestBody {
        preamble: Preamble,
        request_id: RequestId(random.bytes()),
        requester: asker.id.clone(),
        officer_card_hash: Hash::of(&asker.card),
        audience: provider.id.clone(),
        issued_at: EPOCH,
        deliver_by: EPOCH.plus(600_000),
        wanted_until: UnixMs(0),
        epoch: 1,
        roster_version: 1,
        view_hash: Hash::ZERO,
        edition: 0,
        purpose,
        legal_basis: LegalBasis::Agreement,
        topic_hash: topic.as_ref().map_or(Hash::ZERO, Document::hash),
        case_ref_commit: Hash::ZERO,
        reply_class: selection.reply_class,
        query,
    };
    Asked {
        body,
        first: end(|all| *all.into_iter().min_by_key(|period| period.months().0).unwrap()),
        last: end(|all| *all.into_iter().max_by_key(|period| period.months().1).unwrap()),
        drug: u8::try_from(drug).unwrap(),
        purpose,
        topic,
    }
}

#[test]
fn a_policy_is_read_anew_when_what_it_rests_on_is_another_and_not_before() {
    let rows = Row::random(&mut Seeded::new(1)).text();
    let access = Arc::new(Access::of(&trust_by(PROVIDER, &rows, &[])));
    let goes_on = |rows: &str, roster: Option<Document>| {
        let after = access.under(&trust_by(PROVIDER, rows, roster.as_slice()));
        (after.rows(), Arc::ptr_eq(&access, &after))
    };
    let later = next_roster(|roster| roster.expires_at = roster.expires_at.plus(DAY_MS));
    let fewer = next_roster(|roster| {
        roster.members = Bounded::new(roster.members.as_slice()[..3].to_vec()).unwrap();
    });
    assert_eq!(goes_on(&rows, None), (1, true));
    assert_eq!(goes_on(&rows, Some(later)), (1, true));
    assert_eq!(goes_on(&rows, Some(fewer)), (1, false));
    assert_eq!(goes_on("", None), (0, false));
}

#[test]
fn no_sequence_of_policies_yields_an_answer_that_the_policy_in_force_denies() {
    let sequences = from_environment("ACCORD_POLICIES", 300);
    let first = from_environment("ACCORD_SEED", 1);
    let (mut answered, mut refused, mut again, mut denied_later) = (0, 0, 0, 0);
    for seed in first..first + sequences {
        let mut random = Seeded::new(seed);
        let node = Node::new(PROVIDER, 0);
        let mut policies: Vec<(Vec<Row>, Access)> = Vec::new();
        for _ in 0..4 {
            let rows: Vec<Row> = (0..random.below(4)).map(|_| Row::random(&mut random)).collect();
            let text: String = rows.iter().map(Row::text).collect();
            let access = access_by(PROVIDER, &text);
            assert_eq!(access.fault(), None, "seed {seed}: {text}");
            policies.push((rows, access));
        }
        let mut known: Vec<(Asked, bool)> = Vec::new();
        let (mut in_force, mut at) = (0, 0);
        for step in 0..40 {
            if random.happens(30) {
                in_force = random.below(policies.len());
            }
            at += u64::from(random.happens(40)) * random.between(1, 4 * DAY_MS);
            let repeated = known.len().checked_sub(1).filter(|_| random.happens(50)).map(|last| random.below(last + 1));
            let place = repeated.unwrap_or_else(|| {
                known.push((asked(&mut random), false));
                known.len() - 1
            });
            let (rows, access) = &policies[in_force];
            let (request, was_refused) = &mut known[place];
            let now = UnixMs(EPOCH.0 + at);
            let agency = node.agency();
            let provider = Provider {
                me: &agency.id,
                trust: &FIXTURE.trust,
                access,
                policy_commit: Hash::ZERO,
                marking: &FIXTURE.marking,
                key: &agency.sign,
                now,
            };
            let checked = Checked {
                body: request.body.clone(),
                body_hash: Hash::of(&encode(&request.body).unwrap()),
                card: decode(&FIXTURE.agencies[ASKER].card, Cap::Small).unwrap(),
                topic: request.under(),
            };
            let permitted = rows.iter().any(|row| row.permits(request, now) == Some(Way::AtOnce));
            let (answer, course) = provider.answer(&node, &checked, &[]);
            let said = decode::<accord_protocol::answer::AnswerHead>(&answer.head, Cap::Head).unwrap().refusal();
            let about = || format!("seed {seed} step {step}: {course:?}, permitted {permitted}");
            match said {
                None => {
                    assert!(permitted && !answer.slice.is_empty(), "{}", about());
                    answered += 1;
                    again += u32::from(course == Course::Again);
                }
                Some(Refusal::Unavailable) => {
                    assert!(!permitted || *was_refused, "{}", about());
                    assert!(answer.slice.is_empty());
                    refused += 1;
                    denied_later += u32::from(repeated.is_some() && !*was_refused);
                    // A refusal that was decided is remembered; one of what was answered before is not.
                    *was_refused |= repeated.is_none();
                }
                Some(other) => panic!("{}: {other}", about()),
            }
        }
    }
    println!(
        "{sequences} sequences: {answered} answered, {again} of them again; {refused} refused, {denied_later} of them later"
    );
    assert!(answered > 0 && again > 0 && refused > 0 && denied_later > 0);
}
