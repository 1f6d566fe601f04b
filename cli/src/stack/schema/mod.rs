//! The JSON Schema of a stack file, for editors: every key that the reader knows with its words, default and meaning.
//!
//! Beside the reader (`to_spec`, `service`, `task_definition`, …), which says more and in AWS's words; what a schema can hold is here.
//! The two are held together by a test: it lets the reader read a file that has every key, and compares each question that the
//! reader asks (which keys, which words) with the schema. An object is closed where the reader refuses unknown keys, and open
//! where nobody reads it. Draft 7, which the editors' YAML plugins take.

mod container;
mod service;
mod shapes;
mod stack;
mod task_definition;

use serde_json::{Value, json};

/// The whole schema.
pub(crate) fn schema() -> Value {
    let mut schema = stack::stack();
    let definitions = [
        ("securityGroup", stack::security_group()),
        ("ingressRule", stack::ingress_rule()),
        ("egressRule", stack::egress_rule()),
        ("service", service::service()),
        ("taskDefinition", task_definition::task_definition()),
        ("describedTaskDefinition", task_definition::described()),
        ("containerDefinition", container::container()),
        ("portMapping", container::port_mapping()),
        ("healthCheck", container::health_check()),
    ];
    if let Value::Object(fields) = &mut schema {
        fields.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        fields.insert("title".to_owned(), json!("A stack of ecsnet"));
        let definitions = definitions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        fields.insert("definitions".to_owned(), Value::Object(definitions));
    }
    schema
}
