//! One call at a time: captures, results, panics, cancelling, deadlines, options.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::pool::{PoolError, Task, TaskError, ThreadPool};
use crewkit::queue::Queue;

use crate::support::{Held, LONG, in_time, telling};

#[test]
fn a_pool_of_nobody_is_an_error() {
    assert!(matches!(ThreadPool::new(0), Err(PoolError::NoWorkers)));
    assert!(matches!(ThreadPool::builder().workers(0).build(), Err(PoolError::NoWorkers)));
    let pool = ThreadPool::new(1).unwrap();
    assert!(matches!(pool.resize(0), Err(PoolError::NoWorkers)));
    assert_eq!(pool.apply(|n: u64| n, 3), Ok(3));
}

#[test]
fn absurd_sizes_and_names_are_no_panics() {
    for workers in [usize::MAX, 1 << 40, 1 << 16] {
        assert!(matches!(ThreadPool::new(workers), Err(PoolError::Io(_))), "{workers}");
    }
    let pool = ThreadPool::builder().workers(1).name("b\0aker\0").build().unwrap();
    assert!(matches!(pool.resize(usize::MAX), Err(PoolError::Io(_))));
    let name = pool.apply(|()| thread::current().name().map(String::from), ()).unwrap();
    assert_eq!(name.as_deref(), Some("baker-0"));
}

#[test]
fn the_default_size_is_the_number_of_processors() {
    let pool = ThreadPool::builder().build().unwrap();
    assert_eq!(pool.stats().workers, thread::available_parallelism().unwrap().get());
}

#[test]
fn a_stack_that_cannot_be_had_is_an_error_and_leaves_no_thread() {
    let error = ThreadPool::builder().workers(2).stack_size(1 << 60).name("hungry").build().unwrap_err();
    assert!(matches!(error, PoolError::Io(_)), "{error:?}");
}

#[test]
fn closures_with_captures_are_called_in_named_threads_with_their_own_stack() {
    let pool = ThreadPool::builder().workers(2).name("baker").stack_size(64 << 20).build().unwrap();
    let words = [String::from("a"), String::from("b")];
    let task = pool.submit(move |joint: &str| (words.join(joint), thread::current().name().map(String::from)), "+");
    let (text, name) = task.get().unwrap();
    assert_eq!(text, "a+b");
    let name = name.unwrap();
    assert!(name == "baker-0" || name == "baker-1", "{name}");
    // More than the 2 MiB that a thread of std has.
    let deep = pool.apply(|at: usize| std::hint::black_box(&[1_u8; 8 << 20])[at], 5);
    assert_eq!(deep, Ok(1));
}

#[test]
fn a_panic_fails_its_task_and_says_what_and_where() {
    let pool = ThreadPool::new(1).unwrap();
    let line = line!() + 1;
    let error = pool.apply(|n: u64| -> u64 { panic!("number {n}") }, 7).unwrap_err();
    let TaskError::Panicked { message, location, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "number 7");
    assert!(location.contains(&format!("calls.rs:{line}:")), "{location}");
    assert_eq!(pool.apply(|n: u64| n, 3), Ok(3), "the worker lives on");
    assert_eq!(pool.stats().completed, 2);
}

/// Panics when it is dropped.
struct Nasty;

impl Drop for Nasty {
    fn drop(&mut self) {
        panic!("expected: a nasty destructor");
    }
}

#[test]
fn a_panic_in_a_destructor_of_what_is_refused_costs_nobody_else_anything() {
    in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let held = Held::new(&pool);
        let tasks: Vec<Task<()>> = (0..5).map(|_| pool.submit(drop::<Nasty>, Nasty)).collect();
        assert!(tasks[3].cancel());
        pool.terminate();
        assert_eq!(pool.apply(drop::<Nasty>, Nasty), Err(TaskError::PoolClosed));
        held.let_go();
        pool.join();
        for (n, task) in tasks.into_iter().enumerate() {
            let why = if n == 3 { TaskError::Cancelled } else { TaskError::PoolClosed };
            assert_eq!(task.get(), Err(why), "{n}");
        }

        // Late ones: found by a waiter, by a worker in turn, by a worker that waits.
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let held = Held::new(&pool);
        let late = || pool.with().timeout(Duration::ZERO);
        assert_eq!(late().apply(drop::<Nasty>, Nasty), Err(TaskError::TimedOut));
        let waiting = late().submit(drop::<Nasty>, Nasty);
        let inner = Arc::clone(&pool);
        let waits = pool.submit(move |()| inner.with().timeout(Duration::ZERO).apply(drop::<Nasty>, Nasty), ());
        held.let_go();
        assert_eq!(waits.get(), Ok(Err(TaskError::TimedOut)));
        assert_eq!(waiting.get(), Err(TaskError::TimedOut));
        pool.join();
    });
}

