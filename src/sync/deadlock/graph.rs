//! Who holds which lock, and who waits for one: one map each, in one mutex.
//!
//! # Invariants, whenever the mutex is free
//!
//! 1. Who stands in `holders` has the lock. It came there with the lock in hand, and every release, whoever makes it,
//!    happens inside the mutex and takes the entry away.
//! 2. Who stands in `waits` has not returned from its acquire.
//! 3. A running thread stands in `holders` for all that it acquired, but see below. So when the last thread of a circle
//!    comes to wait, the whole circle is here; and since only a wait closes a circle, it is enough to look then.
//!
//! A thread that comes out of a wait has the lock a moment before it says so here. If somebody releases that lock in that
//! moment, there is no entry to take away. Which of those who wait for the lock had it is not known: none of them is looked
//! at any more, and none becomes a holder by this wait. So are the locks of a thread inside the hook, which stands
//! in `waits` but runs. Rather is a dead-lock missed than one reported that is none.
//!
//! # Order of mutexes
//!
//! This one is taken first, then perhaps the one of a lock's line, never the other way: acquires and releases come from
//! outside of the lines. The hook is called with neither.

use super::{BlockedThread, Report};
use crate::primitive::{Identity, Mutex};
use crate::sys::clock::Deadline;
use crate::sys::thread::native_id;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;

/// The one of the process.
pub(in crate::sync) static GRAPH: Mutex<Graph> = Mutex::new(Graph::new());

/// Locks go by a number of their own, as a lock may move while it is held; threads by their [`Identity`].
pub(in crate::sync) struct Graph {
    holders: BTreeMap<u64, Holder>,
    waits: BTreeMap<u64, Wait>,
}

#[derive(Clone, Copy)]
pub(in crate::sync) struct Holder {
    who: Identity,
    at: &'static Location<'static>,
}

pub(in crate::sync) struct Wait {
    lock: u64,
    address: usize,
    at: &'static Location<'static>,
    until: Deadline,
    name: Option<String>,
    native_id: u32,
}

impl Holder {
    /// The caller.
    pub(in crate::sync) fn me(at: &'static Location<'static>) -> Self {
        Self { who: Identity::current(), at }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.who, self.at)
    }
}

impl Wait {
    /// The caller's wait for `lock`, which lies at `address` as long as it lasts.
    pub(in crate::sync) fn mine(lock: u64, address: usize, at: &'static Location<'static>, until: Deadline) -> Self {
        let name = std::thread::current().name().map(str::to_owned);
        Self { lock, address, at, until, name, native_id: native_id() }
    }
}

impl Graph {
    const fn new() -> Self {
        Self { holders: BTreeMap::new(), waits: BTreeMap::new() }
    }

    /// `holder` has taken `lock` without waiting.
    pub(in crate::sync) fn take(&mut self, lock: u64, holder: Holder) {
        if !self.waits.contains_key(&holder.who.to_word()) {
            self.holders.insert(lock, holder);
        }
    }

    /// `lock` was released, by anybody.
    pub(in crate::sync) fn release(&mut self, lock: u64) {
        if self.holders.remove(&lock).is_none() {
            self.waits.retain(|_, wait| wait.lock != lock);
        }
    }

    /// `lock` is no more.
    pub(in crate::sync) fn forget(&mut self, lock: u64) {
        self.holders.remove(&lock);
    }

    /// `who` is about to wait; false if it is inside the hook already, so that this wait is not looked at.
    pub(in crate::sync) fn begin(&mut self, who: Identity, wait: Wait) -> bool {
        let is_outermost = !self.waits.contains_key(&who.to_word());
        if is_outermost {
            self.waits.insert(who.to_word(), wait);
        }
        is_outermost
    }

    /// `holder` waits no longer, and may have got what it waited for.
    pub(in crate::sync) fn end(&mut self, holder: Holder, has_taken: bool) {
        if let Some(wait) = self.waits.remove(&holder.who.to_word()).filter(|_| has_taken) {
            self.holders.insert(wait.lock, holder);
        }
    }

    pub(in crate::sync) fn holder(&self, lock: u64) -> Option<Holder> {
        self.holders.get(&lock).copied()
    }

    /// The circle that `who`, which waits, is part of.
    pub(in crate::sync) fn cycle(&self, who: Identity) -> Option<Report> {
        self.path(who.to_word()).map(|path| Self::report(&path))
    }

    /// All circles.
    pub(in crate::sync) fn cycles(&self) -> Vec<Report> {
        let mut seen = BTreeSet::new();
        let mut reports = Vec::new();
        for (&who, _) in self.waits.iter().filter(|(_, wait)| !wait.until.is_expired()) {
            if !seen.contains(&who)
                && let Some(path) = self.path(who)
            {
                seen.extend(path.iter().map(|(_, holder)| holder.who.to_word()));
                reports.push(Self::report(&path));
            }
        }
        reports
    }

