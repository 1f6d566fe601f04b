//! `ecsnet forward`: a port of this machine's loopback that leads to a port of a task.
//!
//! Each connection is carried by the agent into the task's own namespace, so it needs neither root here nor `hostAccess`,
//! and no security group stands between. It asks nothing of the host's network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use tokio::net::{TcpListener, TcpStream};

use super::{Global, target};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::say;

/// Reach a port of a task from this machine's loopback
#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// A task, a service or STACK/SERVICE (its first RUNNING task, anew for each connection), and the port of its container
    #[arg(value_name = "TARGET:PORT", value_parser = destination)]
    destination: (String, u16),
    /// The port on 127.0.0.1, 0 for any that is free [default: PORT]
    #[arg(value_name = "LOCAL")]
    local: Option<u16>,
}

impl Forward {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let (name, port) = self.destination;
        let client = target::agent(global, &name).await?;
        let task = target::one_running(&client, &name).await?;
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, self.local.unwrap_or(port)));
        let listener = TcpListener::bind(wanted).await.map_err(|source| no_port(wanted, &source))?;
        let local = listener.local_addr().map_err(|source| no_port(wanted, &source))?;
        say(format_args!("{local} leads to port {port} of {} ({}); Ctrl-C ends it", task.service, task.task_id));
        loop {
            let (caller, _) = listener
                .accept()
                .await
                .map_err(|source| Failure::System { what: format!("take a connection on {local}"), source })?;
            tokio::spawn(carry(client.clone(), name.clone(), port, caller));
        }
    }
}

/// One connection to its end; a task that takes none is said here, and the caller's connection is closed.
async fn carry(client: Client, target: String, port: u16, mut caller: TcpStream) {
    match client.forward(&target, port).await {
        // One of the two went away in the middle, and the other one is told by the end of its own.
        Ok(mut task) => drop(tokio::io::copy_bidirectional(&mut caller, &mut task).await),
        Err(error) => say(error),
    }
}

fn no_port(address: SocketAddr, error: &io::Error) -> Failure {
    let failure = Failure::input(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => failure.with_hint("name another LOCAL port, or 0 for any that is free"),
        io::ErrorKind::PermissionDenied => failure.with_hint("ports below 1024 are root's: name another LOCAL port"),
        _ => failure,
    }
}

fn destination(text: &str) -> Result<(String, u16), String> {
    let split = text.rsplit_once(':').filter(|(target, _)| !target.is_empty());
    let (target, port) = split.ok_or("expected TARGET:PORT, as in web:8080")?;
    match port.parse() {
        Ok(port) if port > 0 => Ok((target.to_owned(), port)),
        _ => Err(format!("`{port}` is not a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn a_destination_is_a_target_and_a_port() {
        assert_eq!(destination("shop/web:8080"), Ok(("shop/web".to_owned(), 8080)));
        for wrong in ["web", ":80", "web:", "web:0", "web:65536", "web:http"] {
            assert!(destination(wrong).is_err(), "{wrong}");
        }
    }
}
