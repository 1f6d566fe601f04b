//! Logs and commands inside containers.

use agent::runtime::{ExecOptions, ExecSession, LogLine, LogOptions, OutputStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use crate::lab::{DEADLINE, Lab};

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

#[tokio::test]
async fn logs_keep_outputs_apart_and_in_order() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("logs", "for i in $(seq 1 20); do echo out$i; echo err$i >&2; sleep 0.01; done");
    lab.run(&spec).await;
    let followed = lab.docker.logs(&spec.name, LogOptions { follow: true, ..Default::default() });
    let lines: Vec<LogLine> = tokio::time::timeout(DEADLINE, followed.try_collect()).await.unwrap().unwrap();
    assert_eq!(lines.len(), 40, "{:?}", texts(&lines));
    let out: Vec<LogLine> = lines.iter().filter(|l| l.stream == OutputStream::Stdout).cloned().collect();
    assert_eq!(texts(&out), (1..=20).map(|i| format!("out{i}")).collect::<Vec<_>>());

    let whole: Vec<LogLine> = lab.docker.logs(&spec.name, LogOptions::default()).try_collect().await.unwrap();
    assert!(whole.windows(2).all(|pair| pair[0].time <= pair[1].time), "not in order of time");
    assert!(whole.iter().all(|line| line.complete && line.time.is_some()));

    let tail = LogOptions { tail: Some(4), ..Default::default() };
    assert_eq!(lab.docker.logs(&spec.name, tail).try_collect::<Vec<_>>().await.unwrap().len(), 4);

    let since = LogOptions { since: whole[30].time, ..Default::default() };
    assert_eq!(lab.docker.logs(&spec.name, since).try_collect::<Vec<_>>().await.unwrap(), whole[30..]);
}

#[tokio::test]
async fn the_log_of_an_absent_container_is_an_error() {
    let Some(lab) = Lab::new().await else { return };
    let first = lab.docker.logs("ecsnet-nowhere", LogOptions::default()).next().await.unwrap();
    assert!(first.unwrap_err().is_absent());
}

async fn read(session: &mut ExecSession) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let reading = async {
        while let Some(piece) = session.output.next().await {
            let piece = piece.unwrap();
            let text = String::from_utf8_lossy(&piece.bytes).into_owned();
            match piece.stream {
                OutputStream::Stdout => out += &text,
                OutputStream::Stderr => err += &text,
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap();
    (out, err)
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_command_runs_inside_with_its_own_exit_code() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("exec", "exec sleep 1000");
    lab.run(&spec).await;
    let options = ExecOptions { user: Some("1000".to_owned()), ..Default::default() };
    let mut session = lab.docker.exec(&spec.name, shell("id -u; echo oops >&2; exit 7"), options).await.unwrap();
    assert_eq!(read(&mut session).await, ("1000\n".to_owned(), "oops\n".to_owned()));
    assert_eq!(session.exit_code().await.unwrap(), 7);

    let missing = vec!["/nope".to_owned()];
    let mut session = lab.docker.exec(&spec.name, missing, ExecOptions::default()).await.unwrap();
    let (out, _) = read(&mut session).await;
    assert!(out.contains("/nope"), "{out}");
    assert!(matches!(session.exit_code().await.unwrap(), 126 | 127));

    lab.docker.stop(&spec.name, std::time::Duration::ZERO).await.unwrap();
    assert!(lab.docker.exec(&spec.name, shell("true"), ExecOptions::default()).await.is_err());
}

#[tokio::test]
async fn a_command_reads_its_input_to_the_end() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("stdin", "exec sleep 1000");
    lab.run(&spec).await;
    let options = ExecOptions { stdin: true, ..Default::default() };
    let mut session = lab.docker.exec(&spec.name, shell("cat; echo end"), options).await.unwrap();
    session.input.write_all(b"hello\n").await.unwrap();
    session.input.shutdown().await.unwrap();
    assert_eq!(read(&mut session).await.0, "hello\nend\n");
    assert_eq!(session.exit_code().await.unwrap(), 0);
}

#[tokio::test]
async fn a_terminal_has_a_size() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("tty", "exec sleep 1000");
    lab.run(&spec).await;
    let options = ExecOptions { tty: true, stdin: true, ..Default::default() };
    let mut session = lab.docker.exec(&spec.name, shell("read go; stty size; exit 3"), options).await.unwrap();
    session.resize(30, 100).await.unwrap();
    session.input.write_all(b"go\n").await.unwrap();
    let (out, _) = read(&mut session).await;
    assert!(out.contains("30 100"), "{out:?}");
    assert_eq!(session.exit_code().await.unwrap(), 3);
}
