//! The exchange as the wire has it: requests of the tests' own making, refusals, memory across a crash.

use accord_protocol::{
    answer::reply_class,
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, RequestId},
    request::DimQuery,
    time::UnixMs,
};
use accord_tests::{Federation, member::Member, officer::Officer};

const MINUTE: u64 = 60_000;

#[test]
fn the_same_request_after_a_crash_gives_the_same_bytes() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let (_spain, italy) = (federation.start("ES-AGENCY"), federation.start("IT-AGENCY"));
    let officer = Officer::open(&federation.path().join("officer"));
    let call = officer.sign(&officer.request("IT-AGENCY", "2021..2025"));
    let first = officer.send(&call);
    assert_eq!(first.word(), "answered");
    let alike = |first: &accord_tests::officer::Back, second: &accord_tests::officer::Back| {
        assert_eq!(first.reply.answer, second.reply.answer, "head and signature");
        assert_eq!(first.slice, second.slice);
        assert_eq!(first.reply.edition, second.reply.edition);
    };
    alike(&first, &officer.send(&call));
    italy.kill();
    let _italy = federation.start("IT-AGENCY");
    alike(&first, &officer.send(&call));
    // A newer edition changes nothing for a request that was answered from the old one.
    assert_eq!(federation.operator("IT-AGENCY", &["coverage", "set", "seizure", "2021", "none"]).code, 0);
    assert_eq!(federation.operator("IT-AGENCY", &["edition", "publish"]).code, 0);
    alike(&first, &officer.send(&call));
    let mut fresh = officer.request("IT-AGENCY", "2021..2025");
    assert_eq!(officer.ask(&fresh).head().edition, 2);
    fresh.request_id = RequestId([7; 16]);
    fresh.edition = 1;
    assert_eq!(officer.ask(&fresh).head().edition, 1);
}

#[test]
fn the_same_request_twice_at_once_is_executed_once() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let call = officer.sign(&officer.request("IT-AGENCY", "2021..2025"));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(|| officer.send(&call))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.reply.answer, answers[0].reply.answer);
    }
    let log = std::fs::read_to_string(federation.path().join("IT-AGENCY-node.log")).unwrap();
    assert_eq!(log.matches("answered").count(), 1, "{log}");
}

#[test]
fn every_refusal_is_provoked() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let rows = federation.rows("IT-AGENCY").replace("\"seizures-year-drug-weight\", ", "").replace(
        "purpose = [\"strategic-analysis\", \"early-warning\"]",
        "finest = { time = \"quarter\" }\npurpose = [\"strategic-analysis\"]",
    );
    federation.install_policy("IT-AGENCY", &rows);
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let fresh = || officer.request("IT-AGENCY", "2021..2025");
    let mut shown = String::new();
    let mut case = |name: &str, change: &dyn Fn(&mut accord_protocol::request::RequestBody)| {
        let mut body = fresh();
        change(&mut body);
        let back = officer.ask(&body);
        if back.word() == "not handed on" {
            shown += &format!("{name}: {}\n", back.word());
            return;
        }
        let head = back.head();
        assert_eq!(head.body_hash, Hash::of(&encode(&body).unwrap()), "{name}");
        if head.refusal().is_some() {
            assert!(back.slice.is_empty() && head.edition == 0 && head.slice_len == 0, "{name}");
        }
        shown += &format!("{name}: {}\n", back.word());
    };
    case("as the tool asks", &|_| {});
    case("expired", &|body| {
        body.issued_at = UnixMs(body.issued_at.0 - 20 * MINUTE);
        body.deliver_by = UnixMs(body.issued_at.0 + 10 * MINUTE);
    });
    case("from the future", &|body| {
        body.issued_at = UnixMs(body.issued_at.0 + 3 * MINUTE);
        body.deliver_by = UnixMs(body.issued_at.0 + MINUTE);
    });
    case("a window of eleven minutes", &|body| body.deliver_by = UnixMs(body.issued_at.0 + 11 * MINUTE));
    case("unknown table", &|body| body.query.table_id = 999);
    case("table without a grant", &|body| {
        body.query.table_id = 7;
        let mut dims = body.query.dims.as_slice().to_vec();
        dims.push(DimQuery { dim: 2, level: 0, codes: Bounded::default() });
        body.query.dims = Bounded::new(dims).unwrap();
        body.query.measures = 1;
    });
    case("another purpose than granted", &|body| body.purpose = accord_protocol::officers::Purpose::EarlyWarning);
    case("a purpose that is not on the card", &|body| body.purpose = accord_protocol::officers::Purpose::Test);
    case("a level that does not exist", &|body| {
        let mut dims = body.query.dims.as_slice().to_vec();
        dims[1].level = 9;
        body.query.dims = Bounded::new(dims).unwrap();
    });
    case("a code that does not exist", &|body| {
        let mut dims = body.query.dims.as_slice().to_vec();
        dims[1].codes = Bounded::new(vec![4_000_000]).unwrap();
        body.query.dims = Bounded::new(dims).unwrap();
    });
    case("a measure that does not exist", &|body| body.query.measures = 1 << 31);
    case("no measure", &|body| body.query.measures = 0);
    case("time without periods", &|body| {
        let mut dims = body.query.dims.as_slice().to_vec();
        dims[0].codes = Bounded::default();
        body.query.dims = Bounded::new(dims).unwrap();
    });
    case("another version of the table", &|body| body.query.table_version = 2);
    case("an edition that does not exist", &|body| body.edition = 99);
    case("a view", &|body| body.view_hash = Hash([1; 32]));
    case("a topic", &|body| body.topic_hash = Hash([1; 32]));
    case("another card", &|body| body.officer_card_hash = Hash([1; 32]));
    case("another requester", &|body| body.requester = "PT-AGENCY".parse().unwrap());
    expect_test::expect![[r#"
        as the tool asks: answered
        expired: not handed on
        from the future: E_TIME
        a window of eleven minutes: E_TIME
        unknown table: E_UNAVAILABLE
        table without a grant: E_UNAVAILABLE
        another purpose than granted: E_UNAVAILABLE
        a purpose that is not on the card: not handed on
        a level that does not exist: E_QUERY
        a code that does not exist: E_QUERY
        a measure that does not exist: E_QUERY
        no measure: E_QUERY
        time without periods: E_QUERY
        another version of the table: E_EDITION
        an edition that does not exist: E_EDITION
        a view: E_VIEW
        a topic: not handed on
        another card: not handed on
        another requester: not handed on
    "#]]
    .assert_eq(&shown);
}

#[test]
fn an_id_that_was_used_and_a_finer_level_than_granted_are_refused() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let rows = federation.rows("IT-AGENCY").replace("until", "finest = { drug = \"all\" }\nuntil");
    federation.install_policy("IT-AGENCY", &rows);
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let mut body = officer.request("IT-AGENCY", "2021..2025");
    assert_eq!(officer.ask(&body).word(), "E_UNAVAILABLE", "groups are finer than granted");
    body.purpose = accord_protocol::officers::Purpose::EarlyWarning;
    assert_eq!(officer.ask(&body).word(), "E_CONFLICT", "the same id with another body");
    let mut wrong_class = officer.request("IT-AGENCY", "2021..2025");
    wrong_class.reply_class = 1 + reply_class(0).unwrap();
    let back = officer.ask(&wrong_class);
    assert_eq!(back.word(), "E_ENCODING");
}

