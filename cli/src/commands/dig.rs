//! `ecsnet dig`: ask a stack's resolver, as a task would.

use ::agent::control::api::{DigReply, DigRequest};
use clap::Args;

use super::{Form, Global, one_stack};
use crate::failure::Failure;
use crate::render::{json, print};
use crate::start_agent;

/// Ask a stack's resolver
#[derive(Debug, Args)]
pub(crate) struct Dig {
    /// A name, or an address for a reverse look-up
    #[arg(value_name = "NAME")]
    name: String,
    /// A, AAAA, SRV, PTR, SOA, … [default: A, PTR for an address]
    #[arg(value_name = "TYPE")]
    record_type: Option<String>,
    /// Ask from inside this task, over its network
    #[arg(long, value_name = "TARGET")]
    from: Option<String>,
    /// The stack; may be left out where there is one only
    #[arg(long, value_name = "STACK")]
    stack: Option<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

impl Dig {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return Err(Failure::input("there is no stack, so there is no resolver to ask"));
        };
        let stack = match (&self.stack, &self.from) {
            // The task tells the stack.
            (None, Some(_)) => None,
            (stack, _) => Some(one_stack(&client, stack.as_deref()).await?),
        };
        let request = DigRequest {
            stack,
            name: self.name,
            record_type: self.record_type.map(|record_type| record_type.to_ascii_uppercase()),
            from: self.from,
        };
        let reply: DigReply = client.post("/dig", &[], &request).await?;
        match self.output {
            Form::Json => json::print_json(&reply)?,
            Form::Text => print(rendered(&reply))?,
        }
        Ok(0)
    }
}

/// As dig prints it.
fn rendered(reply: &DigReply) -> String {
    let mut text = format!(";; {} {}: {}\n", reply.name, reply.record_type, reply.status);
    let section = |title: &str, records: &[String]| match records {
        [] => String::new(),
        records => format!(";; {title}\n{}\n", records.join("\n")),
    };
    text.push_str(&section("ANSWER", &reply.answers));
    text.push_str(&section("AUTHORITY", &reply.authorities));
    text + &format!(";; SERVER: {}, {}.{:03} ms\n", reply.server, reply.microseconds / 1000, reply.microseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_as_dig_prints_it() {
        let reply = DigReply {
            name: "web.shop.local.".to_owned(),
            record_type: "A".to_owned(),
            status: "NOERROR".to_owned(),
            answers: vec!["web.shop.local. 10 IN A 10.0.0.4".to_owned(), "web.shop.local. 10 IN A 10.0.1.4".to_owned()],
            authorities: vec![],
            server: "10.0.0.2 from task 1a2b3c4d".to_owned(),
            microseconds: 1042,
        };
        insta::assert_snapshot!(rendered(&reply), @r"
        ;; web.shop.local. A: NOERROR
        ;; ANSWER
        web.shop.local. 10 IN A 10.0.0.4
        web.shop.local. 10 IN A 10.0.1.4
        ;; SERVER: 10.0.0.2 from task 1a2b3c4d, 1.042 ms
        ");
    }
}
