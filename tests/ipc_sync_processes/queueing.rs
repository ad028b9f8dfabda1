//! Queues between processes: who takes, who dies, who is stopped.

use std::time::Instant;

use crewkit::ipc::{GetError, LockError, PutError, Queue, wait};
use crewkit::pool::Pool;
use crewkit::process::{Builder, Process, StartMethod};
use crewkit::queue::Shutdown;
use nix::sys::signal::{Signal, kill};

use crate::alone::{fork, open_fds};
use crate::holders::{BRIEFLY, SOON, holder, mappings, stop};
use crate::support::sleeper;

pub(crate) fn items_go_between_processes_each_once() {
    const EACH: u64 = 2_000;
    let queue = Queue::with_bytes(16, 4096).unwrap();
    let results = Queue::<(u64, u64)>::unbounded().unwrap();
    let produce = |queue: Queue<u64>| (1..=EACH).try_for_each(|number| queue.put(number)).is_ok();
    let consume = |(queue, results): (Queue<u64>, Queue<(u64, u64)>)| {
        let (mut count, mut sum) = (0, 0);
        for number in &queue {
            (count, sum) = (count + 1, sum + number.unwrap());
            queue.task_done().is_ok().then_some(()).unwrap();
        }
        results.put((count, sum)).is_ok()
    };
    let producers = [0; 2].map(|_| Process::spawn(produce, queue.clone()).unwrap());
    let consumers = [0; 2].map(|_| Process::spawn(consume, (queue.clone(), results.clone())).unwrap());
    assert!(producers.into_iter().all(|producer| producer.join().unwrap()));
    queue.join().unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert!(consumers.into_iter().all(|consumer| consumer.join().unwrap()));
    let total =
        results.try_iter().map(Result::unwrap).fold((0, 0), |(count, sum), (more, added)| (count + more, sum + added));
    assert_eq!(total, (2 * EACH, EACH * (EACH + 1)));
}

pub(crate) fn a_lease_of_the_killed_is_handed_out_again() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put_many([1, 2]).unwrap();
    for attempt in 1..4 {
        let holder = holder(&queue, |queue| {
            std::mem::forget(queue.get_leased().unwrap());
            std::mem::forget(queue.get_leased().unwrap());
        });
        assert!(queue.try_get().unwrap_err().is_empty());
        holder.child.kill();
        let lease = queue.try_get_leased().unwrap();
        assert_eq!((*lease, lease.attempt()), (1, 2 * attempt), "a try finds it, too");
    }
    assert_eq!(queue.get_many(9).unwrap(), [1, 2]);
}

pub(crate) fn a_lease_of_the_killed_comes_to_who_waits() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put_many([1, 2]).unwrap();
    let holder = holder(&queue, |queue| {
        std::mem::forget(queue.get_leased().unwrap());
        std::mem::forget(queue.get_leased().unwrap());
    });
    let waiters = [(); 2].map(|()| {
        sleeper(&queue, |queue| {
            let lease = queue.get_leased_timeout(SOON).unwrap();
            i32::from(lease.attempt() != 2 || lease.ack().is_err())
        })
    });
    holder.child.kill();
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.exit_code(), 0));
    assert!(queue.join_timeout(SOON).unwrap());
}

pub(crate) fn a_lease_of_the_killed_comes_to_who_waits_for_many_things() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put(1).unwrap();
    let holder = holder(&queue, |queue| std::mem::forget(queue.get_leased().unwrap()));
    let waiters = [(); 2].map(|()| {
        sleeper(&queue, |queue| {
            let ready = queue.readiness();
            // Both see it, and get it from one another.
            while wait(&[&ready], SOON).unwrap() == [0] {
                if let Ok(lease) = queue.try_get_leased() {
                    return i32::from(lease.attempt() < 2 || lease.requeue().is_err());
                }
            }
            1
        })
    });
    holder.child.kill();
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.exit_code(), 0));
    assert_eq!(queue.try_get().unwrap(), 1);
}

pub(crate) fn a_lease_of_the_killed_comes_back_in_a_queue_that_never_runs_empty() {
    // Room for all that is put meanwhile: a lease keeps that of what is got behind it.
    let queue = Queue::<u64>::with_bytes(0, 1 << 24).unwrap();
    let mut put = 2;
    queue.put_many(0..put).unwrap();
    let mut next = 0;
    for _ in 0..3 {
        let leased = next;
        next += 1;
        let holder = holder(&queue, |queue| std::mem::forget(queue.get_leased().unwrap()));
        holder.child.kill();
        loop {
            let got = queue.get().unwrap();
            queue.try_put(put).expect("it is back before the room is used up");
            put += 1;
            if got == leased {
                break;
            }
            assert_eq!(got, next);
            next += 1;
        }
    }
}

