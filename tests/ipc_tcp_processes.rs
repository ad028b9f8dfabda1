//! Connections over TCP between processes: sides that are killed or stopped in the middle of a message, ends that are moved, and
//! users without permission. A kill at each instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;
#[path = "alone/sleeping.rs"]
mod sleeping;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alone::{Child, fork, open_fds};
use crewkit::ipc::{Auth, Client, Connection, Key, Listener, RecvError, SendError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Uid, setuid};

fn main() -> ExitCode {
    alone::main(&[
        ("messages_go_to_another_process_and_back", messages_go_to_another_process_and_back),
        (
            "a_stopped_receiver_holds_up_nobody_beyond_the_timeout",
            a_stopped_receiver_holds_up_nobody_beyond_the_timeout,
        ),
        ("a_stopped_sender_holds_up_nobody_beyond_the_timeout", a_stopped_sender_holds_up_nobody_beyond_the_timeout),
        ("a_sender_killed_in_the_middle_leaves_nothing", a_sender_killed_in_the_middle_leaves_nothing),
        ("a_sender_is_told_when_its_receiver_is_killed", a_sender_is_told_when_its_receiver_is_killed),
        ("an_end_is_used_in_the_process_to_which_it_was_moved", an_end_is_used_in_the_process_to_which_it_was_moved),
        ("a_port_that_a_user_may_not_have_is_an_error", a_port_that_a_user_may_not_have_is_an_error),
        ("the_port_of_a_killed_server_goes_to_the_next", the_port_of_a_killed_server_goes_to_the_next),
        ("nothing_is_left_over", nothing_is_left_over),
    ])
}

/// What never takes so long.
const LONG: Duration = Duration::from_secs(50);
const BRIEFLY: Duration = Duration::from_millis(20);
/// More than the two kernels keep for each other, whatever they are set to.
const TOO_MUCH: usize = 64 << 20;

fn auth() -> Auth {
    Auth::Key(Key::new("of both"))
}

fn bind() -> Listener {
    Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), auth()).unwrap()
}

type End = Connection<u32, u32>;

/// A child that has the other end of a connection over TCP.
fn peer(body: impl FnOnce(End)) -> (End, Child) {
    let listener = bind();
    let child = fork(|| body(Client::connect_timeout(listener.address(), auth(), LONG).unwrap()));
    (listener.accept_timeout(LONG).unwrap(), child)
}

fn messages_go_to_another_process_and_back() {
    let (end, child) = peer(|end| {
        while let Ok(number) = end.recv_timeout(LONG) {
            end.send(&(number + 1)).unwrap();
        }
    });
    for number in 0..1000 {
        end.send(&number).unwrap();
        assert_eq!(end.recv_timeout(LONG).unwrap(), number + 1);
    }
    drop(end);
    assert_eq!(child.exit_code(), 0);
}

fn a_stopped_receiver_holds_up_nobody_beyond_the_timeout() {
    let (end, child) = peer(|end| {
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"before");
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"after");
        assert!(matches!(end.recv_bytes_timeout(LONG), Err(RecvError::Closed)));
    });
    end.send_bytes(b"before").unwrap();
    sleeping::until_asleep(&child);
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    for _ in 0..3 {
        let begin = Instant::now();
        assert!(matches!(end.send_bytes_timeout(&vec![1; TOO_MUCH], BRIEFLY), Err(SendError::Timeout)));
        assert!(begin.elapsed() >= BRIEFLY && begin.elapsed() < LONG);
    }
    kill(child.pid(), Signal::SIGCONT).unwrap();
    end.send_bytes_timeout(b"after", LONG).unwrap();
    drop(end);
    assert_eq!(child.exit_code(), 0);
}

fn a_stopped_sender_holds_up_nobody_beyond_the_timeout() {
    let (end, child) = peer(|end| end.send_bytes_timeout(&vec![7; TOO_MUCH], LONG).unwrap());
    // It has filled what there is, and waits in the middle of its message.
    sleeping::until_asleep(&child);
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    for _ in 0..3 {
        let begin = Instant::now();
        assert!(matches!(end.recv_bytes_timeout(BRIEFLY), Err(RecvError::Timeout)));
        assert!(begin.elapsed() >= BRIEFLY && begin.elapsed() < LONG);
        assert!(!end.poll(BRIEFLY));
    }
    kill(child.pid(), Signal::SIGCONT).unwrap();
    assert!(end.recv_bytes_timeout(LONG).unwrap() == vec![7; TOO_MUCH]);
    assert_eq!(child.exit_code(), 0);
}

