//! The loop: observe, decide, write, do, and again. The one place that knows the order, the clock and chance.
//!
//! It owns desired and observed state; everybody else sends it a [`Message`]: a question from the control socket, what a
//! step saw, an event of Docker's. Nothing is decided while Docker is away or before everything was looked at once, and
//! no step starts before what was decided is on disk.

mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use netmodes::bridge::ObservedInstance as InstanceLook;
use tokio::sync::{mpsc, watch};

use crate::apply::{Applier, ApplyError, NetworkLook, Seen, crash};
use crate::observe::{HolderId, Observed};
use crate::plan::ids::Ids;
use crate::plan::step::Step;
use crate::plan::{Plan, Setting, check, plan};
use crate::runtime::ObservedContainer;
use crate::spec::ids::{InstanceId, StackName};
use crate::store::secrets;
use crate::store::sqlite::{Store, StoreError};
use crate::store::state::State;

/// The longest time between two tries of a step that fails.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Between two tries of writing to a store that refuses.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What the loop is told.
pub enum Message {
    /// A question from the control socket; it runs inside the loop and answers for itself.
    Look(Box<dyn FnOnce(&Reconciler) + Send>),
    /// An order from the control socket, run and answered likewise.
    Order(Box<dyn FnOnce(&mut Reconciler) + Send>),
    /// A step ended.
    Done(Step, Result<Vec<Seen>, ApplyError>),
    /// Docker says that this container is so, or gone.
    Container(String, Option<Box<ObservedContainer>>),
    /// Docker is there: how to do things, and all containers that are ours.
    Connected(Arc<Applier>, Vec<ObservedContainer>),
    /// A full look begins: what is heard of from now on is newer than what it will say.
    Looking,
    /// The slow full look: every container that is ours, and every VPC and instance that could be entered.
    Looked(Vec<ObservedContainer>, Vec<(StackName, NetworkLook)>, Vec<(InstanceId, HolderId, InstanceLook)>),
    /// Docker is away.
    Disconnected,
    /// Where a pull stands.
    Pull(String, String),
}

/// A step that failed.
struct Retry {
    failures: u32,
    at: tokio::time::Instant,
}

/// Owner of all state.
pub struct Reconciler {
    /// What is wanted.
    pub state: State,
    /// What is there.
    pub observed: Observed,
    /// What does not change.
    pub setting: Setting,
    /// Fresh ids.
    pub ids: Ids,
    store: Store,
    applier: Option<Arc<Applier>>,
    retries: BTreeMap<String, Retry>,
    sender: mpsc::UnboundedSender<Message>,
    changed: watch::Sender<u64>,
    store_error: Option<String>,
    /// Containers, networks and instances that were heard of since the full look under way began.
    fresh_containers: BTreeSet<String>,
    fresh_networks: BTreeSet<StackName>,
    fresh_instances: BTreeSet<InstanceId>,
}

