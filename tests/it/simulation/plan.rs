//! What one history has of everything, drawn from its seed.

use accord_tests::seeded::Seeded;

use super::{fixture::NAMES, network::Weather};

/// What a history has of everything.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) weather: Weather,
    pub(super) questions: usize,
    /// Questions of one officer to one partner at once.
    pub(super) series: usize,
    /// Per cent of decisions during which the node dies or its disk is full.
    pub(super) faults: u64,
    /// Times at which nodes die, and for how long.
    pub(super) deaths: Vec<(usize, u64, u64)>,
    /// Errors of the nodes' clocks in milliseconds.
    pub(super) skews: [i64; NAMES.len()],
    /// A member gone bad.
    pub(super) bad: Option<usize>,
}

impl Plan {
    /// A history in which nothing is wrong.
    pub(super) fn calm(&self) -> bool {
        self.weather.loss == 0
            && self.weather.cuts.is_empty()
            && self.faults == 0
            && self.deaths.is_empty()
            && self.bad.is_none()
            && self.skews.iter().all(|skew| skew.abs() < 30_000)
    }

    pub(super) fn draw(random: &mut Seeded) -> Self {
        let rough = random.below(4) as u64;
        let member = |random: &mut Seeded| random.below(NAMES.len());
        let some = |random: &mut Seeded, most: usize| if rough == 0 { 0 } else { random.below(most + 1) };
        let cuts = (0..some(random, 3))
            .map(|_| {
                let from = random.between(0, 60_000);
                (member(random), member(random), from, from + random.between(100, 45_000))
            })
            .collect();
        let deaths = (0..some(random, 3))
            .map(|_| (member(random), random.between(0, 60_000), random.between(50, 20_000)))
            .collect();
        let skews = std::array::from_fn(|_| {
            if rough > 0 && random.happens(10) { random.between(0, 400_000).cast_signed() - 200_000 } else { 0 }
        });
        Self {
            weather: Weather {
                loss: [0, 2, 10, 50][random.below(if rough == 0 { 1 } else { 4 })],
                doubled: random.between(0, 20),
                delay_max: [2, 50, 300][random.below(3)],
                cuts,
            },
            questions: 3 + random.below(8),
            series: if rough > 0 && random.happens(10) { 20 } else { 0 },
            faults: if rough == 0 { 0 } else { random.between(0, 30) },
            deaths,
            skews,
            bad: (rough > 0 && random.happens(40)).then(|| random.below(NAMES.len())),
        }
    }
}
