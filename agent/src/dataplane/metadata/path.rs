//! What a path of the endpoint asks for (reference 9.1). Pure.

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The asking container.
    Container(Version, &'a str),
    /// Its task; with tags or without.
    Task(Version, &'a str, Tagged),
    /// The container's statistics.
    ContainerStats(Version, &'a str),
    /// Those of all the task's containers.
    TaskStats(Version, &'a str),
    /// Version 2, whose caller is known by its address.
    BySource(About<'a>),
    /// Credentials, by the secret part of their path.
    Credentials(CredentialsVersion, &'a str),
    /// Task protection.
    Protection(&'a str),
    /// There is no such path.
    Nothing,
}

/// The versions whose paths have an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V4,
}

/// Whether `taskWithTags` was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged {
    No,
    Yes,
}

/// What version 2 is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About<'a> {
    Task,
    TaskStats,
    /// By Docker's id.
    Container(&'a str),
    /// By Docker's id.
    ContainerStats(&'a str),
}

/// The versions of the credentials' path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialsVersion {
    V1,
    V2,
}

impl<'a> Asked<'a> {
    /// Takes a path and its query apart.
    pub(super) fn of(path: &'a str, query: Option<&'a str>) -> Self {
        let mut parts = [""; 6];
        let mut count = 0;
        for part in path.strip_prefix('/').unwrap_or(path).split('/') {
            let Some(place) = parts.get_mut(count) else { return Self::Nothing };
            *place = part;
            count += 1;
        }
        match parts.get(..count).unwrap_or_default() {
            ["v4", id, rest @ ..] => of_version(Version::V4, id, rest),
            ["v3", id, rest @ ..] => of_version(Version::V3, id, rest),
            ["v2", "metadata"] | ["v2", "metadata", ""] => Self::BySource(About::Task),
            ["v2", "metadata", id] => Self::BySource(About::Container(id)),
            ["v2", "stats"] | ["v2", "stats", ""] => Self::BySource(About::TaskStats),
            ["v2", "stats", id] => Self::BySource(About::ContainerStats(id)),
            ["v2", "credentials"] => Self::Credentials(CredentialsVersion::V2, ""),
            ["v2", "credentials", id] => Self::Credentials(CredentialsVersion::V2, id),
            ["v1", "credentials"] => Self::Credentials(CredentialsVersion::V1, parameter(query, "id")),
            ["api", id, "task-protection", "v1", "state"] => Self::Protection(id),
            _ => Self::Nothing,
        }
    }

    /// The random id in the path, that of an endpoint or of credentials.
    pub(super) fn id(&self) -> Option<&'a str> {
        match *self {
            Self::Container(_, id)
            | Self::Task(_, id, _)
            | Self::ContainerStats(_, id)
            | Self::TaskStats(_, id)
            | Self::Credentials(_, id)
            | Self::Protection(id) => Some(id),
            Self::BySource(_) | Self::Nothing => None,
        }
    }
}

fn of_version<'a>(version: Version, id: &'a str, rest: &[&'a str]) -> Asked<'a> {
    match rest {
        [] => Asked::Container(version, id),
        ["task"] => Asked::Task(version, id, Tagged::No),
        ["taskWithTags"] => Asked::Task(version, id, Tagged::Yes),
        ["stats"] => Asked::ContainerStats(version, id),
        ["task", "stats"] => Asked::TaskStats(version, id),
        _ => Asked::Nothing,
    }
}

/// A parameter of the query; ids have nothing that would have to be decoded.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> &'a str {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/v4/x", Asked::Container(Version::V4, "x"))]
    #[case("/v3/x", Asked::Container(Version::V3, "x"))]
    #[case("/v4/x/task", Asked::Task(Version::V4, "x", Tagged::No))]
    #[case("/v3/x/taskWithTags", Asked::Task(Version::V3, "x", Tagged::Yes))]
    #[case("/v4/x/stats", Asked::ContainerStats(Version::V4, "x"))]
    #[case("/v3/x/task/stats", Asked::TaskStats(Version::V3, "x"))]
    #[case("/v2/metadata", Asked::BySource(About::Task))]
    #[case("/v2/metadata/", Asked::BySource(About::Task))]
    #[case("/v2/metadata/d", Asked::BySource(About::Container("d")))]
    #[case("/v2/stats", Asked::BySource(About::TaskStats))]
    #[case("/v2/stats/d", Asked::BySource(About::ContainerStats("d")))]
    #[case("/v2/credentials/c", Asked::Credentials(CredentialsVersion::V2, "c"))]
    #[case("/v2/credentials/", Asked::Credentials(CredentialsVersion::V2, ""))]
    #[case("/api/x/task-protection/v1/state", Asked::Protection("x"))]
    #[case("/v4/x/", Asked::Nothing)]
    #[case("/v4", Asked::Nothing)]
    #[case("/v5/x", Asked::Nothing)]
    #[case("/", Asked::Nothing)]
    fn a_path_asks_for(#[case] path: &str, #[case] asked: Asked<'_>) {
        assert_eq!(Asked::of(path, None), asked);
    }

    #[test]
    fn version_1_has_the_id_in_the_query() {
        let of = |query| Asked::of("/v1/credentials", query);
        assert_eq!(of(Some("a=b&id=c")), Asked::Credentials(CredentialsVersion::V1, "c"));
        assert_eq!(of(None), Asked::Credentials(CredentialsVersion::V1, ""));
    }

    proptest! {
        #[test]
        fn any_path_asks_for_something_or_nothing(path in "[/a-z0-9.%]{0,40}", query: Option<String>) {
            Asked::of(&path, query.as_deref());
        }
    }
}
