//! What the state looks like from outside: AWS's own shapes (reference 2.11, 3.4), with what AWS lacks under `ecsnet`.

use jiff::Timestamp;
use serde_json::json;

use super::api::{Progress, ServiceEvent, ServiceView, StackSummary, TaskView};
use crate::observe::Observed;
use crate::plan::network::is_linked;
use crate::plan::{FARGATE_OPEN_FILES, Setting};
use crate::spec::ids::{ServiceName, StackName, arn};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::{ContainerDefinition, TaskDefinition};
use crate::store::state::{Rollout, ServiceState, StackState, State};
use crate::store::task::{Task, TaskStatus};

/// The lens: everything that a view reads.
pub struct Lens<'a> {
    /// Desired.
    pub state: &'a State,
    /// Observed.
    pub observed: &'a Observed,
    /// Names.
    pub setting: &'a Setting,
}

pub(super) fn launch_type(launch_type: LaunchType) -> &'static str {
    match launch_type {
        LaunchType::Fargate => "FARGATE",
        LaunchType::Ec2 => "EC2",
    }
}

impl Lens<'_> {
    /// A stack in a line.
    pub fn summary(&self, name: &StackName, stack: &StackState) -> StackSummary {
        StackSummary {
            name: name.to_string(),
            status: if stack.record.leaving { "DELETING" } else { "ACTIVE" }.to_owned(),
            tasks: stack.tasks.values().filter(|t| t.status != TaskStatus::Stopped).count() as u32,
        }
    }

    pub(super) fn network_failure(&self, stack: &StackName) -> Option<String> {
        let names = [
            format!("container {}", self.setting.vpc_name(stack)),
            format!("container {}", self.setting.resolver_name(stack)),
            format!("filter of {stack}"),
            format!("router of {stack}"),
            format!("zone of {stack}"),
            "own image".to_owned(),
        ];
        names.iter().find_map(|object| self.observed.failing.get(object).cloned())
    }

    /// A service as DescribeServices shows it.
    pub fn service(
        &self,
        stack_name: &StackName,
        stack: &StackState,
        name: &ServiceName,
        service: &ServiceState,
    ) -> ServiceView {
        let region = &stack.record.spec.region;
        let live: Vec<&Task> = stack.tasks.values().filter(|t| &t.service == name && t.is_wanted()).collect();
        let running = |t: &&&Task| t.status == TaskStatus::Running;
        let count = |of: Option<&crate::spec::ids::DeploymentId>, up: bool| {
            live.iter().filter(|t| of.is_none_or(|d| &t.deployment == d) && running(t) == up).count() as u32
        };
        let deployments = service.deployments.iter().enumerate().map(|(age, deployment)| {
            let id = &deployment.id;
            let (rollout, reason) = match deployment.rollout {
                Rollout::InProgress => ("IN_PROGRESS", format!("ECS deployment {id} in progress.")),
                Rollout::Completed => ("COMPLETED", format!("ECS deployment {id} completed.")),
                Rollout::Failed => ("FAILED", "ECS deployment circuit breaker: tasks failed to start.".to_owned()),
            };
            json!({
                "id": id,
                "status": if age == 0 { "PRIMARY" } else { "ACTIVE" },
                "taskDefinition": arn::task_definition(region, &deployment.service.task_definition.family, deployment.revision),
                "desiredCount": if age == 0 { service.desired_count } else { 0 },
                "pendingCount": count(Some(id), false),
                "runningCount": count(Some(id), true),
                "failedTasks": deployment.failed_tasks,
                "createdAt": deployment.created_at.to_string(),
                "launchType": launch_type(deployment.service.launch_type),
                "rolloutState": rollout,
                "rolloutStateReason": reason,
            })
        });
        let primary = service.primary();
        let dns_name = primary
            .and_then(|d| d.service.discovery.as_ref())
            .map(|d| format!("{}.{}", d.name, stack.record.spec.dns_namespace));
        ServiceView {
            service_arn: arn::service(region, stack_name, name),
            service_name: name.to_string(),
            cluster_arn: arn::cluster(region, stack_name),
            status: if service.leaving { "DRAINING" } else { "ACTIVE" }.to_owned(),
            desired_count: if service.leaving { 0 } else { service.desired_count },
            running_count: count(None, true),
            pending_count: count(None, false),
            launch_type: launch_type(primary.map_or(LaunchType::Fargate, |d| d.service.launch_type)).to_owned(),
            task_definition: primary.map_or_else(String::new, |d| {
                arn::task_definition(region, &d.service.task_definition.family, d.revision)
            }),
            deployments: deployments.collect(),
            events: service
                .events
                .iter()
                .rev()
                .map(|e| json!({ "id": e.id, "createdAt": e.created_at.to_string(), "message": e.message }))
                .collect(),
            ecsnet: json!({
                "stack": stack_name,
                "steady": service.steady,
                "dnsName": dns_name,
                "securityGroups": primary.map(|d| d.service.security_groups.clone()).unwrap_or_default(),
            }),
        }
    }

    /// The tasks of one stack or of all, oldest first within each.
    pub fn tasks(&self, chosen: Option<&StackName>) -> Vec<TaskView> {
        let stacks = self.state.stacks().iter().filter(|(name, _)| chosen.is_none_or(|chosen| chosen == *name));
        let mut tasks: Vec<TaskView> =
            stacks.flat_map(|(name, stack)| stack.tasks.values().map(|task| self.task(name, stack, task))).collect();
        tasks.sort_by(|a, b| (&a.ecsnet.stack, &a.created_at).cmp(&(&b.ecsnet.stack, &b.created_at)));
        tasks
    }

    /// Where a stack stands.
    pub fn progress(&self, name: &StackName, stack: &StackState, store_error: Option<&str>, docker: bool) -> Progress {
        let mut waiting = Vec::new();
        waiting.extend(store_error.map(|error| format!("the agent's store: {error}")));
        if !docker {
            waiting.push("Docker does not answer".to_owned());
        }
        waiting.extend(self.network_failure(name));
        let mut failed = None;
        let newest = stack.services.values().filter_map(ServiceState::primary).map(|d| d.created_at).max();
        for (service_name, service) in &stack.services {
            if service.primary().is_some_and(|d| d.rollout == Rollout::Failed) {
                failed.get_or_insert(format!("service {service_name}: its deployment failed: tasks failed to start"));
            }
            if service.steady && !service.leaving {
                continue;
            }
            let mine = stack.tasks.values().filter(|t| &t.service == service_name);
            let mine_wanted = mine.clone().filter(|t| t.is_wanted()).count();
            let before = waiting.len();
            for task in mine.clone().filter(|t| t.status != TaskStatus::Stopped) {
                waiting.extend(self.waiting_of(name, task).map(|what| {
                    format!(
                        "service {service_name}: task {} is {} and waits for {what}",
                        task.id.short(),
                        task.status.as_str()
                    )
                }));
            }
            // The last one that ended says why there are too few.
            let ended =
                mine.filter(|t| t.stopped_at.is_some() && Some(t.created_at) >= newest).max_by_key(|t| t.stopped_at);
            if let Some(task) = ended
                && let Some(stop) = &task.stop
                && !matches!(stop.code, crate::store::task::StopCode::ServiceSchedulerInitiated)
            {
                waiting.push(format!("service {service_name}: task {} stopped: {}", task.id.short(), self.why(task)));
            }
            // Why there are too few tasks, also while those that there are wait for something themselves.
            let too_few = mine_wanted < service.desired_count as usize;
            let since_steady =
                service.events.iter().rev().take_while(|e| !e.message.ends_with("has reached a steady state."));
            let unplaced = since_steady.into_iter().find(|e| e.message.contains("was unable to place a task"));
            if let Some(event) = unplaced.filter(|_| too_few) {
                waiting.push(format!("service {service_name}: {}", event.message));
            }
            if waiting.len() == before {
                let last = service.events.back().map_or_else(|| "it starts".to_owned(), |e| e.message.clone());
                waiting.push(format!("service {service_name}: {last}"));
            }
        }
        let network = self.observed.networks.get(name);
        let network_stands = network.is_some_and(|n| n.router.is_some() && n.filter.is_some() && n.zone.is_some());
        Progress {
            // What was seen before Docker went, and what is not on disk, is not known to be so.
            steady: docker
                && store_error.is_none()
                && network_stands
                && !stack.record.leaving
                && stack.services.values().all(|s| s.steady && !s.leaving)
                && self.is_published(name, stack),
            deleting: stack.record.leaving,
            failed,
            waiting,
            tasks: stack.tasks.values().map(|task| self.task(name, stack, task)).collect(),
            services: stack.services.iter().map(|(n, s)| self.service(name, stack, n, s)).collect(),
            pulls: self.observed.pulls.iter().map(|(image, status)| (image.clone(), status.clone())).collect(),
        }
    }

    /// Whether filter and zone in force are those that the state asks for, and every task in service is seen to be linked.
    fn is_published(&self, name: &StackName, stack: &StackState) -> bool {
        let Some(network) = self.observed.networks.get(name) else { return false };
        let ruleset = crate::project::security_groups::filter(name, stack, network, self.observed);
        let zone = crate::project::dns::zone(name, stack, self.observed, self.setting);
        let in_service = stack.tasks.values().filter(|t| t.is_wanted() && t.status == TaskStatus::Running);
        let mut linked = in_service.map(|task| is_linked(self.observed, self.setting, name, &stack.instances, task));
        network.filter.as_ref() == Some(&ruleset)
            && network.zone.as_ref().map(|(_, z)| z) == Some(&zone)
            && linked.all(|linked| linked)
    }

    /// Why a task stopped, with the container's own words where they say more.
    fn why(&self, task: &Task) -> String {
        let reason = task.stop.as_ref().map(|s| s.reason.clone()).unwrap_or_default();
        let ended = task.definition.container_definitions.iter().filter(|c| c.essential).find_map(|c| {
            let record = task.container(&c.name);
            record
                .exit_code
                .filter(|_| record.stopped)
                .map(|code| format!("container {} exited with code {code}", c.name))
        });
        match ended {
            Some(ended) if reason.starts_with("Essential") => format!("{reason} ({ended})"),
            _ => reason,
        }
    }

    /// Every event of the stacks chosen, oldest first.
    pub fn events(&self, chosen: Option<&StackName>) -> Vec<ServiceEvent> {
        let stacks = self.state.stacks().iter().filter(|(name, _)| chosen.is_none_or(|c| c == *name));
        let mut events: Vec<(Timestamp, ServiceEvent)> = Vec::new();
        for (stack, in_stack) in stacks {
            for (service, state) in &in_stack.services {
                events.extend(state.events.iter().map(|event| {
                    let line = ServiceEvent {
                        stack: stack.to_string(),
                        service: service.to_string(),
                        id: event.id.clone(),
                        created_at: event.created_at.to_string(),
                        message: event.message.clone(),
                    };
                    (event.created_at, line)
                }));
            }
        }
        events.sort_by_key(|(at, _)| *at);
        events.into_iter().map(|(_, event)| event).collect()
    }
}

