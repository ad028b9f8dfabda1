//! Those who come to a listener and do not keep to the rules of its handshake.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crewkit::ipc::{AcceptError, Auth, AuthError, Client, ConnectError, Connection, Key, Listener, Peer};

use crate::hostile::reset;
use crate::{LONG, anywhere, asleep, auth, bind, pair_at, port};

const FRAME: usize = 40;
const REFUSED: u8 = 5;

fn hello() -> Vec<u8> {
    [&b"crew\x01\x01\x01\x00"[..], &[1; 32]].concat()
}

fn come(listener: &Listener) -> TcpStream {
    let stranger = TcpStream::connect(port(listener)).unwrap();
    stranger.set_read_timeout(Some(LONG)).unwrap();
    stranger.set_nodelay(true).unwrap();
    stranger
}

/// Lets the listener work until it has turned away so many.
fn until_refused(listener: &Listener, many: u64) {
    while listener.refusals().total < many {
        let nobody = listener.accept_timeout::<u8, u8>(Duration::from_millis(5));
        assert!(matches!(nobody, Err(AcceptError::Timeout)), "{nobody:?}");
    }
}

fn reasons(listener: &Listener) -> Vec<AuthError> {
    listener.refusals().latest.iter().map(|refusal| refusal.why).collect()
}

fn serves_the_honest(listener: &Listener) {
    let (near, far) = pair_at::<u32, u32>(listener);
    near.send(&5).unwrap();
    assert_eq!(far.recv_timeout(LONG).unwrap(), 5);
    assert!(matches!(listener.last_accepted(), Some(Peer::Host(peer)) if peer.ip().is_loopback()));
}

/// All that the listener says before it closes, which it does in order.
fn last_words(mut stranger: TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    stranger.read_to_end(&mut words).unwrap();
    words
}

#[test]
fn who_says_what_is_no_handshake_is_told_and_turned_away() {
    let mut later = hello();
    later[4] = 2;
    let cases = [
        ("a request of another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec(), true),
        ("one wrong byte", b"x".to_vec(), true),
        ("a wrong byte later", b"crev".to_vec(), true),
        ("a kind that there is not", [&b"crew\x01\x09\x00\x00"[..], &[1; 32]].concat(), true),
        ("sixty kilobytes of noise", vec![0xA5; 60_000], true),
        ("another version", later, false),
    ];
    for (what, bytes, is_garbage) in cases {
        let listener = bind();
        let mut stranger = come(&listener);
        stranger.write_all(&bytes).unwrap();
        until_refused(&listener, 1);
        let words = last_words(stranger);
        assert_eq!((words.len(), words.get(5)), (FRAME, Some(&REFUSED)), "{what}: {words:?}");
        let why = reasons(&listener)[0];
        assert_eq!(matches!(why, AuthError::Garbage(_)), is_garbage, "{what}: {why}");
        assert!(matches!(listener.refusals().latest[0].peer, Peer::Host(_)));
        serves_the_honest(&listener);
    }
}

#[test]
fn a_wrong_key_and_none_are_told_apart_on_both_sides() {
    let listener = bind();
    for count in 1..=3 {
        thread::scope(|scope| {
            let another = Auth::Key(Key::new("another"));
            let client = asleep::spawn(scope, || Client::connect::<u8, u8>(listener.address(), another).map(drop));
            until_refused(&listener, count);
            let told = client.join();
            assert!(matches!(told, Err(ConnectError::Refused(AuthError::WrongKey))), "{told:?}");
        });
    }
    // Who has no key cannot say so over TCP but past the crate.
    let mut stranger = come(&listener);
    stranger.write_all(&[&b"crew\x01\x01\x00\x00"[..], &[1; 32]].concat()).unwrap();
    until_refused(&listener, 4);
    assert_eq!(last_words(stranger)[5], REFUSED);
    assert_eq!(reasons(&listener)[3], AuthError::NoKey);
    serves_the_honest(&listener);
}

#[test]
fn a_user_is_nobody_over_tcp() {
    for auth in [Auth::SameUser, Auth::SameUserAndKey(Key::new("of both"))] {
        let refused = Listener::bind(anywhere(), auth.clone()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("Auth::Key"), "{refused}");
        let refused = Client::connect::<u8, u8>(bind().address(), auth);
        assert!(matches!(refused, Err(ConnectError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidInput));
    }
}

/// However its bytes are cut, a frame is a frame, and what is behind the last one belongs to the connection.
#[test]
fn a_handshake_may_come_byte_by_byte() {
    let listener = bind();
    let mut stranger = come(&listener);
    for byte in hello() {
        stranger.write_all(&[byte]).unwrap();
        assert!(listener.try_accept::<u8, u8>().is_err());
    }
    let mut challenge = [0; FRAME];
    thread::scope(|scope| {
        let listening = asleep::spawn(scope, || until_refused(&listener, 1));
        stranger.read_exact(&mut challenge).unwrap();
        // An answer, and a message at once.
        let answer = [&b"crew\x01\x03\x00\x00"[..], &[9; 32], b"a message"].concat();
        stranger.write_all(&answer).unwrap();
        assert_eq!(last_words(stranger)[5], REFUSED, "though not all that it said was asked for");
        listening.join();
    });
    assert_eq!(reasons(&listener), [AuthError::WrongKey]);
    serves_the_honest(&listener);
}

#[test]
fn who_leaves_at_any_point_is_forgotten() {
    let listener = bind();
    let mut refused = 0;
    for bytes in [0, 1, 39, 40] {
        for how in 0..3 {
            let mut stranger = come(&listener);
            stranger.write_all(&hello()[..bytes]).unwrap();
            // It is known to be there.
            while !format!("{listener:?}").contains("pending: 1") {
                assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(1)).is_err());
            }
            match how {
                0 => reset(stranger),
                1 => stranger.shutdown(Shutdown::Write).unwrap(),
                _ => drop(stranger),
            }
            refused += 1;
            until_refused(&listener, refused);
            assert_eq!(reasons(&listener).last(), Some(&AuthError::Closed), "{bytes} bytes, {how}");
        }
    }
    serves_the_honest(&listener);
}

