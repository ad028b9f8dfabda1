//! Workers that die: in a task, idle, all of them, with their fork server, with their owner.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, Fd};
use crewkit::pool::{MapError, Pool, Task, TaskError, attempt};
use crewkit::process::{Exit, Process};
use nix::sys::signal::{Signal, raise};

use crate::support::{
    Dice, LONG, begin_and_stay, hear, in_company, in_time, is_alive, parent_of, pids, say, sigkill, wait_until,
};

/// How to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Way {
    Killed,
    Aborted,
    Left,
    Replaced,
    Stopped,
}

const WAYS: [Way; 5] = [Way::Killed, Way::Aborted, Way::Left, Way::Replaced, Way::Stopped];

impl Way {
    fn die(self) -> u64 {
        match self {
            Self::Killed => raise(Signal::SIGKILL).unwrap(),
            Self::Aborted => std::process::abort(),
            Self::Left => std::process::exit(3),
            Self::Replaced => {
                let error = Command::new("/bin/sh").args(["-c", "exit 4"]).exec();
                unreachable!("{error}");
            }
            Self::Stopped => raise(Signal::SIGTERM).unwrap(),
        }
        unreachable!("{self:?} and still there")
    }

    fn leaves(self) -> Exit {
        match self {
            Self::Killed => Exit::Signal { signal: 9, core: false },
            Self::Aborted => Exit::Signal { signal: 6, core: false },
            Self::Left => Exit::Code(3),
            Self::Replaced => Exit::Code(4),
            Self::Stopped => Exit::Signal { signal: 15, core: false },
        }
    }
}

/// Whether an exit is the one expected; whether a core was dumped is the machine's affair.
fn is(exit: Exit, expected: Exit) -> bool {
    match (exit, expected) {
        (Exit::Signal { signal, .. }, Exit::Signal { signal: expected, .. }) => signal == expected,
        (exit, expected) => exit == expected,
    }
}

#[test]
fn only_the_task_that_was_running_dies_with_its_worker() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        for way in WAYS {
            let before: Vec<Task<u64>> = (0..20).map(|n| pool.submit(|n: u64| n, n)).collect();
            let dying = pool.submit(Way::die, way);
            let after: Vec<Task<u64>> = (0..20).map(|n| pool.submit(|n: u64| n, n)).collect();
            let asked = Instant::now();
            match dying.get() {
                Err(TaskError::WorkerDied { pid, cause, started: true, attempts: 1, .. }) => {
                    assert!(is(cause, way.leaves()), "{way:?}: {cause}");
                    assert!(!pids(&pool).contains(&pid));
                }
                other => panic!("{way:?}: {other:?}"),
            }
            assert!(asked.elapsed() < 5 * Duration::from_secs(1), "{way:?}: {:?}", asked.elapsed());
            for (n, task) in (0..20).chain(0..20).zip(before.into_iter().chain(after)) {
                assert_eq!(task.get(), Ok(n));
            }
            wait_until("a new worker", || pool.workers().len() == 2);
        }
        assert_eq!(pool.stats().lost, WAYS.len() as u64);
        assert_eq!(pool.stats().died, WAYS.len() as u64);
    });
}

#[test]
fn only_the_item_that_was_running_is_lost_wherever_it_is_in_its_chunk() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        for fatal in [0_u64, 1, 2, 50, 98, 99] {
            let work = |(n, fatal): (u64, u64)| {
                if n == fatal {
                    Way::Killed.die();
                }
                n
            };
            let items = (0..100).map(|n| (n, fatal));
            let MapError { index, error, results } = pool.with().chunksize(100).map(work, items).unwrap_err();
            assert_eq!(index as u64, fatal);
            assert!(matches!(error, TaskError::WorkerDied { started: true, .. }), "{error}");
            let expected: Vec<Option<u64>> = (0..100).map(|n| (n != fatal).then_some(n)).collect();
            assert_eq!(results, expected);
        }
        // Each killed one worker: none was begun again.
        assert_eq!((pool.stats().lost, pool.stats().died), (6, 6));
    });
}

