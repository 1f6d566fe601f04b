//! The words of the command line, held as they are.

use clap::{CommandFactory, Parser};

use super::*;

fn help(verb: &str) -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    command.find_subcommand_mut(verb).unwrap().render_help().to_string()
}

#[test]
fn the_arguments_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_the_commands() {
    insta::assert_snapshot!(Cli::command().term_width(100).render_help(), @"");
}

#[test]
fn help_of_up() {
    insta::assert_snapshot!(help("up"), @"");
}

#[test]
fn help_of_plan() {
    insta::assert_snapshot!(help("plan"), @"");
}

#[test]
fn help_of_down() {
    insta::assert_snapshot!(help("down"), @"");
}

#[test]
fn help_of_validate() {
    insta::assert_snapshot!(help("validate"), @"");
}

#[test]
fn help_of_ps() {
    insta::assert_snapshot!(help("ps"), @"");
}

#[test]
fn help_of_services() {
    insta::assert_snapshot!(help("services"), @"");
}

#[test]
fn help_of_inspect() {
    insta::assert_snapshot!(help("inspect"), @"");
}

#[test]
fn help_of_logs() {
    insta::assert_snapshot!(help("logs"), @"");
}

#[test]
fn help_of_events() {
    insta::assert_snapshot!(help("events"), @"");
}

#[test]
fn help_of_exec() {
    insta::assert_snapshot!(help("exec"), @"");
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(help("run"), @"");
}

#[test]
fn help_of_dig() {
    insta::assert_snapshot!(help("dig"), @"");
}

#[test]
fn help_of_stop() {
    insta::assert_snapshot!(help("stop"), @"");
}

#[test]
fn help_of_scale() {
    insta::assert_snapshot!(help("scale"), @"");
}

#[test]
fn help_of_completions() {
    insta::assert_snapshot!(help("completions"), @"");
}

#[test]
fn help_of_agent() {
    insta::assert_snapshot!(help("agent"), @"");
}

fn parse(line: &str) -> Result<Cli, String> {
    Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
}

#[test]
fn global_flags_may_stand_behind_the_verb() {
    let cli = parse("ecsnet ps --socket /tmp/a.sock --data-dir /tmp/d").unwrap();
    assert_eq!(cli.global.socket, PathBuf::from("/tmp/a.sock"));
    assert_eq!(cli.global.data_dir, PathBuf::from("/tmp/d"));
}

#[test]
fn a_command_for_a_task_keeps_its_own_flags() {
    for line in ["ecsnet exec web -- ls -l --all", "ecsnet run --from web -- curl -s --socket x"] {
        parse(line).unwrap();
    }
    assert!(parse("ecsnet exec web").is_err());
    assert!(parse("ecsnet run -- ls").is_err());
}

#[test]
fn a_wrong_word_is_refused() {
    for line in ["ecsnet", "ecsnet upp x", "ecsnet down a --all", "ecsnet up f --network-mode x", "ecsnet scale web"] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_only_stack_is_meant() {
    assert_eq!(choose_stack(&["shop"], None).unwrap(), "shop");
    assert_eq!(choose_stack(&["shop", "test"], Some("test")).unwrap(), "test");
}

#[test]
fn stacks_are_listed_where_it_is_unclear_which() {
    let said = |failure: Failure| format!("{failure} / {}", failure.hint().unwrap_or_default());
    let unclear = choose_stack(&["shop", "test"], None).unwrap_err();
    assert_eq!(unclear.exit_code(), 2);
    insta::assert_snapshot!(said(unclear), @"");
    insta::assert_snapshot!(said(choose_stack(&["shop", "test"], Some("shp")).unwrap_err()), @"");
    insta::assert_snapshot!(said(choose_stack(&["shop", "test"], Some("prod")).unwrap_err()), @"");
    insta::assert_snapshot!(said(choose_stack(&[], Some("prod")).unwrap_err()), @"");
}
