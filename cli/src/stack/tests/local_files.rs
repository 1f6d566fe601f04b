//! What a stack takes from this machine: environment files, secrets, paths, and containers that a stub replaces.

use super::*;

/// What ECS asks for where there are secrets; it stands last, so that the lines of the fields stay the same.
const ROLE: &str = "executionRoleArn: arn:aws:iam::111122223333:role/e\n";

/// A definition whose container `a` has these fields.
fn container(fields: &str) -> String {
    format!(
        "family: web\nnetworkMode: awsvpc\ncontainerDefinitions:\n  - name: a\n    image: a\n    memory: 64\n{fields}{ROLE}"
    )
}

/// A stack in `deploy/`, its definition in `deploy/task/`, and other files.
fn loaded(stack: &str, definition: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("deploy/task")).unwrap();
    let stack = format!("name: shop\nservices:\n  web:\n    taskDefinition: task/web.yaml\n{stack}");
    let own = [("deploy/stack.yaml", stack.as_str()), ("deploy/task/web.yaml", definition)];
    for (name, text) in own.iter().chain(files) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let loaded = load(&folder.path().join("deploy/stack.yaml"), &Overrides::default());
    (folder, loaded)
}

fn report(stack: &str, definition: &str, files: &[(&str, &str)]) -> String {
    let (folder, loaded) = loaded(stack, definition, files);
    assert_eq!(loaded.secrets.len(), 0, "nothing of a refused stack is passed on");
    report::render(&loaded.problems, &loaded.sources, false).replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn the_earlier_environment_file_wins_and_environment_wins_over_both() {
    let definition = container(
        "    environmentFiles: [ { value: one.env, type: s3 }, { value: 'arn:aws:s3:::config/prod/two.env', type: s3 } ]\n    environment: [ { name: C, value: own } ]\n",
    );
    // The one is beside the definition, the other in the stack's folder under its key.
    let files =
        [("deploy/task/one.env", "A=one\nB=one\nC=one\n"), ("deploy/prod/two.env", "# all\nB=two\nC=two\nD=two\n")];
    let (_folder, loaded) = loaded("", &definition, &files);
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    let stack = loaded.stack.unwrap();
    let container = &stack.services["web"].task_definition.container_definitions[0];
    let pairs: Vec<String> = container.environment.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(pairs, ["A=one", "B=one", "C=one", "D=two", "C=own"], "of two with a name the later one counts");
    assert_eq!(container.environment_files, ["one.env", "arn:aws:s3:::config/prod/two.env"]);
}

#[test]
fn an_environment_file_that_is_not_there_says_where_it_was_looked_for() {
    let definition = container(
        "    environmentFiles:\n      - { value: gone.env, type: s3 }\n      - { value: 'arn:aws:s3:::config/prod/gone.env', type: s3 }\n      - { value: 'arn:aws:s3:::config', type: s3 }\n      - { value: ../../outside.env, type: s3 }\n      - { value: bad.env, type: s3 }\n",
    );
    let files = [("outside.env", "A=1"), ("deploy/task/bad.env", "export\nA=\n")];
    insta::assert_snapshot!(report("", &definition, &files), @r###"
error: the environment file `gone.env` is not on this machine
 --> deploy/task/web.yaml:8:18
  |
8 |       - { value: gone.env, type: s3 }
  |                  ^^^^^^^^
  |
  = hint: looked for `deploy/task/gone.env`, then `deploy/gone.env`

error: the environment file `arn:aws:s3:::config/prod/gone.env` is not on this machine
 --> deploy/task/web.yaml:9:18
  |
9 |       - { value: 'arn:aws:s3:::config/prod/gone.env', type: s3 }
  |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: looked for `deploy/task/config/prod/gone.env`, then `deploy/config/prod/gone.env`, then `deploy/task/prod/gone.env`, then `deploy/prod/gone.env`, then `deploy/task/gone.env`, then `deploy/gone.env`

error: `arn:aws:s3:::config` is not the ARN of an object in S3
  --> deploy/task/web.yaml:10:18
   |
10 |       - { value: 'arn:aws:s3:::config', type: s3 }
   |                  ^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: arn:aws:s3:::bucket/key, or the path of a local file

error: `../../outside.env` leads out of the stack's folder
  --> deploy/task/web.yaml:11:18
   |
11 |       - { value: ../../outside.env, type: s3 }
   |                  ^^^^^^^^^^^^^^^^^
   |
   = hint: if that is meant, write the whole path: outside.env

warning: line 1 of `deploy/task/bad.env` is not applied: it has no `=`
  --> deploy/task/web.yaml:12:18
   |
12 |       - { value: bad.env, type: s3 }
   |                  ^^^^^^^

warning: line 2 of `deploy/task/bad.env` is not applied: there is no value after the `=`, and ECS skips such a line
  --> deploy/task/web.yaml:12:18
   |
12 |       - { value: bad.env, type: s3 }
   |                  ^^^^^^^
"###);
}

#[test]
fn a_secret_s_value_is_where_the_stack_file_says() {
    let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf";
    let definition = container(&format!(
        "    secrets:\n      - {{ name: USER, valueFrom: '{arn}:user::' }}\n      - {{ name: PORT, valueFrom: '{arn}:port::' }}\n      - {{ name: WHOLE, valueFrom: '{arn}' }}\n      - {{ name: TOKEN, valueFrom: /shop/token }}\n      - {{ name: HOME_DIR, valueFrom: 'arn:aws:ssm:us-east-1:111122223333:parameter/home' }}\n"
    ));
    let stack = "secrets:\n  shop/db: { file: secrets/db.json }\n  shop/token: { file: token }\n  /home: { env: HOME }\n  unused: { file: not/there }\n";
    let files = [("deploy/secrets/db.json", "{\"user\": \"u1\", \"port\": 5432}\n"), ("deploy/token", "t o k e n\n\n")];
    let (_folder, loaded) = loaded(stack, &definition, &files);
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "", "what nobody asks for is not read");
    let value = |value_from: &str| loaded.secrets[value_from].reveal().to_owned();
    assert_eq!(value(&format!("{arn}:user::")), "u1");
    assert_eq!(value(&format!("{arn}:port::")), "5432");
    assert_eq!(value(arn), "{\"user\": \"u1\", \"port\": 5432}");
    assert_eq!(value("/shop/token"), "t o k e n\n", "one line feed is the file's end");
    assert_eq!(value("arn:aws:ssm:us-east-1:111122223333:parameter/home"), std::env::var("HOME").unwrap());
    let spec = serde_json::to_string(&loaded.stack.unwrap()).unwrap();
    assert!(!spec.contains("u1") && !spec.contains("5432") && !spec.contains("t o k e n"), "{spec}");
}

#[test]
fn a_secret_without_a_value_is_told_without_telling_any() {
    let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf";
    let definition = container(&format!(
        "    secrets:\n      - {{ name: A, valueFrom: /shop/a }}\n      - {{ name: B, valueFrom: b }}\n      - {{ name: C, valueFrom: c }}\n      - {{ name: D, valueFrom: '{arn}:usr::' }}\n      - {{ name: E, valueFrom: 'arn:aws:secretsmanager:us-east-1:1:secret:e:key::' }}\n      - {{ name: F, valueFrom: f }}\n"
    ));
    let stack = "secrets:\n  b: { file: gone }\n  c: { env: ECSNET_TEST_IS_NOT_SET }\n  shop/db: { file: db.json }\n  e: { file: plain }\n  f: { file: ../f }\n  g: { file: x, env: Y }\n";
    let files = [("deploy/db.json", "{\"user\": \"hunter2\"}"), ("deploy/plain", "hunter2"), ("f", "hunter2")];
    let text = report(stack, &definition, &files);
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!(text, @r###"
error: cannot read the secret `b`, `deploy/gone`: there is no such file
 --> deploy/stack.yaml:6:14
  |
6 |   b: { file: gone }
  |              ^^^^

error: the environment variable `ECSNET_TEST_IS_NOT_SET`, for the secret `c`, is not set
 --> deploy/stack.yaml:7:13
  |
7 |   c: { env: ECSNET_TEST_IS_NOT_SET }
  |             ^^^^^^^^^^^^^^^^^^^^^^

error: `../f` leads out of the stack's folder
  --> deploy/stack.yaml:10:14
   |
10 |   f: { file: ../f }
   |              ^^^^
   |
   = hint: if that is meant, write the whole path: f

error: the secret `g` must say where its value is, once
  --> deploy/stack.yaml:11:6
   |
11 |   g: { file: x, env: Y }
   |      ^^^^^^^^^^^^^^^^^
   |
   = hint: { file: PATH } or { env: VARIABLE }

error: nothing says where the value of the secret `A` is
 --> deploy/task/web.yaml:8:31
  |
8 |       - { name: A, valueFrom: /shop/a }
  |                               ^^^^^^^
  |
  = hint: in the stack file: secrets: { "shop/a": { file: PATH } }, or { env: VARIABLE }

error: the secret `shop/db` has no key `usr`
  --> deploy/task/web.yaml:11:31
   |
11 |       - { name: D, valueFrom: 'arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf:usr::' }
   |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: did you mean `user`?

error: `valueFrom` asks for the key `key`, and the secret `e` is not a JSON object
  --> deploy/task/web.yaml:12:31
   |
12 |       - { name: E, valueFrom: 'arn:aws:secretsmanager:us-east-1:1:secret:e:key::' }
   |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"###);
}

#[test]
fn a_secret_that_no_variable_can_be_is_refused() {
    let definition = container(
        "    secrets:\n      - { name: '', valueFrom: a }\n      - { name: 'A=B', valueFrom: a }\n      - { name: C, valueFrom: 'arn:aws:secretsmanager:us-east-1:1:secret:a:nul::' }\n",
    );
    let files = [("deploy/db.json", "{\"nul\": \"hunter2\\u0000\"}")];
    let text = report("secrets:\n  a: { file: db.json }\n", &definition, &files);
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!(text, @r###"
error: the name of a secret is that of a variable: not empty, without `=` and NUL
 --> deploy/task/web.yaml:8:17
  |
8 |       - { name: '', valueFrom: a }
  |                 ^^
  |
  = hint: for example DB_PASSWORD

error: the name of a secret is that of a variable: not empty, without `=` and NUL
 --> deploy/task/web.yaml:9:17
  |
9 |       - { name: 'A=B', valueFrom: a }
  |                 ^^^^^
  |
  = hint: for example DB_PASSWORD

error: the key `nul` of the secret `a` has a NUL byte, which no variable can hold
  --> deploy/task/web.yaml:10:31
   |
10 |       - { name: C, valueFrom: 'arn:aws:secretsmanager:us-east-1:1:secret:a:nul::' }
   |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"###);
}

#[test]
fn a_mount_whose_source_is_not_there_is_told_where_it_is_written() {
    let definition = container(
        "    linuxParameters: { devices: [ { hostPath: /dev/no-such-device } ] }\n    mountPoints:\n      - { sourceVolume: gone, containerPath: /gone }\n      - { sourceVolume: relative, containerPath: data }\n      - { sourceVolume: efs, containerPath: /efs }\n      - { sourceVolume: ebs, containerPath: /ebs }\n",
    ) + "volumes:\n  - { name: gone, host: { sourcePath: /no/such/folder } }\n  - { name: relative, host: { sourcePath: data } }\n  - { name: efs, efsVolumeConfiguration: { fileSystemId: fs-1 } }\n  - { name: ebs, configuredAtLaunch: true }\n";
    insta::assert_snapshot!(report("", &definition, &[]), @r###"
error: there is no device `/dev/no-such-device` on this machine
 --> deploy/task/web.yaml:7:47
  |
7 |     linuxParameters: { devices: [ { hostPath: /dev/no-such-device } ] }
  |                                               ^^^^^^^^^^^^^^^^^^^

error: a path in a container must be absolute, and `data` is not
  --> deploy/task/web.yaml:10:50
   |
10 |       - { sourceVolume: relative, containerPath: data }
   |                                                  ^^^^

warning: `/no/such/folder` is not on this machine: Docker makes it when the task starts, an empty directory
  --> deploy/task/web.yaml:15:39
   |
15 |   - { name: gone, host: { sourcePath: /no/such/folder } }
   |                                       ^^^^^^^^^^^^^^^

error: `sourcePath` must be an absolute path, and `data` is not
  --> deploy/task/web.yaml:16:43
   |
16 |   - { name: relative, host: { sourcePath: data } }
   |                                           ^^^^
   |
   = hint: for example deploy/task/data

warning: a directory of this machine stands in for the file system `fs-1`: efs/fs-1 in the agent's data directory; it outlives the stack
  --> deploy/task/web.yaml:17:18
   |
17 |   - { name: efs, efsVolumeConfiguration: { fileSystemId: fs-1 } }
   |                  ^^^^^^^^^^^^^^^^^^^^^^

error: `configuredAtLaunch` is not emulated yet
  --> deploy/task/web.yaml:18:18
   |
18 |   - { name: ebs, configuredAtLaunch: true }
   |                  ^^^^^^^^^^^^^^^^^^
   |
   = hint: a `host` or `dockerVolumeConfiguration` volume may stand in
"###);
}

#[test]
fn a_stub_needs_nothing_of_what_its_container_needs() {
    let definition = container(
        "    environmentFiles: [ { value: 'arn:aws:s3:::config/gone.env', type: s3 } ]\n    secrets: [ { name: A, valueFrom: gone } ]\n",
    );
    let (_folder, good) = loaded("    containers: { a: { stub: true } }\n", &definition, &[]);
    assert_eq!(report::render(&good.problems, &good.sources, false), "");
    assert!(good.stack.unwrap().services["web"].task_definition.container_definitions[0].stub);
    let text = report("    containers: { a: { stub: true } }\n", &definition.replace(ROLE, ""), &[]);
    let refusal =
        "error: When you are specifying container secrets, you must also specify a value for 'executionRoleArn'";
    assert!(text.starts_with(refusal), "what ECS asks of the definition stays: {text}");
    insta::assert_snapshot!(report("    containers: { b: { stub: true } }\n", &container(""), &[]), @r###"
error: the task definition has no container `b`
 --> deploy/stack.yaml:5:22
  |
5 |     containers: { b: { stub: true } }
  |                      ^^^^^^^^^^^^
  |
  = hint: known here: `a`
"###);
}

#[test]
fn json_file_keeps_its_options_and_every_other_driver_is_replaced() {
    let definition = |log: &str| container(&format!("    logConfiguration: {log}\n"));
    let (_folder, loaded) =
        loaded("", &definition("{ logDriver: json-file, options: { max-size: 5m, max-file: \"2\", tag: x } }"), &[]);
    insta::assert_snapshot!(report::render(&loaded.problems, &loaded.sources, false).lines().next().unwrap(), @"warning: `tag` has no effect yet");
    let stack = loaded.stack.unwrap();
    let options = &stack.services["web"].task_definition.container_definitions[0].log_options;
    assert_eq!((options["max-size"].as_str(), options["max-file"].as_str()), ("5m", "2"));
    for driver in ["awslogs", "awsfirelens", "splunk", "fluentd", "gelf", "syslog", "journald"] {
        let text = report("", &definition(&format!("{{ logDriver: {driver}, options: {{ a: b }} }}")), &[]);
        assert!(text.starts_with(&format!("warning: the log driver `{driver}` is replaced by a local log")), "{text}");
    }
}

#[test]
fn a_file_system_s_id_leads_nowhere_else() {
    for id in ["..", "fs-1/..", "", "/etc"] {
        let definition = container("    mountPoints: [ { sourceVolume: efs, containerPath: /efs } ]\n")
            + &format!("volumes:\n  - {{ name: efs, efsVolumeConfiguration: {{ fileSystemId: '{id}' }} }}\n");
        let text = report("", &definition, &[]);
        assert!(text.contains(&format!("`{id}` is not the id of a file system")), "{text}");
    }
}
