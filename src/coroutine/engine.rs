//! Engine: a generator's body, the state it is in, and every step from one state to the next.
//!
//! `README.md` of this folder has the states, who owns the stack in each, and what every way to end does.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. The fiber is there, and `header` is that of its stack, until it is dropped; from then on `header` is that of what has
//!    ended. So it can always be read, and the fiber is there unless the phase is `Finished`.
//! 2. The fiber is touched by whoever sets the phase to `Running` or `Told`, until it comes back from its turn, and by nobody
//!    meanwhile.
//! 3. A fiber that suspends has yielded a value, unless the header says that it is stuck.
//! 4. What the header's word is, says the phase: see there. A body takes a value or a command that it was resumed with
//!    first thing, once, and whoever resumed it waits meanwhile, so it is where it was.
//! 5. While a body waits in `yield_from`, it borrows the generator that it delegates to, so that is there and stays where
//!    it is.

#![expect(unsafe_code, reason = "owns a fiber, and lets those who share it reach it")]

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::thread::panicking;

use super::delegation::{Inner, MOST_PASSED, Relay};
use super::error::{GenError, Interrupt};
use super::fiber::{End, Fiber, Turn, discard};
use super::phase::Phase;
use super::protocol::State;
use super::stack::{Header, Stack, used};
use super::yielder::{Command, Unwinding, Yielder};

type Body<Y, T> = Fiber<MaybeUninit<Y>, Result<T, Interrupt>>;

/// Sends the value to the engine, which lives, while the thread does not panic. The value is moved out unless the answer is
/// [`Relay::Unready`]. The number is how many engines it may pass on the way, each with a frame on the caller's stack.
pub(super) type RelayFn<Y, R> = unsafe fn(NonNull<()>, NonNull<R>, usize) -> Relay<Y>;

/// How a body ended.
pub(super) type Ending<T> = End<Result<T, Interrupt>>;

/// A body on its stack. Dropping it ends the body.
pub(super) struct Engine<Y, R, T> {
    header: Cell<NonNull<Header>>,
    fiber: UnsafeCell<ManuallyDrop<Body<Y, T>>>,
    name: Cow<'static, str>,
    /// How the body ended, if whoever delegates to it is to learn that.
    end: Cell<Option<Box<Ending<T>>>>,
    /// The part of the stack that was used, if that is measured.
    used: Cell<Option<usize>>,
    /// The body borrows, so it must have ended when this is dropped.
    scoped: bool,
    _takes: PhantomData<fn(R)>,
}

/// Bodies larger than this, or with stricter alignment, go to the heap: corosensei takes at most 1 KiB along to the new stack.
const MOST_ON_STACK: usize = 512;
const MOST_ALIGNED: usize = 16;

/// How often a body that goes on yielding is unwound before it is left alone.
const UNWINDINGS: usize = 16;

