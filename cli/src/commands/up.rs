//! `ecsnet up`: start or change a stack and wait until it is steady.

use std::pin::pin;
use std::time::Duration;

use ::agent::control::api::{Progress, UpReply, UpRequest};
use clap::Args;
use futures_util::{Stream, StreamExt};

use super::Global;
use super::stack_file::{StackFile, changes};
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::render::progress::{Display, obstacles};
use crate::render::{self, table};
use crate::{registry, start_agent};

/// Start a stack, or change it to what its file says now
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    file: StackFile,
    /// Wait until every service is steady (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return at once
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// How long to wait: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Up {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let request = self.file.load()?;
        let name = request.stack.name.to_string();
        let client = start_agent::connect(global).await?;
        let services = request.stack.services.values();
        let containers = services.flat_map(|service| &service.task_definition.container_definitions);
        let (credentials, problems) = registry::credentials(containers.map(|container| container.image.as_str()));
        problems.iter().for_each(render::warn);
        let request = UpRequest { credentials, ..request };
        let reply: UpReply = client.post("/up", &[], &request).await?;
        reply.notes.iter().for_each(render::warn);
        render::say(changes(&reply).trim_end());
        if self.no_wait {
            return Ok(0);
        }
        let mut display = Display::new();
        let waited = tokio::select! {
            waited = wait(&client, &name, &mut display, self.timeout) => waited,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted {
                note: format!("stack `{name}` goes on without us: `ecsnet ps {name}` shows it, `ecsnet down {name}` removes it"),
            }),
        };
        display.clear();
        let progress = waited?;
        render::print(table::tasks(
            &progress.tasks.into_iter().filter(super::ps::is_alive).collect::<Vec<_>>(),
            false,
        ))?;
        Ok(0)
    }
}

/// Waits until the stack is steady, and shows how it gets there.
async fn wait(client: &Client, name: &str, display: &mut Display, limit: Duration) -> Result<Progress, Failure> {
    let stream = client.stream::<Progress>("/progress", &[("stack", Some(name))]).await?;
    let mut last = None;
    match tokio::time::timeout(limit, until_steady(stream, display, &mut last)).await {
        Ok(outcome) => outcome.map_err(|error| described(name, error, last.as_ref())),
        Err(_) => Err(Failure::failed(format!(
            "stack `{name}` is not steady after {}{}",
            spelled(limit),
            last.as_ref().map(obstacles).unwrap_or_default()
        ))
        .with_hint(format!("it goes on: `ecsnet events {name}` tells more, `ecsnet up` waits again"))),
    }
}

enum Unsteady {
    GaveUp,
    Gone,
    Client(ClientError),
}

async fn until_steady(
    stream: impl Stream<Item = Result<Progress, ClientError>>,
    display: &mut Display,
    last: &mut Option<Progress>,
) -> Result<Progress, Unsteady> {
    let mut stream = pin!(stream);
    while let Some(progress) = stream.next().await {
        let progress = progress.map_err(Unsteady::Client)?;
        display.show(&progress);
        let (failed, leaving) = (progress.failed.is_some(), progress.deleting);
        if progress.steady && !failed && !leaving {
            return Ok(progress);
        }
        *last = Some(progress);
        if failed {
            return Err(Unsteady::GaveUp);
        }
        if leaving {
            return Err(Unsteady::Gone);
        }
    }
    Err(Unsteady::Gone)
}

fn described(name: &str, error: Unsteady, last: Option<&Progress>) -> Failure {
    match error {
        Unsteady::Client(error) => error.into(),
        Unsteady::Gone => Failure::failed(format!("stack `{name}` is being removed")),
        Unsteady::GaveUp => {
            Failure::failed(format!("stack `{name}` failed{}", last.map(obstacles).unwrap_or_default()))
                .with_hint(format!("`ecsnet events {name}` tells more"))
        }
    }
}

/// A time as people write it: a whole number and `ms`, `s`, `m` or `h`; seconds without one.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 30s, 5m or 1h".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    // Far beyond any wait, and still a time that a timer can hold.
    seconds.filter(|&seconds| seconds <= 366 * 24 * 3600).map(Duration::from_secs).ok_or_else(wrong)
}

fn spelled(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "m", "5 m", "-1s", "5d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(wrong), Err("expected a time such as 30s, 5m or 1h".to_owned()), "{wrong}");
        }
    }

    fn progress(steady: bool, failed: Option<&str>) -> Progress {
        Progress {
            steady,
            deleting: false,
            failed: failed.map(str::to_owned),
            waiting: vec!["service web: task aaaaaaaa: CannotPullContainerError: not found".to_owned()],
            tasks: vec![],
            services: vec![],
            pulls: vec![],
        }
    }

    async fn outcome(seen: Vec<Progress>) -> Result<Progress, Failure> {
        let mut last = None;
        let stream = futures_util::stream::iter(seen.into_iter().map(Ok));
        until_steady(stream, &mut Display::new(), &mut last)
            .await
            .map_err(|error| described("shop", error, last.as_ref()))
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_first_steady_state() {
        assert!(outcome(vec![progress(false, None), progress(true, None)]).await.unwrap().steady);
    }

    #[tokio::test]
    async fn a_service_that_gave_up_ends_the_wait_and_says_why() {
        let failure = outcome(vec![progress(false, Some("service web: deployment failed"))]).await.unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        insta::assert_snapshot!(failure, @r"
        stack `shop` failed
          service web: deployment failed
          service web: task aaaaaaaa: CannotPullContainerError: not found
        ");
    }

    #[tokio::test]
    async fn a_stack_that_goes_away_is_not_steady() {
        insta::assert_snapshot!(outcome(vec![]).await.unwrap_err(), @"stack `shop` is being removed");
    }
}
