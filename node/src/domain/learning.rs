//! Whether a node that has just started has heard what the others know: until then it answers and asks nobody.

use std::collections::BTreeSet;

use accord_protocol::id::NodeId;

/// Longest wait for others, in milliseconds from the first greeting on: a network that is down must not stop a node for ever, and how
/// old its knowledge may be is bounded by `freshness`.
pub const LEARN_WITHIN_MS: u64 = 10_000;

/// The first round of greetings.
#[derive(Debug, Default)]
pub struct Learning {
    tried: BTreeSet<NodeId>,
}

impl Learning {
    /// Notes that what a member had was fetched and taken, or that greeting it has failed once.
    pub fn tried(&mut self, member: &NodeId) {
        self.tried.insert(member.clone());
    }

    /// Whether everybody who is to be greeted was tried. Who that is may change with what is learnt.
    pub fn is_over<'a>(&self, others: impl IntoIterator<Item = &'a NodeId>) -> bool {
        others.into_iter().all(|member| self.tried.contains(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_over_when_everybody_was_tried_also_whoever_it_made_known() {
        let [es, it, pt]: [NodeId; 3] = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"].map(|name| name.parse().unwrap());
        let mut learning = Learning::default();
        assert!(learning.is_over([]), "nobody else is there");
        assert!(!learning.is_over([&es, &it]));
        learning.tried(&es);
        learning.tried(&es);
        assert!(!learning.is_over([&es, &it]));
        learning.tried(&it);
        assert!(learning.is_over([&es, &it]));
        assert!(!learning.is_over([&es, &it, &pt]), "a new roster lists one more");
    }
}
