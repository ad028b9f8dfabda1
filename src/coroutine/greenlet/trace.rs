//! The hook that is told of every arrival.

use std::cell::{Cell, RefCell};

use super::Greenlet;

/// How control arrived. Python's event names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// With a value, or with the end by request of a child: `"switch"`.
    Switch,
    /// With an error or a panic: `"throw"`.
    Throw,
}

/// Told how control arrived, from whom, and at whom. Python's callback of `greenlet.settrace`.
pub type Tracer<T> = Box<dyn FnMut(Event, &Greenlet<T>, &Greenlet<T>)>;

/// A family's tracer.
pub(super) struct Tracing<T: 'static> {
    /// Whether one is set and not at work: what a switch looks at.
    on: Cell<bool>,
    /// Counts the settings, so that a tracer at work does not undo one of its own making.
    settings: Cell<u64>,
    tracer: RefCell<Option<Tracer<T>>>,
}

impl<T: 'static> Tracing<T> {
    pub(super) fn new() -> Self {
        Self { on: Cell::new(false), settings: Cell::new(0), tracer: RefCell::new(None) }
    }

    pub(super) fn set(&self, tracer: Option<Tracer<T>>) -> Option<Tracer<T>> {
        self.settings.set(self.settings.get() + 1);
        self.on.set(tracer.is_some());
        self.tracer.replace(tracer)
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Tells the tracer, which is out of its place meanwhile: it comes back unless it panics or another took the place.
    #[cold]
    pub(super) fn tell(&self, event: Event, from: &Greenlet<T>, to: &Greenlet<T>) {
        let Some(mut tracer) = self.set(None) else { return };
        let setting = self.settings.get();
        tracer(event, from, to);
        if self.settings.get() == setting {
            self.set(Some(tracer));
        }
    }
}
