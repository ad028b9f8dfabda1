//! The owner: starts the workers, kills and stops them at random, puts others in their places, and looks on.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, pipe};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};

use crate::alone::{Child, peer};
use crate::journal::{Phase, WORKERS};
use crate::link::{Receiving, Sending};
use crate::random::Random;
use crate::stacks;
use crate::worker::{LONG, Order, Role, work};
use crate::world::World;

/// So many at most stand still at a time; the others go on.
const MOST_STOPPED: usize = 3;

/// One process, and the turn of the owner's at which something is due with it.
struct Process {
    child: Child,
    control: Connection<Order, ()>,
    state: State,
    /// How many rounds its worker had made when, as was last seen.
    seen: (u64, Instant),
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Running,
    /// Goes on at this turn.
    Stopped(u64),
    /// Is reaped and replaced at this turn.
    Dead(u64),
}

/// What was done to the workers.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) kills: u64,
    /// Of these: those who killed themselves, in the middle of something.
    suicides: u64,
    /// Of these: those who stood still.
    while_stopped: u64,
    /// Of these: parties of the barrier.
    pub(crate) parties_killed: u64,
    stops: u64,
    signals: u64,
    censuses: u64,
    pub(crate) links: usize,
}

pub(crate) struct Owner {
    world: World,
    random: Random,
    processes: Vec<Process>,
    turn: u64,
    deeds: Deeds,
}

impl Owner {
    /// All workers, and the link with this number between two of them.
    pub(crate) fn new(world: World, random: Random, link: usize) -> Self {
        let deeds = Deeds { links: link, ..Deeds::default() };
        let mut owner = Self { world, random, processes: Vec::new(), turn: 0, deeds };
        for number in 0..WORKERS {
            let process = owner.start(number);
            owner.processes.push(process);
        }
        owner.link();
        owner
    }

    fn start(&mut self, number: usize) -> Process {
        let random = self.random.fork();
        let (control, child) = peer(|end| work(number, random, end));
        control.send_timeout(&Order::Begin(Box::new(self.world.clone())), LONG).unwrap();
        Process { child, control, state: State::Running, seen: (0, Instant::now()) }
    }

    /// A new pipe for the two that send and receive. One of them may have died: then there will be another.
    fn link(&mut self) {
        let number = self.deeds.links;
        self.deeds.links += 1;
        let (near, far): (Sending, Receiving) = pipe().unwrap();
        for (role, order) in [(Role::Sender, Order::Send(number, near)), (Role::Receiver, Order::Receive(number, far))]
        {
            let worker = Role::OF.iter().position(|&other| other == role).unwrap();
            let _ = self.processes[worker].control.send_timeout(&order, LONG);
        }
    }

    /// Until so many were killed.
    pub(crate) fn storm(&mut self, kills: u64) {
        while self.deeds.kills < kills {
            self.look_after_all();
            let number = self.random.below(WORKERS as u64) as usize;
            match self.random.below(16) {
                0..6 => self.kill(number),
                6..12 => self.stop(number),
                12..15 => self.disturb(number),
                _ => self.take_census(),
            }
        }
    }

    /// Nobody is killed any more, and each worker makes some more rounds.
    pub(crate) fn calm(&mut self, rounds: u64) {
        self.world.journal.enter(Phase::Calm);
        let of = |world: &World, number| world.journal.rounds(number).load(SeqCst);
        let begin: Vec<u64> = (0..WORKERS).map(|number| of(&self.world, number)).collect();
        while (0..WORKERS).any(|number| of(&self.world, number) < begin[number] + rounds) {
            self.look_after_all();
        }
    }

    /// All end by themselves.
    pub(crate) fn end(mut self) -> Deeds {
        self.world.journal.enter(Phase::End);
        let begin = Instant::now();
        for (number, process) in self.processes.drain(..).enumerate() {
            while self.world.event.set().is_ok() && status(&process.child).is_none() {
                self.world.items.stir();
                if begin.elapsed() > LONG {
                    stacks::show(process.child.pid());
                    panic!("worker {number} does not end");
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            assert_eq!(process.child.exit_code(), 0, "worker {number}");
        }
        self.deeds
    }

    /// One turn: a moment passes, and everybody is seen to.
    fn look_after_all(&mut self) {
        self.turn += 1;
        std::thread::sleep(Duration::from_micros(self.random.below(1_500)));
        self.world.event.set().unwrap();
        for number in 0..WORKERS {
            match self.processes[number].state {
                State::Running => self.look_at(number),
                State::Stopped(until) if until <= self.turn => self.proceed(number),
                State::Dead(until) if until <= self.turn && !self.has_heir(number) => self.replace(number),
                State::Stopped(_) | State::Dead(_) => {}
            }
        }
    }

    /// Whether a worker has ended, or makes no rounds any more.
    fn look_at(&mut self, number: usize) {
        let rounds = self.world.journal.rounds(number).load(SeqCst);
        let due = self.turn + self.random.below(4);
        let process = &mut self.processes[number];
        match status(&process.child) {
            None => {}
            Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)) => {
                process.state = State::Dead(due);
                self.deeds.kills += 1;
                self.deeds.suicides += 1;
                return;
            }
            Some(status) => self.fail(&format!("worker {number}, {:?}, has ended: {status:?}", Role::OF[number])),
        }
        let process = &mut self.processes[number];
        if process.seen.0 != rounds {
            process.seen = (rounds, Instant::now());
        } else if process.seen.1.elapsed() > 2 * LONG {
            self.fail(&format!("worker {number}, {:?}, hangs", Role::OF[number]));
        }
    }

