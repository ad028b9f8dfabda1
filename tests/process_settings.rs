//! Processors, users, what is called first, who runs, and whether memory was short.
#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "what runs in other processes is not in a test function")]

use std::io::{BufRead, BufReader, Read};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crewkit::process::{
    Builder, ForkError, Process, ProcessError, SpawnError, StartMethod, Stdio, active_children, wait_any,
};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, getgid, getgroups, getuid, setuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

crewkit::enable_test_support!();

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];
const SOON: Duration = Duration::from_secs(20);

/// Runs `f` in a process with one thread, whose children and fork servers are no other test's.
fn apart<R: Serialize + DeserializeOwned>(f: impl Fn(()) -> R + Copy + Send + Sync + 'static) -> R {
    let mut process = Builder::new().kill_on_drop(true).spawn(f, ()).unwrap();
    match process.join_timeout(3 * SOON) {
        Ok(result) => result.expect("the process did not end in time"),
        Err(error) => panic!("{error}"),
    }
}

fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&processor| set.is_set(processor).unwrap_or(false)).collect()
}

#[test]
fn a_process_runs_on_the_processors_that_it_was_given() {
    let last = *processors().last().unwrap();
    for method in METHODS {
        let process = Builder::new().start_method(method).affinity([last]).spawn(|()| processors(), ()).unwrap();
        assert_eq!(process.join().unwrap(), [last]);
        for none in [vec![], vec![CpuSet::count() - 1], vec![CpuSet::count()], vec![usize::MAX]] {
            let error = Builder::new().start_method(method).affinity(none.clone()).spawn(|()| (), ()).unwrap_err();
            assert!(matches!(error, SpawnError::Setup(_)), "{none:?}: {error}");
        }
    }
    assert_eq!(
        apart(|()| Builder::new().affinity(processors()).fork(processors).unwrap().join().unwrap()),
        processors()
    );
}

/// Somebody who is nobody else.
const USER: u32 = 61_234;

/// User, group, how many others, and whether a process of its own can be started.
fn who_am_i(_: ()) -> (u32, u32, usize, bool) {
    let starts =
        Process::spawn(|()| getuid().as_raw(), ()).is_ok_and(|child| child.join().is_ok_and(|uid| uid == USER));
    (getuid().as_raw(), getgid().as_raw(), getgroups().unwrap().len(), starts)
}

#[test]
fn a_process_becomes_another_user_where_it_may() {
    for method in METHODS {
        let builder = Builder::new().start_method(method).uid(USER).gid(USER + 1).kill_on_drop(true);
        if !getuid().is_root() {
            let error = builder.spawn(wait_for_ever, ()).unwrap_err();
            assert!(matches!(error, SpawnError::Setup(_)), "{error}");
            continue;
        }
        assert_eq!(builder.spawn(who_am_i, ()).unwrap().join().unwrap(), (USER, USER + 1, 0, true));
        let alone = builder.clone().limit_open_files(40).spawn(|()| getuid().as_raw(), ());
        assert_eq!(alone.unwrap().join().unwrap(), USER, "the limit is set before the right to set it is given up");
    }
}

/// The kernel forgets with a process's user whose end it is to end with.
#[test]
fn a_process_of_another_user_ends_with_its_fork_server() {
    if !getuid().is_root() {
        return;
    }
    apart(|()| {
        let mut process = Builder::new().uid(USER).spawn(wait_for_ever, ()).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let server = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        let joined = process.join_timeout(SOON);
        assert!(matches!(joined, Err(ProcessError::ForkServerDied { .. })), "{joined:?}");
        assert!(!process.is_alive());
    });
}

/// Who made it, and how often this was called there.
static MADE: OnceLock<(u32, u32)> = OnceLock::new();
static CALLS: AtomicU32 = AtomicU32::new(0);

fn make() {
    MADE.set((std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed) + 1)).unwrap();
}

fn made(_: ()) -> (u32, u32, u32) {
    let (maker, calls) = *MADE.get().unwrap();
    (std::process::id(), maker, calls)
}

#[test]
fn what_is_called_first_is_called_once_in_the_fork_server_and_in_each_other_process() {
    let children = apart(|()| {
        let builder = Builder::new().preload(make);
        let one = || builder.spawn(made, ()).unwrap().join().unwrap();
        assert!(Process::spawn(|()| MADE.get().is_none(), ()).unwrap().join().unwrap(), "only where it was asked for");
        [one(), one(), one()]
    });
    let [(_, server, _), ..] = children;
    for (child, maker, calls) in children {
        assert_eq!((maker, calls), (server, 1));
        assert_ne!(child, server);
    }
    let (child, maker, calls) =
        Builder::new().start_method(StartMethod::Spawn).preload(make).spawn(made, ()).unwrap().join().unwrap();
    assert_eq!((maker, calls), (child, 1));
    let (child, maker, _) = apart(|()| Builder::new().preload(make).fork(|| made(())).unwrap().join().unwrap());
    assert_eq!(maker, child);
}

