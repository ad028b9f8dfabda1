//! Those who do not keep to the rules: each is turned away, told apart, and keeps nobody waiting.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use crewkit::ipc::{AcceptError, Address, Auth, AuthError, Client, ConnectError, Connection, Key, Listener};

use crate::raw::{CHALLENGE, FRAME, HELLO, accepted, frame, hear, is_turned_away, say, say_with, server, stranger};
use crate::{LONG, asleep, bind, key, reasons, serves_the_honest};

/// One stranger comes and does something; then somebody honest does. Why the stranger was turned away.
fn turned_away(auth: &Auth, what: impl FnOnce(&Listener, OwnedFd)) -> AuthError {
    let listener = bind(auth);
    what(&listener, stranger(listener.address()));
    serves_the_honest(&listener, auth);
    // Nobody else is there, so whatever the stranger did was seen.
    assert!(matches!(listener.try_accept::<u8, u8>(), Err(AcceptError::Timeout)));
    let reasons = reasons(&listener);
    assert_eq!((reasons.len(), listener.refusals().total), (1, 1), "{reasons:?}");
    reasons[0]
}

/// One step of the listener's, while nobody is there to be accepted.
fn step(listener: &Listener) {
    assert!(matches!(listener.try_accept::<u8, u8>(), Err(AcceptError::Timeout)));
}

#[test]
fn what_is_no_handshake() {
    let hello = frame(HELLO, 1, [1; 32]);
    let later = {
        let mut later = hello.clone();
        later[4] = 2;
        later
    };
    let cases: [(&str, Vec<u8>); 8] = [
        ("one byte", vec![b'c']),
        ("an end too early", hello[..FRAME - 1].to_vec()),
        ("an end too late", [&hello[..], &[0]].concat()),
        ("a hundred kilobytes", vec![b'c'; 100_000]),
        ("zeros", vec![0; FRAME]),
        ("a kind that there is not", frame(9, 0, [1; 32])),
        ("a word that there is not", frame(HELLO, 2, [1; 32])),
        ("something later in the handshake", frame(3, 0, [1; 32])),
    ];
    for (what, bytes) in cases {
        let why = turned_away(&Auth::Key(key()), |listener, stranger| {
            say(&stranger, &bytes);
            step(listener);
            assert!(is_turned_away(&stranger), "{what}");
        });
        assert!(matches!(why, AuthError::Garbage(_)), "{what}: {why}");
    }
    let why = turned_away(&Auth::SameUser, |_, stranger| say(&stranger, &later));
    assert_eq!(why, AuthError::Version(2));
}

#[test]
fn who_leaves_at_any_point() {
    for frames in 0..2 {
        let why = turned_away(&Auth::Key(key()), |listener, stranger| {
            if frames == 1 {
                say(&stranger, &frame(HELLO, 1, [1; 32]));
                step(listener);
                assert_eq!(hear(&stranger)[5], CHALLENGE);
            }
        });
        assert_eq!(why, AuthError::Closed, "after {frames} frames");
    }
}

#[test]
fn who_has_no_key_or_another() {
    let auth = Auth::Key(key());
    let listener = bind(&auth);
    for (mine, why) in [
        (Auth::SameUser, AuthError::NoKey),
        (Auth::Key(Key::new("another")), AuthError::WrongKey),
        (Auth::SameUserAndKey(Key::new("another")), AuthError::WrongKey),
    ] {
        let before = listener.refusals().total;
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<u8, u8>(listener.address(), mine).map(drop));
            // Until it is gone.
            while listener.refusals().total == before {
                assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(5)).is_err());
            }
            let told = client.join();
            assert!(matches!(told, Err(ConnectError::Refused(told)) if told == why), "{told:?}");
        });
        assert_eq!(reasons(&listener).last(), Some(&why));
        serves_the_honest(&listener, &auth);
    }
    let keyless = bind(&Auth::SameUser);
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || Client::connect::<u8, u8>(keyless.address(), auth).map(drop));
        while keyless.refusals().total == 0 {
            assert!(keyless.accept_timeout::<u8, u8>(Duration::from_millis(5)).is_err());
        }
        assert!(matches!(client.join(), Err(ConnectError::Refused(AuthError::UnexpectedKey))));
    });
}

