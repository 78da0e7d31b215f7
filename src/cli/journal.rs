//! `fieldbeat journal`: verifies a journal, and salvages a damaged one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::store::Survey;

#[derive(Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Report what is intact and what is damaged in a journal; exit code 1 if anything is damaged. Changes nothing.
    Verify {
        /// The journal's directory (`journal.path`, or that of a journal that was set aside), or its data.mdb.
        path: PathBuf,
    },
    /// Copy every readable block, with names, audit records and the outputs' positions, into a new journal. The old one
    /// is not changed. Exit code 1 if anything could not be copied.
    Salvage {
        /// The journal's directory (`journal.path`, or that of a journal that was set aside), or its data.mdb.
        path: PathBuf,
        /// Directory of the new journal; it must not contain one.
        #[arg(long, value_name = "NEWDIR")]
        to: PathBuf,
    },
}

pub fn journal(args: &JournalArgs) -> ExitCode {
    match &args.command {
        JournalCommand::Verify { path } => {
            let survey = match Survey::of(path) {
                Ok(survey) => survey,
                Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
            };
            let verdict = survey.verdict();
            let end = if verdict.is_whole() { "whole" } else { "damaged" };
            told(&format!("{verdict}{end}\n"), verdict.is_whole())
        }
        JournalCommand::Salvage { path, to } => {
            let salvaged = Survey::of(path).and_then(|survey| Ok((survey.salvage(to)?, survey)));
            let (copied, survey) = match salvaged {
                Ok(salvaged) => salvaged,
                Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
            };
            let verdict = survey.verdict();
            let mut text = format!(
                "copied to {}: {} blocks ({} samples), {} dictionaries, {} audit records, {} cursors\n",
                to.display(),
                copied.blocks,
                copied.samples,
                copied.names,
                copied.audit,
                copied.cursors
            );
            if copied.blocks_nameless > 0 {
                text += &format!(
                    "{} of these blocks have tags whose names are lost; they are shown by number, such as #12\n",
                    copied.blocks_nameless
                );
            }
            if !verdict.is_whole() {
                text += &format!(
                    "lost: {} damaged blocks, {} samples between whole blocks; the loss after the last \
                     whole block is unknown\nfindings:\n{verdict}",
                    verdict.blocks_damaged, verdict.samples_missing
                );
            }
            told(&text, verdict.is_whole())
        }
    }
}

fn told(text: &str, whole: bool) -> ExitCode {
    out!("{}", text.trim_end());
    if whole { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_NO) }
}
