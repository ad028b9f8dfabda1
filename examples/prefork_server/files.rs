//! Files below a directory, and nothing else: which file a path names, and which paths name none.
//!
//! A path is decoded once and taken apart; `..`, an encoded `/` and a NUL name nothing. Symlinks are followed, but what
//! they lead to must be below the directory. That is checked twice: on the way, so that nothing outside is opened, and
//! on the file that was opened in the end, by what the kernel says it is. So there is nothing to win by exchanging a
//! directory for a link in between.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::answer::Found;
use crate::body::hex;

/// O_NONBLOCK, the same number on all of crewkit's targets: opening a FIFO does not wait for its other end.
const O_NONBLOCK: i32 = 0o4000;

/// The directory.
#[derive(Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let dir = dir.canonicalize()?;
        if dir.is_dir() { Ok(Self(dir)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Opens the regular file that `path` (encoded, relative) names; `None` if it names none.
    pub(crate) fn open(&self, path: &str) -> Option<Found> {
        let real = self.0.join(decode(path)?).canonicalize().ok()?;
        if !real.starts_with(&self.0) || !fs::symlink_metadata(&real).ok()?.is_file() {
            return None;
        }
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&real).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || !self.contains(&file) {
            return None;
        }
        Some(Found { file, len: metadata.len(), content_type: content_type(&real) })
    }

    fn contains(&self, file: &File) -> bool {
        fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).is_ok_and(|real| real.starts_with(&self.0))
    }
}

/// The relative path that an encoded one means.
fn decode(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for part in path.split('/') {
        let name = percent_decode(part)?;
        if name == b".." || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        relative.push(std::ffi::OsString::from_vec(name));
    }
    Some(relative)
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            hex(digits[0]) * 16 + hex(digits[1])
        } else {
            byte
        });
    }
    Some(decoded)
}

fn content_type(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" | "rs" | "toml" | "lock" | "log" | "sh" | "py" | "c" | "h" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_name_nothing() {
        for path in ["..", "a/../b", "%2e%2e/a", "%2E%2e", "a%2fb", "..%2f", "a%00", "%", "%4", "%zz", "a/%2e%2e"] {
            assert_eq!(decode(path), None, "{path}");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        for (path, meaning) in [("a/b", "a/b"), ("a%20b", "a b"), ("%252e%252e/a", "%2e%2e/a"), ("./a", "./a")] {
            assert_eq!(decode(path), Some(PathBuf::from(meaning)), "{path}");
        }
        // An empty part does not make a path absolute.
        assert_eq!(decode("/etc/passwd").map(|path| path.is_absolute()), Some(false));
    }
}
