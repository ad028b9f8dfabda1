//! `ipc::Queue` between the threads of one process and as messages to itself. What needs other processes is in
//! `ipc_sync_processes`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]
#![expect(clippy::mem_forget, reason = "a forgotten lease is what one test is about")]

#[path = "../asleep/mod.rs"]
mod asleep;
mod unreadable;

use crewkit::ipc::{Connection, Counter, Lease, PutError, Queue, RecvError, pipe, wait};
use crewkit::queue::{Shutdown, TooManyTaskDone};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn items_come_out_in_order_whatever_they_are() {
    let queue = Queue::<(String, Option<u8>)>::unbounded().unwrap();
    assert!(queue.is_empty() && !queue.is_full() && queue.capacity().is_none());
    let items: Vec<_> = (0..9).map(|number| ("x".repeat(number * 7), u8::try_from(number).ok())).collect();
    items.iter().for_each(|item| queue.put(item.clone()).unwrap());
    assert_eq!((queue.len(), queue.is_empty()), (9, false));
    assert!(items.iter().all(|item| queue.get().unwrap() == *item));
    assert!(queue.is_empty() && queue.try_get().unwrap_err().is_empty());
}

#[test]
fn a_queue_has_as_many_items_as_it_may() {
    let queue = Queue::bounded(3).unwrap();
    assert_eq!(queue.capacity(), Some(3));
    (0..3).for_each(|number| queue.try_put(number).unwrap());
    assert!(queue.is_full());
    assert!(matches!(queue.try_put(3), Err(PutError::Full(3))));
    let begin = Instant::now();
    assert!(queue.put_timeout(3, BRIEFLY).unwrap_err().is_full());
    assert!(begin.elapsed() >= BRIEFLY);
    assert_eq!(queue.get_timeout(LONG).unwrap(), 0);
    queue.put_timeout(3, LONG).unwrap();
    queue.set_capacity(0).unwrap();
    queue.try_put(4).unwrap();
    assert_eq!(queue.try_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let begin = Instant::now();
    assert!(queue.get_timeout(BRIEFLY).unwrap_err().is_empty());
    assert!(begin.elapsed() >= BRIEFLY);
}

#[test]
fn a_queue_has_as_many_bytes_as_it_may() {
    // 7 bytes, one for their number, a header of 8.
    let queue = Queue::with_bytes(0, 96).unwrap();
    let item = vec![1_u8; 7];
    let count = std::iter::repeat_with(|| queue.try_put(item.clone())).take_while(Result::is_ok).count();
    assert_eq!((count, queue.len(), queue.is_full()), (6, 6, true));
    assert_eq!(queue.longest_item(), 88);
    assert_eq!(queue.get().unwrap(), item);
    queue.try_put(item).unwrap();
}

#[test]
fn what_can_never_be_put_is_refused_before_anything_is_written() {
    let queue = Queue::with_bytes(0, 256).unwrap();
    let PutError::TooLarge { value, len, limit } = queue.put(vec![7_u8; 500]).unwrap_err() else { panic!() };
    assert_eq!((value.len(), len, limit), (500, 502, 248));
    let error = queue.put_many([vec![1], vec![0; 500], vec![2]]).unwrap_err();
    let why =
        "an item of 502 bytes, where the queue has room for 248 in all: make it with more (Queue::with_bytes), or";
    assert!(error.to_string().starts_with(why), "{error}");
    assert_eq!(error.into_inner().len(), 3);
    assert!(queue.is_empty());
    queue.put(vec![7; 246]).unwrap();
    assert_eq!(queue.get().unwrap().len(), 246);
}

#[test]
fn items_are_as_large_as_the_queue_was_made_for() {
    const LARGE: usize = 5 << 20;
    let queue = Queue::bounded(10).unwrap();
    assert!(matches!(queue.put(vec![7_u8; LARGE]), Err(PutError::TooLarge { len, .. }) if len > LARGE));
    let queue = Queue::with_bytes(10, 2 * LARGE + 100).unwrap();
    (0..2).for_each(|_| queue.try_put(vec![7_u8; LARGE]).unwrap());
    assert!(queue.try_put(vec![7_u8; LARGE]).unwrap_err().is_full());
    assert!(queue.try_iter().all(|item| item.unwrap() == [7; LARGE]));
}

#[test]
fn handles_in_items_are_refused_and_stay_what_they_are() {
    let queue = Queue::unbounded().unwrap();
    let (near, far) = pipe::<u8, u8>().unwrap();
    let PutError::NotSerializable { value, why } = queue.put(far).unwrap_err() else { panic!() };
    assert!(why.contains("a descriptor or a handle"), "{why}");
    value.send(&3).unwrap();
    assert_eq!(near.recv().unwrap(), 3);
    let queue = Queue::unbounded().unwrap();
    assert!(matches!(queue.try_put(Counter::new(1).unwrap()), Err(PutError::NotSerializable { .. })));
    assert!(queue.is_empty());
}

#[test]
fn batches_are_put_and_got_as_far_as_there_is_room() {
    let queue = Queue::bounded(4).unwrap();
    queue.put_many([]).unwrap();
    assert_eq!(queue.try_put_many(0..6).unwrap_err().into_inner(), [4, 5]);
    assert_eq!(queue.put_many_timeout([6, 7], BRIEFLY).unwrap_err().into_inner(), [6, 7]);
    assert_eq!(queue.get_many(0).unwrap(), []);
    assert_eq!(queue.get_many(3).unwrap(), [0, 1, 2]);
    assert_eq!(queue.try_get_many(9).unwrap(), [3]);
    assert!(queue.try_get_many(9).unwrap_err().is_empty());
    assert!(queue.get_many_timeout(9, BRIEFLY).unwrap_err().is_empty());
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put_many(0..100));
        let got: Vec<u64> = std::iter::repeat_with(|| queue.get_many(7).unwrap()).flatten().take(100).collect();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        putter.join().unwrap();
    });
}

