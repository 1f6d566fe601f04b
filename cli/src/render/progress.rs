//! A stack on its way: what `up` and `down` show on standard error until it is where it should be.
//!
//! On a terminal the lines of now stand there and move; elsewhere each change is one line, so a log can be read later.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

use agent::control::api::{Progress, TaskView};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::table::reason;
use super::{say, short};

/// Stop codes of tasks that ended by themselves.
const FAILURES: [&str; 2] = ["EssentialContainerExited", "TaskFailedToStart"];
/// How many of them are shown of a service in a log.
const FAILURES_SHOWN: usize = 2;

/// Shows a stack's progress.
pub(crate) struct Display {
    /// On a terminal, the lines that stand there now.
    live: Option<(MultiProgress, Vec<ProgressBar>)>,
    last: Vec<String>,
    /// Elsewhere than on a terminal: how many tasks of a service were seen to fail.
    failed: BTreeMap<String, BTreeSet<String>>,
}

impl Display {
    /// Nothing shown yet.
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(|| (MultiProgress::new(), Vec::new()));
        Self { live, last: Vec::new(), failed: BTreeMap::new() }
    }

    /// Shows where the stack stands now.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let lines = match self.live {
            Some(_) => lines(progress),
            None => lines(&self.without_repetition(progress)),
        };
        match &mut self.live {
            None => news(&self.last, &lines).for_each(say),
            Some((screen, bars)) => {
                while bars.len() > lines.len()
                    && let Some(bar) = bars.pop()
                {
                    bar.finish_and_clear();
                    screen.remove(&bar);
                }
                while bars.len() < lines.len() {
                    let bar = ProgressBar::new_spinner();
                    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                        bar.set_style(style);
                    }
                    let bar = screen.add(bar);
                    bar.enable_steady_tick(Duration::from_millis(100));
                    bars.push(bar);
                }
                for (bar, line) in bars.iter().zip(&lines) {
                    if bar.message() != *line {
                        bar.set_message(line.clone());
                    }
                }
            }
        }
        self.last = lines;
    }

    /// Of a service whose tasks fail again and again, the first ones; a log of all of them would hide the rest.
    fn without_repetition(&mut self, progress: &Progress) -> Progress {
        for task in &progress.tasks {
            let by_itself = task.stop_code.as_deref().is_some_and(|code| FAILURES.contains(&code));
            if by_itself {
                self.failed.entry(task.ecsnet.service.clone()).or_default().insert(task.ecsnet.task_id.clone());
            }
        }
        let mut shown = progress.clone();
        let again = |service: &str| self.failed.get(service).is_some_and(|tasks| tasks.len() > FAILURES_SHOWN);
        shown.tasks.retain(|task| task.health_status == "HEALTHY" || !again(&task.ecsnet.service));
        shown
            .waiting
            .retain(|line| !self.failed.keys().any(|s| again(s) && line.starts_with(&format!("service {s}:"))));
        for service in self.failed.keys().filter(|service| again(service)) {
            shown.waiting.push(format!(
                "service {service}: its tasks fail again and again: `ecsnet ps --all --output wide` says why, \
                 `ecsnet logs {service}` what they wrote"
            ));
        }
        shown
    }

    /// Takes the moving lines away.
    pub(crate) fn clear(&mut self) {
        if let Some((screen, bars)) = &mut self.live {
            for bar in bars.drain(..) {
                bar.finish_and_clear();
            }
            // What cannot be cleared stays on the screen, which harms nobody.
            let _ = screen.clear();
        }
    }
}

/// What is going on, one line each: pulls, tasks, and what stands in the way; not where a task stands for a second time.
fn lines(progress: &Progress) -> Vec<String> {
    let pulls = progress.pulls.iter().map(|(image, state)| format!("pull {image}: {state}"));
    let tasks = progress.tasks.iter().map(task_line);
    let told: Vec<String> = progress.tasks.iter().map(|task| format!("{} is ", who(task))).collect();
    let waiting = progress.waiting.iter().filter(|line| !told.iter().any(|task| line.starts_with(task)));
    let waiting = waiting.map(|line| format!("waiting: {line}"));
    pulls.chain(tasks).chain(waiting).collect()
}

