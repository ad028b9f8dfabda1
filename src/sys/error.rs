//! Errors of the kernel: retried, or kept with their errno and a word on what was being done.

use std::io;

/// Calls `op` again for as long as a signal interrupts it.
#[cfg(feature = "processes")]
pub(crate) fn retry<T>(mut op: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match op() {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(value) => return Ok(value),
        }
    }
}

/// Adds what was being done to an error of the kernel; [`io::Error::kind`] is kept, and [`errno`] finds the number.
pub(crate) fn during<T>(what: &'static str, result: Result<T, impl Into<io::Error>>) -> io::Result<T> {
    result.map_err(|error| {
        let source = error.into();
        io::Error::new(source.kind(), During { what, source })
    })
}

/// The errno behind an error, also through [`during`].
#[cfg(feature = "processes")]
pub(crate) fn errno(error: &io::Error) -> Option<i32> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<During>());
    inner.map_or_else(|| error.raw_os_error(), |during| errno(&during.source))
}

#[derive(Debug)]
struct During {
    what: &'static str,
    source: io::Error,
}

impl std::fmt::Display for During {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for During {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(all(test, feature = "processes"))]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn the_errno_survives_the_explanation() {
        let error = during("outer", during::<()>("inner", Err(Errno::EMFILE))).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::EMFILE as i32));
        assert!(error.to_string().starts_with("outer: inner: "), "{error}");
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut left = 3;
        let result = retry(|| {
            left -= 1;
            if left == 0 { Ok(7) } else { Err(Errno::EINTR) }
        });
        assert_eq!(result.unwrap(), 7);
    }
}
