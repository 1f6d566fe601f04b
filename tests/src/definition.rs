//! Task definitions for tests, as JSON, which is YAML too: they stand inline in a stack file.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

/// A container that runs `script` in busybox's shell as process 1. Name resolution does not work in it (pitfall 17).
pub fn shell(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": busybox(), "entryPoint": ["/bin/sh", "-c"], "command": [script], "memory": 64 })
}

/// A container that waits, and goes at once when told to.
pub fn waiting(name: &str) -> Value {
    shell(name, "trap 'exit 0' TERM; sleep 100000 & wait")
}

/// A definition with these containers, on one line.
pub fn task(family: &str, containers: &[Value]) -> String {
    json!({ "family": family, "networkMode": "awsvpc", "containerDefinitions": containers }).to_string()
}

/// A definition whose one container waits.
pub fn waiter(family: &str) -> String {
    task(family, &[waiting("app")])
}

/// `value` with the fields of `more` set.
pub fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

/// A check that passes as long as `/tmp/healthy` is there.
pub fn checked_by_a_file() -> Value {
    json!({ "command": ["CMD", "/bin/test", "-e", "/tmp/healthy"], "interval": 5, "timeout": 2, "retries": 1 })
}

/// An image of the host's static busybox, made when it is missing and kept, as the shop's is.
pub fn busybox() -> &'static str {
    static IMAGE: OnceLock<&str> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let name = "ecsnet-e2e/busybox:latest";
        let present = Command::new("docker").args(["image", "inspect", name]).output().expect("docker runs");
        if !present.status.success() {
            import(name);
        }
        name
    })
}

fn import(name: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    for folder in ["bin", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(folder)).expect("a directory");
    }
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in
        ["sh", "cat", "echo", "sleep", "test", "touch", "rm", "hostname", "ip", "nc", "id", "pwd", "env", "true"]
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    std::fs::set_permissions(root.join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).expect("a mode");
    let archive = dir.path().join("root.tar");
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).args(["--owner=0", "--group=0", "."]));
    import_archive(&archive, name);
}

fn import_archive(archive: &Path, name: &str) {
    run(Command::new("docker").arg("import").args(["--change", "ENV PATH=/bin"]).arg(archive).arg(name));
}

/// Runs a command of the host's, which must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
