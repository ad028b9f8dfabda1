//! Greenlets that are dropped: who is asked to end, who is made to, and who is left.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Generator, Greenlet, Interrupt, ParentError, SwitchError, stack_stats};

use super::{SomeError, Tell, is_some_error, log, main_greenlet, switch_error};

#[test]
fn dropping_the_last_handle_ends_the_body() {
    let log = log();
    let held = Tell("held", Rc::clone(&log));
    let told = Rc::clone(&log);
    let greenlet = Greenlet::<u32>::new(move |_| {
        let _held = held;
        let end = Greenlet::<u32>::main().switch(1);
        told.borrow_mut().push(format!("{end:?}"));
        end.map(|_| 0)
    });
    let second = greenlet.clone();
    assert_eq!(greenlet.switch(0).unwrap(), Some(1));
    drop(greenlet);
    assert!(log.borrow().is_empty());
    drop(second);
    assert_eq!(*log.borrow(), ["Err(Close)", "held"]);
}

#[test]
fn dropping_one_that_has_not_begun_drops_its_body() {
    let log = log();
    let held = Tell("held", Rc::clone(&log));
    drop(Greenlet::<u32>::new(move |n| {
        drop(held);
        Ok(n)
    }));
    assert_eq!(*log.borrow(), ["held"]);
}

#[test]
fn one_that_switches_on_instead_of_ending_is_unwound() {
    let log = log();
    let held = Tell("held", Rc::clone(&log));
    let greenlet = Greenlet::<u32>::new(move |_| {
        let _held = held;
        loop {
            let _ = Greenlet::<u32>::main().switch(1);
        }
    });
    let leaked = stack_stats().leaked;
    greenlet.switch(0).unwrap();
    drop(greenlet);
    assert_eq!(*log.borrow(), ["held"]);
    assert_eq!(stack_stats().leaked, leaked);
}

#[test]
fn one_that_catches_every_unwinding_is_left_where_it_is() {
    let switches = Rc::new(Cell::new(0));
    let count = Rc::clone(&switches);
    let greenlet = Greenlet::<u32>::new(move |_| {
        loop {
            let _ = catch_unwind(AssertUnwindSafe(|| Greenlet::<u32>::main().switch(1)));
            count.set(count.get() + 1);
        }
    });
    let leaked = stack_stats().leaked;
    greenlet.switch(0).unwrap();
    drop(greenlet);
    // Asked once, unwound sixteen times.
    assert_eq!(switches.get(), 17);
    assert_eq!(stack_stats().leaked, leaked + 1);
}

#[test]
fn dropped_while_the_thread_panics_it_is_asked_without_a_switch_to_others() {
    let log = log();
    let held = Tell("held", Rc::clone(&log));
    let told = Rc::clone(&log);
    let greenlet = Greenlet::<u32>::new(move |_| {
        let _held = held;
        let main = Greenlet::<u32>::main();
        let end = main.switch(1);
        told.borrow_mut().push(format!("{end:?} {}", switch_error(main.switch(2))));
        end.map(|_| 0)
    });
    greenlet.switch(0).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _greenlet = greenlet;
        panic!("meant");
    }));
    assert!(panic.is_err());
    assert_eq!(*log.borrow(), ["Err(Close) cannot switch to another greenlet while the thread panics", "held"]);
    assert!(!std::thread::panicking());
}

#[test]
fn dropped_while_the_thread_panics_it_may_not_ask_for_ever() {
    let leaked = stack_stats().leaked;
    let greenlet = Greenlet::<u32>::new(move |_| {
        loop {
            let _ = Greenlet::<u32>::main().switch(1);
        }
    });
    greenlet.switch(0).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _greenlet = greenlet;
        panic!("meant");
    }));
    assert!(panic.is_err());
    assert_eq!(stack_stats().leaked, leaked + 1);
    assert!(!std::thread::panicking());
}

