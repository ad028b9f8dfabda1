//! `ipc::wait` over all kinds of things in one call, and descriptors of theirs in other people's event loops.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

#[expect(dead_code, reason = "for tests that fork by themselves")]
mod alone;
#[expect(dead_code, reason = "for tests that watch other threads")]
mod asleep;
#[path = "alone/limits.rs"]
mod limits;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{Address, Auth, Client, Connection, Fd, Listener, Queue, RecvError, pipe, wait};
use crewkit::process::Process;
use crewkit::queue::Shutdown;
use limits::allow_fds;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);
const NOW: Duration = Duration::ZERO;

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("each_kind_becomes_ready_while_all_others_are_silent", each_kind_becomes_ready_while_all_others_are_silent),
        (
            "what_is_ready_at_once_is_all_named_and_so_is_what_stands_there_twice",
            what_is_ready_at_once_is_all_named_and_so_is_what_stands_there_twice,
        ),
        ("what_has_ended_is_ready", what_has_ended_is_ready),
        (
            "without_anything_to_wait_for_it_waits_as_long_as_it_may",
            without_anything_to_wait_for_it_waits_as_long_as_it_may,
        ),
        ("the_last_of_a_thousand_is_found", the_last_of_a_thousand_is_found),
        (
            "an_event_loop_without_descriptors_for_it_is_not_left_in_silence",
            an_event_loop_without_descriptors_for_it_is_not_left_in_silence,
        ),
        (
            "an_event_loop_that_watches_a_socket_which_moves_disturbs_nobody",
            an_event_loop_that_watches_a_socket_which_moves_disturbs_nobody,
        ),
    ])
}

/// A pair that uses rings.
fn ringed() -> (Connection<u8, u8>, Connection<u8, u8>) {
    let (near, far) = pipe().unwrap();
    for _ in 0..40 {
        near.send(&1).unwrap();
        far.send(&far.recv().unwrap()).unwrap();
        near.recv().unwrap();
    }
    assert!(format!("{near:?}").contains("sends by a ring, receives by a ring"), "{near:?}");
    (near, far)
}

/// What is done on another thread while this one sleeps, which sources that makes ready, and what makes them silent again.
type Step<'a> = (Box<dyn FnOnce() + Send + 'a>, &'a [usize], Box<dyn FnOnce() + 'a>);

fn each_kind_becomes_ready_while_all_others_are_silent() {
    let (mut writer, plain) = UnixStream::pair().unwrap();
    let same = Fd(plain.try_clone().unwrap());
    let ((to_socket, by_socket), (to_ring, by_ring), (to_half, whole)) =
        (pipe::<u8, u8>().unwrap(), ringed(), ringed());
    let (_sending, by_half) = whole.split();
    // By reference, so that they stay open, and by one that may go to another thread.
    let (to_socket, to_ring, to_half) = (&mut { to_socket }, &mut { to_ring }, &mut { to_half });
    let queue = Queue::unbounded().unwrap();
    let ready = queue.readiness();
    let (mut stop, stopped) = pipe::<u8, u8>().unwrap();
    let child = Process::spawn(|end: Connection<u8, u8>| end.recv().unwrap(), stopped).unwrap();
    let listener = Listener::bind(Address::unique().unwrap(), Auth::SameUser).unwrap();
    let sources: [&dyn AsFd; 8] = [&plain, &by_socket, &by_ring, &by_half, &ready, &listener, &child, &same];
    let stop = &mut stop;
    let steps: [Step<'_>; 7] = [
        (Box::new(move || to_ring.send(&1).unwrap()), &[2], Box::new(|| assert_eq!(by_ring.recv().unwrap(), 1))),
        (Box::new(|| queue.put(2).unwrap()), &[4], Box::new(|| assert_eq!(queue.get().unwrap(), 2))),
        (Box::new(move || to_half.send(&3).unwrap()), &[3], Box::new(|| assert_eq!(by_half.recv().unwrap(), 3))),
        (Box::new(move || to_socket.send(&4).unwrap()), &[1], Box::new(|| assert_eq!(by_socket.recv().unwrap(), 4))),
        (Box::new(|| writer.write_all(&[5]).unwrap()), &[0, 7], Box::new(|| (&plain).read_exact(&mut [0]).unwrap())),
        (
            Box::new(|| drop(Client::connect::<u8, u8>(listener.address(), Auth::SameUser).unwrap())),
            &[5],
            Box::new(|| {
                while listener.try_accept::<u8, u8>().is_err() {
                    assert_eq!(wait(&[&listener], SOON).unwrap(), [0]);
                }
            }),
        ),
        (Box::new(move || stop.send(&7).unwrap()), &[6], Box::new(|| ())),
    ];
    for (make_ready, which, make_silent) in steps {
        assert!(wait(&sources, BRIEFLY).unwrap().is_empty());
        let stat = format!("/proc/{}/stat", std::fs::read_link("/proc/thread-self").unwrap().display());
        thread::scope(|scope| {
            scope.spawn(move || {
                asleep::until_asleep(&stat);
                make_ready();
            });
            assert_eq!(wait(&sources, SOON).unwrap(), which);
            assert_eq!(wait(&sources, NOW).unwrap(), which, "until it was taken");
            make_silent();
        });
    }
    assert_eq!(child.join().unwrap(), 7);
}

