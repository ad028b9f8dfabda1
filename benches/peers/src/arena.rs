//! How contestants are compared: round robin, each on a thread of its own, every step with a time limit.
//!
//! The thread that runs the arena never executes a contestant's code. A contestant that hangs, panics or answers
//! wrongly therefore becomes a row that says so, and the others go on.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::contest::{Contest, Contestant, Cost, Outcome, Side, Size, Target, Unit};

/// How long the parts of a run may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many times every contestant's turn comes.
    pub(crate) rounds: usize,
    /// What one turn should take, where the work does not fix its size.
    pub(crate) repetition: Duration,
    /// A turn (or a set-up) that takes longer has failed.
    pub(crate) step_limit: Duration,
    /// When this is over, contests end with the rounds they have, and further ones are not begun.
    pub(crate) run_limit: Duration,
}

/// The place where contests are held, with its time limits.
pub(crate) struct Arena {
    /// How long the parts of the run may take.
    pub(crate) pace: Pace,
    end: Instant,
}

/// A contest that was held.
pub(crate) struct Bout {
    /// The part of crewkit it belongs to.
    pub(crate) group: &'static str,
    /// The work.
    pub(crate) work: String,
    /// What the figures are the cost of.
    pub(crate) operation: &'static str,
    /// What the figures are.
    pub(crate) unit: Unit,
    /// What crewkit is to reach.
    pub(crate) targets: Vec<Target>,
    /// What a reader should know about the conditions.
    pub(crate) remarks: Vec<&'static str>,
    /// One row for each contestant.
    pub(crate) rows: Vec<Row>,
}

/// What became of one contestant.
pub(crate) struct Row {
    /// As the report shows it.
    pub(crate) name: &'static str,
    /// Which side it is on.
    pub(crate) side: Side,
    /// Its figures, or why there are none.
    pub(crate) figures: Result<Figures, String>,
}

/// The cost of one operation, in nanoseconds or bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// The median over the rounds.
    pub(crate) median: f64,
    /// The best round.
    pub(crate) least: f64,
    /// The worst round.
    pub(crate) most: f64,
}

impl Figures {
    /// Sums up several rounds; `None` if there were none.
    fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&least, &most) = (samples.first()?, samples.last()?);
        let (low, high) = (samples.get((samples.len() - 1) / 2)?, samples.get(samples.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), least, most })
    }
}

impl Arena {
    /// An arena whose run began at `started`.
    pub(crate) fn new(pace: Pace, started: Instant) -> Self {
        Self { pace, end: started + pace.run_limit }
    }

    /// Holds a contest: sets all contestants up, finds their sizes, then gives them their turns in rounds. A round
    /// starts one contestant later than the round before, so that nobody always follows the same neighbour.
    pub(crate) fn run(&self, contest: Contest) -> Bout {
        let size = contest.size;
        let mut runners: Vec<Runner> =
            contest.contestants.into_iter().map(|contestant| Runner::start(contestant, self)).collect();
        for runner in &mut runners {
            runner.attempt(|runner| runner.calibrate(self, size));
        }
        let count = runners.len();
        for round in 0..self.pace.rounds.min(contest.most_rounds) {
            if Instant::now() >= self.end {
                break;
            }
            for turn in 0..count {
                if let Some(runner) = runners.get_mut((round + turn) % count) {
                    runner.attempt(|runner| {
                        let sample = runner.repeat(self, runner.operations)?;
                        runner.samples.push(sample.0 / as_f64(runner.operations));
                        Ok(())
                    });
                }
            }
        }
        Bout {
            group: contest.group,
            work: contest.work,
            operation: contest.operation,
            unit: contest.unit,
            targets: contest.targets,
            remarks: contest.remarks,
            rows: runners.into_iter().map(|runner| runner.finish(self)).collect(),
        }
    }

    /// How long the next step may take.
    fn step(&self) -> Duration {
        self.pace.step_limit.min(self.end.saturating_duration_since(Instant::now()) + Duration::from_secs(1))
    }
}

/// A contestant at work: its thread, and what it has shown so far.
struct Runner {
    name: &'static str,
    side: Side,
    turns: Option<Sender<u64>>,
    answers: Receiver<Outcome<Cost>>,
    thread: Option<JoinHandle<()>>,
    operations: u64,
    samples: Vec<f64>,
    failure: Option<String>,
}

