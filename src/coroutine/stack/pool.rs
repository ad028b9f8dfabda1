//! The pool: the idle stacks of one thread, per size.
//!
//! A stack is taken from the first of these that has one, and goes back to the first that has room:
//!
//! | Where | Memory | What taking one costs |
//! |---|---|---|
//! | `warm`, a list through the headers, last in first out | kept | a few instructions |
//! | `cold` | the kernel may take it when it is short | page faults, at most |
//! | the open slab, where stacks were never used | one page, or none yet | a guard and a page, for many stacks at once |
//! | a new slab | none yet | a mapping, once in many stacks |
//!
//! Nothing is shared between threads: a coroutine never leaves the thread that made it. The pool ends with its thread,
//! unless some of its stacks are not at home then (coroutines in thread-locals that end later, or that were
//! forgotten). It then waits for them, for ever if need be; what was idle has been given back to the kernel.

#![expect(unsafe_code, reason = "lists through headers")]

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::slab::{Place, Slab};
use super::span::judge;
use super::{Header, Phase, SPECS, Spec, Stack, StackSize, Word};
use crate::sys::fault;
use crate::sys::stack::Row;

/// The stacks of one size.
pub(super) struct Class {
    spec: &'static Spec,
    warm: Cell<Option<NonNull<Header>>>,
    warm_count: Cell<usize>,
    /// How many may be warm. Zero when the thread has ended.
    warm_limit: Cell<usize>,
    /// Stacks that are not at home.
    out: Cell<usize>,
    store: RefCell<Store>,
    pool: Cell<*const Pool>,
}

#[derive(Default)]
struct Store {
    cold: Vec<Place>,
    /// The slab that has stacks which were never used.
    open: Option<Slab>,
    /// The others, by their address.
    full: Vec<Slab>,
}

/// All stacks of one thread.
pub(super) struct Pool {
    classes: [Class; SPECS.len()],
    leaked: Cell<usize>,
    /// The thread has ended.
    orphaned: Cell<bool>,
}

/// What ends with the thread.
struct Home {
    pool: NonNull<Pool>,
    _signal_stack: Option<fault::AlternateStack>,
}

thread_local! {
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
    /// The pool, while there is one and its thread lives: found without asking whether `HOME` is there.
    static POOL: Cell<Option<NonNull<Pool>>> = const { Cell::new(None) };
}

#[inline]
pub(super) fn take(size: StackSize) -> io::Result<Stack> {
    if let Some(pool) = POOL.get() {
        // SAFETY: `POOL` is cleared before the pool goes.
        let class = &unsafe { pool.as_ref() }.classes[size as usize];
        if let Some(header) = class.warm.get() {
            // SAFETY: a warm stack's header can be read.
            class.warm.set(unsafe { header.as_ref() }.next.get());
            class.warm_count.set(class.warm_count.get() - 1);
            class.out.set(class.out.get() + 1);
            return Ok(Stack(header));
        }
    }
    take_slowly(size)
}

#[cold]
fn take_slowly(size: StackSize) -> io::Result<Stack> {
    let pool = POOL.get().map_or_else(settle, Ok)?;
    // SAFETY: the pool of this thread, which is running.
    let class = &unsafe { pool.as_ref() }.classes[size as usize];
    let place = class.store.borrow_mut().take(class.spec)?;
    let header = Header {
        limit: place.limit,
        floor: place.limit + class.spec.guard,
        class: NonNull::from(class),
        next: Cell::new(None),
        name: Cell::new(ptr::from_ref("")),
        refusals: Cell::new(0),
        closing_in_panic: Cell::new(false),
        stuck: Cell::new(false),
        phase: Cell::new(Phase::Created),
        word: Word(Cell::new(MaybeUninit::uninit())),
    };
    // SAFETY: in the slab, aligned to its line, and nobody else's: the place came out of the store.
    unsafe { place.header.write(header) };
    class.out.set(class.out.get() + 1);
    Ok(Stack(place.header))
}

