//! Tables of what each side of the handshake answers, and dishonest peers of every kind.

use super::*;

const OURS: Nonce = [7; 32];
const THEIRS: Nonce = [9; 32];

fn key() -> Key {
    Key::new("the key of both")
}

/// A client and what it says first.
fn client(key: Option<&Key>) -> (Client, [u8; FRAME_LEN]) {
    Client::new(key, OURS)
}

fn server() -> Server {
    Server::new(THEIRS)
}

fn sent(step: Result<Step, Fault>) -> [u8; FRAME_LEN] {
    match step.unwrap() {
        Step::Send(frame) | Step::Done(Some(frame)) => frame,
        Step::Done(None) => panic!("nothing was sent"),
    }
}

/// Both sides up to and with the client's answer.
fn up_to_the_answer() -> (Client, Server, [u8; FRAME_LEN]) {
    let ((mut client, hello), mut server) = (client(Some(&key())), server());
    let challenge = sent(server.receive(Some(&key()), &hello));
    let answer = sent(client.receive(Some(&key()), &challenge));
    (client, server, answer)
}

#[test]
fn two_who_have_the_key_trust_each_other() {
    let (mut client, mut server, answer) = up_to_the_answer();
    let welcome = server.receive(Some(&key()), &answer).unwrap();
    let Step::Done(Some(welcome)) = welcome else { panic!("{welcome:?}") };
    assert_eq!(client.receive(Some(&key()), &welcome), Ok(Step::Done(None)));
}

#[test]
fn two_who_have_none_need_none() {
    let ((mut client, hello), mut server) = (client(None), server());
    let welcome = server.receive(None, &hello).unwrap();
    let Step::Done(Some(welcome)) = welcome else { panic!("{welcome:?}") };
    assert_eq!(client.receive(None, &welcome), Ok(Step::Done(None)));
}

/// RFC 2104 by another implementation: Python's `hmac.new(key, b"crewkit 1 client" + hello + challenge, "sha256")`.
#[test]
fn the_proof_is_hmac_sha256() {
    let transcript = [Frame::Hello { keyed: true, nonce: OURS }.encode(), Frame::Challenge { nonce: THEIRS }.encode()];
    for (key, proof) in [
        (Key::new("the key of both"), "702bcdc154b4f8e021727e90f2c497ebca47477e06f81acf5be8d587ab71aebe"),
        (Key::new([0xAB; 64]), "4270919103ff43aa38a743a76c12193baaab9ef9c470ae915455868f81e1c6df"),
        (Key::new([0xAB; 65]), "4c7d5bd05e9fbffc552d5611819f15f3a71dbeaf9fb9324409850cab607e10f9"),
    ] {
        let mac = key.sign(key::Role::Client, &transcript);
        assert_eq!(mac.map(|byte| format!("{byte:02x}")).concat(), proof);
        assert!(key.verifies(key::Role::Client, &transcript, &mac));
        assert!(!key.verifies(key::Role::Server, &transcript, &mac), "the role is part of it");
    }
}

#[test]
fn who_lacks_the_key_is_told_apart() {
    let other = Key::new("another");
    let refused = |by_server: Option<&Key>, by_client: Option<&Key>| {
        let ((mut client, hello), mut server) = (client(by_client), server());
        let mut next = hello;
        loop {
            match server.receive(by_server, &next) {
                Ok(Step::Send(frame)) => next = sent(client.receive(by_client, &frame)),
                Ok(Step::Done(_)) => return None,
                Err(Fault::Ours(why)) => {
                    let told = client.receive(by_client, &Server::farewell(why));
                    assert_eq!(told, Err(Fault::Theirs(why)), "the client is told");
                    return Some(why);
                }
                Err(fault) => panic!("{fault:?}"),
            }
        }
    };
    assert_eq!(refused(Some(&key()), Some(&key())), None);
    assert_eq!(refused(Some(&key()), Some(&other)), Some(AuthError::WrongKey));
    assert_eq!(refused(Some(&key()), None), Some(AuthError::NoKey));
    assert_eq!(refused(None, Some(&key())), Some(AuthError::UnexpectedKey));
}

#[test]
fn a_false_server_is_not_trusted() {
    let first = |key: Option<&Key>, frame: Frame| client(key).0.receive(key, &frame.encode());
    let welcome = Frame::Welcome { mac: [0; 32] };
    assert_eq!(first(Some(&key()), welcome), Err(Fault::Ours(AuthError::NoKey)), "no proof, no trust");
    assert_eq!(first(None, Frame::Challenge { nonce: THEIRS }), Err(Fault::Ours(AuthError::UnexpectedKey)));
    assert_eq!(first(Some(&key()), Frame::Challenge { nonce: OURS }), Err(Fault::Ours(AuthError::Reflected)));
    let hello = Frame::Hello { keyed: true, nonce: OURS };
    assert_eq!(first(Some(&key()), hello), Err(Fault::Ours(AuthError::Reflected)));

    let (mut client, _, answer) = up_to_the_answer();
    assert_eq!(client.receive(Some(&key()), &answer), Err(Fault::Ours(AuthError::Reflected)));
    let Ok(Frame::Answer { mac }) = Frame::decode(&answer) else { panic!("an answer") };
    for (mac, why) in [(mac, AuthError::Reflected), ([0; 32], AuthError::WrongKey)] {
        let (mut client, ..) = up_to_the_answer();
        let welcome = Frame::Welcome { mac }.encode();
        assert_eq!(client.receive(Some(&key()), &welcome), Err(Fault::Ours(why)));
    }
}