impl Runner {
    /// Starts the contestant's thread, which sets it up and then waits for its turns.
    fn start(contestant: Contestant, arena: &Arena) -> Self {
        let (turns, requests) = mpsc::channel::<u64>();
        let (replies, answers) = mpsc::channel();
        let open = contestant.open;
        let thread = thread::Builder::new().name(contestant.name.chars().take(15).collect()).spawn(move || {
            let mut repetition = match open() {
                Ok(repetition) => repetition,
                Err(error) => return drop(replies.send(Err(error))),
            };
            let mut answer = Ok(Cost(0.0));
            while replies.send(answer).is_ok()
                && let Ok(operations) = requests.recv()
            {
                answer = repetition(operations);
            }
        });
        let mut runner = Self {
            name: contestant.name,
            side: contestant.side,
            turns: Some(turns),
            answers,
            thread: None,
            operations: 1,
            samples: Vec::new(),
            failure: None,
        };
        match thread {
            Ok(thread) => {
                runner.thread = Some(thread);
                runner.attempt(|runner| runner.answer(arena, "the set-up").map(drop));
            }
            Err(error) => runner.failure = Some(format!("no thread: {error}")),
        }
        runner
    }

    /// Takes a step, unless an earlier one has failed, and keeps the reason if this one fails.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<(), String>) {
        if self.failure.is_none() {
            self.failure = step(self).err();
        }
    }

    /// Finds out how many operations make a repetition of the wanted length; this is the warm-up as well. A thread that
    /// happened to be kept off its processor must not make the repetitions short, so the better of two tries counts.
    fn calibrate(&mut self, arena: &Arena, size: Size) -> Result<(), String> {
        let multiple = match size {
            Size::MultipleOf(number) => number,
            Size::Exactly(number) => {
                self.operations = number;
                return self.repeat(arena, number).map(drop);
            }
        };
        let wanted = Cost::from(arena.pace.repetition).0;
        let mut operations = multiple;
        loop {
            let mut taken = self.repeat(arena, operations)?.0;
            if taken * 4.0 >= wanted {
                taken = taken.min(self.repeat(arena, operations)?.0);
            }
            if taken * 4.0 >= wanted {
                self.operations = scaled(operations, wanted / taken).next_multiple_of(multiple).max(multiple);
                return Ok(());
            }
            operations = operations.saturating_mul(4);
        }
    }

    /// One repetition of `operations` operations.
    fn repeat(&mut self, arena: &Arena, operations: u64) -> Result<Cost, String> {
        if let Some(turns) = &self.turns {
            // A thread that has ended shows in the missing answer.
            let _ = turns.send(operations);
        }
        self.answer(arena, "a repetition")
    }

    /// Waits for the contestant's thread.
    fn answer(&mut self, arena: &Arena, what: &str) -> Result<Cost, String> {
        let limit = arena.step();
        match self.answers.recv_timeout(limit) {
            Ok(Ok(cost)) => Ok(cost),
            Ok(Err(error)) => Err(error.to_string()),
            Err(RecvTimeoutError::Timeout) => {
                // Left to itself: a thread cannot be ended from outside.
                self.thread = None;
                Err(format!("{what} was not done after {:.2} s", limit.as_secs_f64()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.thread.take().and_then(panic_message).unwrap_or_else(|| "its thread ended".into()))
            }
        }
    }

    /// Takes the contestant down, in bounded time, and sums up.
    fn finish(mut self, arena: &Arena) -> Row {
        self.turns = None;
        if self.thread.is_some() && self.failure.is_none() {
            match self.answers.recv_timeout(arena.step()) {
                Err(RecvTimeoutError::Disconnected) => self.failure = self.thread.take().and_then(panic_message),
                Ok(_) | Err(RecvTimeoutError::Timeout) => self.failure = Some("did not end".into()),
            }
        }
        let figures = match self.failure {
            Some(failure) => Err(failure),
            None => Figures::of(self.samples).ok_or_else(|| "not measured: the run's time was over".into()),
        };
        Row { name: self.name, side: self.side, figures }
    }
}

/// What a thread that has ended panicked with.
fn panic_message(thread: JoinHandle<()>) -> Option<String> {
    let payload = thread.join().err()?;
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    Some(format!("panicked: {}", text.unwrap_or("without a text")))
}

