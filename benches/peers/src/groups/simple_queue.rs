//! Queues without bound.

use super::pump::{Scene, get_and_done, scenes};
use crate::contest::{Contest, Target};

const DONE: &str = "crewkit Queue, task_done";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    scenes().map(contest).collect()
}

fn contest(scene: Scene) -> Contest {
    let contest = scene.contest("SimpleQueue", "unbounded").with(scene.crewkit(DONE, None, get_and_done));
    scene.channels(contest, None).target(Target::speed(DONE, 0.9, &[]))
}
