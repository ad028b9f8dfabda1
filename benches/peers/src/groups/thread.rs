//! Threads: starting one and waiting for its end.

use super::one_by_one;
use crate::contest::{Contest, Contestant, Size};

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new("Thread", "start a function in a thread and join it", "start and join", Size::MultipleOf(1))
            .with(Contestant::crewkit("crewkit thread", || {
                Ok(one_by_one(next, |number| Ok(crewkit::thread::spawn(move || next(number)).join()?)))
            }))
            .with(Contestant::peer("std thread", || {
                Ok(one_by_one(next, |number| std::thread::spawn(move || next(number)).join().map_err(|_| "panicked".into())))
            }))
            .remark(
                "crewkit's thread has what Python's has: it is listed while it runs, can be waited for with a timeout and by \
                 many, and the process does not end before it.",
            ),
    ]
}

/// What the threads do.
fn next(number: u64) -> u64 {
    number.wrapping_add(1)
}
