//! Tests of the poller as a whole, on real descriptors.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Event, Interest, Mode, Poller, Token};
use crate::sys::clock::Deadline;
use crate::sys::error::errno;

const EMFILE: i32 = 24;
/// Set in the environment of a test's child process.
const CHILD: &str = "CREWKIT_REACTOR_TEST_CHILD";

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

fn readable(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: true, writable: false, hung_up: false }
}

fn writable(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: false, writable: true, hung_up: false }
}

fn hung_up(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: false, writable: false, hung_up: true }
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

/// A pipe with a byte in it.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    (reader, writer)
}

fn take(reader: &mut PipeReader) {
    reader.read_exact(&mut [0]).unwrap();
}

/// Runs `body` in a process of its own, whose limit of open files is `limit` (an argument of the shell's `ulimit -n`).
fn with_open_files(test: &str, limit: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        body();
        println!("body ran");
        return;
    }
    let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
    let name = format!("reactor::tests::{test}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("body ran"), "{}\n{out}\n{err}", output.status);
}

#[test]
fn nothing_registered_is_a_plain_sleep() {
    let mut poller = Poller::new().unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    let deadline = Deadline::after(Duration::from_micros(2_300));
    assert_eq!(poll(&mut poller, deadline), []);
    assert!(deadline.is_expired());
}

#[test]
fn a_level_registration_answers_for_as_long_as_the_condition_holds() {
    let mut poller = Poller::new().unwrap();
    let (mut reader, writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    assert_eq!(poll(&mut poller, Deadline::NEVER), [readable(1)]);
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    take(&mut reader);
    assert_eq!(poll(&mut poller, now()), []);
    drop(writer);
    assert_eq!(poll(&mut poller, soon()), [hung_up(1)]);
}

#[test]
fn a_one_shot_registration_answers_once_per_arming() {
    let mut poller = Poller::new().unwrap();
    let (reader, _writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    assert_eq!(poll(&mut poller, now()), []);
    poller.reregister(reader.as_fd(), Token(2), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(2)]);
    assert_eq!(poll(&mut poller, now()), []);
}

#[test]
fn interest_selects_the_direction() {
    let mut poller = Poller::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    poller.register(ours.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    poller.reregister(ours.as_fd(), Token(1), Interest::WRITE, Mode::Level).unwrap();
    assert_eq!(poll(&mut poller, soon()), [writable(1)]);
    theirs.write_all(b"x").unwrap();
    poller.reregister(ours.as_fd(), Token(1), Interest::READ | Interest::WRITE, Mode::Level).unwrap();
    let both = Event::Ready { token: Token(1), readable: true, writable: true, hung_up: false };
    assert_eq!(poll(&mut poller, soon()), [both]);
}

#[test]
fn end_of_file_is_readable_and_a_dead_peer_is_hung_up() {
    let mut poller = Poller::new().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    poller.register(ours.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    drop(theirs);
    let gone = Event::Ready { token: Token(1), readable: true, writable: false, hung_up: true };
    poll_until(&mut poller, &[gone]);
}

#[test]
fn no_event_of_a_deregistered_descriptor_comes_later() {
    let mut poller = Poller::new().unwrap();
    let (reader, _writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    poller.deregister(reader.as_fd()).unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    assert!(poller.deregister(reader.as_fd()).is_err());
}

#[test]
fn a_token_used_again_within_a_batch_may_be_met_without_blocking() {
    let mut poller = Poller::new().unwrap();
    let (first, _keep) = full_pipe();
    let (second, _keep_too) = full_pipe();
    poller.register(first.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    poller.register(second.as_fd(), Token(2), Interest::READ, Mode::Level).unwrap();
    let batch = poll(&mut poller, soon());
    assert_eq!(batch.len(), 2, "{batch:?}");
    // While the owner handles the event of `first`, it replaces `second` by a quiet descriptor under the same token.
    poller.deregister(second.as_fd()).unwrap();
    let (quiet, _peer) = UnixStream::pair().unwrap();
    quiet.set_nonblocking(true).unwrap();
    poller.register(quiet.as_fd(), Token(2), Interest::READ, Mode::Level).unwrap();
    assert!(batch.contains(&readable(2)), "the stale event stands in the batch");
    assert_eq!((&quiet).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(poll(&mut poller, soon()), [readable(1)], "the next batch knows nothing of `second`");
}

#[test]
fn a_closed_descriptor_leaves_with_its_open_file() {
    let mut poller = Poller::new().unwrap();
    let (reader, _writer) = full_pipe();
    let copy = reader.try_clone().unwrap();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    drop(reader);
    assert_eq!(poll(&mut poller, soon()), [readable(1)], "the open file lives on in the copy");
    drop(copy);
    poll_until(&mut poller, &[]);
}

#[test]
fn the_wakers_token_is_taken() {
    let poller = Poller::new().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    let refused = poller.register(reader.as_fd(), Token(usize::MAX), Interest::READ, Mode::Level).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    poller.register(reader.as_fd(), Token(usize::MAX - 1), Interest::READ, Mode::Level).unwrap();
}

#[test]
fn wake_ups_before_a_poll_are_one() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| waker.clone().wake()));
        }
    });
    assert_eq!(poll(&mut poller, soon()), [Event::Woken]);
    assert_eq!(poll(&mut poller, now()), []);
    waker.wake();
    assert_eq!(poll(&mut poller, soon()), [Event::Woken]);
}

