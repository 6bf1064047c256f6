//! The tables of a kind and year as they are protected together: made anew, added to, or revised.

use std::collections::BTreeMap;

use accord_protocol::{
    cell::{CELL_LEN, Released},
    edition::Protection,
    time::Period,
};

use super::{
    super::{
        contribution::Contribution,
        disclosure::{
            Reason, Rules,
            protect::{Protected, breaks_a_rule, narrowed, primary_only, protect},
            star::{self, Earlier},
        },
        revision::{Changes, HeldLine, Revised, contributions, is_sum, make_unsafe, revised},
        tabulate::Cell,
    },
    Basis, Before, Block, Disclosed, Filling, Job, Revision, Share, Unfit, Vintage,
    block::{LaidOut, carried, count_shares, known, remember, said, to_block},
    reason,
};

pub(super) type Blocks = Vec<(usize, Block, BTreeMap<Vec<u8>, Share>)>;

// The tables of a kind and year before protection, and what they are filled from.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) laid_out: &'a [LaidOut<'a>],
    pub(super) filling: &'a Filling<'a>,
    pub(super) published: &'a dyn Fn(Period) -> bool,
    pub(super) lines: &'a [Contribution],
}

// Numbers that somebody with an edition before may narrow, by table and place.
type Narrowed = Vec<(usize, usize)>;
type SaidBefore<'a> = &'a dyn Fn(usize, usize) -> Option<bool>;

