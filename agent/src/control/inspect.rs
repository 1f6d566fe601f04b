//! `ecsnet inspect`: all there is to know about one thing. Kernel state is read from the kernel at the moment of asking.

use serde_json::{Value, json};

use super::api::ErrorReply;
use super::view::Lens;
use crate::apply::Applier;
use crate::project::security_groups::{router, ruleset, subnets};
use crate::reconcile::chain;
use crate::spec::ids::StackName;
use crate::spec::security_group::{HOST_ADDRESS, Peer, Rule, Traffic};
use crate::store::state::{StackState, Task, TaskStatus};

/// The kinds of things that can be looked at.
pub const KINDS: [&str; 6] = ["task", "service", "eni", "subnet", "security-group", "stack"];

/// What is to be read from the kernel to complete an answer.
#[derive(Debug)]
pub enum Kernel {
    /// Nothing.
    Nothing,
    /// An ENI: both ends, its filter's counters.
    Eni {
        /// The holder of the VPC's namespace.
        vpc: String,
        /// The holder of its owner's namespace.
        holder: String,
        /// Its link in the VPC.
        link: String,
        /// Its id.
        id: netmodes::ids::EniId,
    },
    /// A VPC: its router and its table.
    Vpc {
        /// The holder of the VPC's namespace.
        vpc: String,
    },
}

fn none(kind: &str, id: &str, known: Vec<String>) -> ErrorReply {
    let hint = if known.is_empty() { "there is none".to_owned() } else { format!("known: {}", known.join(", ")) };
    ErrorReply { message: format!("no {kind} `{id}`"), hint: Some(hint), exit_code: 2 }
}

