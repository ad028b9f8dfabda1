//! Queues: a process that puts, takes, leases, or reports is killed.

use crewkit::ipc::{Counter, Queue, wait};
use crewkit::queue::Shutdown;
use std::time::Duration;

use crate::alone::Child;
use crate::points::{HANG, Outcome, Stage, When, given, traced};
use crate::waits::{asleep, seen};

/// What the victim puts, takes or leases; others are [`OTHER`].
const ITS: i32 = 7;
const OTHER: i32 = 8;

/// A queue that holds items, none of them the survivors' yet.
fn queue(maxsize: usize, items: &[i32]) -> Queue<i32> {
    let queue = Queue::bounded(maxsize).unwrap();
    queue.put_many(items.iter().copied()).unwrap();
    queue
}

/// The victim, which sits at the queue before its first step.
fn victim<O: FnOnce()>(queue: &Queue<i32>, prepare: impl FnOnce(Queue<i32>) -> O) -> Child {
    traced(queue, |queue: Queue<i32>| {
        queue.task_done().unwrap_err();
        prepare(queue)
    })
}

/// All that is there; then this process and one that knows nothing of the death put as much as there is room for and take
/// it, and nothing is unfinished after that.
fn drained(queue: &Queue<i32>) -> Vec<i32> {
    let mut items = Vec::new();
    while let Ok(lease) = queue.try_get_leased() {
        items.push(lease.ack().unwrap());
    }
    let round = |queue: &Queue<i32>| {
        let most = queue.capacity().unwrap_or(3);
        (0..most).for_each(|_| queue.put_timeout(OTHER, HANG).expect("room is lost"));
        assert!(queue.is_full() || queue.capacity().is_none());
        for _ in 0..most {
            assert_eq!(queue.get_timeout(HANG).expect("an item is lost"), OTHER);
            queue.task_done().unwrap();
        }
    };
    round(queue);
    let fresh = given(queue, |queue: Queue<i32>| {
        round(&queue);
        assert!(queue.join_timeout(HANG).unwrap(), "something is unfinished that nobody has");
    });
    assert_eq!(fresh.exit_code(), 0);
    assert!(queue.join_timeout(HANG).unwrap());
    assert!(format!("{queue:?}").contains("bytes: 0"), "{queue:?}");
    items
}

fn whether(is_seen: bool) -> Outcome {
    if is_seen { Outcome::After } else { Outcome::Before }
}

