//! `ecsnet flow-log`: the records of a VPC's flow log, for as long as somebody follows.
//!
//! That somebody follows is observed, never stored: the filter with its log rules is projected from it
//! ([`crate::project::security_groups::filter`]), so a follower that goes away, or an agent that dies with its followers,
//! takes the rules away again. One thread listens to a VPC, however many follow: the kernel has one listener for a log group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use netmodes::flow_log::watch::{self, WINDOW};
use netmodes::flow_log::{Window, records};
use netmodes::ids::{EniId, NetworkMode};
use netmodes::kernel::netns::Netns;
use serde::Deserialize;
use tokio::sync::{broadcast, mpsc};

use super::api::{ErrorReply, FlowLogLine};
use super::failure::{Failure, failure};
use super::follow::lines;
use super::server::Server;
use super::target;
use super::view::Lens;
use crate::observe::HolderId;
use crate::project::security_groups::router;
use crate::reconcile::{Message, chain};
use crate::spec::ids::{ACCOUNT, StackName};

/// How long the filter may take to log after it was asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Windows that a follower may be behind.
const BACKLOG: usize = 16;

/// The VPCs that are watched now.
#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<StackName, Weak<Watch>>>);

/// A VPC that is watched as long as this value lives.
struct Watch {
    /// Never read itself: followers begin where it stands. The thread alone sends, so its end is theirs.
    windows: broadcast::Receiver<Arc<Window>>,
    holder: HolderId,
    /// Its end stops the thread.
    _stop: UnixStream,
    _wish: Wish,
}

/// The wish for a log in a VPC's filter; it ends with this value.
struct Wish {
    stack: StackName,
    sender: mpsc::UnboundedSender<Message>,
}

impl Wish {
    fn new(stack: StackName, sender: mpsc::UnboundedSender<Message>) -> Self {
        let wish = Self { stack, sender };
        wish.change(|followers, stack| *followers.entry(stack).or_default() += 1);
        wish
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<StackName, usize>, StackName) + Send + 'static) {
        let stack = self.stack.clone();
        // A loop that has ended has no filter to change.
        let _ = self.sender.send(Message::Order(Box::new(move |r| edit(&mut r.observed.flow_log_followers, stack))));
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.change(|followers, stack| match followers.get_mut(&stack) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(followers.remove(&stack)),
        });
    }
}