#[test]
fn the_slow_go_when_their_time_is_up_and_hold_up_nobody() {
    let patient = bind();
    let _silent: Vec<_> = (0..10).map(|_| come(&patient)).collect();
    serves_the_honest(&patient);
    let listener = bind().handshake_timeout(Duration::from_millis(30));
    let mut slow = come(&listener);
    // A byte now and then is no answer.
    while listener.refusals().total == 0 {
        let _sent = slow.write_all(b"c").is_ok() || slow.write_all(b"crew").is_ok();
        assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(50)).is_err());
        if listener.refusals().total == 0 {
            slow = come(&listener);
        }
    }
    assert!(matches!(reasons(&listener)[0], AuthError::TooSlow | AuthError::Garbage(_)));
    serves_the_honest(&listener.handshake_timeout(LONG));
}

#[test]
fn a_flood_of_those_who_come_and_go_keeps_nobody_out() {
    let listener = bind();
    let address = port(&listener);
    thread::scope(|scope| {
        for how in 0..2 {
            asleep::spawn(scope, move || {
                while let Ok(stranger) = TcpStream::connect(address) {
                    if how == 0 {
                        reset(stranger);
                    }
                }
            });
        }
        until_refused(&listener, 100);
        serves_the_honest(&listener);
        // Who comes now is told that nobody listens.
        listener.close();
    });
}

#[test]
fn a_crowd_of_one_host_drives_out_itself() {
    let listener = bind();
    let crowd: Vec<_> = (0..200).map(|_| come(&listener)).collect();
    serves_the_honest(&listener);
    until_refused(&listener, 137);
    assert_eq!(reasons(&listener), [AuthError::Crowded; 32]);
    let mut crowd = crowd.into_iter();
    assert_eq!(crowd.next().map(last_words).unwrap()[5], REFUSED);
}

#[test]
fn who_is_queued_when_the_listener_goes_is_told() {
    let listener = bind();
    let address = listener.address().clone();
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || Client::connect::<u8, u8>(&address, auth()).map(drop));
        client.until_asleep();
        listener.close();
        let told = client.join();
        assert!(matches!(told, Err(ConnectError::Closed)), "{told:?}");
    });
    let nobody = Client::connect::<u8, u8>(&address, auth());
    assert!(matches!(nobody, Err(ConnectError::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused));
    // Its port is free, though connections of its have just ended.
    serves_the_honest(&Listener::bind(&address, auth()).unwrap());
}

#[test]
fn a_client_keeps_its_time() {
    let listener = bind();
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        let begin = std::time::Instant::now();
        let ignored: Result<Connection<u8, u8>, _> = Client::connect_timeout(listener.address(), auth(), timeout);
        assert!(ignored.is_err_and(|error| error.is_timeout()));
        assert!(begin.elapsed() >= timeout && begin.elapsed() < LONG);
    }
}

#[test]
fn a_false_server_is_not_trusted() {
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = server.local_addr().unwrap();
    for (what, words) in [("noise", vec![0x55; 100]), ("a welcome", [&b"crew\x01\x04\x00\x00"[..], &[0; 32]].concat())]
    {
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<u8, u8>(address, auth()).map(drop));
            let (mut served, _) = server.accept().unwrap();
            served.write_all(&words).unwrap();
            let told = client.join();
            assert!(matches!(told, Err(ConnectError::Untrusted(_))), "{what}: {told:?}");
        });
    }
}
