//! Floor 0: every kernel call of the crate, behind functions whose types say who owns what.
//!
//! This is the only floor that names `libc`, `nix` or `socket2`. Rules of the floor:
//!
//! * descriptors are `OwnedFd` or `BorrowedFd`, made with CLOEXEC;
//! * an error keeps its errno and says what was being done ([`error::during`]);
//! * EINTR is retried by [`error::retry`] and by nothing else;
//! * waits take a [`clock::Deadline`]: absolute, monotonic, rounded up.

pub(crate) mod clock;
#[cfg(all(any(feature = "coroutines", feature = "processes"), not(crewkit_loom)))]
pub(crate) mod error;
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
pub(crate) mod exit;
#[cfg(all(feature = "coroutines", not(crewkit_loom)))]
pub(crate) mod fault;
#[cfg(not(crewkit_loom))]
pub(crate) mod futex;
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
pub(crate) mod generation;
#[cfg(not(crewkit_loom))]
pub(crate) mod membarrier;
#[cfg(all(feature = "coroutines", not(crewkit_loom)))]
pub(crate) mod stack;
#[cfg(not(crewkit_loom))]
pub(crate) mod thread;
#[cfg(all(feature = "threads", not(crewkit_loom)))]
pub(crate) mod threads;

macro_rules! processes {
    ($($(#[$attribute:meta])* $visibility:vis mod $name:ident;)*) => {
        $(
            #[cfg(all(feature = "processes", not(crewkit_loom)))]
            $(#[$attribute])*
            $visibility mod $name;
        )*
    };
}

processes! {
    pub(crate) mod attributes;
    pub(crate) mod bytes;
    mod cgroup;
    pub(crate) mod cpu;
    pub(crate) mod elf;
    pub(crate) mod epoll;
    pub(crate) mod life;
    pub(crate) mod memory;
    pub(crate) mod oom;
    pub(crate) mod poll;
    pub(crate) mod process;
    pub(crate) mod random;
    pub(crate) mod rendezvous;
    pub(crate) mod robust;
    pub(crate) mod signal;
    pub(crate) mod socket;
    pub(crate) mod spawn;
    pub(crate) mod strangers;
    pub(crate) mod stream;
    pub(crate) mod ticks;
}

#[cfg(all(feature = "server", not(crewkit_loom)))]
pub(crate) mod tcp;
