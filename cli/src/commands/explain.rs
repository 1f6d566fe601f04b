//! `ecsnet explain`: would this connection get through, what decides it, and does it really?

use ::agent::control::explain::reply::{
    Analysis, EndView, ExplainRequest, Explanations, Outcome, Probe, Protocol as Asked, Step,
};
use clap::{Args, ValueEnum};

use super::{Form, Global, target};
use crate::failure::{FAILED, Failure};
use crate::render::{self, json, print, short};

/// Say whether a connection gets through, and which rule decides
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 it gets through, 1 it does not (or analysis and probe disagree), 2 the question is wrong"
)]
pub(crate) struct Explain {
    /// Who opens the connection: a task, a service (its first RUNNING task) or STACK/SERVICE
    #[arg(value_name = "FROM")]
    from: String,
    /// To whom: a task, a service (all its tasks), STACK/SERVICE, a DNS name or an address; without PORT all that the task definition maps; in bridge mode PORT is the container's or its instance's
    #[arg(value_name = "TO[:PORT]")]
    to: String,
    /// Over what [default: as the port is mapped, else tcp]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Explain {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let (to, port) = with_port(&self.to)?;
        let client = target::agent(global, &self.from).await?;
        let protocol = self.protocol.map(|protocol| match protocol {
            Protocol::Tcp => Asked::Tcp,
            Protocol::Udp => Asked::Udp,
            Protocol::Icmp => Asked::Icmp,
        });
        let request = ExplainRequest { from: self.from, to: to.to_owned(), port, protocol };
        let answer: Explanations = client.post("/explain", &[], &request).await?;
        for note in &answer.ecsnet.notes {
            render::say(format_args!("note: {note}"));
        }
        match self.output {
            Form::Json => json::print_json(&answer)?,
            Form::Text => print(rendered(&answer))?,
        }
        for disagreement in answer.analyses.iter().filter_map(|a| a.detail.disagreement.as_ref()) {
            render::warn(format_args!(
                "ANALYSIS AND PROBE DISAGREE: {disagreement}. Something that ecsnet did not make acts on these packets, or ecsnet is wrong"
            ));
        }
        Ok(if answer.ecsnet.reachable { 0 } else { FAILED })
    }
}

/// `users:8080` is `users` and a port.
fn with_port(text: &str) -> Result<(&str, Option<u16>), Failure> {
    match text.rsplit_once(':') {
        // An IPv6 address has colons of its own; the agent says what it thinks of it.
        Some((to, _)) if to.contains(':') => Ok((text, None)),
        Some((to, port)) => match port.parse() {
            Ok(port) if port > 0 => Ok((to, Some(port))),
            _ => Err(Failure::input(format!("`{port}` is not a port")).with_hint("ports are 1 to 65535")),
        },
        None => Ok((text, None)),
    }
}

/// One block a path; paths that differ in the receiver alone are told once, and then by name.
fn rendered(answer: &Explanations) -> String {
    let mut text = String::new();
    let mut told: Vec<&Analysis> = Vec::new();
    for analysis in &answer.analyses {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&headline(analysis));
        match told.iter().find(|other| alike(other, analysis)) {
            Some(other) => text.push_str(&format!("  as to {}\n", called(&other.detail.to))),
            None => {
                text.push_str(&block(analysis));
                told.push(analysis);
            }
        }
    }
    if answer.analyses.len() > 1 {
        let open = answer.analyses.iter().filter(|a| a.detail.reachable).count();
        text.push_str(&format!("\n{open} of {} reachable\n", answer.analyses.len()));
    }
    text
}

/// Whether two paths fare the same for the same reason.
fn alike(a: &Analysis, b: &Analysis) -> bool {
    let (a, b) = (&a.detail, &b.detail);
    let reasons =
        |steps: &[Step]| steps.iter().map(|s| (s.about, s.passes, s.code, s.remedy.clone())).collect::<Vec<_>>();
    (a.protocol, a.port, a.reachable, a.foreseen) == (b.protocol, b.port, b.reachable, b.foreseen)
        && a.disagreement.is_none()
        && b.disagreement.is_none()
        && reasons(&a.steps) == reasons(&b.steps)
        && a.to.task_id.is_some()
        && b.to.task_id.is_some()
}

fn headline(analysis: &Analysis) -> String {
    let detail = &analysis.detail;
    let port = detail.port.map(|port| format!("/{port}")).unwrap_or_default();
    let verdict = match (detail.reachable, &detail.disagreement) {
        (_, Some(_)) => "DISAGREEMENT",
        (true, None) => "reachable",
        (false, None) => "NOT REACHABLE",
    };
    format!("{} -> {} {}{port}: {verdict}\n", called(&detail.from), called(&detail.to), detail.protocol.as_str())
}

fn called(end: &EndView) -> String {
    let address = end.address.map(|a| a.to_string());
    match (&end.service, &end.task_id, address) {
        (Some(service), Some(task), Some(address)) => format!("{service} ({}, {address})", short(task)),
        (Some(service), Some(task), None) => format!("{service} ({})", short(task)),
        (Some(name), None, _) => name.clone(),
        (None, _, address) => address.unwrap_or_default(),
    }
}

