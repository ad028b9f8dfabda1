//! Messages: their sender or receiver is killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use crewkit::ipc::{Auth, Client, Connection, Key, Listener, RecvError, SendError, pipe};

use nix::unistd::Pid;

use crate::alone::{self, Child, adopt, fork};
use crate::points::{AFTER, BEFORE, HANG, Judge, Outcome, Stage, When, await_stop, stop_before};
use crate::sleeping::{until_asleep, until_pid_sleeps};

/// How many messages went each way before: none yet;
pub(crate) const FRESH: usize = 0;
/// so many that the next one is accompanied by the offer of a ring;
pub(crate) const OFFERED: usize = 32;
/// so many that the next one is the first by the ring;
pub(crate) const SWITCHED: usize = 33;
/// or they have gone by the ring for a while.
pub(crate) const RINGED: usize = 40;

/// What was sent in a case, and how.
pub(crate) trait Cargo: 'static {
    fn send(end: &End) -> Result<(), SendError>;
    /// Receives a message, as the victim.
    fn take(end: &End);
    /// Receives a message and checks that it is whole.
    fn recv(end: &End) -> Result<(), RecvError>;
}

type End = Connection<Message, Message>;

pub(crate) type Message = (u32, String, Option<Box<Link>>);

/// An end inside a message.
pub(crate) type Link = Connection<u32, u32>;

pub(crate) struct Small;

impl Cargo for Small {
    fn send(end: &End) -> Result<(), SendError> {
        end.send(&(7, "small".to_owned(), None))
    }

    fn take(end: &End) {
        drop(end.recv().unwrap());
    }

    fn recv(end: &End) -> Result<(), RecvError> {
        let (number, text, link) = end.recv_timeout(HANG)?;
        assert!((number, text.as_str(), link.is_none()) == (7, "small", true), "a torn message");
        Ok(())
    }
}

pub(crate) struct Large;

static LARGE: [u8; (2 << 16) + 100] = [0xA5; (2 << 16) + 100];

impl Cargo for Large {
    fn send(end: &End) -> Result<(), SendError> {
        end.send_bytes(&LARGE)
    }

    fn take(end: &End) {
        drop(end.recv_bytes().unwrap());
    }

    fn recv(end: &End) -> Result<(), RecvError> {
        let bytes = end.recv_bytes_timeout(HANG)?;
        assert!(bytes.len() == LARGE.len() && bytes.iter().all(|&byte| byte == 0xA5), "a torn message");
        Ok(())
    }
}

/// The victim sends; the survivor receives.
pub(crate) fn sending<C: Cargo, const WARM: usize>(when: When) -> Stage {
    stage(when, WARM, |end| move || C::send(&end).unwrap(), |_| {}, seen::<C>)
}

/// The survivor has sent; the victim receives that and sends the same.
pub(crate) fn echoing<C: Cargo, const WARM: usize>(when: When) -> Stage {
    let operation = |end| {
        move || {
            C::take(&end);
            C::send(&end).unwrap();
        }
    };
    stage(when, WARM, operation, |end| C::send(end).unwrap(), seen::<C>)
}

/// [`sending`] over TCP.
pub(crate) fn sending_over_tcp<C: Cargo>(when: When) -> Stage {
    stage_over(tcp_peer, when, 0, |end| move || C::send(&end).unwrap(), |_| {}, seen_over_tcp::<C>)
}

/// [`echoing`] over TCP.
pub(crate) fn echoing_over_tcp<C: Cargo>(when: When) -> Stage {
    let operation = |end| {
        move || {
            C::take(&end);
            C::send(&end).unwrap();
        }
    };
    stage_over(tcp_peer, when, 0, operation, |end| C::send(end).unwrap(), seen_over_tcp::<C>)
}

/// A child that has the other end of a connection over TCP.
fn tcp_peer(body: Box<dyn FnOnce(End) + '_>) -> (End, Child) {
    let auth = Auth::Key(Key::new("of both"));
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), auth.clone()).unwrap();
    let child = fork(|| body(Client::connect_timeout(listener.address(), auth, HANG).unwrap()));
    (listener.accept_timeout(HANG).unwrap(), child)
}

/// As [`seen`]; but that nobody reads any more, TCP says after the first message that finds nobody.
fn seen_over_tcp<C: Cargo>(end: &End) -> Outcome {
    let outcome = match C::recv(end) {
        Ok(()) => Outcome::After,
        Err(RecvError::Closed) => Outcome::Before,
        Err(error) => panic!("neither a message nor the end: {error}"),
    };
    assert!(matches!(C::recv(end), Err(RecvError::Closed)), "the message came twice, or its sender's end was missed");
    let told = (0..100).find_map(|_| C::send(end).err());
    assert!(matches!(told, Some(SendError::Closed)), "{told:?}");
    outcome
}

