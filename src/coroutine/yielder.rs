//! Yielder: the body's end of a generator.
//!
//! # Safety
//!
//! A turn of a generator passes the address of its [`Command`], on the stack of whoever resumes, which waits there until
//! the turn ends. The body takes the command out first thing, once.

#![expect(unsafe_code, reason = "takes what was passed through a switch by address")]

use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::thread::panicking;

use super::error::{GenError, Interrupt};
use super::fiber::Link;
use super::protocol::{Coroutine, Step};

/// What a generator is resumed with.
pub(super) enum Command<R> {
    Send(R),
    Interrupt(Interrupt),
    /// Panic, so that what is on the stack is dropped.
    Unwind,
    /// Drop the body, which has not begun.
    Discard,
}

/// A command on the stack of whoever resumes: a turn passes its address, which fits in a register.
pub(super) struct Parcel<R>(NonNull<ManuallyDrop<Command<R>>>);

impl<R> Parcel<R> {
    #[inline]
    pub(super) fn new(command: &mut ManuallyDrop<Command<R>>) -> Self {
        Self(NonNull::from(command))
    }

    /// # Safety
    ///
    /// The turn that passed it goes on, and it was not opened before.
    #[inline]
    pub(super) unsafe fn open(self) -> Command<R> {
        // SAFETY: whoever resumes keeps the command where it is, and does not touch it, until the turn ends.
        ManuallyDrop::into_inner(unsafe { self.0.read() })
    }

    /// As `open`, for one who expects a value.
    ///
    /// Only that is copied: the command was written in pieces just now, and reading it whole would wait for them all.
    ///
    /// # Safety
    ///
    /// As for `open`.
    #[inline(always)]
    unsafe fn open_value(self) -> Result<R, Self> {
        // SAFETY: as in `open`.
        match unsafe { self.0.as_ref() }.deref() {
            // SAFETY: as in `open`; it is in a `ManuallyDrop`, so it is not dropped there.
            Command::Send(value) => Ok(unsafe { ptr::from_ref(value).read() }),
            _ => Err(self),
        }
    }
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
    link: Link<Parcel<R>, MaybeUninit<Y>>,
    /// The interrupt that a panic of `yield_or_unwind` stands for.
    thrown: Cell<Option<Interrupt>>,
}

impl<Y, R> Yielder<Y, R> {
    pub(super) fn new(link: Link<Parcel<R>, MaybeUninit<Y>>) -> Self {
        Self { link, thrown: Cell::new(None) }
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
    /// When it is called from outside the body that it was given to, for instance in another generator.
    #[inline(always)]
    pub fn yield_(&self, value: Y) -> Result<R, Interrupt> {
        if panicking() {
            return self.refuse(value);
        }
        let parcel = self.link.suspend(MaybeUninit::new(value));
        // SAFETY: passed in by the turn that began just now.
        match unsafe { parcel.open_value() } {
            Ok(value) => Ok(value),
            // SAFETY: as above.
            Err(parcel) => Err(unsafe { Self::interrupted(parcel) }),
        }
    }

    /// # Safety
    ///
    /// As for `Parcel::open`; it is not a value.
    #[cold]
    unsafe fn interrupted(parcel: Parcel<R>) -> Interrupt {
        // SAFETY: passed on.
        match unsafe { parcel.open() } {
            Command::Interrupt(interrupt) => interrupt,
            Command::Send(_) | Command::Unwind | Command::Discard => resume_unwind(Box::new(Unwinding)),
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
            let _ = self.link.suspend(MaybeUninit::uninit());
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
    /// at the price of one switch, where each level of `yield_from` costs a switch of its own.
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
        let mut value = first;
        loop {
            // Steps are taken apart where they are made: moving one through a variable costs more than a switch.
            match coroutine.send(value) {
                Ok(Step::Yield(yielded)) => match self.yield_(yielded) {
                    Ok(sent) => value = sent,
                    Err(interrupt) => match self.pass_on(coroutine, interrupt)? {
                        Step::Yield(sent) => value = sent,
                        Step::Return(value) => return Ok(value),
                    },
                },
                Ok(Step::Return(value)) => return Ok(value),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Throws what was thrown into the body into the one that it delegates to, until a value is sent, which this returns
    /// as `Yield`, or the other one ends.
    #[cold]
    fn pass_on<C>(&self, coroutine: &mut C, mut interrupt: Interrupt) -> Result<Step<R, C::Return>, Interrupt>
    where
        C: Coroutine<Y, R> + ?Sized,
    {
        loop {
            if matches!(interrupt, Interrupt::Close) {
                return Err(closed(coroutine.close()));
            }
            match coroutine.throw(interrupt) {
                Ok(Step::Yield(yielded)) => match self.yield_(yielded) {
                    Ok(sent) => return Ok(Step::Yield(sent)),
                    Err(next) => interrupt = next,
                },
                Ok(Step::Return(value)) => return Ok(Step::Return(value)),
                Err(error) => return Err(error.into()),
            }
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
