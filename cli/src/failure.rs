//! Why a command did not do what it was asked, with its exit code and what to do about it.
//!
//! Every command ends in one; `main` alone prints it. An inner error is shown as a cause and never repeated in the text.

use std::io;

use agent::runtime::RuntimeError;

use crate::client::ClientError;
use crate::start_agent::StartError;

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The input is wrong.
pub(crate) const WRONG_INPUT: u8 = 2;
/// The machine lacks something.
pub(crate) const MACHINE: u8 = 3;
/// Ended by Ctrl-C: 128 and SIGINT, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without having done what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The agent was not reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No agent could be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Docker, for `exec`.
    #[error(transparent)]
    Docker(#[from] RuntimeError),
    /// Standard output does not take what is written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// A system call on the way into a task's network.
    #[error("cannot {what}")]
    System {
        /// What was tried, with what.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What was asked for cannot be done.
    #[error("{message}")]
    Said {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// The exit code.
        code: u8,
    },
    /// All has been said already.
    #[error("failed")]
    Shown {
        /// The exit code.
        code: u8,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted {
        /// What goes on without us.
        note: String,
    },
}

impl Failure {
    /// Something the user wrote is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: WRONG_INPUT }
    }

    /// It was tried and did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: FAILED }
    }

    /// The machine lacks something.
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: MACHINE }
    }

    /// Adds what to do about it.
    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Said { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Start(error) => error.exit_code(),
            Self::Docker(error) if error.is_requirement() => MACHINE,
            Self::Docker(_) | Self::Output(_) | Self::System { .. } => FAILED,
            Self::Said { code, .. } | Self::Shown { code } => *code,
            Self::Interrupted { .. } => INTERRUPTED,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Start(error) => error.hint(),
            Self::Docker(error) => error.remedy(),
            Self::Said { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// Whether nobody reads our output any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
