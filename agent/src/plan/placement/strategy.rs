//! Of the instances that would do, the one that the strategies want (reference 3.5).

use std::collections::BTreeMap;

use super::{Candidate, Wish};
use crate::spec::capacity::attribute::AVAILABILITY_ZONE;
use crate::spec::placement::{BinpackField, SpreadField, Strategy};

/// One of `fit`, which are indexes into `candidates`; `None` when it is empty.
pub(super) fn choose(
    wish: &Wish,
    candidates: &[Candidate<'_>],
    mut fit: Vec<usize>,
    chance: &mut impl FnMut(usize) -> usize,
) -> Option<usize> {
    if fit.is_empty() {
        return None;
    }
    let of_services = Strategy::of_services();
    let strategies = if wish.strategy.is_empty() { &of_services } else { &wish.strategy };
    let mut spread = Spread::new(wish, candidates);
    for strategy in strategies {
        match strategy {
            Strategy::Random => return fit.get(chance(fit.len())).or(fit.last()).copied(),
            Strategy::Spread(field) => {
                spread.divide(field);
                keep_least(&mut fit, |at| spread.tasks(at));
            }
            Strategy::Binpack(BinpackField::Cpu) => keep_least(&mut fit, |at| candidates[at].remaining_cpu),
            Strategy::Binpack(BinpackField::Memory) => keep_least(&mut fit, |at| candidates[at].remaining_memory),
        }
    }
    fit.into_iter().min_by_key(|&at| {
        let candidate = &candidates[at];
        (candidate.tasks_of(&wish.group), candidate.running_tasks, candidate.id)
    })
}

fn keep_least(fit: &mut Vec<usize>, value: impl Fn(usize) -> u32) {
    let least = fit.iter().map(|&at| value(at)).min();
    fit.retain(|&at| Some(value(at)) == least);
}

/// Instances in parts that each further spread divides: zones, then the racks of each zone, and so on.
struct Spread<'a> {
    candidates: &'a [Candidate<'a>],
    group: &'a str,
    /// The part of each candidate.
    part: Vec<usize>,
    /// Tasks of the group in each part. All ACTIVE instances count, full ones too: they hold up their zone's share.
    tasks: Vec<u32>,
}

impl<'a> Spread<'a> {
    fn new(wish: &'a Wish, candidates: &'a [Candidate<'a>]) -> Self {
        Self { candidates, group: &wish.group, part: vec![0; candidates.len()], tasks: Vec::new() }
    }

    fn divide(&mut self, field: &SpreadField) {
        let mut parts: BTreeMap<(usize, Option<&str>), usize> = BTreeMap::new();
        self.tasks.clear();
        for (part, candidate) in self.part.iter_mut().zip(self.candidates) {
            // Instances without the attribute are a part of their own.
            let next = parts.len();
            *part = *parts.entry((*part, value(candidate, field))).or_insert(next);
            if *part == self.tasks.len() {
                self.tasks.push(0);
            }
            if candidate.active {
                self.tasks[*part] += candidate.tasks_of(self.group);
            }
        }
    }

    fn tasks(&self, candidate: usize) -> u32 {
        self.tasks[self.part[candidate]]
    }
}

/// What a spread tells instances apart by.
pub(super) fn value<'a>(candidate: &Candidate<'a>, field: &SpreadField) -> Option<&'a str> {
    match field {
        SpreadField::InstanceId => Some(candidate.id),
        SpreadField::Attribute(name) if name == AVAILABILITY_ZONE => Some(candidate.availability_zone),
        SpreadField::Attribute(name) => candidate.attributes.get(name).map(String::as_str),
    }
}