#[test]
fn what_may_not_be_discovered_looks_like_what_does_not_exist() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    federation.install_policy("IT-AGENCY", "");
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let head = |table: u16| {
        let mut body = officer.request("IT-AGENCY", "2021..2025");
        body.query.table_id = table;
        body.request_id = RequestId([3; 16]);
        let back = officer.ask(&body);
        let mut head = back.head();
        // What differs by nature: the body it answers, and when.
        head.body_hash = Hash::ZERO;
        head.issued_at = UnixMs(0);
        (encode(&head).unwrap(), back.slice)
    };
    // The request ids differ for real questions; here one id would be a conflict, so each gets its own.
    let mut real = officer.request("IT-AGENCY", "2021..2025");
    real.request_id = RequestId([4; 16]);
    let back = officer.ask(&real);
    let mut known = back.head();
    known.body_hash = Hash::ZERO;
    known.issued_at = UnixMs(0);
    known.request_id = RequestId([3; 16]);
    assert_eq!((encode(&known).unwrap(), back.slice), head(999));
}

#[test]
fn a_stranger_and_a_changed_request_get_nothing() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let other = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    // Another federation's officer of the same name, at this federation's node.
    let path = other.path().join("officer/profile.toml");
    std::fs::copy(federation.path().join("officer/profile.toml"), path).unwrap();
    let said = other.officer(&["ask", "seizures-year-drug", "--from", "IT-AGENCY", "--period", "2024", "--json"]);
    assert_eq!(said.code, 3, "{}", said.stdout);
    assert_eq!(said.json()["error"]["code"], "NODE-REFUSED");
    // A body that the officer did not sign as it stands.
    let officer = Officer::open(&federation.path().join("officer"));
    let good = officer.sign(&officer.request("IT-AGENCY", "2021..2025"));
    let mut changed: accord_protocol::request::RequestBody = decode(good.body.as_slice(), Cap::Head).unwrap();
    changed.purpose = accord_protocol::officers::Purpose::EarlyWarning;
    let mut call = good.clone();
    call.body = Bounded::new(encode(&changed).unwrap()).unwrap();
    assert_eq!(officer.send(&call).word(), "not handed on");
    let mut call = good;
    call.officer_signature = accord_protocol::key::Signature([0; 64]);
    assert_eq!(officer.send(&call).word(), "not handed on");
}

