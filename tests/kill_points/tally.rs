//! The totals of all cases, each of which runs in a process of its own: lines in an unnamed file that all inherit.

use std::fs::{OpenOptions, read_dir, read_link, read_to_string};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

const NAME: &str = "kill_points_tally";

/// The file, if this process inherited it or has made it.
fn file() -> Option<PathBuf> {
    let descriptors = read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| read_link(path).is_ok_and(|target| target.to_string_lossy().contains(NAME));
    descriptors.into_iter().find(is_it)
}

/// Makes the file, in the process that starts the others.
pub(crate) fn begin() -> Option<OwnedFd> {
    file().is_none().then(|| memfd_create(NAME, MFdFlags::empty()).unwrap())
}

/// A series: how many points were taken, of how many, and how many of them had the first outcome.
pub(crate) fn add(taken: usize, all: usize, before: usize) {
    let mut file = OpenOptions::new().append(true).open(file().expect("made by the first")).unwrap();
    writeln!(file, "{taken} {all} {before}").unwrap();
}

/// The totals, in the process that made the file.
pub(crate) fn print() {
    let text = read_to_string(file().expect("made by this process")).unwrap();
    let [mut series, mut taken, mut all, mut before] = [0; 4];
    for line in text.lines() {
        let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        (series, taken, all, before) = (series + 1, taken + numbers[0], all + numbers[1], before + numbers[2]);
    }
    let after = taken - before;
    let percent = 100.0 * taken as f64 / all.max(1) as f64;
    println!("kill points: {taken} in {series} series, {percent:.1} % of all {all}; before {before}, after {after}\n");
}
