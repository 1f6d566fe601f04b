//! Whoever may use Docker needs nothing else; whoever may not is told so. The agent in its container: killed, replaced.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use e2e::definition::{task, waiting, with};
use e2e::eventually::{DEADLINE, eventually};
use e2e::lab::{Answer, Lab, binary, idle};
use e2e::probe::{Outcome, serve_tcp, tcp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// What a shell of a user or of root asks with.
const PROMPT: &str = "% ";
/// Nobody, who has no home and owns nothing.
const USER: u32 = 65534;

fn stack() -> String {
    let web = with(waiting("app"), json!({ "command": ["trap 'exit 0' TERM; echo ready; sleep 100000 & wait"] }));
    format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
",
        task("web", &[web]),
        idle("orders", &[8080])
    )
}

/// A test's place as a user without root sees it, who may use Docker or not.
struct User {
    lab: Lab,
    binary: PathBuf,
    may_use_docker: bool,
}

impl User {
    fn new(may_use_docker: bool) -> Self {
        let lab = Lab::without_agent();
        // A directory of a test's own is closed to others, and so may be the one of the binary.
        std::fs::set_permissions(lab.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let copy = lab.dir().join("ecsnet");
        std::fs::copy(binary(), &copy).unwrap();
        Self { lab, binary: copy, may_use_docker }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command_named("setpriv");
        command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()]);
        match self.may_use_docker {
            true => command.args(["--groups", &group_of_docker().to_string()]),
            false => command.arg("--clear-groups"),
        };
        command.arg(&self.binary).args(arguments);
        command
            .env("ECSNET_SOCKET", self.lab.socket())
            .env("ECSNET_DATA_DIR", self.lab.data_dir())
            .env("ECSNET_HEALTHY_AFTER", "1")
            .env("NO_COLOR", "1")
            .env("HOME", "/nonexistent")
            .env("PS1", PROMPT)
            .current_dir("/tmp");
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.command(arguments).output().unwrap().into()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "ecsnet {arguments:?}: {answer:#?}\nagent: {}", self.lab.agent_log());
        answer.stdout
    }

    fn up(&self) {
        let file = self.lab.write("stack.yaml", &stack().replace("{name}", &self.lab.stack));
        self.ok(&["up", file.to_str().unwrap(), "--timeout", "60s"]);
    }
}

