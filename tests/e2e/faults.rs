//! What breaks under a running stack, and what a user may do wrong with agents: each is one clear message or comes back by itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use e2e::eventually::eventually;
use e2e::lab::{Lab, Task, binary, idle};
use e2e::probe::{Outcome, inside, serve_tcp, tcp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn stack(port: u16) -> String {
    format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
",
        idle("web", &[]),
        idle("orders", &[port])
    )
}

fn docker(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.command_named("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The stack's only container with these letters in its name.
fn container(lab: &Lab, part: &str) -> String {
    let mut found = lab.containers();
    found.retain(|name| name.contains(part));
    assert_eq!(found.len(), 1, "{part}: {:?}", lab.containers());
    found.swap_remove(0)
}

/// Two running tasks, their containers and no others, links for them and no others, and traffic as the groups say.
fn settled(lab: &Lab) -> Result<(Task, Task), String> {
    let (tasks, web, orders) = (lab.tasks(), lab.running("web"), lab.running("orders"));
    let (2, [web], [orders]) = (tasks.len(), &web[..], &orders[..]) else { return Err(format!("{tasks:#?}")) };
    if web.netns.is_empty() || orders.netns.is_empty() {
        return Err(format!("{web:?} {orders:?}"));
    }
    let containers = lab.containers();
    let of_tasks = containers.iter().filter(|name| [web, orders].iter().any(|task| name.contains(&task.id)));
    if containers.len() != 6 || of_tasks.count() != 4 {
        return Err(format!("{containers:#?}"));
    }
    let vpc: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let enis = vpc["kernel"]["enis"].as_object().cloned().unwrap_or_default();
    let addresses: BTreeSet<&str> = enis.values().filter_map(|eni| eni["host_routes"][0].as_str()).collect();
    if enis.len() != 2 || addresses != BTreeSet::from([web.address.as_str(), orders.address.as_str()]) {
        return Err(format!("{:#?}", vpc["kernel"]));
    }
    let name = format!("orders.{}.local", lab.stack);
    let answer = lab.run(&["dig", &name, "--from", "web"]);
    if !answer.stdout.contains(&orders.address) {
        return Err(format!("{answer:?}"));
    }
    Ok((web.clone(), orders.clone()))
}

/// As [`settled`], and what the group opens is open and the rest is closed.
fn whole(lab: &Lab, served: &mut BTreeSet<String>, after: &str) -> (Task, Task) {
    eventually(&format!("all is as it was after {after}"), || {
        let (web, orders) = settled(lab)?;
        if served.insert(orders.id.clone()) {
            serve_tcp(&orders, 8080);
            serve_tcp(&orders, 8081);
        }
        match (tcp(&web, &orders, 8080), tcp(&web, &orders, 8081)) {
            (Outcome::Answered, Outcome::Dropped) => Ok((web, orders)),
            other => Err(format!("{other:?}")),
        }
    })
}

#[test]
fn whatever_container_is_killed_or_removed_comes_back() {
    let lab = Lab::new();
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    let (mut web, mut orders) = whole(&lab, &mut served, "up");
    for how in [&["kill"][..], &["rm", "-f"]] {
        for what in ["-resolver", "-vpc", "pause of orders", "app of web"] {
            let part = match what {
                "pause of orders" => format!("pause-{}", orders.id),
                "app of web" => format!("{}.app", web.id),
                other => other.to_owned(),
            };
            let name = container(&lab, &part);
            let before = docker(&lab, &["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &name]);
            docker(&lab, &[how, &[&name]].concat());
            let after = format!("docker {how:?} {what}");
            eventually(&format!("{after} is seen"), || {
                let now = lab
                    .command_named("docker")
                    .args(["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &name])
                    .output()
                    .unwrap();
                let now = String::from_utf8_lossy(&now.stdout).trim().to_owned();
                if now == before && lab.tasks().iter().all(|t| t["desiredStatus"] == "RUNNING") {
                    Err(now)
                } else {
                    Ok(())
                }
            });
            let (web_now, orders_now) = whole(&lab, &mut served, &after);
            match what {
                "pause of orders" => assert!(orders_now.id != orders.id, "a lost namespace means another task"),
                "app of web" => assert!(web_now.id != web.id, "the essential container ended, so the task did"),
                _ => assert_eq!((&web_now.id, &orders_now.id), (&web.id, &orders.id), "{after}: tasks are kept"),
            }
            (web, orders) = (web_now, orders_now);
        }
    }
    lab.down();
}

#[test]
fn a_container_with_our_mark_that_nobody_wants_is_removed() {
    let lab = Lab::new();
    lab.up(&stack(8080));
    let labels = docker(&lab, &["inspect", "--format", "{{json .Config.Labels}}", &container(&lab, "-vpc")]);
    let labels: Value = serde_json::from_str(&labels).unwrap();
    let labels: Vec<String> =
        labels.as_object().unwrap().iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    let name = format!("stray-{}", lab.stack);
    let mut arguments = vec!["create", "--network", "none", "--name", &name];
    arguments.extend(labels.iter().flat_map(|label| ["--label", label.as_str()]));
    arguments.extend([e2e::lab::IMAGE, "stock"]);
    docker(&lab, &arguments);
    whole(&lab, &mut BTreeSet::new(), "a stray container");
    lab.down();
}

#[test]
fn what_is_changed_inside_the_vpc_is_repaired_by_the_next_look() {
    let lab = Lab::new();
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    let (web, orders) = whole(&lab, &mut served, "up");
    let vpc: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let within = Task { netns: vpc["ecsnet"]["netns"].as_str().unwrap().to_owned(), ..web.clone() };
    let link = vpc["kernel"]["enis"].as_object().unwrap().values().next().unwrap()["name"].as_str().unwrap().to_owned();

    inside(&within, delete_filter);
    assert_eq!(tcp(&web, &orders, 8081), Outcome::Answered, "without a filter all is open");
    lab.signal_agent(Signal::SIGHUP);
    assert_eq!(whole(&lab, &mut served, "the filter was deleted"), (web.clone(), orders.clone()));

    inside(&within, || delete_link(&link));
    lab.signal_agent(Signal::SIGHUP);
    assert_eq!(whole(&lab, &mut served, "a link was deleted"), (web, orders));
    lab.down();
}

/// One netlink message and its acknowledgement.
fn netlink(protocol: nix::sys::socket::SockProtocol, messages: &[u8]) {
    use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockType, recv, sendto, socket};
    use std::os::fd::AsRawFd as _;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap();
    sendto(socket.as_raw_fd(), messages, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    assert!(length >= 20 && error == 0, "netlink says {error}");
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;

/// `ip link del`: RTM_DELLINK with an `ifinfomsg`.
fn delete_link(name: &str) {
    let index = nix::net::if_::if_nametoindex(name).unwrap();
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    netlink(nix::sys::socket::SockProtocol::NetlinkRoute, &message(17, REQUEST | ACKNOWLEDGE, &body));
}

/// `nft delete table inet ecsnet`: a batch with one NFT_MSG_DELTABLE.
fn delete_filter() {
    let batch = [0, 0, 0, 10];
    let mut table = vec![1, 0, 0, 0];
    table.extend(11u16.to_ne_bytes());
    table.extend(1u16.to_ne_bytes());
    table.extend(b"ecsnet\0\0");
    let mut messages = message(0x10, REQUEST, &batch);
    messages.extend(message(0x0a02, REQUEST | ACKNOWLEDGE, &table));
    messages.extend(message(0x11, REQUEST, &batch));
    netlink(nix::sys::socket::SockProtocol::NetlinkNetFilter, &messages);
}

/// A Docker of the test's own, in a network namespace of its own: a second one in the host's would take the first one's bridge.
struct PrivateDocker {
    daemon: Child,
    dir: PathBuf,
}

impl PrivateDocker {
    fn start(lab: &mut Lab) -> Self {
        let dir = lab.dir().join("docker");
        std::fs::create_dir_all(&dir).unwrap();
        lab.set("DOCKER_HOST", &format!("unix://{}", dir.join("d.sock").display()));
        let mut docker = Self { daemon: Self::spawn(&dir), dir };
        docker.await_answer();
        let mut save = Command::new("docker").args(["save", e2e::lab::IMAGE]).stdout(Stdio::piped()).spawn().unwrap();
        let load = docker.client().arg("load").stdin(save.stdout.take().unwrap()).output().unwrap();
        assert!(load.status.success() && save.wait().unwrap().success(), "{load:?}");
        docker
    }

    fn spawn(dir: &std::path::Path) -> Child {
        let path = |name: &str| dir.join(name).into_os_string();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        Command::new("unshare")
            .args(["--net", "--mount", "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"])
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", dir.join("d.sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.dir.join("d.sock").display()));
        command
    }

    /// dockerd gives up when its containerd takes more than 15 s, as on a busy machine: then it is started anew.
    fn await_answer(&mut self) {
        eventually("the private Docker answers", || {
            if self.daemon.try_wait().unwrap().is_some() {
                let _ = std::fs::remove_file(self.dir.join("pid"));
                self.daemon = Self::spawn(&self.dir);
            }
            let answer = self.client().arg("version").output().unwrap();
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if answer.status.success() {
                Ok(())
            } else {
                Err(log().lines().rev().take(5).collect::<Vec<_>>().join("\n"))
            }
        });
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.daemon.id().try_into().unwrap()), signal).unwrap();
        self.daemon.wait().unwrap();
    }

    fn start_again(&mut self) {
        let _ = std::fs::remove_file(self.dir.join("pid"));
        self.daemon = Self::spawn(&self.dir);
        self.await_answer();
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        let _ = self.client().args(["ps", "-aq"]).output().map(|list| {
            let ids = String::from_utf8_lossy(&list.stdout).into_owned();
            self.client().args(["rm", "-f"]).args(ids.split_whitespace()).output()
        });
        let _ = kill(Pid::from_raw(self.daemon.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.daemon.wait();
        // A container whose Docker was killed has a shim that names our directory.
        let dir = self.dir.display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let pid = process.file_name().to_string_lossy().parse();
            if let (Ok(pid), true) = (pid, String::from_utf8_lossy(&line).contains(&format!("{dir}/exec"))) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

#[test]
fn docker_may_stop_and_start_under_a_running_stack() {
    let mut lab = Lab::without_agent();
    // One that outlives the Docker that it talks to.
    lab.agent_in_foreground();
    let mut docker = PrivateDocker::start(&mut lab);
    lab.start_agent();
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    whole(&lab, &mut served, "up");
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        docker.end(signal);
        let file = lab.dir().join("stack.yaml");
        eventually("the agent says that Docker is away", || {
            let answer = lab.run(&["up", file.to_str().unwrap(), "--timeout", "1s"]);
            if answer.code == 1 && answer.stderr.contains("Docker does not answer") { Ok(()) } else { Err(answer) }
        });
        assert!(lab.tasks().len() >= 2, "the state is kept: {:#?}", lab.all_tasks());
        docker.start_again();
        whole(&lab, &mut served, &format!("Docker ended by {signal} and started"));
        // The agent may be started over it as well.
        lab.kill_agent();
        lab.start_agent();
        whole(&lab, &mut served, "another agent");
    }
    lab.down();
}

#[test]
fn the_agent_in_its_container_comes_back_with_docker() {
    let mut lab = Lab::without_agent();
    let mut docker = PrivateDocker::start(&mut lab);
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    whole(&lab, &mut served, "up");
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let agent = lab.agent_pid().unwrap();
        docker.end(signal);
        // The one that Docker left behind, if it did, is killed while nobody is there to start another.
        let _ = kill(Pid::from_raw(agent), Signal::SIGKILL);
        eventually("the agent is gone", || lab.agent_pid().map_or(Ok(()), Err));
        docker.start_again();
        eventually("Docker starts the agent, and nobody else does", || lab.agent_pid().ok_or(lab.agent_log()));
        whole(&lab, &mut served, &format!("Docker ended by {signal} and the agent killed"));
    }
    lab.down();
}

/// A small file system for the data directory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(lab: &Lab) -> Self {
        let dir = lab.data_dir();
        std::fs::create_dir_all(&dir).unwrap();
        let none = None::<&str>;
        nix::mount::mount(none, &dir, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=4m")).unwrap();
        Self(dir)
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_stops_nothing_that_runs_and_is_said_once() {
    let mut lab = Lab::without_agent();
    let disk = SmallDisk::mount(&lab);
    lab.start_agent();
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    let (web, orders) = whole(&lab, &mut served, "up");
    disk.fill();
    let file = lab.write("stack.yaml", &stack(8082).replace("{name}", &lab.stack));
    let answer = lab.run(&["up", file.to_str().unwrap(), "--timeout", "60s"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stderr.contains("state.db: database or disk is full"), "{answer:?}");
    assert!(answer.stderr.contains("nothing was changed; make room"), "{answer:?}");
    assert_eq!(whole(&lab, &mut served, "the disk filled up"), (web.clone(), orders.clone()));
    // What has to be decided meanwhile waits for room, and is then done.
    docker(&lab, &["kill", &container(&lab, &format!("{}.app", web.id))]);
    eventually("the agent says what it waits for", || {
        let log = lab.agent_log();
        if log.contains("the store cannot be written") { Ok(()) } else { Err(log) }
    });
    disk.free();
    eventually("the task is replaced", || {
        let now = settled(&lab)?.0;
        if now.id == web.id { Err("the same".to_owned()) } else { Ok(()) }
    });
    whole(&lab, &mut served, "there was room again");
    lab.up(&stack(8082));
    lab.down();
}

#[test]
fn of_two_ups_at_once_one_wins_and_all_of_it() {
    let lab = Lab::new();
    let files: Vec<PathBuf> =
        [8080, 8082].map(|port| lab.write(&format!("{port}.yaml"), &stack(port).replace("{name}", &lab.stack))).into();
    let runs: Vec<Child> = files
        .iter()
        .map(|file| {
            let mut command = lab.command();
            command.arg("up").arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (web, orders) = eventually("steady", || settled(&lab));
    serve_tcp(&orders, 8080);
    serve_tcp(&orders, 8082);
    let outcomes = [8080, 8082].map(|port| tcp(&web, &orders, port));
    assert!(
        matches!(outcomes, [Outcome::Answered, Outcome::Dropped] | [Outcome::Dropped, Outcome::Answered]),
        "{outcomes:?}"
    );
    // The one that won is what is there: another `up` of it changes nothing.
    let winner = &files[usize::from(outcomes[1] == Outcome::Answered)];
    lab.ok(&["up", winner.to_str().unwrap()]);
    assert_eq!(settled(&lab).unwrap(), (web, orders));
    lab.down();
}

#[test]
fn a_second_agent_is_told_which_directory_or_socket_is_taken() {
    let lab = Lab::new();
    let agent = |data: PathBuf, socket: PathBuf| {
        let mut command = lab.command();
        command.env("ECSNET_DATA_DIR", data).env("ECSNET_SOCKET", socket).args(["agent", "--foreground"]);
        e2e::lab::Answer::from(command.output().unwrap())
    };
    let same_data = agent(lab.data_dir(), lab.dir().join("other.sock"));
    assert_eq!(same_data.code, 1, "{same_data:?}");
    let data_dir = lab.data_dir().display().to_string();
    assert_eq!(same_data.stderr, format!("error: another agent is using {data_dir}\n"));
    let same_socket = agent(lab.dir().join("other"), lab.socket());
    assert_eq!(same_socket.code, 1, "{same_socket:?}");
    assert_eq!(same_socket.stderr, format!("error: another agent is listening on {}\n", lab.socket().display()));
    lab.ok(&["ps"]);
}

#[test]
fn the_command_line_starts_an_agent_and_replaces_one_of_another_build() {
    let lab = Lab::without_agent();
    lab.up(&stack(8080));
    let mut served = BTreeSet::new();
    let before = whole(&lab, &mut served, "an agent that `up` started");
    let ids = |lab: &Lab| -> BTreeSet<String> {
        let of_tasks = lab
            .containers()
            .into_iter()
            .filter(|name| [&before.0.id, &before.1.id].iter().any(|id| name.contains(*id)));
        of_tasks.map(|name| docker(lab, &["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &name])).collect()
    };
    let containers = ids(&lab);
    let old_agent = lab.agent_pid().unwrap();
    let other = lab.dir().join("ecsnet");
    std::fs::copy(binary(), &other).unwrap();
    std::io::Write::write_all(&mut std::fs::File::options().append(true).open(&other).unwrap(), b"\n").unwrap();
    let mut command = Command::new(&other);
    command.env("ECSNET_SOCKET", lab.socket()).env("ECSNET_DATA_DIR", lab.data_dir()).env("ECSNET_HEALTHY_AFTER", "1");
    let output = command.arg("ps").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_ne!(lab.agent_pid().unwrap(), old_agent);
    let image = docker(&lab, &["inspect", "--format", "{{.Config.Image}}", &lab.agent_container().unwrap()]);
    assert_eq!(image, image_of(&other));
    eventually("the new agent has looked", || {
        let answer = command_again(&lab, &other, &["inspect", "stack", &lab.stack, "--output", "json"]);
        if answer.stdout.contains("host_routes") { Ok(()) } else { Err(answer) }
    });
    assert_eq!(ids(&lab), containers, "the tasks' containers are those that were there");
    let name = format!("orders.{}.local", lab.stack);
    eventually("the resolver answers", || {
        let answer = command_again(&lab, &other, &["dig", &name, "--from", "web"]);
        if answer.stdout.contains(&before.1.address) { Ok(()) } else { Err(answer) }
    });
    assert_eq!(tcp(&before.0, &before.1, 8080), Outcome::Answered);
    assert_eq!(tcp(&before.0, &before.1, 8081), Outcome::Dropped);
    // Back to the binary under test, which replaces it in turn.
    lab.down();
    let _ = Command::new("docker").args(["rmi", &image_of(&other)]).output();
}

fn image_of(binary: &std::path::Path) -> String {
    let digest = Command::new("sha256sum").arg(binary).output().unwrap();
    format!("ecsnet:0.1.0-{}", &String::from_utf8_lossy(&digest.stdout)[..12])
}

fn command_again(lab: &Lab, binary: &std::path::Path, arguments: &[&str]) -> e2e::lab::Answer {
    let mut command = Command::new(binary);
    command.env("ECSNET_SOCKET", lab.socket()).env("ECSNET_DATA_DIR", lab.data_dir()).env("ECSNET_HEALTHY_AFTER", "1");
    command.args(arguments).output().unwrap().into()
}

#[test]
fn a_damaged_store_is_named_and_left_as_it_is() {
    let lab = Lab::without_agent();
    std::fs::create_dir_all(lab.data_dir()).unwrap();
    let store = lab.data_dir().join("state.db");
    let text = "this is no database, and it is long enough to be taken for one ".repeat(20);
    std::fs::write(&store, &text).unwrap();
    let answer = lab.run(&["agent", "--foreground"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.stderr, format!("error: cannot read the store {}: file is not a database\n", store.display()));
    assert_eq!(std::fs::read_to_string(&store).unwrap(), text);
    // And by the command that would have started it.
    let answer = lab.run(&["ps"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stderr.contains("file is not a database"), "{answer:?}");
}

#[test]
fn without_docker_the_command_says_what_to_do() {
    let mut lab = Lab::without_agent();
    lab.set("DOCKER_HOST", &format!("unix://{}", lab.dir().join("none.sock").display()));
    let file = lab.write("stack.yaml", &stack(8080).replace("{name}", &lab.stack));
    let answer = lab.run(&["up", file.to_str().unwrap()]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stderr.contains("Docker is not running: nothing answers at unix://"), "{answer:?}");
    assert!(answer.stderr.contains("start Docker"), "{answer:?}");
}

#[test]
fn without_root_the_agent_says_what_to_do() {
    let lab = Lab::without_agent();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    // A directory of the test's own is closed to others, and so may be the one of the binary.
    let copy = PathBuf::from(format!("/tmp/{}", lab.stack));
    std::fs::copy(binary(), &copy).unwrap();
    let answer = e2e::lab::Answer::from(command.arg(&copy).args(["agent", "--foreground"]).output().unwrap());
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stderr.contains("the agent needs root") && answer.stderr.contains("--foreground"), "{answer:?}");
}
