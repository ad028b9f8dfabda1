//! Whoever listens in somebody's place: the client is not fooled, and does not wait for ever.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use crewkit::ipc::{Auth, AuthError, Client, ConnectError};

use crate::raw::{CHALLENGE, FRAME, HELLO, WELCOME, accepted, frame, hear, say, server};
use crate::{LONG, asleep, key};

/// What a client makes of a server that does this after its hello.
fn met(auth: &Auth, what: impl FnOnce(&OwnedFd, Vec<u8>) + Send) -> ConnectError {
    let (server, address) = server();
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || Client::connect_timeout::<u8, u8>(address, auth.clone(), LONG).map(drop));
        let near = accepted(&server);
        let hello = hear(&near);
        assert_eq!((hello.len(), hello[5]), (FRAME, HELLO));
        what(&near, hello);
        drop(near);
        client.join().unwrap_err()
    })
}

fn untrusted(auth: &Auth, what: impl FnOnce(&OwnedFd, Vec<u8>) + Send) -> AuthError {
    match met(auth, what) {
        ConnectError::Untrusted(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_cannot_prove_the_key_is_not_trusted() {
    let auth = Auth::Key(key());
    let without = untrusted(&auth, |near, _| say(near, &frame(WELCOME, 0, [0; 32])));
    assert_eq!(without, AuthError::NoKey);
    let guess = untrusted(&auth, |near, _| {
        say(near, &frame(CHALLENGE, 0, [1; 32]));
        let _answer = hear(near);
        say(near, &frame(WELCOME, 0, [1; 32]));
    });
    assert_eq!(guess, AuthError::WrongKey);
}

#[test]
fn a_mirror_is_not_trusted() {
    let auth = Auth::Key(key());
    assert_eq!(untrusted(&auth, |near, hello| say(near, &hello)), AuthError::Reflected);
    let nonce = untrusted(&auth, |near, hello| {
        let mut challenge = hello;
        (challenge[5], challenge[6]) = (CHALLENGE, 0);
        say(near, &challenge);
    });
    assert_eq!(nonce, AuthError::Reflected);
    for kind in [3, WELCOME] {
        let proof = untrusted(&auth, |near, _| {
            say(near, &frame(CHALLENGE, 0, [1; 32]));
            let mut answer = hear(near);
            answer[5] = kind;
            say(near, &answer);
        });
        assert_eq!(proof, AuthError::Reflected);
    }
}

#[test]
fn what_is_no_handshake_is_not_trusted() {
    for auth in [Auth::SameUser, Auth::Key(key())] {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], &[0; FRAME], &[b'c'; 100]] {
            let why = untrusted(&auth, |near, _| say(near, bytes));
            assert!(matches!(why, AuthError::Garbage(_)), "{why}");
        }
    }
    let challenge = untrusted(&Auth::SameUser, |near, _| say(near, &frame(CHALLENGE, 0, [1; 32])));
    assert_eq!(challenge, AuthError::UnexpectedKey);
}

#[test]
fn who_leaves_is_told_from_who_refuses() {
    let auth = Auth::Key(key());
    assert!(matches!(met(&auth, |_, _| ()), ConnectError::Closed));
    let late = met(&auth, |near, _| {
        say(near, &frame(CHALLENGE, 0, [1; 32]));
        let _answer = hear(near);
    });
    assert!(matches!(late, ConnectError::Closed));
    let refused = met(&auth, |near, _| say(near, &frame(crate::raw::REFUSED, 2, [0; 32])));
    assert!(matches!(refused, ConnectError::Refused(AuthError::WrongKey)));
    // A reason that is not known is still a refusal.
    let refused = met(&auth, |near, _| say(near, &frame(crate::raw::REFUSED, 200, [0; 32])));
    assert!(matches!(refused, ConnectError::Refused(AuthError::Garbage(_))), "{refused}");
}

#[test]
fn a_server_that_is_silent_at_any_point_costs_the_time_given() {
    for frames in 0..2 {
        let (server, address) = server();
        thread::scope(|scope| {
            // Long enough for this side to say its part meanwhile.
            let brief = Duration::from_millis(400);
            let client = asleep::spawn(scope, move || {
                Client::connect_timeout::<u8, u8>(address, Auth::Key(key()), brief).map(drop)
            });
            let near = accepted(&server);
            if frames == 1 {
                say(&near, &frame(CHALLENGE, 0, [1; 32]));
            }
            assert!(matches!(client.join(), Err(ConnectError::Timeout)), "after {frames} frames");
        });
    }
}
