//! Those who keep to the rules.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{AcceptError, Address, Auth, Client, ConnectError, Connection, Fd, Listener, Peer, pipe, wait};

use crate::raw::{is_closed, stranger};
use crate::{LONG, asleep, bind, key, serves_the_honest};

fn all() -> [Auth; 3] {
    [Auth::SameUser, Auth::Key(key()), Auth::SameUserAndKey(key())]
}

#[test]
fn each_kind_of_trust_is_enough() {
    for auth in all() {
        let listener = bind(&auth);
        assert_eq!(listener.last_accepted(), None);
        serves_the_honest(&listener, &auth);
        serves_the_honest(&listener, &auth);
        let Some(Peer::Process { pid, .. }) = listener.last_accepted() else { panic!("{listener:?}") };
        assert_eq!(pid, std::process::id());
        assert_eq!(listener.refusals().total, 0);
    }
}

/// Handles of the two kinds that a message may hold.
type Handles = (Connection<u8, u8>, Fd<std::io::PipeWriter>);

#[test]
fn what_is_accepted_is_a_connection_like_any_other() {
    let listener = bind(&Auth::SameUser);
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || {
            let end = Client::connect::<Handles, Vec<u8>>(listener.address(), Auth::SameUser).unwrap();
            let (near, far) = pipe::<u8, u8>().unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            end.send(&(far, Fd(writer))).unwrap();
            assert_eq!(near.recv_timeout(LONG).unwrap(), 3);
            assert_eq!(std::io::read_to_string(reader).unwrap(), "through");
            // Longer than the socket holds, and than any ring.
            let bytes = vec![0xA5; 3 << 20];
            assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), bytes);
            end.send_bytes_timeout(&bytes, LONG).unwrap();
        });
        let end: Connection<Vec<u8>, Handles> = listener.accept().unwrap();
        let (far, Fd(mut writer)) = end.recv_timeout(LONG).unwrap();
        far.send(&3).unwrap();
        std::io::Write::write_all(&mut writer, b"through").unwrap();
        drop(writer);
        let bytes = vec![0xA5; 3 << 20];
        end.send_bytes_timeout(&bytes, LONG).unwrap();
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), bytes);
        client.join();
        assert!(end.recv_timeout(LONG).is_err_and(|error| error.is_closed()), "its end is seen");
    });
}

#[test]
fn a_client_that_has_left_is_a_closed_connection() {
    let listener = bind(&Auth::Key(key()));
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || {
            let end: Connection<u32, u32> = Client::connect(listener.address(), Auth::Key(key())).unwrap();
            end.send(&1).unwrap();
        });
        let end: Connection<u32, u32> = listener.accept_timeout(LONG).unwrap();
        client.join();
        assert_eq!(end.recv_timeout(LONG).unwrap(), 1, "what it sent before is received");
        assert!(is_closed(&end));
    });
}

#[test]
fn every_call_keeps_its_time() {
    let listener = bind(&Auth::SameUser);
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        let begin = Instant::now();
        let nobody = listener.accept_timeout::<u8, u8>(timeout);
        assert!(nobody.is_err_and(|error| error.is_timeout()));
        assert!(begin.elapsed() >= timeout && begin.elapsed() < LONG);
        // Nobody accepts.
        let begin = Instant::now();
        let ignored = Client::connect_timeout::<u8, u8>(listener.address(), Auth::SameUser, timeout);
        assert!(ignored.is_err_and(|error| error.is_timeout()));
        assert!(begin.elapsed() >= timeout && begin.elapsed() < LONG);
    }
    assert!(matches!(listener.try_accept::<u8, u8>(), Err(AcceptError::Timeout)));
    serves_the_honest(&listener, &Auth::SameUser);
}

#[test]
fn a_thread_that_accepts_keeps_no_other_from_its_time() {
    let listener = bind(&Auth::SameUser);
    thread::scope(|scope| {
        let first = asleep::spawn(scope, || listener.accept::<u32, u32>().map(drop));
        first.until_asleep();
        assert!(matches!(listener.try_accept::<u8, u8>(), Err(AcceptError::Timeout)));
        let begin = Instant::now();
        assert!(matches!(listener.accept_timeout::<u8, u8>(Duration::from_millis(20)), Err(AcceptError::Timeout)));
        assert!(begin.elapsed() >= Duration::from_millis(20));
        let shown = format!("{listener:?}");
        assert!(shown.contains("SameUser") && !shown.contains("pending"), "it does not block: {shown}");
        let _end: Connection<u32, u32> = Client::connect_timeout(listener.address(), Auth::SameUser, LONG).unwrap();
        first.join().unwrap();
    });
}

