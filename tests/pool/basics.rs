//! One call at a time: results, panics, many threads, options.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crewkit::pool::{Pool, PoolError, Stats, Task, TaskError};
use crewkit::process::StartMethod;

use crate::support::{Dice, LONG, in_company, in_time, is_alive, parent_of, pids, wait_until};

fn double(n: u64) -> u64 {
    n * 2
}

fn fail(message: String) -> u64 {
    panic!("{message}")
}

#[test]
fn a_pool_of_nobody_is_an_error() {
    assert!(matches!(Pool::new(0), Err(PoolError::NoWorkers)));
    assert!(matches!(Pool::builder().workers(0).build(), Err(PoolError::NoWorkers)));
}

#[test]
fn the_default_size_is_the_number_of_processors() {
    let _company = in_company();
    let pool = Pool::builder().build().unwrap();
    assert_eq!(pool.workers().len(), crewkit::process::cpu_count());
}

#[test]
fn functions_and_closures_are_called_in_other_processes() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(double, 21), Ok(42));
    assert_eq!(pool.apply(|(a, b): (String, String)| a + &b, ("a".into(), "b".into())), Ok("ab".into()));
    let pid = pool.apply(|()| std::process::id(), ()).unwrap();
    assert!(pids(&pool).contains(&pid));
    assert_eq!(pool.apply(|()| crewkit::pool::attempt(), ()), Ok(1));
}

#[test]
fn a_panic_fails_its_task_and_its_worker_lives_on() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let before = pids(&pool);
    for _ in 0..3 {
        let task = pool.submit(fail, "seven".to_owned());
        task.wait();
        assert!(task.is_ready() && !task.is_successful());
        let TaskError::Panicked { message, location, backtrace, .. } = task.get().unwrap_err() else {
            panic!("not a panic");
        };
        assert_eq!(message, "seven");
        assert!(location.contains("basics.rs"), "{location}");
        let switched_off = std::env::var("RUST_BACKTRACE").is_ok_and(|setting| setting == "0");
        assert!(switched_off || backtrace.contains("fail"), "{backtrace}");
    }
    assert_eq!(pool.apply(double, 1), Ok(2));
    assert_eq!(pids(&pool), before);
    assert_eq!(pool.stats().died, 0);
}

#[test]
fn results_wait_for_whoever_reads_them_in_whatever_order() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let mut tasks: Vec<(u64, Task<u64>)> = (0..500).map(|n| (n, pool.submit(double, n))).collect();
        Dice::new().shuffle(&mut tasks);
        for (n, task) in tasks {
            assert_eq!(task.get(), Ok(2 * n));
        }
    });
}

#[test]
fn twenty_thousand_tasks_of_which_half_are_never_read() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let tasks: Vec<Task<u64>> = (0..20_000).map(|n| pool.submit(double, n)).collect();
        for (n, task) in (0..).zip(tasks) {
            if n % 2 == 0 {
                assert_eq!(task.get(), Ok(2 * n));
            }
        }
        pool.join();
        assert_eq!(pool.stats().completed, 20_000);
    });
}

#[test]
fn eight_threads_share_a_pool() {
    let _company = in_company();
    in_time(|| {
        let pool = Arc::new(Pool::new(2).unwrap());
        let users: Vec<_> = (0..8)
            .map(|user| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    for n in 0..100 {
                        assert_eq!(pool.apply(double, user * 1_000 + n), Ok(2 * (user * 1_000 + n)));
                    }
                    assert_eq!(pool.map(double, 0..100).unwrap().iter().sum::<u64>(), 9_900);
                })
            })
            .collect();
        users.into_iter().for_each(|user| user.join().unwrap());
        assert_eq!(pool.stats().completed, 8 * 200);
    });
}

