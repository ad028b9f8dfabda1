//! A writer's turn, where what is written is whole whenever its writer dies: `Value` and `ShareableList`.

use super::LockError;
use crate::shm::{Held, State};
use crate::sys::clock::Deadline;

/// The lock of all writers, held until this is dropped.
pub(super) struct Turn<'a, T>(&'a Held<T>);

impl<'a, T> Turn<'a, T> {
    /// Waits until no other writer has it. One that died has left nothing to be put in order.
    pub(super) fn take(words: &'a Held<T>, deadline: Deadline) -> Result<Self, LockError> {
        if words.lock(deadline)? == State::Dirty {
            words.recover();
        }
        Ok(Self(words))
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let was_mine = self.0.unlock();
        debug_assert!(was_mine, "taken by this thread, a moment ago");
    }
}