    /// From the wait of `start` over the holder of what it waits for to that one's wait, until `start` is the holder.
    /// There is one way at most: a thread waits for one lock, and a lock has one holder.
    fn path(&self, start: u64) -> Option<Vec<(&Wait, Holder)>> {
        let mut path = Vec::new();
        let mut who = start;
        // A circle that `start` is not part of goes round without an end.
        while path.len() < self.waits.len() {
            let wait = self.waits.get(&who).filter(|wait| path.is_empty() || !wait.until.is_expired())?;
            let holder = self.holder(wait.lock)?;
            path.push((wait, holder));
            who = holder.who.to_word();
            if who == start {
                return Some(path);
            }
        }
        None
    }

    fn report(path: &[(&Wait, Holder)]) -> Report {
        // What a thread of the circle holds is what the one before it waits for.
        let before = path.iter().cycle().skip(path.len() - 1);
        let threads = path.iter().zip(before).map(|((wait, _), (held, holder))| BlockedThread {
            name: wait.name.clone(),
            native_id: wait.native_id,
            holds: held.address,
            acquired_at: holder.at,
            waits_for: wait.address,
            waits_at: wait.at,
            is_timed: wait.until != Deadline::NEVER,
        });
        Report { threads: threads.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FAR: Deadline = Deadline::NEVER;

    fn holder(who: Identity) -> Holder {
        Holder { who, at: Location::caller() }
    }

    fn wait(lock: u64, until: Deadline) -> Wait {
        Wait::mine(lock, 100 + usize::try_from(lock).unwrap(), Location::caller(), until)
    }

    /// Three threads; the first holds lock 1 and so on.
    fn three() -> (Graph, [Identity; 3]) {
        let (mut graph, threads) = (Graph::new(), [Identity::new(), Identity::new(), Identity::new()]);
        (1..).zip(threads).for_each(|(lock, who)| graph.take(lock, holder(who)));
        (graph, threads)
    }

    #[test]
    fn only_the_last_wait_closes_the_circle() {
        let (mut graph, [a, b, c]) = three();
        for (who, lock, circles) in [(a, 2, 0), (c, 1, 0), (b, 3, 1)] {
            assert!(graph.begin(who, wait(lock, FAR)));
            assert_eq!((graph.cycle(who).is_some(), graph.cycles().len()), (circles == 1, circles));
        }
        let report = graph.cycle(b).unwrap();
        let locks: Vec<_> = report.threads.iter().map(|thread| (thread.holds, thread.waits_for)).collect();
        assert_eq!(locks, [(102, 103), (103, 101), (101, 102)]);
    }

    #[test]
    fn a_way_into_a_circle_is_not_part_of_it() {
        let (mut graph, [a, b, c]) = three();
        graph.begin(a, wait(2, FAR));
        graph.begin(b, wait(1, FAR));
        graph.begin(c, wait(1, FAR));
        assert!(graph.cycle(c).is_none());
        assert_eq!(graph.cycles().len(), 1);
    }

    #[test]
    fn a_wait_whose_time_is_over_is_none() {
        let (mut graph, [a, b, _]) = three();
        graph.begin(a, wait(2, Deadline::after(Duration::ZERO)));
        graph.begin(b, wait(1, FAR));
        assert!(graph.cycle(b).is_none() && graph.cycles().is_empty());
    }

    #[test]
    fn who_comes_out_of_a_wait_holds_the_lock_if_it_got_it() {
        let (mut graph, [a, b, _]) = three();
        graph.begin(a, wait(2, FAR));
        graph.end(holder(a), false);
        assert!(graph.holder(2).unwrap().who == b);
        graph.begin(a, wait(2, FAR));
        graph.release(2);
        graph.end(holder(a), true);
        assert!(graph.holder(2).unwrap().who == a && graph.waits.is_empty());
        graph.forget(2);
        assert!(graph.holder(2).is_none());
    }

    #[test]
    fn a_lock_released_before_its_holder_is_known_gets_no_holder() {
        let (mut graph, [a, b, _]) = three();
        graph.begin(a, wait(2, FAR));
        graph.release(2);
        // `a` has it, and somebody releases it for `a`, before `a` comes to say so.
        graph.release(2);
        graph.end(holder(a), true);
        assert!(graph.holder(2).is_none());
        graph.take(2, holder(b));
        assert!(graph.holder(2).unwrap().who == b);
    }

    #[test]
    fn a_thread_inside_the_hook_is_not_looked_at() {
        let (mut graph, [a, b, _]) = three();
        graph.begin(a, wait(2, FAR));
        graph.take(7, holder(a));
        assert!(!graph.begin(a, wait(8, FAR)));
        graph.begin(b, wait(7, FAR));
        assert!(graph.holder(7).is_none() && graph.cycles().is_empty());
    }
}
