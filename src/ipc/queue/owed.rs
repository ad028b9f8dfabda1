//! What could not be done at once, because somebody was stopped inside.

use std::sync::atomic::{AtomicBool, Ordering};

use super::lease::Held;
use crate::ipc::member::AN_INSTANT;
use crate::primitive::Mutex;

/// Leases that came to their end while somebody was stopped inside; with whether their items are done. Whoever uses the queue
/// here next sees to them.
#[derive(Default)]
pub(super) struct Owed {
    is_any: AtomicBool,
    leases: Mutex<Vec<(Held, bool)>>,
}

impl Owed {
    /// A fork may have copied it while another thread was in here: then the lease ends with the last handle.
    pub(super) fn add(&self, lease: (Held, bool)) {
        if let Some(mut leases) = self.leases.try_lock_for(AN_INSTANT) {
            leases.push(lease);
            self.is_any.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Vec<(Held, bool)> {
        // A thread that is not in this process any more may have been in here when it was forked.
        let Some(mut leases) = self.leases.try_lock() else { return Vec::new() };
        self.is_any.store(false, Ordering::Relaxed);
        std::mem::take(&mut leases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::generation;

    #[test]
    fn what_a_fork_has_copied_while_it_was_held_is_not_waited_for() {
        let owed = Owed::default();
        let held = Held { at: 0, seat: 1, generation: generation::current() };
        let copied = owed.leases.lock();
        owed.add((held, true));
        drop(copied);
        assert!(!owed.is_any() && owed.take().is_empty());
        owed.add((held, true));
        assert!(owed.is_any() && owed.take().len() == 1);
    }
}
