//! Table tests of the policy, on a clock that stands still unless it is told to go.

use super::*;

mod ending;
mod reload;

const BOOT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(30);

/// A policy with a fake clock and the actions that it has not been asked about yet.
struct Sim {
    policy: Policy,
    now: Instant,
    actions: Vec<Action>,
}

impl Sim {
    /// Started, with nobody ready.
    fn cold(workers: usize) -> Self {
        let settings = Settings { workers, slots: workers * 3 + 6, boot_timeout: BOOT, graceful_timeout: GRACE };
        let mut sim = Self { policy: Policy::new(settings), now: Instant::now(), actions: Vec::new() };
        sim.step(Event::Tick);
        sim
    }

    /// Started, with everybody serving in slots 0 to `workers - 1`.
    fn warm(workers: usize) -> Self {
        let mut sim = Self::cold(workers);
        for slot in 0..workers {
            sim.step(Event::Ready { slot });
        }
        sim.take();
        sim
    }

    fn step(&mut self, event: Event) {
        self.actions.extend(self.policy.step(self.now, event));
    }

    /// Lets time pass up to the policy's own deadline, which must be `expected` from now, and wakes it.
    fn sleep(&mut self, expected: Duration) {
        let deadline = self.policy.deadline();
        assert_eq!(deadline.map(|at| at - self.now), Some(expected));
        self.now += expected;
        self.step(Event::Tick);
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The events one after the other; the actions of them all.
    fn after(&mut self, events: &[Event]) -> Vec<Action> {
        for &event in events {
            self.step(event);
        }
        self.take()
    }
}

fn command(command: Command) -> Event {
    Event::Command(command)
}

fn start(slot: usize, seat: usize, generation: u64) -> Action {
    Action::Start { slot, seat, generation }
}

fn drain(slot: usize) -> Action {
    Action::Drain { slot, last: false }
}

fn last_drain(slot: usize) -> Action {
    Action::Drain { slot, last: true }
}

fn kill(slot: usize, why: Why) -> Action {
    Action::Kill { slot, why }
}

const RELOAD: Event = Event::Command(Command::Reload);

#[test]
fn every_seat_is_filled_at_once_and_each_worker_serves_when_it_is_ready() {
    let mut sim = Sim::cold(2);
    assert_eq!(sim.take(), [start(0, 0, 1), start(1, 1, 1)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 1 }]), [Action::Serve { slot: 1 }]);
    assert_eq!(sim.after(&[Event::Ready { slot: 0 }]), [Action::Serve { slot: 0 }]);
    assert_eq!(sim.policy.deadline(), None);
}

#[test]
fn a_worker_that_served_is_replaced_at_once_however_often_it_dies() {
    let mut sim = Sim::warm(2);
    for _ in 0..20 {
        assert_eq!(sim.after(&[Event::Died { slot: 1 }]), [start(1, 1, 1)]);
        assert_eq!(sim.after(&[Event::Ready { slot: 1 }]), [Action::Serve { slot: 1 }]);
    }
}

/// The clock goes on between the last step and the question when to wake: a seat whose time comes in between is not
/// forgotten.
#[test]
fn a_back_off_that_ends_just_after_a_step_is_still_a_deadline() {
    let mut sim = Sim::warm(1);
    sim.after(&[Event::Died { slot: 0 }]);
    sim.after(&[Event::Died { slot: 0 }, Event::Died { slot: 0 }]);
    let at = sim.policy.deadline().expect("a back-off");
    sim.now = at - Duration::from_nanos(1);
    assert_eq!(sim.after(&[Event::Tick]), []);
    assert_eq!(sim.policy.deadline(), Some(at));
    sim.now = at;
    assert_eq!(sim.after(&[Event::Tick]).len(), 1);
}

