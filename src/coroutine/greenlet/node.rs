//! Node: what a greenlet consists of, its life, and the packets that travel between them.
//!
//! # Safety
//!
//! The invariants are those of `family.rs`.

#![expect(unsafe_code, reason = "a fiber, and its link by pointer")]

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::rc::{Rc, Weak};

use super::super::error::Interrupt;
use super::super::fiber::{Fiber, Link, Turn, discard};
use super::super::stack::{Stack, StackSize, used};
use super::family::Family;
use super::{Event, Greenlet};

/// Where a greenlet is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The code outside; for ever.
    Main,
    /// Its body waits for a first value.
    Created,
    /// Its body has begun. The link is valid.
    Started,
    /// Its body has begun and is being unwound by force. The link is valid.
    Doomed,
    /// Its body has ended, or never will.
    Dead,
}

/// What a switch brings.
pub(super) enum Packet<T> {
    Value(T),
    /// A child ended because it was asked to.
    Exit,
    Throw(Interrupt),
    Panic(Box<dyn Any + Send>),
}

pub(super) type Body<T> = Box<dyn FnOnce(T) -> Result<T, Interrupt>>;

/// How to make the stack of a greenlet, when it begins.
pub(in crate::coroutine) struct Plan {
    pub(in crate::coroutine) name: Cow<'static, str>,
    pub(in crate::coroutine) size: StackSize,
    pub(in crate::coroutine) measured: bool,
}

/// A greenlet.
pub(super) struct Node<T: 'static> {
    pub(super) family: Rc<Family<T>>,
    pub(super) parent: RefCell<Option<Greenlet<T>>>,
    pub(super) life: Cell<Life>,
    body: Cell<Option<Body<T>>>,
    pub(super) plan: Plan,
    /// How much of the stack was used when it was measured last.
    used: Cell<usize>,
    /// From the first switch to its end. Borrowed while it runs.
    fiber: RefCell<Option<Fiber<(), ()>>>,
    /// In a frame of the fiber, while the body runs or is suspended; null otherwise.
    pub(super) link: Cell<*const Link<()>>,
}

impl<T> Packet<T> {
    /// What the receiver's `switch` returns.
    #[inline]
    pub(super) fn open(self) -> Result<Option<T>, Interrupt> {
        match self {
            Self::Value(value) => Ok(Some(value)),
            Self::Exit => Ok(None),
            Self::Throw(interrupt) => Err(interrupt),
            Self::Panic(payload) => resume_unwind(payload),
        }
    }

    /// What is left of it when it has passed a greenlet that cannot take it: the request to end has been met.
    fn past(self) -> Self {
        match self {
            Self::Throw(Interrupt::Close) => Self::Exit,
            other => other,
        }
    }

    pub(super) fn event(&self) -> Event {
        match self {
            Self::Value(_) | Self::Exit => Event::Switch,
            Self::Throw(_) | Self::Panic(_) => Event::Throw,
        }
    }
}

impl<T: 'static> Node<T> {
    pub(super) fn new(parent: Greenlet<T>, plan: Plan, body: Body<T>) -> Self {
        let family = Rc::clone(&parent.node.family);
        Self::build(family, Some(parent), Life::Created, plan, Some(body))
    }

    pub(super) fn main(family: Rc<Family<T>>) -> Self {
        let plan = Plan { name: Cow::Borrowed("main"), size: StackSize::Small, measured: false };
        Self::build(family, None, Life::Main, plan, None)
    }

    fn build(
        family: Rc<Family<T>>,
        parent: Option<Greenlet<T>>,
        life: Life,
        plan: Plan,
        body: Option<Body<T>>,
    ) -> Self {
        Self {
            family,
            parent: RefCell::new(parent),
            life: Cell::new(life),
            body: Cell::new(body),
            plan,
            used: Cell::new(0),
            fiber: RefCell::new(None),
            link: Cell::new(ptr::null()),
        }
    }

    /// Gives a greenlet that has not begun the stack to begin on.
    fn prepare(self: &Rc<Self>) -> io::Result<()> {
        let mut fiber = self.fiber.borrow_mut();
        if fiber.is_none() {
            let stack = Stack::take(self.plan.size)?;
            if self.plan.measured {
                stack.paint();
            }
            stack.begin(ptr::from_ref(&*self.plan.name));
            // Not an `Rc`: the fiber is the node's own.
            let node = Rc::downgrade(self);
            let root = move |link| {
                live(&node, &link);
                Ok(())
            };
            // SAFETY: the root takes its link with it, and borrows nothing. The name lives in the node, as the fiber does.
            *fiber = Some(unsafe { Fiber::new(stack, root) });
        }
        Ok(())
    }

    /// Runs it until it suspends or ends.
    #[inline]
    pub(super) fn run(&self) {
        let mut fiber = self.fiber.borrow_mut();
        let Some(running) = fiber.as_mut() else { unreachable!("only what was prepared is switched to") };
        // SAFETY: a fiber is taken away when it ends, just below.
        if let Turn::Ended(_) = unsafe { running.resume() } {
            self.measure(running);
            *fiber = None;
        }
    }

    /// Whether it runs, or ends another one by force.
    pub(super) fn runs(&self) -> bool {
        self.fiber.try_borrow().is_err()
    }

    /// How much of the stack was used, if that is measured.
    pub(super) fn stack_used(&self) -> Option<usize> {
        // Not while it runs.
        if let Ok(fiber) = self.fiber.try_borrow()
            && let Some(suspended) = &*fiber
        {
            self.measure(suspended);
        }
        self.plan.measured.then_some(self.used.get())
    }

    fn measure(&self, fiber: &Fiber<(), ()>) {
        if self.plan.measured {
            // SAFETY: it is painted, as it was planned, and does not run, as it can be borrowed.
            self.used.set(unsafe { used(fiber.header()) });
        }
    }

    /// Whether it waits where nothing may go on.
    pub(super) fn is_stuck(&self) -> bool {
        // SAFETY: invariant 3.
        unsafe { self.link.get().as_ref() }.is_some_and(|link| link.header().stuck.get())
    }

    /// Leaves its stack as it is, for ever.
    pub(super) fn abandon(&self) {
        self.life.set(Life::Dead);
        *self.fiber.borrow_mut() = None;
    }
}

