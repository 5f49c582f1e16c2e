//! Generates a client of Milvus from the description of its API, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const FOLDER: &str = "../../proto";
    println!("cargo::rerun-if-changed={FOLDER}/milvus.proto");
    let files = protox::compile(["milvus.proto"], [FOLDER])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .compile_fds_with_config(files, config)?;
    Ok(())
}
