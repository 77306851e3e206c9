use proptest::prelude::*;

use super::*;

/// Client names, and the application each must have under the default rules.
const NAMES: &[(&str, &str)] = &[
    // Names without instance parts.
    ("orders", "orders"),
    ("orders-api", "orders-api"),
    ("nats.js", "nats.js"),
    ("com.example.orders.Consumer", "com.example.orders.Consumer"),
    ("order service (eu)", "order service (eu)"),
    ("[orders]", "[orders]"),
    ("_internal-", "_internal-"),
    ("---", "---"),
    ("Bestellübersicht", "Bestellübersicht"),
    ("注文サービス", "注文サービス"),
    ("🚀-orders", "🚀-orders"),
    // Words that only look like instance parts.
    ("s3", "s3"),
    ("http2", "http2"),
    ("ec2-watcher", "ec2-watcher"),
    ("oauth2", "oauth2"),
    ("worker12", "worker12"),
    ("orders-fresh", "orders-fresh"),
    ("gateway-http2", "gateway-http2"),
    ("render-html5", "render-html5"),
    ("edge-https", "edge-https"),
    ("sync-pgsql", "sync-pgsql"),
    ("ingress-nginx", "ingress-nginx"),
    ("orders-v2", "orders-v2"),
    ("facade", "facade"),
    ("decade-report", "decade-report"),
    ("deadbeef", "deadbeef"),
    ("cafe24", "cafe24"),
    ("arm64-builder", "arm64-builder"),
    ("PaymentGatewayWorker01", "PaymentGatewayWorker01"),
    ("CustomerOrderServiceV12", "CustomerOrderServiceV12"),
    ("stupid-idea", "stupid-idea"),
    ("rapid-7b", "rapid-7b"),
    // Kubernetes.
    ("orders-api-7d4b9c8f6d-x2x4q", "orders-api"),
    ("orders-api-66b6c48dd5-bxzqk", "orders-api"),
    ("orders-api-6c9f7d-7szg8", "orders-api"),
    ("prod/orders-api-7d4b9c8f6d-x2x4q", "prod/orders-api"),
    ("orders-api-7d4b9c8f6d-x2x4q-consumer-3", "orders-api-consumer"),
    ("orders-api-7d4b9c8f6d-x2x4q:4711", "orders-api"),
    ("metrics-xftqtkmph-bzqgw", "metrics"),
    ("fluentd-x7k2p", "fluentd"),
    ("node-exporter-4wlk9", "node-exporter"),
    ("fluentd-bxzqk", "fluentd-bxzqk"),
    ("nightly-report-28391040-x7k2p", "nightly-report"),
    ("nightly-report-28391040-bxzqk", "nightly-report"),
    ("orders-db-0", "orders-db"),
    ("orders-db-primary-12", "orders-db-primary"),
    ("my-release-nats-box-5d4f8c7b9-zt6jw", "my-release-nats-box"),
    // UUIDs.
    ("orders-550e8400-e29b-41d4-a716-446655440000", "orders"),
    ("550E8400-E29B-41D4-A716-446655440000/orders", "orders"),
    ("orders:550e8400-e29b-41d4-a716-446655440000:reader", "orders:reader"),
    ("deadbeef-cafe-beef-dead-deadbeefcafe", "<uuid>"),
    ("550e8400-e29b-41d4-a716-446655440000-7", "<uuid>"),
    // NUIDs and ULIDs.
    ("orders.VkmFTZdfrr3qGnwv2LDkPT", "orders"),
    ("VkmFTZdfrr3qGnwv2LDkPT", "<nuid>"),
    ("job_01ARZ3NDEKTSV4RRFFQ69G5FAV", "job"),
    ("job_01arz3ndektsv4rrffq69g5fav", "job"),
    // Hex digits.
    ("mqttjs_1a2b3c4d", "mqttjs"),
    ("mqtt-explorer-3f9d21", "mqtt-explorer"),
    ("orders@9f86d081884c7d65", "orders"),
    ("orders@9F86D081884C7D65", "orders"),
    ("a3f5d9c27b1e", "<hex>"),
    ("deadbeefdeadbeef", "<hex>"),
    ("client-0x7ffe12ab", "client"),
    ("auto-B8C1-sensor", "auto-B8C1-sensor"),
    // Addresses.
    ("telegraf-10.1.2.3", "telegraf"),
    ("telegraf@10.1.2.3:49152", "telegraf"),
    ("10.1.2.3:49152", "<ip>"),
    ("collector[2001:db8::1]:4222", "collector"),
    ("[::1]:4222 collector", "collector"),
    ("agent-ip-10-0-3-17", "agent"),
    ("ip-10-0-3-17", "<ip>"),
    ("ip-10-0-3-17.compute.internal", "compute.internal"),
    // Versions.
    ("NATS CLI Version 0.1.5", "NATS CLI"),
    ("orders v1.2.3", "orders"),
    ("orders-1.2.3-SNAPSHOT", "orders"),
    ("orders-1.2.3-rc.1", "orders"),
    ("orders-v1.2.3-14-g2414721", "orders"),
    ("orders-1.2.3+build7", "orders"),
    ("nats.go (v1.31.0, linux)", "nats.go, linux"),
    ("orders/1.2.3.4.5", "orders"),
    ("orders 1.2 dev", "orders dev"),
    ("1.2.3", "<version>"),
    // Numbers.
    ("orders-api@host-3[4711]", "orders-api@host"),
    ("4711@host-3", "host"),
    ("orders (pid 4711)", "orders"),
    ("orders-pid-4711", "orders"),
    ("orders pid:4711", "orders"),
    ("orders pid4711", "orders"),
    ("orders_PID12", "orders"),
    ("orders#12", "orders"),
    ("orders[1].reader", "orders.reader"),
    ("orders[1]reader", "orders-reader"),
    ("orders (1) reader", "orders reader"),
    ("(orders) 12", "(orders)"),
    ("[12] orders", "orders"),
    ("[orders 12]", "[orders]"),
    ("worker12345", "worker"),
    ("paho123456789", "paho"),
    ("sensor_1700000000123", "sensor"),
    ("web01.fra.example.com", "web01.fra.example.com"),
    ("注文-12", "注文"),
    ("12", "<number>"),
    ("12-34:56", "<number>"),
    ("#12", "<number>"),
    // No name.
    ("", "<unnamed>"),
    ("  ", "<unnamed>"),
];

