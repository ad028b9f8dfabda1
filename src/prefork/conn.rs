//! A client's connection, as the service sees it.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::input::Input;
use super::worker::Admission;
use crate::sys::clock::{self, Deadline};
use crate::sys::poll::{self, Readiness};

/// What the service wants done with a connection after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request was answered. The connection waits for the next one without a thread, at most for the keep-alive
    /// timeout. If input is left over (pipelining), the service is called again at once.
    KeepAlive,
    /// The request is not all there. The connection waits without a thread; the service is called again when more has
    /// arrived, or when [`Conn::deadline`] has passed ([`Conn::is_overdue`] is true then). A connection without a
    /// deadline is given the I/O timeout.
    More,
    /// The connection is done: what was written is delivered, then it is closed.
    Close,
}

/// What [`Conn::fill`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fill {
    /// So many bytes were added to the buffer.
    Data(usize),
    /// Nothing has arrived for now: the case for [`Outcome::More`].
    Pending,
    /// The client will send nothing more. What is in the buffer is all there is.
    End,
    /// The buffer holds as much as it may ([`Conn::MAX_BUFFERED`]).
    Full,
}

/// A client's connection: a byte stream with an input buffer and deadlines.
///
/// [`Read`] and [`BufRead`] serve the buffer first. Reading and writing block, at most for the server's I/O timeout per
/// call, and never past [`Conn::deadline`]: then they fail with [`io::ErrorKind::TimedOut`]. A request that is spread
/// over time need not hold a thread: [`Conn::fill`] never blocks, and [`Outcome::More`] gives the thread back.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    peer: SocketAddr,
    input: Input,
    began: Instant,
    in_request: bool,
    /// The client has closed its side.
    ended: bool,
    /// Something was written since the call of the service began.
    answered: bool,
    deadline: Option<Instant>,
    io_timeout: Duration,
    /// Its name in the worker's table of waiting connections.
    pub(super) key: Option<usize>,
    /// Counts it as open for as long as it is.
    _admission: Admission,
}

impl Conn {
    /// The most input that [`Conn::fill`] keeps in the buffer, in bytes.
    pub const MAX_BUFFERED: usize = Input::MAX;

    pub(super) fn new(stream: TcpStream, peer: SocketAddr, io_timeout: Duration, admission: Admission) -> Self {
        Self {
            stream,
            peer,
            input: Input::default(),
            began: Instant::now(),
            in_request: false,
            ended: false,
            answered: false,
            deadline: None,
            io_timeout,
            key: None,
            _admission: admission,
        }
    }

