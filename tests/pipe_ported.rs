//! Cases of CPython's `_test_multiprocessing.py` for connections and `wait`, under their own names;
//! `tests/ported/multiprocessing_connection.md` lists all of them.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "what runs in other processes is no test")]

use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, Fd, RecvError, pipe, wait};
use crewkit::process::Process;

crewkit::enable_test_support!();

const SOON: Duration = Duration::from_secs(60);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);

type Values = Vec<Option<f64>>;

fn echo(end: Connection<Values, Values>) {
    end.send(&end.recv().unwrap()).unwrap();
    loop {
        match end.recv_bytes().unwrap() {
            sentinel if sentinel.is_empty() => break,
            message => end.send_bytes(&message).unwrap(),
        }
    }
}

#[test]
fn test_connection() {
    let (near, far) = pipe().unwrap();
    let child = Process::spawn(echo, far).unwrap();
    let values = vec![Some(1.0), Some(2.25), None];
    near.send(&values).unwrap();
    assert_eq!(near.recv_timeout(SOON).unwrap(), values);

    near.send_bytes(b"hello world").unwrap();
    assert_eq!(near.recv_bytes_timeout(SOON).unwrap(), b"hello world");
    let mut buffer = [0; 40];
    for offset in [0, 12] {
        near.send_bytes(b"hello world").unwrap();
        assert_eq!(near.recv_bytes_into_timeout(&mut buffer[offset..], SOON).unwrap(), 11);
        assert_eq!(buffer[offset..][..11], *b"hello world");
    }
    assert_eq!(buffer[23..], [0; 17]);
    near.send_bytes(&[7; 41]).unwrap();
    let too_short = near.recv_bytes_into_timeout(&mut buffer, SOON);
    assert!(matches!(too_short, Err(RecvError::BufferTooShort { needed: 41 })));
    assert_eq!(near.recv_bytes_timeout(SOON).unwrap(), [7; 41]);

    let begin = Instant::now();
    assert!(!near.poll(Duration::ZERO) && !near.poll(BRIEFLY));
    assert!(begin.elapsed() >= BRIEFLY);
    near.send_bytes(b"x").unwrap();
    assert!(near.poll(SOON) && near.poll(Duration::ZERO));
    assert_eq!(near.recv_bytes().unwrap(), b"x");

    let really_big: Vec<u8> = (0..=250).cycle().take(16 << 20).collect();
    near.send_bytes_timeout(&really_big, SOON).unwrap();
    assert!(near.recv_bytes_timeout(SOON).unwrap() == really_big);
    near.send_bytes(b"").unwrap();
    child.join().unwrap();
    assert!(near.poll(Duration::ZERO));
    assert!(near.recv().unwrap_err().is_closed() && near.recv_bytes().unwrap_err().is_closed());
}

#[test]
fn test_fd_transfer_and_large_fd_transfer() {
    for lowest in [0, 257] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        // Duplicates up to a number that select(2) and a byte could not hold.
        let mut writers = vec![writer];
        while writers.last().unwrap().as_raw_fd() < lowest {
            writers.push(writers[0].try_clone().unwrap());
        }
        let (near, far) = pipe::<Fd<PipeWriter>, ()>().unwrap();
        let child =
            Process::spawn(|end: Connection<(), Fd<PipeWriter>>| end.recv().unwrap().write_all(b"foo").unwrap(), far);
        near.send(&Fd(writers.pop().unwrap())).unwrap();
        drop(writers);
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"foo");
        child.unwrap().join().unwrap();
    }
}

#[test]
fn test_empty_string() {
    let (near, far) = pipe::<(), ()>().unwrap();
    assert!(!near.poll(Duration::ZERO));
    far.send_bytes(b"").unwrap();
    assert!(near.poll(Duration::ZERO) && near.poll(Duration::ZERO));
    assert_eq!(near.recv_bytes().unwrap(), b"");
    assert!(!near.poll(Duration::ZERO));
}

const STRINGS: [&[u8]; 8] = [b"hello", b"", b"a", b"b", b"", b"bye", b"", b"lop"];

