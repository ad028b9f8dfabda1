//! How a process is killed at each instruction of an operation, and who is asked afterwards.

use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::{self, Child, Code, open_fds};
use crate::tally;
use crewkit::ipc::Connection;

/// A survivor that has seen nothing for this long hangs.
pub(crate) const HANG: Duration = Duration::from_secs(15);

/// Which instructions between two system calls are taken, of which the last is that of the second call: always the last.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sample {
    /// One more, farther from the first call than that of the calls before.
    Few,
    /// The first, and then each four times as far.
    Some,
    All,
}

impl Sample {
    /// What the environment says.
    pub(crate) fn asked_for() -> Self {
        match std::env::var("CREWKIT_KILL_POINTS").as_deref() {
            Err(_) => Self::Few,
            Ok("some") => Self::Some,
            Ok("all") => Self::All,
            Ok(other) => panic!("CREWKIT_KILL_POINTS={other}: neither some nor all"),
        }
    }

    /// The first one after so many calls.
    fn first(self, calls: usize) -> usize {
        match self {
            Self::Few => (1 << (calls % 12)) - 1,
            Self::Some | Self::All => 0,
        }
    }

    /// The next one.
    fn after(self, steps: usize) -> usize {
        match self {
            Self::Few => usize::MAX,
            Self::Some => 4 * steps + 1,
            Self::All => steps + 1,
        }
    }
}

/// When the survivors use their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// After the kill.
    Later,
    /// They were asleep in `recv` or `send` before the first step.
    Asleep,
}

/// What the survivors saw of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing.
    Before,
    /// All of it.
    After,
}

/// A kill point made ready: the victim, stopped before its first step, and the survivors' part.
pub(crate) struct Stage {
    pub(crate) victim: Child,
    pub(crate) judge: Judge,
}

pub(crate) type Judge = Box<dyn FnOnce() -> Outcome>;

/// A child that is handed an object, as any process would be. It has the object when this returns.
pub(crate) fn given<T: Serialize + DeserializeOwned, C: Code>(object: &T, body: impl FnOnce(T) -> C) -> Child {
    let (end, child) = alone::peer(|end: Connection<(), T>| {
        let object = end.recv().unwrap();
        end.send(&()).unwrap();
        body(object)
    });
    end.send(object).unwrap();
    end.recv_timeout(HANG).unwrap();
    child
}

/// The same, of a process that is handed an object.
pub(crate) fn traced<T: Serialize + DeserializeOwned, O: FnOnce()>(object: &T, prepare: impl FnOnce(T) -> O) -> Child {
    await_stop(given(object, |object| stop_before(prepare(object))))
}

/// The victim's part: stops, and is stepped through the operation.
pub(crate) fn stop_before(operation: impl FnOnce()) {
    ptrace::traceme().unwrap();
    raise(Signal::SIGSTOP).unwrap();
    operation();
}

pub(crate) fn await_stop(victim: Child) -> Child {
    assert!(matches!(waitpid(victim.pid(), None), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))));
    ptrace::setoptions(victim.pid(), ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD)
        .unwrap();
    victim
}

pub(crate) const BEFORE: i32 = 10;
pub(crate) const AFTER: i32 = 11;

/// Both kinds of survivors. What they see is decided by the victim's steps alone: once seen, always seen.
pub(crate) fn both(stage: fn(When) -> Stage) {
    once_seen_always_seen(stage, When::Later);
    once_seen_always_seen(stage, When::Asleep);
}

/// The same for a message of which a survivor who sleeps takes the first pieces while the others are on their way: how
/// often it is woken for them depends on how fast it is, and so do the steps of who wakes it.
pub(crate) fn long(stage: fn(When) -> Stage) {
    once_seen_always_seen(stage, When::Later);
    series(stage, When::Asleep);
}

/// Now and then a run takes some steps more than the others: to read a clock while the kernel sets it, or because of what the
/// runs before the first step have made of the time that they took. So what contradicts itself is tried again.
pub(crate) fn once_seen_always_seen(stage: fn(When) -> Stage, when: When) {
    let mut outcomes = series(stage, when);
    loop {
        let seen = outcomes.iter().position(|(_, outcome)| *outcome == Outcome::After).unwrap();
        let late = outcomes.iter().rposition(|(_, outcome)| *outcome == Outcome::Before).unwrap();
        if late < seen {
            return;
        }
        let is_so_again = |&index: &usize| {
            let (point, outcome) = outcomes[index];
            (0..AGAIN).all(|_| kill_and_judge(stage(when), point).1 == outcome)
        };
        let uncertain = [seen, late].into_iter().find(|index| !is_so_again(index));
        let points = [outcomes[seen].0, outcomes[late].0];
        let uncertain =
            uncertain.unwrap_or_else(|| panic!("seen by the survivors at {:?}, not at {:?}", points[0], points[1]));
        println!("  not the same each time: what is seen at {:?}", outcomes[uncertain].0);
        outcomes.remove(uncertain);
    }
}

