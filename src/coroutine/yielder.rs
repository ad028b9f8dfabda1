//! Yielder: the body's end of a generator.
//!
//! # Safety
//!
//! The invariants are those of `engine.rs`.

#![expect(unsafe_code, reason = "takes what was passed through a switch by address")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::resume_unwind;
use std::thread::panicking;

use super::delegation::Key;
use super::error::{GenError, Interrupt};
use super::fiber::Link;
use super::phase::Phase;
use super::protocol::{Coroutine, Step};

/// What a generator is resumed with when it is not a value.
pub(super) enum Command {
    Interrupt(Interrupt),
    /// Panic, so that what is on the stack is dropped.
    Unwind,
    /// Drop the body, which has not begun.
    Discard,
    /// Whom the body delegates to has ended.
    Collect,
}

/// What a body that delegates is resumed with.
enum Resumed<R> {
    Sent(R),
    Collect,
}

/// The payload of the panics that end a body from outside. They do not reach the panic hook.
pub(super) struct Unwinding;

/// After so many refusals a body that is closed while the thread panics is not asked again.
const PATIENCE: u32 = 16;

/// The body's end of a [`Generator`](super::Generator): what it yields values with.
///
/// It belongs to one body and works in there only, at any depth of calls. It is neither `Send` nor `Sync`:
///
/// ```compile_fail,E0277
/// use crewkit::coroutine::Generator;
///
/// Generator::new(|y, ()| {
///     std::thread::scope(|scope| drop(scope.spawn(|| y.yield_(1))));
///     Ok(())
/// });
/// ```
pub struct Yielder<Y, R = ()> {
    link: Link<MaybeUninit<Y>>,
    /// The interrupt that a panic of `yield_or_unwind` stands for.
    thrown: Cell<Option<Interrupt>>,
    _takes: PhantomData<fn() -> R>,
}

impl<Y, R> Yielder<Y, R> {
    pub(super) fn new(link: Link<MaybeUninit<Y>>) -> Self {
        Self { link, thrown: Cell::new(None), _takes: PhantomData }
    }

    /// What the body begins with, unless it is to be dropped.
    #[inline]
    pub(super) fn first(&self) -> Option<R> {
        let header = self.link.header();
        // SAFETY: invariant 4.
        let first = (header.phase.get() == Phase::Running).then(|| unsafe { header.word.take() });
        header.phase.set(Phase::Running);
        first
    }

    /// Gives `value` to whoever resumed the generator, and waits until it is resumed: Python's `yield`. Returns what was
    /// [sent](super::Generator::send).
    ///
    /// While the thread panics, which it does when the destructors of an unwinding body run, nothing is yielded and the
    /// answer is [`Interrupt::Close`]: a switch in the middle of an unwinding would leave the thread panicking for all
    /// others that run on it. A generator that is dropped while the thread panics gets the same answer, until it ends.
    ///
    /// # Errors
    ///
    /// What was [thrown](super::Generator::throw) in, or that the generator is to end. Return it, usually by `?`.
    ///
    /// # Panics
    ///
    /// When it is called from outside the body that it was given to, for instance in another generator, or on another stack
    /// that the body switched to, as by `stacker::maybe_grow`.
    #[inline(always)]
    pub fn yield_(&self, value: Y) -> Result<R, Interrupt> {
        if panicking() {
            return self.refuse(value);
        }
        self.link.suspend(Phase::Suspended, MaybeUninit::new(value));
        let header = self.link.header();
        if header.phase.get() != Phase::Running {
            return Err(self.interrupted());
        }
        // SAFETY: invariant 4.
        Ok(unsafe { header.word.take() })
    }

    #[cold]
    fn interrupted(&self) -> Interrupt {
        match self.command() {
            Command::Interrupt(interrupt) => interrupt,
            Command::Unwind | Command::Discard | Command::Collect => resume_unwind(Box::new(Unwinding)),
        }
    }

    #[inline]
    fn command(&self) -> Command {
        let header = self.link.header();
        header.phase.set(Phase::Running);
        // SAFETY: invariant 4: it was told this just now.
        let command = unsafe { header.word.target::<ManuallyDrop<Command>>() };
        // SAFETY: as above; it is taken once, here.
        ManuallyDrop::into_inner(unsafe { command.read() })
    }

    /// [`yield_`](Self::yield_), by which the next value goes to another one, and wakes this body only if that cannot take
    /// it or ends.
    #[inline(always)]
    fn delegate<C>(&self, value: Y, to: &C) -> Result<Resumed<R>, Interrupt>
    where
        C: Coroutine<Y, R> + ?Sized,
    {
        let Some(inner) = to.delegate_engine(Key(())) else { return self.yield_(value).map(Resumed::Sent) };
        if panicking() {
            return self.refuse(value).map(Resumed::Sent);
        }
        self.link.must_run();
        let header = self.link.header();
        header.word.point(&inner);
        self.link.suspend(Phase::Delegating, MaybeUninit::new(value));
        if header.phase.get() == Phase::Running {
            // SAFETY: invariant 4.
            return Ok(Resumed::Sent(unsafe { header.word.take() }));
        }
        match self.command() {
            Command::Collect => Ok(Resumed::Collect),
            Command::Interrupt(interrupt) => Err(interrupt),
            Command::Unwind | Command::Discard => resume_unwind(Box::new(Unwinding)),
        }
    }

