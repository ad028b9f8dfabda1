//! Greenlets: coroutines that choose for themselves who runs next.
//!
//! A [`Generator`](super::Generator) gives control back to whoever resumed it. A [`Greenlet`] names the one that runs
//! next: [`switch`](Greenlet::switch) stops the caller where it is and goes on with the target, which got a value. It is
//! what Python has in the package `greenlet`; here is how its dynamic values became types, and what happens when.
//!
//! # Families
//!
//! Greenlets that exchange values of type `T` are the *family* of `T`; each thread has one of each. Every greenlet of the
//! family can switch to every other, and what arrives has the type that is waited for, because there is no other. With
//! a type for each greenlet, a value could fall to a parent that waits for another type, and only run-time would tell;
//! with `Box<dyn Any>` for everything, each switch would pay an allocation and each arrival a cast. Who wants that has
//! `Greenlet<Box<dyn Any>>`; who passes various things has an `enum`. A greenlet may be used on its own thread only,
//! which the compiler checks (it is neither `Send` nor `Sync`), where Python raises an error.
//!
//! Name the type where nothing else does: in a family of `u32`, `Greenlet::main().switch(1)` is about the family of `i32`.
//!
//! # Who is whose parent, and where values go
//!
//! ```text
//!                 main        the code that is no greenlet of this family; it has no parent and never dies
//!               ↗   ↖
//!         parser     writer   both were made by main, so main is their parent
//!           ↑
//!        tokenizer            made by parser; `set_parent` may change that while it lives
//! ```
//!
//! Parents matter at the end only. When a body returns, its value goes to the nearest ancestor that is not dead, as the
//! result of the `switch` in which that one stands; an error goes there as an error, a panic goes on there as a panic.
//! An ancestor that has not begun yet begins with the value; an error passes through it and ends it.
//! A switch to a dead greenlet goes to its nearest ancestor that lives, in the end to `main`.
//!
//! | The target is | `switch(v)` | `throw(e)` |
//! |---|---|---|
//! | not started | begins with `v` | ends without having run; `e` goes to its parent |
//! | suspended | its `switch` returns `Ok(Some(v))` | its `switch` returns `Err(e)` |
//! | current | returns `Ok(Some(v))` at once | returns `Err(e)` at once |
//! | dead | goes to its parent | goes to its parent |
//!
//! # The end by request: `GreenletExit`
//!
//! [`Interrupt::Close`] is Python's `GreenletExit`. A body that it reaches passes it on with `?`, and so ends. Python
//! *returns* it to the parent, so that the end of a child is not the end of its parent. So it is here: such an end is
//! `Ok(None)` in the parent. It has no value to start anybody with, so it passes by an ancestor that has not begun.
//!
//! # Drop
//!
//! When the last handle of a suspended greenlet goes, `Interrupt::Close` is thrown into it with the greenlet that
//! dropped it as its parent, until it has ended; what it returns is ignored and an error is told on standard error, as
//! Python does. A body that takes a handle of itself out of there lives on. One that switches away instead of ending, and
//! one that cannot be switched to (while a panic unwinds, or on a generator's stack), is unwound by force.
//! A panic of the body goes on where it was dropped.
//! Handles in a cycle keep each other alive, as with every `Rc`: a body that holds a handle of its own greenlet while it
//! is suspended never gets a last handle dropped. A temporary is enough for that:
//! `Greenlet::current().parent().unwrap().switch(v)` holds one until it returns. Take the parent in a statement of its own.
//!
//! # How a switch works
//!
//! ```text
//!   main's stack        greenlet A          greenlet B
//!   A.switch(v)
//!     trampoline ─resume→ body(v)
//!        ↑                B.switch(w)
//!        └────suspend──── next = B, packet = w
//!     trampoline ───────────resume────────→ body(w)
//! ```
//!
//! Greenlets are asymmetric coroutines underneath: each is resumed from one loop, on the stack of whoever entered the
//! family, and suspends back to it with a note who is next. That stack is `main` for as long. It may be a generator's or
//! a greenlet's of another family: families nest. What cannot be done is to switch on a stack that lies on top of the
//! current greenlet's, such as in the body of a generator which the current greenlet runs: [`SwitchError::ForeignStack`].
//! And nothing switches while a panic unwinds: [`SwitchError::Panicking`]; nor from a greenlet that is dead, whose error
//! passes an ancestor that has not begun, which drops that one's body: [`SwitchError::Ended`].

