//! What somebody writes into a queue's words that no user of it writes.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

use super::super::{Object, Type};
use super::*;
use crate::sys::clock::Deadline;
use std::time::Duration;

const LENGTH: u32 = 64;
const SOON: Duration = Duration::from_secs(30);

struct Here(Object<Queue>);

impl Here {
    /// Holds as many records of a word each.
    fn with(count: usize) -> Self {
        let here = Self(Object::create(Type::of::<u64>(), LENGTH as usize / size_of::<u64>()).unwrap());
        here.0.begin(u64::MAX, LENGTH);
        let seat = here.0.sit_down(&here.bytes(), Life::current().unwrap(), Deadline::NEVER).unwrap();
        assert_eq!(seat, Some(1));
        (0..count).for_each(|_| assert!(here.put().is_ok()));
        here
    }

    fn bytes(&self) -> super::super::ring::Raw<'_> {
        super::super::ring::Raw::new(self.0.rest()).unwrap()
    }

    fn caller() -> Caller {
        Caller { seat: 1, life: Life::current().unwrap() }
    }

    fn put(&self) -> Result<(), (usize, Failed)> {
        self.0.put(&self.bytes(), &[&[0; 8]], Deadline::after(SOON))
    }

    fn take(&self, way: Way) -> Result<Taken, Failed> {
        let mut taken = None;
        let each = |one| taken = Some(one);
        self.0.try_take(&self.bytes(), Self::caller(), (way, 1), &mut Vec::new(), each, Deadline::after(SOON))?;
        taken.ok_or(Failed::NotNow)
    }
}

#[test]
fn numbers_that_are_wrong_are_no_panic() {
    let numbers = |queue: &Queue| {
        queue.head.0.done.store(u32::MAX, Ordering::Relaxed);
        queue.head.0.returned.store(u32::MAX, Ordering::Relaxed);
    };
    for ends in [true, false] {
        let here = Here::with(2);
        let leased = here.take(Way::OnALease).unwrap();
        let _behind = here.take(Way::OnALease).unwrap();
        numbers(&here.0);
        here.0.end_lease(&here.bytes(), 1, leased.at, ends, Deadline::NEVER).unwrap();
    }
    let here = Here::with(2);
    numbers(&here.0);
    here.0.clear(&here.bytes(), Deadline::NEVER).unwrap();
    for _ in 0..2 {
        here.0.roster.sit_down(Life::current().unwrap(), i64::MAX.cast_unsigned()).unwrap();
    }
    here.0.roster.seat(1).word.store(i64::MAX.cast_unsigned(), Ordering::Relaxed);
    assert_eq!(here.0.unfinished(&here.bytes(), Deadline::NEVER).unwrap(), u64::MAX);
}

#[test]
fn who_comes_to_a_table_full_of_the_dead_is_told_that_their_leases_cannot_be_read() {
    let here = Here::with(2);
    // Somebody else had this number before.
    let dead = Life::from_parts(std::process::id(), 1);
    while here.0.roster.sit_down(dead, 0).is_some() {}
    let taken = here.take(Way::OnALease).unwrap();
    here.bytes().write_word(Index::from_word(taken.at).position(), u64::MAX);
    let deadline = || Deadline::after(SOON);
    assert!(matches!(here.0.reap(&here.bytes(), Here::caller(), deadline()), Err(Failed::Corrupt(_))));
    let newcomer = here.0.sit_down(&here.bytes(), Life::current().unwrap(), deadline());
    assert!(matches!(newcomer, Err(Failed::Corrupt(_))), "{newcomer:?}");
}

#[test]
fn a_head_that_is_none_is_an_error_at_once_for_who_waits_for_room() {
    for away in [u32::MAX << 3, 1 << 31, LENGTH + 8] {
        let here = Here::with(4);
        let tail = Index::from_word(here.0.tail.0.load(Ordering::Relaxed));
        let wrong = u64::from(tail.count()) << 32 | u64::from(tail.position().wrapping_sub(away));
        here.0.head.0.head.store(wrong, Ordering::Relaxed);
        assert!(here.0.has_room(&here.bytes(), 8), "it is to be looked at");
        assert!(matches!(here.put(), Err((0, Failed::Corrupt(_)))));
    }
}
