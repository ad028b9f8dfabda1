//! Connections between processes, and what needs a process of its own: peers that die, stop or lie, inherited ends,
//! limits of descriptors, leaks, signals.
//!
//! # Safety
//!
//! The one signal handler installed does nothing.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use alone::{Child, adopt, fork, open_fds, peer};
use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe, wait};
use crewkit::process::{Builder, Process, StartMethod};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);
const BRIEFLY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("a_message_whose_sender_dies_inside_is_not_seen", a_message_whose_sender_dies_inside_is_not_seen),
        ("a_receive_times_out_while_the_sender_is_stopped", a_receive_times_out_while_the_sender_is_stopped),
        ("a_send_times_out_while_the_receiver_is_stopped", a_send_times_out_while_the_receiver_is_stopped),
        ("a_flood_without_an_end_does_not_hold_up_a_timeout", a_flood_without_an_end_does_not_hold_up_a_timeout),
        ("the_end_is_seen_although_other_children_live", the_end_is_seen_although_other_children_live),
        ("an_inherited_end_is_foreign_until_it_is_adopted", an_inherited_end_is_foreign_until_it_is_adopted),
        ("a_forked_closure_owns_the_ends_that_it_captured", a_forked_closure_owns_the_ends_that_it_captured),
        ("a_forked_closure_owns_one_of_two_ends", a_forked_closure_owns_one_of_two_ends),
        ("ends_travel_in_arguments_and_results", ends_travel_in_arguments_and_results),
        ("an_end_in_an_argument_sees_the_other_closed", an_end_in_an_argument_sees_the_other_closed),
        (
            "a_moved_end_that_is_touched_in_a_fork_leaves_the_other_usable",
            a_moved_end_that_is_touched_in_a_fork_leaves_the_other_usable,
        ),
        ("an_end_sent_to_a_process_that_dies_is_closed", an_end_sent_to_a_process_that_dies_is_closed),
        ("no_descriptor_leaks", no_descriptor_leaks),
        ("descriptors_that_find_no_room_are_said_to_be_lost", descriptors_that_find_no_room_are_said_to_be_lost),
        ("without_descriptors_nothing_is_sent_or_moved", without_descriptors_nothing_is_sent_or_moved),
        ("a_storm_of_signals_disturbs_nobody", a_storm_of_signals_disturbs_nobody),
    ])
}

