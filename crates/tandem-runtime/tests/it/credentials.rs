//! Servers that ask who is there, and servers that speak TLS.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tandem_runtime::discovery::{
    DiscoveryError, EtcdDiscovery, EtcdIdentity, EtcdLogin, EtcdOptions, EtcdTls,
};
use tandem_runtime::messaging::MessagingError;
use tandem_runtime::nats::{
    NatsIdentity, NatsLogin, NatsOptions, NatsTls, connect as connect_nats,
};
use tandem_runtime::{Discovery, Lifecycle, Secret};
use tempfile::TempDir;

use crate::servers::Server;

/// An authority, and what it has signed, as PEM texts in files.
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let made = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(made.path("ca.pem"), authority.pem()).unwrap();
        for name in ["server", "client"] {
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(names).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(made.path(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(made.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn argument(&self, flag: &str, name: &str) -> String {
        format!("{flag}={}", self.path(name).display())
    }
}

fn etcd(address: String) -> EtcdOptions {
    EtcdOptions {
        endpoints: vec![address],
        login: None,
        tls: EtcdTls::default(),
        lease_ttl: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
    }
}

fn login(user: &str, password: &str) -> Option<EtcdLogin> {
    Some(EtcdLogin {
        user: user.to_owned(),
        password: Secret::new(password),
    })
}

async fn join(options: EtcdOptions) -> Result<EtcdDiscovery, DiscoveryError> {
    EtcdDiscovery::connect(options, &Lifecycle::new()).await
}

#[tokio::test]
async fn etcd_lets_in_whoever_knows_the_password() {
    // Tokens live for two seconds, so that they expire during the test.
    let short = ["--auth-token-ttl=2".to_owned()];
    let Some(server) = Server::etcd_with("http", &short).await else {
        return;
    };
    // A login where nobody asks for one does no harm.
    let early = EtcdOptions {
        login: login("worker", "s3cret"),
        ..etcd(server.address())
    };
    let early = join(early).await.unwrap();
    for order in [
        ["user", "add", "root:root"].as_slice(),
        &["user", "grant-role", "root", "root"],
        &["user", "add", "worker:s3cret"],
        &["role", "add", "worker"],
        &[
            "role",
            "grant-permission",
            "worker",
            "--prefix=true",
            "readwrite",
            "v1/",
        ],
        &["user", "grant-role", "worker", "worker"],
        &["auth", "enable"],
    ] {
        server.etcdctl(order);
    }
    let put = async |discovery: &EtcdDiscovery, key: &str| {
        discovery
            .put(key.to_owned(), Bytes::from_static(b"x"))
            .await
    };
    put(&early, "v1/early").await.unwrap();

    let known = EtcdOptions {
        login: login("worker", "s3cret"),
        ..etcd(server.address())
    };
    let known = join(known).await.unwrap();
    put(&known, "v1/a").await.unwrap();
    let denied = put(&known, "v2/a").await;
    assert!(
        matches!(denied, Err(DiscoveryError::Denied(_))),
        "{denied:?}"
    );
    tokio::time::sleep(Duration::from_secs(4)).await;
    put(&known, "v1/b").await.unwrap();

    for options in [
        etcd(server.address()),
        EtcdOptions {
            login: login("worker", "wrong"),
            ..etcd(server.address())
        },
    ] {
        let started = std::time::Instant::now();
        let error = join(options).await.err().unwrap();
        assert!(matches!(error, DiscoveryError::Denied(_)), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "waiting does not help"
        );
    }
}

#[tokio::test]
async fn etcd_is_reached_over_tls_that_both_sides_check() {
    let made = Certificates::new();
    let secure = [
        made.argument("--cert-file", "server.pem"),
        made.argument("--key-file", "server.key"),
        made.argument("--trusted-ca-file", "ca.pem"),
        "--client-cert-auth=true".to_owned(),
    ];
    let Some(server) = Server::etcd_with("https", &secure).await else {
        return;
    };
    let identity = Some(EtcdIdentity {
        certificate: made.text("client.pem"),
        key: Secret::new(made.text("client.key")),
    });
    let authorities = Some(made.text("ca.pem"));
    let options = |authorities: Option<String>, identity: Option<EtcdIdentity>| EtcdOptions {
        tls: EtcdTls {
            authorities,
            identity,
        },
        ..etcd(format!("https://{}", server.address()))
    };
    let known = join(options(authorities.clone(), identity.clone())).await;
    let value = Bytes::from_static(b"x");
    known.unwrap().put("v1/a".to_owned(), value).await.unwrap();
    let error = join(options(authorities, None)).await.err();
    assert!(matches!(error, Some(DiscoveryError::Unavailable(_))));
    let error = join(options(None, identity)).await.err().unwrap();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

fn nats(server: String, login: NatsLogin) -> NatsOptions {
    NatsOptions {
        server,
        login,
        tls: NatsTls::default(),
        connect_timeout: Duration::from_secs(5),
    }
}

fn password(password: &str) -> NatsLogin {
    NatsLogin::Password {
        user: "worker".to_owned(),
        password: Secret::new(password),
    }
}

/// Connects with what is right, and is denied at once with what is not.
async fn check_login(arguments: &[&str], right: NatsLogin, wrong: NatsLogin) {
    let arguments: Vec<_> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let Some(server) = Server::nats_with(&arguments).await else {
        return;
    };
    let address = format!("nats://{}", server.address());
    let client = connect_nats(&nats(address.clone(), right)).await.unwrap();
    client.flush().await.unwrap();
    let started = std::time::Instant::now();
    let error = connect_nats(&nats(address, wrong)).await.unwrap_err();
    assert!(matches!(error, MessagingError::Denied(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "waiting does not help"
    );
}

#[tokio::test]
async fn nats_lets_in_whoever_knows_the_password() {
    let arguments = ["--user=worker", "--pass=s3cret"];
    check_login(&arguments, password("s3cret"), password("wrong")).await;
}

#[tokio::test]
async fn nats_lets_in_whoever_knows_the_token() {
    let token = |token| NatsLogin::Token(Secret::new(token));
    check_login(&["--auth=s3cret"], token("s3cret"), token("wrong")).await;
}

#[tokio::test]
async fn nats_lets_in_whoever_has_the_key() {
    // A pair that the documentation of NATS shows.
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nats.conf");
    let config = format!("authorization {{ users = [ {{ nkey: {public} }} ] }}");
    std::fs::write(&file, config).unwrap();
    let argument = format!("--config={}", file.display());
    let key = |seed| NatsLogin::NKey(Secret::new(seed));
    check_login(&[&argument], key(seed), key("wrong")).await;
}

#[tokio::test]
async fn nats_is_reached_over_tls_that_both_sides_check() {
    let made = Certificates::new();
    let secure = [
        "--tls".to_owned(),
        made.argument("--tlscert", "server.pem"),
        made.argument("--tlskey", "server.key"),
        made.argument("--tlscacert", "ca.pem"),
        "--tlsverify".to_owned(),
    ];
    let Some(server) = Server::nats_with(&secure).await else {
        return;
    };
    let options = |tls: NatsTls| NatsOptions {
        tls,
        ..nats(format!("tls://{}", server.address()), password("any"))
    };
    let authorities = Some(made.path("ca.pem"));
    let identity = Some(NatsIdentity {
        certificate: made.path("client.pem"),
        key: made.path("client.key"),
    });
    let both = NatsTls {
        authorities: authorities.clone(),
        identity: identity.clone(),
    };
    let client = connect_nats(&options(both)).await.unwrap();
    client.flush().await.unwrap();
    let nobody = NatsTls {
        authorities,
        identity: None,
    };
    assert!(connect_nats(&options(nobody)).await.is_err());
    let stranger = NatsTls {
        authorities: None,
        identity,
    };
    let error = connect_nats(&options(stranger)).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let missing = NatsTls {
        authorities: Some(made.path("none.pem")),
        identity: None,
    };
    let error = connect_nats(&options(missing)).await.unwrap_err();
    assert!(matches!(error, MessagingError::Denied(_)), "{error}");
}

#[tokio::test]
async fn a_credentials_file_must_be_there_and_hold_what_it_should() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.creds");
    let login = || NatsLogin::CredentialsFile(file.clone());
    let connect = async || {
        let options = nats("nats://127.0.0.1:1".to_owned(), login());
        connect_nats(&options).await.unwrap_err()
    };
    let error = connect().await;
    assert!(matches!(&error, MessagingError::Denied(reason) if reason.contains("some.creds")));
    std::fs::write(&file, "nothing of use").unwrap();
    let error = connect().await;
    assert!(matches!(error, MessagingError::Denied(_)), "{error}");
}
