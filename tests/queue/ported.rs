//! The cases of CPython 3.13's `test_queue.py`, under their names there, for every type. `tests/ported/test_queue.md` lists
//! them, with those that became something else.

#![expect(clippy::unwrap_used, reason = "several cases share a body")]

use super::{Subject, order};
use crate::asleep::{self, PATIENCE, Watched};
use crewkit::queue::{GetError, PutError, Shutdown, TooManyTaskDone};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

const QUEUE_SIZE: u32 = 5;

fn basic_queue_test(queue: &Subject<u32>) {
    assert!(queue.is_empty() && !queue.is_full());
    for item in [111, 333, 222] {
        queue.put(item).unwrap();
    }
    assert_eq!([(); 3].map(|()| queue.get().unwrap()).to_vec(), order(vec![111, 333, 222]));
    for item in 0..QUEUE_SIZE - 1 {
        queue.put(item).unwrap();
        assert_ne!(queue.len(), 0);
    }
    assert!(!queue.is_full());
    let (last, full) = (2 * QUEUE_SIZE, 3 * 2 * QUEUE_SIZE);
    queue.put(last).unwrap();
    assert!(queue.is_full() && !queue.is_empty());
    assert_eq!(queue.try_put(full), Err(PutError::Full(full)));
    assert_eq!(queue.put_timeout(full, Duration::from_millis(10)), Err(PutError::Full(full)));
    blocks(|| queue.put(full), || queue.get()).unwrap();
    blocks(|| queue.put_timeout(full, PATIENCE), || queue.get()).unwrap();
    for _ in 0..QUEUE_SIZE {
        queue.get().unwrap();
    }
    assert!(queue.is_empty());
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(Duration::from_millis(10)), Err(GetError::Empty));
    assert_eq!(blocks(|| queue.get(), || queue.put(1)), Ok(1));
    assert_eq!(blocks(|| queue.get_timeout(PATIENCE), || queue.put(2)), Ok(2));
}

/// Python's `do_blocking_test`: `blocking` does block, until `trigger`.
fn blocks<T: Send, R, E: Debug>(blocking: impl FnOnce() -> T + Send, trigger: impl FnOnce() -> Result<R, E>) -> T {
    thread::scope(|scope| {
        let blocked = asleep::spawn(scope, blocking);
        blocked.until_asleep();
        assert!(!blocked.handle.is_finished());
        drop(trigger().unwrap());
        blocked.join()
    })
}

#[test]
fn test_basic() {
    let queue = Subject::bounded(QUEUE_SIZE as usize);
    basic_queue_test(&queue);
    basic_queue_test(&queue);
}

#[test]
fn test_nowait() {
    let queue = Subject::bounded(QUEUE_SIZE as usize);
    for _ in 0..QUEUE_SIZE {
        queue.try_put(1).unwrap();
    }
    assert_eq!(queue.try_put(1), Err(PutError::Full(1)));
    for _ in 0..QUEUE_SIZE {
        assert_eq!(queue.try_get(), Ok(1));
    }
    assert_eq!(queue.try_get(), Err(GetError::Empty));
}

#[test]
fn test_shrinking_queue() {
    let queue = Subject::bounded(3);
    for item in 1..=3 {
        queue.put(item).unwrap();
    }
    assert_eq!(queue.try_put(4), Err(PutError::Full(4)));
    assert_eq!(queue.len(), 3);
    queue.set_capacity(2);
    assert_eq!(queue.try_put(4), Err(PutError::Full(4)));
}

#[test]
fn test_queue_task_done() {
    assert_eq!(Subject::<u32>::unbounded().task_done(), Err(TooManyTaskDone));
}

#[test]
fn test_queue_join() {
    let queue = Subject::unbounded();
    for _ in 0..2 {
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(item) = queue.get().unwrap() {
                        sum.fetch_add(item, Ordering::Relaxed);
                        queue.task_done().unwrap();
                    }
                    queue.task_done().unwrap();
                });
            }
            for item in 0..100 {
                queue.put(Some(item)).unwrap();
            }
            queue.join();
            assert_eq!(sum.load(Ordering::Relaxed), (0..100).sum());
            queue.put(None).unwrap();
            queue.put(None).unwrap();
            queue.join();
        });
    }
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
}

