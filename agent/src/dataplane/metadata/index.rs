//! A published front, arranged for looking up, and the rule who may ask what. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::project::metadata::{ContainerDocument, Front, FrontCredentials, FrontTask};

use super::limit::Caller;

/// Why a front cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrontError {
    /// Two things are asked for by the same id.
    #[error("the {what} `{id}` stands twice, last for {task}")]
    Twice {
        /// `endpoint id` or `credentials id`.
        what: &'static str,
        /// The id.
        id: String,
        /// The task's ARN.
        task: String,
    },
    /// Everybody could ask with it.
    #[error("an {what} of {task} is empty")]
    Empty {
        /// `endpoint id` or `credentials id`.
        what: &'static str,
        /// The task's ARN.
        task: String,
    },
}

/// A front that is served.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) front: Front,
    /// Endpoint id → place of its task in `front.tasks`.
    endpoints: HashMap<String, usize>,
    /// Credentials id → place of its task.
    credentials: HashMap<String, usize>,
    /// Source address → place of the task that alone has it and may use version 2.
    v2: HashMap<IpAddr, Option<usize>>,
}

impl Index {
    /// Arranges `front`.
    pub(super) fn new(front: Front) -> Result<Self, FrontError> {
        let (mut endpoints, mut credentials, mut v2) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (place, task) in front.tasks.iter().enumerate() {
            for id in task.endpoints.keys() {
                enter(&mut endpoints, "endpoint id", id, place, task)?;
            }
            if let Some(of) = &task.credentials {
                enter(&mut credentials, "credentials id", &of.id, place, task)?;
            }
            for source in &task.sources {
                // An address of two tasks tells neither.
                v2.entry(*source).and_modify(|of| *of = None).or_insert_with(|| task.v2.then_some(place));
            }
        }
        Ok(Self { front, endpoints, credentials, v2 })
    }

    /// The task that an endpoint id stands for, if `source` may ask for it.
    pub(super) fn by_endpoint(&self, id: &str, source: IpAddr) -> Option<&FrontTask> {
        self.endpoints.get(id).and_then(|place| self.front.tasks.get(*place)).filter(|task| may_ask(task, source))
    }

    /// The task and the container that an endpoint id stands for, if `source` may ask for it.
    pub(super) fn container(&self, id: &str, source: IpAddr) -> Option<(&FrontTask, &ContainerDocument)> {
        let task = self.by_endpoint(id, source)?;
        let name = task.endpoints.get(id)?;
        task.document.containers.iter().find(|container| container.name == *name).map(|container| (task, container))
    }

    /// Whether the container that an endpoint id stands for is not known to be there, though it may ask.
    pub(super) fn is_unseen(&self, id: &str, source: IpAddr) -> bool {
        self.container(id, source).is_some_and(|(_, container)| container.docker_id.is_empty())
    }

    /// The credentials that an id stands for, if `source` may ask for them.
    pub(super) fn credentials(&self, id: &str, source: IpAddr) -> Option<&FrontCredentials> {
        let task = self.credentials.get(id).and_then(|place| self.front.tasks.get(*place))?;
        task.credentials.as_ref().filter(|_| may_ask(task, source))
    }

    /// The task that asks from `source` in version 2.
    pub(super) fn by_source(&self, source: IpAddr) -> Option<&FrontTask> {
        let place = self.v2.get(&source).copied().flatten()?;
        self.front.tasks.get(place)
    }

    /// Whose requests are counted together: by address where a task has one of its own, else by a known id (9.1).
    pub(super) fn caller(&self, id: Option<&str>, source: IpAddr) -> Caller {
        if self.v2.contains_key(&source) {
            return Caller::Source(source);
        }
        match id {
            Some(id) if self.endpoints.contains_key(id) || self.credentials.contains_key(id) => {
                Caller::Id(id.to_owned())
            }
            _ => Caller::Source(source),
        }
    }
}

fn may_ask(task: &FrontTask, source: IpAddr) -> bool {
    task.sources.is_empty() || task.sources.contains(&source)
}

fn enter(
    ids: &mut HashMap<String, usize>,
    what: &'static str,
    id: &str,
    place: usize,
    task: &FrontTask,
) -> Result<(), FrontError> {
    if id.is_empty() {
        return Err(FrontError::Empty { what, task: task.task_arn.clone() });
    }
    match ids.insert(id.to_owned(), place) {
        None => Ok(()),
        Some(_) => Err(FrontError::Twice { what, id: id.to_owned(), task: task.task_arn.clone() }),
    }
}

/// A container of a task by Docker's id.
pub(super) fn by_docker_id<'a>(task: &'a FrontTask, id: &str) -> Option<&'a ContainerDocument> {
    task.document.containers.iter().find(|container| !id.is_empty() && container.docker_id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::metadata::example::{front, id};

    fn index(change: impl FnOnce(&mut Front)) -> Result<Index, FrontError> {
        let mut front = front("127.0.0.1:80".parse().unwrap());
        change(&mut front);
        Index::new(front)
    }

    #[test]
    fn an_id_stands_for_one_thing() {
        let twice = index(|front| {
            let again = front.tasks[0].endpoints.clone();
            front.tasks[1].endpoints = again;
        });
        assert!(matches!(twice, Err(FrontError::Twice { what: "endpoint id", .. })));
        let twice = index(|front| front.tasks[2].credentials = front.tasks[0].credentials.clone());
        assert!(matches!(twice, Err(FrontError::Twice { what: "credentials id", .. })));
        let empty = index(|front| {
            front.tasks[0].endpoints.insert(String::new(), "app".to_owned());
        });
        assert!(matches!(empty, Err(FrontError::Empty { .. })));
    }

    #[test]
    fn an_address_of_two_tasks_tells_neither_in_version_2() {
        let source = "127.10.0.1".parse().unwrap();
        let alone = index(|_| {}).unwrap();
        assert!(alone.by_source(source).is_some());
        let shared = index(|front| front.tasks[1].sources = front.tasks[0].sources.clone()).unwrap();
        assert!(shared.by_source(source).is_none());
        // By their ids they are still told apart.
        assert!(shared.by_endpoint(id::WEB_APP, source).is_some() && shared.by_endpoint(id::LONE, source).is_some());
    }

    #[test]
    fn requests_are_counted_by_address_where_a_task_has_one_and_by_id_where_it_has_none() {
        let index = index(|_| {}).unwrap();
        let (web, host) = ("127.10.0.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
        assert_eq!(index.caller(Some(id::WEB_APP), web), Caller::Source(web));
        assert_eq!(index.caller(Some(id::WEB_LOG), web), Caller::Source(web));
        assert_eq!(index.caller(Some(id::DAEMON), host), Caller::Id(id::DAEMON.to_owned()));
        // Who tries ids out has one bucket for all of them.
        assert_eq!(index.caller(Some("nope"), host), Caller::Source(host));
    }
}
