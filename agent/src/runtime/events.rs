//! Docker's events about containers of one owner.
//!
//! `observe` reads them as hints where to look. They may come twice and, when Docker goes away, the stream ends: then
//! connect anew, subscribe, and list everything, in this order.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use jiff::Timestamp;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::labels;
use super::lifecycle::within;
use super::observed::Health;
use super::spec::ContainerId;

/// What is asked for. The other events (each health check's exec among them) would be noise for every task.
const KINDS: [&str; 6] = ["create", "start", "die", "oom", "destroy", "health_status"];

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Which one.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What happened.
    pub kind: EventKind,
    /// When, by Docker's clock.
    pub time: Option<Timestamp>,
}

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The kernel killed a process of it for want of memory. May come after its end, whose state then does not say so.
    OutOfMemory,
    /// Made.
    Created,
    /// Process 1 runs.
    Started,
    /// Process 1 is gone.
    Died {
        /// Its exit code.
        exit_code: Option<i64>,
    },
    /// The health check's verdict changed.
    Health(Health),
    /// Removed.
    Destroyed,
    /// Something else, by Docker's word.
    Other(String),
}

/// Events until Docker goes away.
pub struct EventStream(BoxStream<'static, ContainerEvent>);

impl Stream for EventStream {
    type Item = ContainerEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ContainerEvent>> {
        self.0.as_mut().poll_next(context)
    }
}

impl Docker {
    /// Events of `owner`'s containers from now on, by Docker's clock: what happens between this call and the first
    /// poll is in it (Docker keeps its last 256). So subscribe first, then list.
    pub async fn events(&self, owner: &str) -> Result<EventStream, RuntimeError> {
        let what = "ask Docker for its time";
        let info = within(ANSWER_TIME, self.client.info())
            .await
            .unwrap_or(Err(bollard::errors::Error::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(what, error))?;
        let now = info.system_time.unwrap_or_default();
        let since: Timestamp = now
            .parse()
            .map_err(|error| RuntimeError::Unexpected { what: what.to_owned(), detail: format!("`{now}`: {error}") })?;
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{}={owner}", labels::OWNER)]),
            ("event".to_owned(), KINDS.map(str::to_owned).to_vec()),
        ]);
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let options = EventsOptions { since: Some(since), until: None, filters: Some(filters) };
        let stream = self
            .client
            .events(Some(options))
            .take_while(|event| {
                let ended = event.as_ref().err().map(ToString::to_string);
                async move {
                    if let Some(error) = &ended {
                        tracing::warn!(%error, "Docker's event stream broke off");
                    }
                    ended.is_none()
                }
            })
            .filter_map(|event| async move { event.ok().and_then(container_event) });
        Ok(EventStream(stream.boxed()))
    }
}

fn container_event(event: EventMessage) -> Option<ContainerEvent> {
    let actor = event.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let action = event.action?;
    let kind = match action.split_once(": ").map_or((action.as_str(), ""), |(word, rest)| (word, rest)) {
        ("create", _) => EventKind::Created,
        ("start", _) => EventKind::Started,
        ("die", _) => EventKind::Died { exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()) },
        ("destroy", _) => EventKind::Destroyed,
        ("oom", _) => EventKind::OutOfMemory,
        ("health_status", verdict) => {
            Health::parse(verdict).map_or_else(|| EventKind::Other(action.clone()), EventKind::Health)
        }
        _ => EventKind::Other(action.clone()),
    };
    let time = event.time_nano.and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok());
    Some(ContainerEvent {
        id: ContainerId(actor.id?),
        name: attributes.get("name").cloned().unwrap_or_default(),
        kind,
        time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<ContainerEvent> {
        container_event(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn events_are_read_from_docker_s_words() {
        let event = parse(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"c1","Attributes":{"name":"a","exitCode":"137"}},
                "timeNano":1700000000000000001}"#,
        );
        let event = event.unwrap();
        assert_eq!((event.name.as_str(), event.kind), ("a", EventKind::Died { exit_code: Some(137) }));
        let health = parse(r#"{"Action":"health_status: unhealthy","Actor":{"ID":"c1","Attributes":{}}}"#).unwrap();
        assert_eq!(health.kind, EventKind::Health(Health::Unhealthy));
        assert_eq!(parse(r#"{"Action":"die"}"#), None);
    }
}
