//! A queue without the type of its items: one process's access to it, and how it travels.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::GetError;
use super::error::Why;
use super::lease::Held;
use super::owed::Owed;
use crate::ipc::member::{AN_INSTANT, Member, Seats};
use crate::ipc::parcel::{EncodeError, attach, claim};
use crate::ipc::{LockError, Stats};
use crate::primitive::{Life, Refused};
use crate::queue::Shutdown;
use crate::shm::queue::{Caller, DRAIN, Failed, IMMEDIATE, Queue as Words, Taken, Way};
use crate::shm::ring::{Bytes, Raw};
use crate::shm::{Object, Roster, Type};
use crate::sys::clock::Deadline;
use crate::sys::epoll::{EventFd, ring};
use crate::sys::generation;
use crate::sys::socket::duplicate;

/// The words, and what a process has of the queue besides, which goes after them.
#[derive(Clone)]
pub(super) struct Core {
    member: Member<Words>,
    here: Arc<Here>,
}

struct Here {
    /// Rung for who waits for a descriptor; it is never zero, and tells by becoming more.
    counter: OwnedFd,
    owed: Owed,
}

impl Drop for Here {
    /// Tells watchers of what was given back with the seat, which is left by now.
    fn drop(&mut self) {
        if self.owed.is_any() {
            let _ = ring(self.counter.as_fd());
        }
    }
}

/// The fewest bytes of a ring.
const SHORTEST: u32 = 64;

/// Until when to wait.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    /// Not at all, but for a mutex for an instant.
    No,
    /// Until then.
    For(Deadline),
}

impl Wait {
    #[inline]
    pub(super) fn of(timeout: Duration) -> Self {
        if timeout.is_zero() { Self::No } else { Self::For(Deadline::after(timeout)) }
    }

    /// Until when for a mutex.
    #[inline]
    fn deadline(self) -> Deadline {
        match self {
            Self::For(deadline) => deadline,
            Self::No => Deadline::after(AN_INSTANT),
        }
    }
}

impl Seats for Words {
    fn sit_down(object: &Object<Self>, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused> {
        with_bytes(object, |bytes| Words::sit_down(object, bytes, life, deadline)).map_err(refused)
    }

    fn leave(object: &Object<Self>, seat: usize, deadline: Deadline) -> Result<(), Refused> {
        with_bytes(object, |bytes| Words::leave(object, bytes, seat, deadline)).map_err(refused)
    }

    fn roster(&self) -> &Roster {
        &self.roster
    }
}

/// The ring's bytes. Their number was looked at when the queue was made or came here.
#[inline]
fn with_bytes<R>(object: &Object<Words>, f: impl FnOnce(&Raw<'_>) -> R) -> R {
    let bytes = Raw::new(object.rest());
    f(&bytes.unwrap_or_else(|| unreachable!("looked at before: a power of two")))
}

fn corrupt(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("somebody has written into the queue: {what}"))
}

fn refused(failed: Failed) -> Refused {
    match failed {
        Failed::Refused(refused) => refused,
        Failed::Corrupt(what) => Refused::Broken(corrupt(what)),
        Failed::NotNow | Failed::ShutDown => Refused::Busy,
    }
}

impl From<Failed> for LockError {
    fn from(failed: Failed) -> Self {
        refused(failed).into()
    }
}

impl<T> From<Failed> for GetError<T> {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotNow => Self::Empty,
            Failed::ShutDown => Self::ShutDown,
            other => Self::Unusable(other.into()),
        }
    }
}

impl From<Failed> for Why {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotNow => Self::Full,
            Failed::ShutDown => Self::ShutDown,
            other => Self::Unusable(other.into()),
        }
    }
}

impl Core {
    /// A queue of items of a type, at most `most`, in `room` bytes.
    pub(super) fn create(holds: Type, most: u64, room: u32) -> io::Result<Self> {
        let words = room.next_power_of_two().max(SHORTEST) as usize / size_of::<u64>();
        let counter = EventFd::new()?;
        counter.ring()?;
        let member = Member::create_with(holds, words, |words: &Words| words.begin(most, room))?;
        Ok(Self::of(member, counter.into()))
    }

    fn of(member: Member<Words>, counter: OwnedFd) -> Self {
        Self { member, here: Arc::new(Here { counter, owed: Owed::default() }) }
    }

    pub(super) fn receive<'de, D: Deserializer<'de>>(holds: Type, deserializer: D) -> Result<Self, D::Error> {
        let (member, counter) = <(u32, u32)>::deserialize(deserializer)?;
        let member: Member<Words> = Member::receive(holds, member.into_deserializer())?;
        match Raw::new(member.peek().rest()) {
            Some(bytes) if bytes.length() >= SHORTEST => {}
            _ => return Err(D::Error::custom("the queue has a length that none has")),
        }
        Ok(Self::of(member, claim(counter, Ok)?))
    }