impl<Y, R, T> Engine<Y, R, T> {
    /// # Safety
    ///
    /// What `body`, `Y`, `R` and `T` borrow outlives the process, or `scoped` is set, and the engine is dropped before
    /// what they borrow ends.
    #[inline]
    pub(super) unsafe fn on<F>(stack: Stack, name: Cow<'static, str>, scoped: bool, body: F) -> Self
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt>,
    {
        if size_of::<F>() > MOST_ON_STACK || align_of::<F>() > MOST_ALIGNED {
            let body = Box::new(body);
            // SAFETY: passed on.
            return unsafe { Self::on_small(stack, name, scoped, move |y: &_, first| body(y, first)) };
        }
        // SAFETY: passed on.
        unsafe { Self::on_small(stack, name, scoped, body) }
    }

    /// # Safety
    ///
    /// As for `on`.
    #[inline]
    unsafe fn on_small<F>(stack: Stack, name: Cow<'static, str>, scoped: bool, body: F) -> Self
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt>,
    {
        stack.begin(ptr::from_ref(&*name));
        let header = stack.header();
        let root = move |link| {
            let yielder = Yielder::new(link);
            let end = catch_unwind(AssertUnwindSafe(|| match yielder.first() {
                Some(first) => body(&yielder, first),
                None => {
                    drop(body);
                    Err(Interrupt::Close)
                }
            }));
            match end {
                Err(payload) if payload.is::<Unwinding>() => Ok(Err(yielder.unwound())),
                end => end,
            }
        };
        // SAFETY: the yielder, and the link in it, end with this root; the rest says the caller.
        let fiber = unsafe { Fiber::new(stack, root) };
        Self {
            header: Cell::new(header),
            fiber: UnsafeCell::new(ManuallyDrop::new(fiber)),
            name,
            end: Cell::new(None),
            used: Cell::new(None),
            scoped,
            _takes: PhantomData,
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        self.header().phase.get().state()
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: invariant 1.
        unsafe { self.header.get().as_ref() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether [`hand_in`](Self::hand_in) may be called.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.header().phase.get().is_ready() && !panicking()
    }

    /// Runs the body, which is ready, with a value.
    #[inline(always)]
    pub(super) fn hand_in(&self, value: &ManuallyDrop<R>) -> Turn<Y, Result<T, Interrupt>> {
        let header = self.header();
        header.phase.set(Phase::Running);
        header.word.put(value);
        match self.turn() {
            // SAFETY: invariant 3; nothing that follows from a sent value leaves a body stuck.
            Turn::Suspended(value) => Turn::Suspended(unsafe { value.assume_init() }),
            Turn::Ended(end) => Turn::Ended(end),
        }
    }

    pub(super) fn stack_used(&self) -> Option<usize> {
        self.used.get()?;
        if matches!(self.state(), State::Created | State::Suspended) {
            self.measure();
        }
        self.used.get()
    }

    pub(super) fn measure_from_now(&self) {
        self.used.set(Some(0));
    }

    /// Runs the body to its next turn. The phase says with what.
    #[inline(always)]
    fn turn(&self) -> Turn<MaybeUninit<Y>, Result<T, Interrupt>> {
        // SAFETY: invariants 1 and 2.
        let fiber = unsafe { &mut *self.fiber.get() };
        // SAFETY: invariant 1: it is there, so it has not ended.
        match unsafe { fiber.resume() } {
            Turn::Suspended(value) => Turn::Suspended(value),
            Turn::Ended(end) => {
                self.finish();
                Turn::Ended(end)
            }
        }
    }

    /// Runs the body, which is suspended or has not begun, with what is not a value, which may leave the body stuck.
    pub(super) fn interrupt(&self, command: Command) -> Turn<Y, Result<T, Interrupt>> {
        let command = ManuallyDrop::new(command);
        let header = self.header.get();
        {
            // SAFETY: invariant 1.
            let header = unsafe { header.as_ref() };
            header.closing_in_panic.set(panicking());
            header.phase.set(Phase::Told);
            header.word.point(&command);
        }
        match self.turn() {
            Turn::Ended(end) => Turn::Ended(end),
            // SAFETY: it is suspended, so its stack is in use.
            Turn::Suspended(_) if unsafe { header.as_ref() }.stuck.get() => {
                self.abandon();
                Turn::Ended(Ok(Err(Interrupt::Close)))
            }
            // SAFETY: invariant 3.
            Turn::Suspended(value) => Turn::Suspended(unsafe { value.assume_init() }),
        }
    }

    /// Drops the body, which has not begun.
    #[cold]
    pub(super) fn discard(&self) -> Result<(), GenError> {
        match self.interrupt(Command::Discard) {
            Turn::Ended(Ok(_)) | Turn::Suspended(_) => Ok(()),
            Turn::Ended(Err(payload)) => Err(raise(payload)),
        }
    }

    /// Lets go of the fiber, which has ended or will never be resumed.
    #[inline(never)]
    fn finish(&self) {
        if self.used.get().is_some() {
            self.measure();
        }
        self.header.set(Header::ended());
        // SAFETY: invariants 1 and 2.
        let fiber = unsafe { &mut *self.fiber.get() };
        // SAFETY: invariant 1: nobody looks at it any more.
        unsafe { ManuallyDrop::drop(fiber) };
    }

    /// Leaves a suspended body as it is, for ever.
    fn abandon(&self) {
        if self.scoped {
            eprintln!(
                "crewkit: generator '{}' did not end with its scope, and what it borrows does: aborting",
                self.name
            );
            std::process::abort();
        }
        self.finish();
    }

    #[cold]
    fn measure(&self) {
        // SAFETY: invariant 1; it is painted, because `used` is there, and does not run, or not any more.
        self.used.set(Some(unsafe { used(self.header.get()) }));
    }

    /// Why it cannot be resumed.
    #[cold]
    pub(super) fn busy(&self) -> GenError {
        match self.state() {
            State::Running => GenError::AlreadyExecuting,
            State::Finished => GenError::Finished,
            State::Created | State::Suspended => GenError::Panicking,
        }
    }
}

/// Delegation: `delegation.rs` says what passes.
impl<Y, R, T> Engine<Y, R, T> {
    pub(super) fn inner(&self) -> Inner<Y, R> {
        Inner { engine: NonNull::from(self).cast(), relay: Self::relay }
    }

    /// How the body ended, when a value was passed to it.
    pub(super) fn collect(&self) -> Ending<T> {
        self.end.take().map_or(Ok(Err(Interrupt::Close)), |end| *end)
    }

    /// Sends a value, when the body is not ready, to whom it delegates to, or says why it cannot be resumed.
    pub(super) fn send_inwards(&self, value: R) -> Result<Turn<Y, Result<T, Interrupt>>, GenError> {
        if self.header().phase.get() != Phase::Delegating || panicking() {
            return Err(self.busy());
        }
        let mut value = ManuallyDrop::new(value);
        // SAFETY: this engine is there; the value is moved, as the answer is not `Unready`: this one is ready.
        Ok(match unsafe { Self::relay(NonNull::from(self).cast(), NonNull::from(&mut *value), MOST_PASSED) } {
            Relay::Yielded(value) => Turn::Suspended(value),
            Relay::Ended | Relay::Unready => Turn::Ended(self.collect()),
        })
    }

    /// # Safety
    ///
    /// As of `RelayFn`; `engine` is one of these.
    unsafe fn relay(engine: NonNull<()>, value: NonNull<R>, passes: usize) -> Relay<Y> {
        // SAFETY: says the caller.
        let this = unsafe { engine.cast::<Self>().as_ref() };
        let header = this.header();
        match header.phase.get() {
            Phase::Delegating if passes > 0 => {
                // SAFETY: invariant 4: this is what the word is while the body delegates.
                let inner = unsafe { header.word.target::<Inner<Y, R>>() };
                // SAFETY: it lies in a frame of the body, which waits.
                let Inner { engine, relay } = *unsafe { inner.as_ref() };
                header.phase.set(Phase::Running);
                // SAFETY: invariant 5. The thread does not panic, and the value is there, says the caller.
                match unsafe { relay(engine, value, passes - 1) } {
                    Relay::Yielded(value) => {
                        header.phase.set(Phase::Delegating);
                        Relay::Yielded(value)
                    }
                    Relay::Ended => this.relayed(this.interrupt(Command::Collect)),
                    // SAFETY: it has not been moved.
                    Relay::Unready => this.relay_here(unsafe { value.cast().as_ref() }),
                }
            }
            // SAFETY: the value is there, says the caller.
            Phase::Created | Phase::Suspended | Phase::Delegating => this.relay_here(unsafe { value.cast().as_ref() }),
            Phase::Running | Phase::Told | Phase::Finished => Relay::Unready,
        }
    }

    #[inline(never)]
    fn relay_here(&self, value: &ManuallyDrop<R>) -> Relay<Y> {
        self.relayed(self.hand_in(value))
    }

    #[inline]
    fn relayed(&self, turn: Turn<Y, Result<T, Interrupt>>) -> Relay<Y> {
        match turn {
            Turn::Suspended(value) => Relay::Yielded(value),
            Turn::Ended(end) => {
                self.end.set(Some(Box::new(end)));
                Relay::Ended
            }
        }
    }
}

/// What a body's end means for whoever resumed it.
#[inline]
pub(super) fn result<T>(end: Ending<T>) -> Result<T, GenError> {
    match end {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(interrupt)) => Err(outcome(interrupt)),
        Err(payload) => Err(raise(payload)),
    }
}

pub(super) fn outcome(interrupt: Interrupt) -> GenError {
    match interrupt {
        Interrupt::Close => GenError::Finished,
        Interrupt::Error(error) => GenError::Thrown(error),
    }
}

/// Goes on with a body's panic, unless the thread panics already: a second one would end the process.
#[cold]
fn raise(payload: Box<dyn Any + Send>) -> GenError {
    if !panicking() {
        resume_unwind(payload);
    }
    discard(payload);
    GenError::Panicking
}

impl<Y, R, T> Drop for Engine<Y, R, T> {
    #[inline]
    fn drop(&mut self) {
        if self.header().phase.get() != Phase::Finished {
            self.end();
        }
    }
}

impl<Y, R, T> Engine<Y, R, T> {
    /// One close, then a bounded number of unwindings, then it is left where it is.
    ///
    /// Values that it yields meanwhile, and what it ends with, are dropped. If that panics, the body is brought to its end
    /// nevertheless, because what it borrows may end with this: the last panic goes on afterwards.
    #[cold]
    fn end(&mut self) {
        let mut command = match self.state() {
            State::Created => Command::Discard,
            State::Suspended => Command::Interrupt(Interrupt::Close),
            // Whoever resumed it borrows it, so it is not dropped.
            State::Running | State::Finished => return,
        };
        let mut panic = None;
        for _ in 0..=UNWINDINGS {
            let turn = catch_unwind(AssertUnwindSafe(|| match self.interrupt(command) {
                Turn::Ended(Err(payload)) => drop(raise(payload)),
                turn => drop(turn),
            }));
            if let Err(payload) = turn {
                discard(panic.replace(payload));
            }
            if self.state() == State::Finished || cfg!(panic = "abort") {
                break;
            }
            command = Command::Unwind;
        }
        if self.state() != State::Finished {
            self.abandon();
        }
        if let Some(payload) = panic {
            drop(raise(payload));
        }
    }
}
