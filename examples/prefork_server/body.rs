//! The body of a request: so many bytes, or chunks until the last one. Both are read under the request's deadline and
//! up to a limit.

use std::io::{self, BufRead, Read, Write};

use crewkit::prefork::Conn;

use crate::answer::Refusal;
use crate::http::{Framing, Head, LONGEST_HEAD};

/// The longest line before a chunk: the size, and extensions that nobody uses.
const LONGEST_SIZE_LINE: usize = 256;

/// Reads the whole body; at most `most` bytes.
pub(crate) fn read(conn: &mut Conn, head: &Head, most: u64) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    match head.framing {
        Framing::None => {}
        // Refused by the announcement alone, before a byte of it is stored.
        Framing::Length(length) if length > most => return Err(Refusal::BodyTooLarge),
        Framing::Length(length) => {
            invite(conn, head)?;
            take(conn, length, &mut body)?;
        }
        Framing::Chunked => {
            invite(conn, head)?;
            while let Some(size) = chunk_size(conn)? {
                if (body.len() as u64).saturating_add(size) > most {
                    return Err(Refusal::BodyTooLarge);
                }
                take(conn, size, &mut body)?;
                if !line(conn, 0)?.is_empty() {
                    return Err(Refusal::Malformed);
                }
            }
            skip_trailers(conn)?;
        }
    }
    Ok(body)
}

/// Says the word that a client waits for before it sends the body, unless it did not wait.
fn invite(conn: &mut Conn, head: &Head) -> Result<(), Refusal> {
    if head.expects_continue && conn.buffer().is_empty() {
        conn.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|error| refusal(&error))?;
    }
    Ok(())
}

fn take(conn: &mut Conn, count: u64, body: &mut Vec<u8>) -> Result<(), Refusal> {
    // Grows with what arrives, not by what was announced.
    let taken = conn.take(count).read_to_end(body).map_err(|error| refusal(&error))?;
    if taken as u64 == count { Ok(()) } else { Err(Refusal::Malformed) }
}

/// The size of the next chunk; `None` for the last one.
fn chunk_size(conn: &mut Conn) -> Result<Option<u64>, Refusal> {
    let line = line(conn, LONGEST_SIZE_LINE)?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    // At most 15 digits, so that no sum overflows.
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Refusal::Malformed);
    }
    let size = digits.iter().fold(0, |size, &digit| size * 16 + u64::from(hex(digit)));
    Ok(Some(size).filter(|&size| size > 0))
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// Trailers mean nothing here, but they must end.
fn skip_trailers(conn: &mut Conn) -> Result<(), Refusal> {
    let mut room = LONGEST_HEAD;
    loop {
        let trailer = line(conn, room).map_err(|refusal| match refusal {
            Refusal::Malformed => Refusal::HeadTooLarge,
            other => other,
        })?;
        if trailer.is_empty() {
            return Ok(());
        }
        room -= trailer.len();
    }
}

/// One line without its end, which is CR LF and nothing less; of at most `most` bytes.
fn line(conn: &mut Conn, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut line = Vec::new();
    conn.take(most as u64 + 2).read_until(b'\n', &mut line).map_err(|error| refusal(&error))?;
    let text = line.strip_suffix(b"\r\n").ok_or(Refusal::Malformed)?;
    // A carriage return of its own ends a line for some.
    if text.contains(&b'\r') {
        return Err(Refusal::Malformed);
    }
    Ok(text.to_vec())
}

fn refusal(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::TimedOut => Refusal::TimedOut,
        _ => Refusal::Malformed,
    }
}
