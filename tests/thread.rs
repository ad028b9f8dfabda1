//! Threads: names, numbers, handles, lists. What happens at the end of a process is in `tests/thread_exit`.

#![cfg(feature = "threads")]

mod asleep;

use crewkit::sync::Event;
use crewkit::thread::{self, Builder, CannotWait, Cause, Panicked, Thread, ThreadRef};
use std::cell::RefCell;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

/// A thread that sleeps until the sender is dropped or told something.
fn sleeper(builder: Builder) -> (Thread<()>, mpsc::Sender<()>) {
    let (wake, woken) = mpsc::channel();
    let thread = builder.spawn(move || woken.recv().unwrap_or_default()).expect("a thread");
    (thread, wake)
}

fn shown_name(thread: &ThreadRef) -> String {
    let comm = fs::read_to_string(format!("/proc/self/task/{}/comm", thread.native_id())).expect("it is alive");
    comm.trim_end_matches('\n').to_owned()
}

fn is_listed(thread: &ThreadRef) -> bool {
    thread::enumerate().contains(thread)
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("Thread-")?.split(' ').next()?.parse().ok()
}

fn named_function() -> String {
    thread::current().name()
}

#[test]
fn th1_a_thread_has_the_name_given_or_a_default_one() {
    let name = |builder: Builder| builder.spawn(|| thread::current().name()).unwrap().join().unwrap();
    assert_eq!(name(Builder::new().name("given")), "given");
    let (first, empty) = (name(Builder::new()), name(Builder::new().name("")));
    assert!(number_of(&first) < number_of(&empty) && number_of(&first).is_some(), "{first}, {empty}");
    let function = thread::spawn(named_function).join().unwrap();
    assert_eq!(function, format!("Thread-{} (named_function)", number_of(&function).unwrap()));
    assert_eq!(Builder::new().name("given").spawn(named_function).unwrap().join().unwrap(), "given");
}

#[test]
fn th1_ps_shows_the_name_and_follows_it() {
    let (thread, wake) = sleeper(Builder::new().name("short"));
    assert_eq!(shown_name(&thread.thread()), "short");
    thread.set_name("0123456789abcdef");
    assert_eq!(
        (thread.name().as_str(), shown_name(&thread.thread()).as_str()),
        ("0123456789abcdef", "0123456789abcde")
    );
    thread.set_name("größe-größe-größe");
    assert_eq!(shown_name(&thread.thread()), "größe-größe", "the next character would not fit");
    thread.set_name("a\0b");
    assert_eq!((thread.name().as_str(), shown_name(&thread.thread()).as_str()), ("a\0b", "a"));
    drop(wake);
    thread.wait().unwrap();
    thread.set_name("posthumous");
    assert_eq!(thread.name(), "posthumous");
}

#[test]
fn th1_long_and_strange_names_are_shown_from_the_start() {
    for (name, shown) in
        [("größe-größe-größe", "größe-größe"), ("nul\0nul", "nul"), ("0123456789abcde", "0123456789abcde")]
    {
        let (thread, wake) = sleeper(Builder::new().name(name));
        // Its number is known when it has begun, and its name is the next thing that it sees to.
        let begin = Instant::now();
        while shown_name(&thread.thread()) != shown {
            assert!(begin.elapsed() < asleep::PATIENCE, "{}", shown_name(&thread.thread()));
            std::thread::yield_now();
        }
        assert_eq!(thread.name(), name);
        drop(wake);
        thread.join().unwrap();
    }
}

#[test]
fn th1_a_thread_may_rename_itself() {
    let thread = thread::spawn(|| {
        thread::current().set_name("renamed");
        (thread::current().name(), shown_name(&thread::current()))
    });
    assert_eq!(thread.join().unwrap(), ("renamed".to_owned(), "renamed".to_owned()));
}

#[test]
fn th2_a_thread_cannot_wait_for_itself() {
    assert_eq!(thread::spawn(|| thread::current().wait()).join().unwrap(), Err(CannotWait::Itself));
    assert_eq!(
        thread::spawn(|| thread::current().wait_timeout(Duration::ZERO)).join().unwrap(),
        Err(CannotWait::Itself)
    );
    let (give, given) = mpsc::channel::<Thread<()>>();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut me = given.recv().unwrap();
        let timed = me.join_timeout(Duration::from_secs(3600)).unwrap_err();
        tell.send((timed.cause(), me.join().unwrap_err().to_string())).unwrap();
    });
    give.send(thread).unwrap();
    assert_eq!(told.recv().unwrap(), (Cause::Itself, "a thread cannot wait for its own end".to_owned()));
}

