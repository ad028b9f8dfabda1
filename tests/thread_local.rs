//! Values of which each thread has its own. What happens to them at exit is in `tests/thread_exit`.

#![cfg(feature = "threads")]

use crewkit::sync::Event;
use crewkit::thread::{self, Local, Thread};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// Counts those alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Threads that have used `local` and sleep until the senders are dropped.
fn users<T: Send + 'static>(local: &Arc<Local<T>>, count: usize) -> Vec<(Thread<()>, mpsc::Sender<()>)> {
    let user = |_| {
        let (wake, woken) = mpsc::channel::<()>();
        let (used, is_used) = mpsc::channel();
        let local = Arc::clone(local);
        let thread = thread::spawn(move || {
            local.with(|_| ());
            drop(local);
            used.send(()).expect("somebody waits for it");
            let _ = woken.recv();
        });
        is_used.recv().expect("it does not panic");
        (thread, wake)
    };
    (0..count).map(user).collect()
}

#[test]
fn lo1_each_thread_and_each_object_has_a_value_of_its_own() {
    let (one, other) = (Arc::new(Local::new(|| Cell::new(0))), Local::new(|| Cell::new(0)));
    one.with(|value| value.set(1));
    assert_eq!(other.with(Cell::get), 0);
    let there = Arc::clone(&one);
    let thread = thread::spawn(move || {
        assert_eq!(there.try_with(Cell::get), None, "set elsewhere, but not here");
        there.with(|value| value.replace(2))
    });
    assert_eq!(thread.join().unwrap(), 0);
    assert_eq!(one.with(Cell::get), 1);
}

#[test]
fn lo2_values_end_with_their_threads() {
    for count in [20, 50, 100] {
        let alive = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&alive);
        let local = Arc::new(Local::new(move || Counted::new(&made)));
        for _ in 0..count {
            let local = Arc::clone(&local);
            let thread = thread::spawn(move || local.with(|counted| counted.0.load(Ordering::SeqCst)));
            thread.wait().unwrap();
            assert_eq!(alive.load(Ordering::SeqCst), 0, "it is gone when the thread can be seen to have ended");
            assert_eq!(thread.join().unwrap(), 1);
        }
    }
}

#[test]
fn lo2_values_of_foreign_threads_end_with_these() {
    let alive = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&alive);
    let local = Arc::new(Local::new(move || Counted::new(&made)));
    let there = Arc::clone(&local);
    std::thread::spawn(move || there.with(|_| ())).join().unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn lo2_values_end_with_their_object_in_every_thread() {
    let alive = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&alive);
    let local = Arc::new(Local::new(move || Counted::new(&made)));
    let users = users(&local, 3);
    local.with(|_| ());
    assert_eq!(alive.load(Ordering::SeqCst), 4);
    drop(local);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    for (thread, wake) in users {
        drop(wake);
        thread.join().unwrap();
    }
}

#[test]
fn lo2_a_cycle_through_a_value_is_no_leak_once_its_thread_ends() {
    struct Cycle(RefCell<Option<Arc<Local<Cycle>>>>);
    let local = Arc::new(Local::new(|| Cycle(RefCell::new(None))));
    let weak = Arc::downgrade(&local);
    thread::spawn(move || local.with(|cycle| cycle.0.replace(Some(Arc::clone(&local))))).join().unwrap();
    assert!(weak.upgrade().is_none());
}

#[test]
fn lo3_the_function_runs_once_in_each_thread() {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::clone(&runs);
    let local = Arc::new(Local::new(move || count.lock().unwrap().push(thread::current())));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let local = Arc::clone(&local);
            thread::spawn(move || {
                local.with(|()| ());
                local.with(|()| ());
                thread::current()
            })
        })
        .collect();
    let mut expected: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().ident()).collect();
    let mut seen: Vec<_> = runs.lock().unwrap().iter().map(thread::ThreadRef::ident).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn lo3_a_function_that_uses_its_own_object_keeps_the_first_value() {
    let object: Arc<std::sync::OnceLock<Local<Cell<u32>>>> = Arc::default();
    let (inner, calls) = (Arc::downgrade(&object), AtomicUsize::new(0));
    let local = Local::new(move || {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            inner.upgrade().unwrap().get().unwrap().with(|value| value.set(7));
        }
        Cell::new(0)
    });
    assert!(object.set(local).is_ok());
    assert_eq!(object.get().unwrap().with(Cell::get), 7);
}

#[test]
fn lo3_a_function_that_panics_leaves_no_value() {
    let calls = AtomicUsize::new(0);
    let local = Local::new(move || {
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "as expected");
        7
    });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| local.with(|_| ()))).is_err());
    assert_eq!(local.try_with(|value| *value), None);
    assert_eq!(local.with(|value| *value), 7);
}

