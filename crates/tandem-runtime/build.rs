//! Generates a client of etcd, and a server, from the description of its API, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const FOLDER: &str = "../../proto";
    println!("cargo::rerun-if-changed={FOLDER}/etcd.proto");
    let files = protox::compile(["etcd.proto"], [FOLDER])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    // The server is for tests.
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(files, config)?;
    Ok(())
}