fn group_of_docker() -> u32 {
    std::fs::metadata("/var/run/docker.sock").unwrap().gid()
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn whoever_may_use_docker_needs_nothing_else() {
    let user = User::new(true);
    user.up();
    let lab = &user.lab;
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    assert_eq!(user.ok(&["exec", "web", "--", "/bin/echo", "hi"]), "hi\n");
    assert!(user.ok(&["logs", "web"]).contains("ready"));
    let orders = lab.one("orders");
    serve_tcp(&orders, 8080);
    assert_eq!(tcp(&lab.one("web"), &orders, 8080), Outcome::Answered);
    let name = format!("orders.{}.local", lab.stack);
    assert!(user.ok(&["dig", &name, "--from", "web"]).contains(&orders.address));

    // The socket is as good as root, so it is as closed as Docker's own.
    let socket = std::fs::metadata(lab.socket()).unwrap();
    let docker_s = std::fs::metadata("/var/run/docker.sock").unwrap();
    let rights = |file: &std::fs::Metadata| (file.uid(), file.gid(), file.mode() & 0o777);
    assert_eq!(rights(&socket), rights(&docker_s));
    assert_eq!(std::fs::metadata(lab.data_dir()).unwrap().mode() & 0o777, 0o700);

    // The agent has what it needs and no more.
    let agent = lab.agent_container().unwrap();
    let format = "{{.HostConfig.Privileged}} {{.HostConfig.RestartPolicy.Name}} {{json .HostConfig.CapDrop}}";
    assert_eq!(docker(&["inspect", "--format", format, &agent]), r#"false unless-stopped ["ALL"]"#);

    user.ok(&["down", "--all"]);
    lab.assert_no_leak();
}

#[test]
fn a_command_of_this_machine_runs_in_a_task_s_network_under_the_user_s_own_ids() {
    let user = User::new(true);
    user.up();
    let (web, orders) = (user.lab.one("web"), user.lab.one("orders"));
    let run = |script: &str| user.run(&["run", "--from", "web", "--", "sh", "-c", script]);
    let seen = run("id -u; id -G; pwd; cat /etc/resolv.conf /etc/hosts; ls /sys/class/net; grep Cap /proc/self/status");
    assert_eq!(seen.code, 0, "{seen:?}");
    let lines: Vec<&str> = seen.stdout.lines().collect();
    assert_eq!(lines[..3], ["65534", format!("65534 {}", group_of_docker()).as_str(), "/tmp"], "{seen:?}");
    assert!(lines.contains(&"nameserver 10.0.0.2") && lines.contains(&"eth0"), "{seen:?}");
    assert!(lines.iter().any(|line| line.starts_with(&web.address)), "{seen:?}");
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(lines.contains(&format!("{set}:\t0000000000000000").as_str()), "{seen:?}");
    }
    // The machine's own program, and packets that leave as the task's.
    let name = format!("orders.{}.local", user.lab.stack);
    let found = user.run(&["run", "--from", "web", "--", "dig", "+short", &name]);
    assert_eq!((found.code, found.stdout.trim()), (0, orders.address.as_str()), "{found:?}");
    assert_eq!(run("exit 7").code, 7);
    assert_ne!(run("echo x > /etc/ecsnet-was-here").code, 0, "what the user may not do stays forbidden");
    let missing = user.run(&["run", "--from", "web", "--", "no-such-program"]);
    assert_eq!((missing.code, missing.stderr.as_str()), (127, "error: no program `no-such-program`\n"), "{missing:?}");
    let refused = user.run(&["run", "--from", "web", "--", "/tmp"]);
    assert_eq!(refused.code, 126, "{refused:?}");

    // Standard input goes along, to its end.
    let mut command = user.command(&["run", "--from", "web", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(Answer::from(child.wait_with_output().unwrap()).stdout, "through\n");

    // Signals are the command's, and nothing of it is left.
    let script = "trap 'echo caught; exit 9' TERM; echo waiting; while :; do sleep 0.05; done";
    let mut command = user.command(&["run", "--from", "web", "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut first = [0; 8];
    output.read_exact(&mut first).unwrap();
    assert!(helpers(&user.lab).len() == 1, "{:?}", user.lab.containers());
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    gone(&user.lab);

    // One that is under way does not hold up the end of its task.
    let mut child =
        user.command(&["run", "--from", "web", "--", "sleep", "1000"]).stdin(Stdio::null()).spawn().unwrap();
    eventually("the command runs", || if helpers(&user.lab).is_empty() { Err("not yet") } else { Ok(()) });
    user.ok(&["down", "--all"]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    user.lab.assert_no_leak();
}

fn helpers(lab: &Lab) -> Vec<String> {
    lab.containers().into_iter().filter(|name| name.contains("-helper-")).collect()
}

fn gone(lab: &Lab) {
    eventually("Docker removes what has ended", || match helpers(lab) {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
}

#[test]
fn whoever_may_not_use_docker_is_told_so_once() {
    let user = User::new(false);
    let file = user.lab.write("stack.yaml", &stack().replace("{name}", &user.lab.stack));
    let file = file.to_str().unwrap();
    let told = |answer: &Answer| {
        assert_eq!(answer.code, 3, "{answer:?}");
        let lines: Vec<&str> = answer.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{answer:?}");
        assert_eq!(lines[0], "error: no permission to use Docker at unix:///var/run/docker.sock");
        assert!(lines[1].starts_with("hint: join the group that owns the socket"), "{answer:?}");
    };
    told(&user.run(&["up", file]));
    // Nor may they use the agent of somebody who may.
    user.lab.ok(&["agent"]);
    for arguments in [&["up", file][..], &["ps"], &["exec", "web", "--", "id"], &["run", "--from", "web", "--", "id"]] {
        told(&user.run(arguments));
    }
    assert!(user.lab.ok(&["ps"]).is_empty() || user.lab.tasks().is_empty());
}

/// An engine that says this of itself and answers nothing else; what the command line makes of it.
fn told_by(engine: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let mut lab = Lab::without_agent();
    let socket = lab.dir().join("engine.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let answers: Vec<(String, String)> = engine.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(known, _)| path.ends_with(known));
            let (status, body) = found.map_or(("404 Not Found", "{}"), |(_, text)| ("200 OK", text));
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            let _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}");
        }
    });
    lab.set("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let file = lab.write("stack.yaml", &stack().replace("{name}", &lab.stack));
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if *word == "FILE" { file.to_str().unwrap() } else { word }).collect();
    let mut answer = lab.run(&arguments);
    answer.stderr = answer.stderr.replace(&socket.display().to_string(), "SOCKET");
    answer.stdout = answer.stdout.replace(&socket.display().to_string(), "SOCKET");
    answer
}

#[test]
fn an_engine_that_cannot_do_it_is_named_with_what_to_do() {
    let new = ("/version", r#"{"Version": "20.10.24", "ApiVersion": "1.41"}"#);
    let engines = [
        (
            vec![("/version", r#"{"Version": "18.09.1", "ApiVersion": "1.39"}"#)],
            "Docker 18.09.1 at unix://SOCKET is too old: it speaks API 1.39, ecsnet needs 1.41",
            "install Docker 20.10 or newer",
        ),
        (
            vec![new, ("/info", r#"{"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}"#)],
            "Docker at unix://SOCKET is rootless",
            "use an engine that root runs",
        ),
        (
            vec![new, ("/info", r#"{"SecurityOptions": ["name=seccomp,profile=default", "name=userns"]}"#)],
            "Docker at unix://SOCKET remaps users (userns-remap)",
            "take `userns-remap` out of /etc/docker/daemon.json",
        ),
    ];
    for (engine, what, remedy) in engines {
        let answer = told_by(&engine, &["up", "FILE"]);
        assert_eq!(answer.code, 3, "{answer:?}");
        let lines: Vec<&str> = answer.stderr.lines().collect();
        assert!(lines.len() == 2, "{answer:?}");
        assert!(lines[0].starts_with(&format!("error: {what}")), "{answer:?}");
        assert!(lines[1].starts_with(&format!("hint: {remedy}")), "{answer:?}");
        let answer = told_by(&engine, &["doctor"]);
        assert_eq!(answer.code, 3, "{answer:?}");
        assert!(answer.stdout.contains(what) && answer.stdout.contains(remedy), "{answer:?}");
    }
}

#[test]
fn doctor_says_what_is_there_and_what_is_lacking() {
    let user = User::new(true);
    let seen: serde_json::Value = serde_json::from_str(&user.ok(&["doctor", "--output", "json"])).unwrap();
    assert_eq!(seen["ok"], true, "{seen:#}");
    let findings = seen["findings"].as_array().unwrap();
    for name in ["docker", "capabilities", "network namespaces", "settings", "links", "security groups", "conntrack"] {
        let found = findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert!(["ok", "not-tried"].contains(&found["status"].as_str().unwrap()), "{found:#}");
    }
    assert!(findings.iter().all(|finding| finding["status"] == "ok" || finding["remedy"].is_string()), "{seen:#}");
    let without = User::new(false).run(&["doctor"]);
    assert_eq!(without.code, 3, "{without:?}");
    assert!(without.stdout.contains("missing") && without.stdout.contains("usermod -aG docker"), "{without:?}");
}

#[test]
fn a_socket_that_cannot_be_reached_is_reached_through_docker() {
    let user = User::new(true);
    user.up();
    let hidden = user.lab.dir().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o700)).unwrap();
    let as_hidden = |arguments: &[&str]| {
        let mut command = user.command(arguments);
        Answer::from(command.env("ECSNET_SOCKET", hidden.join("agent.sock")).output().unwrap())
    };
    // The agent that runs has another socket, so one is started that has this one.
    user.lab.ok(&["agent", "--stop"]);
    let seen = as_hidden(&["ps"]);
    assert!(seen.code == 0 && seen.stdout.contains("RUNNING"), "{seen:?}");
    let seen = as_hidden(&["logs", "web"]);
    assert!(seen.code == 0 && seen.stdout.contains("ready"), "{seen:?}");
    // Docker over TCP, as one on another machine is reached: the caller needs no right to any file here.
    let address = docker_over_tcp();
    let mut command = user.command(&["ps"]);
    command.env("ECSNET_SOCKET", hidden.join("other.sock")).env("DOCKER_HOST", format!("tcp://{address}"));
    user.lab.ok(&["agent", "--stop"]);
    let seen = Answer::from(command.output().unwrap());
    assert!(seen.code == 0 && seen.stdout.contains("RUNNING"), "{seen:?}");
    user.lab.ok(&["agent", "--stop"]);

    let seen = as_hidden(&["down", "--all"]);
    assert_eq!(seen.code, 0, "{seen:?}");
    user.lab.assert_no_leak();
}

/// A way to Docker's socket over TCP, for as long as the test runs.
fn docker_over_tcp() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let engine = std::os::unix::net::UnixStream::connect("/var/run/docker.sock").unwrap();
            let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_engine);
                let _ = to_engine.shutdown(std::net::Shutdown::Write);
            });
            let (mut from_engine, mut to_client) = (engine, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_engine, &mut to_client);
                let _ = to_client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

/// Docker's ids and starts of what belongs to the stack: the same means that it was left alone.
fn lives(lab: &Lab) -> BTreeSet<String> {
    let names = lab.containers();
    names.iter().map(|name| docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", name])).collect()
}

fn steady(lab: &Lab) {
    eventually("the agent has adopted what it found", || {
        let answer = lab.run(&["inspect", "stack", &lab.stack, "--output", "json"]);
        if answer.stdout.contains("host_routes") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn an_agent_that_dies_comes_back_and_adopts() {
    let user = User::new(true);
    user.up();
    let before = lives(&user.lab);
    let container = user.lab.agent_container().unwrap();

    // A crash: Docker starts it again by itself.
    let pid = user.lab.agent_pid().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("Docker starts the agent again", || match user.lab.agent_pid() {
        Some(now) if now != pid => Ok(()),
        other => Err(other),
    });
    steady(&user.lab);
    assert_eq!(user.lab.agent_container().as_ref(), Some(&container));
    assert_eq!(lives(&user.lab), before);

    // Ended by hand, which Docker takes for a wish: the next command starts it.
    docker(&["kill", &container]);
    assert_eq!(user.lab.agent_pid(), None);
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);

    // Crashing so often that Docker waits between two starts: a command does not wait with it.
    eventually("Docker waits before it starts the agent again", || {
        if let Some(pid) = user.lab.agent_pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        match docker(&["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", &container]) {
            state if state.starts_with("restarting") && !state.ends_with(" 0") => Ok(()),
            state => Err(state),
        }
    });
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);

    // Removed by hand.
    docker(&["rm", "-f", &user.lab.agent_container().unwrap()]);
    assert!(user.ok(&["ps"]).contains("RUNNING"), "its container is gone, its state is not");
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
}

#[test]
fn a_newer_binary_replaces_the_agent_and_nothing_that_runs_notices() {
    let mut user = User::new(true);
    user.up();
    let (before, agent) = (lives(&user.lab), user.lab.agent_container().unwrap());
    let old = std::mem::replace(&mut user.binary, user.lab.dir().join("newer"));
    std::fs::copy(&old, &user.binary).unwrap();
    std::fs::File::options().append(true).open(&user.binary).unwrap().write_all(b"newer").unwrap();
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    let replaced = user.lab.agent_container().unwrap();
    assert_ne!(replaced, agent);
    let image = docker(&["inspect", "--format", "{{.Config.Image}}", &replaced]);
    assert_eq!(lives(&user.lab), before);
    user.ok(&["inspect", "stack", &user.lab.stack]);
    assert_eq!(lives(&user.lab), before, "also after it has looked at everything");
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
    docker(&["rm", "-f", &replaced]);
    docker(&["rmi", &image]);
}

/// A command on a terminal of its own.
struct Terminal {
    ours: std::fs::File,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    fn run(mut command: Command, rows: u16, columns: u16) -> Self {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        // SAFETY: setsid and ioctl are async-signal-safe and touch nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        // The command holds copies of its end, which would keep the terminal open past the program.
        drop(command);
        Self { ours: pty.master.into(), child, seen: Vec::new() }
    }

    /// Reads until this text has come.
    fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let mut chunk = [0; 4096];
            let mut ready = [nix::poll::PollFd::new(self.ours.as_fd(), nix::poll::PollFlags::POLLIN)];
            let limit = nix::poll::PollTimeout::try_from(DEADLINE).unwrap();
            let ready = nix::poll::poll(&mut ready, limit).unwrap();
            match self.ours.read(if ready > 0 { &mut chunk[..] } else { &mut [] }) {
                Ok(length) if length > 0 => self.seen.extend_from_slice(&chunk[..length]),
                ended => panic!("no {text:?} in {:?} before {ended:?}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.seen.clear();
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        assert_eq!(unsafe { nix::libc::ioctl(self.ours.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Asks the shell for the terminal's size until it is this: a new size has no event.
    fn size_is(&mut self, command: &str, size: &str) {
        eventually("the shell knows the terminal's size", || {
            self.type_in(&format!("{command}; echo do''ne\n"));
            self.until("done");
            self.until(PROMPT);
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if seen.contains(size) { Ok(()) } else { Err(seen) }
        });
    }

    /// Reads to the end; what was written since the last keys, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut chunk = [0; 4096];
        // At its end a terminal answers EIO.
        while let Ok(length @ 1..) = self.ours.read(&mut chunk) {
            self.seen.extend_from_slice(&chunk[..length]);
        }
        let code = self.child.wait().unwrap().code();
        (String::from_utf8_lossy(&self.seen).into_owned(), code)
    }
}

#[test]
fn a_shell_has_the_user_s_terminal() {
    let user = User::new(true);
    user.up();
    let prompt = format!("PS1={PROMPT}");
    for (arguments, size) in [
        (&["exec", "web", "--", "/bin/env", &prompt, "/bin/sh"][..], "/bin/busybox stty size"),
        (&["run", "--from", "web", "--", "sh"], "stty size"),
    ] {
        let mut terminal = Terminal::run(user.command(arguments), 33, 99);
        terminal.until(PROMPT);
        terminal.size_is(size, "33 99");
        terminal.resize(44, 111);
        terminal.size_is(size, "44 111");
        // Ctrl-C ends what runs in the shell, not the shell and not us.
        terminal.type_in("echo slee''ps; sleep 1000\n");
        terminal.until("sleeps");
        terminal.type_in("\u{3}");
        terminal.until(PROMPT);
        terminal.type_in("exit 42\n");
        let (seen, code) = terminal.end();
        assert_eq!(code, Some(42), "{arguments:?}: {seen}");
    }
    let (seen, code) = Terminal::run(user.command(&["exec", "web", "--", "no-such-program"]), 24, 80).end();
    assert_eq!(code, Some(127), "{seen}");
    assert!(seen.contains("error: container `app` has no program `no-such-program`"), "{seen}");
    assert!(!seen.contains("OCI"), "{seen}");
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
}
