//! Each queue answers any series of operations as the model does; and what several threads are answered at once, some
//! order of their operations explains, in which none is moved before its beginning or behind its end.

use crewkit::queue::{LifoQueue, PriorityQueue, Queue, SimpleQueue};
use crewkit_properties::{Answer, Form, Item, Model, Op, Order, Subject, ops};
use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Series that one property is tried on, always the same ones.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()))
}

/// The items that operation number `at` puts are numbered from here.
fn serial(at: usize) -> u32 {
    u32::try_from(at * 8).expect("few operations")
}

/// The form in which `op` does not wait.
fn without_waiting(op: &Op, model: &Model) -> Op {
    let mut op = op.clone();
    if model.would_block(&op)
        && let Op::Put(form, _) | Op::PutMany(form, _) | Op::Get(form) | Op::GetMany(form, _) = &mut op
        && *form == Form::Blocking
    {
        *form = Form::Try;
    }
    op
}

/// What may be asked of it, and how many items it may be told to hold.
fn as_it_can<Q: Subject>(maxsize: usize, mut ops: Vec<Op>) -> (usize, Vec<Op>) {
    ops.retain(|op| !Q::IS_SIMPLE || op.is_simple());
    (if Q::IS_SIMPLE { 0 } else { maxsize }, ops)
}

fn answers_as_the_model<Q: Subject>(maxsize: usize, ops: &[Op]) -> Result<(), TestCaseError> {
    let (queue, mut model) = (Q::bounded(maxsize), Model::new(Q::ORDER, maxsize));
    for (at, op) in ops.iter().enumerate() {
        let op = without_waiting(op, &model);
        prop_assert_eq!(queue.run(&op, serial(at)), model.run(&op, serial(at)), "operation {}: {:?}", at, op);
    }
    Ok(())
}

