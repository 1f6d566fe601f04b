//! `ecsnet logs`: what containers wrote, their standard error on ours as Docker does.

use std::io::{self, Write};
use std::pin::pin;

use ::agent::control::api::LogLine;
use clap::Args;
use futures_util::StreamExt;

use super::{Global, target};
use crate::failure::Failure;
use crate::render::{self, short};

/// Show what a task's or a service's containers wrote
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A task, a service or STACK/SERVICE
    #[arg(value_name = "TARGET")]
    target: String,
    /// Go on with what they write
    #[arg(short, long)]
    follow: bool,
    /// The last N lines of each container only
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// When each line was written
    #[arg(short, long)]
    timestamps: bool,
}

impl Logs {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let client = target::agent(global, &self.target).await?;
        let found = target::find_with_failed(&client, &self.target).await?;
        let prefixed = found.iter().map(|target| target.containers.len()).sum::<usize>() > 1;
        let tail = self.tail.map(|lines| lines.to_string());
        let query = [
            ("target", Some(self.target.as_str())),
            ("follow", self.follow.then_some("true")),
            ("tail", tail.as_deref()),
        ];
        let mut lines = pin!(client.stream::<LogLine>("/logs", &query).await?);
        let mut silent = !self.follow;
        while let Some(line) = lines.next().await {
            let line = line?;
            silent = false;
            let text = rendered(&line, prefixed, self.timestamps);
            match line.stream.as_str() {
                "stderr" => io::stderr().lock().write_all(text.as_bytes()),
                _ => io::stdout().lock().write_all(text.as_bytes()),
            }
            .map_err(Failure::Output)?;
        }
        if silent {
            let stopped = found.iter().all(|target| target.last_status == "STOPPED");
            render::say(format_args!(
                "`{}` has written nothing{}",
                self.target,
                if stopped { WHY_STOPPED } else { "" }
            ));
        }
        Ok(0)
    }
}

/// A task whose containers never ran has no logs; its reason is elsewhere.
const WHY_STOPPED: &str = ", and has STOPPED: `ecsnet ps --all --output wide` says why";

fn rendered(line: &LogLine, prefixed: bool, timestamps: bool) -> String {
    let mut text = String::new();
    if prefixed {
        text.push_str(&format!("{}/{}/{} | ", line.service, short(&line.task_id), line.container));
    }
    if timestamps {
        text.push_str(&line.time);
        text.push(' ');
    }
    text + &line.text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_it_is_from_if_there_are_more() {
        let line = LogLine {
            task_id: "1a2b3c4d5e6f708192a3b4c5d6e7f809".to_owned(),
            service: "web".to_owned(),
            container: "app".to_owned(),
            stream: "stdout".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            text: "ready".to_owned(),
        };
        assert_eq!(rendered(&line, false, false), "ready\n");
        assert_eq!(rendered(&line, true, false), "web/1a2b3c4d/app | ready\n");
        assert_eq!(rendered(&line, true, true), "web/1a2b3c4d/app | 2026-01-01T00:00:00Z ready\n");
    }
}
