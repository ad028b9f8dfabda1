//! What the calling thread knows of itself, and what it does last.
//!
//! [`ME`] has no destructor, so it can be used in the destructors of all other thread-local values, and by the callbacks
//! of exit(3). What is in it is taken out by the destructor of [`END`]. std runs destructors in the reverse order of
//! their registration; a thread of ours registers that one before anything else, so it runs last, after all that the
//! thread's function left behind (`wait` promises that), and with it the thread ends as far as anybody can see.
//!
//! exit(3) runs the destructors of the thread that calls it, and only then the callbacks: a thread that ends the process
//! has ended before others are waited for, so nobody waits for it in vain. The main thread has no `END`: its values stay
//! until the process is gone.

use super::local::{Entry, MOST_DEAD};
use super::record::{Origin, Record, ThreadRef};
use super::registry::{new_ident, registry};
use crate::panics;
use crate::sys::threads as kernel;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static ME: ManuallyDrop<Me> = const { ManuallyDrop::new(Me::new()) };
    static END: End = const { End };
}

/// How many foreign threads without a name were noticed.
static DUMMIES: AtomicU32 = AtomicU32::new(0);

/// A thread, seen from inside.
pub(super) struct Me {
    record: RefCell<Option<Arc<Record>>>,
    /// This thread's number; 0 if nobody asked.
    ident: Cell<u64>,
    /// This thread's values of `Local`s, by their numbers.
    pub(super) locals: RefCell<BTreeMap<u64, Entry>>,
    /// How many of these there must be for a search for those whose objects are gone.
    pub(super) tidy_at: Cell<usize>,
    /// How many borrows of such values are on this thread's stack.
    pub(super) borrows: Cell<usize>,
    /// Whether what this thread leaves behind is being dropped, or has been.
    ended: Cell<bool>,
}

impl Me {
    const fn new() -> Self {
        Self {
            record: RefCell::new(None),
            ident: Cell::new(0),
            locals: RefCell::new(BTreeMap::new()),
            tidy_at: Cell::new(MOST_DEAD),
            borrows: Cell::new(0),
            ended: Cell::new(false),
        }
    }

    /// The key of this thread's values.
    pub(super) fn ident(&self) -> u64 {
        if self.ident.get() == 0 {
            self.ident.set(if kernel::is_main() { registry().main().ident } else { new_ident() });
        }
        self.ident.get()
    }

    /// Sees to it that what this thread leaves behind is dropped at its end. False if that has begun.
    pub(super) fn will_tidy_up(&self) -> bool {
        !self.ended.get() && (kernel::is_main() || END.try_with(|_| ()).is_ok())
    }

    fn current(&self) -> Arc<Record> {
        let known = self.record.borrow().as_ref().filter(|record| record.is_of_this_process()).map(Arc::clone);
        known.unwrap_or_else(|| self.introduce())
    }

    #[cold]
    fn introduce(&self) -> Arc<Record> {
        let record = if kernel::is_main() {
            registry().main()
        } else if self.will_tidy_up() {
            let name = std::thread::current().name().map(Arc::from);
            let name = name.unwrap_or_else(|| format!("Dummy-{}", DUMMIES.fetch_add(1, Ordering::Relaxed) + 1).into());
            let record = Record::new(self.ident(), Origin::Foreign, name, true);
            record.begin();
            registry().notice(&record);
            record
        } else {
            // The thread has ended as far as anybody can see; the kernel still knows what it was called.
            let record = Record::new(self.ident(), Origin::Foreign, kernel::own_name().into(), true);
            record.begin();
            record.forget_kernel_thread();
            record.end();
            return record;
        };
        self.ident.set(record.ident);
        *self.record.borrow_mut() = Some(Arc::clone(&record));
        record
    }

    /// The last act.
    fn leave(&self) {
        // In a child that this thread forked it is the main thread.
        if kernel::is_main() {
            return;
        }
        // From here on no value is made that would be dropped later, not even in a child that a destructor forks, where
        // this thread is the main one.
        self.ended.set(true);
        // A borrow can be on the stack only if the thread ends the process from within it: then its frames stay.
        if self.borrows.get() == 0 {
            let locals = mem::take(&mut *self.locals.borrow_mut());
            for owner in locals.into_values().filter_map(|entry| entry.owner.upgrade()) {
                // The other values are owed their destructors, too.
                panics::tell(|| owner.drop_value(self.ident.get()));
            }
        }
        if kernel::is_main() {
            return;
        }
        if let Some(record) = self.record.take() {
            record.forget_kernel_thread();
            registry().leave(&record);
        }
    }
}

/// Dropped at the thread's end.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        with(Me::leave);
    }
}

/// Runs `f` with what the calling thread knows of itself.
pub(super) fn with<R>(f: impl FnOnce(&Me) -> R) -> R {
    ME.with(|me| f(me))
}

/// The calling thread's record.
pub(super) fn current() -> ThreadRef {
    ThreadRef(with(Me::current))
}

/// The calling thread's number.
pub(super) fn ident() -> u64 {
    with(Me::ident)
}

/// The calling thread's record and number, be they of this process or of the one that was forked; 0 if it has none.
pub(super) fn inherited() -> (Option<Arc<Record>>, u64) {
    with(|me| (me.record.borrow().clone(), me.ident.get()))
}

/// The calling thread is the one of `record`, from its first moment on.
pub(super) fn begin(record: Arc<Record>) {
    END.with(|_| ());
    with(|me| {
        me.ident.set(record.ident);
        record.begin();
        *me.record.borrow_mut() = Some(record);
    });
}
