//! A slab: the address space of many stacks of one size, in one mapping.
//!
//! ```text
//!  low addresses                                                                     high addresses
//!  │ guard │ stack 0            ▓▓▒▒│ guard │ stack 1           ▓▓▒▒▒│ guard │ stack 2 …
//!          └ floor               │ └ header, then its colour: up to 3 KiB that nobody uses
//!                                └ frames grow from here towards the guard
//! ```
//!
//! Without colours, the tops of all stacks would have the same address within their page, and so share one set of the
//! first-level cache, which holds eight of them. With 48 colours, a line apart, some hundreds of suspended coroutines
//! stay in it.
//!
//! Guards, and the pages that stacks begin in, are made when a stack is to be used for the first time. The kernel is slow at
//! both, and less so for many at once: so the more stacks a thread has, the more are made ready ahead of those asked for.

use std::io;
use std::ptr::NonNull;

use corosensei::stack::valgrind::ValgrindStackRegistration;

use super::span::Span;
use super::{Header, Spec};
use crate::sys::stack::{Region, Row, page};

const COLOURS: usize = 48;
const LINE: usize = 64;

#[derive(Debug)]
pub(super) struct Slab {
    /// Goes before what it tells of.
    _span: Box<Span>,
    region: Region,
    spec: &'static Spec,
    /// The stacks that have been used. Valgrind is told of each, because it would take a switch for an overflow.
    known: Vec<ValgrindStackRegistration>,
    /// How many stacks are guarded.
    ready: usize,
}

/// Where the header of a stack goes that begins at `low`, guard and all, as the `number`th of its slab.
pub(super) fn header(low: NonNull<u8>, number: usize, spec: &Spec) -> Option<NonNull<Header>> {
    let top = low.as_ptr().wrapping_add(spec.stride());
    NonNull::new(top.wrapping_sub(size_of::<Header>() + number % COLOURS * LINE).cast())
}

/// A stack without an owner: where its header goes, and where it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) header: NonNull<Header>,
    pub(super) limit: usize,
}

impl Slab {
    pub(super) fn new(spec: &'static Spec) -> io::Result<Self> {
        let region = Region::map(spec.count * spec.stride())?;
        let span = Span::new(region.base().as_ptr().expose_provenance(), spec);
        Ok(Self { _span: span, region, spec, known: Vec::with_capacity(spec.count), ready: 0 })
    }

    /// The next stack that was never used, guarded; `None` when there is none. When there is none ready, that many are made
    /// so ahead of it.
    pub(super) fn next(&mut self, ahead: usize) -> io::Result<Option<Place>> {
        let number = self.known.len();
        if number == self.spec.count {
            return Ok(None);
        }
        if number == self.ready {
            self.prepare(ahead)?;
        }
        let low = self.region.at(number * self.spec.stride());
        self.known.push(ValgrindStackRegistration::new(low.as_ptr(), self.spec.stride()));
        Ok(header(low, number, self.spec).map(|header| Place { header, limit: low.as_ptr() as usize }))
    }

    /// Guards the next stack, and, where the kernel can do that at once, up to `ahead` more. Those get the page that they
    /// begin in, too.
    fn prepare(&mut self, ahead: usize) -> io::Result<()> {
        let stride = self.spec.stride();
        let offset = self.ready * stride;
        let count = (1 + ahead).min(self.spec.count - self.ready);
        let guards = Row { offset, bytes: self.spec.guard, stride, count };
        let guarded = if count > 1 { self.region.guard_many(guards) } else { 0 };
        if guarded > 0 {
            let tops = Row { offset: offset + stride - page(), bytes: page(), stride, count: guarded };
            self.region.populate_many(tops);
        } else {
            self.region.guard(offset, self.spec.guard)?;
        }
        self.ready += guarded.max(1);
        Ok(())
    }

    /// Gives the memory of stacks back that are ready and were never used.
    pub(super) fn discard_unused(&self) {
        let (used, ready) = (self.used() * self.spec.stride(), self.ready * self.spec.stride());
        if used < ready {
            self.region.discard(used, ready - used, false);
        }
    }

    /// How many of its stacks have been used.
    pub(super) fn used(&self) -> usize {
        self.known.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.region.bytes()
    }

    pub(super) fn base(&self) -> usize {
        self.region.base().as_ptr() as usize
    }

    /// Whether a stack is one of this slab.
    pub(super) fn holds(&self, place: Place) -> bool {
        (self.base()..self.base() + self.bytes()).contains(&place.limit)
    }

    /// Gives the memory of a stack back; its guard stays. Lazily: only when the kernel is short of memory.
    pub(super) fn discard(&self, place: Place, lazily: bool) {
        let offset = place.limit - self.base() + self.spec.guard;
        self.region.discard(offset, self.spec.usable, lazily);
    }
}

impl Spec {
    pub(super) const fn stride(&self) -> usize {
        self.guard + self.usable
    }
}

#[cfg(test)]
mod tests {
    use super::super::SPECS;
    use super::*;

    #[test]
    fn stacks_that_are_made_ready_ahead_take_a_page_until_it_is_given_back() {
        let mut slab = Slab::new(&SPECS[0]).unwrap();
        let first = slab.next(15).unwrap().unwrap();
        assert_eq!(slab.used(), 1);
        // A kernel that is told of one range at a time makes the one stack ready, and no page.
        assert!(slab.ready == 16 && slab.region.pages_made() == 16 || slab.ready == 1 && slab.region.pages_made() == 0);
        slab.discard_unused();
        assert!(slab.region.pages_made() <= 1, "the first one's page stays");
        let mut before = first;
        for _ in 1..SPECS[0].count {
            let next = slab.next(7).unwrap().unwrap();
            assert_eq!(next.limit - before.limit, SPECS[0].stride());
            before = next;
        }
        assert!(slab.next(7).unwrap().is_none());
    }
}