fn block(analysis: &Analysis) -> String {
    let detail = &analysis.detail;
    let mut text = String::new();
    for step in &detail.steps {
        let sign = match step.passes {
            Some(true) => "ok",
            Some(false) => "NO",
            None => "--",
        };
        let code = step.code.map(|code| format!("{}: ", code.as_str())).unwrap_or_default();
        text.push_str(&format!("  {sign} {:<9} {code}{}\n", step.about.as_str(), step.text));
        if let Some(remedy) = &step.remedy {
            text.push_str(&format!("     {:<9} {remedy}\n", "remedy"));
        }
    }
    let (sign, seen) = match &detail.probe {
        Probe::Seen { outcome, microseconds } => {
            let took = format!("{}.{} ms", microseconds / 1000, microseconds / 100 % 10);
            let word = match outcome {
                Outcome::Connected if detail.protocol == Asked::Tcp => format!("connected in {took}"),
                Outcome::Connected => format!("answered in {took}"),
                Outcome::Delivered => "delivered; a datagram need not be answered".to_owned(),
                Outcome::Refused => format!("refused in {took}"),
                Outcome::TimedOut => format!("timed out after {took}"),
                Outcome::Unreachable => format!("no route, said a router after {took}"),
            };
            let as_foreseen = match (&detail.disagreement, detail.foreseen) {
                (Some(_), _) => ", which is NOT what the analysis says",
                (None, Some(_)) => ", as the analysis says",
                (None, None) => "",
            };
            (if outcome.is_reachable() { "ok" } else { "NO" }, format!("{word}{as_foreseen}"))
        }
        Probe::NotTried { why } => ("--", format!("not tried: {why}")),
    };
    text.push_str(&format!("  {sign} {:<9} {seen}\n", "probe"));
    if let Some(disagreement) = &detail.disagreement {
        text.push_str(&format!("  !! {disagreement}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn step(about: &str, passes: Option<bool>, text: &str) -> Value {
        json!({ "about": about, "passes": passes, "code": null, "text": text, "remedy": null })
    }

    fn path(task: &str, steps: Vec<Value>, foreseen: Value, probe: Value, disagreement: Value) -> Value {
        let reachable = foreseen == "connected" && disagreement.is_null();
        let end = |service: &str, task: &str| json!({ "service": service, "taskId": task, "address": "10.0.0.5" });
        json!({ "NetworkPathFound": reachable, "Explanations": [], "ecsnet": {
            "from": end("shop/web", "1a2b3c4d0000"), "to": end("shop/users", task), "protocol": "tcp", "port": 8080,
            "steps": steps, "foreseen": foreseen, "probe": probe, "disagreement": disagreement, "reachable": reachable,
        } })
    }

    fn text(paths: Vec<Value>) -> String {
        let answer = json!({ "NetworkInsightsAnalyses": paths, "ecsnet": { "reachable": false, "notes": [] } });
        rendered(&serde_json::from_value(answer).unwrap())
    }

    fn seen(outcome: &str, microseconds: u64) -> Value {
        json!({ "seen": { "outcome": outcome, "microseconds": microseconds } })
    }

    #[test]
    fn a_path_reads_step_by_step_with_what_to_add_and_the_proof() {
        let mut ingress =
            step("ingress", Some(false), "no ingress rule of `users` lets in tcp/8080 from 10.0.0.4 (`web`)");
        ingress["code"] = json!("ENI_SG_RULES_MISMATCH");
        ingress["remedy"] = json!("add to `securityGroups.users.ingress`: `{ port: 8080, from: web }`");
        let steps = || {
            vec![
                step("name", None, "`users.shop.local` leads here"),
                step("route", Some(true), "10.0.0.5 is local"),
                ingress.clone(),
            ]
        };
        let paths = ["5e6f7a8b0000", "6f7a8b9c0000"]
            .map(|task| path(task, steps(), json!("timedOut"), seen("timedOut", 2_001_300), Value::Null));
        insta::assert_snapshot!(text(paths.to_vec()), @r"
        shop/web (1a2b3c4d, 10.0.0.5) -> shop/users (5e6f7a8b, 10.0.0.5) tcp/8080: NOT REACHABLE
          -- name      `users.shop.local` leads here
          ok route     10.0.0.5 is local
          NO ingress   ENI_SG_RULES_MISMATCH: no ingress rule of `users` lets in tcp/8080 from 10.0.0.4 (`web`)
             remedy    add to `securityGroups.users.ingress`: `{ port: 8080, from: web }`
          NO probe     timed out after 2001.3 ms, as the analysis says

        shop/web (1a2b3c4d, 10.0.0.5) -> shop/users (6f7a8b9c, 10.0.0.5) tcp/8080: NOT REACHABLE
          as to shop/users (5e6f7a8b, 10.0.0.5)

        0 of 2 reachable
        ");
    }

    #[test]
    fn a_disagreement_is_not_to_be_overlooked() {
        let said = json!("by the analysis it is answered, but the probe was dropped");
        let steps = vec![step("route", Some(true), "10.0.0.5 is local")];
        insta::assert_snapshot!(text(vec![path("5e6f7a8b0000", steps, json!("connected"), seen("timedOut", 2_000_000), said)]), @r"
        shop/web (1a2b3c4d, 10.0.0.5) -> shop/users (5e6f7a8b, 10.0.0.5) tcp/8080: DISAGREEMENT
          ok route     10.0.0.5 is local
          NO probe     timed out after 2000.0 ms, which is NOT what the analysis says
          !! by the analysis it is answered, but the probe was dropped
        ");
    }

    #[test]
    fn a_port_follows_the_last_colon() {
        assert_eq!(with_port("users:80").unwrap(), ("users", Some(80)));
        assert_eq!(with_port("shop/users").unwrap(), ("shop/users", None));
        assert_eq!(with_port("2600:1f00::1").unwrap(), ("2600:1f00::1", None));
        for wrong in ["users:0", "users:65536", "users:http", "users:"] {
            assert_eq!(with_port(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
