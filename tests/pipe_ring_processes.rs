//! Connections that use rings, between processes: peers that die, stop or lie, inherited ends, limits of descriptors, leaks,
//! time on the processor.
//!
//! # Safety
//!
//! The two unsafe calls are prctl(2)'s, to which only integers are given and a filter that is whole.

#![expect(unsafe_code, reason = "a sandbox for a test")]
#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;
#[path = "alone/limits.rs"]
mod limits;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alone::{Child, open_fds, peer};
use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe, wait};
use crewkit::process::Process;
use limits::allow_fds;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
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
        ("whoever_saw_the_end_sends_nothing_more", whoever_saw_the_end_sends_nothing_more),
        ("a_sender_that_writes_anything_into_the_ring", a_sender_that_writes_anything_into_the_ring),
        ("a_receiver_that_writes_anything_into_the_ring", a_receiver_that_writes_anything_into_the_ring),
        ("a_forked_closure_goes_on_with_the_rings", a_forked_closure_goes_on_with_the_rings),
        ("halves_that_a_closure_captured_go_on_in_it", halves_that_a_closure_captured_go_on_in_it),
        (
            "where_nobody_can_be_sure_to_be_woken_there_is_no_ring",
            where_nobody_can_be_sure_to_be_woken_there_is_no_ring,
        ),
        ("descriptors_that_find_no_room_are_said_to_be_lost", descriptors_that_find_no_room_are_said_to_be_lost),
        ("without_descriptors_there_is_no_ring", without_descriptors_there_is_no_ring),
        ("no_descriptor_leaks", no_descriptor_leaks),
        ("whoever_waits_sleeps", whoever_waits_sleeps),
    ])
}

/// So much each way that both ends use rings.
const WARM: usize = 40;

fn warm_up<S, R>(end: &Connection<S, R>) {
    for _ in 0..WARM {
        end.send_bytes(b"warm").unwrap();
        assert_eq!(end.recv_bytes_timeout(SOON).unwrap(), b"warm");
    }
    assert!(uses_rings(end), "{end:?}");
}

fn echo_warmth<S, R>(end: &Connection<S, R>) {
    for _ in 0..WARM {
        end.send_bytes(&end.recv_bytes().unwrap()).unwrap();
    }
}

fn uses_rings<S, R>(end: &Connection<S, R>) -> bool {
    format!("{end:?}").contains("sends by a ring, receives by a ring")
}

/// A child that has the other end; both use rings.
fn ringed<S, R>(body: impl FnOnce(Connection<R, S>)) -> (Connection<S, R>, Child) {
    let (near, child) = peer(|far| {
        echo_warmth(&far);
        assert_eq!(far.recv_bytes().unwrap(), b"go");
        body(far);
    });
    warm_up(&near);
    near.send_bytes(b"go").unwrap();
    (near, child)
}