mod error;
mod family;
mod node;
mod trace;

use std::any::type_name;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ptr;
use std::rc::Rc;

use super::error::Interrupt;
use super::protocol::State;
use super::stack::StackSize;
pub use error::{ParentError, SwitchError};
pub(super) use node::Plan;
use node::{Life, Node, Packet};
pub use trace::{Event, Tracer};

/// A coroutine that is switched to, and chooses whom it switches to. Python's `greenlet.greenlet`.
///
/// A `Greenlet` is a handle: its clones name the same greenlet, and `==` asks whether two do. All greenlets of one thread
/// that exchange values of type `T` form a family with a [`main`](Self::main) of its own.
///
/// ```
/// use crewkit::coroutine::Greenlet;
///
/// let main = Greenlet::<u32>::main();
/// let doubler = Greenlet::new(move |mut n| {
///     while let Some(next) = main.switch(2 * n)? {
///         n = next;
///     }
///     Ok(0)
/// });
/// assert_eq!(doubler.switch(4).unwrap(), Some(8));
/// assert_eq!(doubler.switch(5).unwrap(), Some(10));
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// # use crewkit::coroutine::Greenlet;
/// let greenlet = Greenlet::<u32>::main();
/// std::thread::spawn(move || greenlet.switch(1)); // Rc<…> cannot be sent between threads safely
/// ```
///
/// ```compile_fail,E0277
/// # use crewkit::coroutine::Greenlet;
/// let greenlet = Greenlet::<u32>::main();
/// std::thread::scope(|scope| drop(scope.spawn(|| greenlet.switch(1)))); // Rc<…> cannot be shared
/// ```
pub struct Greenlet<T: 'static> {
    node: Rc<Node<T>>,
}

