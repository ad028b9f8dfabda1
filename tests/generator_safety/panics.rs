//! Facts 1, 2, 4 and 5: generators while a thread panics, and locks that their bodies hold.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use crewkit::coroutine::{GenError, Generator, Interrupt, State, Step, stack_stats};
use crewkit::sync::Lock;

/// Calls when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Unwinds with `payload` and drops what `body` captured meanwhile.
fn unwind_over<T>(value: T) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(move || {
        let _value = value;
        resume_unwind(Box::new("outer"));
    }))
    .expect_err("it unwinds");
    assert!(!std::thread::panicking());
    payload.downcast_ref::<&str>().copied().expect("a word")
}

#[test]
fn fact_1_a_generator_that_is_dropped_by_a_panic_drops_its_locals_and_leaves_the_panic_as_it_is() {
    let log = Rc::new(RefCell::new(Vec::new()));
    for careless in [false, true] {
        let inside = log.clone();
        let generator = Generator::new(move |y, ()| {
            let _local = OnDrop(|| inside.borrow_mut().push("local"));
            if careless {
                let _ = y.yield_(1);
            }
            y.yield_(2)
        });
        generator.send(()).unwrap();
        assert_eq!(unwind_over(generator), "outer");
        assert_eq!(log.take(), ["local"], "careless: {careless}");
    }
    assert_eq!((stack_stats().in_use, stack_stats().leaked), (0, 0));
}

#[test]
fn fact_1_a_body_that_panics_while_it_is_dropped_by_a_panic_does_not_replace_it() {
    let generator = Generator::new(|y, ()| {
        let _ = y.yield_(1);
        resume_unwind(Box::new("inner"));
        #[expect(unreachable_code, reason = "gives the body its type")]
        Ok(())
    });
    generator.send(()).unwrap();
    assert_eq!(unwind_over(generator), "outer");
}

#[test]
fn fact_2_a_destructor_cannot_yield_while_its_body_unwinds() {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let inside = answers.clone();
    let generator = Generator::new(move |y, ()| {
        y.yield_(1)?;
        let _local = OnDrop(|| inside.borrow_mut().push(matches!(y.yield_(2), Err(Interrupt::Close))));
        resume_unwind(Box::new("inner"));
        #[expect(unreachable_code, reason = "gives the body its type")]
        Ok(())
    });
    generator.send(()).unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| generator.send(()))).unwrap_err();
    assert_eq!((payload.downcast_ref(), answers.take()), (Some(&"inner"), vec![true]));
    // The next panic of the thread is an ordinary one.
    assert!(!std::thread::panicking());
    assert_eq!(unwind_over(()), "outer");
}

#[test]
fn fact_2_nothing_is_resumed_while_the_thread_panics() {
    let generator = Generator::new(|y, ()| {
        y.yield_(1)?;
        y.yield_(2)
    });
    let refused = Cell::new(0);
    unwind_over(OnDrop(|| {
        assert!(matches!(generator.send(()), Err(GenError::Panicking)));
        assert!(matches!(generator.throw(std::fmt::Error), Err(GenError::Panicking)));
        refused.set(refused.get() + 1);
    }));
    assert_eq!((refused.get(), generator.state()), (1, State::Created), "it is as it was");
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
}

#[test]
fn fact_2_a_generator_can_be_closed_while_the_thread_panics() {
    let generator: Generator<i32, (), &str> =
        Generator::new(|y, ()| Ok(if y.yield_(1).is_err() { "closed" } else { "" }));
    generator.send(()).unwrap();
    let value = Cell::new(None);
    unwind_over(OnDrop(|| value.set(generator.close().unwrap())));
    assert_eq!(value.get(), Some("closed"));
}

#[test]
fn fact_2_a_body_that_yields_for_ever_while_the_thread_panics_is_left_alone() {
    std::thread::spawn(|| {
        let generator: Generator<i32> = Generator::new(|y, ()| {
            loop {
                let _ = y.yield_(1);
            }
        });
        generator.send(()).unwrap();
        assert_eq!(unwind_over(generator), "outer");
        assert_eq!((stack_stats().in_use, stack_stats().leaked), (1, 1));
        // The thread is fit for others.
        assert_eq!(Generator::new(|y, ()| y.yield_(3)).next(), Some(3));
    })
    .join()
    .unwrap();
}

#[test]
fn fact_4_a_guard_that_a_closed_body_holds_poisons_nothing() {
    let std_mutex = Rc::new(Mutex::new(0));
    let held = std_mutex.clone();
    let generator = Generator::new(move |y, ()| {
        let _guard = held.lock().unwrap();
        y.yield_(1)
    });
    generator.send(()).unwrap();
    assert!(std_mutex.try_lock().is_err());
    drop(generator);
    assert_eq!(*std_mutex.lock().unwrap(), 0, "neither locked nor poisoned");
}

#[test]
fn fact_4_a_lock_of_crewkit_is_not_poisoned_by_unwinding_either() {
    let lock = Rc::new(Lock::new(0));
    let held = lock.clone();
    let generator = Generator::new(move |y, ()| {
        let _guard = held.lock();
        let _ = y.yield_(1); // ignores the close, and is unwound
        y.yield_(2)
    });
    generator.send(()).unwrap();
    drop(generator);
    assert_eq!(*lock.try_lock().unwrap(), 0);
}

#[test]
fn fact_5_a_lock_that_is_held_over_a_yield_is_seen_as_held_by_the_next_generator() {
    let lock = Rc::new(Lock::new(0));
    let taker = |lock: &Rc<Lock<i32>>| {
        let lock = lock.clone();
        Generator::new(move |y, ()| {
            let guard = lock.try_lock();
            y.yield_(guard.is_some())
        })
    };
    let (first, second) = (taker(&lock), taker(&lock));
    assert_eq!(first.send(()).unwrap(), Step::Yield(true));
    assert_eq!(second.send(()).unwrap(), Step::Yield(false), "not shared, and not waited for");
    drop(first);
    assert!(lock.try_lock().is_some());
}