fn what_is_ready_at_once_is_all_named_and_so_is_what_stands_there_twice() {
    let ((near, far), (to_socket, by_socket), queue) =
        (ringed(), pipe::<u8, u8>().unwrap(), Queue::unbounded().unwrap());
    let ready = queue.readiness();
    let sources: [&dyn AsFd; 6] = [&far, &ready, &by_socket, &far, &ready, &by_socket];
    assert!(wait(&sources, NOW).unwrap().is_empty());
    for (index, make_ready) in
        [&(|| near.send(&1).unwrap()) as &dyn Fn(), &|| queue.put(1).unwrap(), &|| to_socket.send(&1).unwrap()]
            .iter()
            .enumerate()
    {
        make_ready();
        let wanted: Vec<_> = (0..6).filter(|source| source % 3 <= index).collect();
        assert_eq!(wait(&sources, None).unwrap(), wanted);
    }
}

fn what_has_ended_is_ready() {
    let ((near, far), (carrier, harbour)) = (ringed(), pipe::<Connection<u8, u8>, ()>().unwrap());
    let ((one, other), (quiet, _keeps_it_open)) = (pipe::<u8, u8>().unwrap(), ringed());
    let queue = Queue::<u8>::unbounded().unwrap();
    let ready = queue.readiness();
    let sources: [&dyn AsFd; 4] = [&quiet, &far, &one, &ready];
    assert!(wait(&sources, NOW).unwrap().is_empty());
    // One whose other end is closed, one that has moved, and a queue to which nothing will come.
    near.close();
    assert_eq!(wait(&sources, SOON).unwrap(), [1]);
    carrier.send(&one).unwrap();
    assert_eq!(wait(&sources, SOON).unwrap(), [1, 2]);
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(wait(&sources, SOON).unwrap(), [1, 2, 3]);
    assert!(far.try_recv().unwrap_err().is_closed());
    assert!(matches!(one.try_recv(), Err(RecvError::Moved)));
    assert!(queue.try_get().is_err());
    drop(other);
    assert!(harbour.recv().unwrap().try_recv().unwrap_err().is_closed());
}

fn without_anything_to_wait_for_it_waits_as_long_as_it_may() {
    for timeout in [NOW, BRIEFLY] {
        let begin = Instant::now();
        assert!(wait(&[], timeout).unwrap().is_empty());
        assert!(begin.elapsed() >= timeout);
    }
}

fn the_last_of_a_thousand_is_found() {
    let pairs: Vec<_> = (0..1000).map(|number| if number % 10 == 0 { ringed() } else { pipe().unwrap() }).collect();
    let sources: Vec<&dyn AsFd> = pairs.iter().map(|(near, _)| near as &dyn AsFd).collect();
    assert!(wait(&sources, NOW).unwrap().is_empty());
    for last in [999, 990, 0] {
        let (near, far) = &pairs[last];
        far.send(&1).unwrap();
        assert_eq!(wait(&sources, None).unwrap(), [last]);
        assert_eq!(near.recv().unwrap(), 1);
    }
    assert!(wait(&sources, BRIEFLY).unwrap().is_empty());
}

fn an_event_loop_without_descriptors_for_it_is_not_left_in_silence() {
    let (near, far) = ringed();
    allow_fds(0);
    let lent = near.as_fd();
    allow_fds(100);
    for number in 0..3 {
        assert_eq!(wait(&[&lent], NOW).unwrap(), [0], "readable at any time, for nothing if need be");
        far.send(&number).unwrap();
        assert_eq!(wait(&[&lent], NOW).unwrap(), [0]);
        assert_eq!(near.recv().unwrap(), number);
    }
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    assert_eq!(epoll.add(lent, EpollEvent::new(EpollFlags::EPOLLIN, 0)), Err(Errno::EPERM));
    // Once there are some again, it is as it should be.
    let lent = near.as_fd();
    epoll.add(lent, EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
    assert!(wait(&[&lent], BRIEFLY).unwrap().is_empty());
    far.send(&3).unwrap();
    assert_eq!(wait(&[&lent], SOON).unwrap(), [0]);
}

/// The kernel watches the socket, not its number, until the new owner closes it.
fn an_event_loop_that_watches_a_socket_which_moves_disturbs_nobody() {
    let ((near, far), (carrier, harbour)) = (pipe::<u8, u8>().unwrap(), pipe::<Connection<u8, u8>, ()>().unwrap());
    let (epoll, mut events) = (Epoll::new(EpollCreateFlags::empty()).unwrap(), [EpollEvent::empty()]);
    epoll.add(far.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    carrier.send(&far).unwrap();
    assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0));
    assert_eq!(epoll.delete(far.as_fd()), Err(Errno::ENOENT), "the number leads nowhere by now");
    let new = harbour.recv().unwrap();
    // So few that no ring is made of it.
    for number in 0..20 {
        near.send(&number).unwrap();
        assert_eq!((epoll.wait(&mut events, EpollTimeout::ZERO), events[0].data()), (Ok(1), 7));
        assert!(matches!(far.try_recv(), Err(RecvError::Moved)));
        assert_eq!(new.recv_timeout(SOON).unwrap(), number);
    }
    drop(new);
    assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
}