/// A count as a divisor. Counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "repetitions have at most some 10^9 operations")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// `count` times `factor`, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are positive and small")]
fn scaled(count: u64, factor: f64) -> u64 {
    (as_f64(count) * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::{Arena, Pace, Row};
    use crate::contest::{Contest, Contestant, Outcome, Repetition, Size};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    /// An arena with three short rounds, and limits that a busy machine keeps.
    fn arena() -> Arena {
        let pace = Pace {
            rounds: 3,
            repetition: Duration::from_micros(10),
            step_limit: Duration::from_secs(30),
            run_limit: Duration::from_secs(60),
        };
        Arena::new(pace, Instant::now())
    }

    /// Work that claims to take so many nanoseconds for each operation.
    fn claims(nanoseconds: u64) -> Outcome<Repetition> {
        Ok(Box::new(move |operations| Ok(Duration::from_nanos(operations * nanoseconds).into())))
    }

    fn hold(size: Size, contestants: Vec<Contestant>) -> Vec<Row> {
        let contest = Contest::new("Test", "work", "operation", size);
        arena().run(contestants.into_iter().fold(contest, Contest::with)).rows
    }

    #[test]
    fn figures_are_times_of_one_operation() {
        let slower = Contestant::peer("slower", || claims(30));
        let rows = hold(Size::MultipleOf(1), vec![Contestant::crewkit("ours", || claims(10)), slower]);
        let medians: Vec<_> = rows.iter().map(|row| row.figures.as_ref().unwrap().median.round()).collect();
        assert_eq!(medians, [10.0, 30.0]);
    }

    #[test]
    fn repetitions_have_the_size_that_was_asked_for() {
        let (sizes, seen) = mpsc::channel();
        let other_sizes = sizes.clone();
        let watch = |sizes: mpsc::Sender<u64>| -> Outcome<Repetition> {
            Ok(Box::new(move |operations| {
                sizes.send(operations)?;
                Ok(Duration::from_nanos(operations * 7).into())
            }))
        };
        hold(Size::Exactly(100), vec![Contestant::peer("fixed", move || watch(sizes))]);
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [100; 4]);

        hold(Size::MultipleOf(4), vec![Contestant::peer("fitted", move || watch(other_sizes))]);
        let sizes: Vec<u64> = seen.try_iter().collect();
        assert!(sizes.iter().all(|size| size % 4 == 0), "{sizes:?}");
        // 10 µs at 7 ns are 1,428 operations, and the next multiple of 4 is the same.
        assert_eq!(sizes.last(), Some(&1428));
    }

    #[test]
    fn who_fails_gets_a_row_and_the_others_go_on() {
        let rows = hold(
            Size::MultipleOf(1),
            vec![
                Contestant::peer("absent", || Err("not installed".into())),
                Contestant::peer("wrong", || Ok(Box::new(|_| Err("wrong sum".into())))),
                Contestant::peer("panics", || Ok(Box::new(|_| panic!("boo")))),
                Contestant::peer("works", || claims(5)),
            ],
        );
        let reasons: Vec<_> = rows.iter().map(|row| row.figures.as_ref().err().map_or("", String::as_str)).collect();
        assert_eq!(reasons[..3], ["not installed", "wrong sum", "panicked: boo"]);
        assert_eq!(reasons[3], "");
    }

    #[test]
    fn who_hangs_is_left_behind() {
        let (never, nothing) = mpsc::channel::<()>();
        let pace = Pace { step_limit: Duration::from_millis(20), ..arena().pace };
        let contest = Contest::new("Test", "work", "operation", Size::MultipleOf(1));
        let bout = Arena::new(pace, Instant::now()).run(contest.with(Contestant::peer("hangs", move || {
            let _ = nothing.recv();
            claims(1)
        })));
        assert_eq!(
            bout.rows[0].figures.as_ref().err().map(String::as_str),
            Some("the set-up was not done after 0.02 s")
        );
        drop(never);
    }

    #[test]
    fn a_run_whose_time_is_over_says_so() {
        let pace = Pace { run_limit: Duration::ZERO, ..arena().pace };
        let contest = Contest::new("Test", "work", "operation", Size::MultipleOf(1));
        let bout = Arena::new(pace, Instant::now()).run(contest.with(Contestant::peer("late", || claims(5))));
        assert_eq!(
            bout.rows[0].figures.as_ref().err().map(String::as_str),
            Some("not measured: the run's time was over")
        );
    }
}
