//! Owners, servers and limits that end or run out: nobody hangs, nothing is left.
#![cfg(feature = "processes")]
#![expect(unsafe_code, reason = "signals by pid, limits and users are set in processes made for it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crewkit::process::{Builder, ForkError, Process, ProcessError, SpawnError, StartMethod, Stdio};
use serde::Serialize;
use serde::de::DeserializeOwned;

crewkit::enable_test_support!();

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];
const SOON: Duration = Duration::from_secs(10);
const KILL: i32 = 9;

unsafe extern "C" {
    safe fn kill(pid: i32, signal: i32) -> i32;
}

fn send(signal: i32, pid: u32) {
    assert_eq!(kill(i32::try_from(pid).expect("a pid"), signal), 0, "signal {signal} to {pid}");
}

/// Runs `f` in a process of its own, so that what it does to its limits, its server and its children concerns no other
/// test. A panic there is one here.
fn apart<R: Serialize + DeserializeOwned>(f: impl Fn(()) -> R + Copy + Send + Sync + 'static) -> R {
    let mut process = Builder::new().kill_on_drop(true).spawn(f, ()).expect("a start");
    match process.join_timeout(6 * SOON) {
        Ok(result) => result.expect("the process did not end in time"),
        Err(error) => panic!("{error}"),
    }
}

/// Reads a stream to its end elsewhere, so that waiting for the end has a limit.
fn end_of(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    told
}

/// Busy until it is killed. If nobody does, not for ever: the test fails long before.
fn spin_and_say_so(_: ()) {
    println!("spinning {}", std::process::id());
    let begun = Instant::now();
    while begun.elapsed() < 4 * SOON {
        std::hint::spin_loop();
    }
}

/// The owner starts a child by `method`, which spins and shares the owner's standard output; then it waits for ever.
fn own(method: u8) {
    let method = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork][usize::from(method)];
    let _child = Builder::new().start_method(method).spawn(spin_and_say_so, ()).expect("a start");
    loop {
        std::thread::park();
    }
}

#[test]
fn busy_children_end_with_an_owner_that_is_killed() {
    for method in 0..3 {
        let (output, stdout) = std::io::pipe().unwrap();
        let builder = Builder::new().kill_on_drop(true).stdout(stdout);
        let owner = builder.spawn(own, method).unwrap();
        drop(builder);
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("spinning "), "{line}");
        owner.kill().unwrap();
        // Only the two of them hold the other end: its end is their end.
        end_of(output).recv_timeout(SOON).unwrap_or_else(|_| panic!("method {method}: the child goes on spinning"));
    }
}

/// The server ends its children with their owner, too. Here it cannot, because it is stopped: each child sees to it
/// itself. The owner has also forked by itself, outside this crate, and that process lives on.
#[test]
fn a_life_line_holds_without_the_fork_server_and_in_spite_of_strange_forks() {
    const STOP: i32 = 19;
    let (output, stdout) = std::io::pipe().unwrap();
    let builder = Builder::new().kill_on_drop(true).stdout(stdout).name("owner");
    let owner = builder.spawn(
        |()| -> () {
            unsafe extern "C" {
                safe fn fork() -> i32;
                safe fn pause() -> i32;
                safe fn close(fd: i32) -> i32;
            }
            let _children =
                METHODS.map(|method| Builder::new().start_method(method).spawn(spin_and_say_so, ()).expect("a start"));
            let server = server();
            send(STOP, server);
            let stranger = fork();
            if stranger == 0 {
                close(1);
                loop {
                    pause();
                }
            }
            println!("others {server} {stranger}");
            loop {
                std::thread::park();
            }
        },
        (),
    );
    drop(builder);
    let mut output = BufReader::new(output);
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if let Some(pids) = line.strip_prefix("others ") {
            others.extend(pids.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
    }
    owner.unwrap().kill().unwrap();
    let ended = end_of(output).recv_timeout(SOON);
    assert_eq!(others.len(), 2);
    for pid in others {
        send(KILL, pid);
    }
    ended.expect("a child goes on spinning");
}

/// The same when the owner ends in peace, which waits for no daemon.
#[test]
fn children_end_with_an_owner_that_returns() {
    let (output, stdout) = std::io::pipe().unwrap();
    let builder = Builder::new().stdout(stdout);
    let owner = builder.spawn(
        |()| {
            for method in METHODS {
                Builder::new().start_method(method).daemon(true).spawn(spin_and_say_so, ()).expect("a start");
            }
        },
        (),
    );
    drop(builder);
    owner.unwrap().join().unwrap();
    end_of(output).recv_timeout(SOON).expect("children outlive their owner");
}

/// The pid of the fork server of this process.
fn server() -> u32 {
    Process::spawn(|()| std::os::unix::process::parent_id(), ()).expect("a start").join().expect("a pid")
}

#[test]
fn children_end_with_their_fork_server_and_the_next_start_begins_another() {
    apart(|()| {
        let first = server();
        let mut children: Vec<_> = (0..3).map(|_| Process::spawn(spin_and_say_so, ()).expect("a start")).collect();
        let done = Process::spawn(|()| vec![1_u8; 100_000], ()).expect("a start");
        assert_eq!(crewkit::process::wait_any(&[&done], Some(SOON)).expect("a wait"), [0]);
        send(KILL, first);
        for child in &mut children {
            let result = child.join_timeout(SOON);
            assert!(matches!(result, Err(ProcessError::ForkServerDied { .. })), "{result:?}");
            assert!(!child.is_alive());
            assert!(child.exit().is_some());
        }
        // It had sent its result and ended; who told of that end does not matter.
        assert_eq!(done.join().expect("a result").len(), 100_000);
        let second = server();
        assert_ne!(first, second);
        assert_eq!(children_of_this_process().keys().collect::<Vec<_>>(), [&second], "the dead server is reaped");
    });
}

#[test]
fn starts_survive_a_fork_server_that_is_killed_again_and_again() {
    apart(|()| {
        let (mut started, mut failed) = (0, 0);
        for _ in 0..10 {
            let victim = server();
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(move || {
                            let results = (0..10).map(|number| {
                                let process = Process::spawn(|x: u32| x, number).map_err(|error| match error {
                                    SpawnError::ForkServerDied => (),
                                    error => panic!("{error}"),
                                })?;
                                match { process }.join_timeout(SOON) {
                                    Ok(result) => assert_eq!(result, Some(number)),
                                    Err(ProcessError::ForkServerDied { .. }) => return Err(()),
                                    Err(error) => panic!("{error}"),
                                }
                                Ok(())
                            });
                            results.collect::<Vec<Result<(), ()>>>()
                        })
                    })
                    .collect();
                send(KILL, victim);
                for thread in threads {
                    for result in thread.join().expect("a thread") {
                        *if result.is_ok() { &mut started } else { &mut failed } += 1;
                    }
                }
            });
        }
        assert_eq!(started + failed, 400);
        assert!(started >= 200, "{started} of 400 started");
        assert_eq!(server(), *children_of_this_process().keys().next().expect("a server"));
    });
}

