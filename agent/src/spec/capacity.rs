//! Container instances as a stack asks for them (`capacity`), and what EC2's instance types have.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::GroupName;

/// Names of the attributes that ECS gives every container instance by itself.
pub mod attribute {
    /// `us-east-1a`.
    pub const AVAILABILITY_ZONE: &str = "ecs.availability-zone";
    /// `m5.large`.
    pub const INSTANCE_TYPE: &str = "ecs.instance-type";
    /// `linux`.
    pub const OS_TYPE: &str = "ecs.os-type";
    /// `LINUX`.
    pub const OS_FAMILY: &str = "ecs.os-family";
    /// `x86_64` or `arm64`.
    pub const CPU_ARCHITECTURE: &str = "ecs.cpu-architecture";
}

/// Some container instances that are alike but for their zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceGroup {
    /// Unique in the stack.
    pub name: String,
    /// How many.
    pub count: u32,
    /// The EC2 instance type that they are said to be; absent where CPU and memory were given instead.
    pub instance_type: Option<String>,
    /// CPU units of each (1024 is one vCPU).
    pub cpu: u32,
    /// MiB of each.
    pub memory: u32,
    /// The zones that they are dealt to in turn, for example `us-east-1a`.
    pub availability_zones: Vec<String>,
    /// Attributes beyond ECS's own, for placement constraints.
    pub attributes: BTreeMap<String, String>,
    /// The groups on each instance's own ENI; absent means those that the stack gives by itself.
    pub security_groups: Option<Vec<GroupName>>,
    /// The most ENIs on each, its own among them; absent means no bound, whatever the type's is (reference 5.5).
    pub eni_limit: Option<u32>,
}

impl InstanceGroup {
    /// How many awsvpc tasks the ENIs of one instance are enough for: one of them is the instance's own.
    pub fn task_enis(&self) -> Option<u32> {
        self.eni_limit.map(|limit| limit.saturating_sub(1))
    }
}

/// The attributes that ECS gives an instance, without the ids of its VPC, subnet and image. One without a type is of
/// this machine's architecture; else the type's holds, as constraints on AWS would see it.
pub fn attributes_of_ecs(availability_zone: &str, instance_type: Option<InstanceType>) -> BTreeMap<String, String> {
    let architecture = instance_type.map_or_else(Architecture::of_this_machine, |known| known.architecture);
    let mut attributes = BTreeMap::from([
        (attribute::AVAILABILITY_ZONE.to_owned(), availability_zone.to_owned()),
        (attribute::OS_TYPE.to_owned(), "linux".to_owned()),
        (attribute::OS_FAMILY.to_owned(), "LINUX".to_owned()),
        (attribute::CPU_ARCHITECTURE.to_owned(), architecture.as_str().to_owned()),
    ]);
    if let Some(known) = instance_type {
        attributes.insert(attribute::INSTANCE_TYPE.to_owned(), known.to_string());
    }
    attributes
}

/// The instruction set of an instance type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Intel and AMD.
    X86_64,
    /// Graviton.
    Arm64,
}

impl Architecture {
    /// As `ecs.cpu-architecture` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Of the machine that this is.
    pub fn of_this_machine() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 }
    }
}

/// An EC2 instance type; prints its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    family: &'static str,
    size: &'static str,
    /// Virtual CPUs; each is 1024 CPU units.
    pub vcpus: u32,
    /// MiB. What an instance registers on AWS is a little less: the kernel's own share is not in it.
    pub memory: u32,
    /// The most ENIs, the instance's own among them.
    pub enis: u32,
    /// Its instruction set.
    pub architecture: Architecture,
}

impl InstanceType {
    /// CPU units.
    pub fn cpu(&self) -> u32 {
        self.vcpus * 1024
    }
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.family, self.size))
    }
}

