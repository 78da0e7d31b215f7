//! Syntax of host names and addresses; they are resolved while the gateway runs.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is wrong with a host, and what to do; `None` when it may be one.
pub fn fault(host: &str) -> Option<(String, &'static str)> {
    let wrong = |message: &str, help: &'static str| Some((message.to_owned(), help));
    let allowed = "allowed: a host name or an IP address";
    if host.is_empty() {
        return wrong("is empty", allowed);
    }
    if host.contains("://") {
        return wrong("is a URL", "write the host name or IP address alone");
    }
    if host.starts_with('[') {
        return wrong("is in brackets", "write the IPv6 address without brackets");
    }
    let (address, zone) = host.split_once('%').unwrap_or((host, "zone"));
    if address.parse::<Ipv6Addr>().is_ok() && is_label(zone) {
        return None;
    }
    if host.contains(':') {
        return wrong("contains a colon", "use the key \"port\" for the port");
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return if name.parse::<Ipv4Addr>().is_ok() {
            None
        } else {
            wrong("is not an IP address", "allowed: four numbers from 0 to 255, such as 192.168.10.21")
        };
    }
    if name.len() > 253 {
        return wrong("is longer than 253 characters", allowed);
    }
    if !name.split('.').all(is_label) {
        return wrong("is not a host name", allowed);
    }
    None
}

/// One level of a host name (RFC 1123, section 2.1), with the underscores that plants use.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn hosts_are_told_from_what_only_looks_like_them() {
        for host in ["plc1", "plc_1.line-4.example.", "192.168.10.21", "fe80::1", "fe80::1%eth0", "::1", "localhost"] {
            assert_eq!(fault(host), None, "{host}");
        }
        for host in
            ["", "192.168.10.256", "192.168.10", "10.0.0.1:502", "tcp://plc1", "[::1]", "a b", "-a", "a..b", "é"]
        {
            assert!(fault(host).is_some(), "{host:?}");
        }
        assert_eq!(fault("10.0.0.1:502").unwrap().0, "contains a colon");
    }
}
