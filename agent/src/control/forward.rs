//! `ecsnet forward`: a connection of the caller's, carried on to a port of a task.
//!
//! Opened inside the task's own namespace, as a program in there would: no security group stands between, as none does
//! between the containers of a task. In bridge mode that is the namespace of the container that maps the port, in host mode
//! the instance's. The request is upgraded, and from then on both ways carry the bytes as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{Query, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::TokioIo;
use netmodes::kernel::netns::Netns;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::api::FORWARD_PROTOCOL;
use super::failure::{Failure, failure};
use super::server::Server;
use super::target;
use crate::reconcile::chain;

/// How long the task may take to accept; inside its own namespace that is a matter of its backlog alone.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
pub(super) struct WhichPort {
    target: String,
    port: u16,
}

pub(super) async fn forward(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichPort>,
    request: Request,
) -> Result<Response, Failure> {
    let (holder, address, who) = server
        .look(move |lens| -> Result<_, Failure> {
            let found = target::find(lens, &which.target)?;
            let stands = format!("no task of `{}` is RUNNING", which.target);
            let running = found.into_iter().find(|t| t.last_status == "RUNNING").ok_or_else(|| failure(stands, 1))?;
            let no_network = || failure(format!("task {} has no network", running.task_id), 1);
            let (holder, address) = target::inside(lens, &running, which.port).ok_or_else(no_network)?;
            Ok((holder, address, format!("{} ({})", running.service, running.task_id)))
        })
        .await??;
    // By its name: the process that was seen last may have ended, and its number be another's.
    let netns = server.applier().await?.networks().netns_of(&holder).await;
    let (_, netns) =
        netns.map_err(|error| failure(format!("cannot enter the network of {who}: {}", chain(&error)), 1))?;
    let mut task = tokio::task::spawn_blocking(move || connect(&netns, address, which.port))
        .await
        .map_err(|error| failure(error.to_string(), 1))?
        .and_then(TcpStream::from_std)
        .map_err(|error| failure(format!("no connection to port {} of {who}: {error}", which.port), 1))?;
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            // Either side may go away in the middle; the other one is told by the end of its connection.
            Ok(caller) => {
                let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(caller), &mut task).await;
            }
            Err(error) => tracing::debug!(%error, "a caller went away before its connection was carried on"),
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, FORWARD_PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Connects inside a namespace: to its loopback, or to its own address when nothing listens there.
fn connect(netns: &Netns, address: Option<IpAddr>, port: u16) -> io::Result<std::net::TcpStream> {
    let to = |ip: IpAddr| std::net::TcpStream::connect_timeout(&SocketAddr::from((ip, port)), PATIENCE);
    let connected = netns.run(|| match (to(Ipv4Addr::LOCALHOST.into()), address) {
        (Err(error), Some(own)) if error.kind() == io::ErrorKind::ConnectionRefused => to(own),
        (outcome, _) => outcome,
    });
    let stream = connected.map_err(|error| io::Error::other(chain(&error)))??;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
