//! Registrations: which descriptors answer what, how often, how many, until when.

use std::io::{self, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::{full_pipe, now, poll, poll_until, readable, soon};
use crate::reactor::{Event, Interest, Mode, Poller, Token};
use crate::sys::clock::Deadline;
use crate::sys::error::errno;
use crate::sys::process::PidFd;

const EMFILE: i32 = 24;
/// Set in the environment of a test's child process.
const CHILD: &str = "CREWKIT_REACTOR_TEST_CHILD";

fn writable(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: false, writable: true, hung_up: false }
}

fn hung_up(token: usize) -> Event {
    Event::Ready { token: Token(token), readable: false, writable: false, hung_up: true }
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
    let name = format!("reactor::tests::descriptors::{test}");
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
    poller.registrar().reregister(reader.as_fd(), Token(2), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(2)]);
    assert_eq!(poll(&mut poller, now()), []);
}

#[test]
fn interest_selects_the_direction() {
    let mut poller = Poller::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    poller.register(ours.as_fd(), Token(1), Interest::READ, Mode::Level).unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    poller.registrar().reregister(ours.as_fd(), Token(1), Interest::WRITE, Mode::Level).unwrap();
    assert_eq!(poll(&mut poller, soon()), [writable(1)]);
    theirs.write_all(b"x").unwrap();
    poller.registrar().reregister(ours.as_fd(), Token(1), Interest::READ | Interest::WRITE, Mode::Level).unwrap();
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
fn a_pidfd_is_readable_when_its_process_has_ended() {
    let mut poller = Poller::new().unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pidfd = PidFd::open(child.id()).unwrap();
    poller.register(pidfd.as_fd(), Token(1), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, now()), []);
    drop(child.stdin.take());
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    assert!(child.try_wait().unwrap().is_some_and(|status| status.success()));
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
