//! `ipc::Listener` and `Client`: honest ones, strangers who are not, false servers, and names. What needs other processes is
//! in `ipc_listener_processes.rs`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "what the tests have in common stands in functions of their own")]

#[path = "../asleep/mod.rs"]
mod asleep;
mod false_servers;
mod honest;
mod names;
mod ported;
mod raw;
mod strangers;

use std::thread;
use std::time::Duration;

use crewkit::ipc::{Address, Auth, AuthError, Client, Connection, Key, Listener};

/// What never takes so long.
const LONG: Duration = Duration::from_secs(50);

fn key() -> Key {
    Key::new("of both")
}

fn bind(auth: &Auth) -> Listener {
    Listener::bind(Address::unique().unwrap(), auth.clone()).unwrap()
}

/// Somebody honest comes, is accepted next, and is understood.
fn serves_the_honest(listener: &Listener, auth: &Auth) {
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || {
            let end: Connection<u32, u32> = Client::connect(listener.address(), auth.clone()).unwrap();
            end.send(&5).unwrap();
            end.recv_timeout(LONG).unwrap()
        });
        let end: Connection<u32, u32> = listener.accept_timeout(LONG).unwrap();
        let got = end.recv_timeout(LONG).unwrap();
        end.send(&(got + 1)).unwrap();
        assert_eq!(client.join(), 6);
    });
}

/// Why those were turned away who were, in this order.
fn reasons(listener: &Listener) -> Vec<AuthError> {
    listener.refusals().latest.iter().map(|refusal| refusal.why).collect()
}