/// The children of a process, and whether each is a zombie.
fn children_of(parent: u32) -> BTreeMap<u32, bool> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).expect("a process");
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let pids: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().map(str::parse).collect::<Vec<_>>()).flatten().collect();
    let is_zombie = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    };
    pids.iter().map(|pid| (*pid, is_zombie(pid))).collect()
}

fn children_of_this_process() -> BTreeMap<u32, bool> {
    children_of(std::process::id())
}

/// What a process has open; the directory that lists it aside.
fn descriptors_of(process: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("a process");
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let mut open: Vec<String> = targets.map(|to| to.display().to_string()).filter(|to| !to.ends_with("/fd")).collect();
    open.sort();
    open
}

fn open_descriptors() -> Vec<String> {
    descriptors_of(std::process::id())
}

#[test]
fn nothing_is_left_after_any_end() {
    apart(|()| {
        let server = server();
        let state = || {
            let ours = (open_descriptors(), children_of_this_process());
            (ours, descriptors_of(server), children_of(server))
        };
        // The server closes what it held of a child a moment after it has told of its end. It keeps its owner's pidfd.
        while descriptors_of(server).iter().filter(|to| to.contains("pidfd")).count() > 1 {
            std::thread::yield_now();
        }
        let before = state();
        for _ in 0..3 {
            for method in METHODS {
                let builder = Builder::new().start_method(method).stderr(Stdio::null());
                builder.spawn(|x: u8| x, 1).expect("a start").join().expect("a result");
                builder.spawn(|()| vec![0_u8; 1 << 20], ()).expect("a start").join().expect("a result");
                builder.spawn(|()| -> () { panic!("expected") }, ()).expect("a start").join().expect_err("a panic");
                builder.spawn(|()| -> () { std::process::abort() }, ()).expect("a start").join().expect_err("an abort");
                builder.clone().limit_open_files(u64::MAX - 1).spawn(|()| (), ()).expect_err("an impossible limit");
                builder.clone().current_dir("/proc/nowhere").spawn(|()| (), ()).expect_err("no directory");
                builder.clone().start_timeout(Duration::ZERO).spawn(|()| (), ()).map(drop).unwrap_or_default();
                builder.clone().kill_on_drop(true).spawn(|()| std::thread::park(), ()).expect("a start");
                // Dropped while it runs, and runs on; it is reaped when it has ended.
                let (mut reader, writer) = std::io::pipe().expect("a pipe");
                let detached = builder.clone().stdout(writer);
                detached.spawn(|()| print!("ran on"), ()).expect("a start");
                drop(detached);
                let mut said = String::new();
                reader.read_to_string(&mut said).expect("what it says");
                assert_eq!(said, "ran on");
            }
            Builder::new()
                .start_method(StartMethod::Fork)
                .spawn(|()| (), ())
                .expect("a start")
                .join()
                .expect("a result");
        }
        // What was dropped while it ran is reaped by the next start or join after its end.
        let deadline = Instant::now() + SOON;
        while state() != before && Instant::now() < deadline {
            Process::spawn(|()| (), ()).expect("a start").join().expect("a result");
        }
        assert_eq!(state(), before);
    });
}

