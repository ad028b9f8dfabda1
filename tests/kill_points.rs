//! A kill at every machine instruction of sending and receiving.
//!
//! A traced child runs k single steps into an operation on its end of a connection and is killed there; then the
//! survivors use theirs. They must not hang, must see each message whole or not at all and after that the end, and no
//! descriptor may be left over. Each kill point runs twice: with survivors that come later, and with survivors that are
//! asleep on their ends already (one for a connection, two where the message holds the end of another).
//!
//! Between two system calls a process does nothing that another can see, so the quick run takes every point around each
//! system call and few elsewhere. `CREWKIT_KILL_POINTS=all` takes every one; build with `--release` for that.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use alone::{Child, adopt, fork, open_fds};
use crewkit::ipc::{Connection, RecvError, SendError, pipe};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};

/// A survivor that has seen nothing for this long hangs.
const HANG: Duration = Duration::from_secs(15);
/// Between two system calls, the quick run takes the steps 0 to 3 and then each this many times farther.
const STRIDE: usize = 6;

fn main() -> ExitCode {
    alone::main(&[
        ("send_a_small_message", || both(sending::<Small>)),
        ("send_a_message_of_three_chunks", || both(sending::<Large>)),
        ("send_a_message_with_a_connection_inside", || both(sending_an_end)),
        ("receive_and_answer_a_small_message", || both(echoing::<Small>)),
        ("receive_and_answer_a_message_of_three_chunks", || both(echoing::<Large>)),
        ("receive_and_answer_a_message_with_a_connection_inside", || both(echoing_an_end)),
        ("receive_while_the_sender_is_blocked", || {
            // What this survivor sees depends on how far it came itself, so only the ends of the series are certain.
            series(receiving_from_a_blocked_sender, When::Asleep);
        }),
    ])
}

/// When the survivors use their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// After the kill.
    Later,
    /// They were asleep in `recv` or `send` before the first step.
    Asleep,
}

/// What the survivors saw of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Nothing.
    Before,
    /// All of it.
    After,
}

/// A kill point made ready: the victim, stopped before its first step, and the survivors' part.
struct Stage {
    victim: Child,
    judge: Judge,
}

type Judge = Box<dyn FnOnce() -> Outcome>;

/// What was sent in a case, and how.
trait Cargo {
    fn send(end: &Connection<Message, Message>) -> Result<(), SendError>;
    /// Receives a message, as the victim.
    fn take(end: &Connection<Message, Message>);
    /// Receives a message and checks that it is whole.
    fn recv(end: &Connection<Message, Message>) -> Result<(), RecvError>;
}

type Message = (u32, String, Option<Box<Link>>);

/// An end inside a message.
type Link = Connection<u32, u32>;

struct Small;

impl Cargo for Small {
    fn send(end: &Connection<Message, Message>) -> Result<(), SendError> {
        end.send(&(7, "small".to_owned(), None))
    }

    fn take(end: &Connection<Message, Message>) {
        drop(end.recv().unwrap());
    }

    fn recv(end: &Connection<Message, Message>) -> Result<(), RecvError> {
        let (number, text, link) = end.recv_timeout(HANG)?;
        assert!((number, text.as_str(), link.is_none()) == (7, "small", true), "a torn message");
        Ok(())
    }
}

struct Large;

static LARGE: [u8; (2 << 16) + 100] = [0xA5; (2 << 16) + 100];

impl Cargo for Large {
    fn send(end: &Connection<Message, Message>) -> Result<(), SendError> {
        end.send_bytes(&LARGE)
    }

    fn take(end: &Connection<Message, Message>) {
        drop(end.recv_bytes().unwrap());
    }

    fn recv(end: &Connection<Message, Message>) -> Result<(), RecvError> {
        let bytes = end.recv_bytes_timeout(HANG)?;
        assert!(bytes.len() == LARGE.len() && bytes.iter().all(|&byte| byte == 0xA5), "a torn message");
        Ok(())
    }
}

