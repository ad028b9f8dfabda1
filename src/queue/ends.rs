//! The two ends of a [list](super::list): what each keeps under its latch, and what it makes of the other.
//!
//! # Safety
//!
//! An end's segment may be looked at for as long as the end is held: that is invariant 4 of [`list`](super::list), which
//! alone makes ends and moves them on.

#![expect(unsafe_code, reason = "segments are reached by pointer")]

use super::segment::Segment;
use std::ptr::NonNull;

/// A count of puts, and whether there will be more.
///
/// ```text
///   63                                      1   0
///  +-----------------------------------------+-------+
///  | items that were ever put                | ENDED |
///  +-----------------------------------------+-------+
/// ```
///
/// Both are changed by who holds `puts` only; `ENDED` is never taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail(usize);

/// With fewer bits the count would come round, and slots be read that nobody filled.
const _: () = assert!(usize::BITS == 64);

const ENDED: usize = 1;
const ONE: usize = 2;

impl Tail {
    #[inline]
    pub(super) const fn from_word(word: usize) -> Self {
        Self(word)
    }

    #[inline]
    pub(super) const fn to_word(self) -> usize {
        self.0
    }

    #[inline]
    pub(super) const fn count(self) -> usize {
        self.0 / ONE
    }

    #[inline]
    pub(super) const fn is_ended(self) -> bool {
        self.0 & ENDED != 0
    }

    pub(super) const fn ended(self) -> Self {
        Self(self.0 | ENDED)
    }

    #[inline]
    pub(super) const fn plus(self, items: usize) -> Self {
        Self(self.0 + items * ONE)
    }
}

/// Why nothing was put or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room, or no item.
    NotNow,
    /// Nothing is put in any more; and, for a getter, nothing is left.
    Ended,
}

/// How to answer that there is no room, or no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// By what is so now.
    Exactly,
    /// By what is known without a look at the other end, if that was close lately: looking at it would slow it down.
    Lightly,
}

/// What who holds `puts` may change.
pub(super) struct PuttingEnd<T> {
    pub(super) segment: NonNull<Segment<T>>,
    /// What `tail` shows to others.
    pub(super) tail: Tail,
    /// What `limit` shows to others.
    pub(super) limit: usize,
    /// A head of the past: at least so many were got.
    pub(super) head_seen: usize,
    pub(super) sight: Sight,
    /// Whether a getter is to be woken after a put. Changed holding the core's mutex too.
    pub(super) wakes_getters: bool,
}

impl<T> PuttingEnd<T> {
    pub(super) fn new(segment: NonNull<Segment<T>>, limit: usize) -> Self {
        Self { segment, tail: Tail(0), limit, head_seen: 0, sight: Sight::new(limit), wakes_getters: false }
    }

    /// How many items have room, at least one.
    #[inline]
    pub(super) fn room(&mut self, look: Look, head: impl FnOnce() -> usize) -> Result<usize, Refusal> {
        if self.tail.is_ended() {
            return Err(Refusal::Ended);
        }
        let mut room = self.limit.saturating_sub(self.tail.count() - self.head_seen);
        if room == 0 {
            if look == Look::Lightly && self.sight.refuses() {
                return Err(Refusal::NotNow);
            }
            self.head_seen = head();
            room = self.limit.saturating_sub(self.tail.count() - self.head_seen);
            self.sight.looked(room);
        }
        if room == 0 { Err(Refusal::NotNow) } else { Ok(room) }
    }

    /// The tail's segment.
    #[inline]
    pub(super) fn segment(&self) -> &Segment<T> {
        // SAFETY: it is in the list's chain, and freed by nobody before this end has left it (4).
        unsafe { self.segment.as_ref() }
    }
}

/// What who holds `gets` may change.
pub(super) struct GettingEnd<T> {
    pub(super) segment: NonNull<Segment<T>>,
    /// What the word `head` shows to others: how many items were ever got or cleared.
    pub(super) head: usize,
    /// A tail of the past: at least so many were put.
    pub(super) tail_seen: usize,
    /// How many tasks were reported done, or cleared. Never more than were put.
    pub(super) done: usize,
    pub(super) sight: Sight,
    /// Whether a putter is to be woken after a get. Changed holding the core's mutex too.
    pub(super) wakes_putters: bool,
    /// Whether joiners are to be woken after the last task. Changed holding the core's mutex too.
    pub(super) wakes_joiners: bool,
}

impl<T> GettingEnd<T> {
    pub(super) fn new(segment: NonNull<Segment<T>>, limit: usize) -> Self {
        Self {
            segment,
            head: 0,
            tail_seen: 0,
            done: 0,
            sight: Sight::new(limit),
            wakes_putters: false,
            wakes_joiners: false,
        }
    }

    /// How many items are there to get, at least one.
    #[inline]
    pub(super) fn items(&mut self, look: Look, tail: impl FnOnce() -> Tail) -> Result<usize, Refusal> {
        if self.head == self.tail_seen {
            if look == Look::Lightly && self.sight.refuses() {
                return Err(Refusal::NotNow);
            }
            let tail = tail();
            self.tail_seen = tail.count();
            self.sight.looked(tail.count() - self.head);
            if self.head == self.tail_seen {
                return Err(if tail.is_ended() { Refusal::Ended } else { Refusal::NotNow });
            }
        }
        Ok(self.tail_seen - self.head)
    }

    /// The head's segment.
    #[inline]
    pub(super) fn segment(&self) -> &Segment<T> {
        // SAFETY: it is in the list's chain, and freed by nobody before this end has left it (4).
        unsafe { self.segment.as_ref() }
    }
}

/// What an end makes of its looks at the other end.
///
/// When the two work side by side, each look takes the other's cache line away, and who looks at every item halves the
/// speed of both. An end that found the other close therefore lets some time pass before the next look, in which the
/// other gets ahead by several items. Where that was in vain, as it is for one thread that puts and gets in turn, it looks
/// at once for a while.
pub(super) struct Sight {
    /// The ends are close if they are so many items apart.
    close: usize,
    is_close: bool,
    has_refused: bool,
    in_vain: u32,
    hasty_looks: u32,
}

/// At most how many: what an end gets through in about a microsecond, twice.
const CLOSE: usize = 64;
/// How often in a row patience may be in vain, and how many looks are hasty after that.
const IN_VAIN: u32 = 3;
const HASTY_LOOKS: u32 = 256;

impl Sight {
    pub(super) fn new(limit: usize) -> Self {
        Self { close: CLOSE.min(limit / 2), is_close: false, has_refused: false, in_vain: 0, hasty_looks: 0 }
    }

    /// Whether to let some time pass before the next look.
    #[inline]
    fn refuses(&mut self) -> bool {
        self.has_refused = self.is_close;
        self.is_close
    }

    /// A look found so much to put or to get.
    #[inline]
    fn looked(&mut self, found: usize) {
        if self.has_refused {
            self.has_refused = false;
            self.in_vain = if found <= 1 { self.in_vain + 1 } else { 0 };
            if self.in_vain > IN_VAIN {
                self.in_vain = IN_VAIN;
                self.hasty_looks = HASTY_LOOKS;
            }
        }
        self.hasty_looks = self.hasty_looks.saturating_sub(1);
        self.is_close = found < self.close && self.hasty_looks == 0;
    }
}
