//! A number to another process and back: while the other one sleeps, and while both are at it.
//!
//! # Safety
//!
//! The bare futex is two system calls on a word that the caller borrows for their duration.

#![expect(unsafe_code, reason = "the raw futex is a system call")]

use std::hint::spin_loop;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crewkit::ipc::{self, Connection, Fd, SharedMemory};
use crewkit::process::Process;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};
use crate::place::Placement;

const OURS: &str = "crewkit, typed";
const SOCKET: &str = "Unix socketpair";
const FUTEX: &str = "raw shared futex";
const WORD: &str = "a word, both spinning";

/// Longer than anybody here looks before sleeping.
const PAUSE: Duration = Duration::from_micros(60);

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        contest::<Words<true>>("8 B there and back, the other asleep", FUTEX, PAUSE)
            .target(Target::speed(OURS, 1.5, &[SOCKET]))
            .target(Target::cost(OURS, 1.3, &[FUTEX]))
            .remark("Before each trip the asking side is busy for 60 µs, off the clock, until the other one sleeps."),
        contest::<Words<false>>("8 B there and back, both hot", WORD, Duration::ZERO)
            .target(Target::speed(OURS, 10.0, &[SOCKET]))
            .remark(
                "The word that both spin at is a bound: nobody could sleep there. Between its repetitions its far end sleeps.",
            ),
    ]
}

fn contest<W: End>(work: &'static str, bound: &'static str, pause: Duration) -> Contest {
    Contest::new("Messages", work, "round trip", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, move || trips::<Connection<u64, u64>>(pause)))
        .with(Contestant::peer(SOCKET, move || trips::<Socket>(pause)))
        .with(Contestant::peer(bound, move || trips::<W>(pause)))
}

/// One end of something by which numbers go to and fro.
trait End: Sized + 'static {
    /// The other end, on its way to its process.
    type Travelling: Serialize + DeserializeOwned + Send + 'static;

    fn pair() -> Outcome<(Self, Self::Travelling)>;
    fn arrive(travelling: Self::Travelling) -> Outcome<Self>;
    fn send(&mut self, number: u64) -> Outcome<()>;
    /// An error when the other end is gone.
    fn recv(&mut self) -> Outcome<u64>;
    /// At the near end, between repetitions: the other processor is the other contestants' now.
    fn rest(&mut self) -> Outcome<()> {
        Ok(())
    }
}

/// The near end, and behind it, because it ends when that is gone, the process with the far one.
struct Trip<E> {
    near: E,
    _peer: Process<()>,
}

fn trips<E: End>(pause: Duration) -> Outcome<Repetition> {
    let (near, far) = E::pair()?;
    let mut trip = Trip { near, _peer: Process::spawn(echo::<E>, far)? };
    Ok(Box::new(move |operations| {
        let Trip { near, .. } = &mut trip;
        Placement::Apart.pin(0)?;
        let (start, mut paused) = (Instant::now(), Duration::ZERO);
        for number in 0..operations {
            paused += busy(pause);
            near.send(number)?;
            check("echo", near.recv()?, number)?;
        }
        let taken = start.elapsed() - paused;
        near.rest()?;
        Ok(taken.into())
    }))
}

fn echo<E: End>(far: E::Travelling) {
    let _anywhere_else = Placement::Apart.pin(1);
    let Ok(mut far) = E::arrive(far) else { return };
    while let Ok(number) = far.recv() {
        if far.send(number).is_err() {
            return;
        }
    }
}

/// Does nothing for so long at least; for how long it was.
fn busy(pause: Duration) -> Duration {
    if pause.is_zero() {
        return pause;
    }
    let start = Instant::now();
    loop {
        let passed = start.elapsed();
        if passed >= pause {
            return passed;
        }
    }
}

impl End for Connection<u64, u64> {
    type Travelling = Self;

    fn pair() -> Outcome<(Self, Self)> {
        Ok(ipc::pipe()?)
    }

    fn arrive(travelling: Self) -> Outcome<Self> {
        Ok(travelling)
    }

    fn send(&mut self, number: u64) -> Outcome<()> {
        Ok(Connection::send(self, &number)?)
    }