/// Makes the pool of the calling thread.
fn settle() -> io::Result<NonNull<Pool>> {
    let ending = |_| io::Error::other("the thread is ending and its stacks are gone");
    HOME.try_with(|home| {
        fault::watch(judge)?;
        let signal_stack = fault::AlternateStack::ensure()?;
        let pool = Box::new(Pool {
            classes: SPECS.each_ref().map(Class::new),
            leaked: Cell::new(0),
            orphaned: Cell::new(false),
        });
        let pool = NonNull::from(Box::leak(pool));
        // SAFETY: just made, freed by whoever finds it orphaned and complete.
        for class in &unsafe { pool.as_ref() }.classes {
            class.pool.set(pool.as_ptr());
        }
        home.replace(Some(Home { pool, _signal_stack: signal_stack }));
        POOL.set(Some(pool));
        Ok(pool)
    })
    .map_err(ending)?
}

#[inline]
pub(super) fn put_back(header: NonNull<Header>) {
    // SAFETY: whoever calls owns the stack, so the header is there, and the class.
    let class = unsafe { Header::class(header) };
    let count = class.warm_count.get();
    if count >= class.warm_limit.get() {
        return put_back_slowly(header);
    }
    class.out.set(class.out.get() - 1);
    // SAFETY: as above.
    unsafe { header.as_ref() }.next.set(class.warm.replace(Some(header)));
    class.warm_count.set(count + 1);
}

#[cold]
fn put_back_slowly(header: NonNull<Header>) {
    // SAFETY: as in `put_back`.
    let class = unsafe { Header::class(header) };
    // SAFETY: as in `put_back`.
    let limit = unsafe { header.as_ref() }.limit;
    let place = Place { header, limit };
    class.out.set(class.out.get() - 1);
    class.store.borrow_mut().chill(place, true);
    let pool = NonNull::new(class.pool.get().cast_mut());
    if let Some(pool) = pool {
        // SAFETY: a pool lives for as long as one of its stacks is out, so until now.
        unsafe { Pool::end_if_complete(pool) };
    }
}

/// Counts a coroutine that could not be ended.
pub(in crate::coroutine) fn count_leak(header: NonNull<Header>) {
    // SAFETY: the stack is leaked, so it is out for ever, and header, class and pool are there for ever.
    let class = unsafe { Header::class(header) };
    // SAFETY: as above.
    if let Some(pool) = unsafe { class.pool.get().as_ref() } {
        pool.leaked.set(pool.leaked.get() + 1);
    }
}

/// Calls with the pool of this thread, if it has one.
pub(super) fn with<T>(call: impl FnOnce(&Pool) -> T) -> Option<T> {
    // SAFETY: `POOL` is cleared before the pool goes.
    POOL.get().map(|pool| call(unsafe { pool.as_ref() }))
}

impl Pool {
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub(super) fn leaked(&self) -> usize {
        self.leaked.get()
    }

    /// Frees a pool whose thread has ended when all of its stacks are at home.
    ///
    /// # Safety
    ///
    /// The pool is there, and the caller does not use it afterwards.
    unsafe fn end_if_complete(pool: NonNull<Self>) {
        // SAFETY: says the caller.
        let this = unsafe { pool.as_ref() };
        if this.orphaned.get() && this.classes.iter().all(|class| class.out.get() == 0) {
            // SAFETY: made by `Box`; nobody has a pointer to it: no stack is out, and `POOL` is cleared.
            drop(unsafe { Box::from_raw(pool.as_ptr()) });
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        POOL.set(None);
        // SAFETY: nobody frees it before it is orphaned.
        let pool = unsafe { self.pool.as_ref() };
        for class in &pool.classes {
            class.warm_limit.set(0);
            class.trim();
        }
        pool.orphaned.set(true);
        // SAFETY: it is there, and not used any more here.
        unsafe { Pool::end_if_complete(self.pool) };
    }
}

impl Class {
    fn new(spec: &'static Spec) -> Self {
        Self {
            spec,
            warm: Cell::new(None),
            warm_count: Cell::new(0),
            warm_limit: Cell::new(spec.warm),
            out: Cell::new(0),
            store: RefCell::default(),
            pool: Cell::new(ptr::null()),
        }
    }

