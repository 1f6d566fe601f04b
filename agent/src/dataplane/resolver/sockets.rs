//! The sockets of the resolver: one UDP socket and one TCP listener for each address, and a server of the library on them.
//!
//! Owned by [`super::serve`], which says which addresses there should be; answers come from [`super::handler`]. An address
//! that cannot be listened on (yet) never keeps the others from being served.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::info;

use super::handler::Handler;

/// A TCP client that asks nothing for so long is disconnected.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait for a slow TCP client.
const TCP_ANSWERS: usize = 32;

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} port {dns_port}: {source}")]
pub(super) struct ListenError {
    address: IpAddr,
    dns_port: u16,
    source: io::Error,
}

/// A socket that ended although nobody told it to.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) address: IpAddr,
    pub(super) reason: String,
}

/// The addresses that are listened on.
#[derive(Debug)]
pub(super) struct Sockets {
    handler: Handler,
    dns_port: u16,
    broken: mpsc::UnboundedSender<Broken>,
    listening: BTreeMap<IpAddr, Listening>,
}

/// The server on one address; it ends when `stop` is used or dropped.
#[derive(Debug)]
struct Listening {
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Sockets {
    /// No sockets yet; `broken` hears of those that end by themselves.
    pub(super) fn new(handler: Handler, dns_port: u16, broken: mpsc::UnboundedSender<Broken>) -> Self {
        Self { handler, dns_port, broken, listening: BTreeMap::new() }
    }

    /// Listens on exactly `wanted`, as far as possible; sockets that stay are not touched.
    pub(super) async fn listen(&mut self, wanted: &[IpAddr]) -> Result<(), Vec<ListenError>> {
        let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
        let gone: Vec<IpAddr> = self.listening.keys().filter(|address| !wanted.contains(*address)).copied().collect();
        for address in gone {
            if let Some(Listening { stop, server }) = self.listening.remove(&address) {
                // Awaited, so that the sockets are closed afterwards. It may have ended before: that is in `broken`.
                drop(stop);
                let _ended = server.await;
                info!(%address, "stopped listening");
            }
        }
        let mut failed = Vec::new();
        for address in wanted {
            if self.listening.contains_key(&address) {
                continue;
            }
            match self.open(address).await {
                Ok(server) => {
                    info!(%address, dns_port = self.dns_port, "listening");
                    self.listening.insert(address, server);
                }
                Err(source) => failed.push(ListenError { address, dns_port: self.dns_port, source }),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// The addresses that are listened on.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.listening.keys().copied().collect()
    }

    async fn open(&self, address: IpAddr) -> io::Result<Listening> {
        let udp = UdpSocket::bind((address, self.dns_port)).await?;
        let tcp = TcpListener::bind((address, self.dns_port)).await?;
        let mut server = Server::new(self.handler.clone());
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS);
        let broken = self.broken.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = server.block_until_done() => ended,
                _ = stopped => {
                    let _closed = server.shutdown_gracefully().await;
                    return;
                }
            };
            let reason = ended.map_or_else(|error| error.to_string(), |()| "the server ended".into());
            // The receiver is gone when the resolver itself is ending.
            let _ending = broken.send(Broken { address, reason });
        });
        Ok(Listening { stop, server })
    }
}
