//! Conditions: two threads take turns, each waiting for its own.

use crate::contest::{Contest, Contestant, Repetition, Size, Target, check};
use crate::place::{Job, Placement, together};

const OURS: &str = "crewkit Condition";
const PARKING_LOT: &str = "parking_lot Condvar";

/// Whose turn it is, under a lock with a condition.
trait Turns: Default + Send + Sync + 'static {
    /// Waits until the turn is an even number (or an odd one), adds one, and notifies.
    fn take(&self, odd: bool);
    /// The number of turns so far.
    fn count(&self) -> u64;
}

#[derive(Default)]
struct Crewkit {
    turn: crewkit::sync::Lock<u64>,
    changed: crewkit::sync::Condition,
}

#[derive(Default)]
struct ParkingLot {
    turn: parking_lot::Mutex<u64>,
    changed: parking_lot::Condvar,
}

/// What waits by `wait_while(&mut guard, …)`.
macro_rules! turns {
    ($($turns:ty),*) => {$(
        impl Turns for $turns {
            fn take(&self, odd: bool) {
                let mut turn = self.turn.lock();
                self.changed.wait_while(&mut turn, |turn| (*turn % 2 == 1) != odd);
                *turn += 1;
                self.changed.notify_one();
            }

            fn count(&self) -> u64 {
                *self.turn.lock()
            }
        }
    )*};
}

turns!(Crewkit, ParkingLot);

#[derive(Default)]
struct Std {
    turn: std::sync::Mutex<u64>,
    changed: std::sync::Condvar,
}

#[expect(clippy::unwrap_used, reason = "how users of std lock; the check for poison belongs to its cost")]
impl Turns for Std {
    fn take(&self, odd: bool) {
        let turn = self.turn.lock().unwrap();
        let mut turn = self.changed.wait_while(turn, |turn| (*turn % 2 == 1) != odd).unwrap();
        *turn += 1;
        self.changed.notify_one();
    }

    fn count(&self) -> u64 {
        *self.turn.lock().unwrap()
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    [Placement::Apart, Placement::OneCore].map(contest).into()
}

fn contest(placement: Placement) -> Contest {
    let work = format!("wait, notify, and back, {}", placement.label());
    Contest::new("Condition", work, "round trip", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, move || Ok(ping_pong::<Crewkit>(placement))))
        .with(Contestant::peer(PARKING_LOT, move || Ok(ping_pong::<ParkingLot>(placement))))
        .with(Contestant::peer("std Condvar", move || Ok(ping_pong::<Std>(placement))))
        .target(Target::speed(OURS, 0.95, &[PARKING_LOT]))
}

/// To and fro, so many times.
fn ping_pong<T: Turns>(placement: Placement) -> Repetition {
    Box::new(move |operations| {
        let turns = T::default();
        let play = |odd: bool| (0..operations).for_each(|_| turns.take(odd));
        let taken = together(placement, [Job::on(0, || play(false)), Job::on(1, || play(true))])?;
        check("turns", turns.count(), 2 * operations)?;
        Ok(taken.into())
    })
}
