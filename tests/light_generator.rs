//! Light generators: the protocol of generators without a stack.
#![cfg(feature = "coroutines")]

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crewkit::coroutine::{Coroutine, GenError, Generator, Interrupt, LightGenerator, LightYielder, State, Step};

/// A body that yields its first value, what it is sent, and the text of errors that are thrown in, until it is closed.
async fn patient(y: &mut LightYielder<'_, String, i32>, first: i32) -> Result<&'static str, Interrupt> {
    let mut next = first.to_string();
    loop {
        next = match y.yield_(next).await {
            Ok(value) => value.to_string(),
            Err(Interrupt::Error(error)) => error.to_string(),
            Err(Interrupt::Close) => return Ok("closed"),
        };
    }
}

fn yielded(text: &str) -> Step<String, &'static str> {
    Step::Yield(text.to_owned())
}

#[test]
fn send_throw_and_close_speak_the_protocol() {
    let mut generator = LightGenerator::new(patient);
    assert_eq!(generator.state(), State::Created);
    assert_eq!(generator.send(1).unwrap(), yielded("1"));
    assert_eq!(generator.state(), State::Suspended);
    assert_eq!(generator.send(2).unwrap(), yielded("2"));
    assert_eq!(generator.throw(std::io::Error::other("three")).unwrap(), yielded("three"));
    assert_eq!(generator.close().unwrap(), Some("closed"));
    assert_eq!(generator.state(), State::Finished);
    assert!(matches!(generator.send(4), Err(GenError::Finished)));
    assert_eq!(generator.close().unwrap(), None);
    assert!(matches!(generator.throw(Interrupt::Close), Err(GenError::Finished)));
    let Err(GenError::Thrown(error)) = generator.throw(std::io::Error::other("late")) else { panic!("not thrown") };
    assert_eq!(error.to_string(), "late");
}

#[test]
fn one_that_has_not_begun_never_does() {
    let ran = Rc::new(Cell::new(false));
    let make = || {
        let ran = Rc::clone(&ran);
        LightGenerator::new(async move |y: &mut LightYielder<'_, i32>, ()| {
            ran.set(true);
            y.yield_(1).await
        })
    };
    let mut closed = make();
    assert_eq!(closed.close().unwrap(), None);
    assert_eq!(closed.state(), State::Finished);
    let mut thrown = make();
    assert!(matches!(thrown.throw(std::fmt::Error), Err(GenError::Thrown(error)) if error.is::<std::fmt::Error>()));
    assert!(matches!(thrown.send(()), Err(GenError::Finished)));
    drop(make());
    // What the bodies held went with them, although two of the generators are still there.
    assert_eq!(Rc::strong_count(&ran), 1);
    assert!(!ran.get());
}

#[test]
fn one_that_yields_when_it_is_closed_is_told_of() {
    let mut stubborn = LightGenerator::new(async |y, ()| {
        if y.yield_(1).await.is_err() {
            y.yield_(2).await?;
        }
        Ok(3)
    });
    assert_eq!(stubborn.next(), Some(1));
    assert!(matches!(stubborn.close(), Err(GenError::IgnoredClose)));
    assert_eq!(stubborn.state(), State::Suspended);
    assert_eq!(stubborn.send(()).unwrap(), Step::Return(3));
}

#[test]
fn an_error_of_the_body_comes_out_and_ends_it() {
    let mut fails = LightGenerator::new(async |y, ()| {
        y.yield_(1).await?;
        let parsed: u8 = "x".parse()?;
        y.yield_(parsed).await
    });
    assert_eq!(fails.next(), Some(1));
    assert!(matches!(fails.send(()), Err(GenError::Thrown(error)) if error.is::<std::num::ParseIntError>()));
    assert_eq!(fails.state(), State::Finished);
    assert_eq!(fails.next(), None);
}