    /// The words, to look at.
    #[inline]
    pub(super) fn words(&self) -> &Words {
        self.member.peek()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats::here(self.member.peek())
    }

    pub(super) fn counter(&self) -> &OwnedFd {
        &self.here.counter
    }

    /// The longest item, in bytes, and how many bytes may be in use.
    #[inline]
    pub(super) fn longest(&self) -> usize {
        with_bytes(self.member.peek(), |bytes| self.words().longest(bytes))
    }

    /// Whether an item without any bytes would have no room.
    pub(super) fn is_full(&self) -> bool {
        with_bytes(self.member.peek(), |bytes| !self.words().has_room(bytes, 0))
    }

    /// Rings for who waits for a descriptor, if somebody does.
    #[inline]
    fn tell_watchers(&self) {
        self.words().tell_watchers(|| {
            // It is open, and never full.
            let _ = ring(self.counter().as_fd());
        });
    }

    /// The same after a call that may have taken something back from a dead owner, if that is still there.
    #[inline]
    fn tell_watchers_of_what_is_back(&self) {
        if self.words().has_returned() {
            self.tell_watchers();
        }
    }

    /// Puts items; how many before it failed, if so.
    pub(super) fn put(&self, items: &[&[u8]], wait: Wait) -> Result<(), (usize, Why)> {
        let object = self.member.usable().map_err(|error| (0, Why::Unusable(error)))?;
        if self.here.owed.is_any() {
            // Who is stopped among those who take does not hold up who puts.
            let _ = self.settle_all(Deadline::after(Duration::ZERO));
        }
        let put = with_bytes(object, |bytes| match wait {
            Wait::For(deadline) => object.put(bytes, items, deadline),
            Wait::No => match object.try_put(bytes, items, Deadline::after(AN_INSTANT)) {
                Ok(count) if count as usize == items.len() => Ok(()),
                Ok(count) => Err((count as usize, Failed::NotNow)),
                Err(failed) => Err((0, failed)),
            },
        });
        self.tell_watchers();
        put.map_err(|(count, failed)| (count, failed.into()))
    }

    /// Takes items, whose bytes go to the end of `onto`; who has them, if they are leased.
    pub(super) fn take<O>(
        &self,
        (way, most): (Way, usize),
        onto: &mut Vec<u8>,
        mut each: impl FnMut(usize, Taken),
        wait: Wait,
    ) -> Result<(), GetError<O>> {
        let deadline = wait.deadline();
        let me = self.member.seated(deadline).map_err(|error| match error {
            LockError::Timeout => GetError::Empty,
            error => GetError::Unusable(error),
        })?;
        self.settle(deadline)?;
        let caller = Caller { seat: me.seat, life: me.life };
        let mut each = |taken| each(me.seat, taken);
        let answer = with_bytes(me.object, |bytes| match wait {
            Wait::For(_) => me.object.take(bytes, caller, (way, most), onto, each, deadline),
            Wait::No => match me.object.try_take(bytes, caller, (way, most), onto, &mut each, deadline) {
                Err(Failed::NotNow | Failed::ShutDown)
                    if me.object.has_leases() && me.object.reap_leases(bytes, caller, deadline)? =>
                {
                    me.object.try_take(bytes, caller, (way, most), onto, each, deadline)
                }
                answer => answer,
            },
        });
        // What was taken here may have been the last that could come back.
        let may_be_over = self.words().closed().is_some() && !matches!(answer, Err(Failed::NotNow));
        if may_be_over || self.words().has_returned() {
            self.tell_watchers();
        }
        answer?;
        Ok(())
    }

    pub(super) fn end_lease(&self, held: Held, is_done: bool, deadline: Deadline) -> Result<(), LockError> {
        let object = self.member.peek();
        let had_it = with_bytes(object, |bytes| object.end_lease(bytes, held.seat, held.at, is_done, deadline))?;
        self.tell_watchers();
        if had_it {
            Ok(())
        } else {
            Err(LockError::Io(io::Error::other("the lease was taken away before it was ended")))
        }
    }

    /// The same for who cannot wait: if somebody is stopped inside, it is done by whoever uses the queue here next.
    pub(super) fn end_lease_soon(&self, held: Held, is_done: bool) {
        // What else is wrong with the queue is told to whoever uses it.
        if matches!(self.end_lease(held, is_done, Deadline::after(AN_INSTANT)), Err(LockError::Timeout)) {
            self.here.owed.add((held, is_done));
        }
    }

    /// Ends the leases that are to be ended.
    #[inline]
    fn settle(&self, deadline: Deadline) -> Result<(), Failed> {
        if self.here.owed.is_any() { self.settle_all(deadline) } else { Ok(()) }
    }

