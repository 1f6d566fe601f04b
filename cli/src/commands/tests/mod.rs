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
    insta::assert_snapshot!(Cli::command().term_width(100).render_help(), @r"
    Amazon ECS tasks and services on one Linux machine, with the network that they would have in AWS

    Usage: ecsnet [OPTIONS] <COMMAND>

    Commands:
      up           Start a stack, or change it to what its file says now
      plan         Show what `up` would change, without doing it
      down         Stop a stack and remove all of it
      validate     Check a stack file and the task definitions that it names
      schema       Print the JSON Schema of a stack file
      ps           List tasks
      services     List services
      inspect      Show all there is to know about one thing
      logs         Show what a task's or a service's containers wrote
      events       Show what happened to a stack's services
      exec         Run a command in a container of a task
      run          Run a command of this machine inside a task's network
      forward      Reach a port of a task from this machine's loopback
      dig          Ask a stack's resolver
      explain      Say whether a connection gets through, and which rule decides
      flow-log     Show accepted and rejected flows, as VPC Flow Logs does
      stop         Stop a task; its service starts another in its place
      scale        Set how many tasks services should have
      instance     List container instances; drain, stop or start one
      completions  Print the completions for a shell
      doctor       Check what this machine has for ecsnet, and say what to do about what it lacks
      agent        Start the agent in a container of its own, as other commands do where none answers

    Options:
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
      -V, --version         Print version
    ");
}

