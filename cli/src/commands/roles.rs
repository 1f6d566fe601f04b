//! What this binary is inside of containers: the data-plane roles, and the relay to the agent. Hidden from people.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;

/// Answer a stack's DNS questions from published files (run by the agent in a container)
#[derive(Debug, Args)]
pub(crate) struct Resolver {
    /// Where the zone is published
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Resolver {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        serve(::agent::dataplane::resolver::run(&self.dir))
    }
}

/// Answer a container instance's tasks at 169.254.170.2 from published files (run by the agent in a container)
#[derive(Debug, Args)]
pub(crate) struct Metadata {
    /// Where the front is published
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Metadata {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        serve(::agent::dataplane::metadata::run(&self.dir))
    }
}

/// Runs a role that carries traffic to its end.
fn serve<E: std::error::Error>(role: impl Future<Output = Result<(), E>>) -> Result<u8, Failure> {
    super::agent::log_to_stderr("info,hickory_server=warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
    match runtime.block_on(role) {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::failed(::agent::reconcile::chain(&error))),
    }
}

/// Holds a task's namespaces until it is told to end.
pub(crate) fn pause() -> Result<u8, Failure> {
    ::agent::dataplane::pause::run()
}

/// Tries what the kernel can, for `ecsnet doctor`.
pub(crate) async fn probe() -> Result<u8, Failure> {
    crate::render::json::print_json(&::agent::probe::run().await)?;
    Ok(0)
}

/// What the relay writes first, once it is connected.
pub(crate) const RELAYING: &str = "relaying\n";

/// Relays standard input and output to the agent's socket (run by the command line in the agent's container).
pub(crate) fn relay(socket: &Path) -> Result<u8, Failure> {
    let failed = |source| Failure::System { what: format!("connect to {}", socket.display()), source };
    let stream = UnixStream::connect(socket).map_err(failed)?;
    let mut there = stream.try_clone().map_err(failed)?;
    let mut output = io::stdout();
    output.write_all(RELAYING.as_bytes()).and_then(|()| output.flush()).map_err(Failure::Output)?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut there);
        // The other direction goes on until the agent has said all.
        let _ = there.shutdown(Shutdown::Write);
    });
    copy_at_once(stream, output.lock()).map_err(Failure::Output)?;
    Ok(0)
}

/// As [`io::copy`], but nothing that has come waits for more.
fn copy_at_once(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            length => to.write_all(&chunk[..length]).and_then(|()| to.flush())?,
        }
    }
}
