//! What people and misfortune do in a history, from its beginning to its calm end.

use accord_protocol::{
    id::Hash,
    signed::{Document, Verified},
    trust::travels,
};

use super::{ROUND_MS, Taken, World};
use crate::trust_simulation::{
    make,
    script::{From, Publication, Then},
};

/// How soon all who are connected know what is published.
const AT_ONCE_MS: u64 = 8_000;
/// Within two rounds everybody knows everything again, whatever was before.
const TWO_ROUNDS_MS: u64 = 2 * ROUND_MS + AT_ONCE_MS;

impl World {
    /// Lives through the whole history.
    pub(in crate::trust_simulation) fn run(mut self) -> Self {
        for node in 0..self.script.members {
            self.nodes[node].install(self.script.start.clone(), self.script.installed);
            self.start(node);
        }
        self.run_for(TWO_ROUNDS_MS);
        if self.has_faults {
            for _ in 0..self.dice.between(8, 20) {
                self.something_happens();
                if !self.laws.violations.is_empty() {
                    return self;
                }
                let pause = self.dice.between(100, 25_000);
                self.run_for(pause);
            }
            self.heal();
        } else {
            self.count("calm histories");
        }
        // What does not even start has no end to look at.
        if self.laws.violations.is_empty() {
            self.publish_the_rest();
        }
        if self.laws.violations.is_empty() {
            self.all_is_well();
        }
        self
    }

    fn start(&mut self, node: usize) {
        if !self.nodes[node].is_installed || self.nodes[node].runs {
            return;
        }
        if let Err(why) = self.nodes[node].start(self.now) {
            self.laws.broken(format!("node {node} does not start: {why}"));
            return;
        }
        let is_bad = self.is_bad(node);
        self.laws.check(&self.nodes[node], self.now, is_bad);
        self.wake(node);
    }

    fn something_happens(&mut self) {
        let node = self.dice.below(self.nodes.len());
        match self.dice.below(100) {
            0..35 => self.publish_next(),
            35..45 => self.accept_one(),
            45..53 if self.nodes[node].runs => {
                self.count("deaths");
                self.nodes[node].die();
            }
            45..65 => {
                for node in 0..self.nodes.len() {
                    if self.dice.happens(50) {
                        self.start(node);
                    }
                }
            }
            65..71 if self.nodes[node].is_installed => self.nodes[node].copy = Some(self.nodes[node].disk.clone()),
            71..78 => self.come_back_with_an_old_copy(),
            78..85 => {
                self.count("partitions");
                for side in &mut self.side {
                    *side = u8::from(self.dice.happens(40));
                }
            }
            85..90 => self.side.fill(0),
            90..93 => self.loss = self.dice.between(0, 40),
            93..97 => {
                self.count("clock jumps");
                let hour = 3_600_000;
                self.nodes[node].skew = i64::try_from(self.dice.between(0, 96 * hour)).unwrap() - 48 * 3_600_000;
            }
            _ => {
                // Nobody hears anything, and no round takes place.
                self.count("long silences");
                self.queue.clear();
                self.walks.clear();
                self.now += self.dice.between(1, 200) * 3_600_000;
                for node in 0..self.nodes.len() {
                    if self.nodes[node].runs {
                        self.nodes[node].round += 1;
                        self.wake(node);
                    }
                }
            }
        }
    }

    fn own_keys(&self, node: usize) -> Option<Hash> {
        self.nodes[node].trust().keys(&self.nodes[node].id).map(Verified::hash)
    }

