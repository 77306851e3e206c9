//! A certificate authority, and what it signs.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, both in PEM.
pub struct Certificate {
    pub pem: String,
    pub key: String,
}

impl Authority {
    /// A new one, that nobody has trusted before.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = common_name(name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server's certificate, for loopback.
    pub fn server(&self) -> Certificate {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        self.sign(CertificateParams::new(names).unwrap())
    }

    /// A client's certificate with these names; an alternative name with a colon in it is a URI.
    pub fn client(&self, common: &str, alternative: Option<&str>) -> Certificate {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = common_name(common);
        params.subject_alt_names = alternative
            .map(|name| match name.contains(':') {
                true => SanType::URI(name.try_into().unwrap()),
                false => SanType::DnsName(name.try_into().unwrap()),
            })
            .into_iter()
            .collect();
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

impl Certificate {
    /// Writes `NAME.crt` and `NAME.key`, the key first, as one who renews them would.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let files = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        std::fs::write(&files.1, &self.key).unwrap();
        std::fs::write(&files.0, &self.pem).unwrap();
        files
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "connwarden tests");
    subject.push(DnType::CommonName, name);
    subject
}