/// How often a contradiction must show itself.
const AGAIN: usize = 8;

/// Where the victim is killed: after so many system calls, and so many single steps behind the last of them.
type Point = (usize, usize);

/// All kill points of one operation with one kind of survivors.
pub(crate) fn series(stage: fn(When) -> Stage, when: When) -> Vec<(Point, Outcome)> {
    let sample = Sample::asked_for();
    if sample == Sample::All {
        nix::unistd::alarm::cancel();
    }
    let fds = open_fds();
    let mut outcomes: Vec<(Point, Outcome)> = Vec::new();
    let mut calls = 0;
    let mut all = 0;
    loop {
        let mut steps = sample.first(calls);
        let (taken, next) = loop {
            let ((taken, next), outcome) = kill_and_judge(stage(when), (calls, steps));
            outcomes.push(((calls, taken), outcome));
            assert_eq!(open_fds(), fds, "a descriptor is left over at kill point {:?}", (calls, taken));
            if next != Next::Instruction {
                break (taken, next);
            }
            steps = sample.after(steps);
        };
        all += taken + 1;
        if next == Next::Ended {
            break;
        }
        calls += 1;
    }
    outcomes.dedup_by_key(|(point, _)| *point);
    let before = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Before).count();
    let after = outcomes.len() - before;
    // Two runs of an operation that looks at a clock may differ in length.
    let (taken, all) = (outcomes.len(), all.max(outcomes.len()));
    println!("  {when:?}: {taken} of {all} kill points, {calls} system calls; before {before}, after {after}");
    tally::add(taken, all, before);
    assert!(before > 0 && after > 0);
    outcomes
}

/// Kills the victim at a point, and asks the survivors. Says where that was, as [`kill_at`] does.
fn kill_and_judge(Stage { victim, judge }: Stage, point: Point) -> ((usize, Next), Outcome) {
    let reached = kill_at(victim, point);
    (reached.unwrap_or((0, Next::Ended)), judge())
}

/// What would have come next where the victim was killed.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Instruction,
    SystemCall,
    /// Nothing: it had ended by itself.
    Ended,
}

/// Kills the victim at a point, or before the next system call if that comes first. Says how many steps were taken
/// behind the last one; `None` if there were not so many.
fn kill_at(victim: Child, (calls, steps): Point) -> Option<(usize, Next)> {
    // To its beginning and to its end.
    for _ in 0..2 * calls {
        if !hop(&victim) {
            victim.reaped();
            return None;
        }
    }
    for taken in 0..steps {
        if at_system_call(&victim) {
            victim.kill();
            return Some((taken, Next::SystemCall));
        }
        if !step(&victim) {
            victim.reaped();
            return Some((taken + 1, Next::Ended));
        }
    }
    victim.kill();
    Some((steps, Next::Instruction))
}

/// On to where the next system call begins or ends. False when the victim has ended.
fn hop(victim: &Child) -> bool {
    ptrace::syscall(victim.pid(), None).unwrap();
    match waitpid(victim.pid(), None).unwrap() {
        WaitStatus::PtraceSyscall(_) => true,
        WaitStatus::Exited(_, 0) => false,
        other => panic!("the victim failed by itself: {other:?}"),
    }
}

/// One instruction. False when the victim has ended.
fn step(victim: &Child) -> bool {
    ptrace::step(victim.pid(), None).unwrap();
    match waitpid(victim.pid(), None).unwrap() {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => true,
        WaitStatus::Exited(_, 0) => false,
        other => panic!("the victim failed by itself: {other:?}"),
    }
}

/// Whether the victim's next instruction is a system call.
fn at_system_call(victim: &Child) -> bool {
    let registers = ptrace::getregs(victim.pid()).unwrap();
    #[cfg(target_arch = "x86_64")]
    let (counter, mask, call) = (registers.rip, 0xFFFF, 0x050F);
    #[cfg(target_arch = "aarch64")]
    let (counter, mask, call) = (registers.pc, 0xFFFF_FFFF, 0xD400_0001);
    let address = std::ptr::without_provenance_mut(usize::try_from(counter).unwrap());
    ptrace::read(victim.pid(), address).unwrap() & mask == call
}
