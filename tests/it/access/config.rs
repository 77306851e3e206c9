//! What the configuration says about access, and how every mistake in it is reported.

use std::io;
use std::path::Path;

use connwarden::config::{Config, RateLimit, TlsVersion};
use connwarden::model::credential::{CertificateName, Proof, Role, Secret};
use insta::assert_snapshot;

fn read_secret(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("secrets/token") => Ok("hunter2-hunter2-hunter2\n".to_owned()),
        Some("secrets/short") => Ok("hunter2\n".to_owned()),
        Some("secrets/empty") => Ok("\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The problems of a text, none of which may repeat a secret.
fn problems(text: &str) -> String {
    let problems = Config::parse(text, "connwarden.yml", &read_secret).unwrap_err();
    let shown = format!("{problems}{problems:?}");
    assert!(!shown.contains("hunter"), "{shown}");
    problems.to_string()
}

#[test]
fn every_setting_of_access_is_read() {
    let text = "
web:
  tls: {cert_file: a.crt, key_file: a.key, client_ca_file: ca.crt, min_version: '1.3'}
  allowed_hosts: [Warden.Example, connwarden]
  rate_limit: {requests_per_second: 7, burst: 9}
  credentials:
    - {name: a, role: webhook, bearer_token_file: secrets/token}
    - {name: b, role: viewer, bearer_token: hunter3-hunter3-hunter3}
    - {name: c, role: operator, basic_auth: {username: ann, password: hunter2}}
    - {name: d, role: viewer, client_certificate: {common_name: Ann}}
    - {name: e, role: viewer, client_certificate: {dns_name: Ann.Example}}
    - {name: f, role: viewer, client_certificate: {uri: 'spiffe://example/ann'}}
    - {name: g, role: webhook, hmac: {secret_file: secrets/token}}
    - {name: h, role: webhook, hmac: {secret: hunter4-hunter4-hunter4, header: X-Sig, timestamp_header: X-Time}}
";
    let config = Config::parse(text, "connwarden.yml", &read_secret).unwrap();
    let access = &config.web.access;
    let tls = access.tls.as_ref().unwrap();
    assert_eq!((tls.cert_file.as_path(), tls.key_file.as_path()), (Path::new("a.crt"), Path::new("a.key")));
    assert_eq!(tls.client_ca_file.as_deref(), Some(Path::new("ca.crt")));
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    assert_eq!(access.allowed_hosts, ["warden.example", "connwarden"]);
    assert_eq!(access.rate_limit, RateLimit { requests_per_second: 7, burst: 9 });
    let names: Vec<&str> = access.credentials.iter().map(|credential| credential.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g", "h"]);
    let [a, b, c, d, e, f, g, h] = &access.credentials[..] else { panic!() };
    assert_eq!((a.role, b.role, c.role), (Role::Webhook, Role::Viewer, Role::Operator));
    assert!(matches!(&a.proof, Proof::Bearer(Secret::File(file)) if file == Path::new("secrets/token")));
    assert!(matches!(&b.proof, Proof::Bearer(Secret::Text(_))));
    assert!(matches!(&c.proof, Proof::Basic { username, password: Secret::Text(_) } if username == "ann"));
    for (credential, name) in [
        (d, CertificateName::CommonName("Ann".to_owned())),
        (e, CertificateName::Dns("ann.example".to_owned())),
        (f, CertificateName::Uri("spiffe://example/ann".to_owned())),
    ] {
        assert!(matches!(&credential.proof, Proof::Certificate(found) if *found == name), "{credential:?}");
    }
    let Proof::Signature { header, timestamp_header: None, .. } = &g.proof else { panic!("{g:?}") };
    assert_eq!(header, "x-grafana-alerting-signature");
    let Proof::Signature { header, timestamp_header: Some(timestamp), .. } = &h.proof else {
        panic!("{h:?}")
    };
    assert_eq!((header.as_str(), timestamp.as_str()), ("x-sig", "x-time"));
    let shown = format!("{config:?}{config:#?}");
    assert!(!shown.contains("hunter") && shown.contains("REDACTED"), "{shown}");
}

#[test]
fn a_credential_has_a_name_a_role_and_one_thing_to_show() {
    assert_snapshot!(problems("
web:
  credentials:
    - {role: viewer, bearer_token: hunter2-hunter2-hunter2}
    - {name: a b, role: admin, bearer_token: hunter3-hunter3-hunter3}
    - {name: local-operator, role: operator, bearer_token: hunter4-hunter4-hunter4}
    - {name: a, role: viewer}
    - {name: a, role: viewer, bearer_token: hunter5-hunter5-hunter5}
    - {name: b, role: viewer, bearer_token: hunter6-hunter6-hunter6, basic_auth: {username: b, password: hunter2}}
    - {name: c, role: viewer, bearer_token: hunter7-hunter7-hunter7, bearer_token_file: secrets/token}
    - {name: d, role: operater, passwrod: hunter2}
    - hunter2
    -
"), @r"
    connwarden.yml:4:7: web.credentials[0].name: is missing
    connwarden.yml:5:14: web.credentials[1].name: expected 1 to 63 of the characters A-Z, a-z, 0-9, `_`, `.`, `-`, found `a b`
    connwarden.yml:5:25: web.credentials[1].role: expected one of webhook, reporter, viewer, operator, found `admin`
    connwarden.yml:6:14: web.credentials[2].name: `local-operator` is connwarden's own, choose another name
    connwarden.yml:7:7: web.credentials[3].bearer_token: is missing, give it or one of `bearer_token_file`, `basic_auth`, `client_certificate`, `hmac`
    connwarden.yml:8:14: web.credentials[4].name: `a` is the name of the credential on line 7
    connwarden.yml:9:82: web.credentials[5].basic_auth: both `bearer_token` and `basic_auth` are given, make two credentials of them
    connwarden.yml:10:89: web.credentials[6].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    connwarden.yml:11:7: web.credentials[7].bearer_token: is missing, give it or one of `bearer_token_file`, `basic_auth`, `client_certificate`, `hmac`
    connwarden.yml:11:23: web.credentials[7].role: expected one of webhook, reporter, viewer, operator, found `operater`, did you mean `operator`?
    connwarden.yml:11:33: web.credentials[7].passwrod: unknown key here, did you mean `web.credentials[].basic_auth.password`?
    connwarden.yml:12:7: web.credentials[8]: expected a mapping of `name`, `role`, `bearer_token`, `bearer_token_file`, `basic_auth`, `client_certificate`, `hmac`, found text
    connwarden.yml:13:6: web.credentials[9]: expected a mapping, found nothing
    13 problems in connwarden.yml
    ");
}

#[test]
fn what_could_be_guessed_is_no_secret() {
    assert_snapshot!(problems("
web:
  credentials:
    - {name: a, role: viewer, bearer_token: ''}
    - {name: b, role: viewer, bearer_token: hunter2}
    - {name: c, role: viewer, bearer_token: hunter2 hunter2 hunter2}
    - {name: d, role: viewer, bearer_token:}
    - {name: e, role: viewer, bearer_token_file: secrets/short}
    - {name: f, role: viewer, bearer_token_file: secrets/empty}
    - {name: g, role: viewer, bearer_token_file: secrets/missing}
    - {name: h, role: viewer, basic_auth: {username: ann, password: ''}}
    - {name: i, role: viewer, basic_auth: {username: 'an:n'}}
    - {name: j, role: viewer, basic_auth: {password: hunter2, password_file: secrets/token}}
    - {name: k, role: webhook, hmac: {secret: hunter2}}
    - {name: l, role: webhook, hmac: {secret_file: secrets/empty}}
    - {name: m, role: webhook, hmac: {header: 'x y', timestamp_header: authorization}}
    - {name: n, role: viewer, hmac: {secret: hunter2-hunter2-hunter2, header: X, timestamp_header: x}}
"), @r"
    connwarden.yml:4:45: web.credentials[0].bearer_token: the secret is empty
    connwarden.yml:5:45: web.credentials[1].bearer_token: the token is shorter than 16 characters, take a random one (`openssl rand -hex 32`)
    connwarden.yml:6:45: web.credentials[2].bearer_token: the token must be one line of printable ASCII characters without blanks
    connwarden.yml:7:31: web.credentials[3].bearer_token: has no value
    connwarden.yml:8:50: web.credentials[4].bearer_token_file: the token is shorter than 16 characters, take a random one (`openssl rand -hex 32`)
    connwarden.yml:9:50: web.credentials[5].bearer_token_file: the secret is empty
    connwarden.yml:10:50: web.credentials[6].bearer_token_file: cannot read `secrets/missing`: entity not found
    connwarden.yml:11:69: web.credentials[7].basic_auth.password: the secret is empty
    connwarden.yml:12:43: web.credentials[8].basic_auth.password: is missing, give it here or in a `password_file`
    connwarden.yml:12:54: web.credentials[8].basic_auth.username: expected a user name without a colon
    connwarden.yml:13:43: web.credentials[9].basic_auth.username: is missing
    connwarden.yml:13:78: web.credentials[9].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:14:47: web.credentials[10].hmac.secret: the secret is shorter than 16 characters, take a random one (`openssl rand -hex 32`)
    connwarden.yml:15:52: web.credentials[11].hmac.secret_file: the secret is empty
    connwarden.yml:16:38: web.credentials[12].hmac.secret: is missing, give it here or in a `secret_file`
    connwarden.yml:16:47: web.credentials[12].hmac.header: expected the name of a header, found `x y`
    connwarden.yml:16:72: web.credentials[12].hmac.timestamp_header: `authorization` has a meaning of its own, choose another header
    connwarden.yml:17:23: web.credentials[13].role: only notifications are signed, the role must be `webhook`
    connwarden.yml:17:100: web.credentials[13].hmac.timestamp_header: is the header of the signature itself
    19 problems in connwarden.yml
    ");
}

#[test]
fn one_secret_has_one_role() {
    assert_snapshot!(problems("
web:
  credentials:
    - {name: a, role: viewer, bearer_token: hunter2-hunter2-hunter2}
    - {name: b, role: operator, bearer_token_file: secrets/token}
    - {name: c, role: viewer, bearer_token_file: secrets/token}
    - {name: d, role: viewer, basic_auth: {username: ann, password: hunter2}}
    - {name: e, role: operator, basic_auth: {username: ann, password: hunter2}}
    - {name: f, role: operator, basic_auth: {username: bob, password: hunter2}}
"), @r"
    connwarden.yml:5:23: web.credentials[1].role: `a` is shown the same way and has the role `viewer`, whose would it be?
    connwarden.yml:8:23: web.credentials[4].role: `d` is shown the same way and has the role `viewer`, whose would it be?
    2 problems in connwarden.yml
    ");
}

#[test]
fn certificates_need_somebody_who_vouches_for_them() {
    assert_snapshot!(problems("
web:
  tls: {cert_file: a, key_file: b}
  credentials:
    - {name: a, role: viewer, client_certificate: {common_name: a}}
"), @r"
    connwarden.yml:5:51: web.credentials[0].client_certificate: needs `web.tls.client_ca_file`: without it no client shows a certificate
    1 problem in connwarden.yml
    ");
    assert_snapshot!(problems("
web:
  tls: {cert_file: a, client_ca_file: c, min_version: 1.1}
  credentials:
    - {name: a, role: viewer, client_certificate: {common_name: a, uri: b}}
    - {name: b, role: viewer, client_certificate: {}}
    - {name: c, role: viewer, client_certificate: {dns_name: ''}}
    - {name: d, role: viewer, client_certificate: d}
"), @r"
    connwarden.yml:3:8: web.tls.key_file: is missing
    connwarden.yml:3:55: web.tls.min_version: expected `1.2` or `1.3`, found `1.1`
    connwarden.yml:5:73: web.credentials[0].client_certificate.uri: both `common_name` and `uri` are given
    connwarden.yml:6:51: web.credentials[1].client_certificate.common_name: is missing, give it or one of `dns_name`, `uri`
    connwarden.yml:7:62: web.credentials[2].client_certificate.dns_name: expected a name
    connwarden.yml:8:51: web.credentials[3].client_certificate: expected a mapping of `common_name`, `dns_name`, `uri`, found text
    6 problems in connwarden.yml
    ");
}

#[test]
fn hosts_and_rates_are_checked() {
    assert_snapshot!(problems("
web:
  allowed_hosts: ['a.example:443', 'https://b.example', a, A, '', '*']
  rate_limit: {requests_per_second: -1, burst: 0}
"), @r"
    connwarden.yml:3:19: web.allowed_hosts[0]: expected a host name such as `connwarden.example`, found `a.example:443` with a port, write `a.example`
    connwarden.yml:3:36: web.allowed_hosts[1]: expected a host name such as `connwarden.example`, found `https://b.example`
    connwarden.yml:3:60: web.allowed_hosts[3]: `a` is listed twice
    connwarden.yml:3:63: web.allowed_hosts[4]: expected a host name such as `connwarden.example`, found ``
    connwarden.yml:3:67: web.allowed_hosts[5]: expected a host name such as `connwarden.example`, found `*`
    connwarden.yml:4:37: web.rate_limit.requests_per_second: expected a whole number from 0 to 1000000, found `-1`
    connwarden.yml:4:48: web.rate_limit.burst: expected a whole number from 1 to 1000000, found `0`
    7 problems in connwarden.yml
    ");
    let config = Config::parse("web: {rate_limit: {requests_per_second: 0}}", "", &read_secret).unwrap();
    assert_eq!(config.web.access.rate_limit, RateLimit { requests_per_second: 0, burst: 1000 });
}