    #[cold]
    fn settle_all(&self, deadline: Deadline) -> Result<(), Failed> {
        let mut is_busy = false;
        for (held, is_done) in self.here.owed.take() {
            // Those of the process that this one was forked from are its own.
            if held.generation == generation::current() {
                let ended = if is_busy { Err(LockError::Timeout) } else { self.end_lease(held, is_done, deadline) };
                if matches!(ended, Err(LockError::Timeout)) {
                    self.here.owed.add((held, is_done));
                    is_busy = true;
                }
            }
        }
        if is_busy { Err(Failed::NotNow) } else { Ok(()) }
    }

    /// If there are leases, and nobody has looked for a while: takes back what the dead have.
    pub(super) fn look_for_the_dead(&self, soon: Deadline) {
        if self.words().is_time_to_look()
            && let Ok(me) = self.member.seated(soon)
        {
            let caller = Caller { seat: me.seat, life: me.life };
            // Who is stopped inside is not waited for: the next look finds what there is.
            if with_bytes(me.object, |bytes| me.object.reap_leases(bytes, caller, soon)).is_ok_and(|found| found) {
                self.tell_watchers();
            }
        }
    }

    pub(super) fn task_done(&self, deadline: Deadline) -> Result<bool, LockError> {
        let (object, seat) = self.member.seat(deadline)?;
        let answer = with_bytes(object, |bytes| object.task_done(bytes, seat, deadline));
        self.tell_watchers_of_what_is_back();
        Ok(answer?)
    }

    pub(super) fn unfinished(&self, deadline: Deadline) -> Result<u64, LockError> {
        let me = self.member.seated(deadline)?;
        self.settle(deadline)?;
        let caller = Caller { seat: me.seat, life: me.life };
        let answer = with_bytes(me.object, |bytes| {
            me.object.reap(bytes, caller, deadline)?;
            me.object.unfinished(bytes, deadline)
        });
        self.tell_watchers_of_what_is_back();
        Ok(answer?)
    }

    /// Waits until everything is done, for `timeout` at most, but for `AN_INSTANT` for who is inside; whether it was.
    pub(super) fn join_timeout(&self, timeout: Duration) -> Result<bool, LockError> {
        let (until, for_a_look) = (Deadline::after(timeout), Deadline::after(timeout.max(AN_INSTANT)));
        match self.join(until, for_a_look) {
            Err(LockError::Timeout) => Ok(false),
            answer => answer,
        }
    }

    pub(super) fn join(&self, until: Deadline, for_a_look: Deadline) -> Result<bool, LockError> {
        let me = self.member.seated(for_a_look)?;
        self.settle(for_a_look)?;
        let caller = Caller { seat: me.seat, life: me.life };
        let taken_back = || self.tell_watchers_of_what_is_back();
        taken_back();
        with_bytes(me.object, |bytes| match me.object.join(bytes, caller, until, taken_back) {
            Err(Failed::NotNow) => Ok(me.object.unfinished(bytes, for_a_look)? == 0),
            answer => Ok(answer?),
        })
    }

    /// Whether a `try_get` would say that nothing will come any more, or why it cannot say. Who is stopped inside may end
    /// a lease yet.
    pub(super) fn is_over(&self, soon: Deadline) -> bool {
        if self.words().closed().is_none() {
            return false;
        }
        let Ok(object) = self.member.usable() else { return true };
        // Seat 0 is nobody's, and has no leases.
        let seat = self.member.seat_of(generation::current()).unwrap_or(0);
        let looked = with_bytes(object, |bytes| object.is_over(bytes, seat, soon));
        looked.unwrap_or_else(|failed| !matches!(failed, Failed::NotNow))
    }

    pub(super) fn clear(&self, deadline: Deadline) -> Result<(), LockError> {
        let object = self.member.usable()?;
        self.settle(deadline)?;
        Ok(with_bytes(object, |bytes| object.clear(bytes, deadline))?)
    }

    /// `deadline` is for those who put.
    pub(super) fn shut_down(&self, mode: Shutdown, deadline: Deadline) -> Result<(), LockError> {
        let way = match mode {
            Shutdown::Drain => DRAIN,
            Shutdown::Immediate => IMMEDIATE,
        };
        let object = self.member.usable()?;
        object.close(way, deadline)?;
        let tidied = with_bytes(object, |bytes| object.tidy(bytes, Deadline::after(AN_INSTANT)));
        self.tell_watchers();
        match tidied {
            // Who is stopped among those who take is not waited for: whoever comes next drops what is to be dropped.
            Ok(()) | Err(Failed::NotNow) => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }

    pub(super) fn set_most(&self, most: u64) -> Result<(), LockError> {
        self.member.usable()?.set_most(most);
        Ok(())
    }
}

impl PartialEq for Core {
    fn eq(&self, other: &Self) -> bool {
        self.member == other.member
    }
}

impl Serialize for Core {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = attach(|| {
            self.member.usable().map_err(|_| EncodeError::ForeignProcess)?;
            Ok((duplicate(self.counter().as_fd()).map_err(EncodeError::Io)?, None))
        })?;
        (&self.member, index).serialize(serializer)
    }
}
