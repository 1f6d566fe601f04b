//! Whoever may use Docker needs nothing else; whoever may not is told so.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use e2e::eventually::eventually;
use e2e::lab::{Answer, Lab};
use e2e::probe::{Outcome, serve_tcp, tcp};
use e2e::user::{User, docker, group_of_docker, stack};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
