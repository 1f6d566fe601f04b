//! Requests that change what is wished for: up, plan (of a copy), down, stop, scale, instance. The loop does the rest.

use axum::Json;
use axum::extract::{Query, State as Shared};
use serde_json::Value;

use super::api::{ChangeLine, ErrorReply, InstanceRequest, ScaleRequest, StopRequest, TaskView, UpReply, UpRequest};
use super::failure::{Failure, failure};
use super::server::{Server, Which, known_stack};
use super::target;
use super::view::{Lens, notes};
use crate::plan::ids::Ids;
use crate::plan::up;
use crate::reconcile::chain;
use crate::spec::ids::{ServiceName, StackName, TaskId};
use crate::store::secrets;
use crate::store::state::State;

pub(super) async fn bring_up(
    Shared(server): Shared<Server>,
    Json(mut request): Json<UpRequest>,
) -> Result<Json<UpReply>, Failure> {
    // Before anything can be pulled.
    server.keyring.add(std::mem::take(&mut request.credentials));
    let reply = server.ask(move |r| -> Result<UpReply, Failure> {
        let notes = notes(&request.stack, &r.setting);
        let data_dir = r.setting.data_dir.clone();
        let mut before = None;
        let mut has_new_keys = false;
        let changed = r.change(|state, ids| -> Result<Vec<ChangeLine>, Failure> {
            let mut changes = up_in(state, &request, ids)?;
            // On disk before the wish is, so that no container is started without them.
            let name = &request.stack.name;
            let renewed = secrets::renew(&data_dir, name, &request.secrets, &up::secrets_named(state, name))?;
            before = Some(renewed.before);
            has_new_keys = renewed.changed.iter().any(|secret| up::is_profile(secret));
            let shown = renewed.changed.into_iter().filter(|secret| !up::is_profile(secret));
            changes.extend(shown.map(|value_from| ChangeLine {
                sign: '~',
                what: format!("secret {value_from}"),
                detail: "tasks that start from now on have the new value".to_owned(),
            }));
            Ok(changes)
        });
        if let (Err(_), Some(before)) = (&changed, before)
            && let Err(error) = secrets::put_back(&data_dir, &request.stack.name, &before)
        {
            tracing::error!(error = chain(&error), "the secrets of an `up` that failed stay");
        }
        let mut changes = changed?;
        if has_new_keys {
            r.observed.forget_fronts(|stack| *stack == request.stack.name);
            let detail = "tasks with a role find the new ones at their credentials endpoint".to_owned();
            changes.push(ChangeLine { sign: '~', what: "keys of the profile".to_owned(), detail });
        }
        Ok(UpReply { changes, notes })
    });
    Ok(Json(reply.await??))
}

fn up_in(state: &mut State, request: &UpRequest, ids: &mut Ids) -> Result<Vec<ChangeLine>, Failure> {
    Ok(up::apply(state, &request.stack, jiff::Timestamp::now(), ids)?)
}

pub(super) async fn show_plan(
    Shared(server): Shared<Server>,
    Json(request): Json<UpRequest>,
) -> Result<Json<UpReply>, Failure> {
    let reply = server.ask(move |r| -> Result<UpReply, Failure> {
        let notes = notes(&request.stack, &r.setting);
        // The same decision as `up`, on a state that is thrown away.
        let mut draft = r.state.clone();
        let changes = up_in(&mut draft, &request, &mut r.ids)?;
        Ok(UpReply { changes, notes })
    });
    Ok(Json(reply.await??))
}

pub(super) async fn take_down(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<(), Failure> {
    let name = which.stack.ok_or_else(|| failure("which stack?", 2))?;
    server
        .ask(move |r| {
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let stack = known_stack(&lens, Some(&name))?.ok_or_else(|| failure("which stack?", 2))?;
            r.change(|state, _| -> Result<(), Failure> {
                up::delete(state, &stack);
                Ok(())
            })
        })
        .await?
}

pub(super) async fn stop_task(
    Shared(server): Shared<Server>,
    Json(request): Json<StopRequest>,
) -> Result<Json<TaskView>, Failure> {
    let view = server
        .ask(move |r| -> Result<TaskView, Failure> {
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let found = target::find_one(&lens, &request.target)?;
            let (stack, task) = (StackName::new(found.stack), TaskId::new(found.task_id));
            r.change(|state, _| -> Result<(), Failure> {
                up::stop_task(state, &stack, &task, request.reason, jiff::Timestamp::now());
                Ok(())
            })?;
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let in_stack = r.state.stack(&stack).and_then(|s| Some((s, s.tasks.get(&task)?)));
            let (in_stack, task) = in_stack.ok_or_else(|| failure("the task is gone", 1))?;
            Ok(lens.task(&stack, in_stack, task))
        })
        .await??;
    Ok(Json(view))
}

pub(super) async fn change_instance(
    Shared(server): Shared<Server>,
    Json(request): Json<InstanceRequest>,
) -> Result<Json<Value>, Failure> {
    let view = server
        .ask(move |r| -> Result<Value, Failure> {
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let (stack, instance) = lens.find_instance(&request.target)?;
            r.change(|state, _| -> Result<(), Failure> {
                Ok(up::change_instance(state, &stack, &instance, request.action)?)
            })?;
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let in_stack = r.state.stack(&stack).and_then(|s| Some((s, s.instances.get(&instance)?)));
            let (in_stack, instance) = in_stack.ok_or_else(|| failure("the container instance is gone", 1))?;
            Ok(lens.instance(&stack, in_stack, instance))
        })
        .await??;
    Ok(Json(view))
}

pub(super) async fn scale(Shared(server): Shared<Server>, Json(request): Json<ScaleRequest>) -> Result<(), Failure> {
    server
        .ask(move |r| -> Result<(), Failure> {
            let mut counts = Vec::new();
            for (given, count) in &request.counts {
                let (stack, service) = match given.split_once('/') {
                    Some((stack, service)) => (Some(stack), service),
                    None => (None, given.as_str()),
                };
                let found = r.state.stacks().iter().filter(|(n, s)| {
                    stack.is_none_or(|wanted| n.as_str() == wanted)
                        && s.services.get(service).is_some_and(|service| !service.leaving)
                });
                let found: Vec<StackName> = found.map(|(n, _)| n.clone()).collect();
                match found.as_slice() {
                    [one] => counts.push((one.clone(), ServiceName::new(service), *count)),
                    [] => {
                        let known: Vec<String> = r
                            .state
                            .stacks()
                            .iter()
                            .flat_map(|(n, s)| s.services.keys().map(move |service| format!("{n}/{service}")))
                            .collect();
                        let hint = Some(format!("services: {}", known.join(", ")));
                        let message = format!("no service `{given}`");
                        return Err(Failure(ErrorReply { message, hint, exit_code: 2 }));
                    }
                    several => {
                        let hint = several.iter().map(|n| format!("{n}/{service}")).collect::<Vec<_>>().join(", ");
                        let message = format!("`{given}` names services of several stacks");
                        return Err(Failure(ErrorReply { message, hint: Some(hint), exit_code: 2 }));
                    }
                }
            }
            r.change(|state, _| {
                for (stack, service, count) in &counts {
                    up::scale(state, stack, service, *count);
                }
                Ok(())
            })
        })
        .await?
}
