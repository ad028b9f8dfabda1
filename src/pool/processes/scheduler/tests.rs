//! Tables of what follows from what, with a clock that moves only when it is told to.

use std::ops::Range;

use super::*;

/// Named items; `cut` keeps the name. Several are written with their numbers.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    name: &'static str,
    items: Range<u32>,
    retries: u32,
    several: bool,
}

impl Work for Piece {
    fn items(&self) -> u32 {
        self.items.end - self.items.start
    }

    fn retries(&self) -> u32 {
        self.retries
    }

    fn cut(&self, items: Range<u32>) -> Self {
        let at = self.items.start;
        Self { name: self.name, items: at + items.start..at + items.end, retries: self.retries, several: self.several }
    }
}

fn one(name: &'static str) -> Piece {
    Piece { name, items: 0..1, retries: 0, several: false }
}

fn chunk(name: &'static str, items: u32) -> Piece {
    Piece { name, items: 0..items, retries: 0, several: true }
}

/// A scheduler, its clock, and its actions as one line of text.
struct Case {
    scheduler: Scheduler<Piece>,
    now: Instant,
}

impl Case {
    fn new(workers: usize, lanes: usize) -> Self {
        let policy = Policy { workers, lanes, patience: Duration::from_secs(1) };
        Self { scheduler: Scheduler::new(policy), now: Instant::now() }
    }

    /// All workers started and ready.
    fn ready(workers: usize, lanes: usize) -> Self {
        let mut case = Self::new(workers, lanes);
        case.tick(0);
        for id in 0..workers {
            case.spawned(id);
            case.is_ready(id);
        }
        case
    }

    fn act(&mut self, event: impl FnOnce(&mut Scheduler<Piece>, Instant, &mut Vec<Action<Piece>>)) -> String {
        let mut out = Vec::new();
        event(&mut self.scheduler, self.now, &mut out);
        let lines: Vec<String> = out.into_iter().map(|action| self.render(action)).collect();
        lines.join(", ")
    }

    fn render(&mut self, action: Action<Piece>) -> String {
        let piece = |work: &Piece| {
            let items = if work.several { format!("{:?}", work.items) } else { String::new() };
            format!("{}{items}", work.name)
        };
        match action {
            Action::Spawn(WorkerId(id)) => format!("spawn {id}"),
            Action::Offer { worker, lane, .. } => match self.scheduler.flight_mut(worker, lane) {
                Some(flight) if flight.attempt > 1 => {
                    format!("{} to {}, try {}", piece(&flight.work), worker.0, flight.attempt)
                }
                Some(flight) => format!("{} to {}", piece(&flight.work), worker.0),
                None => format!("nothing to {}", worker.0),
            },
            Action::TakeBack { worker, lane, .. } => format!("take back {}.{lane}", worker.0),
            Action::Dismiss(WorkerId(id)) => format!("dismiss {id}"),
            Action::Signal { worker, kill: false } => format!("term {}", worker.0),
            Action::Signal { worker, kill: true } => format!("kill {}", worker.0),
            Action::GiveUpOn(WorkerId(id)) => format!("give up on {id}"),
            Action::Return { work, why: Undone::Lost { attempts } } => {
                format!("{} lost after {attempts}", piece(&work))
            }
            Action::Return { work, why: Undone::Shunned } => format!("{} shunned", piece(&work)),
            Action::Return { work, why: Undone::NeverBegun } => format!("{} never begun", piece(&work)),
        }
    }

    fn tick(&mut self, milliseconds: u64) -> String {
        self.now += Duration::from_millis(milliseconds);
        self.act(Scheduler::tick)
    }

    fn spawned(&mut self, id: usize) -> String {
        self.act(|scheduler, now, out| scheduler.spawned(WorkerId(id), now, out))
    }

    fn is_ready(&mut self, id: usize) -> String {
        self.act(|scheduler, now, out| scheduler.ready(WorkerId(id), now, out))
    }

    fn spawn_failed(&mut self, id: usize) -> String {
        self.act(|scheduler, now, out| scheduler.spawn_failed(WorkerId(id), now, out))
    }

    fn submit(&mut self, piece: Piece) -> String {
        self.act(|scheduler, _, out| assert!(scheduler.submit(piece, out).is_ok()))
    }

    fn done(&mut self, id: usize, seq: Seq, count: u32) -> String {
        self.act(|scheduler, now, out| assert!(scheduler.progress(WorkerId(id), seq, count, now, out)))
    }

    /// Dies with these offers begun: pairs of seq and the item it was in.
    fn dies(&mut self, id: usize, begun: &[(Seq, u32)]) -> String {
        let far = |_, seq| match begun.iter().find(|(begun, _)| *begun == seq) {
            Some(&(_, item)) => Begun::Item(item),
            None => Begun::Nothing,
        };
        self.act(|scheduler, now, out| scheduler.died(WorkerId(id), far, now, out))
    }

