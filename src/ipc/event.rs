//! `Event` between processes, as Python's `multiprocessing.Event`. The algorithm, and what a death does at each of its
//! steps: `shm::flag`.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::Handle;
use super::{LockError, Stats};
use crate::shm::{Flag, Plain, Type};
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 7;

pub(super) type Words = Plain<KIND, Flag>;

/// A flag that threads of all processes can wait for: Python's `multiprocessing.Event`.
///
/// It lies in shared memory without a name, and travels as a [`Lock`](super::Lock) does. Making one costs a descriptor in
/// each process, and a page of memory. Setting, clearing and looking are one machine instruction each; there is no lock, so
/// **whoever dies, killed at any instruction, is waited for by nobody**. A process that dies between setting the event and
/// waking those who wait has set it: they find out within 50 ms.
///
/// Who waits when it is set is released even if it is cleared at once (in CPython it may sleep on). What a process wrote
/// before it set the event, another sees that was released by it.
///
/// ```
/// use crewkit::ipc::Event;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let ready = Event::new()?;
///     let child = Process::spawn(|ready: Event| ready.set().is_ok(), ready.clone())?;
///     ready.wait()?;
///     assert!(ready.is_set());
///     # assert!(child.join()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Event(Handle<Words>);

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new() -> io::Result<Self> {
        Handle::create(Type::NONE, 0).map(Self)
    }

    /// Whether it is set.
    ///
    /// # Blocking
    ///
    /// Never.
    #[doc(alias = "isSet")]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.peek().is_set()
    }

    /// Sets it, and wakes all who wait.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`], in a process that inherited the event by fork; so for all that follows.
    pub fn set(&self) -> Result<(), LockError> {
        self.0.usable()?.set();
        Ok(())
    }

    /// Who holds it, who waits for it, how often it was recovered: for people who look.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn stats(&self) -> Stats {
        Stats::here(self.0.peek())
    }

    /// Makes it not set.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn clear(&self) -> Result<(), LockError> {
        self.0.usable()?.clear();
        Ok(())
    }

    /// Waits until it is set.
    ///
    /// # Blocking
    ///
    /// Until somebody sets it; not at all, if it is set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    #[inline]
    pub fn wait(&self) -> Result<(), LockError> {
        self.0.usable()?.wait(Deadline::NEVER);
        Ok(())
    }

    /// Waits until it is set, and answers whether it was, within `timeout`: Python's `wait(timeout)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, LockError> {
        Ok(self.0.usable()?.wait(Deadline::after(timeout)))
    }
}

impl Eq for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiters = self.stats().waiters;
        f.debug_struct("ipc::Event").field("is_set", &self.is_set()).field("waiters", &waiters).finish()
    }
}
