//! Images behind a registry's sign-in: the caller's credentials, by file and by helper, and what is left of them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use e2e::definition::{busybox, run, task, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::Lab;
use e2e::registry::Registry;
use serde_json::json;

/// User `u` with the password `hunter2`, as an htpasswd file has it.
const USERS: &str = "u:$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";
/// The same as `config.json` has it.
const AUTH: &str = "dTpodW50ZXIy";

fn config(lab: &Lab, name: &str, text: &str) -> String {
    let folder = lab.dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), text).unwrap();
    folder.display().to_string()
}

/// A helper on the search path that knows one registry.
fn helper(lab: &Lab, server: &str) -> String {
    let folder = lab.dir().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\nread -r server\n[ \"$server\" = {server} ] || {{ echo 'credentials not found'; exit 1; }}\n\
         echo '{{\"ServerURL\":\"{server}\",\"Username\":\"u\",\"Secret\":\"hunter2\"}}'\n"
    );
    let path = folder.join("docker-credential-e2e");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn an_image_behind_a_sign_in_is_pulled_with_the_caller_s_credentials() {
    let mut lab = Lab::without_agent();
    let registry = Registry::start(&lab, Some(USERS));
    let server = registry.address.to_string();
    let image = format!("{server}/{}/app:1", lab.stack);
    let by_file = config(&lab, "by-file", &format!(r#"{{"auths": {{"{server}": {{"auth": "{AUTH}"}}}}}}"#));
    let docker = |words: &[&str]| run(Command::new("docker").env("DOCKER_CONFIG", &by_file).args(words));
    docker(&["tag", busybox(), &image]);
    docker(&["push", &image]);
    docker(&["rmi", &image]);
    let app = with(waiting("app"), json!({ "image": image }));
    let stack = format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {} }}\n",
        task("web", &[app])
    );

    // Without: it is said what to do.
    lab.set("DOCKER_CONFIG", &config(&lab, "none", "{}"));
    let file = lab.write("stack.yaml", &stack.replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    eventually("the task cannot have its image", || {
        let events = lab.ok(&["ps", "--all", "--output", "wide"]);
        let told = events.contains("CannotPullContainerError") && events.contains("run `ecsnet up` again");
        if told { Ok(()) } else { Err(events) }
    });

    // With a helper; the agent is in its container and has neither the file nor the helper.
    let path = helper(&lab, &server);
    lab.set("PATH", &path);
    lab.set("DOCKER_CONFIG", &config(&lab, "by-helper", &format!(r#"{{"credHelpers": {{"{server}": "e2e"}}}}"#)));
    assert!(lab.agent_container().is_some());
    lab.up(&stack);
    lab.one("web");
    nothing_holds("hunter2", &lab.data_dir());
    nothing_holds(AUTH, &lab.data_dir());
    assert!(!lab.agent_log().contains("hunter2"));
    lab.down();
    docker(&["rmi", &image]);

    // With the file.
    lab.set("DOCKER_CONFIG", &by_file);
    lab.up(&stack);
    lab.one("web");
    lab.down();
    docker(&["rmi", &image]);

    // A helper that is not there is named, and does not stop what needs none.
    lab.set("DOCKER_CONFIG", &config(&lab, "no-helper", r#"{"credsStore": "of-nobody"}"#));
    let idle = format!(
        "name: {}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {} }}\n",
        lab.stack,
        task("web", &[waiting("app")])
    );
    let file = lab.write("stack.yaml", &idle);
    let answer = lab.run(&["up", file.to_str().unwrap()]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.stderr.contains("docker-credential-of-nobody"), "{answer:?}");
    lab.down();
}

/// No file under the directory holds these letters.
fn nothing_holds(secret: &str, directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            nothing_holds(secret, &path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}