#[test]
fn test_shutdown_empty() {
    let queue = Subject::unbounded();
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.put("data"), Err(PutError::ShutDown("data")));
    assert_eq!(queue.get(), Err(GetError::ShutDown));
}

#[test]
fn test_shutdown_nonempty() {
    let queue = Subject::unbounded();
    queue.put("data").unwrap();
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.get(), Ok("data"));
    assert_eq!(queue.get(), Err(GetError::ShutDown));
}

#[test]
fn test_shutdown_immediate() {
    let queue = Subject::unbounded();
    queue.put("data").unwrap();
    queue.shutdown(Shutdown::Immediate);
    assert_eq!(queue.get(), Err(GetError::ShutDown));
}

#[test]
fn test_shutdown_allowed_transitions() {
    let queue = Subject::<u32>::unbounded();
    assert!(!queue.is_shut_down());
    for mode in [Shutdown::Drain, Shutdown::Immediate, Shutdown::Drain] {
        queue.shutdown(mode);
        assert!(queue.is_shut_down());
    }
}

/// A queue of two, full, that was then shut down.
fn full_and_shut_down(mode: Shutdown) -> Subject<&'static str> {
    let queue = Subject::bounded(2);
    queue.put("L").unwrap();
    queue.try_put("O").unwrap();
    queue.shutdown(mode);
    assert_eq!(queue.put("E"), Err(PutError::ShutDown("E")));
    assert_eq!(queue.try_put("W"), Err(PutError::ShutDown("W")));
    queue
}

#[test]
fn test_shutdown_all_methods_in_one_thread() {
    let queue = full_and_shut_down(Shutdown::Drain);
    for expected in order(vec!["L", "O"]) {
        assert_eq!(queue.get(), Ok(expected));
        queue.task_done().unwrap();
    }
    queue.join();
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    assert_eq!(queue.get_timeout(PATIENCE), Err(GetError::ShutDown));
}

#[test]
fn test_shutdown_immediate_all_methods_in_one_thread() {
    let queue = full_and_shut_down(Shutdown::Immediate);
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.join();
}

fn shutdown_all_methods_in_many_threads(mode: Shutdown) {
    const WRITERS: usize = 4;
    const READERS: usize = 6;
    const JOINERS: usize = 2;
    const MESSAGES: usize = 64 * 1_024 / WRITERS;
    let queue = Subject::unbounded();
    let begin = Barrier::new(WRITERS + READERS + JOINERS);
    let (stop, stops) = mpsc::sync_channel(WRITERS);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            let (queue, begin, stop) = (&queue, &begin, stop.clone());
            scope.spawn(move || {
                for message in 0..MESSAGES / 4 {
                    queue.put(message).unwrap();
                }
                begin.wait();
                // Until it is told of the shutdown.
                for message in MESSAGES / 4.. {
                    if let Err(error) = queue.put(message) {
                        return assert!(error.is_shut_down());
                    }
                    if message == MESSAGES / 2 {
                        stop.send(()).unwrap();
                    }
                }
            });
        }
        for _ in 0..READERS {
            scope.spawn(|| {
                queue.get().unwrap();
                queue.task_done().unwrap();
                begin.wait();
                loop {
                    match queue.try_get() {
                        Ok(_) => queue.task_done().unwrap(),
                        Err(GetError::Empty) => thread::yield_now(),
                        Err(GetError::ShutDown) => return,
                    }
                }
            });
        }
        for _ in 0..JOINERS {
            scope.spawn(|| {
                begin.wait();
                assert!(queue.join_timeout(PATIENCE));
            });
        }
        stops.recv().unwrap();
        queue.shutdown(mode);
        assert!(mode == Shutdown::Drain || queue.is_empty());
    });
    assert!(queue.is_empty() && queue.put(0).is_err());
}

#[test]
fn test_shutdown_all_methods_in_many_threads() {
    shutdown_all_methods_in_many_threads(Shutdown::Drain);
}

#[test]
fn test_shutdown_immediate_all_methods_in_many_threads() {
    shutdown_all_methods_in_many_threads(Shutdown::Immediate);
}

/// What `count` threads get that begin before the shutdown of a full queue of two and go on after it.
fn shutdown_get(count: usize, mode: Shutdown) -> Vec<Result<&'static str, GetError>> {
    let queue = Subject::bounded(2);
    queue.put("Y").unwrap();
    queue.put("D").unwrap();
    let go = Barrier::new(count + 1);
    thread::scope(|scope| {
        let get = || {
            go.wait();
            queue.get()
        };
        let getters: Vec<_> = (0..count).map(|_| scope.spawn(get)).collect();
        queue.shutdown(mode);
        go.wait();
        getters.into_iter().map(|getter| getter.join().unwrap()).collect()
    })
}