    /// Gives the memory of all idle stacks back, and the address space of slabs that have no other.
    pub(super) fn trim(&self) {
        let mut store = self.store.borrow_mut();
        let mut warm = self.warm.take();
        self.warm_count.set(0);
        while let Some(header) = warm {
            // SAFETY: a warm stack's header can be read.
            let Header { limit, ref next, .. } = *unsafe { header.as_ref() };
            warm = next.get();
            store.cold.push(Place { header, limit });
        }
        store.trim();
    }

    pub(super) fn in_use(&self) -> usize {
        self.out.get()
    }

    pub(super) fn warm(&self) -> usize {
        self.warm_count.get()
    }

    pub(super) fn cold(&self) -> usize {
        self.store.borrow().cold.len()
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        let store = self.store.borrow();
        store.full.iter().chain(&store.open).map(Slab::bytes).sum()
    }
}

impl Header {
    /// # Safety
    ///
    /// The stack is out, and stays so for as long as the class is used, or for as long as the pool is.
    #[inline]
    unsafe fn class<'p>(header: NonNull<Self>) -> &'p Class {
        // SAFETY: says the caller.
        let class = unsafe { header.as_ref() }.class;
        // SAFETY: a class is there for as long as one of its stacks is out.
        unsafe { class.as_ref() }
    }
}

impl Store {
    fn take(&mut self, spec: &'static Spec) -> io::Result<Place> {
        if let Some(place) = self.cold.pop() {
            return Ok(place);
        }
        // An eighth of those in use are made ready ahead, so that few generators take no more memory than they need.
        let used = spec.count * self.full.len() + self.open.as_ref().map_or(0, Slab::used);
        let ahead = (used / 8).min(Row::MOST - 1);
        loop {
            if let Some(slab) = &mut self.open
                && let Some(place) = slab.next(ahead)?
            {
                return Ok(place);
            }
            let slab = Slab::new(spec)?;
            // Room for all of its stacks, so that giving one back never allocates.
            self.cold.reserve(spec.count * (self.full.len() + 2));
            if let Some(used_up) = self.open.replace(slab) {
                let at = self.full.partition_point(|slab| slab.base() < used_up.base());
                self.full.insert(at, used_up);
            }
        }
    }

    fn chill(&mut self, place: Place, lazily: bool) {
        if let Some(slab) = self.slab_of(place) {
            slab.discard(place, lazily);
        }
        self.cold.push(place);
    }

    fn slab_of(&self, place: Place) -> Option<&Slab> {
        let last = self.full.partition_point(|slab| slab.base() <= place.limit).checked_sub(1);
        last.map(|last| &self.full[last]).into_iter().chain(&self.open).find(|slab| slab.holds(place))
    }

    fn trim(&mut self) {
        let mut cold = std::mem::take(&mut self.cold);
        cold.sort_unstable_by_key(|place| place.limit);
        let below = |address: usize| cold.partition_point(|place| place.limit < address);
        let idle = |slab: &Slab| below(slab.base() + slab.bytes()) - below(slab.base()) == slab.used();
        self.full.retain(|slab| !idle(slab));
        self.open = self.open.take().filter(|slab| !idle(slab));
        self.open.iter().for_each(Slab::discard_unused);
        for place in cold {
            // What is left lies in a slab that is left, or went with its slab.
            if let Some(slab) = self.slab_of(place) {
                slab.discard(place, false);
                self.cold.push(place);
            }
        }
    }
}
