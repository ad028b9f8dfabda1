//! Cases of CPython's `_test_multiprocessing.py`, under their own names; `tests/ported/test_multiprocessing_listener.md` lists
//! all of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use crewkit::ipc::{Address, Auth, Client, Connection, Listener};

use crate::names::Directory;
use crate::{LONG, asleep, key};

/// An address of each kind, of which a path is in `directory`, and what can be asked there.
fn families(directory: &Directory) -> [(Address, Auth); 3] {
    let tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    [
        (Address::Path(directory.join("socket")), Auth::SameUser),
        (Address::unique().unwrap(), Auth::SameUser),
        (tcp.into(), Auth::Key(key())),
    ]
}

/// A listener, and where it is.
fn listening(address: &Address, auth: &Auth) -> (Listener, Address) {
    let listener = Listener::bind(address, auth.clone()).unwrap();
    let address = listener.address().clone();
    (listener, address)
}

#[test]
fn test_multiple_bind() {
    for (address, auth) in families(&Directory::new()) {
        let (_listener, address) = listening(&address, &auth);
        let second = Listener::bind(&address, auth);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn test_context() {
    for (address, auth) in families(&Directory::new()) {
        let (listener, address) = listening(&address, &auth);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<u32, ()>(&address, auth.clone()).unwrap());
            let end: Connection<(), u32> = listener.accept().unwrap();
            client.join().send(&1729).unwrap();
            assert_eq!(end.recv_timeout(LONG).unwrap(), 1729);
        });
        listener.close();
        assert!(Client::connect::<u32, ()>(&address, auth.clone()).is_err());
    }
}

#[test]
fn test_listener_client() {
    for (address, auth) in families(&Directory::new()) {
        let (listener, address) = listening(&address, &auth);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || {
                let end: Connection<String, ()> = Client::connect(&address, auth.clone()).unwrap();
                end.send(&"hello".to_owned()).unwrap();
                end.close();
            });
            // As in test_issue14725: it has done all that it can before anybody accepts.
            client.until_asleep();
            let end: Connection<(), String> = listener.accept().unwrap();
            assert_eq!(end.recv_timeout(LONG).unwrap(), "hello");
            client.join();
        });
    }
}

#[test]
fn test_issue16955() {
    for (address, auth) in families(&Directory::new()) {
        let (listener, address) = listening(&address, &auth);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<(), ()>(&address, auth.clone()).unwrap());
            let end: Connection<(), ()> = listener.accept().unwrap();
            let client = client.join();
            end.send_bytes(b"hello").unwrap();
            assert!(client.poll(LONG));
            end.close();
            assert_eq!(client.recv_bytes_timeout(LONG).unwrap(), b"hello");
        });
    }
}
