//! Facts 3 and 6: bodies that do not end when they are told to.

#![expect(unsafe_code, reason = "looks at a leaked stack")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Builder, Generator, Interrupt, scope, stack_stats};

use crate::again::{alone, printed, well};

/// Drops a generator that ignores its close and then catches `count` unwindings, on a thread of its own. Gives how often
/// it went on, and how many stacks of the thread were leaked.
fn dropped_after(count: u32) -> (u32, usize) {
    std::thread::spawn(move || {
        let times = Rc::new(Cell::new(0));
        let inside = times.clone();
        let generator: Generator<i32> = Generator::new(move |y, ()| {
            let _ = y.yield_(1);
            while inside.get() < count {
                inside.set(inside.get() + 1);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(y.yield_(2))));
            }
            y.yield_(3)
        });
        generator.send(()).expect("no failure");
        drop(generator);
        let stats = stack_stats();
        assert_eq!(stats.in_use, stats.leaked);
        (times.get(), stats.leaked)
    })
    .join()
    .expect("no failure")
}

#[test]
fn fact_3_catching_every_unwinding_does_not_make_drop_endless() {
    for (count, leaked) in [(0, 0), (1, 0), (15, 0), (16, 1), (u32::MAX, 1)] {
        assert_eq!(dropped_after(count), (count.min(17), leaked), "{count}");
    }
}

#[test]
fn fact_3_a_leaked_stack_is_never_used_again() {
    std::thread::spawn(|| {
        let witness = Rc::new(Cell::new(0));
        let inside = witness.clone();
        let generator: Generator<*const u64> = Generator::new(move |y, ()| {
            let local = [0x5eed_u64; 64];
            let _inside = inside;
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(y.yield_(local.as_ptr()))));
            }
        });
        let local = generator.send(()).unwrap().yielded().unwrap();
        drop(generator);
        assert_eq!(Rc::strong_count(&witness), 2, "its locals are not dropped");
        for _ in 0..200 {
            assert!(Generator::new(|y, ()| y.yield_(std::hint::black_box([0_u64; 512]))).next().is_some());
        }
        // SAFETY: what is on a leaked stack stays there for ever; this is what the test is for.
        assert_eq!(unsafe { *local }, 0x5eed);
    })
    .join()
    .unwrap();
}

#[test]
fn fact_3_a_scoped_body_that_does_not_end_ends_the_process() {
    let name = "refusing::fact_3_a_scoped_body_that_does_not_end_ends_the_process";
    let output = alone(name, || {
        let borrowed = Cell::new(0);
        scope(
            |y, ()| -> Result<(), Interrupt> {
                loop {
                    borrowed.set(1);
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(y.yield_(2))));
                }
            },
            |generator| drop(generator.send(())),
        );
        println!("returned");
    });
    let printed = printed(&output);
    assert!(!output.status.success() && printed.contains("did not end with its scope"), "{printed}");
    assert!(!printed.contains("returned"), "{printed}");
}

#[test]
fn a_scope_ends_its_generator_however_its_user_ends() {
    for panics in [false, true] {
        let mut ended = false;
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(
                |y, ()| {
                    let result = y.yield_(1);
                    ended = true;
                    result
                },
                |generator| {
                    generator.send(()).unwrap();
                    if panics {
                        std::panic::resume_unwind(Box::new("user"));
                    }
                },
            );
        }));
        assert_eq!((result.is_err(), ended), (panics, true));
    }
}

#[test]
fn infallible_code_is_unwound_without_a_word() {
    let name = "refusing::infallible_code_is_unwound_without_a_word";
    let output = alone(name, || {
        for thrown in [None, Some(std::fmt::Error)] {
            let dropped = Rc::new(Cell::new(false));
            let inside = OnDrop(dropped.clone());
            let generator: Generator<u32> = Builder::new()
                .generator(move |y, ()| {
                    let _inside = &inside;
                    [3, 1, 2].iter().for_each(|n| y.yield_or_unwind(*n));
                    Ok(())
                })
                .unwrap();
            generator.send(()).unwrap();
            match thrown {
                None => assert_eq!(generator.close().unwrap(), None),
                Some(error) => {
                    let error = generator.throw(error).unwrap_err();
                    assert!(error.to_string().contains("formatting"), "{error}");
                }
            }
            assert!(dropped.get());
        }
    });
    let printed = well(&output);
    assert!(!printed.contains("panicked"), "{printed}");
}

struct OnDrop(Rc<Cell<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
