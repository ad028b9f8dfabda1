//! What holds for every queue, of `PriorityQueue`.

#![expect(clippy::duplicate_mod, reason = "the same tests run for each type")]

use crate::asleep::{self, PATIENCE};
pub(crate) use crewkit::queue::PriorityQueue as Subject;
use crewkit::queue::PriorityQueue;
use std::cmp::{Ordering, Reverse};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::thread;

#[path = "additions.rs"]
mod additions;
#[path = "endings.rs"]
mod endings;
#[path = "ported.rs"]
mod ported;
#[path = "semantics.rs"]
mod semantics;

/// The order in which items come out that are put in this order.
pub(crate) fn order<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// A number, and when it was put: only the number counts.
#[derive(Clone, Debug)]
struct Ranked(u32, u32);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[test]
fn equal_items_come_out_in_the_order_in_which_they_were_put() {
    let queue = PriorityQueue::unbounded();
    let mut model = Vec::new();
    for put in 0..1_000 {
        let item = Ranked(put * 31 % 7, put);
        queue.put(item.clone()).unwrap();
        model.push(item);
        if put % 3 == 0 {
            model.sort_by_key(|item| (item.0, item.1));
            let (Ranked(rank, when), first) = (queue.get().unwrap(), model.remove(0));
            assert_eq!((rank, when), (first.0, first.1));
        }
    }
    model.sort_by_key(|item| (item.0, item.1));
    let rest = queue.get_many(usize::MAX).unwrap();
    assert!(rest.iter().map(|item| (item.0, item.1)).eq(model.iter().map(|item| (item.0, item.1))));
}

#[test]
fn the_largest_first_by_reversing() {
    let queue = PriorityQueue::unbounded();
    queue.put_many([1, 3, 2].map(Reverse)).unwrap();
    assert_eq!(queue.try_iter().map(|Reverse(item)| item).collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn qu19_peek_shows_the_smallest_and_leaves_it() {
    let queue = PriorityQueue::unbounded();
    assert_eq!(queue.peek(), None);
    queue.put_many([2, 1, 3]).unwrap();
    assert_eq!((queue.peek(), queue.len()), (Some(1), 3));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.peek(), Some(2));
}

/// Ordered by the number; what its comparisons do besides is up to the test.
struct Acting<'a>(u32, &'a (dyn Fn() + Sync));

impl PartialEq for Acting<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Acting<'_> {}

impl PartialOrd for Acting<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Acting<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.1();
        self.0.cmp(&other.0)
    }
}

/// How many comparisons succeed before one fails, which disarms it.
struct Fuse(AtomicUsize);

impl Fuse {
    const fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    fn burn(&self) {
        let left = self.0.load(SeqCst);
        self.0.store(if left == 0 { usize::MAX } else { left.saturating_sub(usize::from(left < usize::MAX)) }, SeqCst);
        assert!(left > 0, "on purpose");
    }

    fn fails<R>(&self, work: impl FnOnce() -> R) {
        self.0.store(0, SeqCst);
        let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { panic!("the order was to fail") };
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    }
}

