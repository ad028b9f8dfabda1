//! Tasks that use their own pool, down to a pool of one thread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crewkit::pool::{Task, TaskError, ThreadPool};
use crewkit::sync::Lock;

use crate::support::{Held, in_time};

fn fibonacci(pool: &Arc<ThreadPool>, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let branch = |less: u64| {
        let inner = Arc::clone(pool);
        pool.submit(move |n| fibonacci(&inner, n), n - less)
    };
    let (one, two) = (branch(1), branch(2));
    one.get().unwrap() + two.get().unwrap()
}

#[test]
fn tasks_wait_for_tasks_of_the_same_pool() {
    for workers in [1, 2, 4] {
        in_time(move || {
            let pool = Arc::new(ThreadPool::new(workers).unwrap());
            let inner = Arc::clone(&pool);
            assert_eq!(pool.apply(move |n| fibonacci(&inner, n), 16), Ok(987));
            assert_eq!(pool.stats().queued, 0);
            pool.join();
        });
    }
}

#[test]
fn every_way_to_call_works_inside_a_task() {
    for workers in [1, 2] {
        in_time(move || {
            let pool = Arc::new(ThreadPool::new(workers).unwrap());
            let inner = Arc::clone(&pool);
            let all = move |count: u64| {
                let pool = &*inner;
                let map: u64 = pool.map(|n| n + 1, 0..count).unwrap().iter().sum();
                let results = pool.map_results(|n| n + 1, 0..count).into_iter().map(Result::unwrap).sum::<u64>();
                let later: u64 = pool.map_async(|n| n + 1, 0..count).get().unwrap().iter().sum();
                let imap: u64 = pool.imap(|n| n + 1, 0..count).map(Result::unwrap).sum();
                let unordered: u64 = pool.imap_unordered(|n| n + 1, 0..count).map(Result::unwrap).sum();
                let apply = pool.apply(|n: u64| n * (n + 1) / 2, count).unwrap();
                [map, results, later, imap, unordered, apply]
            };
            // As many at once as there are workers, and more.
            let tasks: Vec<Task<[u64; 6]>> = (0..8).map(|_| pool.submit(all.clone(), 100)).collect();
            for task in tasks {
                assert_eq!(task.get(), Ok([5_050; 6]));
            }
        });
    }
}

/// Polls until it is ready, and sleeps in between.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        thread::park();
    }
}

#[test]
fn a_task_may_await_tasks_of_the_same_pool() {
    for workers in [1, 2] {
        in_time(move || {
            let pool = Arc::new(ThreadPool::new(workers).unwrap());
            let inner = Arc::clone(&pool);
            let sum = move |count: u64| {
                let tasks: Vec<Task<u64>> = (0..count).map(|n| inner.submit(|n: u64| n, n)).collect();
                block_on(async {
                    let mut sum = 0;
                    for task in tasks {
                        sum += task.await.unwrap();
                    }
                    sum
                })
            };
            assert_eq!(block_on(pool.submit(sum, 100)), Ok(4_950));
            assert_eq!(pool.stats().queued, 0);
        });
    }
}

#[test]
fn maps_nest() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let square =
            |row: u64| -> u64 { pool.map(|n| pool.map(|m| n * m, 0..4).unwrap().len(), 0..row).unwrap().len() as u64 };
        assert_eq!(pool.map(square, 0..20).unwrap(), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_map_may_take_its_items_from_the_pool() {
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(2).unwrap());
        let items =
            (0..50).map(|n: u64| pool.map(|m| m, 0..n).unwrap().len() as u64 + pool.apply(|n: u64| n, n).unwrap());
        assert_eq!(pool.map(|n| n, items).unwrap(), (0..50).map(|n| 2 * n).collect::<Vec<_>>());
        assert_eq!(pool.map(|n: Result<u64, TaskError>| n.unwrap(), pool.imap(|n: u64| n, 0..50)).unwrap().len(), 50);
    });
}

#[test]
fn who_waits_runs_nothing_but_what_it_waits_for() {
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(2).unwrap());
        let lock = Arc::new(Lock::new(0));
        let Held { task, go } = Held::new(&pool);
        let (inner, outer_lock) = (Arc::clone(&pool), Arc::clone(&lock));
        // Holds a lock, waits for a task that runs elsewhere, and another that wants the lock stands in the queue.
        let (send, receive) = std::sync::mpsc::channel();
        let outer = pool.submit(
            move |task: Task<u64>| {
                let mut total = outer_lock.lock();
                let wants = Arc::clone(&outer_lock);
                send.send(inner.submit(move |()| *wants.lock() += 1, ())).unwrap();
                *total += task.get().unwrap();
            },
            task,
        );
        let other = receive.recv().unwrap();
        // Time enough for the waiting worker to take the other task, if it did such things.
        assert!(!other.wait_timeout(Duration::from_millis(50)));
        assert_eq!(pool.stats().queued, 1);
        go.set();
        assert_eq!((outer.get(), other.get()), (Ok(()), Ok(())));
        assert_eq!(*lock.lock(), 8);
    });
}

#[test]
fn a_task_may_close_join_and_drop_its_own_pool() {
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let inner = Arc::clone(&pool);
        let joins = pool.submit(
            move |()| {
                inner.join();
                let done = inner.apply(|n: u64| n, 1);
                (done, inner.shutdown(Duration::ZERO))
            },
            (),
        );
        assert_eq!(joins.get(), Ok((Ok(1), false)));
        pool.join();

        let pool = ThreadPool::new(1).unwrap();
        let held = Held::new(&pool);
        let slot = Arc::new(Lock::new(None));
        let inner = Arc::clone(&slot);
        let drops = pool.submit(move |()| drop(inner.lock().take()), ());
        *slot.lock() = Some(pool);
        held.let_go();
        assert_eq!(drops.get(), Ok(()));
        assert!(slot.lock().is_none());
    });
}

#[test]
fn a_recursion_leaves_nothing_behind() {
    fn descend(pool: &Arc<ThreadPool>, depth: usize) -> usize {
        if depth == 0 {
            return pool.stats().queued;
        }
        let branch = || {
            let inner = Arc::clone(pool);
            pool.submit(move |depth| descend(&inner, depth), depth - 1)
        };
        branch().get().unwrap().max(branch().get().unwrap())
    }
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let inner = Arc::clone(&pool);
        assert_eq!(pool.apply(move |depth| descend(&inner, depth), 10), Ok(0));
        assert_eq!(pool.stats().completed, (1 << 11) - 1);
    });
}
