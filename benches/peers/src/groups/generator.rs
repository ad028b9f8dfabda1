//! Generators: a value there and back, as an iterator, through others, from the beginning to the end, and errors.
//!
//! A peer that fails where it must not panics, which the arena reports.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use corosensei::Coroutine;
use corosensei::stack::DefaultStack;
use crewkit::coroutine::{Generator, Interrupt, LightGenerator, Step, Yielder};
use genawaiter::GeneratorState;
use genawaiter::rc::{Co, Gen};
use generator::{Gn, Scope};

use super::{python_generators, sum_below, sum_up_to, summed};
use crate::contest::{Contest, Contestant, Repetition, Size, Target, check};

const GROUP: &str = "Generator";
const OURS: &str = "crewkit Generator";
const LIGHT: &str = "crewkit LightGenerator";
const RECURSION: &str = "crewkit, recursion with one yielder";
const COROSENSEI: &str = "corosensei";
const FRESH_COROSENSEI: &str = "corosensei, fresh stack";
const GENERATOR_RS: &str = "generator-rs";
const FRESH_GENERATOR_RS: &str = "generator-rs, fresh stack";
const GENAWAITER: &str = "genawaiter rc";
const PYTHON_SEND: &str = "CPython send";
const PYTHON_FROM: &str = "CPython yield from";
const PYTHON_THROW: &str = "CPython throw";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![round_trip(), iterator(), delegation(), whole_life(), throw()]
}

/// A body that is at this point is always resumed with a value.
fn answered<T>(sent: Option<T>) -> T {
    sent.unwrap_or_else(|| panic!("resumed with nothing"))
}

fn round_trip() -> Contest {
    Contest::new(GROUP, "send: a number there and back", "round trip", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, || {
            let echo = Generator::<_, _>::new(|y, mut number| {
                loop {
                    number = y.yield_(number + 1)?;
                }
            });
            Ok(summed(sum_up_to, move |number| echo.send(number).ok().and_then(Step::yielded).unwrap_or(0)))
        }))
        .with(Contestant::crewkit(LIGHT, || {
            let mut echo = LightGenerator::new(async |y, mut number| {
                loop {
                    number = y.yield_(number + 1).await?;
                }
            });
            Ok(summed(sum_up_to, move |number| echo.send(number).ok().and_then(Step::<_, ()>::yielded).unwrap_or(0)))
        }))
        .with(Contestant::peer(COROSENSEI, || {
            let mut echo = Coroutine::<u64, u64, ()>::new(|y, mut number| {
                loop {
                    number = y.suspend(number + 1);
                }
            });
            Ok(summed(sum_up_to, move |number| echo.resume(number).as_yield().unwrap_or(0)))
        }))
        .with(Contestant::peer(GENERATOR_RS, || {
            let mut echo = Gn::new_scoped(|mut scope: Scope<'_, '_, u64, u64>| {
                let mut number = answered(scope.get_yield());
                loop {
                    number = answered(scope.yield_(number + 1));
                }
            });
            Ok(summed(sum_up_to, move |number| echo.send(number)))
        }))
        .with(Contestant::peer(GENAWAITER, || {
            // The first value that is sent does not reach the body.
            let mut echo = Gen::new(|co: Co<u64, u64>| async move {
                let mut number = 0;
                loop {
                    number = co.yield_(number + 1).await;
                }
            });
            Ok(summed(sum_up_to, move |number| match echo.resume_with(number) {
                GeneratorState::Yielded(number) => number,
                GeneratorState::Complete(()) => 0,
            }))
        }))
        .with(python_generators(PYTHON_SEND, "send", sum_up_to))
        .target(Target::cost(OURS, 1.1, &[COROSENSEI]))
        .target(Target::speed(OURS, 4.0, &[GENERATOR_RS]))
        .target(Target::speed(OURS, 8.0, &[PYTHON_SEND]))
}

fn iterator() -> Contest {
    Contest::new(GROUP, "as an iterator", "item", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, || {
            Ok(iterated(|| Generator::new(|y, ()| (0..).try_for_each(|n| y.yield_(n)))))
        }))
        .with(Contestant::crewkit(LIGHT, || {
            Ok(iterated(|| {
                LightGenerator::new(async |y, ()| {
                    for number in 0.. {
                        y.yield_(number).await?;
                    }
                    Ok(())
                })
            }))
        }))
        .with(Contestant::peer(GENAWAITER, || {
            Ok(iterated(|| {
                let numbers = Gen::new(|co: Co<u64>| async move {
                    for number in 0.. {
                        co.yield_(number).await;
                    }
                });
                numbers.into_iter()
            }))
        }))
        .with(Contestant::peer(GENERATOR_RS, || {
            Ok(iterated(|| {
                Gn::new_scoped(|mut scope: Scope<'_, '_, (), u64>| {
                    for number in 0.. {
                        scope.yield_with(number);
                    }
                    0
                })
            }))
        }))
        .with(python_generators("CPython for", "iterate", sum_below))
        .target(Target::speed(OURS, 0.7, &[GENAWAITER]))
}

