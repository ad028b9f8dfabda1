//! Where and with what it was measured.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The lock file that this binary was built with: what it says about versions is what runs.
const LOCK_FILE: &str = include_str!("../../../Cargo.lock");

/// The crates whose versions the report names.
const CRATES: [&str; 15] = [
    "crewkit",
    "parking_lot",
    "crossbeam-channel",
    "flume",
    "kanal",
    "tokio",
    "async-lock",
    "rayon",
    "rayon-core",
    "ipc-channel",
    "procspawn",
    "postcard",
    "corosensei",
    "generator",
    "genawaiter",
];

/// Prints the version of Python's greenlets.
const GREENLET_VERSION: &str = "from importlib.metadata import distributions as all\n\
                                print('greenlet', *[d.version for d in all(name='greenlet')] or ['not installed'])";

/// The machine, the versions and the date, as Markdown list items. Read at the start of a run, so that the load
/// average is that of the machine without it.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".into(), |number| number.to_string());
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let crates: Vec<String> = CRATES.iter().map(|name| format!("{name} {}", versions(name).join(" and "))).collect();
    format!(
        "* Machine: {}, {cores} cores usable, {} of memory, Linux {}\n\
         * Load average before the run (1, 5, 15 minutes): {}\n\
         * Versions: {}; {}; {}, {}\n\
         * Commit: {}\n\
         * Date: {}\n",
        cpu_model(),
        memory(),
        read("/proc/sys/kernel/osrelease"),
        load.join(", "),
        crates.join(", "),
        output("rustc", &["--version"]),
        output("python3", &["--version"]),
        output("python3", &["-c", GREENLET_VERSION]),
        output("git", &["describe", "--always", "--dirty", "--abbrev=10"]),
        date(),
    )
}

/// A file's text without the white space at its ends; "unknown" if it cannot be read.
fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The first processor's name.
fn cpu_model() -> String {
    let text = read("/proc/cpuinfo");
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    match (value("model name"), value("cpu family"), value("model\t")) {
        (Some(name), Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        (Some(name), ..) => name,
        _ => format!("unknown processor ({})", std::env::consts::ARCH),
    }
}

/// How much memory the machine has.
fn memory() -> String {
    let text = read("/proc/meminfo");
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or_else(|| "unknown size".into(), |kib: u64| format!("{} MiB", kib / 1024))
}

/// The versions of a crate in the lock file, oldest first as cargo sorts them.
fn versions(name: &str) -> Vec<String> {
    let wanted = format!("name = \"{name}\"");
    let mut lines = LOCK_FILE.lines();
    let mut found = Vec::new();
    while lines.any(|line| line == wanted) {
        if let Some(version) = lines.next().and_then(|line| line.strip_prefix("version = ")) {
            found.push(version.trim_matches('"').to_owned());
        }
    }
    found
}

/// The first line that a command prints; says so if there is no such command.
fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("unknown").to_owned()
        }
        _ => format!("{program} unknown"),
    }
}

/// Today in UTC, as year-month-day hour:minute.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60)
}

/// The date of a day counted from 1970-01-01. Howard Hinnant's algorithm: years are counted from March, so that the
/// leap day is the last of its year, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{civil, versions};

    #[test]
    fn civil_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_723), (2024, 1, 1));
        assert_eq!(civil(20_778), (2026, 11, 21));
    }

    #[test]
    fn every_version_of_a_crate_is_named() {
        // procspawn brings an older ipc-channel of its own.
        assert_eq!(versions("ipc-channel").len(), 2);
        assert_eq!(versions("no-such-crate"), Vec::<String>::new());
    }
}
