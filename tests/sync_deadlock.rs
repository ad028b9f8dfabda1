//! Dead-locks of `sync::Lock` and `sync::RLock` are reported once, by the thread that closes the circle, and nothing else
//! is. Each circle here is resolved, mostly by a release from outside, so that the tests end.
#![cfg(not(crewkit_loom))]

use crewkit::sync::deadlock::{self, Report};
use crewkit::sync::{Condition, Lock, RLock};
use std::fmt::Debug;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Barrier, Once};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

/// All reports of this program, whose tests run side by side: each looks for the names of its own threads. They lie in a
/// watched lock, as a user's hook may use one.
static REPORTS: Lock<Vec<Report>> = Lock::new(Vec::new());
static NEWS: Condition = Condition::new();

/// Runs `body` in a thread of that name, which is waited for by the end of `scope`.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        deadlock::set_hook(|report| {
            REPORTS.lock().push(report.clone());
            NEWS.notify_all();
        });
    });
    Builder::new().name(name.to_owned()).spawn_scoped(scope, body).expect("a thread starts")
}

fn is_about(report: &Report, name: &str) -> bool {
    report.threads.iter().any(|thread| thread.name.as_deref() == Some(name))
}

fn reports_of(name: &str) -> Vec<Report> {
    REPORTS.lock().iter().filter(|report| is_about(report, name)).cloned().collect()
}

/// Waits for the first report about the thread of that name.
fn report_of(name: &str) -> Report {
    let mut reports = REPORTS.lock();
    let is_silent = |reports: &Vec<Report>| !reports.iter().any(|report| is_about(report, name));
    if !NEWS.wait_while_timeout(&mut reports, is_silent, PATIENCE) {
        eprintln!("no report about `{name}`");
        std::process::exit(101);
    }
    drop(reports);
    reports_of(name).remove(0)
}

/// Waits until `count` threads wait for `lock`.
fn until_waited_for(lock: &impl Debug, count: usize) {
    let begin = Instant::now();
    while !format!("{lock:?}").contains(&format!("waiters: {count}")) {
        assert!(begin.elapsed() < PATIENCE, "{lock:?}");
        thread::yield_now();
    }
}

fn is_in_check(name: &str) -> bool {
    deadlock::check().iter().any(|report| is_about(report, name))
}

fn address<T>(lock: &T) -> usize {
    ptr::from_ref(lock).addr()
}

/// What a thread of a report holds, since which line, and what it waits for, since which line.
fn facts(report: &Report, name: &str) -> (usize, u32, usize, u32) {
    let thread =
        report.threads.iter().find(|thread| thread.name.as_deref() == Some(name)).expect("it is in the circle");
    assert_eq!((thread.acquired_at.file(), thread.waits_at.file()), (file!(), file!()));
    (thread.holds, thread.acquired_at.line(), thread.waits_for, thread.waits_at.line())
}

fn native_id(report: &Report, name: &str) -> u32 {
    let thread = report.threads.iter().find(|thread| thread.name.as_deref() == Some(name));
    thread.map_or(0, |thread| thread.native_id)
}

#[test]
fn two_threads_and_two_locks() {
    let (a, b) = (Lock::default(), RLock::new(7));
    thread::scope(|scope| {
        let one = spawn(scope, "two-1", || {
            let lines = (a.acquire(), line!()).1;
            until_waited_for(&a, 1);
            let lines = (lines, line!(), drop(b.lock()));
            (lines.0, lines.1)
        });
        let two = spawn(scope, "two-2", || {
            let (_b, taken) = (b.lock(), line!());
            while a.try_acquire() {
                a.release().unwrap();
                thread::yield_now();
            }
            let waited = (a.acquire(), line!()).1;
            (taken, waited)
        });
        let report = report_of("two-1");
        assert_eq!(report.threads.len(), 2);
        assert!(report.threads.iter().all(|thread| !thread.is_timed));
        assert!(is_in_check("two-1"));
        // The first thread never lets go of `a`: this does it instead, and the circle is open.
        a.release().unwrap();
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        let (a, b) = (address(&a), address(&b));
        assert_eq!(facts(&report, "two-1"), (a, one.0, b, one.1));
        assert_eq!(facts(&report, "two-2"), (b, two.0, a, two.1));
        let text = report.to_string();
        let says = format!(
            "thread `two-1` ({}) holds {a:#x}, acquired at {}:{}:",
            native_id(&report, "two-1"),
            file!(),
            one.0
        );
        assert!(text.starts_with("dead-lock of 2 thread(s):\n") && text.contains(&says), "{text}");
    });
    assert_eq!(reports_of("two-1").len(), 1);
    assert!(!is_in_check("two-1"));
}

