//! Memory: what an item costs while it is queued, the queue itself included.
//!
//! # Safety
//!
//! `mallinfo2` only reads the allocator's own counts, under its locks.

#![expect(unsafe_code, reason = "the allocator is asked what is in use")]

use crewkit::queue::Queue;

use crate::contest::{Contest, Contestant, Cost, Outcome, Repetition, Size, Target, Unit, check};

const OURS: &str = "crewkit Queue";
const CROSSBEAM: &str = "crossbeam-channel";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![contest("unbounded, 65,536 queued", None, 65_536), contest("bounded(128), full", Some(128), 128)]
}

fn contest(work: &str, places: Option<usize>, items: u64) -> Contest {
    Contest::new("Memory", work, "queued u64", Size::Exactly(items))
        .counting(Unit::Bytes)
        .rounds(3)
        .with(Contestant::crewkit(OURS, move || {
            Ok(fill(move || {
                let queue = places.map_or_else(Queue::unbounded, Queue::bounded);
                Box::new(move |item| queue.put(item).is_ok())
            }))
        }))
        .with(Contestant::peer(CROSSBEAM, move || {
            Ok(fill(move || {
                let ends = places.map_or_else(crossbeam_channel::unbounded, crossbeam_channel::bounded);
                Box::new(move |item| keep(&ends).0.send(item).is_ok())
            }))
        }))
        .with(Contestant::peer("flume", move || {
            Ok(fill(move || {
                let ends = places.map_or_else(flume::unbounded, flume::bounded);
                Box::new(move |item| keep(&ends).0.send(item).is_ok())
            }))
        }))
        .with(Contestant::peer("kanal", move || {
            Ok(fill(move || {
                let ends = places.map_or_else(kanal::unbounded, kanal::bounded);
                Box::new(move |item| keep(&ends).0.send(item).is_ok())
            }))
        }))
        .target(Target::cost(OURS, 1.1, &[CROSSBEAM]))
}

/// Keeps both ends of a channel in a closure that uses one.
fn keep<T>(ends: &T) -> &T {
    ends
}

/// Makes a queue and fills it; what is in use then and was not before, is its cost. A box around it is counted, too:
/// that is what sharing it between threads takes anyway.
fn fill(make: impl Fn() -> Box<dyn FnMut(u64) -> bool> + 'static) -> Repetition {
    Box::new(move |operations| {
        let before = in_use()?;
        let mut put = make();
        let refused = (0..operations).filter(|item| !put(*item)).count();
        let after = in_use()?;
        check("items refused", refused, 0)?;
        Ok(Cost(after - before))
    })
}

/// How many bytes of the heap are in use, by all threads.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn in_use() -> Outcome<f64> {
    // SAFETY: it has no requirement.
    let info = unsafe { libc::mallinfo2() };
    Ok((info.uordblks + info.hblkhd) as f64)
}
