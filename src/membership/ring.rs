//! The order in which members are probed: a shuffled ring, shuffled anew each pass [SWIM §4.3].
//!
//! Invariants
//! 1. Within one pass each member that stays is drawn once.
//! 2. A newcomer takes a random place among those still to be drawn.

use ringrift_wire::NodeId;

use crate::rng::Rng;

/// A shuffled ring of members.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    order: Vec<NodeId>,
    next: usize,
}

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.order.iter().copied()
    }

    /// The next of this pass; `None` at its end.
    pub(super) fn draw(&mut self) -> Option<NodeId> {
        let drawn = self.order.get(self.next).copied()?;
        self.next += 1;
        Some(drawn)
    }

    /// Begins a new pass over these members.
    pub(super) fn refill(&mut self, members: impl Iterator<Item = NodeId>, rng: &mut Rng) {
        self.order = members.collect();
        rng.shuffle(&mut self.order);
        self.next = 0;
    }

    /// Takes a newcomer in, unless it is in already: one that has come back may be, one that was `never`
    /// here is not looked for.
    pub(super) fn insert(&mut self, member: NodeId, never: bool, rng: &mut Rng) {
        if !never && self.order.contains(&member) {
            return;
        }
        self.order.push(member);
        let last = self.order.len() - 1;
        let left = last.saturating_sub(self.next) as u64;
        let place = self.next + rng.below(left + 1) as usize;
        self.order.swap(place.min(last), last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId::from_bytes(format!("n{number}").as_bytes()).expect("a good name")
    }

    fn pass(ring: &mut Ring) -> Vec<NodeId> {
        core::iter::from_fn(|| ring.draw()).collect()
    }

    /// Invariant 1.
    #[test]
    fn each_pass_draws_everybody_once_in_a_new_order() {
        let mut ring = Ring::default();
        let mut rng = Rng::new(1);
        ring.refill((0..10).map(id), &mut rng);
        let mut first = pass(&mut ring);
        ring.refill((0..10).map(id), &mut rng);
        let second = pass(&mut ring);
        assert_ne!(first, second);
        first.sort_unstable();
        assert_eq!(first, (0..10).map(id).collect::<Vec<_>>());
    }

    /// Invariant 2.
    #[test]
    fn a_newcomer_is_drawn_in_the_running_pass() {
        for seed in 0..20 {
            let mut ring = Ring::default();
            let mut rng = Rng::new(seed);
            ring.refill((0..4).map(id), &mut rng);
            let drawn = [ring.draw(), ring.draw()];
            ring.insert(id(9), true, &mut rng);
            ring.insert(id(9), false, &mut rng);
            let rest = pass(&mut ring);
            assert_eq!(rest.len(), 3);
            assert!(rest.contains(&id(9)) && !rest.contains(&drawn[0].expect("a member")));
        }
    }
}
