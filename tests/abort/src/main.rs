//! Coroutines in a program with `panic = "abort"`, where nothing can be unwound: errors and the wish to end are values there
//! too, a body that does not end when it is told to is left where it is and counted, and nothing of that aborts.
//!
//! A program, because libtest's are always built to unwind. `ci/panic-abort.sh` runs it.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::fmt;
use std::process::Command;
use std::rc::Rc;

use crewkit::coroutine::{GenError, Generator, Greenlet, Interrupt, State, Step, scope, stack_stats};

/// The argument of the run that is to abort.
const ABORTS: &str = "a scoped body that refuses";

type Outcome = Result<(), Box<dyn Error>>;

type Test = (&'static str, fn() -> Outcome);

fn main() -> Outcome {
    if !cfg!(panic = "abort") {
        return Err("this is built to unwind: use --profile panic-abort".into());
    }
    if env::args().nth(1).as_deref() == Some(ABORTS) {
        a_scoped_body_that_refuses();
        return Ok(());
    }
    let tests: [Test; 8] = [
        ("errors come in as values", errors_come_in_as_values),
        ("a body that hands the close on has ended", a_body_that_hands_the_close_on_has_ended),
        ("a body that ignores a close is suspended", a_body_that_ignores_a_close_is_suspended),
        ("a body that refuses to close is left and counted", a_body_that_refuses_to_close_is_left_and_counted),
        ("infallible code is left where it is", infallible_code_is_left_where_it_is),
        ("a greenlet that refuses is left and counted", a_greenlet_that_refuses_is_left_and_counted),
        ("a scope whose body ends", a_scope_whose_body_ends),
        ("a scope whose body refuses aborts", a_scope_whose_body_refuses_aborts),
    ];
    for (name, test) in tests {
        test().map_err(|error| format!("{name}: {error}"))?;
        println!("abort: {name}: ok");
    }
    Ok(())
}

#[derive(Debug)]
struct Mishap;

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mishap")
    }
}

impl Error for Mishap {}

/// Tells whether it was dropped.
struct OnDrop(Rc<Cell<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Those in use, and those of them that were left for ever.
fn stacks() -> (usize, usize) {
    (stack_stats().in_use, stack_stats().leaked)
}

fn errors_come_in_as_values() -> Outcome {
    let dropped = Rc::new(Cell::new(false));
    let held = OnDrop(Rc::clone(&dropped));
    let generator = Generator::<i32>::new(move |y, ()| {
        let _held = held;
        if let Err(Interrupt::Error(error)) = y.yield_(1) {
            assert!(error.is::<Mishap>());
        }
        y.yield_(2)
    });
    assert_eq!(generator.send(())?, Step::Yield(1));
    assert_eq!(generator.throw(Mishap)?, Step::Yield(2));
    assert!(matches!(generator.throw(Mishap), Err(GenError::Thrown(error)) if error.is::<Mishap>()));
    assert!(dropped.get());
    assert_eq!(stacks(), (0, 0));
    Ok(())
}

fn a_body_that_hands_the_close_on_has_ended() -> Outcome {
    let dropped = Rc::new(Cell::new(false));
    for resumed in [false, true] {
        let held = OnDrop(Rc::clone(&dropped));
        let generator = Generator::<i32>::new(move |y, ()| {
            let _held = held;
            y.yield_(1)
        });
        if resumed {
            generator.send(())?;
        }
        drop(generator);
        assert!(dropped.replace(false), "resumed: {resumed}");
    }
    assert_eq!(stacks(), (0, 0));
    Ok(())
}

fn a_body_that_ignores_a_close_is_suspended() -> Outcome {
    let generator = Generator::<i32>::new(|y, ()| {
        let _ = y.yield_(1);
        y.yield_(2)
    });
    generator.send(())?;
    assert!(matches!(generator.close(), Err(GenError::IgnoredClose)));
    assert_eq!(generator.state(), State::Suspended);
    assert_eq!(generator.close()?, None);
    assert_eq!(stacks(), (0, 0));
    Ok(())
}

fn a_body_that_refuses_to_close_is_left_and_counted() -> Outcome {
    let (dropped, asked) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (held, counted) = (OnDrop(Rc::clone(&dropped)), Rc::clone(&asked));
    let generator = Generator::<i32>::new(move |y, ()| {
        let _held = held;
        loop {
            if y.yield_(1).is_err() {
                counted.set(counted.get() + 1);
            }
        }
    });
    let before = stacks();
    generator.send(())?;
    drop(generator);
    assert_eq!((dropped.get(), asked.get()), (false, 1), "asked once, and what it holds stays");
    assert_eq!(stacks(), (before.0, before.1 + 1));
    assert_eq!(Generator::new(|y, ()| y.yield_(7)).next(), Some(7), "others go on");
    Ok(())
}

fn infallible_code_is_left_where_it_is() -> Outcome {
    for interrupt in [Interrupt::Close, Interrupt::from(Mishap)] {
        let generator = Generator::<i32>::new(|y, ()| {
            [1, 2, 3].iter().for_each(|n| y.yield_or_unwind(*n));
            Ok(())
        });
        let before = stacks();
        assert_eq!(generator.send(())?, Step::Yield(1));
        assert!(matches!(generator.throw(interrupt), Err(GenError::Finished)));
        assert_eq!((generator.state(), stacks()), (State::Finished, (before.0, before.1 + 1)));
    }
    Ok(())
}

fn a_greenlet_that_refuses_is_left_and_counted() -> Outcome {
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let greenlet = Greenlet::<u32>::new(move |_| {
        loop {
            if Greenlet::<u32>::main().switch(1).is_err() {
                counted.set(counted.get() + 1);
            }
        }
    });
    let before = stacks();
    assert_eq!(greenlet.switch(0)?, Some(1));
    drop(greenlet);
    assert_eq!((asked.get(), stacks()), (1, (before.0 + 1, before.1 + 1)));
    let kind = Greenlet::<u32>::new(|n| Greenlet::<u32>::main().switch(n + 1).map(|_| 0));
    assert_eq!(kind.switch(4)?, Some(5));
    drop(kind);
    assert_eq!(stacks(), (before.0 + 1, before.1 + 1));
    Ok(())
}

fn a_scope_whose_body_ends() -> Outcome {
    let mut seen = Vec::new();
    let first = scope(
        |y, ()| [1, 2].iter().try_for_each(|n| y.yield_(*n).inspect(|()| seen.push(*n))),
        |mut numbers| numbers.next(),
    );
    assert_eq!((first, seen), (Some(1), Vec::new()));
    Ok(())
}

fn a_scoped_body_that_refuses() {
    scope(
        |y, ()| -> Result<(), Interrupt> {
            loop {
                let _ = y.yield_(1);
            }
        },
        |generator| drop(generator.send(())),
    );
    println!("returned");
}

fn a_scope_whose_body_refuses_aborts() -> Outcome {
    let output = Command::new(env::current_exe()?).arg(ABORTS).output()?;
    let (said, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(!output.status.success() && said.contains("did not end with its scope"), "{:?} {said}", output.status);
    assert!(!printed.contains("returned"), "{printed}");
    Ok(())
}
