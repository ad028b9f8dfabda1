//! Builder: a coroutine's name, the size of its stack, and whether its use is measured.

#![expect(unsafe_code, reason = "makes generators whose bodies are 'static")]

use std::any::type_name;
use std::borrow::Cow;
use std::io;

use super::engine::Engine;
use super::error::Interrupt;
use super::generator::Generator;
use super::greenlet::{Greenlet, Plan};
use super::stack::{Stack, StackSize};
use super::yielder::Yielder;

/// How to make a coroutine that is not like most.
///
/// ```
/// use crewkit::coroutine::{Builder, StackSize};
///
/// let parser = Builder::new().name("parser").stack(StackSize::Large).generator(|y, ()| y.yield_(1))?;
/// assert_eq!(parser.name(), "parser");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Safety
///
/// Nothing for callers to keep to: this makes generators of `'static` bodies only.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing by itself"]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    stack: StackSize,
    measured: bool,
}

impl Builder {
    /// An unnamed coroutine with a stack of the default size.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that is told when the stack overflows. Unnamed, that is the type of the body.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How much stack it gets.
    pub fn stack(mut self, size: StackSize) -> Self {
        self.stack = size;
        self
    }

    /// Measures how much of its stack is used, for `stack_used`. The whole stack is written to at first, so this is for
    /// finding the size to choose, not for use.
    pub fn measure_stack(mut self) -> Self {
        self.measured = true;
        self
    }

    /// Makes a generator: see [`Generator::new`].
    ///
    /// # Errors
    ///
    /// When there is no memory for a stack, or, on kernels before 6.13, no mapping: the error names the limit then.
    #[inline]
    pub fn generator<Y, R, T, F>(self, body: F) -> io::Result<Generator<Y, R, T>>
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt> + 'static,
        Y: 'static,
        R: 'static,
        T: 'static,
    {
        // SAFETY: body, values and result are 'static.
        unsafe { self.generator_unchecked(false, body) }
    }

    /// Makes a greenlet, whose parent is the current one: see [`Greenlet::new`].
    pub fn greenlet<T: 'static, F>(self, body: F) -> Greenlet<T>
    where
        F: FnOnce(T) -> Result<T, Interrupt> + 'static,
    {
        let name = self.name.unwrap_or(Cow::Borrowed(type_name::<F>()));
        let plan = Plan { name, size: self.stack, measured: self.measured };
        Greenlet::planned(&Greenlet::current(), plan, body)
    }

    /// # Safety
    ///
    /// As for `Engine::on`.
    #[inline]
    pub(super) unsafe fn generator_unchecked<Y, R, T, F>(self, scoped: bool, body: F) -> io::Result<Generator<Y, R, T>>
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt>,
    {
        let stack = Stack::take(self.stack)?;
        if self.measured {
            stack.paint();
        }
        let name = self.name.unwrap_or(Cow::Borrowed(type_name::<F>()));
        // SAFETY: passed on.
        let engine = unsafe { Engine::on(stack, name, scoped, body) };
        if self.measured {
            engine.measure_from_now();
        }
        Ok(Generator::new_on(engine))
    }
}
