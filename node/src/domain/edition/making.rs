//! What becomes of a kind and year in the next edition: made anew, added to, put right, or left as it was published.

use accord_protocol::{
    codec::encode,
    consent::PublicCell,
    edition::{Layout, Protection},
    id::Hash,
    time::Period,
};

use super::{
    super::{
        contribution::Contributions,
        disclosure::{audit::Summary, chooser::Effort, protect::Protected, star::is_within},
        revision::{Changes, HeldLine, VINTAGES_MAX, contributions},
        tabulate::tabulate,
    },
    Basis, Before, Correction, Filling, How, Job, Kept, Made, RulesNow, Unfit, Vintage,
    block::{LaidOut, carried, said},
    waiver::{Waived, holding, year_of},
    work::{Blocks, Work},
};

/// Fills the tables of a job, protects and audits them.
///
/// # Errors
/// A code list that is missing, or what the auditor objects to: then there is no edition.
pub fn make(job: &Job<'_>, filling: &Filling<'_>) -> Result<Made, Unfit> {
    let published = |period: Period| filling.coverage.publishes(job.kind, period, filling.now, filling.delay_days);
    let months = (1..=12)
        .filter(|month| published(Period::Month(job.year, *month)))
        .fold(0, |months, month| months | 1 << (month - 1));
    let making = Making { job, filling, published: &published, months };
    let held = filling.contributions.held(job.kind, job.year, months);
    let before = filling.before.and_then(|before| {
        let basis = before.bases.iter().find(|basis| (basis.kind, basis.year) == (job.kind, job.year))?;
        Some((before, basis))
    });
    let Some((before, old)) = before else { return making.anew(&held, How::New) };
    let then = filling.contributions.held(job.kind, job.year, old.months);
    let changed = fingerprint(filling, &then) != old.lines;
    let waives = making.waives(before, old)?;
    let adds = months & !old.months != 0 || waives;
    let rules = old.vintages.last().map_or(RulesNow::Other, |newest| (before.rules)(newest.edition));
    // What closes beside records that are as they were published needs nobody's consent, and gives nothing up.
    let differs = changed || rules != RulesNow::Same || old.months & !months != 0;
    if differs && filling.agreed.correct.contains(&(job.kind, job.year)) {
        return making.corrected(before, old, &held);
    }
    if rules == RulesNow::Other || rules == RulesNow::Stricter && !adds {
        return making.as_before(before, old, How::Kept(Kept::RulesChanged));
    }
    if old.months & !months != 0 {
        return making.as_before(before, old, How::Kept(Kept::CoverageShrank));
    }
    if !changed && !adds {
        return making.as_before(before, old, How::Unchanged);
    }
    // A year is put right when it is complete: until then what closes is added to the state that was published.
    let mut why = None;
    if changed {
        why = Some(if usize::from(old.revisions) + 1 >= VINTAGES_MAX {
            Kept::Final
        } else if months != WHOLE_YEAR || rules != RulesNow::Same || waives {
            Kept::Waits
        } else {
            match making.put_right(before, old, &held) {
                Ok(Some(made)) => return Ok(made),
                Ok(None) | Err(Unfit::Audit { .. }) => Kept::RecordsChanged,
                Err(other) => return Err(other),
            }
        });
    }
    let how = |why: Option<Kept>| why.map_or(How::New, How::Kept);
    if !adds {
        return making.as_before(before, old, how(why));
    }
    let held = if changed { making.held_back(old, &held)? } else { held };
    match making.added(before, old, &held, how(why)) {
        Err(Unfit::Audit { .. }) => making.as_before(before, old, How::Kept(Kept::NotProtectable)),
        done => done,
    }
}

/// All months of a year.
const WHOLE_YEAR: u16 = 0x0fff;

// A block in the making.
struct Making<'a> {
    job: &'a Job<'a>,
    filling: &'a Filling<'a>,
    published: &'a dyn Fn(Period) -> bool,
    months: u16,
}

