//! The points of SunSpec's models, out of a table beside this file.

use std::sync::LazyLock;

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| parse(include_str!("sunspec.txt")));

/// A model whose points are known.
#[derive(Debug)]
pub struct Model {
    pub id: u16,
    pub label: &'static str,
    pub points: Vec<Point>,
}

/// One value of a model.
#[derive(Debug, PartialEq)]
pub struct Point {
    pub name: &'static str,
    /// From the model's own number on.
    pub at: u16,
    pub registers: u16,
    pub kind: &'static str,
    /// The point that is its scale.
    pub scale: Option<&'static str>,
    pub unit: Option<&'static str>,
    /// Of an enumeration.
    pub texts: Vec<(u16, &'static str)>,
}

pub fn of(id: u16) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

impl Point {
    /// As tag files name the type; `None`: it has none there.
    pub fn data_type(&self) -> Option<&'static str> {
        Some(match self.kind {
            "int16" | "sunssf" => "int16",
            "uint16" | "enum16" | "bitfield16" | "count" => "uint16",
            "int32" => "int32",
            "uint32" | "enum32" | "bitfield32" | "acc32" => "uint32",
            "int64" => "int64",
            "uint64" | "bitfield64" | "acc64" => "uint64",
            "float32" => "float32",
            "float64" => "float64",
            "string" => "string",
            _ => return None,
        })
    }

    pub fn is_scale(&self) -> bool {
        self.kind == "sunssf"
    }

    /// Whether a raw value says that the point is not implemented; counters say it by 0, which is what new ones have.
    pub fn has_no_value_by_its_bits(&self) -> bool {
        !self.kind.starts_with("acc") && !self.kind.starts_with("float")
    }
}

fn parse(text: &'static str) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((id, label)) = line.strip_prefix("model ").and_then(|line| line.split_once(' ')) {
            models.extend(id.parse().ok().map(|id| Model { id, label, points: Vec::new() }));
        } else if let Some(model) = models.last_mut() {
            model.points.extend(point(line));
        }
    }
    models
}

fn point(line: &'static str) -> Option<Point> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let (name, at, registers, kind) = (word()?, word()?.parse().ok()?, word()?.parse().ok()?, word()?);
    let given = |word: &'static str| (word != "-").then_some(word);
    let (scale, unit) = (given(word()?), given(word()?));
    let texts =
        words.filter_map(|word| word.split_once('=')).filter_map(|(value, text)| Some((value.parse().ok()?, text)));
    Some(Point { name, at, registers, kind, scale, unit, texts: texts.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_point_whose_scale_is_one_of_its_model() {
        let lines = include_str!("sunspec.txt").lines().filter(|line| !line.starts_with('#'));
        assert_eq!(MODELS.iter().map(|model| 1 + model.points.len()).sum::<usize>(), lines.count());
        for model in MODELS.iter() {
            let mut end = 2;
            for point in &model.points {
                assert!(point.at >= end, "{} {point:?}", model.id);
                end = point.at + point.registers;
                assert!(point.data_type().is_some(), "{point:?}");
                let scale = point.scale.map(|name| model.points.iter().find(|other| other.name == name));
                assert!(scale.is_none_or(|scale| scale.is_some_and(Point::is_scale)), "{} {point:?}", model.id);
            }
        }
    }

    /// SunSpec Inverter Models, table 103: A at offset 2, its scale at 6, St at 38 with 4 MPPT; model 203: 105 registers.
    #[test]
    fn points_lie_where_the_specification_has_them() {
        let find = |model: u16, name: &str| of(model).unwrap().points.iter().find(|point| point.name == name).unwrap();
        assert_eq!((find(103, "A").at, find(103, "A_SF").at, find(103, "W").at), (2, 6, 14));
        assert!(find(103, "St").at == 38 && find(103, "St").texts.contains(&(4, "MPPT")));
        assert_eq!((find(1, "Mn").at, find(1, "Mn").registers, find(1, "SN").at), (2, 16, 50));
        assert_eq!((find(203, "TotWhImp").at, find(203, "TotWhImp").scale), (46, Some("TotWh_SF")));
        assert_eq!((find(113, "W").at, find(113, "W").registers), (22, 2));
    }
}