#[test]
fn a_mirror_is_no_client() {
    let (_, mut server, _) = up_to_the_answer();
    let challenge = Frame::Challenge { nonce: THEIRS }.encode();
    assert_eq!(server.receive(Some(&key()), &challenge), Err(Fault::Ours(AuthError::Reflected)));
}

/// An attacker without the key has one honest party sign for another: as a server it lets a client answer the challenge that
/// it got as a client.
#[test]
fn an_answer_is_good_for_its_own_handshake_only() {
    let (_, _, overheard) = up_to_the_answer();
    // Another nonce of the server's, the client's hello the same.
    let ((_, hello), mut server) = (client(Some(&key())), Server::new([8; 32]));
    let _challenge = sent(server.receive(Some(&key()), &hello));
    assert_eq!(server.receive(Some(&key()), &overheard), Err(Fault::Ours(AuthError::WrongKey)));
    // The server's again, another hello.
    let ((_, hello), mut server) = (Client::new(Some(&key()), [6; 32]), self::server());
    let _challenge = sent(server.receive(Some(&key()), &hello));
    assert_eq!(server.receive(Some(&key()), &overheard), Err(Fault::Ours(AuthError::WrongKey)));
}

/// Somebody between the two flips one bit of one frame: nobody trusts anybody because of it.
#[test]
fn each_bit_of_each_frame_counts() {
    for frame in 0..4 {
        for bit in 0..FRAME_LEN * 8 {
            let ((mut client, mut next), mut server) = (client(Some(&key())), server());
            let mut trusted = 0;
            for at in 0..4 {
                if at == frame {
                    next[bit / 8] ^= 1 << (bit % 8);
                }
                let step = match at % 2 {
                    0 => server.receive(Some(&key()), &next),
                    _ => client.receive(Some(&key()), &next),
                };
                match step {
                    Ok(Step::Send(frame)) => next = frame,
                    Ok(Step::Done(frame)) => {
                        trusted += 1;
                        next = frame.unwrap_or(next);
                    }
                    Err(_) => break,
                }
            }
            // In the last frame it is the client that does not trust, the server having done so before.
            assert_eq!(trusted, usize::from(frame == 3), "bit {bit} of frame {frame}");
        }
    }
}

#[test]
fn what_is_no_frame_is_garbage() {
    let hello = client(None).1;
    for len in (0..FRAME_LEN).chain([FRAME_LEN + 1]) {
        let mut bytes = hello.to_vec();
        bytes.resize(len, 0);
        assert!(matches!(server().receive(None, &bytes), Err(Fault::Ours(AuthError::Garbage(_)))), "{len} bytes");
    }
    let mut newer = hello;
    newer[4] = 2;
    assert_eq!(server().receive(None, &newer), Err(Fault::Ours(AuthError::Version(2))));
}

#[test]
fn a_side_hears_nothing_after_its_end() {
    let hello = client(None).1;
    let mut server = server();
    let welcome = sent(server.receive(None, &hello));
    assert!(matches!(server.receive(None, &hello), Err(Fault::Ours(AuthError::Garbage(_)))));
    let (mut client, _) = client(None);
    assert_eq!(client.receive(None, &welcome), Ok(Step::Done(None)));
    assert!(matches!(client.receive(None, &welcome), Err(Fault::Ours(AuthError::Garbage(_)))));
}

/// Whatever arrives, in whatever order: nothing panics, and nobody without the key is trusted.
#[test]
fn random_frames_convince_nobody() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let mut answered = 0;
    for _ in 0..20_000 {
        let (mut client, hello) = client(Some(&key()));
        let mut server = server();
        for _ in 0..3 {
            let mut frame = if next(4) == 0 { hello } else { std::array::from_fn(|_| next(256).to_le_bytes()[0]) };
            frame[..8].copy_from_slice(&[
                b'c',
                b'r',
                b'e',
                b'w',
                1,
                next(7).to_le_bytes()[0],
                next(2).to_le_bytes()[0],
                0,
            ]);
            for step in [server.receive(Some(&key()), &frame), client.receive(Some(&key()), &frame)] {
                assert!(!matches!(step, Ok(Step::Done(_))), "trusted for {frame:?}");
                answered += usize::from(step.is_ok());
            }
        }
    }
    assert!(answered > 1000, "{answered} frames led on");
}

#[test]
fn every_frame_has_one_form() {
    for kind in 0..8 {
        for word in 0..10 {
            let mut raw = Frame::Answer { mac: [0; 32] }.encode();
            (raw[5], raw[6]) = (kind, word);
            if let Ok(frame) = Frame::decode(&raw) {
                assert_eq!(frame.encode(), raw, "{frame:?}");
            }
        }
    }
}

#[test]
fn a_key_does_not_show() {
    assert_eq!(format!("{:?} {:?}", key(), Some(Key::random().unwrap())), "Key Some(Key)");
}

#[test]
#[should_panic(expected = "an empty key proves nothing")]
fn an_empty_key_is_refused() {
    drop(Key::new(""));
}
