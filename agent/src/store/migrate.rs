//! Stores of earlier formats: what brings their rows to today's, as SQL that runs in the transaction that marks the new one.

/// From the given format to today's; nothing for a store that is new or of today.
pub(super) fn from(format: i64) -> &'static str {
    match format {
        1 => NETWORK_OF_A_TASK,
        _ => "",
    }
}

/// Format 1 knew awsvpc alone: what a task had of the network stood among its other fields.
const NETWORK_OF_A_TASK: &str = "UPDATE task SET value = json_remove(
    json_set(value, '$.network', json_object(
        'mode', 'awsvpc',
        'eni', json_extract(value, '$.eni'),
        'subnet', json_extract(value, '$.subnet'),
        'attachment', json_extract(value, '$.attachment'),
        'groups', json_extract(value, '$.groups'))),
    '$.eni', '$.subnet', '$.attachment', '$.groups');";
