//! Who dies, and what everybody else sees.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::client::{Broken, Client, Fate, Load};
use super::server::{Server, allowed, is_alive, program, send, wait_until};

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("prefork_probe"));
    command.args(arguments);
    command
}

/// A file that says what a booting worker does.
fn boot_file(test: &str, word: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("crewkit-prefork-{test}-{}", std::process::id()));
    std::fs::write(&path, word).expect("a temporary file");
    path
}

#[test]
fn a_killed_worker_is_replaced_and_only_its_own_connections_break() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2"]), 2);
    let load = Load::start(server.addr, 16);
    load.wait_for(1_000);
    let before = server.wait_for_children(2);
    let victim = before[0];
    let since = Instant::now();
    send(victim, Signal::SIGKILL);
    let line = server.wait_for(1, "respawned:");
    server.wait_for(1, "ready, serves");
    let took = since.elapsed();
    assert!(took < allowed(1.0), "replaced after {took:?}");
    assert!(line.contains(&format!("replaces {victim}, which died of signal 9 (SIGKILL)")), "{line}");
    load.wait_for(1_000);
    let tally = load.finish();
    for fate in &tally.failures {
        // A connection that was never served may have been the victim's, too.
        let Fate::Broken { worker, .. } = fate else { panic!("{fate:?}") };
        assert!(worker.is_none_or(|worker| worker == victim), "{fate:?}, but {victim} was killed");
    }
    assert!(tally.failures.len() <= 16, "{:?}", tally.failures);
    assert_eq!(server.wait_for_children(2)[0], before[1]);
}

#[test]
fn a_request_that_ends_its_worker_ends_nothing_else_and_the_cause_is_told() {
    let mut server = Server::start(&mut probe(&["--workers", "1"]), 1);
    for (path, cause) in [("/exit/3", "exit code 3"), ("/exit/0", "exit code 0"), ("/abort", "signal 6 (SIGABRT)")] {
        let mut client = Client::new(server.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(matches!(client.try_answer(true), Err((Broken::Before, _))), "{path}");
        let line = server.wait_for(1, "respawned:");
        assert!(line.contains(&format!("which died of {cause}")), "{line}");
        assert_eq!(Client::new(server.addr).get("/pid").status, 200);
    }
}

#[test]
fn a_panic_closes_its_connection_and_the_worker_serves_on() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--threads", "1"]), 1);
    let pid = server.wait_for_children(1)[0];
    for _ in 0..3 {
        let mut client = Client::new(server.addr);
        client.send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n");
        client.expect_end();
        let line = server.wait_for(1, "panicked");
        assert_eq!(line, format!("worker {pid}: a request panicked: a request told it to"));
    }
    let totals = Client::new(server.addr).get("/totals").text();
    assert_eq!(totals.split_whitespace().last(), Some("3"), "{totals}");
    assert_eq!(server.children(), [pid]);
}

#[test]
fn totals_never_fall_back_over_deaths_and_reloads() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2"]), 2);
    let load = Load::start(server.addr, 4);
    let mut last = [0; 4];
    let mut check = |server: &Server| {
        let text = Client::new(server.addr).get("/totals").text();
        let now: Vec<u64> = text.split_whitespace().skip(1).map(|word| word.parse().expect("a number")).collect();
        assert!(now.iter().zip(&last).all(|(now, last)| now >= last), "{now:?} after {last:?}");
        last.copy_from_slice(&now);
        now
    };
    for round in 0..4 {
        load.wait_for(200);
        check(&server);
        if round % 2 == 0 {
            send(server.children()[0], Signal::SIGKILL);
            server.wait_for(1, "respawned:");
        } else {
            server.signal(Signal::SIGHUP);
            server.wait_for(2, "ended with exit code 0");
        }
        check(&server);
    }
    let ok = load.finish().ok;
    let now = check(&server);
    // A worker that is killed takes at most the counts of the requests in hand with it.
    assert!(now[0] + 2 * 4 >= ok, "{} counted of {ok} answered", now[0]);
    assert_eq!(now[2], 2);
}

#[test]
fn a_killed_master_leaves_nobody() {
    let mut server = Server::start(&mut probe(&["--workers", "3", "--threads", "2"]), 3);
    let load = Load::start(server.addr, 8);
    load.wait_for(500);
    server.kill_master(allowed(2.0));
    drop(load.finish());
    assert!(Client::connect(server.addr).is_err(), "the port is free");
}

