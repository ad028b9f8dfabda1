//! Floor 4: the one event loop of the crate: epoll, timers, a waker. Pool and the pre-fork master and workers call it.
//!
//! | Which one do I want? | Type |
//! |---|---|
//! | wait for descriptors, timers and wake-ups in one place | [`Poller`] |
//! | end the owner's wait from another thread | [`Waker`] |
//! | add or re-arm a descriptor from another thread, without waking the owner | [`Registrar`] |
//!
//! A pidfd or a signalfd is a plain descriptor here: register it for [`Interest::READ`].

mod poller;
mod registrar;
mod timers;
mod waker;

pub(crate) use poller::{Event, Poller};
pub(crate) use registrar::{Interest, Mode, Registrar, Token};
pub(crate) use timers::TimerId;
pub(crate) use waker::Waker;

#[cfg(test)]
mod tests;
