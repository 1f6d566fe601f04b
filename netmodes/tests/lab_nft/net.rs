//! A VPC of throw-away namespaces: routed veths, no router code of ours, so the filter is tested alone.
