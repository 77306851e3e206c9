//! Mitigations: what limits them, and who acts.

use connwarden::model::system_account::SystemLogin;
use insta::assert_snapshot;

use super::{parse, problems};

#[test]
fn limits_of_mitigations_are_checked() {
    assert_snapshot!(problems("mitigations"), @r"
    connwarden.yml:2:12: mitigations.enabled: expected `true` or `false`, found `maybe`
    connwarden.yml:4:20: mitigations.protected.applications[0]: expected one line of text, found ``
    connwarden.yml:4:33: mitigations.protected.applications[2]: is listed twice
    connwarden.yml:5:16: mitigations.protected.networks[0]: `10.4.1.0/16` has bits behind its prefix, write `10.4.0.0/16`
    connwarden.yml:5:29: mitigations.protected.networks[1]: expected a network such as `10.4.0.0/16`, or an address, found `nowhere`
    connwarden.yml:6:5: mitigations.protected.user: unknown key, did you mean `users`?
    connwarden.yml:7:16: mitigations.max_victims: expected a whole number from 1 to 10000, found `10001`
    connwarden.yml:8:22: mitigations.max_share_percent: must be above 0; `enabled: false` turns mitigations off
    connwarden.yml:9:17: mitigations.keep_minimum: expected a whole number from 0 to 10000, found `-1`
    connwarden.yml:10:21: mitigations.max_snapshot_age: must be at most 3600s, found `2h`
    connwarden.yml:11:29: mitigations.replan_threshold_percent: expected a percentage from 0 to 100 such as `10`, found `101`
    connwarden.yml:12:14: mitigations.cool_down: max_cool_down (21600s) is shorter than cool_down (25200s)
    connwarden.yml:13:18: mitigations.hourly_budget: expected a whole number from 1 to 1000000, found `0`
    connwarden.yml:14:23: mitigations.breaker.failures: expected a whole number from 1 to 1000, found `none`
    connwarden.yml:14:37: mitigations.breaker.window: must be longer than 0
    connwarden.yml:15:28: mitigations.max_unreachable_percent: expected a percentage from 0 to 100 such as `10`, found `NaN`
    connwarden.yml:16:13: mitigations.windows[0]: expected a window in UTC such as `Mon-Fri 08:00-18:00`, `Sat,Sun 00:00-24:00` or `daily 22:00-06:00`, found `Mon-Fri 8-18`
    connwarden.yml:16:27: mitigations.windows[1]: it ends when it begins, write 00:00-24:00 for whole days, found `Mon 08:00-08:00`
    connwarden.yml:16:46: mitigations.windows[2]: no window begins at 24:00, write 00:00 of the next day, found `Sun 24:00-06:00`
    connwarden.yml:16:84: mitigations.windows[4]: is listed twice
    connwarden.yml:17:19: mitigations.approval_valid: must be at most 86400s, found `25h`
    connwarden.yml:18:10: mitigations.batch: expected a whole number from 1 to 1000, found `1e3`
    connwarden.yml:19:16: mitigations.batch_pause: must be at most 300s, found `6m`
    connwarden.yml:20:15: mitigations.drain_wait: must be longer than 0
    connwarden.yml:21:23: mitigations.verify_after[1]: must be longer than the one before it
    connwarden.yml:21:27: mitigations.verify_after[2]: expected a duration such as `30s`, `5m` or `1h30m`, found `soon`
    connwarden.yml:22:15: mitigations.pause_file: expected a path
    27 problems in connwarden.yml
    ");
    assert_snapshot!(problems("more-mitigations"), @r"
    connwarden.yml:3:18: mitigations.max_cool_down: max_cool_down (1800s) is shorter than cool_down (3600s)
    connwarden.yml:4:12: mitigations.windows: expected at least one window; remove the key for always
    connwarden.yml:5:17: mitigations.verify_after: expected between 1 and 10 durations
    connwarden.yml:6:3: mitigations.keep: unknown key, did you mean `keep_minimum`?
    connwarden.yml:7:12: mitigations.breaker: expected a mapping of `failures`, `window`, found text
    5 problems in connwarden.yml
    ");
    assert_snapshot!(problems("long-mitigations"), @r"
    connwarden.yml:2:14: mitigations.cool_down: must be at most 604800s, found `169h`
    connwarden.yml:3:18: mitigations.max_cool_down: must be at most 604800s, found `30d`
    connwarden.yml:4:21: mitigations.breaker.window: must be at most 604800s, found `8d`
    connwarden.yml:5:22: mitigations.verify_after[1]: must be longer than the one before it
    connwarden.yml:5:26: mitigations.verify_after[2]: must be at most 86400s, found `25h`
    5 problems in connwarden.yml
    ");
}

#[test]
fn an_actor_is_one_login_of_its_own() {
    assert_snapshot!(problems("system-actors"), @r"
    connwarden.yml:8:14: clusters[0].system_account.actor.credentials_file: is missing, give it, or an `nkey_file`, or a `user` and its `password_file`
    connwarden.yml:15:14: clusters[1].system_account.actor: is who reads; leave it out, and who reads acts too
    connwarden.yml:21:26: clusters[2].system_account.actor.nkey_file: both `credentials_file` and `nkey_file` are given, only one can be shown
    connwarden.yml:21:67: clusters[2].system_account.actor.urls: unknown key here, did you mean `clusters[].logs[].loki.url`?
    connwarden.yml:21:103: clusters[2].system_account.actor.password_file: is given without a `user`
    5 problems in connwarden.yml
    ");
    let config = parse(
        "clusters:\n  - name: a\n    system_account:\n      urls: nats://nats-1\n      nkey_file: reader.nk\n      \
         tls: {ca_file: ca.crt}\n      actor: {user: actor, password_file: secret}\n",
    );
    let cluster = &config.unwrap_or_else(|problems| panic!("{problems}")).clusters[0];
    let (reader, actor) = (cluster.system_account.as_ref().unwrap(), cluster.system_actor.as_ref().unwrap());
    assert_eq!((&actor.urls, &actor.tls), (&reader.urls, &reader.tls));
    let login = SystemLogin::Password { user: "actor".to_owned(), password_file: "secret".into() };
    assert_eq!((&reader.login, &actor.login), (&SystemLogin::Nkey("reader.nk".into()), &login));
}
