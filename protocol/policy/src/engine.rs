//! Cedar behind one door: a policy is parsed and validated as a whole, and decides; what cannot be evaluated is denied.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    str::FromStr,
};

use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::NodeId,
    officers::Purpose,
    policy::POLICY_TEXT_MAX,
    time::{Months, UnixMs},
};
use cedar_policy::{
    Authorizer, Context, Decision as Said, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet,
    Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;

use crate::{
    SCHEMA, bounds,
    compile::{Compiled, compile, level_word},
    groups,
    rows::{Part, Refused, Rows, Way},
};

/// Months that a context may name: year times 12 plus month minus 1, of the years 1900 to 9999.
const MONTHS: std::ops::RangeInclusive<u32> = 22_800..=119_999;
/// Milliseconds since 1970 that a context may name: below 2^53.
const NOW_MAX: u64 = 1 << 53;

/// What a policy can be about.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The members on the roster.
    pub members: &'a BTreeSet<NodeId>,
    /// The tables.
    pub catalogue: &'a Catalogue,
    /// Whether a row that names an unknown member or table refuses the whole. Not for a policy that is signed and was taken: when a
    /// table or member goes, the rest of it stays in force.
    pub strict: bool,
}

/// A policy as people write it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    /// The rows.
    pub rows: &'a str,
    /// Hand-written Cedar beside them.
    pub cedar: &'a str,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The asking member.
    pub member: &'a NodeId,
    /// The table.
    pub table: &'a Table,
    /// Level of each of its dimensions.
    pub levels: &'a [u8],
    /// Why.
    pub purpose: Purpose,
    /// Whether it stands under a topic of the asking member.
    pub topic: bool,
    /// From the first month of the first period to the last month of the last.
    pub months: Months,
    /// Node time.
    pub now: UnixMs,
}

/// What a policy says. Deny is what remains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be answered, in this way, because of these policies.
    Permit(Way, Vec<String>),
    /// It may not.
    Deny(DenyReason),
}

/// Why something is denied: for the log and the provider's people, never for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyReason {
    /// Nothing permits it.
    NotPermitted,
    /// These policies forbid it.
    Forbidden(Vec<String>),
    /// A policy could not be evaluated: an alarm.
    Fault(String),
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => f.write_str("nothing in the policy permits it"),
            Self::Forbidden(by) => write!(f, "forbidden by {}", by.join(", ")),
            Self::Fault(what) => write!(f, "the policy cannot be evaluated: {what}"),
        }
    }
}

