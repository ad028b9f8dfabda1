//! The generator protocol: what `send`, `throw`, `close` and drop do in each state.

#![cfg(feature = "coroutines")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Builder, GenError, Generator, Interrupt, StackSize, State, Step, stack_stats};
use crewkit::generator;

/// Counts its drops.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<u32>>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[derive(Debug, PartialEq)]
struct Problem(&'static str);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Problem {}

/// The problem that came out.
#[track_caller]
fn problem<T: fmt::Debug>(result: Result<T, GenError>) -> Problem {
    match result {
        Err(GenError::Thrown(error)) => *error.downcast().expect("a Problem"),
        other => panic!("{other:?}"),
    }
}

/// Yields 1, 2, … and says what interrupts it.
fn stubborn() -> Generator<i32, (), &'static str> {
    Generator::new(|y, ()| {
        for n in 1.. {
            match y.yield_(n) {
                Ok(()) => {}
                Err(Interrupt::Close) => return Ok("closed"),
                Err(Interrupt::Error(error)) if error.is::<Problem>() => {}
                Err(other) => return Err(other),
            }
        }
        Ok("never")
    })
}

#[test]
fn values_go_in_and_come_out() {
    let generator = Generator::new(|y, first: i32| {
        let second = y.yield_(first + 1)?;
        let third = y.yield_(second * 10)?;
        Ok(format!("{first} {second} {third}"))
    });
    assert_eq!(generator.state(), State::Created);
    assert_eq!(generator.send(1).unwrap(), Step::Yield(2));
    assert_eq!(generator.state(), State::Suspended);
    assert_eq!(generator.send(2).unwrap(), Step::Yield(20));
    assert_eq!(generator.send(3).unwrap(), Step::Return("1 2 3".to_owned()));
    assert_eq!(generator.state(), State::Finished);
    for _ in 0..2 {
        assert!(matches!(generator.send(4), Err(GenError::Finished)));
    }
}

#[test]
fn nothing_of_the_body_runs_before_the_first_resume() {
    let ran = Rc::new(Cell::new(false));
    let generator = {
        let ran = ran.clone();
        generator!(move |y| {
            ran.set(true);
            y.yield_(())
        })
    };
    assert!(!ran.get());
    generator.send(()).unwrap();
    assert!(ran.get());
}

#[test]
fn throw_in_each_state() {
    let drops = Drops::default();
    let held = drops.clone();
    let generator = generator!(move |y| {
        let _held = &held;
        y.yield_(())
    });
    assert_eq!(problem(generator.throw(Problem("early"))), Problem("early"));
    assert_eq!((generator.state(), drops.0.get()), (State::Finished, 1), "the body was dropped, not run");
    assert_eq!(problem(generator.throw(Problem("late"))), Problem("late"));

    let generator = stubborn();
    generator.send(()).unwrap();
    assert_eq!(generator.throw(Problem("dealt with")).unwrap(), Step::Yield(2));
    assert_eq!(generator.throw(Interrupt::Close).unwrap(), Step::Return("closed"));

    let generator = stubborn();
    generator.send(()).unwrap();
    let Err(GenError::Thrown(error)) = generator.throw(fmt::Error) else { panic!("passed through") };
    assert!(error.is::<fmt::Error>());
    assert_eq!(generator.state(), State::Finished);

    let generator = generator!(|y| y.yield_(()));
    generator.send(()).unwrap();
    assert!(matches!(generator.throw(Interrupt::Close), Err(GenError::Finished)), "it ended without a value");
}

#[test]
fn close_in_each_state() {
    let drops = Drops::default();
    let held = drops.clone();
    let generator: Generator<(), (), ()> = generator!(move |y| {
        let _held = &held;
        y.yield_(())
    });
    assert!(matches!(generator.close(), Ok(None)));
    assert_eq!((generator.state(), drops.0.get()), (State::Finished, 1));
    assert!(matches!(generator.close(), Ok(None)));

    let generator = stubborn();
    generator.send(()).unwrap();
    assert_eq!(generator.close().unwrap(), Some("closed"), "the value that the body returns");
    assert_eq!(generator.close().unwrap(), None);

    let generator: Generator<(), (), ()> = generator!(|y| y.yield_(()));
    generator.send(()).unwrap();
    assert_eq!(generator.close().unwrap(), None, "it handed the close on");

    let generator: Generator<i32> = generator!(|y| y.yield_(1).map_err(|_| Problem("while closing").into()));
    generator.send(()).unwrap();
    assert_eq!(problem(generator.close()), Problem("while closing"));
}

