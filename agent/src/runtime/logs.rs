//! What a container printed.
//!
//! Read by `ecsnet logs` through the agent. Docker keeps each output in order but not the two of them together, so
//! timestamps are always asked for, and lines that have come are put in their order before they are handed on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use jiff::Timestamp;

use super::RuntimeError;
use super::connect::Docker;
use super::spec::OutputStream;

/// At most so many lines that have come are sorted at once. A quiet stream is never held back: what is there goes out.
const SORT_LINES: usize = 256;

/// Which part of the log is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Stay until the container stops.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
}

/// One line, or a piece of a line longer than 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Which output.
    pub stream: OutputStream,
    /// When Docker read it.
    pub time: Option<Timestamp>,
    /// The text without its end of line.
    pub bytes: Bytes,
    /// Whether the line ends here; `false` for all but the last piece of a long one.
    pub complete: bool,
}

/// Lines until the log, or the container when followed, ends.
pub struct LogStream(BoxStream<'static, Result<LogLine, RuntimeError>>);

impl Stream for LogStream {
    type Item = Result<LogLine, RuntimeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl Docker {
    /// The lines of a container's output. An absent container shows as the first item.
    pub fn logs(&self, container: &str, options: LogOptions) -> LogStream {
        let what = format!("read the log of container {container}");
        let since = options.since;
        // Docker takes whole seconds here; the rest is left out below.
        let since_second = since.map_or(0, |time| i32::try_from(time.as_second()).unwrap_or(i32::MAX));
        let wire = LogsOptions {
            follow: options.follow,
            stdout: true,
            stderr: true,
            since: since_second,
            until: 0,
            timestamps: true,
            tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        };
        let lines = self
            .client
            .logs(container, Some(wire))
            .map(move |frame| match frame {
                Ok(frame) => Ok(log_line(frame)),
                Err(error) => Err(RuntimeError::judge(what.clone(), error)),
            })
            .filter(move |line| {
                let early = matches!(line, Ok(line) if line.time.is_some_and(|time| since.is_some_and(|s| time < s)));
                std::future::ready(!early)
            })
            .ready_chunks(SORT_LINES)
            .flat_map(|chunk| stream::iter(in_order(chunk)));
        LogStream(lines.boxed())
    }
}

/// Lines by time; equal times keep their order, and an error stays where it is, as it is the end.
fn in_order(mut chunk: Vec<Result<LogLine, RuntimeError>>) -> Vec<Result<LogLine, RuntimeError>> {
    let lines = chunk.iter().take_while(|line| matches!(line, Ok(line) if line.time.is_some())).count();
    chunk[..lines].sort_by_key(|line| line.as_ref().ok().and_then(|line| line.time));
    chunk
}

fn log_line(frame: LogOutput) -> LogLine {
    let stream = match frame {
        LogOutput::StdErr { .. } => OutputStream::Stderr,
        _ => OutputStream::Stdout,
    };
    let mut bytes = frame.into_bytes();
    let time = bytes.iter().position(|byte| *byte == b' ').and_then(|space| {
        let time = std::str::from_utf8(&bytes[..space]).ok()?.parse::<Timestamp>().ok()?;
        Some((time, space))
    });
    if let Some((_, space)) = time {
        bytes = bytes.slice(space + 1..);
    }
    let complete = bytes.ends_with(b"\n");
    if complete {
        let end = bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 };
        bytes.truncate(end);
    }
    LogLine { stream, time: time.map(|(time, _)| time), bytes, complete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> LogLine {
        log_line(LogOutput::StdErr { message: Bytes::from_static(text.as_bytes()) })
    }

    #[test]
    fn a_line_is_time_and_text() {
        let seen = line("2026-11-24T17:20:28.123456789Z hello there\n");
        assert_eq!(seen.stream, OutputStream::Stderr);
        assert_eq!(seen.time.unwrap().subsec_nanosecond(), 123_456_789);
        assert_eq!(&seen.bytes[..], b"hello there");
        assert!(seen.complete);
        assert_eq!(&line("2026-11-24T17:20:28Z x\r\n").bytes[..], b"x");
        assert!(!line("2026-11-24T17:20:28Z piece").complete);
        assert_eq!(&line("no time\n").bytes[..], b"no time");
    }

    #[test]
    fn lines_that_came_together_are_put_in_order() {
        let late = line("2026-11-24T17:20:29Z late\n");
        let early = line("2026-11-24T17:20:28Z early\n");
        let sorted: Vec<_> = in_order(vec![Ok(late), Ok(early)]).into_iter().map(|l| l.unwrap().bytes).collect();
        assert_eq!(sorted, ["early", "late"]);
    }
}
