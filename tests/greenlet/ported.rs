//! greenlet's own `test_greenlet`, by its names. The table of all cases, ported or not and why, is `tests/ported/greenlet.md`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;

use crewkit::coroutine::{Greenlet, Interrupt, ParentError, State};

use super::{Log, SomeError, is_some_error, main_greenlet, to_parent};

/// Python's `fmain`: waits in its parent's favour, notes what ends that, and fails.
fn fmain(seen: &Log) -> Greenlet<u32> {
    let seen = Rc::clone(seen);
    Greenlet::<u32>::new(move |_| {
        if let Err(interrupt) = to_parent(0) {
            seen.borrow_mut().push(match &interrupt {
                Interrupt::Close => "GreenletExit".to_owned(),
                Interrupt::Error(error) => error.to_string(),
            });
            return Err(interrupt);
        }
        Err(SomeError.into())
    })
}

fn simple() {
    let list = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&list);
    let greenlet = Greenlet::<u32>::new(move |_| {
        theirs.borrow_mut().push(1);
        to_parent(0)?;
        theirs.borrow_mut().push(3);
        Ok(0)
    });
    list.borrow_mut().push(0);
    greenlet.switch(0).unwrap();
    list.borrow_mut().push(2);
    greenlet.switch(0).unwrap();
    list.borrow_mut().push(4);
    assert_eq!(*list.borrow(), [0, 1, 2, 3, 4]);
}

#[test]
fn test_simple() {
    simple();
}

