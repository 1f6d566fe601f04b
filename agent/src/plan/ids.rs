//! Fresh ids for a plan: random, but from a generator that the caller brings, so that a plan can be repeated.

use netmodes::bridge::AttachmentId;
use netmodes::ids::{EniId, GroupId, SubnetId, VpcId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::spec::ids::{DeploymentId, InstanceId, TaskId};

/// A source of ids.
#[derive(Debug)]
pub struct Ids(StdRng);

impl Ids {
    /// The source that gives the same ids again for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn bits(&mut self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }

    /// 32 hex digits.
    pub fn task(&mut self) -> TaskId {
        TaskId::from_bits(self.bits())
    }

    /// 32 hex digits.
    pub fn instance(&mut self) -> InstanceId {
        InstanceId::from_bits(self.bits())
    }

    /// `i-` and 17 hex digits.
    pub fn ec2_instance(&mut self) -> String {
        format!("i-{:017x}", self.bits() >> 60)
    }

    /// Of a container's link to its instance's bridge.
    pub fn attachment(&mut self) -> AttachmentId {
        AttachmentId::from_bits(self.bits())
    }

    /// 32 hex digits that nobody can guess, as far as the seed cannot be.
    pub fn secret(&mut self) -> String {
        format!("{:032x}", self.bits())
    }

    /// One of `count` at random; 0 when there is none.
    pub fn choice(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { (self.0.next_u64() % count as u64) as usize }
    }

    /// `ecs-svc/…`.
    pub fn deployment(&mut self) -> DeploymentId {
        DeploymentId::from_bits(self.bits())
    }

    /// `vpc-…`.
    pub fn vpc(&mut self) -> VpcId {
        VpcId::from_bits(self.bits())
    }

    /// `subnet-…`.
    pub fn subnet(&mut self) -> SubnetId {
        SubnetId::from_bits(self.bits())
    }

    /// `sg-…`.
    pub fn group(&mut self) -> GroupId {
        GroupId::from_bits(self.bits())
    }

    /// `eni-…`.
    pub fn eni(&mut self) -> EniId {
        EniId::from_bits(self.bits())
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let bits = self.bits() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}
