//! The credentials of a task role, as the credentials endpoint answers them (reference 9.4).
//!
//! There is no IAM here. A task with a role gets keys that are of the right form and plainly no AWS keys, or those of a
//! profile of the user's. Either way an SDK finds them where it looks. Keys without an end are told to last six hours from
//! the hour's beginning, at the moment of asking: so they are renewed whether or not the agent lives, and nothing needs
//! to be published for it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::secret::SecretValue;

/// How long the credentials of a task role last (9.4).
pub const CREDENTIALS_HOURS: i64 = 6;

const HOUR: i64 = 60 * 60;

/// What `/v2/credentials/<id>` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontCredentials {
    /// The secret part of the path; unguessable.
    pub id: String,
    /// The task definition's `taskRoleArn`.
    pub role_arn: String,
    /// The keys; none while there are none yet, which is answered 503.
    #[serde(default)]
    pub keys: Option<Keys>,
}

/// Keys of AWS, or what stands for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// `AccessKeyId`.
    pub access_key_id: String,
    /// `SecretAccessKey`.
    pub secret_access_key: SecretValue,
    /// `Token`; empty for long-lived keys, which have none.
    pub token: SecretValue,
    /// When they end; none for keys that do not, whose answers say [`expiration_of_renewed`].
    #[serde(default)]
    pub expiration: Option<Timestamp>,
}

impl Keys {
    /// What `Expiration` is at `now`.
    pub fn expiration_at(&self, now: Timestamp) -> Timestamp {
        self.expiration.unwrap_or_else(|| expiration_of_renewed(now))
    }
}

/// When keys end that are renewed at the beginning of each hour: between five and six hours ahead of `now`.
pub fn expiration_of_renewed(now: Timestamp) -> Timestamp {
    let renewed = now.as_second().div_euclid(HOUR) * HOUR;
    let renewed = Timestamp::from_second(renewed).unwrap_or(now);
    // At the end of time there is no later one.
    renewed.checked_add(SignedDuration::from_secs(CREDENTIALS_HOURS * HOUR)).unwrap_or(Timestamp::MAX)
}

/// Keys for a task whose stack names none: AWS's form, and no service of AWS takes them.
pub fn local_keys() -> Keys {
    Keys {
        access_key_id: "ASIAECSNETLOCAL00000".to_owned(),
        secret_access_key: SecretValue::new("ecsnet/local/not/a/key/of/AWS/0000000000"),
        token: SecretValue::new("ecsnet-local-credentials-are-not-valid-at-AWS"),
        expiration: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_renewed_each_hour_and_last_six() {
        let at = |text: &str| expiration_of_renewed(text.parse().unwrap()).to_string();
        assert_eq!(at("2026-08-01T12:00:00Z"), "2026-08-01T18:00:00Z");
        assert_eq!(at("2026-08-01T12:59:59.999Z"), "2026-08-01T18:00:00Z");
        assert_eq!(at("2026-08-01T13:00:00Z"), "2026-08-01T19:00:00Z");
        assert_eq!(expiration_of_renewed(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn local_keys_have_the_form_of_aws_keys_and_do_not_print() {
        let keys = local_keys();
        assert_eq!((keys.access_key_id.len(), keys.secret_access_key.reveal().len()), (20, 40));
        assert!(keys.access_key_id.starts_with("ASIA"));
        let printed = format!("{keys:?}");
        assert!(
            !printed.contains(keys.secret_access_key.reveal()) && !printed.contains(keys.token.reveal()),
            "{printed}"
        );
    }
}
