//! The body's end of a light generator, and the slate between the two.
//!
//! # Safety
//!
//! The invariants are those of the folder.

#![expect(unsafe_code, reason = "the body points to the slate, which lies beside it")]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

use super::super::error::{GenError, Interrupt};
use super::super::protocol::{Coroutine, Step};

/// Where the generator and its body leave things for each other. A switch touches few bytes and drops nothing.
///
/// The values are options in two parts: as one, each would fill up the word of its tag, and a hundred thousand generators
/// cost what their memory costs.
pub(super) struct Slate<Y, R> {
    yielded: Cell<MaybeUninit<Y>>,
    sent: Cell<MaybeUninit<R>>,
    /// Where what is thrown in lies, while it is thrown in; else null. Taken from there if nothing was sent.
    pub(super) interrupt: Cell<*const Thrown>,
    has_yielded: Cell<bool>,
    has_sent: Cell<bool>,
}

impl<Y, R> Slate<Y, R> {
    /// Leaves a value that is yielded, or takes it away; returns the one that was there.
    #[inline(always)]
    pub(super) fn yielded(&self, value: Option<Y>) -> Option<Y> {
        replace(&self.yielded, &self.has_yielded, value)
    }

    /// Leaves a value that is sent, or takes it away; returns the one that was there.
    #[inline(always)]
    pub(super) fn sent(&self, value: Option<R>) -> Option<R> {
        replace(&self.sent, &self.has_sent, value)
    }
}

/// Of two fields of a slate: a value, and whether it is there. Nobody else writes to either.
#[inline(always)]
fn replace<V>(place: &Cell<MaybeUninit<V>>, there: &Cell<bool>, value: Option<V>) -> Option<V> {
    let was_there = there.replace(value.is_some());
    let old = place.replace(value.map_or_else(MaybeUninit::uninit, MaybeUninit::new));
    // SAFETY: it is there, and taken out: the place holds `value` now, and the other field says so.
    was_there.then(|| unsafe { old.assume_init() })
}

impl<Y, R> Drop for Slate<Y, R> {
    fn drop(&mut self) {
        // The second is dropped also if the first one's destructor panics.
        let _sent = self.sent(None);
        drop(self.yielded(None));
    }
}

/// What is thrown in. It is for the thread that throws it only: it may hold what is not `Send`.
pub(super) struct Thrown {
    thrower: Thrower,
    interrupt: Cell<Option<Interrupt>>,
}

impl Thrown {
    pub(super) fn new(interrupt: Interrupt) -> Self {
        Self { thrower: Thrower::current(), interrupt: Cell::new(Some(interrupt)) }
    }
}

/// The thread that throws an interrupt: where it keeps a local of its own. It does so for as long as it throws, so no
/// other thread has the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Thrower(usize);

impl Thrower {
    /// The calling thread.
    fn current() -> Self {
        thread_local!(static LOCAL: u8 = const { 0 });
        Self(LOCAL.with(|local| ptr::from_ref(local).addr()))
    }
}

impl<Y, R> Default for Slate<Y, R> {
    fn default() -> Self {
        Self {
            yielded: Cell::new(MaybeUninit::uninit()),
            sent: Cell::new(MaybeUninit::uninit()),
            interrupt: Cell::new(ptr::null()),
            has_yielded: Cell::new(false),
            has_sent: Cell::new(false),
        }
    }
}

/// The body's end of a [`LightGenerator`](super::LightGenerator): what it yields values with.
///
/// It is borrowed while a value is yielded, so one body yields one value at a time.
///
/// The lifetime `'g` is that of nothing: it is another one for each generator, so that a body which has the yielders of two
/// cannot exchange them.
///
/// ```compile_fail
/// use crewkit::coroutine::LightGenerator;
///
/// let mut outer = LightGenerator::<i32>::new(async |outer, ()| {
///     let mut inner = LightGenerator::<i32>::new(async |inner, ()| {
///         std::mem::swap(outer, inner); // lifetime may not live long enough
///         outer.yield_(1).await
///     });
///     inner.next();
///     drop(inner);
///     outer.yield_(2).await
/// });
/// outer.next();
/// ```
pub struct LightYielder<'g, Y, R = ()> {
    slate: NonNull<Slate<Y, R>>,
    _uses: PhantomData<(Y, R)>,
    _of: PhantomData<Cell<&'g ()>>,
}

// SAFETY: it may go where the body goes; by invariant 3 it is used by one thread at a time.
unsafe impl<Y: Send, R: Send> Send for LightYielder<'_, Y, R> {}

