//! Judges what was seen: one finding for each thing that ecsnet needs or can use, with what to do. Pure.

use std::net::IpAddr;

use agent::probe::{Feature, Probe};
use agent::runtime::Engine;
use serde::Serialize;

use super::facts::Facts;
use crate::start_agent::VERSION;

/// Fewer tracked flows than this and a busy stack loses new ones.
const FEW_FLOWS: u64 = 65_536;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Probably fine, but nobody has tried it.
    NotTried,
    /// Something works less well, or not at all, and the rest does.
    Reduced,
    /// Needed, and lacking.
    Missing,
}

impl Status {
    /// As people read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotTried => "not tried",
            Self::Reduced => "reduced",
            Self::Missing => "missing",
        }
    }
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub(crate) name: &'static str,
    /// How it stands.
    pub(crate) status: Status,
    /// What was seen.
    pub(crate) detail: String,
    /// What to do, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

fn finding(name: &'static str, status: Status, detail: impl Into<String>, remedy: Option<&str>) -> Finding {
    Finding { name, status, detail: detail.into(), remedy: remedy.map(str::to_owned) }
}

/// All findings, in the order in which things depend on each other.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    match &facts.docker {
        Some(Ok((address, engine))) => all.extend(docker(address, engine)),
        Some(Err(obstacle)) => {
            all.push(finding("docker", Status::Missing, &obstacle.what, obstacle.remedy.as_deref()));
        }
        None => {}
    }
    match &facts.probes {
        Some(Ok(probes)) => all.extend(probes.iter().map(kernel)),
        Some(Err(why)) => all.push(finding(
            "container",
            Status::Missing,
            format!("a container with the agent's capabilities cannot be run: {why}"),
            Some("let Docker give NET_ADMIN, SYS_ADMIN and SYS_PTRACE; a machine that is a container itself needs them first"),
        )),
        None => {}
    }
    if !facts.remote {
        all.extend(machine(facts));
    }
    match &facts.agent {
        Some(Ok(Some(agent))) => {
            let detail = format!("version {} runs {}", agent.version, agent.place);
            all.push(match agent.version == VERSION {
                true => finding("agent", Status::Ok, detail, None),
                false => finding("agent", Status::Ok, format!("{detail}; this is {VERSION}"), None),
            });
        }
        Some(Ok(None)) => all.push(finding("agent", Status::Ok, "none runs; `ecsnet up` starts it", None)),
        Some(Err(why)) => all.push(finding("agent", Status::Missing, why, None)),
        None => {}
    }
    all
}

fn docker(address: &str, engine: &Engine) -> Vec<Finding> {
    let major = engine.version.split('.').next().unwrap_or_default();
    let about = format!("{} at {address}, on {} with Linux {}", engine.version, engine.operating_system, engine.kernel);
    let docker = match major {
        "20" => finding("docker", Status::Ok, about, None),
        _ => finding("docker", Status::NotTried, about, Some("tried with Docker 20.10")),
    };
    let about = format!("version {} by {}", engine.cgroup_version, engine.cgroup_driver);
    let cgroups = match (engine.cgroup_version.as_str(), engine.cgroup_driver.as_str()) {
        ("1", "cgroupfs") => finding("cgroups", Status::Ok, about, None),
        (_, "none" | "") => finding(
            "cgroups",
            Status::Reduced,
            "Docker does without",
            Some("limits of cpu and memory are not kept; run Docker with cgroups"),
        ),
        _ => finding("cgroups", Status::NotTried, about, Some("tried with version 1 by cgroupfs")),
    };
    let storage = match engine.storage_driver.as_str() {
        "overlay2" => finding("storage", Status::Ok, "overlay2", None),
        other => finding("storage", Status::NotTried, other, Some("tried with overlay2")),
    };
    vec![docker, cgroups, storage]
}

fn kernel(probe: &Probe) -> Finding {
    let (name, good, lacking, remedy) = match probe.feature {
        Feature::Capabilities => (
            "capabilities",
            "all that the agent asks for",
            Status::Missing,
            "let Docker give them: the engine itself has to have them",
        ),
        Feature::Namespaces => (
            "network namespaces",
            "can be made and entered",
            Status::Missing,
            "use a kernel with CONFIG_NET_NS, and let containers with SYS_ADMIN make namespaces",
        ),
        Feature::Settings => (
            "settings",
            "/proc/sys/net can be written",
            Status::Missing,
            "let containers write /proc/sys: no AppArmor or SELinux profile over Docker's `unconfined`",
        ),
        Feature::Links => (
            "links",
            "veth, MTU 9001, routes, permanent neighbours",
            Status::Missing,
            "load the module: `sudo modprobe veth`",
        ),
        Feature::Filter => (
            "security groups",
            "nf_tables with verdict maps, concatenations, conntrack",
            Status::Missing,
            "load the modules: `sudo modprobe -a nf_tables nft_ct nf_conntrack`",
        ),
        Feature::Masquerade => (
            "masquerade",
            "stacks with internet: true",
            Status::Reduced,
            "stacks with `internet: true` do not work; load the module: `sudo modprobe nft_masq`",
        ),
        Feature::Flows => (
            "conntrack",
            "flows can be listed and deleted",
            Status::Missing,
            "load the module: `sudo modprobe nf_conntrack_netlink`",
        ),
        Feature::Bridges => (
            "bridges",
            "container instances",
            Status::Reduced,
            "bridge mode does not work; load the module: `sudo modprobe bridge`",
        ),
        Feature::Netem => (
            "netem",
            "delay and loss",
            Status::Reduced,
            "the kernel cannot delay packets or lose them on purpose; load the module: `sudo modprobe sch_netem`",
        ),
    };
    match &probe.refusal {
        None => finding(name, Status::Ok, good, None),
        Some(why) => finding(name, lacking, why, Some(remedy)),
    }
}