/// What the stack asks for and this machine does not enforce as ECS does.
pub fn notes(spec: &crate::spec::stack::Stack, setting: &Setting) -> Vec<String> {
    let mut notes = Vec::new();
    let services = |of: &dyn Fn(&TaskDefinition) -> bool| {
        let found = spec.services.values().filter(|s| of(&s.task_definition));
        let names: Vec<String> = found.map(|s| s.service_name.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let open_files = setting.fargate_open_files();
    let on_fargate = spec.services.values().any(|s| {
        let given = |c: &ContainerDefinition| c.ulimits.iter().any(|u| u.name == "nofile");
        s.launch_type == LaunchType::Fargate && !s.task_definition.container_definitions.iter().all(given)
    });
    if on_fargate && open_files < FARGATE_OPEN_FILES {
        notes.push(format!(
            "containers may have {open_files} files open, not {FARGATE_OPEN_FILES} as on Fargate: Docker here may not raise its own limit"
        ));
    }
    match &setting.cgroups {
        Err(reason) => notes.extend(services(&|d| d.cpu.is_some() || d.memory.is_some()).map(|names| {
            format!(
                "a task's cpu and memory hold for each of its containers alone, not for all of them together, \
                 because a task cannot have a cgroup of its own here: {reason} (services: {names})"
            )
        })),
        Ok(cgroups) if cgroups.unified => {
            let swappiness = |d: &TaskDefinition| d.container_definitions.iter().any(|c| c.swappiness.is_some());
            notes.extend(
                services(&swappiness).map(|names| {
                    format!("swappiness has no effect: cgroups of version 2 have none (services: {names})")
                }),
            );
        }
        Ok(_) => {}
    }
    notes
}
