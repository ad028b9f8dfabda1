//! Answers: a head, and a body from memory or from a file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crewkit::prefork::{Conn, Outcome};

use crate::http::Head;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    NotFound,
    /// With the methods that would be right.
    Method(&'static [&'static str]),
    TimedOut,
    BodyTooLarge,
    Expectation,
    HeadTooLarge,
    Coding,
    Version,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::Method(_) => "405 Method Not Allowed",
            Self::TimedOut => "408 Request Timeout",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::Expectation => "417 Expectation Failed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Coding => "501 Not Implemented",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// A file, ready to be sent.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) content_type: &'static str,
}

/// What is sent back.
#[derive(Debug)]
pub(crate) struct Answer {
    status: &'static str,
    content_type: &'static str,
    allow: &'static [&'static str],
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<u8>),
    File(File, u64),
}

impl Answer {
    pub(crate) fn text(text: &str) -> Self {
        Self::bytes("text/plain; charset=utf-8", text.to_owned())
    }

    pub(crate) fn bytes(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", content_type, allow: &[], body: Body::Memory(body.into()) }
    }

    pub(crate) fn file(found: Found) -> Self {
        let Found { file, len, content_type } = found;
        Self { status: "200 OK", content_type, allow: &[], body: Body::File(file, len) }
    }

    pub(crate) fn refusal(refusal: Refusal) -> Self {
        let allow = if let Refusal::Method(methods) = refusal { methods } else { &[] };
        Self { status: refusal.status(), allow, ..Self::text(&format!("{}\n", refusal.status())) }
    }

    /// Sends it in answer to `head`. `keep_alive`: whether the connection is kept; the answer says so.
    pub(crate) fn send(self, conn: &mut Conn, head: &Head, keep_alive: bool) -> Outcome {
        let sent = self.write(conn, Some(head), keep_alive);
        if sent.is_ok() && keep_alive { Outcome::KeepAlive } else { Outcome::Close }
    }

    fn write(self, conn: &mut Conn, head: Option<&Head>, keep_alive: bool) -> io::Result<()> {
        let len = match &self.body {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::File(_, len) => *len,
        };
        let mut text = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(text, "HTTP/1.1 {}\r\nDate: {}\r\n", self.status, date(SystemTime::now()));
        let _ = write!(text, "Content-Type: {}\r\nContent-Length: {len}\r\n", self.content_type);
        if !self.allow.is_empty() {
            let _ = write!(text, "Allow: {}\r\n", self.allow.join(", "));
        }
        match head {
            Some(head) if keep_alive && !head.is_1_1 => text.push_str("Connection: keep-alive\r\n"),
            _ if !keep_alive => text.push_str("Connection: close\r\n"),
            _ => {}
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        let wants_body = head.is_none_or(|head| head.method != "HEAD");
        match self.body {
            Body::Memory(body) if wants_body => {
                bytes.extend_from_slice(&body);
                conn.write_all(&bytes)
            }
            Body::File(file, len) if wants_body => {
                conn.write_all(&bytes)?;
                let copied = io::copy(&mut file.take(len), conn)?;
                // The file has become shorter. The client learns it from the end of the connection.
                if copied == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Body::Memory(_) | Body::File(..) => conn.write_all(&bytes),
        }
    }
}

/// Answers what is no request, and closes: where the next request begins is anybody's guess.
pub(crate) fn refuse(conn: &mut Conn, refusal: Refusal) -> Outcome {
    // The deadline may have passed; the answer still gets a moment.
    conn.set_deadline(std::time::Instant::now().checked_add(Duration::from_secs(1)));
    // A client that does not take it is closed all the same.
    let _ = Answer::refusal(refusal).write(conn, None, false);
    Outcome::Close
}

/// A date as HTTP writes it, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days: years begin in March, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let january_based = (month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(january_based < 2);
    let name = |names: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7).unwrap_or("?"),
        name(&MONTHS, january_based).unwrap_or("?"),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