    fn recv(&mut self) -> Outcome<u64> {
        Ok(Connection::recv(self)?)
    }
}

/// One end of a stream.
struct Socket(UnixStream);

impl End for Socket {
    type Travelling = Fd<UnixStream>;

    fn pair() -> Outcome<(Self, Fd<UnixStream>)> {
        let (near, far) = UnixStream::pair()?;
        Ok((Self(near), Fd(far)))
    }

    fn arrive(travelling: Fd<UnixStream>) -> Outcome<Self> {
        Ok(Self(travelling.into_inner()))
    }

    fn send(&mut self, number: u64) -> Outcome<()> {
        Ok(self.0.write_all(&number.to_ne_bytes())?)
    }

    fn recv(&mut self) -> Outcome<u64> {
        let mut number = [0; 8];
        self.0.read_exact(&mut number)?;
        Ok(u64::from_ne_bytes(number))
    }
}

/// Two words in shared memory, one for each direction: who waits sleeps there, or spins.
struct Words<const SLEEPS: bool> {
    memory: SharedMemory,
    is_near: bool,
    is_resting: bool,
}

/// In place of a number: the near end is gone.
const GONE: u64 = u64::MAX;
/// In place of a number: the far end is to sleep until the next one.
const REST: u64 = u64::MAX - 2;
/// The words are so far apart: no line of the cache has two.
const APART: usize = 16;

impl<const SLEEPS: bool> Words<SLEEPS> {
    fn word(&self, of_near: bool) -> Outcome<&AtomicU64> {
        Ok(self.memory.words().get(if of_near { 0 } else { APART }).ok_or("shared memory has two words")?)
    }

    fn put(&self, word: u64) -> Outcome<()> {
        let theirs = self.word(!self.is_near)?;
        theirs.store(word, Ordering::Release);
        if SLEEPS || self.is_resting {
            // SAFETY: the word lives as long as the borrow; waking has no other requirement.
            unsafe { libc::syscall(libc::SYS_futex, theirs.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
        Ok(())
    }

    /// Sleeps while the word is zero.
    fn sleep_at(word: &AtomicU64) {
        let forever = ptr::null::<libc::timespec>();
        // SAFETY: the word lives as long as the borrow, and without a timeout nothing else is read.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, forever) };
    }
}

impl<const SLEEPS: bool> End for Words<SLEEPS> {
    type Travelling = SharedMemory;

    fn pair() -> Outcome<(Self, SharedMemory)> {
        let memory = SharedMemory::create(2 * APART * size_of::<u64>())?;
        let mut near = Self { memory: memory.clone(), is_near: true, is_resting: false };
        // Nor does it spin before the first repetition.
        near.rest()?;
        Ok((near, memory))
    }

    fn arrive(memory: SharedMemory) -> Outcome<Self> {
        Ok(Self { memory, is_near: false, is_resting: false })
    }

    fn send(&mut self, number: u64) -> Outcome<()> {
        // Odd, so that the half at which the kernel looks is never zero.
        self.put(number << 1 | 1)?;
        self.is_resting = false;
        Ok(())
    }

    fn rest(&mut self) -> Outcome<()> {
        if !SLEEPS {
            self.put(REST)?;
            self.is_resting = true;
        }
        Ok(())
    }

    fn recv(&mut self) -> Outcome<u64> {
        let mine = self.word(self.is_near)?;
        loop {
            // Only this side takes numbers away.
            match mine.load(Ordering::Acquire) {
                0 if SLEEPS => Self::sleep_at(mine),
                0 => spin_loop(),
                GONE => return Err("the other end is gone".into()),
                REST => {
                    // Unless the next number is there already.
                    let _or_the_next = mine.compare_exchange(REST, 0, Ordering::Relaxed, Ordering::Relaxed);
                    while mine.load(Ordering::Relaxed) == 0 {
                        Self::sleep_at(mine);
                    }
                }
                word => {
                    mine.store(0, Ordering::Relaxed);
                    return Ok(word >> 1);
                }
            }
        }
    }
}

impl<const SLEEPS: bool> Drop for Words<SLEEPS> {
    fn drop(&mut self) {
        let _words_are_there = self.put(GONE);
    }
}
