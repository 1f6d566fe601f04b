//! What a machine lacks: named with what to do, by `doctor` and by the command that needs it.

use std::io::{Read as _, Write as _};

use e2e::lab::{Answer, Lab};
use e2e::user::{User, stack};

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
