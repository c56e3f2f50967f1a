//! What `mpirun` is told: how many ranks, and what the function adds to that.

use runtime_core::{Error, Function, Result};

use crate::{config::MpiConfig, horovod::RENAMED};

/// Options that say how many ranks there are.
const COUNTS: [&str; 5] = ["-n", "--n", "-np", "--np", "-c"];

/// More ranks than anybody means.
const MOST: u64 = 1_000_000;

/// The ranks of a run, and how they are started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    /// How many there are.
    pub(crate) ranks: u64,
    /// What `mpirun` is told beside that.
    pub(crate) args: Vec<String>,
    /// Variables of the ranks. Their values are on no command line.
    pub(crate) env: Vec<(String, String)>,
}

impl MpiConfig {
    /// The ranks, and how they are started.
    ///
    /// # Errors
    /// `Invalid`, naming the argument that is wrong.
    pub(crate) fn placement(&self) -> Result<Placement> {
        let wrong = |index: usize, what: String| Error::invalid(format!("spec.mpi_args[{index}]"), what);
        let ranks = self.replicas.unsigned_abs() * self.slots_per_worker.unsigned_abs();
        let mut placement = Placement { ranks, ..Placement::default() };
        let mut words = self.mpi_args.iter().enumerate();
        while let Some((index, word)) = words.next() {
            if word.is_empty() || word.contains('\0') {
                return Err(wrong(index, format!("{word:?} is no argument")).help("leave it out"));
            }
            if index == 0 && !word.starts_with('-') {
                return Err(wrong(index, format!("{word:?} is no option of mpirun"))
                    .help("options begin with `-`; the program that is started is `spec.command`"));
            }
            if COUNTS.contains(&word.as_str()) {
                let number = words.next().and_then(|(_, number)| number.parse().ok());
                placement.ranks = number.filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
                    wrong(index, format!("{word} is not followed by a number of ranks")).help(
                        "leave it out: there are `replicas` times `slots_per_worker` ranks; or write how many",
                    )
                })?;
                continue;
            }
            placement.args.push(word.clone());
            if word == "-x"
                && let Some((index, word)) = words.next()
            {
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (word.as_str(), None),
                };
                if name.is_empty() {
                    return Err(
                        wrong(index, format!("{word:?} names no variable")).help("-x NAME, or -x NAME=VALUE")
                    );
                }
                placement.args.push(name.to_owned());
                placement.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            }
        }
        let horovod = self.tracing.iter().flat_map(|tracing| tracing.env());
        let horovod = horovod.chain(self.autotune.iter().flat_map(|autotune| autotune.env()));
        placement.env.extend(horovod.map(|(name, value)| (name.to_owned(), value)));
        Ok(placement)
    }
}

/// The function, its variables for Horovod by the names that Horovod reads, and what is to be known about that.
pub(crate) fn with_right_names(function: &Function) -> (Function, Vec<String>) {
    let (mut function, mut notes) = (function.clone(), Vec::new());
    for variable in &mut function.spec.pod.env {
        if let Some((_, right)) = RENAMED.iter().find(|(wrong, _)| *wrong == variable.name) {
            notes.push(format!("spec.env ({}): Horovod reads it as {right}, and gets it so", variable.name));
            variable.name = (*right).to_owned();
        }
    }
    (function, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(args: &[&str]) -> Result<Placement> {
        let mpi_args = args.iter().map(|&arg| arg.to_owned()).collect();
        MpiConfig { replicas: 2, slots_per_worker: 3, mpi_args, ..MpiConfig::default() }.placement()
    }

    #[test]
    fn values_of_variables_are_on_no_command_line() {
        let placed = placed(&["-x", "TOKEN=a=b", "--map-by", "core", "-x", "HOME"]).unwrap();
        assert_eq!(placed.args, ["-x", "TOKEN", "--map-by", "core", "-x", "HOME"]);
        assert_eq!((placed.ranks, placed.env), (6, vec![("TOKEN".to_owned(), "a=b".to_owned())]));
    }

    #[test]
    fn the_number_of_ranks_may_be_said() {
        let placed = placed(&["-np", "4", "--oversubscribe"]).unwrap();
        assert_eq!((placed.ranks, placed.args), (4, vec!["--oversubscribe".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, place) in [
            (&["python"][..], "spec.mpi_args[0]"),
            (&["-x", "A", "-np", "none"], "spec.mpi_args[2]"),
            (&["-x", "=1"], "spec.mpi_args[1]"),
            (&["-x", "A", ""], "spec.mpi_args[2]"),
        ] {
            let error = placed(args).unwrap_err();
            assert_eq!(error.location(), Some(place), "{error}");
            assert!(error.help_text().is_some(), "{error}");
        }
    }
}
