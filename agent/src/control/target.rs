//! What a TARGET names: a task id or its first characters, a service, or `STACK/SERVICE`.

use super::api::{ErrorReply, Holder, Target, TargetContainer};
use super::view::Lens;
use crate::spec::ids::StackName;
use crate::store::state::{Task, TaskStatus};

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
    let pause = lens.setting.pause_name(stack, &task.id);
    let holder = lens.observed.running(&pause).and_then(|(_, pid)| {
        let container = lens.observed.containers.get(&pause)?;
        Some(Holder {
            docker_name: pause.clone(),
            pid,
            hosts_path: container.hosts_path.clone()?,
            resolv_conf_path: container.resolv_conf_path.clone()?,
        })
    });
    let containers = task.definition.container_definitions.iter().map(|c| {
        let docker_name = lens.setting.app_name(stack, &task.id, &c.name);
        let running = lens.observed.running(&docker_name).is_some();
        TargetContainer { name: c.name.to_string(), docker_name, essential: c.essential, running }
    });
    Target {
        stack: stack.to_string(),
        service: task.service.to_string(),
        task_id: task.id.to_string(),
        last_status: task.status.as_str().to_owned(),
        address: task.eni.addresses.first().map(|a| a.address),
        containers: containers.collect(),
        holder,
    }
}
