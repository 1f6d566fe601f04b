//! Scale in: which tasks of a service go first (reference 3.5).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Candidate, strategy};
use crate::spec::placement::{BinpackField, SpreadField, Strategy};

/// A task of the service that may go; protected ones are not among them.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Task id.
    pub id: &'a str,
    /// What it is worth keeping whatever the spread says: 0 not up, 1 running, 2 healthy. The lowest go first.
    pub worth: u8,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// Its subnet's or its instance's.
    pub availability_zone: &'a str,
    /// Where it runs; `None` on Fargate.
    pub instance: Option<&'a Candidate<'a>>,
    /// CPU units that its instance gets back.
    pub cpu: u32,
    /// MiB that its instance gets back.
    pub memory: u32,
}

/// The `count` tasks that go, in order: indexes into `tasks`. After worth, each strategy wants the opposite of placing:
/// spread takes from the fullest value, binpack from the instance that has the most left when the task is gone, random
/// any. Then the instance with the most of the tasks, the oldest, the smallest id. Costs one look at each task for each
/// task that goes.
pub fn evict_order(
    tasks: &[Placed<'_>],
    strategies: &[Strategy],
    count: usize,
    chance: &mut impl FnMut(usize) -> usize,
) -> Vec<usize> {
    let of_services = Strategy::of_services();
    let strategies = if strategies.is_empty() { &of_services } else { strategies };
    let mut levels = Level::of(tasks, strategies);
    let mut left: Vec<usize> = (0..tasks.len()).collect();
    let mut gone = Vec::new();
    while gone.len() < count && !left.is_empty() {
        let mut choice = left.clone();
        keep_most(&mut choice, |at| std::cmp::Reverse(tasks[at].worth));
        for level in &levels {
            match level {
                Level::Random => {
                    let any = choice.get(chance(choice.len())).or(choice.last()).copied();
                    choice = any.into_iter().collect();
                }
                Level::Crowd { part, tasks } => keep_most(&mut choice, |at| tasks[part[at]]),
                Level::Remaining { part, remaining, gives } => {
                    keep_most(&mut choice, |at| remaining[part[at]].saturating_add(gives[at]));
                }
            }
        }
        let Some(next) = choice.into_iter().min_by_key(|&at| (tasks[at].created_at, tasks[at].id)) else { break };
        left.retain(|&at| at != next);
        gone.push(next);
        levels.iter_mut().for_each(|level| level.leave(next));
    }
    gone
}

fn keep_most<T: Ord>(choice: &mut Vec<usize>, value: impl Fn(usize) -> T) {
    let most = choice.iter().map(|&at| value(at)).max();
    choice.retain(|&at| Some(value(at)) == most);
}

/// One strategy, counted over the tasks that are left.
enum Level {
    Random,
    /// The part of each task, and the tasks in each part.
    Crowd {
        part: Vec<usize>,
        tasks: Vec<u32>,
    },
    /// The instance of each task, what is left on each instance, and what each task gives back.
    Remaining {
        part: Vec<usize>,
        remaining: Vec<u32>,
        gives: Vec<u32>,
    },
}

impl Level {
    fn of(tasks: &[Placed<'_>], strategies: &[Strategy]) -> Vec<Self> {
        let mut levels = Vec::new();
        let mut part = vec![0; tasks.len()];
        for strategy in strategies {
            levels.push(match strategy {
                Strategy::Random => Self::Random,
                Strategy::Spread(field) => {
                    part = parts(tasks, &part, |task| match task.instance {
                        Some(instance) => strategy::value(instance, field),
                        None => Some(task.availability_zone).filter(|_| *field == SpreadField::availability_zone()),
                    });
                    Self::crowd(&part)
                }
                Strategy::Binpack(field) => Self::remaining(tasks, *field),
            });
        }
        levels.push(Self::crowd(&instances(tasks)));
        levels
    }

    fn crowd(part: &[usize]) -> Self {
        let mut tasks = vec![0; part.iter().max().map_or(0, |last| last + 1)];
        part.iter().for_each(|&at| tasks[at] += 1);
        Self::Crowd { part: part.to_vec(), tasks }
    }

    fn remaining(tasks: &[Placed<'_>], field: BinpackField) -> Self {
        let part = instances(tasks);
        let mut remaining = vec![0; part.iter().max().map_or(0, |last| last + 1)];
        let mut gives = Vec::new();
        for (task, &at) in tasks.iter().zip(&part) {
            let (on, given) = match field {
                BinpackField::Cpu => (task.instance.map(|instance| instance.remaining_cpu), task.cpu),
                BinpackField::Memory => (task.instance.map(|instance| instance.remaining_memory), task.memory),
            };
            remaining[at] = on.unwrap_or(0);
            gives.push(given);
        }
        Self::Remaining { part, remaining, gives }
    }

    /// Counts a task no more.
    fn leave(&mut self, task: usize) {
        match self {
            Self::Random => {}
            Self::Crowd { part, tasks } => tasks[part[task]] -= 1,
            Self::Remaining { part, remaining, gives } => {
                let on = &mut remaining[part[task]];
                *on = on.saturating_add(gives[task]);
            }
        }
    }
}

fn instances(tasks: &[Placed<'_>]) -> Vec<usize> {
    parts(tasks, &vec![0; tasks.len()], |task| task.instance.map(|instance| instance.id))
}

/// Divides parts further by a value of the tasks.
fn parts<'a>(tasks: &[Placed<'a>], part: &[usize], value: impl Fn(&Placed<'a>) -> Option<&'a str>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let divided = tasks.iter().zip(part).map(|(task, &part)| {
        let next = known.len();
        *known.entry((part, value(task))).or_insert(next)
    });
    divided.collect()
}