pub(crate) fn what_the_killed_had_got_hangs_nobody() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put_many([1, 2]).unwrap();
    let holder = holder(&queue, |queue| assert_eq!(queue.get_many(2).unwrap(), [1, 2]));
    assert!(format!("{queue:?}").contains(&format!("{}: 2", holder.child.pid())), "{queue:?}");
    assert!(!queue.join_timeout(BRIEFLY).unwrap());
    let joiner = sleeper(&queue, |queue| i32::from(!queue.join_timeout(SOON).unwrap()));
    holder.child.kill();
    assert_eq!(joiner.exit_code(), 0);
    assert_eq!(queue.unfinished().unwrap(), 0);
}

pub(crate) fn an_item_is_reported_done_by_another_process() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put(1).unwrap();
    let got = Process::spawn(|queue: Queue<u8>| queue.get().is_ok() && queue.task_done().is_ok(), queue.clone());
    assert!(got.unwrap().join().unwrap());
    queue.put(2).unwrap();
    let holder = holder(&queue, |queue| assert_eq!(queue.get().unwrap(), 2));
    queue.task_done().unwrap();
    queue.task_done().unwrap_err();
    queue.join().unwrap();
    holder.child.kill();
}

/// Who puts and takes without an end is stopped, at whatever instruction, also with a mutex: nobody waits for longer than it
/// wants to, and all is in order when it goes on.
pub(crate) fn a_stopped_user_holds_up_nobody_beyond_the_timeout() {
    let queue = Queue::<u64>::bounded(4).unwrap();
    let (end, busy) = crate::alone::peer::<Queue<u64>, (), ()>(|end| {
        let queue = end.recv().unwrap();
        end.send(&()).unwrap();
        loop {
            let _ = queue.try_put(1);
            let _ = queue.try_get();
        }
    });
    end.send(&queue).unwrap();
    end.recv_timeout(SOON).unwrap();
    for _ in 0..50 {
        stop(&busy);
        let begin = Instant::now();
        assert!(queue.put_timeout(2, BRIEFLY).err().is_none_or(|error| error.is_full()));
        assert!(queue.get_timeout(BRIEFLY).err().is_none_or(|error| error.is_empty()));
        assert!(queue.try_put(2).err().is_none_or(|error| error.is_full()));
        assert!(queue.try_get().err().is_none_or(|error| error.is_empty()));
        let _done_or_not = queue.join_timeout(BRIEFLY).unwrap();
        let in_time = |error: LockError| assert!(matches!(error, LockError::Timeout), "{error}");
        if let Ok(lease) = queue.try_get_leased() {
            let acknowledged = lease.ack_timeout(BRIEFLY);
            let given_back = acknowledged.map_err(|error| error.into_inner().requeue_timeout(BRIEFLY));
            assert!(given_back.err().is_none_or(|given_back| given_back.err().is_none_or(|error| error.is_timeout())));
        }
        drop(queue.try_get_leased());
        queue.unfinished_timeout(BRIEFLY).map_or_else(in_time, drop);
        queue.task_done_timeout(BRIEFLY).map_or_else(in_time, drop);
        queue.clear_timeout(BRIEFLY).unwrap_or_else(in_time);
        assert!(begin.elapsed() < SOON);
        kill(busy.pid(), Signal::SIGCONT).unwrap();
    }
    busy.kill();
    queue.clear().unwrap();
    queue.put_timeout(3, SOON).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), 3);
}

/// The same of the end of all that: it comes in time or not at all, and nobody puts after it.
pub(crate) fn a_stopped_user_does_not_hold_up_a_shut_down() {
    let in_time = |mode, is_busy: fn(Queue<u64>)| {
        let queue = Queue::<u64>::bounded(4).unwrap();
        let (end, busy) = crate::alone::peer::<Queue<u64>, (), ()>(|end| {
            let queue = end.recv().unwrap();
            end.send(&()).unwrap();
            is_busy(queue);
        });
        end.send(&queue).unwrap();
        end.recv_timeout(SOON).unwrap();
        stop(&busy);
        let begin = Instant::now();
        let ended = queue.shutdown_timeout(mode, BRIEFLY);
        assert!(begin.elapsed() < SOON);
        assert!(ended.is_ok() == queue.is_shut_down() && ended.err().is_none_or(|e| matches!(e, LockError::Timeout)));
        assert_eq!(queue.put_timeout(1, BRIEFLY).is_err_and(|error| error.is_shut_down()), queue.is_shut_down());
        busy.kill();
        queue.shutdown(mode).unwrap();
        assert!(queue.get_timeout(SOON).is_ok() || queue.get_timeout(SOON).unwrap_err().is_shut_down());
    };
    for _ in 0..20 {
        in_time(Shutdown::Drain, |queue| {
            loop {
                let _ = queue.try_put(1);
            }
        });
        in_time(Shutdown::Immediate, |queue| {
            loop {
                let _ = queue.try_get();
            }
        });
    }
}

