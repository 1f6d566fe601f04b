//! A task as DescribeTasks shows it (reference 1.6, 1.7, 2.11), with what keeps it from being where it should be.

use jiff::Timestamp;
use netmodes::vpc::eni::Eni;
use serde_json::{Value, json};

use super::api::{TaskExtra, TaskView};
use super::view::{Lens, launch_type};
use crate::plan::containers::{Readiness, readiness};
use crate::plan::health::{self, HealthStatus};
use crate::runtime::{ContainerState, Health};
use crate::spec::ids::{ContainerName, StackName, arn};
use crate::store::state::StackState;
use crate::store::task::{Attached, Task, TaskStatus};

/// The attachment of a task's ENI (1.6).
fn attachment(status: TaskStatus, attached: &Attached, region: &str) -> Value {
    let status = match status {
        TaskStatus::Provisioning => "ATTACHING",
        TaskStatus::Deprovisioning => "DETACHING",
        TaskStatus::Stopped => "DELETED",
        _ => "ATTACHED",
    };
    let detail = |name: &str, value: String| json!({ "name": name, "value": value });
    let mut details = vec![
        detail("subnetId", attached.eni.subnet.to_string()),
        detail("networkInterfaceId", attached.eni.id.to_string()),
        detail("macAddress", attached.eni.mac.to_string()),
    ];
    if let Some(address) = attached.eni.primary_address() {
        if let Some(name) = netmodes::vpc::eni::private_dns_name(address, region) {
            details.push(detail("privateDnsName", name));
        }
        details.push(detail("privateIPv4Address", address.to_string()));
    }
    json!({ "id": attached.attachment, "type": "ElasticNetworkInterface", "status": status, "details": details })
}

/// `networkBindings` of a container (1.7).
fn bindings(task: &Task, container: &ContainerName) -> Vec<Value> {
    let own = task.bindings().iter().filter(|b| b.container == *container);
    let bindings = own.map(|binding| {
        let protocol = binding.protocol.as_str();
        let range = |first: u16| format!("{first}-{}", first.saturating_add(binding.count - 1));
        if binding.count > 1 {
            json!({
                "bindIP": "0.0.0.0",
                "containerPortRange": range(binding.container_port),
                "hostPortRange": range(binding.host_port),
                "protocol": protocol,
            })
        } else {
            json!({
                "bindIP": "0.0.0.0",
                "containerPort": binding.container_port,
                "hostPort": binding.host_port,
                "protocol": protocol,
            })
        }
    });
    bindings.collect()
}

