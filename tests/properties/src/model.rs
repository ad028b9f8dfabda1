//! A queue as one would explain it: a list, a few numbers, no threads.

use crate::{Answer, Item, Op};
use crewkit::queue::Shutdown;

/// Which item comes out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Fifo,
    /// The youngest.
    Lifo,
    /// The oldest of the smallest.
    Priority,
}

/// The plain queue.
#[derive(Clone, Debug)]
pub struct Model {
    order: Order,
    /// In the order in which they were put.
    items: Vec<Item>,
    /// Zero is no limit.
    maxsize: usize,
    unfinished: usize,
    is_shut_down: bool,
}

impl Model {
    /// An empty queue.
    pub fn new(order: Order, maxsize: usize) -> Self {
        Self { order, items: Vec::new(), maxsize, unfinished: 0, is_shut_down: false }
    }

    /// Whether the blocking form of `op` would wait.
    pub fn would_block(&self, op: &Op) -> bool {
        match op {
            Op::Put(..) => !self.is_shut_down && self.room() == 0,
            Op::PutMany(_, ranks) => !self.is_shut_down && self.room() < ranks.len(),
            Op::Get(_) => !self.is_shut_down && self.items.is_empty(),
            Op::GetMany(_, max) => !self.is_shut_down && self.items.is_empty() && *max > 0,
            _ => false,
        }
    }

    /// Does `op`, without waiting, and answers as a queue must. The items that it puts are numbered from `serial`.
    pub fn run(&mut self, op: &Op, serial: u32) -> Answer {
        match op {
            Op::Put(_, rank) => self.put(&[*rank], serial),
            Op::PutMany(_, ranks) => self.put(ranks, serial),
            Op::Get(_) => self.get(1),
            Op::GetMany(_, max) => self.get(*max),
            Op::TaskDone => match self.unfinished.checked_sub(1) {
                Some(less) => {
                    self.unfinished = less;
                    Answer::Done
                }
                None => Answer::TooMany,
            },
            Op::Join => Answer::AllDone(self.unfinished == 0),
            Op::SetCapacity(maxsize) => {
                self.maxsize = *maxsize;
                Answer::Done
            }
            Op::Clear => self.clear(),
            Op::Shutdown(mode) => {
                self.is_shut_down = true;
                if *mode == Shutdown::Immediate { self.clear() } else { Answer::Done }
            }
            Op::Look => Answer::Seen {
                len: self.items.len(),
                is_empty: self.items.is_empty(),
                is_full: self.room() == 0,
                capacity: (self.maxsize > 0).then_some(self.maxsize),
                unfinished: self.unfinished,
                is_shut_down: self.is_shut_down,
            },
        }
    }

    fn room(&self) -> usize {
        if self.maxsize == 0 { usize::MAX } else { self.maxsize.saturating_sub(self.items.len()) }
    }

    fn put(&mut self, ranks: &[u8], serial: u32) -> Answer {
        let count = if self.is_shut_down { 0 } else { ranks.len().min(self.room()) };
        let mut items = (serial..).zip(ranks).map(|(serial, &rank)| Item { rank, serial });
        self.items.extend(items.by_ref().take(count));
        self.unfinished += count;
        let rest: Vec<_> = items.map(|item| item.serial).collect();
        match rest.is_empty() {
            true => Answer::Done,
            false if self.is_shut_down => Answer::Refused(rest),
            false => Answer::Full(rest),
        }
    }

    fn get(&mut self, max: usize) -> Answer {
        let got: Vec<_> = (0..max).map_while(|_| self.next()).collect();
        match got.is_empty() && max > 0 {
            false => Answer::Got(got),
            true if self.is_shut_down => Answer::ShutDown,
            true => Answer::Empty,
        }
    }

    fn next(&mut self) -> Option<u32> {
        let places = 0..self.items.len();
        let place = match self.order {
            Order::Fifo => places.min(),
            Order::Lifo => places.max(),
            Order::Priority => places.min_by_key(|&place| self.items[place].rank),
        };
        place.map(|place| self.items.remove(place).serial)
    }

    fn clear(&mut self) -> Answer {
        self.unfinished = self.unfinished.saturating_sub(self.items.len());
        self.items.clear();
        Answer::Done
    }
}
