//! Deadlines and timers on the real clock.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{after_ms, full_pipe, now, poll, readable, soon};
use crate::reactor::{Event, Interest, Mode, Poller, Token};
use crate::sys::clock::Deadline;

#[test]
fn nothing_registered_is_a_plain_sleep() {
    let mut poller = Poller::new().unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    let deadline = Deadline::after(Duration::from_micros(2_300));
    assert_eq!(poll(&mut poller, deadline), []);
    assert!(deadline.is_expired());
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let mut poller = Poller::new().unwrap();
    let mut wanted: Vec<_> = (0..40_u64)
        .map(|n| {
            let at = Deadline::after(Duration::from_micros(n * 7_919 % 23_000));
            let token = Token(usize::try_from(n).unwrap());
            (at.instant().unwrap(), poller.set_timer(at, token), token)
        })
        .collect();
    wanted.sort_by_key(|&(at, ..)| at);
    let mut wanted = wanted.into_iter().peekable();
    while wanted.peek().is_some() {
        let batch = poll(&mut poller, soon());
        assert!(!batch.is_empty());
        for event in batch {
            let (at, id, token) = wanted.next().unwrap();
            assert_eq!(event, Event::Timer { token, id });
            assert!(Instant::now() >= at, "fired early");
        }
    }
    assert_eq!(poll(&mut poller, now()), []);
}

#[test]
fn a_poll_ends_at_the_earlier_of_its_deadline_and_the_first_timer() {
    let mut poller = Poller::new().unwrap();
    let far = poller.set_timer(after_ms(600_000), Token(1));
    assert_eq!(poll(&mut poller, after_ms(3)), []);
    let soon = poller.set_timer(after_ms(3), Token(2));
    assert_eq!(poll(&mut poller, after_ms(600_000)), [Event::Timer { token: Token(2), id: soon }]);
    assert!(poller.cancel_timer(far));
}

#[test]
fn a_timer_cancelled_in_the_round_of_another_does_not_fire() {
    let mut poller = Poller::new().unwrap();
    // A busy machine may let a short delay pass before the first poll; then a longer one is tried.
    for delay in [10, 100, 1_000, 10_000] {
        let (first, late) = (poller.set_timer(now(), Token(1)), after_ms(delay));
        let second = poller.set_timer(late, Token(2));
        let batch = poll(&mut poller, soon());
        assert_eq!(batch[0], Event::Timer { token: Token(1), id: first });
        if batch.len() == 1 {
            assert!(poller.cancel_timer(second), "it is still set");
            assert_eq!(poll(&mut poller, late), []);
            return;
        }
    }
    panic!("ten seconds passed between two lines");
}

#[test]
fn a_timer_of_the_same_batch_says_that_it_cannot_be_cancelled() {
    let mut poller = Poller::new().unwrap();
    let at = now();
    let (first, second) = (poller.set_timer(at, Token(1)), poller.set_timer(at, Token(2)));
    let batch = poll(&mut poller, soon());
    let timer = |token, id| Event::Timer { token: Token(token), id };
    assert_eq!(batch, [timer(1, first), timer(2, second)]);
    assert!(!poller.cancel_timer(second), "its event is in the batch");
    let successor = poller.set_timer(at, Token(2));
    assert_ne!(successor, second, "the identity tells the stale event from the new one");
    assert_eq!(poll(&mut poller, soon()), [timer(2, successor)]);
}

#[test]
fn data_that_came_in_time_is_seen_before_its_timeout() {
    let mut poller = Poller::new().unwrap();
    let (reader, _writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    let id = poller.set_timer(now(), Token(1));
    assert_eq!(poll(&mut poller, soon()), [readable(1), Event::Timer { token: Token(1), id }]);
}