#[test]
fn a_result_can_be_waited_for_with_a_limit_and_is_given_out_once() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let wait = |reader: crewkit::ipc::Fd<io::PipeReader>| {
        let mut reader = reader.into_inner();
        reader.read_to_end(&mut Vec::new()).unwrap()
    };
    let mut task = pool.submit(wait, crewkit::ipc::Fd(reader));
    assert!(!task.wait_timeout(Duration::from_millis(20)));
    assert_eq!(task.get_timeout(Duration::ZERO), None);
    assert!(!task.is_ready());
    drop(writer);
    assert!(task.wait_timeout(LONG));
    assert!(task.is_ready() && task.is_successful());
    assert_eq!(task.get_timeout(Duration::ZERO), Some(Ok(0)));
    assert_eq!(task.get_timeout(Duration::ZERO), Some(Err(TaskError::Taken)));
    assert_eq!(task.get(), Err(TaskError::Taken));
}

#[test]
fn a_worker_leads_a_group_of_its_own_and_its_input_is_at_its_end() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let group = pool.apply(|()| (nix::unistd::getpgrp().as_raw(), nix::unistd::getpid().as_raw()), ()).unwrap();
    assert_eq!(group.0, group.1);
    let read = |()| {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| error.to_string()).map(|_| text)
    };
    assert_eq!(pool.apply(read, ()), Ok(Ok(String::new())));
}

#[test]
fn each_worker_is_initialised_once_before_its_first_task() {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static SUM: AtomicU64 = AtomicU64::new(0);
    let _company = in_company();
    let initialise = |n: u64| {
        SUM.fetch_add(n, Relaxed);
    };
    let pool = Pool::builder().workers(2).initializer(initialise, 5).build().unwrap();
    let sums = pool.map(|_: u32| (std::process::id(), SUM.load(Relaxed)), 0..100).unwrap();
    assert!(sums.iter().all(|&(_, sum)| sum == 5), "{sums:?}");
    assert_eq!(SUM.load(Relaxed), 0);
}

#[test]
fn an_initializer_that_always_fails_ends_the_pool_with_the_reason() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::builder().workers(2).initializer(|()| panic!("no licence"), ()).build().unwrap();
        let task = pool.submit(double, 1);
        let TaskError::PoolBroken { reason } = task.get().unwrap_err() else { panic!("not broken") };
        assert!(reason.contains("no licence"), "{reason}");
        assert!(matches!(pool.apply(double, 1), Err(TaskError::PoolBroken { .. })));
        let started = pool.stats().started;
        assert!(started <= 8, "{started} workers were started");
        pool.join();
    });
}

#[test]
fn workers_can_be_executed_anew_instead_of_forked() {
    let _company = in_company();
    let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build().unwrap();
    assert_eq!(pool.apply(double, 4), Ok(8));
    assert_eq!(parent_of(pids(&pool)[0]), Some(std::process::id()));
    pool.terminate();
    pool.join();
}

#[test]
fn a_pool_cannot_be_forked() {
    assert!(matches!(Pool::builder().workers(1).start_method(StartMethod::Fork).build(), Err(PoolError::Spawn(_))));
}

#[test]
fn a_worker_may_hold_one_task_or_two() {
    let _company = in_company();
    let pool = Pool::builder().workers(1).prefetch(1).build().unwrap();
    assert_eq!(pool.map(double, 0..50).unwrap().len(), 50);
    let invalid = std::panic::catch_unwind(|| Pool::builder().prefetch(3));
    assert!(invalid.is_err());
}

#[test]
fn a_task_may_have_a_pool_of_its_own_and_drop_it() {
    let _company = in_company();
    in_time(|| {
        let outer = Pool::new(2).unwrap();
        let nested = |n: u64| {
            let inner = Pool::new(2).unwrap();
            let sum: u64 = inner.map(double, 0..n).unwrap().iter().sum();
            let pids: Vec<u32> = inner.workers().iter().map(|worker| worker.pid).collect();
            drop(inner);
            (sum, pids)
        };
        for (sum, pids) in outer.map(nested, [10, 20, 30]).unwrap() {
            assert!([90, 380, 870].contains(&sum));
            for pid in pids {
                wait_until("the inner workers are gone", || !is_alive(pid));
            }
        }
    });
}

#[test]
fn the_statistics_add_up() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    pool.map(double, 0..100).unwrap();
    let _panicked = pool.apply(fail, String::new());
    let Stats { workers, queued, running, completed, lost, retried, died, .. } = pool.stats();
    assert_eq!((workers, queued, running, completed, lost, retried, died), (2, 0, 0, 101, 0, 0, 0));
}
