//! What people change in a configuration while the gateway runs.

use fastrand::Rng;

use super::modbus::Frames;
use super::{How, Model, Spot, Tag, told};

impl Model {
    /// What someone changes before the next reload: one thing, or several.
    pub fn change(&mut self, past: &[Model], rng: &mut Rng) {
        if !past.is_empty() && rng.u8(..6) == 0 {
            // Back to what was: tags and links come again under their old names.
            let back = past[rng.usize(..past.len())].clone();
            (self.groups, self.links, self.tags) = (back.groups, back.links, back.tags);
            return;
        }
        for _ in 0..[1, 1, 1, 2, 5][rng.usize(..5)] {
            self.change_one(rng);
        }
    }

    fn change_one(&mut self, rng: &mut Rng) {
        let link = rng.usize(..self.links.len());
        let group = rng.usize(..self.groups.len());
        let tag = rng.usize(..self.tags.len());
        match rng.u8(..19) {
            0 | 1 if self.tags.len() < self.shape.tags * 2 + 8 => {
                (0..rng.usize(1..=4)).for_each(|_| self.add_tag(link, group, rng));
            }
            2 => {
                for _ in 0..rng.usize(1..=3) {
                    if self.tags.len() > 1 {
                        self.tags.swap_remove(rng.usize(..self.tags.len()));
                    }
                }
            }
            3 | 4 => {
                // Another type or scale, elsewhere.
                let link = self.tags[tag].link.clone();
                let spot = self.spot(&link, rng);
                self.tags[tag].told = told(Some(&spot), rng);
                self.tags[tag].spot = spot;
            }
            5 => {
                let Tag { spot, link, .. } = self.tags[tag].clone();
                if let Spot::Modbus { unit, kind, .. } = spot {
                    let first = self.place(&link, unit, &kind, rng);
                    self.tags[tag].spot = Spot::Modbus { unit, kind, first };
                }
            }
            6 => self.tags[tag].group = self.groups[group].name.clone(),
            7 => {
                self.groups[group].period_ms = self.shape.periods_ms[rng.usize(..self.shape.periods_ms.len())];
            }
            8 => self.groups[group].together = !self.groups[group].together,
            9 if self.links.len() < self.shape.links + 3 => {
                self.add_link(rng);
                let new = self.links.len() - 1;
                (0..rng.usize(1..=4)).for_each(|_| self.add_tag(new, group, rng));
            }
            10 if self.links.len() > 1 => {
                let gone = self.links.swap_remove(link).name;
                let all = self.tags.len();
                self.tags.retain(|tag| tag.link != gone);
                if self.tags.is_empty() {
                    (0..all).for_each(|_| self.add_tag(0, group, rng));
                }
            }
            11 => {
                self.links[link].host = self.next_host;
                self.next_host += 1;
            }
            12 => {
                // Two links change places.
                let other = rng.usize(..self.links.len());
                let host = self.links[link].host;
                self.links[link].host = self.links[other].host;
                self.links[other].host = host;
            }
            13 => {
                let name = self.links[link].name.clone();
                let is_modbus = matches!(self.links[link].how, How::Modbus(_));
                self.tags[tag].spot = match self.tags[tag].spot.clone() {
                    Spot::Modbus { unit, kind, .. } if is_modbus => {
                        let first = self.place(&name, unit, &kind, rng);
                        Spot::Modbus { unit, kind, first }
                    }
                    _ => {
                        // What is told by exception may mean nothing to a value of another type.
                        self.tags[tag].told.clear();
                        self.spot(&name, rng)
                    }
                };
                self.tags[tag].link = name;
            }
            14 => {
                let timeout_ms = [10, 20, 50, 100, 200][rng.usize(..5)].max(self.shortest_ms() / 4);
                let link = &mut self.links[link];
                link.pipeline = rng.u8(1..=4);
                link.registers_max = rng.u8(12..=125);
                if rng.u8(..4) == 0 && matches!(link.how, How::Modbus(_)) {
                    link.how = How::Modbus(Frames::any(rng));
                }
                link.timeout_ms = timeout_ms.max((link.expected_ms * 4.0).ceil() as u64);
            }
            15 => {
                self.add_group(rng);
                let new = self.groups.len() - 1;
                self.add_tag(link, new, rng);
            }
            16 => {
                let Tag { spot, told: now, .. } = &mut self.tags[tag];
                *now = if rng.bool() { told(Some(spot), rng) } else { String::new() };
            }
            17 => self.groups[group].told = if rng.bool() { told(None, rng) } else { String::new() },
            // Nothing that the floor knows of.
            _ => self.tags[tag].description = self.tags[tag].description.wrapping_add(1),
        }
    }
}