/// Both ends, here.
fn ringed_here<S, R>() -> (Connection<S, R>, Connection<R, S>) {
    let (near, far) = pipe().unwrap();
    for _ in 0..WARM {
        near.send_bytes(b"warm").unwrap();
        far.send_bytes(&far.recv_bytes().unwrap()).unwrap();
        near.recv_bytes().unwrap();
    }
    assert!(uses_rings(&near) && uses_rings(&far));
    (near, far)
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

fn a_message_whose_sender_dies_inside_is_not_seen() {
    let (near, child) = ringed::<u8, Vec<u8>>(|far| {
        far.send(&b"whole".to_vec()).unwrap();
        far.send_bytes(&pattern(8 * MIB)).unwrap();
    });
    assert_eq!(near.recv_timeout(SOON).unwrap(), b"whole");
    assert_eq!(wait(&[&near], SOON).unwrap(), [0]);
    stop(&child);
    assert!(matches!(near.recv_bytes_timeout(BRIEFLY), Err(RecvError::Timeout)));
    child.kill();
    assert!(matches!(near.recv_bytes_timeout(SOON), Err(RecvError::Closed)));
    assert!(matches!(near.send(&1), Err(SendError::Closed)));
}

fn a_receive_times_out_while_the_sender_is_stopped() {
    let (near, child) = ringed::<(), ()>(|far| far.send_bytes(&pattern(8 * MIB)).unwrap());
    assert_eq!(wait(&[&near], SOON).unwrap(), [0]);
    stop(&child);
    for _ in 0..2 {
        let begin = Instant::now();
        assert!(near.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout());
        assert!(begin.elapsed() < SOON / 4);
        assert!(!near.poll(BRIEFLY));
        assert!(wait(&[&near], BRIEFLY).unwrap().is_empty());
    }
    kill(child.pid(), Signal::SIGCONT).unwrap();
    assert!(near.recv_bytes_timeout(SOON).unwrap() == pattern(8 * MIB));
    assert_eq!(child.exit_code(), 0);
    assert!(near.recv_bytes_timeout(SOON).unwrap_err().is_closed());
}

fn a_send_times_out_while_the_receiver_is_stopped() {
    let (near, child) = ringed::<String, usize>(|far| {
        while let Ok(text) = far.recv() {
            far.send(&text.len()).unwrap();
        }
    });
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

fn whoever_saw_the_end_sends_nothing_more() {
    for _ in 0..100 {
        let (near, child) = ringed::<u8, u8>(|far| drop(far.recv()));
        // It has just looked whether anybody is there, and the next look is not due.
        near.send(&1).unwrap();
        assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
        assert!(near.send(&2).unwrap_err().is_closed());
        drop(child);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }
}

/// Writes anything anywhere into the rings that this process has mapped: mostly where their words are.
fn scribble(random: &mut Random) {
    let memory = File::options().write(true).open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rings: Vec<_> = maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("memfd:")).collect();
    assert_eq!(rings.len(), 2, "{maps}");
    for _ in 0..=random.below(8) {
        let ring = rings[usize::from(random.below(2) == 0)];
        let (begin, rest) = ring.split_once('-').unwrap();
        let address = |hex| u64::from_str_radix(hex, 16).unwrap();
        let (begin, end) = (address(begin), address(rest.split(' ').next().unwrap()));
        let within = if random.below(4) == 0 { end - begin } else { 1024 };
        let word = match random.below(3) {
            0 => random.below(u64::MAX),
            1 => random.below(1 << 12) & !7,
            _ => random.below(16) << 32 | random.below(1 << 10),
        };
        memory.write_all_at(&word.to_ne_bytes(), begin + (random.below(within) & !7)).unwrap();
    }
}

fn a_sender_that_writes_anything_into_the_ring() {
    let (mut refused, mut received) = (0, 0);
    for seed in 1..=200 {
        let (near, child) = ringed::<(), (u32, String)>(|far| {
            let mut random = Random(seed << 32 | 0x9E37_79B9);
            for number in 0..50 {
                let _sent = far.send_timeout(&(number, "x".repeat(100)), Duration::from_millis(5));
                if number >= 25 {
                    scribble(&mut random);
                }
            }
        });
        // Half of the time they are at it together. Otherwise who reads finds the same in each run.
        let is_counted = seed % 2 == 0;
        let mut child = Some(child);
        let mut end = || child.take().map_or(0, Child::exit_code);
        if is_counted {
            assert_eq!(end(), 0);
        }
        loop {
            match near.recv_timeout(SOON) {
                Ok((_, text)) => received += usize::from(is_counted && text.len() <= 1 << 20),
                Err(RecvError::Closed) => break,
                // It is kept for the other call.
                Err(RecvError::WrongKind { .. }) => drop(near.recv_bytes().unwrap()),
                Err(RecvError::Timeout) => panic!("the sender has ended, or is believed for ever"),
                Err(_) => refused += usize::from(is_counted),
            }
        }
        assert_eq!(end(), 0);
    }
    assert!(refused > 200 && received > 500, "{refused} refused, {received} received");
}

fn a_receiver_that_writes_anything_into_the_ring() {
    let mut sent = 0;
    for seed in 1..=150 {
        let (near, child) = ringed::<(u32, String), ()>(|far| {
            let mut random = Random(seed << 32 | 0x9E37_79B9);
            // So much is sent before anybody lies; the last of it may be refused, although it was received.
            (0..5).for_each(|_| drop(far.recv_timeout(SOON).unwrap()));
            for _ in 0..15 {
                scribble(&mut random);
                let _received = far.recv_timeout(Duration::from_millis(5));
            }
        });
        while near.send_timeout(&(sent, "x".repeat(3000)), SOON).is_ok() {
            sent += 1;
        }
        assert_eq!(child.exit_code(), 0);
    }
    assert!(sent >= 150 * 4, "{sent} sent");
}

fn a_forked_closure_goes_on_with_the_rings() {
    let (near, far) = ringed_here::<u32, u32>();
    near.send(&1).unwrap();
    let mut process = Process::fork(move || {
        let mut sum = 0;
        while let Ok(number) = far.recv() {
            sum += number;
            far.send(&sum).unwrap();
        }
        sum
    })
    .unwrap();
    assert_eq!(near.recv_timeout(SOON).unwrap(), 1);
    for number in 2..100 {
        near.send(&number).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), number * (number + 1) / 2);
    }
    near.close();
    assert_eq!(process.join_timeout(SOON).unwrap(), Some(99 * 50));
}

