//! How to find other pods through the Kubernetes API: the flags, and the connection.

use std::ffi::OsString;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tandem_runtime::Lifecycle;
use tandem_runtime::discovery::{KubernetesDiscovery, KubernetesOptions, PodIdentity};

/// How to find other pods through the Kubernetes API.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct KubernetesArgs {
    /// Files that say how to reach the Kubernetes API, separated by colons [default: the service
    /// account of the pod]
    #[arg(long, value_name = "FILES", env = "KUBECONFIG")]
    kubeconfig: Option<OsString>,

    /// Name of the pod that this process runs in, for `--discovery-backend kubernetes`
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod_name: Option<String>,

    /// Kubernetes namespace of that pod
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pod_namespace: Option<String>,

    /// Id of that pod, which tells it from an earlier one of its name
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pod_uid: Option<String>,

    /// Address of that pod, which the other processes are told [default: see --rpc-host]
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pod_ip: Option<IpAddr>,
}

impl KubernetesArgs {
    /// The address of the pod, if there is one.
    pub(super) const fn pod_ip(&self) -> Option<IpAddr> {
        self.pod_ip
    }

    /// Registers the pod and keeps that up until `lifecycle` ends.
    pub(super) async fn connect(
        &self,
        connect_timeout: Duration,
        lifecycle: &Lifecycle,
    ) -> Result<KubernetesDiscovery> {
        let options = KubernetesOptions {
            pod: self.pod()?,
            kubeconfig: self.kubeconfig.clone(),
            connect_timeout,
        };
        let connected = KubernetesDiscovery::connect(options, lifecycle).await;
        connected.context("failed to use the Kubernetes API")
    }

    fn pod(&self) -> Result<PodIdentity> {
        Ok(PodIdentity {
            name: needed(&self.pod_name, "POD_NAME", "name")?,
            namespace: needed(&self.pod_namespace, "POD_NAMESPACE", "namespace")?,
            uid: needed(&self.pod_uid, "POD_UID", "uid")?,
        })
    }
}

/// The value of a setting that the downward API fills in from the pod's `field`.
fn needed(value: &Option<String>, variable: &str, field: &str) -> Result<String> {
    match value {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => bail!(
            "--discovery-backend kubernetes needs to know the pod, and {variable} is not set; add \
             to the container:\n\
             env:\n\
             - name: {variable}\n  \
               valueFrom:\n    \
                 fieldRef:\n      \
                   fieldPath: metadata.{field}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        kubernetes: KubernetesArgs,
    }

    #[test]
    fn what_is_missing_of_the_pod_is_named() {
        let check = |args: &[&str], words: &[&str]| {
            let args = Args::parse_from([&["tandem"], args].concat());
            let error = args.kubernetes.pod().unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{error}");
            }
        };
        let (name, namespace) = ("--pod-name=p", "--pod-namespace=n");
        check(&[], &["POD_NAME is", "      fieldPath: metadata.name"]);
        check(
            &[name],
            &["POD_NAMESPACE is", "fieldPath: metadata.namespace"],
        );
        check(
            &[name, namespace, "--pod-uid="],
            &["- name: POD_UID\n", "fieldPath: metadata.uid"],
        );
        let whole = Args::parse_from(["tandem", name, namespace, "--pod-uid=u"]);
        assert_eq!(whole.kubernetes.pod().unwrap().uid, "u");
    }
}