/// Stops the child, and waits until it has.
fn stop(child: &Child) {
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    let status = waitpid(child.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Waits until something of a message is here.
fn await_arrival<S, R>(end: &Connection<S, R>) {
    assert_eq!(wait(&[end], SOON).unwrap(), [0]);
}

fn a_message_whose_sender_dies_inside_is_not_seen() {
    let (near, child) = peer::<u8, Vec<u8>, _>(|far| {
        far.send(&b"whole".to_vec()).unwrap();
        far.send_bytes(&pattern(8 * MIB)).unwrap();
    });
    assert_eq!(near.recv_timeout(SOON).unwrap(), b"whole");
    await_arrival(&near);
    stop(&child);
    assert!(matches!(near.recv_bytes_timeout(BRIEFLY), Err(RecvError::Timeout)));
    child.kill();
    assert!(matches!(near.recv_bytes_timeout(SOON), Err(RecvError::Closed)));
    assert!(matches!(near.send(&1), Err(SendError::Closed)));
}

fn a_receive_times_out_while_the_sender_is_stopped() {
    let (near, child) = peer::<(), (), _>(|far| far.send_bytes(&pattern(8 * MIB)).unwrap());
    await_arrival(&near);
    stop(&child);
    for _ in 0..2 {
        let begin = Instant::now();
        assert!(near.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout());
        assert!(begin.elapsed() < 5 * SOON / 20);
        assert!(!near.poll(BRIEFLY));
    }
    kill(child.pid(), Signal::SIGCONT).unwrap();
    assert!(near.recv_bytes_timeout(SOON).unwrap() == pattern(8 * MIB));
    assert_eq!(child.exit_code(), 0);
    assert!(near.recv_bytes_timeout(SOON).unwrap_err().is_closed());
}

fn a_send_times_out_while_the_receiver_is_stopped() {
    let (near, child) = peer::<String, usize, _>(|far| {
        while let Ok(text) = far.recv() {
            far.send(&text.len()).unwrap();
        }
    });
    near.send(&"warm".into()).unwrap();
    assert_eq!(near.recv_timeout(SOON).unwrap(), 4);
    stop(&child);
    for _ in 0..2 {
        assert!(near.send_timeout(&"x".repeat(8 * MIB), BRIEFLY).unwrap_err().is_timeout());
    }
    kill(child.pid(), Signal::SIGCONT).unwrap();
    near.send_timeout(&"after".into(), SOON).unwrap();
    assert_eq!(near.recv_timeout(SOON).unwrap(), 5, "nothing of the abandoned messages is seen");
    near.close();
    assert_eq!(child.exit_code(), 0);
}

fn a_flood_without_an_end_does_not_hold_up_a_timeout() {
    let (near, child) = peer::<(), (), _>(|far| {
        // First chunks of messages of 1 GiB, none of which goes on.
        let mut chunk = vec![0; 16 + (64 << 10)];
        chunk[..4].copy_from_slice(&(64_u32 << 10).to_le_bytes());
        chunk[4..8].copy_from_slice(&[0b101, 0, 0xE3, 0xC7]);
        chunk[8..16].copy_from_slice(&(1_u64 << 30).to_le_bytes());
        let far = UnixDatagram::from(far.as_fd().try_clone_to_owned().unwrap());
        while far.send(&chunk).is_ok() {}
    });
    await_arrival(&near);
    let begin = Instant::now();
    for _ in 0..10 {
        assert!(near.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout());
        assert!(!near.poll(BRIEFLY));
    }
    assert!(begin.elapsed() < SOON);
    child.kill();
    assert!(near.recv_bytes_timeout(SOON).unwrap_err().is_closed());
}

fn the_end_is_seen_although_other_children_live() {
    let (near, child) = peer::<u8, u8, _>(|far| drop(far.recv()));
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.kill();
    assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
    assert!(cat.try_wait().unwrap().is_none(), "the other child must still live");
    drop(cat.stdin.take());
    assert!(cat.wait().unwrap().success());
}

fn an_inherited_end_is_foreign_until_it_is_adopted() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let (sending, receiving) = pipe::<u8, u8>().unwrap().0.split();
    let (mut halves, abroad) = pipe::<u8, u8>().map(|(home, abroad)| (Some(home.split()), abroad)).unwrap();
    let carrier = pipe::<Connection<u8, u8>, ()>().unwrap().0;
    let mut near = Some(near);
    let child = fork(|| {
        let near = near.take().unwrap();
        assert!(matches!(near.send(&1), Err(SendError::ForeignProcess)));
        assert!(matches!(near.send_bytes(b"1"), Err(SendError::ForeignProcess)));
        assert!(matches!(near.recv(), Err(RecvError::ForeignProcess)));
        assert!(matches!(near.recv_bytes(), Err(RecvError::ForeignProcess)));
        assert!(near.poll(SOON), "the answer is there at once");
        assert!(matches!(sending.send(&1), Err(SendError::ForeignProcess)));
        assert!(matches!(receiving.recv(), Err(RecvError::ForeignProcess)));
        let error = adopt(carrier).send(&near).unwrap_err();
        assert!(error.to_string().contains("forked from"), "{error}");
        drop(halves.take());
        adopt(near).send(&7).unwrap();
    });
    assert_eq!(far.recv_timeout(SOON).unwrap(), 7);
    assert_eq!(child.exit_code(), 0);
    // The child dropped the halves that it inherited. That must not close them here.
    let (sending, receiving) = halves.unwrap();
    abroad.send(&8).unwrap();
    assert_eq!(receiving.recv_timeout(SOON).unwrap(), 8);
    sending.send(&9).unwrap();
    assert_eq!(abroad.recv_timeout(SOON).unwrap(), 9);
}

fn a_forked_closure_owns_the_ends_that_it_captured() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let mut process = Process::fork(move || {
        let child = fork(|| assert!(matches!(far.send(&1), Err(SendError::ForeignProcess))));
        assert_eq!(child.exit_code(), 0, "a grandchild forked past crewkit owns nothing");
        assert!(!wait(&[&far], SOON).unwrap().is_empty());
        let mut sum = 0;
        while let Ok(number) = far.recv() {
            sum += number;
            far.send(&sum).unwrap();
        }
        sum
    })
    .unwrap();
    for (number, sum) in [(1, 1), (2, 3)] {
        near.send(&number).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), sum);
    }
    near.close();
    assert_eq!(process.join_timeout(SOON).unwrap(), Some(3), "it holds a copy of the other end, and must not");
}

