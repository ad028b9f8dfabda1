//! Processes: results, and every way to end without one, told exactly and in time.
//!
//! # Safety
//!
//! `_exit` is declared as unistd.h declares it; it takes a number and does not return.

#![cfg(feature = "processes")]
#![expect(unsafe_code, reason = "_exit(2) has no safe form")]

use std::time::{Duration, Instant};

use crewkit::process::{Builder, Exit, Process, ProcessError, SpawnError, StartMethod};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

crewkit::enable_test_support!();

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

/// A second, as the contract has it, with an allowance for a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Joins a process that ends soon.
fn outcome<R: Serialize + DeserializeOwned>(mut process: Process<R>) -> (Result<R, ProcessError>, Option<Exit>) {
    let result = process.join_timeout(SOON).map(|result| result.expect("the process did not end in time"));
    (result, process.exit())
}

/// Runs `f` by each start method, and gives how it failed.
fn failures(f: impl Fn(()) -> u8 + Copy + Send + Sync + 'static) -> impl Iterator<Item = (ProcessError, Exit)> {
    METHODS.into_iter().map(move |method| {
        let begun = Instant::now();
        let (result, exit) = outcome(Builder::new().start_method(method).spawn(f, ()).expect("a start"));
        assert!(begun.elapsed() < SOON);
        (result.expect_err("it fails"), exit.expect("it has ended"))
    })
}

fn double(x: u64) -> u64 {
    2 * x
}

fn longest<T: AsRef<str>>(words: Vec<T>) -> usize {
    words.iter().map(|word| word.as_ref().len()).max().unwrap_or(0)
}

#[test]
fn functions_and_closures_return_results() {
    for method in METHODS {
        let builder = Builder::new().start_method(method);
        assert_eq!(builder.spawn(double, 21).unwrap().join().unwrap(), 42);
        assert_eq!(builder.spawn(longest::<String>, vec!["a".into(), "abc".into()]).unwrap().join().unwrap(), 3);
        let process = builder.spawn(|(a, b): (String, Option<u8>)| (b, a), ("x".to_owned(), None)).unwrap();
        let pid = process.pid();
        let (result, exit) = outcome(process);
        assert_eq!(result.unwrap(), (None, "x".to_owned()));
        assert_eq!(exit, Some(Exit::Code(0)));
        assert_ne!(pid, std::process::id());
    }
}

#[test]
fn arguments_and_results_of_many_megabytes_travel() {
    for method in METHODS {
        let words: Vec<u64> = (0..1 << 20).collect();
        let process = Builder::new().start_method(method).spawn(|words: Vec<u64>| words, words.clone()).unwrap();
        assert!(process.join().unwrap() == words);
    }
}

/// A long result does not keep the process waiting until somebody asks for it.
#[test]
fn a_process_ends_although_its_long_result_is_not_fetched() {
    let process = Process::spawn(|()| vec![7_u8; 8 << 20], ()).unwrap();
    let ended = crewkit::process::wait_any(&[&process], Some(SOON)).unwrap();
    assert_eq!(ended, [0]);
    assert_eq!(process.exit(), Some(Exit::Code(0)));
    assert_eq!(process.join().unwrap().len(), 8 << 20);
}

#[test]
fn a_panic_comes_with_message_place_and_backtrace() {
    for (error, exit) in failures(|()| panic!("number {}", 7)) {
        let ProcessError::Panicked { message, location, backtrace } = error else { panic!("{error}") };
        assert_eq!(message, "number 7");
        assert!(location.starts_with("tests/process.rs:"), "{location}");
        assert!(backtrace.contains("failures") || backtrace.contains("a_panic_comes_with"), "{backtrace}");
        assert_eq!(exit, Exit::Code(101));
    }
}

#[test]
fn an_abort_is_a_sigabrt() {
    for (error, exit) in failures(|()| std::process::abort()) {
        assert!(matches!(error, ProcessError::Killed { signal: 6, .. }), "{error}");
        assert!(matches!(exit, Exit::Signal { signal: 6, .. }), "{exit}");
    }
}

#[test]
fn exits_keep_their_code() {
    unsafe extern "C" {
        safe fn _exit(code: i32) -> !;
    }
    for (error, exit) in failures(|()| _exit(3)) {
        assert!(matches!(error, ProcessError::Exited { code: 3 }), "{error}");
        assert_eq!(exit, Exit::Code(3));
    }
    for (error, exit) in failures(|()| std::process::exit(0)) {
        assert!(matches!(error, ProcessError::Exited { code: 0 }), "{error}");
        assert_eq!(exit, Exit::Code(0));
    }
}