#[test]
fn timeouts_beyond_the_clock_are_legal() {
    let settings = Settings { workers: 1, slots: 4, boot_timeout: Duration::MAX, graceful_timeout: Duration::MAX };
    let now = Instant::now();
    let mut policy = Policy::new(settings);
    assert_eq!(policy.step(now, Event::Tick), [start(0, 0, 1)]);
    assert_eq!(policy.step(now, Event::Ready { slot: 0 }), [Action::Serve { slot: 0 }]);
    assert!(policy.step(now, command(Command::Terminate)).contains(&last_drain(0)));
}

#[test]
fn boot_failures_back_off_per_seat_and_readiness_forgives_them() {
    let mut sim = Sim::warm(2);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [start(0, 0, 1)]);
    // The first failure is tried again at once.
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [start(0, 0, 1)]);
    for milliseconds in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
        assert_eq!(sim.after(&[Event::Died { slot: 0 }]), []);
        sim.sleep(Duration::from_millis(milliseconds));
        assert_eq!(sim.take(), [start(0, 0, 1)], "{milliseconds}");
    }
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), []);
    // The other seat does not wait for this one.
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), [start(0, 1, 1)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 0 }]), [Action::Serve { slot: 0 }]);
    sim.sleep(Duration::from_secs(30));
    assert_eq!(sim.take(), [start(1, 0, 1)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 1 }]), [Action::Serve { slot: 1 }]);
    // Forgiven: from the beginning again.
    assert_eq!(sim.after(&[Event::Died { slot: 1 }, Event::Died { slot: 1 }]), [start(1, 0, 1), start(1, 0, 1)]);
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), []);
    sim.sleep(Duration::from_millis(100));
    assert_eq!(sim.take(), [start(1, 0, 1)]);
}

#[test]
fn a_first_boot_that_always_fails_ends_the_master() {
    let mut sim = Sim::cold(2);
    sim.take();
    for _ in 1..BOOT_ATTEMPTS {
        sim.step(Event::Died { slot: 0 });
        if let Some(at) = sim.policy.deadline() {
            sim.now = at.min(sim.now + Duration::from_secs(1));
        }
        sim.step(Event::Tick);
    }
    sim.take();
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [kill(1, Why::Quit)]);
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), [Action::End(Verdict::NeverReady)]);
}

#[test]
fn once_somebody_was_ready_boot_failures_never_end_the_master() {
    let mut sim = Sim::warm(1);
    sim.after(&[Event::Died { slot: 0 }]);
    for _ in 0..3 * BOOT_ATTEMPTS {
        sim.step(Event::Died { slot: 0 });
        let pause = sim.policy.deadline().map_or(Duration::ZERO, |at| at - sim.now);
        sim.now += pause;
        sim.step(Event::Tick);
        assert!(!sim.take().iter().any(|action| matches!(action, Action::End(_))));
    }
}

#[test]
fn a_worker_that_does_not_get_ready_in_time_is_killed_and_counts_as_failed() {
    let mut sim = Sim::warm(1);
    sim.after(&[Event::Died { slot: 0 }, Event::Died { slot: 0 }]);
    sim.sleep(BOOT);
    // The second failure in a row: its successor waits a little, and needs another slot if it is not dead by then.
    assert_eq!(sim.take(), [kill(0, Why::BootTimeout)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 0 }]), [], "too late: the signal is on its way");
    sim.sleep(Duration::from_millis(100));
    assert_eq!(sim.take(), [start(1, 0, 1)]);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [], "it was counted when it was killed");
    assert_eq!(sim.after(&[Event::Ready { slot: 1 }]), [Action::Serve { slot: 1 }]);
}

#[test]
fn a_failed_fork_is_tried_again_and_blames_no_seat() {
    let mut sim = Sim::cold(1);
    sim.take();
    assert_eq!(sim.after(&[Event::ForkFailed { slot: 0 }]), [start(0, 0, 1)]);
    for pause in [100, 200, 400, 800, 1600, 3200] {
        assert_eq!(sim.after(&[Event::ForkFailed { slot: 0 }]), []);
        sim.sleep(Duration::from_millis(pause));
        assert_eq!(sim.take(), [start(0, 0, 1)], "{pause}");
    }
    assert_eq!(sim.after(&[Event::Ready { slot: 0 }]), [Action::Serve { slot: 0 }]);
}

