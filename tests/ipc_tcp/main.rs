//! Connections over TCP: honest sides, and peers that write whatever they like, before they have shown a key and after. What
//! needs other processes is in `ipc_tcp_processes.rs`.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "what the tests have in common stands in functions of their own")]

mod addresses;
#[path = "../asleep/mod.rs"]
mod asleep;
mod hostile;
mod messages;
mod readiness;
mod strangers;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use crewkit::ipc::{Address, Auth, Client, Connection, Key, Listener};

/// What never takes so long.
const LONG: Duration = Duration::from_secs(50);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);
const MIB: usize = 1 << 20;

fn auth() -> Auth {
    Auth::Key(Key::new("of both"))
}

/// Any free port of this machine alone.
fn anywhere() -> Address {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

fn bind() -> Listener {
    Listener::bind(anywhere(), auth()).unwrap()
}

fn port(listener: &Listener) -> SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        other => panic!("{other}"),
    }
}

/// Both ends of a connection.
fn pair<S: Send, R: Send>() -> (Connection<S, R>, Connection<R, S>) {
    pair_at(&bind())
}

fn pair_at<S: Send, R: Send>(listener: &Listener) -> (Connection<S, R>, Connection<R, S>) {
    thread::scope(|scope| {
        let client = asleep::spawn(scope, || Client::connect_timeout(listener.address(), auth(), LONG).unwrap());
        let served = listener.accept_timeout(LONG).unwrap();
        (client.join(), served)
    })
}

/// An end, and the socket of the other one, which may do with it what it likes.
fn raw_pair<S: Send, R: Send>() -> (Connection<S, R>, TcpStream) {
    let (end, other) = pair::<S, R>();
    let socket = TcpStream::from(other.as_fd().try_clone_to_owned().unwrap());
    (end, socket)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// A record: a header as `src/framing/mod.rs` draws it, the payload, and the verdict.
fn record(flags: u8, payload: &[u8], total: u64, verdict: u8) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let header = [&len.to_le_bytes()[..], &[flags, 0, 0xE3, 0xC7], &total.to_le_bytes()].concat();
    [&header[..], payload, &[verdict]].concat()
}

const HEADER: usize = 16;
const FIRST: u8 = 1;
const LAST: u8 = 2;
const BYTES: u8 = 4;
const WHOLE: u8 = FIRST | LAST | BYTES;
const COUNTS: u8 = 1;
const VOID: u8 = 0;

/// A message of bytes that is one record.
fn message(payload: &[u8]) -> Vec<u8> {
    record(WHOLE, payload, payload.len() as u64, COUNTS)
}
