//! Threads: starting one and waiting for its end.

use super::one_by_one;
use crate::contest::{Contest, Contestant, Size};

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    let std = || {
        Ok(one_by_one(next, |number| std::thread::spawn(move || next(number)).join().map_err(|_| "panicked".into())))
    };
    vec![
        Contest::new("Thread", "start a function in a thread and join it", "start and join", Size::MultipleOf(1))
            .with(Contestant::peer("std thread", std)),
    ]
}

/// What the threads do.
fn next(number: u64) -> u64 {
    number.wrapping_add(1)
}
