//! The sockets of a front: one listener for each address, and the connections that it has accepted.
//!
//! Owned by [`super::serve`], which says which addresses there should be. One that cannot be listened on (yet) never
//! keeps the others from being served.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info};

use super::http::{Api, Serving, converse};

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub(super) struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// A listener that ended although nobody told it to.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) address: SocketAddr,
    pub(super) source: io::Error,
}

/// The addresses that are listened on.
#[derive(Debug)]
pub(super) struct Sockets {
    serving: Arc<Serving>,
    broken: mpsc::UnboundedSender<Broken>,
    listening: BTreeMap<(SocketAddr, Api), Listening>,
}

/// The listener on one address; it ends, and its connections with it, when `stop` is used or dropped.
#[derive(Debug)]
struct Listening {
    /// The address with the port that it has got, where none was named.
    bound: SocketAddr,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Sockets {
    /// No sockets yet; `broken` hears of those that end by themselves.
    pub(super) fn new(serving: Arc<Serving>, broken: mpsc::UnboundedSender<Broken>) -> Self {
        Self { serving, broken, listening: BTreeMap::new() }
    }

    /// Listens on exactly `wanted`, as far as possible; sockets that stay are not touched.
    pub(super) async fn listen(&mut self, wanted: BTreeSet<(SocketAddr, Api)>) -> Result<(), Vec<ListenError>> {
        let gone: Vec<_> = self.listening.keys().filter(|place| !wanted.contains(place)).copied().collect();
        for place in gone {
            if let Some(Listening { bound, stop, accepting }) = self.listening.remove(&place) {
                // Awaited, so that the socket is closed afterwards. It may have ended before: that is in `broken`.
                drop(stop);
                let _ended = accepting.await;
                info!(address = %bound, "stopped listening");
            }
        }
        let mut failed = Vec::new();
        for (address, api) in wanted {
            if self.listening.contains_key(&(address, api)) {
                continue;
            }
            match self.open(address, api).await {
                Ok(listening) => {
                    info!(address = %listening.bound, "listening");
                    self.listening.insert((address, api), listening);
                }
                Err(source) => failed.push(ListenError { address, source }),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// The addresses that are listened on.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.values().map(|listening| listening.bound).collect()
    }

    async fn open(&self, address: SocketAddr, api: Api) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (serving, broken) = (self.serving.clone(), self.broken.clone());
        let accepting = tokio::spawn(async move {
            let source = tokio::select! {
                source = accept(&listener, &serving, api) => source,
                _ = stopped => return,
            };
            // The receiver is gone when the front itself is ending.
            let _ending = broken.send(Broken { address: bound, source });
        });
        Ok(Listening { bound, stop, accepting })
    }
}

/// Accepts connections; returns only when the socket is unusable.
async fn accept(listener: &TcpListener, serving: &Arc<Serving>, api: Api) -> io::Error {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if !is_welcome(serving, api, &stream, peer) {
                    debug!(%peer, "not for the introspection API");
                } else if let Some(open) = serving.admit(peer) {
                    connections.spawn(converse(stream, open, api));
                } else {
                    debug!(%peer, "too many connections");
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            // No files left: the next connection that ends makes room.
            Err(error) => match connections.join_next().await {
                Some(_) => debug!(%error, "cannot accept a connection"),
                None => return error,
            },
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The instance itself and the containers on its Docker bridge, and nobody else (1.5).
fn is_welcome(serving: &Serving, api: Api, stream: &TcpStream, peer: SocketAddr) -> bool {
    if api == Api::Tasks {
        return true;
    }
    let index = serving.index();
    let introspection = index.as_ref().and_then(|index| index.front.introspection.as_ref());
    let source = peer.ip().to_canonical();
    let is_own = stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == source);
    is_own || introspection.is_some_and(|of| of.sources.iter().any(|network| network.contains(source)))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
