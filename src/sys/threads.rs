//! What the kernel does for the floor of threads: names, and who sleeps how.
//!
//! # Safety
//!
//! The calls take integers, and a name that lives as long as the call.

#![expect(unsafe_code, reason = "prctl has no wrapper in std")]

use super::thread::native_id;
use std::ffi::CString;
use std::fs;

/// What the kernel keeps of a name, in bytes.
const NAME_BYTES: usize = 15;

/// Whether the calling thread is the process's first; in a forked child, the one that called fork.
pub(crate) fn is_main() -> bool {
    native_id() == std::process::id()
}

/// As much of `name` as the kernel keeps: it ends before a NUL and never inside a character.
pub(crate) fn short_name(name: &str) -> &str {
    let name = name.split('\0').next().unwrap_or_default();
    let end = (0..=name.len().min(NAME_BYTES)).rev().find(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or_default()]
}

/// Names the calling thread, for ps and debuggers.
pub(crate) fn set_own_name(name: &str) {
    let Ok(name) = CString::new(short_name(name)) else { return };
    // SAFETY: the name is a C string, and is copied.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Names a thread of this process, which must not end meanwhile: another could get its number.
pub(crate) fn set_name(thread: u32, name: &str) {
    // With a NUL, because a write of no bytes, for an empty name, would be none at all.
    let name = [short_name(name).as_bytes(), b"\0"].concat();
    // Only without /proc can this fail. A name is for people to look at; nothing depends on it.
    let _ = fs::write(format!("/proc/self/task/{thread}/comm"), name);
}

/// The name that the kernel shows for the calling thread.
pub(crate) fn own_name() -> String {
    let name = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
    name.trim_end_matches('\n').to_owned()
}

/// Whether `thread` sleeps in pause(3), for ever as it seems. This is where std holds all threads but the first that
/// call `std::process::exit`.
pub(crate) fn is_paused(thread: u32) -> bool {
    let Ok(call) = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")) else { return false };
    let mut words = call.split(' ');
    let number = words.next().and_then(|word| word.parse::<libc::c_long>().ok());
    #[cfg(target_arch = "x86_64")]
    return number == Some(libc::SYS_pause);
    // Newer architectures have no call of that name: libc waits for no descriptor, without an end.
    #[cfg(not(target_arch = "x86_64"))]
    return number == Some(libc::SYS_ppoll) && words.take(3).all(|word| word == "0x0");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_at_a_character() {
        assert_eq!(short_name("worker"), "worker");
        assert_eq!(short_name("0123456789abcdef"), "0123456789abcde");
        assert_eq!(short_name("0123456789abcdé"), "0123456789abcd", "the last character takes bytes 14 and 15");
        assert_eq!(short_name("Fäden-Nr-1-2-ü"), "Fäden-Nr-1-2-", "fifteen bytes would end inside the last character");
        assert_eq!(short_name("a\0b"), "a");
        assert_eq!(short_name(""), "");
    }

    #[test]
    fn a_thread_can_name_itself_and_be_named() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                set_own_name("by itself");
                assert_eq!(own_name(), "by itself");
                set_name(native_id(), "by another way, long");
                assert_eq!(own_name(), "by another way,");
                set_name(native_id(), "");
                assert_eq!(own_name(), "");
            });
        });
    }

    #[test]
    fn a_running_thread_is_not_paused() {
        assert!(!is_paused(native_id()));
        assert!(!is_paused(0));
    }
}