#[test]
fn th3_a_timed_join_gives_the_result_once() {
    let (wake, woken) = mpsc::channel();
    let mut thread = thread::spawn(move || woken.recv().unwrap());
    let begin = Instant::now();
    assert_eq!(thread.join_timeout(Duration::from_millis(20)).unwrap(), None::<i32>);
    assert!(begin.elapsed() >= Duration::from_millis(20) && thread.is_alive());
    assert_eq!(thread.join_timeout(Duration::ZERO).unwrap(), None);
    wake.send(7).unwrap();
    assert_eq!(thread.join_timeout(Duration::MAX).unwrap(), Some(7));
    assert!(!thread.is_alive() && thread.wait() == Ok(()));
    assert_eq!(thread.join_timeout(Duration::ZERO).unwrap_err().cause(), Cause::AlreadyJoined);
    assert_eq!(thread.join().unwrap_err().cause(), Cause::AlreadyJoined);
}

#[test]
fn th3_many_may_wait_for_one_thread() {
    let (thread, wake) = sleeper(Builder::new());
    let seen = thread.thread();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|number| {
                let (thread, seen) = (&thread, &seen);
                asleep::spawn(scope, move || match number % 2 {
                    0 => thread.wait().map(|()| true),
                    _ => seen.wait_timeout(Duration::from_secs(3600)),
                })
            })
            .collect();
        waiters.iter().for_each(asleep::Watched::until_asleep);
        wake.send(()).unwrap();
        assert!(waiters.into_iter().all(|waiter| waiter.join() == Ok(true)));
    });
    assert_eq!((thread.wait(), thread.wait()), (Ok(()), Ok(())));
    thread.join().unwrap();
}

#[test]
fn th4_a_thread_that_was_waited_for_is_not_listed() {
    for _ in 0..150 {
        let thread = thread::spawn(|| ());
        thread.wait().unwrap();
        assert!(!is_listed(&thread.thread()) && !thread.is_alive());
        let thread = thread::spawn(|| ());
        let seen = thread.thread();
        thread.join().unwrap();
        assert!(!is_listed(&seen));
        // Seen at the very moment.
        let seen = thread::spawn(|| ()).thread();
        while seen.is_alive() {
            std::hint::spin_loop();
        }
        assert!(!is_listed(&seen));
    }
}

#[test]
fn th5_a_failed_start_leaves_no_trace() {
    let captured = Arc::new(());
    let weak = Arc::downgrade(&captured);
    let error = Builder::new().name("never").stack_size(usize::MAX >> 2).spawn(move || drop(captured)).unwrap_err();
    assert!(error.raw_os_error().is_some(), "{error}");
    assert!(weak.upgrade().is_none(), "the function was dropped");
    assert!(thread::enumerate().iter().all(|thread| thread.name() != "never"));

    struct Nasty;
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("as expected");
        }
    }
    let nasty = Nasty;
    let builder = Builder::new().name("nasty").stack_size(usize::MAX >> 2);
    assert!(catch_unwind(|| builder.spawn(move || drop(nasty))).is_err());
    assert!(thread::enumerate().iter().all(|thread| thread.name() != "nasty"));
}

#[test]
fn th5_th6_a_started_thread_has_its_numbers() {
    let (thread, wake) = sleeper(Builder::new());
    let native = thread.native_id();
    assert!(fs::exists(format!("/proc/self/task/{native}")).unwrap());
    let (other, wake_other) = sleeper(Builder::new());
    assert!(thread.ident() < other.ident() && native != other.native_id());
    drop((wake, wake_other));
    thread.wait().unwrap();
    assert_eq!(thread.native_id(), native, "it is kept");
    other.join().unwrap();
    let inside = thread::spawn(|| (thread::current().ident(), thread::current().native_id()));
    let (ident, native) = (inside.ident(), inside.native_id());
    assert_eq!(inside.join().unwrap(), (ident, native));
}

