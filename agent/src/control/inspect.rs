//! `ecsnet inspect`: all there is to know about one thing. Kernel state is read from the kernel at the moment of asking.

use netmodes::ids::EniId;
use netmodes::vpc::eni::Eni;
use serde_json::{Value, json};

use super::api::ErrorReply;
use super::view::Lens;
use crate::apply::{Applier, ApplyError};
use crate::project::security_groups::{router, ruleset, subnets};
use crate::reconcile::chain;
use crate::spec::ids::{ACCOUNT, StackName};
use crate::spec::security_group::{HOST_ADDRESS, Peer, Rule, Traffic};
use crate::store::instance::Instance;
use crate::store::state::{EniOwner, StackState};
use crate::store::task::{Attached, TaskStatus};

/// The kinds of things that can be looked at.
pub const KINDS: [&str; 7] = ["task", "service", "instance", "eni", "subnet", "security-group", "stack"];

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
        id: EniId,
    },
    /// A container instance: its ENI, its bridge, and the host ports that lead to containers.
    Instance {
        /// The holder of its netns.
        holder: String,
        /// The ENI.
        eni: Box<Kernel>,
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
            let kernel = match (task.eni(), task.instance.as_ref().and_then(|id| in_stack.instances.get(id))) {
                (Some(eni), _) => eni_kernel(lens, s, eni, EniOwner::Task(task)),
                (None, Some(instance)) => instance_kernel(lens, s, instance),
                (None, None) => Kernel::Nothing,
            };
            Ok((view, kernel))
        }
        "instance" => {
            let (stack, instance) = lens.find_instance(id)?;
            let found = stacks().find_map(|(s, i)| (*s == stack).then(|| Some((s, i, i.instances.get(&instance)?)))?);
            let (s, in_stack, instance) = found.ok_or_else(|| none(kind, id, Vec::new()))?;
            let view = serde_json::to_value(lens.instance(s, in_stack, instance)).unwrap_or_default();
            Ok((view, instance_kernel(lens, s, instance)))
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
            let enis =
                || stacks().flat_map(|(s, i)| i.attached().map(move |(attached, owner)| (s, i, attached, owner)));
            let live = || stacks().flat_map(|(_, i)| i.leased().map(|(attached, _)| attached.eni.id.clone()));
            let leased: Vec<_> = live().collect();
            let is_it =
                |eni: &Eni| eni.id.as_str() == name || eni.addresses.iter().any(|a| a.address.to_string() == name);
            let mut found: Vec<_> = enis().filter(|(_, _, attached, _)| is_it(&attached.eni)).collect();
            // An address may have been somebody's before.
            found.sort_by_key(|(_, _, attached, _)| !leased.contains(&attached.eni.id));
            let known = || leased.iter().map(ToString::to_string).collect();
            let (s, in_stack, attached, owner) = found.into_iter().next().ok_or_else(|| none(kind, id, known()))?;
            Ok((eni_value(s, in_stack, attached, owner), eni_kernel(lens, s, &attached.eni, owner)))
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
            let leased = in_stack.leased().filter(|(attached, _)| attached.eni.subnet == record.id);
            let leases: Vec<Value> = leased.map(|(attached, owner)| lease_value(&attached.eni, owner)).collect();
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
            let members = in_stack.leased().filter(|(attached, _)| attached.eni.groups.contains(group_id));
            let members: Vec<Value> = members.map(|(attached, owner)| lease_value(&attached.eni, owner)).collect();
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

/// An ENI as DescribeNetworkInterfaces shows it.
fn eni_value(stack: &StackName, in_stack: &StackState, attached: &Attached, owner: EniOwner<'_>) -> Value {
    let region = &in_stack.record.spec.region;
    let eni = &attached.eni;
    let (zone, in_use, whose) = match owner {
        EniOwner::Task(task) => (
            &task.availability_zone,
            task.status != TaskStatus::Stopped,
            json!({ "service": task.service, "task": task.id }),
        ),
        EniOwner::Instance(instance) => (&instance.availability_zone, true, json!({ "instance": instance.id })),
    };
    let groups = attached.groups.iter().zip(&eni.groups);
    let mut value = json!({
        "NetworkInterfaceId": eni.id,
        "VpcId": in_stack.record.vpc_id,
        "SubnetId": eni.subnet,
        "AvailabilityZone": zone,
        "MacAddress": eni.mac,
        "PrivateIpAddress": eni.primary_address(),
        "PrivateDnsName": eni.primary_address().and_then(|a| netmodes::vpc::eni::private_dns_name(a, region)),
        "Groups": groups.map(|(name, id)| json!({ "GroupId": id, "GroupName": name })).collect::<Vec<_>>(),
        "SourceDestCheck": eni.source_check,
        "InterfaceType": "interface",
        "RequesterManaged": matches!(owner, EniOwner::Task(_)),
        "Status": if in_use { "in-use" } else { "available" },
        "ecsnet": whose,
    });
    if matches!(owner, EniOwner::Task(_)) {
        value["Description"] = json!(format!("arn:aws:ecs:{region}:{ACCOUNT}:attachment/{}", attached.attachment));
    }
    value["ecsnet"]["stack"] = json!(stack);
    value["ecsnet"]["link"] = json!(Eni::link_name(&eni.id));
    value
}

/// A lease in a line.
fn lease_value(eni: &Eni, owner: EniOwner<'_>) -> Value {
    let mut value = json!({ "address": eni.primary_address(), "eni": eni.id });
    match owner {
        EniOwner::Task(task) => {
            value["task"] = json!(task.id);
            value["service"] = json!(task.service);
        }
        EniOwner::Instance(instance) => value["instance"] = json!(instance.id),
    }
    value
}

fn eni_kernel(lens: &Lens<'_>, stack: &StackName, eni: &Eni, owner: EniOwner<'_>) -> Kernel {
    Kernel::Eni {
        vpc: lens.setting.vpc_name(stack),
        holder: match owner {
            EniOwner::Task(task) => lens.setting.pause_name(stack, &task.id),
            EniOwner::Instance(instance) => lens.setting.instance_name(stack, &instance.id),
        },
        link: Eni::link_name(&eni.id),
        id: eni.id.clone(),
    }
}

fn instance_kernel(lens: &Lens<'_>, stack: &StackName, instance: &Instance) -> Kernel {
    let eni = eni_kernel(lens, stack, &instance.network.eni, EniOwner::Instance(instance));
    Kernel::Instance { holder: lens.setting.instance_name(stack, &instance.id), eni: Box::new(eni) }
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
        "containerInstances": stack.instances.keys().collect::<Vec<_>>(),
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
    let read = match kernel {
        Kernel::Nothing => Ok(Value::Null),
        Kernel::Eni { vpc, holder, link, id } => read_eni(applier, &vpc, &holder, &link, &id).await,
        Kernel::Instance { holder, eni } => match *eni {
            Kernel::Eni { vpc, holder: owner, link, id } => {
                async {
                    let instance = applier.instances().open(applier.networks(), &holder).await?.look().await?;
                    let eni = read_eni(applier, &vpc, &owner, &link, &id).await?;
                    Ok(json!({ "eni": eni, "instance": instance }))
                }
                .await
            }
            _ => Ok(Value::Null),
        },
        Kernel::Vpc { vpc } => read_vpc(applier, &vpc).await,
    };
    match read {
        Ok(value) => value,
        Err(error) => json!({ "error": chain(&error) }),
    }
}

async fn read_eni(applier: &Applier, vpc: &str, holder: &str, link: &str, id: &EniId) -> Result<Value, ApplyError> {
    let network = applier.networks().open(vpc).await?;
    let look = network.look().await?;
    let dropped = network.dropped()?;
    let counts = dropped.iter().find(|(name, _)| name.to_string().trim_matches('"') == link);
    let (_, netns) = applier.networks().netns_of(holder).await?;
    let owner = netmodes::observe::observe_owner(&netns).await?;
    Ok(json!({
        "inVpc": look.vpc.enis.get(id),
        "inTask": owner,
        "droppedPackets": counts.map(|(_, d)| json!({
            "sourceCheck": d.source.packets,
            "egress": d.egress.packets,
            "ingress": d.ingress.packets,
        })),
    }))
}

async fn read_vpc(applier: &Applier, vpc: &str) -> Result<Value, ApplyError> {
    let look = applier.networks().open(vpc).await?.look().await?;
    Ok(json!({
        "router": look.vpc.router,
        "enis": look.vpc.enis,
        "nft": look.table.to_string().lines().collect::<Vec<_>>(),
    }))
}