/// Adds up the first items of a new iterator.
fn iterated<I: Iterator<Item = u64>>(make: impl Fn() -> I + 'static) -> Repetition {
    Box::new(move |operations| {
        let mut items = make();
        let start = Instant::now();
        let sum = (0..operations).map(|_| black_box(items.next().unwrap_or(0))).sum();
        let taken = start.elapsed();
        check("sum of the items", sum, sum_below(operations))?;
        Ok(taken.into())
    })
}

fn delegation() -> Contest {
    Contest::new(GROUP, "yield from, 10 deep", "item", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, || Ok(iterated(|| nested(10)))))
        .with(Contestant::crewkit(RECURSION, || Ok(iterated(|| Generator::new(|y, ()| recursion(y, 10))))))
        .with(python_generators(PYTHON_FROM, "yield-from", sum_below))
        .target(Target::speed(OURS, 4.0, &[PYTHON_FROM]))
        .target(Target::speed(RECURSION, 40.0, &[PYTHON_FROM]))
}

/// Generators that each yield from the next.
fn nested(depth: u64) -> Generator<u64> {
    Generator::new(move |y, ()| match depth {
        0 => numbers(y),
        _ => y.yield_from(&mut nested(depth - 1)),
    })
}

/// Functions of one generator that each call the next.
fn recursion(y: &Yielder<u64>, depth: u64) -> Result<(), Interrupt> {
    match black_box(depth) {
        0 => numbers(y),
        _ => recursion(y, depth - 1),
    }
}

fn numbers(y: &Yielder<u64>) -> Result<(), Interrupt> {
    (0..).try_for_each(|number| y.yield_(number))
}

fn whole_life() -> Contest {
    Contest::new(GROUP, "create, run, finish", "generator", Size::MultipleOf(1))
        .with(Contestant::crewkit("crewkit Generator, pooled stack", || {
            Ok(summed(sum_up_to, |number| {
                let generator = Generator::<(), u64, u64>::new(|_, number| Ok(number + 1));
                generator.send(number).ok().and_then(Step::returned).unwrap_or(0)
            }))
        }))
        .with(Contestant::peer(FRESH_COROSENSEI, || {
            Ok(summed(sum_up_to, |number| {
                let mut coroutine = Coroutine::<u64, (), u64>::new(|_, number| number + 1);
                coroutine.resume(number).as_return().unwrap_or(0)
            }))
        }))
        .with(Contestant::peer("corosensei, one stack for all", || {
            let mut stack = Some(DefaultStack::default());
            Ok(summed(sum_up_to, move |number| {
                let mut coroutine = Coroutine::<u64, (), u64, _>::with_stack(answered(stack.take()), |_, number| number + 1);
                let result = coroutine.resume(number).as_return().unwrap_or(0);
                stack = Some(coroutine.into_stack());
                result
            }))
        }))
        .with(Contestant::peer(FRESH_GENERATOR_RS, || {
            Ok(summed(sum_up_to, |number| Gn::new_scoped(one_more).send(number)))
        }))
        .with(Contestant::peer("generator-rs, one armed again", || {
            let mut generator = Gn::new_scoped(one_more);
            Ok(summed(sum_up_to, move |number| {
                let result = generator.send(number);
                generator.scoped_init(one_more);
                result
            }))
        }))
        .with(python_generators("CPython", "finish", sum_up_to))
        .target(Target::speed("crewkit Generator, pooled stack", 50.0, &[FRESH_COROSENSEI, FRESH_GENERATOR_RS]))
        .remark(
            "The two peers map and unmap a stack for each; what they cost where the user keeps one stack and uses it again \
             and again is beside that. crewkit's pool is that of `Generator::new`.",
        )
}

fn one_more(mut scope: Scope<'_, '_, u64, u64>) -> u64 {
    answered(scope.get_yield()) + 1
}

/// What is thrown.
#[derive(Debug)]
struct Mishap(u64);

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mishap {}", self.0)
    }
}

impl Error for Mishap {}

fn throw() -> Contest {
    Contest::new(GROUP, "throw, caught in the body", "throw", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, || {
            let patient = Generator::<u64, (), ()>::new(|y, ()| {
                let mut answer = 0;
                loop {
                    match y.yield_(answer) {
                        Err(Interrupt::Error(_)) => answer = 1,
                        other => other?,
                    }
                }
            });
            check("first answer", patient.send(()).ok().and_then(Step::yielded), Some(0))?;
            Ok(summed(one_each, move |number| patient.throw(Mishap(number)).ok().and_then(Step::yielded).unwrap_or(0)))
        }))
        .with(python_generators(PYTHON_THROW, "throw", one_each))
        .target(Target::speed(OURS, 10.0, &[PYTHON_THROW]))
}

fn one_each(count: u64) -> u64 {
    count
}