    fn close(&mut self) -> String {
        self.act(Scheduler::close)
    }

    fn terminate(&mut self) -> String {
        self.act(Scheduler::terminate)
    }

    /// The engine's half of taking back: it worked, and the offer had been sent.
    fn took_back(&mut self, id: usize, lane: usize) -> String {
        self.act(|scheduler, _, out| {
            let flight = scheduler.taken_back(WorkerId(id), lane, true).unwrap();
            scheduler.give_again(flight, out);
        })
    }
}

#[test]
fn work_waits_for_the_first_ready_worker_and_then_spreads_before_it_stacks() {
    let mut case = Case::new(2, 2);
    assert_eq!(case.tick(0), "spawn 0, spawn 1");
    assert_eq!(case.submit(one("a")), "");
    assert_eq!(case.spawned(0), "");
    assert_eq!(case.is_ready(0), "a to 0");
    assert_eq!(case.submit(one("b")), "b to 0");
    assert_eq!(case.submit(one("c")), "");
    assert_eq!(case.spawned(1), "");
    assert_eq!(case.is_ready(1), "c to 1");
    assert_eq!(case.submit(one("d")), "d to 1");
    assert_eq!(case.submit(one("e")), "");
    assert_eq!(case.done(1, 1, 1), "e to 1");
}

#[test]
fn one_lane_means_nothing_waits_at_a_worker() {
    let mut case = Case::ready(1, 1);
    assert_eq!(case.submit(one("a")), "a to 0");
    assert_eq!(case.submit(one("b")), "");
    assert_eq!(case.done(0, 1, 1), "b to 0");
}

#[test]
fn an_idle_worker_gets_what_waits_behind_a_busy_one() {
    let mut case = Case::ready(2, 2);
    for (name, expected) in [("long", "long to 0"), ("b", "b to 1"), ("c", "c to 0")] {
        assert_eq!(case.submit(one(name)), expected);
    }
    assert_eq!(case.done(1, 1, 1), "take back 0.1");
    assert_eq!(case.took_back(0, 1), "c to 1");
    // Until the busy worker has moved past the leftover in its socket, nothing is stacked on it again.
    assert_eq!(case.submit(one("d")), "d to 1");
    assert_eq!(case.submit(one("e")), "");
    assert_eq!(case.done(0, 1, 1), "e to 0");
    assert_eq!(case.submit(one("f")), "f to 0");
}

#[test]
fn what_had_begun_after_all_is_not_asked_for_again() {
    let mut case = Case::ready(2, 2);
    case.submit(one("a"));
    case.submit(one("b"));
    case.submit(one("c"));
    assert_eq!(case.done(1, 1, 1), "take back 0.1");
    case.scheduler.kept(WorkerId(0), 1);
    assert_eq!(case.submit(one("d")), "d to 1");
    assert_eq!(case.done(1, 2, 1), "");
}