    #[cold]
    fn refuse(&self, value: Y) -> Result<R, Interrupt> {
        drop(value);
        let header = self.link.header();
        header.refusals.set(header.refusals.get().saturating_add(1));
        if header.refusals.get() > PATIENCE && header.closing_in_panic.get() {
            self.wait_for_ever();
        }
        Err(Interrupt::Close)
    }

    /// Gives the thread back and is never resumed. What is on the stack stays there.
    #[cold]
    fn wait_for_ever(&self) -> ! {
        self.link.header().stuck.set(true);
        loop {
            self.link.suspend(Phase::Suspended, MaybeUninit::uninit());
        }
    }

    /// [`yield_`](Self::yield_) for code that cannot return an error: an interrupt unwinds the body instead, as a panic
    /// that prints nothing. At the generator's end it counts as if the body had returned it.
    ///
    /// In a program with `panic = "abort"` the body is left where it is when it is interrupted, and its stack leaked.
    ///
    /// # Panics
    ///
    /// As `yield_`. While the thread panics it panics too, which in a destructor ends the process.
    #[inline(always)]
    pub fn yield_or_unwind(&self, value: Y) -> R {
        match self.yield_(value) {
            Ok(value) => value,
            Err(interrupt) => self.unwind(interrupt),
        }
    }

    #[cold]
    fn unwind(&self, interrupt: Interrupt) -> ! {
        self.thrown.set(Some(interrupt));
        if cfg!(panic = "abort") {
            self.wait_for_ever();
        }
        resume_unwind(Box::new(Unwinding))
    }

    /// What a body ends with whose panic was `Unwinding`.
    pub(super) fn unwound(&self) -> Interrupt {
        self.thrown.take().unwrap_or(Interrupt::Close)
    }

    /// Yields all that another coroutine yields, and returns what it returns: Python's `yield from`.
    ///
    /// What is sent and thrown into this generator goes to the other one. When this one is told to close, the other one
    /// is closed first. It is resumed for the first time with `R::default()`.
    ///
    /// A body with a stack of its own rarely needs this: a function that is called with the yielder yields from any depth
    /// at the price of one switch, where each level of `yield_from` costs a call on the way to the innermost.
    ///
    /// # Errors
    ///
    /// As [`yield_`](Self::yield_), and what the other one ended with.
    ///
    /// ```
    /// use crewkit::coroutine::Generator;
    ///
    /// let mut all = Generator::new(|y, ()| {
    ///     let mut inner = Generator::new(|y, ()| {
    ///         y.yield_(1)?;
    ///         y.yield_(2)?;
    ///         Ok("done")
    ///     });
    ///     assert_eq!(y.yield_from(&mut inner)?, "done");
    ///     y.yield_(3)
    /// });
    /// assert_eq!(all.by_ref().collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    #[inline(always)]
    pub fn yield_from<C>(&self, coroutine: &mut C) -> Result<C::Return, Interrupt>
    where
        C: Coroutine<Y, R> + ?Sized,
        R: Default,
    {
        self.yield_from_with(coroutine, R::default())
    }

    /// [`yield_from`](Self::yield_from) that resumes the other coroutine for the first time with `first`.
    ///
    /// # Errors
    ///
    /// As `yield_from`.
    #[inline(always)]
    pub fn yield_from_with<C>(&self, coroutine: &mut C, first: R) -> Result<C::Return, Interrupt>
    where
        C: Coroutine<Y, R> + ?Sized,
    {
        let mut step = coroutine.send(first);
        loop {
            let yielded = match step {
                Ok(Step::Yield(yielded)) => yielded,
                Ok(Step::Return(value)) => return Ok(value),
                Err(error) => return Err(error.into()),
            };
            step = match self.delegate(yielded, coroutine) {
                Ok(Resumed::Sent(value)) => coroutine.send(value),
                Ok(Resumed::Collect) => coroutine.delegate_result(Key(())),
                Err(Interrupt::Close) => return Err(closed(coroutine.close())),
                Err(thrown) => coroutine.throw(thrown),
            };
        }
    }
}

/// What a body that was told to close ends with, when it has closed the one that it delegated to.
#[cold]
fn closed<T>(result: Result<Option<T>, GenError>) -> Interrupt {
    result.map_or_else(Interrupt::from, |_| Interrupt::Close)
}

impl<Y> Yielder<Y> {
    /// Yields every item of an iterator: Python's `yield from` for what is no generator.
    ///
    /// # Errors
    ///
    /// As [`yield_`](Self::yield_).
    #[inline(always)]
    pub fn yield_from_iter(&self, items: impl IntoIterator<Item = Y>) -> Result<(), Interrupt> {
        items.into_iter().try_for_each(|item| self.yield_(item))
    }
}

impl<Y, R> std::fmt::Debug for Yielder<Y, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Yielder").field("running", &self.link.runs()).finish()
    }
}