/// A policy that is valid for a roster and a catalogue.
pub struct Policy {
    // By member and table the policies that can be about them; all others are false there whatever the request is.
    sets: HashMap<NodeId, HashMap<String, PolicySet>>,
    entities: Entities,
    schema: Schema,
    rows: Rows,
    minds_topics: bool,
    unknown: BTreeSet<String>,
    members: HashMap<NodeId, EntityUid>,
    tables: HashMap<String, EntityUid>,
    actions: BTreeMap<&'static str, EntityUid>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rows", &self.rows.grants.len()).finish_non_exhaustive()
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first rule that is broken, with its place. A policy is taken as a whole or not at all.
    pub fn new(texts: Texts<'_>, world: World<'_>) -> Result<Self, Refused> {
        let rows = Rows::parse(texts.rows, world)?;
        let mut names = rows.unknown(world.catalogue);
        let ours = |what: &str, error: &dyn fmt::Display| Refused::at(Part::Rows, "", 0, format!("{what}: {error}"));
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| ours("the shipped schema", &error))?;
        let mut set = PolicySet::new();
        let mut of_rows = Vec::new();
        for policy in compile(&rows, world.catalogue) {
            let parsed = cedar_policy::Policy::parse(Some(PolicyId::new(&policy.id)), &policy.text);
            let parsed = parsed.map_err(|error| ours(&policy.id, &error))?;
            set.add(parsed.clone()).map_err(|error| ours(&policy.id, &error))?;
            of_rows.push((policy, parsed));
        }
        let written = written(texts.cedar)?;
        for policy in written.iter().cloned() {
            let unknown = unknown(&policy, &rows, world);
            if let Some(unknown) = unknown.first().filter(|_| world.strict) {
                let place = texts.cedar.find(&format!("\"{}\"", unknown.id().escaped())).unwrap_or(0);
                return Err(Refused::at(Part::Cedar, texts.cedar, place, format!("there is no {unknown}")));
            }
            names.extend(unknown.iter().map(|unknown| AsRef::<str>::as_ref(unknown.id()).to_owned()));
            let id = policy.id().to_string();
            let refused = |rule: String| Refused::at(Part::Cedar, texts.cedar, 0, rule);
            set.add(policy).map_err(|_| refused(format!("two policies have the name {id}")))?;
        }
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            // Rows compile to what is valid: only hand-written text gets here.
            return Err(Refused::at(Part::Cedar, texts.cedar, place(error), error.to_string()));
        }
        // What is written by hand may mind anything.
        let minds_topics = rows.grants.iter().any(|grant| grant.needs_topic) || !written.is_empty();
        let mut policy = Self {
            minds_topics,
            sets: HashMap::new(),
            entities: Entities::empty(),
            schema,
            rows,
            unknown: names,
            members: HashMap::new(),
            tables: HashMap::new(),
            actions: BTreeMap::new(),
        };
        policy.settle(world).map_err(|error| ours("members and tables", &error))?;
        policy.fill_sets(world, &of_rows, &written).map_err(|error| ours("members and tables", &error))?;
        Ok(policy)
    }

    // A node asks thousands of times a second: policies of rows that name neither the member nor the table are left out beforehand.
    // What people wrote stands in each set.
    fn fill_sets(
        &mut self,
        world: World<'_>,
        of_rows: &[(Compiled, cedar_policy::Policy)],
        written: &[cedar_policy::Policy],
    ) -> Result<(), String> {
        for member in world.members {
            let named: Vec<bool> = self.rows.grants.iter().map(|grant| self.rows.names(grant, member)).collect();
            for table in world.catalogue.tables() {
                let mut set = PolicySet::new();
                let can_be = of_rows.iter().filter(|(compiled, _)| {
                    named.get(compiled.row) == Some(&true) && compiled.tables.contains(&table.name)
                });
                for policy in can_be.map(|(_, policy)| policy).chain(written) {
                    set.add(policy.clone()).map_err(|error| error.to_string())?;
                }
                self.sets.entry(member.clone()).or_default().insert(table.name.clone(), set);
            }
        }
        Ok(())
    }

    // Members, groups, tables and actions, as Cedar knows them.
    fn settle(&mut self, world: World<'_>) -> Result<(), String> {
        let words = |error: &dyn fmt::Display| error.to_string();
        let mut entities = Vec::new();
        for name in groups::STANDING.iter().copied().chain(self.rows.groups.keys().map(String::as_str)) {
            entities.push(Entity::new_no_attrs(uid("Accord::Group", name)?, HashSet::new()));
        }
        for member in world.members {
            let named = self.rows.groups.iter().filter(|(_, members)| members.contains(member));
            let of = named.map(|(name, _)| name.as_str()).chain([groups::of(member)]);
            let parents = of.map(|name| uid("Accord::Group", name)).collect::<Result<HashSet<_>, _>>()?;
            let country = RestrictedExpression::new_string(member.country().to_owned());
            let uid = uid("Accord::Member", member.as_str())?;
            let attributes = HashMap::from([("country".to_owned(), country)]);
            entities.push(Entity::new(uid.clone(), attributes, parents).map_err(|error| words(&error))?);
            self.members.insert(member.clone(), uid);
        }
        for table in world.catalogue.tables() {
            let kind = RestrictedExpression::new_string(table.kind.as_str().to_owned());
            let uid = uid("Accord::Table", &table.name)?;
            let attributes = HashMap::from([("kind".to_owned(), kind)]);
            entities.push(Entity::new(uid.clone(), attributes, HashSet::new()).map_err(|error| words(&error))?);
            self.tables.insert(table.name.clone(), uid);
        }
        for name in Way::ALL.iter().map(|way| way.action()).chain([DISCOVER]) {
            self.actions.insert(name, uid("Accord::Action", name)?);
        }
        self.entities = Entities::from_entities(entities, Some(&self.schema)).map_err(|error| words(&error))?;
        Ok(())
    }

    /// Decides one request. The most direct way that is permitted is the one that counts.
    pub fn decide(&self, ask: Ask<'_>) -> Decision {
        let context = match context(ask) {
            Ok(context) => context,
            Err(fault) => return Decision::Deny(DenyReason::Fault(fault)),
        };
        let mut reason = DenyReason::NotPermitted;
        for way in Way::ALL {
            match self.evaluate(way.action(), ask.member, ask.table, context.clone()) {
                Ok((true, by)) => return Decision::Permit(*way, by),
                Ok((false, by)) if !by.is_empty() => reason = DenyReason::Forbidden(by),
                Ok((false, _)) => {}
                Err(fault) => return Decision::Deny(DenyReason::Fault(fault)),
            }
        }
        Decision::Deny(reason)
    }

    /// Whether a member may know that a table exists.
    ///
    /// # Errors
    /// A policy that cannot be evaluated: nothing is discoverable then, and it is an alarm.
    pub fn discoverable(&self, member: &NodeId, table: &Table, now: UnixMs) -> Result<bool, String> {
        let context = Context::from_pairs([("now".to_owned(), long(bounded_now(now)?))]);
        let context = context.map_err(|error| error.to_string())?;
        Ok(self.evaluate(DISCOVER, member, table, context)?.0)
    }

    pub(crate) fn grants(&self) -> &[crate::rows::Grant] {
        &self.rows.grants
    }

    pub(crate) const fn written_rows(&self) -> &Rows {
        &self.rows
    }

    /// What it names and the roster and catalogue do not have: members, tables and levels. Nothing in one that was read strictly.
    pub const fn unknown(&self) -> &BTreeSet<String> {
        &self.unknown
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.grants.len()
    }

    /// Whether it can matter that a request stands under a topic.
    pub const fn minds_topics(&self) -> bool {
        self.minds_topics
    }

    /// Every policy as Cedar text, compiled rows first.
    pub fn cedar(&self, texts: Texts<'_>, catalogue: &Catalogue) -> String {
        let compiled = compile(&self.rows, catalogue).into_iter().map(|policy| policy.text);
        compiled.chain((!texts.cedar.is_empty()).then(|| texts.cedar.to_owned())).collect::<Vec<_>>().join("\n")
    }

    // Whether an action is permitted, and which policies say so or forbid it. Cedar leaves out a policy that fails, a `forbid` as well:
    // here nothing is permitted then. Nothing is permitted of a table that the catalogue in force does not have either, and that is no
    // fault: an old edition still has it, and anybody may ask for that.
    fn evaluate(
        &self,
        action: &'static str,
        member: &NodeId,
        table: &Table,
        context: Context,
    ) -> Result<(bool, Vec<String>), String> {
        let principal = self.members.get(member).ok_or("a member that is not on the roster")?;
        let Some(resource) = self.tables.get(&table.name) else { return Ok((false, Vec::new())) };
        let set =
            self.sets.get(member).and_then(|sets| sets.get(&table.name)).ok_or("a member or table without policies")?;
        let action = self.actions.get(action).ok_or("an action that the schema does not have")?;
        let request = Request::new(principal.clone(), action.clone(), resource.clone(), context, Some(&self.schema));
        let request = request.map_err(|error| error.to_string())?;
        let response = Authorizer::new().is_authorized(&request, set, &self.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string());
        }
        let mut by: Vec<String> = response.diagnostics().reason().map(PolicyId::to_string).collect();
        by.sort_unstable();
        Ok((response.decision() == Said::Allow, by))
    }
}

