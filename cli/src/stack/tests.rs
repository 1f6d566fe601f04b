//! What a user sees for each kind of bad stack file, and that good ones load.

use std::path::Path;

use super::*;

#[test]
fn the_shop_loads_without_a_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop/stack.yaml");
    let loaded = load(&path, &Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    let stack = loaded.stack.unwrap();
    assert_eq!(stack.services.len(), 3);
    assert_eq!(stack.dns_namespace, "shop.local");
    assert!(!stack.vpc.internet);
    insta::assert_debug_snapshot!(stack.security_groups, @"");
}
