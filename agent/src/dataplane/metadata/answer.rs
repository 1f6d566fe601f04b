//! What a question is answered, from the published front alone, or what the agent has to be asked for it. Pure.
//!
//! A task never learns of another: an id that is asked with from another task's address is answered as one that does not
//! exist, word for word.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::index::{Index, by_docker_id};
use super::path::{About, Asked, Tagged, Version};
use super::protection::{self, Body};
use super::question::{FrontQuestion, FrontReply};
use super::reply::{self, CredentialsError, Handler, Reply, credentials_error, json};
use crate::project::metadata::{ContainerDocument, FrontTask, object_of};

/// An answer, or how to get it.
#[derive(Debug)]
pub(super) enum Answer {
    /// To be sent.
    Ready(Reply),
    /// The agent has to be asked first.
    Ask(FrontQuestion, Then),
}

/// What becomes of the agent's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// The statistics of one container, by Docker's id.
    Container { id: String, handler: Handler, rates: bool },
    /// Those of a task: of these containers, by Docker's ids.
    Task { ids: Vec<String>, handler: Handler, rates: bool },
    /// A task's protection.
    Protection { task_arn: String },
}

/// A request, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) asked: Asked<'a>,
    /// Of a `PUT` of task protection.
    pub(super) body: &'a [u8],
    pub(super) source: IpAddr,
    pub(super) now: Timestamp,
}

/// Answers a request. Other than with protection the method does not matter, as with ECS's agent.
pub(super) fn answer(index: &Index, request: Request<'_>) -> Answer {
    let Request { method, asked, body, source, now } = request;
    match asked {
        Asked::Container(version, id) => Answer::Ready(match index.container(id, source) {
            None => Handler::Container(version).unknown(id),
            Some((_, container)) => match version {
                Version::V4 => json(StatusCode::OK, container),
                Version::V3 => json(StatusCode::OK, &container.to_v3()),
            },
        }),
        Asked::Task(version, id, tagged) => Answer::Ready(match index.by_endpoint(id, source) {
            None => Handler::Task(version).unknown(id),
            Some(task) => task_document(task, version, tagged),
        }),
        Asked::ContainerStats(version, id) => {
            let handler = Handler::ContainerStats(version);
            match index.container(id, source) {
                None => Answer::Ready(handler.unknown(id)),
                Some((task, container)) => container_stats(task, container, handler, version == Version::V4),
            }
        }
        Asked::TaskStats(version, id) => {
            let handler = Handler::TaskStats(version);
            match index.by_endpoint(id, source) {
                None => Answer::Ready(handler.unknown(id)),
                Some(task) => task_stats(task, handler, version == Version::V4),
            }
        }
        Asked::BySource(about) => by_source(index, about, source),
        Asked::Credentials(version, id) => Answer::Ready(match index.credentials(id, source) {
            _ if id.is_empty() => credentials_error(version, CredentialsError::NoId),
            None => credentials_error(version, CredentialsError::Unknown),
            Some(of) => match &of.keys {
                None => credentials_error(version, CredentialsError::Uninitialized),
                Some(keys) => {
                    let answer = Credentials {
                        role_arn: &of.role_arn,
                        access_key_id: &keys.access_key_id,
                        secret_access_key: keys.secret_access_key.reveal(),
                        token: keys.token.reveal(),
                        expiration: keys.expiration_at(now),
                    };
                    json(StatusCode::OK, &answer)
                }
            },
        }),
        Asked::Protection(id) => protection(index.by_endpoint(id, source), method, body),
        Asked::Nothing => Answer::Ready(reply::not_found()),
    }
}

/// What the credentials' paths answer (9.4).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    role_arn: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: Timestamp,
}

fn task_document(task: &FrontTask, version: Version, tagged: Tagged) -> Reply {
    let mut document = match (version, tagged) {
        (Version::V4, Tagged::No) => return json(StatusCode::OK, &task.document),
        (Version::V4, Tagged::Yes) => object_of(&task.document),
        (Version::V3, _) => task.document.to_v3(),
    };
    if tagged == Tagged::Yes {
        document.extend(object_of(&task.tags));
    }
    json(StatusCode::OK, &document)
}

fn by_source(index: &Index, about: About<'_>, source: IpAddr) -> Answer {
    let Some(task) = index.by_source(source) else {
        let message = format!("Unable to get task arn from request: unable to associate '{source}' with task");
        return Answer::Ready(json(StatusCode::BAD_REQUEST, &message));
    };
    match about {
        About::Task => Answer::Ready(task_document(task, Version::V3, Tagged::No)),
        About::TaskStats => task_stats(task, Handler::TaskStats(Version::V3), false),
        About::Container(id) => Answer::Ready(match by_docker_id(task, id) {
            Some(container) => json(StatusCode::OK, &container.to_v3()),
            None => json(StatusCode::NOT_FOUND, &format!("Unable to generate metadata for container '{id}'")),
        }),
        About::ContainerStats(id) => match by_docker_id(task, id) {
            Some(container) => container_stats(task, container, Handler::ContainerStats(Version::V3), false),
            None => Answer::Ready(no_stats(StatusCode::NOT_FOUND, id)),
        },
    }
}

