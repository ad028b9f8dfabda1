//! Connections and threads: who is served when, and what waits where.

use std::process::Command;

use super::client::{Client, Load};
use super::server::{Server, program};

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("prefork_probe"));
    command.args(arguments);
    command
}

#[test]
fn plain_load_has_no_failure_and_every_worker_serves() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2"]), 2);
    let load = Load::start(server.addr, 16);
    load.wait_for(5_000);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(Client::new(server.addr).get("/pid").pid());
    }
    let tally = load.finish();
    assert_eq!(tally.failures, []);
    assert!(tally.ok >= 5_000);
    assert_eq!(server.wait_for_children(2).into_iter().collect::<std::collections::BTreeSet<_>>(), seen);
    server.listen();
    assert_eq!(server.heard_with("died"), 0);
}

#[test]
fn hundreds_of_kept_connections_share_two_threads_of_two_workers() {
    let server = Server::start(&mut probe(&["--workers", "2", "--threads", "2"]), 2);
    let mut clients: Vec<Client> = (0..256).map(|_| Client::new(server.addr)).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200, "round {round}");
        }
    }
}

#[test]
fn silent_and_half_sent_requests_hold_no_thread() {
    let server = Server::start(&mut probe(&["--workers", "1", "--threads", "1"]), 1);
    let mut held: Vec<Client> = (0..40).map(|_| Client::new(server.addr)).collect();
    for client in held.iter_mut().take(20) {
        client.send("GET /pid HTTP/1.1\r\nHo");
    }
    for _ in 0..3 {
        assert_eq!(Client::new(server.addr).get("/pid").status, 200);
    }
    // And each of them goes on where it was.
    for client in held.iter_mut().take(20) {
        client.send("st: test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    for client in held.iter_mut().skip(20) {
        assert_eq!(client.get("/pid").status, 200);
    }
}

#[test]
fn when_every_thread_is_busy_the_next_waits_and_is_served() {
    let server = Server::start(&mut probe(&["--workers", "1", "--threads", "2"]), 1);
    let mut busy: Vec<Client> = (0..2).map(|_| Client::new(server.addr)).collect();
    for client in &mut busy {
        client.send("GET /sleep/300 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    assert_eq!(Client::new(server.addr).get("/pid").status, 200);
    for client in &mut busy {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn many_requests_in_one_write_are_answered_in_order() {
    let server = Server::start(&mut probe(&["--workers", "1", "--threads", "2"]), 1);
    let mut client = Client::new(server.addr);
    let requests: String = (0..500).map(|number| format!("GET /long/{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..500 {
        let answer = client.answer();
        assert_eq!(answer.text().lines().nth(1).unwrap_or_default().len(), number);
    }
}

#[test]
fn a_worker_out_of_descriptors_waits_for_one_and_goes_on() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 128; exec \"$0\" --workers 1 --threads 2"]).arg(program("prefork_probe"));
    let mut server = Server::start(&mut limited, 1);
    let mut kept = Client::new(server.addr);
    assert_eq!(kept.get("/hoard/200").status, 200);
    // The queue takes it; the worker cannot.
    let mut waiting = Client::new(server.addr);
    waiting.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_for(1, "no descriptor or memory");
    assert_eq!(kept.get("/release").status, 200);
    // It was turned away, or it waited long enough; whoever comes now is served.
    drop(waiting);
    let pid = Client::new(server.addr).get("/pid").pid();
    assert_eq!(server.children(), [pid]);
}

#[test]
fn what_the_service_captured_is_good_in_every_worker() {
    let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
    assert!(Client::new(server.addr).get("/captured").text().ends_with("good"));
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for(2, "ready, serves");
    for _ in 0..8 {
        assert!(Client::new(server.addr).get("/captured").text().ends_with("good"));
    }
}

#[test]
fn an_answer_larger_than_every_buffer_arrives_whole() {
    let server = Server::start(&mut probe(&["--workers", "1", "--threads", "1"]), 1);
    let answer = Client::new(server.addr).get("/long/20000000");
    assert!(answer.body.len() > 20_000_000);
}
