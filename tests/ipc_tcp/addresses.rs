//! Where a listener is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crewkit::ipc::{Address, Client, ConnectError, Listener, Peer};

use crate::{LONG, anywhere, auth, bind, pair_at, port};

#[test]
fn port_0_is_one_that_is_free_and_the_address_says_which() {
    let (one, other) = (bind(), bind());
    assert!(port(&one).port() != 0 && port(&one) != port(&other));
    assert_eq!(one.address().to_string(), format!("127.0.0.1:{}", port(&one).port()));
    let (near, far) = pair_at::<u8, u8>(&one);
    near.send(&1).unwrap();
    assert_eq!(far.recv_timeout(LONG).unwrap(), 1);
    assert_eq!(one.last_accepted().map(|peer| matches!(peer, Peer::Host(host) if host.ip().is_loopback())), Some(true));
}

#[test]
fn an_address_in_use_is_said_to_be_so() {
    let listener = bind();
    let error = Listener::bind(listener.address(), auth()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
}

/// Of a network that is for documentation only.
#[test]
fn an_address_of_another_machine_is_an_error() {
    let elsewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let error = Listener::bind(elsewhere, auth()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
}

#[test]
fn the_sixth_version_of_ip_is_listened_on_too() {
    let listener = match Listener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), auth()) {
        Ok(listener) => listener,
        // EADDRNOTAVAIL or EAFNOSUPPORT: this machine has none.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable || error.to_string().contains("97") => return,
        Err(error) => panic!("{error}"),
    };
    let (near, far) = pair_at::<u8, u8>(&listener);
    near.send(&1).unwrap();
    assert_eq!(far.recv_timeout(LONG).unwrap(), 1);
    assert!(listener.address().to_string().starts_with("[::1]:"));
}

#[test]
fn names_are_looked_up() {
    assert_eq!(Address::tcp("127.0.0.1:80").unwrap(), Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))));
    assert!(Address::tcp("no port").is_err());
    let none: &[SocketAddr] = &[];
    assert_eq!(Address::tcp(none).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(matches!(anywhere(), Address::Tcp(_)));
}

#[test]
fn nobody_listens_is_said_at_once() {
    let address = bind().address().clone();
    let nobody = Client::connect::<u8, u8>(address, auth());
    assert!(matches!(nobody, Err(ConnectError::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
}
