//! Puts numbers in Fortran's order, in which the first index counts up first, in that of C.

/// Numbers of `size` bytes in Fortran's order, as C has them: the last index counts up first.
pub fn in_c_order(stored: &[u8], sizes: &[u64], size: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(stored.len());
    // How far apart numbers are stored whose index differs by one, by dimension.
    let steps: Vec<usize> =
        sizes.iter().scan(size, |step, length| Some(std::mem::replace(step, *step * *length as usize))).collect();
    let (mut index, mut at) = (vec![0; sizes.len()], 0);
    while ordered.len() < stored.len() {
        ordered.extend_from_slice(&stored[at..at + size]);
        for dimension in (0..sizes.len()).rev() {
            index[dimension] += 1;
            at += steps[dimension];
            if index[dimension] < sizes[dimension] {
                break;
            }
            at -= steps[dimension] * sizes[dimension] as usize;
            index[dimension] = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_fortrans_order_are_put_in_that_of_c() {
        // Number 100·i + 10·j + k at the indices i, j, k.
        let number = |i: usize, j: usize, k: usize| ((100 * i + 10 * j + k) as u16).to_be_bytes();
        let all = |of: &dyn Fn(usize) -> [usize; 3]| -> Vec<u8> {
            (0..24).map(of).flat_map(|[i, j, k]| number(i, j, k)).collect()
        };
        let stored = all(&|at| [at % 2, at / 2 % 3, at / 6]);
        let wanted = all(&|at| [at / 12, at / 4 % 3, at % 4]);
        assert_eq!(in_c_order(&stored, &[2, 3, 4], 2), wanted);
        assert!(in_c_order(&[], &[2, 0, 4], 2).is_empty());
    }
}