fn series_of<Q: Subject>() {
    let series = (0_usize..5, ops(80));
    runner(400)
        .run(&series, |(maxsize, ops)| {
            let (maxsize, ops) = as_it_can::<Q>(maxsize, ops);
            answers_as_the_model::<Q>(maxsize, &ops)
        })
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_queue_answers_as_the_model() {
    series_of::<Queue<Item>>();
}

#[test]
fn a_lifo_queue_answers_as_the_model() {
    series_of::<LifoQueue<Item>>();
}

#[test]
fn a_priority_queue_answers_as_the_model() {
    series_of::<PriorityQueue<Item>>();
}

#[test]
fn a_simple_queue_answers_as_the_model() {
    series_of::<SimpleQueue<Item>>();
}

/// One operation of one thread, between two readings of a common counter.
#[derive(Debug)]
struct Event {
    op: Op,
    serial: u32,
    answer: Answer,
    begin: usize,
    end: usize,
}

/// How often a set of programs runs, since no two runs need be alike.
const ROUNDS: usize = 20;

/// Runs a program in each of several threads, several times, each with a new queue; writes down what happens.
fn histories<Q: Subject>(maxsize: usize, programs: &[Vec<Op>]) -> Vec<Vec<Vec<Event>>> {
    let queues: Vec<_> = (0..ROUNDS).map(|_| Q::bounded(maxsize)).collect();
    let (clock, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let run = |thread: usize, round: usize| -> Vec<Event> {
        // Awake, so that they begin within less than an operation's time.
        arrived.fetch_add(1, Ordering::SeqCst);
        for pause in 1_u32.. {
            if arrived.load(Ordering::SeqCst) >= (round + 1) * programs.len() {
                break;
            }
            if pause % 1_000 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        let event = |(at, op): (usize, &Op)| {
            let serial = serial(thread * 100 + at);
            let begin = tick();
            let answer = queues[round].run(op, serial);
            Event { op: op.clone(), serial, answer, begin, end: tick() }
        };
        programs[thread].iter().enumerate().map(event).collect()
    };
    let mut histories: Vec<Vec<_>> = (0..ROUNDS).map(|_| Vec::new()).collect();
    thread::scope(|scope| {
        let run = &run;
        let spawn = |thread| scope.spawn(move || (0..ROUNDS).map(|round| run(thread, round)).collect::<Vec<_>>());
        let threads: Vec<_> = (0..programs.len()).map(spawn).collect();
        for thread in threads {
            let rounds = thread.join().expect("no operation panics");
            histories.iter_mut().zip(rounds).for_each(|(history, events)| history.push(events));
        }
    });
    histories
}

/// Whether the model can be brought to give the same answers, one operation after the other.
fn is_explained(model: &Model, rest: &mut [&[Event]]) -> bool {
    let first_end = rest.iter().filter_map(|events| events.first()).map(|event| event.end).min();
    let Some(first_end) = first_end else { return true };
    (0..rest.len()).any(|thread| {
        let Some((event, later)) = rest[thread].split_first() else { return false };
        let mut model = model.clone();
        // One that began after another had ended cannot have come before it.
        if event.begin > first_end || model.run(&event.op, event.serial) != event.answer {
            return false;
        }
        let before = std::mem::replace(&mut rest[thread], later);
        let is_explained = is_explained(&model, rest);
        rest[thread] = before;
        is_explained
    })
}

/// Operations that happen at one moment and never wait. A batch may be interrupted, and a look is several.
fn at_once(op: &Op) -> Option<Op> {
    Some(match op {
        Op::Put(_, rank) => Op::Put(Form::Try, *rank),
        Op::Get(_) => Op::Get(Form::Try),
        Op::TaskDone | Op::SetCapacity(_) | Op::Shutdown(_) | Op::Join => op.clone(),
        Op::PutMany(..) | Op::GetMany(..) | Op::Clear | Op::Look => return None,
    })
}

fn programs() -> impl Strategy<Value = (usize, Vec<Vec<Op>>)> {
    // Short, as there may be as many orders as ways to shuffle the programs.
    let program = ops(7).prop_map(|ops| ops.iter().filter_map(at_once).take(4).collect());
    (0_usize..3, vec(program, 2..4))
}

fn some_order_explains<Q: Subject>() {
    let check = |(maxsize, programs): (usize, Vec<Vec<Op>>)| {
        let (mut maxsize, mut programs) = (maxsize, programs);
        for program in &mut programs {
            (maxsize, *program) = as_it_can::<Q>(maxsize, std::mem::take(program));
        }
        for history in histories::<Q>(maxsize, &programs) {
            let mut rest: Vec<_> = history.iter().map(Vec::as_slice).collect();
            prop_assert!(is_explained(&Model::new(Q::ORDER, maxsize), &mut rest), "no order explains {history:#?}");
        }
        Ok(())
    };
    runner(150).run(&programs(), check).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn some_order_explains_what_a_queue_answers_to_several_threads() {
    some_order_explains::<Queue<Item>>();
}

#[test]
fn some_order_explains_what_a_lifo_queue_answers_to_several_threads() {
    some_order_explains::<LifoQueue<Item>>();
}

#[test]
fn some_order_explains_what_a_priority_queue_answers_to_several_threads() {
    some_order_explains::<PriorityQueue<Item>>();
}

#[test]
fn some_order_explains_what_a_simple_queue_answers_to_several_threads() {
    some_order_explains::<SimpleQueue<Item>>();
}

/// A stack that says it is a queue.
struct Impostor(LifoQueue<Item>);

impl Subject for Impostor {
    const ORDER: Order = Order::Fifo;

    fn bounded(maxsize: usize) -> Self {
        Self(LifoQueue::bounded(maxsize))
    }

    fn run(&self, op: &Op, serial: u32) -> Answer {
        self.0.run(op, serial)
    }
}

#[test]
fn an_impostor_is_found_out() {
    let is_found = |outcome: Result<(), Box<dyn std::any::Any + Send>>| assert!(outcome.is_err());
    is_found(std::panic::catch_unwind(series_of::<Impostor>));
    is_found(std::panic::catch_unwind(some_order_explains::<Impostor>));
}