#[test]
fn test_shutdown_get() {
    let mut got = shutdown_get(3, Shutdown::Drain);
    got.sort_by_key(|got| got.unwrap_or("Z"));
    assert_eq!(got, [Ok("D"), Ok("Y"), Err(GetError::ShutDown)]);
}

#[test]
fn test_shutdown_immediate_get() {
    assert_eq!(shutdown_get(2, Shutdown::Immediate), [Err(GetError::ShutDown); 2]);
}

fn shutdown_put(mode: Shutdown) {
    let queue = &Subject::bounded(2);
    queue.put("Y").unwrap();
    queue.put("D").unwrap();
    thread::scope(|scope| {
        let putters = ["E", "W"].map(|item| asleep::spawn(scope, move || queue.put(item)));
        putters.iter().for_each(Watched::until_asleep);
        queue.shutdown(mode);
        assert_eq!(putters.map(Watched::join), ["E", "W"].map(|item| Err(PutError::ShutDown(item))));
    });
}

#[test]
fn test_shutdown_put() {
    shutdown_put(Shutdown::Drain);
}

#[test]
fn test_shutdown_immediate_put() {
    shutdown_put(Shutdown::Immediate);
}

fn shutdown_join(mode: Shutdown) {
    let queue = Subject::unbounded();
    queue.put("Y").unwrap();
    thread::scope(|scope| {
        let joiners = [(); 2].map(|()| asleep::spawn(scope, || queue.join()));
        joiners.iter().for_each(Watched::until_asleep);
        queue.shutdown(mode);
        if mode == Shutdown::Drain {
            assert_eq!(queue.get(), Ok("Y"));
            queue.task_done().unwrap();
        }
        joiners.into_iter().for_each(Watched::join);
    });
}

#[test]
fn test_shutdown_join() {
    shutdown_join(Shutdown::Drain);
}

#[test]
fn test_shutdown_immediate_join() {
    shutdown_join(Shutdown::Immediate);
}

fn shutdown_put_join(mode: Shutdown) {
    let queue = Subject::bounded(2);
    queue.put("Y").unwrap();
    let go = Barrier::new(2);
    thread::scope(|scope| {
        let putter = scope.spawn(|| {
            go.wait();
            queue.put("E")
        });
        let joiner = asleep::spawn(scope, || queue.join());
        joiner.until_asleep();
        assert_eq!(queue.unfinished(), 1);
        queue.shutdown(mode);
        go.wait();
        if mode == Shutdown::Immediate {
            assert_eq!(queue.try_get(), Err(GetError::ShutDown));
        } else {
            assert_eq!(queue.get(), Ok("Y"));
            queue.task_done().unwrap();
        }
        assert_eq!(putter.join().unwrap(), Err(PutError::ShutDown("E")));
        joiner.join();
    });
}

#[test]
fn test_shutdown_put_join() {
    shutdown_put_join(Shutdown::Drain);
}

#[test]
fn test_shutdown_immediate_put_join() {
    shutdown_put_join(Shutdown::Immediate);
}

#[test]
fn test_shutdown_get_task_done_join() {
    let queue = Subject::bounded(2);
    queue.put("Y").unwrap();
    queue.put("D").unwrap();
    assert_eq!(queue.unfinished(), queue.len());
    let go = Barrier::new(3);
    thread::scope(|scope| {
        let work = || {
            go.wait();
            queue.get().unwrap();
            queue.task_done().unwrap();
        };
        let workers = [(); 2].map(|()| scope.spawn(work));
        let joiners = [(); 2].map(|()| asleep::spawn(scope, || queue.join()));
        joiners.iter().for_each(Watched::until_asleep);
        go.wait();
        queue.shutdown(Shutdown::Drain);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        joiners.into_iter().for_each(Watched::join);
    });
}

#[test]
fn test_shutdown_pending_get() {
    let queue = Subject::<u32>::unbounded();
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || queue.get());
        getter.until_asleep();
        queue.shutdown(Shutdown::Drain);
        assert_eq!(getter.join(), Err(GetError::ShutDown));
    });
}
