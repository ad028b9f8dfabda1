//! A client that speaks HTTP/1.1 by hand, and many of them as a load whose every outcome is told apart.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::server::LONG;

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first line of a probe's answer.
    pub(crate) fn pid(&self) -> u32 {
        self.text().lines().next().and_then(|line| line.parse().ok()).expect("a pid")
    }
}

impl Client {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self::connect(addr).expect("a connection")
    }

    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// Sends a request for `path` and reads the answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.answer()
    }

    /// The next answer, with its body.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    /// The next answer, which has no body whatever its head says (to HEAD, or 100).
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// Whether anything of an answer has arrived when this fails: see [`Broken`].
    pub(crate) fn try_answer(&mut self, with_body: bool) -> Result<Answer, (Broken, io::Error)> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end - 4]).into_owned();
        let mut answer = Answer { status: 0, head, body: Vec::new() };
        answer.status = answer.head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status line");
        let len = match answer.field("content-length") {
            Some(len) if with_body => len.parse().expect("a length"),
            _ => 0,
        };
        while self.buffer.len() < end + len {
            self.more()?;
        }
        answer.body = self.buffer[end..end + len].to_vec();
        self.buffer.drain(..end + len);
        Ok(answer)
    }

    /// Takes so many bytes of a body.
    pub(crate) fn skip(&mut self, count: u64) {
        let mut bytes = vec![0; 1 << 16];
        let buffered = self.buffer.len().min(usize::try_from(count).expect("a length"));
        self.buffer.drain(..buffered);
        let mut left = usize::try_from(count).expect("a length") - buffered;
        while left > 0 {
            let most = left.min(bytes.len());
            let got = self.stream.read(&mut bytes[..most]).expect("the rest");
            assert!(got > 0, "{left} bytes are missing");
            left -= got;
        }
    }

    fn more(&mut self) -> Result<(), (Broken, io::Error)> {
        let mut bytes = [0; 16 * 1024];
        let broken = if self.buffer.is_empty() { Broken::Before } else { Broken::Inside };
        match self.stream.read(&mut bytes) {
            Ok(0) => Err((broken, io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) => Err((broken, error)),
        }
    }

    /// Reads until the server closes, in peace and without another byte.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut rest).expect("an end, not a reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

/// When an answer did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing of it had arrived.
    Before,
    /// Some of it had arrived.
    Inside,
}

/// What became of one request of the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody listens.
    Refused,
    /// The connection could not be made otherwise.
    Unconnected(io::ErrorKind),
    /// It could not be sent, or its answer did not come, on a connection that was last served by this pid.
    Broken { when: Broken, error: io::ErrorKind, worker: Option<u32> },
    /// The answer was not the right one.
    Wrong(u16),
}

/// What a load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) failures: Vec<Fate>,
}

impl Tally {
    pub(crate) fn others(&self) -> Vec<&Fate> {
        self.failures.iter().filter(|fate| **fate != Fate::Refused).collect()
    }
}

/// Clients in threads that ask for `/pid` as fast as they are answered: half of them on connections that they keep,
/// half on a connection for each request.
pub(crate) struct Load {
    course: Arc<Course>,
    threads: Vec<JoinHandle<Tally>>,
}

/// Of all clients together.
#[derive(Default)]
struct Course {
    stop: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Self {
        let course = Arc::new(Course::default());
        let threads = (0..clients).map(|number| {
            let course = Arc::clone(&course);
            std::thread::spawn(move || client(addr, number % 2 == 0, &course))
        });
        let threads = threads.collect();
        Self { course, threads }
    }

    /// Waits until so many more requests have been answered.
    pub(crate) fn wait_for(&self, requests: u64) {
        let answered = || self.course.answered.load(Ordering::Relaxed);
        let goal = answered() + requests;
        super::server::wait_until(|| answered() >= goal, "requests answered");
    }

    /// Waits until somebody found nobody listening.
    pub(crate) fn wait_for_refusal(&self) {
        super::server::wait_until(|| self.course.refused.load(Ordering::Relaxed) > 0, "a connection refused");
    }

    pub(crate) fn finish(self) -> Tally {
        self.course.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for thread in self.threads {
            let tally = thread.join().expect("a client");
            sum.ok += tally.ok;
            sum.failures.extend(tally.failures);
        }
        sum
    }
}

fn client(addr: SocketAddr, keep: bool, Course { stop, answered, refused }: &Course) -> Tally {
    let mut tally = Tally::default();
    let request: &[u8] = if keep {
        b"GET /pid HTTP/1.1\r\nHost: test\r\n\r\n"
    } else {
        b"GET /pid HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    };
    let mut kept: Option<(Client, Option<u32>)> = None;
    while !stop.load(Ordering::Relaxed) {
        let (mut connection, worker) = match kept.take() {
            Some(kept) => kept,
            None => match Client::connect(addr) {
                Ok(connection) => (connection, None),
                Err(error) => {
                    tally.failures.push(match error.kind() {
                        io::ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            Fate::Refused
                        }
                        kind => Fate::Unconnected(kind),
                    });
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
            },
        };
        let sent = connection.stream.write_all(request).map_err(|error| (Broken::Before, error));
        match sent.and_then(|()| connection.try_answer(true)) {
            Ok(answer) if answer.status == 200 => {
                tally.ok += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                if keep && !answer.closes() {
                    let pid = answer.pid();
                    kept = Some((connection, Some(pid)));
                }
            }
            Ok(answer) => tally.failures.push(Fate::Wrong(answer.status)),
            Err((when, error)) => tally.failures.push(Fate::Broken { when, error: error.kind(), worker }),
        }
    }
    tally
}