#[test]
fn who_waits_is_woken_by_what_it_waits_for() {
    let queue = Queue::bounded(1).unwrap();
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || queue.get().unwrap());
        getter.until_asleep();
        queue.put(7).unwrap();
        assert_eq!(getter.join(), 7);
        queue.put(8).unwrap();
        let putter = asleep::spawn(scope, || queue.put(9));
        putter.until_asleep();
        assert!(format!("{queue:?}").contains("putting: 1"), "{queue:?}");
        assert_eq!(queue.get().unwrap(), 8);
        putter.join().unwrap();
        let putter = asleep::spawn(scope, || queue.put(10));
        putter.until_asleep();
        queue.set_capacity(2).unwrap();
        putter.join().unwrap();
    });
    assert_eq!(queue.try_iter().map(Result::unwrap).collect::<Vec<_>>(), [9, 10]);
}

#[test]
fn each_item_is_got_once_by_whomever() {
    const EACH: u64 = 5_000;
    let (queue, sum, count) = (Queue::with_bytes(64, 1024).unwrap(), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let producers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (1..=EACH).for_each(|number| queue.put(number).unwrap()))).collect();
        for _ in 0..3 {
            scope.spawn(|| {
                for number in &queue {
                    sum.fetch_add(number.unwrap(), SeqCst);
                    count.fetch_add(1, SeqCst);
                }
            });
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        queue.shutdown(Shutdown::Drain).unwrap();
    });
    assert_eq!((count.into_inner(), sum.into_inner()), (3 * EACH, 3 * EACH * (EACH + 1) / 2));
}

#[test]
fn join_waits_for_all_that_was_put() {
    let queue = Queue::unbounded().unwrap();
    assert!(queue.join_timeout(Duration::ZERO).unwrap());
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.put_many([1, 2]).unwrap();
    assert_eq!(queue.task_done(), Err(TooManyTaskDone), "nobody has got one");
    assert!(!queue.join_timeout(BRIEFLY).unwrap());
    thread::scope(|scope| {
        let joiner = asleep::spawn(scope, || queue.join());
        joiner.until_asleep();
        queue.get().unwrap();
        queue.task_done().unwrap();
        let last = queue.task(queue.get().unwrap());
        assert_eq!((*last, queue.unfinished().unwrap()), (2, 1));
        assert!(!queue.join_timeout(BRIEFLY).unwrap());
        let _panic = catch_unwind(AssertUnwindSafe(move || {
            let _last = last;
            std::panic::resume_unwind(Box::new(()));
        }));
        joiner.join().unwrap();
    });
    assert_eq!((queue.unfinished().unwrap(), queue.task_done()), (0, Err(TooManyTaskDone)));
}

#[test]
fn a_drain_ends_the_putting_and_then_the_getting() {
    let queue = Queue::bounded(1).unwrap();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put(2));
        putter.until_asleep();
        queue.shutdown(Shutdown::Drain).unwrap();
        assert!(putter.join().unwrap_err().is_shut_down());
    });
    assert!(queue.is_shut_down());
    assert!(matches!(queue.try_put(3), Err(PutError::ShutDown(3))));
    assert_eq!(queue.get().unwrap(), 1);
    assert!(queue.get().unwrap_err().is_shut_down() && queue.try_get().unwrap_err().is_shut_down());
    assert!(!queue.join_timeout(BRIEFLY).unwrap(), "got, and not done");
    queue.task_done().unwrap();
    queue.join().unwrap();
    let empty = Queue::<u8>::unbounded().unwrap();
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || empty.get());
        getter.until_asleep();
        empty.shutdown(Shutdown::Drain).unwrap();
        assert!(getter.join().unwrap_err().is_shut_down());
    });
}