#[test]
fn every_item_of_a_chunk_may_be_fatal_and_each_runs_once() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let (counter, writer) = io::pipe().unwrap();
        let work = |(n, writer): (u32, Fd<io::PipeWriter>)| {
            say(writer);
            if n % 2 == 0 {
                Way::Killed.die();
            }
            n
        };
        let items = (0..20).map(|n| (n, Fd(writer.try_clone().unwrap())));
        let results = pool.map_results(work, items);
        assert!((0..).zip(&results).all(|(n, result)| result.is_ok() == (n % 2 == 1)), "{results:?}");
        drop(writer);
        assert_eq!(io::read_to_string(counter).unwrap().len(), 20);
    });
}

#[test]
fn idle_workers_are_replaced_when_they_are_killed() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        for round in 0..10 {
            let before = pids(&pool);
            for &pid in before.iter().take(1 + round % 2) {
                sigkill(pid);
            }
            assert_eq!(pool.map(|n: u64| n, 0..50).unwrap().len(), 50);
            wait_until("new workers", || {
                pids(&pool).iter().filter(|pid| !before.contains(pid)).count() == 1 + round % 2
            });
        }
        assert_eq!(pool.stats().lost, 0);
    });
}

#[test]
fn a_pool_survives_the_fork_server() {
    let _company = in_company();
    in_time(|| {
        // In a process of its own, whose fork server no other test uses.
        let program = |()| {
            let pool = Pool::new(2).unwrap();
            let (mut begun, writer) = io::pipe().unwrap();
            let busy = pool.submit(begin_and_stay, Fd(writer));
            hear(&mut begun);
            let before = pids(&pool);
            sigkill(parent_of(before[0]).unwrap());
            let lost = matches!(busy.get(), Err(TaskError::WorkerDied { started: true, .. }));
            let sum: u64 = pool.map(|n: u64| n, 0..100).unwrap().into_iter().sum();
            let fresh = pids(&pool).iter().all(|pid| !before.contains(pid));
            (lost, sum, fresh)
        };
        assert_eq!(Process::spawn(program, ()).unwrap().join().unwrap(), (true, 4_950, true));
    });
}

#[test]
fn nobody_outlives_an_owner_that_is_killed_not_even_in_user_code() {
    let _company = in_company();
    in_time(|| {
        let (ours, theirs) = crewkit::ipc::pipe::<(), Vec<u32>>().unwrap();
        let program = |to_test: Connection<Vec<u32>, ()>| {
            let pool = Pool::new(2).unwrap();
            let (mut begun, writer) = io::pipe().unwrap();
            let spin = |begun: Fd<io::PipeWriter>| {
                say(begun);
                loop {
                    std::hint::spin_loop();
                }
            };
            let task: Task<()> = pool.submit(spin, Fd(writer.try_clone().unwrap()));
            let _other: Task<()> = pool.submit(begin_and_stay, Fd(writer));
            hear(&mut begun);
            hear(&mut begun);
            let mut everybody = pids(&pool);
            everybody.push(parent_of(everybody[0]).unwrap());
            to_test.send(&everybody).unwrap();
            let _never = task.get();
        };
        let owner = Process::spawn(program, theirs).unwrap();
        let everybody = ours.recv().unwrap();
        assert_eq!(everybody.len(), 3);
        sigkill(owner.pid());
        let killed = Instant::now();
        for pid in everybody {
            wait_until("everybody is gone", || !is_alive(pid));
        }
        assert!(killed.elapsed() < 5 * Duration::from_secs(2), "{:?}", killed.elapsed());
    });
}

#[test]
fn retries_are_made_as_often_as_was_asked() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::builder().workers(2).retries(2).build().unwrap();
        let third_time = |n: u64| {
            if attempt() < 3 {
                Way::Killed.die();
            }
            (n, attempt())
        };
        assert_eq!(pool.apply(third_time, 7), Ok((7, 3)));
        assert_eq!(attempt(), 1);
        let items = pool.with().chunksize(5).map(third_time, 0..5).unwrap();
        assert_eq!(items, (0..5).map(|n| (n, 3)).collect::<Vec<_>>());
        assert_eq!(pool.stats().retried, 2 * 6);

        let never = pool.apply(|()| Way::Left.die(), ());
        assert!(matches!(never, Err(TaskError::WorkerDied { attempts: 3, .. })), "{never:?}");
        let once = pool.with().retries(0).apply(|()| Way::Left.die(), ());
        assert!(matches!(once, Err(TaskError::WorkerDied { attempts: 1, .. })), "{once:?}");
        // A panic is an answer, not a death.
        let panics = pool.apply(|()| -> u32 { panic!("try {}", attempt()) }, ());
        assert!(matches!(&panics, Err(TaskError::Panicked { message, .. }) if message == "try 1"), "{panics:?}");
    });
}

