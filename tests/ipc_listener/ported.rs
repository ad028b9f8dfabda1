//! Cases of CPython's `_test_multiprocessing.py`, under their own names; `tests/ported/test_multiprocessing_listener.md` lists
//! all of them.

use std::io;
use std::thread;

use crewkit::ipc::{Address, Auth, Client, Connection, Listener};

use crate::names::Directory;
use crate::{LONG, asleep};

/// An address of each kind, of which a path is in `directory`.
fn families(directory: &Directory) -> [Address; 2] {
    [Address::Path(directory.join("socket")), Address::unique().unwrap()]
}

fn listening(address: &Address) -> Listener {
    Listener::bind(address, Auth::SameUser).unwrap()
}

#[test]
fn test_multiple_bind() {
    for address in families(&Directory::new()) {
        let _listener = listening(&address);
        let second = Listener::bind(&address, Auth::SameUser);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn test_context() {
    for address in families(&Directory::new()) {
        let listener = listening(&address);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<u32, ()>(&address, Auth::SameUser).unwrap());
            let end: Connection<(), u32> = listener.accept().unwrap();
            client.join().send(&1729).unwrap();
            assert_eq!(end.recv_timeout(LONG).unwrap(), 1729);
        });
        listener.close();
        assert!(Client::connect::<u32, ()>(&address, Auth::SameUser).is_err());
    }
}

#[test]
fn test_listener_client() {
    for address in families(&Directory::new()) {
        let listener = listening(&address);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || {
                let end: Connection<String, ()> = Client::connect(&address, Auth::SameUser).unwrap();
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
    for address in families(&Directory::new()) {
        let listener = listening(&address);
        thread::scope(|scope| {
            let client = asleep::spawn(scope, || Client::connect::<(), ()>(&address, Auth::SameUser).unwrap());
            let end: Connection<(), ()> = listener.accept().unwrap();
            let client = client.join();
            end.send_bytes(b"hello").unwrap();
            assert!(client.poll(LONG));
            end.close();
            assert_eq!(client.recv_bytes_timeout(LONG).unwrap(), b"hello");
        });
    }
}