#[test]
fn dropped_on_a_foreign_stack_it_is_asked_there() {
    let log = log();
    let told = Rc::clone(&log);
    let held = Tell("held", Rc::clone(&log));
    let victim = Greenlet::<u32>::new(move |_| {
        let _held = held;
        let end = Greenlet::<u32>::main().switch(1);
        told.borrow_mut().push(format!("{end:?}"));
        end.map(|_| 0)
    });
    victim.switch(0).unwrap();
    let outer = Greenlet::<u32>::new(move |n| {
        let drops = Generator::<()>::new(move |_, ()| {
            drop(victim);
            Ok(())
        });
        drops.count();
        Ok(n)
    });
    assert_eq!(outer.switch(3).unwrap(), Some(3));
    assert_eq!(*log.borrow(), ["Err(Close)", "held"]);
}

#[test]
fn who_drops_the_handle_of_the_one_that_runs_does_not_end_it() {
    let slot: Rc<RefCell<Option<Greenlet<u32>>>> = Rc::default();
    let mine = Rc::clone(&slot);
    let log = log();
    let told = Rc::clone(&log);
    *slot.borrow_mut() = Some(Greenlet::new(move |_| {
        mine.take();
        told.borrow_mut().push(format!("{:?}", Greenlet::<u32>::current().state()));
        let end = Greenlet::<u32>::main().switch(1);
        told.borrow_mut().push(format!("{end:?}"));
        end.map(|_| 0)
    }));
    let greenlet = slot.borrow().clone().unwrap();
    assert_eq!(greenlet.switch(0).unwrap(), Some(1));
    assert_eq!(*log.borrow(), ["Running"]);
    drop(greenlet);
    assert_eq!(*log.borrow(), ["Running", "Err(Close)"]);
}

#[test]
fn an_orphan_ends_as_soon_as_another_runs() {
    let log = log();
    let told = Rc::clone(&log);
    let slot: Rc<RefCell<Option<Greenlet<u32>>>> = Rc::default();
    let only = Rc::clone(&slot);
    // The starter has no handle of what it started when it goes on: `temporary` dropped the last one while it ran.
    let starter = Greenlet::<u32>::new(move |_| {
        let temporary = Greenlet::<u32>::new(move |_| {
            only.take();
            let end = Greenlet::<u32>::main().switch(1);
            told.borrow_mut().push(format!("{end:?}"));
            end.map(|_| 0)
        });
        *slot.borrow_mut() = Some(temporary);
        // Moved out of the slot by the body, while this borrows a clone that ends with the statement.
        let handle = slot.borrow().clone().unwrap();
        handle.switch(0)?;
        Ok(5)
    });
    assert_eq!(starter.switch(0).unwrap(), Some(1));
    assert!(log.borrow().is_empty());
    // The starter goes on, and drops the last handle at its end.
    assert_eq!(starter.switch(0).unwrap(), Some(5));
    assert_eq!(*log.borrow(), ["Err(Close)"]);
}

#[test]
fn a_long_chain_of_parents_is_dropped_one_by_one() {
    let log = log();
    let mut last = Greenlet::<u32>::main();
    for _ in 0..100_000 {
        last = Greenlet::with_parent(&last, Ok);
    }
    let held = Tell("deepest", Rc::clone(&log));
    let child = Greenlet::with_parent(&last, move |_| {
        let _held = held;
        Err(Interrupt::Close)
    });
    drop(last);
    // Passes all of them by, as none has begun.
    assert_eq!(child.switch(0).unwrap(), None);
    drop(child);
    assert_eq!(*log.borrow(), ["deepest"]);
}

#[test]
fn suspended_ancestors_are_ended_one_by_one() {
    const DEPTH: usize = 2000;
    let ended = Rc::new(Cell::new(0));
    let mut last = Greenlet::<u32>::main();
    for _ in 0..DEPTH {
        let ended = Rc::clone(&ended);
        let next = Greenlet::with_parent(&last, move |_| {
            let end = Greenlet::<u32>::main().switch(1);
            ended.set(ended.get() + 1);
            end.map(|_| 0)
        });
        next.switch(0).unwrap();
        last = next;
    }
    assert_eq!(ended.get(), 0);
    drop(last);
    assert_eq!(ended.get(), DEPTH);
}

