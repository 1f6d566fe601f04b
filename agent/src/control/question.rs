//! Requests that only ask: stacks, tasks, services, targets, one thing in full, and the resolver.

use std::path::PathBuf;

use axum::Json;
use axum::extract::{Query, State as Shared};
use netmodes::ids::NetworkMode;
use serde_json::Value;

use super::api::{ContainerInstances, DigReply, DigRequest, ErrorReply, Services, StackSummary, Target, Tasks};
use super::failure::{Failure, failure};
use super::server::{Server, Which, WhichTarget, WhichThing, known_stack};
use super::{dig, inspect, target};
use crate::reconcile::chain;
use crate::spec::ids::StackName;

pub(super) async fn stacks(Shared(server): Shared<Server>) -> Result<Json<Vec<StackSummary>>, Failure> {
    let list = server.look(|lens| lens.state.stacks().iter().map(|(n, s)| lens.summary(n, s)).collect()).await?;
    Ok(Json(list))
}

pub(super) async fn tasks(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Json<Tasks>, Failure> {
    let tasks = server
        .look(move |lens| {
            let chosen = known_stack(lens, which.stack.as_deref())?;
            Ok::<_, Failure>(lens.tasks(chosen.as_ref()))
        })
        .await??;
    Ok(Json(Tasks { tasks }))
}

pub(super) async fn services(
    Shared(server): Shared<Server>,
    Query(which): Query<Which>,
) -> Result<Json<Services>, Failure> {
    let services = server
        .look(move |lens| {
            let chosen = known_stack(lens, which.stack.as_deref())?;
            let stacks = lens.state.stacks().iter().filter(|(n, _)| chosen.as_ref().is_none_or(|c| c == *n));
            let services = stacks.flat_map(|(n, s)| s.services.iter().map(|(sn, ss)| lens.service(n, s, sn, ss)));
            Ok::<_, Failure>(services.collect())
        })
        .await??;
    Ok(Json(Services { services }))
}

pub(super) async fn instances(
    Shared(server): Shared<Server>,
    Query(which): Query<Which>,
) -> Result<Json<ContainerInstances>, Failure> {
    let container_instances = server
        .look(move |lens| {
            let chosen = known_stack(lens, which.stack.as_deref())?;
            let stacks = lens.state.stacks().iter().filter(|(n, _)| chosen.as_ref().is_none_or(|c| c == *n));
            let instances = stacks.flat_map(|(n, s)| s.instances.values().map(|i| lens.instance(n, s, i)));
            Ok::<_, Failure>(instances.collect())
        })
        .await??;
    Ok(Json(ContainerInstances { container_instances }))
}

pub(super) async fn find_target(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichTarget>,
) -> Result<Json<Vec<Target>>, Failure> {
    let found = server.look(move |lens| match which.failed {
        true => target::find_with_last(lens, &which.target),
        false => target::find(lens, &which.target),
    });
    Ok(Json(found.await??))
}

pub(super) async fn inspect_one(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichThing>,
) -> Result<Json<Value>, Failure> {
    let (mut value, kernel) = server.look(move |lens| inspect::describe(lens, &which.kind, &which.id)).await??;
    if !matches!(kernel, inspect::Kernel::Nothing) {
        let applier = server.applier().await?;
        value["kernel"] = inspect::with_kernel(&applier, kernel).await;
    }
    Ok(Json(value))
}

pub(super) async fn ask_resolver(
    Shared(server): Shared<Server>,
    Json(request): Json<DigRequest>,
) -> Result<Json<DigReply>, Failure> {
    let query = dig::question(&request)?;
    if let Some(from) = request.from {
        let (holder, address, who) = server
            .look(move |lens| -> Result<_, Failure> {
                let mut found = target::find(lens, &from)?;
                let target = found.swap_remove(0);
                if target.network_mode == NetworkMode::None {
                    let who = format!("{} ({})", target.service, target.task_id);
                    return Err(failure(format!("{who} is in network mode none, which has loopback alone"), 1));
                }
                let holder = target.holder.as_ref().map(|h| h.docker_name.clone());
                let holder = holder.ok_or_else(|| failure(format!("task {} has no network", target.task_id), 1))?;
                let stack = lens.state.stack(&StackName::new(&target.stack));
                let router = stack.map(|s| crate::project::security_groups::router(&s.record));
                let address = router.and_then(|r| r.resolver_addresses().first().copied());
                let address = address.ok_or_else(|| failure("the stack has no resolver address", 1))?;
                Ok((holder, address, format!("{} ({})", target.service, target.task_id)))
            })
            .await??;
        // By its name: the process that was seen last may have ended, and its number be another's.
        let netns = server.applier().await?.networks().netns_of(&holder).await;
        let (_, netns) =
            netns.map_err(|error| failure(format!("cannot enter the network of {who}: {}", chain(&error)), 1))?;
        return Ok(Json(dig::ask_from(netns, address, who, query).await?));
    }
    let dir = server
        .look(move |lens| -> Result<PathBuf, Failure> {
            let names: Vec<&StackName> = lens.state.stacks().keys().collect();
            let stack = match (known_stack(lens, request.stack.as_deref())?, names.as_slice()) {
                (Some(stack), _) => stack,
                (None, [one]) => (*one).clone(),
                (None, []) => return Err(failure("no stack is up", 2)),
                (None, several) => {
                    let hint = several.iter().map(|n| format!("--stack {n}")).collect::<Vec<_>>().join(", ");
                    let message = "several stacks are up: which one's resolver?".to_owned();
                    return Err(Failure(ErrorReply { message, hint: Some(hint), exit_code: 2 }));
                }
            };
            Ok(lens.setting.resolver_dir(&stack))
        })
        .await??;
    Ok(Json(dig::ask_socket(&dir, query).await?))
}