fn halves_that_a_closure_captured_go_on_in_it() {
    for (near, far) in [pipe::<u32, u32>().unwrap(), ringed_here()] {
        let (sending, receiving) = far.split();
        let mut process = Process::fork(move || {
            while let Ok(number) = receiving.recv() {
                sending.send(&(number + 1)).unwrap();
            }
        })
        .unwrap();
        for number in 0..100 {
            near.send_timeout(&number, SOON).unwrap();
            assert_eq!(near.recv_timeout(SOON).unwrap(), number + 1);
        }
        near.close();
        assert_eq!(process.join_timeout(SOON).unwrap(), Some(()));
    }
    // What this process drops after that is its own again.
    let (near, far) = ringed_here::<u32, u32>();
    let (_sending, receiving) = far.split();
    drop(receiving);
    assert!(near.send_timeout(&1, SOON).unwrap_err().is_closed());
}

/// Makes membarrier(2) fail from now on, as sandboxes do.
fn forbid_barriers() {
    let statement = |code: u32, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: 0, k };
    let unless = |k| libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k) };
    let mut program = [
        // The number of the call is at 0.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        unless(u32::try_from(libc::SYS_membarrier).unwrap()),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter is a whole program, and copied by the kernel.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }, 0);
}

fn where_nobody_can_be_sure_to_be_woken_there_is_no_ring() {
    type End = Connection<u32, u32>;
    let (near, child) = peer::<u32, u32, _>(|far| {
        forbid_barriers();
        while let Ok(number) = far.recv() {
            far.send(&number).unwrap();
        }
        assert!(!format!("{far:?}").contains("ring"), "{far:?}");
    });
    for number in 0..100 {
        near.send(&number).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), number);
    }
    assert!(!format!("{near:?}").contains("ring"), "{near:?}");
    near.close();
    assert_eq!(child.exit_code(), 0);
    // An end that has rings already cannot go where they are of no use; its other side sees the end.
    let (carrier, child) = peer::<End, u32, _>(|harbour: Connection<u32, End>| {
        forbid_barriers();
        assert!(matches!(harbour.recv(), Err(RecvError::Decode(_))));
    });
    let (here, there) = ringed_here::<u32, u32>();
    carrier.send(&there).unwrap();
    assert_eq!(child.exit_code(), 0);
    assert!(here.recv_timeout(SOON).unwrap_err().is_closed());
}

