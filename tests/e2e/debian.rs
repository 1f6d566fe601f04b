//! `examples/debian`: real nginx and redis, and a stack of mistakes that the tool must name (docs/troubleshooting.md).

use std::path::Path;

use e2e::eventually::eventually;
use e2e::lab::{Answer, Lab};

/// A file of the example, under the test's own stack name; its task definitions stay where they are.
fn example(lab: &Lab, file: &str, name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/debian").canonicalize().unwrap();
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let (named, definitions) = (format!("\nname: {name}\n"), "taskDefinition: task-definitions/");
    assert!(text.contains(&named) && text.contains(definitions), "{text}");
    text.replace(&named, &format!("\nname: {}\n", lab.stack))
        .replace(definitions, &format!("taskDefinition: {}/task-definitions/", folder.display()))
}

#[test]
fn nginx_serves_what_redis_answers_through_the_network() {
    let lab = Lab::new();
    lab.up(&example(&lab, "stack.yaml", "debian"));
    let web = lab.running("web");
    assert_eq!(web.len(), 2, "{web:#?}");
    for task in &web {
        let inside = |container: &str, command: &[&str]| {
            lab.run(&[&["exec", &task.id, "-c", container, "--"], command].concat())
        };
        let answer = inside("counter", &["redis-cli", "-h", "cache.debian.local", "ping"]);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, "PONG\n"), "{answer:#?}");
        // Through redis, the volume that both containers share, and nginx.
        let count = eventually("a count", || {
            let answer = inside("nginx", &["wget", "-q", "-O", "-", "http://127.0.0.1/count"]);
            answer.stdout.trim().parse::<u64>().map_err(|_| answer)
        });
        assert!(count > 0);
    }
    // Only the way that `connectsTo` opens.
    assert_eq!(lab.run(&["explain", "cache", "web"]).code, 1);
    lab.down();
}

/// Runs the command until it says `words`.
fn says(lab: &Lab, words: &str, command: &[&str]) -> Answer {
    eventually(words, || {
        let answer = lab.run(command);
        if answer.stdout.contains(words) { Ok(answer) } else { Err(answer) }
    })
}

#[test]
fn each_mistake_of_the_broken_stack_is_named_by_one_command() {
    let lab = Lab::new();
    let broken = example(&lab, "broken.yaml", "broken");
    let path = lab.write("broken.yaml", &broken);
    lab.ok(&["up", "--no-wait", path.to_str().unwrap()]);
    says(&lab, "HEALTHY", &["ps", &lab.stack]);

    let wrong_name = ["explain", "web", "cahce.broken.local:6379"];
    assert_eq!(says(&lab, "did you mean `cache.broken.local`?", &wrong_name).code, 1);
    let wrong_port = ["explain", "reports", "cache:6380"];
    assert_eq!(says(&lab, "did you mean port 6379?", &wrong_port).code, 1);
    let wrong_group = ["explain", "admin", "cache"];
    let rule = "add to `securityGroups.database.ingress`: `{ port: 6379, from: backend }`";
    assert_eq!(says(&lab, rule, &wrong_group).code, 1);
    let refused = "its health check, which fails: Could not connect to Redis at 127.0.0.1:6380: Connection refused";
    says(&lab, refused, &["ps", "--output", "wide", &lab.stack]);
    let answer = says(&lab, "CannotPullContainerError: ", &["ps", "--all", "--output", "wide", &lab.stack]);
    assert!(answer.stdout.contains("(image 127.0.0.1:1/ecsnet-example/nginx:latst)"), "{answer:#?}");
    // What never ran has no logs, which is said.
    let answer = lab.run(&["logs", &format!("{}/mail", lab.stack)]);
    assert!(answer.stderr.contains("has written nothing"), "{answer:#?}");

    // What the document says to change, and all is well.
    let mended = broken
        .replace("cahce.", "cache.")
        .replace("6380", "6379")
        .replace("[backend]", "[frontend]")
        .replace("127.0.0.1:1/ecsnet-example/nginx:latst", "ecsnet-example/nginx:latest");
    let path = lab.write("mended.yaml", &mended);
    lab.ok(&["up", path.to_str().unwrap(), "--timeout", "120s"]);
    for service in ["web", "reports", "admin"] {
        let answer = lab.run(&["explain", service, "cache"]);
        assert_eq!(answer.code, 0, "{answer:#?}");
    }
    lab.down();
}