#[test]
fn help_of_up() {
    insta::assert_snapshot!(help("up"), @r"
    Start a stack, or change it to what its file says now

    Usage: ecsnet up [OPTIONS] <FILE>

    Arguments:
      <FILE>  The stack file

    Options:
          --network-mode <MODE>  The network mode of every task: awsvpc, bridge, host or none
          --connect <HOW>        How services reach each other: discovery or none (load-balancer, app-mesh, service-connect: not yet)
          --wait                 Wait until every service is steady (the default)
          --no-wait              Return at once
          --timeout <TIME>       How long to wait: 30s, 5m, 1h [default: 5m]
          --socket <PATH>        The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>       Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help                 Print help
    ");
}

#[test]
fn help_of_plan() {
    insta::assert_snapshot!(help("plan"), @r"
    Show what `up` would change, without doing it

    Usage: ecsnet plan [OPTIONS] <FILE>

    Arguments:
      <FILE>  The stack file

    Options:
          --network-mode <MODE>  The network mode of every task: awsvpc, bridge, host or none
          --connect <HOW>        How services reach each other: discovery or none (load-balancer, app-mesh, service-connect: not yet)
          --socket <PATH>        The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>       Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help                 Print help
    ");
}

#[test]
fn help_of_down() {
    insta::assert_snapshot!(help("down"), @r"
    Stop a stack and remove all of it

    Usage: ecsnet down [OPTIONS] [STACK]

    Arguments:
      [STACK]  The stack; may be left out where there is one only

    Options:
          --all             All stacks
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_validate() {
    insta::assert_snapshot!(help("validate"), @r"
    Check a stack file and the task definitions that it names

    Usage: ecsnet validate [OPTIONS] <FILE>

    Arguments:
      <FILE>  The stack file

    Options:
          --network-mode <MODE>  The network mode of every task: awsvpc, bridge, host or none
          --connect <HOW>        How services reach each other: discovery or none (load-balancer, app-mesh, service-connect: not yet)
          --socket <PATH>        The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>       Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help                 Print help
    ");
}

#[test]
fn help_of_ps() {
    insta::assert_snapshot!(help("ps"), @r"
    List tasks

    Usage: ecsnet ps [OPTIONS] [STACK]

    Arguments:
      [STACK]  Of this stack only

    Options:
      -a, --all              Also tasks that are STOPPED
      -o, --output <OUTPUT>  How to print them: table, wide or json (DescribeTasks) [default: table]
      -w, --watch            Go on, and show them again after each change
          --socket <PATH>    The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>   Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help             Print help
    ");
}

#[test]
fn help_of_services() {
    insta::assert_snapshot!(help("services"), @r"
    List services

    Usage: ecsnet services [OPTIONS] [STACK]

    Arguments:
      [STACK]  Of this stack only

    Options:
      -o, --output <OUTPUT>  How to print them: table, wide or json (DescribeServices) [default: table]
          --socket <PATH>    The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>   Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help             Print help
    ");
}

#[test]
fn help_of_inspect() {
    insta::assert_snapshot!(help("inspect"), @r"
    Show all there is to know about one thing

    Usage: ecsnet inspect [OPTIONS] <KIND> <ID>

    Arguments:
      <KIND>  What kind of thing it is [possible values: task, service, instance, eni, subnet, security-group, stack]
      <ID>    Its id, the first characters of it, or its name

    Options:
      -o, --output <OUTPUT>  How to print it [default: text] [possible values: text, json]
          --socket <PATH>    The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>   Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help             Print help
    ");
}

#[test]
fn help_of_logs() {
    insta::assert_snapshot!(help("logs"), @r"
    Show what a task's or a service's containers wrote

    Usage: ecsnet logs [OPTIONS] <TARGET>

    Arguments:
      <TARGET>  A task, a service or STACK/SERVICE

    Options:
      -f, --follow          Go on with what they write
          --tail <N>        The last N lines of each container only
      -t, --timestamps      When each line was written
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_events() {
    insta::assert_snapshot!(help("events"), @r"
    Show what happened to a stack's services

    Usage: ecsnet events [OPTIONS] [STACK]

    Arguments:
      [STACK]  Of this stack only

    Options:
      -f, --follow          Go on with what happens
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_exec() {
    insta::assert_snapshot!(help("exec"), @r"
    Run a command in a container of a task

    Usage: ecsnet exec [OPTIONS] <TARGET> -- <CMD>...

    Arguments:
      <TARGET>  A task, a service (its first RUNNING task) or STACK/SERVICE
      <CMD>...  The command and its arguments

    Options:
      -c, --container <NAME>  The container; left out: the first essential one
      -t, --tty               With a terminal, even if standard input and output are not both one
      -i, --interactive       Bring standard input along; it always is, so this is for those used to Docker
          --socket <PATH>     The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>    Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help              Print help
    ");
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(help("run"), @r"
    Run a command of this machine inside a task's network

    Usage: ecsnet run [OPTIONS] --from <TARGET> -- <CMD>...

    Arguments:
      <CMD>...  The command and its arguments

    Options:
          --from <TARGET>     A task, a service (its first RUNNING task) or STACK/SERVICE
      -c, --container <NAME>  In the network of this container, where each has its own (bridge, none); left out: of the first that has one
          --socket <PATH>     The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>    Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help              Print help
    ");
}

#[test]
fn help_of_dig() {
    insta::assert_snapshot!(help("dig"), @r"
    Ask a stack's resolver

    Usage: ecsnet dig [OPTIONS] <NAME> [TYPE]

    Arguments:
      <NAME>  A name, or an address for a reverse look-up
      [TYPE]  A, AAAA, SRV, PTR, SOA, … [default: A, PTR for an address]

    Options:
          --from <TARGET>    Ask from inside this task, over its network
          --stack <STACK>    The stack; may be left out where there is one only
      -o, --output <OUTPUT>  How to print the answer [default: text] [possible values: text, json]
          --socket <PATH>    The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>   Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help             Print help
    ");
}

#[test]
fn help_of_explain() {
    insta::assert_snapshot!(help("explain"), @r"
    Say whether a connection gets through, and which rule decides

    Usage: ecsnet explain [OPTIONS] <FROM> <TO[:PORT]>

    Arguments:
      <FROM>       Who opens the connection: a task, a service (its first RUNNING task) or STACK/SERVICE
      <TO[:PORT]>  To whom: a task, a service (all its tasks), STACK/SERVICE, a DNS name or an address; without PORT all that the task definition maps; in bridge mode PORT is the container's or its instance's

    Options:
          --protocol <PROTOCOL>  Over what [default: as the port is mapped, else tcp] [possible values: tcp, udp, icmp]
      -o, --output <OUTPUT>      How to print the answer [default: text] [possible values: text, json]
          --socket <PATH>        The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>       Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help                 Print help

    Exit code: 0 it gets through, 1 it does not (or analysis and probe disagree), 2 the question is wrong
    ");
}

#[test]
fn help_of_flow_log() {
    insta::assert_snapshot!(help("flow-log"), @r"
    Show accepted and rejected flows, as VPC Flow Logs does

    Usage: ecsnet flow-log [OPTIONS] [TARGET]

    Arguments:
      [TARGET]  Of these interfaces only: a task, a service, STACK/SERVICE, a container instance or a stack; in bridge and host mode a task has its instance's

    Options:
      -f, --follow          Go on until Ctrl-C; without it, one window of some seconds is shown
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help

    A line is a record of version 2: version, account, interface, source, destination, their ports,
    protocol, packets, bytes, start, end, ACCEPT or REJECT, OK. A flow between two tasks is seen at both
    interfaces. Flows are logged only while this command runs.
    ");
}

#[test]
fn help_of_stop() {
    insta::assert_snapshot!(help("stop"), @r"
    Stop a task; its service starts another in its place

    Usage: ecsnet stop [OPTIONS] <TASK>

    Arguments:
      <TASK>  The task's id or its first characters

    Options:
          --reason <TEXT>   Shown as the task's stopped reason
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_scale() {
    insta::assert_snapshot!(help("scale"), @r"
    Set how many tasks services should have

    Usage: ecsnet scale [OPTIONS] <SERVICE=N>...

    Arguments:
      <SERVICE=N>...  A service or STACK/SERVICE, and how many; all are done or none

    Options:
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_instance() {
    insta::assert_snapshot!(help("instance"), @r"
    List container instances; drain, stop or start one

    Usage: ecsnet instance [OPTIONS] <COMMAND>

    Commands:
      list   List container instances
      drain  Place no task on it any more, and move those of services away
      stop   Switch it off, with all that is on it
      start  Switch it on, and place tasks on it again: undoes both

    Options:
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_completions() {
    insta::assert_snapshot!(help("completions"), @r"
    Print the completions for a shell

    Usage: ecsnet completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>  The shell [possible values: bash, elvish, fish, powershell, zsh]

    Options:
          --socket <PATH>   The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>  Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help            Print help
    ");
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(help("doctor"), @r"
    Check what this machine has for ecsnet, and say what to do about what it lacks

    Usage: ecsnet doctor [OPTIONS]

    Options:
      -o, --output <OUTPUT>  How to print it [default: text] [possible values: text, json]
          --socket <PATH>    The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>   Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help             Print help
    ");
}

#[test]
fn help_of_agent() {
    insta::assert_snapshot!(help("agent"), @r"
    Start the agent in a container of its own, as other commands do where none answers

    Usage: ecsnet agent [OPTIONS]

    Options:
          --foreground               Be the agent, as a process of this machine that logs to standard error: for development, as root
          --stop                     End the agent; what runs goes on without it
          --healthy-after <SECONDS>  Seconds of RUNNING after which a task without a health check counts as healthy, instead of 40 [env: ECSNET_HEALTHY_AFTER]
          --socket <PATH>            The agent's socket [env: ECSNET_SOCKET] [default: /run/ecsnet/agent.sock]
          --data-dir <DIR>           Where an agent that is started keeps its state [env: ECSNET_DATA_DIR] [default: /var/lib/ecsnet]
      -h, --help                     Print help
    ");
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
    insta::assert_snapshot!(said(unclear), @"which stack? / there are `shop`, `test`");
    insta::assert_snapshot!(said(choose_stack(&["shop", "test"], Some("shp")).unwrap_err()), @"there is no stack `shp` / did you mean `shop`?");
    insta::assert_snapshot!(said(choose_stack(&["shop", "test"], Some("prod")).unwrap_err()), @"there is no stack `prod` / there is `shop`, `test`");
    insta::assert_snapshot!(said(choose_stack(&[], Some("prod")).unwrap_err()), @"there is no stack `prod` /");
}
