//! Answers that go on: the progress of a stack, the events of services, the logs of containers; one JSON value a line.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;

use super::api::{LogLine, Progress, ServiceEvent};
use super::failure::{Failure, failure};
use super::server::{Server, Which, WhichTarget, known_stack};
use super::target;
use super::view::Lens;
use crate::reconcile::chain;
use crate::runtime::{Docker, LogOptions, OutputStream};
use crate::spec::ids::StackName;

/// One JSON value a line.
pub(super) fn lines<T: Serialize>(values: impl Stream<Item = T> + Send + 'static) -> Response {
    let body = values.map(|value| {
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(body)).into_response()
}

pub(super) async fn progress(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Response, Failure> {
    let name = which.stack.ok_or_else(|| failure("which stack?", 2))?;
    server
        .look({
            let name = name.clone();
            move |lens| known_stack(lens, Some(&name)).map(|_| ())
        })
        .await??;
    let stack = StackName::new(name);
    let follower = (server.clone(), server.changed.clone(), None::<Progress>, true);
    let progress = stream::unfold(follower, move |(server, mut changed, last, first)| {
        let stack = stack.clone();
        async move {
            let mut first = first;
            loop {
                if !first {
                    changed.changed().await.ok()?;
                }
                first = false;
                changed.mark_unchanged();
                let stack = stack.clone();
                let now = server
                    .ask(move |r| {
                        let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
                        let docker = r.applier().is_some();
                        Some(lens.progress(&stack, r.state.stack(&stack)?, r.store_error(), docker))
                    })
                    .await
                    .ok()??;
                if last.as_ref() != Some(&now) {
                    return Some((now.clone(), (server, changed, Some(now), false)));
                }
            }
        }
    });
    Ok(lines(progress))
}

pub(super) async fn events(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Response, Failure> {
    let chosen = server.look(move |lens| known_stack(lens, which.stack.as_deref())).await??;
    let follower = (server.clone(), server.changed.clone(), None::<BTreeSet<String>>);
    let batches = stream::unfold(follower, move |(server, mut changed, said)| {
        let chosen = chosen.clone();
        async move {
            if said.is_some() {
                if !which.follow {
                    return None;
                }
                changed.changed().await.ok()?;
            }
            changed.mark_unchanged();
            let all = server.look(move |lens| lens.events(chosen.as_ref())).await.ok()?;
            let known: BTreeSet<String> = all.iter().map(|e| e.id.clone()).collect();
            let fresh: Vec<ServiceEvent> =
                all.into_iter().filter(|e| said.as_ref().is_none_or(|said| !said.contains(&e.id))).collect();
            Some((stream::iter(fresh), (server, changed, Some(known))))
        }
    });
    Ok(lines(batches.flatten()))
}

pub(super) async fn logs(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichTarget>,
) -> Result<Response, Failure> {
    let targets = {
        let wanted = which.target.clone();
        server.look(move |lens| target::find(lens, &wanted)).await??
    };
    let docker = Docker::connect().await.map_err(|error| failure(chain(&error), 3))?;
    let options = LogOptions { follow: which.follow, tail: which.tail, since: None };
    let sources = targets.into_iter().flat_map(|t| {
        let (task_id, service) = (t.task_id, t.service);
        t.containers.into_iter().map(move |c| (task_id.clone(), service.clone(), c.name, c.docker_name))
    });
    let streams: Vec<_> = sources
        .map(|(task_id, service, container, docker_name)| {
            // A container that is not there has no log; the others still have.
            let lines = docker.logs(&docker_name, options.clone()).filter_map(|line| async move { line.ok() });
            lines
                .map(move |line| LogLine {
                    task_id: task_id.clone(),
                    service: service.clone(),
                    container: container.clone(),
                    stream: match line.stream {
                        OutputStream::Stdout => "stdout".to_owned(),
                        OutputStream::Stderr => "stderr".to_owned(),
                    },
                    time: line.time.map(|t| t.to_string()).unwrap_or_default(),
                    text: String::from_utf8_lossy(&line.bytes).trim_end_matches(['\n', '\r']).to_owned(),
                })
                .boxed()
        })
        .collect();
    Ok(lines(stream::select_all(streams)))
}