#[test]
fn a_body_that_ignores_a_close_is_suspended_as_before() {
    let generator = generator!(|y| {
        let _ = y.yield_(1);
        y.yield_(2)
    });
    generator.send(()).unwrap();
    assert!(matches!(generator.close(), Err(GenError::IgnoredClose)));
    assert_eq!(generator.state(), State::Suspended);
    assert_eq!(generator.send(()).unwrap(), Step::Return(()));
}

#[test]
fn a_body_fails_with_any_error() {
    let generator = generator!(|y| {
        y.yield_("1".parse::<i32>()?)?;
        y.yield_("x".parse::<i32>()?)
    });
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    let error = generator.send(()).unwrap_err();
    assert_eq!(error.to_string(), "the coroutine ended with an error: invalid digit found in string");
    assert_eq!(generator.state(), State::Finished);
}

#[test]
fn resuming_itself_is_an_error() {
    let own: Rc<RefCell<Option<Rc<Generator<i32>>>>> = Rc::default();
    let inside = own.clone();
    let generator = Rc::new(generator!(move |y| {
        let own = inside.take().expect("set below");
        assert_eq!(own.state(), State::Running);
        assert!(matches!(own.send(()), Err(GenError::AlreadyExecuting)));
        assert!(matches!(own.throw(Problem("x")), Err(GenError::AlreadyExecuting)));
        assert!(matches!(own.close(), Err(GenError::AlreadyExecuting)));
        drop(own);
        y.yield_(1)
    }));
    own.replace(Some(generator.clone()));
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    assert_eq!(Rc::strong_count(&generator), 1);
}

#[test]
fn a_panic_goes_on_in_whoever_resumed_it() {
    let drops = Drops::default();
    let held = drops.clone();
    let generator = generator!(move |y| {
        let _held = held;
        y.yield_(1)?;
        std::panic::resume_unwind(Box::new("payload"))
    });
    assert_eq!(generator.send(()).unwrap(), Step::<_, ()>::Yield(1));
    let payload = catch_unwind(AssertUnwindSafe(|| generator.send(()))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"payload"));
    assert_eq!((generator.state(), drops.0.get()), (State::Finished, 1));
    assert!(matches!(generator.send(()), Err(GenError::Finished)));
}

#[test]
fn dropping_runs_the_body_to_its_end() {
    let drops = Drops::default();
    for resumed in 0..3 {
        let (held, inside) = (drops.clone(), drops.clone());
        let generator = generator!(move |y| {
            let _held = held;
            y.yield_(())?;
            let _inside = inside;
            y.yield_(())
        });
        drops.0.set(0);
        for _ in 0..resumed {
            generator.send(()).unwrap();
        }
        drop(generator);
        assert_eq!(drops.0.get(), 2, "resumed {resumed} times");
    }
    assert_eq!(stack_stats().in_use, 0);
}

#[test]
fn a_finished_generator_has_given_its_stack_back() {
    let generator: Generator<(), (), i32> = generator!(|_y| Ok(7));
    assert_eq!(stack_stats().in_use, 1);
    assert_eq!(generator.send(()).unwrap(), Step::Return(7));
    assert_eq!(stack_stats().in_use, 0);
}