#[test]
fn a_killed_process_is_reported_as_killed() {
    for method in METHODS {
        let process = Builder::new().start_method(method).spawn(|()| std::thread::park(), ()).unwrap();
        assert!(process.is_alive());
        assert_eq!(process.exit(), None);
        process.kill().unwrap();
        let (result, exit) = outcome(process);
        assert!(matches!(result, Err(ProcessError::Killed { signal: 9, core: false, oom: false })), "{result:?}");
        assert_eq!(exit, Some(Exit::Signal { signal: 9, core: false }));
    }
}

#[test]
fn a_terminated_process_ends_by_sigterm_and_signals_after_that_do_nothing() {
    let mut process = Process::spawn(|()| std::thread::park(), ()).unwrap();
    process.terminate().unwrap();
    assert!(matches!(process.join_timeout(SOON), Err(ProcessError::Killed { signal: 15, .. })));
    assert!(!process.is_alive());
    assert!(process.resource_usage().unwrap().max_rss > 0);
    process.kill().unwrap();
    process.terminate().unwrap();
    assert!(matches!(process.join(), Err(ProcessError::Killed { signal: 15, .. })));
}

/// Refuses to be serialised, or to be deserialised.
#[derive(Clone, Copy, Debug)]
enum Stubborn {
    Staying,
    Arriving,
}

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Staying => Err(serde::ser::Error::custom("it does not want to leave")),
            Self::Arriving => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it does not want to arrive"))
    }
}

#[test]
fn what_cannot_travel_is_an_error() {
    let error = Process::spawn(|_: Stubborn| (), Stubborn::Staying).unwrap_err();
    assert!(matches!(error, SpawnError::BadArgument(_)), "{error}");
    let (result, exit) = outcome(Process::spawn(|_: Stubborn| (), Stubborn::Arriving).unwrap());
    assert!(matches!(result, Err(ProcessError::BadArgument(_))), "{result:?}");
    assert_eq!(exit, Some(Exit::Code(1)));
    let (result, _) = outcome(Process::spawn(|()| Stubborn::Staying, ()).unwrap());
    assert!(matches!(result, Err(ProcessError::BadResult(_))), "{result:?}");
    let (result, exit) = outcome(Process::spawn(|()| Stubborn::Arriving, ()).unwrap());
    assert!(matches!(result, Err(ProcessError::BadResult(_))), "{result:?}");
    assert_eq!(exit, Some(Exit::Code(0)));
}

#[test]
fn a_stopped_process_does_not_hold_up_a_join_with_a_timeout() {
    const STOP: i32 = 19;
    const CONTINUE: i32 = 18;
    for method in METHODS {
        let mut process = Builder::new().start_method(method).spawn(|()| std::thread::park(), ()).unwrap();
        process.signal(STOP).unwrap();
        assert!(process.join_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert!(process.is_alive());
        assert!(process.try_join().unwrap().is_none());
        process.signal(CONTINUE).unwrap();
        process.kill().unwrap();
        assert!(outcome(process).0.is_err());
    }
}

#[test]
fn a_result_is_given_out_once() {
    let mut process = Process::spawn(double, 1).unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), Some(2));
    assert!(matches!(process.try_join(), Err(ProcessError::AlreadyJoined)));
    assert!(matches!(process.join(), Err(ProcessError::AlreadyJoined)));
}

#[test]
fn two_hundred_at_once() {
    let all: Vec<_> = (0..200).map(|number| Process::spawn(double, number).unwrap()).collect();
    for (number, process) in (0..).zip(all) {
        assert_eq!(process.join().unwrap(), 2 * number);
    }
}

#[test]
fn eight_threads_start_processes_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for number in 0..20 {
                    let method = METHODS[usize::from(number % 10 == 0)];
                    let process = Builder::new().start_method(method).spawn(|x: u32| x + 1, thread * 100 + number);
                    assert_eq!(process.unwrap().join().unwrap(), thread * 100 + number + 1);
                }
            });
        }
    });
}

#[test]
fn the_first_to_end_is_found() {
    let quick = Process::spawn(double, 1).unwrap();
    let slow = Builder::new().kill_on_drop(true).spawn(|()| std::thread::park(), ()).unwrap();
    assert_eq!(crewkit::process::wait_any(&[&slow, &quick], Some(SOON)).unwrap(), [1]);
    assert!(crewkit::process::wait_any(&[&slow], Some(Duration::from_millis(1))).unwrap().is_empty());
}