#[test]
fn an_immediate_end_drops_what_is_there() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many(0..5).unwrap();
    let lease = queue.get_leased().unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    queue.shutdown(Shutdown::Immediate).unwrap();
    assert!(queue.is_empty() && queue.get().unwrap_err().is_shut_down());
    assert_eq!(queue.unfinished().unwrap(), 1, "that of the lease");
    drop(lease);
    queue.join().unwrap();
    assert!(queue.get().unwrap_err().is_shut_down(), "what came back is dropped");
    let cleared = Queue::bounded(2).unwrap();
    cleared.put_many([1, 2]).unwrap();
    cleared.clear().unwrap();
    cleared.join().unwrap();
    cleared.try_put_many([3, 4]).unwrap();
    assert_eq!(cleared.get().unwrap(), 3);
}

#[test]
fn what_was_put_since_an_item_was_got_is_dropped_with_the_rest() {
    let queue = Queue::bounded(3).unwrap();
    let dropped_behind_one_got = |drop: &dyn Fn()| {
        queue.put_many([1, 2]).unwrap();
        assert_eq!(queue.get().unwrap(), 1);
        queue.put(3).unwrap();
        drop();
        assert_eq!((queue.len(), queue.unfinished().unwrap()), (0, 1));
        queue.task_done().unwrap();
        queue.join().unwrap();
    };
    dropped_behind_one_got(&|| queue.clear().unwrap());
    queue.try_put_many([4, 5, 6]).unwrap();
    assert_eq!(queue.get_many(9).unwrap(), [4, 5, 6]);
    (0..3).for_each(|_| queue.task_done().unwrap());
    dropped_behind_one_got(&|| queue.shutdown(Shutdown::Immediate).unwrap());
    assert!(queue.get().unwrap_err().is_shut_down());
}

#[test]
fn a_lease_that_is_not_acknowledged_comes_back_before_all_others() {
    let queue = Queue::bounded(3).unwrap();
    queue.put_many(0..3).unwrap();
    let leases: Vec<Lease<u64>> = (0..3).map(|_| queue.get_leased().unwrap()).collect();
    assert!(leases.iter().enumerate().all(|(number, lease)| **lease == number as u64 && lease.attempt() == 1));
    assert!(queue.is_empty() && queue.is_full(), "they keep their places");
    assert!(queue.try_get_leased().unwrap_err().is_empty());
    assert!(queue.get_leased_timeout(BRIEFLY).unwrap_err().is_empty());
    let mut leases = leases.into_iter();
    let [first, second, third] = [(); 3].map(|()| leases.next().unwrap());
    // Done out of order: its place is free, its room only behind the first.
    assert_eq!(second.ack().unwrap(), 1);
    queue.try_put(3).unwrap();
    third.requeue().unwrap();
    drop(first);
    assert_eq!(queue.len(), 3);
    let again = queue.get_leased().unwrap();
    assert_eq!((*again, again.attempt()), (0, 2));
    assert_eq!(queue.try_get().unwrap(), 2);
    let fresh = queue.get_leased().unwrap();
    assert_eq!((*fresh, fresh.attempt()), (3, 1));
    assert!(!queue.join_timeout(BRIEFLY).unwrap());
    again.ack().unwrap();
    fresh.ack().unwrap();
    queue.task_done().unwrap();
    queue.join().unwrap();
    assert!(format!("{queue:?}").contains("bytes: 0"), "{queue:?}");
}

#[test]
fn a_lease_comes_to_who_waits_also_by_a_panic() {
    let queue = Queue::unbounded().unwrap();
    queue.put("fragile".to_owned()).unwrap();
    let lease = queue.get_leased().unwrap();
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || queue.get_leased().map(|lease| lease.attempt()).unwrap());
        getter.until_asleep();
        let _panic = catch_unwind(AssertUnwindSafe(move || {
            let _lease = lease;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert_eq!(getter.join(), 2);
    });
    let lease = queue.get_leased().unwrap();
    assert_eq!(lease.attempt(), 3);
    std::mem::forget(lease);
    drop(queue.clone());
    assert!(queue.try_get_leased().unwrap_err().is_empty(), "for as long as the process has the queue");
}