fn machine(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    if facts.selinux {
        all.push(finding("selinux", Status::NotTried, "enforcing", Some("the agent's container has label=disable")));
    }
    if facts.apparmor {
        all.push(finding("apparmor", Status::NotTried, "on", Some("the agent's container has apparmor=unconfined")));
    }
    all.push(match facts.tun {
        true => finding("tun", Status::Ok, "/dev/net/tun", None),
        false => finding("tun", Status::Reduced, "no /dev/net/tun", Some("load the module: `sudo modprobe tun`")),
    });
    all.extend(facts.tracked_flows.map(|flows| match flows {
        FEW_FLOWS.. => finding("tracked flows", Status::Ok, format!("at most {flows}"), None),
        _ => finding(
            "tracked flows",
            Status::Reduced,
            format!("at most {flows}: a busy stack loses new connections"),
            Some("`sudo sysctl -w net.netfilter.nf_conntrack_max=262144`"),
        ),
    }));
    let reachable = |server: &&String| server.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback());
    all.push(match facts.name_servers.iter().find(reachable) {
        Some(server) => finding("name server", Status::Ok, server, None),
        None => finding(
            "name server",
            Status::Reduced,
            match facts.name_servers.first() {
                Some(server) => format!("only {server}, which no VPC reaches"),
                None => "none".to_owned(),
            },
            Some("stacks with `internet: true` resolve no names of the internet: name a server in /etc/resolv.conf that is not on loopback"),
        ),
    });
    all
}

#[cfg(test)]
mod tests {
    use super::super::facts::Obstacle;
    use super::*;

    fn tried() -> Facts {
        let engine = Engine {
            version: "20.10.24".to_owned(),
            cgroup_version: "1".to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            storage_driver: "overlay2".to_owned(),
            operating_system: "Debian".to_owned(),
            kernel: "6.18".to_owned(),
            ..Default::default()
        };
        Facts {
            docker: Some(Ok(("unix:///var/run/docker.sock".to_owned(), engine))),
            probes: Some(Ok(vec![Probe { feature: Feature::Filter, refusal: None }])),
            tun: true,
            tracked_flows: Some(262_144),
            name_servers: vec!["10.1.1.1".to_owned()],
            agent: Some(Ok(None)),
            ..Default::default()
        }
    }

    fn status_of(facts: &Facts, name: &str) -> Status {
        judge(facts).into_iter().find(|finding| finding.name == name).unwrap().status
    }

    #[test]
    fn a_machine_like_those_that_were_tried_is_ok() {
        assert!(judge(&tried()).iter().all(|finding| finding.status == Status::Ok), "{:#?}", judge(&tried()));
    }

    #[test]
    fn without_docker_there_is_one_finding_about_it() {
        let remedy = Some("start Docker".to_owned());
        let facts = Facts {
            docker: Some(Err(Obstacle { what: "Docker is not running".to_owned(), remedy: remedy.clone() })),
            probes: None,
            agent: None,
            ..tried()
        };
        let all = judge(&facts);
        assert_eq!((all[0].status, &all[0].remedy), (Status::Missing, &remedy));
        assert_eq!(all.iter().filter(|finding| finding.status == Status::Missing).count(), 1);
    }

    #[test]
    fn what_nobody_has_tried_is_not_called_ok() {
        let mut facts = tried();
        if let Some(Ok((_, engine))) = &mut facts.docker {
            engine.version = "29.0.1".to_owned();
            engine.cgroup_version = "2".to_owned();
            engine.storage_driver = "btrfs".to_owned();
        }
        facts.selinux = true;
        facts.apparmor = true;
        for name in ["docker", "cgroups", "storage", "selinux", "apparmor"] {
            assert_eq!(status_of(&facts, name), Status::NotTried, "{name}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_has_a_remedy() {
        let features = [
            (Feature::Capabilities, Status::Missing),
            (Feature::Namespaces, Status::Missing),
            (Feature::Settings, Status::Missing),
            (Feature::Links, Status::Missing),
            (Feature::Filter, Status::Missing),
            (Feature::Flows, Status::Missing),
            (Feature::Masquerade, Status::Reduced),
            (Feature::Bridges, Status::Reduced),
            (Feature::Netem, Status::Reduced),
        ];
        for (feature, status) in features {
            let seen = kernel(&Probe { feature, refusal: Some("no".to_owned()) });
            assert_eq!((seen.status, seen.remedy.is_some()), (status, true), "{feature:?}");
        }
    }

    #[test]
    fn a_resolver_on_loopback_is_of_no_use_to_a_vpc() {
        let facts = Facts { name_servers: vec!["127.0.0.53".to_owned()], ..tried() };
        assert_eq!(status_of(&facts, "name server"), Status::Reduced);
    }

    #[test]
    fn files_of_this_machine_say_nothing_about_another() {
        let facts = Facts { remote: true, tun: false, ..tried() };
        assert!(judge(&facts).iter().all(|finding| finding.name != "tun"));
    }
}