/// Python's `FailingQueue`, whose hooks fail at a moment's notice, is an order that does.
#[test]
fn qu10_a_failing_order_fails_each_form_of_put_and_of_get_and_changes_nothing() {
    let fuse = Fuse::new();
    let burn = || fuse.burn();
    let item = |number| Acting(number, &burn);
    let queue = PriorityQueue::bounded(4);
    queue.put_many((1..=3).map(item)).unwrap();
    let is_whole = || assert_eq!((queue.len(), queue.unfinished(), queue.is_full()), (3, 3, false));
    fuse.fails(|| queue.try_put(item(0)));
    fuse.fails(|| queue.put(item(0)));
    fuse.fails(|| queue.put_timeout(item(0), PATIENCE));
    fuse.fails(|| queue.put_many([item(0)]));
    is_whole();
    fuse.fails(|| queue.try_get());
    fuse.fails(|| queue.get());
    fuse.fails(|| queue.get_timeout(PATIENCE));
    fuse.fails(|| queue.get_many(3));
    is_whole();
    assert_eq!(queue.try_iter().map(|item| item.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn qu10_of_a_batch_whose_order_fails_the_items_before_stay_and_are_told_of() {
    let fuse = Fuse::new();
    let burn = || fuse.burn();
    let item = |number| Acting(number, &burn);
    let queue = &PriorityQueue::<Acting<'_>>::bounded(4);
    thread::scope(|scope| {
        let getters = [(); 2].map(|()| asleep::spawn(scope, || queue.get().unwrap().0));
        getters.iter().for_each(asleep::Watched::until_asleep);
        // The second is compared once, the third and the fourth at most twice.
        fuse.0.store(1, SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| queue.put_many([1, 2, 0, 3].map(item)))).is_err());
        let mut got = getters.map(asleep::Watched::join);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
    assert_eq!((queue.len(), queue.unfinished()), (0, 2));
    queue.put_many([5, 4].map(item)).unwrap();
    assert_eq!(queue.try_iter().map(|item| item.0).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn qu10_a_put_that_fails_after_it_waited_lets_the_next_one_put() {
    let fuse = Fuse::new();
    let burn = || fuse.burn();
    let item = |number| Acting(number, &burn);
    let queue = &PriorityQueue::bounded(2);
    queue.put_many([item(1), item(2)]).unwrap();
    thread::scope(|scope| {
        let failing = asleep::spawn(scope, || fuse.fails(|| queue.put(item(3))));
        failing.until_asleep();
        let next = asleep::spawn(scope, || queue.put(item(4)));
        next.until_asleep();
        // The fuse is armed; of two items the first is got without a comparison.
        assert_eq!(queue.get().map(|item| item.0), Ok(1));
        failing.join();
        next.join().unwrap();
    });
    assert_eq!((queue.len(), queue.unfinished()), (2, 3));
    assert_eq!(queue.try_iter().map(|item| item.0).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn qu10_a_get_that_fails_after_it_waited_leaves_the_item_to_the_next() {
    let fuse = Fuse::new();
    let burn = || fuse.burn();
    let item = |number| Acting(number, &burn);
    let queue = &PriorityQueue::<Acting<'_>>::unbounded();
    let get = || catch_unwind(|| queue.get().map(|item| item.0));
    thread::scope(|scope| {
        let getters = [(); 2].map(|()| asleep::spawn(scope, get));
        getters.iter().for_each(asleep::Watched::until_asleep);
        // To put three takes two comparisons; the third is that of the first get.
        fuse.0.store(2, SeqCst);
        queue.put_many((1..=3).map(item)).unwrap();
        let got = getters.map(|getter| getter.join().ok());
        assert!(got.contains(&None) && got.contains(&Some(Ok(1))), "{got:?}");
    });
    assert_eq!((queue.len(), queue.unfinished()), (2, 3));
    assert_eq!(queue.try_iter().map(|item| item.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn who_comes_while_items_are_compared_sleeps_until_that_is_over() {
    let gate = Mutex::new(());
    let pass = || drop(gate.lock().unwrap());
    let item = |number| Acting(number, &pass);
    let queue = &PriorityQueue::unbounded();
    queue.put(item(2)).unwrap();
    thread::scope(|scope| {
        let shut = gate.lock().unwrap();
        let slow = asleep::spawn(scope, || queue.put(item(1)));
        slow.until_asleep();
        let others = [(); 2].map(|()| asleep::spawn(scope, || queue.try_get().unwrap().0));
        others.iter().for_each(asleep::Watched::until_asleep);
        assert_eq!(queue.len(), 1, "the length is known at any time");
        drop(shut);
        slow.join().unwrap();
        let mut got = others.map(asleep::Watched::join);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

/// Uses the queue that it is in whenever it is compared, in a way of its own.
struct Reentrant(fn(&PriorityQueue<Self>));

static REENTERED: OnceLock<PriorityQueue<Reentrant>> = OnceLock::new();

impl PartialEq for Reentrant {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Reentrant {}

impl PartialOrd for Reentrant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reentrant {
    fn cmp(&self, _: &Self) -> Ordering {
        self.0(REENTERED.get_or_init(PriorityQueue::unbounded));
        Ordering::Equal
    }
}

#[test]
fn qu18_an_order_runs_under_the_lock_and_is_told_if_it_uses_the_queue() {
    let queue = REENTERED.get_or_init(PriorityQueue::unbounded);
    queue.put(Reentrant(|_| ())).unwrap();
    let uses: [fn(&PriorityQueue<Reentrant>); 6] = [
        |queue| _ = queue.try_get(),
        |queue| _ = queue.put(Reentrant(|_| ())),
        |queue| _ = queue.is_full(),
        |queue| queue.clear(),
        |queue| queue.join(),
        |queue| _ = format!("{queue:?}"),
    ];
    for work in uses {
        let put = || queue.put(Reentrant(work)).unwrap();
        let panic = catch_unwind(put).expect_err("the order was to be told");
        assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("was used by the `Ord`")));
        assert_eq!((queue.len(), queue.unfinished()), (1, 1));
    }
    // The length is known without the lock, and another queue has another one.
    queue.put(Reentrant(|_| PriorityQueue::unbounded().put(1).unwrap())).unwrap();
    queue.put(Reentrant(|queue| assert_eq!(queue.len(), 2))).unwrap();
    assert_eq!(queue.len(), 3);
}