impl<Y, R> LightYielder<'_, Y, R> {
    /// # Safety
    ///
    /// The slate outlives the yielder.
    pub(super) unsafe fn new(slate: NonNull<Slate<Y, R>>) -> Self {
        Self { slate, _uses: PhantomData, _of: PhantomData }
    }

    #[inline]
    fn slate(&self) -> &Slate<Y, R> {
        // SAFETY: invariants 2 and 3.
        unsafe { self.slate.as_ref() }
    }

    /// What the body begins with.
    #[inline]
    pub(super) fn first(&mut self) -> Result<R, Interrupt> {
        self.slate().sent(None).ok_or(Interrupt::Close)
    }

    /// Gives `value` to whoever resumed the generator, and waits until it is resumed: Python's `yield`. Returns what was
    /// [sent](super::LightGenerator::send).
    ///
    /// # Errors
    ///
    /// What was [thrown](super::LightGenerator::throw) in, or that the generator is to end. Return it, usually by `?`.
    ///
    /// # Panics
    ///
    /// When an interrupt was thrown in and the body polls this in another thread: it may be nothing for that.
    #[inline]
    pub fn yield_(&mut self, value: Y) -> impl Future<Output = Result<R, Interrupt>> {
        Yield { yielder: self, value: Some(value) }
    }

    /// Yields all that another coroutine yields, and returns what it returns: Python's `yield from`.
    ///
    /// What is sent and thrown into this generator goes to the other one. When this one is told to close, the other one
    /// is closed first. It is resumed for the first time with `R::default()`.
    ///
    /// # Errors
    ///
    /// As [`yield_`](Self::yield_), and what the other one ended with.
    ///
    /// ```
    /// use crewkit::coroutine::LightGenerator;
    ///
    /// let all = LightGenerator::new(async |y, ()| {
    ///     let mut inner = LightGenerator::new(async |y, ()| {
    ///         y.yield_(1).await?;
    ///         y.yield_(2).await?;
    ///         Ok("done")
    ///     });
    ///     assert_eq!(y.yield_from(&mut inner).await?, "done");
    ///     y.yield_(3).await
    /// });
    /// assert_eq!(all.collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    pub async fn yield_from<C>(&mut self, coroutine: &mut C) -> Result<C::Return, Interrupt>
    where
        C: Coroutine<Y, R> + ?Sized,
        R: Default,
    {
        let mut step = coroutine.send(R::default());
        loop {
            let value = match step? {
                Step::Yield(value) => value,
                Step::Return(value) => return Ok(value),
            };
            step = match self.yield_(value).await {
                Ok(value) => coroutine.send(value),
                Err(Interrupt::Close) => return Err(closed(coroutine.close())),
                Err(error) => coroutine.throw(error),
            };
        }
    }
}

/// What a body that was told to close ends with, when it has closed the one that it delegated to.
fn closed<T>(result: Result<Option<T>, GenError>) -> Interrupt {
    result.map_or_else(Interrupt::from, |_| Interrupt::Close)
}

impl<Y> LightYielder<'_, Y> {
    /// Yields every item of an iterator: Python's `yield from` for what is no generator.
    ///
    /// # Errors
    ///
    /// As [`yield_`](Self::yield_).
    pub async fn yield_from_iter(&mut self, items: impl IntoIterator<Item = Y>) -> Result<(), Interrupt> {
        for item in items {
            self.yield_(item).await?;
        }
        Ok(())
    }
}

impl<Y, R> fmt::Debug for LightYielder<'_, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightYielder").finish_non_exhaustive()
    }
}

/// A value that is yielded when this is polled first.
#[must_use = "nothing is yielded before it is awaited"]
struct Yield<'y, 'g, Y, R> {
    yielder: &'y mut LightYielder<'g, Y, R>,
    value: Option<Y>,
}

// Nothing points to the value.
impl<Y, R> Unpin for Yield<'_, '_, Y, R> {}

impl<Y, R> Future for Yield<'_, '_, Y, R> {
    type Output = Result<R, Interrupt>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _nobody: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.value.take() {
            if let Some(earlier) = self.yielder.slate().yielded(Some(value)) {
                self.wait_for(earlier);
            }
            return Poll::Pending;
        }
        match self.yielder.slate().sent(None) {
            Some(sent) => Poll::Ready(Ok(sent)),
            None => interrupted(self.yielder.slate()),
        }
    }
}

impl<Y, R> Yield<'_, '_, Y, R> {
    /// An earlier `yield_` was polled and dropped: what it yielded has not been delivered, and goes first.
    #[cold]
    fn wait_for(&mut self, earlier: Y) {
        self.value = self.yielder.slate().yielded(Some(earlier));
    }
}

#[cold]
fn interrupted<Y, R>(slate: &Slate<Y, R>) -> Poll<Result<R, Interrupt>> {
    // SAFETY: it lies in a frame of `throw`, which waits for this turn to end.
    let Some(thrown) = (unsafe { slate.interrupt.get().as_ref() }) else {
        // Polled twice in one turn.
        return Poll::Pending;
    };
    assert!(thrown.thrower == Thrower::current(), "an interrupt is for the thread that throws it, and this is another");
    slate.interrupt.set(ptr::null());
    thrown.interrupt.take().map_or(Poll::Pending, |interrupt| Poll::Ready(Err(interrupt)))
}