/// What the state says of a thing, and what the kernel should be asked.
///
/// # Errors
/// When there is no such kind or thing; the answer lists what there is.
pub fn describe(lens: &Lens<'_>, kind: &str, id: &str) -> Result<(Value, Kernel), ErrorReply> {
    let stacks = || lens.state.stacks().iter();
    let in_stack = |given: &str| -> (Option<String>, String) {
        match given.split_once('/') {
            Some((stack, name)) => (Some(stack.to_owned()), name.to_owned()),
            None => (None, given.to_owned()),
        }
    };
    let (stack_wanted, name) = in_stack(id);
    let chosen = || stacks().filter(|(s, _)| stack_wanted.as_deref().is_none_or(|wanted| s.as_str() == wanted));
    match kind {
        "stack" => {
            let found = stacks().find(|(s, _)| s.as_str() == id);
            let (stack_name, stack) =
                found.ok_or_else(|| none(kind, id, stacks().map(|(s, _)| s.to_string()).collect()))?;
            Ok((stack_value(lens, stack_name, stack), Kernel::Vpc { vpc: lens.setting.vpc_name(stack_name) }))
        }
        "task" => {
            let target = super::target::find_one(lens, id)?;
            let found =
                stacks().find_map(|(s, in_stack)| Some((s, in_stack, in_stack.tasks.get(target.task_id.as_str())?)));
            let (s, in_stack, task) = found.ok_or_else(|| none(kind, id, Vec::new()))?;
            let view = serde_json::to_value(lens.task(s, in_stack, task)).unwrap_or_default();
            Ok((view, eni_kernel(lens, s, task)))
        }
        "service" => {
            let found =
                chosen().find_map(|(s, in_stack)| Some((s, in_stack, in_stack.services.get_key_value(name.as_str())?)));
            let known = || stacks().flat_map(|(s, i)| i.services.keys().map(move |n| format!("{s}/{n}"))).collect();
            let (s, in_stack, (service_name, service)) = found.ok_or_else(|| none(kind, id, known()))?;
            let mut view = serde_json::to_value(lens.service(s, in_stack, service_name, service)).unwrap_or_default();
            if let Some(primary) = service.primary() {
                view["ecsnet"]["definition"] = serde_json::to_value(&primary.service).unwrap_or_default();
            }
            Ok((view, Kernel::Nothing))
        }
        "eni" => {
            let tasks = || stacks().flat_map(|(s, i)| i.tasks.values().map(move |t| (s, i, t)));
            let is_it = |task: &Task| {
                task.eni.id.as_str() == name || task.eni.addresses.iter().any(|a| a.address.to_string() == name)
            };
            let live = tasks().filter(|(_, _, t)| t.status != TaskStatus::Stopped);
            let found = live.clone().find(|(_, _, t)| is_it(t)).or_else(|| tasks().find(|(_, _, t)| is_it(t)));
            let known = || live.clone().map(|(_, _, t)| t.eni.id.to_string()).collect();
            let (s, in_stack, task) = found.ok_or_else(|| none(kind, id, known()))?;
            let region = &in_stack.record.spec.region;
            let value = json!({
                "NetworkInterfaceId": task.eni.id,
                "Description": format!("arn:aws:ecs:{region}:{}:attachment/{}", crate::spec::ids::ACCOUNT, task.attachment),
                "VpcId": in_stack.record.vpc_id,
                "SubnetId": task.eni.subnet,
                "AvailabilityZone": task.availability_zone,
                "MacAddress": task.eni.mac,
                "PrivateIpAddress": task.eni.primary_address(),
                "PrivateDnsName": task.eni.primary_address().and_then(|a| netmodes::vpc::eni::private_dns_name(a, region)),
                "Groups": task.groups.iter().zip(&task.eni.groups).map(|(name, id)| json!({ "GroupId": id, "GroupName": name })).collect::<Vec<_>>(),
                "SourceDestCheck": task.eni.source_check,
                "InterfaceType": "interface",
                "RequesterManaged": true,
                "Status": if task.status == TaskStatus::Stopped { "available" } else { "in-use" },
                "ecsnet": { "stack": s, "service": task.service, "task": task.id, "link": netmodes::vpc::eni::Eni::link_name(&task.eni.id) },
            });
            Ok((value, eni_kernel(lens, s, task)))
        }
        "subnet" => {
            let found = chosen().find_map(|(s, i)| {
                let by_name = i.record.subnets.iter().find(|(n, r)| n.as_str() == name || r.id.as_str() == name)?;
                Some((s, i, by_name))
            });
            let known =
                || stacks().flat_map(|(s, i)| i.record.subnets.keys().map(move |n| format!("{s}/{n}"))).collect();
            let (s, in_stack, (subnet_name, record)) = found.ok_or_else(|| none(kind, id, known()))?;
            let subnet = subnets(&in_stack.record).into_iter().find(|subnet| subnet.id == record.id);
            let subnet = subnet.ok_or_else(|| none(kind, id, Vec::new()))?;
            let leases: Vec<Value> = in_stack
                .tasks
                .values()
                .filter(|t| t.holds_lease() && t.eni.subnet == record.id)
                .map(|t| json!({ "address": t.eni.primary_address(), "eni": t.eni.id, "task": t.id, "service": t.service }))
                .collect();
            let free = subnet.capacity().saturating_sub(leases.len() as u128);
            let value = json!({
                "SubnetId": record.id,
                "VpcId": in_stack.record.vpc_id,
                "CidrBlock": subnet.cidr,
                "AvailabilityZone": subnet.availability_zone,
                "AvailableIpAddressCount": u64::try_from(free).unwrap_or(u64::MAX),
                "State": "available",
                "ecsnet": { "stack": s, "name": subnet_name, "gateway": subnet.gateway(), "leases": leases },
            });
            Ok((value, Kernel::Nothing))
        }
        "security-group" => {
            let found = chosen().find_map(|(s, i)| {
                let (group_name, group_id) =
                    i.record.groups.iter().find(|(n, g)| n.as_str() == name || g.as_str() == name)?;
                Some((s, i, group_name, group_id))
            });
            let known =
                || stacks().flat_map(|(s, i)| i.record.groups.keys().map(move |n| format!("{s}/{n}"))).collect();
            let (s, in_stack, group_name, group_id) = found.ok_or_else(|| none(kind, id, known()))?;
            let spec = in_stack.record.spec.security_groups.get(group_name);
            let members: Vec<Value> = in_stack
                .tasks
                .values()
                .filter(|t| t.holds_lease() && t.eni.groups.contains(group_id))
                .map(|t| json!({ "eni": t.eni.id, "address": t.eni.primary_address(), "task": t.id, "service": t.service }))
                .collect();
            let wanted = ruleset(in_stack, |_| false);
            let table = netmodes::security::ruleset::table(&wanted).to_string();
            let chains: Vec<&str> = table.lines().filter(|line| line.contains(group_id.as_str())).collect();
            let value = json!({
                "GroupId": group_id,
                "GroupName": group_name,
                "Description": spec.map(|g| g.description.clone()),
                "VpcId": in_stack.record.vpc_id,
                "IpPermissions": spec.map(|g| permissions(&g.ingress, in_stack)),
                "IpPermissionsEgress": spec.map(|g| permissions(&g.egress, in_stack)),
                "ecsnet": { "stack": s, "members": members, "nft": chains },
            });
            Ok((value, Kernel::Nothing))
        }
        _ => {
            let message = format!("`{kind}` is not a kind of thing to inspect");
            Err(ErrorReply { message, hint: Some(format!("one of: {}", KINDS.join(", "))), exit_code: 2 })
        }
    }
}