fn descriptors_that_find_no_room_are_said_to_be_lost() {
    type Cargo = (Vec<Fd<OwnedFd>>, String);
    let (near, child) = ringed::<Cargo, usize>(|far| {
        allow_fds(3);
        far.send(&0).unwrap();
        let fds = open_fds();
        let expect_lost = || assert!(matches!(far.recv(), Err(RecvError::Truncated)));
        expect_lost();
        assert_eq!(open_fds(), fds, "so must those before them");
        assert_eq!(far.recv().unwrap().0.len(), 0);
        assert_eq!(far.recv().unwrap().0.len(), 3);
        expect_lost();
        assert_eq!(far.recv().unwrap().0.len(), 1);
        assert_eq!(open_fds(), fds, "those that did arrive must be closed again");
        far.send(&1).unwrap();
    });
    assert_eq!(near.recv_timeout(SOON).unwrap(), 0);
    for (count, long) in [(5, 100_000), (0, 100_000), (3, 10), (253, 10), (1, 100_000)] {
        let fds = (0..count).map(|_| Fd(File::open("/dev/null").unwrap().into())).collect();
        near.send(&(fds, "x".repeat(long))).unwrap();
    }
    assert_eq!(near.recv_timeout(SOON).unwrap(), 1);
    assert_eq!(child.exit_code(), 0);
}

fn without_descriptors_there_is_no_ring() {
    for extra in [0, 1, 2] {
        allow_fds(100);
        let (near, child) = peer::<u32, u32, _>(|far| {
            allow_fds(if extra == 2 { 1 } else { 100 });
            while let Ok(number) = far.recv() {
                far.send(&number).unwrap();
            }
            assert!(format!("{far:?}").contains("sends by the socket"), "{far:?}");
        });
        // In the last round this end can make a ring, and the other one cannot map it.
        allow_fds(if extra == 2 { 100 } else { extra });
        for number in 0..100 {
            near.send(&number).unwrap();
            assert_eq!(near.recv_timeout(SOON).unwrap(), number);
        }
        assert!(format!("{near:?}").contains("sends by the socket"), "{near:?}");
        near.close();
        assert_eq!(child.exit_code(), 0);
    }
}

fn no_descriptor_leaks() {
    let before = open_fds();
    {
        type Cargo = (Vec<Fd<OwnedFd>>, String);
        let (near, far) = ringed_here::<Cargo, ()>();
        assert_eq!(open_fds(), before + 2 + 2 * 2 * 2, "a socket for each end, and for each of its rings two");
        let dup = || Fd(File::open("/dev/null").unwrap().into());
        let cargo = |fds: usize, padding: usize| ((0..fds).map(|_| dup()).collect(), "x".repeat(padding));
        // Received; refused; timed out inside a message; never received.
        near.send(&cargo(253, 10)).unwrap();
        assert_eq!(far.recv().unwrap().0.len(), 253);
        assert!(near.send(&cargo(254, 10)).is_err());
        assert!(near.send_timeout(&cargo(20, 8 * MIB), BRIEFLY).is_err());
        assert!(far.recv_timeout(BRIEFLY).is_err());
        near.send(&cargo(20, 10)).unwrap();
        // Lent, and moved.
        let (carrier, harbour) = ringed_here::<Connection<u8, u8>, ()>();
        let (one, other) = ringed_here::<u8, u8>();
        let _lent = (one.as_fd(), other.as_fd());
        carrier.send(&one).unwrap();
        harbour.recv().unwrap().send(&7).unwrap();
        assert_eq!(other.recv_timeout(SOON).unwrap(), 7);
        drop(harbour);
        assert!(carrier.send(&other).is_err());
    }
    assert_eq!(open_fds(), before);
}

/// Milliseconds on the processor, and how often this process has gone to sleep.
fn used() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    ((usage.user_time() + usage.system_time()).num_milliseconds(), usage.voluntary_context_switches())
}

fn whoever_waits_sleeps() {
    let (near, child) = ringed::<(), ()>(|far| drop(far.recv()));
    let long = pattern(8 * MIB);
    let begin = used();
    for _ in 0..10 {
        assert!(near.recv_timeout(Duration::from_millis(100)).unwrap_err().is_timeout());
    }
    assert!(wait(&[&near], Duration::from_millis(500)).unwrap().is_empty());
    assert!(!near.poll(Duration::from_millis(500)));
    stop(&child);
    assert!(near.send_bytes_timeout(&long, Duration::from_millis(500)).unwrap_err().is_timeout());
    let end = used();
    assert!(end.0 - begin.0 < 500 && end.1 - begin.1 < 250, "{begin:?} to {end:?} for 2.5 s of waiting");
}
