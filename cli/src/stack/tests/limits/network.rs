//! Bounds and refusals of security groups, their rules, the VPC and its subnets.

use super::*;

/// A stack with one group that has these ingress rules.
fn of_rules(rules: &str) -> Vec<String> {
    said(&format!("name: shop\nsecurityGroups: {{ db: {{ ingress: [ {rules} ] }} }}\nservices: {{}}\n"))
}

const RULE: &str = "/securityGroups/db/ingress/0";

#[test]
fn a_rule_has_one_protocol_and_one_kind_of_peer() {
    for good in
        ["protocol: 50", "protocol: all", "protocol: \"-1\"", "protocol: tcp", "protocol: icmp, type: -1, code: -1"]
    {
        assert!(of_rules(&format!("{{ {good}, from: 10.0.0.0/8 }}")).is_empty(), "{good}");
    }
    assert_eq!(
        of_rules("{ protocol: foo, port: 1, from: self }"),
        [format!("{RULE}/protocol: Invalid value 'foo' for IP protocol. Unknown protocol.")]
    );
    assert_eq!(
        of_rules("{ protocol: 256, from: self }"),
        [format!("{RULE}/protocol: Invalid value '256' for IP protocol.")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: -1, code: 3, from: self }"),
        [format!("{RULE}/code: a `code` without a `type` means nothing")]
    );
    assert_eq!(of_rules("{ protocol: icmpv6, from: self }"), [format!("{RULE}/protocol: IPv6 is not emulated yet")]);
    assert_eq!(of_rules("{ port: 1 }").len(), 1, "no peer");
    assert_eq!(of_rules("{ port: 1, from: \"fd00::/8\" }"), [format!("{RULE}/from: IPv6 is not emulated yet")]);
}

#[test]
fn a_rules_numbers_are_in_range() {
    assert_eq!(
        of_rules("{ port: 65536, from: self }"),
        [format!("{RULE}/port: TCP/UDP (from) port (65536) out of range")]
    );
    assert_eq!(
        of_rules("{ ports: 80-65536, from: self }"),
        [format!("{RULE}/ports: TCP/UDP (to) port (65536) out of range")]
    );
    assert_eq!(
        of_rules("{ ports: 65535-65534, from: self }"),
        [format!("{RULE}/ports: Invalid TCP/UDP port range(65535:65534)")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: 256, from: self }"),
        [format!("{RULE}/type: ICMP type (256) out of range")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: 3, code: 256, from: self }"),
        [format!("{RULE}/code: ICMP code (256) out of range")]
    );
    for block in ["10.0.0.0/33", "10.0.0/8", "300.0.0.0/8"] {
        assert_eq!(
            of_rules(&format!("{{ port: 1, from: {block} }}")),
            [format!("{RULE}/from: CIDR block {block} is malformed")]
        );
    }
}

#[test]
fn a_group_has_sixty_rules_each_way() {
    let rules = |count: usize| (0..count).map(|n| format!("10.{n}.0.0/16")).collect::<Vec<_>>().join(", ");
    let both = |inbound: usize, outbound: usize| {
        said(&format!(
            "name: shop\nsecurityGroups: {{ db: {{ ingress: [ {{ port: 1, from: [ {} ] }} ], egress: [ {{ port: 1, to: [ {} ] }} ] }} }}\nservices: {{}}\n",
            rules(inbound),
            rules(outbound)
        ))
    };
    assert!(both(60, 60).is_empty());
    let message = "The maximum number of rules per security group has been reached.";
    assert_eq!(both(61, 60), [format!("/securityGroups/db/ingress: {message}")]);
    assert_eq!(both(60, 61), [format!("/securityGroups/db/egress: {message}")]);
    let rules = format!("{{ port: 1, from: [ {} ] }}", rules(61));
    let stack = format!("name: shop\nsecurityGroups: {{ db: {{ ingress: [ {rules} ] }} }}\nservices: {{}}\n");
    let loaded = Folder::with(&[("stack.yaml", &stack)]).load(&Overrides::default());
    assert_eq!(loaded.problems[0].code, "RulesPerSecurityGroupLimitExceeded");
}

