//! A server for the tests of `crewkit::prefork`: it does on request what a service may do wrong.
//!
//! An example target, so that `cargo test` builds it; it is no example of anything. It speaks just enough HTTP/1.1:
//! `GET`, one header that matters (`Connection: close`), no bodies. Every answer's body begins with the worker's pid.

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser;
use crewkit::prefork::{Conn, Fill, Master, Outcome, WorkerCx};

#[derive(Debug, Parser)]
struct Flags {
    #[arg(long, default_value = "127.0.0.1:0")]
    bind: String,
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Milliseconds.
    #[arg(long, default_value_t = 30_000)]
    graceful: u64,
    /// Milliseconds.
    #[arg(long, default_value_t = 30_000)]
    boot_timeout: u64,
    /// Milliseconds.
    #[arg(long, default_value_t = 1_000)]
    drain: u64,
    /// Milliseconds.
    #[arg(long, default_value_t = 1_000)]
    orphan_grace: u64,
    /// What this file says when a worker boots is what it does: `fail`, `panic`, `exit`, `hang`, or boots.
    #[arg(long)]
    boot: Option<PathBuf>,
}

fn main() {
    crewkit::init();
    let flags = Flags::parse();
    let boot = flags.boot.clone();
    // A descriptor that the service captures must be good in every worker.
    let captured = File::open("/proc/self/exe").expect("this program");
    let hoard = Mutex::new(Vec::new());
    let before = own_state();
    let result = Master::builder()
        .bind(&flags.bind)
        .workers(flags.workers)
        .threads(flags.threads)
        .graceful_timeout(Duration::from_millis(flags.graceful))
        .boot_timeout(Duration::from_millis(flags.boot_timeout))
        .keepalive_drain(Duration::from_millis(flags.drain))
        .orphan_grace(Duration::from_millis(flags.orphan_grace))
        .boot(move |_| perform(boot.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).as_deref()))
        .on_event(|event| println!("{event}"))
        .service(move |conn, worker| serve(conn, worker, &captured, &hoard))
        .run();
    match result {
        Ok(stopped) => {
            println!("returned: killed {}", stopped.killed);
            let after = own_state();
            println!("state: {}", if before == after { "as before" } else { "changed" });
            if before != after {
                println!("{before:?}\n{after:?}");
            }
        }
        Err(error) => {
            eprintln!("probe: {error}");
            std::process::exit(1);
        }
    }
}

/// What a run of the master must leave as it was: descriptors, the signal mask, children.
fn own_state() -> (Vec<String>, String, String) {
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        // The directory that is being read, and what the service captured, which goes with it.
        .filter(|target| !target.starts_with("/proc/") && !target.contains("prefork_probe"))
        .collect();
    open.sort();
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let masks = status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("/proc");
    (open, masks.collect::<Vec<_>>().join(" "), children)
}

fn perform(word: Option<&str>) -> Result<(), String> {
    match word.map(str::trim) {
        Some("fail") => Err("told to fail".to_owned()),
        Some("panic") => panic!("told to panic"),
        Some("exit") => std::process::exit(9),
        Some("hang") => loop {
            std::thread::park();
        },
        _ => Ok(()),
    }
}

fn serve(conn: &mut Conn, worker: &WorkerCx, captured: &File, hoard: &Mutex<Vec<File>>) -> Outcome {
    let end = loop {
        if let Some(at) = conn.buffer().windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match conn.fill() {
            Ok(Fill::Data(_)) => {}
            Ok(Fill::Pending) if !conn.is_overdue() => return Outcome::More,
            _ => return Outcome::Close,
        }
    };
    let head = String::from_utf8_lossy(&conn.buffer()[..end]).into_owned();
    conn.consume(end);
    let path = head.split(' ').nth(1).unwrap_or("/");
    let mut words = path.trim_start_matches('/').splitn(2, '/');
    let (word, number) = (words.next().unwrap_or_default(), words.next().and_then(|word| word.parse().ok()));
    let number: u64 = number.unwrap_or(0);
    let mut body = format!("{}\n", worker.pid());
    match word {
        "sleep" => std::thread::sleep(Duration::from_millis(number)),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "panic" => panic!("a request told it to"),
        "exit" => std::process::exit(i32::try_from(number).unwrap_or(1)),
        "abort" => std::process::abort(),
        "hoard" => {
            let more = (0..number).map_while(|_| File::open("/dev/null").ok());
            hoard.lock().expect("never poisoned").extend(more);
        }
        "release" => hoard.lock().expect("never poisoned").clear(),
        "captured" => body.push_str(if captured.metadata().is_ok_and(|file| file.is_file()) { "good" } else { "bad" }),
        "long" => body.push_str(&"x".repeat(usize::try_from(number).unwrap_or(0))),
        "totals" => {
            let totals = worker.scoreboard().snapshot().totals;
            body.push_str(&format!("{} {} {} {}", totals.requests, totals.accepted, totals.deaths, totals.panics));
        }
        _ => {}
    }
    let close = worker.is_draining() || head.to_ascii_lowercase().contains("connection: close");
    let word = if close { "Connection: close\r\n" } else { "" };
    let answer = format!("HTTP/1.1 200 OK\r\n{word}Content-Length: {}\r\n\r\n{body}", body.len());
    match conn.write_all(answer.as_bytes()) {
        Ok(()) if !close => Outcome::KeepAlive,
        _ => Outcome::Close,
    }
}
