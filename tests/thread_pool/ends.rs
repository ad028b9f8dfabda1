//! The end of a pool: closed, joined, terminated, shut down, dropped, in whatever order with what came from it.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crewkit::pool::{Task, TaskError, ThreadPool};
use crewkit::sync::Event;

use crate::support::{Held, LONG, in_time, telling};

#[test]
fn a_closed_pool_does_what_it_has_and_takes_nothing_more() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let held = [Held::new(&pool), Held::new(&pool)];
        let tasks: Vec<Task<u64>> = (0..20).map(|n| pool.submit(|n: u64| n, n)).collect();
        pool.close();
        assert_eq!(pool.apply(|n: u64| n, 1), Err(TaskError::PoolClosed));
        let error = pool.map(|n: u64| n, 0..3).unwrap_err();
        assert_eq!((error.index, &error.error, error.results), (0, &TaskError::PoolClosed, vec![None; 3]));
        let error = pool.map_async(|n: u64| n, 0..3).get().unwrap_err();
        assert_eq!((error.index, &error.error, error.results), (0, &TaskError::PoolClosed, vec![None; 3]));
        assert_eq!(pool.imap_unordered(|n: u64| n, 0..3).filter(Result::is_err).count(), 3);
        held.iter().for_each(Held::let_go);
        pool.join();
        assert!(tasks.iter().all(Task::is_ready));
        assert!(tasks.into_iter().zip(0..).all(|(task, n)| task.get() == Ok(n)));
        pool.join();
    });
}

#[test]
fn a_closed_pool_does_what_its_tasks_call_in_turn() {
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let held = Held::new(&pool);
        let map = pool.map_async(|n: u64| n, 0..10);
        let inner = Arc::clone(&pool);
        let all = move |count: u64| {
            let tasks: Vec<Task<u64>> = (0..count).map(|n| inner.submit(|n: u64| n, n)).collect();
            let sums = [inner.map(|n| n, 0..count).unwrap(), inner.imap(|n| n, 0..count).map(Result::unwrap).collect()];
            let one_by_one = tasks.into_iter().map(|task| task.get().unwrap()).sum::<u64>();
            sums.iter().map(|results| results.iter().sum::<u64>()).sum::<u64>() + one_by_one
        };
        let nested = pool.submit(all, 5);
        pool.close();
        held.let_go();
        assert_eq!(map.get().unwrap(), (0..10).collect::<Vec<_>>());
        assert_eq!(nested.get(), Ok(30));
        assert_eq!(pool.apply(|n: u64| n, 1), Err(TaskError::PoolClosed), "this one comes from elsewhere");
        pool.join();
    });
}

#[test]
fn when_a_join_returns_the_threads_have_ended() {
    thread_local! {
        static LAST_WORDS: std::cell::RefCell<Option<crate::support::Tell>> = const { std::cell::RefCell::new(None) };
    }
    for _ in 0..20 {
        let pool = ThreadPool::new(2).unwrap();
        let (tell, told) = telling();
        let leave = move |()| LAST_WORDS.set(Some(tell));
        pool.apply(leave, ()).unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| pool.join());
            }
        });
        assert!(told.try_recv().is_ok());
    }
}

#[test]
fn a_thread_at_its_end_may_use_the_pool_that_is_joined() {
    /// Uses the pool when it is dropped.
    struct LastWish(Weak<ThreadPool>);
    impl Drop for LastWish {
        fn drop(&mut self) {
            let pool = self.0.upgrade().unwrap();
            pool.resize(2).unwrap();
            assert_eq!(pool.apply(|n: u64| n, 1), Err(TaskError::PoolClosed));
        }
    }
    thread_local! {
        static WISH: std::cell::RefCell<Option<LastWish>> = const { std::cell::RefCell::new(None) };
    }
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let wish = LastWish(Arc::downgrade(&pool));
        pool.apply(|wish| WISH.set(Some(wish)), wish).unwrap();
        pool.join();
    });
}