const DISCOVER: &str = "discover";

// What a request is judged by, with every number bounded.
fn context(ask: Ask<'_>) -> Result<Context, String> {
    let axes = ask.table.axes("").map_err(|error| error.to_string())?;
    let mut words = Vec::new();
    for ((dimension, axis), level) in ask.table.dimensions.iter().zip(&axes).zip(ask.levels) {
        let names = axis.level_names();
        let name = names.get(usize::from(*level)).ok_or("a level that the table does not have")?;
        words.push(RestrictedExpression::new_string(level_word(&dimension.name, name)));
    }
    if words.len() != ask.table.dimensions.len() {
        return Err("not a level for each dimension".to_owned());
    }
    let now = bounded_now(ask.now)?;
    let today = ask.now.date();
    let this = Months::new((today.year(), today.month()), (today.year(), today.month()));
    let this = this.ok_or("a time outside the calendar")?.indexes().0;
    let (first, last) = ask.months.indexes();
    if [first, last, this].iter().any(|month| !MONTHS.contains(month)) {
        return Err("a month outside 1900 to 9999".to_owned());
    }
    let pairs = [
        ("purpose", RestrictedExpression::new_string(ask.purpose.as_str().to_owned())),
        ("hasTopic", RestrictedExpression::new_bool(ask.topic)),
        ("levels", RestrictedExpression::new_set(words)),
        ("firstMonth", long(i64::from(first))),
        ("lastMonth", long(i64::from(last))),
        ("thisMonth", long(i64::from(this))),
        ("now", long(now)),
    ];
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

fn uid(kind: &str, name: &str) -> Result<EntityUid, String> {
    let kind = EntityTypeName::from_str(kind).map_err(|error| error.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(name)))
}

