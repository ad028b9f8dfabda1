//! Engine: a generator's body, the state it is in, and every step from one state to the next.
//!
//! `README.md` of this folder has the states, who owns the stack in each, and what every way to end does.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. The fiber is there until `state` is `Finished`, and is dropped when that is set.
//! 2. It is touched by whoever sets `state` to `Running`, until that is set to something else, and by nobody meanwhile.
//! 3. A fiber that suspends has yielded a value, unless the header says that it is stuck.

#![expect(unsafe_code, reason = "owns a fiber, and lets those who share it reach it")]

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::thread::panicking;

use super::error::{GenError, Interrupt};
use super::fiber::{End, Fiber, Turn, discard};
use super::protocol::State;
use super::stack::{Header, Stack, used};
use super::yielder::{Command, Parcel, Unwinding, Yielder};

type Body<Y, R, T> = Fiber<Parcel<R>, MaybeUninit<Y>, Result<T, Interrupt>>;

/// A body on its stack. Dropping it ends the body.
pub(super) struct Engine<Y, R, T> {
    state: Cell<State>,
    fiber: UnsafeCell<ManuallyDrop<Body<Y, R, T>>>,
    name: Cow<'static, str>,
    /// The part of the stack that was used, if that is measured.
    used: Cell<Option<usize>>,
    /// The body borrows, so it must have ended when this is dropped.
    scoped: bool,
}

/// Bodies larger than this go to the heap: corosensei takes at most 1 KiB along to the new stack.
const MOST_ON_STACK: usize = 512;

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
        if size_of::<F>() > MOST_ON_STACK {
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
        let root = move |link, parcel| {
            let yielder = Yielder::new(link);
            // SAFETY: passed in by the turn that began just now.
            let end = catch_unwind(AssertUnwindSafe(|| match unsafe { Parcel::open(parcel) } {
                Command::Send(first) => body(&yielder, first),
                _ => {
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
            state: Cell::new(State::Created),
            fiber: UnsafeCell::new(ManuallyDrop::new(fiber)),
            name,
            used: Cell::new(None),
            scoped,
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[inline(always)]
    pub(super) fn send(&self, value: R) -> Result<Turn<Y, Result<T, Interrupt>>, GenError> {
        if !matches!(self.state.get(), State::Created | State::Suspended) || panicking() {
            return Err(self.busy());
        }
        Ok(match self.resume(Command::Send(value)) {
            // SAFETY: invariant 3; nothing that follows from a sent value leaves a body stuck.
            Turn::Suspended(value) => Turn::Suspended(unsafe { value.assume_init() }),
            Turn::Ended(end) => Turn::Ended(end),
        })
    }

    pub(super) fn stack_used(&self) -> Option<usize> {
        self.used.get()?;
        if matches!(self.state.get(), State::Created | State::Suspended) {
            self.measure();
        }
        self.used.get()
    }

    pub(super) fn measure_from_now(&self) {
        self.used.set(Some(0));
    }

    /// Runs the body to its next turn. Its state is `Created` or `Suspended`.
    #[inline(always)]
    fn resume(&self, command: Command<R>) -> Turn<MaybeUninit<Y>, Result<T, Interrupt>> {
        self.state.set(State::Running);
        let mut command = ManuallyDrop::new(command);
        // SAFETY: invariants 1 and 2.
        let fiber = unsafe { &mut *self.fiber.get() };
        match fiber.resume(Parcel::new(&mut command)) {
            Turn::Suspended(value) => {
                self.state.set(State::Suspended);
                Turn::Suspended(value)
            }
            Turn::Ended(end) => {
                self.finish();
                Turn::Ended(end)
            }
        }
    }

    /// As `resume`, with what is not a value, which may leave the body stuck.
    #[cold]
    pub(super) fn interrupt(&self, command: Command<R>) -> Turn<Y, Result<T, Interrupt>> {
        let header = self.header();
        // SAFETY: invariant 1.
        unsafe { header.as_ref() }.closing_in_panic.set(panicking());
        match self.resume(command) {
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

    fn header(&self) -> NonNull<Header> {
        // SAFETY: invariants 1 and 2: it is neither finished nor running.
        unsafe { &*self.fiber.get() }.header()
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
        self.state.set(State::Finished);
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
        self.used.set(Some(unsafe { used(self.header()) }));
    }

    /// Why it cannot be resumed.
    #[cold]
    pub(super) fn busy(&self) -> GenError {
        match self.state.get() {
            State::Running => GenError::AlreadyExecuting,
            State::Finished => GenError::Finished,
            State::Created | State::Suspended => GenError::Panicking,
        }
    }
}

/// What a body's end means for whoever resumed it.
#[inline]
pub(super) fn result<T>(end: End<Result<T, Interrupt>>) -> Result<T, GenError> {
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
        if self.state.get() != State::Finished {
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
        let mut command = match self.state.get() {
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
            if self.state.get() == State::Finished || cfg!(panic = "abort") {
                break;
            }
            command = Command::Unwind;
        }
        if self.state.get() != State::Finished {
            self.abandon();
        }
        if let Some(payload) = panic {
            drop(raise(payload));
        }
    }
}
