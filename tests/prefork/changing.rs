//! Reloads, more and fewer workers: nobody notices.

use std::process::Command;

use nix::sys::signal::Signal;

use super::client::{Client, Load};
use super::server::{Server, is_alive, program, wait_until};

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("prefork_probe"));
    command.args(arguments);
    command
}

#[test]
fn a_reload_under_load_loses_no_request() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2", "--drain", "5000"]), 2);
    let load = Load::start(server.addr, 16);
    for generation in 2..=4 {
        load.wait_for(300);
        let old = server.wait_for_children(2);
        server.signal(Signal::SIGHUP);
        server.wait_for(1, &format!("reload: generation {generation} serves"));
        server.wait_for(2, "ended with exit code 0");
        assert!(old.iter().all(|&pid| !is_alive(pid)), "{old:?}");
    }
    load.wait_for(300);
    assert_eq!(load.finish().failures, []);
    assert_eq!(server.heard_with("died"), 0);
}

#[test]
fn reloads_asked_for_in_a_row_all_end_in_one_that_serves() {
    let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
    let load = Load::start(server.addr, 4);
    load.wait_for(100);
    for _ in 0..20 {
        server.signal(Signal::SIGHUP);
        load.wait_for(10);
    }
    wait_until(
        || {
            server.listen();
            let (begun, done) = (server.heard_with(" boots"), server.heard_with("the old one drains"));
            begun > 0 && begun == done && server.children().len() == 2
        },
        "the last reload",
    );
    assert_eq!(load.finish().failures, []);
}

#[test]
fn a_worker_that_drains_takes_no_new_connection() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--threads", "2", "--drain", "60000"]), 1);
    let mut busy = Client::new(server.addr);
    let old = busy.get("/pid").pid();
    server.signal(Signal::SIGHUP);
    server.wait_for(1, &format!("worker {old}: drains"));
    // The kept connection holds the old worker; whoever comes now is served by the new one.
    for _ in 0..50 {
        assert_ne!(Client::new(server.addr).get("/pid").pid(), old);
    }
    let last = busy.get("/pid");
    assert_eq!(last.pid(), old);
    assert!(last.closes(), "{}", last.head);
    busy.expect_end();
    server.wait_for(1, &format!("worker {old}: ended with exit code 0"));
}

#[test]
fn what_does_not_finish_in_time_is_killed_while_the_new_serve() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--graceful", "200"]), 1);
    let mut stuck = Client::new(server.addr);
    stuck.send("GET /spin HTTP/1.1\r\nHost: test\r\n\r\n");
    let old = server.wait_for_children(1)[0];
    wait_until(|| Client::new(server.addr).get("/pid").status == 200, "an answer beside it");
    server.signal(Signal::SIGHUP);
    server.wait_for(1, &format!("worker {old}: killed: it did not finish in time"));
    server.wait_for(1, &format!("worker {old}: ended with signal 9 (SIGKILL)"));
    assert_ne!(Client::new(server.addr).get("/pid").pid(), old);
}

#[test]
fn the_number_of_workers_follows_ttin_and_ttou_and_nobody_notices() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--drain", "5000"]), 1);
    let load = Load::start(server.addr, 8);
    load.wait_for(100);
    for workers in [2, 3] {
        server.signal(Signal::SIGTTIN);
        server.wait_for(1, &format!("scaled: {workers} workers from now on"));
        server.wait_for(1, "ready, serves");
        server.wait_for_children(workers);
        load.wait_for(100);
    }
    for workers in [2, 1] {
        server.signal(Signal::SIGTTOU);
        server.wait_for(1, &format!("scaled: {workers} worker"));
        server.wait_for(1, "ended with exit code 0");
        server.wait_for_children(workers);
        load.wait_for(100);
    }
    server.signal(Signal::SIGTTOU);
    server.wait_for(1, "scaled: not; 1 worker stay");
    load.wait_for(100);
    assert_eq!(load.finish().failures, []);
    assert_eq!(server.children().len(), 1);
}

#[test]
fn nothing_is_left_open_after_many_reloads_and_deaths() {
    let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
    let master = server.descriptors(server.master());
    let worker = server.descriptors(server.wait_for_children(2)[0]);
    for round in 0..10 {
        server.signal(Signal::SIGHUP);
        server.wait_for(2, "ended with exit code 0");
        if round % 3 == 0 {
            super::server::send(server.children()[0], Signal::SIGKILL);
            server.wait_for(1, "ready, serves");
        }
        server.signal(Signal::SIGTTIN);
        server.wait_for(1, "ready, serves");
        server.signal(Signal::SIGTTOU);
        server.wait_for(1, "ended with exit code 0");
    }
    assert_eq!(server.descriptors(server.master()), master);
    // A worker has its own descriptors and none of its siblings', whenever it was forked.
    for pid in server.wait_for_children(2) {
        assert_eq!(server.descriptors(pid), worker);
    }
}
