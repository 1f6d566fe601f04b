//! Checks of a task definition as RegisterTaskDefinition makes them (reference 1.10, 2.1–2.4), in its words.

use std::collections::BTreeSet;

use super::super::ids::NetworkMode;
use super::super::problem::{Problem, Severity};
use super::super::task_definition::{Condition, ContainerDefinition, HealthCheck, TaskDefinition};
use super::{container_network, error, is_ecs_name, wording};

const CODE: &str = "ClientException";

/// What the checks must know beside the definition.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The mode that its tasks will have.
    pub network_mode: NetworkMode,
    /// Whether a flag or the service puts this mode in place of the definition's own. Then what was written for that one is
    /// no fault: who read it has left it out with a word.
    pub overridden: bool,
    /// Whether it has to be fit for Fargate, which `requiresCompatibilities` asks for: then the task's size must be given.
    pub requires_fargate: bool,
    /// Whether its tasks run on Fargate: then the size, if given, must be one that Fargate has.
    pub runs_on_fargate: bool,
}

/// Everything that is wrong with a task definition; pointers are those of RegisterTaskDefinition.
pub fn task_definition(definition: &TaskDefinition, context: Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_ecs_name(&definition.family) {
        problems.push(
            error("/family", CODE, "Family contains invalid characters.")
                .with_hint("letters, digits, `-` and `_`, at most 255"),
        );
    }
    if definition.container_definitions.is_empty() {
        problems.push(error("/containerDefinitions", CODE, "Container list cannot be empty"));
    } else if !definition.container_definitions.iter().any(|c| c.essential) {
        problems.push(error("/containerDefinitions", CODE, "Task definition doesn't have any essential container"));
    }
    size(definition, context, &mut problems);
    let mut names = BTreeSet::new();
    for (index, container) in definition.container_definitions.iter().enumerate() {
        let at = format!("/containerDefinitions/{index}");
        if !container.name.as_str().is_empty() && !names.insert(&container.name) {
            problems.push(error(format!("{at}/name"), CODE, "Container names must be unique within a task definition"));
        }
        identity(container, &at, &mut problems);
        memory(container, definition, &at, &mut problems);
        if let Some(check) = &container.health_check {
            health_check(check, container.name.as_str(), &at, &mut problems);
        }
        for (position, ulimit) in container.ulimits.iter().enumerate() {
            // -1 is unlimited, above every number.
            let soft_is_above =
                ulimit.hard_limit != -1 && (ulimit.soft_limit == -1 || ulimit.soft_limit > ulimit.hard_limit);
            if soft_is_above {
                problems.push(error(
                    format!("{at}/ulimits/{position}/softLimit"),
                    CODE,
                    format!("Soft limit exceeds hard limit for ulimit {}", ulimit.name),
                ));
            }
        }
        if container.privileged && (context.requires_fargate || context.runs_on_fargate) {
            // AWS's words for this one are not known; the others of its family are like these.
            let message = "Tasks using the Fargate launch type do not support privileged containers.";
            problems.push(error(format!("{at}/privileged"), CODE, message));
        }
        dependencies(container, definition, &at, &mut problems);
    }
    container_network::of(definition, context.network_mode, &mut problems);
    if let Some(problem) = cycle(definition) {
        problems.push(problem);
    }
    problems
}

fn identity(container: &ContainerDefinition, at: &str, problems: &mut Vec<Problem>) {
    let name = container.name.as_str();
    if name.is_empty() {
        problems.push(error(format!("{at}/name"), CODE, "Container.name should not be null or empty."));
    } else if !is_ecs_name(name) {
        problems.push(
            error(format!("{at}/name"), CODE, format!("Container name '{name}' contains invalid characters."))
                .with_hint("letters, digits, `-` and `_`, at most 255"),
        );
    }
    if container.image.is_empty() {
        problems.push(error(format!("{at}/image"), CODE, "Container.image should not be null or empty."));
    }
}

/// The task's own cpu and memory.
fn size(definition: &TaskDefinition, context: Context, problems: &mut Vec<Problem>) {
    if definition.cpu.is_some_and(|units| !(128..=196_608).contains(&units)) {
        problems.push(
            error("/cpu", CODE, wording::invalid_task_size("cpu"))
                .with_hint("128 to 196608 units; 1024 units are one vCPU"),
        );
        return;
    }
    if context.requires_fargate {
        for (field, value) in [("cpu", definition.cpu), ("memory", definition.memory)] {
            if value.is_none() {
                problems.push(error(
                    format!("/{field}"),
                    CODE,
                    format!("Fargate requires that '{field}' be defined at the task level"),
                ));
            }
        }
    }
    if let (true, Some(cpu), Some(memory)) =
        (context.requires_fargate || context.runs_on_fargate, definition.cpu, definition.memory)
    {
        match fargate_memory(cpu) {
            None => problems.push(
                error("/cpu", CODE, "No Fargate configuration exists for given values.")
                    .with_hint("Fargate's sizes are 256, 512, 1024, 2048, 4096, 8192 and 16384 units"),
            ),
            Some(sizes) if !sizes.contains(&memory) => problems.push(
                error("/memory", CODE, "No Fargate configuration exists for given values.").with_hint(format!(
                    "with {cpu} units, memory is one of {}",
                    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
                )),
            ),
            Some(_) => {}
        }
    }
}

