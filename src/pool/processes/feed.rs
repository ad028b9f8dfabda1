//! What all maps have in common: items are taken from an iterator and sent in chunks, results are taken from an inbox,
//! and both happen on the thread that asks for the next result, so that neither side can run ahead of it.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inbox::{Delivery, Inbox};
use super::job::Job;
use super::pool::Pool;
use super::protocol::push_argument;
use super::scheduler::Ticket;
use crate::ipc::parcel::{self, EncodeError, Parcel};
use crate::pool::error::TaskError;
use crate::process::function::Function;
use crate::sys::clock::Deadline;

/// A chunk that has grown to this many bytes takes no further item, and an item this long travels alone.
const CHUNK_BYTES: usize = 1 << 20;
/// While so many bytes of arguments and unread results are on their way, no further item is sent.
const BYTES_AHEAD: usize = 64 << 20;

/// Items that were all sent: how many, and what their jobs are called in the scheduler.
pub(super) struct Sent {
    pub(super) items: usize,
    pub(super) tickets: Vec<Ticket>,
}

/// Items on their way through a pool.
pub(super) struct Feed<'p, R, I: Iterator> {
    pool: &'p Pool,
    /// An error is the fate of every item.
    function: Result<Function, TaskError>,
    items: Fuse<I>,
    chunksize: usize,
    /// How many items may be on their way, and not yet asked for.
    ahead: usize,
    retries: u32,
    inbox: Arc<Inbox>,
    /// The index of the next item.
    next: usize,
    /// Sent, and not yet back.
    outstanding: usize,
    /// What was sent, where somebody will want to know.
    tickets: Option<Vec<Ticket>>,
    /// Back, and not yet asked for.
    back: VecDeque<(usize, Result<R, TaskError>)>,
}

impl<'p, A, R, I> Feed<'p, R, I>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
    I: Iterator<Item = A>,
{
    pub(super) fn new<F>(pool: &'p Pool, f: F, items: I, chunksize: usize, ahead: usize, retries: u32) -> Self
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
    {
        let function = Function::of(f).map_err(|error| TaskError::BadArgument(error.to_string()));
        let inbox = Arc::new(Inbox::new());
        let (items, back) = (items.fuse(), VecDeque::new());
        Self { pool, function, items, chunksize, ahead, retries, inbox, next: 0, outstanding: 0, tickets: None, back }
    }

    /// Sends all items at once, and leaves the results to somebody else.
    pub(super) fn launch(mut self) -> (Arc<Inbox>, Sent) {
        self.tickets = Some(Vec::new());
        while self.send_chunk() {}
        // Nothing is to be withdrawn when this is dropped.
        self.outstanding = 0;
        (Arc::clone(&self.inbox), Sent { items: self.next, tickets: self.tickets.take().unwrap_or_default() })
    }

    /// The next result, with its item's index, in the order in which they come. `None` after the last.
    pub(super) fn next(&mut self) -> Option<(usize, Result<R, TaskError>)> {
        self.next_with(0)
    }

    /// [`next`](Self::next), while `kept` earlier results are still with the caller.
    pub(super) fn next_with(&mut self, kept: usize) -> Option<(usize, Result<R, TaskError>)> {
        loop {
            self.top_up(kept);
            if let Some(result) = self.back.pop_front() {
                return Some(result);
            }
            let delivery = self.receive()?;
            delivery.open(|index, result| self.back.push_back((index, result)));
        }
    }

    /// Gives every result with its item's index to `each`, in the order in which they come.
    pub(super) fn drain(mut self, mut each: impl FnMut(usize, Result<R, TaskError>)) {
        loop {
            self.top_up(0);
            let Some(delivery) = self.receive() else { return };
            delivery.open(&mut each);
        }
    }

    /// Waits for what comes back next; `None` if nothing is on its way.
    fn receive(&mut self) -> Option<Delivery> {
        if self.outstanding == 0 {
            return None;
        }
        let delivery = self.inbox.take(Deadline::NEVER)?;
        self.outstanding -= delivery.count();
        Some(delivery)
    }

    /// Sends items for as long as more may be on their way.
    fn top_up(&mut self, kept: usize) {
        loop {
            let inside = self.outstanding + self.back.len() + kept;
            let room = inside == 0 || inside.saturating_add(self.chunksize) <= self.ahead;
            if !room || (self.outstanding > 0 && self.inbox.load() >= BYTES_AHEAD) || !self.send_chunk() {
                return;
            }
        }
    }

    /// Takes items for one chunk and sends them; false if there were none.
    fn send_chunk(&mut self) -> bool {
        if self.chunksize == 1 {
            let item = self.items.next();
            return item.is_some_and(|item| {
                self.next += 1;
                self.send_alone(self.next - 1, parcel::encode(&item));
                true
            });
        }
        let (first, mut body, mut count) = (self.next, Vec::new(), 0);
        while count < self.chunksize && body.len() < CHUNK_BYTES {
            let Some(item) = self.items.next() else { break };
            self.next += 1;
            let before = body.len();
            match push_argument(&mut body, |body| parcel::encode_onto(&item, body)) {
                Ok((length, parcel)) if length < CHUNK_BYTES && parcel.fds.is_empty() => count += 1,
                alone => {
                    let alone = alone.map(|(length, mut parcel)| {
                        parcel.bytes = body.split_off(body.len() - length);
                        parcel
                    });
                    body.truncate(before);
                    self.send_several(first, body, count);
                    self.send_alone(self.next - 1, alone);
                    return true;
                }
            }
        }
        self.send_several(first, body, count);
        count > 0
    }

    fn send_several(&mut self, first: usize, mut body: Vec<u8>, count: usize) {
        match u32::try_from(count) {
            Ok(0) => {}
            Ok(1) => {
                // One item needs no length before it.
                body.drain(..4);
                self.send(first, 1, |function, retries, inbox| {
                    Job::single(function, body, Vec::new(), retries, first, inbox)
                });
            }
            Ok(items) => self.send(first, count, |function, retries, inbox| {
                Job::several(function, body, items, retries, first, inbox)
            }),
            Err(error) => self.fail(first, count, TaskError::BadArgument(error.to_string())),
        }
    }

    fn send_alone(&mut self, index: usize, parcel: Result<Parcel, EncodeError>) {
        match parcel {
            Ok(mut parcel) => {
                let (bytes, fds) = (std::mem::take(&mut parcel.bytes), std::mem::take(&mut parcel.fds));
                self.send(index, 1, |function, retries, inbox| {
                    Job::single(function, bytes, fds, retries, index, inbox)
                });
                parcel.commit();
            }
            Err(error) => self.fail(index, 1, TaskError::BadArgument(error.to_string())),
        }
    }

    fn send(&mut self, first: usize, count: usize, job: impl FnOnce(Function, u32, Arc<Inbox>) -> Job) {
        let submitted = match &self.function {
            Ok(function) => self.pool.shared.submit(job(*function, self.retries, Arc::clone(&self.inbox))),
            Err(error) => Err(error.clone()),
        };
        match submitted {
            Ok(ticket) => {
                self.outstanding += count;
                self.tickets.iter_mut().for_each(|tickets| tickets.push(ticket));
            }
            Err(error) => self.fail(first, count, error),
        }
    }

    /// These items end here.
    fn fail(&mut self, first: usize, count: usize, error: TaskError) {
        self.outstanding += count;
        self.inbox.put(Delivery::Undone { first, count, error });
    }
}

impl<R, I: Iterator> Drop for Feed<'_, R, I> {
    fn drop(&mut self) {
        if self.outstanding > 0 {
            self.pool.shared.forget(&self.inbox);
        }
    }
}
