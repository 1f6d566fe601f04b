//! A JSON value as indented `key: value` lines, for people.

use serde_json::Value;

/// The lines of an object or list; what is null or empty is left out.
pub(crate) fn lines(value: &Value) -> String {
    let mut text = String::new();
    push(&mut text, value, 0);
    text
}

fn push(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
                match scalar(value) {
                    Some(scalar) => text.push_str(&format!("{indent}{name}: {scalar}\n")),
                    None => {
                        text.push_str(&format!("{indent}{name}:\n"));
                        push(text, value, depth + 1);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items.iter().filter(|item| !is_empty(item)) {
                match scalar(item) {
                    Some(scalar) => text.push_str(&format!("{indent}- {scalar}\n")),
                    None => {
                        // The first line of what is inside carries the dash.
                        let mut inner = String::new();
                        push(&mut inner, item, depth + 1);
                        text.push_str(&format!("{indent}- {}", inner.trim_start()));
                    }
                }
            }
        }
        Value::String(lines) => lines.lines().for_each(|line| text.push_str(&format!("{indent}{line}\n"))),
        other => text.push_str(&format!("{indent}{other}\n")),
    }
}

/// A value that fits on its key's line.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\n') => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => None,
        Value::Array(items) => {
            let flat: Option<Vec<String>> =
                items.iter().map(|item| if item.is_array() { None } else { scalar(item) }).collect();
            flat.map(|items| items.join(", ")).filter(|line| line.len() <= 80)
        }
        other => Some(other.to_string()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_object_reads_as_indented_lines() {
        let value = serde_json::json!({
            "taskArn": "arn:aws:ecs:us-east-1:0:task/shop/1a", "stoppedReason": null,
            "containers": [{"name": "app", "exitCode": 0}, {"name": "envoy", "ports": [80, 443]}],
            "ecsnet": {"securityGroups": ["web", "db"], "rules": "table\nchain"},
        });
        insta::assert_snapshot!(super::lines(&value), @r"
        taskArn: arn:aws:ecs:us-east-1:0:task/shop/1a
        containers:
          - name: app
            exitCode: 0
          - name: envoy
            ports: 80, 443
        ecsnet:
          securityGroups: web, db
          rules:
            table
            chain
        ");
    }
}
