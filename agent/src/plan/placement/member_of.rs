//! What a `memberOf` expression sees of a container instance.

use super::{AGENT_VERSION, Candidate};
use crate::spec::cluster_query::{Instance, Subject};

/// A candidate that an expression is asked about.
pub(super) struct Selected<'a>(pub(super) &'a Candidate<'a>);

impl Instance for Selected<'_> {
    fn any(&self, subject: &Subject, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        let candidate = self.0;
        match subject {
            Subject::Attribute(name) => candidate.attributes.get(name).is_some_and(|value| passes(value)),
            Subject::Ec2InstanceId => passes(candidate.ec2_instance_id),
            Subject::AgentConnected => passes(if candidate.agent_connected { "true" } else { "false" }),
            Subject::AgentVersion => passes(AGENT_VERSION),
            Subject::RegisteredAt => passes(&candidate.registered_at.to_string()),
            Subject::RunningTasksCount => passes(&candidate.running_tasks.to_string()),
            Subject::TaskGroup => candidate.tasks.iter().any(|(group, &tasks)| tasks > 0 && passes(group)),
        }
    }
}
