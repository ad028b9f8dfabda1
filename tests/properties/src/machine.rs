//! What can be done to a queue, and how to make up a series of it.

use crewkit::queue::Shutdown;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use std::cmp::Ordering;

/// Ordered by its rank alone, so that the serial number shows whether equal items keep their order.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// What `PriorityQueue` orders by.
    pub rank: u8,
    /// Differs between items.
    pub serial: u32,
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

/// Which of the three forms of an operation: `x` where it need not wait, else as `try_x`; `x_timeout`; `try_x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `x()`.
    Blocking,
    /// `x_timeout(Duration::ZERO)`.
    Timed,
    /// `try_x()`.
    Try,
}

/// One operation. Items are told apart by a serial number that the one who runs it adds.
#[derive(Clone, Debug)]
pub enum Op {
    /// Put an item of this rank.
    Put(Form, u8),
    /// Put items of these ranks.
    PutMany(Form, Vec<u8>),
    /// Get one.
    Get(Form),
    /// Get at most so many.
    GetMany(Form, usize),
    /// Report one done.
    TaskDone,
    /// Is everything done?
    Join,
    /// Change the capacity.
    SetCapacity(usize),
    /// Drop what is there.
    Clear,
    /// Shut down.
    Shutdown(Shutdown),
    /// Length, empty, full, capacity, unfinished, shut down.
    Look,
}

impl Op {
    /// Whether `SimpleQueue` has it too.
    pub fn is_simple(&self) -> bool {
        matches!(self, Self::Put(..) | Self::PutMany(..) | Self::Get(_) | Self::GetMany(..))
    }
}

/// What an operation answers; items as their serial numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say.
    Done,
    /// These were got.
    Got(Vec<u32>),
    /// These were not put, as the queue was full.
    Full(Vec<u32>),
    /// These were not put, as the queue was shut down.
    Refused(Vec<u32>),
    /// Nothing was there.
    Empty,
    /// Nothing was there, and nothing will be.
    ShutDown,
    /// More was reported done than was put.
    TooMany,
    /// Whether everything is done.
    AllDone(bool),
    /// What [`Op::Look`] saw.
    Seen {
        /// Items.
        len: usize,
        /// Whether there are none.
        is_empty: bool,
        /// Whether there is no room.
        is_full: bool,
        /// Room for so many, if there is a limit.
        capacity: Option<usize>,
        /// Tasks.
        unfinished: usize,
        /// Whether it was shut down.
        is_shut_down: bool,
    },
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Blocking), Just(Form::Timed), Just(Form::Try)]
}

/// A few ranks, so that many are equal.
fn rank() -> impl Strategy<Value = u8> {
    0_u8..4
}

fn mode() -> impl Strategy<Value = Shutdown> {
    any::<bool>().prop_map(|drops| if drops { Shutdown::Immediate } else { Shutdown::Drain })
}

/// At most so many operations. `rounds` with a shut-down are few, since little happens after one.
pub fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (form(), rank()).prop_map(|(form, rank)| Op::Put(form, rank)),
        4 => (form(), vec(rank(), 0..5)).prop_map(|(form, ranks)| Op::PutMany(form, ranks)),
        8 => form().prop_map(Op::Get),
        4 => (form(), 0_usize..5).prop_map(|(form, max)| Op::GetMany(form, max)),
        6 => Just(Op::TaskDone),
        2 => Just(Op::Join),
        2 => (0_usize..6).prop_map(Op::SetCapacity),
        1 => Just(Op::Clear),
        1 => mode().prop_map(Op::Shutdown),
        6 => Just(Op::Look),
    ];
    vec(op, 0..most)
}
