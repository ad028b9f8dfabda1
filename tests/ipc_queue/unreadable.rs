//! Items that cannot be read, or whose readers panic: they are done with, and take no others with them.

use crewkit::ipc::{GetError, Queue};
use crewkit::queue::Shutdown;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::BRIEFLY;

/// A number, and what becomes of whoever reads it.
struct Touchy(u8);

const MISREAD: u8 = 100;
const EXPLOSIVE: u8 = 200;

thread_local! {
    static IS_TOUCHY: Cell<bool> = const { Cell::new(true) };
}

impl serde::Serialize for Touchy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Touchy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            MISREAD => Err(serde::de::Error::custom("misread")),
            EXPLOSIVE if IS_TOUCHY.get() => std::panic::resume_unwind(Box::new("exploded")),
            number => Ok(Self(number)),
        }
    }
}

#[test]
fn iterators_tell_of_what_cannot_be_read_and_end_once() {
    let queue = Queue::unbounded().unwrap();
    let seen = |item: Result<Touchy, GetError>| item.ok().map(|item| item.0);
    queue.put_many([1, MISREAD, 2].map(Touchy)).unwrap();
    assert_eq!(queue.try_iter().map(seen).collect::<Vec<_>>(), [Some(1), None, Some(2)]);
    queue.put_many([3, MISREAD, 4, 5].map(Touchy)).unwrap();
    let lease = queue.get_leased().unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    let mut iter = queue.iter();
    assert_eq!(iter.by_ref().map(seen).collect::<Vec<_>>(), [None, Some(4), Some(5)]);
    drop(lease);
    assert!(iter.next().is_none(), "although the lease came back");
    assert_eq!(queue.iter().map(seen).collect::<Vec<_>>(), [Some(3)]);
}

#[test]
fn an_item_that_cannot_be_read_is_an_error_and_done() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([1, MISREAD, MISREAD, 2].map(Touchy)).unwrap();
    assert_eq!(queue.get().unwrap().0, 1);
    assert!(matches!(queue.get(), Err(GetError::Decode { why, .. }) if why.contains("Touchy")));
    assert!(matches!(queue.get_leased(), Err(GetError::Decode { .. })));
    assert_eq!(queue.unfinished().unwrap(), 2, "what was read, and what is there");
    assert_eq!(queue.get().unwrap().0, 2);
    (0..2).for_each(|_| queue.task_done().unwrap());
    assert!(queue.join_timeout(Duration::ZERO).unwrap());
}

#[test]
fn a_batch_with_an_item_that_cannot_be_read_is_there_but_for_that() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([1, MISREAD, 2, MISREAD, 3].map(Touchy)).unwrap();
    let Err(GetError::Decode { why, others }) = queue.get_many(9) else { panic!() };
    assert!(why.contains("Touchy"), "{why}");
    assert_eq!(others.iter().map(|item| item.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(queue.unfinished().unwrap(), 3);
    queue.put_many([4, EXPLOSIVE, 5].map(Touchy)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| queue.get_many(9).map(drop))).is_err());
    (0..3).for_each(|_| queue.task_done().unwrap());
    assert!(queue.join_timeout(Duration::ZERO).unwrap(), "nobody has them, nobody reports them");
}

#[test]
fn an_item_whose_reader_panics_is_done_and_comes_back_from_a_lease() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([EXPLOSIVE, EXPLOSIVE].map(Touchy)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| queue.get_leased())).is_err());
    assert_eq!((queue.len(), queue.unfinished().unwrap()), (2, 2));
    assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
    assert_eq!((queue.len(), queue.unfinished().unwrap()), (1, 1));
    assert!(catch_unwind(AssertUnwindSafe(|| queue.get_leased())).is_err());
    IS_TOUCHY.set(false);
    let lease = queue.get_leased_timeout(BRIEFLY).unwrap();
    assert_eq!((lease.0, lease.attempt()), (EXPLOSIVE, 2));
    lease.ack().unwrap();
    queue.join().unwrap();
}
