//! Forking with captures. libtest has threads, so what forks here runs in a process made for it, which has one.
#![cfg(feature = "processes")]
#![expect(unsafe_code, reason = "the unchecked fork")]

use std::io::Read;
use std::time::{Duration, Instant};

use crewkit::process::{Builder, Exit, ForkError, Process, ProcessError, SpawnError, StartMethod, current, parent};
use serde::Serialize;
use serde::de::DeserializeOwned;

crewkit::enable_test_support!();

fn apart<R: Serialize + DeserializeOwned>(f: impl Fn(()) -> R + Copy + Send + Sync + 'static) -> R {
    let mut process = Builder::new().kill_on_drop(true).spawn(f, ()).expect("a start");
    match process.join_timeout(Duration::from_secs(30)) {
        Ok(result) => result.expect("the process did not end in time"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_program_with_threads_is_refused_with_their_number() {
    let error = Process::fork(|| ()).unwrap_err();
    assert!(matches!(error, ForkError::Multithreaded { threads } if threads >= 2), "{error}");
    let error = Builder::new().start_method(StartMethod::Fork).spawn(|()| (), ()).unwrap_err();
    assert!(matches!(error, SpawnError::Fork(ForkError::Multithreaded { threads }) if threads >= 2), "{error}");
}

#[test]
fn a_thread_that_was_just_joined_does_not_count() {
    apart(|()| {
        for _ in 0..200 {
            std::thread::spawn(|| ()).join().expect("a thread");
            Process::fork(|| ()).expect("one thread").join().expect("a result");
        }
    });
}

#[test]
fn captures_are_copies() {
    apart(|()| {
        let mut counter = vec![1_u64, 2, 3];
        let process = Process::fork(|| {
            counter.push(4);
            counter.iter().sum::<u64>()
        });
        assert_eq!(process.expect("a fork").join().expect("a result"), 10);
        assert_eq!(counter, [1, 2, 3]);
    });
}

#[test]
fn a_forked_process_keeps_open_files_and_is_what_the_builder_says() {
    apart(|()| {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let (mut output, stdout) = std::io::pipe().expect("a pipe");
        let builder = Builder::new().name("forked").env("CREWKIT_FORKED", "yes").current_dir("/proc").stdout(stdout);
        let process = builder
            .fork(|| {
                use std::io::Write;
                (&writer).write_all(b"inherited").expect("a pipe");
                print!("said");
                let directory = std::env::current_dir().expect("a directory");
                let variable = std::env::var("CREWKIT_FORKED").ok();
                (current().name().to_owned(), parent().map(|parent| parent.pid()), variable, directory)
            })
            .expect("a fork");
        drop((builder, writer));
        let seen = process.join().expect("a result");
        assert_eq!(seen, ("forked".into(), Some(std::process::id()), Some("yes".into()), "/proc".into()));
        let (mut wrote, mut said) = (String::new(), String::new());
        reader.read_to_string(&mut wrote).expect("a pipe");
        output.read_to_string(&mut said).expect("a pipe");
        assert_eq!((wrote.as_str(), said.as_str()), ("inherited", "said"));
    });
}

#[test]
fn ends_are_told() {
    apart(|()| {
        let fork = |f: fn()| {
            let process = Process::fork(f).expect("a fork");
            let pid = process.pid();
            assert_ne!(pid, std::process::id());
            let mut process = process;
            let result = process.join_timeout(Duration::from_secs(10)).map(|result| result.expect("in time"));
            (result, process.exit().expect("it has ended"))
        };
        let (result, exit) = fork(|| panic!("in the fork"));
        let Err(ProcessError::Panicked { message, location, .. }) = result else { panic!("{result:?}") };
        assert_eq!(message, "in the fork");
        assert!(location.starts_with("tests/process_fork.rs"), "{location}");
        assert_eq!(exit, Exit::Code(101));
        let (result, exit) = fork(|| std::process::exit(5));
        assert!(matches!(result, Err(ProcessError::Exited { code: 5 })), "{result:?}");
        assert_eq!(exit, Exit::Code(5));
        let (result, _) = fork(|| std::process::abort());
        assert!(matches!(result, Err(ProcessError::Killed { signal: 6, .. })), "{result:?}");
    });
}

/// Output that the parent had buffered is written once, and destructors of the parent run once.
#[test]
fn nothing_of_the_parent_happens_twice() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            print!("[dropped]");
        }
    }
    let (mut output, stdout) = std::io::pipe().unwrap();
    let builder = Builder::new().stdout(stdout);
    let process = builder.spawn(
        |()| {
            let _loud = Loud;
            print!("[buffered]");
            Process::fork(|| print!("[forked]")).expect("a fork").join().expect("a result");
        },
        (),
    );
    drop(builder);
    process.unwrap().join().unwrap();
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "[buffered][forked][dropped]");
}

/// A forked process has state of its own: it starts and joins processes, and its parent's are not its business.
#[test]
fn a_forked_process_starts_its_own_and_leaves_its_parents_alone() {
    apart(|()| {
        let mut running = Process::spawn(|()| std::thread::park(), ()).expect("a start");
        let second = Process::fork(|| {
            assert!(matches!(running.try_join(), Err(ProcessError::ForeignProcess)));
            assert_eq!(running.exit(), None);
            for refused in [running.terminate(), running.kill(), running.signal(0)] {
                assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            }
            let own = Process::spawn(|x: u8| (x, parent().map(|parent| parent.pid())), 1).expect("a start");
            let own = own.join().expect("a result");
            assert_eq!(own, (1, Some(std::process::id())));
            Process::fork(std::process::id).expect("a fork").join().expect("a result")
        });
        second.expect("a fork").join().expect("a result");
        assert!(running.is_alive(), "a copy of the handle ended it");
        running.kill().expect("a signal");
        while running.is_alive() {
            std::thread::yield_now();
        }
        // A busy machine may take long over one of them.
        let is_quick = || {
            let began = Instant::now();
            Process::fork(|| assert_eq!(running.exit(), None)).expect("a fork").join().expect("a result");
            began.elapsed() < Duration::from_millis(900)
        };
        assert!((0..5).any(|_| is_quick()), "it waited for news that are not for it");
        assert!(matches!(running.join(), Err(ProcessError::Killed { signal: 9, .. })));
    });
}

#[test]
fn an_unchecked_fork_is_the_callers_own_risk() {
    apart(|()| {
        let held = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| held.wait());
            // SAFETY: the other thread waits, and holds no lock that the closure or the library needs.
            let process = unsafe { Process::fork_unchecked(|| 7_u8) };
            held.wait();
            assert_eq!(process.expect("a fork").join().expect("a result"), 7);
        });
    });
}