#[test]
fn only_what_was_begun_is_lost_and_the_rest_goes_to_others_first() {
    // (begun at the death, what follows); worker 0 holds a chunk of four with one result in, and "b" behind it.
    type Row = (&'static [(Seq, u32)], &'static str);
    let table: [Row; 6] = [
        (&[], "spawn 2, b to 1, c1..4 to 1"),
        (&[(1, 0)], "spawn 2, b to 1, c1..4 to 1"),
        (&[(1, 1)], "c1..2 lost after 1, spawn 2, c2..4 to 1, b to 1"),
        (&[(1, 3)], "c1..2 lost after 1, c2..3 lost after 1, c3..4 lost after 1, spawn 2, b to 1"),
        (&[(1, 2), (2, 0)], "c1..2 lost after 1, c2..3 lost after 1, b lost after 1, spawn 2, c3..4 to 1"),
        (&[(2, 0)], "b lost after 1, spawn 2, c1..4 to 1"),
    ];
    for (begun, expected) in table {
        let mut case = Case::ready(2, 2);
        case.submit(chunk("c", 4));
        case.submit(one("x"));
        case.submit(one("b"));
        case.done(1, 1, 1);
        case.scheduler.kept(WorkerId(0), 1);
        assert_eq!(case.done(0, 1, 1), "");
        let order = |text: String| {
            let mut parts: Vec<String> = text.split(", ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(order(case.dies(0, begun)), order(expected.to_owned()), "{begun:?}");
        assert_eq!(case.scheduler.totals().deaths, 1);
    }
}

#[test]
fn what_comes_back_goes_before_what_is_new() {
    let mut case = Case::ready(1, 2);
    for name in ["a", "b", "c"] {
        case.submit(one(name));
    }
    assert_eq!(case.dies(0, &[(1, 0)]), "a lost after 1, spawn 1");
    case.spawned(1);
    assert_eq!(case.is_ready(1), "b to 1, c to 1");
}

#[test]
fn a_lost_item_is_tried_again_as_often_as_was_asked() {
    let mut case = Case::ready(1, 2);
    assert_eq!(case.submit(Piece { name: "r", items: 0..3, retries: 2, several: true }), "r0..3 to 0");
    assert_eq!(case.done(0, 1, 1), "");
    assert_eq!(case.dies(0, &[(1, 1)]), "spawn 1");
    case.spawned(1);
    assert_eq!(case.is_ready(1), "r2..3 to 1, r1..2 to 1, try 2");
    assert_eq!(case.done(1, 1, 1), "");
    assert_eq!(case.dies(1, &[(2, 0)]), "spawn 2");
    case.spawned(2);
    assert_eq!(case.is_ready(2), "r1..2 to 2, try 3");
    assert_eq!(case.dies(2, &[(1, 0)]), "r1..2 lost after 3, spawn 3");
    assert_eq!(case.scheduler.totals(), Totals { completed: 2, lost: 1, retried: 2, deaths: 3 });
}

#[test]
fn queued_work_can_be_cancelled_and_offered_work_is_looked_for() {
    let mut case = Case::ready(1, 1);
    let mut out = Vec::new();
    let first = case.scheduler.submit(one("a"), &mut out).unwrap();
    let second = case.scheduler.submit(one("b"), &mut out).unwrap();
    assert_eq!(case.scheduler.cancel(second), Cancel::Queued(one("b")));
    assert_eq!(case.scheduler.cancel(second), Cancel::Gone);
    assert_eq!(case.scheduler.cancel(first), Cancel::Offered { worker: WorkerId(0), lane: 0, seq: 1 });
    assert_eq!(case.done(0, 1, 1), "");
    assert_eq!(case.scheduler.cancel(first), Cancel::Gone);
}

#[test]
fn closing_finishes_what_is_there_then_sends_everybody_home() {
    let mut case = Case::ready(2, 2);
    case.submit(one("a"));
    assert_eq!(case.close(), "");
    assert_eq!(case.scheduler.submit(one("late"), &mut Vec::new()), Err(one("late")));
    assert_eq!(case.done(0, 1, 1), "dismiss 0, dismiss 1");
    assert_eq!(case.dies(0, &[]), "");
    assert!(!case.scheduler.is_over());
    assert_eq!(case.tick(4_999), "");
    assert_eq!(case.tick(1), "kill 1");
    assert_eq!(case.dies(1, &[]), "");
    assert!(case.scheduler.is_over());
    assert_eq!(case.scheduler.totals().deaths, 0);
}

#[test]
fn a_closing_pool_replaces_the_dead_only_for_work_that_waits() {
    let mut case = Case::ready(2, 1);
    for name in ["a", "b", "c"] {
        case.submit(one(name));
    }
    case.close();
    assert_eq!(case.dies(0, &[(1, 0)]), "a lost after 1");
    assert_eq!(case.dies(1, &[(1, 0)]), "b lost after 1, spawn 2");
    case.spawned(2);
    assert_eq!(case.is_ready(2), "c to 2");
    assert_eq!(case.done(2, 1, 1), "dismiss 2");
}

#[test]
fn termination_returns_the_queue_and_grows_stronger() {
    let mut case = Case::ready(2, 2);
    for name in ["a", "b", "c", "d", "e"] {
        case.submit(one(name));
    }
    assert_eq!(case.terminate(), "e never begun, term 0, term 1");
    assert_eq!(case.dies(0, &[(1, 0)]), "a lost after 1, c never begun");
    assert_eq!(case.scheduler.deadline(), Some(case.now + Duration::from_secs(1)));
    assert_eq!(case.tick(1_000), "kill 1");
    assert_eq!(case.terminate(), "");
    assert_eq!(case.tick(5_000), "give up on 1");
    assert_eq!(case.dies(1, &[(1, 0)]), "b lost after 1, d never begun");
    assert!(case.scheduler.is_over());
}

#[test]
fn a_process_that_comes_too_late_is_killed() {
    let mut case = Case::new(1, 2);
    case.tick(0);
    assert_eq!(case.terminate(), "");
    assert!(!case.scheduler.is_over());
    assert_eq!(case.spawned(0), "kill 0");
    assert_eq!(case.dies(0, &[]), "");
    assert!(case.scheduler.is_over());
}

#[test]
fn starts_that_fail_are_spaced_out_and_end_the_pool_with_its_work() {
    let mut case = Case::new(2, 2);
    assert_eq!(case.tick(0), "spawn 0, spawn 1");
    case.submit(one("a"));
    assert_eq!(case.spawn_failed(0), "");
    assert_eq!(case.spawn_failed(1), "");
    // One probe at a time, after 20, 40 and 80 ms.
    for (wait, id) in [(20, 2), (40, 3)] {
        assert_eq!(case.scheduler.deadline(), Some(case.now + Duration::from_millis(wait)));
        assert_eq!(case.tick(wait - 1), "");
        assert_eq!(case.tick(1), format!("spawn {id}"));
        case.spawned(id);
        assert_eq!(case.dies(id, &[]), "");
    }
    assert_eq!(case.tick(80), "spawn 4");
    case.spawned(4);
    assert_eq!(case.dies(4, &[]), "a never begun");
    assert_eq!(case.scheduler.phase(), Phase::Broken);
    assert!(case.scheduler.is_over());
    assert_eq!(case.tick(10_000), "");
}

#[test]
fn one_good_start_forgives_the_failed_ones() {
    let mut case = Case::new(3, 2);
    case.tick(0);
    for id in 0..3 {
        case.spawn_failed(id);
    }
    assert_eq!(case.tick(40), "spawn 3");
    case.spawned(3);
    assert_eq!(case.is_ready(3), "spawn 4, spawn 5");
    assert_eq!(case.spawn_failed(4), "");
    assert_eq!(case.tick(10), "");
    case.spawned(5);
    assert_eq!(case.is_ready(5), "spawn 6");
}

#[test]
fn while_somebody_works_failing_starts_do_not_end_the_pool() {
    let mut case = Case::ready(2, 2);
    assert_eq!(case.dies(1, &[]), "spawn 2");
    for id in 2..40 {
        assert_eq!(case.spawn_failed(id), "");
        assert_eq!(case.scheduler.phase(), Phase::Open);
        assert_eq!(case.tick(1_000), format!("spawn {}", id + 1));
    }
}

#[test]
fn workers_that_die_young_and_idle_are_replaced_more_and_more_slowly() {
    let mut case = Case::ready(1, 2);
    let die = |case: &mut Case, id: usize| {
        let after = case.dies(id, &[]);
        case.spawned(id + 1);
        case.is_ready(id + 1);
        after
    };
    assert_eq!(die(&mut case, 0), "spawn 1");
    assert_eq!(die(&mut case, 1), "spawn 2");
    assert_eq!(case.dies(2, &[]), "");
    assert_eq!(case.tick(10), "spawn 3");
    case.spawned(3);
    case.is_ready(3);
    assert_eq!(case.dies(3, &[]), "");
    assert_eq!(case.tick(10), "");
    assert_eq!(case.tick(10), "spawn 4");
    case.spawned(4);
    case.is_ready(4);
    // It finishes something: all is well again.
    case.submit(one("a"));
    case.done(4, 1, 1);
    assert_eq!(die(&mut case, 4), "spawn 5");
}

#[test]
fn a_worker_that_talks_nonsense_is_found_out() {
    let mut case = Case::ready(1, 2);
    case.submit(chunk("c", 2));
    let mut out = Vec::new();
    let now = case.now;
    for (seq, count) in [(2, 1), (1, 0), (1, 3)] {
        assert!(!case.scheduler.progress(WorkerId(0), seq, count, now, &mut out), "{seq} {count}");
    }
    assert!(out.is_empty());
    assert_eq!(case.act(|scheduler, now, out| scheduler.distrust(WorkerId(0), now, out)), "kill 0");
    assert_eq!(case.submit(one("d")), "");
    // Its word claims the second item; the first one's result never came, so neither can be given out again.
    assert_eq!(case.dies(0, &[(1, 1)]), "c0..1 lost after 1, c1..2 lost after 1, spawn 1");
}

#[test]
fn work_that_kills_whoever_receives_it_does_not_run_through_workers_for_ever() {
    let mut case = Case::ready(1, 2);
    case.submit(one("poison"));
    case.submit(one("bystander"));
    for id in 0..7 {
        assert_eq!(case.dies(id, &[]).replace(&format!("spawn {}", id + 1), ""), "", "{id}");
        case.tick(1_000);
        case.spawned(id + 1);
        assert_eq!(case.is_ready(id + 1), format!("poison to {0}, bystander to {0}", id + 1));
    }
    assert_eq!(case.dies(7, &[]), "poison shunned");
    case.tick(1_000);
    case.spawned(8);
    assert_eq!(case.is_ready(8), "bystander to 8");
}

#[test]
fn a_worker_whose_socket_closed_gets_nothing_more_and_is_killed_if_it_stays() {
    let mut case = Case::ready(1, 2);
    let now = case.now;
    case.scheduler.hung_up(WorkerId(0), now);
    assert_eq!(case.submit(one("a")), "");
    assert_eq!(case.tick(1_000), "kill 0");
    assert_eq!(case.dies(0, &[]), "spawn 1");
    assert_eq!(case.scheduler.totals().deaths, 1);
}
