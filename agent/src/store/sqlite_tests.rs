//! Tests of the store over real files.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::plan::tests::definitions::{container, service, stack};
use crate::plan::tests::simulation::{World, stack_name};

fn world() -> World {
    let mut world = World::up(&stack(vec![service("web", 2, vec![container("app", "web:1")])]));
    world.settle(Duration::ZERO);
    world
}

fn written(directory: &Path) -> (Store, World) {
    let mut world = world();
    let mut store = Store::open(directory).unwrap();
    let dirty = world.state.take_dirty();
    store.commit(&world.state, &dirty).unwrap();
    (store, world)
}

#[test]
fn what_is_written_reads_back_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, world) = written(directory.path());
    assert_eq!(store.owner("first").unwrap(), "first");
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.load().unwrap().stacks(), world.state.stacks());
    assert_eq!(store.owner("second").unwrap(), "first");
    assert!(!store.is_empty().unwrap());
}

#[test]
fn a_store_of_the_first_format_is_read_as_if_it_were_of_today() {
    let directory = tempfile::tempdir().unwrap();
    let (store, world) = written(directory.path());
    let back = "UPDATE task SET value = json_remove(json_set(value,
            '$.eni', json_extract(value, '$.network.eni'), '$.subnet', json_extract(value, '$.network.subnet'),
            '$.attachment', json_extract(value, '$.network.attachment'), '$.groups', json_extract(value, '$.network.groups')),
            '$.network');
        PRAGMA user_version = 1;";
    store.connection.execute_batch(back).unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.load().unwrap().stacks(), world.state.stacks());
    drop(store);
    // Once is enough.
    assert_eq!(Store::open(directory.path()).unwrap().load().unwrap().stacks(), world.state.stacks());
}

#[test]
fn what_is_gone_from_the_state_goes_from_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, mut world) = written(directory.path());
    let task = world.live_ids("web")[0].clone();
    world.state.remove_task(&stack_name(), &task);
    let dirty = world.state.take_dirty();
    assert_eq!(dirty.len(), 1);
    store.commit(&world.state, &dirty).unwrap();
    assert_eq!(store.load().unwrap().stacks(), world.state.stacks());
    world.state.remove_stack(&stack_name());
    let dirty = world.state.take_dirty();
    store.commit(&world.state, &dirty).unwrap();
    assert!(store.is_empty().unwrap() && store.load().unwrap().stacks().is_empty());
    let left: i64 = store
        .connection
        .query_row("SELECT (SELECT count(*) FROM task) + (SELECT count(*) FROM service)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_second_agent_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Locked { .. })));
    drop(store);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_store_of_a_newer_ecsnet_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = written(directory.path());
    store.connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    drop(store);
    match Store::open(directory.path()) {
        Err(StoreError::Newer { format, .. }) => assert_eq!(format, FORMAT + 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_store_is_an_error_and_not_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    drop(written(directory.path()));
    std::fs::write(directory.path().join("state.db"), vec![0x5a; 8192]).unwrap();
    let opened = Store::open(directory.path()).and_then(|store| store.load());
    assert!(matches!(opened, Err(StoreError::Sqlite { .. })), "{opened:?}");
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = written(directory.path());
    store.connection.execute("UPDATE service SET value = '{}'", []).unwrap();
    match store.load() {
        Err(StoreError::Row { row, .. }) => assert_eq!(row, "web"),
        other => panic!("{other:?}"),
    }
}