fn who(task: &TaskView) -> String {
    format!("service {}: task {}", task.ecsnet.service, short(&task.ecsnet.task_id))
}

fn task_line(task: &TaskView) -> String {
    let extra = &task.ecsnet;
    let mut line = format!("{} {}", who(task), task.last_status);
    if task.last_status == "RUNNING" && task.health_status != "UNKNOWN" {
        line.push(' ');
        line.push_str(&task.health_status);
    }
    if let Some(address) = extra.address {
        line.push_str(&format!(" at {address}"));
    }
    if !reason(task).is_empty() {
        line.push_str(&format!(" ({})", reason(task)));
    }
    line
}

/// The lines that were not there before.
fn news<'a>(before: &'a [String], now: &'a [String]) -> impl Iterator<Item = &'a String> {
    now.iter().filter(|line| !before.contains(line))
}

/// Why a stack is not steady, for the error that ends a wait.
pub(crate) fn obstacles(progress: &Progress) -> String {
    let failed = progress.failed.iter().map(String::as_str);
    let waiting = progress.waiting.iter().map(String::as_str);
    failed.chain(waiting).fold(String::new(), |text, line| text + "\n  " + line)
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::task;
    use super::*;

    fn progress() -> Progress {
        let mut stopped = task('b', "orders", "STOPPED");
        stopped.stopped_reason = Some("Essential container in task exited".to_owned());
        Progress {
            steady: false,
            deleting: false,
            failed: None,
            waiting: vec![
                "service orders: 1 of 2 tasks run, since 12 s".to_owned(),
                "service web: task aaaaaaaa is RUNNING and waits for its health check".to_owned(),
            ],
            tasks: vec![task('a', "web", "RUNNING"), stopped],
            services: vec![],
            pulls: vec![("nginx:1".to_owned(), "12 of 40 MB".to_owned())],
        }
    }

    #[test]
    fn a_line_says_one_thing() {
        insta::assert_snapshot!(lines(&progress()).join("\n"), @r"
        pull nginx:1: 12 of 40 MB
        service web: task aaaaaaaa RUNNING at 10.0.0.4
        service orders: task bbbbbbbb STOPPED (Essential container in task exited)
        waiting: service orders: 1 of 2 tasks run, since 12 s
        ");
    }

    #[test]
    fn only_changes_are_news() {
        let before = lines(&progress());
        let mut changed = progress();
        changed.tasks[0].health_status = "HEALTHY".to_owned();
        let now = lines(&changed);
        assert_eq!(news(&before, &now).collect::<Vec<_>>(), ["service web: task aaaaaaaa RUNNING HEALTHY at 10.0.0.4"]);
    }

    #[test]
    fn tasks_that_fail_again_and_again_are_told_once() {
        let mut display = Display { live: None, last: Vec::new(), failed: BTreeMap::new() };
        let mut progress = progress();
        progress.tasks = vec![task('a', "web", "RUNNING")];
        for id in ['b', 'c', 'd'] {
            let mut failed = task(id, "orders", "STOPPED");
            failed.stop_code = Some("EssentialContainerExited".to_owned());
            progress.tasks.push(failed);
        }
        insta::assert_snapshot!(lines(&display.without_repetition(&progress)).join("\n"), @r"
        pull nginx:1: 12 of 40 MB
        service web: task aaaaaaaa RUNNING at 10.0.0.4
        waiting: service orders: its tasks fail again and again: `ecsnet ps --all --output wide` says why, `ecsnet logs orders` what they wrote
        ");
        progress.tasks.remove(1);
        assert_eq!(display.without_repetition(&progress).tasks.len(), 1, "those that were seen are remembered");
    }

    #[test]
    fn obstacles_are_one_a_line() {
        insta::assert_snapshot!(obstacles(&progress()), @r"
          service orders: 1 of 2 tasks run, since 12 s
          service web: task aaaaaaaa is RUNNING and waits for its health check
        ");
    }
}
