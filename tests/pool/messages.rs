//! What may travel, and what is said when it cannot.

use std::fs::File;
use std::io::{self, Read, Write};

use crewkit::ipc::Fd;
use crewkit::pool::{Pool, TaskError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::{in_company, in_time, pids};

/// Refuses to be written, or to be read, as it is told.
#[derive(Debug)]
struct Stubborn {
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum When {
    Written,
    Read,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.when {
            When::Written => Err(serde::ser::Error::custom("will not be written")),
            When::Read => self.when.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        When::deserialize(deserializer)?;
        Err(serde::de::Error::custom("will not be read"))
    }
}

#[test]
fn what_cannot_travel_fails_alone_and_says_which_way() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let before = pids(&pool);
    for when in [When::Written, When::Read] {
        let argument = pool.apply(|_: Stubborn| (), Stubborn { when });
        assert!(matches!(argument, Err(TaskError::BadArgument(_))), "{argument:?}");
        let result = pool.apply(|when: When| Stubborn { when }, when);
        assert!(matches!(result, Err(TaskError::BadResult(_))), "{result:?}");
    }
    let results = pool
        .with()
        .chunksize(5)
        .map_results(|n: u64| if n == 2 { Err(Stubborn { when: When::Written }) } else { Ok(n) }, 0..5);
    for (n, result) in (0..).zip(results) {
        match result {
            Err(TaskError::BadResult(_)) => assert_eq!(n, 2),
            result => assert_eq!(result.unwrap().unwrap(), n),
        }
    }
    assert_eq!(pids(&pool), before);
}

#[test]
fn files_travel_in_arguments_and_in_results() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    let write = |(writer, text): (Fd<io::PipeWriter>, String)| writer.into_inner().write_all(text.as_bytes()).is_ok();
    assert_eq!(pool.apply(write, (Fd(writer), "through".into())), Ok(true));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");

    let open = |path: String| Fd(File::open(path).unwrap());
    let read = |file: Fd<File>| io::read_to_string(file.into_inner()).unwrap();
    let status = pool.apply(open, "/proc/self/status".into()).unwrap();
    assert!(read(status).contains("Name:"));
    // Also where most of a chunk has none.
    let maybe = |n: u32| n.is_multiple_of(3).then(|| Fd(File::open("/dev/null").unwrap()));
    let files = pool.with().chunksize(4).map(maybe, 0..10).unwrap();
    assert_eq!(files.iter().flatten().count(), 4);
    let count = |file: Option<Fd<File>>| file.is_some();
    assert_eq!(pool.with().chunksize(4).map(count, files).unwrap().iter().filter(|has| **has).count(), 4);
}

#[test]
fn a_connection_that_is_sent_to_a_task_is_the_tasks() {
    let _company = in_company();
    let pool = Pool::new(1).unwrap();
    let (ours, theirs) = crewkit::ipc::pipe::<u32, u32>().unwrap();
    let echo =
        |connection: crewkit::ipc::Connection<u32, u32>| connection.send(&(connection.recv().unwrap() + 1)).is_ok();
    let task = pool.submit(echo, theirs);
    ours.send(&41).unwrap();
    assert_eq!(ours.recv().unwrap(), 42);
    assert_eq!(task.get(), Ok(true));
    assert!(ours.recv().is_err(), "the pool kept an end of it");
}

#[test]
fn a_hundred_mebibytes_do_not_hold_up_anybody() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        let large = "x".repeat(100 << 20);
        let both = pool.submit(|text: String| text, large);
        let small: Vec<_> = (0..200).map(|n: u64| pool.submit(|n: u64| n, n)).collect();
        for (n, task) in (0..).zip(small) {
            assert_eq!(task.get(), Ok(n));
        }
        assert_eq!(both.get().unwrap().len(), 100 << 20);
    });
}