#[test]
fn test_strings_and_dont_merge() {
    let (near, far) = pipe::<(), ()>().unwrap();
    let send_all = |end: Connection<(), ()>| STRINGS.iter().for_each(|string| end.send_bytes(string).unwrap());
    let child = Process::spawn(send_all, far).unwrap();
    for string in STRINGS {
        assert!(near.poll(SOON) && near.poll(Duration::ZERO));
        assert_eq!(near.recv_bytes().unwrap(), string);
    }
    child.join().unwrap();
    assert!(near.recv_bytes().unwrap_err().is_closed());
}

/// Sends its number ten times, each time with which time it is.
fn count((number, is_slow, end): (u32, bool, Connection<(u32, u32), ()>)) {
    for time in 0..10 {
        if is_slow {
            thread::sleep(Duration::from_millis(u64::from(number)));
        }
        end.send(&(time, number)).unwrap();
    }
}

#[test]
fn test_wait_and_wait_slow() {
    for is_slow in [false, true] {
        let (mut readers, mut children) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let (reader, writer) = pipe::<(), (u32, u32)>().unwrap();
            children.push(Process::spawn(count, (number, is_slow, writer)).unwrap());
            readers.push(reader);
        }
        let mut messages = Vec::new();
        while !readers.is_empty() {
            let sources: Vec<_> = readers.iter().map(|reader| reader as &dyn AsFd).collect();
            let ready = wait(&sources, SOON).unwrap();
            assert!(!ready.is_empty());
            // From behind, so that the places of the others stay.
            for index in ready.into_iter().rev() {
                match readers[index].try_recv() {
                    Ok(message) => messages.push(message),
                    Err(error) => {
                        assert!(error.is_closed(), "{error}");
                        readers.swap_remove(index);
                    }
                }
            }
        }
        messages.sort_unstable();
        let expected: Vec<_> = (0..10).flat_map(|time| (0..4).map(move |number| (time, number))).collect();
        assert_eq!(messages, expected);
        children.into_iter().for_each(|child| child.join().unwrap());
    }
}

#[test]
fn test_wait_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let say = |port: u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (0..10).for_each(|number| writeln!(stream, "{number}").unwrap());
    };
    let children = [(); 4].map(|()| Process::spawn(say, port).unwrap());
    let mut streams = Vec::new();
    while streams.len() < 4 {
        assert_eq!(wait(&[&listener], SOON).unwrap(), [0]);
        streams.push(BufReader::new(listener.accept().unwrap().0));
    }
    let (mut lines, mut line) = (Vec::new(), String::new());
    while !streams.is_empty() {
        let sources: Vec<_> = streams.iter().map(|stream| stream.get_ref() as &dyn AsFd).collect();
        let ready = wait(&sources, SOON).unwrap();
        assert!(!ready.is_empty());
        for index in ready.into_iter().rev() {
            // What was read ahead does not show any more.
            loop {
                line.clear();
                if streams[index].read_line(&mut line).unwrap() == 0 {
                    streams.swap_remove(index);
                    break;
                }
                lines.push(line.trim().parse::<u32>().unwrap());
                if streams[index].buffer().is_empty() {
                    break;
                }
            }
        }
    }
    lines.sort_unstable();
    assert_eq!(lines, (0..10).flat_map(|number| [number; 4]).collect::<Vec<_>>());
    children.into_iter().for_each(|child| child.join().unwrap());
}

#[test]
fn test_wait_timeout() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let begin = Instant::now();
    assert!(wait(&[&near, &far], BRIEFLY).unwrap().is_empty());
    assert!(begin.elapsed() >= BRIEFLY);
    far.send(&1).unwrap();
    assert_eq!(wait(&[&near, &far], SOON).unwrap(), [0]);
}

#[test]
fn test_wait_integer() {
    let ((near, far), (stop, stopped)) = (pipe::<u8, u8>().unwrap(), pipe::<(), ()>().unwrap());
    let child = Process::spawn(|end: Connection<(), ()>| end.recv().unwrap(), stopped).unwrap();
    let sources: [&dyn AsFd; 3] = [&near, &child, &far];
    assert!(wait(&sources, BRIEFLY).unwrap().is_empty());
    stop.send(&()).unwrap();
    assert_eq!(wait(&sources, SOON).unwrap(), [1]);
    near.send(&1).unwrap();
    assert_eq!(wait(&sources, SOON).unwrap(), [1, 2]);
    far.send(&1).unwrap();
    assert_eq!(wait(&sources, SOON).unwrap(), [0, 1, 2]);
    child.join().unwrap();
}
