//! A container instance as DescribeContainerInstances shows it, with what AWS lacks under `ecsnet`.

use serde_json::{Value, json};

use super::api::ErrorReply;
use super::view::Lens;
use crate::plan::placement::resources_of;
use crate::spec::ids::{InstanceId, StackName, arn};
use crate::spec::task_definition::TransportProtocol;
use crate::store::instance::Instance;
use crate::store::state::StackState;
use crate::store::task::TaskStatus;

impl Lens<'_> {
    /// The one instance that a text means: its id or the first characters of it, its EC2 id or its address.
    ///
    /// # Errors
    /// When it means none, or several; the answer lists them.
    pub fn find_instance(&self, given: &str) -> Result<(StackName, InstanceId), ErrorReply> {
        let stacks = self.state.stacks().iter();
        let all: Vec<_> = stacks.flat_map(|(s, i)| i.instances.values().map(move |instance| (s, instance))).collect();
        let is_it = |instance: &Instance| {
            let by_id = !given.is_empty() && instance.id.as_str().starts_with(given);
            by_id || instance.ec2_instance_id == given || instance.address().is_some_and(|a| a.to_string() == given)
        };
        let found: Vec<_> = all.iter().filter(|(_, instance)| is_it(instance)).collect();
        let names = |instances: &[&(&StackName, &Instance)]| {
            let name = |(stack, instance): &&(&StackName, &Instance)| format!("{} ({stack})", instance.id);
            instances.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        match found.as_slice() {
            [(stack, instance)] => Ok(((*stack).clone(), instance.id.clone())),
            [] => {
                let known = names(&all.iter().collect::<Vec<_>>());
                let hint = match known.as_str() {
                    "" => "no stack has a service whose tasks are placed on instances".to_owned(),
                    known => format!("known: {known}"),
                };
                Err(ErrorReply { message: format!("no instance `{given}`"), hint: Some(hint), exit_code: 2 })
            }
            several => {
                let message = format!("`{given}` could mean {} instances", several.len());
                Err(ErrorReply { message, hint: Some(format!("one of: {}", names(several))), exit_code: 2 })
            }
        }
    }

    /// An instance, with what its tasks leave of it.
    pub fn instance(&self, stack_name: &StackName, stack: &StackState, instance: &Instance) -> Value {
        let tasks: Vec<_> = stack.tasks_on(&instance.id).collect();
        let (mut cpu, mut memory) = (0, 0);
        for task in &tasks {
            let (of_task, of_memory) = resources_of(&task.definition);
            cpu += of_task;
            memory += of_memory;
        }
        let ports = |wanted: TransportProtocol| {
            let fixed = tasks.iter().flat_map(|t| t.bindings()).filter(|b| !b.dynamic);
            let ports = fixed.flat_map(|b| b.ports()).filter(|(protocol, _)| *protocol == wanted);
            ports.map(|(_, port)| port.to_string()).collect::<Vec<_>>()
        };
        let reserved = netmodes::bridge::RESERVED_PORTS.map(|port| port.to_string()).to_vec();
        let resources = |cpu: u32, memory: u32, tcp: Vec<String>, udp: Vec<String>| {
            json!([
                { "name": "CPU", "type": "INTEGER", "integerValue": cpu },
                { "name": "MEMORY", "type": "INTEGER", "integerValue": memory },
                { "name": "PORTS", "type": "STRINGSET", "stringSetValue": tcp },
                { "name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": udp },
            ])
        };
        let taken: Vec<String> = reserved.iter().cloned().chain(ports(TransportProtocol::Tcp)).collect();
        let running = tasks.iter().filter(|t| t.status == TaskStatus::Running).count();
        let name = self.setting.instance_name(stack_name, &instance.id);
        let attributes: Vec<Value> = instance
            .attributes
            .iter()
            .map(
                |(name, value)| {
                    if value.is_empty() { json!({ "name": name }) } else { json!({ "name": name, "value": value }) }
                },
            )
            .collect();
        json!({
            "containerInstanceArn": arn::container_instance(&stack.record.spec.region, stack_name, &instance.id),
            "ec2InstanceId": instance.ec2_instance_id,
            "status": instance.status.as_str(),
            "agentConnected": instance.is_connected(),
            "runningTasksCount": running,
            "pendingTasksCount": tasks.iter().filter(|t| t.status < TaskStatus::Running).count(),
            "registeredAt": instance.registered_at.map(|at| at.to_string()),
            "registeredResources": resources(instance.cpu, instance.memory, reserved, Vec::new()),
            "remainingResources": resources(
                instance.cpu.saturating_sub(cpu),
                instance.memory.saturating_sub(memory),
                taken,
                ports(TransportProtocol::Udp),
            ),
            "attributes": attributes,
            "ecsnet": {
                "stack": stack_name,
                "instanceId": instance.id,
                "group": instance.group,
                "zone": instance.availability_zone,
                "instanceType": instance.instance_type,
                "address": instance.address(),
                "networkInterfaceId": instance.network.eni.id,
                "securityGroups": instance.network.groups,
                "state": self.instance_state(stack_name, instance),
                "tasks": tasks.iter().map(|t| &t.id).collect::<Vec<_>>(),
                "netns": self.observed.running(&name).map(|(_, pid)| format!("/proc/{pid}/ns/net")),
            },
        })
    }

    /// In EC2's words: pending, running, stopping, stopped, shutting-down.
    fn instance_state(&self, stack: &StackName, instance: &Instance) -> &'static str {
        let is_held = self.observed.containers.contains_key(&self.setting.instance_name(stack, &instance.id));
        match (instance.leaving, instance.wanted, instance.is_connected(), is_held) {
            (true, _, _, _) => "shutting-down",
            (false, true, true, _) => "running",
            (false, true, false, _) => "pending",
            (false, false, _, true) => "stopping",
            (false, false, _, false) => "stopped",
        }
    }
}