#[test]
fn three_threads_in_a_ring() {
    let locks = [Lock::default(), Lock::default(), Lock::default()];
    let met = Barrier::new(3);
    thread::scope(|scope| {
        for (i, name) in ["ring-0", "ring-1", "ring-2"].into_iter().enumerate() {
            let (locks, met) = (&locks, &met);
            spawn(scope, name, move || {
                locks[i].acquire();
                met.wait();
                locks[(i + 1) % 3].acquire();
                locks[(i + 1) % 3].release().unwrap();
                // Released from outside for the one that was let go first.
                let _ = locks[i].release();
            });
        }
        let report = report_of("ring-0");
        let next = |i: usize| (report.threads[i].waits_for, report.threads[(i + 1) % 3].holds);
        assert_eq!(report.threads.len(), 3);
        assert!((0..3).all(|i| next(i).0 == next(i).1), "{report}");
        locks[1].release().unwrap();
    });
    assert_eq!(reports_of("ring-0").len(), 1);
}

#[test]
fn a_lock_taken_twice_is_a_circle_of_one() {
    let lock = Lock::default();
    thread::scope(|scope| {
        let lines = spawn(scope, "self", || {
            let first = (lock.acquire(), line!()).1;
            (first, (lock.acquire(), line!()).1)
        });
        let report = report_of("self");
        lock.release().unwrap();
        let (first, second) = lines.join().unwrap();
        assert_eq!(report.threads.len(), 1);
        assert_eq!(facts(&report, "self"), (address(&lock), first, address(&lock), second));
    });
    assert_eq!(reports_of("self").len(), 1);
}

#[test]
fn a_forgotten_guard_still_holds_and_a_timed_wait_is_said_to_be_one() {
    thread::scope(|scope| {
        spawn(scope, "forgotten", || {
            let lock = Lock::new(1);
            let _never_dropped = ManuallyDrop::new(lock.lock());
            // The lock may move, and is the same.
            assert!(lock.lock_timeout(SHORT).is_none());
            assert!(!is_in_check("forgotten"), "its time is over");
            let lock = Box::new(lock);
            assert!(lock.lock_timeout(SHORT).is_none());
            assert!(lock.try_lock().is_none() && lock.lock_timeout(Duration::ZERO).is_none(), "these do not wait");
        });
    });
    let reports = reports_of("forgotten");
    assert_eq!(reports.len(), 2, "one for each wait");
    assert!(reports.iter().all(|report| report.threads[0].is_timed));
    assert!(reports[0].to_string().ends_with(", until its timeout"));
}

#[test]
fn taking_an_rlock_again_is_none() {
    let lock = RLock::new(());
    thread::scope(|scope| {
        spawn(scope, "again", || {
            let _guards = (lock.lock(), lock.lock(), lock.lock_timeout(SHORT));
            assert_eq!(lock.depth(), 3);
        });
    });
    assert!(reports_of("again").is_empty());
    assert!(!format!("{lock:?}").contains("holder"));
}

#[test]
fn a_timed_wait_that_ended_is_none() {
    let (a, b, met) = (Lock::default(), Lock::default(), Barrier::new(2));
    thread::scope(|scope| {
        spawn(scope, "ended-1", || {
            a.acquire();
            met.wait();
            assert!(!b.acquire_timeout(SHORT));
            met.wait();
            until_waited_for(&a, 1);
            assert!(!is_in_check("ended-1"));
            a.release().unwrap();
        });
        spawn(scope, "ended-2", || {
            b.acquire();
            met.wait();
            met.wait();
            a.acquire();
        });
    });
    assert!(reports_of("ended-1").is_empty() && reports_of("ended-2").is_empty());
}

#[test]
fn locks_taken_in_order_are_none() {
    let (a, b) = (Lock::new(0), RLock::new(()));
    thread::scope(|scope| {
        for _ in 0..4 {
            spawn(scope, "ordered", || {
                for _ in 0..500 {
                    let mut count = a.lock();
                    let _b = b.lock();
                    *count += 1;
                    assert!(!is_in_check("ordered"));
                }
            });
        }
    });
    assert_eq!(a.into_inner(), 2000);
    assert!(reports_of("ordered").is_empty());
}