    /// Whether this one consumed, and another is alive to take what is there, whoever had been notified of it: nobody comes
    /// to its help.
    fn has_heir(&self, number: usize) -> bool {
        Role::OF[number] == Role::Consumer && (0..WORKERS).any(|other| other != number && self.must_take(other))
    }

    /// Whether this is the only consumer, and there is something to be taken.
    fn must_take(&self, number: usize) -> bool {
        let lives = |number: usize| {
            Role::OF[number] == Role::Consumer && !matches!(self.processes[number].state, State::Dead(_))
        };
        lives(number) && (0..WORKERS).filter(|&number| lives(number)).count() == 1 && self.world.goods_left() > 0
    }

    /// Kills it; it is reaped at once, or remains a zombie for some turns.
    fn kill(&mut self, number: usize) {
        let due = self.turn + self.random.below(4);
        let must_live = self.must_take(number);
        let process = &mut self.processes[number];
        if must_live || matches!(process.state, State::Dead(_)) {
            return;
        }
        self.deeds.kills += 1;
        self.deeds.while_stopped += u64::from(process.state != State::Running);
        kill(process.child.pid(), Signal::SIGKILL).unwrap();
        process.state = State::Dead(due);
        if due == self.turn && !self.has_heir(number) {
            self.replace(number);
        }
    }

    fn replace(&mut self, number: usize) {
        self.deeds.parties_killed += u64::from(matches!(Role::OF[number], Role::Party { .. }));
        let ended = waitid(Id::Pid(self.processes[number].child.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        assert!(matches!(ended, Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _))), "worker {number}: {ended:?}");
        self.world.journal.permits(number).store(0, SeqCst);
        let successor = self.start(number);
        std::mem::replace(&mut self.processes[number], successor).child.kill();
        if matches!(Role::OF[number], Role::Sender | Role::Receiver) {
            self.link();
        }
    }

    fn stop(&mut self, number: usize) {
        let stopped = self.processes.iter().filter(|process| matches!(process.state, State::Stopped(_))).count();
        if stopped < MOST_STOPPED && self.stand_still(number) {
            self.processes[number].state = State::Stopped(self.turn + 1 + self.random.below(30));
            self.deeds.stops += 1;
        }
    }

    /// Stops a running process, and waits until it stands still. False where it did not run, or has ended meanwhile.
    fn stand_still(&self, number: usize) -> bool {
        let Process { child, state: State::Running, .. } = &self.processes[number] else { return false };
        kill(child.pid(), Signal::SIGSTOP).unwrap();
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        matches!(waitid(Id::Pid(child.pid()), flags), Ok(WaitStatus::Stopped(..)))
    }

    fn proceed(&mut self, number: usize) {
        let process = &mut self.processes[number];
        kill(process.child.pid(), Signal::SIGCONT).unwrap();
        process.state = State::Running;
        process.seen.1 = Instant::now();
    }

    /// Interrupts whatever system call it is in.
    fn disturb(&mut self, number: usize) {
        if !matches!(self.processes[number].state, State::Dead(_)) {
            kill(self.processes[number].child.pid(), Signal::SIGUSR1).unwrap();
            self.deeds.signals += 1;
        }
    }

    /// Stops all, and counts.
    fn take_census(&mut self) {
        let now: Vec<usize> = (0..WORKERS).filter(|&number| self.stand_still(number)).collect();
        let stands =
            |number: &usize| matches!(self.processes[*number].state, State::Stopped(_)) || now.contains(number);
        self.world.take_census((0..WORKERS).filter(stands));
        // Whoever looks at what others have stopped in waits for nobody.
        drop(format!("{:?}", self.world.objects()));
        now.into_iter().for_each(|number| self.proceed(number));
        self.deeds.censuses += 1;
    }

    fn fail(&self, what: &str) -> ! {
        eprintln!("{what}\n{:#?}\n{:?}", self.world.objects(), self.deeds);
        self.processes.iter().for_each(|process| stacks::show(process.child.pid()));
        panic!("{what}");
    }
}

/// How a child has ended, if it has; it stays to be reaped.
fn status(child: &Child) -> Option<WaitStatus> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(child.pid()), flags) {
        Ok(WaitStatus::StillAlive) => None,
        Ok(status) => Some(status),
        Err(error) => panic!("{error}"),
    }
}

/// No child is left, reaped or not.
pub(crate) fn has_no_children() -> bool {
    waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD)
}