impl<'a> Making<'a> {
    // From these lines, without regard to what was published.
    fn anew(&self, held: &[HeldLine], how: How) -> Result<Made, Unfit> {
        let tables = self.tables(self.filling.contributions)?;
        let done = self.work(&tables, self.filling.contributions).blocks(None)?;
        Ok(self.made(done, (held, 0), vec![self.newest()], how))
    }

    // The same, with what anybody who has both editions sees.
    fn corrected(&self, before: Before<'_>, old: &Basis, held: &[HeldLine]) -> Result<Made, Unfit> {
        let Job { kind, year, .. } = *self.job;
        let tables = self.tables(self.filling.contributions)?;
        let work = self.work(&tables, self.filling.contributions);
        let changes = Changes::between(&self.newest_lines(old)?, held);
        let (blocks, protected, narrowed) = work.corrected(before, old, &changes)?;
        let (added, removed) = changes.counts();
        let disclosed = work.disclosed(before, old, &blocks, held)?;
        // Where the editions before tell more than what changed, nothing can be kept up against them: this is a new beginning.
        let earlier = old.vintages.iter().filter(|_| narrowed.is_empty());
        let earlier = earlier.map(|vintage| Vintage { corrected: true, ..*vintage });
        let vintages = earlier.chain([self.newest()]).collect();
        let narrowed = narrowed.into_iter().filter_map(|(place, number)| Some((tables.get(place)?.table.id, number)));
        let narrowed = narrowed.collect();
        let how = How::Corrected(Correction { kind, year, added, removed, disclosed, narrowed });
        Ok(self.made((blocks, protected), (held, 0), vintages, how))
    }

    // Whether a number is to be shown, because it is public anyway, that is hidden in the only vintage that counts. Where there are
    // several, an attacker would learn what it was in all of them.
    fn waives(&self, before: Before<'_>, old: &Basis) -> Result<bool, Unfit> {
        let of_job = |waiver: &PublicCell| {
            year_of(waiver) == Some(self.job.year)
                && self.job.tables.iter().any(|(_, table)| table.id == waiver.table_id)
        };
        if !self.filling.agreed.waived.iter().any(of_job)
            || old.vintages.iter().filter(|vintage| !vintage.corrected).count() != 1
        {
            return Ok(false);
        }
        let lines = contributions(&self.newest_lines(old)?);
        let tables = self.tables(&Contributions::of_lines(self.job.kind, self.job.year, lines))?;
        Ok(tables.iter().any(|of| {
            let block = carried(of, self.job.year, before);
            of.waived.shown().any(|number| said(&block.cells, number) == Some(false))
        }))
    }

    // The lines that the newest vintage was made from, sorted: where a case was erased, they have another name now.
    fn newest_lines(&self, old: &Basis) -> Result<Vec<HeldLine>, Unfit> {
        let Job { kind, year, .. } = *self.job;
        let Some(newest) = old.vintages.last() else { return Ok(Vec::new()) };
        let lines = (self.filling.held)(kind, year, newest.edition);
        let mut lines = lines.ok_or(Unfit::Vintage { kind, year, edition: newest.edition })?;
        lines.sort_unstable();
        Ok(lines)
    }

    // What was published before.
    fn as_before(&self, before: Before<'_>, old: &Basis, how: How) -> Result<Made, Unfit> {
        let tables = self.tables(self.filling.contributions)?;
        let blocks = self.work(&tables, self.filling.contributions).carried(before);
        let (effort, audit) = (Effort::default(), Summary::default());
        Ok(Made { blocks, effort, audit, basis: old.clone(), held: None, how })
    }

