//! What holds for every queue, of `Queue`.

#![expect(clippy::duplicate_mod, reason = "the same tests run for each type")]

pub(crate) use crewkit::queue::Queue as Subject;

#[path = "additions.rs"]
mod additions;
#[path = "endings.rs"]
mod endings;
#[path = "ported.rs"]
mod ported;
#[path = "semantics.rs"]
mod semantics;

/// The order in which items come out that are put in this order.
pub(crate) fn order<T>(items: Vec<T>) -> Vec<T> {
    items
}
