//! Floor 4: the one event loop of the crate: epoll, timers, a waker.