    // A folder as it was some time ago. A member whose own keys have changed since gets its documents from its administrators first.
    fn come_back_with_an_old_copy(&mut self) {
        let with_copy: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].copy.is_some() && self.nodes[*node].runs).collect();
        let Some(node) = with_copy.get(self.dice.below(with_copy.len())).copied() else { return };
        let own = self.own_keys(node);
        let Some(copy) = self.nodes[node].copy.take() else { return };
        self.nodes[node].die();
        let present = std::mem::replace(&mut self.nodes[node].disk, copy);
        self.laws.forget(node);
        self.start(node);
        if self.nodes[node].runs && self.own_keys(node) != own {
            self.nodes[node].die();
            self.nodes[node].disk = present;
            self.start(node);
            return;
        }
        self.count("old copies");
        // What its administrators have accepted since is gone; they are asked again.
        let lost: Vec<_> = self.accepted.iter().filter(|(by, ..)| *by == node).copied().collect();
        self.accepted.retain(|(by, ..)| *by != node);
        self.accepts.extend(lost);
    }

    // Whether the next may be handed in, which may depend on what everybody knows.
    fn is_due(&mut self) -> bool {
        let Some(member) = self.switching else { return true };
        let Some(latest) = self.script.publications[..self.published]
            .iter()
            .rev()
            .find(|publication| publication.then == Then::Switches(member))
            .and_then(|publication| publication.documents.first())
        else {
            return true;
        };
        let knows = |node: &usize| self.nodes[*node].disk.documents.iter().any(|held| held.hash() == latest.hash());
        if !self.honest().iter().all(knows) {
            return false;
        }
        self.count("keys switched");
        self.nodes[member].generation += 1;
        self.switching = None;
        // Old copies that do not know these keys would be of no use.
        for node in &mut self.nodes {
            node.copy = None;
        }
        true
    }

    fn publish_next(&mut self) {
        if !self.is_due() {
            return;
        }
        let Some(publication) = self.script.publications.get(self.published).cloned() else { return };
        let Some(node) = self.hand_in_at(&publication) else { return };
        if self.take(node, &publication.documents) == Taken::Died {
            return;
        }
        if !self.all_held(node, &publication.documents) {
            // The tool says what is missing, and people have it.
            let mut all: Vec<Document> = self.published_so_far();
            all.extend(publication.documents.clone());
            if self.take(node, &all) == Taken::Died {
                return;
            }
        }
        if !self.all_held(node, &publication.documents) {
            let remarks = self.nodes[node].trust().remarks();
            self.laws.broken(format!("`{}` is not taken by node {node}: {remarks:?}", publication.what));
            return;
        }
        self.published += 1;
        self.count(publication.what);
        self.people_act(&publication);
    }

    fn published_so_far(&self) -> Vec<Document> {
        let published = self.script.publications[..self.published].iter();
        self.script
            .start
            .iter()
            .chain(published.flat_map(|publication| publication.documents.iter()))
            .cloned()
            .collect()
    }

    fn hand_in_at(&mut self, publication: &Publication) -> Option<usize> {
        let running: Vec<usize> = match publication.from {
            From::Member(member) => vec![member],
            From::Anybody => {
                // Not at the one that is removed by it, which does not take it.
                let leaves = publication.then.clone();
                (0..self.script.members).filter(|node| !self.is_bad(*node) && leaves != Then::Leaves(*node)).collect()
            }
        };
        let running: Vec<usize> =
            running.into_iter().filter(|node| self.nodes[*node].runs && !self.out.contains(node)).collect();
        running.get(self.dice.below(running.len())).copied()
    }

    fn all_held(&self, node: usize, documents: &[Document]) -> bool {
        let held = self.nodes[node].held();
        documents.iter().all(|document| held.iter().any(|held| held.hash() == document.hash()))
    }

    fn people_act(&mut self, publication: &Publication) {
        match publication.then {
            Then::Nothing => {}
            Then::Switches(member) => self.switching = Some(member),
            Then::Accepts(member, hash) => {
                self.changed.push((member, hash));
                let others: Vec<usize> = self.honest().into_iter().filter(|node| *node != member).collect();
                self.accepts.extend(others.into_iter().chain([member]).map(|node| (node, member, hash)));
            }
            Then::Joins(member, hash) => {
                let others = self.honest();
                self.accepts.extend(others.into_iter().map(|node| (node, member, hash)));
                let roster = publication.documents.last().unwrap().hash();
                let documents = self.published_so_far().into_iter().filter(travels).collect();
                self.nodes[member].install(documents, roster);
                self.start(member);
                let changed = self.changed.clone();
                self.accepts.extend(changed.into_iter().map(|(of, hash)| (member, of, hash)));
            }
            Then::Leaves(member) => {
                self.out.insert(member);
                self.accepts.retain(|(node, of, _)| *node != member && *of != member);
            }
        }
    }

    // One acceptance; the member's own comes after those of the others.
    fn accept_one(&mut self) {
        let can = |(node, member, _): &(usize, usize, Hash)| {
            let is_last = *node != *member || self.accepts.iter().filter(|(_, of, _)| of == member).count() == 1;
            is_last && self.nodes[*node].runs
        };
        let possible: Vec<usize> = (0..self.accepts.len()).filter(|at| can(&self.accepts[*at])).collect();
        let Some(at) = possible.get(self.dice.below(possible.len())).copied() else { return };
        let (node, member, hash) = self.accepts[at];
        // The keys come with the acceptance where they are not held.
        let keys = self.published_so_far().into_iter().find(|document| document.hash() == hash);
        let documents: Vec<Document> = keys.into_iter().chain([make::accept(node, member, hash)]).collect();
        if self.take(node, &documents) != Taken::Died {
            self.count("acceptances");
            self.accepted.push(self.accepts.swap_remove(at));
        }
    }

    fn heal(&mut self) {
        self.side.fill(0);
        self.loss = 0;
        self.has_faults = false;
        for node in 0..self.nodes.len() {
            self.nodes[node].skew = i64::try_from(self.dice.between(0, 240_000)).unwrap() - 120_000;
            self.start(node);
        }
        if !self.laws.violations.is_empty() {
            return;
        }
        self.run_for(TWO_ROUNDS_MS);
        // A member whose keys wait to be compared is heard by nobody who has not.
        let waits = |node: &usize| self.accepts.iter().any(|(_, of, _)| of == node);
        let known: Vec<usize> = self.honest().into_iter().filter(|node| !waits(node)).collect();
        let version = |node: &usize| self.nodes[*node].trust().roster().roster_version;
        let newest = known.iter().map(version).max();
        let late: Vec<usize> = known.iter().copied().filter(|node| Some(version(node)) != newest).collect();
        for node in late {
            let version = self.nodes[node].trust().roster().roster_version;
            let ways: Vec<String> =
                known.iter().filter(|other| **other != node).map(|other| self.way(node, *other)).collect();
            self.laws.broken(format!(
                "two rounds after the network healed node {node} has roster {version}, others {newest:?}; ways {ways:?}"
            ));
        }
        // Those whose node has come back with an old copy may have published what nobody else had got.
        let documents = self.published_so_far();
        if let Some(node) = self.honest().first().copied().filter(|_| self.seen.contains_key("old copies")) {
            self.take(node, &documents);
        }
    }

    // How a node hears another one, for whoever reads of a broken law.
    fn way(&mut self, node: usize, other: usize) -> String {
        let (goes, comes) = (self.arrives(node, other), self.arrives(other, node));
        let roster = self.nodes[other].trust().roster().hash();
        let follows = self.nodes[node].hints.follows(&make::id(other), &roster, self.now - self.nodes[node].started);
        let walks = self.walks.contains_key(&(node, other));
        format!("{other}: goes {goes}, comes {comes}, follows its hint {follows}, walks {walks}")
    }

    // In a network without faults.
    fn publish_the_rest(&mut self) {
        for _ in 0..60 {
            let before = self.published;
            self.publish_next();
            self.run_for(AT_ONCE_MS);
            if self.published > before {
                self.everybody_knows(&self.script.publications[before].clone());
            }
            while !self.accepts.is_empty() {
                let before = self.accepts.len();
                self.accept_one();
                if self.accepts.len() == before {
                    break;
                }
                let pause = self.dice.between(0, AT_ONCE_MS);
                self.run_for(pause);
            }
            if self.published == self.script.publications.len() && self.accepts.is_empty() && self.is_due() {
                return;
            }
        }
        self.laws.broken(format!(
            "people cannot do what they want: {} of {} published, {:?} not accepted, {:?} waits",
            self.published,
            self.script.publications.len(),
            self.accepts,
            self.switching
        ));
    }

    // Those who have been accepted everywhere hear it at once.
    fn everybody_knows(&mut self, publication: &Publication) {
        if !self.accepts.is_empty() {
            return;
        }
        for node in self.honest() {
            if !self.all_held(node, &publication.documents) {
                let why = format!(
                    "`{}` was published in a sound network, and node {node} does not know it",
                    publication.what
                );
                self.laws.broken(why);
            }
        }
    }

    fn all_is_well(&mut self) {
        self.run_for(TWO_ROUNDS_MS);
        let honest = self.honest();
        for node in &honest {
            self.laws.check_end(&self.nodes[*node], self.now, &honest);
        }
        self.laws.check_same(&self.nodes, &honest);
    }
}