#[test]
fn lo4_a_new_object_never_sees_the_value_of_a_dead_one() {
    let (go_on, wait) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let objects: Arc<Mutex<Vec<Local<Cell<u32>>>>> = Arc::default();
    let (go, waiting, theirs) = (Arc::clone(&go_on), Arc::clone(&wait), Arc::clone(&objects));
    let thread = thread::spawn(move || {
        for _ in 0..100 {
            Local::new(|| Cell::new(0)).with(|value| value.set(7));
        }
        waiting.set();
        go.wait();
        theirs.lock().unwrap().iter().all(|local| local.try_with(Cell::get).is_none() && local.with(Cell::get) == 0)
    });
    wait.wait();
    objects.lock().unwrap().extend((0..100).map(|_| Local::new(|| Cell::new(0))));
    go_on.set();
    assert!(thread.join().unwrap());
}

#[test]
fn lo5_a_value_may_be_used_by_the_destructors_of_a_thread() {
    thread_local!(static LAST: RefCell<Option<Sums>> = const { RefCell::new(None) });
    struct Sums(Arc<Local<Cell<u32>>>, mpsc::Sender<u32>);
    impl Drop for Sums {
        fn drop(&mut self) {
            self.1.send(self.0.with(|value| value.replace(0))).unwrap();
        }
    }
    let local = Arc::new(Local::new(|| Cell::new(1)));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Registered before the value exists, so destroyed after it if it were a thread-local of std.
        LAST.set(Some(Sums(Arc::clone(&local), tell)));
        local.with(|value| value.set(7));
    })
    .join()
    .unwrap();
    assert_eq!(told.recv(), Ok(7));
}

#[test]
fn a_destructor_may_use_values_that_are_being_dropped() {
    struct Uses(Arc<Local<Cell<u32>>>, mpsc::Sender<u32>);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.1.send(self.0.with(Cell::get)).unwrap();
        }
    }
    let (tell, told) = mpsc::channel();
    let plain = Arc::new(Local::new(|| Cell::new(5)));
    let user = Arc::clone(&plain);
    let tell = Mutex::new(tell);
    let local = Arc::new(Local::new(move || Uses(Arc::clone(&user), tell.lock().unwrap().clone())));
    thread::spawn(move || local.with(|_| ())).join().unwrap();
    assert_eq!(told.recv(), Ok(5));
    assert_eq!(format!("{plain:?}"), "Local { values: 0, .. }", "what the destructor made is dropped, too");
}

#[test]
fn a_panicking_destructor_keeps_no_other_value_alive() {
    struct Nasty;
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("as expected");
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&alive);
    let (nasty, counted) = (Local::new(|| Nasty), Local::new(move || Counted::new(&made)));
    let (nasty, counted) = (Arc::new(nasty), Arc::new(counted));
    let (first, second) = (Arc::clone(&nasty), Arc::clone(&counted));
    thread::spawn(move || {
        first.with(|_| ());
        second.with(|_| ());
    })
    .join()
    .unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn the_values_of_all_threads_can_be_gone_through() {
    let local = Arc::new(Local::new(|| AtomicUsize::new(1)));
    let users = users(&local, 3);
    assert_eq!(local.iter().map(|value| value.fetch_add(1, Ordering::Relaxed)).sum::<usize>(), 3);
    assert_eq!(local.iter().map(|value| value.load(Ordering::Relaxed)).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(format!("{local:?}"), "Local { values: 3, .. }");
    for (thread, wake) in users {
        drop(wake);
        thread.join().unwrap();
    }
    assert_eq!(local.iter().count(), 0);
}

#[test]
fn a_value_that_is_looked_at_outlives_its_thread() {
    let alive = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&alive);
    let local = Arc::new(Local::new(move || Counted::new(&made)));
    let (thread, wake) = users(&local, 1).remove(0);
    let looked_at = local.iter().next().unwrap();
    drop(wake);
    thread.join().unwrap();
    assert_eq!(looked_at.0.load(Ordering::SeqCst), 1);
    drop(looked_at);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn the_values_of_all_threads_can_be_changed_by_their_owner() {
    let local = Arc::new(Local::new(|| Cell::new(1)));
    let users = users(&local, 3);
    let mut local = Arc::into_inner(local).expect("the threads have dropped theirs");
    local.iter_mut().for_each(|mut value| *value.get_mut() += 1);
    let values: Vec<_> = local.iter_mut().map(|value| value.get()).collect();
    assert_eq!(values, [2, 2, 2]);
    // One of them ends while all values are borrowed.
    let mut borrowed: Vec<_> = local.iter_mut().collect();
    for (thread, wake) in users {
        drop(wake);
        thread.join().unwrap();
    }
    borrowed.iter_mut().for_each(|value| *value.get_mut() += 1);
    assert!(borrowed.iter().all(|value| value.get() == 3));
    drop(borrowed);
    assert_eq!(local.iter_mut().count(), 0);
}