#[test]
fn test_threads() {
    let threads: Vec<_> = (0..10).map(|_| thread::spawn(simple)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn test_parent_equals_none() {
    assert_eq!(Greenlet::<u32>::new(Ok).parent(), Some(Greenlet::current()));
}

#[test]
fn test_two_children() {
    let list = Rc::new(RefCell::new(Vec::new()));
    let make = || {
        let list = Rc::clone(&list);
        Greenlet::<u32>::new(move |_| {
            list.borrow_mut().push(1);
            to_parent(0)?;
            list.borrow_mut().extend([1, 1]);
            Ok(0)
        })
    };
    let (g, h) = (make(), make());
    g.switch(0).unwrap();
    assert_eq!(list.borrow().len(), 1);
    h.switch(0).unwrap();
    assert_eq!(list.borrow().len(), 2);
    h.switch(0).unwrap();
    assert_eq!(list.borrow().len(), 4);
    assert!(h.is_dead());
    g.switch(0).unwrap();
    assert_eq!(list.borrow().len(), 6);
    assert!(g.is_dead());
}

#[test]
fn test_two_recursive_children() {
    let list = Rc::new(RefCell::new(String::new()));
    let theirs = Rc::clone(&list);
    let outer = Greenlet::<u32>::new(move |_| {
        theirs.borrow_mut().push('a');
        let innermost = Rc::clone(&theirs);
        let inner = Greenlet::<u32>::new(move |_| {
            innermost.borrow_mut().push('b');
            to_parent(0)?;
            Ok(0)
        });
        inner.switch(0)?;
        theirs.borrow_mut().push('c');
        Ok(0)
    });
    outer.switch(0).unwrap();
    assert_eq!(*list.borrow(), "abc");
    // No stack holds the list any more.
    assert_eq!(Rc::strong_count(&list), 1);
}

#[test]
fn test_exception() {
    let seen = Log::default();
    let (g1, g2) = (fmain(&seen), fmain(&seen));
    g1.switch(0).unwrap();
    g2.switch(0).unwrap();
    g2.set_parent(&g1).unwrap();
    assert!(seen.borrow().is_empty());
    // g2 fails into g1, which fails into main.
    assert!(is_some_error(&g2.switch(0)));
    assert_eq!(*seen.borrow(), ["some error"]);
    // Both are dead: the value comes back.
    assert_eq!(g2.switch(25).unwrap(), Some(25));
    assert_eq!(seen.borrow().len(), 1);
}

#[test]
fn test_send_exception() {
    let seen = Log::default();
    let g1 = fmain(&seen);
    g1.switch(0).unwrap();
    let crasher = Greenlet::with_parent(&g1, |_| Err(SomeError.into()));
    assert!(is_some_error(&crasher.switch(0)));
    assert_eq!(*seen.borrow(), ["some error"]);
}

#[test]
fn test_dealloc() {
    let seen = Log::default();
    let (g1, g2) = (fmain(&seen), fmain(&seen));
    g1.switch(0).unwrap();
    g2.switch(0).unwrap();
    assert!(seen.borrow().is_empty());
    drop(g1);
    assert_eq!(*seen.borrow(), ["GreenletExit"]);
    drop(g2);
    assert_eq!(*seen.borrow(), ["GreenletExit"; 2]);
}

#[test]
fn test_dealloc_catches_greenlet_exit_throws_other() {
    let greenlet = Greenlet::<u32>::new(|_| match to_parent(0) {
        Err(Interrupt::Close) => Err(SomeError.into()),
        other => other.map(|_| 0),
    });
    greenlet.switch(0).unwrap();
    // Told on standard error, and nowhere else.
    drop(greenlet);
}

#[test]
fn test_frame() {
    let greenlet = Greenlet::<u32>::new(|_| {
        to_parent(1)?;
        Ok(2)
    });
    assert_eq!(greenlet.switch(0).unwrap(), Some(1));
    assert_eq!(greenlet.state(), State::Suspended);
    assert_eq!(greenlet.switch(0).unwrap(), Some(2));
    assert_eq!(greenlet.state(), State::Finished);
}

#[test]
fn test_switch_kwargs_to_parent() {
    // What Python passes as tuple or dict is a type here, or any type.
    type Any_ = Box<dyn Any>;
    let greenlet = Greenlet::<Any_>::new(|x| {
        let x: u32 = *x.downcast().unwrap();
        let main = Greenlet::<Any_>::main();
        main.switch(Box::new(("x", x)))?;
        main.switch(Box::new("two"))?;
        Ok(Box::new((x, x.pow(2))))
    });
    assert!(greenlet.switch(Box::new(3_u32)).unwrap().unwrap().is::<(&str, u32)>());
    assert!(greenlet.switch(Box::new(())).unwrap().unwrap().is::<&str>());
    assert_eq!(*greenlet.switch(Box::new(())).unwrap().unwrap().downcast::<(u32, u32)>().unwrap(), (3, 9));
}

#[test]
fn test_parent_restored_on_kill() {
    let hub = Greenlet::<u32>::new(Ok);
    let result: Rc<RefCell<Vec<Greenlet<u32>>>> = Rc::default();
    let theirs = Rc::clone(&result);
    let hub_too = hub.clone();
    let worker = Greenlet::with_parent(&hub, move |_| {
        if let Err(Interrupt::Close) = main_greenlet().switch(0) {
            // Resurrects itself.
            let me = Greenlet::current();
            theirs.borrow_mut().extend([me.parent().unwrap(), me]);
            hub_too.switch(1)?;
        }
        Ok(0)
    });
    worker.switch(0).unwrap();
    drop(worker);
    assert_eq!(result.borrow()[0], main_greenlet());
    assert_eq!(result.borrow()[1].parent(), Some(hub.clone()));
    assert_eq!(result.borrow()[1].state(), State::Suspended);
    assert!(hub.is_dead());
    let kept = result.take();
    drop(kept);
}

#[test]
fn test_throw_exception_not_lost() {
    let greenlet = Greenlet::<u32>::new(Ok);
    assert!(is_some_error(&greenlet.throw(SomeError)));
    assert!(greenlet.is_dead());
}

#[test]
fn test_dealloc_switch_args_not_lost() {
    let seen = Rc::new(Cell::new(false));
    let slot: Rc<RefCell<Vec<Greenlet<u32>>>> = Rc::default();
    let initiator: Rc<RefCell<Option<Greenlet<u32>>>> = Rc::default();
    let worker = {
        let (seen, slot, initiator) = (Rc::clone(&seen), Rc::clone(&slot), Rc::clone(&initiator));
        Greenlet::<u32>::new(move |_| {
            let value = to_parent(0)?.unwrap();
            // All handles of this greenlet go; the value is switched to main nevertheless.
            slot.borrow_mut().clear();
            let parent = Greenlet::<u32>::current().parent().unwrap();
            initiator.take().unwrap().set_parent(&parent).unwrap();
            let end = parent.switch(value);
            seen.set(matches!(end, Err(Interrupt::Close)));
            end.map(|_| 0)
        })
    };
    worker.switch(0).unwrap();
    slot.borrow_mut().push(worker);
    let first = Greenlet::with_parent(&slot.borrow()[0], |_| Ok(42));
    *initiator.borrow_mut() = Some(first.clone());
    assert_eq!(first.switch(0).unwrap(), Some(42));
    assert!(seen.get());
}

#[test]
fn test_falling_off_end_switches_to_unstarted_parent_works() {
    let parent = Greenlet::<u32>::new(|x| Ok(x + 24));
    let child = Greenlet::with_parent(&parent, |_| Ok(42));
    assert_eq!(child.switch(0).unwrap(), Some(66));
    assert!(parent.is_dead());
}

#[test]
fn test_switch_to_dead_greenlet_with_unstarted_perverse_parent() {
    let seen = Log::default();
    let theirs = Rc::clone(&seen);
    let parent = Greenlet::<u32>::new(|_| Err(SomeError.into()));
    let child = Greenlet::with_parent(&parent, move |_| {
        theirs.borrow_mut().push("42".to_owned());
        Ok(0)
    });
    assert!(is_some_error(&child.switch(0)));
    // Python's fails to start again and again; here it has run, and is dead.
    assert_eq!(child.switch(1).unwrap(), Some(1));
    assert_eq!(seen.borrow().len(), 1);
}

#[test]
fn test_switch_to_dead_greenlet_reparent() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let make = |n: u32| {
        let seen = Rc::clone(&seen);
        Greenlet::<u32>::new(move |_| {
            seen.borrow_mut().push(n);
            Ok(n)
        })
    };
    let (parent, child) = (make(24), make(42));
    child.switch(0).unwrap();
    assert_eq!(*seen.borrow(), [42]);
    child.set_parent(&parent).unwrap();
    assert_eq!(child.switch(0).unwrap(), Some(24));
    assert_eq!(*seen.borrow(), [42, 24]);
}

#[test]
fn test_main_greenlet_parent_is_none() {
    assert_eq!(main_greenlet().parent(), None);
    assert!(!main_greenlet().is_dead());
}

#[test]
fn test_trivial_cycle() {
    let greenlet = Greenlet::<u32>::new(Ok);
    assert_eq!(greenlet.set_parent(&greenlet), Err(ParentError::Cycle));
}

#[test]
fn test_trivial_cycle_main() {
    assert_eq!(main_greenlet().set_parent(&main_greenlet()), Err(ParentError::Main));
}

#[test]
fn test_deeper_cycle() {
    let [g1, g2, g3] = [(); 3].map(|()| Greenlet::<u32>::new(Ok));
    g1.set_parent(&g2).unwrap();
    g2.set_parent(&g3).unwrap();
    assert_eq!(g3.set_parent(&g1), Err(ParentError::Cycle));
    assert_eq!(g3.parent(), Some(main_greenlet()));
}

#[test]
fn test_repr() {
    let text = |greenlet: &Greenlet<u32>| {
        let text = format!("{greenlet:?}");
        text.split_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(text(&main_greenlet()), "current active started main)");
    let background = Rc::new(RefCell::new(String::new()));
    let theirs = Rc::clone(&background);
    let greenlet = Greenlet::<u32>::new(move |_| {
        *theirs.borrow_mut() = format!("{} {}", text(&main_greenlet()), text(&Greenlet::current()));
        to_parent(0)?;
        Ok(0)
    });
    assert_eq!(text(&greenlet), "pending)");
    greenlet.switch(0).unwrap();
    assert_eq!(*background.borrow(), "suspended active started main) current active started)");
    assert_eq!(text(&greenlet), "suspended active started)");
    greenlet.switch(0).unwrap();
    assert_eq!(text(&greenlet), "dead)");
}
