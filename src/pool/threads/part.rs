//! A body of code on the stack of somebody who waits for it, run by as many workers as come by until it is closed.
//!
//! ```text
//!   open ──► closed: nobody begins it any more ──► left: nobody is in it
//! ```
//!
//! A map lends its function, its items and the place for its results to other threads. Unlike with rayon's `scope`, its
//! owner need not wait for workers that have not come yet: it closes the part, and they find it so.
//!
//! # Safety
//!
//! 1. `body` is only used by a claimant, between a `claim` that answered true and its leaving, both under the gate's lock.
//! 2. `claim` answers false once the gate is closed.
//! 3. [`Lent`] closes the gate and waits until nobody is inside before it lets go of the body, also when it unwinds; and
//!    it cannot be forgotten, since nobody but [`lend`] ever holds it.

#![expect(unsafe_code, reason = "what a caller lends is used by other threads while it waits")]

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{Job, Shared};
use crate::pool::error::TaskError;
use crate::sync::Event;

/// The part, as the pool's queue has it.
struct Part {
    shared: Arc<Shared>,
    gate: Mutex<Gate>,
    /// Set when the gate is closed and nobody is inside.
    left: Event,
    body: Body,
}

struct Gate {
    /// Places in the pool's queue that nobody has claimed.
    places: usize,
    inside: usize,
    closed: bool,
    refused: Option<TaskError>,
}

/// A `&B` that has lost its type and its lifetime.
#[derive(Clone, Copy)]
struct Body {
    data: *const (),
    call: unsafe fn(*const ()) -> u64,
}

// SAFETY: `Body::of` makes it from a shared reference to a `Sync` body.
unsafe impl Send for Body {}
// SAFETY: as above.
unsafe impl Sync for Body {}

impl Body {
    fn of<B: Fn() -> u64 + Sync>(body: &B) -> Self {
        /// Calls a body of this type.
        ///
        /// # Safety
        ///
        /// `data` was made from a `&B` that is still valid.
        unsafe fn call<B: Fn() -> u64>(data: *const ()) -> u64 {
            // SAFETY: the caller's promise.
            let body = unsafe { &*data.cast::<B>() };
            body()
        }
        Self { data: std::ptr::from_ref(body).cast(), call: call::<B> }
    }
}

impl Part {
    /// Closes the gate, so that nobody begins any more.
    fn close(&self) {
        let mut gate = self.gate.lock();
        gate.closed = true;
        let places = std::mem::take(&mut gate.places);
        let empty = gate.inside == 0;
        drop(gate);
        if places > 0 {
            // The pool may be over when its last job could only have been this.
            self.shared.withdrawn(places).tell();
        }
        if empty {
            self.left.set();
        }
    }

    /// Leaves, and says whether that was the last of all who could ever come.
    fn leave(&self) {
        let mut gate = self.gate.lock();
        gate.inside -= 1;
        let last = gate.closed && gate.inside == 0;
        drop(gate);
        if last {
            self.left.set();
        }
    }
}

impl Job for Part {
    fn claim(&self) -> bool {
        let mut gate = self.gate.lock();
        if gate.places == 0 {
            return false;
        }
        gate.places -= 1;
        gate.inside += 1;
        true
    }

    fn is_waiting(&self) -> bool {
        self.gate.lock().places > 0
    }

    fn run(&self) {
        /// Leaves, whatever happens.
        struct Inside<'a>(&'a Part);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                // Whoever comes out has found nothing more to do, so there is nothing to begin for others, either.
                self.0.close();
                self.0.leave();
            }
        }
        let inside = Inside(self);
        // SAFETY: 1: this claimant has not left.
        let calls = unsafe { (self.body.call)(self.body.data) };
        let over = self.shared.ended(calls);
        drop(inside);
        over.tell();
    }

    fn refuse(&self, why: TaskError) {
        let mut gate = self.gate.lock();
        gate.refused = Some(why);
        gate.closed |= gate.places == 0;
        drop(gate);
        self.leave();
    }
}

/// A body that is lent, until this is dropped.
struct Lent(Arc<Part>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.close();
        self.0.left.wait();
    }
}

/// Has up to `helpers` workers run `body`, and runs it here, too, if this thread is one of the pool's; until all who began
/// it have come out. An error: the pool did not let everybody begin who should have, and why not.
///
/// The body answers how many calls it made. It may be begun at any time while anybody is in it, so each must go on until
/// there is nothing to be done by others, either.
pub(super) fn lend<B: Fn() -> u64 + Sync>(shared: &Arc<Shared>, helpers: usize, body: &B) -> Result<(), TaskError> {
    let here = shared.employs_this_thread();
    let gate = Gate { places: helpers, inside: 0, closed: false, refused: None };
    let (shared, body) = (Arc::clone(shared), Body::of(body));
    let part = Arc::new(Part { shared, gate: Mutex::new(gate), left: Event::new(), body });
    let lent = Lent(Arc::clone(&part));
    part.shared.submit(Arc::clone(&part) as Arc<dyn Job>, helpers).inspect_err(|_| part.gate.lock().places = 0)?;
    if here {
        part.gate.lock().inside += 1;
        part.shared.begun_here();
        part.run();
    } else {
        part.left.wait();
    }
    drop(lent);
    let refused = part.gate.lock().refused.take();
    refused.map_or(Ok(()), Err)
}
