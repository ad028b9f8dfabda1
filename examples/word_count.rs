//! Counts the words of all text files below some folders in the processes of a pool, and prints the most frequent.
//!
//! ```text
//! cargo run --release --example word_count -- [--retries N] [PATH]...
//! ```
//!
//! Kill a worker while it runs (`kill -9`, one of the pids that it prints): the file that the worker was reading is
//! named with the cause, or counted again with `--retries`; all the others are counted as if nothing had happened.

mod shared;

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use crewkit::pool::{Pool, attempt};
use crewkit::process::cpu_count;
use serde::{Deserialize, Serialize};
use shared::{files_below, megabytes_per_second, progress_bar};

/// Count the words of all text files below some folders.
#[derive(Parser)]
struct Arguments {
    /// Files and folders [default: crewkit's own sources]
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/src"), hide_default_value = true)]
    paths: Vec<PathBuf>,
    /// Processes that count [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// How often a file is tried again whose worker died in it
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// How many words to print
    #[arg(long, default_value_t = 20)]
    top: usize,
}

/// What a worker says of a file.
#[derive(Serialize, Deserialize)]
struct Counted {
    words: HashMap<String, u64>,
    bytes: u64,
    attempt: u32,
}

/// Counts the words of one file; `None` if it is no text.
fn count(path: PathBuf) -> Result<Option<Counted>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.iter().take(8_192).any(|&byte| byte == 0) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut words = HashMap::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *words.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    Ok(Some(Counted { words, bytes: bytes.len() as u64, attempt: attempt() }))
}

#[derive(Default)]
struct Totals {
    words: HashMap<String, u64>,
    files: u64,
    bytes: u64,
    binary: u64,
    unreadable: u64,
    lost: u64,
}

impl Totals {
    fn add(&mut self, counted: Counted) {
        self.files += 1;
        self.bytes += counted.bytes;
        for (word, count) in counted.words {
            *self.words.entry(word).or_insert(0) += count;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    fn report(self, top: usize, seconds: f64) -> Result<String, std::fmt::Error> {
        let Self { words, files, bytes, binary, unreadable, lost } = self;
        let total: u64 = words.values().sum();
        let different = words.len();
        let mut ranking: Vec<(String, u64)> = words.into_iter().collect();
        ranking.sort_unstable_by(|(word, count), (other, count_of_other)| (count_of_other, word).cmp(&(count, other)));
        let mut report = String::new();
        for (word, count) in ranking.iter().take(top) {
            writeln!(report, "{count:>10}  {word}")?;
        }
        writeln!(report, "{files} files, {binary} not text, {unreadable} unreadable, {lost} lost")?;
        writeln!(report, "{total} words, {different} different, {bytes} bytes")?;
        let (rate, words_per_second) = (megabytes_per_second(bytes, seconds), total as f64 / seconds.max(1e-9));
        writeln!(report, "{seconds:.3} s, {rate:.1} MB/s, {words_per_second:.0} words/s")?;
        Ok(report)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    crewkit::init();
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut totals = Totals::default();
    let files = files_below(&arguments.paths, |path, error| {
        eprintln!("{}: {error}", path.display());
        totals.unreadable += 1;
    });
    let workers = arguments.workers.map_or_else(cpu_count, usize::from);
    let pool = Pool::builder().workers(workers).retries(arguments.retries).build()?;
    let pids: Vec<String> = pool.workers().iter().map(|worker| worker.pid.to_string()).collect();
    eprintln!("workers {}", pids.join(" "));
    let bar = progress_bar(files.len());
    for (index, result) in pool.imap_unordered(count, files.iter().cloned()).indexed() {
        let file = files[index].display();
        match result {
            Ok(Ok(Some(counted))) => {
                if counted.attempt > 1 {
                    bar.suspend(|| eprintln!("{file}: a worker died in it; counted at attempt {}", counted.attempt));
                }
                totals.add(counted);
            }
            Ok(Ok(None)) => totals.binary += 1,
            Ok(Err(error)) => {
                totals.unreadable += 1;
                bar.suspend(|| eprintln!("{file}: {error}"));
            }
            Err(error) => {
                totals.lost += 1;
                bar.suspend(|| eprintln!("{file}: {error}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = totals.report(arguments.top, started.elapsed().as_secs_f64())?;
    io::Write::write_all(&mut io::stdout(), report.as_bytes())?;
    Ok(())
}
