//! Where results go: a place of their own for each task or map, so that no result ever waits for another's reader.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::protocol::{self, Ending};
use crate::ipc::parcel;
use crate::panics::PanicReport;
use crate::pool::error::TaskError;
use crate::sync::Event;
use crate::sys::clock::Deadline;

/// What arrived for an inbox. Results are still bytes: their reader decodes them, on its own thread.
pub(super) enum Delivery {
    /// One item's result.
    One { index: usize, ending: Ending, bytes: Vec<u8>, fds: Vec<OwnedFd> },
    /// The results of `count` items from `first` on, as a body of several.
    Several { first: usize, count: usize, body: Vec<u8> },
    /// These items will have no result.
    Undone { first: usize, count: usize, error: TaskError },
}

impl Delivery {
    fn len(&self) -> usize {
        match self {
            Self::One { bytes, .. } => bytes.len(),
            Self::Several { body, .. } => body.len(),
            Self::Undone { .. } => 0,
        }
    }

    /// How many items it speaks of.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One { .. } => 1,
            Self::Several { count, .. } | Self::Undone { count, .. } => *count,
        }
    }

    /// Whether it is one item's result, and a returned one.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::One { ending: Ending::Returned, .. })
    }

    /// The outcomes with their items' indices.
    pub(super) fn open<R: DeserializeOwned>(self, mut each: impl FnMut(usize, Result<R, TaskError>)) {
        match self {
            Self::One { index, ending, bytes, fds } => each(index, outcome(ending, &bytes, fds)),
            Self::Several { first, count, body } => {
                let mut results = protocol::results(&body);
                for index in first..first + count {
                    let torn = || Err(TaskError::BadResult(protocol::Nonsense.to_string()));
                    each(index, results.next().map_or_else(torn, |(ending, bytes)| outcome(ending, bytes, Vec::new())));
                }
            }
            Self::Undone { first, count, error } => {
                (first..first + count).for_each(|index| each(index, Err(error.clone())))
            }
        }
    }
}

/// What a call's ending and bytes mean.
fn outcome<R: DeserializeOwned>(ending: Ending, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<R, TaskError> {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match ending {
        Ending::Returned => parcel::decode(bytes, fds).map_err(|error| TaskError::BadResult(error.to_string())),
        Ending::BadArgument => Err(TaskError::BadArgument(text())),
        Ending::BadResult => Err(TaskError::BadResult(text())),
        Ending::Panicked => Err(match postcard::from_bytes::<PanicReport>(bytes) {
            Ok(report) => TaskError::from(report),
            Err(error) => TaskError::BadResult(error.to_string()),
        }),
    }
}

/// Deliveries that nobody has taken, and who is to be woken by the next one.
struct Arrived {
    list: VecDeque<Delivery>,
    waker: Option<Waker>,
}

/// A list of deliveries, and how many bytes are on their way through it.
pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    /// Set when something arrived; cleared by a reader that found nothing, under the lock.
    bell: Event,
    /// The arguments of jobs that are not done, and the results that nobody has taken.
    bytes: AtomicUsize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let arrived = Arrived { list: VecDeque::new(), waker: None };
        Self { arrived: Mutex::new(arrived), bell: Event::new(), bytes: AtomicUsize::new(0) }
    }

    /// Counts bytes that are on their way.
    pub(super) fn charge(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts them off.
    pub(super) fn discharge(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The bytes on their way.
    pub(super) fn load(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Puts something in. Never waits for a reader.
    pub(super) fn put(&self, delivery: Delivery) {
        self.charge(delivery.len());
        let mut arrived = self.arrived.lock();
        arrived.list.push_back(delivery);
        let waker = arrived.waker.take();
        drop(arrived);
        self.bell.set();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what arrived first.
    pub(super) fn try_take(&self) -> Option<Delivery> {
        let delivery = self.arrived.lock().list.pop_front()?;
        self.discharge(delivery.len());
        Some(delivery)
    }

    /// Takes what arrives first, if that is before the deadline.
    pub(super) fn take(&self, deadline: Deadline) -> Option<Delivery> {
        self.wait(deadline).then(|| self.try_take()).flatten()
    }

    /// Waits until something is there; false after the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> bool {
        loop {
            {
                let arrived = self.arrived.lock();
                if !arrived.list.is_empty() {
                    return true;
                }
                self.bell.clear();
            }
            match deadline.remaining() {
                None => self.bell.wait(),
                Some(left) if !self.bell.wait_timeout(left) => return !self.arrived.lock().list.is_empty(),
                Some(_) => {}
            }
        }
    }

    /// Looks at what arrived first.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&Delivery) -> T) -> Option<T> {
        self.arrived.lock().list.front().map(look)
    }

    /// Has `waker` called by the next delivery; false if there is one.
    pub(super) fn watch(&self, waker: &Waker) -> bool {
        let mut arrived = self.arrived.lock();
        let watching = arrived.list.is_empty();
        let before = watching.then(|| arrived.waker.replace(waker.clone()));
        drop(arrived);
        drop(before);
        watching
    }
}