pub(crate) fn a_killed_waiter_keeps_nothing_from_others_at_a_queue() {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let waiters = [(); 2].map(|()| sleeper(&queue, |queue| i32::from(queue.get_timeout(SOON).is_err())));
    let [first, second] = waiters;
    first.kill();
    queue.put(1).unwrap();
    assert_eq!(second.exit_code(), 0);
    queue.put(2).unwrap();
    let waiters = [(); 2].map(|()| sleeper(&queue, |queue| i32::from(queue.put_timeout(3, SOON).is_err())));
    let [first, second] = waiters;
    first.kill();
    assert_eq!(queue.get().unwrap(), 2);
    assert_eq!(second.exit_code(), 0);
    assert_eq!(queue.get().unwrap(), 3);
}

pub(crate) fn a_drain_waits_for_leases_of_others() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put(1).unwrap();
    let holder = holder(&queue, |queue| std::mem::forget(queue.get_leased().unwrap()));
    queue.shutdown(Shutdown::Drain).unwrap();
    assert!(queue.get_timeout(BRIEFLY).unwrap_err().is_empty(), "it may come back");
    let waiter = sleeper(&queue, |queue| {
        let lease = queue.get_leased_timeout(SOON).unwrap();
        i32::from(lease.attempt() != 2 || lease.ack().is_err() || !queue.get().unwrap_err().is_shut_down())
    });
    holder.child.kill();
    assert_eq!(waiter.exit_code(), 0);
    assert!(queue.get().unwrap_err().is_shut_down());
}

pub(crate) fn readiness_is_seen_in_other_processes() {
    let queue = Queue::<u8>::unbounded().unwrap();
    let waiters = [(); 2].map(|()| {
        sleeper(&queue, |queue| {
            let begin = Instant::now();
            let ready = wait(&[&queue.readiness()], SOON).unwrap();
            i32::from(ready != [0] || begin.elapsed() >= SOON)
        })
    });
    queue.put(1).unwrap();
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.exit_code(), 0));
}

pub(crate) fn an_inherited_queue_is_foreign() {
    let queue = Queue::<u8>::unbounded().unwrap();
    queue.put(1).unwrap();
    let mut lease = Some(queue.get_leased().unwrap());
    let child = fork(|| {
        let foreign = |error: GetError| matches!(error, GetError::Unusable(LockError::ForeignProcess));
        assert!(matches!(queue.put(2), Err(PutError::Unusable { error: LockError::ForeignProcess, .. })));
        assert!(foreign(queue.get().unwrap_err()) && foreign(queue.try_get_leased().unwrap_err()));
        assert!(queue.task_done().is_err() && queue.shutdown(Shutdown::Drain).is_err());
        assert!(matches!(lease.take().unwrap().ack(), Err(LockError::ForeignProcess)));
    });
    assert_eq!(child.exit_code(), 0);
    // What the child did with its copy of the lease is nothing to the queue.
    assert!(queue.try_get().unwrap_err().is_empty());
}

pub(crate) fn queues_travel_by_every_start_method_and_to_pools() {
    let queue = Queue::<u64>::unbounded().unwrap();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let put = |queue: Queue<u64>| queue.put(7).is_ok();
        assert!(Builder::new().start_method(method).spawn(put, queue.clone()).unwrap().join().unwrap());
        assert_eq!(queue.get_timeout(SOON).unwrap(), 7);
    }
    let captured = queue.clone();
    let forked = Process::fork(move || captured.put(8).is_ok()).unwrap();
    assert!(forked.join().unwrap());
    assert_eq!(queue.get_timeout(SOON).unwrap(), 8);
    let pool = Pool::new(2).unwrap();
    let put = |(queue, number): (Queue<u64>, u64)| queue.put(number).is_ok();
    let tasks: Vec<_> = (0..10).map(|number| (queue.clone(), number)).collect();
    assert!(pool.map(put, tasks).unwrap().into_iter().all(|is_put| is_put));
    assert_eq!(queue.try_iter().map(Result::unwrap).sum::<u64>(), 45);
}

pub(crate) fn a_queue_leaves_nothing_behind() {
    let (fds, maps) = (open_fds(), mappings());
    {
        let queue = Queue::<u8>::unbounded().unwrap();
        assert_eq!((open_fds() - fds, mappings() - maps), (2, 1), "what a queue costs");
        let ready = queue.readiness();
        assert_eq!(open_fds() - fds, 3);
        drop(ready);
        let holder = holder(&queue, |queue| queue.put(1).unwrap());
        holder.child.kill();
        assert_eq!(queue.get().unwrap(), 1);
    }
    assert_eq!((open_fds(), mappings()), (fds, maps));
}