fn a_forked_closure_owns_one_of_two_ends() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let process = Process::fork(|| {
        far.send(&1).unwrap();
        assert!(matches!(near.recv(), Err(RecvError::ForeignProcess)));
    });
    assert_eq!(near.recv_timeout(SOON).unwrap(), 1);
    process.unwrap().join().unwrap();
    far.send(&2).unwrap();
    assert_eq!(near.recv_timeout(SOON).unwrap(), 2, "this process's ends are untouched");
}

type End = Connection<u8, u8>;

fn ends_travel_in_arguments_and_results() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
        let (near, far) = pipe::<u8, u8>().unwrap();
        let pass_on = |(far, number): (End, u8)| {
            far.send(&number).unwrap();
            far
        };
        let builder = Builder::new().start_method(method).kill_on_drop(true);
        let mut process = builder.spawn(pass_on, (far, 3)).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), 3);
        let far = process.join_timeout(SOON).unwrap().unwrap();
        far.send(&4).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), 4);
        drop(far);
        assert!(near.recv_timeout(SOON).unwrap_err().is_closed(), "{method:?}");
    }
}

fn an_end_in_an_argument_sees_the_other_closed() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
        let (near, far) = pipe::<u8, u8>().unwrap();
        let builder = Builder::new().start_method(method).kill_on_drop(true);
        let drain = |far: End| std::iter::from_fn(|| far.recv().ok()).collect::<Vec<_>>();
        let mut process = builder.spawn(drain, far).unwrap();
        near.send(&1).unwrap();
        near.send(&2).unwrap();
        drop(near);
        assert_eq!(process.join_timeout(SOON).unwrap(), Some(vec![1, 2]), "{method:?}");
    }
    // Both ends in one argument, and a limit below the descriptors' numbers.
    let both = |(near, far): (End, End)| {
        near.send(&1).unwrap();
        let got = far.recv().unwrap();
        drop(near);
        assert!(far.recv().unwrap_err().is_closed());
        got
    };
    let builder = Builder::new().start_method(StartMethod::Fork).kill_on_drop(true).limit_open_files(4);
    let mut process = builder.spawn(both, pipe::<u8, u8>().unwrap()).unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), Some(1));
}

fn a_moved_end_that_is_touched_in_a_fork_leaves_the_other_usable() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let (carrier, harbour) = pipe::<End, ()>().unwrap();
    carrier.send(&far).unwrap();
    let far_again = harbour.recv().unwrap();
    let mut process = Process::fork(|| {
        assert!(matches!(far.send(&1), Err(SendError::Moved)));
        near.send(&2).unwrap();
    })
    .unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), Some(()));
    assert_eq!(far_again.recv_timeout(SOON).unwrap(), 2);
}

fn an_end_sent_to_a_process_that_dies_is_closed() {
    let (near, child) = peer::<Connection<u8, u8>, (), _>(|far| {
        let end = far.recv().unwrap();
        end.send(&end.recv().unwrap()).unwrap();
        let _forever = end.recv();
    });
    let (mine, other) = pipe::<u8, u8>().unwrap();
    near.send(&mine).unwrap();
    other.send(&5).unwrap();
    assert_eq!(other.recv_timeout(SOON).unwrap(), 5);
    assert!(matches!(mine.recv(), Err(RecvError::Moved)));
    child.kill();
    assert!(other.recv_timeout(SOON).unwrap_err().is_closed(), "although this process still has the moved end");
}

fn no_descriptor_leaks() {
    let before = open_fds();
    {
        type Cargo = (Vec<Fd<OwnedFd>>, String);
        let (near, far) = pipe::<Cargo, ()>().unwrap();
        let dup = || Fd(near.as_fd().try_clone_to_owned().unwrap());
        let cargo = |fds: usize, padding: usize| ((0..fds).map(|_| dup()).collect(), "x".repeat(padding));
        // Received; refused; timed out inside a message; in a message that is not decoded; never received.
        near.send(&cargo(253, 10)).unwrap();
        assert_eq!(far.recv().unwrap().0.len(), 253);
        assert!(near.send(&cargo(254, 10)).is_err());
        assert!(near.send_timeout(&cargo(20, 8 * MIB), BRIEFLY).is_err());
        assert!(far.recv_timeout(BRIEFLY).is_err());
        near.send(&cargo(20, 10)).unwrap();
        let wrong: Connection<(), Vec<(bool, String, Fd<OwnedFd>)>> =
            Connection::from(far.as_fd().try_clone_to_owned().unwrap());
        assert!(wrong.recv().is_err());
        near.send(&cargo(20, 10)).unwrap();

        // Moved, and not moved.
        let (carrier, harbour) = pipe::<Connection<u8, u8>, ()>().unwrap();
        let (one, other) = pipe::<u8, u8>().unwrap();
        carrier.send(&one).unwrap();
        drop(harbour.recv().unwrap());
        drop(harbour);
        assert!(carrier.send(&other).is_err());
    }
    assert_eq!(open_fds(), before);
}