#[test]
fn what_is_called_first_and_fails_is_told_at_each_start() {
    let errors = apart(|()| {
        let start = |builder: &Builder| match builder.spawn(|()| (), ()).unwrap_err() {
            SpawnError::Preload(why) => why,
            SpawnError::Setup(why) => why.to_string(),
            SpawnError::Fork(ForkError::Multithreaded { threads }) => format!("{threads} threads"),
            other => panic!("{other}"),
        };
        let failing = Builder::new().preload(|| panic!("no table"));
        let threaded = Builder::new().preload(|| drop(std::thread::spawn(|| wait_for_ever(()))));
        let executed = failing.clone().start_method(StartMethod::Spawn);
        assert_eq!(Process::spawn(|()| 1, ()).unwrap().join().unwrap(), 1);
        [start(&failing), start(&failing), start(&executed), start(&threaded)]
    });
    let [first, second, executed, threaded] = errors;
    assert!(first.contains("no table") && first.contains(file!()), "{first}");
    assert_eq!(first, second);
    assert!(executed.contains("no table"), "{executed}");
    assert_eq!(threaded, "2 threads");
}

#[test]
fn a_long_word_of_what_is_called_first_is_cut() {
    let why = apart(|()| {
        let builder = Builder::new().preload(|| panic!("{}", "no ".repeat(100_000)));
        match builder.spawn(|()| (), ()) {
            Err(SpawnError::Preload(why)) => why,
            other => panic!("{other:?}"),
        }
    });
    assert!(why.contains("no no no") && why.len() < 2000, "{} bytes", why.len());
}

static OPEN: OnceLock<std::fs::File> = OnceLock::new();

#[test]
fn what_is_called_first_leaves_its_descriptors_open_and_the_fork_server_none_of_its_own() {
    let kinds = apart(|()| {
        let builder = Builder::new().preload(|| OPEN.set(std::fs::File::open("/proc/self/status").unwrap()).unwrap());
        let _other = builder.clone().kill_on_drop(true).spawn(wait_for_ever, ()).unwrap();
        let process = builder.spawn(
            |()| {
                OPEN.get().unwrap().metadata().unwrap();
                let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
                let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
                links
                    .map(|link| link.to_string_lossy().split(['[', ':']).next().unwrap().to_owned())
                    .collect::<Vec<_>>()
            },
            (),
        );
        process.unwrap().join().unwrap()
    });
    let count = |kind: &str| kinds.iter().filter(|seen| *seen == kind).count();
    // Its own life socket, and no pidfd of anybody.
    assert_eq!((count("socket"), count("anon_inode")), (1, 0), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind.starts_with("/proc/") && kind.ends_with("/status")), "{kinds:?}");
}

#[test]
fn what_is_called_first_ends_with_its_owner() {
    let (output, stderr) = std::io::pipe().unwrap();
    let builder = Builder::new().kill_on_drop(true).stderr(stderr);
    let first = || {
        eprintln!("at it");
        wait_for_ever(());
    };
    let owner = builder.spawn(move |()| drop(Builder::new().preload(first).spawn(|()| (), ())), ()).unwrap();
    drop(builder);
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "at it\n");
    owner.kill().unwrap();
    // Only they hold the other end.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(output.read_to_string(&mut String::new()).is_ok()));
    assert!(told.recv_timeout(SOON).expect("the fork server goes on"));
}

#[test]
fn what_a_process_starts_has_the_rights_that_it_has_itself_by_then() {
    if !getuid().is_root() {
        return;
    }
    let seen = apart(|()| {
        let whose = || Process::spawn(|()| getuid().as_raw(), ()).unwrap().join().unwrap();
        let before = whose();
        setuid(Uid::from_raw(USER)).unwrap();
        set_dumpable(true).unwrap();
        (before, whose(), whose())
    });
    assert_eq!(seen, (0, USER, USER));
}

#[test]
fn a_fork_server_that_dies_in_what_it_calls_first_is_no_hang() {
    let error = apart(|()| {
        let builder = Builder::new().preload(|| std::process::abort()).stderr(Stdio::null());
        builder.spawn(|()| (), ()).unwrap_err().to_string()
    });
    assert!(error.contains("SIGABRT"), "{error}");
}

