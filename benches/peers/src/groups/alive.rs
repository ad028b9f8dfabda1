//! Many generators alive at once, each resumed once: the time to make one, and the memory that it takes.
//!
//! Each repetition is a process of its own, because one that has run before has free memory, stacks and page tables. It is
//! this program in the role [`ALIVE`](crate::role::ALIVE).

use std::fs;
use std::mem::ManuallyDrop;
use std::process::Stdio;
use std::time::Instant;

use corosensei::Coroutine;
use corosensei::stack::DefaultStack;
use crewkit::coroutine::{Generator, LightGenerator, Step};
use genawaiter::GeneratorState;
use genawaiter::rc::{Co, Gen};
use generator::{Gn, Scope};

use super::python::Python;
use super::sum_below;
use crate::contest::{Contest, Contestant, Cost, Outcome, Repetition, Size, Target, Unit, check};
use crate::role;

const GENERATOR: &str = "crewkit Generator";
const LIGHT: &str = "crewkit LightGenerator";
const COROSENSEI: &str = "corosensei";
const FEWER_COROSENSEI: &str = "corosensei, 30,000 only";
const FEWER_GENERATOR_RS: &str = "generator-rs, 30,000 only";
const GENAWAITER: &str = "genawaiter rc";
const PYTHON: &str = "CPython";

/// How many.
const COUNT: u64 = 100_000;
/// How many of those whose stacks take two mappings each. `vm.max_map_count` allows some 2,700 more.
const FEWER: u64 = 30_000;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    let time = Contest::new("Alive", "time to make 100,000 and resume each once", "generator", Size::Exactly(COUNT))
        .target(Target::below(GENERATOR, 1_000.0))
        .target(Target::below(LIGHT, 100.0));
    let memory = Contest::new("Alive", "memory of 100,000, each resumed once", "generator", Size::Exactly(COUNT))
        .counting(Unit::Bytes)
        .target(Target::below(GENERATOR, 4.5 * 1024.0))
        .target(Target::below(LIGHT, 0.2 * 1024.0))
        .remark("What the kernel counts as resident; page tables are not in it.");
    let peers = [COROSENSEI, FEWER_COROSENSEI, FEWER_GENERATOR_RS, GENAWAITER];
    let taking_part = |contest: Contest| {
        let unit = contest.unit;
        let ours = [GENERATOR, LIGHT].map(|name| Contestant::crewkit(name, move || Ok(another_process(name, unit))));
        let peers = peers.map(|name| Contestant::peer(name, move || Ok(another_process(name, unit))));
        let python = Contestant::peer(PYTHON, move || Ok(another_python(unit)));
        ours.into_iter().chain(peers).chain([python]).fold(contest.rounds(5), Contest::with)
    };
    [time, memory].map(taking_part).into()
}

/// Lets a new process of this program make its own, and takes its account.
fn another_process(name: &'static str, unit: Unit) -> Repetition {
    Box::new(move |operations| {
        let output = role::command(role::ALIVE)?.arg(name).stderr(Stdio::inherit()).output()?;
        let answer = String::from_utf8(output.stdout)?;
        let mut words = answer.split_whitespace();
        let mut number =
            || -> Outcome<f64> { words.next().and_then(|word| word.parse().ok()).ok_or(answer.trim().into()) };
        let (nanoseconds, bytes, count) = (number()?, number()?, number()?);
        let cost = if unit == Unit::Bytes { bytes } else { nanoseconds };
        Ok(Cost(cost / count * as_f64(operations)))
    })
}

/// The same for a new interpreter.
fn another_python(unit: Unit) -> Repetition {
    Box::new(move |operations| {
        let method = if unit == Unit::Bytes { "resident" } else { "alive" };
        let (cost, sum) = Python::start("generators.py", method)?.measure(method, operations)?;
        check("sum of what was yielded", sum, sum_below(operations))?;
        Ok(cost)
    })
}

/// Makes those of one contestant, and prints nanoseconds, bytes and number.
pub(crate) fn play(name: &str) -> Outcome<()> {
    let told = match name {
        GENERATOR => make(COUNT, |number| {
            let generator = Generator::try_new(move |y, ()| y.yield_(number))?;
            let first = generator.send(()).ok().and_then(Step::yielded);
            Ok((generator, first))
        }),
        LIGHT => make(COUNT, |number| {
            let mut generator = LightGenerator::new(async move |y, ()| y.yield_(number).await);
            let first = generator.send(()).ok().and_then(Step::yielded);
            Ok((generator, first))
        }),
        COROSENSEI => make(COUNT, coroutine),
        FEWER_COROSENSEI => make(FEWER, coroutine),
        FEWER_GENERATOR_RS => make(FEWER, |number| {
            let mut generator = Gn::new_scoped(move |mut scope: Scope<'_, '_, (), u64>| {
                scope.yield_with(number);
                0
            });
            let first = generator.next();
            Ok((generator, first))
        }),
        GENAWAITER => make(COUNT, |number| {
            let mut generator = Gen::new(move |co: Co<u64>| async move { co.yield_(number).await });
            let first = match generator.resume() {
                GeneratorState::Yielded(number) => Some(number),
                GeneratorState::Complete(()) => None,
            };
            Ok((generator, first))
        }),
        _ => Err(format!("nobody is called {name}").into()),
    };
    println!("{}", told.unwrap_or_else(|error| error.to_string()));
    Ok(())
}

/// On corosensei's default stack, whose own constructor panics when there is no more.
fn coroutine(number: u64) -> Outcome<(Coroutine<(), u64, ()>, Option<u64>)> {
    let mut coroutine = Coroutine::with_stack(DefaultStack::new(1 << 20)?, move |y, ()| y.suspend(number));
    let first = coroutine.resume(()).as_yield();
    Ok((coroutine, first))
}

/// Makes `count` of what `one` makes, with the value that it yields first.
fn make<G>(count: u64, one: impl Fn(u64) -> Outcome<(G, Option<u64>)>) -> Outcome<String> {
    let before = resident()?;
    let start = Instant::now();
    // They end with the process.
    let mut all = ManuallyDrop::new(Vec::with_capacity(usize::try_from(count)?));
    let mut sum = 0;
    let made = (0..count).try_for_each(|number| {
        let (generator, first) = one(number)?;
        sum += first.unwrap_or(0);
        all.push(generator);
        Ok(())
    });
    let taken = start.elapsed();
    let bytes = resident()? - before;
    made.map_err(|error: Box<dyn std::error::Error + Send + Sync>| format!("after {} of them: {error}", all.len()))?;
    check("sum of what was yielded", sum, sum_below(count))?;
    Ok(format!("{} {bytes} {count}", taken.as_nanos()))
}

/// How many bytes of memory this process has.
fn resident() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).ok_or("no resident pages in /proc/self/statm")?.parse()?;
    Ok(pages * 4096)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