#[test]
fn a_waker_that_panics_costs_nobody_else_anything() {
    struct Loud;
    impl Wake for Loud {
        fn wake(self: Arc<Self>) {
            panic!("expected: a loud waker");
        }
    }
    in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let mut held = Held::new(&pool);
        let mut tasks: Vec<Task<u64>> = (0..3).map(|n| pool.submit(|n: u64| n, n)).collect();
        let waker = Waker::from(Arc::new(Loud));
        for task in tasks.iter_mut().chain([&mut held.task]) {
            assert_eq!(pin!(task).poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        assert!(tasks[1].cancel());
        pool.terminate();
        held.let_go();
        pool.join();
        assert_eq!(held.task.get(), Ok(7));
        assert_eq!(tasks.remove(1).get(), Err(TaskError::Cancelled));
        assert!(tasks.into_iter().all(|task| task.get() == Err(TaskError::PoolClosed)));
    });
}

#[test]
fn a_panic_in_a_destructor_costs_nobody_else_anything() {
    let pool = ThreadPool::new(1).unwrap();
    let argument = pool.apply(drop::<Nasty>, Nasty);
    assert!(matches!(argument, Err(TaskError::Panicked { .. })));
    // A result that nobody takes is dropped by the worker.
    let held = Held::new(&pool);
    drop(pool.submit(|()| Nasty, ()));
    held.let_go();
    assert_eq!(pool.apply(|n: u64| n, 3), Ok(3));
    assert_eq!(pool.stats().completed, 4);
    pool.join();
}

#[test]
fn tasks_begin_in_the_order_of_submission() {
    let pool = ThreadPool::new(1).unwrap();
    let held = Held::new(&pool);
    let order = Arc::new(Queue::unbounded());
    for n in 0..100 {
        let order = Arc::clone(&order);
        drop(pool.submit(move |n: u64| order.put(n).unwrap(), n));
    }
    held.let_go();
    pool.join();
    assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_has_not_begun_can_be_cancelled_and_what_it_holds_is_gone_at_once() {
    let pool = ThreadPool::new(1).unwrap();
    let held = Held::new(&pool);
    assert!(!held.task.cancel(), "it has begun");
    let (tell, told) = telling();
    let task = pool.submit(move |()| drop(tell), ());
    assert_eq!(pool.stats().queued, 1);
    assert!(task.cancel());
    assert_eq!(told.try_recv(), Ok(thread::current().id()));
    assert!(!task.cancel());
    assert!(task.is_ready() && !task.is_successful());
    assert_eq!(pool.stats().queued, 0);
    assert_eq!(task.get(), Err(TaskError::Cancelled));
    held.let_go();
    assert_eq!(held.task.get(), Ok(7));
    pool.join();
    assert_eq!(pool.stats().completed, 1);
}

#[test]
fn cancelling_races_with_beginning_and_one_of_them_wins() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let ran = Arc::new(AtomicU64::new(0));
        let (mut submitted, mut cancelled, begin) = (0, 0, Instant::now());
        // Fewer on a busy machine, where each yield takes long.
        for n in (0..20_000).take_while(|_| begin.elapsed() < LONG / 6) {
            submitted += 1;
            let count = Arc::clone(&ran);
            let task = pool.submit(move |()| count.fetch_add(1, SeqCst), ());
            if n % 3 == 0 {
                thread::yield_now();
            }
            let was_cancelled = task.cancel();
            cancelled += u64::from(was_cancelled);
            assert_eq!(task.get().err(), was_cancelled.then_some(TaskError::Cancelled));
        }
        pool.join();
        assert_eq!(ran.load(SeqCst) + cancelled, submitted);
        assert_eq!(pool.stats().completed, ran.load(SeqCst));
    });
}

#[test]
fn a_result_can_be_waited_for_with_a_limit_and_is_given_out_once() {
    let pool = ThreadPool::new(1).unwrap();
    let mut held = Held::new(&pool);
    assert!(!held.task.wait_timeout(Duration::from_millis(20)));
    assert_eq!(held.task.get_timeout(Duration::ZERO), None);
    assert!(!held.task.is_ready());
    held.let_go();
    assert!(held.task.wait_timeout(LONG));
    assert!(held.task.is_ready() && held.task.is_successful());
    assert_eq!(held.task.get_timeout(Duration::ZERO), Some(Ok(7)));
    assert_eq!(held.task.get_timeout(Duration::ZERO), Some(Err(TaskError::Taken)));
    assert!(!held.task.is_successful(), "it was taken");
    assert_eq!(held.task.get(), Err(TaskError::Taken));
}

#[test]
fn what_is_late_does_not_begin_and_what_has_begun_goes_on() {
    let pool = ThreadPool::new(1).unwrap();
    let held = Held::new(&pool);
    let limit = Duration::from_millis(20);
    let (tell, told) = telling();
    // Its reader finds it late; the worker is busy all the while.
    assert_eq!(pool.with().timeout(limit).apply(move |()| drop(tell), ()), Err(TaskError::TimedOut));
    assert!(told.try_recv().is_ok(), "it was dropped, not run later");
    // Nobody looks at this one before its turn comes.
    let late = pool.with().timeout(Duration::ZERO).submit(|n: u64| n, 1);
    assert!(!late.is_ready());
    held.let_go();
    assert_eq!(late.get(), Err(TaskError::TimedOut));
    // Once begun it has all the time in the world.
    let slow = pool.with().timeout(LONG).submit(|()| thread::sleep(Duration::from_millis(5)), ());
    assert_eq!(slow.get(), Ok(()));
    assert_eq!(pool.with().timeout(Duration::MAX).apply(|n: u64| n, 5), Ok(5));
}

