//! Answers that go on: the progress of a stack, the events of services, the logs of containers; one JSON value a line.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;

use super::api::{LogLine, ServiceEvent, Tasks};
use super::failure::{Failure, failure};
use super::server::{Server, Which, WhichTarget, known_stack};
use super::target;
use super::view::Lens;
use crate::apply::kept_logs;
use crate::reconcile::{Reconciler, chain};
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
    Ok(lines(each_change(server, move |r| {
        let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
        let docker = r.applier().is_some();
        Some(lens.progress(&stack, r.state.stack(&stack)?, r.store_error(), docker))
    })))
}

/// What the loop answers now, and again whenever that changes, until it has no answer or ends.
fn each_change<T: Clone + PartialEq + Send + 'static>(
    server: Server,
    question: impl Fn(&Reconciler) -> Option<T> + Clone + Send + 'static,
) -> impl Stream<Item = T> + Send + 'static {
    let changed = server.changed.clone();
    stream::unfold((server, changed, None::<T>), move |(server, mut changed, mut last)| {
        let question = question.clone();
        async move {
            loop {
                if last.is_some() {
                    changed.changed().await.ok()?;
                }
                changed.mark_unchanged();
                let question = question.clone();
                let now = server.read(move |r| question(r)).await.ok()??;
                if last.as_ref() != Some(&now) {
                    last = Some(now.clone());
                    return Some((now, (server, changed, last)));
                }
            }
        }
    })
}

/// The tasks, now and whenever one of them changes.
pub(super) async fn tasks(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Response, Failure> {
    let chosen = server.look(move |lens| known_stack(lens, which.stack.as_deref())).await??;
    Ok(lines(each_change(server, move |r| {
        let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
        Some(Tasks { tasks: lens.tasks(chosen.as_ref()) })
    })))
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
    let (targets, dirs) = {
        let wanted = which.target.clone();
        server
            .look(move |lens| -> Result<_, Failure> {
                let targets = target::find_with_last(lens, &wanted)?;
                let dirs = targets.iter().map(|t| lens.setting.logs_dir(&StackName::new(&t.stack)));
                let dirs: Vec<_> = dirs.collect();
                Ok((targets, dirs))
            })
            .await??
    };
    let docker = Docker::connect().await.map_err(|error| failure(chain(&error), 3))?;
    let options = LogOptions { follow: which.follow, tail: which.tail, since: None };
    let mut streams = Vec::new();
    for (target, dir) in targets.into_iter().zip(dirs) {
        for container in target.containers {
            let (task_id, service) = (target.task_id.clone(), target.service.clone());
            let line = move |stderr: bool, time: String, text: String| LogLine {
                task_id: task_id.clone(),
                service: service.clone(),
                container: container.name.clone(),
                stream: if stderr { "stderr" } else { "stdout" }.to_owned(),
                time,
                text: text.trim_end_matches(['\n', '\r']).to_owned(),
            };
            let kept = kept_logs::read(&dir, &container.docker_name, which.tail);
            if !kept.is_empty() {
                streams.push(stream::iter(kept).map(move |kept| line(kept.stderr, kept.time, kept.text)).boxed());
                continue;
            }
            // A container that is not there has no log; the others still have.
            let lines = docker.logs(&container.docker_name, options.clone()).filter_map(|line| async { line.ok() });
            let lines = lines.map(move |seen| {
                let text = String::from_utf8_lossy(&seen.bytes).into_owned();
                line(seen.stream == OutputStream::Stderr, seen.time.map(|t| t.to_string()).unwrap_or_default(), text)
            });
            streams.push(lines.boxed());
        }
    }
    Ok(lines(stream::select_all(streams)))
}