#[test]
fn nodes_that_require_post_quantum_key_exchange_reach_each_other() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    for member in ["ES-AGENCY", "IT-AGENCY"] {
        federation.edit(&format!("{member}/node/node.toml"), "post_quantum = \"prefer\"", "post_quantum = \"require\"");
    }
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    assert_eq!(officer.ask(&officer.request("IT-AGENCY", "2024")).word(), "answered");
}

#[test]
fn an_officer_who_asks_too_much_is_told_to_wait() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    federation.edit("IT-AGENCY/node/node.toml", "burst = 120", "burst = 3");
    federation.edit("IT-AGENCY/node/node.toml", "per_minute = 60", "per_minute = 1");
    let _nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let words: Vec<_> = (0..4).map(|_| officer.ask(&officer.request("IT-AGENCY", "2024")).word()).collect();
    assert_eq!(words, ["answered", "answered", "answered", "E_QUOTA"]);
}

#[test]
fn a_member_gone_bad_gets_refusals_of_one_size_and_nothing_else() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    let _italy = federation.start("IT-AGENCY");
    let path = federation.path();
    let officer = Officer::open(&path.join("officer"));
    let spain = Member::open(&path, "ES-AGENCY", "IT-AGENCY");
    let fresh = || officer.sign(&officer.request("IT-AGENCY", "2021..2025"));
    let body = |change: &dyn Fn(&mut accord_protocol::request::RequestBody)| {
        let mut body = officer.request("IT-AGENCY", "2021..2025");
        change(&mut body);
        officer.sign(&body)
    };
    let class = 16 * 1024;
    let table: Vec<(&str, accord_tests::member::Came, &str)> = vec![
        ("in order", spain.hand_on(&fresh(), |_| {}), "answered"),
        (
            "another officer's card",
            spain.hand_on(&body(&|body| body.officer_card_hash = Hash([1; 32])), |_| {}),
            "E_AUTH",
        ),
        (
            "another member's name",
            spain.hand_on(&body(&|body| body.requester = "PT-AGENCY".parse().unwrap()), |_| {}),
            "E_AUTH",
        ),
        ("for another provider", spain.hand_on(&officer.sign(&officer.request("PT-AGENCY", "2024")), |_| {}), "E_AUTH"),
        (
            "an envelope of another connection",
            spain.hand_on(&fresh(), |request| request.channel_binding = [0; 32]),
            "E_AUTH",
        ),
        (
            "an envelope of another node",
            spain.hand_on(&fresh(), |request| request.node_id = "PT-AGENCY".parse().unwrap()),
            "E_AUTH",
        ),
        (
            "a signature of zeros",
            spain.hand_on(&fresh(), |request| request.officer_signature = accord_protocol::key::Signature([0; 64])),
            "E_AUTH",
        ),
        ("a topic", spain.hand_on(&fresh(), |request| request.topic = Bounded::new(vec![1]).unwrap()), "E_AUTH"),
        (
            "a body that is none",
            spain.hand_on(&fresh(), |request| request.body = Bounded::new(vec![7; 40]).unwrap()),
            "E_ENCODING",
        ),
        (
            "a purpose that is not on the card",
            spain.hand_on(&body(&|body| body.purpose = accord_protocol::officers::Purpose::Test), |_| {}),
            "E_UNAVAILABLE",
        ),
        (
            "expired",
            spain.hand_on(
                &body(&|body| {
                    body.issued_at = UnixMs(body.issued_at.0 - 20 * MINUTE);
                    body.deliver_by = UnixMs(body.issued_at.0 + 10 * MINUTE);
                }),
                |_| {},
            ),
            "E_TIME",
        ),
        (
            "no envelope at all",
            spain.exchange(accord_protocol::message::MessageKind::Request, |_| vec![1, 2, 3]),
            "E_ENCODING",
        ),
    ];
    for (name, came, want) in table {
        assert_eq!(came, Some((class, want)), "{name}");
    }
    // Portugal with Spain's officer; a node that signs with its TLS key; kinds that only people open.
    let portugal = Member::open(&path, "PT-AGENCY", "IT-AGENCY");
    assert_eq!(portugal.hand_on(&fresh(), |_| {}), Some((class, "E_AUTH")));
    let mut swapped = Member::open(&path, "ES-AGENCY", "IT-AGENCY");
    swapped.swap_keys(&path, "ES-AGENCY");
    assert_eq!(swapped.hand_on(&fresh(), |_| {}), Some((class, "E_AUTH")));
    for kind in [
        accord_protocol::message::MessageKind::Import,
        accord_protocol::message::MessageKind::Status,
        accord_protocol::message::MessageKind::Edition,
    ] {
        let came = spain.exchange(kind, |_| b"{}".to_vec());
        assert!(came.is_none() || came == Some((0, "refused as no request")), "{kind}: {came:?}");
    }
    assert_eq!(spain.hand_on(&fresh(), |_| {}), Some((class, "answered")), "and the honest one is served as before");
}
