//! What the file examples have in common: the files that a command line means, and a bar that shows how far one got.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

/// The files below `paths`, in order. A path given by name may be any kind of file, for example a pipe; below folders
/// only regular files count, and symbolic links are not followed. What cannot be looked into goes to `unreadable`.
pub(crate) fn files_below(paths: &[PathBuf], mut unreadable: impl FnMut(&Path, &io::Error)) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => folders.push(path.clone()),
            Ok(_) => files.push(path.clone()),
            Err(error) => unreadable(path, &error),
        }
    }
    while let Some(folder) = folders.pop() {
        let mut look = || {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
            Ok(())
        };
        if let Err(error) = look() {
            unreadable(&folder, &error);
        }
    }
    files.sort_unstable();
    files.dedup();
    files
}

/// A bar on standard error, if that is a terminal.
pub(crate) fn progress_bar(files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {pos}/{len} files {msg}");
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// `bytes` in `seconds` as MB/s.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(crate) fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(1e-9)
}
