//! The loop's thread: the only one that waits for the workers. Started by the builder, ended by the end of the pool.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::engine::Shared;
use super::scheduler::WorkerId;
use crate::reactor::Poller;
use crate::sys::clock::Deadline;
use crate::sys::signal;

/// Runs a pool to its end: start who is missing, sleep, act on what happened and on what has come due.
pub(super) fn run(shared: &Arc<Shared>, mut poller: Poller) {
    // Signals are for the program's threads; without the mask this would be one of them, no more.
    let _mask = signal::block_all();
    // Whatever ends the loop, nobody waits for it in vain.
    let _end = End(shared);
    let mut events = Vec::new();
    let mut starters: Vec<JoinHandle<()>> = Vec::new();
    let mut plan = shared.act(|state, now| state.tick(now));
    while !plan.over {
        starters.retain(|starter| !starter.is_finished());
        if !plan.wanted.is_empty() {
            starters.extend(start(shared, plan.wanted));
        }
        let deadline = plan.deadline.map_or(Deadline::NEVER, Deadline::at);
        if poller.poll(&mut events, deadline).is_err() {
            break;
        }
        plan = shared.act(|state, now| {
            events.iter().for_each(|event| state.on_event(event, now));
            state.tick(now)
        });
    }
    for starter in starters {
        let _told = starter.join();
    }
}

/// The end of the loop.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Does nothing at the end that the pool was told to come to.
        self.0.act(|state, now| state.collapse(now));
        self.0.over.set();
    }
}

/// Starts workers on a thread of their own: a start may take as long as its handshake, and results should not wait.
fn start(shared: &Arc<Shared>, wanted: Vec<WorkerId>) -> Option<JoinHandle<()>> {
    let everybody = wanted.clone();
    let for_thread = Arc::clone(shared);
    let hire = move || {
        for id in wanted {
            let hired = for_thread.recipe.hire(id).map_err(|error| error.to_string());
            for_thread.act(|state, now| state.enlist(id, hired, now));
            for_thread.wake();
        }
    };
    let started = thread::Builder::new().name("crewkit-pool-start".into()).spawn(hire);
    if let Err(error) = &started {
        shared.act(|state, now| {
            everybody.iter().for_each(|&id| state.enlist(id, Err(error.to_string()), now));
        });
        shared.wake();
    }
    started.ok()
}