/// The type of that name; `None` when it is none of [`known_instance_types`], of which
/// [`nearest`](super::validate::nearest) finds the one that was meant.
pub fn instance_type(name: &str) -> Option<InstanceType> {
    let (family, size) = name.split_once('.')?;
    in_family(family).find(|known| known.size == size)
}

/// Every known type: family by family, each from its smallest size to its largest.
pub fn known_instance_types() -> impl Iterator<Item = InstanceType> {
    FAMILIES.iter().flat_map(|family| in_family(family.name))
}

/// The sizes of a family, smallest first; nothing for an unknown one.
pub fn in_family(name: &str) -> impl Iterator<Item = InstanceType> + use<> {
    let family = FAMILIES.iter().find(|family| family.name == name);
    family.into_iter().flat_map(|family| {
        family.sizes.iter().map(|&(size, vcpus, enis)| InstanceType {
            family: family.name,
            size,
            vcpus,
            memory: family.memory.of(size, vcpus),
            enis,
            architecture: family.architecture,
        })
    })
}

struct Family {
    name: &'static str,
    architecture: Architecture,
    memory: Memory,
    /// Name, vCPUs, ENIs.
    sizes: &'static [(&'static str, u32, u32)],
}

/// How much memory a size has.
enum Memory {
    /// By its vCPUs, GiB each.
    PerVcpu(u32),
    /// By its size alone, as burstable types do: nano has half a GiB, and each next one twice as much.
    Doubling,
}

impl Memory {
    fn of(&self, size: &str, vcpus: u32) -> u32 {
        match self {
            Self::PerVcpu(gib) => vcpus * gib * 1024,
            Self::Doubling => {
                let smallest_first = ["nano", "micro", "small", "medium", "large", "xlarge", "2xlarge"];
                let doublings = smallest_first.iter().take_while(|&&other| other != size).count();
                512 << doublings
            }
        }
    }
}

const T2: &[(&str, u32, u32)] = &[
    ("nano", 1, 2),
    ("micro", 1, 2),
    ("small", 1, 3),
    ("medium", 2, 3),
    ("large", 2, 3),
    ("xlarge", 4, 3),
    ("2xlarge", 8, 3),
];
const T3: &[(&str, u32, u32)] = &[
    ("nano", 2, 2),
    ("micro", 2, 2),
    ("small", 2, 3),
    ("medium", 2, 3),
    ("large", 2, 3),
    ("xlarge", 4, 4),
    ("2xlarge", 8, 4),
];
const T3A: &[(&str, u32, u32)] = &[
    ("nano", 2, 2),
    ("micro", 2, 2),
    ("small", 2, 2),
    ("medium", 2, 3),
    ("large", 2, 3),
    ("xlarge", 4, 4),
    ("2xlarge", 8, 4),
];
const X86: &[(&str, u32, u32)] = &[("large", 2, 3), ("xlarge", 4, 4), ("2xlarge", 8, 4), ("4xlarge", 16, 8)];
const M5: &[(&str, u32, u32)] = &[
    ("large", 2, 3),
    ("xlarge", 4, 4),
    ("2xlarge", 8, 4),
    ("4xlarge", 16, 8),
    ("8xlarge", 32, 8),
    ("12xlarge", 48, 8),
    ("16xlarge", 64, 15),
    ("24xlarge", 96, 15),
];
const GRAVITON: &[(&str, u32, u32)] =
    &[("medium", 1, 2), ("large", 2, 3), ("xlarge", 4, 4), ("2xlarge", 8, 4), ("4xlarge", 16, 8)];