#[test]
fn children_are_listed_while_they_run() {
    let found = apart(|()| {
        let mut found = vec![active_children().len()];
        let start =
            |name: &str, method| Builder::new().name(name).start_method(method).spawn(wait_for_ever, ()).unwrap();
        let [first, second] = [start("first", StartMethod::ForkServer), start("second", StartMethod::Spawn)];
        let third = Builder::new().name("third").fork(|| wait_for_ever(())).unwrap();
        assert_eq!(
            active_children().iter().map(|child| child.name().to_owned()).collect::<Vec<_>>(),
            ["first", "second", "third"]
        );
        assert_eq!(active_children()[1].pid(), second.pid());
        // What nobody has a handle of any more, still runs.
        drop((first, second, third));
        let children = active_children();
        found.push(children.len());
        // Not those of whom this is a copy.
        found.push(Process::fork(|| active_children().len()).unwrap().join().unwrap());
        let refused = Process::fork(|| children[0].kill().is_err()).unwrap();
        assert!(refused.join().unwrap());
        for child in &children {
            assert!(child.is_alive());
            child.kill().unwrap();
            assert_eq!(wait_any(&[child], Some(SOON)).unwrap(), [0]);
            assert!(!child.is_alive());
            child.terminate().unwrap();
        }
        found.push(active_children().len());
        // They were reaped, where that is for this process to do.
        let zombies = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&std::process::id().to_string().as_str())
        });
        found.push(zombies.count());
        // Those that have ended do not stay in the list.
        for _ in 0..200 {
            Process::spawn(|()| (), ()).unwrap().join().unwrap();
        }
        found.push(active_children().len());
        found
    });
    assert_eq!(found, [0, 3, 0, 0, 0, 0]);
}

#[test]
fn an_abort_under_a_limit_of_memory_looks_like_want_of_it() {
    let (memory, without) = apart(|()| {
        let end = |builder: Builder, f: fn()| {
            let process = builder.stderr(Stdio::null()).start_method(StartMethod::Fork);
            process.fork(f).unwrap().join().unwrap_err()
        };
        let greedy: fn() = || drop(std::hint::black_box(vec![1_u8; 512 << 20]));
        let limited = end(Builder::new().limit_memory(256 << 20), greedy);
        let aborted = end(Builder::new(), || std::process::abort());
        let Err(killed) = ({
            let process = Builder::new().spawn(wait_for_ever, ()).unwrap();
            process.kill().unwrap();
            process.join()
        }) else {
            panic!("it was killed")
        };
        for error in [&aborted, &killed] {
            assert!(matches!(error, ProcessError::Killed { oom: false, .. }), "{error}");
        }
        assert!(matches!(limited, ProcessError::Killed { signal: 6, oom: true, .. }), "{limited}");
        (limited.to_string(), aborted.to_string())
    });
    assert!(memory.ends_with(", it seems for want of memory"), "{memory}");
    assert!(!without.contains("memory"), "{without}");
}

/// A memory cgroup of at most 64 MiB with this process in it; `None` where none can be made.
fn little_memory() -> Option<std::path::PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group =
        |controllers: &str| groups.lines().find_map(|line| line.split_once(controllers).map(|(_, group)| group));
    let (within, limit) = match group(":memory:") {
        Some(group) => (format!("/sys/fs/cgroup/memory{group}"), "memory.limit_in_bytes"),
        None => (format!("/sys/fs/cgroup{}", group("0::")?), "memory.max"),
    };
    let made = std::path::Path::new(&within).join(format!("crewkit-{}", std::process::id()));
    std::fs::create_dir(&made).ok()?;
    let fill = |file: &str, content: &str| std::fs::write(made.join(file), content);
    if fill(limit, "67108864").and_then(|()| fill("cgroup.procs", &std::process::id().to_string())).is_err() {
        let _ = std::fs::remove_dir(&made);
        return None;
    }
    // Or else it would go on in the swap.
    let _ = fill("memory.swap.max", "0").or_else(|_| fill("memory.memsw.limit_in_bytes", "67108864"));
    Some(made)
}

#[test]
fn a_process_that_the_kernel_kills_for_want_of_memory_is_told_from_others() {
    let group = apart(|()| {
        let Some(group) = little_memory() else {
            println!("no memory cgroup can be made here");
            return None;
        };
        let greedy = |()| drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        let start = |method| Builder::new().start_method(method).spawn(greedy, ()).unwrap();
        let errors = METHODS.map(|method| start(method).join().unwrap_err());
        for error in &errors {
            assert!(matches!(error, ProcessError::Killed { signal: 9, oom: true, .. }), "{error}");
        }
        // Somebody else does it, and there was no want of memory since.
        let process = Process::spawn(wait_for_ever, ()).unwrap();
        kill(Pid::from_raw(i32::try_from(process.pid()).unwrap()), Signal::SIGKILL).unwrap();
        let error = process.join().unwrap_err();
        assert!(matches!(error, ProcessError::Killed { signal: 9, oom: false, .. }), "{error}");
        Some(group)
    });
    // It is empty soon: what is left of the process's own processes ends with it.
    if let Some(group) = group {
        let begun = Instant::now();
        while let Err(error) = std::fs::remove_dir(&group) {
            assert!(begun.elapsed() < SOON, "{}: {error}", group.display());
            std::thread::yield_now();
        }
    }
}