#[test]
fn th6_debug_tells_the_state() {
    let (thread, wake) = sleeper(Builder::new().name("shown").daemon(true));
    let _ = thread.native_id();
    let text = format!("{thread:?}");
    assert!(text.contains("\"shown\"") && text.contains("started") && text.contains("daemon: true"), "{text}");
    drop(wake);
    thread.wait().unwrap();
    assert!(format!("{:?}", thread.thread()).contains("stopped"));
}

#[test]
fn th7_all_threads_are_listed_main_first() {
    let (thread, wake) = sleeper(Builder::new());
    let (daemon, wake_daemon) = sleeper(Builder::new().daemon(true));
    let listed = thread::enumerate();
    assert_eq!(listed.first(), Some(&thread::main()));
    assert!(listed.contains(&thread.thread()) && listed.contains(&daemon.thread()));
    assert!(thread::active_count() >= 3);
    drop((wake, wake_daemon));
    thread.join().unwrap();
    daemon.join().unwrap();
}

#[test]
fn th7_whoever_is_called_by_a_thread_that_ends_may_ask() {
    struct Asks(Arc<AtomicUsize>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let (me, listed) = (thread::current(), thread::enumerate());
            assert!(me.is_alive() && listed.contains(&me));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local!(static LAST: RefCell<Option<Asks>> = const { RefCell::new(None) });
    let asked = Arc::new(AtomicUsize::new(0));
    let (captured, kept) = (Asks(Arc::clone(&asked)), Asks(Arc::clone(&asked)));
    let thread = thread::spawn(move || {
        LAST.set(Some(kept));
        drop(captured);
    });
    thread.wait().unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2, "the destructor of the thread-local value has run, too");
}

#[test]
fn th8_a_foreign_thread_is_a_daemon_until_it_ends() {
    let (wake, woken) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let foreign = std::thread::Builder::new().name("foreign".to_owned()).spawn(move || {
        tell.send((thread::current(), thread::current().wait())).unwrap();
        let _ = woken.recv();
    });
    let (seen, itself) = told.recv().unwrap();
    assert_eq!((seen.name().as_str(), seen.is_daemon(), seen.is_alive()), ("foreign", true, true));
    assert!(is_listed(&seen));
    assert_eq!(seen.wait(), Err(CannotWait::Foreign));
    assert_eq!(itself, Err(CannotWait::Itself));
    drop(wake);
    foreign.unwrap().join().unwrap();
    assert!(!is_listed(&seen) && !seen.is_alive());
    let nameless = std::thread::spawn(|| thread::current().name()).join().unwrap();
    assert!(nameless.starts_with("Dummy-"), "{nameless}");
}

#[test]
fn th9_the_main_thread_is_known_from_everywhere() {
    let main = thread::main();
    assert_eq!((main.name().as_str(), main.native_id(), main.is_daemon()), ("MainThread", std::process::id(), false));
    assert!(main.is_alive());
    assert_eq!(thread::spawn(|| (thread::main(), thread::current() == thread::main())).join().unwrap(), (main, false));
}

#[test]
fn th10_being_a_daemon_is_inherited() {
    let inherited = |builder: Builder| builder.spawn(|| thread::spawn(|| ()).is_daemon()).unwrap().join().unwrap();
    assert!(inherited(Builder::new().daemon(true)));
    assert!(!inherited(Builder::new().daemon(false)));
    // Foreign threads count as daemons, but do not pass it on.
    assert!(!std::thread::spawn(|| thread::spawn(|| ()).is_daemon()).join().unwrap());
    let stays = Builder::new().daemon(true).spawn(|| Builder::new().daemon(false).spawn(|| ()).unwrap().is_daemon());
    assert!(!stays.unwrap().join().unwrap());
}

#[test]
fn th12_the_function_is_dropped_when_its_run_ends() {
    let run = |panics: bool| -> (Thread<()>, Weak<()>) {
        let captured = Arc::new(());
        let weak = Arc::downgrade(&captured);
        let thread = thread::spawn(move || {
            let _held = &captured;
            assert!(!panics, "as expected");
        });
        (thread, weak)
    };
    for panics in [false, true] {
        let (thread, captured) = run(panics);
        thread.wait().unwrap();
        assert!(captured.upgrade().is_none());
        assert_eq!(thread.join().is_err(), panics);
    }
}