#[test]
fn a_worker_that_loses_its_socket_is_replaced() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let before = pids(&pool);
        let close_everything = |()| {
            for fd in 3..200 {
                let _was_closed = nix::unistd::close(fd);
            }
            1
        };
        let error = pool.apply(close_everything, ()).unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { started: true, .. }), "{error}");
        assert_eq!(pool.apply(|n: u64| n, 2), Ok(2));
        assert_ne!(pids(&pool), before);
    });
}

#[test]
fn nothing_is_lost_and_nothing_is_doubled_under_random_kills() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(3).unwrap();
        let (journal, writer) = io::pipe().unwrap();
        let reader = thread::spawn(move || io::read_to_string(journal).unwrap());
        let mut dice = Dice::new();
        let (mut submitted, mut completed, mut failed) = (0, 0, 0);
        // Each task tells that it runs in one write, which a pipe keeps whole.
        let work = |(n, writer): (u32, Fd<io::PipeWriter>)| {
            io::Write::write_all(&mut writer.into_inner(), format!("{n}\n").as_bytes()).unwrap();
            n
        };
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            let first = submitted;
            submitted += 60;
            let item = |n| (n, Fd(writer.try_clone().unwrap()));
            let single: Vec<Task<u32>> = (first..first + 30).map(|n| pool.submit(work, item(n))).collect();
            let mut many = pool.with().chunksize(4).imap_unordered(work, (first + 30..first + 60).map(item)).indexed();
            let mut next = || many.next().map(|(index, result)| (first + 30 + u32::try_from(index).unwrap(), result));
            let mut results = Vec::new();
            for task in (first..).zip(single) {
                results.push((task.0, task.1.get()));
                if dice.below(3) == 0 {
                    let workers = pids(&pool);
                    if !workers.is_empty() {
                        sigkill(workers[dice.below(workers.len())]);
                    }
                }
                results.extend(next());
            }
            results.extend(std::iter::from_fn(next));
            assert_eq!(results.len(), 60);
            for (n, result) in results {
                match result {
                    Ok(answer) => {
                        assert_eq!(answer, n);
                        completed += 1;
                    }
                    Err(TaskError::WorkerDied { .. }) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert_eq!(submitted, completed + failed);
        let stats = pool.stats();
        assert_eq!((stats.completed, stats.lost), (u64::from(completed), u64::from(failed)));
        drop(writer);
        pool.join();
        let mut ran: Vec<u32> = reader.join().unwrap().lines().map(|line| line.parse().unwrap()).collect();
        ran.sort_unstable();
        assert!(ran.windows(2).all(|pair| pair[0] != pair[1]), "something ran twice");
        println!("{submitted} submitted, {completed} completed, {failed} failed, {} deaths", stats.died);
        assert!(stats.died > 0 && ran.len() >= completed as usize);
    });
}

#[test]
fn a_killed_worker_is_no_matter_for_a_map_of_plain_numbers() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let end = Instant::now() + Duration::from_secs(2);
        let mut lost = 0;
        while Instant::now() < end {
            let victim = pids(&pool).first().copied();
            let killer = thread::spawn(move || victim.into_iter().for_each(sigkill));
            let results = pool.map_results(|n: u64| n, 0..20_000);
            killer.join().unwrap();
            assert_eq!(results.len(), 20_000);
            for (n, result) in (0..).zip(results) {
                match result {
                    Ok(answer) => assert_eq!(answer, n),
                    Err(TaskError::WorkerDied { started: true, .. }) => lost += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let stats = pool.stats();
        println!("{} deaths, {lost} items lost", stats.died);
        assert!(lost <= stats.died, "{lost} items were lost with {} workers", stats.died);
        assert!(pool.shutdown(LONG));
    });
}
