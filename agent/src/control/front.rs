//! The agent's ear in a metadata front's directory: `agent.sock`, for what a front cannot answer from its document.
//!
//! A front asks for the statistics of containers and for task protection ([`FrontQuestion`]). The agent opens the socket
//! when it publishes the front's first document, and again after each start of its own. Nothing is decided here.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::UnixListener;

use crate::dataplane::metadata::question::{FrontQuestion, FrontReply, ProtectionChange};
use crate::dataplane::metadata::{AGENT_SOCKET, agent::LINE_BYTES};
use crate::dataplane::published;
use crate::observe::statistics::Statistics;
use crate::runtime::Docker;

/// Opens the socket in a front's directory, in place of one that an agent before has left.
///
/// # Errors
/// When it cannot be made.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    published::bind(dir, AGENT_SOCKET)
}

/// Answers a front's questions; returns only when the socket is unusable.
///
/// `docker` gives the way to Docker, or nothing while it is away. `protection` asks the agent's loop: of the task with
/// this ARN, after this change, and replies with [`FrontReply::Protection`] or [`FrontReply::Failure`].
pub async fn serve<D, P>(
    listener: UnixListener,
    statistics: Arc<Statistics>,
    docker: impl Fn() -> D + Clone + Send + Sync + 'static,
    protection: impl Fn(String, Option<ProtectionChange>) -> P + Clone + Send + Sync + 'static,
) -> io::Error
where
    D: Future<Output = Option<Docker>> + Send,
    P: Future<Output = FrontReply> + Send,
{
    published::accept(listener, move |stream| {
        let (statistics, docker, protection) = (statistics.clone(), docker.clone(), protection.clone());
        async move {
            let reply = |question| async {
                match question {
                    FrontQuestion::Protection { task_arn, change } => protection(task_arn, change).await,
                    FrontQuestion::Stats { containers } => match docker().await {
                        Some(docker) => measure(&statistics, &docker, &containers).await,
                        None => FrontReply::Error("Docker does not answer".to_owned()),
                    },
                }
            };
            published::converse(stream, LINE_BYTES, FrontReply::Error, reply).await;
        }
    })
    .await
}

async fn measure(
    statistics: &Statistics,
    docker: &Docker,
    containers: &BTreeMap<String, Option<String>>,
) -> FrontReply {
    let one = async |(id, holder): (&String, &Option<String>)| {
        let measured = statistics.of(docker, id, holder.as_deref()).await;
        measured.map(|measured| (id.clone(), measured.unwrap_or(Value::Null)))
    };
    let measured: Result<BTreeMap<_, _>, _> = join_all(containers.iter().map(one)).await.into_iter().collect();
    match measured {
        Ok(measured) => FrontReply::Stats(measured),
        Err(error) => FrontReply::Error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tempfile::TempDir;

    use super::*;
    use crate::dataplane::metadata::question::ProtectionState;

    #[tokio::test]
    async fn protection_is_asked_for_and_statistics_need_docker() {
        let dir = TempDir::new().unwrap();
        let protection = |arn: String, change: Option<ProtectionChange>| {
            assert_eq!(arn, "arn:web");
            ready(FrontReply::Protection(ProtectionState { enabled: change.is_some(), expiration: None }))
        };
        let serving = serve(listen(dir.path()).unwrap(), Arc::default(), || ready(None), protection);
        let serving = tokio::spawn(serving);
        let ask = async |question: FrontQuestion| {
            let line = published::exchange(&dir.path().join(AGENT_SOCKET), &question, LINE_BYTES).await.unwrap();
            serde_json::from_slice::<FrontReply>(&line).unwrap()
        };
        let change = Some(ProtectionChange { enabled: true, expires_in_minutes: 5 });
        let replied = ask(FrontQuestion::Protection { task_arn: "arn:web".to_owned(), change }).await;
        assert_eq!(replied, FrontReply::Protection(ProtectionState { enabled: true, expiration: None }));
        let containers = BTreeMap::from([("id".to_owned(), None)]);
        let replied = ask(FrontQuestion::Stats { containers }).await;
        assert_eq!(replied, FrontReply::Error("Docker does not answer".to_owned()));
        serving.abort();
    }
}
