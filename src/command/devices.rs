//! `limpid devices`: lists the devices, and measures how fast each trains.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::Execute;
use super::arguments::threads;
use super::print::print;
use crate::device::{Absence, DeviceName};
use crate::interrupt;
use crate::training::rate;

/// How long each model trains on each device for the measurement.
const TIME: Duration = Duration::from_secs(1);

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Threads for devices that are the CPU; all cores unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,
}

/// An entry of the list of devices.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    device: String,
    /// The Cargo feature that provides it; none for flex, which every build has.
    feature: Option<&'static str>,
    in_build: bool,
    /// Unknown unless it is in the build.
    on_machine: Option<bool>,
    /// The reason why it cannot be used.
    why: Option<String>,
    /// Training speed in steps of 200 images of 28×28, by family of models.
    images_per_second: Option<Rates>,
}

#[derive(Serialize)]
struct Rates {
    dense: f64,
    conv: f64,
}

impl Execute for DevicesArgs {
    /// Prints every device, whether it can be used, and how fast it trains.
    fn execute(&self) -> Result<()> {
        interrupt::install()?;
        let threads = threads(self.threads)?;
        let names = DeviceName::all();
        if self.json {
            let all: Vec<Listed> = names.into_iter().map(|name| look_at(name, threads)).collect::<Result<_>>()?;
            return print(serde_json::to_string_pretty(&all)?);
        }
        print(format!("{:12}{:>14}{:>14}", "device", "dense", "conv"))?;
        for name in names {
            let Listed { device, why, images_per_second, .. } = look_at(name, threads)?;
            match (images_per_second, why) {
                (Some(Rates { dense, conv }), _) => print(format!("{device:12}{dense:>14.0}{conv:>14.0}  images/s"))?,
                (None, why) => print(format!("{device:12}{}", why.unwrap_or_default()))?,
            }
        }
        Ok(())
    }
}

/// Opens a device and measures its training speed.
fn look_at(name: DeviceName, threads: usize) -> Result<Listed> {
    let opened = name.open(threads);
    let images_per_second = match &opened {
        Ok(device) => {
            let [dense, conv] = rate::models();
            let rate = |model| rate::images_per_second(model, device, TIME).map(f64::round);
            Some(Rates { dense: rate(&dense)?, conv: rate(&conv)? })
        }
        Err(_) => None,
    };
    let (in_build, on_machine) = match &opened {
        Ok(_) => (true, Some(true)),
        Err(Absence::Build) => (false, None),
        Err(Absence::Machine(_)) => (true, Some(false)),
    };
    Ok(Listed {
        device: name.to_string(),
        feature: (name != DeviceName::Flex).then(|| name.feature()),
        in_build,
        on_machine,
        why: opened.err().map(|absence| absence.message(name)),
        images_per_second,
    })
}