/// Allows this process `extra` descriptors more than it has.
fn allow_fds(extra: usize) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let highest = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok())
        .max()
        .unwrap();
    // The numbers below must all be in use, so that "extra" is what it says.
    while open_fds() as u64 <= highest {
        let _stays_open = std::fs::File::open("/dev/null").unwrap().into_raw_fd();
    }
    let limit = (open_fds() + extra) as u64;
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
}

fn descriptors_that_find_no_room_are_said_to_be_lost() {
    type Cargo = Vec<Fd<OwnedFd>>;
    let (near, child) = peer::<Cargo, usize, _>(|far| {
        allow_fds(3);
        far.send(&0).unwrap();
        let expect_lost = || assert!(matches!(far.recv(), Err(RecvError::Truncated)));
        expect_lost();
        let fds = open_fds_within(3);
        assert_eq!(far.recv().unwrap().len(), 0);
        assert_eq!(far.recv().unwrap().len(), 3);
        expect_lost();
        assert_eq!(far.recv().unwrap().len(), 1);
        assert_eq!(open_fds_within(3), fds, "those that did arrive must be closed again");
        far.send(&1).unwrap();
    });
    assert_eq!(near.recv_timeout(SOON).unwrap(), 0);
    for count in [5, 0, 3, 253, 1] {
        let cargo: Cargo = (0..count).map(|_| Fd(near.as_fd().try_clone_to_owned().unwrap())).collect();
        near.send(&cargo).unwrap();
    }
    assert_eq!(near.recv_timeout(SOON).unwrap(), 1);
    assert_eq!(child.exit_code(), 0);
}

/// How many more descriptors this process can open, at most `most`.
fn open_fds_within(most: usize) -> usize {
    let opened: Vec<_> = (0..most).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    opened.len()
}

fn without_descriptors_nothing_is_sent_or_moved() {
    let (near, far) = pipe::<Connection<u8, u8>, ()>().unwrap();
    let (files, _files_far) = pipe::<Fd<std::fs::File>, ()>().unwrap();
    let (mine, other) = pipe::<u8, u8>().unwrap();
    let file = Fd(std::fs::File::open("/dev/null").unwrap());
    for extra in [0, 1] {
        allow_fds(extra);
        assert!(matches!(near.send(&mine), Err(SendError::Io(_))), "moving an end takes two descriptors");
        assert_eq!(files.send(&file).is_ok(), extra == 1);
        assert!(matches!(far.try_recv(), Err(RecvError::Timeout)));
        mine.send(&1).unwrap();
        assert_eq!(other.recv().unwrap(), 1);
        assert_eq!(open_fds_within(2), extra);
    }
    allow_fds(2);
    near.send(&mine).unwrap();
    far.recv().unwrap().send(&2).unwrap();
    assert_eq!(other.recv().unwrap(), 2);
}

extern "C" fn nothing(_: i32) {}

fn a_storm_of_signals_disturbs_nobody() {
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    install(Signal::SIGUSR1, &action);
    let target = nix::unistd::getpid();
    // Some ten thousand signals a second: without the pause this process would do little else than receive them.
    let storm = fork(move || {
        while kill(target, Signal::SIGUSR1).is_ok() {
            std::thread::sleep(Duration::from_micros(20));
        }
    });
    let (near, echo) = peer::<String, String, _>(|far| {
        while let Ok(text) = far.recv() {
            far.send(&text).unwrap();
        }
    });
    for round in 0..200 {
        let text = "x".repeat(round * 5000);
        near.send_timeout(&text, SOON).unwrap();
        assert!(near.recv_timeout(SOON).unwrap() == text);
        let (sent, received) = pipe::<Fd<OwnedFd>, ()>().unwrap();
        sent.send(&Fd(near.as_fd().try_clone_to_owned().unwrap())).unwrap();
        received.recv().unwrap();
    }
    let begin = Instant::now();
    assert!(near.recv_timeout(BRIEFLY).unwrap_err().is_timeout());
    assert!(begin.elapsed() >= BRIEFLY, "a signal must not end a wait early");
    storm.kill();
    near.close();
    assert_eq!(echo.exit_code(), 0);
}

#[expect(unsafe_code, reason = "installing a signal handler")]
fn install(signal: Signal, action: &SigAction) {
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, action) }.unwrap();
}
