//! The terminal's side of a command that Docker runs: input, output, window size, signals, exit code.
//!
//! Used by `exec` and `run`. Nothing here knows what the command is.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ::agent::runtime::{ExecSession, OutputStream};
use futures_util::StreamExt;
use futures_util::stream;
use nix::libc;
use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// How often Docker is asked to take the first size.
const RESIZE_RETRY: Duration = Duration::from_millis(10);
/// How Docker begins to say, in the place of the output, that a command could not be started.
pub(super) const REFUSAL: &str = "OCI runtime exec failed";
/// It says it in less.
const MOST_WORDS: usize = 4096;

/// Carries input and output between us and the command until it ends, and gives its exit code.
///
/// `judge` looks at what a command that could not be started left instead of output, and says what it means.
pub(super) async fn attend(
    mut session: ExecSession,
    tty: bool,
    judge: impl Fn(&str) -> Option<Failure>,
) -> Result<u8, Failure> {
    let raw = if tty { RawTerminal::enter() } else { None };
    let mut output = std::mem::replace(&mut session.output, stream::empty().boxed());
    let mut input = std::mem::replace(&mut session.input, Box::pin(tokio::io::sink()));
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| Failure::System { what: "use standard input".to_owned(), source })?;
    let mut stdin = tokio::fs::File::from_std(stdin.into());
    tokio::spawn(async move {
        // A command that has ended takes no more input; its end is seen by its output.
        let _ = tokio::io::copy(&mut stdin, &mut input).await;
        let _ = input.shutdown().await;
    });
    let watch = |kind| signal(kind).map_err(|source| Failure::System { what: "watch for signals".to_owned(), source });
    let mut resized = watch(SignalKind::window_change())?;
    // Docker sends signals only to a command that is a container; else they end us, as they always do.
    let mut signals = match session.takes_signals() {
        true => Some((watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?, watch(SignalKind::hangup())?)),
        false => None,
    };
    // Docker refuses a size until the command has started, and tells nobody when that is.
    let (mut unsized_yet, mut pace) = (tty, tokio::time::interval(RESIZE_RETRY));
    // What may turn out to be Docker's words instead of the command's.
    let mut held = Some(Vec::new());
    loop {
        tokio::select! {
            frame = output.next() => {
                let Some(frame) = frame else { break };
                let frame = frame?;
                if let Some(words) = &mut held {
                    words.extend_from_slice(&frame.bytes);
                    if may_be_docker_s(words) {
                        continue;
                    }
                }
                let words = held.take().unwrap_or_else(|| frame.bytes.to_vec());
                match frame.stream {
                    OutputStream::Stdout => write(&mut io::stdout().lock(), &words)?,
                    OutputStream::Stderr => write(&mut io::stderr().lock(), &words)?,
                }
            }
            _ = pace.tick(), if unsized_yet => unsized_yet = !resize(&session).await,
            _ = resized.recv(), if tty => { resize(&session).await; }
            // One that has just ended takes no more.
            name = next(&mut signals) => { let _ = session.signal(name).await; }
        }
    }
    let code = u8::try_from(session.exit_code().await?).unwrap_or(crate::failure::FAILED);
    drop(raw);
    if let Some(words) = held.filter(|words| !words.is_empty()) {
        match judge(&String::from_utf8_lossy(&words)).filter(|_| matches!(code, 126 | 127)) {
            Some(failure) => return Err(failure),
            None => write(&mut io::stdout().lock(), &words)?,
        }
    }
    Ok(code)
}

/// Whether what came first begins as runc's words do about a command that could not be started, or may yet.
fn may_be_docker_s(words: &[u8]) -> bool {
    let start = REFUSAL.as_bytes();
    words.len() <= MOST_WORDS && (start.starts_with(words) || words.starts_with(start))
}

/// The next signal that is meant for the command; never comes where there are none.
async fn next(signals: &mut Option<(Signal, Signal, Signal)>) -> &'static str {
    let Some((interrupt, terminate, hangup)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}

fn write(output: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    output.write_all(bytes).and_then(|()| output.flush()).map_err(Failure::Output)
}

/// Tells the command our terminal's size; `false` if it was not taken.
async fn resize(session: &ExecSession) -> bool {
    match window_size() {
        Some((rows, columns)) => session.resize(rows, columns).await.is_ok(),
        // A terminal without a size has none to tell.
        None => true,
    }
}

fn window_size() -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let mut ask = |terminal: i32| {
        // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
        unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) == 0 }
    };
    let known = ask(io::stdin().as_raw_fd()) || ask(io::stdout().as_raw_fd());
    (known && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Our terminal in raw mode: the one in the container echoes and edits. Dropping it restores ours.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// `None` if standard input is no terminal.
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_a_refusal_is_held_back() {
        for held in ["", "OCI", "OCI runtime exec failed: exec failed: unable"] {
            assert!(may_be_docker_s(held.as_bytes()), "{held}");
        }
        for shown in ["O K", "hello", "OCI runtime exec fine"] {
            assert!(!may_be_docker_s(shown.as_bytes()), "{shown}");
        }
    }
}
