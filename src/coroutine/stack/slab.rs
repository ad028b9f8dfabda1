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
//! Guards are made one by one, when a stack is used for the first time.

use std::io;
use std::ptr::NonNull;

use corosensei::stack::valgrind::ValgrindStackRegistration;

use super::span::Span;
use super::{Header, Spec};
use crate::sys::stack::Region;

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
        Ok(Self { _span: span, region, spec, known: Vec::with_capacity(spec.count) })
    }

    /// The next stack that was never used, guarded; `None` when there is none.
    pub(super) fn next(&mut self) -> io::Result<Option<Place>> {
        let number = self.known.len();
        if number == self.spec.count {
            return Ok(None);
        }
        let offset = number * self.spec.stride();
        self.region.guard(offset, self.spec.guard)?;
        let low = self.region.at(offset);
        self.known.push(ValgrindStackRegistration::new(low.as_ptr(), self.spec.stride()));
        Ok(header(low, number, self.spec).map(|header| Place { header, limit: low.as_ptr() as usize }))
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
