//! Bounded queues: numbers through 128 places.

use super::pump::{Scene, get, get_and_done, scenes};
use crate::contest::{Contest, Target};
use crate::place::Placement;

/// How many items a queue holds.
const PLACES: Option<usize> = Some(128);
const QUEUE: &str = "crewkit Queue";
const DONE: &str = "crewkit Queue, task_done";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    scenes().map(contest).collect()
}

fn contest(scene: Scene) -> Contest {
    let contest = scene.contest("Queue", "bounded(128)").with(scene.crewkit(QUEUE, PLACES, get)).with(scene.crewkit(
        DONE,
        PLACES,
        get_and_done,
    ));
    let contest = scene.channels(contest, PLACES);
    match scene.placement {
        Placement::Apart => contest.target(Target::speed(QUEUE, 1.1, &[])).target(Target::speed(DONE, 1.1, &[])),
        Placement::OneCore => contest.target(Target::speed(QUEUE, 1.0, &["crossbeam-channel"])),
    }
}
