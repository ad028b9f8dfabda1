//! The worker process: takes offers from its socket, calls, answers. It runs in `Process::spawn`'s child and ends when
//! the owner closes the socket.
//!
//! What it promises the owner, item by item:
//!
//! 1. Before it touches an item, it says so in the [`Ledger`]; if the offer was taken back it passes over it.
//! 2. Before it begins the next item, the result of the last one was sent or stands in the ledger's journal.
//! 3. Results go out in the order of the items.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ledger::{self, Ledger};
use super::protocol::{self, Ending, Offer, Report};
use crate::ipc::Fd;
use crate::ipc::parcel::Parcel;
use crate::ipc::wire::{Receiver, Sender, WireError};
use crate::process::function::{Function, Outcome};
use crate::shm::Segment;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};

/// Results that wait for company are sent once they are this old or this long.
const FLUSH_AGE: Duration = Duration::from_millis(1);
const FLUSH_LENGTH: usize = 64 << 10;

/// Messages are as long as the arguments and results are: both sides belong to one program.
pub(super) const LIMIT: u64 = u64::MAX;

/// What a worker is started with.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) socket: Fd<OwnedFd>,
    pub(super) segment: Fd<OwnedFd>,
    pub(super) initializer: Option<(Function, Vec<u8>)>,
}

/// The number of the try that this process is making; see [`attempt`].
static ATTEMPT: AtomicU32 = AtomicU32::new(1);

/// Inside a task: which try this is, 1 for the first. Higher only where [retries](super::Builder::retries) were asked
/// for and a worker died in the task. Outside of tasks: 1.
#[must_use]
pub fn attempt() -> u32 {
    ATTEMPT.load(Ordering::Relaxed)
}

/// Why a worker stops.
enum Stop {
    /// The owner closed the socket, or is gone.
    Dismissed,
    /// Something that cannot be gone on from; the owner sees the process end.
    Failed(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Dismissed,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A worker process's whole life.
pub(super) fn main(job: Job) {
    let Job { socket, segment, initializer } = job;
    let segment = match Segment::from_fd(segment.into_inner(), ledger::BYTES) {
        Ok(segment) => segment,
        Err(error) => panic!("the pool's segment cannot be mapped: {error}"),
    };
    let mut desk = Desk {
        socket: socket.into_inner(),
        ledger: Ledger::new(segment.words()),
        sender: Sender::new(LIMIT),
        receiver: Receiver::new(LIMIT),
    };
    match desk.work(initializer) {
        Ok(()) | Err(Stop::Dismissed) => {}
        Err(Stop::Failed(why)) => panic!("a pool's worker cannot go on: {why}"),
    }
}

/// A worker's side of its socket, and the words it shares with its owner.
struct Desk<'a> {
    socket: OwnedFd,
    ledger: Ledger<'a>,
    sender: Sender,
    receiver: Receiver,
}

impl Desk<'_> {
    fn work(&mut self, initializer: Option<(Function, Vec<u8>)>) -> Result<(), Stop> {
        if let Some((function, argument)) = initializer {
            let why = match function.call(&argument, Vec::new()) {
                Outcome::Returned(_) => None,
                Outcome::Panicked(report) => Some(format!("panicked at {}: {}", report.location, report.message)),
                Outcome::BadArgument(why) | Outcome::BadResult(why) => Some(why),
            };
            if let Some(why) = why {
                let why = format!("the initializer failed: {why}");
                return self.send(Vec::new(), &Report::NotReady(why), &[]);
            }
        }
        self.send(Vec::new(), &Report::Ready, &[])?;
        loop {
            let (mut message, fds) = self.receive()?;
            let offer = protocol::unseal(&mut message).map_err(|error| Stop::Failed(error.to_string()))?;
            self.serve(offer, &message, fds)?;
            self.receiver.recycle(message);
        }
    }

    fn serve(&mut self, offer: Offer, body: &[u8], fds: Vec<OwnedFd>) -> Result<(), Stop> {
        if !self.ledger.begin(usize::from(offer.lane & 1), offer.seq) {
            return Ok(());
        }
        ATTEMPT.store(offer.attempt, Ordering::Relaxed);
        if offer.items == 1 {
            let outcome = offer.function.call(body, fds);
            return self.send_one(offer.seq, flatten(outcome));
        }
        self.serve_several(offer, body)
    }