/// Rules in EC2's shape, one `IpPermission` each (reference 4.2).
fn permissions(rules: &[Rule], stack: &StackState) -> Vec<Value> {
    let permission = |rule: &Rule| {
        let (protocol, from, to) = match rule.traffic {
            Traffic::All => ("-1".to_owned(), None, None),
            Traffic::Tcp(ports) => ("tcp".to_owned(), Some(i32::from(ports.first)), Some(i32::from(ports.last))),
            Traffic::Udp(ports) => ("udp".to_owned(), Some(i32::from(ports.first)), Some(i32::from(ports.last))),
            Traffic::Icmp { kind, code } => {
                ("icmp".to_owned(), Some(kind.map_or(-1, i32::from)), Some(code.map_or(-1, i32::from)))
            }
            Traffic::Protocol(number) => (number.to_string(), None, None),
        };
        let mut value = json!({ "IpProtocol": protocol });
        if let (Some(from), Some(to)) = (from, to) {
            value["FromPort"] = json!(from);
            value["ToPort"] = json!(to);
        }
        match &rule.peer {
            Peer::Cidr(block) if block.is_ipv4() => value["IpRanges"] = json!([{ "CidrIp": block }]),
            Peer::Cidr(block) => value["Ipv6Ranges"] = json!([{ "CidrIpv6": block }]),
            Peer::Group(name) => {
                let id = stack.record.groups.get(name);
                value["UserIdGroupPairs"] = json!([{ "GroupId": id, "GroupName": name }]);
            }
        }
        value
    };
    rules.iter().map(permission).collect()
}

fn eni_kernel(lens: &Lens<'_>, stack: &StackName, task: &Task) -> Kernel {
    Kernel::Eni {
        vpc: lens.setting.vpc_name(stack),
        holder: lens.setting.pause_name(stack, &task.id),
        link: netmodes::vpc::eni::Eni::link_name(&task.eni.id),
        id: task.eni.id.clone(),
    }
}

fn stack_value(lens: &Lens<'_>, name: &StackName, stack: &StackState) -> Value {
    let record = &stack.record;
    let vpc = lens.setting.vpc_name(name);
    json!({
        "name": name,
        "status": if record.leaving { "DELETING" } else { "ACTIVE" },
        "vpcId": record.vpc_id,
        "cidrBlock": record.spec.vpc.cidr,
        "internet": record.spec.vpc.internet,
        "hostAccess": record.spec.vpc.host_access,
        "dnsNamespace": record.spec.dns_namespace,
        "subnets": subnets(record),
        "securityGroups": record.groups,
        "services": stack.services.keys().collect::<Vec<_>>(),
        "taskDefinitions": record.families.iter().map(|(family, (revision, _))| format!("{family}:{revision}")).collect::<Vec<_>>(),
        "ecsnet": {
            "owner": lens.setting.owner,
            "vpcHolder": vpc,
            "netns": lens.observed.running(&lens.setting.vpc_name(name)).map(|(_, pid)| format!("/proc/{pid}/ns/net")),
            "resolver": lens.setting.resolver_name(name),
            "hostAddress": record.spec.vpc.host_access.then_some(HOST_ADDRESS),
            "hostLink": router(record).host_link,
        },
    })
}

/// Reads from the kernel what belongs to an answer; what cannot be read says why.
pub async fn with_kernel(applier: &Applier, kernel: Kernel) -> Value {
    let read = async {
        match kernel {
            Kernel::Nothing => Ok(Value::Null),
            Kernel::Eni { vpc, holder, link, id } => {
                let network = applier.networks().open(&vpc).await?;
                let look = network.look().await?;
                let dropped = network.dropped()?;
                let counts = dropped.iter().find(|(name, _)| name.to_string().trim_matches('"') == link);
                let (_, netns) = applier.networks().netns_of(&holder).await?;
                let owner = netmodes::observe::observe_owner(&netns).await?;
                Ok::<_, crate::apply::ApplyError>(json!({
                    "inVpc": look.vpc.enis.get(&id),
                    "inTask": owner,
                    "droppedPackets": counts.map(|(_, d)| json!({
                        "sourceCheck": d.source.packets,
                        "egress": d.egress.packets,
                        "ingress": d.ingress.packets,
                    })),
                }))
            }
            Kernel::Vpc { vpc } => {
                let look = applier.networks().open(&vpc).await?.look().await?;
                Ok(json!({
                    "router": look.vpc.router,
                    "enis": look.vpc.enis,
                    "nft": look.table.to_string().lines().collect::<Vec<_>>(),
                }))
            }
        }
    };
    match read.await {
        Ok(value) => value,
        Err(error) => json!({ "error": chain(&error) }),
    }
}
