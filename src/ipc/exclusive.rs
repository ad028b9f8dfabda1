//! The surface that `Lock` and `RLock` share, written once.

/// The methods of a lock between processes and of its guard. What differs, the lock has as `enter`, how the words are
/// taken, and as `release`.
macro_rules! exclusive {
    ($lock:ident, $guard:ident) => {
        impl $lock {
            /// A new lock, which nobody holds.
            ///
            /// # Errors
            ///
            /// When this process may open no more descriptors, or there is no memory.
            pub fn new() -> std::io::Result<Self> {
                Handle::create(crate::shm::Type::NONE, 0).map(Self)
            }

            /// Waits until no other thread holds the lock, and takes it: Python's `acquire()`, or `with lock:`.
            ///
            /// # Blocking
            ///
            /// Until it is free, which it is at the latest when its holder ends.
            ///
            /// # Errors
            ///
            /// See [`LockError`].
            #[inline]
            pub fn lock(&self) -> Result<$guard<'_>, LockError<$guard<'_>>> {
                self.take(|words| words.lock(crate::sys::clock::Deadline::NEVER))
            }

            /// Takes the lock if no other thread holds it: Python's `acquire(block=False)`.
            ///
            /// # Blocking
            ///
            /// Never.
            ///
            /// # Errors
            ///
            /// See [`LockError`]; `Timeout` when somebody else holds it.
            #[inline]
            pub fn try_lock(&self) -> Result<$guard<'_>, LockError<$guard<'_>>> {
                self.take(|words| words.try_lock())
            }

            /// Takes the lock if it becomes free within `timeout`: Python's `acquire(timeout=…)`.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`, also when its holder is stopped.
            ///
            /// # Errors
            ///
            /// See [`LockError`].
            pub fn lock_timeout(&self, timeout: std::time::Duration) -> Result<$guard<'_>, LockError<$guard<'_>>> {
                self.take(|words| words.lock(crate::sys::clock::Deadline::after(timeout)))
            }

            /// `lock`, until a deadline.
            pub(super) fn lock_until(
                &self,
                deadline: crate::sys::clock::Deadline,
            ) -> Result<$guard<'_>, LockError<$guard<'_>>> {
                self.take(|words| words.lock(deadline))
            }

            #[inline]
            fn take(
                &self,
                lock: impl FnOnce(&Words) -> Result<State, Refused>,
            ) -> Result<$guard<'_>, LockError<$guard<'_>>> {
                let words = self.0.usable()?;
                let state = Self::enter(words, lock(words))?;
                let guard = $guard { lock: self, _not_send: std::marker::PhantomData };
                if state == State::Clean { Ok(guard) } else { Err(LockError::OwnerDied(guard)) }
            }

            /// [`lock`](Self::lock) without a guard: Python's `acquire()`.
            ///
            /// With [`LockError::OwnerDied`] there is a guard nevertheless: `leak` it after its `recover`, or the lock is
            /// released again.
            ///
            /// # Blocking
            ///
            /// As `lock`.
            ///
            /// # Errors
            ///
            /// See [`LockError`].
            pub fn acquire(&self) -> Result<(), LockError<$guard<'_>>> {
                self.lock().map($guard::leak)
            }

            /// [`try_lock`](Self::try_lock) without a guard.
            ///
            /// # Blocking
            ///
            /// Never.
            ///
            /// # Errors
            ///
            /// See [`LockError`].
            pub fn try_acquire(&self) -> Result<(), LockError<$guard<'_>>> {
                self.try_lock().map($guard::leak)
            }

            /// [`lock_timeout`](Self::lock_timeout) without a guard.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            ///
            /// # Errors
            ///
            /// See [`LockError`].
            pub fn acquire_timeout(&self, timeout: std::time::Duration) -> Result<(), LockError<$guard<'_>>> {
                self.lock_timeout(timeout).map($guard::leak)
            }

            /// Whether a living thread of some process holds the lock, or held it just now.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn is_locked(&self) -> bool {
                self.0.peek().is_held()
            }

            /// Who holds it, who waits for it, how often it was recovered: for people who look.
            ///
            /// # Blocking
            ///
            /// Never, but for the kernel's list of its holder's mappings.
            pub fn stats(&self) -> crate::ipc::Stats {
                crate::ipc::Stats::here(self.0.peek())
            }
        }

        impl fmt::Debug for $lock {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let stats = self.stats();
                let mut text = f.debug_struct(concat!("ipc::", stringify!($lock)));
                text.field("locked", &stats.holder.is_some()).field("mine", &self.0.peek().is_mine());
                stats.show_lock(&mut text).finish()
            }
        }

        impl PartialEq for $lock {
            /// Whether both are the same lock.
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl Eq for $lock {}

        #[doc = concat!("The right to what a [`", stringify!($lock), "`] guards, until it is dropped. It stays in its thread.")]
        #[must_use = "the lock is released when its guard is dropped"]
        pub struct $guard<'a> {
            lock: &'a $lock,
            _not_send: std::marker::PhantomData<*const ()>,
        }

        impl<'a> $guard<'a> {
            /// The lock whose guard this is.
            pub(super) fn of(&self) -> &'a $lock {
                self.lock
            }
        }

        impl $guard<'_> {
            /// Says that what the lock guards is in order, after [`LockError::OwnerDied`]: who comes next gets it unmarked.
            pub fn recover(&self) {
                self.lock.0.peek().recover();
            }

            /// Whether a holder died, and nobody has called [`recover`](Self::recover) since.
            pub fn owner_died(&self) -> bool {
                self.lock.0.peek().state() == State::Dirty
            }

            #[doc = concat!("Keeps the lock without a guard, until this thread calls [`", stringify!($lock), "::release`] or ends.")]
            pub fn leak(self) {
                let _held = std::mem::ManuallyDrop::new(self);
            }
        }

        impl Drop for $guard<'_> {
            #[inline]
            fn drop(&mut self) {
                // An error in a process that was forked while its parent's thread held the lock, and where the lock was
                // released without its guard: nothing is left to do in either.
                let _ = self.lock.release();
            }
        }

        impl fmt::Debug for $guard<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(concat!("ipc::", stringify!($guard))).field("owner_died", &self.owner_died()).finish()
            }
        }
    };
}

pub(super) use exclusive;