/// A message whole and then the end, or only the end.
fn seen<C: Cargo>(end: &End) -> Outcome {
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
pub(crate) fn sending_an_end<const WARM: usize>(when: When) -> Stage {
    let (link, other) = pipe::<u32, u32>().unwrap();
    let operation = |end: End| {
        let message = an_end(adopt(link));
        move || end.send(&message).unwrap()
    };
    with_the_others_owner(stage(when, WARM, operation, |_| {}, got_an_end), when, other)
}

/// The survivor has sent the end of another connection; the victim receives it and sends it back.
pub(crate) fn echoing_an_end<const WARM: usize>(when: When) -> Stage {
    let (link, other) = pipe::<u32, u32>().unwrap();
    let operation = |end: End| move || end.send(&end.recv().unwrap()).unwrap();
    let stage = stage(when, WARM, operation, move |end| end.send(&an_end(adopt(link))).unwrap(), got_an_end);
    with_the_others_owner(stage, when, other)
}

fn an_end(link: Link) -> Message {
    (8, "with an end".to_owned(), Some(Box::new(link)))
}

fn got_an_end(end: &End) -> Outcome {
    match end.recv_timeout(HANG) {
        Ok((8, text, Some(link))) if text == "with an end" => {
            link.send(&5).unwrap();
            assert!(matches!(end.recv_timeout(HANG), Err(RecvError::Closed)));
            Outcome::After
        }
        Err(RecvError::Closed) => Outcome::Before,
        other => panic!("neither a message nor the end: {other:?}"),
    }
}

fn with_the_others_owner(Stage { victim, judge: getter }: Stage, when: When, other: Link) -> Stage {
    let judge = |other: &Link| match other.recv_timeout(HANG) {
        Ok(5) => {
            assert!(matches!(other.recv_timeout(HANG), Err(RecvError::Closed)));
            Outcome::After
        }
        Err(RecvError::Closed) => Outcome::Before,
        other => panic!("neither a message nor the end: {other:?}"),
    };
    let owner: Judge = match when {
        When::Later => Box::new(move || judge(&other)),
        When::Asleep => asleep(move || judge(&adopt(other))),
    };
    let judge = Box::new(move || {
        let (got, heard) = (getter(), owner());
        assert_eq!(got, heard, "the two survivors disagree");
        got
    });
    Stage { victim, judge }
}

/// The survivor sends more than the socket holds, or the ring; the victim receives.
pub(crate) fn receiving_from_a_blocked_sender<const WARM: usize>(when: When) -> Stage {
    static HUGE: [u8; 512 << 10] = [1; 512 << 10];
    let operation = |end: End| move || drop(end.recv_bytes().unwrap());
    let judge = |end: &End| {
        let outcome = match end.send_bytes_timeout(&HUGE, HANG) {
            Ok(()) => Outcome::After,
            Err(SendError::Closed) => Outcome::Before,
            Err(error) => panic!("neither sent nor the end: {error}"),
        };
        assert!(matches!(end.recv_timeout(HANG), Err(RecvError::Closed)));
        outcome
    };
    stage(when, WARM, operation, |_| {}, judge)
}

/// Forks the process to be killed: traced, stopped before its operation, and the only one with its end. The survivor is this
/// process, later, or another that is asleep on its end when this returns. Before that `warm` messages went each way,
/// and then the survivor has done `first`.
fn stage<O: FnOnce()>(
    when: When,
    warm: usize,
    operation: impl FnOnce(End) -> O,
    first: impl FnOnce(&End),
    judge: impl FnOnce(&End) -> Outcome + 'static,
) -> Stage {
    stage_over(|body| alone::peer(body), when, warm, operation, first, judge)
}

/// The same, of a connection that is made in any way.
fn stage_over<O: FnOnce()>(
    peer: impl FnOnce(Box<dyn FnOnce(End) + '_>) -> (End, Child),
    when: When,
    warm: usize,
    operation: impl FnOnce(End) -> O,
    first: impl FnOnce(&End),
    judge: impl FnOnce(&End) -> Outcome + 'static,
) -> Stage {
    let (end, victim) = peer(Box::new(|end: End| {
        for _ in 0..warm {
            end.send_bytes(&end.recv_bytes().unwrap()).unwrap();
        }
        stop_before(operation(end));
    }));
    let pid = victim.pid();
    let begin = |end: &End| {
        warm_up(end, warm, pid);
        first(end);
    };
    if when == When::Later {
        begin(&end);
        return Stage { victim: await_ready(victim), judge: Box::new(move || judge(&end)) };
    }
    let sleeper = fork(|| {
        let end = adopt(end);
        begin(&end);
        code(judge(&end))
    });
    let victim = await_ready(victim);
    Stage { victim, judge: await_sleep(sleeper) }
}

/// A sender looks whether anybody is there if its last look was some 20 µs ago. So that its steps are the same each time,
/// it was.
fn await_ready(victim: Child) -> Child {
    let victim = await_stop(victim);
    thread::sleep(Duration::from_millis(1));
    victim
}

fn warm_up(end: &End, messages: usize, victim: Pid) {
    for _ in 0..messages {
        // So that the victim is woken for each and has heard all that it was told: its steps are the same each time.
        until_pid_sleeps(victim);
        end.send_bytes(b"warm").unwrap();
        assert_eq!(end.recv_bytes_timeout(HANG).unwrap(), b"warm");
    }
}

/// One that is asleep when this returns.
fn asleep(judge: impl FnOnce() -> Outcome) -> Judge {
    await_sleep(fork(|| code(judge())))
}

fn await_sleep(sleeper: Child) -> Judge {
    until_asleep(&sleeper);
    Box::new(move || match sleeper.exit_code() {
        BEFORE => Outcome::Before,
        AFTER => Outcome::After,
        code => panic!("the sleeping survivor failed: exit code {code}"),
    })
}

fn code(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Before => BEFORE,
        Outcome::After => AFTER,
    }
}
