//! The queues, as the machine drives them.

use crate::{Answer, Form, Item, Op, Order};
use crewkit::queue::{GetError, LifoQueue, PriorityQueue, PutError, Queue, SimpleQueue};
use std::time::Duration;

/// A queue to be tested.
pub trait Subject: Send + Sync + 'static {
    /// What it says of itself.
    const ORDER: Order;

    /// Whether it knows neither a limit nor tasks, but [`Op::is_simple`] only.
    const IS_SIMPLE: bool = false;

    /// An empty queue.
    fn bounded(maxsize: usize) -> Self;

    /// Does `op`, in its form. The items that it puts are numbered from `serial`.
    fn run(&self, op: &Op, serial: u32) -> Answer;
}

fn put(outcome: Result<(), PutError<Vec<Item>>>) -> Answer {
    let serials = |items: Vec<Item>| items.into_iter().map(|item| item.serial).collect();
    match outcome {
        Ok(()) => Answer::Done,
        Err(PutError::Full(items)) => Answer::Full(serials(items)),
        Err(PutError::ShutDown(items)) => Answer::Refused(serials(items)),
    }
}

fn alone(error: PutError<Item>) -> PutError<Vec<Item>> {
    match error {
        PutError::Full(item) => PutError::Full(vec![item]),
        PutError::ShutDown(item) => PutError::ShutDown(vec![item]),
    }
}

fn got(outcome: Result<Vec<Item>, GetError>) -> Answer {
    match outcome {
        Ok(items) => Answer::Got(items.into_iter().map(|item| item.serial).collect()),
        Err(GetError::Empty) => Answer::Empty,
        Err(GetError::ShutDown) => Answer::ShutDown,
    }
}

/// Calls the one of a method's three forms that is wanted.
macro_rules! in_form {
    ($form:expr, $queue:expr, $blocking:ident | $timed:ident | $trying:ident $(, $argument:expr)?) => {
        match $form {
            Form::Blocking => $queue.$blocking($($argument)?),
            Form::Timed => $queue.$timed($($argument,)? Duration::ZERO),
            Form::Try => $queue.$trying($($argument)?),
        }
    };
}

impl Subject for SimpleQueue<Item> {
    const ORDER: Order = Order::Fifo;
    const IS_SIMPLE: bool = true;

    fn bounded(_: usize) -> Self {
        Self::unbounded()
    }

    fn run(&self, op: &Op, serial: u32) -> Answer {
        match op {
            Op::Put(form, rank) => {
                let item = Item { rank: *rank, serial };
                put(in_form!(form, self, put | put_timeout | try_put, item).map_err(alone))
            }
            Op::PutMany(_, ranks) => {
                put(self.put_many((serial..).zip(ranks).map(|(serial, &rank)| Item { rank, serial })))
            }
            Op::Get(form) => got(in_form!(form, self, get | get_timeout | try_get).map(|item| vec![item])),
            Op::GetMany(form, max) => got(in_form!(form, self, get_many | get_many_timeout | try_get_many, *max)),
            _ => unreachable!("not asked of a simple queue: {op:?}"),
        }
    }
}

macro_rules! subject {
    ($queue:ident, $order:ident) => {
        impl Subject for $queue<Item> {
            const ORDER: Order = Order::$order;

            fn bounded(maxsize: usize) -> Self {
                Self::bounded(maxsize)
            }

            fn run(&self, op: &Op, serial: u32) -> Answer {
                let items = |ranks: &[u8]| -> Vec<_> {
                    (serial..).zip(ranks).map(|(serial, &rank)| Item { rank, serial }).collect()
                };
                match op {
                    Op::Put(form, rank) => {
                        let item = Item { rank: *rank, serial };
                        put(in_form!(form, self, put | put_timeout | try_put, item).map_err(alone))
                    }
                    Op::PutMany(form, ranks) => {
                        put(in_form!(form, self, put_many | put_many_timeout | try_put_many, items(ranks)))
                    }
                    Op::Get(form) => got(in_form!(form, self, get | get_timeout | try_get).map(|item| vec![item])),
                    Op::GetMany(form, max) => {
                        got(in_form!(form, self, get_many | get_many_timeout | try_get_many, *max))
                    }
                    Op::TaskDone => self.task_done().map_or(Answer::TooMany, |()| Answer::Done),
                    Op::Join => Answer::AllDone(self.join_timeout(Duration::ZERO)),
                    Op::SetCapacity(maxsize) => {
                        self.set_capacity(*maxsize);
                        Answer::Done
                    }
                    Op::Clear => {
                        self.clear();
                        Answer::Done
                    }
                    Op::Shutdown(mode) => {
                        self.shutdown(*mode);
                        Answer::Done
                    }
                    Op::Look => Answer::Seen {
                        len: self.len(),
                        is_empty: self.is_empty(),
                        is_full: self.is_full(),
                        capacity: self.capacity(),
                        unfinished: self.unfinished(),
                        is_shut_down: self.is_shut_down(),
                    },
                }
            }
        }
    };
}

subject!(Queue, Fifo);
subject!(LifoQueue, Lifo);
subject!(PriorityQueue, Priority);
