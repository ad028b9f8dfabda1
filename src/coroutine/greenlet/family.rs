//! Family: the greenlets of one thread that exchange one type, who of them runs, and how it becomes another.
//!
//! # Safety
//!
//! The hot path of a switch counts no references: `current`, `next` and `origin` are plain pointers. The invariants that
//! the `SAFETY` comments of this folder cite:
//!
//! 1. Between switches `current` is alive. Main is an ancestor of every other greenlet, and so lives for as long as anybody
//!    can ask. Of another one that runs, the last handle is not dropped but put into `orphan`, until somebody else has
//!    arrived.
//! 2. From the moment when `next` and `origin` are written until the arrival, no code of users runs, and no handle is
//!    dropped. The target was alive at that moment: by the handle that `switch` was called with, or by the one in `kept`,
//!    which is dropped after the arrival. `origin` was current, so for it the first invariant holds.
//! 3. A greenlet's `link` points into the root frame of its fiber from its beginning to its end, and is null before and
//!    after, and for main.

#![expect(unsafe_code, reason = "pointers to greenlets that are known to live")]

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::rc::Rc;
use std::thread;

use super::super::error::Interrupt;
use super::super::phase::Phase;
use super::node::{Life, Node, Packet, deliver};
use super::trace::{Tracer, Tracing};
use super::{Greenlet, SwitchError};

/// The payload of the panics that unwind a body which does not end when asked. They do not reach the panic hook.
struct Unwinding;

/// How often a body that catches such a panic is unwound again.
const UNWINDINGS: u32 = 16;

/// After so many refusals a body that is unwound while it switches on and on is left where it is.
const PATIENCE: u32 = 16;

/// The greenlets of this thread that exchange values of type `T`.
pub(super) struct Family<T: 'static> {
    /// Who runs.
    current: Cell<*const Node<T>>,
    /// Whom the trampoline runs next.
    next: Cell<*const Node<T>>,
    /// Who ran before the last switch.
    origin: Cell<*const Node<T>>,
    /// The value on its way.
    value: Cell<Option<T>>,
    /// What is on its way instead of a value. If there is neither at an arrival, that is the order to unwind.
    message: Cell<Option<Packet<T>>>,
    /// Whether an arrival has to look at the following three.
    unusual: Cell<bool>,
    tracing: Tracing<T>,
    orphan: Cell<Option<Greenlet<T>>>,
    kept: Cell<Option<Greenlet<T>>>,
}

thread_local! {
    /// The main greenlet of each family.
    static MAINS: RefCell<Vec<(TypeId, Box<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// The main greenlet of a family, which begins with it. While the thread's locals are destroyed a family may not be found
/// any more; a new one is, then.
pub(super) fn main<T: 'static>() -> Greenlet<T> {
    let found = |mains: &RefCell<Vec<(TypeId, Box<dyn Any>)>>| {
        let mut mains = mains.borrow_mut();
        let known = mains.iter().find(|(id, _)| *id == TypeId::of::<T>());
        if let Some(main) = known.and_then(|(_, main)| main.downcast_ref::<Greenlet<T>>()) {
            return main.clone();
        }
        let main = begin();
        mains.push((TypeId::of::<T>(), Box::new(main.clone())));
        main
    };
    MAINS.try_with(found).unwrap_or_else(|_| begin())
}

/// A family with nobody but main, which is returned.
fn begin<T: 'static>() -> Greenlet<T> {
    let family = Rc::new(Family {
        current: Cell::new(ptr::null()),
        next: Cell::new(ptr::null()),
        origin: Cell::new(ptr::null()),
        value: Cell::new(None),
        message: Cell::new(None),
        unusual: Cell::new(false),
        tracing: Tracing::new(),
        orphan: Cell::new(None),
        kept: Cell::new(None),
    });
    let node = Rc::new(Node::main(Rc::clone(&family)));
    family.current.set(Rc::as_ptr(&node));
    Greenlet { node }
}

