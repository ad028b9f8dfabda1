//! What a forked child finds.
//!
//! The children of these cases use locks and the heap although their parents have threads. glibc's fork makes that right
//! for its own locks, and no other is held at that moment: the other threads sleep.

use crate::{Case, case, until_main_ends};
use crewkit::pool::{TaskError, ThreadPool, ThreadStats};
use crewkit::sync::Event;
use crewkit::thread::{self, Cause, Local, Timer};
use std::cell::Cell;
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    case!(th15_a_child_has_the_forking_thread_only, |seen| seen.is(0, "child\n")),
    case!(th15_a_thread_that_forks_is_the_childs_main_thread, |seen| seen.is(0, "forker MainThread\n")),
    case!(th15_so_is_one_that_was_started_elsewhere, |seen| seen.is(0, "std's\n")),
    case!(th15_a_foreign_thread_of_the_parent_is_not_listed, |seen| seen.is(0, "2 1\n")),
    case!(th15_the_end_of_a_child_waits_for_its_own_threads, |seen| {
        seen.is(0, "end of child\nend of its thread\nend of parent\n");
    }),
    case!(th15_a_fork_at_exit_is_a_child_like_others, |seen| seen.is(0, "thread of the child\nparent\n")),
    case!(th15_many_threads_may_fork, |seen| seen.is(0, "16\n")),
    case!(th15_a_childs_main_thread_keeps_its_values, |seen| seen.is(0, "callback 7\nparent dropped\n")),
    case!(th15_a_number_alone_is_kept_too, |seen| seen.is(0, "same\n")),
    case!(th15_timers_stay_in_the_parent, |seen| seen.is(0, "child's\nparent's\n")),
    case!(a_pools_threads_stay_in_the_parent, |seen| seen.is(0, "parent\n")),
];

/// Forks; the child runs `body` and leaves like a program, or with an assertion's code. The parent waits for it, and for a
/// good end.
fn fork(body: impl FnOnce()) {
    if let Some(child) = fork_once() {
        let status = nix::sys::wait::waitpid(child, None).expect("waitpid");
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
        return;
    }
    let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
    std::process::exit(i32::from(!passed));
}

#[expect(unsafe_code, reason = "fork")]
fn fork_once() -> Option<nix::unistd::Pid> {
    // SAFETY: see the head of the file.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        nix::unistd::ForkResult::Parent { child } => Some(child),
        nix::unistd::ForkResult::Child => None,
    }
}

/// A thread that sleeps until the answer is dropped.
fn sleeper() -> (thread::Thread<()>, mpsc::Sender<()>) {
    let (hold, held) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        let _ = ready.send(());
        let _ = held.recv();
    });
    is_ready.recv().expect("it runs");
    (sleeper, hold)
}

fn th15_a_child_has_the_forking_thread_only() {
    let (sleeper, hold) = sleeper();
    let ended = thread::spawn(|| 7);
    ended.wait().expect("another thread");
    let (mut ended, mut sleeper) = (Some(ended), Some(sleeper));
    fork(|| {
        let sleeper = sleeper.take().expect("not taken yet");
        assert!(!sleeper.is_alive() && sleeper.thread().wait() == Ok(()));
        assert_eq!(sleeper.join().expect_err("it is not here").cause(), Cause::Forked);
        assert_eq!(ended.take().expect("not taken yet").join().expect("it ended before"), 7);
        assert_eq!(thread::enumerate(), [thread::main()]);
        assert_eq!(thread::current(), thread::main());
        assert!(thread::current().is_alive());
        assert_eq!(thread::current().native_id(), std::process::id());
        println!("child");
    });
    drop(hold);
    sleeper.expect("the child took its own").join().expect("no panic");
}

fn th15_a_thread_that_forks_is_the_childs_main_thread() {
    let before = thread::main();
    let forker = thread::Builder::new().name("forker").spawn(move || {
        let me = thread::current();
        fork(|| {
            assert_eq!((thread::main(), thread::current()), (me.clone(), me.clone()));
            assert!(me.is_alive() && !before.is_alive() && before.wait() == Ok(()));
            assert_eq!(thread::main().native_id(), std::process::id());
            assert!(me.wait().is_err() && thread::main().wait().is_err(), "it would wait for itself");
            print!("{} ", thread::main().name());
        });
        assert_ne!(thread::main(), thread::current());
    });
    forker.expect("a thread").join().expect("no panic");
    println!("{}", thread::main().name());
}

fn th15_so_is_one_that_was_started_elsewhere() {
    let foreign = std::thread::Builder::new().name("std's".to_owned()).spawn(|| {
        let me = thread::current();
        fork(|| {
            assert_eq!((thread::main(), thread::current()), (me.clone(), me.clone()));
            assert!(!thread::main().is_daemon());
            println!("{}", thread::current().name());
        });
    });
    foreign.expect("a thread").join().expect("no panic");
}