/// The memory sizes, MiB, that Fargate has for a number of cpu units.
fn fargate_memory(cpu: u32) -> Option<Vec<u32>> {
    let gib = |range: std::ops::RangeInclusive<u32>, step: usize| range.step_by(step).map(|g| g * 1024).collect();
    Some(match cpu {
        256 => vec![512, 1024, 2048],
        512 => gib(1..=4, 1),
        1024 => gib(2..=8, 1),
        2048 => gib(4..=16, 1),
        4096 => gib(8..=30, 1),
        8192 => gib(16..=60, 4),
        16384 => gib(32..=120, 8),
        _ => return None,
    })
}

fn memory(container: &ContainerDefinition, definition: &TaskDefinition, at: &str, problems: &mut Vec<Problem>) {
    let prefix = format!("Invalid setting for container '{}'.", container.name);
    match (container.memory, container.memory_reservation) {
        // ECS refuses it; on one machine nothing is reserved, so the task can run, and who deploys it later is told.
        (None, None) if definition.memory.is_none() => problems.push(Problem {
            severity: Severity::Warning,
            ..error(at, CODE, format!("{prefix} At least one of 'memory' or 'memoryReservation' must be specified."))
                .with_hint("ECS refuses this task definition; here the container runs without a limit")
        }),
        (Some(hard), Some(soft)) if soft > hard => problems.push(error(
            format!("{at}/memoryReservation"),
            CODE,
            format!("{prefix} 'memory' must be greater than or equal to 'memoryReservation'"),
        )),
        _ => {}
    }
    if let Some(hard) = container.memory {
        if hard < 6 {
            problems.push(
                error(
                    format!("{at}/memory"),
                    CODE,
                    format!("Invalid 'memory' setting for container '{}'.", container.name),
                )
                .with_hint("Docker's least is 6 MiB"),
            );
        }
        if definition.memory.is_some_and(|task| hard > task) {
            problems.push(error(
                format!("{at}/memory"),
                CODE,
                format!(
                    "{prefix} The 'memory' setting for container '{}' is greater than for the task",
                    container.name
                ),
            ));
        }
    }
}

fn health_check(check: &HealthCheck, container: &str, at: &str, problems: &mut Vec<Problem>) {
    let parts = [
        ("interval", check.interval.as_secs(), 5, 300),
        ("timeout", check.timeout.as_secs(), 2, 60),
        ("retries", u64::from(check.retries), 1, 10),
        ("startPeriod", check.start_period.as_secs(), 0, 300),
    ];
    for (field, value, least, most) in parts {
        let bound = if value < least {
            format!("greater than or equal to the minimum allowed value {least}")
        } else if value > most {
            format!("less than or equal to the maximum allowed value {most}")
        } else {
            continue;
        };
        problems.push(error(
            format!("{at}/healthCheck/{field}"),
            CODE,
            format!("Health check {field} must be {bound} for container '{container}'"),
        ));
    }
    if check.command.len() < 2 {
        problems.push(
            error(
                format!("{at}/healthCheck/command"),
                CODE,
                format!("Health check command is empty for container '{container}'"),
            )
            .with_hint("[\"CMD-SHELL\", \"curl -f http://localhost/ || exit 1\"]"),
        );
    }
}

fn dependencies(container: &ContainerDefinition, definition: &TaskDefinition, at: &str, problems: &mut Vec<Problem>) {
    for (index, dependency) in container.depends_on.iter().enumerate() {
        let at = format!("{at}/dependsOn/{index}");
        let Some(other) = definition.container(&dependency.container_name) else {
            let near = super::nearest(
                dependency.container_name.as_str(),
                definition.container_definitions.iter().map(|c| c.name.as_str()),
            );
            let problem = error(
                format!("{at}/containerName"),
                CODE,
                format!("Cannot depend on container + '{}' because it does not exist", dependency.container_name),
            );
            problems.push(match near {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            });
            continue;
        };
        let message = match dependency.condition {
            Condition::Success | Condition::Complete if other.essential => {
                "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
            }
            Condition::Healthy if other.health_check.is_none() => {
                "A dependency container with HEALTHY condition must have health check configured"
            }
            _ => continue,
        };
        problems.push(error(format!("{at}/condition"), CODE, message));
    }
}

/// Containers that wait for each other in a circle would never start.
fn cycle(definition: &TaskDefinition) -> Option<Problem> {
    let containers = &definition.container_definitions;
    for (start, container) in containers.iter().enumerate() {
        // Each search follows one start, so that the message names a circle and not what merely leads into one.
        let mut paths = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(path) = paths.pop() {
            let Some(here) = path.last().and_then(|last| containers.get(*last)) else { continue };
            let from = here.volumes_from.iter().map(|from| &from.source_container);
            let linked = here.links.iter().map(|link| &link.container_name);
            for name in here.depends_on.iter().map(|dependency| &dependency.container_name).chain(from).chain(linked) {
                let Some(next) = containers.iter().position(|c| &c.name == name) else { continue };
                if next == start {
                    let names: Vec<_> =
                        path.iter().filter_map(|i| containers.get(*i)).map(|c| c.name.as_str()).collect();
                    return Some(
                        error(
                            format!("/containerDefinitions/{start}/dependsOn"),
                            CODE,
                            "Container dependencies cannot form a cycle",
                        )
                        .with_hint(format!("{} → {}", names.join(" → "), container.name)),
                    );
                }
                if seen.insert(next) {
                    let mut longer = path.clone();
                    longer.push(next);
                    paths.push(longer);
                }
            }
        }
    }
    None
}