/// Goes to `target` with a value, and comes back with what the next switch to the caller brings.
#[inline(always)]
pub(super) fn switch<T: 'static>(target: &Greenlet<T>, value: T) -> Result<Option<T>, Interrupt> {
    let family = &*target.node.family;
    let here = family.here()?;
    if !matches!(target.node.life.get(), Life::Main | Life::Started) || ptr::eq(here, &raw const *target.node) {
        return travel(target, Packet::Value(value));
    }
    family.value.set(Some(value));
    family.leave(here, &raw const *target.node);
    family.arrive()
}

/// The same with whatever it is, to whomever it is.
#[cold]
pub(super) fn travel<T: 'static>(target: &Greenlet<T>, packet: Packet<T>) -> Result<Option<T>, Interrupt> {
    let family = &*target.node.family;
    let here = family.here()?;
    // SAFETY: invariant 1.
    if unsafe { &*here }.life.get() == Life::Doomed {
        // Goes nowhere but back to who unwinds it.
        family.leave(here, here);
        return family.arrive();
    }
    let (target, packet) = deliver(target.clone(), packet).map_err(|(_, error)| error)?;
    let next = family.address(target, packet);
    if ptr::eq(here, next) {
        family.origin.set(here);
    } else {
        family.leave(here, next);
    }
    family.arrive()
}

/// Ends a greenlet whose last handle this is: by request, then by force. If it runs, that waits until it does not.
#[cold]
pub(super) fn drop_last<T: 'static>(last: &Greenlet<T>) {
    let node = &last.node;
    let family = &*node.family;
    if node.runs() {
        family.orphan.set(Some(last.clone()));
        family.unusual.set(true);
        return;
    }
    let asked = family.here().is_ok();
    if asked {
        let parent = node.parent.replace(Some(family.current()));
        let answer = catch_unwind(AssertUnwindSafe(|| travel(last, Packet::Throw(Interrupt::Close))));
        let _dropper = node.parent.replace(parent);
        match answer {
            Ok(Err(Interrupt::Error(error))) => eprintln!("crewkit: error ignored in a dropped greenlet: {error}"),
            Ok(_) => {}
            Err(payload) => resume_unwind(payload),
        }
    }
    if node.life.get() == Life::Started && last.is_last() {
        family.force(last, asked);
    }
}