    // The records as they are, as far as their changes may be seen; `None` if nothing of them may be.
    fn put_right(&self, before: Before<'_>, old: &Basis, held: &[HeldLine]) -> Result<Option<Made>, Unfit> {
        let tables = self.tables(self.filling.contributions)?;
        let work = self.work(&tables, self.filling.contributions);
        let (blocks, protected, revision) = work.revised(before, old, held, true)?;
        let vintages = [old.vintages.as_slice(), &[self.newest()]].concat();
        let how = How::Revised(revision);
        let done = (blocks, protected);
        Ok((revision.anew > 0).then(|| self.made(done, (held, old.revisions + 1), vintages, how)))
    }

    // What closed, beside what was published: the newest vintage goes on.
    fn added(&self, before: Before<'_>, old: &Basis, held: &[HeldLine], how: How) -> Result<Made, Unfit> {
        let lines = Contributions::of_lines(self.job.kind, self.job.year, contributions(held));
        let lines = lines.with_pairs_of(self.filling.contributions);
        let tables = self.tables(&lines)?;
        let work = self.work(&tables, &lines);
        let earlier = old.vintages.split_last().map_or(&[] as &[Vintage], |(_, earlier)| earlier);
        // Where there are several vintages, what is added must not tell what changed between them.
        let done = if earlier.is_empty() {
            work.blocks(Some(before))?
        } else {
            let (blocks, protected, _) = work.revised(before, old, held, false)?;
            (blocks, protected)
        };
        Ok(self.made(done, (held, old.revisions), [earlier, &[self.newest()]].concat(), how))
    }

    // The lines of the newest vintage with those of the months that closed since: what came late for the others is left out.
    fn held_back(&self, old: &Basis, held: &[HeldLine]) -> Result<Vec<HeldLine>, Unfit> {
        if old.vintages.is_empty() {
            return Ok(held.to_vec());
        }
        let mut lines = self.newest_lines(old)?;
        let closed = |line: &&HeldLine| {
            let period = Period::from_number(line.period);
            period.is_some_and(|period| !is_within(period, old.months))
        };
        lines.extend(held.iter().filter(closed));
        lines.sort_unstable();
        Ok(lines)
    }

    fn tables(&self, contributions: &Contributions) -> Result<Vec<LaidOut<'a>>, Unfit> {
        let mut laid_out = Vec::new();
        for (place, table) in &self.job.tables {
            let layout = Layout::new(table, self.filling.country, self.job.year)?;
            let cells = tabulate(table, &layout, contributions, self.job.year);
            laid_out.push(LaidOut { place: *place, table, layout, cells, waived: Waived::default() });
        }
        let holding = holding(&laid_out, self.filling.agreed.waived, self.job.year);
        for of in &mut laid_out {
            of.waived = Waived::of(of, &holding);
        }
        Ok(laid_out)
    }

    fn work<'b>(&'b self, tables: &'b [LaidOut<'b>], contributions: &'b Contributions) -> Work<'b> {
        let lines = contributions.year(self.job.kind, self.job.year);
        Work { job: self.job, laid_out: tables, filling: self.filling, published: self.published, lines }
    }

    const fn newest(&self) -> Vintage {
        Vintage { edition: self.filling.number, months: self.months, corrected: false }
    }

    fn made(
        &self,
        (blocks, protected): (Blocks, Protected),
        (held, revisions): (&[HeldLine], u8),
        vintages: Vec<Vintage>,
        how: How,
    ) -> Made {
        let lines = fingerprint(self.filling, held);
        let basis = Basis { kind: self.job.kind, year: self.job.year, months: self.months, lines, revisions, vintages };
        Made {
            blocks,
            effort: protected.effort,
            audit: protected.audit,
            basis,
            held: (self.filling.protection == Protection::Audited).then(|| held.to_vec()),
            how,
        }
    }
}

fn fingerprint(filling: &Filling<'_>, held: &[HeldLine]) -> Hash {
    let bytes: Vec<u8> = held.iter().flat_map(|line| encode(line).unwrap_or_default()).collect();
    (filling.fingerprint)(&bytes)
}
