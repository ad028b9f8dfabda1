//! Tests of the poller as a whole, on real descriptors, and what they share.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{Event, Poller, Token};
use crate::sys::clock::Deadline;

mod descriptors;
#[cfg(feature = "server")]
mod signals;
mod threads;
mod timing;

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// For what must happen; so long that only a fault gets there.
fn soon() -> Deadline {
    after_ms(30_000)
}

fn after_ms(ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(ms))
}

fn poll(poller: &mut Poller, deadline: Deadline) -> Vec<Event> {
    let mut events = vec![Event::Woken; 3]; // left over from an earlier round
    poller.poll(&mut events, deadline).unwrap();
    events
}

/// Polls until `events` is what comes. A child that another test starts at this moment holds copies of every
/// descriptor between its fork and its exec, so what follows from closing one follows a moment later.
fn poll_until(poller: &mut Poller, events: &[Event]) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = poll(poller, now());
        if seen == events {
            return;
        }
        assert!(Instant::now() < give_up, "{seen:?} instead of {events:?}");
        thread::yield_now();
    }
}

fn readable(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: true, writable: false, hung_up: false }
}

/// A pipe with a byte in it.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    (reader, writer)
}
