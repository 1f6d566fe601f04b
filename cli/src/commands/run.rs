//! `ecsnet run`: a command of the host's inside a task's network namespace.
//!
//! It sees the host's files but the task's `/etc/hosts` and `/etc/resolv.conf`, in a mount namespace of its own, as
//! `ip netns exec` does it. For root the command takes the place of this process. Others may not enter a namespace: for
//! them Docker makes a container in it, in which this binary does the same and becomes the command under the caller's own
//! ids (`enter`). Signals and exit code are the command's own either way.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::agent::control::api::{Holder, Target, Version};
use ::agent::runtime::Docker;
use ::agent::runtime::helper_container::{HOST_ROOT, HelperContainer};
use ::agent::runtime::names::TaskDigits;
use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setgroups, setresgid, setresuid};

use super::session::attend;
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
    /// In the network of this container, where each has its own (bridge, none); left out: of the first that has one
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<String>,
}

impl Run {
    pub(crate) fn run(self, global: &Global) -> Result<u8, Failure> {
        if !geteuid().is_root() {
            return on_runtime(run_in_container(global, &self.from, self.container.as_deref(), self.command));
        }
        let (holder, _) = on_runtime(find(global, &self.from, self.container.as_deref()))?;
        let netns = format!("/proc/{}/ns/net", holder.pid);
        let netns = File::open(&netns).map_err(failed(format!("open {netns}")))?;
        refuse_own(&netns, &holder)?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
        see_as_the_task(Path::new(&holder.hosts_path), Path::new(&holder.resolv_conf_path))?;
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(failed("enter the task's network namespace"))?;
        match become_command(self.command)? {}
    }
}

/// A task's network is never the one that we are in: where it seems so, the holder's process has ended and its number
/// become another's.
fn refuse_own(netns: &File, holder: &Holder) -> Result<(), Failure> {
    let own = fs::metadata("/proc/self/ns/net").map_err(failed("look at /proc/self/ns/net"))?;
    // Both are in use now, so that a number is of one namespace.
    let other = netns.metadata().map_err(failed("look at the task's network namespace"))?;
    if (own.dev(), own.ino()) == (other.dev(), other.ino()) {
        let message = format!("process {} of container {} has just ended", holder.pid, holder.docker_name);
        return Err(Failure::failed(message).with_hint("run it again: the task may have another one by now"));
    }
    Ok(())
}

async fn find(global: &Global, text: &str, container: Option<&str>) -> Result<(Holder, Target), Failure> {
    let client = target::agent(global, text).await?;
    let mut target = target::one_running(&client, text).await?;
    let holder = match container {
        Some(name) => target::container(&target, name)?.holder.clone().ok_or_else(|| {
            let task = short(&target.task_id);
            Failure::failed(format!("container `{name}` of task {task} has no network to run in"))
        }),
        None => target.holder.take().ok_or_else(|| {
            Failure::failed(format!("task {} has no network of its own to run in", short(&target.task_id)))
        }),
    }?;
    Ok((holder, target))
}

/// Has Docker start this binary in the task's network, where it becomes the command.
async fn run_in_container(
    global: &Global,
    text: &str,
    container: Option<&str>,
    command: Vec<String>,
) -> Result<u8, Failure> {
    let (holder, target) = find(global, text, container).await?;
    let owner = target::agent(global, text).await?.get::<Version>("/version", &[]).await?.owner;
    let docker = Docker::connect().await?;
    let tty = io::stdin().is_terminal() && io::stdout().is_terminal();
    let directory = std::env::current_dir()
        .map_err(|source| Failure::System { what: "tell the working directory".to_owned(), source })?;
    let groups = getgroups().map_err(failed("tell the user's groups"))?;
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    // Reading the mask is setting it; nothing is made in between.
    let mask = umask(Mode::empty());
    umask(mask);
    let mut arguments = vec![
        "enter".to_owned(),
        format!("--uid={}", geteuid()),
        format!("--gid={}", getegid()),
        format!("--groups={}", groups.join(",")),
        format!("--umask={}", mask.bits()),
        format!("--directory={}", directory.display()),
        format!("--hosts={}", holder.hosts_path),
        format!("--resolv-conf={}", holder.resolv_conf_path),
    ];
    if tty {
        arguments.push("--tty".to_owned());
    }
    arguments.push("--".to_owned());
    arguments.extend(command);
    // Docker takes text only.
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((text_of(name)?, text_of(value)?)));
    let id = random_digits().map_err(|source| Failure::System { what: "read /dev/urandom".to_owned(), source })?;
    let helper = HelperContainer {
        image: docker.ensure_own_image().await?,
        owner,
        stack: target.stack,
        task: target.task_id,
        holder: holder.docker_name,
        id: TaskDigits::new(&id).ok_or_else(|| Failure::failed("cannot name the command"))?,
        arguments,
        environment: environment.collect(),
        tty,
    };
    attend(docker.run_helper(&helper).await?, tty, |_| None).await
}

