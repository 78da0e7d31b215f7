//! The schema for editors says what the reader does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::fields::keys;
use crate::protocol::kinds::PROTOCOLS;
use crate::protocol::{can, canopen, local_io, modbus, schema};

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tags/tags.schema.json");
    let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "tags/tags.schema.json is out of date: run the test with UPDATE_SCHEMA=1");
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = schema();
    let properties = |object: &Value| -> BTreeSet<String> {
        assert_eq!(object["additionalProperties"], false);
        object["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let set = |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(|key| key.to_string()).collect() };
    let definitions = &schema["definitions"];
    assert_eq!(properties(&schema), set(keys::TAG_FILE));
    assert_eq!(properties(&definitions["Group"]), set(keys::GROUP));
    assert_eq!(properties(&definitions["ModbusTcpLink"]), set(modbus::fields::MODBUS_TCP_LINK_KEYS));
    assert_eq!(properties(&definitions["ModbusRtuLink"]), set(modbus::fields::MODBUS_RTU_LINK_KEYS));
    assert_eq!(properties(&definitions["ModbusRtuTcpLink"]), set(modbus::fields::MODBUS_RTU_TCP_LINK_KEYS));
    assert_eq!(properties(&definitions["Rs485"]), set(modbus::fields::RS485_KEYS));
    assert_eq!(properties(&definitions["Unreadable"]), set(modbus::fields::UNREADABLE_KEYS));
    assert_eq!(properties(&definitions["Tag"]), PROTOCOLS.tag_keys().into_iter().map(String::from).collect());
    assert_eq!(properties(&definitions["GpioLink"]), set(local_io::fields::GPIO_LINK_KEYS));
    assert_eq!(properties(&definitions["I2cLink"]), set(local_io::fields::I2C_LINK_KEYS));
    assert_eq!(properties(&definitions["SpiLink"]), set(local_io::fields::SPI_LINK_KEYS));
    assert_eq!(properties(&definitions["IioLink"]), set(local_io::fields::IIO_LINK_KEYS));
    assert_eq!(properties(&definitions["IioBuffer"]), set(local_io::fields::IIO_BUFFER_KEYS));
    assert_eq!(properties(&definitions["ChipSettings"]), set(local_io::fields::CHIP_KEYS));
    assert_eq!(properties(&definitions["Sensor"]), set(keys::SENSOR));
    assert_eq!(properties(&definitions["WriteLimits"]), set(keys::WRITE));
    assert_eq!(properties(&definitions["CanOpenLink"]), set(canopen::fields::CANOPEN_LINK_KEYS));
    assert_eq!(properties(&definitions["CanOpenNode"]), set(canopen::fields::CANOPEN_NODE_KEYS));
    assert_eq!(properties(&definitions["Guarding"]), set(canopen::fields::GUARDING_KEYS));
    assert_eq!(properties(&definitions["BootWrite"]), set(canopen::fields::BOOT_KEYS));
    assert_eq!(properties(&definitions["CanLink"]), set(can::fields::CAN_LINK_KEYS));
    assert_eq!(properties(&definitions["CanMessage"]), set(can::fields::CAN_TRANSMIT_KEYS));
    assert_eq!(properties(&definitions["Multiplexor"]), set(can::fields::CAN_MULTIPLEXOR_KEYS));
    assert_eq!(definitions.as_object().unwrap().len(), 23);
}

#[test]
fn the_schema_requires_what_the_reader_requires() {
    for (definition, node, missing_faults) in [
        ("Tag", r#"{"tags": [{}]}"#, ["name", "address"].as_slice()),
        ("ModbusTcpLink", r#"{"links": [{}]}"#, &["name", "protocol", "host"]),
        ("ModbusRtuLink", r#"{"links": [{"protocol": "modbus_rtu"}]}"#, &["name", "protocol", "port"]),
        ("ModbusRtuTcpLink", r#"{"links": [{"protocol": "modbus_rtu_tcp"}]}"#, &["name", "protocol", "host"]),
        ("Rs485", r#"{"links": [{"protocol": "modbus_rtu", "rs485": {}}]}"#, &["rts"]),
        ("Group", r#"{"groups": [{}]}"#, &["name", "scan_rate_ms"]),
    ] {
        let required = &schema()["definitions"][definition]["required"];
        assert_eq!(required, &serde_json::json!(missing_faults));
        let found = super::lines(&super::refused(super::MINIMAL, &[("tags/a.json", node)]));
        for key in missing_faults.iter().filter(|key| **key != "protocol" || !node.contains("protocol")) {
            assert!(found.iter().any(|line| line.contains(&format!("{key} is missing"))), "{key} in {found:#?}");
        }
    }
}
