//! What holds for every queue, of `LifoQueue`.

#![expect(clippy::duplicate_mod, reason = "the same tests run for each type")]

pub(crate) use crewkit::queue::LifoQueue as Subject;

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
    items.into_iter().rev().collect()
}

#[test]
fn qu19_peek_shows_the_youngest_and_leaves_it() {
    let queue = Subject::unbounded();
    assert_eq!(queue.peek(), None);
    queue.put_many([1, 2]).unwrap();
    assert_eq!((queue.peek(), queue.len()), (Some(2), 2));
    assert_eq!(queue.get(), Ok(2));
    assert_eq!(queue.peek(), Some(1));
}
