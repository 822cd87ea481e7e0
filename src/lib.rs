//! truenorth keeps Northflank services true to the manifests in a folder.

pub mod engine;
pub mod ledger;
pub mod manifest;
pub mod model;
pub mod northflank;
pub mod plan;
pub mod sandbox;
pub mod source;
