//! A value in two copies, of which one counts: its shipped lines, on loom's types. A writer may die at any step.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/twofold.rs"]
mod twofold;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{AtomicU64, fence};
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::{explore, mortal::dies_before};
use primitive::AtomicU64;
use twofold::Twofold;

const BYTES: usize = 16;

struct Pair {
    twofold: Twofold,
    copies: Vec<AtomicU64>,
}

impl Pair {
    fn new() -> Arc<Self> {
        let copies = (0..Twofold::words(BYTES)).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { twofold: Twofold::new(), copies })
    }

    fn write(&self, number: u8) {
        self.twofold.write(&self.copies, &[number; BYTES]);
    }

    fn read(&self) -> u8 {
        let mut value = [0; BYTES];
        self.twofold.read(&self.copies, &mut value);
        assert!(value.iter().all(|&byte| byte == value[0]), "half a write: {value:?}");
        value[0]
    }
}

// The writer is the thread that a model runs first: of the accesses before a store, loom looks at the last one only, and a
// writer's own look at the version would hide that of a reader before it.

fn reader(pair: &Arc<Pair>) -> thread::JoinHandle<(u8, u8)> {
    let pair = Arc::clone(pair);
    thread::spawn(move || (pair.read(), pair.read()))
}

#[test]
fn no_reader_sees_half_a_write_or_goes_back() {
    explore("twofold: (write, write) × (read, read)", || {
        let pair = Pair::new();
        let reader = reader(&pair);
        (1..3).for_each(|number| pair.write(number));
        let (first, second) = reader.join().unwrap();
        assert!(first <= second && second <= 2);
        assert_eq!(pair.read(), 2);
    });
}

#[test]
fn two_readers_see_whole_values() {
    explore("twofold: write × read × read", || {
        let pair = Pair::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let pair = Arc::clone(&pair);
                thread::spawn(move || pair.read())
            })
            .collect();
        pair.write(1);
        others.into_iter().for_each(|other| assert!(other.join().unwrap() <= 1));
    });
}

/// The steps of a write: a load, a fence, two words, the version.
const STEPS: usize = 5;

#[test]
fn a_writer_that_dies_has_written_all_or_nothing_and_its_successor_goes_on() {
    for last in 0..=STEPS {
        explore(&format!("twofold: (write that dies before step {last}, write) × (read, read)"), move || {
            let pair = Pair::new();
            let reader = reader(&pair);
            let died = dies_before(last, || pair.write(1));
            assert_eq!(died, last < STEPS, "a write has as many steps");
            pair.write(2);
            let (first, second) = reader.join().unwrap();
            assert!(first <= second && second <= 2 && !(died && (first == 1 || second == 1)));
            assert_eq!(pair.read(), 2);
        });
    }
}
