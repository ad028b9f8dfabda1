//! Priority queues: numbers in, the smallest out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use crewkit::queue::PriorityQueue;

use super::pump::Scene;
use crate::contest::{Contest, Contestant, Repetition, Side, Size, Target, check};
use crate::place::Placement;

const OURS: &str = "crewkit PriorityQueue";
/// How many items they hold.
const PLACES: usize = 128;
/// How many items stay in the queue while one thread puts and gets.
const STANDING: u64 = 64;

/// A bounded queue that gives the smallest item first.
trait Heap: Send + Sync + 'static {
    /// An empty one with so many places.
    fn bounded(places: usize) -> Self;
    /// Adds an item when there is room.
    fn put(&self, item: u64) -> bool;
    /// Takes the smallest when there is one.
    fn get(&self) -> Option<u64>;
}

impl Heap for PriorityQueue<u64> {
    fn bounded(places: usize) -> Self {
        Self::bounded(places)
    }

    fn put(&self, item: u64) -> bool {
        Self::put(self, item).is_ok()
    }

    fn get(&self) -> Option<u64> {
        Self::get(self).ok()
    }
}

/// The usual way: a heap under a lock, with a condition for each side. This one with parking_lot's.
struct ParkingLot {
    places: usize,
    heap: parking_lot::Mutex<BinaryHeap<Reverse<u64>>>,
    not_empty: parking_lot::Condvar,
    not_full: parking_lot::Condvar,
}

impl Heap for ParkingLot {
    fn bounded(places: usize) -> Self {
        Self { places, heap: Default::default(), not_empty: Default::default(), not_full: Default::default() }
    }

    fn put(&self, item: u64) -> bool {
        let mut heap = self.heap.lock();
        self.not_full.wait_while(&mut heap, |heap| heap.len() >= self.places);
        heap.push(Reverse(item));
        drop(heap);
        self.not_empty.notify_one();
        true
    }

    fn get(&self) -> Option<u64> {
        let mut heap = self.heap.lock();
        self.not_empty.wait_while(&mut heap, |heap| heap.is_empty());
        let item = heap.pop();
        drop(heap);
        self.not_full.notify_one();
        item.map(|Reverse(item)| item)
    }
}

/// The same with std's.
struct Std {
    places: usize,
    heap: std::sync::Mutex<BinaryHeap<Reverse<u64>>>,
    not_empty: std::sync::Condvar,
    not_full: std::sync::Condvar,
}

#[expect(clippy::unwrap_used, reason = "how users of std lock; the check for poison belongs to its cost")]
impl Heap for Std {
    fn bounded(places: usize) -> Self {
        Self { places, heap: Default::default(), not_empty: Default::default(), not_full: Default::default() }
    }

    fn put(&self, item: u64) -> bool {
        let heap = self.heap.lock().unwrap();
        let mut heap = self.not_full.wait_while(heap, |heap| heap.len() >= self.places).unwrap();
        heap.push(Reverse(item));
        drop(heap);
        self.not_empty.notify_one();
        true
    }

    fn get(&self) -> Option<u64> {
        let heap = self.heap.lock().unwrap();
        let mut heap = self.not_empty.wait_while(heap, |heap| heap.is_empty()).unwrap();
        let item = heap.pop();
        drop(heap);
        self.not_full.notify_one();
        item.map(|Reverse(item)| item)
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    let alone =
        Contest::new("PriorityQueue", "uncontended, 64 items standing", "item, put and got", Size::MultipleOf(1));
    let crowd = Scene { sides: 4, placement: Placement::Apart };
    let crowded = crowd.contest("PriorityQueue", "bounded(128)");
    vec![
        alone
            .with(Contestant::crewkit(OURS, || Ok(alternate::<PriorityQueue<u64>>())))
            .with(Contestant::peer("parking_lot Mutex<BinaryHeap>", || Ok(alternate::<ParkingLot>())))
            .with(Contestant::peer("std Mutex<BinaryHeap>", || Ok(alternate::<Std>())))
            .target(Target::speed(OURS, 1.0, &[])),
        crowded
            .with(pumped::<PriorityQueue<u64>>(crowd, OURS, Side::Crewkit))
            .with(pumped::<ParkingLot>(crowd, "parking_lot Mutex<BinaryHeap>", Side::Peer))
            .with(pumped::<Std>(crowd, "std Mutex<BinaryHeap>", Side::Peer))
            .target(Target::speed(OURS, 1.3, &[])),
    ]
}

/// A contestant that pumps through such a heap.
fn pumped<H: Heap>(scene: Scene, name: &'static str, side: Side) -> Contestant {
    let open = move || {
        let heap = Arc::new(H::bounded(PLACES));
        Ok(scene.pump((Arc::clone(&heap), heap), |heap, item| heap.put(item), |heap| heap.get()))
    };
    Contestant { name, side, open: Box::new(open) }
}

/// Puts a number and gets the smallest, with some others in the queue all the time.
fn alternate<H: Heap>() -> Repetition {
    let heap = H::bounded(PLACES);
    Box::new(move |operations| {
        // Every number once, in no order: an odd factor permutes them.
        let scrambled = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        check("room", (0..STANDING).all(|number| heap.put(scrambled(number))), true)?;
        let mut sum = 0_u64;
        let start = Instant::now();
        for number in STANDING..operations + STANDING {
            black_box(&heap).put(scrambled(number));
            sum = sum.wrapping_add(black_box(&heap).get().unwrap_or(0));
        }
        let taken = start.elapsed();
        let sum = (0..STANDING).filter_map(|_| heap.get()).fold(sum, u64::wrapping_add);
        check("sum", sum, (0..operations + STANDING).map(scrambled).fold(0, u64::wrapping_add))?;
        Ok(taken.into())
    })
}