#[test]
fn each_worker_is_initialised_before_its_first_task() {
    thread_local! {
        static READY: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let total = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&total);
    let initialise = move || {
        count.fetch_add(1, SeqCst);
        READY.set(READY.get() + 1);
    };
    let pool = ThreadPool::builder().workers(3).initializer(initialise).build().unwrap();
    assert_eq!(pool.map(|_| READY.get(), 0..1_000).unwrap(), [1; 1_000]);
    pool.join();
    assert_eq!(total.load(SeqCst), 3);
}

#[test]
fn an_initializer_that_fails_ends_the_pool_with_the_reason() {
    in_time(|| {
        let pool = ThreadPool::builder().workers(2).initializer(|| panic!("no licence")).build().unwrap();
        let task = pool.submit(|n: u64| n, 1);
        let TaskError::PoolBroken { reason } = task.get().unwrap_err() else { panic!("not broken") };
        assert!(reason.contains("no licence"), "{reason}");
        let error = pool.map(|n: u64| n, 0..3).unwrap_err();
        assert!(matches!(error.error, TaskError::PoolBroken { .. }) && error.results == [None; 3]);
        pool.join();
    });
}

/// Counts the calls of a waker.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_is_a_future_that_is_woken_once_by_its_end() {
    let pool = ThreadPool::new(1).unwrap();
    let mut held = Held::new(&pool);
    let outdated = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&outdated));
    assert_eq!(pin!(&mut held.task).poll(&mut Context::from_waker(&waker)), Poll::Pending);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    assert_eq!(pin!(&mut held.task).poll(&mut context), Poll::Pending);
    assert_eq!(bell.0.load(SeqCst), 0);
    held.let_go();
    pool.join();
    assert_eq!((outdated.0.load(SeqCst), bell.0.load(SeqCst)), (0, 1));
    assert_eq!(pin!(&mut held.task).poll(&mut context), Poll::Ready(Ok(7)));
    assert_eq!(pin!(&mut held.task).poll(&mut context), Poll::Ready(Err(TaskError::Taken)));
}

#[test]
fn a_million_tiny_tasks_of_which_most_are_never_read() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let mut last: Option<Task<u64>> = None;
        for n in 0..1_000_000 {
            last = Some(pool.submit(|n: u64| n + 1, n));
        }
        assert_eq!(last.unwrap().get(), Ok(1_000_000));
        pool.join();
        assert_eq!(pool.stats().completed, 1_000_000);
    });
}

#[test]
fn eight_threads_share_a_pool() {
    in_time(|| {
        let pool = ThreadPool::new(3).unwrap();
        thread::scope(|scope| {
            for user in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for n in 0..200 {
                        assert_eq!(pool.apply(move |n: u64| n + user, n), Ok(n + user));
                    }
                    assert_eq!(pool.map(|n: u64| n + user, 0..100).unwrap().iter().sum::<u64>(), 4_950 + 100 * user);
                });
            }
        });
        assert_eq!(pool.stats().completed, 8 * 300);
    });
}

#[test]
fn a_pool_changes_its_size_while_it_works() {
    in_time(|| {
        let pool = ThreadPool::builder().workers(1).name("shift").build().unwrap();
        let held = Held::new(&pool);
        let tasks: Vec<Task<()>> = (0..50).map(|_| pool.submit(|()| (), ())).collect();
        assert_eq!(pool.stats().queued, 50);
        pool.resize(3).unwrap();
        assert_eq!(pool.stats().workers, 3);
        // The old worker is still held; the new ones do the rest.
        assert!(tasks.into_iter().all(|task| task.get() == Ok(())));
        // Three at once: each waits for the others.
        let barrier = Arc::new(std::sync::Barrier::new(3));
        let meet = |_: u64| {
            barrier.wait();
        };
        assert_eq!(pool.with().chunksize(1).map(meet, 0..3).unwrap(), [(); 3]);
        held.let_go();
        pool.join();
        assert_eq!(pool.stats().workers, 0);
        assert!(pool.resize(2).is_ok());
        assert_eq!(pool.stats().workers, 0, "what is over stays over");
    });
}

#[test]
fn the_panic_of_a_task_does_not_reach_whoever_waits_for_another() {
    let pool = ThreadPool::new(2).unwrap();
    let good = pool.submit(|n: u64| n, 1);
    let bad = pool.submit(|()| panic!("expected"), ());
    let caught = catch_unwind(AssertUnwindSafe(|| (good.get(), bad.get())));
    let (good, bad) = caught.unwrap();
    assert_eq!(good, Ok(1));
    assert!(matches!(bad, Err::<(), _>(TaskError::Panicked { .. })));
}