/// Burstable ones, then general purpose, compute and memory optimized.
const FAMILIES: &[Family] = {
    use Architecture::{Arm64, X86_64};
    use Memory::{Doubling, PerVcpu};
    &[
        Family { name: "t2", architecture: X86_64, memory: Doubling, sizes: T2 },
        Family { name: "t3", architecture: X86_64, memory: Doubling, sizes: T3 },
        Family { name: "t3a", architecture: X86_64, memory: Doubling, sizes: T3A },
        Family { name: "t4g", architecture: Arm64, memory: Doubling, sizes: T3 },
        Family { name: "m5", architecture: X86_64, memory: PerVcpu(4), sizes: M5 },
        Family { name: "m5a", architecture: X86_64, memory: PerVcpu(4), sizes: X86 },
        Family { name: "m6i", architecture: X86_64, memory: PerVcpu(4), sizes: X86 },
        Family { name: "m6a", architecture: X86_64, memory: PerVcpu(4), sizes: X86 },
        Family { name: "m6g", architecture: Arm64, memory: PerVcpu(4), sizes: GRAVITON },
        Family { name: "m7i", architecture: X86_64, memory: PerVcpu(4), sizes: X86 },
        Family { name: "m7g", architecture: Arm64, memory: PerVcpu(4), sizes: GRAVITON },
        Family { name: "c5", architecture: X86_64, memory: PerVcpu(2), sizes: X86 },
        Family { name: "c6i", architecture: X86_64, memory: PerVcpu(2), sizes: X86 },
        Family { name: "c6g", architecture: Arm64, memory: PerVcpu(2), sizes: GRAVITON },
        Family { name: "c7i", architecture: X86_64, memory: PerVcpu(2), sizes: X86 },
        Family { name: "c7g", architecture: Arm64, memory: PerVcpu(2), sizes: GRAVITON },
        Family { name: "r5", architecture: X86_64, memory: PerVcpu(8), sizes: X86 },
        Family { name: "r6i", architecture: X86_64, memory: PerVcpu(8), sizes: X86 },
        Family { name: "r6g", architecture: Arm64, memory: PerVcpu(8), sizes: GRAVITON },
    ]
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use rstest::rstest;

    use super::*;
    use crate::spec::validate::nearest;

    #[rstest]
    #[case("t2.nano", 1, 512, 2)]
    #[case("t2.2xlarge", 8, 32_768, 3)]
    #[case("t3.micro", 2, 1024, 2)]
    #[case("t3a.small", 2, 2048, 2)]
    #[case("t3.medium", 2, 4096, 3)]
    #[case("m5.large", 2, 8192, 3)]
    #[case("m5.24xlarge", 96, 393_216, 15)]
    #[case("m6g.medium", 1, 4096, 2)]
    #[case("m7i.4xlarge", 16, 65_536, 8)]
    #[case("c5.large", 2, 4096, 3)]
    #[case("r6i.2xlarge", 8, 65_536, 4)]
    fn types_have_what_ec2_gives_them(#[case] name: &str, #[case] vcpus: u32, #[case] memory: u32, #[case] enis: u32) {
        let found = instance_type(name).unwrap();
        assert_eq!((found.vcpus, found.memory, found.enis), (vcpus, memory, enis));
        assert_eq!(found.to_string(), name);
        assert_eq!(found.cpu(), vcpus * 1024);
    }

    #[test]
    fn a_name_that_is_unknown_has_a_nearest_one() {
        assert_eq!(instance_type("m5.lrge"), None);
        assert_eq!(instance_type("m5"), None);
        let names: Vec<String> = known_instance_types().map(|known| known.to_string()).collect();
        assert_eq!(nearest("m5.lrge", names.iter().map(String::as_str)), Some("m5.large"));
        assert!(names.iter().all(|name| instance_type(name).is_some()));
    }

    #[test]
    fn one_eni_of_the_limit_is_the_instances_own() {
        let group = InstanceGroup {
            name: "workers".into(),
            count: 1,
            instance_type: Some("c5.large".into()),
            cpu: 2048,
            memory: 4096,
            availability_zones: vec!["us-east-1a".into()],
            attributes: BTreeMap::new(),
            security_groups: None,
            eni_limit: None,
        };
        assert_eq!(group.task_enis(), None, "the type's limit does not bound a local stack");
        assert_eq!(InstanceGroup { eni_limit: Some(3), ..group }.task_enis(), Some(2));
    }
}