/// Which flow log.
#[derive(Debug, Deserialize)]
pub(super) struct WhichFlows {
    target: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// What is shown of a stack: everything, or what is seen at the interfaces of a TARGET's tasks, which in bridge and host mode
/// are those of their container instances, or at that of an instance.
#[derive(Debug, Clone)]
struct Choice {
    stack: StackName,
    target: Option<String>,
}

/// The interfaces of a stack at one moment.
#[derive(Debug, Clone, Default)]
struct Interfaces {
    by_address: BTreeMap<IpAddr, EniId>,
    /// Those that are shown; all without a TARGET.
    shown: Option<BTreeSet<EniId>>,
    router: Vec<IpAddr>,
}

pub(super) async fn flow_log(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichFlows>,
) -> Result<Response, Failure> {
    let choices = server.look(move |lens| choose(lens, which.target.as_deref())).await??;
    let mut followed = Vec::new();
    for choice in choices {
        let watch = server.watch(&choice.stack).await?;
        followed.push((choice, watch.windows.resubscribe(), watch));
    }
    let started = FlowLogLine::Started { seconds: WINDOW.as_secs() };
    let each = followed.into_iter().map(|(choice, windows, watch)| {
        let server = server.clone();
        let first = (windows, watch, Interfaces::default(), false);
        let batches = stream::unfold(first, move |(mut windows, watch, before, done)| {
            let (server, choice) = (server.clone(), choice.clone());
            async move {
                if done {
                    return None;
                }
                let window = next(&server, &mut windows, &watch, &choice.stack).await?;
                let mut now = server.look(move |lens| interfaces(lens, &choice)).await.ok()?;
                // A task that has gone meanwhile was there when its packets were seen.
                let mut known = before.by_address;
                known.extend(std::mem::take(&mut now.by_address));
                if let (Some(shown), Some(earlier)) = (&mut now.shown, before.shown) {
                    shown.extend(earlier);
                }
                let mut found = records(&window, &known, &now.router);
                found.retain(|record| now.shown.as_ref().is_none_or(|shown| shown.contains(&record.eni)));
                let batch: Vec<_> = found.iter().map(|r| FlowLogLine::Record { line: r.line(ACCOUNT) }).collect();
                now.by_address = known;
                Some((stream::iter(batch), (windows, watch, now, !which.follow)))
            }
        });
        batches.flatten().boxed()
    });
    let all = stream::select_all(each.collect::<Vec<_>>());
    Ok(lines(stream::iter([started]).chain(all)))
}

/// The next window; none when the VPC that was watched is there no more.
async fn next(
    server: &Server,
    windows: &mut broadcast::Receiver<Arc<Window>>,
    watch: &Watch,
    stack: &StackName,
) -> Option<Arc<Window>> {
    let mut changed = server.changed.clone();
    loop {
        tokio::select! {
            window = windows.recv() => match window {
                Ok(window) => return Some(window),
                // Who reads too slowly is told with the next window that records are missing.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let window = windows.recv().await.ok()?;
                    return Some(Arc::new(Window { lost: true, ..Window::clone(&window) }));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            },
            turn = changed.changed() => {
                turn.ok()?;
                let stack = stack.clone();
                let holder = server.look(move |lens| holder_of(lens, &stack)).await.ok()?;
                if holder.as_ref() != Some(&watch.holder) {
                    return None;
                }
            }
        }
    }
}

fn choose(lens: &Lens<'_>, target: Option<&str>) -> Result<Vec<Choice>, Failure> {
    let Some(target) = target else {
        let all: Vec<Choice> =
            lens.state.stacks().keys().map(|stack| Choice { stack: stack.clone(), target: None }).collect();
        return if all.is_empty() { Err(failure("no stack is up", 2)) } else { Ok(all) };
    };
    let stacks: BTreeSet<StackName> = match target::find(lens, target) {
        Ok(found) if found.iter().all(|t| t.network_mode == NetworkMode::None) => {
            return Err(failure(format!("`{target}` is in network mode none, which has no network interface"), 1));
        }
        Ok(found) => found.iter().map(|t| StackName::new(&t.stack)).collect(),
        Err(unknown) => {
            let stack = StackName::new(target);
            if lens.state.stack(&stack).is_some() {
                return Ok(vec![Choice { stack, target: None }]);
            }
            if let Ok((stack, _)) = lens.find_instance(target) {
                return Ok(vec![Choice { stack, target: Some(target.to_owned()) }]);
            }
            return Err(Failure(ErrorReply {
                message: format!("`{target}` names no task, no service with tasks, no container instance and no stack"),
                ..unknown
            }));
        }
    };
    Ok(stacks.into_iter().map(|stack| Choice { stack, target: Some(target.to_owned()) }).collect())
}

fn holder_of(lens: &Lens<'_>, stack: &StackName) -> Option<HolderId> {
    lens.observed.running(&lens.setting.vpc_name(stack)).map(|(holder, _)| holder)
}

fn interfaces(lens: &Lens<'_>, choice: &Choice) -> Interfaces {
    let Some(stack) = lens.state.stack(&choice.stack) else { return Interfaces::default() };
    let by_address = stack.enis().flat_map(|eni| eni.addresses.iter().map(|a| (a.address, eni.id.clone()))).collect();
    let shown = choice.target.as_ref().map(|target| {
        let found = target::find(lens, target).unwrap_or_default();
        let tasks = found.iter().filter(|t| t.stack == choice.stack.as_str());
        let mut shown: BTreeSet<EniId> =
            tasks.filter_map(|t| Some(stack.eni_of(stack.tasks.get(t.task_id.as_str())?)?.id.clone())).collect();
        if found.is_empty() {
            let named = lens.find_instance(target).ok().and_then(|(_, id)| stack.instances.get(&id));
            shown.extend(named.map(|instance| instance.network.eni.id.clone()));
        }
        shown
    });
    let router = router(&stack.record).local_addresses();
    Interfaces { by_address, shown, router }
}

impl Server {
    /// The watch of a VPC, with the log in force.
    async fn watch(&self, stack: &StackName) -> Result<Arc<Watch>, Failure> {
        let applier = self.applier().await?;
        let vpc = {
            let stack = stack.clone();
            self.look(move |lens| lens.setting.vpc_name(&stack)).await?
        };
        let (holder, netns) = applier.networks().netns_of(&vpc).await.map_err(|error| failure(chain(&error), 1))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let watch = loop {
            match self.join_watch(stack, &holder, &netns) {
                Ok(watch) => break watch,
                Err(refused) if tokio::time::Instant::now() > deadline => return Err(refused),
                // The last follower may just have left: its thread is on its way out, and only the kernel knows when the
                // log groups are free again.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut changed = self.changed.clone();
        let in_force = async {
            loop {
                changed.mark_unchanged();
                let stack = stack.clone();
                let logs = self.look(move |lens| {
                    let network = lens.observed.networks.get(&stack);
                    network.and_then(|n| n.filter.as_ref()).is_some_and(|filter| filter.flow_log)
                });
                if logs.await? {
                    return Ok(());
                }
                changed.changed().await.map_err(|_| failure("the agent is ending", 1))?;
            }
        };
        match tokio::time::timeout(PATIENCE, in_force).await {
            Ok(done) => done.map(|()| watch),
            Err(_) => Err(failure(format!("the filter of stack `{stack}` does not log"), 1)),
        }
    }

    /// The watch that there is, or a new one.
    fn join_watch(&self, stack: &StackName, holder: &HolderId, netns: &Netns) -> Result<Arc<Watch>, Failure> {
        let mut watches = self.watches.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|_, watch| watch.strong_count() > 0);
        if let Some(watch) = watches.get(stack).and_then(Weak::upgrade).filter(|watch| watch.holder == *holder) {
            return Ok(watch);
        }
        let watch = self.start_watch(stack, holder.clone(), netns)?;
        watches.insert(stack.clone(), Arc::downgrade(&watch));
        Ok(watch)
    }

    fn start_watch(&self, stack: &StackName, holder: HolderId, netns: &Netns) -> Result<Arc<Watch>, Failure> {
        let watching = netns.try_clone().and_then(watch::Watch::open);
        let mut watching = watching.map_err(|error| failure(chain(&error), 1))?;
        let (stop, stopped) =
            UnixStream::pair().map_err(|error| failure(format!("cannot make a socket: {error}"), 1))?;
        let (followers, windows) = broadcast::channel(BACKLOG);
        let name = stack.clone();
        let thread = move || {
            loop {
                match watching.next(stopped.as_fd()) {
                    Ok(Some(window)) => drop(followers.send(Arc::new(window))),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(stack = %name, error = chain(&error), "the flow log cannot be read");
                        return;
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("flow-log".to_owned())
            .spawn(thread)
            .map_err(|error| failure(format!("cannot start a thread: {error}"), 1))?;
        let wish = Wish::new(stack.clone(), self.sender.clone());
        Ok(Arc::new(Watch { windows, holder, _stop: stop, _wish: wish }))
    }
}
