//! Elements in shared memory whose writer dies at any step: the shipped lines of `shm/journal.rs`, under a lock that is a
//! model of the kernel's robust mutex.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/journal.rs"]
mod journal;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{AtomicU64, fence};
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore;
use crewkit_loom_tests::mortal::{Robust, dies_before, i_am};
use journal::{Journal, Row};
use primitive::AtomicU64;

/// Three elements of twelve bytes: the first and the second share a word, and each lies in two.
const COUNT: usize = 3;
const SIZE: usize = 12;

struct Elements {
    lock: Robust,
    journal: Journal,
    rest: Vec<AtomicU64>,
}

impl Elements {
    fn new() -> Arc<Self> {
        let words = Row::words(COUNT, SIZE).unwrap();
        // What was saved of an earlier replacement, and then the elements.
        let saved = words - (COUNT * SIZE).div_ceil(size_of::<u64>());
        let rest = (0..words).map(|index| AtomicU64::new(if index < saved { u64::MAX } else { 0 })).collect();
        let elements = Self { lock: Robust::default(), journal: Journal::new(), rest };
        elements.journal.set_count(COUNT);
        assert_eq!(elements.journal.count(words, SIZE), Some(COUNT));
        Arc::new(elements)
    }

    fn row(&self) -> Row<'_> {
        Row::of(&self.rest, COUNT, SIZE)
    }

    /// Takes the lock; whether the elements are in order.
    fn enter(&self) -> bool {
        self.lock.lock((), |_| {}).unwrap();
        self.lock.make_consistent();
        self.journal.mend(&self.row())
    }

    fn replace(&self, index: usize, number: u8) {
        self.journal.replace(&self.row(), index, &[number; SIZE]);
    }

    fn leave(&self) {
        assert!(self.lock.unlock());
    }

    fn read(&self, index: usize) -> u8 {
        let mut value = [0; SIZE];
        self.row().read(index, &mut value);
        assert!(value.iter().all(|&byte| byte == value[0]), "half an element: {value:?}");
        value[0]
    }
}

/// Taking the lock is three steps, saving two words four, then the mark and its fence, three to write two words of which one
/// is shared with a neighbour, the mark again, and leaving.
const STEPS: usize = 14;
/// Within the writing of the two words.
const HALF: usize = 11;
/// An heir's, who puts two words back and clears the mark before.
const STEPS_OF_AN_HEIR: usize = STEPS + 5;

#[test]
fn a_replacement_that_dies_is_whole_or_taken_back_also_by_an_heir_that_dies() {
    let heirs_live = (0..=STEPS).map(|first| (first, STEPS_OF_AN_HEIR));
    for (first, second) in heirs_live.chain((0..=STEPS_OF_AN_HEIR).map(|second| (HALF, second))) {
        explore(&format!("journal: dies before {first}, heir before {second} × reader"), move || {
            let elements = Elements::new();
            let reader = thread::spawn({
                let elements = Arc::clone(&elements);
                move || {
                    i_am(3);
                    assert!(elements.enter());
                    let seen = elements.read(1);
                    assert_eq!((elements.read(0), elements.read(2)), (0, 0), "its neighbours");
                    elements.leave();
                    seen
                }
            });
            let live = |me: usize, number: u8, last: usize| {
                i_am(me);
                let died = dies_before(last, || {
                    assert!(elements.enter());
                    elements.replace(1, number);
                    elements.leave();
                });
                elements.lock.bury_me();
                died
            };
            let lived = !live(1, 1, first);
            assert_eq!(lived, first == STEPS);
            let heir_lived = !live(2, 2, second);
            assert!(heir_lived || second < STEPS_OF_AN_HEIR);
            assert!(reader.join().unwrap() <= 2);
            i_am(4);
            assert!(elements.enter());
            let seen = elements.read(1);
            assert!(if heir_lived { seen == 2 } else { seen <= 2 && (!lived || seen >= 1) }, "{seen}");
            elements.leave();
        });
    }
}

#[test]
fn elements_lent_to_one_that_dies_are_told_of_until_somebody_settles() {
    // Taking the lock is three steps, lending two, the user's writing one; then settling, and leaving.
    const SETTLED: usize = 7;
    for last in 0..=SETTLED + 1 {
        explore(&format!("journal: lent to one that dies before {last} × another"), move || {
            let elements = Elements::new();
            let other = thread::spawn({
                let elements = Arc::clone(&elements);
                move || {
                    i_am(2);
                    let in_order = elements.enter();
                    elements.leave();
                    in_order
                }
            });
            i_am(1);
            let mut has_written = false;
            let died = dies_before(last, || {
                assert!(elements.enter());
                elements.journal.lend();
                // A step of the user's, after which something is half done until `settle`.
                elements.row().elements()[0].store(1, std::sync::atomic::Ordering::Relaxed);
                has_written = true;
                elements.journal.settle();
                elements.leave();
            });
            assert_eq!(died, last <= SETTLED);
            elements.lock.bury_me();
            let other_in_order = other.join().unwrap();
            i_am(3);
            let in_order = elements.enter();
            assert!(!has_written || in_order == (last >= SETTLED), "half done, as everybody is told");
            assert!(in_order || died);
            assert!(!in_order || other_in_order, "told of what was in order");
            elements.leave();
        });
    }
}
