//! What every queue of the family can do, written and documented once.
//!
//! `surface!(Queue<T>)` gives a type its methods, over a field `core`. A core is `Waited` and has these, each of which may be
//! called by any number of threads; a capacity of `usize::MAX` is none, and [`locked`](super::locked) is the plainest one:
//!
//! | Method | Answers |
//! |---|---|
//! | `new(capacity)` | the core |
//! | `len()`, `is_full()`, `capacity()`, `unfinished()`, `is_shut_down()`, `waiters()` | what is so at one moment; none waits |
//! | `try_put(value)`, `put(value, deadline)` | `Err(PutError)` with the value |
//! | `try_put_many(Vec)`, `put_many(Vec, deadline)` | `Err(PutError)` with all that was not put, in order |
//! | `try_get()`, `get(deadline)`, `set_capacity(capacity)` | |
//! | `try_get_many(max)`, `get_many(max, deadline)` | as many as are there, at least one |
//! | `task_done()` | `None` if nothing is unfinished |
//! | `join(deadline)` | whether everything was done |
//! | `clear()`, `shut_down(drops)` | what was in the queue, counted done, for the caller to drop; the latter if it `drops` |

macro_rules! surface {
    ($queue:ident<T $(: $bound:path)?>) => {
        impl<T $(: $bound)?> $queue<T> {
            /// A queue that holds at most `maxsize` items; no limit if that is zero, as in Python.
            pub fn bounded(maxsize: usize) -> Self {
                Self { core: Core::new($crate::queue::surface::limit(maxsize)) }
            }

            /// A queue without a limit: its `put` never waits.
            pub fn unbounded() -> Self {
                Self::bounded(0)
            }

            /// Puts `value` in when there is room: Python's `put(item)`.
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] if the queue is shut down, before or while this waits.
            ///
            /// # Blocking
            ///
            /// While the queue is full.
            #[inline]
            pub fn put(&self, value: T) -> Result<(), PutError<T>> {
                self.core.put(value, Deadline::NEVER)
            }

            /// Puts `value` in if there is room: Python's `put_nowait(item)`.
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] if the queue is shut down, else [`PutError::Full`] if it is full.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
                self.core.try_put(value)
            }

            /// Puts `value` in if there is room within `timeout`: Python's `put(item, timeout=…)`.
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] if the queue is shut down, before or while this waits; [`PutError::Full`] if the
            /// time is over.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
                if timeout.is_zero() { self.try_put(value) } else { self.core.put(value, Deadline::after(timeout)) }
            }

            /// Puts all of `values` in, in their order, as soon as there is room for each, and tells the waiting getters
            /// once for as many as had room. Not in Python.
            ///
            /// The values are collected before the first is put, so an iterator that panics puts nothing. Other threads may
            /// put between two of them, and those that were put stay, whatever becomes of the others. Nothing needs no room: no values are put into any queue.
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] with those that were not put, if the queue is shut down before or while this waits.
            ///
            /// # Blocking
            ///
            /// While the queue is full.
            pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
                self.core.put_many(values.into_iter().collect(), Deadline::NEVER)
            }

            /// Puts as many of `values` in as there is room for; otherwise as [`put_many`](Self::put_many).
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] with all of them if the queue is shut down, else [`PutError::Full`] with those that
            /// had no room.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
                self.core.try_put_many(values.into_iter().collect())
            }

            /// Puts as many of `values` in as find room within `timeout`; otherwise as [`put_many`](Self::put_many).
            ///
            /// # Errors
            ///
            /// [`PutError::ShutDown`] if the queue is shut down, before or while this waits, [`PutError::Full`] if the time is
            /// over; with those that were not put.
            ///
            /// # Blocking
            ///
            /// At most for `timeout` in all.
            pub fn put_many_timeout(
                &self,
                values: impl IntoIterator<Item = T>,
                timeout: Duration,
            ) -> Result<(), PutError<Vec<T>>> {
                let deadline = Deadline::after(timeout);
                let values = values.into_iter().collect();
                if timeout.is_zero() { self.core.try_put_many(values) } else { self.core.put_many(values, deadline) }
            }

            /// Takes the next item out when there is one: Python's `get()`.
            ///
            /// # Errors
            ///
            /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits.
            ///
            /// # Blocking
            ///
            /// While the queue is empty.
            #[inline]
            pub fn get(&self) -> Result<T, GetError> {
                self.core.get(Deadline::NEVER)
            }

            /// Takes the next item out if there is one: Python's `get_nowait()`.
            ///
            /// # Errors
            ///
            /// [`GetError::Empty`] if the queue is empty, [`GetError::ShutDown`] if it is also shut down.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_get(&self) -> Result<T, GetError> {
                self.core.try_get()
            }

            /// Takes the next item out if there is one within `timeout`: Python's `get(timeout=…)`.
            ///
            /// # Errors
            ///
            /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits;
            /// [`GetError::Empty`] if the time is over.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
                if timeout.is_zero() { self.try_get() } else { self.core.get(Deadline::after(timeout)) }
            }

            /// Takes the next items out when there is one: all that are there, at most `max`. Not in Python.
            ///
            /// They come in the order in which [`get`](Self::get) would hand them out; the putters that wait for their room
            /// are told once. It does not wait for more than one, and for none at all if `max` is zero.
            ///
            /// # Errors
            ///
            /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits.
            ///
            /// # Blocking
            ///
            /// While the queue is empty.
            pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
                self.core.get_many(max, Deadline::NEVER)
            }

            /// Takes the next items out if there are some; otherwise as [`get_many`](Self::get_many).
            ///
            /// # Errors
            ///
            /// [`GetError::Empty`] if the queue is empty, [`GetError::ShutDown`] if it is also shut down.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
                self.core.try_get_many(max)
            }

            /// Takes the next items out if there is one within `timeout`; otherwise as [`get_many`](Self::get_many).
            ///
            /// # Errors
            ///
            /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits;
            /// [`GetError::Empty`] if the time is over.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>, GetError> {
                if timeout.is_zero() {
                    self.try_get_many(max)
                } else {
                    self.core.get_many(max, Deadline::after(timeout))
                }
            }

            /// Reports one item done that was got before: Python's `task_done()`. The last one ends every
            /// [`join`](Self::join).
            ///
            /// # Errors
            ///
            /// [`TooManyTaskDone`] if as many were reported done as were put.
            ///
            /// # Blocking
            ///
            /// Never.
            #[inline]
            pub fn task_done(&self) -> Result<(), TooManyTaskDone> {
                self.core.task_done().ok_or(TooManyTaskDone)
            }

            /// Makes an item that was got from here report itself done when it is dropped, also by a panic. Not in Python.
            ///
            /// Do not report it by [`task_done`](Self::task_done) as well.
            ///
            /// # Blocking
            ///
            /// Never; neither does the report.
            pub fn task(&self, item: T) -> Task<'_, T>
            where
                T: Send,
            {
                Task::new(self, item)
            }

            /// How many items were put and not yet reported done: Python's `unfinished_tasks`.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn unfinished(&self) -> usize {
                self.core.unfinished()
            }

            /// Waits until every item that was put has been reported done, or was dropped by a shut-down: Python's
            /// `join()`.
            ///
            /// It is enough that nothing is unfinished at one moment while this waits; items put later are the next join's.
            ///
            /// # Blocking
            ///
            /// While something is unfinished; for ever, if somebody does not report.
            pub fn join(&self) {
                self.core.join(Deadline::NEVER);
            }

            /// [`join`](Self::join) for at most `timeout`; whether everything was done. Not in Python.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn join_timeout(&self, timeout: Duration) -> bool {
                self.core.join(Deadline::after(timeout))
            }

            /// Drops what is in the queue; it counts as done. Not in Python, though often asked for.
            ///
            /// To keep the items, take them out by [`try_iter`](Self::try_iter).
            ///
            /// # Panics
            ///
            /// If an item's `Drop` panics; the queue is empty all the same, and the other items are dropped.
            ///
            /// # Blocking
            ///
            /// Never, but for what the items' `Drop` does.
            pub fn clear(&self) {
                drop(self.core.clear());
            }

            /// Ends the putting, and the getting as soon as nothing is left: Python's `shutdown()`.
            ///
            /// Everybody who waits to put gets [`PutError::ShutDown`], everybody who waits to get [`GetError::ShutDown`].
            /// With [`Shutdown::Drain`] the items left can still be got, and reported done. With [`Shutdown::Immediate`]
            /// they are dropped, here, and count as done; a [`join`](Self::join) goes on waiting for those that were got
            /// and are not done.
            ///
            /// May be called again, also with the other mode: a drain can be cut short, and what is dropped stays dropped.
            ///
            /// # Panics
            ///
            /// If an item's `Drop` panics; the queue is shut down all the same, and the other items are dropped.
            ///
            /// # Blocking
            ///
            /// Never, but for what the items' `Drop` does.
            pub fn shutdown(&self, mode: Shutdown) {
                drop(self.core.shut_down(mode == Shutdown::Immediate));
            }

            /// Whether the queue was shut down: Python's `is_shutdown`.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn is_shut_down(&self) -> bool {
                self.core.is_shut_down()
            }

            /// How many items are in the queue now: Python's `qsize()`. Another thread may change that before the answer is
            /// used, as with all such questions.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn len(&self) -> usize {
                self.core.len()
            }

            /// Whether no item is in the queue now: Python's `empty()`.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether no further item has room now: Python's `full()`. An unbounded queue never is.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn is_full(&self) -> bool {
                self.core.is_full()
            }

            /// How many items have room; `None` for an unbounded queue. Python's `maxsize`.
            pub fn capacity(&self) -> Option<usize> {
                $crate::queue::surface::maxsize(self.core.capacity())
            }

            /// Makes the queue hold at most `maxsize` items from now on, without limit if that is zero: Python's
            /// assignment to `maxsize`.
            ///
            /// Nothing is dropped: a queue that holds more is full until enough was got. Those who wait for room that there
            /// is now are woken, which Python does not do.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn set_capacity(&self, maxsize: usize) {
                self.core.set_capacity($crate::queue::surface::limit(maxsize));
            }

            /// Gets items until the queue is shut down and empty.
            ///
            /// # Blocking
            ///
            /// Each step, as [`get`](Self::get).
            pub fn iter(&self) -> Iter<'_, Self> {
                Iter::new(self)
            }

            /// Gets items until none is there.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_iter(&self) -> TryIter<'_, Self> {
                TryIter::new(self)
            }
        }

        // Whatever unwinds, the queue is whole: no code of an item runs while it is not.
        impl<T> std::panic::UnwindSafe for $queue<T> {}
        impl<T> std::panic::RefUnwindSafe for $queue<T> {}

        impl<T> fmt::Debug for $queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [getting, putting, joining] = self.core.waiters();
                f.debug_struct(stringify!($queue))
                    .field("len", &self.core.len())
                    .field("capacity", &$crate::queue::surface::maxsize(self.core.capacity()))
                    .field("unfinished", &self.core.unfinished())
                    .field("is_shut_down", &self.core.is_shut_down())
                    .field("getting", &getting)
                    .field("putting", &putting)
                    .field("joining", &joining)
                    .finish()
            }
        }

        /// A queue without a limit.
        impl<T $(: $bound)?> Default for $queue<T> {
            fn default() -> Self {
                Self::unbounded()
            }
        }

        impl<'a, T $(: $bound)?> IntoIterator for &'a $queue<T> {
            type Item = T;
            type IntoIter = Iter<'a, $queue<T>>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }

        impl<T $(: $bound)?> $crate::queue::iter::Source for $queue<T> {
            type Item = T;

            fn next_item(&self) -> Result<T, GetError> {
                self.get()
            }

            fn next_item_there(&self) -> Result<T, GetError> {
                self.try_get()
            }
        }

        impl<T $(: $bound)?> $crate::queue::select::Core for $queue<T> {
            fn observed(&self) -> $crate::queue::select::Observed<'_> {
                $crate::queue::select::Observed(&self.core)
            }
        }

        impl<T: Send $(+ $bound)?> $crate::queue::task::Report for $queue<T> {
            fn report(&self) {
                // Fails only if the same task was reported by hand as well.
                let _ = self.task_done();
            }
        }
    };
}
pub(super) use surface;

/// The capacity that a `maxsize` of Python's means.
pub(super) fn limit(maxsize: usize) -> usize {
    if maxsize == 0 { usize::MAX } else { maxsize }
}

/// And back.
pub(super) fn maxsize(capacity: usize) -> Option<usize> {
    (capacity != usize::MAX).then_some(capacity)
}