fn text_of(text: OsString) -> Option<String> {
    text.into_string().ok()
}

fn random_digits() -> io::Result<String> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Become a user's command in a task's network (run by `ecsnet run` in a container)
#[derive(Debug, Args)]
pub(crate) struct Enter {
    /// The user
    #[arg(long)]
    uid: u32,
    /// The user's group
    #[arg(long)]
    gid: u32,
    /// All the user's groups
    #[arg(long, value_delimiter = ',')]
    groups: Vec<u32>,
    /// The user's file mode mask, in decimal
    #[arg(long)]
    umask: u32,
    /// Where the command starts
    #[arg(long)]
    directory: PathBuf,
    /// The task's /etc/hosts
    #[arg(long)]
    hosts: PathBuf,
    /// The task's /etc/resolv.conf
    #[arg(long)]
    resolv_conf: PathBuf,
    /// The container has a terminal
    #[arg(long)]
    tty: bool,
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<String>,
}

impl Enter {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let host = Path::new(HOST_ROOT);
        // Links as the task has them; and the terminal, whose file is in this container alone.
        let own: &[&str] = if self.tty { &["/sys", "/dev/pts"] } else { &["/sys"] };
        for path in own {
            let place = host.join(path.trim_start_matches('/'));
            mount(Some(*path), &place, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
                .map_err(failed(format!("mount {path} over {}", place.display())))?;
        }
        nix::unistd::chroot(host).map_err(failed("make the host's root the root"))?;
        std::env::set_current_dir("/").map_err(failed("go to the host's root"))?;
        see_as_the_task(&self.hosts, &self.resolv_conf)?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&groups).map_err(failed("take the user's groups"))?;
        setresgid(gid, gid, gid).map_err(failed("take the user's group"))?;
        // With it all capabilities are gone; and no program gets any back.
        setresuid(uid, uid, uid).map_err(failed("become the user"))?;
        nix::sys::prctl::set_no_new_privs().map_err(failed("give up privileges for good"))?;
        umask(Mode::from_bits_truncate(self.umask));
        let entered = std::env::set_current_dir(&self.directory);
        entered.map_err(failed(format!("enter directory {}", self.directory.display())))?;
        match become_command(self.command)? {}
    }
}

/// Ends only if it cannot.
fn become_command(command: Vec<String>) -> Result<Infallible, Failure> {
    let mut words = command.into_iter();
    let Some(program) = words.next() else { return Err(Failure::input("no command was given")) };
    let source = Command::new(&program).args(words).exec();
    // As shells count: 127 not found, 126 found and not to be run. A directory of the search path that may not be entered
    // is no program that may not be run.
    let (message, code) = match source.kind() {
        io::ErrorKind::NotFound => (format!("no program `{program}`"), 127),
        io::ErrorKind::PermissionDenied if !is_found(&program) => (format!("no program `{program}`"), 127),
        _ => (format!("cannot run {program}: {source}"), 126),
    };
    Err(Failure::Said { message, hint: None, code })
}

fn is_found(program: &str) -> bool {
    let search = std::env::var_os("PATH").unwrap_or_default();
    program.contains('/') || std::env::split_paths(&search).any(|folder| folder.join(program).exists())
}

/// Gives this thread, which becomes the command and has a mount namespace of its own, the task's view of names.
fn see_as_the_task(task_hosts: &Path, task_resolv_conf: &Path) -> Result<(), Failure> {
    // Nothing that is mounted from here on may show on the host. What the host unmounts goes here too: Docker's mounts of
    // namespaces, copied, would keep those alive.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(failed("let no mount out"))?;
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
    for (source, place) in [(task_hosts, hosts), (task_resolv_conf, resolv_conf)] {
        mount(Some(source), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(failed(format!(
            "mount {} over {}",
            source.display(),
            place.display()
        )))?;
    }
    Ok(())
}

/// Where a path leads.
fn followed(path: &str) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(failed(format!("follow {path}")))
}

fn failed<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |source| Failure::System { what, source: source.into() }
}