/// The ancestors go one by one, not each inside of its child's drop, however many they are.
impl<T: 'static> Drop for Node<T> {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            if !parent.is_last() {
                break;
            }
            parent.end();
            next = if parent.is_last() { parent.node.parent.take() } else { None };
        }
    }
}

/// The whole life of a greenlet on its stack.
fn live<T: 'static>(node: &Weak<Node<T>>, link: &Link<()>) {
    let begin = || {
        // Who is current has a handle, but this stack keeps none: it would be one that never goes.
        let node = node.upgrade()?;
        node.link.set(link);
        node.life.set(Life::Started);
        Some((Rc::clone(&node.family), node.body.take()?))
    };
    let Some((family, body)) = begin() else { return };
    let end = catch_unwind(AssertUnwindSafe(|| match family.arrive()? {
        Some(first) => body(first),
        None => Err(Interrupt::Close),
    }));
    let Some(node) = node.upgrade() else { return };
    node.link.set(ptr::null());
    if node.life.replace(Life::Dead) == Life::Doomed {
        return discard(end);
    }
    let packet = match end {
        Ok(Ok(value)) => Packet::Value(value),
        Ok(Err(interrupt)) => Packet::Throw(interrupt).past(),
        Err(payload) => Packet::Panic(payload),
    };
    let Some(parent) = node.parent.borrow().clone() else { return };
    let mut delivery = deliver(parent, packet);
    while let Err((unready, error)) = delivery {
        delivery = deliver(unready, Packet::Throw(error.into()));
    }
    if let Ok((heir, packet)) = delivery {
        let next = family.address(heir, packet);
        family.hand_over(next);
    }
}

/// Who gets what.
type Delivery<T> = (Greenlet<T>, Packet<T>);

/// Who would begin, and why it has no stack to begin on.
type Unready<T> = (Greenlet<T>, io::Error);

/// Who gets what was sent to `target`, and what it is by then; or who would begin with it but cannot.
#[inline]
pub(super) fn deliver<T: 'static>(mut target: Greenlet<T>, mut packet: Packet<T>) -> Result<Delivery<T>, Unready<T>> {
    loop {
        packet = match (target.node.life.get(), packet) {
            (Life::Main | Life::Started | Life::Doomed, packet) => return Ok((target, packet)),
            (Life::Created, packet @ Packet::Value(_)) => {
                return match target.node.prepare() {
                    Ok(()) => Ok((target, packet)),
                    Err(error) => {
                        discard(packet);
                        Err((target, error))
                    }
                };
            }
            (Life::Created, packet @ (Packet::Throw(_) | Packet::Panic(_))) => {
                target.node.life.set(Life::Dead);
                let body = target.node.body.take();
                match catch_unwind(AssertUnwindSafe(|| drop(body))) {
                    Ok(()) => packet.past(),
                    Err(payload) => {
                        discard(packet);
                        Packet::Panic(payload)
                    }
                }
            }
            (Life::Created, Packet::Exit) => Packet::Exit,
            (Life::Dead, packet) => packet.past(),
        };
        let parent = target.parent();
        // Only main has none, and it is alive.
        let Some(parent) = parent else { unreachable!("main takes every packet") };
        target = parent;
    }
}
