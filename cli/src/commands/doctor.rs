//! `ecsnet doctor`: what this machine has for ecsnet and what it lacks, each with what to do.

use clap::Args;
use serde_json::json;

use super::{Form, Global};
use crate::doctor::findings::{Finding, Status, judge};
use crate::doctor::{facts, findings};
use crate::failure::{Failure, MACHINE};
use crate::render::{json, print, table};

/// Check what this machine has for ecsnet, and say what to do about what it lacks
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

impl Doctor {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let all = judge(&facts::gather(global).await);
        let sound = all.iter().all(|finding| finding.status != findings::Status::Missing);
        match self.output {
            Form::Text => print(text(&all))?,
            Form::Json => json::print_json(&json!({ "ok": sound, "findings": all }))?,
        }
        Ok(if sound { 0 } else { MACHINE })
    }
}

fn text(all: &[Finding]) -> String {
    let rows = all.iter().map(|finding| {
        let remedy = finding.remedy.as_ref().map(|remedy| format!("\n→ {remedy}")).unwrap_or_default();
        vec![finding.status.as_str().to_owned(), finding.name.to_owned(), finding.detail.clone() + &remedy]
    });
    let lacking = all.iter().filter(|finding| finding.status == Status::Missing).count();
    let sum = match lacking {
        0 => "nothing that ecsnet needs is missing".to_owned(),
        1 => "1 thing that ecsnet needs is missing".to_owned(),
        more => format!("{more} things that ecsnet needs are missing"),
    };
    format!("{}\n{sum}\n", table::columns(&["STATUS", "WHAT", "DETAIL"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_followed_by_what_to_do() {
        let all = [
            Finding { name: "docker", status: Status::Ok, detail: "20.10".to_owned(), remedy: None },
            Finding {
                name: "links",
                status: Status::Missing,
                detail: "cannot make a veth pair".to_owned(),
                remedy: Some("load the module".to_owned()),
            },
        ];
        insta::assert_snapshot!(text(&all), @r"
        STATUS   WHAT    DETAIL
        ok       docker  20.10
        missing  links   cannot make a veth pair
                         → load the module

        1 thing that ecsnet needs is missing
        ");
    }
}