#[test]
fn a_panic_at_the_end_by_drop_goes_on_where_it_was_dropped() {
    let greenlet = Greenlet::<u32>::new(|_| {
        let _ = Greenlet::<u32>::main().switch(1);
        panic!("meant");
    });
    greenlet.switch(0).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(move || drop(greenlet)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"meant"));
}

#[test]
fn it_runs_and_ends_in_a_thread_local_that_is_destroyed() {
    thread_local! {
        static KEPT: RefCell<Option<Greenlet<u32>>> = const { RefCell::new(None) };
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let greenlet = Greenlet::new(move |_| {
            let end = Greenlet::<u32>::main().switch(1);
            tell.send(end.is_err()).unwrap();
            end.map(|_| 0)
        });
        greenlet.switch(0).unwrap();
        KEPT.set(Some(greenlet));
    })
    .join()
    .unwrap();
    assert_eq!(told.recv(), Ok(true));
}

/// When a thread's locals are gone, each `main()` begins a family of its own: of one type, there are several then.
#[test]
fn a_parent_of_another_family_is_refused() {
    struct Late(std::sync::mpsc::Sender<(Result<(), ParentError>, Option<u32>)>);
    impl Drop for Late {
        fn drop(&mut self) {
            let greenlet = Greenlet::<u32>::new(|n| Ok(n + 1));
            let answer = greenlet.set_parent(&Greenlet::main());
            let _ = self.0.send((answer, greenlet.switch(1).unwrap()));
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Registered before the families, so it is destroyed after them.
        LATE.set(Some(Late(tell)));
        Greenlet::<u32>::main();
    })
    .join()
    .unwrap();
    assert_eq!(told.recv(), Ok((Err(ParentError::Family), Some(2))));
}

/// Calls when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A greenlet that has not begun, with something in its body that calls `call` when it is dropped.
fn unstarted(call: impl FnMut() + 'static) -> Greenlet<u32> {
    let held = OnDrop(call);
    Greenlet::new(move |n| {
        let _held = &held;
        Ok(n)
    })
}

#[test]
fn a_body_that_is_dropped_by_an_end_that_passes_it_cannot_switch() {
    let log = log();
    let told = Rc::clone(&log);
    let parent = unstarted(move || {
        let main = Greenlet::<u32>::main();
        told.borrow_mut().push(format!("{} {}", switch_error(main.switch(8)), switch_error(main.throw(SomeError))));
    });
    let child = Greenlet::with_parent(&parent, |_| Err(SomeError.into()));
    assert!(is_some_error(&child.switch(0)));
    let refusal = SwitchError::Ended.to_string();
    assert_eq!(*log.borrow(), [format!("{refusal} {refusal}")]);
    assert!(child.is_dead() && parent.is_dead());
    // All is in order.
    let echo = Greenlet::<u32>::new(|n| main_greenlet().switch(n + 1).map(|_| 0));
    assert_eq!(echo.switch(1).unwrap(), Some(2));
}

/// Panics when it is dropped, without a word.
struct Nasty;

impl Drop for Nasty {
    fn drop(&mut self) {
        resume_unwind(Box::new("payload"));
    }
}

#[test]
fn a_payload_that_panics_in_its_drop_does_no_harm_where_nobody_gets_it() {
    let greenlet = Greenlet::<u32>::new(|_| {
        let _ = main_greenlet().switch(1);
        resume_unwind(Box::new(Nasty))
    });
    greenlet.switch(0).unwrap();
    let outer = catch_unwind(AssertUnwindSafe(move || {
        let _greenlet = greenlet;
        resume_unwind(Box::new("outer"));
    }));
    assert_eq!(outer.unwrap_err().downcast_ref(), Some(&"outer"));
}

#[test]
fn a_payload_that_is_replaced_by_the_panic_of_a_destructor_does_no_harm() {
    let parent = unstarted(|| resume_unwind(Box::new("destructor")));
    let child = Greenlet::with_parent(&parent, |_| resume_unwind(Box::new(Nasty)));
    let panic = catch_unwind(AssertUnwindSafe(|| child.switch(0)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"destructor"));
}