#[test]
fn the_number_of_workers_goes_up_and_down_and_stays_at_one() {
    let mut sim = Sim::warm(1);
    let (more, fewer) = (command(Command::More), command(Command::Fewer));
    assert_eq!(sim.after(&[fewer]), [Action::Note(Note::NotScaled { workers: 1 })]);
    assert_eq!(sim.after(&[more]), [Action::Note(Note::Scaled { workers: 2 }), start(1, 1, 1)]);
    sim.after(&[Event::Ready { slot: 1 }]);
    assert_eq!(sim.after(&[fewer]), [Action::Note(Note::Scaled { workers: 1 }), drain(1)]);
    // Its seat is gone, so nobody follows it.
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), []);
    assert_eq!(sim.policy.workers(), 1);
    // A seat that comes back while its last worker still drains is filled at once.
    sim.after(&[more, Event::Ready { slot: 1 }, fewer]);
    assert_eq!(sim.after(&[more]), [Action::Note(Note::Scaled { workers: 2 }), start(2, 1, 1)]);
}

#[test]
fn there_is_a_largest_number_of_workers() {
    let mut sim = Sim::warm(1);
    let grown = sim.after(&[command(Command::More); 10]);
    let refused = grown.iter().filter(|action| matches!(action, Action::Note(Note::NotScaled { .. }))).count();
    assert_eq!((sim.policy.workers(), refused), (3, 8));
}

#[test]
fn a_worker_booting_on_a_seat_that_goes_is_killed_because_it_has_served_nobody() {
    let mut sim = Sim::warm(1);
    sim.after(&[command(Command::More)]);
    let gone = sim.after(&[command(Command::Fewer)]);
    assert_eq!(gone, [Action::Note(Note::Scaled { workers: 1 }), kill(1, Why::NotNeeded)]);
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), []);
}

#[test]
fn any_order_of_events_keeps_the_promises() {
    // A small generator instead of a table: what must hold whatever comes in whatever order.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for _ in 0..200 {
        let mut sim = Sim::warm(3);
        for _ in 0..200 {
            let slot = next(sim.policy.settings.slots);
            let event = match next(12) {
                0 => RELOAD,
                1 => command(Command::More),
                2 => command(Command::Fewer),
                3..=6 => Event::Ready { slot },
                7 => Event::Drains { slot },
                8 | 9 => Event::Died { slot },
                _ => Event::Tick,
            };
            sim.now += Duration::from_millis(next(20_000) as u64);
            let serving = |sim: &Sim| {
                let crew = sim.policy.crew.iter().flatten();
                crew.filter(|worker| worker.phase == Phase::Serving).count()
            };
            let before = serving(&sim);
            let deaths = matches!(event, Event::Died { .. } | Event::Drains { .. } | Event::Command(Command::Fewer));
            sim.step(event);
            let actions = sim.take();
            // Nobody who serves is killed, and the number that serve falls only by a death or on request.
            assert!(deaths || serving(&sim) >= before.min(sim.policy.workers()), "{event:?}: {actions:?}");
            let drained = actions.iter().position(|action| matches!(action, Action::Drain { .. }));
            let served = actions.iter().rposition(|action| matches!(action, Action::Serve { .. }));
            assert!(drained.is_none() || served.is_none() || served < drained, "{event:?}: {actions:?}");
            // One good worker per seat and generation at most.
            let mut seats: Vec<_> = sim.policy.crew.iter().flatten().filter(|worker| worker.is_good()).collect();
            let all = seats.len();
            seats.sort_by_key(|worker| (worker.seat, worker.generation));
            seats.dedup_by_key(|worker| (worker.seat, worker.generation));
            assert_eq!(seats.len(), all);
        }
        // And it always comes to an end.
        sim.step(command(Command::Terminate));
        for slot in 0..sim.policy.settings.slots {
            sim.step(Event::Died { slot });
        }
        assert_eq!(sim.take().last(), Some(&Action::End(Verdict::Stopped)));
    }
}
