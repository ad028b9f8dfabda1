//! What strangers say before they are known.

use super::Input;
use crate::auth::{Client, FRAME_LEN, Fault, Frame, Key, Server, Step};

/// The innocent side of a handshake.
enum Side {
    Server(Server),
    Client(Client),
}

impl Side {
    fn hears(&mut self, key: &Key, frame: &[u8]) -> Result<Step, Fault> {
        match self {
            Self::Server(server) => server.receive(Some(key), frame),
            Self::Client(client) => client.receive(Some(key), frame),
        }
    }
}

/// Says to a side that has a key what somebody can say who has none: anything, what that side has said itself, and what
/// others have said who have the key, each with a byte changed or not. It is never believed.
pub fn handshake(data: &[u8]) {
    let mut input = Input(data);
    let key = Key::new(b"known to the others");
    let overheard = overheard(&key);
    let mut said: Vec<[u8; FRAME_LEN]> = Vec::new();
    let mut side = match input.byte() % 2 {
        0 => Side::Server(Server::new([5; 32])),
        _ => {
            let (client, hello) = Client::new(Some(&key), [6; 32]);
            said.push(hello);
            Side::Client(client)
        }
    };
    for _ in 0..8 {
        if input.is_empty() {
            return;
        }
        let how = input.byte();
        let mut frame = match how & 3 {
            0 => {
                let length = usize::from(input.byte());
                input.take(length).to_vec()
            }
            1 => overheard[input.below(overheard.len())].to_vec(),
            2 if !said.is_empty() => said[input.below(said.len())].to_vec(),
            _ => {
                let mut body = [0; 32];
                let piece = input.take(usize::from(how >> 2 & 7));
                body[..piece.len()].copy_from_slice(piece);
                let keyed = how & 32 != 0;
                let kinds = [Frame::Hello { keyed, nonce: body }, Frame::Challenge { nonce: body }];
                let proofs = [Frame::Answer { mac: body }, Frame::Welcome { mac: body }];
                [kinds, proofs].as_flattened()[usize::from(how >> 6)].encode().to_vec()
            }
        };
        if how & 64 != 0 && !frame.is_empty() {
            let at = input.below(frame.len());
            frame[at] ^= input.byte();
        }
        match side.hears(&key, &frame) {
            Ok(Step::Send(answer)) => said.push(answer),
            Ok(Step::Done(_)) => panic!("who has no key was believed"),
            Err(_) => {}
        }
    }
}

/// A handshake between two who have the key.
fn overheard(key: &Key) -> [[u8; FRAME_LEN]; 4] {
    let (mut client, hello) = Client::new(Some(key), [1; 32]);
    let mut server = Server::new([2; 32]);
    let says = |step| match step {
        Ok(Step::Send(frame) | Step::Done(Some(frame))) => frame,
        other => panic!("{other:?}"),
    };
    let challenge = says(server.receive(Some(key), &hello));
    let answer = says(client.receive(Some(key), &challenge));
    let welcome = says(server.receive(Some(key), &answer));
    assert_eq!(client.receive(Some(key), &welcome), Ok(Step::Done(None)));
    [hello, challenge, answer, welcome]
}