#[test]
fn a_killed_master_leaves_nobody_though_every_thread_spins() {
    let mut server = Server::start(&mut probe(&["--workers", "2", "--threads", "2"]), 2);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(server.addr)).collect();
    for client in &mut clients {
        client.send("GET /spin HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    // As many as can be are with a thread now: nobody else is answered by these.
    wait_until(|| server.children().iter().map(|&pid| busy_threads(pid)).sum::<usize>() >= 2, "requests that spin");
    server.kill_master(allowed(2.0));
}

/// Threads of a process that are running, not sleeping.
fn busy_threads(pid: u32) -> usize {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'))).count()
}

#[test]
fn a_killed_master_leaves_nobody_that_still_boots() {
    let path = boot_file("orphan", "hang");
    let mut server = Server::start_cold(probe(&["--workers", "2", "--boot"]).arg(&path));
    server.wait_for(2, "started (seat");
    server.kill_master(allowed(2.0));
    std::fs::remove_file(path).expect("a temporary file");
}

#[test]
fn a_request_in_progress_outlives_its_master_by_the_grace() {
    let mut server = Server::start(&mut probe(&["--workers", "1", "--orphan-grace", "5000"]), 1);
    let mut client = Client::new(server.addr);
    client.send("GET /sleep/300 HTTP/1.1\r\nHost: test\r\n\r\n");
    // The worker has begun with it once it is busy; it asks the same worker.
    wait_until(|| Client::new(server.addr).get("/totals").status == 200, "an answer");
    server.kill_master(allowed(2.0));
    let answer = client.answer();
    assert!(answer.closes(), "{}", answer.head);
}

#[test]
fn a_first_boot_that_fails_is_tried_a_few_times_and_ends_the_master() {
    for (word, why) in [("fail", "told to fail"), ("panic", "it panicked"), ("exit", "exit code 9")] {
        let path = boot_file(word, word);
        let mut server = Server::start_cold(probe(&["--workers", "2", "--boot"]).arg(&path));
        let status = server.wait(allowed(10.0));
        assert_eq!(status.code(), Some(1), "{word}");
        let stderr = server.stderr();
        assert!(stderr.contains("no worker got ready in 5 attempts") && stderr.contains(why), "{word}: {stderr}");
        std::fs::remove_file(path).expect("a temporary file");
    }
}

#[test]
fn a_reload_that_cannot_boot_is_dropped_and_the_old_workers_serve_on() {
    let path = boot_file("reload", "fine");
    let mut command = probe(&["--workers", "2", "--boot-timeout", "300", "--boot"]);
    let mut server = Server::start(command.arg(&path), 2);
    let load = Load::start(server.addr, 4);
    load.wait_for(100);
    let old = server.wait_for_children(2);
    for word in ["fail", "panic", "exit", "hang"] {
        std::fs::write(&path, word).expect("a temporary file");
        server.signal(Signal::SIGHUP);
        server.wait_for(1, "does not boot and was dropped; the old one serves on");
        load.wait_for(100);
        wait_until(|| server.children() == old, "the old workers and nobody else");
    }
    std::fs::write(&path, "fine again").expect("a temporary file");
    server.signal(Signal::SIGHUP);
    server.wait_for(2, "ended with exit code 0");
    let new: BTreeSet<u32> = server.wait_for_children(2).into_iter().collect();
    assert!(old.iter().all(|pid| !new.contains(pid) && !is_alive(*pid)));
    load.wait_for(100);
    assert_eq!(load.finish().failures, []);
    std::fs::remove_file(path).expect("a temporary file");
}

#[test]
fn a_worker_told_by_a_signal_drains_and_is_replaced() {
    let mut server = Server::start(&mut probe(&["--workers", "2"]), 2);
    let load = Load::start(server.addr, 8);
    load.wait_for(500);
    let told = server.wait_for_children(2)[0];
    send(told, Signal::SIGTERM);
    server.wait_for(1, &format!("worker {told}: ended with exit code 0"));
    load.wait_for(500);
    assert_eq!(load.finish().failures, []);
    server.wait_for_children(2);
    // A terminal's signals to the group are not for the workers.
    let pids = server.children();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGUSR1] {
        pids.iter().for_each(|&pid| send(pid, signal));
    }
    assert_eq!(Client::new(server.addr).get("/pid").status, 200);
    assert_eq!(server.children(), pids);
}

#[test]
fn an_address_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = probe(&["--bind", &addr]).output().expect("the probe");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&format!("cannot listen on {addr}: another socket listens there already")), "{stderr}");
}