fn container_stats(task: &FrontTask, container: &ContainerDocument, handler: Handler, rates: bool) -> Answer {
    let id = container.docker_id.clone();
    if id.is_empty() {
        return Answer::Ready(no_stats(StatusCode::INTERNAL_SERVER_ERROR, &id));
    }
    let containers = BTreeMap::from([(id.clone(), network_holder(task, container))]);
    Answer::Ask(FrontQuestion::Stats { containers }, Then::Container { id, handler, rates })
}

fn task_stats(task: &FrontTask, handler: Handler, rates: bool) -> Answer {
    // One that Docker has not made yet has no id to be shown by.
    let made = task.document.containers.iter().filter(|container| !container.docker_id.is_empty());
    let containers: BTreeMap<_, _> = made.map(|c| (c.docker_id.clone(), network_holder(task, c))).collect();
    let ids = containers.keys().cloned().collect();
    Answer::Ask(FrontQuestion::Stats { containers }, Then::Task { ids, handler, rates })
}

/// Whose network a container has: the task's, its own in bridge mode, or the instance's, which is not told of.
fn network_holder(task: &FrontTask, container: &ContainerDocument) -> Option<String> {
    let own = || container.networks.iter().any(|network| network.network_mode == "bridge");
    task.network_holder.clone().or_else(|| own().then(|| container.docker_id.clone()))
}

fn no_stats(status: StatusCode, docker_id: &str) -> Reply {
    json(status, &format!("Unable to get container stats for: {docker_id}"))
}

fn protection(task: Option<&FrontTask>, method: &Method, body: &[u8]) -> Answer {
    // In the order of ECS's agent: body, task, what the body says, role.
    let body: Option<Body> = match *method {
        Method::GET => None,
        Method::PUT => match protection::read(body) {
            None => return Answer::Ready(protection::undecodable()),
            body => body,
        },
        _ => return Answer::Ready(reply::text(StatusCode::METHOD_NOT_ALLOWED, "")),
    };
    let Some(task) = task else { return Answer::Ready(protection::unknown()) };
    let change = match body.map(Body::change).transpose() {
        Ok(change) => change,
        Err(message) => {
            let code = "InvalidParameterException";
            return Answer::Ready(protection::error(StatusCode::BAD_REQUEST, &task.task_arn, code, message));
        }
    };
    if task.credentials.is_none() {
        return Answer::Ready(protection::no_role(&task.task_arn));
    }
    let task_arn = task.task_arn.clone();
    Answer::Ask(FrontQuestion::Protection { task_arn: task_arn.clone(), change }, Then::Protection { task_arn })
}

impl Then {
    /// The answer that the agent's reply makes.
    pub(super) fn finish(self, reply: FrontReply) -> Reply {
        match (self, reply) {
            (Self::Protection { task_arn }, reply) => protection::answer(&task_arn, &reply),
            (Self::Container { id, rates, .. }, FrontReply::Stats(mut stats)) => {
                match stats.remove(&id).filter(|stats| !stats.is_null()) {
                    Some(stats) => json(StatusCode::OK, &shown(stats, rates)),
                    None => no_stats(StatusCode::INTERNAL_SERVER_ERROR, &id),
                }
            }
            (Self::Task { ids, rates, .. }, FrontReply::Stats(mut stats)) => {
                let of = |id: String| {
                    let stats = stats.remove(&id).unwrap_or_default();
                    (id, shown(stats, rates))
                };
                json(StatusCode::OK, &ids.into_iter().map(of).collect::<BTreeMap<_, _>>())
            }
            (Self::Container { .. } | Self::Task { .. }, FrontReply::Error(message)) => {
                json(StatusCode::INTERNAL_SERVER_ERROR, &message)
            }
            (Self::Container { .. } | Self::Task { .. }, _) => {
                json(StatusCode::INTERNAL_SERVER_ERROR, &"failed to get stats")
            }
        }
    }

    /// The answer when the agent does not reply: `reason` in words.
    pub(super) fn away(&self, reason: &str) -> Reply {
        match self {
            Self::Container { handler, .. } | Self::Task { handler, .. } => handler.away(reason),
            Self::Protection { task_arn } => {
                protection::error(StatusCode::SERVICE_UNAVAILABLE, task_arn, "ServerException", reason)
            }
        }
    }

    /// The answer when the agent is there and takes too long.
    pub(super) fn late(&self, reason: &str) -> Reply {
        match self {
            Self::Protection { task_arn } => {
                let message = "Timed out calling ECS Task Protection API";
                protection::error(StatusCode::GATEWAY_TIMEOUT, task_arn, "RequestCanceled", message)
            }
            stats => stats.away(reason),
        }
    }
}

/// Versions 2 and 3 have no rates.
fn shown(mut stats: Value, rates: bool) -> Value {
    if let (false, Value::Object(fields)) = (rates, &mut stats) {
        fields.shift_remove("network_rate_stats");
    }
    stats
}