fn long(number: i64) -> RestrictedExpression {
    RestrictedExpression::new_long(number)
}

fn bounded_now(now: UnixMs) -> Result<i64, String> {
    i64::try_from(now.0).ok().filter(|_| now.0 < NOW_MAX).ok_or_else(|| "a time outside the calendar".to_owned())
}

// The hand-written policies, each with a name of its own: what stands in `@id`, or `policy-N`.
fn written(text: &str) -> Result<Vec<cedar_policy::Policy>, Refused> {
    let refused = |place: usize, rule: String| Refused::at(Part::Cedar, text, place, rule);
    if text.len() > POLICY_TEXT_MAX {
        return Err(refused(0, format!("longer than {POLICY_TEXT_MAX} bytes")));
    }
    bounds::check(text)?;
    let set = PolicySet::from_str(text).map_err(|errors| {
        let first = errors.iter().next();
        let rule = first.map_or_else(|| errors.to_string(), ToString::to_string);
        refused(first.map_or(0, |error| place(error)), rule)
    })?;
    if set.num_of_templates() > 0 {
        return Err(refused(
            0,
            "a template (`?principal`, `?resource`) has no place here: name whom it is for".to_owned(),
        ));
    }
    // Cedar counts them from 0, in the order of the text.
    let number = |policy: &cedar_policy::Policy| {
        policy.id().to_string().strip_prefix("policy").and_then(|rest| rest.parse::<usize>().ok()).unwrap_or(0)
    };
    let mut policies: Vec<cedar_policy::Policy> = set.policies().cloned().collect();
    policies.sort_by_key(number);
    let mut named = Vec::new();
    for policy in policies {
        let id = policy.annotation("id").map_or_else(|| format!("policy-{}", number(&policy) + 1), str::to_owned);
        if id.starts_with("grant-") {
            return Err(refused(0, format!("`{id}`: names that begin with `grant-` are those of rows")));
        }
        named.push(policy.new_id(PolicyId::new(&id)));
    }
    Ok(named)
}

// Members, tables and groups that a hand-written policy names and that do not exist: the schema knows kinds, not names.
fn unknown(policy: &cedar_policy::Policy, rows: &Rows, world: World<'_>) -> Vec<EntityUid> {
    let exists = |uid: &EntityUid| {
        let name: &str = uid.id().as_ref();
        match uid.type_name().basename() {
            "Member" => name.parse::<NodeId>().is_ok_and(|member| world.members.contains(&member)),
            "Table" => world.catalogue.table(name).is_some(),
            "Group" => groups::STANDING.contains(&name) || rows.groups.contains_key(name),
            // Of anything else the validator knows whether it exists.
            _ => true,
        }
    };
    policy.entity_literals().into_iter().filter(|uid| !exists(uid)).collect()
}

// Where in its text Cedar finds fault, in bytes.
fn place(error: &dyn Diagnostic) -> usize {
    error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}
