//! Producers read files, consumers hash them, and a bounded queue between the two keeps memory small.
//!
//! ```text
//! cargo run --release --example producer_consumer -- [--processes] [PATH]...
//! ```
//!
//! With `--processes` the same work is done by the processes of a [`Pool`], each reading and hashing whole files; the
//! digest at the end is the same. It is that of the lines `<digest>  <path>` of all files that could be read, sorted by
//! the bytes of the path: `find PATH -type f | LC_ALL=C sort | xargs b3sum | b3sum` says it, too.

mod shared;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use blake3::Hasher;
use clap::Parser;
use crewkit::pool::Pool;
use crewkit::process::cpu_count;
use crewkit::queue::{Queue, Shutdown};
use indicatif::ProgressBar;
use shared::{files_below, megabytes_per_second, progress_bar};

/// Hash all files below some folders.
#[derive(Parser)]
struct Arguments {
    /// Files and folders [default: crewkit's own sources]
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/src"), hide_default_value = true)]
    paths: Vec<PathBuf>,
    /// Let processes do it instead of threads
    #[arg(long)]
    processes: bool,
    /// Threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    producers: u16,
    /// Threads or processes that hash [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    consumers: Option<u16>,
    /// Files that may wait between the two
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    capacity: u16,
}

/// A file longer than this is hashed as it is read, instead of being held in memory.
const LONG: u64 = 16 << 20;

/// What producers hand to consumers.
enum Content {
    Whole(Vec<u8>),
    Long(File),
}

fn read(path: &Path) -> io::Result<Content> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > LONG {
        return Ok(Content::Long(file));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Content::Whole(bytes))
}

/// A file's digest and length.
fn hash(content: Content) -> io::Result<(String, u64)> {
    let mut hasher = Hasher::new();
    match content {
        Content::Whole(bytes) => hasher.update(&bytes),
        Content::Long(file) => hasher.update_reader(file)?,
    };
    Ok((hasher.finalize().to_hex().to_string(), hasher.count()))
}

/// What has become of the files so far.
#[derive(Default)]
struct Totals {
    lines: Vec<(PathBuf, String)>,
    bytes: u64,
    unreadable: u64,
}

impl Totals {
    fn add(&mut self, path: &Path, result: Result<(String, u64), String>, bar: &ProgressBar) {
        match result {
            Ok((digest, bytes)) => {
                self.lines.push((path.to_owned(), digest));
                self.bytes += bytes;
            }
            Err(error) => {
                self.unreadable += 1;
                bar.suspend(|| eprintln!("{}: {error}", path.display()));
            }
        }
        bar.inc(1);
    }

    fn report(mut self, seconds: f64) -> String {
        self.lines.sort_unstable_by(|(path, _), (other, _)| path.as_os_str().cmp(other.as_os_str()));
        let mut all = Hasher::new();
        for (path, digest) in &self.lines {
            all.update(format!("{digest}  {}\n", path.display()).as_bytes());
        }
        let rate = megabytes_per_second(self.bytes, seconds);
        format!(
            "files       {}\nbytes       {}\nunreadable  {}\nseconds     {seconds:.3}\nMB/s        {rate:.1}\ndigest      {}\n",
            self.lines.len(),
            self.bytes,
            self.unreadable,
            all.finalize(),
        )
    }
}

fn with_threads(files: Vec<PathBuf>, arguments: &Arguments, consumers: usize, bar: &ProgressBar, totals: &mut Totals) {
    let paths = Queue::unbounded();
    let contents = Queue::bounded(usize::from(arguments.capacity));
    let digests = Queue::unbounded();
    for path in files {
        // Nobody shuts this queue down before the next line does.
        let _open = paths.put(path);
    }
    paths.shutdown(Shutdown::Drain);
    let (paths, contents, digests) = (&paths, &contents, &digests);
    thread::scope(|scope| {
        let produce = || paths.iter().for_each(|path| drop(contents.put((read(&path), path))));
        let consume = || {
            for (content, path) in contents.iter() {
                let digest = content.and_then(hash).map_err(|error| error.to_string());
                drop(digests.put((path, digest)));
            }
        };
        let producers: Vec<_> = (0..arguments.producers).map(|_| scope.spawn(produce)).collect();
        let consumers: Vec<_> = (0..consumers).map(|_| scope.spawn(consume)).collect();
        scope.spawn(move || {
            // Each queue is shut down by the end of those who fill it.
            producers.into_iter().for_each(|producer| drop(producer.join()));
            contents.shutdown(Shutdown::Drain);
            consumers.into_iter().for_each(|consumer| drop(consumer.join()));
            digests.shutdown(Shutdown::Drain);
        });
        for (path, digest) in digests.iter() {
            totals.add(&path, digest, bar);
        }
    });
}

fn with_processes(
    files: Vec<PathBuf>,
    workers: usize,
    bar: &ProgressBar,
    totals: &mut Totals,
) -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(workers)?;
    let digest = |path: PathBuf| read(&path).and_then(hash).map_err(|error| error.to_string());
    for (index, result) in pool.with().chunksize(8).imap_unordered(digest, files.iter().cloned()).indexed() {
        // A task has two ways to fail: the file could not be read, or the process that read it is no more.
        totals.add(&files[index], result.unwrap_or_else(|error| Err(error.to_string())), bar);
    }
    Ok(())
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
    let bar = progress_bar(files.len());
    let consumers = arguments.consumers.map_or_else(cpu_count, usize::from);
    if arguments.processes {
        with_processes(files, consumers, &bar, &mut totals)?;
    } else {
        with_threads(files, &arguments, consumers, &bar, &mut totals);
    }
    bar.finish_and_clear();
    print!("{}", totals.report(started.elapsed().as_secs_f64()));
    Ok(())
}
