//! A body of code on the stack of somebody who waits for it, run by as many workers as come by until it is closed.
//!
//! ```text
//!   open ──► closed: nobody begins it any more ──► left: nobody is in it
//! ```
//!
//! A map lends its function, its items and the place for its results to other threads. Unlike with rayon's `scope`, its
//! owner need not wait for workers that have not come yet: it closes the part, and they find it so. A worker may leave
//! before all is done, when others do without it, and is called in again when they do not.
//!
//! # Safety
//!
//! 1. `body` is only used by a claimant, between a `claim` that answered true and its leaving, both under the gate's lock.
//! 2. `claim` answers false once the gate is closed.
//! 3. [`Lent`] closes the gate and waits until nobody is inside before it lets go of the body, also when it unwinds; and
//!    it cannot be forgotten, since nobody but [`lend`] ever holds it.

#![expect(unsafe_code, reason = "what a caller lends is used by other threads while it waits")]

use std::mem;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::engine::{Job, Shared};
use crate::pool::error::TaskError;
use crate::sync::Event;

/// The part, as the pool's queue has it.
pub(super) struct Part {
    me: Weak<Self>,
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
    /// Workers that left before all was done.
    away: usize,
    closed: bool,
    refused: Option<TaskError>,
}

/// What a worker has done in a part.
pub(super) struct Shift {
    /// How many calls it made.
    pub(super) calls: u64,
    /// Whether nothing is left to be begun by anybody.
    pub(super) over: bool,
}

/// A `&B` that has lost its type and its lifetime.
#[derive(Clone, Copy)]
struct Body {
    data: *const (),
    call: unsafe fn(*const (), &Part) -> Shift,
}

// SAFETY: `Body::of` makes it from a shared reference to a `Sync` body.
unsafe impl Send for Body {}
// SAFETY: as above.
unsafe impl Sync for Body {}

impl Body {
    fn of<B: Fn(&Part) -> Shift + Sync>(body: &B) -> Self {
        /// Calls a body of this type.
        ///
        /// # Safety
        ///
        /// `data` was made from a `&B` that is still valid.
        unsafe fn call<B: Fn(&Part) -> Shift>(data: *const (), part: &Part) -> Shift {
            // SAFETY: the caller's promise.
            let body = unsafe { &*data.cast::<B>() };
            body(part)
        }
        Self { data: std::ptr::from_ref(body).cast(), call: call::<B> }
    }
}

impl Part {
    /// Has those come back who left before all was done, if any have.
    pub(super) fn call_in(&self) {
        let away = mem::take(&mut self.gate.lock().away);
        if let (1.., Some(part)) = (away, self.me.upgrade()) {
            // If the pool has ended, nothing more is to be done by anybody.
            let _ended = self.shared.submit(part, away);
        }
    }

    /// Closes the gate, so that nobody begins any more.
    fn close(&self) {
        let mut gate = self.gate.lock();
        gate.closed = true;
        let places = mem::take(&mut gate.places);
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

    /// Leaves, and tells if that was the last of all who could ever come.
    fn leave(&self, for_good: bool) {
        let mut gate = self.gate.lock();
        gate.inside -= 1;
        gate.away += usize::from(!for_good);
        let last = gate.closed && gate.inside == 0;
        drop(gate);
        if last {
            self.left.set();
        }
    }
}

impl Job for Part {
    fn queued(&self, times: usize) -> usize {
        let mut gate = self.gate.lock();
        let times = if gate.closed { 0 } else { times };
        gate.places += times;
        times
    }

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
        struct Inside<'a> {
            part: &'a Part,
            over: bool,
        }
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                if self.over {
                    self.part.close();
                }
                self.part.leave(self.over);
            }
        }
        let mut inside = Inside { part: self, over: true };
        // SAFETY: 1: this claimant has not left.
        let shift = unsafe { (self.body.call)(self.body.data, self) };
        let over = self.shared.ended(shift.calls);
        inside.over = shift.over;
        drop(inside);
        over.tell();
    }

    fn refuse(&self, why: TaskError) {
        let mut gate = self.gate.lock();
        gate.refused = Some(why);
        gate.closed |= gate.places == 0;
        drop(gate);
        self.leave(true);
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
/// The body may be begun at any time while anybody is in it, and somebody must stay in it until there is nothing to be
/// done by others, either. It can have those who left earlier [called in](Part::call_in).
pub(super) fn lend<B: Fn(&Part) -> Shift + Sync>(
    shared: &Arc<Shared>,
    helpers: usize,
    body: &B,
) -> Result<(), TaskError> {
    let here = shared.employs_this_thread();
    let gate = Gate { places: 0, inside: 0, away: 0, closed: false, refused: None };
    let (shared, body) = (Arc::clone(shared), Body::of(body));
    let part = Arc::new_cyclic(|me| Part { me: me.clone(), shared, gate: Mutex::new(gate), left: Event::new(), body });
    let lent = Lent(Arc::clone(&part));
    part.shared.submit(Arc::clone(&part) as Arc<dyn Job>, helpers)?;
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