#[test]
fn whoever_waited_and_got_the_lock_waits_no_longer() {
    let lock = Lock::default();
    lock.acquire();
    thread::scope(|scope| {
        let waiter = spawn(scope, "served", || lock.acquire());
        until_waited_for(&lock, 1);
        lock.release().unwrap();
        waiter.join().unwrap();
        assert!(!is_in_check("served"), "it holds the lock, and does not wait for it");
    });
    assert!(reports_of("served").is_empty());
}

#[test]
fn a_lock_released_by_another_thread_is_no_longer_held() {
    let (a, b, met, taken) = (Lock::default(), Lock::default(), Barrier::new(3), Barrier::new(2));
    thread::scope(|scope| {
        spawn(scope, "foreign-1", || {
            a.acquire();
            met.wait();
            b.acquire();
        });
        spawn(scope, "foreign-2", || {
            b.acquire();
            met.wait();
            until_waited_for(&a, 1);
            until_waited_for(&b, 1);
            // The first thread's, which waits for this one, goes to the third one, which does not.
            a.release().unwrap();
            taken.wait();
            a.acquire();
            b.release().unwrap();
        });
        spawn(scope, "foreign-3", || {
            met.wait();
            a.acquire();
            taken.wait();
            until_waited_for(&a, 1);
            a.release().unwrap();
        });
    });
    assert!(reports_of("foreign-1").is_empty() && reports_of("foreign-2").is_empty());
}

#[test]
fn a_thread_that_ended_holds_what_it_did_not_release() {
    let lock = Lock::default();
    thread::scope(|scope| {
        spawn(scope, "gone", || lock.acquire()).join().unwrap();
        let waiter = spawn(scope, "gone-waiter", || lock.acquire());
        until_waited_for(&lock, 1);
        assert!(format!("{lock:?}").contains("holder: thread "));
        assert!(!is_in_check("gone-waiter"), "there is no circle");
        lock.release().unwrap();
        waiter.join().unwrap();
    });
    assert!(reports_of("gone-waiter").is_empty());
}

#[test]
fn a_wait_for_a_notification_holds_nothing_and_taking_the_lock_back_is_a_wait() {
    let (a, b, changed) = (RLock::new(()), Lock::default(), Condition::new());
    thread::scope(|scope| {
        let waits_at = spawn(scope, "condition-1", || {
            b.acquire();
            let _outer = a.lock();
            let mut guard = a.lock();
            let line = (changed.wait(&mut guard), line!()).1;
            assert_eq!(a.depth(), 2);
            line
        });
        spawn(scope, "condition-2", || {
            until_waited_for(&changed, 1);
            let _a = a.lock();
            assert!(reports_of("condition-1").is_empty());
            assert!(changed.notify_one());
            b.acquire();
        });
        let report = report_of("condition-1");
        b.release().unwrap();
        let facts = facts(&report, "condition-1");
        assert_eq!((facts.0, facts.2, facts.3), (address(&b), address(&a), waits_at.join().unwrap()));
    });
    assert_eq!(reports_of("condition-1").len(), 1);
}

#[test]
fn debug_tells_the_holder_and_the_place() {
    let (lock, again) = (Lock::new(7), RLock::new(8));
    thread::scope(|scope| {
        spawn(scope, "shown", || {
            let task = std::fs::read_link("/proc/thread-self").unwrap();
            let me = task.file_name().unwrap().to_str().unwrap();
            assert_eq!(format!("{lock:?}"), "Lock { locked: false, waiters: 0, value: 7 }");
            let (_guard, line) = (lock.lock(), line!());
            let at = format!("holder: thread {me} at {}:{line}:", file!());
            assert!(format!("{lock:?}").starts_with("Lock { locked: true, waiters: 0, holder: thread "));
            assert!(format!("{lock:?}").contains(&at), "{lock:?}");
            let (_guard, line) = (again.lock(), line!());
            let at = format!("RLock {{ owner: thread {me}, depth: 1, holder: thread {me} at {}:{line}:", file!());
            assert!(format!("{again:?}").starts_with(&at), "{again:?}");
        });
    });
}
