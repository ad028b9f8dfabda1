//! What waiting costs: processor time of a wait that times out, and of a queue that is nearly always empty.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crewkit::queue::{GetError, Queue};

use crate::contest::{Contest, Contestant, Repetition, Size, Target, Unit, check};
use crate::place::{Job, Placement, processor_time, together};

const GROUP: &str = "Waiting";
const OURS: &str = "crewkit Queue";
/// How long the wait is that times out.
const TIMEOUT: Duration = Duration::from_millis(200);
/// The time from one item to the next.
const PERIOD: Duration = Duration::from_micros(500);

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![timed_wait(), sparse()]
}

/// A get with a timeout from a queue that stays empty.
fn timed_wait() -> Contest {
    Contest::new(GROUP, "a get of 200 ms that times out", "wait", Size::Exactly(1))
        .counting(Unit::Processor)
        .rounds(3)
        .with(Contestant::crewkit(OURS, || {
            Ok(times_out(Queue::<u64>::bounded(128), |queue| queue.get_timeout(TIMEOUT) == Err(GetError::Empty)))
        }))
        .with(Contestant::peer("crossbeam-channel", || {
            let is_timeout = |error: crossbeam_channel::RecvTimeoutError| error.is_timeout();
            Ok(times_out(crossbeam_channel::bounded::<u64>(128), move |(_, receiver)| {
                receiver.recv_timeout(TIMEOUT).is_err_and(is_timeout)
            }))
        }))
        .with(Contestant::peer("flume", || {
            let timeout = Err(flume::RecvTimeoutError::Timeout);
            Ok(times_out(flume::bounded::<u64>(128), move |(_, receiver)| receiver.recv_timeout(TIMEOUT) == timeout))
        }))
        .with(Contestant::peer("kanal", || {
            let timeout = Err(kanal::ReceiveErrorTimeout::Timeout);
            Ok(times_out(kanal::bounded::<u64>(128), move |(_, receiver)| receiver.recv_timeout(TIMEOUT) == timeout))
        }))
        .with(Contestant::peer("std mpsc", || {
            let timeout = Err(mpsc::RecvTimeoutError::Timeout);
            Ok(times_out(mpsc::sync_channel::<u64>(128), move |(_, receiver)| {
                receiver.recv_timeout(TIMEOUT) == timeout
            }))
        }))
        .target(Target::below(OURS, 1e6))
}

/// Waits on a queue (both its ends, which stay open) until the time is over.
fn times_out<Q: 'static>(queue: Q, wait: impl Fn(&Q) -> bool + 'static) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        let spent = processor_time();
        for _ in 0..operations {
            check("end of the wait", wait(&queue), true)?;
        }
        let spent = processor_time() - spent;
        check("length of the wait", start.elapsed() >= TIMEOUT, true)?;
        Ok(spent.into())
    })
}

/// A consumer that is nearly always waiting.
fn sparse() -> Contest {
    Contest::new(GROUP, "one item each 500 µs", "item, put and got", Size::Exactly(100))
        .counting(Unit::Processor)
        .with(Contestant::crewkit(OURS, || {
            let queue = Arc::new(Queue::bounded(128));
            let other = Arc::clone(&queue);
            Ok(trickle(move |item| queue.put(item).is_ok(), move || other.get().ok()))
        }))
        .with(Contestant::peer("crossbeam-channel", || {
            let (sender, receiver) = crossbeam_channel::bounded(128);
            Ok(trickle(move |item| sender.send(item).is_ok(), move || receiver.recv().ok()))
        }))
        .with(Contestant::peer("flume", || {
            let (sender, receiver) = flume::bounded(128);
            Ok(trickle(move |item| sender.send(item).is_ok(), move || receiver.recv().ok()))
        }))
        .with(Contestant::peer("kanal", || {
            let (sender, receiver) = kanal::bounded(128);
            Ok(trickle(move |item| sender.send(item).is_ok(), move || receiver.recv().ok()))
        }))
        .with(Contestant::peer("std mpsc", || {
            let (sender, receiver) = mpsc::sync_channel(128);
            Ok(trickle(move |item| sender.send(item).is_ok(), move || receiver.recv().ok()))
        }))
        .target(Target::cost(OURS, 1.2, &["crossbeam-channel"]))
        .remark("Counted are the consumer's thread and the producer's puts; its sleep between them is not.")
}

/// One item after the other, with a pause before each.
fn trickle(
    mut put: impl FnMut(u64) -> bool + Send + 'static,
    mut get: impl FnMut() -> Option<u64> + Send + 'static,
) -> Repetition {
    Box::new(move |operations| {
        let (mut put_time, mut get_time) = (Duration::ZERO, Duration::ZERO);
        let mut sum = Some(0);
        let producer = Job::on(0, || {
            for item in 0..operations {
                thread::sleep(PERIOD);
                let before = processor_time();
                assert!(put(item), "the queue refused an item");
                put_time += processor_time() - before;
            }
        });
        let consumer = Job::on(1, || {
            let before = processor_time();
            sum = (0..operations).map(|_| get()).sum();
            get_time = processor_time() - before;
        });
        together(Placement::Apart, [producer, consumer])?;
        check("sum of the items", sum, Some(operations * (operations - 1) / 2))?;
        Ok((put_time + get_time).into())
    })
}
