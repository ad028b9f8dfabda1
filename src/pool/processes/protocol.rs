//! What owner and worker say to each other. A message is a body, so that a large argument or result is never moved to
//! make room before it, then a trailer that says what the body is, then the trailer's length in two bytes.
//!
//! A body of one item is that item's bytes. A body of several is, for each: its length (4 bytes), for results its
//! [`Ending`] (1 byte), its bytes.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::scheduler::Seq;
use crate::process::function::Function;

/// Owner to worker: call `function` with each item of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) function: Function,
    pub(super) seq: Seq,
    pub(super) lane: u8,
    pub(super) items: u32,
    /// 1 for the first try.
    pub(super) attempt: u32,
}

/// Worker to owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// Initialised, and waiting for offers.
    Ready,
    /// The initializer failed; the worker ends.
    NotReady(String),
    /// The body is the next item's result.
    Result { seq: Seq, ending: Ending },
    /// The body is the results of the next `count` items.
    Results { seq: Seq, count: u32 },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// It returned; the bytes are its encoded result.
    Returned,
    /// It panicked; the bytes are the encoded report.
    Panicked,
    /// The argument could not be decoded; the bytes say why.
    BadArgument,
    /// The result could not be encoded; the bytes say why.
    BadResult,
}

impl Ending {
    /// As a number below 256.
    pub(super) fn code(self) -> u32 {
        self as u32
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        [Self::Returned, Self::Panicked, Self::BadArgument, Self::BadResult].into_iter().find(|it| it.code() == code)
    }
}

/// A message that does not follow the rules above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message that is not the pool's")
    }
}

/// Ends a body with its trailer.
pub(super) fn seal(message: &mut Vec<u8>, trailer: &impl Serialize) -> Result<(), postcard::Error> {
    let body = message.len();
    *message = postcard::to_extend(trailer, std::mem::take(message))?;
    let length = u16::try_from(message.len() - body).map_err(|_| postcard::Error::SerializeBufferFull)?;
    message.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads the trailer and cuts it off: what is left is the body.
pub(super) fn unseal<T: DeserializeOwned>(message: &mut Vec<u8>) -> Result<T, Nonsense> {
    let (rest, length) = message.split_last_chunk::<2>().ok_or(Nonsense)?;
    let body = rest.len().checked_sub(usize::from(u16::from_le_bytes(*length))).ok_or(Nonsense)?;
    let trailer = postcard::from_bytes(&rest[body..]).map_err(|_| Nonsense)?;
    message.truncate(body);
    Ok(trailer)
}

/// Appends what `write` writes to a body of several, as an argument; says how long it is.
pub(super) fn push_argument<T, E>(
    body: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
) -> Result<(usize, T), E> {
    let start = body.len() + 4;
    body.extend_from_slice(&[0; 4]);
    let written = write(body)?;
    let argument = &body[start..];
    let (length, field) = (argument.len(), length_of(argument).to_le_bytes());
    body[start - 4..start].copy_from_slice(&field);
    Ok((length, written))
}

/// Appends a result to a body of several.
pub(super) fn push_result(body: &mut Vec<u8>, ending: Ending, bytes: &[u8]) {
    body.extend_from_slice(&length_of(bytes).to_le_bytes());
    body.extend_from_slice(&ending.code().to_le_bytes()[..1]);
    body.extend_from_slice(bytes);
}

/// Longer items never share a message: whoever appends one takes it out again.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Where each argument of a body of several is; ends early where the body does not keep to the rules.
pub(super) fn arguments(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*body.get(at..)?.first_chunk()?) as usize;
        let start = at + 4;
        at = start.checked_add(length).filter(|&end| end <= body.len())?;
        Some(start..at)
    })
}

/// The results in a body of several; ends early where the body does not keep to the rules.
pub(super) fn results(body: &[u8]) -> impl Iterator<Item = (Ending, &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (&[a, b, c, d, code], tail) = rest.split_first_chunk()?;
        let (bytes, tail) = tail.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        rest = tail;
        Some((Ending::from_code(u32::from(code))?, bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_comes_off_as_it_went_on_and_leaves_the_body() {
        for body in [&b""[..], b"x", &[7; 100_000]] {
            let mut message = body.to_vec();
            let report = Report::Result { seq: 9, ending: Ending::BadResult };
            seal(&mut message, &report).unwrap();
            assert_eq!(unseal::<Report>(&mut message), Ok(report));
            assert_eq!(message, body);
        }
    }

    #[test]
    fn nonsense_is_an_error_and_changes_nothing() {
        let mut long = vec![0; 4];
        long.extend_from_slice(&u16::MAX.to_le_bytes());
        for message in [vec![], vec![1], vec![0, 0], vec![0xff, 1, 0], long] {
            let mut copy = message.clone();
            assert_eq!(unseal::<Report>(&mut copy), Err(Nonsense), "{message:?}");
            assert_eq!(copy, message);
        }
    }

    #[test]
    fn several_items_are_found_again_and_a_torn_body_ends_the_list() {
        let mut body = Vec::new();
        let parts: [&[u8]; 3] = [b"one", b"", b"three"];
        for part in parts {
            let pushed = push_argument(&mut body, |body| {
                body.extend_from_slice(part);
                Ok::<_, Nonsense>(())
            });
            assert_eq!(pushed, Ok((part.len(), ())));
        }
        let found: Vec<&[u8]> = arguments(&body).map(|range| &body[range]).collect();
        assert_eq!(found, parts);
        assert_eq!(arguments(&body[..body.len() - 1]).count(), 2);
        assert_eq!(arguments(&body[..2]).count(), 0);

        let mut body = Vec::new();
        push_result(&mut body, Ending::Returned, b"r");
        push_result(&mut body, Ending::Panicked, b"");
        let found: Vec<_> = results(&body).collect();
        assert_eq!(found, [(Ending::Returned, &b"r"[..]), (Ending::Panicked, b"")]);
        body[4] = 99;
        assert_eq!(results(&body).count(), 0);
    }

    #[test]
    fn endings_keep_their_numbers() {
        for code in 0..4 {
            assert_eq!(Ending::from_code(code).map(Ending::code), Some(code));
        }
        assert_eq!(Ending::from_code(4), None);
    }
}
