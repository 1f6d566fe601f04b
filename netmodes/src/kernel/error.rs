//! What the kernel refused, and the one place where its errnos are judged.

use nix::errno::Errno;

/// A request to the kernel that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel said no.
    #[error("cannot {what}: {errno}{}", .hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Refused {
        /// What was tried, with what.
        what: String,
        /// What the kernel answered.
        errno: Errno,
        /// The kernel's own words (extended acknowledgement), where it gave any.
        hint: Option<String>,
    },
    /// Reading or writing a file or socket failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A process that should hold a namespace of its own is in ours.
    #[error("process {pid} is in the host's own network namespace")]
    OwnNamespace {
        /// The process.
        pid: i32,
    },
    /// An answer that does not mean what it should.
    #[error("unexpected answer to {what}: {detail}")]
    Unexpected {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        detail: String,
    },
}

impl KernelError {
    /// A refusal without words of the kernel's.
    pub fn new(what: impl Into<String>, errno: Errno) -> Self {
        Self::Refused { what: what.into(), errno, hint: None }
    }

    /// A refusal with what words the kernel gave.
    pub fn refused(what: impl Into<String>, errno: Errno, hint: Option<String>) -> Self {
        Self::Refused { what: what.into(), errno, hint }
    }

    /// An answer that cannot be used.
    pub fn unexpected(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into(), detail: detail.into() }
    }

    /// A failure of reading or writing.
    pub fn io(what: String, source: std::io::Error) -> Self {
        Self::Io { what, source }
    }

    /// Whether the thing that should go is not there: removal counts that as done.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { errno: Errno::ENODEV | Errno::ESRCH | Errno::ENOENT | Errno::EADDRNOTAVAIL, .. })
    }

    /// Whether the thing that should come is there already.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Refused { errno: Errno::EEXIST, .. })
    }
}
