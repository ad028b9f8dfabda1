//! greenlet's own `test_throw` and `test_tracing`, by their names. The table of all cases, ported or not and why, is
//! `tests/ported/greenlet.md`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Event, Greenlet, Interrupt};

use super::{SomeError, is_some_error, main_greenlet, to_parent};

// test_throw

#[test]
fn test_class_and_val() {
    let greenlet = Greenlet::<u32>::new(|_| {
        if is_some_error(&to_parent(1)) {
            to_parent(2)?;
            return Ok(3);
        }
        to_parent(4)?;
        Ok(5)
    });
    assert_eq!(greenlet.switch(0).unwrap(), Some(1));
    assert_eq!(greenlet.throw(SomeError).unwrap(), Some(2));
}

#[test]
fn test_kill() {
    let greenlet = Greenlet::<u32>::new(|_| {
        to_parent(1)?;
        to_parent(2)?;
        Ok(3)
    });
    assert_eq!(greenlet.switch(0).unwrap(), Some(1));
    assert_eq!(greenlet.throw(Interrupt::Close).unwrap(), None);
    assert!(greenlet.is_dead());
    // Eaten by the dead one.
    assert_eq!(greenlet.throw(Interrupt::Close).unwrap(), None);
    assert!(is_some_error(&greenlet.throw(SomeError)));
}

#[test]
fn test_throw_goes_to_original_parent() {
    let f1 = || Greenlet::<u32>::new(|_| if is_some_error(&main_greenlet().switch(1)) { Ok(10) } else { Ok(11) });
    let f2 = |parent: &_| {
        Greenlet::with_parent(parent, |_| {
            main_greenlet().switch(2)?;
            Ok(12)
        })
    };
    // Neither has begun.
    let g1 = f1();
    let g2 = f2(&g1);
    assert!(is_some_error(&g2.throw(SomeError)));
    assert!(g2.is_dead() && g1.is_dead());
    // The parent waits.
    let g1 = f1();
    let g2 = f2(&g1);
    assert_eq!(g1.switch(0).unwrap(), Some(1));
    assert_eq!(g2.throw(SomeError).unwrap(), Some(10));
    assert!(g2.is_dead() && g1.is_dead());
    // Both wait.
    let g1 = f1();
    let g2 = f2(&g1);
    assert_eq!(g1.switch(0).unwrap(), Some(1));
    assert_eq!(g2.switch(0).unwrap(), Some(2));
    assert_eq!(g2.throw(SomeError).unwrap(), Some(10));
    assert!(g2.is_dead() && g1.is_dead());
}

// test_tracing

type Traced = Rc<RefCell<Vec<(Event, Greenlet<u32>, Greenlet<u32>)>>>;

fn trace() -> Traced {
    let traced = Traced::default();
    let theirs = Rc::clone(&traced);
    Greenlet::<u32>::set_trace(Some(Box::new(move |event, from, to| {
        theirs.borrow_mut().push((event, from.clone(), to.clone()));
    })));
    traced
}

#[test]
fn test_a_greenlet_tracing() {
    let main = main_greenlet();
    let traced = trace();
    let g1 = Greenlet::<u32>::new(|_| Ok(0));
    g1.switch(0).unwrap();
    let g2 = Greenlet::<u32>::new(|_| Err(SomeError.into()));
    assert!(is_some_error(&g2.switch(0)));
    assert!(Greenlet::<u32>::set_trace(None).is_some());
    let expected = [
        (Event::Switch, main.clone(), g1.clone()),
        (Event::Switch, g1, main.clone()),
        (Event::Switch, main.clone(), g2.clone()),
        (Event::Throw, g2, main),
    ];
    assert_eq!(*traced.borrow(), expected);
}

#[test]
fn test_b_exception_disables_tracing() {
    let greenlet = Greenlet::<u32>::new(|_| {
        main_greenlet().switch(0)?;
        Ok(0)
    });
    greenlet.switch(0).unwrap();
    let calls = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&calls);
    Greenlet::<u32>::set_trace(Some(Box::new(move |_, _, _| {
        theirs.set(theirs.get() + 1);
        panic!("meant");
    })));
    let panic = catch_unwind(AssertUnwindSafe(|| greenlet.switch(0)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"meant"));
    assert!(greenlet.is_dead());
    assert!(Greenlet::<u32>::set_trace(None).is_none());
    assert_eq!(calls.get(), 1);
}

#[test]
fn test_set_same_tracer_twice() {
    let traced = trace();
    let tracer = Greenlet::<u32>::set_trace(None);
    Greenlet::<u32>::set_trace(tracer);
    Greenlet::<u32>::new(Ok).switch(0).unwrap();
    Greenlet::<u32>::set_trace(None);
    assert_eq!(traced.borrow().len(), 2);
}