fn th15_a_foreign_thread_of_the_parent_is_not_listed() {
    let (hold, held) = mpsc::channel::<()>();
    let noticed = Arc::new(Event::new());
    let notice = Arc::clone(&noticed);
    let foreign = std::thread::spawn(move || {
        let _ = thread::current();
        notice.set();
        let _ = held.recv();
    });
    noticed.wait();
    let here = thread::active_count();
    fork(|| println!("{here} {}", thread::active_count()));
    drop(hold);
    foreign.join().expect("no panic");
}

fn th15_the_end_of_a_child_waits_for_its_own_threads() {
    let (sleeper, hold) = sleeper();
    fork(|| {
        drop(thread::spawn(|| {
            until_main_ends();
            println!("end of its thread");
        }));
        println!("end of child");
    });
    drop(hold);
    sleeper.join().expect("no panic");
    println!("end of parent");
}

fn th15_a_fork_at_exit_is_a_child_like_others() {
    let callback = || {
        if let Some(child) = fork_once() {
            nix::sys::wait::waitpid(child, None).expect("waitpid");
            println!("parent");
        } else {
            // Starts a thread although its parent is ending, and returns into what is left of the parent's exit.
            drop(thread::spawn(|| {
                until_main_ends();
                println!("thread of the child");
            }));
        }
    };
    thread::at_exit(callback).expect("the process is not ending");
}

fn th15_many_threads_may_fork() {
    let threads: Vec<_> = (0..16).map(|_| thread::spawn(|| fork(|| assert_eq!(thread::active_count(), 1)))).collect();
    println!("{}", threads.into_iter().map(|thread| thread.join().expect("the child was well")).count());
}

fn th15_timers_stay_in_the_parent() {
    let theirs = Timer::start(Duration::from_millis(50), || {
        until_main_ends();
        println!("parent's");
    });
    fork(|| {
        assert!(!theirs.is_alive() && theirs.cancel(), "it does not run here");
        Timer::start(Duration::from_millis(1), || println!("child's")).join().expect("no panic");
    });
}

fn th15_a_childs_main_thread_keeps_its_values() {
    struct Value(Cell<u32>);
    impl Drop for Value {
        fn drop(&mut self) {
            println!("{} dropped", if self.0.get() == 7 { "child" } else { "parent" });
        }
    }
    static VALUE: LazyLock<Local<Value>> = LazyLock::new(|| Local::new(|| Value(Cell::new(0))));
    let forker = thread::spawn(|| {
        VALUE.with(|_| ());
        fork(|| {
            VALUE.with(|value| value.0.set(7));
            assert_eq!(thread::current(), thread::main());
            let callback = || println!("callback {}", VALUE.with(|value| value.0.get()));
            thread::at_exit(callback).expect("the process is not ending");
        });
    });
    forker.join().expect("the child was well");
}

fn th15_a_number_alone_is_kept_too() {
    static VALUE: LazyLock<Local<Cell<u32>>> = LazyLock::new(Local::default);
    // The number is what the value of a thread is kept under; `current` would make it known in other ways, too.
    VALUE.with(|value| value.set(1));
    let main = thread::main();
    let foreign = std::thread::spawn(move || {
        VALUE.with(|value| value.set(2));
        fork(|| {
            assert_ne!(thread::main(), main);
            assert!(!main.is_alive());
            assert_eq!(VALUE.with(Cell::get), 2);
            println!("same");
        });
    });
    foreign.join().expect("no panic");
}

fn a_pools_threads_stay_in_the_parent() {
    const FOREIGN: TaskError = TaskError::ForeignProcess;
    let pool = ThreadPool::new(2).expect("a pool");
    let (done, begun) = (pool.submit(|n: u64| n, 1), Arc::new(Event::new()));
    done.wait();
    let (hold, held) = mpsc::channel::<()>();
    let tell = Arc::clone(&begun);
    let running = pool.submit(
        move |()| {
            tell.set();
            held.recv().is_err()
        },
        (),
    );
    begun.wait();
    let mut all = Some((pool, done, running));
    fork(|| {
        let (pool, done, mut running) = all.take().expect("not taken yet");
        assert_eq!(done.get(), Ok(1), "it was there before");
        assert!(!running.cancel() && running.is_ready() && !running.is_successful());
        assert_eq!(running.get_timeout(Duration::ZERO), Some(Err(FOREIGN)));
        assert_eq!(pool.apply(|n: u64| n, 1), Err(FOREIGN));
        let error = pool.map(|n: u64| n, 0..3).expect_err("nobody is there to do it");
        assert_eq!((error.error, error.results), (FOREIGN, vec![None; 3]));
        assert_eq!(pool.map_async(|n: u64| n, 0..3).get().expect_err("nobody").error, FOREIGN);
        assert_eq!(pool.imap(|n: u64| n, 0..).next(), Some(Err(FOREIGN)));
        assert!(pool.resize(1).is_err() && !pool.shutdown(Duration::MAX));
        assert_eq!(pool.stats(), ThreadStats::default());
        pool.terminate();
        pool.join();
    });
    drop(hold);
    let (pool, _, running) = all.expect("the child took its own");
    assert_eq!(running.get(), Ok(true));
    pool.join();
    println!("parent");
}
