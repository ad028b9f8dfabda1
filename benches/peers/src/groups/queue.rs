//! Bounded queues: numbers from producers to consumers, each on a thread of its own, through 128 places.

use std::sync::Arc;

use crewkit::queue::Queue;

use super::together;
use crate::contest::{Contest, Contestant, Repetition, Size, check};

const GROUP: &str = "Queue";
const OPERATION: &str = "item, put and got";
/// How many items a queue holds.
const PLACES: usize = 128;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        with_peers(Contest::new(GROUP, "bounded(128), 1 producer, 1 consumer", OPERATION, Size::MultipleOf(1)), 1)
            .with(Contestant::peer("std sync_channel", || {
                let (sender, receiver) = std::sync::mpsc::sync_channel(PLACES);
                Ok(pump(vec![move |item| sender.send(item).is_ok()], vec![move || receiver.recv().ok()]))
            })),
        with_peers(Contest::new(GROUP, "bounded(128), 4 producers, 4 consumers", OPERATION, Size::MultipleOf(4)), 4)
            .remark("std's sync_channel has one consumer only, so it does not take part in this one."),
    ]
}

/// Adds the contestants that can have any number of producers and of consumers.
fn with_peers(contest: Contest, sides: usize) -> Contest {
    let contest = contest
        .with(Contestant::crewkit("crewkit Queue", move || Ok(crewkit_queue(sides, |queue| queue.get().ok()))))
        .with(Contestant::crewkit("crewkit Queue, task_done", move || {
            Ok(crewkit_queue(sides, |queue| {
                let item = queue.get().ok()?;
                queue.task_done().ok()?;
                Some(item)
            }))
        }));
    contest.with(Contestant::peer("crossbeam-channel", move || {
        let (sender, receiver) = crossbeam_channel::bounded(PLACES);
        let producers = vec![sender; sides].into_iter().map(|sender| move |item| sender.send(item).is_ok());
        let consumers = vec![receiver; sides].into_iter().map(|receiver| move || receiver.recv().ok());
        Ok(pump(producers.collect(), consumers.collect()))
    }))
}

/// crewkit's queue, its consumers taking items with `get`.
fn crewkit_queue(sides: usize, get: impl Fn(&Queue<u64>) -> Option<u64> + Clone + Send + 'static) -> Repetition {
    let queue = Arc::new(Queue::bounded(PLACES));
    let producers = vec![Arc::clone(&queue); sides].into_iter().map(|queue| move |item| queue.put(item).is_ok());
    let consumers = vec![(queue, get); sides].into_iter().map(|(queue, get)| move || get(&queue));
    pump(producers.collect(), consumers.collect())
}

/// Moves items through a queue: every producer and every consumer does an equal share, and the consumers' sum must be
/// the producers'. The queue lives as long as the contestant; it is empty between repetitions.
fn pump<P, C>(mut producers: Vec<P>, mut consumers: Vec<C>) -> Repetition
where
    P: FnMut(u64) -> bool + Send + 'static,
    C: FnMut() -> Option<u64> + Send + 'static,
{
    Box::new(move |operations| {
        let sides = producers.len() as u64;
        let share = operations / sides;
        let mut sums = vec![Some(0_u64); consumers.len()];
        let puts = producers.iter_mut().zip(0..).map(|(put, producer): (_, u64)| {
            let items = producer * share..(producer + 1) * share;
            Box::new(move || assert!(items.into_iter().all(put), "the queue refused an item"))
                as Box<dyn FnOnce() + Send>
        });
        let gets = consumers
            .iter_mut()
            .zip(&mut sums)
            .map(|(get, sum)| Box::new(move || *sum = (0..share).map(|_| get()).sum()) as Box<dyn FnOnce() + Send>);
        let taken = together(puts.chain(gets).collect());
        check("sum of the items", sums.into_iter().sum(), Some(operations * (operations - 1) / 2))?;
        Ok(taken)
    })
}
