//! The allocation of a light generator, and who owns it.
//!
//! # Safety
//!
//! The invariants are those of the folder.

#![expect(unsafe_code, reason = "a state machine that points into its own allocation")]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;

use super::yielder::{LightYielder, Slate};

/// What lies in the allocation.
pub(super) struct Core<Y, R, B: ?Sized> {
    slate: Slate<Y, R>,
    yielder: LightYielder<'static, Y, R>,
    body: ManuallyDrop<B>,
}

/// The owner of a core.
pub(super) struct Owned<Y, R, B: ?Sized> {
    core: NonNull<Core<Y, R, B>>,
    _owns: PhantomData<Core<Y, R, B>>,
}

impl<Y, R, B> Owned<Y, R, B> {
    pub(super) fn new<'b>(body: impl FnOnce(&'b mut LightYielder<'static, Y, R>) -> B) -> Self
    where
        Y: 'b,
        R: 'b,
    {
        let core: NonNull<Core<Y, R, B>> = NonNull::from(Box::leak(Box::<Core<Y, R, B>>::new_uninit())).cast();
        // SAFETY: a field of the allocation.
        let slate = unsafe { &raw mut (*core.as_ptr()).slate };
        // SAFETY: as above.
        let end = unsafe { &raw mut (*core.as_ptr()).yielder };
        // SAFETY: as above.
        let place = unsafe { &raw mut (*core.as_ptr()).body };
        // SAFETY: nothing lies there yet.
        unsafe { slate.write(Slate::default()) };
        // SAFETY: it points to a field.
        let slate = unsafe { NonNull::new_unchecked(slate) };
        // SAFETY: the slate is freed with the yielder, which is used by the body only (invariants 1 and 2).
        let yielder = unsafe { LightYielder::new(slate) };
        // SAFETY: as for the slate.
        unsafe { end.write(yielder) };
        // SAFETY: the body, which is the only one to borrow it, does not outlive it (invariants 1 and 2).
        let yielder = unsafe { &mut *end };
        // SAFETY: as for the slate.
        unsafe { place.write(ManuallyDrop::new(body(yielder))) };
        Self { core, _owns: PhantomData }
    }

    /// The same, without the type of the body. `unsize` coerces the pointer and does nothing else to it.
    pub(super) fn unsized_by<D: ?Sized>(
        self,
        unsize: impl FnOnce(NonNull<Core<Y, R, B>>) -> NonNull<Core<Y, R, D>>,
    ) -> Owned<Y, R, D> {
        let core = unsize(ManuallyDrop::new(self).core);
        Owned { core, _owns: PhantomData }
    }
}

impl<Y, R, B: ?Sized> Owned<Y, R, B> {
    #[inline]
    pub(super) fn slate(&self) -> &Slate<Y, R> {
        // SAFETY: invariant 1.
        unsafe { &(*self.core.as_ptr()).slate }
    }

    #[inline]
    pub(super) fn body(&mut self) -> Pin<&mut B> {
        // SAFETY: invariant 1.
        let body = unsafe { &mut (*self.core.as_ptr()).body };
        // SAFETY: it stays where it is until it is dropped.
        unsafe { Pin::new_unchecked(body) }
    }
}

impl<Y, R, B: ?Sized> Drop for Owned<Y, R, B> {
    fn drop(&mut self) {
        /// Frees the core, whatever the destructors of the body do.
        struct Free<Y, R, B: ?Sized>(NonNull<Core<Y, R, B>>);

        impl<Y, R, B: ?Sized> Drop for Free<Y, R, B> {
            fn drop(&mut self) {
                // SAFETY: invariant 1; it was made as a box.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }

        let core = Free(self.core);
        // SAFETY: invariant 1.
        let body = unsafe { &mut (*core.0.as_ptr()).body };
        // SAFETY: once, here.
        unsafe { ManuallyDrop::drop(body) };
    }
}

// SAFETY: the core is what it owns, and is `Send` by these bounds but for the interrupt: its address is on the slate only
// while the body is resumed with it, and only the thread that does so takes it. By invariant 3 the pointer of the yielder
// is used in whatever thread resumes the body.
unsafe impl<Y: Send, R: Send, B: Send + ?Sized> Send for Owned<Y, R, B> {}

// SAFETY: a shared reference gives access to nothing.
unsafe impl<Y, R, B: ?Sized> Sync for Owned<Y, R, B> {}
