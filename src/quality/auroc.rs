//! The AUROC: how well a score separates two kinds of images.

/// Area under the receiver operating characteristic: the chance that an image of the kind sought has a higher score than
/// another image, ties counting half (Mann & Whitney 1947). None if one of the kinds is missing.
pub fn auroc(scores: &[(f32, bool)]) -> Option<f64> {
    let mut scores = scores.to_vec();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sought = scores.iter().filter(|(_, sought)| *sought).count() as f64;
    let others = scores.len() as f64 - sought;
    let (mut below, mut wins) = (0.0, 0.0);
    for equal in scores.chunk_by(|a, b| a.0 == b.0) {
        let here = equal.iter().filter(|(_, sought)| *sought).count() as f64;
        let others = equal.len() as f64 - here;
        wins += here * (below + 0.5 * others);
        below += others;
    }
    (sought > 0.0 && others > 0.0).then(|| wins / (sought * others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        // sklearn.metrics.roc_auc_score([0, 0, 1, 1, 0, 1], [0.1, 0.4, 0.4, 0.8, 0.2, 0.2])
        let scores = [(0.1, false), (0.4, false), (0.4, true), (0.8, true), (0.2, false), (0.2, true)];
        assert!((auroc(&scores).expect("has both") - 7.0 / 9.0).abs() < 1e-12);
        assert_eq!(auroc(&[(0.1, true)]), None);
    }
}
