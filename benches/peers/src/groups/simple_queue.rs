//! Queues without bound.

use std::sync::Arc;

use crewkit::queue::SimpleQueue;

use super::pump::{Scene, get_and_done, scenes};
use crate::contest::{Contest, Contestant, Target};

const SIMPLE: &str = "crewkit SimpleQueue";
const DONE: &str = "crewkit Queue, task_done";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    scenes().map(contest).collect()
}

fn contest(scene: Scene) -> Contest {
    let contest = scene
        .contest("SimpleQueue", "unbounded")
        .with(Contestant::crewkit(SIMPLE, move || {
            let queue = Arc::new(SimpleQueue::unbounded());
            let ends = (Arc::clone(&queue), queue);
            Ok(scene.pump(ends, |queue, item| queue.put(item).is_ok(), |queue| queue.get().ok()))
        }))
        .with(scene.crewkit(DONE, None, get_and_done));
    scene.channels(contest, None).target(Target::speed(SIMPLE, 1.0, &[])).target(Target::speed(DONE, 0.9, &[]))
}
