//! What the processes of a tree share, live: who holds what, who waits for whom, and what was left by the dead.
//!
//! ```text
//! cargo run --example ipc_top -- PID                  # every second, until ctrl-C
//! cargo run --example ipc_top -- --once PID           # once, to be read by others
//! ```
//!
//! The processes need not know of it: it looks at them from outside, as `ps` does, and holds up none of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crewkit::ipc::inspect::{ObjectInfo, ProcessInfo, Tree, tree};
use crewkit::ipc::{Detail, Holder, Stats};

/// Shows what a process and its descendants share, and who waits for whom.
#[derive(Parser)]
struct Options {
    /// The process at the root of the tree
    pid: u32,
    /// Look once, and end
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Only objects that somebody holds or waits for
    #[arg(long)]
    busy: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        // Whoever has read enough closes the pipe.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("ipc_top: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn run(options: &Options) -> io::Result<()> {
    let mut out = io::stdout().lock();
    loop {
        let seen = tree(options.pid).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(format!("there is no process {}", options.pid)),
            _ => error,
        })?;
        if !options.once && out.is_terminal() {
            // Home, and clear what is below.
            out.write_all(b"\x1b[H\x1b[J")?;
        }
        out.write_all(page(&seen, options.busy).as_bytes())?;
        out.flush()?;
        if options.once {
            return Ok(());
        }
        std::thread::sleep(options.interval);
    }
}

/// All that is shown at a time.
fn page(Tree { processes, objects, .. }: &Tree, only_busy: bool) -> String {
    let bytes: u64 = objects.iter().map(|object| object.bytes).sum();
    let mut page = format!("{} processes, {} objects, {bytes} bytes\n\n", processes.len(), objects.len());
    page.push_str("     PID    PPID  OBJECTS  NAME\n");
    for ProcessInfo { pid, parent, name, is_readable, .. } in processes {
        let count = objects.iter().filter(|object| object.open_in.contains(pid)).count();
        let count = if *is_readable { count.to_string() } else { "unseen".to_owned() };
        // A name is whatever the process likes, also what moves the cursor.
        let _ = writeln!(page, "{pid:>8}{parent:>8}{count:>9}  {}", name.escape_debug());
    }
    page.push_str("\nOBJECT                       BYTES  HELD BY         WAITED FOR  WAITING  RECOVERED  STATE\n");
    let names: HashMap<u32, &str> = processes.iter().map(|process| (process.pid, process.name.as_str())).collect();
    for object in objects.iter().filter(|object| !only_busy || is_busy(object)) {
        page.push_str(&line(object, &names));
    }
    page
}

fn is_busy(object: &ObjectInfo) -> bool {
    object.stats.as_ref().is_some_and(|stats| stats.holder.is_some() || stats.waiters > 0 || !stats.users.is_empty())
}

/// An object, and below it who holds it, waits for it, and has it open.
fn line(object: &ObjectInfo, names: &HashMap<u32, &str>) -> String {
    let name = format!("{}#{}", object.kind, object.id);
    let mut text = format!("{name:<24}{:>10}", object.bytes);
    if let Some(stats) = &object.stats {
        let holder = stats.holder.as_ref().map_or_else(|| "-".to_owned(), held_by);
        let waited_for = stats.holder.and_then(|holder| holder.waited_for);
        let waited_for = waited_for.map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let Stats { waiters, recoveries, .. } = stats;
        let _ = write!(text, "  {holder:<14}{waited_for:>12}{waiters:>9}{recoveries:>11}  {}", state(stats));
    }
    let numbers = |pids: &[u32]| pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let _ = write!(text, "\n    open in {}", numbers(&object.open_in));
    for waiting in &object.waiting {
        let name = names.get(&waiting.pid).copied().unwrap_or_default().escape_debug();
        let _ = write!(text, "\n    {}/{} ({name}) waits", waiting.pid, waiting.thread);
        if let Some(Holder { pid: Some(pid), .. }) = object.stats.as_ref().and_then(|stats| stats.holder) {
            let _ = write!(text, " for {pid} ({})", names.get(&pid).copied().unwrap_or("elsewhere").escape_debug());
        }
    }
    text.push('\n');
    text
}

/// A process, and its thread where that is not its first.
fn held_by(Holder { pid, thread, .. }: &Holder) -> String {
    match pid {
        Some(pid) if pid == thread => pid.to_string(),
        Some(pid) => format!("{pid}/{thread}"),
        None => format!("thread {thread}"),
    }
}

/// What a kind has besides.
fn state(stats: &Stats) -> String {
    let mut text = match stats.detail {
        Detail::Lock { depth } if depth > 1 => format!("taken {depth} times"),
        Detail::Semaphore { available, total, .. } => format!("{available} of {total} permits left"),
        Detail::Event { is_set } => (if is_set { "set" } else { "not set" }).to_owned(),
        Detail::Barrier { is_broken: true, .. } => "broken".to_owned(),
        Detail::Barrier { parties, waiting, .. } => format!("{waiting} of {parties} here"),
        Detail::Queue { is_shut_down: true, len, .. } => format!("{len} items, shut down"),
        Detail::Queue { len, leased, used, .. } => format!("{len} items, {leased} leased, {used} bytes"),
        Detail::Counter { value } => value.to_string(),
        Detail::Array { len } | Detail::List { len } => format!("{len} items"),
        _ => String::new(),
    };
    for user in &stats.users {
        let _ = write!(text, "{}{}: {}", if text.is_empty() { "" } else { ", " }, user.pid, user.count);
    }
    if stats.owner_died {
        text.push_str(if text.is_empty() { "owner died" } else { ", owner died" });
    }
    text
}
