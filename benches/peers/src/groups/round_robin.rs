//! Many generators that take turns, each resumed once in a round: what the caches make of their stacks.

use std::hint::black_box;
use std::time::Instant;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use crewkit::coroutine::{Generator, Step};

use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};

const OURS: &str = "crewkit Generator";
const BY_DEFAULT: &str = "corosensei, stacks of 1 MiB, its default";
const AS_LARGE: &str = "corosensei, stacks of 64 KiB";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    [32, 1000].map(contest).into()
}

fn contest(count: usize) -> Contest {
    Contest::new("Round robin", format!("{count} generators"), "resumption", Size::MultipleOf(count as u64))
        .with(Contestant::crewkit(OURS, move || {
            let generators: Vec<Generator<u64, u64>> = (0..count)
                .map(|_| {
                    Generator::new(|y, mut number| {
                        loop {
                            number = y.yield_(number + 1)?;
                        }
                    })
                })
                .collect();
            Ok(rounds(generators, |generator, number| generator.send(number).ok().and_then(Step::yielded)))
        }))
        .with(corosensei(BY_DEFAULT, count, 1 << 20))
        .with(corosensei(AS_LARGE, count, 64 << 10))
        .target(Target::speed(OURS, 1.3, &[BY_DEFAULT, AS_LARGE]))
}

fn corosensei(label: &'static str, count: usize, stack: usize) -> Contestant {
    Contestant::peer(label, move || {
        let body = |y: &Yielder<u64, u64>, mut number| -> () {
            loop {
                number = y.suspend(number + 1);
            }
        };
        let coroutines = (0..count).map(|_| Ok(Coroutine::with_stack(DefaultStack::new(stack)?, body)));
        let coroutines = coroutines.collect::<Outcome<Vec<_>>>()?;
        Ok(rounds(coroutines, |coroutine, number| coroutine.resume(number).as_yield()))
    })
}

/// Resumes each of `all` with a number that it answers with the next one, and then all of them again.
fn rounds<G: 'static>(mut all: Vec<G>, resume: impl Fn(&mut G, u64) -> Option<u64> + 'static) -> Repetition {
    Box::new(move |operations| {
        let rounds = operations / all.len() as u64;
        let mut sum = 0;
        let start = Instant::now();
        for round in 0..rounds {
            for one in &mut all {
                sum += resume(one, black_box(round)).unwrap_or(0);
            }
        }
        let taken = start.elapsed();
        check("sum of the answers", sum, all.len() as u64 * rounds * (rounds + 1) / 2)?;
        Ok(taken.into())
    })
}
