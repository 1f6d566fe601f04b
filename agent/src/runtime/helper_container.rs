//! A user's command in a task's network, as a container: how `ecsnet run` works for whoever may not enter a namespace.
//!
//! The agent must not run a user's command, which would be root's then. So it is a container of its own, in the task's
//! namespace, with the host's root mounted: our binary goes in there as root, gives the command the task's view of names,
//! and becomes the command under the user's own ids (pitfall 18). Docker removes it when the command ends; the plan does
//! so when the task stops.

use bollard::errors::Error as BollardError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::AttachContainerOptions;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::create::create_body;
use super::exec::{ExecSession, Process, frames};
use super::image::BINARY;
use super::labels::{Labels, Role};
use super::lifecycle::within;
use super::names::{ContainerName, Part, TaskDigits};
use super::spec::{ContainerSpec, Mount, Network};

/// Where the container has the host's root.
pub const HOST_ROOT: &str = "/host";

/// What our binary needs until it becomes the command, which has none of it.
const CAPABILITIES: [&str; 4] = [
    "SYS_ADMIN",  // mount the task's files over the host's
    "SYS_CHROOT", // make the host's root the root
    "SETUID",     // become the user
    "SETGID",     // with all the user's groups
];

/// A command of a user's.
#[derive(Debug, Clone)]
pub struct HelperContainer {
    /// The image of our own binary.
    pub image: String,
    /// The agent's mark, so that what is left over is found.
    pub owner: String,
    /// The stack.
    pub stack: String,
    /// The task.
    pub task: String,
    /// The container that holds the task's namespace.
    pub holder: String,
    /// What tells this command from others: 32 hex digits.
    pub id: TaskDigits,
    /// The arguments of our own binary.
    pub arguments: Vec<String>,
    /// The user's environment.
    pub environment: Vec<(String, String)>,
    /// With a terminal.
    pub tty: bool,
}

impl HelperContainer {
    fn spec(&self) -> ContainerSpec {
        let name = ContainerName::new(&self.owner, &self.stack, Part::Helper(self.id.clone()));
        let mut labels = Labels::new(&self.owner, Role::Helper);
        labels.stack = Some(self.stack.clone());
        labels.task = Some(self.task.clone());
        let mut spec = ContainerSpec::new(name.to_string(), &self.image, Role::Helper);
        spec.labels = labels.encode();
        spec.network = Network::JoinContainer(self.holder.clone());
        // The host's /proc is of the host's processes, and the command looks for itself in it.
        spec.pid_mode = Some("host".to_owned());
        spec.entry_point = Some(vec![BINARY.to_owned()]);
        spec.command = Some(self.arguments.clone());
        spec.environment = self.environment.clone();
        spec.mounts = vec![Mount::new("/", HOST_ROOT, false)];
        spec.tty = self.tty;
        spec.interactive = true;
        spec.cap_drop = vec!["ALL".to_owned()];
        spec.cap_add = CAPABILITIES.iter().map(ToString::to_string).collect();
        // What the kernel lets the user do on the host it lets the user do here.
        let unconfined = ["apparmor=unconfined", "label=disable", "seccomp=unconfined"];
        spec.security_options = unconfined.iter().map(ToString::to_string).collect();
        spec
    }

    fn body(&self, spec: &ContainerSpec) -> ContainerCreateBody {
        let mut body = create_body(spec, &[]);
        body.attach_stdin = Some(true);
        body.attach_stdout = Some(true);
        body.attach_stderr = Some(true);
        body.stdin_once = Some(true);
        body.host_config.get_or_insert_default().auto_remove = Some(true);
        body
    }
}

impl Docker {
    /// Runs a user's command, attached to it from its first byte on.
    ///
    /// # Errors
    /// When Docker refuses; nothing of it is left then.
    pub async fn run_helper(&self, helper: &HelperContainer) -> Result<ExecSession, RuntimeError> {
        let spec = helper.spec();
        let name = spec.name.clone();
        let what = format!("attach to container {name}");
        self.ensure_created_as(&spec, helper.body(&spec)).await?;
        let options =
            AttachContainerOptions { stream: true, stdin: true, stdout: true, stderr: true, ..Default::default() };
        let attached = within(ANSWER_TIME, self.client.attach_container(&name, Some(options)))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(&what, error));
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                self.remove(&name).await?;
                return Err(error);
            }
        };
        let (docker, waited) = (self.clone(), name.clone());
        // Asked before the start, so that an end at once is not missed.
        let exit = tokio::spawn(async move { docker.wait_for_next_exit(&waited).await });
        if let Err(error) = self.start(&name).await {
            exit.abort();
            self.remove(&name).await?;
            return Err(error);
        }
        Ok(ExecSession {
            output: frames(what, attached.output),
            input: attached.input,
            docker: self.clone(),
            process: Process::Container(name, exit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_joins_the_task_and_is_removed_by_docker() {
        let digits = "0123456789abcdef0123456789abcdef";
        let helper = HelperContainer {
            image: "ecsnet:1".to_owned(),
            owner: "default".to_owned(),
            stack: "shop".to_owned(),
            task: "aaaa".to_owned(),
            holder: "ecsnet-shop-pause-aaaa".to_owned(),
            id: TaskDigits::new(digits).unwrap(),
            arguments: vec!["enter".to_owned()],
            environment: vec![],
            tty: false,
        };
        let body = helper.body(&helper.spec());
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("container:ecsnet-shop-pause-aaaa"));
        assert_eq!((host.auto_remove, host.privileged), (Some(true), Some(false)));
        assert_eq!(helper.spec().name, format!("ecsnet-shop-helper-{digits}"));
    }
}