fn a_sender_killed_in_the_middle_leaves_nothing() {
    for has_looked in [false, true] {
        let (end, child) = peer(|end| {
            end.send_bytes(b"before").unwrap();
            end.send_bytes(&vec![7; TOO_MUCH]).unwrap();
        });
        sleeping::until_asleep(&child);
        if has_looked {
            assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"before");
            kill(child.pid(), Signal::SIGSTOP).unwrap();
            assert!(matches!(end.recv_bytes_timeout(BRIEFLY), Err(RecvError::Timeout)));
        }
        child.kill();
        if !has_looked {
            assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"before");
        }
        for _ in 0..2 {
            assert!(matches!(end.recv_bytes_timeout(LONG), Err(RecvError::Closed)));
        }
    }
}

fn a_sender_is_told_when_its_receiver_is_killed() {
    let (receiver, sender) = peer(|end| {
        let told = end.send_bytes_timeout(&vec![7; TOO_MUCH], LONG);
        assert!(matches!(told, Err(SendError::Closed)), "{told:?}");
        assert!(matches!(end.send(&1), Err(SendError::Closed)));
        assert!(end.recv_timeout(LONG).is_err_and(|error| error.is_closed()));
    });
    // The process that is killed is the only one that has the end.
    let (road, victim) = alone::peer(|road: Connection<(), End>| {
        let _end = road.recv().unwrap();
        road.send(&()).unwrap();
        std::thread::sleep(LONG * 2);
    });
    road.send(&receiver).unwrap();
    road.recv_timeout(LONG).unwrap();
    sleeping::until_asleep(&sender);
    victim.kill();
    assert_eq!(sender.exit_code(), 0);
}

fn an_end_is_used_in_the_process_to_which_it_was_moved() {
    let (end, partner) = peer(|end| {
        for number in 0..10 {
            end.send(&number).unwrap();
            assert_eq!(end.recv_timeout(LONG).unwrap(), number + 1);
        }
        end.send_bytes(&vec![3; 1 << 20]).unwrap();
        assert!(matches!(end.recv_timeout(LONG), Err(RecvError::Closed)));
    });
    let (road, worker) = alone::peer(|road: Connection<End, End>| {
        let end = road.recv_timeout(LONG).unwrap();
        for _ in 0..4 {
            end.send(&(end.recv_timeout(LONG).unwrap() + 1)).unwrap();
        }
        road.send(&end).unwrap();
    });
    for _ in 0..3 {
        end.send(&(end.recv_timeout(LONG).unwrap() + 1)).unwrap();
    }
    // Here the next message may have come already: it moves with the end.
    road.send(&end).unwrap();
    assert!(matches!(end.try_recv(), Err(RecvError::Moved)));
    let end: End = road.recv_timeout(LONG).unwrap();
    assert_eq!(worker.exit_code(), 0);
    for _ in 0..3 {
        end.send(&(end.recv_timeout(LONG).unwrap() + 1)).unwrap();
    }
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), vec![3; 1 << 20]);
    drop(end);
    assert_eq!(partner.exit_code(), 0);
}

fn a_port_that_a_user_may_not_have_is_an_error() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim() == "0") {
        return; // Anybody may have any.
    }
    let user = fork(|| {
        // Who is not root is nobody special already.
        let _dropped = setuid(Uid::from_raw(65_534));
        let refused = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), auth()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{refused}");
    });
    assert_eq!(user.exit_code(), 0);
}

fn the_port_of_a_killed_server_goes_to_the_next() {
    let first = bind();
    let address = first.address().clone();
    drop(first);
    for _ in 0..3 {
        let (ready, server) = alone::peer(|ready: Connection<(), ()>| {
            let listener = Listener::bind(&address, auth()).unwrap();
            ready.send(&()).unwrap();
            let _end: End = listener.accept().unwrap();
            std::thread::sleep(LONG * 2);
        });
        ready.recv_timeout(LONG).unwrap();
        let end: End = Client::connect_timeout(&address, auth(), LONG).unwrap();
        server.kill();
        assert!(end.recv_timeout(LONG).is_err_and(|error| error.is_closed()));
    }
}

fn nothing_is_left_over() {
    let before = open_fds();
    for _ in 0..10 {
        let (end, child) = peer(|end| {
            end.send(&1).unwrap();
            std::thread::sleep(LONG * 2);
        });
        assert_eq!(end.recv_timeout(LONG).unwrap(), 1);
        child.kill();
        assert!(end.recv_timeout(LONG).is_err());
    }
    assert_eq!(open_fds(), before);
}
