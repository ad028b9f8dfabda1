//! Models of `select`: an observer that takes nothing must keep nobody from anything, and must not be missed.

use crewkit::model::Arc;
use crewkit::queue::{GetError, LifoQueue, Queue, Shutdown, select};
use crewkit_loom_tests::{SOON, explore, spawn};

type Both = (Queue<u32>, LifoQueue<u32>);

fn both() -> Arc<Both> {
    Arc::new((Queue::unbounded(), LifoQueue::unbounded()))
}

#[test]
fn one_item_is_seen_by_both_observers() {
    explore("select: select × select × put", || {
        let queues = both();
        let observers = [(); 2].map(|()| spawn(&queues, |(fifo, lifo)| select(&[lifo, fifo], None)));
        queues.0.put(1).unwrap();
        for observer in observers {
            assert_eq!(observer.join().unwrap(), Some(1));
        }
        assert_eq!(queues.0.try_get(), Ok(1));
    });
    explore("select: select × select × put, the other queue", || {
        let queues = both();
        let observers = [(); 2].map(|()| spawn(&queues, |(fifo, lifo)| select(&[lifo, fifo], None)));
        queues.1.put(1).unwrap();
        for observer in observers {
            assert_eq!(observer.join().unwrap(), Some(0));
        }
    });
}

#[test]
fn an_observer_keeps_no_item_from_a_getter() {
    explore("select: select × get × (put, put into the other)", || {
        let queues = both();
        let observer = spawn(&queues, |(fifo, lifo)| select(&[lifo, fifo], None));
        let getter = spawn(&queues, |(fifo, _)| fifo.get());
        queues.0.put(1).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(1));
        queues.1.put(2).unwrap();
        assert!(observer.join().unwrap().is_some());
        assert_eq!(queues.1.try_get(), Ok(2));
    });
}

#[test]
fn an_observer_whose_item_was_snatched_is_called_for_the_next() {
    explore("select: select × (put, try_get, put), lifo", || {
        let queues = both();
        let observer = spawn(&queues, |(fifo, lifo)| select(&[fifo, lifo], None));
        queues.1.put(1).unwrap();
        assert_eq!(queues.1.try_get(), Ok(1));
        queues.1.put(2).unwrap();
        assert_eq!(observer.join().unwrap(), Some(1));
    });
    explore("select: select × (put, try_get, put), fifo", || {
        let queues = both();
        let observer = spawn(&queues, |(fifo, lifo)| select(&[fifo, lifo], None));
        queues.0.put(1).unwrap();
        assert_eq!(queues.0.try_get(), Ok(1));
        queues.0.put(2).unwrap();
        assert_eq!(observer.join().unwrap(), Some(0));
    });
}

#[test]
fn a_timed_out_observer_takes_no_wake_up_with_it() {
    explore("select: select(timeout) × get × put", || {
        let queues = both();
        let timed = spawn(&queues, |(fifo, lifo)| select(&[fifo, lifo], SOON));
        let getter = spawn(&queues, |(_, lifo)| lifo.get());
        queues.1.put(1).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(1));
        assert!(timed.join().unwrap().is_none_or(|index| index == 1));
    });
}

#[test]
fn a_shutdown_is_seen_by_an_observer_and_a_getter() {
    explore("select: select × get × shutdown", || {
        let queues = both();
        let observer = spawn(&queues, |(fifo, lifo)| select(&[fifo, lifo], None));
        let getter = spawn(&queues, |(fifo, _)| fifo.get());
        queues.0.shutdown(Shutdown::Drain);
        assert_eq!(observer.join().unwrap(), Some(0));
        assert_eq!(getter.join().unwrap(), Err(GetError::ShutDown));
    });
}