#[test]
fn termination_returns_what_has_not_begun_at_once() {
    in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let held = Held::new(&pool);
        let waiting: Vec<Task<u64>> = (0..4).map(|n| pool.submit(|n: u64| n, n)).collect();
        let map = thread::scope(|scope| {
            let map = scope.spawn(|| pool.map(|n: u64| n, 0..3));
            while pool.stats().queued < 5 {
                thread::yield_now();
            }
            pool.terminate();
            map.join().unwrap()
        });
        let error = map.unwrap_err();
        assert_eq!((error.index, &error.error, error.results), (0, &TaskError::PoolClosed, vec![None; 3]));
        for task in waiting {
            assert!(task.is_ready());
            assert_eq!(task.get(), Err(TaskError::PoolClosed));
        }
        assert_eq!(pool.apply(|n: u64| n, 1), Err(TaskError::PoolClosed));
        held.let_go();
        assert_eq!(held.task.get(), Ok(7), "what has begun runs to its end");
        pool.join();
    });
}

#[test]
fn termination_ends_a_map_in_its_middle() {
    in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let (begun, go) = (Event::new(), Event::new());
        let call = |n: u64| {
            begun.set();
            assert!(go.wait_timeout(LONG));
            n
        };
        let error = thread::scope(|scope| {
            let map = scope.spawn(|| pool.with().chunksize(2).map(call, 0..10));
            assert!(begun.wait_timeout(LONG));
            pool.terminate();
            go.set();
            map.join().unwrap().unwrap_err()
        });
        assert_eq!((error.index, error.error), (2, TaskError::PoolClosed));
        assert_eq!(error.results[..3], [Some(0), Some(1), None]);
        assert_eq!(error.results.len(), 10);
    });
}

#[test]
fn shutdown_says_whether_everything_was_done() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let tasks: Vec<Task<u64>> = (0..10).map(|n| pool.submit(|n: u64| n, n)).collect();
        assert!(pool.shutdown(LONG));
        assert!(tasks.iter().all(Task::is_successful));

        let pool = ThreadPool::new(1).unwrap();
        let held = Held::new(&pool);
        let waiting = pool.submit(|n: u64| n, 1);
        assert!(!pool.shutdown(Duration::from_millis(10)));
        assert_eq!(waiting.get(), Err(TaskError::PoolClosed));
        held.let_go();
        pool.join();
        assert_eq!(held.task.get(), Ok(7));
    });
}

#[test]
fn tasks_and_iterators_outlive_their_pool() {
    in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let done = pool.submit(|n: u64| n, 1);
        done.wait();
        let held = Held::new(&pool);
        let waiting = pool.submit(|n: u64| n, 2);
        let map = pool.map_async(|n: u64| n, 0..2);
        let mut imap = pool.imap(|n: u64| n, 0..3);
        drop(pool);
        assert_eq!(done.get(), Ok(1));
        assert_eq!(waiting.get(), Err(TaskError::PoolClosed));
        assert_eq!(map.get().unwrap_err().error, TaskError::PoolClosed);
        assert_eq!(imap.next(), Some(Err(TaskError::PoolClosed)));
        drop(imap);
        held.let_go();
        assert_eq!(held.task.get(), Ok(7));
    });
}

#[test]
fn the_threads_of_a_dropped_pool_leave_when_they_are_done() {
    in_time(|| {
        let (tell, told) = telling();
        let tell = Arc::new(tell);
        let keep = Arc::clone(&tell);
        // What the initializer holds is the threads'.
        let pool = ThreadPool::builder().workers(2).initializer(move || assert!(Arc::strong_count(&keep) > 0));
        let pool = pool.build().unwrap();
        let held = Held::new(&pool);
        drop((pool, tell));
        assert!(told.try_recv().is_err());
        held.let_go();
        drop(held);
        assert!(told.recv_timeout(LONG).is_ok());
    });
}

#[test]
fn pools_and_tasks_are_dropped_in_any_order_under_load() {
    in_time(|| {
        for round in 0..200 {
            let pool = ThreadPool::new(2).unwrap();
            let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.submit(|n: u64| n, n)).collect();
            let mut imap = pool.imap_unordered(|n: u64| n, 0..);
            let _first = imap.next();
            match round % 3 {
                0 => drop((pool, imap, tasks)),
                1 => drop((imap, tasks, pool)),
                _ => {
                    drop(pool);
                    for (n, task) in (0..).zip(tasks) {
                        // All of them began before the iterator's first item.
                        assert_eq!(task.get(), Ok(n));
                    }
                }
            }
        }
    });
}