impl Lens<'_> {
    /// A task as DescribeTasks shows it.
    pub fn task(&self, stack_name: &StackName, stack: &StackState, task: &Task) -> TaskView {
        let region = &stack.record.spec.region;
        let address = stack.eni_of(task).and_then(Eni::primary_address);
        let instance = task.instance.as_ref().and_then(|id| stack.instances.get(id));
        let groups = task.attached().or(instance.filter(|_| !task.bindings().is_empty()).map(|i| &i.network));
        let holder = self.setting.netns_of(stack_name, task);
        TaskView {
            task_arn: arn::task(region, stack_name, &task.id),
            cluster_arn: arn::cluster(region, stack_name),
            task_definition_arn: arn::task_definition(region, &task.definition.family, task.revision),
            group: format!("service:{}", task.service),
            started_by: task.deployment.to_string(),
            launch_type: launch_type(task.launch_type).to_owned(),
            availability_zone: task.availability_zone.clone(),
            desired_status: if task.is_wanted() { "RUNNING" } else { "STOPPED" }.to_owned(),
            last_status: task.status.as_str().to_owned(),
            health_status: health::of_task(task, stack_name, self.observed, self.setting).as_str().to_owned(),
            attachments: task
                .attached()
                .map(|attached| attachment(task.status, attached, region))
                .into_iter()
                .collect(),
            container_instance_arn: task.instance.as_ref().map(|id| arn::container_instance(region, stack_name, id)),
            containers: self.containers(stack_name, region, task),
            cpu: task.definition.cpu.map(|cpu| cpu.to_string()),
            memory: task.definition.memory.map(|memory| memory.to_string()),
            stop_code: task.stop.as_ref().map(|s| s.code.as_str().to_owned()),
            stopped_reason: task.stop.as_ref().map(|s| s.reason.chars().take(1024).collect()),
            created_at: task.created_at.to_string(),
            started_at: task.started_at.map(|t| t.to_string()),
            stopping_at: task.stop.as_ref().map(|s| s.at.to_string()),
            stopped_at: task.stopped_at.map(|t| t.to_string()),
            connectivity: task.times.connectivity_at.map(|_| "CONNECTED".to_owned()),
            connectivity_at: task.times.connectivity_at.map(|t| t.to_string()),
            pull_started_at: task.times.pull_started_at.map(|t| t.to_string()),
            pull_stopped_at: task.times.pull_stopped_at.map(|t| t.to_string()),
            execution_stopped_at: task.times.execution_stopped_at.map(|t| t.to_string()),
            version: task.version,
            ecsnet: TaskExtra {
                stack: stack_name.to_string(),
                service: task.service.to_string(),
                task_id: task.id.to_string(),
                zone: task.availability_zone.clone(),
                address: address.filter(|_| task.holds_lease()),
                network_mode: task.mode().to_string(),
                security_groups: groups.into_iter().flat_map(|a| a.groups.iter().map(ToString::to_string)).collect(),
                host_ports: task.bindings().iter().flat_map(|b| b.ports().map(|(_, port)| port)).collect(),
                netns: holder
                    .and_then(|holder| self.observed.running(&holder))
                    .map(|(_, pid)| format!("/proc/{pid}/ns/net")),
                waiting: self.waiting_of(stack_name, task),
            },
        }
    }

    fn containers(&self, stack: &StackName, region: &str, task: &Task) -> Vec<Value> {
        let definitions = task.definition.container_definitions.iter();
        let views = definitions.map(|definition| {
            let record = task.container(&definition.name);
            let docker = self.observed.containers.get(&self.setting.app_name(stack, &task.id, &definition.name));
            let runs = docker.is_some_and(|c| matches!(c.state, ContainerState::Running { .. }));
            let health = match health::of_container(definition, docker) {
                Some(Health::Healthy) => "HEALTHY",
                Some(Health::Unhealthy) => "UNHEALTHY",
                Some(Health::Starting) | None => "UNKNOWN",
            };
            let status = match (runs, record.stopped) {
                (true, _) => "RUNNING",
                (false, true) => "STOPPED",
                (false, false) => "PENDING",
            };
            let mut view = json!({
                "taskArn": arn::task(region, stack, &task.id),
                "name": definition.name,
                "image": definition.image,
                "lastStatus": status,
                "networkBindings": bindings(task, &definition.name),
                "networkInterfaces": task.attached().map(|attached| json!({
                    "attachmentId": attached.attachment,
                    "privateIpv4Address": attached.eni.primary_address(),
                })).into_iter().collect::<Vec<_>>(),
                "healthStatus": health,
                "essential": definition.essential,
                "cpu": definition.cpu.to_string(),
            });
            if let Value::Object(fields) = &mut view {
                let mut put = |name: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        fields.insert(name.to_owned(), value);
                    }
                };
                let extra = json!({ "stub": definition.stub, "restartCount": record.restarts });
                put("ecsnet", (definition.stub || record.restarts > 0).then_some(extra));
                put("runtimeId", docker.map(|c| json!(c.id.0)));
                put("exitCode", record.exit_code.map(|c| json!(c)));
                put("reason", record.reason.map(|r| json!(r)));
                put("memory", definition.memory.map(|m| json!(m.to_string())));
                put("memoryReservation", definition.memory_reservation.map(|m| json!(m.to_string())));
            }
            view
        });
        views.collect()
    }

    /// What keeps a task from being where it should be.
    pub(super) fn waiting_of(&self, stack: &StackName, task: &Task) -> Option<String> {
        let failing = |object: String| self.observed.failing.get(&object).cloned();
        let mut holders = self.setting.holders_of(stack, task).into_iter();
        match task.status {
            TaskStatus::Provisioning => holders
                .find_map(|holder| failing(format!("container {holder}")))
                .or_else(|| failing(format!("ENI {}", task.eni()?.id)))
                .or_else(|| self.instance_failure(stack, task))
                .or_else(|| self.network_failure(stack))
                .or_else(|| Some("its network".to_owned())),
            TaskStatus::Pending => {
                for definition in &task.definition.container_definitions {
                    let record = task.container(&definition.name);
                    if record.started || record.stopped {
                        continue;
                    }
                    if let Some(status) = self.observed.pulls.get(&definition.image) {
                        return Some(format!("image {}: {status}", definition.image));
                    }
                    if let Readiness::Waiting(what) = readiness(task, definition, Timestamp::now()) {
                        return Some(what);
                    }
                    let name = self.setting.app_name(stack, &task.id, &definition.name);
                    if let Some(error) = failing(format!("container {name}")) {
                        return Some(error);
                    }
                }
                Some("its containers".to_owned())
            }
            TaskStatus::Activating => Some("its DNS record".to_owned()),
            TaskStatus::Running if health::has_check(task) => {
                let output = health::last_output(task, stack, self.observed, self.setting);
                let output = if output.is_empty() { output } else { format!(": {output}") };
                match health::of_task(task, stack, self.observed, self.setting) {
                    HealthStatus::Healthy => None,
                    HealthStatus::Unhealthy => Some(format!("its health check, which fails{output}")),
                    HealthStatus::Unknown => Some(format!("its health check{output}")),
                }
            }
            TaskStatus::Running => match health::counts(task, stack, self.observed, self.setting, Timestamp::now()) {
                health::Counts::At(at) => Some(format!(
                    "the time at which it counts as healthy without a health check, {}",
                    at.strftime("%H:%M:%S")
                )),
                _ => None,
            },
            TaskStatus::Deactivating => Some("its DNS record to go".to_owned()),
            TaskStatus::Stopping => Some("its containers to stop".to_owned()),
            TaskStatus::Deprovisioning => {
                let remains = failing(format!("remains of task {}", task.id));
                Some(remains.unwrap_or_else(|| "its network to go".to_owned()))
            }
            TaskStatus::Stopped => None,
        }
    }

    /// What keeps the container instance of a task from being there.
    fn instance_failure(&self, stack: &StackName, task: &Task) -> Option<String> {
        let id = task.instance.as_ref()?;
        let instance = self.state.stack(stack)?.instances.get(id)?;
        let objects = [
            format!("container {}", self.setting.instance_name(stack, id)),
            format!("ENI {}", instance.network.eni.id),
            format!("bridge of instance {id}"),
            format!("ports of instance {id}"),
        ];
        let failure = objects.iter().find_map(|object| self.observed.failing.get(object).cloned());
        failure.or_else(|| (!instance.is_connected()).then(|| format!("container instance {id}")))
    }
}
