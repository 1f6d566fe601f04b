//! Our own image, and pulls from a real registry on loopback.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use agent::runtime::{LogOptions, PullError};
use futures_util::TryStreamExt;

use crate::lab::{Lab, docker_cli};

#[tokio::test]
async fn our_own_binary_runs_on_an_image_made_of_it() {
    let Some(mut lab) = Lab::new().await else { return };
    let image = lab.docker.ensure_own_image().await.unwrap();
    lab.remove_image_later(&image);
    assert!(image.starts_with(concat!("ecsnet:", env!("CARGO_PKG_VERSION"), "-")), "{image}");
    assert_eq!(lab.docker.ensure_own_image().await.unwrap(), image);
    assert!(lab.docker.has_image(&image).await.unwrap());

    let mut spec = lab.spec("own", &image);
    spec.command = Some(vec!["--list".to_owned()]);
    lab.run(&spec).await;
    assert_eq!(lab.docker.wait(&spec.name).await.unwrap(), 0);
    let lines: Vec<_> = lab.docker.logs(&spec.name, LogOptions::default()).try_collect().await.unwrap();
    let own = b"images::our_own_binary_runs_on_an_image_made_of_it: test";
    assert!(lines.iter().any(|line| line.bytes[..] == own[..]));
}

/// Debian's registry on a port of its own choice, with its data in a directory that goes with it.
struct Registry {
    process: Child,
    address: String,
    _data: tempfile::TempDir,
}

impl Registry {
    fn start() -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            eprintln!("skipped: docker-registry is not installed");
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = log.next().expect("the registry listens").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
        };
        // Somebody has to read on, or the registry blocks on its own log.
        std::thread::spawn(move || log.count());
        Some(Self { process, address, _data: data })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn an_image_comes_from_a_registry() {
    let Some(mut lab) = Lab::new().await else { return };
    let Some(registry) = Registry::start() else { return };
    let reference = format!("{}/shop/api", registry.address);
    docker_cli(&["tag", lab.shell_image(), &reference]);
    lab.remove_image_later(&reference);
    docker_cli(&["push", &reference]);
    docker_cli(&["rmi", &reference, lab.shell_image()]);
    assert!(!lab.docker.has_image(&reference).await.unwrap());

    let mut steps = Vec::new();
    lab.docker.pull(&reference, None, |progress| steps.push(progress)).await.unwrap();
    assert!(lab.docker.has_image(&reference).await.unwrap());
    let last = steps.last().unwrap();
    assert_eq!(last.layers_done, last.layers_total, "{last:?}");
    assert_eq!(last.layers_total, 1, "{steps:?}");
    assert!(last.bytes_total > 0 && last.bytes_done == last.bytes_total, "{last:?}");

    let digest = lab.docker.image_digest(&reference).await.unwrap().unwrap();
    let by_digest = format!("{reference}@{digest}");
    lab.remove_image_later(&by_digest);
    lab.docker.pull(&by_digest, None, |_| ()).await.unwrap();
    assert!(lab.docker.has_image(&by_digest).await.unwrap());

    let nowhere = format!("{reference}:nowhere");
    let error = lab.docker.pull(&nowhere, None, |_| ()).await.unwrap_err();
    let words =
        format!("Error response from daemon: manifest for {nowhere} not found: manifest unknown: manifest unknown");
    assert_eq!(error.to_string(), words);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_told_in_docker_s_words() {
    let Some(lab) = Lab::new().await else { return };
    let error = lab.docker.pull("127.0.0.1:1/shop/api:1", None, |_| ()).await.unwrap_err();
    assert!(matches!(&error, PullError::Refused { message } if message.contains("connection refused")), "{error}");
}
