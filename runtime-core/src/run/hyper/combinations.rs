//! From lists of values to iterations.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{RANDOM_ITERATIONS, Strategy};
use crate::{Error, Result, run::RunSpec, yaml};

/// The most iterations of one run.
pub const MAX_ITERATIONS: u32 = 10_000;

/// The parameters of each iteration, made when they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Combinations {
    columns: Vec<(String, Vec<Value>)>,
    rows: Rows,
    len: u32,
}

#[derive(Clone, Debug)]
enum Rows {
    /// The n-th value of each.
    Together,
    /// The n-th combination.
    All,
    /// These combinations.
    Drawn(Vec<u64>),
}

impl Combinations {
    pub(super) fn of(spec: &RunSpec) -> Result<Self> {
        let mut columns = Vec::new();
        for (name, values) in &spec.hyperparams {
            columns.push((name.clone(), list(name, values)?));
        }
        let options = &spec.hyper_param_options;
        let strategy = options.strategy.unwrap_or_default();
        let (rows, total) = match strategy {
            Strategy::List => (Rows::Together, u128::from(rows(&columns)?)),
            Strategy::Grid => (Rows::All, total(&columns)),
            Strategy::Random => {
                let total = u64::try_from(total(&columns)).unwrap_or(u64::MAX);
                let wanted = options.max_iterations.unwrap_or(RANDOM_ITERATIONS);
                check_count(u128::from(wanted).min(u128::from(total)), strategy, &columns)?;
                let drawn = draw(options.seed.unwrap_or_default(), total, wanted);
                let count = drawn.len() as u128;
                (Rows::Drawn(drawn), count)
            }
        };
        let wanted = options.max_iterations.map_or(total, |max| total.min(u128::from(max)));
        let len = check_count(wanted, strategy, &columns)?;
        Ok(Self { columns, rows, len })
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// The parameters of the n-th iteration, from 0.
    pub(super) fn get(&self, n: u32) -> Map<String, Value> {
        let mut rest = match &self.rows {
            Rows::Drawn(drawn) => drawn.get(n as usize).copied().unwrap_or_default(),
            _ => u64::from(n),
        };
        let mut map = Map::new();
        for (name, values) in &self.columns {
            let count = values.len() as u64;
            let index = if matches!(self.rows, Rows::Together) { rest } else { rest % count };
            map.insert(name.clone(), values.get(index as usize).cloned().unwrap_or_default());
            if !matches!(self.rows, Rows::Together) {
                rest /= count;
            }
        }
        map
    }
}

fn list(name: &str, values: &Value) -> Result<Vec<Value>> {
    let path = format!("hyperparams.{name}");
    match values {
        Value::Array(values) if values.is_empty() => {
            Err(Error::invalid(path, "there is no value to try").help("write at least one: [0.1, 0.01]"))
        }
        Value::Array(values) => Ok(values.clone()),
        other => {
            let found = yaml::kind_of(other);
            Err(Error::invalid(path, format!("expected a list of values, found {found}"))
                .help("write the values to try: [0.1, 0.01]; what all iterations share is a parameter"))
        }
    }
}

/// How many combinations there are.
fn total(columns: &[(String, Vec<Value>)]) -> u128 {
    columns.iter().fold(1, |total, (_, values)| total.saturating_mul(values.len() as u128))
}

/// How many rows there are: lists of one table are equally long.
fn rows(columns: &[(String, Vec<Value>)]) -> Result<u32> {
    let rows = columns.first().map_or(0, |(_, values)| values.len());
    if columns.iter().any(|(_, values)| values.len() != rows) {
        let lengths: Vec<_> =
            columns.iter().map(|(name, values)| format!("{name}: {}", values.len())).collect();
        return Err(Error::invalid(
            "hyperparams",
            format!("the strategy `list` takes lists of one length; these have {}", lengths.join(", ")),
        )
        .help("add what is missing, or use the strategy `grid` for every combination"));
    }
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}

fn check_count(count: u128, strategy: Strategy, columns: &[(String, Vec<Value>)]) -> Result<u32> {
    match u32::try_from(count) {
        Ok(count) if count <= MAX_ITERATIONS => Ok(count),
        _ => {
            let sizes: Vec<_> =
                columns.iter().map(|(name, values)| format!("{name}: {}", values.len())).collect();
            let sizes = sizes.join(", ");
            Err(Error::invalid("hyperparams", format!("{strategy} of {sizes} would be {count} iterations"))
                .help(format!(
                    "at most {MAX_ITERATIONS}: set `max_iterations`, or the strategy `random` with it"
                )))
        }
    }
}

/// Draws numbers below `total`, none twice: the first steps of a shuffle, of which only what was moved is kept.
fn draw(seed: u64, total: u64, count: u32) -> Vec<u64> {
    let mut dice = Dice(seed);
    let mut moved = HashMap::new();
    (0..total.min(u64::from(count)))
        .map(|at| {
            let other = at + dice.below(total - at);
            let here = moved.remove(&at).unwrap_or(at);
            if other == at { here } else { moved.insert(other, here).unwrap_or(other) }
        })
        .collect()
}

/// SplitMix64, written out here: what a seed draws must stay the same with every version of every library.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half of a product is as even as the number itself.
        u64::try_from((u128::from(mixed) * u128::from(limit)) >> 64).unwrap_or_default()
    }
}
