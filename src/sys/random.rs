//! Numbers that nobody can guess, from the kernel.
//!
//! # Safety
//!
//! The kernel writes into an array of ours, at most as many bytes as it has.

#![expect(unsafe_code, reason = "getrandom(2), which std does not lend")]

use std::io;

use super::error::during;

/// As many random words as are asked for. Blocks only while the machine boots.
pub(crate) fn words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0; N];
    loop {
        // SAFETY: the array is ours, and as long as we say.
        let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), size_of_val(&words), 0) };
        match usize::try_from(got) {
            // At most 256 bytes come at once, or an error.
            Ok(got) if got == size_of_val(&words) => return Ok(words),
            Ok(_) => {}
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return during("asking for random numbers", Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_differ() {
        let ([one, two], [three]) = (words().unwrap(), words().unwrap());
        assert!(one != two && two != three && three != one);
    }
}