impl<T: 'static> Family<T> {
    /// Another handle of a greenlet.
    ///
    /// # Safety
    ///
    /// It is alive.
    unsafe fn handle(node: *const Node<T>) -> Greenlet<T> {
        // SAFETY: it is alive, says the caller, in an `Rc`, as all are.
        unsafe { Rc::increment_strong_count(node) };
        // SAFETY: the reference that was just counted.
        Greenlet { node: unsafe { Rc::from_raw(node) } }
    }

    pub(super) fn current(&self) -> Greenlet<T> {
        // SAFETY: invariant 1.
        unsafe { Self::handle(self.current.get()) }
    }

    #[inline]
    pub(super) fn is_current(&self, node: &Node<T>) -> bool {
        ptr::eq(self.current.get(), node)
    }

    pub(super) fn set_trace(&self, tracer: Option<Tracer<T>>) -> Option<Tracer<T>> {
        self.unusual.set(true);
        self.tracing.set(tracer)
    }

    /// The current greenlet, if the caller runs on its stack and may leave it.
    #[inline(always)]
    fn here(&self) -> Result<*const Node<T>, SwitchError> {
        let here = self.current.get();
        // SAFETY: invariant 1.
        let node = unsafe { &*here };
        // SAFETY: invariant 3.
        match unsafe { node.link.get().as_ref() } {
            Some(link) if !link.runs() => return Err(SwitchError::ForeignStack),
            None if node.life.get() != Life::Main => return Err(SwitchError::Ended),
            _ => {}
        }
        if thread::panicking() {
            return Err(self.refuse());
        }
        Ok(here)
    }

    /// Does not return to a body that is being ended and asks again and again.
    #[cold]
    fn refuse(&self) -> SwitchError {
        // SAFETY: invariant 1.
        let here = unsafe { &*self.current.get() };
        // SAFETY: invariant 3.
        if let (Life::Doomed, Some(link)) = (here.life.get(), unsafe { here.link.get().as_ref() }) {
            let header = link.header();
            header.refusals.set(header.refusals.get().saturating_add(1));
            while header.refusals.get() > PATIENCE {
                header.stuck.set(true);
                link.suspend(Phase::Suspended, ());
            }
        }
        SwitchError::Panicking
    }

    /// Notes what goes to whom.
    pub(super) fn address(&self, target: Greenlet<T>, packet: Packet<T>) -> *const Node<T> {
        let next = Rc::as_ptr(&target.node);
        match packet {
            Packet::Value(value) => self.value.set(Some(value)),
            packet => self.message.set(Some(packet)),
        }
        self.kept.set(Some(target));
        self.unusual.set(true);
        next
    }

    /// Lets the trampoline go on with `next` after the end of the current one.
    pub(super) fn hand_over(&self, next: *const Node<T>) {
        self.origin.set(self.current.get());
        self.next.set(next);
    }

    /// Goes to `next`, and comes back when that is the caller.
    #[inline(always)]
    fn leave(&self, here: *const Node<T>, next: *const Node<T>) {
        self.origin.set(here);
        self.next.set(next);
        // SAFETY: invariant 1.
        let link = unsafe { &*here }.link.get();
        // SAFETY: invariant 3.
        match unsafe { link.as_ref() } {
            Some(link) => link.suspend(Phase::Suspended, ()),
            None => self.trampoline(here),
        }
    }

    /// Runs one greenlet after the other, until main is next.
    fn trampoline(&self, main: *const Node<T>) {
        loop {
            let next = self.next.get();
            self.current.set(next);
            if ptr::eq(next, main) {
                return;
            }
            // SAFETY: invariant 2, and as it is current now, 1.
            unsafe { &*next }.run();
        }
    }

    /// The first thing after a switch, on the stack of who arrived.
    #[inline(always)]
    pub(super) fn arrive(&self) -> Result<Option<T>, Interrupt> {
        let value = self.value.take();
        if self.unusual.get() {
            return self.arrive_unusually(value);
        }
        match value {
            Some(value) => Ok(Some(value)),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<Option<T>, Interrupt> {
        match self.message.take() {
            Some(packet) => packet.open(),
            None => resume_unwind(Box::new(Unwinding)),
        }
    }

    #[cold]
    fn arrive_unusually(&self, value: Option<T>) -> Result<Option<T>, Interrupt> {
        let Some(packet) = value.map(Packet::Value).or_else(|| self.message.take()) else { return self.open() };
        // SAFETY: invariant 1.
        if unsafe { &*self.current.get() }.life.get() == Life::Doomed {
            return packet.open();
        }
        let (kept, orphan) = (self.kept.take(), self.orphan.take());
        self.unusual.set(self.tracing.is_on());
        if self.tracing.is_on() {
            // SAFETY: invariant 1: it was current, and the orphan is here.
            let origin = unsafe { Self::handle(self.origin.get()) };
            self.tracing.tell(packet.event(), &origin, &self.current());
            // Arrivals that the tracer made found no tracer in its place, and took it that there is none.
            self.unusual.set(self.unusual.get() || self.tracing.is_on());
        }
        drop(kept);
        drop(orphan);
        packet.open()
    }

    /// Ends a suspended greenlet from here, on its own stack: asks it, if it was not asked, and then unwinds it. What refuses
    /// all that keeps its stack for ever.
    fn force(&self, last: &Greenlet<T>, asked: bool) {
        let node = &last.node;
        node.life.set(Life::Doomed);
        if !asked {
            self.message.set(Some(Packet::Throw(Interrupt::Close)));
        }
        for turn in u32::from(asked)..=UNWINDINGS {
            if node.life.get() == Life::Dead || node.is_stuck() || (turn > 0 && cfg!(panic = "abort")) {
                break;
            }
            let dropper = self.current.replace(Rc::as_ptr(node));
            node.run();
            self.current.set(dropper);
            // What it sent somewhere instead of ending.
            drop((self.value.take(), self.message.take()));
        }
        if node.life.get() != Life::Dead {
            node.abandon();
        }
    }
}
