//! A report as a table.

use std::fmt;

use super::{CacheReport, DomainReport, JailbreakReport, OperatingPoint, PiiReport, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "classifier  {}", self.classifier)?;
        if let Some(domain) = &self.domain {
            write!(f, "\n{domain}")?;
        }
        if let Some(jailbreak) = &self.jailbreak {
            write!(f, "\n{jailbreak}")?;
        }
        if let Some(pii) = &self.pii {
            write!(f, "\n{pii}")?;
        }
        if let Some(cache) = &self.cache_pairs {
            write!(f, "\n{cache}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DomainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "domain ({} rows)", self.rows)?;
        writeln!(f, "  {:<28}{:>8.3}", "accuracy", self.accuracy)?;
        writeln!(f, "  {:<28}{:>8.3}", "macro F1", self.macro_f1)?;
        for (label, f1) in &self.f1_by_label {
            writeln!(f, "  {:<28}{f1:>8.3}", format!("F1 {label}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for JailbreakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "jailbreak ({} rows, {} jailbreaks)",
            self.rows, self.positives
        )?;
        writeln!(f, "  {:<28}{:>8.3}", "AUROC", self.auroc)?;
        let mut point = |name: &str, point: &OperatingPoint| {
            writeln!(
                f,
                "  {:<28}{:>8.3}  (false positives {:.3}, threshold {:.4})",
                name, point.recall, point.false_positive_rate, point.threshold
            )
        };
        point("recall at 1 % false positives", &self.at_1_percent)?;
        point("recall at 2 % false positives", &self.at_2_percent)?;
        if let Some(recommended) = &self.recommended {
            point("recall as recommended", recommended)?;
        }
        let attack = &self.suffix_attack;
        writeln!(
            f,
            "  {:<28}{:>8.3}  (mean {:.3}, worst {:.3}, every {:.3}, threshold {:.4})",
            "suffix attack, drop in points",
            attack.drop_points,
            attack.mean_recall,
            attack.worst_recall,
            attack.recall_under_every_suffix,
            attack.threshold
        )
    }
}

impl fmt::Display for PiiReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "personal data ({} rows)", self.rows)?;
        writeln!(
            f,
            "  {:<20}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "", "F1", "P", "R", "relaxed", "spans"
        )?;
        let all = [("overall".to_owned(), self.overall)];
        let kinds = self
            .by_kind
            .iter()
            .map(|(kind, score)| (kind.clone(), *score));
        for (kind, score) in all.into_iter().chain(kinds) {
            writeln!(
                f,
                "  {:<20}{:>8.3}{:>8.3}{:>8.3}{:>8.3}{:>8}",
                kind,
                score.exact.f1,
                score.exact.precision,
                score.exact.recall,
                score.relaxed.f1,
                score.support
            )?;
        }
        writeln!(f, "  {:<28}{:>8.3}", "macro F1", self.macro_f1_exact)?;
        writeln!(
            f,
            "  {:<28}{:>8.3}",
            "macro F1, relaxed", self.macro_f1_relaxed
        )?;
        writeln!(
            f,
            "  {:<28}{:>8.3}  ({} rows)",
            "false spans per 100 negatives", self.false_spans_per_100_negatives, self.negatives
        )
    }
}

impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cache pairs ({} rows)", self.rows)?;
        writeln!(f, "  {:<28}{:>8.3}", "AUROC", self.auroc)?;
        writeln!(
            f,
            "  {:<28}{:>8.3}  (threshold {:.4})",
            "best F1", self.best_f1, self.threshold
        )
    }
}
