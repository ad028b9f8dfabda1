//! The end of a pool: closed, joined, terminated, shut down, dropped, interrupted from the terminal.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::Fd;
use crewkit::pool::{Pool, Task, TaskError};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::unistd::Pid;

use crate::support::{LONG, begin_and_stay, hear, in_company, in_time, is_alive, pids, wait_until};

fn slow(n: u64) -> u64 {
    thread::sleep(Duration::from_millis(5));
    n
}

#[test]
fn a_closed_pool_does_what_it_has_and_takes_nothing_more() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let tasks: Vec<Task<u64>> = (0..20).map(|n| pool.submit(slow, n)).collect();
        pool.close();
        assert_eq!(pool.apply(slow, 1), Err(TaskError::PoolClosed));
        let error = pool.map(slow, 0..3).unwrap_err();
        assert_eq!((error.index, &error.error, error.results.len()), (0, &TaskError::PoolClosed, 3));
        assert_eq!(pool.imap_unordered(slow, 0..3).filter(Result::is_err).count(), 3);
        let workers = pids(&pool);
        pool.join();
        assert!(tasks.iter().all(Task::is_ready));
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.get(), Ok(n));
        }
        assert!(workers.into_iter().all(|pid| !is_alive(pid)));
        pool.join();
        assert_eq!(pool.workers(), []);
    });
}

#[test]
fn termination_ends_what_was_begun_and_returns_the_rest() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let (mut begun, writer) = io::pipe().unwrap();
        let running = pool.submit(begin_and_stay, Fd(writer));
        hear(&mut begun);
        let waiting: Vec<Task<u64>> = (0..4).map(|n| pool.submit(slow, n)).collect();
        pool.terminate();
        let error = running.get().unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { started: true, .. }), "{error}");
        for task in waiting {
            assert_eq!(task.get(), Err(TaskError::PoolClosed));
        }
        pool.join();
        assert_eq!(pool.apply(slow, 1), Err(TaskError::PoolClosed));
    });
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let (mut begun, writer) = io::pipe().unwrap();
        let deaf = |begun: Fd<io::PipeWriter>| {
            let mut all = nix::sys::signal::SigSet::all();
            all.remove(Signal::SIGKILL);
            all.thread_block().unwrap();
            begin_and_stay(begun);
        };
        let task = pool.submit(deaf, Fd(writer));
        hear(&mut begun);
        let worker = pids(&pool)[0];
        let before = Instant::now();
        drop(pool);
        assert!(before.elapsed() < 5 * Duration::from_secs(2), "{:?}", before.elapsed());
        assert!(!is_alive(worker));
        assert!(matches!(task.get(), Err(TaskError::WorkerDied { .. })));
    });
}

#[test]
fn a_worker_that_is_stopped_does_not_hold_up_the_end() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let workers = pids(&pool);
        pool.map(slow, 0..4).unwrap();
        kill(Pid::from_raw(i32::try_from(workers[0]).unwrap()), Signal::SIGSTOP).unwrap();
        let before = Instant::now();
        drop(pool);
        assert!(before.elapsed() < 5 * Duration::from_secs(2), "{:?}", before.elapsed());
        assert!(workers.into_iter().all(|pid| !is_alive(pid)));
    });
}

#[test]
fn shutdown_says_whether_everything_was_done() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let tasks: Vec<Task<u64>> = (0..10).map(|n| pool.submit(slow, n)).collect();
        assert!(pool.shutdown(LONG));
        assert!(tasks.iter().all(Task::is_successful));

        let pool = Pool::new(1).unwrap();
        let (mut begun, writer) = io::pipe().unwrap();
        let task = pool.submit(begin_and_stay, Fd(writer));
        hear(&mut begun);
        assert!(!pool.shutdown(Duration::from_millis(10)));
        assert!(matches!(task.get(), Err(TaskError::WorkerDied { .. })));
    });
}

#[test]
fn a_pool_that_is_dropped_in_the_middle_leaves_tasks_with_answers() {
    let _company = in_company();
    in_time(|| {
        for round in 0..10 {
            let pool = Pool::new(2).unwrap();
            let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.submit(|n: u64| n, n)).collect();
            let workers = pids(&pool);
            if round > 0 {
                tasks[round * 10].wait();
            }
            drop(pool);
            for (n, task) in (0..).zip(tasks) {
                match task.get() {
                    Ok(result) => assert_eq!(result, n),
                    Err(TaskError::PoolClosed | TaskError::WorkerDied { started: true, .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(workers.into_iter().all(|pid| !is_alive(pid)));
        }
    });
}

/// Not a test of its own: the program of the next one, in a process where `crewkit` has a fork server of its own.
#[test]
#[expect(unsafe_code, reason = "what a signal does is set in a process made for it")]
fn a_program_with_a_pool() {
    if std::env::var_os("CREWKIT_POOL_PROGRAM").is_none() {
        return;
    }
    // Whoever was started in the background of a script ignores Ctrl-C.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
    let pool = Pool::new(2).unwrap();
    let (mut begun, writer) = io::pipe().unwrap();
    let tasks: Vec<Task<()>> = (0..2).map(|_| pool.submit(begin_and_stay, Fd(writer.try_clone().unwrap()))).collect();
    hear(&mut begun);
    hear(&mut begun);
    let server = crate::support::parent_of(pids(&pool)[0]).unwrap();
    println!("pids {} {server}", pids(&pool).iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    for task in tasks {
        let _never = task.get();
    }
}

#[test]
fn ctrl_c_leaves_no_process_and_no_backtrace() {
    let _company = in_company();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::a_program_with_a_pool", "--nocapture"])
        .env("CREWKIT_POOL_PROGRAM", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(program.stdout.take().unwrap()).lines();
    let pids = stdout.find_map(|line| Some(line.unwrap().rsplit_once("pids ")?.1.to_owned())).unwrap();
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| is_alive(pid)));
    killpg(Pid::from_raw(i32::try_from(program.id()).unwrap()), Signal::SIGINT).unwrap();
    // The end of both streams comes when nobody holds them any more.
    let rest: Vec<String> = stdout.map(Result::unwrap).collect();
    let mut complaints = String::new();
    program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    let status = program.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
    assert_eq!((complaints.as_str(), rest.len()), ("", 0), "{complaints} {rest:?}");
    for pid in pids {
        wait_until("everybody is gone", || !is_alive(pid));
    }
}
