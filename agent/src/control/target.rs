//! What a TARGET names: a task id or its first characters, a service, or `STACK/SERVICE`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netmodes::ids::NetworkMode;
use netmodes::vpc::eni::Eni;

use super::api::{ErrorReply, Holder, Target, TargetContainer};
use super::view::Lens;
use crate::spec::ids::StackName;
use crate::spec::task_definition::TransportProtocol;
use crate::store::task::{PortBinding, Task, TaskStatus};

/// Every task that `target` names, those in service first.
///
/// # Errors
/// When it names nothing; the answer lists what there is.
pub fn find(lens: &Lens<'_>, target: &str) -> Result<Vec<Target>, ErrorReply> {
    let (stack, name) = match target.split_once('/') {
        Some((stack, name)) => (Some(stack), name),
        None => (None, target),
    };
    let stacks = lens.state.stacks().iter().filter(|(s, _)| stack.is_none_or(|wanted| s.as_str() == wanted));
    let tasks = stacks.flat_map(|(s, in_stack)| in_stack.tasks.values().map(move |task| (s, task)));
    let live = |task: &Task| task.status != TaskStatus::Stopped;
    let all: Vec<_> = tasks.collect();
    let mut found: Vec<_> = all.iter().filter(|(_, t)| t.service.as_str() == name && live(t)).copied().collect();
    if found.is_empty() && name.len() >= 3 {
        found = all.iter().filter(|(_, t)| t.id.as_str().starts_with(name)).copied().collect();
    }
    if found.is_empty() {
        let mut known: Vec<String> = lens
            .state
            .stacks()
            .iter()
            .flat_map(|(s, in_stack)| in_stack.services.keys().map(move |service| format!("{s}/{service}")))
            .collect();
        known.sort();
        let hint = if known.is_empty() {
            "no stack is up".to_owned()
        } else {
            format!("services: {}; tasks: `ecsnet ps`", known.join(", "))
        };
        if let Some(service) = known.iter().find(|known| *known == target || known.ends_with(&format!("/{target}"))) {
            let message = format!("service `{service}` has no task now");
            let hint = "`ecsnet ps --all --output wide` says why its last ones stopped".to_owned();
            return Err(ErrorReply { message, hint: Some(hint), exit_code: 2 });
        }
        let message = format!("`{target}` names no task and no service");
        return Err(ErrorReply { message, hint: Some(hint), exit_code: 2 });
    }
    found.sort_by_key(|(_, t)| (t.status != TaskStatus::Running, t.created_at));
    Ok(found.into_iter().map(|(stack, task)| describe(lens, stack, task)).collect())
}

/// Every task that `target` names whose logs there are: those of [`find`], and of a service the last one that failed.
///
/// # Errors
/// As [`find`].
pub fn find_with_last(lens: &Lens<'_>, target: &str) -> Result<Vec<Target>, ErrorReply> {
    let (stack, name) = match target.split_once('/') {
        Some((stack, name)) => (Some(stack), name),
        None => (None, target),
    };
    let stacks = lens.state.stacks().iter().filter(|(s, _)| stack.is_none_or(|wanted| s.as_str() == wanted));
    let ended = stacks.flat_map(|(stack, in_stack)| {
        let mine = in_stack.tasks.values().filter(|t| t.service.as_str() == name && t.status == TaskStatus::Stopped);
        let failed = mine.filter(|t| t.stop.as_ref().is_some_and(|stop| stop.code.is_failure()));
        failed.max_by_key(|t| t.stopped_at).map(|task| describe(lens, stack, task))
    });
    let mut ended: Vec<Target> = ended.collect();
    match find(lens, target) {
        Ok(live) => {
            ended.extend(live);
            Ok(ended)
        }
        Err(_) if !ended.is_empty() => Ok(ended),
        Err(error) => Err(error),
    }
}

/// The one task that `target` names.
///
/// # Errors
/// When it names none, or several: the answer lists them.
pub fn find_one(lens: &Lens<'_>, target: &str) -> Result<Target, ErrorReply> {
    let mut found = find(lens, target)?;
    if found.len() > 1 {
        let list: Vec<String> = found.iter().map(|t| format!("{} ({}/{})", t.task_id, t.stack, t.service)).collect();
        let message = format!("`{target}` names {} tasks", found.len());
        return Err(ErrorReply { message, hint: Some(format!("one of: {}", list.join(", "))), exit_code: 2 });
    }
    Ok(found.swap_remove(0))
}

fn describe(lens: &Lens<'_>, stack: &StackName, task: &Task) -> Target {
    let holder = |name: Option<String>| {
        let name = name?;
        let (_, pid) = lens.observed.running(&name)?;
        let container = lens.observed.containers.get(&name)?;
        Some(Holder {
            docker_name: name,
            pid,
            hosts_path: container.hosts_path.clone()?,
            resolv_conf_path: container.resolv_conf_path.clone()?,
        })
    };
    let containers = task.definition.container_definitions.iter().map(|c| {
        let docker_name = lens.setting.app_name(stack, &task.id, &c.name);
        let running = lens.observed.running(&docker_name).is_some();
        let holder = holder(lens.setting.netns_of_container(stack, task, &c.name));
        TargetContainer { name: c.name.to_string(), docker_name, essential: c.essential, running, holder }
    });
    Target {
        stack: stack.to_string(),
        service: task.service.to_string(),
        task_id: task.id.to_string(),
        last_status: task.status.as_str().to_owned(),
        address: lens.state.stack(stack).and_then(|s| s.eni_of(task)).and_then(Eni::primary_address),
        network_mode: task.mode(),
        containers: containers.collect(),
        holder: holder(lens.setting.netns_of(stack, task)),
    }
}

/// Where a TCP port of a running task is, as a program inside sees it: the container that holds the namespace, and the
/// address there beside loopback.
///
/// In bridge mode each container has its own: that of the container that maps the port, else of the first one.
pub fn inside(lens: &Lens<'_>, target: &Target, port: u16) -> Option<(String, Option<IpAddr>)> {
    let stack = StackName::new(&target.stack);
    let task = lens.state.stack(&stack)?.tasks.get(target.task_id.as_str())?;
    let has_it = |binding: &&PortBinding| {
        let offset = port.checked_sub(binding.container_port);
        binding.protocol == TransportProtocol::Tcp && offset.is_some_and(|offset| offset < binding.count)
    };
    let attachments: BTreeMap<_, _> = task.attachments().collect();
    let mapping = task.bindings().iter().find(has_it).map(|binding| &binding.container);
    let mut names = task.definition.container_definitions.iter().map(|c| &c.name);
    match mapping.or_else(|| names.find(|name| attachments.contains_key(name))) {
        Some(container) if task.mode() == NetworkMode::Bridge => {
            let address = attachments.get(container).map(|attachment| IpAddr::V4(attachment.address));
            Some((lens.setting.netns_of_container(&stack, task, container)?, address))
        }
        _ => Some((lens.setting.netns_of(&stack, task)?, target.address)),
    }
}