    /// The client's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The input that has arrived and was not consumed. Never blocks; [`BufRead::consume`] takes from it.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.input.bytes()
    }

    /// Adds to the buffer what has arrived since.
    ///
    /// # Errors
    ///
    /// Those of read(2), such as [`io::ErrorKind::ConnectionReset`].
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn fill(&mut self) -> io::Result<Fill> {
        loop {
            let Some(room) = self.input.room() else { return Ok(Fill::Full) };
            match self.stream.read(room) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(Fill::End);
                }
                Ok(count) => {
                    self.input.filled(count);
                    return Ok(Fill::Data(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fill::Pending),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// When the request in hand began: when the service was first called for it.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The moment at which reading, writing and waiting for this request end. None at the beginning of each request.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sets the moment at which reading, writing and waiting for this request end. It is absolute: a client that sends
    /// a byte now and then does not move it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// A call of the service begins.
    pub(super) fn begin(&mut self) {
        self.answered = false;
        if !self.in_request {
            self.in_request = true;
            self.began = Instant::now();
            self.deadline = None;
        }
    }

    /// Whether the service was called for a request that was not answered yet.
    pub(super) fn is_in_request(&self) -> bool {
        self.in_request
    }

    /// The request was answered.
    pub(super) fn end_request(&mut self) {
        self.in_request = false;
    }

    /// Until when a request that is not all there may wait for the rest; sets a deadline if there is none.
    pub(super) fn patience(&mut self) -> Instant {
        let began = self.began;
        let longest = self.io_timeout;
        *self.deadline.get_or_insert_with(|| clock::later(began, longest))
    }

    /// Whether the last call of the service wrote anything.
    pub(super) fn was_answered(&self) -> bool {
        self.answered
    }

    /// Whether there is any point in waiting for more: not when the client has closed its side, and not when there is
    /// no room for it.
    pub(super) fn may_get_more(&mut self) -> bool {
        !self.ended && self.input.room().is_some()
    }

    /// The buffer's memory, to lend and to take back.
    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// Says to the client that nothing more will be sent. Returns whether the connection can be closed at once, because
    /// the client has closed its side, or is gone.
    pub(super) fn say_goodbye(&mut self) -> bool {
        self.input = Input::default();
        self.stream.shutdown(Shutdown::Write).is_err() || self.discard()
    }

    /// Throws away what has arrived, a bounded amount at a time. Returns whether that was all there will ever be.
    pub(super) fn discard(&mut self) -> bool {
        let mut waste = [0; 4096];
        for _ in 0..16 {
            match self.stream.read(&mut waste) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Does `op` until it no longer has to wait, or the time is up.
    fn patiently<T>(
        &mut self,
        interest: Readiness,
        mut op: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut until = None;
        loop {
            match op(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The clock is read only by those who have to wait.
                    let until = *until.get_or_insert_with(|| {
                        let timeout = Deadline::after(self.io_timeout);
                        match (timeout.instant(), self.deadline) {
                            (Some(timeout), Some(deadline)) => Deadline::at(timeout.min(deadline)),
                            (None, Some(deadline)) => Deadline::at(deadline),
                            (_, None) => timeout,
                        }
                    });
                    if !poll::wait(self.stream.as_fd(), interest, until)?.any() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                result => return result,
            }
        }
    }
}

impl AsFd for Conn {
    /// The socket, which is non-blocking. Input that was read into the buffer already does not make it readable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Read for Conn {
    /// Reads from the buffer, or else from the socket.
    ///
    /// # Blocking
    ///
    /// Until something arrives, the I/O timeout ends or the deadline passes.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffered = self.input.bytes();
        if buffered.is_empty() {
            let count = self.patiently(Readiness::READ, |stream| stream.read(into))?;
            self.ended |= count == 0 && !into.is_empty();
            return Ok(count);
        }
        let count = buffered.len().min(into.len());
        into[..count].copy_from_slice(&buffered[..count]);
        self.input.consume(count);
        Ok(count)
    }
}

impl BufRead for Conn {
    /// The buffer; if it is empty, what arrives next. See [`Read`] for how long that may take.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.input.bytes().is_empty() {
            // The buffer is taken out for the call, because the stream is borrowed too.
            let mut input = std::mem::take(&mut self.input);
            let result = self.patiently(Readiness::READ, |stream| match input.room() {
                Some(room) => stream.read(room),
                None => Ok(0),
            });
            if let Ok(count) = result {
                // An empty buffer has room, so nothing read is the end.
                self.ended |= count == 0;
                input.filled(count);
            }
            self.input = input;
            result?;
        }
        Ok(self.input.bytes())
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }
}

impl Write for Conn {
    /// Writes to the socket, without a buffer.
    ///
    /// # Blocking
    ///
    /// Until the client takes something, the I/O timeout ends or the deadline passes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answered = true;
        self.patiently(Readiness::WRITE, |stream| stream.write(bytes))
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.answered = true;
        self.patiently(Readiness::WRITE, |stream| stream.write_vectored(parts))
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefork::worker::load::tests::load;
    use std::net::TcpListener;

    fn connection(io_timeout: Duration) -> (TcpStream, Conn) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, peer) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        (client, Conn::new(served, peer, io_timeout, load(1, 10).admit()))
    }

    const LATER: Duration = Duration::from_secs(3600);

    #[test]
    fn filling_never_blocks_and_reading_takes_the_buffer_first() {
        let (mut client, mut conn) = connection(LATER);
        assert_eq!(conn.fill().unwrap(), Fill::Pending);
        client.write_all(b"hello").unwrap();
        assert!(poll::wait(conn.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().readable);
        assert_eq!(conn.fill().unwrap(), Fill::Data(5));
        assert_eq!(conn.buffer(), b"hello");
        client.write_all(b" you").unwrap();
        let mut text = [0; 9];
        conn.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello you");
        drop(client);
        assert_eq!(conn.read(&mut text).unwrap(), 0);
        assert_eq!(conn.fill().unwrap(), Fill::End);
        assert!(!conn.may_get_more());
    }

    #[test]
    fn lines_are_read_through_the_buffer() {
        let (mut client, mut conn) = connection(LATER);
        client.write_all(b"one\ntwo\n").unwrap();
        let mut line = String::new();
        conn.read_line(&mut line).unwrap();
        conn.read_line(&mut line).unwrap();
        assert_eq!(line, "one\ntwo\n");
    }

    #[test]
    fn reading_and_writing_end_with_the_io_timeout_and_with_the_deadline() {
        let short = Duration::from_millis(10);
        let (_client, mut conn) = connection(short);
        assert_eq!(conn.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_client, mut conn) = connection(LATER);
        conn.set_deadline(Some(Instant::now() + short));
        assert_eq!(conn.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(conn.fill_buf().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(conn.is_overdue());
        // Nobody reads the other end.
        let error = conn.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_new_request_has_no_deadline_and_a_partial_one_keeps_its_own() {
        let (_client, mut conn) = connection(LATER);
        conn.begin();
        let began = conn.began();
        let until = conn.patience();
        assert_eq!(until, began + LATER);
        conn.begin();
        assert_eq!((conn.began(), conn.deadline()), (began, Some(until)), "the same request");
        conn.end_request();
        conn.begin();
        assert_eq!(conn.deadline(), None);
    }

    #[test]
    fn goodbye_waits_for_the_other_side_to_close() {
        let (mut client, mut conn) = connection(LATER);
        client.write_all(b"unread").unwrap();
        assert!(!conn.say_goodbye());
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        drop(client);
        assert!(poll::wait(conn.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().readable);
        assert!(conn.discard());
    }

    #[test]
    fn whoever_reads_the_end_learns_that_there_is_no_more_to_wait_for() {
        type Read = fn(&mut Conn) -> usize;
        let ways: [Read; 3] = [
            |conn| conn.read(&mut [0; 8]).unwrap(),
            |conn| conn.fill_buf().unwrap().len(),
            |conn| usize::from(conn.fill().unwrap() != Fill::End),
        ];
        for read in ways {
            let (client, mut conn) = connection(Duration::from_secs(10));
            assert!(conn.may_get_more());
            client.shutdown(Shutdown::Write).unwrap();
            poll::wait(conn.as_fd(), Readiness::READ, Deadline::NEVER).unwrap();
            assert_eq!(read(&mut conn), 0);
            assert!(!conn.may_get_more());
        }
    }
}
