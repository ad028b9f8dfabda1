//! The two ends of a [list](super::list): what each keeps under its latch, and what it makes of the other.

use super::segment::{Segment, slots};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct Tail(usize);

/// With fewer bits the count would come round, and slots be read that nobody filled.
const _: () = assert!(usize::BITS == 64);

const ENDED: usize = 1;
const ONE: usize = 2;

impl Tail {
    /// Nothing was put, and more can be.
    pub(super) const START: Self = Self(0);

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

/// How many tasks were reported done or cleared, and whether somebody joins.
///
/// ```text
///   63                                      1   0
///  +-----------------------------------------+--------+
///  | tasks done, never more than were put    | JOINED |
///  +-----------------------------------------+--------+
/// ```
///
/// Anybody may count one done, by compare-and-swap, and clearing many; `JOINED` is changed by who holds the core's mutex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Done(usize);

impl Done {
    pub(super) const JOINED: usize = 1;
    pub(super) const NONE: Self = Self(0);

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
    pub(super) const fn is_joined(self) -> bool {
        self.0 & Self::JOINED != 0
    }

    #[inline]
    pub(super) const fn plus(self, tasks: usize) -> Self {
        Self(self.0 + tasks * ONE)
    }
}

/// What who holds `puts` may change, but for the tail itself.
pub(super) struct PuttingEnd<T> {
    pub(super) segment: Segment<T>,
    /// As long as the tail is less than this, there is room, a slot after it that is not the segment's last, and nobody to
    /// tell.
    pub(super) plain_below: Tail,
    /// What the word `limit` shows to others.
    limit: usize,
    /// A head of the past: at least so many were got.
    pub(super) head_seen: usize,
    sight: Sight,
    /// Whether a getter is to be woken after a put. Changed holding the core's mutex too.
    wakes_getters: bool,
}

impl<T> PuttingEnd<T> {
    pub(super) fn new(segment: Segment<T>, limit: usize) -> Self {
        Self { segment, plain_below: Tail::START, limit, head_seen: 0, sight: Sight::new(limit), wakes_getters: false }
    }

    /// How many items have room, at least one.
    pub(super) fn room(&mut self, tail: Tail, look: Look, head: impl FnOnce() -> usize) -> Result<usize, Refusal> {
        if tail.is_ended() {
            return Err(Refusal::Ended);
        }
        let mut room = self.limit.saturating_sub(tail.count() - self.head_seen);
        if room == 0 {
            if look == Look::Lightly && self.sight.refuses() {
                return Err(Refusal::NotNow);
            }
            self.head_seen = head();
            room = self.limit.saturating_sub(tail.count() - self.head_seen);
            self.sight.looked(room);
        }
        if room == 0 { Err(Refusal::NotNow) } else { Ok(room) }
    }

    /// The tail has come to this; whether a getter is to be woken.
    pub(super) fn came_to(&mut self, tail: Tail) -> bool {
        let plain_until = self.head_seen.saturating_add(self.limit).min(last_of_segment::<T>(tail.count()));
        let is_plain = !self.wakes_getters && !tail.is_ended();
        self.plain_below = if is_plain { Tail::START.plus(plain_until) } else { Tail::START };
        self.wakes_getters
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.sight = Sight::new(limit);
        self.plain_below = Tail::START;
    }

    pub(super) fn set_wakes_getters(&mut self, wakes: bool) {
        self.wakes_getters = wakes;
        self.plain_below = Tail::START;
    }
}

/// What who holds `gets` may change, but for the head itself.
pub(super) struct GettingEnd<T> {
    pub(super) segment: Segment<T>,
    /// As long as the head is less than this, there is an item, its slot is not the segment's last, and nobody is to be
    /// told.
    pub(super) plain_below: usize,
    /// A tail of the past: at least so many were put.
    pub(super) tail_seen: usize,
    sight: Sight,
    /// Whether a putter is to be woken after a get. Changed holding the core's mutex too.
    wakes_putters: bool,
}

impl<T> GettingEnd<T> {
    pub(super) fn new(segment: Segment<T>, limit: usize) -> Self {
        Self { segment, plain_below: 0, tail_seen: 0, sight: Sight::new(limit), wakes_putters: false }
    }

    /// How many items are there to get, at least one.
    pub(super) fn items(&mut self, head: usize, look: Look, tail: impl FnOnce() -> Tail) -> Result<usize, Refusal> {
        if head == self.tail_seen {
            if look == Look::Lightly && self.sight.refuses() {
                return Err(Refusal::NotNow);
            }
            let tail = tail();
            self.tail_seen = tail.count();
            self.sight.looked(tail.count() - head);
            if head == self.tail_seen {
                return Err(if tail.is_ended() { Refusal::Ended } else { Refusal::NotNow });
            }
        }
        Ok(self.tail_seen - head)
    }

    /// The head has come to this; whether a putter is to be woken.
    pub(super) fn came_to(&mut self, head: usize) -> bool {
        let plain_until = self.tail_seen.min(last_of_segment::<T>(head));
        self.plain_below = if self.wakes_putters { 0 } else { plain_until };
        self.wakes_putters
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.sight = Sight::new(limit);
    }

    pub(super) fn set_wakes_putters(&mut self, wakes: bool) {
        self.wakes_putters = wakes;
        self.plain_below = 0;
    }
}

/// The position of the last slot of the segment that this position is in.
const fn last_of_segment<T>(position: usize) -> usize {
    position | (slots::<T>() - 1)
}

/// What an end makes of its looks at the other end.
///
/// When the two work side by side, each look takes the other's cache line away, and who looks at every item halves the
/// speed of both. An end that found the other close therefore lets some time pass before the next look, in which the
/// other gets ahead by several items. Where that was in vain, as it is for one thread that puts and gets in turn, it looks
/// at once for a while.
pub(super) struct Sight {
    /// The ends are close if they are so many items apart.
    close: u8,
    is_close: bool,
    has_refused: bool,
    in_vain: u8,
    hasty_looks: u16,
}

/// At most how many: what an end gets through in about a microsecond.
const CLOSE: u8 = 64;
/// How often in a row patience may be in vain, and how many looks are hasty after that.
const IN_VAIN: u8 = 3;
const HASTY_LOOKS: u16 = 256;

impl Sight {
    pub(super) fn new(limit: usize) -> Self {
        let close = u8::try_from(limit / 2).unwrap_or(CLOSE).min(CLOSE);
        Self { close, is_close: false, has_refused: false, in_vain: 0, hasty_looks: 0 }
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
        self.is_close = found < usize::from(self.close) && self.hasty_looks == 0;
    }
}
