//! Greenlets: two that switch to each other.

use crewkit::coroutine::Greenlet;

use super::{python_generators, sum_up_to, summed};
use crate::contest::{Contest, Contestant, Size, Target};

const OURS: &str = "crewkit Greenlet";
const PYTHON: &str = "CPython greenlet";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new("Greenlet", "switch: a number there and back", "round trip", Size::MultipleOf(1))
            .with(Contestant::crewkit(OURS, || {
                let main = Greenlet::<u64>::main();
                let echo = Greenlet::new(move |mut number| {
                    while let Some(next) = main.switch(number + 1)? {
                        number = next;
                    }
                    Ok(0)
                });
                Ok(summed(sum_up_to, move |number| echo.switch(number).ok().flatten().unwrap_or(0)))
            }))
            .with(python_generators(PYTHON, "switch", sum_up_to))
            .target(Target::speed(OURS, 25.0, &[PYTHON]))
            .remark("Python's is the package `greenlet`, if the `python3` that is found first has it."),
    ]
}