impl Reconciler {
    /// A loop over what is in the store. `changed` counts turns, for those who follow.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        store: Store,
        setting: Setting,
        seed: u64,
        sender: mpsc::UnboundedSender<Message>,
        changed: watch::Sender<u64>,
    ) -> Result<Self, StoreError> {
        let state = store.load()?;
        for violation in check::state(&state) {
            tracing::error!(severity = ?violation.severity, "the store holds what should not be: {violation}");
        }
        if let Err(error) = secrets::remove_unknown(&setting.data_dir, |stack| state.stack(stack).is_some()) {
            tracing::warn!(error = chain(&error), "what was left of a stack stays");
        }
        Ok(Self {
            state,
            observed: Observed::default(),
            setting,
            ids: Ids::from_seed(seed),
            store,
            applier: None,
            retries: BTreeMap::new(),
            sender,
            changed,
            store_error: None,
            fresh_containers: BTreeSet::new(),
            fresh_networks: BTreeSet::new(),
            fresh_instances: BTreeSet::new(),
        })
    }

    /// Turns until every sender of messages is gone.
    pub async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut wake = self.turn();
        loop {
            let message = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                () = sleep_until(wake) => {
                    wake = self.turn();
                    continue;
                }
            };
            // A question is no reason for a turn: those who follow the turns would ask again for ever.
            let mut matters = !matches!(message, Message::Look(_));
            self.take(message);
            // Whatever else is there already is one turn's matter.
            while let Ok(message) = messages.try_recv() {
                matters |= !matches!(message, Message::Look(_));
                self.take(message);
            }
            if matters {
                wake = self.turn();
            }
        }
    }

    /// How to do things, while Docker is there.
    pub fn applier(&self) -> Option<Arc<Applier>> {
        self.applier.clone()
    }

    /// Why the store refuses to be written, if it does.
    pub fn store_error(&self) -> Option<&str> {
        self.store_error.as_deref()
    }

    /// Changes the desired state by `edit`, and has it on disk before anything sees it.
    ///
    /// # Errors
    /// When `edit` refuses or the store cannot be written; the state is then as it was.
    pub fn change<T, E: From<StoreError>>(
        &mut self,
        edit: impl FnOnce(&mut State, &mut Ids) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut draft = self.state.clone();
        let result = edit(&mut draft, &mut self.ids)?;
        let dirty = draft.take_dirty();
        crash::point("before", crash::COMMIT);
        self.store.commit(&draft, &dirty)?;
        crash::point("after", crash::COMMIT);
        self.state = draft;
        Ok(result)
    }

    /// One turn; when the next one is due if nothing happens.
    fn turn(&mut self) -> Option<tokio::time::Instant> {
        let Some(applier) = self.applier.clone() else {
            self.changed.send_modify(|turns| *turns += 1);
            return None;
        };
        self.observed.drop_stale(&self.state, &self.setting);
        let now = Timestamp::now();
        let Plan { steps, wake_at } = plan(&mut self.state, &self.observed, &self.setting, now, &mut self.ids);
        let dirty = self.state.take_dirty();
        if !dirty.is_empty() {
            crash::point("before", crash::COMMIT);
            if let Err(error) = self.store.commit(&self.state, &dirty) {
                // What was decided stands, but nothing is done about it before it is on disk.
                self.state.mark_dirty(dirty);
                if self.store_error.is_none() {
                    tracing::error!(%error, "the store cannot be written; nothing is done until it can");
                }
                self.store_error = Some(error.to_string());
                self.changed.send_modify(|turns| *turns += 1);
                return Some(tokio::time::Instant::now() + STORE_RETRY);
            }
            crash::point("after", crash::COMMIT);
        }
        if self.store_error.take().is_some() {
            tracing::info!("the store can be written again");
        }
        let mut next = wake_at.map(|at| {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            // A little late rather than a little early, which would be a turn for nothing.
            tokio::time::Instant::now() + wait + Duration::from_millis(1)
        });
        let planned: BTreeSet<String> = steps.iter().map(Step::object).collect();
        self.retries.retain(|object, _| planned.contains(object));
        self.observed.failing.retain(|object, _| planned.contains(object));
        for step in steps {
            let object = step.object();
            // A step under way may still make what would then be left behind: its end is another turn.
            let of = match &step {
                Step::RemoveFiles { stack } => Some(stack.as_str()),
                Step::RemoveRemains { task, .. } => Some(task.as_str()),
                _ => None,
            };
            if of.is_some_and(|of| self.observed.under_way.iter().any(|busy| *busy != object && busy.contains(of))) {
                continue;
            }
            if let Some(retry) = self.retries.get(&object)
                && retry.at > tokio::time::Instant::now()
            {
                next = Some(next.map_or(retry.at, |at| at.min(retry.at)));
                continue;
            }
            if self.observed.under_way.insert(object) {
                tracing::debug!(kind = step.kind(), object = step.object(), "step");
                let (applier, sender) = (Arc::clone(&applier), self.sender.clone());
                tokio::spawn(async move {
                    let result = applier.apply(step.clone()).await;
                    // The loop is gone only when the agent ends.
                    let _ = sender.send(Message::Done(step, result));
                });
            }
        }
        self.changed.send_modify(|turns| *turns += 1);
        next
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Look(question) => question(self),
            Message::Order(order) => order(self),
            Message::Done(step, result) => self.done(step, result),
            Message::Container(name, container) => self.see_container(name, container),
            Message::Connected(applier, containers) => {
                self.applier = Some(applier);
                self.retries.clear();
                self.observed.images.clear();
                self.observed.own_image = None;
                // Who hears the fronts is opened when they are published.
                self.observed.forget_fronts(|_| true);
                self.observed.containers = containers.into_iter().map(|c| (c.name.clone(), c)).collect();
            }
            Message::Looking => {
                self.fresh_containers.clear();
                self.fresh_networks.clear();
                self.fresh_instances.clear();
            }
            Message::Looked(containers, networks, instances) => {
                self.see_all(containers);
                for (stack, look) in networks {
                    if !self.fresh_networks.contains(&stack) {
                        self.see_network(&stack, &look);
                    }
                }
                for (id, holder, look) in instances {
                    if !self.fresh_instances.contains(&id) {
                        self.see_instance(&id, &holder, &look);
                    }
                }
            }
            Message::Disconnected => {
                tracing::warn!("Docker is away");
                self.applier = None;
            }
            Message::Pull(image, status) => {
                self.observed.pulls.insert(image, status);
            }
        }
    }

    fn done(&mut self, step: Step, result: Result<Vec<Seen>, ApplyError>) {
        let object = step.object();
        self.observed.under_way.remove(&object);
        if let Step::PullImage { image, .. } = &step {
            self.observed.pulls.remove(image);
        }
        match result {
            Ok(seen) => {
                self.retries.remove(&object);
                self.observed.failing.remove(&object);
                for one in seen {
                    self.see(one);
                }
            }
            Err(error) if error.is_docker_away() => {}
            Err(error) => {
                let failures = self.retries.get(&object).map_or(0, |r| r.failures) + 1;
                let wait = Duration::from_millis(50 << failures.min(10)).min(LONGEST_RETRY);
                let text = chain(&error);
                tracing::warn!(kind = step.kind(), object, failures, error = text, "step failed");
                self.observed.failing.insert(object.clone(), format!("{object}: {text}"));
                self.retries.insert(object, Retry { failures, at: tokio::time::Instant::now() + wait });
            }
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    let mut said: Option<String> = None;
    while let Some(inner) = cause {
        let words = inner.to_string();
        // Many errors end in their cause's words, and some causes only add a number before the same words.
        let again = text.ends_with(&words) || said.is_some_and(|said| words.ends_with(&said));
        if !again {
            text.push_str(": ");
            text.push_str(&words);
        }
        said = Some(words);
        cause = inner.source();
    }
    text
}
