//! Cancelling: exact, wherever the task is.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use crewkit::ipc::Fd;
use crewkit::pool::{Pool, Task, TaskError};

use crate::asleep;
use crate::support::{alone, begin_and_stay, hear, in_company, in_time, say, sigkill, sigstop};

#[test]
fn what_has_not_begun_can_be_cancelled_and_never_runs() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let (mut begun, writer) = io::pipe().unwrap();
        let busy = pool.submit(begin_and_stay, Fd(writer));
        hear(&mut begun);
        let (ran, writer) = io::pipe().unwrap();
        // The first of these is with the worker already, the others are queued.
        let tasks: Vec<Task<()>> = (0..5).map(|_| pool.submit(say, Fd(writer.try_clone().unwrap()))).collect();
        drop(writer);
        assert!(!busy.cancel());
        for task in &tasks {
            assert!(task.cancel());
            assert!(!task.cancel());
        }
        for task in tasks {
            assert_eq!(task.get(), Err(TaskError::Cancelled));
        }
        let worker = pool.workers()[0].pid;
        sigkill(worker);
        assert!(matches!(busy.get(), Err(TaskError::WorkerDied { pid, .. }) if pid == worker));
        // Nobody wrote, and nobody holds the pipe any more.
        assert_eq!(io::read_to_string(ran).unwrap(), "");
        pool.join();
    });
}

#[test]
fn what_has_ended_cannot_be_cancelled() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let task = pool.submit(|n: u64| n, 3);
    task.wait();
    assert!(!task.cancel());
    assert_eq!(task.get(), Ok(3));
}

#[test]
fn cancelling_races_with_beginning_and_one_of_them_wins() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let (mut cancelled, mut done) = (0, 0);
        for n in 0..3_000 {
            let task = pool.submit(|n: u64| n, n);
            if n % 3 == 0 {
                thread::yield_now();
            }
            let was_cancelled = task.cancel();
            match task.get() {
                Ok(result) => {
                    assert!(!was_cancelled && result == n);
                    done += 1;
                }
                Err(error) => {
                    assert!(was_cancelled && error == TaskError::Cancelled, "{error}");
                    cancelled += 1;
                }
            }
        }
        pool.join();
        assert_eq!(cancelled + done, 3_000);
        assert_eq!(pool.stats().completed, done);
    });
}

#[test]
fn a_task_that_waits_behind_a_long_one_goes_to_whoever_is_free() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let (mut begun, writer) = io::pipe().unwrap();
        let long = pool.submit(begin_and_stay, Fd(writer));
        hear(&mut begun);
        // Many enough that some are stacked behind the long one.
        let tasks: Vec<Task<u64>> = (0..50).map(|n| pool.submit(|n: u64| n, n)).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.get(), Ok(n));
        }
        assert!(!long.is_ready());
    });
}

#[test]
fn a_pool_that_is_joined_ends_although_a_worker_hangs_when_the_last_work_is_withdrawn() {
    let _alone = alone();
    type Withdraw = fn(&Pool, &dyn Fn());
    let ways: [Withdraw; 2] = [
        |pool, join| {
            let task = pool.submit(|n: u64| n, 1);
            join();
            assert!(task.cancel());
        },
        |pool, join| {
            let items = (0..2).inspect(|&n| {
                if n == 1 {
                    join();
                    panic!("expected: the map ends with an item on its way");
                }
            });
            let mut results = pool.with().chunksize(1).imap(|n: u64| n, items);
            assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_err());
        },
    ];
    for withdraw in ways {
        in_time(move || {
            let pool = Pool::new(1).unwrap();
            pool.submit(|n: u64| n, 0).get().unwrap();
            sigstop(pool.workers()[0].pid);
            thread::scope(|scope| {
                withdraw(&pool, &|| {
                    // It sleeps when it has told the loop, which sleeps when it has seen what for.
                    asleep::spawn(scope, || pool.join()).until_asleep();
                    asleep::until_asleep(&stat_of_the_loop());
                });
            });
        });
    }
}

/// Where the kernel shows the state of the loop's thread, in a process with one pool.
fn stat_of_the_loop() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    // Any of them may end meanwhile.
    let is_loop = |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "crewkit-pool\n");
    let loops: Vec<PathBuf> = threads.filter(is_loop).collect();
    let [one] = &loops[..] else { panic!("{loops:?}") };
    one.join("stat").display().to_string()
}