#[test]
fn a_queue_takes_part_in_waiting_for_many_things() {
    let queue = Queue::<u8>::unbounded().unwrap();
    let (near, far) = pipe::<u8, u8>().unwrap();
    let ready = queue.readiness();
    let sources: [&dyn AsFd; 2] = [&near, &ready];
    let begin = Instant::now();
    assert!(wait(&sources, BRIEFLY * 5).unwrap().is_empty());
    assert!(begin.elapsed() >= BRIEFLY * 5);
    for _ in 0..3 {
        queue.put(1).unwrap();
        assert_eq!(wait(&sources, None).unwrap(), [1]);
        assert_eq!(queue.get().unwrap(), 1);
        assert!(wait(&sources, Duration::ZERO).unwrap().is_empty());
    }
    thread::scope(|scope| {
        let waiters = [(); 2].map(|()| {
            asleep::spawn(scope, || {
                let ready = queue.readiness();
                wait(&[&ready], None).unwrap()
            })
        });
        waiters.iter().for_each(asleep::Watched::until_asleep);
        queue.put(1).unwrap();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join(), [0]));
    });
    let lease = queue.get_leased().unwrap();
    assert!(wait(&sources, Duration::ZERO).unwrap().is_empty());
    drop(lease);
    far.send(&1).unwrap();
    assert_eq!(wait(&sources, None).unwrap(), [0, 1]);
    queue.clear().unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(wait(&[&ready], None).unwrap(), [0], "a get would not wait");
}

#[test]
fn a_queue_is_itself_wherever_it_is_sent_and_of_one_type() {
    let queue = Queue::<u64>::bounded(2).unwrap();
    let (near, far) = pipe::<Queue<u64>, ()>().unwrap();
    near.send(&queue).unwrap();
    let twin = far.recv().unwrap();
    assert!(twin == queue && twin == queue.clone() && twin != Queue::bounded(2).unwrap());
    queue.put(7).unwrap();
    assert_eq!((twin.len(), twin.capacity()), (1, Some(2)));
    // The twin sits in a seat of its own, and reports what the other got.
    assert_eq!(queue.get().unwrap(), 7);
    twin.task_done().unwrap();
    assert_eq!(twin.task_done(), Err(TooManyTaskDone));
    twin.put(8).unwrap();
    std::mem::forget(twin.get_leased().unwrap());
    near.send(&queue).unwrap();
    let other: Connection<(), Queue<i64>> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    drop(far);
    assert!(matches!(other.recv().unwrap_err(), RecvError::Decode(why) if why.contains("of another type")));
}

#[test]
fn a_process_that_receives_the_queue_again_and_again_has_one_seat() {
    const ROUNDS: u32 = 2_000;
    let queue = Queue::unbounded().unwrap();
    let (near, far) = pipe::<Queue<u32>, ()>().unwrap();
    for round in 0..ROUNDS {
        queue.put(round).unwrap();
        near.send(&queue).unwrap();
        assert_eq!(far.recv().unwrap().get().unwrap(), round);
    }
    assert_eq!(queue.unfinished().unwrap(), ROUNDS as usize);
    near.send(&queue).unwrap();
    let again = far.recv().unwrap();
    (0..ROUNDS).for_each(|_| again.task_done().unwrap());
    assert_eq!(again.task_done(), Err(TooManyTaskDone));
    assert!(queue.join_timeout(Duration::ZERO).unwrap());
}

#[test]
fn closing_a_handle_gives_its_leases_back_and_leaves_the_others() {
    let queue = Queue::unbounded().unwrap();
    let (near, far) = pipe::<Queue<u64>, ()>().unwrap();
    near.send(&queue).unwrap();
    let twin = far.recv().unwrap();
    queue.put(7).unwrap();
    let lease = twin.get_leased().unwrap();
    twin.close();
    assert!(queue.try_get().is_err(), "a lease has the queue, too");
    drop(lease);
    assert_eq!(queue.get().unwrap(), 7);
}

#[test]
fn a_queue_that_was_shut_down_is_ready_when_nothing_can_come_back() {
    let queue = Queue::<u8>::unbounded().unwrap();
    let (near, far) = pipe::<Queue<u8>, ()>().unwrap();
    near.send(&queue).unwrap();
    let twin = far.recv().unwrap();
    queue.put(7).unwrap();
    let lease = twin.get_leased().unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    let (ready, theirs) = (queue.readiness(), twin.readiness());
    assert!(queue.try_get().unwrap_err().is_empty() && twin.try_get().unwrap_err().is_shut_down());
    assert_eq!(wait(&[&ready, &theirs], Duration::ZERO).unwrap(), [1], "its own lease comes back by itself only");
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || wait(&[&ready], None).unwrap());
        waiter.until_asleep();
        lease.ack().unwrap();
        assert_eq!(waiter.join(), [0]);
    });
    assert!(queue.try_get().unwrap_err().is_shut_down());
}