#[test]
fn a_mirror() {
    let why = turned_away(&Auth::Key(key()), |listener, stranger| {
        say(&stranger, &frame(HELLO, 1, [1; 32]));
        step(listener);
        let challenge = hear(&stranger);
        say(&stranger, &challenge);
        step(listener);
        assert!(is_turned_away(&stranger));
    });
    assert_eq!(why, AuthError::Reflected);
}

/// Somebody relays an honest client's handshake, and later says the same again.
#[test]
fn a_replay() {
    let listener = bind(&Auth::Key(key()));
    let (relay, address) = server();
    let overheard = thread::scope(|scope| {
        let client = asleep::spawn(scope, || {
            drop(Client::connect::<u8, u8>(address, Auth::Key(key())).unwrap());
        });
        let overheard = asleep::spawn(scope, || {
            let (far, near) = (stranger(listener.address()), accepted(&relay));
            let mut overheard = Vec::new();
            for _ in 0..2 {
                let from_client = hear(&near);
                say(&far, &from_client);
                overheard.push(from_client);
                say(&near, &hear(&far));
            }
            overheard
        });
        let _end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
        client.join();
        overheard.join()
    });
    let again = stranger(listener.address());
    for said in overheard {
        say(&again, &said);
        step(&listener);
        let _heard = hear(&again);
    }
    assert_eq!(reasons(&listener), [AuthError::WrongKey]);
}

#[test]
fn the_silent_hold_up_nobody_and_go_when_their_time_is_up() {
    for frames in 0..2 {
        let auth = Auth::Key(key());
        let come = |listener: &Listener| -> Vec<_> {
            let silent: Vec<_> = (0..10).map(|_| stranger(listener.address())).collect();
            if frames == 1 {
                silent.iter().for_each(|silent| say(silent, &frame(HELLO, 1, [1; 32])));
            }
            silent
        };
        let patient = bind(&auth);
        let _silent = come(&patient);
        serves_the_honest(&patient, &auth);
        assert!(format!("{patient:?}").contains("pending: 10, refused: 0"), "{patient:?}");

        let listener = bind(&auth).handshake_timeout(Duration::from_millis(30));
        let silent = come(&listener);
        while listener.refusals().total < 10 {
            assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(5)).is_err());
        }
        assert_eq!(reasons(&listener), [AuthError::TooSlow; 10], "after {frames} frames");
        for silent in &silent {
            let first = hear(silent);
            assert!(first[5] == crate::raw::REFUSED || is_turned_away(silent));
        }
        // However busy the machine is, the honest have the time that they need.
        serves_the_honest(&listener.handshake_timeout(LONG), &auth);
    }
}

/// Who has overheard a handshake says the client's part of it once more: the listener has another number by then, and so has
/// the next client.
#[test]
fn what_was_overheard_is_good_for_nobody() {
    let auth = Auth::Key(key());
    let listener = bind(&auth);
    let hello = frame(HELLO, 1, [1; 32]);
    let mut challenges = Vec::new();
    for _ in 0..3 {
        let stranger = stranger(listener.address());
        say(&stranger, &hello);
        step(&listener);
        let challenge = hear(&stranger);
        assert_eq!((challenge.len(), challenge[5]), (FRAME, CHALLENGE));
        assert!(!challenges.contains(&challenge), "a number used twice");
        challenges.push(challenge);
    }
    let (socket, address) = server();
    let mut hellos = Vec::new();
    for _ in 0..3 {
        let hello = thread::scope(|scope| {
            let client = scope.spawn(|| Client::connect_timeout::<u8, u8>(&address, auth.clone(), LONG).map(drop));
            let near = accepted(&socket);
            let hello = hear(&near);
            drop(near);
            assert!(matches!(client.join().unwrap(), Err(ConnectError::Closed)));
            hello
        });
        assert!(!hellos.contains(&hello), "a number used twice");
        hellos.push(hello);
    }
}