impl<T: 'static> Greenlet<T> {
    /// A greenlet that will run `body` with the value of the first switch to it. Its parent is the current one.
    ///
    /// Nothing runs yet, and no stack is taken before the first switch.
    pub fn new(body: impl FnOnce(T) -> Result<T, Interrupt> + 'static) -> Self {
        Self::with_parent(&Self::current(), body)
    }

    /// The same with another parent. Python's `greenlet(run, parent)`.
    pub fn with_parent<F>(parent: &Self, body: F) -> Self
    where
        F: FnOnce(T) -> Result<T, Interrupt> + 'static,
    {
        let plan = Plan { name: Cow::Borrowed(type_name::<F>()), size: StackSize::Small, measured: false };
        Self::planned(parent, plan, body)
    }

    pub(super) fn planned<F>(parent: &Self, plan: Plan, body: F) -> Self
    where
        F: FnOnce(T) -> Result<T, Interrupt> + 'static,
    {
        Self { node: Rc::new(Node::new(parent.clone(), plan, Box::new(body))) }
    }

    /// The greenlet that runs, of this family. Python's `greenlet.getcurrent()`.
    pub fn current() -> Self {
        Self::main().node.family.current()
    }

    /// The code that is no greenlet of this family: who entered it, and where it ends up when all have ended.
    pub fn main() -> Self {
        family::main()
    }

    /// Stops the caller here and goes on with this greenlet, which gets `value`. Returns what the next switch to the
    /// caller brings. Python's `greenlet.switch`.
    ///
    /// `Ok(None)` is Python's `GreenletExit` as a value: a child of the caller ended because it was asked to. A switch to a
    /// dead greenlet goes to its parent.
    ///
    /// # Errors
    ///
    /// [`Interrupt::Close`] and what others [`throw`](Self::throw) into the caller; an error that ended a child of the
    /// caller. [`SwitchError`] if no switch can be made here, and an error of the kernel if there is no memory for the
    /// stack of a first switch: then `value` is dropped, and nothing else happened.
    ///
    /// # Panics
    ///
    /// With the panic of a child of the caller.
    #[inline(always)]
    pub fn switch(&self, value: T) -> Result<Option<T>, Interrupt> {
        family::switch(self, value)
    }

    /// The same, but this greenlet finds `interrupt` as the error of its `switch`. Python's `greenlet.throw`.
    ///
    /// A greenlet that has not begun ends without running, and the interrupt goes to its parent. With [`Interrupt::Close`]
    /// this is how a greenlet is killed; it is dead afterwards unless it refused.
    ///
    /// # Errors
    ///
    /// As [`switch`](Self::switch), so also `interrupt` itself if this greenlet did not handle it and the caller is its
    /// parent.
    ///
    /// # Panics
    ///
    /// As [`switch`](Self::switch).
    pub fn throw(&self, interrupt: impl Into<Interrupt>) -> Result<Option<T>, Interrupt> {
        family::travel(self, Packet::Throw(interrupt.into()))
    }

    /// Where its value goes when it ends; `main` has none. Python's `greenlet.parent`.
    pub fn parent(&self) -> Option<Self> {
        self.node.parent.borrow().clone()
    }

    /// Gives it another parent.
    ///
    /// # Errors
    ///
    /// [`ParentError::Main`] if this is `main`, [`ParentError::Cycle`] if `parent` is this greenlet or descends from it,
    /// [`ParentError::Family`] if it is of another family.
    pub fn set_parent(&self, parent: &Self) -> Result<(), ParentError> {
        if self.node.life.get() == Life::Main {
            return Err(ParentError::Main);
        }
        // Its own main would not be its ancestor any more, and end before it.
        if !Rc::ptr_eq(&self.node.family, &parent.node.family) {
            return Err(ParentError::Family);
        }
        let mut ancestor = Some(parent.clone());
        while let Some(link) = ancestor {
            if link == *self {
                return Err(ParentError::Cycle);
            }
            ancestor = link.parent();
        }
        // The old parent may end here, and its destructors look at this one: not while it is borrowed.
        let _old = self.node.parent.replace(Some(parent.clone()));
        Ok(())
    }

    /// Whether its body has ended. `main` never dies. Python's `greenlet.dead`.
    pub fn is_dead(&self) -> bool {
        self.node.life.get() == Life::Dead
    }

    /// What it is doing. `main` is never `Created` nor `Finished`.
    pub fn state(&self) -> State {
        match self.node.life.get() {
            Life::Created => State::Created,
            Life::Dead => State::Finished,
            _ if self.is_current() => State::Running,
            _ => State::Suspended,
        }
    }

    /// The name that is told when the stack overflows: the body's type, unless the [`Builder`](super::Builder) gave another.
    pub fn name(&self) -> &str {
        &self.node.plan.name
    }

    /// The most stack that the body has used until its last switch, in bytes, if it was made with
    /// [`Builder::measure_stack`](super::Builder::measure_stack).
    pub fn stack_used(&self) -> Option<usize> {
        self.node.stack_used()
    }

    /// Calls `tracer` at each arrival in this family, on the stack of who arrived, until another is set. Returns the
    /// tracer that was set before. Python's `greenlet.settrace`.
    ///
    /// Switches that the tracer makes are not traced. If it panics, it is unset, and the panic goes on in the greenlet that
    /// arrived.
    pub fn set_trace(tracer: Option<Tracer<T>>) -> Option<Tracer<T>> {
        Self::main().node.family.set_trace(tracer)
    }

    fn is_current(&self) -> bool {
        self.node.family.is_current(&self.node)
    }

    /// Whether nobody else has a handle.
    #[inline]
    fn is_last(&self) -> bool {
        Rc::strong_count(&self.node) == 1
    }

    /// What the drop of a handle does first.
    #[inline]
    fn end(&self) {
        if self.node.life.get() == Life::Started && self.is_last() {
            family::drop_last(self);
        }
    }
}

impl<T: 'static> Clone for Greenlet<T> {
    fn clone(&self) -> Self {
        Self { node: Rc::clone(&self.node) }
    }
}

impl<T: 'static> Drop for Greenlet<T> {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: 'static> PartialEq for Greenlet<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.node, &other.node)
    }
}

impl<T: 'static> Eq for Greenlet<T> {}

impl<T: 'static> Hash for Greenlet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Rc::as_ptr(&self.node), state);
    }
}

/// In Python's words: which one, and `current` or `suspended`, `active started`, `pending`, `dead`, `main`.
impl<T: 'static> fmt::Debug for Greenlet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state() {
            State::Created => "pending",
            State::Running => "current active started",
            State::Suspended => "suspended active started",
            State::Finished => "dead",
        };
        let main = if self.node.life.get() == Life::Main { " main" } else { "" };
        write!(formatter, "Greenlet({:p} {state}{main})", Rc::as_ptr(&self.node))
    }
}