/// The victim sends; the survivor receives.
fn sending<C: Cargo>(when: When) -> Stage {
    let (end, victim) = victim(|end| move || C::send(&end).unwrap());
    Stage { victim, judge: survivor(when, end, |end| seen::<C>(end)) }
}

/// The survivor has sent; the victim receives that and sends the same.
fn echoing<C: Cargo>(when: When) -> Stage {
    let (end, victim) = victim(|end| {
        move || {
            C::take(&end);
            C::send(&end).unwrap();
        }
    });
    C::send(&end).unwrap();
    Stage { victim, judge: survivor(when, end, |end| seen::<C>(end)) }
}

/// A message whole and then the end, or only the end.
fn seen<C: Cargo>(end: &Connection<Message, Message>) -> Outcome {
    let outcome = match C::recv(end) {
        Ok(()) => Outcome::After,
        Err(RecvError::Closed) => return Outcome::Before,
        Err(error) => panic!("neither a message nor the end: {error}"),
    };
    assert!(matches!(C::recv(end), Err(RecvError::Closed)), "the message came twice, or its sender's end was missed");
    assert!(matches!(C::send(end), Err(SendError::Closed)));
    outcome
}

/// The victim sends the end of another connection. Two survivors: the one who is to get it, and its other end's owner.
fn sending_an_end(when: When) -> Stage {
    let (link, other) = pipe::<u32, u32>().unwrap();
    let (end, victim) = victim(move |end| {
        let message = an_end(adopt(link));
        move || end.send(&message).unwrap()
    });
    Stage { victim, judge: two_survivors(when, end, other) }
}

/// The survivor has sent the end of another connection; the victim receives it and sends it back.
fn echoing_an_end(when: When) -> Stage {
    let (end, victim) = victim(|end| move || end.send(&end.recv().unwrap()).unwrap());
    let (link, other) = pipe::<u32, u32>().unwrap();
    end.send(&an_end(link)).unwrap();
    Stage { victim, judge: two_survivors(when, end, other) }
}

fn an_end(link: Link) -> Message {
    (8, "with an end".to_owned(), Some(Box::new(link)))
}

fn two_survivors(when: When, end: Connection<Message, Message>, other: Link) -> Judge {
    let getter = survivor(when, end, |end| match end.recv_timeout(HANG) {
        Ok((8, text, Some(link))) if text == "with an end" => {
            link.send(&5).unwrap();
            assert!(matches!(end.recv_timeout(HANG), Err(RecvError::Closed)));
            Outcome::After
        }
        Err(RecvError::Closed) => Outcome::Before,
        other => panic!("neither a message nor the end: {other:?}"),
    });
    let owner = survivor(when, other, |other| match other.recv_timeout(HANG) {
        Ok(5) => {
            assert!(matches!(other.recv_timeout(HANG), Err(RecvError::Closed)));
            Outcome::After
        }
        Err(RecvError::Closed) => Outcome::Before,
        other => panic!("neither a message nor the end: {other:?}"),
    });
    Box::new(move || {
        let (got, heard) = (getter(), owner());
        assert_eq!(got, heard, "the two survivors disagree");
        got
    })
}

/// The survivor sends more than the socket holds; the victim receives.
fn receiving_from_a_blocked_sender(when: When) -> Stage {
    static HUGE: [u8; 512 << 10] = [1; 512 << 10];
    let (end, victim) = victim(|end| move || drop(end.recv_bytes().unwrap()));
    let judge = survivor(when, end, |end| {
        let outcome = match end.send_bytes_timeout(&HUGE, HANG) {
            Ok(()) => Outcome::After,
            Err(SendError::Closed) => Outcome::Before,
            Err(error) => panic!("neither sent nor the end: {error}"),
        };
        assert!(matches!(end.recv_timeout(HANG), Err(RecvError::Closed)));
        outcome
    });
    Stage { victim, judge }
}

