//! A TARGET on the command line: a task's id or its first characters, a service's name, or `STACK/SERVICE`.
//!
//! The agent finds the tasks; here it is judged whether they are what one person can have meant.

use ::agent::control::api::{Target, TargetContainer};

use super::{Global, quoted};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::short;
use crate::start_agent;

/// Whether `text` names the service of `target`, not the task alone.
fn names_service(text: &str, target: &Target) -> bool {
    match text.split_once('/') {
        Some((stack, service)) => stack == target.stack && service == target.service,
        None => text == target.service,
    }
}

/// The agent, which a TARGET needs: without one there is no task.
pub(crate) async fn agent(global: &Global, text: &str) -> Result<Client, Failure> {
    start_agent::connect_to_existing(global).await?.ok_or_else(|| unknown(text))
}

/// The tasks that `text` names: all of one service, or one.
pub(crate) async fn find(client: &Client, text: &str) -> Result<Vec<Target>, Failure> {
    let found: Vec<Target> = client.get("/target", &[("target", Some(text))]).await?;
    unambiguous(text, found)
}

/// As [`find`], and of a service the last task that failed.
pub(crate) async fn find_with_failed(client: &Client, text: &str) -> Result<Vec<Target>, Failure> {
    let found: Vec<Target> = client.get("/target", &[("target", Some(text)), ("failed", Some("true"))]).await?;
    unambiguous(text, found)
}

/// The task that a command runs in: a service stands for its first RUNNING task.
pub(crate) async fn one_running(client: &Client, text: &str) -> Result<Target, Failure> {
    first_running(text, find(client, text).await?)
}

/// The container of that name.
pub(crate) fn container<'a>(target: &'a Target, name: &str) -> Result<&'a TargetContainer, Failure> {
    target.containers.iter().find(|container| container.name == name).ok_or_else(|| {
        let names: Vec<&str> = target.containers.iter().map(|container| container.name.as_str()).collect();
        Failure::input(format!("task {} has no container `{name}`", short(&target.task_id)))
            .with_hint(format!("it has {}", quoted(&names)))
    })
}

fn unambiguous(text: &str, found: Vec<Target>) -> Result<Vec<Target>, Failure> {
    let Some(first) = found.first() else { return Err(unknown(text)) };
    let one_service = found.iter().all(|other| other.stack == first.stack && other.service == first.service);
    if found.len() == 1 || (one_service && names_service(text, first)) {
        return Ok(found);
    }
    let mut meant: Vec<String> = found
        .iter()
        .map(|target| match names_service(text, target) {
            true => format!("{}/{}", target.stack, target.service),
            false => target.task_id.clone(),
        })
        .collect();
    meant.dedup();
    let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
    Err(Failure::input(format!("`{text}` could mean {} things", meant.len()))
        .with_hint(format!("name one of {}", quoted(&meant))))
}

fn first_running(text: &str, found: Vec<Target>) -> Result<Target, Failure> {
    let states: Vec<String> =
        found.iter().map(|target| format!("{} is {}", short(&target.task_id), target.last_status)).collect();
    found
        .into_iter()
        .find(|target| target.last_status == "RUNNING")
        .ok_or_else(|| Failure::failed(format!("no task of `{text}` is RUNNING: {}", states.join(", "))))
}

fn unknown(text: &str) -> Failure {
    Failure::input(format!("there is no task or service `{text}`")).with_hint("`ecsnet ps` lists them")
}

#[cfg(test)]
mod tests {
    use ::agent::spec::ids::NetworkMode;

    use super::*;

    fn target(stack: &str, service: &str, id: &str, status: &str) -> Target {
        Target {
            stack: stack.to_owned(),
            service: service.to_owned(),
            task_id: id.to_owned(),
            last_status: status.to_owned(),
            address: None,
            network_mode: NetworkMode::Awsvpc,
            containers: vec![],
            holder: None,
        }
    }

    #[test]
    fn a_service_is_all_its_tasks() {
        let found = vec![target("shop", "web", "1a", "RUNNING"), target("shop", "web", "2b", "RUNNING")];
        assert_eq!(unambiguous("web", found.clone()).unwrap().len(), 2);
        assert_eq!(unambiguous("shop/web", found).unwrap().len(), 2);
    }

    #[test]
    fn a_service_of_two_stacks_is_listed() {
        let found = vec![
            target("shop", "web", "1a", "RUNNING"),
            target("shop", "web", "2b", "RUNNING"),
            target("test", "web", "3c", "RUNNING"),
        ];
        let failure = unambiguous("web", found).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        insta::assert_snapshot!(failure, @"`web` could mean 2 things");
        insta::assert_snapshot!(failure.hint().unwrap(), @"name one of `shop/web`, `test/web`");
    }

    #[test]
    fn first_characters_of_two_tasks_are_listed() {
        let found = vec![target("shop", "web", "1a2b", "RUNNING"), target("shop", "web", "1a3c", "RUNNING")];
        insta::assert_snapshot!(unambiguous("1a", found).unwrap_err().hint().unwrap(), @"name one of `1a2b`, `1a3c`");
    }

    #[test]
    fn a_service_stands_for_its_first_running_task() {
        let found = vec![target("shop", "web", "1a", "PENDING"), target("shop", "web", "2b", "RUNNING")];
        assert_eq!(first_running("web", found).unwrap().task_id, "2b");
        let none = first_running("web", vec![target("shop", "web", "1a", "PENDING")]).unwrap_err();
        insta::assert_snapshot!(none, @"no task of `web` is RUNNING: 1a is PENDING");
    }
}