#[test]
fn as_an_iterator_it_is_fused_and_keeps_what_it_returns() {
    let mut generator = generator!(|y| {
        y.yield_from_iter(1..=3)?;
        Ok("end")
    });
    assert_eq!((&generator).take(2).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(generator.next(), Some(3));
    assert_eq!(generator.return_value(), None);
    assert_eq!((generator.next(), generator.next()), (None, None));
    assert_eq!((generator.return_value(), generator.return_value()), (Some("end"), None));
}

#[test]
fn an_iterator_does_not_hide_an_error() {
    let mut generator = generator!(|y| {
        y.yield_(1)?;
        Err::<(), _>(Problem("lost?").into())
    });
    assert_eq!(generator.next(), Some(1));
    let payload = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().ends_with("an error: lost?"));
    assert_eq!(generator.next(), None);
}

#[test]
fn large_bodies_values_and_results_travel() {
    // Unoptimised code copies them so often that the smallest stack would not do.
    let body = [7_u8; 4096];
    let generator = Builder::new()
        .stack(StackSize::Large)
        .generator(move |y, first: [u64; 100]| {
            let second = y.yield_([first[99]; 200])?;
            Ok([second[0] + u64::from(body[4095]); 300])
        })
        .unwrap();
    assert_eq!(generator.send([1; 100]).unwrap(), Step::Yield([1; 200]));
    assert_eq!(generator.send([2; 100]).unwrap(), Step::Return([9; 300]));
}

#[test]
fn a_body_with_any_alignment_lies_right() {
    fn check<A: Default + 'static>() {
        let held = A::default();
        let body = generator!(move |y| y.yield_((&raw const held).addr() % align_of::<A>()));
        assert_eq!(body.collect::<Vec<_>>(), [0], "of {}", align_of::<A>());
    }
    #[derive(Default)]
    #[repr(align(64))]
    struct Line;
    // Of no size, but what holds it beside anything else has the size of a page.
    #[derive(Default)]
    #[repr(align(4096))]
    struct Page;
    check::<u128>();
    check::<Line>();
    check::<Page>();
}

#[test]
fn a_value_with_a_large_alignment_lies_right() {
    #[derive(Clone, Copy)]
    #[repr(align(256))]
    struct Aligned(u8);
    let captured = Aligned(1);
    let generator = Generator::new(move |y, first: Aligned| {
        assert!((&raw const captured).is_aligned() && (&raw const first).is_aligned());
        y.yield_(Aligned(captured.0 + first.0))?;
        Ok(())
    });
    let Ok(Step::Yield(sum)) = generator.send(Aligned(2)) else { panic!("yields") };
    assert_eq!(sum.0, 3);
}

#[test]
fn each_size_of_stack_can_be_used() {
    for size in [StackSize::Small, StackSize::Large, StackSize::Huge] {
        fn deep(bytes: usize) -> usize {
            let page = std::hint::black_box([1_u8; 1024]);
            if bytes < 2048 { 1 } else { deep(bytes - 2048) + usize::from(page[1023]) }
        }
        let generator = Builder::new().stack(size).generator(move |y, ()| y.yield_(deep(size.bytes() / 2))).unwrap();
        assert!(matches!(generator.send(()), Ok(Step::Yield(depth)) if depth > 10), "{size:?}");
    }
}

#[test]
fn the_use_of_a_stack_is_measured() {
    let generator = Builder::new()
        .measure_stack()
        .generator(|y, ()| {
            y.yield_(0)?;
            y.yield_(std::hint::black_box([1_u8; 20_000]).iter().map(|byte| usize::from(*byte)).sum())
        })
        .unwrap();
    generator.send(()).unwrap();
    let little = generator.stack_used().unwrap();
    generator.send(()).unwrap();
    let much = generator.stack_used().unwrap();
    assert!(little > 100 && much > 20_000 && much < StackSize::Small.bytes(), "{little} {much}");
    generator.send(()).unwrap();
    assert_eq!((generator.state(), generator.stack_used().unwrap() >= much), (State::Finished, true));
    assert_eq!(stubborn().stack_used(), None);
}

#[test]
fn debug_tells_name_and_state() {
    let generator: Generator<(), (), ()> = Builder::new().name("parser").generator(|y, ()| y.yield_(())).unwrap();
    assert_eq!(format!("{generator:?}"), r#"Generator { name: "parser", state: Created, .. }"#);
    assert!(stubborn().name().contains("stubborn"), "{}", stubborn().name());
}
