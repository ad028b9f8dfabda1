//! Results that come in any order, handed out in the order of their items: what `imap` is to `imap_unordered`, in both
//! pools.

use std::collections::BTreeMap;

/// Keeps what comes before its turn.
pub(super) struct InOrder<T> {
    next: usize,
    early: BTreeMap<usize, T>,
}

impl<T> InOrder<T> {
    pub(super) const fn new() -> Self {
        Self { next: 0, early: BTreeMap::new() }
    }

    /// The next result in the order; `None` if `come` has no more. `come` is told how many are kept, and answers the next
    /// result that comes, with the number of its item.
    pub(super) fn next(&mut self, mut come: impl FnMut(usize) -> Option<(usize, T)>) -> Option<T> {
        loop {
            if let Some(result) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(result);
            }
            let (index, result) = come(self.early.len())?;
            self.early.insert(index, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InOrder;

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let mut coming = [2, 0, 3, 1].into_iter();
        let mut kept = Vec::new();
        let mut order = InOrder::new();
        let mut next = || {
            order.next(|early| {
                kept.push(early);
                coming.next().map(|n| (n, 10 * n))
            })
        };
        assert_eq!(std::iter::from_fn(&mut next).collect::<Vec<_>>(), [0, 10, 20, 30]);
        assert_eq!(next(), None);
        assert_eq!(kept, [0, 1, 1, 2, 0, 0]);
    }
}