#[test]
fn a_rule_for_a_block_stands_once() {
    let twice = |rule: &str| of_rules(&format!("{rule}, {rule}"));
    let said =
        |rule: &str| format!("/securityGroups/db/ingress: the specified rule \"peer: {rule}, ALLOW\" already exists");
    assert_eq!(twice("{ port: 80, from: 10.0.0.0/8 }"), [said("10.0.0.0/8, TCP, from port: 80, to port: 80")]);
    assert_eq!(twice("{ protocol: all, from: 10.0.0.0/8 }"), [said("10.0.0.0/8, ALL")]);
    assert!(of_rules("{ port: 80, from: 10.0.0.0/8 }, { port: 81, from: 10.0.0.0/8 }").is_empty());
    assert!(of_rules("{ port: 80, from: [self, db] }").is_empty(), "two names of one group");
}

#[test]
fn the_group_of_a_service_that_too_many_connect_to_is_told_at_the_service() {
    let callers: String =
        (0..61).map(|n| format!("  c{n}: {{ taskDefinition: web.json, connectsTo: [db] }}\n")).collect();
    let stack = format!("name: shop\nservices:\n  db: {{ taskDefinition: web.json }}\n{callers}");
    assert_eq!(
        said(&stack),
        ["/services/db/ingress: The maximum number of rules per security group has been reached."]
    );
}

#[test]
fn a_group_has_a_name_that_no_id_has() {
    let named = |name: &str| said(&format!("name: shop\nsecurityGroups: {{ {name}: {{}} }}\nservices: {{}}\n"));
    assert_eq!(named("sg-web"), ["/securityGroups/sg-web: Group names may not be in the format sg-*"]);
    assert!(named(&"g".repeat(255)).is_empty());
    let too_long = "g".repeat(256);
    assert_eq!(
        named(&too_long),
        [format!("/securityGroups/{too_long}: Value ({too_long}) for parameter GroupName is invalid.")]
    );
    assert!(named("default").is_empty(), "the VPC's own group, whose rules may be changed");
    let twice = "name: shop\nsecurityGroups: { db: {}, db: {} }\nservices: {}\n";
    assert_eq!(said(twice), [": the key `db` is there twice"]);
}

#[test]
fn a_vpc_is_a_block_of_16_to_28_outside_what_is_reserved() {
    let vpc = |cidr: &str| said(&format!("name: shop\nvpc: {{ cidr: {cidr} }}\nservices: {{}}\n"));
    for good in ["10.0.0.0/16", "10.0.0.0/28", "100.64.0.0/16", "240.0.0.0/16", "192.168.0.0/20"] {
        assert!(vpc(good).is_empty(), "{good}");
    }
    for bad in
        ["10.0.0.0/15", "10.0.0.0/29", "0.1.0.0/16", "127.0.0.0/16", "169.254.0.0/16", "224.0.0.0/16", "239.1.0.0/16"]
    {
        assert_eq!(vpc(bad), [format!("/vpc/cidr: The CIDR '{bad}' is invalid.")], "{bad}");
    }
    let code = Folder::with(&[("stack.yaml", "name: shop\nvpc: { cidr: 10.0.0.0/29 }\nservices: {}\n")]);
    assert_eq!(code.load(&Overrides::default()).problems[0].code, "InvalidVpc.Range");
}

#[test]
fn a_subnet_is_a_block_inside_its_vpc_that_overlaps_no_other() {
    let codes = |cidrs: &[&str]| {
        let subnets: Vec<String> =
            cidrs.iter().enumerate().map(|(n, cidr)| format!("{{ name: s{n}, zone: a, cidr: {cidr} }}")).collect();
        let stack = format!("name: shop\nvpc: {{ subnets: [ {} ] }}\nservices: {{}}\n", subnets.join(", "));
        let loaded = Folder::with(&[("stack.yaml", &stack)]).load(&Overrides::default());
        loaded.problems.into_iter().map(|p| (p.code, p.message)).collect::<Vec<_>>()
    };
    let invalid = |cidr: &str| ("InvalidSubnet.Range".to_owned(), format!("The CIDR '{cidr}' is invalid."));
    assert!(codes(&["10.0.0.0/28", "10.0.0.16/28", "10.0.128.0/17"]).is_empty());
    assert_eq!(codes(&["10.0.0.0/29"]), [invalid("10.0.0.0/29")]);
    assert_eq!(codes(&["10.0.0.0/15"]), [invalid("10.0.0.0/15")]);
    assert_eq!(codes(&["10.1.0.0/24"]), [invalid("10.1.0.0/24")]);
    let conflict = "The CIDR '10.0.0.128/25' conflicts with another subnet".to_owned();
    assert_eq!(codes(&["10.0.0.0/24", "10.0.0.128/25"]), [("InvalidSubnet.Conflict".to_owned(), conflict)]);
}