/// The victim puts the last item that has room: it is there whole or not at all. Or it puts one for which two sleep.
pub(crate) fn putting(when: When) -> Stage {
    let queue = queue(2, if when == When::Later { &[OTHER] } else { &[] });
    let victim = victim(&queue, |queue| move || queue.put(ITS).unwrap());
    let sleepers = sleeping(when, &queue, |queue| {
        let item = queue.get_timeout(HANG).expect("a wake-up is lost");
        queue.task_done().unwrap();
        item
    });
    let judge = move || {
        let mut found = 0;
        if !sleepers.is_empty() {
            (0..2).for_each(|_| queue.put_timeout(OTHER, HANG).unwrap());
            found += sleepers.into_iter().map(Child::exit_code).filter(|&item| item == ITS).count();
        }
        found += drained(&queue).into_iter().filter(|&item| item == ITS).count();
        assert!(found < 2, "put twice");
        whether(found == 1)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim puts two items by one step, perhaps for two who sleep: both are there, or neither.
pub(crate) fn putting_a_batch(when: When) -> Stage {
    let queue = queue(4, &[]);
    let victim = victim(&queue, |queue| move || queue.put_many([ITS; 2]).unwrap());
    let sleepers = sleeping(when, &queue, |queue| {
        let item = queue.get_timeout(HANG).expect("a wake-up is lost");
        queue.task_done().unwrap();
        item
    });
    let judge = move || {
        sleepers.iter().for_each(|_| queue.put_timeout(OTHER, HANG).unwrap());
        let mut found: Vec<_> = sleepers.into_iter().map(Child::exit_code).collect();
        found.extend(drained(&queue));
        let count = found.into_iter().filter(|&item| item == ITS).count();
        assert!(count == 0 || count == 2, "half a batch");
        whether(count == 2)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim puts an item for which two wait among other things: they see it, or the next one.
pub(crate) fn putting_for_who_waits_for_many_things(when: When) -> Stage {
    let queue = queue(2, &[]);
    let victim = victim(&queue, |queue| move || queue.put(ITS).unwrap());
    let sleepers = sleeping(when, &queue, is_seen_in_time);
    let judge = move || {
        queue.put_timeout(OTHER, HANG).unwrap();
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0, "an item is not seen"));
        whether(drained(&queue).contains(&ITS))
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim waits for a queue among other things, in vain, as two others do.
pub(crate) fn waiting_among_many_things(when: When) -> Stage {
    let (queue, counter) = (queue(2, &[]), Counter::new(0).unwrap());
    let victim = traced(&(queue.clone(), counter.clone()), |(queue, counter): (Queue<i32>, Counter)| {
        move || {
            assert!(wait(&[&queue.readiness()], Duration::from_millis(1)).unwrap().is_empty());
            counter.add(1).unwrap();
        }
    });
    let sleepers = sleeping(when, &queue, is_seen_in_time);
    let judge = move || {
        queue.put_timeout(OTHER, HANG).unwrap();
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0, "an item is not seen"));
        assert_eq!(wait(&[&queue.readiness()], HANG).unwrap(), [0]);
        assert_eq!(drained(&queue), [OTHER]);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

fn is_seen_in_time(queue: Queue<i32>) -> i32 {
    i32::from(wait(&[&queue.readiness()], HANG).unwrap() != [0])
}

/// The victim takes the only item, or one from a queue for whose room two sleep: it is there or was taken.
pub(crate) fn getting(when: When) -> Stage {
    getting_by(when, |queue| assert_eq!(queue.get().unwrap(), ITS))
}

/// The same without waiting.
pub(crate) fn trying_to_get(when: When) -> Stage {
    getting_by(when, |queue| assert_eq!(queue.try_get().unwrap(), ITS))
}

/// The victim takes both items in one go: each is there or was taken.
pub(crate) fn getting_a_batch(when: When) -> Stage {
    taking(when, &[ITS; 2], |queue| assert_eq!(queue.get_many(2).unwrap(), [ITS; 2]))
}

/// The victim drops what is there: the oldest first.
pub(crate) fn clearing(when: When) -> Stage {
    taking(when, &[ITS; 2], |queue| queue.clear().unwrap())
}

fn getting_by(when: When, get: fn(&Queue<i32>)) -> Stage {
    taking(when, &[ITS], get)
}

fn taking(when: When, items: &'static [i32], get: fn(&Queue<i32>)) -> Stage {
    let queue = queue(items.len(), items);
    let victim = victim(&queue, |queue| move || get(&queue));
    let sleepers = sleeping(when, &queue, |queue| {
        queue.put_timeout(OTHER, HANG).expect("a wake-up is lost");
        0
    });
    let judge = move || {
        // Whatever was taken, one more makes room for one of the two, and another for the other.
        let mut found = Vec::new();
        for _ in 0..sleepers.len() {
            found.push(queue.get_timeout(HANG).expect("an item is lost"));
            queue.task_done().unwrap();
        }
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0));
        found.extend(drained(&queue));
        whether(found.iter().filter(|&&item| item == ITS).count() < items.len())
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim leases an item: it comes back, and says whether the victim had it.
pub(crate) fn leasing(_: When) -> Stage {
    let queue = queue(3, &[ITS]);
    let victim = victim(&queue, |queue| move || std::mem::forget(queue.get_leased().unwrap()));
    let judge = move || {
        let lease = queue.try_get_leased().expect("a leased item is lost");
        let attempt = lease.attempt();
        assert!(*lease == ITS && attempt <= 2);
        lease.ack().unwrap();
        assert!(drained(&queue).is_empty());
        whether(attempt == 2)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim acknowledges an item, for which two join: it is done, or comes back.
pub(crate) fn acknowledging(when: When) -> Stage {
    let queue = queue(2, &[ITS]);
    let victim = victim(&queue, |queue| {
        let lease = queue.get_leased().unwrap();
        move || assert_eq!(lease.ack().unwrap(), ITS)
    });
    let sleepers = sleeping(when, &queue, |queue| i32::from(!queue.join_timeout(HANG).unwrap()));
    let judge = move || {
        let mut found = Vec::new();
        while let Ok(lease) = queue.try_get_leased() {
            assert_eq!(lease.attempt(), 2);
            found.push(lease.ack().unwrap());
        }
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0, "a wake-up is lost"));
        assert!(drained(&queue).is_empty() && (found.is_empty() || found == [ITS]));
        whether(found.is_empty())
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim acknowledges the item that fills a queue, and whoever is left only puts: there is room, or the item.
pub(crate) fn acknowledging_for_one_who_puts(_: When) -> Stage {
    let queue = queue(1, &[ITS]);
    let victim = victim(&queue, |queue| {
        let lease = queue.get_leased().unwrap();
        move || assert_eq!(lease.ack().unwrap(), ITS)
    });
    let judge = move || {
        let is_put = queue.try_put(OTHER).is_ok();
        assert_eq!(drained(&queue), [if is_put { OTHER } else { ITS }], "the room is not found");
        whether(is_put)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim gives an item back, for which two sleep: it comes to one of them.
pub(crate) fn giving_back(when: When) -> Stage {
    let (queue, counter) = (queue(2, &[ITS]), Counter::new(0).unwrap());
    let victim = traced(&(queue.clone(), counter.clone()), |(queue, counter): (Queue<i32>, Counter)| {
        let lease = queue.get_leased().unwrap();
        move || {
            lease.requeue().unwrap();
            counter.add(1).unwrap();
        }
    });
    let sleepers = sleeping(when, &queue, |queue| {
        let lease = queue.get_leased_timeout(HANG).expect("a wake-up is lost");
        let item = *lease * lease.attempt().cast_signed();
        lease.ack().unwrap();
        item
    });
    let judge = move || {
        let mut found: Vec<i32> = Vec::new();
        if !sleepers.is_empty() {
            queue.put_timeout(OTHER, HANG).unwrap();
            found = sleepers.into_iter().map(Child::exit_code).collect();
            found.sort_unstable();
        }
        found.extend(drained(&queue));
        assert!(found == [ITS] || found == [OTHER, 2 * ITS], "{found:?}");
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim reports its last item done, for which two join: they do not wait for it in any case.
pub(crate) fn reporting(when: When) -> Stage {
    done_with(when, |queue| queue.task_done().unwrap())
}

/// The victim reports its last item done and joins, as two others do: nobody waits for it.
pub(crate) fn joining(when: When) -> Stage {
    done_with(when, |queue| {
        queue.task_done().unwrap();
        queue.join().unwrap();
    })
}

fn done_with(when: When, report: impl Fn(&Queue<i32>) + Copy + 'static) -> Stage {
    let (queue, counter) = (queue(2, &[ITS]), Counter::new(0).unwrap());
    let victim = traced(&(queue.clone(), counter.clone()), move |(queue, counter): (Queue<i32>, Counter)| {
        assert_eq!(queue.get().unwrap(), ITS);
        move || {
            report(&queue);
            counter.add(1).unwrap();
        }
    });
    let sleepers = sleeping(when, &queue, |queue| i32::from(!queue.join_timeout(HANG).unwrap()));
    let judge = move || {
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0, "who joins hangs"));
        assert!(drained(&queue).is_empty());
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim ends the putting into a queue from which two would get: they are told, by it or by this process.
pub(crate) fn draining(when: When) -> Stage {
    let queue = queue(2, &[]);
    let victim = victim(&queue, |queue| move || queue.shutdown(Shutdown::Drain).unwrap());
    let told = |queue: Queue<i32>| i32::from(!queue.get_timeout(HANG).unwrap_err().is_shut_down());
    let sleepers = sleeping(when, &queue, told);
    let judge = move || {
        let is_shut_down = queue.is_shut_down();
        if !is_shut_down {
            queue.shutdown(Shutdown::Drain).unwrap();
        }
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0, "a wake-up is lost"));
        assert!(queue.put(OTHER).unwrap_err().is_shut_down() && queue.join_timeout(HANG).unwrap());
        assert_eq!(given(&queue, told).exit_code(), 0);
        whether(is_shut_down)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim shuts down at once a queue in which something is, and with it a lease: all of it is dropped, or nothing.
pub(crate) fn shutting_down(_: When) -> Stage {
    let queue = queue(4, &[ITS, OTHER, OTHER]);
    let lease = queue.get_leased().unwrap();
    let victim = victim(&queue, |queue| move || queue.shutdown(Shutdown::Immediate).unwrap());
    let judge = move || {
        let is_shut_down = queue.is_shut_down();
        assert_eq!(lease.ack().unwrap(), ITS);
        if is_shut_down {
            assert!(queue.get().unwrap_err().is_shut_down() && queue.put(OTHER).unwrap_err().is_shut_down());
            assert!(queue.join_timeout(HANG).unwrap(), "what was dropped is done");
            assert!(format!("{queue:?}").contains("bytes: 0"), "{queue:?}");
        } else {
            assert_eq!(drained(&queue), [OTHER, OTHER]);
        }
        whether(is_shut_down)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// Two who sleep in what they do, if they should.
fn sleeping(when: When, queue: &Queue<i32>, body: fn(Queue<i32>) -> i32) -> Vec<Child> {
    if when == When::Asleep { asleep(queue, body) } else { Vec::new() }
}