/// Forks the process to be killed: traced, stopped before its operation, and the only one with its end.
fn victim<O: FnOnce()>(
    prepare: impl FnOnce(Connection<Message, Message>) -> O,
) -> (Connection<Message, Message>, Child) {
    let (end, victim) = alone::peer(|end| {
        let operation = prepare(end);
        ptrace::traceme().unwrap();
        raise(Signal::SIGSTOP).unwrap();
        operation();
    });
    assert!(matches!(waitpid(victim.pid(), None), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))));
    ptrace::setoptions(victim.pid(), ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD)
        .unwrap();
    (end, victim)
}

/// One that goes on: this process later, or another that is asleep on its end when this returns.
fn survivor<S: 'static, R: 'static>(
    when: When,
    end: Connection<S, R>,
    judge: impl FnOnce(&Connection<S, R>) -> Outcome + 'static,
) -> Judge {
    if when == When::Later {
        return Box::new(move || judge(&end));
    }
    let asleep = fork(move || match judge(&adopt(end)) {
        Outcome::Before => BEFORE,
        Outcome::After => AFTER,
    });
    await_sleep(&asleep);
    Box::new(move || match asleep.exit_code() {
        BEFORE => Outcome::Before,
        AFTER => Outcome::After,
        code => panic!("the sleeping survivor failed: exit code {code}"),
    })
}

/// Waits until the child sleeps in a system call.
fn await_sleep(child: &Child) {
    let begin = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        match stat.rsplit(") ").next().and_then(|fields| fields.chars().next()) {
            Some('S') => return,
            Some('Z') => panic!("the child has ended"),
            _ => assert!(begin.elapsed() < HANG, "the child does not sleep: {stat}"),
        }
        std::thread::yield_now();
    }
}

const BEFORE: i32 = 10;
const AFTER: i32 = 11;

/// Both kinds of survivors. What they see is decided by the victim's steps alone: once seen, always seen.
fn both(stage: fn(When) -> Stage) {
    for when in [When::Later, When::Asleep] {
        let outcomes = series(stage, when);
        let first = outcomes.iter().position(|(_, outcome)| *outcome == Outcome::After).unwrap();
        let late = outcomes[first..].iter().find(|(_, outcome)| *outcome == Outcome::Before);
        assert_eq!(late, None, "seen by the survivors at an earlier kill point, and not at this one");
    }
}

/// Where the victim is killed: at this stop (see [`hop`]), and this many single steps behind it.
type Point = (usize, usize);

/// All kill points of one operation with one kind of survivors.
fn series(stage: fn(When) -> Stage, when: When) -> Vec<(Point, Outcome)> {
    let everything = std::env::var("CREWKIT_KILL_POINTS").is_ok_and(|value| value == "all");
    if everything {
        nix::unistd::alarm::cancel();
    }
    let fds = open_fds();
    let mut outcomes: Vec<(Point, Outcome)> = Vec::new();
    let mut stop = 0;
    let mut ended = false;
    while !ended {
        let mut steps = 0;
        loop {
            let Stage { victim, judge } = stage(when);
            let reached = kill_at(victim, (stop, steps));
            let (taken, next) = reached.unwrap_or((0, Next::Ended));
            outcomes.push(((stop, taken), judge()));
            assert_eq!(open_fds(), fds, "a descriptor is left over at kill point {:?}", (stop, taken));
            ended = next == Next::Ended && taken == 0;
            // Entering a system call is one point: it begins only after that. Elsewhere go on up to the next one.
            if next != Next::Instruction || stop % 2 == 1 {
                break;
            }
            steps = if everything || steps < 3 { steps + 1 } else { steps * STRIDE };
        }
        stop += 1;
    }
    outcomes.dedup_by_key(|(point, _)| *point);
    let before = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Before).count();
    let after = outcomes.len() - before;
    println!("  {when:?}: {} kill points, {} system calls; before {before}, after {after}", outcomes.len(), stop / 2);
    assert!(before > 0 && after > 0);
    outcomes
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
/// behind the stop; `None` if the victim did not come to the stop.
fn kill_at(victim: Child, (stop, steps): Point) -> Option<(usize, Next)> {
    for _ in 0..stop {
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

/// On to the next stop: before a system call at odd stops, after it at even ones. False when the victim has ended.
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
