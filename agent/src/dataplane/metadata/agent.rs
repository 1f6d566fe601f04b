//! The front's way to the agent: one connection to `agent.sock` for each question.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::AGENT_SOCKET;
use super::question::{FrontQuestion, FrontReply};
use crate::dataplane::published;

/// For a whole question: Docker takes up to two seconds for statistics that nobody has asked for before.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest question or reply: the statistics of a task of many containers.
pub(crate) const LINE_BYTES: u64 = 4 << 20;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    /// Nobody listens, or it went away.
    #[error("the agent of ecsnet does not answer: {0}")]
    Away(#[source] io::Error),
    /// It listens and says nothing.
    #[error("the agent of ecsnet did not reply within {PATIENCE:?}")]
    Late,
    /// It is of another version.
    #[error("the agent of ecsnet replied what is not understood: {0}")]
    Unexpected(#[source] serde_json::Error),
}

/// Asks the agent that listens in `dir`.
pub(super) async fn ask(dir: &Path, question: &FrontQuestion) -> Result<FrontReply, AgentError> {
    let socket = dir.join(AGENT_SOCKET);
    match timeout(PATIENCE, published::exchange(&socket, question, LINE_BYTES)).await {
        Ok(Ok(line)) => serde_json::from_slice(&line).map_err(AgentError::Unexpected),
        Ok(Err(source)) => Err(AgentError::Away(source)),
        Err(_) => Err(AgentError::Late),
    }
}