/// Whose answer came while nobody accepted is not late: it is the listener that was slow.
#[test]
fn who_answered_in_time_is_accepted_however_late_somebody_looks() {
    // Long enough for the one step before it is over.
    let patience = Duration::from_millis(300);
    let listener = bind(&Auth::SameUser).handshake_timeout(patience);
    let punctual = stranger(listener.address());
    step(&listener);
    say(&punctual, &frame(HELLO, 0, [1; 32]));
    thread::sleep(patience);
    let _end: Connection<u8, u8> = listener.try_accept().unwrap();
}

#[test]
fn a_crowd_of_the_silent_keeps_nobody_out() {
    let auth = Auth::Key(key());
    let listener = bind(&auth);
    // Never more at a time than any machine's queue holds.
    let come = |many| -> Vec<_> { (0..many).map(|_| stranger(listener.address())).collect() };
    let mut crowd = come(30);
    // One of them has begun, before most of them came.
    say(&crowd[0], &frame(HELLO, 1, [1; 32]));
    for _ in 1..10 {
        step(&listener);
        crowd.extend(come(30));
    }
    serves_the_honest(&listener, &auth);
    // The last to come was the honest one, and has gone.
    assert!(format!("{listener:?}").contains("pending: 63, refused: 237"), "{listener:?}");
    assert_eq!(reasons(&listener), [AuthError::Crowded; 32], "the latest are remembered");
    assert!(is_turned_away(&crowd[1]));
    // Who had said something keeps its place before the silent.
    assert_eq!(hear(&crowd[0])[5], CHALLENGE);
    say(&crowd[0], b"garbage");
    step(&listener);
    assert!(matches!(reasons(&listener)[31], AuthError::Garbage(_)));
}

/// One call has an end of its own, however many come.
#[test]
fn a_call_whose_time_is_over_looks_at_so_many_and_no_more() {
    let listener = bind(&Auth::SameUser);
    let crowd: Vec<_> = (0..100).map(|_| stranger(listener.address())).collect();
    drop(crowd);
    step(&listener);
    let seen = listener.refusals().total;
    assert!((1..100).contains(&seen), "{seen}");
    step(&listener);
    assert_eq!(listener.refusals().total, 100);
}

#[test]
fn a_flood_of_those_who_come_and_go_makes_no_call_longer() {
    let listener = bind(&Auth::Key(key()));
    let address = listener.address().clone();
    thread::scope(|scope| {
        for _ in 0..3 {
            asleep::spawn(scope, || while crate::raw::come(&address).is_ok() {});
        }
        while listener.refusals().total < 1000 {
            step(&listener);
            let nobody = listener.accept_timeout::<u8, u8>(Duration::from_millis(5));
            assert!(matches!(nobody, Err(AcceptError::Timeout)), "{nobody:?}");
        }
        // The honest have their turn.
        serves_the_honest(&listener, &Auth::Key(key()));
        // Who comes now is told that nobody listens.
        listener.close();
    });
}

/// Nobody's first frames are taken with descriptors, and nobody's are refused for them.
#[test]
fn descriptors_before_trust_are_dropped() {
    let listener = bind(&Auth::SameUser);
    let (reader, writer) = io::pipe().unwrap();
    let stranger = stranger(listener.address());
    say_with(&stranger, &frame(HELLO, 0, [1; 32]), &[writer.as_fd(); 100]);
    drop(writer);
    let _end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
    assert_eq!(io::read_to_string(reader).unwrap(), "", "nobody has them");
}

/// What is no handshake after one is what it is on any connection.
#[test]
fn garbage_after_trust_is_an_error_of_one_message() {
    let listener = bind(&Auth::SameUser);
    let client = stranger(listener.address());
    say(&client, &frame(HELLO, 0, [1; 32]));
    let end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
    say(&client, b"garbage");
    assert!(matches!(end.recv_timeout(LONG), Err(crewkit::ipc::RecvError::Corrupt(_))));
    assert!(matches!(end.try_recv(), Err(crewkit::ipc::RecvError::Timeout)));
    assert!(matches!(listener.address(), Address::Abstract(_)));
}
