//! Numbers that nobody can guess, from the kernel.
//!
//! # Safety
//!
//! The kernel writes into a slice of ours, at most as many bytes as it has.

#![expect(unsafe_code, reason = "getrandom(2), which std does not lend")]

use std::io;

use super::error::during;

/// As many random words as are asked for. Blocks only while the machine boots.
pub(crate) fn words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [[0; size_of::<u64>()]; N];
    fill(words.as_flattened_mut())?;
    Ok(words.map(u64::from_ne_bytes))
}

/// As many random bytes as are asked for, 256 at most. Blocks only while the machine boots.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    loop {
        // SAFETY: the bytes are ours, and as many as we say.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(got) {
            // At most 256 bytes come at once, or an error.
            Ok(got) if got == bytes.len() => return Ok(()),
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