impl<'a> Work<'a> {
    fn linked(&self) -> impl Iterator<Item = &'a LaidOut<'a>> + use<'a> {
        self.laid_out.iter().filter(|of| of.table.margins)
    }

    // What is known of a number of a linked table from what was published: shown once, hidden, or not available.
    fn known(&self, before: Before<'_>, table: usize, number: usize) -> Option<bool> {
        known(before.frozen.blocks.get(&(self.linked().nth(table)?.table.id, self.job.year))?, number)
    }

    // Protects the tables and makes blocks of them; what was said before stays.
    pub(super) fn blocks(&self, before: Option<Before<'_>>) -> Result<(Blocks, Protected), Unfit> {
        let said_before = |table: usize, number: usize| self.known(before?, table, number);
        let protected = self.protected(&said_before, &[])?;
        let mut blocks = self.block_of_each(&protected.reasons);
        if let Some(before) = before {
            for (of, block) in self.laid_out.iter().zip(&mut blocks) {
                remember(block, &carried(of, self.job.year, before));
            }
        }
        Ok((self.with_shares(blocks), protected))
    }

    fn protected(&self, said_before: SaidBefore<'_>, earlier: &[Earlier]) -> Result<Protected, Unfit> {
        let cells: Vec<&[Cell]> = self.linked().map(|of| of.cells.as_slice()).collect();
        self.protect(&cells, self.lines, self.filling.rules, said_before, earlier)
    }

    fn protect(
        &self,
        cells: &[&[Cell]],
        lines: &[Contribution],
        rules: &Rules,
        said_before: SaidBefore<'_>,
        earlier: &[Earlier],
    ) -> Result<Protected, Unfit> {
        let (filled, block) = self.filled(cells, lines, earlier);
        match self.filling.protection {
            Protection::Audited => protect(&filled, block, rules, said_before).map_err(|fault| Unfit::Audit {
                kind: self.job.kind,
                year: self.job.year,
                fault,
            }),
            Protection::PrimaryOnly => Ok(primary_only(&filled, block, rules)),
        }
    }

    fn filled<'b>(
        &'b self,
        cells: &[&'b [Cell]],
        lines: &'b [Contribution],
        earlier: &'b [Earlier],
    ) -> (Vec<star::Filled<'b>>, star::Block<'b>) {
        let filled = self.linked().zip(cells).map(|(of, cells)| star::Filled {
            table: of.table,
            layout: &of.layout,
            cells,
            public: of.waived.public(),
        });
        let block = star::Block { lines, year: self.job.year, published: self.published, earlier };
        (filled.collect(), block)
    }

    fn block_of_each(&self, reasons: &[Vec<Option<Reason>>]) -> Vec<Block> {
        let mut reasons = reasons.iter();
        let block = |of: &LaidOut<'_>| {
            let kept = if of.table.margins { reasons.next().map(Vec::as_slice) } else { None };
            to_block(of, kept, self.job.year, self.published, self.filling.rules)
        };
        self.laid_out.iter().map(block).collect()
    }

    fn with_shares(&self, blocks: Vec<Block>) -> Blocks {
        let with = |(of, block): (&LaidOut<'_>, Block)| {
            let mut shares = BTreeMap::new();
            count_shares(of, &block, &mut shares);
            (of.place, block, shares)
        };
        self.laid_out.iter().zip(blocks).map(with).collect()
    }

    // The blocks of the edition before.
    pub(super) fn carried(&self, before: Before<'_>) -> Blocks {
        self.with_shares(self.laid_out.iter().map(|of| carried(of, self.job.year, before)).collect())
    }

    // The lines of every vintage, oldest first.
    fn vintages(&self, old: &Basis) -> Result<Vec<(Vintage, Vec<HeldLine>)>, Unfit> {
        let (kind, year) = (self.job.kind, self.job.year);
        let read = |vintage: &Vintage| {
            let lines = (self.filling.held)(kind, year, vintage.edition);
            let mut lines = lines.ok_or(Unfit::Vintage { kind, year, edition: vintage.edition })?;
            // Where a case was erased, its lines have another name now and stand out of order.
            lines.sort_unstable();
            Ok((*vintage, lines))
        };
        old.vintages.iter().map(read).collect()
    }

    // The records as they are, whatever changed: only what did not change stays protected against whoever has the editions before.
    // What was hidden stays hidden, unless nothing but the rules has changed: then it is no smaller now than it was. Where that leaves
    // numbers without a witness, they are named, and the block is protected against those who have nothing else.
    pub(super) fn corrected(
        &self,
        before: Before<'_>,
        old: &Basis,
        changes: &Changes,
    ) -> Result<(Blocks, Protected, Narrowed), Unfit> {
        let earlier = earlier(&self.vintages(old)?);
        let only_rules = old.vintages.len() == 1 && changes.counts() == (0, 0);
        let known =
            |table: usize, number: usize| self.known(before, table, number).filter(|shown| *shown || !only_rules);
        let beside = self.protected(&known, &earlier);
        if let Ok(protected) = beside {
            let mut blocks = self.block_of_each(&protected.reasons);
            for (of, block) in self.laid_out.iter().zip(&mut blocks) {
                remember(block, &carried(of, self.job.year, before));
            }
            return Ok((self.with_shares(blocks), protected, Vec::new()));
        }
        let stays_hidden = |table: usize, number: usize| known(table, number).filter(|shown| !shown);
        let protected = self.protected(&stays_hidden, &[])?;
        let blocks = self.block_of_each(&protected.reasons);
        let is_shown = |table: usize, number: usize| {
            let hidden = protected.reasons.get(table)?.get(number)?.is_some();
            Some(!hidden || self.known(before, table, number) == Some(true))
        };
        let cells: Vec<&[Cell]> = self.linked().map(|of| of.cells.as_slice()).collect();
        let (filled, block) = self.filled(&cells, self.lines, &earlier);
        let narrowed = narrowed(&filled, block, self.filling.rules, &is_shown);
        let places: Vec<usize> =
            (0..self.laid_out.len()).filter(|at| self.laid_out.get(*at).is_some_and(|of| of.table.margins)).collect();
        let narrowed = narrowed.into_iter().filter_map(|(table, number)| Some((*places.get(table)?, number))).collect();
        Ok((self.with_shares(blocks), protected, narrowed))
    }

    // Adds what closed, and puts right what may be put right of what was published, if anything may be.
    pub(super) fn revised(
        &self,
        before: Before<'_>,
        old: &Basis,
        held: &[HeldLine],
        may_put_right: bool,
    ) -> Result<(Blocks, Protected, Revision), Unfit> {
        let (kind, year) = (self.job.kind, self.job.year);
        let vintages = self.vintages(old)?;
        // The records as they are, with witnesses that hold for what they were as well.
        let earlier = earlier(&vintages);
        let mut protected = self.protected(&|table, number| self.known(before, table, number), &earlier)?;
        let now = self.block_of_each(&protected.reasons);
        // The changes since each vintage, as tables of their own.
        let rules = self.filling.rules.hiding_zeros();
        let may_be_seen = |(of, block): (&LaidOut<'_>, &Block)| -> Vec<bool> {
            let old = carried(of, year, before);
            (0..block.reasons.len()).map(|number| may_put_right || said(&old.cells, number).is_none()).collect()
        };
        let mut seen: Vec<Vec<bool>> = self.laid_out.iter().zip(&now).map(may_be_seen).collect();
        let mut counts = (0, 0);
        let uncorrected: Vec<_> = vintages.iter().filter(|(of, _)| !of.corrected).collect();
        for (_, lines) in &uncorrected {
            let changes = Changes::between(lines, held);
            counts = changes.counts();
            self.see_changes(&changes, before, &now, &rules, &mut seen, &mut protected)?;
        }
        let (mut anew, mut stay) = (0, 0);
        let mut blocks = Vec::new();
        for ((of, mut block), seen) in self.laid_out.iter().zip(now).zip(seen) {
            let old = carried(of, year, before);
            for (number, seen) in seen.into_iter().enumerate() {
                let bytes = number * CELL_LEN..(number + 1) * CELL_LEN;
                let (Some(cell), Some(was), Some(why)) =
                    (block.cells.get_mut(bytes.clone()), old.cells.get(bytes), block.reasons.get_mut(number))
                else {
                    continue;
                };
                if *cell == Released::NOT_AVAILABLE.to_bytes() {
                    continue;
                }
                let before = said(&old.cells, number);
                let is_waived = of.waived.public().is_shown(number) && uncorrected.len() == 1;
                let becomes = match revised(before, reason(*why), seen) {
                    // Public anyway, and hidden in every vintage whose changes since must not be seen.
                    Revised::Hidden(_) if is_waived && *why == 0 => Revised::Anew,
                    // After the final vintage what is shown stays, whatever the records say.
                    Revised::Hidden(_) if !may_put_right && before == Some(true) => Revised::Stays,
                    becomes => becomes,
                };
                let differs = usize::from(cell != was);
                match becomes {
                    Revised::Anew => {}
                    Revised::Stays => {
                        cell.copy_from_slice(was);
                        *why = if differs > 0 { Reason::Carried.number() } else { 0 };
                        stay += differs;
                        continue;
                    }
                    Revised::Hidden(reason) => {
                        cell.copy_from_slice(&Released::SUPPRESSED.to_bytes());
                        *why = reason.number();
                    }
                }
                anew += usize::from(before.is_some() && cell != was);
            }
            remember(&mut block, &old);
            blocks.push(block);
        }
        let (added, removed) = counts;
        let revision = Revision { kind, year, vintage: old.revisions + 2, added, removed, anew, stay };
        Ok((self.with_shares(blocks), protected, revision))
    }

    // The numbers of made blocks whose difference to what was published tells of too few cases, or mainly of one: what changed since
    // any vintage, since a number may say what the first one said.
    pub(super) fn disclosed(
        &self,
        before: Before<'_>,
        old: &Basis,
        blocks: &Blocks,
        held: &[HeldLine],
    ) -> Result<Vec<Disclosed>, Unfit> {
        let mut cases: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (_, lines) in self.vintages(old)?.iter().filter(|(of, _)| !of.corrected) {
            let changes = Changes::between(lines, held);
            for (place, (of, (_, block, _))) in self.laid_out.iter().zip(blocks).enumerate() {
                for (number, few) in self.told_by(of, block, before, &changes) {
                    let least = cases.entry((place, number)).or_insert(few);
                    *least = few.min(*least);
                }
            }
        }
        let disclosed = |((place, number), cases): ((usize, usize), u64)| {
            Some(Disclosed { table_id: self.laid_out.get(place)?.table.id, number, cases })
        };
        Ok(cases.into_iter().filter_map(disclosed).collect())
    }

    // The same for one table and the changes since one vintage: numbers, and the cases of their difference.
    fn told_by(&self, of: &LaidOut<'_>, block: &Block, before: Before<'_>, changes: &Changes) -> Vec<(usize, u64)> {
        let (kind, year) = (self.job.kind, self.job.year);
        let rules = self.filling.rules.hiding_zeros();
        let (old, cells) = (carried(of, year, before), changes.cells(of.table, &of.layout, kind, year));
        let width = of.layout.width().max(1);
        let is_small = |number: usize| block.reasons.get(number).copied().and_then(reason).is_some_and(is_primary);
        let differs = |number: &usize| {
            let bytes = number * CELL_LEN..(number + 1) * CELL_LEN;
            // What is small now and was known once rests on its change, whether it was hidden since or not.
            known(&old, *number) == Some(true)
                && (is_small(*number) || old.cells.get(bytes.clone()) != block.cells.get(bytes))
        };
        let tells = |number: usize| {
            let (cell, within) = (cells.get(number / width)?, number % width);
            let index = (0..of.table.measures.len()).find(|index| of.table.numbers_of(*index).contains(&within))?;
            let (measure, first) = (of.table.measures.get(index)?, of.table.numbers_of(index).start);
            (is_small(number) || breaks_a_rule(cell, index, measure, within - first, &rules))
                .then_some((number, cell.cases))
        };
        (0..block.reasons.len()).filter(differs).filter_map(tells).collect()
    }

    // Which numbers may be put right as far as the changes since one vintage go, and as those before allow.
    fn see_changes(
        &self,
        changes: &Changes,
        before: Before<'_>,
        now: &[Block],
        rules: &Rules,
        seen: &mut [Vec<bool>],
        protected: &mut Protected,
    ) -> Result<(), Unfit> {
        let (kind, year) = (self.job.kind, self.job.year);
        let is_unsafe = |block: &Block, number: usize| {
            let why = block.reasons.get(number).copied().and_then(reason);
            why.is_some_and(is_primary)
        };
        let mut tables = Vec::new();
        // What is public anyway says what it said: nothing of it changed, which anybody can see.
        for (of, block) in self.laid_out.iter().zip(now) {
            let mut cells = changes.cells(of.table, &of.layout, kind, year);
            let (width, old) = (of.layout.width().max(1), carried(of, year, before));
            for number in 0..block.reasons.len() {
                // An unsafe sum cannot fall further, in all vintages alike, than it was low once: the rest of the way is its change's.
                let by_changes = known(&old, number) == Some(true) || is_sum(of.table, number % width);
                if is_unsafe(block, number)
                    && by_changes
                    && let Some(cell) = cells.get_mut(number / width)
                {
                    make_unsafe(cell, of.table, number % width);
                }
            }
            tables.push(LaidOut {
                cells,
                table: of.table,
                layout: of.layout.clone(),
                place: of.place,
                waived: of.waived.clone(),
            });
        }
        let linked: Vec<usize> =
            (0..tables.len()).filter(|at| tables.get(*at).is_some_and(|of| of.table.margins)).collect();
        let hidden_now = |table: usize, number: usize| {
            let at = *linked.get(table)?;
            let hidden = now.get(at)?.reasons.get(number) != Some(&0) || seen.get(at)?.get(number) == Some(&false);
            hidden.then_some(false)
        };
        let cells: Vec<&[Cell]> = linked.iter().filter_map(|at| Some(tables.get(*at)?.cells.as_slice())).collect();
        let of_changes = self.protect(&cells, changes.added(), rules, &hidden_now, &[])?;
        protected.effort += of_changes.effort;
        protected.audit += of_changes.audit;
        let mut reasons = of_changes.reasons.iter();
        for (of, seen) in tables.iter().zip(seen) {
            if of.table.margins {
                let reasons = reasons.next().map_or(&[] as &[_], Vec::as_slice);
                seen.iter_mut().zip(reasons).for_each(|(seen, why)| *seen &= why.is_none());
            } else {
                let alone = to_block(of, None, year, self.published, rules);
                seen.iter_mut().zip(alone.reasons).for_each(|(seen, why)| *seen &= why == 0);
            }
        }
        Ok(())
    }
}

fn earlier(vintages: &[(Vintage, Vec<HeldLine>)]) -> Vec<Earlier> {
    vintages.iter().map(|(of, lines)| Earlier { lines: contributions(lines), months: of.months }).collect()
}

fn is_primary(why: Reason) -> bool {
    ![Reason::ProtectsAnother, Reason::Carried].contains(&why)
}
