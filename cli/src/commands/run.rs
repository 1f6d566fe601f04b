//! `ecsnet run`: a command of the host's inside a task's network namespace.
//!
//! It sees the host's files but the task's `/etc/hosts` and `/etc/resolv.conf`, in a mount namespace of its own, as
//! `ip netns exec` does it. The command takes the place of this process, so signals and exit code are its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::agent::control::api::Holder;
use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::{Global, on_runtime, target};
use crate::failure::Failure;
use crate::render::short;

/// Sockets of the host over which glibc would resolve names past `/etc/resolv.conf`.
const RESOLVERS_OF_THE_HOST: [&str; 2] = ["/run/nscd", "/run/systemd/resolve"];

/// Run a command of this machine inside a task's network
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A task, a service (its first RUNNING task) or STACK/SERVICE
    #[arg(long, value_name = "TARGET")]
    from: String,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<String>,
}

impl Run {
    pub(crate) fn run(self, global: &Global) -> Result<u8, Failure> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::machine("only root may enter a task's network")
                .with_hint("run it with sudo, or use `ecsnet exec` for a command that the container has"));
        }
        let holder = on_runtime(find(global, &self.from))?;
        enter(&holder)?;
        let mut words = self.command.into_iter();
        let Some(program) = words.next() else { return Err(Failure::input("no command was given")) };
        let source = Command::new(&program).args(words).exec();
        // As shells count: 127 not found, 126 found and not to be run.
        let code = if source.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        Err(Failure::Said { message: format!("cannot run {program}: {source}"), hint: None, code })
    }
}

async fn find(global: &Global, text: &str) -> Result<Holder, Failure> {
    let client = target::agent(global, text).await?;
    let target = target::one_running(&client, text).await?;
    target
        .holder
        .ok_or_else(|| Failure::failed(format!("task {} has no network of its own to run in", short(&target.task_id))))
}

/// Takes this thread, which becomes the command, into the task's network with the task's view of names.
fn enter(holder: &Holder) -> Result<(), Failure> {
    let netns = format!("/proc/{}/ns/net", holder.pid);
    let netns = File::open(&netns).map_err(failed(format!("open {netns}")))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    // Nothing that is mounted from here on may show on the host.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(failed("make the mounts private"))?;
    // Where /etc/resolv.conf leads may lie under what is masked next, so it is followed before.
    let hosts = followed("/etc/hosts")?;
    let resolv_conf = followed("/etc/resolv.conf")?;
    for folder in RESOLVERS_OF_THE_HOST.map(Path::new) {
        let Ok(folder) = folder.canonicalize() else { continue };
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=64k"))
            .map_err(failed(format!("mask {}", folder.display())))?;
        if resolv_conf.starts_with(&folder) {
            let parent = resolv_conf.parent().unwrap_or(&folder);
            fs::create_dir_all(parent)
                .and_then(|()| File::create(&resolv_conf))
                .map_err(failed(format!("make {} anew", resolv_conf.display())))?;
        }
    }
    for (source, place) in [(&holder.hosts_path, hosts), (&holder.resolv_conf_path, resolv_conf)] {
        mount(Some(source.as_str()), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(failed(format!("mount {source} over {}", place.display())))?;
    }
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(failed("enter the task's network namespace"))
}

/// Where a path leads.
fn followed(path: &str) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(failed(format!("follow {path}")))
}

fn failed<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |source| Failure::System { what, source: source.into() }
}
