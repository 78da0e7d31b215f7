//! The electronic data sheet of the plant's node (CiA 306-1).

use std::fmt::Write as _;

use super::objects::{Access, Entry, Holds, OBJECTS, Object, Shape};

/// The whole file.
pub(crate) fn text(file_name: &str) -> String {
    let mut out = format!(
        "[FileInfo]\nFileName={file_name}\nFileVersion=1\nFileRevision=0\nEDSVersion=4.0\nDescription=A simulated dosing \
         pump\nCreationTime=12:00PM\nCreationDate=01-01-2026\nCreatedBy=Fieldbeat\nModificationTime=12:00PM\n\
         ModificationDate=01-01-2026\nModifiedBy=Fieldbeat\n\n[DeviceInfo]\nVendorName=Fieldbeat\nVendorNumber=0xFBE\n\
         ProductName=Dosing pump\nProductNumber=1\nRevisionNumber=0x10000\nOrderCode=none\n"
    );
    for rate in ["10", "20", "50", "125", "250", "500", "800", "1000"] {
        let _ = writeln!(out, "BaudRate_{rate}=1");
    }
    out += "SimpleBootUpMaster=0\nSimpleBootUpSlave=1\nGranularity=8\nDynamicChannelsSupported=0\nGroupMessaging=0\n\
            NrOfRXPDO=1\nNrOfTXPDO=2\nLSS_Supported=0\n\n[DummyUsage]\n";
    (1..=7).for_each(|dummy| out += &format!("Dummy{dummy:04}=0\n"));
    out += "\n[Comments]\nLines=0\n\n";
    let mandatory = [0x1000, 0x1001, 0x1018];
    list(&mut out, "MandatoryObjects", |object| mandatory.contains(&object.index));
    list(&mut out, "OptionalObjects", |object| !mandatory.contains(&object.index) && object.index < 0x2000);
    list(&mut out, "ManufacturerObjects", |object| object.index >= 0x2000);
    OBJECTS.iter().for_each(|object| section(&mut out, object));
    out
}

fn list(out: &mut String, name: &str, is_in: impl Fn(&Object) -> bool) {
    let own: Vec<&Object> = OBJECTS.iter().filter(|object| is_in(object)).collect();
    let _ = writeln!(out, "[{name}]\nSupportedObjects={}", own.len());
    own.iter().enumerate().for_each(|(i, object)| out.push_str(&format!("{}=0x{:04X}\n", i + 1, object.index)));
    out.push('\n');
}

fn section(out: &mut String, object: &Object) {
    let Object { index, name, shape, entries } = object;
    let _ = writeln!(out, "[{index:04X}]\nParameterName={name}\nObjectType=0x{:X}", *shape as u8);
    if *shape == Shape::Variable {
        entries.iter().for_each(|entry| value(out, entry));
        out.push('\n');
        return;
    }
    let _ = writeln!(out, "SubNumber={}\n", entries.len());
    for entry in *entries {
        let _ = writeln!(out, "[{index:04X}sub{:X}]\nParameterName={}\nObjectType=0x7", entry.sub, entry.name);
        value(out, entry);
        out.push('\n');
    }
}

fn value(out: &mut String, entry: &Entry) {
    let access = match entry.access {
        Access::Const => "const",
        Access::Read => "ro",
        Access::ReadWrite => "rw",
    };
    let _ = writeln!(out, "DataType=0x{:04X}\nAccessType={access}", entry.kind as u16);
    match entry.holds {
        Holds::Number(held) => out.push_str(&format!("DefaultValue={held:#X}\n")),
        Holds::NodeId(base) => out.push_str(&format!("DefaultValue=$NODEID+{base:#X}\n")),
        Holds::Text(text) if !text.is_empty() => out.push_str(&format!("DefaultValue={text}\n")),
        _ => {}
    }
    let _ = writeln!(out, "PDOMapping={}", u8::from(entry.mappable));
}