#[test]
fn realistic_names_become_their_application() {
    let rules = ApplicationRules::default();
    let wrong: Vec<String> = NAMES
        .iter()
        .map(|(name, application)| (name, application, rules.application(name)))
        .filter(|(_, application, found)| *application != found)
        .map(|(name, application, found)| format!("{name}: {found}, not {application}"))
        .collect();

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_kind_can_be_switched_off() {
    for part in InstancePart::ALL {
        let without = InstancePart::ALL.into_iter().filter(|other| *other != part);
        let only = ApplicationRules::new([part], []);
        let others = ApplicationRules::new(without, []);
        let all = ApplicationRules::default();
        // Most addresses are numbers too; this one keeps its `ip` without its own kind.
        let example = if part == InstancePart::Ip { "a-ip-10-0-3-17" } else { part.example() };

        assert_ne!(only.application(example), example, "{part} alone strips its example");
        assert_ne!(others.application(example), all.application(example), "{part} is needed");
    }
    assert_eq!(ApplicationRules::new([], []).application("orders-12"), "orders-12");
}

#[test]
fn five_numbers_with_dots_are_no_address() {
    let rules = ApplicationRules::new([InstancePart::Ip], []);

    for name in ["orders-1000.10.1.2.3", "orders-10.1.2.3.4"] {
        assert_eq!(rules.application(name), name);
    }
    assert_eq!(rules.application("orders-10.1.2.3:4222"), "orders");
}

#[test]
fn names_without_instance_parts_are_not_copied() {
    let rules = ApplicationRules::default();

    assert!(matches!(rules.application("orders-api"), Cow::Borrowed("orders-api")));
    assert!(matches!(rules.application("12"), Cow::Borrowed("<number>")));
}

#[test]
fn most_names_are_seen_not_to_be_of_an_application() {
    let rules = ApplicationRules::default();
    for (name, application, can_be) in [
        ("orders-api-7d9f8b6c5-x2k4z", "orders-api", true),
        ("prod-orders12", "orders", true),
        ("billing-api-7d9f8b6c5-x2k4z", "orders-api", false),
        // only its name can tell
        ("orders-worker", "orders-api", true),
        ("7d9f8b6c5-x2k4z", "<uuid>", true),
        ("446655440000::pid]pidpid", "pidpidpid", true),
        ("billing", "--", true),
    ] {
        assert_eq!(rules.can_be(name, application), can_be, "{name} {application}");
    }
    let renamed = ApplicationRules::new([], [ApplicationRule::new("b.*", "orders").unwrap()]);
    assert!(renamed.can_be("billing", "orders"));
}

#[test]
fn the_first_rule_that_matches_the_whole_name_decides() {
    let rule = |pattern, application| ApplicationRule::new(pattern, application).unwrap();
    let rules = ApplicationRules::new(
        InstancePart::ALL,
        [
            rule("legacy-(orders|billing)-.*", "legacy-$1"),
            rule("(?P<team>[a-z]+)/.*", "${team}_all-12"),
            rule("legacy-.*", "never for orders"),
            rule("drop-(.*)", "$1"),
        ],
    );

    for (name, application) in [
        ("legacy-orders-77", "legacy-orders"),
        ("legacy-stock-77", "never for orders"),
        ("my-legacy-orders-77", "my-legacy-orders"),
        ("blue/worker-9", "blue_all-12"),
        ("drop-", "<unnamed>"),
        ("orders-77", "orders"),
    ] {
        assert_eq!(rules.application(name), application, "{name}");
    }
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let report: Vec<String> = [
        ("(", "x"),
        ("a)|(b", "x"),
        ("x{1000}{1000}{1000}", "x"),
        ("a", " "),
        ("a", "$1"),
        ("(a)", "$2"),
        ("(a)(b)", "$3"),
        ("(a)", "$1_x"),
        ("(a)", "${name}"),
    ]
    .into_iter()
    .map(|(pattern, application)| {
        let error = ApplicationRule::new(pattern, application).unwrap_err();
        format!("{pattern} → {application}: {error}")
    })
    .collect();

    insta::assert_snapshot!(report.join("\n"), @r"
( → x: invalid regular expression: unclosed group
a)|(b → x: invalid regular expression: unopened group
x{1000}{1000}{1000} → x: regular expression is too large
a →  : the application cannot be empty
a → $1: `${1}` is no group of the pattern, which has none: put parentheses around what you want to keep
(a) → $2: `${2}` is no group of the pattern, which has only `$1`
(a)(b) → $3: `${3}` is no group of the pattern, which has `$1` to `$2`
(a) → $1_x: `${1_x}` is no group of the pattern, write `${1}_x` for group 1 and then `_x`
(a) → ${name}: `${name}` is no group of the pattern, which has only `$1`
");

    for (pattern, application) in [("(a)", "$1-x"), ("a", "$$1"), ("a", "5 $"), ("(a)", "${1}_x")] {
        assert!(ApplicationRule::new(pattern, application).is_ok(), "{pattern} {application}");
    }
}

#[test]
fn the_rules_explain_themselves() {
    let rules = ApplicationRules::new(
        InstancePart::ALL,
        [ApplicationRule::new("legacy-(orders|billing)-.*", "legacy-$1").unwrap()],
    );

    insta::assert_snapshot!(rules.describe().join("\n"), @r"
rule: names matching `legacy-(orders|billing)-.*` become `legacy-$1`
uuid: UUIDs with dashes, `orders-550e8400-e29b-41d4-a716-446655440000` becomes `orders`
pod: Kubernetes pod suffixes, `orders-api-7d4b9c8f6d-x2x4q` becomes `orders-api`
nuid: NUIDs and ULIDs, `orders.VkmFTZdfrr3qGnwv2LDkPT` becomes `orders`
hex: 6 or more hex digits, letters and numbers mixed, `mqttjs_1a2b3c4d` becomes `mqttjs`
ip: IP addresses with or without a port, `telegraf-10.1.2.3:49152` becomes `telegraf`
version: version numbers, `NATS CLI Version 0.1.5` becomes `NATS CLI`
number: numbers, and 4 or more digits at the end of a word, `orders-api@host-3[4711]` becomes `orders-api@host`
");
}

/// Texts made of what the kinds look for, so that they meet in ways nobody thought of.
fn nasty_name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "orders",
        "é",
        "0",
        "7",
        "42",
        "4711",
        "pid",
        "ip",
        "v",
        "v1",
        "x2x4q",
        "bxzqk",
        "7d4b9c8f6d",
        "deadbeef",
        "cafe",
        "1a2b3c",
        "0x",
        "ff",
        "550e8400",
        "e29b",
        "41d4",
        "a716",
        "446655440000",
        "255",
        "rc",
        "g2414721",
        "28391040",
        "VkmFTZdfrr3qGnwv2LDkPT",
        "::",
        "-",
        "_",
        ".",
        ":",
        "/",
        "@",
        "#",
        "[",
        "]",
        "(",
        ")",
        " ",
        "-",
        ".",
        "%",
        "+",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_name_has_an_application(name in prop_oneof![nasty_name(), "\\PC{0,40}", any::<String>()]) {
        let rules = ApplicationRules::default();
        let application = rules.application(&name).into_owned();
        let is_placeholder = InstancePart::ALL
            .into_iter()
            .map(InstancePart::placeholder)
            .chain([UNNAMED])
            .any(|placeholder| placeholder == application);

        prop_assert!(!application.is_empty());
        prop_assert!(is_placeholder || application.len() <= name.len());
        prop_assert_eq!(rules.application(&application), application.as_str());
    }

    #[test]
    fn what_is_left_was_in_the_name(name in nasty_name()) {
        let application = ApplicationRules::default().application(&name).into_owned();
        let mut rest = name.chars();
        let is_left = application.starts_with('<')
            || application.chars().all(|c| c == '-' || rest.any(|other| other == c));

        prop_assert!(is_left, "{} is not what is left of {}", application, name);
        prop_assert!(ApplicationRules::default().can_be(&name, &application), "{} of {}", application, name);
    }
}
