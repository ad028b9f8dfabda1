//! Every way to stop a server, and what is left of it: nothing.

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::client::{Broken, Client, Fate, Load};
use super::server::{Server, allowed, program, wait_until};

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("prefork_probe"));
    command.args(arguments);
    command
}

/// A request that sleeps, begun.
fn sleeping(server: &Server, milliseconds: u64) -> Client {
    let mut client = Client::new(server.addr);
    let pid = client.get("/pid").pid();
    client.send(format!("GET /sleep/{milliseconds} HTTP/1.1\r\nHost: test\r\n\r\n"));
    // The kernel has delivered it to the worker's socket before it delivers the answer to this one.
    let mut other = Client::new(server.addr);
    wait_until(|| other.get("/pid").status == 200, "an answer");
    assert!(server.children().contains(&pid));
    client
}

#[test]
fn terminate_finishes_what_was_begun_refuses_the_rest_and_ends_with_zero() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2", "--drain", "5000"]), 2);
    let load = Load::start(server.addr, 16);
    load.wait_for(1_000);
    let mut begun = sleeping(&server, 300);
    server.signal(Signal::SIGTERM);
    server.wait_for(1, "drain: no new connections");
    let answer = begun.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.closes(), "{}", answer.head);
    begun.expect_end();
    let status = server.wait(allowed(2.0));
    assert_eq!(status.code(), Some(0));
    load.wait_for_refusal();
    let tally = load.finish();
    assert_eq!(tally.others(), Vec::<&Fate>::new(), "nothing but refusals");
    assert!(tally.ok >= 1_000);
    assert_eq!(server.heard_with("returned: killed 0"), 1, "{:#?}", server.heard);
    assert_eq!(server.heard_with("state: as before"), 1, "{:#?}", server.heard);
}

#[test]
fn what_stands_in_the_queue_when_it_ends_is_served() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--threads", "1"]), 1);
    let mut busy = sleeping(&server, 300);
    // Connected and sent, and perhaps not accepted yet.
    let mut queued: Vec<Client> = (0..50).map(|_| Client::new(server.addr)).collect();
    for client in &mut queued {
        client.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(busy.answer().status, 200);
    for client in &mut queued {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(server.wait(allowed(2.0)).code(), Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end_and_are_closed_in_peace() {
    let mut server = Server::start(&mut probe(&["--workers", "1"]), 1);
    let mut idle: Vec<Client> = (0..20).map(|_| Client::new(server.addr)).collect();
    for client in idle.iter_mut().take(10) {
        assert_eq!(client.get("/pid").status, 200);
    }
    let since = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(allowed(2.0)).code(), Some(0));
    assert!(since.elapsed() < allowed(2.0));
    for client in &mut idle {
        client.expect_end();
    }
}

#[test]
fn a_client_that_never_finishes_its_request_is_cut_at_the_graceful_deadline() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--graceful", "300"]), 1);
    let mut half = Client::new(server.addr);
    half.send("GET /pid HTT");
    let mut other = Client::new(server.addr);
    assert_eq!(other.get("/pid").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(allowed(2.0)).code(), Some(0));
    assert_eq!(server.heard_with("killed: it did not finish in time"), 1, "{:#?}", server.heard);
    assert_eq!(server.heard_with("returned: killed 1"), 1, "{:#?}", server.heard);
    assert!(half.stream.write_all(b"P/1.1").is_err() || matches!(half.try_answer(true), Err((Broken::Before, _))));
}

#[test]
fn interrupt_is_graceful_once() {
    let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
    let mut begun = sleeping(&server, 300);
    server.signal(Signal::SIGINT);
    assert_eq!(begun.answer().status, 200);
    assert_eq!(server.wait(allowed(2.0)).code(), Some(0));
    assert_eq!(server.heard_with("returned: killed 0"), 1);
}

#[test]
fn interrupt_is_fast_twice_and_quit_is_fast_at_once() {
    for first in [None, Some(Signal::SIGINT), Some(Signal::SIGTERM)] {
        let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
        let mut cut = sleeping(&server, 600_000);
        if let Some(first) = first {
            server.signal(first);
            server.wait_for(1, "drain: no new connections");
        }
        server.signal(if first == Some(Signal::SIGINT) { Signal::SIGINT } else { Signal::SIGQUIT });
        assert_eq!(server.wait(allowed(1.0)).code(), Some(0), "{first:?}");
        assert!(cut.try_answer(true).is_err());
        assert_eq!(server.heard_with("quit: at once"), 1);
    }
}

#[test]
fn signals_in_a_storm_end_in_a_server_that_works_and_ends() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--drain", "100"]), 2);
    let storm = [Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTTIN, Signal::SIGHUP, Signal::SIGTTOU];
    let mut client = Client::new(server.addr);
    for round in 0..10 {
        for &signal in storm.iter().cycle().skip(round).take(storm.len()) {
            server.signal(signal);
        }
        if client.get("/pid").closes() {
            client = Client::new(server.addr);
        }
    }
    assert_eq!(Client::new(server.addr).get("/pid").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(allowed(3.0)).code(), Some(0));
    assert_eq!(server.heard_with("died"), 0);
}
