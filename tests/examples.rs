//! The examples as their users run them: exact output; those that read files on a small folder, and with a worker
//! killed in the middle.

#![cfg(all(feature = "coroutines", feature = "server", feature = "threads"))]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// How long anything may take; far more than it does.
const LONG: Duration = Duration::from_secs(60);

/// An example's executable, which `cargo test` builds beside the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: `cargo build --example {name}` makes it", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder of its own for each test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("examples-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _leftover = fs::remove_dir_all(&self.0);
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what}: not within {LONG:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The writing end of a fifo, as soon as somebody reads it.
fn writer_of(fifo: &Path) -> File {
    const ENXIO: i32 = 6;
    wait_for("a reader of the fifo", || {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(fifo) {
            Err(error) if error.raw_os_error() == Some(ENXIO) => None,
            opened => Some(opened.unwrap()),
        }
    })
}

/// Who else has this file open.
fn reader_of(path: &Path) -> u32 {
    let has_it_open = |pid: &u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))
    };
    wait_for("a process that reads the file", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid| *pid != std::process::id() && has_it_open(pid))
    })
}

fn sigkill(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

fn finish(mut child: Child) -> Output {
    wait_for("the example's end", || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// The value after `name` in a report.
fn value<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {report}")).trim_start_matches(name).trim()
}

/// The digest that the files should have, computed from the documentation.
fn digest_of(files: &[&Path]) -> String {
    let mut files = files.to_vec();
    files.sort_by_key(|path| path.as_os_str());
    let line = |path: &&Path| format!("{}  {}\n", blake3::hash(&fs::read(path).unwrap()), path.display());
    blake3::hash(files.iter().map(line).collect::<String>().as_bytes()).to_string()
}

#[test]
fn producer_consumer_hashes_everything_and_names_what_it_cannot_read() {
    let folder = Folder::new("hash");
    let mut files = vec![
        folder.write("a.txt", "first"),
        folder.write("a/deep/er.txt", "second"),
        folder.write("empty", ""),
        folder.write("large", vec![7; (16 << 20) + 1]),
    ];
    files.extend((0..100).map(|n| folder.write(&format!("many/{n}"), format!("{n}").repeat(n))));
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    // A folder that is not there, and a file whose first byte cannot be read.
    let (missing, unreadable) = (folder.0.join("missing"), Path::new("/proc/self/mem"));
    std::os::unix::fs::symlink("a.txt", folder.0.join("link")).unwrap();
    let expected = digest_of(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>());

    let narrow = ["--producers", "1", "--consumers", "1", "--capacity", "1"];
    for options in [&[][..], &["--processes"], &narrow, &["--processes", "--consumers", "1"]] {
        let mut command = example("producer_consumer");
        let output = command.args(options).arg(&folder.0).arg(&missing).arg(unreadable).output().unwrap();
        let (report, complaints) = texts(&output);
        assert!(output.status.success(), "{options:?}: {complaints}");
        assert_eq!(value(&report, "files"), files.len().to_string(), "{options:?}");
        assert_eq!(value(&report, "bytes"), bytes.to_string(), "{options:?}");
        assert_eq!(value(&report, "unreadable"), "2", "{options:?}");
        assert_eq!(value(&report, "digest"), expected, "{options:?}");
        assert_eq!(complaints.lines().count(), 2, "{options:?}: {complaints}");
        assert!(
            complaints.contains("/proc/self/mem: ") && complaints.contains("missing: No such file"),
            "{complaints}"
        );
    }
}

#[test]
fn producer_consumer_has_something_to_do_without_being_told() {
    let output = example("producer_consumer").output().unwrap();
    let (report, complaints) = texts(&output);
    assert_eq!((output.status.success(), complaints.as_str()), (true, ""));
    assert!(value(&report, "files").parse::<u32>().unwrap() > 10);
}

#[test]
fn producer_consumer_loses_one_file_with_a_process_that_is_killed() {
    let folder = Folder::new("hash-kill");
    let files: Vec<PathBuf> = (0..40).map(|n| folder.write(&format!("{n:02}"), format!("{n}"))).collect();
    let fifo = folder.fifo("99");
    let mut command = example("producer_consumer");
    let child = command.args(["--processes", "--consumers", "2"]).arg(&folder.0).arg(&fifo).spawn().unwrap();
    let writer = writer_of(&fifo);
    sigkill(reader_of(&fifo));
    let output = finish(child);
    drop(writer);
    let (report, complaints) = texts(&output);
    assert!(output.status.success(), "{complaints}");
    assert_eq!((value(&report, "files"), value(&report, "unreadable")), ("40", "1"));
    assert_eq!(value(&report, "digest"), digest_of(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>()));
    assert!(complaints.starts_with(fifo.to_str().unwrap()), "{complaints}");
    assert!(complaints.contains("died of signal 9 (SIGKILL) in the middle of the task"), "{complaints}");
}

/// A folder with 30 text files of known words, and one file that is no text.
fn library(test: &str) -> Folder {
    let folder = Folder::new(test);
    for n in 0..30 {
        folder.write(&format!("shelf-{}/{n}.txt", n % 3), "One fish, two fish;\nred fish -- blue fish. Été!");
    }
    folder.write("binary", b"fish\0fish");
    folder
}

/// What does not depend on the time that it took.
fn counts(report: &str) -> Vec<&str> {
    report.lines().take_while(|line| !line.contains("MB/s")).collect()
}

#[test]
fn word_count_counts() {
    let folder = library("count");
    let output =
        example("word_count").args(["--top", "3"]).arg(&folder.0).arg(folder.0.join("nothing")).output().unwrap();
    let (report, complaints) = texts(&output);
    assert!(output.status.success(), "{complaints}");
    let expected = [
        "       120  fish",
        "        30  blue",
        "        30  one",
        "30 files, 1 not text, 1 unreadable, 0 lost",
        "270 words, 6 different, 1470 bytes",
    ];
    assert_eq!(counts(&report), expected);
    assert!(report.lines().last().unwrap().contains(" words/s"), "{report}");
}

#[test]
fn word_count_says_which_file_was_lost_and_why() {
    let folder = library("lost");
    let fifo = folder.fifo("fifo");
    let mut child =
        example("word_count").args(["--workers", "2", "--top", "1"]).args([&folder.0, &fifo]).spawn().unwrap();
    let writer = writer_of(&fifo);
    let victim = reader_of(&fifo);
    sigkill(victim);
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    let output = finish(child);
    drop(writer);
    let (report, _) = texts(&output);
    assert!(output.status.success(), "{complaints}");
    assert_eq!(counts(&report)[..2], ["       120  fish", "30 files, 1 not text, 0 unreadable, 1 lost"]);
    let (workers, lost) = complaints.split_once('\n').unwrap();
    assert!(workers.strip_prefix("workers ").unwrap().split(' ').any(|pid| pid == victim.to_string()), "{workers}");
    let fifo = fifo.display();
    assert_eq!(lost, format!("{fifo}: worker {victim} died of signal 9 (SIGKILL) in the middle of the task\n"));
}

#[test]
fn word_count_tries_again_if_it_may() {
    let folder = library("again");
    let fifo = folder.fifo("fifo");
    let mut command = example("word_count");
    let child = command.args(["--retries", "1", "--top", "1"]).args([&folder.0, &fifo]).spawn().unwrap();
    let mut writer = writer_of(&fifo);
    let victim = reader_of(&fifo);
    sigkill(victim);
    wait_for("another reader", || Some(reader_of(&fifo)).filter(|reader| *reader != victim));
    writer.write_all(b"fish fish fish").unwrap();
    drop(writer);
    let output = finish(child);
    let (report, complaints) = texts(&output);
    assert!(output.status.success(), "{complaints}");
    assert_eq!(counts(&report)[..2], ["       123  fish", "31 files, 1 not text, 0 unreadable, 0 lost"]);
    let expected = format!("{}: a worker died in it; counted at attempt 2", fifo.display());
    assert!(complaints.lines().any(|line| line == expected), "{complaints}");
}

/// What an example prints that takes no arguments and complains of nothing.
fn says(name: &str) -> String {
    let output = finish(example(name).spawn().unwrap());
    let (report, complaints) = texts(&output);
    assert_eq!((output.status.success(), complaints.as_str()), (true, ""), "{report}");
    report
}

#[test]
fn traffic_light_lets_everybody_go_at_green() {
    let expected = "\
red
  the bus, the lorry, the tram arrive
  the taxi waits for 50 ms and turns round
  the taxi is gone, and 0 have crossed
green
  the bus, the lorry, the tram cross: one set wakes all that wait
  the van crosses: who comes while it is green does not stop
red
  the bicycle arrives; 0 have crossed
green
  the bicycle crosses: an event can be used again and again
";
    assert_eq!(says("traffic_light"), expected);
}

#[test]
fn bank_pays_interest_with_a_reentrant_lock_only() {
    let expected = "\
a plain Lock
  4 tellers, 1,000 deposits each: 4000 cents
  pay_interest holds the lock and calls deposit, which waits for it: a dead-lock
  4000 cents: without the time limit this line would never be reached
an RLock
  4 tellers, 1,000 deposits each: 4000 cents
  pay_interest took the lock again, 2 times deep
  it is free again: true
  4400 cents
  while one thread holds it, another gets it: false
";
    assert_eq!(says("bank"), expected);
}

#[test]
fn baozi_are_all_eaten_and_everybody_goes_home() {
    let expected = "\
300 baozi made by 3 cooks, 300 eaten by 2 eaters
  102 pork
   99 leek
   99 red bean
every baozi was eaten once
the steamer is empty
";
    assert_eq!(says("baozi"), expected);
    // A crowd around a steamer for one.
    let output = example("baozi").args(["8", "5", "400", "1"]).output().unwrap();
    let (report, complaints) = texts(&output);
    assert!(output.status.success(), "{complaints}");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "3200 baozi made by 8 cooks, 3200 eaten by 5 eaters");
    assert_eq!(lines[4..], ["every baozi was eaten once", "the steamer is empty"]);
}

#[test]
fn permits_lets_five_of_twenty_work() {
    let expected = "\
group 1: 5 of 20 threads at work, permits: none left
group 2: 5 of 20 threads at work, permits: none left
group 3: 5 of 20 threads at work, permits: none left
group 4: 5 of 20 threads at work, permits: none left
never more than 5 at once; 5 permits again
";
    assert_eq!(says("permits"), expected);
}

#[test]
fn strangers_are_served_who_know_the_secret() {
    let expected = "short: 5 letters\nlonger: 6 letters\nthe longest: 11 letters\n\
         let me in: the listener turned this process away: its key is another one, or it repeats an old answer\n";
    assert_eq!(says("strangers"), expected);
    let over_tcp = finish(example("strangers").arg("127.0.0.1:0").spawn().unwrap());
    assert_eq!(texts(&over_tcp).0, expected, "over TCP");
}

#[test]
fn two_eaters_share_what_one_produces() {
    let expected = "\
Pong eats the noodles
Ping eats the dumplings
Pong eats the soup
Ping eats the rice, is full, and goes: 2 dishes for 8
Pong eats the fish
Pong eats the cake
Pong eats the tea
Pong pays 5 dishes for 28
";
    assert_eq!(says("two_eaters"), expected);
}

#[test]
fn calculator_reads_a_file_and_tells_the_line_of_a_mistake() {
    let folder = Folder::new("calculator");
    let file = folder.write("house", "# a house\nwidth = 4\nheight = 2.5\n\narea = (width + 1) * -(-height) # m2\n");
    let output = finish(example("calculator").arg(&file).spawn().unwrap());
    let (report, complaints) = texts(&output);
    assert_eq!((report.as_str(), complaints.as_str()), ("width = 4\nheight = 2.5\narea = 12.5\n", ""));
    assert!(output.status.success());

    // What is right before the mistake is printed.
    let file = folder.write("ruin", "width = 4\narea = width *\nnever = 1\n");
    let output = finish(example("calculator").arg(&file).spawn().unwrap());
    let (report, complaints) = texts(&output);
    assert_eq!(report, "width = 4\n");
    assert_eq!(complaints, "calculator: line 2: the end of the line where a value should be\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn same_fringe_stops_at_the_first_difference() {
    let expected = "\
two shapes of the same leaves: the same after 100 leaves, 199 visited
another leaf in the tenth place: different after 9 leaves, 20 visited
one leaf less: different after 99 leaves, 199 visited
";
    assert_eq!(says("same_fringe"), expected);
}

#[test]
fn ping_pong_ends_with_who_misses() {
    let expected = "\
ping returns it at 1
pong returns it at 2
ping returns it at 3
pong returns it at 4
ping misses it at 5
ping has ended: true, pong: false
pong puts the bat away
and pong: true, without a value: true
";
    assert_eq!(says("ping_pong"), expected);
}