#[test]
fn a_wake_up_ends_a_poll_that_sleeps() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    let (tell, told) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        poll(&mut poller, soon())
    });
    wait_until_asleep(&told.recv().unwrap());
    waker.wake();
    assert_eq!(sleeper.join().unwrap(), [Event::Woken]);
    waker.wake(); // nobody is there any more
}

/// Waits until the thread at `task`, relative to /proc, sleeps in the kernel.
fn wait_until_asleep(task: &Path) {
    let stat_file = Path::new("/proc").join(task).join("stat");
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let stat = std::fs::read_to_string(&stat_file).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        if fields.starts_with('S') {
            return;
        }
        assert!(Instant::now() < give_up, "{stat}");
        thread::yield_now();
    }
}

#[test]
fn no_wake_up_is_lost_under_contention() {
    const ROUNDS: usize = 2_000;
    let mut poller = Poller::new().unwrap();
    let (waker, flag) = (poller.waker(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                // What is published before `wake` is seen after `Woken`; the owner's answer asks for the next round.
                flag.store(true, Ordering::Relaxed);
                waker.wake();
                let give_up = Instant::now() + Duration::from_secs(60);
                while flag.load(Ordering::Acquire) {
                    assert!(Instant::now() < give_up, "the owner is gone");
                    thread::yield_now();
                }
            }
        });
        let mut seen = 0;
        while seen < ROUNDS {
            assert_eq!(poll(&mut poller, soon()), [Event::Woken], "after {seen} rounds");
            seen += usize::from(flag.swap(false, Ordering::Release));
        }
    });
}

#[test]
fn another_thread_re_arms_a_descriptor_without_waking_the_owner() {
    let mut poller = Poller::new().unwrap();
    let registrar = poller.registrar();
    let (reader, _writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    let (tell, told) = mpsc::channel::<PathBuf>();
    thread::scope(|scope| {
        let reader = &reader;
        scope.spawn(move || {
            wait_until_asleep(&told.recv().unwrap());
            registrar.reregister(reader.as_fd(), Token(2), Interest::READ, Mode::OneShot).unwrap();
        });
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        assert_eq!(poll(&mut poller, soon()), [readable(2)]);
    });
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
    let (first, second) = (poller.set_timer(now(), Token(1)), poller.set_timer(after_ms(20), Token(2)));
    assert_eq!(poll(&mut poller, soon()), [Event::Timer { token: Token(1), id: first }]);
    assert!(poller.cancel_timer(second), "it is still set");
    assert_eq!(poll(&mut poller, after_ms(25)), []);
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

#[test]
fn ten_thousand_registrations() {
    with_open_files("ten_thousand_registrations", "10100", || {
        const COUNT: usize = 10_000;
        let mut poller = Poller::new().unwrap();
        let (mut reader, mut writer) = io::pipe().unwrap();
        let copies: Vec<_> = (0..COUNT).map(|_| reader.try_clone().unwrap()).collect();
        for (token, copy) in copies.iter().enumerate() {
            poller.register(copy.as_fd(), Token(token), Interest::READ, Mode::OneShot).unwrap();
        }
        assert_eq!(poll(&mut poller, now()), []);
        writer.write_all(b"x").unwrap();
        let mut seen = vec![0; COUNT];
        let mut events = Vec::new();
        while poller.poll(&mut events, now()).is_ok() && !events.is_empty() {
            for event in &events {
                let Event::Ready { token, readable: true, .. } = *event else { panic!("{event:?}") };
                seen[token.0] += 1;
            }
        }
        assert!(seen.iter().all(|&times| times == 1), "each one-shot registration answers exactly once");
        take(&mut reader);
        copies.iter().for_each(|copy| poller.deregister(copy.as_fd()).unwrap());
    });
}

#[test]
fn too_many_open_files_is_an_error_and_passes() {
    with_open_files("too_many_open_files_is_an_error_and_passes", "64", || {
        let mut pollers = Vec::new();
        let error = loop {
            match Poller::new() {
                Ok(poller) => pollers.push(poller),
                Err(error) => break error,
            }
            assert!(pollers.len() < 64);
        };
        assert_eq!(errno(&error), Some(EMFILE), "{error}");
        pollers.pop();
        assert_eq!(poll(&mut Poller::new().unwrap(), now()), []);
    });
}