#[test]
fn several_threads_share_those_who_come() {
    const EACH: u32 = 25;
    let (listener, auth) = (bind(&Auth::Key(key())), Auth::Key(key()));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                asleep::spawn(scope, || {
                    for _ in 0..EACH {
                        let end: Connection<u32, u32> = listener.accept_timeout(LONG).unwrap();
                        end.send(&(end.recv_timeout(LONG).unwrap() + 1)).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            asleep::spawn(scope, || {
                for number in 0..EACH {
                    let end: Connection<u32, u32> =
                        Client::connect_timeout(listener.address(), auth.clone(), LONG).unwrap();
                    end.send(&number).unwrap();
                    assert_eq!(end.recv_timeout(LONG).unwrap(), number + 1);
                }
            });
        }
        threads.into_iter().for_each(|thread| thread.join());
    });
    assert_eq!(listener.refusals().total, 0);
}

#[test]
fn a_listener_can_be_waited_for_among_others() {
    let listener = bind(&Auth::SameUser);
    let (quiet, _other) = pipe::<u8, u8>().unwrap();
    assert_eq!(wait(&[&quiet, &listener], Duration::ZERO).unwrap(), [0; 0]);
    thread::scope(|scope| {
        for _ in 0..3 {
            asleep::spawn(scope, || drop(Client::connect::<u8, u8>(listener.address(), Auth::SameUser).unwrap()));
        }
        for _ in 0..3 {
            loop {
                assert_eq!(wait(&[&quiet, &listener], LONG).unwrap(), [1], "somebody is there who does not show");
                match listener.try_accept::<u8, u8>() {
                    Ok(_) => break,
                    Err(error) => assert!(error.is_timeout(), "{error}"),
                }
            }
        }
    });
}

/// Several prove who they are before anybody accepts the first.
#[test]
fn those_who_are_known_already_still_show() {
    let listener = bind(&Auth::SameUser);
    let hello = crate::raw::frame(crate::raw::HELLO, 0, [1; 32]);
    let clients: Vec<_> = (0..5).map(|_| stranger(listener.address())).collect();
    // They are let in silent, one by one, and then speak all at once.
    assert!(listener.try_accept::<u8, u8>().is_err());
    while !format!("{listener:?}").contains("pending: 5") {
        assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(1)).is_err());
    }
    clients.iter().for_each(|client| crate::raw::say(client, &hello));
    for _ in &clients {
        assert_eq!(wait(&[&listener], LONG).unwrap(), [0]);
        listener.try_accept::<u8, u8>().unwrap();
    }
    // It may have shown once too often.
    assert!(listener.try_accept::<u8, u8>().is_err());
    assert_eq!(wait(&[&listener], Duration::from_millis(1)).unwrap().len(), 0);
}

#[test]
fn who_waits_for_a_listener_that_closes_is_told() {
    for auth in all() {
        let listener = bind(&auth);
        thread::scope(|scope| {
            let address = listener.address().clone();
            let client = asleep::spawn(scope, move || Client::connect::<u8, u8>(address, auth).map(drop));
            client.until_asleep();
            listener.close();
            let told = client.join();
            assert!(matches!(told, Err(ConnectError::Closed)), "{told:?}");
        });
    }
}

#[test]
fn nobody_listens_is_said_at_once() {
    for address in [Address::unique().unwrap(), Address::from("/nowhere/at/all")] {
        let nobody = Client::connect::<u8, u8>(&address, Auth::SameUser);
        let Err(ConnectError::Io(error)) = nobody else { panic!("{nobody:?}") };
        let kinds = [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

#[test]
fn neither_listener_nor_auth_shows_the_key() {
    let listener = Listener::bind(Address::unique().unwrap(), Auth::Key(crewkit::ipc::Key::new("s3cret"))).unwrap();
    let shown = format!("{listener:?}");
    assert!(shown.contains("Key") && !shown.contains("s3cret") && !shown.contains("115"), "{shown}");
    let _lent = listener.as_fd();
}