#[test]
fn it_iterates_is_fused_and_keeps_the_return_value() {
    fn fused(iterator: impl FusedIterator<Item = i32>) -> impl FusedIterator<Item = i32> {
        iterator
    }
    let mut counts = LightGenerator::new(async |y, ()| {
        y.yield_from_iter(1..4).await?;
        Ok("done")
    });
    assert_eq!(fused(&mut counts).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(counts.next(), None);
    assert_eq!(counts.return_value(), Some("done"));
    assert_eq!(counts.return_value(), None);
}

#[test]
fn an_iterator_does_not_hide_an_error() {
    let fails = LightGenerator::<i32>::new(async |_, ()| Err(std::io::Error::other("lost").into()));
    let panic = catch_unwind(AssertUnwindSafe(|| fails.count())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert_eq!(text, "a light generator, used as an iterator: the coroutine ended with an error: lost");
}

#[test]
fn a_panic_of_the_body_goes_on_and_ends_it() {
    let held = Rc::new(());
    let kept = Rc::clone(&held);
    let mut panics = LightGenerator::new(async move |y, ()| {
        let _kept = kept;
        y.yield_(1).await?;
        panic!("meant")
    });
    let _typed: &mut LightGenerator<i32, (), (), _> = &mut panics;
    assert_eq!(panics.next(), Some(1));
    let panic = catch_unwind(AssertUnwindSafe(|| panics.next())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"meant"));
    assert_eq!(panics.state(), State::Finished);
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(panics.next(), None);
}

#[test]
fn a_foreign_future_is_a_panic_that_says_so() {
    let mut waits = LightGenerator::new(async |y, ()| {
        y.yield_(1).await?;
        // One that is ready is no matter.
        std::future::ready(()).await;
        y.yield_(2).await?;
        pending::<()>().await;
        Ok(())
    });
    assert_eq!(waits.by_ref().take(2).collect::<Vec<_>>(), [1, 2]);
    let panic = catch_unwind(AssertUnwindSafe(|| waits.next())).unwrap_err();
    let text = "the body of a light generator awaits something else than its yielder, and nobody would wake it";
    assert_eq!(
        panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str)),
        Some(text)
    );
    assert_eq!(waits.state(), State::Finished);
}