#[test]
fn running_out_of_descriptors_is_an_error_and_passes() {
    #[repr(C)]
    struct Limit {
        soft: u64,
        hard: u64,
    }
    unsafe extern "C" {
        fn setrlimit(resource: i32, limit: *const Limit) -> i32;
    }
    for method in METHODS {
        let limited = move |by_server: bool| {
            const OPEN_FILES: i32 = 7;
            let method = METHODS[usize::from(!by_server)];
            let builder = Builder::new().start_method(method).kill_on_drop(true);
            builder.spawn(|()| (), ()).expect("a start").join().expect("a result");
            let limit = Limit { soft: 40, hard: 4096 };
            // SAFETY: the limit lives for the call.
            assert_eq!(unsafe { setrlimit(OPEN_FILES, &raw const limit) }, 0);
            let before = open_descriptors();
            let mut running = Vec::new();
            let error = loop {
                match builder.spawn(|()| std::thread::park(), ()) {
                    Ok(process) => running.push(process),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, SpawnError::Io(_)), "{error}");
            assert!(running.len() >= 4, "{}", running.len());
            // Every way to run out: with one descriptor more, two more, and so on.
            let error = builder.spawn(|()| (), ()).expect_err("no descriptor");
            assert!(matches!(error, SpawnError::Io(_)), "{error}");
            for fill in 1..12 {
                running.pop();
                let filled: Vec<_> = (0..fill).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
                match builder.spawn(|()| 7_u8, ()) {
                    Ok(process) => match process.join() {
                        Ok(result) => assert_eq!(result, 7),
                        Err(error) => {
                            assert!(matches!(error, ProcessError::Io(_) | ProcessError::BadResult(_)), "{error}")
                        }
                    },
                    Err(error) => assert!(matches!(error, SpawnError::Io(_)), "{error}"),
                }
                drop(filled);
                if let Ok(process) = builder.spawn(|()| std::thread::park(), ()) {
                    running.push(process);
                }
            }
            running.clear();
            builder.spawn(|()| (), ()).expect("a start").join().expect("a result");
            assert_eq!(open_descriptors(), before);
        };
        let process = Process::spawn(limited, method == StartMethod::ForkServer).unwrap();
        if let Err(error) = process.join() {
            panic!("{method:?}: {error}");
        }
    }
}

/// The kernel refuses a fork with EAGAIN when a user has too many processes; root has no such limit.
#[test]
fn a_refused_fork_is_an_error() {
    unsafe extern "C" {
        safe fn getuid() -> u32;
        safe fn setuid(user: u32) -> i32;
        safe fn prctl(option: i32, argument: u64) -> i32;
        fn prlimit(pid: i32, resource: i32, limit: *const [u64; 2], old: *mut [u64; 2]) -> i32;
    }
    const PROCESSES: i32 = 6;
    const SET_DUMPABLE: i32 = 4;
    const NOBODY: u32 = 65534;
    apart(|()| {
        if getuid() == 0 {
            assert_eq!(setuid(NOBODY), 0);
            // A change of user takes /proc/self away from the process.
            assert_eq!(prctl(SET_DUMPABLE, 1), 0);
        }
        let limit = |pid: u32, processes: u64| {
            let limit = [processes; 2];
            let pid = i32::try_from(pid).expect("a pid");
            // SAFETY: the limit lives for the call, and no old one is asked for.
            assert_eq!(unsafe { prlimit(pid, PROCESSES, &raw const limit, std::ptr::null_mut()) }, 0);
        };
        limit(server(), 1);
        let again = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        let error = Process::spawn(|()| (), ()).expect_err("no process");
        assert!(matches!(&error, SpawnError::Fork(ForkError::Io(error)) if again(error)), "{error}");
        limit(std::process::id(), 1);
        let error = Builder::new().start_method(StartMethod::Spawn).spawn(|()| (), ()).expect_err("no process");
        assert!(matches!(&error, SpawnError::Io(error) if again(error)), "{error}");
        let error = Process::fork(|| ()).expect_err("no process");
        assert!(matches!(&error, ForkError::Io(error) if again(error)), "{error}");
    });
}

#[test]
fn children_start_children_that_end_with_them() {
    fn descend(depth: u32) -> Vec<u32> {
        let mut pids = vec![std::process::id()];
        if depth > 0 {
            let method = METHODS[usize::from(depth.is_multiple_of(2))];
            let child = Builder::new().start_method(method).spawn(descend, depth - 1).expect("a start");
            pids.extend(child.join().expect("pids"));
        }
        pids
    }
    let mut pids = Process::spawn(descend, 4).unwrap().join().unwrap();
    assert_eq!(pids.len(), 5);
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 5);
}
