//! The catalogs that a configuration names.

use std::collections::BTreeMap;

use config::ServerConfig;
use connector::Catalogs;

use crate::Failure;

/// The catalogs, and the name of each one's connector.
pub fn catalogs(config: &ServerConfig) -> Result<(Catalogs, Vec<(String, String)>), Failure> {
    let mut catalogs = Catalogs::default();
    let mut connector_names = Vec::new();
    for catalog in &config.catalogs {
        let properties: BTreeMap<String, String> =
            catalog.properties.iter().map(|setting| (setting.name.clone(), setting.value.clone())).collect();
        let connector = match catalog.connector_name.as_str() {
            "tpch" => connector_tpch::create(&catalog.name, &properties)?,
            "hive" => connector_hive::create(&catalog.name, &properties)?,
            other => {
                return Err(format!("catalog '{}': there is no connector '{other}'", catalog.name).into());
            }
        };
        catalogs.insert(catalog.name.as_str(), connector);
        connector_names.push((catalog.name.clone(), catalog.connector_name.clone()));
    }
    Ok((catalogs, connector_names))
}