#[test]
fn what_was_yielded_is_delivered_even_if_the_yield_is_given_up() {
    let mut impatient = LightGenerator::new(async |y, ()| {
        {
            let mut given_up = pin!(y.yield_(1));
            poll_fn(|context| {
                assert!(given_up.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        y.yield_(2).await?;
        y.yield_(3).await
    });
    assert_eq!(impatient.by_ref().collect::<Vec<i32>>(), [1, 2, 3]);
    assert_eq!(impatient.return_value(), Some(()));
}

#[test]
fn dropping_it_drops_what_the_body_holds() {
    let held = Rc::new(());
    let kept = Rc::clone(&held);
    let mut waits = LightGenerator::new(async move |y, ()| {
        let _kept = kept;
        y.yield_(1).await
    });
    assert_eq!(waits.next(), Some(1));
    assert_eq!(Rc::strong_count(&held), 2);
    drop(waits);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_body_may_borrow() {
    let words = ["one".to_owned(), "two".to_owned()];
    let seen = RefCell::new(0);
    let lengths = LightGenerator::new(async |y, ()| {
        for word in &words {
            *seen.borrow_mut() += 1;
            y.yield_(word.as_str()).await?;
        }
        Ok(())
    });
    assert_eq!(lengths.collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(seen.into_inner(), 2);
}

#[test]
fn delegation_forwards_in_every_direction() {
    let mut outer = LightGenerator::new(async |y, first: i32| {
        let mut inner = LightGenerator::new(patient);
        let result = y.yield_from(&mut inner).await?;
        y.yield_(format!("{result} {first}")).await?;
        Ok("never")
    });
    // As any `yield from`: the inner one begins with the default.
    assert_eq!(outer.send(5).unwrap(), yielded("0"));
    assert_eq!(outer.send(6).unwrap(), yielded("6"));
    assert_eq!(outer.throw(std::io::Error::other("inward")).unwrap(), yielded("inward"));
    assert_eq!(outer.close().unwrap(), None);
    assert_eq!(outer.state(), State::Finished);
}

#[test]
fn both_kinds_delegate_to_each_other() {
    let light = LightGenerator::new(async |y, ()| {
        let mut heavy = Generator::new(|y, ()| {
            let mut light = LightGenerator::new(async |y, ()| {
                y.yield_(1).await?;
                Ok(10)
            });
            let ten = y.yield_from(&mut light)?;
            y.yield_(2)?;
            Ok(ten + 1)
        });
        let eleven = y.yield_from(&mut heavy).await?;
        y.yield_(eleven).await
    });
    assert_eq!(light.collect::<Vec<_>>(), [1, 2, 11]);
}

#[test]
fn the_protocol_is_a_trait_that_hides_the_kind() {
    let mut kinds: Vec<Box<dyn Coroutine<i32, i32, Return = ()>>> = vec![
        Box::new(LightGenerator::new(async |y, n| y.yield_(n + 1).await.map(drop))),
        Box::new(Generator::new(|y, n| y.yield_(n + 1).map(drop))),
    ];
    for kind in &mut kinds {
        assert_eq!(kind.state(), State::Created);
        assert_eq!(kind.send(1).unwrap(), Step::Yield(2));
        assert!(matches!(kind.throw(Interrupt::Close), Err(GenError::Finished)));
        assert_eq!(kind.close().unwrap(), None);
        assert_eq!(kind.state(), State::Finished);
    }
}

#[test]
fn it_goes_on_in_another_thread_if_its_body_can() {
    let mut counts = LightGenerator::new(async |y, first: u32| {
        let mut sum = first;
        let history = Box::new([first]);
        loop {
            sum += y.yield_(sum + history[0]).await?;
        }
    });
    let _typed: &mut LightGenerator<u32, u32, (), _> = &mut counts;
    assert_eq!(counts.send(1).unwrap(), Step::Yield(2));
    let mut counts = counts.boxed_send();
    let counts = std::thread::spawn(move || {
        assert_eq!(counts.send(10).unwrap(), Step::Yield(12));
        counts
    });
    let mut counts = counts.join().unwrap();
    assert_eq!(counts.send(100).unwrap(), Step::Yield(112));
}

#[test]
fn hundred_thousand_fit_into_little_memory() {
    let many: Vec<LightGenerator<usize>> = (0..100_000)
        .map(|start| {
            let mut generator = LightGenerator::new(async move |y, ()| {
                for n in start.. {
                    y.yield_(n).await?;
                }
                Ok(())
            });
            assert_eq!(generator.next(), Some(start));
            generator.boxed()
        })
        .collect();
    // The handles; what they own is measured by the benchmark.
    assert!(size_of_val(&many[..]) <= 100_000 * 40);
    assert_eq!(many.into_iter().map(|mut generator| generator.next().unwrap()).sum::<usize>(), (1..=100_000).sum());
}

/// Yields, is resumed, and never looks at what it was sent.
async fn resumed_in_vain<T>(yielded: impl Future<Output = T>) {
    let mut yielded = pin!(yielded);
    let mut begun = false;
    poll_fn(|context| {
        if std::mem::replace(&mut begun, true) { Poll::Ready(()) } else { yielded.as_mut().poll(context).map(drop) }
    })
    .await;
}

#[test]
fn a_value_that_a_given_up_yield_left_does_not_hide_an_interrupt() {
    let mut generator = LightGenerator::new(async |y: &mut LightYielder<'_, i32, i32>, _: i32| {
        resumed_in_vain(y.yield_(1)).await;
        y.yield_(2).await
    });
    assert_eq!(generator.send(10).unwrap(), Step::Yield(1));
    assert_eq!(generator.send(11).unwrap(), Step::Yield(2));
    let Err(GenError::Thrown(error)) = generator.throw(std::io::Error::other("thrown")) else { panic!("not thrown") };
    assert_eq!(error.to_string(), "thrown");
}

/// What is sent may panic when it is dropped.
struct Hostile(bool);

impl Drop for Hostile {
    fn drop(&mut self) {
        assert!(!self.0, "dropped");
    }
}

#[test]
fn a_value_that_panics_as_it_makes_way_for_an_interrupt_leaves_nothing_thrown() {
    let mut generator = LightGenerator::new(async |y: &mut LightYielder<'_, i32, Hostile>, _: Hostile| {
        resumed_in_vain(y.yield_(1)).await;
        let sent = y.yield_(2).await?;
        y.yield_(if sent.0 { 4 } else { 3 }).await.map(drop)
    });
    assert_eq!(generator.send(Hostile(false)).unwrap(), Step::Yield(1));
    assert_eq!(generator.send(Hostile(true)).unwrap(), Step::Yield(2));
    let local = Rc::new(Cell::new(0));
    let thrown = catch_unwind(AssertUnwindSafe(|| generator.throw(Local(Rc::clone(&local)))));
    assert_eq!(thrown.unwrap_err().downcast_ref::<&str>(), Some(&"dropped"));
    assert_eq!((generator.state(), Rc::strong_count(&local)), (State::Suspended, 1));
    assert_eq!(generator.send(Hostile(false)).unwrap(), Step::Yield(3));
}

/// An error may hold what must not leave its thread.
#[derive(Debug)]
struct Local(Rc<Cell<u32>>);

impl std::fmt::Display for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.get())
    }
}

impl std::error::Error for Local {}

#[test]
fn an_interrupt_does_not_leave_the_thread_of_who_throws_it() {
    let mut generator = LightGenerator::new(async |y: &mut LightYielder<'_, i32>, ()| {
        let mut waiting = pin!(y.yield_(1));
        poll_fn(|_| {
            let elsewhere = std::thread::scope(|scope| {
                let poll = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                scope.spawn(poll).join()
            });
            match elsewhere {
                Ok(true) => Poll::Ready(()),
                Ok(false) => Poll::Pending,
                Err(panic) => resume_unwind(panic),
            }
        })
        .await;
        Ok(())
    });
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    let local = Rc::new(Cell::new(0));
    let thrown = catch_unwind(AssertUnwindSafe(|| generator.throw(Local(Rc::clone(&local)))));
    let panic = thrown.expect_err("it is refused");
    let message = panic.downcast_ref::<&str>().copied().unwrap_or_default();
    assert_eq!(message, "an interrupt is for the thread that throws it, and this is another");
    assert_eq!((generator.state(), Rc::strong_count(&local)), (State::Finished, 1));
}
