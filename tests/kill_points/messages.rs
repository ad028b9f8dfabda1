//! Messages: their sender or receiver is killed.

use crewkit::ipc::{Connection, RecvError, SendError, pipe};

use crate::alone::{self, Child, adopt, fork};
use crate::points::{AFTER, BEFORE, HANG, Judge, Outcome, Stage, When, await_stop, stop_before};
use crate::sleeping::until_asleep;

/// What was sent in a case, and how.
pub(crate) trait Cargo {
    fn send(end: &Connection<Message, Message>) -> Result<(), SendError>;
    /// Receives a message, as the victim.
    fn take(end: &Connection<Message, Message>);
    /// Receives a message and checks that it is whole.
    fn recv(end: &Connection<Message, Message>) -> Result<(), RecvError>;
}

pub(crate) type Message = (u32, String, Option<Box<Link>>);

/// An end inside a message.
pub(crate) type Link = Connection<u32, u32>;

pub(crate) struct Small;

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

pub(crate) struct Large;

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
pub(crate) fn sending<C: Cargo>(when: When) -> Stage {
    let (end, victim) = victim(|end| move || C::send(&end).unwrap());
    Stage { victim, judge: survivor(when, end, |end| seen::<C>(end)) }
}

/// The survivor has sent; the victim receives that and sends the same.
pub(crate) fn echoing<C: Cargo>(when: When) -> Stage {
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
pub(crate) fn sending_an_end(when: When) -> Stage {
    let (link, other) = pipe::<u32, u32>().unwrap();
    let (end, victim) = victim(move |end| {
        let message = an_end(adopt(link));
        move || end.send(&message).unwrap()
    });
    Stage { victim, judge: two_survivors(when, end, other) }
}

/// The survivor has sent the end of another connection; the victim receives it and sends it back.
pub(crate) fn echoing_an_end(when: When) -> Stage {
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
pub(crate) fn receiving_from_a_blocked_sender(when: When) -> Stage {
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
    let (end, victim) = alone::peer(|end| stop_before(prepare(end)));
    (end, await_stop(victim))
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
    until_asleep(&asleep);
    Box::new(move || match asleep.exit_code() {
        BEFORE => Outcome::Before,
        AFTER => Outcome::After,
        code => panic!("the sleeping survivor failed: exit code {code}"),
    })
}
