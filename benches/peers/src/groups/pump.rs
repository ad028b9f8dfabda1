//! Numbers from producers to consumers through a queue, each on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc;

use crewkit::queue::Queue;

use crate::contest::{Contest, Contestant, Repetition, Side, Size, check};
use crate::place::{Job, Placement, together};

/// How many threads there are on each side, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) sides: usize,
    pub(super) placement: Placement,
}

/// All the scenes of the table: 1, 2 and 4 on each side, the sides apart or all on one core.
pub(super) fn scenes() -> impl Iterator<Item = Scene> {
    let at = |placement| [1, 2, 4].map(|sides| Scene { sides, placement });
    [Placement::Apart, Placement::OneCore].into_iter().flat_map(at)
}

impl Scene {
    /// A contest in this scene.
    pub(super) fn contest(self, group: &'static str, kind: &str) -> Contest {
        let Self { sides, placement } = self;
        let plural = if sides == 1 { "" } else { "s" };
        let work = format!("{kind}, {sides} producer{plural}, {sides} consumer{plural}, {}", placement.label());
        Contest::new(group, work, "item, put and got", Size::MultipleOf(sides as u64))
    }

    /// Adds the channels of others, with so many places or without bound. std's has one consumer only.
    pub(super) fn channels(self, contest: Contest, places: Option<usize>) -> Contest {
        let contest = contest
            .with(Contestant::peer("crossbeam-channel", move || {
                let (sender, receiver) = places.map_or_else(crossbeam_channel::unbounded, crossbeam_channel::bounded);
                Ok(self.pump((sender, receiver), |s, item| s.send(item).is_ok(), |r| r.recv().ok()))
            }))
            .with(Contestant::peer("flume", move || {
                let ends = places.map_or_else(flume::unbounded, flume::bounded);
                Ok(self.pump(ends, |s, item| s.send(item).is_ok(), |r| r.recv().ok()))
            }))
            .with(Contestant::peer("kanal", move || {
                let ends = places.map_or_else(kanal::unbounded, kanal::bounded);
                Ok(self.pump(ends, |s, item| s.send(item).is_ok(), |r| r.recv().ok()))
            }));
        match places {
            _ if self.sides > 1 => contest,
            Some(places) => contest.with(Contestant::peer("std mpsc", move || {
                let (sender, receiver) = mpsc::sync_channel(places);
                Ok(pump(self, vec![move |item| sender.send(item).is_ok()], vec![move || receiver.recv().ok()]))
            })),
            None => contest.with(Contestant::peer("std mpsc", move || {
                let (sender, receiver) = mpsc::channel();
                Ok(pump(self, vec![move |item| sender.send(item).is_ok()], vec![move || receiver.recv().ok()]))
            })),
        }
    }

    /// A way through crewkit's queue.
    pub(super) fn crewkit(
        self,
        name: &'static str,
        places: Option<usize>,
        get: fn(&Queue<u64>) -> Option<u64>,
    ) -> Contestant {
        let open = move || {
            let queue = Arc::new(places.map_or_else(Queue::unbounded, Queue::bounded));
            Ok(self.pump((Arc::clone(&queue), queue), |queue, item| queue.put(item).is_ok(), move |queue| get(queue)))
        };
        Contestant { name, side: Side::Crewkit, open: Box::new(open) }
    }

    /// A repetition that pumps through the two ends of a queue, each thread with its own clone of an end.
    pub(super) fn pump<S, R>(
        self,
        (sender, receiver): (S, R),
        put: impl Fn(&S, u64) -> bool + Copy + Send + 'static,
        get: impl Fn(&R) -> Option<u64> + Copy + Send + 'static,
    ) -> Repetition
    where
        S: Clone + Send + 'static,
        R: Clone + Send + 'static,
    {
        let producers = vec![sender; self.sides].into_iter().map(|sender| move |item| put(&sender, item));
        let consumers = vec![receiver; self.sides].into_iter().map(|receiver| move || get(&receiver));
        pump(self, producers.collect(), consumers.collect())
    }
}

/// `get`, as consumers do that count nothing.
pub(super) fn get(queue: &Queue<u64>) -> Option<u64> {
    queue.get().ok()
}

/// `get` and `task_done`.
pub(super) fn get_and_done(queue: &Queue<u64>) -> Option<u64> {
    let item = queue.get().ok()?;
    queue.task_done().ok()?;
    Some(item)
}

/// Moves items through a queue: every producer and every consumer does an equal share, and the consumers' sum must be
/// the producers'. The queue lives as long as the contestant; it is empty between repetitions.
fn pump<P, C>(scene: Scene, mut producers: Vec<P>, mut consumers: Vec<C>) -> Repetition
where
    P: FnMut(u64) -> bool + Send + 'static,
    C: FnMut() -> Option<u64> + Send + 'static,
{
    Box::new(move |operations| {
        let share = operations / scene.sides as u64;
        let mut sums = vec![Some(0_u64); consumers.len()];
        let puts = producers.iter_mut().zip(0..).map(|(put, producer): (_, u64)| {
            let items = producer * share..(producer + 1) * share;
            Job::on(0, move || assert!(items.into_iter().all(put), "the queue refused an item"))
        });
        let gets = consumers.iter_mut().zip(&mut sums);
        let gets = gets.map(|(get, sum)| Job::on(1, move || *sum = (0..share).map(|_| get()).sum()));
        let taken = together(scene.placement, puts.chain(gets))?;
        check("sum of the items", sums.into_iter().sum(), Some(operations * (operations - 1) / 2))?;
        Ok(taken.into())
    })
}
