//! Those who were taken out of a [`WaitList`](super::WaitList), on their way from the mutex, under which they are called, to
//! where they are rung.

use super::Parker;

/// Those who were dismissed, and are to be called before the mutex is left.
#[derive(Debug, Default)]
#[must_use = "who is dismissed sleeps on until it is called and rung"]
pub(crate) struct Dismissed(Calls);

impl Dismissed {
    pub(super) fn add(&mut self, parker: Parker) {
        self.0.add(parker);
    }

    /// Calls them: from now on they may go on, before they are rung and before the mutex is left.
    #[inline]
    pub(crate) fn call(self) -> Calls {
        if let Some(first) = &self.0.first {
            first.call();
            self.0.others.iter().flat_map(|others| others.iter()).for_each(Parker::call);
        }
        self.0
    }
}

/// The parkers of those who were called, to be rung when no lock is held. Usually one: the second is the first to cost
/// memory.
#[derive(Debug, Default)]
#[must_use = "who is called sleeps on until it is rung"]
pub(crate) struct Calls {
    first: Option<Parker>,
    #[expect(clippy::box_collection, reason = "calls are moved about, and seldom more than one")]
    others: Option<Box<Vec<Parker>>>,
}

impl Calls {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        Self { first: None, others: None }
    }

    pub(super) fn add(&mut self, parker: Parker) {
        if self.first.is_none() {
            self.first = Some(parker);
        } else {
            self.others.get_or_insert_default().push(parker);
        }
    }

    /// Adds those of `others`, behind its own.
    #[inline]
    pub(crate) fn append(&mut self, others: Self) {
        if self.is_empty() {
            *self = others;
        } else {
            let more = others.others.into_iter().flat_map(|others| *others);
            others.first.into_iter().chain(more).for_each(|parker| self.add(parker));
        }
    }

    /// Whether nobody was called.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Wakes them all, in the order in which they were called.
    #[inline]
    pub(crate) fn ring(self) {
        if let Some(first) = &self.first {
            first.ring();
            self.others.iter().flat_map(|others| others.iter()).for_each(Parker::ring);
        }
    }
}
