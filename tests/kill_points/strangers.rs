//! Listeners and clients that are killed while they find each other.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crewkit::ipc::{Address, Auth, Client, ConnectError, Connection, Counter, Key, Listener};

use crate::alone::{self, fork};
use crate::points::{AFTER, BEFORE, HANG, Outcome, Sample, Stage, When, traced};
use crate::sleeping::until_asleep;

/// Proofs of a key are long computations that nobody sees, so where every instruction is tried there are none.
fn auth() -> Auth {
    match Sample::asked_for() {
        Sample::All => Auth::SameUser,
        Sample::Few | Sample::Some => Auth::Key(Key::new("of both")),
    }
}

fn connect(address: &Address) -> Result<Connection<u8, u8>, ConnectError> {
    Client::connect_timeout(address, auth(), HANG)
}

/// Somebody else comes to a listener of this process's, and is served.
fn serves(listener: &Listener) {
    let client = fork(|| assert_eq!(connect(listener.address()).unwrap().recv_timeout(HANG).unwrap(), 4));
    let end: Connection<u8, u8> = listener.accept_timeout(HANG).unwrap();
    end.send(&4).unwrap();
    assert_eq!(client.exit_code(), 0);
}

/// The victim connects to a listener that is asleep in `accept`. The next who comes is served, whatever became of the victim.
pub(crate) fn connecting(_: When) -> Stage {
    let address = Address::unique().unwrap();
    let (ready, server) = alone::peer(|ready: Connection<(), ()>| {
        let listener = Listener::bind(&address, auth()).unwrap();
        ready.send(&()).unwrap();
        let mut seen = BEFORE;
        loop {
            let end: Connection<u8, u8> = listener.accept_timeout(HANG).unwrap();
            match end.recv_timeout(HANG) {
                Ok(9) => break seen,
                Err(error) if error.is_closed() && seen == BEFORE => seen = AFTER,
                other => panic!("neither the victim nor who comes after it: {other:?}"),
            }
        }
    });
    ready.recv_timeout(HANG).unwrap();
    until_asleep(&server);
    let victim = traced(&address, |address: Address| move || std::mem::forget(connect(&address).unwrap()));
    let judge = move || {
        connect(&address).unwrap().send(&9).unwrap();
        match server.exit_code() {
            BEFORE => Outcome::Before,
            AFTER => Outcome::After,
            code => panic!("the listener failed: exit code {code}"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim accepts a client, which has said what it has to say first and is asleep. It is told, and so is the connection that
/// it may have by then; the victim's name is free.
pub(crate) fn accepting(_: When) -> Stage {
    let address = Address::unique().unwrap();
    let victim = traced(&address, |address: Address| {
        let listener = Listener::bind(address, auth()).unwrap();
        move || {
            let end: Connection<u8, u8> = listener.accept().unwrap();
            std::mem::forget((end, listener));
        }
    });
    let client = fork(|| match connect(&address) {
        Ok(end) => {
            assert!(end.recv_timeout(HANG).is_err_and(|error| error.is_closed()));
            AFTER
        }
        Err(ConnectError::Closed) => BEFORE,
        Err(error) => panic!("{error}"),
    });
    until_asleep(&client);
    let judge = move || {
        let outcome = match client.exit_code() {
            BEFORE => Outcome::Before,
            AFTER => Outcome::After,
            code => panic!("the client failed: exit code {code}"),
        };
        serves(&Listener::bind(address, auth()).unwrap());
        outcome
    };
    Stage { victim, judge: Box::new(judge) }
}

/// A path that is taken away at the end of its kill point.
struct Path(PathBuf);

impl Drop for Path {
    fn drop(&mut self) {
        // The victim or the next listener may have done so.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// The victim takes the path of a socket that was left behind, and gives it back. The next can always have it.
pub(crate) fn taking_a_path(_: When) -> Stage {
    let name = Address::unique().unwrap().to_string();
    let path = Path(std::env::temp_dir().join(name.trim_start_matches('@')));
    drop(UnixListener::bind(&path.0).unwrap());
    let counter = Counter::new(0).unwrap();
    let victim = traced(&(path.0.clone(), counter.clone()), |(path, counter): (PathBuf, Counter)| {
        move || {
            drop(Listener::bind(path, auth()).unwrap());
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        serves(&Listener::bind(path.0.as_path(), auth()).unwrap());
        assert!(!path.0.exists());
        if counter.get().unwrap() == 0 { Outcome::Before } else { Outcome::After }
    };
    Stage { victim, judge: Box::new(judge) }
}