    fn serve_several(&mut self, offer: Offer, body: &[u8]) -> Result<(), Stop> {
        let Offer { function, seq, lane, items, .. } = offer;
        let mut batch = Batch::new();
        self.ledger.open_journal(seq);
        for (item, argument) in (0..items).zip(protocol::arguments(body)) {
            if item > 0 {
                self.ledger.go_on(usize::from(lane & 1), seq, item);
            }
            match flatten(function.call(&body[argument], Vec::new())) {
                Ok((ending, bytes)) if bytes.len() < FLUSH_LENGTH => {
                    batch.push(ending, &bytes);
                    let last = item + 1 == items;
                    if last || batch.is_due() || !self.ledger.note(item, ending, &bytes) {
                        self.flush(seq, &mut batch)?;
                    }
                }
                alone => {
                    self.flush(seq, &mut batch)?;
                    self.send_one(seq, alone)?;
                }
            }
        }
        Ok(())
    }

    /// Sends what has gathered; from then on the journal is not needed for it.
    fn flush(&mut self, seq: u32, batch: &mut Batch) -> Result<(), Stop> {
        if batch.count > 0 {
            let body = std::mem::take(&mut batch.body);
            self.send(body, &Report::Results { seq, count: batch.count }, &[])?;
            self.ledger.open_journal(seq);
        }
        *batch = Batch::new();
        Ok(())
    }

    /// Sends one item's result by itself.
    fn send_one(&mut self, seq: u32, result: Result<(Ending, Vec<u8>), Parcel>) -> Result<(), Stop> {
        match result {
            Ok((ending, bytes)) => self.send(bytes, &Report::Result { seq, ending }, &[]),
            Err(mut parcel) => {
                let bytes = std::mem::take(&mut parcel.bytes);
                let report = Report::Result { seq, ending: Ending::Returned };
                self.send(bytes, &report, &parcel.borrowed_fds())?;
                parcel.commit();
                Ok(())
            }
        }
    }

    /// Sends a message, and waits for room as long as that takes: the owner always reads.
    fn send(&mut self, body: Vec<u8>, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<(), Stop> {
        let mut message = body;
        protocol::seal(&mut message, report).map_err(|error| Stop::Failed(error.to_string()))?;
        while !self.sender.try_send(self.socket.as_fd(), &message, fds)? {
            poll::wait(self.socket.as_fd(), Readiness::WRITE, Deadline::NEVER)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), Stop> {
        loop {
            match self.receiver.advance(self.socket.as_fd()) {
                Ok(Some(_)) => {
                    let message = self.receiver.take();
                    return Ok((message.bytes, message.fds));
                }
                Ok(None) => {
                    poll::wait(self.socket.as_fd(), Readiness::READ, Deadline::NEVER)?;
                }
                Err(WireError::Closed) => return Err(Stop::Dismissed),
                Err(WireError::Io(error)) => return Err(error.into()),
                Err(error) => return Err(Stop::Failed(error.to_string())),
            }
        }
    }
}

/// An outcome as plain bytes; a parcel with descriptors in it stays one.
fn flatten(outcome: Outcome) -> Result<(Ending, Vec<u8>), Parcel> {
    match outcome {
        Outcome::Returned(parcel) if !parcel.fds.is_empty() => Err(parcel),
        Outcome::Returned(parcel) => Ok((Ending::Returned, parcel.bytes)),
        Outcome::Panicked(report) => Ok(match postcard::to_stdvec(&report) {
            Ok(bytes) => (Ending::Panicked, bytes),
            Err(error) => (Ending::BadResult, format!("a panic whose report was lost: {error}").into_bytes()),
        }),
        Outcome::BadArgument(why) => Ok((Ending::BadArgument, why.into_bytes())),
        Outcome::BadResult(why) => Ok((Ending::BadResult, why.into_bytes())),
    }
}

/// Results of a chunk that are not sent yet.
struct Batch {
    body: Vec<u8>,
    count: u32,
    since: Instant,
}

impl Batch {
    fn new() -> Self {
        Self { body: Vec::new(), count: 0, since: Instant::now() }
    }

    fn push(&mut self, ending: Ending, bytes: &[u8]) {
        protocol::push_result(&mut self.body, ending, bytes);
        self.count += 1;
    }

    fn is_due(&self) -> bool {
        self.body.len() >= FLUSH_LENGTH || self.since.elapsed() >= FLUSH_AGE
    }
}