#[test]
fn th12_a_result_that_nobody_wants_is_dropped_with_the_thread() {
    struct Nasty(Arc<AtomicBool>);
    impl Drop for Nasty {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
            panic!("as expected");
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let (wake, woken) = mpsc::channel::<()>();
    let result = Nasty(Arc::clone(&dropped));
    let thread = thread::spawn(move || {
        let _ = woken.recv();
        result
    });
    let seen = thread.thread();
    drop(thread);
    drop(wake);
    seen.wait().unwrap();
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn th13_a_panic_comes_home() {
    let line = line!() + 1;
    let error = thread::spawn(|| panic!("number {}", std::hint::black_box(7))).join().map(|(): ()| ()).unwrap_err();
    assert_eq!((error.cause(), error.message()), (Cause::Panic, "number 7"));
    assert!(error.location().unwrap().starts_with(&format!("tests/thread.rs:{line}:")), "{error:?}");
    assert_eq!(error.to_string(), format!("the thread panicked at {}: number 7", error.location().unwrap()));
    assert_eq!(*error.into_payload().downcast::<String>().unwrap(), "number 7");

    let error = thread::spawn(|| resume_unwind(Box::new(7_u8))).join().map(|(): ()| ()).unwrap_err();
    assert_eq!((error.message(), error.location()), ("a value that is not a string", None));
    assert_eq!(*error.into_payload().downcast::<u8>().unwrap(), 7);

    fn is_an_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_an_error::<Panicked>();
}

#[test]
fn th13_the_latest_panic_is_the_one_that_is_told() {
    let thread = thread::spawn(|| {
        assert!(catch_unwind(|| panic!("inner")).map(|(): ()| ()).is_err());
        panic!("outer")
    });
    let error = thread.join().map(|(): ()| ()).unwrap_err();
    assert_eq!(error.message(), "outer");
}

#[test]
fn th14_a_thread_has_the_stack_that_was_asked_for() {
    fn deep(bytes: usize) -> usize {
        let frame = [1_u8; 1 << 10];
        std::hint::black_box(&frame);
        if bytes < frame.len() { 0 } else { usize::from(frame[0]) + deep(bytes - frame.len()) }
    }
    for (stack, use_of_it) in [(256 << 10, 64 << 10), (64 << 20, 16 << 20)] {
        let thread = Builder::new().stack_size(stack).spawn(move || deep(use_of_it)).unwrap();
        assert_eq!(thread.join().unwrap(), use_of_it >> 10);
    }
}

#[test]
fn th14_a_thread_that_is_never_joined_does_not_leak() {
    // Its own process: other tests start threads, too.
    const MARK: &str = "CREWKIT_TEST_NEVER_JOINED";
    if std::env::var_os(MARK).is_none() {
        let program = std::env::current_exe().unwrap();
        let mut test = Command::new(program);
        test.args(["--exact", "th14_a_thread_that_is_never_joined_does_not_leak", "--test-threads", "1"]);
        let output = test.env(MARK, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let tasks = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = tasks();
    let ran = Arc::new(AtomicUsize::new(0));
    let last: Vec<_> = (0..200)
        .map(|_| {
            let ran = Arc::clone(&ran);
            thread::spawn(move || ran.fetch_add(1, Ordering::Relaxed)).thread()
        })
        .collect();
    last.iter().for_each(|thread| thread.wait().unwrap());
    assert_eq!(ran.load(Ordering::Relaxed), 200);
    assert_eq!(Arc::strong_count(&ran), 1);
    assert!(thread::enumerate().iter().all(|thread| !last.contains(thread)));
    let begin = Instant::now();
    while tasks() > before {
        assert!(begin.elapsed() < asleep::PATIENCE, "{} tasks, {before} before", tasks());
        std::thread::yield_now();
    }
}

#[test]
fn what_a_thread_did_is_seen_after_the_wait() {
    let done = Arc::new(Event::new());
    let set = Arc::clone(&done);
    let thread = thread::spawn(move || set.set());
    thread.wait().unwrap();
    assert!(done.is_set());
}
